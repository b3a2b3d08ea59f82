//! What was typed for `playbook`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand, ValueHint};

use super::playbook_files::{NewArgs, TestArgs};

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
    /// Write a new playbook to start from: valid, with a comment at every key
    #[command(after_help = "Example:\n  azmend playbook new weekly-room && azmend playbook test weekly-room.yaml")]
    New(NewArgs),
    /// Check playbook files: every error at once, with line, column and a suggestion
    #[command(
        after_help = "Examples:\n  azmend playbook validate playbooks/*.yaml\n  azmend playbook validate playbooks/"
    )]
    Validate {
        /// The files, or directories with *.yaml and *.yml files
        #[arg(required = true, value_name = "FILE|DIR", value_hint = ValueHint::AnyPath)]
        files: Vec<PathBuf>,
    },
    /// Show what a playbook would do on each VM of an estate, with the values that its conditions saw
    ///
    /// Works offline, on the embedded Azure; nothing is kept. Exit 0: nothing to do; 3: something would be changed; 5: a rule
    /// refuses a plan; 6: something could not be read. The worst of all VMs counts.
    #[command(after_help = super::playbook_files::TEST_EXAMPLES)]
    Test(TestArgs),
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
