//! Reads of lists for people: power states (Microsoft.Compute 2024-07-01), backup engines, jobs of other types than
//! Azure VMs (Microsoft.RecoveryServices backup 2024-04-01).

use azure_mgmt_compute::package_2024_07_01 as compute;
use azure_mgmt_recoveryservicesbackup::package_2024_04 as backup;

use super::bridge::{ask, client, first};
use super::vaults::VAULT;
use super::{group, names};
use crate::api::Listing;
use crate::error::ArmError;
use crate::gateway::Gateway;
use crate::id::ResourceId;
use crate::model::{Engine, EngineJob, PowerRow, WatchedJob};

const JOB: &str = "Microsoft.RecoveryServices/vaults/backupJobs";

/// The run-time status of every VM of a subscription, in one list.
pub async fn power_states(gateway: &Gateway, scope: &ResourceId) -> Result<Listing<PowerRow>, ArmError> {
    let exchange = ask(gateway, None, |seam| {
        let vms = client!(seam, compute)?.virtual_machines_client();
        Ok(first(vms.list_all(scope.subscription()).status_only("true").into_stream()))
    });
    exchange.await?.pages(gateway).await
}

/// The backup engines of a vault.
pub async fn engines(gateway: &Gateway, vault: &ResourceId) -> Result<Listing<Engine>, ArmError> {
    let ([name], group) = (names(vault, VAULT)?, group(vault)?);
    let exchange = ask(gateway, None, |seam| {
        let engines = client!(seam, backup)?.backup_engines_client();
        Ok(first(engines.list(name, group, vault.subscription()).into_stream()))
    });
    exchange.await?.pages(gateway).await
}

/// The jobs of engines that fit an OData filter.
pub async fn engine_jobs(gateway: &Gateway, vault: &ResourceId, filter: &str) -> Result<Listing<EngineJob>, ArmError> {
    let ([name], group) = (names(vault, VAULT)?, group(vault)?);
    let exchange = ask(gateway, None, |seam| {
        let jobs = client!(seam, backup)?.backup_jobs_client();
        Ok(first(jobs.list(name, group, vault.subscription()).filter(filter).into_stream()))
    });
    exchange.await?.pages(gateway).await
}

/// One job with its tasks and how far it is.
pub async fn watched_job(gateway: &Gateway, id: &ResourceId) -> Result<WatchedJob, ArmError> {
    let ([vault, job], group) = (names(id, JOB)?, group(id)?);
    let exchange = ask(gateway, None, |seam| {
        Ok(client!(seam, backup)?.job_details_client().get(vault, group, id.subscription(), job).send())
    });
    exchange.await?.one()
}
