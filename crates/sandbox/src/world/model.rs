//! The nouns of the world. Field names follow Azure's where Azure has a name.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use azmend_arm::id::ResourceId;

/// Delays, limits and the page size of a world. Times are in seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// How long a request takes, in milliseconds.
    pub latency_ms: u64,
    /// Rows per page of a list.
    pub page_size: usize,
    /// The most rows of a page of Resource Graph, also when a query asks for more.
    #[serde(default = "thousand")]
    pub graph_rows: u64,
    /// How long a removed lock is still enforced.
    pub lock_release_delay: u64,
    /// A removed lock's GET answers 404, 200, 404, ... until it is released everywhere.
    pub lock_flapping: bool,
    /// How long after a backup that met the limit the service cleans up expired points.
    pub service_cleanup_after: u64,
    /// How long the deletion of a collection takes; 4 seconds for each point come on top.
    pub collection_delete: u64,
    /// How long the deletion of a point takes (about 5 s were recorded).
    pub point_delete: u64,
    /// How long the deletion of an extension takes (about 10 s were recorded).
    pub extension_delete: u64,
    /// Retry-After on operation polls of compute; 0 sends none.
    pub retry_after: u64,
    /// How long it takes until a backup request has become a job.
    pub backup_accept: u64,
    /// How long "Take Snapshot" takes.
    pub snapshot: u64,
    /// How long "Transfer data to vault" takes.
    pub transfer: u64,
    /// Whether token buckets answer 429.
    pub throttling: bool,
    /// Tiers of recovery points are served as numbers.
    #[serde(default)]
    pub numeric_tiers: bool,
    /// A ReadOnly lock on a VM, its group or its subscription makes its backups fail.
    #[serde(default)]
    pub vm_lock_stops_backup: bool,
}

const fn thousand() -> u64 {
    1000
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            latency_ms: 120,
            page_size: 50,
            graph_rows: thousand(),
            lock_release_delay: 45,
            lock_flapping: false,
            service_cleanup_after: 4 * 3600,
            collection_delete: 20,
            point_delete: 5,
            extension_delete: 10,
            retry_after: 5,
            backup_accept: 20,
            snapshot: 150,
            transfer: 3 * 3600,
            throttling: true,
            numeric_tiers: false,
            vm_lock_stops_backup: false,
        }
    }
}

/// A subscription.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    /// Its GUID.
    pub id: String,
    /// Its display name.
    pub name: String,
    /// Whether the caller finds it in the list; one that is not listed answers 404 `SubscriptionNotFound`.
    pub listed: bool,
}

/// A resource group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Its id.
    pub id: ResourceId,
    /// Its region.
    pub location: String,
    /// `managedBy`, recorded on some backup groups (errors/exchanges/azurebackuprg).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed_by: Option<String>,
}

/// Power states as they stand in `PowerState/...`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Power {
    /// `PowerState/running`.
    Running,
    /// `PowerState/stopped`.
    Stopped,
    /// `PowerState/deallocated`.
    Deallocated,
}

/// The state of the VM agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Agent {
    /// `ProvisioningState/succeeded`, displayed as Ready.
    Ready,
    /// `ProvisioningState/Unavailable`, displayed as Not Ready.
    NotReady,
    /// The instance view has no `vmAgent`.
    Missing,
}

/// The state of an extension handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HandlerState {
    /// Ready.
    Ready,
    /// NotReady with an error.
    Failed,
    /// NotReady without one.
    NotReady,
}

/// An extension handler in the instance view; the `VMSnapshot` one is the business of Azure Backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handler {
    /// `typeHandlerVersion`.
    pub version: String,
    /// Its state.
    pub state: HandlerState,
    /// Its status code, when it is not the usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What it says when it failed.
    pub message: String,
}

/// An extension that the list shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extension {
    /// Its name.
    pub name: String,
    /// Its publisher.
    pub publisher: String,
    /// Its type.
    pub kind: String,
    /// Its version.
    pub version: String,
    /// Whether it is provisioned.
    pub ok: bool,
}

