//! Reading with honesty: what every collector needs to say *unread* instead of *absent*.
//!
//! Duty: turn calls into parts; ask once per scope what the caller may do; run calls side by side within a bound.
//! Invariants: a list is complete only when the permissions API grants its read at the scope that was listed or at the
//! subscription above it (grants are inherited), no deny assignment that can be seen takes it away (the permissions API
//! does not tell those), and every row was understood, because RBAC leaves rows out without a word (S12). A time stamp is taken before the call, so a fact is never younger
//! than it says. Deny assignments that cannot be read are an unread part of their own and spoil no other.
//! Must never: send anything but reads.

use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::stream::{self, Stream, StreamExt};
use jiff::Timestamp;

use super::vm_facts::Part;
use crate::arm::id::ResourceId;
use crate::arm::model::{DenyAssignment, Permission};
use crate::arm::permissions::{allows, allows_every_read, denied, denies_a_read};
use crate::arm::{Arm, ArmError, ErrorKind, Listing, Recall, WholeVm};

/// A value, or the one-line reason why it was not read (completely).
pub(super) type Read<T> = Result<T, String>;

/// The actions whose grant makes a list complete; casing as Azure's operation lists print it.
pub(super) mod action {
    pub const GROUPS: &str = "Microsoft.Resources/subscriptions/resourceGroups/read";
    pub const VMS: &str = "Microsoft.Compute/virtualMachines/read";
    pub const EXTENSIONS: &str = "Microsoft.Compute/virtualMachines/extensions/read";
    pub const COLLECTIONS: &str = "Microsoft.Compute/restorePointCollections/read";
    pub const POINTS: &str = "Microsoft.Compute/restorePointCollections/restorePoints/read";
    pub const LOCKS: &str = "Microsoft.Authorization/locks/read";
    pub const ROLES: &str = "Microsoft.Authorization/roleAssignments/read";
    pub const ASSIGNMENTS: &str = "Microsoft.Authorization/policyAssignments/read";
    pub const DENY: &str = "Microsoft.Authorization/denyAssignments/read";
    pub const VAULTS: &str = "Microsoft.RecoveryServices/Vaults/read";
    pub const ITEMS: &str = "Microsoft.RecoveryServices/Vaults/backupProtectedItems/read";
    pub const ITEM: &str = "Microsoft.RecoveryServices/Vaults/backupFabrics/protectionContainers/protectedItems/read";
    pub const POLICIES: &str = "Microsoft.RecoveryServices/Vaults/backupPolicies/read";
    pub const JOBS: &str = "Microsoft.RecoveryServices/Vaults/backupJobs/read";
    pub const ENGINES: &str = "Microsoft.RecoveryServices/Vaults/backupEngines/read";
    pub const GUARD: &str = "Microsoft.RecoveryServices/Vaults/backupResourceGuardProxies/read";
    pub const RECOVERY_POINTS: &str =
        "Microsoft.RecoveryServices/Vaults/backupFabrics/protectionContainers/protectedItems/recoveryPoints/read";
}

type Granted = Read<(Timestamp, Vec<Permission>)>;
type Denied = Read<(Timestamp, Vec<DenyAssignment>)>;

/// A scope of which something in a list could not be understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Blind {
    pub scope: ResourceId,
    pub why: String,
}

/// One reading of Azure. It remembers what the caller may do at each scope, so it must not outlive the reading.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    pub arm: &'a Arm,
    concurrency: usize,
    recall: Arc<Recall>,
    /// A list, or what may be listed, was not read because Azure could not be asked now.
    passing: AtomicBool,
}

impl<'a> Reader<'a> {
    pub fn new(arm: &'a Arm, concurrency: usize) -> Self {
        Self { arm, concurrency: concurrency.max(1), recall: arm.recall(), passing: AtomicBool::new(false) }
    }

    pub fn now(&self) -> Timestamp {
        self.arm.clock().now()
    }

    /// What the caller may do at `scope`; asked once in this reading.
    pub async fn permissions(&self, scope: &ResourceId) -> Granted {
        let clock = self.arm.clock().as_ref();
        let (at, answer) = self.recall.granted(clock, scope, self.arm.permissions(scope)).await;
        self.noting(answer).map(|permissions| (at, permissions)).map_err(|error| why(&error))
    }

