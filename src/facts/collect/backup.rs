//! Vaults and the protected items that name the VM.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{jobs, plain_location};
use crate::arm::id::ResourceId;
use crate::arm::model::{BackupStatus, Policy, ProtectedItem, RecoveryPoint, Vault};
use crate::facts::items::{Naming, is_namesake, naming};
use crate::facts::read::{Read, Reader, action, complete, one_line, part, single, why};
use crate::facts::vm_facts::{ItemFacts, Part, VmFacts};

/// What to look for, and where.
pub(super) struct Search<'a> {
    pub vm: &'a ResourceId,
    /// The VM's region, or those of its collections; empty when not known.
    pub locations: &'a [String],
    /// Every vault of every visible subscription.
    pub thorough: bool,
    /// Jobs that azmend started.
    pub own_jobs: &'a [ResourceId],
    /// The VM is not there: then every item that could be of it counts, whatever its source says now.
    pub gone: bool,
}

/// What was found of the VM's backup.
pub(super) struct Found {
    pub status: Part<BackupStatus>,
    /// The vaults whose items were looked through.
    pub vaults: Vec<ResourceId>,
    pub items: Part<Vec<ItemFacts>>,
    /// Items of VMs of the same name, when none is of the VM.
    pub namesakes: Vec<ProtectedItem>,
}

/// Which parts of known items to read again.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Again {
    /// The items themselves, by the lists of the vaults that were looked through.
    pub items: bool,
    /// Their vaults and resource guards.
    pub vaults: bool,
    pub policies: bool,
    pub recovery_points: bool,
    pub jobs: bool,
}

/// Asks `backupStatus`, then finds the items that name the VM and what belongs to them.
pub(super) async fn read(reader: &Reader<'_>, search: &Search<'_>) -> Found {
    let at = reader.now();
    // Most VMs are protected by a vault of their own subscription: its list need not wait for `backupStatus`.
    let (status, own) = futures::join!(read_status(reader, search), vaults_of(reader, search.vm.subscription_id()));
    let found = match find_vaults(reader, search, &status, own).await {
        Ok(vaults) => list_items(reader, search.vm, search.gone, &vaults).await.map(|items| (vaults, items)),
        Err(why) => Err(why),
    };
    match found {
        Ok((vaults, (items, namesakes))) => {
            let calls = items.into_iter().map(|item| details(reader, search.vm, item, search.own_jobs)).collect();
            let items = Part::Known { at, value: reader.side_by_side(calls).await };
            Found { status, vaults, items, namesakes }
        }
        Err(why) => Found { status, vaults: Vec::new(), items: Part::Unread { why }, namesakes: Vec::new() },
    }
}

/// Asks `backupStatus` again, and nothing else.
pub(super) async fn ask_status(reader: &Reader<'_>, vm: &ResourceId, locations: &[String]) -> Part<BackupStatus> {
    let search = Search { vm, locations, thorough: false, own_jobs: &[], gone: false };
    read_status(reader, &search).await
}

/// Reads parts of known items again, in the vaults that were looked through; the other parts stay as they are.
pub(super) async fn again(reader: &Reader<'_>, old: &VmFacts, what: Again) -> Part<Vec<ItemFacts>> {
    let Part::Known { at, value } = &old.items else { return old.items.clone() };
    if !what.items {
        let calls = value.iter().map(|facts| parts_again(reader, old, facts.item.clone(), facts, what));
        return Part::Known { at: *at, value: reader.side_by_side(calls.collect()).await };
    }
    let at = reader.now();
    let items = match list_items(reader, &old.id, old.vm.is_absent(), &old.vaults).await {
        Ok((items, _)) => items,
        Err(why) => return Part::Unread { why },
    };
    let calls = items.into_iter().map(|item| async move {
        match value.iter().find(|facts| facts.item.id == item.id) {
            Some(facts) => Box::pin(parts_again(reader, old, item, facts, what)).await,
            None => Box::pin(details(reader, &old.id, item, &old.own_jobs)).await,
        }
    });
    Part::Known { at, value: reader.side_by_side(calls.collect()).await }
}

