//! What was typed: the command line as clap reads it. Nothing outside `cli` sees these types.
//!
//! Duty: names, help texts and syntax. Meaning (defaults that depend on the machine, Azure's own variables, checks
//! between options) is the business of [`super::settings`]. `--yes` and `--override` have no variable on purpose: what
//! lets azmend change something is typed, not inherited.

mod audit;
mod automation;
mod capture;
mod fleet;
mod inventory;

use std::path::PathBuf;

use clap::builder::styling::{AnsiColor, Styles};
use clap::builder::{FalseyValueParser, PossibleValuesParser, TypedValueParser as _};
use clap::{ArgAction, Args as ClapArgs, CommandFactory, Parser, Subcommand, ValueEnum, ValueHint};

use crate::actions::change::Override;
use crate::arm::id::ResourceId;
use crate::duration::Span;

pub use audit::{AuditArgs, CollectorArg, FailOnArg, LevelArg};
pub use automation::{AlertArgs, Guard, GuardArgs, JitterArgs};
pub use capture::CaptureArgs;
pub use fleet::FleetArgs;
pub use inventory::{BackupArgs, EnginesArgs, FollowArg, JobsArgs, ProtectArgs, VmsArgs};

const STYLES: Styles =
    Styles::styled().header(AnsiColor::Green.on_default().bold()).usage(AnsiColor::Green.on_default().bold());

/// The version, with the commit where the build knows it (`build.rs`).
const VERSION: &str = env!("AZMEND_VERSION");

/// The help of `--state-dir`, with the default of this machine.
const STATE_DIR: &str = if cfg!(windows) {
    "Where runs and sandboxes are kept [default: %LOCALAPPDATA%\\azmend]"
} else {
    "Where runs and sandboxes are kept [default: $XDG_STATE_HOME/azmend or ~/.local/state/azmend]"
};

const EXIT_CODES: &str = "\
Exit codes:
  0  verified, or nothing to do          5  refused by a rule or not confirmed; nothing changed
  1  a bug in azmend                     6  partly done, or something could not be read
  2  wrong input                         7  not finished: resume later (deadline, Ctrl-C, clean-up)
  3  a dry run found something to do     8  stuck: a person is needed
  4  sign-in or permission               9  everything was done, and the backup still fails

Try it without Azure:
  azmend --sandbox sandbox list
  azmend --sandbox fix rp-collection-limit --vm web-01";

/// Repairs Azure VM backup: finds what stops a backup, shows the exact changes, makes them and proves the result
#[derive(Debug, Parser)]
#[command(name = "azmend", version = VERSION, styles = STYLES, max_term_width = 100, after_help = EXIT_CODES)]
#[command(arg_required_else_help = true, disable_help_subcommand = true, infer_long_args = false)]
pub struct Args {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, ClapArgs)]
pub struct Global {
    /// Work on the embedded Azure: nothing real is touched. ESTATE is a file of your own (see `sandbox init`)
    #[arg(long, global = true, value_name = "ESTATE", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "built-in", env = "AZMEND_SANDBOX", value_hint = ValueHint::FilePath)]
    pub sandbox: Option<String>,
    /// Let time pass in the embedded Azure: N of its seconds for each real one, to try Ctrl-C and `runs resume` by hand
    /// [default: waits take no time; `sandbox serve`: 1]
    #[arg(long, global = true, value_name = "N", value_parser = speed)]
    pub speed: Option<u32>,

    /// Format of the data on stdout
    #[arg(short, long, global = true, value_enum, value_name = "FORMAT", env = "AZMEND_OUTPUT")]
    #[arg(default_value = "table", help_heading = "Output")]
    pub output: OutputArg,
    /// No progress on stderr; warnings and errors stay
    #[arg(short, long, global = true, env = "AZMEND_QUIET", value_parser = FalseyValueParser::new())]
    #[arg(action = ArgAction::SetTrue, help_heading = "Output")]
    pub quiet: bool,
    /// Colours: auto looks at the terminal, NO_COLOR and CLICOLOR
    #[arg(long, global = true, value_enum, value_name = "WHEN", env = "AZMEND_COLOR", default_value = "auto")]
    #[arg(help_heading = "Output")]
    pub color: ColorArg,
    /// Diagnostics on stderr: off, error, warn, info, debug, trace, or a filter such as azmend=debug
    #[arg(long, global = true, value_name = "LEVEL", env = "AZMEND_LOG_LEVEL", default_value = "warn")]
    #[arg(help_heading = "Output")]
    pub log_level: String,
    /// Format of the diagnostics
    #[arg(long, global = true, value_enum, value_name = "FORMAT", env = "AZMEND_LOG_FORMAT", default_value = "text")]
    #[arg(help_heading = "Output")]
    pub log_format: LogFormatArg,
    /// Where runs and sandboxes are kept
    #[arg(long, global = true, value_name = "DIR", env = "AZMEND_STATE_DIR", value_hint = ValueHint::DirPath)]
    #[arg(help_heading = "Output", help = STATE_DIR)]
    pub state_dir: Option<PathBuf>,

