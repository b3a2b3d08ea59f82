//! The condition view: the small, stable set of values that the conditions of playbooks see.
//!
//! Duty: the shape, the meaning of every value (the doc comments below become the JSON Schema and are what
//! `docs/playbooks.md` must mention), and an empty view. How a view is derived from the facts is not written here.
//!
//! Invariants: every key always exists. Text that is absent is `""`, a number that is absent is 0, a list that is absent
//! is empty; whole numbers are `i64`. What was **not read** is not hidden in those: its path stands in [`View::unread`],
//! and a condition that touches it is not decided.
//!
//! Names and meanings are a contract with users' playbooks: add, but never rename or change a meaning.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Everything that a condition can see of a VM and of its backup.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct View {
    /// The virtual machine.
    pub vm: VmView,
    /// Its guest agent.
    pub agent: AgentView,
    /// Its backup extension (VMSnapshot or VMSnapshotLinux).
    pub vmsnapshot: VmSnapshotView,
    /// Its other extensions.
    pub extensions: ExtensionsView,
    /// Its protected item and its jobs.
    pub backup: BackupView,
    /// The backup policy.
    pub policy: PolicyView,
    /// Its restore points.
    pub points: PointsView,
    /// The locks that matter for its backup.
    pub locks: LocksView,
    /// The vault.
    pub vault: VaultView,
    /// The key vaults of an encrypted VM.
    pub keyvault: KeyVaultView,
    /// Paths that were not read (`points`, `backup.last_error`, ...) and why. Not visible to conditions.
    #[serde(skip)]
    pub unread: BTreeMap<String, String>,
}

/// The virtual machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VmView {
    /// Name.
    pub name: String,
    /// Region, e.g. `westeurope`.
    pub location: String,
    /// `Windows`, `Linux` or empty.
    pub os: String,
    /// `running`, `stopped`, `deallocated`, ...; empty when not reported.
    pub power: String,
    /// `Succeeded`, `Failed`, `Updating`, ...
    pub provisioning_state: String,
    /// False when Azure says that the VM does not exist.
    pub exists: bool,
}

/// The guest agent as the platform sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AgentView {
    /// Whether the agent is Ready.
    pub ready: bool,
    /// What the platform shows, e.g. `Ready`, `Not Ready`; empty without an agent.
    pub status: String,
    /// Version; `Unknown` when the agent never reported.
    pub version: String,
    /// Minutes since the agent last reported; 0 when not reported.
    pub reported_minutes_ago: i64,
}

/// The backup extension.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VmSnapshotView {
    /// Whether it is on the VM, as a handler or as an extension.
    pub present: bool,
    /// `Ready`, `Failed`, `NotReady`, or empty when it is not on the VM.
    pub state: String,
    /// Version of the handler.
    pub version: String,
    /// The status code as sent, e.g. `ProvisioningState/failed/1`.
    pub code: String,
    /// The status message as sent.
    pub message: String,
}

/// The other extensions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExtensionsView {
    /// Names of all extensions in a failed state, VMSnapshot included.
    pub failed: Vec<String>,
    /// How many extensions other than VMSnapshot are in a failed state.
    pub other_failed: i64,
}

/// The protected item and its jobs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BackupView {
    /// Whether a vault protects the VM now: an item that is neither stopped nor soft-deleted.
    pub protected: bool,
    /// `protectionState` of the item, e.g. `Protected`, `ProtectionStopped`; empty without an item.
    pub state: String,
    /// Whether the item is soft-deleted.
    pub soft_deleted: bool,
    /// Status of the newest finished backup job, e.g. `Completed`, `Failed`.
    pub last_status: String,
    /// Symbolic error code of the newest finished backup job, as the catalogue spells it; empty when it did not fail.
    pub last_error: String,
    /// Numeric id of that error; 0 when there is none.
    pub last_error_id: i64,
    /// Symbolic code of the error that the details of that job wrap (`ScopeLocked` inside
    /// `UserErrorCrpReportedUserError`), as the catalogue spells it; empty when they name none.
    pub inner_error: String,
    /// Whole days since the newest backup that succeeded; 0 when there was none (see `points.count`).
    pub last_backup_days_ago: i64,
    /// Whether a job of the VM is running.
    pub running: bool,
    /// Whole hours since the oldest running job of the VM started; 0 when none is running.
    pub running_hours: i64,
    /// How many items, in any state and any vault, name the VM.
    pub item_count: i64,
    /// `healthStatus` of the item, e.g. `Passed`, `ActionRequired`.
    pub health: String,
}

