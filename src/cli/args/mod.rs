//! What was typed: the command line as clap reads it. Nothing outside `cli` sees these types.
//!
//! Duty: names, help texts and syntax. Meaning (defaults that depend on the machine, Azure's own variables, checks
//! between options) is the business of [`super::settings`]. `--yes` and `--override` have no variable on purpose: what
//! lets azmend change something is typed, not inherited.

mod apply;
mod audit;
mod automation;
mod backup;
mod capture;
mod diagnose;
mod doctor;
mod engines;
mod explain;
mod fix;
mod fleet;
mod formats;
mod global;
mod help;
mod jobs;
mod playbook;
mod playbook_files;
mod protect;
mod purpose;
mod role;
mod runs;
mod sandbox;
mod state;
mod vms;

use std::path::PathBuf;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{CommandFactory, Parser, Subcommand, ValueHint};

pub use apply::ApplyArgs;
pub use audit::{AuditArgs, CollectorArg, FailOnArg, LevelArg};
pub use automation::{AlertArgs, Guard, GuardArgs, JitterArgs};
pub use backup::{BackupArgs, FollowArg};
pub use capture::CaptureArgs;
pub use diagnose::DiagnoseArgs;
pub use doctor::DoctorArgs;
pub use engines::EnginesArgs;
pub use explain::ExplainArgs;
pub use fix::{FixArgs, FixCommand, PlanCommand};
pub use fleet::FleetArgs;
pub use formats::{formats, words as format_words};
pub use global::{AuthArg, CloudArg, ColorArg, Global, LogFormatArg, OutputArg, Typed};
pub use jobs::JobsArgs;
pub use playbook::PlaybookCommand;
pub use playbook_files::{NewArgs, TestArgs};
pub use protect::ProtectArgs;
pub use purpose::PurposeArgs;
pub use role::RoleArgs;
pub use runs::RunsCommand;
pub use sandbox::{SandboxCommand, ServeArgs};
pub use state::StateArgs;
pub use vms::VmsArgs;

const STYLES: Styles =
    Styles::styled().header(AnsiColor::Green.on_default().bold()).usage(AnsiColor::Green.on_default().bold());

/// The version, with the commit where the build knows it (`build.rs`).
const VERSION: &str = env!("AZMEND_VERSION");

const EXIT_CODES: &str = "\
Exit codes:
  0  verified, saved, or nothing to do
  1  a bug in azmend
  2  wrong input
  3  a dry run or an audit found something to do
  4  sign-in or permission
  5  refused by a rule or not confirmed; nothing changed
  6  partly done, or something could not be read
  7  not finished: resume later (deadline, Ctrl-C, clean-up)
  8  stuck: a person is needed
  9  everything was done, and the backup still fails

Try it without Azure:
  azmend --sandbox sandbox list
  azmend --sandbox fix rp-collection-limit --vm web-01";

