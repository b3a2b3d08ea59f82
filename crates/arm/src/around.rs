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
use super::model::{Disk, Extension, FromWire as _, InstanceView, Metric, Protectable, RuleSet, Vm};
use super::poll::{Operation, PollState};
use super::sdk::protection;
use azmend_base::clock::elapsed;

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

/// What a VM's own GET carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WholeVm {
    /// The VM.
    pub vm: Vm,
    /// Its instance view; `None` when Azure left it out.
    pub view: Option<InstanceView>,
    /// Its extension resources; `None` when the answer does not have them for certain, then only their list tells.
    pub extensions: Option<Vec<Extension>>,
}

/// The extension resources in the answer of a VM's GET, when it is certain that the answer has all of them.
///
/// That `resources` is missing when there are none is recorded; that it is never missing otherwise is not documented. So
/// the instance view of the same answer must agree: every extension and every handler that it tells of is there (but for
/// VMSnapshot, which Azure hides), and of an encrypted VM the extension that encrypts.
fn extensions_in(body: &Value, vm: &Vm, view: &InstanceView) -> Option<Vec<Extension>> {
    let rows = match body.get("resources") {
        None | Some(Value::Null) => &[][..],
        Some(Value::Array(rows)) => rows.as_slice(),
        Some(_) => return None,
    };
    let mut found = Vec::new();
    for row in rows {
        let mut extension = Extension::from_wire(row).ok().filter(|one| !one.kind.is_empty())?;
        let told = view.extensions.iter().find(|told| told.name.eq_ignore_ascii_case(extension.id.name()));
        // The message is in the instance view alone.
        if let Some(status) = told.and_then(|told| told.statuses.first()) {
            extension.message.clone_from(&status.message);
        }
        found.push(extension);
    }
    let named = |name: &str| found.iter().any(|one| one.id.name().eq_ignore_ascii_case(name));
    let of_kind = |kind: &str| {
        kind.to_ascii_lowercase().contains("recoveryservices.vmsnapshot")
            || found.iter().any(|one| format!("{}.{}", one.publisher, one.kind).eq_ignore_ascii_case(kind))
    };
    let encrypted = !view.encryption.is_empty() || !vm.encryption.is_empty();
    let encrypts = |one: &Extension| one.kind.to_ascii_lowercase().starts_with("azurediskencryption");
    let agrees = view.extensions.iter().all(|told| named(&told.name))
        && view.handlers.iter().all(|handler| of_kind(&handler.kind))
        && (!encrypted || found.iter().any(encrypts));
    agrees.then_some(found)
}

impl Arm {
    /// One VM together with its instance view: one call where [`Arm::vm`] and [`Arm::instance_view`] are two. The view is
    /// `None` when Azure left it out.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn vm_with_view(&self, id: &ResourceId) -> Result<(Vm, Option<InstanceView>), ArmError> {
        self.whole_vm(id).await.map(|whole| (whole.vm, whole.view))
    }

    /// One VM with everything that its own GET carries: the instance view (`$expand=instanceView`), and the extension
    /// resources (`resources`; 22 of 22 recorded GETs of VMs with extensions have them in full, lists only their ids).
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn whole_vm(&self, id: &ResourceId) -> Result<WholeVm, ArmError> {
        of_type(id, "Microsoft.Compute/virtualMachines")?;
        let url = self.gateway.url(id.as_str(), &[("$expand", "instanceView"), ("api-version", COMPUTE)]);
        let summary = Request::new(Method::GET, url.clone()).summary();
        let body = self.gateway.get(url).await?;
        let view: Option<InstanceView> = match body.pointer("/properties/instanceView") {
            Some(view) if view.is_object() => Some(one(&summary, &body)?),
            _ => None,
        };
        let vm: Vm = one(&summary, &body)?;
        let extensions = view.as_ref().and_then(|view| extensions_in(&body, &vm, view));
        Ok(WholeVm { vm, view, extensions })
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
