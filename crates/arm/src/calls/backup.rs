//! Microsoft.RecoveryServices backup 2024-04-01: protected items, recovery points, on-demand backups.
//!
//! Invariants: those of [`super`]: a name reaches a URL only through a [`ResourceId`], a list holds all pages, a change is sent
//! exactly once.

use azure_mgmt_recoveryservicesbackup::package_2024_04 as backup;
use jiff::Timestamp;
use serde_json::json;

use super::bridge::{ask, client, first};
use super::{ITEM, VAULT, group, names};
use crate::arm::Arm;
use crate::error::ArmError;
use crate::http::Tag;
use crate::id::ResourceId;
use crate::listing::Listing;
use crate::model::{BackupStatus, FromWire, Malformed, ProtectedItem, RecoveryPoint};
use crate::poll::Sent;

/// The filter azure-cli sends (recorded), for Azure VMs only.
const ITEMS_FILTER: &str = "backupManagementType eq 'AzureIaasVM' and itemType eq 'VM'";

/// Any element counts: only whether there is one matters.
struct Something;

impl FromWire for Something {
    fn from_wire(_: &serde_json::Value) -> Result<Self, Malformed> {
        Ok(Self)
    }
}

impl Arm {
    /// The vault that protects a VM. A POST that only reads.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn backup_status(&self, vm: &ResourceId, region: &str) -> Result<BackupStatus, ArmError> {
        if region.is_empty() || !region.chars().all(|c| c.is_ascii_alphanumeric()) {
            return Err(ArmError::refused(vm.as_str(), &format!("{region:?} is not the name of a region")));
        }
        let mut body = backup::models::BackupStatusRequest::new();
        body.resource_type = Some(backup::models::backup_status_request::ResourceType::Vm);
        body.resource_id = Some(vm.as_str().to_owned());
        let exchange = ask(&self.gateway, None, |seam| {
            Ok(client!(seam, backup)?.backup_status_client().get(region, vm.subscription(), body).send())
        });
        exchange.await?.one()
    }

    /// Whether the vault has a resource guard proxy (multi-user authorization).
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn resource_guarded(&self, vault: &ResourceId) -> Result<bool, ArmError> {
        let ([name], group) = (names(vault, VAULT)?, group(vault)?);
        let exchange = ask(&self.gateway, None, |seam| {
            let proxies = client!(seam, backup)?.resource_guard_proxies_client();
            Ok(first(proxies.get(name, group, vault.subscription()).into_stream()))
        });
        let proxies: Listing<Something> = exchange.await?.pages(&self.gateway).await?;
        Ok(!proxies.items.is_empty())
    }

    /// The protected Azure VMs of a vault, in any state.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn protected_items(&self, vault: &ResourceId) -> Result<Listing<ProtectedItem>, ArmError> {
        let ([name], group) = (names(vault, VAULT)?, group(vault)?);
        let exchange = ask(&self.gateway, None, |seam| {
            let items = client!(seam, backup)?.backup_protected_items_client();
            Ok(first(items.list(name, group, vault.subscription()).filter(ITEMS_FILTER).into_stream()))
        });
        exchange.await?.pages(&self.gateway).await
    }

    /// One protected item.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn protected_item(&self, id: &ResourceId) -> Result<ProtectedItem, ArmError> {
        let ([vault, fabric, container, item], group) = (names(id, ITEM)?, group(id)?);
        let exchange = ask(&self.gateway, None, |seam| {
            let items = client!(seam, backup)?.protected_items_client();
            Ok(items.get(vault, group, id.subscription(), fabric, container, item).send())
        });
        exchange.await?.one()
    }

    /// The recovery points of a protected item.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn recovery_points(&self, id: &ResourceId) -> Result<Listing<RecoveryPoint>, ArmError> {
        let ([vault, fabric, container, item], group) = (names(id, ITEM)?, group(id)?);
        let exchange = ask(&self.gateway, None, |seam| {
            let points = client!(seam, backup)?.recovery_points_client();
            Ok(first(points.list(vault, group, id.subscription(), fabric, container, item).into_stream()))
        });
        exchange.await?.pages(&self.gateway).await
    }

    /// Starts an on-demand backup whose recovery point is kept until `retain_until`.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered; it was sent at most once.
    pub async fn start_backup(&self, id: &ResourceId, retain_until: Timestamp, tag: &Tag) -> Result<Sent, ArmError> {
        let ([vault, fabric, container, item], group) = (names(id, ITEM)?, group(id)?);
        // The typed body holds a date of a crate azmend does not use: it is made from its own JSON.
        let until = Timestamp::from_second(retain_until.as_second()).unwrap_or(retain_until).to_string();
        let properties = json!({ "objectType": "IaasVMBackupRequest", "recoveryPointExpiryTimeInUTC": until });
        let body: backup::models::BackupRequestResource = serde_json::from_value(json!({ "properties": properties }))
            .map_err(|error| {
            ArmError::refused(id.as_str(), &format!("the backup request cannot be written: {error}"))
        })?;
        let exchange = ask(&self.gateway, Some(tag.client_request_id), |seam| {
            let backups = client!(seam, backup)?.backups_client();
            Ok(backups.trigger(vault, group, id.subscription(), fabric, container, item, body).send())
        });
        Ok(exchange.await?.sent(&self.gateway, id))
    }
}
