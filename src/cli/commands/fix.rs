//! `azmend fix PLAYBOOK --vm VM`: the main job. What it does is [`crate::api::fix`]; here is what is shown, asked and saved.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use super::from_alert;
pub use crate::api::fix::{AUTO, check_parameters, find, nothing_fits, reads_more};
use crate::api::fix::{Decided, FixOptions, library as shipped_and_own};
use crate::api::launch::deadline;
use crate::cli::args::FixArgs;
use crate::cli::error::CliError;
use crate::cli::execute::Session;
use crate::cli::no_plan::NoPlan;
use crate::cli::{files, jitter, store};
use crate::engine::plan::Plan;
use crate::engine::planner::Planned;
use crate::engine::result::RunResult;
use crate::playbook::library::Library;
use crate::text::{io_words, shell_quote};

/// Plans, and unless told otherwise asks and makes the changes.
///
/// # Errors
/// Nothing was changed then.
pub async fn run(session: &Session, args: FixArgs) -> Result<u8, CliError> {
    let library = library(session, args.playbooks.as_deref());
    let mut options = FixOptions { subscriptions: session.settings.subscriptions.clone(), ..of_args(&args)? };
    jitter::check(args.jitter.jitter, args.deadline)?;
    options.alert = args.alert.from_alert.as_deref().map(from_alert::read).transpose()?;
    let checked = options.check(&library)?;
    if let Some(result) = options.nothing(session.settings.sandbox()) {
        return Ok(session.finish(result));
    }
    let changes = !args.dry_run && args.plan_out.is_none();
    let state = if changes {
        // Without a place for the journal there will be no run: better said before the question than after it.
        Some(store::open(&session.settings).await?)
    } else {
        store::for_planning(&session.settings, &session.printer).await
    };
    if let Some(file) = &args.plan_out
        && file.symlink_metadata().is_ok()
    {
        return Err(exists(file));
    }
    let azure = session.azure()?;
    if changes {
        azure.keep()?;
    }
    let (started, stop_at) = (azure.clock().now(), deadline(&azure, args.deadline));
    jitter::wait(session, &azure, args.jitter.jitter).await?;
    let notes = session.notes();
    let proposal = session.reading(Box::pin(checked.propose(&azure, state.as_ref(), started, &notes))).await?;
    // What could not be read may be something to do: then the next command of a script is not for this.
    if let (Some(file), Planned::NothingToDo { why, not_read, .. }) = (&args.plan_out, &proposal.planned)
        && not_read.is_empty()
    {
        let nothing = NoPlan::new(proposal.ended, &proposal.world, &proposal.playbook, proposal.vm.as_str(), why);
        save(file, &nothing.file_text())?;
    }
    let plan = match proposal.decided()? {
        Decided::Plan(plan) => *plan,
        Decided::Ended { result, refused } => {
            if let Some(plan) = refused.as_deref().filter(|_| session.printer.for_people()) {
                session.printer.say(&session.plan_page(plan, session.printer.err_width()));
            }
            return Ok(session.finish(*result));
        }
    };
    if args.dry_run {
        let result = proposal.subject().planned(&plan, proposal.command(&options));
        return Ok(show_planned(session, result, &plan));
    }
    if let Some(file) = &args.plan_out {
        save(file, &plan.file_text())?;
        let next = format!("{} apply {}", session.program(), shell_quote(&file.display().to_string()));
        return Ok(show_planned(session, proposal.subject().saved(&plan, next), &plan));
    }
    session.confirm(&plan, args.yes).await?;
    session.start(&azure, plan, stop_at).await
}

/// The playbooks; what is wrong with the user's own is said and hides no other.
pub fn library(session: &Session, dir: Option<&Path>) -> Library {
    shipped_and_own(dir, &session.notes())
}

/// Shows a plan that is not applied now.
fn show_planned(session: &Session, result: RunResult, plan: &Plan) -> u8 {
    if !session.printer.for_people() {
        return session.finish(result);
    }
    session.printer.data(&session.plan_page(plan, session.printer.width()));
    if let Some(next) = &result.next {
        session.printer.sentence(&format!("nothing was changed; to apply it: {next}"));
    }
    result.exit_code
}

/// A plan that somebody may have approved is not replaced.
fn exists(file: &Path) -> CliError {
    CliError::input(format!("{} exists already: no plan is written over it", file.display()))
        .code("file_exists")
        .hint("choose another name, or delete the file")
}

fn save(file: &Path, text: &str) -> Result<(), CliError> {
    files::write_private_new(file, text).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => exists(file),
        _ => CliError::io(format!("cannot write {}: {}", file.display(), io_words(&error))),
    })
}

/// The options that a plan depends on, as words of a command.
pub fn options(args: &FixArgs) -> Vec<String> {
    of_args(args).map(|options| options.words()).unwrap_or_default()
}

/// What was typed, as the library takes it.
fn of_args(args: &FixArgs) -> Result<FixOptions, CliError> {
    Ok(FixOptions {
        playbook: args.playbook.clone().unwrap_or_else(|| AUTO.to_owned()),
        vm: args.vm.clone().unwrap_or_default(),
        alert: None,
        subscriptions: Vec::new(),
        set: parameters(&args.set)?,
        dry_run: args.dry_run,
        relock: args.relock,
        allow_guest: args.allow_guest,
        max_changes: args.max_changes,
        deadline: args.deadline,
        playbooks: args.playbooks.clone(),
        overrides: args.overrides.iter().copied().collect(),
        locks: args.locks.clone(),
        loop_guard: args.guard.guard(),
    })
}

/// `--set`, each once.
///
/// # Errors
/// When one is given twice.
pub fn parameters(set: &[(String, String)]) -> Result<BTreeMap<String, String>, CliError> {
    let mut out = BTreeMap::new();
    for (key, value) in set {
        if out.insert(key.clone(), value.clone()).is_some() {
            return Err(CliError::input(format!("--set {} is given twice", key.escape_debug())));
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_set_once() {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(parameters(&[pair("a", "1"), pair("b", "2")]).unwrap().len(), 2);
        assert!(parameters(&[pair("a", "1"), pair("a", "2")]).is_err());
    }
}
