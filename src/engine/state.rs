//! The state of a run: a fold of a pure transition table over the journal's records.
//!
//! [`next_phase`] is the table; every pair that is not in it is an error, never a guess. The same fold serves a running
//! engine, `resume`, `undo`, `runs show` and the result, so none of them can see another state than the journal says.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use super::owed::Locks;
use super::plan::Plan;
use crate::actions::{Attempt, History};
use crate::arm::id::ResourceId;
use crate::arm::model::Lock;
use crate::journal::{
    Answer, Effect, EndKind, Ending, Event, Fact, FinalStatus, PauseReason, Purpose, Record, StepEnd,
};

/// Where one change stands, for one purpose.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Phase {
    /// Nothing was sent.
    #[default]
    Idle,
    /// The intent is written; whether the request left is not known.
    Intended,
    /// Azure accepted a long-running operation.
    Accepted(Value),
    /// Azure's answer (or its loss) is written; not settled.
    Answered,
    /// Settled.
    Ended(Ending),
}

/// What can happen to a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step<'a> {
    Intent,
    Accepted(&'a Value),
    Answered,
    Ended(&'a Ending),
}

/// A record that does not fit the state before it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("record {seq} of the journal does not fit: {why}")]
pub struct IllegalRecord {
    /// The record's number.
    pub seq: u64,
    /// What does not fit.
    pub why: String,
}

/// The table: the next phase of a change, or `None` for an illegal pair.
fn next_phase(phase: &Phase, step: Step<'_>) -> Option<Phase> {
    match (phase, step) {
        (Phase::Idle | Phase::Answered, Step::Intent) => Some(Phase::Intended),
        (Phase::Intended, Step::Accepted(operation)) => Some(Phase::Accepted(operation.clone())),
        (Phase::Intended | Phase::Accepted(_), Step::Answered) => Some(Phase::Answered),
        (Phase::Idle | Phase::Answered, Step::Ended(ending)) => Some(Phase::Ended(ending.clone())),
        _ => None,
    }
}

/// One change of a run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChangeState {
    /// Making it.
    pub forward: Phase,
    /// Undoing it, by undo or relock.
    pub back: Phase,
    /// For the last undoing: which.
    pub back_purpose: Option<Purpose>,
    /// What earlier attempts left.
    pub history: History,
    /// Requests that undo it, so far.
    pub back_attempts: u32,
    /// When it was settled.
    pub ended_at: Option<Timestamp>,
    /// The before-image of the last intent.
    pub before: Value,
}

impl ChangeState {
    /// The ending of the change itself, if settled.
    #[must_use]
    pub const fn ending(&self) -> Option<&Ending> {
        match &self.forward {
            Phase::Ended(ending) => Some(ending),
            _ => None,
        }
    }

    /// The ending of undoing it, if settled.
    #[must_use]
    pub const fn back_ending(&self) -> Option<&Ending> {
        match &self.back {
            Phase::Ended(ending) => Some(ending),
            _ => None,
        }
    }

    /// How the change ended, if settled.
    #[must_use]
    pub fn outcome(&self) -> Option<EndKind> {
        self.ending().map(|ending| ending.outcome)
    }

    /// Whether a request of it was ever written down.
    #[must_use]
    pub fn sent(&self) -> bool {
        !self.history.attempts.is_empty() || self.history.rejected > 0 || matches!(self.forward, Phase::Intended)
    }

    /// What its requests did, as far as the records say.
    #[must_use]
    pub fn effect(&self) -> Effect {
        match &self.forward {
            Phase::Idle => Effect::None,
            Phase::Intended | Phase::Accepted(_) => Effect::Unknown,
            Phase::Answered if self.history.attempts.is_empty() => Effect::None,
            Phase::Answered => Effect::Unknown,
            Phase::Ended(ending) => ending.effect.unwrap_or(match ending.outcome {
                _ if self.history.attempts.is_empty() => Effect::None,
                EndKind::Succeeded => Effect::Some,
                EndKind::Unknown => Effect::Unknown,
                // Format 1: settled by reading as not done, but for what the attempts say of a collection.
                _ => Effect::None,
            }),
        }
    }

    /// Whether the change may have taken effect.
    #[must_use]
    pub fn may_have_effect(&self) -> bool {
        self.effect() != Effect::None
    }

    /// Whether it is a lock that this run restored when it paused, proven removed or not: it may be removed once more, and
    /// nothing of the earlier removal counts then.
    #[must_use]
    pub fn restored(&self) -> bool {
        self.back_purpose == Some(Purpose::Relock)
            && self.forward != Phase::Idle
            && self
                .back_ending()
                .is_some_and(|ending| matches!(ending.outcome, EndKind::Succeeded | EndKind::AlreadyDone))
    }

    /// Whether it was undone, or need not be.
    #[must_use]
    pub fn undone(&self) -> bool {
        self.back_ending().is_some_and(|ending| {
            matches!(ending.outcome, EndKind::Succeeded | EndKind::AlreadyDone | EndKind::NotNeeded | EndKind::Refused)
        })
    }
}

