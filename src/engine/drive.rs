//! Drives one change to its outcome.

use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

use super::plan::PlannedStep;
use super::progress::Progress;
use super::run::{Session, Stop};
use super::state::{ChangeState, Phase};
use crate::actions::change::{Change, ChangeKind, DeleteReason, Failure, Outcome, Refusal};
use crate::actions::{self, Check, Context, History, Next, Verify, locks};
use crate::arm::{ArmError, ErrorClass, Operation, PollState, Sent, Tag};
use crate::clock::elapsed;
use crate::estate::collect::{self, CollectOptions, Refresh};
use crate::estate::facts::VmFacts;
use crate::journal::{Event, Purpose};

/// Facts older than this are read again before a request ("just before" of the safety rules).
const FRESH: Duration = Duration::from_secs(60);
/// An operation that goes on for longer is not waited for any more: the resource itself is read (the known CRP time-out).
const OPERATION_PATIENCE: Duration = Duration::from_secs(20 * 60);
/// After our own unlocking Azure may still say ScopeLocked for this long.
const LOCK_RELEASE: Duration = Duration::from_secs(300);
/// A backup is not started sooner after our own unlocking: while Azure still enforces the lock somewhere, Azure Backup
/// cannot clean up, and says so only hours later. Terraform's provider waits as long for a lock to be gone everywhere.
const LOCK_QUIET: Duration = Duration::from_secs(120);
/// Between tries under a lock that is being released.
const LOCK_PROBE: Duration = Duration::from_secs(15);
/// First wait after an error without Retry-After; doubled each time.
const BACK_OFF: Duration = Duration::from_secs(10);
/// A longer Retry-After pauses the run instead of holding it.
const LONGEST_WAIT: Duration = Duration::from_secs(30 * 60);
/// Requests for one change, whatever the reasons.
const MOST_ATTEMPTS: usize = 60;

