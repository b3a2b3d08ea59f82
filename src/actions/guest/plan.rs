//! `guest.service` and `guest.agent_conf`: their parameters, and the settings that they plan.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{RUN, SetGuest, Setting, unread};
use crate::actions::Action;
use crate::actions::outcome::Refusal;
use crate::actions::permission::{self, Uses};
use crate::actions::planning::{PlanContext, StepDraft};
use crate::actions::rules::RuleInput;
use crate::facts::guest::{Guest, GuestFacts, GuestOs, os_of, ready};
use crate::facts::vm_facts::Part;

/// Said when nothing is to be changed.
const AS_IT_SHOULD_BE: &str = "the setting inside the VM is already correct";
/// What both use.
const NEEDS: &[Uses] = &[
    Uses::Needs(&permission::INSTANCE_VIEW),
    Uses::Needs(&permission::VAULTS),
    Uses::Needs(&permission::ITEMS),
    Uses::Needs(&permission::JOBS),
    Uses::Needs(&permission::COMPUTE_OPERATIONS),
    Uses::Needs(&RUN),
];

/// What setting a value of waagent.conf uses: whether VMSnapshot failed decides about it, and its resource says that.
const CONF_NEEDS: &[Uses] = &[
    Uses::Needs(&permission::EXTENSIONS),
    Uses::Needs(&permission::INSTANCE_VIEW),
    Uses::Needs(&permission::VAULTS),
    Uses::Needs(&permission::ITEMS),
    Uses::Needs(&permission::JOBS),
    Uses::Needs(&permission::COMPUTE_OPERATIONS),
    Uses::Needs(&RUN),
];

/// Lets one Windows service that a backup needs start again, by a script in the VM. Only with `--allow-guest`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GuestService {
    /// Which service.
    pub name: ServiceName,
    /// What its start type must be at least: a service that starts more readily is left as it is.
    pub start: StartType,
    /// Whether it must run, too. A service that is started on demand does not have to.
    pub running: bool,
}

/// The services that azmend may set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ServiceName {
    /// Volume Shadow Copy.
    #[default]
    #[serde(rename = "VSS")]
    Vss,
    /// Microsoft Software Shadow Copy Provider.
    SwPrv,
    /// COM+ System Application.
    #[serde(rename = "COMSysApp")]
    ComSysApp,
    /// COM+ Event System.
    EventSystem,
    /// Distributed Transaction Coordinator.
    #[serde(rename = "MSDTC")]
    Msdtc,
    /// Cryptographic Services.
    CryptSvc,
}

impl ServiceName {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Vss, Self::SwPrv, Self::ComSysApp, Self::EventSystem, Self::Msdtc, Self::CryptSvc];

    /// Its name in Windows.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vss => "VSS",
            Self::SwPrv => "SwPrv",
            Self::ComSysApp => "COMSysApp",
            Self::EventSystem => "EventSystem",
            Self::Msdtc => "MSDTC",
            Self::CryptSvc => "CryptSvc",
        }
    }
}

/// How a service starts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StartType {
    /// On demand.
    #[default]
    Manual,
    /// With the system.
    Automatic,
}

/// Sets one key of `/etc/waagent.conf` that stops the Linux agent's work back to its default, by a script in the VM. Only
/// with `--allow-guest`. The agent is not restarted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GuestAgentConf {
    /// Which key.
    pub key: ConfKey,
}

/// The keys that azmend may set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConfKey {
    /// `Extensions.Enabled`: from `n` to `y`.
    #[default]
    #[serde(rename = "Extensions.Enabled")]
    ExtensionsEnabled,
    /// `Provisioning.Agent`: from `disabled` to `auto`.
    #[serde(rename = "Provisioning.Agent")]
    ProvisioningAgent,
}

impl ConfKey {
    /// Its name in the file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ExtensionsEnabled => "Extensions.Enabled",
            Self::ProvisioningAgent => "Provisioning.Agent",
        }
    }
}

impl Action for GuestService {
    const KEYS: &'static [&'static str] = &["name", "running", "start"];
    const NEEDS: &'static [Uses] = NEEDS;
    const WRITES: &'static [&'static str] = &[];

    fn plan(&self, cx: &PlanContext<'_>) -> StepDraft {
        StepDraft::of(service(&cx.input, self, &cx.reads.guest), AS_IT_SHOULD_BE)
    }
}

impl Action for GuestAgentConf {
    const KEYS: &'static [&'static str] = &["key"];
    const NEEDS: &'static [Uses] = CONF_NEEDS;
    const WRITES: &'static [&'static str] = &[];

    fn plan(&self, cx: &PlanContext<'_>) -> StepDraft {
        StepDraft::of(agent_conf(&cx.input, self, &cx.reads.guest), AS_IT_SHOULD_BE)
    }
}

/// The guest's facts, when a script may run in it.
fn allowed<'a>(input: &RuleInput<'_>, guest: &'a Guest) -> Result<&'a GuestFacts, Refusal> {
    let part = match guest {
        Guest::NotAllowed => {
            return Err(Refusal::new(
                "guest.not-allowed",
                "this repair runs a script inside the VM, which was not allowed",
            )
            .hint(format!(
                "look first: azmend diagnose --allow-guest --vm {}; then add --allow-guest here",
                crate::text::shell_quote(input.facts.id.as_str())
            )));
        }
        Guest::Looked(part) => part,
    };
    if let Err(why) = ready(input.facts) {
        return Err(Refusal::new("guest.not-ready", why));
    }
    match part {
        Part::Known { value, .. } => Ok(value),
        Part::Unread { why } => Err(unread(why)),
        Part::Absent { .. } => Err(unread("there is nothing to check")),
    }
}

/// A change of a service; none when it is as it should be, or the VM runs another system.
fn service(input: &RuleInput<'_>, spec: &GuestService, guest: &Guest) -> Result<Option<(SetGuest, String)>, Refusal> {
    if os_of(input.facts) == Some(GuestOs::Linux) {
        return Ok(None);
    }
    let facts = allowed(input, guest)?;
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
    Ok(Some(change(input, &was, setting)))
}

/// A change of the agent's configuration; none when it is as it should be, or the VM runs another system.
fn agent_conf(
    input: &RuleInput<'_>,
    spec: &GuestAgentConf,
    guest: &Guest,
) -> Result<Option<(SetGuest, String)>, Refusal> {
    if os_of(input.facts) == Some(GuestOs::Windows) {
        return Ok(None);
    }
    let conf = match &allowed(input, guest)?.agent_conf {
        Part::Known { value, .. } => value,
        Part::Unread { why } => return Err(unread(why)),
        Part::Absent { .. } => return Err(unread("waagent.conf does not exist")),
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
    Ok(Some(change(input, now, setting)))
}

fn change(input: &RuleInput<'_>, was: &str, setting: Setting) -> (SetGuest, String) {
    let later = match setting {
        Setting::AgentConf { .. } => "; it takes effect when the agent restarts, which azmend leaves to you",
        Setting::Service { .. } => "",
    };
    let vm = input.facts.id.name();
    let effect = format!("inside {vm}: set {} to {} (it is {was}){later}", setting.name(), setting.wanted());
    let vm_id = input.facts.vm.known().map(|vm| vm.vm_id.clone()).unwrap_or_default();
    (SetGuest { vm: input.facts.id.clone(), vm_id, setting }, effect)
}
