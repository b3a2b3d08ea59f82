//! What an error's own words name: the scope that is locked and the verb that was refused, the extension, the disk, the
//! vault, the policy, the group, the lock's owner.
//!
//! Duty: pure text; only what stands in the text, as it stands there. It says where to look, not what is so.

use serde::Serialize;

use super::flat::Flat;
use super::paste::Paste;

/// A thing that a text names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Named {
    /// What it is: `refused_operation`, `refused_scope`, `locked_scope`, `application`, `action`, `scope`, `deny_assignment`, `policy`,
    /// `extension`, `disk`, `vault`, `vm`, `collection`, `group`, `retry_after`.
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
    let text = unwrapped(paste.open());
    let mut out = Vec::new();
    let mut put = |what: &str, value: &str| {
        let value = value.trim_matches([' ', '\'', '"', '.', ',', ';', '(', ')']);
        let known = |one: &Named| one.what == what && one.value.eq_ignore_ascii_case(value);
        let full = out.iter().filter(|one: &&Named| one.what == what).count() >= MOST;
        if !value.is_empty() && value.len() <= 400 && !full && !out.iter().any(known) {
            out.push(Named { what: what.to_owned(), value: value.to_owned() });
        }
    };
    let flat = Flat::of(&text);
    for verb in ["delete", "write"] {
        for (before, _) in flat.around(&format!("cannotperform{verb}operation")) {
            put("refused_operation", verb);
            put("refused_scope", quoted_end(before).unwrap_or_default());
        }
    }
    for (_, behind) in flat.around("arelocked") {
        for scope in quoted_start(behind).unwrap_or_default().split(',') {
            put("locked_scope", scope);
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

/// The text on one line. A name or an id that a line break cuts is put together: one in quotes, and an id that goes on.
fn unwrapped(text: &str) -> String {
    const MARGIN: [char; 3] = [' ', '|', '>'];
    let mut out = String::with_capacity(text.len());
    // Where the value of the open quotes begins, and the mark that closes them.
    let mut open: Option<(usize, char)> = None;
    let mut lines = text.split('\n').peekable();
    while let Some(line) = lines.next() {
        let line = if out.is_empty() { line } else { line.trim_start_matches(MARGIN) };
        for c in line.chars() {
            match open {
                Some((_, mark)) if mark == c => open = None,
                None if matches!(c, '\'' | '"') && !out.ends_with(char::is_alphanumeric) => {
                    open = Some((out.len() + 1, c))
                }
                _ => {}
            }
            out.push(c);
        }
        let Some(next) = lines.peek() else { break };
        let end = out.trim_end_matches(MARGIN).len();
        let value = open.and_then(|(begin, mark)| Some((out.get(begin..end)?, mark)));
        let cut = goes_on(out.get(..end).unwrap_or_default(), next.trim_start_matches(MARGIN), value);
        out.truncate(end);
        if !cut {
            out.push(' ');
        }
    }
    out
}

/// Whether what a line ends with goes on in the next; `value`: what stands in the open quotes, and the mark that closes them.
fn goes_on(before: &str, next: &str, value: Option<(&str, char)>) -> bool {
    let of_id = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | '(' | ')');
    if !next.starts_with(of_id) {
        return false;
    }
    let token = before.rsplit([' ', '\'', '"']).next().unwrap_or_default();
    let rest = next.split([' ', '\'', '"', ',']).next().unwrap_or_default();
    let other = next.to_ascii_lowercase().starts_with("/subscriptions/");
    let id = token.starts_with('/') && token.len() > 1;
    match value.filter(|(value, _)| value.len() <= 600) {
        Some((value, _)) if value.starts_with('/') => id && !other,
        // A name is one word: more words are a sentence in quotes.
        Some((value, mark)) => {
            !value.is_empty()
                && !value.contains(' ')
                && next.get(rest.len()..).is_some_and(|tail| tail.starts_with(mark))
        }
        None => id && !other && (rest.contains('/') || token.ends_with(['/', '-', '_'])),
    }
}

/// The quoted value that a text ends with.
fn quoted_end(text: &str) -> Option<&str> {
    let text = text.trim_end();
    let mark = text.chars().last().filter(|c| matches!(c, '\'' | '"'))?;
    text.strip_suffix(mark)?.rsplit(mark).next()
}

/// The quoted value that a text begins with.
fn quoted_start(text: &str) -> Option<&str> {
    let text = text.trim_start_matches([' ', ':', '=']);
    let mark = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    text.strip_prefix(mark)?.split(mark).next()
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
        assert!(
            value(&found, "refused_scope").is_some_and(|scope| scope.ends_with("/AzureBackup_app_1")),
            "{found:#?}"
        );
        assert_eq!(value(&found, "locked_scope"), Some("/subscriptions/x/resourcegroups/AzureBackupRG_weu_1"));
        assert_eq!(value(&found, "collection"), Some("AzureBackup_app_1"));
    }

    #[test]
    fn a_name_that_a_line_break_cuts_is_whole() {
        let found = named(
            "The scope '/subscriptions/s/resourceGroups/rg-pr\n  od/providers/Microsoft.Compute/virtual\n  Machines/ap\n  p-7' \
             cannot perform write operation because following scope(s) are locked: '/subscriptions/s/resourceGroups/rg-pr\n  od'.",
        );
        assert_eq!(value(&found, "locked_scope"), Some("/subscriptions/s/resourceGroups/rg-prod"));
        assert_eq!((value(&found, "vm"), value(&found, "group")), (Some("app-7"), Some("rg-prod")));
        let found = named(
            "Extension 'Monit\noringAgent' of /subscriptions/s/resourceGroups/rg/providers/Microsoft.Compute/\n\
                           virtualMachines/app-8\nfailed. See 'two\nwords here'.",
        );
        assert_eq!((value(&found, "extension"), value(&found, "vm")), (Some("MonitoringAgent"), Some("app-8")));
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
