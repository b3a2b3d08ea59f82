//! What a journal line says. These are disk types: they mirror the engine's types and are not them, so that a journal
//! written by an older azmend stays readable when the engine changes.
//!
//! Invariants: fields are only added (with a default), never renamed or reused; what a lock needs to come back is in
//! the line itself.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The version of the format that this azmend writes. It reads all that came before.
///
/// 2: an outcome can be corrected by a later reading ([`Event::Corrected`]), and an ending says what its requests did
/// ([`Ending::effect`]).
pub const FORMAT: u32 = 2;

/// Why a request is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// To make the change.
    Do,
    /// To undo it because the user asked for `undo`.
    Undo,
    /// To put a lock back at the end of a run (`--relock`).
    Relock,
}

/// The word for how a change ended, on disk: the mirror of the engine's outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndKind {
    /// Done, and proven by reading.
    Succeeded,
    /// It was so already, and this run sent nothing for it.
    AlreadyDone,
    /// Not tried.
    Skipped,
    /// A rule stopped it.
    Refused,
    /// It failed.
    Failed,
    /// Nobody can say from here whether it happened.
    Unknown,
    /// Of undo: there is nothing to undo any more.
    NotNeeded,
    /// Of undo: it cannot be undone.
    Irreversible,
}

impl EndKind {
    /// The word in results.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::AlreadyDone => "already_done",
            Self::Skipped => "skipped",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
            Self::NotNeeded => "not_needed",
            Self::Irreversible => "irreversible",
        }
    }
}

/// What reading showed that the requests of a change did, whatever its outcome is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Nothing: no request was sent, or a stable reading shows that none of them took effect.
    None,
    /// Something of it, or all.
    Some,
    /// Not known.
    Unknown,
}

/// How a change ended, on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    /// How.
    pub outcome: EndKind,
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
    /// What the requests did; absent in journals of format 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<Effect>,
}

/// What is known of Azure's answer to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// A 2xx, and the operation behind it, if any, ended without an error.
    Ok,
    /// 429: not taken.
    Throttled,
    /// 409 ScopeLocked: not taken.
    Locked,
    /// Another error that says that it was not taken.
    Rejected,
    /// No answer, or one after which it may have taken effect.
    Lost,
    /// Accepted, and not followed to its end.
    Accepted,
    /// The accepted operation failed.
    OperationFailed,
    /// The accepted operation did not end in time.
    OperationTimeout,
}

impl Answer {
    /// Whether it says that Azure did not take the request.
    #[must_use]
    pub const fn is_rejection(self) -> bool {
        matches!(self, Self::Throttled | Self::Locked | Self::Rejected)
    }
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepEnd {
    /// Every change was settled.
    Done,
    /// It did not run: its condition, or how an earlier step ended.
    Off,
    /// A change stopped the run.
    Stopped,
}

/// Why a run stops and can be resumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PauseReason {
    /// `--deadline`.
    Deadline,
    /// Ctrl-C, SIGTERM.
    Interrupted,
    /// Azure Backup cleans up after an unlocking.
    CleanUpPending,
    /// Azure could not be reached.
    Unreachable,
    /// Azure asks to wait for longer than a run should hold.
    Throttled,
    /// What Azure accepted has not ended.
    OperationPending,
    /// A removed lock is still in force somewhere in Azure.
    LockReleasing,
}

impl PauseReason {
    /// The word in results.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Deadline => "deadline",
            Self::Interrupted => "interrupted",
            Self::CleanUpPending => "clean_up_pending",
            Self::Unreachable => "unreachable",
            Self::Throttled => "throttled",
            Self::OperationPending => "operation_pending",
            Self::LockReleasing => "lock_releasing",
        }
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinalStatus {
    /// Everything was done and verified.
    Succeeded,
    /// Some of it.
    Partial,
    /// A rule stopped it; nothing was changed.
    Refused,
    /// It failed.
    Failed,
    /// Undone.
    Undone,
    /// A person is needed.
    Stuck,
}

impl FinalStatus {
    /// The word in lists.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Partial => "partial",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Undone => "undone",
            Self::Stuck => "stuck",
        }
    }
}

/// What is learned on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fact {
    /// The id of the backup job that a request started.
    Job,
}

/// Where a run works and on what: what is needed of its plan to restore its locks when the plan is lost (S13).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The embedded Azure and not a real one.
    pub sandbox: bool,
    /// Which cloud.
    pub cloud: String,
    /// The ARM endpoint.
    pub endpoint: String,
    /// Tenant id.
    pub tenant: String,
    /// Subscription of the VM.
    pub subscription: String,
    /// Who signed in.
    pub identity: String,
    /// Digest of the sandbox's estate.
    pub estate_digest: String,
    /// Name of the playbook.
    pub playbook: String,
    /// Resource id of the VM.
    pub vm: String,
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
        /// Where the run works; absent in journals of older versions.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        origin: Option<Box<Origin>>,
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
        /// How.
        how: StepEnd,
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
        /// What is known of it.
        how: Answer,
        /// The error in a sentence; empty when ok.
        #[serde(default)]
        detail: String,
    },
    /// Something learned on the way that a resumed run needs.
    Learned {
        /// Change id.
        change: String,
        /// What.
        key: Fact,
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
    /// A later reading contradicts how a change ended: this is how it ended after all.
    Corrected {
        /// Change id.
        change: String,
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
        /// Why.
        why: PauseReason,
        /// One sentence.
        detail: String,
        /// When to come back.
        retry_after: Timestamp,
    },
    /// The run is over.
    Finished {
        /// How it ended.
        status: FinalStatus,
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
