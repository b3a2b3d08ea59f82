//! What was typed for `sandbox`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand, ValueHint};

use crate::duration::Span;

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
