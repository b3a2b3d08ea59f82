//! The recovery point objective: how old the newest good recovery point is, against what the policy schedules.
//!
//! Duty: pure; one number for each item. Invariants: without a policy whose schedule is understood nothing is late; "never"
//! is said only where nothing is unread. Must never: call a backup late that Azure may still be about to begin.

use std::time::Duration;

use jiff::Timestamp;

use super::facts::ItemFacts;
use super::schedule::most_backups_in;
use crate::arm::model::Job;
use crate::clock::elapsed;

const DAY: u64 = 86_400;
/// How much later than scheduled a backup may be good: it begins within two hours, and may take a day to be a recovery point.
const GRACE: Duration = Duration::from_secs(DAY);

/// How an item stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The newest good recovery point is this old, and no older than the policy wants.
    OnTime(Duration),
    /// It is this old, and the policy schedules one at least this often.
    Late {
        /// Age of the newest.
        age: Duration,
        /// The longest time between two scheduled backups.
        every: Duration,
    },
    /// There was never one, and one was due.
    Never,
    /// It cannot be said.
    Unknown,
}

/// The standing of an item at `now`.
#[must_use]
pub fn standing(facts: &ItemFacts, now: Timestamp) -> Standing {
    let item = &facts.item;
    let Some(every) = facts.policy.known().and_then(|policy| {
        let week = u64::try_from(most_backups_in(policy, 7).ok()?).ok().filter(|count| *count > 0)?;
        // Of some days a week the gap is longer than their share of it.
        Some(Duration::from_secs(if week >= 7 { 7 * DAY / week } else { (8 - week) * DAY }))
    }) else {
        return Standing::Unknown;
    };
    if item.soft_deleted || item.stopped() {
        return Standing::Unknown;
    }
    let jobs = facts.jobs.known().map(Vec::as_slice).unwrap_or_default();
    let good = jobs.iter().filter(|job| job.operation.eq_ignore_ascii_case("Backup") && job.succeeded());
    let said = item.last_backup_time.filter(|_| item.last_backup_status.to_lowercase().starts_with("completed"));
    let points = facts.recovery_points.known().into_iter().flatten().filter_map(|point| point.time);
    let newest = points.chain(good.filter_map(|job| job.end)).chain(said).max();
    match newest.map(|newest| elapsed(newest, now)) {
        Some(age) if age > every + GRACE => Standing::Late { age, every },
        Some(age) => Standing::OnTime(age),
        None => never(facts, jobs, every, now),
    }
}

/// Without any: whether one was due. A machine that was protected a moment ago is not late.
fn never(facts: &ItemFacts, jobs: &[Job], every: Duration, now: Timestamp) -> Standing {
    let read = facts.recovery_points.known().is_some() && facts.jobs.known().is_some();
    let begun = jobs.iter().any(|job| {
        let recent = job.start.is_none_or(|start| elapsed(start, now) <= every + GRACE);
        job.running() || recent
    });
    if read && !begun { Standing::Never } else { Standing::Unknown }
}

/// `every day`, `every 4 hours`.
#[must_use]
pub fn often(every: Duration) -> String {
    match every.as_secs() {
        secs if secs < DAY => format!("every {} hours", (secs / 3600).max(1)),
        DAY => "every day".to_owned(),
        secs => format!("every {} days", secs / DAY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actions::rules::testing::{facts, hours_ago, item_of, job, known, now, recovery};
    use crate::estate::facts::VmFacts;

    fn of(change: impl FnOnce(&mut ItemFacts)) -> Standing {
        let mut facts: VmFacts = facts();
        let item = item_of(&mut facts);
        (item.jobs, item.recovery_points) = (known(Vec::new()), known(Vec::new()));
        change(item);
        standing(item, now())
    }

    #[test]
    fn the_newest_point_is_held_against_the_schedule() {
        let aged = |hours| of(|item| item.recovery_points = known(vec![recovery(hours_ago(hours), true)]));
        assert!(matches!(aged(34), Standing::OnTime(_)));
        assert!(matches!(aged(9 * 24), Standing::Late { .. }));
        let weekly = |days: u64| {
            of(|item| {
                item.recovery_points = known(vec![recovery(hours_ago(days * 24), true)]);
                if let crate::estate::facts::Part::Known { value, .. } = &mut item.policy {
                    value.schedule.frequency = "Weekly".into();
                    value.schedule.days = vec!["Sunday".into()];
                }
            })
        };
        assert!(matches!(weekly(4), Standing::OnTime(_)));
        assert!(matches!(weekly(9), Standing::Late { .. }));
    }

    #[test]
    fn never_is_said_only_when_all_was_read_and_one_was_due() {
        assert_eq!(of(|_| {}), Standing::Never);
        assert_eq!(of(|item| item.jobs = crate::actions::rules::testing::unread()), Standing::Unknown);
        assert_eq!(of(|item| item.jobs = known(vec![job("ConfigureBackup", "Completed", 3, None)])), Standing::Unknown);
    }
}
