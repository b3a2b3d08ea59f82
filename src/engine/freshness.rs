//! How old facts may be when something is decided on them.
//!
//! Duty: read again exactly those parts that the guards of a change look at and that are too old. Every action says which
//! ([`actions::facts_needed`]). Must never: read a part again that is fresh, or let a guard see one that is not.

use jiff::Timestamp;

use super::run::Session;
use crate::actions::{self, change::Change};
use crate::clock::elapsed;
use crate::estate::collect::{self, CollectOptions, Refresh};
use crate::estate::facts::VmFacts;

impl Session<'_> {
    /// A whole reading.
    pub(super) async fn read_everything(&mut self) {
        let options = CollectOptions { own_jobs: self.run.earlier.jobs(), ..CollectOptions::default() };
        let facts = Box::pin(collect::collect(&self.run.arm, &self.run.plan.vm, &options)).await;
        self.facts = Some(facts);
    }

    /// The condition view of the last reading.
    pub(super) fn view(&self) -> Option<crate::estate::view::View> {
        let facts = self.facts.as_ref()?;
        Some(super::planner::view_of(facts, &self.run.arm, &self.run.plan.overrides))
    }

    /// Reads again what is too old of what the guards of this change look at.
    pub(super) async fn freshen(&mut self, change: &Change) {
        let Some(facts) = self.facts.take() else {
            self.read_everything().await;
            return;
        };
        let what = too_old(&facts, change, self.now());
        self.facts = Some(if what == Refresh::NOTHING {
            facts
        } else {
            Box::pin(collect::refresh(&self.run.arm, &facts, what)).await
        });
    }

    /// Whether something that the guards of this change look at is too old by now.
    pub(super) fn stale(&self, change: &Change) -> bool {
        self.facts.as_ref().is_none_or(|facts| too_old(facts, change, self.now()) != Refresh::NOTHING)
    }
}

/// What the guards of this change look at, and that is too old now. A part that is unread is never fresh.
fn too_old(facts: &VmFacts, change: &Change, now: Timestamp) -> Refresh {
    let need = actions::facts_needed(change);
    let old = |needed: bool, at: Option<Timestamp>| needed && at.is_none_or(|at| elapsed(at, now) >= need.age);
    Refresh {
        vm: old(need.vm, facts.vm.read_at()),
        collections: old(need.collections, facts.collections.read_at()),
        groups: old(need.groups, facts.groups.read_at()),
        locks: old(need.locks, facts.locks.read_at()),
        backup: old(need.backup, facts.items.read_at()),
        jobs: old(need.jobs && !need.backup, facts.items.read_at()),
        rights: old(need.rights, facts.groups.read_at()),
        everything: need.everything && elapsed(facts.at, now) >= need.age,
    }
}
