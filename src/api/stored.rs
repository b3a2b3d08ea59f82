//! A run as its journal has it, for whoever shows, resumes or undoes it.
//!
//! What of a run must survive even when its plan or its journal was damaged, the locks that are off and the commands
//! that restore them, is read from the records only.

use super::error::{Error, Kind};
use crate::actions::locks::recreate_command;
use crate::arm::model::Lock;
use crate::engine::owed::Locks;
use crate::engine::plan::Plan;
use crate::engine::state::{RunPhase, RunState};
use crate::journal::{Integrity, JournalError, Loaded, RunFile, State, Trouble};

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

/// What fails when a run cannot be written down; then nothing of it was sent.
const WRITES: [&str; 4] = ["write", "write to", "create", "lock"];

impl From<JournalError> for Error {
    fn from(error: JournalError) -> Self {
        let (kind, code) = match &error {
            JournalError::NotARunId(_) | JournalError::NoRun { .. } | JournalError::Ambiguous { .. } => {
                (Kind::Input, "run_not_found")
            }
            JournalError::NoFleet { .. } => (Kind::Input, "fleet_not_found"),
            JournalError::Busy { .. } => (Kind::Refused, "busy"),
            // S2: without a journal nothing is sent. That is a refusal, and no mistake of who typed.
            JournalError::Io { action, .. } if WRITES.contains(action) => {
                let hint = error.hint();
                return Self::not_written(error.to_string()).maybe_hint(hint);
            }
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

/// Reads a run for its undoing. Of one whose plan is missing or was changed the journal says where it works (S13): that is
/// enough to restore its locks, and for nothing else.
///
/// # Errors
/// As [`understand`].
pub fn understand_to_undo(id: &str, loaded: Loaded) -> Result<StoredRun, Error> {
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

/// The beginning of a run id for a sentence: its millisecond and four letters more. A command takes all of the id.
#[must_use]
pub fn short(id: &str) -> &str {
    id.get(..SHORT).unwrap_or(id)
}

/// Ids are UUIDv7: two runs that start in the same millisecond have the same first 13 letters.
const SHORT: usize = 18;

/// How many letters tell each of these ids from the others.
#[must_use]
pub fn telling(ids: &[&str]) -> usize {
    let differ = |length: &usize| {
        let mut seen = std::collections::BTreeSet::new();
        ids.iter().all(|id| seen.insert(id.get(..*length).unwrap_or(id)))
    };
    // Where a group of the id ends; a longer beginning is as good as all of it.
    [SHORT, 23].into_iter().find(differ).unwrap_or(36)
}

/// Whether a process works on a run now. Where it cannot be told nothing is claimed of it.
#[must_use]
pub async fn held(state: &State, id: &str) -> Option<bool> {
    RunFile::holder(state, id).await.ok().map(|holder| holder.is_some())
}

/// The state of a run in one word. Of a run that is under way in its journal and that no process works on: that it was
/// interrupted.
#[must_use]
pub const fn word(state: &RunState, held: Option<bool>) -> &'static str {
    match (&state.phase, held) {
        (RunPhase::Running | RunPhase::Undoing, Some(false)) => "interrupted",
        _ => state.word(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_as_long_as_it_takes_to_tell_them_apart() {
        let ids = [
            "01a21fd4-0192-7a95-91a4-c160abf0109f",
            "01a21fd4-0192-7a96-91a4-c160abf0109f",
            "01a21fd4-0193-7a95-91a4-c160abf0109f",
        ];
        assert_eq!(telling(&ids), 18);
        assert_eq!(telling(&[ids[0], "01a21fd4-0192-7a95-91a5-c160abf0109f"]), 23);
        assert_eq!(telling(&[ids[0], "01a21fd4-0192-7a95-91a4-c160abf010a0"]), 36);
        assert_eq!(telling(&[]), 18);
    }

    #[test]
    fn a_run_that_nobody_works_on_was_interrupted() {
        let running = RunState { phase: RunPhase::Running, ..RunState::default() };
        assert_eq!(word(&running, Some(true)), "running");
        assert_eq!(word(&running, Some(false)), "interrupted");
        assert_eq!(word(&running, None), "running");
        assert_eq!(word(&RunState::default(), Some(false)), "planned");
    }
}
