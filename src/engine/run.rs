//! Runs a plan: its steps in order, each change by the driver; resume and undo enter here from a journal.
//!
//! Invariants: nothing is sent without its intent on disk (S2), nothing that is not in the plan (S3), no success that was
//! not read (S4). A record is applied to a copy of the state first and written only if it fits, so that no run writes what
//! it could not read back. A run that stops for any reason leaves a journaled state from which [`Run::resume`] goes on and
//! [`Run::undo`] goes back.
//! Must never: repeat a request without reading again, or give up a removed lock silently.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::driver::{Task, plain};
use super::earlier::Earlier;
use super::owed::Locks;
use super::plan::{Decision, OnFailure, Plan, PlannedStep, StepOutcome};
use super::progress::{Listener, Progress};
use super::result::RunResult;
use super::state::{ChangeState, IllegalRecord, Phase, RunPhase, RunState};
use super::step::End;
use crate::actions::ChangeKind;
use crate::actions::change::Change;
use crate::actions::outcome::Outcome;
use crate::arm::{Arm, CallPurpose};
use crate::clock::{elapsed, later};
use crate::estate::facts::VmFacts;
use crate::journal::{AppendError, EndKind, Event, FORMAT, PauseReason, Purpose, Record, RunLog, StepEnd};

/// Kept free at the end of a deadline for putting locks back.
const RELOCK_RESERVE: Duration = Duration::from_secs(180);
/// Kept free for the last reading and the result.
const FINISH_RESERVE: Duration = Duration::from_secs(30);
/// When to come back after an interruption or a deadline.
const SOON: Duration = Duration::from_secs(60);

/// A plan with everything it is run with.
#[derive(Clone)]
pub struct Run {
    /// The typed calls, with the run's id in their User-Agent.
    pub arm: Arm,
    /// Where every step is written first.
    pub log: Arc<dyn RunLog>,
    /// The plan.
    pub plan: Plan,
    /// UUIDv7.
    pub run_id: String,
    /// Who watches.
    pub listener: Arc<dyn Listener>,
    /// Ctrl-C, SIGTERM.
    pub cancel: CancellationToken,
    /// When the run must have stopped.
    pub deadline: Option<Timestamp>,
    /// Process id for the journal.
    pub pid: u32,
    /// What earlier runs of this machine did.
    pub earlier: Earlier,
}

/// Why a run does not go on.
#[derive(Debug)]
pub(super) enum Halt {
    /// It can be resumed.
    Pause {
        /// Why.
        why: PauseReason,
        /// A sentence.
        detail: String,
        /// What to do meanwhile.
        hint: Option<String>,
        /// When to come back.
        wait: Duration,
    },
    /// The journal cannot be written: nothing more is sent.
    Log(AppendError),
    /// The record does not fit the run so far: a bug, or an edited journal. It was not written.
    Illegal(IllegalRecord),
}

impl fmt::Display for Halt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pause { detail, .. } => f.write_str(detail),
            Self::Log(error) => error.fmt(f),
            Self::Illegal(error) => error.fmt(f),
        }
    }
}

impl From<AppendError> for Halt {
    fn from(error: AppendError) -> Self {
        Self::Log(error)
    }
}

/// Why the steps are over.
#[derive(Debug)]
pub(super) enum StepsEnd {
    /// All steps were gone through.
    Done,
    /// A change stopped the run.
    Stopped,
    /// See [`Halt`].
    Halted(Halt),
}

/// A run in progress.
pub(super) struct Session<'a> {
    pub(super) run: &'a Run,
    /// The run's client, whose calls are counted for what the run does now.
    pub(super) arm: Arm,
    pub(super) state: RunState,
    pub(super) facts: Option<VmFacts>,
    pub(super) warnings: Vec<String>,
    pub(super) started: Timestamp,
    /// Number of the last record.
    seq: u64,
    /// Why the records do not fit each other: then only locks are restored.
    damaged: Option<IllegalRecord>,
}

impl Run {
    /// Runs the plan from its beginning.
    pub async fn start(&self) -> RunResult {
        let mut session = self.session(RunState::new(&self.plan), None);
        session.facts = self.plan.facts.as_deref().cloned();
        let event = Event::Started {
            format: FORMAT,
            run: self.run_id.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            plan_hash: self.plan.hash.clone(),
            pid: self.pid,
        };
        let end = match session.record(event) {
            Ok(()) => Box::pin(session.steps()).await,
            Err(halt) => StepsEnd::Halted(halt),
        };
        Box::pin(session.finish(end)).await
    }

