//! `guest.service` and `guest.agent_conf`: the few repairs inside a VM that are safe and can be taken back.
//!
//! Duty: one setting of one service or of the agent's configuration, by one script through Run Command. The before-image
//! is read by the probe for the plan, again just before the change, and again for its proof; the inverse is the same
//! script with the values that were there. Invariants: nothing without `--allow-guest` (it is part of the plan) and a
//! Ready agent; closed lists of services and keys; a setting that is neither as it was nor as azmend set it is somebody
//! else's and stays (S3). Must never: stop or restart the agent, restart a service that runs, or disable anything that
//! was not disabled before.
//!
//! While Azure runs a script in a VM it refuses another (409), the probe included: what the probe reads is read after
//! the change's own script has ended, also when its answer was lost.
//!
//! With `Extensions.Enabled=n` the agent runs no extension, Run Command included; whether a running agent notices the
//! file before it is started again is not verified. So that repair is possible only where the probe still answers.

mod plan;
#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::change::{Risk, Undo};
use super::outcome::{Failure, Refusal};
use super::permission::{Place, Right};
use super::{Check, Context, History, Inverse, Mutation, Request, Verb, Verify};
use crate::arm::id::ResourceId;
use crate::arm::model::RunCommand;
use crate::arm::{Arm, ArmError, Sent, Tag};
use crate::facts::guest::{GuestFacts, GuestOs, GuestUnread, Service, read, ready, usable};
use crate::facts::vm_facts::Part;

pub use plan::{ConfKey, GuestAgentConf, GuestService, ServiceName, StartType};

/// Runs any script as System or root: nobody gets it without asking for a playbook that needs it.
pub const RUN_COMMAND: &str = "Microsoft.Compute/virtualMachines/runCommand/action";
/// Runs a script.
const RUN: Right = Right::change(
    RUN_COMMAND,
    Place::Vm,
    "runs a script inside the VM, only with --allow-guest",
    "nothing inside a VM is read or set",
);

const SERVICE: &str = include_str!("scripts/service.ps1");
const AGENT_CONF: &str = include_str!("scripts/agent_conf.sh");
/// Between two looks: a script takes at least 20 seconds.
const PROBE: Duration = Duration::from_secs(20);
/// Scripts that ran without the effect before azmend gives up.
const TRIES: usize = 3;
/// Leaves a part of a service as it is.
const KEEP: &str = "keep";

/// One setting inside a VM, with the before-image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "snake_case")]
pub enum Setting {
    /// A Windows service.
    Service {
        /// Its name.
        name: String,
        /// As it was read for the plan.
        before: Service,
        /// The start type it gets, in the probe's word; none: it stays.
        start: Option<String>,
        /// It is started.
        run: bool,
    },
    /// A setting of the Linux agent.
    AgentConf {
        /// The key.
        key: String,
        /// Its value as it was read for the plan.
        before: String,
        /// The value it gets.
        after: String,
    },
}

/// How a setting stands.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stand {
    /// As azmend sets it.
    After,
    /// As it was before.
    Before,
    /// The start type is set and the service does not run.
    Between,
    /// Neither.
    Other(String),
}

impl Setting {
    fn stand(&self, facts: &GuestFacts) -> Result<Stand, String> {
        match self {
            Self::Service { name, before, start, run } => {
                let now = match facts.service(name) {
                    Some(Part::Known { value, .. }) => value,
                    Some(Part::Unread { why }) => return Err(format!("the service {name} is unread: {why}")),
                    Some(Part::Absent { .. }) | None => return Ok(Stand::Other("it is not installed".to_owned())),
                };
                let set = start.as_ref().is_none_or(|start| now.start == *start);
                let runs = !run || matches!(now.state.as_str(), "Running" | "StartPending");
                let as_before = now.start == before.start && (!run || now.state == before.state);
                Ok(match (set && runs, as_before) {
                    (true, _) => Stand::After,
                    (false, true) => Stand::Before,
                    (false, false) if set => Stand::Between,
                    (false, false) => Stand::Other(format!("it is {}, start type {}", now.state, now.start)),
                })
            }
            Self::AgentConf { key, before, after } => {
                let conf = match &facts.agent_conf {
                    Part::Known { value, .. } => value,
                    Part::Unread { why } => return Err(format!("waagent.conf is unread: {why}")),
                    Part::Absent { .. } => return Err("waagent.conf does not exist".to_owned()),
                };
                let now = if key == ConfKey::ExtensionsEnabled.name() { &conf.enabled } else { &conf.provisioning };
                Ok(if now.eq_ignore_ascii_case(after) {
                    Stand::After
                } else if now == before {
                    Stand::Before
                } else {
                    Stand::Other(format!("it is {now}"))
                })
            }
        }
    }

