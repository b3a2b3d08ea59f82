//! S5, S6 and S7: which locks may go, what a backup resource group is, and whose a collection is.

use proptest::prelude::*;

use super::groups::backup_group;
use super::locks::{also_protects, may_remove};
use super::ownership::backup_owned;
use super::testing::*;
use crate::actions::change::{Override, Refusal};
use crate::arm::id::ResourceId;
use crate::arm::model::{DenyAssignment, Lock, Permission};
use crate::facts::vm_facts::{Part, Rights, VmFacts};

type Spoil = fn(&mut VmFacts);
type RightsCase = (&'static str, Part<Vec<Permission>>, Option<&'static str>);

fn lock() -> Lock {
    lock_on(&group_id(BACKUP_GROUP), "no-delete")
}

fn refusal(facts: &VmFacts, lock: &Lock, named: &[ResourceId]) -> Option<Refusal> {
    // No override exists for these rules: they are all on, and nothing changes.
    let all = decide(facts, &Override::ALL, |input| may_remove(input, lock, named).err());
    let none = decide(facts, &[], |input| may_remove(input, lock, named).err());
    assert_eq!(all, none, "an override reached S5 or S6");
    none
}

fn rule(facts: &VmFacts, lock: &Lock, named: &[ResourceId]) -> Option<String> {
    refusal(facts, lock, named).map(|refusal| refusal.rule)
}

fn one_collection() -> ResourceId {
    collection_id("AzureBackup_web-01_123456789")
}

#[test]
fn locks_on_a_backup_group_and_on_a_collection_may_go() {
    assert_eq!(rule(&facts(), &lock(), &[]), None);
    assert_eq!(rule(&facts(), &lock_on(&one_collection(), "keep"), &[]), None);
}

#[test]
fn every_other_scope_refuses_and_naming_the_very_lock_lifts_it() {
    let point = facts().collections().next().unwrap().points()[3].id.clone();
    let nic = id("/resourceGroups/rg-shop/providers/Microsoft.Network/networkInterfaces/web-01");
    let cases = [
        (vm_id().subscription_id(), "s5.subscription-lock"),
        (group_id("rg-shop"), "s5.vm-group"),
        (group_id("rg-other"), "s5.not-backup-group"),
        (group_id("AzureBackupRG_westeurope_2"), "s5.unread"),
        (vm_id(), "s5.vm-lock"),
        (point, "s5.point-lock"),
        (collection_id("AzureBackup_db-03_1"), "s5.not-this-vm"),
        (nic, "s5.foreign-scope"),
    ];
    for (scope, expected) in cases {
        let lock = lock_on(&scope, "keep");
        let refusal = refusal(&facts(), &lock, &[]).unwrap();
        assert_eq!(refusal.rule, expected, "{scope}");
        let hint = refusal.hint.unwrap();
        assert!(hint.contains("az lock delete --ids") && hint.contains(lock.id.as_str()), "{hint}");
        let all = facts_with_rights_at(&scope);
        assert_eq!(rule(&all, &lock, std::slice::from_ref(&lock.id)), None, "{scope} named");
        let other = lock_on(&scope, "another").id;
        assert_eq!(rule(&all, &lock, &[other]).as_deref(), Some(expected), "another lock named");
    }
}

fn facts_with_rights_at(scope: &ResourceId) -> VmFacts {
    let mut facts = facts();
    let all = Permission { actions: vec!["*".into()], not_actions: Vec::new() };
    facts.rights.push(Rights { scope: scope.clone(), permissions: known(vec![all]) });
    facts
}

#[test]
fn a_lock_with_owners_stays_even_when_named() {
    let owner = "0f1e2d3c-0000-4000-8000-00000000beef";
    for scope in [group_id(BACKUP_GROUP), one_collection(), group_id("rg-shop"), vm_id().subscription_id()] {
        let mut lock = lock_on(&scope, "keep");
        lock.owners = vec![owner.into()];
        for named in [&[][..], std::slice::from_ref(&lock.id)] {
            let refusal = refusal(&facts_with_rights_at(&scope), &lock, named).unwrap();
            assert_eq!(refusal.rule, "s5.owners", "{scope}");
            let text = format!("{refusal} {}", refusal.hint.clone().unwrap());
            assert!(text.contains(owner) && text.contains("UnauthorizedApplicationId"), "{text}");
            // Azure would refuse that command too.
            assert!(!text.contains("az lock delete") && !text.contains("--lock"), "{text}");
        }
    }
}

