//! The ARM collector: reads everything about one VM.
//!
//! Duty: [`collect`] makes [`VmFacts`], [`refresh`] reads some parts of it again. Resource Graph is for finding, this is
//! for knowing.
//! Invariants: it never fails; what could not be read, or not read completely, is [`Part::Unread`] with the reason and
//! nothing else is lost (S12). It sends reads only (`backupStatus` is a POST that reads). Every part carries the time at
//! which its first call left.
//! Must never: guess a name of Backup's, take the vault's subscription from the VM's, or take "not listed" for "not there".
//!
//! What is read in which order, because later reads need earlier answers:
//! 1. side by side: VM, instance view, extensions; the subscription's collections, groups, locks, deny assignments;
//! 2. points of the VM's collections; `backupStatus`; vaults (the one that `backupStatus` names, those of the VM's
//!    subscription in its region; every visible one when asked, when the VM is absent, or when `backupStatus` is unread);
//! 3. per protected item: vault, resource guard, policy, recovery points, jobs; then the candidate backup groups;
//! 4. key vaults, only of an encrypted VM; rights; for an absent VM what an orphan needs.

mod backup;
mod jobs;
mod orphan;
mod places;

pub(super) use jobs::may_be_of;
pub use jobs::{JOB_DAYS, newest_finished_backup};

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::facts::{ItemFacts, Part, Rights, VmFacts};
use super::keyvaults;
use super::read::{Blind, Read, Reader, action, one_line, part, single, why};
use crate::arm::Arm;
use crate::arm::ArmError;
use crate::arm::id::ResourceId;
use crate::arm::model::{Collection, DenyAssignment, Extension, InstanceView, Lock, Policy, Vm};

/// How much to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CollectOptions {
    /// For looking, not for changing: what only the proofs of the rules need is left unread (the points of other VMs'
    /// collections, what else a backup group holds, the rights there), and a plan made from it would be refused.
    pub glance: bool,
    /// Look into every vault of every visible subscription, and read the points of every collection of every candidate
    /// group.
    pub thorough: bool,
    /// How many calls may be out at once.
    pub concurrency: usize,
}

impl Default for CollectOptions {
    fn default() -> Self {
        Self { glance: false, thorough: false, concurrency: 8 }
    }
}

/// Which parts to read again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Refresh {
    /// VM, instance view, extensions; for an absent VM also what an orphan needs (its items with `backup`).
    pub vm: bool,
    /// The VM's collections with points.
    pub collections: bool,
    /// The candidate backup groups with what they hold (implies the VM's collections).
    pub groups: bool,
    /// Locks and deny assignments.
    pub locks: bool,
    /// `backupStatus`, items, policies, recovery points and jobs.
    pub backup: bool,
    /// Only the jobs of the known items: one list per vault, whose reads are rationed.
    pub jobs: bool,
    /// Rights at the scopes already known.
    pub rights: bool,
    /// A new reading of everything.
    pub everything: bool,
}

impl Refresh {
    /// Nothing.
    pub const NOTHING: Self = Self {
        vm: false,
        collections: false,
        groups: false,
        locks: false,
        backup: false,
        jobs: false,
        rights: false,
        everything: false,
    };
    /// VM, instance view, extensions.
    pub const VM: Self = Self { vm: true, ..Self::NOTHING };
    /// The VM's collections with points.
    pub const COLLECTIONS: Self = Self { collections: true, ..Self::NOTHING };
    /// The candidate backup groups with what they hold.
    pub const GROUPS: Self = Self { groups: true, ..Self::NOTHING };
    /// Locks and deny assignments.
    pub const LOCKS: Self = Self { locks: true, ..Self::NOTHING };
    /// `backupStatus`, items, policies, recovery points and jobs.
    pub const BACKUP: Self = Self { backup: true, ..Self::NOTHING };
    /// Only the jobs of the known items.
    pub const JOBS: Self = Self { jobs: true, ..Self::NOTHING };
    /// Rights at the scopes already known.
    pub const RIGHTS: Self = Self { rights: true, ..Self::NOTHING };
    /// A new reading of everything.
    pub const EVERYTHING: Self = Self { everything: true, ..Self::NOTHING };

    /// Both sets.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            vm: self.vm || other.vm,
            collections: self.collections || other.collections,
            groups: self.groups || other.groups,
            locks: self.locks || other.locks,
            backup: self.backup || other.backup,
            jobs: self.jobs || other.jobs,
            rights: self.rights || other.rights,
            everything: self.everything || other.everything,
        }
    }
}

/// Reads everything about the VM. It never fails: see the parts.
pub async fn collect(arm: &Arm, vm: &ResourceId, options: &CollectOptions) -> VmFacts {
    let reader = Reader::new(arm, options.concurrency);
    Box::pin(collect_with(&reader, vm, options)).await
}

