//! Evidence in sentences: `points.count is 21` becomes "It has 21 restore points; the limit is 18."
//!
//! Invariants: every value of the condition view has a sentence (a test holds that); what is no value of the view keeps its own
//! words, with a capital and a full stop. Nothing is dropped but what another sentence says too.

use std::collections::BTreeMap;

use crate::text::plural;

/// How a value is said. `{}` is the value; the two of a boolean are for true and false.
enum Words {
    Text(&'static str),
    /// The noun that is counted, and the sentence around it.
    Count(&'static str, &'static str),
    Bool(&'static str, &'static str),
}

use Words::{Bool, Count, Text};

/// The sentence of each value of the condition view.
const VALUES: &[(&str, Words)] = &[
    ("agent.ready", Bool("The VM agent is ready.", "The VM agent is not ready.")),
    ("agent.reported_minutes_ago", Count("minute", "The VM agent last reported {} ago.")),
    ("agent.status", Text("The VM agent has the status {}.")),
    ("agent.version", Text("The VM agent has the version {}.")),
    ("backup.health", Text("The health of its backup is {}.")),
    ("backup.inner_error", Text("The details of that error name {}.")),
    ("backup.item_count", Count("vault item", "{} of it, in all vaults that were read.")),
    ("backup.last_backup_days_ago", Count("day", "Its last good backup was {} ago.")),
    ("backup.last_error", Text("Its last backup failed with {}.")),
    ("backup.last_error_id", Text("The number of that error is {}.")),
    ("backup.last_status", Text("Its last backup ended with {}.")),
    ("backup.protected", Bool("A vault protects it.", "No vault protects it now.")),
    ("backup.running", Bool("A job of it is running.", "No job of it is running.")),
    ("backup.running_hours", Count("hour", "A job of it has been running for {}.")),
    ("backup.soft_deleted", Bool("Its backup is soft-deleted.", "Its backup is not soft-deleted.")),
    ("backup.state", Text("Its protection state is {}.")),
    ("extensions.failed", Text("Failed extensions: {}.")),
    ("extensions.other_failed", Count("other extension", "{} in a failed state.")),
    (
        "keyvault.encrypted",
        Bool("It is encrypted with Azure Disk Encryption.", "It is not encrypted with Azure Disk Encryption."),
    ),
    ("keyvault.vaults", Text("Its keys are in {}.")),
    ("locks.backup_groups", Count("lock", "{} on its backup resource groups.")),
    ("locks.collections", Count("lock", "{} on its restore point collections.")),
    ("locks.inherited", Count("lock", "{} inherited from above the groups of its collections.")),
    ("locks.read_only", Count("lock", "{} of the level ReadOnly.")),
    ("locks.subscription", Count("lock", "{} on its subscription.")),
    ("locks.total", Count("lock", "{} in all.")),
    ("locks.vm", Count("lock", "{} on the VM or its resource group.")),
    ("points.collections", Count("restore point collection", "It has {}.")),
    ("points.count", Count("restore point", "It has {}.")),
    ("points.expired", Count("restore point", "{} past the retention of the policy.")),
    ("points.failed", Count("restore point", "{} in a failed state.")),
    ("points.limit", Text("The limit is {} restore points.")),
    ("points.newest_hours_ago", Count("hour", "The newest restore point is {} old.")),
    ("points.orphaned", Count("restore point", "{} in collections of deleted VMs.")),
    ("points.superseded", Count("restore point", "{} in collections that a newer one replaced.")),
    ("policy.enhanced", Bool("Its policy is an Enhanced one.", "Its policy is a Standard one.")),
    ("policy.snapshot_days", Count("day", "Snapshots are kept for {}.")),
    ("policy.type", Text("The type of its policy is {}.")),
    ("vault.guarded", Bool("A resource guard protects the vault.", "No resource guard protects the vault.")),
    ("vault.immutable", Bool("The vault is immutable.", "The vault is not immutable.")),
    ("vault.name", Text("Its vault is {}.")),
    ("vm.exists", Bool("The VM exists.", "Azure says that the VM does not exist.")),
    ("vm.location", Text("The VM is in {}.")),
    ("vm.name", Text("The VM is called {}.")),
    ("vm.os", Text("Its operating system is {}.")),
    ("vm.power", Text("The VM is {}.")),
    ("vm.provisioning_state", Text("The provisioning state of the VM is {}.")),
    ("vmsnapshot.code", Text("VMSnapshot reports the code {}.")),
    ("vmsnapshot.message", Text("VMSnapshot says: {}.")),
    (
        "vmsnapshot.present",
        Bool("The VMSnapshot extension is on the VM.", "The VMSnapshot extension is not on the VM."),
    ),
    ("vmsnapshot.state", Text("The state of the VMSnapshot extension is {}.")),
    ("vmsnapshot.version", Text("The version of VMSnapshot is {}.")),
];

/// The evidence of a finding, a sentence each.
#[must_use]
pub fn sentences(evidence: &[String]) -> Vec<String> {
    let values: BTreeMap<&str, &str> = evidence.iter().filter_map(|line| value(line)).collect();
    let error = values.get("backup.last_error").map(|code| code.trim_matches('"'));
    let mut out: Vec<String> = Vec::new();
    for line in evidence {
        let sentence = match value(line) {
            // Two numbers that mean something only together.
            Some(("points.limit", _)) if values.contains_key("points.count") => continue,
            Some(("points.count", count)) => match values.get("points.limit") {
                Some(limit) => format!("{} (limit {limit}).", sentence("points.count", count).trim_end_matches('.')),
                None => sentence("points.count", count),
            },
            Some((path, value)) => sentence(path, value),
            None if error.is_some_and(|code| line == &format!("the error is {code}")) => continue,
            None if error.is_some() && line == "the last backup: Failed" => continue,
            None => own(line),
        };
        if !out.contains(&sentence) {
            out.push(sentence);
        }
    }
    out
}

/// Path and value of `path is value`.
fn value(line: &str) -> Option<(&str, &str)> {
    let (path, value) = line.split_once(" is ")?;
    VALUES.iter().any(|(known, _)| *known == path).then_some((path, value))
}

fn sentence(path: &str, value: &str) -> String {
    let Some((_, words)) = VALUES.iter().find(|(known, _)| *known == path) else { return own(value) };
    let plain = match serde_json::from_str(value) {
        Ok(serde_json::Value::String(text)) => text,
        Ok(serde_json::Value::Array(items)) => {
            let items: Vec<String> =
                items.iter().map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned)).collect();
            items.join(", ")
        }
        _ => value.trim_matches('"').to_owned(),
    };
    match words {
        Bool(yes, no) => if plain == "true" { *yes } else { *no }.to_owned(),
        Text(words) if plain.is_empty() => words.replace("{}", "empty"),
        Text(words) => words.replace("{}", plain.trim_end_matches('.')),
        Count(noun, words) => match plain.parse::<usize>() {
            Ok(0) => words.replace("{}", &format!("no {noun}")).replacen(
                "no ",
                if words.starts_with("{}") { "No " } else { "no " },
                1,
            ),
            Ok(number) => words.replace("{}", &plural(number, noun)),
            Err(_) => words.replace("{}", &plain),
        },
    }
}

