//! The one driver: makes a change, undoes it by its inverse, or restores a lock.
//!
//! Duty: what [`super::step::Machine`] says: read, evaluate the guards, write the intent, send once, write the answer, poll,
//! look for the proof, wait. It decides nothing but whether facts are fresh enough.
//!
//! Invariants: no request leaves before its intent is on disk (S2), but for a lock's restoration, whose intent is the record
//! of its removal; facts that a guard looks at are as fresh as it demands when the request leaves, however long the reading
//! of the guard itself took (S3); what a request did is read before a change ends otherwise than by success (S4, S6).
//! Must never: send without the guards just before, or end a change whose effect was not read without saying so.

use std::time::Duration;

use uuid::Uuid;

use super::active_run::{ActiveRun, Halt};
use super::plan::{OnFailure, PlannedStep};
use super::progress::Progress;
use super::state::{ChangeState, Phase};
use super::step::{End, LocksSeen, Machine, Next, PollSeen, ProvenBy, Seen, SendError, SendSeen, failure_of};
use crate::actions::ChangeKind;
use crate::actions::change::{Change, Undo};
use crate::actions::locks::{self, RemoveLock};
use crate::actions::outcome::{Failure, Outcome, Refusal};
use crate::actions::{self, Check, Context, History, Inverse, Request, Verb, Verify};
use crate::arm::model::Lock;
use crate::arm::{ArmError, CallPurpose, ErrorClass, Operation, PollState, Sent, Tag};
use crate::clock::elapsed;
use crate::facts::collect::Refresh;
use crate::facts::vm_facts::VmFacts;
use crate::journal::{Answer, Effect, EndKind, Ending, Event, Fact, PauseReason, Purpose};

/// A request whose intent took longer to write is not sent: what was read before it may be out of date.
const SLOW_JOURNAL: Duration = Duration::from_secs(10);
/// How often facts are read again for one request because reading its resource took longer than that.
const MOST_ROUNDS: usize = 3;
/// Azure's replicas may enforce a removed lock for this long; then the run is resumed later. No time is documented; Terraform's
/// provider waits two minutes, and reports name ten.
const LOCK_RELEASE: Duration = Duration::from_secs(15 * 60);
/// A backup is not started sooner after an unlocking: while Azure still enforces the lock somewhere, Azure Backup cannot
/// clean up, and says so only hours later. Terraform's provider waits as long for a lock to be gone everywhere.
const LOCK_QUIET: Duration = Duration::from_secs(120);
/// Between two looks for the job of a backup that another run requested; longer than a list of jobs counts as fresh.
const UNSEEN_PROBE: Duration = Duration::from_secs(75);
/// What is driven.
#[derive(Debug, Clone, Copy)]
pub(super) struct Task<'a> {
    pub change: &'a Change,
    pub purpose: Purpose,
    /// The step it belongs to: its time, and what follows when that is over. Undoing has none.
    pub step: Option<&'a PlannedStep>,
}

