//! What was typed for `vms`, `jobs`, `backup` and `engines`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueEnum, ValueHint};

use crate::duration::Span;

pub(super) const BACKUP_EXAMPLES: &str = "\
Examples:
  azmend backup --vm web-01 --dry-run              what would be done (exit 3)
  azmend backup --vm rg-shop/web-01 --retain 14d --yes
  azmend backup --vm web-01 --follow job --yes     wait until the data is in the vault";

pub(super) const PROTECT_EXAMPLES: &str = "\
Examples:
  azmend protect --vm web-01 --vault bkp-vault --policy daily --dry-run     what would be done (exit 3)
  azmend protect --vm rg-shop/web-01 --vault bkp-vault --policy daily --yes
  azmend runs undo RUN                              stop it again, keeping what was backed up in the meantime";

pub(super) const VMS_EXAMPLES: &str = "\
Examples:
  azmend vms                                 every VM of the visible subscriptions
  azmend vms --unprotected -s 'Contoso Production'
  azmend vms --resource-group rg-shop -o json";

pub(super) const JOBS_EXAMPLES: &str = "\
Examples:
  azmend jobs --failed --since 2d            what went wrong in the last two days
  azmend jobs --vm rg-shop/web-01
  azmend jobs --follow 1f2e3d4c              the id of a job or its first characters";

pub(super) const ENGINES_EXAMPLES: &str = "\
Examples:
  azmend engines
  azmend engines --vault bkp-vault --since 14d -o json";

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

/// `azmend jobs`.
#[derive(Debug, ClapArgs)]
pub struct JobsArgs {
    /// Only jobs of this VM: name, group/name or resource id; it may have been deleted
    #[arg(long, value_name = "VM")]
    pub vm: Option<String>,
    /// Only jobs of this vault: name, group/name or resource id
    #[arg(long, value_name = "VAULT")]
    pub vault: Option<String>,
    /// Only jobs that failed
    #[arg(long, conflicts_with = "running")]
    pub failed: bool,
    /// Only jobs that have not ended
    #[arg(long)]
    pub running: bool,
    /// Only jobs that started within this time
    #[arg(long, value_name = "TIME", default_value = "7d")]
    pub since: Span,
    /// Follow this job to its end: its resource id, its GUID or the first characters of that
    #[arg(long, value_name = "JOB", conflicts_with_all = ["failed", "running"])]
    pub follow: Option<String>,
}

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

/// `azmend engines`.
#[derive(Debug, ClapArgs)]
pub struct EnginesArgs {
    /// Only this vault: name, group/name or resource id
    #[arg(long, value_name = "VAULT")]
    pub vault: Option<String>,
    /// Failed jobs that started within this time
    #[arg(long, value_name = "TIME", default_value = "7d")]
    pub since: Span,
}

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
