//! The typed calls that only lists for people make; all of them read.
//!
//! Invariants as in [`super::api`]: a name reaches a URL only through a [`ResourceId`], lists hold all pages.

use super::api::{Arm, JobFilter, Listing};
use super::error::ArmError;
use super::id::ResourceId;
use super::model::{Engine, EngineJob, PowerRow, WatchedJob};
use super::sdk::inventory;

impl Arm {
    /// The power states of the VMs of a subscription: the list with `statusOnly=true`, never one call per VM.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn power_states(&self, subscription: &ResourceId) -> Result<Listing<PowerRow>, ArmError> {
        super::api::is_scope(subscription)?;
        inventory::power_states(&self.gateway, subscription).await
    }

    /// The Backup Servers and DPM servers of a vault.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn engines(&self, vault: &ResourceId) -> Result<Listing<Engine>, ArmError> {
        inventory::engines(&self.gateway, vault).await
    }

    /// The jobs of a vault of one `backupManagementType` other than Azure VMs: `DPM`, `AzureBackupServer`, `MAB`.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn engine_jobs(
        &self,
        vault: &ResourceId,
        management: &str,
        filter: &JobFilter,
    ) -> Result<Listing<EngineJob>, ArmError> {
        let refused = |why: String| ArmError::refused(vault.as_str(), &why);
        if management.is_empty() || !management.chars().all(|c| c.is_ascii_alphabetic()) {
            return Err(refused(format!("{management:?} is not a type of backup management")));
        }
        let odata = filter.odata_of(management, self.gateway.now()).map_err(refused)?;
        inventory::engine_jobs(&self.gateway, vault, &odata).await
    }

    /// One job with its tasks and how far it is.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn watched_job(&self, id: &ResourceId) -> Result<WatchedJob, ArmError> {
        inventory::watched_job(&self.gateway, id).await
    }
}
