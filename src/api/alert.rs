//! `fix --from-alert`: which VM an alert is about. What is then done for it is `fix`'s, as always.

use std::time::Duration;

use super::azure::Azure;
use super::error::{Error, Kind};
use super::watch::{Note, Watch};
use crate::actions::backup::job_code;
use crate::arm::model::Job;
use crate::arm::{Arm, ResourceId};
use crate::engine::alert::{self, About, Alert, Alerts};
use crate::engine::{RunResult, Status, exit};
use crate::facts::alerted::{self, AlertedError};
use crate::facts::inventory::{self, JobInventory, JobRow, JobsAsked};
use crate::text::{plural, safe, shell_quote};

/// How far back a job without its vault is looked for.
const LOOK_BACK: Duration = Duration::from_secs(14 * 86_400);

/// The VM, and why azmend looks at it.
#[derive(Debug, Clone)]
pub struct Meant {
    /// The VM.
    pub vm: ResourceId,
    /// What the alert says, a fragment.
    pub why: String,
}

/// Reads an alert. Nothing is asked of Azure.
///
/// # Errors
/// When it is none, or is not about the backup of VMs.
pub fn alerts(bytes: &[u8]) -> Result<Alerts, Error> {
    let alerts = alert::parse(bytes).map_err(|error| {
        let hint = "--from-alert reads a common alert of Azure Monitor, an Event Grid event, or the id of a backup job";
        Error::input(error.to_string()).code("alert").hint(hint)
    })?;
    if alerts.fired.is_empty() && alerts.resolved == 0 {
        let why = alerts.other.join("; ");
        let why = if why.is_empty() { "it names nothing".to_owned() } else { why };
        return Err(Error::input(format!("the alert is not about the backup of a VM: {why}"))
            .code("alert_other")
            .hint("to repair a VM, name it: azmend fix auto --vm VM"));
    }
    Ok(alerts)
}

/// The result of alerts that ask for nothing.
#[must_use]
pub fn nothing(alerts: &Alerts, playbook: &str, sandbox: bool) -> Option<RunResult> {
    if !alerts.fired.is_empty() {
        return None;
    }
    let what =
        if alerts.resolved == 1 { "the alert is".to_owned() } else { format!("all {} alerts are", alerts.resolved) };
    let why = format!("{what} resolved: nothing was read and nothing was changed");
    let warnings = std::iter::once(why).chain(alerts.other.iter().cloned()).collect();
    let playbook = Some(playbook.to_owned());
    Some(RunResult { warnings, playbook, ..RunResult::empty(Status::NothingToDo, exit::OK, sandbox) })
}

/// The one VM that the alerts are about.
///
/// # Errors
/// When it cannot be found, or when they are about several: then all of them are named.
pub async fn vm(
    azure: &Azure,
    arm: &Arm,
    alerts: &Alerts,
    subscriptions: &[String],
    watch: &Watch,
) -> Result<Meant, Error> {
    let say = |note: Note| (watch.notes)(note);
    if alerts.resolved > 0 {
        say(Note::Chosen(format!("{} skipped: resolved", plural(alerts.resolved, "alert"))));
    }
    for other in &alerts.other {
        say(Note::Warning(format!("skipped: {other}")));
    }
    let (mut found, mut failed): (Vec<Meant>, Vec<Error>) = (Vec::new(), Vec::new());
    for alert in &alerts.fired {
        match one(azure, arm, alert, subscriptions, watch).await {
            Ok(meant) if found.iter().any(|known| known.vm == meant.vm) => {}
            Ok(meant) => found.push(meant),
            Err(error) => failed.push(error),
        }
    }
    let by_name = |meant: &Meant| format!("{} fix auto --vm {}", azure.program(), shell_quote(meant.vm.as_str()));
    if let Some(first) = failed.pop() {
        // What was found is not lost with what was not.
        let all = found.iter().map(by_name).fold(first, Error::hint);
        return Err(failed.into_iter().fold(all, |all, error| all.hint(format!("also: {error}"))));
    }
    match found.as_slice() {
        [meant] => {
            say(Note::Chosen(meant.why.clone()));
            Ok(meant.clone())
        }
        several => {
            let error =
                Error::input(format!("the alerts are about {} VMs, and one is repaired at a time", several.len()));
            Err(several.iter().map(by_name).fold(error.code("several_vms"), Error::hint))
        }
    }
}

