//! The facts of one VM out of a bulk reading: a glance, as `diagnose` takes one. Backup groups are told by names alone, and
//! whatever only the proofs of the rules need is not asked for; nothing can be changed on these facts.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::single_reads::{Deep, jobs_of, unseen_vault};
use super::{Bulk, Index, Kind};
use crate::arm::id::ResourceId;
use crate::arm::model::{Collection, Group, Lock, Policy, ProtectedItem};
use crate::facts::collect::plain_location;
use crate::facts::graph::VmRow;
use crate::facts::groups::{default_group_name, matches_pattern};
use crate::facts::vm_facts::{Former, GroupFacts, ItemFacts, Part, VmFacts};

fn known<T>(at: Timestamp, value: T) -> Part<T> {
    Part::Known { at, value }
}

fn unless<T>(gap: Option<&str>, at: Timestamp, value: T) -> Part<T> {
    match gap {
        Some(why) => Part::Unread { why: why.to_owned() },
        None => known(at, value),
    }
}

impl Bulk {
    /// The facts of a VM of this reading.
    #[must_use]
    pub fn facts(&self, index: &Index, deep: &Deep, row: &VmRow) -> VmFacts {
        let (id, at) = (&row.vm.id, self.at);
        let items = self.item_facts(index, deep, row);
        let collections = self.own_collections(index, deep, id);
        let listed: Vec<&Collection> = index.collections(self, id).collect();
        let policies: Vec<&Policy> =
            items.known().into_iter().flatten().filter_map(|facts| facts.policy.known()).collect();
        let groups = self.group_facts(index, row, &listed, &policies, &collections);
        let vaults: Vec<ResourceId> =
            items.known().into_iter().flatten().filter_map(|facts| facts.item.vault_id()).collect();
        let locks = self.locks_for(index, id, groups.known().map(Vec::as_slice).unwrap_or_default(), &vaults);
        let extensions = index.extensions(self, id).cloned().collect();
        let near = groups.known().into_iter().flatten().map(|facts| &facts.group.id);
        let held = near.chain(listed.iter().map(|one| &one.id));
        let lock_gap = self.gap(Kind::Locks, id).or_else(|| held.into_iter().find_map(|id| self.gap(Kind::Locks, id)));
        let lock_gap = lock_gap.map(str::to_owned);
        VmFacts {
            id: id.clone(),
            at,
            vm: known(at, row.vm.clone()),
            instance: deep.instances.get(id.key()).cloned().unwrap_or_else(Part::not_asked),
            extensions: unless(self.gap(Kind::Extensions, id), at, extensions),
            status: deep.statuses.get(id.key()).cloned().unwrap_or_else(Part::not_asked),
            items,
            collections,
            groups,
            locks: unless(lock_gap.as_deref(), at, locks),
            deny: Part::not_asked(),
            rights: Vec::new(),
            key_vaults: Part::not_asked(),
            orphan: None,
            former: self.former(index, deep, id),
            vaults: Vec::new(),
            own_jobs: Vec::new(),
        }
    }

    /// An item that protects the VM is enough, for there can be no second such one; without it every list must be whole.
    fn item_facts(&self, index: &Index, deep: &Deep, row: &VmRow) -> Part<Vec<ItemFacts>> {
        let id = &row.vm.id;
        // Nearly always one: `collect` would take room for four of these large things first.
        let mut items = Vec::with_capacity(1);
        items.extend(index.items(self, id).map(|item| self.item(index, deep, id, item)));
        let active = items.iter().any(|facts| !facts.item.soft_deleted && !facts.item.stopped());
        if let Some(why) = index.may_lack_item(self, &row.vm.location).filter(|_| !active) {
            return Part::Unread { why: why.to_owned() };
        }
        // No item is not yet unprotected: a vault that cannot be seen may have it.
        if let Some(status) = deep.statuses.get(id.key()).filter(|_| items.is_empty()) {
            if let Some(vault) = unseen_vault(status) {
                return Part::Unread { why: format!("{vault} protects it, and this identity does not see that vault") };
            }
            if let Some(why) = status.unread() {
                return Part::Unread { why: format!("backupStatus was not read: {why}") };
            }
        }
        known(self.at, items)
    }

    /// Items of VMs of the same name, of a VM that no item names; whether those VMs are gone is not known before the last VM.
    fn former(&self, index: &Index, deep: &Deep, vm: &ResourceId) -> Vec<Former> {
        if !deep.statuses.contains_key(vm.key()) {
            return Vec::new();
        }
        let former = index.namesakes(self, vm).filter_map(|item| {
            let old = ResourceId::parse(&item.source).ok()?;
            let collections = self.own_collections(index, deep, &old);
            Some(Former { item: item.clone(), vm: old, gone: Part::not_asked(), collections })
        });
        former.collect()
    }

