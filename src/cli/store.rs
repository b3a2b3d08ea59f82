//! The state directory, as the commands need it.

use super::error::CliError;
use super::settings::Settings;
pub use crate::api::stored::{locks_off, short, understand};
use crate::arm::model::Lock;
use crate::journal::{self, JournalError, StateDir};

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