    /// Subscription to look in, id or name; repeatable. In the variable, separate several with ;
    /// [default: all that are visible]
    #[arg(short, long, global = true, value_name = "ID|NAME", env = "AZMEND_SUBSCRIPTION", value_delimiter = ';')]
    #[arg(help_heading = "Azure")]
    pub subscription: Vec<String>,
    /// Tenant to sign in to. For `audit` and `fix --all`, also all of it, whatever subscription the environment names
    #[arg(long, global = true, value_name = "ID", env = "AZMEND_TENANT", help_heading = "Azure")]
    #[arg(num_args = 0..=1, default_missing_value = "")]
    pub tenant: Option<String>,
    /// Which of these were typed, and not found in the environment.
    #[arg(skip)]
    pub typed: Typed,
    /// Client id of the user-assigned identity, service principal or workload identity
    #[arg(long, global = true, value_name = "ID", env = "AZMEND_CLIENT_ID", help_heading = "Azure")]
    pub client_id: Option<String>,
    /// How to sign in: auto tries what the environment offers
    #[arg(long, global = true, value_enum, value_name = "HOW", env = "AZMEND_AUTH", default_value = "auto")]
    #[arg(help_heading = "Azure")]
    pub auth: AuthArg,
    /// Which Azure
    #[arg(long, global = true, value_enum, value_name = "CLOUD", env = "AZMEND_CLOUD", default_value = "public")]
    #[arg(help_heading = "Azure")]
    pub cloud: CloudArg,
    /// Another ARM endpoint (https; http only on loopback)
    #[arg(long, global = true, value_name = "URL", env = "AZMEND_ARM_ENDPOINT", value_hint = ValueHint::Url)]
    #[arg(help_heading = "Azure")]
    pub arm_endpoint: Option<String>,
}

/// Options that mean more when they are typed than when a variable has them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Typed {
    /// `--tenant`.
    pub tenant: bool,
    /// `--subscription`.
    pub subscription: bool,
}

/// Format of stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputArg {
    /// For people
    Table,
    /// One JSON object
    Json,
    /// One JSON object per event or item, the result last
    Jsonl,
    /// Rows for a spreadsheet (audit)
    Csv,
    /// For a ticket (audit, diagnose)
    Markdown,
    /// One self-contained page for a browser (audit)
    Html,
    /// Static Analysis Results Interchange Format 2.1.0 (audit)
    Sarif,
    /// Test results, as pipelines read them (audit)
    Junit,
}

/// When colours are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ColorArg {
    /// On a terminal
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// Format of the diagnostics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormatArg {
    /// Lines
    Text,
    /// A JSON object per line
    Json,
}

/// How to sign in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AuthArg {
    /// Service principal or workload identity from the environment, else managed identity, else the Azure CLI
    Auto,
    /// The Azure CLI's sign-in (`az login`)
    Cli,
    /// Managed identity of this machine
    ManagedIdentity,
    /// AZURE_CLIENT_ID with AZURE_CLIENT_SECRET or a certificate
    ServicePrincipal,
    /// Workload identity federation
    Workload,
}

