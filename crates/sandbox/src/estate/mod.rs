//! The estate file: what a sandbox is loaded with (`apiVersion: azmend/estate/v1`).
//!
//! Written by hand or by `capture`. Times are ages against the estate's `now`; points are written as series; locks stand inline
//! on what they lock. Unknown fields are errors; so are references to things that are not there. `docs/sandbox.md` and
//! `examples/estates/built-in.yaml` show the format.

pub(crate) mod build;
mod engines;
mod exact;
pub(crate) mod generate;
mod governance;
mod items;
mod keyvault;
pub(crate) mod source;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use crate::estate::engines::EngineSpec;
use crate::estate::exact::{
    HealthSpec, HistorySpec, LastBackupSpec, PointSpec, RecoveryPointSpec, ScheduleSpec, ScopedLockSpec,
};
use crate::estate::keyvault::{EncryptionSpec, KeyVaultSpec};
use crate::estate::source::Many;
use crate::world::faults::Fault;
use crate::world::{Agent, Guest, LockLevel, Power, Protection, World, WorldEvent, hash_text};

use crate::world::faults;
use azmend_base::duration::Span;
use azmend_base::yaml::{Diagnostic, Spanned};

/// The built-in estate.
const BUILT_IN: &str = include_str!("../../../../examples/estates/built-in.yaml");

/// An estate that was read and checked.
#[derive(Debug, Clone)]
pub struct Estate {
    world: World,
}

impl Estate {
    /// Reads an estate.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with its place.
    pub fn parse(text: &str, file: &str) -> Result<Self, Vec<Diagnostic>> {
        Self::read(text, file, None)
    }

    /// Reads an estate as if it had been written at `now`: its ages are counted from there. For clients that live in
    /// the machine's time.
    ///
    /// # Errors
    /// As [`Estate::parse`].
    pub fn parse_at(text: &str, file: &str, now: Timestamp) -> Result<Self, Vec<Diagnostic>> {
        Self::read(text, file, Some(now))
    }

    fn read(text: &str, file: &str, now: Option<Timestamp>) -> Result<Self, Vec<Diagnostic>> {
        let mut spec: EstateSpec = source::parse(text, file)?;
        if let Some(now) = now {
            spec.shift = exact::shift(spec.now, now);
            spec.now = now;
        }
        let (mut world, errors) = build::build(&spec, file);
        if !errors.is_empty() {
            return Err(errors);
        }
        world.estate_digest = hash_text(text);
        Ok(Self { world })
    }

    /// The estate that comes with azmend.
    #[must_use]
    pub fn built_in() -> Self {
        // A test parses it; a broken one would be a bug in azmend and gives an empty world.
        Self::parse(BUILT_IN, "built-in.yaml").unwrap_or_else(|_| Self { world: World::empty(Timestamp::UNIX_EPOCH) })
    }

    /// The text of the built-in estate, to begin one's own with.
    #[must_use]
    pub const fn built_in_text() -> &'static str {
        BUILT_IN
    }

    pub(crate) const fn world(&self) -> &World {
        &self.world
    }
}

impl World {
    /// The world of an estate: the same ids for the same estate.
    #[must_use]
    pub fn from_estate(estate: &Estate) -> Self {
        estate.world().clone()
    }
}

const fn yes() -> bool {
    true
}

const fn one_day() -> Span {
    Span::from_secs(86_400)
}

fn backup() -> String {
    "Backup".into()
}

fn westeurope() -> String {
    "westeurope".into()
}

