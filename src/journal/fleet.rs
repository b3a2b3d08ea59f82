//! The record of a fleet: which VMs it meant to repair, which run each got, how each ended.
//!
//! ```text
//! <state>/fleets/<fleet id>.json
//! ```
//!
//! Duty: to find the runs of a fleet, and the VMs that are left to do, also after a kill. It proves nothing: what a run did
//! stands in the run's own journal, and a VM that is taken up again is read and planned anew.
//!
//! Invariants: the file is whole at every moment (written beside, synced, renamed) and says that a VM's run begins before
//! it does; it is read strictly: another format, an unknown key, an id that is none is an error, never a guess. Must never:
//! be needed to put a lock back.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::error::JournalError;
use super::runs::Skipped;
use super::state::{self, StateDir};
use crate::clock::elapsed;
use crate::duration::Span;
use crate::text::safe_short;

/// The format this azmend writes and reads.
pub const FLEET_FORMAT: &str = "azmend.fleet-record/v1";
/// The largest record that is read: a VM takes less than 1 KB.
const MAX_RECORD: u64 = 64 * 1024 * 1024;
const ENDING: &str = ".json";
const UNFINISHED: &str = ".new-";

/// How far a VM of a fleet has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FleetStage {
    /// Its turn has not come.
    Waiting,
    /// Its run begins; what came of it stands in the run's journal.
    Begun,
    /// Its run has ended or paused.
    Ended,
    /// Its turn never came.
    NotStarted,
}

/// One VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FleetVm {
    /// Its resource id.
    pub vm: String,
    /// The playbook: with `auto` each VM has its own.
    pub playbook: String,
    /// How far it has come.
    pub stage: FleetStage,
    /// Its run, once that was begun.
    pub run: Option<String>,
    /// The run's status when it ended: `succeeded`, `partial`, ...; empty before.
    pub status: String,
    /// Why it was not started, or what went wrong; empty otherwise.
    pub why: String,
}

/// A fleet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FleetRecord {
    /// [`FLEET_FORMAT`].
    pub format: String,
    /// UUIDv7.
    pub id: String,
    /// The azmend that wrote it.
    pub version: String,
    /// The fleet whose failed VMs this one took up again.
    pub retry_of: Option<String>,
    /// When it began, in Azure's time (the sandbox has its own).
    pub started: Timestamp,
    /// When it ended; absent while it is under way, or when it was killed.
    pub ended: Option<Timestamp>,
    /// Whether it was the embedded Azure.
    pub sandbox: bool,
    /// Cloud.
    pub cloud: String,
    /// The ARM endpoint.
    pub endpoint: String,
    /// Digest of the sandbox's estate; empty outside.
    pub estate_digest: String,
    /// Playbook name, or `auto`.
    pub playbook: String,
    /// `--playbooks`, when there was one.
    pub playbooks: Option<String>,
    /// `--set`, each as `key=value`.
    pub set: Vec<String>,
    /// `--relock`.
    pub relock: bool,
    /// What was typed beyond the rules and has to be typed again: `--override s8.newest`.
    pub beyond: Vec<String>,
    /// Which VMs were meant, in words.
    pub scope: String,
    /// The VMs with a plan, in the order of the waves.
    pub vms: Vec<FleetVm>,
}

/// All fleets, the newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FleetList {
    /// The fleets.
    pub fleets: Vec<FleetRecord>,
    /// What could not be read.
    pub skipped: Vec<Skipped>,
}

impl FleetRecord {
    /// Reads a record.
    ///
    /// # Errors
    /// Why it is none.
    pub fn parse(text: &str, id: &str) -> Result<Self, String> {
        let value: serde_json::Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        match value.get("format").and_then(serde_json::Value::as_str) {
            Some(FLEET_FORMAT) => {}
            Some(other) => {
                return Err(format!("its format is {:?}, this azmend reads {FLEET_FORMAT:?}", safe_short(other, 60)));
            }
            None => return Err("it names no format".to_owned()),
        }
        let record: Self = serde_json::from_value(value).map_err(|error| error.to_string())?;
        if record.id != id {
            return Err("it is the record of another fleet".to_owned());
        }
        let mut seen = BTreeSet::new();
        for one in &record.vms {
            if one.run.as_deref().is_some_and(|run| !state::is_run_id(run)) {
                return Err(format!("{:?} is no id of a run", safe_short(one.run.as_deref().unwrap_or_default(), 60)));
            }
            if one.run.is_none() && matches!(one.stage, FleetStage::Begun | FleetStage::Ended) {
                return Err(format!("{} has begun without a run", safe_short(&one.vm, 200)));
            }
            if !seen.insert(one.vm.to_lowercase()) {
                return Err(format!("{} stands in it twice", safe_short(&one.vm, 200)));
            }
        }
        Ok(record)
    }
}