/// Which Azure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CloudArg {
    /// Azure
    Public,
    /// Azure Government
    Usgov,
    /// Azure operated by 21Vianet
    China,
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
    #[command(after_help = FIX_EXAMPLES)]
    Fix(Box<FixArgs>),
    /// Apply a plan that `fix --plan-out` saved
    ///
    /// The plan must be unchanged, at most 24 hours old and for the Azure that is signed in to; everything in it must
    /// still be as it was. It is shown and confirmed again.
    #[command(after_help = "Example:\n  azmend apply web-01.plan.json --yes")]
    Apply(ApplyArgs),
    /// Back up a protected VM now (the same as `fix backup-now`)
    ///
    /// The same plan, question, guards and result: none while a backup runs, at most three a day.
    #[command(after_help = inventory::BACKUP_EXAMPLES)]
    Backup(Box<BackupArgs>),
    /// Protect a VM that no vault protects (the same as `fix unprotected-vm`)
    ///
    /// Vault and policy must be named; the vault must be in the VM's region. Undo stops the protection and keeps what was
    /// backed up in the meantime.
    #[command(after_help = inventory::PROTECT_EXAMPLES)]
    Protect(Box<ProtectArgs>),
    /// List VMs: protected or not, vault, policy, last backup, health
    ///
    /// Read-only, with a few lists per subscription and vault. A VM whose protection cannot be determined is
    /// shown as unknown. Exit 0; 6 when something was not read.
    #[command(after_help = inventory::VMS_EXAMPLES)]
    Vms(VmsArgs),
    /// List the backup jobs of VMs, the newest first, or follow one to its end
    ///
    /// Read-only, one list per vault: Azure rations these reads. Exit 0; 6 when something was not read. With --follow: 0
    /// the job completed, 9 it ended otherwise, 7 watching stopped before the job ended (Ctrl-C).
    #[command(after_help = inventory::JOBS_EXAMPLES)]
    Jobs(JobsArgs),
    /// List Backup Servers (MABS) and DPM servers of the vaults, with their failed jobs
    ///
    /// Read-only. The servers are on premises: azmend shows what they reported and changes nothing on them. Exit 0; 6 when
    /// something was not read.
    #[command(after_help = inventory::ENGINES_EXAMPLES)]
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
    #[command(after_help = DIAGNOSE_EXAMPLES)]
    Diagnose(DiagnoseArgs),
    /// Explain an error: its causes, what azmend repairs, what is left to do
    ///
    /// By its code, its number, or any part of its message, in English or Korean; typing errors are tolerated.
    /// Works offline, without a sign-in. Exit 2 when nothing is similar.
    #[command(after_help = EXPLAIN_EXAMPLES)]
    Explain(ExplainArgs),
    /// Show who is signed in, what that identity can do, and which permission is missing
    ///
    /// Read-only. For every visible subscription, or at the scopes of one VM, it shows what each playbook can do, what
    /// cannot be read and what follows from that, and what is missing. Exit 0: nothing is missing; 4: no sign-in; 6:
    /// something is missing.
    #[command(after_help = DOCTOR_EXAMPLES)]
    Doctor(DoctorArgs),
    /// Print the smallest custom role that azmend needs
    ///
    /// Works offline. The table explains each action; `-o json` is the definition as
    /// `az role definition create` reads it.
    #[command(after_help = ROLE_EXAMPLES)]
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

const FIX_EXAMPLES: &str = "\
Examples:
  azmend fix auto --vm web-01 --dry-run                       choose, show why, show the plan
  azmend fix rp-collection-limit --vm web-01 --dry-run        what would be done (exit 3)
  azmend fix rp-collection-limit --vm rg-shop/web-01 --relock restore removed locks at the end
  azmend fix backup-now --vm web-01 --set retain=14d --yes    without confirmation
  azmend fix rp-collection-limit --vm web-01 --plan-out p.json && azmend apply p.json
  azmend fix auto --all -s 'Contoso Production' --dry-run     every VM that needs one
  azmend fix auto --from-alert alert.json --yes               the VM of an alert of Azure Monitor
  azmend fix --retry-failed 0199f3a2                          the VMs of a fleet that failed
`azmend playbook list` names the playbooks, `azmend playbook show NAME` their --set keys.";

