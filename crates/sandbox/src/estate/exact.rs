//! What a captured estate says exactly: points, recovery points and jobs one by one, with their names and times.
//!
//! An estate written by hand has series and ages. `azmend capture` knows each point by its name, and a rule may hang on the
//! second in which it was made; so what it writes stands under keys of its own: `restore_points`, `recovery_points`,
//! `history`, `health`, `last_backup`, `schedule`. Times are moments, and they move with the estate's `now` when it is loaded
//! as of another time.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::estate::build::Builder;
use crate::estate::{CollectionSpec, EstateSpec, ItemSpec, LockSpec, PolicySpec};
use crate::job_life;
use crate::job_life::error_of;
use crate::world::events::Effect;
use crate::world::{
    Detail, ExactSchedule, Job, JobError, JobStatus, LockLevel, Point, PointState, RecoveryPoint, Reported, Task,
    TaskStatus, digits_from, guid_from,
};
use azmend_arm::id::ResourceId;
use azmend_base::duration::Span;
use azmend_base::yaml::Spanned;

/// A lock on anything, at the top of an estate.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScopedLockSpec {
    /// The resource id of what it locks.
    pub on: Spanned<String>,
    pub name: Spanned<String>,
    pub level: LockLevel,
    #[serde(default)]
    pub notes: Option<String>,
    #[serde(default)]
    pub owners: Vec<String>,
}

/// A restore point.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PointSpec {
    pub name: Spanned<String>,
    pub created: Timestamp,
    #[serde(default)]
    pub state: Option<PointState>,
    #[serde(default)]
    pub vm_id: Option<String>,
    #[serde(default)]
    pub in_use: bool,
    #[serde(default)]
    pub copied_from: Option<String>,
    #[serde(default)]
    pub copying: Option<Spanned<u8>>,
}

/// A recovery point of an item.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RecoveryPointSpec {
    #[serde(default)]
    pub name: Option<Spanned<String>>,
    pub time: Timestamp,
    /// Tiers with their status: `{ InstantRP: Valid, HardenedRP: Valid }`.
    #[serde(default)]
    pub tiers: BTreeMap<String, String>,
    #[serde(default)]
    pub consistency: Option<String>,
    #[serde(default)]
    pub file_recovery: bool,
}

/// What an item says of its health, until its next backup ends.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HealthSpec {
    #[serde(default)]
    pub status: String,
    #[serde(default)]
    pub details: Vec<Detail>,
}

/// What an item says of its last backup.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LastBackupSpec {
    #[serde(default)]
    pub status: String,
    #[serde(default)]
    pub time: Option<Timestamp>,
}

/// An error of a job that was.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ErrorSpec {
    #[serde(default)]
    pub code: i64,
    #[serde(default)]
    pub title: String,
    #[serde(default)]
    pub text: String,
}

/// A task of a job that was.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TaskSpec {
    pub name: String,
    pub status: TaskStatus,
}

/// A job that was.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HistorySpec {
    #[serde(default)]
    pub id: Option<Spanned<String>>,
    pub operation: String,
    pub status: JobStatus,
    /// The word for its state, when it is none of Azure's.
    #[serde(default)]
    pub shown: Option<String>,
    pub started: Timestamp,
    #[serde(default)]
    pub ended: Option<Timestamp>,
    #[serde(default)]
    pub user: Option<bool>,
    #[serde(default)]
    pub tasks: Vec<TaskSpec>,
    #[serde(default)]
    pub errors: Vec<ErrorSpec>,
    /// What `dynamicErrorMessage` says.
    #[serde(default)]
    pub dynamic_error: String,
    /// Of a job in progress: when what it does now ends.
    #[serde(default)]
    pub ends_in: Option<Span>,
}

/// A schedule that `at` and `every_hours` cannot say.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScheduleSpec {
    /// `Daily`, `Weekly`, `Hourly`.
    pub frequency: String,
    #[serde(default)]
    pub times: Vec<String>,
    #[serde(default)]
    pub days: Vec<String>,
    #[serde(default)]
    pub interval_hours: u32,
    #[serde(default)]
    pub window_hours: u32,
}

