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
//! Invariants: a record without its whole first line is none, and after that line it is only added to; a line is durable before
//! the change returns, so it says that a VM's run begins before it does. It is read strictly:
//! another format, an unknown key, an id that is none is an error, never a guess; only the beginning of a last line is left
//! out, for its append never returned. Must never: be needed to put a lock back.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::StreamExt as _;
use futures::stream;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::error::JournalError;
use super::lock::LockKey;
use super::place::State;
use super::runs::Skipped;
use super::state;
use super::store::{Lease, Thing};
use crate::clock::elapsed;
use crate::duration::Span;
use crate::text::safe_short;

/// The format this azmend writes and reads.
pub const FLEET_FORMAT: &str = "azmend.fleet-record/v1";
const ENDING: &str = ".jsonl";
/// The folder of fleets.
const FLEETS: &str = "fleets";

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

/// The record of a fleet that is under way, held by this process.
#[derive(Debug)]
pub struct FleetFile {
    state: State,
    name: String,
    lease: Arc<dyn Lease>,
    writer: tokio::sync::Mutex<Writer>,
    record: Mutex<FleetRecord>,
}

#[derive(Debug)]
struct Writer {
    /// Why nothing can be added any more.
    broken: Option<JournalError>,
    /// How long the file is.
    len: u64,
}

fn name(id: &str) -> String {
    format!("{FLEETS}/{id}{ENDING}")
}

impl FleetFile {
    /// Writes a new record, and holds the fleet: as long as this is there nobody takes the fleet up again.
    ///
    /// # Errors
    /// [`JournalError`]; there is no such fleet then.
    pub async fn create(state: &State, record: FleetRecord) -> Result<Self, JournalError> {
        state::check_run_id(&record.id)?;
        let name = name(&record.id);
        let lease = state.store().hold(Thing::Key(&LockKey::fleet(&record.id)), &record.id).await?;
        let mut text = in_json(&name, &record)?;
        text.push('\n');
        state.store().create(&[(&name, text.as_bytes())]).await?;
        let writer = tokio::sync::Mutex::new(Writer { broken: None, len: text.len() as u64 });
        Ok(Self { state: state.clone(), name, lease, writer, record: Mutex::new(record) })
    }

    /// Changes one VM of the list; durable when this returns.
    ///
    /// # Errors
    /// [`JournalError`]: the record is as it was before.
    pub async fn change(&self, index: usize, change: impl FnOnce(&mut FleetVm)) -> Result<(), JournalError> {
        let Some(mut vm) = self.record().vms.get(index).cloned() else { return Ok(()) };
        change(&mut vm);
        self.append(vec![Line::Vm(Progress::of(index, vm))]).await
    }

    /// Writes down the VMs whose turn never came, by their place in the list, and that the fleet has ended.
    ///
    /// # Errors
    /// As [`Self::change`].
    pub async fn end(&self, left: Vec<(usize, String, String)>, at: Timestamp) -> Result<(), JournalError> {
        let mut lines = Vec::with_capacity(left.len() + 1);
        for (index, status, why) in left {
            if let Some(vm) = self.locked().vms.get(index).cloned() {
                let vm = FleetVm { stage: FleetStage::NotStarted, status, why, ..vm };
                lines.push(Line::Vm(Progress::of(index, vm)));
            }
        }
        lines.push(Line::Ended(at));
        self.append(lines).await
    }

    /// The record as it was written.
    #[must_use]
    pub fn record(&self) -> FleetRecord {
        self.locked().clone()
    }

    /// Why this process may no longer work on the fleet.
    #[must_use]
    pub fn lost(&self) -> Option<String> {
        self.lease.lost()
    }

    fn locked(&self) -> MutexGuard<'_, FleetRecord> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn append(&self, lines: Vec<Line>) -> Result<(), JournalError> {
        let mut writer = self.writer.lock().await;
        if let Some(error) = &writer.broken {
            return Err(error.clone());
        }
        let mut text = String::new();
        for line in &lines {
            text.push_str(&in_json(&self.name, line)?);
            text.push('\n');
        }
        let store = self.state.store();
        if let Err(error) = store.append(&self.name, writer.len, text.as_bytes(), &*self.lease).await {
            // A line behind half a line would make the whole record unreadable.
            if store.cut(&self.name, writer.len).await.is_err() {
                writer.broken = Some(error.clone());
            }
            return Err(error);
        }
        writer.len += text.len() as u64;
        let mut record = self.locked();
        for line in lines {
            // Its place was looked up in this record.
            record.follow(line).ok();
        }
        Ok(())
    }
}

