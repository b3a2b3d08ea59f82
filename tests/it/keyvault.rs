//! `keyvault-permissions`: what is missing is granted, nothing else, and taken away again. (The matrices cut it everywhere.)

use std::sync::Arc;
use std::time::Duration;

use azmend::engine::{Plan, Planned, Status};
use azmend::facts::{CollectOptions, collect};
use azmend::sim::{Estate, FaultEffect, KeyVault, World};

use crate::support::{Ask, Lab, TestLog, outcomes};

const PLAYBOOK: &str = "keyvault-permissions";
const BACKUP: &str = "7a4d2c10-0000-4000-8000-00000000beef";
const OWNER: &str = "11111111-0000-4000-8000-000000000001";
/// How a key vault may treat a removal (the entry goes as a whole) and an addition (the entry is overwritten).
const MANNERS: [(bool, bool); 4] = [(false, false), (true, false), (false, true), (true, true)];

/// The estate that comes with azmend.
pub fn encrypted() -> World {
    World::from_estate(&Estate::parse(include_str!("../../examples/estates/encrypted.yaml"), "encrypted.yaml").unwrap())
}

fn lab() -> Lab {
    Lab::on(encrypted())
}

pub fn granting() -> Ask {
    Ask { set: vec![("grant", "true"), ("principal", BACKUP)], ..Ask::default() }
}

fn with(more: &[(&'static str, &'static str)]) -> Ask {
    let mut ask = granting();
    ask.set.extend(more);
    ask
}

fn vault(lab: &Lab, name: &str) -> KeyVault {
    lab.sim.world().key_vaults.iter().find(|vault| vault.id.name() == name).unwrap().clone()
}

fn words(vault: &KeyVault, principal: &str) -> Option<(Vec<String>, Vec<String>)> {
    let policy = vault.policies.iter().find(|policy| policy.principal == principal)?;
    let sorted = |list: &[String]| {
        let mut list = list.to_vec();
        list.sort_unstable();
        list
    };
    Some((sorted(&policy.permissions.keys), sorted(&policy.permissions.secrets)))
}

fn some(keys: &[&str], secrets: &[&str]) -> Option<(Vec<String>, Vec<String>)> {
    let own = |list: &[&str]| list.iter().map(|&word| word.to_owned()).collect();
    Some((own(keys), own(secrets)))
}

fn refused(planned: &Planned) -> (&str, String) {
    let Planned::Refused { refusals, .. } = planned else { panic!("not refused: {planned:#?}") };
    (&refusals[0].rule, format!("{} {}", refusals[0].why, refusals[0].hint.as_deref().unwrap_or_default()))
}

async fn granted(lab: &Lab, vm: &str) -> (Plan, Arc<TestLog>) {
    let (result, plan, log) = lab.fix(PLAYBOOK, vm, &granting()).await;
    assert_eq!((result.status, result.exit_code), (Status::Succeeded, 0), "{result:#?}");
    lab.agrees(&plan, &result);
    (plan, log)
}

#[tokio::test]
async fn nothing_is_granted_unasked_and_nobody_is_guessed() {
    let lab = lab();
    for (set, rule) in [
        (vec![], "keyvault.not-asked"),
        (vec![("principal", BACKUP)], "keyvault.not-asked"),
        (vec![("grant", "true")], "keyvault.principal"),
        (vec![("grant", "true"), ("principal", "Backup Management Service")], "keyvault.principal"),
        (vec![("grant", "true"), ("principal", "262044b1-e2ce-469f-a196-69ab7ada62d3")], "keyvault.principal"),
        (vec![("grant", "true"), ("principal", BACKUP), ("role", "Owner")], "keyvault.role"),
    ] {
        let planned = lab.plan(PLAYBOOK, "enc-01", &Ask { set: set.clone(), ..Ask::default() }).await;
        let (found, text) = refused(&planned);
        assert_eq!(found, rule, "{set:?}");
        if rule != "keyvault.role" {
            assert!(text.contains("az ad sp show --id 262044b1-e2ce-469f-a196-69ab7ada62d3"), "{text}");
        }
    }
    assert_eq!(lab.mutations(), Vec::<String>::new());
}

