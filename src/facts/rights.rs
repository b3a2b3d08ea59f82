//! What the caller may do, wherever azmend works: the reading behind `azmend doctor`.
//!
//! Duty: the permissions at a subscription, at its backup resource groups and at its vaults, and its deny assignments;
//! or the same places of one VM, from its facts. Reads only; what is not read says so (S12).
//! Invariant: a scope is asked for itself only when what is granted above may not be all.
//! Must never: judge. That is `actions::rights`.

use super::groups::default_group_name;
use super::read::{Reader, action, part};
use super::vm_facts::{GroupFacts, Part, Rights, VmFacts};
use crate::arm::Arm;
use crate::arm::id::ResourceId;
use crate::arm::model::{DenyAssignment, Permission};
use crate::arm::permissions::{allows, allows_every_read};

/// The most groups and vaults of one subscription that are asked one by one.
const MOST: usize = 100;

/// The actions that may matter at a VM. These lists are what `actions::permissions_needed` asks for at such a place; a test holds them
/// together.
pub const AT_VM: &[&str] = &[
    "Microsoft.Compute/virtualMachines/read",
    "Microsoft.Compute/virtualMachines/instanceView/read",
    "Microsoft.Compute/virtualMachines/extensions/read",
    "Microsoft.Compute/virtualMachines/extensions/delete",
    "Microsoft.Compute/virtualMachines/reapply/action",
    "Microsoft.Compute/virtualMachines/restart/action",
    "Microsoft.Compute/virtualMachines/runCommand/action",
    "Microsoft.Insights/metrics/read",
];
/// At a backup resource group; also every read (S5).
pub const AT_GROUP: &[&str] = &[
    "Microsoft.Authorization/locks/delete",
    "Microsoft.Authorization/locks/write",
    "Microsoft.Compute/restorePointCollections/delete",
    "Microsoft.Compute/restorePointCollections/restorePoints/delete",
];
/// At a Recovery Services vault.
pub const AT_VAULT: &[&str] = &[
    action::ITEMS,
    action::ITEM,
    action::POLICIES,
    action::RECOVERY_POINTS,
    action::JOBS,
    action::GUARD,
    action::ENGINES,
    "Microsoft.RecoveryServices/Vaults/backupProtectableItems/read",
    "Microsoft.RecoveryServices/Vaults/backupFabrics/refreshContainers/action",
    "Microsoft.RecoveryServices/Vaults/backupFabrics/protectionContainers/protectedItems/operationsStatus/read",
    "Microsoft.RecoveryServices/Vaults/backupFabrics/protectionContainers/protectedItems/operationResults/read",
    "Microsoft.RecoveryServices/Vaults/backupFabrics/protectionContainers/protectedItems/backup/action",
    "Microsoft.RecoveryServices/Vaults/backupFabrics/protectionContainers/protectedItems/write",
    "Microsoft.RecoveryServices/Vaults/backupJobs/cancel/action",
];
/// At the key vault of an encrypted VM.
pub const AT_KEY_VAULT: &[&str] = &[
    "Microsoft.KeyVault/vaults/read",
    "Microsoft.KeyVault/vaults/accessPolicies/write",
    action::ROLES,
    "Microsoft.Authorization/roleAssignments/write",
    "Microsoft.Authorization/roleAssignments/delete",
];

/// Whether these permissions, granted above `scope`, leave nothing to ask at the scope itself: grants are inherited.
#[must_use]
pub fn enough_at(scope: &ResourceId, granted: &[Permission]) -> bool {
    let all = |actions: &[&str]| actions.iter().all(|action| allows(granted, action));
    match scope.resource_type().as_str() {
        "microsoft.compute/virtualmachines" => all(AT_VM),
        "resourcegroup" => all(AT_GROUP) && allows_every_read(granted),
        "microsoft.recoveryservices/vaults" => all(AT_VAULT),
        "microsoft.keyvault/vaults" => all(AT_KEY_VAULT),
        _ => false,
    }
}

/// What the caller may do in a subscription, or at one VM of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// At the subscription.
    pub subscription: Rights,
    /// At the VM, when it is about one.
    pub vm: Option<Rights>,
    /// At the backup resource groups.
    pub groups: Part<Vec<Rights>>,
    /// At the vaults.
    pub vaults: Part<Vec<Rights>>,
    /// At the key vaults of an encrypted VM. A subscription's own are not listed: it speaks for them.
    pub key_vaults: Part<Vec<Rights>>,
    /// Deny assignments.
    pub deny: Part<Vec<DenyAssignment>>,
}

