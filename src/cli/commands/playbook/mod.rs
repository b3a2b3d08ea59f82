//! `azmend playbook list | show | new | validate | test | schema`.

mod new;
mod test;
mod validate;

use serde_json::{Value, json};

use crate::cli::args::PlaybookCommand;
use crate::cli::commands::fix::{find, library};
use crate::cli::error::CliError;
use crate::cli::execute::Session;
use crate::cli::settings::Output;
use crate::engine::exit;
use crate::playbook::library::Origin;
use crate::playbook::model::{Argument, OnFailure, Playbook};
use crate::playbook::schema;
use crate::report::layout::{BOLD, DIM, Page, paint};
use crate::report::lists::{Column, table};

/// Runs the command.
///
/// # Errors
/// When a playbook is not found.
pub fn run(session: &Session, command: &PlaybookCommand) -> Result<u8, CliError> {
    match command {
        PlaybookCommand::List(dir) => {
            let library = library(session, dir.playbooks.as_deref());
            let all: Vec<(&Playbook, &Origin)> = library.iter().collect();
            match session.printer.output() {
                Output::Table => {
                    let row = |(playbook, origin): &(&Playbook, &Origin)| {
                        let origin = match origin {
                            Origin::Shipped => String::new(),
                            Origin::File(path) => format!(" ({})", path.display()),
                        };
                        vec![
                            playbook.name().to_owned(),
                            playbook.severity().as_str().to_owned(),
                            format!("{}{origin}", playbook.title()),
                        ]
                    };
                    let rows: Vec<Vec<String>> = all.iter().map(row).collect();
                    let columns = [Column::Id("name"), Column::Id("severity"), Column::Text("what it repairs")];
                    session.printer.data(&table(&columns, &rows, session.printer.width()));
                }
                Output::Json => {
                    let list: Vec<Value> = all.iter().map(|(playbook, origin)| object(playbook, origin)).collect();
                    session.printer.json(&json!({ "schema": "azmend.playbooks/v1", "playbooks": list }));
                }
                _ => {
                    for (playbook, origin) in all {
                        session.printer.json(&object(playbook, origin));
                    }
                }
            }
            Ok(exit::OK)
        }
        PlaybookCommand::Show { name, yaml, dir } => {
            let library = library(session, dir.playbooks.as_deref());
            let playbook = find(&library, name)?;
            let origin = library.iter().find(|(other, _)| other.name() == playbook.name()).map(|(_, origin)| origin);
            if *yaml {
                session.printer.data(playbook.text());
            } else if session.printer.for_people() {
                session.printer.data(&page(playbook, session.printer.width()));
            } else {
                session.printer.json(&object(playbook, origin.unwrap_or(&Origin::Shipped)));
            }
            Ok(exit::OK)
        }
        PlaybookCommand::New(args) => new::run(session, args),
        PlaybookCommand::Validate { files } => Ok(validate::run(session, files)),
        PlaybookCommand::Test(args) => test::run(session, args),
        PlaybookCommand::Schema => {
            session.printer.data(&schema::json());
            Ok(exit::OK)
        }
    }
}

fn page(playbook: &Playbook, width: usize) -> String {
    let mut page = Page::new(width);
    page.line(&format!("{}  {}", paint(BOLD, playbook.name()), paint(DIM, playbook.severity().as_str())));
    page.item("", anstyle::Style::new(), playbook.title());
    if !playbook.description().is_empty() {
        page.gap();
        // An empty line ends a paragraph; other line ends are those of the file.
        for (index, paragraph) in playbook.description().trim().split("\n\n").enumerate() {
            if index > 0 {
                page.line("");
            }
            page.item("  ", anstyle::Style::new(), paragraph.trim());
        }
    }
    page.gap();
    if !playbook.codes().is_empty() {
        page.item("codes    ", anstyle::Style::new(), &playbook.codes().join(", "));
    }
    page.item("applies  ", anstyle::Style::new(), playbook.applies().source());
    if !playbook.source().is_empty() {
        page.item("source   ", DIM, playbook.source());
    }
    if !playbook.parameters().is_empty() {
        page.gap();
        page.line(&paint(BOLD, "parameters (--set name=value)"));
        for (name, parameter) in playbook.parameters() {
            let values = parameter.kind.describe();
            page.item(
                &format!("  {name:<10}"),
                anstyle::Style::new(),
                &format!("{}; {values}; default {}", parameter.help, parameter.default),
            );
        }
    }
    page.gap();
    page.line(&paint(BOLD, "steps"));
    for (index, step) in playbook.steps().iter().enumerate() {
        let with: Vec<String> =
            step.with().iter().map(|(key, argument)| format!("{key}={}", argument_text(argument))).collect();
        let mut text = format!("{}: {} {}", step.id(), step.action(), with.join(" "));
        if step.on_failure() == OnFailure::Continue {
            text.push_str("; continues on failure");
        }
        page.item(&format!("  {} ", index + 1), anstyle::Style::new(), text.trim_end());
        if let Some(when) = step.when() {
            page.item("      when ", DIM, when.source());
        }
        for after in step.after() {
            page.item("      after ", DIM, &after.to_string());
        }
    }
    page.finish()
}

fn argument_text(argument: &Argument) -> String {
    match argument {
        Argument::Literal(Value::String(text)) => text.clone(),
        Argument::Literal(value) => value.to_string(),
        Argument::Param(name) => format!("<{name}>"),
    }
}

fn object(playbook: &Playbook, origin: &Origin) -> Value {
    let parameters: serde_json::Map<String, Value> = playbook
        .parameters()
        .iter()
        .map(|(name, parameter)| {
            let value = json!({
                "values": parameter.kind.describe(),
                "default": parameter.default.to_json(),
                "help": parameter.help,
            });
            (name.clone(), value)
        })
        .collect();
    let steps: Vec<Value> = playbook
        .steps()
        .iter()
        .map(|step| {
            json!({
                "id": step.id(),
                "action": step.action().as_str(),
                "when": step.when().map(|when| when.source()),
                "after": step.after(),
                "timeout": step.timeout(),
            })
        })
        .collect();
    json!({
        "schema": "azmend.playbook/v1",
        "name": playbook.name(),
        "title": playbook.title(),
        "severity": playbook.severity(),
        "codes": playbook.codes(),
        "source": playbook.source(),
        "description": playbook.description(),
        "applies": playbook.applies().source(),
        "file": match origin {
            Origin::Shipped => None,
            Origin::File(path) => Some(path.display().to_string()),
        },
        "parameters": parameters,
        "steps": steps,
    })
}