#[tokio::test]
async fn exactly_what_is_missing_is_added_whichever_way_the_vault_merges() {
    for (drops, overwrites) in MANNERS {
        let lab = lab();
        lab.sim.edit(|world| {
            for vault in &mut world.key_vaults {
                (vault.remove_drops_entry, vault.add_overwrites_entry) = (drops, overwrites);
            }
        });
        let before = lab.sim.world().key_vaults;
        let (plan, log) = granted(&lab, "enc-01").await;
        let effect = &plan.changes().next().unwrap().1.effect;
        assert!(
            effect.contains("keys list, backup; secrets list; it has keys get; secrets get, set already"),
            "{effect}"
        );
        let part = vault(&lab, "kv-part");
        assert_eq!(words(&part, BACKUP), some(&["backup", "get", "list"], &["get", "list", "set"]));
        assert_eq!(words(&part, OWNER), some(&["all"], &["all"]));
        assert_eq!(lab.mutations().len(), 1);
        // Again: nothing is missing.
        let again = lab.plan(PLAYBOOK, "enc-01", &granting()).await;
        assert!(!matches!(again, Planned::Plan(_)), "{again:#?}");
        let undone = lab.run(&plan, &log).undo().await;
        assert_eq!((undone.status, undone.exit_code), (Status::Undone, 0), "{drops} {overwrites}: {undone:#?}");
        let sorted =
            |vaults: &[KeyVault]| vaults.iter().map(|v| (words(v, BACKUP), words(v, OWNER))).collect::<Vec<_>>();
        assert_eq!(sorted(&lab.sim.world().key_vaults), sorted(&before), "{drops} {overwrites}");
        assert_eq!(lab.mutations().len(), if drops { 3 } else { 2 });
    }
}

#[tokio::test]
async fn without_a_key_secrets_are_enough_and_an_entry_that_was_made_goes_again() {
    let lab = lab();
    let (plan, log) = granted(&lab, "enc-02").await;
    assert_eq!(words(&vault(&lab, "kv-none"), BACKUP), some(&[], &["get", "list"]));
    let undone = lab.run(&plan, &log).undo().await;
    assert_eq!((undone.status, undone.exit_code), (Status::Undone, 0), "{undone:#?}");
    assert_eq!(words(&vault(&lab, "kv-none"), BACKUP), None);
    // The backup of secrets only when it is asked for.
    let (result, ..) = lab.fix(PLAYBOOK, "enc-02", &with(&[("secret_backup", "true")])).await;
    assert_eq!(result.exit_code, 0, "{result:#?}");
    assert_eq!(words(&vault(&lab, "kv-none"), BACKUP), some(&[], &["backup", "get", "list"]));
}

#[tokio::test]
async fn a_vault_of_roles_gets_one_assignment() {
    let lab = lab();
    let before = lab.sim.world().role_assignments;
    let (plan, log) = granted(&lab, "enc-03").await;
    let effect = &plan.changes().next().unwrap().1.effect;
    assert!(effect.contains("Key Vault Administrator") && effect.contains("broad"), "{effect}");
    assert_eq!(lab.sim.world().role_assignments.len(), before.len() + 1);
    // The same grant is the same assignment.
    let name = |plan: &Plan| plan.changes().next().unwrap().1.resource().clone();
    let other = self::lab();
    assert_eq!(name(&other.planned(PLAYBOOK, "enc-03", &granting()).await), name(&plan));
    let undone = lab.run(&plan, &log).undo().await;
    assert_eq!((undone.status, undone.exit_code), (Status::Undone, 0), "{undone:#?}");
    assert_eq!(lab.sim.world().role_assignments, before);
    assert_eq!(lab.mutations().len(), 2);
}

#[tokio::test]
async fn a_backup_afterwards_works_and_without_the_grant_it_does_not() {
    for vm in ["enc-01", "enc-02", "enc-03"] {
        let lab = lab();
        let (result, ..) = lab.fix("backup-now", vm, &Ask::default()).await;
        assert_ne!(result.exit_code, 0, "{vm}: {result:#?}");
        let (result, plan, _) = lab.fix(PLAYBOOK, vm, &with(&[("backup", "true")])).await;
        assert_eq!((outcomes(&result), result.exit_code), (vec!["succeeded", "succeeded"], 0), "{vm}: {result:#?}");
        lab.agrees(&plan, &result);
    }
}

