//! A laboratory: the embedded Azure, the gateway over it, and runs with a journal in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock, Mutex};

use async_trait::async_trait;
use azmend::actions::change::{ChangeKind, Override};
use azmend::actions::guest::SetGuest;
use azmend::actions::job::CancelJob;
use azmend::actions::keyvault::{AssignKeyRole, GrantKeyAccess};
use azmend::actions::locks::RemoveLock;
use azmend::actions::points::{DeleteCollection, DeletePoint};
use azmend::actions::protection::{EnableProtection, ResumeProtection};
use azmend::actions::vm::ReapplyVm;
use azmend::arm::{Arm, ArmSettings, ResourceId, StaticToken};
use azmend::clock::Clock;
use azmend::engine::audit::{Ask as AuditAsk, Audit, Level, audit};
use azmend::engine::{Listener, Plan, PlanRequest, Planned, Progress, Run, RunResult, World as PlanWorld, make_plan};
use azmend::facts::bulk::{self, Selection};
use azmend::facts::inventory::Visible;
use azmend::journal::{AppendError, Event, Record, RunLog};
use azmend::playbook::Playbook;
use azmend::playbook::library::Library;
use azmend::sim::{Estate, Fault, FaultEffect, FaultMatch, Protection, Sim, World};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::wire::contract::{CONTRACTS, Sent};
use crate::wire::requests::Strict;

/// The subscription of most of the built-in estate.
pub const SUB: &str = "5b1c0de0-0000-4000-8000-000000000001";
/// A run id that never changes.
pub const RUN: &str = "01930000-0000-7000-8000-000000000001";

/// Read once: parsing it takes longer than many a test.
static LIBRARY: LazyLock<Library> = LazyLock::new(Library::shipped);

/// The embedded Azure and a way to it.
pub struct Lab {
    pub sim: Sim,
    pub arm: Arm,
    library: &'static Library,
}

/// What an audit is asked for: everything that can be found.
pub fn everything() -> AuditAsk {
    AuditAsk {
        rules: Vec::new(),
        codes: Vec::new(),
        min: Level::Info,
        fail_on: Some(Level::Medium),
        program: "azmend".into(),
        scope: "all".into(),
        sandbox: true,
    }
}

/// How many seeds a test takes: all of them with `AZMEND_FULL=1`, a part of them otherwise.
pub fn seeds(part: u64, all: u64) -> std::ops::Range<u64> {
    0..if std::env::var_os("AZMEND_FULL").is_some() { all } else { part }
}

/// What a plan is asked for with.
#[derive(Debug, Default, Clone)]
pub struct Ask {
    pub set: Vec<(&'static str, &'static str)>,
    pub overrides: Vec<Override>,
    pub locks: Vec<String>,
    pub relock: bool,
    pub allow_guest: bool,
    pub max_changes: Option<usize>,
}

impl Lab {
    /// Every subscription, none of them left out.
    pub async fn visible(&self) -> Visible {
        let all = self.arm.subscriptions().await.unwrap().items;
        Visible { chosen: all.clone(), all, malformed: Vec::new() }
    }

    /// An audit of everything.
    pub async fn audited(&self, selection: &Selection) -> Audit {
        let (bulk, deep) = bulk::read(&self.arm, &self.visible().await, selection, None).await.unwrap();
        audit(&Library::shipped(), &bulk, &deep, &everything(), bulk.at, self.arm.calls())
    }

    /// The built-in estate.
    pub fn new() -> Self {
        Self::on(World::from_estate(&Estate::built_in()))
    }

    /// A world.
    pub fn on(world: World) -> Self {
        let sim = Sim::new(world);
        let arm = Self::arm_over(&sim);
        Self { sim, arm, library: &LIBRARY }
    }

