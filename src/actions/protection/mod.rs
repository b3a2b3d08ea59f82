//! `protection.resume` and `protection.enable`: protects a VM, again or for the first time.
//!
//! Both are one PUT of the protected item (contract `ProtectedItems_CreateOrUpdate`), proven by the item itself, read back
//! as protected under the policy; both are undone by stopping the protection with the data retained, which is sent only
//! while the item still carries what was written. Must never: touch an item that is protected, soft-deleted or another
//! VM's, or choose a vault or policy by itself.

mod enable;
mod resume;

use std::time::Duration;

use serde_json::json;

use super::outcome::Refusal;
use super::permission::{Place, Right};
use super::rules::protection::{is_protected, is_stopped, vault_name};
use super::{Inverse, Request, Verb};
use crate::arm::id::ResourceId;
use crate::arm::model::{Job, ProtectedItem};
use crate::arm::{Arm, ArmError, JobFilter};

pub use enable::{EnableProtection, ProtectionEnable};
pub use resume::{ProtectionResume, ResumeProtection};

/// Between two looks at the item.
const PROBE: Duration = Duration::from_secs(20);
/// An item that does not read as protected this long after a request is taken for one that was not protected. Recorded: the
/// operation and its ConfigureBackup job take less than a minute, and the item reads as protected when they end.
const SETTLE: Duration = Duration::from_secs(180);
/// Requests that Azure took without effect before azmend gives up.
const TRIES: usize = 4;

/// What protecting a VM changes in the condition view.
const WRITES: &[&str] = &[
    "backup.protected",
    "backup.state",
    "backup.item_count",
    "backup.health",
    "policy",
    "vault",
    "points.limit",
    "points.expired",
    "points.superseded",
];

/// Protects an item, and stops its protection.
const WRITE: Right = Right::change(
    "Microsoft.RecoveryServices/Vaults/backupFabrics/protectionContainers/protectedItems/write",
    Place::Vault,
    "protects a stopped item again or a VM for the first time, and stops it on undo",
    "no protection is resumed and no VM protected",
);

/// What a request wrote, for taking it back.
#[derive(Debug, Clone, Copy)]
struct Protected<'a> {
    /// The protected item.
    item: &'a ResourceId,
    /// Its `sourceResourceId` as it was read.
    source: &'a str,
    /// The policy it had when it was read; empty for none.
    old_policy: &'a str,
    /// The policy it got.
    policy: &'a ResourceId,
}

/// Whether the item carries this policy.
fn carries(item: &ProtectedItem, policy: &ResourceId) -> bool {
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

fn stands(item: &ProtectedItem) -> String {
    let policy = item.policy_id.rsplit('/').next().unwrap_or_default();
    format!("protected with policy {policy} ({}), read back", item.protection_state)
}

/// Whether the protection may be stopped again: only while the item still carries what the change wrote.
async fn check_stop(arm: &Arm, change: &Protected<'_>) -> Inverse {
    let now = match arm.protected_item(change.item).await {
        Ok(now) => now,
        Err(error) if arm.proves_absence(&error, change.item).await => {
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
        return Inverse::Refuse(changed(&now, "was stopped by someone else, with another policy"));
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
    Inverse::Go(Request { verb: Verb::Put, target: change.item.clone(), before })
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
