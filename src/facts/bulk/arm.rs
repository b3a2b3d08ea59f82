//! The bulk collector over plain lists of ARM: for clouds and callers without Resource Graph.
//!
//! Per subscription VMs, power states and groups; per vault items, policies and jobs; extensions by a list for
//! each VM that is looked at, for no list of a subscription has them.

use std::collections::HashMap;
use std::time::Duration;

use futures::StreamExt as _;

use super::jobs::Fold;
use super::{Bulk, Collector, Jobs, Kind, Selection, add_rights, take};
use crate::arm::id::ResourceId;
use crate::arm::model::{Extension, PowerRow, TaggedVm};
use crate::arm::{ArmError, JobFilter, Listing};
use crate::clock::earlier;
use crate::facts::collect::JOB_DAYS;
use crate::facts::graph::VmRow;
use crate::facts::inventory::Visible;
use crate::facts::read::Reader;

/// Everything but what [`super::read_own`] reads. The VMs are those that were asked for.
pub(super) async fn read(reader: &Reader<'_>, visible: &Visible, selection: &Selection, jobs: Jobs) -> Bulk {
    let mut bulk = Bulk::new(reader.now(), Collector::Arm, visible, selection);
    add_rights(reader, &mut bulk, visible).await;
    let mut vms = compute(reader, &mut bulk, visible).await;
    backup(reader, &mut bulk, visible, jobs).await;
    let in_vault = bulk.in_vault();
    bulk.select(&mut vms, &in_vault);
    bulk.vms = vms;
    extensions(reader, &mut bulk).await;
    bulk
}

/// The VMs alone, where another way to them ended.
pub(super) async fn vms(reader: &Reader<'_>, bulk: &mut Bulk, visible: &Visible) -> Vec<VmRow> {
    let calls = visible.chosen.iter().filter_map(|one| {
        let scope = ResourceId::subscription_scope(&one.id).ok()?;
        Some(async move {
            let lists = futures::join!(reader.arm.tagged_vms(&scope), reader.arm.power_states(&scope));
            (one, scope, lists)
        })
    });
    let mut out = Vec::new();
    for (one, scope, (vms, power)) in reader.side_by_side(calls.collect()).await {
        add_vms(bulk, &scope, &format!("the subscription {}", one.name), vms, power, &mut out);
    }
    out
}

/// Puts VMs and their power states together.
fn add_vms(
    bulk: &mut Bulk,
    scope: &ResourceId,
    name: &str,
    vms: Result<Listing<TaggedVm>, ArmError>,
    power: Result<Listing<PowerRow>, ArmError>,
    out: &mut Vec<VmRow>,
) {
    // Without power states nothing else is lost: they are empty then.
    let mut states: HashMap<String, String> = HashMap::new();
    take(bulk, Kind::Power, scope.clone(), name, power, |_, rows| {
        states.extend(rows.into_iter().map(|row| (row.id.key().to_owned(), row.power)));
    });
    take(bulk, Kind::Vms, scope.clone(), name, vms, |_, rows| {
        out.extend(rows.into_iter().map(|row| {
            let power = states.get(row.vm.id.key()).cloned().unwrap_or_default();
            VmRow { vm: row.vm, power, tags: row.tags }
        }));
    });
}

async fn compute(reader: &Reader<'_>, bulk: &mut Bulk, visible: &Visible) -> Vec<VmRow> {
    let mut out = Vec::new();
    let calls = visible.chosen.iter().filter_map(|one| {
        let scope = ResourceId::subscription_scope(&one.id).ok()?;
        Some(async move {
            let lists = futures::join!(
                reader.arm.tagged_vms(&scope),
                reader.arm.power_states(&scope),
                reader.arm.groups(&one.id),
            );
            (one, scope, lists)
        })
    });
    for (one, scope, (vms, power, groups)) in reader.side_by_side(calls.collect()).await {
        let name = format!("the subscription {}", one.name);
        add_vms(bulk, &scope, &name, vms, power, &mut out);
        take(bulk, Kind::Groups, scope, &name, groups, |bulk, rows| bulk.groups.extend(rows));
    }
    out
}

async fn backup(reader: &Reader<'_>, bulk: &mut Bulk, visible: &Visible, jobs: Jobs) {
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
    let mut fold = Fold::new(jobs);
    // Each list of jobs is reduced to what is kept before the next ones come.
    let mut answers = reader.one_by_one(calls.collect());
    while let Some((id, (items, policies, jobs))) = answers.next().await {
        let name = format!("the vault {}", id.name());
        take(bulk, Kind::Items, id.clone(), &name, items, |bulk, rows| bulk.items.extend(rows));
        take(bulk, Kind::Policies, id.clone(), &name, policies, |bulk, rows| bulk.policies.extend(rows));
        take(bulk, Kind::Jobs, id, &name, jobs, |_, rows| fold.extend(rows));
    }
    bulk.jobs = fold.into_jobs();
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
