//! A change: one mutation of one resource, with everything needed to show it, guard it, prove it and take it back.
//!
//! The before-image is part of the change: what is shown and confirmed is exactly what the guards compare with just
//! before the request is sent (S3).

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::arm::id::ResourceId;
use crate::arm::model::{Collection, KeyPermissions, Lock, Point};
use crate::duration::Span;

use super::guest::Setting;
use super::spec::BackupUntil;

/// What is changed, with the before-image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ChangeKind {
    /// Removes one management lock.
    RemoveLock {
        /// The lock as it was read for the plan.
        lock: Lock,
    },
    /// Deletes a restore point collection with all its points.
    DeleteCollection {
        /// The collection with its points as read for the plan.
        collection: Collection,
        /// Why it may go.
        why: DeleteReason,
    },
    /// Deletes one restore point.
    DeletePoint {
        /// The point as read for the plan.
        point: Point,
        /// `restorePointCollectionId` of the collection that holds it.
        collection_id: String,
    },
    /// Uninstalls the VMSnapshot extension; Azure Backup installs it again at the next backup.
    UninstallExtension {
        /// The extension resource's id.
        extension: ResourceId,
        /// The handler's version as read for the plan; empty when it was not reported.
        version: String,
        /// The handler's status code as read for the plan.
        code: String,
    },
    /// Starts an on-demand backup.
    StartBackup {
        /// The protected item.
        item: ResourceId,
        /// How long the recovery point is kept.
        retain: Span,
        /// Until when the job is followed.
        until: BackupUntil,
    },
    /// Waits until a job has ended. Nothing is sent.
    AwaitJob {
        /// The job.
        job: ResourceId,
    },
    /// Cancels a backup job that hangs.
    CancelJob {
        /// The job.
        job: ResourceId,
        /// When it began, as read for the plan.
        started: Option<Timestamp>,
        /// From which age on it counts as stuck.
        older_than: Span,
    },
    /// Applies the VM's model again.
    ReapplyVm {
        /// The VM.
        vm: ResourceId,
        /// Its provisioning state as read for the plan.
        state: String,
    },
    /// Restarts the VM.
    RestartVm {
        /// The VM.
        vm: ResourceId,
    },
    /// Protects a VM again whose protection was stopped.
    ResumeProtection {
        /// The protected item, stopped with its data retained.
        item: ResourceId,
        /// Its `sourceResourceId` as read for the plan.
        source: String,
        /// The id of its policy as read for the plan; empty for none.
        old_policy: String,
        /// The policy it gets.
        policy: ResourceId,
    },
    /// Protects a VM that no vault knows.
    EnableProtection {
        /// The protected item that is made, with the names that the vault gave.
        item: ResourceId,
        /// The VM's id as the vault spells it.
        source: String,
        /// The policy it gets.
        policy: ResourceId,
    },
    /// Adds permissions of one identity to a key vault's access policies.
    GrantKeyAccess {
        /// The key vault.
        vault: ResourceId,
        /// Its `createdAt` as read for the plan.
        created: String,
        /// Its tenant.
        tenant: String,
        /// Object id of the identity.
        principal: String,
        /// What the identity has, as read for the plan.
        before: KeyPermissions,
        /// What is added.
        missing: KeyPermissions,
    },
    /// Assigns a role on a key vault.
    AssignKeyRole {
        /// The assignment, under a name that the plan fixes.
        assignment: ResourceId,
        /// `createdAt` of the vault as read for the plan.
        created: String,
        /// Object id of the identity.
        principal: String,
        /// The id of the role definition.
        role: String,
    },
    /// Sets something inside a VM, by a script.
    SetGuest {
        /// The VM.
        vm: ResourceId,
        /// Its `vmId`.
        vm_id: String,
        /// What, with the before-image.
        setting: Setting,
    },
}

/// Why a collection or point is not needed any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeleteReason {
    /// The VM is gone and no vault knows it.
    Orphan,
    /// A newer collection exists; every point is expired and hardened in the vault.
    Superseded,
    /// Older than the policy's snapshot retention plus 48 hours, and hardened.
    Expired,
    /// The live collection, by explicit wish and named overrides.
    Chosen,
}

/// How a change can be taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Undo {
    /// By writing the before-image back.
    Restore,
    /// By a request of its own that takes back exactly what this change did, and nothing else.
    Inverse {
        /// What that request does, for the plan: "stop the protection again, keeping its data".
        effect: String,
    },
    /// It cannot.
    Irreversible {
        /// Why, for the plan.
        reason: String,
    },
    /// It need not.
    NotNeeded {
        /// Why.
        reason: String,
    },
}

/// How much a mistake would cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Risk {
    /// Can be taken back exactly, or heals by itself.
    Low,
    /// Changes what others rely on until taken back.
    Medium,
    /// Deletes what does not come back.
    High,
}

