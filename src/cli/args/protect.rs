//! What was typed for `protect`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueHint};

use crate::duration::Span;

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
    /// Show the plan and change nothing (exit 3)
    #[arg(short = 'n', long, conflicts_with_all = ["yes", "plan_out"])]
    pub dry_run: bool,
    /// Do not ask for confirmation; every safety rule still applies
    #[arg(short, long)]
    pub yes: bool,
    /// Save the plan to FILE and stop (exit 3); `azmend apply FILE` protects it
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "yes")]
    pub plan_out: Option<PathBuf>,
    /// Stop cleanly after this time (90s, 45m, 2h45m); the run can be resumed (exit 7)
    #[arg(long, value_name = "TIME", env = "AZMEND_DEADLINE")]
    pub deadline: Option<Span>,
}
