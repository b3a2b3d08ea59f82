//! The recovery point objective: how old the newest good recovery point is, against what the policy schedules.
//!
//! Duty: pure; one number for each item, and how many items keep to their schedule. Invariants: without a policy whose
//! schedule is understood nothing is late; "never" is said only where nothing is unread; what counts is the newest
//! scheduled start that must have become a recovery point by now, whatever zone its time of day is in. Must never: call a
//! backup late that Azure may still be about to begin.

use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schedule::{last_due, most_backups_in};
use super::vm_facts::{ItemFacts, Part};
use crate::arm::model::{Job, Policy, ProtectedItem};
use crate::clock::elapsed;
use crate::text::plural;

const HOUR: u64 = 3_600;
const DAY: u64 = 86_400;
/// How long after its scheduled time a backup of a day may become a recovery point: it begins within two hours, and may
/// take a day.
const GRACE: Duration = Duration::from_secs(DAY);
/// The same of an hourly schedule, whose points are snapshots: it begins within two hours, and azmend gives the snapshot as
/// long again.
const HOURLY_GRACE: Duration = Duration::from_secs(4 * HOUR);

/// What a policy asks for at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// The time between two scheduled backups; of some days a week the longest.
    pub every: Duration,
    /// The newest recovery point should not be older.
    pub since: Timestamp,
}

impl Due {
    /// `None` when the schedule is not understood.
    #[must_use]
    pub fn of(policy: &Policy, now: Timestamp) -> Option<Self> {
        let hourly = policy.schedule.frequency.eq_ignore_ascii_case("Hourly");
        let since = last_due(policy, now, if hourly { HOURLY_GRACE } else { GRACE }).ok()??;
        let week = u64::try_from(most_backups_in(policy, 7).ok()?).ok().filter(|count| *count > 0)?;
        let every = match u64::try_from(policy.schedule.interval_hours) {
            Ok(hours) if hourly && hours > 0 => hours * HOUR,
            // Of some days a week the gap is longer than their share of it.
            _ if week >= 7 => 7 * DAY / week,
            _ => (8 - week) * DAY,
        };
        Some(Self { every: Duration::from_secs(every), since })
    }
}

/// How an item stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The newest good recovery point is no older than the policy wants.
    Within {
        /// Age of the newest.
        age: Duration,
        /// The time between two scheduled backups.
        every: Duration,
    },
    /// It is older.
    Late {
        /// Age of the newest.
        age: Duration,
        /// The time between two scheduled backups.
        every: Duration,
    },
    /// There was never one, and one was due.
    Never {
        /// The time between two scheduled backups.
        every: Duration,
    },
    /// It is unknown.
    Unknown,
}

/// How the newest recovery point compares with the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ObjectiveState {
    /// The newest good recovery point is no older than the policy wants.
    Within,
    /// It is older.
    Late,
    /// There was never one, and one was due.
    Never,
    /// It is unknown.
    Unknown,
}

/// The newest good recovery point against the policy's schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Objective {
    /// The comparison in a word.
    pub state: ObjectiveState,
    /// Whole hours since the newest good recovery point; null when there is none or it is not known.
    pub age_hours: Option<u64>,
    /// Hours between two scheduled backups; null when the schedule is not known.
    pub every_hours: Option<u64>,
    /// Consistency of the newest recovery point, as Azure says it; null when recovery points were not read one by one.
    pub consistency: Option<String>,
}

/// How many VMs of a scope keep to the schedule of their policy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tally {
    /// VMs whose newest good recovery point is no older than their policy wants.
    pub within: usize,
    /// VMs whose newest is older.
    pub late: usize,
    /// VMs without any, where one was due.
    pub never: usize,
    /// Protected VMs for which it is unknown.
    pub unknown: usize,
}

impl Tally {
    /// Counts one VM.
    pub fn add(&mut self, state: ObjectiveState) {
        let place = match state {
            ObjectiveState::Within => &mut self.within,
            ObjectiveState::Late => &mut self.late,
            ObjectiveState::Never => &mut self.never,
            ObjectiveState::Unknown => &mut self.unknown,
        };
        *place += 1;
    }

    /// `within objective 41 of 48`; `None` when nothing was counted.
    #[must_use]
    pub fn words(&self) -> Option<String> {
        let all = self.within + self.late + self.never + self.unknown;
        let unknown = if self.unknown == 0 { String::new() } else { format!(" ({} not known)", self.unknown) };
        (all > 0).then(|| format!("within objective {} of {all}{unknown}", self.within))
    }
}

impl Objective {
    /// Of an item.
    #[must_use]
    pub fn of(facts: &ItemFacts, now: Timestamp) -> Self {
        Self::by(facts.policy.known().and_then(|policy| Due::of(policy, now)), facts, now)
    }

