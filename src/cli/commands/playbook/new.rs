//! `azmend playbook new NAME`: a file to start from.

use std::io::ErrorKind;

use super::object;
use crate::cli::args::NewArgs;
use crate::cli::error::CliError;
use crate::cli::execute::Session;
use crate::cli::files;
use crate::engine::exit;
use crate::playbook::library::{Library, Origin};
use crate::playbook::source;
use crate::playbook::template::template;
use crate::text::{io_words, shell_quote};

/// Writes the file.
///
/// # Errors
/// When the name cannot be one or is taken, or the file exists.
pub fn run(session: &Session, args: &NewArgs) -> Result<u8, CliError> {
    let text = template(&args.name)
        .map_err(|problem| CliError::input(problem.message).code("bad_name").maybe_hint(problem.suggestion))?;
    if Library::shipped().find(&args.name).is_ok() {
        return Err(CliError::input(format!("the name {} belongs to a shipped playbook", args.name))
            .code("bad_name")
            .hint(format!("choose another name; azmend playbook show {} --yaml prints that playbook", args.name)));
    }
    let file = args.out.clone().unwrap_or_else(|| format!("{}.yaml", args.name).into());
    let shown = file.display().to_string();
    files::write_new(&file, &text).map_err(|error| {
        let out = CliError::io(format!("cannot write {shown}: {}; nothing was changed", io_words(&error)));
        match error.kind() {
            ErrorKind::AlreadyExists => out.hint("choose another name, or another file with --out"),
            _ => out,
        }
    })?;
    if !session.printer.for_people()
        && let Ok(playbook) = source::read(&text, &shown)
    {
        session.printer.json(&object(&playbook, &Origin::File(file)));
    }
    session.printer.note(&format!("{shown} is written; test it with: azmend playbook test {}", shell_quote(&shown)));
    Ok(exit::OK)
}
