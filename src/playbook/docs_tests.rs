//! `docs/playbooks.md` says what the code does.

use std::fmt::Write as _;

use super::after::StepOutcome;
use super::conditions::{FUNCTIONS, MAX_BYTES, MAX_LEVELS, view_paths};
use super::library::Library;
use super::source::{PARAMETER_KEYS, STEP_KEYS, TOP_KEYS, TYPES, read};
use crate::actions::spec::ActionName;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/playbooks.md");
const BEGIN: &str = "<!-- generated: the condition view -->\n";
const END: &str = "<!-- end of the condition view -->\n";
const CHANGES_BEGIN: &str = "<!-- generated: what actions change -->\n";
const CHANGES_END: &str = "<!-- end of what actions change -->\n";

fn page() -> String {
    std::fs::read_to_string(FILE).unwrap()
}

fn table() -> String {
    let mut table = String::from("| value | type | meaning |\n|---|---|---|\n");
    for (path, known) in view_paths() {
        let kind = known.kind.to_string();
        let kind = kind.trim_start_matches("a ");
        writeln!(table, "| `{path}` | {kind} | {} |", known.help).unwrap();
    }
    table
}

fn changes() -> String {
    let mut table = String::from("| action | changes these values |\n|---|---|\n");
    for action in ActionName::ALL {
        let changed: Vec<String> = action.writes().iter().map(|path| format!("`{path}`")).collect();
        let changed = if changed.is_empty() { "none".to_owned() } else { changed.join(", ") };
        writeln!(table, "| `{action}` | {changed} |").unwrap();
    }
    table
}

/// `AZMEND_BLESS=1 cargo test docs` writes the tables again.
#[test]
fn the_tables_are_up_to_date() {
    let mut page = page();
    for (begin, end, table) in [(BEGIN, END, table()), (CHANGES_BEGIN, CHANGES_END, changes())] {
        let (before, rest) = page.split_once(begin).unwrap();
        let (found, after) = rest.split_once(end).unwrap();
        if std::env::var_os("AZMEND_BLESS").is_some() {
            page = format!("{before}{begin}{table}{end}{after}");
            std::fs::write(FILE, &page).unwrap();
        } else {
            assert!(found == table, "docs/playbooks.md is old: run AZMEND_BLESS=1 cargo test docs");
        }
    }
}

#[test]
fn every_word_of_the_language_is_explained() {
    let page = page();
    let named = |word: &str| page.contains(&format!("`{word}`"));
    let words = TOP_KEYS.iter().chain(&PARAMETER_KEYS).chain(&STEP_KEYS).chain(&TYPES).chain(&FUNCTIONS);
    for word in words {
        assert!(named(word), "{word}");
    }
    for action in ActionName::ALL {
        assert!(page.contains(&format!("### `{action}`")), "{action}");
        for key in action.keys() {
            assert!(named(key), "{action}: {key}");
        }
    }
    for (playbook, _) in Library::shipped().iter() {
        assert!(named(playbook.name()), "{}", playbook.name());
    }
    for outcome in StepOutcome::ALL {
        assert!(page.contains(&format!("| `{outcome}` |")), "{outcome}");
    }
    for number in [MAX_BYTES, MAX_LEVELS] {
        assert!(page.contains(&number.to_string()), "{number}");
    }
}

/// The examples are real: playbooks load, and the wrong one gives the errors that are printed below it.
#[test]
fn the_examples_are_true() {
    let page = page();
    let blocks: Vec<(&str, &str)> =
        page.split("```").skip(1).step_by(2).filter_map(|block| block.split_once('\n')).collect();
    let playbooks: Vec<&str> = blocks
        .iter()
        .filter(|(kind, text)| *kind == "yaml" && text.contains("apiVersion"))
        .map(|(_, text)| *text)
        .collect();
    assert_eq!(playbooks.len(), 2);
    if let Err(errors) = read(playbooks[0], "first.yaml") {
        panic!("{errors:#?}");
    }
    let errors = read(playbooks[1], "broken.yaml").unwrap_err();
    let shown: String = errors.iter().map(|error| format!("{error}\n")).collect();
    let printed = blocks.iter().find(|(_, text)| text.starts_with("broken.yaml:")).unwrap().1;
    assert_eq!(printed, shown);
}

/// The steps that are shown without their playbook, and the error that an old one gets.
#[test]
fn the_examples_of_after_are_true() {
    let page = page();
    let steps = page.split("```yaml\n").find(|block| block.starts_with("  - id: reload")).unwrap();
    let steps = steps.split("```").next().unwrap();
    let head = "apiVersion: azmend/v2\nname: mine\ntitle: Mine\nseverity: low\napplies: true\nsteps:\n";
    read(&format!("{head}{steps}"), "mine.yaml").unwrap();
    let old = "apiVersion: azmend/v1\nname: mine\ntitle: Mine\nseverity: low\napplies: true\n\nsteps:\n  - id: reload\n    \
               action: extension.uninstall\n    when: vmsnapshot.state == 'Failed'\n    on_failure: continue\n  - id: backup\n    \
               action: backup.start\n    when: vmsnapshot.state == 'Failed'\n";
    let errors = read(old, "mine.yaml").unwrap_err();
    let [error] = errors.as_slice() else { panic!("{errors:#?}") };
    assert!(page.contains(&format!("```text\n{error}\n```")), "{error}");
}
