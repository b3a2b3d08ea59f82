//! Microsoft.RecoveryServices backup 2024-04-01: protecting an item again, stopping it, and the policies to choose from.

use azure_mgmt_recoveryservicesbackup::package_2024_04 as backup;
use serde_json::{Value, json};
use uuid::Uuid;

use super::backup::ITEM;
use super::bridge::{ask, client, first};
use super::vaults::VAULT;
use super::{group, names};
use crate::arm::api::{Listing, Sent};
use crate::arm::error::ArmError;
use crate::arm::gateway::Gateway;
use crate::arm::id::ResourceId;
use crate::arm::model::Policy;

/// The kind of an item that is a VM of Azure Resource Manager.
const VM_ITEM: &str = "Microsoft.Compute/virtualMachines";

/// The filter azure-cli sends (recorded), for Azure VMs only.
const POLICIES_FILTER: &str = "backupManagementType eq 'AzureIaasVM'";

/// The policies of a vault for Azure VMs.
pub async fn policies(gateway: &Gateway, vault: &ResourceId) -> Result<Listing<Policy>, ArmError> {
    let ([name], group) = (names(vault, VAULT)?, group(vault)?);
    let exchange = ask(gateway, None, |seam| {
        let policies = client!(seam, backup)?.backup_policies_client();
        Ok(first(policies.list(name, group, vault.subscription()).filter(POLICIES_FILTER).into_stream()))
    });
    exchange.await?.pages(gateway).await
}

/// Protects a stopped item again.
pub async fn resume(
    gateway: &Gateway,
    id: &ResourceId,
    source: &str,
    policy: &ResourceId,
    tag: Uuid,
) -> Result<Sent, ArmError> {
    let properties =
        json!({ "protectedItemType": VM_ITEM, "sourceResourceId": checked(id, source)?, "policyId": policy.as_str() });
    put(gateway, id, properties, tag).await
}

/// Stops the protection of an item and keeps its data. The contract's example `StopProtection` names no policy, and the
/// item keeps its own; azure-cli (recorded) sends an empty one, and the item has none afterwards.
pub async fn stop(
    gateway: &Gateway,
    id: &ResourceId,
    source: &str,
    forget_policy: bool,
    tag: Uuid,
) -> Result<Sent, ArmError> {
    let mut properties = json!({
        "protectedItemType": VM_ITEM, "sourceResourceId": checked(id, source)?, "protectionState": "ProtectionStopped"
    });
    if forget_policy {
        properties["policyId"] = json!("");
    }
    put(gateway, id, properties, tag).await
}

/// The source of an item is a VM, whatever a journal or Azure says (S11).
fn checked(id: &ResourceId, source: &str) -> Result<String, ArmError> {
    match ResourceId::parse(source) {
        Ok(vm) if vm.is_type(VM_ITEM) => Ok(vm.as_str().to_owned()),
        _ => Err(ArmError::refused(id.as_str(), "the source of the item is not a virtual machine")),
    }
}

async fn put(gateway: &Gateway, id: &ResourceId, properties: Value, tag: Uuid) -> Result<Sent, ArmError> {
    let ([vault, fabric, container, item], group) = (names(id, ITEM)?, group(id)?);
    let body: backup::models::ProtectedItemResource = serde_json::from_value(json!({ "properties": properties }))
        .map_err(|error| ArmError::refused(id.as_str(), &format!("the protected item cannot be written: {error}")))?;
    let exchange = ask(gateway, Some(tag), |seam| {
        let items = client!(seam, backup)?.protected_items_client();
        Ok(items.create_or_update(vault, group, id.subscription(), fabric, container, item, body).send())
    });
    Ok(exchange.await?.sent(gateway, id))
}