impl Places {
    /// The places of one VM, as its facts have them.
    #[must_use]
    pub fn of_vm(facts: &VmFacts) -> Self {
        let at = |scope: &ResourceId| {
            let known = facts.rights.iter().find(|rights| rights.scope == *scope);
            known.cloned().unwrap_or_else(|| Rights { scope: scope.clone(), permissions: Part::not_asked() })
        };
        // Where rights were not asked nothing is changed: groups that only have a name like Backup's.
        let asked = |group: &&GroupFacts| facts.rights.iter().any(|rights| rights.scope == group.group.id);
        let groups = facts.groups.known().into_iter().flatten().filter(asked);
        let groups = groups.map(|group| at(&group.group.id)).collect();
        let vaults = facts.items.known().into_iter().flatten().filter_map(|item| item.item.vault_id());
        let vaults: Vec<Rights> = vaults.map(|vault| at(&vault)).collect();
        let key_vaults = facts.key_vaults.known().into_iter().flatten().map(|vault| at(&vault.id)).collect();
        Self {
            subscription: at(&facts.id.subscription_id()),
            vm: (!facts.vm.is_absent()).then(|| at(&facts.id)),
            groups: like(&facts.groups, groups),
            vaults: like(&facts.items, vaults),
            key_vaults: like(&facts.key_vaults, key_vaults),
            deny: facts.deny.clone(),
        }
    }
}

fn like<T, U>(part: &Part<T>, value: U) -> Part<U> {
    match part {
        Part::Known { at, .. } => Part::Known { at: *at, value },
        Part::Absent { at } => Part::Absent { at: *at },
        Part::Unread { why } => Part::Unread { why: why.clone() },
    }
}

/// Reads what the caller may do in a subscription. It never fails: see the parts.
pub async fn read_places(arm: &Arm, subscription: &ResourceId) -> Places {
    let reader = Reader::new(arm, 8);
    let here = part(reader.permissions(subscription).await);
    // With everything granted above there is nothing to learn below.
    let everything = here
        .known()
        .is_some_and(|all| all.iter().any(|one| one.actions.iter().any(|a| a == "*") && one.not_actions.is_empty()));
    let (groups, vaults) = if everything {
        let at = reader.now();
        (Part::Known { at, value: Vec::new() }, Part::Known { at, value: Vec::new() })
    } else {
        futures::join!(backup_groups(&reader, subscription), vaults(&reader, subscription))
    };
    let deny = match here.known() {
        Some(permissions) if !allows(permissions, action::DENY) => {
            Part::Unread { why: format!("no permission {} at {}", action::DENY, subscription.short_name()) }
        }
        _ => part(reader.deny_assignments(subscription).await),
    };
    let key_vaults = Part::Known { at: reader.now(), value: Vec::new() };
    let subscription = Rights { scope: subscription.clone(), permissions: here };
    Places { subscription, vm: None, groups, vaults, key_vaults, deny }
}

/// The groups that Azure Backup names by default. Those of a policy's own prefix are found only VM by VM.
async fn backup_groups(reader: &Reader<'_>, subscription: &ResourceId) -> Part<Vec<Rights>> {
    let call = reader.arm.groups(subscription.subscription());
    let listed = reader.list(subscription, &[action::GROUPS], "resource groups", call).await;
    let ids = listed.map(|(at, groups)| {
        let ids = groups.into_iter().map(|group| group.id).filter(|id| default_group_name(id.name()).is_some());
        (at, ids.collect::<Vec<_>>())
    });
    ask(reader, part(ids), "backup resource groups").await
}

async fn vaults(reader: &Reader<'_>, subscription: &ResourceId) -> Part<Vec<Rights>> {
    let call = reader.arm.vaults(subscription.subscription());
    let listed = reader.list(subscription, &[action::VAULTS], "vaults", call).await;
    let ids = listed.map(|(at, vaults)| (at, vaults.into_iter().map(|vault| vault.id).collect::<Vec<_>>()));
    ask(reader, part(ids), "vaults").await
}

async fn ask(reader: &Reader<'_>, scopes: Part<Vec<ResourceId>>, what: &str) -> Part<Vec<Rights>> {
    let Some(ids) = scopes.known() else { return like(&scopes, Vec::new()) };
    if ids.len() > MOST {
        return Part::Unread { why: format!("there are {} {what}; at most {MOST} are read one by one", ids.len()) };
    }
    let calls = ids.iter().map(|scope| async move {
        Rights { scope: scope.clone(), permissions: part(reader.permissions(scope).await) }
    });
    let rights = reader.side_by_side(calls.collect()).await;
    like(&scopes, rights)
}