    /// By what the item itself says alone.
    #[must_use]
    pub fn of_item(item: &ProtectedItem, policy: Option<&Policy>, now: Timestamp) -> Self {
        let facts = ItemFacts {
            item: item.clone(),
            vault: Part::not_asked(),
            resource_guard: Part::not_asked(),
            policy: policy.map_or_else(Part::not_asked, |policy| Part::Known { at: now, value: policy.clone() }),
            recovery_points: Part::not_asked(),
            jobs: Part::not_asked(),
            began_together: 0,
        };
        Self::of(&facts, now)
    }

    /// The same where the schedule was looked at already: many items have one policy.
    #[must_use]
    pub fn by(due: Option<Due>, facts: &ItemFacts, now: Timestamp) -> Self {
        let points = facts.recovery_points.known().into_iter().flatten();
        let consistency = points.max_by_key(|point| point.time).map(|point| point.consistency.clone());
        let standing = standing_by(due, facts, now);
        Self {
            consistency: consistency.filter(|text| !text.is_empty()),
            age_hours: newest(facts).map(|newest| elapsed(newest, now).as_secs() / HOUR),
            every_hours: due.map(|due| due.every.as_secs() / HOUR),
            state: standing.into(),
        }
    }
}

impl From<Standing> for ObjectiveState {
    fn from(standing: Standing) -> Self {
        match standing {
            Standing::Within { .. } => Self::Within,
            Standing::Late { .. } => Self::Late,
            Standing::Never { .. } => Self::Never,
            Standing::Unknown => Self::Unknown,
        }
    }
}

/// The standing of an item at `now`.
#[must_use]
pub fn standing(facts: &ItemFacts, now: Timestamp) -> Standing {
    standing_by(facts.policy.known().and_then(|policy| Due::of(policy, now)), facts, now)
}

/// The same where the schedule was looked at already.
#[must_use]
pub fn standing_by(due: Option<Due>, facts: &ItemFacts, now: Timestamp) -> Standing {
    let Some(Due { every, since }) = due.filter(|_| !facts.item.soft_deleted && !facts.item.stopped()) else {
        return Standing::Unknown;
    };
    match newest(facts) {
        Some(newest) if newest < since => Standing::Late { age: elapsed(newest, now), every },
        Some(newest) => Standing::Within { age: elapsed(newest, now), every },
        None => never(facts, every, since),
    }
}

/// When the newest good recovery point was taken: what the vault says of its points. Completed jobs are no source, for a
/// reading in bulk does not have those of VMs that are well, and a job without its point is none.
fn newest(facts: &ItemFacts) -> Option<Timestamp> {
    let item = &facts.item;
    let points = facts.recovery_points.known().into_iter().flatten().filter_map(|point| point.time);
    // Whether that is the beginning or the end of the backup is not documented: only where nothing else says it.
    let said = || item.last_backup_time.filter(|_| item.last_backup_status.to_lowercase().starts_with("completed"));
    points.chain(item.last_recovery_point).max().or_else(said)
}

/// Without any: whether one was due. A machine that was protected a moment ago is not late.
fn never(facts: &ItemFacts, every: Duration, since: Timestamp) -> Standing {
    let (Some(_), Some(jobs)) = (facts.recovery_points.known(), facts.jobs.known()) else { return Standing::Unknown };
    let begun = |job: &Job| job.running() || !completed_backup(job) && job.start.is_none_or(|start| start >= since);
    if jobs.iter().any(begun) { Standing::Unknown } else { Standing::Never { every } }
}

fn completed_backup(job: &Job) -> bool {
    job.operation.eq_ignore_ascii_case("Backup") && job.succeeded()
}

/// Whether no backup failed or runs since the newest good recovery point: Azure began none. `None` when jobs were not read, or
/// when there is no point to count from.
#[must_use]
pub fn no_job_since(facts: &ItemFacts) -> Option<bool> {
    let (jobs, newest) = (facts.jobs.known()?, newest(facts)?);
    let backup = |job: &&Job| job.operation.eq_ignore_ascii_case("Backup") && !job.succeeded();
    Some(!jobs.iter().filter(backup).any(|job| job.start.is_none_or(|start| start > newest)))
}

/// `every day`, `every 4 hours`.
#[must_use]
pub fn often(every: Duration) -> String {
    match every.as_secs() {
        secs if secs < DAY => match (secs / HOUR).max(1) {
            1 => "every hour".to_owned(),
            hours => format!("every {hours} hours"),
        },
        DAY => "every day".to_owned(),
        secs => format!("every {} days", secs / DAY),
    }
}

