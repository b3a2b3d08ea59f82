//! What can be typed next: playbooks, the VMs of the last reading, runs. Nothing is asked of Azure for it.
//!
//! Duty: the candidates, and remembering which VMs a list or an audit has seen: names alone, in the private state directory.
//! Must never: make a command fail; a name that cannot be remembered is not completed.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use clap_complete::engine::CompletionCandidate;
use futures::FutureExt as _;

use super::files;
use super::places::{environment, state_dir};
use crate::journal::{self, State};
use crate::playbook::library::Library;

/// More are not offered: no one reads them, and the shell waits.
pub const MOST: usize = 5000;

/// The file of the names; the sandbox has other VMs than Azure.
const fn file_name(sandbox: bool) -> &'static str {
    if sandbox { "seen-vms-sandbox.txt" } else { "seen-vms.txt" }
}

/// Remembers the VMs that a command has just read, as `group/name`. Only where there is a state directory already: reading makes
/// none.
pub fn remember_vms(state_dir: &Path, sandbox: bool, vms: impl IntoIterator<Item = String>) {
    let names: BTreeSet<String> = vms.into_iter().filter(|name| plain(name)).take(MOST).collect();
    if names.is_empty() || !state_dir.is_dir() {
        return;
    }
    let text: String = names.iter().map(|name| format!("{name}\n")).collect();
    // Only completion knows less when this fails.
    drop(files::write_private(&state_dir.join(file_name(sandbox)), &text));
}

/// Whether a name can be offered as it is: what a shell would act upon cannot.
fn plain(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | '(' | ')'))
}

fn default_state_dir() -> Option<PathBuf> {
    let given = environment("AZMEND_STATE_DIR").map(PathBuf::from);
    state_dir(given, &environment).ok()
}

/// Whether the line that is being completed is for the sandbox.
fn sandbox() -> bool {
    let typed = std::env::args_os().any(|word| word.to_string_lossy().starts_with("--sandbox"));
    typed || environment("AZMEND_SANDBOX").is_some_and(|value| value != "0")
}

/// The playbooks, with `auto` where one can be chosen.
#[must_use]
pub fn playbooks() -> Vec<CompletionCandidate> {
    let dir = environment("AZMEND_PLAYBOOKS").map(PathBuf::from);
    let library = dir.as_deref().map_or_else(Library::shipped, Library::with_directory);
    let one = |name: &str, title: &str| CompletionCandidate::new(name).help(Some(title.to_owned().into()));
    library.iter().map(|(playbook, _)| one(playbook.name(), playbook.title())).collect()
}

/// The same and `auto`.
#[must_use]
pub fn playbooks_and_auto() -> Vec<CompletionCandidate> {
    let auto = CompletionCandidate::new("auto").help(Some("the one that the VM needs".into()));
    std::iter::once(auto).chain(playbooks()).collect()
}

/// The VMs of the last list or audit: by name, by group and name where the name is not unique or a group was typed.
#[must_use]
pub fn vms(current: &OsStr) -> Vec<CompletionCandidate> {
    let Some(dir) = default_state_dir() else { return Vec::new() };
    let text = files::read_text(&dir.join(file_name(sandbox())), 1024 * 1024).unwrap_or_default();
    let typed = current.to_string_lossy().to_lowercase();
    let offered = offered(&text, typed.contains('/'));
    offered.into_iter().filter(|name| name.to_lowercase().starts_with(&typed)).map(CompletionCandidate::new).collect()
}

fn offered(text: &str, with_group: bool) -> Vec<String> {
    let all: Vec<&str> = text.lines().filter(|name| plain(name)).collect();
    let name = |full: &str| full.rsplit('/').next().unwrap_or(full).to_owned();
    let mut count: BTreeMap<String, usize> = BTreeMap::new();
    for full in &all {
        *count.entry(name(full).to_lowercase()).or_default() += 1;
    }
    let one = |full: &&str| {
        let unique = count.get(&name(full).to_lowercase()) == Some(&1);
        if unique && !with_group { name(full) } else { (*full).to_owned() }
    };
    all.iter().map(one).collect()
}

/// What is read of the state directory, where there is one. A disk never makes a future wait, and storage is not asked while
/// somebody types.
fn local<T: Default>(read: impl AsyncFn(&State) -> Option<T>) -> T {
    let state = default_state_dir().and_then(|dir| State::in_dir(&dir, false).ok());
    state.and_then(|state| read(&state).now_or_never().flatten()).unwrap_or_default()
}

/// The runs, the newest first.
#[must_use]
pub fn runs() -> Vec<CompletionCandidate> {
    let list = local(async |state| journal::runs(state).await.ok());
    list.runs
        .iter()
        .enumerate()
        .take(MOST)
        .map(|(index, run)| {
            let vm = run.vm.as_deref().and_then(|id| id.rsplit('/').next()).unwrap_or("?");
            let started = run.started.map(crate::text::utc).unwrap_or_default();
            let about = format!("{} on {vm}, {started}", run.playbook.as_deref().unwrap_or("?"));
            CompletionCandidate::new(&run.id).help(Some(crate::text::safe(&about).into())).display_order(Some(index))
        })
        .collect()
}

/// The fleets, the newest first.
#[must_use]
pub fn fleets() -> Vec<CompletionCandidate> {
    let list = local(async |state| journal::fleets(state).await.ok());
    list.fleets.iter().take(MOST).map(|fleet| CompletionCandidate::new(&fleet.id)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_two_groups_have_is_offered_with_its_group() {
        let text = "rg-lab/dup-09\nrg-shop/dup-09\nrg-shop/web-01\nx/$(reboot)\n";
        assert_eq!(offered(text, false), ["rg-lab/dup-09", "rg-shop/dup-09", "web-01"]);
        assert_eq!(offered(text, true), ["rg-lab/dup-09", "rg-shop/dup-09", "rg-shop/web-01"]);
    }

    #[test]
    fn names_are_remembered_where_there_is_a_state_directory() {
        let home = tempfile::tempdir().unwrap();
        let none = home.path().join("none");
        remember_vms(&none, true, ["rg/a".to_owned()]);
        assert!(!none.exists());
        remember_vms(home.path(), true, ["rg/b".to_owned(), "rg/a".to_owned(), "a b;c".to_owned()]);
        let text = std::fs::read_to_string(home.path().join(file_name(true))).unwrap();
        assert_eq!(text, "rg/a\nrg/b\n");
    }
}
