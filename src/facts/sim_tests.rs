//! The collector and the resolver on the embedded Azure's built-in estate.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::view::View;
use super::vm_facts::{Part, VmFacts};
use super::*;
use crate::arm::id::ResourceId;
use crate::arm::{Arm, ArmSettings, Request, Response, StaticToken, Transport, TransportError};
use crate::sim::{Estate, Sim, World};

const PROD: &str = "5b1c0de0-0000-4000-8000-000000000001";
const SUBSIDIARY: &str = "5b1c0de0-0000-4000-8000-000000000002";

fn sim() -> Sim {
    Sim::new(World::from_estate(&Estate::built_in()))
}

fn arm_over(transport: Arc<dyn Transport>, sim: &Sim) -> Arm {
    let settings = ArmSettings { endpoint: "https://management.azure.com".parse().unwrap(), run_id: "test".into() };
    Arm::new(transport, Arc::new(StaticToken::new("sandbox", "tester")), Arc::new(sim.clock()), settings).unwrap()
}

fn arm(sim: &Sim) -> Arm {
    arm_over(Arc::new(sim.clone()), sim)
}

fn vm(group: &str, name: &str) -> ResourceId {
    ResourceId::vm(PROD, group, name).unwrap()
}

async fn facts_of(arm: &Arm, id: &ResourceId) -> VmFacts {
    collect(arm, id, &CollectOptions::default()).await
}

fn view(sim: &Sim, facts: &VmFacts) -> View {
    View::of(facts, &StaleCounts::default(), sim.world().now)
}

/// Every part by name with its state: `known`, `absent` or the reason why it is unread.
fn parts(facts: &VmFacts) -> BTreeMap<String, String> {
    fn state<T>(part: &Part<T>) -> String {
        match part {
            Part::Known { .. } => "known".into(),
            Part::Absent { .. } => "absent".into(),
            Part::Unread { why } => why.clone(),
        }
    }
    let mut all: BTreeMap<String, String> = [
        ("vm", state(&facts.vm)),
        ("instance", state(&facts.instance)),
        ("extensions", state(&facts.extensions)),
        ("status", state(&facts.status)),
        ("items", state(&facts.items)),
        ("collections", state(&facts.collections)),
        ("groups", state(&facts.groups)),
        ("locks", state(&facts.locks)),
        ("deny", state(&facts.deny)),
    ]
    .map(|(name, state)| (name.to_owned(), state))
    .into();
    for item in facts.items.known().into_iter().flatten() {
        let of_item = [
            ("item.vault", state(&item.vault)),
            ("item.guard", state(&item.resource_guard)),
            ("item.policy", state(&item.policy)),
            ("item.recovery_points", state(&item.recovery_points)),
            ("item.jobs", state(&item.jobs)),
        ];
        all.extend(of_item.map(|(name, state)| (name.to_owned(), state)));
    }
    // What is in a group without a lock is not asked for.
    for group in facts.groups.known().into_iter().flatten().filter(|group| !group.others.is_not_asked()) {
        all.insert("group.others".into(), state(&group.others));
        all.insert("group.collections".into(), state(&group.collections));
    }
    for rights in &facts.rights {
        all.insert("rights".into(), state(&rights.permissions));
    }
    all
}

#[tokio::test]
async fn web_01_is_read_completely() {
    let sim = sim();
    let arm = arm(&sim);
    let facts = facts_of(&arm, &vm("RG-Shop", "WEB-01")).await;
    let unread: Vec<_> = parts(&facts).into_iter().filter(|(_, state)| state != "known").collect();
    assert_eq!(unread, []);
    let view = view(&sim, &facts);
    assert_eq!(
        (view.points.count, view.points.limit, view.backup.last_error.as_str()),
        (21, 18, "UserErrorRpCollectionLimitReached")
    );
    assert_eq!((view.locks.backup_groups, view.locks.total, view.backup.running), (1, 1, false));
    let item = facts.active_item().unwrap();
    assert_eq!(item.recovery_points.known().unwrap().len(), 30, "21 snapshots and 9 in the vault alone");
    assert_eq!(item.jobs.known().unwrap().len(), 3);
    let group = &facts.groups.known().unwrap()[0];
    assert_eq!(group.group.id.name(), "AzureBackupRG_westeurope_1");
    assert_eq!(holds_only_backup(group), Some(true));
    assert!(sim.log().iter().all(|exchange| !exchange.mutating), "a reading changes nothing");
    let calls: Vec<String> = sim.log().iter().map(|e| format!("{} {}?{}", e.method, e.path, e.query)).collect();
    let mut once = calls.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), calls.len(), "nothing is asked twice: {calls:#?}");
    assert_eq!(calls.len(), 29, "see tests/it/calls.rs: {calls:#?}");
    let bare = facts.groups.known().unwrap().iter().find(|group| group.group.id.name().ends_with("_0")).unwrap();
    assert!(bare.others.is_not_asked(), "it has neither points of the VM nor a lock");
}