/// Repairs Azure VM backup: finds what stops a backup, shows the exact changes, makes them and proves the result
#[derive(Debug, Parser)]
#[command(name = "azmend", version = VERSION, styles = STYLES, after_help = EXIT_CODES)]
#[command(arg_required_else_help = true, infer_long_args = false)]
pub struct Args {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Repair one VM, or many: plan, question, changes, proof
    ///
    /// Reads everything about the VM's backup, decides by the playbook what is to be done, shows every change and asks.
    /// Then makes the changes one by one: each is written to a journal first, read again just before it is sent,
    /// and verified by reading afterwards. Nothing is ever deleted that was not shown. With --all every VM of a scope gets its own plan,
    /// you confirm once, and one VM is done first: each VM is a run of its own.
    #[command(after_help = fix::FIX_EXAMPLES)]
    Fix(Box<FixCommand>),
    /// Show what `fix` would do, and change nothing (the same as `fix --dry-run`)
    ///
    /// Exit 0: nothing to do; 3: something. With --out the plan is saved for `azmend apply`, and that is exit 0.
    #[command(after_help = fix::PLAN_EXAMPLES)]
    Plan(Box<PlanCommand>),
    /// Apply a plan that `azmend plan --out` saved
    ///
    /// The plan must be unchanged, at most 24 hours old and for the Azure that is signed in to; everything in it must
    /// still be as it was. It is shown and confirmed again.
    #[command(after_help = "Example:\n  azmend apply web-01.plan.json --yes")]
    Apply(ApplyArgs),
    /// Back up a protected VM now (the same as `fix backup-now`)
    ///
    /// The same plan, question, guards and result: none while a backup runs, at most three a day.
    #[command(after_help = backup::BACKUP_EXAMPLES)]
    Backup(Box<BackupArgs>),
    /// Protect a VM that no vault protects (the same as `fix unprotected-vm`)
    ///
    /// Vault and policy must be named; the vault must be in the VM's region. Undo stops the protection and keeps what was
    /// backed up in the meantime.
    #[command(after_help = protect::PROTECT_EXAMPLES)]
    Protect(Box<ProtectArgs>),
    /// List VMs: protected or not, vault, policy, last backup, health
    ///
    /// Read-only, with a few lists per subscription and vault. A VM whose protection cannot be determined is
    /// shown as unknown. Exit 0; 6 when something was not read.
    #[command(after_help = vms::VMS_EXAMPLES)]
    Vms(VmsArgs),
    /// List the backup jobs of VMs, the newest first, or follow one to its end
    ///
    /// Read-only, one list per vault: Azure rations these reads. Exit 0; 6 when something was not read. With --follow: 0
    /// the job completed, 9 it ended otherwise, 7 watching stopped before the job ended (Ctrl-C).
    #[command(after_help = jobs::JOBS_EXAMPLES)]
    Jobs(JobsArgs),
    /// List Backup Servers (MABS) and DPM servers of the vaults, with their failed jobs
    ///
    /// Read-only. The servers are on premises: azmend shows what they reported and changes nothing on them. Exit 0; 6 when
    /// something was not read.
    #[command(after_help = engines::ENGINES_EXAMPLES)]
    Engines(EnginesArgs),
    /// Check every VM: which backups fail or will fail, why, and what repairs each
    ///
    /// Read-only. Facts come in bulk from Azure Resource Graph, or from plain lists where it does not answer; VMs that look
    /// suspicious are read one by one. A finding is a hint: the command next to it reads again before it plans anything.
    /// Exit 0: nothing of the level of --fail-on; 3: something; 6: something could not be read.
    #[command(after_help = audit::AUDIT_EXAMPLES)]
    Audit(Box<AuditArgs>),
    /// Write your estate to a file for the sandbox: a copy to rehearse on, or to send to someone who helps
    ///
    /// Read-only: lists for the whole scope, and two to five reads for each VM. The sandbox then finds and plans what azmend
    /// finds and plans in Azure. What could not be read, or cannot be expressed in an estate, is listed at the head of the file.
    /// Exit 0; 6 when there is such a line.
    #[command(after_help = capture::CAPTURE_EXAMPLES)]
    Capture(Box<CaptureArgs>),
    /// Check one VM, step by step: what is healthy, what stops its backup, what could not be checked
    ///
    /// Read-only. The steps of the troubleshooting guide on live facts, then the likely causes, the most likely first, and
    /// what to run. Exit 0: nothing was found; 3: something was; 6: what matters could not be read.
    #[command(after_help = diagnose::DIAGNOSE_EXAMPLES)]
    Diagnose(DiagnoseArgs),
    /// Explain an error: its causes, what azmend repairs, what is left to do
    ///
    /// By its code, its number, or any part of its message, in English or Korean; typing errors are tolerated.
    /// Works offline, without a sign-in. Exit 2 when nothing is similar.
    #[command(after_help = explain::EXPLAIN_EXAMPLES)]
    Explain(ExplainArgs),
    /// Show who is signed in, what that identity can do, and which permission is missing
    ///
    /// Read-only. For every visible subscription, or at the scopes of one VM, it shows what each playbook can do, what
    /// cannot be read and what follows from that, and what is missing. Exit 0: nothing is missing; 4: no sign-in; 6:
    /// something is missing.
    #[command(after_help = doctor::DOCTOR_EXAMPLES)]
    Doctor(DoctorArgs),
    /// Print the smallest custom role that azmend needs
    ///
    /// Works offline. The table explains each action; `-o json` is the definition as
    /// `az role definition create` reads it.
    #[command(after_help = role::ROLE_EXAMPLES)]
    Role(RoleArgs),
    /// Show, resume and undo runs
    #[command(subcommand, arg_required_else_help = true)]
    Runs(RunsCommand),
    /// Show playbooks and check your own
    #[command(subcommand, arg_required_else_help = true)]
    Playbook(PlaybookCommand),
    /// Show the embedded Azure and reset it
    #[command(subcommand, arg_required_else_help = true)]
    Sandbox(SandboxCommand),
    /// Print a completion script for a shell
    #[command(after_help = "Example:\n  azmend completions bash > ~/.local/share/bash-completion/completions/azmend")]
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Write the manual pages, for those who package azmend
    #[command(hide = true)]
    Man {
        /// Where to; made when it is missing
        #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
        dir: PathBuf,
    },
}

impl Args {
    /// The command line: variables that are set but empty are taken as not set, and each command has its own formats.
    #[must_use]
    pub fn command_line() -> clap::Command {
        formats::of_each_command(without_empty_variables(Self::command()))
    }

    /// The same with help texts that are laid out for this many columns. They have to go through [`shown`].
    #[must_use]
    pub fn for_people(width: usize) -> clap::Command {
        help::laid_out(Self::command_line().term_width(width), "azmend", width)
    }
}

/// What clap rendered of [`Args::for_people`], as it is printed.
#[must_use]
pub fn shown(rendered: &str) -> String {
    help::shown(rendered)
}