#[tokio::test]
async fn what_was_not_read_is_not_missing() {
    // The vault, the roles, the extensions; and a VM that is not encrypted.
    for (vm, action, rule) in [
        ("enc-01", "Microsoft.KeyVault/vaults/read", "keyvault.unread"),
        ("enc-03", "Microsoft.Authorization/roleAssignments/read", "keyvault.unread"),
        ("enc-01", "Microsoft.Compute/virtualMachines/extensions/read", "keyvault.unread"),
        ("enc-01", "Microsoft.Authorization/locks/read", "keyvault.unread"),
    ] {
        let lab = lab();
        lab.sim.edit(|world| world.revoke_permission(action));
        let planned = lab.plan(PLAYBOOK, vm, &granting()).await;
        assert_eq!(refused(&planned).0, rule, "{vm} {action}");
    }
    let lab = lab();
    let planned = lab.plan(PLAYBOOK, "plain-04", &granting()).await;
    assert_eq!(refused(&planned).0, "keyvault.not-encrypted");
    let planned = lab.plan(PLAYBOOK, "plain-04", &Ask::default()).await;
    assert!(matches!(planned, Planned::NothingToDo { .. }), "{planned:#?}");
}

/// A VM that is not encrypted costs no request more.
#[tokio::test]
async fn only_an_encrypted_vm_is_asked_about() {
    let lab = lab();
    let vaults =
        |lab: &Lab| lab.sim.log().iter().filter(|exchange| exchange.path.contains("Microsoft.KeyVault")).count();
    let facts = collect(&lab.arm, &lab.vm("plain-04"), &CollectOptions::default()).await;
    assert_eq!((facts.key_vaults.known().map(Vec::len), vaults(&lab)), (Some(0), 0));
    let facts = collect(&lab.arm, &lab.vm("enc-03"), &CollectOptions::default()).await;
    let found = &facts.key_vaults.known().unwrap()[0];
    assert_eq!((found.key, found.secret, found.id.name()), (true, true, "kv-roles"));
    assert_eq!(found.roles.known().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_lock_over_the_vault_is_said_before() {
    for (vm, name, level, rule) in [
        ("enc-01", "kv-part", "ReadOnly", Some("keyvault.locked")),
        ("enc-01", "kv-part", "CanNotDelete", None),
        ("enc-03", "kv-roles", "CanNotDelete", Some("keyvault.locked")),
    ] {
        let lab = lab();
        lab.sim.edit(|world| {
            let vault = world.key_vaults.iter().find(|vault| vault.id.name() == name).unwrap().id.clone();
            let id = vault.resource("Microsoft.Authorization", "locks", "keep").unwrap();
            let level = if level == "ReadOnly" {
                azmend::sim::LockLevel::ReadOnly
            } else {
                azmend::sim::LockLevel::CanNotDelete
            };
            world.locks.push(azmend::sim::Lock { id, level, notes: None, owners: Vec::new() });
        });
        let planned = lab.plan(PLAYBOOK, vm, &granting()).await;
        match rule {
            Some(rule) => assert_eq!(refused(&planned).0, rule, "{vm} {level}"),
            None => assert!(matches!(planned, Planned::Plan(_)), "{planned:#?}"),
        }
    }
}

/// What somebody does after the plan.
#[tokio::test]
async fn the_guards_are_asked_again_just_before() {
    let cases: [(&str, fn(&mut World)); 5] = [
        ("enc-01", |world| world.key_vaults[0].created = "2026-11-20T08:59:00Z".into()),
        ("enc-01", |world| world.key_vaults[0].rbac = true),
        ("enc-01", |world| world.key_vaults[0].policies[1].permissions.secrets.push("delete".into())),
        ("enc-01", |world| world.vms[0].encryption = None),
        ("enc-03", |world| world.key_vaults[2].rbac = false),
    ];
    for (number, (vm, meanwhile)) in cases.into_iter().enumerate() {
        let lab = lab();
        let plan = lab.planned_and_saved(PLAYBOOK, vm, &granting()).await;
        lab.sim.edit(meanwhile);
        let result = lab.run(&plan, &Arc::new(TestLog::default())).start().await;
        assert_eq!((result.status, result.exit_code), (Status::Refused, 5), "{number}: {result:#?}");
        assert_eq!(result.error.unwrap().code, "s3.changed", "{number}");
        assert_eq!(lab.mutations().len(), 0, "{number}");
    }
    // Somebody was faster: then it is not azmend's to take back.
    let lab = lab();
    let plan = lab.planned_and_saved(PLAYBOOK, "enc-02", &granting()).await;
    let (_, log) = granted(&lab, "enc-02").await;
    let late = Arc::new(TestLog::default());
    let result = lab.run(&plan, &late).start().await;
    assert_eq!(outcomes(&result), ["already_done"], "{result:#?}");
    let undone = lab.run(&plan, &late).undo().await;
    assert_eq!((undone.exit_code, lab.mutations().len()), (0, 1), "{undone:#?}");
    drop(log);
}

#[tokio::test]
async fn undo_leaves_alone_what_somebody_changed_since() {
    let cases: [(&str, &str, fn(&mut World), u8); 5] = [
        ("more", "enc-01", |world| world.key_vaults[0].policies[1].permissions.keys.push("sign".into()), 6),
        (
            "a part is gone",
            "enc-01",
            |world| world.key_vaults[0].policies[1].permissions.keys.retain(|w| w != "backup"),
            6,
        ),
        ("all is gone", "enc-01", |world| world.key_vaults[0].policies.truncate(1), 0),
        ("another role", "enc-03", |world| world.role_assignments[1].role = OWNER.into(), 6),
        ("the assignment is gone", "enc-03", |world| world.role_assignments.truncate(1), 0),
    ];
    for (what, vm, meanwhile, code) in cases {
        let lab = lab();
        let (plan, log) = granted(&lab, vm).await;
        lab.sim.edit(meanwhile);
        let before = lab.sim.world();
        let undone = lab.run(&plan, &log).undo().await;
        assert_eq!((undone.exit_code, lab.mutations().len()), (code, 1), "{what}: {undone:#?}");
        let now = lab.sim.world();
        assert_eq!((now.key_vaults, now.role_assignments), (before.key_vaults, before.role_assignments), "{what}");
    }
}

#[tokio::test]
async fn a_lost_reply_is_settled_by_reading() {
    for vm in ["enc-01", "enc-02", "enc-03"] {
        for effect in [FaultEffect::LostAfter, FaultEffect::LostBefore] {
            let lab = lab();
            let before = lab.sim.world();
            lab.fault("PUT", "", 1, effect.clone());
            let (plan, log) = granted(&lab, vm).await;
            lab.fault(if vm == "enc-03" { "DELETE" } else { "PUT" }, "", 1, effect.clone());
            let undone = lab.run(&plan, &log).undo().await;
            assert_eq!((undone.status, undone.exit_code), (Status::Undone, 0), "{vm} {effect:?}: {undone:#?}");
            assert_eq!(lab.sim.world().role_assignments, before.role_assignments);
            assert_eq!(words(&lab.sim.world().key_vaults[0], BACKUP), words(&before.key_vaults[0], BACKUP));
        }
    }
}

#[tokio::test]
async fn without_the_permission_nothing_is_changed() {
    for (vm, action) in [
        ("enc-01", "Microsoft.KeyVault/vaults/accessPolicies/write"),
        ("enc-03", "Microsoft.Authorization/roleAssignments/write"),
    ] {
        let lab = lab();
        lab.sim.edit(|world| world.revoke_permission(action));
        let before = lab.sim.world();
        let (result, plan, _) = lab.fix(PLAYBOOK, vm, &granting()).await;
        assert_eq!(result.exit_code, 4, "{vm}: {result:#?}");
        assert_eq!(lab.sim.world().role_assignments, before.role_assignments);
        lab.agrees(&plan, &result);
    }
}

#[tokio::test]
async fn facts_are_a_minute_old_at_most() {
    let lab = lab();
    let plan = lab.planned(PLAYBOOK, "enc-01", &granting()).await;
    lab.sim.edit(|world| world.advance(Duration::from_secs(600)));
    let reads = |lab: &Lab| lab.sim.log().iter().filter(|e| e.path.ends_with("/vaults/kv-part") && !e.mutating).count();
    let before = reads(&lab);
    let result = lab.run(&plan, &Arc::new(TestLog::default())).start().await;
    assert_eq!(result.exit_code, 0, "{result:#?}");
    assert!(reads(&lab) >= before + 2, "read just before and after");
}
