//! How many calls the main jobs take: a new call needs a reason, and its number here. `cargo bench --bench calls` prints the
//! table by purpose.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use azmend::actions::permission::Place;
use azmend::actions::permissions_needed::{EVERY_READ, NEEDS};
use azmend::arm::{
    Arm, ArmCalls, ArmSettings, CallPurpose, Request, ResourceId, Response, StaticToken, Transport, TransportError,
};
use azmend::clock::{Clock, elapsed};
use azmend::engine::{Planned, Run, Status, make_plan};
use azmend::facts::resolve_vm;
use azmend::facts::rights::{AT_GROUP, AT_KEY_VAULT, AT_VAULT, AT_VM};
use azmend::facts::vm_facts::{FactPart, VmFacts};
use azmend::facts::{CollectOptions, Refresh, collect, refresh};
use azmend::sim::{FaultEffect, Job, Sim};

use crate::slow_wire::{SlowWire, WaitCounter};
use crate::support::{Ask, Lab, RUN, TestLog};

/// A dry run of `rp-collection-limit` on web-01, the VM given by its id. Eleven of them are the collections of other VMs in
/// the locked group: the proof that it holds nothing but Backup's (S5), and no list has points.
const DRY_RUN: u64 = 29;
/// The same with `rg-shop/web-01`: the subscriptions, and that the other one has no such VM.
const DRY_RUN_BY_GROUP_AND_NAME: u64 = 32;
/// The same with `web-01`: what proves the name unique (permissions, deny assignments, VMs of the other subscription).
const DRY_RUN_BY_NAME: u64 = 34;
/// The whole repair with `--relock`, its plan included: two tries under the lock that is being released among them.
const REPAIR: u64 = 80;

async fn dry_run(text: &str) -> ArmCalls {
    let mut lab = Lab::new();
    lab.arm = lab.arm.for_one_reading();
    let vm = resolve_vm(&lab.arm.for_purpose(CallPurpose::Finding), text, &[]).await.unwrap();
    let arm = lab.arm.for_purpose(CallPurpose::Planning);
    let planned = make_plan(&arm, &lab.request("rp-collection-limit", vm.as_str(), &Ask::default())).await;
    assert!(matches!(planned, Planned::Plan(_)), "{planned:#?}");
    let counted: u64 = arm.call_rows().iter().map(|row| row.count).sum();
    assert_eq!(
        (counted, lab.sim.log().len() as u64),
        (arm.call_counts().total(), counted),
        "each call is counted once"
    );
    if std::env::var_os("AZMEND_TEST_TRACE").is_some() {
        print_rows(text, &arm);
    }
    arm.call_counts()
}

fn print_rows(what: &str, arm: &Arm) {
    eprintln!("{what}: {:?}", arm.call_counts());
    for row in arm.call_rows() {
        eprintln!("  {:<10} {:<6} {:<24} {}", row.purpose, row.verb, row.kind, row.count);
    }
}

#[tokio::test]
async fn a_dry_run_makes_no_more_calls_than_it_has_reasons_for() {
    let id = Lab::new().vm("web-01").to_string();
    for (text, most) in
        [(id.as_str(), DRY_RUN), ("rg-shop/web-01", DRY_RUN_BY_GROUP_AND_NAME), ("web-01", DRY_RUN_BY_NAME)]
    {
        let calls = dry_run(text).await;
        assert_eq!((calls.reads, calls.changes), (most, 0), "{text}");
    }
}

#[tokio::test]
async fn a_repair_makes_no_more_calls_than_it_has_reasons_for() {
    let lab = Lab::new();
    let ask = Ask { relock: true, ..Ask::default() };
    let plan = lab.planned("rp-collection-limit", "web-01", &ask).await;
    let planning = lab.arm.call_counts();
    let log = Arc::new(TestLog::default());
    let run = Run { arm: lab.arm.with_run_id(RUN), ..lab.run(&plan, &log) };
    let result = run.start().await;
    assert_eq!(result.status, Status::Succeeded, "{result:#?}");
    let calls = run.arm.call_counts();
    if std::env::var_os("AZMEND_TEST_TRACE").is_some() {
        print_rows("the run", &run.arm);
        for one in lab.sim.log() {
            eprintln!("  {} {:<6} {} {}", one.at, one.method, one.status.unwrap_or(0), one.path);
        }
    }
    assert_eq!(lab.arm.calls(), planning.total() + calls.total(), "a run counts its own");
    let all = planning + calls;
    assert!(all.total() <= REPAIR, "{} calls: {all:?}", all.total());
    let unsaid: Vec<_> = run.arm.call_rows().into_iter().filter(|row| row.purpose == CallPurpose::Other).collect();
    assert!(unsaid.is_empty(), "it is not reported what these are for: {unsaid:?}");
    assert_eq!(calls.waited_seconds, 0);
    let sent = lab.sim.log().iter().filter(|exchange| exchange.mutating).count();
    assert_eq!(calls.changes, sent as u64, "what changes something is counted as that");
}