/// Reads some parts again; the others stay as they are, with their times. [`VmFacts::at`] stays too unless everything is
/// read.
pub async fn refresh(arm: &Arm, facts: &VmFacts, what: Refresh) -> VmFacts {
    let options = CollectOptions { thorough: facts.orphan.is_some(), ..CollectOptions::default() };
    if what.everything {
        return collect(arm, &facts.id, &options).await;
    }
    let reader = Reader::new(arm, options.concurrency);
    Box::pin(refresh_with(&reader, facts, what, &options)).await
}

/// The first round of a reading.
struct Core {
    vm: Part<Vm>,
    instance: Part<InstanceView>,
    extensions: Part<Vec<Extension>>,
}

async fn collect_with(reader: &Reader<'_>, id: &ResourceId, options: &CollectOptions) -> VmFacts {
    let at = reader.now();
    let subscription = id.subscription_id();
    let (core, mine, groups, locks, deny) = futures::join!(
        read_core(reader, id, options.glance),
        places::collections_of(reader, id),
        places::list_groups(reader, &subscription),
        read_locks(reader, BTreeSet::from([subscription.clone()])),
        read_deny(reader, BTreeSet::from([subscription.clone()])),
    );
    let Core { vm, instance, extensions } = core;
    let locations = locations(&vm, mine.of_vm.known());
    let search = backup::Search {
        vm: id,
        locations: &locations,
        thorough: options.thorough || vm.is_absent(),
        gone: vm.is_absent(),
    };
    let (status, items) = backup::read(reader, &search).await;
    let policies = policies(&items);
    let wanted = places::Wanted {
        locations: &locations,
        policies: &policies,
        thorough: options.thorough,
        glance: options.glance,
    };
    let groups = places::read_groups(reader, &wanted, groups, &mine, &locks).await;
    let orphan = if vm.is_absent() { Some(orphan::read(reader, id, &items).await) } else { None };
    let (locks, deny) = read_vault_subscriptions(reader, &subscription, &items, locks, deny).await;

    let mut facts = VmFacts {
        id: id.clone(),
        at,
        vm,
        instance,
        extensions,
        status,
        items,
        collections: mine.of_vm,
        groups,
        locks: Part::not_asked(),
        deny,
        rights: Vec::new(),
        key_vaults: Part::not_asked(),
        orphan,
    };
    facts.key_vaults = keyvaults::read(reader, &facts).await;
    facts.locks = locks.of(&facts);
    facts.rights = read_rights(reader, &facts, options.glance).await;
    facts
}

async fn refresh_with(reader: &Reader<'_>, old: &VmFacts, what: Refresh, options: &CollectOptions) -> VmFacts {
    let mut facts = old.clone();
    if what.vm {
        let Core { vm, instance, extensions } = read_core(reader, &old.id, false).await;
        (facts.vm, facts.instance, facts.extensions) = (vm, instance, extensions);
    }
    let mut mine = None;
    if what.collections || what.groups {
        let fresh = places::collections_of(reader, &old.id).await;
        facts.collections = fresh.of_vm.clone();
        mine = Some(fresh);
    }
    let locations = locations(&facts.vm, facts.collections.known());
    if what.backup {
        let thorough = options.thorough || facts.vm.is_absent();
        let search = backup::Search { vm: &old.id, locations: &locations, thorough, gone: facts.vm.is_absent() };
        (facts.status, facts.items) = backup::read(reader, &search).await;
    } else if what.jobs {
        facts.items = jobs::refresh(reader, &old.id, facts.items).await;
    }
    if !facts.vm.is_absent() {
        facts.orphan = None;
    } else if what.vm || what.backup {
        facts.orphan = Some(orphan::read(reader, &old.id, &facts.items).await);
    }
    let mut locks = Locks { read: facts.locks.clone(), blind: Vec::new() };
    if what.locks {
        let subscriptions = lock_subscriptions(&old.id.subscription_id(), &facts.items);
        let (read, deny) = futures::join!(read_locks(reader, subscriptions.clone()), read_deny(reader, subscriptions));
        locks = read;
        facts.deny = deny;
    }
    if let (true, Some(mine)) = (what.groups, &mine) {
        let policies = policies(&facts.items);
        let groups = places::list_groups(reader, &old.id.subscription_id()).await;
        let wanted = places::Wanted {
            locations: &locations,
            policies: &policies,
            thorough: options.thorough,
            glance: options.glance,
        };
        facts.groups = places::read_groups(reader, &wanted, groups, mine, &locks).await;
    }
    if what.locks {
        facts.locks = locks.of(&facts);
    }
    if what.rights {
        facts.rights = read_rights(reader, &facts, false).await;
    }
    facts
}