impl ScheduleSpec {
    fn exact(&self, spec: &PolicySpec) -> ExactSchedule {
        ExactSchedule {
            frequency: self.frequency.clone(),
            times: self.times.clone(),
            days: self.days.clone(),
            interval_hours: self.interval_hours,
            window_hours: self.window_hours,
            time_zone: spec.time_zone.clone().unwrap_or_else(|| "UTC".to_owned()),
        }
    }
}

/// The schedule of a policy, when it is given in full.
pub(crate) fn schedule(spec: &PolicySpec) -> Option<ExactSchedule> {
    spec.schedule.as_ref().map(|schedule| schedule.exact(spec))
}

impl Builder {
    /// A moment of the estate, as far from `now` as it was written.
    fn moved(&self, at: Timestamp) -> Timestamp {
        at.saturating_add(self.shift).unwrap_or(at)
    }

    /// What stands exactly in an item that has just been made.
    pub(crate) fn exact_item(&mut self, vault: &ResourceId, vm: &ResourceId, spec: &ItemSpec) {
        let Some(at) = self.world.items.iter().rposition(|item| item.vm == *vm && vault.covers(&item.id)) else {
            return;
        };
        let made = self.world.items[at].id.clone();
        let id = self.own_names(vault, &made, spec);
        if id != made {
            for job in self.world.jobs.iter_mut().filter(|job| job.item == made) {
                job.item = id.clone();
            }
        }
        let points: Vec<RecoveryPoint> = spec
            .recovery_points
            .iter()
            .map(|point| {
                let time = self.moved(point.time);
                let made = || digits_from(&format!("{}@{time}", id.key())).to_string();
                RecoveryPoint {
                    name: point.name.as_ref().map_or_else(made, |name| name.value.clone()),
                    time,
                    tiers: point.tiers.iter().map(|(kind, status)| (kind.clone(), status.clone())).collect(),
                    consistency: point.consistency.clone().unwrap_or_else(|| "AppConsistent".to_owned()),
                    ilr_session: point.file_recovery,
                }
            })
            .collect();
        for name in spec.recovery_points.iter().filter_map(|point| point.name.as_ref()) {
            let _: Option<ResourceId> = self.checked(name, id.child("recoveryPoints", &name.value));
        }
        for job in &spec.history {
            self.history(&id, job);
        }
        let last = spec.last_backup.as_ref().map(|last| (last.status.clone(), last.time.map(|time| self.moved(time))));
        let item = &mut self.world.items[at];
        item.id = id;
        item.without_source = !spec.source;
        item.recovery_points.extend(points);
        item.recovery_points.sort_by_key(|point| point.time);
        item.reported = spec
            .health
            .as_ref()
            .map(|health| Reported { status: health.status.clone(), details: health.details.clone() });
        if let Some((status, time)) = last {
            item.last_backup_status = status;
            item.last_backup_time = time;
        }
    }

    /// The item's id with the names that the vault has for it; they do not follow a VM that moved.
    fn own_names(&mut self, vault: &ResourceId, made: &ResourceId, spec: &ItemSpec) -> ResourceId {
        let names = [(&spec.container, "protectionContainers"), (&spec.name, "protectedItems")];
        let name = |(given, kind): &(&Option<Spanned<String>>, &str)| {
            given.as_ref().map_or_else(
                || made.segment(kind).unwrap_or_default().to_owned(),
                |given: &Spanned<String>| given.value.clone(),
            )
        };
        let [container, item] = names.each_ref().map(name);
        let id = vault
            .child("backupFabrics", "Azure")
            .and_then(|id| id.child("protectionContainers", &container))
            .and_then(|id| id.child("protectedItems", &item));
        self.checked(&spec.of, id).unwrap_or_else(|| made.clone())
    }

