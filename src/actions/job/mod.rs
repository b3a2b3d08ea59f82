//! `job.wait` and `job.cancel`: what to do about a job of the VM that stands in the way of its next backup.
//!
//! Waiting sends nothing: it is a change only in that the run goes on when the job has ended. Cancelling stops a backup
//! that hangs; the rules of [`super::rules::jobs`] say which (never a restore, never a young one, only while the snapshot
//! is taken: later Azure does not cancel, FAQ and support matrix). A job may be in an old vault of the VM: it is named by
//! its own id, never by the vault that protects the VM now.

mod cancel;
mod wait;

use std::time::Duration;

use super::outcome::Refusal;
use super::planning::StepDraft;
use super::rules::RuleInput;
use crate::arm::id::ResourceId;
use crate::arm::model::Job;
use crate::facts::vm_facts::{Part, VmFacts};

pub use cancel::{CancelJob, JobCancel};
pub use wait::{AwaitJob, JobWait};

/// Between two looks at a job: a vault answers about 100 job reads an hour (recorded limit 150).
const PROBE: Duration = Duration::from_secs(60);

/// What a backup changes in the condition view, whoever started it: one that is started, waited for or cancelled.
/// It may also install VMSnapshot where that is missing.
pub(super) const WRITES: &[&str] = &[
    "backup.state",
    "backup.last_status",
    "backup.last_error",
    "backup.last_error_id",
    "backup.inner_error",
    "backup.last_backup_days_ago",
    "backup.running",
    "backup.health",
    "points.count",
    "points.failed",
    "points.collections",
    "points.expired",
    "points.superseded",
    "points.newest_hours_ago",
    "vmsnapshot",
    "extensions.failed",
    "vm.provisioning_state",
];

fn running<'a>(input: &RuleInput<'a>) -> Result<Vec<&'a Job>, Refusal> {
    let facts = input.facts;
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

/// The facts without a job that is over by then; that is read again before each request.
fn forget(facts: &mut VmFacts, gone: &ResourceId) {
    let Part::Known { value, .. } = &mut facts.items else { return };
    for item in value {
        if let Part::Known { value: jobs, .. } = &mut item.jobs {
            jobs.retain(|job| job.id != *gone);
        }
    }
}

/// The draft, with a note when there is nothing to do.
fn noted(mut draft: StepDraft) -> StepDraft {
    if draft.changes.is_empty() && draft.refused.is_empty() {
        draft.notes.push("no job of the VM is running".to_owned());
    }
    draft
}
