//! `azmend fix PLAYBOOK --vm VM`: the main job. What it does is [`crate::api::fix`]; here is what is shown, asked and saved.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;

pub use crate::api::fix::{AUTO, check_parameters, find, nothing_fits, reads_more};
use crate::api::fix::{Decided, FixOptions, Proposal, library as shipped_and_own};
use crate::api::launch::deadline;
use crate::cli::args::FixArgs;
use crate::cli::error::CliError;
use crate::cli::execute::Session;
use crate::cli::{files, store};
use crate::engine::Earlier;
use crate::engine::plan::{Plan, World};
use crate::playbook::library::Library;
use crate::report;
use crate::text::shell_quote;

/// Plans, and unless told otherwise asks and makes the changes.
///
/// # Errors
/// Nothing was changed then.
pub async fn run(session: &Session, args: FixArgs) -> Result<u8, CliError> {
    let library = library(session, args.playbooks.as_deref());
    let options = FixOptions { subscriptions: session.settings.subscriptions.clone(), ..of_args(&args)? };
    let checked = options.check(&library)?;
    let changes = !args.dry_run && args.plan_out.is_none();
    if changes {
        // Without a place for the journal there will be no run: better said before the question than after it.
        store::open(&session.settings).await?;
    }
    let azure = session.azure()?;
    if changes {
        azure.keep()?;
    }
    let stop_at = deadline(&azure, args.deadline);
    let state = store::existing(&session.settings).await.ok().flatten();
    let notes = session.notes();
    let proposal = session.reading(Box::pin(checked.propose(&azure, state.as_ref(), &notes))).await?;
    let plan = match proposal.decided()? {
        Decided::Plan(plan) => *plan,
        Decided::Ended { result, refused } => {
            if let Some(plan) = refused.as_deref().filter(|_| session.printer.for_people()) {
                session.printer.say(&report::plan(plan, session.printer.err_width()));
            }
            return Ok(session.finish(*result));
        }
    };
    if args.dry_run {
        return Ok(shown(session, &proposal, &plan, proposal.command(&options)));
    }
    if let Some(file) = &args.plan_out {
        save(file, &plan)?;
        let next = format!("{} apply {}", session.program(), shell_quote(&file.display().to_string()));
        return Ok(shown(session, &proposal, &plan, next));
    }
    session.confirm(&plan, args.yes).await?;
    session.start(&azure, plan, stop_at).await
}

/// The playbooks; what is wrong with the user's own is said and hides no other.
pub fn library(session: &Session, dir: Option<&Path>) -> Library {
    shipped_and_own(dir, &session.notes())
}

/// What earlier runs in this state did in this Azure; nothing when there is no state yet.
pub async fn earlier(session: &Session, world: &World, now: Timestamp) -> Earlier {
    match store::existing(&session.settings).await {
        Ok(Some(state)) => Earlier::read(&state, world, None, now).await,
        _ => Earlier::default(),
    }
}

/// Shows a plan that is not applied now.
fn shown(session: &Session, proposal: &Proposal, plan: &Plan, next: String) -> u8 {
    let result = proposal.subject().planned(plan, next);
    if !session.printer.for_people() {
        return session.finish(result);
    }
    session.printer.data(&report::plan(plan, session.printer.width()));
    if let Some(next) = &result.next {
        session.printer.note(&format!("nothing was changed; to apply it: {next}"));
    }
    result.exit_code
}

fn save(file: &Path, plan: &Plan) -> Result<(), CliError> {
    let mut text = serde_json::to_string_pretty(plan)
        .map_err(|error| CliError::io(format!("the plan cannot be written: {error}")))?;
    text.push('\n');
    files::write_private(file, &text)
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
