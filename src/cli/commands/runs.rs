//! `azmend runs list | show | resume | undo | prune`.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::fleet;
use crate::actions::change::{Change, Undo};
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
use crate::engine::result::{ErrorResult, RunResult, Status};
use crate::engine::state::{ChangeState, Phase, RunPhase, RunState};
use crate::engine::{Entry, exit};
use crate::journal::{
    self, Integrity, JournalError, Loaded, RunEntry, RunFile, State, resolve_fleet_id, resolve_run_id,
};
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

/// A line of the list.
struct Line {
    entry: RunEntry,
    /// Its state as the journal has it.
    state: String,
    /// The same for people, who see at once that a process was killed.
    word: String,
    /// Whether a process works on it, as far as that can be told.
    held: Option<bool>,
    locks_off: usize,
    /// The fleet that it belongs to.
    fleet: Option<String>,
}

async fn lines(session: &Session, state: &State) -> Result<(Vec<Line>, Vec<journal::Skipped>), CliError> {
    let mut fleets = fleet::fleet_of_each_run(session, state).await;
    let list = journal::survey(state, |entry, loaded| {
        let locks_off = store::locks_off(&loaded).len();
        let run = store::understand(&entry.id, loaded).ok().filter(|_| entry.damaged.is_none());
        (entry, run.map(|run| run.state), locks_off)
    });
    let list = list.await?;
    let mut lines = Vec::with_capacity(list.found.len());
    for (entry, run, locks_off) in list.found {
        let held = store::held(state, &entry.id).await;
        let (own, word) = run.map_or(("damaged", "damaged"), |run| (run.word(), store::word(&run, held)));
        let (state, word) = (own.to_owned(), word.to_owned());
        let fleet = fleets.remove(&entry.id);
        lines.push(Line { entry, state, word, held, locks_off, fleet });
    }
    Ok((lines, list.skipped))
}

async fn list(session: &Session) -> Result<u8, CliError> {
    let (lines, skipped) = match store::existing(&session.settings).await? {
        Some(state) => lines(session, &state).await?,
        None => Default::default(),
    };
    for skipped in skipped {
        session.printer.warn(&format!("{} is not a run: {}", skipped.name, skipped.why));
    }
    match session.printer.output() {
        Output::Table if lines.is_empty() => session.printer.note("no runs"),
        Output::Table => {
            let ids = lines.iter().map(|line| line.entry.id.as_str());
            let fleets = lines.iter().filter_map(|line| line.fleet.as_deref());
            let ids: std::collections::BTreeSet<&str> = ids.chain(fleets).collect();
            let letters = store::telling(&ids.into_iter().collect::<Vec<_>>());
            let short = |id: &str| id.get(..letters).unwrap_or(id).to_owned();
            let row = |line: &Line| {
                let entry = &line.entry;
                let vm = entry.vm.as_deref().unwrap_or("?");
                let mut state = line.word.clone();
                if entry.sandbox == Some(true) {
                    state.push_str(", sandbox");
                }
                if line.locks_off > 0 {
                    state.push_str(&format!(", {} off", plural(line.locks_off, "lock")));
                }
                if let Some(fleet) = &line.fleet {
                    state.push_str(&format!(", fleet {}", short(fleet)));
                }
                vec![
                    short(&entry.id),
                    entry.started.map(utc).unwrap_or_default(),
                    entry.playbook.clone().unwrap_or_else(|| "?".to_owned()),
                    ResourceId::parse(vm).map_or_else(|_| vm.to_owned(), |id| id.name().to_owned()),
                    state,
                ]
            };
            let rows: Vec<Vec<String>> = lines.iter().map(row).collect();
            session.printer.data(&table(&COLUMNS, &rows, session.printer.width()));
        }
        Output::Json => {
            let list: Vec<Value> = lines.iter().map(object).collect();
            session.printer.json(&json!({ "schema": "azmend.runs/v1", "runs": list }));
        }
        _ => lines.iter().for_each(|line| session.printer.json(&object(line))),
    }
    Ok(exit::OK)
}

