//! The append-only record of a run.
//!
//! Duty: one directory per run with `plan.json` and `journal.jsonl`; every line has a sequence number and its own
//! checksum and is on disk (fsync) before the append returns. A failed append is an error the caller must act on:
//! nothing may be sent without its intent (S2). The journal never decides anything: the state is a fold by the engine.
//!
//! It must never lose a whole line, change one that is written, or call a damaged journal intact.

mod chain;
mod error;
pub mod event;
mod fleet;
mod local;
mod lock;
mod memory;
mod runs;
mod state;

pub use chain::{Integrity, Loaded, Tail};
pub use error::JournalError;
pub use event::{
    Answer, Effect, EndKind, Ending, Event, FORMAT, Fact, FinalStatus, Origin, PauseReason, Purpose, Record, StepEnd,
};
pub use fleet::{
    FLEET_FORMAT, FleetFile, FleetList, FleetRecord, FleetStage, FleetVm, fleets, load_fleet, prune_fleets,
    resolve_fleet_id,
};
pub use local::{LocalRun, load};
pub use lock::{FileLock, LockKey};
pub use memory::MemoryRun;
pub use runs::{Pruned, RunEntry, RunList, Skipped, prune, resolve_run_id, runs};
pub use state::StateDir;

/// Why a line could not be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot write the journal {path}: {why}")]
pub struct AppendError {
    /// The file.
    pub path: String,
    /// What the system said.
    pub why: String,
}

/// Where the engine writes: the small port of the journal.
pub trait RunLog: Send + Sync + std::fmt::Debug {
    /// Writes one event and returns the record only when it is safe on disk.
    ///
    /// # Errors
    /// [`AppendError`]: nothing may be sent on the strength of this event.
    fn append(&self, at: jiff::Timestamp, event: Event) -> Result<Record, AppendError>;

    /// Everything written so far, in order.
    fn records(&self) -> Vec<Record>;

    /// Of a damaged journal: what can still be read after the damage. Nothing is relied on it but what locks may be off.
    fn salvaged(&self) -> Vec<Record> {
        Vec::new()
    }
}