    /// Goes on where the journal ends, unless the run is over or too old to go on deleting
    /// ([`super::resume_check`]).
    pub async fn resume(&self) -> RunResult {
        let state = match RunState::fold(&self.plan, &self.log.records()) {
            Ok(state) => state,
            Err(illegal) => return self.session(RunState::new(&self.plan), None).illegal(&illegal),
        };
        if let Err(why) = super::resume_check(&self.plan, &state, self.arm.clock().now()) {
            return self.session(state, None).not_resumed(&why);
        }
        let undoing = matches!(state.phase, RunPhase::Undoing | RunPhase::Paused { undoing: true, .. });
        let mut session = self.session(state, None);
        let event = Event::Resumed { version: env!("CARGO_PKG_VERSION").to_owned(), pid: self.pid };
        if let Err(halt) = session.record(event) {
            return Box::pin(session.finish(StepsEnd::Halted(halt))).await;
        }
        if undoing {
            return Box::pin(session.undo()).await;
        }
        let end = match Box::pin(session.unlock_again()).await {
            Ok(true) => Box::pin(session.steps()).await,
            Ok(false) => StepsEnd::Stopped,
            Err(halt) => StepsEnd::Halted(halt),
        };
        Box::pin(session.finish(end)).await
    }

    /// Undoes what can be undone. From a journal whose records do not fit each other the locks are restored all the same.
    pub async fn undo(&self) -> RunResult {
        let (records, salvaged) = (self.log.records(), self.log.salvaged());
        let folded = match salvaged.first() {
            None => RunState::fold(&self.plan, &records),
            Some(first) => Err(IllegalRecord { seq: first.seq, why: "the journal is damaged before it".to_owned() }),
        };
        let state = match folded {
            Ok(state) => state,
            Err(illegal) => {
                let locks = Locks::of(records.iter().chain(&salvaged));
                let state = RunState { locks, ..RunState::new(&self.plan) };
                let mut session = self.session(state, Some(illegal.clone()));
                let restored = Box::pin(session.restore_from_records()).await;
                return session.restored_from_damage(&illegal, restored);
            }
        };
        let mut session = self.session(state, None);
        if let Err(halt) = session.record(Event::UndoStarted { pid: self.pid }) {
            // The locks come back all the same; nothing else is sent without a journal (S2).
            session.state.phase = RunPhase::Undoing;
            return Box::pin(session.finish(StepsEnd::Halted(halt))).await;
        }
        Box::pin(session.undo()).await
    }

    fn session(&self, state: RunState, damaged: Option<IllegalRecord>) -> Session<'_> {
        let seq = self.log.records().last().map_or(0, |record| record.seq);
        let started = self.arm.clock().now();
        let arm = self.arm.for_purpose(CallPurpose::Guard);
        Session { run: self, arm, state, facts: None, warnings: Vec::new(), started, seq, damaged }
    }
}

