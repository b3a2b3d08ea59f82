//! Long-running operations: one poll at a time, with a state that can be journaled and resumed.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::ArmError;
use super::id::ResourceId;

/// An accepted operation that has not ended: a value that is journaled and resumed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Verb and path of the request that started it.
    pub request: String,
    /// The resource it works on.
    pub resource: ResourceId,
}

/// What one poll found.
#[derive(Debug, Clone, PartialEq)]
pub struct Poll {
    /// The state.
    pub state: PollState,
    /// How long to wait before the next poll; zero when the operation has ended.
    pub wait: Duration,
    /// The operation to poll next time, and to journal.
    pub operation: Operation,
}

/// State of an operation.
#[derive(Debug, Clone, PartialEq)]
pub enum PollState {
    /// Not ended, or not known to have ended.
    InProgress,
    /// Ended well.
    Succeeded {
        /// The body of the last answer; `null` when there was none.
        body: serde_json::Value,
    },
    /// Ended with an error.
    Failed(ArmError),
    /// Canceled, preempted by another operation included.
    Canceled(ArmError),
    /// The resource that was being deleted answers 404.
    Gone,
}

impl std::fmt::Debug for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Operation({})", self.request)
    }
}
