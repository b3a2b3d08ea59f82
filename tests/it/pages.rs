//! README and the pages: their commands run as written, what they show is what is printed, and their links lead somewhere.
//!
//! In a `console` block a line that starts with `$ ` is a command; the lines after it, up to the next command, are what it prints
//! (stdout and stderr as they come). A comment can name the exit code and how many lines are shown: `# exit 3; first 20 lines`.
//! Without lines after it only the exit code is checked. Commands that build azmend are shown and not run.
//!
//! `AZMEND_UPDATE=1 cargo test --test it pages::` writes the samples again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The pages whose commands are run, in one home each.
const PAGES: [&str; 2] = ["README.md", "docs/first-repair.md"];
/// What the id of a run is shown as: each run has its own.
const RUN: &str = "0199f3a2-4c1e-7d3a-9b60-2f1f5d0c7a11";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A command of a page.
#[derive(Debug, PartialEq, Eq)]
struct Shown {
    command: String,
    exit: i32,
    /// How many lines are shown; all, if not named.
    first: Option<usize>,
    /// The lines of the page with what it prints.
    sample: std::ops::Range<usize>,
}

fn shown(page: &str) -> Vec<Shown> {
    let mut found: Vec<Shown> = Vec::new();
    let (mut console, mut more) = (false, false);
    for (at, line) in page.lines().enumerate() {
        if line.starts_with("```") {
            console = !console && line == "```console";
            more = false;
            continue;
        }
        if !console {
            continue;
        }
        if more && let Some(last) = found.last_mut() {
            more = line.ends_with('\\');
            last.command.push_str(line.trim_end_matches('\\').trim());
            last.sample = at + 1..at + 1;
        } else if let Some(command) = line.strip_prefix("$ ") {
            more = command.ends_with('\\');
            let number = |word: &str| -> Option<i32> {
                command.split_once(word)?.1.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
            };
            found.push(Shown {
                command: command.trim_end_matches('\\').to_owned(),
                exit: number("# exit ").unwrap_or(0),
                first: number("first ").and_then(|n| usize::try_from(n).ok()),
                sample: at + 1..at + 1,
            });
        } else if let Some(last) = found.last_mut() {
            last.sample.end = at + 1;
        }
    }
    let lines: Vec<&str> = page.lines().collect();
    for one in &mut found {
        while one.sample.end > one.sample.start && lines[one.sample.end - 1].is_empty() {
            one.sample.end -= 1;
        }
    }
    found.retain(|one| !["cargo ", "git ", "cd ", "pip ", "uvx "].iter().any(|word| one.command.starts_with(word)));
    found
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target)
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Exit code and what was printed, as one text.
fn run(command: &str, dir: &Path) -> (i32, String) {
    let bin = Path::new(env!("CARGO_BIN_EXE_azmend")).parent().unwrap().display().to_string();
    let path = format!("{bin}:{}", std::env::var("PATH").unwrap_or_default());
    let out = Command::new("bash")
        .args(["-o", "pipefail", "-c", &format!("exec 2>&1; {command}")])
        .env_clear()
        .envs([("HOME", dir.join("home").display().to_string()), ("PATH", path)])
        .envs([("LANG", "C.UTF-8"), ("TERM", "dumb"), ("NO_COLOR", "1"), ("COLUMNS", "80")])
        .current_dir(dir)
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    (out.status.code().unwrap_or(-1), one_run(&String::from_utf8_lossy(&out.stdout)))
}

/// The text with the ids of runs replaced, each by as much of [`RUN`].
fn one_run(text: &str) -> String {
    let of_id = |c: char| c.is_ascii_hexdigit() || c == '-';
    let mut out = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c| !of_id(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        let like = |(a, b): (u8, u8)| (a == b'-') == (b == b'-');
        let is_run = (13..=36).contains(&word.len())
            && word.starts_with("01")
            && word.bytes().zip(RUN.bytes()).all(like)
            && word.as_bytes().get(14).is_none_or(|version| *version == b'7');
        out.push_str(if is_run { RUN.get(..word.len()).unwrap() } else { word });
        let next = after.chars().next().map_or(0, char::len_utf8);
        out.push_str(&after[..next]);
        rest = &after[next..];
    }
    out
}

fn printed(one: &Shown, text: &str) -> Vec<String> {
    let lines = text.trim_end().lines().map(|line| line.trim_end().to_owned());
    lines.take(one.first.unwrap_or(usize::MAX)).collect()
}

/// What does not fit, a text each. With `update` the samples are written instead.
fn check(file: &str, update: bool) -> Vec<String> {
    let path = root().join(file);
    let page = std::fs::read_to_string(&path).unwrap();
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("home")).unwrap();
    for part in ["examples", "playbooks"] {
        copy(&root().join(part), &dir.path().join(part));
    }
    let shown = shown(&page);
    assert!(shown.len() > 3, "{file} shows no commands");
    let mut lines: Vec<String> = page.lines().map(str::to_owned).collect();
    let mut wrong = Vec::new();
    let mut samples: Vec<(std::ops::Range<usize>, Vec<String>)> = Vec::new();
    for one in &shown {
        let (code, text) = run(&one.command, dir.path());
        if code != one.exit {
            wrong.push(format!("{file}: {}\n  ended with {code} and not {}:\n{text}", one.command, one.exit));
        }
        if !one.sample.is_empty() {
            samples.push((one.sample.clone(), printed(one, &text)));
        }
    }
    // Who reads the page twice types its commands twice.
    for one in &shown {
        let (code, text) = run(&one.command, dir.path());
        if code != one.exit {
            wrong.push(format!(
                "{file}, the second time: {}\n  ended with {code} and not {}:\n{text}",
                one.command, one.exit
            ));
        }
    }
    for (place, real) in samples.into_iter().rev() {
        let sample = &lines[place.clone()];
        if sample != real {
            wrong.push(format!(
                "{file}:{}: it shows\n{}\n  and the command prints\n{}",
                place.start,
                sample.join("\n"),
                real.join("\n")
            ));
            lines.splice(place, real);
        }
    }
    if update {
        std::fs::write(path, lines.join("\n") + "\n").unwrap();
        wrong.retain(|one| !one.contains("it shows"));
    }
    wrong
}

