//! `vm.reapply` and `vm.restart`: bring a VM out of a failed provisioning state.
//!
//! `reapply` has the platform apply the VM's own model again; nothing of it changes, so it may be repeated. A restart
//! stops what runs in the guest: it is never in a plan unless a playbook's parameter asks for it by name, and it is never
//! sent a second time when its answer was lost. Neither is done while a job of the VM runs: Azure fails a snapshot whose
//! VM changes meanwhile (`OperationNotAllowed`, restore point documentation). Both are POSTs of `Microsoft.Compute`
//! (OpenAPI `VirtualMachines_Reapply`, `VirtualMachines_Restart`, 202).

mod reapply;
mod restart;

use std::time::Duration;

use super::outcome::Refusal;
use super::rules::RuleInput;
use super::{Context, FactsNeeded, History};
use crate::arm::Arm;
use crate::arm::id::ResourceId;
use crate::arm::model::Vm;
use crate::clock::elapsed;

pub use reapply::{ReapplyVm, VmReapply};
pub use restart::{RestartVm, VmRestart};

/// Between two looks.
const PROBE: Duration = Duration::from_secs(15);
/// How long the platform may take to settle the state, or the guest agent to report, after the operation has ended.
const PATIENCE: Duration = Duration::from_secs(15 * 60);
/// What the guards look at.
const FACTS: FactsNeeded = FactsNeeded { backup: true, ..FactsNeeded::VM };

/// Whether the VM is proven not to be there: a 404 of its instance view says nothing about it.
pub(super) async fn is_gone(arm: &Arm, vm: &ResourceId) -> bool {
    match arm.vm(vm).await {
        Ok(_) => false,
        Err(error) => arm.proves_absence(&error, vm).await,
    }
}

fn known_vm<'a>(input: &RuleInput<'a>) -> Result<&'a Vm, Refusal> {
    input.facts.vm.known().ok_or_else(|| {
        let why = input.facts.vm.unread().unwrap_or("it does not exist");
        Refusal::new("s12.unread", format!("the VM {} was not read: {why}", input.facts.id.name()))
    })
}

fn since(cx: &Context<'_>, history: &History) -> Duration {
    history.attempts.last().map_or(PATIENCE, |attempt| elapsed(attempt.at, cx.arm.clock().now()))
}
