//! What was typed for `jobs`.

use clap::Args as ClapArgs;

use crate::duration::Span;

pub(super) const JOBS_EXAMPLES: &str = "\
Examples:
  azmend jobs --failed --since 2d            what went wrong in the last two days
  azmend jobs --vm rg-shop/web-01
  azmend jobs --follow 1f2e3d4c              the id of a job or its first characters";

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
