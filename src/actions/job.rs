//! `job.wait` and `job.cancel`: what to do about a job of the VM that stands in the way of its next backup.
//!
//! Waiting sends nothing: it is a change only in that the run goes on when the job has ended. Cancelling stops a backup
//! that hangs; the rules of [`super::rules::jobs`] say which (never a restore, never a young one, only while the snapshot
//! is taken: later Azure does not cancel, FAQ and support matrix). A job may be in an old vault of the VM: it is named by
//! its own id, never by the vault that protects the VM now.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

use super::change::{Change, ChangeKind, Failure, Refusal};
use super::rules::{Ground, jobs as rule};
use super::spec::JobCancel;
use super::{Check, Context, History, Request, Verify};
use crate::arm::ErrorClass;
use crate::arm::id::ResourceId;
use crate::arm::model::Job;
use crate::clock::elapsed;
use crate::text::plural;

/// Between two looks at a job: a vault answers about 100 job reads an hour (recorded limit 150).
const PROBE: Duration = Duration::from_secs(60);
/// How long a job may be `Cancelling`; a recorded one took some minutes.
const PATIENCE: Duration = Duration::from_secs(20 * 60);
/// Requests for one job.
const TRIES: usize = 3;

/// What the plan says about running jobs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobPlan {
    /// Those that are waited for or cancelled.
    pub changes: Vec<Change>,
    /// Those that stay, with the rule.
    pub kept: Vec<Refusal>,
}

fn running<'a>(ground: &Ground<'a>) -> Result<Vec<&'a Job>, Refusal> {
    let facts = ground.facts;
    let unread = |why: &str| Refusal::new("s12.unread", format!("the jobs were not read: {why}"));
    let items = facts.items.known().ok_or_else(|| unread(facts.items.unread().unwrap_or("not read")))?;
    let mut found = Vec::new();
    for item in items {
        match (item.jobs.known(), item.jobs.unread()) {
            (Some(jobs), _) => found.extend(jobs.iter().filter(|job| job.running())),
            (None, Some(why)) => return Err(unread(why)),
            (None, None) => {}
        }
    }
    Ok(found)
}

fn vault(job: &ResourceId) -> String {
    job.up_to("vaults").map(|vault| vault.name().to_owned()).unwrap_or_default()
}

/// Plans to wait for every running job of the VM, in any vault.
///
/// # Errors
/// When the jobs were not read.
pub fn plan_wait(ground: &Ground<'_>, step: &str) -> Result<JobPlan, Refusal> {
    let mut plan = JobPlan::default();
    for job in running(ground)? {
        let effect = format!(
            "wait until the {} job {} in vault {} has ended; nothing is sent",
            job.operation,
            job.id.name(),
            vault(&job.id)
        );
        let what = ChangeKind::AwaitJob { job: job.id.clone() };
        plan.changes.push(Change::new(step, plan.changes.len() + 1, what, effect));
    }
    Ok(plan)
}

/// Plans to cancel every backup job that hangs.
///
/// # Errors
/// When the jobs were not read.
pub fn plan_cancel(ground: &Ground<'_>, step: &str, spec: &JobCancel) -> Result<JobPlan, Refusal> {
    let mut plan = JobPlan::default();
    for job in running(ground)? {
        if let Err(refusal) = rule::may_cancel(job, spec.older_than, ground.now) {
            plan.kept.push(refusal);
            continue;
        }
        let age = job.start.map_or(0, |start| elapsed(start, ground.now).as_secs() / 3600);
        let effect = format!(
            "cancel the backup job {} in vault {}, which has been taking its snapshot for {}",
            job.id.name(),
            vault(&job.id),
            plural(usize::try_from(age).unwrap_or(usize::MAX), "hour"),
        );
        let what = ChangeKind::CancelJob { job: job.id.clone(), started: job.start, older_than: spec.older_than };
        plan.changes.push(Change::new(step, plan.changes.len() + 1, what, effect));
    }
    Ok(plan)
}

/// Reads the job: once it has ended the run goes on.
pub async fn check_wait(cx: &Context<'_>, job: &ResourceId) -> Check {
    match cx.arm.job(job).await {
        Ok(now) if now.running() => Check::Wait { why: format!("the job {} to end", job.name()), wait: PROBE },
        Ok(now) => Check::Holds(format!("the job has ended: {}", now.status)),
        Err(error) if error.class() == ErrorClass::NotFound => {
            Check::Holds("the job is not listed any more".to_owned())
        }
        Err(error) => Check::Unreadable(error),
    }
}

/// Reads the job again: it must be the one in the plan, still hang, and still be cancellable.
pub async fn check_cancel(
    cx: &Context<'_>,
    job: &ResourceId,
    started: Option<Timestamp>,
    older_than: crate::duration::Span,
    history: &History,
) -> Check {
    let now = match cx.arm.job(job).await {
        Ok(now) => now,
        Err(error) if error.class() == ErrorClass::NotFound => {
            return Check::Skip("the job is not listed any more".to_owned());
        }
        Err(error) => return Check::Unreadable(error),
    };
    if now.status.eq_ignore_ascii_case("Cancelled") {
        return Check::Holds("the job is cancelled".to_owned());
    }
    if !now.running() {
        return Check::Skip(format!("the job ended by itself: {}", now.status));
    }
    if now.start != started {
        let why = format!("the job {} began at another time than the one in the plan", job.name());
        return Check::Refuse(Refusal::new("s3.changed", why));
    }
    if now.status.eq_ignore_ascii_case("Cancelling") {
        return Check::Wait { why: "Azure to cancel the job".to_owned(), wait: PROBE };
    }
    if let Err(refusal) = rule::may_cancel(&now, older_than, cx.arm.clock().now()) {
        return Check::Refuse(refusal);
    }
    if history.attempts.len() >= TRIES {
        return Check::GiveUp(Failure::new("JobCancelFailed", format!("the job {} still runs", job.name())));
    }
    Check::Go(Request { verb: super::Verb::Post, target: job.clone(), before: json!({ "status": now.status }) })
}

/// A job that is cancelled says so itself.
pub async fn verify_cancel(cx: &Context<'_>, job: &ResourceId, history: &History) -> Verify {
    let now = match cx.arm.job(job).await {
        Ok(now) => now,
        Err(error) => return Verify::Pending { why: format!("reading the job: {error}"), wait: PROBE },
    };
    if now.status.eq_ignore_ascii_case("Cancelled") {
        return Verify::Done("the job is cancelled".to_owned());
    }
    if !now.running() {
        return Verify::Done(format!("the job ended by itself before it was cancelled: {}", now.status));
    }
    let waited = history.attempts.last().map_or(PATIENCE, |attempt| elapsed(attempt.at, cx.arm.clock().now()));
    if waited < PATIENCE {
        return Verify::Pending { why: "Azure to cancel the job".to_owned(), wait: PROBE };
    }
    Verify::Again { why: "the job still runs".to_owned(), wait: PROBE }
}
