//! The bulk collector over plain lists of ARM: for clouds and callers without Resource Graph.
//!
//! Per subscription VMs, power states, groups and collections; per vault items, policies and jobs; extensions by a list for
//! each VM that is looked at, for no list of a subscription has them.

use std::collections::HashMap;
use std::time::Duration;

use super::{Bulk, Collector, Kind, Selection, add_rights, take};
use crate::arm::JobFilter;
use crate::arm::id::ResourceId;
use crate::arm::model::Extension;
use crate::clock::earlier;
use crate::estate::collect::JOB_DAYS;
use crate::estate::graph::VmRow;
use crate::estate::inventory::Visible;
use crate::estate::read::Reader;

pub(super) async fn read(reader: &Reader<'_>, visible: &Visible, selection: &Selection) -> Bulk {
    let mut bulk = Bulk::new(reader.now(), Collector::Arm, visible, selection);
    add_rights(reader, &mut bulk, visible).await;
    compute(reader, &mut bulk, visible).await;
    backup(reader, &mut bulk, visible).await;
    bulk.select();
    extensions(reader, &mut bulk).await;
    bulk
}

async fn compute(reader: &Reader<'_>, bulk: &mut Bulk, visible: &Visible) {
    let calls = visible.chosen.iter().filter_map(|one| {
        let scope = ResourceId::subscription_scope(&one.id).ok()?;
        Some(async move {
            let lists = futures::join!(
                reader.arm.tagged_vms(&scope),
                reader.arm.power_states(&scope),
                reader.arm.groups(&one.id),
                reader.arm.collections(&scope),
            );
            (one, scope, lists)
        })
    });
    for (one, scope, (vms, power, groups, collections)) in reader.side_by_side(calls.collect()).await {
        let name = format!("the subscription {}", one.name);
        // Without power states nothing else is lost: they are empty then.
        let mut states: HashMap<String, String> = HashMap::new();
        take(bulk, Kind::Power, scope.clone(), &name, power, |_, rows| {
            states.extend(rows.into_iter().map(|row| (row.id.key().to_owned(), row.power)));
        });
        take(bulk, Kind::Vms, scope.clone(), &name, vms, |bulk, rows| {
            bulk.vms.extend(rows.into_iter().map(|row| {
                let power = states.get(row.vm.id.key()).cloned().unwrap_or_default();
                VmRow { vm: row.vm, power, tags: row.tags }
            }));
        });
        take(bulk, Kind::Groups, scope.clone(), &name, groups, |bulk, rows| bulk.groups.extend(rows));
        take(bulk, Kind::Collections, scope, &name, collections, |bulk, rows| bulk.collections.extend(rows));
    }
}

async fn backup(reader: &Reader<'_>, bulk: &mut Bulk, visible: &Visible) {
    let calls = visible.all.iter().filter_map(|one| {
        let scope = ResourceId::subscription_scope(&one.id).ok()?;
        Some(async move { (one, scope, reader.arm.vaults(&one.id).await) })
    });
    for (one, scope, listed) in reader.side_by_side(calls.collect()).await {
        let name = format!("the subscription {}", one.name);
        take(bulk, Kind::Vaults, scope, &name, listed, |bulk, rows| bulk.vaults.extend(rows));
    }
    let since = earlier(reader.now(), Duration::from_secs(JOB_DAYS * 86_400));
    let filter = JobFilter { since: Some(since), ..JobFilter::default() };
    let vaults: Vec<ResourceId> = bulk.vaults.iter().map(|vault| vault.id.clone()).collect();
    let calls = vaults.into_iter().map(|id| {
        let filter = &filter;
        async move {
            let lists = futures::join!(
                reader.arm.protected_items(&id),
                reader.arm.policies(&id),
                reader.arm.jobs(&id, filter),
            );
            (id, lists)
        }
    });
    for (id, (items, policies, jobs)) in reader.side_by_side(calls.collect()).await {
        let name = format!("the vault {}", id.name());
        take(bulk, Kind::Items, id.clone(), &name, items, |bulk, rows| bulk.items.extend(rows));
        take(bulk, Kind::Policies, id.clone(), &name, policies, |bulk, rows| bulk.policies.extend(rows));
        take(bulk, Kind::Jobs, id, &name, jobs, |bulk, rows| bulk.jobs.extend(rows));
    }
}

async fn extensions(reader: &Reader<'_>, bulk: &mut Bulk) {
    let ids: Vec<ResourceId> = bulk.vms.iter().map(|row| row.vm.id.clone()).collect();
    let calls = ids.into_iter().map(|id| async move {
        let listed = reader.arm.extensions(&id).await;
        (id, listed)
    });
    for (id, listed) in reader.side_by_side(calls.collect()).await {
        let name = format!("the VM {}", id.name());
        take(bulk, Kind::Extensions, id, &name, listed, |bulk, rows| {
            // Resource Graph has no messages: without them both collectors say the same.
            bulk.extensions.extend(rows.into_iter().map(|row| Extension { message: String::new(), ..row }));
        });
    }
}
