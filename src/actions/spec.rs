//! What playbooks may ask for: the names of the actions and their typed parameters.
//!
//! Duty: one closed list. A playbook holds an [`ActionSpec`]; what an action does with it is in the action's own file.
//!
//! Invariants: parameters are complete (defaults filled in) and in range once they are here; an unknown name, key or
//! value is an error. Nothing here can run anything.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::duration::Span;

/// An action with its parameters, resolved and typed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", content = "with")]
pub enum ActionSpec {
    /// `locks.remove`.
    #[serde(rename = "locks.remove")]
    LocksRemove(LocksRemove),
    /// `restore_points.delete_stale`.
    #[serde(rename = "restore_points.delete_stale")]
    DeleteStale(DeleteStale),
    /// `restore_points.delete_collection`.
    #[serde(rename = "restore_points.delete_collection")]
    DeleteCollection(DeleteCollection),
    /// `extension.uninstall`.
    #[serde(rename = "extension.uninstall")]
    ExtensionUninstall(ExtensionUninstall),
    /// `backup.start`.
    #[serde(rename = "backup.start")]
    BackupStart(BackupStart),
    /// `job.wait`.
    #[serde(rename = "job.wait")]
    JobWait(JobWait),
    /// `job.cancel`.
    #[serde(rename = "job.cancel")]
    JobCancel(JobCancel),
    /// `vm.reapply`.
    #[serde(rename = "vm.reapply")]
    VmReapply(VmReapply),
    /// `vm.restart`.
    #[serde(rename = "vm.restart")]
    VmRestart(VmRestart),
    /// `protection.resume`.
    #[serde(rename = "protection.resume")]
    ProtectionResume(ProtectionResume),
    /// Protects a VM that no vault knows.
    #[serde(rename = "protection.enable")]
    ProtectionEnable(ProtectionEnable),
    /// `keyvault.grant`.
    #[serde(rename = "keyvault.grant")]
    KeyvaultGrant(KeyvaultGrant),
    /// `guest.service`.
    #[serde(rename = "guest.service")]
    GuestService(GuestService),
    /// `guest.agent_conf`.
    #[serde(rename = "guest.agent_conf")]
    GuestAgentConf(GuestAgentConf),
}

/// Waits until every running job of the VM has ended, in any vault. Nothing is sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct JobWait {}

/// Cancels a backup job that hangs while it takes its snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct JobCancel {
    /// How long ago it must have begun: 1h to 30d.
    #[serde(deserialize_with = "stuck_after")]
    pub older_than: Span,
}

impl Default for JobCancel {
    fn default() -> Self {
        Self { older_than: Span::from_secs(DAY) }
    }
}

fn stuck_after<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
    let span = Span::deserialize(deserializer)?;
    if (3600..=30 * DAY).contains(&span.as_secs()) {
        Ok(span)
    } else {
        Err(D::Error::custom(format!("{span} is out of range: a job counts as stuck after 1h to 30d")))
    }
}

/// Applies the VM's model again when its provisioning state is Failed. The VM is not restarted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct VmReapply {}

/// Restarts a running VM. Only behind a parameter that asks for it by name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct VmRestart {}

/// Removes locks that stop Azure Backup from cleaning up its restore points.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LocksRemove {
    /// Had no effect and is no key of the language any more; read where older playbooks and plans have it, and kept there
    /// because it is part of a plan's hash.
    #[schemars(skip)]
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub scope: Option<LockScope>,
}

/// The only value that `scope` ever had.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LockScope {
    /// Locks on the VM's backup resource groups and on its Backup-owned collections.
    #[default]
    BackupGroups,
}

/// Deletes restore points and collections that are proven superfluous.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DeleteStale {
    /// Which kinds of stale points; all of them unless told otherwise.
    #[schemars(length(min = 1))]
    #[serde(deserialize_with = "some_kinds")]
    pub kinds: Vec<StaleKind>,
    /// When to stop.
    pub until: StaleUntil,
}

