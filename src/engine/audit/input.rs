//! What the checks of an audit look at: the whole reading, and one VM of it.
//!
//! Invariant: a command that is written here can be typed as it stands. Must never: judge.

use std::collections::HashMap;

use jiff::Timestamp;

use super::{Check, Finding, Level};
use crate::arm::ResourceId;
use crate::engine::choose::Candidate;
use crate::facts::bulk::{Bulk, Deep, Index};
use crate::facts::graph::VmRow;
use crate::facts::objective::{Due, Objective};
use crate::facts::view::View;
use crate::facts::vm_facts::{ItemFacts, VmFacts};
use crate::text::shell_quote;

/// A subscription in a report.
#[derive(Debug)]
pub(super) struct Named {
    /// Its name, its id where it has none.
    pub name: String,
    /// What `-s` takes: the name where no other has it, else the id.
    pub word: String,
}

/// One VM, ready for the checks.
pub(super) struct VmUnderAudit<'a> {
    pub row: &'a VmRow,
    pub facts: VmFacts,
    pub view: View,
    /// Playbooks that apply.
    pub applies: Vec<Candidate<'a>>,
    /// What the policies of its items ask for, in the order of the items.
    pub dues: Vec<Option<Due>>,
}

impl VmUnderAudit<'_> {
    /// How the item that protects the VM keeps to its schedule.
    pub fn objective(&self, now: Timestamp) -> Option<Objective> {
        let items = self.facts.items.known()?;
        let active = |facts: &&(&ItemFacts, &Option<Due>)| !facts.0.item.soft_deleted && !facts.0.item.stopped();
        let (facts, due) = items.iter().zip(&self.dues).find(|one| active(&one))?;
        Some(Objective::by(*due, facts, now))
    }
}

/// What the checks look at.
pub(super) struct AuditInput<'a> {
    pub bulk: &'a Bulk,
    pub index: &'a Index,
    pub deep: &'a Deep,
    pub program: &'a str,
    /// Subscriptions by their id.
    pub subscriptions: &'a HashMap<String, Named>,
}

impl AuditInput<'_> {
    /// A finding of a check.
    pub fn checked(&self, check: Check, level: Level, id: &ResourceId) -> Finding {
        self.finding(check.name(), check.title(), level, id)
    }

    /// A finding about a resource.
    pub fn finding(&self, rule: &str, title: &str, level: Level, id: &ResourceId) -> Finding {
        Finding {
            key: format!("{rule}|{}", id.key()),
            rule: rule.to_owned(),
            title: title.to_owned(),
            level,
            resource: id.to_string(),
            name: id.name().to_owned(),
            group: id.resource_group().unwrap_or_default().to_owned(),
            subscription: id.subscription().to_lowercase(),
            subscription_name: self.subscription_name(id),
            evidence: Vec::new(),
            code: None,
            command: None,
            objective: None,
            plan: Vec::new(),
            change: None,
            vms: Vec::new(),
        }
    }

    /// The name of a resource's subscription, its id where it has none.
    pub fn subscription_name(&self, id: &ResourceId) -> String {
        let key = id.subscription().to_lowercase();
        self.subscriptions.get(&key).map_or(key, |one| one.name.clone())
    }

    /// A command about a VM that is listed: as short as it can be typed.
    pub fn command(&self, words: &str, vm: &ResourceId) -> String {
        let subscription = self.subscriptions.get(&vm.subscription().to_lowercase());
        match (vm.resource_group(), subscription) {
            (Some(group), Some(Named { word, .. })) => {
                let short = format!("{group}/{}", vm.name());
                format!("{} {words} --vm {} -s {}", self.program, shell_quote(&short), shell_quote(word))
            }
            _ => self.command_by_id(words, vm),
        }
    }

    /// A command about a VM that need not be listed any more: its id is always clear.
    pub fn command_by_id(&self, words: &str, vm: &ResourceId) -> String {
        format!("{} {words} --vm {}", self.program, shell_quote(vm.as_str()))
    }
}
