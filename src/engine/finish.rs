//! The end of a run: locks restored where asked, what changed read once more, one result with one exit code.
//!
//! Invariants: the result is built from the records of the run; a last reading that contradicts an outcome changes it, on disk
//! too (S4); which locks may be off is [`super::owed`]'s to say. Must never: claim what no record and no reading says.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::active_run::{ActiveRun, Halt, StepsEnd};
use super::driver::plain;
use super::earlier::CleanUp;
use super::exit;
use super::owed::LockState;
use super::plan::{OnFailure, Plan};
use super::result::{CallsResult, ChangeResult, ErrorResult, LockResult, RunResult, Status};
use super::state::{ChangeState, IllegalRecord, Phase, RunPhase, RunState};
use super::verdict::{Ended, Ends, Worst, verdict};
use crate::actions::ChangeKind;
use crate::actions::backup::ran_into_another;
use crate::actions::change::{Change, Undo};
use crate::actions::locks::{self, RemoveLock, recreate_command};
use crate::actions::points::{DeleteCollection, DeletePoint};
use crate::actions::protection::{EnableProtection, ResumeProtection};
use crate::arm::id::ResourceId;
use crate::arm::model::{Lock, Point};
use crate::clock::{elapsed, later};
use crate::facts::derive::has_backup_points;
use crate::facts::view::View;
use crate::facts::vm_facts::VmFacts;
use crate::journal::{Effect, EndKind, Ending, Event, FinalStatus, PauseReason, Purpose};
use crate::text::plural;

/// When to come back to a run whose journal cannot be written for a while, or that another process may work on.
const COME_BACK: Duration = Duration::from_secs(90);