impl Session<'_> {
    /// Makes one change: from wherever its journal ends to its outcome, which is journaled.
    ///
    /// `again`: a lock that this run put back at a pause is removed once more.
    pub(super) async fn drive(&mut self, step: &PlannedStep, change: &Change, again: bool) -> Result<Outcome, Stop> {
        let outcome = Box::pin(self.outcome_of(step, change, again)).await?;
        self.end(change, &outcome)?;
        Ok(outcome)
    }

    async fn outcome_of(&mut self, step: &PlannedStep, change: &Change, again: bool) -> Result<Outcome, Stop> {
        let mut last_error = None;
        if !again {
            self.settle_in_flight(change, &mut last_error).await?;
        }
        let earlier = self.history(change);
        let mut prove = !again && !earlier.attempts.is_empty() && !earlier.closed;
        let mut fresh_start = again;
        let mut failures = 0u32;
        let mut read_twice = false;
        loop {
            if prove && let Some(outcome) = Box::pin(self.prove(step, change)).await? {
                return Ok(outcome);
            }
            prove = true;
            self.pause_point(Duration::ZERO)?;
            if let Some(rest) = self.lock_quiet(change) {
                self.wait("Azure to release the removed lock", rest, self.now()).await?;
                prove = false;
                continue;
            }
            self.freshen(change).await;
            let history = if fresh_start { History::default() } else { self.history(change) };
            self.not_too_early(&history)?;
            if history.attempts.len() + history.rejected >= MOST_ATTEMPTS {
                return Ok(failed(Failure::new("", "too many tries"), last_error));
            }
            let next = match Box::pin(self.check(change, &history)).await {
                Check::Go(next) => next,
                Check::Holds(detail) if history.attempts.is_empty() => return Ok(Outcome::AlreadyDone { detail }),
                Check::Holds(detail) => return Ok(Outcome::Succeeded { detail }),
                Check::Follow(job) => {
                    if let Some(job) = job {
                        let value = job.to_string();
                        self.record(Event::Learned { change: change.id.clone(), key: "job".to_owned(), value })?;
                    }
                    continue;
                }
                Check::Wait { why, wait } => {
                    self.within(step, &why)?;
                    self.wait(&why, wait, self.now()).await?;
                    prove = false;
                    continue;
                }
                Check::Skip(why) => return Ok(Outcome::Skipped { why }),
                // What was not read may have been unreachable for a moment: a refusal stands on a second, whole reading.
                Check::Refuse(_) if !read_twice && self.partly_unread() => {
                    read_twice = true;
                    self.reachable(change).await?;
                    self.read_everything().await;
                    prove = false;
                    continue;
                }
                Check::Refuse(refusal) if self.partly_unread() => {
                    self.reachable(change).await?;
                    return Ok(Outcome::Refused { refusal });
                }
                Check::Refuse(refusal) => return Ok(Outcome::Refused { refusal }),
                Check::Unknown(why) => return Ok(Outcome::Unknown { why }),
                Check::GiveUp(failure) => return Ok(failed(failure, last_error)),
                Check::Unreadable(error) => return unreadable(change, &error, !history.attempts.is_empty()),
            };
            self.within(step, "Azure")?;
            fresh_start = false;
            match Box::pin(self.send(change, &next, &history, &mut last_error)).await? {
                Sending::Answered => {}
                // An earlier request of ours may have removed it: then it is ours to put back (S6).
                Sending::Gone if !history.attempts.is_empty() => {
                    return Ok(Outcome::Succeeded { detail: "gone (404) after an earlier request".to_owned() });
                }
                Sending::Gone => {
                    return Ok(Outcome::AlreadyDone { detail: "somebody else removed it just before".to_owned() });
                }
                Sending::Ended(outcome) => return Ok(outcome),
                Sending::LockReleasing => {
                    prove = false;
                    self.within(step, "Azure to release the removed lock")?;
                    self.wait("Azure to release the removed lock", LOCK_PROBE, self.now()).await?;
                }
                Sending::Retry { why, wait, sent } => {
                    failures += 1;
                    prove = sent;
                    let wait = wait.unwrap_or(BACK_OFF * 2u32.pow(failures.min(5) - 1));
                    if wait > LONGEST_WAIT {
                        return Err(Stop::Pause { why: "unreachable", detail: why, wait });
                    }
                    if failures > 8 {
                        let detail = format!("Azure did not take the request after {failures} tries: {why}");
                        return Err(Stop::Pause { why: "unreachable", detail, wait: Duration::from_secs(600) });
                    }
                    self.tell(&Progress::Retry { why: why.clone() });
                    self.wait(&why, wait, self.now()).await?;
                }
            }
        }
    }

    /// Whether something of the last reading is unread.
    fn partly_unread(&self) -> bool {
        self.view().is_none_or(|view| !view.unread.is_empty())
    }

    /// Pauses the run when Azure cannot be reached: "not read" is then no answer of Azure's.
    async fn reachable(&self, change: &Change) -> Result<(), Stop> {
        match self.run.arm.vm(&self.run.plan.vm).await {
            Err(error) if error.is_passing() => unreadable(change, &error, false).map(|_| ()),
            _ => Ok(()),
        }
    }

    /// A backup that would fail again because Azure Backup has not cleaned up yet is not started: it would use up an
    /// attempt of the day and end the run as if nothing helped. Unless there is room already.
    fn not_too_early(&self, history: &History) -> Result<(), Stop> {
        let Some(wait) = history.not_before.map(|at| elapsed(self.now(), at)).filter(|wait| !wait.is_zero()) else {
            return Ok(());
        };
        let room = self.view().is_some_and(|view| {
            view.unread("points.count").is_none()
                && view.unread("points.limit").is_none()
                && view.points.count < view.points.limit
        });
        if room || !history.closed {
            return Ok(());
        }
        let detail = "Azure Backup is still cleaning up restore points, and there is no room yet".to_owned();
        Err(Stop::Pause { why: "clean_up_pending", detail, wait })
    }

    pub(super) fn history(&self, change: &Change) -> History {
        self.state.changes.get(&change.id).map(|state| state.history.clone()).unwrap_or_default()
    }

    fn change_state(&self, change: &Change) -> ChangeState {
        self.state.changes.get(&change.id).cloned().unwrap_or_default()
    }

    /// What an earlier process left open: an operation is polled to its end, an unanswered request counts as lost.
    pub(super) async fn settle_in_flight(
        &mut self,
        change: &Change,
        last_error: &mut Option<Failure>,
    ) -> Result<(), Stop> {
        match self.change_state(change).forward {
            Phase::Accepted(operation) => match serde_json::from_value::<Operation>(operation) {
                Ok(operation) => Box::pin(self.follow(change, operation, last_error)).await,
                Err(error) => {
                    self.answered(change, "lost", format!("the journaled operation is not readable: {error}"))
                }
            },
            Phase::Intended => {
                self.answered(change, "lost", "azmend was stopped before the answer was written".to_owned())
            }
            Phase::Idle | Phase::Answered | Phase::Ended(_) => Ok(()),
        }
    }

    fn answered(&mut self, change: &Change, how: &str, detail: String) -> Result<(), Stop> {
        self.record(Event::Answered { change: change.id.clone(), purpose: Purpose::Do, how: how.to_owned(), detail })
    }

    /// A step that takes longer than its time-out pauses the run; what Azure accepted goes on and is found on resume.
    fn within(&self, step: &PlannedStep, what: &str) -> Result<(), Stop> {
        if self.step_age(step) <= step.timeout.to_std() {
            return Ok(());
        }
        Err(Stop::Pause {
            why: "operation_pending",
            detail: format!("the step {} took longer than {} (waiting for {what})", step.id, step.timeout),
            wait: Duration::from_secs(15 * 60),
        })
    }

    /// The VM must still be the one in the plan; then the action's own checks.
    async fn check(&mut self, change: &Change, history: &History) -> Check {
        let Some(facts) = self.facts.as_ref() else {
            return Check::Refuse(Refusal::new("s12.unread", "the VM was not read"));
        };
        if let Some(check) = same_vm(&self.run.plan.vm_id, facts) {
            return check;
        }
        let context = Context {
            arm: &self.run.arm,
            facts,
            overrides: &self.run.plan.overrides,
            named_locks: &self.run.plan.named_locks,
            unlocked: self.unlocked(),
        };
        actions::check(&context, change, history).await
    }

    /// How long a backup still waits after the last unlocking of this run.
    fn lock_quiet(&self, change: &Change) -> Option<Duration> {
        if !matches!(change.what, ChangeKind::StartBackup { .. }) {
            return None;
        }
        let ended = |other: &Change| {
            let state = self.state.changes.get(&other.id).filter(|state| state.may_stand())?;
            Some((other.resource().clone(), state.ended_at?))
        };
        let removed = self.run.plan.changes().filter_map(|(_, other)| match &other.what {
            ChangeKind::RemoveLock { lock } => ended(other).map(|(_, at)| (lock.scope(), at)),
            _ => None,
        });
        // A deletion under it that succeeded since proves that it is released.
        let deleted: Vec<_> = self
            .run
            .plan
            .changes()
            .filter(|(_, other)| {
                matches!(other.what, ChangeKind::DeletePoint { .. } | ChangeKind::DeleteCollection { .. })
            })
            .filter_map(|(_, other)| ended(other))
            .collect();
        let last = removed
            .filter(|(scope, at)| !deleted.iter().any(|(gone, since)| scope.covers(gone) && since > at))
            .map(|(_, at)| at)
            .max()?;
        LOCK_QUIET.checked_sub(elapsed(last, self.now())).filter(|rest| !rest.is_zero())
    }

    /// Whether this run removed a lock.
    fn unlocked(&self) -> bool {
        self.run.plan.changes().any(|(_, change)| {
            matches!(change.what, ChangeKind::RemoveLock { .. })
                && self.state.changes.get(&change.id).is_some_and(ChangeState::may_stand)
        })
    }

    /// Sends one request: intent first, then the answer.
    async fn send(
        &mut self,
        change: &Change,
        next: &Next,
        history: &History,
        last_error: &mut Option<Failure>,
    ) -> Result<Sending, Stop> {
        if let ChangeKind::RemoveLock { lock } = &change.what {
            let command = locks::recreate_command(lock);
            self.tell(&Progress::LockNote { lock: lock.id.to_string(), command });
        }
        let tag = Tag { client_request_id: Uuid::new_v4() };
        self.record(Event::Intent {
            change: change.id.clone(),
            attempt: u32::try_from(history.attempts.len() + history.rejected + 1).unwrap_or(u32::MAX),
            purpose: Purpose::Do,
            verb: next.verb.to_owned(),
            target: next.target.to_string(),
            before: next.before.clone(),
            client_request_id: tag.client_request_id.to_string(),
        })?;
        let Some(facts) = self.facts.clone() else {
            return Ok(Sending::Ended(Outcome::Skipped { why: "the VM was not read".to_owned() }));
        };
        let context = Context {
            arm: &self.run.arm,
            facts: &facts,
            overrides: &self.run.plan.overrides,
            named_locks: &self.run.plan.named_locks,
            unlocked: false,
        };
        match Box::pin(actions::send(&context, change, next, &tag)).await {
            Ok(Sent::Done { status }) => {
                self.answered(change, "ok", String::new())?;
                let lock = matches!(change.what, ChangeKind::RemoveLock { .. });
                Ok(if lock && status == 204 { Sending::Gone } else { Sending::Answered })
            }
            Ok(Sent::Accepted(operation)) => {
                let value = serde_json::to_value(operation.unsigned()).unwrap_or_default();
                self.record(Event::Accepted { change: change.id.clone(), purpose: Purpose::Do, operation: value })?;
                Box::pin(self.follow(change, operation, last_error)).await?;
                Ok(Sending::Answered)
            }
            Err(error) => self.rejected(change, &error, last_error).await,
        }
    }

    /// What an error on the request itself means.
    async fn rejected(
        &mut self,
        change: &Change,
        error: &ArmError,
        last_error: &mut Option<Failure>,
    ) -> Result<Sending, Stop> {
        let class = error.class();
        let how = match class {
            ErrorClass::Throttled => "throttled",
            ErrorClass::ScopeLocked => "locked",
            _ if error.may_have_taken_effect() => "lost",
            _ => "rejected",
        };
        self.answered(change, how, error.to_string())?;
        let failure = failure_of(error);
        *last_error = Some(failure.clone());
        Ok(match class {
            ErrorClass::NotFound if matches!(change.what, ChangeKind::RemoveLock { .. }) => Sending::Gone,
            ErrorClass::NotFound => Sending::Answered,
            ErrorClass::InUse => Sending::Ended(in_use(&failure)),
            ErrorClass::ScopeLocked => Box::pin(self.scope_locked(change, failure)).await,
            _ if how == "lost" || actions::may_send_again(change, error) => Sending::Retry {
                why: failure.message,
                wait: error.retry_after.map(|span| span.to_std()),
                sent: error.may_have_taken_effect(),
            },
            _ => Sending::Ended(Outcome::Failed { error: failure }),
        })
    }

    /// ScopeLocked: for some minutes after our own unlocking Azure may not know it yet; otherwise a lock stands.
    async fn scope_locked(&mut self, change: &Change, failure: Failure) -> Sending {
        let released = self.run.plan.changes().filter_map(|(_, other)| match &other.what {
            ChangeKind::RemoveLock { lock } if lock.scope().covers(change.resource()) => {
                self.state.changes.get(&other.id)?.ended_at.map(|at| (lock.clone(), at))
            }
            _ => None,
        });
        let released: Vec<_> = released.collect();
        for (lock, _) in &released {
            // The locks are read first: a policy or a script may have put it back.
            if self.run.arm.lock(&lock.id).await.is_ok() {
                let why = format!("the lock {} was put back by somebody after azmend removed it", lock.id.name());
                let refusal = Refusal::new("s5.came-back", why).hint(
                    "an Azure Policy or a script puts it back; exclude AzureBackupRG_* there, then run azmend again",
                );
                return Sending::Ended(Outcome::Refused { refusal });
            }
        }
        if !released.iter().any(|(_, at)| elapsed(*at, self.now()) <= LOCK_RELEASE) {
            let failure = failure.with_hint("find the lock with: az lock list, and remove it if it may go");
            return Sending::Ended(Outcome::Failed { error: failure });
        }
        Sending::LockReleasing
    }

    /// Polls an operation until it ends; the end is journaled. Success of the change is proven afterwards, by reading.
    async fn follow(
        &mut self,
        change: &Change,
        mut operation: Operation,
        last_error: &mut Option<Failure>,
    ) -> Result<(), Stop> {
        let since = self.now();
        loop {
            let poll = match Box::pin(self.run.arm.poll(&operation)).await {
                Ok(poll) => poll,
                // Read the resource instead: that is the proof anyway.
                Err(error) if operation.misses_its_signature(&error) => {
                    let detail = "the operation cannot be followed any more: its address was signed".to_owned();
                    return self.answered(change, unfollowed(change), detail);
                }
                Err(error)
                    if matches!(
                        error.class(),
                        ErrorClass::NotSent
                            | ErrorClass::Lost
                            | ErrorClass::Transient
                            | ErrorClass::Throttled
                            | ErrorClass::SignIn
                    ) =>
                {
                    return Err(Stop::Pause {
                        why: "unreachable",
                        detail: format!("Azure cannot be asked for the state of an operation: {error}"),
                        wait: Duration::from_secs(600),
                    });
                }
                Err(error) => {
                    *last_error = Some(failure_of(&error));
                    return self.answered(change, unfollowed(change), error.to_string());
                }
            };
            operation = poll.operation;
            match poll.state {
                PollState::InProgress => {
                    if elapsed(since, self.now()) > OPERATION_PATIENCE {
                        let minutes = OPERATION_PATIENCE.as_secs() / 60;
                        let detail = format!("the operation did not end within {minutes} minutes");
                        *last_error = Some(Failure::new("", detail.clone()));
                        return self.answered(change, "operation_timeout", detail);
                    }
                    self.wait("Azure's operation", poll.wait, since).await?;
                }
                PollState::Succeeded { body } => {
                    if let Some((key, value)) = actions::learn(change, &body) {
                        self.record(Event::Learned { change: change.id.clone(), key, value })?;
                    }
                    return self.answered(change, "ok", String::new());
                }
                PollState::Gone => return self.answered(change, "ok", String::new()),
                PollState::Failed(error) | PollState::Canceled(error) => {
                    let failure = failure_of(&error);
                    self.tell(&Progress::Retry { why: failure.message.clone() });
                    *last_error = Some(failure);
                    return self.answered(change, "operation_failed", error.to_string());
                }
            }
        }
    }

    /// Reads until the change is proven, or has to be checked again (`None`).
    async fn prove(&mut self, step: &PlannedStep, change: &Change) -> Result<Option<Outcome>, Stop> {
        let since = self.now();
        loop {
            self.freshen_for_proof(change).await;
            let Some(facts) = self.facts.clone() else { return Ok(None) };
            let context = Context {
                arm: &self.run.arm,
                facts: &facts,
                overrides: &self.run.plan.overrides,
                named_locks: &self.run.plan.named_locks,
                unlocked: self.unlocked(),
            };
            let history = self.history(change);
            match Box::pin(actions::verify(&context, change, &history)).await {
                Verify::Found(job) => {
                    let value = job.to_string();
                    self.record(Event::Learned { change: change.id.clone(), key: "job".to_owned(), value })?;
                }
                Verify::Done(detail) => return Ok(Some(Outcome::Succeeded { detail })),
                Verify::Failed(error) => return Ok(Some(Outcome::Failed { error })),
                Verify::Refused(refusal) => return Ok(Some(Outcome::Refused { refusal })),
                Verify::Unknown(why) => return Ok(Some(Outcome::Unknown { why })),
                Verify::CleanUpPending { why, wait } => {
                    return Err(Stop::Pause { why: "clean_up_pending", detail: why, wait });
                }
                Verify::Pending { why, wait } => {
                    self.within(step, &why)?;
                    self.wait(&why, wait, since).await?;
                }
                Verify::Again { why, wait } => {
                    self.within(step, &why)?;
                    self.tell(&Progress::Retry { why: why.clone() });
                    self.wait(&why, wait, since).await?;
                    return Ok(None);
                }
            }
        }
    }

    /// Reads the change once; `None` when that does not settle it.
    pub(super) async fn read_once(&mut self, change: &Change) -> Option<Outcome> {
        self.freshen_for_proof(change).await;
        let facts = self.facts.clone()?;
        let context = Context {
            arm: &self.run.arm,
            facts: &facts,
            overrides: &self.run.plan.overrides,
            named_locks: &self.run.plan.named_locks,
            unlocked: false,
        };
        let mut history = self.history(change);
        let mut verify = Box::pin(actions::verify(&context, change, &history)).await;
        if let Verify::Found(job) = verify {
            history.job = Some(job);
            verify = Box::pin(actions::verify(&context, change, &history)).await;
        }
        match verify {
            Verify::Done(detail) => Some(Outcome::Succeeded { detail }),
            Verify::Failed(error) => Some(Outcome::Failed { error }),
            Verify::Refused(refusal) => Some(Outcome::Refused { refusal }),
            Verify::Again { why, .. } => Some(Outcome::Failed { error: Failure::new("", why) }),
            Verify::Found(_) | Verify::Pending { .. } | Verify::Unknown(_) | Verify::CleanUpPending { .. } => None,
        }
    }

    /// A whole reading.
    pub(super) async fn read_everything(&mut self) {
        let facts = Box::pin(collect::collect(&self.run.arm, &self.run.plan.vm, &CollectOptions::default())).await;
        self.facts = Some(facts);
    }

    /// The condition view of the last reading.
    pub(super) fn view(&self) -> Option<crate::estate::view::View> {
        let facts = self.facts.as_ref()?;
        Some(super::planner::view_of(facts, &self.run.arm, &self.run.plan.overrides))
    }

    /// Reads again what is older than a minute of what the guards of this change look at.
    async fn freshen(&mut self, change: &Change) {
        let Some(facts) = self.facts.take() else {
            self.read_everything().await;
            return;
        };
        let now = self.now();
        let old = |at: Option<Timestamp>| at.is_none_or(|at| elapsed(at, now) >= FRESH);
        // The VM itself is read before every request: a cheap read that tells a recreated VM (S3).
        let mut what = Refresh { vm: true, ..Refresh::NOTHING };
        let backup = old(facts.items.read_at());
        match &change.what {
            ChangeKind::DeleteCollection { why: DeleteReason::Orphan, .. } => {
                what.everything = elapsed(facts.at, now) >= FRESH
            }
            ChangeKind::RemoveLock { .. } => {
                what.groups = old(facts.groups.read_at());
                what.locks = old(facts.locks.read_at());
                what.rights = what.groups;
                what.backup = backup;
            }
            ChangeKind::DeleteCollection { .. } | ChangeKind::DeletePoint { .. } => {
                what.collections = old(facts.collections.read_at());
                what.backup = backup;
            }
            ChangeKind::UninstallExtension { .. }
            | ChangeKind::StartBackup { .. }
            | ChangeKind::ReapplyVm { .. }
            | ChangeKind::RestartVm { .. } => what.backup = backup,
            // The job itself is read; a vault answers few job lists in an hour.
            ChangeKind::AwaitJob { .. } | ChangeKind::CancelJob { .. } => {}
            ChangeKind::EnableProtection { .. } => what.backup = backup,
            // The key vault itself is read; that the VM uses it, with the VM.
            ChangeKind::GrantKeyAccess { .. } | ChangeKind::AssignKeyRole { .. } => {}
            // The guest is read again by its own check.
            ChangeKind::SetGuest { .. } => {}
            ChangeKind::ResumeProtection { .. } => {
                what.collections = old(facts.collections.read_at());
                what.backup = backup;
            }
        }
        self.facts = Some(Box::pin(collect::refresh(&self.run.arm, &facts, what)).await);
    }

    /// Proofs read their resource themselves; they only need some reading of the VM to stand on.
    async fn freshen_for_proof(&mut self, _: &Change) {
        if self.facts.is_none() {
            self.read_everything().await;
        }
    }
}

