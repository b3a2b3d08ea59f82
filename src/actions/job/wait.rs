//! `job.wait`: waits until every running job of the VM has ended.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{PROBE, forget, noted, running, vault};
use crate::actions::change::{Risk, Undo};
use crate::actions::parameters::DAY;
use crate::actions::permission::{self, Uses};
use crate::actions::planning::{PlanContext, PlanReads, StepDraft};
use crate::actions::rules::jobs as rule;
use crate::actions::{Action, Check, Context, History, Mutation, Request, Verify};
use crate::arm::id::ResourceId;
use crate::arm::{ArmError, Sent, Tag};
use crate::duration::Span;
use crate::facts::vm_facts::VmFacts;
use crate::text::shell_quote;

/// Waits until every running job of the VM has ended, in any vault. Nothing is sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct JobWait {}

impl Action for JobWait {
    const KEYS: &'static [&'static str] = &[];
    const NEEDS: &'static [Uses] =
        &[Uses::Needs(&permission::VAULTS), Uses::Needs(&permission::ITEMS), Uses::Needs(&permission::JOBS)];
    const WRITES: &'static [&'static str] = super::WRITES;

    fn plan(&self, cx: &PlanContext<'_>) -> StepDraft {
        let jobs = match running(&cx.input) {
            Ok(jobs) => jobs,
            Err(refusal) => return StepDraft::refuse(refusal),
        };
        let mut draft = StepDraft::default();
        for job in jobs {
            let effect = format!(
                "wait until the {} job {} in vault {} has ended; nothing is sent",
                job.operation,
                job.id.name(),
                vault(&job.id)
            );
            let hangs = rule::may_cancel(job, Span::from_secs(DAY), cx.input.now).is_ok();
            if hangs {
                let (name, vm) = (job.id.name(), shell_quote(cx.input.facts.id.as_str()));
                draft.notes.push(format!(
                    "the job {name} has been taking its snapshot for more than a day and may hang; to cancel it instead: \
                     azmend fix backup-in-progress --set mode=cancel --vm {vm}"
                ));
            }
            draft.push(AwaitJob { job: job.id.clone() }, effect);
        }
        noted(draft)
    }
}

/// Waits until a job has ended. Nothing is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AwaitJob {
    /// The job.
    pub job: ResourceId,
}

impl Mutation for AwaitJob {
    const NOUN: &'static str = "";

    fn resource(&self) -> &ResourceId {
        &self.job
    }

    fn undo(&self) -> Undo {
        Undo::NotNeeded { reason: "nothing is sent".to_owned() }
    }

    fn risk(&self) -> Risk {
        Risk::Low
    }

    fn weight(&self) -> usize {
        0
    }

    fn leave(&self, facts: &mut VmFacts, _: &PlanReads) {
        forget(facts, &self.job);
    }

    /// Reads the job: once it has ended the run goes on.
    async fn check(&self, cx: &Context<'_>, _: &History) -> Check {
        let job = &self.job;
        match cx.arm.job(job).await {
            Ok(now) if now.running() => Check::Wait { why: format!("the job {} to end", job.name()), wait: PROBE },
            Ok(now) => Check::Holds(format!("the job has ended: {}", now.status)),
            Err(error) if cx.arm.proves_absence(&error, job).await => {
                Check::Holds("the job is no longer listed".to_owned())
            }
            Err(error) => Check::Unreadable(error),
        }
    }

    async fn send(&self, _: &Context<'_>, _: &Request, _: &Tag) -> Result<Sent, ArmError> {
        Err(ArmError::refused(self.job.as_str(), "waiting sends nothing"))
    }

    async fn verify(&self, _: &Context<'_>, _: &History) -> Verify {
        Verify::Again { why: "nothing was sent".to_owned(), wait: Duration::ZERO }
    }
}
