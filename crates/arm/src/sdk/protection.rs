//! Microsoft.RecoveryServices backup 2024-04-01: protecting an item again, stopping it, and the policies to choose from.

use azure_mgmt_recoveryservicesbackup::package_2024_04 as backup;
use serde_json::{Value, json};
use uuid::Uuid;

use super::backup::ITEM;
use super::bridge::{ask, client, first};
use super::vaults::VAULT;
use super::{group, names};
use crate::api::{Listing, Sent};
use crate::error::ArmError;
use crate::gateway::Gateway;
use crate::id::ResourceId;
use crate::model::{Policy, Protectable};

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

/// What a vault could protect: VMs of Azure Resource Manager that it has discovered.
pub async fn protectable(gateway: &Gateway, vault: &ResourceId) -> Result<Listing<Protectable>, ArmError> {
    let ([name], group) = (names(vault, VAULT)?, group(vault)?);
    let exchange = ask(gateway, None, |seam| {
        let items = client!(seam, backup)?.backup_protectable_items_client();
        Ok(first(items.list(name, group, vault.subscription()).filter(POLICIES_FILTER).into_stream()))
    });
    exchange.await?.pages(gateway).await
}

/// What a protected item is to be.
#[derive(Debug, Clone, Copy)]
pub enum Wanted<'a> {
    /// Protected under this policy.
    Protected(&'a ResourceId),
    /// Stopped, with its data and its policy. (The contract's example `StopProtection` names none, and the item keeps it.)
    Stopped,
    /// Stopped, with its data, without a policy. (As azure-cli sends it; recorded.)
    StoppedWithoutPolicy,
}

impl Wanted<'_> {
    fn properties(self, id: &ResourceId, source: &str) -> Result<Value, ArmError> {
        // The source of an item is a VM, whatever a journal or Azure says (S11).
        let vm = ResourceId::parse(source).ok().filter(|vm| vm.is_type(VM_ITEM));
        let vm = vm.ok_or_else(|| ArmError::refused(id.as_str(), "the source of the item is not a virtual machine"))?;
        let mut properties = json!({ "protectedItemType": VM_ITEM, "sourceResourceId": vm.as_str() });
        if let Self::Protected(policy) = self {
            properties["policyId"] = json!(policy.as_str());
        } else {
            properties["protectionState"] = json!("ProtectionStopped");
        }
        if let Self::StoppedWithoutPolicy = self {
            properties["policyId"] = json!("");
        }
        Ok(properties)
    }
}

/// Writes a protected item. `source` is the item's own, as it was read.
pub async fn put(
    gateway: &Gateway,
    id: &ResourceId,
    source: &str,
    wanted: Wanted<'_>,
    tag: Uuid,
) -> Result<Sent, ArmError> {
    let ([vault, fabric, container, item], group) = (names(id, ITEM)?, group(id)?);
    let properties = wanted.properties(id, source)?;
    let body: backup::models::ProtectedItemResource = serde_json::from_value(json!({ "properties": properties }))
        .map_err(|error| ArmError::refused(id.as_str(), &format!("the protected item cannot be written: {error}")))?;
    let exchange = ask(gateway, Some(tag), |seam| {
        let items = client!(seam, backup)?.protected_items_client();
        Ok(items.create_or_update(vault, group, id.subscription(), fabric, container, item, body).send())
    });
    Ok(exchange.await?.sent(gateway, id))
}
