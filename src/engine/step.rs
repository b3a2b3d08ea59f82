//! What the driver does next: a pure function of what it has seen.
//!
//! Duty: one table for making a change, undoing it by its inverse, and restoring a lock. [`Machine::next`] takes what was
//! seen and says what to do; the driver ([`super::driver`]) reads, sends, waits and writes the journal, and decides nothing.
//!
//! Invariants, held by tests over all short sequences of answers: between two requests of a change lie a reading and its
//! guards (S3); `Succeeded` follows a reading only, never an answer (S4); a request whose answer was lost is settled by
//! reading; every way is bounded by tries or by patience, and progress is never a failed try.
//! Must never: read a clock, a journal or Azure.

use std::time::Duration;

use jiff::Timestamp;

use super::state::Phase;
use crate::actions::outcome::{Failure, Outcome, Refusal};
use crate::actions::{Check, Request, Verify};
use crate::arm::id::ResourceId;
use crate::arm::{ArmError, ErrorClass, Operation};
use crate::clock::elapsed;
use crate::journal::{Answer, PauseReason, Purpose};

/// An operation that goes on for longer is not followed any more: the resource itself is read (the known CRP time-out).
pub(super) const OPERATION_PATIENCE: Duration = Duration::from_secs(20 * 60);
/// A longer Retry-After pauses the run instead of holding it.
const LONGEST_WAIT: Duration = Duration::from_secs(30 * 60);
/// First wait after an error without Retry-After; doubled each time.
const BACK_OFF: Duration = Duration::from_secs(10);
/// The longest of these.
const LONGEST_BACK_OFF: Duration = Duration::from_secs(160);
/// Between tries under a lock that is being released.
const LOCK_PROBE: Duration = Duration::from_secs(30);
/// A conflict that is answered this often stays: it is Azure's answer.
const MOST_CONFLICTS: u32 = 4;
/// Requests that did not get through, or were throttled, before a change pauses the run.
const MOST_UNANSWERED: u32 = 8;
/// Throttled readings of a guard before the run pauses.
const MOST_THROTTLED_READS: u32 = 3;
/// Requests for one undoing that Azure answered with an error.
const MOST_UNDO_TRIES: u32 = 6;
/// Looks at what is undone, whatever they say.
const MOST_UNDO_LOOKS: u32 = 60;
/// Undoing is not given up while Azure cannot be reached at all, or asks to wait, for this long: neither a network that is gone
/// for ten minutes nor a storm of 429 leaves a lock off. Still short enough for a job that has kept a quarter of an hour and is then started again.
const UNDO_PATIENCE: Duration = Duration::from_secs(15 * 60);
/// When to come back when Azure could not be reached or has not finished.
const COME_BACK: Duration = Duration::from_secs(15 * 60);
/// When to come back when Azure could not be reached.
const UNREACHABLE_FOR: Duration = Duration::from_secs(10 * 60);

/// What was seen.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Seen {
    /// Where the journal of this change ends; `to_prove` when an attempt of it is still to be proven.
    Journal { phase: Phase, to_prove: bool },
    /// What is known of the answer was written down.
    Answered,
    /// The job of the request was written down.
    Learned,
    /// One poll of the operation.
    Poll(PollSeen),
    /// The guards; `partly_unread` when some of the facts were not read.
    Guards { check: Box<Check>, partly_unread: bool },
    /// Whether Azure answers at all, and everything was read again.
    Reread(Option<Box<ArmError>>),
    /// Some of it was not read, because Azure asks to wait.
    PutOff,
    /// One request.
    Sent(SendSeen),
    /// One look for the proof.
    Proof(Verify),
    /// The locks over the resource, after ScopeLocked.
    Locks(LocksSeen),
    /// The wait is over.
    Waited,
    /// The step's time is over while it waited for `what`; `open` when a request is not settled.
    TimedOut { what: String, goes_on: bool, open: bool },
}

/// What a poll said.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum PollSeen {
    /// Not over.
    InProgress { operation: Box<Operation>, wait: Duration },
    /// Over without an error.
    Ended,
    /// Over with an error.
    Failed(Failure),
    /// It cannot be followed any more.
    Lost { how: Answer, failure: Failure },
    /// Azure cannot be asked now.
    Unreachable(String),
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum SendSeen {
    /// A 2xx.
    Done,
    /// Accepted as an operation.
    Accepted(Box<Operation>),
    /// An error.
    Error(SendError),
    /// Nothing was sent, because its intent could not be written.
    NotJournaled(Failure),
}