    const fn os(&self) -> GuestOs {
        match self {
            Self::Service { .. } => GuestOs::Windows,
            Self::AgentConf { .. } => GuestOs::Linux,
        }
    }

    /// What it is, for sentences.
    fn name(&self) -> String {
        match self {
            Self::Service { name, .. } => format!("the service {name}"),
            Self::AgentConf { key, .. } => format!("{key} in waagent.conf"),
        }
    }

    /// How it stands after the change, for sentences.
    fn wanted(&self) -> String {
        match self {
            Self::Service { start, run, .. } => {
                let start = start.as_ref().map(|start| format!("start type {start}"));
                let parts: Vec<String> = start.into_iter().chain(run.then(|| "running".to_owned())).collect();
                parts.join(", ")
            }
            Self::AgentConf { after, .. } => after.clone(),
        }
    }

    /// What the inverse does, for the plan.
    fn inverse(&self) -> String {
        match self {
            Self::Service { name, before, start, run } => {
                let start = start.as_ref().map(|_| format!("set the start type of {name} back to {}", before.start));
                let stop = (*run && before.state == "Stopped").then(|| format!("stop {name} again"));
                start.into_iter().chain(stop).collect::<Vec<_>>().join(", and ")
            }
            Self::AgentConf { key, before, .. } => format!("set {key} back to {before}"),
        }
    }

    fn before(&self) -> serde_json::Value {
        match self {
            Self::Service { before, .. } => json!(before),
            Self::AgentConf { key, before, .. } => json!({ key.as_str(): before }),
        }
    }

    /// Sends the script, forward or back.
    async fn send(&self, arm: &Arm, vm: &ResourceId, back: bool, tag: &Tag) -> Result<Sent, ArmError> {
        let shell = self.os().shell();
        match self {
            Self::Service { name, before, start, run } => {
                let to = if back { start.as_ref().map(|_| &before.start) } else { start.as_ref() };
                let state = match (run, back) {
                    (true, false) => "Running",
                    (true, true) if before.state == "Stopped" => "Stopped",
                    _ => KEEP,
                };
                let parameters =
                    [("name", name.as_str()), ("start", to.map_or(KEEP, String::as_str)), ("state", state)];
                arm.run_command(vm, &RunCommand { shell, script: SERVICE, parameters: &parameters }, tag).await
            }
            Self::AgentConf { key, before, after } => {
                let (from, to) = if back { (after, before) } else { (before, after) };
                let parameters = [("arg1", key.as_str()), ("arg2", from.as_str()), ("arg3", to.as_str())];
                arm.run_command(vm, &RunCommand { shell, script: AGENT_CONF, parameters: &parameters }, tag).await
            }
        }
    }
}

fn unread(why: &str) -> Refusal {
    Refusal::new("guest.unread", format!("the inside of the VM could not be read: {why}"))
}

fn changed(setting: &Setting, how: &str) -> Refusal {
    let why = format!("{} was changed by someone else: {how}", setting.name());
    Refusal::new("s3.changed", why).hint("run azmend again for a new plan")
}

/// Sets something inside a VM, by a script.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetGuest {
    /// The VM.
    pub vm: ResourceId,
    /// Its `vmId`.
    pub vm_id: String,
    /// What, with the before-image.
    pub setting: Setting,
}

impl Mutation for SetGuest {
    const NOUN: &'static str = "settings inside VMs changed";

    fn resource(&self) -> &ResourceId {
        &self.vm
    }

    fn undo(&self) -> Undo {
        Undo::Inverse { effect: self.setting.inverse() }
    }

    fn risk(&self) -> Risk {
        Risk::Medium
    }

    /// Reads the guest again.
    async fn check(&self, cx: &Context<'_>, history: &History) -> Check {
        let Self { vm, setting, .. } = self;
        if let Err(why) = ready(cx.facts) {
            return Check::Refuse(Refusal::new("guest.not-ready", why));
        }
        let facts = match Box::pin(read(cx.arm, vm, setting.os())).await {
            Ok(facts) => facts,
            Err(GuestUnread::Busy(why)) => return Check::Wait { why, wait: PROBE },
            Err(GuestUnread::Arm(error)) => return Check::Unreadable(error),
            Err(GuestUnread::Other(why)) => return Check::Refuse(unread(&why)),
        };
        match setting.stand(&facts) {
            Err(why) => Check::Refuse(unread(&why)),
            Ok(Stand::After) => Check::Holds(format!("{}: {}, read back", setting.name(), setting.wanted())),
            Ok(Stand::Other(how)) => Check::Refuse(changed(setting, &how)),
            Ok(Stand::Between) if history.attempts.is_empty() => {
                Check::Refuse(changed(setting, "its start type is another one than in the plan"))
            }
            Ok(Stand::Before | Stand::Between) if history.attempts.len() >= TRIES => {
                let why =
                    format!("{TRIES} scripts ran and {} is not as it should be: {}", setting.name(), setting.wanted());
                Check::GiveUp(Failure::new("", why).with_hint("look at the event log of the VM"))
            }
            Ok(Stand::Before | Stand::Between) => {
                Check::Go(Request { verb: Verb::Post, target: vm.clone(), before: setting.before() })
            }
        }
    }