#[tokio::test]
async fn every_vm_of_the_estate_is_read_right() {
    struct Expect {
        vm: ResourceId,
        points: i64,
        error: &'static str,
        groups: &'static [&'static str],
        vmsnapshot: &'static str,
        backup_locks: i64,
    }
    let sim = sim();
    let arm = arm(&sim);
    let west = &["AzureBackupRG_westeurope_1"][..];
    let limit = "UserErrorRpCollectionLimitReached";
    let expect = |group: &str, name: &str, points, error, groups, backup_locks| Expect {
        vm: vm(group, name),
        points,
        error,
        groups,
        vmsnapshot: "Ready",
        backup_locks,
    };
    let mut failed = expect("rg-shop", "app-02", 2, "ExtensionOperationFailed", west, 1);
    failed.vmsnapshot = "Failed";
    let cases = [
        failed,
        expect("rg-shop", "web-01", 21, limit, west, 1),
        expect("rg-data", "db-03", 18, limit, &["AzureBackupRG_westeurope_0", "AzureBackupRG_westeurope_1"], 1),
        expect("rg-data", "nas-04", 20, limit, west, 1),
        expect("rg-shop", "ok-07", 2, "", west, 1),
        expect("rg-shop", "busy-08", 2, "", west, 1),
        expect("rg-shop", "ven-10", 2, "", west, 1),
        expect("rg-shop", "own-11", 18, limit, &["backup-owned-1"], 1),
        expect("contoso-prod1", "erp-13", 2, "", &["contoso-prod2"], 0),
    ];
    for case in cases {
        let facts = facts_of(&arm, &case.vm).await;
        let view = view(&sim, &facts);
        let name = case.vm.name();
        assert_eq!(view.unread, BTreeMap::new(), "{name}");
        assert_eq!(view.points.count, case.points, "{name}");
        assert_eq!(view.backup.last_error, case.error, "{name}");
        assert_eq!(view.vmsnapshot.state, case.vmsnapshot, "{name}");
        assert_eq!(view.locks.backup_groups, case.backup_locks, "{name}");
        let groups: Vec<&str> = facts.groups.known().unwrap().iter().map(|group| group.group.id.name()).collect();
        for wanted in case.groups {
            assert!(groups.contains(wanted), "{name}: {wanted} in {groups:?}");
        }
        assert!(facts.orphan.is_none(), "{name}");
    }
}

#[tokio::test]
async fn a_production_group_that_fits_a_prefix_is_no_backup_group() {
    let sim = sim();
    let facts = facts_of(&arm(&sim), &vm("contoso-prod1", "erp-13")).await;
    let prod = facts.group(&ResourceId::group(PROD, "contoso-prod1").unwrap()).expect("its name fits");
    assert_eq!(holds_only_backup(prod), Some(false));
    let view = view(&sim, &facts);
    assert_eq!((view.locks.backup_groups, view.locks.vm), (0, 1));
}

#[tokio::test]
async fn a_running_job_and_a_stopped_protection_are_seen() {
    let sim = sim();
    let arm = arm(&sim);
    let busy = facts_of(&arm, &vm("rg-shop", "busy-08")).await;
    assert!(view(&sim, &busy).backup.running);
    let running = busy.active_item().unwrap().jobs.known().unwrap().iter().find(|job| job.running()).unwrap();
    assert_eq!(running.task("Take Snapshot"), Some("Completed"), "a running job has its tasks");
    let stopped = facts_of(&arm, &vm("rg-shop", "stop-12")).await;
    assert!(stopped.active_item().is_none() && stopped.main_item().unwrap().item.stopped());
    assert_eq!(view(&sim, &stopped).points.count, 19);
}

