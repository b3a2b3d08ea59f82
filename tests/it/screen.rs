//! What stands on the screen at three widths: nothing is cut that is copied, nothing is lost in a narrow place.
//!
//! Every command runs as a person would run it, one after the other in one sandbox. Its output at 80 columns is a snapshot; at 60
//! and 120 it has to be the same words, and every command of it in one line.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use azmend::engine::hints::command_at;
use tempfile::TempDir;

/// What is run, in this order: later ones see what earlier ones did.
const COMMANDS: &[(&str, &str)] = &[
    ("help", "--help"),
    ("short-help", "-h"),
    ("help-fix", "help fix"),
    ("short-help-fix", "fix -h"),
    ("help-runs-undo", "help runs undo"),
    ("help-audit", "audit --help"),
    ("sandbox-list", "sandbox list"),
    ("sandbox-show", "sandbox show"),
    ("vms", "vms"),
    ("jobs", "jobs"),
    ("jobs-follow", "jobs --follow 9696ed2e"),
    ("engines", "engines"),
    ("audit", "audit"),
    ("doctor", "doctor --vm web-01"),
    ("diagnose", "diagnose --vm web-01"),
    ("explain", "explain UserErrorRpCollectionLimitReached"),
    ("playbook-list", "playbook list"),
    ("playbook-show", "playbook show rp-collection-limit"),
    ("role", "role"),
    ("plan", "plan rp-collection-limit --vm web-01"),
    ("plan-clean-up-by-azure", "plan rp-collection-limit --vm web-01 --set cleanup=service"),
    ("plan-refused", "plan rp-collection-limit --vm sub-lock"),
    ("plan-kept", "plan rp-collection-limit --vm nas-04"),
    ("plan-fleet", "plan auto --all"),
    ("not-confirmed", "fix rp-collection-limit --vm web-01"),
    ("no-such-vm", "fix rp-collection-limit --vm web-1"),
    ("no-such-format", "vms -o html"),
    ("fix", "fix rp-collection-limit --vm web-01 --yes"),
    ("runs-list", "runs list"),
    ("fix-waiting", "fix rp-collection-limit --vm web-01 --yes"),
    ("runs-undo", "runs undo --yes"),
    ("runs-list-after", "runs list"),
    ("fleet", "fix extension-operation-failed --all -s 5b1c0de0-0000-4000-8000-000000000001 --yes"),
];

/// One command at one width.
struct Seen {
    text: String,
}

fn run(home: &Path, line: &str, width: usize, color: Option<&str>) -> Seen {
    let mut command = Command::new(env!("CARGO_BIN_EXE_azmend"));
    command.env_clear().env("COLUMNS", width.to_string()).env("AZMEND_STATE_DIR", home.join("state"));
    command.env("NO_COLOR", "1").current_dir(home).arg("--sandbox").args(line.split_whitespace());
    if let Some(when) = color {
        command.args(["--color", when]);
    }
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    let all = format!("exit {}\n--- stdout\n{out}--- stderr\n{err}", output.status.code().unwrap());
    Seen { text: ids(&all) }
}

/// The ids of runs, fleets and plans, which differ from time to time, as others of the same length.
fn ids(text: &str) -> String {
    let hex = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_hexdigit());
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("01") {
        let starts = rest[..at].chars().next_back().is_none_or(|c| !c.is_ascii_alphanumeric() && c != '-');
        let tail = &rest[at..];
        let length = tail.find(|c: char| !c.is_ascii_hexdigit() && c != '-').unwrap_or(tail.len());
        let word = &tail[..length];
        let uuid = word.split('-').map(str::len).zip([8, 4, 4, 4, 12]).all(|(is, should)| is == should);
        let run = starts && length >= 18 && uuid && word.split('-').all(hex);
        out.push_str(&rest[..at]);
        if run {
            out.push_str(&"01a2b3c4-d5e6-7f80-8901-23456789abcd"[..length]);
            rest = &tail[length..];
        } else {
            out.push_str("01");
            rest = &tail[2..];
        }
    }
    out.push_str(rest);
    let mut lines = Vec::new();
    for line in out.lines() {
        let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        for word in &mut words {
            let bare = word.trim_matches(['(', ')', '?', ',', '.']).to_owned();
            if bare.len() == 12 && hex(&bare) {
                *word = word.replace(&bare, "0123456789ab");
            }
        }
        lines.push(words.join(" "));
    }
    lines.join("\n") + "\n"
}

