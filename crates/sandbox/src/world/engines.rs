//! Backup Servers (MABS) and System Center DPM servers of a vault, and their jobs: they run on premises, so nothing that
//! azmend does changes them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::JobStatus;
use azmend_arm::id::ResourceId;

/// A backup engine of a vault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Engine {
    /// Its id: `{vault}/backupEngines/{name}`.
    pub id: ResourceId,
    /// A DPM server; else a Backup Server.
    pub dpm: bool,
    /// `dpmVersion`; empty when it is not sent.
    pub version: String,
    /// `azureBackupAgentVersion`.
    pub agent: String,
    /// `isDpmUpgradeAvailable`.
    pub update: bool,
    /// `isAzureBackupAgentUpgradeAvailable`.
    pub agent_update: bool,
    /// `healthStatus`.
    pub health: String,
    /// `registrationStatus`.
    pub registration: String,
    /// `extendedInfo.protectedItemsCount`.
    pub items: u32,
    /// `extendedInfo.protectedServersCount`.
    pub servers: u32,
    /// `extendedInfo.diskCount`.
    pub disks: u32,
    /// `extendedInfo.usedDiskSpace`.
    pub used: u32,
    /// `extendedInfo.availableDiskSpace`.
    pub available: u32,
    /// `extendedInfo.refreshedAt`.
    pub refreshed: Option<Timestamp>,
}

/// A job of an engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineJob {
    /// The engine.
    pub engine: ResourceId,
    /// Its name, a GUID.
    pub name: String,
    /// Backup, Restore, ...
    pub operation: String,
    /// What is protected.
    pub item: String,
    /// `workloadType`.
    pub workload: String,
    /// Its state.
    pub status: JobStatus,
    /// Start.
    pub started: Timestamp,
    /// End.
    pub ended: Option<Timestamp>,
    /// `errorString`; empty when nothing went wrong.
    pub error: String,
    /// `recommendations`.
    pub recommendations: Vec<String>,
}
