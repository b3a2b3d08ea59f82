//! `protection.enable`: protects a VM that no vault knows.
//!
//! One PUT of the protected item whose names the vault's list of protectable items gave (contract
//! `ProtectedItems_CreateOrUpdate`, recorded in azure-cli's `test_backup_protection`). The proof is the item itself, read
//! back as protected under the policy. The inverse stops the protection with the data retained
//! (the same as of `protection.resume`): what was backed up meanwhile stays. Must never: touch an item that is there already, or
//! choose vault or policy by itself.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{PROBE, Protected, SETTLE, TRIES, WRITE, carries, check_stop, stands};
use crate::actions::change::{Risk, Undo};
use crate::actions::outcome::{Failure, Refusal};
use crate::actions::permission::{self, Uses};
use crate::actions::planning::{PlanContext, StepDraft};
use crate::actions::rules::RuleInput;
use crate::actions::rules::enabling::{Candidate, choose, nobody_protects};
use crate::actions::rules::protection::is_protected;
use crate::actions::{Action, Check, Context, FactsNeeded, History, Inverse, Mutation, Request, Verb, Verify};
use crate::arm::id::ResourceId;
use crate::arm::{Arm, ArmError, Sent, Tag};
use crate::clock::elapsed;

/// Protects a VM that no vault knows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ProtectionEnable {
    /// A vault of the VM's subscription by name, or any by its resource id.
    pub vault: String,
    /// The name of a policy of that vault.
    pub policy: String,
}

impl Action for ProtectionEnable {
    const KEYS: &'static [&'static str] = &["policy", "vault"];
    const NEEDS: &'static [Uses] = &[
        Uses::Needs(&permission::BACKUP_STATUS),
        Uses::Needs(&permission::VAULTS),
        Uses::Needs(&permission::ITEMS),
        Uses::Needs(&permission::POLICIES),
        Uses::Needs(&permission::PROTECTABLE_ITEMS),
        Uses::Needs(&permission::ITEM),
        Uses::Better(&permission::ITEM_OPERATIONS),
        Uses::Needs(&WRITE),
    ];
    const WRITES: &'static [&'static str] = super::WRITES;

    fn plan(&self, cx: &PlanContext<'_>) -> StepDraft {
        StepDraft::of(planned(&cx.input, self, &cx.reads.candidate).map(Some), "")
    }
}

/// The protection.
fn planned(
    input: &RuleInput<'_>,
    spec: &ProtectionEnable,
    candidate: &Candidate,
) -> Result<(EnableProtection, String), Refusal> {
    let chosen = choose(input, &spec.vault, &spec.policy, candidate)?;
    let effect = format!(
        "protect {} in vault {} with policy {}; backups cost money and run by that policy from then on",
        input.facts.id.name(),
        chosen.vault,
        chosen.policy.name()
    );
    Ok((EnableProtection { item: chosen.item, source: chosen.source, policy: chosen.policy }, effect))
}

fn others(item: &ResourceId) -> Refusal {
    let vault = item.up_to("vaults").map(|vault| vault.name().to_owned()).unwrap_or_default();
    let why = format!("vault {vault} has an item of the VM already, with another state or policy");
    Refusal::new("s3.changed", why).hint("run azmend again for a new plan")
}

/// Protects a VM that no vault knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnableProtection {
    /// The protected item that is made, with the names that the vault gave.
    pub item: ResourceId,
    /// The VM's id as the vault spells it.
    pub source: String,
    /// The policy it gets.
    pub policy: ResourceId,
}

impl Mutation for EnableProtection {
    const NOUN: &'static str = "VMs protected";

    fn resource(&self) -> &ResourceId {
        &self.item
    }

    fn undo(&self) -> Undo {
        let effect = "stop the protection, keeping what was backed up in the meantime; the vault still lists the VM";
        Undo::Inverse { effect: effect.to_owned() }
    }

    fn risk(&self) -> Risk {
        Risk::Medium
    }

    fn facts_needed(&self) -> FactsNeeded {
        FactsNeeded { backup: true, ..FactsNeeded::VM }
    }

    /// Reads the item and its policy again: the item must not be there yet.
    async fn check(&self, cx: &Context<'_>, history: &History) -> Check {
        let Self { item, policy, .. } = self;
        match cx.arm.protected_item(item).await {
            Ok(now) if is_protected(&now) && carries(&now, policy) => return Check::Holds(stands(&now)),
            Ok(_) => return Check::Refuse(others(item)),
            Err(error) if cx.arm.proves_absence(&error, item).await => {}
            Err(error) => return Check::Unreadable(error),
        }
        // After our own request backupStatus may already name the vault.
        if history.attempts.is_empty()
            && let Err(refusal) = nobody_protects(&cx.input())
        {
            return Check::Refuse(refusal);
        }
        match cx.arm.policy(policy).await {
            Ok(_) => {}
            Err(error) if cx.arm.proves_absence(&error, policy).await => {
                let why = format!("the policy {} is no longer in the vault", policy.name());
                return Check::Refuse(
                    Refusal::new("protection.unknown-policy", why).hint("run azmend again for a new plan"),
                );
            }
            Err(error) => return Check::Unreadable(error),
        }
        if history.attempts.len() >= TRIES {
            return Check::GiveUp(Failure::new("", format!("{TRIES} requests made no protected item")));
        }
        Check::Go(Request { verb: Verb::Put, target: item.clone(), before: json!({ "state": "absent" }) })
    }

    async fn send(&self, cx: &Context<'_>, request: &Request, tag: &Tag) -> Result<Sent, ArmError> {
        cx.arm.resume_protection(&request.target, &self.source, &self.policy, tag).await
    }

    /// Reads the item once.
    async fn verify(&self, cx: &Context<'_>, history: &History) -> Verify {
        let Self { item, policy, .. } = self;
        let why = match cx.arm.protected_item(item).await {
            Ok(now) if is_protected(&now) && carries(&now, policy) => return Verify::Done(stands(&now)),
            Ok(_) => return Verify::Refused(others(item)),
            Err(error) if cx.arm.proves_absence(&error, item).await => "the vault has no item of the VM yet".to_owned(),
            Err(error) => return Verify::Pending { why: format!("reading the vault item: {error}"), wait: PROBE },
        };
        match history.attempts.last() {
            Some(last) if elapsed(last.at, cx.arm.clock().now()) < SETTLE => Verify::Pending { why, wait: PROBE },
            _ => Verify::Again { why, wait: PROBE },
        }
    }

    async fn check_inverse(&self, arm: &Arm, _: &Value, _: bool) -> Inverse {
        let Self { item, source, policy } = self;
        check_stop(arm, &Protected { item, source, old_policy: "", policy }).await
    }

    /// The item keeps the policy's name, so that it can be resumed with it.
    async fn send_inverse(&self, arm: &Arm, request: &Request, tag: &Tag) -> Result<Sent, ArmError> {
        arm.stop_protection(&request.target, &self.source, false, tag).await
    }
}
