//! Microsoft.RecoveryServices: vaults, protected items, policies, recovery points, jobs.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::id::ResourceId;

/// A Recovery Services vault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vault {
    /// Resource id.
    pub id: ResourceId,
    /// Region.
    pub location: String,
    /// `securitySettings.immutabilitySettings.state`: `Disabled`, `Unlocked`, `Locked`; empty when not sent.
    pub immutability: String,
    /// `securitySettings.multiUserAuthorization` (resource guard): `Enabled`, `Disabled`, `Invalid`; empty when not sent.
    pub multi_user_authorization: String,
}

/// The answer of `POST locations/{region}/backupStatus`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupStatus {
    /// `NotProtected`, `Protecting`, `Protected`, `ProtectionFailed`.
    pub protection_status: String,
    /// Vault id text; empty when not protected. Its subscription may differ from the VM's.
    pub vault_id: String,
    /// Container name as the API knows it.
    pub container: String,
    /// Protected item name as the API knows it.
    pub item: String,
    /// Policy name.
    pub policy: String,
    /// Error code of the service, `Success` included.
    pub error_code: String,
}

/// One health detail of a protected item.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthDetail {
    /// Numeric id, e.g. 400196.
    pub code: i64,
    /// The symbolic code, e.g. `UserErrorGuestAgentStatusUnavailable` (recorded).
    pub title: String,
    /// Text.
    pub message: String,
}

/// A protected Azure VM in a vault (`protectedItems`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProtectedItem {
    /// Resource id with container and item names as the API gave them.
    pub id: ResourceId,
    /// `sourceResourceId` or `virtualMachineId` as sent.
    pub source: String,
    /// `policyId`; empty when protection is stopped without one.
    pub policy_id: String,
    /// `protectionState`: Invalid, IRPending, Protected, ProtectionError, ProtectionStopped, ProtectionPaused, BackupsSuspended.
    pub protection_state: String,
    /// `healthStatus`.
    pub health: String,
    /// `healthDetails`.
    pub health_details: Vec<HealthDetail>,
    /// `lastBackupStatus`.
    pub last_backup_status: String,
    /// `lastBackupTime`.
    pub last_backup_time: Option<Timestamp>,
    /// `lastRecoveryPoint`: the newest recovery point; a failed backup does not move it.
    #[serde(default)]
    pub last_recovery_point: Option<Timestamp>,
    /// `isScheduledForDeferredDelete`: soft-deleted.
    pub soft_deleted: bool,
}

impl ProtectedItem {
    /// The vault's id.
    #[must_use]
    pub fn vault_id(&self) -> Option<ResourceId> {
        self.id.up_to("vaults")
    }

    /// Protection stopped, data retained, or suspended: anything but active protection.
    #[must_use]
    pub fn stopped(&self) -> bool {
        ["ProtectionStopped", "ProtectionPaused", "BackupsSuspended"]
            .iter()
            .any(|state| self.protection_state.eq_ignore_ascii_case(state))
    }
}

/// How often a policy backs up.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// `Daily`, `Weekly`, `Hourly`; empty when unknown.
    pub frequency: String,
    /// Times of day as `HH:MM`, in the policy's time zone.
    pub times: Vec<String>,
    /// Week days in English for `Weekly`.
    pub days: Vec<String>,
    /// `Hourly`: hours between backups; 0 otherwise.
    pub interval_hours: i64,
    /// `Hourly`: length of the window in hours; 0 otherwise.
    pub window_hours: i64,
}

/// A backup policy for Azure VMs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Resource id.
    pub id: ResourceId,
    /// `V1` (Standard), `V2` (Enhanced); Standard policies often omit it: then `V1`.
    pub policy_type: String,
    /// `instantRpRetentionRangeInDays`; `None` when not sent (default 2 for Standard, 7 for Enhanced).
    pub snapshot_days: Option<i64>,
    /// `instantRPDetails.azureBackupRGNamePrefix`; empty for the default names.
    pub group_prefix: String,
    /// `instantRPDetails.azureBackupRGNameSuffix`.
    pub group_suffix: String,
    /// The schedule.
    pub schedule: Schedule,
    /// Windows time zone name as sent, e.g. `UTC`, `W. Europe Standard Time`.
    pub time_zone: String,
}

impl Policy {
    /// Whether this is an Enhanced policy.
    #[must_use]
    pub fn enhanced(&self) -> bool {
        self.policy_type.eq_ignore_ascii_case("V2")
    }

