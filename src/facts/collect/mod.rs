//! The ARM collector: reads everything about one VM.
//!
//! Duty: [`collect`] makes [`VmFacts`], [`refresh`] reads some parts of it again. Resource Graph is for finding, this is
//! for knowing.
//! Invariants: it never fails; what could not be read, or not read completely, is [`Part::Unread`] with the reason and
//! nothing else is lost (S12). It sends reads only (`backupStatus` is a POST that reads). Every part carries the time at
//! which its first call left. A refresh reads what it was asked for and nothing else, but for what proves that a list is
//! complete.
//! Must never: guess a name of Backup's, take the vault's subscription from the VM's, or take "not listed" for "not there".
//!
//! What is read in which order, because later reads need earlier answers:
//! 1. side by side: the VM with its instance view (and extensions, where the same answer has them); the subscription's
//!    collections, then the points of the VM's; groups, locks, deny assignments;
//! 2. side by side: what the groups with the VM's collections hold; `backupStatus` and the vaults (the one that
//!    `backupStatus` names, those of the VM's subscription in its region; every visible one when asked, when the VM is
//!    absent, or when `backupStatus` is unread), then items, then per item vault, resource guard, policy, recovery points, jobs;
//! 3. groups that only have a name like Backup's; key vaults of an encrypted VM; rights; for an absent VM what an orphan needs.
//!
//! Why each call is made, and when it is not:
//!
//! | call | for |
//! |---|---|
//! | VM with instance view | S3 (`vmId`), region, power, agent, VMSnapshot |
//! | extensions | VMSnapshot on unmanaged disks, failed extensions; not when the VM's answer has them for certain |
//! | permissions at the subscription | S12: whether lists are complete; S6: whether a lock could be written back. At the VM, a group, a vault only when what is granted above is not enough |
//! | deny assignments | S6 (`s6.denied`), S12: they hide rows, and the permissions API does not tell |
//! | collections of the subscription, and each of the VM's | S7, S8: only a collection's own GET has points |
//! | groups | S5: names, and whether a managed application owns one |
//! | locks of the subscription | S5: at, above and below all scopes in one list |
//! | `backupStatus` | the vault may be in another subscription; orphans |
//! | vaults, items | S8: items in any state (stopped, soft-deleted) in any vault of the region |
//! | vault, resource guard | S8 (`s8.immutable`): lists have no security settings |
//! | policy | S8: expiry, `s8.job-due`; names of backup groups |
//! | recovery points | S8 (`s8.snapshot-only`, `s8.recovery-session`), S7 |
//! | jobs, two lists | the last error; S8, S10: running ones of any age, the last days |
//! | one job | the error in full, and tasks of running ones: lists have neither |
//! | resources of a group, and its other collections | S5: it holds nothing but Backup's; only of a group that has a lock |

mod backup;
mod former;
mod jobs;
mod orphan;
mod places;

pub(super) use jobs::may_be_of;
pub use jobs::{
    JOB_DAYS, WARNED, failed_before_cancelled, last_failure, last_failure_words, newest_finished_backup,
    warned_in_a_row,
};

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use super::keyvaults;
use super::read::{Blind, Reader, action, one_line, part, single, why};
use super::rights::enough_at;
use super::vm_facts::{FactPart, GroupFacts, ItemFacts, Part, Rights, VmFacts};
use crate::arm::id::ResourceId;
use crate::arm::model::{Collection, DenyAssignment, Extension, InstanceView, Lock, Policy, Vm};
use crate::arm::{Arm, ArmError, WholeVm};
use crate::clock::elapsed;

/// How much to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectOptions {
    /// For looking, not for changing: what only the proofs of the rules need is left unread (the points of other VMs'
    /// collections, what else a backup group holds, the rights there), and a plan made from it would be refused.
    pub glance: bool,
    /// Look into every vault of every visible subscription, and read the points of every collection of every candidate
    /// group.
    pub thorough: bool,
    /// How many calls may be out at once.
    pub concurrency: usize,
    /// Backup jobs that earlier runs of this machine started: each is read by its own GET, whatever lists say.
    pub own_jobs: Vec<ResourceId>,
}

