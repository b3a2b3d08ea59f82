//! State in a container of a storage account: it outlives the machine that wrote it.
//!
//! ```text
//! <prefix>/runs/<run id>/plan.json       what was confirmed: made once (If-None-Match: *)
//!                        journal.jsonl   what happened: an append blob; whoever works on the run has its lease
//! <prefix>/locks/<hash>.lock             one for each VM and each scope with locks: an empty blob whose lease counts
//! <prefix>/fleets/<fleet id>.jsonl       which runs belong together: an append blob
//! ```
//!
//! Duty: the same [`Store`] as a disk, over the few requests of [`Blobs`]. Invariants: each append carries the id of the lease and
//! the position it belongs to, so that a request that is repeated, or arrives late, adds nothing twice and nothing in the wrong
//! place; an answer that was lost is settled by reading back, never by guessing; what is held is held by a lease that is
//! renewed in the background, and counts as lost some seconds before another process could get it.

mod lease;

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt as _;
use jiff::Timestamp;
use tokio::task::JoinHandle;

use super::error::{JournalError, Trouble};
use super::lock::LockKey;
use super::store::{JOURNAL, Lease, Store, Thing};
use crate::clock::{Clock, elapsed};
use crate::text::safe_short;
use lease::BlobLease;

/// No request is waited for longer than this; what it did is found out later.
const TIMEOUT: Duration = Duration::from_secs(12);
/// How long the same request is tried.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long before the account has answered anything: nothing is under way then, and its address may be wrong.
const FIRST_PATIENCE: Duration = Duration::from_secs(3);
/// How long to wait before it is tried again, at first.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// The most that one append takes in every version of the service (learn.microsoft.com, "Append Block").
const MOST_AT_ONCE: usize = 4 * 1024 * 1024;
/// How much of what was read is kept, so that it is not read again for each VM of a fleet.
const MOST_KNOWN: usize = 64 * 1024 * 1024;
/// How many readings at once.
const WIDTH: usize = 16;
/// How long a process waits at its end for what it releases.
const FAREWELL: Duration = Duration::from_secs(10);
/// How old the beginning of a run is before it is cleared away.
const LONG_AGO: Duration = Duration::from_secs(86_400);
/// Shows that a container can be written to, and what its blobs are.
const MARK: (&str, &[u8]) = ("azmend.json", b"{\"format\":\"azmend.state/v1\"}\n");

/// What kind of answer a request got that did not do what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlobProblem {
    /// There was no answer, or the service was not able to give one: it may have been done.
    Unsure,
    /// There is no such blob.
    NotFound,
    /// There is no such container.
    NoContainer,
    /// There is one already.
    Exists,
    /// The blob does not end at the position that was named.
    Position,
    /// Another lease is on it.
    LeaseTaken,
    /// The lease that was named is not on it.
    LeaseLost,
    /// No token could be had.
    SignIn,
    /// This identity may not.
    Denied,
    /// Anything else.
    Other,
}

/// Why a request did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct BlobFault {
    /// What kind of answer it was.
    pub problem: BlobProblem,
    /// What was said, fit for people.
    pub why: String,
}

impl BlobFault {
    /// A fault.
    #[must_use]
    pub fn new(problem: BlobProblem, why: impl Into<String>) -> Self {
        Self { problem, why: why.into() }
    }
}

/// A blob in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// When it was changed last.
    pub modified: Option<Timestamp>,
    /// Another one after each change (ETag).
    pub tag: Option<String>,
}

/// What can be seen of a blob without reading it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Blob {
    /// Whether a lease is on it.
    pub leased: bool,
    /// What was written on it: who has, or had, the lease.
    pub label: Option<String>,
}