    /// Days a snapshot is kept: as set, else Azure's default (2 Standard, 7 Enhanced; instant restore documentation).
    #[must_use]
    pub fn snapshot_days(&self) -> i64 {
        self.snapshot_days.unwrap_or(if self.enhanced() { 7 } else { 2 })
    }
}

/// One storage tier of a recovery point.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tier {
    /// `InstantRP`, `HardenedRP`, `ArchivedRP`.
    pub kind: String,
    /// `Valid`, `Deleted`, `Disabled`, `Rehydrated`, ...
    pub status: String,
}

/// A vault recovery point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveryPoint {
    /// Resource id.
    pub id: ResourceId,
    /// `recoveryPointTime`.
    pub time: Option<Timestamp>,
    /// `recoveryPointType`: the consistency.
    pub consistency: String,
    /// `recoveryPointTierDetails`.
    pub tiers: Vec<Tier>,
    /// `isInstantIlrSessionActive`: a file-recovery session is mounted. `None` when not sent.
    pub file_recovery_active: Option<bool>,
}

impl RecoveryPoint {
    /// Whether the point is in this tier with status Valid.
    #[must_use]
    pub fn valid_in(&self, tier: &str) -> bool {
        self.tiers.iter().any(|t| t.kind.eq_ignore_ascii_case(tier) && t.status.eq_ignore_ascii_case("Valid"))
    }

    /// Whether the vault holds its own copy (`HardenedRP` Valid).
    #[must_use]
    pub fn hardened(&self) -> bool {
        self.valid_in("HardenedRP")
    }
}

/// One error of a job (`errorDetails[]`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobError {
    /// Numeric id.
    pub code: i64,
    /// Symbolic code where present (`errorTitle`).
    pub title: String,
    /// Localised text (`errorString`).
    pub text: String,
    /// Recommendations.
    pub recommendations: Vec<String>,
}

/// One task of a job.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobTask {
    /// `Take Snapshot`, `Transfer data to vault`.
    pub id: String,
    /// `InProgress`, `NotStarted`, `Completed`, `Failed`, `Skipped`, ...
    pub status: String,
}

/// A backup job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Resource id; the name is the job id.
    pub id: ResourceId,
    /// `Backup`, `Restore`, `ConfigureBackup`, `DeleteBackupData`, ...
    pub operation: String,
    /// `InProgress`, `Cancelling`, `Cancelled`, `Completed`, `CompletedWithWarnings`, `Failed`, or what Azure adds one day.
    pub status: String,
    /// Start.
    pub start: Option<Timestamp>,
    /// End; `None` while running.
    pub end: Option<Timestamp>,
    /// `entityFriendlyName`: the VM's name; not unique.
    pub vm_name: String,
    /// `containerName`, when sent: names group and VM.
    pub container: String,
    /// `isUserTriggered`, or an expiry in `extendedInfo.propertyBag` of the job's own GET; `None` when neither was sent
    /// (then it counts as user-triggered, S10).
    pub user_triggered: Option<bool>,
    /// `errorDetails`.
    pub errors: Vec<JobError>,
    /// `extendedInfo.dynamicErrorMessage`.
    pub dynamic_error: String,
    /// `extendedInfo.tasksList`; only in a job's own GET.
    pub tasks: Vec<JobTask>,
}

impl Job {
    /// Whether the job has not ended. A job ended only when Azure names one of the states that a job ends in; one in a state
    /// that azmend does not know, or in none, counts as running (S10).
    #[must_use]
    pub fn running(&self) -> bool {
        const ENDED: [&str; 5] = ["Completed", "CompletedWithWarnings", "Failed", "Cancelled", "Canceled"];
        !ENDED.iter().any(|state| self.status.trim().eq_ignore_ascii_case(state))
    }

    /// Whether the job ended and did what it should, with warnings or without.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        ["Completed", "CompletedWithWarnings"].iter().any(|state| self.status.eq_ignore_ascii_case(state))
    }

    /// Whether the job ended and did what it should, with warnings.
    #[must_use]
    pub fn warned(&self) -> bool {
        self.status.eq_ignore_ascii_case("CompletedWithWarnings")
    }

    /// What Azure says of its failure, in its own words.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.errors.iter().map(|error| error.text.as_str()).chain([self.dynamic_error.as_str()])
    }

    /// The status of a task by its id.
    #[must_use]
    pub fn task(&self, id: &str) -> Option<&str> {
        self.tasks.iter().find(|task| task.id.eq_ignore_ascii_case(id)).map(|task| task.status.as_str())
    }
}
