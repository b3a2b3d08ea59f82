//! How old facts may be when something is decided on them.
//!
//! Duty: read again exactly those parts that the guards of a change look at and that are too old. Every action says which
//! ([`actions::facts_needed`]). Must never: read a part again that is fresh, or let a guard see one that is not.

use std::time::Duration;

use jiff::Timestamp;

use super::active_run::ActiveRun;
use super::state::ChangeState;
use crate::actions::change::Change;
use crate::actions::{self, ChangeKind};
use crate::arm::CallPurpose;
use crate::facts::collect::{self, CollectOptions, Refresh};
use crate::facts::vm_facts::VmFacts;

/// What a run did not change is read again for its end only when it was read longer ago.
const TOO_OLD_TO_SHOW: Duration = Duration::from_secs(10 * 60);

impl ActiveRun<'_> {
    /// A whole reading.
    pub(super) async fn read_everything(&mut self) {
        let options = CollectOptions { own_jobs: self.run.earlier.jobs(), ..CollectOptions::default() };
        let facts = Box::pin(collect::collect(&self.arm, &self.run.plan.vm, &options)).await;
        self.facts = Some(facts);
    }

    /// For the end of a run: what its requests may have changed, and what is too old to be said.
    pub(super) async fn read_what_changed(&mut self) {
        let Some(facts) = self.facts.take() else { return self.read_everything().await };
        let sent = |change: &Change| self.state.changes.get(&change.id).is_some_and(ChangeState::sent);
        let mut changed = Refresh::NOTHING;
        // Single points went, and others of the VM are left: its collections are those that are known.
        let same_collections = facts.collections().next().is_some() && !self.may_have_lost_a_collection();
        let points = if same_collections { Refresh::POINTS } else { Refresh::COLLECTIONS };
        for (_, change) in self.run.plan.changes().filter(|(_, change)| sent(change)) {
            changed = changed.and(match &change.what {
                // As the facts have it; it was read when it was restored, a moment ago.
                ChangeKind::RemoveLock(_) if self.was_restored(change) && has_lock(&facts, change) => Refresh::NOTHING,
                ChangeKind::RemoveLock(_) => Refresh::LOCKS,
                ChangeKind::DeletePoint(_) | ChangeKind::DeleteCollection(_) | ChangeKind::StartBackup(_) => {
                    points.and(Refresh::JOBS)
                }
                ChangeKind::AwaitJob(_) | ChangeKind::CancelJob(_) => Refresh::JOBS,
                ChangeKind::UninstallExtension(_) => Refresh { extensions: true, ..Refresh::VM },
                ChangeKind::ReapplyVm(_) | ChangeKind::RestartVm(_) | ChangeKind::SetGuest(_) => Refresh::VM,
                ChangeKind::ResumeProtection(_) | ChangeKind::EnableProtection(_) => Refresh::BACKUP,
                ChangeKind::GrantKeyAccess(_) | ChangeKind::AssignKeyRole(_) => Refresh::EVERYTHING,
            });
        }
        let everything =
            Refresh { vm: true, extensions: true, collections: true, locks: true, backup: true, ..Refresh::NOTHING };
        let old = everything.older_than(&facts, TOO_OLD_TO_SHOW, self.now());
        self.calls_are_for(CallPurpose::After);
        let arm = self.arm.for_showing(TOO_OLD_TO_SHOW);
        self.facts = Some(Box::pin(collect::refresh(&arm, &facts, changed.and(old))).await);
    }

    fn was_restored(&self, change: &Change) -> bool {
        self.state.changes.get(&change.id).is_some_and(ChangeState::restored)
    }

    /// Whether a collection of the VM may have gone by a request of this run, so that a backup may have made a new one.
    fn may_have_lost_a_collection(&self) -> bool {
        let sent = |change: &Change| self.state.changes.get(&change.id).is_some_and(ChangeState::sent);
        self.run
            .plan
            .changes()
            .any(|(_, change)| matches!(change.what, ChangeKind::DeleteCollection(_)) && sent(change))
    }

    /// The condition view of the last reading.
    pub(super) fn view(&self) -> Option<crate::facts::view::View> {
        let facts = self.facts.as_ref()?;
        Some(super::planner::view_of(facts, &self.arm, &self.run.plan.overrides))
    }

    /// Reads again what is too old of what the guards of this change look at; gives what is still missing then, because it
    /// could not be read: no guard takes that for known.
    pub(super) async fn freshen(&mut self, change: &Change) -> Refresh {
        match self.facts.take() {
            None => self.read_everything().await,
            Some(facts) => {
                let what = too_old(&facts, change, self.started, self.now());
                let fresh =
                    if what.is_nothing() { facts } else { Box::pin(collect::refresh(&self.arm, &facts, what)).await };
                self.facts = Some(fresh);
            }
        }
        self.too_old(change)
    }

    /// What the guards of this change look at and is too old by now.
    pub(super) fn too_old(&self, change: &Change) -> Refresh {
        self.facts.as_ref().map_or(Refresh::EVERYTHING, |facts| too_old(facts, change, self.started, self.now()))
    }
}

fn has_lock(facts: &VmFacts, change: &Change) -> bool {
    facts.locks.known().is_some_and(|locks| locks.iter().any(|lock| lock.id == *change.resource()))
}

fn too_old(facts: &VmFacts, change: &Change, started: Timestamp, now: Timestamp) -> Refresh {
    let need = actions::facts_needed(change);
    let parts = Refresh {
        vm: need.vm,
        // Those that change extensions look at the resources, too.
        extensions: matches!(
            change.what,
            ChangeKind::UninstallExtension(_) | ChangeKind::ReapplyVm(_) | ChangeKind::RestartVm(_)
        ),
        collections: need.collections,
        groups: need.groups,
        locks: need.locks,
        backup: need.backup,
        jobs: need.jobs || need.items,
        rights: need.rights,
        everything: need.everything,
        ..if need.items { Refresh::ITEMS } else { Refresh::NOTHING }
    };
    let mut old = parts.older_than(facts, need.age, now);
    old.collections |= need.since_start && facts.collections.read_at().is_none_or(|at| at < started);
    old
}
