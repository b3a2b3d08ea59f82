//! What was typed for `playbook`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand, ValueHint};

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
