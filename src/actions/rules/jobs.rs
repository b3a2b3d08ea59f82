//! Rules about jobs: when one stands in the way of a change, and which may be cancelled.
//!
//! Never: a restore job is cancelled; a job is cancelled that is younger than was asked for; whatever was not read counts
//! as a job that runs.

use jiff::Timestamp;

use crate::actions::backup::SNAPSHOT;
use crate::actions::change::Refusal;
use crate::arm::model::Job;
use crate::clock::elapsed;
use crate::duration::Span;
use crate::facts::vm_facts::VmFacts;

/// That no job of the VM runs in any of its vaults.
///
/// # Errors
/// A refusal with this rule's name, or `s12.unread`.
pub fn none_runs(facts: &VmFacts, rule: &str) -> Result<(), Refusal> {
    let unread = |why: &str| Refusal::new("s12.unread", format!("the jobs were not read, one may be running: {why}"));
    let Some(items) = facts.items.known() else {
        return if facts.items.is_absent() { Ok(()) } else { Err(unread(facts.items.unread().unwrap_or("not read"))) };
    };
    for item in items {
        if let Some(why) = item.jobs.unread() {
            return Err(unread(why));
        }
        if let Some(job) = item.jobs.known().into_iter().flatten().find(|job| job.running()) {
            let why = format!("a {} job of the VM is running ({})", job.operation, job.id.name());
            return Err(Refusal::new(rule, why).hint("wait until it has ended, then run azmend again"));
        }
    }
    Ok(())
}

/// Whether a running job may be cancelled.
///
/// # Errors
/// `job.not-a-backup`, `job.unknown-state`, `job.young`, `job.transfer`.
pub fn may_cancel(job: &Job, older_than: Span, now: Timestamp) -> Result<(), Refusal> {
    let name = job.id.name();
    if !job.operation.eq_ignore_ascii_case("Backup") {
        let why = format!("the job {name} is a {} job: only backup jobs are cancelled", job.operation);
        return Err(Refusal::new("job.not-a-backup", why));
    }
    if !["InProgress", "Cancelling"].iter().any(|state| job.status.eq_ignore_ascii_case(state)) {
        let why = format!("the job {name} is in state {:?}, which azmend does not know", job.status);
        return Err(Refusal::new("job.unknown-state", why).hint("wait until it has ended: --set mode=wait"));
    }
    let Some(start) = job.start else {
        return Err(Refusal::new("job.young", format!("Azure does not report when the job {name} started")));
    };
    let age = elapsed(start, now);
    if age < older_than.to_std() {
        let hours = age.as_secs() / 3600;
        let why = format!("the job {name} started {hours} hours ago: only one older than {older_than} counts as stuck");
        return Err(Refusal::new("job.young", why).hint("wait for it, or lower it: --set stuck_after=2h"));
    }
    if job.task(SNAPSHOT).is_some_and(|status| status.eq_ignore_ascii_case("Completed")) {
        let why = format!("the job {name} has taken its snapshot and transfers it: Azure does not cancel that");
        return Err(Refusal::new("job.transfer", why).hint("wait for it: --set mode=wait"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actions::rules::testing::{absent, facts, item_of, job, known, now, unread};
    use crate::arm::model::JobTask;

    fn rule(job: &Job) -> Option<String> {
        may_cancel(job, Span::from_secs(24 * 3600), now()).err().map(|refusal| refusal.rule)
    }

    #[test]
    fn only_an_old_backup_that_takes_its_snapshot_may_be_cancelled() {
        assert_eq!(rule(&job("Backup", "InProgress", 30, None)), None);
        assert_eq!(rule(&job("Backup", "InProgress", 23, None)).as_deref(), Some("job.young"));
        for operation in ["Restore", "ConfigureBackup", ""] {
            assert_eq!(rule(&job(operation, "InProgress", 300, None)).as_deref(), Some("job.not-a-backup"));
        }
        for status in ["Suspended", "", "Invalid"] {
            assert_eq!(rule(&job("Backup", status, 30, None)).as_deref(), Some("job.unknown-state"), "{status}");
        }
        let mut no_start = job("Backup", "InProgress", 30, None);
        no_start.start = None;
        assert_eq!(rule(&no_start).as_deref(), Some("job.young"));
        let mut transfer = job("Backup", "InProgress", 30, None);
        transfer.tasks = vec![JobTask { id: SNAPSHOT.into(), status: "Completed".into() }];
        assert_eq!(rule(&transfer).as_deref(), Some("job.transfer"));
        transfer.tasks[0].status = "InProgress".into();
        assert_eq!(rule(&transfer), None);
    }

    #[test]
    fn an_unread_job_list_counts_as_running() {
        let rule = |facts: &VmFacts| none_runs(facts, "vm.job-active").err().map(|refusal| refusal.rule);
        let mut facts = facts();
        assert_eq!(rule(&facts), None);
        item_of(&mut facts).jobs = known(vec![job("Restore", "InProgress", 1, None)]);
        assert_eq!(rule(&facts).as_deref(), Some("vm.job-active"));
        item_of(&mut facts).jobs = known(vec![job("Backup", "Paused", 1, None)]);
        assert_eq!(rule(&facts).as_deref(), Some("vm.job-active"), "a state that azmend does not know");
        item_of(&mut facts).jobs = unread();
        assert_eq!(rule(&facts).as_deref(), Some("s12.unread"));
        facts.items = unread();
        assert_eq!(rule(&facts).as_deref(), Some("s12.unread"));
        facts.items = absent();
        assert_eq!(rule(&facts), None);
    }
}
