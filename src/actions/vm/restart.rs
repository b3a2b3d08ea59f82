//! `vm.restart`: restarts a running VM.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{FACTS, PATIENCE, PROBE, is_gone, known_vm, since};
use crate::actions::change::{Risk, Undo};
use crate::actions::outcome::{Failure, Refusal};
use crate::actions::permission::{self, Place, Right, Uses};
use crate::actions::planning::{PlanContext, StepDraft};
use crate::actions::rules::{RuleInput, jobs, locks};
use crate::actions::{Action, Check, Context, FactsNeeded, History, Mutation, Request, Verb, Verify};
use crate::arm::id::ResourceId;
use crate::arm::{ArmError, Sent, Tag};

/// Restarts a VM.
const RESTART: Right = Right::change(
    "Microsoft.Compute/virtualMachines/restart/action",
    Place::Vm,
    "restarts a VM when a playbook's parameter asks for it",
    "no VM is restarted",
);

/// Restarts a running VM. Only behind a parameter that asks for it by name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct VmRestart {}

impl Action for VmRestart {
    const KEYS: &'static [&'static str] = &[];
    const NEEDS: &'static [Uses] = &[
        Uses::Needs(&permission::INSTANCE_VIEW),
        Uses::Needs(&permission::EXTENSIONS),
        Uses::Needs(&permission::VAULTS),
        Uses::Needs(&permission::ITEMS),
        Uses::Needs(&permission::JOBS),
        Uses::Better(&permission::COMPUTE_OPERATIONS),
        Uses::Needs(&RESTART),
    ];
    const WRITES: &'static [&'static str] = &["vm.power", "vm.provisioning_state", "agent", "vmsnapshot", "extensions"];

    fn plan(&self, cx: &PlanContext<'_>) -> StepDraft {
        StepDraft::of(planned(&cx.input).map(Some), "")
    }
}

/// The restart.
fn planned(input: &RuleInput<'_>) -> Result<(RestartVm, String), Refusal> {
    let vm = known_vm(input)?;
    running(input)?;
    jobs::none_runs(input.facts, "vm.job-active")?;
    locks::lets(input, &input.facts.id, locks::Touch::Write)?;
    let effect = format!("restart {}: what runs in it is interrupted for some minutes", vm.id.name());
    Ok((RestartVm { vm: input.facts.id.clone() }, effect))
}

fn running(input: &RuleInput<'_>) -> Result<(), Refusal> {
    let power = input.facts.instance.known().map(|instance| instance.power.as_str()).unwrap_or_default();
    if power.eq_ignore_ascii_case("running") {
        return Ok(());
    }
    let power = if power.is_empty() { "not known" } else { power };
    Err(Refusal::new("vm.not-running", format!("only a running VM is restarted (power state: {power})")))
}

/// Restarts the VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartVm {
    /// The VM.
    pub vm: ResourceId,
}

impl Mutation for RestartVm {
    const NOUN: &'static str = "VMs restarted";

    fn resource(&self) -> &ResourceId {
        &self.vm
    }

    fn undo(&self) -> Undo {
        Undo::Irreversible { reason: "a restart has happened".to_owned() }
    }

    fn risk(&self) -> Risk {
        Risk::Medium
    }

    fn facts_needed(&self) -> FactsNeeded {
        FACTS
    }

    /// Reads power and jobs again. A restart whose answer was lost is settled by reading, never sent again.
    async fn check(&self, cx: &Context<'_>, history: &History) -> Check {
        let vm = &self.vm;
        if !history.attempts.is_empty() {
            return Check::Follow(None);
        }
        let instance = match cx.arm.instance_view(vm).await {
            Ok(instance) => instance,
            Err(_) if is_gone(cx.arm, vm).await => {
                return Check::Refuse(Refusal::new("s3.vm-gone", format!("the VM {} is gone", vm.name())));
            }
            Err(error) => return Check::Unreadable(error),
        };
        if !instance.power.eq_ignore_ascii_case("running") {
            let why = format!("only a running VM is restarted (power state: {})", instance.power);
            return Check::Refuse(Refusal::new("vm.not-running", why));
        }
        if let Err(refusal) = jobs::none_runs(cx.facts, "vm.job-active") {
            return Check::Refuse(refusal);
        }
        Check::Go(Request { verb: Verb::Post, target: vm.clone(), before: json!({ "power": instance.power }) })
    }

    async fn send(&self, cx: &Context<'_>, _: &Request, tag: &Tag) -> Result<Sent, ArmError> {
        cx.arm.restart_vm(&self.vm, tag).await
    }

    /// An agent that reported after the request is the proof that the guest came up again. An instance view has no start
    /// time, so without an agent nobody can say whether the restart happened.
    async fn verify(&self, cx: &Context<'_>, history: &History) -> Verify {
        let vm = &self.vm;
        let instance = match cx.arm.instance_view(vm).await {
            Ok(instance) => instance,
            Err(error) => return Verify::Pending { why: format!("reading the instance view: {error}"), wait: PROBE },
        };
        let Some(sent) = history.attempts.last() else {
            return Verify::Unknown("no restart was sent".to_owned());
        };
        let running = instance.power.eq_ignore_ascii_case("running");
        let reported = instance.agent.as_ref().and_then(|agent| agent.status.time).is_some_and(|at| at > sent.at);
        if running && reported && sent.answered {
            return Verify::Done("running again; its guest agent has reported since".to_owned());
        }
        if since(cx, history) < PATIENCE {
            let why = if running { "the guest agent to report" } else { "the VM to run again" };
            return Verify::Pending { why: why.to_owned(), wait: PROBE };
        }
        match (running, sent.answered) {
            (true, true) => Verify::Done("running; its guest agent has not reported since the restart".to_owned()),
            (true, false) => {
                Verify::Unknown("the answer was lost: whether the VM was restarted cannot be read".to_owned())
            }
            (false, _) => {
                let message = format!("{} is {} 15 minutes after its restart", vm.name(), instance.power);
                Verify::Failed(Failure::new("", message).with_hint("look at its boot diagnostics"))
            }
        }
    }

    fn repeatable(&self) -> bool {
        false
    }
}
