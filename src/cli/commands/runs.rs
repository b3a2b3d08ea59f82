//! `azmend runs list | show | resume | undo | prune`.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::fleet;
use crate::api::launch::deadline;
use crate::api::runs::{self, RunLine, Taken};
use crate::api::stored::StoredRun;
use crate::arm::ResourceId;
use crate::cli::args::RunsCommand;
use crate::cli::azure::Azure;
use crate::cli::confirm::confirm;
use crate::cli::error::CliError;
use crate::cli::execute::Session;
use crate::cli::settings::Output;
use crate::cli::store;
use crate::clock::{Clock as _, SystemClock};
use crate::duration::Span;
use crate::engine::plan::Plan;
use crate::engine::result::RunResult;
use crate::engine::state::{Phase, RunPhase, RunState};
use crate::engine::{Entry, exit};
use crate::journal::{self, Integrity, JournalError, State, resolve_fleet_id, resolve_run_id};
use crate::report::lists::table;
use crate::report::plan::place;
use crate::report::planned::recorded;
use crate::text::{plural, safe};

/// Runs the command.
///
/// # Errors
/// Nothing was changed then.
pub async fn run(session: &Session, command: RunsCommand) -> Result<u8, CliError> {
    match command {
        RunsCommand::List => list(session).await,
        RunsCommand::Show { id } => show(session, &id).await,
        RunsCommand::Resume { id, yes, deadline } => resume(session, &id, yes, deadline).await,
        RunsCommand::Undo { id, yes } => undo(session, &id, yes).await,
        RunsCommand::Prune { older_than } => prune(session, older_than).await,
    }
}

async fn list(session: &Session) -> Result<u8, CliError> {
    let found = match store::existing(&session.settings).await? {
        Some(state) => runs::list(&state).await?,
        None => runs::Runs::default(),
    };
    for why in &found.skipped {
        session.printer.warn(why);
    }
    let lines = &found.runs;
    match session.printer.output() {
        Output::Table if lines.is_empty() => session.printer.note("no runs"),
        Output::Table => {
            let row = |line: &RunLine| {
                let vm = line.vm.as_deref().unwrap_or("?");
                let mut state = line.state.clone();
                if line.sandbox == Some(true) {
                    state.push_str(", sandbox");
                }
                if line.locks_off > 0 {
                    state.push_str(&format!(", {} off", plural(line.locks_off, "lock")));
                }
                if let Some(fleet) = &line.fleet_id {
                    state.push_str(&format!(", fleet {}", store::short(fleet)));
                }
                vec![
                    store::short(&line.run_id).to_owned(),
                    line.started.map(minute).unwrap_or_default(),
                    line.playbook.clone().unwrap_or_else(|| "?".to_owned()),
                    ResourceId::parse(vm).map_or_else(|_| vm.to_owned(), |id| id.name().to_owned()),
                    state,
                ]
            };
            let rows = lines.iter().map(row).collect();
            let heading = ["run", "started", "playbook", "vm", "state"];
            session.printer.data(&table(&heading, rows, session.printer.width()));
        }
        Output::Json => session.printer.json(&found),
        _ => lines.iter().for_each(|line| session.printer.json(line)),
    }
    Ok(exit::OK)
}

/// `2026-11-20 09:00Z`.
fn minute(at: Timestamp) -> String {
    let text: String = at.to_string().chars().take(16).collect();
    format!("{}Z", text.replacen('T', " ", 1))
}

async fn show(session: &Session, id: &str) -> Result<u8, CliError> {
    let state = store::with_runs(&session.settings).await?;
    let id = match (resolve_run_id(&state, id).await, resolve_fleet_id(&state, id).await) {
        (Ok(run), Ok(fleet)) => {
            let candidates = vec![run, fleet];
            return Err(JournalError::Ambiguous { prefix: id.to_owned(), candidates }.into());
        }
        (_, Ok(fleet)) => return fleet::show(session, &state, &fleet).await,
        (run, Err(_)) => run?,
    };
    let run = store::understand(&id, journal::load(&state, &id).await?)?;
    let mut result = recorded(&run.plan, &run.state, &run.id);
    if let Integrity::Edited { why, .. } = &run.loaded.integrity {
        result.warnings.push(format!("the journal was changed after it was written: {why}"));
    }
    // What the run came to is data; that it can be shown is success.
    session.show(result);
    Ok(exit::OK)
}

/// A run that is taken up, and the place of its journal.
async fn take(session: &Session, id: &str) -> Result<(Taken, State), CliError> {
    let state = store::with_runs(&session.settings).await?;
    Ok((runs::take(&state, id, session.settings.sandbox()).await?, state))
}

async fn resume(session: &Session, id: &str, yes: bool, stop_after: Option<Span>) -> Result<u8, CliError> {
    let (Taken { run, log }, state) = take(session, id).await?;
    runs::not_edited(&run, &session.program())?;
    let azure = session.azure()?;
    come_back(session, &azure, &run.state);
    let stop_at = deadline(&azure, stop_after);
    if let Err(why) = crate::engine::resume_check(&run.plan, &run.state, azure.clock().now()) {
        return Ok(session.finish(runs::not_resumed(&run, &why, azure.program())?));
    }
    session.reading(runs::same_world(&azure, &run.plan, false, &session.notes())).await?;
    let open = run.state.changes.values().filter(|change| !matches!(change.forward, Phase::Ended(_))).count();
    show_state(session, &run, yes);
    let what = if run.state.phase == RunPhase::Undoing {
        "Continue the undo".to_owned()
    } else {
        format!("Continue with {} of {}", plural(open, "open change"), run.state.changes.len())
    };
    let question = format!("{what} on {} in {}?", safe(run.plan.vm.name()), place(run.plan.world.sandbox));
    confirm(&session.printer, yes, &question).await?;
    session.enter(&azure, &state, (run.plan, log), Entry::Resume, stop_at).await
}