/// The error of a request, as far as it decides.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SendError {
    pub class: ErrorClass,
    pub failure: Failure,
    pub retry_after: Option<Duration>,
    /// It may have taken effect all the same.
    pub lost: bool,
    /// It was a DELETE.
    pub deletes: bool,
    /// The action allows another request of this kind after it.
    pub again: bool,
}

/// What a look at the locks over a resource says after ScopeLocked.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum LocksSeen {
    /// Somebody put a lock back that this run had removed: a stable reading after a stable absence.
    CameBack(Refusal),
    /// Azure still enforces a lock that was removed.
    Releasing,
    /// It has done so for longer than its documented replication takes.
    Late(String),
    /// A lock that this run did not remove.
    Other(Failure),
}

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Next {
    /// Write down what is known of the answer to the last request.
    Answer { how: Answer, detail: String },
    /// Write down the job of the request.
    Learn(ResourceId),
    /// Poll once.
    Poll(Box<Operation>),
    /// Read what is too old, then the resource, and evaluate the guards. `old_facts`: the resource first, and the facts after
    /// it, because its reading may take long.
    Guard { old_facts: bool },
    /// Ask whether Azure answers; if so read everything again.
    Reread,
    /// Write the intent, send once, write the answer.
    Send(Request),
    /// Look for the proof.
    Prove,
    /// Look at the locks over the resource.
    LookAtLocks(Failure),
    /// Wait.
    Wait { why: String, wait: Duration },
    /// The change is settled.
    End(End),
    /// The run stops here and can be resumed.
    Pause { why: PauseReason, detail: String, hint: Option<String>, wait: Duration },
}

/// How it ends.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum End {
    /// As a change ends.
    Outcome(Outcome),
    /// There is nothing to undo any more.
    NotNeeded(String),
}

/// Where a wait goes on.
#[derive(Debug, Clone, PartialEq)]
enum Then {
    Guard { old_facts: bool },
    Prove,
    Poll(Box<Operation>),
}

/// How the effect of a request is proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProvenBy {
    /// By a look of its own.
    Reading,
    /// By the guards of the next request: the inverse holds when they find nothing left to undo.
    Guards,
}

/// The way of one change, for one purpose.
#[derive(Debug)]
pub(super) struct Machine {
    purpose: Purpose,
    proven_by: ProvenBy,
    began: Timestamp,
    /// A request may have taken effect.
    sent: bool,
    /// The answer to the last one was lost.
    lost: bool,
    /// What Azure said last.
    last: Option<Failure>,
    /// A refusal that stands if Azure answers.
    refusal: Option<Refusal>,
    reread: bool,
    conflicts: u32,
    unanswered: u32,
    throttled: u32,
    throttled_reads: u32,
    /// Answered tries of an undoing, and looks at it.
    tries: u32,
    looks: u32,
    operation_since: Option<Timestamp>,
    then: Option<Then>,
    /// The end that follows once the open request is written down.
    end: Option<End>,
}

impl Machine {
    /// The beginning. `sent`: an earlier request of this purpose may have taken effect.
    pub(super) const fn new(purpose: Purpose, proven_by: ProvenBy, sent: bool, began: Timestamp) -> Self {
        Self {
            purpose,
            proven_by,
            began,
            sent,
            lost: false,
            last: None,
            refusal: None,
            reread: false,
            conflicts: 0,
            unanswered: 0,
            throttled: 0,
            throttled_reads: 0,
            tries: 0,
            looks: 0,
            operation_since: None,
            then: None,
            end: None,
        }
    }

    /// What Azure said last, for an end that has no words of its own.
    pub(super) const fn last(&self) -> Option<&Failure> {
        self.last.as_ref()
    }

