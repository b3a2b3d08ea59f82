//! Runs a plan: per change re-read, guard, journal the intent, send once, poll, verify, journal the outcome.
//!
//! Invariants: nothing is sent without its intent on disk (S2), nothing that is not in the plan (S3), no success that
//! was not read (S4). A run that stops for any reason leaves a journaled state from which [`Run::resume`] goes on and
//! [`Run::undo`] goes back. Must never: retry a request without reading again, or give up a removed lock silently.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::plan::{Decision, OnFailure, Plan, PlannedStep};
use super::progress::{Listener, Progress};
use super::result::RunResult;
use super::state::{IllegalRecord, Phase, RunPhase, RunState};
use crate::actions::change::{Change, Outcome};
use crate::arm::Arm;
use crate::clock::{elapsed, later};
use crate::estate::facts::VmFacts;
use crate::journal::{AppendError, Ending, Event, FORMAT, Purpose, RunLog};
use crate::playbook::{Condition, Verdict};

/// Kept free at the end of a deadline for putting locks back.
const RELOCK_RESERVE: Duration = Duration::from_secs(180);
/// Kept free for the last read and the result.
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
}

/// Why a run does not go on.
#[derive(Debug)]
pub(super) enum Stop {
    /// It can be resumed.
    Pause {
        /// The word for the journal.
        why: &'static str,
        /// A sentence.
        detail: String,
        /// When to come back.
        wait: Duration,
    },
    /// The journal cannot be written: nothing more is sent.
    Log(AppendError),
    /// The journal and the engine disagree: a bug, or an edited journal.
    Illegal(IllegalRecord),
}

impl From<AppendError> for Stop {
    fn from(error: AppendError) -> Self {
        Self::Log(error)
    }
}

/// Why the steps are over.
#[derive(Debug)]
pub(super) enum Over {
    /// All steps were gone through.
    Done,
    /// A change stopped the run.
    Stopped,
    /// See [`Stop`].
    Stop(Stop),
}

/// A run in progress.
pub(super) struct Session<'a> {
    pub(super) run: &'a Run,
    pub(super) state: RunState,
    pub(super) facts: Option<VmFacts>,
    pub(super) warnings: Vec<String>,
    pub(super) started: Timestamp,
}

impl Run {
    /// Runs the plan from its beginning.
    pub async fn start(&self) -> RunResult {
        let mut session = self.session(RunState::new(&self.plan));
        let event = Event::Started {
            format: FORMAT,
            run: self.run_id.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            plan_hash: self.plan.hash.clone(),
            pid: self.pid,
        };
        let over = match session.record(event) {
            Ok(()) => Box::pin(session.steps()).await,
            Err(stop) => Over::Stop(stop),
        };
        Box::pin(session.finish(over)).await
    }

    /// Goes on where the journal ends. Deletions older than a day are refused by the caller ([`super::resume_check`]).
    pub async fn resume(&self) -> RunResult {
        let state = match RunState::fold(&self.plan, &self.log.records()) {
            Ok(state) => state,
            Err(illegal) => return self.session(RunState::new(&self.plan)).illegal(&illegal),
        };
        let undoing = matches!(state.phase, RunPhase::Undoing | RunPhase::Paused { undoing: true, .. });
        let mut session = self.session(state);
        let event = Event::Resumed { version: env!("CARGO_PKG_VERSION").to_owned(), pid: self.pid };
        if let Err(stop) = session.record(event) {
            return Box::pin(session.finish(Over::Stop(stop))).await;
        }
        if undoing {
            return Box::pin(session.undo()).await;
        }
        let over = match Box::pin(session.unlock_again()).await {
            Ok(true) => Box::pin(session.steps()).await,
            Ok(false) => Over::Stopped,
            Err(stop) => Over::Stop(stop),
        };
        Box::pin(session.finish(over)).await
    }

    /// Takes back what can be taken back.
    pub async fn undo(&self) -> RunResult {
        let state = match RunState::fold(&self.plan, &self.log.records()) {
            Ok(state) => state,
            Err(illegal) => return self.session(RunState::new(&self.plan)).illegal(&illegal),
        };
        let mut session = self.session(state);
        if let Err(stop) = session.record(Event::UndoStarted { pid: self.pid }) {
            return Box::pin(session.finish(Over::Stop(stop))).await;
        }
        Box::pin(session.undo()).await
    }