/// How the run as a whole stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum RunPhase {
    /// Only the plan is there.
    #[default]
    Planned,
    /// Running, or killed while running.
    Running,
    /// Stopped, can be resumed.
    Paused {
        /// Why.
        why: PauseReason,
        /// In a sentence.
        detail: String,
        /// When to come back.
        retry_after: Timestamp,
        /// It was being undone: going on means undoing, never making the rest of its changes.
        undoing: bool,
    },
    /// Being undone, or killed meanwhile.
    Undoing,
    /// Over.
    Finished {
        /// How.
        status: FinalStatus,
        /// The exit code that was given.
        exit_code: u8,
    },
}

/// The state of a run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RunState {
    /// As a whole.
    pub phase: RunPhase,
    /// Each change of the plan.
    pub changes: BTreeMap<String, ChangeState>,
    /// Steps that began, and when.
    pub steps_started: BTreeMap<String, Timestamp>,
    /// Steps that are over: how and why.
    pub steps_ended: BTreeMap<String, (StepEnd, String)>,
    /// The locks that it removed, or may have.
    pub locks: Locks,
    /// Warnings.
    pub warnings: Vec<String>,
    /// When the first record was written.
    pub started: Option<Timestamp>,
    /// When the last one was.
    pub last: Option<Timestamp>,
}

impl RunState {
    /// Folds the records of a run over its plan.
    ///
    /// # Errors
    /// [`IllegalRecord`]: the journal is not one of this plan, or was edited.
    pub fn fold(plan: &Plan, records: &[Record]) -> Result<Self, IllegalRecord> {
        let mut state = Self::new(plan);
        for record in records {
            state.apply(record)?;
        }
        Ok(state)
    }