fn in_json(name: &str, what: &impl Serialize) -> Result<String, JournalError> {
    serde_json::to_string(what)
        .map_err(|error| JournalError::NotAFleet { path: name.to_owned(), why: error.to_string() })
}

impl Progress {
    fn of(index: usize, vm: FleetVm) -> Self {
        Self { index, stage: vm.stage, run: vm.run, status: vm.status, why: vm.why }
    }
}

async fn ids(state: &State) -> Result<Vec<String>, JournalError> {
    let mut names = state.store().names(FLEETS).await?;
    names.sort_unstable_by(|a, b| b.cmp(a));
    let ids = names.into_iter().filter_map(|name| name.strip_suffix(ENDING).map(str::to_owned));
    Ok(ids.filter(|id| state::is_run_id(id)).collect())
}

/// Reads the record of a fleet.
///
/// # Errors
/// [`JournalError`] when there is none or it cannot be understood.
pub async fn load_fleet(state: &State, id: &str) -> Result<FleetRecord, JournalError> {
    state::check_run_id(id)?;
    let name = name(id);
    let Some(bytes) = state.store().read(&name).await? else {
        return Err(JournalError::NoFleet { fleet: id.to_owned(), state: state.place() });
    };
    if state.store().in_parts() && !bytes.contains(&b'\n') {
        // Killed while it was made: nothing had begun.
        return Err(JournalError::NoFleet { fleet: id.to_owned(), state: state.place() });
    }
    let not = |why: String| JournalError::NotAFleet { path: state.store().shown(&name), why };
    let text = match std::str::from_utf8(&bytes) {
        Ok(text) => text,
        // A crash may cut the last line within a letter.
        Err(error) => {
            let (good, bad) = bytes.split_at(error.valid_up_to());
            match std::str::from_utf8(good) {
                Ok(text) if !bad.contains(&b'\n') => text,
                _ => return Err(not("it is not text".to_owned())),
            }
        }
    };
    FleetRecord::parse(text, id).map_err(not)
}

/// Lists the fleets; what cannot be read is told apart and hides no other.
///
/// # Errors
/// [`JournalError`] when the fleets cannot be listed at all.
pub async fn fleets(state: &State) -> Result<FleetList, JournalError> {
    let mut list = FleetList::default();
    let readings = ids(state).await?.into_iter().map(|id| async move {
        let record = load_fleet(state, &id).await;
        (id, record)
    });
    let mut readings = stream::iter(readings).buffered(state.store().width().max(1));
    while let Some((id, record)) = readings.next().await {
        match record {
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
pub async fn resolve_fleet_id(state: &State, prefix: &str) -> Result<String, JournalError> {
    let wanted = prefix.to_ascii_lowercase();
    if wanted.is_empty() || !wanted.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-') {
        return Err(JournalError::NotARunId(prefix.chars().take(80).collect()));
    }
    let mut found = ids(state).await?;
    found.retain(|id| id.starts_with(&wanted));
    match found.as_slice() {
        [] => Err(JournalError::NoFleet { fleet: prefix.to_owned(), state: state.place() }),
        [one] => Ok(one.clone()),
        _ => Err(JournalError::Ambiguous { prefix: prefix.to_owned(), candidates: found }),
    }
}

/// Removes the records that are older than `older_than` and that `may_go` releases (none of their runs is kept any more).
/// What cannot be read stays, and what a process works on. Returns the ids of those that are gone.
///
/// # Errors
/// [`JournalError`] when the fleets cannot be listed at all, or one cannot be removed.
pub async fn prune_fleets(
    state: &State,
    older_than: Span,
    now: Timestamp,
    may_go: impl Fn(&FleetRecord) -> bool,
) -> Result<Vec<String>, JournalError> {
    let mut gone = Vec::new();
    for record in fleets(state).await?.fleets {
        let age = elapsed(record.ended.unwrap_or(record.started), now);
        if age >= older_than.to_std() && may_go(&record) {
            let key = LockKey::fleet(&record.id);
            let held = match state.store().hold(Thing::Key(&key), &record.id).await {
                Ok(held) => held,
                Err(JournalError::Busy { .. }) => continue,
                Err(error) => return Err(error),
            };
            state.store().remove_fleet(&name(&record.id), &key, held).await?;
            gone.push(record.id);
        }
    }
    state.store().sweep(now).await;
    Ok(gone)
}

#[cfg(test)]
#[path = "fleet_tests.rs"]
mod tests;
