//! Which command may be printed for a playbook: every one is planned first, on the facts in hand.
//!
//! Duty: pure. What a plan would be refused for, and what a person has to say first, is said beforehand and in place of a
//! command that ends there. Invariants: what is not read foretells nothing (S12), so a command stays; nothing that a plan
//! on the same facts would do is called refused. Must never: be taken for a plan; a fix reads again by ARM.

use std::collections::{BTreeMap, BTreeSet};

use super::fleet::MAX_CHANGES_OF_ONE;
use super::planner::{Outlook, outlook};
use crate::actions::change::Refusal;
use crate::actions::rules::{self, ORPHAN_AGE, RuleInput};
use crate::actions::spec::{ActionName, ActionSpec};
use crate::facts::view::View;
use crate::facts::vm_facts::VmFacts;
use crate::playbook::{Playbook, Resolved};

/// What stands in a command where a person has to choose.
pub const PLACEHOLDERS: [&str; 3] = ["VAULT", "POLICY", "OBJECT_ID"];

/// What the facts in hand say of a repair.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Foreseen {
    /// Nothing speaks against it.
    #[default]
    Open,
    /// A person has to say something first.
    Asks {
        /// The words of the command, when it is not `fix` and the playbook.
        words: Option<&'static str>,
        /// The options that are to be filled in.
        options: &'static str,
        /// What is to be said, and by whom.
        why: Refusal,
    },
    /// It would be refused.
    Refused(Refusal),
    /// It would change nothing.
    Nothing,
}

impl Foreseen {
    /// Why the plain command ends without a repair.
    #[must_use]
    pub const fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Asks { why, .. } | Self::Refused(why) => Some(why),
            Self::Open | Self::Nothing => None,
        }
    }

    /// The words of the command before `--vm` and its options, when there is one that does not end at once.
    #[must_use]
    pub fn command(&self, playbook: &str, inside: bool) -> Option<(String, &'static str)> {
        let fix = || format!("fix {}", crate::text::shell_quote(playbook));
        match self {
            Self::Open => Some((fix(), if inside { " --allow-guest" } else { "" })),
            Self::Asks { words, options, .. } => Some((words.map_or_else(fix, str::to_owned), *options)),
            Self::Refused(_) | Self::Nothing => None,
        }
    }
}

/// Whether a playbook runs scripts inside the VM.
pub(super) fn inside(playbook: &Playbook) -> bool {
    let mut actions = playbook.steps().iter().map(crate::playbook::model::Step::action);
    actions.any(|action| matches!(action, ActionName::GuestService | ActionName::GuestAgentConf))
}

/// Plans a playbook that applies, on the facts in hand.
#[must_use]
pub fn foresee(playbook: &Playbook, facts: &VmFacts, view: &View) -> Foreseen {
    let Ok(resolved) = playbook.resolve(&BTreeMap::new()) else { return Foreseen::Open };
    if let Some(asks) = asks(&resolved, facts) {
        return asks;
    }
    match outlook(&resolved, facts, view, MAX_CHANGES_OF_ONE) {
        Outlook::Open => Foreseen::Open,
        // What runs inside the VM is not looked at here.
        Outlook::Nothing if inside(playbook) => Foreseen::Open,
        Outlook::Nothing => Foreseen::Nothing,
        Outlook::Refused(refusal) => Foreseen::Refused(refusal),
    }
}

/// What only a person can say, and no default stands for.
fn asks(resolved: &Resolved, facts: &VmFacts) -> Option<Foreseen> {
    resolved.steps.iter().find_map(|step| match &step.action {
        ActionSpec::KeyvaultGrant(spec) if !spec.grant => {
            // No grant helps, whoever it is for.
            if let Some(refusal) = never_granted(facts) {
                return Some(Foreseen::Refused(refusal));
            }
            let why = rules::keyvault::asked(spec.grant, &spec.principal, &spec.role).err()?;
            Some(Foreseen::Asks { words: None, options: " --set grant=true --set principal=OBJECT_ID", why })
        }
        ActionSpec::ProtectionEnable(spec) if spec.vault.is_empty() => {
            let why = rules::enabling::which_vault(facts);
            Some(Foreseen::Asks { words: Some("protect"), options: " --vault VAULT --policy POLICY", why })
        }
        ActionSpec::ProtectionResume(spec) if spec.policy.is_empty() => {
            let mut items = facts.items.known()?.iter();
            let stopped =
                items.find(|one| rules::protection::is_stopped(&one.item) && one.item.policy_id.is_empty())?;
            let why = rules::protection::policy_for(&stopped.item, "", &[]).err()?;
            let vault = rules::protection::vault_name(&stopped.item);
            let why = why.hint(format!("choose one of the policies of vault {vault} with --set policy=<name>"));
            Some(Foreseen::Asks { words: None, options: " --set policy=POLICY", why })
        }
        _ => None,
    })
}

/// Why no grant on the VM's key vaults can be made, whoever asks for it; nothing where that was not read.
fn never_granted(facts: &VmFacts) -> Option<Refusal> {
    let overrides = BTreeSet::new();
    let input = RuleInput { facts, now: facts.at, overrides: &overrides, orphan_age: ORPHAN_AGE };
    let refusal = match rules::keyvault::vaults(&input) {
        Err(refusal) => Some(refusal),
        Ok(vaults) => vaults.iter().find_map(|one| {
            let rbac = one.vault.known()?.rbac;
            rules::keyvault::not_locked(&input, one, rbac).err()
        }),
    };
    refusal.filter(|one| !one.rule.ends_with("unread"))
}

/// Whether a person has to fill something into this command.
#[must_use]
pub fn asks_a_person(command: &str) -> bool {
    command.split([' ', '=']).any(|word| PLACEHOLDERS.contains(&word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actions::rules::stale;
    use crate::actions::rules::testing::{facts, unread};
    use crate::playbook::library::Library;

    /// A step that goes on without what it could not read says nothing of what a fix would find (S12).
    #[test]
    fn what_was_not_read_foretells_nothing() {
        let library = Library::shipped();
        let playbook = library.find("delete-stale-collections").unwrap();
        let mut facts = facts();
        facts.collections = unread();
        let input = RuleInput { facts: &facts, now: facts.at, overrides: &BTreeSet::new(), orphan_age: ORPHAN_AGE };
        let view = View::of(&facts, &stale::counts(&input), facts.at);
        assert_eq!(foresee(playbook, &facts, &view), Foreseen::Open);
    }
}