/// All outputs at one width.
fn at(width: usize) -> Vec<Seen> {
    let home: TempDir = tempfile::tempdir().unwrap();
    COMMANDS.iter().map(|(_, line)| run(home.path(), line, width, None)).collect()
}

/// The words of a page. A heading is upper case in a table and lower case in a block.
fn words(text: &str) -> BTreeSet<String> {
    text.split_whitespace().map(str::to_lowercase).collect()
}

/// The commands of a page that stand in one line.
fn commands(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for line in text.lines() {
        for (from, _) in line.match_indices("az") {
            let before = line[..from].chars().next_back();
            if before.is_none_or(|c| c == ' ' || c == '`')
                && let Some(length) = command_at(&line[from..])
            {
                let command = line[from..from + length].trim_end_matches([',', ';', '.', ':', '`', ')']);
                found.insert(command.to_owned());
            }
        }
    }
    found
}

/// Columns of a line for which nothing could have been done: a word or a command in it is too long for this width.
fn forced(line: &str, width: usize) -> bool {
    let columns = |text: &str| text.chars().count();
    let longest = line.split(' ').map(columns).max().unwrap_or(0);
    let indent = columns(line) - columns(line.trim_start());
    let command = line.match_indices("az").any(|(from, _)| command_at(&line[from..]).is_some());
    // A label and one long word, or a line of words that cannot be apart.
    command || longest + indent + 24 > width || line.contains('`')
}

#[test]
fn every_command_says_the_same_at_every_width_and_breaks_nothing() {
    let (narrow, usual, wide) = std::thread::scope(|scope| {
        let narrow = scope.spawn(|| at(60));
        let wide = scope.spawn(|| at(120));
        (narrow.join().unwrap(), at(80), wide.join().unwrap())
    });
    let mut wrong = Vec::new();
    for (index, (name, _)) in COMMANDS.iter().enumerate() {
        let wide = &wide[index].text;
        for (width, text) in [(60, &narrow[index].text), (80, &usual[index].text), (120, wide)] {
            let (here, there) = (words(text), words(wide));
            for word in here.symmetric_difference(&there) {
                wrong.push(format!("{name}: {word:?} is at {width} or 120 columns and not at the other"));
            }
            let here = commands(text);
            for command in commands(wide).iter().filter(|command| !here.contains(*command)) {
                wrong.push(format!("{name}: at {width} columns this command is not in one line: {command}"));
            }
            for line in text.lines().filter(|line| line.chars().count() > width && !forced(line, width)) {
                wrong.push(format!("{name}: at {width} columns this line is wider: {line}"));
            }
            for line in text.lines().filter(|line| strange(line)) {
                wrong.push(format!("{name}: at {width} columns: {line}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for ((name, line), seen) in COMMANDS.iter().zip(&usual) {
        insta::assert_snapshot!(*name, format!("$ azmend --sandbox {line}\n{}", seen.text));
    }
    for (name, seen) in COMMANDS.iter().map(|(name, _)| name).zip(&narrow) {
        if ["sandbox-show", "vms", "jobs", "plan", "runs-list", "short-help-fix"].contains(name) {
            insta::assert_snapshot!(format!("{name}@60"), seen.text.clone());
        }
    }
    for (name, seen) in COMMANDS.iter().map(|(name, _)| name).zip(&wide) {
        if ["sandbox-show", "vms", "jobs", "plan", "runs-list"].contains(name) {
            insta::assert_snapshot!(format!("{name}@120"), seen.text.clone());
        }
    }
}

/// What no line for people has: pictures of control characters, seconds with fractions.
fn strange(line: &str) -> bool {
    let picture = line.chars().any(|c| ('\u{2400}'..='\u{2426}').contains(&c));
    let fraction = line.split_whitespace().any(|word| {
        let Some((clock, rest)) = word.rsplit_once('.') else { return false };
        let digits = rest.trim_end_matches(|c: char| !c.is_ascii_digit());
        let time = clock.rsplit(['T', ' ']).next().unwrap_or_default();
        !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) && time.matches(':').count() == 2
    });
    picture || fraction
}

#[test]
fn colours_change_no_letter() {
    let home = tempfile::tempdir().unwrap();
    for line in ["vms", "plan rp-collection-limit --vm web-01", "sandbox show", "audit"] {
        let plain = run(home.path(), line, 80, None).text;
        assert!(!plain.contains('\u{1b}'), "NO_COLOR: {line}");
        let painted = run(home.path(), line, 80, Some("always")).text;
        assert!(painted.contains('\u{1b}'), "{line}");
        assert_eq!(ids(&anstream::adapter::strip_str(&painted).to_string()), plain, "{line}");
    }
}