#[tokio::test]
async fn a_subscription_lock_and_another_vault_region() {
    let sim = sim();
    let facts = facts_of(&arm(&sim), &ResourceId::vm(SUBSIDIARY, "rg-branch", "sub-lock").unwrap()).await;
    let view = view(&sim, &facts);
    assert_eq!((view.locks.subscription, view.locks.inherited, view.locks.backup_groups), (1, 1, 0));
    assert_eq!((view.points.count, view.vault.name.as_str()), (19, "branch-vault"));
}

#[tokio::test]
async fn a_deleted_vm_is_absent_and_has_orphan_facts() {
    let sim = sim();
    let arm = arm(&sim);
    let old = resolve_vm(&arm, "old-05", &[]).await.unwrap();
    let facts = facts_of(&arm, &old).await;
    assert!(facts.vm.is_absent() && facts.instance.is_absent());
    assert_eq!(facts.collections().count(), 1);
    let orphan = facts.orphan.as_ref().unwrap();
    assert_eq!(orphan.subscription_answers.known(), Some(&true));
    assert_eq!(orphan.items.known().unwrap().len(), 0);
    assert!(orphan.vms.known().unwrap().iter().any(|(id, uid)| id.name() == "web-01" && !uid.is_empty()));
    // It only looks orphaned: the soft-deleted item names the old id, and a VM carries the points' vmId.
    let twin = facts_of(&arm, &vm("rg-legacy", "twin-06")).await;
    let orphan = twin.orphan.as_ref().unwrap();
    assert!(orphan.items.known().unwrap()[0].soft_deleted);
    let carried = &twin.collections().next().unwrap().points()[0].vm_id;
    assert!(orphan.vms.known().unwrap().iter().any(|(id, uid)| uid == carried && id.name() == "twin-06"));
}

#[tokio::test]
async fn a_subscription_that_is_not_visible_makes_nothing_absent() {
    let sim = sim();
    let elsewhere = ResourceId::vm("99999999-0000-4000-8000-000000000009", "rg", "web-01").unwrap();
    let facts = facts_of(&arm(&sim), &elsewhere).await;
    for (part, state) in parts(&facts) {
        assert!(state != "known" && state != "absent", "{part} is {state}");
    }
    assert!(facts.orphan.is_none());
}

#[tokio::test]
async fn each_lost_permission_makes_its_part_unread_and_loses_nothing_else() {
    let vaults = "Microsoft.RecoveryServices/Vaults";
    let items = format!("{vaults}/backupFabrics/protectionContainers/protectedItems");
    let cases: [(String, &[&str]); 14] = [
        ("Microsoft.Compute/virtualMachines/instanceView/read".into(), &["instance"]),
        ("Microsoft.Compute/virtualMachines/extensions/read".into(), &["extensions", "group.others"]),
        ("Microsoft.RecoveryServices/locations/backupStatus/action".into(), &["status"]),
        ("Microsoft.Compute/restorePointCollections/read".into(), &["collections", "groups", "group.others"]),
        (
            "Microsoft.Compute/restorePointCollections/restorePoints/read".into(),
            &["collections", "groups", "group.others"],
        ),
        ("Microsoft.Resources/subscriptions/resourceGroups/read".into(), &["groups", "group.others"]),
        ("Microsoft.Authorization/locks/read".into(), &["locks", "group.others"]),
        ("Microsoft.Authorization/denyAssignments/read".into(), &["deny", "group.others"]),
        (format!("{vaults}/read"), &["items", "item.vault", "group.others"]),
        (format!("{vaults}/backupProtectedItems/read"), &["items", "group.others"]),
        (format!("{vaults}/backupPolicies/read"), &["item.policy", "group.others"]),
        (format!("{vaults}/backupJobs/read"), &["item.jobs", "group.others"]),
        (format!("{vaults}/backupResourceGuardProxies/read"), &["item.guard", "group.others"]),
        (format!("{items}/recoveryPoints/read"), &["item.recovery_points", "group.others"]),
    ];
    for (action, lost) in cases {
        let sim = sim();
        sim.edit(|world| world.revoke_permission(&action));
        let facts = facts_of(&arm(&sim), &vm("rg-shop", "web-01")).await;
        let parts = parts(&facts);
        for (part, state) in &parts {
            // A caller who may not read some type may not see all resources of a group either: that is always partial.
            let may_be_lost = lost.contains(&part.as_str()) || part == "group.others";
            assert!(state == "known" || may_be_lost, "without {action}: {part} is {state}");
        }
        let named = lost[0];
        assert_ne!(parts.get(named).map(String::as_str), Some("known"), "without {action} {named} is still known");
        assert_ne!(
            parts.get(named).map(String::as_str),
            Some("absent"),
            "without {action} {named} is treated as absent"
        );
    }
}

