//! One permission of Azure: its name, where it must be granted, what for, and what happens without it; and those that only read.
//!
//! Invariants: an action is named as Azure's operation lists print it (`tests/fixtures/contracts/actions.txt`); the permissions of a
//! change stand in the file of its action. Which of them a playbook needs is [`super::permissions_needed`].

use std::fmt;

use serde::{Deserialize, Serialize};

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
