//! Who may know whom: the walls between the rooms of `src`, checked over every path `crate::...`, and those inside the crates.
//!
//! That `base` knows nobody, `arm` only `base`, and the sandbox neither the gateway's users nor what azmend intends is held by
//! their manifests; so is that no other crate links an Azure SDK.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Under every room: the crate `base`.
const FOUNDATION: &[&str] = &["clock", "duration", "spelling", "text", "yaml"];

/// Room, and the rooms it may know. A room may always know itself and the foundation.
const MAY_KNOW: &[(&str, &[&str])] = &[
    ("cli", &["api", "report", "engine", "playbook", "actions", "facts", "journal", "sim", "arm", "catalog"]),
    ("api", &["report", "engine", "playbook", "actions", "facts", "journal", "sim", "arm", "catalog"]),
    ("report", &["engine", "actions", "journal", "facts"]),
    ("engine", &["playbook", "actions", "journal", "arm", "facts", "catalog"]),
    ("playbook", &["actions", "facts", "catalog"]),
    ("actions", &["arm", "facts", "catalog"]),
    ("facts", &["arm", "catalog"]),
    ("journal", &[]),
    ("catalog", &[]),
];

/// Parts of a room that are all another room may use.
const ONLY: &[(&str, &str, &[&str])] = &[("playbook", "actions", &["spec"]), ("playbook", "facts", &["view"])];
/// The crates, by the names that `src` gives them.
const CRATES: &[(&str, &str)] = &[("base", "base"), ("arm", "arm"), ("sim", "sandbox")];
/// All that the sandbox may use of `arm`: the transport port and the resource ids.
const SANDBOX_OF_ARM: &[&str] = &["http", "id"];

pub(crate) struct Source {
    pub(crate) path: PathBuf,
    /// The file's text without comments and without tests.
    pub(crate) code: String,
}

/// Every file that is compiled into the program, without its tests; those of a crate under the crate's name here.
pub(crate) fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut out = sources_in(&root.join("src"), Path::new(""));
    for (name, folder) in CRATES {
        out.extend(sources_in(&root.join("crates").join(folder).join("src"), Path::new(name)));
    }
    assert!(out.len() > 200, "the walk over the sources is broken");
    out
}

fn sources_in(src: &Path, name: &Path) -> Vec<Source> {
    let mut out = Vec::new();
    let mut open = vec![src.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
                continue;
            }
            if path.extension().is_none_or(|end| end != "rs") || is_test(&path) {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let path = name.join(path.strip_prefix(src).unwrap());
            out.push(Source { code: without_tests(&text), path });
        }
    }
    out
}

pub(crate) fn is_crate(room: &str) -> bool {
    CRATES.iter().any(|(name, _)| *name == room)
}

fn is_test(path: &Path) -> bool {
    let stem = path.file_stem().unwrap().to_str().unwrap();
    stem == "tests" || stem == "testing" || stem.ends_with("_tests") || path.iter().any(|part| part == "tests")
}

/// Comments end at the line, tests stand at the end of a file.
fn without_tests(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        if line.trim() == "mod tests {" {
            break;
        }
        let line = if line.trim_start().starts_with("//") { "" } else { line };
        out.push_str(line.split(" // ").next().unwrap_or_default());
        out.push('\n');
    }
    out
}

fn room(path: &Path) -> String {
    path.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs").to_owned()
}

/// What follows each `crate::`, as room and part: `crate::arm::id::ResourceId` gives (arm, id). Groups in braces count
/// as each of their members.
fn uses(code: &str) -> BTreeSet<(String, String)> {
    let mut out = BTreeSet::new();
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    for (at, prefix) in code.match_indices("crate::") {
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let rest = &code[at + prefix.len()..];
        for room in members(rest) {
            let after = room.trim_start();
            let name = word(after);
            let Some(inner) = after[name.len()..].strip_prefix("::") else {
                out.insert((name, String::new()));
                continue;
            };
            for part in members(inner) {
                out.insert((name.clone(), word(part.trim_start())));
            }
        }
    }
    out
}

