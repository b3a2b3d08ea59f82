//! What was typed for `backup`.

use clap::{Args as ClapArgs, ValueEnum};

use super::fix::AfterPlan;
use crate::duration::Span;

pub(super) const BACKUP_EXAMPLES: &str = "\
Examples:
  azmend backup --vm web-01 --dry-run              what would be done (exit 3)
  azmend backup --vm rg-shop/web-01 --retain 14d --yes
  azmend backup --vm web-01 --follow job --yes     wait until the data is in the vault";

/// How far a backup is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FollowArg {
    /// Until the snapshot is taken
    Snapshot,
    /// Until the job ends
    Job,
}

/// `azmend backup`.
#[derive(Debug, ClapArgs)]
pub struct BackupArgs {
    /// The VM: name, group/name or resource id
    #[arg(long, value_name = "VM")]
    pub vm: String,
    /// How long the recovery point is kept [default: 30d]
    #[arg(long, value_name = "TIME")]
    pub retain: Option<Span>,
    /// How far the backup is followed [default: snapshot]
    #[arg(long, value_enum, value_name = "UNTIL")]
    pub follow: Option<FollowArg>,
    /// What is done with the plan.
    #[command(flatten)]
    pub then: AfterPlan,
}
