//! What the engine and the kinds of change say to each other.
//!
//! Duty: the values that pass between them: what a kind may look at ([`Context`], [`History`]), what it answers before a
//! request ([`Check`]), after it ([`Verify`], [`Effect`]) and before it is undone ([`Inverse`]). Must never: do anything.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::outcome::{Failure, Override, Refusal};
use super::rules;
use crate::arm::id::ResourceId;
use crate::arm::{Arm, ArmError};
use crate::facts::vm_facts::VmFacts;

/// What an action works with.
#[derive(Debug, Clone)]
pub struct Context<'a> {
    /// The typed calls.
    pub arm: &'a Arm,
    /// Facts as old as [`FactsNeeded`] allows, at most.
    pub facts: &'a VmFacts,
    /// The rules the user switched off.
    pub overrides: &'a BTreeSet<Override>,
    /// Locks the user named.
    pub named_locks: &'a [ResourceId],
    /// When a run of this machine last removed a lock over this VM's collections: the first failure of the backup for the
    /// point limit is expected after that.
    pub unlocked: Option<Timestamp>,
}

impl<'a> Context<'a> {
    /// The input for the rules at this moment.
    #[must_use]
    pub fn input(&self) -> rules::RuleInput<'a> {
        rules::RuleInput {
            facts: self.facts,
            now: self.arm.clock().now(),
            overrides: self.overrides,
            orphan_age: rules::ORPHAN_AGE,
        }
    }
}

/// An earlier attempt of the same change, from the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// When its intent was written.
    pub at: Timestamp,
    /// What it was sent to.
    pub target: ResourceId,
    /// How many points the collection had then.
    pub remaining: Option<usize>,
    /// Whether Azure's answer to it is known.
    pub answered: bool,
}

/// What earlier attempts left behind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// The attempts that may have taken effect, oldest first.
    pub attempts: Vec<Attempt>,
    /// Attempts that Azure surely did not take (throttled, locked, refused).
    pub rejected: usize,
    /// The backup job that was started.
    pub job: Option<ResourceId>,
    /// How often the backup ended with "clean-up pending".
    pub clean_up_pending: u32,
    /// Azure Backup is cleaning up at least until then, as the pause said.
    pub not_before: Option<Timestamp>,
    /// The last attempt is over (its backup failed as expected): nothing of it is to be followed.
    pub closed: bool,
    /// When a lock was proven to be gone for good after a request of this run, and was not restored since.
    pub absent: Option<Timestamp>,
}

/// The verb of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Deletes.
    Delete,
    /// Creates or replaces.
    Put,
    /// Does something.
    Post,
    /// Changes a part.
    Patch,
}

impl Verb {
    /// As HTTP and the journal spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Delete => "DELETE",
            Self::Put => "PUT",
            Self::Post => "POST",
            Self::Patch => "PATCH",
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One request that may be sent now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What it does.
    pub verb: Verb,
    /// Its target.
    pub target: ResourceId,
    /// The before-image for the journal.
    pub before: Value,
}

/// What the re-read and the guards say.
#[derive(Debug, Clone, PartialEq)]
pub enum Check {
    /// Send this, now.
    Go(Request),
    /// The resource is gone, or the state that was wanted is there.
    Holds(String),
    /// Nothing to send; go on verifying what an earlier attempt started: the job that was found for it, if one was.
    Follow(Option<ResourceId>),
    /// Azure is busy with the resource: look again.
    Wait {
        /// What it waits for.
        why: String,
        /// For how long.
        wait: Duration,
    },
    /// Azure has not finished within the patience: the run pauses (exit 7) and is resumed later.
    Late {
        /// What Azure has not finished.
        why: String,
        /// When to come back.
        wait: Duration,
        /// The likely cause, and what can be done about it.
        hint: Option<String>,
    },
    /// Not needed any more.
    Skip(String),
    /// Of an undoing: there is nothing to undo any more.
    NotNeeded(String),
    /// A rule stops it.
    Refuse(Refusal),
    /// Nobody can say whether an earlier attempt took effect.
    Unknown(String),
    /// Tries are used up.
    GiveUp(Failure),
    /// The re-read failed.
    Unreadable(ArmError),
}

