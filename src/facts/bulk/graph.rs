//! The bulk collector over Azure Resource Graph: one query for each kind of resource.
//!
//! A subscription that is asked for and that Resource Graph does not look into is a gap in everything. Whether rows of jobs
//! carry their errors is not known: where the failed job that counts has none, its vault's list of jobs is read from ARM.
//!
//! Each page costs a query of the user's quota (15 in 5 s), so rows that say nothing are not asked for when the reading is
//! for findings ([`Jobs::Unwell`]): provisioned extensions, and completed jobs but those of VMs whose newest finished backup
//! may be another one.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use futures::StreamExt as _;

use super::jobs::Fold;
use super::{Bulk, Collector, Jobs, Kind, Selection, add_rights};
use crate::arm::id::ResourceId;
use crate::arm::model::{Extension, Group, Job, Policy, ProtectedItem, Subscription, Vault};
use crate::arm::{Arm, ArmError, GraphScope, JobFilter};
use crate::clock::earlier;
use crate::facts::bulk::single_reads::in_error;
use crate::facts::collect::JOB_DAYS;
use crate::facts::graph::{GraphReader, GraphRow, ItemRow, coverage, extensions_unwell, jobs_good, jobs_unwell};
use crate::facts::inventory::Visible;
use crate::facts::read::{Reader, why};

/// Names in one query for completed jobs: some 4 KB.
const NAMES: usize = 150;
/// The first look for a completed job goes back this many days, the second as far as there are jobs.
const SOON: u64 = 3;

/// The GUIDs of subscriptions.
pub(super) fn scope_of(subscriptions: &[Subscription]) -> GraphScope {
    GraphScope::subscriptions(&subscriptions.iter().map(|one| one.id.as_str()).collect::<Vec<_>>())
}

/// Everything but VMs and what [`super::read_own`] reads.
pub(super) async fn read(
    reader: &Reader<'_>,
    visible: &Visible,
    selection: &Selection,
    jobs: Jobs,
) -> Result<Bulk, ArmError> {
    let mut bulk = Bulk::new(reader.now(), Collector::Graph, visible, selection);
    let (all, chosen) = (scope_of(&visible.all), scope_of(&visible.chosen));
    let covered = coverage(reader.arm, all.clone()).await?;
    for left_out in &covered.left_out {
        let found = visible.all.iter().find(|one| one.id.eq_ignore_ascii_case(left_out));
        let (Some(one), Ok(scope)) = (found, ResourceId::subscription_scope(left_out)) else { continue };
        let why = "Resource Graph does not search it for this identity";
        let of_vms = [Kind::Vms, Kind::Extensions, Kind::Groups, Kind::Collections, Kind::Locks];
        let of_vaults = [Kind::Vaults, Kind::Items, Kind::Policies, Kind::Jobs];
        let chosen = bulk.looks_into(&one.id);
        for kind in of_vms.into_iter().filter(|_| chosen).chain(of_vaults) {
            bulk.add_gap(kind, Some(scope.clone()), &format!("the subscription {}", one.name), why);
        }
    }
    add_rights(reader, &mut bulk, visible).await;
    let arm = reader.arm;
    // Side by side, for each page waits for the one before it.
    let of_vaults = async {
        let vaults = Box::pin(rows::<Vault>(arm, &all, &Vault::query())).await?;
        let policies = Box::pin(rows::<Policy>(arm, &all, &Policy::query())).await?;
        Ok((vaults, policies, Box::pin(rows::<ItemRow>(arm, &all, &ItemRow::query())).await?))
    };
    let extensions = if jobs == Jobs::Every { Extension::query() } else { extensions_unwell() };
    let of_vms = async {
        let groups = Box::pin(rows::<Group>(arm, &chosen, &Group::query())).await?;
        Ok((groups, Box::pin(rows::<Extension>(arm, &chosen, &extensions)).await?))
    };
    let mut fold = Fold::new(jobs);
    let query = if jobs == Jobs::Unwell { jobs_unwell() } else { Job::query() };
    let of_jobs = Box::pin(job_rows(arm, &all, &query, &mut fold));
    let ((vaults, policies, items), (groups, extensions), missing) = futures::try_join!(of_vaults, of_vms, of_jobs)?;
    bulk.groups = take(&mut bulk, Kind::Groups, groups);
    bulk.extensions = take(&mut bulk, Kind::Extensions, extensions);
    bulk.vaults = take(&mut bulk, Kind::Vaults, vaults);
    bulk.policies = take(&mut bulk, Kind::Policies, policies);
    bulk.items = take(&mut bulk, Kind::Items, items).into_iter().map(|row| row.item).collect();
    note(&mut bulk, Kind::Jobs, missing.as_deref());
    if jobs == Jobs::Unwell {
        good_jobs(arm, &mut bulk, &all, &mut fold).await?;
    }
    job_errors(reader, &mut bulk, &mut fold).await;
    bulk.jobs = fold.into_jobs();
    Ok(bulk)
}

