//! The only place that names an `azure_*` crate.
//!
//! Duty: the generated clients (`azure_mgmt_*` 0.21, frozen) give URLs, api-versions and typed bodies; `azure_identity`
//! 1.x gives tokens. Both send through our own transport. Invariants: a builder is used through `.send()` or, for
//! lists, by the first item of its stream, never by `.await`: awaiting polls wrongly, and sends changes again while it
//! does (pinned in `traps`). Every call may send one request only; the bridge refuses a second one.

pub(super) mod backup;
mod bridge;
pub(super) mod bulk;
pub(super) mod compute;
pub(super) mod credential;
pub(super) mod graph;
pub(super) mod inventory;
pub(super) mod locks;
pub(super) mod protection;
#[cfg(test)]
mod traps;
pub(super) mod vaults;

use super::error::ArmError;
use super::id::ResourceId;

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