#[tokio::test]
async fn a_deny_assignment_on_a_read_makes_the_list_partial() {
    let sim = sim();
    sim.edit(|world| {
        let scope = ResourceId::group(PROD, "AzureBackupRG_westeurope_1").unwrap();
        world.denies.push(crate::sim::DenyAssignment {
            name: "d".into(),
            title: "managed".into(),
            scope,
            actions: vec!["Microsoft.Compute/restorePointCollections/*".into()],
            not_actions: Vec::new(),
            system_protected: true,
        });
    });
    let facts = facts_of(&arm(&sim), &vm("rg-shop", "web-01")).await;
    assert!(facts.collections.unread().unwrap().contains("\"managed\""), "{:?}", facts.collections);
    assert!(facts.vm.known().is_some() && facts.locks.known().is_some());
}

/// Adds a row to every list whose path ends so.
#[derive(Debug)]
struct Spoilt {
    sim: Sim,
    path: &'static str,
    row: Value,
}

#[async_trait]
impl Transport for Spoilt {
    async fn send(&self, request: &Request) -> Result<Response, TransportError> {
        let mut response = self.sim.send(request).await?;
        if request.url.path().to_lowercase().ends_with(&self.path.to_lowercase())
            && let Ok(mut body) = serde_json::from_slice::<Value>(&response.body)
            && let Some(rows) = body["value"].as_array_mut()
        {
            rows.push(self.row.clone());
            response.body = body.to_string().into();
        }
        Ok(response)
    }
}

#[tokio::test]
async fn a_row_that_is_not_understood_makes_its_part_unread() {
    for (path, part) in [
        ("/providers/Microsoft.Compute/restorePointCollections", "collections"),
        ("/providers/Microsoft.Authorization/locks", "locks"),
        ("/resourcegroups", "groups"),
        ("/resources", "group.others"),
        ("/providers/Microsoft.RecoveryServices/vaults", "items"),
        ("/backupProtectedItems", "items"),
        ("/recoveryPoints", "item.recovery_points"),
        ("/backupJobs", "item.jobs"),
    ] {
        let sim = sim();
        let row = json!({ "id": 42, "name": null });
        let arm = arm_over(Arc::new(Spoilt { sim: sim.clone(), path, row }), &sim);
        let parts = parts(&facts_of(&arm, &vm("rg-shop", "web-01")).await);
        let why = &parts[part];
        assert!(why.contains("could not be understood"), "{path}: {part} is {why}");
        assert_eq!((parts["vm"].as_str(), parts["instance"].as_str()), ("known", "known"), "{path}");
    }
    // The VM's own answer has the extensions; their list is asked for alone.
    let sim = sim();
    let arm = arm_over(
        Arc::new(Spoilt { sim: sim.clone(), path: "/extensions", row: json!({ "id": 42, "name": null }) }),
        &sim,
    );
    let facts = facts_of(&arm, &vm("rg-shop", "web-01")).await;
    assert_eq!(parts(&facts)["extensions"], "known");
    let facts = refresh(&arm, &facts, Refresh { extensions: true, ..Refresh::NOTHING }).await;
    assert!(parts(&facts)["extensions"].contains("could not be understood"));
}