#[test]
fn a_lock_that_could_not_be_restored_stays_even_when_named() {
    let with = |change: fn(&mut Lock)| {
        let mut lock = lock();
        change(&mut lock);
        lock
    };
    let cases = [
        (with(|lock| lock.level = "NotSpecified".into()), "its level is NotSpecified"),
        (with(|lock| lock.level = String::new()), "its level is none"),
        (with(|lock| lock.level = "Frozen".into()), "its level is Frozen"),
        (with(|lock| lock.notes = "n".repeat(513)), "its notes are longer than the 512"),
        (lock_on(&group_id(BACKUP_GROUP), "a:b"), "its name has the character ':'"),
    ];
    for (lock, what) in cases {
        for named in [&[][..], std::slice::from_ref(&lock.id)] {
            let refusal = refusal(&facts(), &lock, named).unwrap();
            assert_eq!(refusal.rule, "s6.cannot-restore", "{what}");
            assert!(refusal.why.contains(what), "{refusal}");
        }
    }
    for good in ["ReadOnly", "CanNotDelete"] {
        let mut lock = with(|lock| lock.notes = "n".repeat(512));
        lock.level = good.into();
        assert_eq!(rule(&facts(), &lock, &[]), None, "{good}");
    }
    assert_eq!(rule(&facts(), &lock_on(&group_id(BACKUP_GROUP), "Don't delete"), &[]), None);
}

#[test]
fn the_lock_of_azure_backup_itself_stays_even_when_named() {
    let lock = lock_on(&group_id(BACKUP_GROUP), "azurebackupprotectionlock");
    assert_eq!(rule(&facts(), &lock, std::slice::from_ref(&lock.id)).as_deref(), Some("s5.service-lock"));
}

#[test]
fn a_lock_that_could_not_be_written_back_stays_named_or_not() {
    let granted = |actions: &[&str], not: &[&str]| {
        let own = |texts: &[&str]| texts.iter().map(|t| (*t).to_owned()).collect();
        vec![Permission { actions: own(actions), not_actions: own(not) }]
    };
    let cases: Vec<RightsCase> = vec![
        ("reader", known(granted(&["*/read"], &[])), Some("s6.cannot-restore")),
        (
            "contributor",
            known(granted(&["*"], &["Microsoft.Authorization/*/Write", "Microsoft.Authorization/*/Delete"])),
            Some("s6.cannot-restore"),
        ),
        ("may delete only", known(granted(&["Microsoft.Authorization/locks/delete"], &[])), Some("s6.cannot-restore")),
        ("may write only", known(granted(&["Microsoft.Authorization/locks/write"], &[])), Some("s6.cannot-restore")),
        ("nothing", known(Vec::new()), Some("s6.cannot-restore")),
        ("not read", unread(), Some("s6.unread")),
        ("absent", absent(), Some("s6.unread")),
        ("both", known(granted(&["Microsoft.Authorization/locks/*"], &[])), None),
    ];
    for (what, permissions, expected) in cases {
        let mut facts = facts();
        facts.rights = vec![Rights { scope: group_id(BACKUP_GROUP), permissions }];
        for named in [vec![], vec![lock().id]] {
            assert_eq!(rule(&facts, &lock(), &named).as_deref(), expected, "{what} {named:?}");
        }
    }
    let mut facts = facts();
    facts.rights.clear();
    assert_eq!(rule(&facts, &lock(), &[lock().id]).as_deref(), Some("s6.unread"), "never asked");
}

#[test]
fn the_nearest_scope_that_was_asked_decides() {
    let mut facts = facts();
    facts.rights[1].permissions = known(vec![Permission { actions: vec!["*/read".into()], not_actions: Vec::new() }]);
    assert_eq!(rule(&facts, &lock(), &[]).as_deref(), Some("s6.cannot-restore"));
    facts.rights[1].permissions = unread();
    assert_eq!(rule(&facts, &lock(), &[]).as_deref(), Some("s6.unread"));
}

