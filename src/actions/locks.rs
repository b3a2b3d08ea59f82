//! `locks.remove`: removes locks that keep Azure Backup from cleaning up its restore points.
//!
//! Only what `rules::locks` allows is ever planned; everything else is reported with the rule. Deletion of a lock is
//! eventually consistent: a single reading after a request of ours proves nothing, neither that the lock is gone nor that it
//! is in force, so both are read several times ([`Reading`]).

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::change::{Risk, Undo};
use super::outcome::{Failure, Refusal};
use super::permission::{self, Place, Right, Uses};
use super::planning::{PlanContext, PlanReads, StepDraft};
use super::rules::{RuleInput, groups, locks as rule};
use super::{Action, Check, Context, Effect, FactsNeeded, History, Mutation, Request, Verb, Verify};
use crate::arm::id::ResourceId;
use crate::arm::model::Lock;
use crate::arm::{Arm, ArmError, ErrorClass, Sent, Tag};
use crate::clock::elapsed;
use crate::facts::locked::LockedScopes;
use crate::facts::vm_facts::{Part, VmFacts};
use crate::text::{plural, safe_short, shell_quote};

/// So many readings in a row that say the same are a stable one, [`PROBE`] apart. How long Azure takes to let every replica
/// know of a lock's removal is not documented: Terraform's provider waits for twelve readings at ten seconds; azmend needs
/// fewer because ScopeLocked is waited out after its own removal.
const STABLE: usize = 3;
/// Between two readings of a lock.
const PROBE: Duration = Duration::from_secs(8);
/// A lock that was deleted may read as in force for this long: then the run comes back later. Not verified by any document;
/// Terraform waits two minutes, and a release of ten minutes was reported.
const PATIENCE: Duration = Duration::from_secs(15 * 60);
/// When to come back for a lock that Azure has not released.
const COME_BACK: Duration = Duration::from_secs(15 * 60);
/// A lock that still reads as in force this long after Azure took its deletion was not deleted (a 204 whose lock stays was
/// reported: azure-cli 24519). Then the request is sent again, after reading.
const NOT_DELETED: Duration = Duration::from_secs(25 * 60);
/// Requests that Azure took without effect before azmend gives up.
const TRIES: usize = 3;
/// The same with those whose answer was lost.
const LOST_TRIES: usize = 6;

/// Removes a lock.
const DELETE: Right = Right::change(
    "Microsoft.Authorization/locks/delete",
    Place::BackupGroups,
    "removes a lock from a backup resource group",
    "locks are reported with the command that removes them",
);
/// Restores it.
const WRITE: Right = Right::change(
    "Microsoft.Authorization/locks/write",
    Place::BackupGroups,
    "restores a removed lock",
    "no lock is removed, because none could be restored (rule s6.cannot-restore)",
);

/// Removes locks that stop Azure Backup from cleaning up its restore points.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LocksRemove {
    /// Had no effect and is no key of the language any more; read where older playbooks and plans have it, and kept there
    /// because it is part of a plan's hash.
    #[schemars(skip)]
    #[serde(deserialize_with = "super::parameters::given", skip_serializing_if = "Option::is_none")]
    pub scope: Option<LockScope>,
}

/// The only value that `scope` ever had.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LockScope {
    /// Locks on the VM's backup resource groups and on its Backup-owned collections.
    #[default]
    BackupGroups,
}

