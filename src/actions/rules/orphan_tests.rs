//! The proof of an orphan, piece by piece: each missing piece refuses.

use proptest::prelude::*;

use super::orphan::orphan;
use super::stale;
use super::testing::*;
use crate::actions::change::Override;
use crate::arm::model::{BackupStatus, Collection, ProtectedItem, Vm};
use crate::facts::vm_facts::{Part, VmFacts};

type Spoil = fn(&mut VmFacts);

fn rule(facts: &VmFacts, overrides: &[Override]) -> Option<String> {
    let collection: Collection = facts.collections().next().unwrap().clone();
    decide(facts, overrides, |input| orphan(input, &collection).err().map(|refusal| refusal.rule))
}

fn vm(vm_id: &str) -> Vm {
    Vm {
        id: vm_id_of(),
        location: "westeurope".into(),
        vm_id: vm_id.into(),
        provisioning_state: "Succeeded".into(),
        os_type: String::new(),
        managed_disks: true,
        size: String::new(),
        disks: Vec::new(),
        interfaces: Vec::new(),
        encryption: Vec::new(),
    }
}

fn vm_id_of() -> crate::arm::id::ResourceId {
    super::testing::vm_id()
}

fn item(soft_deleted: bool) -> ProtectedItem {
    let mut facts = facts();
    let mut item = item_of(&mut facts).item.clone();
    item.soft_deleted = soft_deleted;
    item
}

const CASES: &[(&str, &str, Spoil)] = &[
    ("the VM exists", "orphan.vm-exists", |f| f.vm = known(vm(VM_ID))),
    ("a VM of the same name", "orphan.same-name", |f| f.vm = known(vm("99999999-9999-4999-8999-999999999999"))),
    ("the VM was not read", "orphan.unread", |f| f.vm = unread()),
    ("the search was not made", "orphan.unread", |f| f.orphan = None),
    ("the subscription does not answer", "orphan.subscription", |f| proof_of(f).subscription_answers = known(false)),
    ("the subscription was not read", "orphan.subscription", |f| proof_of(f).subscription_answers = unread()),
    ("the subscription is absent", "orphan.subscription", |f| proof_of(f).subscription_answers = absent()),
    ("the VMs were not listed", "orphan.unread", |f| proof_of(f).vms = unread()),
    ("no list of VMs", "orphan.unread", |f| proof_of(f).vms = absent()),
    ("a VM without vmId in the list", "orphan.unread", |f| {
        proof_of(f).vms = known(vec![(vm_id_of(), String::new())]);
    }),
    ("the VM lives elsewhere", "orphan.moved", |f| {
        let other = id("/resourceGroups/rg-new/providers/Microsoft.Compute/virtualMachines/web-01");
        proof_of(f).vms = known(vec![(other, VM_ID.to_uppercase())]);
    }),
    ("an item", "orphan.vault-item", |f| proof_of(f).items = known(vec![item(false)])),
    ("a soft-deleted item", "orphan.vault-item", |f| proof_of(f).items = known(vec![item(true)])),
    ("items not read", "orphan.unread", |f| proof_of(f).items = unread()),
    ("backupStatus names a vault", "orphan.vault-item", |f| {
        f.status = known(BackupStatus { vault_id: vault_id().to_string(), ..BackupStatus::default() });
    }),
    ("backupStatus not read", "orphan.unread", |f| f.status = unread()),
    ("no points", "orphan.empty", |f| points_of(f).clear()),
    ("a point without vmId", "orphan.no-vm-id", |f| points_of(f)[1].vm_id.clear()),
    ("a point without time", "orphan.no-time", |f| points_of(f)[1].created = None),
    ("a young point", "orphan.young", |f| points_of(f)[0].created = Some(hours_ago(30 * 24 - 1))),
    ("a failed point", "s8.state", |f| points_of(f)[1].provisioning_state = "Failed".into()),
    ("an unfinished copy", "s8.recovery-session", |f| points_of(f)[1].copy_percent = Some(50)),
];

#[test]
fn everything_read_and_nothing_found_is_an_orphan() {
    assert_eq!(rule(&orphaned(), &[]), None);
    let found = decide(&orphaned(), &[], stale::find);
    assert_eq!(found.collections.len(), 1, "the two newest and those without a copy go too: {found:#?}");
}

#[test]
fn each_missing_piece_refuses_and_is_reported() {
    for (what, expected, spoil) in CASES {
        let mut facts = orphaned();
        spoil(&mut facts);
        assert_eq!(rule(&facts, &[]).as_deref(), Some(*expected), "{what}");
        let found = decide(&facts, &[], stale::find);
        assert!(found.collections.is_empty() && found.points.is_empty(), "{what}: {found:#?}");
        assert!(!found.reported.is_empty() || facts.vm.known().is_some(), "{what}");
    }
}

#[test]
fn no_override_makes_an_orphan() {
    for (what, expected, spoil) in CASES {
        let mut facts = orphaned();
        spoil(&mut facts);
        let lifted = *expected == "s8.recovery-session";
        assert_eq!(rule(&facts, &Override::ALL).is_none(), lifted, "{what}");
    }
}

#[test]
fn twins_of_the_rules_do_not_fire() {
    let cases: &[(&str, Spoil)] = &[
        ("exactly 30 days", |f| points_of(f)[0].created = Some(hours_ago(30 * 24))),
        ("no items", |f| proof_of(f).items = absent()),
        ("backupStatus absent", |f| f.status = absent()),
        ("no other VM", |f| proof_of(f).vms = known(Vec::new())),
        ("a finished copy", |f| points_of(f)[1].copy_percent = Some(100)),
    ];
    for (what, spoil) in cases {
        let mut facts = orphaned();
        spoil(&mut facts);
        assert_eq!(rule(&facts, &[]), None, "{what}");
    }
}

#[test]
fn a_collection_of_a_vm_of_the_same_name_is_only_reported() {
    let mut facts = orphaned();
    facts.vm = known(vm("99999999-9999-4999-8999-999999999999"));
    facts.items = super::testing::facts().items;
    let newer = collection("AzureBackup_web-01_999999999", &[5]);
    collections_of(&mut facts).push(newer);
    let found = decide(&facts, &Override::ALL, stale::find);
    assert!(found.collections.is_empty() && found.points.is_empty(), "{found:#?}");
    assert_eq!(found.reported[0].rule, "orphan.same-name");
}

const PARTS: &[Spoil] = &[
    |f| f.vm = unread(),
    |f| f.status = unread(),
    |f| f.collections = unread(),
    |f| f.orphan = None,
    |f| with_proof(f, |p| p.subscription_answers = unread()),
    |f| with_proof(f, |p| p.vms = unread()),
    |f| with_proof(f, |p| p.items = unread()),
];

fn with_proof(facts: &mut VmFacts, change: impl FnOnce(&mut crate::facts::vm_facts::OrphanFacts)) {
    if let Some(proof) = &mut facts.orphan {
        change(proof);
    }
}

proptest! {
    #[test]
    fn what_is_not_read_never_makes_an_orphan(
        spoilt in proptest::option::of(0..CASES.len()),
        part in 0..PARTS.len(),
    ) {
        let mut facts = orphaned();
        if let Some(n) = spoilt {
            (CASES[n].2)(&mut facts);
        }
        (PARTS[part])(&mut facts);
        let found = decide(&facts, &Override::ALL, stale::find);
        prop_assert!(found.collections.is_empty(), "{found:#?}");
    }
}

#[test]
fn unread_is_not_absent() {
    assert!(matches!(unread::<()>(), Part::Unread { .. }));
}
