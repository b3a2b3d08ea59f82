//! `azmend man --dir DIR`: the manual pages, one for each command.

use std::path::Path;

use crate::cli::args::Args;
use crate::cli::error::CliError;
use crate::cli::execute::Session;
use crate::engine::exit;

/// Writes the pages; those that are there are replaced.
pub fn run(session: &Session, dir: &Path) -> Result<u8, CliError> {
    let failed = |error: std::io::Error| {
        CliError::io(format!("cannot write to {}: {}", dir.display(), crate::text::io_words(&error)))
    };
    std::fs::create_dir_all(dir).map_err(failed)?;
    clap_mangen::generate_to(Args::command_line(), dir).map_err(failed)?;
    session.printer.note(&format!("the manual pages are in {}", dir.display()));
    Ok(exit::OK)
}
