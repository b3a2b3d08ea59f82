//! Microsoft.Compute: virtual machines, instance views, extensions, restore point collections.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::AttachedDisk;
use crate::id::ResourceId;

/// A virtual machine (`Microsoft.Compute/virtualMachines`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vm {
    /// The resource id as Azure returned it.
    pub id: ResourceId,
    /// Azure region, e.g. `westeurope`.
    pub location: String,
    /// `properties.vmId`: the identity that a VM recreated under the same name does not share. Empty when not sent.
    pub vm_id: String,
    /// `properties.provisioningState`, e.g. `Succeeded`, `Failed`, `Updating`.
    pub provisioning_state: String,
    /// `Windows`, `Linux` or empty.
    pub os_type: String,
    /// Whether the OS disk is a managed disk (then VMSnapshot is hidden from the extension list).
    pub managed_disks: bool,
    /// `hardwareProfile.vmSize`, e.g. `Standard_D2s_v5`; empty when not sent.
    #[serde(default)]
    pub size: String,
    /// The OS disk and the data disks.
    #[serde(default)]
    pub disks: Vec<AttachedDisk>,
    /// The network interfaces.
    #[serde(default)]
    pub interfaces: Vec<ResourceId>,
    /// Key vaults that the model's OS disk names (Azure Disk Encryption).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub encryption: Vec<super::KeyUse>,
}

/// One status line of an instance view.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// e.g. `ProvisioningState/succeeded`, `ProvisioningState/failed/1`, `PowerState/running`.
    pub code: String,
    /// `Info`, `Warning`, `Error`.
    pub level: String,
    /// e.g. `Ready`, `Not Ready`.
    pub display: String,
    /// Free text.
    pub message: String,
    /// When Azure recorded it.
    pub time: Option<Timestamp>,
}

impl Status {
    /// Whether the code says failed: `ProvisioningState/failed` with or without a third segment, or level Error.
    #[must_use]
    pub fn is_failed(&self) -> bool {
        self.code.to_ascii_lowercase().starts_with("provisioningstate/failed")
            || self.level.eq_ignore_ascii_case("error")
    }
}

/// The guest agent as the platform sees it (`instanceView.vmAgent`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agent {
    /// `vmAgentVersion`; `Unknown` when the agent never reported.
    pub version: String,
    /// The first status.
    pub status: Status,
}

impl Agent {
    /// Whether the agent is Ready (`ProvisioningState/succeeded`; recordings use `Unavailable` for not ready).
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.status.code.eq_ignore_ascii_case("ProvisioningState/succeeded")
    }
}

/// An extension handler reported by the agent (`vmAgent.extensionHandlers[]`). VMSnapshot shows only here on
/// managed-disk VMs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handler {
    /// `Publisher.Type`, e.g. `Microsoft.Azure.RecoveryServices.VMSnapshot`.
    pub kind: String,
    /// `typeHandlerVersion`.
    pub version: String,
    /// Its status; recordings show a third code segment (`ProvisioningState/NotReady/1007`).
    pub status: Status,
}

/// `GET {vm}/instanceView`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceView {
    /// The part after `PowerState/`, e.g. `running`, `stopped`, `deallocated`; empty when not reported.
    pub power: String,
    /// All statuses.
    pub statuses: Vec<Status>,
    /// The agent; `None` when the view has no `vmAgent`.
    pub agent: Option<Agent>,
    /// The handlers.
    pub handlers: Vec<Handler>,
    /// `extensions[]` of the view.
    pub extensions: Vec<ExtensionView>,
    /// Key vaults that its disks name (Azure Disk Encryption).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub encryption: Vec<super::KeyUse>,
}

/// An extension's run-time view (`instanceView.extensions[]`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtensionView {
    /// The resource name of the extension.
    pub name: String,
    /// `Publisher.Type`.
    pub kind: String,
    /// `typeHandlerVersion`.
    pub version: String,
    /// Its statuses.
    pub statuses: Vec<Status>,
}

/// An extension resource (`GET {vm}/extensions`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extension {
    /// Resource id.
    pub id: ResourceId,
    /// Publisher, e.g. `Microsoft.Azure.RecoveryServices`.
    pub publisher: String,
    /// Type, e.g. `VMSnapshot`.
    pub kind: String,
    /// `typeHandlerVersion`.
    pub version: String,
    /// `provisioningState`.
    pub provisioning_state: String,
    /// The first status message, if any.
    pub message: String,
    /// Key vaults that it names, when it is Azure Disk Encryption.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub encryption: Vec<super::KeyUse>,
}

/// A restore point collection (`Microsoft.Compute/restorePointCollections`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collection {
    /// Resource id.
    pub id: ResourceId,
    /// Region.
    pub location: String,
    /// `properties.source.id` as sent (a VM, or another collection for a cross-region copy). Empty when not sent.
    pub source: String,
    /// `properties.restorePointCollectionId`: the identity that a recreated collection does not share.
    pub collection_id: String,
    /// `properties.provisioningState`; `Deleting` means wait.
    pub provisioning_state: String,
    /// The points; `None` when the response did not expand them (lists never do).
    pub points: Option<Vec<Point>>,
}

impl Collection {
    /// The source as an id, when it is one.
    #[must_use]
    pub fn source_id(&self) -> Option<ResourceId> {
        ResourceId::parse(&self.source).ok()
    }

    /// The points, empty when not expanded.
    #[must_use]
    pub fn points(&self) -> &[Point] {
        self.points.as_deref().unwrap_or_default()
    }
}

/// A restore point (`restorePointCollections/restorePoints`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Point {
    /// Resource id.
    pub id: ResourceId,
    /// `properties.timeCreated`; `None` when not sent (such a point is never deleted).
    pub created: Option<Timestamp>,
    /// `properties.provisioningState`: `Succeeded`, `Failed`, `Deleting`, ...
    pub provisioning_state: String,
    /// `properties.consistencyMode`.
    pub consistency: String,
    /// `properties.sourceMetadata.vmId`: the `vmId` of the VM it was taken of. Empty when not sent.
    pub vm_id: String,
    /// `properties.sourceRestorePoint.id`: set on cross-region copies only. Empty otherwise.
    pub copied_from: String,
    /// Lowest `completionPercent` of a copy that is not finished; `None` when no copy is reported.
    pub copy_percent: Option<u8>,
    /// Whether the answer carried the instance view: only a point's own GET does, when it asks for it. Without it
    /// `copy_percent` says nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub with_view: bool,
}

/// What is known of the copy of a restore point to another region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyState {
    /// The instance view was read, and reports no copy that is under way.
    Finished,
    /// The instance view says that a copy is not complete.
    Unfinished {
        /// The lowest `completionPercent` of its disks; 0 when Azure names none.
        percent: u8,
    },
    /// The instance view was not read: nothing is known.
    Unread,
}

impl Point {
    /// Whether `provisioningState` is `Succeeded`.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        self.provisioning_state.eq_ignore_ascii_case("Succeeded")
    }

    /// Whether Azure is deleting it now.
    #[must_use]
    pub fn deleting(&self) -> bool {
        self.provisioning_state.eq_ignore_ascii_case("Deleting")
    }

    /// What this reading says about a copy to another region. A point that came with its collection
    /// (`$expand=restorePoints`) is always [`CopyState::Unread`]: only its own GET with `$expand=instanceView` tells.
    #[must_use]
    pub fn copy_state(&self) -> CopyState {
        match self.copy_percent {
            Some(percent) if percent < 100 => CopyState::Unfinished { percent },
            _ if self.with_view => CopyState::Finished,
            _ => CopyState::Unread,
        }
    }
}
