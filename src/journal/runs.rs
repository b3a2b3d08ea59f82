//! The runs of a state: listing, finding by the beginning of an id, sweeping up old ones.
//!
//! Invariants: one unreadable run never hides the others; nothing is removed that the caller's judgement (are its locks
//! back? is it over?) does not release, that is damaged, or that a process works on.

use futures::StreamExt as _;
use futures::stream;
use jiff::Timestamp;
use serde_json::Value;

use super::chain::{Integrity, Loaded};
use super::error::JournalError;
use super::event::Record;
use super::place::State;
use super::run::{RUNS, RunFile, load_listed};
use super::state;
use crate::clock::elapsed;
use crate::duration::Span;
use crate::text::{human_duration, safe_short};

/// One run in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunEntry {
    /// Run id.
    pub id: String,
    /// When it started; of a run without a line, when its plan was made.
    pub started: Option<Timestamp>,
    /// The plan's playbook.
    pub playbook: Option<String>,
    /// The plan's VM, a resource id.
    pub vm: Option<String>,
    /// Whether the plan is for the sandbox.
    pub sandbox: Option<bool>,
    /// The last record.
    pub last: Option<Record>,
    /// What is wrong with the journal or plan.
    pub damaged: Option<String>,
}

/// Something among the runs that is not one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Its name.
    pub name: String,
    /// Why it was skipped.
    pub why: String,
}

/// All runs, the newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunList {
    /// The runs.
    pub runs: Vec<RunEntry>,
    /// What was skipped.
    pub skipped: Vec<Skipped>,
}

/// What [`prune`] did, or would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// The runs that were removed (that would be, when only looking).
    pub removed: Vec<String>,
    /// Runs old enough that stay, and why.
    pub kept: Vec<Skipped>,
}

impl RunEntry {
    fn new(id: &str, loaded: &Loaded) -> Self {
        let plan: Value = serde_json::from_str(&loaded.plan_json).unwrap_or_default();
        let text = |key: &str| plan.get(key).and_then(Value::as_str).map(str::to_owned);
        // Of a plan that is lost the journal says what it was for.
        let origin = loaded.origin();
        let first = loaded.records.first().map(|record| record.at);
        let damaged = match &loaded.integrity {
            Integrity::Intact => None,
            Integrity::Edited { line: 0, why } => Some(why.clone()),
            Integrity::Edited { line, why } => Some(format!("line {line} of the journal was changed: {why}")),
            Integrity::TooNew { format } => Some(format!("a newer azmend wrote it (format {format})")),
        };
        Self {
            id: id.to_owned(),
            started: first.or_else(|| text("created")?.parse().ok()),
            playbook: text("playbook").or_else(|| Some(origin?.playbook.clone())),
            vm: text("vm").or_else(|| Some(origin?.vm.clone())),
            sandbox: plan.pointer("/world/sandbox").and_then(Value::as_bool).or_else(|| Some(origin?.sandbox)),
            last: loaded.records.last().or(loaded.salvaged.last()).cloned(),
            damaged,
        }
    }

    /// The time of the last thing known of it.
    #[must_use]
    pub fn last_at(&self) -> Option<Timestamp> {
        self.last.as_ref().map(|record| record.at).or(self.started)
    }
}

/// The names among the runs, the newest first.
async fn names(state: &State) -> Result<Vec<String>, JournalError> {
    let mut names = state.store().names(RUNS).await?;
    // Ids are UUIDs that begin with the time.
    names.sort_unstable_by(|a, b| b.cmp(a));
    Ok(names)
}

/// Lists the runs; damaged ones are marked, and what is not a run is told apart.
///
/// # Errors
/// [`JournalError`] when the runs cannot be listed at all.
pub async fn runs(state: &State) -> Result<RunList, JournalError> {
    let Surveyed { found, skipped } = survey(state, |entry, _| entry).await?;
    Ok(RunList { runs: found, skipped })
}

/// What was made of each run, the newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surveyed<T> {
    /// One for each run.
    pub found: Vec<T>,
    /// What was skipped.
    pub skipped: Vec<Skipped>,
}

/// Reads every run once, several at a time where that is quicker, and keeps what `look` makes of it.
///
/// # Errors
/// [`JournalError`] when the runs cannot be listed at all.
pub async fn survey<T>(state: &State, look: impl Fn(RunEntry, Loaded) -> T) -> Result<Surveyed<T>, JournalError> {
    let names = names(state).await?;
    let readings = names.into_iter().map(|name| async move {
        let loaded = load_listed(state, &name).await;
        (name, loaded)
    });
    let mut readings = stream::iter(readings).buffered(state.store().width().max(1));
    let (mut found, mut skipped) = (Vec::new(), Vec::new());
    while let Some((name, loaded)) = readings.next().await {
        match loaded {
            Ok(loaded) => {
                let entry = RunEntry::new(&name, &loaded);
                found.push((entry.started, name, look(entry, loaded)));
            }
            // Removed since the names were read.
            Err(JournalError::NoRun { .. }) => {}
            Err(error) => skipped.push(Skipped { name: safe_short(&name, 80), why: error.to_string() }),
        }
    }
    found.sort_by(|(a, one, _), (b, other, _)| (b, other).cmp(&(a, one)));
    Ok(Surveyed { found: found.into_iter().map(|(_, _, one)| one).collect(), skipped })
}

