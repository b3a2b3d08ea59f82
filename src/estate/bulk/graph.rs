//! The bulk collector over Azure Resource Graph: one query for each kind of resource.
//!
//! A subscription that is asked for and that Resource Graph does not look into is a gap in everything. Whether rows of jobs
//! carry their errors is not known: where a failed job has none, its vault's list of jobs is read from ARM instead.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Bulk, Collector, Kind, Selection, add_rights, take};
use crate::arm::id::ResourceId;
use crate::arm::model::{Collection, Extension, Group, Job, Policy, Vault};
use crate::arm::{Arm, ArmError, GraphScope, JobFilter};
use crate::clock::earlier;
use crate::estate::collect::JOB_DAYS;
use crate::estate::graph::{GraphRow, ItemRow, VmRow, coverage, read_all};
use crate::estate::inventory::Visible;
use crate::estate::read::Reader;

pub(super) async fn read(reader: &Reader<'_>, visible: &Visible, selection: &Selection) -> Result<Bulk, ArmError> {
    let mut bulk = Bulk::new(reader.now(), Collector::Graph, visible, selection);
    let guids = |subscriptions: &[crate::arm::model::Subscription]| {
        GraphScope::subscriptions(&subscriptions.iter().map(|one| one.id.as_str()).collect::<Vec<_>>())
    };
    let (all, chosen) = (guids(&visible.all), guids(&visible.chosen));
    let covered = coverage(reader.arm, all.clone()).await?;
    for left_out in &covered.left_out {
        let found = visible.all.iter().find(|one| one.id.eq_ignore_ascii_case(left_out));
        let (Some(one), Ok(scope)) = (found, ResourceId::subscription_scope(left_out)) else { continue };
        let why = "Resource Graph does not look into it for this identity";
        let of_vms = [Kind::Vms, Kind::Extensions, Kind::Groups, Kind::Collections, Kind::Locks];
        let of_vaults = [Kind::Vaults, Kind::Items, Kind::Policies, Kind::Jobs];
        let chosen = visible.chosen.iter().any(|chosen| chosen.id == one.id);
        for kind in of_vms.into_iter().filter(|_| chosen).chain(of_vaults) {
            bulk.add_gap(kind, Some(scope.clone()), &format!("the subscription {}", one.name), why);
        }
    }
    add_rights(reader, &mut bulk, visible).await;
    bulk.vms = rows::<VmRow>(reader.arm, &mut bulk, Kind::Vms, &chosen).await?;
    bulk.extensions = rows::<Extension>(reader.arm, &mut bulk, Kind::Extensions, &chosen).await?;
    bulk.groups = rows::<Group>(reader.arm, &mut bulk, Kind::Groups, &chosen).await?;
    bulk.collections = rows::<Collection>(reader.arm, &mut bulk, Kind::Collections, &chosen).await?;
    bulk.vaults = rows::<Vault>(reader.arm, &mut bulk, Kind::Vaults, &all).await?;
    let items = rows::<ItemRow>(reader.arm, &mut bulk, Kind::Items, &all).await?;
    bulk.items = items.into_iter().map(|row| row.item).collect();
    bulk.policies = rows::<Policy>(reader.arm, &mut bulk, Kind::Policies, &all).await?;
    bulk.jobs = rows::<Job>(reader.arm, &mut bulk, Kind::Jobs, &all).await?;
    job_errors(reader, &mut bulk).await;
    bulk.select();
    let mine: std::collections::HashSet<&str> = bulk.vms.iter().map(|row| row.vm.id.key()).collect();
    let of_mine = |row: &Extension| row.id.up_to("virtualMachines").is_some_and(|vm| mine.contains(vm.key()));
    let kept: Vec<Extension> = bulk.extensions.iter().filter(|row| of_mine(row)).cloned().collect();
    bulk.extensions = kept;
    Ok(bulk)
}

async fn rows<T: GraphRow>(arm: &Arm, bulk: &mut Bulk, kind: Kind, scope: &GraphScope) -> Result<Vec<T>, ArmError> {
    let listing = Box::pin(read_all::<T>(arm, scope.clone())).await?;
    if let Some(first) = listing.malformed.first() {
        bulk.add_gap(kind, None, "all subscriptions", first);
    }
    Ok(listing.items)
}

/// Lists the jobs of vaults in which a job failed and no row says why.
async fn job_errors(reader: &Reader<'_>, bulk: &mut Bulk) {
    let silent = |job: &&Job| job.status.eq_ignore_ascii_case("Failed") && job.errors.is_empty();
    let vaults: BTreeSet<ResourceId> =
        bulk.jobs.iter().filter(silent).filter_map(|job| job.id.up_to("vaults")).collect();
    let since = earlier(reader.now(), Duration::from_secs(JOB_DAYS * 86_400));
    let filter = JobFilter { since: Some(since), ..JobFilter::default() };
    for vault in vaults {
        let listed = reader.arm.jobs(&vault, &filter).await;
        let name = format!("the vault {}", vault.name());
        take(bulk, Kind::Jobs, vault.clone(), &name, listed, |bulk, jobs| {
            bulk.jobs.retain(|job| !vault.covers(&job.id));
            bulk.jobs.extend(jobs);
        });
    }
}
