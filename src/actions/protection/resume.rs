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

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{PROBE, Protected, SETTLE, TRIES, WRITE, carries, changed, check_stop, same_policy, stands};
use crate::actions::change::{Risk, Undo};
use crate::actions::outcome::{Failure, Refusal};
use crate::actions::permission::{self, Uses};
use crate::actions::planning::{PlanContext, PlanReads, StepDraft};
use crate::actions::rules::protection::{is_protected, is_stopped, may_resume, policy_for, stopped_item, vault_name};
use crate::actions::rules::{RuleInput, protection};
use crate::actions::{Action, Check, Context, FactsNeeded, History, Inverse, Mutation, Request, Verb, Verify};
use crate::arm::id::ResourceId;
use crate::arm::model::Policy;
use crate::arm::{Arm, ArmError, Sent, Tag};
use crate::clock::elapsed;
use crate::facts::vm_facts::{ItemFacts, Part, VmFacts};

/// Resumes the protection of a VM that was stopped with its data retained.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ProtectionResume {
    /// The name of a policy of the item's vault; empty for the item's own old policy.
    pub policy: String,
}

impl Action for ProtectionResume {
    const KEYS: &'static [&'static str] = &["policy"];
    const NEEDS: &'static [Uses] = &[
        Uses::Needs(&permission::COLLECTIONS),
        Uses::Needs(&permission::POINTS),
        Uses::Needs(&permission::BACKUP_STATUS),
        Uses::Needs(&permission::VAULTS),
        Uses::Needs(&permission::ITEMS),
        Uses::Needs(&permission::POLICIES),
        Uses::Needs(&permission::JOBS),
        Uses::Needs(&permission::ITEM),
        Uses::Better(&permission::ITEM_OPERATIONS),
        Uses::Needs(&WRITE),
    ];
    const WRITES: &'static [&'static str] = super::WRITES;

    fn plan(&self, cx: &PlanContext<'_>) -> StepDraft {
        StepDraft::of(planned(&cx.input, self, &cx.reads.policies).map(Some), "")
    }
}

/// The resumption. `policies` are those of the stopped item's vault.
fn planned(
    input: &RuleInput<'_>,
    spec: &ProtectionResume,
    policies: &Part<Vec<Policy>>,
) -> Result<(ResumeProtection, String), Refusal> {
    let facts = stopped_item(input)?;
    may_resume(input, facts)?;
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
        input.facts.id.name(),
        policy.id.name()
    );
    let what = ResumeProtection {
        item: facts.item.id.clone(),
        source: facts.item.source.clone(),
        old_policy: facts.item.policy_id.clone(),
        policy: policy.id.clone(),
    };
    Ok((what, effect))
}

/// Protects a VM again whose protection was stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResumeProtection {
    /// The protected item, stopped with its data retained.
    pub item: ResourceId,
    /// Its `sourceResourceId` as read for the plan.
    pub source: String,
    /// The id of its policy as read for the plan; empty for none.
    pub old_policy: String,
    /// The policy it gets.
    pub policy: ResourceId,
}

impl Mutation for ResumeProtection {
    const NOUN: &'static str = "protections resumed";

    fn resource(&self) -> &ResourceId {
        &self.item
    }

    fn undo(&self) -> Undo {
        let effect = "stop the protection again, keeping its data; recovery points that expired in the meantime cannot be recovered";
        Undo::Inverse { effect: effect.to_owned() }
    }

    fn risk(&self) -> Risk {
        Risk::Medium
    }

    fn facts_needed(&self) -> FactsNeeded {
        FactsNeeded { collections: true, backup: true, ..FactsNeeded::VM }
    }

    /// A later step of the same plan finds the item protected, not stopped.
    fn leave(&self, facts: &mut VmFacts, reads: &PlanReads) {
        let at = facts.at;
        let Part::Known { value, .. } = &mut facts.items else { return };
        let Some(found) = value.iter_mut().find(|facts| facts.item.id == self.item) else { return };
        "Protected".clone_into(&mut found.item.protection_state);
        self.policy.as_str().clone_into(&mut found.item.policy_id);
        if let Some(known) = reads.policies.known().into_iter().flatten().find(|known| known.id == self.policy) {
            found.policy = Part::Known { at, value: known.clone() };
        }
    }

