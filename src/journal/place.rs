//! The state, wherever it is kept: what every other room opens and hands around.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::disk::Disk;
use super::error::JournalError;
use super::lock::LockKey;
use super::state::StateDir;
use super::store::{Lease, Store, Thing};

/// Opened state: a directory, or a container of blobs. Cheap to clone.
#[derive(Debug, Clone)]
pub struct State {
    store: Arc<dyn Store>,
}

impl From<StateDir> for State {
    fn from(dir: StateDir) -> Self {
        Self::of(Arc::new(Disk::new(dir)))
    }
}

impl State {
    /// The state in a directory; with `create` it is made when it is missing, and must be writable.
    ///
    /// # Errors
    /// As [`StateDir::open`].
    pub fn in_dir(path: &Path, create: bool) -> Result<Self, JournalError> {
        StateDir::open(path, create).map(Self::from)
    }

    /// The state in another kind of place.
    #[must_use]
    pub fn of(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    pub(super) fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Where it is, for people.
    #[must_use]
    pub fn place(&self) -> String {
        self.store.place()
    }

    /// Whether it can be written to.
    ///
    /// # Errors
    /// Why not.
    pub async fn check(&self) -> Result<(), JournalError> {
        self.store.check().await
    }

    /// Returns when what this process released is free for others: before the process ends.
    pub async fn close(&self) {
        self.store.settle().await;
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place())
    }
}

/// VMs, lock scopes and fleets that this process holds until it is dropped.
#[derive(Debug, Default)]
#[must_use = "it is released when this is dropped"]
pub struct Hold {
    held: Vec<Arc<dyn Lease>>,
}

impl Hold {
    /// Holds all of these, or none; never waits.
    ///
    /// # Errors
    /// [`JournalError::Busy`] names who holds one of them.
    pub async fn take(state: &State, run: &str, keys: impl IntoIterator<Item = LockKey>) -> Result<Self, JournalError> {
        let mut keys: Vec<LockKey> = keys.into_iter().collect();
        // One order for everybody.
        keys.sort();
        keys.dedup_by(|a, b| a.is_same(b));
        let mut hold = Self::default();
        for key in &keys {
            hold.held.push(state.store.hold(Thing::Key(key), run).await?);
        }
        Ok(hold)
    }

    /// Who holds this now, if anybody does. Nobody is kept away by looking.
    ///
    /// # Errors
    /// When it cannot be told.
    pub async fn holder(state: &State, key: &LockKey) -> Result<Option<String>, JournalError> {
        state.store.holder(Thing::Key(key)).await
    }

    /// Why one of them is not held any more.
    #[must_use]
    pub fn lost(&self) -> Option<String> {
        self.held.iter().find_map(|lease| lease.lost())
    }

    /// How many are held.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether none is held.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    pub(super) fn into_leases(self) -> Vec<Arc<dyn Lease>> {
        self.held
    }
}
