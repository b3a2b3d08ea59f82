//! S5 and S6: which locks may be removed.
//!
//! Only a lock on a backup resource group or on a Backup-owned collection of this VM. Everything else is reported with the
//! command that would remove it, and removed only when the user named that very lock. Never, named or not: a lock with
//! owners, which Azure lets nobody else delete (401 `UnauthorizedApplicationId`), and one that could not be restored exactly
//! as it is.

use super::{RuleInput, groups, ownership};
use crate::actions::change::Refusal;
use crate::arm::id::ResourceId;
use crate::arm::model::{DenyAssignment, Lock};
use crate::arm::permissions::{allows, denied};

/// The lock that Azure Backup itself puts on storage accounts and puts back at each backup (Azure Files).
const SERVICE_LOCK: &str = "AzureBackupProtectionLock";
/// The levels that lock something. Azure knows `NotSpecified`, too, and does not take it.
const LEVELS: [&str; 2] = ["CanNotDelete", "ReadOnly"];
/// "Notes about the lock. Maximum of 512 characters" (contract of the locks API).
const MOST_NOTES: usize = 512;

/// Decides whether azmend may remove this lock.
///
/// `named` are the lock ids the user named on the command line.
///
/// # Errors
/// A refusal `s5...` or `s6...`.
pub fn may_remove(input: &RuleInput<'_>, lock: &Lock, named: &[ResourceId]) -> Result<(), Refusal> {
    let scope = lock.scope();
    if lock.id.name().eq_ignore_ascii_case(SERVICE_LOCK) {
        return Err(Refusal::new("s5.service-lock", format!("{SERVICE_LOCK} belongs to Azure Backup itself")));
    }
    not_owned(lock, &scope)?;
    let place = if named.contains(&lock.id) { Ok(()) } else { removable_scope(input, &scope) };
    let place = place.map_err(|refusal| with_command(refusal, lock));
    // What is certain is said before what was not read.
    let unread = |refusal: &Refusal| refusal.rule.ends_with("unread");
    match place {
        Err(refusal) if !unread(&refusal) => Err(refusal),
        Err(refusal) => {
            restorable(lock)?;
            Err(may_write_back(input, &scope).err().filter(|right| !unread(right)).unwrap_or(refusal))
        }
        Ok(()) => {
            restorable(lock)?;
            may_write_back(input, &scope)
        }
    }
}

/// A lock of an application: Azure refuses its deletion to everybody else, Owners of the subscription included.
fn not_owned(lock: &Lock, scope: &ResourceId) -> Result<(), Refusal> {
    if lock.owners.is_empty() {
        return Ok(());
    }
    let (name, on) = (lock.id.name(), scope.short_name());
    let owners = lock.owners.join(", ");
    let why = format!(
        "the lock {name} on {on} belongs to the application {owners}: Azure refuses its deletion to everyone else \
         (401 UnauthorizedApplicationId)"
    );
    Err(Refusal::new("s5.owners", why).hint(ask_the_owner(lock)))
}

/// The only way out of a lock that an application owns.
fn ask_the_owner(lock: &Lock) -> String {
    let (owners, name) = (lock.owners.join(", "), lock.id.name());
    format!("ask the owner of the application {owners} to remove its lock {name}, then run azmend again")
}

/// What a request does to a resource, as locks see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Touch {
    /// A DELETE: every lock refuses it.
    Delete,
    /// A PUT, or an operation by POST: only a ReadOnly lock refuses it.
    Write,
}

/// That no lock over `target` makes Azure refuse a request on the VM. Locks that were not read foretell nothing: Azure
/// answers by itself then, and nothing has changed.
///
/// # Errors
/// A refusal `s5.vm-locked` with what the owner of the lock may do.
pub fn lets(input: &RuleInput<'_>, target: &ResourceId, touch: Touch) -> Result<(), Refusal> {
    let refuses = |lock: &&Lock| touch == Touch::Delete || lock.level.eq_ignore_ascii_case("ReadOnly");
    let Some(lock) = input.facts.locks_over(target).find(refuses) else { return Ok(()) };
    let what = match touch {
        Touch::Delete => "Azure does not let it be deleted",
        Touch::Write => "Azure refuses every change of it",
    };
    let (lock_name, on) = (lock.id.name(), lock.scope().short_name());
    let why = format!("the {} lock {lock_name} on {on} covers {}: {what}", lock.level, target.name());
    Err(by_hand(Refusal::new("s5.vm-locked", why), lock))
}

/// S6: what azmend could not write back exactly as it is stays.
///
/// The levels are those that lock something; names and notes are held to what the contract of
/// `ManagementLocks_CreateOrUpdateByScope` takes (an id has no longer names). A lock that breaks it was made in another way.
fn restorable(lock: &Lock) -> Result<(), Refusal> {
    let name = lock.id.name();
    let forbidden = |c: char| c.is_control() || "<>%&:\\?/".contains(c);
    let what = if !LEVELS.contains(&lock.level.as_str()) {
        let level = if lock.level.is_empty() { "none" } else { &lock.level };
        format!("its level is {level}, and Azure accepts only {} and {}", LEVELS[0], LEVELS[1])
    } else if let Some(c) = name.chars().find(|c| forbidden(*c)) {
        format!("its name has the character {c:?}, which Azure does not accept")
    } else if lock.notes.chars().count() > MOST_NOTES {
        format!("its notes are longer than the {MOST_NOTES} characters that Azure accepts")
    } else {
        return Ok(());
    };
    let why = format!("the lock {name} on {} could not be restored as it is: {what}", lock.scope().short_name());
    Err(Refusal::new("s6.cannot-restore", why).hint("a lock is removed only when azmend could restore it exactly"))
}

