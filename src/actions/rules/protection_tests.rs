//! When protection may be resumed: each rule with a twin that does not fire.

use super::protection::{may_resume, policy_for, stopped_item};
use super::testing::*;
use crate::actions::change::Override;
use crate::facts::vm_facts::{ItemFacts, Part, VmFacts};

/// web-01, its protection stopped with the data retained.
fn stopped() -> VmFacts {
    let mut facts = facts();
    item_of(&mut facts).item.protection_state = "ProtectionStopped".into();
    facts
}

/// What stops it, every override given: none of these rules can be lifted.
fn rule(facts: &VmFacts) -> Option<String> {
    decide(facts, &Override::ALL, |input| {
        stopped_item(input).and_then(|item| may_resume(input, item)).err().map(|refusal| refusal.rule)
    })
}

fn items_of(facts: &mut VmFacts) -> &mut Vec<ItemFacts> {
    match &mut facts.items {
        Part::Known { value, .. } => value,
        _ => panic!("not known"),
    }
}

/// A second item of the VM, in another vault.
fn elsewhere(facts: &mut VmFacts, state: &str, soft_deleted: bool) {
    let mut other = item_of(facts).clone();
    let id = other.item.id.to_string().replace("bkp-vault", "other-vault");
    other.item.id = crate::arm::id::ResourceId::parse(&id).unwrap();
    other.item.protection_state = state.into();
    other.item.soft_deleted = soft_deleted;
    items_of(facts).push(other);
}

#[test]
fn only_an_item_that_was_stopped_with_its_data_retained() {
    assert_eq!(rule(&stopped()), None);
    for state in ["Protected", "IRPending", "ProtectionError", "ProtectionPaused", "BackupsSuspended", ""] {
        let mut facts = facts();
        item_of(&mut facts).item.protection_state = state.into();
        assert_eq!(rule(&facts).as_deref(), Some("protection.not-stopped"), "{state}");
        // Also when the item itself is asked, as just before the request.
        let item = item_of(&mut facts).clone();
        let why = decide(&facts, &Override::ALL, |input| may_resume(input, &item).unwrap_err().rule);
        assert_eq!(why, "protection.not-stopped", "{state}");
    }
    let mut none = stopped();
    items_of(&mut none).clear();
    assert_eq!(rule(&none).as_deref(), Some("protection.no-item"));
    none.items = unread();
    assert_eq!(rule(&none).as_deref(), Some("protection.unread"));
}

#[test]
fn not_a_soft_deleted_one() {
    let mut facts = stopped();
    item_of(&mut facts).item.soft_deleted = true;
    assert_eq!(rule(&facts).as_deref(), Some("protection.soft-deleted"));
    // A deleted item in another vault beside the stopped one is no obstacle.
    let mut beside = stopped();
    elsewhere(&mut beside, "ProtectionStopped", true);
    assert_eq!(rule(&beside), None);
}

#[test]
fn only_this_very_vm() {
    let mut other = stopped();
    item_of(&mut other).item.source = vm_id().to_string().replace("web-01", "web-02");
    assert_eq!(rule(&other).as_deref(), Some("protection.other-vm"));
    let mut cased = stopped();
    item_of(&mut cased).item.source = vm_id().to_string().to_uppercase().replace("/SUBSCRIPTIONS", "/subscriptions");
    assert_eq!(rule(&cased), None, "ids are compared without case");
    // Made again under the same name: every point is of the earlier one.
    let mut again = stopped();
    points_of(&mut again).iter_mut().for_each(|point| point.vm_id = "99999999-0000-4000-8000-000000000009".into());
    assert_eq!(rule(&again).as_deref(), Some("protection.other-vm"));
    points_of(&mut again)[0].vm_id = VM_ID.to_uppercase();
    assert_eq!(rule(&again), None, "one of its own proves it");
    points_of(&mut again).clear();
    assert_eq!(rule(&again), None, "no points say nothing");
    again.collections = unread();
    assert_eq!(rule(&again).as_deref(), Some("protection.unread"));
    let mut vm = stopped();
    vm.vm = unread();
    assert_eq!(rule(&vm).as_deref(), Some("protection.unread"));
}

