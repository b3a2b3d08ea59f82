//! Taking back: `--relock` at the end of a run, and `undo`.
//!
//! Locks can be written back, and they always can: exactly as they were (name, level, notes, owners). A lock that
//! stands again is left alone, one whose scope is gone is not needed any more. Putting a lock back is tried even when
//! the journal can no longer be written: the record of its removal is the intent of its restoration (S2, S6).

use std::time::Duration;

use uuid::Uuid;

use super::drive::failure_of;
use super::progress::Progress;
use super::result::RunResult;
use super::run::{Over, Session, Stop, ending};
use super::state::Phase;
use crate::actions::change::{Change, ChangeKind, Failure, Outcome, Refusal, Undo};
use crate::actions::locks::{self, Restore};
use crate::arm::model::Lock;
use crate::arm::{ErrorClass, Tag};
use crate::clock::elapsed;
use crate::journal::{Ending, Event, Purpose};

/// Tries to write one lock that Azure answers to.
const TRIES: u32 = 6;
/// A lock is not given up while Azure cannot be reached at all, for this long: a network that is gone for ten minutes
/// leaves no lock off. Still short enough for a job that has kept a quarter of an hour and is then started again.
const UNREACHABLE: Duration = Duration::from_secs(15 * 60);
/// The longest wait between tries.
const LONGEST_BACK_OFF: Duration = Duration::from_secs(60);
/// Between them.
const BACK_OFF: Duration = Duration::from_secs(10);
/// Looks at what Azure is deleting when a run is taken back: for half an hour.
const SETTLE_TRIES: u32 = 120;
/// Between them.
const SETTLE_PROBE: Duration = Duration::from_secs(15);

