//! Single reads of ARM, for VMs that look suspicious and for collections whose VM is not listed.
//!
//! A VM is [`suspicious`] when its provisioning or an extension failed, when its last backup did not succeed or its item is
//! not well, when a lock holds one of its collections, or when it has more than one collection. Of such a VM the instance
//! view and the points of its own collections are read; of its items, when they are not well or there are several
//! collections, the recovery points; with several collections also what its vault protects. Everything else is decided by
//! the bulk reading alone, so a VM that is none of these and yet near its limit is not seen: `--thorough` reads every VM.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::index::key_of;
use super::{Bulk, Index, Kind};
use crate::arm::id::ResourceId;
use crate::arm::model::{Collection, InstanceView, Job, ProtectedItem, RecoveryPoint, SizedCollection, Vault};
use crate::estate::collect::{may_be_of, newest_finished_backup};
use crate::estate::facts::Part;
use crate::estate::graph::VmRow;
use crate::estate::groups::names_vm;
use crate::estate::inventory::NotRead;
use crate::estate::read::{Reader, action, is_missing, part, single, why};

/// What was read one by one.
#[derive(Debug, Default)]
pub struct Deep {
    pub(super) instances: HashMap<String, Part<InstanceView>>,
    pub(super) collections: HashMap<String, Part<SizedCollection>>,
    pub(super) recovery_points: HashMap<String, Part<Vec<RecoveryPoint>>>,
    pub(super) vaults: HashMap<String, (Part<Vault>, Part<bool>)>,
    /// How many VMs were read by themselves.
    pub vms: usize,
    /// What was not read.
    pub not_read: Vec<NotRead>,
}

impl Deep {
    /// A collection with its points, if it was read.
    #[must_use]
    pub fn collection(&self, id: &ResourceId) -> Option<&SizedCollection> {
        self.collections.get(id.key())?.known()
    }

    /// The recovery points of an item, if they were read.
    #[must_use]
    pub fn recovery_points(&self, item: &ResourceId) -> Option<&Vec<RecoveryPoint>> {
        self.recovery_points.get(item.key())?.known()
    }
}

/// Whether the item says that its backup is not well.
#[must_use]
pub fn in_error(item: &ProtectedItem) -> bool {
    let health = !item.health.is_empty() && !["Passed", "Healthy"].iter().any(|w| item.health.eq_ignore_ascii_case(w));
    !item.soft_deleted
        && !item.stopped()
        && (health
            || item.protection_state.eq_ignore_ascii_case("ProtectionError")
            || item.last_backup_status.eq_ignore_ascii_case("Failed"))
}

/// The jobs of a VM in the vault of one of its items.
#[must_use]
pub fn jobs_of(bulk: &Bulk, index: &Index, vm: &ResourceId, item: &ProtectedItem) -> Vec<Job> {
    let Some(vault) = item.vault_id() else { return Vec::new() };
    let mut jobs: Vec<Job> =
        index.jobs(bulk, &vault, vm.name()).filter(|job| may_be_of(job, vm, item)).cloned().collect();
    jobs.sort_by(|a, b| b.start.cmp(&a.start).then_with(|| a.id.cmp(&b.id)));
    jobs
}

/// Whether a job that ended did what it should.
#[must_use]
pub fn went_well(job: &Job) -> bool {
    ["Completed", "CompletedWithWarnings"].iter().any(|word| job.status.eq_ignore_ascii_case(word))
}

/// Whether the VM is worth reads of its own (see the module).
#[must_use]
pub fn suspicious(bulk: &Bulk, index: &Index, row: &VmRow) -> bool {
    let id = &row.vm.id;
    let failed = |state: &str| state.eq_ignore_ascii_case("Failed");
    let of_item = |item: &ProtectedItem| {
        let last = || newest_finished_backup(&jobs_of(bulk, index, id, item)).is_some_and(|job| !went_well(job));
        in_error(item) || last()
    };
    bulk.selection.thorough
        || failed(&row.vm.provisioning_state)
        || index.extensions(bulk, id).any(|one| failed(&one.provisioning_state))
        || index.items(bulk, id).any(of_item)
        || index.collections(bulk, id).count() > 1
        || index.collections(bulk, id).any(|one| !index.locks_over(bulk, &one.id).is_empty())
}

/// Collections named as Backup names them whose VM is not among all VMs of its subscription and which no item names; none
/// where a list that could speak against it is not complete. With a tag or a vault nothing is said of VMs that are gone.
#[must_use]
pub fn without_vm<'a>(bulk: &'a Bulk, index: &'a Index) -> Vec<(&'a Collection, ResourceId)> {
    let selection = &bulk.selection;
    if !selection.tags.is_empty() || selection.vault.is_some() {
        return Vec::new();
    }
    let blind = bulk.gaps.iter().any(|gap| matches!(gap.kind, Kind::Vaults | Kind::Items));
    if blind {
        return Vec::new();
    }
    let of_group = |vm: &ResourceId| {
        let group = selection.group.as_deref();
        group.is_none_or(|group| vm.resource_group().is_some_and(|own| own.eq_ignore_ascii_case(group)))
    };
    let here = |vm: &ResourceId| bulk.subscriptions.iter().any(|one| one.id.eq_ignore_ascii_case(vm.subscription()));
    let candidates = bulk.collections.iter().filter_map(|one| Some((one, one.source_id()?)));
    candidates
        .filter(|(one, vm)| {
            vm.is_type("Microsoft.Compute/virtualMachines")
                && names_vm(one.id.name(), vm.name())
                && here(vm)
                && of_group(vm)
                && !bulk.every_vm.contains(vm.key())
                && bulk.gap(Kind::Vms, vm).is_none()
                && index.items(bulk, vm).next().is_none()
        })
        .collect()
}

