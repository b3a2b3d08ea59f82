//! `fix --from-alert`: which VM an alert is about. What is then done for it is `fix`'s, as always.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::time::Duration;

use super::jobs::one_of;
use super::vms::visible;
use crate::actions::backup::job_code;
use crate::arm::model::Job;
use crate::arm::{Arm, ResourceId};
use crate::cli::azure::Azure;
use crate::cli::error::{CliError, Kind};
use crate::cli::execute::Session;
use crate::engine::alert::{self, About, Alert, Alerts, MOST_BYTES};
use crate::engine::{RunResult, Status, exit};
use crate::facts::alerted::{self, AlertedError};
use crate::facts::inventory::{self, JobsAsked};
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

/// Reads the alert: of a file, of stdin, or the id of a job as it was typed.
///
/// # Errors
/// When it cannot be read, or is no alert about the backup of VMs. Nothing was asked of Azure.
pub fn read(from: &Path) -> Result<Alerts, CliError> {
    let bytes = bytes_of(from)?;
    let alerts = alert::parse(&bytes).map_err(|error| {
        let hint = "--from-alert reads a common alert of Azure Monitor, an Event Grid event, or the id of a backup job";
        CliError::input(error.to_string()).code("alert").hint(hint)
    })?;
    if alerts.fired.is_empty() && alerts.resolved == 0 {
        let why = alerts.other.join("; ");
        let why = if why.is_empty() { "it names nothing".to_owned() } else { why };
        return Err(CliError::input(format!("the alert is not about the backup of a VM: {why}"))
            .code("alert_other")
            .hint("to repair a VM, name it: azmend fix auto --vm VM"));
    }
    Ok(alerts)
}

fn bytes_of(from: &Path) -> Result<Vec<u8>, CliError> {
    let unreadable =
        |what: &str, error: &io::Error| CliError::input(format!("{what} cannot be read: {error}")).code("alert");
    let mut bytes = Vec::new();
    let typed = from.to_str().unwrap_or_default();
    if typed == "-" {
        io::stdin().lock().take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(|error| unreadable("stdin", &error))?;
    } else {
        let shown = safe(&from.display().to_string());
        match File::open(from) {
            Ok(file) => {
                file.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(|error| unreadable(&shown, &error))?;
            }
            // The id of a job, where no file has that name.
            Err(_) if alert::parse(typed.as_bytes()).is_ok_and(|alerts| alerts.fired.len() == 1) => {
                bytes = typed.as_bytes().to_vec();
            }
            Err(error) => return Err(unreadable(&shown, &error)),
        }
    }
    if bytes.len() as u64 > MOST_BYTES {
        return Err(
            CliError::input("the alert is larger than 1 MB, more than Azure Monitor or Event Grid sends").code("alert")
        );
    }
    Ok(bytes)
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
pub async fn vm(session: &Session, azure: &Azure, arm: &Arm, alerts: &Alerts) -> Result<Meant, CliError> {
    if alerts.resolved > 0 {
        session.printer.note(&format!("{} skipped: resolved", plural(alerts.resolved, "alert")));
    }
    for other in &alerts.other {
        session.printer.warn(&format!("skipped: {other}"));
    }
    let (mut found, mut failed): (Vec<Meant>, Vec<CliError>) = (Vec::new(), Vec::new());
    for alert in &alerts.fired {
        match one(session, azure, arm, alert).await {
            Ok(meant) if found.iter().any(|known| known.vm == meant.vm) => {}
            Ok(meant) => found.push(meant),
            Err(error) => failed.push(error),
        }
    }
    let by_name = |meant: &Meant| format!("{} fix auto --vm {}", session.program(), shell_quote(meant.vm.as_str()));
    if let Some(first) = failed.pop() {
        // What was found is not lost with what was not.
        let all = found.iter().map(by_name).fold(first, CliError::hint);
        return Err(failed.into_iter().fold(all, |all, error| all.hint(format!("also: {error}"))));
    }
    match found.as_slice() {
        [meant] => {
            session.printer.note(&meant.why);
            Ok(meant.clone())
        }
        several => {
            let error =
                CliError::input(format!("the alerts are about {} VMs, and one is repaired at a time", several.len()));
            Err(several.iter().map(by_name).fold(error.code("several_vms"), CliError::hint))
        }
    }
}

/// The VM of one alert.
async fn one(session: &Session, azure: &Azure, arm: &Arm, alert: &Alert) -> Result<Meant, CliError> {
    let named = |job: &Option<Job>| {
        let at = alert.at.map(|at| format!(" of {at:.0}")).unwrap_or_default();
        let error = match job {
            Some(job) => format!("; the job {} {}", job.id.name(), came_to(job)),
            None => alert.code.as_ref().map(|code| format!("; it names {code}")).unwrap_or_default(),
        };
        format!("alert: {}{at}{error}", safe(&alert.name))
    };
    let (vm, job) = match &alert.about {
        About::Vm(vm) => (vm.clone(), job_of(session, arm, alert).await),
        About::Item(item) => (alerted::vm_of_item(arm, item).await?, job_of(session, arm, alert).await),
        About::Job(id) => {
            let job = alerted::job(arm, id).await?;
            (alerted::vm_of_job(arm, &job).await?, Some(job))
        }
        About::JobGuid(guid) => {
            let visible = visible(session, azure, arm).await?;
            session.printer.dim("looking for the job in the vaults");
            let asked = JobsAsked { vm: None, vault: None, failed: false, running: false, since: LOOK_BACK };
            let jobs = inventory::jobs(arm, &visible, &asked)
                .await
                .map_err(|error| CliError::new(Kind::Unread, format!("the vaults could not be listed: {error:?}")))?;
            let job = alerted::job(arm, &one_of(&jobs, guid)?).await?;
            (alerted::vm_of_job(arm, &job).await?, Some(job))
        }
    };
    // The same checks as of a VM that was typed: it exists, and is in the subscriptions that were given.
    let vm = azure.find_vm(arm, vm.as_str(), &session.settings.subscriptions).await?;
    Ok(Meant { why: named(&job), vm })
}

/// How a job ended, for people.
fn came_to(job: &Job) -> String {
    let code = job_code(job);
    let status = job.status.to_lowercase();
    if code.is_empty() { format!("is {}", safe(&status)) } else { format!("is {}: {}", safe(&status), safe(&code)) }
}

/// The job that an alert names beside its VM: only what is said of it depends on it.
async fn job_of(session: &Session, arm: &Arm, alert: &Alert) -> Option<Job> {
    let id = alert.job.as_ref()?;
    match alerted::job(arm, id).await {
        Ok(job) => Some(job),
        Err(error) => {
            session.printer.warn(&format!("the job of the alert was not read: {error}"));
            None
        }
    }
}

impl From<AlertedError> for CliError {
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
