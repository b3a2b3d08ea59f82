//! The question before anything is changed.
//!
//! Invariants: it is asked only when both ends are a terminal; anything but `y` or `yes` is no; without a terminal and
//! without `--yes` the answer is no (exit 5). `--yes` answers the question and skips no rule.

use std::io;

use super::error::CliError;
use super::interrupt;
use super::printer::Printer;

/// Asks, unless `yes` was given.
///
/// # Errors
/// Refused, when the answer is no or nobody can be asked.
pub async fn confirm(printer: &Printer, yes: bool, question: &str) -> Result<(), CliError> {
    if yes {
        return Ok(());
    }
    if !printer.can_ask() {
        return Err(CliError::refused("not confirmed: no terminal to ask on; nothing was changed")
            .code("not_confirmed")
            .hint("look at the plan with --dry-run, then confirm it with --yes"));
    }
    printer.ask(&format!("{question} [y/N] "));
    let answer = tokio::select! {
        answer = tokio::task::spawn_blocking(read_line) => answer.unwrap_or_default(),
        // Without the listener the process would end here without its result object.
        () = interrupt::signal() => {
            printer.say("");
            String::new()
        }
    };
    if agrees(&answer) {
        return Ok(());
    }
    Err(CliError::refused("not confirmed; nothing was changed").code("not_confirmed"))
}

fn read_line() -> String {
    let mut line = String::new();
    match io::stdin().read_line(&mut line) {
        Ok(_) => line,
        Err(_) => String::new(),
    }
}

fn agrees(answer: &str) -> bool {
    let answer = answer.trim();
    answer.eq_ignore_ascii_case("y") || answer.eq_ignore_ascii_case("yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yes_is_yes() {
        for yes in ["y", "Y\n", " yes\r\n", "YES"] {
            assert!(agrees(yes), "{yes:?}");
        }
        for no in ["", "\n", "n", "ye", "yess", "да", "1", "true", "y y"] {
            assert!(!agrees(no), "{no:?}");
        }
    }
}