/// Why a restore point is superfluous.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StaleKind {
    /// Its VM is gone, and so is every protected item that named it.
    Orphan,
    /// A newer collection of the VM exists, and the vault has a copy of every point of this one.
    Superseded,
    /// It is older than the policy's snapshot retention plus 48 hours, and the vault has a copy.
    Expired,
}

/// When `restore_points.delete_stale` stops.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StaleUntil {
    /// When the VM is below the limit with room for the next backup.
    #[default]
    Room,
    /// When nothing stale is left.
    All,
}

impl Default for DeleteStale {
    fn default() -> Self {
        Self { kinds: vec![StaleKind::Orphan, StaleKind::Superseded, StaleKind::Expired], until: StaleUntil::default() }
    }
}

/// Deletes the VM's whole Backup-owned collection, live points included. Rules refuse it unless they are overridden by
/// name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DeleteCollection {}

/// Uninstalls VMSnapshot (Windows) or VMSnapshotLinux (Linux); Azure Backup installs it again with the next backup.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ExtensionUninstall {
    /// Had no effect and is no key of the language any more; read where older playbooks and plans have it, and kept there
    /// because it is part of a plan's hash.
    #[schemars(skip)]
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub handler: Option<HandlerName>,
}

/// The only value that `handler` ever had.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum HandlerName {
    /// VMSnapshot on Windows, VMSnapshotLinux on Linux.
    #[default]
    #[serde(rename = "VMSnapshot")]
    VmSnapshot,
}

/// Starts an on-demand backup and follows its job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BackupStart {
    /// How long the recovery point is kept: 1d to 3650d.
    #[serde(deserialize_with = "retention")]
    pub retain: Span,
    /// How far the job is followed.
    pub until: BackupUntil,
}

/// How far `backup.start` follows the job.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BackupUntil {
    /// Until the snapshot is taken; the transfer to the vault then runs on by itself.
    #[default]
    Snapshot,
    /// To the end of the job.
    Job,
}

/// Resumes the protection of a VM that was stopped with its data retained.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ProtectionResume {
    /// The name of a policy of the item's vault; empty for the item's own old policy.
    pub policy: String,
}

/// Protects a VM that no vault knows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ProtectionEnable {
    /// A vault of the VM's subscription by name, or any by its resource id.
    pub vault: String,
    /// The name of a policy of that vault.
    pub policy: String,
}
/// Gives Azure Backup the permissions that it lacks on the key vaults of an encrypted VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KeyvaultGrant {
    /// Whether it was asked for: only behind a parameter that asks for it by name.
    pub grant: bool,
    /// Object id of Azure Backup's service principal in the tenant: a GUID.
    pub principal: String,
    /// The role for key vaults that go by roles: the GUID of a role definition. Key Vault Administrator unless told
    /// otherwise.
    pub role: String,
    /// Whether access policies get the backup of secrets, too.
    pub secret_backup: bool,
}

impl Default for KeyvaultGrant {
    fn default() -> Self {
        let role = super::rules::keyvault::ADMINISTRATOR.to_owned();
        Self { grant: false, principal: String::new(), role, secret_backup: false }
    }
}
/// Lets one Windows service that a backup needs start again, by a script in the VM. Only with `--allow-guest`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GuestService {
    /// Which service.
    pub name: ServiceName,
    /// What its start type must be at least: a service that starts more readily is left as it is.
    pub start: StartType,
    /// Whether it must run, too. A service that is started on demand need not.
    pub running: bool,
}

/// The services that azmend may set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ServiceName {
    /// Volume Shadow Copy.
    #[default]
    #[serde(rename = "VSS")]
    Vss,
    /// Microsoft Software Shadow Copy Provider.
    SwPrv,
    /// COM+ System Application.
    #[serde(rename = "COMSysApp")]
    ComSysApp,
    /// COM+ Event System.
    EventSystem,
    /// Distributed Transaction Coordinator.
    #[serde(rename = "MSDTC")]
    Msdtc,
    /// Cryptographic Services.
    CryptSvc,
}

