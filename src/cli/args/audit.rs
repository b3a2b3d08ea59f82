//! What was typed for `audit`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueEnum, ValueHint};

use super::automation::JitterArgs;

pub(super) const AUDIT_EXAMPLES: &str = "\
Examples:
  azmend audit                                      every visible subscription
  azmend audit -s 'Contoso Production' --fail-on high
  azmend audit --tenant --out audit.html            whatever AZURE_SUBSCRIPTION_ID names
  azmend audit --tag env=prod --out audit.json
  azmend audit --min-severity high --plans          what each fix would do now
  azmend audit --baseline audit.json                what is new since then";

/// A level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LevelArg {
    /// Good to know
    Info,
    /// May become a problem
    Low,
    /// A backup is at risk
    Medium,
    /// Backups fail or will fail
    High,
}

/// From which level on the exit code tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FailOnArg {
    /// Any finding
    Info,
    /// Low and above
    Low,
    /// Medium and above
    Medium,
    /// Only high
    High,
    /// Never
    Never,
}

/// How the facts are collected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CollectorArg {
    /// Resource Graph, and lists where it does not answer
    Auto,
    /// Only Resource Graph
    Graph,
    /// Only lists of ARM
    Arm,
}

/// `azmend audit`.
#[derive(Debug, ClapArgs)]
pub struct AuditArgs {
    /// The wait before the first request.
    #[command(flatten)]
    pub jitter: JitterArgs,
    /// The subscriptions below this management group (its name); repeatable. Needs Resource Graph
    #[arg(long, value_name = "NAME", help_heading = "Which VMs")]
    pub management_group: Vec<String>,
    /// Only the VMs of this resource group
    #[arg(long, value_name = "GROUP", help_heading = "Which VMs")]
    pub resource_group: Option<String>,
    /// Only VMs with this tag; with several, with all of them
    #[arg(long, value_name = "NAME=VALUE", help_heading = "Which VMs")]
    pub tag: Vec<String>,
    /// Only VMs with an item in this vault: name, group/name or resource id
    #[arg(long, value_name = "VAULT", help_heading = "Which VMs")]
    pub vault: Option<String>,
    /// A directory with playbooks of your own, looked for too
    #[arg(long, value_name = "DIR", env = "AZMEND_PLAYBOOKS", value_hint = ValueHint::DirPath)]
    #[arg(help_heading = "Which findings")]
    pub playbooks: Option<PathBuf>,
    /// Only this playbook or check; repeatable
    #[arg(long, value_name = "NAME", help_heading = "Which findings")]
    pub playbook: Vec<String>,
    /// Only findings with this error code; repeatable
    #[arg(long, value_name = "CODE", help_heading = "Which findings")]
    pub code: Vec<String>,
    /// Only findings of this level and above
    #[arg(long, value_enum, value_name = "LEVEL", default_value = "info", help_heading = "Which findings")]
    pub min_severity: LevelArg,
    /// Plan every fix too, as `azmend fix --dry-run` does: some twenty calls for each VM with a finding
    #[arg(long)]
    pub plans: bool,
    /// The lowest level of a finding that makes the exit code 3
    #[arg(long, value_enum, value_name = "LEVEL", default_value = "medium")]
    pub fail_on: FailOnArg,
    /// An earlier audit of the same scope as JSON: shows what is new, unchanged and gone
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub baseline: Option<PathBuf>,
    /// Write the audit to FILE too, in the format of its extension: .json, .jsonl, .csv,
    /// .md, .html, .sarif, .xml (JUnit); repeatable
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub out: Vec<PathBuf>,
    /// How the facts are collected
    #[arg(long, value_enum, value_name = "HOW", default_value = "auto")]
    pub collector: CollectorArg,
    /// Read the restore points and the agent of every VM, not only of suspicious ones: one to three calls for each
    #[arg(long)]
    pub thorough: bool,
}
