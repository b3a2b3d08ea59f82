//! Reads of VMs that are known to be suspicious before they are listed.
//!
//! A lock over a subscription makes all of its VMs suspicious, and that subscription's own limit then decides how long the
//! reading takes. Locks and collections are known at once, VMs last: the time between is used for what will be asked anyway.
//!
//! Invariants: at most [`MOST`] VMs, a bounded number of reads at once; whatever is not there when the lists are read is
//! asked later as for every other VM; what was read of a VM that is then not listed is forgotten, with its notes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use futures::stream::{self, StreamExt as _};

use super::Own;
use super::single_reads::{Deep, Reads, Vaults};
use crate::arm::id::ResourceId;
use crate::arm::model::{Collection, Lock};
use crate::facts::read::Reader;

/// VMs that are read early: some kilobytes each are kept until they are listed.
const MOST: usize = 2000;
/// Subscriptions at once, and VMs of one of them: each has a quota of its own.
const SUBSCRIPTIONS: usize = 4;
const EACH: usize = 8;

/// What was read by now, by the keys of the VMs.
pub(super) type Ready = Mutex<HashMap<String, Deep>>;

/// VMs with a collection under a lock, by subscription.
fn wanted(own: &[Own]) -> BTreeMap<String, Vec<Reads>> {
    let locks = own.iter().filter_map(|one| one.locks.as_ref().ok());
    let scopes: HashSet<ResourceId> = locks.flat_map(|listing| listing.items.iter().map(Lock::scope)).collect();
    if scopes.is_empty() {
        return BTreeMap::new();
    }
    let locked = |one: &Collection| {
        scopes.contains(&one.id)
            || scopes.contains(&one.id.subscription_id())
            || one.id.group_id().is_some_and(|group| scopes.contains(&group))
    };
    // All collections of a VM, for one of them under a lock is enough.
    let mut of_vm: BTreeMap<ResourceId, (bool, Vec<ResourceId>)> = BTreeMap::new();
    for one in own.iter().filter_map(|one| one.collections.as_ref().ok()).flat_map(|listing| &listing.items) {
        let Some(vm) = one.source_id().filter(|id| id.is_type("Microsoft.Compute/virtualMachines")) else { continue };
        let entry = of_vm.entry(vm).or_default();
        entry.0 |= locked(one);
        entry.1.push(one.id.clone());
    }
    let mut out: BTreeMap<String, Vec<Reads>> = BTreeMap::new();
    for (vm, (_, collections)) in of_vm.into_iter().filter(|(_, (locked, _))| *locked).take(MOST) {
        out.entry(vm.subscription().to_lowercase()).or_default().push(Reads::early(vm, collections));
    }
    out
}

/// Reads them into `ready` as they come; may be given up at any time.
pub(super) async fn read(reader: &Reader<'_>, own: &[Own], vaults: &Vaults, ready: &Ready) {
    let of_one = |reads: Vec<Reads>| async move {
        let reads = stream::iter(reads).map(|one| async move {
            let vm = one.vm().key().to_owned();
            (vm, one.read(reader, vaults).await)
        });
        let mut reads = Box::pin(reads.buffer_unordered(EACH));
        while let Some((vm, deep)) = reads.next().await {
            ready.lock().unwrap_or_else(PoisonError::into_inner).insert(vm, deep);
        }
    };
    stream::iter(wanted(own).into_values()).map(of_one).buffer_unordered(SUBSCRIPTIONS).collect::<()>().await;
}
