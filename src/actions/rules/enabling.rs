//! When a VM that no vault knows may be protected (`protection.enable`), as named rules.
//!
//! Duty: choose vault, policy and item, or say why there is none. Decided in the plan, and the item's absence again on
//! facts read just before the request (S3). Names of containers and items come from the vault's own list of protectable
//! items, never built (docs/safety.md). None of these rules can be overridden.

use super::RuleInput;
use crate::actions::change::Refusal;
use crate::arm::id::ResourceId;
use crate::arm::model::{Policy, Protectable, Vault};
use crate::facts::identity;
use crate::facts::vm_facts::{Part, VmFacts};

/// What was read of the vault that is to protect the VM.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The vaults that the user's word may mean: one by its resource id, else those of that name in the VM's subscription.
    pub vaults: Part<Vec<Vault>>,
    /// The policies of the vault, when it is one.
    pub policies: Part<Vec<Policy>>,
    /// What the vault says it could protect.
    pub protectable: Part<Vec<Protectable>>,
}

impl Candidate {
    /// For a plan that protects nothing new.
    #[must_use]
    pub fn not_asked() -> Self {
        Self { vaults: Part::not_asked(), policies: Part::not_asked(), protectable: Part::not_asked() }
    }
}

/// What the VM is to become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// The protected item that will be made.
    pub item: ResourceId,
    /// The VM's id as the vault spells it.
    pub source: String,
    /// Its policy.
    pub policy: ResourceId,
    /// The vault's name.
    pub vault: String,
}

/// Chooses, or refuses.
///
/// # Errors
/// A refusal `protection...`.
pub fn choose(input: &RuleInput<'_>, vault: &str, policy: &str, candidate: &Candidate) -> Result<Chosen, Refusal> {
    let facts = input.facts;
    let name = facts.id.name();
    let Some(vm) = facts.vm.known() else {
        return Err(unread(&format!("the VM {name}"), facts.vm.unread().unwrap_or("it does not exist")));
    };
    nobody_protects(input)?;
    if vault.is_empty() {
        return Err(which_vault(facts));
    }
    let vaults = candidate.vaults.known();
    let vaults = vaults.ok_or_else(|| unread("the vaults", candidate.vaults.unread().unwrap_or("not read")))?;
    let here = |location: &str| plain(location) == plain(&vm.location);
    let found = match vaults.as_slice() {
        [one] => one,
        [] => {
            let why = format!("no vault {vault:?} is visible in the subscription of {name}");
            return Err(Refusal::new("protection.unknown-vault", why)
                .hint("a vault of another subscription is named by its resource id; azmend vms lists vaults in use"));
        }
        [_, _, ..] => {
            let ids: Vec<&str> = vaults.iter().map(|vault| vault.id.as_str()).collect();
            return Err(Refusal::new("protection.several-vaults", format!("several vaults are called {vault:?}"))
                .hint(format!("name one by its resource id: {}", ids.join(", "))));
        }
    };
    if !here(&found.location) {
        let why = format!("vault {} is in {}, {name} in {}", found.id.name(), found.location, vm.location);
        return Err(Refusal::new("protection.other-region", why)
            .hint("a vault protects VMs of its own region only (UserErrorVmVaultLocationMismatch)"));
    }
    let policy = policy_of(found, policy, &candidate.policies)?;
    let listed = candidate
        .protectable
        .known()
        .ok_or_else(|| unread("what the vault could protect", candidate.protectable.unread().unwrap_or("not read")))?;
    let mine = listed.iter().find(|one| ResourceId::parse(&one.vm).is_ok_and(|vm| vm == facts.id));
    let Some(mine) = mine else {
        let why = format!("vault {} does not list {name} among what it could protect", found.id.name());
        return Err(Refusal::new("protection.not-discovered", why).hint(
            "Azure Backup discovers new VMs after some minutes; another vault may protect it, or its kind is not supported",
        ));
    };
    let item = mine.item().filter(|item| found.id.covers(item));
    let item = item.ok_or_else(|| unread("the name of the item", "the vault's list is not as published"))?;
    Ok(Chosen { item, source: mine.vm.clone(), policy, vault: found.id.name().to_owned() })
}