    /// What to do after `seen`.
    pub(super) fn next(&mut self, seen: Seen, now: Timestamp) -> Next {
        match seen {
            Seen::Journal { phase, to_prove } => self.begin(phase, to_prove, now),
            Seen::Answered => match self.end.take() {
                Some(end) => Next::End(end),
                None if self.lost => self.after_loss(),
                None => self.proof(),
            },
            Seen::Learned => Next::Prove,
            Seen::Poll(poll) => self.polled(poll, now),
            Seen::Guards { check, partly_unread } => self.guarded(*check, partly_unread, now),
            Seen::Reread(error) => self.reread(error),
            Seen::PutOff => self.put_off(),
            Seen::Sent(sent) => self.after_sending(sent, now),
            Seen::Proof(proof) => self.proven(proof, now),
            Seen::Locks(locks) => self.locks(locks),
            Seen::Waited => match self.then.take() {
                Some(Then::Poll(operation)) => Next::Poll(operation),
                Some(Then::Prove) => Next::Prove,
                Some(Then::Guard { old_facts }) => Next::Guard { old_facts },
                None => Next::Guard { old_facts: false },
            },
            Seen::TimedOut { what, goes_on, open } => self.timed_out(&what, goes_on, open),
        }
    }

    fn begin(&mut self, phase: Phase, to_prove: bool, now: Timestamp) -> Next {
        match phase {
            Phase::Intended => self.answer(Answer::Lost, "azmend was stopped before the answer was written"),
            Phase::Accepted(operation) => match serde_json::from_value::<Operation>(operation) {
                Ok(operation) => {
                    self.sent = true;
                    self.operation_since = Some(now);
                    Next::Poll(Box::new(operation))
                }
                Err(error) => {
                    let detail = format!("the journaled operation cannot be read: {error}");
                    self.answer(Answer::Lost, &detail)
                }
            },
            Phase::Answered if to_prove => self.proof(),
            Phase::Idle | Phase::Answered | Phase::Ended(_) => Next::Guard { old_facts: false },
        }
    }

    fn answer(&mut self, how: Answer, detail: &str) -> Next {
        self.sent |= !how.is_rejection();
        self.lost = how == Answer::Lost;
        self.operation_since = None;
        Next::Answer { how, detail: detail.to_owned() }
    }

    /// Reading settles what a request did whose answer was lost. Not of a restoration: what is read may still be the lock that
    /// was deleted, or not be there for ever; it is sent again, for it changes nothing where it took effect (S6).
    const fn after_loss(&self) -> Next {
        match self.purpose {
            Purpose::Do => self.proof(),
            Purpose::Undo | Purpose::Relock => Next::Guard { old_facts: false },
        }
    }

    /// Reading settles what a request did.
    const fn proof(&self) -> Next {
        match self.proven_by {
            ProvenBy::Reading => Next::Prove,
            ProvenBy::Guards => Next::Guard { old_facts: false },
        }
    }

    fn wait(&mut self, why: impl Into<String>, wait: Duration, then: Then) -> Next {
        self.then = Some(then);
        Next::Wait { why: why.into(), wait }
    }

    /// A change pauses the run, to be resumed; an undoing ends, and says that it failed.
    fn give_up(&self, why: PauseReason, detail: String, hint: Option<String>, wait: Duration) -> Next {
        if self.purpose == Purpose::Do {
            return Next::Pause { why, detail, hint, wait };
        }
        let failure = Failure { hint, ..Failure::new("", detail) };
        self.failed(failure)
    }

    /// A failure, with what Azure said last.
    fn failed(&self, mut failure: Failure) -> Next {
        if let Some(last) = self.last.clone().filter(|last| last.message != failure.message) {
            if last.code == IN_USE {
                return Next::End(End::Outcome(in_use(&last)));
            }
            failure.message = format!("{}; Azure's last answer: {}", failure.message, last.message);
            if failure.code.is_empty() {
                failure.code = last.code;
            }
            failure.hint = failure.hint.or(last.hint);
            failure.permission |= last.permission;
        }
        outcome(Outcome::Failed { error: failure })
    }

    fn polled(&mut self, poll: PollSeen, now: Timestamp) -> Next {
        match poll {
            PollSeen::Ended => self.answer(Answer::Ok, ""),
            PollSeen::InProgress { operation, wait } => {
                let since = *self.operation_since.get_or_insert(now);
                if elapsed(since, now) <= OPERATION_PATIENCE {
                    return self.wait("Azure's operation", wait, Then::Poll(operation));
                }
                let minutes = OPERATION_PATIENCE.as_secs() / 60;
                let detail = format!("the operation did not end within {minutes} minutes");
                self.last = Some(Failure::new("", detail.clone()));
                self.answer(Answer::OperationTimeout, &detail)
            }
            PollSeen::Failed(failure) => {
                let detail = failure.message.clone();
                self.last = Some(failure);
                self.answer(Answer::OperationFailed, &detail)
            }
            PollSeen::Lost { how, failure } => {
                let detail = failure.message.clone();
                self.last = Some(failure);
                self.answer(how, &detail)
            }
            PollSeen::Unreachable(error) if self.purpose == Purpose::Do => Next::Pause {
                why: PauseReason::Unreachable,
                detail: format!("the state of an operation cannot be read from Azure: {error}"),
                hint: None,
                wait: UNREACHABLE_FOR,
            },
            // Reading goes on for as long as an undoing is not given up.
            PollSeen::Unreachable(error) => self.answer(Answer::Lost, &error),
        }
    }

