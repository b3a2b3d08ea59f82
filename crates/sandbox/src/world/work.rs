//! The nouns of work in progress: jobs, their tasks, and long-running operations.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::guest::GuestRun;
use azmend_arm::id::ResourceId;

/// The state of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobStatus {
    /// Running.
    InProgress,
    /// A cancellation was accepted.
    Cancelling,
    /// Cancelled.
    Cancelled,
    /// Done.
    Completed,
    /// Done with warnings.
    CompletedWithWarnings,
    /// Failed.
    Failed,
}

impl JobStatus {
    /// Azure's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InProgress => "InProgress",
            Self::Cancelling => "Cancelling",
            Self::Cancelled => "Cancelled",
            Self::Completed => "Completed",
            Self::CompletedWithWarnings => "CompletedWithWarnings",
            Self::Failed => "Failed",
        }
    }

    /// Whether it still runs.
    #[must_use]
    pub const fn is_active(self) -> bool {
        matches!(self, Self::InProgress | Self::Cancelling)
    }
}

/// The state of a task of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TaskStatus {
    /// Waiting.
    NotStarted,
    /// Running.
    InProgress,
    /// Done.
    Completed,
    /// Failed.
    Failed,
    /// Cancelled.
    Cancelled,
    /// Left out.
    Skipped,
}

impl TaskStatus {
    /// Azure's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotStarted => "NotStarted",
            Self::InProgress => "InProgress",
            Self::Completed => "Completed",
            Self::Failed => "Failed",
            Self::Cancelled => "Cancelled",
            Self::Skipped => "Skipped",
        }
    }
}

/// A task of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// `Take Snapshot` or `Transfer data to vault`.
    pub name: String,
    /// State.
    pub status: TaskStatus,
    /// Start.
    pub started: Option<Timestamp>,
    /// End.
    pub ended: Option<Timestamp>,
}

/// One of a job's `errorDetails`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobError {
    /// `errorCode`, a number.
    pub code: i64,
    /// `errorTitle`, the symbolic code.
    pub title: String,
    /// `errorString`.
    pub text: String,
    /// `recommendations`.
    pub recommendations: Vec<String>,
}

/// A backup or restore job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Its name, a GUID.
    pub name: String,
    /// The item it works on.
    pub item: ResourceId,
    /// `Backup`, `Restore`, ...
    pub operation: String,
    /// State.
    pub status: JobStatus,
    /// Start.
    pub started: Timestamp,
    /// End.
    pub ended: Option<Timestamp>,
    /// Whether somebody asked for it; not sent (see `job_routes`), but counted.
    pub user_triggered: Option<bool>,
    /// Tasks.
    pub tasks: Vec<Task>,
    /// Why it failed.
    pub error: Option<JobError>,
    /// Further errors.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub more_errors: Vec<JobError>,
    /// `dynamicErrorMessage`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub dynamic_error: String,
    /// `recoveryPointExpiryTimeInUTC` of the request.
    pub expiry: Option<String>,
    /// The collection the snapshot is made in, while it is made.
    pub collection: Option<ResourceId>,
    /// The recovery point it made.
    pub recovery_point: Option<String>,
    /// Another job was transferring when it began: its own transfer is left out.
    #[serde(default)]
    pub skip_transfer: bool,
    /// The word that is shown for its state, when it is none of Azure's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shown: Option<String>,
}

impl Job {
    /// The word for its state.
    #[must_use]
    pub fn status_word(&self) -> &str {
        self.shown.as_deref().unwrap_or_else(|| self.status.as_str())
    }

    /// Whether it is in its snapshot phase.
    #[must_use]
    pub fn is_taking_snapshot(&self) -> bool {
        self.status.is_active()
            && self.operation == "Backup"
            && self.tasks.first().is_some_and(|t| matches!(t.status, TaskStatus::NotStarted | TaskStatus::InProgress))
    }

    /// The vault of the job.
    #[must_use]
    pub fn vault(&self) -> Option<ResourceId> {
        self.item.up_to("vaults")
    }

    /// The job's id.
    #[must_use]
    pub fn id(&self) -> Option<ResourceId> {
        self.vault().and_then(|v| v.child("backupJobs", &self.name).ok())
    }
}

/// What an operation does when it ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OpKind {
    /// Delete a restore point collection.
    DeleteCollection,
    /// Delete a restore point.
    DeletePoint,
    /// Delete `VMSnapshot` or another extension.
    DeleteExtension,
    /// Turn a backup request into a job.
    Backup,
    /// Cancel a job.
    CancelJob,
    /// Apply the model of a VM again.
    Reapply,
    /// Restart a VM.
    Restart,
    /// Protect a stopped item again.
    ResumeProtection,
    /// Stop the protection of an item and keep its data.
    StopProtection,
    /// Protect a VM for the first time.
    EnableProtection,
    /// Look for VMs that a vault has not discovered yet.
    RefreshContainers,
    /// Work out the effective rules of a network interface.
    EffectiveRules,
    /// Run a script in a VM.
    RunCommand(Box<GuestRun>),
}

/// The state of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OpStatus {
    /// Running.
    InProgress,
    /// Done.
    Succeeded,
    /// Failed.
    Failed,
    /// Canceled.
    Canceled,
}

impl OpStatus {
    /// Azure's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InProgress => "InProgress",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Canceled => "Canceled",
        }
    }
}

/// A long-running operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Its name, a GUID.
    pub name: String,
    /// What it does.
    pub kind: OpKind,
    /// What it does it to.
    pub target: ResourceId,
    /// The region of compute's poll address.
    pub location: String,
    /// Start.
    pub started: Timestamp,
    /// End.
    pub ended: Option<Timestamp>,
    /// State.
    pub status: OpStatus,
    /// Error code and message.
    pub error: Option<(String, String)>,
    /// The job it made or cancels.
    pub job: Option<String>,
    /// A fault decides how it ends: code, message, and whether the effect happens all the same.
    pub doomed: Option<(String, String, bool)>,
    /// A fault: it never ends.
    pub hangs: bool,
}