    fn history(&mut self, item: &ResourceId, spec: &HistorySpec) {
        let started = self.moved(spec.started);
        let ended = spec.ended.map(|ended| self.moved(ended));
        let name = match &spec.id {
            Some(id) => {
                if self.checked(id, item.child("backupJobs", &id.value)).is_none() {
                    return;
                }
                id.value.clone()
            }
            None => guid_from(&format!("history/{}/{started}/{}", item.key(), spec.operation)),
        };
        let backup = spec.operation.eq_ignore_ascii_case("Backup");
        let active = spec.status.is_active();
        let (first, second) = match spec.status {
            JobStatus::Completed => (TaskStatus::Completed, TaskStatus::Completed),
            JobStatus::CompletedWithWarnings => (TaskStatus::Completed, TaskStatus::Failed),
            JobStatus::InProgress | JobStatus::Cancelling => (TaskStatus::Completed, TaskStatus::InProgress),
            JobStatus::Cancelled => (TaskStatus::Cancelled, TaskStatus::Cancelled),
            JobStatus::Failed => (TaskStatus::Failed, TaskStatus::NotStarted),
        };
        let task = |name: &str, status: TaskStatus| Task {
            name: name.to_owned(),
            status,
            started: (status != TaskStatus::NotStarted).then_some(started),
            ended: if matches!(status, TaskStatus::NotStarted | TaskStatus::InProgress) { None } else { ended },
        };
        let tasks: Vec<Task> = match (spec.tasks.is_empty(), backup) {
            (false, _) => spec.tasks.iter().map(|given| task(&given.name, given.status)).collect(),
            (true, true) => vec![task("Take Snapshot", first), task("Transfer data to vault", second)],
            (true, false) => Vec::new(),
        };
        let error = |given: &ErrorSpec| JobError {
            code: given.code,
            title: given.title.clone(),
            text: given.text.clone(),
            recommendations: error_of(&given.title).recommendations,
        };
        let mut errors = spec.errors.iter().map(error);
        let job = Job {
            name: name.clone(),
            item: item.clone(),
            operation: spec.operation.clone(),
            status: spec.status,
            started,
            ended,
            user_triggered: spec.user,
            tasks,
            error: errors.next(),
            more_errors: errors.collect(),
            dynamic_error: spec.dynamic_error.clone(),
            expiry: (spec.user == Some(true)).then(|| job_life::expires(None, started)),
            collection: None,
            recovery_point: None,
            skip_transfer: false,
            shown: spec.shown.clone(),
        };
        if active && backup {
            let snapshotting = job.is_taking_snapshot();
            let effect = if snapshotting { Effect::SnapshotEnds(name) } else { Effect::TransferEnds(name) };
            let left = spec.ends_in.map_or(if snapshotting { 60 } else { 3600 }, Span::as_secs);
            self.world.schedule_in(left, effect);
        }
        self.world.jobs.push(job);
    }

    /// The points of a collection that are given one by one.
    pub(crate) fn exact_points(&mut self, collection: &ResourceId, vm_id: &str, spec: &CollectionSpec) -> Vec<Point> {
        let mut out = Vec::new();
        for point in &spec.restore_points {
            if self.checked(&point.name, collection.child("restorePoints", &point.name.value)).is_none() {
                continue;
            }
            out.push(Point {
                name: point.name.value.clone(),
                created: self.moved(point.created),
                state: point.state.unwrap_or(PointState::Succeeded),
                vm_id: point.vm_id.clone().unwrap_or_else(|| vm_id.to_owned()),
                in_use: point.in_use,
                copied_from: point.copied_from.clone(),
                copying: self.copying(point.copying.as_ref()),
            });
        }
        out
    }

    /// Locks at the top of the estate: on what has no `locks` of its own.
    pub(crate) fn scoped_locks(&mut self, spec: &EstateSpec) {
        for lock in &spec.locks {
            let Some(scope) = self.checked(&lock.on, ResourceId::parse(&lock.on.value)) else { continue };
            let inline = LockSpec {
                name: lock.name.clone(),
                level: lock.level,
                notes: lock.notes.clone(),
                owners: lock.owners.clone(),
            };
            self.locks(&scope, &[inline]);
        }
    }
}

/// How far the estate's moments move when it is loaded as of another time.
pub(crate) fn shift(written: Timestamp, now: Timestamp) -> SignedDuration {
    now.duration_since(written)
}
