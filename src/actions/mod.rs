//! The typed actions: the only things a playbook can do.
//!
//! One file per action, in the order parameters, plan, apply (check and send), verify, undo, tests. An action decides
//! on facts through the [`rules`]; it never journals, waits in a loop or retries: that is the engine's duty. For every
//! change the engine asks, in this order and again before every further attempt: [`check`] (re-read, guards), then
//! journals the intent, [`send`]s once, and [`verify`]s by reading.

pub mod backup;
pub mod change;
pub mod enable;
pub mod extension;
pub mod guest;
pub mod job;
pub mod keyvault;
pub mod locks;
pub mod needs;
pub mod points;
pub mod protection;
pub mod rights;
pub mod rules;
pub mod spec;
pub mod vm;

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use crate::arm::id::ResourceId;
use crate::arm::{Arm, ArmError, ErrorClass, ErrorKind, Sent, Tag};
use crate::estate::facts::VmFacts;
use change::{Change, ChangeKind, Failure, Override, Refusal};

/// What an action works with.
#[derive(Debug, Clone)]
pub struct Context<'a> {
    /// The typed calls.
    pub arm: &'a Arm,
    /// Facts read at most 60 seconds ago.
    pub facts: &'a VmFacts,
    /// The rules the user switched off.
    pub overrides: &'a BTreeSet<Override>,
    /// Locks the user named.
    pub named_locks: &'a [ResourceId],
    /// Whether this run removed a lock: then a first failure of the backup for the point limit is expected.
    pub unlocked: bool,
}

impl<'a> Context<'a> {
    /// The ground for the rules at this moment.
    #[must_use]
    pub fn ground(&self) -> rules::Ground<'a> {
        rules::Ground {
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
}

/// One request that may be sent now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Next {
    /// `DELETE`, `POST` or `PUT`.
    pub verb: &'static str,
    /// Its target.
    pub target: ResourceId,
    /// The before-image for the journal.
    pub before: Value,
}

