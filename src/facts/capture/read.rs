//! The reading.

use crate::facts::unread::Unread;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use jiff::Timestamp;

use super::{Captured, CapturedItem, CapturedVault, CapturedVm, single_reads};
use crate::arm::Arm;
use crate::arm::id::ResourceId;
use crate::arm::model::{Collection, Group, Job, SizedCollection, Subscription, Vault, Vm};
use crate::facts::bulk::{self, Bulk, Collector, Deep, GraphFailed, Index, Selection};
use crate::facts::collect::plain_location;
use crate::facts::graph::VmRow;
use crate::facts::groups::{default_group_name, matches_pattern};
use crate::facts::inventory::Visible;
use crate::facts::read::{Reader, action};
use crate::facts::vm_facts::Part;

/// Calls that are out at once.
const CONCURRENCY: usize = 8;

/// What is captured.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Which VMs, as an audit chooses them; `thorough` has no meaning here.
    pub selection: Selection,
    /// These VMs alone.
    pub vms: Vec<ResourceId>,
    /// How the lists are collected.
    pub collector: Option<Collector>,
}

impl Wanted {
    fn whole(&self) -> bool {
        let selection = &self.selection;
        self.vms.is_empty() && selection.group.is_none() && selection.tags.is_empty() && selection.vault.is_none()
    }
}

/// Reads the scope. The [`Bulk`] says whether what was named is there.
///
/// # Errors
/// [`GraphFailed`] when Resource Graph was wanted by name and refuses.
pub async fn read(arm: &Arm, visible: &Visible, wanted: &Wanted) -> Result<(Captured, Bulk), GraphFailed> {
    // Named VMs are few among many: only they are worth reads of their own.
    let selection = Selection { thorough: wanted.vms.is_empty(), ..wanted.selection.clone() };
    let (bulk, deep) = bulk::read(arm, visible, &selection, wanted.collector).await?;
    let reader = Reader::new(arm, CONCURRENCY);
    let index = Index::of(&bulk);
    let scope = Scope::of(&bulk, &index, wanted);
    let mut out = begin(visible, &bulk, &deep);
    for (what, why) in scope.missing.iter().map(|id| (format!("the VM {}", id.short_name()), "it is not listed")) {
        out.not_read.push(Unread { what, why: why.to_owned() });
    }
    out.collections = collections(&reader, &bulk, &deep, &scope, &mut out).await;
    out.vms = vms(&reader, &bulk, &index, &deep, &scope, &mut out).await;
    out.items = items(&reader, &bulk, &index, &deep, &scope, &mut out).await;
    out.vaults = vaults(&reader, &bulk, &scope, &out.items.clone(), &mut out).await;
    let of_vault = |id: &ResourceId| out.vaults.iter().any(|one| one.vault.id.covers(id));
    out.policies = bulk.policies.iter().filter(|policy| of_vault(&policy.id)).cloned().collect();
    places(&mut out, visible, &bulk, &scope);
    single_reads::others(&reader, &bulk, &mut out).await;
    single_reads::rights(&reader, &bulk, &mut out).await;
    out.not_read.sort_by(|a, b| (&a.what, &a.why).cmp(&(&b.what, &b.why)));
    out.not_read.dedup();
    out.left_out.sort();
    out.left_out.dedup();
    Ok((out, bulk))
}

fn begin(visible: &Visible, bulk: &Bulk, deep: &Deep) -> Captured {
    let tenant = visible.chosen.iter().map(|one| one.tenant.clone()).find(|tenant| !tenant.is_empty());
    let mut not_read = bulk.not_read();
    // What is read again below says itself why not.
    not_read.extend(deep.not_read.iter().filter(|line| line.what.starts_with("the instance view")).cloned());
    Captured {
        now: Timestamp::from_second(bulk.at.as_second()).unwrap_or(bulk.at),
        tenant: tenant.unwrap_or_default(),
        subscriptions: Vec::new(),
        groups: Vec::new(),
        others: Vec::new(),
        vms: Vec::new(),
        vaults: Vec::new(),
        policies: Vec::new(),
        items: Vec::new(),
        collections: Vec::new(),
        locks: Vec::new(),
        key_vaults: Vec::new(),
        permissions: Vec::new(),
        denies: Vec::new(),
        not_read,
        left_out: Vec::new(),
        anonymized: false,
    }
}

