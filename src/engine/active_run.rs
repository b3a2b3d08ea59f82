//! A run in progress: what it is run with, its state, and its journal.
//!
//! Invariants: a record is applied to a copy of the state first and written only if it fits, so that no run writes what it
//! could not read back; who waits is woken by Ctrl-C and by the deadline, with time left to restore locks.
//! Must never: decide what is sent.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::earlier::Earlier;
use super::plan::Plan;
use super::progress::{Listener, Progress};
use super::state::{IllegalRecord, RunState};
use crate::actions::ChangeKind;
use crate::actions::change::Change;
use crate::arm::{Arm, CallPurpose};
use crate::clock::later;
use crate::facts::vm_facts::VmFacts;
use crate::journal::{AppendError, Event, PauseReason, Record, RunLog};

/// Kept free at the end of a deadline for putting locks back.
const RELOCK_RESERVE: Duration = Duration::from_secs(180);
/// Kept free for the last reading and the result.
const FINISH_RESERVE: Duration = Duration::from_secs(30);
/// When to come back after an interruption or a deadline.
const SOON: Duration = Duration::from_secs(60);

/// A plan with everything it is run with.
#[derive(Clone)]
pub struct Run {
    /// The typed calls, with the run's id in their User-Agent.
    pub arm: Arm,
    /// Where every step is written first.
    pub log: Arc<dyn RunLog>,
    /// The plan.
    pub plan: Plan,
    /// UUIDv7.
    pub run_id: String,
    /// Who watches.
    pub listener: Arc<dyn Listener>,
    /// Ctrl-C, SIGTERM.
    pub cancel: CancellationToken,
    /// When the run must have stopped.
    pub deadline: Option<Timestamp>,
    /// Process id for the journal.
    pub pid: u32,
    /// What earlier runs of this machine did.
    pub earlier: Earlier,
}

/// Why a run does not go on.
#[derive(Debug)]
pub(super) enum Halt {
    /// It can be resumed.
    Pause {
        /// Why.
        why: PauseReason,
        /// A sentence.
        detail: String,
        /// What to do meanwhile.
        hint: Option<String>,
        /// When to come back.
        wait: Duration,
    },
    /// The journal cannot be written: nothing more is sent.
    Log(AppendError),
    /// Another process may work on the run by now: nothing more is sent, no lock is restored either.
    Lost(String),
    /// The record does not fit the run so far: a bug, or an edited journal. It was not written.
    Illegal(IllegalRecord),
}

impl fmt::Display for Halt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pause { detail, .. } | Self::Lost(detail) => f.write_str(detail),
            Self::Log(error) => error.fmt(f),
            Self::Illegal(error) => error.fmt(f),
        }
    }
}

impl From<AppendError> for Halt {
    fn from(error: AppendError) -> Self {
        Self::Log(error)
    }
}

/// Why the steps are over.
#[derive(Debug)]
pub(super) enum StepsEnd {
    /// All steps were gone through.
    Done,
    /// A change stopped the run.
    Stopped,
    /// See [`Halt`].
    Halted(Halt),
}

/// A run in progress.
pub(super) struct ActiveRun<'a> {
    pub(super) run: &'a Run,
    /// The run's client, whose calls are counted for what the run does now.
    pub(super) arm: Arm,
    pub(super) state: RunState,
    pub(super) facts: Option<VmFacts>,
    pub(super) warnings: Vec<String>,
    pub(super) started: Timestamp,
    /// Number of the last record.
    pub(super) seq: u64,
    /// Why the records do not fit each other: then only locks are restored.
    pub(super) damaged: Option<IllegalRecord>,
}

impl Run {
    pub(super) fn active(&self, state: RunState, damaged: Option<IllegalRecord>) -> ActiveRun<'_> {
        let seq = self.log.records().last().map_or(0, |record| record.seq);
        let started = self.arm.clock().now();
        let arm = self.arm.for_purpose(CallPurpose::Guard);
        ActiveRun { run: self, arm, state, facts: None, warnings: Vec::new(), started, seq, damaged }
    }
}