async fn read_core(reader: &Reader<'_>, id: &ResourceId, glance: bool) -> Core {
    let at = reader.now();
    let extensions = reader.list(id, &[action::EXTENSIONS], "extensions", reader.arm.extensions(id));
    if glance {
        let (both, extensions) = futures::join!(reader.arm.vm_with_view(id), extensions);
        // Anything but both in one answer is asked again in the long way, which tells what is missing and why.
        if let Ok((vm, Some(view))) = both {
            let (vm, instance) = (Part::Known { at, value: vm }, Part::Known { at, value: view });
            return Core { vm, instance, extensions: part(extensions) };
        }
        let (vm, instance) = futures::join!(read_vm(reader, id), reader.arm.instance_view(id));
        return core_of(at, vm, instance, extensions);
    }
    let (vm, instance, extensions) = futures::join!(read_vm(reader, id), reader.arm.instance_view(id), extensions,);
    core_of(at, vm, instance, extensions)
}

fn core_of(
    asked: Timestamp,
    vm: Part<Vm>,
    instance: Result<InstanceView, ArmError>,
    extensions: Read<(Timestamp, Vec<Extension>)>,
) -> Core {
    if let Part::Absent { at } = vm {
        return Core { vm, instance: Part::Absent { at }, extensions: Part::Absent { at } };
    }
    Core { vm, instance: single(asked, instance), extensions: part(extensions) }
}

/// A VM is absent when its own 404 says so *and* its subscription answers: the same 404 can mean that the subscription is
/// not visible.
async fn read_vm(reader: &Reader<'_>, id: &ResourceId) -> Part<Vm> {
    let at = reader.now();
    let error = match reader.arm.vm(id).await {
        Ok(value) => return Part::Known { at, value },
        Err(error) => error,
    };
    if reader.arm.proves_absence(&error, id).await {
        return Part::Absent { at };
    }
    let silent = if error.says_absent(id) { ", and its subscription does not answer" } else { "" };
    Part::Unread { why: one_line(&format!("{}{silent}", why(&error))) }
}

/// The VM's region; for a VM that is not there the regions of its collections.
fn locations(vm: &Part<Vm>, collections: Option<&Vec<Collection>>) -> Vec<String> {
    if let Some(vm) = vm.known() {
        return vec![plain_location(&vm.location)];
    }
    let of_collections: BTreeSet<String> =
        collections.into_iter().flatten().map(|collection| plain_location(&collection.location)).collect();
    of_collections.into_iter().filter(|location| !location.is_empty()).collect()
}

/// A region's name as ARM normalises it: `West Europe` and `westeurope` are one.
pub(super) fn plain_location(location: &str) -> String {
    location.chars().filter(|c| !c.is_whitespace()).flat_map(char::to_lowercase).collect()
}

fn policies(items: &Part<Vec<ItemFacts>>) -> Vec<Policy> {
    items.known().into_iter().flatten().filter_map(|facts| facts.policy.known().cloned()).collect()
}

fn lock_subscriptions(subscription: &ResourceId, items: &Part<Vec<ItemFacts>>) -> BTreeSet<ResourceId> {
    let of_vaults = items.known().into_iter().flatten().map(|facts| facts.item.id.subscription_id());
    std::iter::once(subscription.clone()).chain(of_vaults).collect()
}

/// Adds locks and deny assignments of the vaults' subscriptions where those are not the VM's.
async fn read_vault_subscriptions(
    reader: &Reader<'_>,
    subscription: &ResourceId,
    items: &Part<Vec<ItemFacts>>,
    locks: Locks,
    deny: Part<Vec<DenyAssignment>>,
) -> (Locks, Part<Vec<DenyAssignment>>) {
    let mut others = lock_subscriptions(subscription, items);
    others.remove(subscription);
    if others.is_empty() {
        return (locks, deny);
    }
    let (more_locks, more_deny) = futures::join!(read_locks(reader, others.clone()), read_deny(reader, others));
    (locks.and(more_locks), joined(deny, more_deny))
}

/// The locks of some subscriptions, and the scopes of which one could not be understood.
pub(super) struct Locks {
    read: Part<Vec<Lock>>,
    blind: Vec<Blind>,
}

impl Locks {
    fn and(mut self, other: Self) -> Self {
        self.blind.extend(other.blind);
        Self { read: joined(self.read, other.read), blind: self.blind }
    }

    /// Whether a lock stands on the group or on something in it, as far as is known.
    pub(super) fn may_hold(&self, group: &ResourceId) -> bool {
        self.read.known().is_none_or(|locks| locks.iter().any(|lock| group.covers(&lock.scope())))
            || self.blind.iter().any(|blind| blind.scope.covers(group) || group.covers(&blind.scope))
    }

    /// The locks as they concern this VM: unread when one that could not be understood is about something of its own.
    fn of(self, facts: &VmFacts) -> Part<Vec<Lock>> {
        match self.blind.into_iter().find(|blind| concerns(facts, &blind.scope)) {
            Some(blind) if self.read.known().is_some() => Part::Unread { why: blind.why },
            _ => self.read,
        }
    }
}

