//! What earlier runs in this state did that the next one must know.
//!
//! Duty: from the journals of the state, the locks that are off because of them, the backup jobs that they
//! started, and the clean-ups of Azure Backup that they wait for. Lists of Azure may not show either yet: a backup that was started a minute ago is known by its own GET, and the
//! first backup after an unlocking is expected to fail once, whoever removed the lock.
//!
//! Invariants: only runs of the same place count (S13); a run that cannot be read hides no other. Must never: decide anything.

use std::time::Duration;

use jiff::Timestamp;

use super::owed::Locks;
use super::plan::{Plan, World};
use crate::arm::id::ResourceId;
use crate::clock::elapsed;
use crate::journal::{self, Effect, EndKind, Event, Fact, PauseReason, Purpose, Record, State};

/// Older runs are not looked at: a backup job ends within a day, and Azure Backup cleans up within hours.
const LOOK_BACK: Duration = Duration::from_secs(48 * 3600);

/// A lock that another run of this machine removed and did not restore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unlocking {
    /// What it had locked.
    pub scope: ResourceId,
    /// When it was removed.
    pub at: Timestamp,
}

/// A run that waits until Azure Backup has cleaned up the restore points of its VM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CleanUp {
    /// The VM.
    pub vm: ResourceId,
    /// The run.
    pub run: String,
    /// When it was told to be taken up again.
    pub until: Timestamp,
}

/// What earlier runs did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Earlier {
    /// The locks that are off because of them.
    pub unlockings: Vec<Unlocking>,
    /// The backup jobs that they started, of any VM.
    pub jobs: Vec<ResourceId>,
    /// Those of them that wait for a clean-up, of any VM.
    pub clean_ups: Vec<CleanUp>,
}

impl Earlier {
    /// Reads the journals of the last two days but for the run `but`. What cannot be read is left out: `runs list` names it.
    #[must_use]
    pub async fn read(state: &State, place: &World, but: Option<&str>, now: Timestamp) -> Self {
        let mut earlier = Self::default();
        let recent = journal::survey(state, |run, loaded| {
            let recent = run.last_at().is_some_and(|at| elapsed(at, now) <= LOOK_BACK);
            let here = run.sandbox.is_none_or(|sandbox| sandbox == place.sandbox);
            (recent && here && but != Some(run.id.as_str())).then_some((run.id, loaded))
        });
        let Ok(recent) = recent.await else { return earlier };
        for (run, loaded) in recent.found.into_iter().flatten() {
            let Ok(plan) = Plan::parse(&loaded.plan_json) else { continue };
            if same_place(&plan.world, place) {
                earlier.add(loaded.records.iter().chain(&loaded.salvaged));
                let until = clean_up(&loaded.records);
                earlier.clean_ups.extend(until.map(|until| CleanUp { vm: plan.vm, run, until }));
            }
        }
        earlier
    }

    fn add<'a>(&mut self, records: impl Iterator<Item = &'a Record> + Clone) {
        let locks = Locks::of(records.clone());
        let off: Vec<(&str, ResourceId)> = locks.off().map(|(change, lock)| (change, lock.scope())).collect();
        for record in records {
            match &record.event {
                Event::Ended { change, purpose: Purpose::Do, ending }
                    if ending.outcome == EndKind::Succeeded && ending.effect != Some(Effect::None) =>
                {
                    let scope = off.iter().find(|(id, _)| id == change).map(|(_, scope)| scope.clone());
                    self.unlockings.extend(scope.map(|scope| Unlocking { scope, at: record.at }));
                }
                Event::Learned { key: Fact::Job, value, .. } => self.jobs.extend(ResourceId::parse(value).ok()),
                _ => {}
            }
        }
    }

    /// The backup jobs of the vaults' items of this VM cannot be told by their ids: all of them are given to a reading, which
    /// keeps those of the VM's vaults.
    #[must_use]
    pub fn jobs(&self) -> Vec<ResourceId> {
        let mut jobs = self.jobs.clone();
        jobs.sort();
        jobs.dedup();
        jobs
    }
}

/// Until when the run of these records waits for a clean-up.
fn clean_up(records: &[Record]) -> Option<Timestamp> {
    let last = records.iter().rev().find(|record| {
        matches!(
            record.event,
            Event::Paused { .. } | Event::Resumed { .. } | Event::UndoStarted { .. } | Event::Finished { .. }
        )
    });
    match &last?.event {
        Event::Paused { why: PauseReason::CleanUpPending, retry_after, .. } => Some(*retry_after),
        _ => None,
    }
}

/// Whether two runs are of the same Azure; who signed in does not matter here.
fn same_place(one: &World, other: &World) -> bool {
    one.sandbox == other.sandbox
        && one.cloud.eq_ignore_ascii_case(&other.cloud)
        && one.endpoint.eq_ignore_ascii_case(&other.endpoint)
        && one.estate_digest == other.estate_digest
}