impl ServiceName {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Vss, Self::SwPrv, Self::ComSysApp, Self::EventSystem, Self::Msdtc, Self::CryptSvc];

    /// Its name in Windows.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vss => "VSS",
            Self::SwPrv => "SwPrv",
            Self::ComSysApp => "COMSysApp",
            Self::EventSystem => "EventSystem",
            Self::Msdtc => "MSDTC",
            Self::CryptSvc => "CryptSvc",
        }
    }
}

/// How a service starts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StartType {
    /// On demand.
    #[default]
    Manual,
    /// With the system.
    Automatic,
}

/// Sets one key of `/etc/waagent.conf` that stops the Linux agent's work back to its default, by a script in the VM. Only
/// with `--allow-guest`. The agent is not restarted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GuestAgentConf {
    /// Which key.
    pub key: ConfKey,
}

/// The keys that azmend may set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConfKey {
    /// `Extensions.Enabled`: from `n` to `y`.
    #[default]
    #[serde(rename = "Extensions.Enabled")]
    ExtensionsEnabled,
    /// `Provisioning.Agent`: from `disabled` to `auto`.
    #[serde(rename = "Provisioning.Agent")]
    ProvisioningAgent,
}

impl ConfKey {
    /// Its name in the file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ExtensionsEnabled => "Extensions.Enabled",
            Self::ProvisioningAgent => "Provisioning.Agent",
        }
    }
}

const DAY: u64 = 86_400;

impl Default for BackupStart {
    fn default() -> Self {
        Self { retain: Span::from_secs(30 * DAY), until: BackupUntil::default() }
    }
}

/// A key that may be missing and may not be null.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// `recoveryPointExpiryTimeInUTC` is a time in the future; Azure keeps points for at most 99 years, azmend for ten.
fn retention<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
    let span = Span::deserialize(deserializer)?;
    if (DAY..=3650 * DAY).contains(&span.as_secs()) {
        Ok(span)
    } else {
        Err(D::Error::custom(format!("{span} is out of range: a recovery point is kept for 1d to 3650d")))
    }
}

fn some_kinds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<StaleKind>, D::Error> {
    let mut kinds = Vec::<StaleKind>::deserialize(deserializer)?;
    kinds.sort_unstable();
    kinds.dedup();
    if kinds.is_empty() { Err(D::Error::custom("the list is empty: nothing would be deleted")) } else { Ok(kinds) }
}

/// The name of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ActionName {
    /// `locks.remove`.
    LocksRemove,
    /// `restore_points.delete_stale`.
    DeleteStale,
    /// `restore_points.delete_collection`.
    DeleteCollection,
    /// `extension.uninstall`.
    ExtensionUninstall,
    /// `backup.start`.
    BackupStart,
    /// `job.wait`.
    JobWait,
    /// `job.cancel`.
    JobCancel,
    /// `vm.reapply`.
    VmReapply,
    /// `vm.restart`.
    VmRestart,
    /// `protection.resume`.
    ProtectionResume,
    /// `protection.enable`.
    ProtectionEnable,
    /// `keyvault.grant`.
    KeyvaultGrant,
    /// `guest.service`.
    GuestService,
    /// `guest.agent_conf`.
    GuestAgentConf,
}

impl ActionName {
    /// All actions, in the order of the documentation.
    pub const ALL: [Self; 14] = [
        Self::LocksRemove,
        Self::DeleteStale,
        Self::DeleteCollection,
        Self::ExtensionUninstall,
        Self::BackupStart,
        Self::JobWait,
        Self::JobCancel,
        Self::VmReapply,
        Self::VmRestart,
        Self::ProtectionResume,
        Self::ProtectionEnable,
        Self::KeyvaultGrant,
        Self::GuestService,
        Self::GuestAgentConf,
    ];

