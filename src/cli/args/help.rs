//! Help texts for the width of a screen.
//!
//! Invariants: a command in a help text, an example or in backticks, is never broken. `-h` is short: what is needed every day,
//! two examples; `--help` and `azmend help` are complete.

use clap::Command;

use crate::report::layout::{hanging, wrap};
use crate::text::plural;

/// Stands for a space where clap must not break a line.
const FIRM: char = '\u{a0}';
/// Examples of `-h`; more of them are in `--help`.
const BRIEF: usize = 2;

/// What clap rendered, with its spaces.
pub(super) fn shown(rendered: &str) -> String {
    rendered.replace(FIRM, " ")
}

/// A command and those below it. `path` is how it is called.
pub(super) fn laid_out(mut command: Command, path: &str, width: usize) -> Command {
    if let Some(text) = command.get_after_help().map(ToString::to_string) {
        let all = examples(&text, width, usize::MAX);
        let mut brief = examples(&text, width, BRIEF);
        let more = text.lines().filter(|line| line.starts_with("  ")).count().saturating_sub(BRIEF);
        if more > 0 {
            let name = path.strip_prefix("azmend ").unwrap_or_default();
            let what = if name.is_empty() { "exit codes".to_owned() } else { plural(more, "more example") };
            let line = format!("All options and {what}: {}", format!("azmend help {name}").trim_end());
            brief = format!("{brief}\n\n{}", firm(&hanging("", &line, width)));
        }
        command = command.after_help(brief).after_long_help(all);
    }
    if let Some(about) = command.get_about().map(ToString::to_string) {
        command = command.about(unbroken(&about));
    }
    if let Some(about) = command.get_long_about().map(ToString::to_string) {
        command = command.long_about(unbroken(&about));
    }
    let command = command.mut_args(|arg| {
        let (help, long) = (arg.get_help().map(ToString::to_string), arg.get_long_help().map(ToString::to_string));
        let arg = match help {
            Some(help) => arg.help(unbroken(&help)),
            None => arg,
        };
        match long {
            Some(long) => arg.long_help(unbroken(&long)),
            None => arg,
        }
    });
    command.mut_subcommands(|sub| {
        let path = format!("{path} {}", sub.get_name());
        laid_out(sub, &path, width)
    })
}

/// The first `most` examples of each paragraph of a text behind the options. An example is an indented line: a command, two
/// spaces, what it is for. The latter has a line of its own where both do not fit.
fn examples(text: &str, width: usize, most: usize) -> String {
    // What is shown briefly are things to type: a table of codes is not.
    let paragraphs = text.split("\n\n").filter(|one| most == usize::MAX || !one.starts_with("Exit codes"));
    let paragraph = |one: &str| {
        let own: Vec<(&str, &str)> = one.lines().filter_map(example).collect();
        let column =
            own.iter().filter(|(_, what)| !what.is_empty()).map(|(command, _)| command.len()).max().unwrap_or(0);
        let beside = own.iter().all(|(_, what)| column + 4 + what.len() <= width);
        let mut count = 0;
        let mut lines = Vec::new();
        for line in one.lines() {
            match example(line) {
                Some(_) if count == most => {}
                Some((command, what)) => {
                    count += 1;
                    if what.is_empty() {
                        lines.push(format!("  {command}"));
                    } else if beside {
                        lines.push(format!("  {command:<column$}  {what}"));
                    } else {
                        lines.push(format!("  {command}"));
                        lines.push(hanging("      ", what, width));
                    }
                }
                None if count == most && most < own.len() => {}
                None => lines.extend(wrap(&[(anstyle::Style::new(), line)], width)),
            }
        }
        lines.join("\n")
    };
    firm(&paragraphs.map(paragraph).collect::<Vec<_>>().join("\n\n"))
}

/// The command of an example and what is behind it.
fn example(line: &str) -> Option<(&str, &str)> {
    let line = line.strip_prefix("  ")?;
    let (command, what) = line.split_once("  ").unwrap_or((line, ""));
    Some((command, what.trim()))
}

/// All spaces firm: the text is laid out already.
fn firm(text: &str) -> String {
    text.replace(' ', &FIRM.to_string())
}

/// The spaces within backticks firm.
fn unbroken(text: &str) -> String {
    let part = |(index, part): (usize, &str)| if index % 2 == 1 { firm(part) } else { part.to_owned() };
    text.split('`').enumerate().map(part).collect::<Vec<_>>().join("`")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "Examples:\n  a --one          first\n  a --long-option  second one\n  a --three\n`a list` names more.";

    #[test]
    fn what_an_example_is_for_stands_beside_it_or_below() {
        assert_eq!(
            shown(&examples(TEXT, 60, usize::MAX)),
            "Examples:\n  a --one          first\n  a --long-option  second one\n  a --three\n`a list` names more."
        );
        assert_eq!(
            shown(&examples(TEXT, 24, usize::MAX)),
            "Examples:\n  a --one\n      first\n  a --long-option\n      second one\n  a --three\n`a list` names more."
        );
        assert_eq!(shown(&examples(TEXT, 60, 2)), "Examples:\n  a --one          first\n  a --long-option  second one");
    }

    #[test]
    fn clap_cannot_break_what_is_a_command() {
        assert!(!examples(TEXT, 24, 9).contains(' '));
        assert_eq!(unbroken("see `a list -x` here"), "see `a\u{a0}list\u{a0}-x` here");
    }
}
