//! Which ARM actions azmend needs, where, what for, and what happens without each.
//!
//! Duty: the reads that facts and proofs are made of are listed here; what a playbook action uses of them, and the
//! changes that it makes, is declared in the action's own file ([`Uses`]). [`NEEDS`] joins both to one table, from which
//! `azmend role` writes role definitions and `azmend doctor` judges an identity.
//! Invariants: every right here stands for a call that `estate`, `actions` or the engine really makes, or for a read
//! whose grant proves that a list is complete (S12); what cannot be made without it is in [`Need::blocks`]. Both are
//! held by `tests/it/permissions.rs`, which runs every playbook with exactly these rights and with each one missing.
//! Must never: ask for more than is used. There is no wildcard but the one on the backup resource groups, where only
//! `*/read` proves that a group holds nothing else (S5).
//!
//! Sources of the names: the published operation lists and paths (`tests/fixtures/contracts/actions.txt`).

use std::collections::BTreeSet;
use std::fmt;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::spec::ActionName;

/// Where an action must be granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// The VM's subscription.
    Subscription,
    /// The VM.
    Vm,
    /// The resource groups that hold the VM's restore points.
    BackupGroups,
    /// The Recovery Services vault.
    Vault,
    /// The key vault of an encrypted VM.
    KeyVault,
}

impl Place {
    /// All places.
    pub const ALL: [Self; 5] = [Self::Subscription, Self::Vm, Self::BackupGroups, Self::Vault, Self::KeyVault];

    /// The place in words, after "at".
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Subscription => "the subscription",
            Self::Vm => "the VM",
            Self::BackupGroups => "the backup resource groups",
            Self::Vault => "the vault",
            Self::KeyVault => "the key vault",
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

/// What an action is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NeedKind {
    /// A fact is read with it; audits and dry runs need it too.
    Fact,
    /// A change is checked or followed with it; it reads.
    Follow,
    /// A change.
    Change,
}

/// One permission of Azure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Right {
    /// The action as Azure's operation lists print it.
    pub action: &'static str,
    /// Where.
    pub place: Place,
    /// What for.
    pub kind: NeedKind,
    /// What it is for, a fragment.
    pub why: &'static str,
    /// What happens without it, a fragment.
    pub without: &'static str,
    /// Nothing stops without it: why it is still requested.
    pub optional: Option<&'static str>,
}

impl Right {
    const fn fact(action: &'static str, place: Place, why: &'static str, without: &'static str) -> Self {
        Self { action, place, kind: NeedKind::Fact, why, without, optional: None }
    }

    const fn follow(self) -> Self {
        Self { kind: NeedKind::Follow, ..self }
    }

    /// A change.
    #[must_use]
    pub const fn change(action: &'static str, place: Place, why: &'static str, without: &'static str) -> Self {
        Self { action, place, kind: NeedKind::Change, why, without, optional: None }
    }

    /// azmend works without it.
    #[must_use]
    pub const fn optional(self, reason: &'static str) -> Self {
        Self { optional: Some(reason), ..self }
    }
}

/// How a playbook action uses a right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Uses {
    /// Not without it.
    Needs(&'static Right),
    /// A part of it can be made without.
    Partly(&'static Right),
    /// It is better with it.
    Better(&'static Right),
}

impl Uses {
    /// The right.
    #[must_use]
    pub const fn right(self) -> &'static Right {
        match self {
            Self::Needs(right) | Self::Partly(right) | Self::Better(right) => right,
        }
    }
}

/// A right, with the playbook actions that use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// The action as Azure's operation lists print it.
    pub action: &'static str,
    /// Where.
    pub place: Place,
    /// What for.
    pub kind: NeedKind,
    /// The playbook actions that cannot be made (completely) without it; for [`NeedKind::Follow`] and
    /// [`NeedKind::Change`] also those that want it.
    pub blocks: Vec<ActionName>,
    /// Those of `blocks` of which a part can still be made.
    pub partly: Vec<ActionName>,
    /// The playbook actions that are better with it.
    pub helps: Vec<ActionName>,
    /// What it is for, a fragment.
    pub why: &'static str,
    /// What happens without it, a fragment.
    pub without: &'static str,
    /// Nothing stops without it: why it is still requested.
    pub optional: Option<&'static str>,
}

