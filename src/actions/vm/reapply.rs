//! `vm.reapply`: has the platform apply the VM's own model again.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{FACTS, PATIENCE, PROBE, known_vm, since};
use crate::actions::change::{Risk, Undo};
use crate::actions::outcome::{Failure, Refusal};
use crate::actions::permission::{self, Place, Right, Uses};
use crate::actions::planning::{PlanContext, StepDraft};
use crate::actions::rules::{RuleInput, jobs, locks};
use crate::actions::{Action, Check, Context, FactsNeeded, History, Mutation, Request, Verb, Verify};
use crate::arm::id::ResourceId;
use crate::arm::{ArmError, Sent, Tag};

/// Reapplying the model more often than this does not help.
const TRIES: usize = 2;

/// Applies the model again.
const REAPPLY: Right = Right::change(
    "Microsoft.Compute/virtualMachines/reapply/action",
    Place::Vm,
    "reapplies the model of a failed VM",
    "the model is not reapplied",
);

/// Applies the VM's model again when its provisioning state is Failed. The VM is not restarted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct VmReapply {}

impl Action for VmReapply {
    const KEYS: &'static [&'static str] = &[];
    const NEEDS: &'static [Uses] = &[
        Uses::Needs(&permission::INSTANCE_VIEW),
        Uses::Needs(&permission::EXTENSIONS),
        Uses::Needs(&permission::VAULTS),
        Uses::Needs(&permission::ITEMS),
        Uses::Needs(&permission::JOBS),
        Uses::Better(&permission::COMPUTE_OPERATIONS),
        Uses::Needs(&REAPPLY),
    ];
    const WRITES: &'static [&'static str] = &["vm.provisioning_state", "agent", "vmsnapshot", "extensions"];

    fn plan(&self, cx: &PlanContext<'_>) -> StepDraft {
        StepDraft::of(planned(&cx.input), "the provisioning state is not Failed: nothing to apply")
    }
}

/// Applying the VM's model again; `Ok(None)` when its provisioning state is not Failed.
fn planned(input: &RuleInput<'_>) -> Result<Option<(ReapplyVm, String)>, Refusal> {
    let vm = known_vm(input)?;
    if !vm.provisioning_state.eq_ignore_ascii_case("Failed") {
        return Ok(None);
    }
    jobs::none_runs(input.facts, "vm.job-active")?;
    locks::lets(input, &input.facts.id, locks::Touch::Write)?;
    let effect = format!(
        "reapply the model of {}, which clears a failed provisioning state when the model is fine; \
         nothing in the model changes and the VM is not restarted",
        vm.id.name()
    );
    Ok(Some((ReapplyVm { vm: input.facts.id.clone(), state: vm.provisioning_state.clone() }, effect)))
}

/// Applies the VM's model again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReapplyVm {
    /// The VM.
    pub vm: ResourceId,
    /// Its provisioning state as read for the plan.
    pub state: String,
}

impl Mutation for ReapplyVm {
    const NOUN: &'static str = "VMs reapplied";

    fn resource(&self) -> &ResourceId {
        &self.vm
    }

    fn undo(&self) -> Undo {
        Undo::NotNeeded { reason: "nothing in the VM's model changes".to_owned() }
    }

    fn risk(&self) -> Risk {
        Risk::Low
    }

    fn facts_needed(&self) -> FactsNeeded {
        FACTS
    }

    /// Reads the VM again: is it still failed, and does nothing of its backup run?
    async fn check(&self, cx: &Context<'_>, history: &History) -> Check {
        let vm = &self.vm;
        let now = match cx.arm.vm(vm).await {
            Ok(now) => now,
            Err(error) => return Check::Unreadable(error),
        };
        match now.provisioning_state.to_ascii_lowercase().as_str() {
            "failed" => {}
            "succeeded" => return Check::Holds("the provisioning state is Succeeded".to_owned()),
            other => return Check::Wait { why: format!("the VM to settle (it is {other})"), wait: PROBE },
        }
        if let Err(refusal) = jobs::none_runs(cx.facts, "vm.job-active") {
            return Check::Refuse(refusal);
        }
        if history.attempts.len() >= TRIES {
            return Check::GiveUp(still_failed(vm));
        }
        let before = json!({ "provisioningState": now.provisioning_state, "vmId": now.vm_id });
        Check::Go(Request { verb: Verb::Post, target: vm.clone(), before })
    }

    async fn send(&self, cx: &Context<'_>, _: &Request, tag: &Tag) -> Result<Sent, ArmError> {
        cx.arm.reapply_vm(&self.vm, tag).await
    }

    /// The provisioning state says whether it helped.
    async fn verify(&self, cx: &Context<'_>, history: &History) -> Verify {
        let vm = &self.vm;
        let now = match cx.arm.vm(vm).await {
            Ok(now) => now,
            Err(error) => return Verify::Pending { why: format!("reading the VM: {error}"), wait: PROBE },
        };
        match now.provisioning_state.to_ascii_lowercase().as_str() {
            "succeeded" => Verify::Done("the provisioning state is Succeeded".to_owned()),
            "failed" if history.attempts.len() >= TRIES => Verify::Failed(still_failed(vm)),
            "failed" => Verify::Again { why: "the provisioning state is still Failed".to_owned(), wait: PROBE },
            other if since(cx, history) < PATIENCE => {
                Verify::Pending { why: format!("the VM to settle (it is {other})"), wait: PROBE }
            }
            other => Verify::Unknown(format!("the VM is still {other} after 15 minutes")),
        }
    }
}

fn still_failed(vm: &ResourceId) -> Failure {
    let message = format!("the provisioning state of {} is still Failed after its model was reapplied", vm.name());
    Failure::new("UserErrorVmProvisioningStateFailed", message)
        .with_hint("look at the failed extensions, or restart it: azmend fix failed-vm --set restart=true")
}
