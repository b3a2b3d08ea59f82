//! Vaults and the protected items that name the VM.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{jobs, plain_location};
use crate::arm::id::ResourceId;
use crate::arm::model::{BackupStatus, Policy, ProtectedItem};
use crate::estate::facts::{ItemFacts, Part};
use crate::estate::items::{Naming, naming};
use crate::estate::read::{Read, Reader, action, complete, one_line, part, single, why};

/// What to look for, and where.
pub(super) struct Search<'a> {
    pub vm: &'a ResourceId,
    /// The VM's region, or those of its collections; empty when not known.
    pub locations: &'a [String],
    /// Every vault of every visible subscription.
    pub thorough: bool,
    /// The VM is not there: then every item that could be of it counts, whatever its source says now.
    pub gone: bool,
}

/// Asks `backupStatus`, then finds the items that name the VM and what belongs to them.
pub(super) async fn read(reader: &Reader<'_>, search: &Search<'_>) -> (Part<BackupStatus>, Part<Vec<ItemFacts>>) {
    let status = read_status(reader, search).await;
    let items = match find_items(reader, search, &status).await {
        Ok((at, items)) => {
            let calls = items.into_iter().map(|item| details(reader, search.vm, item)).collect();
            Part::Known { at, value: reader.side_by_side(calls).await }
        }
        Err(why) => Part::Unread { why },
    };
    (status, items)
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

async fn find_items(
    reader: &Reader<'_>,
    search: &Search<'_>,
    status: &Part<BackupStatus>,
) -> Read<(Timestamp, Vec<ProtectedItem>)> {
    let at = reader.now();
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
    let subscriptions = if everywhere { visible(reader, search.vm).await? } else { vec![search.vm.subscription_id()] };
    let calls = subscriptions.into_iter().map(|subscription| async move {
        let call = reader.arm.vaults(subscription.subscription());
        reader.list(&subscription, &[action::VAULTS], "vaults", call).await
    });
    for listed in reader.side_by_side(calls.collect()).await {
        let (_, listed) = listed?;
        let here = |location: &str| search.locations.iter().any(|wanted| *wanted == plain_location(location));
        // A VM is protected by a vault of its own region only (`UserErrorVmVaultLocationMismatch`).
        vaults.extend(listed.into_iter().filter(|vault| everywhere || here(&vault.location)).map(|vault| vault.id));
    }
    let calls = vaults.into_iter().map(|vault| async move {
        reader.list(&vault, &[action::ITEMS], "protected items", reader.arm.protected_items(&vault)).await
    });
    let mut all: Vec<ProtectedItem> = Vec::new();
    for listed in reader.side_by_side(calls.collect()).await {
        let (_, listed) = listed?;
        all.extend(listed);
    }
    of_vm(all, search).map(|items| (at, items))
}

/// The items of the VM. One that does not say what it is of could be the VM's: then they are unread, unless the VM is there
/// and one of them protects it, for there can be no second such one.
fn of_vm(all: Vec<ProtectedItem>, search: &Search<'_>) -> Read<Vec<ProtectedItem>> {
    let mut items = Vec::new();
    let mut unclear = None;
    for item in all {
        match naming(&item, search.vm) {
            Naming::Vm => items.push(item),
            Naming::ByName if search.gone => items.push(item),
            // Its source is another resource.
            Naming::ByName if ResourceId::parse(&item.source).is_ok() => {}
            Naming::ByName | Naming::Nothing => unclear = unclear.or(Some(item.id)),
            Naming::Other => {}
        }
    }
    let protects = |item: &ProtectedItem| !item.soft_deleted && !item.stopped();
    match unclear.filter(|_| search.gone || !items.iter().any(protects)) {
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

async fn details(reader: &Reader<'_>, vm: &ResourceId, item: ProtectedItem) -> ItemFacts {
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
    let at = reader.now();
    let points =
        reader.list(&vault_id, &[action::RECOVERY_POINTS], "recovery points", reader.arm.recovery_points(&item.id));
    let (vault, resource_guard, policy, recovery_points, (jobs, began_together)) = futures::join!(
        reader.arm.vault(&vault_id),
        read_guard(reader, &vault_id),
        read_policy(reader, &item),
        points,
        jobs::read(reader, vm, &item, &vault_id),
    );
    ItemFacts {
        vault: single(at, vault),
        resource_guard: part(resource_guard),
        policy,
        recovery_points: part(recovery_points),
        jobs,
        began_together,
        item,
    }
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
