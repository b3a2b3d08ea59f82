//! `protection.resume`: protects a VM again whose protection was stopped with its data retained.
//!
//! One PUT of the protected item as it was read (its container and item names, its source), with its own old policy or
//! one that was named (contract `ProtectedItems_CreateOrUpdate`, recorded in azure-cli's `test_backup_protection`). The
//! proof is the item itself, read back as protected under that policy. The inverse stops the protection again with the
//! data retained, and is sent only while the item still carries what was written. Must never: touch an item that is
//! protected, soft-deleted or another VM's, or choose a policy by itself.
//!
//! What the inverse cannot bring back: once protected, recovery points live by the policy's retention again. The plan
//! says so, for points that were kept only because protection was stopped may then expire.

use std::time::Duration;

use serde_json::json;

use super::change::{Change, ChangeKind, Failure, Refusal};
use super::rules::protection::{is_protected, is_stopped, may_resume, policy_for, stopped_item, vault_name};
use super::rules::{Ground, protection};
use super::spec::ProtectionResume;
use super::{Check, Context, History, Inverse, Request, Verify};
use crate::arm::id::ResourceId;
use crate::arm::model::{Job, Policy, ProtectedItem};
use crate::arm::{Arm, ArmError, ErrorClass, JobFilter};
use crate::clock::elapsed;
use crate::estate::facts::{ItemFacts, Part};

/// Between two looks at the item.
const PROBE: Duration = Duration::from_secs(20);
/// An item that still reads as stopped this long after a request is taken for one that was not resumed. Recorded: the
/// operation and its ConfigureBackup job take less than a minute, and the item reads as protected when they end.
const SETTLE: Duration = Duration::from_secs(180);
/// Requests that Azure took without effect before azmend gives up.
const TRIES: usize = 4;

/// What a change of this kind carries.
#[derive(Debug, Clone, Copy)]
pub struct Resumed<'a> {
    /// The protected item.
    pub item: &'a ResourceId,
    /// Its `sourceResourceId` as it was read.
    pub source: &'a str,
    /// The policy it had when it was read; empty for none.
    pub old_policy: &'a str,
    /// The policy it gets.
    pub policy: &'a ResourceId,
}

/// Plans the resumption. `policies` are those of the stopped item's vault.
///
/// # Errors
/// What speaks against it.
pub fn plan(
    ground: &Ground<'_>,
    step: &str,
    spec: &ProtectionResume,
    policies: &Part<Vec<Policy>>,
) -> Result<Change, Refusal> {
    let facts = stopped_item(ground)?;
    may_resume(ground, facts)?;
    let vault = vault_name(&facts.item);
    let Some(policies) = policies.known() else {
        let why = policies.unread().unwrap_or("not read");
        return Err(Refusal::new(
            "protection.unread",
            format!("the policies of vault {vault} could not be read: {why}"),
        ));
    };
    let policy = policy_for(&facts.item, &spec.policy, policies)?;
    let effect = format!(
        "resume the protection of {} in vault {vault} with policy {}; recovery points older than that policy keeps may then expire",
        ground.facts.id.name(),
        policy.id.name()
    );
    let what = ChangeKind::ResumeProtection {
        item: facts.item.id.clone(),
        source: facts.item.source.clone(),
        old_policy: facts.item.policy_id.clone(),
        policy: policy.id.clone(),
    };
    Ok(Change::new(step, 1, what, effect))
}

/// Whether the item carries this policy.
pub(super) fn carries(item: &ProtectedItem, policy: &ResourceId) -> bool {
    ResourceId::parse(&item.policy_id).is_ok_and(|now| now == *policy)
}

fn same_policy(a: &str, b: &str) -> bool {
    a.trim_end_matches('/').eq_ignore_ascii_case(b.trim_end_matches('/'))
}

fn changed(item: &ProtectedItem, how: &str) -> Refusal {
    let why = format!("the item of {} in vault {} {how}", short(item), vault_name(item));
    Refusal::new("s3.changed", why).hint("run azmend again for a new plan")
}

fn short(item: &ProtectedItem) -> String {
    item.source.rsplit('/').next().unwrap_or_default().to_owned()
}

/// Re-reads the item and its policy, and asks every guard again.
pub async fn check(cx: &Context<'_>, change: &Resumed<'_>, history: &History) -> Check {
    let now = match cx.arm.protected_item(change.item).await {
        Ok(now) => now,
        Err(error) if error.class() == ErrorClass::NotFound => {
            let why = format!("the vault item {} is gone", change.item.name());
            return Check::Refuse(Refusal::new("s3.changed", why));
        }
        Err(error) => return Check::Unreadable(error),
    };
    if is_protected(&now) {
        if carries(&now, change.policy) {
            return Check::Holds(stands(&now));
        }
        return Check::Refuse(changed(&now, "was resumed by somebody else, with another policy"));
    }
    if !same_policy(&now.policy_id, change.old_policy) || !now.source.eq_ignore_ascii_case(change.source) {
        return Check::Refuse(changed(&now, "is not as it was in the plan: its policy or its source changed"));
    }
    let Some(facts) = cx.facts.items.known().and_then(|items| items.iter().find(|facts| facts.item.id == *change.item))
    else {
        return Check::Refuse(Refusal::new("s12.unread", "the vault item was not read again"));
    };
    let facts = ItemFacts { item: now, ..facts.clone() };
    if let Err(refusal) = may_resume(&cx.ground(), &facts) {
        // A job after our own request is most likely its own ConfigureBackup: what it does is waited for.
        if refusal.rule == "protection.job-active" && !history.attempts.is_empty() {
            return Check::Wait { why: refusal.why, wait: PROBE };
        }
        return Check::Refuse(refusal);
    }
    match cx.arm.policy(change.policy).await {
        Ok(_) => {}
        Err(error) if error.class() == ErrorClass::NotFound => {
            let why =
                format!("the policy {} is not in vault {} any more", change.policy.name(), vault_name(&facts.item));
            return Check::Refuse(
                Refusal::new("protection.unknown-policy", why).hint("run azmend again for a new plan"),
            );
        }
        Err(error) => return Check::Unreadable(error),
    }
    if history.attempts.len() >= TRIES {
        let message =
            format!("{TRIES} requests did not resume the protection: the item still reads {}", protection::STOPPED);
        return Check::GiveUp(Failure::new("", message));
    }
    let before = json!({ "state": facts.item.protection_state, "policy": facts.item.policy_id });
    Check::Go(Request { verb: super::Verb::Put, target: change.item.clone(), before })
}

