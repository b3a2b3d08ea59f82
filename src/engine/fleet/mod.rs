//! A fleet: the same playbook on many VMs, in waves, each VM a run of its own.
//!
//! Duty: which VM begins when. It knows nothing of a run but what it claims and how it ended; the runs are ordinary ones
//! ([`super::Run`]), so a fleet that is killed leaves only runs that can be shown, resumed and taken back by themselves.
//!
//! Invariants: a wave begins when the one before it is over; at most [`Limits::concurrency`] runs are at work, at most
//! [`PER_REGION`] of one subscription and region (design 6), and never two of which one removes a lock that stands over what
//! the other unlocks or deletes; when enough VMs have failed, one is stuck, or azmend is asked to stop, nothing more begins, and
//! what has begun goes on to its own end. Every VM has exactly one [`MemberOutcome`]. Must never: begin a VM twice, or cut a run off.

mod ramp;
pub mod result;

use std::collections::BTreeSet;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use ramp::{DEFAULT_RAMP, Ramp, RampError};

use super::exit;
use super::plan::Plan;
use super::result::{RunResult, Status};
use crate::actions::change::ChangeKind;
use crate::actions::extension::UninstallExtension;
use crate::actions::locks::RemoveLock;
use crate::arm::ResourceId;
use crate::arm::model::Collection;
use crate::facts::vm_facts::VmFacts;
use crate::text::plural;

/// The most runs at once in one subscription and region (design 6, throttle).
pub const PER_REGION: usize = 4;
/// The most changes of a whole fleet, when no other number is given.
pub const DEFAULT_MAX_CHANGES: usize = 200;
/// The most changes of one VM of a fleet (S9): the planner's own limit.
pub const MAX_CHANGES_OF_ONE: usize = 20;

/// How fast, and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The waves.
    pub ramp: Ramp,
    /// The most runs at once.
    pub concurrency: usize,
    /// After so many failures nothing more begins.
    pub max_failures: usize,
}

/// What the scheduler knows of a VM's plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Subscription and region, without case.
    pub place: (String, String),
    /// The scopes of the locks that the plan removes.
    pub unlocks: Vec<ResourceId>,
    /// What the plan deletes, or the resource group of it: a lock there would stop the deletion.
    pub deletes: Vec<ResourceId>,
}

impl Member {
    /// What of this plan matters to the others.
    #[must_use]
    pub fn of(plan: &Plan) -> Self {
        let (mut unlocks, mut deletes) = (Vec::new(), Vec::new());
        for (_, change) in plan.changes() {
            match &change.what {
                ChangeKind::RemoveLock(RemoveLock { lock }) => unlocks.push(lock.scope()),
                // Hundreds of points stand in one group.
                ChangeKind::DeleteCollection(_) | ChangeKind::DeletePoint(_) => {
                    deletes.extend(change.resource().group_id());
                }
                ChangeKind::UninstallExtension(UninstallExtension { extension, .. }) => deletes.push(extension.clone()),
                _ => {}
            }
        }
        for ids in [&mut unlocks, &mut deletes] {
            ids.sort_by(|a, b| a.key().cmp(b.key()));
            ids.dedup();
        }
        let place = (plan.vm.subscription().to_lowercase(), plan.before.vm.location.to_lowercase());
        Self { place, unlocks, deletes }
    }

    /// Whether the two may not be at work at the same time: one of them removes a lock, and may put it back, over what the
    /// other unlocks or deletes. Two that only delete in the same group do not mind each other.
    #[must_use]
    pub fn conflicts(&self, other: &Self) -> bool {
        let meet = |a: &[ResourceId], b: &[ResourceId]| a.iter().any(|a| b.iter().any(|b| a.covers(b) || b.covers(a)));
        meet(&self.unlocks, &other.unlocks)
            || meet(&self.unlocks, &other.deletes)
            || meet(&self.deletes, &other.unlocks)
    }
}

/// Whether a lock that was named for a fleet concerns this VM: it stands on the VM, on one of its collections or points, or
/// on what these are in.
#[must_use]
pub fn concerns(lock: &ResourceId, facts: &VmFacts) -> bool {
    let Some(scope) = lock.scope() else { return false };
    let holds = |collection: &Collection| {
        scope.covers(&collection.id) || collection.points().iter().any(|point| scope.covers(&point.id))
    };
    scope.covers(&facts.id) || facts.collections().any(holds)
}

/// What became of a VM.
#[derive(Debug, Clone, PartialEq)]
pub enum MemberOutcome {
    /// It has a run, and this is its result.
    Ran(Box<RunResult>),
    /// It has none; nothing of it was changed.
    NotStarted {
        /// Why.
        reason: Reason,
        /// In a sentence.
        why: String,
    },
}

