//! What was typed for `role`.

use clap::Args as ClapArgs;

use super::purpose::PurposeArgs;
use crate::arm::id::ResourceId;

pub(super) const ROLE_EXAMPLES: &str = "\
Examples:
  azmend role                                    every action, and why
  azmend role --scope SUBSCRIPTION-ID -o json > role.json
  az role definition create --role-definition @role.json
  azmend role --read-only -o json                for audits and dry runs
  azmend role --without-locks                    lock removal stays with the owners";

/// `azmend role`.
#[derive(Debug, ClapArgs)]
pub struct RoleArgs {
    /// Where the role may be assigned: a subscription's id, or the resource id of a group; repeatable
    #[arg(long, value_name = "SCOPE", value_parser = role_scope)]
    pub scope: Vec<ResourceId>,
    /// The role's name, unique in the tenant
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// What for.
    #[command(flatten)]
    pub purpose: PurposeArgs,
}

fn role_scope(text: &str) -> Result<ResourceId, String> {
    let id = if text.contains('/') { ResourceId::parse(text) } else { ResourceId::subscription_scope(text) };
    let id = id.map_err(|error| error.to_string())?;
    if id.is_type("subscription") || id.is_type("resourcegroup") {
        return Ok(id);
    }
    Err("a role can be assigned at a subscription or a resource group: give the id of one".to_owned())
}