/// Which vault and which policy is nothing that azmend chooses.
#[must_use]
pub fn which_vault(facts: &VmFacts) -> Refusal {
    let why = format!("the owner of {} decides which vault protects it, and none was named", facts.id.name());
    let why = match identity::moved(facts) {
        Some(moved) => format!("{why}; {}; {}", moved.words(), identity::MOVED_WAY),
        None => why,
    };
    let vm = crate::text::shell_quote(facts.id.as_str());
    Refusal::new("protection.which-vault", why).hint(format!("azmend protect --vm {vm} --vault VAULT --policy POLICY"))
}

/// No item in any state, and no vault that backupStatus knows.
///
/// # Errors
/// A refusal `protection...`.
pub fn nobody_protects(input: &RuleInput<'_>) -> Result<(), Refusal> {
    let facts = input.facts;
    let name = facts.id.name();
    let items = facts.items.known();
    let items = items.ok_or_else(|| unread("the vault items", facts.items.unread().unwrap_or("not read")))?;
    if let Some(item) = items.iter().map(|facts| &facts.item).next() {
        let vault = super::protection::vault_name(item);
        let state = if item.soft_deleted { "soft-deleted" } else { item.protection_state.as_str() };
        let vm = crate::text::shell_quote(facts.id.as_str());
        let hint = if item.soft_deleted {
            "undelete it with az backup protection undelete".to_owned()
        } else {
            format!("resume a stopped one: azmend fix datasource-not-present --vm {vm}")
        };
        let why = format!("vault {vault} has an item of {name} already: {state}");
        return Err(Refusal::new("protection.item-exists", why).hint(hint));
    }
    match facts.status.known() {
        Some(status) if status.vault_id.is_empty() => Ok(()),
        Some(status) => {
            let vault = status.vault_id.rsplit('/').next().unwrap_or_default();
            Err(Refusal::new("protection.other-vault", format!("{name} is protected by another vault: {vault}")))
        }
        None => {
            let why = facts.status.unread().unwrap_or("not read");
            Err(unread("backupStatus, which shows whether another vault protects the VM,", why))
        }
    }
}

fn policy_of(vault: &Vault, wanted: &str, policies: &Part<Vec<Policy>>) -> Result<ResourceId, Refusal> {
    let name = vault.id.name();
    let known = policies
        .known()
        .ok_or_else(|| unread(&format!("the policies of vault {name}"), policies.unread().unwrap_or("not read")))?;
    let mut names: Vec<&str> = known.iter().map(|policy| policy.id.name()).collect();
    names.sort_unstable();
    let hint = if names.is_empty() {
        format!("vault {name} has no policy for Azure VMs: make one first")
    } else {
        format!("the policies of vault {name}: {}", names.join(", "))
    };
    let found = known.iter().find(|policy| policy.id.name().eq_ignore_ascii_case(wanted));
    found.map(|policy| policy.id.clone()).ok_or_else(|| match wanted {
        "" => Refusal::new("protection.no-policy", "no policy was named").hint(hint),
        _ => Refusal::new("protection.unknown-policy", format!("vault {name} has no policy {wanted:?} for Azure VMs"))
            .hint(hint),
    })
}

/// `West Europe` and `westeurope` are one region.
fn plain(location: &str) -> String {
    location.chars().filter(|c| !c.is_whitespace()).flat_map(char::to_lowercase).collect()
}

