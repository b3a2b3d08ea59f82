//! The words that no text for users has: `docs/style.md`, held by a test.
//!
//! Reads what is written for people: help of every command, string literals of the sources (messages, plans, results, reports),
//! inline snapshots, docs, catalogue, playbooks, schemas and examples. Machine words are not words here: JSON keys, enum values
//! and rule ids join their parts with `_`, `-` or `.`.

use std::path::{Path, PathBuf};

/// What is avoided, as in the table of `docs/style.md`, and the forms that it takes. `*` is one to three words.
const WORDS: &[(&str, &[&str])] = &[
    ("mend", &["mend", "mends", "mended", "mending"]),
    (
        "take back",
        &[
            "take back",
            "takes back",
            "taken back",
            "taking back",
            "took back",
            "take * back",
            "takes * back",
            "taking * back",
        ],
    ),
    (
        "put back, write back",
        &[
            "put back",
            "puts back",
            "putting back",
            "put * back",
            "puts * back",
            "putting * back",
            "write back",
            "written back",
            "write * back",
            "written * back",
        ],
    ),
    ("come back", &["come back", "comes back", "came back", "coming back"]),
    ("stand, stand again", &["stand", "stands", "stood", "standing"]),
    ("anew", &["anew"]),
    ("afresh", &["afresh"]),
    ("begin", &["begin", "begins", "began", "begun", "beginning"]),
    ("go on", &["go on", "goes on", "went on", "going on"]),
    (
        "go (of a lock or point)",
        &[
            "may go",
            "must go",
            "still go",
            "goes by",
            "go by",
            "lock goes",
            "points go",
            "point goes",
            "orphans go",
            "goes as",
        ],
    ),
    ("leave out", &["leave out", "leaves out", "left out", "leaving out", "leave * out", "leaves * out"]),
    ("need not", &["need not", "needs not"]),
    ("hold (of a condition)", &["does not hold", "did not hold", "do not hold", "condition holds", "conditions hold"]),
    ("met (an error, a lock)", &["met", "meets"]),
    ("well (of an item)", &["is well", "not well", "are well", "went well", "going well", "may well"]),
    ("alone", &["alone"]),
    ("beside", &["beside"]),
    ("by itself", &["by itself", "by themselves"]),
    ("superfluous", &["superfluous"]),
    ("any more", &["any more"]),
    ("all the same", &["all the same"]),
    ("somebody, nobody, everybody", &["somebody", "somebody's", "nobody", "everybody", "anybody"]),
    ("told", &["told"]),
    ("is said, not said", &["is said", "are said", "was said", "be said", "not said", "unsaid"]),
    ("may not", &["may not"]),
    ("is there, is not there", &["is there", "are there", "was there", "not there", "already there"]),
    ("look into", &["look into", "looks into", "looked into", "looking into"]),
    ("taken for", &["taken for", "take for", "takes for", "take * for", "takes * for"]),
    ("pass on (an error)", &["pass on", "passes on", "passed on", "passes it on"]),
    ("at work", &["at work"]),
];

/// Where a form is right: the start of a place, the form, the reason.
const ALLOWED: &[(&str, &str, &str)] = &[
    ("examples/estates/backup-server.yaml", "met", "quotes a Backup Server"),
    ("tests/it/inventory.rs", "met", "quotes a Backup Server"),
];

#[test]
fn the_list_is_the_one_of_the_page() {
    assert_eq!(WORDS.len(), 30);
    let page = read(&root().join("docs/style.md"));
    let (_, table) = page.split_once("| not | but |\n|---|---|\n").expect("the table of words");
    let listed: Vec<&str> = table.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next()).collect();
    assert_eq!(listed, WORDS.iter().map(|(word, _)| *word).collect::<Vec<_>>());
}

#[test]
fn a_form_is_found_across_lines_and_not_in_machine_words() {
    let found = |text: &str| forms(text).into_iter().map(|(form, _)| form).collect::<Vec<_>>();
    assert_eq!(found("it is\n    taken  back"), ["taken back"]);
    assert_eq!(found("Put the removed lock back"), ["put * back"]);
    assert_eq!(found("s5.came-back not_begun taken_back {told} {begun:?}"), Vec::<&str>::new());
    assert_eq!(found("what you take. Back it up"), Vec::<&str>::new());
    assert_eq!(found("as well as mending"), ["mending"]);
}

