//! The state of a run: a fold of a pure transition table over the journal's records.
//!
//! [`next_phase`] is the table; every pair that is not in it is an error, never a guess. The same fold serves a running
//! engine, `resume`, `undo`, `runs show` and the result, so none of them can see another state than the journal says.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use super::plan::Plan;
use crate::actions::change::ChangeKind;
use crate::actions::locks::RemoveLock;
use crate::actions::{Attempt, History};
use crate::arm::id::ResourceId;
use crate::arm::model::Lock;
use crate::journal::{Ending, Event, Purpose, Record};

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
    /// Taking it back, by undo or relock.
    pub back: Phase,
    /// For the last taking back: which.
    pub back_purpose: Option<Purpose>,
    /// What earlier attempts left.
    pub history: History,
    /// Attempts of taking it back.
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

    /// The ending of taking it back, if settled.
    #[must_use]
    pub const fn back_ending(&self) -> Option<&Ending> {
        match &self.back {
            Phase::Ended(ending) => Some(ending),
            _ => None,
        }
    }

    /// Whether the change may have taken effect: sent and not shown to have failed.
    #[must_use]
    pub fn may_stand(&self) -> bool {
        match &self.forward {
            Phase::Idle => false,
            Phase::Intended | Phase::Accepted(_) => true,
            Phase::Answered => !self.history.attempts.is_empty(),
            Phase::Ended(ending) => {
                !self.history.attempts.is_empty() && matches!(ending.outcome.as_str(), "succeeded" | "unknown")
            }
        }
    }

    /// Whether a lock that this change was to remove may be off: also when it stood again after it was removed, for
    /// Azure's replicas may have shown what was no longer there (S6). Looking at it once more does no harm.
    #[must_use]
    pub fn lock_may_be_off(&self) -> bool {
        let came_back = |ending: &Ending| ending.outcome == "refused" && ending.code == "s5.came-back";
        self.may_stand() || (!self.history.attempts.is_empty() && self.ending().is_some_and(came_back))
    }

    /// Whether it was taken back (or need not be).
    #[must_use]
    pub fn taken_back(&self) -> bool {
        self.back_ending().is_some_and(|ending| {
            matches!(ending.outcome.as_str(), "succeeded" | "already_done" | "not_needed" | "refused")
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
        why: String,
        /// In a sentence.
        detail: String,
        /// When to come back.
        retry_after: Timestamp,
        /// It was being taken back: going on means taking back, never making the rest of its changes.
        undoing: bool,
    },
    /// Being taken back, or killed meanwhile.
    Undoing,
    /// Over.
    Finished {
        /// `succeeded`, `partial`, `refused`, `failed`, `undone`, `stuck`.
        status: String,
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
    pub steps_ended: BTreeMap<String, (String, String)>,
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
    /// [`IllegalRecord`] when it does not fit; the state is unchanged then.
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
                why: why.clone(),
                detail: detail.clone(),
                retry_after: *retry_after,
                undoing: self.phase == RunPhase::Undoing,
            }),
            (RunPhase::Running | RunPhase::Undoing, Event::Finished { status, exit_code }) => {
                Some(RunPhase::Finished { status: status.clone(), exit_code: *exit_code })
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
                | Event::Ended { purpose: Purpose::Do | Purpose::Relock, .. },
            )
            // Before taking back, what was in flight is settled first.
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
                self.steps_ended.insert(step.clone(), (how.clone(), why.clone()));
            }
            Event::Warned { text } => self.warnings.push(text.clone()),
            // A step's time begins anew when a run is taken up again.
            Event::Resumed { .. } => self.steps_started.values_mut().for_each(|at| *at = record.at),
            Event::Paused { why, retry_after, .. } if why == "clean_up_pending" => {
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
            Event::Learned { change, key, value } => {
                let state = self.changes.get_mut(change).ok_or_else(|| format!("no change {change} in the plan"))?;
                if key == "job" {
                    state.history.job = ResourceId::parse(value).ok();
                }
                return Ok(());
            }
            _ => return Ok(()),
        };
        let state = self.changes.get_mut(id).ok_or_else(|| format!("no change {id} in the plan"))?;
        let phase = if purpose == Purpose::Do { &mut state.forward } else { &mut state.back };
        // A lock that this run put back may be removed again when the run goes on, and then put back again.
        // Or is found refused or gone then, without another request.
        if purpose == Purpose::Do && matches!(step, Step::Intent | Step::Ended(_)) && matches!(phase, Phase::Ended(_)) {
            let relocked = matches!(&state.back, Phase::Ended(ending) if ending.outcome == "succeeded");
            if !relocked || state.back_purpose != Some(Purpose::Relock) {
                return Err(format!("{step:?} of the settled change {id}"));
            }
            state.forward = Phase::Answered;
            state.back = Phase::Idle;
            state.history = History::default();
        }
        // Taking back is tried again by a later undo when it failed before.
        if purpose != Purpose::Do
            && matches!(&state.back, Phase::Ended(e) if e.outcome == "failed" || e.outcome == "unknown")
        {
            state.back = Phase::Idle;
        }
        // The state of a lock that was put back may be looked at again: it is still so.
        if purpose == Purpose::Undo && matches!(&state.back, Phase::Ended(_)) {
            state.back = Phase::Idle;
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
                if matches!(how.as_str(), "throttled" | "locked" | "rejected") {
                    state.history.attempts.pop();
                    state.history.rejected += 1;
                } else if let Some(last) = state.history.attempts.last_mut() {
                    last.answered = how != "lost";
                }
            }
            (Event::Ended { .. }, Purpose::Do) => state.ended_at = Some(record.at),
            _ => {}
        }
        Ok(())
    }

    /// The locks that this run removed (or may have removed) and that do not stand again, with the change's id.
    #[must_use]
    pub fn locks_off<'a>(&'a self, plan: &'a Plan) -> Vec<(&'a str, &'a Lock)> {
        plan.changes()
            .filter_map(|(_, change)| match &change.what {
                ChangeKind::RemoveLock(RemoveLock { lock }) => Some((change.id.as_str(), lock)),
                _ => None,
            })
            .filter(|(id, _)| self.changes.get(*id).is_some_and(|state| state.lock_may_be_off() && !state.taken_back()))
            .collect()
    }

    /// Whether the run can be resumed.
    #[must_use]
    pub const fn resumable(&self) -> bool {
        matches!(self.phase, RunPhase::Running | RunPhase::Paused { .. } | RunPhase::Undoing)
    }

    /// One word for lists.
    #[must_use]
    pub fn word(&self) -> &str {
        match &self.phase {
            RunPhase::Planned => "planned",
            RunPhase::Running => "running",
            RunPhase::Paused { .. } => "paused",
            RunPhase::Undoing => "undoing",
            RunPhase::Finished { status, .. } => status,
        }
    }
}