impl Action for LocksRemove {
    const KEYS: &'static [&'static str] = &[];
    const OLD_KEYS: &'static [&'static str] = &["scope"];
    const NEEDS: &'static [Uses] = &[
        Uses::Needs(&permission::DENY_ASSIGNMENTS),
        Uses::Needs(&permission::LOCKS),
        Uses::Needs(&permission::GROUPS),
        Uses::Needs(&permission::GROUP_CONTENTS),
        Uses::Needs(&permission::COLLECTIONS),
        Uses::Needs(&permission::POINTS),
        Uses::Needs(&DELETE),
        Uses::Needs(&WRITE),
    ];
    const WRITES: &'static [&'static str] = &["locks"];

    /// Every lock over this VM's backup: on its backup groups and collections, those above them (which are reported), and
    /// those that the last backup's error names, wherever they are.
    ///
    /// Where that error names the locked scope, only the locks on it are the cause: others are left alone, unless the VM is
    /// at its limit of points too. One that is the cause and that azmend may not remove stops the whole fix.
    fn plan(&self, cx: &PlanContext<'_>) -> StepDraft {
        let mut out = StepDraft::default();
        let facts = cx.input.facts;
        let Some(locks) = facts.locks.known() else {
            out.unread.extend(facts.locks.unread().map(|why| ("locks", why.to_owned())));
            return out;
        };
        let error = LockedScopes::of(facts);
        let meant = |lock: &Lock| error.as_ref().is_some_and(|error| error.mean(lock));
        let full = cx.room.is_some_and(|(count, limit)| count >= limit);
        let scopes = scopes(facts);
        let mut relevant: Vec<&Lock> = locks
            .iter()
            .filter(|lock| {
                let over = || scopes.iter().any(|scope| lock.scope().covers(scope));
                cx.named_locks.contains(&lock.id) || meant(lock) || over()
            })
            .collect();
        relevant.sort_by(|a, b| a.id.cmp(&b.id));
        for lock in relevant {
            let may = rule::may_remove(&cx.input, lock, cx.named_locks);
            let asked = cx.named_locks.contains(&lock.id) || meant(lock);
            match (may, &error) {
                (Ok(()), Some(error)) if !asked && !full => out.notes.push(left_alone(lock, error)),
                (Ok(()), _) => out.push(RemoveLock { lock: lock.clone() }, effect(&cx.input, lock, &lock.scope())),
                (Err(refusal), Some(error)) if meant(lock) => out.refused.push((1, the_cause(lock, error, refusal))),
                (Err(refusal), _) => {
                    let why = format!("the {} lock {} is kept: {}", lock.level, lock.id.name(), refusal.why);
                    out.locks_that_stay.push(Refusal { why, ..refusal });
                }
            }
        }
        for name in cx.named_locks {
            if !locks.iter().any(|lock| lock.id == *name) {
                out.notes.push(format!("the lock {name} named with --lock was not found"));
            }
        }
        if let Some(error) = error.filter(|error| error.among(facts).next().is_none()) {
            out.notes.push(format!("the lock on {} that the last backup hit is gone", error.places()));
        }
        out.kept = out.locks_that_stay.iter().map(|refusal| (1, refusal.clone())).collect();
        out
    }
}

/// A lock that the last backup's error does not name.
fn left_alone(lock: &Lock, error: &LockedScopes) -> String {
    format!(
        "the {} lock {} on {} is kept: the last backup hit a lock on {}; to remove this one too, name it: --lock {}",
        lock.level,
        lock.id.name(),
        lock.scope().short_name(),
        error.places(),
        shell_quote(lock.id.as_str())
    )
}

/// The lock that the last backup's error names, and which azmend may not remove.
pub(super) fn the_cause(lock: &Lock, error: &LockedScopes, refusal: Refusal) -> Refusal {
    let refused = match error.operation.as_str() {
        "" => "was refused".to_owned(),
        verb => format!("was refused a {verb}"),
    };
    let why = format!(
        "the last backup {refused} by the {} lock {} on {}: {}",
        lock.level,
        lock.id.name(),
        lock.scope().short_name(),
        refusal.why
    );
    Refusal { why, ..refusal }
}

/// The VM's collections, their points and the groups that hold them.
fn scopes(facts: &VmFacts) -> Vec<ResourceId> {
    let mut scopes: Vec<ResourceId> = facts.collections().map(|collection| collection.id.clone()).collect();
    for group in facts.groups.known().into_iter().flatten() {
        // A group that only fits the pattern by name and holds none of this VM's collections is not this VM's business.
        if scopes.iter().any(|scope| group.group.id.covers(scope)) {
            scopes.push(group.group.id.clone());
        }
    }
    for collection in facts.collections() {
        scopes.extend(collection.points().iter().map(|point| point.id.clone()));
    }
    scopes
}