/// A line that is a text of its own.
fn own(line: &str) -> String {
    let mut letters = line.chars();
    let Some(first) = letters.next() else { return String::new() };
    let ends = line.ends_with(['.', '!', '?', ':', ')']);
    format!("{}{}{}", first.to_uppercase(), letters.as_str(), if ends { "" } else { "." })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::playbook::conditions::view_paths;

    #[test]
    fn every_value_of_the_view_has_a_sentence_and_no_other() {
        let known: Vec<&str> = view_paths().keys().map(String::as_str).collect();
        let mut ours: Vec<&str> = VALUES.iter().map(|(path, _)| *path).collect();
        ours.sort_unstable();
        assert_eq!(ours, known);
    }

    #[test]
    fn values_become_sentences() {
        let lines = |evidence: &[&str]| sentences(&evidence.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>());
        assert_eq!(
            lines(&[
                "backup.last_error is \"UserErrorRpCollectionLimitReached\"",
                "points.count is 21",
                "points.limit is 18",
                "locks.backup_groups is 1",
                "locks.collections is 0",
                "Protected in the vault bkp-vault",
                "the last backup: Failed",
                "the error is UserErrorRpCollectionLimitReached",
                "the last successful backup was 1 day ago",
            ]),
            [
                "Its last backup failed with UserErrorRpCollectionLimitReached.",
                "It has 21 restore points (limit 18).",
                "1 lock on its backup resource groups.",
                "No lock on its restore point collections.",
                "Protected in the vault bkp-vault.",
                "The last successful backup was 1 day ago.",
            ]
        );
        assert_eq!(lines(&["points.limit is 18"]), ["The limit is 18 restore points."]);
        assert_eq!(lines(&["extensions.failed is [\"a\",\"b\"]"]), ["Failed extensions: a, b."]);
        assert_eq!(lines(&["vm.exists is false"]), ["Azure says that the VM does not exist."]);
        assert_eq!(lines(&["points.collections is 0"]), ["It has no restore point collection."]);
        // Not a value of the view: its own words.
        assert_eq!(lines(&["this thing is 3"]), ["This thing is 3."]);
    }
}
