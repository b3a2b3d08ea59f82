//! A run in the state directory.
//!
//! Invariants: a run's directory appears whole (plan and empty journal are on disk before it gets its name); one process
//! at a time works on a run; `append` returns only when the line is on disk, and after one failed append every later one
//! fails, because nobody knows what the file ends with until it is read again.

use std::fmt::Debug;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use super::chain::{self, Continuation, Integrity, Loaded};
use super::error::{JournalError, io_hint, shown};
use super::event::{Event, Record};
use super::lock::{HeldFile, held_by};
use super::state::{self, StateDir};
use super::{AppendError, RunLog};

const PLAN: &str = "plan.json";
const JOURNAL: &str = "journal.jsonl";
const LOCK: &str = "lock";
/// What a run's directory is called until it is whole.
pub(super) const UNFINISHED: &str = ".new-";

/// Where lines go: a file, or in tests a disk that fails.
trait Sink: Send + Debug {
    /// Adds the bytes at the end and returns when they are on disk.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Cuts everything after `len` bytes.
    fn cut(&mut self, len: u64) -> io::Result<()>;
}

impl Sink for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        state::add_line(self, bytes)
    }

    fn cut(&mut self, len: u64) -> io::Result<()> {
        self.set_len(len)?;
        self.sync_all()
    }
}

/// A run on this machine's disk, held by this process.
#[derive(Debug)]
pub struct LocalRun {
    id: String,
    dir: PathBuf,
    inner: Mutex<Inner>,
    _held: HeldFile,
}

#[derive(Debug)]
struct Inner {
    /// The file, or why nothing can be written any more.
    sink: Result<Box<dyn Sink>, String>,
    records: Vec<Record>,
    salvaged: Vec<Record>,
    next: Continuation,
    /// What the file has beyond [`Continuation::keep`] is cut before the first append.
    torn: bool,
    plan_sum: String,
}

impl LocalRun {
    /// Makes a run: its plan and an empty journal are on disk when this returns.
    ///
    /// # Errors
    /// [`JournalError`]; there is no such run then.
    pub fn create(state: &StateDir, run: &str, plan_json: &str) -> Result<Self, JournalError> {
        state::check_run_id(run)?;
        let runs = state.runs_dir();
        state::make_private(&runs, false)?;
        state::expect_dir(&runs)?;
        let dir = runs.join(run);
        if fs::symlink_metadata(&dir).is_ok() {
            return Err(JournalError::Exists(run.to_owned()));
        }
        let unfinished = runs.join(format!("{UNFINISHED}{run}"));
        let made = make_run_dir(&unfinished, plan_json).and_then(|()| {
            fs::rename(&unfinished, &dir).map_err(|e| JournalError::io("create", &dir, &e))?;
            state::sync_dir(&runs)?;
            state::sync_dir(state.root())
        });
        if let Err(error) = made {
            // What is left has no run's name: it is never read and `prune` sweeps it up.
            fs::remove_dir_all(&unfinished).ok();
            return Err(error);
        }
        Self::open(state, run).map(|(run, _)| run)
    }

    /// Takes up a run that exists. A torn end is cut before the next line is written; a damaged journal can be opened too
    /// (see [`Integrity`]).
    ///
    /// # Errors
    /// [`JournalError::Busy`] when another process works on it, and when it cannot be read. That it cannot be *written* is
    /// only seen by `append`, for a lock must be put back all the same (S2).
    pub fn open(state: &StateDir, run: &str) -> Result<(Self, Loaded), JournalError> {
        let dir = state.run_dir(run)?;
        let held = HeldFile::take(&dir.join(LOCK), run, &format!("the run {run}"))?;
        let (loaded, next) = read_run(&dir, run)?;
        let sink: Result<Box<dyn Sink>, String> = match &loaded.integrity {
            Integrity::TooNew { .. } => {
                Err("a newer azmend wrote it, and only that version can continue it".to_owned())
            }
            _ => match state::open_to_add(&dir.join(JOURNAL)) {
                Ok(file) => Ok(Box::new(file)),
                Err(error) => Err(why(&error, &dir)),
            },
        };
        // An edited file stays as it is: every byte of it is evidence, and lines are added after it.
        let torn = loaded.is_intact() && loaded.tail != chain::Tail::Clean;
        let plan_sum = chain::plan_sum(loaded.plan_json.as_bytes());
        let (records, salvaged) = (loaded.records.clone(), loaded.salvaged.clone());
        let inner = Inner { sink, records, salvaged, next, torn, plan_sum };
        Ok((Self { id: run.to_owned(), dir, inner: Mutex::new(inner), _held: held }, loaded))
    }

