//! When a policy's next scheduled backup starts.
//!
//! Duty: a window of time that surely holds the next scheduled start, for the rule `s8.job-due`.
//! Invariant: the window is never too small. A time of day in a zone that azmend does not know exactly becomes every
//! instant it can be: no time zone database is linked, so only `UTC` is exact; a Windows zone of the table in
//! [`super::zones`] spans its winter and summer offsets, any other zone every offset from -12:00 to +14:00.
//! Must never: say that nothing is scheduled. A schedule that cannot be read is [`ScheduleError`], and the rule then
//! has to take a backup for due.
//!
//! The windows are of the *scheduled* time. The service starts the job within two hours of it ("Azure Backup FAQ": scheduled
//! backups start within two hours of the scheduled time); a started job is seen in the list of jobs, one that is late is
//! not seen anywhere, so [`recent_backups`] says which starts may still be to come.
//!
//! Sources: OpenAPI Recovery Services backup 2024-04-01, `SimpleSchedulePolicy`, `SimpleSchedulePolicyV2`
//! (`hourlySchedule.{interval,scheduleWindowStartTime,scheduleWindowDuration}`); the run times carry a `Z` and are
//! times of day in `timeZone`. That the end of the hourly window still counts is not verified: it is taken as a start.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::tz::Offset;
use jiff::{Span, ToSpan};

use super::zones::{EVERY_OFFSET, OffsetRange, windows_zone};
use crate::arm::model::{Policy, Schedule};
use crate::clock::later;

/// The time that a backup is scheduled for lies in this window (both ends included).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NextBackup {
    /// Not before.
    pub earliest: Timestamp,
    /// Not after.
    pub latest: Timestamp,
}

/// Why the schedule of a policy cannot be told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the schedule of policy {policy} cannot be determined: {why}")]
pub struct ScheduleError {
    /// The policy's name.
    pub policy: String,
    /// What is missing or not understood.
    pub why: String,
}

/// The next scheduled backup at or after `now`.
///
/// # Errors
/// [`ScheduleError`] when the schedule is not understood: then a backup has to be taken for due at any time.
pub fn next_backup(policy: &Policy, now: Timestamp) -> Result<NextBackup, ScheduleError> {
    let mut next: Option<NextBackup> = None;
    for (low, high) in windows(policy, now)? {
        if high < now {
            continue;
        }
        // A start whose window is open now may be past or not: it makes the beginning earlier, not the end.
        let (earliest, latest) = (low.max(now), if low >= now { high } else { Timestamp::MAX });
        next = Some(next.map_or(NextBackup { earliest, latest }, |so_far| NextBackup {
            earliest: so_far.earliest.min(earliest),
            latest: so_far.latest.min(latest),
        }));
    }
    next.ok_or_else(|| ScheduleError {
        policy: policy.id.name().to_owned(),
        why: "no start was found in the next nine days".into(),
    })
}

/// The scheduled backups that may be past at `now` and whose job Azure may still be about to start: it does so within
/// `delay` of the scheduled time. Oldest first.
///
/// # Errors
/// [`ScheduleError`] when the schedule is not understood: then a backup has to be taken for due at any time.
pub fn recent_backups(policy: &Policy, now: Timestamp, delay: Duration) -> Result<Vec<NextBackup>, ScheduleError> {
    let open = |(low, high): &(Timestamp, Timestamp)| *low <= now && now <= later(*high, delay);
    let mut found: Vec<NextBackup> = windows(policy, now)?
        .into_iter()
        .filter(open)
        .map(|(earliest, latest)| NextBackup { earliest, latest })
        .collect();
    found.sort_by_key(|start| start.earliest);
    Ok(found)
}

/// The newest scheduled start that lies at least `delay` back, whatever the zone: the earliest instant that it can be.
/// `None` when there is none in the last ten days.
///
/// # Errors
/// [`ScheduleError`] when the schedule is not understood.
pub fn last_due(policy: &Policy, now: Timestamp, delay: Duration) -> Result<Option<Timestamp>, ScheduleError> {
    // A week between two starts, the delay, and a day for the zone.
    let starts = windows_of(policy, now, -10..=1)?;
    Ok(starts.into_iter().filter(|(_, high)| later(*high, delay) <= now).map(|(low, _)| low).max())
}

