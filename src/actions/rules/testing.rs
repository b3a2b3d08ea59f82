//! Facts for the tests of the rules: a VM with nothing wrong, to be spoilt one part at a time.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{ORPHAN_AGE, RuleInput};
use crate::actions::change::Override;
use crate::arm::id::ResourceId;
use crate::arm::model::{
    BackupStatus, Collection, Group, InstanceView, Job, Lock, Permission, Point, Policy, ProtectedItem, RecoveryPoint,
    Schedule, Tier, Vault, Vm,
};
use crate::clock::earlier;
use crate::facts::vm_facts::{GroupFacts, ItemFacts, OrphanFacts, Part, Rights, VmFacts};

pub const SUB: &str = "/subscriptions/5b1c0de0-0000-4000-8000-000000000001";
pub const BACKUP_GROUP: &str = "AzureBackupRG_westeurope_1";
pub const VM_ID: &str = "11111111-1111-4111-8111-111111111111";

/// The moment of every decision: a Friday, 14 hours before the next scheduled backup.
pub fn now() -> Timestamp {
    "2026-11-20T09:00:00Z".parse().unwrap()
}

pub fn id(rest: &str) -> ResourceId {
    ResourceId::parse(&format!("{SUB}{rest}")).unwrap()
}

pub fn known<T>(value: T) -> Part<T> {
    Part::Known { at: now(), value }
}

pub fn unread<T>() -> Part<T> {
    Part::Unread { why: "403: no permission".to_owned() }
}

pub fn absent<T>() -> Part<T> {
    Part::Absent { at: now() }
}

pub fn hours_ago(hours: u64) -> Timestamp {
    earlier(now(), std::time::Duration::from_secs(hours * 3600))
}

pub fn vm_id() -> ResourceId {
    id("/resourceGroups/rg-shop/providers/Microsoft.Compute/virtualMachines/web-01")
}

pub fn group_id(name: &str) -> ResourceId {
    id(&format!("/resourceGroups/{name}"))
}

pub fn collection_id(name: &str) -> ResourceId {
    id(&format!("/resourceGroups/{BACKUP_GROUP}/providers/Microsoft.Compute/restorePointCollections/{name}"))
}

/// A succeeded point of the VM, named as Azure Backup does.
pub fn point(collection: &ResourceId, created: Timestamp) -> Point {
    let name = created.strftime("AzureBackup_%Y%m%d_%H%M%S").to_string();
    Point {
        id: collection.child("restorePoints", &name).unwrap(),
        created: Some(created),
        provisioning_state: "Succeeded".into(),
        consistency: "ApplicationConsistent".into(),
        vm_id: VM_ID.into(),
        copied_from: String::new(),
        copy_percent: None,
        with_view: false,
    }
}

/// A collection of the VM with points of these ages in hours.
pub fn collection(name: &str, ages: &[u64]) -> Collection {
    let id = collection_id(name);
    let points = ages.iter().map(|age| point(&id, hours_ago(*age))).collect();
    Collection {
        location: "westeurope".into(),
        source: vm_id().to_string(),
        collection_id: format!("identity of {name}"),
        provisioning_state: "Succeeded".into(),
        points: Some(points),
        id,
    }
}

pub fn vault_id() -> ResourceId {
    id("/resourceGroups/rg-backup/providers/Microsoft.RecoveryServices/vaults/bkp-vault")
}

pub fn item_id() -> ResourceId {
    let fabric = "backupFabrics/Azure/protectionContainers/iaasvmcontainer;c;rg-shop;web-01";
    ResourceId::parse(&format!("{}/{fabric}/protectedItems/vm;c;rg-shop;web-01", vault_id())).unwrap()
}

/// A recovery point of this time, in the snapshot tier and in the vault.
pub fn recovery(time: Timestamp, hardened: bool) -> RecoveryPoint {
    let tier = |kind: &str| Tier { kind: kind.into(), status: "Valid".into() };
    let tiers = if hardened { vec![tier("InstantRP"), tier("HardenedRP")] } else { vec![tier("InstantRP")] };
    RecoveryPoint {
        id: ResourceId::parse(&format!("{}/recoveryPoints/{}", item_id(), time.as_second())).unwrap(),
        time: Some(time),
        consistency: "AppConsistent".into(),
        tiers,
        file_recovery_active: Some(false),
    }
}

pub fn job(operation: &str, status: &str, age: u64, user: Option<bool>) -> Job {
    Job {
        id: vault_id().child("backupJobs", &format!("{operation}-{age}-{status}")).unwrap(),
        operation: operation.into(),
        status: status.into(),
        start: Some(hours_ago(age)),
        end: (status != "InProgress").then(|| hours_ago(age.saturating_sub(1))),
        vm_name: "web-01".into(),
        container: String::new(),
        user_triggered: user,
        errors: Vec::new(),
        dynamic_error: String::new(),
        tasks: Vec::new(),
    }
}

pub fn policy() -> Policy {
    Policy {
        id: vault_id().child("backupPolicies", "daily").unwrap(),
        policy_type: "V1".into(),
        snapshot_days: Some(2),
        group_prefix: String::new(),
        group_suffix: String::new(),
        schedule: Schedule { frequency: "Daily".into(), times: vec!["23:00".into()], ..Schedule::default() },
        time_zone: "UTC".into(),
    }
}