impl ActiveRun<'_> {
    /// Drives one task from wherever its journal ends to its end, which is journaled.
    ///
    /// # Errors
    /// [`Halt`]: the run stops here. Undoing never halts: it ends, and its end says what is missing.
    pub(super) async fn drive(&mut self, task: Task<'_>) -> Result<End, Halt> {
        let state = self.change_state(task.change);
        let purpose = task.purpose;
        let sent_back_before = state.back_attempts;
        let (phase, sent) = match purpose {
            // A lock that this run restored is removed once more: nothing of the earlier removal counts.
            Purpose::Do if state.restored() => (Phase::Idle, false),
            Purpose::Do => (state.forward.clone(), !self.history(task.change).attempts.is_empty()),
            Purpose::Undo | Purpose::Relock => (open(&state.back), state.back_attempts > 0),
        };
        let history = self.history(task.change);
        let to_prove = match purpose {
            Purpose::Do => !history.attempts.is_empty() && !history.closed,
            // A restoration is sent again, whatever reading says; an inverse is proven by its guards.
            Purpose::Undo | Purpose::Relock => false,
        };
        let proven_by = if purpose != Purpose::Do && matches!(task.change.undo, Undo::Inverse { .. }) {
            ProvenBy::Guards
        } else {
            ProvenBy::Reading
        };
        let mut machine = Machine::new(purpose, proven_by, sent, self.now());
        let mut seen = Seen::Journal { phase, to_prove };
        loop {
            let next = machine.next(seen, self.now());
            if let Some(purpose) = purpose_of(&next) {
                self.calls_are_for(purpose);
            }
            seen = match next {
                Next::End(end) => {
                    let end = Box::pin(self.restored_after_all(task, end, sent_back_before)).await;
                    self.settle(task, &end, machine.last()).await?;
                    return Ok(end);
                }
                Next::Pause { why, detail, hint, wait } => return Err(Halt::Pause { why, detail, hint, wait }),
                Next::Answer { how, detail } => {
                    self.answered(task, how, detail).await?;
                    Seen::Answered
                }
                Next::Learn(job) => {
                    self.learned(task, job).await?;
                    Seen::Learned
                }
                Next::Poll(operation) => self.poll(task, *operation).await?,
                Next::Guard { old_facts } => Box::pin(self.guard(task, old_facts)).await?,
                Next::Reread => self.reread().await,
                Next::Send(request) => match self.timed_out(task, "Azure") {
                    Some(over) => over,
                    None => Box::pin(self.send(task, &request)).await?,
                },
                Next::Prove => Seen::Proof(Box::pin(self.prove(task)).await),
                Next::LookAtLocks(failure) => Seen::Locks(Box::pin(self.look_at_locks(task.change, failure)).await),
                Next::Wait { why, wait } => self.hold(task, &why, wait).await?,
            };
        }
    }

    /// What earlier attempts of a change left.
    pub(super) fn history(&self, change: &Change) -> History {
        self.state
            .changes
            .get(&change.id)
            .filter(|state| !state.restored())
            .map(|state| state.history.clone())
            .unwrap_or_default()
    }

    fn change_state(&self, change: &Change) -> ChangeState {
        self.state.changes.get(&change.id).cloned().unwrap_or_default()
    }

    // Waiting.

    /// Waits; a change is held only while its step has time, and while nobody asked azmend to stop.
    async fn hold(&mut self, task: Task<'_>, why: &str, wait: Duration) -> Result<Seen, Halt> {
        if task.purpose != Purpose::Do {
            self.tell(&Progress::Waiting { what: why.to_owned(), wait, since: self.now() });
            self.arm.clock().sleep(wait).await;
            return Ok(Seen::Waited);
        }
        if let Some(over) = self.timed_out(task, why) {
            return Ok(over);
        }
        self.wait(why, wait).await?;
        Ok(Seen::Waited)
    }

    /// Whether the time of the step is over.
    fn timed_out(&self, task: Task<'_>, what: &str) -> Option<Seen> {
        let step = task.step?;
        let over = self.step_age(step) > step.timeout.to_std();
        let open = matches!(self.change_state(task.change).forward, Phase::Intended | Phase::Accepted(_));
        over.then(|| Seen::TimedOut {
            what: what.to_owned(),
            goes_on: step.on_failure == OnFailure::Continue,
            open: task.purpose == Purpose::Do && open,
        })
    }

    // Guards.

    async fn guard(&mut self, task: Task<'_>, old_facts: bool) -> Result<Seen, Halt> {
        if task.purpose != Purpose::Do {
            let check = Box::pin(self.guard_undo(task)).await;
            return Ok(Seen::Guards { check: Box::new(check), partly_unread: false });
        }
        self.pause_point(Duration::ZERO)?;
        if let Some(rest) = self.lock_quiet(task.change) {
            let check = Check::Wait { why: "Azure to release the removed lock".to_owned(), wait: rest };
            return Ok(Seen::Guards { check: Box::new(check), partly_unread: false });
        }
        let history = self.history(task.change);
        let mut fresh = old_facts && self.facts.is_some();
        for _ in 0..MOST_ROUNDS {
            let missing = if fresh { Refresh::NOTHING } else { self.freshen(task.change).await };
            self.not_too_early(&history)?;
            if history.attempts.is_empty()
                && let Some(rest) = self.unseen_backup(task.change)
            {
                let why = "the job of a backup that another run requested".to_owned();
                let check = Check::Wait { why, wait: rest.min(UNSEEN_PROBE) };
                return Ok(Seen::Guards { check: Box::new(check), partly_unread: false });
            }
            let check = Box::pin(self.check(task.change, &history)).await;
            // Reading the resource may have waited for minutes: then the facts are too old by now (S3).
            if !matches!(check, Check::Go(_)) || self.too_old(task.change) == missing {
                let partly_unread = self.partly_unread();
                return Ok(Seen::Guards { check: Box::new(check), partly_unread });
            }
            fresh = false;
        }
        let name = task.change.resource().short_name();
        Err(Halt::Pause {
            why: PauseReason::Throttled,
            detail: format!(
                "Azure answers so slowly that what decides on {name} is out of date when it could be changed"
            ),
            hint: None,
            wait: Duration::from_secs(600),
        })
    }

    /// The VM must still be the one in the plan; then the action's own checks.
    async fn check(&self, change: &Change, history: &History) -> Check {
        let Some(facts) = self.facts.as_ref() else {
            return Check::Refuse(Refusal::new("s12.unread", "the VM was not read"));
        };
        if let Some(refusal) = same_vm(&self.run.plan.vm_id, facts) {
            return Check::Refuse(refusal);
        }
        actions::check(&self.context(facts), change, history).await
    }

    pub(super) fn context<'c>(&'c self, facts: &'c VmFacts) -> Context<'c> {
        Context {
            arm: &self.arm,
            facts,
            overrides: &self.run.plan.overrides,
            named_locks: &self.run.plan.named_locks,
            unlocked: self.unlocked(),
        }
    }

    /// Whether something of the last reading is unread.
    fn partly_unread(&self) -> bool {
        self.view().is_none_or(|view| !view.unread.is_empty())
    }

    /// Whether Azure answers at all; if so everything is read again.
    async fn reread(&mut self) -> Seen {
        match self.arm.vm(&self.run.plan.vm).await {
            Err(error) if cannot_be_asked(&error) => Seen::Reread(Some(Box::new(error))),
            _ => {
                let before = self.arm.put_off();
                self.read_everything().await;
                let put_off = self.arm.put_off() > before && self.partly_unread();
                if put_off { Seen::PutOff } else { Seen::Reread(None) }
            }
        }
    }

    /// The guards of an undoing.
    async fn guard_undo(&self, task: Task<'_>) -> Check {
        let state = self.change_state(task.change);
        if let ChangeKind::RemoveLock(RemoveLock { lock }) = &task.change.what {
            let sent = self.state.locks.state(&task.change.id).is_some();
            return match Box::pin(locks::check_restore(&self.arm, lock, sent, state.back_attempts > 0)).await {
                locks::Restore::Go => {
                    Check::Go(Request { verb: Verb::Put, target: lock.id.clone(), before: serde_json::Value::Null })
                }
                locks::Restore::Stands => Check::Holds("it is in force with the same content".to_owned()),
                locks::Restore::Other(difference) => {
                    let why = format!("a lock of that name with other content is in force: {difference}");
                    Check::Refuse(Refusal::new("s6.other-content", why))
                }
                locks::Restore::ScopeGone => Check::NotNeeded("what it locked is gone".to_owned()),
                locks::Restore::Unreadable(error) => Check::Unreadable(error),
            };
        }
        let sent = state.back_attempts > 0;
        match Box::pin(actions::check_inverse(&self.arm, task.change, &state.before, sent)).await {
            Inverse::Go(request) => Check::Go(request),
            Inverse::Holds(detail) => Check::Holds(detail),
            Inverse::NotNeeded(detail) => Check::NotNeeded(detail),
            Inverse::Wait { why, wait } => Check::Wait { why, wait },
            Inverse::Refuse(refusal) => Check::Refuse(refusal),
            Inverse::Unreadable(error) => Check::Unreadable(error),
        }
    }

    /// A backup that would fail again because Azure Backup has not cleaned up yet is not started: it would use up an
    /// attempt of the day and end the run as if nothing helped. Unless there is room already.
    fn not_too_early(&self, history: &History) -> Result<(), Halt> {
        let Some(wait) = history.not_before.map(|at| elapsed(self.now(), at)).filter(|wait| !wait.is_zero()) else {
            return Ok(());
        };
        if !history.closed || self.has_room() {
            return Ok(());
        }
        let detail = "Azure Backup is still cleaning up restore points, and there is no room yet".to_owned();
        Err(Halt::Pause { why: PauseReason::CleanUpPending, detail, hint: None, wait })
    }

    /// Whether the VM was read to be below its limit.
    pub(super) fn has_room(&self) -> bool {
        self.view().is_some_and(|view| {
            view.unread("points.count").is_none()
                && view.unread("points.limit").is_none()
                && view.points.count < view.points.limit
        })
    }

    /// How long a backup or a deletion still waits for the job of a backup that another run requested.
    fn unseen_backup(&self, change: &Change) -> Option<Duration> {
        let facts = self.facts.as_ref().filter(|_| change.what.disturbs_a_backup())?;
        self.run.earlier.unseen_backup(facts, self.now()).map(|(_, rest)| rest)
    }

    /// How long a backup still waits after the last unlocking.
    fn lock_quiet(&self, change: &Change) -> Option<Duration> {
        if !matches!(change.what, ChangeKind::StartBackup(_)) {
            return None;
        }
        let ended = |other: &Change| {
            let state = self.state.changes.get(&other.id).filter(|state| state.may_have_effect())?;
            Some((other.resource().clone(), state.ended_at?))
        };
        let removed = self.run.plan.changes().filter_map(|(_, other)| match &other.what {
            ChangeKind::RemoveLock(RemoveLock { lock }) => ended(other).map(|(_, at)| (lock.scope(), at)),
            _ => None,
        });
        // A deletion under it that succeeded since proves that it is released.
        let deleted: Vec<_> = self
            .run
            .plan
            .changes()
            .filter(|(_, other)| matches!(other.what, ChangeKind::DeletePoint(_) | ChangeKind::DeleteCollection(_)))
            .filter_map(|(_, other)| ended(other))
            .collect();
        let last = removed
            .filter(|(scope, at)| !deleted.iter().any(|(gone, since)| scope.covers(gone) && since > at))
            .map(|(_, at)| at)
            .max()?;
        LOCK_QUIET.checked_sub(elapsed(last, self.now())).filter(|rest| !rest.is_zero())
    }

    // Sending.

    /// Writes the intent, sends once, writes what is known of the answer.
    async fn send(&mut self, task: Task<'_>, request: &Request) -> Result<Seen, Halt> {
        let change = task.change;
        if let (ChangeKind::RemoveLock(RemoveLock { lock }), Purpose::Do) = (&change.what, task.purpose) {
            let command = locks::recreate_command(lock);
            self.tell(&Progress::LockNote { lock: lock.id.to_string(), command });
        }
        let tag = Tag { client_request_id: Uuid::new_v4() };
        let state = self.change_state(change);
        let earlier = match task.purpose {
            Purpose::Do => state.history.attempts.len() + state.history.rejected,
            Purpose::Undo | Purpose::Relock => usize::try_from(state.back_attempts).unwrap_or(usize::MAX),
        };
        let intent = Event::Intent {
            change: change.id.clone(),
            attempt: u32::try_from(earlier.saturating_add(1)).unwrap_or(u32::MAX),
            purpose: task.purpose,
            verb: request.verb.as_str().to_owned(),
            target: request.target.to_string(),
            before: request.before.clone(),
            client_request_id: tag.client_request_id.to_string(),
        };
        let asked = self.now();
        if let Some(unsent) = self.intend(task, intent).await? {
            return Ok(unsent);
        }
        if task.purpose == Purpose::Do && elapsed(asked, self.now()) > SLOW_JOURNAL {
            // What decided on this request may be out of date by now (S3).
            self.answered(task, Answer::Rejected, "the journal was written too slowly; not sent".to_owned()).await?;
            return Err(Halt::Pause {
                why: PauseReason::Unreachable,
                detail: "the storage of the journal answers so slowly that what was read before is out of date"
                    .to_owned(),
                hint: None,
                wait: Duration::from_secs(120),
            });
        }
        // Writing took its time, too: another process may work on this by now.
        self.still_ours()?;
        let sent = Box::pin(self.request(task, request, &tag)).await;
        let seen = match sent {
            Ok(Sent::Done { .. }) => {
                self.answered(task, Answer::Ok, String::new()).await?;
                SendSeen::Done
            }
            Ok(Sent::Accepted(operation)) => {
                let value = serde_json::to_value(operation.unsigned()).unwrap_or_default();
                let event = Event::Accepted { change: change.id.clone(), purpose: task.purpose, operation: value };
                self.write(task.purpose, event).await?;
                SendSeen::Accepted(Box::new(operation))
            }
            Err(error) => {
                let deletes = request.verb == Verb::Delete;
                self.answered(task, answer_of(&error, deletes), error.to_string()).await?;
                SendSeen::Error(SendError {
                    class: error.class(),
                    failure: failure_of(&error),
                    retry_after: error.retry_after.map(|span| span.to_std()),
                    lost: error.may_have_taken_effect(),
                    deletes,
                    again: task.purpose != Purpose::Do && undo_again(&error) || actions::may_send_again(change, &error),
                })
            }
        };
        Ok(Seen::Sent(seen))
    }

    /// Writes the intent. `Some`: it could not be written, so nothing is sent.
    async fn intend(&mut self, task: Task<'_>, intent: Event) -> Result<Option<Seen>, Halt> {
        if task.purpose == Purpose::Do {
            self.record(intent).await?;
            return Ok(None);
        }
        // The record of a lock's removal is the intent of its restoration: that one is sent all the same (S2).
        if matches!(task.change.what, ChangeKind::RemoveLock(_)) {
            self.record_all_the_same(intent).await;
            return Ok(None);
        }
        if self.record(intent).await.is_ok() {
            return Ok(None);
        }
        let failure = Failure::new("journal", "the journal cannot be written, so nothing was sent");
        Ok(Some(Seen::Sent(SendSeen::NotJournaled(failure))))
    }

    async fn request(&self, task: Task<'_>, request: &Request, tag: &Tag) -> Result<Sent, ArmError> {
        let arm = &self.arm;
        match (task.purpose, &task.change.what) {
            (Purpose::Undo | Purpose::Relock, ChangeKind::RemoveLock(RemoveLock { lock })) => {
                arm.put_lock(lock, tag).await
            }
            (Purpose::Undo | Purpose::Relock, _) => actions::send_inverse(arm, task.change, request, tag).await,
            (Purpose::Do, _) => match self.facts.as_ref() {
                Some(facts) => actions::send(&self.context(facts), task.change, request, tag).await,
                None => Err(ArmError::refused(request.target.as_str(), "the VM was not read")),
            },
        }
    }

    /// Writes a record: for a change it must succeed, an undoing goes on without it.
    async fn write(&mut self, purpose: Purpose, event: Event) -> Result<(), Halt> {
        if purpose == Purpose::Do {
            return self.record(event).await;
        }
        self.record_all_the_same(event).await;
        Ok(())
    }

    async fn answered(&mut self, task: Task<'_>, how: Answer, detail: String) -> Result<(), Halt> {
        let change = task.change.id.clone();
        self.write(task.purpose, Event::Answered { change, purpose: task.purpose, how, detail }).await
    }

    async fn learned(&mut self, task: Task<'_>, job: crate::arm::id::ResourceId) -> Result<(), Halt> {
        let change = task.change.id.clone();
        self.write(task.purpose, Event::Learned { change, key: Fact::Job, value: job.to_string() }).await
    }

    /// One poll.
    async fn poll(&mut self, task: Task<'_>, operation: Operation) -> Result<Seen, Halt> {
        let seen = match Box::pin(self.arm.poll(&operation)).await {
            // The resource is read instead: that is the proof anyway.
            Err(error) if operation.misses_its_signature(&error) => PollSeen::Lost {
                how: unfollowed(task.change),
                failure: Failure::new("", "the operation can no longer be followed: its address was signed"),
            },
            Err(error) if cannot_be_asked(&error) => PollSeen::Unreachable(error.to_string()),
            Err(error) => PollSeen::Lost { how: unfollowed(task.change), failure: failure_of(&error) },
            Ok(poll) => match poll.state {
                PollState::InProgress => PollSeen::InProgress { operation: Box::new(poll.operation), wait: poll.wait },
                PollState::Succeeded { body } => {
                    if let Some(job) = actions::learn(task.change, &body) {
                        self.learned(task, job).await?;
                    }
                    PollSeen::Ended
                }
                PollState::Gone => PollSeen::Ended,
                PollState::Failed(error) | PollState::Canceled(error) => {
                    let failure = failure_of(&error);
                    self.tell(&Progress::Retry { why: failure.message.clone() });
                    PollSeen::Failed(failure)
                }
            },
        };
        Ok(Seen::Poll(seen))
    }

    // Proof.

    async fn prove(&mut self, task: Task<'_>) -> Verify {
        if let (ChangeKind::RemoveLock(RemoveLock { lock }), Purpose::Undo | Purpose::Relock) =
            (&task.change.what, task.purpose)
        {
            return Box::pin(locks::verify_restore(&self.arm, lock)).await;
        }
        // Proofs read their resource themselves; they only need some reading of the VM to refer to.
        if self.facts.is_none() {
            self.read_everything().await;
        }
        let Some(facts) = self.facts.as_ref() else {
            return Verify::Unknown("the VM was not read".to_owned());
        };
        let history = self.history(task.change);
        Box::pin(actions::verify(&self.context(facts), task.change, &history)).await
    }

    /// Reads a change once; `None` when that does not settle it.
    pub(super) async fn read_once(&mut self, change: &Change) -> Option<Outcome> {
        let task = Task { change, purpose: Purpose::Do, step: None };
        let mut proof = Box::pin(self.prove(task)).await;
        if let Verify::Found(job) = proof {
            self.learned(task, job).await.ok()?;
            proof = Box::pin(self.prove(task)).await;
        }
        match proof {
            Verify::Done(detail) => Some(Outcome::Succeeded { detail }),
            Verify::Failed(error) => Some(Outcome::Failed { error }),
            Verify::Refused(refusal) => Some(Outcome::Refused { refusal }),
            Verify::Again { why, .. } => Some(Outcome::Failed { error: Failure::new("", why) }),
            Verify::Found(_)
            | Verify::Pending { .. }
            | Verify::Unknown(_)
            | Verify::Late { .. }
            | Verify::CleanUpPending { .. } => None,
        }
    }

    // Locks over a resource.

    /// ScopeLocked: for some minutes after our own unlocking Azure may not know it yet; otherwise somebody put it back, or it
    /// is another lock.
    async fn look_at_locks(&mut self, change: &Change, failure: Failure) -> LocksSeen {
        let released: Vec<(Lock, EndKind, jiff::Timestamp)> = self
            .run
            .plan
            .changes()
            .filter_map(|(_, other)| match &other.what {
                ChangeKind::RemoveLock(RemoveLock { lock }) if lock.scope().covers(change.resource()) => {
                    let state = self.state.changes.get(&other.id).filter(|state| state.may_have_effect())?;
                    Some((lock.clone(), state.outcome()?, state.ended_at?))
                }
                _ => None,
            })
            .collect();
        for (lock, outcome, _) in &released {
            // Only after an absence that was stable does a lock that is in force mean somebody: before it, Azure is slow.
            if *outcome == EndKind::Succeeded && locks::in_force(&self.arm, lock).await {
                return LocksSeen::CameBack(locks::came_back(lock));
            }
        }
        let own = released.iter().map(|(_, _, at)| *at);
        let Some(last) = own.chain(self.unlocked_before_over(change)).max() else {
            let hint = "another lock covers it; azmend diagnose names the locks over this VM's restore points";
            return LocksSeen::Other(failure.with_hint(hint));
        };
        let waited = elapsed(last, self.now());
        if waited <= LOCK_RELEASE {
            return LocksSeen::Releasing;
        }
        let minutes = waited.as_secs() / 60;
        LocksSeen::Late(format!(
            "Azure still enforces a lock that was removed {minutes} minutes ago: {}",
            failure.message
        ))
    }

    // The end.

    /// A restoration that failed by its answers alone: they may have been lost, or spoilt on their way, and the lock be in
    /// force. Readings say so only when the lock was read to be gone before, several times, and a request to write it left.
    async fn restored_after_all(&self, task: Task<'_>, end: End, sent_before: u32) -> End {
        let ChangeKind::RemoveLock(RemoveLock { lock }) = &task.change.what else { return end };
        let state = self.change_state(task.change);
        let candidate = task.purpose != Purpose::Do
            && matches!(end, End::Outcome(Outcome::Failed { .. }))
            && state.outcome() == Some(EndKind::Succeeded)
            && state.back_attempts > sent_before;
        if candidate && Box::pin(locks::in_force_as_before(&self.arm, lock)).await {
            return End::Outcome(Outcome::Succeeded { detail: "restored (confirmed by several readings)".to_owned() });
        }
        end
    }

    /// Writes how the task ended, with what its requests did.
    async fn settle(&mut self, task: Task<'_>, end: &End, last: Option<&Failure>) -> Result<(), Halt> {
        let mut ending = ending_of(end);
        if task.purpose == Purpose::Do {
            ending.effect = Some(Box::pin(self.effect(task.change, end)).await);
            if let End::Outcome(outcome) = end {
                self.forget_what_went(task.change, outcome);
                self.tell(&Progress::Settled { change: task.change.id.clone(), outcome: outcome.clone() });
            }
        } else if let (true, Some(last)) = (ending.outcome == EndKind::Failed, last) {
            ending.hint = ending.hint.or_else(|| last.hint.clone());
        }
        self.write(task.purpose, Event::Ended { change: task.change.id.clone(), purpose: task.purpose, ending }).await
    }

    /// A point that was read to be gone is not in the facts any more, so that the rules do not count it as kept.
    fn forget_what_went(&mut self, change: &Change, outcome: &Outcome) {
        let gone = matches!(outcome, Outcome::Succeeded { .. } | Outcome::AlreadyDone { .. });
        if let (true, ChangeKind::DeletePoint(deleted), Some(facts)) = (gone, &change.what, self.facts.as_mut()) {
            deleted.forget(facts);
        }
    }

    /// What the requests of a change did. Success was read; nothing was done where nothing was sent; everything else is read
    /// now (S4, S6).
    pub(super) async fn effect(&mut self, change: &Change, end: &End) -> Effect {
        let state = self.change_state(change);
        if state.restored() || !state.sent() {
            return Effect::None;
        }
        match end {
            End::Outcome(Outcome::Succeeded { .. }) => Effect::Some,
            End::Outcome(Outcome::AlreadyDone { .. }) | End::NotNeeded(_) => Effect::None,
            End::Outcome(_) => {
                if self.facts.is_none() {
                    self.read_everything().await;
                }
                let Some(facts) = self.facts.as_ref() else { return Effect::Unknown };
                let history = self.history(change);
                match Box::pin(actions::effect(&self.context(facts), change, &history)).await {
                    actions::Effect::None => Effect::None,
                    actions::Effect::Some => Effect::Some,
                    actions::Effect::Unknown => Effect::Unknown,
                }
            }
        }
    }
}

