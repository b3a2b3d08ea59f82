//! Rows of a [`Bulk`] by what they belong to, so that a VM costs no walk over all rows.
//!
//! A key is kept as a hash of 64 bits beside a position: 12 bytes of a row instead of its id. What stands at a position is
//! asked again whether it is what was looked for.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{Hash as _, Hasher as _};

use super::single_reads::in_error;
use super::{Bulk, Gap, Kind};
use crate::arm::id::ResourceId;
use crate::arm::model::{Collection, Extension, Group, Job, Lock, Policy, ProtectedItem};
use crate::facts::collect::plain_location;
use crate::facts::groups::names_vm;
use crate::facts::items::{Naming, called_after, is_namesake, naming};

/// Positions in the lists of one [`Bulk`]; of no use with another.
#[derive(Debug, Default)]
pub struct Index {
    items: Rows,
    /// Items by the name of the machine that they are called after.
    items_called: Rows,
    collections: Rows,
    in_group: Rows,
    /// Collections whose names are not of Backup's form, by their group.
    foreign: Rows,
    extensions: Rows,
    locks: Rows,
    /// Locks by the resource group that they stand in, or by their subscription.
    locks_in: Rows,
    groups: Rows,
    /// Groups with a lock of their own, by subscription.
    locked_groups: Rows,
    policies: Rows,
    jobs: Rows,
    lacks: Lacks,
}

/// Where an item may be missing, by region: the position of the first gap that says so.
#[derive(Debug, Default)]
struct Lacks {
    everywhere: Option<usize>,
    /// For a VM whose region is not known.
    anywhere: Option<usize>,
    at: HashMap<String, usize>,
}

/// Positions by the hash of a key, in the order of the rows.
#[derive(Debug, Default)]
struct Rows(Vec<(u64, u32)>);

/// The key of an id in a text, also of one that azmend cannot parse.
pub(super) fn key_of(text: &str) -> String {
    ResourceId::parse(text).map_or_else(|_| text.trim_matches('/').to_lowercase(), |id| id.key().to_owned())
}

/// Whether a text has this key.
fn is_key(text: &str, key: &str) -> bool {
    text.eq_ignore_ascii_case(key) || key_of(text) == key
}