impl ActiveRun<'_> {
    /// Ends a run, however it came to its end.
    pub(super) async fn finish(&mut self, end: StepsEnd) -> RunResult {
        let end = self.held_by_others(end);
        let restored = self.run.log.lost().is_some() || Box::pin(self.restore_at_the_end(&end)).await;
        if let Some(why) = self.run.log.lost() {
            return self.not_ours(&why);
        }
        // The last reading is part of every end but an unreachable Azure's.
        let read =
            !matches!(&end, StepsEnd::Halted(Halt::Pause { why: PauseReason::Unreachable, .. } | Halt::Illegal(_)));
        let after = if read { Box::pin(self.read_after()).await } else { None };
        let mut result = self.base(after);
        let ended = match end {
            StepsEnd::Halted(Halt::Pause { why, detail, hint, wait }) => {
                self.paused(&mut result, why, &detail, hint, wait).await;
                Ended::Paused
            }
            StepsEnd::Halted(Halt::Lost(why)) => return self.not_ours(&why),
            StepsEnd::Halted(Halt::Log(error)) => {
                let resume = format!("azmend runs resume {}", self.run.run_id);
                let hint = if error.passes {
                    format!("when the storage answers again: {resume}")
                } else {
                    "give azmend a state directory it can write to, then: azmend runs resume".to_owned()
                };
                result.error = Some(ErrorResult {
                    code: "journal".to_owned(),
                    message: format!("{error}; nothing more was sent"),
                    hint: Some(hint),
                });
                if error.passes {
                    result.retry_after = Some(COME_BACK.as_secs());
                    result.next = Some(resume);
                    Ended::Paused
                } else {
                    Ended::JournalLost
                }
            }
            StepsEnd::Halted(Halt::Illegal(error)) => return self.illegal(&error),
            StepsEnd::Done | StepsEnd::Stopped => {
                result.error = first_error(&result.changes);
                Ended::Steps
            }
        };
        let worst = if ended == Ended::Paused { self.unknown_only() } else { self.worst() };
        self.conclude(&mut result, ended, worst, !restored);
        self.close(result).await
    }

    /// Ends an undo.
    pub(super) async fn finish_undo(&mut self, restored: bool) -> RunResult {
        if let Some(why) = self.run.log.lost() {
            return self.not_ours(&why);
        }
        let after = Box::pin(self.read_after()).await;
        let mut result = self.base(after);
        let mut lost = Vec::new();
        let mut missing = false;
        for (_, change) in self.run.plan.changes() {
            let Some(state) = self.state.changes.get(&change.id).filter(|state| state.may_have_effect()) else {
                continue;
            };
            match &change.undo {
                Undo::Irreversible { .. } => lost.push(change.resource().short_name()),
                Undo::NotNeeded { .. } => {}
                // What is missing was warned of when it was tried.
                Undo::Inverse { .. } | Undo::Restore => {
                    missing |= !state.back_ending().is_some_and(|ending| {
                        matches!(ending.outcome, EndKind::Succeeded | EndKind::AlreadyDone | EndKind::NotNeeded)
                    });
                }
            }
        }
        if !lost.is_empty() {
            let what = plural(lost.len(), "deletion");
            result.warnings.push(format!("{what} cannot be undone: {}", lost.join(", ")));
        }
        let worst = if lost.is_empty() && !missing { Worst::Holds } else { Worst::Missing };
        self.conclude(&mut result, Ended::Undone, worst, !restored);
        self.close(result).await
    }

    /// The locks that are restored when a run ends: all of them when it is being undone; those of `--relock`, unless Azure
    /// Backup still has to clean up, which a lock would stop. `false`: one is owed.
    async fn restore_at_the_end(&mut self, end: &StepsEnd) -> bool {
        if self.state.phase == RunPhase::Undoing {
            // A run that is being undone restores its locks even when the rest of it has to wait.
            return Box::pin(self.restore_locks(Purpose::Undo)).await;
        }
        if !self.run.plan.relock {
            return true;
        }
        if let Some(until) = Box::pin(self.cleaning_up(end)).await {
            let names: Vec<String> = self.state.locks_off().iter().map(|(_, lock)| lock.id.name().to_owned()).collect();
            if !names.is_empty() {
                self.warn(format!(
                    "{} stays removed until Azure Backup has cleaned up, at about {}; it is restored when the run is \
                     resumed: azmend runs resume {}",
                    names.join(", "),
                    minute(until),
                    self.run.run_id
                ));
            }
            return true;
        }
        Box::pin(self.restore_locks(Purpose::Relock)).await
    }

    /// Until about when a pause leaves the locks off, because Azure Backup cleans up after this run's unlocking or after another
    /// one's. Whatever it pauses for: only room ends a clean-up, not its time.
    async fn cleaning_up(&mut self, end: &StepsEnd) -> Option<Timestamp> {
        let StepsEnd::Halted(Halt::Pause { why, wait, .. }) = end else { return None };
        let come_back = later(self.now(), *wait);
        if *why == PauseReason::CleanUpPending || self.others_clean_up().is_some() {
            return Some(come_back);
        }
        let open = self.state.changes.values().filter(|state| !matches!(state.forward, Phase::Ended(_)));
        let pending = open.filter(|state| state.history.closed).filter_map(|state| state.history.not_before).max()?;
        if self.facts.is_none() {
            self.read_everything().await;
        }
        (!self.has_room()).then(|| pending.max(come_back))
    }

    /// The latest clean-up that another run of this machine waits for under a lock that this run removed: the lock would stop it.
    fn others_clean_up(&self) -> Option<&CleanUp> {
        let off = self.state.locks_off();
        let groups = self.facts.as_ref()?.groups.known()?;
        let collections = groups.iter().filter_map(|group| group.collections.known()).flatten();
        let under: Vec<ResourceId> = collections
            .filter(|collection| off.iter().any(|(_, lock)| lock.scope().covers(&collection.id)))
            .filter_map(crate::arm::model::Collection::source_id)
            .collect();
        let waiting =
            self.run.earlier.clean_ups.iter().filter(|one| one.until > self.now() && one.vm != self.run.plan.vm);
        waiting.filter(|one| under.contains(&one.vm)).max_by_key(|one| one.until)
    }

    /// A run that is over pauses instead while its `--relock` would stop a clean-up that another run waits for.
    fn held_by_others(&self, end: StepsEnd) -> StepsEnd {
        let over = matches!(end, StepsEnd::Done | StepsEnd::Stopped) && self.state.phase == RunPhase::Running;
        match self.others_clean_up().filter(|_| over && self.run.plan.relock) {
            None => end,
            Some(other) => StepsEnd::Halted(Halt::Pause {
                why: PauseReason::OperationPending,
                detail: format!(
                    "Azure Backup still cleans up the restore points of {} under the removed lock, until about {}",
                    other.vm.name(),
                    minute(other.until)
                ),
                hint: None,
                wait: elapsed(self.now(), other.until),
            }),
        }
    }

    /// The result of a journal that does not fit its plan: nothing is sent.
    pub(super) fn illegal(&mut self, error: &IllegalRecord) -> RunResult {
        let mut result = self.base(None);
        result.status = Status::Stuck;
        result.exit_code = exit::STUCK;
        result.error = Some(ErrorResult {
            code: "journal".to_owned(),
            message: format!("{error}; nothing was sent"),
            hint: Some(format!("its locks can still be restored: azmend runs undo {}", self.run.run_id)),
        });
        result
    }

    /// The result of a run that another process may work on by now: nothing more is sent, its locks stay as they are, and
    /// nothing is written down either.
    pub(super) fn not_ours(&mut self, why: &str) -> RunResult {
        let mut result = self.base(None);
        self.conclude(&mut result, Ended::Paused, Worst::Holds, false);
        let resume = format!("azmend runs resume {}", self.run.run_id);
        result.error = Some(ErrorResult {
            code: "lease_lost".to_owned(),
            message: format!("{why}; nothing more was sent, for another azmend may work on this by now"),
            hint: Some(format!("see `azmend runs show {}`; if no one works on it: {resume}", self.run.run_id)),
        });
        result.retry_after = Some(COME_BACK.as_secs());
        result.next = Some(resume);
        result.warnings.append(&mut self.warnings);
        result
    }

    /// The result of an undo that could only restore locks.
    pub(super) async fn restored_from_damage(&mut self, error: &IllegalRecord, restored: bool) -> RunResult {
        if let Some(why) = self.run.log.lost() {
            return self.not_ours(&why);
        }
        let mut result = self.illegal(error);
        if self.run.plan.is_lost() {
            let what = if restored { "only its locks were restored" } else { "not all of its locks could be restored" };
            result.error = Some(ErrorResult {
                code: "plan_lost".to_owned(),
                message: format!("the plan of this run is missing or was changed; {what}"),
                hint: Some("what else the run changed is in its journal.jsonl".to_owned()),
            });
            // What the VM was like before stood in the plan.
            result.before = None;
            if restored {
                (result.status, result.exit_code) = (Status::Partial, exit::PARTIAL);
            }
            return self.close(result).await;
        }
        if let Some(error) = &mut result.error {
            error.message = error.message.replace("nothing was sent", "only its locks were restored");
            error.hint = Some("what else it changed is in its journal: azmend runs show".to_owned());
        }
        if !restored && let Some(error) = &mut result.error {
            error.message =
                error.message.replace("only its locks were restored", "not all of its locks could be restored");
        }
        self.close(result).await
    }

    /// The result of a run that is not resumed: nothing is sent.
    pub(super) fn not_resumed(&mut self, why: &str) -> RunResult {
        let mut result = self.base(None);
        let owed = self.run.plan.relock && !self.state.locks_off().is_empty();
        self.conclude(&mut result, Ended::Steps, Worst::Refused, owed);
        result.error = Some(ErrorResult {
            code: "not_resumable".to_owned(),
            message: format!("the run cannot be resumed: {why}"),
            hint: (!self.state.locks_off().is_empty())
                .then(|| format!("its locks can still be restored: azmend runs undo {}", self.run.run_id)),
        });
        result
    }

    async fn paused(
        &mut self,
        result: &mut RunResult,
        why: PauseReason,
        detail: &str,
        hint: Option<String>,
        wait: Duration,
    ) {
        result.retry_after = Some(wait.as_secs());
        result.error = Some(ErrorResult { code: why.word().to_owned(), message: detail.to_owned(), hint });
        result.next = Some(format!("azmend runs resume {}", self.run.run_id));
        let retry_after = later(self.now(), wait);
        let event = Event::Paused { why, detail: detail.to_owned(), retry_after };
        if self.record(event).await.is_err() {
            result.warnings.push("the pause could not be journaled; resume still works".to_owned());
        }
    }

    /// Status and exit code, by the table.
    fn conclude(&self, result: &mut RunResult, ended: Ended, worst: Worst, lock_owed: bool) {
        // Also what was settled as not done, or as done and then reverted by somebody: a request of it may have had an effect.
        let left = |state: &ChangeState| state.may_have_effect() || !state.history.attempts.is_empty();
        let changed = self.state.changes.values().any(left);
        let unread = !result.not_read.is_empty();
        (result.status, result.exit_code) = verdict(Ends { ended, worst, changed, lock_owed, unread });
    }

    /// Of a paused run only what stays unknown counts.
    fn unknown_only(&self) -> Worst {
        let unknown = self.state.changes.values().any(|state| state.outcome() == Some(EndKind::Unknown));
        if unknown { Worst::Unknown } else { Worst::Holds }
    }

    /// The worst that the changes came to.
    fn worst(&self) -> Worst {
        let missed = self.run.plan.missed(|step| self.step_outcome(step));
        // A lock that was to be restored and was not, because another one is in its place.
        let replaced = self.run.plan.relock && self.state.locks.all().any(|(_, _, now)| now == LockState::Replaced);
        let mut worst = if missed || replaced { Worst::Missing } else { Worst::Holds };
        let mut only_the_backup = true;
        let mut backup_failed = false;
        for (step, change) in self.run.plan.changes() {
            let state = self.state.changes.get(&change.id);
            let backup = matches!(change.what, ChangeKind::StartBackup(_));
            let this = match state.and_then(ChangeState::ending) {
                None => Worst::Missing,
                Some(ending) => match ending.outcome {
                    EndKind::Succeeded
                    | EndKind::AlreadyDone
                    | EndKind::NotNeeded
                    | EndKind::Irreversible
                    | EndKind::Skipped => Worst::Holds,
                    EndKind::Refused => Worst::Refused,
                    EndKind::Failed if ending.permission => Worst::Forbidden,
                    EndKind::Failed => Worst::Failed,
                    EndKind::Unknown => Worst::Unknown,
                },
            };
            // "The backup still fails" is only said of one that was started, and that failed of itself.
            let started = state.is_some_and(|state| {
                let code = state.ending().map_or("", |ending| ending.code.as_str());
                !state.history.attempts.is_empty() && !ran_into_another(code)
            });
            backup_failed |= backup && started && matches!(this, Worst::Failed | Worst::Forbidden);
            only_the_backup &= backup || this == Worst::Holds || step.on_failure == OnFailure::Continue;
            worst = worst.max(this);
        }
        if backup_failed && only_the_backup && worst < Worst::Unknown { Worst::BackupFailed } else { worst }
    }

    /// Writes the last record and gives the result out.
    async fn close(&mut self, mut result: RunResult) -> RunResult {
        // A pause stays one when a lock could not be restored: the run can then still be resumed.
        let paused = matches!(self.state.phase, RunPhase::Paused { .. });
        let lost = result.error.as_ref().is_some_and(|error| error.code == "journal");
        if let (false, false, Some(status)) = (paused, lost, final_status(result.status)) {
            let event = Event::Finished { status, exit_code: result.exit_code };
            if self.record(event).await.is_err() {
                result.warnings.push("the end of the run could not be journaled".to_owned());
            }
        }
        for warning in self.warnings.iter().chain(&self.replaced_locks()) {
            if !result.warnings.contains(warning) {
                result.warnings.push(warning.clone());
            }
        }
        // Taken from the state again: restoring and the last reading changed it.
        result.changes = changes(&self.run.plan, &self.state);
        result.locks_removed = removed_locks(&self.state);
        result.ended = Some(self.now());
        if result.next.is_none() {
            result.next = self.next(&result);
        }
        // Whoever works on it by now says how it ends.
        match self.run.log.lost() {
            Some(why) => self.not_ours(&why),
            None => result,
        }
    }

    /// A lock in whose place somebody put another one is said in every result, also of an undo that has nothing left to do.
    fn replaced_locks(&self) -> Vec<String> {
        let replaced = self.state.locks.all().filter(|(_, _, now)| *now == LockState::Replaced);
        replaced
            .map(|(change, lock, _)| {
                let ending = self.state.changes.get(change).and_then(ChangeState::back_ending);
                let why = ending.map_or("another lock of its name is in force", |ending| ending.detail.as_str());
                format!("the lock {} was not restored: {why}", lock.id.name())
            })
            .collect()
    }

    fn next(&self, result: &RunResult) -> Option<String> {
        let off = self.state.locks_off();
        match result.status {
            Status::Stuck if !off.is_empty() => off.first().map(|(_, lock)| recreate_command(lock)),
            Status::Stuck => Some(format!("azmend runs show {}", self.run.run_id)),
            _ if !off.is_empty() => Some(format!("azmend runs undo {}", self.run.run_id)),
            Status::Partial | Status::Refused | Status::Failed => {
                result.error.as_ref().and_then(|error| error.hint.clone())
            }
            _ => None,
        }
    }

    /// What the run changed is read again, and compared with what it says.
    async fn read_after(&mut self) -> Option<View> {
        self.tell(&super::progress::Progress::Verifying);
        self.read_what_changed().await;
        let facts = self.facts.clone()?;
        Box::pin(self.compare(&facts)).await;
        self.view()
    }

    /// A last reading that contradicts an outcome changes it; what else it shows is a warning.
    async fn compare(&mut self, facts: &VmFacts) {
        let changes: Vec<Change> = self.run.plan.changes().map(|(_, change)| change.clone()).collect();
        for change in &changes {
            let Some(state) = self.state.changes.get(&change.id) else { continue };
            let outcome = state.outcome();
            if !matches!(outcome, Some(EndKind::Succeeded | EndKind::AlreadyDone)) || state.back != Phase::Idle {
                continue;
            }
            let ours = outcome == Some(EndKind::Succeeded);
            if let Some(ending) = Box::pin(self.contradiction(change, ours, facts)).await {
                self.warn(ending.detail.clone());
                self.record_all_the_same(Event::Corrected { change: change.id.clone(), ending }).await;
            }
        }
        let mut found: Vec<String> = self.cleaned_by_others(facts).into_iter().collect();
        found.extend(self.jobs_meanwhile(facts));
        for text in found {
            self.warn(text);
        }
    }

    /// How a change ended after all, when the last reading contradicts its success.
    /// Nobody is accused unless the change was `ours`.
    async fn contradiction(&self, change: &Change, ours: bool, facts: &VmFacts) -> Option<Ending> {
        let failed = |code: &str, why: String, effect| {
            Some(Ending { code: code.to_owned(), effect: Some(effect), ..plain(EndKind::Failed, why) })
        };
        match &change.what {
            ChangeKind::RemoveLock(RemoveLock { lock }) => {
                let listed = facts.locks.known().is_some_and(|locks| locks.iter().any(|now| now.id == lock.id));
                // A list may be late; only a stable reading says that somebody put it back.
                if !listed || !locks::in_force(&self.arm, lock).await {
                    return None;
                }
                if !ours {
                    let why = format!("the lock {} is in force, although it read as gone before", lock.id.name());
                    return failed("", why, Effect::None);
                }
                let refusal = locks::came_back(lock);
                // With other content it is another lock, and the one that was removed is still owed.
                let (why, effect) = match replaced_by(lock, facts) {
                    None => (refusal.why, Effect::None),
                    Some(difference) => (format!("{}, with other content: {difference}", refusal.why), Effect::Some),
                };
                Some(Ending {
                    code: refusal.rule,
                    hint: refusal.hint,
                    effect: Some(effect),
                    ..plain(EndKind::Failed, why)
                })
            }
            ChangeKind::ResumeProtection(ResumeProtection { item, .. })
            | ChangeKind::EnableProtection(EnableProtection { item, .. }) => {
                let mut items = facts.items.known().into_iter().flatten();
                let stopped = items.any(|now| now.item.id == *item && now.item.stopped());
                let why = "the protection is stopped again: someone stopped it after it was resumed".to_owned();
                if stopped { failed("s3.changed", why, Effect::None) } else { None }
            }
            ChangeKind::DeletePoint(DeletePoint { point, .. }) => {
                let listed = facts.collections().any(|c| c.points().iter().any(|now| now.id == point.id));
                if !listed || !self.arm.point(&point.id).await.is_ok_and(|now| !now.deleting()) {
                    return None;
                }
                let why = format!("the point {} reappeared after it was deleted", point.id.name());
                failed("", why, Effect::None)
            }
            ChangeKind::DeleteCollection(DeleteCollection { collection, .. }) => {
                let same = |now: &crate::arm::model::Collection| now.collection_id == collection.collection_id;
                if !facts.collections().any(same)
                    || !self.arm.collection(&collection.id).await.is_ok_and(|now| same(&now))
                {
                    return None;
                }
                let why = format!("the collection {} reappeared after it was deleted", collection.id.name());
                failed("", why, Effect::Unknown)
            }
            _ => None,
        }
    }

    /// Jobs that ran while points were being deleted may have lost their snapshot (S8).
    fn jobs_meanwhile(&self, facts: &VmFacts) -> Vec<String> {
        let deletes =
            |change: &Change| matches!(change.what, ChangeKind::DeletePoint(_) | ChangeKind::DeleteCollection(_));
        let first = self
            .run
            .plan
            .changes()
            .filter(|(_, change)| deletes(change))
            .filter_map(|(_, change)| Some(self.state.changes.get(&change.id)?.history.attempts.first()?.at))
            .min();
        let Some(from) = first else { return Vec::new() };
        // Those that are not over yet may still be going on.
        let deletions = self.run.plan.changes().filter(|(_, change)| deletes(change));
        let until = deletions
            .filter_map(|(_, change)| self.state.changes.get(&change.id))
            .filter(|state| !state.history.attempts.is_empty())
            .map(|state| state.ended_at.unwrap_or_else(|| self.now()))
            .max()
            .unwrap_or_else(|| self.now());
        let ours: Vec<_> = self.state.changes.values().filter_map(|state| state.history.job.clone()).collect();
        facts
            .items
            .known()
            .into_iter()
            .flatten()
            .flat_map(|item| item.jobs.known().into_iter().flatten())
            // One that began just before, when the jobs had been read already, counts too.
            .filter(|job| (job.running() || job.end.is_some_and(|end| end >= from)) && !ours.contains(&job.id))
            .filter(|job| job.start.is_none_or(|start| start <= until))
            .map(|job| {
                format!(
                    "a {} job ({}) ran while points were being deleted: look at its result",
                    job.operation,
                    job.id.name()
                )
            })
            .collect()
    }

    /// Points that are gone although this run deletes none: Azure Backup cleans up by itself once no lock is left.
    fn cleaned_by_others(&self, facts: &VmFacts) -> Option<String> {
        let deletes = |kind: &ChangeKind| matches!(kind, ChangeKind::DeletePoint(_) | ChangeKind::DeleteCollection(_));
        if self.run.plan.changes().any(|(_, change)| deletes(&change.what)) {
            return None;
        }
        let old = |point: &&Point| point.succeeded() && point.created.is_some_and(|at| at <= self.run.plan.created);
        let collections = facts.collections.known()?.iter().filter(|collection| has_backup_points(collection));
        let left = collections.flat_map(|collection| collection.points()).filter(old).count();
        let gone =
            usize::try_from(self.run.plan.before.points.count).ok()?.checked_sub(left).filter(|gone| *gone > 0)?;
        let what = plural(gone, "point");
        Some(format!(
            "{what} disappeared since the plan that azmend did not delete: Azure Backup or someone else cleaned up"
        ))
    }

    fn base(&self, after: Option<View>) -> RunResult {
        let plan = &self.run.plan;
        let mut result = RunResult::empty(Status::Failed, exit::BUG, plan.world.sandbox);
        result.run_id = Some(self.run.run_id.clone());
        result.cloud = Some(plan.world.cloud.clone());
        result.tenant = some(&plan.world.tenant);
        result.subscription = some(&plan.world.subscription);
        result.identity = some(&plan.world.identity);
        result.playbook = Some(plan.playbook.clone());
        result.vm = Some(plan.vm.to_string());
        result.started = Some(self.started);
        result.ended = Some(self.now());
        let calls = self.arm.call_counts();
        result.arm_calls =
            Some(CallsResult { reads: calls.reads, changes: calls.changes, waited_seconds: calls.waited_seconds });
        result.before = Some(plan.before.clone());
        result.not_read = after.as_ref().map_or_else(BTreeMap::new, |view| view.unread.clone());
        result.after = after;
        result.warnings.clone_from(&plan.warnings);
        result.warnings.extend(plan.steps.iter().flat_map(|step| step.kept.iter().filter_map(kept_text)));
        result.changes = changes(plan, &self.state);
        result.locks_removed = removed_locks(&self.state);
        result
    }
}

