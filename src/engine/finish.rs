//! The end of a run: locks back where asked, everything read again, one result with one exit code.

use std::collections::BTreeMap;
use std::time::Duration;

use super::exit;
use super::plan::Plan;
use super::result::{ChangeResult, ErrorResult, LockResult, RunResult, Status};
use super::run::{Over, Session, Stop};
use super::state::{ChangeState, IllegalRecord, Phase, RunPhase, RunState};
use crate::actions::change::{Change, ChangeKind, Undo};
use crate::actions::locks::RemoveLock;
use crate::actions::locks::recreate_command;
use crate::actions::points::{DeleteCollection, DeletePoint};
use crate::actions::protection::{EnableProtection, ResumeProtection};
use crate::arm::model::Point;
use crate::clock::later;
use crate::estate::derive::has_backup_points;
use crate::estate::facts::VmFacts;
use crate::estate::view::View;
use crate::journal::{Event, Purpose};
use crate::text::plural;

impl Session<'_> {
    /// Ends a run, however it came to its end.
    pub(super) async fn finish(&mut self, over: Over) -> RunResult {
        // A run that is being taken back puts its locks back even when the rest of it has to wait.
        let relocked = if self.state.phase == RunPhase::Undoing {
            Box::pin(self.relock(Purpose::Undo)).await
        } else if self.run.plan.relock {
            Box::pin(self.relock(Purpose::Relock)).await
        } else {
            true
        };
        // The last read is part of every end but an unreachable Azure's.
        let read = !matches!(&over, Over::Stop(Stop::Pause { why: "unreachable", .. } | Stop::Illegal(_)));
        let after = if read { Box::pin(self.read_after()).await } else { None };
        let mut result = self.base(after);
        match over {
            Over::Stop(Stop::Pause { why, detail, wait }) => self.paused(&mut result, why, &detail, wait),
            Over::Stop(Stop::Log(error)) => {
                let changed = self.state.changes.values().any(ChangeState::may_stand);
                result.status = if changed { Status::Partial } else { Status::Failed };
                result.exit_code = if changed { exit::PARTIAL } else { exit::INPUT };
                result.error = Some(ErrorResult {
                    code: "journal".to_owned(),
                    message: format!("{error}; nothing more was sent"),
                    hint: Some("give azmend a state directory it can write to, then: azmend runs resume".to_owned()),
                });
            }
            Over::Stop(Stop::Illegal(error)) => return self.illegal(&error),
            Over::Done | Over::Stopped => self.done(&mut result),
        }
        if !relocked {
            stuck(&mut result);
        }
        self.close(result)
    }

    /// Ends an undo.
    pub(super) async fn finish_undo(&mut self, restored: bool) -> RunResult {
        let after = Box::pin(self.read_after()).await;
        let mut result = self.base(after);
        let lost: Vec<String> = self
            .run
            .plan
            .changes()
            .filter(|(_, change)| matches!(change.undo, Undo::Irreversible { .. }))
            .filter(|(_, change)| {
                self.state
                    .changes
                    .get(&change.id)
                    .is_some_and(|state| state.may_stand() || self.partly_gone(change, state))
            })
            .map(|(_, change)| change.resource().short_name())
            .collect();
        let mut refused = false;
        for (_, change) in self.run.plan.changes() {
            let Some(state) = self.state.changes.get(&change.id).filter(|state| state.may_stand()) else { continue };
            if matches!(change.undo, Undo::Inverse { .. }) {
                // What stays was warned of when it was tried.
                refused |= !state
                    .back_ending()
                    .is_some_and(|e| matches!(e.outcome.as_str(), "succeeded" | "already_done" | "not_needed"));
                continue;
            }
            if let Some(ending) = state.back_ending().filter(|ending| ending.outcome == "refused") {
                refused = true;
                let name = change.resource().name();
                let warning = format!("the lock {name} was not written back: {}", ending.detail);
                if !self.warnings.contains(&warning) && !result.warnings.contains(&warning) {
                    result.warnings.push(warning);
                }
            }
        }
        if !restored {
            stuck(&mut result);
        } else if lost.is_empty() && !refused {
            result.status = Status::Undone;
            result.exit_code = exit::OK;
        } else {
            result.status = Status::Partial;
            result.exit_code = exit::PARTIAL;
            if !lost.is_empty() {
                let what = plural(lost.len(), "deletion");
                result.warnings.push(format!("{what} cannot be taken back: {}", lost.join(", ")));
            }
        }
        self.close(result)
    }

    /// The result of a journal that does not fit its plan: nothing is sent.
    pub(super) fn illegal(&mut self, error: &IllegalRecord) -> RunResult {
        let mut result = self.base(None);
        result.status = Status::Stuck;
        result.exit_code = exit::STUCK;
        result.error = Some(ErrorResult {
            code: "journal".to_owned(),
            message: format!("{error}; nothing was sent"),
            hint: Some("locks of this run can still be put back: azmend runs show prints the commands".to_owned()),
        });
        result
    }

    fn paused(&mut self, result: &mut RunResult, why: &str, detail: &str, wait: Duration) {
        result.status = Status::Paused;
        result.exit_code = exit::COME_BACK;
        result.retry_after = Some(wait.as_secs());
        result.error = Some(ErrorResult { code: why.to_owned(), message: detail.to_owned(), hint: None });
        result.next = Some(format!("azmend runs resume {}", self.run.run_id));
        let retry_after = later(self.now(), wait);
        let event = Event::Paused { why: why.to_owned(), detail: detail.to_owned(), retry_after };
        if self.record(event).is_err() {
            result.warnings.push("the pause could not be journaled; resume works all the same".to_owned());
        }
    }

    fn done(&mut self, result: &mut RunResult) {
        let endings = |word: &str| {
            self.state.changes.values().filter(|s| s.ending().is_some_and(|ending| ending.outcome == word)).count()
        };
        let changed = self
            .state
            .changes
            .values()
            .any(|state| !state.history.attempts.is_empty() && (state.may_stand() || partly(state)))
            || self.run.plan.changes().any(|(_, change)| {
                self.state.changes.get(&change.id).is_some_and(|state| self.partly_gone(change, state))
            });
        let permission = self
            .state
            .changes
            .values()
            .filter_map(|s| s.ending())
            .any(|ending| ending.outcome == "failed" && ending.permission);
        let (failed, refused, unknown) = (endings("failed"), endings("refused"), endings("unknown"));
        let open = self.state.changes.values().filter(|s| !matches!(s.forward, Phase::Ended(_))).count();
        if unknown > 0 {
            stuck(result);
        } else if failed + refused + open == 0 {
            result.status = Status::Succeeded;
            result.exit_code = exit::OK;
        } else if self.only_the_backup_failed() {
            result.status = Status::Failed;
            result.exit_code = exit::STILL_FAILS;
        } else if changed {
            result.status = Status::Partial;
            result.exit_code = exit::PARTIAL;
        } else if permission {
            result.status = Status::Failed;
            result.exit_code = exit::PERMISSION;
        } else if refused > 0 {
            result.status = Status::Refused;
            result.exit_code = exit::REFUSED;
        } else {
            result.status = Status::Failed;
            result.exit_code = exit::PARTIAL;
        }
        result.error = result.changes.iter().find_map(|change| match change.outcome.as_str() {
            "failed" | "refused" | "unknown" => change.error.clone().or_else(|| {
                Some(ErrorResult { code: change.outcome.clone(), message: change.detail.clone(), hint: None })
            }),
            _ => None,
        });
        if !result.not_read.is_empty() && result.exit_code == exit::OK {
            result.exit_code = exit::PARTIAL;
        }
    }

    /// A collection whose deletion failed after some of its points were gone, as the attempts or the last reading say.
    fn partly_gone(&self, change: &Change, state: &ChangeState) -> bool {
        let ChangeKind::DeleteCollection(DeleteCollection { collection, .. }) = &change.what else { return false };
        if state.history.attempts.is_empty() {
            return false;
        }
        let now = self.facts.as_ref().and_then(|facts| facts.collections().find(|now| now.id == collection.id));
        partly(state)
            || now.is_some_and(|now| {
                collection.points().iter().any(|point| !now.points().iter().any(|p| p.id == point.id))
            })
    }

    /// Everything else holds, and the backup itself failed.
    fn only_the_backup_failed(&self) -> bool {
        let mut backup_failed = false;
        for (step, change) in self.run.plan.changes() {
            let Some(ending) = self.state.changes.get(&change.id).and_then(|state| state.ending()) else {
                return false;
            };
            let backup = matches!(change.what, ChangeKind::StartBackup(_));
            match ending.outcome.as_str() {
                "succeeded" | "already_done" | "skipped" => {}
                "failed" if backup => backup_failed = true,
                _ if step.on_failure == super::plan::OnFailure::Continue && !backup => {}
                _ => return false,
            }
        }
        backup_failed
    }

    /// Writes the last record and gives the result out.
    fn close(&mut self, mut result: RunResult) -> RunResult {
        // A pause stays one when a lock could not be put back: the run can then still be resumed.
        let paused = matches!(self.state.phase, RunPhase::Paused { .. });
        if !paused
            && result.status != Status::Paused
            && result.error.as_ref().is_none_or(|error| error.code != "journal")
        {
            let status = serde_json::to_value(result.status).ok();
            let status = status.as_ref().and_then(|v| v.as_str()).unwrap_or("failed").to_owned();
            let event = Event::Finished { status, exit_code: result.exit_code };
            if self.record(event).is_err() {
                result.warnings.push("the end of the run could not be journaled".to_owned());
            }
        }
        for warning in &self.warnings {
            if !result.warnings.contains(warning) {
                result.warnings.push(warning.clone());
            }
        }
        // Taken from the state again: putting locks back and settling changed it.
        result.changes = changes(&self.run.plan, &self.state);
        result.locks_removed = locks(&self.run.plan, &self.state);
        result.ended = Some(self.now());
        if result.next.is_none() {
            result.next = self.next(&result);
        }
        result
    }

    fn next(&self, result: &RunResult) -> Option<String> {
        let off: Vec<&LockResult> = result.locks_removed.iter().filter(|lock| !lock.restored).collect();
        match result.status {
            Status::Stuck if !off.is_empty() => off.first().map(|lock| lock.recreate_command.clone()),
            Status::Stuck => Some(format!("azmend runs show {}", self.run.run_id)),
            _ if !off.is_empty() => Some(format!("azmend runs undo {}", self.run.run_id)),
            Status::Partial | Status::Refused | Status::Failed => {
                result.error.as_ref().and_then(|error| error.hint.clone())
            }
            _ => None,
        }
    }

    /// Everything is read again, and compared with what the run says.
    async fn read_after(&mut self) -> Option<View> {
        self.tell(&super::progress::Progress::Verifying);
        self.read_everything().await;
        let facts = self.facts.clone()?;
        self.compare(&facts);
        self.view()
    }

    fn compare(&mut self, facts: &VmFacts) {
        let mut found = Vec::new();
        let mut deleted_from = None;
        for (_, change) in self.run.plan.changes() {
            let Some(state) = self.state.changes.get(&change.id) else { continue };
            let succeeded = state.ending().is_some_and(|ending| ending.outcome == "succeeded");
            if !succeeded {
                continue;
            }
            match &change.what {
                ChangeKind::RemoveLock(RemoveLock { lock })
                    if state.back == Phase::Idle
                        && facts.locks.known().is_some_and(|locks| locks.iter().any(|now| now.id == lock.id)) =>
                {
                    found.push(format!("the lock {} stands again: somebody put it back", lock.id.name()));
                }
                ChangeKind::ResumeProtection(ResumeProtection { item, .. })
                | ChangeKind::EnableProtection(EnableProtection { item, .. })
                    if state.back == Phase::Idle =>
                {
                    let mut items = facts.items.known().into_iter().flatten();
                    if items.any(|now| now.item.id == *item && now.item.stopped()) {
                        found.push(
                            "the protection is stopped again: somebody stopped it after it was resumed".to_owned(),
                        );
                    }
                }
                ChangeKind::DeletePoint(DeletePoint { point, .. }) => {
                    deleted_from = deleted_from.or(state.history.attempts.first().map(|attempt| attempt.at));
                    if facts.collections().any(|c| c.points().iter().any(|now| now.id == point.id)) {
                        found.push(format!("the point {} is listed again after it was gone", point.id.name()));
                    }
                }
                ChangeKind::DeleteCollection(DeleteCollection { collection, .. }) => {
                    deleted_from = deleted_from.or(state.history.attempts.first().map(|attempt| attempt.at));
                    let again = |now: &crate::arm::model::Collection| now.collection_id == collection.collection_id;
                    if facts.collections().any(again) {
                        found
                            .push(format!("the collection {} is listed again after it was gone", collection.id.name()));
                    }
                }
                _ => {}
            }
        }
        found.extend(self.cleaned_by_others(facts));
        // A job that began while points were being deleted may have lost its snapshot (S8).
        if let Some(from) = deleted_from {
            let ours: Vec<_> = self.state.changes.values().filter_map(|state| state.history.job.clone()).collect();
            for item in facts.items.known().into_iter().flatten() {
                for job in item.jobs.known().into_iter().flatten() {
                    // One that began just before, when the jobs had been read already, counts too.
                    if (job.running() || job.end.is_some_and(|end| end >= from)) && !ours.contains(&job.id) {
                        found.push(format!(
                            "a {} job ({}) ran while points were being deleted: look at its result",
                            job.operation,
                            job.id.name()
                        ));
                    }
                }
            }
        }
        for text in found {
            self.warn(text);
        }
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
        Some(format!("since the plan {what} went that azmend did not delete: Azure Backup or somebody else cleaned up"))
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
        result.before = Some(plan.before.clone());
        result.not_read = after.as_ref().map_or_else(BTreeMap::new, |view| view.unread.clone());
        result.after = after;
        result.warnings.clone_from(&plan.warnings);
        result.warnings.extend(plan.steps.iter().flat_map(|step| step.kept.iter().filter_map(kept_text)));
        result.changes = changes(plan, &self.state);
        result.locks_removed = locks(plan, &self.state);
        result
    }
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