/// The full id of the run whose id begins with `prefix`.
///
/// # Errors
/// [`JournalError::NoRun`], or [`JournalError::Ambiguous`] with the candidates.
pub async fn resolve_run_id(state: &State, prefix: &str) -> Result<String, JournalError> {
    let wanted = prefix.to_ascii_lowercase();
    if wanted.is_empty() || !wanted.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-') {
        return Err(JournalError::NotARunId(prefix.chars().take(80).collect()));
    }
    let mut found = names(state).await?;
    found.retain(|name| state::is_run_id(name) && name.starts_with(&wanted));
    match found.as_slice() {
        [] => Err(JournalError::NoRun { run: prefix.to_owned(), state: state.place() }),
        [one] => Ok(one.clone()),
        _ => Err(JournalError::Ambiguous { prefix: prefix.to_owned(), candidates: found }),
    }
}

/// Removes the runs whose last record is older than `older_than` and that `may_go` releases; with `only_look` it removes
/// nothing and says what it would do.
///
/// `may_go` is asked with what the run says, while no other process can work on it, and answers with the reason when the
/// run must stay: it is not over, or has locks off. Damaged runs are never removed, for nobody can know this of them.
///
/// # Errors
/// [`JournalError`] when the runs cannot be listed at all.
pub async fn prune(
    state: &State,
    older_than: Span,
    now: Timestamp,
    only_look: bool,
    may_go: impl Fn(&Loaded) -> Result<(), String>,
) -> Result<Pruned, JournalError> {
    let mut out = Pruned::default();
    for entry in runs(state).await?.runs {
        let age = last_used(&entry).map(|at| elapsed(at, now));
        if age.is_some_and(|age| age < older_than.to_std()) {
            continue;
        }
        let id = entry.id.clone();
        match prune_one(state, &entry, only_look, &may_go).await {
            Ok(()) => out.removed.push(id),
            Err(why) => {
                let age = age.map_or(String::new(), |age| format!(" (last used {} ago)", human_duration(age)));
                out.kept.push(Skipped { name: id, why: why + &age });
            }
        }
    }
    if !only_look {
        state.store().sweep(now).await;
    }
    Ok(out)
}

/// When a run was last used, by this machine's clock. The times of a sandbox run are those of its world: of it the id says when
/// it began here.
fn last_used(entry: &RunEntry) -> Option<Timestamp> {
    let here = || {
        let (seconds, _) = uuid::Uuid::parse_str(&entry.id).ok()?.get_timestamp()?.to_unix();
        Timestamp::from_second(i64::try_from(seconds).ok()?).ok()
    };
    if entry.sandbox == Some(true) { here().or_else(|| entry.last_at()) } else { entry.last_at() }
}

