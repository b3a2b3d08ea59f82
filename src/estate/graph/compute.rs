//! Rows of Microsoft.Compute.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::{GraphRow, columns, text, whole};
use crate::arm::id::ResourceId;
use crate::arm::model::{Collection, Extension, FromWire, Malformed, Vm};

/// A virtual machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VmRow {
    /// As ARM has it.
    pub vm: Vm,
    /// `running`, `deallocated`, ...; empty when not sent.
    pub power: String,
    /// Tags; values that are no text are left out.
    pub tags: BTreeMap<String, String>,
}

impl GraphRow for VmRow {
    const WHAT: &'static str = "virtual machines";
    const FILE: &'static str = include_str!("vms.kql");

    fn from_resource(resource: &Value) -> Result<Self, Malformed> {
        let row = columns(resource);
        let power = text(row, "powerState");
        let tags = row.get("tags").and_then(Value::as_object).into_iter().flatten();
        Ok(Self {
            vm: Vm::from_wire(resource)?,
            power: power.split_once('/').map_or(power.as_str(), |(_, state)| state).to_owned(),
            tags: tags.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect(),
        })
    }
}

impl GraphRow for Extension {
    const WHAT: &'static str = "extensions";
    const FILE: &'static str = include_str!("extensions.kql");

    fn from_resource(resource: &Value) -> Result<Self, Malformed> {
        Self::from_wire(resource)
    }
}

/// Without points: Resource Graph is not known to have them, and if it had, they would be too old to count.
impl GraphRow for Collection {
    const WHAT: &'static str = "restore point collections";
    const FILE: &'static str = include_str!("collections.kql");

    fn from_resource(resource: &Value) -> Result<Self, Malformed> {
        Ok(Self { points: None, ..Self::from_wire(resource)? })
    }
}

/// A managed disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DiskRow {
    /// Resource id.
    pub id: ResourceId,
    /// Region.
    pub location: String,
    /// `diskSizeGB`.
    pub size_gb: Option<i64>,
    /// `Premium_LRS`, `UltraSSD_LRS`, ...; empty when not sent.
    pub sku: String,
    /// The VM it is attached to, as sent; empty for none.
    pub managed_by: String,
    /// How many VMs may share it; `None` when it is not shared.
    pub max_shares: Option<i64>,
    /// `Attached`, `Unattached`, ...
    pub state: String,
}

impl GraphRow for DiskRow {
    const WHAT: &'static str = "disks";
    const FILE: &'static str = include_str!("disks.kql");

    fn from_resource(resource: &Value) -> Result<Self, Malformed> {
        let row = columns(resource);
        Ok(Self {
            id: ResourceId::from_wire(row)?,
            location: text(row, "location"),
            size_gb: whole(row, "diskSizeGB"),
            sku: text(row, "sku"),
            managed_by: text(row, "managedBy"),
            max_shares: whole(row, "maxShares"),
            state: text(row, "diskState"),
        })
    }
}