/// One mutation of one resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Unique in the plan: `<step>.<n>`.
    pub id: String,
    /// What, with the before-image.
    #[serde(flatten)]
    pub what: ChangeKind,
    /// What it does, in a sentence for the plan.
    pub effect: String,
    /// How it is taken back.
    pub undo: Undo,
    /// What a mistake would cost.
    pub risk: Risk,
}

impl Change {
    /// A change of `what`, with the undo and the risk that belong to its kind.
    #[must_use]
    pub fn new(step: &str, number: usize, what: ChangeKind, effect: String) -> Self {
        let (undo, risk) = match &what {
            ChangeKind::RemoveLock { .. } => (Undo::Restore, Risk::Medium),
            ChangeKind::DeleteCollection { .. } | ChangeKind::DeletePoint { .. } => {
                (Undo::Irreversible { reason: "a deleted restore point does not come back".to_owned() }, Risk::High)
            }
            ChangeKind::UninstallExtension { .. } => (
                Undo::NotNeeded { reason: "Azure Backup installs the extension again at the next backup".to_owned() },
                Risk::Low,
            ),
            ChangeKind::StartBackup { retain, .. } => (
                Undo::NotNeeded { reason: format!("the extra recovery point expires by itself after {retain}") },
                Risk::Low,
            ),
            ChangeKind::AwaitJob { .. } => (Undo::NotNeeded { reason: "nothing is sent".to_owned() }, Risk::Low),
            ChangeKind::CancelJob { .. } => (
                Undo::Irreversible { reason: "a cancelled job does not go on; start another backup".to_owned() },
                Risk::Medium,
            ),
            ChangeKind::ReapplyVm { .. } => {
                (Undo::NotNeeded { reason: "nothing of the VM's model changes".to_owned() }, Risk::Low)
            }
            ChangeKind::RestartVm { .. } => {
                (Undo::Irreversible { reason: "a restart has happened".to_owned() }, Risk::Medium)
            }
            ChangeKind::ResumeProtection { .. } => (
                Undo::Inverse {
                    effect: "stop the protection again, keeping its data; recovery points that expired meanwhile do \
                             not come back"
                        .to_owned(),
                },
                Risk::Medium,
            ),
            ChangeKind::EnableProtection { .. } => (
                Undo::Inverse {
                    effect:
                        "stop the protection, keeping what was backed up meanwhile; the vault goes on naming the VM"
                            .to_owned(),
                },
                Risk::Medium,
            ),
            ChangeKind::GrantKeyAccess { .. } => {
                (Undo::Inverse { effect: "take away exactly these permissions again".to_owned() }, Risk::Medium)
            }
            ChangeKind::AssignKeyRole { .. } => {
                (Undo::Inverse { effect: "remove this role assignment again".to_owned() }, Risk::Medium)
            }
            ChangeKind::SetGuest { setting, .. } => (Undo::Inverse { effect: setting.inverse() }, Risk::Medium),
        };
        Self { id: format!("{step}.{number}"), what, effect, undo, risk }
    }

    /// The resource that is changed.
    #[must_use]
    pub const fn resource(&self) -> &ResourceId {
        match &self.what {
            ChangeKind::RemoveLock { lock } => &lock.id,
            ChangeKind::DeleteCollection { collection, .. } => &collection.id,
            ChangeKind::DeletePoint { point, .. } => &point.id,
            ChangeKind::UninstallExtension { extension, .. } => extension,
            ChangeKind::StartBackup { item, .. }
            | ChangeKind::ResumeProtection { item, .. }
            | ChangeKind::EnableProtection { item, .. } => item,
            ChangeKind::AwaitJob { job } | ChangeKind::CancelJob { job, .. } => job,
            ChangeKind::GrantKeyAccess { vault, .. } => vault,
            ChangeKind::AssignKeyRole { assignment, .. } => assignment,
            ChangeKind::ReapplyVm { vm, .. } | ChangeKind::RestartVm { vm } | ChangeKind::SetGuest { vm, .. } => vm,
        }
    }

    /// How many changes this counts for under `--max-changes` (S9): every point in a collection is one.
    #[must_use]
    pub fn weight(&self) -> usize {
        match &self.what {
            ChangeKind::DeleteCollection { collection, .. } => collection.points().len().max(1),
            ChangeKind::AwaitJob { .. } => 0,
            _ => 1,
        }
    }
}

/// A rule that stopped something, and why. The rule's name is stable (`s8.newest`), the sentence is for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// e.g. `s5.vm-group`, `s8.snapshot-only`.
    pub rule: String,
    /// One sentence: what was found.
    pub why: String,
    /// What the user can do about it, if anything.
    pub hint: Option<String>,
}

impl Refusal {
    /// A refusal without a hint.
    #[must_use]
    pub fn new(rule: &str, why: impl Into<String>) -> Self {
        Self { rule: rule.to_owned(), why: why.into(), hint: None }
    }

    /// Adds what the user can do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.why, self.rule)
    }
}

