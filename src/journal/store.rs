//! Where the state is kept: the port of the journal, and what is held in it.
//!
//! Duty: the few things that the journal needs of a place: read, create whole, add at a position, list, remove, and hold. The
//! rules of the journal (chain, fold, torn end, one writer) are above it and the same for every place: a disk, a container of
//! blobs, and its twin in memory.
//!
//! Names are relative, with slashes: `runs/<run id>/journal.jsonl`. Invariants that every place keeps: what [`Store::create`]
//! makes is seen as a whole or not at all; [`Store::append`] adds at the position it names or not at all, and is over when it
//! is durable; what is held by one process is held by no other until it is released, or lost.

use std::fmt::Debug;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::error::JournalError;
use super::lock::LockKey;

/// What a run's journal is called: the last file of a run that is made.
pub(super) const JOURNAL: &str = "journal.jsonl";

/// What one process at a time may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Thing<'a> {
    /// A run: who holds it adds to its journal.
    Run(&'a str),
    /// A VM, the locks of a scope, a fleet.
    Key(&'a LockKey),
}

/// A place where state is kept.
#[async_trait]
pub trait Store: Send + Sync + Debug {
    /// Where it is, for people.
    fn place(&self) -> String;

    /// Where `name` is, for people.
    fn shown(&self, name: &str) -> String;

    /// How many readings at once make sense.
    fn width(&self) -> usize {
        1
    }

    /// Whether what is made appears part by part: then what has no last part was never made.
    fn in_parts(&self) -> bool {
        false
    }

    /// The whole content; `None` when there is no such file.
    ///
    /// # Errors
    /// When it cannot be told.
    async fn read(&self, name: &str) -> Result<Option<Vec<u8>>, JournalError>;

    /// The same of a file whose name was just listed: what did not change since this process read it is not read again.
    ///
    /// # Errors
    /// When it cannot be told.
    async fn read_listed(&self, name: &str) -> Result<Option<Vec<u8>>, JournalError> {
        self.read(name).await
    }

    /// Whether there may be something in this folder. A place that cannot tell without reading says yes.
    ///
    /// # Errors
    /// When it cannot be told.
    async fn has(&self, folder: &str) -> Result<bool, JournalError>;

    /// Makes files of one folder. Whoever sees the last of them sees all; the last is the one that lines are added to.
    ///
    /// # Errors
    /// [`JournalError::Exists`] when they exist; nobody ever sees them when this fails.
    async fn create(&self, files: &[(&str, &[u8])]) -> Result<(), JournalError>;

    /// Adds bytes to a file that is `at` bytes long, and returns when they are durable.
    ///
    /// # Errors
    /// When they are not, or it is not known; when the file has another length; when `lease` was lost.
    async fn append(&self, name: &str, at: u64, bytes: &[u8], lease: &dyn Lease) -> Result<(), JournalError>;

    /// Cuts everything behind `len` bytes.
    ///
    /// # Errors
    /// When the place cannot do that.
    async fn cut(&self, name: &str, len: u64) -> Result<(), JournalError>;

    /// The names in a folder, in no order; what was never finished, or is being removed, is not among them.
    ///
    /// # Errors
    /// When the folder cannot be read.
    async fn names(&self, folder: &str) -> Result<Vec<String>, JournalError>;

    /// Removes a run, out of sight in one step; `lease` holds it and is given up with it.
    ///
    /// # Errors
    /// When it is still there, wholly or in part.
    async fn remove_run(&self, run: &str, lease: Arc<dyn Lease>) -> Result<(), JournalError>;

    /// Removes the record of a fleet, and what `key` is held by; `lease` holds it.
    ///
    /// # Errors
    /// When it is still there.
    async fn remove_fleet(&self, name: &str, key: &LockKey, lease: Arc<dyn Lease>) -> Result<(), JournalError>;

    /// Clears away what was never finished, or was being removed, when a process was killed long before `now`.
    async fn sweep(&self, now: Timestamp);

    /// Holds something; never waits for whoever holds it.
    ///
    /// # Errors
    /// [`JournalError::Busy`] says who does.
    async fn hold(&self, thing: Thing<'_>, run: &str) -> Result<Arc<dyn Lease>, JournalError>;

    /// Who holds something now, if anybody does. Nobody is kept away by asking.
    ///
    /// # Errors
    /// When it cannot be told.
    async fn holder(&self, thing: Thing<'_>) -> Result<Option<String>, JournalError>;

    /// Whether it can be written to, before anything is asked or begun.
    ///
    /// # Errors
    /// Why not.
    async fn check(&self) -> Result<(), JournalError> {
        Ok(())
    }

    /// Returns when what was released is free for others.
    async fn settle(&self) {}
}

/// Something that this process holds until it is dropped.
pub trait Lease: Send + Sync + Debug {
    /// The id that what is written to `name` carries, where that file itself is held by an id.
    fn id_for(&self, name: &str) -> Option<&str>;

    /// Why it is not held any more, or may not be.
    fn lost(&self) -> Option<String>;

    /// How its loss is heard of.
    fn loss(&self) -> Loss;
}

/// The loss of something held: heard of by all its clones, and never taken back.
#[derive(Debug, Clone, Default)]
pub struct Loss {
    token: CancellationToken,
    why: Arc<OnceLock<String>>,
}

impl Loss {
    /// It is lost. Only the first reason counts.
    pub fn lose(&self, why: &str) {
        self.why.get_or_init(|| why.to_owned());
        self.token.cancel();
    }

    /// Why it is lost, if it is.
    #[must_use]
    pub fn why(&self) -> Option<String> {
        self.why.get().cloned()
    }

    /// Returns when it is lost.
    pub async fn happened(&self) {
        self.token.cancelled().await;
    }
}