/// The earliest and the latest instant of every scheduled start from three days before `now` to nine days after it.
fn windows(policy: &Policy, now: Timestamp) -> Result<Vec<(Timestamp, Timestamp)>, ScheduleError> {
    // Three days back: a local date may lie 14 hours ahead, a window of hours runs into the next day, and a start of hours
    // ago may still be to come. Nine days on: a weekly schedule comes again within seven, whatever the zone.
    windows_of(policy, now, -3..=9)
}

/// The same of the days from today.
fn windows_of(
    policy: &Policy,
    now: Timestamp,
    days_around: std::ops::RangeInclusive<i64>,
) -> Result<Vec<(Timestamp, Timestamp)>, ScheduleError> {
    let error = |why: String| ScheduleError { policy: policy.id.name().to_owned(), why };
    let zone = offsets(&policy.time_zone);
    let weekly = policy.schedule.frequency.eq_ignore_ascii_case("Weekly");
    let days = if weekly { week_days(&policy.schedule).map_err(error)? } else { Vec::new() };
    let starts = starts_of_a_day(&policy.schedule).map_err(error)?;
    let mut found = Vec::new();
    let today = Offset::UTC.to_datetime(now).date();
    for days_on in days_around {
        let Ok(date) = today.checked_add(days_on.days()) else { continue };
        if weekly && !days.contains(&date.weekday()) {
            continue;
        }
        found.extend(starts.iter().filter_map(|minutes| instants(date, *minutes, zone)));
    }
    Ok(found)
}

/// How many scheduled backups the policy makes at most in `days` days, or why that cannot be told.
///
/// # Errors
/// [`ScheduleError`] when the schedule is not understood.
pub fn most_backups_in(policy: &Policy, days: i64) -> Result<i64, ScheduleError> {
    let error = |why: String| ScheduleError { policy: policy.id.name().to_owned(), why };
    let starts = i64::try_from(starts_of_a_day(&policy.schedule).map_err(error)?.len()).unwrap_or(i64::MAX);
    let run_days = if policy.schedule.frequency.eq_ignore_ascii_case("Weekly") {
        let per_week = i64::try_from(week_days(&policy.schedule).map_err(error)?.len()).unwrap_or(7);
        let weeks = days.saturating_add(6).div_euclid(7);
        weeks.saturating_mul(per_week).min(days.max(per_week))
    } else {
        days
    };
    Ok(run_days.saturating_mul(starts))
}

fn offsets(zone: &str) -> OffsetRange {
    windows_zone(zone).unwrap_or(EVERY_OFFSET)
}

/// The earliest and the latest instant that `minutes` after midnight of `date` can be.
fn instants(date: Date, minutes: i64, zone: OffsetRange) -> Option<(Timestamp, Timestamp)> {
    let local =
        DateTime::from_parts(date, Time::midnight()).checked_add(Span::new().try_minutes(minutes).ok()?).ok()?;
    let as_utc = Offset::UTC.to_timestamp(local).ok()?;
    let at = |offset: i64| as_utc.checked_sub(offset.minutes()).ok();
    Some((at(zone.max_minutes)?, at(zone.min_minutes)?))
}

/// Starts on a run day, in minutes after local midnight; an hourly window may run past 24 h.
fn starts_of_a_day(schedule: &Schedule) -> Result<Vec<i64>, String> {
    let times = schedule.times.iter().map(|time| minutes_of(time)).collect::<Result<Vec<_>, _>>()?;
    let Some(first) = times.first().copied() else { return Err("it names no time of day".into()) };
    let frequency = schedule.frequency.as_str();
    if frequency.eq_ignore_ascii_case("Daily") || frequency.eq_ignore_ascii_case("Weekly") {
        return Ok(times);
    }
    if !frequency.eq_ignore_ascii_case("Hourly") {
        return Err(format!("its frequency {frequency:?} is not known"));
    }
    let (every, window) = (schedule.interval_hours, schedule.window_hours);
    if !(1..=24).contains(&every) || !(0..=24).contains(&window) {
        return Err(format!("every {every} hours for {window} hours is not a schedule azmend understands"));
    }
    // After 24 hours the next day's first start follows anyway.
    let starts = (0..=window).step_by(usize::try_from(every).unwrap_or(1)).filter(|hour| *hour < 24);
    Ok(starts.map(|hour| first + hour * 60).collect())
}