fn unread(what: &str, why: &str) -> Refusal {
    Refusal::new("protection.unread", format!("{what} could not be read: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actions::rules::testing::{decide, facts, item_of, known, unread as not_read};
    use crate::facts::vm_facts::VmFacts;

    const VAULT: &str = "/subscriptions/5b1c0de0-0000-4000-8000-000000000001/resourceGroups/rg-backup/providers/Microsoft.RecoveryServices/vaults/bkp-vault";

    /// web-01 without any item, and the vault that could take it.
    fn free() -> (VmFacts, Candidate) {
        let mut facts = facts();
        let ours = item_of(&mut facts).clone();
        let vault = ours.vault.known().unwrap().clone();
        let policy = ours.policy.known().unwrap().clone();
        facts.items = known(Vec::new());
        facts.status = known(crate::arm::model::BackupStatus::default());
        let id = ResourceId::parse(&format!(
            "{}/backupFabrics/Azure/protectionContainers/IaasVMContainer;iaasvmcontainerv2;rg;web-01/protectableItems/vm;iaasvmcontainerv2;rg;web-01",
            vault.id
        ));
        let protectable = Protectable { id: id.unwrap(), vm: facts.id.to_string().to_uppercase() };
        let candidate = Candidate {
            vaults: known(vec![vault]),
            policies: known(vec![policy]),
            protectable: known(vec![protectable]),
        };
        (facts, candidate)
    }

    fn rule(change: impl FnOnce(&mut VmFacts, &mut Candidate)) -> Option<String> {
        let (mut facts, mut candidate) = free();
        let policy = candidate.policies.known().unwrap()[0].id.name().to_owned();
        change(&mut facts, &mut candidate);
        decide(&facts, &[], |input| choose(input, "bkp-vault", &policy, &candidate).err().map(|refusal| refusal.rule))
    }

    #[test]
    fn a_free_vm_becomes_the_item_that_the_vault_names() {
        let (facts, candidate) = free();
        let policy = candidate.policies.known().unwrap()[0].id.name().to_uppercase();
        let chosen = decide(&facts, &[], |input| choose(input, "bkp-vault", &policy, &candidate)).unwrap();
        assert!(chosen.item.as_str().ends_with("/protectedItems/vm;iaasvmcontainerv2;rg;web-01"), "{}", chosen.item);
        assert!(chosen.item.as_str().starts_with(VAULT.split("/resourceGroups").next().unwrap()));
    }

    #[test]
    fn each_rule_and_its_twin() {
        assert_eq!(rule(|_, _| {}), None);
        let has = |state: &'static str, soft: bool| {
            rule(move |facts, _| {
                *facts = super::super::testing::facts();
                let item = &mut item_of(facts).item;
                item.protection_state = state.into();
                item.soft_deleted = soft;
            })
        };
        for (state, soft) in [("Protected", false), ("ProtectionStopped", false), ("ProtectionStopped", true)] {
            assert_eq!(has(state, soft).as_deref(), Some("protection.item-exists"), "{state}");
        }
        let status = |vault: &str| crate::arm::model::BackupStatus { vault_id: vault.into(), ..Default::default() };
        assert_eq!(rule(|facts, _| facts.status = known(status(VAULT))).as_deref(), Some("protection.other-vault"));
        assert_eq!(rule(|facts, _| facts.status = not_read()).as_deref(), Some("protection.unread"));
        assert_eq!(rule(|facts, _| facts.items = not_read()).as_deref(), Some("protection.unread"));
        assert_eq!(rule(|facts, _| facts.vm = not_read()).as_deref(), Some("protection.unread"));
        assert_eq!(rule(|_, c| c.vaults = known(Vec::new())).as_deref(), Some("protection.unknown-vault"));
        assert_eq!(rule(|_, c| c.vaults = not_read()).as_deref(), Some("protection.unread"));
        let twice = |c: &mut Candidate| {
            let one = c.vaults.known().unwrap()[0].clone();
            c.vaults = known(vec![one.clone(), one]);
        };
        assert_eq!(rule(|_, c| twice(c)).as_deref(), Some("protection.several-vaults"));
        let moved = |c: &mut Candidate, location: &str| {
            let mut one = c.vaults.known().unwrap()[0].clone();
            one.location = location.into();
            c.vaults = known(vec![one]);
        };
        assert_eq!(rule(|_, c| moved(c, "koreacentral")).as_deref(), Some("protection.other-region"));
        assert_eq!(rule(|_, c| moved(c, "West Europe")), None);
        assert_eq!(rule(|_, c| c.policies = known(Vec::new())).as_deref(), Some("protection.unknown-policy"));
        assert_eq!(rule(|_, c| c.policies = not_read()).as_deref(), Some("protection.unread"));
        assert_eq!(rule(|_, c| c.protectable = known(Vec::new())).as_deref(), Some("protection.not-discovered"));
        assert_eq!(rule(|_, c| c.protectable = not_read()).as_deref(), Some("protection.unread"));
        let (facts, candidate) = free();
        for (vault, policy, expected) in
            [("", "x", "protection.which-vault"), ("bkp-vault", "", "protection.no-policy")]
        {
            let why = decide(&facts, &[], |input| choose(input, vault, policy, &candidate).unwrap_err().rule);
            assert_eq!(why, expected);
        }
    }
}
