//! `azmend audit` on many estates and on large ones: the same findings by every way, within ARM's limits.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use azmend::arm::ResourceId;
use azmend::arm::model::Subscription;
use azmend::clock::{Clock as _, elapsed};
use azmend::engine::audit::{Audit, Auditor, audit};
use azmend::facts::bulk::{self, Bulk, Collector, Deep, Index, Jobs, Scan, Seen, Selection, Stage, Unwatched, Watch};
use azmend::facts::graph::VmRow;
use azmend::facts::inventory::Visible;
use azmend::playbook::library::Library;
use azmend::sim::{Exchange, Generate, Permission, World};
use jiff::Timestamp;

use crate::simulation::random_world;
use crate::support::{Lab, check_requests, everything, seeds};

fn visible(all: &[Subscription]) -> Visible {
    Visible { chosen: all.to_vec(), all: all.to_vec(), malformed: Vec::new() }
}

/// VMs stream into findings.
async fn streamed(lab: &Lab, all: &[Subscription], wanted: Collector, jobs: Option<Jobs>, watch: &dyn Watch) -> Audit {
    let (library, ask, visible, selection) = (Library::shipped(), everything(), visible(all), Selection::default());
    let mut auditor = Auditor::new(&library, &ask);
    assert_eq!(auditor.jobs(), Jobs::Unwell, "no shipped playbook asks about backups that went well");
    let jobs = jobs.unwrap_or_else(|| auditor.jobs());
    let scan = Scan::open(&lab.arm, &visible, &selection, Some(wanted), jobs, watch).await.unwrap();
    let mut sink = |bulk: &Bulk, index: &Index, rows: Vec<VmRow>, deep: Deep| {
        assert!(rows.len() <= 1000, "VMs are let go");
        auditor.vms(bulk, index, &rows, &deep);
    };
    let (bulk, index, deep) = Box::pin(scan.run(&mut sink)).await.unwrap();
    assert!(bulk.vms.is_empty());
    auditor.finish(&bulk, &index, &deep, bulk.at, lab.arm.calls())
}

/// Everything is read and kept.
async fn whole(lab: &Lab, all: &[Subscription], wanted: Collector) -> Audit {
    let read = Box::pin(bulk::read(&lab.arm, &visible(all), &Selection::default(), Some(wanted))).await;
    let (bulk, deep) = read.unwrap();
    audit(&Library::shipped(), &bulk, &deep, &everything(), bulk.at, lab.arm.calls())
}

/// What an audit says, in lines: lists of ARM write groups in capitals, which are the same groups. Why something was not
/// read is each collector's own word.
fn said(audit: &Audit) -> Vec<String> {
    let findings = audit.findings.iter().map(|one| serde_json::to_string(one).unwrap().to_lowercase());
    let not_read = audit.not_read.iter().map(|one| one.what.clone());
    findings.chain(not_read).chain([format!("{:?} {}", audit.summary, audit.exit_code)]).collect()
}

/// Every way to the findings of this world; `None` when all agree.
async fn differ(mut world: World, role: Option<&[Permission]>) -> Option<String> {
    // Ways differ in how many requests they send: nothing may depend on when one is sent.
    world.settings.latency_ms = 0;
    world.timeline.clear();
    let all = Lab::on(world.clone()).arm.subscriptions().await.unwrap().items;
    if let Some(role) = role {
        world.permissions = role.to_vec();
    }
    let lab = || Lab::on(world.clone());
    let (graph, arm) = (Collector::Graph, Collector::Arm);
    let first = said(&whole(&lab(), &all, arm).await);
    let others = [
        ("graph, kept", whole(&lab(), &all, graph).await),
        ("arm, streamed", streamed(&lab(), &all, arm, None, &Unwatched).await),
        ("graph, streamed", streamed(&lab(), &all, graph, None, &Unwatched).await),
        ("graph, streamed, newest jobs", streamed(&lab(), &all, graph, Some(Jobs::Newest), &Unwatched).await),
    ];
    others.iter().find_map(|(way, audit)| {
        let said = said(audit);
        let lines = first.iter().zip(&said).find(|(one, other)| one != other);
        (said != first).then(|| format!("{way}: {lines:#?} ({} and {} lines)", first.len(), said.len()))
    })
}