/// With what the owner of a lock may do about it, where azmend has no step that could remove it.
fn by_hand(refusal: Refusal, lock: &Lock) -> Refusal {
    if !lock.owners.is_empty() {
        return refusal.hint(ask_the_owner(lock));
    }
    let id = crate::text::shell_quote(lock.id.as_str());
    refusal.hint(format!("if it is not needed, remove it with: az lock delete --ids {id}, then run azmend again"))
}

/// With what the owner of a lock may do about it. Nobody else can delete a lock that an application owns, and azmend does not
/// remove one, named or not.
#[must_use]
pub fn with_command(refusal: Refusal, lock: &Lock) -> Refusal {
    if !lock.owners.is_empty() {
        return refusal.hint(ask_the_owner(lock));
    }
    refusal.hint(format!(
        "if it is not needed, remove it with: az lock delete --ids {}, or name it: --lock {}",
        crate::text::shell_quote(lock.id.as_str()),
        crate::text::shell_quote(lock.id.as_str())
    ))
}

fn removable_scope(input: &RuleInput<'_>, scope: &ResourceId) -> Result<(), Refusal> {
    match scope.resource_type().as_str() {
        "subscription" => Err(Refusal::new(
            "s5.subscription-lock",
            format!("it is on the whole subscription {}", scope.subscription()),
        )),
        "resourcegroup" => groups::backup_group(input, scope),
        "microsoft.compute/restorepointcollections" => {
            let Some(collection) = input.facts.collections().find(|collection| collection.id == *scope) else {
                return Err(Refusal::new("s5.not-this-vm", format!("{} is not of this VM", scope.short_name())));
            };
            ownership::backup_owned(input, collection)
        }
        "microsoft.compute/restorepointcollections/restorepoints" => {
            Err(Refusal::new("s5.point-lock", format!("it is on the single restore point {}", scope.name())))
        }
        "microsoft.compute/virtualmachines" => {
            Err(Refusal::new("s5.vm-lock", format!("it is on the VM {} itself", scope.name())))
        }
        _ => Err(Refusal::new("s5.foreign-scope", format!("it is on {}", scope.short_name()))),
    }
}

/// S6: a lock is removed only by someone who may write it back.
fn may_write_back(input: &RuleInput<'_>, scope: &ResourceId) -> Result<(), Refusal> {
    // Permissions are inherited, so the nearest scope at or above the lock that was asked decides.
    let nearest = input
        .facts
        .rights
        .iter()
        .filter(|rights| rights.scope.covers(scope))
        .max_by_key(|rights| rights.scope.key().len());
    let Some(permissions) = nearest.and_then(|rights| rights.permissions.known()) else {
        let why = format!("whether a lock on {} could be restored was not read", scope.short_name());
        return Err(Refusal::new("s6.unread", why));
    };
    if let Some(why) = input.facts.deny.unread() {
        let why = format!("whether writing a lock on {} is denied was not read: {why}", scope.short_name());
        return Err(Refusal::new("s6.unread", why));
    }
    for action in ["Microsoft.Authorization/locks/delete", "Microsoft.Authorization/locks/write"] {
        // Whom a deny assignment concerns cannot be told from it, so one that may concern this identity counts.
        let denies = |deny: &&DenyAssignment| {
            let covers = ResourceId::parse(&deny.scope).map_or(true, |at| at.covers(scope));
            covers && denied(deny, action)
        };
        if let Some(deny) = input.facts.deny.known().into_iter().flatten().find(denies) {
            let why = format!("the deny assignment {:?} may deny {action} on {}", deny.name, scope.short_name());
            return Err(Refusal::new("s6.denied", why)
                .hint("a deny assignment is no lock: only its managed application or blueprint can change it"));
        }
        if !allows(permissions, action) {
            let why = format!("this identity lacks {action} on {}", scope.short_name());
            return Err(Refusal::new("s6.cannot-restore", why)
                .hint("a lock is removed only by an identity that could restore it; `azmend` needs both permissions"));
        }
    }
    Ok(())
}

/// What else a lock protects, for the plan: collections, and the VMs they are of, apart from this VM.
#[must_use]
pub fn also_protects(input: &RuleInput<'_>, scope: &ResourceId) -> Option<(usize, usize)> {
    let group = scope.group_id()?;
    if group != *scope {
        return None;
    }
    let collections = input.facts.group(&group)?.collections.known()?;
    let others: Vec<ResourceId> = collections
        .iter()
        .filter_map(crate::arm::model::Collection::source_id)
        .filter(|vm| *vm != input.facts.id)
        .collect();
    let vms: std::collections::BTreeSet<&ResourceId> = others.iter().collect();
    (!others.is_empty()).then_some((others.len(), vms.len()))
}
