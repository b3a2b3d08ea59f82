//! What was typed for `backup`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueEnum, ValueHint};

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
    /// Show the plan and change nothing (exit 3)
    #[arg(short = 'n', long, conflicts_with_all = ["yes", "plan_out"])]
    pub dry_run: bool,
    /// Do not ask for confirmation; every safety rule still applies
    #[arg(short, long)]
    pub yes: bool,
    /// Save the plan to FILE and stop (exit 3); `azmend apply FILE` makes the backup
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "yes")]
    pub plan_out: Option<PathBuf>,
    /// Stop cleanly after this time (90s, 45m, 2h45m); the run can be resumed (exit 7)
    #[arg(long, value_name = "TIME", env = "AZMEND_DEADLINE")]
    pub deadline: Option<Span>,
}