#[test]
fn help_of_every_command_has_none_of_the_words() {
    fn walk(mut command: clap::Command, name: &str, wrong: &mut Vec<String>) {
        check(&format!("{name} --help"), &command.render_long_help().to_string(), wrong);
        for inner in command.get_subcommands() {
            walk(inner.clone(), &format!("{name} {}", inner.get_name()), wrong);
        }
    }
    let mut wrong = Vec::new();
    let mut command = azmend::cli::args::Args::command_line();
    command.build();
    walk(command, "azmend", &mut wrong);
    none(&wrong);
}

#[test]
fn messages_and_snapshots_have_none_of_the_words() {
    let mut wrong = Vec::new();
    for file in files(&["src", "crates", "tests/it"], &["rs"]) {
        let shown = file.strip_prefix(root()).unwrap().to_string_lossy().replace('\\', "/");
        let source = read(&file);
        let tests = ["tests.rs", "testing.rs", "traps.rs"].iter().any(|end| shown.ends_with(end))
            || shown.contains("/tests/")
            || shown.starts_with("tests/");
        let code = match source.split_once("#[cfg(test)]\nmod tests {") {
            Some((code, _)) if !tests => code,
            _ => source.as_str(),
        };
        for literal in literals(code) {
            if literal.snapshot || !tests {
                check(&format!("{shown}:{}", literal.line), &literal.text, &mut wrong);
            }
        }
    }
    none(&wrong);
}

#[test]
fn pages_playbooks_and_schemas_have_none_of_the_words() {
    let mut wrong = Vec::new();
    let mut all = files(&["docs", "playbooks", "examples"], &["md", "yaml", "json", "py", "ps1"]);
    all.extend(["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"].map(|name| root().join(name)));
    for file in all {
        let shown = file.strip_prefix(root()).unwrap().to_string_lossy().replace('\\', "/");
        let text = read(&file);
        // The table of the words themselves.
        let text = text.split_once("## The words we do not use").map_or(text.as_str(), |(before, _)| before);
        for (number, part) in paragraphs(text) {
            check(&format!("{shown}:{number}"), &part, &mut wrong);
        }
    }
    none(&wrong);
}

#[test]
fn the_catalogue_has_none_of_the_words() {
    /// What Azure itself writes is quoted as it is.
    const QUOTED: &[&str] = &["messages", "detect"];
    fn walk(place: &str, value: &serde_json::Value, wrong: &mut Vec<String>) {
        match value {
            serde_json::Value::String(text) => check(place, text, wrong),
            serde_json::Value::Array(list) => list.iter().for_each(|one| walk(place, one, wrong)),
            serde_json::Value::Object(map) => {
                for (key, one) in map.iter().filter(|(key, _)| !QUOTED.contains(&key.as_str())) {
                    walk(&format!("{place}.{key}"), one, wrong);
                }
            }
            _ => {}
        }
    }
    let codes: Vec<serde_json::Value> = serde_json::from_str(&read(&root().join("src/catalog/codes.json"))).unwrap();
    let mut wrong = Vec::new();
    for entry in &codes {
        walk(&format!("codes.json {}", entry["code"]), entry, &mut wrong);
    }
    none(&wrong);
}

fn none(wrong: &[String]) {
    assert!(wrong.is_empty(), "docs/style.md says what to write instead:\n{}", wrong.join("\n"));
}

fn check(place: &str, text: &str, wrong: &mut Vec<String>) {
    for (form, around) in forms(text) {
        if !ALLOWED.iter().any(|(start, allowed, _)| *allowed == form && place.starts_with(start)) {
            wrong.push(format!("{place}: {form:?} in ...{around}..."));
        }
    }
}

/// The forms in a text, each with the words around it.
fn forms(text: &str) -> Vec<(&'static str, String)> {
    let words = words(text);
    let mut found = Vec::new();
    for at in 0..words.len() {
        for form in WORDS.iter().flat_map(|(_, forms)| *forms) {
            if begins_with(&words[at..], form) {
                let around = &words[at.saturating_sub(4)..words.len().min(at + 8)];
                found.push((*form, around.join(" ")));
            }
        }
    }
    found
}

fn begins_with(words: &[String], form: &str) -> bool {
    fn rest(words: &[String], parts: &[&str]) -> bool {
        match parts {
            [] => true,
            ["*", after @ ..] => (1..=3).any(|gap| {
                words.len() > gap && words[..gap].iter().all(|word| !word.is_empty()) && rest(&words[gap..], after)
            }),
            [part, after @ ..] => words.first().is_some_and(|word| word == part) && rest(&words[1..], after),
        }
    }
    rest(words, &form.split(' ').collect::<Vec<_>>())
}