/// What the calls of an instruction are for.
const fn purpose_of(next: &Next) -> Option<CallPurpose> {
    match next {
        Next::Guard { .. } | Next::Reread => Some(CallPurpose::Guard),
        Next::Send(_) => Some(CallPurpose::Sending),
        Next::Poll(_) => Some(CallPurpose::Following),
        Next::Prove | Next::LookAtLocks(_) => Some(CallPurpose::Proof),
        Next::Answer { .. } | Next::Learn(_) | Next::Wait { .. } | Next::End(_) | Next::Pause { .. } => None,
    }
}

/// Whether Azure cannot be asked now: unreachable, or too many requests.
fn cannot_be_asked(error: &ArmError) -> bool {
    error.is_passing()
}

/// The phase of an undoing that goes on; one that ended begins again.
fn open(back: &Phase) -> Phase {
    match back {
        Phase::Ended(_) => Phase::Idle,
        phase => phase.clone(),
    }
}

/// What an error says about its request.
fn answer_of(error: &ArmError, deletes: bool) -> Answer {
    match error.class() {
        ErrorClass::Throttled => Answer::Throttled,
        ErrorClass::ScopeLocked => Answer::Locked,
        // The resource is not there: nothing says by whose request, and only reading says whether it is so.
        ErrorClass::NotFound if deletes => Answer::Lost,
        _ if error.may_have_taken_effect() => Answer::Lost,
        _ => Answer::Rejected,
    }
}

