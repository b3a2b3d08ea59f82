//! Microsoft.RecoveryServices backup 2024-04-01: items, recovery points, policies, jobs, on-demand backups.

use azure_mgmt_recoveryservicesbackup::package_2024_04 as backup;
use jiff::Timestamp;
use serde_json::json;
use uuid::Uuid;

use super::bridge::{ask, client, first};
use super::vaults::VAULT;
use super::{group, names};
use crate::api::{Listing, Sent};
use crate::error::ArmError;
use crate::gateway::Gateway;
use crate::id::ResourceId;
use crate::model::{BackupStatus, FromWire, Job, Malformed, Policy, ProtectedItem, RecoveryPoint};

pub(super) const ITEM: &str = "Microsoft.RecoveryServices/vaults/backupFabrics/protectionContainers/protectedItems";
const POLICY: &str = "Microsoft.RecoveryServices/vaults/backupPolicies";
const JOB: &str = "Microsoft.RecoveryServices/vaults/backupJobs";

/// The filter azure-cli sends (recorded), for Azure VMs only.
const ITEMS_FILTER: &str = "backupManagementType eq 'AzureIaasVM' and itemType eq 'VM'";

/// The vault that protects a VM. A POST that only reads.
pub async fn status(gateway: &Gateway, vm: &ResourceId, region: &str) -> Result<BackupStatus, ArmError> {
    if region.is_empty() || !region.chars().all(|c| c.is_ascii_alphanumeric()) {
        return Err(ArmError::refused(vm.as_str(), &format!("{region:?} is not the name of a region")));
    }
    let mut body = backup::models::BackupStatusRequest::new();
    body.resource_type = Some(backup::models::backup_status_request::ResourceType::Vm);
    body.resource_id = Some(vm.as_str().to_owned());
    let exchange = ask(gateway, None, |seam| {
        Ok(client!(seam, backup)?.backup_status_client().get(region, vm.subscription(), body).send())
    });
    exchange.await?.one()
}

/// The protected Azure VMs of a vault, in any state.
pub async fn items(gateway: &Gateway, vault: &ResourceId) -> Result<Listing<ProtectedItem>, ArmError> {
    let ([name], group) = (names(vault, VAULT)?, group(vault)?);
    let exchange = ask(gateway, None, |seam| {
        let items = client!(seam, backup)?.backup_protected_items_client();
        Ok(first(items.list(name, group, vault.subscription()).filter(ITEMS_FILTER).into_stream()))
    });
    exchange.await?.pages(gateway).await
}

/// One protected item.
pub async fn item(gateway: &Gateway, id: &ResourceId) -> Result<ProtectedItem, ArmError> {
    let ([vault, fabric, container, item], group) = (names(id, ITEM)?, group(id)?);
    let exchange = ask(gateway, None, |seam| {
        let items = client!(seam, backup)?.protected_items_client();
        Ok(items.get(vault, group, id.subscription(), fabric, container, item).send())
    });
    exchange.await?.one()
}

/// The recovery points of an item.
pub async fn recovery_points(gateway: &Gateway, id: &ResourceId) -> Result<Listing<RecoveryPoint>, ArmError> {
    let ([vault, fabric, container, item], group) = (names(id, ITEM)?, group(id)?);
    let exchange = ask(gateway, None, |seam| {
        let points = client!(seam, backup)?.recovery_points_client();
        Ok(first(points.list(vault, group, id.subscription(), fabric, container, item).into_stream()))
    });
    exchange.await?.pages(gateway).await
}

/// One policy.
pub async fn policy(gateway: &Gateway, id: &ResourceId) -> Result<Policy, ArmError> {
    let ([vault, policy], group) = (names(id, POLICY)?, group(id)?);
    let exchange = ask(gateway, None, |seam| {
        Ok(client!(seam, backup)?.protection_policies_client().get(vault, group, id.subscription(), policy).send())
    });
    exchange.await?.one()
}

/// The jobs of a vault that fit an OData filter.
pub async fn jobs(gateway: &Gateway, vault: &ResourceId, filter: &str) -> Result<Listing<Job>, ArmError> {
    let ([name], group) = (names(vault, VAULT)?, group(vault)?);
    let exchange = ask(gateway, None, |seam| {
        let jobs = client!(seam, backup)?.backup_jobs_client();
        Ok(first(jobs.list(name, group, vault.subscription()).filter(filter).into_stream()))
    });
    exchange.await?.pages(gateway).await
}

/// One job with its tasks.
pub async fn job(gateway: &Gateway, id: &ResourceId) -> Result<Job, ArmError> {
    let ([vault, job], group) = (names(id, JOB)?, group(id)?);
    let exchange = ask(gateway, None, |seam| {
        Ok(client!(seam, backup)?.job_details_client().get(vault, group, id.subscription(), job).send())
    });
    exchange.await?.one()
}

/// Cancels a job.
pub async fn cancel(gateway: &Gateway, id: &ResourceId, tag: Uuid) -> Result<Sent, ArmError> {
    let ([vault, job], group) = (names(id, JOB)?, group(id)?);
    let exchange = ask(gateway, Some(tag), |seam| {
        Ok(client!(seam, backup)?.job_cancellations_client().trigger(vault, group, id.subscription(), job).send())
    });
    Ok(exchange.await?.sent(gateway, id))
}

/// Any element counts: only whether there is one matters.
struct Something;

impl FromWire for Something {
    fn from_wire(_: &serde_json::Value) -> Result<Self, Malformed> {
        Ok(Self)
    }
}

/// Whether the vault has a resource guard proxy (multi-user authorization).
pub async fn resource_guarded(gateway: &Gateway, vault: &ResourceId) -> Result<bool, ArmError> {
    let ([name], group) = (names(vault, VAULT)?, group(vault)?);
    let exchange = ask(gateway, None, |seam| {
        let proxies = client!(seam, backup)?.resource_guard_proxies_client();
        Ok(first(proxies.get(name, group, vault.subscription()).into_stream()))
    });
    let proxies: Listing<Something> = exchange.await?.pages(gateway).await?;
    Ok(!proxies.items.is_empty())
}

/// Starts an on-demand backup whose recovery point is kept until `retain_until`.
pub async fn start(gateway: &Gateway, id: &ResourceId, retain_until: Timestamp, tag: Uuid) -> Result<Sent, ArmError> {
    let ([vault, fabric, container, item], group) = (names(id, ITEM)?, group(id)?);
    // The typed body holds a date of a crate azmend does not use: it is made from its own JSON.
    let until = Timestamp::from_second(retain_until.as_second()).unwrap_or(retain_until).to_string();
    let properties = json!({ "objectType": "IaasVMBackupRequest", "recoveryPointExpiryTimeInUTC": until });
    let body: backup::models::BackupRequestResource = serde_json::from_value(json!({ "properties": properties }))
        .map_err(|error| ArmError::refused(id.as_str(), &format!("the backup request cannot be written: {error}")))?;
    let exchange = ask(gateway, Some(tag), |seam| {
        let backups = client!(seam, backup)?.backups_client();
        Ok(backups.trigger(vault, group, id.subscription(), fabric, container, item, body).send())
    });
    Ok(exchange.await?.sent(gateway, id))
}
