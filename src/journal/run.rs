//! A run in the state.
//!
//! Invariants: a run appears whole (plan and empty journal are there before it can be seen); one process at a time works on a
//! run; `append` returns only when the line is durable, and after one failed append every later one fails, because nobody knows
//! what the file ends with until it is read again. A process that lost what it held writes nothing more.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures::future::select_all;
use jiff::Timestamp;

use super::chain::{self, Continuation, Integrity, Loaded};
use super::error::JournalError;
use super::event::{Event, Record};
use super::place::{Hold, State};
use super::state;
use super::store::{JOURNAL, Lease, Loss, Store, Thing};
use super::{AppendError, RunLog};

const PLAN: &str = "plan.json";
/// The folder of runs.
pub(super) const RUNS: &str = "runs";

/// A run that this process holds.
#[derive(Debug)]
pub struct RunFile {
    id: String,
    state: State,
    writer: tokio::sync::Mutex<Writer>,
    said: Mutex<Said>,
    /// The run itself.
    own: Arc<dyn Lease>,
    /// What else this process holds for it.
    more: Mutex<Vec<Arc<dyn Lease>>>,
}

#[derive(Debug)]
struct Said {
    records: Vec<Record>,
    salvaged: Vec<Record>,
}

#[derive(Debug)]
struct Writer {
    /// Why nothing can be written any more.
    broken: Option<Broken>,
    next: Continuation,
    /// How long the file is.
    len: u64,
    /// What the file has beyond [`Continuation::keep`] is cut before the first append.
    torn: bool,
    plan_sum: String,
}

#[derive(Debug, Clone)]
struct Broken {
    why: String,
    passes: bool,
}

fn name(run: &str, file: &str) -> String {
    format!("{RUNS}/{run}/{file}")
}

impl RunFile {
    /// Makes a run: its plan and an empty journal are durable when this returns.
    ///
    /// # Errors
    /// [`JournalError`]; there is no such run then.
    pub async fn create(state: &State, run: &str, plan_json: &str) -> Result<Self, JournalError> {
        state::check_run_id(run)?;
        let (plan, journal) = (name(run, PLAN), name(run, JOURNAL));
        state.store().create(&[(&plan, plan_json.as_bytes()), (&journal, b"")]).await?;
        Self::open(state, run).await.map(|(run, _)| run)
    }

    /// Takes up a run that exists. A torn end is cut before the next line is written; a damaged journal can be opened too
    /// (see [`Integrity`]).
    ///
    /// # Errors
    /// [`JournalError::Busy`] when another process works on it, and when it cannot be read. That it cannot be *written* is
    /// only seen by `append`, for a lock must be put back all the same (S2).
    pub async fn open(state: &State, run: &str) -> Result<(Self, Loaded), JournalError> {
        state::check_run_id(run)?;
        let lease = state.store().hold(Thing::Run(run), run).await?;
        let (loaded, next, len) = read_run(state, run, false).await?;
        let broken = match (&loaded.integrity, len) {
            (Integrity::TooNew { .. }, _) => Some("a newer azmend wrote it, and only that version can continue it"),
            (_, None) => Some("it is missing"),
            _ => None,
        };
        let writer = Writer {
            broken: broken.map(|why| Broken { why: why.to_owned(), passes: false }),
            len: len.unwrap_or_default(),
            next,
            // An edited file stays as it is: every byte of it is evidence, and lines are added after it.
            torn: loaded.is_intact() && loaded.tail != chain::Tail::Clean,
            plan_sum: chain::plan_sum(loaded.plan_json.as_bytes()),
        };
        let said = Said { records: loaded.records.clone(), salvaged: loaded.salvaged.clone() };
        let file = Self {
            id: run.to_owned(),
            state: state.clone(),
            writer: tokio::sync::Mutex::new(writer),
            said: Mutex::new(said),
            own: lease,
            more: Mutex::default(),
        };
        Ok((file, loaded))
    }

    /// Who works on a run now, if anybody does: a run that is not over and that nobody works on was killed. Nothing is made or
    /// changed by looking.
    ///
    /// # Errors
    /// When it cannot be told.
    pub async fn holder(state: &State, run: &str) -> Result<Option<String>, JournalError> {
        state::check_run_id(run)?;
        state.store().holder(Thing::Run(run)).await
    }

    /// The run's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What else this process holds for the run is held as long as the run, and its loss is the run's.
    pub fn adopt(&self, hold: Hold) {
        self.more().extend(hold.into_leases());
    }

    /// Returns when something that is held for the run is lost.
    pub async fn when_lost(&self) {
        let losses: Vec<Loss> = self.leases().iter().map(|lease| lease.loss()).collect();
        select_all(losses.iter().map(|loss| Box::pin(loss.happened()))).await;
    }

    /// Removes the run, out of sight in one step.
    pub(super) async fn remove(self) -> Result<(), JournalError> {
        let Self { state, id, own, .. } = self;
        state.store().remove_run(&id, own).await
    }

