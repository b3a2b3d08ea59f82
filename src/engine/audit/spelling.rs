//! One spelling of a resource group in one audit.
//!
//! Azure compares names without case, and its lists spell one group in several ways (`RG-Data`, `rg-data`,
//! `AZUREBACKUPRG_WESTEUROPE_1`). Someone who reads a page takes them for different groups. Invariant: only the case of letters
//! changes, and only where a text names a group as a part of a path (`group/name`, a resource id).

use std::collections::{BTreeMap, HashMap};

use super::{Audit, Finding};

/// Subscription and group in lower case, and how the group is spelled here.
type Spellings = HashMap<(String, String), String>;

impl Audit {
    /// Spells every resource group in one way.
    pub fn spell_groups(&mut self) {
        let spellings = spellings(&self.findings);
        for finding in &mut self.findings {
            respell(finding, &spellings);
        }
    }
}

/// The spelling that most findings have; of equals one that is not all in one case, as people write names.
fn spellings(findings: &[Finding]) -> Spellings {
    let mut found: HashMap<(String, String), BTreeMap<&str, usize>> = HashMap::new();
    for finding in findings.iter().filter(|one| !one.group.is_empty()) {
        let key = (finding.subscription.to_lowercase(), finding.group.to_lowercase());
        *found.entry(key).or_default().entry(&finding.group).or_default() += 1;
    }
    let best = |counts: &BTreeMap<&str, usize>| {
        let mixed = |name: &str| name.chars().any(char::is_lowercase) && name.chars().any(char::is_uppercase);
        counts.iter().max_by_key(|(name, count)| (**count, mixed(name))).map(|(name, _)| (*name).to_owned())
    };
    found.into_iter().filter_map(|(key, counts)| Some((key, best(&counts)?))).collect()
}

fn respell(finding: &mut Finding, spellings: &Spellings) {
    let subscription = finding.subscription.to_lowercase();
    let spelled = |name: &str| spellings.get(&(subscription.clone(), name.to_lowercase())).map(String::as_str);
    if let Some(name) = spelled(&finding.group) {
        // A finding about a group has its name.
        if finding.name.eq_ignore_ascii_case(name) {
            name.clone_into(&mut finding.name);
        }
        finding.group = name.to_owned();
    }
    finding.resource = in_path(&finding.resource, &spelled);
    let texts = finding.evidence.iter_mut().chain(&mut finding.command).chain(&mut finding.plan);
    for text in texts.filter(|text| text.contains('/')) {
        *text = in_path(text, &spelled);
    }
}

/// The text with every part of a path that is a known group spelled like it.
fn in_path<'a>(text: &str, spelled: &impl Fn(&str) -> Option<&'a str>) -> String {
    let of_name = |c: char| c.is_alphanumeric() || "-_.()".contains(c);
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c| !of_name(c)).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        let in_path = !name.is_empty() && (after.starts_with('/') || out.to_lowercase().ends_with("/resourcegroups/"));
        out.push_str(spelled(name).filter(|_| in_path).unwrap_or(name));
        let next = after.char_indices().nth(1).map_or(after.len(), |(at, _)| at);
        let (between, left) = after.split_at(next);
        out.push_str(between);
        rest = left;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::audit::Level;

    fn finding(group: &str, name: &str, command: &str) -> Finding {
        Finding {
            key: String::new(),
            rule: String::new(),
            title: String::new(),
            level: Level::High,
            resource: format!("/subscriptions/S/resourceGroups/{group}"),
            name: name.to_owned(),
            group: group.to_owned(),
            subscription: "s".to_owned(),
            subscription_name: String::new(),
            evidence: vec![format!("the collection {}/c, notes \"RG-DATA is ours\"", group.to_uppercase())],
            code: None,
            command: Some(command.to_owned()),
            objective: None,
            plan: Vec::new(),
            change: None,
            vms: Vec::new(),
        }
    }

    #[test]
    fn a_group_has_one_spelling_and_other_words_keep_theirs() {
        let mut findings = vec![
            finding("rg-data", "a", "azmend fix x --vm rg-data/RG-DATA"),
            finding("RG-Data", "b", "azmend fix x --vm RG-DATA/b"),
            finding("RG-Data", "RG-DATA", "azmend explain rg-data"),
            finding("other", "c", "azmend fix x --vm rg-data/c"),
        ];
        let spellings = spellings(&findings);
        findings.iter_mut().for_each(|one| respell(one, &spellings));
        let groups: Vec<&str> = findings.iter().map(|one| one.group.as_str()).collect();
        assert_eq!(groups, ["RG-Data", "RG-Data", "RG-Data", "other"]);
        let commands: Vec<&str> = findings.iter().filter_map(|one| one.command.as_deref()).collect();
        assert_eq!(
            commands,
            [
                "azmend fix x --vm RG-Data/RG-DATA",
                "azmend fix x --vm RG-Data/b",
                "azmend explain rg-data",
                "azmend fix x --vm RG-Data/c"
            ]
        );
        assert_eq!(findings[0].resource, "/subscriptions/S/resourceGroups/RG-Data");
        assert_eq!(findings[2].name, "RG-Data");
        assert_eq!(findings[0].evidence, ["the collection RG-Data/c, notes \"RG-DATA is ours\""]);
    }
}