/// What to read.
#[derive(Default)]
struct Wanted {
    vms: Vec<ResourceId>,
    collections: BTreeMap<String, ResourceId>,
    items: BTreeMap<String, ResourceId>,
    vaults: BTreeSet<ResourceId>,
}

fn wanted(bulk: &Bulk, index: &Index) -> Wanted {
    let mut out = Wanted::default();
    for row in bulk.vms.iter().filter(|row| suspicious(bulk, index, row)) {
        let id = &row.vm.id;
        out.vms.push(id.clone());
        let mine: Vec<&Collection> = index.collections(bulk, id).collect();
        for item in index.items(bulk, id).filter(|item| in_error(item) || mine.len() > 1) {
            out.items.insert(item.id.key().to_owned(), item.id.clone());
            out.vaults.extend(item.vault_id().filter(|_| mine.len() > 1));
        }
        out.collections.extend(mine.into_iter().map(|one| (one.id.key().to_owned(), one.id.clone())));
    }
    // An item in error whose VM is gone: how old its last backup is matters most then.
    let here = |item: &&ProtectedItem| {
        let of = ResourceId::parse(&item.source).ok();
        of.is_some_and(|vm| bulk.subscriptions.iter().any(|one| one.id.eq_ignore_ascii_case(vm.subscription())))
    };
    if bulk.selection == super::Selection::default() {
        for item in bulk.items.iter().filter(|item| in_error(item)).filter(here) {
            if !bulk.every_vm.contains(&key_of(&item.source)) {
                out.items.insert(item.id.key().to_owned(), item.id.clone());
            }
        }
    }
    let gone = without_vm(bulk, index).into_iter().map(|(one, _)| (one.id.key().to_owned(), one.id.clone()));
    out.collections.extend(gone);
    out
}

/// Reads them, a bounded number at a time.
pub(super) async fn read(reader: &Reader<'_>, bulk: &Bulk, index: &Index) -> Deep {
    let wanted = wanted(bulk, index);
    let mut deep = Deep { vms: wanted.vms.len(), ..Deep::default() };
    let calls = wanted.vms.iter().map(|id| async move {
        let at = reader.now();
        (id, single(at, reader.arm.instance_view(id).await))
    });
    for (id, view) in reader.side_by_side(calls.collect()).await {
        deep.note(view.unread(), || format!("the instance view of the VM {}", id.name()));
        deep.instances.insert(id.key().to_owned(), view);
    }
    let calls = wanted.collections.values().map(|id| async move { (id, collection(reader, id).await) });
    for (id, read) in reader.side_by_side(calls.collect()).await {
        deep.note(read.unread(), || format!("the restore points of {}", id.name()));
        deep.collections.insert(id.key().to_owned(), read);
    }
    let calls = wanted.items.values().map(|id| async move {
        let vault = id.up_to("vaults").unwrap_or_else(|| id.clone());
        let call = reader.arm.recovery_points(id);
        (id, part(reader.list(&vault, &[action::RECOVERY_POINTS], "recovery points", call).await))
    });
    for (id, read) in reader.side_by_side(calls.collect()).await {
        deep.note(read.unread(), || format!("the recovery points of {}", id.name()));
        deep.recovery_points.insert(id.key().to_owned(), read);
    }
    let calls = wanted.vaults.iter().map(|id| async move {
        let at = reader.now();
        let (vault, guarded) = futures::join!(reader.arm.vault(id), reader.arm.resource_guarded(id));
        let guarded = match reader.may_list(id, &[action::GUARD]).await {
            Ok(()) => single(at, guarded),
            Err(why) => Part::Unread { why },
        };
        (id, single(at, vault), guarded)
    });
    for (id, vault, guarded) in reader.side_by_side(calls.collect()).await {
        deep.note(vault.unread().or(guarded.unread()), || format!("what protects the vault {}", id.name()));
        deep.vaults.insert(id.key().to_owned(), (vault, guarded));
    }
    deep
}

impl Deep {
    fn note(&mut self, unread: Option<&str>, what: impl FnOnce() -> String) {
        if let Some(why) = unread {
            self.not_read.push(NotRead { what: what(), why: why.to_owned() });
        }
    }
}

/// A collection with its points; one that is gone by now is absent.
async fn collection(reader: &Reader<'_>, id: &ResourceId) -> Part<SizedCollection> {
    let at = reader.now();
    match reader.arm.sized_collection(id).await {
        Ok(value) if value.collection.points.is_some() => Part::Known { at, value },
        Ok(_) => Part::Unread { why: format!("Azure left out the restore points of {}", id.short_name()) },
        Err(error) if is_missing(&error) => Part::Absent { at },
        Err(error) => Part::Unread { why: why(&error) },
    }
}
