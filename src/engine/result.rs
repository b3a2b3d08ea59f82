//! The result of a command: exactly one object, the same keys always (`azmend.result/v1`, design 6c).
//!
//! It is built from the records of the run and from a fresh reading, never from what the code believes it did.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::facts::view::View;

/// Name and version of the result object.
pub const RESULT_SCHEMA: &str = "azmend.result/v1";

/// The state of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// A plan was made and not applied (dry run, saved).
    Planned,
    /// There is nothing to do.
    NothingToDo,
    /// A backup that azmend started earlier is still running: try again later.
    Waiting,
    /// Everything was done and verified.
    Succeeded,
    /// Some of it.
    Partial,
    /// A rule or the user stopped it; nothing was changed.
    Refused,
    /// It stopped and can be resumed.
    Paused,
    /// It failed; see `changes` for what was done.
    Failed,
    /// Everything that can be undone was.
    Undone,
    /// A person is needed.
    Stuck,
    /// Wrong input: nothing was asked or changed.
    Error,
}

/// One change in the result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChangeResult {
    /// Step id.
    pub step: String,
    /// Resource id.
    pub resource_id: String,
    /// What it does, in a sentence.
    pub effect: String,
    /// `planned`, `succeeded`, `already_done`, `skipped`, `refused`, `failed`, `unknown`, `pending`.
    pub outcome: String,
    /// What was proven or why not.
    pub detail: String,
    /// `restore`, `inverse`, `irreversible`, `not_needed`, or after an undo its outcome.
    pub undo: String,
    /// Azure's code or the rule, when it did not succeed.
    pub error: Option<ErrorResult>,
}

/// An error in the result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorResult {
    /// Azure's code, a backup error code, a rule (`s8.newest`), or azmend's own (`usage`, `sign_in`, ...).
    pub code: String,
    /// One sentence.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

/// A lock that the run removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LockResult {
    /// Resource id.
    pub id: String,
    /// `CanNotDelete` or `ReadOnly`.
    pub level: String,
    /// Its notes.
    pub notes: String,
    /// Whether it is restored.
    pub restored: bool,
    /// The command that recreates it by hand.
    pub recreate_command: String,
}

/// The calls of a run to Azure Resource Manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CallsResult {
    /// Requests that only read.
    pub reads: u64,
    /// Requests that change something.
    pub changes: u64,
    /// Seconds waited because of Azure's limits.
    pub waited_seconds: u64,
}

/// What a command gives back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunResult {
    /// [`RESULT_SCHEMA`].
    pub schema: String,
    /// Its state.
    pub status: Status,
    /// The process's exit code.
    pub exit_code: u8,
    /// The run, when one was started.
    pub run_id: Option<String>,
    /// Whether this was the embedded Azure.
    pub sandbox: bool,
    /// Cloud.
    pub cloud: Option<String>,
    /// Tenant id.
    pub tenant: Option<String>,
    /// Subscription id.
    pub subscription: Option<String>,
    /// Who signed in.
    pub identity: Option<String>,
    /// Playbook name.
    pub playbook: Option<String>,
    /// VM resource id.
    pub vm: Option<String>,
    /// When the command started.
    #[schemars(with = "Option<String>")]
    pub started: Option<Timestamp>,
    /// When it ended.
    #[schemars(with = "Option<String>")]
    pub ended: Option<Timestamp>,
    /// The changes.
    pub changes: Vec<ChangeResult>,
    /// The locks that were removed.
    pub locks_removed: Vec<LockResult>,
    /// The view before.
    pub before: Option<View>,
    /// The view after, read again.
    pub after: Option<View>,
    /// What the user should know.
    pub warnings: Vec<String>,
    /// What could not be read, and why.
    pub not_read: BTreeMap<String, String>,
    /// What it took of Azure's limits; null where nothing was run.
    pub arm_calls: Option<CallsResult>,
    /// Seconds after which it makes sense to try again.
    pub retry_after: Option<u64>,
    /// The error, when the command failed as a whole.
    pub error: Option<ErrorResult>,
    /// The next command or step for the user.
    pub next: Option<String>,
}

impl RunResult {
    /// An object with all keys and nothing in them.
    #[must_use]
    pub fn empty(status: Status, exit_code: u8, sandbox: bool) -> Self {
        Self {
            schema: RESULT_SCHEMA.to_owned(),
            status,
            exit_code,
            run_id: None,
            sandbox,
            cloud: None,
            tenant: None,
            subscription: None,
            identity: None,
            playbook: None,
            vm: None,
            started: None,
            ended: None,
            changes: Vec::new(),
            locks_removed: Vec::new(),
            before: None,
            after: None,
            warnings: Vec::new(),
            not_read: BTreeMap::new(),
            arm_calls: None,
            retry_after: None,
            error: None,
            next: None,
        }
    }
}