    /// An estate written in YAML.
    pub fn of(yaml: &str) -> Self {
        match Estate::parse(yaml, "test.yaml") {
            Ok(estate) => Self::on(World::from_estate(&estate)),
            Err(errors) => panic!("{}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")),
        }
    }

    fn arm_over(sim: &Sim) -> Arm {
        let clock: Arc<dyn Clock> = Arc::new(sim.clock());
        let settings =
            ArmSettings { endpoint: "https://management.azure.com".parse().unwrap(), run_id: RUN.to_owned() };
        let transport = Arc::new(Strict(sim.clone()));
        Arm::new(transport, Arc::new(StaticToken::new("sandbox", "sandbox")), clock, settings).unwrap()
    }

    pub fn playbook(&self, name: &str) -> &Playbook {
        self.library.find(name).unwrap()
    }

    pub fn world(&self) -> PlanWorld {
        PlanWorld {
            sandbox: true,
            cloud: "sandbox".into(),
            endpoint: "https://management.azure.com/".into(),
            tenant: String::new(),
            subscription: SUB.into(),
            subscription_name: String::new(),
            identity: "sandbox".into(),
            estate_digest: "test".into(),
        }
    }

    /// The id of the VM of this name.
    pub fn vm(&self, name: &str) -> ResourceId {
        if name.starts_with('/') {
            return ResourceId::parse(name).unwrap();
        }
        self.sim.world().vm_named(name).unwrap_or_else(|| panic!("no VM {name}")).id.clone()
    }

    pub async fn plan(&self, playbook: &str, vm: &str, ask: &Ask) -> Planned {
        make_plan(&self.arm, &self.request(playbook, vm, ask)).await
    }

    /// What a plan is asked for.
    pub fn request<'a>(&'a self, playbook: &str, vm: &str, ask: &Ask) -> PlanRequest<'a> {
        PlanRequest {
            playbook: self.playbook(playbook),
            set: ask.set.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<BTreeMap<_, _>>(),
            vm: self.vm(vm),
            overrides: ask.overrides.iter().copied().collect::<BTreeSet<_>>(),
            named_locks: ask.locks.iter().map(|id| ResourceId::parse(id).unwrap()).collect(),
            relock: ask.relock,
            allow_guest: ask.allow_guest,
            max_changes: ask.max_changes.unwrap_or(40),
            world: self.world(),
            why: None,
            earlier: azmend::engine::Earlier::default(),
        }
    }

    /// The plan, or a panic that shows why there is none.
    pub async fn planned(&self, playbook: &str, vm: &str, ask: &Ask) -> Plan {
        match self.plan(playbook, vm, ask).await {
            Planned::Plan(plan) => *plan,
            other => panic!("no plan: {other:#?}"),
        }
    }

    /// As [`Self::planned`], and read again from its text: what it was made from is not in there, so a run reads all again.
    pub async fn planned_and_saved(&self, playbook: &str, vm: &str, ask: &Ask) -> Plan {
        Plan { facts: None, ..self.planned(playbook, vm, ask).await }
    }

    pub fn run(&self, plan: &Plan, log: &Arc<TestLog>) -> Run {
        Run {
            arm: self.arm.clone(),
            log: Arc::clone(log) as Arc<dyn RunLog>,
            plan: plan.clone(),
            run_id: RUN.to_owned(),
            listener: Arc::new(Diary::default()),
            cancel: CancellationToken::new(),
            deadline: None,
            pid: 1,
            earlier: azmend::engine::Earlier::default(),
        }
    }

    /// Plans and runs.
    pub async fn fix(&self, playbook: &str, vm: &str, ask: &Ask) -> (RunResult, Plan, Arc<TestLog>) {
        let plan = self.planned(playbook, vm, ask).await;
        let log = Arc::new(TestLog::default());
        let result = self.run(&plan, &log).start().await;
        (result, plan, log)
    }

    /// The mutating requests so far: verb and path.
    pub fn mutations(&self) -> Vec<String> {
        self.sim
            .log()
            .into_iter()
            .filter(|exchange| exchange.mutating)
            .map(|exchange| format!("{} {}", exchange.method, exchange.path))
            .collect()
    }
}

