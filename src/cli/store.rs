//! The runs in the state directory, as the commands need them.
//!
//! What of a run must survive even when its plan or its journal was damaged, the locks that are off and the commands
//! that bring them back, is read from the records alone.

use std::collections::BTreeMap;

use super::error::{CliError, Kind};
use super::settings::Settings;
use crate::actions::locks::recreate_command;
use crate::arm::model::Lock;
use crate::engine::plan::Plan;
use crate::engine::state::RunState;
use crate::journal::{self, Event, Integrity, JournalError, Loaded, Purpose, Record, StateDir};

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
            error =
                error.hint(format!("this lock may be off; by hand it comes back with: {}", recreate_command(&lock)));
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

/// The locks that the records say are off, by change id.
#[must_use]
pub fn locks_off(loaded: &Loaded) -> Vec<(String, Lock)> {
    let mut off: BTreeMap<String, Lock> = BTreeMap::new();
    for record in loaded.records.iter().chain(&loaded.salvaged) {
        follow(&mut off, record);
    }
    off.into_iter().collect()
}

fn follow(off: &mut BTreeMap<String, Lock>, record: &Record) {
    match &record.event {
        Event::Intent { change, purpose: Purpose::Do, before, .. } => {
            if let Ok(lock) = serde_json::from_value::<Lock>(before.clone()) {
                off.insert(change.clone(), lock);
            }
        }
        Event::Ended { change, purpose: Purpose::Do, ending }
            if !matches!(ending.outcome.as_str(), "succeeded" | "unknown") =>
        {
            off.remove(change);
        }
        Event::Ended { change, purpose: Purpose::Undo | Purpose::Relock, ending }
            if matches!(ending.outcome.as_str(), "succeeded" | "already_done" | "not_needed" | "refused") =>
        {
            off.remove(change);
        }
        _ => {}
    }
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::journal::Ending;

    const LOCK: &str = "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/rg/providers/Microsoft.Authorization/locks/keep";

    fn record(seq: u64, event: Event) -> Record {
        Record { seq, at: jiff::Timestamp::UNIX_EPOCH, event }
    }

    fn intent() -> Event {
        Event::Intent {
            change: "unlock.1".into(),
            attempt: 1,
            purpose: Purpose::Do,
            verb: "DELETE".into(),
            target: LOCK.into(),
            before: json!({ "id": LOCK, "level": "CanNotDelete", "notes": "n", "owners": [] }),
            client_request_id: String::new(),
        }
    }

    fn ended(purpose: Purpose, outcome: &str) -> Event {
        let ending = Ending {
            outcome: outcome.into(),
            detail: String::new(),
            code: String::new(),
            hint: None,
            permission: false,
        };
        Event::Ended { change: "unlock.1".into(), purpose, ending }
    }

    fn off(events: Vec<Event>) -> usize {
        let mut off = BTreeMap::new();
        for (seq, event) in events.into_iter().enumerate() {
            follow(&mut off, &record(seq as u64 + 1, event));
        }
        off.len()
    }

    #[test]
    fn a_lock_is_off_from_its_intent_until_it_is_known_to_stand() {
        assert_eq!(off(vec![intent()]), 1, "a crash right after the intent");
        assert_eq!(off(vec![intent(), ended(Purpose::Do, "succeeded")]), 1);
        assert_eq!(off(vec![intent(), ended(Purpose::Do, "unknown")]), 1);
        assert_eq!(off(vec![intent(), ended(Purpose::Do, "failed")]), 0);
        assert_eq!(off(vec![intent(), ended(Purpose::Do, "already_done")]), 0);
        let removed = || vec![intent(), ended(Purpose::Do, "succeeded")];
        for (outcome, left) in [("succeeded", 0), ("already_done", 0), ("not_needed", 0), ("failed", 1), ("unknown", 1)]
        {
            let mut events = removed();
            events.push(ended(Purpose::Undo, outcome));
            assert_eq!(off(events), left, "{outcome}");
        }
        let mut again = removed();
        again.extend([ended(Purpose::Relock, "succeeded"), intent()]);
        assert_eq!(off(again), 1, "unlocked again on resume");
    }
}