    fn guarded(&mut self, check: Check, partly_unread: bool, now: Timestamp) -> Next {
        self.looks += 1;
        if self.purpose != Purpose::Do && self.looks > MOST_UNDO_LOOKS {
            let why = match check {
                Check::Wait { why, .. } => format!("azmend waited, and it has not ended: {why}"),
                _ => "it differs from what it was before".to_owned(),
            };
            return self.failed(Failure::new("", why));
        }
        match check {
            Check::Go(_) if self.purpose != Purpose::Do && self.tries >= MOST_UNDO_TRIES => {
                self.failed(Failure::new("", format!("Azure did not accept it in {} tries", self.tries)))
            }
            Check::Go(request) => Next::Send(request),
            Check::Holds(detail) if self.sent => outcome(Outcome::Succeeded { detail }),
            Check::Holds(detail) => outcome(Outcome::AlreadyDone { detail }),
            Check::NotNeeded(detail) => Next::End(End::NotNeeded(detail)),
            Check::Follow(Some(job)) => Next::Learn(job),
            Check::Follow(None) => Next::Prove,
            Check::Wait { why, wait } => self.wait(why, wait, Then::Guard { old_facts: false }),
            Check::Skip(why) => outcome(Outcome::Skipped { why }),
            // What was not read may have been unreachable for a moment: a refusal needs a second, whole reading.
            Check::Refuse(refusal) if partly_unread => {
                self.refusal = Some(refusal);
                Next::Reread
            }
            Check::Refuse(refusal) => outcome(Outcome::Refused { refusal }),
            Check::Unknown(why) => outcome(Outcome::Unknown { why }),
            Check::GiveUp(failure) => self.failed(failure),
            Check::Late { why, wait, hint } => self.give_up(PauseReason::OperationPending, why, hint, wait),
            Check::Unreadable(error) => self.unreadable(&error, now),
        }
    }

    fn unreadable(&mut self, error: &ArmError, now: Timestamp) -> Next {
        let text = error.to_string();
        match error.class() {
            ErrorClass::Throttled if self.waits_for_a_throttled_reading(now) => {
                self.throttled_reads += 1;
                let wait = error.retry_after.map_or(BACK_OFF, |span| span.to_std()).max(BACK_OFF);
                if wait > LONGEST_WAIT {
                    return self.give_up(PauseReason::Throttled, text, None, wait);
                }
                self.wait(text, wait, Then::Guard { old_facts: true })
            }
            ErrorClass::Throttled => self.give_up(PauseReason::Throttled, text, None, UNREACHABLE_FOR),
            _ if error.is_unreachable() && self.purpose != Purpose::Do => {
                if self.out_of_patience(now) {
                    return self.failed(failure_of(error));
                }
                self.unanswered += 1;
                self.last = Some(failure_of(error));
                let wait = back_off(self.unanswered);
                self.wait(text, wait, Then::Guard { old_facts: false })
            }
            _ if error.is_unreachable() => self.give_up(PauseReason::Unreachable, text, None, UNREACHABLE_FOR),
            // A request left, and nobody lets azmend see what came of it: that is not "it did not happen".
            _ if self.sent && self.purpose == Purpose::Do => outcome(Outcome::Unknown {
                why: format!("a request was sent, and its resource can no longer be read: {text}"),
            }),
            _ if self.purpose != Purpose::Do && !failure_of(error).permission => {
                self.tries += 1;
                self.last = Some(failure_of(error));
                if self.tries >= MOST_UNDO_TRIES {
                    return self.failed(failure_of(error));
                }
                let wait = back_off(self.tries);
                self.wait(text, wait, Then::Guard { old_facts: false })
            }
            _ => outcome(Outcome::Failed { error: failure_of(error) }),
        }
    }

