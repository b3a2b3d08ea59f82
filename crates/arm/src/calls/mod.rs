//! The typed calls to Azure Resource Manager: everything azmend reads and everything it can change, by service.
//!
//! Duty: one method of [`crate::Arm`] for each call, with our own models. The generated clients (`azure_mgmt_*` 0.21, frozen)
//! give URLs, api-versions and typed bodies, and send through our own gateway; calls that no linked client has are written
//! here. Reads are retried by the gateway and lists hold all pages; a change is sent exactly once, after its intent was
//! journaled (S2), and answers [`crate::Sent`] or a classified error.
//!
//! Invariants: a name reaches a URL only through a [`ResourceId`], whose segments are checked (S11). A builder is used through
//! `.send()` or, for lists, by the first item of its stream, never by `.await`: awaiting polls wrongly, and sends changes again
//! while it does (pinned in `traps`). Every call may send one request only; the bridge refuses a second one.
//! Must never: decide whether something should be changed. Only here and in [`crate::credential`] is an `azure_*` crate named.

mod authorization;
mod backup;
mod bridge;
mod compute;
mod engines;
mod governance;
pub mod graph;
mod jobs;
pub mod keyvault;
mod locks;
mod monitor;
mod network;
mod protection;
mod resources;
mod restore_points;
mod vaults;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod traps;

use super::error::ArmError;
use super::id::ResourceId;

/// The type of a vault.
const VAULT: &str = "Microsoft.RecoveryServices/vaults";
/// The type of a protected item.
const ITEM: &str = "Microsoft.RecoveryServices/vaults/backupFabrics/protectionContainers/protectedItems";

/// The names along `id` (outermost first) when it is of type `kind`, e.g. collection and point.
fn names<'a, const N: usize>(id: &'a ResourceId, kind: &str) -> Result<[&'a str; N], ArmError> {
    let wrong = || ArmError::refused(id.as_str(), &format!("it is not a resource of type {kind}"));
    if !id.is_type(kind) {
        return Err(wrong());
    }
    let start = id.key().rfind("/providers/").ok_or_else(wrong)?;
    let names: Vec<&str> = id.as_str()[start + "/providers/".len()..].split('/').skip(2).step_by(2).collect();
    names.try_into().map_err(|_| wrong())
}

/// The resource group of `id`.
fn group(id: &ResourceId) -> Result<&str, ArmError> {
    id.resource_group().ok_or_else(|| ArmError::refused(id.as_str(), "it is not in a resource group"))
}

fn subscription_id(guid: &str) -> Result<ResourceId, ArmError> {
    ResourceId::subscription_scope(guid).map_err(|error| ArmError::refused("a subscription", &error.to_string()))
}

fn of_type(id: &ResourceId, kind: &str) -> Result<(), ArmError> {
    if id.is_type(kind) { Ok(()) } else { Err(ArmError::refused(id.as_str(), &format!("it is not a {kind}"))) }
}

fn is_scope(scope: &ResourceId) -> Result<(), ArmError> {
    if scope.is_type("subscription") || scope.is_type("resourcegroup") {
        return Ok(());
    }
    Err(ArmError::refused(scope.as_str(), "it is not a subscription or a resource group"))
}
