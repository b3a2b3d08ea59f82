//! What was typed for `vms`.

use clap::Args as ClapArgs;

pub(super) const VMS_EXAMPLES: &str = "\
Examples:
  azmend vms                                 every VM of the visible subscriptions
  azmend vms --unprotected -s 'Contoso Production'
  azmend vms --resource-group rg-shop -o json";

/// `azmend vms`.
#[derive(Debug, ClapArgs)]
pub struct VmsArgs {
    /// Only the VMs of this resource group
    #[arg(long, value_name = "GROUP")]
    pub resource_group: Option<String>,
    /// Only VMs that are not known to be backed up: no, stopped, deleted, unknown
    #[arg(long)]
    pub unprotected: bool,
}