fn object(line: &Line) -> Value {
    json!({
        "run_id": line.entry.id,
        "started": line.entry.started,
        "last": line.entry.last_at(),
        "playbook": line.entry.playbook,
        "vm": line.entry.vm,
        "fleet_id": line.fleet,
        "sandbox": line.entry.sandbox,
        "state": line.state,
        "process": line.held,
        "locks_off": line.locks_off,
        "damaged": line.entry.damaged,
    })
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
    let fitting = journal::survey(state, |entry, loaded| {
        let run = store::understand(&entry.id, loaded).ok()?;
        (entry.sandbox == Some(session.settings.sandbox()) && fits(&run)).then_some(entry)
    });
    let mut found = None;
    for entry in fitting.await?.found.into_iter().flatten() {
        if store::held(state, &entry.id).await == Some(false) {
            found = Some(entry);
            break;
        }
    }
    let Some(entry) = found else {
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

/// A run that is taken up: held by this process.
struct Taken {
    run: StoredRun,
    log: RunFile,
    state: State,
}

async fn take(
    session: &Session,
    id: Option<&str>,
    verb: &str,
    understand: fn(&str, Loaded) -> Result<StoredRun, CliError>,
    fits: impl Fn(&StoredRun) -> bool,
) -> Result<Taken, CliError> {
    let state = store::with_runs(&session.settings).await?;
    let id = meant(session, &state, id, verb, fits).await?;
    let (log, loaded) = RunFile::open(&state, &id).await?;
    let run = understand(&id, loaded)?;
    if session.settings.elsewhere(run.plan.world.sandbox) {
        let there = place(run.plan.world.sandbox);
        let hint = if run.plan.world.sandbox { "add --sandbox" } else { "omit --sandbox" };
        return Err(CliError::refused(format!(
            "the run {} was made in {there}, this is {}",
            store::short(&id),
            place(session.settings.sandbox())
        ))
        .code("s13.world")
        .hint(hint));
    }
    Ok(Taken { run, log, state })
}

/// The world must be the run's (S13). A removed lock can be put back by another identity: it is asked of undo alone.
async fn same_world(session: &Session, azure: &Azure, plan: &Plan, any_identity: bool) -> Result<(), CliError> {
    let arm = azure.reader()?;
    let mut world = session
        .reading(async {
            azure.sign_in().await?;
            Ok(azure.world(&arm, plan.vm.subscription()).await)
        })
        .await?;
    if any_identity {
        world.identity.clone_from(&plan.world.identity);
    }
    match plan.world.difference(&world) {
        None => Ok(()),
        Some(why) => Err(CliError::refused(format!("the run is for another place: {why}")).code("s13.world")),
    }
}

async fn resume(session: &Session, id: Option<&str>, yes: bool, stop_after: Option<Span>) -> Result<u8, CliError> {
    let Taken { run, log, state } =
        take(session, id, "resumed", store::understand, |run| run.state.resumable()).await?;
    if let Integrity::Edited { why, .. } = &run.loaded.integrity {
        return Err(CliError::refused(format!(
            "the journal was changed after it was written: {why}; nothing was sent"
        ))
        .code("journal_damaged")
        .hint(format!("its locks can still be restored: {} runs undo {}", session.program(), run.id)));
    }
    let azure = session.azure()?;
    come_back(session, &azure, &run.state);
    let stop_at = deadline(&azure, stop_after);
    if let Err(why) = crate::engine::resume_check(&run.plan, &run.state, azure.clock().now()) {
        return not_resumed(session, &run, &why);
    }
    same_world(session, &azure, &run.plan, false).await?;
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

/// A run that is over or too old. "Nothing changed" is not said of one that changed something.
fn not_resumed(session: &Session, run: &StoredRun, why: &str) -> Result<u8, CliError> {
    let message = format!("the run {} cannot be resumed: {why}", store::short(&run.id));
    let hint = (!run.state.locks_off().is_empty())
        .then(|| format!("its locks can still be restored: {} runs undo {}", session.program(), run.id));
    if !run.state.changes.values().any(ChangeState::may_have_effect) {
        return Err(CliError::refused(message).code("not_resumable").maybe_hint(hint));
    }
    let error = ErrorResult { code: "not_resumable".to_owned(), message, hint: hint.clone() };
    // What the run was to restore and did not is as stuck as it was when the run ended.
    let owed = run.plan.relock && !run.state.locks_off().is_empty();
    let (status, exit_code) = if owed { (Status::Stuck, exit::STUCK) } else { (Status::Partial, exit::PARTIAL) };
    let result =
        RunResult { status, exit_code, error: Some(error), next: hint, ..recorded(&run.plan, &run.state, &run.id) };
    Ok(session.finish(result))
}

/// Whether something of a run is left to undo.
fn undoable(run: &StoredRun) -> bool {
    let left = |(_, change): (_, &Change)| {
        matches!(change.undo, Undo::Inverse { .. })
            && run.state.changes.get(&change.id).is_some_and(|state| state.may_have_effect() && !state.undone())
    };
    run.state.phase != RunPhase::Planned && (!run.state.locks_off().is_empty() || run.plan.changes().any(left))
}

async fn undo(session: &Session, id: Option<&str>, yes: bool) -> Result<u8, CliError> {
    let Taken { run, log, state } = take(session, id, "undone", store::understand_to_undo, undoable).await?;
    let azure = session.azure()?;
    same_world(session, &azure, &run.plan, true).await?;
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

/// In the sandbox nobody waits: its time moves on to when the run asked to be resumed.
fn come_back(session: &Session, azure: &Azure, state: &RunState) {
    let RunPhase::Paused { retry_after, .. } = &state.phase else { return };
    if *retry_after <= azure.clock().now() {
        return;
    }
    match &azure.sandbox {
        Some(sandbox) => {
            sandbox.sim.clock().advance_to(*retry_after);
            session.printer.note(&format!("sandbox: time advances to {}", utc(*retry_after)));
        }
        None => session.printer.note(&format!("the run can be resumed from {} on", utc(*retry_after))),
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
