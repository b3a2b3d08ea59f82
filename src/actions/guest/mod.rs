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

#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::change::{Change, ChangeKind, Failure, Refusal};
use super::rules::Ground;
use super::spec::{ConfKey, GuestAgentConf, GuestService, StartType};
use super::{Check, Context, History, Inverse, Request, Verify};
use crate::arm::id::ResourceId;
use crate::arm::model::RunCommand;
use crate::arm::{Arm, ArmError, ErrorClass, Sent, Tag};
use crate::estate::facts::Part;
use crate::estate::guest::{Guest, GuestFacts, GuestOs, Service, Unread, os_of, read, ready, usable};

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
                    Part::Absent { .. } => return Err("waagent.conf is not there".to_owned()),
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
    #[must_use]
    pub fn inverse(&self) -> String {
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

/// The guest's facts, when a script may run in it.
fn allowed<'a>(ground: &Ground<'_>, guest: &'a Guest) -> Result<&'a GuestFacts, Refusal> {
    let part = match guest {
        Guest::NotAllowed => {
            return Err(Refusal::new(
                "guest.not-allowed",
                "this repair runs a script inside the VM, and nobody allowed that",
            )
            .hint("look first: azmend diagnose --allow-guest; then add --allow-guest here"));
        }
        Guest::Looked(part) => part,
    };
    if let Err(why) = ready(ground.facts) {
        return Err(Refusal::new("guest.not-ready", why));
    }
    match part {
        Part::Known { value, .. } => Ok(value),
        Part::Unread { why } => Err(unread(why)),
        Part::Absent { .. } => Err(unread("there is nothing to look into")),
    }
}

fn unread(why: &str) -> Refusal {
    Refusal::new("guest.unread", format!("the inside of the VM could not be read: {why}"))
}

/// Plans a change of a service; none when it is as it should be, or the VM runs another system.
///
/// # Errors
/// What speaks against it.
pub fn plan_service(
    ground: &Ground<'_>,
    step: &str,
    spec: &GuestService,
    guest: &Guest,
) -> Result<Option<Change>, Refusal> {
    if os_of(ground.facts) == Some(GuestOs::Linux) {
        return Ok(None);
    }
    let facts = allowed(ground, guest)?;
    let name = spec.name.name();
    let now = match facts.service(name) {
        Some(Part::Known { value, .. }) => value,
        Some(Part::Unread { why }) => return Err(unread(why)),
        Some(Part::Absent { .. }) | None => {
            return Err(Refusal::new("guest.no-service", format!("the service {name} is not installed in the VM")));
        }
    };
    let start = match spec.start {
        StartType::Manual => (now.start == "Disabled").then(|| "Manual".to_owned()),
        StartType::Automatic => matches!(now.start.as_str(), "Disabled" | "Manual").then(|| "Auto".to_owned()),
    };
    let run = spec.running && now.state == "Stopped";
    if start.is_none() && !run {
        return Ok(None);
    }
    let setting = Setting::Service { name: name.to_owned(), before: now.clone(), start, run };
    let was = format!("{}, start type {}", now.state, now.start);
    Ok(Some(change(ground, step, &was, setting)))
}

/// Plans a change of the agent's configuration; none when it is as it should be, or the VM runs another system.
///
/// # Errors
/// What speaks against it.
pub fn plan_agent_conf(
    ground: &Ground<'_>,
    step: &str,
    spec: &GuestAgentConf,
    guest: &Guest,
) -> Result<Option<Change>, Refusal> {
    if os_of(ground.facts) == Some(GuestOs::Windows) {
        return Ok(None);
    }
    let conf = match &allowed(ground, guest)?.agent_conf {
        Part::Known { value, .. } => value,
        Part::Unread { why } => return Err(unread(why)),
        Part::Absent { .. } => return Err(unread("waagent.conf is not there")),
    };
    // Only the value that stops the agent's work is replaced; any other one is somebody's choice.
    let (now, stops, after) = match spec.key {
        ConfKey::ExtensionsEnabled => (&conf.enabled, "n", "y"),
        ConfKey::ProvisioningAgent => (&conf.provisioning, "disabled", "auto"),
    };
    if !now.eq_ignore_ascii_case(stops) {
        return Ok(None);
    }
    let key = spec.key.name().to_owned();
    let setting = Setting::AgentConf { key, before: now.clone(), after: after.to_owned() };
    Ok(Some(change(ground, step, now, setting)))
}

fn change(ground: &Ground<'_>, step: &str, was: &str, setting: Setting) -> Change {
    let later = match setting {
        Setting::AgentConf { .. } => "; it counts when the agent starts the next time, which azmend leaves to you",
        Setting::Service { .. } => "",
    };
    let vm = ground.facts.id.name();
    let effect = format!("inside {vm}: set {} to {} (it is {was}){later}", setting.name(), setting.wanted());
    let vm_id = ground.facts.vm.known().map(|vm| vm.vm_id.clone()).unwrap_or_default();
    Change::new(step, 1, ChangeKind::SetGuest { vm: ground.facts.id.clone(), vm_id, setting }, effect)
}

fn changed(setting: &Setting, how: &str) -> Refusal {
    let why = format!("{} was changed by somebody else: {how}", setting.name());
    Refusal::new("s3.changed", why).hint("run azmend again for a new plan")
}

/// Reads the guest again.
pub async fn check(cx: &Context<'_>, vm: &ResourceId, setting: &Setting, history: &History) -> Check {
    if let Err(why) = ready(cx.facts) {
        return Check::Refuse(Refusal::new("guest.not-ready", why));
    }
    let facts = match Box::pin(read(cx.arm, vm, setting.os())).await {
        Ok(facts) => facts,
        Err(Unread::Busy(why)) => return Check::Wait { why, wait: PROBE },
        Err(Unread::Arm(error)) => return Check::Unreadable(error),
        Err(Unread::Other(why)) => return Check::Refuse(unread(&why)),
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
            Check::Go(Request { verb: super::Verb::Post, target: vm.clone(), before: setting.before() })
        }
    }
}