#[test]
fn a_deny_assignment_on_writing_locks_stops_the_removal() {
    let deny = |scope: &ResourceId, action: &str| DenyAssignment {
        id: format!("{scope}/providers/Microsoft.Authorization/denyAssignments/d"),
        name: "blueprint".into(),
        scope: scope.to_string(),
        actions: vec![action.into()],
        not_actions: Vec::new(),
        system_protected: true,
    };
    let write = "Microsoft.Authorization/locks/write";
    let cases = [
        (deny(&group_id(BACKUP_GROUP), write), true),
        (deny(&vm_id().subscription_id(), "Microsoft.Authorization/*"), true),
        (deny(&group_id("rg-other"), write), false),
        (deny(&group_id(BACKUP_GROUP), "Microsoft.Compute/*"), false),
    ];
    for (deny, stops) in cases {
        let mut facts = facts();
        facts.deny = known(vec![deny.clone()]);
        let expected = stops.then_some("s6.denied");
        assert_eq!(rule(&facts, &lock(), &[]).as_deref(), expected, "{deny:?}");
        assert_eq!(rule(&facts, &lock(), &[lock().id]).as_deref(), expected, "{deny:?} named");
    }
}

#[test]
fn a_backup_group_is_proven_by_name_and_by_content() {
    let cases: &[(&str, &str, Spoil)] = &[
        ("another resource", "s5.mixed-group", |f| {
            let vm = id(&format!("/resourceGroups/{BACKUP_GROUP}/providers/Microsoft.Compute/disks/data"));
            group_of(f).others = known(vec![vm]);
        }),
        ("a foreign collection", "s5.mixed-group", |f| {
            let mut foreign = collection("VeeamBackup_web-01", &[50]);
            foreign.points.as_mut().unwrap()[0].id = foreign.id.child("restorePoints", "veeam-1").unwrap();
            group_of(f).collections = known(vec![foreign]);
        }),
        ("an empty collection", "s5.mixed-group", |f| {
            group_of(f).collections = known(vec![collection("AzureBackup_web-01_1", &[])]);
        }),
        ("points not read", "s5.mixed-group", |f| {
            let mut one = collection("AzureBackup_web-01_1", &[50]);
            one.points = None;
            group_of(f).collections = known(vec![one]);
        }),
        ("other resources not read", "s5.unread", |f| group_of(f).others = unread()),
        ("collections not read", "s5.unread", |f| group_of(f).collections = unread()),
        ("groups not read", "s5.unread", |f| f.groups = unread()),
        ("a managed application's group", "s5.managed-app", |f| {
            let app = format!("{SUB}/resourceGroups/rg-apps/providers/Microsoft.Solutions/applications/shop");
            group_of(f).group.managed_by = app;
        }),
        ("the VM lives in it", "s5.vm-group", |f| {
            f.id = id(&format!("/resourceGroups/{BACKUP_GROUP}/providers/Microsoft.Compute/virtualMachines/web-01"));
        }),
    ];
    let group = group_id(BACKUP_GROUP);
    assert!(decide(&facts(), &[], |input| backup_group(input, &group)).is_ok());
    for (what, expected, spoil) in cases {
        let mut facts = facts();
        spoil(&mut facts);
        let refusal = decide(&facts, &[], |input| backup_group(input, &group)).unwrap_err();
        assert_eq!(refusal.rule, *expected, "{what}: {refusal}");
        assert_eq!(rule(&facts, &lock(), &[]).as_deref(), Some(*expected), "{what}");
    }
    let mut marked = facts();
    group_of(&mut marked).group.managed_by = "subscriptions/x/providers/Microsoft.RecoveryServices/".into();
    assert!(decide(&marked, &[], |input| backup_group(input, &group)).is_ok(), "Azure Backup manages it");
}

#[test]
fn a_policys_prefix_makes_a_name_of_a_backup_group() {
    let mut facts = facts();
    let name = "contoso-prod2";
    group_of(&mut facts).group.id = group_id(name);
    let plain = decide(&facts, &[], |input| backup_group(input, &group_id(name))).unwrap_err();
    assert_eq!(plain.rule, "s5.not-backup-group");
    let mut policy = policy();
    policy.group_prefix = "Contoso-Prod".into();
    item_of(&mut facts).policy = known(policy);
    assert!(decide(&facts, &[], |input| backup_group(input, &group_id(name))).is_ok());
    item_of(&mut facts).policy = unread();
    assert!(decide(&facts, &[], |input| backup_group(input, &group_id(name))).is_err());
}

