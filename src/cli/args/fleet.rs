//! What was typed for the fleet form of `fix`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueHint};

use crate::engine::fleet::Ramp;

/// `azmend fix PLAYBOOK --all`. Each option excludes `--vm` by itself: clap does not miss a required option that conflicts with
/// one that is there.
#[derive(Debug, Clone, Default, ClapArgs)]
pub struct FleetArgs {
    /// Every VM of the scope (--subscription, and below) to which the playbook applies
    #[arg(long, group = "many", conflicts_with_all = ["vm", "plan_out"], help_heading = "Many VMs")]
    pub all: bool,
    /// The VMs of the findings in this audit (`audit --out FILE.json`); each is read again
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "all", help_heading = "Many VMs")]
    #[arg(conflicts_with_all = ["vm", "resource_group", "tag", "vault"])]
    pub from: Option<PathBuf>,
    /// Only the VMs of this resource group
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = "GROUP", requires = "all", conflicts_with = "vm", help_heading = "Many VMs")]
    pub resource_group: Option<String>,
    /// Only VMs with this tag; with several, with all of them
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = "NAME=VALUE", requires = "all", conflicts_with = "vm", help_heading = "Many VMs")]
    pub tag: Vec<String>,
    /// Only VMs with an item in this vault: name, group/name or resource id
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = "VAULT", requires = "all", conflicts_with = "vm", help_heading = "Many VMs")]
    pub vault: Option<String>,
    /// Look closely at every VM, not only at suspicious ones, as `audit --thorough` does: one to three calls for each
    #[arg(hide_short_help = true)]
    #[arg(long, requires = "all", conflicts_with_all = ["vm", "from"], help_heading = "Many VMs")]
    pub thorough: bool,
    /// Plan again for the VMs of an earlier fleet that failed, were partly done or not started
    #[arg(long, value_name = "FLEET", group = "many", help_heading = "Many VMs")]
    #[arg(conflicts_with_all = ["playbook", "vm", "set", "relock", "plan_out"])]
    #[arg(hide_short_help = true)]
    #[arg(conflicts_with_all = ["from", "resource_group", "tag", "vault", "thorough"])]
    pub retry_failed: Option<String>,
    /// Waves, each counted from the start: one VM, then a tenth, then all [default: 1,10%,100%]
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = "STAGES", requires = "many", conflicts_with = "vm", help_heading = "Many VMs")]
    pub ramp: Option<Ramp>,
    /// Runs at the same time, 1 to 16; 4 at most in one subscription and region [default: 4]
    #[arg(long, value_name = "N", requires = "many", conflicts_with = "vm", help_heading = "Many VMs")]
    #[arg(hide_short_help = true)]
    #[arg(value_parser = clap::value_parser!(u8).range(1..=16))]
    pub concurrency: Option<u8>,
    /// After this many failed VMs nothing more is started [default: 1]
    #[arg(long, value_name = "N", requires = "many", conflicts_with = "vm", help_heading = "Many VMs")]
    #[arg(hide_short_help = true)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub max_failures: Option<u32>,
}

impl FleetArgs {
    /// Whether this is about many VMs.
    #[must_use]
    pub const fn wanted(&self) -> bool {
        self.all || self.retry_failed.is_some()
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::{Args, Command, FixArgs};

    fn parse(line: &str) -> Result<FixArgs, clap::Error> {
        let args = Args::try_parse_from(std::iter::once("azmend").chain(line.split_whitespace()))?;
        match args.command {
            Command::Fix(fix) => Ok((*fix).into()),
            _ => panic!("{line}"),
        }
    }

    #[test]
    fn one_vm_or_many_and_never_both() {
        for line in [
            "fix p --vm v",
            "fix p --all",
            "fix p --all --from a.json",
            "fix auto --all --tag a=b --tag c=d --vault v --resource-group g",
            "fix p --all --ramp 2,100% --concurrency 16 --max-failures 3 --max-changes 500",
            "fix --retry-failed 0199",
            "fix --retry-failed 0199 --dry-run --ramp 100%",
            "fix p --all --dry-run",
            "fix p --all --thorough",
        ] {
            assert!(parse(line).is_ok(), "{line}: {}", parse(line).unwrap_err());
        }
        for line in [
            "fix p",
            "fix --all",
            "fix",
            "fix p --all --vm v",
            "fix --retry-failed 0199 --vm v",
            "fix p --retry-failed 0199",
            "fix --retry-failed 0199 --all",
            "fix --retry-failed 0199 --set a=b",
            "fix p --vm v --resource-group g",
            "fix p --vm v --tag a=b",
            "fix p --vm v --ramp 100%",
            "fix p --vm v --concurrency 2",
            "fix p --vm v --max-failures 2",
            "fix p --from a.json",
            "fix p --all --from a.json --vault v",
            "fix p --all --from a.json --thorough",
            "fix p --vm v --thorough",
            "fix --retry-failed 0199 --thorough",
            "fix --retry-failed 0199 --tag a=b",
            "fix --retry-failed 0199 --from a.json",
            "fix p --all --plan-out f",
            "fix p --all --concurrency 0",
            "fix p --all --concurrency 17",
            "fix p --all --max-failures 0",
            "fix p --all --ramp 1",
            "fix p --all --dry-run --yes",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
        let error = parse("fix p --all --ramp 10%,5%,100%").unwrap_err().to_string();
        assert!(error.contains("not more than the stage before it"), "{error}");
    }
}
