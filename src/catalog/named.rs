//! What an error's own words name: the scope that is locked and the verb that was refused, the extension, the disk, the
//! vault, the policy, the group, the lock's owner.
//!
//! Duty: pure text; only what stands in the text, as it stands there. It says where to look, not what is so.

use serde::Serialize;

use super::paste::Paste;

/// A thing that a text names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Named {
    /// What it is: `locked_scope`, `refused_operation`, `extension`, `disk`, `vault`, `policy`, `vm`, `group`,
    /// `application`, `scope`, `action`, `retry_after`.
    pub what: String,
    /// As the text writes it.
    pub value: String,
}

/// The most that one kind of thing is named.
const MOST: usize = 4;

/// What the text names, the most telling first.
#[must_use]
pub fn named(text: &str) -> Vec<Named> {
    let paste = Paste::of(text);
    let text = paste.open().replace('\n', " ");
    let mut out = Vec::new();
    let mut put = |what: &str, value: &str| {
        let value = value.trim_matches([' ', '\'', '"', '.', ',', ';', '(', ')']);
        let known = |one: &Named| one.what == what && one.value.eq_ignore_ascii_case(value);
        let full = out.iter().filter(|one: &&Named| one.what == what).count() >= MOST;
        if !value.is_empty() && value.len() <= 400 && !full && !out.iter().any(known) {
            out.push(Named { what: what.to_owned(), value: value.to_owned() });
        }
    };
    for (verb, name) in [("delete", "delete"), ("write", "write")] {
        if text.contains(&format!("cannot perform {verb} operation")) {
            put("refused_operation", name);
        }
    }
    for scope in quoted_after(&text, "are locked:") {
        for one in scope.split(',') {
            put("locked_scope", one);
        }
    }
    for (what, marker) in [
        ("application", "owned by system application(s)"),
        ("action", "perform action"),
        ("scope", "over scope"),
        ("scope", "at scope"),
        ("policy", "disallowed by policy"),
        ("deny_assignment", "deny assignment with name"),
        ("extension", "VM Extension"),
        ("extension", "VMExtension"),
        ("extension", "vmExtension"),
        ("extension", "Extension"),
        ("extension", "extension"),
        ("disk", "Disk"),
        ("disk", "disk"),
        ("vault", "vault"),
        ("policy", "policy"),
        ("vm", "VM"),
    ] {
        for value in quoted_after(&text, marker) {
            put(what, &value);
        }
    }
    if let Some(rest) = text.split("Disk ").nth(1)
        && let Some((name, _)) = rest.split_once(" is attached to VM")
        && !name.contains(' ')
    {
        put("disk", name);
    }
    for value in quoted_after(&text, "try again after") {
        put("retry_after", &format!("{value} s"));
    }
    for (what, kind) in [
        ("vm", "/virtualmachines/"),
        ("extension", "/extensions/"),
        ("disk", "/disks/"),
        ("vault", "/vaults/"),
        ("policy", "/policyassignments/"),
        ("collection", "/restorepointcollections/"),
        ("group", "/resourcegroups/"),
    ] {
        for value in segments_after(&text, kind) {
            put(what, &value);
        }
    }
    out
}

/// The quoted values that follow a marker.
fn quoted_after(text: &str, marker: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(marker) {
        rest = rest.get(at + marker.len()..).unwrap_or_default();
        let start = rest.trim_start_matches([' ', ':', '=']);
        let Some(mark) = start.chars().next().filter(|c| matches!(c, '\'' | '"')) else { continue };
        if let Some((value, _)) = start.get(1..).unwrap_or_default().split_once(mark) {
            out.push(value.to_owned());
        }
    }
    out
}

/// The segment of an id that follows its type.
fn segments_after(text: &str, kind: &str) -> Vec<String> {
    let lower = text.to_ascii_lowercase();
    let mut out = Vec::new();
    let mut from = 0;
    while let Some(at) = lower.get(from..).and_then(|rest| rest.find(kind)) {
        from += at + kind.len();
        let rest = text.get(from..).unwrap_or_default();
        let end = rest
            .find(|c: char| !(c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '(' | ')')))
            .unwrap_or(rest.len());
        out.push(rest.get(..end).unwrap_or_default().to_owned());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value<'a>(found: &'a [Named], what: &str) -> Option<&'a str> {
        found.iter().find(|one| one.what == what).map(|one| one.value.as_str())
    }

    #[test]
    fn a_locked_scope_and_the_verb_are_named() {
        let found = named(
            "ERROR: (ScopeLocked) The scope '/subscriptions/x/resourceGroups/AzureBackupRG_weu_1/providers/Microsoft.Compute/\
             restorePointCollections/AzureBackup_app_1' cannot perform delete operation because following scope(s) are locked: \
             '/subscriptions/x/resourcegroups/AzureBackupRG_weu_1'. Please remove the lock and try again.",
        );
        assert_eq!(value(&found, "refused_operation"), Some("delete"));
        assert_eq!(value(&found, "locked_scope"), Some("/subscriptions/x/resourcegroups/AzureBackupRG_weu_1"));
        assert_eq!(value(&found, "collection"), Some("AzureBackup_app_1"));
    }

    #[test]
    fn things_are_named_as_they_stand() {
        let found = named(
            "Disk app01_OsDisk_1 is attached to VM /subscriptions/s/resourceGroups/rg/providers/Microsoft.Compute/virtualMachines/app01.",
        );
        assert_eq!((value(&found, "disk"), value(&found, "vm")), (Some("app01_OsDisk_1"), Some("app01")));
        let found = named(
            "Resource 'x' was disallowed by policy. Policy identifiers: '[{\"policyAssignment\":{\"id\":\"/providers/Microsoft.Authorization/policyAssignments/deny-tags\"}}]'",
        );
        assert_eq!(value(&found, "policy"), Some("deny-tags"));
        assert_eq!(named("nothing here"), []);
    }
}
