//! The timeline: what will happen, and making it happen when its time has come.
//!
//! Invariant: effects are applied in order of time, each at its own time, before any request of a later time is served.

use std::time::Duration;

use jiff::Timestamp;

use crate::faults;
use crate::job_life;
use crate::operations;
use crate::world::World;
use crate::world::events::Effect;
use azmend_base::clock::later;

impl World {
    /// Lets time pass to `to` (never back), with everything that happens meanwhile.
    pub fn advance_to(&mut self, to: Timestamp) {
        while self.timeline.first().is_some_and(|event| event.at <= to) {
            let event = self.timeline.remove(0);
            self.now = self.now.max(event.at);
            faults::keep_before(self);
            self.places.pages.forget();
            match event.effect {
                Effect::OperationEnds(name) => operations::end(self, &name),
                Effect::SnapshotStarts(job) => job_life::snapshot_starts(self, &job),
                Effect::SnapshotEnds(job) => job_life::snapshot_ends(self, &job),
                Effect::TransferEnds(job) => job_life::transfer_ends(self, &job),
                Effect::JobCancelled(job) => job_life::cancelled(self, &job),
                Effect::ServiceCleanup(vm) => job_life::service_cleanup(self, &vm),
                Effect::Happens(event) => {
                    self.apply_event(&event);
                }
            }
        }
        self.now = self.now.max(to);
    }

    /// Lets `by` pass.
    pub fn advance(&mut self, by: Duration) {
        self.advance_to(later(self.now, by));
    }
}