/// The members of `{a, b::{c, d}}`, or the text itself.
pub(crate) fn members(text: &str) -> Vec<&str> {
    let Some(inner) = text.strip_prefix('{') else { return vec![text] };
    let (mut depth, mut from, mut out) = (0, 0, Vec::new());
    for (at, c) in inner.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                out.push(&inner[from..at]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                out.push(&inner[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    out.retain(|member| !member.trim().is_empty());
    out
}

#[test]
fn rooms_know_only_whom_they_may() {
    let allowed: BTreeMap<&str, &[&str]> = MAY_KNOW.iter().copied().collect();
    let mut wrong = Vec::new();
    for source in sources() {
        let from = room(&source.path);
        if from == "lib" || from == "main" || is_crate(&from) {
            continue;
        }
        for (to, part) in uses(&source.code) {
            let foundation = FOUNDATION.contains(&to.as_str());
            if to == from || foundation {
                continue;
            }
            let known = allowed.get(from.as_str()).copied().unwrap_or(&[]);
            let only = ONLY.iter().find(|(room, other, _)| *room == from && *other == to);
            let part_ok = only.is_none_or(|(_, _, parts)| parts.contains(&part.as_str()));
            if !known.contains(&to.as_str()) || !part_ok {
                wrong.push(format!("{}: crate::{to}::{part}", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_room_has_its_walls() {
    for source in sources() {
        let room = room(&source.path);
        let known = MAY_KNOW.iter().any(|(name, _)| *name == room) || is_crate(&room);
        assert!(known || room == "lib" || room == "main", "{} is in no room", source.path.display());
    }
}

#[test]
fn the_sandbox_knows_only_the_port_and_the_ids_of_arm() {
    for source in sources().iter().filter(|source| source.path.starts_with("sim")) {
        let code = source.code.replace("azmend_arm::", "crate::arm::");
        for (room, part) in uses(&code) {
            let fine = room != "arm" || SANDBOX_OF_ARM.contains(&part.as_str());
            assert!(fine, "{}: azmend_arm::{part}", source.path.display());
        }
    }
}

#[test]
fn only_the_calls_the_credential_and_the_blobs_name_azure_crates() {
    for source in sources().iter().filter(|source| source.path.starts_with("arm")) {
        if ["arm/calls", "arm/credential.rs", "arm/blob.rs"].iter().any(|part| source.path.starts_with(part)) {
            continue;
        }
        for name in ["azure_core", "azure_identity", "azure_mgmt_", "azure_storage_"] {
            let found = source.code.lines().find(|line| line.contains(&name.to_string()) && !line.contains('"'));
            assert!(found.is_none(), "{}: {found:?}", source.path.display());
        }
    }
}

#[test]
fn only_cli_talks_to_the_terminal_and_reads_argv() {
    let words = [
        "println!",
        "eprintln!",
        "print!(",
        "eprint!(",
        "env::args",
        "io::stdout",
        "io::stderr",
        "io::stdin",
        "stdout()",
        "stderr()",
    ];
    for source in sources() {
        let room = room(&source.path);
        if room == "cli" || room == "main" {
            continue;
        }
        for word in words {
            let found = source.code.lines().find(|line| line.contains(word));
            assert!(found.is_none(), "{}: {found:?}", source.path.display());
        }
    }
}

#[test]
fn only_the_clock_reads_time_and_sleeps() {
    for source in sources() {
        if source.path == Path::new("base/clock.rs") {
            continue;
        }
        for word in ["Timestamp::now()", "SystemTime::now()", "Instant::now()", "tokio::time::sleep", "thread::sleep"] {
            let found = source.code.lines().find(|line| line.contains(word));
            assert!(found.is_none(), "{}: {found:?}", source.path.display());
        }
    }
}

#[test]
fn the_search_for_paths_finds_them() {
    let code =
        "use crate::arm::{Arm, id::ResourceId};\nlet x = crate::{clock, estate::facts::Part};\nuse super::crate_x;";
    let found: Vec<String> = uses(code).into_iter().map(|(room, part)| format!("{room}.{part}")).collect();
    assert_eq!(found, ["arm.Arm", "arm.id", "clock.", "estate.facts"]);
}
