//! No two files import each other, not even over others, unless they are parts of one thing.
//!
//! Looked at are paths that begin with `crate::` or `super::`. What a module takes from the modules below it is not: a folder's
//! `mod.rs` shows what its files hold, and they share what it defines.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::walls::{Source, is_crate, members, sources};

/// Files that are parts of one thing: what an estate's file may say, the world as data.
const ONE_THING: &[&[&str]] = &[&["sim", "estate"], &["sim", "world"]];

type Module = Vec<String>;

/// `arm/calls/locks.rs` is `[arm, calls, locks]`.
fn module(path: &Path) -> Module {
    let mut parts: Module = path.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    parts.pop_if(|last| last == "mod");
    parts
}

fn word(text: &str) -> &str {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    &text[..end]
}

/// Every path of `a::{b, c::d}`.
fn tree(text: &str) -> Vec<Module> {
    let mut out = Vec::new();
    for member in members(text) {
        let member = member.trim_start();
        let name = word(member);
        let Some(rest) = member[name.len()..].strip_prefix("::") else {
            out.push(vec![name.to_owned()]);
            continue;
        };
        out.extend(tree(rest).into_iter().map(|path| [vec![name.to_owned()], path].concat()));
    }
    out
}

/// What a file names, as absolute paths.
fn named(source: &Source, own: &Module) -> Vec<Module> {
    let root: Module = own.first().filter(|room| is_crate(room)).into_iter().cloned().collect();
    let mut out = Vec::new();
    for prefix in ["crate::", "super::"] {
        for (at, _) in source.code.match_indices(prefix) {
            let before = &source.code[..at];
            if before.ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '$' | ':')) {
                continue;
            }
            let mut rest = &source.code[at..];
            let mut base = if prefix == "crate::" { root.clone() } else { own.clone() };
            rest = rest.strip_prefix("crate::").unwrap_or(rest);
            while let Some(up) = rest.strip_prefix("super::") {
                base.pop();
                rest = up;
            }
            out.extend(tree(rest).into_iter().map(|path| [base.clone(), path].concat()));
        }
    }
    out
}

fn reaches(graph: &BTreeMap<Module, BTreeSet<Module>>, from: &Module) -> BTreeSet<Module> {
    let mut seen = BTreeSet::new();
    let mut open = vec![from];
    while let Some(next) = open.pop() {
        for to in graph.get(next).into_iter().flatten() {
            if seen.insert(to.clone()) {
                open.push(to);
            }
        }
    }
    seen
}

#[test]
fn no_files_of_different_duty_import_each_other() {
    let sources: Vec<(Module, Source)> = sources().into_iter().map(|source| (module(&source.path), source)).collect();
    let all: BTreeSet<Module> = sources.iter().map(|(own, _)| own.clone()).collect();
    let mut graph: BTreeMap<Module, BTreeSet<Module>> = BTreeMap::new();
    for (own, source) in &sources {
        for path in named(source, own) {
            let to = (1..=path.len()).rev().map(|end| path[..end].to_vec()).find(|part| all.contains(part));
            if let Some(to) = to.filter(|to| to != own) {
                graph.entry(own.clone()).or_default().insert(to);
            }
        }
    }
    assert!(graph.len() > 200, "the reading of paths is broken");
    let mut wrong = BTreeSet::new();
    for from in graph.keys() {
        for to in reaches(&graph, from) {
            let back = reaches(&graph, &to).contains(from);
            let one = ONE_THING.iter().any(|thing| {
                let part = |module: &Module| module.iter().zip(*thing).filter(|(a, b)| a == b).count() == thing.len();
                part(from) && part(&to)
            });
            if back && to != *from && !one {
                wrong.insert([from.join("/"), to.join("/")].into_iter().collect::<BTreeSet<_>>());
            }
        }
    }
    let words: Vec<String> = wrong.iter().map(|pair| pair.iter().cloned().collect::<Vec<_>>().join(" and ")).collect();
    assert!(words.is_empty(), "these import each other:\n{}", words.join("\n"));
}
