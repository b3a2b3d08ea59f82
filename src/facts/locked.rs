//! Which lock an error names: `... cannot perform write operation because following scope(s) are locked: '<scope>'`.
//!
//! Duty: the operation that was refused and the locked scopes of the newest finished backup, and which of today's locks they
//! mean. Pure. Invariants: only what the details of a job that failed say; a lock whose level does not refuse that operation
//! is not meant. Must never: decide whether a lock may be removed.

use super::collect::last_failure;
use super::vm_facts::VmFacts;
use crate::arm::id::{ResourceId, is_guid};
use crate::arm::model::Lock;
use crate::catalog::named::named;

/// What a lock refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusedOperation {
    /// Any level refuses it.
    Delete,
    /// Only ReadOnly refuses it.
    Write,
    /// The error does not say.
    Unsaid,
}

impl RefusedOperation {
    /// The word; empty when it is not said.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Delete => "delete",
            Self::Write => "write",
            Self::Unsaid => "",
        }
    }
}

/// What the last backup's error says of locks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedScopes {
    /// What was refused.
    pub operation: RefusedOperation,
    /// The scopes that are locked, as the error writes them; there is at least one.
    pub scopes: Vec<String>,
}

impl LockedScopes {
    /// What the newest finished backup says, in any vault; `None` when it did not fail, or names no scope.
    #[must_use]
    pub fn of(facts: &VmFacts) -> Option<Self> {
        let found: Vec<_> = last_failure(facts)?.texts().flat_map(named).collect();
        let values = |what: &str| {
            let of_kind = found.iter().filter(|one| one.what == what);
            of_kind.map(|one| one.value.clone()).collect::<Vec<_>>()
        };
        let operation = match values("refused_operation").as_slice() {
            [one] if one == "delete" => RefusedOperation::Delete,
            [one] if one == "write" => RefusedOperation::Write,
            // Several refusals in one text cannot be told apart.
            _ => RefusedOperation::Unsaid,
        };
        let scopes = values("locked_scope");
        (!scopes.is_empty()).then_some(Self { operation, scopes })
    }

    /// Whether the error means this lock: it stands on a scope that the error names, and refuses what was refused.
    #[must_use]
    pub fn mean(&self, lock: &Lock) -> bool {
        let refuses = self.operation != RefusedOperation::Write || lock.level.eq_ignore_ascii_case("ReadOnly");
        refuses && self.scopes.iter().any(|scope| same_scope(scope, &lock.scope()))
    }

    /// The locks of today that the error means.
    pub fn among<'a>(&'a self, facts: &'a VmFacts) -> impl Iterator<Item = &'a Lock> {
        facts.locks.known().into_iter().flatten().filter(|lock| self.mean(lock))
    }

    /// The scopes for people: `rg-app`, `AzureBackupRG_westeurope_1`.
    #[must_use]
    pub fn places(&self) -> String {
        let short = |scope: &String| ResourceId::parse(scope).map_or_else(|_| scope.clone(), |id| id.short_name());
        self.scopes.iter().map(short).collect::<Vec<_>>().join(", ")
    }
}

/// Whether a text names this scope. Where the subscription's id was blacked out of the text, the rest decides.
fn same_scope(text: &str, scope: &ResourceId) -> bool {
    let text = text.trim_matches('/').to_lowercase();
    let key = scope.key().trim_matches('/');
    if text == key {
        return true;
    }
    let split = |id: &str| -> Option<(String, String)> {
        let (subscription, rest) = id.strip_prefix("subscriptions/")?.split_once('/')?;
        Some((subscription.to_owned(), rest.to_owned()))
    };
    match (split(&text), split(key)) {
        (Some((hidden, rest)), Some((_, own))) => !is_guid(&hidden) && rest == own,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actions::rules::testing::{BACKUP_GROUP, SUB, facts, group_id, item_of, job, known, lock_on, vm_id};
    use crate::arm::model::JobError;

    fn told(text: &str) -> Option<LockedScopes> {
        let mut facts = facts();
        let mut failed = job("Backup", "Failed", 5, None);
        failed.errors = vec![JobError { text: text.into(), ..JobError::default() }];
        item_of(&mut facts).jobs = known(vec![failed]);
        LockedScopes::of(&facts)
    }

    #[test]
    fn the_scope_and_the_operation_decide_which_lock_is_meant() {
        let write = format!(
            "The scope '{vm}/extensions/VMSnapshot' cannot perform write operation because following scope(s) are \
             locked: '{SUB}/resourcegroups/RG-Shop'. Please remove the lock and try again.",
            vm = vm_id()
        );
        let said = told(&write).unwrap();
        assert_eq!((said.operation, said.places().as_str()), (RefusedOperation::Write, "RG-Shop"));
        let mut freeze = lock_on(&group_id("rg-shop"), "freeze");
        assert!(!said.mean(&freeze), "CanNotDelete refuses no write");
        freeze.level = "ReadOnly".into();
        assert!(said.mean(&freeze));
        assert!(!said.mean(&lock_on(&group_id(BACKUP_GROUP), "keep")));
        let delete = told(&write.replace("perform write", "perform delete")).unwrap();
        assert!(delete.mean(&lock_on(&group_id("rg-shop"), "any")), "either level refuses a deletion");
    }

    #[test]
    fn a_subscription_that_was_blacked_out_is_any_and_another_one_is_another() {
        let text = |subscription: &str| {
            format!(
                "cannot perform delete operation because following scope(s) are locked: '/subscriptions/{subscription}/resourceGroups/rg-shop'"
            )
        };
        let lock = lock_on(&group_id("rg-shop"), "keep");
        assert!(told(&text("***")).unwrap().mean(&lock));
        assert!(!told(&text("99999999-9999-4999-8999-999999999999")).unwrap().mean(&lock));
        assert_eq!(told("something else"), None);
    }
}
