//! Launching a run: the locks between processes, its id and journal, what earlier runs did; then the run itself.
//!
//! Duty: the one way from a confirmed plan, or from a journal, to a result, for whoever has a state: a command, a
//! fleet, a program that uses azmend as a library. Invariants: no two processes that share a state work on the same VM or the
//! same lock scope; a run's journal is durable before anything is sent; a run that lost what it held stops.
//! Must never: ask, print, or read arguments.

use std::sync::Arc;

use futures::future::BoxFuture;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::active_run::Run;
use super::earlier::Earlier;
use super::owed::Locks;
use super::plan::Plan;
use super::progress::Listener;
use super::result::RunResult;
use crate::actions::ChangeKind;
use crate::actions::locks::RemoveLock;
use crate::arm::Arm;
use crate::arm::model::Lock;
use crate::journal::{Hold, JournalError, LockKey, RunFile, RunLog as _, State};

/// Where a run is entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// From the beginning.
    Start,
    /// From where the journal ends.
    Resume,
    /// Back.
    Undo,
}

/// What runs are launched with.
pub struct Launch<'a> {
    /// Where the journals are.
    pub state: &'a State,
    /// The typed calls, with the run's id.
    pub arm: Arm,
    /// Who watches.
    pub listener: Arc<dyn Listener>,
    /// Ctrl-C, SIGTERM.
    pub cancel: CancellationToken,
    /// When the run must have stopped.
    pub deadline: Option<Timestamp>,
}

impl Launch<'_> {
    /// Runs a confirmed plan from its beginning, under an id that [`new_run_id`] made.
    ///
    /// # Errors
    /// When the journal cannot be begun or another process works on the same; nothing was changed then.
    pub async fn start(&self, plan: Plan, run_id: String) -> Result<RunResult, JournalError> {
        let held = self.lock(&plan, &run_id).await?;
        let log = create(self.state, &plan, &run_id).await?;
        log.adopt(held);
        Ok(Box::pin(self.run(plan, run_id, log, Entry::Start)).await)
    }

    /// Takes up a run whose journal this process holds.
    ///
    /// # Errors
    /// When another process works on the same; nothing was changed then.
    pub async fn enter(&self, plan: Plan, log: RunFile, entry: Entry) -> Result<RunResult, JournalError> {
        let run_id = log.id().to_owned();
        // Of a plan that is lost only the journal says which locks are worked on.
        let records: Vec<_> = log.records().into_iter().chain(log.salvaged()).collect();
        let owed = Locks::of(&records);
        let owed = owed.off().map(|(_, lock)| scope_key(lock));
        let keys = keys(&plan).into_iter().chain(owed);
        log.adopt(Hold::take(self.state, &run_id, keys).await?);
        Ok(Box::pin(self.run(plan, run_id, log, entry)).await)
    }

    /// Keeps other processes away from the VM and the lock scopes of a plan.
    ///
    /// # Errors
    /// When another process holds one of them.
    pub async fn lock(&self, plan: &Plan, run_id: &str) -> Result<Hold, JournalError> {
        Hold::take(self.state, run_id, keys(plan)).await
    }

    /// Runs a plan whose journal exists and holds what belongs to it ([`RunFile::adopt`]).
    pub async fn run(&self, plan: Plan, run_id: String, log: RunFile, entry: Entry) -> RunResult {
        let earlier = Earlier::read(self.state, &plan.world, Some(&run_id), self.arm.clock().now()).await;
        let log = Arc::new(log);
        // Of its own, so that a run that lost its lease stops, and the others of a fleet go on.
        let cancel = self.cancel.child_token();
        let run = Run {
            arm: self.arm.clone(),
            log: log.clone(),
            plan,
            run_id,
            listener: Arc::clone(&self.listener),
            cancel: cancel.clone(),
            deadline: self.deadline,
            pid: std::process::id(),
            earlier,
        };
        let mut way: BoxFuture<'_, RunResult> = match entry {
            Entry::Start => Box::pin(run.start()),
            Entry::Resume => Box::pin(run.resume()),
            Entry::Undo => Box::pin(run.undo()),
        };
        tokio::select! {
            biased;
            result = &mut way => return result,
            () = log.when_lost() => cancel.cancel(),
        }
        way.await
    }
}

/// Makes the journal of a run.
///
/// # Errors
/// When it cannot be written; there is no such run then.
pub async fn create(state: &State, plan: &Plan, run_id: &str) -> Result<RunFile, JournalError> {
    let text = serde_json::to_string_pretty(plan).unwrap_or_default();
    RunFile::create(state, run_id, &text).await
}

/// The VM and every scope whose locks a plan works on.
fn keys(plan: &Plan) -> Vec<LockKey> {
    let mut keys = vec![LockKey::vm(plan.vm.as_str())];
    for (_, change) in plan.changes() {
        if let ChangeKind::RemoveLock(RemoveLock { lock }) = &change.what {
            keys.push(scope_key(lock));
        }
    }
    keys
}

fn scope_key(lock: &Lock) -> LockKey {
    LockKey::scope(lock.scope().as_str())
}

/// An id for a run or a fleet that begins now: a UUIDv7, so that ids grow with time.
#[must_use]
pub fn new_run_id(now: Timestamp) -> String {
    let seconds = u64::try_from(now.as_second()).unwrap_or_default();
    let nanos = u32::try_from(now.subsec_nanosecond()).unwrap_or_default();
    uuid::Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, nanos)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_ids_are_lower_case_and_begin_with_their_time() {
        let at = |text: &str| new_run_id(text.parse().unwrap());
        let (a, b) = (at("2026-11-20T09:00:00Z"), at("2026-11-20T09:00:01Z"));
        assert!(a < b && a == a.to_lowercase() && a.len() == 36);
        assert_eq!(a.get(14..15), Some("7"));
    }
}
