//! Rows of Microsoft.Compute.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::{GraphRow, columns, text};
use crate::arm::model::{Extension, FromWire, Malformed, Vm};

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
