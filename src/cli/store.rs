//! The runs in the state directory, as the commands need them.
//!
//! What of a run must survive even when its plan or its journal was damaged, the locks that are off and the commands
//! that bring them back, is read from the records alone.

use super::error::{CliError, Kind};
use super::settings::Settings;
use crate::actions::locks::recreate_command;
use crate::arm::model::Lock;
use crate::engine::owed::Locks;
use crate::engine::plan::Plan;
use crate::engine::state::RunState;
use crate::journal::{self, Integrity, JournalError, Loaded, StateDir};

/// A run that was read.
#[derive(Debug)]
pub struct StoredRun {
    /// Its id.
    pub id: String,
    /// What stands in its files.
    pub loaded: Loaded,
    /// Its plan.
    pub plan: Plan,
    /// Its state.
    pub state: RunState,
}

impl From<JournalError> for CliError {
    fn from(error: JournalError) -> Self {
        let (kind, code) = match &error {
            JournalError::NotARunId(_) | JournalError::NoRun { .. } | JournalError::Ambiguous { .. } => {
                (Kind::Input, "run_not_found")
            }
            JournalError::NoFleet { .. } => (Kind::Input, "fleet_not_found"),
            JournalError::Busy { .. } => (Kind::Refused, "busy"),
            _ => (Kind::Io, "state_dir"),
        };
        let hint = error.hint();
        Self::new(kind, error.to_string()).code(code).maybe_hint(hint)
    }
}

/// The state directory, made when it is missing.
///
/// # Errors
/// When it is not usable.
pub fn open(settings: &Settings) -> Result<StateDir, CliError> {
    Ok(StateDir::open(&settings.state_dir, true)?)
}

/// The state directory, if there is one.
///
/// # Errors
/// When it is not usable.
pub fn existing(settings: &Settings) -> Result<Option<StateDir>, CliError> {
    match StateDir::open(&settings.state_dir, false) {
        Ok(state) => Ok(Some(state)),
        Err(JournalError::NoStateDir { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The state directory of a command that names a run: without the directory there is no such run.
///
/// # Errors
/// When there is none or it is not usable.
pub fn with_runs(settings: &Settings) -> Result<StateDir, CliError> {
    existing(settings)?.ok_or_else(|| {
        CliError::input(format!("there are no runs in {}", settings.state_dir.display())).code("run_not_found")
    })
}

/// Reads the plan and the state of a run.
///
/// # Errors
/// When the plan or the journal is damaged: the commands that bring its locks back are in the hints then.
pub fn understand(id: &str, loaded: Loaded) -> Result<StoredRun, CliError> {
    let damaged = |what: String, loaded: &Loaded| {
        let mut error =
            CliError::refused(format!("the run {id} cannot be used: {what}; nothing was sent")).code("journal_damaged");
        for (_, lock) in locks_off(loaded) {
            error = error.hint(format!("this lock may be off; restore it by hand with: {}", recreate_command(&lock)));
        }
        error
    };
    if let Integrity::TooNew { format } = loaded.integrity {
        return Err(damaged(format!("a newer azmend wrote it (format {format})"), &loaded));
    }
    let plan = Plan::parse(&loaded.plan_json).map_err(|error| damaged(error.to_string(), &loaded))?;
    let state = RunState::fold(&plan, &loaded.records).map_err(|error| damaged(error.to_string(), &loaded))?;
    Ok(StoredRun { id: id.to_owned(), loaded, plan, state })
}

/// Reads a run for its undoing. Of one whose plan is missing or was changed the journal says where it works (S13): that is
/// enough to restore its locks, and for nothing else.
///
/// # Errors
/// As [`understand`].
pub fn understand_to_undo(id: &str, loaded: Loaded) -> Result<StoredRun, CliError> {
    let plan_lost = matches!(loaded.integrity, Integrity::Edited { line: 0, .. });
    let started = loaded.records.first().map(|record| record.at).unwrap_or_default();
    let plan = loaded.origin().filter(|_| plan_lost).and_then(|origin| Plan::lost(origin, started).ok());
    let Some(plan) = plan else { return understand(id, loaded) };
    let state = RunState { locks: Locks::of(&loaded.records), ..RunState::new(&plan) };
    Ok(StoredRun { id: id.to_owned(), loaded, plan, state })
}

/// The locks that may be off because of a run, by change id: [`Locks`] of everything that can be read of its journal.
#[must_use]
pub fn locks_off(loaded: &Loaded) -> Vec<(String, Lock)> {
    let locks = Locks::of(loaded.records.iter().chain(&loaded.salvaged));
    locks.off().map(|(change, lock)| (change.to_owned(), lock.clone())).collect()
}

/// Every run of this kind of world that has locks off, with the locks. What cannot be read is left out: `runs list`
/// tells of it.
#[must_use]
pub fn runs_with_locks_off(state: &StateDir, sandbox: bool) -> Vec<(String, Vec<Lock>)> {
    let Ok(list) = journal::runs(state) else { return Vec::new() };
    list.runs
        .iter()
        .filter(|run| run.sandbox.unwrap_or(sandbox) == sandbox)
        .filter_map(|run| {
            let loaded = journal::load(state, &run.id).ok()?;
            let locks: Vec<Lock> = locks_off(&loaded).into_iter().map(|(_, lock)| lock).collect();
            (!locks.is_empty()).then(|| (run.id.clone(), locks))
        })
        .collect()
}

/// The beginning of a run id that is enough to name it, for tables.
#[must_use]
pub fn short(id: &str) -> &str {
    id.get(..13).unwrap_or(id)
}