/// What the same repair takes of its own at 50 ms a call, its plan included: less than the 3.5 s of a careful script that does one
/// thing after the other, with far fewer readings. What Azure or a rule makes it wait for is not of its own.
const OWN_TIME: Duration = Duration::from_millis(3_500);

#[tokio::test]
async fn a_repair_takes_little_time_of_its_own() {
    let mut lab = Lab::new();
    let clock = WaitCounter::new(&lab.sim);
    let settings = ArmSettings { endpoint: "https://management.azure.com".parse().unwrap(), run_id: RUN.to_owned() };
    let tokens = Arc::new(StaticToken::new("sandbox", "sandbox"));
    lab.arm = Arm::new(SlowWire::new(&lab.sim), tokens, clock.clone(), settings).unwrap();
    let began = clock.now();
    let own = || elapsed(began, clock.now()).saturating_sub(clock.waited());
    let ask = Ask { relock: true, ..Ask::default() };
    let plan = lab.planned("rp-collection-limit", "web-01", &ask).await;
    let planning = own();
    let log = Arc::new(TestLog::default());
    let run = Run { arm: lab.arm.with_run_id(RUN), ..lab.run(&plan, &log) };
    let result = run.start().await;
    assert_eq!(result.status, Status::Succeeded, "{result:#?}");
    let whole = own();
    if std::env::var_os("AZMEND_TEST_TRACE").is_some() {
        eprintln!("planning {planning:?}, all {whole:?} of its own, waited {:?}", clock.waited());
    }
    assert!(whole < OWN_TIME, "{whole:?}, of which {planning:?} for the plan; waited {:?}", clock.waited());
}

/// A refresh reads what it was asked for: so many calls, whatever else is old. Two more prove that a list is complete (S12).
#[tokio::test]
async fn each_part_has_its_own_price() {
    let lab = Lab::new();
    let facts = collect(&lab.arm, &lab.vm("web-01"), &CollectOptions::default()).await;
    let one = |set: fn(&mut Refresh)| {
        let mut what = Refresh::NOTHING;
        set(&mut what);
        what
    };
    for (what, calls, words) in [
        (Refresh::NOTHING, 0, "nothing"),
        (Refresh::VM, 1, "the VM with its view"),
        (one(|what| what.extensions = true), 3, "the list"),
        (one(|what| (what.vm, what.extensions) = (true, true)), 3, "in one answer"),
        (Refresh::COLLECTIONS, 4, "the list, the VM's collection"),
        (Refresh::GROUPS, 17, "both, groups, resources, eleven of others"),
        (one(|what| what.deny = true), 2, "the list"),
        (Refresh::LOCKS, 3, "the list; deny assignments come with its proof"),
        (Refresh::RIGHTS, 1, "the subscription's are enough"),
        (one(|what| what.status = true), 1, "backupStatus"),
        (one(|what| what.items = true), 3, "one vault"),
        (one(|what| what.vaults = true), 4, "the vault and its guard"),
        (one(|what| what.policies = true), 1, "the policy"),
        (one(|what| what.recovery_points = true), 3, "the list"),
        (Refresh::JOBS, 3, "one list"),
        (Refresh::ITEMS, 8, "the same together"),
        (Refresh::BACKUP, 12, "with backupStatus, vaults, a second list of jobs and the failed one"),
    ] {
        let before = lab.arm.calls();
        let after = refresh(&lab.arm, &facts, what).await;
        assert_eq!(lab.arm.calls() - before, calls, "{words}: {what:?}");
        assert_eq!((after.at, after.vm.known()), (facts.at, facts.vm.known()));
    }
}

