//! What only a reading of many VMs needs: tags, and the size of the disks behind restore points.

use std::collections::BTreeMap;

use serde_json::Value;

use super::json::{FromWire, Malformed, integer, objects};
use super::{Collection, Vm};

/// A virtual machine with its tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaggedVm {
    /// The machine.
    pub vm: Vm,
    /// Tags; values that are no text are left out.
    pub tags: BTreeMap<String, String>,
}

impl FromWire for TaggedVm {
    fn from_wire(value: &Value) -> Result<Self, Malformed> {
        let tags = value.get("tags").and_then(Value::as_object).into_iter().flatten();
        Ok(Self {
            vm: Vm::from_wire(value)?,
            tags: tags.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect(),
        })
    }
}

/// A collection with its points and the size of the disks that they were taken of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SizedCollection {
    /// The collection.
    pub collection: Collection,
    /// Provisioned GB of the disks of the largest point (`sourceMetadata.storageProfile.*.diskSizeGB`): what the VM had,
    /// not what the snapshots take. `None` when not sent.
    pub disk_gb: Option<i64>,
}

impl FromWire for SizedCollection {
    fn from_wire(value: &Value) -> Result<Self, Malformed> {
        let of_point = |point: &Value| {
            let profile = point.pointer("/properties/sourceMetadata/storageProfile")?;
            let data = objects(profile, "/dataDisks").filter_map(|disk| integer(disk, "/diskSizeGB"));
            let all: Vec<i64> = integer(profile, "/osDisk/diskSizeGB").into_iter().chain(data).collect();
            (!all.is_empty()).then(|| all.into_iter().fold(0_i64, i64::saturating_add))
        };
        let disk_gb = objects(value, "/properties/restorePoints").filter_map(of_point).max();
        Ok(Self { collection: Collection::from_wire(value)?, disk_gb })
    }
}
