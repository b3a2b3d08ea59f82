//! The inside of a VM, as far as azmend's scripts look at it: `guest:` of a VM in an estate file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The state of a Windows service.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServiceState {
    /// Running.
    Running,
    /// Stopped.
    #[default]
    Stopped,
}

/// How a Windows service starts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServiceStart {
    /// With the system.
    Automatic,
    /// On demand.
    #[default]
    Manual,
    /// Never.
    Disabled,
}

/// A Windows service.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GuestService {
    /// Its state.
    pub state: ServiceState,
    /// Its start type.
    pub start: ServiceStart,
    /// It does not come up, whoever starts it.
    pub stuck: bool,
}

/// A VSS writer that is not stable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuestWriter {
    /// Its name.
    pub name: String,
    /// The number that vssadmin prints in brackets; 1 is stable.
    pub state: u32,
}

/// The inside of a VM. Without an entry it is as Azure's images ship it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Guest {
    /// Services (Windows).
    pub services: BTreeMap<String, GuestService>,
    /// VSS writers that are not stable (Windows).
    pub vss_writers: Vec<GuestWriter>,
    /// `works`, or the HRESULT with which the COM+ catalogue fails (Windows).
    pub com: String,
    /// MSDTC runs as Network Service (Windows).
    pub dtc_network_service: bool,
    /// Version of the Visual C++ 2013 runtime, or `absent` (Windows).
    pub vc_runtime: String,
    /// The adapter gets its address by DHCP (Windows).
    pub dhcp: bool,
    /// Crashes of the backup extension in the last days (Windows).
    pub crashes: u32,
    /// Microsoft Defender protects in real time (Windows).
    pub defender: bool,
    /// It leaves the extension's folders alone (Windows).
    pub exclusions: bool,
    /// Settings in `/etc/waagent.conf` (Linux).
    pub agent_conf: BTreeMap<String, String>,
}

impl Default for Guest {
    fn default() -> Self {
        use ServiceStart::{Automatic, Manual};
        use ServiceState::{Running, Stopped};
        let shipped = [
            ("VSS", Stopped, Manual),
            ("SwPrv", Stopped, Manual),
            ("COMSysApp", Running, Manual),
            ("EventSystem", Running, Automatic),
            ("MSDTC", Running, Automatic),
            ("CryptSvc", Running, Automatic),
            ("RpcSs", Running, Automatic),
            ("msiserver", Stopped, Manual),
            ("Dhcp", Running, Automatic),
            ("WindowsAzureGuestAgent", Running, Automatic),
            ("RdAgent", Running, Automatic),
        ];
        let conf = [("Extensions.Enabled", "y"), ("Provisioning.Agent", "auto")];
        Self {
            services: shipped
                .into_iter()
                .map(|(name, state, start)| (name.to_owned(), GuestService { state, start, stuck: false }))
                .collect(),
            vss_writers: Vec::new(),
            com: "works".to_owned(),
            dtc_network_service: true,
            vc_runtime: "12.0.40664.0".to_owned(),
            dhcp: true,
            crashes: 0,
            defender: true,
            exclusions: false,
            agent_conf: conf.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        }
    }
}

impl Guest {
    /// The guest of an estate file: what it does not name is as shipped.
    #[must_use]
    pub fn completed(mut self) -> Self {
        let shipped = Self::default();
        for (name, service) in shipped.services {
            self.services.entry(name).or_insert(service);
        }
        self
    }
}

/// What Run Command was asked to run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestRun {
    /// Name and version in the header of a script of azmend's; empty for any other script.
    pub script: String,
    /// The values of the parameters, in order.
    pub parameters: Vec<String>,
    /// The answer, when it has ended.
    pub output: serde_json::Value,
}