    /// Whether an undoing has waited for Azure as long as it may.
    fn out_of_patience(&self, now: Timestamp) -> bool {
        elapsed(self.began, now) >= UNDO_PATIENCE
    }

    fn waits_for_a_throttled_reading(&self, now: Timestamp) -> bool {
        match self.purpose {
            Purpose::Do => self.throttled_reads < MOST_THROTTLED_READS,
            Purpose::Undo | Purpose::Relock => !self.out_of_patience(now),
        }
    }

    fn reread(&mut self, error: Option<Box<ArmError>>) -> Next {
        if let Some(error) = error {
            return self.give_up(PauseReason::Unreachable, error.to_string(), None, UNREACHABLE_FOR);
        }
        let refusal = self.refusal.take();
        match refusal {
            Some(refusal) if self.reread => outcome(Outcome::Refused { refusal }),
            _ => {
                self.reread = true;
                Next::Guard { old_facts: false }
            }
        }
    }

    /// What was not read may be read later, and then may not speak against the change.
    fn put_off(&mut self) -> Next {
        let why = self.refusal.take().map(|refusal| refusal.why).unwrap_or_default();
        self.give_up(PauseReason::Throttled, why, None, UNREACHABLE_FOR)
    }

    fn after_sending(&mut self, sent: SendSeen, now: Timestamp) -> Next {
        match sent {
            SendSeen::Done => {
                self.answered();
                self.proof()
            }
            SendSeen::Accepted(operation) => {
                self.answered();
                self.operation_since = Some(now);
                // At once it is not over: Azure says when to ask, or the usual time passes.
                let wait = operation.wait();
                self.wait("Azure's operation", wait, Then::Poll(operation))
            }
            SendSeen::NotJournaled(failure) => outcome(Outcome::Failed { error: failure }),
            SendSeen::Error(error) => self.rejected(error, now),
        }
    }

    const fn answered(&mut self) {
        self.sent = true;
        self.conflicts = 0;
        self.unanswered = 0;
        self.throttled = 0;
    }

    fn rejected(&mut self, error: SendError, now: Timestamp) -> Next {
        let SendError { class, failure, retry_after, lost, deletes, again } = error;
        self.last = Some(failure.clone());
        self.sent |= lost;
        let undo = self.purpose != Purpose::Do;
        // Azure that asks to wait is waited for, as one that cannot be reached: neither is a try.
        let waits =
            matches!(class, ErrorClass::NotSent | ErrorClass::Lost | ErrorClass::Transient | ErrorClass::Throttled);
        if undo && !waits {
            self.tries += 1;
        }
        match class {
            // It is not there, says the answer; only reading proves it.
            ErrorClass::NotFound if undo => {
                self.sent = true;
                Next::Guard { old_facts: false }
            }
            ErrorClass::NotFound if deletes => {
                self.sent = true;
                self.proof()
            }
            ErrorClass::InUse => outcome(in_use(&failure)),
            // Azure says so whatever its lists of jobs show: that backup comes to its end without us.
            ErrorClass::BackupRunning if !undo => {
                let detail = format!("Azure says that a backup is running: {}", failure.message);
                self.give_up(PauseReason::OperationPending, detail, None, COME_BACK)
            }
            ErrorClass::ScopeLocked if !undo => Next::LookAtLocks(failure),
            ErrorClass::Conflict | ErrorClass::VmChanged if lost || again => {
                self.conflicts += 1;
                if self.conflicts >= MOST_CONFLICTS {
                    let hint = failure.hint.clone().unwrap_or_else(|| CONFLICT_HINT.to_owned());
                    return outcome(Outcome::Failed { error: failure.with_hint(hint) });
                }
                self.retry(failure.message, retry_after, self.conflicts, lost)
            }
            ErrorClass::Throttled if again => {
                self.throttled += 1;
                let wait = retry_after.unwrap_or_else(|| back_off(self.throttled));
                let over = if undo { self.out_of_patience(now) } else { self.throttled > MOST_UNANSWERED };
                if over || wait > LONGEST_WAIT {
                    return self.give_up(PauseReason::Throttled, failure.message, None, wait.max(UNREACHABLE_FOR));
                }
                self.retry(failure.message, Some(wait), self.throttled, lost)
            }
            _ if lost || again => {
                self.unanswered += 1;
                let over = if undo { self.out_of_patience(now) } else { self.unanswered > MOST_UNANSWERED };
                if over {
                    let tries = self.unanswered;
                    let detail = format!("Azure did not accept the request after {tries} tries: {}", failure.message);
                    return self.give_up(PauseReason::Unreachable, detail, None, UNREACHABLE_FOR);
                }
                self.retry(failure.message, retry_after, self.unanswered, lost)
            }
            _ => outcome(Outcome::Failed { error: failure }),
        }
    }