/// `azmend fix`.
#[derive(Debug, ClapArgs)]
pub struct FixArgs {
    /// The playbook (`azmend playbook list`), or auto: the one that the last failed job or the VM's state asks for
    #[arg(required_unless_present = "retry_failed")]
    pub playbook: Option<String>,
    /// The VM: name, group/name or resource id
    #[arg(long, value_name = "VM", required_unless_present_any = ["all", "retry_failed", "from_alert"])]
    pub vm: Option<String>,
    /// Show the plan and change nothing (exit 3 when there is something to do)
    #[arg(short = 'n', long, conflicts_with_all = ["yes", "plan_out"])]
    pub dry_run: bool,
    /// Do not ask for confirmation; every safety rule still applies
    #[arg(short, long)]
    pub yes: bool,
    /// Save the plan to FILE and stop (exit 3); `azmend apply FILE` makes the changes
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "yes")]
    pub plan_out: Option<PathBuf>,
    /// Restore the removed locks at the end of the run, whatever happens
    #[arg(long)]
    pub relock: bool,
    /// Let the playbook run scripts inside the VM, through Run Command
    #[arg(long)]
    pub allow_guest: bool,
    /// Set a parameter of the playbook; repeatable
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    pub set: Vec<(String, String)>,
    /// The most changes that the plan can have; every restore point counts [default: 20; for a fleet 200 in all and 20
    /// for each VM]
    #[arg(long, value_name = "N", env = "AZMEND_MAX_CHANGES")]
    pub max_changes: Option<usize>,
    /// Stop cleanly after this time (90s, 45m, 2h45m); the run can be resumed (exit 7)
    #[arg(long, value_name = "TIME", env = "AZMEND_DEADLINE")]
    pub deadline: Option<Span>,
    /// A directory with playbooks of your own
    #[arg(long, value_name = "DIR", env = "AZMEND_PLAYBOOKS", value_hint = ValueHint::DirPath)]
    pub playbooks: Option<PathBuf>,
    /// Switch one safety rule off for this run; repeatable. The question states what you give up
    #[arg(long = "override", value_name = "RULE", value_parser = override_parser(), help_heading = "Safety overrides")]
    pub overrides: Vec<Override>,
    /// Remove this very lock too, although it is not on a backup resource group; repeatable
    #[arg(long = "lock", value_name = "ID", value_parser = lock_id, help_heading = "Safety overrides")]
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

const DOCTOR_EXAMPLES: &str = "\
Examples:
  azmend doctor                                  every visible subscription
  azmend doctor --vm rg-shop/web-01              at the scopes of one VM
  azmend doctor --playbook backup-now -o json    one playbook, for a pipeline
  azmend doctor --read-only                      is it enough for audits and dry runs?";

const ROLE_EXAMPLES: &str = "\
Examples:
  azmend role                                    every action, and why
  azmend role --scope SUBSCRIPTION-ID -o json > role.json
  az role definition create --role-definition @role.json
  azmend role --read-only -o json                for audits and dry runs
  azmend role --without-locks                    lock removal stays with the owners";

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

const DIAGNOSE_EXAMPLES: &str = "\
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

const EXPLAIN_EXAMPLES: &str = "\
Examples:
  azmend explain UserErrorRpCollectionLimitReached
  azmend explain 400196                                    the number of a code
  azmend explain \"VM agent is unable to communicate\"      a part of the message
  azmend explain --lang ko \"다른 백업 작업이 현재 진행 중\"
  az backup job show ... 2>&1 | azmend explain -           a whole log or answer, up to 64 KB
  azmend explain --file error.txt
  azmend explain --list                                    everything that is known";

/// `azmend explain`.
#[derive(Debug, ClapArgs)]
pub struct ExplainArgs {
    /// The code, its number, or what was printed: a message, JSON, a log; - reads it from stdin, and so does
    /// no ERROR when text is piped in
    #[arg(value_name = "ERROR")]
    pub text: Vec<String>,
    /// Read the text from a file
    #[arg(long, value_name = "FILE", conflicts_with = "text", value_hint = ValueHint::FilePath)]
    pub file: Option<PathBuf>,
    /// The language of the answer [default: AZMEND_LANG, else that of the locale]
    #[arg(long, value_enum, ignore_case = true, value_name = "LANG")]
    pub lang: Option<LangArg>,
    /// List everything that is known
    #[arg(long, conflicts_with_all = ["text", "file"])]
    pub list: bool,
    /// A directory with playbooks of your own
    #[arg(long, value_name = "DIR", env = "AZMEND_PLAYBOOKS", value_hint = ValueHint::DirPath)]
    pub playbooks: Option<PathBuf>,
}