impl Need {
    fn of(right: &'static Right) -> Self {
        let who = |wanted: fn(Uses) -> bool| {
            let uses = |action: &ActionName| {
                action.needs().iter().any(|uses| uses.right().action == right.action && wanted(*uses))
            };
            ActionName::ALL.into_iter().filter(uses).collect::<Vec<_>>()
        };
        let everybody = EVERYBODY.iter().any(|every| every.action == right.action);
        Self {
            action: right.action,
            place: right.place,
            kind: right.kind,
            blocks: if everybody {
                ActionName::ALL.to_vec()
            } else {
                who(|uses| matches!(uses, Uses::Needs(_) | Uses::Partly(_)))
            },
            partly: who(|uses| matches!(uses, Uses::Partly(_))),
            helps: who(|uses| matches!(uses, Uses::Better(_))),
            why: right.why,
            without: right.without,
            optional: right.optional,
        }
    }

    /// Whether azmend works without it.
    #[must_use]
    pub const fn is_optional(&self) -> bool {
        self.optional.is_some()
    }

    /// Whether it only reads. (`backupStatus` is a POST that reads.)
    #[must_use]
    pub fn reads(&self) -> bool {
        self.kind != NeedKind::Change
    }
}

/// Every right that the shipped playbook actions and the facts need: the reads, then the changes in the order of the
/// table of actions.
pub static NEEDS: LazyLock<Vec<Need>> = LazyLock::new(|| {
    let mut rights: Vec<&'static Right> = READS.to_vec();
    for uses in ActionName::ALL.into_iter().flat_map(ActionName::needs) {
        if !rights.iter().any(|right| right.action == uses.right().action) {
            rights.push(uses.right());
        }
    }
    rights.into_iter().map(Need::of).collect()
});

pub(super) const SUBSCRIPTIONS: Right = Right::fact(
    "Microsoft.Resources/subscriptions/read",
    Place::Subscription,
    "finds the subscriptions, and distinguishes a deleted VM from one that cannot be seen",
    "VMs are found only by resource id, and no VM counts as deleted",
)
.optional("Azure shows a subscription to everyone who has a role in it");

pub(super) const PERMISSIONS: Right = Right::fact(
    "Microsoft.Authorization/permissions/read",
    Place::Subscription,
    "shows what this identity can do, and so whether a list is complete",
    "no list counts as complete: everything is unread and nothing is changed",
)
.optional("whether Azure asks for it when an identity looks at its own permissions is not documented");

pub(super) const DENY_ASSIGNMENTS: Right = Right::fact(
    "Microsoft.Authorization/denyAssignments/read",
    Place::Subscription,
    "lists deny assignments, which override every role",
    "deny assignments are unread: no lock is removed, because one could prevent restoring it",
);

pub(super) const LOCKS: Right = Right::fact(
    "Microsoft.Authorization/locks/read",
    Place::Subscription,
    "lists the locks over the restore points",
    "locks are unread: none is removed, a fix for a lock or for the point limit is not made, and nothing is granted on a key vault",
);

pub(super) const GROUPS: Right = Right::fact(
    "Microsoft.Resources/subscriptions/resourceGroups/read",
    Place::Subscription,
    "finds the backup resource groups",
    "the backup resource groups are unread: no lock is removed",
);

pub(super) const GROUP_CONTENTS: Right = Right::fact(
    "*/read",
    Place::BackupGroups,
    "proves that a backup resource group holds nothing but backups",
    "what else a group holds is unread, so it does not count as a backup group: its locks are kept",
);

pub(super) const VM: Right = Right::fact(
    "Microsoft.Compute/virtualMachines/read",
    Place::Vm,
    "reads the VM and its vmId",
    "the VM is unread: nothing is changed",
);