    /// Another try, after reading; for the proof first when the last one may have taken effect.
    fn retry(&mut self, why: String, retry_after: Option<Duration>, nth: u32, lost: bool) -> Next {
        let wait = retry_after.unwrap_or_else(|| back_off(nth));
        if wait > LONGEST_WAIT {
            return self.give_up(PauseReason::Throttled, why, None, wait);
        }
        let prove = lost && self.purpose == Purpose::Do;
        let then = if prove { Then::Prove } else { Then::Guard { old_facts: false } };
        self.wait(why, wait, then)
    }

    fn proven(&mut self, proof: Verify, now: Timestamp) -> Next {
        match proof {
            Verify::Done(detail) => outcome(Outcome::Succeeded { detail }),
            Verify::Found(job) => Next::Learn(job),
            Verify::Pending { why, .. } if self.purpose != Purpose::Do && self.out_of_patience(now) => {
                self.failed(Failure::new("", why))
            }
            Verify::Pending { why, wait } => self.wait(why, wait, Then::Prove),
            Verify::Again { why, wait } => self.wait(why, wait, Then::Guard { old_facts: false }),
            Verify::CleanUpPending { why, wait } => {
                Next::Pause { why: PauseReason::CleanUpPending, detail: why, hint: None, wait }
            }
            Verify::Late { why, wait, hint } => self.give_up(PauseReason::OperationPending, why, hint, wait),
            Verify::Failed(error) => outcome(Outcome::Failed { error }),
            Verify::Refused(refusal) => outcome(Outcome::Refused { refusal }),
            Verify::Unknown(why) => outcome(Outcome::Unknown { why }),
        }
    }

    fn locks(&mut self, seen: LocksSeen) -> Next {
        match seen {
            LocksSeen::CameBack(refusal) => outcome(Outcome::Refused { refusal }),
            LocksSeen::Releasing => {
                self.wait("Azure to release the removed lock", LOCK_PROBE, Then::Guard { old_facts: false })
            }
            LocksSeen::Late(detail) => self.give_up(PauseReason::LockReleasing, detail, None, COME_BACK),
            LocksSeen::Other(error) => outcome(Outcome::Failed { error }),
        }
    }

    fn timed_out(&mut self, what: &str, goes_on: bool, open: bool) -> Next {
        let detail = format!("the step timed out while waiting for {what}");
        if !goes_on {
            return Next::Pause { why: PauseReason::OperationPending, detail, hint: None, wait: COME_BACK };
        }
        let end = End::Outcome(Outcome::Failed { error: Failure::new("timeout", detail.clone()) });
        if open {
            self.end = Some(end);
            return self.answer(Answer::OperationTimeout, &detail);
        }
        Next::End(end)
    }
}

const IN_USE: &str = "DiskRestorePointUsedByCustomer";
const CONFLICT_HINT: &str = "Azure says that something else is using the resource: stop that, then run azmend again";

const fn outcome(outcome: Outcome) -> Next {
    Next::End(End::Outcome(outcome))
}

/// 10 s, 20 s, 40 s ... at most 160 s.
fn back_off(nth: u32) -> Duration {
    (BACK_OFF * 2u32.pow(nth.clamp(1, 5) - 1)).min(LONGEST_BACK_OFF)
}

/// Azure's `DiskRestorePointUsedByCustomer` is a refusal, not a failure to be tried again (S8).
fn in_use(failure: &Failure) -> Outcome {
    let why = format!("Azure says the point is in use: {}", failure.message);
    let hint = "end the access (SAS) to its disk restore points, then run azmend again";
    Outcome::Refused { refusal: Refusal::new("s8.in-use", why).hint(hint) }
}

/// The failure that an error of ARM stands for.
pub(super) fn failure_of(error: &ArmError) -> Failure {
    let permission =
        matches!(error.class(), ErrorClass::Forbidden | ErrorClass::DeniedByAssignment | ErrorClass::SignIn);
    Failure { code: error.code.clone(), message: error.to_string(), hint: error.hint(), permission }
}

#[cfg(test)]
#[path = "step_tests.rs"]
mod tests;
