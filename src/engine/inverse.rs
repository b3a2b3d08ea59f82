//! Taking a change back by its inverse: a request that undoes exactly what the change did.
//!
//! Duty: read, journal the intent, send once, follow, prove by reading. Unlike a lock, an inverse is never sent without
//! its record: when the journal cannot be written it is not sent, and the result says so. A resource that somebody
//! changed since is theirs: it is left alone (S3). Bounded by tries; what does not come back is named in the result.

use std::time::Duration;

use uuid::Uuid;

use super::back::ended;
use super::drive::failure_of;
use super::progress::Progress;
use super::run::Session;
use super::state::Phase;
use crate::actions::change::{Change, Failure, Outcome};
use crate::actions::{self, Inverse};
use crate::arm::{ErrorClass, Operation, PollState, Sent, Tag};
use crate::clock::elapsed;
use crate::journal::{Ending, Event, Purpose};

/// Requests for one inverse.
const TRIES: u32 = 4;
/// Looks at one resource, whatever they say.
const LOOKS: u32 = 60;
/// Between them.
const PROBE: Duration = Duration::from_secs(10);
/// An operation is followed for this long; then the resource itself is read.
const PATIENCE: Duration = Duration::from_secs(20 * 60);

impl Session<'_> {
    /// Takes one change back, if it may have taken effect and was not taken back already.
    pub(super) async fn invert(&mut self, change: &Change) {
        let Some(state) = self.state.changes.get(&change.id) else { return };
        if !state.may_stand() || state.taken_back() {
            return;
        }
        let before = state.before.clone();
        let resource = change.resource().short_name();
        self.tell(&Progress::Inverse { resource: resource.clone(), outcome: None });
        // An earlier process died between the request and its answer: reading settles it.
        match state.back.clone() {
            Phase::Intended => {
                self.back_answered(change, "lost", "azmend was stopped before the answer was written".to_owned());
            }
            Phase::Accepted(operation) => match serde_json::from_value::<Operation>(operation) {
                Ok(operation) => {
                    Box::pin(self.follow_back(change, operation)).await;
                }
                Err(error) => {
                    self.back_answered(change, "lost", format!("the journaled operation is not readable: {error}"));
                }
            },
            Phase::Idle | Phase::Answered | Phase::Ended(_) => {}
        }
        let ending = Box::pin(self.inverted(change, &before)).await;
        let text = format!("{}: {}", ending.outcome.replace('_', " "), ending.detail);
        self.tell(&Progress::Inverse { resource: resource.clone(), outcome: Some(text) });
        if !matches!(ending.outcome.as_str(), "succeeded" | "already_done" | "not_needed") {
            self.warn(format!("{resource} was not taken back: {}", ending.detail));
        }
        self.record_back(Event::Ended { change: change.id.clone(), purpose: Purpose::Undo, ending });
    }

    async fn inverted(&mut self, change: &Change, before: &serde_json::Value) -> Ending {
        let mut last: Option<Failure> = None;
        let earlier = self.state.changes.get(&change.id).map_or(0, |state| state.back_attempts);
        let mut sent = earlier > 0;
        let mut tries = 0;
        for _ in 0..LOOKS {
            let next = match Box::pin(actions::check_inverse(&self.run.arm, change, before, sent)).await {
                Inverse::Go(next) => next,
                Inverse::Holds(detail) if sent => return ended(&Outcome::Succeeded { detail }),
                Inverse::Holds(detail) => return ended(&Outcome::AlreadyDone { detail }),
                Inverse::NotNeeded(detail) => {
                    let outcome = "not_needed".to_owned();
                    return Ending { outcome, detail, code: String::new(), hint: None, permission: false };
                }
                Inverse::Refuse(refusal) => return ended(&Outcome::Refused { refusal }),
                Inverse::Wait { why, wait } => {
                    last = Some(Failure::new("", format!("Azure was busy with it: {why}")));
                    self.run.arm.clock().sleep(wait).await;
                    continue;
                }
                Inverse::Unreadable(error) => {
                    let failure = failure_of(&error);
                    if failure.permission {
                        return ended(&Outcome::Failed { error: failure });
                    }
                    last = Some(failure);
                    self.run.arm.clock().sleep(PROBE).await;
                    continue;
                }
            };
            if tries == TRIES {
                break;
            }
            tries += 1;
            let tag = Tag { client_request_id: Uuid::new_v4() };
            let intent = Event::Intent {
                change: change.id.clone(),
                attempt: earlier + tries,
                purpose: Purpose::Undo,
                verb: next.verb.as_str().to_owned(),
                target: next.target.to_string(),
                before: next.before.clone(),
                client_request_id: tag.client_request_id.to_string(),
            };
            if self.record(intent).is_err() {
                let message = "the journal cannot be written, so nothing was sent".to_owned();
                return ended(&Outcome::Failed { error: Failure::new("journal", message) });
            }
            sent = true;
            match Box::pin(actions::send_inverse(&self.run.arm, change, &next, &tag)).await {
                Ok(Sent::Done { .. }) => self.back_answered(change, "ok", String::new()),
                Ok(Sent::Accepted(operation)) => {
                    let value = serde_json::to_value(operation.unsigned()).unwrap_or_default();
                    let purpose = Purpose::Undo;
                    self.record_back(Event::Accepted { change: change.id.clone(), purpose, operation: value });
                    if let Some(failure) = Box::pin(self.follow_back(change, operation)).await {
                        last = Some(failure);
                    }
                }
                Err(error) => {
                    let how = if error.may_have_taken_effect() { "lost" } else { "rejected" };
                    self.back_answered(change, how, error.to_string());
                    let failure = failure_of(&error);
                    let again = matches!(
                        error.class(),
                        ErrorClass::Throttled
                            | ErrorClass::NotSent
                            | ErrorClass::Transient
                            | ErrorClass::Lost
                            | ErrorClass::Conflict
                            | ErrorClass::VmChanged
                    );
                    if !again {
                        return ended(&Outcome::Failed { error: failure });
                    }
                    self.tell(&Progress::Retry { why: failure.message.clone() });
                    let wait = error.retry_after.map_or(PROBE * tries, |span| span.to_std().min(PATIENCE));
                    last = Some(failure);
                    self.run.arm.clock().sleep(wait).await;
                }
            }
        }
        let failure = last.unwrap_or_else(|| Failure::new("", "it does not read as it was before"));
        ended(&Outcome::Failed { error: failure })
    }

    /// Polls the operation of an inverse to its end, which is journaled. Whether it took effect is read afterwards.
    async fn follow_back(&mut self, change: &Change, mut operation: Operation) -> Option<Failure> {
        let since = self.now();
        loop {
            let poll = match Box::pin(self.run.arm.poll(&operation)).await {
                Ok(poll) => poll,
                Err(error) => {
                    self.back_answered(change, "lost", error.to_string());
                    return Some(failure_of(&error));
                }
            };
            operation = poll.operation;
            match poll.state {
                PollState::InProgress if elapsed(since, self.now()) <= PATIENCE => {
                    self.run.arm.clock().sleep(poll.wait).await;
                }
                PollState::InProgress => {
                    let detail = "the operation did not end in time".to_owned();
                    self.back_answered(change, "operation_timeout", detail.clone());
                    return Some(Failure::new("", detail));
                }
                PollState::Succeeded { .. } | PollState::Gone => {
                    self.back_answered(change, "ok", String::new());
                    return None;
                }
                PollState::Failed(error) | PollState::Canceled(error) => {
                    self.back_answered(change, "operation_failed", error.to_string());
                    return Some(failure_of(&error));
                }
            }
        }
    }

    fn back_answered(&mut self, change: &Change, how: &str, detail: String) {
        let (change, purpose) = (change.id.clone(), Purpose::Undo);
        self.record_back(Event::Answered { change, purpose, how: how.to_owned(), detail });
    }
}
