//! What earlier runs in this state did that the next one must know.
//!
//! Duty: from the journals of the state, the locks that are off because of them, the backup jobs that they
//! started, the clean-ups of Azure Backup that they wait for, and which VMs they repaired. Lists of Azure may not show either yet: a backup that was started a minute ago is known by its own GET, and the
//! first backup after an unlocking is expected to fail once, whoever removed the lock.
//!
//! Invariants: only runs of the same place count (S13); a run that cannot be read hides no other. Must never: decide anything.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;
use std::time::Duration;

use jiff::Timestamp;

use super::loop_guard::{self, LoopGuard, Repair};
use super::owed::Locks;
use super::plan::{Plan, World};
use crate::actions::change::Refusal;
use crate::arm::id::ResourceId;
use crate::arm::model::Job;
use crate::clock::{earlier, elapsed, later};
use crate::facts::vm_facts::VmFacts;
use crate::journal::{self, Effect, Event, Fact, Loaded, PauseReason, Purpose, Record, State};
use crate::playbook::library::Library;
use crate::playbook::model::Severity;

/// Of older runs only the repairs matter: a backup job ends within a day, and Azure Backup cleans up within hours.
const LOOK_BACK: Duration = Duration::from_secs(48 * 3600);

/// A backup's job is listed within this time of its request, if there is one. The same as the action waits for its own.
const JOB_SHOWS: Duration = Duration::from_secs(600);
/// Between this machine's clock and Azure's.
const SKEW: Duration = Duration::from_secs(60);
/// What a backup is requested of.
const ITEM: &str = "Microsoft.RecoveryServices/vaults/backupFabrics/protectionContainers/protectedItems";

/// A lock that another run of this machine removed and did not restore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unlocking {
    /// What it had locked.
    pub scope: ResourceId,
    /// When it was removed.
    pub at: Timestamp,
}

/// A backup that another run of this machine requested, and whose job it does not know: it was stopped before Azure named one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requested {
    /// The VM.
    pub vm: ResourceId,
    /// The run.
    pub run: String,
    /// When the request left.
    pub at: Timestamp,
}

impl Requested {
    /// Whether a job that began then may be the one of this request.
    fn may_have_started(&self, start: Timestamp) -> bool {
        start >= earlier(self.at, SKEW) && start <= later(self.at, JOB_SHOWS)
    }
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
    /// The backups that they requested and whose jobs are not known, of any VM.
    pub requested: Vec<Requested>,
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
        let recent = match recent.await {
            Ok(recent) => recent,
            Err(error) => {
                tracing::warn!("what earlier runs did is not known: {error}");
                return earlier;
            }
        };
        for run in &recent.skipped {
            tracing::warn!("what the run {} did is not known: {}", run.name, run.why);
        }
        for (run, age, loaded) in recent.found.into_iter().flatten() {
            let Some((world, vm)) = whereabouts(&loaded) else { continue };
            if !same_place(&world, place) {
                continue;
            }
            if let Ok(plan) = Plan::parse(&loaded.plan_json) {
                earlier.repairs.extend(repair(&run, &plan, loaded.records.iter().chain(&loaded.salvaged)));
            }
            if age <= LOOK_BACK {
                earlier.add(loaded.records.iter().chain(&loaded.salvaged));
                let at = requested(&loaded.records);
                let request = at.map(|at| Requested { vm: vm.clone(), run: run.clone(), at });
                earlier.requested.extend(request);
                let until = clean_up(&loaded.records);
                earlier.clean_ups.extend(until.map(|until| CleanUp { vm, run, until }));
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
        // Also one whose removal never came to an end on disk: the process was killed, or stopped before the proof.
        for (change, lock) in Locks::of(records.clone()).off() {
            let about = |record: &&Record| match &record.event {
                Event::Intent { change: one, purpose: Purpose::Do, .. }
                | Event::Ended { change: one, purpose: Purpose::Do, .. } => one == change,
                _ => false,
            };
            let at = records.clone().filter(about).map(|record| record.at).max();
            self.unlockings.extend(at.map(|at| Unlocking { scope: lock.scope(), at }));
        }
        for record in records {
            if let Event::Learned { key: Fact::Job, value, .. } = &record.event {
                self.jobs.extend(ResourceId::parse(value).ok());
            }
        }
    }

    /// The backup of this VM that another run requested a moment ago, and of which no list of jobs shows anything yet; with the
    /// time for which it may still show up. Until then nobody knows that a backup runs, and one may.
    #[must_use]
    pub fn unseen_backup(&self, facts: &VmFacts, now: Timestamp) -> Option<(&Requested, Duration)> {
        let jobs: Vec<&Job> =
            facts.items.known().into_iter().flatten().filter_map(|item| item.jobs.known()).flatten().collect();
        let open = self.requested.iter().filter(|one| one.vm == facts.id && one.at <= later(now, SKEW));
        open.filter(|one| !jobs.iter().any(|job| job.start.is_some_and(|start| one.may_have_started(start))))
            .filter_map(|one| Some((one, JOB_SHOWS.checked_sub(elapsed(one.at, now))?)))
            .filter(|(_, rest)| !rest.is_zero())
            .max_by_key(|(_, rest)| *rest)
    }

    /// Whether this job is of a backup that a run of this machine started, or requested without learning its job.
    #[must_use]
    pub fn started(&self, vm: &ResourceId, job: &Job) -> bool {
        let may_be = |start| self.requested.iter().any(|one| one.vm == *vm && one.may_have_started(start));
        self.jobs.contains(&job.id) || job.user_triggered != Some(false) && job.start.is_some_and(may_be)
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

/// The world and the VM of a run: as its journal says, which its plan must not contradict, and in older journals its plan.
fn whereabouts(loaded: &Loaded) -> Option<(World, ResourceId)> {
    match loaded.origin() {
        Some(origin) => Some((origin.into(), ResourceId::parse(&origin.vm).ok()?)),
        None => Plan::parse(&loaded.plan_json).ok().map(|plan| (plan.world, plan.vm)),
    }
}

/// When the run of these records requested a backup whose job it never learned.
fn requested(records: &[Record]) -> Option<Timestamp> {
    let mut open: BTreeMap<&str, Timestamp> = BTreeMap::new();
    for record in records {
        match &record.event {
            Event::Intent { change, purpose: Purpose::Do, verb, target, .. }
                if verb == "POST" && ResourceId::parse(target).is_ok_and(|id| id.is_type(ITEM)) =>
            {
                open.insert(change, record.at);
            }
            Event::Answered { change, purpose: Purpose::Do, how, .. } if how.is_rejection() => {
                open.remove(change.as_str());
            }
            Event::Ended { change, purpose: Purpose::Do, ending } if ending.effect == Some(Effect::None) => {
                open.remove(change.as_str());
            }
            Event::Learned { change, key: Fact::Job, .. } => {
                open.remove(change.as_str());
            }
            _ => {}
        }
    }
    open.into_values().max()
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