/// A language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LangArg {
    /// English
    En,
    /// Korean
    Ko,
}

impl From<LangArg> for crate::engine::explain::Lang {
    fn from(lang: LangArg) -> Self {
        match lang {
            LangArg::En => Self::En,
            LangArg::Ko => Self::Ko,
        }
    }
}

/// `azmend doctor`.
#[derive(Debug, ClapArgs)]
pub struct DoctorArgs {
    /// The VM: name, group/name or resource id [default: every visible subscription]
    #[arg(long, value_name = "VM")]
    pub vm: Option<String>,
    /// What for.
    #[command(flatten)]
    pub purpose: PurposeArgs,
}

/// `azmend role`.
#[derive(Debug, ClapArgs)]
pub struct RoleArgs {
    /// Where the role may be assigned: a subscription's id, or the resource id of a group; repeatable
    #[arg(long, value_name = "SCOPE", value_parser = role_scope)]
    pub scope: Vec<ResourceId>,
    /// The role's name, unique in the tenant
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// What for.
    #[command(flatten)]
    pub purpose: PurposeArgs,
}

/// `azmend runs`.
#[derive(Debug, Subcommand)]
pub enum RunsCommand {
    /// List the runs, the newest first
    #[command(after_help = "Example:\n  azmend runs list -o json")]
    List,
    /// Show what a run did, change by change, or what became of a fleet
    #[command(after_help = "Example:\n  azmend runs show 0199f3a2")]
    Show {
        /// The run or the fleet: its id or its first characters
        #[arg(value_name = "RUN")]
        id: String,
    },
    /// Resume a run that was paused or killed
    ///
    /// Everything is read again first; what was done already is not done again. Deletions can be resumed for 24 hours,
    /// restoring locks never expires.
    #[command(after_help = "Example:\n  azmend runs resume 0199f3a2 --yes --deadline 2h45m")]
    Resume {
        /// The run: its id or its first characters
        #[arg(value_name = "RUN")]
        id: String,
        /// Do not ask for confirmation; every safety rule still applies
        #[arg(short, long)]
        yes: bool,
        /// Stop cleanly after this time (90s, 45m, 2h45m)
        #[arg(long, value_name = "TIME", env = "AZMEND_DEADLINE")]
        deadline: Option<Span>,
    },
    /// Undo what a run did: removed locks are restored exactly
    ///
    /// Deleted restore points cannot be recovered, as the plan shows. The result states for every change whether it was
    /// undone, needs no undo, or is irreversible.
    #[command(after_help = "Example:\n  azmend runs undo 0199f3a2")]
    Undo {
        /// The run: its id or its first characters
        #[arg(value_name = "RUN")]
        id: String,
        /// Do not ask for confirmation; every safety rule still applies
        #[arg(short, long)]
        yes: bool,
    },
    /// Delete the records of old runs that have ended; never of a run whose locks are off
    #[command(after_help = "Example:\n  azmend runs prune --older-than 90d")]
    Prune {
        /// How long ago a run must have ended
        #[arg(long, value_name = "TIME", default_value = "30d")]
        older_than: Span,
    },
}

/// `azmend playbook`.
#[derive(Debug, Subcommand)]
pub enum PlaybookCommand {
    /// List the playbooks
    #[command(after_help = "Example:\n  azmend playbook list")]
    List(PlaybooksDir),
    /// Show a playbook: what it is for, its parameters, its steps
    #[command(after_help = "Example:\n  azmend playbook show rp-collection-limit")]
    Show {
        /// The playbook
        name: String,
        /// Print the YAML it is written in
        #[arg(long)]
        yaml: bool,
        #[command(flatten)]
        #[expect(missing_docs, reason = "flattened")]
        dir: PlaybooksDir,
    },
    /// Check playbook files: every error at once, with line, column and a suggestion
    #[command(after_help = "Example:\n  azmend playbook validate playbooks/*.yaml")]
    Validate {
        /// The files
        #[arg(required = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
        files: Vec<PathBuf>,
    },
    /// Print the JSON Schema of playbooks, for editors
    #[command(after_help = "Example:\n  azmend playbook schema > schema.json")]
    Schema,
}