pub fn lock_on(scope: &ResourceId, name: &str) -> Lock {
    let id = format!("{scope}/providers/Microsoft.Authorization/locks/{name}");
    Lock {
        id: ResourceId::parse(&id).unwrap(),
        level: "CanNotDelete".into(),
        notes: "Ask the platform team".into(),
        owners: Vec::new(),
    }
}

/// web-01: one live collection of 20 daily points, each with its copy in the vault, no lock, every right.
pub fn facts() -> VmFacts {
    let ages: Vec<u64> = (0..20).map(|day| 10 + 24 * day).collect();
    let live = collection("AzureBackup_web-01_123456789", &ages);
    let recovery_points = ages.iter().map(|age| recovery(hours_ago(*age), true)).collect();
    let group = Group { id: group_id(BACKUP_GROUP), location: "westeurope".into(), managed_by: String::new() };
    let all = Permission { actions: vec!["*".into()], not_actions: Vec::new() };
    let rights = |scope: ResourceId| Rights { scope, permissions: known(vec![all.clone()]) };
    VmFacts {
        id: vm_id(),
        at: now(),
        vm: known(Vm {
            id: vm_id(),
            location: "westeurope".into(),
            vm_id: VM_ID.into(),
            provisioning_state: "Succeeded".into(),
            os_type: "Linux".into(),
            managed_disks: true,
            size: String::new(),
            disks: Vec::new(),
            interfaces: Vec::new(),
            encryption: Vec::new(),
        }),
        instance: known(InstanceView::default()),
        extensions: known(Vec::new()),
        status: known(BackupStatus { vault_id: vault_id().to_string(), ..BackupStatus::default() }),
        items: known(vec![ItemFacts {
            began_together: 0,
            item: ProtectedItem {
                id: item_id(),
                source: vm_id().to_string(),
                policy_id: policy().id.to_string(),
                protection_state: "Protected".into(),
                health: "Passed".into(),
                health_details: Vec::new(),
                last_backup_status: "Completed".into(),
                last_backup_time: None,
                last_recovery_point: None,
                soft_deleted: false,
            },
            vault: known(Vault {
                id: vault_id(),
                location: "westeurope".into(),
                immutability: "Disabled".into(),
                multi_user_authorization: "Disabled".into(),
            }),
            resource_guard: known(false),
            policy: known(policy()),
            recovery_points: known(recovery_points),
            jobs: known(vec![job("Backup", "Completed", 34, Some(false))]),
        }]),
        collections: known(vec![live.clone()]),
        groups: known(vec![GroupFacts { group, others: known(Vec::new()), collections: known(vec![live]) }]),
        locks: known(Vec::new()),
        deny: known(Vec::new()),
        rights: vec![rights(vm_id().subscription_id()), rights(group_id(BACKUP_GROUP))],
        key_vaults: known(Vec::new()),
        orphan: None,
        vaults: Vec::new(),
        former: Vec::new(),
        own_jobs: Vec::new(),
    }
}

/// web-01 was deleted; its collection's newest point is 60 days old, and everything that an orphan needs was read.
pub fn orphaned() -> VmFacts {
    let mut facts = facts();
    let old = collection("AzureBackup_web-01_123456789", &[60 * 24, 61 * 24]);
    facts.vm = absent();
    facts.instance = absent();
    facts.extensions = absent();
    facts.status = known(BackupStatus::default());
    facts.items = known(Vec::new());
    facts.collections = known(vec![old.clone()]);
    group_of(&mut facts).collections = known(vec![old]);
    let other = id("/resourceGroups/rg-shop/providers/Microsoft.Compute/virtualMachines/web-02");
    facts.orphan = Some(OrphanFacts {
        subscription_answers: known(true),
        vms: known(vec![(other, "22222222-2222-4222-8222-222222222222".into())]),
        items: known(Vec::new()),
    });
    facts
}

fn value<T>(part: &mut Part<T>) -> &mut T {
    match part {
        Part::Known { value, .. } => value,
        _ => panic!("not known"),
    }
}

pub fn item_of(facts: &mut VmFacts) -> &mut ItemFacts {
    value(&mut facts.items).first_mut().unwrap()
}

pub fn group_of(facts: &mut VmFacts) -> &mut GroupFacts {
    value(&mut facts.groups).first_mut().unwrap()
}

pub fn collections_of(facts: &mut VmFacts) -> &mut Vec<Collection> {
    value(&mut facts.collections)
}

pub fn points_of(facts: &mut VmFacts) -> &mut Vec<Point> {
    collections_of(facts).first_mut().unwrap().points.as_mut().unwrap()
}

pub fn recovery_of(facts: &mut VmFacts) -> &mut Vec<RecoveryPoint> {
    value(&mut item_of(facts).recovery_points)
}

pub fn proof_of(facts: &mut VmFacts) -> &mut OrphanFacts {
    facts.orphan.as_mut().unwrap()
}

/// Decides on these facts with these overrides.
pub fn decide<R>(facts: &VmFacts, overrides: &[Override], what: impl FnOnce(&RuleInput<'_>) -> R) -> R {
    let overrides: BTreeSet<Override> = overrides.iter().copied().collect();
    what(&RuleInput { facts, now: now(), overrides: &overrides, orphan_age: ORPHAN_AGE })
}