    fn more(&self) -> MutexGuard<'_, Vec<Arc<dyn Lease>>> {
        self.more.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All that is held; never empty.
    fn leases(&self) -> Vec<Arc<dyn Lease>> {
        std::iter::once(&self.own).chain(self.more().iter()).cloned().collect()
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl RunLog for RunFile {
    async fn append(&self, at: Timestamp, event: Event) -> Result<Record, AppendError> {
        let journal = name(&self.id, JOURNAL);
        let mut writer = self.writer.lock().await;
        let written = match self.lost() {
            Some(why) => Err(Broken { why, passes: false }),
            None => writer.append(self.state.store().as_ref(), &journal, &*self.own, at, event).await,
        };
        match written {
            Ok(record) => {
                self.said().records.push(record.clone());
                Ok(record)
            }
            Err(Broken { why, passes }) => Err(AppendError { path: self.state.store().shown(&journal), why, passes }),
        }
    }

    fn records(&self) -> Vec<Record> {
        self.said().records.clone()
    }

    fn salvaged(&self) -> Vec<Record> {
        self.said().salvaged.clone()
    }

    fn lost(&self) -> Option<String> {
        self.leases().iter().find_map(|lease| lease.lost())
    }
}

impl Writer {
    async fn append(
        &mut self,
        store: &dyn Store,
        journal: &str,
        lease: &dyn Lease,
        at: Timestamp,
        event: Event,
    ) -> Result<Record, Broken> {
        if let Some(broken) = &self.broken {
            return Err(broken.clone());
        }
        let record = Record { seq: self.next.seq + 1, at, event };
        let plan = (record.seq == 1).then_some(self.plan_sum.as_str());
        let line = chain::write_line(&record, &self.next.sum, plan);
        let (mut text, sum) = line.map_err(|why| Broken { why, passes: false })?;
        if self.next.newline {
            text.insert(0, '\n');
        }
        // Also when whoever waits for this gives up: what the file ends with is not known then.
        self.broken = Some(Broken { why: "an earlier line was not waited for".to_owned(), passes: false });
        if let Err(error) = self.write(store, journal, lease, text.as_bytes()).await {
            let broken = Broken { why: why(&error), passes: error.passes() };
            let why = format!("an earlier line could not be written: {}", broken.why);
            self.broken = Some(Broken { why, ..broken });
            return Err(broken);
        }
        self.broken = None;
        self.next.newline = false;
        self.next.sum = sum;
        self.next.seq = record.seq;
        Ok(record)
    }

    async fn write(
        &mut self,
        store: &dyn Store,
        journal: &str,
        lease: &dyn Lease,
        bytes: &[u8],
    ) -> Result<(), JournalError> {
        if self.torn {
            store.cut(journal, self.next.keep).await?;
            self.len = self.next.keep;
            self.torn = false;
        }
        store.append(journal, self.len, bytes, lease).await?;
        self.len += bytes.len() as u64;
        Ok(())
    }
}

/// Why, for a message that names the file itself.
fn why(error: &JournalError) -> String {
    let what = match error {
        JournalError::Io { why, .. } | JournalError::Storage { why, .. } => why.clone(),
        other => other.to_string(),
    };
    match error.hint() {
        Some(hint) => format!("{what} ({hint})"),
        None => what,
    }
}

/// Reads a run without holding it: another process may be adding to it right now, and what looks torn then is a line on
/// its way.
///
/// # Errors
/// [`JournalError`] when there is no such run or it cannot be read.
pub async fn load(state: &State, run: &str) -> Result<Loaded, JournalError> {
    state::check_run_id(run)?;
    read_run(state, run, false).await.map(|(loaded, ..)| loaded)
}

/// The same of a run whose name was just listed.
pub(super) async fn load_listed(state: &State, run: &str) -> Result<Loaded, JournalError> {
    state::check_run_id(run)?;
    read_run(state, run, true).await.map(|(loaded, ..)| loaded)
}

/// What a run says, how it continues, and the length of its journal if it has one.
async fn read_run(state: &State, run: &str, listed: bool) -> Result<(Loaded, Continuation, Option<u64>), JournalError> {
    let store = state.store();
    let (plan, journal) = (name(run, PLAN), name(run, JOURNAL));
    let there = store.has(&format!("{RUNS}/{run}")).await?;
    let (plan, journal) = if there {
        if listed {
            (store.read_listed(&plan).await?, store.read_listed(&journal).await?)
        } else {
            (store.read(&plan).await?, store.read(&journal).await?)
        }
    } else {
        (None, None)
    };
    if !there || store.in_parts() && journal.is_none() {
        return Err(JournalError::NoRun { run: run.to_owned(), state: state.place() });
    }
    let (mut loaded, next) = chain::read(journal.as_deref().unwrap_or_default(), plan.as_deref(), run);
    if journal.is_none() {
        loaded.integrity = Integrity::Edited { line: 1, why: format!("{JOURNAL} is missing") };
    }
    Ok((loaded, next, journal.map(|bytes| bytes.len() as u64)))
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
