//! A container of blobs in memory, with what goes wrong between a program and a storage account: for tests of the engine and of
//! the journal's rules.
//!
//! It keeps the conditions that [`super::BlobStore`] relies on, as the service documents them (learn.microsoft.com, "Lease Blob",
//! "Append Block", "Specifying conditional headers") and as Azurite answers: a write under a lease that is not on the blob is
//! refused, one without the id of the lease that is on it too, an append at another position adds nothing, a lease ends with
//! its time, and the same id gets the same lease again. Clones share the container.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use super::blob::{Blob, BlobFault, BlobProblem, Blobs, Listed};
use crate::clock::{Clock, later};

/// How a request is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answering {
    /// As it should be.
    Truly,
    /// It never arrives.
    LostBefore,
    /// It is done, and the answer is lost.
    LostAfter,
    /// The answer is lost, and it arrives when so many more requests were answered.
    Late(u32),
    /// It is done, and never answered.
    Silence,
    /// Just before it somebody breaks the lease of the blob and takes it.
    Taken,
}

type Rule = Box<dyn FnMut(u32, &str, &str) -> Answering + Send>;

/// A container in memory.
#[derive(Clone)]
pub struct MemoryBlobs {
    clock: Arc<dyn Clock>,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    blobs: BTreeMap<String, Stored>,
    count: u32,
    rule: Option<Rule>,
    late: Vec<(u32, String, Act)>,
}

#[derive(Debug, Clone)]
struct Stored {
    content: Vec<u8>,
    appendable: bool,
    lease: Option<(String, Timestamp)>,
    time: Duration,
    label: Option<String>,
    modified: Timestamp,
}

/// What a request asks for.
#[derive(Debug, Clone)]
enum Act {
    Put(Vec<u8>),
    Start,
    Append { at: u64, bytes: Vec<u8>, lease: Option<String> },
    Delete { lease: Option<String> },
    Acquire { lease: String, time: Duration },
    Renew { lease: String },
    Release { lease: String },
    Label { lease: String, text: String },
}

impl Act {
    const fn word(&self) -> &'static str {
        match self {
            Self::Put(_) => "put",
            Self::Start => "start",
            Self::Append { .. } => "append",
            Self::Delete { .. } => "delete",
            Self::Acquire { .. } => "acquire",
            Self::Renew { .. } => "renew",
            Self::Release { .. } => "release",
            Self::Label { .. } => "label",
        }
    }
}

impl fmt::Debug for MemoryBlobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryBlobs")
    }
}

