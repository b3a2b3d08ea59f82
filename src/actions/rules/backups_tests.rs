//! S10: when an on-demand backup may start.

use super::backups::may_start;
use super::testing::*;
use crate::actions::change::Override;
use crate::arm::model::Job;
use crate::facts::vm_facts::VmFacts;

fn rule(facts: &VmFacts, overrides: &[Override]) -> Option<String> {
    let item = facts.main_item().unwrap().clone();
    decide(facts, overrides, |input| may_start(input, &item).err().map(|refusal| refusal.rule))
}

fn with_jobs(jobs: Vec<Job>) -> VmFacts {
    let mut facts = facts();
    item_of(&mut facts).jobs = known(jobs);
    facts
}

fn attempts(n: u64, user: Option<bool>) -> VmFacts {
    with_jobs((1..=n).map(|age| job("Backup", "Failed", age, user)).collect())
}

#[test]
fn only_an_item_that_is_protected() {
    assert_eq!(rule(&facts(), &[]), None);
    let mut gone = facts();
    item_of(&mut gone).item.soft_deleted = true;
    assert_eq!(rule(&gone, &Override::ALL).as_deref(), Some("s10.not-protected"));
    for state in ["ProtectionStopped", "ProtectionPaused", "BackupsSuspended"] {
        let mut stopped = facts();
        item_of(&mut stopped).item.protection_state = state.into();
        assert_eq!(rule(&stopped, &Override::ALL).as_deref(), Some("s10.not-protected"), "{state}");
    }
    let mut never = facts();
    item_of(&mut never).item.protection_state = "IRPending".into();
    assert_eq!(rule(&never, &[]), None, "the first backup may be started by hand");
}

#[test]
fn not_while_a_job_runs() {
    for (operation, status) in [("Backup", "InProgress"), ("Restore", "InProgress"), ("Backup", "Cancelling")] {
        let facts = with_jobs(vec![job(operation, status, 1, Some(false))]);
        assert_eq!(rule(&facts, &Override::ALL).as_deref(), Some("s10.job-active"), "{operation} {status}");
    }
    assert_eq!(rule(&with_jobs(vec![job("Backup", "Completed", 1, Some(false))]), &[]), None);
}

#[test]
fn jobs_that_were_not_read_refuse() {
    let mut facts = facts();
    item_of(&mut facts).jobs = unread();
    assert_eq!(rule(&facts, &Override::ALL).as_deref(), Some("s10.unread"));
    item_of(&mut facts).jobs = absent();
    assert_eq!(rule(&facts, &[]), None);
}

#[test]
fn three_attempts_in_24_hours_and_nine_with_the_override() {
    for user in [Some(true), None] {
        for n in 0..12 {
            let facts = attempts(n, user);
            // One of those that may be on-demand is the one that the daily policy schedules.
            let free = if user.is_none() { 4 } else { 3 };
            let expected = match n {
                _ if n < free => None,
                3..=8 => Some("s10.daily-limit"),
                _ => Some("s10.hard-limit"),
            };
            assert_eq!(rule(&facts, &[]).as_deref(), expected, "{n} {user:?}");
            for over in Override::ALL {
                let lifted = if over == Override::DailyLimit { expected.filter(|_| n >= 9) } else { expected };
                assert_eq!(rule(&facts, &[over]).as_deref(), lifted, "{n} {over}");
            }
        }
    }
}

#[test]
fn a_policy_that_backs_up_several_times_a_day_leaves_room_and_an_unread_one_does_not() {
    let hourly = |n| {
        let mut facts = attempts(n, None);
        if let crate::facts::vm_facts::Part::Known { value, .. } = &mut item_of(&mut facts).policy {
            value.schedule.frequency = "Hourly".into();
            value.schedule.interval_hours = 6;
            value.schedule.window_hours = 24;
            value.schedule.times = vec!["08:00".into()];
        }
        facts
    };
    assert_eq!(rule(&hourly(6), &[]), None, "four scheduled and two on-demand");
    assert_eq!(rule(&hourly(7), &[]).as_deref(), Some("s10.daily-limit"));
    assert_eq!(rule(&hourly(9), &[]).as_deref(), Some("s10.hard-limit"));
    let mut unread = attempts(3, None);
    item_of(&mut unread).policy = crate::facts::vm_facts::Part::not_asked();
    assert_eq!(rule(&unread, &[]).as_deref(), Some("s10.daily-limit"));
}

#[test]
fn scheduled_old_and_other_jobs_do_not_count() {
    assert_eq!(rule(&attempts(12, Some(false)), &[]), None, "scheduled");
    let old = (25..40).map(|age| job("Backup", "Failed", age, None)).collect();
    assert_eq!(rule(&with_jobs(old), &[]), None, "older than a day");
    let restores = (1..12).map(|age| job("Restore", "Completed", age, None)).collect();
    assert_eq!(rule(&with_jobs(restores), &[]), None, "restores");
    let mut nameless = attempts(4, None);
    if let crate::facts::vm_facts::Part::Known { value, .. } = &mut item_of(&mut nameless).jobs {
        value.iter_mut().for_each(|job| job.start = None);
    }
    assert_eq!(rule(&nameless, &[]).as_deref(), Some("s10.daily-limit"), "a job without a start counts");
}
