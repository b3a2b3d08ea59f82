//! Which command writes which formats: the help and the completion of a command name only those, and so do errors.

use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use clap::{Arg, Command, ValueEnum as _};

use super::global::OutputArg;

/// What every command with a result writes.
const RESULT: [OutputArg; 4] = [OutputArg::Table, OutputArg::Json, OutputArg::Yaml, OutputArg::Jsonl];

/// The formats of a command, the default first.
#[must_use]
pub fn formats(command: &str) -> &'static [OutputArg] {
    use OutputArg::{Csv, Html, Json, Jsonl, Junit, Markdown, Sarif, Table, Yaml};
    match command {
        "audit" => &[Table, Json, Yaml, Jsonl, Csv, Markdown, Html, Sarif, Junit],
        "diagnose" => &[Table, Json, Yaml, Jsonl, Markdown],
        _ => &RESULT,
    }
}

/// Formats in words: `table, json, yaml and jsonl`.
#[must_use]
pub fn words(formats: &[OutputArg]) -> String {
    let names: Vec<String> = names(formats).collect();
    match names.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => names.concat(),
    }
}

fn names(formats: &[OutputArg]) -> impl Iterator<Item = String> {
    formats.iter().filter_map(|one| one.to_possible_value()).map(|value| value.get_name().to_owned())
}

/// Gives each command an `--output` of its own.
pub(super) fn of_each_command(command: Command) -> Command {
    let Some(output) = command.get_arguments().find(|arg| arg.get_id() == "output").cloned() else { return command };
    command.mut_subcommands(|sub| {
        let formats = formats(sub.get_name());
        with(sub, &output, formats)
    })
}

fn with(command: Command, output: &Arg, formats: &'static [OutputArg]) -> Command {
    let values = formats.iter().filter_map(|one| one.to_possible_value());
    let parser = PossibleValuesParser::new(values).try_map(|name| OutputArg::from_str(&name, false));
    // Scripts and manual pages are what they are.
    let none = ["completions", "man", "schema"].contains(&command.get_name());
    let own = output.clone().value_parser(parser).hide(none);
    command.arg(own).mut_subcommands(|sub| with(sub, output, formats))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_named_in_words() {
        assert_eq!(words(formats("fix")), "table, json, yaml and jsonl");
        assert_eq!(words(&[OutputArg::Json]), "json");
    }
}