#[test]
fn ownership_is_proven() {
    let cases: &[(&str, &str, Spoil)] = &[
        ("points not read", "s7.unread", |f| collections_of(f)[0].points = None),
        ("no source", "s7.source", |f| collections_of(f)[0].source.clear()),
        ("a copy of a collection", "s7.copy", |f| collections_of(f)[0].source = collection_id("x").to_string()),
        ("copied points", "s7.copy", |f| points_of(f)[4].copied_from = "/x".into()),
        ("empty", "s7.empty", |f| points_of(f).clear()),
        ("one foreign point", "s7.foreign-point", |f| {
            points_of(f)[4].id = one_collection().child("restorePoints", "nightly").unwrap();
        }),
        ("another name and other times", "s7.unproven", |f| {
            collections_of(f)[0].id = collection_id("nightly");
            recovery_of(f).pop();
        }),
        ("another name and nothing to match with", "s7.unproven", |f| {
            collections_of(f)[0].id = collection_id("nightly");
            f.items = unread();
        }),
        ("the name of another VM", "s7.unproven", |f| {
            collections_of(f)[0].id = collection_id("AzureBackup_web-012_123456789");
            recovery_of(f).clear();
        }),
    ];
    for (what, expected, spoil) in cases {
        let mut facts = facts();
        spoil(&mut facts);
        let collection = facts.collections().next().unwrap().clone();
        let refusal = decide(&facts, &Override::ALL, |input| backup_owned(input, &collection)).unwrap_err();
        assert_eq!(refusal.rule, *expected, "{what}");
    }
}

#[test]
fn the_name_or_the_times_prove_ownership() {
    for name in ["AzureBackup_web-01_123456789", "azurebackup_WEB-01_1", "AzureBackup_web-01"] {
        let mut facts = facts();
        collections_of(&mut facts)[0].id = collection_id(name);
        item_of(&mut facts).recovery_points = unread();
        let collection = facts.collections().next().unwrap().clone();
        assert!(decide(&facts, &[], |input| backup_owned(input, &collection)).is_ok(), "{name}");
    }
    let mut facts = facts();
    collections_of(&mut facts)[0].id = collection_id("nightly");
    let collection = facts.collections().next().unwrap().clone();
    assert!(decide(&facts, &[], |input| backup_owned(input, &collection)).is_ok());
}

#[test]
fn what_else_a_lock_protects_is_counted() {
    let mut facts = facts();
    let scope = group_id(BACKUP_GROUP);
    assert_eq!(decide(&facts, &[], |input| also_protects(input, &scope)), None);
    let other = |name: &str, vm: &str| {
        let mut one = collection(name, &[50]);
        one.source = id(&format!("/resourceGroups/rg/providers/Microsoft.Compute/virtualMachines/{vm}")).to_string();
        one
    };
    let mine = facts.collections().next().unwrap().clone();
    group_of(&mut facts).collections =
        known(vec![mine, other("AzureBackup_a_1", "a"), other("AzureBackup_a_2", "a"), other("AzureBackup_b_1", "b")]);
    assert_eq!(decide(&facts, &[], |input| also_protects(input, &scope)), Some((3, 2)));
}

const PARTS: &[Spoil] = &[
    |f| f.groups = unread(),
    |f| f.collections = unread(),
    |f| f.items = unread(),
    |f| f.locks = unread(),
    |f| f.vm = unread(),
    |f| f.deny = unread(),
    |f| f.rights.clear(),
    |f| f.rights.iter_mut().for_each(|rights| rights.permissions = unread()),
    |f| {
        if let Part::Known { value, .. } = &mut f.groups {
            value[0].others = unread()
        }
    },
    |f| {
        if let Part::Known { value, .. } = &mut f.groups {
            value[0].collections = unread()
        }
    },
];

proptest! {
    #[test]
    fn what_is_not_read_never_lets_a_lock_go(part in 0..PARTS.len(), on_collection: bool, owners: bool, named: bool) {
        let scope = if on_collection { one_collection() } else { group_id(BACKUP_GROUP) };
        let mut lock = lock_on(&scope, "keep");
        if owners {
            lock.owners.push("app".into());
        }
        let named = if named { vec![lock.id.clone()] } else { Vec::new() };
        let facts = facts();
        let mut less = facts.clone();
        (PARTS[part])(&mut less);
        let (before, after) = (rule(&facts, &lock, &named).is_none(), rule(&less, &lock, &named).is_none());
        prop_assert!(before || !after, "part {part}");
    }
}