/// Errors after which an undoing is tried again. A sign-in that fails may work in a moment, with a new token.
fn undo_again(error: &ArmError) -> bool {
    !matches!(error.class(), ErrorClass::Forbidden | ErrorClass::DeniedByAssignment | ErrorClass::Refused)
}

/// How an accepted operation is journaled that cannot be followed to its end. That Azure took it matters where reading
/// alone cannot tell; it is not enough to know a backup's job: there the request counts as lost, and the job is looked for.
const fn unfollowed(change: &Change) -> Answer {
    if matches!(change.what, ChangeKind::RestartVm(_)) { Answer::Accepted } else { Answer::Lost }
}

/// S3: a VM of the same name with another vmId is another VM.
fn same_vm(planned: &str, facts: &VmFacts) -> Option<Refusal> {
    let name = facts.id.name();
    if let Some(vm) = facts.vm.known() {
        if vm.vm_id.is_empty() && !planned.is_empty() {
            let why =
                format!("Azure's answer about the VM {name} has no vmId: whether it is the same one is not known");
            return Some(Refusal::new("s12.unread", why));
        }
        if vm.vm_id.eq_ignore_ascii_case(planned) {
            return None;
        }
        let why = if planned.is_empty() {
            format!("a VM {name} exists now; there was none in the plan")
        } else {
            format!("{name} was recreated: it has another vmId than in the plan")
        };
        return Some(Refusal::new("s3.vm-recreated", why).hint("run azmend again for a new plan"));
    }
    if facts.vm.is_absent() {
        return (!planned.is_empty()).then(|| Refusal::new("s3.vm-gone", format!("the VM {name} is gone")));
    }
    let why = facts.vm.unread().unwrap_or("not read");
    Some(Refusal::new("s12.unread", format!("the VM {name} was not read again: {why}")))
}