    async fn send(&self, cx: &Context<'_>, request: &Request, tag: &Tag) -> Result<Sent, ArmError> {
        Box::pin(self.setting.send(cx.arm, &request.target, false, tag)).await
    }

    /// Reads the guest once.
    async fn verify(&self, cx: &Context<'_>, _: &History) -> Verify {
        let Self { vm, vm_id, setting } = self;
        match cx.arm.vm(vm).await {
            Ok(now) if now.vm_id.eq_ignore_ascii_case(vm_id) => {}
            Ok(_) => {
                return Verify::Refused(Refusal::new(
                    "s3.changed",
                    format!("another VM has the name {} now", vm.name()),
                ));
            }
            Err(error) if cx.arm.proves_absence(&error, vm).await => {
                return Verify::Refused(Refusal::new("s3.vm-gone", format!("the VM {} is gone", vm.name())));
            }
            Err(error) => return Verify::Pending { why: format!("reading the VM: {error}"), wait: PROBE },
        }
        let facts = match Box::pin(read(cx.arm, vm, setting.os())).await {
            Ok(facts) => facts,
            Err(GuestUnread::Busy(why) | GuestUnread::Other(why)) => return Verify::Pending { why, wait: PROBE },
            Err(GuestUnread::Arm(error)) => {
                return Verify::Pending { why: format!("reading inside the VM: {error}"), wait: PROBE };
            }
        };
        match setting.stand(&facts) {
            Err(why) => Verify::Pending { why, wait: PROBE },
            Ok(Stand::After) => Verify::Done(format!("{}: {}, read back", setting.name(), setting.wanted())),
            Ok(Stand::Other(how)) => Verify::Refused(changed(setting, &how)),
            Ok(Stand::Before | Stand::Between) => {
                Verify::Again { why: format!("{} is not {}", setting.name(), setting.wanted()), wait: PROBE }
            }
        }
    }

    /// Whether the setting may be set back: only while it is as azmend set it, in the same VM.
    async fn check_inverse(&self, arm: &Arm, _: &Value, _: bool) -> Inverse {
        let Self { vm, vm_id, setting } = self;
        let wait = |why: String| Inverse::Wait { why, wait: PROBE };
        let now = match arm.vm(vm).await {
            Ok(now) => now,
            Err(error) if arm.proves_absence(&error, vm).await => {
                return Inverse::NotNeeded(format!("the VM {} is gone", vm.name()));
            }
            Err(error) => return Inverse::Unreadable(error),
        };
        if !now.vm_id.eq_ignore_ascii_case(vm_id) {
            return Inverse::NotNeeded(format!("another VM has the name {} now", vm.name()));
        }
        match arm.instance_view(vm).await {
            Ok(view) => {
                if let Err(why) = usable(&view) {
                    return wait(why);
                }
            }
            Err(error) => return Inverse::Unreadable(error),
        }
        let facts = match Box::pin(read(arm, vm, setting.os())).await {
            Ok(facts) => facts,
            Err(GuestUnread::Busy(why) | GuestUnread::Other(why)) => return wait(why),
            Err(GuestUnread::Arm(error)) => return Inverse::Unreadable(error),
        };
        match setting.stand(&facts) {
            Err(why) => wait(why),
            Ok(Stand::Before) => Inverse::Holds(format!("{} is as it was", setting.name())),
            Ok(Stand::Other(how)) => Inverse::Refuse(changed(setting, &how)),
            Ok(Stand::After | Stand::Between) => {
                let before = json!({ "set": setting.wanted() });
                Inverse::Go(Request { verb: Verb::Post, target: vm.clone(), before })
            }
        }
    }

    async fn send_inverse(&self, arm: &Arm, request: &Request, tag: &Tag) -> Result<Sent, ArmError> {
        Box::pin(self.setting.send(arm, &request.target, true, tag)).await
    }
}
