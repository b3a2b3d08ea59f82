//! Undoing: `--relock` at the end of a run, and `undo` of a run.
//!
//! Duty: the order. What is in flight is settled first; then the inverses, for a lock that this run removed could forbid them;
//! then the locks; what cannot or need not be undone is written down. Each is driven by [`super::driver`].
//!
//! Invariants (S6): every lock that may be off is written back, whatever its removal is called; undoing goes on when the journal
//! can no longer be written, for locks alone; it is tried even from a journal whose records do not fit each other.
//! Must never: leave a lock off without saying so.

use super::active_run::{ActiveRun, Halt, StepsEnd};
use super::driver::{Task, plain};
use super::progress::Progress;
use super::result::RunResult;
use super::state::Phase;
use super::step::End;
use crate::actions::ChangeKind;
use crate::actions::change::{Change, Undo};
use crate::actions::locks::RemoveLock;
use crate::actions::outcome::{Failure, Outcome};
use crate::arm::{Operation, PollState};
use crate::clock::elapsed;
use crate::journal::{Answer, Effect, EndKind, Event, Purpose};
use std::time::Duration;

/// Looks at what Azure is deleting when a run is undone: for half an hour.
const SETTLE_TRIES: u32 = 120;
/// Between them.
const SETTLE_PROBE: Duration = Duration::from_secs(15);