/// A virtual machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vm {
    /// Its id.
    pub id: ResourceId,
    /// `properties.vmId`: its identity; a VM made again under the same name has another one.
    pub vm_id: String,
    /// Its region.
    pub location: String,
    /// Its size; `Standard_D2s_v5` without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<String>,
    /// Whether it runs Windows (else Linux).
    pub windows: bool,
    /// Power.
    pub power: Power,
    /// Agent.
    pub agent: Agent,
    /// Whether `provisioningState` is Succeeded (else Failed).
    pub provisioned: bool,
    /// Whether its disks are managed: then `VMSnapshot` is hidden from the extension list.
    pub managed_disks: bool,
    /// The `VMSnapshot` handler, if it is there.
    pub vmsnapshot: Option<Handler>,
    /// The service cannot bring `VMSnapshot` back to work: the guest is broken.
    pub broken: bool,
    /// Other extensions.
    pub extensions: Vec<Extension>,
    /// Azure Disk Encryption, when it is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<super::Encryption>,
    /// Tags.
    #[serde(default)]
    pub tags: std::collections::BTreeMap<String, String>,
    /// Vaults have not discovered it yet.
    #[serde(default)]
    pub hidden_from_vaults: bool,
    /// The OS disk; its name is made from the VM's.
    #[serde(default)]
    pub os_disk: DiskSpec,
    /// Data disks.
    #[serde(default)]
    pub data_disks: Vec<DiskSpec>,
    /// How busy it is, at any time.
    #[serde(default)]
    pub load: Load,
    /// Outbound rules of its network, in the order they are asked.
    #[serde(default)]
    pub outbound: Vec<OutboundRule>,
    /// What scripts find inside.
    #[serde(default)]
    pub guest: super::guest::Guest,
}

/// A managed disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DiskSpec {
    /// Its name.
    pub name: String,
    /// Its size.
    pub size_gb: u32,
    /// Its kind.
    pub sku: String,
    /// How many machines it can be attached to.
    pub shared: u8,
    /// An ephemeral OS disk.
    pub ephemeral: bool,
}

impl Default for DiskSpec {
    fn default() -> Self {
        Self { name: String::new(), size_gb: 128, sku: "Premium_LRS".to_owned(), shared: 1, ephemeral: false }
    }
}

/// How busy a VM is, in percent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Load {
    /// Processors in use.
    pub cpu: f64,
    /// Memory in use; without it the VM has no such metric.
    pub memory: Option<f64>,
}

impl Eq for Load {}

impl Default for Load {
    fn default() -> Self {
        Self { cpu: 12.0, memory: Some(40.0) }
    }
}

/// An outbound rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutboundRule {
    /// Its name.
    pub name: String,
    /// Whether it lets traffic through.
    #[serde(default)]
    pub allow: bool,
    /// A service tag, a CIDR range or `*`.
    pub to: String,
    /// Ports: `443`, `0-65535`, `*`.
    #[serde(default = "any_port")]
    pub ports: String,
}

fn any_port() -> String {
    "0-65535".to_owned()
}

impl Vm {
    /// The handler type, which depends on the operating system.
    #[must_use]
    pub const fn snapshot_type(&self) -> &'static str {
        if self.windows { "VMSnapshot" } else { "VMSnapshotLinux" }
    }
}

/// The state of a restore point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PointState {
    /// Usable.
    Succeeded,
    /// Being made.
    Creating,
    /// Being deleted.
    Deleting,
    /// It has no value.
    Failed,
}

/// A restore point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Point {
    /// Its name, `AzureBackup_YYYYMMDD_HHMMSS` for Azure Backup's.
    pub name: String,
    /// `timeCreated`.
    pub created: Timestamp,
    /// Its state.
    pub state: PointState,
    /// `sourceMetadata.vmId`.
    pub vm_id: String,
    /// Somebody holds shared access: deleting answers `DiskRestorePointUsedByCustomer`.
    #[serde(default)]
    pub in_use: bool,
    /// The point it was copied from (cross-region copy).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copied_from: Option<String>,
    /// How far a copy to another region is, in percent: of this point, or that this point is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copying: Option<u8>,
}