    /// The state of a plan that was not started.
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        let changes = plan.changes().map(|(_, change)| (change.id.clone(), ChangeState::default())).collect();
        Self { changes, ..Self::default() }
    }

    /// Takes one record in.
    ///
    /// # Errors
    /// [`IllegalRecord`] when it does not fit; the state is not to be used then, so a running engine applies a record to a
    /// copy before it writes it.
    pub fn apply(&mut self, record: &Record) -> Result<(), IllegalRecord> {
        let illegal = |why: String| Err(IllegalRecord { seq: record.seq, why });
        let phase = match (&self.phase, &record.event) {
            (RunPhase::Planned, Event::Started { .. }) => Some(RunPhase::Running),
            (RunPhase::Running | RunPhase::Paused { undoing: false, .. }, Event::Resumed { .. }) => Some(RunPhase::Running),
            (
                RunPhase::Undoing | RunPhase::Paused { undoing: true, .. },
                Event::Resumed { .. } | Event::UndoStarted { .. },
            ) => Some(RunPhase::Undoing),
            (RunPhase::Running | RunPhase::Paused { .. } | RunPhase::Finished { .. }, Event::UndoStarted { .. }) => {
                Some(RunPhase::Undoing)
            }
            (RunPhase::Running | RunPhase::Undoing, Event::Paused { why, detail, retry_after }) => Some(RunPhase::Paused {
                why: *why,
                detail: detail.clone(),
                retry_after: *retry_after,
                undoing: self.phase == RunPhase::Undoing,
            }),
            (RunPhase::Running | RunPhase::Undoing, Event::Finished { status, exit_code }) => {
                Some(RunPhase::Finished { status: *status, exit_code: *exit_code })
            }
            (RunPhase::Running | RunPhase::Undoing, Event::Warned { .. }) => None,
            (
                RunPhase::Running,
                Event::StepStarted { .. }
                | Event::StepEnded { .. }
                | Event::Intent { purpose: Purpose::Do | Purpose::Relock, .. }
                | Event::Accepted { purpose: Purpose::Do | Purpose::Relock, .. }
                | Event::Answered { .. }
                | Event::Learned { .. }
                | Event::Ended { purpose: Purpose::Do | Purpose::Relock, .. }
                | Event::Corrected { .. },
            )
            // Before undoing, what was in flight is settled first.
            | (
                RunPhase::Undoing,
                Event::Intent { purpose: Purpose::Undo, .. }
                | Event::Accepted { .. }
                | Event::Answered { .. }
                | Event::Learned { .. }
                | Event::Ended { .. },
            ) => None,
            (phase, event) => return illegal(format!("{event:?} in state {phase:?}").chars().take(200).collect()),
        };
        self.apply_change(record).map_err(|why| IllegalRecord { seq: record.seq, why })?;
        if let Some(phase) = phase {
            self.phase = phase;
        }
        match &record.event {
            Event::StepStarted { step } => {
                self.steps_started.entry(step.clone()).or_insert(record.at);
            }
            Event::StepEnded { step, how, why } => {
                self.steps_ended.insert(step.clone(), (*how, why.clone()));
            }
            Event::Warned { text } => self.warnings.push(text.clone()),
            // A step's time starts over when a run is resumed.
            Event::Resumed { .. } => self.steps_started.values_mut().for_each(|at| *at = record.at),
            Event::Paused { why: PauseReason::CleanUpPending, retry_after, .. } => {
                for change in self.changes.values_mut().filter(|change| change.history.job.is_some()) {
                    if !matches!(change.forward, Phase::Ended(_)) {
                        change.history.clean_up_pending += 1;
                        change.history.closed = true;
                        change.history.not_before = Some(*retry_after);
                        change.history.job = None;
                    }
                }
            }
            _ => {}
        }
        self.locks.apply(&record.event);
        self.started.get_or_insert(record.at);
        self.last = Some(record.at);
        Ok(())
    }

    fn apply_change(&mut self, record: &Record) -> Result<(), String> {
        let (id, purpose, step) = match &record.event {
            Event::Intent { change, purpose, .. } => (change, *purpose, Step::Intent),
            Event::Accepted { change, purpose, operation } => (change, *purpose, Step::Accepted(operation)),
            Event::Answered { change, purpose, .. } => (change, *purpose, Step::Answered),
            Event::Ended { change, purpose, ending } => (change, *purpose, Step::Ended(ending)),
            Event::Corrected { change, ending } => return self.correct(change, ending),
            Event::Learned { change, key: Fact::Job, value } => {
                let state = self.changes.get_mut(change).ok_or_else(|| format!("no change {change} in the plan"))?;
                state.history.job = ResourceId::parse(value).ok();
                return Ok(());
            }
            _ => return Ok(()),
        };
        let state = self.changes.get_mut(id).ok_or_else(|| format!("no change {id} in the plan"))?;
        let starts_over = matches!(step, Step::Intent | Step::Ended(_));
        match purpose {
            // A lock that this run restored may be removed once more when the run goes on, and then restored again. Or it is
            // found refused or gone then, without another request.
            Purpose::Do if starts_over && matches!(state.forward, Phase::Ended(_)) && !state.restored() => {
                return Err(format!("{step:?} of the settled change {id}"));
            }
            Purpose::Do if starts_over && state.restored() => {
                state.forward = Phase::Idle;
                state.back = Phase::Idle;
                state.history = History::default();
            }
            // Undoing is tried again by a later undo; a lock that was restored may be looked at once more.
            Purpose::Undo | Purpose::Relock if starts_over => {
                let again = state.back_ending().is_some_and(|ending| {
                    purpose == Purpose::Undo || matches!(ending.outcome, EndKind::Failed | EndKind::Unknown)
                });
                if again {
                    state.back = Phase::Idle;
                }
            }
            _ => {}
        }
        let phase = if purpose == Purpose::Do { &mut state.forward } else { &mut state.back };
        let next = next_phase(phase, step).ok_or_else(|| format!("{step:?} after {phase:?} for {id}"))?;
        *phase = next;
        if purpose != Purpose::Do {
            state.back_purpose = Some(purpose);
        }
        match (&record.event, purpose) {
            (Event::Intent { target, before, .. }, Purpose::Do) => {
                let target = ResourceId::parse(target).map_err(|error| error.to_string())?;
                let remaining = before.get("remaining").and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
                state.history.attempts.push(Attempt { at: record.at, target, remaining, answered: false });
                state.before = before.clone();
                // A new request is a new backup: the job of the earlier one is not its job.
                state.history.job = None;
                state.history.closed = false;
            }
            (Event::Intent { .. }, _) => state.back_attempts += 1,
            (Event::Answered { how, .. }, Purpose::Do) => {
                if how.is_rejection() {
                    state.history.attempts.pop();
                    state.history.rejected += 1;
                } else if let Some(last) = state.history.attempts.last_mut() {
                    last.answered = *how != Answer::Lost;
                }
            }
            (Event::Ended { .. }, Purpose::Do) => state.ended_at = Some(record.at),
            _ => {}
        }
        Ok(())
    }

    /// A later reading contradicts an ending: only a success can be contradicted, and only by something else.
    fn correct(&mut self, id: &str, ending: &Ending) -> Result<(), String> {
        let state = self.changes.get_mut(id).ok_or_else(|| format!("no change {id} in the plan"))?;
        match &mut state.forward {
            Phase::Ended(before)
                if matches!(before.outcome, EndKind::Succeeded | EndKind::AlreadyDone)
                    && !matches!(ending.outcome, EndKind::Succeeded | EndKind::AlreadyDone) =>
            {
                *before = ending.clone();
                Ok(())
            }
            phase => Err(format!("a correction of {id}, which is {phase:?}")),
        }
    }

    /// The locks that may be off because of this run, with the change's id (see [`Locks::off`]).
    #[must_use]
    pub fn locks_off(&self) -> Vec<(&str, &Lock)> {
        self.locks.off().collect()
    }

    /// Whether the run can be resumed.
    #[must_use]
    pub const fn resumable(&self) -> bool {
        matches!(self.phase, RunPhase::Running | RunPhase::Paused { .. } | RunPhase::Undoing)
    }

    /// One word for lists.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match &self.phase {
            RunPhase::Planned => "planned",
            RunPhase::Running => "running",
            RunPhase::Paused { .. } => "paused",
            RunPhase::Undoing => "undoing",
            RunPhase::Finished { status, .. } => status.word(),
        }
    }
}