    fn item(&self, index: &Index, deep: &Deep, vm: &ResourceId, item: &ProtectedItem) -> ItemFacts {
        let vault = item.vault_id();
        let read = vault.as_ref().and_then(|vault| deep.vaults.get(vault.key())).cloned();
        let (vault_facts, resource_guard) = read.unwrap_or_else(|| (Part::not_asked(), Part::not_asked()));
        let policy = match index.policy(self, &item.policy_id) {
            Some(policy) => known(self.at, policy.clone()),
            None if item.policy_id.is_empty() => Part::Absent { at: self.at },
            // The item names it, so it is there: it was not listed.
            None => Part::Unread { why: "its policy is not among the policies that were listed".to_owned() },
        };
        let gap = vault.as_ref().and_then(|vault| self.gap(Kind::Jobs, vault));
        ItemFacts {
            vault: vault_facts,
            resource_guard,
            policy,
            recovery_points: deep.recovery_points.get(item.id.key()).cloned().unwrap_or_else(Part::not_asked),
            jobs: unless(gap, self.at, jobs_of(self, index, vm, item)),
            began_together: 0,
            item: item.clone(),
        }
    }

    /// The VM's own collections with points. Without one there is nothing to read.
    fn own_collections(&self, index: &Index, deep: &Deep, id: &ResourceId) -> Part<Vec<Collection>> {
        if let Some(why) = self.gap(Kind::Collections, id) {
            return Part::Unread { why: why.to_owned() };
        }
        let mut found = Vec::new();
        for one in index.collections(self, id) {
            match deep.collections.get(one.id.key()) {
                None => return Part::not_asked(),
                Some(Part::Unread { why }) => return Part::Unread { why: why.clone() },
                Some(Part::Absent { .. }) => {}
                Some(Part::Known { value, .. }) => found.push(value.collection.clone()),
            }
        }
        known(self.at, found)
    }

    /// The groups with collections of the VM, and those of its region that Backup could have named so. What a group holds
    /// is told where a lock stands on it: elsewhere nothing is asked of it.
    fn group_facts(
        &self,
        index: &Index,
        row: &VmRow,
        listed: &[&Collection],
        policies: &[&Policy],
        full: &Part<Vec<Collection>>,
    ) -> Part<Vec<GroupFacts>> {
        let homes: BTreeSet<ResourceId> = listed.iter().filter_map(|one| one.id.group_id()).collect();
        if let Some(why) = self.gap(Kind::Groups, &row.vm.id) {
            return Part::Unread { why: why.to_owned() };
        }
        let here = plain_location(&row.vm.location);
        let fits = |group: &Group| match default_group_name(group.id.name()) {
            Some(default) => default.geo == here || plain_location(&group.location) == here,
            None => {
                let named = |p: &&Policy| matches_pattern(group.id.name(), &p.group_prefix, &p.group_suffix);
                plain_location(&group.location) == here && policies.iter().any(named)
            }
        };
        let subscription = row.vm.id.subscription_id();
        let near = |group: &Group| subscription.covers(&group.id);
        let locked = |group: &Group| index.locks_at(self, &group.id).next().is_some();
        let mine = full.known().map(Vec::as_slice).unwrap_or_default();
        let wanted = index
            .groups_near(self, &subscription, &homes)
            .filter(|group| homes.contains(&group.id) || (near(group) && fits(group) && locked(group)));
        let facts = wanted.map(|group| {
            let with_points = |one: &Collection| mine.iter().find(|own| own.id == one.id).unwrap_or(one).clone();
            // The VM's own, and of the others' one that tells whether the group looks like one of Backup's: a group holds
            // hundreds, and many VMs are under one lock.
            let collections = || {
                let own = listed.iter().copied().filter(|one| group.id.covers(&one.id));
                let other = index.telling(self, &group.id).filter(|other| listed.iter().all(|one| one.id != other.id));
                own.chain(other).map(with_points).collect()
            };
            let collections = if locked(group) { known(self.at, collections()) } else { Part::not_asked() };
            GroupFacts { group: group.clone(), others: Part::not_asked(), collections }
        });
        known(self.at, facts.collect())
    }

    /// The locks that can matter for the VM: of its subscription, its group and itself, of these groups, and over its vaults.
    fn locks_for(&self, index: &Index, vm: &ResourceId, groups: &[GroupFacts], vaults: &[ResourceId]) -> Vec<Lock> {
        if self.locks.is_empty() {
            return Vec::new();
        }
        let own = vm.group_id();
        let matters = |lock: &&Lock| {
            let scope = lock.scope();
            scope.covers(vm)
                || own.as_ref().is_some_and(|own| scope == *own)
                || vm.covers(&scope)
                || groups.iter().any(|facts| facts.group.id.covers(&scope))
                || vaults.iter().any(|vault| scope.covers(vault))
        };
        let of_vaults = vaults.iter().flat_map(|vault| [vault.group_id(), Some(vault.subscription_id())]).flatten();
        let homes = own.iter().chain(groups.iter().map(|facts| &facts.group.id)).cloned().chain(of_vaults);
        index.locks_near(self, &vm.subscription_id(), homes).filter(matters).cloned().collect()
    }
}
