//! The runs in the state, as the commands need them.
//!
//! What of a run must survive even when its plan or its journal was damaged, the locks that are off and the commands
//! that bring them back, is read from the records alone.

use super::error::{CliError, Kind};
use super::settings::{BlobSettings, Settings, environment};
use std::sync::Arc;

use crate::actions::locks::recreate_command;
use crate::arm::Wire;
use crate::arm::model::Lock;
use crate::clock::SystemClock;
use crate::engine::blob_state::{OpenError, Opening};
use crate::engine::owed::Locks;
use crate::engine::plan::Plan;
use crate::engine::state::RunState;
use crate::journal::{self, Integrity, JournalError, Loaded, State, Trouble};

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
            JournalError::Storage { trouble: Trouble::Unreachable, .. } => (Kind::ComeBack, "state_unreachable"),
            JournalError::Storage { trouble: Trouble::SignIn, .. } => (Kind::SignIn, "state_sign_in"),
            JournalError::Storage { trouble: Trouble::Denied, .. } => (Kind::Permission, "state_denied"),
            JournalError::Storage { .. } => (Kind::Io, "state"),
            _ => (Kind::Io, "state_dir"),
        };
        let hint = error.hint();
        Self::new(kind, error.to_string()).code(code).maybe_hint(hint)
    }
}

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
    let network = Wire::new().map_err(|error| CliError::input(error.to_string()).code("tls"))?;
    let opening = Opening {
        place: &blobs.place,
        endpoint: &blobs.endpoint,
        sign_in: &blobs.sign_in,
        env: &|name| std::env::var(name).ok(),
        network: Arc::new(network),
        clock: Arc::new(SystemClock),
        host: &host(),
    };
    let state = opening.open().map_err(|error| match error {
        OpenError::SignIn(error) => CliError::from(error),
        OpenError::Place(why) => CliError::input(why).code("state"),
    })?;
    Ok(blobs.opened.get_or_init(|| state).clone())
}

/// The name of this machine, for messages: there is no call for it in the standard library.
fn host() -> String {
    let named =
        ["COMPUTERNAME", "HOSTNAME"].into_iter().filter_map(environment).find_map(|name| name.into_string().ok());
    named
        .or_else(|| std::fs::read_to_string("/proc/sys/kernel/hostname").ok())
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "unknown".to_owned())
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

/// The locks that may be off because of a run, by change id: [`Locks`] of everything that can be read of its journal.
#[must_use]
pub fn locks_off(loaded: &Loaded) -> Vec<(String, Lock)> {
    let locks = Locks::of(loaded.records.iter().chain(&loaded.salvaged));
    locks.off().map(|(change, lock)| (change.to_owned(), lock.clone())).collect()
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

/// The beginning of a run id that is enough to name it, for tables.
#[must_use]
pub fn short(id: &str) -> &str {
    id.get(..13).unwrap_or(id)
}