    fn session(&self, state: RunState) -> Session<'_> {
        Session { run: self, state, facts: None, warnings: Vec::new(), started: self.arm.clock().now() }
    }
}

impl Session<'_> {
    pub(super) fn now(&self) -> Timestamp {
        self.run.arm.clock().now()
    }

    pub(super) fn tell(&self, progress: &Progress) {
        self.run.listener.progress(self.now(), progress);
    }

    /// Writes one record; nothing may follow when this fails (S2).
    pub(super) fn record(&mut self, event: Event) -> Result<(), Stop> {
        let at = self.now();
        let record = self.run.log.append(at, event)?;
        self.state.apply(&record).map_err(Stop::Illegal)
    }

    pub(super) fn warn(&mut self, text: String) {
        self.tell(&Progress::Warning { text: text.clone() });
        self.warnings.push(text);
    }

    /// Stops here when asked to, or when `ahead` would not fit before the deadline.
    pub(super) fn pause_point(&self, ahead: Duration) -> Result<(), Stop> {
        if self.run.cancel.is_cancelled() {
            return Err(Stop::Pause {
                why: "interrupted",
                detail: "azmend was interrupted".to_owned(),
                wait: Duration::ZERO,
            });
        }
        if let Some(deadline) = self.run.deadline {
            let reserve = if self.run.plan.relock && !self.state.locks_off(&self.run.plan).is_empty() {
                RELOCK_RESERVE
            } else {
                FINISH_RESERVE
            };
            if later(later(self.now(), ahead), reserve) > deadline {
                return Err(Stop::Pause { why: "deadline", detail: "the deadline is reached".to_owned(), wait: SOON });
            }
        }
        Ok(())
    }

    /// Waits, unless interrupted.
    pub(super) async fn wait(&self, what: &str, wait: Duration, since: Timestamp) -> Result<(), Stop> {
        self.pause_point(wait)?;
        self.tell(&Progress::Waiting { what: what.to_owned(), wait, since });
        tokio::select! {
            biased;
            () = self.run.cancel.cancelled() => {}
            () = self.run.arm.clock().sleep(wait) => {}
        }
        self.pause_point(Duration::ZERO)
    }

    /// Locks that were put back when the run paused are removed again before it goes on. `Ok(false)`: one could not.
    async fn unlock_again(&mut self) -> Result<bool, Stop> {
        // A process that died while it unlocked again left the change open although its step is over.
        let open: Vec<(PlannedStep, Change)> = self
            .run
            .plan
            .changes()
            .filter(|(step, change)| {
                self.state.steps_ended.contains_key(&step.id)
                    && self
                        .state
                        .changes
                        .get(&change.id)
                        .is_some_and(|state| !matches!(state.forward, Phase::Idle | Phase::Ended(_)))
            })
            .map(|(step, change)| (step.clone(), change.clone()))
            .collect();
        for (step, change) in open {
            let outcome = Box::pin(self.drive(&step, &change, false)).await?;
            if !outcome.holds() {
                return Ok(false);
            }
        }
        let again: Vec<(PlannedStep, Change)> = self
            .run
            .plan
            .changes()
            .filter(|(_, change)| {
                self.state.changes.get(&change.id).is_some_and(|state| {
                    state.back_purpose == Some(Purpose::Relock)
                        && state.back_ending().is_some_and(|ending| ending.outcome == "succeeded")
                })
            })
            .map(|(step, change)| (step.clone(), change.clone()))
            .collect();
        if again.is_empty() || !self.unfinished() {
            return Ok(true);
        }
        for (step, change) in again {
            self.tell(&Progress::Change { change: Box::new(change.clone()) });
            let outcome = Box::pin(self.drive(&step, &change, true)).await?;
            if !outcome.holds() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn unfinished(&self) -> bool {
        self.state.changes.values().any(|state| !matches!(state.forward, Phase::Ended(_)))
    }

    /// Goes through the steps in order.
    async fn steps(&mut self) -> Over {
        let steps = self.run.plan.steps.clone();
        let of = steps.len();
        for (index, step) in steps.iter().enumerate() {
            if self.state.steps_ended.contains_key(&step.id) {
                continue;
            }
            match Box::pin(self.step(step, index + 1, of)).await {
                Ok(true) => {}
                Ok(false) => return Over::Stopped,
                Err(stop) => return Over::Stop(stop),
            }
        }
        Over::Done
    }

    /// One step. `Ok(false)`: the run ends here.
    async fn step(&mut self, step: &PlannedStep, number: usize, of: usize) -> Result<bool, Stop> {
        if let Decision::Off { why } = &step.decision {
            return self.step_off(step, why.clone());
        }
        if !self.state.steps_started.contains_key(&step.id) {
            self.pause_point(Duration::ZERO)?;
            // The condition of a step can only switch it off, and only before it has begun.
            if let Some(why) = Box::pin(self.switched_off(step)).await {
                for change in &step.changes {
                    self.end(change, &Outcome::Skipped { why: why.clone() })?;
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
            let outcome = Box::pin(self.drive(step, change, false)).await?;
            let goes_on = outcome.holds()
                || matches!(outcome, Outcome::Skipped { .. })
                || (step.on_failure == OnFailure::Continue && !matches!(outcome, Outcome::Unknown { .. }));
            if !goes_on {
                let why = outcome.detail();
                self.record(Event::StepEnded { step: step.id.clone(), how: "stopped".to_owned(), why })?;
                return Ok(false);
            }
        }
        self.record(Event::StepEnded { step: step.id.clone(), how: "done".to_owned(), why: String::new() })?;
        Ok(true)
    }

    fn step_off(&mut self, step: &PlannedStep, why: String) -> Result<bool, Stop> {
        self.tell(&Progress::StepOff { id: step.id.clone(), why: why.clone() });
        self.record(Event::StepEnded { step: step.id.clone(), how: "off".to_owned(), why })?;
        Ok(true)
    }

    /// Why a step's condition no longer holds, read afresh. A condition that cannot be decided switches it off too.
    async fn switched_off(&mut self, step: &PlannedStep) -> Option<String> {
        if step.when.is_empty() || step.changes.is_empty() {
            return None;
        }
        let condition = match Condition::compile_with(&step.when, &self.run.plan.params) {
            Ok(condition) => condition,
            Err(_) => return Some(format!("its condition is not valid: {}", step.when)),
        };
        // A condition over the parameters alone was decided in the plan, for good.
        if condition.touched().iter().all(|path| path.starts_with("params") || path.starts_with("playbook")) {
            return None;
        }
        self.read_everything().await;
        let view = self.view()?;
        match condition.evaluate(&view, &self.run.plan.params, &self.run.plan.codes) {
            Verdict::True => None,
            Verdict::False => Some(format!("its condition no longer holds: {}", step.when)),
            Verdict::NotChecked { unread } => Some(format!("not checked, because not read: {}", unread.join("; "))),
            Verdict::Error { why } => Some(why),
        }
    }

    /// Settles a change.
    pub(super) fn end(&mut self, change: &Change, outcome: &Outcome) -> Result<(), Stop> {
        self.tell(&Progress::Settled { change: change.id.clone(), outcome: outcome.clone() });
        self.record(Event::Ended { change: change.id.clone(), purpose: Purpose::Do, ending: ending(outcome) })
    }

    /// How long the step has been running.
    pub(super) fn step_age(&self, step: &PlannedStep) -> Duration {
        self.state.steps_started.get(&step.id).map_or(Duration::ZERO, |at| elapsed(*at, self.now()))
    }
}

/// The disk form of an outcome.
pub(super) fn ending(outcome: &Outcome) -> Ending {
    let (code, hint, permission) = match outcome {
        Outcome::Refused { refusal } => (refusal.rule.clone(), refusal.hint.clone(), false),
        Outcome::Failed { error } => (error.code.clone(), error.hint.clone(), error.permission),
        _ => (String::new(), None, false),
    };
    let detail = match outcome {
        Outcome::Refused { refusal } => refusal.why.clone(),
        Outcome::Failed { error } => error.message.clone(),
        other => other.detail(),
    };
    Ending { outcome: outcome.word().to_owned(), detail, code, hint, permission }
}