fn stuck(result: &mut RunResult) {
    result.status = Status::Stuck;
    result.exit_code = exit::worst(result.exit_code, exit::STUCK);
}

/// A collection of which some points went before it failed.
fn partly(state: &ChangeState) -> bool {
    let counts: Vec<usize> = state.history.attempts.iter().filter_map(|attempt| attempt.remaining).collect();
    counts.first().zip(counts.last()).is_some_and(|(first, last)| last < first)
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
                Some(ending) => (ending.outcome.clone(), ending.detail.clone()),
                None if begun => ("pending".to_owned(), "not settled yet".to_owned()),
                None => ("not_run".to_owned(), String::new()),
            };
            let undo = match (now.and_then(|now| now.back_ending()), &change.undo) {
                (Some(back), _) => back.outcome.clone(),
                (None, Undo::Restore) => "restore".to_owned(),
                (None, Undo::Inverse { .. }) => "inverse".to_owned(),
                (None, Undo::Irreversible { .. }) => "irreversible".to_owned(),
                (None, Undo::NotNeeded { .. }) => "not_needed".to_owned(),
            };
            let error = ending.filter(|ending| matches!(ending.outcome.as_str(), "failed" | "refused")).map(|ending| {
                ErrorResult { code: ending.code.clone(), message: ending.detail.clone(), hint: ending.hint.clone() }
            });
            ChangeResult {
                step: step.id.clone(),
                resource_id: change.resource().to_string(),
                effect: change.effect.clone(),
                outcome,
                detail,
                undo,
                error,
            }
        })
        .collect()
}

/// The locks that a run removed, as its journal says.
#[must_use]
pub fn locks(plan: &Plan, state: &RunState) -> Vec<LockResult> {
    plan.changes()
        .filter_map(|(_, change)| {
            let ChangeKind::RemoveLock(RemoveLock { lock }) = &change.what else { return None };
            let now = state.changes.get(&change.id)?;
            if !now.lock_may_be_off() {
                return None;
            }
            Some(LockResult {
                id: lock.id.to_string(),
                level: lock.level.clone(),
                notes: lock.notes.clone(),
                restored: now.back_ending().is_some_and(|e| matches!(e.outcome.as_str(), "succeeded" | "already_done")),
                recreate_command: recreate_command(lock),
            })
        })
        .collect()
}
