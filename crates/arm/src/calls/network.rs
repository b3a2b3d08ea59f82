//! Microsoft.Network: the effective rules of a network interface.
//!
//! Invariants: those of [`super`]: a name reaches a URL only through a [`ResourceId`], a list holds all pages, a change is sent
//! exactly once.

use std::time::Duration;

use super::of_type;
use crate::arm::Arm;
use crate::error::ArmError;
use crate::gateway::json;
use crate::http::{Method, Request};
use crate::id::ResourceId;
use crate::model::RuleSet;
use crate::poll::Operation;

/// Api-version, from the published OpenAPI.
const NETWORK: &str = "2024-01-01";
/// How long the effective rules of one interface are waited for: longer than a person waits for a checklist helps nobody.
const RULES_WITHIN: Duration = Duration::from_secs(120);

impl Arm {
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
}