/// What came of one request.
enum Sending {
    /// Answered or operation over: to be proven.
    Answered,
    /// It was gone before our request: not ours.
    Gone,
    /// Settled.
    Ended(Outcome),
    /// Azure does not know yet that the lock is gone.
    LockReleasing,
    /// Wait, then read again, then perhaps send again.
    Retry {
        /// Why.
        why: String,
        /// What Azure asked for.
        wait: Option<Duration>,
        /// Whether it may have taken effect all the same: then the resource is read for that first.
        sent: bool,
    },
}

/// How an accepted operation is journaled that cannot be followed to its end. That Azure took it matters where reading
/// alone cannot tell; it is not enough to know a backup's job: there the request counts as lost, and the job is looked for.
const fn unfollowed(change: &Change) -> &'static str {
    if matches!(change.what, ChangeKind::RestartVm { .. }) { "accepted" } else { "lost" }
}

/// S3: a VM of the same name with another vmId is another VM.
fn same_vm(planned: &str, facts: &VmFacts) -> Option<Check> {
    let name = facts.id.name();
    if let Some(vm) = facts.vm.known() {
        if !vm.vm_id.eq_ignore_ascii_case(planned) {
            let why = if planned.is_empty() {
                format!("a VM {name} exists now; there was none in the plan")
            } else {
                format!("{name} was recreated: it has another vmId than in the plan")
            };
            return Some(Check::Refuse(Refusal::new("s3.vm-recreated", why).hint("run azmend again for a new plan")));
        }
        return None;
    }
    if facts.vm.is_absent() {
        if planned.is_empty() {
            return None;
        }
        return Some(Check::Refuse(Refusal::new("s3.vm-gone", format!("the VM {name} is gone"))));
    }
    let why = facts.vm.unread().unwrap_or("not read");
    Some(Check::Refuse(Refusal::new("s12.unread", format!("the VM {name} was not read again: {why}"))))
}

