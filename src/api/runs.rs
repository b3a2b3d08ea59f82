//! `resume` and `undo`: a run is taken up where its journal ends.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::azure::Azure;
use super::error::Error;
use super::fix::world_now;
use super::launch;
use super::place::Here;
use super::stored::{StoredRun, held, locks_off, short, understand, understand_to_undo, word};
use super::watch::{Confirm, Watch, confirmed};
use crate::actions::change::{Change, Undo};
use crate::duration::Span;
use crate::engine::hints::in_world;
use crate::engine::plan::Plan;
use crate::engine::result::{ErrorResult, RunResult, Status};
use crate::engine::state::{ChangeState, RunPhase, RunState};
use crate::engine::{Entry, exit, resume_check};
use crate::journal::{self, FleetList, FleetRecord, Integrity, Loaded, RunEntry, RunFile, State, resolve_run_id};
use crate::report::plan::place;
use crate::report::planned::recorded;

/// Continues a run that was paused or killed, by its id or the first characters of it. What was planned is sent only if it is
/// at most a day old and everything is still as it was; locks that are off are restored whatever their age is.
///
/// # Errors
/// Nothing was sent then.
pub async fn resume(
    azure: &Azure,
    journal: &State,
    run: &str,
    deadline: Option<Span>,
    confirm: Confirm<'_>,
    watch: &Watch,
) -> Result<RunResult, Error> {
    let Taken { run, log } = take(journal, run, understand, azure.here()).await?;
    not_edited(&run, azure.program())?;
    advance(azure, &run.state);
    let stop_at = launch::deadline(azure, deadline);
    if let Err(why) = resume_check(&run.plan, &run.state, azure.clock().now()) {
        return not_resumed(&run, &why, azure.program());
    }
    same_world(azure, &run.plan, false, watch).await?;
    confirmed(&run.plan, confirm)?;
    launch::enter(azure, journal, (run.plan, log), Entry::Resume, watch, stop_at).await
}

/// Undoes what can be undone of a run: restores the locks that it removed, and reverts what has an inverse. Of a run whose plan was
/// lost its locks are restored; its [`Plan::is_lost`] says so to who confirms.
///
/// # Errors
/// Nothing was sent then.
pub async fn undo(
    azure: &Azure,
    journal: &State,
    run: &str,
    confirm: Confirm<'_>,
    watch: &Watch,
) -> Result<RunResult, Error> {
    let Taken { run, log } = take(journal, run, understand_to_undo, azure.here()).await?;
    same_world(azure, &run.plan, true, watch).await?;
    confirmed(&run.plan, confirm)?;
    launch::enter(azure, journal, (run.plan, log), Entry::Undo, watch, None).await
}

/// A run that is taken up: held by this process.
#[derive(Debug)]
pub struct Taken {
    /// The run.
    pub run: StoredRun,
    /// Its journal.
    pub log: RunFile,
}

/// Takes up a run. `understand` reads it: for its undoing less is enough than for going on.
///
/// # Errors
/// When there is none, another process works on it, it is damaged, or it is of another world (S13).
pub async fn take(
    state: &State,
    id: &str,
    understand: fn(&str, Loaded) -> Result<StoredRun, Error>,
    here: Here,
) -> Result<Taken, Error> {
    let id = resolve_run_id(state, id).await?;
    let (log, loaded) = RunFile::open(state, &id).await?;
    let run = understand(&id, loaded)?;
    if here.is_elsewhere(run.plan.world.sandbox) {
        let hint = if run.plan.world.sandbox { "add --sandbox" } else { "omit --sandbox" };
        return Err(Error::refused(format!(
            "the run {} was made in {}, this is {}",
            short(&id),
            place(run.plan.world.sandbox),
            place(here.sandbox)
        ))
        .code("s13.world")
        .hint(hint));
    }
    Ok(Taken { run, log })
}

/// The world must be the run's (S13). A removed lock can be restored by another identity: that is asked of undo only.
///
/// # Errors
/// Another world, no sign-in, or interrupted.
pub async fn same_world(azure: &Azure, plan: &Plan, any_identity: bool, watch: &Watch) -> Result<(), Error> {
    let mut world = watch.reading(world_now(azure, plan)).await?;
    if any_identity {
        world.identity.clone_from(&plan.world.identity);
    }
    match plan.world.difference(&world) {
        None => Ok(()),
        Some(why) => Err(Error::refused(format!("the run is for another place: {why}")).code("s13.world")),
    }
}

/// An edited journal is not continued: its locks can be restored, nothing else.
///
/// # Errors
/// When it was edited.
pub fn not_edited(run: &StoredRun, program: &str) -> Result<(), Error> {
    let Integrity::Edited { why, .. } = &run.loaded.integrity else { return Ok(()) };
    Err(Error::refused(format!("the journal was changed after it was written: {why}; nothing was sent"))
        .code("journal_damaged")
        .hint(format!("its locks can still be restored: {program} runs undo {}", run.id)))
}

/// In the sandbox no one waits: its time advances to when the run asked to be resumed. Says whether it did.
pub fn advance(azure: &Azure, state: &RunState) -> bool {
    let RunPhase::Paused { retry_after, .. } = &state.phase else { return false };
    match &azure.sandbox {
        Some(sandbox) if *retry_after > azure.clock().now() => {
            sandbox.sim.clock().advance_to(*retry_after);
            true
        }
        _ => false,
    }
}