pub(super) const INSTANCE_VIEW: Right = Right::fact(
    "Microsoft.Compute/virtualMachines/instanceView/read",
    Place::Vm,
    "reads power state, guest agent and extension handlers",
    "the agent's state is unread: VMSnapshot is not uninstalled, a failed VM is not repaired, nothing is granted on a key vault, and a playbook whose conditions need it is not checked",
);

pub(super) const EXTENSIONS: Right = Right::fact(
    "Microsoft.Compute/virtualMachines/extensions/read",
    Place::Vm,
    "lists the extensions, and proves that one is gone",
    "the extensions are unread: VMSnapshot is not uninstalled, a failed VM is not repaired, nothing is granted on a key vault, and a playbook whose conditions need it is not checked",
);

pub(super) const COLLECTIONS: Right = Right::fact(
    "Microsoft.Compute/restorePointCollections/read",
    Place::Subscription,
    "lists the restore point collections",
    "the collections are unread: no restore point is deleted, no lock removed, no protection resumed",
);

pub(super) const POINTS: Right = Right::fact(
    "Microsoft.Compute/restorePointCollections/restorePoints/read",
    Place::Subscription,
    "reads the restore points of a collection",
    "the points are unread: none is deleted, no lock removed, no protection resumed",
);

pub(super) const BACKUP_STATUS: Right = Right::fact(
    "Microsoft.RecoveryServices/locations/backupStatus/action",
    Place::Subscription,
    "finds the vault of a VM, in another subscription too (a POST that only reads)",
    "a vault in a subscription that is not visible is not found: nothing counts as an orphan, no protection is resumed",
);

pub(super) const VAULTS: Right = Right::fact(
    "Microsoft.RecoveryServices/Vaults/read",
    Place::Subscription,
    "finds the vaults, and reads whether one is immutable",
    "the vaults are unread: no point is deleted, no extension uninstalled, no backup started, no protection resumed or started",
);

pub(super) const ITEMS: Right = Right::fact(
    "Microsoft.RecoveryServices/Vaults/backupProtectedItems/read",
    Place::Vault,
    "finds the vault's items of the VM, in any state",
    "the items are unread: no point is deleted, no extension uninstalled, no backup started, no protection resumed or started",
);

pub(super) const POLICIES: Right = Right::fact(
    "Microsoft.RecoveryServices/Vaults/backupPolicies/read",
    Place::Vault,
    "reads how long points are kept and when the next backup is due",
    "the policy is unread: no point counts as expired and none is deleted, no protection is resumed; orphans are still deleted",
);

pub(super) const RECOVERY_POINTS: Right = Right::fact(
    "Microsoft.RecoveryServices/Vaults/backupFabrics/protectionContainers/protectedItems/recoveryPoints/read",
    Place::Vault,
    "proves that the vault has a copy of a point",
    "the vault's copies are unread: no point is deleted; orphans are still deleted",
);

pub(super) const JOBS: Right = Right::fact(
    "Microsoft.RecoveryServices/Vaults/backupJobs/read",
    Place::Vault,
    "reads the last error and running jobs, and follows a backup",
    "jobs are unread: no point is deleted but orphans, no extension uninstalled, no backup started, no protection resumed",
);

pub(super) const RESOURCE_GUARD: Right = Right::fact(
    "Microsoft.RecoveryServices/Vaults/backupResourceGuardProxies/read",
    Place::Vault,
    "reads whether a resource guard protects the vault",
    "the resource guard is unread: no point is deleted but orphans (rule s8.immutable)",
);

pub(super) const ENGINES: Right = Right::fact(
    "Microsoft.RecoveryServices/Vaults/backupEngines/read",
    Place::Vault,
    "lists the Backup Servers and DPM servers of a vault (`azmend engines`)",
    "`azmend engines` reports them as unread",
)
.optional("no playbook reads them");

pub(super) const DISKS: Right = Right::fact(
    "Microsoft.Compute/disks/read",
    Place::Subscription,
    "reads sizes and kinds of a VM's disks (`azmend diagnose`)",
    "the disks are not checked",
)
.optional("no playbook reads them");