/// The backup policy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PolicyView {
    /// `V1` (Standard), `V2` (Enhanced), or empty without a policy.
    #[serde(rename = "type")]
    pub kind: String,
    /// Days that instant-restore snapshots are kept.
    pub snapshot_days: i64,
    /// Whether it is an Enhanced policy.
    pub enhanced: bool,
}

/// The restore points of the VM in all its Backup-owned collections.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PointsView {
    /// Succeeded points.
    pub count: i64,
    /// How many the service allows: 18 under a Standard policy; under an Enhanced one what its schedule and retention
    /// allow, plus three.
    pub limit: i64,
    /// Points in a failed state.
    pub failed: i64,
    /// Collections.
    pub collections: i64,
    /// Points older than the policy's snapshot retention plus 48 hours.
    pub expired: i64,
    /// Points in superseded collections.
    pub superseded: i64,
    /// Points in orphaned collections.
    pub orphaned: i64,
    /// Whole hours since the newest succeeded point; 0 when there is none.
    pub newest_hours_ago: i64,
}

/// The locks that matter for the backup of the VM.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LocksView {
    /// Locks on backup resource groups of the VM.
    pub backup_groups: i64,
    /// Locks on its Backup-owned collections.
    pub collections: i64,
    /// Locks on its subscription.
    pub subscription: i64,
    /// Locks on the VM or on its own resource group.
    pub vm: i64,
    /// Locks that reach its collections from above their groups.
    pub inherited: i64,
    /// How many of all these are ReadOnly.
    pub read_only: i64,
    /// All of them together, each counted once.
    pub total: i64,
}

/// The vault.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VaultView {
    /// Name; empty when the VM is in no vault.
    pub name: String,
    /// Whether its immutability is on, locked or not.
    pub immutable: bool,
    /// Whether a resource guard protects it.
    pub guarded: bool,
}

/// The key vaults of an encrypted VM.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeyVaultView {
    /// Whether the VM is encrypted with Azure Disk Encryption. Encryption by the platform does not count.
    pub encrypted: bool,
    /// Names of the key vaults that hold its secrets and keys.
    pub vaults: Vec<String>,
}

impl View {
    /// A view in which everything is absent and nothing is unread.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// Marks a part or a value as not read.
    pub fn mark_unread(&mut self, path: &str, why: &str) {
        self.unread.insert(path.to_owned(), why.to_owned());
    }

    /// Why `path` is unread: it is marked, or a part above or below it is.
    #[must_use]
    pub fn unread(&self, path: &str) -> Option<&str> {
        let within = |inner: &str, outer: &str| {
            inner == outer || inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with('.'))
        };
        let hit = self.unread.iter().find(|(marked, _)| within(path, marked) || within(marked, path));
        hit.map(|(_, why)| why.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_exists_in_an_empty_view() {
        let json = serde_json::to_value(View::empty()).unwrap();
        assert!(json.get("unread").is_none());
        for (part, values) in json.as_object().unwrap() {
            for (key, value) in values.as_object().unwrap() {
                assert!(!value.is_null(), "{part}.{key}");
            }
        }
    }

    #[test]
    fn unread_reaches_down_and_up() {
        let mut view = View::empty();
        view.mark_unread("points", "403");
        view.mark_unread("backup.last_error", "429");
        assert_eq!(view.unread("points.count"), Some("403"));
        assert_eq!(view.unread("backup.last_error"), Some("429"));
        assert_eq!(view.unread("backup.last_error_id"), None);
        assert_eq!(view.unread("backup"), Some("429"));
        assert_eq!(view.unread("vm.name"), None);
    }
}
