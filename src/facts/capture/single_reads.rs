//! Reads of single things, beyond what a bulk reading has.

use crate::facts::unread::Unread;
use std::collections::{BTreeMap, HashMap, HashSet};

use super::{Captured, CapturedItem, CapturedVm};
use crate::arm::id::ResourceId;
use crate::arm::model::{Collection, Disk, ProtectedItem, RecoveryPoint, SizedCollection};
use crate::arm::permissions::allows_every_read;
use crate::facts::bulk::{Bulk, Deep, Index, Kind};
use crate::facts::collect::newest_finished_backup;
use crate::facts::graph::VmRow;
use crate::facts::groups::is_backup_group_name;
use crate::facts::keyvaults;
use crate::facts::read::{Read, Reader, action, complete, why};
use crate::facts::vm_facts::KeyVaultFacts;
use crate::facts::vm_facts::Part;

/// Azure rations reads of jobs (a recorded 429 names 150 per hour and vault, and the gateway stays below that): so many
/// jobs of a vault are read one by one, the running ones first.
const JOBS_PER_VAULT: usize = 40;

/// A collection with its points; one that is gone by now is absent.
pub(super) async fn collection(reader: &Reader<'_>, id: &ResourceId) -> Part<SizedCollection> {
    let at = reader.now();
    match reader.arm.sized_collection(id).await {
        Ok(value) if value.collection.points.is_some() => Part::Known { at, value },
        Ok(_) => Part::Unread { why: format!("Azure omitted the restore points of {}", id.short_name()) },
        Err(error) if reader.arm.proves_absence(&error, id).await => Part::Absent { at },
        Err(error) => Part::Unread { why: why(&error) },
    }
}

pub(super) async fn recovery_points(reader: &Reader<'_>, item: &ProtectedItem) -> Read<Vec<RecoveryPoint>> {
    let vault = item.vault_id().unwrap_or_else(|| item.id.clone());
    let call = reader.arm.recovery_points(&item.id);
    reader.list(&vault, &[action::RECOVERY_POINTS], "recovery points", call).await.map(|(_, points)| points)
}

/// A VM with its view, disks and key vaults.
pub(super) async fn vm(
    reader: &Reader<'_>,
    bulk: &Bulk,
    index: &Index,
    deep: &Deep,
    row: &VmRow,
) -> (CapturedVm, Vec<KeyVaultFacts>, Vec<Unread>) {
    let mut facts = bulk.facts(index, deep, row);
    let mut not_read = Vec::new();
    if facts.instance.is_not_asked() {
        let at = reader.now();
        facts.instance = match reader.arm.instance_view(&row.vm.id).await {
            Ok(value) => Part::Known { at, value },
            Err(error) => {
                let why = why(&error);
                let what = format!("the instance view of the VM {}", row.vm.id.name());
                not_read.push(Unread { what, why: why.clone() });
                Part::Unread { why }
            }
        };
    }
    let disks = disks(reader, row, &mut not_read).await;
    let read = keyvaults::read(reader, &facts).await;
    // Without the parts that tell, nothing says that it is encrypted; those parts are told of already.
    let told = facts.instance.unread().or(facts.extensions.unread()).is_some();
    let key_vaults = match read {
        Part::Known { value, .. } => value,
        Part::Absent { .. } => Vec::new(),
        Part::Unread { .. } if told => Vec::new(),
        Part::Unread { why } => {
            not_read.push(Unread { what: format!("the key vaults of the VM {}", row.vm.id.name()), why });
            Vec::new()
        }
    };
    for vault in &key_vaults {
        if let Some(why) = vault.vault.unread().or(vault.roles.unread()) {
            let what = format!("who may read the key vault {}", vault.id.name());
            not_read.push(Unread { what, why: why.to_owned() });
        }
    }
    // An estate knows one key vault for each VM: that of the secrets.
    let main = key_vaults.iter().find(|vault| vault.secret).or(key_vaults.first());
    let key = key_vaults.iter().any(|vault| vault.key);
    let captured = CapturedVm {
        row: row.clone(),
        whole: true,
        instance: facts.instance.known().cloned(),
        extensions: facts.extensions.known().cloned().unwrap_or_default(),
        disks,
        encryption: main.map(|vault| (vault.id.clone(), key)),
    };
    (captured, key_vaults, not_read)
}

