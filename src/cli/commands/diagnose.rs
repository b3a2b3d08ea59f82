//! `azmend diagnose`: the checklist of one VM. It only reads (S1), inside the VM too.

use crate::arm::{ReadPost, ResourceId};
use crate::catalog::Catalog;
use crate::cli::args::DiagnoseArgs;
use crate::cli::azure::Azure;
use crate::cli::commands::fix::library;
use crate::cli::error::CliError;
use crate::cli::execute::Session;
use crate::engine::choose::choose;
use crate::engine::diagnose::{Ask, diagnose};
use crate::engine::planner::view_of;
use crate::facts::collect::{CollectOptions, collect};
use crate::facts::guest::{self, Guest};
use crate::facts::lockwatch::lock_watch;
use crate::facts::surroundings::around;
use crate::report;

/// Looks and says.
///
/// # Errors
/// Wrong input, no sign-in, or interrupted. What cannot be read is a line of the checklist.
pub async fn run(session: &Session, args: &DiagnoseArgs) -> Result<u8, CliError> {
    let library = library(session, args.playbooks.as_deref());
    let held = args.code.as_deref().map(known).transpose()?;
    Azure::check_names(&args.vm, &session.settings.subscriptions)?;
    let azure = session.azure()?;
    let asks: &[ReadPost] = if args.network { &[ReadPost::EffectiveNetworkRules] } else { &[] };
    let arm = azure.reader_within(asks, args.allow_guest)?;
    let (facts, around, watch, guest, at) = session
        .reading(Box::pin(async {
            azure.sign_in().await?;
            session.printer.dim(&format!("reading {} and its backup", args.vm.escape_debug()));
            let vm = azure.find_vm(&arm, &args.vm, &session.settings.subscriptions).await?;
            let before = arm.calls();
            let facts = collect(&arm, &vm, &CollectOptions { glance: true, ..CollectOptions::default() }).await;
            let around = around(&arm, &facts, args.network).await;
            tracing::info!(calls = arm.calls() - before, "ARM calls of the checklist");
            let watch = if args.locks { Some(lock_watch(&arm, &facts).await) } else { None };
            let guest = if args.allow_guest {
                session.printer.dim("looking inside the VM through Run Command, which takes about half a minute");
                Guest::Looked(guest::look(&arm, &facts).await)
            } else {
                Guest::NotAllowed
            };
            Ok((facts, around, watch, guest, arm.clock().now()))
        }))
        .await?;
    let view = view_of(&facts, &arm, &std::collections::BTreeSet::new());
    let choice = choose(&library, &facts, &view);
    let held = match (&args.job, held) {
        (Some(job), None) => Some(code_of(&facts, job)?),
        (_, held) => held,
    };
    let vm = if session.settings.sandbox() { args.vm.clone() } else { facts.id.to_string() };
    let vm = crate::text::shell_quote(&vm);
    let program = session.program();
    let ask = Ask {
        sandbox: session.settings.sandbox(),
        program: &program,
        code: held.as_deref(),
        vm: &vm,
        watch: watch.as_ref(),
        guest: &guest,
    };
    let told = diagnose(&facts, &around, &view, &choice, at, &ask);
    if session.printer.output() == crate::cli::settings::Output::Markdown {
        session.printer.data(&report::diagnosis::markdown(&told));
    } else if session.printer.for_people() {
        session.printer.data(&report::diagnosis::page(&told, session.printer.width()));
    } else {
        session.printer.json(&told);
    }
    Ok(told.exit_code)
}

/// The code as the catalogue spells it.
fn known(text: &str) -> Result<String, CliError> {
    let catalog = Catalog::get();
    let found = catalog.by_code(text).or_else(|| catalog.by_numeric(text.trim().parse().ok()?));
    found.map(|entry| entry.code.clone()).ok_or_else(|| {
        CliError::input(format!("{:?} is not a code that azmend knows", text.chars().take(80).collect::<String>()))
            .code("error_not_found")
            .hint(format!("look for it: azmend explain {}", crate::text::shell_quote(text)))
    })
}

/// The error of one of the VM's jobs, by its name or the beginning of it.
fn code_of(facts: &crate::facts::vm_facts::VmFacts, name: &str) -> Result<String, CliError> {
    let name = ResourceId::parse(name).map_or_else(|_| name.to_owned(), |id| id.name().to_owned()).to_lowercase();
    let items = facts.items.known().into_iter().flatten();
    let jobs = items.flat_map(|item| item.jobs.known().into_iter().flatten());
    let mut found = jobs.filter(|job| job.id.name().to_lowercase().starts_with(&name));
    let missing =
        |why: &str| CliError::input(why.to_owned()).code("job_not_found").hint("azmend jobs --vm VM lists them");
    match (found.next(), found.next()) {
        (Some(job), None) => {
            let code = crate::actions::backup::job_code(job);
            if code.is_empty() { Err(missing("this job names no error")) } else { Ok(code) }
        }
        (None, _) => Err(missing("the VM has no such job in the last 14 days")),
        (Some(_), Some(_)) => Err(missing("several jobs of the VM start with these characters")),
    }
}
