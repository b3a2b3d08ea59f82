//! The record of a fleet: which VMs it meant to repair, which run each got, how each ended.
//!
//! ```text
//! <state>/fleets/<fleet id>.jsonl
//! ```
//!
//! The first line is the fleet as it was confirmed; each other line says how far one VM has come, or that the fleet has
//! ended. A line is small, so that ten thousand VMs cost ten thousand small writes.
//!
//! Duty: to find the runs of a fleet, and the VMs that are left to do, also after a kill. It proves nothing: what a run did
//! stands in the run's own journal, and a VM that is taken up again is read and planned anew.
//!
//! Invariants: the file appears with its whole first line (written beside, synced, renamed), and after that is only added to;
//! a line is on disk (fsync) before the change returns, so it says that a VM's run begins before it does. It is read strictly:
//! another format, an unknown key, an id that is none is an error, never a guess; only the beginning of a last line is left
//! out, for its append never returned. Must never: be needed to put a lock back.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::error::JournalError;
use super::lock::{FileLock, LockKey};
use super::runs::Skipped;
use super::state::{self, StateDir};
use crate::clock::elapsed;
use crate::duration::Span;
use crate::text::safe_short;

/// The format this azmend writes and reads.
pub const FLEET_FORMAT: &str = "azmend.fleet-record/v1";
/// The largest record that is read: a VM takes about 1 KB.
const MAX_RECORD: u64 = 512 * 1024 * 1024;
const ENDING: &str = ".jsonl";
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

/// A line behind the first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    /// One VM has come this far.
    Vm(Progress),
    /// The fleet has ended.
    Ended(Timestamp),
}

/// How far one VM has come: what of a [`FleetVm`] changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Progress {
    /// Its place in the list, from 0.
    index: usize,
    stage: FleetStage,
    run: Option<String>,
    status: String,
    why: String,
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
        let mut lines = text.split_inclusive('\n');
        let head = lines.next().unwrap_or_default();
        let value: serde_json::Value = serde_json::from_str(head).map_err(|error| error.to_string())?;
        match value.get("format").and_then(serde_json::Value::as_str) {
            Some(FLEET_FORMAT) => {}
            Some(other) => {
                return Err(format!("its format is {:?}, this azmend reads {FLEET_FORMAT:?}", safe_short(other, 60)));
            }
            None => return Err("it names no format".to_owned()),
        }
        let mut record: Self = serde_json::from_value(value).map_err(|error| error.to_string())?;
        if record.id != id {
            return Err("it is the record of another fleet".to_owned());
        }
        for (number, text) in lines.enumerate() {
            match serde_json::from_str::<Line>(text) {
                Ok(line) => record.follow(line).map_err(|why| format!("line {}: {why}", number + 2))?,
                // The beginning of a last line: a crash while it was written.
                Err(_) if !text.ends_with('\n') => {}
                Err(error) => return Err(format!("line {}: {error}", number + 2)),
            }
        }
        let mut seen = BTreeSet::new();
        for one in &record.vms {
            if one.run.as_deref().is_some_and(|run| !state::is_run_id(run)) {
                return Err(format!("{:?} is no id of a run", safe_short(one.run.as_deref().unwrap_or_default(), 60)));
            }
            if one.run.is_none() && matches!(one.stage, FleetStage::Begun | FleetStage::Ended) {
                return Err(format!("{} has started without a run", safe_short(&one.vm, 200)));
            }
            if !seen.insert(one.vm.to_lowercase()) {
                return Err(format!("{} appears in it twice", safe_short(&one.vm, 200)));
            }
        }
        Ok(record)
    }

    fn follow(&mut self, line: Line) -> Result<(), String> {
        match line {
            Line::Vm(Progress { index, stage, run, status, why }) => {
                let vm = self.vms.get_mut(index).ok_or_else(|| format!("there is no VM {index} in it"))?;
                (vm.stage, vm.run, vm.status, vm.why) = (stage, run, status, why);
            }
            Line::Ended(at) => self.ended = Some(at),
        }
        Ok(())
    }
}