/// A container of blobs, as far as the journal needs one. Each call is one request; none is repeated.
#[async_trait]
pub trait Blobs: Send + Sync + Debug {
    /// Where `name` is, for people: no secret is in it.
    fn place(&self, name: &str) -> String;
    /// The whole content.
    async fn get(&self, name: &str) -> Result<Vec<u8>, BlobFault>;
    /// A new block blob; never over one that exists.
    async fn put(&self, name: &str, content: &[u8]) -> Result<(), BlobFault>;
    /// A new, empty append blob; never over one that exists.
    async fn start(&self, name: &str) -> Result<(), BlobFault>;
    /// Adds at the position `at` or not at all; under the lease, when there is one.
    async fn append(&self, name: &str, at: u64, bytes: &[u8], lease: Option<&str>) -> Result<(), BlobFault>;
    /// All blobs whose names begin like this.
    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, BlobFault>;
    /// Deletes it.
    async fn delete(&self, name: &str, lease: Option<&str>) -> Result<(), BlobFault>;
    /// Gets the lease under an id of one's own choice; again with the same id is the same lease.
    async fn acquire(&self, name: &str, lease: &str, time: Duration) -> Result<(), BlobFault>;
    /// The lease's time begins again.
    async fn renew(&self, name: &str, lease: &str) -> Result<(), BlobFault>;
    /// Gives the lease up.
    async fn release(&self, name: &str, lease: &str) -> Result<(), BlobFault>;
    /// Writes on the blob who has its lease.
    async fn label(&self, name: &str, lease: &str, text: &str) -> Result<(), BlobFault>;
    /// What can be seen of it.
    async fn look(&self, name: &str) -> Result<Blob, BlobFault>;
}

/// The state in a container.
#[derive(Debug, Clone)]
pub struct BlobStore {
    blobs: Arc<dyn Blobs>,
    clock: Arc<dyn Clock>,
    /// The machine, for messages.
    host: String,
    /// Leases that are being given up.
    leaving: Arc<Mutex<Vec<JoinHandle<()>>>>,
    /// Whether the account has answered.
    reached: Arc<AtomicBool>,
    known: Arc<Mutex<Known>>,
}

/// What was listed last, and what was read of that.
#[derive(Debug, Default)]
struct Known {
    tags: HashMap<String, String>,
    /// With the tag that was listed before it was read: the content may be younger, never older.
    contents: HashMap<String, (String, Vec<u8>)>,
    bytes: usize,
}

impl Known {
    fn listed(&mut self, blobs: &[Listed], prefix: &str) {
        self.tags.retain(|name, _| !name.starts_with(prefix));
        let tagged = blobs.iter().filter_map(|blob| Some((blob.name.clone(), blob.tag.clone()?)));
        self.tags.extend(tagged);
        let (tags, bytes) = (&self.tags, &mut self.bytes);
        self.contents.retain(|name, (tag, content)| {
            let keep = tags.get(name) == Some(tag);
            *bytes -= if keep { 0 } else { content.len() };
            keep
        });
    }

    fn read(&mut self, name: &str, content: &[u8]) {
        let Some(tag) = self.tags.get(name).cloned() else { return };
        if self.bytes + content.len() <= MOST_KNOWN && !self.contents.contains_key(name) {
            self.bytes += content.len();
            self.contents.insert(name.to_owned(), (tag, content.to_vec()));
        }
    }
}

/// Tries of one request.
struct Tries<'a> {
    clock: &'a dyn Clock,
    reached: &'a AtomicBool,
    began: Timestamp,
    waited: Duration,
    wait: Duration,
    /// One of them may have been done.
    unsure: bool,
}

impl Tries<'_> {
    /// Whether to try again, after a wait: only what may have been done or not is.
    async fn again(&mut self, fault: &BlobFault) -> bool {
        if fault.problem != BlobProblem::Unsure {
            return false;
        }
        self.unsure = true;
        let patience = if self.reached.load(Ordering::Relaxed) { PATIENCE } else { FIRST_PATIENCE };
        // The clock may jump; what was waited counts in any case.
        if elapsed(self.began, self.clock.now()).max(self.waited) >= patience {
            return false;
        }
        self.clock.sleep(self.wait).await;
        self.waited += self.wait;
        self.wait = self.wait.saturating_mul(2);
        true
    }
}

/// Waits for one request, but not for ever.
async fn timed<T>(clock: &dyn Clock, what: impl Future<Output = Result<T, BlobFault>>) -> Result<T, BlobFault> {
    tokio::select! {
        biased;
        out = what => out,
        () = clock.sleep(TIMEOUT) => {
            Err(BlobFault::new(BlobProblem::Unsure, format!("no answer in {} seconds", TIMEOUT.as_secs())))
        }
    }
}

/// Tries a request until its answer is known.
macro_rules! insist {
    ($store:expr, $tries:ident, $request:expr) => {{
        loop {
            match timed(&*$store.clock, $request).await {
                Err(fault) if $tries.again(&fault).await => {}
                out => {
                    let answered = out.as_ref().err().is_none_or(|fault| fault.problem != BlobProblem::Unsure);
                    $tries.reached.fetch_or(answered, Ordering::Relaxed);
                    break out;
                }
            }
        }
    }};
}

