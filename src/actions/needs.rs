//! Which ARM actions azmend needs, where, what for, and what happens without each.
//!
//! Duty: one closed table, from which `azmend role` writes role definitions and `azmend doctor` judges an identity.
//! Invariants: every action here stands for a call that `estate`, `actions` or the engine really makes, or for a read
//! whose grant proves that a list is complete (S12); what cannot be made without it is in [`Need::blocks`]. Both are
//! held by `tests/it/permissions.rs`, which runs every playbook with exactly these actions and with each one missing.
//! Must never: ask for more than is used. There is no wildcard but the one on the backup resource groups, where only
//! `*/read` proves that a group holds nothing else (S5).
//!
//! Sources of the names: the published operation lists and paths (`tests/fixtures/contracts/actions.txt`).

use std::collections::BTreeSet;
use std::fmt;

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

/// One ARM action that azmend needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// The action as Azure's operation lists print it.
    pub action: &'static str,
    /// Where.
    pub place: Place,
    /// What for.
    pub kind: NeedKind,
    /// The playbook actions that cannot be made (completely) without it; for [`NeedKind::Follow`] and
    /// [`NeedKind::Change`] also those that want it.
    pub blocks: &'static [ActionName],
    /// Those of `blocks` of which a part can still be made.
    pub partly: &'static [ActionName],
    /// For an optional one: the playbook actions that are better with it.
    pub helps: &'static [ActionName],
    /// What it is for, a fragment.
    pub why: &'static str,
    /// What happens without it, a fragment.
    pub without: &'static str,
    /// Nothing stops without it: why it is asked for all the same.
    pub optional: Option<&'static str>,
}