/// The record of a fleet that is under way.
#[derive(Debug)]
pub struct FleetFile {
    path: PathBuf,
    dir: PathBuf,
    record: Mutex<FleetRecord>,
}

impl FleetFile {
    /// Writes a new record.
    ///
    /// # Errors
    /// [`JournalError`]; there is no such fleet then.
    pub fn create(state: &StateDir, record: FleetRecord) -> Result<Self, JournalError> {
        state::check_run_id(&record.id)?;
        let dir = state.fleets_dir();
        state::make_private(&dir, false)?;
        state::expect_dir(&dir)?;
        let path = dir.join(format!("{}{ENDING}", record.id));
        if fs::symlink_metadata(&path).is_ok() {
            return Err(JournalError::Exists(record.id));
        }
        write(&dir, &path, &record)?;
        state::sync_dir(state.root())?;
        Ok(Self { path, dir, record: Mutex::new(record) })
    }

    /// Changes the record; on disk when this returns.
    ///
    /// # Errors
    /// [`JournalError`]: the file is as it was before.
    pub fn update(&self, change: impl FnOnce(&mut FleetRecord)) -> Result<(), JournalError> {
        let mut record = self.lock();
        let mut next = record.clone();
        change(&mut next);
        write(&self.dir, &self.path, &next)?;
        *record = next;
        Ok(())
    }

    /// The record as it is on disk.
    #[must_use]
    pub fn record(&self) -> FleetRecord {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, FleetRecord> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn write(dir: &Path, path: &Path, record: &FleetRecord) -> Result<(), JournalError> {
    let failed = |error: &io::Error| JournalError::io("write", path, error);
    let mut text = serde_json::to_string_pretty(record).map_err(|error| failed(&io::Error::other(error)))?;
    text.push('\n');
    let beside = dir.join(format!("{UNFINISHED}{}", uuid::Uuid::new_v4()));
    let written = state::create_new(&beside)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&beside, path));
    if let Err(error) = written {
        // What is left has no fleet's name: it is never read, and the next prune sweeps it up.
        fs::remove_file(&beside).ok();
        return Err(failed(&error));
    }
    state::sync_dir(dir)
}

/// The names in the directory of fleets, the newest first; none when there is no such directory yet.
fn names(state: &StateDir) -> Result<Vec<String>, JournalError> {
    let dir = state.fleets_dir();
    let failed = |error: &io::Error| JournalError::io("read", &dir, error);
    let entries = match fs::read_dir(&dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|e| failed(&e))?,
    };
    let mut names = entries
        .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| failed(&e))?;
    names.sort_unstable_by(|a, b| b.cmp(a));
    Ok(names)
}

fn ids(state: &StateDir) -> Result<Vec<String>, JournalError> {
    let ids = names(state)?.into_iter().filter_map(|name| name.strip_suffix(ENDING).map(str::to_owned));
    Ok(ids.filter(|id| state::is_run_id(id)).collect())
}

/// Reads the record of a fleet.
///
/// # Errors
/// [`JournalError`] when there is none or it cannot be understood.
pub fn load_fleet(state: &StateDir, id: &str) -> Result<FleetRecord, JournalError> {
    state::check_run_id(id)?;
    let path = state.fleets_dir().join(format!("{id}{ENDING}"));
    if !state::expect_file_or_nothing(&path)? {
        return Err(JournalError::NoFleet { fleet: id.to_owned(), state: state.root().to_owned() });
    }
    let mut text = String::new();
    let read = File::open(&path).and_then(|file| file.take(MAX_RECORD + 1).read_to_string(&mut text));
    read.map_err(|e| JournalError::io("read", &path, &e))?;
    if text.len() as u64 > MAX_RECORD {
        return Err(JournalError::NotAFleet { path, why: "it is too large".to_owned() });
    }
    FleetRecord::parse(&text, id).map_err(|why| JournalError::NotAFleet { path, why })
}

