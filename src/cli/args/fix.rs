//! What was typed for `fix`; its fleet form is in [`super::fleet`].

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use clap::{Args as ClapArgs, ValueHint};

use super::automation::{AlertArgs, GuardArgs, JitterArgs};
use super::fleet::FleetArgs;
use crate::actions::change::Override;
use crate::arm::id::ResourceId;
use crate::duration::Span;

pub(super) const FIX_EXAMPLES: &str = "\
Examples:
  azmend fix auto --vm web-01 --dry-run                       choose, show why, show the plan
  azmend fix rp-collection-limit --vm web-01 --dry-run        what would be done (exit 3)
  azmend fix rp-collection-limit --vm rg-shop/web-01 --relock  restore removed locks at the end
  azmend fix backup-now --vm web-01 --set retain=14d --yes    without confirmation
  azmend fix rp-collection-limit --vm web-01 --plan-out p.json   save the plan, for azmend apply
  azmend fix auto --all -s 'Contoso Production' --dry-run     every VM that needs one
  azmend fix auto --from-alert alert.json --yes               the VM of an alert of Azure Monitor
  azmend fix --retry-failed 0199f3a2                          the VMs of a fleet that failed
`azmend playbook list` names the playbooks, `azmend playbook show NAME` their --set keys.";

pub(super) const PLAN_EXAMPLES: &str = "\
Examples:
  azmend plan auto --vm web-01                                choose, show why, show the plan
  azmend plan rp-collection-limit --vm web-01 --out p.json && azmend apply p.json
  azmend plan auto --all -s 'Contoso Production'              every VM that needs one
`azmend playbook list` names the playbooks, `azmend playbook show NAME` their --set keys.";

/// `azmend fix`.
#[derive(Debug, ClapArgs)]
pub struct FixCommand {
    /// What is planned.
    #[command(flatten)]
    plan: FixArgs,
    /// Show the plan and change nothing (exit 3 when there is something to do); the same as `azmend plan`
    #[arg(short = 'n', long, conflicts_with_all = ["yes", "plan_out"])]
    dry_run: bool,
    /// Do not ask for confirmation; every safety rule still applies. With --all the scope has to be named
    #[arg(short, long)]
    yes: bool,
    /// Save the plan to FILE, which must not exist, and stop; `azmend apply FILE` makes the changes
    #[arg(long, alias = "out", value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "yes")]
    plan_out: Option<PathBuf>,
    /// Stop cleanly after this time (90s, 45m, 2h45m); the run can be resumed (exit 7)
    #[arg(long, value_name = "TIME", env = "AZMEND_DEADLINE", hide_short_help = true)]
    deadline: Option<Span>,
}

impl From<FixCommand> for FixArgs {
    fn from(typed: FixCommand) -> Self {
        let FixCommand { plan, dry_run, yes, plan_out, deadline } = typed;
        Self { dry_run, yes, plan_out, deadline, ..plan }
    }
}

/// `azmend plan`: what `fix` plans, and no more.
#[derive(Debug, ClapArgs)]
pub struct PlanCommand {
    /// What is planned.
    #[command(flatten)]
    plan: FixArgs,
    /// Save the plan to FILE, which must not exist (exit 0); `azmend apply FILE` makes the changes
    #[arg(long = "out", alias = "plan-out", value_name = "FILE", value_hint = ValueHint::FilePath)]
    plan_out: Option<PathBuf>,
}

impl From<PlanCommand> for FixArgs {
    fn from(typed: PlanCommand) -> Self {
        let PlanCommand { plan, plan_out } = typed;
        Self { dry_run: plan_out.is_none(), plan_out, ..plan }
    }
}

/// What is done with the plan of a command that is `fix` by an everyday name: `backup`, `protect`.
#[derive(Debug, ClapArgs)]
pub struct AfterPlan {
    /// Show the plan and change nothing (exit 3)
    #[arg(short = 'n', long, conflicts_with_all = ["yes", "plan_out"])]
    dry_run: bool,
    /// Do not ask for confirmation; every safety rule still applies
    #[arg(short, long)]
    yes: bool,
    /// Save the plan to FILE, which must not exist, and stop; `azmend apply FILE` makes the changes
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "yes")]
    plan_out: Option<PathBuf>,
    /// Stop cleanly after this time (90s, 45m, 2h45m); the run can be resumed (exit 7)
    #[arg(long, value_name = "TIME", env = "AZMEND_DEADLINE")]
    deadline: Option<Span>,
}

