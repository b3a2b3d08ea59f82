//! Rows of a [`Bulk`] by what they belong to, so that a VM costs no walk over all rows.

use std::collections::HashMap;

use super::{Bulk, Rows};
use crate::arm::id::ResourceId;
use crate::arm::model::{Collection, Extension, Job, Lock, Policy, ProtectedItem};

/// Positions in the lists of one [`Bulk`]; of no use with another.
#[derive(Debug, Default)]
pub struct Index {
    items: Rows,
    collections: Rows,
    in_group: Rows,
    extensions: Rows,
    locks: Rows,
    policies: HashMap<String, usize>,
    jobs: HashMap<(String, String), Vec<usize>>,
}

/// The key of an id in a text, also of one that azmend cannot parse.
pub(super) fn key_of(text: &str) -> String {
    ResourceId::parse(text).map_or_else(|_| text.trim_matches('/').to_lowercase(), |id| id.key().to_owned())
}

fn rows<T>(rows: &[T], key: impl Fn(&T) -> Option<String>) -> Rows {
    let mut out = Rows::new();
    for (position, row) in rows.iter().enumerate() {
        if let Some(key) = key(row) {
            out.entry(key).or_default().push(position);
        }
    }
    out
}

fn pick<'a, T>(rows: &'a [T], positions: Option<&'a Vec<usize>>) -> impl Iterator<Item = &'a T> {
    positions.into_iter().flatten().filter_map(|position| rows.get(*position))
}

/// The VM's name as a job has it, in lower case; empty when it has none.
fn name_of(job: &Job) -> String {
    let name = if job.vm_name.is_empty() { job.container.rsplit(';').next().unwrap_or_default() } else { &job.vm_name };
    name.to_lowercase()
}

impl Index {
    /// The index of these rows.
    #[must_use]
    pub fn of(bulk: &Bulk) -> Self {
        let mut jobs: HashMap<(String, String), Vec<usize>> = HashMap::new();
        for (position, job) in bulk.jobs.iter().enumerate() {
            let Some(vault) = job.id.up_to("vaults") else { continue };
            jobs.entry((vault.key().to_owned(), name_of(job))).or_default().push(position);
        }
        Self {
            items: rows(&bulk.items, |item| Some(key_of(&item.source))),
            collections: rows(&bulk.collections, |one| Some(key_of(&one.source))),
            in_group: rows(&bulk.collections, |one| one.id.group_id().map(|group| group.key().to_owned())),
            extensions: rows(&bulk.extensions, |one| one.id.up_to("virtualMachines").map(|vm| vm.key().to_owned())),
            locks: rows(&bulk.locks, |lock| Some(lock.scope().key().to_owned())),
            policies: bulk.policies.iter().enumerate().map(|(at, policy)| (policy.id.key().to_owned(), at)).collect(),
            jobs,
        }
    }

    /// The items that name the VM.
    pub fn items<'a>(&'a self, bulk: &'a Bulk, vm: &ResourceId) -> impl Iterator<Item = &'a ProtectedItem> {
        pick(&bulk.items, self.items.get(vm.key()))
    }

    /// The collections of the VM.
    pub fn collections<'a>(&'a self, bulk: &'a Bulk, vm: &ResourceId) -> impl Iterator<Item = &'a Collection> {
        pick(&bulk.collections, self.collections.get(vm.key()))
    }

    /// The collections in a group.
    pub fn in_group<'a>(&'a self, bulk: &'a Bulk, group: &ResourceId) -> impl Iterator<Item = &'a Collection> {
        pick(&bulk.collections, self.in_group.get(group.key()))
    }

    /// The extensions of the VM.
    pub fn extensions<'a>(&'a self, bulk: &'a Bulk, vm: &ResourceId) -> impl Iterator<Item = &'a Extension> {
        pick(&bulk.extensions, self.extensions.get(vm.key()))
    }

    /// The locks at a scope itself.
    pub fn locks_at<'a>(&'a self, bulk: &'a Bulk, scope: &ResourceId) -> impl Iterator<Item = &'a Lock> {
        pick(&bulk.locks, self.locks.get(scope.key()))
    }

    /// The locks that hold a resource: at its subscription, its group or itself.
    #[must_use]
    pub fn locks_over<'a>(&'a self, bulk: &'a Bulk, id: &ResourceId) -> Vec<&'a Lock> {
        let mut scopes = vec![id.subscription_id()];
        scopes.extend(id.group_id());
        if !scopes.contains(id) {
            scopes.push(id.clone());
        }
        scopes.iter().flat_map(|scope| self.locks_at(bulk, scope)).collect()
    }

    /// The policy of this id.
    #[must_use]
    pub fn policy<'a>(&self, bulk: &'a Bulk, id: &str) -> Option<&'a Policy> {
        bulk.policies.get(*self.policies.get(&key_of(id))?)
    }

    /// Jobs of this vault that may be of a VM of this name.
    pub fn jobs<'a>(&'a self, bulk: &'a Bulk, vault: &ResourceId, name: &str) -> impl Iterator<Item = &'a Job> {
        let at = |name: String| self.jobs.get(&(vault.key().to_owned(), name));
        let named = at(name.to_lowercase());
        let nameless = if name.is_empty() { None } else { at(String::new()) };
        pick(&bulk.jobs, named).chain(pick(&bulk.jobs, nameless))
    }
}