async fn prune_one(
    state: &State,
    entry: &RunEntry,
    only_look: bool,
    may_go: &impl Fn(&Loaded) -> Result<(), String>,
) -> Result<(), String> {
    let (held, loaded) = RunFile::open(state, &entry.id).await.map_err(|e| e.to_string())?;
    if !loaded.is_intact() {
        return Err(RunEntry::new(&entry.id, &loaded).damaged.unwrap_or_default());
    }
    may_go(&loaded)?;
    if only_look {
        return Ok(());
    }
    held.remove().await.map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    use crate::journal::{Event, RunLog as _, StateDir, now};
    use std::time::Duration;

    const A: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
    const B: &str = "01890a5d-ff00-774b-bcce-b302099a8057";
    const C: &str = "0199ffff-0000-774b-bcce-b302099a8057";

    fn at(day: u64) -> Timestamp {
        Timestamp::UNIX_EPOCH + Duration::from_secs(day * 86_400)
    }

    fn plan(vm: &str) -> String {
        format!(
            r#"{{"created":"2026-11-20T09:00:00Z","playbook":"stuck-job","vm":"{vm}","world":{{"sandbox":false}}}}"#
        )
    }

    fn finished(state: &State, id: &str, day: u64) {
        let run = now(RunFile::create(state, id, &plan(id))).unwrap();
        now(run.append(at(day), Event::Warned { text: "x".into() })).unwrap();
        let end = Event::Finished { status: crate::journal::FinalStatus::Succeeded, exit_code: 0 };
        now(run.append(at(day), end)).unwrap();
    }

    fn state() -> (tempfile::TempDir, State, std::path::PathBuf) {
        let home = tempfile::tempdir().unwrap();
        let dir = StateDir::open(&home.path().join("s"), true).unwrap();
        let runs = dir.runs_dir();
        (home, State::from(dir), runs)
    }

    fn is_finished(loaded: &Loaded) -> Result<(), String> {
        match loaded.records.last().map(|record| &record.event) {
            Some(Event::Finished { .. }) => Ok(()),
            _ => Err("it has not ended".to_owned()),
        }
    }

    #[test]
    fn the_list_is_newest_first_and_says_what_it_skipped() {
        let (_home, state, dir) = state();
        finished(&state, A, 20);
        finished(&state, B, 30);
        now(RunFile::create(&state, C, "no json")).unwrap();
        fs::create_dir(dir.join("holiday photos")).unwrap();
        fs::create_dir(dir.join(".new-x")).unwrap();
        fs::write(dir.join("01890a5d-0000-774b-bcce-b302099a8057"), "").unwrap();
        let list = now(runs(&state)).unwrap();
        let ids: Vec<_> = list.runs.iter().map(|run| run.id.as_str()).collect();
        assert_eq!(ids, [B, A, C], "without any time it is the last");
        let first = list.runs.first().unwrap();
        assert_eq!(
            (first.playbook.as_deref(), first.vm.as_deref(), first.sandbox, first.started),
            (Some("stuck-job"), Some(B), Some(false), Some(at(30)))
        );
        assert!(matches!(first.last.as_ref().unwrap().event, Event::Finished { .. }));
        let names: Vec<_> = list.skipped.iter().map(|s| (s.name.as_str(), s.why.contains("is not a run id"))).collect();
        assert_eq!(names, [("holiday photos", true), ("01890a5d-0000-774b-bcce-b302099a8057", false)]);
    }

    #[test]
    fn the_beginning_of_an_id_is_enough_when_it_is_unique() {
        let (_home, state, _) = state();
        finished(&state, A, 1);
        finished(&state, B, 2);
        assert_eq!(now(resolve_run_id(&state, "01890A5D-f")).unwrap(), B);
        assert_eq!(now(resolve_run_id(&state, A)).unwrap(), A);
        let error = now(resolve_run_id(&state, "0189")).unwrap_err();
        assert!(error.hint().unwrap().ends_with(&format!("{B}, {A}")), "{error}");
        assert!(matches!(now(resolve_run_id(&state, "02")), Err(JournalError::NoRun { .. })));
        assert!(matches!(now(resolve_run_id(&state, "../..")), Err(JournalError::NotARunId(_))));
        assert!(matches!(now(resolve_run_id(&state, "")), Err(JournalError::NotARunId(_))));
    }

    /// The sandbox's time is its own: the id has this machine's.
    #[test]
    fn a_run_of_the_sandbox_is_as_old_as_its_id() {
        let id = "01a21f00-0000-774b-bcce-b302099a8057";
        let (_home, state, _) = state();
        let log = now(RunFile::create(&state, id, &plan("vm").replace("false", "true"))).unwrap();
        now(log.append(at(1), Event::Warned { text: "years ago, there".into() })).unwrap();
        drop(log);
        let (seconds, _) = uuid::Uuid::parse_str(id).unwrap().get_timestamp().unwrap().to_unix();
        let began = Timestamp::from_second(i64::try_from(seconds).unwrap()).unwrap();
        let day = Span::from_secs(86_400);
        let after = |hours: u64| crate::clock::later(began, std::time::Duration::from_secs(hours * 3600));
        let removed = |at| now(prune(&state, day, at, true, |_| Ok(()))).unwrap().removed;
        assert_eq!(removed(after(23)), Vec::<String>::new());
        assert_eq!(removed(after(25)), [id]);
    }

    #[test]
    fn prune_removes_only_what_is_old_over_and_whole() {
        let (_home, state, dir) = state();
        finished(&state, A, 10);
        finished(&state, B, 39);
        let unfinished = now(RunFile::create(&state, C, &plan("vm"))).unwrap();
        now(unfinished.append(at(1), Event::Warned { text: "x".into() })).unwrap();
        let damaged = "01880000-0000-774b-bcce-b302099a8057";
        finished(&state, damaged, 1);
        fs::write(dir.join(damaged).join("plan.json"), "{}").unwrap();
        let month = Span::from_secs(30 * 86_400);

        let held = now(prune(&state, month, at(40), true, |_| Ok(()))).unwrap();
        assert!(held.kept.iter().any(|kept| kept.name == C && kept.why.contains("another azmend")), "{held:?}");
        drop(unfinished);

        let look = now(prune(&state, month, at(40), true, is_finished)).unwrap();
        assert_eq!(now(runs(&state)).unwrap().runs.len(), 4);
        let done = now(prune(&state, month, at(40), false, is_finished)).unwrap();
        assert_eq!(look, done);
        assert_eq!(done.removed, [A]);
        let kept: Vec<_> = done.kept.iter().map(|kept| (kept.name.as_str(), kept.why.as_str())).collect();
        let expected = [
            (C, "it has not ended (last used 39 d ago)"),
            (damaged, "plan.json is not the plan of this run (last used 39 d ago)"),
        ];
        assert_eq!(kept, expected);
        let left: Vec<_> = fs::read_dir(&dir).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left.len(), 3, "{left:?}");
    }
}
