//! What was typed for `diagnose`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueHint};

pub(super) const DIAGNOSE_EXAMPLES: &str = "\
Examples:
  azmend diagnose --vm rg-shop/web-01
  azmend diagnose --vm web-01 --code 400196           an error that you were given
  azmend diagnose --vm web-01 --job 1f2e3d4c          this job's error
  azmend diagnose --vm web-01 --markdown > ticket.md
  azmend diagnose --vm web-01 --allow-guest           also look inside, through Run Command";

/// `azmend diagnose`.
#[derive(Debug, ClapArgs)]
pub struct DiagnoseArgs {
    /// The VM: name, group/name or resource id
    #[arg(long, value_name = "VM")]
    pub vm: String,
    /// An error that you were given, a code or a number: it is checked first
    #[arg(long, value_name = "CODE", conflicts_with = "job")]
    pub code: Option<String>,
    /// The job whose error comes first: its id or the first characters of it
    #[arg(long, value_name = "JOB")]
    pub job: Option<String>,
    /// Ask for the effective network rules too (some seconds; the VM must run)
    #[arg(long)]
    pub network: bool,
    /// Also look for who recreates locks: the activity log of 30 days, and policy assignments
    #[arg(long)]
    pub locks: bool,
    /// Also look inside the VM: run a script that only reads, through Run Command
    #[arg(long)]
    pub allow_guest: bool,
    /// Write Markdown, for a ticket
    #[arg(long, conflicts_with = "output")]
    pub markdown: bool,
    /// A directory with playbooks of your own
    #[arg(long, value_name = "DIR", env = "AZMEND_PLAYBOOKS", value_hint = ValueHint::DirPath)]
    pub playbooks: Option<PathBuf>,
}