/// The record of a fleet that is under way. One process adds to it: the one that holds [`super::LockKey::fleet`].
#[derive(Debug)]
pub struct FleetFile {
    path: PathBuf,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// The file, or why nothing can be added any more.
    file: Result<File, JournalError>,
    /// How long it is.
    len: u64,
    record: FleetRecord,
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
        let len = write(&dir, &path, &record)?;
        state::sync_dir(state.root())?;
        let file = state::open_to_add(&path).map_err(|e| JournalError::io("open", &path, &e))?;
        Ok(Self { path, inner: Mutex::new(Inner { file: Ok(file), len, record }) })
    }

    /// Changes one VM of the list; on disk when this returns.
    ///
    /// # Errors
    /// [`JournalError`]: the record is as it was before.
    pub fn change(&self, index: usize, change: impl FnOnce(&mut FleetVm)) -> Result<(), JournalError> {
        let mut inner = self.lock();
        let Some(mut vm) = inner.record.vms.get(index).cloned() else { return Ok(()) };
        change(&mut vm);
        inner.append(&self.path, vec![Line::Vm(Progress::of(index, vm))])
    }

    /// Writes down the VMs whose turn never came, by their place in the list, and that the fleet has ended.
    ///
    /// # Errors
    /// As [`Self::change`].
    pub fn end(&self, left: Vec<(usize, String, String)>, at: Timestamp) -> Result<(), JournalError> {
        let mut inner = self.lock();
        let mut lines = Vec::with_capacity(left.len() + 1);
        for (index, status, why) in left {
            if let Some(vm) = inner.record.vms.get(index).cloned() {
                let vm = FleetVm { stage: FleetStage::NotStarted, status, why, ..vm };
                lines.push(Line::Vm(Progress::of(index, vm)));
            }
        }
        lines.push(Line::Ended(at));
        inner.append(&self.path, lines)
    }

    /// The record as it is on disk.
    #[must_use]
    pub fn record(&self) -> FleetRecord {
        self.lock().record.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress {
    fn of(index: usize, vm: FleetVm) -> Self {
        Self { index, stage: vm.stage, run: vm.run, status: vm.status, why: vm.why }
    }
}

impl Inner {
    fn append(&mut self, path: &Path, lines: Vec<Line>) -> Result<(), JournalError> {
        let file = match &mut self.file {
            Ok(file) => file,
            Err(error) => return Err(error.clone()),
        };
        let mut text = String::new();
        for line in &lines {
            let line = serde_json::to_string(line).map_err(io::Error::other);
            text.push_str(&line.map_err(|e| JournalError::io("write", path, &e))?);
            text.push('\n');
        }
        if let Err(error) = state::add_line(file, text.as_bytes()) {
            let error = JournalError::io("write", path, &error);
            // A line behind half a line would make the whole record unreadable.
            if file.set_len(self.len).and_then(|()| file.sync_data()).is_err() {
                self.file = Err(error.clone());
            }
            return Err(error);
        }
        self.len += text.len() as u64;
        for line in lines {
            // Its place was looked up in this record.
            self.record.follow(line).ok();
        }
        Ok(())
    }
}

/// Makes the file with its first line; gives back its length.
fn write(dir: &Path, path: &Path, record: &FleetRecord) -> Result<u64, JournalError> {
    let failed = |error: &io::Error| JournalError::io("write", path, error);
    let mut text = serde_json::to_string(record).map_err(|error| failed(&io::Error::other(error)))?;
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
    state::sync_dir(dir)?;
    Ok(text.len() as u64)
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
    let mut bytes = Vec::new();
    let read = File::open(&path).and_then(|file| file.take(MAX_RECORD + 1).read_to_end(&mut bytes));
    read.map_err(|e| JournalError::io("read", &path, &e))?;
    if bytes.len() as u64 > MAX_RECORD {
        return Err(JournalError::NotAFleet { path, why: "it is too large".to_owned() });
    }
    let text = match std::str::from_utf8(&bytes) {
        Ok(text) => text,
        // A crash may cut the last line within a letter.
        Err(error) => {
            let (good, bad) = bytes.split_at(error.valid_up_to());
            match std::str::from_utf8(good) {
                Ok(text) if !bad.contains(&b'\n') => text,
                _ => return Err(JournalError::NotAFleet { path, why: "it is not text".to_owned() }),
            }
        }
    };
    FleetRecord::parse(text, id).map_err(|why| JournalError::NotAFleet { path, why })
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
/// What cannot be read stays, and what a process works on. Returns the ids of those that are gone.
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
            let key = LockKey::fleet(&record.id);
            let held = match FileLock::take(state, &record.id, [key.clone()]) {
                Ok(held) => held,
                Err(JournalError::Busy { .. }) => continue,
                Err(error) => return Err(error),
            };
            let path = state.fleets_dir().join(format!("{}{ENDING}", record.id));
            fs::remove_file(&path).map_err(|e| JournalError::io("remove", &path, &e))?;
            drop(held);
            // Without a record nobody asks for this lock again.
            fs::remove_file(state.locks_dir().join(key.file_name())).ok();
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
#[path = "fleet_tests.rs"]
mod tests;
