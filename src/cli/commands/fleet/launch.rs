//! A confirmed fleet on its way: each VM locked, recorded, run, recorded again.
//!
//! Invariants: the fleet's record says that a VM begins before its run exists, and is on disk; a run is made and locked as a
//! single `fix` makes it; when the record cannot be written any more nothing else begins; all runs share one client, so
//! one set of token buckets. The sandbox's world is locked once, for all of them.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::super::fix::AUTO;
use super::progress::FleetProgress;
use super::{exit, finish};
use crate::arm::Arm;
use crate::cli::args::FixArgs;
use crate::cli::azure::Azure;
use crate::cli::error::CliError;
use crate::cli::execute::{Session, hold_world};
use crate::cli::interrupt::Interrupts;
use crate::cli::store::{self, short};
use crate::clock::{Clock as _, SystemClock, later};
use crate::engine::fleet::result::FleetResult;
use crate::engine::fleet::{self, Limits, Member, MemberOutcome, Reason};
use crate::engine::launch::{self, new_run_id};
use crate::engine::plan::{Plan, PlanError};
use crate::engine::progress::{Listener, Silent};
use crate::engine::result::Status;
use crate::engine::{Entry, Launch};
use crate::journal::{FLEET_FORMAT, FleetFile, FleetRecord, FleetStage, FleetVm, JournalError, RunFile, State};
use crate::text::plural;

/// No VM begins this shortly before a deadline: it could only pause.
const LAST_CALL: Duration = Duration::from_secs(60);

/// What was confirmed.
pub(super) struct Confirmed<'a> {
    pub fleet: FleetResult,
    pub plans: Vec<Plan>,
    pub limits: Limits,
    pub args: &'a FixArgs,
    pub stop_at: Option<Timestamp>,
}

struct FleetRun<'a> {
    session: &'a Session,
    plans: &'a [Plan],
    state: State,
    file: FleetFile,
    arm: Arm,
    cancel: CancellationToken,
    stop_at: Option<Timestamp>,
    board: Arc<FleetProgress>,
    /// The time of the last id: the short form of ids is their millisecond, so no two may share it.
    last_id: Cell<Timestamp>,
    /// Why the record cannot be written any more.
    broken: Cell<Option<String>>,
}

/// Goes through the waves and shows what came of it.
///
/// # Errors
/// When the record cannot be begun or another azmend works in the same sandbox; nothing was changed then.
pub(super) async fn run_waves(session: &Session, azure: &Azure, orders: Confirmed<'_>) -> Result<u8, CliError> {
    let Confirmed { mut fleet, plans, limits, args, stop_at } = orders;
    let state = store::open(&session.settings).await?;
    let begun = SystemClock.now();
    let id = new_run_id(begun);
    let world = hold_world(azure, &id)?;
    let arm = azure.writer(&id)?;
    let file = FleetFile::create(&state, record(azure, &fleet, &plans, args, &id)).await?;
    session.printer.note(&format!("fleet {}: {}", short(&id), plural(plans.len(), "VM")));
    let cancel = CancellationToken::new();
    let interrupts = Interrupts::listen(cancel.clone(), session.printer.clone());
    let fleet_run = FleetRun {
        session,
        plans: &plans,
        state,
        file,
        arm,
        cancel,
        stop_at,
        board: Arc::new(FleetProgress::new(&session.printer, plans.len())),
        last_id: Cell::new(begun),
        broken: Cell::new(None),
    };
    let members: Vec<Member> = plans.iter().map(Member::of).collect();
    let halt = || fleet_run.halt();
    let outcomes =
        Box::pin(fleet::run_waves(&members, &limits, halt, |index, wave| Box::pin(fleet_run.one(index, wave)))).await;
    drop(interrupts);
    fleet_run.close(&outcomes, &mut fleet).await;
    fleet.fleet_id = Some(id.clone());
    fleet.ended = Some(azure.clock().now());
    fleet.take(&plans, outcomes);
    fleet.conclude(true);
    if let Some(error) = azure.sandbox.as_ref().and_then(|sandbox| sandbox.sim.save_error()) {
        fleet.warnings.push(error);
        fleet.exit_code = exit::worst(fleet.exit_code, exit::PARTIAL);
    }
    fleet.next = next(session, &mut fleet, &id);
    drop(world);
    Ok(finish(session, &fleet))
}

/// What is most urgent. The commands of the single results are made to be of this world too.
pub(super) fn next(session: &Session, fleet: &mut FleetResult, id: &str) -> Option<String> {
    fleet.results.iter_mut().for_each(|result| session.commands_of_this_world(result));
    let of = |status: Status| fleet.results.iter().find(|one| one.status == status);
    if let Some(stuck) = of(Status::Stuck) {
        return stuck.next.clone();
    }
    if fleet.retriable() {
        return Some(format!("{} fix --retry-failed {}", session.program(), short(id)));
    }
    of(Status::Paused).and_then(|paused| paused.next.clone())
}