#[tokio::test]
async fn a_lock_that_is_not_understood_makes_only_its_own_scope_unread() {
    let group = |name: &str| format!("/subscriptions/{PROD}/resourceGroups/{name}");
    let collection =
        facts_of(&arm(&sim()), &vm("rg-shop", "web-01")).await.collections().next().unwrap().id.to_string();
    for (scope, name, expected) in [
        (group("rg-other"), "Don't delete", true),
        (group("rg-other"), "a%2Fb", true),
        (group("rg-other"), "a/b", true),
        (vm("rg-other", "web-01").to_string(), "a%2Fb", true),
        (group("rg-shop"), "Don't delete", true),
        (group("rg-shop"), "a%2Fb", false),
        (group("RG-SHOP"), "a/b", false),
        (vm("rg-shop", "web-01").to_string(), "a#b", false),
        (group("AzureBackupRG_westeurope_1"), "a%2Fb", false),
        (collection, "a%2Fb", false),
        (format!("/subscriptions/{PROD}"), "a%2Fb", false),
        (group("what%2Fgroup"), "keep", false),
        ("/providers/Microsoft.Management/managementGroups/m".into(), "keep", false),
    ] {
        let id = format!("{scope}/providers/Microsoft.Authorization/locks/{name}");
        let row = json!({ "id": id, "name": name, "properties": { "level": "CanNotDelete" } });
        let sim = sim();
        let path = "/providers/Microsoft.Authorization/locks";
        let arm = arm_over(Arc::new(Spoilt { sim: sim.clone(), path, row }), &sim);
        let facts = facts_of(&arm, &vm("rg-shop", "web-01")).await;
        assert_eq!(facts.locks.known().is_some(), expected, "{id}: {:?}", facts.locks.unread());
        let again = refresh(&arm, &facts, Refresh::LOCKS).await;
        assert_eq!(again.locks.known().is_some(), expected, "{id}");
        assert!(facts.groups.known().is_some() && facts.collections.known().is_some(), "{id}");
    }
}

#[tokio::test]
async fn an_item_without_a_source_counts_by_its_names() {
    let row = |container: &str, name: &str, state: &str| {
        let vault = format!("/subscriptions/{PROD}/resourceGroups/rg-x/providers/Microsoft.RecoveryServices/vaults/v");
        let id = format!("{vault}/backupFabrics/Azure/protectionContainers/{container}/protectedItems/{name}");
        json!({ "id": id, "name": name, "properties": { "protectionState": state } })
    };
    let v2 = |vm: &str| {
        (format!("IaasVMContainer;iaasvmcontainerv2;rg-shop;{vm}"), format!("VM;iaasvmcontainerv2;rg-shop;{vm}"))
    };
    let (own, other) = (v2("OLD-05"), v2("web-99"));
    for (row, known, count) in [
        (row(&own.0, &own.1, "ProtectionStopped"), true, 1),
        (row("odd", &own.1, "ProtectionStopped"), true, 1),
        (row("IaasVMContainer;iaasvmcontainer;service;old-05", "odd", ""), true, 1),
        (row(&other.0, &other.1, "Protected"), true, 0),
        (row("odd", "odd", "Protected"), false, 0),
    ] {
        let sim = sim();
        let spoilt = Spoilt { sim: sim.clone(), path: "/backupProtectedItems", row: row.clone() };
        let arm = arm_over(Arc::new(spoilt), &sim);
        let orphan = facts_of(&arm, &vm("rg-shop", "old-05")).await.orphan.unwrap();
        assert_eq!(orphan.items.known().is_some(), known, "{row}: {:?}", orphan.items);
        // Every vault of the estate answers with the row.
        assert_eq!(orphan.items.known().is_some_and(|items| !items.is_empty()), count > 0, "{row}");
        let web = facts_of(&arm, &vm("rg-shop", "web-01")).await;
        assert_eq!(web.items.known().map(Vec::len), Some(1), "{row}: one item protects web-01, so this is not its");
    }
}

/// Answers every GET of the VM itself with this 404.
#[derive(Debug)]
struct Missing {
    sim: Sim,
    code: &'static str,
}

#[async_trait]
impl Transport for Missing {
    async fn send(&self, request: &Request) -> Result<Response, TransportError> {
        if request.url.path().to_lowercase().ends_with("/virtualmachines/web-01") {
            return Ok(match self.code {
                "" => Response::empty(404),
                code => {
                    Response::json(404, &json!({ "error": { "code": code, "message": "The entity was not found." } }))
                }
            });
        }
        self.sim.send(request).await
    }
}

