//! Which ARM actions azmend needs, where, what for, and what happens without each.
//!
//! Duty: the reads that facts and proofs are made of are listed here; what a playbook action uses of them, and the
//! changes that it makes, is declared in the action's own file ([`Uses`]). [`NEEDS`] joins both to one table, from which
//! `azmend role` writes role definitions and `azmend doctor` judges an identity.
//! Invariants: every right here stands for a call that `estate`, `actions` or the engine really makes, or for a read
//! whose grant proves that a list is complete (S12); what cannot be made without it is in [`Need::blocks`]. Both are
//! held by `tests/it/permissions.rs`, which runs every playbook with exactly these rights and with each one missing.
//! Must never: ask for more than is used. There is no wildcard but the one on the backup resource groups, where only
//! `*/read` proves that a group holds nothing else (S5).
//!
//! Sources of the names: the published operation lists and paths (`tests/fixtures/contracts/actions.txt`).

use std::collections::BTreeSet;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::permission::{
    BACKUP_STATUS, COLLECTIONS, COMPUTE_OPERATIONS, DENY_ASSIGNMENTS, DISKS, ENGINES, EXTENSIONS, GROUP_CONTENTS,
    GROUPS, INSTANCE_VIEW, ITEM, ITEM_OPERATIONS, ITEM_RESULTS, ITEMS, JOBS, KEY_VAULT, LOCKS, METRICS, NETWORK_RULES,
    NeedKind, PERMISSIONS, POINTS, POLICIES, PROTECTABLE_ITEMS, Place, RECOVERY_POINTS, REFRESH_CONTAINERS,
    RESOURCE_GUARD, ROLE_ASSIGNMENTS, Right, SUBSCRIPTIONS, Uses, VAULTS, VM,
};
use super::spec::ActionName;

/// A right, with the playbook actions that use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// The action as Azure's operation lists print it.
    pub action: &'static str,
    /// Where.
    pub place: Place,
    /// What for.
    pub kind: NeedKind,
    /// The playbook actions that cannot be made (completely) without it; for [`NeedKind::Follow`] and
    /// [`NeedKind::Change`] also those that want it.
    pub blocks: Vec<ActionName>,
    /// Those of `blocks` of which a part can still be made.
    pub partly: Vec<ActionName>,
    /// The playbook actions that are better with it.
    pub helps: Vec<ActionName>,
    /// What it is for, a fragment.
    pub why: &'static str,
    /// What happens without it, a fragment.
    pub without: &'static str,
    /// Nothing stops without it: why it is still requested.
    pub optional: Option<&'static str>,
}

impl Need {
    fn of(right: &'static Right) -> Self {
        let who = |wanted: fn(Uses) -> bool| {
            let uses = |action: &ActionName| {
                action.needs().iter().any(|uses| uses.right().action == right.action && wanted(*uses))
            };
            ActionName::ALL.into_iter().filter(uses).collect::<Vec<_>>()
        };
        let everybody = EVERYBODY.iter().any(|every| every.action == right.action);
        Self {
            action: right.action,
            place: right.place,
            kind: right.kind,
            blocks: if everybody {
                ActionName::ALL.to_vec()
            } else {
                who(|uses| matches!(uses, Uses::Needs(_) | Uses::Partly(_)))
            },
            partly: who(|uses| matches!(uses, Uses::Partly(_))),
            helps: who(|uses| matches!(uses, Uses::Better(_))),
            why: right.why,
            without: right.without,
            optional: right.optional,
        }
    }

    /// Whether azmend works without it.
    #[must_use]
    pub const fn is_optional(&self) -> bool {
        self.optional.is_some()
    }

    /// Whether it only reads. (`backupStatus` is a POST that reads.)
    #[must_use]
    pub fn reads(&self) -> bool {
        self.kind != NeedKind::Change
    }
}

/// Every right that the shipped playbook actions and the facts need: the reads, then the changes in the order of the
/// table of actions.
pub static NEEDS: LazyLock<Vec<Need>> = LazyLock::new(|| {
    let mut rights: Vec<&'static Right> = READS.to_vec();
    for uses in ActionName::ALL.into_iter().flat_map(ActionName::needs) {
        if !rights.iter().any(|right| right.action == uses.right().action) {
            rights.push(uses.right());
        }
    }
    rights.into_iter().map(Need::of).collect()
});