    /// Whether a list was not read for a reason that passes: Azure could not be reached, or asks to wait.
    pub fn may_pass(&self) -> bool {
        self.passing.load(Ordering::Relaxed)
    }

    fn noting<T>(&self, answer: Result<T, ArmError>) -> Result<T, ArmError> {
        if answer.as_ref().is_err_and(ArmError::is_passing) {
            self.passing.store(true, Ordering::Relaxed);
        }
        answer
    }

    /// What the caller may do at `scope`, as far as `enough` wants to know: what is granted at the subscription is granted
    /// below it too, so the scope is asked only when that is not enough. (Deny assignments are looked at apart.)
    pub async fn grants(&self, scope: &ResourceId, enough: impl Fn(&[Permission]) -> bool) -> Granted {
        let above = scope.subscription_id();
        if above != *scope
            && let Ok((at, permissions)) = self.permissions(&above).await
            && enough(&permissions)
        {
            return Ok((at, permissions));
        }
        self.permissions(scope).await
    }

    /// The VM with its instance view in one call; asked once in this reading.
    pub async fn whole_vm(&self, id: &ResourceId) -> (Timestamp, Result<WholeVm, ArmError>) {
        self.recall.vm(self.arm.clock().as_ref(), id, self.arm.whole_vm(id)).await
    }

    /// The deny assignments of a subscription; asked once in this reading.
    pub async fn deny_assignments(&self, subscription: &ResourceId) -> Denied {
        let (_, permissions) = self.permissions(subscription).await?;
        if !allows(&permissions, action::DENY) {
            return Err(lacking(action::DENY, subscription));
        }
        let clock = self.arm.clock().as_ref();
        let ask = self.arm.deny_assignments(subscription);
        let (at, answer) = self.recall.denied(clock, subscription, ask).await;
        answer.map(|found| (at, found)).map_err(|error| why(&error))
    }

    /// Refuses when a deny assignment that concerns `scope` has `takes` away. Whom it concerns cannot be told.
    async fn not_denied(&self, scope: &ResourceId, takes: impl Fn(&DenyAssignment) -> bool) -> Read<()> {
        let Ok((_, assignments)) = self.deny_assignments(&scope.subscription_id()).await else { return Ok(()) };
        let concerns = |assignment: &&DenyAssignment| match ResourceId::parse(&assignment.scope) {
            Ok(denied) => denied.covers(scope) || scope.covers(&denied),
            // Above subscriptions, or not understood.
            Err(_) => true,
        };
        match assignments.iter().filter(concerns).find(|assignment| takes(assignment)) {
            None => Ok(()),
            Some(assignment) => Err(one_line(&format!(
                "the deny assignment {:?} may hide rows of a list at {}",
                assignment.name,
                scope.short_name()
            ))),
        }
    }

    /// Refuses when the caller lacks any of these reads at `scope`: then a list there may leave out rows.
    pub async fn may_list(&self, scope: &ResourceId, actions: &[&str]) -> Read<()> {
        let all = |granted: &[Permission]| actions.iter().all(|action| allows(granted, action));
        let (_, permissions) = self.grants(scope, all).await.map_err(|why| {
            format!("what may be read at {} is not known, so a list there may be partial: {why}", scope.short_name())
        })?;
        if let Some(action) = actions.iter().find(|action| !allows(&permissions, action)) {
            return Err(lacking(action, scope));
        }
        self.not_denied(scope, |assignment| actions.iter().any(|action| denied(assignment, action))).await
    }

    /// Refuses when some resource type at `scope` may be hidden from the caller: a list of *everything* is complete only
    /// with `*/read` and no exception that could take a read away.
    pub async fn may_list_everything(&self, scope: &ResourceId) -> Read<()> {
        let (_, permissions) = self.grants(scope, allows_every_read).await.map_err(|why| {
            format!("what may be read at {} is not known, so a list there may be partial: {why}", scope.short_name())
        })?;
        if !allows_every_read(&permissions) {
            return Err(lacking("*/read", scope));
        }
        self.not_denied(scope, denies_a_read).await
    }