/// What reading says after an attempt.
#[derive(Debug, Clone, PartialEq)]
pub enum Verify {
    /// Proven.
    Done(String),
    /// The job of a request whose answer was lost was found: to be journaled, then read.
    Found(ResourceId),
    /// Not yet: read again.
    Pending {
        /// What it waits for.
        why: String,
        /// For how long.
        wait: Duration,
    },
    /// Azure has not finished within the patience: the run pauses (exit 7) and is resumed later.
    Late {
        /// What Azure has not finished.
        why: String,
        /// When to come back.
        wait: Duration,
        /// The likely cause, and what can be done about it.
        hint: Option<String>,
    },
    /// It did not happen (or not completely): check again, and perhaps send again.
    Again {
        /// What was found.
        why: String,
        /// How long to wait before.
        wait: Duration,
    },
    /// The backup failed as is expected once after unlocking: Azure cleans up now.
    CleanUpPending {
        /// What happened.
        why: String,
        /// When to come back.
        wait: Duration,
    },
    /// It failed for good.
    Failed(Failure),
    /// A rule of Azure stops it.
    Refused(Refusal),
    /// Nobody can say.
    Unknown(String),
}

/// What requests of a change did although it did not succeed, read by GET.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing: the resource is proven to be as it was.
    None,
    /// Something: the resource is proven not to be as it was.
    Some,
    /// Reading does not settle it.
    Unknown,
}

/// What a look at a changed resource says before the change is undone by its inverse.
#[derive(Debug, Clone, PartialEq)]
pub enum Inverse {
    /// Send this, now.
    Go(Request),
    /// The resource is as it was before the change.
    Holds(String),
    /// There is nothing to undo any more: what was changed is gone.
    NotNeeded(String),
    /// Azure is busy with the resource: look again.
    Wait {
        /// What it waits for.
        why: String,
        /// For how long.
        wait: Duration,
    },
    /// It is not what the change left behind: somebody changed it since, and it is theirs now (S3).
    Refuse(Refusal),
    /// It cannot be read.
    Unreadable(ArmError),
}

/// Which parts of the facts the guards of a change look at, and how old they may be. The parts are those of
/// [`crate::facts::collect::Refresh`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FactsNeeded {
    /// VM, instance view, extensions. Every guard looks at the VM: it tells a recreated one (S3).
    pub vm: bool,
    /// The VM's collections with points.
    pub collections: bool,
    /// The candidate backup groups with what they hold.
    pub groups: bool,
    /// Locks and deny assignments.
    pub locks: bool,
    /// `backupStatus`, items, policies, recovery points and jobs.
    pub backup: bool,
    /// The same of the known items, without `backupStatus`: what matters when the item is known.
    pub items: bool,
    /// Only the jobs of the known items.
    pub jobs: bool,
    /// The collections must have been read since this run began, whatever their age: the resource that is read before the request
    /// does not show that its collection was recreated.
    pub since_start: bool,
    /// Rights at the scopes already known.
    pub rights: bool,
    /// A new reading of everything.
    pub everything: bool,
    /// How old each of them may be ("just before" of the safety rules).
    pub age: Duration,
}

impl FactsNeeded {
    /// "Just before" means on facts read at most 60 seconds ago (docs/safety.md).
    pub const FRESH: Duration = Duration::from_secs(60);

    /// The VM alone.
    pub const VM: Self = Self {
        vm: true,
        collections: false,
        groups: false,
        locks: false,
        backup: false,
        items: false,
        jobs: false,
        since_start: false,
        rights: false,
        everything: false,
        age: Self::FRESH,
    };
}