/// The disk form of an end.
pub(super) fn ending_of(end: &End) -> Ending {
    let outcome = match end {
        End::Outcome(outcome) => outcome,
        End::NotNeeded(detail) => return plain(EndKind::NotNeeded, detail.clone()),
    };
    let kind = match outcome {
        Outcome::Succeeded { .. } => EndKind::Succeeded,
        Outcome::AlreadyDone { .. } => EndKind::AlreadyDone,
        Outcome::Skipped { .. } => EndKind::Skipped,
        Outcome::Refused { .. } => EndKind::Refused,
        Outcome::Failed { .. } => EndKind::Failed,
        Outcome::Unknown { .. } => EndKind::Unknown,
    };
    match outcome {
        Outcome::Refused { refusal } => {
            Ending { code: refusal.rule.clone(), hint: refusal.hint.clone(), ..plain(kind, refusal.why.clone()) }
        }
        Outcome::Failed { error } => Ending {
            code: error.code.clone(),
            hint: error.hint.clone(),
            permission: error.permission,
            ..plain(kind, error.message.clone())
        },
        other => plain(kind, other.detail()),
    }
}

/// An ending without a code.
pub(super) const fn plain(outcome: EndKind, detail: String) -> Ending {
    Ending { outcome, detail, code: String::new(), hint: None, permission: false, effect: None }
}