fn effect(input: &RuleInput<'_>, lock: &Lock, scope: &ResourceId) -> String {
    let mut text = format!("remove the {} lock {} on {}", lock.level, lock.id.name(), scope.short_name());
    if !lock.notes.is_empty() {
        text.push_str(&format!(", notes \"{}\"", safe_short(&lock.notes, 120)));
    }
    if let Some((collections, vms)) = rule::also_protects(input, scope) {
        text.push_str(&format!(
            "; it also protects {} of {}: Azure Backup will then clean up theirs too",
            plural(collections, "collection"),
            plural(vms, "other VM")
        ));
    }
    if groups::name_matches(input, scope.name()) && input.facts.locks_over(scope).any(|other| other.scope() != *scope) {
        text.push_str("; another lock above it stays in force");
    }
    text
}

/// Removes one management lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveLock {
    /// The lock as it was read for the plan.
    pub lock: Lock,
}

impl Mutation for RemoveLock {
    const NOUN: &'static str = "locks removed";

    fn resource(&self) -> &ResourceId {
        &self.lock.id
    }

    fn undo(&self) -> Undo {
        Undo::Restore
    }

    fn risk(&self) -> Risk {
        Risk::Medium
    }

    fn facts_needed(&self) -> FactsNeeded {
        FactsNeeded { groups: true, locks: true, rights: true, backup: true, ..FactsNeeded::VM }
    }

    fn leave(&self, facts: &mut VmFacts, _: &PlanReads) {
        if let Part::Known { value, .. } = &mut facts.locks {
            value.retain(|lock| lock.id != self.lock.id);
        }
    }

    /// Re-reads the lock and evaluates S3, S5 and S6 again.
    async fn check(&self, cx: &Context<'_>, history: &History) -> Check {
        let planned = &self.lock;
        let name = planned.id.name();
        if history.absent.is_some() {
            return self.check_removed(cx).await;
        }
        let now = match cx.arm.lock(&planned.id).await {
            Ok(lock) => lock,
            Err(error) if cx.arm.proves_absence(&error, &planned.id).await => {
                return if history.attempts.is_empty() { self.check_absent(cx).await } else { Check::Follow(None) };
            }
            Err(error) => return Check::Unreadable(error),
        };
        if let Some(difference) = difference(planned, &now) {
            let why = format!("the lock {name} is not the one in the plan: {difference}");
            return Check::Refuse(Refusal::new("s3.changed", why));
        }
        if let Err(refusal) = rule::may_remove(&cx.input(), &now, cx.named_locks) {
            return Check::Refuse(refusal);
        }
        let answered = history.attempts.iter().filter(|attempt| attempt.answered).count();
        if answered >= TRIES || history.attempts.len() >= LOST_TRIES {
            let tries = history.attempts.len();
            let why = format!("the lock {name} is still in force after {tries} requests to remove it");
            let hint = format!("remove it with: {}; then run azmend again", delete_command(planned));
            return Check::GiveUp(Failure::new("", why).with_hint(hint));
        }
        Check::Go(Request { verb: Verb::Delete, target: planned.id.clone(), before: before_image(&now) })
    }

    async fn send(&self, cx: &Context<'_>, request: &Request, tag: &Tag) -> Result<Sent, ArmError> {
        cx.arm.delete_lock(&request.target, tag).await
    }

