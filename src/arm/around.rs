//! The typed calls about what surrounds a VM: its disks, its load, its network. All of them read.
//!
//! Invariants as in [`super::api`]: a name reaches a URL only through a [`ResourceId`].

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::api::{Arm, Listing, of_type};
use super::error::ArmError;
use super::gateway::{json, one};
use super::http::{Method, Request};
use super::id::ResourceId;
use super::model::{Disk, InstanceView, Metric, Protectable, RuleSet, Vm};
use super::poll::{Operation, PollState};
use super::sdk::protection;
use crate::clock::elapsed;

/// Api-versions, from the published OpenAPI.
const COMPUTE: &str = "2024-07-01";
const DISKS: &str = "2023-10-02";
const METRICS: &str = "2018-01-01";
const NETWORK: &str = "2024-01-01";
const BACKUP: &str = "2024-04-01";

/// How long a vault may look for VMs. Recorded: some seconds.
const DISCOVERED_WITHIN: Duration = Duration::from_secs(300);

/// How long the effective rules of one interface are waited for: longer than a person waits for a checklist helps nobody.
const RULES_WITHIN: Duration = Duration::from_secs(120);

impl Arm {
    /// One VM together with its instance view: one call where [`Arm::vm`] and [`Arm::instance_view`] are two. The view is
    /// `None` when Azure left it out.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn vm_with_view(&self, id: &ResourceId) -> Result<(Vm, Option<InstanceView>), ArmError> {
        of_type(id, "Microsoft.Compute/virtualMachines")?;
        let url = self.gateway.url(id.as_str(), &[("$expand", "instanceView"), ("api-version", COMPUTE)]);
        let summary = Request::new(Method::GET, url.clone()).summary();
        let body = self.gateway.get(url).await?;
        let view = match body.pointer("/properties/instanceView") {
            Some(view) if view.is_object() => Some(one(&summary, &body)?),
            _ => None,
        };
        Ok((one(&summary, &body)?, view))
    }

    /// One managed disk.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn disk(&self, id: &ResourceId) -> Result<Disk, ArmError> {
        of_type(id, "Microsoft.Compute/disks")?;
        self.gateway.get_one(self.gateway.url(id.as_str(), &[("api-version", DISKS)])).await
    }

    /// Averages of these metrics of a resource in steps of five minutes (contract `Metrics_List`).
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered; a metric that the resource does not have is one (400).
    pub async fn metrics(
        &self,
        id: &ResourceId,
        names: &[&str],
        from: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<Metric>, ArmError> {
        let stamp = |at: Timestamp| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let timespan = format!("{}/{}", stamp(from), stamp(until));
        let names = names.join(",");
        let query = [
            ("timespan", timespan.as_str()),
            ("interval", "PT5M"),
            ("metricnames", names.as_str()),
            ("aggregation", "Average"),
            ("api-version", METRICS),
        ];
        let url = self.gateway.url(&format!("{id}/providers/Microsoft.Insights/metrics"), &query);
        let summary = Request::new(Method::GET, url.clone()).summary();
        let body = self.gateway.get(url).await?;
        Metric::all(&body, "average").map_err(|why| ArmError::malformed(&summary, &why.to_string()))
    }

    /// What a vault could protect.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn protectable(&self, vault: &ResourceId) -> Result<Listing<Protectable>, ArmError> {
        protection::protectable(&self.gateway, vault).await
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

    /// The effective rules of a network interface: a POST that only reads, answered by a long-running operation whose
    /// result is at its `Location` (contract `NetworkInterfaces_ListEffectiveNetworkSecurityGroups`). Azure answers only
    /// while the VM runs.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered, or that it took too long.
    pub async fn effective_rules(&self, nic: &ResourceId) -> Result<Vec<RuleSet>, ArmError> {
        of_type(nic, "Microsoft.Network/networkInterfaces")?;
        let url = self.gateway.url(&format!("{nic}/effectiveNetworkSecurityGroups"), &[("api-version", NETWORK)]);
        let request = Request::new(Method::POST, url);
        let summary = request.summary();
        let response = self.gateway.send(request.clone(), None).await?;
        let body = match Operation::with_result(&self.gateway, &request, nic, &response) {
            None => json(&summary, &response)?,
            Some(operation) => self.result(operation, RULES_WITHIN).await?,
        };
        RuleSet::all(&body).map_err(|why| ArmError::malformed(&summary, &why.to_string()))
    }

    /// Waits for the result of an operation that only reads.
    async fn result(&self, mut operation: Operation, within: Duration) -> Result<Value, ArmError> {
        let begin = self.clock().now();
        loop {
            if elapsed(begin, self.clock().now()) + operation.wait() > within {
                let why = format!("Azure did not answer within {} seconds", within.as_secs());
                return Err(ArmError::malformed(&operation.request, &why));
            }
            self.clock().sleep(operation.wait()).await;
            let poll = self.poll(&operation).await?;
            match poll.state {
                PollState::InProgress => operation = poll.operation,
                PollState::Succeeded { body } => return Ok(body),
                PollState::Failed(error) | PollState::Canceled(error) => return Err(error),
                PollState::Gone => return Err(ArmError::malformed(&operation.request, "the operation is gone")),
            }
        }
    }
}