fn eleven() -> String {
    "23:00".into()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EstateSpec {
    #[serde(rename = "apiVersion")]
    pub api_version: Spanned<String>,
    pub name: String,
    pub now: Timestamp,
    /// How far what it says exactly moves.
    #[serde(skip)]
    pub shift: SignedDuration,
    #[serde(default)]
    pub tenant: Option<Spanned<String>>,
    #[serde(default)]
    pub backup_principal: Option<Spanned<String>>,
    #[serde(default)]
    pub settings: SettingsSpec,
    pub subscriptions: Vec<SubscriptionSpec>,
    /// On what has no `locks` of its own.
    #[serde(default)]
    pub locks: Vec<ScopedLockSpec>,
    #[serde(default)]
    pub permissions: Vec<PermissionSpec>,
    #[serde(default)]
    pub deny_assignments: Vec<DenySpec>,
    #[serde(default)]
    pub policy_assignments: Vec<governance::PolicySpec>,
    #[serde(default)]
    pub activity: Vec<governance::ActivitySpec>,
    #[serde(default)]
    pub faults: Vec<FaultSpec>,
    #[serde(default)]
    pub timeline: Vec<TimelineSpec>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SettingsSpec {
    pub latency_ms: Option<u64>,
    pub page_size: Option<usize>,
    pub lock_release_delay: Option<Span>,
    pub lock_flapping: Option<bool>,
    pub service_cleanup_after: Option<Span>,
    pub collection_delete: Option<Span>,
    pub point_delete: Option<Span>,
    pub extension_delete: Option<Span>,
    pub retry_after: Option<Span>,
    pub backup_accept: Option<Span>,
    pub snapshot: Option<Span>,
    pub transfer: Option<Span>,
    pub throttling: Option<bool>,
    pub numeric_tiers: Option<bool>,
    pub vm_lock_stops_backup: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SubscriptionSpec {
    pub name: Spanned<String>,
    #[serde(default)]
    pub id: Option<Spanned<String>>,
    #[serde(default = "yes")]
    pub listed: bool,
    #[serde(default)]
    pub locks: Vec<LockSpec>,
    #[serde(default)]
    pub groups: Vec<GroupSpec>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LockSpec {
    pub name: Spanned<String>,
    pub level: LockLevel,
    #[serde(default)]
    pub notes: Option<String>,
    #[serde(default)]
    pub owners: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GroupSpec {
    pub name: Spanned<String>,
    #[serde(default = "westeurope")]
    pub location: String,
    #[serde(default)]
    pub managed_by: Option<String>,
    #[serde(default)]
    pub locks: Vec<LockSpec>,
    #[serde(default)]
    pub vms: Vec<VmSpec>,
    #[serde(default)]
    pub vaults: Vec<VaultSpec>,
    #[serde(default)]
    pub key_vaults: Vec<KeyVaultSpec>,
    #[serde(default)]
    pub collections: Vec<CollectionSpec>,
    #[serde(default)]
    pub resources: Vec<ResourceSpec>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResourceSpec {
    #[serde(rename = "type")]
    pub kind: Spanned<String>,
    pub name: Spanned<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Os {
    #[default]
    Windows,
    Linux,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Good {
    #[default]
    Succeeded,
    Failed,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Snap {
    #[default]
    Ready,
    Failed,
    /// Neither ready nor failed.
    NotReady,
    Absent,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SnapSpec {
    #[serde(default)]
    pub state: Snap,
    #[serde(default)]
    pub version: Option<String>,
    #[serde(default)]
    pub message: Option<String>,
    /// The status code that it shows instead of the usual one.
    #[serde(default)]
    pub code: Option<String>,
    /// The guest is broken: the service cannot bring it back to work.
    #[serde(default)]
    pub broken: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExtensionSpec {
    pub name: Spanned<String>,
    pub publisher: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub version: String,
    #[serde(default)]
    pub state: Good,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct VmSpec {
    pub name: Spanned<String>,
    /// Its region, when it is not the group's.
    #[serde(default)]
    pub location: Option<String>,
    #[serde(default)]
    pub size: Option<String>,
    #[serde(default)]
    pub os: Os,
    #[serde(default)]
    pub power: Option<Power>,
    #[serde(default)]
    pub agent: Option<Agent>,
    #[serde(default)]
    pub state: Good,
    #[serde(default = "yes")]
    pub managed_disks: bool,
    #[serde(default)]
    pub vm_id: Option<String>,
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    #[serde(default)]
    pub vmsnapshot: SnapSpec,
    #[serde(default)]
    pub extensions: Vec<ExtensionSpec>,
    /// Vaults have not discovered it yet.
    #[serde(default)]
    pub hidden_from_vaults: bool,
    #[serde(default)]
    pub os_disk: crate::world::DiskSpec,
    #[serde(default)]
    pub disks: Vec<crate::world::DiskSpec>,
    #[serde(default)]
    pub load: crate::world::Load,
    #[serde(default)]
    pub outbound: Vec<crate::world::OutboundRule>,
    #[serde(default)]
    pub encryption: Option<EncryptionSpec>,
    #[serde(default)]
    pub locks: Vec<LockSpec>,
    #[serde(default)]
    pub guest: Guest,
    #[serde(default)]
    pub protection: Option<ProtectionSpec>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProtectionSpec {
    pub vault: Spanned<String>,
    #[serde(default)]
    pub policy: Option<Spanned<String>>,
    #[serde(default)]
    pub state: Option<Protection>,
    #[serde(default)]
    pub points: Many<SeriesSpec>,
    #[serde(default)]
    pub jobs: Vec<JobSpec>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ItemSpec {
    /// `group/vm` or the resource id of a virtual machine; it need not be there any more.
    pub of: Spanned<String>,
    /// The vault's names for it, when they are not made of the group and the VM.
    #[serde(default)]
    pub container: Option<Spanned<String>>,
    #[serde(default)]
    pub name: Option<Spanned<String>>,
    /// False when it does not say what it protects.
    #[serde(default = "yes")]
    pub source: bool,
    #[serde(default)]
    pub health: Option<HealthSpec>,
    #[serde(default)]
    pub last_backup: Option<LastBackupSpec>,
    #[serde(default)]
    pub recovery_points: Vec<RecoveryPointSpec>,
    #[serde(default)]
    pub history: Vec<HistorySpec>,
    #[serde(default)]
    pub policy: Option<Spanned<String>>,
    #[serde(default)]
    pub state: Option<Protection>,
    #[serde(default)]
    pub points: Many<SeriesSpec>,
    #[serde(default)]
    pub jobs: Vec<JobSpec>,
}

/// Where a point of a series is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Tier {
    /// A snapshot, with its copy in the vault.
    #[default]
    Both,
    /// A snapshot that the vault knows and has no copy of.
    Snapshot,
    /// A copy in the vault whose snapshot is gone.
    Vault,
    /// A snapshot that no vault knows.
    None,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SeriesSpec {
    pub count: u32,
    pub newest: Span,
    #[serde(default = "one_day")]
    pub every: Span,
    #[serde(default)]
    pub tier: Tier,
    #[serde(default)]
    pub state: Good,
    #[serde(default)]
    pub in_use: bool,
    #[serde(default)]
    pub file_recovery: bool,
    /// The VM whose `vmId` the points carry, when it is not the collection's VM.
    #[serde(default)]
    pub vm_id_of: Option<Spanned<String>>,
    /// Another name than Azure Backup's; a number is put behind it.
    #[serde(default)]
    pub named: Option<String>,
    /// The collection's points were copied from another region.
    #[serde(default)]
    pub copied: bool,
    /// A copy to another region is under way: so many percent of it are done.
    #[serde(default)]
    pub copying: Option<Spanned<u8>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Finished {
    Completed,
    CompletedWithWarnings,
    Failed,
    Cancelled,
    InProgress,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Phase {
    #[default]
    Transfer,
    Snapshot,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct JobSpec {
    pub age: Span,
    pub status: Finished,
    #[serde(default)]
    pub error: Option<String>,
    /// What its details say instead of the usual text.
    #[serde(default)]
    pub message: Option<String>,
    #[serde(default = "backup")]
    pub operation: String,
    #[serde(default)]
    pub user: Option<bool>,
    #[serde(default)]
    pub took: Option<Span>,
    /// The word for its state, when it is none of Azure's.
    #[serde(default)]
    pub shown: Option<String>,
    /// Of a job in progress: where it is, and when that ends.
    #[serde(default)]
    pub phase: Phase,
    #[serde(default)]
    pub ends_in: Option<Span>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CollectionSpec {
    /// The VM: `name`, `group/name`, or its resource id. A collection's name or id for points copied from another region.
    pub of: Spanned<String>,
    /// `restorePointCollectionId`; made from the name when left out.
    #[serde(default)]
    pub id: Option<String>,
    /// Its region, when it is not the group's.
    #[serde(default)]
    pub location: Option<String>,
    /// Azure is deleting it.
    #[serde(default)]
    pub deleting: bool,
    /// Provisioned size of the disks behind each point; 0: not sent.
    #[serde(default)]
    pub disk_gb: Option<u32>,
    #[serde(default)]
    pub restore_points: Vec<PointSpec>,
    /// The VM is not there any more.
    #[serde(default)]
    pub deleted: bool,
    #[serde(default)]
    pub name: Option<Spanned<String>>,
    #[serde(default)]
    pub deletes_needed: Option<u32>,
    #[serde(default)]
    pub delete_hangs: bool,
    /// How many points each deletion takes; while some are left it ends Failed.
    #[serde(default)]
    pub deletes_per_call: Option<Spanned<u32>>,
    #[serde(default)]
    pub points: Many<SeriesSpec>,
    #[serde(default)]
    pub locks: Vec<LockSpec>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Immutability {
    #[default]
    Disabled,
    Unlocked,
    Locked,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SoftDelete {
    #[default]
    Enabled,
    Disabled,
    AlwaysOn,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct VaultSpec {
    pub name: Spanned<String>,
    #[serde(default)]
    pub location: Option<String>,
    #[serde(default)]
    pub immutability: Immutability,
    #[serde(default)]
    pub soft_delete: SoftDelete,
    #[serde(default)]
    pub resource_guard: bool,
    #[serde(default)]
    pub policies: Vec<PolicySpec>,
    #[serde(default)]
    pub items: Vec<ItemSpec>,
    #[serde(default)]
    pub engines: Vec<EngineSpec>,
    #[serde(default)]
    pub locks: Vec<LockSpec>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum PolicyKind {
    #[default]
    Standard,
    Enhanced,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PolicySpec {
    pub name: Spanned<String>,
    #[serde(default, rename = "type")]
    pub kind: PolicyKind,
    #[serde(default)]
    pub snapshot_days: Option<u32>,
    #[serde(default)]
    pub vault_days: Option<u32>,
    #[serde(default)]
    pub every_hours: u32,
    #[serde(default = "eleven")]
    pub at: String,
    #[serde(default)]
    pub prefix: Option<String>,
    #[serde(default)]
    pub suffix: Option<String>,
    #[serde(default)]
    pub limit: Option<u32>,
    /// The whole schedule, instead of `at` and `every_hours`.
    #[serde(default)]
    pub schedule: Option<ScheduleSpec>,
    #[serde(default)]
    pub time_zone: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PermissionSpec {
    /// `/`, a subscription's name, `group` or `subscription/group`.
    pub scope: Spanned<String>,
    #[serde(default)]
    pub actions: Vec<String>,
    #[serde(default)]
    pub not_actions: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DenySpec {
    pub name: String,
    pub scope: Spanned<String>,
    pub actions: Vec<String>,
    #[serde(default)]
    pub not_actions: Vec<String>,
    #[serde(default = "yes")]
    pub system_protected: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FaultSpec {
    pub id: Spanned<String>,
    #[serde(rename = "match", default)]
    pub when: faults::Match,
    pub effect: faults::Effect,
}

impl FaultSpec {
    pub(crate) fn fault(&self) -> Fault {
        Fault { id: self.id.value.clone(), when: self.when.clone(), effect: self.effect.clone(), seen: 0, fired: 0 }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TimelineSpec {
    pub after: Spanned<Span>,
    #[serde(rename = "do")]
    pub event: WorldEvent,
}
