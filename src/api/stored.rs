//! A run as its journal has it, for whoever shows, resumes or undoes it.
//!
//! What of a run must survive even when its plan or its journal was damaged, the locks that are off and the commands
//! that restore them, is read from the records only.

use super::error::{Error, Kind};
use crate::actions::locks::recreate_command;
use crate::arm::model::Lock;
use crate::engine::owed::Locks;
use crate::engine::plan::Plan;
use crate::engine::state::RunState;
use crate::journal::{Integrity, JournalError, Loaded, Trouble};

/// A run that was read.
#[derive(Debug)]
pub struct StoredRun {
    /// Its id.
    pub id: String,
    /// What is in its files.
    pub loaded: Loaded,
    /// Its plan.
    pub plan: Plan,
    /// Its state.
    pub state: RunState,
}

impl From<JournalError> for Error {
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

/// Reads the plan and the state of a run.
///
/// # Errors
/// When the plan or the journal is damaged: the commands that restore its locks are in the hints then.
pub fn understand(id: &str, loaded: Loaded) -> Result<StoredRun, Error> {
    let damaged = |what: String, loaded: &Loaded| {
        let mut error =
            Error::refused(format!("the run {id} cannot be used: {what}; nothing was sent")).code("journal_damaged");
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

/// The beginning of a run id that is enough to name it, for people.
#[must_use]
pub fn short(id: &str) -> &str {
    id.get(..13).unwrap_or(id)
}
