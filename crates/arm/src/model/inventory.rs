//! What only lists for people need: power states, backup engines (Backup Server, DPM) and their jobs, a job's progress.

use jiff::Timestamp;
use serde_json::Value;

use super::json::{FromWire, Malformed, first_text, flag, id, integer, objects, text, texts, time};
use super::{InstanceView, Job, JobError};
use crate::id::ResourceId;

/// The power state of a VM, from the list with `statusOnly=true`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PowerRow {
    /// The VM.
    pub id: ResourceId,
    /// `running`, `deallocated`, ...; empty when not sent.
    pub power: String,
}

impl FromWire for PowerRow {
    fn from_wire(value: &Value) -> Result<Self, Malformed> {
        Ok(Self { id: id(value)?, power: InstanceView::from_wire(value)?.power })
    }
}

/// A Backup Server (MABS) or System Center DPM server that is registered in a vault.
#[derive(Debug, Clone, PartialEq)]
pub struct Engine {
    /// Resource id.
    pub id: ResourceId,
    /// `friendlyName`, else the resource's name.
    pub name: String,
    /// `backupEngineType`: `DpmBackupEngine`, `AzureBackupServerEngine`.
    pub kind: String,
    /// `dpmVersion`.
    pub version: String,
    /// `azureBackupAgentVersion`.
    pub agent_version: String,
    /// `isDpmUpgradeAvailable`; `None` when not sent.
    pub update_available: Option<bool>,
    /// `isAzureBackupAgentUpgradeAvailable`; `None` when not sent.
    pub agent_update_available: Option<bool>,
    /// `registrationStatus`.
    pub registration: String,
    /// `backupEngineState`.
    pub state: String,
    /// `healthStatus`.
    pub health: String,
    /// `extendedInfo.protectedItemsCount`.
    pub items: Option<i64>,
    /// `extendedInfo.protectedServersCount`.
    pub servers: Option<i64>,
    /// `extendedInfo.diskCount`.
    pub disks: Option<i64>,
    /// `extendedInfo.usedDiskSpace`; the contract names no unit.
    pub used: Option<f64>,
    /// `extendedInfo.availableDiskSpace`.
    pub available: Option<f64>,
    /// `extendedInfo.refreshedAt`.
    pub refreshed: Option<Timestamp>,
}

fn number(value: &Value, pointer: &str) -> Option<f64> {
    let number = match value.pointer(pointer)? {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    number.filter(|number| number.is_finite())
}

impl FromWire for Engine {
    fn from_wire(value: &Value) -> Result<Self, Malformed> {
        let id = id(value)?;
        let friendly = text(value, "/properties/friendlyName");
        Ok(Self {
            name: if friendly.is_empty() { id.name().to_owned() } else { friendly },
            kind: text(value, "/properties/backupEngineType"),
            version: text(value, "/properties/dpmVersion"),
            agent_version: text(value, "/properties/azureBackupAgentVersion"),
            update_available: flag(value, "/properties/isDpmUpgradeAvailable"),
            agent_update_available: flag(value, "/properties/isAzureBackupAgentUpgradeAvailable"),
            registration: text(value, "/properties/registrationStatus"),
            state: text(value, "/properties/backupEngineState"),
            health: text(value, "/properties/healthStatus"),
            items: integer(value, "/properties/extendedInfo/protectedItemsCount"),
            servers: integer(value, "/properties/extendedInfo/protectedServersCount"),
            disks: integer(value, "/properties/extendedInfo/diskCount"),
            used: number(value, "/properties/extendedInfo/usedDiskSpace"),
            available: number(value, "/properties/extendedInfo/availableDiskSpace"),
            refreshed: time(value, "/properties/extendedInfo/refreshedAt"),
            id,
        })
    }
}

/// A job of a Backup Server, a DPM server or the MARS agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineJob {
    /// Resource id; the name is the job id.
    pub id: ResourceId,
    /// `dpmServerName` or `mabServerName`.
    pub server: String,
    /// `entityFriendlyName`.
    pub item: String,
    /// `workloadType`.
    pub workload: String,
    /// `Backup`, `Restore`, ...
    pub operation: String,
    /// As for jobs of VMs.
    pub status: String,
    /// Start.
    pub start: Option<Timestamp>,
    /// End.
    pub end: Option<Timestamp>,
    /// `errorDetails`: `errorString` and `recommendations` alone are in the contract.
    pub errors: Vec<JobError>,
}

impl FromWire for EngineJob {
    fn from_wire(value: &Value) -> Result<Self, Malformed> {
        let errors = objects(value, "/properties/errorDetails").map(|error| JobError {
            code: integer(error, "/errorCode").unwrap_or_default(),
            title: text(error, "/errorTitle"),
            text: text(error, "/errorString"),
            recommendations: texts(error, "/recommendations"),
        });
        Ok(Self {
            id: id(value)?,
            server: first_text(value, &["/properties/dpmServerName", "/properties/mabServerName"]),
            item: text(value, "/properties/entityFriendlyName"),
            workload: text(value, "/properties/workloadType"),
            operation: text(value, "/properties/operation"),
            status: text(value, "/properties/status"),
            start: time(value, "/properties/startTime"),
            end: time(value, "/properties/endTime"),
            errors: errors.collect(),
        })
    }
}

/// A job of a VM with how far it is.
#[derive(Debug, Clone, PartialEq)]
pub struct WatchedJob {
    /// The job with its tasks.
    pub job: Job,
    /// `extendedInfo.progressPercentage`; `None` when not sent.
    pub percent: Option<f64>,
}

impl FromWire for WatchedJob {
    fn from_wire(value: &Value) -> Result<Self, Malformed> {
        Ok(Self { job: Job::from_wire(value)?, percent: number(value, "/properties/extendedInfo/progressPercentage") })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const VAULT: &str = "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/rg/providers/Microsoft.RecoveryServices/vaults/v";

    /// The answer that azure-sdk-for-net recorded (2016): no version, no `extendedInfo`.
    #[test]
    fn an_engine_without_versions_is_read_and_nothing_is_made_up() {
        let engine = Engine::from_wire(&json!({ "id": format!("{VAULT}/backupEngines/E.CORP"), "properties": {
            "backupManagementType": "DPM", "registrationStatus": "Registered", "healthStatus": "Healthy",
            "backupEngineType": "DpmBackupEngine", "canReRegister": true, "backupEngineId": "236345",
            "extendedInfo": null } }))
        .unwrap();
        assert_eq!((engine.name.as_str(), engine.update_available, engine.items), ("E.CORP", None, None));
        assert!(Engine::from_wire(&json!({ "properties": {} })).is_err());
    }

    #[test]
    fn progress_is_a_number_or_nothing() {
        let job = |percent: Value| {
            let body = json!({ "id": format!("{VAULT}/backupJobs/j"), "properties": { "extendedInfo": { "progressPercentage": percent } } });
            WatchedJob::from_wire(&body).unwrap().percent
        };
        assert_eq!(
            (job(json!(12.5)), job(json!("40")), job(json!(null)), job(json!("NaN"))),
            (Some(12.5), Some(40.0), None, None)
        );
    }
}
