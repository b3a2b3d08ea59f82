//! `job.cancel`: cancels a backup that hangs.

use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::json;

use super::{PROBE, forget, noted, running, vault};
use crate::actions::change::{Risk, Undo};
use crate::actions::outcome::{Failure, Refusal};
use crate::actions::parameters::{DAY, span_within};
use crate::actions::permission::{self, Place, Right, Uses};
use crate::actions::planning::{PlanContext, PlanReads, StepDraft};
use crate::actions::rules::jobs as rule;
use crate::actions::{Action, Check, Context, History, Mutation, Request, Verb, Verify};
use crate::arm::id::ResourceId;
use crate::arm::{ArmError, Sent, Tag};
use crate::clock::elapsed;
use crate::duration::Span;
use crate::facts::vm_facts::VmFacts;
use crate::text::plural;

/// How long a job may be `Cancelling`; a recorded one took some minutes.
const PATIENCE: Duration = Duration::from_secs(20 * 60);
/// Requests for one job.
const TRIES: usize = 3;

/// Cancels a job.
const CANCEL: Right = Right::change(
    "Microsoft.RecoveryServices/Vaults/backupJobs/cancel/action",
    Place::Vault,
    "cancels a backup job that hangs",
    "no job is cancelled",
);

/// Cancels a backup job that hangs while it takes its snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct JobCancel {
    /// How long ago it must have started: 1h to 30d.
    #[serde(deserialize_with = "stuck_after")]
    pub older_than: Span,
}

impl Default for JobCancel {
    fn default() -> Self {
        Self { older_than: Span::from_secs(DAY) }
    }
}

fn stuck_after<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
    span_within(deserializer, (3600, 30 * DAY), "a job counts as stuck after 1h to 30d")
}

impl Action for JobCancel {
    const KEYS: &'static [&'static str] = &["older_than"];
    const NEEDS: &'static [Uses] = &[
        Uses::Needs(&permission::VAULTS),
        Uses::Needs(&permission::ITEMS),
        Uses::Needs(&permission::JOBS),
        Uses::Needs(&CANCEL),
    ];
    const WRITES: &'static [&'static str] = &[
        "backup.last_status",
        "backup.last_error",
        "backup.last_error_id",
        "backup.inner_error",
        "backup.running",
        "backup.health",
    ];

    fn plan(&self, cx: &PlanContext<'_>) -> StepDraft {
        let jobs = match running(&cx.input) {
            Ok(jobs) => jobs,
            Err(refusal) => return StepDraft::refuse(refusal),
        };
        let mut draft = StepDraft::default();
        for job in jobs {
            if let Err(refusal) = rule::may_cancel(job, self.older_than, cx.input.now) {
                draft.refused.push((1, refusal));
                continue;
            }
            let age = job.start.map_or(0, |start| elapsed(start, cx.input.now).as_secs() / 3600);
            let effect = format!(
                "cancel the backup job {} in vault {}, which has been taking its snapshot for {}",
                job.id.name(),
                vault(&job.id),
                plural(usize::try_from(age).unwrap_or(usize::MAX), "hour"),
            );
            let (job, started) = (job.id.clone(), job.start);
            draft.push(CancelJob { job, started, older_than: self.older_than }, effect);
        }
        noted(draft)
    }
}

/// Cancels a backup job that hangs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelJob {
    /// The job.
    pub job: ResourceId,
    /// When it began, as read for the plan.
    pub started: Option<Timestamp>,
    /// From which age on it counts as stuck.
    pub older_than: Span,
}

impl Mutation for CancelJob {
    const NOUN: &'static str = "jobs cancelled";

    fn resource(&self) -> &ResourceId {
        &self.job
    }

    fn undo(&self) -> Undo {
        Undo::Irreversible { reason: "a cancelled job cannot be continued; start another backup".to_owned() }
    }

    fn risk(&self) -> Risk {
        Risk::Medium
    }

    fn leave(&self, facts: &mut VmFacts, _: &PlanReads) {
        forget(facts, &self.job);
    }

    /// Reads the job again: it must be the one in the plan, still hang, and still be cancellable.
    async fn check(&self, cx: &Context<'_>, history: &History) -> Check {
        let Self { job, started, older_than } = self;
        let now = match cx.arm.job(job).await {
            Ok(now) => now,
            Err(error) if cx.arm.proves_absence(&error, job).await => {
                return Check::Skip("the job is no longer listed".to_owned());
            }
            Err(error) => return Check::Unreadable(error),
        };
        if now.status.eq_ignore_ascii_case("Cancelled") {
            return Check::Holds("the job is cancelled".to_owned());
        }
        if !now.running() {
            return Check::Skip(format!("the job ended on its own: {}", now.status));
        }
        if now.start != *started {
            let why = format!("the job {} started at another time than the one in the plan", job.name());
            return Check::Refuse(Refusal::new("s3.changed", why));
        }
        if now.status.eq_ignore_ascii_case("Cancelling") {
            return Check::Wait { why: "Azure to cancel the job".to_owned(), wait: PROBE };
        }
        if let Err(refusal) = rule::may_cancel(&now, *older_than, cx.arm.clock().now()) {
            return Check::Refuse(refusal);
        }
        if history.attempts.len() >= TRIES {
            return Check::GiveUp(Failure::new("JobCancelFailed", format!("the job {} still runs", job.name())));
        }
        Check::Go(Request { verb: Verb::Post, target: job.clone(), before: json!({ "status": now.status }) })
    }

    async fn send(&self, cx: &Context<'_>, _: &Request, tag: &Tag) -> Result<Sent, ArmError> {
        cx.arm.cancel_job(&self.job, tag).await
    }

    /// A job that is cancelled says so itself.
    async fn verify(&self, cx: &Context<'_>, history: &History) -> Verify {
        let now = match cx.arm.job(&self.job).await {
            Ok(now) => now,
            Err(error) => return Verify::Pending { why: format!("reading the job: {error}"), wait: PROBE },
        };
        if now.status.eq_ignore_ascii_case("Cancelled") {
            return Verify::Done("the job is cancelled".to_owned());
        }
        if !now.running() {
            return Verify::Done(format!("the job ended on its own before it was cancelled: {}", now.status));
        }
        let waited = history.attempts.last().map_or(PATIENCE, |attempt| elapsed(attempt.at, cx.arm.clock().now()));
        if waited < PATIENCE {
            return Verify::Pending { why: "Azure to cancel the job".to_owned(), wait: PROBE };
        }
        Verify::Again { why: "the job still runs".to_owned(), wait: PROBE }
    }
}