impl AfterPlan {
    /// A shipped playbook for one VM, without anything else that `fix` knows: a playbook of the user's cannot take its place.
    #[must_use]
    pub fn of(self, playbook: &str, vm: String, set: Vec<(String, String)>) -> FixArgs {
        let Self { dry_run, yes, plan_out, deadline } = self;
        let (playbook, vm) = (Some(playbook.to_owned()), Some(vm));
        FixArgs { playbook, vm, set, dry_run, yes, plan_out, deadline, ..FixArgs::default() }
    }
}

/// What a plan depends on, and what is to be done with it: `fix` and `plan` differ in the latter.
#[derive(Debug, Clone, Default, ClapArgs)]
pub struct FixArgs {
    /// Show the plan and change nothing.
    #[arg(skip)]
    pub dry_run: bool,
    /// Do not ask.
    #[arg(skip)]
    pub yes: bool,
    /// Save the plan and stop.
    #[arg(skip)]
    pub plan_out: Option<PathBuf>,
    /// Stop cleanly after this time.
    #[arg(skip)]
    pub deadline: Option<Span>,
    /// The playbook (`azmend playbook list`), or auto: the one that the last failed job or the VM's state asks for
    #[arg(required_unless_present = "retry_failed")]
    pub playbook: Option<String>,
    /// The VM: name, group/name or resource id
    #[arg(long, value_name = "VM", required_unless_present_any = ["all", "retry_failed", "from_alert"])]
    pub vm: Option<String>,
    /// Restore the removed locks at the end of the run, whatever happens
    #[arg(long)]
    pub relock: bool,
    /// Let the playbook run scripts inside the VM, through Run Command
    #[arg(long, hide_short_help = true)]
    pub allow_guest: bool,
    /// Set a parameter of the playbook; repeatable
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    pub set: Vec<(String, String)>,
    /// The most changes that the plan can have; every restore point counts [default: 20; for a fleet 200 in all and 20
    /// for each VM]
    #[arg(long, value_name = "N", env = "AZMEND_MAX_CHANGES", hide_short_help = true)]
    pub max_changes: Option<usize>,
    /// A directory with playbooks of your own
    #[arg(long, value_name = "DIR", env = "AZMEND_PLAYBOOKS", value_hint = ValueHint::DirPath, hide_short_help = true)]
    pub playbooks: Option<PathBuf>,
    /// Switch one safety rule off for this run; repeatable. The question states what you give up
    #[arg(long = "override", value_name = "RULE", value_parser = override_parser(), help_heading = "Safety overrides", hide_short_help = true)]
    pub overrides: Vec<Override>,
    /// Remove this very lock too, although it is not on a backup resource group; repeatable
    #[arg(long = "lock", value_name = "ID", value_parser = lock_id, help_heading = "Safety overrides", hide_short_help = true)]
    pub locks: Vec<ResourceId>,
    /// Many VMs.
    #[command(flatten)]
    pub fleet: FleetArgs,
    /// What happened.
    #[command(flatten)]
    pub alert: AlertArgs,
    /// The wait before the first request.
    #[command(flatten)]
    pub jitter: JitterArgs,
    /// The guard against loops.
    #[command(flatten)]
    pub guard: GuardArgs,
}

pub(super) fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write it as key=value, for example --set retain=14d".to_owned()),
    }
}

fn override_parser() -> impl clap::builder::TypedValueParser<Value = Override> {
    let names = Override::ALL.map(|rule| clap::builder::PossibleValue::new(rule.name()).help(rule.meaning()));
    PossibleValuesParser::new(names).try_map(|name| Override::parse(&name).ok_or_else(|| format!("no rule {name}")))
}

fn lock_id(text: &str) -> Result<ResourceId, String> {
    let id = ResourceId::parse(text).map_err(|error| error.to_string())?;
    if id.is_type("Microsoft.Authorization/locks") {
        return Ok(id);
    }
    Err(format!(
        "this is the id of a {}, not of a lock (.../providers/Microsoft.Authorization/locks/<name>)",
        id.resource_type()
    ))
}
