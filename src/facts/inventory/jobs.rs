//! Jobs of vaults for Azure VMs, newest first.

use crate::facts::unread::Unread;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::{VaultError, Visible, chosen_vaults, reader, rows, some};
use crate::arm::id::ResourceId;
use crate::arm::model::{Job, JobTask};
use crate::arm::{Arm, JobFilter};
use crate::catalog::Catalog;
use crate::clock::{earlier, elapsed};
use crate::facts::read::action;

/// Name and version of the object.
pub const JOBS_SCHEMA: &str = "azmend.jobs/v1";

/// Which jobs.
#[derive(Debug, Clone, Default)]
pub struct JobsAsked {
    /// Of this VM: name, group/name or resource id. It need not exist any more.
    pub vm: Option<String>,
    /// Of this vault: name, group/name or resource id.
    pub vault: Option<String>,
    /// Only those that failed.
    pub failed: bool,
    /// Only those that have not ended.
    pub running: bool,
    /// Started within this time.
    pub since: Duration,
}

/// What went wrong in a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JobProblem {
    /// The symbolic code: the catalogue's spelling, else Azure's; null when Azure names none.
    pub code: Option<String>,
    /// Azure's number; null when it is not sent.
    pub number: Option<i64>,
    /// The catalogue's sentence, else Azure's text.
    pub message: String,
    /// What Azure recommends.
    pub recommendations: Vec<String>,
    /// Whether the catalogue knows it: then `azmend explain CODE` says more.
    pub known: bool,
}

/// A task of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JobTaskRow {
    /// e.g. `Take Snapshot`.
    pub name: String,
    /// Its status.
    pub status: String,
}

/// One job.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JobRow {
    /// Resource id.
    pub id: String,
    /// The job's GUID.
    pub job: String,
    /// The vault's name.
    pub vault: String,
    /// The VM: `group/name`, or its name alone when Azure says no more.
    pub vm: String,
    /// `Backup`, `Restore`, ...
    pub operation: String,
    /// As Azure says it.
    pub status: String,
    /// Start.
    pub start: Option<Timestamp>,
    /// End; null while it runs.
    pub end: Option<Timestamp>,
    /// How long it took, or has taken so far.
    pub seconds: Option<u64>,
    /// Started by a user; null when not sent.
    pub user_triggered: Option<bool>,
    /// How far it is in percent; null when not sent or not asked.
    pub percent: Option<f64>,
    /// Its tasks; only of a job that is followed.
    pub tasks: Vec<JobTaskRow>,
    /// What went wrong.
    pub error: Option<JobProblem>,
    /// The command to run next.
    pub next: Option<String>,
}

/// The jobs.
#[derive(Debug, Clone, Serialize)]
pub struct JobInventory {
    /// When it was read.
    pub read_at: Timestamp,
    /// Started at or after.
    pub since: Timestamp,
    /// How many vaults were asked.
    pub vaults: usize,
    /// Newest first.
    pub jobs: Vec<JobRow>,
    /// What was not read.
    pub not_read: Vec<Unread>,
}

impl JobRow {
    /// A row of a job; `percent` from the job's own reading.
    #[must_use]
    pub fn of(job: &Job, percent: Option<f64>, now: Timestamp) -> Self {
        let ended = job.end.or_else(|| job.running().then_some(now));
        let error = problem(job);
        let next = error.as_ref().filter(|error| error.known).and_then(|error| explain(error.code.as_deref()));
        Self {
            id: job.id.to_string(),
            job: job.id.name().to_owned(),
            vault: job.id.up_to("vaults").map(|vault| vault.name().to_owned()).unwrap_or_default(),
            vm: vm_of(job),
            operation: job.operation.clone(),
            status: job.status.clone(),
            start: job.start,
            end: job.end,
            seconds: job.start.zip(ended).map(|(start, end)| elapsed(start, end).as_secs()),
            user_triggered: job.user_triggered,
            percent,
            tasks: job.tasks.iter().map(task).collect(),
            error,
            next,
        }
    }
}

fn task(task: &JobTask) -> JobTaskRow {
    JobTaskRow { name: task.id.clone(), status: task.status.clone() }
}

/// The command that explains a code.
pub(super) fn explain(code: Option<&str>) -> Option<String> {
    code.map(|code| format!("azmend explain {}", crate::text::shell_quote(code)))
}

/// Group and name out of a container as recorded: `[IaasVMContainer;]iaasvmcontainerv2;<group>;<vm>`.
fn container(job: &Job) -> Option<(&str, &str)> {
    let parts: Vec<&str> = job.container.split(';').collect();
    match parts.as_slice() {
        [kind, group, name] | [_, kind, group, name] if kind.eq_ignore_ascii_case("iaasvmcontainerv2") => {
            Some((*group, *name))
        }
        _ => None,
    }
}

/// The VM in words. The container has lower case; the friendly name is as the user wrote it.
fn vm_of(job: &Job) -> String {
    match container(job) {
        Some((group, name)) if job.vm_name.is_empty() || job.vm_name.eq_ignore_ascii_case(name) => {
            format!("{group}/{}", if job.vm_name.is_empty() { name } else { &job.vm_name })
        }
        Some((group, name)) => format!("{group}/{name}"),
        None => job.vm_name.clone(),
    }
}