fn hash(key: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

impl Rows {
    fn of(keys: impl Iterator<Item = Option<u64>>) -> Self {
        let mut rows: Vec<(u64, u32)> = (0..).zip(keys).filter_map(|(at, key)| Some((key?, at))).collect();
        rows.sort_unstable();
        rows.shrink_to_fit();
        Self(rows)
    }

    fn at(&self, key: u64) -> impl Iterator<Item = usize> {
        let from = self.0.partition_point(|(known, _)| *known < key);
        self.0[from..].iter().take_while(move |(known, _)| *known == key).map(|(_, at)| *at as usize)
    }

    fn pick<'a, T>(&'a self, rows: &'a [T], key: u64) -> impl Iterator<Item = &'a T> {
        self.at(key).filter_map(|at| rows.get(at))
    }
}

/// The VM's name as a job has it, in lower case; empty when it has none.
fn name_of(job: &Job) -> String {
    let name = if job.vm_name.is_empty() { job.container.rsplit(';').next().unwrap_or_default() } else { &job.vm_name };
    name.to_lowercase()
}

fn of_vault(vault: &ResourceId, name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (vault.key(), name).hash(&mut hasher);
    hasher.finish()
}

/// The resource group that a scope is in, else its subscription.
fn home(scope: &ResourceId) -> ResourceId {
    scope.group_id().unwrap_or_else(|| scope.subscription_id())
}

impl Index {
    /// The index of these rows.
    #[must_use]
    pub fn of(bulk: &Bulk) -> Self {
        let key = |id: &ResourceId| Some(hash(id.key()));
        let locked: HashSet<ResourceId> = bulk.locks.iter().map(Lock::scope).collect();
        let in_locked = |group: &Group| locked.contains(&group.id).then(|| hash(group.id.subscription_id().key()));
        let foreign = |one: &Collection| {
            let ours = one.source_id().is_some_and(|vm| names_vm(one.id.name(), vm.name()));
            if ours { None } else { key(&one.id.group_id()?) }
        };
        let job = |job: &Job| Some(of_vault(&job.id.up_to("vaults")?, &name_of(job)));
        Self {
            items: Rows::of(bulk.items.iter().map(|item| Some(hash(&key_of(&item.source))))),
            items_called: Rows::of(bulk.items.iter().map(|item| Some(hash(&called_after(item))))),
            collections: Rows::of(bulk.collections.iter().map(|one| Some(hash(&key_of(&one.source))))),
            in_group: Rows::of(bulk.collections.iter().map(|one| key(&one.id.group_id()?))),
            foreign: Rows::of(bulk.collections.iter().map(foreign)),
            extensions: Rows::of(bulk.extensions.iter().map(|one| key(&one.id.up_to("virtualMachines")?))),
            locks: Rows::of(bulk.locks.iter().map(|lock| key(&lock.scope()))),
            locks_in: Rows::of(bulk.locks.iter().map(|lock| key(&home(&lock.scope())))),
            groups: Rows::of(bulk.groups.iter().map(|group| key(&group.id))),
            locked_groups: Rows::of(bulk.groups.iter().map(in_locked)),
            policies: Rows::of(bulk.policies.iter().map(|policy| key(&policy.id))),
            jobs: Rows::of(bulk.jobs.iter().map(job)),
            lacks: Lacks::of(bulk),
        }
    }

    /// The items of the VM: those whose source it is, and those without a source that are called after it.
    pub fn items<'a>(&'a self, bulk: &'a Bulk, vm: &'a ResourceId) -> impl Iterator<Item = &'a ProtectedItem> {
        let by_source = self.items.pick(&bulk.items, hash(vm.key())).filter(|item| is_key(&item.source, vm.key()));
        let called = self.called_after(bulk, vm).filter(|item| item.source.is_empty());
        by_source.chain(called.filter(|item| naming(item, vm) == Naming::Vm))
    }

    /// Whether no item can be of this VM, by source or by name: what a VM that is gone needs to be called an orphan.
    pub(super) fn no_item_knows(&self, bulk: &Bulk, vm: &ResourceId) -> bool {
        self.items(bulk, vm).next().is_none()
            && self.called_after(bulk, vm).all(|item| naming(item, vm) == Naming::Other)
    }

    /// Items of VMs of the same name that are not well or stopped: perhaps of this VM before it was moved.
    pub(super) fn namesakes<'a>(
        &'a self,
        bulk: &'a Bulk,
        vm: &'a ResourceId,
    ) -> impl Iterator<Item = &'a ProtectedItem> {
        self.called_after(bulk, vm).filter(|item| is_namesake(item, vm) && (in_error(item) || item.stopped()))
    }

    fn called_after<'a>(&'a self, bulk: &'a Bulk, vm: &ResourceId) -> impl Iterator<Item = &'a ProtectedItem> {
        self.items_called.pick(&bulk.items, hash(&vm.name().to_lowercase()))
    }

    /// The collections of the VM.
    pub fn collections<'a>(&'a self, bulk: &'a Bulk, vm: &'a ResourceId) -> impl Iterator<Item = &'a Collection> {
        self.collections.pick(&bulk.collections, hash(vm.key())).filter(|one| is_key(&one.source, vm.key()))
    }

    /// The collections in a group.
    pub fn in_group<'a>(&'a self, bulk: &'a Bulk, group: &'a ResourceId) -> impl Iterator<Item = &'a Collection> {
        self.in_group.pick(&bulk.collections, hash(group.key())).filter(|one| group.covers(&one.id))
    }

    /// A collection that says what a group holds by names: one that is not named as Backup names them, where there is one.
    pub(super) fn telling<'a>(&'a self, bulk: &'a Bulk, group: &'a ResourceId) -> Option<&'a Collection> {
        let mut foreign = self.foreign.pick(&bulk.collections, hash(group.key())).filter(|one| group.covers(&one.id));
        foreign.next().or_else(|| self.in_group(bulk, group).next())
    }

    /// The extensions of the VM.
    pub fn extensions<'a>(&'a self, bulk: &'a Bulk, vm: &'a ResourceId) -> impl Iterator<Item = &'a Extension> {
        self.extensions.pick(&bulk.extensions, hash(vm.key())).filter(|one| vm.covers(&one.id))
    }

    /// The locks at a scope itself.
    pub fn locks_at<'a>(&'a self, bulk: &'a Bulk, scope: &'a ResourceId) -> impl Iterator<Item = &'a Lock> {
        self.locks.pick(&bulk.locks, hash(scope.key())).filter(|lock| lock.scope() == *scope)
    }

    /// The locks that hold a resource: at its subscription, its group or itself.
    #[must_use]
    pub fn locks_over<'a>(&'a self, bulk: &'a Bulk, id: &ResourceId) -> Vec<&'a Lock> {
        if bulk.locks.is_empty() {
            return Vec::new();
        }
        let mut scopes = vec![id.subscription_id()];
        scopes.extend(id.group_id());
        if !scopes.contains(id) {
            scopes.push(id.clone());
        }
        let at = |scope: &ResourceId| {
            let found = self.locks.pick(&bulk.locks, hash(scope.key()));
            found.filter(|lock| lock.scope() == *scope).collect::<Vec<_>>()
        };
        scopes.iter().flat_map(at).collect()
    }

    /// The locks of the subscription and of these groups, and everything in them, in their order.
    pub(super) fn locks_near<'a>(
        &self,
        bulk: &'a Bulk,
        subscription: &ResourceId,
        groups: impl Iterator<Item = ResourceId>,
    ) -> impl Iterator<Item = &'a Lock> {
        let homes = groups.chain([subscription.clone()]);
        let places: BTreeSet<usize> =
            homes.flat_map(|home| self.locks_in.at(hash(home.key())).collect::<Vec<_>>()).collect();
        places.into_iter().filter_map(|at| bulk.locks.get(at))
    }

    /// These groups, and the groups of a subscription that have a lock of their own, in their order.
    pub(super) fn groups_near<'a>(
        &self,
        bulk: &'a Bulk,
        subscription: &ResourceId,
        groups: &BTreeSet<ResourceId>,
    ) -> impl Iterator<Item = &'a Group> {
        let mut places: BTreeSet<usize> = self.locked_groups.at(hash(subscription.key())).collect();
        places.extend(groups.iter().flat_map(|group| self.groups.at(hash(group.key()))));
        places.into_iter().filter_map(|at| bulk.groups.get(at))
    }

    /// The policy of this id.
    #[must_use]
    pub fn policy<'a>(&self, bulk: &'a Bulk, id: &str) -> Option<&'a Policy> {
        let key = key_of(id);
        self.policies.at(hash(&key)).filter_map(|at| bulk.policies.get(at)).filter(|one| one.id.key() == key).last()
    }

    /// Jobs of this vault that may be of a VM of this name.
    pub fn jobs<'a>(&'a self, bulk: &'a Bulk, vault: &'a ResourceId, name: &str) -> impl Iterator<Item = &'a Job> {
        let name = name.to_lowercase();
        let nameless = if name.is_empty() { None } else { Some(of_vault(vault, "")) };
        let named = self.jobs.pick(&bulk.jobs, of_vault(vault, &name)).filter(move |job| name_of(job) == name);
        let others = nameless.into_iter().flat_map(|key| self.jobs.pick(&bulk.jobs, key));
        named.chain(others.filter(|job| name_of(job).is_empty())).filter(|job| vault.covers(&job.id))
    }

    /// [`Bulk::may_lack_item`], without looking through the gaps.
    #[must_use]
    pub fn may_lack_item<'a>(&self, bulk: &'a Bulk, location: &str) -> Option<&'a str> {
        let lacks = &self.lacks;
        if lacks.everywhere.is_none() && lacks.anywhere.is_none() {
            return None;
        }
        let here = plain_location(location);
        let local = if here.is_empty() { lacks.anywhere } else { lacks.at.get(&here).copied() };
        let first = [lacks.everywhere, local].into_iter().flatten().min()?;
        bulk.gaps.get(first).map(|gap| gap.why.as_str())
    }
}

impl Lacks {
    fn of(bulk: &Bulk) -> Self {
        let mut out = Self::default();
        let regions: HashMap<&str, String> =
            bulk.vaults.iter().map(|vault| (vault.id.key(), plain_location(&vault.location))).collect();
        let region = |gap: &Gap| regions.get(gap.scope.as_ref()?.key());
        for (at, gap) in bulk.gaps.iter().enumerate().filter(|(_, gap)| matches!(gap.kind, Kind::Vaults | Kind::Items))
        {
            out.anywhere.get_or_insert(at);
            match region(gap).filter(|_| gap.kind == Kind::Items) {
                Some(region) => {
                    out.at.entry(region.clone()).or_insert(at);
                }
                None => {
                    out.everywhere.get_or_insert(at);
                }
            }
        }
        out
    }
}