#[test]
fn not_while_another_vault_protects_it() {
    for state in ["Protected", "IRPending", "ProtectionError", "ProtectionPaused", "BackupsSuspended"] {
        let mut facts = stopped();
        elsewhere(&mut facts, state, false);
        assert_eq!(rule(&facts).as_deref(), Some("protection.other-vault"), "{state}");
    }
    let mut two = stopped();
    elsewhere(&mut two, "ProtectionStopped", false);
    assert_eq!(rule(&two).as_deref(), Some("protection.several"));
    // backupStatus knows of vaults that cannot be seen.
    let mut status = stopped();
    let Part::Known { value, .. } = &mut status.status else { panic!() };
    value.vault_id = vault_id().to_string().replace("bkp-vault", "hidden-vault");
    assert_eq!(rule(&status).as_deref(), Some("protection.other-vault"));
    let Part::Known { value, .. } = &mut status.status else { panic!() };
    value.vault_id = vault_id().to_string().to_uppercase().replace("/SUBSCRIPTIONS", "/subscriptions");
    assert_eq!(rule(&status), None);
    let Part::Known { value, .. } = &mut status.status else { panic!() };
    value.vault_id.clear();
    assert_eq!(rule(&status), None);
    status.status = unread();
    assert_eq!(rule(&status).as_deref(), Some("protection.unread"));
}

#[test]
fn not_while_a_job_runs() {
    for (operation, status, expected) in [
        ("ConfigureBackup", "InProgress", Some("protection.job-active")),
        ("Restore", "Cancelling", Some("protection.job-active")),
        ("DisableBackup", "Completed", None),
        ("Backup", "Failed", None),
    ] {
        let mut facts = stopped();
        item_of(&mut facts).jobs = known(vec![job(operation, status, 1, None)]);
        assert_eq!(rule(&facts).as_deref(), expected, "{operation} {status}");
    }
    let mut facts = stopped();
    item_of(&mut facts).jobs = unread();
    assert_eq!(rule(&facts).as_deref(), Some("protection.unread"));
}

#[test]
fn the_policy_is_the_old_one_or_the_one_that_is_named_and_in_the_vault() {
    let mut item = item_of(&mut stopped()).item.clone();
    let mut weekly = policy();
    weekly.id = vault_id().child("backupPolicies", "weekly").unwrap();
    let policies = [weekly, policy()];
    let chosen = |item: &_, wanted: &str| policy_for(item, wanted, &policies).map(|policy| policy.id.name().to_owned());
    assert_eq!(chosen(&item, "").unwrap(), "daily");
    assert_eq!(chosen(&item, "WEEKLY").unwrap(), "weekly");
    let unknown = chosen(&item, "hourly").unwrap_err();
    assert_eq!(unknown.rule, "protection.unknown-policy");
    assert!(unknown.hint.unwrap().ends_with("daily, weekly"));
    item.policy_id = item.policy_id.replace("daily", "gone");
    assert_eq!(chosen(&item, "").unwrap_err().rule, "protection.unknown-policy");
    // A policy of the same name in another vault is another policy.
    item.policy_id = policy().id.to_string().replace("bkp-vault", "other-vault");
    assert_eq!(chosen(&item, "").unwrap_err().rule, "protection.unknown-policy");
    item.policy_id.clear();
    let none = chosen(&item, "").unwrap_err();
    assert_eq!(none.rule, "protection.no-policy");
    assert!(none.hint.unwrap().ends_with("daily, weekly"));
    assert_eq!(chosen(&item, "daily").unwrap(), "daily");
    assert!(policy_for(&item, "", &[]).unwrap_err().hint.unwrap().contains("make one first"));
}