    /// Who works on a run now, if anybody does: a run that is not over and that nobody works on was killed. Nothing is made or
    /// changed by looking.
    ///
    /// # Errors
    /// When it cannot be told.
    pub fn holder(state: &StateDir, run: &str) -> Result<Option<String>, JournalError> {
        held_by(&state.run_dir(run)?.join(LOCK))
    }

    /// The run's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The run's directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RunLog for LocalRun {
    fn append(&self, at: Timestamp, event: Event) -> Result<Record, AppendError> {
        self.lock()
            .append(at, event, &self.dir)
            .map_err(|why| AppendError { path: shown(&self.dir.join(JOURNAL)), why })
    }

    fn records(&self) -> Vec<Record> {
        self.lock().records.clone()
    }

    fn salvaged(&self) -> Vec<Record> {
        self.lock().salvaged.clone()
    }
}

impl Inner {
    fn append(&mut self, at: Timestamp, event: Event, dir: &Path) -> Result<Record, String> {
        let sink = match &mut self.sink {
            Ok(sink) => sink,
            Err(why) => return Err(why.clone()),
        };
        let record = Record { seq: self.next.seq + 1, at, event };
        let plan = (record.seq == 1).then_some(self.plan_sum.as_str());
        let (mut text, sum) = chain::write_line(&record, &self.next.sum, plan)?;
        if self.next.newline {
            text.insert(0, '\n');
        }
        let cut = if self.torn { sink.cut(self.next.keep) } else { Ok(()) };
        if let Err(error) = cut.and_then(|()| sink.append(text.as_bytes())) {
            let why = why(&error, dir);
            self.sink = Err(format!("an earlier line could not be written: {why}"));
            return Err(why);
        }
        self.torn = false;
        self.next.newline = false;
        self.next.sum = sum;
        self.next.seq = record.seq;
        self.records.push(record.clone());
        Ok(record)
    }
}

fn why(error: &io::Error, dir: &Path) -> String {
    match io_hint(error.kind(), dir) {
        Some(hint) => format!("{error} ({hint})"),
        None => error.to_string(),
    }
}

fn make_run_dir(dir: &Path, plan_json: &str) -> Result<(), JournalError> {
    if fs::symlink_metadata(dir).is_ok() {
        fs::remove_dir_all(dir).map_err(|e| JournalError::io("clear away", dir, &e))?;
    }
    state::make_private(dir, false)?;
    for (name, content) in [(PLAN, plan_json), (JOURNAL, ""), (LOCK, "")] {
        let path = dir.join(name);
        state::create_new(&path)
            .and_then(|mut file| {
                file.write_all(content.as_bytes())?;
                file.sync_all()
            })
            .map_err(|e| JournalError::io("write", &path, &e))?;
    }
    state::sync_dir(dir)
}

/// Reads a run without holding it: another process may be adding to it right now, and what looks torn then is a line on
/// its way.
///
/// # Errors
/// [`JournalError`] when there is no such run or it cannot be read.
pub fn load(state: &StateDir, run: &str) -> Result<Loaded, JournalError> {
    read_run(&state.run_dir(run)?, run).map(|(loaded, _)| loaded)
}

fn read_run(dir: &Path, run: &str) -> Result<(Loaded, Continuation), JournalError> {
    let read = |name: &str| {
        let path = dir.join(name);
        if !state::expect_file_or_nothing(&path)? {
            return Ok(None);
        }
        fs::read(&path).map(Some).map_err(|e| JournalError::io("read", &path, &e))
    };
    let (plan, journal) = (read(PLAN)?, read(JOURNAL)?);
    let (mut loaded, next) = chain::read(journal.as_deref().unwrap_or_default(), plan.as_deref(), run);
    if journal.is_none() {
        loaded.integrity = Integrity::Edited { line: 1, why: format!("{JOURNAL} is missing") };
    }
    Ok((loaded, next))
}

#[cfg(test)]
#[path = "local_tests.rs"]
mod tests;
