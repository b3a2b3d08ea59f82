//! `azmend runs list | show | resume | undo | prune`.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::fleet;
use crate::api::runs::{self, RunLine, Taken};
use crate::arm::ResourceId;
use crate::cli::args::RunsCommand;
use crate::cli::azure::Azure;
use crate::cli::confirm::confirm;
use crate::cli::error::CliError;
use crate::cli::execute::{Session, deadline};
use crate::cli::settings::Output;
use crate::cli::store::{self, StoredRun};
use crate::clock::{Clock as _, SystemClock};
use crate::duration::Span;
use crate::engine::plan::Plan;
use crate::engine::result::RunResult;
use crate::engine::state::{Phase, RunPhase, RunState};
use crate::engine::{Entry, exit};
use crate::journal::{self, Integrity, JournalError, Loaded, RunFile, State, resolve_fleet_id, resolve_run_id};
use crate::report::lists::{Column, table};
use crate::report::plan::place;
use crate::report::planned::recorded;
use crate::text::{plural, safe, utc};

/// Runs the command.
///
/// # Errors
/// Nothing was changed then.
pub async fn run(session: &Session, command: RunsCommand) -> Result<u8, CliError> {
    match command {
        RunsCommand::List => list(session).await,
        RunsCommand::Show { id } => show(session, &id).await,
        RunsCommand::Resume { id, yes, deadline } => resume(session, id.as_deref(), yes, deadline).await,
        RunsCommand::Undo { id, yes } => undo(session, id.as_deref(), yes).await,
        RunsCommand::Prune { older_than } => prune(session, older_than).await,
    }
}

const COLUMNS: [Column<'_>; 5] =
    [Column::Id("run"), Column::Id("started"), Column::Id("playbook"), Column::Id("vm"), Column::Text("state")];

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
            let ids = lines.iter().map(|line| line.run_id.as_str());
            let fleets = lines.iter().filter_map(|line| line.fleet_id.as_deref());
            let ids: std::collections::BTreeSet<&str> = ids.chain(fleets).collect();
            let letters = store::telling(&ids.into_iter().collect::<Vec<_>>());
            let short = |id: &str| id.get(..letters).unwrap_or(id).to_owned();
            let row = |line: &RunLine| {
                let vm = line.vm.as_deref().unwrap_or("?");
                let mut state = line.word.clone();
                if line.sandbox == Some(true) {
                    state.push_str(", sandbox");
                }
                if line.locks_off > 0 {
                    state.push_str(&format!(", {} off", plural(line.locks_off, "lock")));
                }
                if let Some(fleet) = &line.fleet_id {
                    state.push_str(&format!(", fleet {}", short(fleet)));
                }
                vec![
                    short(&line.run_id),
                    line.started.map(utc).unwrap_or_default(),
                    line.playbook.clone().unwrap_or_else(|| "?".to_owned()),
                    ResourceId::parse(vm).map_or_else(|_| vm.to_owned(), |id| id.name().to_owned()),
                    state,
                ]
            };
            let rows: Vec<Vec<String>> = lines.iter().map(row).collect();
            session.printer.data(&table(&COLUMNS, &rows, session.printer.width()));
        }
        Output::Json | Output::Yaml => session.printer.json(&found),
        _ => lines.iter().for_each(|line| session.printer.json(line)),
    }
    Ok(exit::OK)
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
    under_way(session, &state, &run, &mut result).await;
    // What the run came to is data; that it can be shown is success.
    session.show(result);
    Ok(exit::OK)
}

/// Of a run whose journal has no end: whether its process still runs.
async fn under_way(session: &Session, state: &State, run: &StoredRun, result: &mut RunResult) {
    let Some(error) = result.error.as_mut().filter(|error| error.code == "running") else { return };
    match RunFile::holder(state, &run.id).await {
        Ok(Some(holder)) => {
            error.message = format!("its process is running ({holder})");
            result.next = None;
        }
        Ok(None) => {
            error.code = "interrupted".to_owned();
            error.message = "its process ended before the run did: it was killed, or the machine stopped".to_owned();
            result.next = Some(format!("{} runs resume {}", session.program(), run.id));
        }
        Err(_) => {}
    }
}

/// The run that is meant: the one that was named, else the last one of this world that fits and that no process works on.
async fn meant(
    session: &Session,
    state: &State,
    id: Option<&str>,
    verb: &str,
    fits: impl Fn(&StoredRun) -> bool,
) -> Result<String, CliError> {
    if let Some(id) = id {
        return Ok(resolve_run_id(state, id).await?);
    }
    let Some(entry) = runs::last(state, session.settings.sandbox(), fits).await? else {
        let place = place(session.settings.sandbox());
        return Err(CliError::input(format!("no run in {place} can be {verb}"))
            .code("run_not_found")
            .hint(format!("the runs are listed by: {} runs list", session.program())));
    };
    let vm = entry.vm.as_deref().and_then(|id| id.rsplit('/').next()).unwrap_or("?");
    let playbook = entry.playbook.as_deref().unwrap_or("?");
    let started = entry.started.map(utc).unwrap_or_default();
    session.printer.statement(&format!(
        "the last run that can be {verb}: {} ({} on {}, started {started})",
        entry.id,
        safe(playbook),
        safe(vm)
    ));
    Ok(entry.id)
}

/// A run that is taken up, and the place of its journal.
async fn take(
    session: &Session,
    id: Option<&str>,
    verb: &str,
    understand: fn(&str, Loaded) -> Result<StoredRun, CliError>,
    fits: impl Fn(&StoredRun) -> bool,
) -> Result<(Taken, State), CliError> {
    let state = store::with_runs(&session.settings).await?;
    let id = meant(session, &state, id, verb, fits).await?;
    Ok((runs::take(&state, &id, understand, session.settings.here()).await?, state))
}

async fn resume(session: &Session, id: Option<&str>, yes: bool, stop_after: Option<Span>) -> Result<u8, CliError> {
    let (Taken { run, log }, state) =
        take(session, id, "resumed", store::understand, |run| run.state.resumable()).await?;
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

async fn undo(session: &Session, id: Option<&str>, yes: bool) -> Result<u8, CliError> {
    let (Taken { run, log }, state) = take(session, id, "undone", store::understand_to_undo, runs::undoable).await?;
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
    if run.plan.is_lost() {
        session.printer.warn("the plan of this run is missing or was changed: only its locks can be restored");
    } else if !(yes && session.printer.quiet()) {
        // The next step is what is asked for right now.
        let result = RunResult { next: None, ..recorded(&run.plan, &run.state, &run.id) };
        session.printer.say(&crate::report::result(&result, session.printer.err_width()));
    }
}

/// Says until when the run wanted to wait.
fn come_back(session: &Session, azure: &Azure, state: &RunState) {
    let RunPhase::Paused { retry_after, .. } = &state.phase else { return };
    if runs::advance(azure, state) {
        session.printer.note(&format!("sandbox: time advances to {}", utc(*retry_after)));
    } else if *retry_after > azure.clock().now() {
        session.printer.note(&format!("the run can be resumed from {} on", utc(*retry_after)));
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
