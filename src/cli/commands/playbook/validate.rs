//! `azmend playbook validate FILE|DIR...`: every file, one summary.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::cli::execute::Session;
use crate::cli::settings::Output;
use crate::engine::exit;
use crate::playbook::library::{Library, SHIPPED, files_of};
use crate::playbook::source;
use crate::report::layout::Page;
use crate::text::plural;
use crate::yaml::{self, Diagnostic, Limits, Place};

/// Checks the files, and those of the directories.
pub fn run(session: &Session, paths: &[PathBuf]) -> u8 {
    let mut files: Vec<PathBuf> = Vec::new();
    let mut problems: Vec<Diagnostic> = Vec::new();
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        match files_of(path) {
            Ok(found) if found.is_empty() => {
                let message = "the directory has no *.yaml or *.yml file";
                problems.push(Diagnostic::new(&path.display().to_string(), Place::START, message));
            }
            Ok(found) => files.extend(found),
            Err(problem) => problems.push(problem),
        }
    }
    let mut valid = Vec::new();
    for file in &files {
        let found = check(file, &mut names);
        if found.is_empty() {
            valid.push(file.display().to_string());
        }
        problems.extend(found);
    }
    show(session, files.len(), &valid, &problems)
}

/// What is wrong with one file, its name among the others and the shipped ones included.
fn check(file: &Path, names: &mut BTreeMap<String, String>) -> Vec<Diagnostic> {
    let shown = file.display().to_string();
    let read = yaml::read_file(file, &Limits::default()).and_then(|text| source::read_placed(&text, &shown));
    let (playbook, place) = match read {
        Ok(read) => read,
        Err(problems) => return problems,
    };
    let name = playbook.name().to_owned();
    let taken =
        |by: &str| vec![Diagnostic::new(&shown, place, format!("the name {name} {by}")).hint("choose another name")];
    // The file of a shipped playbook, as it is shipped, is one of azmend's own.
    let own = SHIPPED.iter().any(|(_, text)| *text == playbook.text());
    if !own && Library::shipped().find(&name).is_ok() {
        return taken("belongs to a shipped playbook");
    }
    match names.insert(name.clone(), shown.clone()) {
        Some(other) => taken(&format!("is taken by {other}")),
        None => Vec::new(),
    }
}

fn show(session: &Session, files: usize, valid: &[String], problems: &[Diagnostic]) -> u8 {
    let object = |problem: &Diagnostic| {
        json!({
            "file": problem.file,
            "line": problem.line,
            "column": problem.column,
            "message": problem.message,
            "suggestion": problem.suggestion,
        })
    };
    match session.printer.output() {
        Output::Table => {
            let mut page = Page::new(usize::MAX);
            if files > 1 {
                valid.iter().for_each(|file| page.item("", anstyle::Style::new(), &format!("{file}: valid")));
            }
            for line in
                problems.iter().flat_map(|problem| problem.to_string().lines().map(str::to_owned).collect::<Vec<_>>())
            {
                page.item("", anstyle::Style::new(), &line);
            }
            session.printer.data(&page.finish());
        }
        Output::Json => {
            let list: Vec<_> = problems.iter().map(object).collect();
            session.printer.json(
                &json!({ "schema": "azmend.validation/v1", "files": files, "valid": list.is_empty(), "problems": list }),
            );
        }
        _ => problems.iter().for_each(|problem| session.printer.json(&object(problem))),
    }
    if problems.is_empty() {
        let verb = if files == 1 { "is" } else { "are" };
        session.printer.note(&format!("{} {verb} valid", plural(files, "file")));
        return exit::OK;
    }
    let rest = if files > 1 { format!("; {} valid", valid.len()) } else { String::new() };
    session.printer.note(&format!("{} in {}{rest}", plural(problems.len(), "problem"), plural(files, "file")));
    exit::INPUT
}