/// Every part says its age, and only what is too old is read again.
#[tokio::test]
async fn parts_grow_old_one_by_one() {
    let lab = Lab::new();
    let clock = lab.arm.clock().clone();
    let limit = std::time::Duration::from_secs(60);
    let facts = collect(&lab.arm, &lab.vm("web-01"), &CollectOptions::default()).await;
    let all = Refresh::VM
        .and(Refresh::COLLECTIONS)
        .and(Refresh::GROUPS)
        .and(Refresh::LOCKS)
        .and(Refresh::BACKUP)
        .and(Refresh::RIGHTS);
    assert!(all.older_than(&facts, limit, clock.now()).is_nothing());
    clock.sleep(std::time::Duration::from_secs(40)).await;
    let facts = refresh(&lab.arm, &facts, Refresh::VM.and(Refresh::JOBS)).await;
    // Reading takes some time too.
    let age = |part| facts.age_of(part, clock.now()).unwrap().as_secs();
    assert!(age(FactPart::Vm) < 10 && age(FactPart::Jobs) < 10, "{} {}", age(FactPart::Vm), age(FactPart::Jobs));
    assert!((40..60).contains(&age(FactPart::Items)), "{}", age(FactPart::Items));
    clock.sleep(std::time::Duration::from_secs(20)).await;
    let old = all.older_than(&facts, limit, clock.now());
    let expected = Refresh { vm: false, jobs: false, backup: false, status: true, ..all.and(Refresh::ITEMS) };
    assert_eq!(old, Refresh { jobs: false, ..expected });
    // What could not be read has no age, and is always too old.
    lab.sim.edit(|world| world.revoke_permission("Microsoft.Authorization/locks/read"));
    let facts = refresh(&lab.arm, &facts, Refresh::LOCKS).await;
    assert_eq!(facts.age_of(FactPart::Locks, clock.now()), None);
    assert!(Refresh::LOCKS.older_than(&facts, limit, clock.now()).locks);
}

/// What is granted at the subscription is taken for granted below only when it covers all that azmend may want there.
#[test]
fn the_actions_at_each_place_are_those_of_the_table() {
    for (place, known) in
        [(Place::Vm, AT_VM), (Place::BackupGroups, AT_GROUP), (Place::Vault, AT_VAULT), (Place::KeyVault, AT_KEY_VAULT)]
    {
        let needs = NEEDS.iter().filter(|need| need.place == place && need.action != EVERY_READ);
        let needs: Vec<&str> = needs.map(|need| need.action).collect();
        for action in &needs {
            assert!(known.iter().any(|one| one.eq_ignore_ascii_case(action)), "{action} at {place}");
        }
        assert_eq!(known.len(), needs.len(), "{place}");
    }
}

/// The embedded Azure, whose lists of jobs are late: they have none yet.
#[derive(Debug)]
struct LateLists(Sim);

#[async_trait]
impl Transport for LateLists {
    async fn send(&self, request: &Request) -> Result<Response, TransportError> {
        let mut response = self.0.send(request).await?;
        if request.url.path().to_lowercase().ends_with("/backupjobs") {
            response.body = r#"{"value":[]}"#.into();
        }
        Ok(response)
    }
}

/// A job that azmend started is known by its own GET, whatever lists say.
#[tokio::test]
async fn an_own_job_is_known_whatever_lists_say() {
    let mut lab = Lab::new();
    let settings = ArmSettings { endpoint: "https://management.azure.com".parse().unwrap(), run_id: RUN.to_owned() };
    let tokens = Arc::new(StaticToken::new("sandbox", "sandbox"));
    let transport = Arc::new(LateLists(lab.sim.clone()));
    lab.arm = Arm::new(transport, tokens, Arc::new(lab.sim.clock()), settings).unwrap();
    let vm = lab.vm("ok-07");
    lab.sim.edit(|world| world.start_job(&vm));
    let world = lab.sim.world();
    let job = world.jobs.iter().find(|job| job.status.is_active() && job.item.name().ends_with("ok-07"));
    let job = job.and_then(Job::id).expect("it runs");
    let running = |facts: &VmFacts| {
        let jobs = facts.active_item().and_then(|item| item.jobs.known()).cloned().unwrap_or_default();
        jobs.iter().filter(|one| one.running()).map(|one| one.id.clone()).collect::<Vec<ResourceId>>()
    };
    let without = collect(&lab.arm, &vm, &CollectOptions::default()).await;
    assert_eq!(running(&without), [], "the list is late");
    let with = CollectOptions { own_jobs: vec![job.clone()], ..CollectOptions::default() };
    let facts = collect(&lab.arm, &vm, &with).await;
    assert_eq!(running(&facts), std::slice::from_ref(&job));
    let again = refresh(&lab.arm, &facts, Refresh::JOBS).await;
    assert_eq!(running(&again), std::slice::from_ref(&job), "and at every refresh");
    assert_eq!(running(&refresh(&lab.arm, &facts, Refresh::EVERYTHING).await), std::slice::from_ref(&job));
    // Not read is not ended.
    lab.fault("GET", job.name(), 1, FaultEffect::MalformedBody);
    let facts = collect(&lab.arm, &vm, &with).await;
    let why = facts.active_item().and_then(|item| item.jobs.unread().map(str::to_owned)).expect("unread");
    assert!(why.contains("that azmend started was not read"), "{why}");
    // Gone for certain is gone.
    lab.sim.edit(|world| world.jobs.retain(|one| one.id().as_ref() != Some(&job)));
    let facts = collect(&lab.arm, &vm, &with).await;
    assert_eq!(running(&facts), []);
    assert!(facts.active_item().is_some_and(|item| item.jobs.known().is_some()));
}