impl Session<'_> {
    /// Puts back every lock this run removed. `false`: at least one does not stand again.
    pub(super) async fn relock(&mut self, purpose: Purpose) -> bool {
        let off: Vec<(Change, Lock)> = self
            .state
            .locks_off(&self.run.plan)
            .into_iter()
            .rev()
            .filter_map(|(id, lock)| Some((self.run.plan.change(id)?.clone(), lock.clone())))
            .collect();
        let mut all = true;
        for (change, lock) in off {
            self.tell(&Progress::Relock { lock: lock.id.to_string(), outcome: None });
            // An earlier process died between the request and its answer: reading settles it.
            if self.state.changes.get(&change.id).is_some_and(|state| state.back == Phase::Intended) {
                let detail = "azmend was stopped before the answer was written".to_owned();
                self.record_back(Event::Answered {
                    change: change.id.clone(),
                    purpose,
                    how: "lost".to_owned(),
                    detail,
                });
            }
            let restored = Box::pin(self.restore(&change, &lock, purpose)).await;
            all &= matches!(restored.outcome.as_str(), "succeeded" | "already_done" | "not_needed" | "refused");
            let text = format!("{}: {}", restored.outcome.replace('_', " "), restored.detail);
            self.tell(&Progress::Relock { lock: lock.id.to_string(), outcome: Some(text) });
            if restored.outcome == "refused" {
                self.warn(format!("the lock {} was not written back: {}", lock.id.name(), restored.detail));
            }
            self.record_back(Event::Ended { change: change.id.clone(), purpose, ending: restored });
        }
        all
    }

    /// Journals what concerns putting a lock back. When that fails the lock is put back all the same.
    pub(super) fn record_back(&mut self, event: Event) {
        let text = match self.record(event.clone()) {
            Ok(()) => return,
            Err(Stop::Log(error)) => error.to_string(),
            Err(Stop::Illegal(error)) => error.to_string(),
            Err(Stop::Pause { detail, .. }) => detail,
        };
        // The state goes on without the disk, so that the result is right.
        let seq = self.run.log.records().last().map_or(1, |record| record.seq + 1);
        let at = self.now();
        if self.state.apply(&crate::journal::Record { seq, at, event }).is_err() {
            tracing::debug!("a record of a restoration did not fit the state");
        }
        let warning = format!("{text}; locks are put back all the same");
        if !self.warnings.contains(&warning) {
            self.warn(warning);
        }
    }

    async fn restore(&mut self, change: &Change, lock: &Lock, purpose: Purpose) -> Ending {
        let mut last = String::new();
        let since = self.now();
        let (mut attempt, mut answered) = (0, 0);
        while answered < TRIES && elapsed(since, self.now()) < UNREACHABLE {
            attempt += 1;
            match Box::pin(locks::check_restore(&self.run.arm, lock)).await {
                Restore::Stands => {
                    // After our own write it is the proof; without one it was put back by somebody else.
                    return if attempt == 1 || last.is_empty() {
                        ended(&Outcome::AlreadyDone { detail: "it stands with the same content".to_owned() })
                    } else {
                        ended(&Outcome::Succeeded { detail: "it stands again, read back".to_owned() })
                    };
                }
                Restore::Other(difference) => {
                    let why = format!("a lock of that name stands with other content: {difference}");
                    return ended(&Outcome::Refused { refusal: Refusal::new("s6.other-content", why) });
                }
                Restore::ScopeGone => {
                    return Ending {
                        outcome: "not_needed".to_owned(),
                        detail: "what it locked is gone".to_owned(),
                        code: String::new(),
                        hint: None,
                        permission: false,
                    };
                }
                Restore::Unreadable(error) => {
                    answered += u32::from(!error.is_passing());
                    last = error.to_string();
                    self.tell(&Progress::Retry { why: format!("reading the lock {}: {last}", lock.id.name()) });
                    self.run.arm.clock().sleep((BACK_OFF * attempt).min(LONGEST_BACK_OFF)).await;
                    continue;
                }
                Restore::Go => {}
            }
            let tag = Tag { client_request_id: Uuid::new_v4() };
            self.record_back(Event::Intent {
                change: change.id.clone(),
                attempt,
                purpose,
                verb: "PUT".to_owned(),
                target: lock.id.to_string(),
                before: serde_json::Value::Null,
                client_request_id: tag.client_request_id.to_string(),
            });
            let (how, error) = match Box::pin(self.run.arm.put_lock(lock, &tag)).await {
                Ok(_) => ("ok", None),
                Err(error) if error.may_have_taken_effect() => ("lost", Some(error)),
                Err(error) => ("rejected", Some(error)),
            };
            let detail = error.as_ref().map(ToString::to_string).unwrap_or_default();
            self.record_back(Event::Answered { change: change.id.clone(), purpose, how: how.to_owned(), detail });
            answered += u32::from(error.as_ref().is_none_or(|error| !error.is_passing()));
            match error {
                None => match self.run.arm.lock(&lock.id).await {
                    Ok(now) if locks::difference(lock, &now).is_none() => {
                        return ended(&Outcome::Succeeded { detail: "it stands again, read back".to_owned() });
                    }
                    _ => last = "it was written but does not read back yet".to_owned(),
                },
                // A sign-in that fails may work in a moment, with a new token: a lock is not given up for it.
                Some(error) if matches!(error.class(), ErrorClass::Forbidden | ErrorClass::DeniedByAssignment) => {
                    return ended(&Outcome::Failed { error: failure_of(&error) });
                }
                Some(error) => last = error.to_string(),
            }
            let wait = (BACK_OFF * attempt).min(LONGEST_BACK_OFF);
            self.tell(&Progress::Retry { why: format!("writing the lock {}: {last}", lock.id.name()) });
            self.run.arm.clock().sleep(wait).await;
        }
        let hint = locks::recreate_command(lock);
        let message = format!("the lock {} could not be written back: {last}", lock.id.name());
        ended(&Outcome::Failed { error: Failure::new("", message).with_hint(hint) })
    }

    /// Takes the run back: settles what is in flight, then every change in reverse order.
    pub(super) async fn undo(&mut self) -> RunResult {
        if let Err(stop) = Box::pin(self.settle_all()).await {
            return Box::pin(self.finish(Over::Stop(stop))).await;
        }
        // Inverses first: a lock that this run took off could forbid them.
        let changes: Vec<Change> = self.run.plan.changes().map(|(_, change)| change.clone()).collect();
        for change in changes.iter().rev().filter(|change| matches!(change.undo, Undo::Inverse { .. })) {
            Box::pin(self.invert(change)).await;
        }
        let restored = Box::pin(self.relock(Purpose::Undo)).await;
        for change in changes.iter().rev() {
            let state = self.state.changes.get(&change.id);
            if !state.is_some_and(|state| state.may_stand() && state.back == Phase::Idle) {
                continue;
            }
            let (word, detail) = match &change.undo {
                Undo::Restore | Undo::Inverse { .. } => continue,
                Undo::Irreversible { reason } => ("irreversible", reason.clone()),
                Undo::NotNeeded { reason } => ("not_needed", reason.clone()),
            };
            let ending =
                Ending { outcome: word.to_owned(), detail, code: String::new(), hint: None, permission: false };
            self.record_back(Event::Ended { change: change.id.clone(), purpose: Purpose::Undo, ending });
        }
        Box::pin(self.finish_undo(restored)).await
    }

    /// Before taking back, an operation in flight is followed to its end and each open change is read once.
    async fn settle_all(&mut self) -> Result<(), Stop> {
        let changes: Vec<Change> = self.run.plan.changes().map(|(_, change)| change.clone()).collect();
        for change in changes {
            let open = self.state.changes.get(&change.id).map(|state| state.forward.clone()).unwrap_or_default();
            if matches!(open, Phase::Idle | Phase::Ended(_)) {
                continue;
            }
            let mut last_error = None;
            self.settle_in_flight(&change, &mut last_error).await?;
            let outcome = Box::pin(self.settled_by_reading(&change, last_error)).await;
            self.end(&change, &outcome)?;
        }
        Ok(())
    }

    async fn settled_by_reading(&mut self, change: &Change, last_error: Option<Failure>) -> Outcome {
        // A lock is read by its restoration; that it may be off is what matters.
        if matches!(change.what, ChangeKind::RemoveLock { .. }) {
            return Outcome::Unknown { why: "stopped before it was proven; the restoration reads it".to_owned() };
        }
        // What Azure is still deleting is waited for: only then can be said what is left.
        let mut read = Box::pin(self.read_once(change)).await;
        if matches!(change.what, ChangeKind::DeleteCollection { .. } | ChangeKind::DeletePoint { .. }) {
            for _ in 0..SETTLE_TRIES {
                if read.is_some() {
                    break;
                }
                self.run.arm.clock().sleep(SETTLE_PROBE).await;
                read = Box::pin(self.read_once(change)).await;
            }
        }
        read.unwrap_or_else(|| match last_error {
            Some(error) => Outcome::Failed { error },
            None => Outcome::Unknown { why: "stopped before it was proven".to_owned() },
        })
    }
}

pub(super) fn ended(outcome: &Outcome) -> Ending {
    ending(outcome)
}