    /// Waits for an absence that stays. What our request was answered with says nothing about that, and nothing about who
    /// removed the lock; a single 404 or 200 says nothing either, for Azure's replicas learn of it one after the other.
    async fn verify(&self, cx: &Context<'_>, history: &History) -> Verify {
        let planned = &self.lock;
        let name = planned.id.name();
        let (since, answered) = match history.attempts.last() {
            Some(last) => (elapsed(last.at, cx.arm.clock().now()), last.answered),
            None => return Verify::Again { why: format!("no request to remove the lock {name} left"), wait: PROBE },
        };
        // Azure took the request: one reading that shows the lock is then only slowness, and need not be repeated at once.
        let hasty = answered && since < NOT_DELETED;
        match reading(cx.arm, planned, hasty).await {
            Reading::Absent => Verify::Done("removed (confirmed)".to_owned()),
            Reading::InForce if !answered => {
                let why = format!("the answer was lost, and the lock {name} reads as in force");
                Verify::Again { why, wait: PROBE }
            }
            Reading::InForce if since >= NOT_DELETED => {
                let why = format!("Azure accepted the request, but the lock {name} is in force {} later", span(since));
                Verify::Again { why, wait: PROBE }
            }
            Reading::Other(difference) => {
                let why = format!("a lock of the name {name} with other content is in force: {difference}");
                Verify::Refused(Refusal::new("s3.changed", why).hint("run azmend again for a new plan"))
            }
            Reading::InForce | Reading::Unsettled(_) if since >= PATIENCE => Verify::Late {
                why: format!(
                    "the request to remove the lock {name} left {} ago, and readings still show it",
                    span(since)
                ),
                wait: COME_BACK,
                hint: Some("Azure releases a lock some minutes late at times; nothing needs to be done".to_owned()),
            },
            Reading::InForce => {
                Verify::Pending { why: "the lock's removal to reach every replica of Azure".to_owned(), wait: PROBE }
            }
            Reading::Unsettled(why) => Verify::Pending { why, wait: PROBE },
        }
    }

    async fn effect(&self, cx: &Context<'_>, history: &History) -> Effect {
        let Some(last) = history.attempts.last() else { return Effect::None };
        match reading(cx.arm, &self.lock, false).await {
            Reading::Absent => Effect::Some,
            // While Azure may not have let every replica know, a lock that it took the deletion of may still go.
            Reading::InForce if last.answered && elapsed(last.at, cx.arm.clock().now()) < NOT_DELETED => {
                Effect::Unknown
            }
            Reading::InForce => Effect::None,
            Reading::Other(_) | Reading::Unsettled(_) => Effect::Unknown,
        }
    }
}

impl RemoveLock {
    /// The check after one 404 and before any request of ours. An absence that stays is somebody else's doing, and not ours
    /// to restore. A replica that has not yet heard of the lock answers 404 as well, and then the lock is still to be removed.
    async fn check_absent(&self, cx: &Context<'_>) -> Check {
        let name = self.lock.id.name();
        match reading(cx.arm, &self.lock, false).await {
            Reading::Absent => {
                Check::Holds(format!("the lock {name} does not exist (confirmed); this run did not remove it"))
            }
            Reading::InForce | Reading::Other(_) | Reading::Unsettled(_) => {
                Check::Wait { why: format!("Azure's readings of the lock {name} to agree"), wait: PROBE }
            }
        }
    }

    /// The lock was seen to be gone for good after our request: it is not removed a second time in one run (S5).
    async fn check_removed(&self, cx: &Context<'_>) -> Check {
        match reading(cx.arm, &self.lock, false).await {
            Reading::Absent => Check::Holds("removed (confirmed)".to_owned()),
            Reading::InForce | Reading::Other(_) => Check::Refuse(came_back(&self.lock)),
            Reading::Unsettled(why) => Check::Wait { why, wait: PROBE },
        }
    }
}

/// What several readings of a lock say.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Reading {
    /// Each proved that it is not there.
    Absent,
    /// Each showed it, with the planned content.
    InForce,
    /// Each showed a lock of its name, the last with other content.
    Other(String),
    /// They differ, or one could not be had.
    Unsettled(String),
}