pub(super) const METRICS: Right = Right::fact(
    "Microsoft.Insights/metrics/read",
    Place::Vm,
    "reads how busy a VM was when its backup failed (`azmend diagnose`)",
    "the load is not checked",
)
.optional("no playbook reads it");

pub(super) const NETWORK_RULES: Right = Right::fact(
    "Microsoft.Network/networkInterfaces/effectiveNetworkSecurityGroups/action",
    Place::Subscription,
    "reads the effective network rules (`azmend diagnose --network`; a POST that only reads)",
    "network rules are not checked",
)
.optional("no playbook reads them");

pub(super) const PROTECTABLE_ITEMS: Right = Right::fact(
    "Microsoft.RecoveryServices/Vaults/backupProtectableItems/read",
    Place::Vault,
    "reads how a vault names a VM that it could protect",
    "no VM is protected for the first time",
);

pub(super) const REFRESH_CONTAINERS: Right = Right::fact(
    "Microsoft.RecoveryServices/Vaults/backupFabrics/refreshContainers/action",
    Place::Vault,
    "lets a vault look for VMs that it has not discovered yet (a POST that changes nothing of yours)",
    "a VM that its vault has not discovered yet is not protected; it is discovered some minutes after its creation",
)
.optional("a vault discovers new VMs automatically");

pub(super) const KEY_VAULT: Right = Right::fact(
    "Microsoft.KeyVault/vaults/read",
    Place::KeyVault,
    "reads who can do what on the key vault of an encrypted VM",
    "the key vault is unread: nothing is granted",
);

pub(super) const ROLE_ASSIGNMENTS: Right = Right::fact(
    "Microsoft.Authorization/roleAssignments/read",
    Place::KeyVault,
    "reads who holds a role on a key vault that uses roles",
    "the role assignments are unread: nothing is granted on a key vault that uses roles",
);

pub(super) const ITEM: Right = Right::fact(
    "Microsoft.RecoveryServices/Vaults/backupFabrics/protectionContainers/protectedItems/read",
    Place::Vault,
    "reads the item again just before its backup is started or its protection resumed",
    "no backup is started and no protection resumed or started",
)
.follow();

pub(super) const ITEM_OPERATIONS: Right = Right::fact(
    "Microsoft.RecoveryServices/Vaults/backupFabrics/protectionContainers/protectedItems/operationsStatus/read",
    Place::Vault,
    "reads which job a backup request became",
    "the job is looked for in the list of jobs; when two fit, the outcome stays unknown",
)
.follow()
.optional("the job list usually settles it");

pub(super) const ITEM_RESULTS: Right = Right::fact(
    "Microsoft.RecoveryServices/Vaults/backupFabrics/protectionContainers/protectedItems/operationResults/read",
    Place::Vault,
    "follows a backup request when Azure names no operation status",
    "the job is looked for in the list of jobs; when two fit, the outcome stays unknown",
)
.follow()
.optional("every recorded answer names the operation status");

pub(super) const COMPUTE_OPERATIONS: Right = Right::fact(
    "Microsoft.Compute/locations/operations/read",
    Place::Subscription,
    "follows deletions to their end and reads why one failed, and what a script inside a VM printed",
    "deletions are verified only by reading the resource; why one failed is not reported; nothing inside a VM is read",
)
.follow()
.optional("success is read from the resource itself");

/// The reads, in the order of the documentation.
const READS: &[&Right] = &[
    &SUBSCRIPTIONS,
    &PERMISSIONS,
    &DENY_ASSIGNMENTS,
    &LOCKS,
    &GROUPS,
    &GROUP_CONTENTS,
    &VM,
    &INSTANCE_VIEW,
    &EXTENSIONS,
    &COLLECTIONS,
    &POINTS,
    &BACKUP_STATUS,
    &VAULTS,
    &ITEMS,
    &POLICIES,
    &RECOVERY_POINTS,
    &JOBS,
    &RESOURCE_GUARD,
    &ENGINES,
    &DISKS,
    &METRICS,
    &NETWORK_RULES,
    &PROTECTABLE_ITEMS,
    &REFRESH_CONTAINERS,
    &KEY_VAULT,
    &ROLE_ASSIGNMENTS,
    &ITEM,
    &ITEM_OPERATIONS,
    &ITEM_RESULTS,
    &COMPUTE_OPERATIONS,
];

