//! What earlier runs in this state did that the next one must know.
//!
//! Duty: from the journals of the state, the locks that are off because of them, the backup jobs that they
//! started, the clean-ups of Azure Backup that they wait for, and which VMs they repaired. Lists of Azure may not show either yet: a backup that was started a minute ago is known by its own GET, and the
//! first backup after an unlocking is expected to fail once, whoever removed the lock.
//!
//! Invariants: only runs of the same place count (S13); a run that cannot be read hides no other. Must never: decide anything.

use std::collections::BTreeSet;
use std::sync::LazyLock;
use std::time::Duration;

use jiff::Timestamp;

use super::loop_guard::{self, LoopGuard, Repair};
use super::owed::Locks;
use super::plan::{Plan, World};
use crate::actions::change::Refusal;
use crate::arm::id::ResourceId;
use crate::clock::elapsed;
use crate::journal::{self, Effect, EndKind, Event, Fact, PauseReason, Purpose, Record, State};
use crate::playbook::library::Library;
use crate::playbook::model::Severity;

/// Of older runs only the repairs matter: a backup job ends within a day, and Azure Backup cleans up within hours.
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
    /// The repairs of the guard's time, of any VM.
    pub repairs: Vec<Repair>,
    /// How many of them a VM may have; `None` for any number.
    pub guard: Option<LoopGuard>,
}

impl Earlier {
    /// Reads the journals of the last two days, and those of the default guard's time, but for the run `but`. What cannot be read is
    /// skipped: `runs list` names it.
    pub async fn read(state: &State, place: &World, but: Option<&str>, now: Timestamp) -> Self {
        Self::guarded(state, place, but, now, Some(LoopGuard::default())).await
    }

    /// The same with a guard of the user's.
    pub async fn guarded(
        state: &State,
        place: &World,
        but: Option<&str>,
        now: Timestamp,
        guard: Option<LoopGuard>,
    ) -> Self {
        let mut earlier = Self { guard, ..Self::default() };
        let look_back = guard.map_or(LOOK_BACK, |guard| guard.within().to_std().max(LOOK_BACK));
        let recent = journal::survey(state, |run, loaded| {
            let age = run.last_at().map_or(Duration::MAX, |at| elapsed(at, now));
            let here = run.sandbox.is_none_or(|sandbox| sandbox == place.sandbox);
            (age <= look_back && here && but != Some(run.id.as_str())).then_some((run.id, age, loaded))
        });
        let Ok(recent) = recent.await else { return earlier };
        for (run, age, loaded) in recent.found.into_iter().flatten() {
            let Ok(plan) = Plan::parse(&loaded.plan_json) else { continue };
            if !same_place(&plan.world, place) {
                continue;
            }
            earlier.repairs.extend(repair(&run, &plan, loaded.records.iter().chain(&loaded.salvaged)));
            if age <= LOOK_BACK {
                earlier.add(loaded.records.iter().chain(&loaded.salvaged));
                let until = clean_up(&loaded.records);
                earlier.clean_ups.extend(until.map(|until| CleanUp { vm: plan.vm, run, until }));
            }
        }
        earlier
    }

    /// Why this VM is not repaired once more, by a playbook that is no task.
    #[must_use]
    pub fn one_too_many(&self, vm: &ResourceId, now: Timestamp) -> Option<Refusal> {
        loop_guard::refusal(self.guard, vm, &self.repairs, now)
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

/// The run as a repair: it sent something, and was no task that a person ordered.
fn repair<'a>(id: &str, plan: &Plan, records: impl Iterator<Item = &'a Record> + Clone) -> Option<Repair> {
    let sent = |record: &&Record| matches!(record.event, Event::Intent { purpose: Purpose::Do, .. });
    let first = records.clone().find(sent)?;
    if is_task(&plan.playbook) {
        return None;
    }
    let ended = records
        .filter_map(|record| match &record.event {
            Event::Paused { .. } => Some("paused"),
            Event::Resumed { .. } | Event::UndoStarted { .. } => Some("not finished"),
            Event::Finished { status, .. } => Some(status.word()),
            _ => None,
        })
        .last();
    Some(Repair {
        vm: plan.vm.clone(),
        run: id.to_owned(),
        playbook: plan.playbook.clone(),
        at: first.at,
        ended: ended.unwrap_or("not finished"),
    })
}

/// Whether a playbook of this name is a task: something that a person orders, and no repair. Playbooks of the user's are repairs.
#[must_use]
pub fn is_task(playbook: &str) -> bool {
    static TASKS: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
        let library = Library::shipped();
        let tasks = library.iter().filter(|(playbook, _)| playbook.severity() == Severity::Info);
        tasks.map(|(playbook, _)| playbook.name().to_owned()).collect()
    });
    TASKS.contains(playbook)
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
