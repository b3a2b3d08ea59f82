//! `locks.remove`: removes locks that keep Azure Backup from cleaning up its restore points.
//!
//! Only what `rules::locks` allows is ever planned; everything else is reported with the rule. Deletion of a lock is
//! eventually consistent, so it is proven by a 404 that stays.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::change::{Risk, Undo};
use super::needs::{self, Place, Right, Uses};
use super::outcome::{Failure, Refusal};
use super::planning::{PlanContext, PlanReads, StepDraft};
use super::rules::{Ground, groups, locks as rule};
use super::{Action, Check, Context, FactsNeeded, History, Mutation, Request, Verb, Verify};
use crate::arm::id::ResourceId;
use crate::arm::model::Lock;
use crate::arm::{ArmError, ErrorClass, Sent, Tag};
use crate::clock::elapsed;
use crate::estate::facts::{Part, VmFacts};
use crate::text::{plural, safe_short, shell_quote};

/// How many 404s in a row count as stable, one every [`PROBE`]. Terraform's provider waits for twelve at ten seconds;
/// azmend needs fewer because it also treats ScopeLocked as retryable for five minutes after its own removal.
const STABLE: usize = 4;
/// Between two looks at a lock that was deleted.
const PROBE: Duration = Duration::from_secs(5);
/// After this long a lock that still answers was put back by somebody, or never went.
const PATIENCE: Duration = Duration::from_secs(150);

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
    "puts a removed lock back",
    "no lock is removed, for none could be put back (rule s6.cannot-restore)",
);

/// Removes locks that stop Azure Backup from cleaning up its restore points.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LocksRemove {
    /// Had no effect and is no key of the language any more; read where older playbooks and plans have it, and kept there
    /// because it is part of a plan's hash.
    #[schemars(skip)]
    #[serde(deserialize_with = "super::spec::given", skip_serializing_if = "Option::is_none")]
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
        Uses::Needs(&needs::DENY_ASSIGNMENTS),
        Uses::Needs(&needs::LOCKS),
        Uses::Needs(&needs::GROUPS),
        Uses::Needs(&needs::GROUP_CONTENTS),
        Uses::Needs(&needs::COLLECTIONS),
        Uses::Needs(&needs::POINTS),
        Uses::Needs(&DELETE),
        Uses::Needs(&WRITE),
    ];
    const WRITES: &'static [&'static str] = &["locks"];

    /// Every lock over this VM's backup: on its backup groups and collections, and those above them (which are reported).
    fn plan(&self, cx: &PlanContext<'_>) -> StepDraft {
        let mut out = StepDraft::default();
        let facts = cx.ground.facts;
        let Some(locks) = facts.locks.known() else {
            if let Some(why) = facts.locks.unread() {
                out.notes.push(format!("the locks were not read: {why}"));
            }
            return out;
        };
        let scopes = scopes(facts);
        let mut relevant: Vec<&Lock> = locks
            .iter()
            .filter(|lock| cx.named_locks.contains(&lock.id) || scopes.iter().any(|scope| lock.scope().covers(scope)))
            .collect();
        relevant.sort_by(|a, b| a.id.cmp(&b.id));
        for lock in relevant {
            match rule::may_remove(&cx.ground, lock, cx.named_locks) {
                Ok(()) => out.push(RemoveLock { lock: lock.clone() }, effect(&cx.ground, lock, &lock.scope())),
                Err(refusal) => {
                    let why = format!("the {} lock {} stays: {}", lock.level, lock.id.name(), refusal.why);
                    out.locks_that_stay.push(Refusal { why, ..refusal });
                }
            }
        }
        for name in cx.named_locks {
            if !locks.iter().any(|lock| lock.id == *name) {
                out.notes.push(format!("the lock {name} named with --lock was not found"));
            }
        }
        out.kept = out.locks_that_stay.iter().map(|refusal| (1, refusal.clone())).collect();
        out
    }
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