/// Where the user's playbooks are.
#[derive(Debug, ClapArgs)]
pub struct PlaybooksDir {
    /// A directory with playbooks of your own
    #[arg(long, value_name = "DIR", env = "AZMEND_PLAYBOOKS", value_hint = ValueHint::DirPath)]
    pub playbooks: Option<PathBuf>,
}

/// `azmend sandbox`.
#[derive(Debug, Subcommand)]
pub enum SandboxCommand {
    /// List the VMs of the embedded Azure with what is wrong with each
    #[command(after_help = "Example:\n  azmend sandbox list\n  azmend --sandbox=estate.yaml sandbox list")]
    List,
    /// Show the embedded Azure as it is now: locks, collections, jobs
    #[command(after_help = "Example:\n  azmend sandbox show")]
    Show,
    /// Write the built-in estate to FILE, to start your own from
    #[command(after_help = "Example:\n  azmend sandbox init estate.yaml && azmend --sandbox=estate.yaml sandbox list")]
    Init {
        /// The file; it must not exist
        #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },
    /// Reset the sandbox: discard everything that was done in it
    #[command(after_help = "Example:\n  azmend sandbox reset")]
    Reset,
    /// Serve the embedded Azure over HTTP on 127.0.0.1, with a managed identity, for runbooks and scripts
    ///
    /// Prints the variables that make a client work on it. Time passes in it as on this machine, or faster. What clients
    /// change is kept like everything in the sandbox. Ctrl-C and SIGTERM stop it.
    #[command(after_help = "Example:\n  azmend sandbox serve --port 8080\n  azmend sandbox serve --speed 60 -o json")]
    Serve(ServeArgs),
}

/// `azmend sandbox serve`.
#[derive(Debug, Clone, Copy, ClapArgs)]
pub struct ServeArgs {
    /// The port; 0 for any that is free
    #[arg(long, value_name = "P", default_value_t = 0)]
    pub port: u16,
    /// How long a token lives, in real time
    #[arg(long, value_name = "TIME", default_value = "1h")]
    pub token_life: Span,
}

impl Args {
    /// The command line, with variables that are set but empty taken as not set.
    #[must_use]
    pub fn command_line() -> clap::Command {
        let mut command = Self::command();
        let empty =
            |arg: &clap::Arg| arg.get_env().is_some_and(|name| std::env::var_os(name).is_some_and(|v| v.is_empty()));
        let ids: Vec<clap::Id> =
            command.get_arguments().filter(|arg| empty(arg)).map(|arg| arg.get_id().clone()).collect();
        for id in ids {
            command = command.mut_arg(id, |arg| arg.env(None::<&str>));
        }
        command.mut_args(|arg| arg.hide_env_values(true))
    }
}

/// More than a day in a second is no rehearsal, and less than real time helps nobody.
fn speed(text: &str) -> Result<u32, String> {
    let given = text.parse::<u32>().ok().filter(|n| (1..=86_400).contains(n));
    given.ok_or_else(|| "give a whole number from 1 to 86400: sandbox seconds per real second".to_owned())
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write it as key=value, for example --set retain=14d".to_owned()),
    }
}

fn override_parser() -> impl clap::builder::TypedValueParser<Value = Override> {
    let names = Override::ALL.map(|rule| clap::builder::PossibleValue::new(rule.name()).help(rule.meaning()));
    PossibleValuesParser::new(names).try_map(|name| Override::parse(&name).ok_or_else(|| format!("no rule {name}")))
}

fn role_scope(text: &str) -> Result<ResourceId, String> {
    let id = if text.contains('/') { ResourceId::parse(text) } else { ResourceId::subscription_scope(text) };
    let id = id.map_err(|error| error.to_string())?;
    if id.is_type("subscription") || id.is_type("resourcegroup") {
        return Ok(id);
    }
    Err("a role can be assigned at a subscription or a resource group: give the id of one".to_owned())
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
    fn a_dry_run_takes_no_yes() {
        assert!(parse(&["fix", "p", "--vm", "v", "--dry-run", "--yes"]).is_err());
        assert!(parse(&["fix", "p", "--vm", "v", "--set", "x"]).is_err());
        assert!(parse(&["fix", "p", "--vm", "v", "--deadline", "2h45m"]).is_ok());
        assert!(parse(&["fix", "p"]).is_err());
    }
}