/// All rows of a query, and why they may not be all.
async fn rows<T: GraphRow>(arm: &Arm, scope: &GraphScope, query: &str) -> Result<(Vec<T>, Option<String>), ArmError> {
    let mut reader = GraphReader::<T>::with(arm, scope.clone(), query);
    let mut out = Vec::new();
    while let Some(page) = Box::pin(reader.next_page()).await? {
        out.extend(page);
    }
    out.shrink_to_fit();
    Ok((out, reader.incomplete().into_iter().next()))
}

async fn job_rows(arm: &Arm, scope: &GraphScope, query: &str, fold: &mut Fold) -> Result<Option<String>, ArmError> {
    let mut reader = GraphReader::<Job>::with(arm, scope.clone(), query);
    while let Some(page) = Box::pin(reader.next_page()).await? {
        fold.extend(page);
    }
    Ok(reader.incomplete().into_iter().next())
}

fn note(bulk: &mut Bulk, kind: Kind, missing: Option<&str>) {
    if let Some(missing) = missing {
        bulk.add_gap(kind, None, "all subscriptions", missing);
    }
}

fn take<T>(bulk: &mut Bulk, kind: Kind, (rows, missing): (Vec<T>, Option<String>)) -> Vec<T> {
    note(bulk, kind, missing.as_deref());
    rows
}

/// A VM's name, and a subscription with a vault that may have jobs of it; both in lower case.
type Where = (String, String);