/// What belongs to the capture.
struct Scope {
    whole: bool,
    /// The VMs that are captured entirely.
    chosen: BTreeSet<ResourceId>,
    /// VMs that are there and whose collections stand beside those of a chosen one: only their names are captured.
    beside: BTreeMap<ResourceId, String>,
    /// The groups in which collections are captured.
    backup_groups: HashSet<String>,
    /// Named VMs that no list has.
    missing: Vec<ResourceId>,
}

impl Scope {
    fn of(bulk: &Bulk, index: &Index, wanted: &Wanted) -> Self {
        let named = |id: &ResourceId| wanted.vms.is_empty() || wanted.vms.contains(id);
        let rows = || bulk.vms.iter().filter(|row| named(&row.vm.id));
        let chosen: BTreeSet<ResourceId> = rows().map(|row| row.vm.id.clone()).collect();
        let mut out = Self {
            whole: wanted.whole(),
            missing: wanted.vms.iter().filter(|id| !chosen.contains(id)).cloned().collect(),
            chosen,
            beside: BTreeMap::new(),
            backup_groups: HashSet::new(),
        };
        // A named VM that is gone may have left points and items behind.
        let asked: BTreeSet<&ResourceId> = out.chosen.iter().chain(&out.missing).collect();
        let homes = asked.iter().flat_map(|vm| index.collections(bulk, vm)).filter_map(|one| one.id.group_id());
        // Azure Backup keeps points in the VM's own subscription and region.
        let place = |id: &ResourceId, location: &str| (id.subscription().to_lowercase(), plain_location(location));
        let places: BTreeSet<(String, String)> = rows().map(|row| place(&row.vm.id, &row.vm.location)).collect();
        let near = bulk.groups.iter().filter(|group| {
            let here = |location: &str| places.contains(&place(&group.id, location));
            let name = group.id.name();
            let pattern =
                || bulk.policies.iter().any(|one| matches_pattern(name, &one.group_prefix, &one.group_suffix));
            match default_group_name(name) {
                Some(default) => here(&default.geo) || here(&group.location),
                None => here(&group.location) && pattern(),
            }
        });
        out.backup_groups = homes.chain(near.map(|group| group.id.clone())).map(|id| id.key().to_owned()).collect();
        if !out.whole {
            let held: Vec<&Collection> = bulk.collections.iter().filter(|one| out.holds(one)).collect();
            for one in held {
                let Some(vm) = one.source_id().filter(|vm| vm.is_type("Microsoft.Compute/virtualMachines")) else {
                    continue;
                };
                if bulk.every_vm.contains(vm.key()) && !out.chosen.contains(&vm) {
                    out.beside.insert(vm, one.location.clone());
                }
            }
        }
        out
    }

    fn holds(&self, collection: &Collection) -> bool {
        self.whole || collection.id.group_id().is_some_and(|group| self.backup_groups.contains(group.key()))
    }

    fn has_vm(&self, vm: &ResourceId) -> bool {
        self.whole || self.chosen.contains(vm) || self.beside.contains_key(vm) || self.missing.contains(vm)
    }
}

async fn collections(
    reader: &Reader<'_>,
    bulk: &Bulk,
    deep: &Deep,
    scope: &Scope,
    out: &mut Captured,
) -> Vec<SizedCollection> {
    let listed: Vec<&Collection> = bulk.collections.iter().filter(|one| scope.holds(one)).collect();
    let calls = listed.into_iter().map(|one| async move {
        if let Some(read) = deep.collection(&one.id) {
            return (one, Part::Known { at: bulk.at, value: read.clone() });
        }
        (one, single_reads::collection(reader, &one.id).await)
    });
    let mut found = Vec::new();
    for (listed, read) in reader.side_by_side(calls.collect()).await {
        match read {
            Part::Known { value, .. } => found.push(value),
            Part::Absent { .. } => {}
            Part::Unread { why } => {
                out.not_read.push(Unread { what: format!("the restore points of {}", listed.id.name()), why });
                found.push(SizedCollection { collection: listed.clone(), disk_gb: None });
            }
        }
    }
    found
}

