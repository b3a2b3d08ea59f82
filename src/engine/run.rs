//! Runs a plan: its steps in order, each change by the driver; resume and undo enter here from a journal.
//!
//! Invariants: nothing is sent without its intent on disk (S2), nothing that is not in the plan (S3), no success that was
//! not read (S4). A record is applied to a copy of the state first and written only if it fits, so that no run writes what
//! it could not read back. A run that stops for any reason leaves a journaled state from which [`Run::resume`] goes on and
//! [`Run::undo`] goes back.
//! Must never: repeat a request without reading again, or give up a removed lock silently.

use std::time::Duration;

use super::active_run::{ActiveRun, Halt, Run, StepsEnd};
use super::driver::{Task, plain};
use super::owed::Locks;
use super::plan::{Decision, OnFailure, PlannedStep, StepOutcome};
use super::progress::Progress;
use super::result::RunResult;
use super::state::{ChangeState, IllegalRecord, Phase, RunPhase, RunState};
use super::step::End;
use crate::actions::change::Change;
use crate::actions::outcome::Outcome;
use crate::clock::elapsed;
use crate::journal::{EndKind, Event, FORMAT, Purpose, StepEnd};

impl Run {
    /// Runs the plan from its beginning.
    pub async fn start(&self) -> RunResult {
        let mut active = self.active(RunState::new(&self.plan), None);
        active.facts = self.plan.facts.as_deref().cloned();
        let event = Event::Started {
            format: FORMAT,
            run: self.run_id.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            plan_hash: self.plan.hash.clone(),
            pid: self.pid,
            origin: Some(Box::new(self.plan.origin())),
        };
        let end = match active.record(event).await {
            Ok(()) => Box::pin(active.steps()).await,
            Err(halt) => StepsEnd::Halted(halt),
        };
        Box::pin(active.finish(end)).await
    }

    /// Goes on where the journal ends, unless the run is over or too old to go on deleting
    /// ([`super::resume_check`]).
    pub async fn resume(&self) -> RunResult {
        let state = match RunState::fold(&self.plan, &self.log.records()) {
            Ok(state) => state,
            Err(illegal) => return self.active(RunState::new(&self.plan), None).illegal(&illegal),
        };
        if let Err(why) = super::resume_check(&self.plan, &state, self.arm.clock().now()) {
            return self.active(state, None).not_resumed(&why);
        }
        let undoing = matches!(state.phase, RunPhase::Undoing | RunPhase::Paused { undoing: true, .. });
        let mut active = self.active(state, None);
        let event = Event::Resumed { version: env!("CARGO_PKG_VERSION").to_owned(), pid: self.pid };
        if let Err(halt) = active.record(event).await {
            return Box::pin(active.finish(StepsEnd::Halted(halt))).await;
        }
        if undoing {
            return Box::pin(active.undo()).await;
        }
        let end = match Box::pin(active.unlock_again()).await {
            Ok(true) => Box::pin(active.steps()).await,
            Ok(false) => StepsEnd::Stopped,
            Err(halt) => StepsEnd::Halted(halt),
        };
        Box::pin(active.finish(end)).await
    }

    /// Undoes what can be undone. From a journal whose records do not fit each other the locks are restored all the same.
    pub async fn undo(&self) -> RunResult {
        let (records, salvaged) = (self.log.records(), self.log.salvaged());
        let folded = match salvaged.first() {
            _ if self.plan.is_lost() => {
                Err(IllegalRecord { seq: 1, why: "its plan is missing or was changed".to_owned() })
            }
            None => RunState::fold(&self.plan, &records),
            Some(first) => Err(IllegalRecord { seq: first.seq, why: "the journal is damaged before it".to_owned() }),
        };
        let state = match folded {
            Ok(state) => state,
            Err(illegal) => {
                let locks = Locks::of(records.iter().chain(&salvaged));
                let state = RunState { locks, ..RunState::new(&self.plan) };
                let mut active = self.active(state, Some(illegal.clone()));
                let restored = Box::pin(active.restore_from_records()).await;
                return active.restored_from_damage(&illegal, restored).await;
            }
        };
        let mut active = self.active(state, None);
        if let Err(halt) = active.record(Event::UndoStarted { pid: self.pid }).await {
            // The locks come back all the same; nothing else is sent without a journal (S2).
            active.state.phase = RunPhase::Undoing;
            return Box::pin(active.finish(StepsEnd::Halted(halt))).await;
        }
        Box::pin(active.undo()).await
    }
}

impl ActiveRun<'_> {
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
            return self.step_off(step, why.clone()).await;
        }
        if !self.state.steps_started.contains_key(&step.id) {
            self.pause_point(Duration::ZERO)?;
            if let Some(why) = self.not_after(step) {
                for change in &step.changes {
                    self.skip(change, &why).await?;
                }
                return self.step_off(step, why).await;
            }
            self.record(Event::StepStarted { step: step.id.clone() }).await?;
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
                self.record(Event::StepEnded { step: step.id.clone(), how: StepEnd::Stopped, why }).await?;
                return Ok(false);
            }
        }
        self.record(Event::StepEnded { step: step.id.clone(), how: StepEnd::Done, why: String::new() }).await?;
        Ok(true)
    }

    async fn step_off(&mut self, step: &PlannedStep, why: String) -> Result<bool, Halt> {
        self.tell(&Progress::StepOff { id: step.id.clone(), why: why.clone() });
        self.record(Event::StepEnded { step: step.id.clone(), how: StepEnd::Off, why }).await?;
        Ok(true)
    }

    async fn skip(&mut self, change: &Change, why: &str) -> Result<(), Halt> {
        // After a crash between two of these records the first ones are there already.
        if self.state.changes.get(&change.id).is_some_and(|state| matches!(state.forward, Phase::Ended(_))) {
            return Ok(());
        }
        let outcome = Outcome::Skipped { why: why.to_owned() };
        self.tell(&Progress::Settled { change: change.id.clone(), outcome });
        let mut ending = plain(EndKind::Skipped, why.to_owned());
        ending.effect = Some(crate::journal::Effect::None);
        self.record(Event::Ended { change: change.id.clone(), purpose: Purpose::Do, ending }).await
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