impl Session<'_> {
    /// From now on calls are counted for this purpose.
    pub(super) fn calls_are_for(&mut self, purpose: CallPurpose) {
        self.arm = self.run.arm.for_purpose(purpose);
    }

    pub(super) fn now(&self) -> Timestamp {
        self.arm.clock().now()
    }

    pub(super) fn tell(&self, progress: &Progress) {
        self.run.listener.progress(self.now(), progress);
    }

    /// Writes one record, if it fits; nothing may follow when this fails (S2).
    pub(super) fn record(&mut self, event: Event) -> Result<(), Halt> {
        let at = self.now();
        let record = Record { seq: self.seq + 1, at, event };
        let next = self.after(&record)?;
        let written = self.run.log.append(at, record.event)?;
        self.seq = written.seq;
        self.state = next;
        Ok(())
    }

    /// The state after a record that is not written yet.
    fn after(&self, record: &Record) -> Result<RunState, Halt> {
        let mut next = self.state.clone();
        if self.damaged.is_some() {
            next.locks.apply(&record.event);
        } else {
            next.apply(record).map_err(Halt::Illegal)?;
        }
        Ok(next)
    }

    /// Journals what concerns an undoing. When that fails the undoing goes on without, and the result says so.
    pub(super) fn record_all_the_same(&mut self, event: Event) {
        let Err(halt) = self.record(event.clone()) else { return };
        // The state goes on without the disk, so that the result is right.
        let record = Record { seq: self.seq + 1, at: self.now(), event };
        match self.after(&record) {
            Ok(next) => self.state = next,
            Err(_) => self.state.locks.apply(&record.event),
        }
        let warning = format!("{halt}; locks are still restored");
        if !self.warnings.contains(&warning) {
            self.warn(warning);
        }
    }

    pub(super) fn warn(&mut self, text: String) {
        self.tell(&Progress::Warning { text: text.clone() });
        self.warnings.push(text);
    }

    /// Stops here when asked to, or when `ahead` would not fit before the deadline.
    pub(super) fn pause_point(&self, ahead: Duration) -> Result<(), Halt> {
        let pause = |why, detail: &str, wait| Err(Halt::Pause { why, detail: detail.to_owned(), hint: None, wait });
        if self.run.cancel.is_cancelled() {
            return pause(PauseReason::Interrupted, "azmend was interrupted", Duration::ZERO);
        }
        if let Some(deadline) = self.run.deadline {
            let reserve = if self.run.plan.relock && !self.state.locks_off().is_empty() {
                RELOCK_RESERVE
            } else {
                FINISH_RESERVE
            };
            if later(later(self.now(), ahead), reserve) > deadline {
                return pause(PauseReason::Deadline, "the deadline has passed", SOON);
            }
        }
        Ok(())
    }

    /// Waits, unless interrupted.
    pub(super) async fn wait(&self, what: &str, wait: Duration) -> Result<(), Halt> {
        self.pause_point(wait)?;
        self.tell(&Progress::Waiting { what: what.to_owned(), wait, since: self.now() });
        tokio::select! {
            biased;
            () = self.run.cancel.cancelled() => {}
            () = self.arm.clock().sleep(wait) => {}
        }
        self.pause_point(Duration::ZERO)
    }

    /// When a lock over this VM's restore points was last removed, by this run or another one of this machine.
    pub(super) fn unlocked(&self) -> Option<Timestamp> {
        let own = self.run.plan.changes().filter_map(|(_, change)| {
            let ChangeKind::RemoveLock(_) = &change.what else { return None };
            let state = self.state.changes.get(&change.id).filter(|state| state.may_have_effect())?;
            state.ended_at
        });
        own.chain(self.unlocked_before()).max()
    }

    fn unlocked_before(&self) -> impl Iterator<Item = Timestamp> {
        let collections = self.facts.as_ref().and_then(|facts| facts.collections.known());
        self.run
            .earlier
            .unlockings
            .iter()
            // What was not read is not known to be elsewhere.
            .filter(move |one| collections.is_none_or(|all| all.iter().any(|each| one.scope.covers(&each.id))))
            .map(|one| one.at)
    }

    /// When other runs of this machine removed locks over the resource of this change.
    pub(super) fn unlocked_before_over(&self, change: &Change) -> impl Iterator<Item = Timestamp> {
        let resource = change.resource().clone();
        self.run.earlier.unlockings.iter().filter(move |one| one.scope.covers(&resource)).map(|one| one.at)
    }

    /// Locks that were restored when the run paused are removed again before it goes on. `Ok(false)`: one could not be.
    async fn unlock_again(&mut self) -> Result<bool, Halt> {
        let open = |phase: &Phase| !matches!(phase, Phase::Idle | Phase::Ended(_));
        let changes: Vec<(PlannedStep, Change)> =
            self.run.plan.changes().map(|(step, change)| (step.clone(), change.clone())).collect();
        // A process that died while it restored a lock left that open: it is finished first, so that nobody takes our own
        // request for somebody else's later.
        for (_, change) in &changes {
            let state = self.state.changes.get(&change.id);
            if state.is_some_and(|state| state.back_purpose == Some(Purpose::Relock) && open(&state.back)) {
                Box::pin(self.drive(Task { change, purpose: Purpose::Relock, step: None })).await?;
            }
        }
        // One that died while it removed a lock again left the change open although its step is over.
        for (step, change) in &changes {
            let over = self.state.steps_ended.contains_key(&step.id);
            let state = self.state.changes.get(&change.id);
            if over && state.is_some_and(|state| open(&state.forward)) && !self.unlock(step, change).await? {
                return Ok(false);
            }
        }
        if !self.unfinished() {
            return Ok(true);
        }
        for (step, change) in &changes {
            if self.state.changes.get(&change.id).is_some_and(super::state::ChangeState::restored) {
                self.tell(&Progress::Change { change: Box::new(change.clone()) });
                if !self.unlock(step, change).await? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    async fn unlock(&mut self, step: &PlannedStep, change: &Change) -> Result<bool, Halt> {
        let end = Box::pin(self.drive(Task { change, purpose: Purpose::Do, step: Some(step) })).await?;
        Ok(matches!(end, End::Outcome(outcome) if outcome.holds()))
    }

    fn unfinished(&self) -> bool {
        self.state.changes.values().any(|state| !matches!(state.forward, Phase::Ended(_)))
    }

    /// Goes through the steps in order.
    async fn steps(&mut self) -> StepsEnd {
        let steps = self.run.plan.steps.clone();
        let of = steps.len();
        for (index, step) in steps.iter().enumerate() {
            if self.state.steps_ended.contains_key(&step.id) {
                continue;
            }
            match Box::pin(self.step(step, index + 1, of)).await {
                Ok(true) => {}
                Ok(false) => return StepsEnd::Stopped,
                Err(halt) => return StepsEnd::Halted(halt),
            }
        }
        StepsEnd::Done
    }

    /// One step. `Ok(false)`: the run ends here.
    async fn step(&mut self, step: &PlannedStep, number: usize, of: usize) -> Result<bool, Halt> {
        if let Decision::Off { why } = &step.decision {
            return self.step_off(step, why.clone());
        }
        if !self.state.steps_started.contains_key(&step.id) {
            self.pause_point(Duration::ZERO)?;
            if let Some(why) = self.not_after(step) {
                for change in &step.changes {
                    self.skip(change, &why)?;
                }
                return self.step_off(step, why);
            }
            self.record(Event::StepStarted { step: step.id.clone() })?;
        }
        self.tell(&Progress::Step { id: step.id.clone(), number, of, changes: step.changes.len() });
        for change in &step.changes {
            if self.state.changes.get(&change.id).is_some_and(|state| matches!(state.forward, Phase::Ended(_))) {
                continue;
            }
            self.tell(&Progress::Change { change: Box::new(change.clone()) });
            let task = Task { change, purpose: Purpose::Do, step: Some(step) };
            let End::Outcome(outcome) = Box::pin(self.drive(task)).await? else { continue };
            let goes_on = outcome.holds()
                || matches!(outcome, Outcome::Skipped { .. })
                || (step.on_failure == OnFailure::Continue && !matches!(outcome, Outcome::Unknown { .. }));
            if !goes_on {
                let why = outcome.detail();
                self.record(Event::StepEnded { step: step.id.clone(), how: StepEnd::Stopped, why })?;
                return Ok(false);
            }
        }
        self.record(Event::StepEnded { step: step.id.clone(), how: StepEnd::Done, why: String::new() })?;
        Ok(true)
    }

    fn step_off(&mut self, step: &PlannedStep, why: String) -> Result<bool, Halt> {
        self.tell(&Progress::StepOff { id: step.id.clone(), why: why.clone() });
        self.record(Event::StepEnded { step: step.id.clone(), how: StepEnd::Off, why })?;
        Ok(true)
    }

    fn skip(&mut self, change: &Change, why: &str) -> Result<(), Halt> {
        // After a crash between two of these records the first ones are there already.
        if self.state.changes.get(&change.id).is_some_and(|state| matches!(state.forward, Phase::Ended(_))) {
            return Ok(());
        }
        let outcome = Outcome::Skipped { why: why.to_owned() };
        self.tell(&Progress::Settled { change: change.id.clone(), outcome });
        let mut ending = plain(EndKind::Skipped, why.to_owned());
        ending.effect = Some(crate::journal::Effect::None);
        self.record(Event::Ended { change: change.id.clone(), purpose: Purpose::Do, ending })
    }

    /// Why a step does not run: an earlier one that it names in `after` ended otherwise.
    fn not_after(&self, step: &PlannedStep) -> Option<String> {
        step.held_back(|id| self.step_outcome(id))
    }

    /// How a step ended; `None` when it has not. A change without an ending did not succeed.
    pub(super) fn step_outcome(&self, id: &str) -> Option<StepOutcome> {
        let step = self.run.plan.steps.iter().find(|step| step.id == id)?;
        let (how, _) = self.state.steps_ended.get(id)?;
        let ending = |change: &Change| self.state.changes.get(&change.id).and_then(ChangeState::outcome);
        let outcome_of = |change| match ending(change) {
            Some(EndKind::Succeeded | EndKind::AlreadyDone) => StepOutcome::Succeeded,
            Some(EndKind::Skipped | EndKind::NotNeeded | EndKind::Irreversible) => StepOutcome::Skipped,
            Some(EndKind::Refused) => StepOutcome::Refused,
            Some(EndKind::Failed | EndKind::Unknown) | None => StepOutcome::Failed,
        };
        Some(step.outcome(*how != StepEnd::Off, step.changes.iter().map(outcome_of)))
    }

    /// How long the step has been running.
    pub(super) fn step_age(&self, step: &PlannedStep) -> Duration {
        self.state.steps_started.get(&step.id).map_or(Duration::ZERO, |at| elapsed(*at, self.now()))
    }
}
