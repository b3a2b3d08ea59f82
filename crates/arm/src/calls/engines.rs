//! Microsoft.RecoveryServices backup 2024-04-01: Backup Servers and DPM servers, and their jobs. All of them read.
//!
//! Invariants: those of [`super`]: a name reaches a URL only through a [`ResourceId`], a list holds all pages, a change is sent
//! exactly once.

use azure_mgmt_recoveryservicesbackup::package_2024_04 as backup;

use super::bridge::{ask, client, first};
use super::{VAULT, group, names};
use crate::arm::Arm;
use crate::error::ArmError;
use crate::id::ResourceId;
use crate::listing::Listing;
use crate::model::{Engine, EngineJob, JobFilter};

impl Arm {
    /// The Backup Servers and DPM servers of a vault.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn engines(&self, vault: &ResourceId) -> Result<Listing<Engine>, ArmError> {
        let ([name], group) = (names(vault, VAULT)?, group(vault)?);
        let exchange = ask(&self.gateway, None, |seam| {
            let engines = client!(seam, backup)?.backup_engines_client();
            Ok(first(engines.list(name, group, vault.subscription()).into_stream()))
        });
        exchange.await?.pages(&self.gateway).await
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
        self.list_engine_jobs(vault, &odata).await
    }

    async fn list_engine_jobs(&self, vault: &ResourceId, filter: &str) -> Result<Listing<EngineJob>, ArmError> {
        let ([name], group) = (names(vault, VAULT)?, group(vault)?);
        let exchange = ask(&self.gateway, None, |seam| {
            let jobs = client!(seam, backup)?.backup_jobs_client();
            Ok(first(jobs.list(name, group, vault.subscription()).filter(filter).into_stream()))
        });
        exchange.await?.pages(&self.gateway).await
    }
}