impl Default for CollectOptions {
    fn default() -> Self {
        Self { glance: false, thorough: false, concurrency: 8, own_jobs: Vec::new() }
    }
}

/// Which parts to read again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Refresh {
    /// The VM and its instance view: one call. For an absent VM also what an orphan needs (its items with `backup`).
    pub vm: bool,
    /// The extension resources. With `vm` that is no call of its own when the VM's answer has them.
    pub extensions: bool,
    /// The VM's collections with points: the list, and one call for each collection of the VM.
    pub collections: bool,
    /// The points of the known collections of the VM alone: one call for each. A new collection is not found so, and the part
    /// stays as old as its list.
    pub points: bool,
    /// The candidate backup groups with what they hold (implies the VM's collections).
    pub groups: bool,
    /// Locks and deny assignments. (A list of locks is complete only when deny assignments say so.)
    pub locks: bool,
    /// Deny assignments alone.
    pub deny: bool,
    /// The whole search for the VM's backup: `backupStatus`, vaults, and all of the following.
    pub backup: bool,
    /// `backupStatus` alone.
    pub status: bool,
    /// The protected items that name the VM, in the vaults that the last search looked through: one list each. What belongs to
    /// a known item is read again only when asked for; of a new one everything is read.
    pub items: bool,
    /// The vaults of the known items (immutability) and their resource guards.
    pub vaults: bool,
    /// The policies of the known items.
    pub policies: bool,
    /// The recovery points of the known items.
    pub recovery_points: bool,
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
        extensions: false,
        collections: false,
        points: false,
        groups: false,
        locks: false,
        deny: false,
        backup: false,
        status: false,
        items: false,
        vaults: false,
        policies: false,
        recovery_points: false,
        jobs: false,
        rights: false,
        everything: false,
    };
    /// VM and instance view.
    pub const VM: Self = Self { vm: true, ..Self::NOTHING };
    /// The VM's collections with points.
    pub const COLLECTIONS: Self = Self { collections: true, ..Self::NOTHING };
    /// The points of the collections that are known.
    pub const POINTS: Self = Self { points: true, ..Self::NOTHING };
    /// The candidate backup groups with what they hold.
    pub const GROUPS: Self = Self { groups: true, ..Self::NOTHING };
    /// Locks and deny assignments.
    pub const LOCKS: Self = Self { locks: true, ..Self::NOTHING };
    /// `backupStatus`, items, policies, recovery points and jobs.
    pub const BACKUP: Self = Self { backup: true, ..Self::NOTHING };
    /// What the rules want to know of the known items before a deletion: the items, vaults, policies, recovery points, jobs.
    pub const ITEMS: Self =
        Self { items: true, vaults: true, policies: true, recovery_points: true, jobs: true, ..Self::NOTHING };
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
            extensions: self.extensions || other.extensions,
            collections: self.collections || other.collections,
            points: self.points || other.points,
            groups: self.groups || other.groups,
            locks: self.locks || other.locks,
            deny: self.deny || other.deny,
            backup: self.backup || other.backup,
            status: self.status || other.status,
            items: self.items || other.items,
            vaults: self.vaults || other.vaults,
            policies: self.policies || other.policies,
            recovery_points: self.recovery_points || other.recovery_points,
            jobs: self.jobs || other.jobs,
            rights: self.rights || other.rights,
            everything: self.everything || other.everything,
        }
    }

    /// Whether there is nothing to read.
    #[must_use]
    pub fn is_nothing(self) -> bool {
        self == Self::NOTHING
    }

    /// Of these parts, those that are `limit` old or older at `now`, or unread. `backup` becomes the parts of it that are
    /// too old; only when the items themselves are unread is it a new search. (That no other vault has an item is a fact of
    /// that search and as old as `facts.status`; ask for `status` to know it again.)
    #[must_use]
    pub fn older_than(self, facts: &VmFacts, limit: Duration, now: Timestamp) -> Self {
        let old = |part: FactPart| facts.age_of(part, now).is_none_or(|age| age >= limit);
        let of_backup = |wanted: bool, part: FactPart| (wanted || self.backup) && old(part);
        let unread = facts.items.read_at().is_none();
        Self {
            vm: self.vm && (old(FactPart::Vm) || facts.instance.unread().is_some()),
            extensions: self.extensions && old(FactPart::Extensions),
            collections: self.collections && old(FactPart::Collections),
            points: self.points && old(FactPart::Collections),
            groups: self.groups && old(FactPart::Groups),
            locks: self.locks && (old(FactPart::Locks) || old(FactPart::Deny)),
            deny: self.deny && old(FactPart::Deny),
            backup: self.backup && (unread || facts.vm.is_absent() && old(FactPart::Items)),
            status: of_backup(self.status, FactPart::Status),
            items: of_backup(self.items, FactPart::Items),
            vaults: of_backup(self.vaults, FactPart::Vaults),
            policies: of_backup(self.policies, FactPart::Policies),
            recovery_points: of_backup(self.recovery_points, FactPart::RecoveryPoints),
            jobs: of_backup(self.jobs, FactPart::Jobs),
            rights: self.rights && old(FactPart::Rights),
            everything: self.everything && elapsed(facts.at, now) >= limit,
        }
    }

    const fn of_items(self) -> backup::Again {
        backup::Again {
            items: self.items,
            vaults: self.vaults,
            policies: self.policies,
            recovery_points: self.recovery_points,
            jobs: self.jobs,
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
    let options = CollectOptions {
        thorough: facts.orphan.is_some(),
        own_jobs: facts.own_jobs.clone(),
        ..CollectOptions::default()
    };
    if what.everything {
        return collect(arm, &facts.id, &options).await;
    }
    let reader = Reader::new(arm, options.concurrency);
    Box::pin(refresh_with(&reader, facts, what, &options)).await
}

/// The VM itself.
struct Core {
    vm: Part<Vm>,
    instance: Part<InstanceView>,
    /// Only when the same answer has them.
    extensions: Option<Part<Vec<Extension>>>,
}

async fn collect_with(reader: &Reader<'_>, id: &ResourceId, options: &CollectOptions) -> VmFacts {
    let at = reader.now();
    let subscription = id.subscription_id();
    let ((core, extensions), mine, groups, locks, deny) = futures::join!(
        read_core_and_extensions(reader, id),
        places::collections_of(reader, id),
        places::list_groups(reader, &subscription),
        read_locks(reader, BTreeSet::from([subscription.clone()])),
        read_deny(reader, BTreeSet::from([subscription.clone()])),
    );
    let Core { vm, instance, .. } = core;
    let locations = locations(&vm, mine.of_vm.known());
    let thorough = options.thorough || vm.is_absent();
    let search =
        backup::Search { vm: id, locations: &locations, thorough, own_jobs: &options.own_jobs, gone: vm.is_absent() };
    let near =
        places::Wanted { locations: &locations, policies: &[], thorough: options.thorough, glance: options.glance };
    let (found, homes) =
        futures::join!(backup::read(reader, &search), places::read_homes(reader, &near, &groups, &mine, &locks));
    let backup::Found { status, vaults, items, namesakes } = found;
    let former = former::read(reader, namesakes, &mine).await;
    let policies = policies(&items);
    let wanted = places::Wanted { policies: &policies, ..near };
    let groups = places::read_groups(reader, &wanted, groups, &mine, &locks, homes).await;
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
        former,
        vaults,
        own_jobs: options.own_jobs.clone(),
    };
    facts.key_vaults = keyvaults::read(reader, &facts).await;
    facts.locks = locks.of(&facts);
    facts.rights = read_rights(reader, &facts, options.glance).await;
    facts
}