/// Reads a lock until [`STABLE`] readings in a row say the same, or two differ. With `hasty` one that shows the lock is
/// enough: who waits for its absence has nothing to gain from more.
async fn reading(arm: &Arm, lock: &Lock, hasty: bool) -> Reading {
    let mut first: Option<Reading> = None;
    for look in 0..STABLE {
        if look > 0 {
            arm.clock().sleep(PROBE).await;
        }
        let now = match arm.lock(&lock.id).await {
            // Every lock has a level: an answer without one was not understood.
            Ok(now) if now.level.is_empty() => {
                return Reading::Unsettled(format!("reading the lock {}: the answer has no level", lock.id.name()));
            }
            Ok(now) => difference(lock, &now).map_or(Reading::InForce, Reading::Other),
            Err(error) if arm.proves_absence(&error, &lock.id).await => Reading::Absent,
            Err(error) => return Reading::Unsettled(format!("reading the lock {}: {error}", lock.id.name())),
        };
        match &first {
            Some(before) if *before != now => {
                return Reading::Unsettled(format!("Azure's readings of the lock {} to agree", lock.id.name()));
            }
            _ if hasty && now == Reading::InForce => return now,
            _ => first = Some(now),
        }
    }
    first.unwrap_or_else(|| Reading::Unsettled(format!("the lock {} was not read", lock.id.name())))
}

/// Whether a lock is in force by a stable reading; the first one that does not show it says no.
pub async fn in_force(arm: &Arm, lock: &Lock) -> bool {
    for look in 0..STABLE {
        if look > 0 {
            arm.clock().sleep(PROBE).await;
        }
        if arm.lock(&lock.id).await.is_err() {
            return false;
        }
    }
    true
}

/// Whether a stable reading shows the lock with the content that it had.
pub async fn in_force_as_before(arm: &Arm, lock: &Lock) -> bool {
    for look in 0..STABLE {
        if look > 0 {
            arm.clock().sleep(PROBE).await;
        }
        if !arm.lock(&lock.id).await.is_ok_and(|now| difference(lock, &now).is_none()) {
            return false;
        }
    }
    true
}

/// The refusal for a lock that is in force again: by a stable reading, after a stable absence that followed our request,
/// and not by our own PUT. Before that it is Azure being slow, and nobody is accused.
#[must_use]
pub fn came_back(lock: &Lock) -> Refusal {
    let why = format!("the lock {} was created again after azmend removed it", lock.id.name());
    Refusal::new("s5.came-back", why)
        .hint("an Azure Policy or a script creates it; exclude AzureBackupRG_* there, then run azmend again")
}

fn span(since: Duration) -> String {
    plural(usize::try_from(since.as_secs() / 60).unwrap_or(usize::MAX), "minute")
}

/// How two readings of a lock differ in what makes its identity: level, notes, owners.
#[must_use]
pub fn difference(planned: &Lock, now: &Lock) -> Option<String> {
    if !planned.level.eq_ignore_ascii_case(&now.level) {
        return Some(format!("its level is {} and was {}", now.level, planned.level));
    }
    if planned.notes != now.notes {
        return Some("its notes are different".to_owned());
    }
    let sorted = |lock: &Lock| {
        let mut owners = lock.owners.clone();
        owners.sort();
        owners
    };
    (sorted(planned) != sorted(now)).then(|| "its owners are different".to_owned())
}

/// Everything needed to write the lock back.
#[must_use]
pub fn before_image(lock: &Lock) -> serde_json::Value {
    json!({ "id": lock.id, "level": lock.level, "notes": lock.notes, "owners": lock.owners })
}

/// The command that removes a lock by hand.
fn delete_command(lock: &Lock) -> String {
    format!("az lock delete --ids {}", shell_quote(lock.id.as_str()))
}

/// The command that writes a lock back by hand.
#[must_use]
pub fn recreate_command(lock: &Lock) -> String {
    let scope = lock.scope();
    let mut command =
        format!("az lock create --name {} --lock-type {}", shell_quote(lock.id.name()), shell_quote(&lock.level));
    match scope.resource_type().as_str() {
        "subscription" => {}
        "resourcegroup" => {
            command.push_str(&format!(" --resource-group {}", shell_quote(scope.name())));
        }
        _ => command.push_str(&format!(" --resource {}", shell_quote(scope.as_str()))),
    }
    if !lock.notes.is_empty() {
        command.push_str(&format!(" --notes {}", shell_quote(&lock.notes)));
    }
    command.push_str(&format!(" --subscription {}", scope.subscription()));
    command
}