/// A restore point collection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collection {
    /// Its id.
    pub id: ResourceId,
    /// `restorePointCollectionId`: its identity.
    pub collection_id: String,
    /// Its region.
    pub location: String,
    /// `source.id`: a VM, or a collection for a cross-region copy.
    pub source: ResourceId,
    /// Whether `provisioningState` says Deleting.
    pub deleting: bool,
    /// How many delete operations it takes: all but the last end Failed with a part of the points gone.
    pub deletes_needed: u32,
    /// The delete operations that do not suffice never end instead of ending Failed.
    pub delete_hangs: bool,
    /// How many points a delete operation takes, oldest first, when it does not take all: while some are left it ends Failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletes_per_call: Option<u32>,
    /// Provisioned size of the disks behind each point: 30 without one; 0 is not sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_gb: Option<u32>,
    /// Its points.
    pub points: Vec<Point>,
}

/// A Recovery Services vault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vault {
    /// Its id.
    pub id: ResourceId,
    /// Its region.
    pub location: String,
    /// `immutabilitySettings.state`: Disabled, Unlocked or Locked.
    pub immutability: String,
    /// `softDeleteSettings.softDeleteState`: Enabled, Disabled or AlwaysON.
    pub soft_delete: String,
    /// A resource guard protects it (`multiUserAuthorization`, `backupResourceGuardProxies`).
    pub resource_guard: bool,
}

/// A backup policy for virtual machines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Its id.
    pub id: ResourceId,
    /// `policyType` V2 (else V1, which the service leaves out).
    pub enhanced: bool,
    /// `instantRpRetentionRangeInDays`.
    pub snapshot_days: u32,
    /// Retention in the vault.
    pub vault_days: u32,
    /// Hours between backups of an hourly (enhanced) policy; 0 for a daily one.
    pub every_hours: u32,
    /// The time of day of the backup in UTC, in seconds after midnight.
    pub time_of_day: u32,
    /// `instantRPDetails.azureBackupRGNamePrefix`.
    pub prefix: Option<String>,
    /// `instantRPDetails.azureBackupRGNameSuffix`.
    pub suffix: Option<String>,
    /// The limit of succeeded points, when it is not the computed one.
    pub limit: Option<u32>,
    /// The whole schedule, instead of `every_hours` and `time_of_day`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<ExactSchedule>,
}

/// A schedule as Azure has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExactSchedule {
    /// `Daily`, `Weekly`, `Hourly`.
    pub frequency: String,
    /// Times of day, `HH:MM`.
    pub times: Vec<String>,
    /// Week days.
    pub days: Vec<String>,
    /// Hours between the backups of an hourly one.
    pub interval_hours: u32,
    /// How long an hourly one goes on.
    pub window_hours: u32,
    /// Windows time zone.
    pub time_zone: String,
}

/// What an item says of its health.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reported {
    /// `healthStatus`.
    pub status: String,
    /// `healthDetails`.
    pub details: Vec<Detail>,
}

/// One of an item's `healthDetails`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Detail {
    /// Number.
    #[serde(default)]
    pub code: i64,
    /// Symbolic code.
    #[serde(default)]
    pub title: String,
    /// Text.
    #[serde(default)]
    pub message: String,
}

impl Policy {
    /// How many succeeded points a VM may have before the next snapshot: 18 under a standard policy, what schedule and
    /// retention allow plus three under an enhanced one.
    #[must_use]
    pub fn point_limit(&self) -> usize {
        if let Some(limit) = self.limit {
            return limit as usize;
        }
        if !self.enhanced {
            return 18;
        }
        let per_day = if self.every_hours == 0 { 1 } else { 24_u32.div_ceil(self.every_hours) };
        (self.snapshot_days.saturating_mul(per_day).saturating_add(3) as usize).max(18)
    }
}

