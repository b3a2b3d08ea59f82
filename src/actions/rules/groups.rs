//! S5, first half: what a backup resource group is.
//!
//! A group is one only if its name matches the default pattern or a policy's prefix and suffix **and** it holds nothing
//! but Backup-owned collections. If it holds anything else, or the VM itself, or if its content could not be read, it is
//! treated as somebody's own group.

use super::{RuleInput, ownership};
use crate::actions::change::Refusal;
use crate::arm::id::ResourceId;
use crate::facts::groups::is_backup_group_name;
use crate::facts::vm_facts::GroupFacts;

/// Whether the name alone would do.
#[must_use]
pub fn name_matches(input: &RuleInput<'_>, group: &str) -> bool {
    let policies = input.facts.items.known().into_iter().flatten().filter_map(|item| item.policy.known());
    is_backup_group_name(group, None) || policies.into_iter().any(|policy| is_backup_group_name(group, Some(policy)))
}

/// Proves that `id` is a backup resource group.
///
/// # Errors
/// A refusal `s5...` that says what speaks against it.
pub fn backup_group(input: &RuleInput<'_>, id: &ResourceId) -> Result<(), Refusal> {
    let name = id.name();
    if input.facts.id.group_id().as_ref() == Some(id) {
        return Err(Refusal::new("s5.vm-group", format!("{name} is the VM's own resource group")));
    }
    if !name_matches(input, name) {
        let why = format!("the name {name} matches neither AzureBackupRG_<region>_<n> nor the policy's prefix");
        return Err(Refusal::new("s5.not-backup-group", why));
    }
    let Some(facts) = input.facts.group(id) else {
        return Err(Refusal::new("s5.unread", format!("the content of {name} was not read")));
    };
    holds_only_backup(input, facts)
}

fn holds_only_backup(input: &RuleInput<'_>, facts: &GroupFacts) -> Result<(), Refusal> {
    let name = facts.group.id.name();
    if facts.group.managed_by.to_ascii_lowercase().contains("/providers/microsoft.solutions/") {
        let why = format!("{name} belongs to a managed application ({})", facts.group.managed_by);
        return Err(Refusal::new("s5.managed-app", why));
    }
    let unread = |why: &str| Refusal::new("s5.unread", format!("the content of {name} was not read: {why}"));
    if let Some(why) = facts.others.unread().or_else(|| facts.collections.unread()) {
        return Err(unread(why));
    }
    if let Some(others) = facts.others.known()
        && let Some(first) = others.first()
    {
        let why = format!("{name} also holds {} ({} other resources)", first.short_name(), others.len());
        return Err(Refusal::new("s5.mixed-group", why));
    }
    for collection in facts.collections.known().into_iter().flatten() {
        if let Err(refusal) = ownership::backup_owned(input, collection) {
            let why = format!("{name} holds a collection that is not proven to be Backup's: {}", refusal.why);
            return Err(Refusal::new("s5.mixed-group", why));
        }
    }
    Ok(())
}
