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
    let own = found.split_off(first);
    let chosen = choose::choose_among(seen.applies.clone(), &seen.facts, &seen.view).playbook;
    let is_root = |one: &Finding| one.rule == "vm-remade" || chosen.as_deref() == Some(one.rule.as_str());
    let by_name = |name: &str| seen.applies.iter().map(|one| one.playbook).find(|playbook| playbook.name() == name);
    // That the machine is another one is the root of everything that its item says.
    let root = own.iter().position(|one| one.rule == "vm-remade").or_else(|| own.iter().position(is_root));
    let Some(root) = root else { return found.extend(own) };
    let mut kept = Vec::with_capacity(own.len());
    let mut repeats = Vec::new();
    for (place, one) in own.iter().enumerate() {
        let again = place != root && own.get(root).is_some_and(|root| says_again(one, root, by_name));
        if again { repeats.push(one.clone()) } else { kept.push(one.clone()) }
    }
    let key = own.get(root).map(|root| root.key.clone());
    if let Some(root) = kept.iter_mut().find(|one| Some(&one.key) == key.as_ref()) {
        for one in repeats {
            take(root, one);
        }
    }
    found.extend(kept);
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