pub(super) fn stands(item: &ProtectedItem) -> String {
    let policy = item.policy_id.rsplit('/').next().unwrap_or_default();
    format!("protected with policy {policy} ({}), read back", item.protection_state)
}

/// Reads the item once.
pub async fn verify(cx: &Context<'_>, change: &Resumed<'_>, history: &History) -> Verify {
    let item = match cx.arm.protected_item(change.item).await {
        Ok(item) => item,
        Err(error) if error.class() == ErrorClass::NotFound => {
            let why = format!("the vault item {} is gone", change.item.name());
            return Verify::Failed(Failure::new("", why));
        }
        Err(error) => return Verify::Pending { why: format!("reading the vault item: {error}"), wait: PROBE },
    };
    if is_protected(&item) {
        if carries(&item, change.policy) {
            return Verify::Done(stands(&item));
        }
        return Verify::Refused(changed(&item, "was resumed by somebody else, with another policy"));
    }
    if !is_stopped(&item) {
        return Verify::Refused(changed(&item, "was changed by somebody else: it is neither stopped nor protected"));
    }
    let why = format!("the item still reads {}", protection::STOPPED);
    match history.attempts.last() {
        Some(last) if elapsed(last.at, cx.arm.clock().now()) < SETTLE => {
            Verify::Pending { why: "the item to read as protected".to_owned(), wait: PROBE }
        }
        _ => Verify::Again { why, wait: PROBE },
    }
}

/// Whether the protection may be stopped again: only while the item still carries what the change wrote.
pub async fn check_inverse(arm: &Arm, change: &Resumed<'_>) -> Inverse {
    let now = match arm.protected_item(change.item).await {
        Ok(now) => now,
        Err(error) if error.class() == ErrorClass::NotFound => {
            return Inverse::NotNeeded(format!("the vault item {} is gone", change.item.name()));
        }
        Err(error) => return Inverse::Unreadable(error),
    };
    if !is_stopped(&now) {
        if !is_protected(&now) || !carries(&now, change.policy) || !now.source.eq_ignore_ascii_case(change.source) {
            let how = format!("was changed since: it is {} now, with another policy or state", now.protection_state);
            return Inverse::Refuse(changed(&now, &how));
        }
    } else if !now.policy_id.is_empty()
        && !same_policy(&now.policy_id, change.old_policy)
        && !carries(&now, change.policy)
    {
        return Inverse::Refuse(changed(&now, "was stopped by somebody else, with another policy"));
    }
    // A job may still be about to change the item (our own ConfigureBackup whose reply was lost), and a backup that
    // runs is not cut off: whether Azure would do that is not documented.
    match running_job(arm, change.item, &now).await {
        Ok(Some(job)) => {
            let why = format!("the {} job {} of the VM is running", job.operation, job.id.name());
            return Inverse::Wait { why, wait: PROBE };
        }
        Ok(None) => {}
        Err(error) => return Inverse::Unreadable(error),
    }
    if is_stopped(&now) {
        let mut detail = "protection is stopped, its data retained".to_owned();
        if now.policy_id.is_empty() && !change.old_policy.is_empty() {
            let name = change.old_policy.rsplit('/').next().unwrap_or_default();
            detail.push_str(&format!("; Azure did not keep the name of its policy: {name}"));
        }
        return Inverse::Holds(detail);
    }
    let before = json!({ "state": now.protection_state, "policy": now.policy_id });
    Inverse::Go(Request { verb: super::Verb::Put, target: change.item.clone(), before })
}

/// The job of the item that runs now.
async fn running_job(arm: &Arm, item: &ResourceId, now: &ProtectedItem) -> Result<Option<Job>, ArmError> {
    let Some(vault) = item.up_to("vaults") else { return Ok(None) };
    let filter = JobFilter { status: Some("InProgress".to_owned()), ..JobFilter::default() };
    let name = short(now);
    let mine = |job: &Job| {
        job.running()
            && job.vm_name.eq_ignore_ascii_case(&name)
            && (job.container.is_empty() || item.key().contains(&job.container.to_lowercase()))
    };
    Ok(arm.jobs(&vault, &filter).await?.items.into_iter().find(mine))
}