#[tokio::test]
async fn every_way_finds_the_same_on_random_estates() {
    for seed in seeds(15, 40) {
        let mut world = random_world(seed);
        world.settings.graph_rows = 1 + seed % 5;
        assert_eq!(Box::pin(differ(world, None)).await, None, "seed {seed}");
    }
}

#[tokio::test]
async fn every_way_finds_the_same_on_generated_estates() {
    for seed in seeds(3, 6) {
        let wanted = Generate { vms: 60, subscriptions: 3, seed, troubled_per_mille: 500, ..Generate::default() };
        let mut world = World::generated(&wanted).unwrap();
        (world.settings.graph_rows, world.settings.page_size) = (7 + seed, 11);
        assert_eq!(Box::pin(differ(world.clone(), None)).await, None, "seed {seed}");
        // One subscription is lost between the list of them and the reading.
        let read =
            |scope: &str| Permission { scope: scope.to_owned(), actions: vec!["*/read".into()], not_actions: vec![] };
        let role: Vec<Permission> =
            world.subscriptions.iter().skip(1).map(|one| read(&format!("/subscriptions/{}", one.id))).collect();
        assert_eq!(Box::pin(differ(world, Some(&role))).await, None, "seed {seed}, one is forbidden");
    }
}

#[tokio::test]
async fn every_way_finds_the_same_when_jobs_may_not_be_read() {
    for seed in 0..3 {
        let wanted = Generate { vms: 40, subscriptions: 2, seed, troubled_per_mille: 500, ..Generate::default() };
        let mut world = World::generated(&wanted).unwrap();
        world.settings.latency_ms = 0;
        let all = Lab::on(world.clone()).arm.subscriptions().await.unwrap().items;
        let jobs = "Microsoft.RecoveryServices/vaults/backupJobs/read".to_owned();
        let status = "Microsoft.RecoveryServices/locations/backupStatus/action".to_owned();
        let actions = vec!["*/read".to_owned(), status];
        let role = Permission { scope: "/".to_owned(), actions, not_actions: vec![jobs] };
        world.permissions = vec![role];
        let mut audits = Vec::new();
        for wanted in [Collector::Arm, Collector::Graph] {
            audits.push(whole(&Lab::on(world.clone()), &all, wanted).await);
            audits.push(streamed(&Lab::on(world.clone()), &all, wanted, None, &Unwatched).await);
        }
        let found = |audit: &Audit| {
            let findings = audit.findings.iter().map(|one| serde_json::to_string(one).unwrap().to_lowercase());
            findings.collect::<Vec<_>>()
        };
        for audit in &audits {
            assert_eq!(found(audit), found(&audits[0]), "seed {seed}");
            // In their own words: Resource Graph is refused as a whole, lists for each vault.
            assert!(!audit.not_read.is_empty() && audit.exit_code == 6, "{:?}", audit.not_read);
            assert!(audit.not_read.iter().all(|one| one.what.contains("jobs")), "{:?}", audit.not_read);
        }
        assert!(audits[0].findings.iter().any(|one| one.rule == "unprotected-vm"), "the rest is found");
    }
}