fn in_use(failure: &Failure) -> Outcome {
    let why = format!("Azure says the point is in use: {}", failure.message);
    let refusal =
        Refusal::new("s8.in-use", why).hint("end the access (SAS) to its disk restore points, then run azmend again");
    Outcome::Refused { refusal }
}

fn failed(mut failure: Failure, last: Option<Failure>) -> Outcome {
    if let Some(last) = last {
        if last.code == "DiskRestorePointUsedByCustomer" {
            return in_use(&last);
        }
        failure.message = format!("{}; the last answer was: {}", failure.message, last.message);
        if failure.code.is_empty() {
            failure.code = last.code;
        }
        failure.hint = failure.hint.or(last.hint);
        failure.permission |= last.permission;
    }
    Outcome::Failed { error: failure }
}

fn unreadable(change: &Change, error: &ArmError, sent: bool) -> Result<Outcome, Stop> {
    match error.class() {
        // A request left, and nobody lets azmend see what came of it: that is not "it did not happen".
        ErrorClass::Forbidden | ErrorClass::DeniedByAssignment | ErrorClass::Other if sent => {
            let why =
                format!("a request was sent, and {} cannot be read any more: {error}", change.resource().short_name());
            Ok(Outcome::Unknown { why })
        }
        ErrorClass::Forbidden | ErrorClass::DeniedByAssignment | ErrorClass::Other => {
            Ok(Outcome::Failed { error: failure_of(error) })
        }
        _ => Err(Stop::Pause {
            why: "unreachable",
            detail: format!("{} cannot be read: {error}", change.resource().short_name()),
            wait: Duration::from_secs(600),
        }),
    }
}

/// The failure that an error of ARM stands for.
pub(super) fn failure_of(error: &ArmError) -> Failure {
    let permission =
        matches!(error.class(), ErrorClass::Forbidden | ErrorClass::DeniedByAssignment | ErrorClass::SignIn);
    Failure { code: error.code.clone(), message: error.to_string(), hint: error.hint(), permission }
}