    /// The name as playbooks write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LocksRemove => "locks.remove",
            Self::DeleteStale => "restore_points.delete_stale",
            Self::DeleteCollection => "restore_points.delete_collection",
            Self::ExtensionUninstall => "extension.uninstall",
            Self::BackupStart => "backup.start",
            Self::JobWait => "job.wait",
            Self::JobCancel => "job.cancel",
            Self::VmReapply => "vm.reapply",
            Self::VmRestart => "vm.restart",
            Self::ProtectionResume => "protection.resume",
            Self::ProtectionEnable => "protection.enable",
            Self::KeyvaultGrant => "keyvault.grant",
            Self::GuestService => "guest.service",
            Self::GuestAgentConf => "guest.agent_conf",
        }
    }

    /// The action with this exact name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == name)
    }

    /// The keys that may stand under `with`.
    #[must_use]
    pub const fn keys(self) -> &'static [&'static str] {
        match self {
            Self::DeleteStale => &["kinds", "until"],
            Self::LocksRemove
            | Self::DeleteCollection
            | Self::ExtensionUninstall
            | Self::JobWait
            | Self::VmReapply
            | Self::VmRestart => &[],
            Self::JobCancel => &["older_than"],
            Self::BackupStart => &["retain", "until"],
            Self::ProtectionResume => &["policy"],
            Self::ProtectionEnable => &["policy", "vault"],
            Self::KeyvaultGrant => &["grant", "principal", "role", "secret_backup"],
            Self::GuestService => &["name", "running", "start"],
            Self::GuestAgentConf => &["key"],
        }
    }

    /// Keys that `azmend/v1` had under `with` and that never had an effect: each has one legal value.
    #[must_use]
    pub const fn old_keys(self) -> &'static [&'static str] {
        match self {
            Self::LocksRemove => &["scope"],
            Self::ExtensionUninstall => &["handler"],
            _ => &[],
        }
    }

    /// The values of the condition view ([`crate::estate::view`]) that are no longer what they were once this action has
    /// done its work: a path, or `part.*` for all of a part. A later step's `when` may not look at them as if it were
    /// asked after this one.
    #[must_use]
    pub const fn changes_in_view(self) -> &'static [&'static str] {
        match self {
            Self::LocksRemove => &["locks.*"],
            // A lock counts while it stands over a collection of the VM: it counts no longer when the last one is gone.
            Self::DeleteStale | Self::DeleteCollection => &[
                "points.count",
                "points.failed",
                "points.collections",
                "points.expired",
                "points.superseded",
                "points.orphaned",
                "points.newest_hours_ago",
                "locks.*",
            ],
            // A VM may be in the state Failed because of this extension; others are not touched.
            Self::ExtensionUninstall => &["vmsnapshot.*", "extensions.failed", "vm.provisioning_state"],
            // A backup installs VMSnapshot where it is missing. One that is waited for does the same.
            Self::BackupStart | Self::JobWait => &[
                "backup.state",
                "backup.last_status",
                "backup.last_error",
                "backup.last_error_id",
                "backup.inner_error",
                "backup.last_backup_days_ago",
                "backup.running",
                "backup.health",
                "points.count",
                "points.failed",
                "points.collections",
                "points.expired",
                "points.superseded",
                "points.newest_hours_ago",
                "vmsnapshot.*",
                "extensions.failed",
                "vm.provisioning_state",
            ],
            Self::JobCancel => &[
                "backup.last_status",
                "backup.last_error",
                "backup.last_error_id",
                "backup.inner_error",
                "backup.running",
                "backup.health",
            ],
            Self::VmReapply => &["vm.provisioning_state", "agent.*", "vmsnapshot.*", "extensions.*"],
            Self::VmRestart => &["vm.power", "vm.provisioning_state", "agent.*", "vmsnapshot.*", "extensions.*"],
            // The policy decides how many points there may be, and which of them are older than they need be.
            Self::ProtectionResume | Self::ProtectionEnable => &[
                "backup.protected",
                "backup.state",
                "backup.item_count",
                "backup.health",
                "policy.*",
                "vault.*",
                "points.limit",
                "points.expired",
                "points.superseded",
            ],
            // Permissions and what is inside the VM are not in the view.
            Self::KeyvaultGrant | Self::GuestService | Self::GuestAgentConf => &[],
        }
    }

    /// Whether this action changes the value of the view with this path.
    #[must_use]
    pub fn changes(self, path: &str) -> bool {
        self.changes_in_view().iter().any(|changed| match changed.strip_suffix(".*") {
            Some(part) => path.strip_prefix(part).is_some_and(|rest| rest.starts_with('.')),
            None => *changed == path,
        })
    }

    /// The JSON Schema of its parameters.
    pub fn schema(self, generator: &mut SchemaGenerator) -> Schema {
        match self {
            Self::LocksRemove => generator.subschema_for::<LocksRemove>(),
            Self::DeleteStale => generator.subschema_for::<DeleteStale>(),
            Self::DeleteCollection => generator.subschema_for::<DeleteCollection>(),
            Self::ExtensionUninstall => generator.subschema_for::<ExtensionUninstall>(),
            Self::BackupStart => generator.subschema_for::<BackupStart>(),
            Self::JobWait => generator.subschema_for::<JobWait>(),
            Self::JobCancel => generator.subschema_for::<JobCancel>(),
            Self::VmReapply => generator.subschema_for::<VmReapply>(),
            Self::VmRestart => generator.subschema_for::<VmRestart>(),
            Self::ProtectionResume => generator.subschema_for::<ProtectionResume>(),
            Self::ProtectionEnable => generator.subschema_for::<ProtectionEnable>(),
            Self::KeyvaultGrant => generator.subschema_for::<KeyvaultGrant>(),
            Self::GuestService => generator.subschema_for::<GuestService>(),
            Self::GuestAgentConf => generator.subschema_for::<GuestAgentConf>(),
        }
    }

    /// The action with these parameters; those that are missing take their defaults.
    ///
    /// # Errors
    /// A sentence that says which key or value is wrong.
    pub fn with(self, parameters: &Map<String, Value>) -> Result<ActionSpec, String> {
        let value = || Value::Object(parameters.clone());
        let spec = match self {
            Self::LocksRemove => serde_json::from_value(value()).map(ActionSpec::LocksRemove),
            Self::DeleteStale => serde_json::from_value(value()).map(ActionSpec::DeleteStale),
            Self::DeleteCollection => serde_json::from_value(value()).map(ActionSpec::DeleteCollection),
            Self::ExtensionUninstall => serde_json::from_value(value()).map(ActionSpec::ExtensionUninstall),
            Self::BackupStart => serde_json::from_value(value()).map(ActionSpec::BackupStart),
            Self::JobWait => serde_json::from_value(value()).map(ActionSpec::JobWait),
            Self::JobCancel => serde_json::from_value(value()).map(ActionSpec::JobCancel),
            Self::VmReapply => serde_json::from_value(value()).map(ActionSpec::VmReapply),
            Self::VmRestart => serde_json::from_value(value()).map(ActionSpec::VmRestart),
            Self::ProtectionResume => serde_json::from_value(value()).map(ActionSpec::ProtectionResume),
            Self::ProtectionEnable => serde_json::from_value(value()).map(ActionSpec::ProtectionEnable),
            Self::KeyvaultGrant => serde_json::from_value(value()).map(ActionSpec::KeyvaultGrant),
            Self::GuestService => serde_json::from_value(value()).map(ActionSpec::GuestService),
            Self::GuestAgentConf => serde_json::from_value(value()).map(ActionSpec::GuestAgentConf),
        };
        spec.map_err(|error| error.to_string())
    }
}

