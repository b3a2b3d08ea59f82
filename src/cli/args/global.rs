//! What was typed that belongs to every command.

use std::path::PathBuf;

use super::state::StateArgs;
use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args as ClapArgs, ValueEnum, ValueHint};

/// The help of `--state-dir`, with the default of this machine.
const STATE_DIR: &str = if cfg!(windows) {
    "Where runs and sandboxes are kept [default: %LOCALAPPDATA%\\azmend]"
} else {
    "Where runs and sandboxes are kept [default: $XDG_STATE_HOME/azmend or ~/.local/state/azmend]"
};

/// Options of every command.
#[derive(Debug, Clone, ClapArgs)]
pub struct Global {
    /// Work on the embedded Azure: nothing real is touched. ESTATE is a file of your own (see `sandbox init`)
    #[arg(long, global = true, value_name = "ESTATE", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "built-in", env = "AZMEND_SANDBOX", value_hint = ValueHint::FilePath)]
    pub sandbox: Option<String>,
    /// Let time pass in the embedded Azure: N of its seconds for each real one, to try Ctrl-C and `runs resume` by hand
    /// [default: waits take no time; `sandbox serve`: 1]
    #[arg(hide_short_help = true)]
    #[arg(long, global = true, value_name = "N", value_parser = speed)]
    pub speed: Option<u32>,

    /// Format of the data on stdout
    #[arg(short, long, global = true, value_enum, value_name = "FORMAT", env = "AZMEND_OUTPUT")]
    #[arg(default_value = "table", help_heading = "Output")]
    pub output: OutputArg,
    /// Only this part of the result: a JMESPath expression, as in the Azure CLI
    ///
    /// With -o json, which it implies, -o yaml and -o jsonl.
    #[arg(long, global = true, value_name = "JMESPATH", help_heading = "Output")]
    pub query: Option<String>,
    /// No progress on stderr; warnings and errors stay
    #[arg(short, long, global = true, env = "AZMEND_QUIET", value_parser = FalseyValueParser::new())]
    #[arg(action = ArgAction::SetTrue, help_heading = "Output")]
    pub quiet: bool,
    /// Colours: auto looks at the terminal, NO_COLOR and CLICOLOR
    #[arg(long, global = true, value_enum, value_name = "WHEN", env = "AZMEND_COLOR", default_value = "auto")]
    #[arg(hide_short_help = true)]
    #[arg(help_heading = "Output")]
    pub color: ColorArg,
    /// Diagnostics on stderr: off, error, warn, info, debug, trace, or a filter such as azmend=debug
    #[arg(long, global = true, value_name = "LEVEL", env = "AZMEND_LOG_LEVEL", default_value = "warn")]
    #[arg(hide_short_help = true)]
    #[arg(help_heading = "Output")]
    pub log_level: String,
    /// Format of the diagnostics
    #[arg(long, global = true, value_enum, value_name = "FORMAT", env = "AZMEND_LOG_FORMAT", default_value = "text")]
    #[arg(hide_short_help = true)]
    #[arg(help_heading = "Output")]
    pub log_format: LogFormatArg,
    /// Where runs and sandboxes are kept
    #[arg(long, global = true, value_name = "DIR", env = "AZMEND_STATE_DIR", value_hint = ValueHint::DirPath)]
    #[arg(hide_short_help = true)]
    #[arg(help_heading = "Output", help = STATE_DIR)]
    pub state_dir: Option<PathBuf>,
    /// Where runs are kept.
    #[command(flatten)]
    pub place: StateArgs,

    /// Subscription to look in, id or name; repeatable [default: all that are visible]
    ///
    /// In the variable, separate several with ; An empty variable counts as not set, an empty option is an error.
    #[arg(short, long, global = true, value_name = "ID|NAME", env = "AZMEND_SUBSCRIPTION", value_delimiter = ';')]
    #[arg(help_heading = "Azure")]
    pub subscription: Vec<String>,
    /// Tenant to sign in to. For `audit` and `fix --all`, also all of it, whatever subscription the environment names
    #[arg(long, global = true, value_name = "ID", env = "AZMEND_TENANT", help_heading = "Azure")]
    #[arg(hide_short_help = true)]
    #[arg(num_args = 0..=1, default_missing_value = "")]
    pub tenant: Option<String>,
    /// Which of these were typed, and not found in the environment.
    #[arg(skip)]
    pub typed: Typed,
    /// Client id of the user-assigned identity, service principal or workload identity
    #[arg(hide_short_help = true)]
    #[arg(long, global = true, value_name = "ID", env = "AZMEND_CLIENT_ID", help_heading = "Azure")]
    pub client_id: Option<String>,
    /// How to sign in: auto tries what the environment offers
    #[arg(long, global = true, value_enum, value_name = "HOW", env = "AZMEND_AUTH", default_value = "auto")]
    #[arg(hide_short_help = true)]
    #[arg(help_heading = "Azure")]
    pub auth: AuthArg,
    /// Which Azure
    #[arg(long, global = true, value_enum, value_name = "CLOUD", env = "AZMEND_CLOUD", default_value = "public")]
    #[arg(hide_short_help = true)]
    #[arg(help_heading = "Azure")]
    pub cloud: CloudArg,
    /// Another ARM endpoint (https; http only on loopback)
    #[arg(long, global = true, value_name = "URL", env = "AZMEND_ARM_ENDPOINT", value_hint = ValueHint::Url)]
    #[arg(hide_short_help = true)]
    #[arg(help_heading = "Azure")]
    pub arm_endpoint: Option<String>,
}

/// Options that mean more when they are typed than when they have a default or a variable of others has them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Typed {
    /// `--tenant`.
    pub tenant: bool,
    /// `--subscription`.
    pub subscription: bool,
    /// `--output`, also by its variable.
    pub output: bool,
    /// `--state`.
    pub state: bool,
    /// `--state-dir`.
    pub state_dir: bool,
    /// `--blob-endpoint`.
    pub blob_endpoint: bool,
}

/// Format of stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputArg {
    /// For people
    Table,
    /// One JSON object
    Json,
    /// The same object as YAML
    Yaml,
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
    /// The sign-in of the Azure CLI
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

/// More than a day in a second is no rehearsal, and less than real time helps nobody.
fn speed(text: &str) -> Result<u32, String> {
    let given = text.parse::<u32>().ok().filter(|n| (1..=86_400).contains(n));
    given.ok_or_else(|| "give a whole number from 1 to 86400: sandbox seconds per real second".to_owned())
}