fn without_empty_variables(command: clap::Command) -> clap::Command {
    let empty =
        |arg: &clap::Arg| arg.get_env().is_some_and(|name| std::env::var_os(name).is_some_and(|v| v.is_empty()));
    let command = command.mut_args(|arg| {
        let arg = arg.hide_env_values(true);
        if empty(&arg) { arg.env(None::<&str>) } else { arg }
    });
    command.mut_subcommands(without_empty_variables)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Args, clap::Error> {
        Args::try_parse_from(std::iter::once("azmend").chain(words.iter().copied()))
    }

    #[test]
    fn the_definition_is_consistent() {
        Args::command_line().debug_assert();
    }

    /// A command that is missing there would be printed in the sandbox as one against Azure.
    #[test]
    fn every_command_that_needs_a_world_is_one_of_those_in_hints() {
        let all = Args::command_line();
        let same_everywhere = ["completions", "help", "man", "sandbox"];
        let mut names: Vec<&str> = all.get_subcommands().map(clap::Command::get_name).collect();
        names.retain(|name| !same_everywhere.contains(name));
        names.sort_unstable();
        assert_eq!(names, crate::engine::hints::COMMANDS);
    }

    #[test]
    fn sandbox_needs_an_equals_sign_for_its_file() {
        let args = parse(&["--sandbox", "sandbox", "list"]).unwrap();
        assert_eq!(args.global.sandbox.as_deref(), Some("built-in"));
        let args = parse(&["sandbox", "list", "--sandbox=mine.yaml"]).unwrap();
        assert_eq!(args.global.sandbox.as_deref(), Some("mine.yaml"));
    }

    #[test]
    fn overrides_are_names_of_rules_and_near_ones_are_suggested() {
        let fix = |name: &str| parse(&["fix", "p", "--vm", "v", "--override", name]);
        assert!(fix("s8.newest").is_ok());
        let error = fix("s8.newst").unwrap_err().to_string();
        assert!(error.contains("s8.newest"), "{error}");
        assert!(fix("s5.vm-group").is_err());
    }

    #[test]
    fn a_lock_is_named_by_its_id() {
        let sub = "/subscriptions/11111111-1111-1111-1111-111111111111";
        let fix = |id: &str| parse(&["fix", "p", "--vm", "v", "--lock", id]);
        assert!(fix(&format!("{sub}/providers/Microsoft.Authorization/locks/keep")).is_ok());
        assert!(fix(&format!("{sub}/resourceGroups/rg")).unwrap_err().to_string().contains("not of a lock"));
        assert!(fix("keep").is_err());
    }

    #[test]
    fn a_role_is_for_subscriptions_and_groups() {
        let sub = "11111111-1111-1111-1111-111111111111";
        assert!(parse(&["role", "--scope", sub]).is_ok());
        assert!(parse(&["role", "--scope", &format!("/subscriptions/{sub}/resourceGroups/rg")]).is_ok());
        assert!(parse(&["role", "--scope", "Contoso"]).is_err());
        let vm = format!("/subscriptions/{sub}/resourceGroups/rg/providers/Microsoft.Compute/virtualMachines/v");
        assert!(parse(&["role", "--scope", &vm]).is_err());
        assert!(parse(&["role", "--read-only", "--playbook", "backup-now"]).is_err());
    }

    #[test]
    fn a_plan_takes_the_options_of_a_fix_and_none_that_changes_something() {
        let plan = |words: &[&str]| -> Result<FixArgs, clap::Error> {
            match parse(&[&["plan"][..], words].concat())?.command {
                Command::Plan(plan) => Ok(FixArgs::from(*plan)),
                other => panic!("{other:?}"),
            }
        };
        let args = plan(&["p", "--vm", "v", "--set", "retain=14d", "--relock"]).unwrap();
        assert!(args.dry_run && args.relock && args.plan_out.is_none() && !args.yes);
        let args = plan(&["p", "--vm", "v", "--out", "f.json"]).unwrap();
        assert!(!args.dry_run && args.plan_out.is_some());
        assert!(plan(&["auto", "--all"]).unwrap().dry_run);
        for wrong in [&["p", "--vm", "v", "--yes"][..], &["auto", "--all", "--out", "f"], &["p"]] {
            assert!(plan(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_dry_run_takes_no_yes() {
        assert!(parse(&["fix", "p", "--vm", "v", "--dry-run", "--yes"]).is_err());
        assert!(parse(&["fix", "p", "--vm", "v", "--set", "x"]).is_err());
        assert!(parse(&["fix", "p", "--vm", "v", "--deadline", "2h45m"]).is_ok());
        assert!(parse(&["fix", "p"]).is_err());
    }

    #[test]
    fn a_command_takes_its_own_formats_before_and_behind_its_name() {
        let parse = |line: &str| Args::command_line().try_get_matches_from(line.split(' '));
        assert!(parse("azmend audit -o html").is_ok());
        let error = parse("azmend vms -o html").unwrap_err().to_string();
        assert!(error.contains("table, json, yaml, jsonl") && !error.contains("sarif"), "{error}");
        let before = parse("azmend -o yaml runs list").unwrap();
        assert_eq!(before.get_one::<OutputArg>("output"), Some(&OutputArg::Yaml));
        let behind = parse("azmend runs list -o yaml").unwrap();
        assert_eq!(behind.get_one::<OutputArg>("output"), Some(&OutputArg::Yaml));
    }
}