async fn refresh_with(reader: &Reader<'_>, old: &VmFacts, what: Refresh, options: &CollectOptions) -> VmFacts {
    let mut facts = old.clone();
    if what.vm && what.extensions {
        let (core, extensions) = read_core_and_extensions(reader, &old.id).await;
        (facts.vm, facts.instance, facts.extensions) = (core.vm, core.instance, extensions);
    } else if what.vm {
        let core = read_core(reader, &old.id).await;
        (facts.vm, facts.instance) = (core.vm, core.instance);
        if let Part::Absent { at } = facts.vm {
            facts.extensions = Part::Absent { at };
        }
    } else if what.extensions {
        facts.extensions = read_extensions(reader, &old.id).await;
    }
    let mut mine = None;
    if what.collections || what.groups {
        let fresh = places::collections_of(reader, &old.id).await;
        facts.collections = fresh.of_vm.clone();
        mine = Some(fresh);
    } else if what.points {
        facts.collections = places::points_again(reader, &facts).await;
    }
    let locations = locations(&facts.vm, facts.collections.known());
    refresh_backup(reader, &mut facts, what, &locations, options).await;
    let mut locks = Locks { read: facts.locks.clone(), blind: Vec::new() };
    if what.locks {
        let subscriptions = lock_subscriptions(&old.id.subscription_id(), &facts.items);
        let (read, deny) = futures::join!(read_locks(reader, subscriptions.clone()), read_deny(reader, subscriptions));
        locks = read;
        facts.deny = deny;
    } else if what.deny {
        facts.deny = read_deny(reader, lock_subscriptions(&old.id.subscription_id(), &facts.items)).await;
    }
    // A lock that came since the groups were read may need the proof of what else is in its group.
    let unproven = |one: &GroupFacts| one.others.is_not_asked() && locks.need_proof_of(&one.group.id);
    let proof = what.locks && facts.groups.known().is_some_and(|groups| groups.iter().any(unproven));
    if proof && mine.is_none() {
        let fresh = places::collections_of(reader, &old.id).await;
        facts.collections = fresh.of_vm.clone();
        mine = Some(fresh);
    }
    if let (true, Some(mine)) = (what.groups || proof, &mine) {
        let policies = policies(&facts.items);
        let groups = places::list_groups(reader, &old.id.subscription_id()).await;
        let wanted = places::Wanted {
            locations: &locations,
            policies: &policies,
            thorough: options.thorough,
            glance: options.glance,
        };
        let homes = places::read_homes(reader, &wanted, &groups, mine, &locks).await;
        facts.groups = places::read_groups(reader, &wanted, groups, mine, &locks, homes).await;
    }
    if what.locks {
        facts.locks = locks.of(&facts);
    }
    if what.rights {
        facts.rights = read_rights(reader, &facts, false).await;
    }
    facts
}

