//! One finding for one root cause: of a VM, what says again what another finding says becomes evidence of that one.
//!
//! Duty: pure; the findings of one VM in, fewer of them out. Invariants: nothing that was found is lost, for the evidence and
//! the worst level go over; a finding with a command of its own for another trouble stays. Must never: fold findings of
//! different VMs, or one of a playbook that stands alone.

use std::collections::BTreeSet;

use super::input::VmUnderAudit;
use super::{Check, Finding, UNLOCK};
use crate::actions::spec::ActionName;
use crate::arm::ResourceId;
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
    let check = |check: Check| place(check.name());
    // That the machine is another one is the root of everything that its item says; and an agent that is not ready of a backup
    // that is missing.
    let silent = || check(Check::BackupLate).and_then(|_| check(Check::AgentNotReady));
    let root = check(Check::VmRemade).or_else(|| place(chosen.as_deref()?)).or_else(silent);
    let Some(place) = root else { return found.extend(own) };
    let by_name = |name: &str| seen.applies.iter().map(|one| one.playbook).find(|playbook| playbook.name() == name);
    let mut root = own.remove(place);
    let (repeats, others): (Vec<_>, Vec<_>) = own.into_iter().partition(|one| says_again(one, &root, by_name));
    for one in repeats {
        take(&mut root, one);
    }
    found.push(root);
    found.extend(others);
}

/// A lock over restore points is one finding, that of its group, which stops all of its VMs: what each of them says of that lock
/// and nothing else goes. `told` are the VMs of each such finding by its key.
pub(super) fn locks_of_groups(told: &[(String, BTreeSet<ResourceId>)], findings: &mut Vec<Finding>) {
    // With a code it is the error of the VM's last backup.
    let same = |one: &Finding| one.rule == UNLOCK && one.code.is_none();
    for (key, vms) in told {
        let here: BTreeSet<&str> = vms.iter().map(ResourceId::key).collect();
        let Some(place) = findings.iter().position(|one| one.key == *key) else { continue };
        let mut folded: Vec<String> = Vec::new();
        for one in findings.iter().filter(|one| same(one) && here.contains(one.resource.to_lowercase().as_str())) {
            folded.push(one.resource.clone());
        }
        if let Some(finding) = findings.get_mut(place) {
            finding.vms = folded;
        }
    }
    let folded: BTreeSet<String> = findings.iter().flat_map(|one| one.vms.iter().cloned()).collect();
    findings.retain(|one| !(same(one) && folded.contains(&one.resource)));
}

/// Whether `one` is the trouble of `root` once more.
fn says_again<'a>(one: &Finding, root: &Finding, by_name: impl Fn(&str) -> Option<&'a Playbook>) -> bool {
    let is = |check: Check| check.is(&one.rule);
    let (item, late) = (is(Check::ItemInError), is(Check::BackupLate));
    if Check::VmRemade.is(&root.rule) {
        return item || late;
    }
    if Check::AgentNotReady.is(&root.rule) {
        return late;
    }
    let same_command = item && one.command == root.command;
    // Several playbooks for the error of the last backup: the one that fits best stands for all.
    let same_error = one.code.is_some() && one.code == root.code && by_name(&one.rule).is_some();
    // Without a failed backup too: each is for errors that the other is for.
    let same_codes = match (by_name(&one.rule), by_name(&root.rule)) {
        (Some(one), Some(root)) => {
            !one.codes().is_empty() && one.codes().iter().all(|code| root.codes().contains(code))
        }
        _ => false,
    };
    let unlocks = |playbook: &Playbook| playbook.steps().iter().any(|step| step.action() == ActionName::LocksRemove);
    let lock = one.rule == UNLOCK && by_name(&root.rule).is_some_and(unlocks);
    same_command || same_error || same_codes || lock
}

/// The evidence goes over, and the worst level.
fn take(root: &mut Finding, one: Finding) {
    root.level = root.level.max(one.level);
    if root.code.is_none() {
        root.code = one.code;
    }
    let more: Vec<String> = one.evidence.into_iter().filter(|line| !root.evidence.contains(line)).collect();
    root.evidence.extend(more);
    let plain = one.rule == UNLOCK || [Check::ItemInError, Check::BackupLate].iter().any(|check| check.is(&one.rule));
    if !plain {
        root.evidence.push(format!("{} fits too", one.rule));
    }
}