#[tokio::test]
async fn only_the_404_of_a_missing_vm_is_a_vm_that_is_gone() {
    for (code, absent) in [
        ("ResourceNotFound", true),
        ("ResourceGroupNotFound", true),
        ("NotFound", true),
        ("SubscriptionNotFound", false),
        ("InvalidResourceType", false),
        ("LockNotFound", false),
        ("", false),
    ] {
        let sim = sim();
        let arm = arm_over(Arc::new(Missing { sim: sim.clone(), code }), &sim);
        let facts = facts_of(&arm, &vm("rg-shop", "web-01")).await;
        assert_eq!(facts.vm.is_absent(), absent, "{code}: {:?}", facts.vm);
        assert_eq!(facts.vm.unread().is_some(), !absent, "{code}");
    }
}

#[tokio::test]
async fn a_refresh_reads_again_what_it_was_asked_for() {
    let sim = sim();
    let arm = arm(&sim);
    let before = facts_of(&arm, &vm("rg-shop", "web-01")).await;
    let calls = sim.log().len();
    let group = ResourceId::group(PROD, "AzureBackupRG_westeurope_1").unwrap();
    let lock = before.locks_over(&group).next().unwrap().id.clone();
    sim.edit(|world| world.delete_lock(&lock));
    let after = refresh(&arm, &before, Refresh::LOCKS).await;
    assert_eq!((before.locks_over(&group).count(), after.locks_over(&group).count()), (1, 0));
    assert!(after.locks.read_at() > before.locks.read_at());
    assert_eq!(
        (&after.collections, &after.items, &after.vm, after.at),
        (&before.collections, &before.items, &before.vm, before.at)
    );
    assert_eq!(sim.log().len() - calls, 3, "permissions, deny assignments, locks");

    let calls = sim.log().len();
    sim.edit(|world| world.start_job(&vm("rg-shop", "web-01")));
    let after = refresh(&arm, &after, Refresh::JOBS).await;
    assert!(view(&sim, &after).backup.running);
    let sent: Vec<String> = sim.log()[calls..].iter().map(|e| e.path.clone()).collect();
    assert_eq!(sent.len(), 4, "permissions, deny assignments, one list, the new job: {sent:#?}");

    let collection = before.collections().next().unwrap().id.clone();
    sim.edit(|world| world.add_point(&collection));
    let after = refresh(&arm, &after, Refresh::COLLECTIONS.and(Refresh::VM)).await;
    assert_eq!(after.collections().next().unwrap().points().len(), 22);
    assert_eq!(refresh(&arm, &after, Refresh::EVERYTHING).await.collections().count(), 1);
}

#[tokio::test]
async fn a_refresh_notices_a_lost_permission() {
    let sim = sim();
    let arm = arm(&sim);
    let before = facts_of(&arm, &vm("rg-shop", "web-01")).await;
    sim.edit(|world| world.revoke_permission("Microsoft.Authorization/locks/read"));
    let after = refresh(&arm, &before, Refresh::LOCKS).await;
    assert!(after.locks.unread().is_some(), "an empty list would be a lie");
}

#[tokio::test]
async fn a_refresh_of_an_absent_vm_reads_what_an_orphan_needs() {
    let sim = sim();
    let arm = arm(&sim);
    let before = facts_of(&arm, &vm("rg-shop", "old-05")).await;
    sim.edit(|world| world.revoke_permission("Microsoft.Compute/virtualMachines/read"));
    let after = refresh(&arm, &before, Refresh::BACKUP).await;
    assert!(before.orphan.unwrap().vms.known().is_some());
    assert!(after.orphan.unwrap().vms.unread().is_some());
    assert!(refresh(&arm, &facts_of(&arm, &vm("rg-shop", "old-05")).await, Refresh::VM).await.vm.unread().is_some());
}

#[tokio::test]
async fn a_vm_that_is_deleted_between_two_readings() {
    let sim = sim();
    let arm = arm(&sim);
    let id = vm("rg-shop", "web-01");
    let before = facts_of(&arm, &id).await;
    sim.edit(|world| world.delete_vm(&id));
    let after = refresh(&arm, &before, Refresh::VM.and(Refresh::BACKUP)).await;
    assert!(after.vm.is_absent() && after.instance.is_absent());
    assert_eq!(after.orphan.unwrap().items.known().unwrap().len(), 1, "the vault still names it");
}