/// Words in lower case; an empty one where a sentence or a cell ends. Placeholders and words with `_` or `-` stay whole.
fn words(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut word = String::new();
    let mut depth = 0_usize;
    for c in text.chars().chain(std::iter::once(' ')) {
        let joins = depth > 0 || c.is_alphanumeric() || matches!(c, '_' | '-' | '\'' | '{' | '}');
        depth = match c {
            '{' => depth + 1,
            '}' | '\n' => depth.saturating_sub(1),
            _ => depth,
        };
        if joins && c != '\n' {
            word.extend(c.to_lowercase());
            continue;
        }
        if !word.is_empty() {
            out.push(std::mem::take(&mut word));
        }
        if matches!(c, '.' | ':' | ';' | ',' | '!' | '?' | '(' | ')' | '|' | '"' | '`') {
            out.push(String::new());
        }
    }
    out
}

/// Parts of a page between empty lines, with the number of their first line.
fn paragraphs(text: &str) -> Vec<(usize, String)> {
    let mut out: Vec<(usize, String)> = Vec::new();
    let mut open = false;
    for (index, line) in text.lines().enumerate() {
        // The marks of a comment are not between two words.
        let bare = line.trim_start().trim_start_matches(['#', '>']);
        if bare.trim().is_empty() {
            open = false;
            continue;
        }
        match out.last_mut() {
            Some((_, part)) if open => {
                part.push('\n');
                part.push_str(bare);
            }
            _ => out.push((index + 1, bare.to_owned())),
        }
        open = true;
    }
    out
}

struct Literal {
    line: usize,
    text: String,
    /// An inline snapshot: a literal after `@`.
    snapshot: bool,
}

/// The string literals of a source, without comments. Good enough for sources that rustfmt has seen.
fn literals(source: &str) -> Vec<Literal> {
    let bytes = source.as_bytes();
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &source[at..];
        if rest.starts_with("//") {
            at += rest.find('\n').unwrap_or(rest.len());
        } else if let Some(length) = char_literal(rest) {
            at += length;
        } else if let Some((open, close)) = opening(source, at) {
            let start = at + open;
            let end = start + end_of(&source[start..], &close);
            let snapshot = source[..at].trim_end_matches('r').ends_with('@');
            let text = if close == "\"" { unescape(&source[start..end]) } else { source[start..end].to_owned() };
            out.push(Literal { line: source[..at].lines().count(), text, snapshot });
            at = end + close.len();
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    out
}

/// How long the mark that opens a string here is, and what closes it.
fn opening(source: &str, at: usize) -> Option<(usize, String)> {
    let rest = &source[at..];
    if rest.starts_with('"') {
        return Some((1, "\"".to_owned()));
    }
    let name = source[..at].chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '_');
    let after = rest.strip_prefix('r').filter(|_| !name)?;
    let hashes = after.bytes().take_while(|byte| *byte == b'#').count();
    after[hashes..].starts_with('"').then(|| (hashes + 2, format!("\"{}", "#".repeat(hashes))))
}

fn end_of(text: &str, close: &str) -> usize {
    if close != "\"" {
        return text.find(close).unwrap_or(text.len());
    }
    let mut escaped = false;
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return index,
            _ => {}
        }
    }
    text.len()
}

fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, chars.peek()) {
            ('\\', Some('\n')) => while chars.next_if(|next| next.is_whitespace()).is_some() {},
            ('\\', Some('n' | 'r' | 't')) => {
                chars.next();
                out.push('\n');
            }
            ('\\', Some(_)) => out.extend(chars.next()),
            _ => out.push(c),
        }
    }
    out
}

/// A character that would otherwise open a string: `'"'`, `'\''`.
fn char_literal(rest: &str) -> Option<usize> {
    let inside = rest.strip_prefix('\'')?;
    if let Some(escaped) = inside.strip_prefix('\\') {
        return escaped.get(1..).and_then(|tail| tail.find('\'')).map(|end| end + 4);
    }
    let c = inside.chars().next()?;
    inside[c.len_utf8()..].starts_with('\'').then_some(c.len_utf8() + 2)
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display())).replace("\r\n", "\n")
}

fn files(places: &[&str], endings: &[&str]) -> Vec<PathBuf> {
    fn walk(dir: &Path, endings: &[&str], out: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() {
                if !matches!(name.as_str(), "fixtures" | "target") {
                    walk(&path, endings, out);
                }
            } else if endings.iter().any(|ending| name.ends_with(&format!(".{ending}"))) && name != "words.rs" {
                out.push(path);
            }
        }
    }
    let mut out = Vec::new();
    places.iter().for_each(|place| walk(&root().join(place), endings, &mut out));
    out.sort();
    out
}
