//! Microsoft.RecoveryServices backup 2024-04-01: policies, what can be protected, and protecting or stopping an item.
//!
//! Invariants: those of [`super`]: a name reaches a URL only through a [`ResourceId`], a list holds all pages, a change is sent
//! exactly once.

use std::time::Duration;

use azure_mgmt_recoveryservicesbackup::package_2024_04 as backup;
use serde_json::{Value, json};

use super::bridge::{ask, client, first};
use super::{ITEM, VAULT, group, names, of_type};
use crate::arm::Arm;
use crate::error::ArmError;
use crate::http::{Method, Request, Tag};
use crate::id::ResourceId;
use crate::listing::Listing;
use crate::model::{Policy, Protectable};
use crate::poll::{Operation, Sent};

const POLICY: &str = "Microsoft.RecoveryServices/vaults/backupPolicies";
/// The kind of an item that is a VM of Azure Resource Manager.
const VM_ITEM: &str = "Microsoft.Compute/virtualMachines";
/// The filter azure-cli sends (recorded), for Azure VMs only.
const POLICIES_FILTER: &str = "backupManagementType eq 'AzureIaasVM'";
/// Api-version, from the published OpenAPI.
const BACKUP: &str = "2024-04-01";
/// How long a vault may look for VMs. Recorded: some seconds.
const DISCOVERED_WITHIN: Duration = Duration::from_secs(300);

/// What a protected item is to be.
#[derive(Debug, Clone, Copy)]
enum Wanted<'a> {
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

impl Arm {
    /// The policies of a vault for Azure VMs.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn policies(&self, vault: &ResourceId) -> Result<Listing<Policy>, ArmError> {
        let ([name], group) = (names(vault, VAULT)?, group(vault)?);
        let exchange = ask(&self.gateway, None, |seam| {
            let policies = client!(seam, backup)?.backup_policies_client();
            Ok(first(policies.list(name, group, vault.subscription()).filter(POLICIES_FILTER).into_stream()))
        });
        exchange.await?.pages(&self.gateway).await
    }

    /// One backup policy.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn policy(&self, id: &ResourceId) -> Result<Policy, ArmError> {
        let ([vault, policy], group) = (names(id, POLICY)?, group(id)?);
        let exchange = ask(&self.gateway, None, |seam| {
            Ok(client!(seam, backup)?.protection_policies_client().get(vault, group, id.subscription(), policy).send())
        });
        exchange.await?.one()
    }

    /// What a vault could protect: VMs of Azure Resource Manager that it has discovered.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn protectable(&self, vault: &ResourceId) -> Result<Listing<Protectable>, ArmError> {
        let ([name], group) = (names(vault, VAULT)?, group(vault)?);
        let exchange = ask(&self.gateway, None, |seam| {
            let items = client!(seam, backup)?.backup_protectable_items_client();
            Ok(first(items.list(name, group, vault.subscription()).filter(POLICIES_FILTER).into_stream()))
        });
        exchange.await?.pages(&self.gateway).await
    }

    /// Lets a vault look for VMs that it has not discovered yet, and waits until it has (contract
    /// `ProtectionContainers_Refresh`; recorded in azure-cli's test_backup_softdelete). Nothing of the user's changes.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered, or that it took too long.
    pub async fn refresh_containers(&self, vault: &ResourceId) -> Result<(), ArmError> {
        of_type(vault, "Microsoft.RecoveryServices/vaults")?;
        let url =
            self.gateway.url(&format!("{vault}/backupFabrics/Azure/refreshContainers"), &[("api-version", BACKUP)]);
        let request = Request::new(Method::POST, url);
        let response = self.gateway.send(request.clone(), None).await?;
        match Operation::with_result(&self.gateway, &request, vault, &response) {
            None => Ok(()),
            Some(operation) => self.result(operation, DISCOVERED_WITHIN).await.map(drop),
        }
    }

    /// Protects a stopped item again, with this policy. `source` is the item's own, as it was read.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered; it was sent at most once.
    pub async fn resume_protection(
        &self,
        item: &ResourceId,
        source: &str,
        policy: &ResourceId,
        tag: &Tag,
    ) -> Result<Sent, ArmError> {
        self.put_item(item, source, Wanted::Protected(policy), tag).await
    }

    /// Stops the protection of an item and keeps its data. `forget_policy`: the item loses its policy, as azure-cli
    /// does it.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered; it was sent at most once.
    pub async fn stop_protection(
        &self,
        item: &ResourceId,
        source: &str,
        forget_policy: bool,
        tag: &Tag,
    ) -> Result<Sent, ArmError> {
        let wanted = if forget_policy { Wanted::StoppedWithoutPolicy } else { Wanted::Stopped };
        self.put_item(item, source, wanted, tag).await
    }

    /// Writes a protected item. `source` is the item's own, as it was read.
    async fn put_item(&self, id: &ResourceId, source: &str, wanted: Wanted<'_>, tag: &Tag) -> Result<Sent, ArmError> {
        let ([vault, fabric, container, item], group) = (names(id, ITEM)?, group(id)?);
        let properties = wanted.properties(id, source)?;
        let body: backup::models::ProtectedItemResource = serde_json::from_value(json!({ "properties": properties }))
            .map_err(|error| {
            ArmError::refused(id.as_str(), &format!("the protected item cannot be written: {error}"))
        })?;
        let exchange = ask(&self.gateway, Some(tag.client_request_id), |seam| {
            let items = client!(seam, backup)?.protected_items_client();
            Ok(items.create_or_update(vault, group, id.subscription(), fabric, container, item, body).send())
        });
        Ok(exchange.await?.sent(&self.gateway, id))
    }
}