async fn vms(
    reader: &Reader<'_>,
    bulk: &Bulk,
    index: &Index,
    deep: &Deep,
    scope: &Scope,
    out: &mut Captured,
) -> Vec<CapturedVm> {
    let rows = bulk.vms.iter().filter(|row| scope.chosen.contains(&row.vm.id));
    let calls = rows.map(|row| single_reads::vm(reader, bulk, index, deep, row));
    let mut found = Vec::new();
    for (vm, key_vaults, mut not_read) in reader.side_by_side(calls.collect()).await {
        out.not_read.append(&mut not_read);
        let vaults: BTreeSet<&ResourceId> = key_vaults.iter().map(|vault| &vault.id).collect();
        if vaults.len() > 1 {
            let name = vm.row.vm.id.name();
            out.leave_out(
                "which of its disks a VM encrypts with another key vault: an estate has one for each VM",
                name,
            );
        }
        found.push(vm);
        for vault in key_vaults {
            if !out.key_vaults.iter().any(|known| known.id == vault.id) {
                out.key_vaults.push(vault);
            }
        }
    }
    found.extend(scope.beside.iter().map(|(id, location)| stub(id, location)));
    found.sort_by(|a, b| a.row.vm.id.cmp(&b.row.vm.id));
    found
}

/// A VM of which only the name was read.
fn stub(id: &ResourceId, location: &str) -> CapturedVm {
    let vm = Vm {
        id: id.clone(),
        location: location.to_owned(),
        vm_id: String::new(),
        provisioning_state: "Succeeded".to_owned(),
        os_type: String::new(),
        managed_disks: true,
        size: String::new(),
        disks: Vec::new(),
        interfaces: Vec::new(),
        encryption: Vec::new(),
    };
    CapturedVm {
        row: VmRow { vm, power: String::new(), tags: BTreeMap::new() },
        whole: false,
        instance: None,
        extensions: Vec::new(),
        disks: Vec::new(),
        encryption: None,
    }
}

async fn items(
    reader: &Reader<'_>,
    bulk: &Bulk,
    index: &Index,
    deep: &Deep,
    scope: &Scope,
    out: &mut Captured,
) -> Vec<CapturedItem> {
    let mut taken: HashSet<String> = HashSet::new();
    let mut found = Vec::new();
    for item in &bulk.items {
        let vm = ResourceId::parse(&item.source).ok();
        let Some(vm) = vm.filter(|vm| vm.is_type("Microsoft.Compute/virtualMachines")) else {
            out.leave_out("an item that names no virtual machine of Resource Manager", item.id.name());
            continue;
        };
        if !scope.has_vm(&vm) {
            continue;
        }
        let mut jobs = bulk::single_reads::jobs_of(bulk, index, &vm, item);
        // A job without a container may be of several VMs of one name: it is given to the first.
        jobs.retain(|job| taken.insert(job.id.key().to_owned()));
        found.push(CapturedItem { item: item.clone(), vm, points: Vec::new(), jobs });
    }
    let whole = |item: &CapturedItem| !scope.beside.contains_key(&item.vm);
    let calls = found.iter().enumerate().filter(|(_, item)| whole(item)).map(|(at, item)| async move {
        if let Some(points) = deep.recovery_points(&item.item.id) {
            return (at, Ok(points.clone()));
        }
        (at, single_reads::recovery_points(reader, &item.item).await)
    });
    let read = reader.side_by_side(calls.collect()).await;
    for (at, points) in read {
        match points {
            Ok(points) => found[at].points = points,
            Err(why) => {
                out.not_read.push(Unread { what: format!("the recovery points of {}", found[at].item.id.name()), why });
            }
        }
    }
    single_reads::job_details(reader, &mut found, |item| !scope.beside.contains_key(item), out).await;
    if scope.whole {
        let lost = bulk.jobs.iter().filter(|job: &&Job| !taken.contains(job.id.key())).count();
        if lost > 0 {
            out.leave_out(&format!("{lost} jobs of machines that no item names"), "");
        }
    }
    for item in &mut found {
        item.points.sort_by(|a, b| (a.time, a.id.key()).cmp(&(b.time, b.id.key())));
        item.jobs.sort_by(|a, b| (a.start, a.id.key()).cmp(&(b.start, b.id.key())));
    }
    found
}