/// What protects an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protection {
    /// `Protected`.
    Protected,
    /// `IRPending`: the first backup has not run.
    Pending,
    /// `ProtectionError`.
    Error,
    /// `ProtectionStopped`: the data is retained.
    Stopped,
    /// `BackupsSuspended`.
    Suspended,
    /// `ProtectionStopped` with `isScheduledForDeferredDelete`.
    SoftDeleted,
}

/// A recovery point in the vault's list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveryPoint {
    /// Its name: a long number.
    pub name: String,
    /// `recoveryPointTime`.
    pub time: Timestamp,
    /// Tier details: type and status, e.g. `("InstantRP", "Valid")`.
    pub tiers: Vec<(String, String)>,
    /// `recoveryPointType`.
    pub consistency: String,
    /// `isInstantIlrSessionActive`.
    #[serde(default)]
    pub ilr_session: bool,
}

/// A protected item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Its id, with container and item names as the vault knows them.
    pub id: ResourceId,
    /// The VM it protects.
    pub vm: ResourceId,
    /// Its policy; none when protection was stopped.
    pub policy: Option<ResourceId>,
    /// State.
    pub protection: Protection,
    /// `lastBackupStatus`: Completed, Failed, or empty.
    pub last_backup_status: String,
    /// `lastBackupTime`.
    pub last_backup_time: Option<Timestamp>,
    /// What it says of its health, when that is not what its jobs make of it; until its next backup ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reported: Option<Reported>,
    /// It does not say what it protects; only its own names may.
    #[serde(default)]
    pub without_source: bool,
    /// Its recovery points, oldest first.
    pub recovery_points: Vec<RecoveryPoint>,
}

impl Item {
    /// The vault it is in.
    #[must_use]
    pub fn vault(&self) -> Option<ResourceId> {
        self.id.up_to("vaults")
    }
}

/// A resource that only has to exist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtherResource {
    /// Its id.
    pub id: ResourceId,
    /// Its region.
    pub location: String,
}

/// The level of a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LockLevel {
    /// Blocks DELETE.
    CanNotDelete,
    /// Blocks DELETE, PUT, PATCH and POST actions.
    ReadOnly,
}

impl LockLevel {
    /// Azure's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CanNotDelete => "CanNotDelete",
            Self::ReadOnly => "ReadOnly",
        }
    }
}

/// A management lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// Its id; the scope is everything before `/providers/Microsoft.Authorization/locks/`.
    pub id: ResourceId,
    /// Level.
    pub level: LockLevel,
    /// Notes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
    /// `owners[].applicationId`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub owners: Vec<String>,
}

/// A removed lock that is still enforced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lingering {
    /// The lock as it was.
    pub lock: Lock,
    /// Until when.
    pub until: Timestamp,
    /// How often it was read since (for flapping).
    pub reads: u32,
}

/// A deny assignment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DenyAssignment {
    /// Its name, a GUID.
    pub name: String,
    /// Its display name.
    pub title: String,
    /// Its scope.
    pub scope: ResourceId,
    /// Denied actions.
    pub actions: Vec<String>,
    /// Exceptions.
    pub not_actions: Vec<String>,
    /// `isSystemProtected`.
    pub system_protected: bool,
}

/// What the caller may do at a scope and below.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permission {
    /// A resource id, or `/` for everything.
    pub scope: String,
    /// Allowed actions, with `*`.
    pub actions: Vec<String>,
    /// Exceptions.
    pub not_actions: Vec<String>,
}

/// A token bucket, in thousandths of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    /// Tokens left.
    pub milli: u64,
    /// When it was last filled.
    pub at: Timestamp,
}

/// Counters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Requests served.
    pub requests: u64,
    /// Ids made.
    pub ids: u64,
    /// Events scheduled.
    pub events: u64,
    /// Times it was saved.
    #[serde(default)]
    pub saves: u64,
}