/// Why a VM was not started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Enough VMs before it had failed (`--max-failures`).
    Failures,
    /// A VM before it is stuck.
    Stuck,
    /// Ctrl-C or SIGTERM.
    Interrupted,
    /// There was no time left.
    Deadline,
    /// It was its turn, and its run could not be started: another azmend works on it, or it could not be written down.
    CouldNotBegin,
    /// Its turn came so late that its plan was too old. It is no failure: `--retry-failed` plans it again.
    Expired,
    /// Its turn has not come: the fleet is still running.
    Waiting,
}

impl MemberOutcome {
    /// Whether it counts against `--max-failures`. A pause that was to be expected (Azure still cleans up, a deadline,
    /// Ctrl-C) is no failure; an Azure that cannot be reached is, for it says nothing good about the next VM.
    #[must_use]
    pub fn failed(&self) -> bool {
        match self {
            Self::NotStarted { reason, .. } => *reason == Reason::CouldNotBegin,
            Self::Ran(result) => match result.status {
                Status::Partial | Status::Refused | Status::Failed | Status::Stuck | Status::Error => true,
                Status::Paused => result.error.as_ref().is_some_and(|error| error.code == "unreachable"),
                Status::Planned | Status::Waiting | Status::NothingToDo | Status::Succeeded | Status::Undone => false,
            },
        }
    }

    fn stuck(&self) -> bool {
        matches!(self, Self::Ran(result) if result.status == Status::Stuck || result.exit_code == exit::STUCK)
    }
}

/// Goes through the waves. `halt` says why nothing more may begin (Ctrl-C, a deadline); `run` makes and ends the run of one
/// VM. The outcomes are in the order of the members.
pub async fn run_waves<F>(
    members: &[Member],
    limits: &Limits,
    halt: impl Fn() -> Option<Reason>,
    run: impl Fn(usize, usize) -> F,
) -> Vec<MemberOutcome>
where
    F: Future<Output = MemberOutcome>,
{
    let mut outcomes: Vec<Option<MemberOutcome>> = vec![None; members.len()];
    let mut failures = 0;
    let mut stop: Option<Reason> = None;
    let mut first = 0;
    for (wave, size) in limits.ramp.waves(members.len()).into_iter().enumerate() {
        let mut waiting: Vec<usize> = (first..first + size).collect();
        first += size;
        let mut under_way = FuturesUnordered::new();
        let mut at_work: BTreeSet<usize> = BTreeSet::new();
        loop {
            while stop.is_none() && at_work.len() < limits.concurrency {
                stop = halt();
                if stop.is_some() {
                    break;
                }
                let Some(position) = waiting.iter().position(|one| may_begin(members, &at_work, *one)) else { break };
                let index = waiting.remove(position);
                at_work.insert(index);
                let begun = run(index, wave);
                under_way.push(async move { (index, begun.await) });
            }
            let Some((index, ended)) = under_way.next().await else { break };
            at_work.remove(&index);
            failures += usize::from(ended.failed());
            if ended.stuck() {
                stop = Some(Reason::Stuck);
            } else if failures >= limits.max_failures {
                stop.get_or_insert(Reason::Failures);
            }
            if let Some(slot) = outcomes.get_mut(index) {
                *slot = Some(ended);
            }
        }
        if stop.is_some() {
            break;
        }
    }
    let reason = stop.unwrap_or(Reason::CouldNotBegin);
    let why = match reason {
        Reason::Failures => {
            format!("{} failed before its turn (--max-failures {})", plural(failures, "VM"), limits.max_failures)
        }
        Reason::Stuck => "a VM before it is stuck: a person is needed before anything else starts".to_owned(),
        Reason::Interrupted => "azmend was interrupted before its turn".to_owned(),
        Reason::Deadline => "the deadline passed before its turn".to_owned(),
        Reason::CouldNotBegin | Reason::Expired | Reason::Waiting => "it was never its turn".to_owned(),
    };
    let rest = || MemberOutcome::NotStarted { reason, why: why.clone() };
    outcomes.into_iter().map(|ended| ended.unwrap_or_else(rest)).collect()
}

/// Whether this VM may begin beside those that are at work.
fn may_begin(members: &[Member], at_work: &BTreeSet<usize>, index: usize) -> bool {
    let Some(member) = members.get(index) else { return false };
    let others = || at_work.iter().filter_map(|other| members.get(*other));
    others().filter(|other| other.place == member.place).count() < PER_REGION
        && !others().any(|other| other.conflicts(member))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