fn minutes_of(time: &str) -> Result<i64, String> {
    let bad = || format!("{time:?} is not a time of day");
    let (hour, minute) = time.split_once(':').ok_or_else(bad)?;
    let (hour, minute) = (hour.parse::<i64>().map_err(|_| bad())?, minute.parse::<i64>().map_err(|_| bad())?);
    if (0..24).contains(&hour) && (0..60).contains(&minute) { Ok(hour * 60 + minute) } else { Err(bad()) }
}

fn week_days(schedule: &Schedule) -> Result<Vec<Weekday>, String> {
    if schedule.days.is_empty() {
        return Err("it is weekly and names no day".into());
    }
    schedule.days.iter().map(|day| week_day(day).ok_or_else(|| format!("{day:?} is not a week day"))).collect()
}

fn week_day(name: &str) -> Option<Weekday> {
    let days = [
        ("Monday", Weekday::Monday),
        ("Tuesday", Weekday::Tuesday),
        ("Wednesday", Weekday::Wednesday),
        ("Thursday", Weekday::Thursday),
        ("Friday", Weekday::Friday),
        ("Saturday", Weekday::Saturday),
        ("Sunday", Weekday::Sunday),
    ];
    days.iter().find(|(text, _)| text.eq_ignore_ascii_case(name)).map(|(_, day)| *day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::arm::id::ResourceId;

    fn policy(frequency: &str, times: &[&str], zone: &str) -> Policy {
        let id = "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/rg/providers/Microsoft.RecoveryServices/vaults/v/backupPolicies/p";
        Policy {
            id: ResourceId::parse(id).unwrap(),
            policy_type: "V1".into(),
            snapshot_days: None,
            group_prefix: String::new(),
            group_suffix: String::new(),
            schedule: Schedule {
                frequency: frequency.into(),
                times: times.iter().map(|time| (*time).to_owned()).collect(),
                ..Schedule::default()
            },
            time_zone: zone.into(),
        }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn window(policy: &Policy, now: &str) -> (String, String) {
        let next = next_backup(policy, at(now)).unwrap();
        (next.earliest.to_string(), next.latest.to_string())
    }

    fn both(text: &str) -> (String, String) {
        (text.to_owned(), text.to_owned())
    }

    #[test]
    fn utc_is_exact() {
        let daily = policy("Daily", &["02:00", "14:30"], "UTC");
        assert_eq!(window(&daily, "2026-11-20T09:00:00Z"), both("2026-11-20T14:30:00Z"));
        assert_eq!(window(&daily, "2026-11-20T14:30:00Z"), both("2026-11-20T14:30:00Z"), "due now is next");
        assert_eq!(window(&daily, "2026-11-20T14:30:01Z"), both("2026-11-21T02:00:00Z"));
    }

    #[test]
    fn weekly_finds_the_day() {
        let mut weekly = policy("Weekly", &["23:00"], "UTC");
        weekly.schedule.days = vec!["friday".into(), "Sunday".into()];
        // 2026-11-20 is a Friday.
        assert_eq!(window(&weekly, "2026-11-20T23:00:01Z"), both("2026-11-22T23:00:00Z"));
        assert_eq!(window(&weekly, "2026-11-22T23:00:01Z"), both("2026-11-27T23:00:00Z"));
    }

    #[test]
    fn hourly_runs_past_midnight() {
        let mut hourly = policy("Hourly", &["08:00"], "UTC");
        (hourly.schedule.interval_hours, hourly.schedule.window_hours) = (6, 20);
        assert_eq!(window(&hourly, "2026-11-20T20:30:00Z"), both("2026-11-21T02:00:00Z"));
        assert_eq!(window(&hourly, "2026-11-21T02:30:00Z"), both("2026-11-21T08:00:00Z"));
        assert_eq!(most_backups_in(&hourly, 10), Ok(40));
        hourly.schedule.window_hours = 24;
        assert_eq!(most_backups_in(&hourly, 1), Ok(4), "the end of a full day is the next day's first");
    }

    #[test]
    fn a_known_zone_spans_winter_and_summer() {
        let daily = policy("Daily", &["02:00"], "W. Europe Standard Time");
        let next = ("2026-11-21T00:00:00Z".to_owned(), "2026-11-21T01:00:00Z".to_owned());
        assert_eq!(window(&daily, "2026-11-20T09:00:00Z"), next);
        // Within the window: it may be past (then tomorrow's is next) or not.
        let open = ("2026-11-21T00:30:00Z".to_owned(), "2026-11-22T01:00:00Z".to_owned());
        assert_eq!(window(&daily, "2026-11-21T00:30:00Z"), open);
    }

    #[test]
    fn an_unknown_zone_may_be_due_at_any_time() {
        for zone in ["Atlantis Standard Time", "", "Europe/Berlin"] {
            let daily = policy("Daily", &["02:00"], zone);
            for hour in 0..24 {
                let now = at(&format!("2026-11-20T{hour:02}:10:00Z"));
                assert_eq!(next_backup(&daily, now).unwrap().earliest, now, "{zone} {hour}");
            }
        }
    }

    #[test]
    fn what_is_not_understood_is_said() {
        let mut weekly = policy("Weekly", &["02:00"], "UTC");
        let mut hourly = policy("Hourly", &["02:00"], "UTC");
        hourly.schedule.interval_hours = 0;
        for bad in [
            &policy("", &["02:00"], "UTC"),
            &policy("Daily", &[], "UTC"),
            &policy("Daily", &["25:00"], "UTC"),
            &policy("Daily", &["noon"], "UTC"),
            &weekly,
            &hourly,
        ] {
            assert!(next_backup(bad, at("2026-11-20T09:00:00Z")).is_err(), "{:?}", bad.schedule);
        }
        weekly.schedule.days = vec!["Freitag".into()];
        let error = next_backup(&weekly, at("2026-11-20T09:00:00Z")).unwrap_err().to_string();
        assert_eq!(error, "the schedule of policy p cannot be determined: \"Freitag\" is not a week day");
    }

    #[test]
    fn counts_for_retention() {
        let mut weekly = policy("Weekly", &["02:00"], "UTC");
        weekly.schedule.days = vec!["Friday".into(), "Sunday".into()];
        assert_eq!(most_backups_in(&weekly, 20), Ok(6));
        assert_eq!(most_backups_in(&policy("Daily", &["02:00"], "UTC"), 7), Ok(7));
    }

    proptest! {
        /// The true start, computed for any one offset of the zone, is always inside the window.
        #[test]
        fn the_window_holds_the_truth(second in 1_700_000_000i64..2_000_000_000, minutes in 0i64..1440, share in 0i64..=100, zone in prop::sample::select(vec!["UTC", "W. Europe Standard Time", "Tokyo Standard Time", "Pacific Standard Time", "nowhere"])) {
            let now = Timestamp::from_second(second).unwrap();
            let daily = policy("Daily", &[&format!("{:02}:{:02}", minutes / 60, minutes % 60)], zone);
            let range = offsets(zone);
            let offset = range.min_minutes + (range.max_minutes - range.min_minutes) * share / 100;
            let day = 86_400;
            let start_of_day_zero = (minutes - offset) * 60;
            let truth = start_of_day_zero + (second - start_of_day_zero + day - 1).div_euclid(day) * day;
            let next = next_backup(&daily, now).unwrap();
            prop_assert!(next.earliest.as_second() <= truth && truth <= next.latest.as_second(), "{truth} not in {next:?}");
            prop_assert!(next.earliest >= now);
        }
    }
}