/// The disks: what is left out of a profile while a VM is deallocated, and whether they are shared, stands there alone.
async fn disks(reader: &Reader<'_>, row: &VmRow, not_read: &mut Vec<Unread>) -> Vec<Disk> {
    let ids = row.vm.disks.iter().filter(|disk| !disk.ephemeral).filter_map(|disk| disk.id.clone());
    let calls = ids.map(|id| async move {
        let read = reader.arm.disk(&id).await;
        (id, read)
    });
    let mut out = Vec::new();
    for (id, read) in reader.side_by_side(calls.collect()).await {
        match read {
            Ok(disk) => out.push(disk),
            Err(error) => not_read.push(Unread { what: format!("the disk {}", id.name()), why: why(&error) }),
        }
    }
    out
}

/// Reads what only a job's own answer has: of running jobs and of the newest finished backup of each item.
pub(super) async fn job_details(
    reader: &Reader<'_>,
    items: &mut [CapturedItem],
    whole: impl Fn(&ResourceId) -> bool,
    out: &mut Captured,
) {
    let mut wanted: BTreeMap<String, Vec<(bool, ResourceId)>> = BTreeMap::new();
    for item in items.iter().filter(|item| whole(&item.vm)) {
        let Some(vault) = item.item.vault_id() else { continue };
        let newest = newest_finished_backup(&item.jobs).filter(|_| running(&item.item)).map(|job| &job.id);
        let jobs = item.jobs.iter().filter(|job| job.running() || newest == Some(&job.id));
        let jobs = jobs.map(|job| (!job.running(), job.id.clone()));
        wanted.entry(vault.key().to_owned()).or_default().extend(jobs);
    }
    let mut left = 0;
    let mut ids = Vec::new();
    for jobs in wanted.values_mut() {
        jobs.sort();
        left += jobs.len().saturating_sub(JOBS_PER_VAULT);
        ids.extend(jobs.iter().take(JOBS_PER_VAULT).map(|(_, id)| id.clone()));
    }
    if left > 0 {
        out.leave_out(&format!("the details of {left} jobs: Azure rations these reads"), "");
    }
    let calls = ids.into_iter().map(|id| async move {
        let read = reader.arm.job(&id).await;
        (id, read)
    });
    let read = reader.side_by_side(calls.collect()).await;
    let mut places: HashMap<ResourceId, (usize, usize)> = HashMap::new();
    for (at, item) in items.iter().enumerate() {
        for (job, read) in item.jobs.iter().enumerate() {
            places.entry(read.id.clone()).or_insert((at, job));
        }
    }
    for (id, read) in read {
        match read {
            Ok(full) => {
                if let Some((item, at)) = places.get(&id)
                    && let Some(job) = items.get_mut(*item).and_then(|item| item.jobs.get_mut(*at))
                {
                    *job = full;
                }
            }
            Err(error) if reader.arm.proves_absence(&error, &id).await => {}
            Err(error) => {
                out.not_read.push(Unread { what: format!("the details of the job {}", id.name()), why: why(&error) });
            }
        }
    }
}

/// What the groups that may be backup groups hold beside collections (S5).
pub(super) async fn others(reader: &Reader<'_>, bulk: &Bulk, out: &mut Captured) {
    let groups = may_be_backup(bulk, out);
    let calls = groups.into_iter().map(|group| async move {
        let read = match reader.may_list_everything(&group).await {
            Ok(()) => complete(reader.arm.resources_in(&group).await, "resources"),
            Err(why) => Err(why),
        };
        (group, read)
    });
    let read = reader.side_by_side(calls.collect()).await;
    let captured: HashSet<String> = out
        .vms
        .iter()
        .flat_map(|vm| vm.row.vm.disks.iter().filter_map(|disk| disk.id.as_ref()).chain([&vm.row.vm.id]))
        .chain(out.vaults.iter().map(|one| &one.vault.id))
        .chain(out.key_vaults.iter().map(|one| &one.id))
        .map(|id| id.key().to_owned())
        .collect();
    // At or below one of them.
    let within = |id: &ResourceId| {
        let key = id.key();
        key.match_indices('/').map(|(at, _)| &key[..at]).chain([key]).any(|above| captured.contains(above))
    };
    for (group, read) in read {
        match read {
            Ok(ids) => {
                let known = |id: &ResourceId| {
                    id.resource_type().starts_with("microsoft.compute/restorepointcollections") || within(id)
                };
                let (flat, nested): (Vec<_>, Vec<_>) = ids
                    .into_iter()
                    .filter(|id| !known(id))
                    .partition(|id| id.resource_type().matches('/').count() == 1);
                // A child's parent is in the list too, and it alone decides what the group is.
                drop(nested);
                out.others.extend(flat);
            }
            Err(why) => {
                out.not_read.push(Unread { what: format!("what the group {} holds", group.name()), why });
            }
        }
    }
    out.others.sort();
    out.others.dedup();
}

