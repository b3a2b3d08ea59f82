//! `azmend completions SHELL`.

use clap_complete::{Shell, generate};

use crate::cli::args::Args;
use crate::cli::execute::Session;
use crate::engine::exit;

/// Prints the script.
pub fn run(session: &Session, shell: Shell) -> u8 {
    let mut script = Vec::new();
    generate(shell, &mut Args::command_line(), "azmend", &mut script);
    session.printer.data(&String::from_utf8_lossy(&script));
    exit::OK
}