/// Lists the fleets; what cannot be read is told apart and hides no other.
///
/// # Errors
/// [`JournalError`] when the directory itself cannot be read.
pub fn fleets(state: &StateDir) -> Result<FleetList, JournalError> {
    let mut list = FleetList::default();
    for id in ids(state)? {
        match load_fleet(state, &id) {
            Ok(record) => list.fleets.push(record),
            Err(JournalError::NoFleet { .. }) => {}
            Err(error) => list.skipped.push(Skipped { name: id, why: error.to_string() }),
        }
    }
    Ok(list)
}

/// The full id of the fleet whose id begins with `prefix`.
///
/// # Errors
/// [`JournalError::NoFleet`], or [`JournalError::Ambiguous`] with the candidates.
pub fn resolve_fleet_id(state: &StateDir, prefix: &str) -> Result<String, JournalError> {
    let wanted = prefix.to_ascii_lowercase();
    if wanted.is_empty() || !wanted.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-') {
        return Err(JournalError::NotARunId(prefix.chars().take(80).collect()));
    }
    let mut found = ids(state)?;
    found.retain(|id| id.starts_with(&wanted));
    match found.as_slice() {
        [] => Err(JournalError::NoFleet { fleet: prefix.to_owned(), state: state.root().to_owned() }),
        [one] => Ok(one.clone()),
        _ => Err(JournalError::Ambiguous { prefix: prefix.to_owned(), candidates: found }),
    }
}