/// What every action needs.
const EVERYBODY: [&Right; 2] = [&PERMISSIONS, &VM];

pub use super::guest::RUN_COMMAND;

/// What an identity is to be able to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purpose {
    actions: Vec<ActionName>,
}

impl Purpose {
    /// To look only: audits and dry runs.
    #[must_use]
    pub const fn read_only() -> Self {
        Self { actions: Vec::new() }
    }

    /// To make these playbook actions.
    #[must_use]
    pub fn to(actions: impl IntoIterator<Item = ActionName>) -> Self {
        let wanted: Vec<ActionName> = actions.into_iter().collect();
        Self { actions: ActionName::ALL.into_iter().filter(|action| wanted.contains(action)).collect() }
    }

    /// Without removing locks.
    #[must_use]
    pub fn without_locks(mut self) -> Self {
        self.actions.retain(|action| *action != ActionName::LocksRemove);
        self
    }

    /// Without granting anything: that must be asked for by name, also in a role. Whoever may write access policies or role
    /// assignments may give himself everything in the vault.
    #[must_use]
    pub fn without_grants(mut self) -> Self {
        self.actions.retain(|action| *action != ActionName::KeyvaultGrant);
        self
    }

    /// The playbook actions it is for; none when it only looks.
    #[must_use]
    pub fn actions(&self) -> &[ActionName] {
        &self.actions
    }

    /// What is needed for it. Facts are always needed: what is not read is said, and the exit code tells.
    #[must_use]
    pub fn needs(&self) -> Vec<&'static Need> {
        let wanted = |need: &&Need| match need.kind {
            NeedKind::Fact => true,
            NeedKind::Follow | NeedKind::Change => {
                need.blocks.iter().chain(&need.helps).any(|action| self.actions.contains(action))
            }
        };
        NEEDS.iter().filter(wanted).collect()
    }
}

/// A custom role as `az role definition create --role-definition @file` reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct RoleDefinition {
    /// Its name, unique in the tenant.
    pub name: String,
    /// Always true.
    pub is_custom: bool,
    /// What it is for.
    pub description: String,
    /// Granted.
    pub actions: Vec<String>,
    /// Taken out: nothing.
    pub not_actions: Vec<String>,
    /// Nothing: azmend never touches data.
    pub data_actions: Vec<String>,
    /// Nothing.
    pub not_data_actions: Vec<String>,
    /// Where it can be assigned.
    pub assignable_scopes: Vec<String>,
}

impl RoleDefinition {
    /// A role of these needs, without the one on backup resource groups: there the built-in role Reader is assigned
    /// beside it, so that `*/read` is not granted anywhere else.
    #[must_use]
    pub fn of<'a>(
        name: &str,
        description: &str,
        needs: impl IntoIterator<Item = &'a Need>,
        assignable_scopes: Vec<String>,
    ) -> Self {
        let mut seen = BTreeSet::new();
        let actions = needs
            .into_iter()
            .map(|need| need.action)
            .filter(|action| *action != EVERY_READ && seen.insert(*action))
            .map(str::to_owned)
            .collect();
        Self {
            name: name.to_owned(),
            is_custom: true,
            description: description.to_owned(),
            actions,
            not_actions: Vec::new(),
            data_actions: Vec::new(),
            not_data_actions: Vec::new(),
            assignable_scopes,
        }
    }
}

