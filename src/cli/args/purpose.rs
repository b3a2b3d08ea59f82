//! What an identity is for: the options that `doctor` and `role` share.

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueHint};

/// What an identity is to be able to do.
#[derive(Debug, ClapArgs)]
pub struct PurposeArgs {
    /// Only this playbook; repeatable [default: all]
    #[arg(long, value_name = "PLAYBOOK", conflicts_with = "read_only")]
    pub playbook: Vec<String>,
    /// Only what audits and dry runs need
    #[arg(long)]
    pub read_only: bool,
    /// Without removing locks: azmend then prints the command for their owner
    #[arg(long, conflicts_with = "read_only")]
    pub without_locks: bool,
    /// A directory with playbooks of your own
    #[arg(long, value_name = "DIR", env = "AZMEND_PLAYBOOKS", value_hint = ValueHint::DirPath)]
    pub playbooks: Option<PathBuf>,
}