impl MemoryBlobs {
    /// An empty container whose leases go by this clock.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, inner: Arc::default() }
    }

    /// From now on this decides how each request is answered: by its number (from 0), its verb (`get`, `append`, ...) and the
    /// blob's name.
    pub fn answer_by(&self, rule: impl FnMut(u32, &str, &str) -> Answering + Send + 'static) {
        let mut inner = self.lock();
        inner.count = 0;
        inner.rule = Some(Box::new(rule));
    }

    /// From now on everything is answered truly.
    pub fn recover(&self) {
        self.lock().rule = None;
    }

    /// Somebody breaks the lease of every blob whose name contains this, and takes it: where it was taken from.
    pub fn take_leases(&self, contains: &str) -> usize {
        let until = later(self.clock.now(), Duration::from_secs(60));
        let mut inner = self.lock();
        let blobs = inner.blobs.iter_mut().filter(|(name, blob)| name.contains(contains) && blob.lease.is_some());
        blobs.map(|(_, blob)| blob.lease = Some(("another".to_owned(), until))).count()
    }

    /// The content of a blob.
    #[must_use]
    pub fn content(&self, name: &str) -> Option<Vec<u8>> {
        self.lock().blobs.get(name).map(|blob| blob.content.clone())
    }

    /// The names of all blobs.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.lock().blobs.keys().cloned().collect()
    }

    /// Writes over a blob, as no program of ours does.
    pub fn edit(&self, name: &str, content: &[u8]) {
        if let Some(blob) = self.lock().blobs.get_mut(name) {
            blob.content = content.to_vec();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How this request is answered; requests that were late arrive before it.
    fn arrives(&self, verb: &str, name: &str) -> Answering {
        let now = self.clock.now();
        let mut inner = self.lock();
        let count = inner.count;
        inner.count = count.saturating_add(1);
        let due: Vec<(u32, String, Act)> = inner.late.extract_if(.., |(at, ..)| *at <= count).collect();
        for (_, name, act) in due {
            // Nobody hears what came of it.
            inner.apply(now, &name, act).ok();
        }
        inner.rule.as_mut().map_or(Answering::Truly, |rule| rule(count, verb, name))
    }

    async fn act(&self, name: &str, act: Act) -> Result<(), BlobFault> {
        let answering = self.arrives(act.word(), name);
        let now = self.clock.now();
        match answering {
            Answering::Truly => self.lock().apply(now, name, act),
            Answering::LostBefore => Err(lost()),
            Answering::Taken => {
                let mut inner = self.lock();
                if let Some(blob) = inner.blobs.get_mut(name) {
                    blob.lease = Some(("another".to_owned(), later(now, Duration::from_secs(60))));
                }
                inner.apply(now, name, act)
            }
            Answering::LostAfter => {
                self.lock().apply(now, name, act).ok();
                Err(lost())
            }
            Answering::Late(requests) => {
                let mut inner = self.lock();
                let due = inner.count.saturating_add(requests);
                inner.late.push((due, name.to_owned(), act));
                Err(lost())
            }
            Answering::Silence => {
                self.lock().apply(now, name, act).ok();
                std::future::pending().await
            }
        }
    }

    async fn see<T>(
        &self,
        verb: &str,
        name: &str,
        see: impl FnOnce(&Inner) -> Result<T, BlobFault> + Send,
    ) -> Result<T, BlobFault> {
        match self.arrives(verb, name) {
            Answering::Truly | Answering::Taken => see(&self.lock()),
            Answering::Silence => std::future::pending().await,
            _ => Err(lost()),
        }
    }
}

fn lost() -> BlobFault {
    BlobFault::new(BlobProblem::Unsure, "the answer was lost")
}

fn none() -> BlobFault {
    BlobFault::new(BlobProblem::NotFound, "The specified blob does not exist.")
}

fn not_ours() -> BlobFault {
    BlobFault::new(BlobProblem::LeaseLost, "The lease ID specified did not match the lease ID for the blob.")
}

impl Stored {
    fn held_by(&self, now: Timestamp) -> Option<&str> {
        self.lease.as_ref().filter(|(_, until)| now < *until).map(|(id, _)| id.as_str())
    }

    /// Whether a write with this lease id, or none, may go on.
    fn admits(&self, now: Timestamp, lease: Option<&str>) -> Result<(), BlobFault> {
        match (self.held_by(now), lease) {
            (None, None) => Ok(()),
            (Some(held), Some(lease)) if held == lease => Ok(()),
            _ => Err(not_ours()),
        }
    }
}

impl Inner {
    fn blob(&mut self, name: &str) -> Result<&mut Stored, BlobFault> {
        self.blobs.get_mut(name).ok_or_else(none)
    }

    fn make(&mut self, now: Timestamp, name: &str, content: Vec<u8>, appendable: bool) -> Result<(), BlobFault> {
        if self.blobs.contains_key(name) {
            return Err(BlobFault::new(BlobProblem::Exists, "The specified blob already exists."));
        }
        let blob = Stored { content, appendable, lease: None, time: Duration::ZERO, label: None, modified: now };
        self.blobs.insert(name.to_owned(), blob);
        Ok(())
    }

    fn apply(&mut self, now: Timestamp, name: &str, act: Act) -> Result<(), BlobFault> {
        match act {
            Act::Put(content) => self.make(now, name, content, false),
            Act::Start => self.make(now, name, Vec::new(), true),
            Act::Append { at, bytes, lease } => {
                let blob = self.blob(name)?;
                blob.admits(now, lease.as_deref())?;
                if !blob.appendable {
                    return Err(BlobFault::new(BlobProblem::Other, "The blob type is invalid for this operation."));
                }
                if blob.content.len() as u64 != at {
                    return Err(BlobFault::new(BlobProblem::Position, "AppendPositionConditionNotMet"));
                }
                blob.content.extend_from_slice(&bytes);
                blob.modified = now;
                Ok(())
            }
            Act::Delete { lease } => {
                self.blob(name)?.admits(now, lease.as_deref())?;
                self.blobs.remove(name);
                Ok(())
            }
            Act::Acquire { lease, time } => {
                let blob = self.blob(name)?;
                if blob.held_by(now).is_some_and(|held| held != lease) {
                    return Err(BlobFault::new(BlobProblem::LeaseTaken, "There is already a lease present."));
                }
                (blob.lease, blob.time) = (Some((lease, later(now, time))), time);
                Ok(())
            }
            Act::Renew { lease } => {
                let blob = self.blob(name)?;
                // One whose time is over can be renewed as long as nobody else got it.
                if blob.lease.as_ref().is_none_or(|(held, _)| *held != lease) {
                    return Err(not_ours());
                }
                blob.lease = Some((lease, later(now, blob.time)));
                Ok(())
            }
            Act::Release { lease } => {
                let blob = self.blob(name)?;
                if blob.lease.as_ref().is_none_or(|(held, _)| *held != lease) {
                    return Err(not_ours());
                }
                blob.lease = None;
                Ok(())
            }
            Act::Label { lease, text } => {
                let blob = self.blob(name)?;
                blob.admits(now, Some(&lease))?;
                blob.label = Some(text);
                Ok(())
            }
        }
    }
}

#[async_trait]
impl Blobs for MemoryBlobs {
    fn place(&self, name: &str) -> String {
        format!("memory:{name}")
    }

    async fn get(&self, name: &str) -> Result<Vec<u8>, BlobFault> {
        self.see("get", name, |inner| inner.blobs.get(name).map(|blob| blob.content.clone()).ok_or_else(none)).await
    }

    async fn put(&self, name: &str, content: &[u8]) -> Result<(), BlobFault> {
        self.act(name, Act::Put(content.to_vec())).await
    }

    async fn start(&self, name: &str) -> Result<(), BlobFault> {
        self.act(name, Act::Start).await
    }

    async fn append(&self, name: &str, at: u64, bytes: &[u8], lease: Option<&str>) -> Result<(), BlobFault> {
        self.act(name, Act::Append { at, bytes: bytes.to_vec(), lease: lease.map(str::to_owned) }).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, BlobFault> {
        let listed = |(name, blob): (&String, &Stored)| Listed {
            name: name.clone(),
            modified: Some(blob.modified),
            tag: Some(format!("{} {}", blob.modified, blob.content.len())),
        };
        self.see("list", prefix, |inner| {
            Ok(inner.blobs.iter().filter(|(name, _)| name.starts_with(prefix)).map(listed).collect())
        })
        .await
    }

    async fn delete(&self, name: &str, lease: Option<&str>) -> Result<(), BlobFault> {
        self.act(name, Act::Delete { lease: lease.map(str::to_owned) }).await
    }

    async fn acquire(&self, name: &str, lease: &str, time: Duration) -> Result<(), BlobFault> {
        self.act(name, Act::Acquire { lease: lease.to_owned(), time }).await
    }

    async fn renew(&self, name: &str, lease: &str) -> Result<(), BlobFault> {
        self.act(name, Act::Renew { lease: lease.to_owned() }).await
    }

    async fn release(&self, name: &str, lease: &str) -> Result<(), BlobFault> {
        self.act(name, Act::Release { lease: lease.to_owned() }).await
    }

    async fn label(&self, name: &str, lease: &str, text: &str) -> Result<(), BlobFault> {
        self.act(name, Act::Label { lease: lease.to_owned(), text: text.to_owned() }).await
    }

    async fn look(&self, name: &str) -> Result<Blob, BlobFault> {
        let now = self.clock.now();
        self.see("look", name, |inner| {
            let blob = inner.blobs.get(name).ok_or_else(none)?;
            Ok(Blob { leased: blob.held_by(now).is_some(), label: blob.label.clone() })
        })
        .await
    }
}