fn effect(ground: &Ground<'_>, lock: &Lock, scope: &ResourceId) -> String {
    let mut text = format!("remove the {} lock {} on {}", lock.level, lock.id.name(), scope.short_name());
    if !lock.notes.is_empty() {
        text.push_str(&format!(", notes \"{}\"", safe_short(&lock.notes, 120)));
    }
    if let Some((collections, vms)) = rule::also_protects(ground, scope) {
        text.push_str(&format!(
            "; it also protects {} of {}: Azure Backup will then clean up theirs too",
            plural(collections, "collection"),
            plural(vms, "other VM")
        ));
    }
    if groups::name_matches(ground, scope.name()) && ground.facts.locks_over(scope).any(|other| other.scope() != *scope)
    {
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
        let now = match cx.arm.lock(&planned.id).await {
            Ok(lock) => lock,
            Err(error) if error.class() == ErrorClass::NotFound => {
                return Check::Holds("the lock is gone (404)".to_owned());
            }
            Err(error) => return Check::Unreadable(error),
        };
        if let Some(difference) = difference(planned, &now) {
            let why = format!("the lock {} is not the one in the plan: {difference}", planned.id.name());
            return Check::Refuse(Refusal::new("s3.changed", why));
        }
        if let Err(refusal) = rule::may_remove(&cx.ground(), &now, cx.named_locks) {
            return Check::Refuse(refusal);
        }
        if history.attempts.len() >= 5 {
            return Check::GiveUp(Failure::new(
                "",
                format!("the lock {} still stands after 5 tries", planned.id.name()),
            ));
        }
        Check::Go(Request { verb: Verb::Delete, target: planned.id.clone(), before: before_image(&now) })
    }

    async fn send(&self, cx: &Context<'_>, request: &Request, tag: &Tag) -> Result<Sent, ArmError> {
        cx.arm.delete_lock(&request.target, tag).await
    }

    /// Waits for a 404 that stays. The lock's deletion reached every replica only some time after the 200.
    async fn verify(&self, cx: &Context<'_>, history: &History) -> Verify {
        let planned = &self.lock;
        let clock = cx.arm.clock();
        for _ in 0..STABLE {
            match cx.arm.lock(&planned.id).await {
                Err(error) if error.class() == ErrorClass::NotFound => {}
                Err(error) => {
                    return Verify::Pending { why: format!("reading the lock: {error}"), wait: PROBE };
                }
                Ok(_) => {
                    let sent = history.attempts.last().map(|attempt| attempt.at);
                    let waited = sent.map_or(PATIENCE, |at| elapsed(at, clock.now()));
                    let last = history.attempts.last();
                    if last.is_some_and(|attempt| !attempt.answered) {
                        // The reply was lost and the lock stands: the request did not arrive, or has not shown yet.
                        return Verify::Again { why: "the lock still stands".to_owned(), wait: PROBE };
                    }
                    if waited >= PATIENCE {
                        let why = format!("the lock {} stands again after it was deleted", planned.id.name());
                        return Verify::Refused(came_back(why));
                    }
                    return Verify::Pending {
                        why: "the lock's deletion to reach every replica".to_owned(),
                        wait: PROBE,
                    };
                }
            }
            clock.sleep(PROBE).await;
        }
        Verify::Done("gone (404, stable)".to_owned())
    }
}

fn came_back(why: String) -> Refusal {
    Refusal::new("s5.came-back", why)
        .hint("an Azure Policy or a script puts it back; exclude AzureBackupRG_* there, then run azmend again")
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

/// What a look at a removed lock says before it is written back.
#[derive(Debug, Clone, PartialEq)]
pub enum Restore {
    /// Write it.
    Go,
    /// It stands with the same content.
    Stands,
    /// It stands with other content: somebody else's now.
    Other(String),
    /// Its scope is gone.
    ScopeGone,
    /// It cannot be read.
    Unreadable(crate::arm::ArmError),
}

/// Reads the lock, and its scope when the lock is not there.
pub async fn check_restore(arm: &crate::arm::Arm, lock: &Lock, sent: bool) -> Restore {
    match arm.lock(&lock.id).await {
        Ok(now) => match difference(lock, &now) {
            None if sent => Restore::Go,
            None => Restore::Stands,
            Some(difference) => Restore::Other(difference),
        },
        Err(error) if error.class() == ErrorClass::NotFound => {
            let scope = lock.scope();
            let gone = match scope.resource_type().as_str() {
                "subscription" => arm.subscription(scope.subscription()).await.err(),
                "resourcegroup" => arm.group(&scope).await.err(),
                "microsoft.compute/restorepointcollections" => arm.collection(&scope).await.err(),
                "microsoft.compute/restorepointcollections/restorepoints" => arm.point(&scope).await.err(),
                "microsoft.compute/virtualmachines" => arm.vm(&scope).await.err(),
                // Of other kinds the scope is not read: Azure says so itself when it is gone.
                _ => None,
            };
            match gone {
                Some(error) if error.class() == ErrorClass::NotFound => Restore::ScopeGone,
                // The scope could not be read for another reason: writing the lock is still right.
                _ => Restore::Go,
            }
        }
        Err(error) => Restore::Unreadable(error),
    }
}

/// shim
pub async fn verify_restore(arm: &crate::arm::Arm, lock: &Lock) -> Verify {
    match arm.lock(&lock.id).await {
        Ok(now) if difference(lock, &now).is_none() => Verify::Done("it is in force again, read back".to_owned()),
        _ => Verify::Pending { why: "the lock to read back".to_owned(), wait: PROBE },
    }
}