/// The reads, in the order of the documentation.
const READS: &[&Right] = &[
    &SUBSCRIPTIONS,
    &PERMISSIONS,
    &DENY_ASSIGNMENTS,
    &LOCKS,
    &GROUPS,
    &GROUP_CONTENTS,
    &VM,
    &INSTANCE_VIEW,
    &EXTENSIONS,
    &COLLECTIONS,
    &POINTS,
    &BACKUP_STATUS,
    &VAULTS,
    &ITEMS,
    &POLICIES,
    &RECOVERY_POINTS,
    &JOBS,
    &RESOURCE_GUARD,
    &ENGINES,
    &DISKS,
    &METRICS,
    &NETWORK_RULES,
    &PROTECTABLE_ITEMS,
    &REFRESH_CONTAINERS,
    &KEY_VAULT,
    &ROLE_ASSIGNMENTS,
    &ITEM,
    &ITEM_OPERATIONS,
    &ITEM_RESULTS,
    &COMPUTE_OPERATIONS,
];

/// What every action needs.
const EVERYBODY: [&Right; 2] = [&PERMISSIONS, &VM];

pub use super::guest::RUN_COMMAND;

/// What an identity is to be able to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purpose {
    actions: Vec<ActionName>,
}

impl Purpose {
    /// To look only: audits and dry runs.
    #[must_use]
    pub const fn read_only() -> Self {
        Self { actions: Vec::new() }
    }

    /// To make these playbook actions.
    #[must_use]
    pub fn to(actions: impl IntoIterator<Item = ActionName>) -> Self {
        let wanted: Vec<ActionName> = actions.into_iter().collect();
        Self { actions: ActionName::ALL.into_iter().filter(|action| wanted.contains(action)).collect() }
    }

    /// Without removing locks.
    #[must_use]
    pub fn without_locks(mut self) -> Self {
        self.actions.retain(|action| *action != ActionName::LocksRemove);
        self
    }

    /// Without granting anything: that must be asked for by name, also in a role. Whoever may write access policies or role
    /// assignments may give himself everything in the vault.
    #[must_use]
    pub fn without_grants(mut self) -> Self {
        self.actions.retain(|action| *action != ActionName::KeyvaultGrant);
        self
    }

    /// The playbook actions it is for; none when it only looks.
    #[must_use]
    pub fn actions(&self) -> &[ActionName] {
        &self.actions
    }

    /// What is needed for it. Facts are always needed: what is not read is said, and the exit code tells.
    #[must_use]
    pub fn needs(&self) -> Vec<&'static Need> {
        let wanted = |need: &&Need| match need.kind {
            NeedKind::Fact => true,
            NeedKind::Follow | NeedKind::Change => {
                need.blocks.iter().chain(&need.helps).any(|action| self.actions.contains(action))
            }
        };
        NEEDS.iter().filter(wanted).collect()
    }
}

/// A custom role as `az role definition create --role-definition @file` reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct RoleDefinition {
    /// Its name, unique in the tenant.
    pub name: String,
    /// Always true.
    pub is_custom: bool,
    /// What it is for.
    pub description: String,
    /// Granted.
    pub actions: Vec<String>,
    /// Taken out: nothing.
    pub not_actions: Vec<String>,
    /// Nothing: azmend never touches data.
    pub data_actions: Vec<String>,
    /// Nothing.
    pub not_data_actions: Vec<String>,
    /// Where it can be assigned.
    pub assignable_scopes: Vec<String>,
}

impl RoleDefinition {
    /// A role of these needs, without the one on backup resource groups: there the built-in role Reader is assigned
    /// beside it, so that `*/read` is not granted anywhere else.
    #[must_use]
    pub fn of<'a>(
        name: &str,
        description: &str,
        needs: impl IntoIterator<Item = &'a Need>,
        assignable_scopes: Vec<String>,
    ) -> Self {
        let mut seen = BTreeSet::new();
        let actions = needs
            .into_iter()
            .map(|need| need.action)
            .filter(|action| *action != EVERY_READ && seen.insert(*action))
            .map(str::to_owned)
            .collect();
        Self {
            name: name.to_owned(),
            is_custom: true,
            description: description.to_owned(),
            actions,
            not_actions: Vec::new(),
            data_actions: Vec::new(),
            not_data_actions: Vec::new(),
            assignable_scopes,
        }
    }
}