#[tokio::test]
async fn of_a_moved_vm_the_newest_job_of_all_its_vaults_counts() {
    let wanted = Generate { vms: 40, subscriptions: 3, troubled_per_mille: 700, ..Generate::default() };
    let mut world = World::generated(&wanted).unwrap();
    let ids: Vec<String> = world.subscriptions.iter().map(|one| one.id.clone()).collect();
    // Each failed item stays behind in its vault, and another subscription's vault protects the VM now.
    let mut moved = 0;
    for item in world.items.clone() {
        let failed = world.jobs.iter().any(|job| job.item == item.id && job.error.is_some());
        let (Some(vault), true) = (item.vault(), failed) else { continue };
        let to = ids.iter().find(|id| !id.eq_ignore_ascii_case(vault.subscription())).unwrap();
        let Some(other) = world.vaults.iter().find(|one| one.id.subscription().eq_ignore_ascii_case(to)) else {
            continue;
        };
        let new = ResourceId::parse(&item.id.as_str().replace(vault.as_str(), other.id.as_str())).unwrap();
        let policy = world.policies.iter().find(|one| other.id.covers(&one.id)).map(|one| one.id.clone());
        let mut copy = azmend::sim::Item { id: new, policy, ..item.clone() };
        copy.recovery_points.clear();
        copy.last_backup_status = "Completed".into();
        world.items.push(copy);
        world.items.iter_mut().find(|one| one.id == item.id).unwrap().protection = azmend::sim::Protection::Stopped;
        moved += 1;
    }
    assert!(moved > 3, "{moved}");
    assert_eq!(Box::pin(differ(world, None)).await, None);
}

/// The least time that ARM's limits allow for these requests.
fn least(log: &[Exchange]) -> Duration {
    let mut reads: BTreeMap<&str, u64> = BTreeMap::new();
    let mut queries = 0_u64;
    for one in log {
        match one.path.strip_prefix("/subscriptions/") {
            Some(rest) => *reads.entry(rest.split('/').next().unwrap_or_default()).or_default() += 1,
            None => queries += u64::from(one.path.ends_with("/resources")),
        }
    }
    let of_reads = reads.values().map(|count| count.saturating_sub(250).div_ceil(25)).max().unwrap_or(0);
    Duration::from_secs(of_reads.max(queries.saturating_sub(1) / 15 * 5))
}

#[derive(Default)]
struct Notes(Mutex<Vec<Seen>>);

impl Watch for Notes {
    fn seen(&self, _: Timestamp, seen: &Seen) {
        self.0.lock().unwrap().push(*seen);
    }
}

#[tokio::test]
async fn limits_are_kept_and_nearly_used_up() {
    // Pages of 40 rows make many queries, and every second VM is read by itself.
    let wanted = Generate { vms: 1200, subscriptions: 3, troubled_per_mille: 700, ..Generate::default() };
    let mut world = World::generated(&wanted).unwrap();
    (world.settings.latency_ms, world.settings.graph_rows) = (0, 40);
    let lab = Lab::on(world);
    let all = lab.arm.subscriptions().await.unwrap().items;
    let notes = Notes::default();
    let began = lab.sim.clock().now();
    let found = Box::pin(streamed(&lab, &all, Collector::Graph, None, &notes)).await;
    let took = elapsed(began, lab.sim.clock().now());
    let log = lab.sim.log();
    let refused = log.iter().filter(|one| one.status == Some(429)).count();
    let least = least(&log);
    assert!(least.as_secs() > 40 && took >= least, "{took:?} {least:?}: the limits are felt");
    // Lists come before what they show can be read, so the two quotas cannot be used side by side from the beginning.
    assert!(took.as_secs_f64() < least.as_secs_f64() * 1.6, "{took:?} of {least:?}");
    assert!(refused * 20 < log.len(), "{refused} of {} requests were refused", log.len());
    assert!(found.not_read.is_empty() && found.findings.len() > 500, "{} {:?}", found.findings.len(), found.not_read);
    assert_eq!(lab.mutations(), Vec::<String>::new());
    check_requests(&lab);
    let notes = notes.0.into_inner().unwrap();
    assert!(notes.is_sorted_by_key(|seen| (seen.vms, seen.read, seen.calls)), "it only goes on");
    let last = notes.last().unwrap();
    assert_eq!(
        (last.stage, last.vms, last.read, last.vms_left),
        (Stage::Suspicious, found.summary.vms, last.to_read, Some(0))
    );
    assert!(last.waited > 0 && last.read > 300, "{last:?}");
    assert!(notes.iter().any(|seen| seen.vms_left.is_some_and(|left| left > 0)), "what is to come is told");
}