/// The parts of the VM's backup that are asked for; for an absent VM also what an orphan needs.
async fn refresh_backup(
    reader: &Reader<'_>,
    facts: &mut VmFacts,
    what: Refresh,
    locations: &[String],
    options: &CollectOptions,
) {
    let again = what.of_items();
    let some = again.items || again.vaults || again.policies || again.recovery_points || again.jobs;
    // Parts of items that are unread cannot be read without a new search, nor can items without the vaults to look into.
    let search = what.backup
        || some && facts.items.known().is_none()
        || again.items && facts.vaults.is_empty()
        || again.items && facts.vm.is_absent();
    if search {
        let thorough = options.thorough || facts.vm.is_absent();
        let id = facts.id.clone();
        let gone = facts.vm.is_absent();
        let search = backup::Search { vm: &id, locations, thorough, own_jobs: &options.own_jobs, gone };
        let found = backup::read(reader, &search).await;
        (facts.status, facts.vaults, facts.items) = (found.status, found.vaults, found.items);
        if facts.items.known().is_some_and(|items| !items.is_empty()) {
            facts.former.clear();
        }
    } else {
        if what.status {
            facts.status = backup::ask_status(reader, &facts.id, locations).await;
        }
        if some {
            facts.items = backup::again(reader, facts, again).await;
        }
    }
    if !facts.vm.is_absent() {
        facts.orphan = None;
    } else if what.vm || search {
        facts.orphan = Some(orphan::read(reader, &facts.id, &facts.items).await);
    }
}

async fn read_core_and_extensions(reader: &Reader<'_>, id: &ResourceId) -> (Core, Part<Vec<Extension>>) {
    let mut core = read_core(reader, id).await;
    let extensions = match core.extensions.take() {
        Some(extensions) => match reader.may_list(id, &[action::EXTENSIONS]).await {
            Ok(()) => extensions,
            Err(why) => Part::Unread { why },
        },
        None => match core.vm {
            Part::Absent { at } => Part::Absent { at },
            _ => read_extensions(reader, id).await,
        },
    };
    (core, extensions)
}

