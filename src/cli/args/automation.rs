//! What was typed for azmend that nobody watches: the alert that starts it, the random wait, the guard against loops.

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueHint};

use crate::duration::Span;
use crate::engine::LoopGuard;

/// `--from-alert`.
#[derive(Debug, Clone, Default, ClapArgs)]
pub struct AlertArgs {
    /// The VM of this alert: a file, or - for stdin, with a common alert of Azure Monitor, an Event Grid event or the id of a backup
    /// job; or that id itself. A resolved alert asks for nothing (exit 0)
    #[arg(long, value_name = "FILE|-|JOB", value_hint = ValueHint::FilePath)]
    #[arg(conflicts_with_all = ["vm", "all", "retry_failed"], help_heading = "Automation")]
    pub from_alert: Option<PathBuf>,
}

/// `--jitter`.
#[derive(Debug, Clone, Copy, Default, ClapArgs)]
pub struct JitterArgs {
    /// Wait a random time of at most TIME before the first request, so that many machines do not start at once
    #[arg(long, value_name = "TIME", help_heading = "Automation", hide_short_help = true)]
    pub jitter: Option<Span>,
}

/// `--loop-guard`.
#[derive(Debug, Clone, Copy, Default, ClapArgs)]
pub struct GuardArgs {
    /// Refuse a VM that earlier runs repaired N times in this time, at most 30d; `off` for no limit [default: 3/7d]
    #[arg(long, value_name = "N/TIME", value_parser = guard, help_heading = "Automation", hide_short_help = true)]
    pub loop_guard: Option<Guard>,
}

/// What `--loop-guard` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    /// No limit.
    Off,
    /// This one.
    Limit(LoopGuard),
}

impl GuardArgs {
    /// The guard; the default one when nothing was typed.
    #[must_use]
    pub fn guard(self) -> Option<LoopGuard> {
        match self.loop_guard {
            None => Some(LoopGuard::default()),
            Some(Guard::Off) => None,
            Some(Guard::Limit(guard)) => Some(guard),
        }
    }
}

fn guard(text: &str) -> Result<Guard, String> {
    if text == "off" {
        return Ok(Guard::Off);
    }
    text.parse().map(Guard::Limit).map_err(|error: crate::engine::loop_guard::LoopGuardError| error.to_string())
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
    fn an_alert_names_the_vm_and_nothing_else_does() {
        assert!(parse("fix auto --from-alert - --yes").is_ok());
        assert!(parse("fix rp-collection-limit --from-alert a.json --dry-run").is_ok());
        for line in ["fix auto --from-alert a --vm v", "fix auto --from-alert a --all", "fix --from-alert a"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn the_guard_is_on_unless_it_is_switched_off() {
        let guard = |line: &str| parse(line).map(|fix| fix.guard.guard().map(|guard| guard.to_string()));
        assert_eq!(guard("fix auto --vm v").unwrap(), Some("3/7d".to_owned()));
        assert_eq!(guard("fix auto --vm v --loop-guard 1/2h").unwrap(), Some("1/2h".to_owned()));
        assert_eq!(guard("fix auto --vm v --loop-guard off").unwrap(), None);
        let error = guard("fix auto --vm v --loop-guard 0/7d").unwrap_err().to_string();
        assert!(error.contains("3/7d"), "{error}");
    }
}
