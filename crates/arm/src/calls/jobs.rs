//! Microsoft.RecoveryServices backup 2024-04-01: jobs.
//!
//! Invariants: those of [`super`]: a name reaches a URL only through a [`ResourceId`], a list holds all pages, a change is sent
//! exactly once.

use azure_mgmt_recoveryservicesbackup::package_2024_04 as backup;

use super::bridge::{ask, client, first};
use super::{VAULT, group, names};
use crate::arm::Arm;
use crate::error::ArmError;
use crate::http::Tag;
use crate::id::ResourceId;
use crate::listing::Listing;
use crate::model::{Job, JobFilter, WatchedJob};
use crate::poll::Sent;

const JOB: &str = "Microsoft.RecoveryServices/vaults/backupJobs";

impl Arm {
    /// The jobs of a vault for Azure VMs; every operation, restores included.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn jobs(&self, vault: &ResourceId, filter: &JobFilter) -> Result<Listing<Job>, ArmError> {
        let odata = filter.odata(self.gateway.now()).map_err(|why| ArmError::refused(vault.as_str(), &why))?;
        let read = self.list_jobs(vault, &odata);
        match &self.jobs {
            None => read.await,
            Some(shared) => shared.get(vault, filter, self.gateway.now(), read).await,
        }
    }

    async fn list_jobs(&self, vault: &ResourceId, filter: &str) -> Result<Listing<Job>, ArmError> {
        let ([name], group) = (names(vault, VAULT)?, group(vault)?);
        let exchange = ask(&self.gateway, None, |seam| {
            let jobs = client!(seam, backup)?.backup_jobs_client();
            Ok(first(jobs.list(name, group, vault.subscription()).filter(filter).into_stream()))
        });
        exchange.await?.pages(&self.gateway).await
    }

    /// One job with its tasks.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn job(&self, id: &ResourceId) -> Result<Job, ArmError> {
        let ([vault, job], group) = (names(id, JOB)?, group(id)?);
        let exchange = ask(&self.gateway, None, |seam| {
            Ok(client!(seam, backup)?.job_details_client().get(vault, group, id.subscription(), job).send())
        });
        exchange.await?.one()
    }

    /// One job with its tasks and how far it is.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn watched_job(&self, id: &ResourceId) -> Result<WatchedJob, ArmError> {
        let ([vault, job], group) = (names(id, JOB)?, group(id)?);
        let exchange = ask(&self.gateway, None, |seam| {
            Ok(client!(seam, backup)?.job_details_client().get(vault, group, id.subscription(), job).send())
        });
        exchange.await?.one()
    }

    /// Cancels a job.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered; it was sent at most once.
    pub async fn cancel_job(&self, id: &ResourceId, tag: &Tag) -> Result<Sent, ArmError> {
        let ([vault, job], group) = (names(id, JOB)?, group(id)?);
        let exchange = ask(&self.gateway, Some(tag.client_request_id), |seam| {
            Ok(client!(seam, backup)?.job_cancellations_client().trigger(vault, group, id.subscription(), job).send())
        });
        Ok(exchange.await?.sent(&self.gateway, id))
    }
}