/// How the lock of the same name that is in force now differs from this one.
fn replaced_by(lock: &Lock, facts: &VmFacts) -> Option<String> {
    let now = facts.locks.known()?.iter().find(|now| now.id == lock.id)?;
    locks::difference(lock, now)
}

/// "7 points kept: the vault has no copy of them (s8.snapshot-only)".
#[must_use]
pub fn kept_text(kept: &super::plan::Kept) -> Option<String> {
    // Locks that stay are warnings of the plan already.
    if kept.count == 0 || kept.refusal.rule.starts_with("s5.") && kept.refusal.rule != "s5.locked" {
        return None;
    }
    Some(format!("{} kept: {}", plural(kept.count, "point"), kept.refusal))
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// `2026-11-20 09:00Z`.
fn minute(at: Timestamp) -> String {
    let text: String = at.to_string().chars().take(16).collect();
    format!("{}Z", text.replacen('T', " ", 1))
}

const fn final_status(status: Status) -> Option<FinalStatus> {
    match status {
        Status::Succeeded | Status::NothingToDo => Some(FinalStatus::Succeeded),
        Status::Partial => Some(FinalStatus::Partial),
        Status::Refused => Some(FinalStatus::Refused),
        Status::Failed => Some(FinalStatus::Failed),
        Status::Undone => Some(FinalStatus::Undone),
        Status::Stuck => Some(FinalStatus::Stuck),
        Status::Paused | Status::Planned | Status::Waiting | Status::Error => None,
    }
}

/// The first change that did not succeed is what the result as a whole says.
fn first_error(changes: &[ChangeResult]) -> Option<ErrorResult> {
    changes.iter().find_map(|change| match change.outcome.as_str() {
        "failed" | "refused" | "unknown" => change
            .error
            .clone()
            .or_else(|| Some(ErrorResult { code: change.outcome.clone(), message: change.detail.clone(), hint: None })),
        _ => None,
    })
}

/// The changes of a run as its journal says.
#[must_use]
pub fn changes(plan: &Plan, state: &RunState) -> Vec<ChangeResult> {
    plan.changes()
        .map(|(step, change)| {
            let now = state.changes.get(&change.id);
            let ending = now.and_then(|now| now.ending());
            let begun = now.is_some_and(|now| now.forward != Phase::Idle);
            let (outcome, detail) = match ending {
                Some(ending) => (ending.outcome.word().to_owned(), ending.detail.clone()),
                None if begun => ("pending".to_owned(), "not settled yet".to_owned()),
                None => ("not_run".to_owned(), String::new()),
            };
            let undo = match (now.and_then(|now| now.back_ending()), &change.undo) {
                (Some(back), _) => back.outcome.word(),
                (None, Undo::Restore) => "restore",
                (None, Undo::Inverse { .. }) => "inverse",
                (None, Undo::Irreversible { .. }) => "irreversible",
                (None, Undo::NotNeeded { .. }) => "not_needed",
            };
            let error =
                ending.filter(|ending| matches!(ending.outcome, EndKind::Failed | EndKind::Refused)).map(|ending| {
                    ErrorResult { code: ending.code.clone(), message: ending.detail.clone(), hint: ending.hint.clone() }
                });
            ChangeResult {
                step: step.id.clone(),
                resource_id: change.resource().to_string(),
                effect: change.effect.clone(),
                outcome,
                detail,
                undo: undo.to_owned(),
                error,
            }
        })
        .collect()
}

/// The locks that a run removed or may have removed, as its journal says.
#[must_use]
pub fn removed_locks(state: &RunState) -> Vec<LockResult> {
    state
        .locks
        .all()
        .filter(|(_, _, now)| *now != LockState::InForce)
        .map(|(_, lock, now)| LockResult {
            id: lock.id.to_string(),
            level: lock.level.clone(),
            notes: lock.notes.clone(),
            restored: now == LockState::Restored,
            recreate_command: recreate_command(lock),
        })
        .collect()
}
