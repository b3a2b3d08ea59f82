//! What is wrong inside a VM, as far as a script can read it through Run Command.
//!
//! Duty: run the probe (`scripts/probe.ps1`, `scripts/probe.sh`) and make facts of what it prints. Invariants: nothing is
//! asked unless the caller allows it; the agent is Ready and the VM runs, else Run Command is not tried (it would wait
//! for an agent that does not answer); the scripts only read; a request is sent once, and a lost answer, another Run
//! Command that runs, or an output that does not fit is *unread, and why* (S12). It must never change anything.
//!
//! Azure runs one script at a time in a VM, as System or root, for at most 90 minutes, without a way to cancel it, and
//! returns the last 4096 bytes of what it printed (Run Command's documentation for Windows, 2025-08-18).

mod parse;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use parse::{WINDOWS_SERVICES, parse};

use super::read::why;
use super::vm_facts::{Part, VmFacts};
use crate::arm::id::ResourceId;
use crate::arm::model::{InstanceView, RunCommand, RunOutput, Shell};
use crate::arm::{Arm, ArmError, ErrorClass, PollState, Sent, Tag};
use crate::clock::elapsed;

/// The probe for Windows PowerShell 5.1.
const WINDOWS: &str = include_str!("scripts/probe.ps1");
/// The probe for a POSIX shell.
const LINUX: &str = include_str!("scripts/probe.sh");
/// Every script that only reads: what a read-only command may run (S1).
pub const PROBES: &[&str] = &[WINDOWS, LINUX];
/// The probe takes seconds, Run Command itself about 20 (its documentation); then it is not waited for any longer.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// The system inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GuestOs {
    /// Windows.
    Windows,
    /// Linux.
    Linux,
}

impl GuestOs {
    /// The word in the probe's output.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Windows => "windows",
            Self::Linux => "linux",
        }
    }

    /// What runs scripts in it.
    #[must_use]
    pub const fn shell(self) -> Shell {
        match self {
            Self::Windows => Shell::PowerShell,
            Self::Linux => Shell::Sh,
        }
    }

    const fn probe(self) -> &'static str {
        match self {
            Self::Windows => WINDOWS,
            Self::Linux => LINUX,
        }
    }
}

/// A service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// `Running`, `Stopped` (Windows), `active`, `inactive` (Linux).
    pub state: String,
    /// `Auto`, `Manual`, `Disabled` (Windows), `enabled`, `disabled` (Linux).
    pub start: String,
}

/// A VSS writer that is not stable or has an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Writer {
    /// Its name.
    pub name: String,
    /// The number in brackets: 1 is stable, 2 to 5 are the steps of a snapshot, above are failures (`VSS_WRITER_STATE`).
    pub state: u32,
    /// It reports a last error. (Only told in English.)
    pub error: bool,
}

impl Writer {
    /// Whether it failed. (2 to 5 without an error: a backup of this or another product is running.)
    #[must_use]
    pub const fn failed(&self) -> bool {
        self.error || self.state == 0 || self.state > 5
    }
}

/// The VSS writers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Writers {
    /// How many there are.
    pub all: u32,
    /// How many are not stable or have an error.
    pub unwell: u32,
    /// The first eight of these.
    pub named: Vec<Writer>,
}

/// The COM+ catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Com {
    /// It can be opened and lists its applications.
    Works,
    /// It cannot: the HRESULT.
    Fails(String),
}

/// How the network adapters get their addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dhcp {
    /// By DHCP.
    pub dynamic: u32,
    /// All that are connected.
    pub all: u32,
}

/// Crashes of `IaaSBcdrExtension.exe` in the last 14 days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crashes {
    /// How many.
    pub count: u32,
    /// The last one.
    pub last: Option<Timestamp>,
}

/// Whether Microsoft Defender leaves the backup extension's folders alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exclusions {
    /// `C:\Packages\Plugins\Microsoft.Azure.RecoveryServices.VMSnapshot`.
    pub plugins: bool,
    /// `C:\WindowsAzure\Logs\Plugins\Microsoft.Azure.RecoveryServices.VMSnapshot`.
    pub logs: bool,
}

/// `/etc/waagent.conf`; `-` is a setting that is not there, `other` a value that is not a plain word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentConf {
    /// `Extensions.Enabled`: the key that the agent reads (WALinuxAgent, `conf.py`), `y` when it is not there.
    pub enabled: String,
    /// `Extensions.Enable`: the key that Azure Backup's guide prints; the agent's source does not know it.
    pub enable: String,
    /// `Provisioning.Agent`: `auto` when it is not there.
    pub provisioning: String,
}

/// What the probe found. Parts that are not of this system are "not asked for".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestFacts {
    /// The system.
    pub os: GuestOs,
    /// Services, by their names.
    pub services: BTreeMap<String, Part<Service>>,
    /// VSS writers (Windows).
    pub writers: Part<Writers>,
    /// COM+ (Windows).
    pub com: Part<Com>,
    /// Whether MSDTC runs as Network Service (Windows).
    pub dtc_network_service: Part<bool>,
    /// Version of the Visual C++ 2013 runtime (Windows).
    pub vc_runtime: Part<String>,
    /// Addresses (Windows).
    pub dhcp: Part<Dhcp>,
    /// Crashes of the backup extension (Windows).
    pub crashes: Part<Crashes>,
    /// Real-time protection of Microsoft Defender (Windows).
    pub defender: Part<bool>,
    /// Its exclusions (Windows).
    pub exclusions: Part<Exclusions>,
    /// The agent's configuration (Linux).
    pub agent_conf: Part<AgentConf>,
}