/// `item` is the item as it is now, `old` what was read with it.
async fn parts_again(
    reader: &Reader<'_>,
    facts: &VmFacts,
    item: ProtectedItem,
    old: &ItemFacts,
    what: Again,
) -> ItemFacts {
    let Some(vault_id) = item.vault_id() else { return ItemFacts { item, ..old.clone() } };
    let other_policy = !item.policy_id.eq_ignore_ascii_case(&old.item.policy_id);
    let vault = async {
        if !what.vaults {
            return (old.vault.clone(), old.resource_guard.clone());
        }
        read_vault(reader, &vault_id).await
    };
    let policy =
        async { if what.policies || other_policy { read_policy(reader, &item).await } else { old.policy.clone() } };
    let points = async {
        if what.recovery_points { read_points(reader, &vault_id, &item).await } else { old.recovery_points.clone() }
    };
    let jobs = async {
        if !what.jobs {
            return old.jobs.clone();
        }
        let whose = jobs::Whose { vm: &facts.id, item: &item, vault: &vault_id, own: &facts.own_jobs };
        Box::pin(jobs::refresh(reader, whose, &old.jobs)).await
    };
    let ((vault, resource_guard), policy, recovery_points, jobs) = futures::join!(vault, policy, points, jobs);
    ItemFacts { vault, resource_guard, policy, recovery_points, jobs, began_together: old.began_together, item }
}

/// `backupStatus` is asked in the VM's region. Without a VM each region of its collections is asked; one that knows a
/// vault wins.
async fn read_status(reader: &Reader<'_>, search: &Search<'_>) -> Part<BackupStatus> {
    let at = reader.now();
    let mut answer = Part::Unread { why: "the VM's region is not known".to_owned() };
    for location in search.locations {
        let one = single(at, reader.arm.backup_status(search.vm, location).await);
        match &one {
            Part::Known { value, .. } if !value.vault_id.is_empty() => return one,
            Part::Unread { .. } => return one,
            Part::Known { .. } | Part::Absent { .. } => answer = one,
        }
    }
    answer
}

async fn vaults_of(reader: &Reader<'_>, subscription: ResourceId) -> Read<Vec<Vault>> {
    let call = reader.arm.vaults(subscription.subscription());
    reader.list(&subscription, &[action::VAULTS], "vaults", call).await.map(|(_, vaults)| vaults)
}

/// The vaults that may have an item of the VM. `own` are those of its subscription.
async fn find_vaults(
    reader: &Reader<'_>,
    search: &Search<'_>,
    status: &Part<BackupStatus>,
    own: Read<Vec<Vault>>,
) -> Read<Vec<ResourceId>> {
    let mut vaults = BTreeSet::new();
    if let Some(status) = status.known()
        && !status.vault_id.is_empty()
    {
        let vault = ResourceId::parse(&status.vault_id)
            .map_err(|error| one_line(&format!("backupStatus names a vault azmend cannot read: {error}")))?;
        vaults.insert(vault);
    }
    // A vault in another subscription is found by `backupStatus` alone; without its answer all of them are looked into.
    let everywhere = search.thorough || status.known().is_none() || search.locations.is_empty();
    let mut listed = own?;
    if everywhere {
        let mut others = visible(reader, search.vm).await?;
        others.retain(|subscription| *subscription != search.vm.subscription_id());
        let calls = others.into_iter().map(|subscription| vaults_of(reader, subscription));
        for more in reader.side_by_side(calls.collect()).await {
            listed.extend(more?);
        }
    }
    let here = |location: &str| search.locations.iter().any(|wanted| *wanted == plain_location(location));
    // A VM is protected by a vault of its own region only (`UserErrorVmVaultLocationMismatch`).
    vaults.extend(listed.into_iter().filter(|vault| everywhere || here(&vault.location)).map(|vault| vault.id));
    Ok(vaults.into_iter().collect())
}

/// The items of these vaults that name the VM, in any state; when none does, those of VMs of the same name.
async fn list_items(
    reader: &Reader<'_>,
    vm: &ResourceId,
    gone: bool,
    vaults: &[ResourceId],
) -> Read<(Vec<ProtectedItem>, Vec<ProtectedItem>)> {
    let calls = vaults.iter().map(|vault| async move {
        reader.list(vault, &[action::ITEMS], "protected items", reader.arm.protected_items(vault)).await
    });
    let mut all: Vec<ProtectedItem> = Vec::new();
    for listed in reader.side_by_side(calls.collect()).await {
        let (_, listed) = listed?;
        all.extend(listed);
    }
    let namesakes: Vec<ProtectedItem> = all.iter().filter(|item| is_namesake(item, vm)).cloned().collect();
    let items = of_vm(all, vm, gone)?;
    let namesakes = if items.is_empty() && !gone { namesakes } else { Vec::new() };
    Ok((items, namesakes))
}

