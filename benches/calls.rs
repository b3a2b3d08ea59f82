//! What the main jobs ask of Azure: calls by purpose and kind of resource, on the built-in estate in this process.
//!
//! `cargo bench --bench calls`. Nothing is timed here: the world's time is virtual. A call takes 50 ms in it, as it does against
//! Azure, and those that are made at once take them together; so what azmend takes of its own is told from what it waits for.
//! `tests/it/calls.rs` holds the totals.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark ends where it goes wrong and prints")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use azmend::arm::{Arm, ArmSettings, CallPurpose, CallRow, StaticToken};
use azmend::clock::elapsed;
use azmend::engine::{Earlier, Listener, Plan, PlanRequest, Planned, Progress, Run, World as PlanWorld, make_plan};
use azmend::facts::resolve_vm;
use azmend::journal::MemoryRun;
use azmend::playbook::library::Library;
use azmend::sim::{Estate, Sim, World};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

#[path = "../tests/it/slow_wire.rs"]
mod slow_wire;

use slow_wire::{SlowWire, WaitCounter};

const RUN: &str = "01930000-0000-7000-8000-000000000001";

/// Adds up the waits by what they are for.
#[derive(Default)]
struct Waits(Mutex<BTreeMap<String, Duration>>);

impl Listener for Waits {
    fn progress(&self, _: Timestamp, progress: &Progress) {
        if let Progress::Waiting { what, wait, .. } = progress {
            *self.0.lock().unwrap().entry(what.clone()).or_default() += *wait;
        }
    }
}

struct Bench {
    sim: Sim,
    arm: Arm,
    clock: Arc<WaitCounter>,
}

impl Bench {
    fn new() -> Self {
        let sim = Sim::new(World::from_estate(&Estate::built_in()));
        let clock = WaitCounter::new(&sim);
        let endpoint = "https://management.azure.com".parse().unwrap();
        let settings = ArmSettings { endpoint, run_id: "bench".to_owned() };
        let tokens = Arc::new(StaticToken::new("sandbox", "sandbox"));
        Self { arm: Arm::new(SlowWire::new(&sim), tokens, clock.clone(), settings).unwrap(), sim, clock }
    }

    /// Finds the VM and plans, as `azmend fix` does.
    async fn plan(&self, playbook: &str, vm: &str, relock: bool) -> Plan {
        let library = Library::shipped();
        let arm = self.arm.for_one_reading();
        let vm = resolve_vm(&arm.for_purpose(CallPurpose::Finding), vm, &[]).await.unwrap();
        let world = PlanWorld {
            sandbox: true,
            cloud: "sandbox".into(),
            endpoint: "https://management.azure.com/".into(),
            tenant: String::new(),
            subscription: vm.subscription().to_owned(),
            subscription_name: String::new(),
            identity: "sandbox".into(),
            estate_digest: "bench".into(),
        };
        let request = PlanRequest {
            playbook: library.find(playbook).unwrap(),
            set: BTreeMap::new(),
            vm,
            overrides: std::collections::BTreeSet::new(),
            named_locks: Vec::new(),
            relock,
            allow_guest: false,
            max_changes: 40,
            world,
            why: None,
            earlier: Earlier::default(),
        };
        match make_plan(&arm.for_purpose(CallPurpose::Planning), &request).await {
            Planned::Plan(plan) => *plan,
            other => panic!("{playbook}: no plan: {other:?}"),
        }
    }
}

/// What to do with a plan.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    Nothing,
    Run,
    RunAndUndo,
}

async fn case(name: &str, playbook: &str, vm: &str, relock: bool, then: Then) {
    let bench = Bench::new();
    let begin = bench.sim.world().now;
    let plan = bench.plan(playbook, vm, relock).await;
    let waits = Arc::new(Waits::default());
    let run = Run {
        arm: bench.arm.with_run_id(RUN),
        log: Arc::new(MemoryRun::new()),
        plan,
        run_id: RUN.to_owned(),
        listener: Arc::clone(&waits) as Arc<dyn Listener>,
        cancel: CancellationToken::new(),
        deadline: None,
        pid: 1,
        earlier: Earlier::default(),
    };
    let mut status = "planned".to_owned();
    if then != Then::Nothing {
        status = format!("{:?}", run.start().await.status);
    }
    if then == Then::RunAndUndo {
        status = format!("{status}, then {:?}", run.undo().await.status);
    }
    let passed = elapsed(begin, bench.sim.world().now);
    print(name, &status, [bench.arm.call_rows(), run.arm.call_rows()].concat());
    print_times(passed, bench.clock.waited(), &waits);
    let all = bench.arm.call_counts() + run.arm.call_counts();
    println!("  {:<44} {:>5}", format!("all: {} reads, {} changes", all.reads, all.changes), all.total());
}

fn print(name: &str, status: &str, rows: Vec<CallRow>) {
    println!("\n{name}: {}", status.to_lowercase());
    let mut merged: BTreeMap<(CallPurpose, String, String), u64> = BTreeMap::new();
    for row in rows {
        *merged.entry((row.purpose, row.kind, row.verb)).or_default() += row.count;
    }
    let mut purposes: BTreeMap<CallPurpose, u64> = BTreeMap::new();
    for ((purpose, ..), count) in &merged {
        *purposes.entry(*purpose).or_default() += count;
    }
    for (purpose, total) in purposes {
        println!("  {purpose:<44} {total:>5}");
        for ((_, kind, verb), count) in merged.iter().filter(|((of, ..), _)| *of == purpose) {
            println!("    {:<42} {count:>5}", format!("{verb} {kind}"));
        }
    }
}

fn print_times(passed: Duration, waited: Duration, waits: &Waits) {
    let line = |what: &str, time: Duration| println!("  {what:<44} {:>7.1} s", time.as_secs_f64());
    line("of its own, at 50 ms a call", passed.saturating_sub(waited));
    line("waited", waited);
    let waits = waits.0.lock().unwrap();
    for (what, wait) in waits.iter() {
        line(&format!("  for {what}"), *wait);
    }
    let told: Duration = waits.values().sum();
    line("  between readings of a lock", waited.saturating_sub(told));
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let limit = "rp-collection-limit";
    case("dry run of rp-collection-limit on web-01", limit, "web-01", false, Then::Nothing).await;
    case("the whole repair with --relock", limit, "web-01", true, Then::Run).await;
    case("delete-stale-collections on db-03", "delete-stale-collections", "db-03", false, Then::Run).await;
    case("unlock-backup-groups on web-01, undone", "unlock-backup-groups", "web-01", false, Then::RunAndUndo).await;
}
