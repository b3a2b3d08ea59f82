//! `vm.reapply` and `vm.restart`: bring a VM out of a failed provisioning state.
//!
//! `reapply` has the platform apply the VM's own model again; nothing of it changes, so it may be repeated. A restart
//! stops what runs in the guest: it is never in a plan unless a playbook's parameter asks for it by name, and it is never
//! sent a second time when its answer was lost. Neither is done while a job of the VM runs: Azure fails a snapshot whose
//! VM changes meanwhile (`OperationNotAllowed`, restore point documentation). Both are POSTs of `Microsoft.Compute`
//! (OpenAPI `VirtualMachines_Reapply`, `VirtualMachines_Restart`, 202).

use std::time::Duration;

use serde_json::json;

use super::change::{Change, ChangeKind, Failure, Refusal};
use super::rules::{Ground, jobs};
use super::{Check, Context, History, Request, Verify};
use crate::arm::ErrorClass;
use crate::arm::id::ResourceId;
use crate::clock::elapsed;

/// Between two looks.
const PROBE: Duration = Duration::from_secs(15);
/// How long the platform may take to settle the state, or the guest agent to report, after the operation has ended.
const PATIENCE: Duration = Duration::from_secs(15 * 60);
/// Reapplying the model more often than this does not help.
const TRIES: usize = 2;

/// Plans applying the VM's model again.
///
/// # Errors
/// What speaks against it; `Ok(None)`: its provisioning state is not Failed.
pub fn plan_reapply(ground: &Ground<'_>, step: &str) -> Result<Option<Change>, Refusal> {
    let vm = known_vm(ground)?;
    if !vm.provisioning_state.eq_ignore_ascii_case("Failed") {
        return Ok(None);
    }
    jobs::none_runs(ground.facts, "vm.job-active")?;
    let effect = format!(
        "apply the model of {} again (reapply), which clears a failed provisioning state when the model is fine; \
         nothing of the model changes and the VM is not restarted",
        vm.id.name()
    );
    let what = ChangeKind::ReapplyVm { vm: ground.facts.id.clone(), state: vm.provisioning_state.clone() };
    Ok(Some(Change::new(step, 1, what, effect)))
}

/// Plans a restart.
///
/// # Errors
/// What speaks against it.
pub fn plan_restart(ground: &Ground<'_>, step: &str) -> Result<Change, Refusal> {
    let vm = known_vm(ground)?;
    running(ground)?;
    jobs::none_runs(ground.facts, "vm.job-active")?;
    let effect = format!("restart {}: what runs in it is interrupted for some minutes", vm.id.name());
    Ok(Change::new(step, 1, ChangeKind::RestartVm { vm: ground.facts.id.clone() }, effect))
}

fn known_vm<'a>(ground: &Ground<'a>) -> Result<&'a crate::arm::model::Vm, Refusal> {
    ground.facts.vm.known().ok_or_else(|| {
        let why = ground.facts.vm.unread().unwrap_or("it does not exist");
        Refusal::new("s12.unread", format!("the VM {} was not read: {why}", ground.facts.id.name()))
    })
}

fn running(ground: &Ground<'_>) -> Result<(), Refusal> {
    let power = ground.facts.instance.known().map(|instance| instance.power.as_str()).unwrap_or_default();
    if power.eq_ignore_ascii_case("running") {
        return Ok(());
    }
    let power = if power.is_empty() { "not known" } else { power };
    Err(Refusal::new("vm.not-running", format!("only a running VM is restarted (power state: {power})")))
}

/// Reads the VM again: is it still failed, and does nothing of its backup run?
pub async fn check_reapply(cx: &Context<'_>, vm: &ResourceId, history: &History) -> Check {
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
    Check::Go(Request { verb: super::Verb::Post, target: vm.clone(), before })
}

fn still_failed(vm: &ResourceId) -> Failure {
    let message = format!("the provisioning state of {} is still Failed after its model was applied again", vm.name());
    Failure::new("UserErrorVmProvisioningStateFailed", message)
        .with_hint("look at the failed extensions, or restart it: azmend fix failed-vm --set restart=true")
}

/// The provisioning state says whether it helped.
pub async fn verify_reapply(cx: &Context<'_>, vm: &ResourceId, history: &History) -> Verify {
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

/// Reads power and jobs again. A restart whose answer was lost is settled by reading, never sent again.
pub async fn check_restart(cx: &Context<'_>, vm: &ResourceId, history: &History) -> Check {
    if !history.attempts.is_empty() {
        return Check::Follow(None);
    }
    let instance = match cx.arm.instance_view(vm).await {
        Ok(instance) => instance,
        Err(error) if error.class() == ErrorClass::NotFound => {
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
    Check::Go(Request { verb: super::Verb::Post, target: vm.clone(), before: json!({ "power": instance.power }) })
}

/// An agent that reported after the request is the proof that the guest came up again. An instance view has no start
/// time, so without an agent nobody can say whether the restart happened.
pub async fn verify_restart(cx: &Context<'_>, vm: &ResourceId, history: &History) -> Verify {
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
        (true, false) => Verify::Unknown("the answer was lost: whether the VM was restarted cannot be read".to_owned()),
        (false, _) => {
            let message = format!("{} is {} 15 minutes after its restart", vm.name(), instance.power);
            Verify::Failed(Failure::new("", message).with_hint("look at its boot diagnostics"))
        }
    }
}

fn since(cx: &Context<'_>, history: &History) -> Duration {
    history.attempts.last().map_or(PATIENCE, |attempt| elapsed(attempt.at, cx.arm.clock().now()))
}
