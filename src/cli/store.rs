//! The state, as the commands need it.

use super::error::CliError;
use super::printer::Printer;
use super::settings::Settings;
use crate::api::journal::BlobSettings;
pub use crate::api::stored::{StoredRun, locks_off, short, telling, understand, understand_to_undo};
use crate::arm::model::Lock;
use crate::journal::{self, JournalError, State};

/// The state, ready to be written to: a directory is made when it is missing.
///
/// # Errors
/// When it is not usable.
pub async fn open(settings: &Settings) -> Result<State, CliError> {
    let Some(blobs) = &settings.blobs else { return Ok(State::in_dir(&settings.state_dir, true)?) };
    let state = remote(blobs)?;
    state.check().await?;
    Ok(state)
}

/// The state in a storage account. Nothing is sent.
fn remote(blobs: &BlobSettings) -> Result<State, CliError> {
    if let Some(state) = blobs.opened.get() {
        return Ok(state.clone());
    }
    let state = blobs.open(&|name| std::env::var(name).ok())?;
    Ok(blobs.opened.get_or_init(|| state).clone())
}

/// Gives up what is still held in a storage account.
pub async fn close(settings: &Settings) {
    if let Some(state) = settings.blobs.as_ref().and_then(|blobs| blobs.opened.get()) {
        state.close().await;
    }
}

/// The state, if there is one.
///
/// # Errors
/// When it is not usable.
pub async fn existing(settings: &Settings) -> Result<Option<State>, CliError> {
    if let Some(blobs) = &settings.blobs {
        return Ok(Some(remote(blobs)?));
    }
    match State::in_dir(&settings.state_dir, false) {
        Ok(state) => Ok(Some(state)),
        Err(JournalError::NoStateDir { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The state of a command that only plans. It can plan without: then what earlier runs did does not count, and that is said.
pub async fn for_planning(settings: &Settings, printer: &Printer) -> Option<State> {
    existing(settings).await.unwrap_or_else(|error| {
        printer.warn(&format!("what earlier runs did is not known: {}", error.message));
        None
    })
}

/// The state of a command that names a run: where there is none there is no such run.
///
/// # Errors
/// When there is none or it is not usable.
pub async fn with_runs(settings: &Settings) -> Result<State, CliError> {
    let dir = &settings.state_dir;
    existing(settings)
        .await?
        .ok_or_else(|| CliError::input(format!("there are no runs in {}", dir.display())).code("run_not_found"))
}

/// Every run of this kind of world that has locks off, with the locks. What cannot be read is left out: `runs list`
/// tells of it.
pub async fn runs_with_locks_off(state: &State, sandbox: bool) -> Vec<(String, Vec<Lock>)> {
    let off = journal::survey(state, |run, loaded| {
        let locks: Vec<Lock> = locks_off(&loaded).into_iter().map(|(_, lock)| lock).collect();
        (run.sandbox.unwrap_or(sandbox) == sandbox && !locks.is_empty()).then_some((run.id, locks))
    });
    off.await.map_or_else(|_| Vec::new(), |off| off.found.into_iter().flatten().collect())
}