async fn read_extensions(reader: &Reader<'_>, id: &ResourceId) -> Part<Vec<Extension>> {
    part(reader.list(id, &[action::EXTENSIONS], "extensions", reader.arm.extensions(id)).await)
}

async fn read_core(reader: &Reader<'_>, id: &ResourceId) -> Core {
    let (at, whole) = reader.whole_vm(id).await;
    let error = match whole {
        Ok(WholeVm { vm, view: Some(view), extensions }) => {
            return Core {
                vm: Part::Known { at, value: vm },
                instance: Part::Known { at, value: view },
                extensions: extensions.map(|value| Part::Known { at, value }),
            };
        }
        Ok(WholeVm { view: None, .. }) => None,
        Err(error) => Some(error),
    };
    if let Some(error) = error.filter(|error| !may_be_the_view(error)) {
        let vm = absent_or_unread(reader, id, at, &error).await;
        let instance = match &vm {
            Part::Absent { at } => Part::Absent { at: *at },
            _ => Part::Unread { why: why(&error) },
        };
        return Core { vm, instance, extensions: None };
    }
    // The long way tells what is missing and why.
    let at = reader.now();
    let (vm, instance) = futures::join!(reader.arm.vm(id), reader.arm.instance_view(id));
    let vm = match vm {
        Ok(value) => Part::Known { at, value },
        Err(error) => absent_or_unread(reader, id, at, &error).await,
    };
    let instance = match &vm {
        Part::Absent { at } => Part::Absent { at: *at },
        _ => single(at, instance),
    };
    Core { vm, instance, extensions: None }
}

/// Whether the VM could be read without its view: not when it is missing or nothing answers. Whether `$expand` asks for the
/// view's own permission is not verified.
fn may_be_the_view(error: &ArmError) -> bool {
    error.class() != crate::arm::ErrorClass::NotFound && !error.is_unreachable()
}

/// A VM is absent when its own 404 says so *and* its subscription answers: the same 404 can mean that the subscription is
/// not visible.
async fn absent_or_unread(reader: &Reader<'_>, id: &ResourceId, at: Timestamp, error: &ArmError) -> Part<Vm> {
    if reader.arm.proves_absence(error, id).await {
        return Part::Absent { at };
    }
    let silent = if error.says_absent(id) { ", and its subscription does not answer" } else { "" };
    Part::Unread { why: one_line(&format!("{}{silent}", why(error))) }
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
pub fn plain_location(location: &str) -> String {
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

    /// Whether what the group holds decides on a lock: there is one on it, or one that could not be understood may be.
    pub(super) fn need_proof_of(&self, group: &ResourceId) -> bool {
        VmFacts::needs_proof(&self.read, group)
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

/// Rights wherever something may be changed: the subscription, the VM, the groups that hold its points or have a lock, the
/// vaults. What is granted at the subscription is granted there too; a scope is asked itself only when that is not enough.
async fn read_rights(reader: &Reader<'_>, facts: &VmFacts, glance: bool) -> Vec<Rights> {
    let subscription = facts.id.subscription_id();
    let mut scopes = vec![subscription.clone()];
    if !facts.vm.is_absent() {
        scopes.push(facts.id.clone());
    }
    // A glance tells which repair can be made: of its groups those with a lock matter.
    let homes: BTreeSet<ResourceId> = facts.collections().filter_map(|one| one.id.group_id()).collect();
    let matters = |id: &ResourceId| (!glance && homes.contains(id)) || VmFacts::needs_proof(&facts.locks, id);
    let groups = facts.groups.known().into_iter().flatten().map(|group| &group.group.id);
    scopes.extend(groups.filter(|id| matters(id)).cloned());
    scopes.extend(facts.items.known().into_iter().flatten().filter_map(|item| item.item.vault_id()));
    scopes.extend(facts.key_vaults.known().into_iter().flatten().map(|vault| vault.id.clone()));
    let mut seen = BTreeSet::new();
    scopes.retain(|scope| seen.insert(scope.clone()));
    let calls = scopes.into_iter().map(|scope| async {
        let permissions = part(reader.grants(&scope, |granted| enough_at(&scope, granted)).await);
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