impl ActiveRun<'_> {
    /// From now on calls are counted for this purpose.
    pub(super) fn calls_are_for(&mut self, purpose: CallPurpose) {
        self.arm = self.run.arm.for_purpose(purpose);
    }

    pub(super) fn now(&self) -> Timestamp {
        self.arm.clock().now()
    }

    pub(super) fn tell(&self, progress: &Progress) {
        self.run.listener.progress(self.now(), progress);
    }

    /// Writes one record, if it fits; nothing may follow when this fails (S2).
    pub(super) async fn record(&mut self, event: Event) -> Result<(), Halt> {
        let at = self.now();
        let record = Record { seq: self.seq + 1, at, event };
        let next = self.after(&record)?;
        let written = match self.run.log.append(at, record.event).await {
            Ok(written) => written,
            Err(error) => {
                self.still_ours()?;
                return Err(error.into());
            }
        };
        self.seq = written.seq;
        self.state = next;
        Ok(())
    }

    /// The state after a record that is not written yet.
    fn after(&self, record: &Record) -> Result<RunState, Halt> {
        let mut next = self.state.clone();
        if self.damaged.is_some() {
            next.locks.apply(&record.event);
        } else {
            next.apply(record).map_err(Halt::Illegal)?;
        }
        Ok(next)
    }

    /// Journals what concerns an undoing. When that fails the undoing goes on without, and the result says so.
    pub(super) async fn record_all_the_same(&mut self, event: Event) {
        let Err(halt) = self.record(event.clone()).await else { return };
        if matches!(halt, Halt::Lost(_)) {
            // Nothing follows: the result says what was lost.
            return;
        }
        // The state goes on without the disk, so that the result is right.
        let record = Record { seq: self.seq + 1, at: self.now(), event };
        match self.after(&record) {
            Ok(next) => self.state = next,
            Err(_) => self.state.locks.apply(&record.event),
        }
        let warning = format!("{halt}; locks are still restored");
        if !self.warnings.contains(&warning) {
            self.warn(warning);
        }
    }

    pub(super) fn warn(&mut self, text: String) {
        self.tell(&Progress::Warning { text: text.clone() });
        self.warnings.push(text);
    }

    /// Whether no other process can work on this run.
    pub(super) fn still_ours(&self) -> Result<(), Halt> {
        self.run.log.lost().map_or(Ok(()), |why| Err(Halt::Lost(why)))
    }

    /// Stops here when asked to, or when `ahead` would not fit before the deadline.
    pub(super) fn pause_point(&self, ahead: Duration) -> Result<(), Halt> {
        self.still_ours()?;
        let pause = |why, detail: &str, wait| Err(Halt::Pause { why, detail: detail.to_owned(), hint: None, wait });
        if self.run.cancel.is_cancelled() {
            return pause(PauseReason::Interrupted, "azmend was interrupted", Duration::ZERO);
        }
        if let Some(deadline) = self.run.deadline {
            let reserve = if self.run.plan.relock && !self.state.locks_off().is_empty() {
                RELOCK_RESERVE
            } else {
                FINISH_RESERVE
            };
            if later(later(self.now(), ahead), reserve) > deadline {
                return pause(PauseReason::Deadline, "the deadline has passed", SOON);
            }
        }
        Ok(())
    }

    /// Waits, unless interrupted.
    pub(super) async fn wait(&self, what: &str, wait: Duration) -> Result<(), Halt> {
        self.pause_point(wait)?;
        self.tell(&Progress::Waiting { what: what.to_owned(), wait, since: self.now() });
        tokio::select! {
            biased;
            () = self.run.cancel.cancelled() => {}
            () = self.arm.clock().sleep(wait) => {}
        }
        self.pause_point(Duration::ZERO)
    }

    /// When a lock over this VM's restore points was last removed, by this run or another one of this machine.
    pub(super) fn unlocked(&self) -> Option<Timestamp> {
        let own = self.run.plan.changes().filter_map(|(_, change)| {
            let ChangeKind::RemoveLock(_) = &change.what else { return None };
            let state = self.state.changes.get(&change.id).filter(|state| state.may_have_effect())?;
            state.ended_at
        });
        own.chain(self.unlocked_before()).max()
    }

    fn unlocked_before(&self) -> impl Iterator<Item = Timestamp> {
        let collections = self.facts.as_ref().and_then(|facts| facts.collections.known());
        self.run
            .earlier
            .unlockings
            .iter()
            // What was not read is not known to be elsewhere.
            .filter(move |one| collections.is_none_or(|all| all.iter().any(|each| one.scope.covers(&each.id))))
            .map(|one| one.at)
    }

    /// When other runs of this machine removed locks over the resource of this change.
    pub(super) fn unlocked_before_over(&self, change: &Change) -> impl Iterator<Item = Timestamp> {
        let resource = change.resource().clone();
        self.run.earlier.unlockings.iter().filter(move |one| one.scope.covers(&resource)).map(|one| one.at)
    }
}