/// The items of the VM. One that does not say what it is of could be the VM's: then they are unread, unless the VM is there
/// and one of them protects it, for there can be no second such one.
fn of_vm(all: Vec<ProtectedItem>, vm: &ResourceId, gone: bool) -> Read<Vec<ProtectedItem>> {
    let mut items = Vec::new();
    let mut unclear = None;
    for item in all {
        match naming(&item, vm) {
            Naming::Vm => items.push(item),
            Naming::ByName if gone => items.push(item),
            // Its source is another resource.
            Naming::ByName if ResourceId::parse(&item.source).is_ok() => {}
            Naming::ByName | Naming::Nothing => unclear = unclear.or(Some(item.id)),
            Naming::Other => {}
        }
    }
    let protects = |item: &ProtectedItem| !item.soft_deleted && !item.stopped();
    match unclear.filter(|_| gone || !items.iter().any(protects)) {
        None => Ok(items),
        Some(id) => {
            let vault = id.up_to("vaults").unwrap_or_else(|| id.clone());
            Err(one_line(&format!(
                "the item {} in vault {} does not say of which VM it is",
                id.name(),
                vault.short_name()
            )))
        }
    }
}

/// Every subscription the caller can see, the VM's own included.
pub(super) async fn visible(reader: &Reader<'_>, vm: &ResourceId) -> Read<Vec<ResourceId>> {
    let listed = complete(reader.arm.subscriptions().await, "subscriptions")?;
    let mut all = BTreeSet::from([vm.subscription_id()]);
    for subscription in listed {
        let id = ResourceId::subscription_scope(&subscription.id).map_err(|error| one_line(&error))?;
        all.insert(id);
    }
    Ok(all.into_iter().collect())
}

async fn details(reader: &Reader<'_>, vm: &ResourceId, item: ProtectedItem, own: &[ResourceId]) -> ItemFacts {
    let Some(vault_id) = item.vault_id() else {
        let no_vault = format!("{} does not name its vault", item.id.name());
        let unread = || no_vault.clone();
        return ItemFacts {
            vault: Part::Unread { why: unread() },
            resource_guard: Part::Unread { why: unread() },
            policy: Part::Unread { why: unread() },
            recovery_points: Part::Unread { why: unread() },
            jobs: Part::Unread { why: unread() },
            began_together: 0,
            item,
        };
    };
    let ((vault, resource_guard), policy, recovery_points, (jobs, began_together)) = futures::join!(
        read_vault(reader, &vault_id),
        read_policy(reader, &item),
        read_points(reader, &vault_id, &item),
        jobs::read(reader, jobs::Whose { vm, item: &item, vault: &vault_id, own }),
    );
    ItemFacts { vault, resource_guard, policy, recovery_points, jobs, began_together, item }
}

/// The vault and whether a resource guard protects it. Two calls: lists have no security settings at all (1683 recorded
/// rows), and that `multiUserAuthorization` says `Enabled` as soon as there is a guard is not recorded.
async fn read_vault(reader: &Reader<'_>, vault: &ResourceId) -> (Part<Vault>, Part<bool>) {
    let at = reader.now();
    let (one, guard) = futures::join!(reader.arm.vault(vault), read_guard(reader, vault));
    (single(at, one), part(guard))
}

async fn read_points(reader: &Reader<'_>, vault: &ResourceId, item: &ProtectedItem) -> Part<Vec<RecoveryPoint>> {
    let call = reader.arm.recovery_points(&item.id);
    part(reader.list(vault, &[action::RECOVERY_POINTS], "recovery points", call).await)
}

async fn read_guard(reader: &Reader<'_>, vault: &ResourceId) -> Read<(Timestamp, bool)> {
    reader.may_list(vault, &[action::GUARD]).await?;
    let at = reader.now();
    let guarded = reader.arm.resource_guarded(vault).await.map_err(|error| why(&error))?;
    Ok((at, guarded))
}

/// Absent when the item has no policy, or names one that its vault (which answered) does not have.
async fn read_policy(reader: &Reader<'_>, item: &ProtectedItem) -> Part<Policy> {
    let at = reader.now();
    if item.policy_id.is_empty() {
        return Part::Absent { at };
    }
    let id = match ResourceId::parse(&item.policy_id) {
        Ok(id) => id,
        Err(error) => return Part::Unread { why: one_line(&error) },
    };
    match reader.arm.policy(&id).await {
        Ok(value) => Part::Known { at, value },
        Err(error) if reader.arm.proves_absence(&error, &id).await => Part::Absent { at },
        Err(error) => Part::Unread { why: why(&error) },
    }
}