impl Need {
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

const fn fact(
    action: &'static str,
    place: Place,
    blocks: &'static [ActionName],
    why: &'static str,
    without: &'static str,
) -> Need {
    Need { action, place, kind: NeedKind::Fact, blocks, partly: &[], helps: &[], why, without, optional: None }
}

const fn change(
    action: &'static str,
    place: Place,
    blocks: &'static [ActionName],
    why: &'static str,
    without: &'static str,
) -> Need {
    Need { action, place, kind: NeedKind::Change, blocks, partly: &[], helps: &[], why, without, optional: None }
}

const fn optional(need: Need, helps: &'static [ActionName], reason: &'static str) -> Need {
    Need { optional: Some(reason), helps, ..need }
}

const fn partly(partly: &'static [ActionName], need: Need) -> Need {
    Need { partly, ..need }
}

const fn follow(need: Need) -> Need {
    Need { kind: NeedKind::Follow, ..need }
}

use ActionName::{
    BackupStart, DeleteCollection, DeleteStale, ExtensionUninstall, GuestAgentConf, GuestService, JobCancel, JobWait,
    KeyvaultGrant, LocksRemove, ProtectionEnable, ProtectionResume, VmReapply, VmRestart,
};

const EVERY: &[ActionName] = &ActionName::ALL;
const POINTS: &[ActionName] = &[DeleteStale, DeleteCollection];
const POINTS_AND_LOCKS: &[ActionName] = &[LocksRemove, DeleteStale, DeleteCollection, ProtectionResume];
const POLICIES: &[ActionName] = &[DeleteStale, DeleteCollection, ProtectionResume, ProtectionEnable];
const BY_ITEM: &[ActionName] = &[
    DeleteStale,
    DeleteCollection,
    ExtensionUninstall,
    BackupStart,
    JobWait,
    JobCancel,
    VmReapply,
    VmRestart,
    ProtectionResume,
    ProtectionEnable,
    KeyvaultGrant,
    GuestService,
    GuestAgentConf,
];
const BY_JOBS: &[ActionName] = &[
    DeleteStale,
    DeleteCollection,
    ExtensionUninstall,
    BackupStart,
    JobWait,
    JobCancel,
    VmReapply,
    VmRestart,
    ProtectionResume,
    KeyvaultGrant,
    GuestService,
    GuestAgentConf,
];

/// Every action that the shipped playbook actions and the facts need.
pub const NEEDS: &[Need] = &[
    optional(
        fact(
            "Microsoft.Resources/subscriptions/read",
            Place::Subscription,
            &[],
            "finds the subscriptions, and tells a deleted VM from one that cannot be seen",
            "VMs are found only by resource id, and no VM counts as deleted",
        ),
        &[],
        "Azure shows a subscription to everybody who has a role in it",
    ),
    optional(
        fact(
            "Microsoft.Authorization/permissions/read",
            Place::Subscription,
            EVERY,
            "tells what this identity may do, and so whether a list is complete",
            "no list counts as complete: everything is unread and nothing is changed",
        ),
        &[],
        "whether Azure asks for it when an identity looks at its own permissions is not documented",
    ),
    fact(
        "Microsoft.Authorization/denyAssignments/read",
        Place::Subscription,
        &[LocksRemove],
        "tells deny assignments, which win over every role",
        "deny assignments are unread: no lock is removed, for one could forbid to put it back",
    ),
    fact(
        "Microsoft.Authorization/locks/read",
        Place::Subscription,
        &[LocksRemove, KeyvaultGrant],
        "lists the locks over the restore points",
        "locks are unread: none is removed, deletions run into them, and nothing is granted on a key vault",
    ),
    fact(
        "Microsoft.Resources/subscriptions/resourceGroups/read",
        Place::Subscription,
        &[LocksRemove],
        "finds the backup resource groups",
        "the backup resource groups are unread: no lock is removed",
    ),
    fact(
        "*/read",
        Place::BackupGroups,
        &[LocksRemove],
        "proves that a backup resource group holds nothing but backups",
        "what else a group holds is unread, so it counts as somebody's own: its locks stay",
    ),
    fact(
        "Microsoft.Compute/virtualMachines/read",
        Place::Vm,
        EVERY,
        "reads the VM and its vmId",
        "the VM is unread: nothing is changed",
    ),
    fact(
        "Microsoft.Compute/virtualMachines/instanceView/read",
        Place::Vm,
        &[ExtensionUninstall, VmReapply, VmRestart, KeyvaultGrant, GuestService, GuestAgentConf],
        "reads power state, guest agent and extension handlers",
        "the agent's state is unread: VMSnapshot is not uninstalled, a failed VM is left as it is, nothing is granted on a key vault, and a playbook whose conditions ask for it is not checked",
    ),
    fact(
        "Microsoft.Compute/virtualMachines/extensions/read",
        Place::Vm,
        &[ExtensionUninstall, VmReapply, VmRestart, KeyvaultGrant],
        "lists the extensions, and proves that one is gone",
        "the extensions are unread: VMSnapshot is not uninstalled, a failed VM is left as it is, nothing is granted on a key vault, and a playbook whose conditions ask for it is not checked",
    ),
    fact(
        "Microsoft.Compute/restorePointCollections/read",
        Place::Subscription,
        POINTS_AND_LOCKS,
        "lists the restore point collections",
        "the collections are unread: no restore point is deleted, no lock removed, no protection resumed",
    ),
    fact(
        "Microsoft.Compute/restorePointCollections/restorePoints/read",
        Place::Subscription,
        POINTS_AND_LOCKS,
        "reads the restore points of a collection",
        "the points are unread: none is deleted, no lock removed, no protection resumed",
    ),
    partly(
        &[DeleteStale],
        fact(
            "Microsoft.RecoveryServices/locations/backupStatus/action",
            Place::Subscription,
            &[DeleteStale, ProtectionResume, ProtectionEnable],
            "finds the vault of a VM, in another subscription too (a POST that only reads)",
            "a vault in a subscription that is not visible is not found: nothing counts as an orphan, no protection is resumed",
        ),
    ),
    fact(
        "Microsoft.RecoveryServices/Vaults/read",
        Place::Subscription,
        BY_ITEM,
        "finds the vaults, and reads whether one is immutable",
        "the vaults are unread: no point is deleted, no extension uninstalled, no backup started, no protection resumed or begun",
    ),
    fact(
        "Microsoft.RecoveryServices/Vaults/backupProtectedItems/read",
        Place::Vault,
        BY_ITEM,
        "finds the vault's items of the VM, in any state",
        "the items are unread: no point is deleted, no extension uninstalled, no backup started, no protection resumed or begun",
    ),
    partly(
        &[DeleteStale],
        fact(
            "Microsoft.RecoveryServices/Vaults/backupPolicies/read",
            Place::Vault,
            POLICIES,
            "reads how long points are kept and when the next backup is due",
            "the policy is unread: no point counts as expired and none is deleted, no protection is resumed; orphans still go",
        ),
    ),
    partly(
        &[DeleteStale],
        fact(
            "Microsoft.RecoveryServices/Vaults/backupFabrics/protectionContainers/protectedItems/recoveryPoints/read",
            Place::Vault,
            POINTS,
            "proves that the vault has a copy of a point",
            "the vault's copies are unread: no point is deleted; orphans still go",
        ),
    ),
    partly(
        &[DeleteStale],
        fact(
            "Microsoft.RecoveryServices/Vaults/backupJobs/read",
            Place::Vault,
            BY_JOBS,
            "reads the last error and running jobs, and follows a backup",
            "jobs are unread: no point is deleted but orphans, no extension uninstalled, no backup started, no protection resumed",
        ),
    ),
    partly(
        &[DeleteStale],
        fact(
            "Microsoft.RecoveryServices/Vaults/backupResourceGuardProxies/read",
            Place::Vault,
            POINTS,
            "reads whether a resource guard protects the vault",
            "the resource guard is unread: no point is deleted but orphans (rule s8.immutable)",
        ),
    ),
    optional(
        fact(
            "Microsoft.RecoveryServices/Vaults/backupEngines/read",
            Place::Vault,
            &[],
            "lists the Backup Servers and DPM servers of a vault (`azmend engines`)",
            "`azmend engines` says that they are unread",
        ),
        &[],
        "no playbook reads them",
    ),
    optional(
        fact(
            "Microsoft.Compute/disks/read",
            Place::Subscription,
            &[],
            "reads sizes and kinds of a VM's disks (`azmend diagnose`)",
            "the disks are not checked",
        ),
        &[],
        "no playbook reads them",
    ),
    optional(
        fact(
            "Microsoft.Insights/metrics/read",
            Place::Vm,
            &[],
            "reads how busy a VM was when its backup failed (`azmend diagnose`)",
            "the load is not checked",
        ),
        &[],
        "no playbook reads it",
    ),
    optional(
        fact(
            "Microsoft.Network/networkInterfaces/effectiveNetworkSecurityGroups/action",
            Place::Subscription,
            &[],
            "reads the effective network rules (`azmend diagnose --network`; a POST that only reads)",
            "network rules are not checked",
        ),
        &[],
        "no playbook reads them",
    ),
    fact(
        "Microsoft.RecoveryServices/Vaults/backupProtectableItems/read",
        Place::Vault,
        &[ProtectionEnable],
        "reads how a vault names a VM that it could protect",
        "no VM is protected for the first time",
    ),
    optional(
        fact(
            "Microsoft.RecoveryServices/Vaults/backupFabrics/refreshContainers/action",
            Place::Vault,
            &[],
            "lets a vault look for VMs that it has not discovered yet (a POST that changes nothing of yours)",
            "a VM that its vault has not discovered yet is not protected; it is within some minutes of its making",
        ),
        &[],
        "a vault discovers new VMs by itself",
    ),
    fact(
        "Microsoft.KeyVault/vaults/read",
        Place::KeyVault,
        &[KeyvaultGrant],
        "reads who may do what on the key vault of an encrypted VM",
        "the key vault is unread: nothing is granted",
    ),
    partly(
        &[KeyvaultGrant],
        fact(
            "Microsoft.Authorization/roleAssignments/read",
            Place::KeyVault,
            &[KeyvaultGrant],
            "reads who holds a role on a key vault that goes by roles",
            "the role assignments are unread: nothing is granted on a key vault that goes by roles",
        ),
    ),
    follow(fact(
        "Microsoft.RecoveryServices/Vaults/backupFabrics/protectionContainers/protectedItems/read",
        Place::Vault,
        &[BackupStart, ProtectionResume, ProtectionEnable],
        "reads the item again just before its backup is started or its protection resumed",
        "no backup is started and no protection resumed or begun",
    )),
    optional(
        follow(fact(
            "Microsoft.RecoveryServices/Vaults/backupFabrics/protectionContainers/protectedItems/operationsStatus/read",
            Place::Vault,
            &[],
            "reads which job a backup request became",
            "the job is looked for in the list of jobs; when two fit, the outcome stays unknown",
        )),
        &[BackupStart, ProtectionResume, ProtectionEnable],
        "the job list usually settles it",
    ),
    optional(
        follow(fact(
            "Microsoft.RecoveryServices/Vaults/backupFabrics/protectionContainers/protectedItems/operationResults/read",
            Place::Vault,
            &[],
            "follows a backup request when Azure names no operation status",
            "the job is looked for in the list of jobs; when two fit, the outcome stays unknown",
        )),
        &[BackupStart],
        "every recorded answer names the operation status",
    ),
    optional(
        follow(fact(
            "Microsoft.Compute/locations/operations/read",
            Place::Subscription,
            &[GuestService, GuestAgentConf],
            "follows deletions to their end and reads why one failed, and what a script inside a VM printed",
            "deletions are proven by reading the resource alone; why one failed stays unsaid; nothing inside a VM is read",
        )),
        &[DeleteStale, DeleteCollection, ExtensionUninstall, VmReapply, VmRestart],
        "success is read from the resource itself",
    ),
    change(
        "Microsoft.Authorization/locks/delete",
        Place::BackupGroups,
        &[LocksRemove],
        "removes a lock from a backup resource group",
        "locks are reported with the command that removes them",
    ),
    change(
        "Microsoft.Authorization/locks/write",
        Place::BackupGroups,
        &[LocksRemove],
        "puts a removed lock back",
        "no lock is removed, for none could be put back (rule s6.cannot-restore)",
    ),
    partly(
        &[DeleteStale],
        change(
            "Microsoft.Compute/restorePointCollections/delete",
            Place::BackupGroups,
            POINTS,
            "deletes orphaned and superseded collections",
            "such collections stay; single expired points still go",
        ),
    ),
    partly(
        &[DeleteStale],
        change(
            "Microsoft.Compute/restorePointCollections/restorePoints/delete",
            Place::BackupGroups,
            &[DeleteStale],
            "deletes single expired points, and those of a collection that does not go as a whole",
            "single points stay; orphaned and superseded collections still go",
        ),
    ),
    change(
        "Microsoft.Compute/virtualMachines/extensions/delete",
        Place::Vm,
        &[ExtensionUninstall],
        "uninstalls VMSnapshot; Azure Backup installs it again",
        "VMSnapshot is not uninstalled",
    ),
    change(
        "Microsoft.RecoveryServices/Vaults/backupFabrics/protectionContainers/protectedItems/backup/action",
        Place::Vault,
        &[BackupStart],
        "starts an on-demand backup",
        "no backup is started",
    ),
    change(
        "Microsoft.RecoveryServices/Vaults/backupJobs/cancel/action",
        Place::Vault,
        &[JobCancel],
        "cancels a backup job that hangs",
        "no job is cancelled",
    ),
    change(
        "Microsoft.Compute/virtualMachines/reapply/action",
        Place::Vm,
        &[VmReapply],
        "applies the model of a failed VM again",
        "the model is not applied again",
    ),
    change(
        "Microsoft.Compute/virtualMachines/restart/action",
        Place::Vm,
        &[VmRestart],
        "restarts a VM when a playbook is asked to",
        "no VM is restarted",
    ),
    change(
        "Microsoft.RecoveryServices/Vaults/backupFabrics/protectionContainers/protectedItems/write",
        Place::Vault,
        &[ProtectionResume, ProtectionEnable],
        "protects a stopped item again or a VM for the first time, and stops it when that is taken back",
        "no protection is resumed and no VM protected",
    ),
    partly(
        &[KeyvaultGrant],
        change(
            "Microsoft.KeyVault/vaults/accessPolicies/write",
            Place::KeyVault,
            &[KeyvaultGrant],
            "adds to the access policies of a key vault what Azure Backup lacks, and takes it away again",
            "nothing is granted on a key vault that goes by access policies",
        ),
    ),
    partly(
        &[KeyvaultGrant],
        change(
            "Microsoft.Authorization/roleAssignments/write",
            Place::KeyVault,
            &[KeyvaultGrant],
            "assigns a role on a key vault to Azure Backup",
            "nothing is granted on a key vault that goes by roles",
        ),
    ),
    optional(
        change(
            "Microsoft.Authorization/roleAssignments/delete",
            Place::KeyVault,
            &[],
            "takes that role away again",
            "the role assignment cannot be taken back by azmend",
        ),
        &[KeyvaultGrant],
        "only an undo sends it",
    ),
    change(
        RUN_COMMAND,
        Place::Vm,
        &[GuestService, GuestAgentConf],
        "runs a script inside the VM, only with --allow-guest",
        "nothing inside a VM is read or set",
    ),
];

/// Runs any script as System or root: nobody gets it without asking for a playbook that needs it.
pub const RUN_COMMAND: &str = "Microsoft.Compute/virtualMachines/runCommand/action";

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
        self.actions.retain(|action| *action != LocksRemove);
        self
    }

    /// Without granting anything: that must be asked for by name, also in a role. Whoever may write access policies or role
    /// assignments may give himself everything in the vault.
    #[must_use]
    pub fn without_grants(mut self) -> Self {
        self.actions.retain(|action| *action != KeyvaultGrant);
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
                need.blocks.iter().chain(need.helps).any(|action| self.actions.contains(action))
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
        for need in NEEDS {
            assert!(seen.insert(need.action.to_lowercase()), "{} stands twice", need.action);
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
            assert_eq!(changes.count() >= 1, action != JobWait, "{action}");
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
        let backup: Vec<&str> = Purpose::to([BackupStart]).needs().iter().map(|need| need.action).collect();
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