/// Checks every request that the embedded Azure of a laboratory has served against the published contracts. (The
/// laboratory's own client is checked at every request; this is for whoever came another way.)
pub fn check_requests(lab: &Lab) {
    for exchange in lab.sim.log() {
        let (method, path, query, body) = (exchange.method, exchange.path, exchange.query, exchange.body);
        let sent = Sent { method, path, query, body };
        if let Err(wrong) = CONTRACTS.request(&sent) {
            panic!("{} {}: {}", sent.method, sent.path, wrong.join("; "));
        }
    }
}

/// What the engine said.
#[derive(Default)]
pub struct Diary {
    pub lines: Mutex<Vec<String>>,
}

impl Listener for Diary {
    fn progress(&self, at: Timestamp, progress: &Progress) {
        let line = match progress {
            Progress::Settled { change, outcome } => format!("{at} {change}: {} {}", outcome.word(), outcome.detail()),
            other => format!("{at} {other:?}"),
        };
        if std::env::var_os("AZMEND_TEST_TRACE").is_some() {
            eprintln!("{line}");
        }
        self.lines.lock().unwrap().push(line);
    }
}

/// A journal in memory that can fail.
#[derive(Debug, Default)]
pub struct TestLog {
    records: Mutex<Vec<Record>>,
    /// Appends that succeed before all others fail.
    pub fail_after: Mutex<Option<usize>>,
}

impl TestLog {
    pub fn with(records: Vec<Record>) -> Self {
        Self { records: Mutex::new(records), fail_after: Mutex::new(None) }
    }

    pub fn failing_after(n: usize) -> Self {
        Self { records: Mutex::default(), fail_after: Mutex::new(Some(n)) }
    }
}

#[async_trait]
impl RunLog for TestLog {
    async fn append(&self, at: Timestamp, event: Event) -> Result<Record, AppendError> {
        let mut records = self.records.lock().unwrap();
        if self.fail_after.lock().unwrap().is_some_and(|n| records.len() >= n) {
            return Err(AppendError {
                path: "journal.jsonl".into(),
                why: "no space left on device".into(),
                passes: false,
            });
        }
        let record = Record { seq: records.len() as u64 + 1, at, event };
        records.push(record.clone());
        Ok(record)
    }

    fn records(&self) -> Vec<Record> {
        self.records.lock().unwrap().clone()
    }
}

/// The outcome words of a result, in order.
pub fn outcomes(result: &RunResult) -> Vec<&str> {
    result.changes.iter().map(|change| change.outcome.as_str()).collect()
}

/// What makes a run another than the plain one.
#[derive(Default)]
pub struct How {
    pub cancel: Option<CancellationToken>,
    pub deadline: Option<Timestamp>,
}

impl Lab {
    pub async fn run_how(&self, plan: &Plan, log: &Arc<TestLog>, how: How) -> RunResult {
        let mut run = self.run(plan, log);
        run.cancel = how.cancel.unwrap_or_default();
        run.deadline = how.deadline;
        run.start().await
    }

    /// Something goes wrong with the nth request of this kind.
    pub fn fault(&self, method: &str, path_contains: &str, nth: u32, effect: FaultEffect) {
        self.sim.edit(|world| {
            world.faults.push(Fault {
                id: format!("test-{}", world.faults.len()),
                when: FaultMatch {
                    method: Some(method.to_owned()),
                    path_contains: Some(path_contains.to_owned()),
                    nth: Some(nth),
                    times: None,
                },
                effect,
                seen: 0,
                fired: 0,
            });
        });
    }

    /// The locks of the world: names, sorted.
    pub fn locks(&self) -> Vec<String> {
        let mut names: Vec<String> = self.sim.world().locks.iter().map(|lock| lock.id.name().to_owned()).collect();
        names.sort();
        names
    }

    /// Succeeded points of the VM.
    pub fn points(&self, vm: &str) -> usize {
        self.sim.world().succeeded_points(&self.vm(vm))
    }