async fn undo(session: &Session, id: &str, yes: bool) -> Result<u8, CliError> {
    let (Taken { run, log }, state) = take(session, id).await?;
    let azure = session.azure()?;
    session.reading(runs::same_world(&azure, &run.plan, true, &session.notes())).await?;
    let off = store::locks_off(&run.loaded);
    let known: Vec<&str> = run.state.locks_off().into_iter().map(|(id, _)| id).collect();
    // Of an edited journal only the beginning is relied on; what stands behind is at least told.
    for (_, lock) in off.iter().filter(|(id, _)| !known.contains(&id.as_str())) {
        session.printer.warn(&format!("the journal is damaged; the lock {} may be off too", lock.id.name()));
        session.printer.hint(&format!("by hand: {}", crate::actions::locks::recreate_command(lock)));
    }
    show_state(session, &run, yes);
    let question = format!(
        "Undo what can be undone of this run ({}) on {} in {}?",
        plural(known.len(), "lock"),
        safe(run.plan.vm.name()),
        place(run.plan.world.sandbox)
    );
    confirm(&session.printer, yes, &question).await?;
    session.enter(&azure, &state, (run.plan, log), Entry::Undo, None).await
}

/// The run so far, for the person who is asked.
fn show_state(session: &Session, run: &StoredRun, yes: bool) {
    if !(yes && session.printer.quiet()) {
        // The next step is what is asked for right now.
        let result = RunResult { next: None, ..recorded(&run.plan, &run.state, &run.id) };
        session.printer.say(&crate::report::result(&result, session.printer.err_width()));
    }
}

/// Says until when the run wanted to wait.
fn come_back(session: &Session, azure: &Azure, state: &RunState) {
    let RunPhase::Paused { retry_after, .. } = &state.phase else { return };
    if runs::advance(azure, state) {
        session.printer.note(&format!("sandbox: time advances to {}", minute(*retry_after)));
    } else if *retry_after > azure.clock().now() {
        session.printer.note(&format!("the run can be resumed from {} on", minute(*retry_after)));
    }
}

async fn prune(session: &Session, older_than: Span) -> Result<u8, CliError> {
    let Some(state) = store::existing(&session.settings).await? else {
        return pruned(session, &journal::Pruned::default());
    };
    let may_go = |loaded: &journal::Loaded| {
        if !store::locks_off(loaded).is_empty() {
            return Err("it has locks off".to_owned());
        }
        let over = loaded.records.iter().rev().find_map(|record| match &record.event {
            journal::Event::Finished { .. } => Some(true),
            journal::Event::Warned { .. } => None,
            _ => Some(false),
        });
        if over == Some(true) || loaded.records.is_empty() { Ok(()) } else { Err("it has not ended".to_owned()) }
    };
    let done = journal::prune(&state, older_than, SystemClock.now(), false, may_go).await?;
    fleet::forget_fleets_without_runs(&state, older_than).await?;
    pruned(session, &done)
}

fn pruned(session: &Session, done: &journal::Pruned) -> Result<u8, CliError> {
    for kept in &done.kept {
        session.printer.note(&format!("kept {}: {}", store::short(&kept.name), kept.why));
    }
    if session.printer.for_people() {
        session.printer.data(&format!("{} removed", plural(done.removed.len(), "run")));
    } else {
        let kept: Vec<Value> = done.kept.iter().map(|kept| json!({ "run_id": kept.name, "why": kept.why })).collect();
        session.printer.json(&json!({ "schema": "azmend.pruned/v1", "removed": done.removed, "kept": kept }));
    }
    Ok(exit::OK)
}

/// The sandbox's runs of one estate go with its world: what they could take back is no longer there.
///
/// # Errors
/// When the state directory cannot be used.
pub async fn forget_sandbox_runs(session: &Session, digest: &str) -> Result<usize, CliError> {
    let Some(state) = store::existing(&session.settings).await? else { return Ok(0) };
    let may_go = |loaded: &journal::Loaded| {
        let plan = Plan::parse(&loaded.plan_json).map_err(|error| error.to_string())?;
        if plan.world.sandbox && plan.world.estate_digest == digest {
            Ok(())
        } else {
            Err("of another world".to_owned())
        }
    };
    // Later than any record: in the sandbox times may lie ahead of the machine's.
    let gone = journal::prune(&state, Span::from_secs(0), Timestamp::MAX, false, may_go).await?.removed.len();
    let of_world = |record: &journal::FleetRecord| record.sandbox && record.estate_digest == digest;
    journal::prune_fleets(&state, Span::from_secs(0), Timestamp::MAX, of_world).await?;
    Ok(gone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_in_lists_are_short() {
        assert_eq!(minute("2026-11-20T09:05:59.123Z".parse().unwrap()), "2026-11-20 09:05Z");
    }
}
