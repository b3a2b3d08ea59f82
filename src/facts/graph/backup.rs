//! Rows of Microsoft.RecoveryServices.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::{GraphRow, columns, text};
use crate::arm::model::json::parse_time;
use crate::arm::model::{FromWire, Job, Malformed, Policy, ProtectedItem, Vault};

/// A protected item.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ItemRow {
    /// As ARM has it.
    pub item: ProtectedItem,
    /// `protectionStatus`: `Healthy`, `Unhealthy`.
    pub protection_status: String,
    /// `lastRecoveryPoint`.
    pub last_recovery_point: Option<Timestamp>,
    /// `lastBackupErrorInfo` as sent: no contract of VM items has it. Null when it is not there.
    pub last_backup_error: Value,
}

impl GraphRow for ItemRow {
    const WHAT: &'static str = "protected items";
    const FILE: &'static str = include_str!("items.kql");

    fn from_resource(resource: &Value) -> Result<Self, Malformed> {
        let row = columns(resource);
        let mut item = ProtectedItem::from_wire(resource)?;
        // The documentation's own queries read these instead of ARM's names: whichever is there.
        if item.source.is_empty() {
            item.source = text(row, "dataSourceId");
        }
        if item.protection_state.is_empty() {
            item.protection_state = text(row, "currentProtectionState");
        }
        Ok(Self {
            item,
            protection_status: text(row, "protectionStatus"),
            last_recovery_point: parse_time(&text(row, "lastRecoveryPoint")),
            last_backup_error: row.get("lastBackupErrorInfo").cloned().unwrap_or_default(),
        })
    }
}

impl GraphRow for Policy {
    const WHAT: &'static str = "backup policies";
    const FILE: &'static str = include_str!("policies.kql");

    fn from_resource(resource: &Value) -> Result<Self, Malformed> {
        Self::from_wire(resource)
    }
}

impl GraphRow for Job {
    const WHAT: &'static str = "backup jobs";
    const FILE: &'static str = include_str!("jobs.kql");

    fn from_resource(resource: &Value) -> Result<Self, Malformed> {
        Self::from_wire(resource)
    }
}

/// Whether the rows have security settings is not known: empty ones mean nothing, a vault's own GET decides (S8).
impl GraphRow for Vault {
    const WHAT: &'static str = "vaults";
    const FILE: &'static str = include_str!("vaults.kql");

    fn from_resource(resource: &Value) -> Result<Self, Malformed> {
        Self::from_wire(resource)
    }
}