/// The error in the catalogue's spelling: by title, number, text, then by the inner text.
fn problem(job: &Job) -> Option<JobProblem> {
    let catalog = Catalog::get();
    let mut known = None;
    for error in &job.errors {
        if let Some(entry) = catalog.classify(&error.title, error.code, &error.text) {
            known = Some((entry, error.clone()));
            break;
        }
    }
    if known.is_none()
        && !job.dynamic_error.is_empty()
        && let Some(entry) = catalog.by_text(&job.dynamic_error)
    {
        known = Some((entry, job.errors.first().cloned().unwrap_or_default()));
    }
    let number = |code: i64| (code != 0).then_some(code);
    if let Some((entry, error)) = known {
        return Some(JobProblem {
            code: Some(entry.code.clone()),
            number: number(error.code),
            message: entry.message.clone(),
            recommendations: error.recommendations,
            known: true,
        });
    }
    let error = job.errors.first()?;
    Some(JobProblem {
        code: some(&error.title),
        number: number(error.code),
        message: if error.text.is_empty() { job.dynamic_error.clone() } else { error.text.clone() },
        recommendations: error.recommendations.clone(),
        known: false,
    })
}

/// Whether a job is of the VM that `text` names. A job without a container is told by its name alone.
fn is_of(job: &Job, text: &str) -> bool {
    let parsed = ResourceId::parse(text).ok().filter(|_| text.contains("/providers/"));
    let (group, name) = match &parsed {
        Some(id) => (id.resource_group(), id.name()),
        None => text.split_once('/').map_or((None, text), |(group, name)| (Some(group), name)),
    };
    match container(job) {
        Some((own_group, own_name)) => {
            let same = own_name.eq_ignore_ascii_case(name) || job.vm_name.eq_ignore_ascii_case(name);
            same && group.is_none_or(|group| own_group.eq_ignore_ascii_case(group))
        }
        None => job.vm_name.eq_ignore_ascii_case(name),
    }
}

/// Reads the jobs: one list per vault, for Azure rations the reads of jobs by vault.
///
/// # Errors
/// When the vault that was named is not there.
pub async fn jobs(arm: &Arm, visible: &Visible, asked: &JobsAsked) -> Result<JobInventory, VaultError> {
    let reader = reader(arm);
    let read_at = reader.now();
    let since = earlier(read_at, asked.since);
    let (vaults, mut not_read) = chosen_vaults(&reader, &visible.chosen, asked.vault.as_deref()).await?;
    let filter = JobFilter { since: Some(since), ..JobFilter::default() };
    let (reader, filter) = (&reader, &filter);
    let calls = vaults.iter().map(|vault| async move {
        (vault, rows(reader, vault, &[action::JOBS], reader.arm.jobs(vault, filter)).await)
    });
    let mut all: Vec<Job> = Vec::new();
    for (vault, (jobs, missing)) in reader.side_by_side(calls.collect()).await {
        all.extend(jobs);
        not_read.extend(missing.map(|why| Unread { what: format!("the jobs of the vault {}", vault.name()), why }));
    }
    all.retain(|job| {
        asked.vm.as_ref().is_none_or(|vm| is_of(job, vm))
            && (!asked.failed || job.status.eq_ignore_ascii_case("Failed"))
            && (!asked.running || job.running())
    });
    all.sort_by(|a, b| b.start.cmp(&a.start).then_with(|| a.id.cmp(&b.id)));
    let mut before = if asked.vault.is_some() { Vec::new() } else { visible.not_read() };
    before.append(&mut not_read);
    let jobs = all.iter().map(|job| JobRow::of(job, None, read_at)).collect();
    Ok(JobInventory { read_at, since, vaults: vaults.len(), jobs, not_read: before })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arm::model::JobError;

    fn job(container: &str, name: &str) -> Job {
        let id = "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/rg/providers/Microsoft.RecoveryServices/vaults/v/backupJobs/j";
        Job {
            id: ResourceId::parse(id).unwrap(),
            operation: "Backup".into(),
            status: "Failed".into(),
            start: None,
            end: None,
            vm_name: name.into(),
            container: container.into(),
            user_triggered: None,
            errors: Vec::new(),
            dynamic_error: String::new(),
            tasks: Vec::new(),
        }
    }

    #[test]
    fn a_vm_is_told_by_group_and_name() {
        let one = job("IaasVMContainer;iaasvmcontainerv2;rg-shop;web-01", "Web-01");
        assert_eq!(vm_of(&one), "rg-shop/Web-01");
        assert!(is_of(&one, "WEB-01") && is_of(&one, "RG-Shop/web-01") && !is_of(&one, "rg-lab/web-01"));
        let id = "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/rg-lab/providers/Microsoft.Compute/virtualMachines/web-01";
        assert!(!is_of(&one, id) && is_of(&one, &id.replace("rg-lab", "rg-shop")));
        assert!(is_of(&job("", "web-01"), "rg-lab/web-01") && !is_of(&job("", "web-02"), "web-01"));
    }

    #[test]
    fn an_error_is_respelled_and_an_unknown_one_is_not_invented() {
        let mut one = job("", "x");
        one.errors = vec![JobError { code: 400_196, ..JobError::default() }];
        let row = JobRow::of(&one, None, Timestamp::UNIX_EPOCH);
        assert_eq!(row.next.as_deref(), Some("azmend explain UserErrorGuestAgentStatusUnavailable"));
        one.errors = vec![JobError { code: 1, title: "Zzz'Qq".into(), text: "qqq".into(), ..JobError::default() }];
        let row = JobRow::of(&one, None, Timestamp::UNIX_EPOCH);
        assert_eq!((row.next, row.error.map(|error| error.known)), (None, Some(false)));
        one.errors.clear();
        assert_eq!(JobRow::of(&one, None, Timestamp::UNIX_EPOCH).error, None);
    }
}