/// What a look at a removed lock says before it is restored.
#[derive(Debug, Clone, PartialEq)]
pub enum Restore {
    /// Write it.
    Go,
    /// It is in force with the same content, and this run sent nothing for it.
    Stands,
    /// One of its name is in force with other content: somebody else's now.
    Other(String),
    /// Its scope is gone.
    ScopeGone,
    /// It cannot be read.
    Unreadable(ArmError),
}

/// Reads the lock, and its scope when the lock is not there. `sent`: this run sent a DELETE for it. Then one reading proves
/// nothing, for it may be of a replica that has not heard of the deletion, or of the lock that was there before: it is written in
/// any case, which changes nothing where it is in force. Only a stable reading of other content makes it somebody else's.
/// `tried`: it was written already, and is not there.
pub async fn check_restore(arm: &Arm, lock: &Lock, sent: bool, tried: bool) -> Restore {
    match arm.lock(&lock.id).await {
        Ok(now) => match difference(lock, &now) {
            None if sent => Restore::Go,
            None => Restore::Stands,
            Some(difference) if !sent => Restore::Other(difference),
            Some(_) => match reading(arm, lock, false).await {
                Reading::Other(difference) => Restore::Other(difference),
                Reading::Absent | Reading::InForce | Reading::Unsettled(_) => Restore::Go,
            },
        },
        // Recorded of a group that is there; in one that is not, everything answers `ResourceGroupNotFound`. Should it say this of
        // a group that is gone after all, the PUT answers 404, and then the group is read.
        Err(error)
            if !tried
                && lock.scope().resource_type() == "resourcegroup"
                && error.code.eq_ignore_ascii_case("LockNotFound") =>
        {
            Restore::Go
        }
        Err(error) if error.class() == ErrorClass::NotFound => {
            // A scope that could not be read for another reason than its absence: writing the lock is still right.
            if scope_is_gone(arm, &lock.scope()).await { Restore::ScopeGone } else { Restore::Go }
        }
        // Azure answers, and does not show the lock: that is no reason to leave it off.
        Err(error)
            if sent && !matches!(error.class(), ErrorClass::NotSent | ErrorClass::Throttled | ErrorClass::SignIn) =>
        {
            Restore::Go
        }
        Err(error) => Restore::Unreadable(error),
    }
}

/// Whether what a lock is on is proven not to be there. Of other kinds than these the scope is not read: Azure says so
/// itself when a lock is written on what is gone.
async fn scope_is_gone(arm: &Arm, scope: &ResourceId) -> bool {
    let error = match scope.resource_type().as_str() {
        "resourcegroup" => arm.group(scope).await.err(),
        "microsoft.compute/restorepointcollections" => arm.collection(scope).await.err(),
        "microsoft.compute/restorepointcollections/restorepoints" => arm.point(scope).await.err(),
        "microsoft.compute/virtualmachines" => arm.vm(scope).await.err(),
        _ => None,
    };
    match error {
        Some(error) => arm.proves_absence(&error, scope).await,
        None => false,
    }
}

/// Whether a lock that was written reads back as it was. Only for a PUT that Azure answered: after one whose answer was
/// lost a reading may still be of the lock that was deleted.
pub async fn verify_restore(arm: &Arm, lock: &Lock) -> Verify {
    let why = match arm.lock(&lock.id).await {
        Ok(now) => match difference(lock, &now) {
            None => return Verify::Done("restored (confirmed)".to_owned()),
            Some(difference) => format!("the lock {} to read back unchanged: {difference}", lock.id.name()),
        },
        Err(error) => format!("the lock {} to read back: {error}", lock.id.name()),
    };
    Verify::Pending { why, wait: PROBE }
}