    /// The report says what a look at the world says: what succeeded is so, what was not done is not.
    pub fn agrees(&self, plan: &Plan, result: &RunResult) {
        let world = self.sim.world();
        assert!(result.sandbox);
        assert_eq!(plan.changes().count(), result.changes.len());
        for ((_, change), said) in plan.changes().zip(&result.changes) {
            let done = matches!(said.outcome.as_str(), "succeeded" | "already_done");
            let untouched = matches!(said.outcome.as_str(), "not_run" | "skipped");
            let stands = match &change.what {
                ChangeKind::RemoveLock(RemoveLock { lock }) => {
                    let restored = result.locks_removed.iter().any(|l| l.restored && l.id == lock.id.to_string());
                    if restored {
                        assert!(world.locks.iter().any(|now| now.id == lock.id), "{said:?}");
                        continue;
                    }
                    let stands = world.locks.iter().any(|now| now.id == lock.id);
                    // Somebody put it back: then the report says so.
                    if done && stands {
                        let said = format!("the lock {} stands again", lock.id.name());
                        assert!(result.warnings.iter().any(|text| text.contains(&said)), "{result:#?}");
                        continue;
                    }
                    stands
                }
                ChangeKind::DeleteCollection(DeleteCollection { collection, .. }) => {
                    world.collection(&collection.id).is_some()
                }
                ChangeKind::DeletePoint(DeletePoint { point, .. }) => world.collections.iter().any(|collection| {
                    collection
                        .points
                        .iter()
                        .any(|now| now.name == point.id.name() && point.id.key().starts_with(collection.id.key()))
                }),
                ChangeKind::UninstallExtension(_)
                | ChangeKind::StartBackup(_)
                | ChangeKind::AwaitJob(_)
                | ChangeKind::RestartVm(_) => continue,
                ChangeKind::CancelJob(CancelJob { job, .. }) => {
                    let runs = world.job(job.name()).is_some_and(|job| job.status.is_active());
                    assert!(!(done && runs), "said to be cancelled, and runs: {said:?}");
                    continue;
                }
                ChangeKind::ReapplyVm(ReapplyVm { vm, .. }) => {
                    let failed = world.vm(vm).is_some_and(|vm| !vm.provisioned);
                    assert!(!(done && failed), "said to be applied, and failed: {said:?}");
                    continue;
                }
                ChangeKind::ResumeProtection(ResumeProtection { item, .. })
                | ChangeKind::EnableProtection(EnableProtection { item, .. }) => {
                    world.item(item).is_none_or(|now| matches!(now.protection, Protection::Stopped))
                }
                ChangeKind::SetGuest(SetGuest { vm, setting, .. }) => !crate::guest::is_set(&world, vm, setting),
                ChangeKind::GrantKeyAccess(GrantKeyAccess { vault, principal, missing, .. }) => {
                    let vault = world.key_vaults.iter().find(|now| now.id == *vault);
                    let own =
                        vault.and_then(|vault| vault.policies.iter().find(|policy| policy.principal == *principal));
                    own.is_none_or(|own| missing.secrets.iter().any(|word| !own.permissions.secrets.contains(word)))
                }
                ChangeKind::AssignKeyRole(AssignKeyRole { assignment, .. }) => {
                    !world.role_assignments.iter().any(|role| role.id == *assignment)
                }
            };
            if done {
                assert!(!stands, "said to be done, and stands: {said:?}");
            } else if untouched {
                assert!(stands, "said to be untouched, and gone: {said:?}");
            }
        }
        if let Some(after) = &result.after
            && result.not_read.is_empty()
        {
            let vm = ResourceId::parse(result.vm.as_ref().unwrap()).unwrap();
            assert_eq!(after.points.count, world.succeeded_points(&vm) as i64);
        }
    }

    /// The requests that change something, restorations of locks left out.
    pub fn sent(&self) -> usize {
        self.mutations().iter().filter(|line| !line.starts_with("PUT ")).count()
    }
}
