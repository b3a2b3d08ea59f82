//! `azmend completions SHELL`, and the answers to the script that it prints.
//!
//! The script asks azmend itself what can be typed next, so that playbooks, VMs and runs are completed too. Script and program have
//! to be of one version: whoever packages azmend makes the script with the program that it is for.

use std::ffi::OsString;

use clap_complete::engine::{ArgValueCandidates, ArgValueCompleter};
use clap_complete::env::Shells;
use clap_complete::{CompleteEnv, Shell};

use crate::cli::args::Args;
use crate::cli::candidates;
use crate::cli::error::CliError;
use crate::cli::execute::Session;
use crate::engine::exit;

/// The variable by which the script asks. Not `COMPLETE`, the usual one: a job that has it set for another program would get
/// completions instead of a repair.
const ASKED: &str = "AZMEND_COMPLETE";

/// Prints the script.
///
/// # Errors
/// For a shell that the engine does not know.
pub fn run(session: &Session, shell: Shell) -> Result<u8, CliError> {
    let name = shell.to_string();
    let shells = Shells::builtins();
    let completer = shells.completer(&name).ok_or_else(|| CliError::input(format!("no completions for {name}")))?;
    let mut script = Vec::new();
    completer
        .write_registration(ASKED, "azmend", "azmend", "azmend", &mut script)
        .map_err(|error| CliError::io(format!("cannot write the script: {error}")))?;
    session.printer.data(&String::from_utf8_lossy(&script));
    Ok(exit::OK)
}

/// Answers the script, if it asks.
#[must_use]
pub fn answered(words: &[OsString]) -> Option<u8> {
    let here = std::env::current_dir().ok();
    let asked = CompleteEnv::with_factory(command).var(ASKED).bin("azmend");
    match asked.try_complete(words.iter().cloned(), here.as_deref()) {
        Ok(false) => None,
        Ok(true) => Some(exit::OK),
        // The shell shows nothing then; a message would land in the line that is being typed.
        Err(_) => Some(exit::INPUT),
    }
}

/// The command line with what can be typed for names.
fn command() -> clap::Command {
    with_candidates(Args::command_line(), "")
}

fn with_candidates(command: clap::Command, parent: &str) -> clap::Command {
    let name = command.get_name().to_owned();
    let parent = parent.to_owned();
    let command = command.mut_args(|arg| {
        let id = arg.get_id().as_str().to_owned();
        match (parent.as_str(), name.as_str(), id.as_str()) {
            (_, "fix" | "plan", "playbook") => arg.add(ArgValueCandidates::new(candidates::playbooks_and_auto)),
            (_, _, "playbook") | ("playbook", "show", "name") => {
                arg.add(ArgValueCandidates::new(candidates::playbooks))
            }
            (_, _, "vm") => arg.add(ArgValueCompleter::new(candidates::vms)),
            ("runs", _, "id") => arg.add(ArgValueCandidates::new(candidates::runs)),
            (_, _, "retry_failed") => arg.add(ArgValueCandidates::new(candidates::fleets)),
            _ => arg,
        }
    });
    command.mut_subcommands(|sub| with_candidates(sub, &name))
}