/// The one need that a role definition leaves to the built-in role Reader.
pub const EVERY_READ: &str = "*/read";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sound() {
        let mut seen = BTreeSet::new();
        for need in NEEDS.iter() {
            assert!(seen.insert(need.action.to_lowercase()), "{} appears twice", need.action);
            assert_eq!(need.action.contains('*'), need.place == Place::BackupGroups && need.action == EVERY_READ);
            let ends = |end: &str| need.action.ends_with(end);
            match need.kind {
                NeedKind::Change => assert!(ends("/delete") || ends("/write") || ends("/action"), "{}", need.action),
                _ => assert!(
                    ends("/read")
                        || ends("/backupStatus/action")
                        || ends("/effectiveNetworkSecurityGroups/action")
                        || ends("/refreshContainers/action"),
                    "{} reads",
                    need.action
                ),
            }
            assert!(need.partly.iter().all(|action| need.blocks.contains(action)));
            assert!(!need.blocks.is_empty() || need.is_optional(), "{} blocks nothing", need.action);
            for text in [need.why, need.without] {
                assert!(
                    !text.ends_with('.') && text.starts_with(|c: char| !c.is_uppercase() || text.starts_with("VM"))
                );
            }
        }
    }

    #[test]
    fn every_playbook_action_has_a_change_of_its_own() {
        for action in ActionName::ALL {
            let changes = NEEDS.iter().filter(|need| need.kind == NeedKind::Change && need.blocks.contains(&action));
            // Waiting for a job sends nothing.
            assert_eq!(changes.count() >= 1, action != ActionName::JobWait, "{action}");
        }
    }

    #[test]
    fn who_only_looks_changes_nothing_and_locks_can_be_left_out() {
        assert!(Purpose::read_only().needs().iter().all(|need| need.reads()));
        let all = Purpose::to(ActionName::ALL);
        assert_eq!(all.needs().len(), NEEDS.len());
        let without: Vec<&str> = all.without_locks().needs().iter().map(|need| need.action).collect();
        assert!(without.contains(&"Microsoft.Authorization/locks/read"));
        assert!(!without.iter().any(|action| action.contains("locks/write") || action.contains("locks/delete")));
        let backup: Vec<&str> = Purpose::to([ActionName::BackupStart]).needs().iter().map(|need| need.action).collect();
        assert!(!backup.iter().any(|action| action.ends_with("/delete")), "{backup:?}");
    }

    #[test]
    fn a_role_leaves_the_wildcard_to_reader() {
        let role = RoleDefinition::of("n", "d", Purpose::to(ActionName::ALL).needs(), vec!["/subscriptions/x".into()]);
        assert_eq!(role.actions.len(), NEEDS.len() - 1);
        assert!(!role.actions.iter().any(|action| action.contains('*')));
        let json = serde_json::to_value(&role).unwrap();
        for key in ["Name", "IsCustom", "Description", "Actions", "NotActions", "DataActions", "AssignableScopes"] {
            assert!(json.get(key).is_some(), "{key}");
        }
    }

    /// `operation` lines are from published operation lists, `path` lines are derived from published paths.
    #[test]
    fn every_action_stands_in_a_published_contract() {
        let text = include_str!("../../tests/fixtures/contracts/actions.txt");
        let lines: Vec<Vec<&str>> = text
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty())
            .map(|l| l.split('\t').collect())
            .collect();
        let mut used = BTreeSet::new();
        for need in NEEDS.iter().filter(|need| need.action != EVERY_READ) {
            let known = lines.iter().find(|line| line[1].eq_ignore_ascii_case(need.action));
            let line = known.unwrap_or_else(|| panic!("{} is in no contract", need.action));
            assert!(matches!(line[0], "operation" | "path" | "exempt"), "{line:?}");
            assert!(line.len() == 3 && !line[2].is_empty(), "{line:?}");
            used.insert(line[1]);
        }
        let stale: Vec<&str> = lines.iter().map(|line| line[1]).filter(|action| !used.contains(action)).collect();
        assert_eq!(stale, Vec::<&str>::new(), "not needed any more");
        assert!(lines.iter().filter(|line| line[0] == "exempt").count() <= 7);
    }
}