/// The result of a run that is over or too old. "Nothing changed" is not said of one that changed something.
///
/// # Errors
/// When it changed nothing: then it is a refusal.
pub fn not_resumed(run: &StoredRun, why: &str, program: &str) -> Result<RunResult, Error> {
    let message = format!("the run {} cannot be resumed: {why}", short(&run.id));
    let hint = (!run.state.locks_off().is_empty())
        .then(|| format!("its locks can still be restored: {program} runs undo {}", run.id));
    if !run.state.changes.values().any(ChangeState::may_have_effect) {
        return Err(Error::refused(message).code("not_resumable").maybe_hint(hint));
    }
    let error = ErrorResult { code: "not_resumable".to_owned(), message, hint: hint.clone() };
    // What the run was to restore and did not is as stuck as it was when the run ended.
    let owed = run.plan.relock && !run.state.locks_off().is_empty();
    let (status, exit_code) = if owed { (Status::Stuck, exit::STUCK) } else { (Status::Partial, exit::PARTIAL) };
    let mut result =
        RunResult { status, exit_code, error: Some(error), next: hint, ..recorded(&run.plan, &run.state, &run.id) };
    in_world(&mut result, program);
    Ok(result)
}

/// The last run of this world that fits and that no process works on.
///
/// # Errors
/// When the journal cannot be read.
pub async fn last(state: &State, sandbox: bool, fits: impl Fn(&StoredRun) -> bool) -> Result<Option<RunEntry>, Error> {
    let fitting = journal::survey(state, |entry, loaded| {
        let run = understand(&entry.id, loaded).ok()?;
        (entry.sandbox == Some(sandbox) && fits(&run)).then_some(entry)
    });
    for entry in fitting.await?.found.into_iter().flatten() {
        if held(state, &entry.id).await == Some(false) {
            return Ok(Some(entry));
        }
    }
    Ok(None)
}

/// Whether something of a run is left to undo.
#[must_use]
pub fn undoable(run: &StoredRun) -> bool {
    let left = |(_, change): (_, &Change)| {
        matches!(change.undo, Undo::Inverse { .. })
            && run.state.changes.get(&change.id).is_some_and(|state| state.may_have_effect() && !state.undone())
    };
    run.state.phase != RunPhase::Planned && (!run.state.locks_off().is_empty() || run.plan.changes().any(left))
}

/// A run in the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RunLine {
    /// Its id.
    pub run_id: String,
    /// When it started.
    pub started: Option<Timestamp>,
    /// When something was last written.
    pub last: Option<Timestamp>,
    /// The playbook's name.
    pub playbook: Option<String>,
    /// The VM's resource id.
    pub vm: Option<String>,
    /// The fleet that it belongs to.
    pub fleet_id: Option<String>,
    /// Whether it was in the embedded Azure.
    pub sandbox: Option<bool>,
    /// `succeeded`, `paused`, `running`; `damaged` where the journal says nothing.
    pub state: String,
    /// Whether a process works on it, as far as that can be told.
    pub process: Option<bool>,
    /// How many locks may be off because of it.
    pub locks_off: usize,
    /// What is wrong with its files.
    pub damaged: Option<String>,
    /// The state for people, who see at once that a process was killed: `interrupted`.
    #[serde(skip)]
    pub word: String,
}

/// The runs of a journal, the newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Runs {
    schema: &'static str,
    /// The runs.
    pub runs: Vec<RunLine>,
    /// What is no run, or cannot be shown.
    #[serde(skip)]
    pub skipped: Vec<String>,
}

impl Default for Runs {
    fn default() -> Self {
        Self { schema: "azmend.runs/v1", runs: Vec::new(), skipped: Vec::new() }
    }
}

/// Lists the runs.
///
/// # Errors
/// When the journal cannot be read.
pub async fn list(journal: &State) -> Result<Runs, Error> {
    let (known, unread) = match journal::fleets(journal).await {
        Ok(known) => (known, None),
        Err(error) => (FleetList::default(), Some(format!("which runs belong to a fleet is not known: {error}"))),
    };
    let mut skipped: Vec<String> =
        known.skipped.iter().map(|skipped| format!("a fleet cannot be shown: {}", skipped.why)).collect();
    skipped.extend(unread);
    let of = |fleet: FleetRecord| {
        let id = fleet.id;
        fleet.vms.into_iter().filter_map(|one| one.run).map(move |run| (run, id.clone())).collect::<Vec<_>>()
    };
    let fleets: BTreeMap<String, String> = known.fleets.into_iter().flat_map(of).collect();
    let found = journal::survey(journal, |entry, loaded| {
        let off = locks_off(&loaded).len();
        let run = understand(&entry.id, loaded).ok().filter(|_| entry.damaged.is_none());
        (entry, run.map(|run| run.state), off)
    });
    let found = found.await?;
    skipped.extend(found.skipped.iter().map(|skipped| format!("{} is not a run: {}", skipped.name, skipped.why)));
    let mut runs = Vec::with_capacity(found.found.len());
    for (entry, state, locks_off) in found.found {
        let process = held(journal, &entry.id).await;
        let (own, word) = state.map_or(("damaged", "damaged"), |state| (state.word(), word(&state, process)));
        runs.push(RunLine {
            state: own.to_owned(),
            word: word.to_owned(),
            process,
            locks_off,
            started: entry.started,
            last: entry.last_at(),
            fleet_id: fleets.get(&entry.id).cloned(),
            sandbox: entry.sandbox,
            playbook: entry.playbook,
            vm: entry.vm,
            damaged: entry.damaged,
            run_id: entry.id,
        });
    }
    Ok(Runs { runs, skipped, ..Runs::default() })
}