impl fmt::Display for ActionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl ActionSpec {
    /// The action's name.
    #[must_use]
    pub const fn name(&self) -> ActionName {
        match self {
            Self::LocksRemove(_) => ActionName::LocksRemove,
            Self::DeleteStale(_) => ActionName::DeleteStale,
            Self::DeleteCollection(_) => ActionName::DeleteCollection,
            Self::ExtensionUninstall(_) => ActionName::ExtensionUninstall,
            Self::BackupStart(_) => ActionName::BackupStart,
            Self::JobWait(_) => ActionName::JobWait,
            Self::JobCancel(_) => ActionName::JobCancel,
            Self::VmReapply(_) => ActionName::VmReapply,
            Self::VmRestart(_) => ActionName::VmRestart,
            Self::ProtectionResume(_) => ActionName::ProtectionResume,
            Self::ProtectionEnable(_) => ActionName::ProtectionEnable,
            Self::KeyvaultGrant(_) => ActionName::KeyvaultGrant,
            Self::GuestService(_) => ActionName::GuestService,
            Self::GuestAgentConf(_) => ActionName::GuestAgentConf,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn with(action: ActionName, parameters: Value) -> Result<ActionSpec, String> {
        action.with(parameters.as_object().unwrap())
    }

    #[test]
    fn every_action_has_defaults_and_a_name_that_reads_back() {
        for action in ActionName::ALL {
            assert_eq!(ActionName::parse(action.as_str()), Some(action));
            let spec = with(action, json!({})).unwrap();
            assert_eq!(spec.name(), action);
            let json = serde_json::to_value(&spec).unwrap();
            assert_eq!(json["action"], action.as_str());
            let keys: Vec<&str> = json["with"].as_object().unwrap().keys().map(String::as_str).collect();
            assert_eq!(keys, action.keys());
            assert_eq!(serde_json::from_value::<ActionSpec>(json).unwrap(), spec);
        }
    }

    #[test]
    fn ranges_hold() {
        for (retain, good) in [("1d", true), ("23h", false), ("0s", false), ("3650d", true), ("soon", false)] {
            assert_eq!(with(ActionName::BackupStart, json!({ "retain": retain })).is_ok(), good, "{retain}");
        }
        assert!(with(ActionName::DeleteStale, json!({ "kinds": [] })).is_err());
        assert!(with(ActionName::DeleteStale, json!({ "kinds": ["failed"] })).is_err());
        assert!(with(ActionName::LocksRemove, json!({ "scope": "subscription" })).is_err());
        assert!(with(ActionName::LocksRemove, json!({ "scop": "backup_groups" })).is_err());
        assert!(with(ActionName::ExtensionUninstall, json!({ "handler": "CustomScript" })).is_err());
    }

    /// They are written back as they were read: a plan's hash covers them.
    #[test]
    fn keys_without_effect_are_read_with_their_one_value_and_kept() {
        for (action, key, value, other) in [
            (ActionName::LocksRemove, "scope", "backup_groups", "subscription"),
            (ActionName::ExtensionUninstall, "handler", "VMSnapshot", "CustomScript"),
        ] {
            assert_eq!(action.old_keys(), [key]);
            let spec = with(action, json!({ key: value })).unwrap();
            let written = serde_json::to_value(&spec).unwrap();
            assert_eq!(written, json!({ "action": action.as_str(), "with": { key: value } }));
            assert_eq!(serde_json::from_value::<ActionSpec>(written).unwrap(), spec);
            assert!(with(action, json!({ key: other })).is_err());
            assert!(with(action, json!({ key: null })).is_err());
            let plain = serde_json::to_value(with(action, json!({})).unwrap()).unwrap();
            assert_eq!(plain, json!({ "action": action.as_str(), "with": {} }));
        }
    }

    #[test]
    fn what_actions_change_is_in_the_view() {
        let view = serde_json::to_value(crate::estate::view::View::empty()).unwrap();
        for action in ActionName::ALL {
            for changed in action.changes_in_view() {
                let path = changed.trim_end_matches(".*").replace('.', "/");
                assert!(view.pointer(&format!("/{path}")).is_some(), "{action}: {changed}");
            }
        }
        assert!(ActionName::ExtensionUninstall.changes("vmsnapshot.state"));
        assert!(ActionName::ExtensionUninstall.changes("extensions.failed"));
        assert!(!ActionName::ExtensionUninstall.changes("extensions.other_failed"));
        assert!(!ActionName::ExtensionUninstall.changes("vm.power"));
        assert!(!ActionName::DeleteStale.changes("points.limit"));
        assert!(!ActionName::LocksRemove.changes("lock"));
    }
}
