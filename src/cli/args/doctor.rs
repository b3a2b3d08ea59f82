//! What was typed for `doctor`.

use clap::Args as ClapArgs;

use super::purpose::PurposeArgs;

pub(super) const DOCTOR_EXAMPLES: &str = "\
Examples:
  azmend doctor                                  every visible subscription
  azmend doctor --vm rg-shop/web-01              at the scopes of one VM
  azmend doctor --playbook backup-now -o json    one playbook, for a pipeline
  azmend doctor --read-only                      is it enough for audits and dry runs?";

/// `azmend doctor`.
#[derive(Debug, ClapArgs)]
pub struct DoctorArgs {
    /// The VM: name, group/name or resource id [default: every visible subscription]
    #[arg(long, value_name = "VM")]
    pub vm: Option<String>,
    /// What for.
    #[command(flatten)]
    pub purpose: PurposeArgs,
}
