//! A run in memory, for tests of what writes journals: it can run out of disk and be cut.

use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use jiff::Timestamp;

use super::event::{Event, Record};
use super::{AppendError, RunLog};

/// A journal that is lost with the process.
#[derive(Debug, Default)]
pub struct MemoryRun {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    records: Vec<Record>,
    /// How many more lines can be written; `None` for no end.
    room: Option<usize>,
}

impl MemoryRun {
    /// An empty journal.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A journal that already says this.
    #[must_use]
    pub fn from_records(records: Vec<Record>) -> Self {
        Self { inner: Mutex::new(Inner { records, room: None }) }
    }

    /// This journal with room for `n` more lines; every later append fails.
    #[must_use]
    pub fn fail_after(self, n: usize) -> Self {
        self.lock().room = Some(n);
        self
    }

    /// What a process finds that starts after a crash behind the first `n` lines.
    #[must_use]
    pub fn truncated(&self, n: usize) -> Self {
        Self::from_records(self.lock().records.iter().take(n).cloned().collect())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl RunLog for MemoryRun {
    async fn append(&self, at: Timestamp, event: Event) -> Result<Record, AppendError> {
        let mut inner = self.lock();
        match &mut inner.room {
            Some(0) => {
                return Err(AppendError { path: "memory".to_owned(), why: "no space left".to_owned(), passes: false });
            }
            Some(room) => *room -= 1,
            None => {}
        }
        let seq = inner.records.last().map_or(0, |record| record.seq) + 1;
        let record = Record { seq, at, event };
        inner.records.push(record.clone());
        Ok(record)
    }

    fn records(&self) -> Vec<Record> {
        self.lock().records.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::now;

    #[test]
    fn it_fails_and_is_cut_when_told() {
        let at = Timestamp::UNIX_EPOCH;
        let warn = |text: &str| Event::Warned { text: text.to_owned() };
        let run = MemoryRun::new().fail_after(2);
        assert!(now(run.append(at, warn("a"))).is_ok() && now(run.append(at, warn("b"))).is_ok());
        assert!(now(run.append(at, warn("c"))).is_err() && now(run.append(at, warn("d"))).is_err());
        let seqs = |run: &MemoryRun| run.records().iter().map(|r| r.seq).collect::<Vec<_>>();
        assert_eq!(seqs(&run), [1, 2]);
        let cut = run.truncated(1);
        now(cut.append(at, warn("e"))).unwrap();
        assert_eq!(cut.records().iter().map(|r| r.event.clone()).collect::<Vec<_>>(), [warn("a"), warn("e")]);
        assert_eq!(seqs(&cut), [1, 2]);
    }
}