/// What the re-read and the guards say.
#[derive(Debug, Clone, PartialEq)]
pub enum Check {
    /// Send this, now.
    Go(Next),
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
    /// Not needed any more.
    Skip(String),
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

/// What a look at a changed resource says before the change is taken back by its inverse.
#[derive(Debug, Clone, PartialEq)]
pub enum Inverse {
    /// Send this, now.
    Go(Next),
    /// The resource is as it was before the change.
    Holds(String),
    /// There is nothing to take back any more: what was changed is gone.
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

/// Reads a changed resource again and says whether its inverse may be sent (S3). `before` is the before-image that was
/// journaled with the change's last intent; `sent`, whether a request of the inverse has left. Asked again after the inverse was sent: [`Inverse::Holds`] is its proof (S4).
pub async fn check_inverse(arm: &Arm, change: &Change, _before: &Value, sent: bool) -> Inverse {
    match &change.what {
        ChangeKind::GrantKeyAccess { vault, created, tenant, principal, before, missing } => {
            let grant = keyvault::Granted { vault, created, tenant, principal, before, missing };
            keyvault::check_grant_back(arm, &grant, sent).await
        }
        ChangeKind::AssignKeyRole { assignment, created, principal, role } => {
            let assigned = keyvault::Assigned { assignment, created, principal, role };
            keyvault::check_assign_back(arm, &assigned).await
        }
        ChangeKind::ResumeProtection { item, source, old_policy, policy } => {
            protection::check_inverse(arm, &protection::Resumed { item, source, old_policy, policy }).await
        }
        ChangeKind::EnableProtection { item, source, policy } => {
            protection::check_inverse(arm, &protection::Resumed { item, source, old_policy: "", policy }).await
        }
        ChangeKind::SetGuest { vm, vm_id, setting } => guest::check_inverse(arm, vm, vm_id, setting).await,
        _ => Inverse::NotNeeded("there is nothing to take back".to_owned()),
    }
}

/// Sends the inverse of a change, exactly once.
///
/// # Errors
/// As Azure answered; [`ArmError::may_have_taken_effect`] says whether the answer was lost.
pub async fn send_inverse(arm: &Arm, change: &Change, next: &Next, tag: &Tag) -> Result<Sent, ArmError> {
    match &change.what {
        ChangeKind::ResumeProtection { source, old_policy, .. } => {
            arm.stop_protection(&next.target, source, old_policy.is_empty(), tag).await
        }
        // The item keeps the policy's name, so that it can be resumed with it.
        ChangeKind::EnableProtection { source, .. } => arm.stop_protection(&next.target, source, false, tag).await,
        ChangeKind::GrantKeyAccess { vault, created, tenant, principal, before, missing } => {
            let grant = keyvault::Granted { vault, created, tenant, principal, before, missing };
            keyvault::send_grant_back(arm, &grant, next, tag).await
        }
        ChangeKind::AssignKeyRole { .. } => arm.unassign_role(&next.target, tag).await,
        ChangeKind::SetGuest { setting, .. } => guest::send_inverse(arm, next, setting, tag).await,
        _ => Err(ArmError::refused(next.target.as_str(), "a change of this kind has no inverse request")),
    }
}

/// Reads the resource again, evaluates every guard again, and says what may be sent (S3).
pub async fn check(cx: &Context<'_>, change: &Change, history: &History) -> Check {
    match &change.what {
        ChangeKind::RemoveLock { lock } => locks::check(cx, lock, history).await,
        ChangeKind::DeleteCollection { collection, why } => {
            points::check_collection(cx, collection, *why, history).await
        }
        ChangeKind::DeletePoint { point, collection_id } => {
            points::check_point(cx, point, collection_id, history).await
        }
        ChangeKind::UninstallExtension { extension, version, code } => {
            extension::check(cx, extension, version, code, history).await
        }
        ChangeKind::StartBackup { item, .. } => backup::check(cx, item, history).await,
        ChangeKind::AwaitJob { job } => job::check_wait(cx, job).await,
        ChangeKind::CancelJob { job, started, older_than } => {
            job::check_cancel(cx, job, *started, *older_than, history).await
        }
        ChangeKind::ReapplyVm { vm, .. } => vm::check_reapply(cx, vm, history).await,
        ChangeKind::RestartVm { vm } => vm::check_restart(cx, vm, history).await,
        ChangeKind::ResumeProtection { item, source, old_policy, policy } => {
            protection::check(cx, &protection::Resumed { item, source, old_policy, policy }, history).await
        }
        ChangeKind::EnableProtection { item, policy, .. } => enable::check(cx, item, policy, history).await,
        ChangeKind::GrantKeyAccess { vault, created, tenant, principal, before, missing } => {
            let grant = keyvault::Granted { vault, created, tenant, principal, before, missing };
            keyvault::check_grant(cx, &grant, history).await
        }
        ChangeKind::AssignKeyRole { assignment, created, principal, role } => {
            let assigned = keyvault::Assigned { assignment, created, principal, role };
            keyvault::check_assign(cx, &assigned, history).await
        }
        ChangeKind::SetGuest { vm, setting, .. } => guest::check(cx, vm, setting, history).await,
    }
}

/// Sends one request, exactly once.
///
/// # Errors
/// As Azure answered; [`ArmError::may_have_taken_effect`] says whether the answer was lost.
pub async fn send(cx: &Context<'_>, change: &Change, next: &Next, tag: &Tag) -> Result<Sent, ArmError> {
    match &change.what {
        ChangeKind::RemoveLock { .. } => cx.arm.delete_lock(&next.target, tag).await,
        ChangeKind::DeleteCollection { .. } | ChangeKind::DeletePoint { .. } => {
            if next.target.is_type("Microsoft.Compute/restorePointCollections/restorePoints") {
                cx.arm.delete_point(&next.target, tag).await
            } else {
                cx.arm.delete_collection(&next.target, tag).await
            }
        }
        ChangeKind::UninstallExtension { .. } => cx.arm.delete_extension(&next.target, tag).await,
        ChangeKind::StartBackup { item, retain, .. } => {
            let until = crate::clock::later(cx.arm.clock().now(), retain.to_std());
            cx.arm.start_backup(item, until, tag).await
        }
        ChangeKind::AwaitJob { job } => Err(ArmError::refused(job.as_str(), "waiting sends nothing")),
        ChangeKind::CancelJob { job, .. } => cx.arm.cancel_job(job, tag).await,
        ChangeKind::ReapplyVm { vm, .. } => cx.arm.reapply_vm(vm, tag).await,
        ChangeKind::RestartVm { vm } => cx.arm.restart_vm(vm, tag).await,
        ChangeKind::ResumeProtection { source, policy, .. } | ChangeKind::EnableProtection { source, policy, .. } => {
            cx.arm.resume_protection(&next.target, source, policy, tag).await
        }
        ChangeKind::GrantKeyAccess { vault, created, tenant, principal, before, missing } => {
            let grant = keyvault::Granted { vault, created, tenant, principal, before, missing };
            keyvault::send_grant(cx, &grant, next, tag).await
        }
        ChangeKind::AssignKeyRole { principal, role, .. } => {
            cx.arm.assign_role(&next.target, role, principal, tag).await
        }
        ChangeKind::SetGuest { setting, .. } => guest::send(cx.arm, next, setting, tag).await,
    }
}

/// Reads once and says whether the change is proven (S4).
pub async fn verify(cx: &Context<'_>, change: &Change, history: &History) -> Verify {
    match &change.what {
        ChangeKind::RemoveLock { lock } => locks::verify(cx, lock, history).await,
        ChangeKind::DeleteCollection { collection, .. } => points::verify_collection(cx, collection, history).await,
        ChangeKind::DeletePoint { point, .. } => points::verify_point(cx, point, history).await,
        ChangeKind::UninstallExtension { extension, .. } => extension::verify(cx, extension, history).await,
        ChangeKind::StartBackup { item, until, .. } => backup::verify(cx, item, *until, history).await,
        ChangeKind::AwaitJob { .. } => Verify::Again { why: "nothing was sent".to_owned(), wait: Duration::ZERO },
        ChangeKind::CancelJob { job, .. } => job::verify_cancel(cx, job, history).await,
        ChangeKind::ReapplyVm { vm, .. } => vm::verify_reapply(cx, vm, history).await,
        ChangeKind::RestartVm { vm } => vm::verify_restart(cx, vm, history).await,
        ChangeKind::ResumeProtection { item, source, old_policy, policy } => {
            protection::verify(cx, &protection::Resumed { item, source, old_policy, policy }, history).await
        }
        ChangeKind::EnableProtection { item, policy, .. } => enable::verify(cx, item, policy, history).await,
        ChangeKind::GrantKeyAccess { vault, created, tenant, principal, before, missing } => {
            let grant = keyvault::Granted { vault, created, tenant, principal, before, missing };
            keyvault::verify_grant(cx, &grant, history).await
        }
        ChangeKind::AssignKeyRole { assignment, created, principal, role } => {
            let assigned = keyvault::Assigned { assignment, created, principal, role };
            keyvault::verify_assign(cx, &assigned, history).await
        }
        ChangeKind::SetGuest { vm, vm_id, setting } => guest::verify(cx, vm, vm_id, setting).await,
    }
}

/// What a finished operation teaches that must be journaled: key and value.
#[must_use]
pub fn learn(change: &Change, body: &Value) -> Option<(String, String)> {
    match &change.what {
        ChangeKind::StartBackup { item, .. } => {
            backup::job_of(item, body).map(|job| ("job".to_owned(), job.to_string()))
        }
        _ => None,
    }
}

/// How many times an error of this class may be answered by another attempt, after reading again.
///
/// DELETE is repeated on throttling, 5xx and lost replies; POST only after 429 or a refused connection (S10). A 401 comes
/// from ARM's front door before anything happens, and the gateway has dropped the token that was not accepted.
#[must_use]
pub fn may_send_again(change: &Change, error: &ArmError) -> bool {
    match error.class() {
        ErrorClass::Throttled | ErrorClass::NotSent => true,
        ErrorClass::SignIn => matches!(error.kind, ErrorKind::Http { .. }),
        ErrorClass::Transient
        | ErrorClass::Lost
        | ErrorClass::Conflict
        | ErrorClass::BeingDeleted
        | ErrorClass::VmChanged => {
            !matches!(change.what, ChangeKind::StartBackup { .. } | ChangeKind::RestartVm { .. })
        }
        _ => false,
    }
}