/// Completed backups where one can matter: of VMs with a backup that ended otherwise (it may not be the newest), and of
/// items that are not well (when the last good one was). Most have one of the last days; the others are asked again.
async fn good_jobs(arm: &Arm, bulk: &mut Bulk, all: &GraphScope, fold: &mut Fold) -> Result<(), ArmError> {
    let place = |vault: &ResourceId, name: &str| -> Where { (vault.subscription().to_lowercase(), name.to_owned()) };
    let name = |item: &ProtectedItem| item.source.rsplit('/').next().unwrap_or_default().to_lowercase();
    let unwell: Vec<(ResourceId, String, String)> = bulk
        .items
        .iter()
        .filter(|item| in_error(item))
        .filter_map(|item| {
            let container = item.id.segment("protectionContainers").unwrap_or_default().to_lowercase();
            Some((item.vault_id()?, container, name(item)))
        })
        .collect();
    let mut wanted: BTreeSet<Where> = fold.finished().map(|(whose, _)| place(&whose.vault, &whose.name)).collect();
    wanted.extend(unwell.iter().map(|(vault, _, name)| place(vault, name)));
    let names: HashSet<String> = wanted.iter().map(|(_, name)| name.clone()).collect();
    // A VM that was moved has items in several vaults, and the newest job of all of them counts.
    let others = bulk.items.iter().filter_map(|item| Some((item.vault_id()?, name(item))));
    let others: BTreeSet<Where> =
        others.filter(|one| names.contains(&one.1)).map(|one| place(&one.0, &one.1)).collect();
    wanted.extend(others.iter().cloned());
    // Where many VMs are concerned, or one whose name is not plain, all jobs cost less than asking by name.
    let plain = names.iter().all(|name| jobs_good(SOON, &[name.as_str()]).is_some());
    if !plain || names.len() * 3 > bulk.items.len().max(NAMES) {
        let missing = Box::pin(job_rows(arm, all, &Job::query(), fold)).await?;
        note(bulk, Kind::Jobs, missing.as_deref());
        return Ok(());
    }
    let soon = earlier(bulk.at, Duration::from_secs(SOON * 86_400));
    for days in [SOON, JOB_DAYS] {
        // In the order of their subscriptions, so that each query looks into few.
        for part in wanted.iter().collect::<Vec<_>>().chunks(NAMES) {
            let names: BTreeSet<&str> = part.iter().map(|(_, name)| name.as_str()).collect();
            let Some(query) = jobs_good(days, &names.into_iter().collect::<Vec<_>>()) else { continue };
            let scope = GraphScope::subscriptions(&part.iter().map(|(place, _)| place).collect::<Vec<_>>());
            let missing = Box::pin(job_rows(arm, &scope, &query, fold)).await?;
            note(bulk, Kind::Jobs, missing.as_deref());
        }
        // What ended in the first days is newer than everything that the second look could find.
        let done: HashSet<(&ResourceId, &str, &str)> = fold
            .finished()
            .filter(|(_, good)| good.is_some_and(|good| good >= soon))
            .map(|(whose, _)| (&whose.vault, whose.container.as_str(), whose.name.as_str()))
            .collect();
        let open = fold
            .finished()
            .filter(|(whose, _)| !done.contains(&(&whose.vault, whose.container.as_str(), whose.name.as_str())));
        let mut left: BTreeSet<Where> = open.map(|(whose, _)| place(&whose.vault, &whose.name)).collect();
        let is_done = |(vault, container, name): &(ResourceId, String, String)| {
            let short = container.split_once(';').map_or(container.as_str(), |(_, rest)| rest);
            [container.as_str(), short, ""].iter().any(|form| done.contains(&(vault, form, name.as_str())))
        };
        left.extend(unwell.iter().filter(|one| !is_done(one)).map(|(vault, _, name)| place(vault, name)));
        let names: HashSet<&String> = left.iter().map(|(_, name)| name).collect();
        wanted = others.iter().filter(|(_, name)| names.contains(name)).cloned().collect();
        wanted.extend(left);
    }
    Ok(())
}

/// Lists the jobs of vaults in which a job that counts failed and no row says why.
async fn job_errors(reader: &Reader<'_>, bulk: &mut Bulk, fold: &mut Fold) {
    let vaults: BTreeSet<ResourceId> = fold.silent().filter_map(|job| job.id.up_to("vaults")).collect();
    let since = earlier(reader.now(), Duration::from_secs(JOB_DAYS * 86_400));
    let filter = JobFilter { since: Some(since), ..JobFilter::default() };
    let calls = vaults.into_iter().map(|vault| {
        let filter = &filter;
        async move {
            let listed = reader.arm.jobs(&vault, filter).await;
            (vault, listed)
        }
    });
    let mut answers = reader.one_by_one(calls.collect());
    while let Some((vault, listed)) = answers.next().await {
        let name = format!("the vault {}", vault.name());
        match listed {
            Err(error) => bulk.add_gap(Kind::Jobs, Some(vault), &name, &why(&error)),
            Ok(listing) => {
                if let Some(first) = listing.malformed.first() {
                    let why = format!("{} rows could not be understood, the first: {first}", listing.malformed.len());
                    bulk.add_gap(Kind::Jobs, Some(vault.clone()), &name, &why);
                }
                fold.forget(&vault);
                fold.extend(listing.items);
            }
        }
    }
}