impl ActiveRun<'_> {
    /// Restores every lock that may be off because of this run. `false`: at least one is not restored.
    pub(super) async fn restore_locks(&mut self, purpose: Purpose) -> bool {
        let off: Vec<Change> = self
            .state
            .locks_off()
            .into_iter()
            .rev()
            .map(|(id, lock)| {
                // Of a damaged run the plan may not have it: the record of the removal has all that is needed.
                self.run.plan.change(id).cloned().unwrap_or_else(|| {
                    let what = ChangeKind::from(RemoveLock { lock: lock.clone() });
                    Change { id: id.to_owned(), ..Change::new("", 1, what, String::new()) }
                })
            })
            .collect();
        let mut all = true;
        for change in off {
            let lock = change.resource().to_string();
            self.tell(&Progress::Relock { lock: lock.clone(), outcome: None });
            let end = self.drive_back(&change, purpose).await;
            all &= !matches!(
                end,
                End::Outcome(Outcome::Failed { .. } | Outcome::Unknown { .. } | Outcome::Skipped { .. })
            );
            self.tell(&Progress::Relock { lock, outcome: Some(in_words(&end)) });
            // The change itself ended well: only here is said why its lock is still off.
            let why = match &end {
                End::Outcome(Outcome::Refused { refusal }) => Some(refusal.why.clone()),
                End::Outcome(outcome) if !outcome.holds() => Some(outcome.detail()),
                _ => None,
            };
            if let Some(why) = why {
                self.warn(format!("the lock {} was not restored: {why}", change.resource().name()));
            }
        }
        all
    }

    /// Undoes one change, if it may have taken effect and was not undone already.
    async fn invert(&mut self, change: &Change) {
        let Some(state) = self.state.changes.get(&change.id) else { return };
        if !state.may_have_effect() || state.undone() {
            return;
        }
        let resource = change.resource().short_name();
        self.tell(&Progress::Inverse { resource: resource.clone(), outcome: None });
        let end = self.drive_back(change, Purpose::Undo).await;
        self.tell(&Progress::Inverse { resource: resource.clone(), outcome: Some(in_words(&end)) });
        let undone =
            matches!(end, End::NotNeeded(_) | End::Outcome(Outcome::Succeeded { .. } | Outcome::AlreadyDone { .. }));
        if !undone {
            self.warn(format!("{resource} was not undone: {}", in_words(&end)));
        }
    }

    /// Drives an undoing, which always comes to an end.
    async fn drive_back(&mut self, change: &Change, purpose: Purpose) -> End {
        match Box::pin(self.drive(Task { change, purpose, step: None })).await {
            Ok(end) => end,
            Err(halt) => End::Outcome(Outcome::Failed { error: Failure::new("journal", halt.to_string()) }),
        }
    }

    /// Undoes the run: settles what is in flight, then every change in reverse order.
    pub(super) async fn undo(&mut self) -> RunResult {
        if let Err(halt) = Box::pin(self.settle_all()).await {
            return Box::pin(self.finish(StepsEnd::Halted(halt))).await;
        }
        let changes: Vec<Change> = self.run.plan.changes().map(|(_, change)| change.clone()).collect();
        for change in changes.iter().rev().filter(|change| matches!(change.undo, Undo::Inverse { .. })) {
            Box::pin(self.invert(change)).await;
        }
        let restored = Box::pin(self.restore_locks(Purpose::Undo)).await;
        for change in changes.iter().rev() {
            let state = self.state.changes.get(&change.id);
            if !state.is_some_and(|state| state.may_have_effect() && state.back == Phase::Idle) {
                continue;
            }
            let ending = match &change.undo {
                Undo::Restore | Undo::Inverse { .. } => continue,
                Undo::Irreversible { reason } => plain(EndKind::Irreversible, reason.clone()),
                Undo::NotNeeded { reason } => plain(EndKind::NotNeeded, reason.clone()),
            };
            self.record_all_the_same(Event::Ended { change: change.id.clone(), purpose: Purpose::Undo, ending }).await;
        }
        Box::pin(self.finish_undo(restored)).await
    }

    /// Restores the locks of a journal whose records do not fit each other; nothing else of it is relied on.
    pub(super) async fn restore_from_records(&mut self) -> bool {
        Box::pin(self.restore_locks(Purpose::Undo)).await
    }

    /// Before undoing, an operation in flight is followed to its end and each open change is read.
    async fn settle_all(&mut self) -> Result<(), Halt> {
        let changes: Vec<Change> = self.run.plan.changes().map(|(_, change)| change.clone()).collect();
        for change in changes {
            let state = self.state.changes.get(&change.id).cloned().unwrap_or_default();
            if state.restored() && !matches!(state.forward, Phase::Ended(_)) {
                let mut ending = plain(EndKind::Skipped, "it was restored when the run paused".to_owned());
                ending.effect = Some(Effect::None);
                self.record(Event::Ended { change: change.id.clone(), purpose: Purpose::Do, ending }).await?;
                continue;
            }
            let phase = state.forward;
            let error = match phase {
                Phase::Idle | Phase::Ended(_) => continue,
                Phase::Answered => None,
                Phase::Intended => {
                    self.close_request(&change, Answer::Lost, "azmend was stopped before the answer was written")
                        .await?;
                    None
                }
                Phase::Accepted(operation) => match serde_json::from_value::<Operation>(operation) {
                    Ok(operation) => Box::pin(self.follow(&change, operation)).await?,
                    Err(error) => {
                        let detail = format!("the journaled operation cannot be read: {error}");
                        self.close_request(&change, Answer::Lost, &detail).await?;
                        None
                    }
                },
            };
            let (outcome, effect) = Box::pin(self.settled_by_reading(&change, error)).await;
            self.tell(&Progress::Settled { change: change.id.clone(), outcome: outcome.clone() });
            let ending =
                crate::journal::Ending { effect: Some(effect), ..super::driver::ending_of(&End::Outcome(outcome)) };
            self.record(Event::Ended { change: change.id.clone(), purpose: Purpose::Do, ending }).await?;
        }
        Ok(())
    }

    async fn close_request(&mut self, change: &Change, how: Answer, detail: &str) -> Result<(), Halt> {
        let detail = detail.to_owned();
        self.record(Event::Answered { change: change.id.clone(), purpose: Purpose::Do, how, detail }).await
    }

    /// Polls an operation to its end; the error it ended with, if any.
    async fn follow(&mut self, change: &Change, mut operation: Operation) -> Result<Option<Failure>, Halt> {
        let since = self.now();
        loop {
            let poll = match Box::pin(self.arm.poll(&operation)).await {
                Ok(poll) => poll,
                Err(error) => {
                    self.close_request(change, Answer::Lost, &error.to_string()).await?;
                    return Ok(Some(super::step::failure_of(&error)));
                }
            };
            operation = poll.operation;
            match poll.state {
                PollState::InProgress if elapsed(since, self.now()) <= super::step::OPERATION_PATIENCE => {
                    self.arm.clock().sleep(poll.wait).await;
                }
                PollState::InProgress => {
                    self.close_request(change, Answer::OperationTimeout, "the operation did not end in time").await?;
                    return Ok(Some(Failure::new("", "the operation did not end in time")));
                }
                PollState::Succeeded { .. } | PollState::Gone => {
                    self.close_request(change, Answer::Ok, "").await?;
                    return Ok(None);
                }
                PollState::Failed(error) | PollState::Canceled(error) => {
                    self.close_request(change, Answer::OperationFailed, &error.to_string()).await?;
                    return Ok(Some(super::step::failure_of(&error)));
                }
            }
        }
    }

    async fn settled_by_reading(&mut self, change: &Change, error: Option<Failure>) -> (Outcome, Effect) {
        // A lock is read by its restoration; that it may be off is what matters.
        if matches!(change.what, ChangeKind::RemoveLock(_)) {
            let why = "stopped before its removal was proven; it is restored".to_owned();
            return (Outcome::Unknown { why }, Effect::Unknown);
        }
        // What Azure is still deleting is waited for: only then can be said what is left.
        let mut read = Box::pin(self.read_once(change)).await;
        if matches!(change.what, ChangeKind::DeleteCollection(_) | ChangeKind::DeletePoint(_)) {
            for _ in 0..SETTLE_TRIES {
                if read.is_some() {
                    break;
                }
                self.arm.clock().sleep(SETTLE_PROBE).await;
                read = Box::pin(self.read_once(change)).await;
            }
        }
        let outcome = read.unwrap_or_else(|| match error {
            Some(error) => Outcome::Failed { error },
            None => Outcome::Unknown { why: "stopped before it was proven".to_owned() },
        });
        let effect = Box::pin(self.effect(change, &End::Outcome(outcome.clone()))).await;
        (outcome, effect)
    }
}

fn in_words(end: &End) -> String {
    match end {
        End::NotNeeded(detail) => format!("not needed: {detail}"),
        End::Outcome(outcome) => format!("{}: {}", outcome.word().replace('_', " "), outcome.detail()),
    }
}
