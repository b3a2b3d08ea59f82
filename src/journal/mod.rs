//! The append-only record of a run.
//!
//! Duty: `plan.json` and `journal.jsonl` of each run; every line has a sequence number and its own checksum and is durable
//! before the append returns. A failed append is an error the caller must act on: nothing may be sent without its intent (S2).
//! The journal never decides anything: the state is a fold by the engine.
//!
//! Its rules are the same wherever it is kept: [`Store`] is the port of a place; a directory ([`StateDir`]), blobs of a storage
//! account ([`BlobStore`] over [`Blobs`]) and blobs in memory ([`MemoryBlobs`], with faults) are behind it. [`State`] is what
//! other rooms open.
//!
//! It must never lose a whole line, change one that is written, or call a damaged journal intact.

use async_trait::async_trait;

mod blob;
mod chain;
mod disk;
mod error;
pub mod event;
mod fleet;
mod lock;
mod memory;
mod place;
mod run;
mod runs;
mod state;
mod store;
mod twin;

pub use blob::{Blob, BlobFault, BlobProblem, BlobStore, Blobs, Listed};
pub use chain::{Integrity, Loaded, Tail};
pub use error::{JournalError, Trouble};
pub use event::{
    Answer, Effect, EndKind, Ending, Event, FORMAT, Fact, FinalStatus, Origin, PauseReason, Purpose, Record, StepEnd,
};
pub use fleet::{
    FLEET_FORMAT, FleetFile, FleetList, FleetRecord, FleetStage, FleetVm, fleets, load_fleet, prune_fleets,
    resolve_fleet_id,
};
pub use lock::{FileLock, LockKey};
pub use memory::MemoryRun;
pub use place::{Hold, State};
pub use run::{RunFile, load};
pub use runs::{Pruned, RunEntry, RunList, Skipped, Surveyed, prune, resolve_run_id, runs, survey};
pub use state::StateDir;
pub use store::{Lease, Loss, Store, Thing};
pub use twin::{Answering, MemoryBlobs};

/// Why a line could not be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot write the journal {path}: {why}")]
pub struct AppendError {
    /// The file.
    pub path: String,
    /// What the system said.
    pub why: String,
    /// Whether it may be written again in a while, without anybody doing something about it.
    pub passes: bool,
}

/// Where the engine writes: the small port of the journal.
#[async_trait]
pub trait RunLog: Send + Sync + std::fmt::Debug {
    /// Writes one event and returns the record only when it is durable.
    ///
    /// # Errors
    /// [`AppendError`]: nothing may be sent on the strength of this event.
    async fn append(&self, at: jiff::Timestamp, event: Event) -> Result<Record, AppendError>;

    /// Everything written so far, in order.
    fn records(&self) -> Vec<Record>;

    /// Of a damaged journal: what can still be read after the damage. Nothing is relied on it but what locks may be off.
    fn salvaged(&self) -> Vec<Record> {
        Vec::new()
    }

    /// Why this process may no longer work on the run: another one may do so by now. Nothing at all is sent then.
    fn lost(&self) -> Option<String> {
        None
    }
}

/// What a future comes to that never waits: those of a disk.
#[cfg(test)]
fn now<T>(what: impl Future<Output = T>) -> T {
    futures::FutureExt::now_or_never(what).expect("a disk answers at once")
}
