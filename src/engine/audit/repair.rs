//! Which command stands under a finding of a playbook.
//!
//! Duty: pure. Invariant: what the facts in hand show to be refused, or to end in nothing to do, is not printed as a repair;
//! then `diagnose` says why and what to do. Must never: be taken for a plan; a fix reads again by ARM.

use super::Finding;
use super::input::{AuditInput, VmUnderAudit};
use crate::arm::model::{Lock, Policy, ProtectedItem, Vault};
use crate::engine::choose;
use crate::engine::foresee::{self, Foreseen, foresee};
use crate::facts::collect::plain_location;
use crate::facts::derive::{LockPlace, lock_place};
use crate::facts::locked::LockedScopes;
use crate::playbook::Playbook;
use crate::text::shell_quote;

/// Rules that count the backups of a day. A reading of many VMs does not have all of their jobs, so there they foretell nothing.
const COUNT_JOBS: [&str; 2] = ["s10.daily-limit", "s10.hard-limit"];

/// Which command stands under a finding, and why it is not the playbook's own.
pub(super) struct Repair {
    /// The command.
    pub command: String,
    /// What a fix would be refused for as things stand, or what a person has to say first.
    pub refused: Option<String>,
}

impl Repair {
    const fn plain(command: String) -> Self {
        Self { command, refused: None }
    }

    /// Puts both into a finding.
    pub fn into(self, finding: &mut Finding) {
        finding.command = Some(self.command);
        finding.evidence.extend(self.refused);
    }
}

/// The command for a playbook that applies to this VM.
pub(super) fn repair(scene: &AuditInput<'_>, seen: &VmUnderAudit<'_>, playbook: &Playbook) -> Repair {
    let id = &seen.row.vm.id;
    let diagnose = || scene.command("diagnose", id);
    let name = playbook.name();
    if held(seen, playbook) || (name == "datasource-not-present" && seen.view.backup.soft_deleted) {
        return Repair::plain(diagnose());
    }
    match name {
        "unprotected-vm" => return Repair::plain(protect(scene, seen)),
        // The lock that the last backup met is another one: that one is repaired first.
        "unlock-backup-groups" if LockedScopes::of(&seen.facts).is_some() => {
            return Repair::plain(scene.command("fix auto", id));
        }
        "delete-stale-collections" if seen.view.locks.backup_groups + seen.view.locks.collections > 0 => {
            return Repair::plain(scene.command("fix delete-stale-collections --set unlock=true", id));
        }
        _ => {}
    }
    let foreseen = match foresee(playbook, &seen.facts, &seen.view) {
        Foreseen::Refused(refusal) if COUNT_JOBS.contains(&refusal.rule.as_str()) => Foreseen::Open,
        other => other,
    };
    let refused = foreseen.refusal().map(|refusal| match (&foreseen, &refusal.hint) {
        (Foreseen::Refused(_), _) => format!("a fix is refused now: {} ({})", refusal.why, refusal.rule),
        (_, Some(hint)) => format!("{}: {hint}", refusal.why),
        (_, None) => refusal.why.clone(),
    });
    let command = match foreseen.command(name, foresee::inside(playbook)) {
        Some((words, options)) => scene.command(&format!("{words}{options}"), id),
        // It says the whole refusal and the way out.
        None => diagnose(),
    };
    Repair { command, refused }
}

/// Whether a lock that azmend does not remove unasked stops a repair that ends in a backup.
fn held(seen: &VmUnderAudit<'_>, playbook: &Playbook) -> bool {
    if !choose::backs_up(playbook) {
        return false;
    }
    let facts = &seen.facts;
    let stays =
        |lock: &Lock| !matches!(lock_place(facts, lock), Ok(Some(LockPlace::BackupGroup | LockPlace::Collection)));
    let met = LockedScopes::of(facts).is_some_and(|error| error.among(facts).any(stays));
    met || facts.main_item().is_some_and(|item| !facts.locks_on_vault(item).is_empty())
}

/// In the vault and by the policy of an item that it had elsewhere.
pub(super) fn protect_as(scene: &AuditInput<'_>, seen: &VmUnderAudit<'_>, old: &ProtectedItem) -> String {
    let id = &seen.row.vm.id;
    let policy = old.policy_id.rsplit('/').next().filter(|policy| !policy.is_empty());
    let (Some(vault), Some(policy)) = (old.vault_id(), policy) else { return protect(scene, seen) };
    let own = vault.subscription_id() == id.subscription_id();
    let vault = if own { vault.name() } else { vault.as_str() };
    scene.command(&format!("protect --vault {} --policy {}", shell_quote(vault), shell_quote(policy)), id)
}

/// With the vault and the policy where only one of each can be meant; else they are the owner's to name.
fn protect(scene: &AuditInput<'_>, seen: &VmUnderAudit<'_>) -> String {
    let vm = &seen.row.vm;
    let here = plain_location(&vm.location);
    let mut vaults = scene.bulk.vaults.iter().filter(|vault| plain_location(&vault.location) == here);
    let only = match (vaults.next(), vaults.next()) {
        (Some(vault), None) => only_policy(scene, vault).map(|policy| (vault, policy)),
        _ => None,
    };
    let words = match only {
        Some((vault, policy)) => {
            let own = vault.id.subscription_id() == vm.id.subscription_id();
            let vault = if own { vault.id.name() } else { vault.id.as_str() };
            format!("protect --vault {} --policy {}", shell_quote(vault), shell_quote(policy.id.name()))
        }
        None => "protect --vault VAULT --policy POLICY".to_owned(),
    };
    scene.command(&words, &vm.id)
}

fn only_policy<'a>(scene: &AuditInput<'a>, vault: &Vault) -> Option<&'a Policy> {
    let mut policies = scene.bulk.policies.iter().filter(|policy| vault.id.covers(&policy.id));
    match (policies.next(), policies.next()) {
        (Some(policy), None) => Some(policy),
        _ => None,
    }
}
