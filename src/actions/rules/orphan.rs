//! Orphan, the most dangerous word: a collection whose VM is gone for good.
//!
//! All of it must be read and hold: the VM's GET is 404 while its subscription answers; no VM that can be listed has
//! the points' `vmId`; no vault item in any state names the VM, by the items of every visible vault and by
//! backupStatus; every point says which VM it was of; the newest point is older than 30 days. Anything unread or
//! filtered: not an orphan. A VM of the same name with another `vmId` is only reported.
//!
//! This proof replaces the rules on the two newest points and on vault copies (`s8.newest`, `s8.snapshot-only`): no
//! vault knows the VM. The state of the points and unfinished copies count for an orphan as for any other.

use super::{RuleInput, points};
use crate::actions::change::Refusal;
use crate::arm::model::Collection;
use crate::clock::elapsed;

/// Proves that the collection is an orphan.
///
/// # Errors
/// A refusal `orphan...` with the first piece of the proof that is missing.
pub fn orphan(input: &RuleInput<'_>, collection: &Collection) -> Result<(), Refusal> {
    let facts = input.facts;
    let name = collection.id.name();
    let not = |rule: &str, why: String| Err(Refusal::new(rule, format!("{name} is not proven to be an orphan: {why}")));
    if facts.vm.known().is_some() {
        if same_name(input, collection) {
            return not(
                "orphan.same-name",
                "a VM of the same name exists, with another vmId; that is only reported".into(),
            );
        }
        return not("orphan.vm-exists", "the VM exists".into());
    }
    if let Some(why) = facts.vm.unread() {
        return not("orphan.unread", format!("the VM was not read: {why}"));
    }
    let Some(proof) = &facts.orphan else {
        return not("orphan.unread", "the search for its VM was not made".into());
    };
    match proof.subscription_answers.known() {
        Some(true) => {}
        _ => return not("orphan.subscription", "its subscription does not answer".into()),
    }
    let Some(vms) = proof.vms.known() else {
        let why = proof.vms.unread().unwrap_or("no list");
        return not("orphan.unread", format!("not every VM could be listed: {why}"));
    };
    if let Some((id, _)) = vms.iter().find(|(_, vm_id)| vm_id.is_empty()) {
        return not("orphan.unread", format!("the VM {} was listed without its vmId", id.short_name()));
    }
    let held = collection.points();
    if held.is_empty() {
        return not("orphan.empty", "it holds no points".into());
    }
    if let Some(point) = held.iter().find(|point| point.vm_id.is_empty()) {
        return not("orphan.no-vm-id", format!("the point {} does not say which VM it is of", point.id.name()));
    }
    if let Some((id, _)) =
        vms.iter().find(|(_, vm_id)| held.iter().any(|point| point.vm_id.eq_ignore_ascii_case(vm_id)))
    {
        return not("orphan.moved", format!("its VM still exists as {}", id.short_name()));
    }
    let Some(items) = proof.items.known() else {
        if !proof.items.is_absent() {
            let why = proof.items.unread().unwrap_or("no list");
            return not("orphan.unread", format!("not every vault could be read: {why}"));
        }
        return newest_is_old(input, collection);
    };
    if let Some(item) = items.first() {
        let state = if item.soft_deleted { "soft-deleted" } else { item.protection_state.as_str() };
        let vault = item.vault_id().map(|vault| vault.name().to_owned()).unwrap_or_default();
        return not("orphan.vault-item", format!("the vault {vault} has an item of this VM ({state})"));
    }
    newest_is_old(input, collection)
}

/// Whether every point is of another VM than the one that has the name now.
#[must_use]
pub fn same_name(input: &RuleInput<'_>, collection: &Collection) -> bool {
    let held = collection.points();
    let Some(vm) = input.facts.vm.known() else { return false };
    !held.is_empty() && held.iter().all(|point| points::other_vm(&point.vm_id, &vm.vm_id))
}

fn newest_is_old(input: &RuleInput<'_>, collection: &Collection) -> Result<(), Refusal> {
    let name = collection.id.name();
    // backupStatus speaks for the VM's id even when no vault could be listed.
    match (&input.facts.status.known(), input.facts.status.unread()) {
        (Some(status), _) if !status.vault_id.is_empty() => {
            return Err(Refusal::new("orphan.vault-item", format!("backupStatus still names a vault for {name}")));
        }
        (_, Some(why)) => {
            return Err(Refusal::new("orphan.unread", format!("backupStatus was not read for {name}: {why}")));
        }
        _ => {}
    }
    for point in collection.points() {
        let Some(created) = point.created else {
            return Err(Refusal::new("orphan.no-time", format!("a point of {name} has no creation time")));
        };
        if elapsed(created, input.now) < input.orphan_age {
            let days = input.orphan_age.as_secs() / 86_400;
            return Err(Refusal::new("orphan.young", format!("{name} has a point younger than {days} days")));
        }
    }
    // The proof stands for the rules on newest points and on vault copies; the others hold for an orphan too.
    collection.points().iter().try_for_each(|point| points::state_guards(input, point))
}