/// The VM of one alert.
async fn one(azure: &Azure, arm: &Arm, alert: &Alert, subscriptions: &[String], watch: &Watch) -> Result<Meant, Error> {
    let named = |job: &Option<Job>| {
        let at = alert.at.map(|at| format!(" of {at:.0}")).unwrap_or_default();
        let error = match job {
            Some(job) => format!("; the job {} {}", job.id.name(), came_to(job)),
            None => alert.code.as_ref().map(|code| format!("; it names {code}")).unwrap_or_default(),
        };
        format!("alert: {}{at}{error}", safe(&alert.name))
    };
    let (vm, job) = match &alert.about {
        About::Vm(vm) => (vm.clone(), job_of(arm, alert, watch).await),
        About::Item(item) => (alerted::vm_of_item(arm, item).await?, job_of(arm, alert, watch).await),
        About::Job(id) => {
            let job = alerted::job(arm, id).await?;
            (alerted::vm_of_job(arm, &job).await?, Some(job))
        }
        About::JobGuid(guid) => {
            let visible = azure.visible(arm, subscriptions).await?;
            (watch.notes)(Note::Reading("looking for the job in the vaults".to_owned()));
            let asked = JobsAsked { vm: None, vault: None, failed: false, running: false, since: LOOK_BACK };
            let jobs = inventory::jobs(arm, &visible, &asked)
                .await
                .map_err(|error| Error::new(Kind::Unread, format!("the vaults could not be listed: {error:?}")))?;
            let job = alerted::job(arm, &one_of(&jobs, guid)?).await?;
            (alerted::vm_of_job(arm, &job).await?, Some(job))
        }
    };
    // The same checks as of a VM that was typed: it exists, and is in the subscriptions that were given.
    let vm = azure.find_vm(arm, vm.as_str(), subscriptions).await?;
    Ok(Meant { why: named(&job), vm })
}

/// How a job ended, for people.
fn came_to(job: &Job) -> String {
    let code = job_code(job);
    let status = job.status.to_lowercase();
    if code.is_empty() { format!("is {}", safe(&status)) } else { format!("is {}: {}", safe(&status), safe(&code)) }
}

/// The job that an alert names beside its VM: only what is said of it depends on it.
async fn job_of(arm: &Arm, alert: &Alert, watch: &Watch) -> Option<Job> {
    let id = alert.job.as_ref()?;
    match alerted::job(arm, id).await {
        Ok(job) => Some(job),
        Err(error) => {
            (watch.notes)(Note::Warning(format!("the job of the alert was not read: {error}")));
            None
        }
    }
}

/// The one job whose id starts with this text.
///
/// # Errors
/// None, several, or the vaults could not be read.
pub fn one_of(found: &JobInventory, text: &str) -> Result<ResourceId, Error> {
    let fits: Vec<&JobRow> = found.jobs.iter().filter(|job| job.job.to_ascii_lowercase().starts_with(text)).collect();
    match fits.as_slice() {
        [job] => ResourceId::parse(&job.id).map_err(|error| Error::new(Kind::Bug, error.to_string())),
        [] => match found.not_read.first() {
            None => Err(Error::input(format!("no job since {} starts with {text}", found.since))
                .code("job_not_found")
                .hint("look further back with --since, or give the job's resource id")),
            Some(missing) => Err(Error::new(
                Kind::Unread,
                format!("no job that could be read starts with {text}; not read: {}: {}", missing.what, missing.why),
            )
            .code("not_listed")
            .hint("give the job's resource id")),
        },
        many => {
            let names: Vec<&str> = many.iter().map(|job| job.job.as_str()).collect();
            Err(Error::input(format!("{} jobs start with {text}: {}", names.len(), names.join(", ")))
                .code("job_ambiguous"))
        }
    }
}

impl From<AlertedError> for Error {
    fn from(error: AlertedError) -> Self {
        match error {
            AlertedError::Arm { what, error } => {
                let inner = Self::from(error);
                Self { message: format!("{what} could not be read: {}", inner.message), ..inner }
            }
            AlertedError::NoVm(why) => {
                Self::input(why).code("vm_not_found").hint("name the VM: azmend fix auto --vm VM")
            }
        }
    }
}