/// Sends the script.
///
/// # Errors
/// As Azure answered.
pub async fn send(arm: &Arm, next: &Request, setting: &Setting, tag: &Tag) -> Result<Sent, ArmError> {
    Box::pin(setting.send(arm, &next.target, false, tag)).await
}

/// Sends the script that sets it back.
///
/// # Errors
/// As Azure answered.
pub async fn send_inverse(arm: &Arm, next: &Request, setting: &Setting, tag: &Tag) -> Result<Sent, ArmError> {
    Box::pin(setting.send(arm, &next.target, true, tag)).await
}

/// Reads the guest once.
pub async fn verify(cx: &Context<'_>, vm: &ResourceId, vm_id: &str, setting: &Setting) -> Verify {
    match cx.arm.vm(vm).await {
        Ok(now) if now.vm_id.eq_ignore_ascii_case(vm_id) => {}
        Ok(_) => {
            return Verify::Refused(Refusal::new("s3.changed", format!("another VM has the name {} now", vm.name())));
        }
        Err(error) if error.class() == ErrorClass::NotFound => {
            return Verify::Refused(Refusal::new("s3.vm-gone", format!("the VM {} is gone", vm.name())));
        }
        Err(error) => return Verify::Pending { why: format!("reading the VM: {error}"), wait: PROBE },
    }
    let facts = match Box::pin(read(cx.arm, vm, setting.os())).await {
        Ok(facts) => facts,
        Err(Unread::Busy(why) | Unread::Other(why)) => return Verify::Pending { why, wait: PROBE },
        Err(Unread::Arm(error)) => {
            return Verify::Pending { why: format!("looking into the VM: {error}"), wait: PROBE };
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
pub async fn check_inverse(arm: &Arm, vm: &ResourceId, vm_id: &str, setting: &Setting) -> Inverse {
    let wait = |why: String| Inverse::Wait { why, wait: PROBE };
    let now = match arm.vm(vm).await {
        Ok(now) => now,
        Err(error) if error.class() == ErrorClass::NotFound => {
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
        Err(Unread::Busy(why) | Unread::Other(why)) => return wait(why),
        Err(Unread::Arm(error)) => return Inverse::Unreadable(error),
    };
    match setting.stand(&facts) {
        Err(why) => wait(why),
        Ok(Stand::Before) => Inverse::Holds(format!("{} is as it was", setting.name())),
        Ok(Stand::Other(how)) => Inverse::Refuse(changed(setting, &how)),
        Ok(Stand::After | Stand::Between) => {
            let before = json!({ "set": setting.wanted() });
            Inverse::Go(Request { verb: super::Verb::Post, target: vm.clone(), before })
        }
    }
}
