//! When the protection of a VM may be resumed (`protection.resume`), as named rules.
//!
//! Duty: choose the one item whose protection is resumed and the policy it gets, or say why there is none. The same
//! guards decide in the plan and, on facts read again, just before the request (S3). Only `ProtectionStopped` is
//! resumed: for `ProtectionPaused` and `BackupsSuspended` no published contract or recording says how. None of these
//! rules can be overridden.

use super::RuleInput;
use crate::actions::change::Refusal;
use crate::arm::id::ResourceId;
use crate::arm::model::{Policy, ProtectedItem};
use crate::facts::identity;
use crate::facts::vm_facts::ItemFacts;

/// `protectionState` of an item that was stopped with its data retained.
pub const STOPPED: &str = "ProtectionStopped";

/// Whether the item is one that can be resumed: stopped with its data retained, and not deleted.
#[must_use]
pub fn is_stopped(item: &ProtectedItem) -> bool {
    item.protection_state.eq_ignore_ascii_case(STOPPED) && !item.soft_deleted
}

/// Whether the item is protected: also before its first backup, and when its backups fail.
#[must_use]
pub fn is_protected(item: &ProtectedItem) -> bool {
    let on = ["Protected", "IRPending", "ProtectionError"];
    !item.soft_deleted && on.iter().any(|state| item.protection_state.eq_ignore_ascii_case(state))
}

/// The one item of the VM whose protection is stopped.
///
/// # Errors
/// A refusal `protection...`: there is none, there are several, or they were not read.
pub fn stopped_item<'a>(input: &RuleInput<'a>) -> Result<&'a ItemFacts, Refusal> {
    let vm = input.facts.id.name();
    let items = match (input.facts.items.known(), input.facts.items.unread()) {
        (Some(items), _) => items,
        (None, Some(why)) => return Err(unread("the vault items", why)),
        (None, None) => return Err(never(vm)),
    };
    let stopped: Vec<&ItemFacts> = items.iter().filter(|facts| is_stopped(&facts.item)).collect();
    match stopped.as_slice() {
        [one] => Ok(one),
        [] => Err(match items.iter().map(|facts| &facts.item).find(|item| item.soft_deleted) {
            Some(item) => deleted(item),
            None => items.first().map_or_else(|| never(vm), |facts| not_stopped(&facts.item)),
        }),
        [_, _, ..] => {
            let vaults: Vec<String> = stopped.iter().map(|facts| vault_name(&facts.item)).collect();
            let why = format!("several vaults hold a stopped item of {vm}: {}", vaults.join(", "));
            Err(Refusal::new("protection.several", why)
                .hint("resume the one that you want with az backup protection resume"))
        }
    }
}

/// Decides whether the protection of this item may be resumed now. `facts` are the item's, its state read just before.
///
/// # Errors
/// A refusal `protection...`.
pub fn may_resume(input: &RuleInput<'_>, facts: &ItemFacts) -> Result<(), Refusal> {
    let item = &facts.item;
    if item.soft_deleted {
        return Err(deleted(item));
    }
    if !is_stopped(item) {
        return Err(not_stopped(item));
    }
    this_very_vm(input, item)?;
    no_other_vault(input, item)?;
    let vault = vault_name(item);
    let Some(jobs) = facts.jobs.known() else {
        return match facts.jobs.unread() {
            Some(why) => Err(unread(&format!("the jobs in vault {vault}"), why)),
            None => Ok(()),
        };
    };
    if let Some(job) = jobs.iter().find(|job| job.running()) {
        let why = format!("a {} job of the VM is running in vault {vault} ({})", job.operation, job.id.name());
        return Err(Refusal::new("protection.job-active", why).hint("wait until it has ended, then run azmend again"));
    }
    Ok(())
}

/// The item names the VM by its resource id. A VM that was made again under the same name has the same one, so the
/// restore points are asked too: they carry the vmId of the VM they were taken of.
fn this_very_vm(input: &RuleInput<'_>, item: &ProtectedItem) -> Result<(), Refusal> {
    let facts = input.facts;
    let name = facts.id.name();
    let vault = vault_name(item);
    if !ResourceId::parse(&item.source).is_ok_and(|source| source == facts.id) {
        let why = format!("the item in vault {vault} protects {}, not {name}", item.source);
        return Err(Refusal::new("protection.other-vm", why));
    }
    let Some(vm) = facts.vm.known() else {
        return Err(unread(&format!("the VM {name}"), facts.vm.unread().unwrap_or("it does not exist")));
    };
    if let Some(why) = facts.collections.unread() {
        return Err(unread("the restore points, which show whether the VM was recreated under its name,", why));
    }
    let mut ids = facts.collections().flat_map(|collection| collection.points()).map(|point| point.vm_id.as_str());
    let known: Vec<&str> = ids.by_ref().filter(|id| !id.is_empty()).collect();
    if !known.is_empty() && !known.iter().any(|id| id.eq_ignore_ascii_case(&vm.vm_id)) {
        let why = format!("the restore points under the name {name} are of an earlier VM with another vmId");
        // The item's name is the group's and the VM's: the same vault cannot hold one of the new VM beside it.
        let hint =
            format!("{}; az backup protection resume in vault {vault} does not tell them apart", identity::REMADE_WAY);
        return Err(Refusal::new("protection.other-vm", why).hint(hint));
    }
    Ok(())
}

