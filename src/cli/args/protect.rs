//! What was typed for `protect`.

use clap::Args as ClapArgs;

use super::fix::AfterPlan;

pub(super) const PROTECT_EXAMPLES: &str = "\
Examples:
  azmend protect --vm web-01 --vault bkp-vault --policy daily --dry-run     what would be done (exit 3)
  azmend protect --vm rg-shop/web-01 --vault bkp-vault --policy daily --yes
  azmend runs undo RUN                              stop it again, keeping what was backed up in the meantime";

/// `azmend protect`.
#[derive(Debug, ClapArgs)]
pub struct ProtectArgs {
    /// The VM: name, group/name or resource id
    #[arg(long, value_name = "VM")]
    pub vm: String,
    /// The vault: a name in the VM's subscription, or a resource id
    #[arg(long, value_name = "VAULT")]
    pub vault: String,
    /// The name of a policy of that vault for Azure VMs
    #[arg(long, value_name = "POLICY")]
    pub policy: String,
    /// What is done with the plan.
    #[command(flatten)]
    pub then: AfterPlan,
}