fn record(azure: &Azure, fleet: &FleetResult, plans: &[Plan], args: &FixArgs, id: &str) -> FleetRecord {
    let (cloud, endpoint) = azure.place();
    let mut beyond: Vec<String> = args.overrides.iter().map(|rule| format!("--override {}", rule.name())).collect();
    beyond.extend(args.locks.iter().map(|lock| format!("--lock {lock}")));
    if args.allow_guest {
        beyond.push("--allow-guest".to_owned());
    }
    FleetRecord {
        format: FLEET_FORMAT.to_owned(),
        id: id.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        retry_of: fleet.retry_of.clone(),
        started: fleet.started.unwrap_or_else(|| azure.clock().now()),
        ended: None,
        sandbox: azure.is_sandbox(),
        cloud: cloud.to_owned(),
        endpoint: endpoint.to_string(),
        estate_digest: azure.estate_digest(),
        playbook: args.playbook.clone().unwrap_or_else(|| AUTO.to_owned()),
        playbooks: args.playbooks.as_ref().map(|dir| dir.display().to_string()),
        set: args.set.iter().map(|(key, value)| format!("{key}={value}")).collect(),
        relock: args.relock,
        beyond,
        scope: fleet.scope.clone(),
        vms: plans
            .iter()
            .map(|plan| FleetVm {
                vm: plan.vm.to_string(),
                playbook: plan.playbook.clone(),
                stage: FleetStage::Waiting,
                run: None,
                status: String::new(),
                why: String::new(),
            })
            .collect(),
    }
}

/// The word of a status or a reason in the record.
fn word(value: impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

impl FleetRun<'_> {
    fn halt(&self) -> Option<Reason> {
        if self.cancel.is_cancelled() {
            return Some(Reason::Interrupted);
        }
        let broken = self.broken.take().or_else(|| self.file.lost());
        let is_broken = broken.is_some();
        self.broken.set(broken);
        if is_broken {
            return Some(Reason::CouldNotBegin);
        }
        let late = self.stop_at.is_some_and(|stop| later(self.arm.clock().now(), LAST_CALL) >= stop);
        late.then_some(Reason::Deadline)
    }

    fn next_id(&self) -> String {
        let now = SystemClock.now().max(later(self.last_id.get(), Duration::from_millis(1)));
        self.last_id.set(now);
        new_run_id(now)
    }

    /// One VM, from its lock to its result.
    async fn one(&self, index: usize, wave: usize) -> MemberOutcome {
        let not_started = |reason, why| MemberOutcome::NotStarted { reason, why };
        let Some(plan) = self.plans.get(index) else {
            return not_started(Reason::CouldNotBegin, "it has no plan".to_owned());
        };
        let outcome = match self.begin(index, plan).await {
            Ok((run_id, log)) => {
                let voice = self.board.begins(plan, &run_id, wave);
                let launch = self.launch(&run_id, Arc::new(voice));
                let result = Box::pin(launch.run(plan.clone(), run_id, log, Entry::Start)).await;
                let status = word(result.status);
                let why = result.error.as_ref().map(|error| error.message.clone()).unwrap_or_default();
                let ended = |one: &mut FleetVm| {
                    (one.stage, one.status, one.why) = (FleetStage::Ended, status, why);
                };
                self.write(self.file.change(index, ended).await);
                MemberOutcome::Ran(Box::new(result))
            }
            Err((reason, why)) => not_started(reason, why),
        };
        self.board.ended(plan, &outcome);
        outcome
    }

    /// What a run is launched with. The world of the sandbox is held by the fleet itself.
    fn launch(&self, run_id: &str, listener: Arc<dyn Listener>) -> Launch<'_> {
        Launch {
            state: &self.state,
            arm: self.arm.with_run_id(run_id),
            listener,
            cancel: self.cancel.clone(),
            deadline: self.stop_at,
        }
    }

    /// Locks the VM, writes down that it begins, and makes its run. Nothing was sent when this fails.
    async fn begin(&self, index: usize, plan: &Plan) -> Result<(String, RunFile), (Reason, String)> {
        let could_not = |why: String| (Reason::CouldNotBegin, why);
        plan.check(self.arm.clock().now(), &plan.world).map_err(|error| match error {
            PlanError::Expired(_) => (Reason::Expired, error.to_string()),
            _ => could_not(error.to_string()),
        })?;
        let run_id = self.next_id();
        let launch = self.launch(&run_id, Arc::new(Silent));
        let locks = launch.lock(plan, &run_id).await.map_err(|error| could_not(error.to_string()))?;
        let begun = |one: &mut FleetVm| (one.stage, one.run) = (FleetStage::Begun, Some(run_id.clone()));
        let written = self.file.change(index, begun).await;
        if let Err(error) = written {
            self.broken.set(Some(error.to_string()));
            return Err(could_not(format!("the fleet's record could not be written: {error}")));
        }
        match launch::create(&self.state, plan, &run_id).await {
            Ok(log) => {
                log.adopt(locks);
                Ok((run_id, log))
            }
            Err(error) => {
                let not = |one: &mut FleetVm| (one.stage, one.run) = (FleetStage::NotStarted, None);
                self.write(self.file.change(index, not).await);
                Err(could_not(error.to_string()))
            }
        }
    }

    /// Nothing else begins when the record cannot be written any more.
    fn write(&self, written: Result<(), JournalError>) {
        if let Err(error) = written {
            self.broken.set(Some(error.to_string()));
        }
    }

    /// Writes down what was not started, and the end.
    async fn close(&self, outcomes: &[MemberOutcome], fleet: &mut FleetResult) {
        let ended = self.arm.clock().now();
        let left = outcomes.iter().enumerate().filter_map(|(index, outcome)| match outcome {
            MemberOutcome::NotStarted { reason, why } => Some((index, word(reason), why.clone())),
            MemberOutcome::Ran(_) => None,
        });
        self.write(self.file.end(left.collect(), ended).await);
        if let Some(why) = self.broken.take() {
            let text = format!("{why}; what each run did is in its own journal");
            self.session.printer.warn(&text);
            fleet.warnings.push(text);
        }
    }
}