/// What the caller may do: at the subscriptions, and at the groups where that is not every read.
pub(super) async fn rights(reader: &Reader<'_>, bulk: &Bulk, out: &mut Captured) {
    let scopes: Vec<ResourceId> =
        out.subscriptions.iter().filter_map(|one| ResourceId::subscription_scope(&one.id).ok()).collect();
    let chosen =
        |scope: &ResourceId| bulk.subscriptions.iter().any(|one| one.id.eq_ignore_ascii_case(scope.subscription()));
    let mut all = Vec::new();
    for scope in scopes {
        match reader.permissions(&scope).await {
            Ok((_, granted)) => {
                let narrow = !allows_every_read(&granted);
                all.push((scope.clone(), granted));
                if narrow {
                    let groups =
                        out.groups.iter().filter(|group| scope.covers(&group.id)).map(|group| group.id.clone());
                    let calls = groups.map(|group| async move {
                        let read = reader.permissions(&group).await;
                        (group, read)
                    });
                    for (group, read) in reader.side_by_side(calls.collect()).await {
                        match read {
                            Ok((_, granted)) => all.push((group, granted)),
                            Err(why) => unread(out, &group.short_name(), why),
                        }
                    }
                }
            }
            Err(why) => {
                unread(out, scope.subscription(), why);
                // Nothing says what is lacking: the sandbox lets everything through there.
                let everything = crate::arm::model::Permission { actions: vec!["*".into()], not_actions: Vec::new() };
                all.push((scope.clone(), vec![everything]));
            }
        }
        if chosen(&scope) {
            match reader.deny_assignments(&scope).await {
                Ok((_, found)) => out.denies.extend(found),
                // Also when the right to see them is all that is missing (S12): one of them wins over every role, so without
                // them a rehearsal may do what Azure would refuse.
                Err(why) => {
                    let what = format!("the deny assignments of {}", scope.subscription());
                    out.not_read.push(Unread { what, why });
                }
            }
        }
    }
    let everything = |granted: &Vec<crate::arm::model::Permission>| {
        granted.iter().any(|one| one.not_actions.is_empty() && one.actions.iter().any(|action| action == "*"))
    };
    if !all.iter().all(|(_, granted)| everything(granted)) {
        out.permissions = all;
    }
}

fn unread(out: &mut Captured, scope: &str, why: String) {
    out.not_read.push(Unread { what: format!("what may be done at {scope}"), why });
}

/// The VM of a collection, when its source is one.
pub(super) fn vm_of(collection: &Collection) -> Option<ResourceId> {
    collection.source_id().filter(|id| id.is_type("Microsoft.Compute/virtualMachines"))
}

/// The groups in which the sandbox must show everything: those that are, or may be taken for, backup groups.
pub(super) fn may_be_backup(bulk: &Bulk, out: &Captured) -> Vec<ResourceId> {
    let held: HashSet<String> =
        out.collections.iter().filter_map(|one| Some(one.collection.id.group_id()?.key().to_owned())).collect();
    let groups = out.groups.iter().filter(|group| {
        held.contains(group.id.key())
            || is_backup_group_name(group.id.name(), None)
            || out.policies.iter().any(|policy| is_backup_group_name(group.id.name(), Some(policy)))
    });
    let listed = |id: &ResourceId| bulk.gap(Kind::Groups, id).is_none();
    groups.map(|group| group.id.clone()).filter(|id| listed(id)).collect()
}

/// Whether the item is one that protects its VM now.
pub(super) fn running(item: &ProtectedItem) -> bool {
    !item.soft_deleted && !item.stopped()
}
