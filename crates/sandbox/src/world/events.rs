//! What will happen, as data. Making it happen is [`crate::timeline`].

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::world::WorldEvent;
use azmend_arm::id::ResourceId;

/// Something that will happen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// Order among events of one time.
    pub seq: u64,
    /// What.
    pub effect: Effect,
}

/// What will happen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// A long-running operation ends.
    OperationEnds(String),
    /// A job checks the VM and begins its snapshot.
    SnapshotStarts(String),
    /// A job's snapshot is taken.
    SnapshotEnds(String),
    /// A job's transfer to the vault is done.
    TransferEnds(String),
    /// A job's cancellation is done.
    JobCancelled(String),
    /// The service cleans up the expired points of a VM.
    ServiceCleanup(ResourceId),
    /// Somebody else does something.
    Happens(WorldEvent),
}
