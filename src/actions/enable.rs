//! `protection.enable`: protects a VM that no vault knows.
//!
//! One PUT of the protected item whose names the vault's list of protectable items gave (contract
//! `ProtectedItems_CreateOrUpdate`, recorded in azure-cli's `test_backup_protection`). The proof is the item itself, read
//! back as protected under the policy. The inverse stops the protection with the data retained
//! ([`super::protection`]'s own): what was backed up meanwhile stays. Must never: touch an item that is there already, or
//! choose vault or policy by itself.

use std::time::Duration;

use serde_json::json;

use super::change::{Change, ChangeKind, Failure, Refusal};
use super::protection::{carries, stands};
use super::rules::Ground;
use super::rules::enabling::{Candidate, choose, nobody_protects};
use super::rules::protection::is_protected;
use super::spec::ProtectionEnable;
use super::{Check, Context, History, Request, Verify};
use crate::arm::ErrorClass;
use crate::arm::id::ResourceId;
use crate::clock::elapsed;

/// Between two looks at the item.
const PROBE: Duration = Duration::from_secs(20);
/// An item that is still not there this long after a request is taken for one that was not made. Recorded: the operation
/// and its ConfigureBackup job take less than a minute.
const SETTLE: Duration = Duration::from_secs(180);
/// Requests that Azure took without effect before azmend gives up.
const TRIES: usize = 4;

/// Plans it.
///
/// # Errors
/// What speaks against it.
pub fn plan(
    ground: &Ground<'_>,
    step: &str,
    spec: &ProtectionEnable,
    candidate: &Candidate,
) -> Result<Change, Refusal> {
    let chosen = choose(ground, &spec.vault, &spec.policy, candidate)?;
    let effect = format!(
        "protect {} in vault {} with policy {}; backups cost money and run by that policy from then on",
        ground.facts.id.name(),
        chosen.vault,
        chosen.policy.name()
    );
    let what = ChangeKind::EnableProtection { item: chosen.item, source: chosen.source, policy: chosen.policy };
    Ok(Change::new(step, 1, what, effect))
}

fn others(item: &ResourceId) -> Refusal {
    let vault = item.up_to("vaults").map(|vault| vault.name().to_owned()).unwrap_or_default();
    let why = format!("vault {vault} has an item of the VM already, with another state or policy");
    Refusal::new("s3.changed", why).hint("run azmend again for a new plan")
}

/// Reads the item and its policy again: the item must not be there yet.
pub async fn check(cx: &Context<'_>, item: &ResourceId, policy: &ResourceId, history: &History) -> Check {
    match cx.arm.protected_item(item).await {
        Ok(now) if is_protected(&now) && carries(&now, policy) => return Check::Holds(stands(&now)),
        Ok(_) => return Check::Refuse(others(item)),
        Err(error) if error.class() == ErrorClass::NotFound => {}
        Err(error) => return Check::Unreadable(error),
    }
    // After our own request backupStatus may already name the vault.
    if history.attempts.is_empty()
        && let Err(refusal) = nobody_protects(&cx.ground())
    {
        return Check::Refuse(refusal);
    }
    match cx.arm.policy(policy).await {
        Ok(_) => {}
        Err(error) if error.class() == ErrorClass::NotFound => {
            let why = format!("the policy {} is not in the vault any more", policy.name());
            return Check::Refuse(
                Refusal::new("protection.unknown-policy", why).hint("run azmend again for a new plan"),
            );
        }
        Err(error) => return Check::Unreadable(error),
    }
    if history.attempts.len() >= TRIES {
        return Check::GiveUp(Failure::new("", format!("{TRIES} requests made no protected item")));
    }
    Check::Go(Request { verb: super::Verb::Put, target: item.clone(), before: json!({ "state": "absent" }) })
}

/// Reads the item once.
pub async fn verify(cx: &Context<'_>, item: &ResourceId, policy: &ResourceId, history: &History) -> Verify {
    let why = match cx.arm.protected_item(item).await {
        Ok(now) if is_protected(&now) && carries(&now, policy) => return Verify::Done(stands(&now)),
        Ok(_) => return Verify::Refused(others(item)),
        Err(error) if error.class() == ErrorClass::NotFound => "the vault has no item of the VM yet".to_owned(),
        Err(error) => return Verify::Pending { why: format!("reading the vault item: {error}"), wait: PROBE },
    };
    match history.attempts.last() {
        Some(last) if elapsed(last.at, cx.arm.clock().now()) < SETTLE => Verify::Pending { why, wait: PROBE },
        _ => Verify::Again { why, wait: PROBE },
    }
}