/// A rule that the user may switch off by name for one run (`--override`). Nothing else can be overridden.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Override {
    /// Delete one of the two newest succeeded points.
    #[serde(rename = "s8.newest")]
    Newest,
    /// Delete a point that the vault has no copy of.
    #[serde(rename = "s8.snapshot-only")]
    SnapshotOnly,
    /// Delete while a job runs.
    #[serde(rename = "s8.job-active")]
    JobActive,
    /// Delete shortly before a scheduled backup.
    #[serde(rename = "s8.job-due")]
    JobDue,
    /// Delete during a file-recovery session or an unfinished copy.
    #[serde(rename = "s8.recovery-session")]
    RecoverySession,
    /// Delete points of a soft-deleted item.
    #[serde(rename = "s8.soft-deleted")]
    SoftDeleted,
    /// Delete points of an item whose protection is stopped with data retained.
    #[serde(rename = "s8.stopped-retained")]
    StoppedRetained,
    /// Delete under an immutable vault or a resource guard.
    #[serde(rename = "s8.immutable")]
    Immutable,
    /// Start more than three on-demand backups in a day (never more than nine).
    #[serde(rename = "s10.daily-limit")]
    DailyLimit,
}

impl Override {
    /// Every override.
    pub const ALL: [Self; 9] = [
        Self::Newest,
        Self::SnapshotOnly,
        Self::JobActive,
        Self::JobDue,
        Self::RecoverySession,
        Self::SoftDeleted,
        Self::StoppedRetained,
        Self::Immutable,
        Self::DailyLimit,
    ];

    /// The name users type: also the name of the rule.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Newest => "s8.newest",
            Self::SnapshotOnly => "s8.snapshot-only",
            Self::JobActive => "s8.job-active",
            Self::JobDue => "s8.job-due",
            Self::RecoverySession => "s8.recovery-session",
            Self::SoftDeleted => "s8.soft-deleted",
            Self::StoppedRetained => "s8.stopped-retained",
            Self::Immutable => "s8.immutable",
            Self::DailyLimit => "s10.daily-limit",
        }
    }

    /// What the user gives up by it, for the question.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Newest => "the two newest restore points may be deleted",
            Self::SnapshotOnly => "points that the vault has no copy of may be deleted: that data is then gone",
            Self::JobActive => "points may be deleted while a backup or restore job runs",
            Self::JobDue => "points may be deleted shortly before a scheduled backup",
            Self::RecoverySession => "points may be deleted during a file-recovery session or an unfinished copy",
            Self::SoftDeleted => "points of a soft-deleted item may be deleted: an undelete would want them",
            Self::StoppedRetained => "points may be deleted although protection was stopped to keep the data",
            Self::Immutable => "points may be deleted although the vault is immutable or guarded",
            Self::DailyLimit => "more than three on-demand backups in a day",
        }
    }

    /// The override of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|o| o.name() == name)
    }
}

impl fmt::Display for Override {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How a change ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// Done and proven by reading.
    Succeeded {
        /// What was proven: "gone (404)", "snapshot taken; transfer to the vault running, not verified".
        detail: String,
    },
    /// It was so already; nothing was sent.
    AlreadyDone {
        /// What was found.
        detail: String,
    },
    /// Not tried.
    Skipped {
        /// Why.
        why: String,
    },
    /// A rule stopped it; nothing was sent (any more).
    Refused {
        /// The rule and the reason.
        refusal: Refusal,
    },
    /// It failed, and reading shows that it did not happen (or not completely: then the text says so).
    Failed {
        /// What happened.
        error: Failure,
    },
    /// Nobody can say from here whether it happened. Settled only by reading, never by sending again blindly.
    Unknown {
        /// What was lost.
        why: String,
    },
}

/// Why a change failed, in a form that can be shown and branched on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Azure's code or a backup error code; empty when there is none.
    pub code: String,
    /// What happened, one sentence.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    /// Whether this is a sign-in or permission problem (exit 4 when nothing changed).
    pub permission: bool,
}

impl Failure {
    /// A failure with code and message.
    #[must_use]
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), hint: None, permission: false }
    }
}

impl Failure {
    /// Adds what to do.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl Outcome {
    /// One word for tables and JSON.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Succeeded { .. } => "succeeded",
            Self::AlreadyDone { .. } => "already_done",
            Self::Skipped { .. } => "skipped",
            Self::Refused { .. } => "refused",
            Self::Failed { .. } => "failed",
            Self::Unknown { .. } => "unknown",
        }
    }

    /// The sentence that goes with it.
    #[must_use]
    pub fn detail(&self) -> String {
        match self {
            Self::Succeeded { detail } | Self::AlreadyDone { detail } => detail.clone(),
            Self::Skipped { why } | Self::Unknown { why } => why.clone(),
            Self::Refused { refusal } => refusal.to_string(),
            Self::Failed { error } if error.code.is_empty() => error.message.clone(),
            Self::Failed { error } => format!("{}: {}", error.code, error.message),
        }
    }

    /// Whether the state that was wanted holds.
    #[must_use]
    pub const fn holds(&self) -> bool {
        matches!(self, Self::Succeeded { .. } | Self::AlreadyDone { .. })
    }
}