/// A VM is protected by one vault at most.
fn no_other_vault(input: &RuleInput<'_>, item: &ProtectedItem) -> Result<(), Refusal> {
    let name = input.facts.id.name();
    let other = |vault: &str| {
        let why = format!("{name} is protected by another vault already: {vault}");
        Refusal::new("protection.other-vault", why)
            .hint("stop the protection there first, if this vault is the right one")
    };
    let Some(items) = input.facts.items.known() else {
        return Err(unread("the vault items", input.facts.items.unread().unwrap_or("not read")));
    };
    let protecting = |facts: &&ItemFacts| {
        facts.item.id != item.id
            && !facts.item.soft_deleted
            && !facts.item.protection_state.eq_ignore_ascii_case(STOPPED)
    };
    if let Some(facts) = items.iter().find(protecting) {
        return Err(other(&vault_name(&facts.item)));
    }
    // backupStatus alone knows of a vault in a subscription that the caller cannot see.
    match (input.facts.status.known(), input.facts.status.unread()) {
        (Some(status), _) if status.vault_id.is_empty() => Ok(()),
        (Some(status), _) => match ResourceId::parse(&status.vault_id) {
            Ok(vault) if item.vault_id().is_some_and(|own| own == vault) => Ok(()),
            Ok(vault) => Err(other(vault.name())),
            Err(_) => Err(unread("the vault that backupStatus names", "its id is not one")),
        },
        (None, Some(why)) => Err(unread("backupStatus, which shows whether another vault protects the VM,", why)),
        (None, None) => Ok(()),
    }
}

/// The policy that the item gets: the one that was asked for by name, else its own old one. It must be in the vault.
///
/// # Errors
/// A refusal that names the vault's policies.
pub fn policy_for<'a>(item: &ProtectedItem, wanted: &str, policies: &'a [Policy]) -> Result<&'a Policy, Refusal> {
    let vault = vault_name(item);
    let mut names: Vec<&str> = policies.iter().map(|policy| policy.id.name()).collect();
    names.sort_unstable();
    let hint = if names.is_empty() {
        format!("vault {vault} has no policy for Azure VMs: make one first")
    } else {
        format!("choose one of the policies of vault {vault} with --set policy=<name>: {}", names.join(", "))
    };
    if wanted.is_empty() && item.policy_id.is_empty() {
        let why = format!("the item in vault {vault} no longer has a policy, and none was named");
        return Err(Refusal::new("protection.no-policy", why).hint(hint));
    }
    let found = if wanted.is_empty() {
        let own = ResourceId::parse(&item.policy_id).ok();
        policies.iter().find(|policy| own.as_ref() == Some(&policy.id))
    } else {
        policies.iter().find(|policy| policy.id.name().eq_ignore_ascii_case(wanted))
    };
    found.ok_or_else(|| {
        let name = if wanted.is_empty() { item.policy_id.rsplit('/').next().unwrap_or_default() } else { wanted };
        Refusal::new("protection.unknown-policy", format!("vault {vault} has no policy {name:?} for Azure VMs"))
            .hint(hint)
    })
}

/// The name of the item's vault.
#[must_use]
pub fn vault_name(item: &ProtectedItem) -> String {
    item.vault_id().map(|vault| vault.name().to_owned()).unwrap_or_default()
}

fn unread(what: &str, why: &str) -> Refusal {
    Refusal::new("protection.unread", format!("{what} could not be read: {why}"))
}

fn never(vm: &str) -> Refusal {
    Refusal::new("protection.no-item", format!("no vault has an item of {vm}: there is no protection to resume"))
        .hint("protect it with az backup protection enable-for-vm")
}

fn deleted(item: &ProtectedItem) -> Refusal {
    Refusal::new("protection.soft-deleted", format!("the item in vault {} is soft-deleted", vault_name(item)))
        .hint("undelete it with az backup protection undelete, then run azmend again")
}

fn not_stopped(item: &ProtectedItem) -> Refusal {
    let why = format!(
        "the item in vault {} is {}, not {STOPPED}: azmend resumes nothing else",
        vault_name(item),
        if item.protection_state.is_empty() { "in no known state" } else { &item.protection_state }
    );
    Refusal::new("protection.not-stopped", why)
}