/// Whether a lock on `scope` could matter for the VM: it is at, above or below the VM, its group, its collections, the
/// backup groups or the vaults. Where one of these was not read, every lock could.
fn concerns(facts: &VmFacts, scope: &ResourceId) -> bool {
    let (Some(collections), Some(groups), Some(items)) =
        (facts.collections.known(), facts.groups.known(), facts.items.known())
    else {
        return true;
    };
    let vaults = items.iter().filter_map(|item| item.item.vault_id());
    let key_vaults = facts.key_vaults.known().into_iter().flatten().map(|vault| vault.id.clone());
    let own = std::iter::once(facts.id.clone())
        .chain(collections.iter().map(|one| one.id.clone()))
        .chain(groups.iter().map(|group| group.group.id.clone()))
        .chain(vaults)
        .chain(key_vaults);
    own.flat_map(|id| [id.group_id(), Some(id)]).flatten().any(|id| id.covers(scope) || scope.covers(&id))
}

/// Two parts of one list: known only when both are.
fn joined<T>(one: Part<Vec<T>>, other: Part<Vec<T>>) -> Part<Vec<T>> {
    match (one, other) {
        (Part::Known { at, mut value }, Part::Known { at: later, value: more }) => {
            value.extend(more);
            Part::Known { at: at.min(later), value }
        }
        (Part::Unread { why }, _) | (_, Part::Unread { why }) => Part::Unread { why },
        (Part::Absent { at }, _) | (_, Part::Absent { at }) => Part::Absent { at },
    }
}

async fn read_locks(reader: &Reader<'_>, subscriptions: BTreeSet<ResourceId>) -> Locks {
    let mut all = Locks { read: Part::Known { at: Timestamp::MAX, value: Vec::new() }, blind: Vec::new() };
    for scope in &subscriptions {
        let read = reader.list_by_scope(scope, &[action::LOCKS], "locks", reader.arm.locks(scope)).await;
        all = all.and(match read {
            Ok((at, value, blind)) => Locks { read: Part::Known { at, value }, blind },
            Err(why) => Locks { read: Part::Unread { why }, blind: Vec::new() },
        });
    }
    all
}

async fn read_deny(reader: &Reader<'_>, subscriptions: BTreeSet<ResourceId>) -> Part<Vec<DenyAssignment>> {
    let mut all = Part::Known { at: Timestamp::MAX, value: Vec::new() };
    for scope in &subscriptions {
        all = joined(all, part(reader.deny_assignments(scope).await));
    }
    all
}

/// Rights wherever something may be changed: the subscription, the VM, the candidate groups, the vaults.
async fn read_rights(reader: &Reader<'_>, facts: &VmFacts, glance: bool) -> Vec<Rights> {
    let mut scopes = vec![facts.id.subscription_id()];
    if !facts.vm.is_absent() {
        scopes.push(facts.id.clone());
    }
    if !glance {
        scopes.extend(facts.groups.known().into_iter().flatten().map(|group| group.group.id.clone()));
    }
    scopes.extend(facts.items.known().into_iter().flatten().filter_map(|item| item.item.vault_id()));
    scopes.extend(facts.key_vaults.known().into_iter().flatten().map(|vault| vault.id.clone()));
    let mut seen = BTreeSet::new();
    scopes.retain(|scope| seen.insert(scope.clone()));
    let calls = scopes.into_iter().map(|scope| async {
        let permissions = part(reader.permissions(&scope).await);
        Rights { scope, permissions }
    });
    reader.side_by_side(calls.collect()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_send<T: Send>(_: T) {}

    /// Readings are spawned by the engine: compile-time check.
    #[expect(dead_code, reason = "it is enough that it compiles")]
    fn readings_can_move_between_threads(arm: &Arm, id: &ResourceId, facts: &VmFacts) {
        is_send(collect(arm, id, &CollectOptions::default()));
        is_send(refresh(arm, facts, Refresh::EVERYTHING));
    }

    #[test]
    fn regions_compare_without_spaces_and_case() {
        assert_eq!(plain_location("West Europe"), "westeurope");
    }

    #[test]
    fn a_list_of_two_places_is_known_only_when_both_are() {
        let known = |at: i64| Part::Known { at: Timestamp::from_second(at).unwrap(), value: vec![at] };
        let unread = || Part::<Vec<i64>>::Unread { why: "403".into() };
        let both = Part::Known { at: Timestamp::from_second(1).unwrap(), value: vec![2, 1] };
        assert_eq!(joined(known(2), known(1)), both);
        assert_eq!(joined(known(2), unread()), unread());
        assert_eq!(joined(unread(), known(2)), unread());
    }
}