/// `9 days`, `30 hours`, `12 minutes`: days from two on, for a person counts the hours of yesterday.
#[must_use]
pub fn aged(age: Duration) -> String {
    let secs = age.as_secs();
    let (count, word) = match secs {
        0..60 => return "less than 1 minute".to_owned(),
        60..HOUR => (secs / 60, "minute"),
        _ if secs < 2 * DAY => (secs / HOUR, "hour"),
        _ => (secs / DAY, "day"),
    };
    plural(usize::try_from(count).unwrap_or(usize::MAX), word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actions::rules::testing::{facts, hours_ago, item_of, job, known, now, recovery};
    use crate::facts::vm_facts::VmFacts;

    #[test]
    fn an_age_of_minutes_is_not_no_hours() {
        let of = |minutes: u64| super::aged(Duration::from_secs(minutes * 60));
        assert_eq!(
            [of(0), of(12), of(60), of(34 * 60), of(9 * 24 * 60)],
            ["less than 1 minute", "12 minutes", "1 hour", "34 hours", "9 days"]
        );
    }

    fn of(change: impl FnOnce(&mut ItemFacts)) -> Standing {
        let mut facts: VmFacts = facts();
        let item = item_of(&mut facts);
        (item.jobs, item.recovery_points) = (known(Vec::new()), known(Vec::new()));
        change(item);
        standing(item, now())
    }

    fn schedule(item: &mut ItemFacts, change: impl FnOnce(&mut crate::arm::model::Schedule)) {
        if let Part::Known { value, .. } = &mut item.policy {
            change(&mut value.schedule);
        }
    }

    #[test]
    fn the_newest_point_is_held_against_the_schedule() {
        let aged = |hours| of(|item| item.recovery_points = known(vec![recovery(hours_ago(hours), true)]));
        assert!(matches!(aged(34), Standing::Within { .. }));
        assert!(matches!(aged(9 * 24), Standing::Late { .. }));
        let weekly = |days: u64| {
            of(|item| {
                item.recovery_points = known(vec![recovery(hours_ago(days * 24), true)]);
                schedule(item, |schedule| {
                    schedule.frequency = "Weekly".into();
                    schedule.days = vec!["Sunday".into()];
                });
            })
        };
        assert!(matches!(weekly(4), Standing::Within { .. }));
        assert!(matches!(weekly(9), Standing::Late { .. }));
    }

    #[test]
    fn an_hourly_schedule_is_late_by_hours_and_rests_at_night() {
        // 09:00 UTC.
        let hourly = |from: &str, window: i64, age: u64| {
            of(|item| {
                item.recovery_points = known(vec![recovery(hours_ago(age), true)]);
                schedule(item, |schedule| {
                    *schedule = crate::arm::model::Schedule {
                        frequency: "Hourly".into(),
                        times: vec![from.into()],
                        days: Vec::new(),
                        interval_hours: 4,
                        window_hours: window,
                    };
                });
            })
        };
        let late =
            |standing| matches!(standing, Standing::Late { every, .. } if every == Duration::from_secs(4 * HOUR));
        assert!(late(hourly("00:00", 24, 12)) && late(hourly("00:00", 24, 30)));
        assert!(!late(hourly("00:00", 24, 5)), "the backup of 08:00 may still begin, that of 04:00 is there");
        assert!(!late(hourly("08:00", 12, 13)), "nothing was due in the night");
        assert!(late(hourly("08:00", 12, 17)), "yesterday's last, 20:00, is missing");
    }

    #[test]
    fn what_the_item_itself_says_counts_and_a_failed_backup_does_not() {
        let said = |point: u64| {
            of(|item| {
                item.item.last_backup_status = "Failed".into();
                item.item.last_backup_time = Some(hours_ago(10));
                item.item.last_recovery_point = Some(hours_ago(point));
            })
        };
        assert!(matches!(said(33), Standing::Within { .. }));
        assert!(matches!(said(9 * 24), Standing::Late { .. }));
    }

    #[test]
    fn never_is_said_only_when_all_was_read_and_one_was_due() {
        assert!(matches!(of(|_| {}), Standing::Never { .. }));
        assert_eq!(of(|item| item.jobs = crate::actions::rules::testing::unread()), Standing::Unknown);
        let new = |age| of(|item| item.jobs = known(vec![job("ConfigureBackup", "Completed", age, None)]));
        assert_eq!(new(3), Standing::Unknown);
        assert!(matches!(new(90), Standing::Never { .. }));
    }

    #[test]
    fn a_scope_is_one_number() {
        let mut tally = Tally::default();
        assert_eq!(tally.words(), None);
        for standing in [ObjectiveState::Within, ObjectiveState::Within, ObjectiveState::Late, ObjectiveState::Never] {
            tally.add(standing);
        }
        assert_eq!(tally.words().as_deref(), Some("within objective 2 of 4"));
        tally.add(ObjectiveState::Unknown);
        assert_eq!(tally.words().as_deref(), Some("within objective 2 of 5 (1 not known)"));
    }
}