/// The one need that a role definition leaves to the built-in role Reader.
pub const EVERY_READ: &str = "*/read";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sound() {
        let mut seen = BTreeSet::new();
        for need in NEEDS.iter() {
            assert!(seen.insert(need.action.to_lowercase()), "{} appears twice", need.action);
            assert_eq!(need.action.contains('*'), need.place == Place::BackupGroups && need.action == EVERY_READ);
            let ends = |end: &str| need.action.ends_with(end);
            match need.kind {
                NeedKind::Change => assert!(ends("/delete") || ends("/write") || ends("/action"), "{}", need.action),
                _ => assert!(
                    ends("/read")
                        || ends("/backupStatus/action")
                        || ends("/effectiveNetworkSecurityGroups/action")
                        || ends("/refreshContainers/action"),
                    "{} reads",
                    need.action
                ),
            }
            assert!(need.partly.iter().all(|action| need.blocks.contains(action)));
            assert!(!need.blocks.is_empty() || need.is_optional(), "{} blocks nothing", need.action);
            for text in [need.why, need.without] {
                assert!(
                    !text.ends_with('.') && text.starts_with(|c: char| !c.is_uppercase() || text.starts_with("VM"))
                );
            }
        }
    }

    #[test]
    fn every_playbook_action_has_a_change_of_its_own() {
        for action in ActionName::ALL {
            let changes = NEEDS.iter().filter(|need| need.kind == NeedKind::Change && need.blocks.contains(&action));
            // Waiting for a job sends nothing.
            assert_eq!(changes.count() >= 1, action != ActionName::JobWait, "{action}");
        }
    }

    #[test]
    fn who_only_looks_changes_nothing_and_locks_can_be_left_out() {
        assert!(Purpose::read_only().needs().iter().all(|need| need.reads()));
        let all = Purpose::to(ActionName::ALL);
        assert_eq!(all.needs().len(), NEEDS.len());
        let without: Vec<&str> = all.without_locks().needs().iter().map(|need| need.action).collect();
        assert!(without.contains(&"Microsoft.Authorization/locks/read"));
        assert!(!without.iter().any(|action| action.contains("locks/write") || action.contains("locks/delete")));
        let backup: Vec<&str> = Purpose::to([ActionName::BackupStart]).needs().iter().map(|need| need.action).collect();
        assert!(!backup.iter().any(|action| action.ends_with("/delete")), "{backup:?}");
    }

    #[test]
    fn a_role_leaves_the_wildcard_to_reader() {
        let role = RoleDefinition::of("n", "d", Purpose::to(ActionName::ALL).needs(), vec!["/subscriptions/x".into()]);
        assert_eq!(role.actions.len(), NEEDS.len() - 1);
        assert!(!role.actions.iter().any(|action| action.contains('*')));
        let json = serde_json::to_value(&role).unwrap();
        for key in ["Name", "IsCustom", "Description", "Actions", "NotActions", "DataActions", "AssignableScopes"] {
            assert!(json.get(key).is_some(), "{key}");
        }
    }

    /// `operation` lines are from published operation lists, `path` lines are derived from published paths.
    #[test]
    fn every_action_stands_in_a_published_contract() {
        let text = include_str!("../../tests/fixtures/contracts/actions.txt");
        let lines: Vec<Vec<&str>> = text
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty())
            .map(|l| l.split('\t').collect())
            .collect();
        let mut used = BTreeSet::new();
        for need in NEEDS.iter().filter(|need| need.action != EVERY_READ) {
            let known = lines.iter().find(|line| line[1].eq_ignore_ascii_case(need.action));
            let line = known.unwrap_or_else(|| panic!("{} is in no contract", need.action));
            assert!(matches!(line[0], "operation" | "path" | "exempt"), "{line:?}");
            assert!(line.len() == 3 && !line[2].is_empty(), "{line:?}");
            used.insert(line[1]);
        }
        let stale: Vec<&str> = lines.iter().map(|line| line[1]).filter(|action| !used.contains(action)).collect();
        assert_eq!(stale, Vec::<&str>::new(), "not needed any more");
        assert!(lines.iter().filter(|line| line[0] == "exempt").count() <= 7);
    }
}