async fn vaults(
    reader: &Reader<'_>,
    bulk: &Bulk,
    scope: &Scope,
    items: &[CapturedItem],
    out: &mut Captured,
) -> Vec<CapturedVault> {
    let of_item = |vault: &Vault| items.iter().any(|item| vault.id.covers(&item.item.id));
    let wanted = bulk.vaults.iter().filter(|vault| scope.whole || of_item(vault));
    let calls = wanted.map(|listed| async move {
        let (vault, guarded) = futures::join!(reader.arm.vault(&listed.id), reader.arm.resource_guarded(&listed.id));
        let guarded = match reader.may_list(&listed.id, &[action::GUARD]).await {
            Ok(()) => guarded.map_err(|error| crate::facts::read::why(&error)),
            Err(why) => Err(why),
        };
        (listed, vault.map_err(|error| crate::facts::read::why(&error)), guarded)
    });
    let mut found = Vec::new();
    for (listed, vault, guarded) in reader.side_by_side(calls.collect()).await {
        if let Some(why) = vault.as_ref().err().or(guarded.as_ref().err()) {
            out.not_read
                .push(Unread { what: format!("what protects the vault {}", listed.id.name()), why: why.clone() });
        }
        let vault = vault.unwrap_or_else(|_| listed.clone());
        let by_user = vault.multi_user_authorization.eq_ignore_ascii_case("Enabled");
        found.push(CapturedVault { guarded: guarded.unwrap_or(by_user) || by_user, vault });
    }
    found
}

/// Subscriptions, groups and locks around what was read.
fn places(out: &mut Captured, visible: &Visible, bulk: &Bulk, scope: &Scope) {
    let mut needed: BTreeMap<ResourceId, String> = BTreeMap::new();
    let mut need = |id: &ResourceId, location: &str| {
        if let Some(group) = id.group_id() {
            needed.entry(group).or_insert_with(|| location.to_owned());
        }
    };
    out.vms.iter().for_each(|vm| need(&vm.row.vm.id, &vm.row.vm.location));
    out.vaults.iter().for_each(|one| need(&one.vault.id, &one.vault.location));
    out.collections.iter().for_each(|one| need(&one.collection.id, &one.collection.location));
    out.key_vaults.iter().for_each(|one| need(&one.id, one.vault.known().map_or("", |vault| vault.location.as_str())));
    let known: HashMap<&str, &Group> = bulk.groups.iter().map(|group| (group.id.key(), group)).collect();
    let taken =
        |group: &&Group| scope.whole || needed.contains_key(&group.id) || scope.backup_groups.contains(group.id.key());
    out.groups = bulk.groups.iter().filter(taken).cloned().collect();
    for (id, location) in &needed {
        if !known.contains_key(id.key()) {
            // Not listed: of another subscription, or hidden. Its name is all that is needed.
            let location = if location.is_empty() { "westeurope".to_owned() } else { location.clone() };
            out.groups.push(Group { id: id.clone(), location, managed_by: String::new() });
        }
    }
    out.groups.sort_by(|a, b| a.id.cmp(&b.id));
    let mut ids: BTreeSet<String> = out.groups.iter().map(|group| group.id.subscription().to_lowercase()).collect();
    // A VM that is gone, and left nothing behind, is gone from a subscription that is there.
    let left = scope.missing.iter().map(|vm| vm.subscription().to_lowercase());
    ids.extend(left.filter(|id| visible.all.iter().any(|one| one.id.eq_ignore_ascii_case(id))));
    // A part of the scope tells nothing of other subscriptions. Where nothing was found, they are what was looked into.
    if scope.whole || ids.is_empty() {
        ids.extend(bulk.subscriptions.iter().map(|one| one.id.to_lowercase()));
    }
    let written = |id: &ResourceId| ids.contains(&id.subscription().to_lowercase());
    out.subscriptions = ids
        .iter()
        .map(|id| {
            let known = visible.all.iter().chain(&visible.chosen).find(|one| one.id.eq_ignore_ascii_case(id));
            known.cloned().unwrap_or_else(|| Subscription {
                name: id.clone(),
                id: id.clone(),
                state: "Enabled".to_owned(),
                tenant: String::new(),
            })
        })
        .collect();
    let keys: HashSet<&str> = out.groups.iter().map(|group| group.id.key()).collect();
    let here = |id: &ResourceId| id.group_id().map_or_else(|| written(id), |group| keys.contains(group.key()));
    out.locks = bulk.locks.iter().filter(|lock| scope.whole || here(&lock.scope())).cloned().collect();
}