impl GuestFacts {
    /// Nothing read yet.
    fn nothing(os: GuestOs) -> Self {
        Self {
            os,
            services: BTreeMap::new(),
            writers: Part::not_asked(),
            com: Part::not_asked(),
            dtc_network_service: Part::not_asked(),
            vc_runtime: Part::not_asked(),
            dhcp: Part::not_asked(),
            crashes: Part::not_asked(),
            defender: Part::not_asked(),
            exclusions: Part::not_asked(),
            agent_conf: Part::not_asked(),
        }
    }

    /// A service of this name.
    #[must_use]
    pub fn service(&self, name: &str) -> Option<&Part<Service>> {
        self.services.get(name)
    }
}

/// What is known of the inside of a VM.
#[expect(clippy::large_enum_variant, reason = "there is one of it")]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Guest {
    /// Nobody allowed to look.
    NotAllowed,
    /// Looked at, or why not.
    Looked(Part<GuestFacts>),
}

/// Why the inside of a VM is unread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GuestUnread {
    /// Azure runs another script in it, or cannot run one now: come back.
    Busy(String),
    /// Azure's error.
    Arm(ArmError),
    /// What came of the script cannot be used.
    Other(String),
}

impl fmt::Display for GuestUnread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy(why) => write!(f, "the VM cannot run a script now; try again in a few minutes: {why}"),
            Self::Arm(error) if error.may_have_taken_effect() => {
                write!(f, "the answer was lost; whether the script, which only reads, ran is not known: {}", why(error))
            }
            Self::Arm(error) => f.write_str(&why(error)),
            Self::Other(why) => f.write_str(why),
        }
    }
}

/// The system that Azure names.
#[must_use]
pub fn os_of(facts: &VmFacts) -> Option<GuestOs> {
    match facts.vm.known()?.os_type.to_ascii_lowercase().as_str() {
        "windows" => Some(GuestOs::Windows),
        "linux" => Some(GuestOs::Linux),
        _ => None,
    }
}

/// Whether a script can be run: the system, or why not.
///
/// # Errors
/// A fragment for people.
pub fn ready(facts: &VmFacts) -> Result<GuestOs, String> {
    match &facts.vm {
        Part::Known { .. } => {}
        Part::Absent { .. } => return Err("the VM does not exist".to_owned()),
        Part::Unread { why } => return Err(format!("the VM is unread: {why}")),
    }
    let os = os_of(facts).ok_or("Azure does not say which system the VM runs")?;
    let instance = match &facts.instance {
        Part::Known { value, .. } => value,
        Part::Absent { .. } => return Err("the VM has no instance view".to_owned()),
        Part::Unread { why } => return Err(format!("the instance view is unread: {why}")),
    };
    usable(instance).map(|()| os)
}

/// Whether the VM of this instance view runs scripts.
///
/// # Errors
/// A fragment for people.
pub fn usable(instance: &InstanceView) -> Result<(), String> {
    if !instance.power.eq_ignore_ascii_case("running") {
        let power = if instance.power.is_empty() { "in an unknown state" } else { instance.power.as_str() };
        return Err(format!("the VM is {power}; Run Command needs a running VM"));
    }
    match &instance.agent {
        Some(agent) if agent.is_ready() => Ok(()),
        Some(agent) => Err(format!("the agent is {:?}; Run Command needs one that is Ready", agent.status.display)),
        None => Err("no agent has reported; Run Command needs one that is Ready".to_owned()),
    }
}

/// Looks inside the VM of these facts. It takes about half a minute.
pub async fn look(arm: &Arm, facts: &VmFacts) -> Part<GuestFacts> {
    let os = match ready(facts) {
        Ok(os) => os,
        Err(why) => return Part::Unread { why },
    };
    let at = arm.clock().now();
    match Box::pin(read(arm, &facts.id, os)).await {
        Ok(value) => Part::Known { at, value },
        Err(why) => Part::Unread { why: why.to_string() },
    }
}

/// Runs the probe. Whether the agent is Ready is the caller's to know.
///
/// # Errors
/// Why the guest is unread.
pub async fn read(arm: &Arm, vm: &ResourceId, os: GuestOs) -> Result<GuestFacts, GuestUnread> {
    let at = arm.clock().now();
    let command = RunCommand { shell: os.shell(), script: os.probe(), parameters: &[] };
    let output = Box::pin(printed(arm, vm, &command)).await?;
    parse(&output.stdout, os, at).map_err(GuestUnread::Other)
}

/// Runs a script that only reads, to its end.
async fn printed(arm: &Arm, vm: &ResourceId, command: &RunCommand<'_>) -> Result<RunOutput, GuestUnread> {
    let begin = arm.clock().now();
    let mut operation = match arm.run_command(vm, command, &Tag::fresh()).await {
        Ok(Sent::Accepted(operation)) => operation,
        Ok(Sent::Done { .. }) => {
            return Err(GuestUnread::Other("Azure did not say where the script's output is".to_owned()));
        }
        Err(error) if error.class() == ErrorClass::Conflict => return Err(GuestUnread::Busy(why(&error))),
        Err(error) => return Err(GuestUnread::Arm(error)),
    };
    loop {
        if elapsed(begin, arm.clock().now()) > PATIENCE {
            let why = "the script has not ended after 10 minutes; it only reads, and it cannot be cancelled";
            return Err(GuestUnread::Other(why.to_owned()));
        }
        arm.clock().sleep(operation.wait()).await;
        let poll = arm.poll(&operation).await.map_err(GuestUnread::Arm)?;
        operation = poll.operation;
        match poll.state {
            PollState::InProgress => {}
            PollState::Succeeded { body } => return RunOutput::of(&body).map_err(GuestUnread::Other),
            PollState::Failed(error) | PollState::Canceled(error) => return Err(GuestUnread::Other(why(&error))),
            PollState::Gone => return Err(GuestUnread::Other("the VM is gone".to_owned())),
        }
    }
}
