//! What was typed for `apply`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueHint};

use super::automation::GuardArgs;
use crate::duration::Span;

/// `azmend apply`.
#[derive(Debug, ClapArgs)]
pub struct ApplyArgs {
    /// The plan file
    #[arg(value_name = "PLAN", value_hint = ValueHint::FilePath)]
    pub plan: PathBuf,
    /// Do not ask for confirmation; every safety rule still applies
    #[arg(short, long)]
    pub yes: bool,
    /// Stop cleanly after this time (90s, 45m, 2h45m); the run can be resumed (exit 7)
    #[arg(long, value_name = "TIME", env = "AZMEND_DEADLINE")]
    pub deadline: Option<Span>,
    /// The guard against loops.
    #[command(flatten)]
    pub guard: GuardArgs,
}