    /// Re-reads the item and its policy, and asks every guard again.
    async fn check(&self, cx: &Context<'_>, history: &History) -> Check {
        let now = match cx.arm.protected_item(&self.item).await {
            Ok(now) => now,
            Err(error) if cx.arm.proves_absence(&error, &self.item).await => {
                let why = format!("the vault item {} is gone", self.item.name());
                return Check::Refuse(Refusal::new("s3.changed", why));
            }
            Err(error) => return Check::Unreadable(error),
        };
        if is_protected(&now) {
            if carries(&now, &self.policy) {
                return Check::Holds(stands(&now));
            }
            return Check::Refuse(changed(&now, "was resumed by someone else, with another policy"));
        }
        if !same_policy(&now.policy_id, &self.old_policy) || !now.source.eq_ignore_ascii_case(&self.source) {
            return Check::Refuse(changed(&now, "differs from the plan: its policy or its source changed"));
        }
        let Some(facts) =
            cx.facts.items.known().and_then(|items| items.iter().find(|facts| facts.item.id == self.item))
        else {
            return Check::Refuse(Refusal::new("s12.unread", "the vault item was not read again"));
        };
        let facts = ItemFacts { item: now, ..facts.clone() };
        if let Err(refusal) = may_resume(&cx.input(), &facts) {
            // A job after our own request is most likely its own ConfigureBackup: what it does is waited for.
            if refusal.rule == "protection.job-active" && !history.attempts.is_empty() {
                return Check::Wait { why: refusal.why, wait: PROBE };
            }
            return Check::Refuse(refusal);
        }
        match cx.arm.policy(&self.policy).await {
            Ok(_) => {}
            Err(error) if cx.arm.proves_absence(&error, &self.policy).await => {
                let why =
                    format!("the policy {} is no longer in vault {}", self.policy.name(), vault_name(&facts.item));
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
        Check::Go(Request { verb: Verb::Put, target: self.item.clone(), before })
    }

    async fn send(&self, cx: &Context<'_>, request: &Request, tag: &Tag) -> Result<Sent, ArmError> {
        cx.arm.resume_protection(&request.target, &self.source, &self.policy, tag).await
    }

    /// Reads the item once.
    async fn verify(&self, cx: &Context<'_>, history: &History) -> Verify {
        let item = match cx.arm.protected_item(&self.item).await {
            Ok(item) => item,
            Err(error) if cx.arm.proves_absence(&error, &self.item).await => {
                let why = format!("the vault item {} is gone", self.item.name());
                return Verify::Failed(Failure::new("", why));
            }
            Err(error) => return Verify::Pending { why: format!("reading the vault item: {error}"), wait: PROBE },
        };
        if is_protected(&item) {
            if carries(&item, &self.policy) {
                return Verify::Done(stands(&item));
            }
            return Verify::Refused(changed(&item, "was resumed by someone else, with another policy"));
        }
        if !is_stopped(&item) {
            return Verify::Refused(changed(&item, "was changed by someone else: it is neither stopped nor protected"));
        }
        let why = format!("the item still reads {}", protection::STOPPED);
        match history.attempts.last() {
            Some(last) if elapsed(last.at, cx.arm.clock().now()) < SETTLE => {
                Verify::Pending { why: "the item to read as protected".to_owned(), wait: PROBE }
            }
            _ => Verify::Again { why, wait: PROBE },
        }
    }

    async fn check_inverse(&self, arm: &Arm, _: &Value, _: bool) -> Inverse {
        let Self { item, source, old_policy, policy } = self;
        check_stop(arm, &Protected { item, source, old_policy, policy }).await
    }

    async fn send_inverse(&self, arm: &Arm, request: &Request, tag: &Tag) -> Result<Sent, ArmError> {
        arm.stop_protection(&request.target, &self.source, self.old_policy.is_empty(), tag).await
    }
}