/// Removes the records that are older than `older_than` and that `may_go` releases (none of their runs is kept any more).
/// What cannot be read stays. Returns the ids of those that are gone.
///
/// # Errors
/// [`JournalError`] when the directory itself cannot be read.
pub fn prune_fleets(
    state: &StateDir,
    older_than: Span,
    now: Timestamp,
    may_go: impl Fn(&FleetRecord) -> bool,
) -> Result<Vec<String>, JournalError> {
    let mut gone = Vec::new();
    for record in fleets(state)?.fleets {
        let age = elapsed(record.ended.unwrap_or(record.started), now);
        if age >= older_than.to_std() && may_go(&record) {
            let path = state.fleets_dir().join(format!("{}{ENDING}", record.id));
            fs::remove_file(&path).map_err(|e| JournalError::io("remove", &path, &e))?;
            gone.push(record.id);
        }
    }
    for name in names(state)?.iter().filter(|name| name.starts_with(UNFINISHED)) {
        // Of a process that was killed while it wrote. One that writes right now makes its file anew when this fails it.
        let path = state.fleets_dir().join(name);
        let old = fs::metadata(&path).and_then(|found| found.modified());
        let age = old.ok().and_then(|at| Timestamp::try_from(at).ok()).map(|at| elapsed(at, now));
        if age.is_some_and(|age| age >= older_than.to_std().max(std::time::Duration::from_secs(86_400))) {
            fs::remove_file(path).ok();
        }
    }
    Ok(gone)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const A: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
    const B: &str = "01890a5d-ff00-774b-bcce-b302099a8057";
    const RUN: &str = "0199ffff-0000-774b-bcce-b302099a8057";

    fn at(day: u64) -> Timestamp {
        Timestamp::UNIX_EPOCH + Duration::from_secs(day * 86_400)
    }

    fn record(id: &str) -> FleetRecord {
        let vm = |name: &str| FleetVm {
            vm: format!("/subscriptions/s/{name}"),
            playbook: "stuck-job".into(),
            stage: FleetStage::Waiting,
            run: None,
            status: String::new(),
            why: String::new(),
        };
        FleetRecord {
            format: FLEET_FORMAT.into(),
            id: id.into(),
            version: "1".into(),
            retry_of: None,
            started: at(20),
            ended: None,
            sandbox: true,
            cloud: "sandbox".into(),
            endpoint: "https://x/".into(),
            estate_digest: "d".into(),
            playbook: "auto".into(),
            playbooks: None,
            set: vec!["retain=14d".into()],
            relock: true,
            beyond: Vec::new(),
            scope: "all".into(),
            vms: vec![vm("a"), vm("b")],
        }
    }

    fn state() -> (tempfile::TempDir, StateDir) {
        let home = tempfile::tempdir().unwrap();
        let state = StateDir::open(&home.path().join("s"), true).unwrap();
        (home, state)
    }

    #[test]
    fn what_is_written_is_read_again_at_every_moment() {
        let (_home, state) = state();
        let file = FleetFile::create(&state, record(A)).unwrap();
        assert_eq!(load_fleet(&state, A).unwrap(), record(A));
        assert!(matches!(FleetFile::create(&state, record(A)), Err(JournalError::Exists(_))));
        file.update(|record| {
            let vm = record.vms.first_mut().unwrap();
            (vm.stage, vm.run) = (FleetStage::Begun, Some(RUN.into()));
        })
        .unwrap();
        let read = load_fleet(&state, A).unwrap();
        assert_eq!(read, file.record());
        assert_eq!(read.vms.first().unwrap().run.as_deref(), Some(RUN));
        assert_eq!(fs::read_dir(state.fleets_dir()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn an_update_that_fails_leaves_the_record_as_it_was() {
        let (_home, state) = state();
        let file = FleetFile::create(&state, record(A)).unwrap();
        fs::rename(state.fleets_dir(), state.root().join("elsewhere")).unwrap();
        assert!(file.update(|record| record.ended = Some(at(21))).is_err());
        assert_eq!(file.record().ended, None);
    }

    #[test]
    fn what_is_no_record_is_refused_and_hides_no_other() {
        let (_home, state) = state();
        FleetFile::create(&state, record(A)).unwrap();
        let text = serde_json::to_string(&record(B)).unwrap();
        let edits = [
            ("fleet-record/v1", "fleet-record/v9"),
            ("\"relock\"", "\"rellock\""),
            ("\"waiting\"", "\"begun\""),
            ("\"waiting\"", "\"great\""),
            ("\"run\":null", "\"run\":\"../../x\""),
            ("subscriptions/s/b", "SUBSCRIPTIONS/s/A"),
            (B, A),
            ("{", ""),
        ];
        for (from, to) in edits {
            let wrong = text.replacen(from, to, 1);
            assert_ne!(wrong, text);
            fs::write(state.fleets_dir().join(format!("{B}.json")), wrong).unwrap();
            assert!(matches!(load_fleet(&state, B), Err(JournalError::NotAFleet { .. })), "{to}");
            let list = fleets(&state).unwrap();
            assert_eq!((list.fleets.len(), list.skipped.len()), (1, 1), "{to}");
        }
        fs::write(state.fleets_dir().join(format!("{B}.json")), &text).unwrap();
        assert_eq!(fleets(&state).unwrap().fleets.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), [B, A]);
    }

    #[test]
    fn the_beginning_of_an_id_is_enough_and_old_records_go() {
        let (_home, state) = state();
        assert!(matches!(resolve_fleet_id(&state, "01"), Err(JournalError::NoFleet { .. })));
        FleetFile::create(&state, record(A)).unwrap();
        FleetFile::create(&state, FleetRecord { ended: Some(at(39)), ..record(B) }).unwrap();
        assert_eq!(resolve_fleet_id(&state, "01890A5D-f").unwrap(), B);
        assert!(matches!(resolve_fleet_id(&state, "01890a5d"), Err(JournalError::Ambiguous { .. })));
        assert!(matches!(resolve_fleet_id(&state, "../.."), Err(JournalError::NotARunId(_))));
        let month = Span::from_secs(10 * 86_400);
        assert_eq!(prune_fleets(&state, month, at(40), |_| false).unwrap(), Vec::<String>::new());
        assert_eq!(prune_fleets(&state, month, at(40), |_| true).unwrap(), [A]);
        assert_eq!(fleets(&state).unwrap().fleets.len(), 1);
    }
}
