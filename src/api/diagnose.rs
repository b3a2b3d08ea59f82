//! `diagnose`: the checklist of one VM. It only reads (S1), inside the VM too.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::azure::Azure;
use super::error::Error;
use super::fix::library;
use super::watch::{Note, Watch};
use crate::arm::{ReadPost, ResourceId};
use crate::catalog::Catalog;
use crate::engine::choose::choose;
use crate::engine::diagnose::{Ask, Diagnosis, diagnose as judge};
use crate::engine::planner::view_of;
use crate::facts::collect::{CollectOptions, collect};
use crate::facts::guest::{self, Guest};
use crate::facts::lockwatch::lock_watch;
use crate::facts::surroundings::around;
use crate::facts::vm_facts::VmFacts;
use crate::playbook::library::Library;
use crate::text::shell_quote;

/// What is diagnosed, and how closely.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DiagnoseOptions {
    /// The VM: name, group/name or resource id.
    pub vm: String,
    /// Subscriptions to look in, ids or names; empty for all.
    pub subscriptions: Vec<String>,
    /// An error that someone holds, a code or a number: it is checked first.
    pub code: Option<String>,
    /// The job whose error comes first: its id or the first characters of it.
    pub job: Option<String>,
    /// Ask for the effective network rules too.
    pub network: bool,
    /// Also look for who recreates locks.
    pub locks: bool,
    /// Also look inside the VM: run a script that only reads, through Run Command.
    pub allow_guest: bool,
    /// A directory with playbooks of the user's own.
    pub playbooks: Option<PathBuf>,
}

/// Reads everything about one VM and says what is healthy, what stops its backup, and what could not be checked.
///
/// # Errors
/// Wrong input, no sign-in, or interrupted. What cannot be read is a line of the checklist.
pub async fn diagnose(azure: &Azure, options: &DiagnoseOptions, watch: &Watch) -> Result<Diagnosis, Error> {
    let library = library(options.playbooks.as_deref(), watch);
    let request = check(options)?;
    watch.reading(Box::pin(request.read(azure, &library, watch))).await
}

/// Options that were checked before anything is sent.
#[derive(Debug)]
pub struct Checked<'o> {
    options: &'o DiagnoseOptions,
    code: Option<String>,
}

/// Checks what the user gave.
///
/// # Errors
/// A code that no one knows, names that cannot be.
pub fn check(options: &DiagnoseOptions) -> Result<Checked<'_>, Error> {
    let code = options.code.as_deref().map(known).transpose()?;
    Azure::check_names(&options.vm, &options.subscriptions)?;
    Ok(Checked { options, code })
}

impl Checked<'_> {
    /// Reads and judges.
    ///
    /// # Errors
    /// As [`diagnose`].
    pub async fn read(&self, azure: &Azure, library: &Library, watch: &Watch) -> Result<Diagnosis, Error> {
        let options = self.options;
        let asks: &[ReadPost] = if options.network { &[ReadPost::EffectiveNetworkRules] } else { &[] };
        let arm = azure.reader_within(asks, options.allow_guest)?;
        azure.sign_in().await?;
        (watch.notes)(Note::Reading(format!("reading {} and its backup", options.vm.escape_debug())));
        let vm = azure.find_vm(&arm, &options.vm, &options.subscriptions).await?;
        let before = arm.calls();
        let facts = collect(&arm, &vm, &CollectOptions { glance: true, ..CollectOptions::default() }).await;
        let around = around(&arm, &facts, options.network).await;
        tracing::info!(calls = arm.calls() - before, "ARM calls of the checklist");
        let locks = if options.locks { Some(lock_watch(&arm, &facts).await) } else { None };
        let guest = if options.allow_guest {
            let what = "looking inside the VM through Run Command, which takes about half a minute";
            (watch.notes)(Note::Reading(what.to_owned()));
            Guest::Looked(guest::look(&arm, &facts).await)
        } else {
            Guest::NotAllowed
        };
        let at = arm.clock().now();
        let view = view_of(&facts, &arm, &BTreeSet::new());
        let choice = choose(library, &facts, &view);
        let held = match (&options.job, &self.code) {
            (Some(job), None) => Some(code_of(&facts, job)?),
            (_, held) => held.clone(),
        };
        let sandbox = azure.is_sandbox();
        let vm = shell_quote(&if sandbox { options.vm.clone() } else { facts.id.to_string() });
        let ask = Ask {
            sandbox,
            program: azure.program(),
            code: held.as_deref(),
            vm: &vm,
            watch: locks.as_ref(),
            guest: &guest,
        };
        Ok(judge(&facts, &around, &view, &choice, at, &ask))
    }
}

/// The code as the catalogue spells it.
fn known(text: &str) -> Result<String, Error> {
    let catalog = Catalog::get();
    let found = catalog.by_code(text).or_else(|| catalog.by_numeric(text.trim().parse().ok()?));
    found.map(|entry| entry.code.clone()).ok_or_else(|| {
        Error::input(format!("{:?} is not a code that azmend knows", text.chars().take(80).collect::<String>()))
            .code("error_not_found")
            .hint(format!("look for it: azmend explain {}", shell_quote(text)))
    })
}

/// The error of one of the VM's jobs, by its name or the beginning of it.
fn code_of(facts: &VmFacts, name: &str) -> Result<String, Error> {
    let name = ResourceId::parse(name).map_or_else(|_| name.to_owned(), |id| id.name().to_owned()).to_lowercase();
    let items = facts.items.known().into_iter().flatten();
    let jobs = items.flat_map(|item| item.jobs.known().into_iter().flatten());
    let mut found = jobs.filter(|job| job.id.name().to_lowercase().starts_with(&name));
    let missing = |why: &str| Error::input(why.to_owned()).code("job_not_found").hint("azmend jobs --vm VM lists them");
    match (found.next(), found.next()) {
        (Some(job), None) => {
            let code = crate::actions::backup::job_code(job);
            if code.is_empty() { Err(missing("this job names no error")) } else { Ok(code) }
        }
        (None, _) => Err(missing("the VM has no such job in the last 14 days")),
        (Some(_), Some(_)) => Err(missing("several jobs of the VM start with these characters")),
    }
}
