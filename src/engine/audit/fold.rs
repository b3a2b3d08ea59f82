//! One finding for one root cause: of a VM, what says again what another finding says becomes evidence of that one.
//!
//! Duty: pure; the findings of one VM in, fewer of them out. Invariants: nothing that was found is lost, for the evidence and
//! the worst level go over; a finding with a command of its own for another trouble stays. Must never: fold findings of
//! different VMs, or one of a playbook that stands alone.

use super::Finding;
use super::input::VmUnderAudit;
use crate::actions::spec::ActionName;
use crate::engine::choose;
use crate::playbook::Playbook;

/// Folds the findings from `first` on, which are all of this VM.
pub(super) fn repeated(seen: &VmUnderAudit<'_>, found: &mut Vec<Finding>, first: usize) {
    if found.len() < first + 2 {
        return;
    }
    let mut own = found.split_off(first);
    let chosen = choose::choose_among(seen.applies.clone(), &seen.facts, &seen.view).playbook;
    let place = |rule: &str| own.iter().position(|one| one.rule == rule);
    // That the machine is another one is the root of everything that its item says.
    let Some(place) = place("vm-remade").or_else(|| place(chosen.as_deref()?)) else { return found.extend(own) };
    let by_name = |name: &str| seen.applies.iter().map(|one| one.playbook).find(|playbook| playbook.name() == name);
    let mut root = own.remove(place);
    let (repeats, others): (Vec<_>, Vec<_>) = own.into_iter().partition(|one| says_again(one, &root, by_name));
    for one in repeats {
        take(&mut root, one);
    }
    found.push(root);
    found.extend(others);
}

/// Whether `one` is the trouble of `root` once more.
fn says_again<'a>(one: &Finding, root: &Finding, by_name: impl Fn(&str) -> Option<&'a Playbook>) -> bool {
    let item = one.rule == "item-in-error";
    if root.rule == "vm-remade" {
        return item;
    }
    let same_command = item && one.command == root.command;
    // Several playbooks for the error of the last backup: the one that fits best stands for all.
    let same_error = one.code.is_some() && one.code == root.code && by_name(&one.rule).is_some();
    let unlocks = |playbook: &Playbook| playbook.steps().iter().any(|step| step.action() == ActionName::LocksRemove);
    let lock = one.rule == "unlock-backup-groups" && by_name(&root.rule).is_some_and(unlocks);
    same_command || same_error || lock
}

/// The evidence goes over, and the worst level.
fn take(root: &mut Finding, one: Finding) {
    root.level = root.level.max(one.level);
    if root.code.is_none() {
        root.code = one.code;
    }
    let more: Vec<String> = one.evidence.into_iter().filter(|line| !root.evidence.contains(line)).collect();
    root.evidence.extend(more);
    if !matches!(one.rule.as_str(), "item-in-error" | "unlock-backup-groups") {
        root.evidence.push(format!("{} fits too", one.rule));
    }
}
