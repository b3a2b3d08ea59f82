//! What the engine says while it works. It only tells; the terminal, a log file or nobody listens.

use std::time::Duration;

use jiff::Timestamp;

use crate::actions::change::{Change, Outcome};

/// Something that happened, for people who watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// A step begins.
    Step {
        /// Step id.
        id: String,
        /// Position, from 1.
        number: usize,
        /// Steps in the plan.
        of: usize,
        /// How many changes it has.
        changes: usize,
    },
    /// A step is left out.
    StepOff {
        /// Step id.
        id: String,
        /// Why.
        why: String,
    },
    /// A change begins.
    Change {
        /// The change.
        change: Box<Change>,
    },
    /// Before a lock is removed: how to write it back by hand.
    LockNote {
        /// Lock id.
        lock: String,
        /// The command.
        command: String,
    },
    /// Waiting for Azure.
    Waiting {
        /// For what, in a few words.
        what: String,
        /// For how long now.
        wait: Duration,
        /// Since when.
        since: Timestamp,
    },
    /// An attempt did not do it; another follows.
    Retry {
        /// Why.
        why: String,
    },
    /// A change is settled.
    Settled {
        /// The change's id.
        change: String,
        /// How.
        outcome: Outcome,
    },
    /// A removed lock is being put back, or was.
    Relock {
        /// Lock id.
        lock: String,
        /// `None` while trying.
        outcome: Option<String>,
    },
    /// A change is being taken back by its inverse, or was.
    Inverse {
        /// The resource, in short.
        resource: String,
        /// `None` while trying.
        outcome: Option<String>,
    },
    /// Everything is read again.
    Verifying,
    /// Something the user should know at once.
    Warning {
        /// One sentence.
        text: String,
    },
}

/// Who listens.
pub trait Listener: Send + Sync {
    /// Called in order; must not block for long.
    fn progress(&self, at: Timestamp, progress: &Progress);
}

/// Nobody listens.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Listener for Silent {
    fn progress(&self, _: Timestamp, _: &Progress) {}
}