#[tokio::test]
async fn names_are_resolved() {
    let sim = sim();
    let arm = arm(&sim);
    let web = vm("rg-shop", "web-01");
    for text in ["web-01", "WEB-01", "rg-shop/web-01", web.as_str()] {
        assert_eq!(resolve_vm(&arm, text, &[]).await, Ok(web.clone()), "{text}");
    }
    match resolve_vm(&arm, "dup-09", &[]).await {
        Err(ResolveError::Ambiguous { candidates, .. }) => assert_eq!(candidates.len(), 2),
        other => panic!("{other:?}"),
    }
    assert_eq!(resolve_vm(&arm, "rg-lab/dup-09", &[]).await, Ok(vm("rg-lab", "dup-09")));
    assert_eq!(resolve_vm(&arm, "old-05", &[]).await, Ok(vm("rg-shop", "old-05")), "found by its collection");
    assert_eq!(resolve_vm(&arm, "twin-06", &[]).await, Ok(vm("rg-shop", "twin-06")), "a VM that is there wins");
    assert_eq!(resolve_vm(&arm, "rg-legacy/twin-06", &[]).await, Ok(vm("rg-legacy", "twin-06")));
    for text in ["w\u{435}b-01", "web-1", "rg-shop/web-011"] {
        match resolve_vm(&arm, text, &[]).await {
            Err(ResolveError::NotFound { near, .. }) => assert_eq!(near[0], web, "{text}"),
            other => panic!("{text}: {other:?}"),
        }
    }
    let before = sim.log().len();
    for text in ["", "../web-01", "web%2F01", "a\u{0}b"] {
        assert!(matches!(resolve_vm(&arm, text, &[]).await, Err(ResolveError::BadName(_))), "{text:?}");
    }
    assert_eq!(sim.log().len(), before, "nothing was sent for them");
}

#[tokio::test]
async fn subscriptions_narrow_the_search() {
    let sim = sim();
    let arm = arm(&sim);
    let subsidiary = ["contoso subsidiary".to_owned()];
    assert!(matches!(resolve_vm(&arm, "web-01", &subsidiary).await, Err(ResolveError::NotFound { .. })));
    assert!(resolve_vm(&arm, "sub-lock", &subsidiary).await.is_ok());
    assert!(resolve_vm(&arm, "web-01", &[PROD.to_uppercase()]).await.is_ok());
    let excluded = resolve_vm(&arm, vm("rg-shop", "web-01").as_str(), &subsidiary).await;
    assert!(matches!(excluded, Err(ResolveError::BadName(_))), "{excluded:?}");
    match resolve_vm(&arm, "web-01", &["Contoso Prodution".into()]).await {
        Err(ResolveError::SubscriptionNotFound { near, .. }) => assert_eq!(near, ["Contoso Production"]),
        other => panic!("{other:?}"),
    }
    sim.edit(|world| world.subscriptions.iter_mut().for_each(|one| one.name = "Contoso".into()));
    let same = resolve_vm(&arm, "web-01", &["contoso".into()]).await;
    assert!(matches!(same, Err(ResolveError::SubscriptionAmbiguous { ref ids, .. }) if ids.len() == 2), "{same:?}");
}

#[tokio::test]
async fn a_bare_name_needs_complete_lists() {
    let sim = sim();
    let arm = arm(&sim);
    sim.edit(|world| world.revoke_permission("Microsoft.Compute/restorePointCollections/read"));
    assert!(resolve_vm(&arm, "web-01", &[]).await.is_ok(), "a VM that is there needs no collections");
    assert!(matches!(resolve_vm(&arm, "old-05", &[]).await, Err(ResolveError::CannotList { .. })));
    // The list of VMs now leaves out rows without a word: nothing may be called unique or missing.
    sim.edit(|world| {
        for permission in &mut world.permissions {
            permission.scope = format!("/subscriptions/{PROD}/resourceGroups/rg-shop");
        }
    });
    for text in ["web-01", "nowhere"] {
        let error = resolve_vm(&arm, text, &[]).await.unwrap_err();
        assert!(matches!(error, ResolveError::CannotList { .. }), "{error:?}");
        assert_eq!(error.hint().unwrap(), "give group/name or the resource id of the VM");
    }
    assert_eq!(resolve_vm(&arm, "rg-shop/web-01", &[]).await, Ok(vm("rg-shop", "web-01")));
    assert!(resolve_vm(&arm, vm("rg-shop", "web-01").as_str(), &[]).await.is_ok());
}
