//! What a journal line says. These are disk types: they mirror the engine's types and are not them, so that a journal
//! written by an older azmend stays readable when the engine changes.
//!
//! Invariants: fields are only added (with a default), never renamed or reused; what a lock needs to come back is in
//! the line itself.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The version of the format that this azmend writes.
pub const FORMAT: u32 = 1;

/// Why a request is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// To make the change.
    Do,
    /// To take it back because the user asked for `undo`.
    Undo,
    /// To put a lock back at the end of a run (`--relock`).
    Relock,
}

/// How a change ended, on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    /// `succeeded`, `already_done`, `skipped`, `refused`, `failed`, `unknown`, `not_needed`.
    pub outcome: String,
    /// The sentence for people.
    pub detail: String,
    /// The rule that refused, or Azure's code.
    #[serde(default)]
    pub code: String,
    /// What to do.
    #[serde(default)]
    pub hint: Option<String>,
    /// A sign-in or permission problem.
    #[serde(default)]
    pub permission: bool,
}

/// One thing that happened in a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The first line.
    Started {
        /// [`FORMAT`].
        format: u32,
        /// UUIDv7.
        run: String,
        /// The azmend that wrote it.
        version: String,
        /// Hash of the plan beside it.
        plan_hash: String,
        /// Process id.
        pid: u32,
    },
    /// A process takes the run up again.
    Resumed {
        /// The azmend that does.
        version: String,
        /// Process id.
        pid: u32,
    },
    /// The user asked to take the run back.
    UndoStarted {
        /// Process id.
        pid: u32,
    },
    /// A step begins.
    StepStarted {
        /// Step id.
        step: String,
    },
    /// A step is over or was left out.
    StepEnded {
        /// Step id.
        step: String,
        /// `done`, `off` (its condition), `stopped` (on_failure).
        how: String,
        /// Why, when not done.
        #[serde(default)]
        why: String,
    },
    /// A request is about to be sent.
    Intent {
        /// Change id.
        change: String,
        /// Counted from 1 for each change and purpose.
        attempt: u32,
        /// Why it is sent.
        purpose: Purpose,
        /// `DELETE`, `PUT`, `POST`.
        verb: String,
        /// Resource id of the request's target (a point, when a collection is emptied point by point).
        target: String,
        /// The before-image: for a lock everything needed to write it back; for a collection the ids of its points.
        before: Value,
        /// `x-ms-client-request-id`.
        client_request_id: String,
    },
    /// Azure accepted the request as a long-running operation.
    Accepted {
        /// Change id.
        change: String,
        /// Why it was sent.
        purpose: Purpose,
        /// The operation, to go on polling after a crash.
        operation: Value,
    },
    /// Azure answered the request, or the answer was lost; the change is not settled by it.
    Answered {
        /// Change id.
        change: String,
        /// Why it was sent.
        purpose: Purpose,
        /// `ok`, `throttled`, `locked`, `rejected`, `lost`, `accepted` (and not followed to its end), `operation_failed`,
        /// `operation_timeout`.
        how: String,
        /// The error in a sentence; empty when ok.
        #[serde(default)]
        detail: String,
    },
    /// Something learned on the way that a resumed run needs (`job`: id of the backup job).
    Learned {
        /// Change id.
        change: String,
        /// What.
        key: String,
        /// The value.
        value: String,
    },
    /// A change is settled.
    Ended {
        /// Change id.
        change: String,
        /// Which purpose is settled.
        purpose: Purpose,
        /// How.
        ending: Ending,
    },
    /// Something the user should know.
    Warned {
        /// One sentence.
        text: String,
    },
    /// The run stops here and can be resumed.
    Paused {
        /// `deadline`, `interrupted`, `clean_up_pending`, `unreachable`, `operation_pending`.
        why: String,
        /// One sentence.
        detail: String,
        /// When to come back.
        retry_after: Timestamp,
    },
    /// The run is over.
    Finished {
        /// `succeeded`, `partial`, `refused`, `failed`, `undone`, `stuck`.
        status: String,
        /// The exit code that was given.
        exit_code: u8,
    },
}

/// A line of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Counted from 1 without gaps.
    pub seq: u64,
    /// When (the world's clock in the sandbox).
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub event: Event,
}