    /// A complete list, or why it is not.
    pub async fn list<T, F>(
        &self,
        scope: &ResourceId,
        actions: &[&str],
        what: &str,
        call: F,
    ) -> Read<(Timestamp, Vec<T>)>
    where
        F: Future<Output = Result<Listing<T>, ArmError>>,
    {
        self.may_list(scope, actions).await?;
        let at = self.now();
        let items = complete(self.noting(call.await), what)?;
        Ok((at, items))
    }

    /// A list in which each row is about a scope of its own: the rows that were read, and the scopes of those that could not
    /// be understood; only these are unread then.
    pub async fn list_by_scope<T, F>(
        &self,
        scope: &ResourceId,
        actions: &[&str],
        what: &str,
        call: F,
    ) -> Read<(Timestamp, Vec<T>, Vec<Blind>)>
    where
        F: Future<Output = Result<Listing<T>, ArmError>>,
    {
        self.may_list(scope, actions).await?;
        let at = self.now();
        let listing = call.await.map_err(|error| why(&error))?;
        let Some(scopes) = listing.malformed.scopes() else {
            return complete(Ok(listing), what).map(|items| (at, items, Vec::new()));
        };
        let first = listing.malformed.first().unwrap_or_default();
        let blind = scopes.iter().map(|scope| Blind {
            scope: scope.clone(),
            why: one_line(&format!("some {what} of {} could not be understood: {first}", scope.short_name())),
        });
        Ok((at, listing.items, blind.collect()))
    }

    /// Runs the calls with a bound on how many are out at once; the answers in the order of the calls.
    pub async fn side_by_side<T, F: Future<Output = T>>(&self, calls: Vec<F>) -> Vec<T> {
        self.one_by_one(calls).collect().await
    }

    /// The answers in the order of the calls as they come, for those that are too large to be kept all together.
    pub fn one_by_one<T, F: Future<Output = T>>(&self, calls: Vec<F>) -> impl Stream<Item = T> + Unpin {
        stream::iter(calls).buffered(self.concurrency)
    }
}

fn lacking(action: &str, scope: &ResourceId) -> String {
    format!("no permission {action} at {}: a list there may be partial", scope.short_name())
}

/// The rows, if all of them were understood.
pub(super) fn complete<T>(listing: Result<Listing<T>, ArmError>, what: &str) -> Read<Vec<T>> {
    let listing = listing.map_err(|error| why(&error))?;
    let bad = listing.malformed.len();
    match listing.malformed.first() {
        None => Ok(listing.items),
        Some(first) => {
            Err(one_line(&format!("{bad} of {} {what} could not be understood: {first}", listing.items.len() + bad)))
        }
    }
}

/// A known or unread part.
pub(super) fn part<T>(read: Read<(Timestamp, T)>) -> Part<T> {
    match read {
        Ok((at, value)) => Part::Known { at, value },
        Err(why) => Part::Unread { why },
    }
}

/// A part of one call whose 404 says nothing about absence.
pub(super) fn single<T>(at: Timestamp, answer: Result<T, ArmError>) -> Part<T> {
    match answer {
        Ok(value) => Part::Known { at, value },
        Err(error) => Part::Unread { why: why(&error) },
    }
}

/// The error in one line for people.
pub(super) fn why(error: &ArmError) -> String {
    let text = match error.kind {
        ErrorKind::Http { status } if error.code.is_empty() => format!("{status}: {error}"),
        ErrorKind::Http { status } => format!("{status} {}: {error}", error.code),
        _ => error.to_string(),
    };
    one_line(&text)
}

/// Text of Azure's in one line of bounded length, without control characters.
pub(super) fn one_line(text: &impl Display) -> String {
    const LONGEST: usize = 400;
    let text = text.to_string();
    let words: Vec<&str> =
        text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()).collect();
    let line = words.join(" ");
    if line.chars().count() <= LONGEST {
        return line;
    }
    let mut short: String = line.chars().take(LONGEST).collect();
    short.push('…');
    short
}

/// The ids are of the same resource: without case, and also for texts azmend cannot parse (classic VMs).
pub(super) fn same_id(text: &str, id: &ResourceId) -> bool {
    match ResourceId::parse(text) {
        Ok(parsed) => parsed == *id,
        Err(_) => text.trim_matches('/').to_lowercase() == id.key().trim_matches('/'),
    }
}
