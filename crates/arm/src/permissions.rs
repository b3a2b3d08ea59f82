//! What a caller may do, from Azure's permission entries: a pure function.
//!
//! Rules (Azure RBAC documentation, "Understand Azure role definitions"): an entry grants an action when one of its
//! `actions` matches and none of its `notActions` does; entries add up; `*` stands for any text, slashes included;
//! upper and lower case are the same. A deny assignment wins over every grant; whom it concerns cannot be told from it
//! alone (group membership), so [`denied`] says only that it *may* be denied.

use super::model::{DenyAssignment, Permission};

/// Whether the entries grant `action`.
#[must_use]
pub fn allows(permissions: &[Permission], action: &str) -> bool {
    permissions.iter().any(|entry| any(&entry.actions, action) && !any(&entry.not_actions, action))
}

/// Whether the entries grant every read there is, so that a list of *everything* is complete: `*` or `*/read`, and no
/// exception in the same entry that could take a read away.
#[must_use]
pub fn allows_every_read(permissions: &[Permission]) -> bool {
    permissions.iter().any(|entry| is_every_read(&entry.actions) && !takes_a_read(&entry.not_actions))
}

/// Whether this deny assignment could hide something from a list of everything.
#[must_use]
pub fn denies_a_read(assignment: &DenyAssignment) -> bool {
    takes_a_read(&assignment.actions) && !is_every_read(&assignment.not_actions)
}

fn is_every_read(patterns: &[String]) -> bool {
    patterns.iter().any(|pattern| pattern == "*" || pattern.eq_ignore_ascii_case("*/read"))
}

fn takes_a_read(patterns: &[String]) -> bool {
    patterns.iter().any(|pattern| pattern.ends_with('*') || pattern.to_ascii_lowercase().ends_with("/read"))
}

/// Whether this deny assignment covers `action`.
#[must_use]
pub fn denied(assignment: &DenyAssignment, action: &str) -> bool {
    any(&assignment.actions, action) && !any(&assignment.not_actions, action)
}

fn any(patterns: &[String], action: &str) -> bool {
    patterns.iter().any(|pattern| matches(pattern, action))
}

/// Whether a pattern with `*` matches the whole text, without case.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.trim().to_lowercase(), text.to_lowercase());
    let mut parts = pattern.split('*');
    let Some(first) = parts.next() else { return false };
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(actions: &[&str], not_actions: &[&str]) -> Permission {
        let own = |texts: &[&str]| texts.iter().map(|&t| t.to_owned()).collect();
        Permission { actions: own(actions), not_actions: own(not_actions) }
    }

    const DELETE: &str = "Microsoft.Compute/restorePointCollections/delete";
    const UNLOCK: &str = "Microsoft.Authorization/locks/delete";

    #[test]
    fn wildcards() {
        for (pattern, action, expected) in [
            ("*", DELETE, true),
            ("*/read", DELETE, false),
            ("*/delete", DELETE, true),
            ("microsoft.compute/*", DELETE, true),
            ("Microsoft.Compute/*/delete", DELETE, true),
            ("Microsoft.Compute/restorePointCollections/*", DELETE, true),
            ("Microsoft.Compute/restorePointCollections", DELETE, false),
            ("Microsoft.Compute/*/restorePoints/*/delete", DELETE, false),
            (DELETE, DELETE, true),
            (DELETE, "Microsoft.Compute/restorePointCollections/delete/action", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("*a*b*", "xxaybz", true),
            ("", DELETE, false),
        ] {
            assert_eq!(allows(&[entry(&[pattern], &[])], action), expected, "{pattern} {action}");
        }
    }

    #[test]
    fn an_entry_takes_back_only_its_own_actions() {
        // Contributor: everything but authorization.
        let contributor = entry(&["*"], &["Microsoft.Authorization/*/Delete", "Microsoft.Authorization/*/Write"]);
        assert!(allows(std::slice::from_ref(&contributor), DELETE));
        assert!(!allows(std::slice::from_ref(&contributor), UNLOCK));
        let unlocker = entry(&["Microsoft.Authorization/locks/*"], &[]);
        assert!(allows(&[contributor, unlocker], UNLOCK), "entries add up");
        assert!(!allows(&[], "x"));
    }

    #[test]
    fn every_read_is_a_wildcard_without_exceptions_that_read() {
        for (actions, not, expected) in [
            (&["*"][..], &[][..], true),
            (&["*/Read"], &[], true),
            (&["*"], &["Microsoft.Authorization/*/Delete"], true),
            (&["*"], &["Microsoft.KeyVault/*"], false),
            (&["*/read"], &["Microsoft.Sql/servers/read"], false),
            (&["Microsoft.Compute/*/read"], &[], false),
        ] {
            assert_eq!(allows_every_read(&[entry(actions, not)]), expected, "{actions:?} {not:?}");
        }
    }

    #[test]
    fn deny_assignments() {
        let deny = DenyAssignment {
            id: "/x".into(),
            name: "n".into(),
            scope: "/s".into(),
            actions: vec!["*/delete".into()],
            not_actions: vec!["Microsoft.Compute/*".into()],
            system_protected: true,
        };
        assert!(denied(&deny, UNLOCK));
        assert!(!denied(&deny, DELETE));
    }
}