impl BlobStore {
    /// The state in this container; `host` is what others read of who holds something.
    #[must_use]
    pub fn new(blobs: Arc<dyn Blobs>, clock: Arc<dyn Clock>, host: &str) -> Self {
        Self {
            blobs,
            clock,
            host: safe_short(host, 60),
            leaving: Arc::default(),
            reached: Arc::default(),
            known: Arc::default(),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tries(&self) -> Tries<'_> {
        Tries {
            clock: &*self.clock,
            reached: &self.reached,
            began: self.clock.now(),
            waited: Duration::ZERO,
            wait: FIRST_WAIT,
            unsure: false,
        }
    }

    fn failed(&self, action: &'static str, name: &str, fault: BlobFault) -> JournalError {
        let trouble = match fault.problem {
            BlobProblem::Unsure => Trouble::Unreachable,
            BlobProblem::SignIn => Trouble::SignIn,
            BlobProblem::Denied => Trouble::Denied,
            BlobProblem::NoContainer => Trouble::NoContainer,
            BlobProblem::LeaseLost | BlobProblem::LeaseTaken => Trouble::LeaseLost,
            BlobProblem::Position | BlobProblem::Exists => Trouble::Changed,
            BlobProblem::NotFound | BlobProblem::Other => Trouble::Other,
        };
        JournalError::Storage { action, place: self.blobs.place(name), why: fault.why, trouble }
    }

    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, JournalError> {
        let mut tries = self.tries();
        match insist!(self, tries, self.blobs.get(name)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(fault) if fault.problem == BlobProblem::NotFound => Ok(None),
            Err(fault) => Err(self.failed("read", name, fault)),
        }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, JournalError> {
        let mut tries = self.tries();
        insist!(self, tries, self.blobs.list(prefix)).map_err(|fault| self.failed("list", prefix, fault))
    }

    /// A block blob that is made once. One of a try whose answer was lost is known by its content.
    async fn put(&self, name: &str, content: &[u8]) -> Result<(), JournalError> {
        let mut tries = self.tries();
        match insist!(self, tries, self.blobs.put(name, content)) {
            Ok(()) => Ok(()),
            Err(fault) if fault.problem == BlobProblem::Exists => {
                let ours = tries.unsure && self.get(name).await?.as_deref() == Some(content);
                if ours { Ok(()) } else { Err(JournalError::Exists(name.to_owned())) }
            }
            Err(fault) => Err(self.failed("create", name, fault)),
        }
    }

    /// An append blob that is made once; one of a try whose answer was lost is still empty.
    async fn start(&self, name: &str) -> Result<(), JournalError> {
        let mut tries = self.tries();
        match insist!(self, tries, self.blobs.start(name)) {
            Ok(()) => Ok(()),
            Err(fault) if fault.problem == BlobProblem::Exists => {
                let ours = tries.unsure && self.get(name).await?.is_some_and(|bytes| bytes.is_empty());
                if ours { Ok(()) } else { Err(JournalError::Exists(name.to_owned())) }
            }
            Err(fault) => Err(self.failed("create", name, fault)),
        }
    }

    /// One append. After a lost answer the same append is refused for its position if the first one was done; whether it
    /// was this one that was done is read.
    async fn add(&self, name: &str, at: u64, bytes: &[u8], lease: Option<&dyn Lease>) -> Result<(), JournalError> {
        let mut tries = self.tries();
        let id = lease.and_then(|lease| lease.id_for(name));
        loop {
            if let Some(why) = lease.and_then(Lease::lost) {
                return Err(self.failed("write", name, BlobFault::new(BlobProblem::LeaseLost, why)));
            }
            let fault = match timed(&*self.clock, self.blobs.append(name, at, bytes, id)).await {
                Ok(()) => return Ok(()),
                Err(fault) => fault,
            };
            match fault.problem {
                BlobProblem::Position if tries.unsure => {
                    let content = self.get(name).await?.unwrap_or_default();
                    let there = usize::try_from(at).ok().and_then(|at| content.get(at..));
                    return match there {
                        Some(there) if there == bytes => Ok(()),
                        _ => Err(self.failed("write", name, fault)),
                    };
                }
                BlobProblem::LeaseLost | BlobProblem::LeaseTaken => {
                    if let Some(lease) = lease {
                        lease.loss().lose(&lease::lost_to(&self.blobs.place(name), &fault.why));
                    }
                    return Err(self.failed("write", name, fault));
                }
                _ if tries.again(&fault).await => {}
                _ => return Err(self.failed("write", name, fault)),
            }
        }
    }

    async fn add_all(&self, name: &str, at: u64, bytes: &[u8], lease: Option<&dyn Lease>) -> Result<(), JournalError> {
        let mut at = at;
        for part in bytes.chunks(MOST_AT_ONCE) {
            self.add(name, at, part, lease).await?;
            at += part.len() as u64;
        }
        Ok(())
    }

    /// Deletes a blob; that it is gone already is fine.
    async fn delete(&self, name: &str, lease: Option<&str>) -> Result<(), JournalError> {
        let mut tries = self.tries();
        match insist!(self, tries, self.blobs.delete(name, lease)) {
            Err(fault) if fault.problem != BlobProblem::NotFound => Err(self.failed("remove", name, fault)),
            _ => Ok(()),
        }
    }

    /// The blob whose lease holds a thing, and what the thing is called.
    fn blob_of(thing: Thing<'_>) -> (String, String) {
        match thing {
            Thing::Run(run) => (format!("runs/{run}/{JOURNAL}"), format!("the run {run}")),
            Thing::Key(key) => (format!("locks/{}", key.file_name()), key.to_string()),
        }
    }

    async fn acquire(&self, name: &str, id: &str) -> Result<Timestamp, BlobFault> {
        let mut tries = self.tries();
        loop {
            let asked = self.clock.now();
            match timed(&*self.clock, self.blobs.acquire(name, id, lease::TIME)).await {
                Ok(()) => return Ok(asked),
                Err(fault) if tries.again(&fault).await => {}
                Err(fault) => return Err(fault),
            }
        }
    }

    async fn who(&self, name: &str) -> Result<Option<String>, JournalError> {
        let mut tries = self.tries();
        match insist!(self, tries, self.blobs.look(name)) {
            Ok(blob) if blob.leased => {
                Ok(Some(blob.label.map_or_else(|| "process not known".to_owned(), |label| safe_short(&label, 120))))
            }
            Ok(_) => Ok(None),
            Err(fault) if fault.problem == BlobProblem::NotFound => Ok(None),
            Err(fault) => Err(self.failed("read", name, fault)),
        }
    }
}

#[async_trait]
impl Store for BlobStore {
    fn place(&self) -> String {
        self.blobs.place("").trim_end_matches('/').to_owned()
    }

    fn shown(&self, name: &str) -> String {
        self.blobs.place(name)
    }

    fn width(&self) -> usize {
        WIDTH
    }

    fn in_parts(&self) -> bool {
        true
    }

    async fn read(&self, name: &str) -> Result<Option<Vec<u8>>, JournalError> {
        self.get(name).await
    }

    async fn read_listed(&self, name: &str) -> Result<Option<Vec<u8>>, JournalError> {
        let known = self.known().contents.get(name).map(|(_, content)| content.clone());
        if known.is_some() {
            return Ok(known);
        }
        let read = self.get(name).await?;
        if let Some(content) = &read {
            self.known().read(name, content);
        }
        Ok(read)
    }

    async fn has(&self, _: &str) -> Result<bool, JournalError> {
        Ok(true)
    }

    async fn create(&self, files: &[(&str, &[u8])]) -> Result<(), JournalError> {
        let Some(((last, content), before)) = files.split_last() else { return Ok(()) };
        for (name, content) in before {
            self.put(name, content).await?;
        }
        self.start(last).await?;
        self.add_all(last, 0, content, None).await
    }

    async fn append(&self, name: &str, at: u64, bytes: &[u8], lease: &dyn Lease) -> Result<(), JournalError> {
        self.add_all(name, at, bytes, Some(lease)).await
    }

    async fn cut(&self, name: &str, len: u64) -> Result<(), JournalError> {
        // An append is there as a whole or not at all: there is nothing to cut, unless others wrote to it.
        let there = self.get(name).await?.map_or(0, |bytes| bytes.len() as u64);
        if there == len {
            return Ok(());
        }
        Err(self.failed("write", name, BlobFault::new(BlobProblem::Position, "something else wrote to it")))
    }

    async fn names(&self, folder: &str) -> Result<Vec<String>, JournalError> {
        let prefix = format!("{folder}/");
        let blobs = self.list(&prefix).await?;
        self.known().listed(&blobs, &prefix);
        let names = blobs.into_iter().filter_map(|blob| {
            let rest = blob.name.strip_prefix(&prefix)?;
            match rest.split_once('/') {
                // A run is there when its last part is.
                Some((run, file)) => (file == JOURNAL).then(|| run.to_owned()),
                None => Some(rest.to_owned()),
            }
        });
        Ok(names.collect())
    }

    async fn remove_run(&self, run: &str, lease: Arc<dyn Lease>) -> Result<(), JournalError> {
        // Without its journal it is no run any more.
        let journal = Self::blob_of(Thing::Run(run)).0;
        self.delete(&journal, lease.id_for(&journal)).await?;
        drop(lease);
        self.delete(&format!("runs/{run}/plan.json"), None).await
    }

    async fn remove_fleet(&self, name: &str, key: &LockKey, lease: Arc<dyn Lease>) -> Result<(), JournalError> {
        self.delete(name, None).await?;
        let lock = Self::blob_of(Thing::Key(key)).0;
        self.delete(&lock, lease.id_for(&lock)).await
    }

    async fn sweep(&self, now: Timestamp) {
        let Ok(blobs) = self.list("runs/").await else { return };
        let whole = |run: &str| blobs.iter().any(|blob| blob.name == format!("runs/{run}/{JOURNAL}"));
        for blob in &blobs {
            let old = blob.modified.is_some_and(|at| elapsed(at, now) >= LONG_AGO);
            let run = blob.name.split('/').nth(1).unwrap_or_default();
            if old && !whole(run) && super::state::is_run_id(run) {
                // Of a run that was never made, or whose removal was cut short. The next sweep tries again.
                self.delete(&blob.name, None).await.ok();
            }
        }
    }

    async fn hold(&self, thing: Thing<'_>, run: &str) -> Result<Arc<dyn Lease>, JournalError> {
        // What this process gave up a moment ago is nobody's.
        self.settle().await;
        let (name, what) = Self::blob_of(thing);
        let id = uuid::Uuid::new_v4().to_string();
        let mut acquired = self.acquire(&name, &id).await;
        if matches!(&acquired, Err(fault) if fault.problem == BlobProblem::NotFound) {
            if let Thing::Run(run) = thing {
                return Err(JournalError::NoRun { run: run.to_owned(), state: self.place() });
            }
            match self.put(&name, b"").await {
                Ok(()) | Err(JournalError::Exists(_)) => acquired = self.acquire(&name, &id).await,
                Err(error) => return Err(error),
            }
        }
        match acquired {
            Ok(asked) => {
                let text = format!("host {}, pid {}, run {run}", self.host, std::process::id());
                // For messages only: what it lacks is a name in the message of another process.
                timed(&*self.clock, self.blobs.label(&name, &id, &text)).await.ok();
                let lease = BlobLease::keep(&self.blobs, &self.clock, &self.leaving, (name, id), asked);
                Ok(Arc::new(lease))
            }
            Err(fault) if fault.problem == BlobProblem::LeaseTaken => {
                let holder = self.who(&name).await?.unwrap_or_else(|| "process not known".to_owned());
                Err(JournalError::Busy { what, holder })
            }
            Err(fault) => Err(self.failed("lock", &name, fault)),
        }
    }

    async fn holder(&self, thing: Thing<'_>) -> Result<Option<String>, JournalError> {
        self.settle().await;
        self.who(&Self::blob_of(thing).0).await
    }

    async fn check(&self) -> Result<(), JournalError> {
        match self.put(MARK.0, MARK.1).await {
            Ok(()) | Err(JournalError::Exists(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn settle(&self) {
        let leaving = std::mem::take(&mut *self.leaving.lock().unwrap_or_else(PoisonError::into_inner));
        if leaving.is_empty() {
            return;
        }
        let all = futures::future::join_all(leaving).map(drop);
        tokio::select! {
            biased;
            () = all => {}
            () = self.clock.sleep(FAREWELL) => {}
        }
    }
}

#[cfg(test)]
#[path = "blob_tests.rs"]
mod tests;