#[cfg(unix)]
#[test]
fn commands_run_as_written_twice_and_print_what_is_shown() {
    let update = std::env::var_os("AZMEND_UPDATE").is_some();
    let wrong: Vec<String> = PAGES.iter().flat_map(|file| check(file, update)).collect();
    assert!(
        wrong.is_empty(),
        "AZMEND_UPDATE=1 cargo test --test it pages:: writes the samples again\n\n{}",
        wrong.join("\n\n")
    );
}

#[test]
fn commands_are_read_with_their_codes_and_samples() {
    let page = "text\n```console\n$ cargo build\n$ azmend a # exit 3; first 2 lines\none\n\ntwo\n\n$ azmend b \\\n    c\n```\n```text\n$ no\n```\n";
    let found = shown(page);
    assert_eq!(found.len(), 2);
    assert_eq!((found[0].exit, found[0].first, found[0].sample.clone()), (3, Some(2), 4..7));
    assert_eq!((found[1].command.as_str(), found[1].exit, found[1].sample.is_empty()), ("azmend b c", 0, true));
    assert_eq!(
        one_run("run 01a21fd3-3bfa-75ee-973e-e35918065122, 01a21fd3-3bfa."),
        format!("run {RUN}, 0199f3a2-4c1e.")
    );
    assert_eq!(
        one_run("job 01e3f1a0-1111-4abc-8def-000000000000 0123"),
        "job 01e3f1a0-1111-4abc-8def-000000000000 0123"
    );
}

/// The pages of the site, and the README.
fn pages() -> Vec<PathBuf> {
    let docs = std::fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let mut all: Vec<PathBuf> = docs.filter(|path| path.extension().is_some_and(|ending| ending == "md")).collect();
    all.extend(["README.md", "CONTRIBUTING.md", "SECURITY.md"].map(|name| root().join(name)));
    all.sort();
    all
}

/// The text outside of code.
fn prose(page: &str) -> String {
    let mut code = false;
    let mut out = String::new();
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            code = !code;
        } else if !code && !line.starts_with("    ") {
            for (index, part) in line.split('`').enumerate() {
                out.push_str(if index % 2 == 0 { part } else { "" });
            }
            out.push('\n');
        }
    }
    out
}

/// The anchors of headings, as GitHub and mdbook make them.
fn anchors(page: &str) -> BTreeSet<String> {
    let mut code = false;
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut out = BTreeSet::new();
    for line in page.lines() {
        if line.starts_with("```") {
            code = !code;
        }
        let Some(heading) = line.strip_prefix('#').filter(|_| !code) else { continue };
        let heading = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
        let anchor: String = heading.chars().filter(kept).map(|c| if c == ' ' { '-' } else { c }).collect();
        let count = counts.entry(anchor.clone()).or_default();
        out.insert(if *count == 0 { anchor } else { format!("{anchor}-{count}") });
        *count += 1;
    }
    out
}

/// Targets of `[text](target)`.
fn links(prose: &str) -> Vec<String> {
    let targets = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets.map(|target| target.split_whitespace().next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn links_between_pages_lead_somewhere() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        for target in
            links(&prose(&text)).into_iter().filter(|target| !target.contains("://") && !target.starts_with("mailto:"))
        {
            count += 1;
            let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let other = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            if target.starts_with("../") && page.parent().unwrap().ends_with("docs") {
                wrong.push(format!("{}: {target} leads out of the site: write it as code", page.display()));
            } else if !other.exists() {
                wrong.push(format!("{}: {target}: no such file", page.display()));
            } else if !anchor.is_empty() && !anchors(&std::fs::read_to_string(&other).unwrap()).contains(anchor) {
                wrong.push(format!("{}: {target}: no such heading", page.display()));
            }
        }
    }
    assert!(count > 40, "{count} links: the pages have more");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn headings_have_the_anchors_of_github() {
    let page = "# A b-c: `d`!\n## x\n## x\n";
    assert_eq!(anchors(page), BTreeSet::from(["a-b-c-d".to_owned(), "x".to_owned(), "x-1".to_owned()]));
}

#[test]
fn the_site_has_every_page_once() {
    let summary = std::fs::read_to_string(root().join("docs/SUMMARY.md")).unwrap();
    let mut listed = links(&summary);
    listed.sort();
    let is_page =
        |path: &PathBuf| path.parent().is_some_and(|dir| dir.ends_with("docs")) && !path.ends_with("SUMMARY.md");
    let pages: Vec<String> = pages()
        .iter()
        .filter(|path| is_page(path))
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(listed, pages);
}
