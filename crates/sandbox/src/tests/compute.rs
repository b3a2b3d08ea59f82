//! Virtual machines, extensions and restore points.

use super::*;
use crate::{Agent, PointState, Power};

#[test]
fn a_vm_in_any_case_with_its_hidden_snapshot_handler() {
    let sim = sim();
    let lower = vm("web-01").to_lowercase().replacen("/subscriptions", "//Subscriptions", 1);
    let found = get(&sim, &format!("{lower}?$expand=instanceView"));
    assert_eq!(found["name"], "web-01");
    assert_eq!(found["properties"]["instanceView"]["vmAgent"]["statuses"][0]["displayStatus"], "Ready");
    let app = get(&sim, &format!("{}/instanceView", vm("app-02")));
    let handlers = app["vmAgent"]["extensionHandlers"].as_array().unwrap();
    let snapshot = handlers.iter().find(|h| h["type"] == "Microsoft.Azure.RecoveryServices.VMSnapshot").unwrap();
    assert_eq!(snapshot["status"]["level"], "Error");
    let listed = get(&sim, &format!("{}/extensions", vm("app-02")));
    let names: Vec<&str> = listed["value"].as_array().unwrap().iter().map(|e| e["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["AzureMonitorWindowsAgent"]);
    assert_eq!(get(&sim, &vm("app-02"))["properties"]["provisioningState"], "Failed");
    assert!(
        found["properties"]["storageProfile"]["osDisk"]["managedDisk"]["id"].as_str().is_some_and(|id| call(
            &sim, "GET", id, None
        )
        .status
            == 200)
    );
}

#[test]
fn a_missing_vm_and_a_missing_group() {
    let sim = sim();
    let gone = call(&sim, "GET", &vm("old-05"), None);
    assert_eq!((gone.status, code(&gone).as_str()), (404, "ResourceNotFound"));
    assert_eq!(gone.header("x-ms-failure-cause"), Some("gateway"));
    let gone = call(&sim, "GET", &vm("old-05").replace("rg-shop", "rg-gone"), None);
    assert_eq!((gone.status, code(&gone).as_str()), (404, "ResourceGroupNotFound"));
}

#[test]
fn the_snapshot_extension_is_deleted_by_name() {
    let sim = sim();
    let accepted = call(&sim, "DELETE", &format!("{}/extensions/VMSnapshot", vm("app-02")), None);
    assert!(accepted.header("location").unwrap().contains("monitor=true"));
    assert!(accepted.header("x-ms-ratelimit-remaining-resource").unwrap().contains("UpdateVM"));
    assert_eq!(follow(&sim, &accepted)["status"], "Succeeded");
    assert_eq!(get(&sim, &vm("app-02"))["properties"]["provisioningState"], "Succeeded");
    assert_eq!(call(&sim, "DELETE", &format!("{}/extensions/VMSnapshot", vm("app-02")), None).status, 204);
    assert_eq!(call(&sim, "DELETE", &format!("{}/extensions/VMSnapshotLinux", vm("web-01")), None).status, 204);
}

#[test]
fn without_a_ready_agent_the_deletion_fails_with_http_200() {
    for change in [0, 1] {
        let sim = sim();
        sim.edit(|w| {
            let vm = w.vm_mut(&vm("app-02").parse().unwrap()).unwrap();
            if change == 0 { vm.agent = Agent::NotReady } else { vm.power = Power::Deallocated }
        });
        let ended = follow(&sim, &call(&sim, "DELETE", &format!("{}/extensions/VMSnapshot", vm("app-02")), None));
        assert_eq!(ended["status"], "Failed");
        assert_eq!(ended["error"]["code"], "VMAgentStatusCommunicationError");
        assert!(sim.world().vm_named("app-02").unwrap().vmsnapshot.is_some());
    }
}

#[test]
fn a_collection_is_deleted_with_signed_addresses() {
    let sim = sim();
    unlock(&sim);
    let collection = collection_of(&sim, "ok-07", "AzureBackupRG_westeurope_1");
    assert_eq!(points_of(&sim, &collection), 2);
    let accepted = call(&sim, "DELETE", &collection, None);
    let monitor = accepted.header("location").unwrap().to_owned();
    assert!(monitor.len() > 800);
    assert_eq!(call(&sim, "GET", &monitor, None).status, 202);
    let cut = monitor.split("&c=").next().unwrap();
    assert_eq!(call(&sim, "GET", cut, None).status, 401, "the signature is needed");
    let state = get(&sim, &format!("{collection}?$expand=restorePoints"));
    assert_eq!(state["properties"]["restorePoints"][0]["properties"]["provisioningState"], "Deleting");
    assert_eq!(code(&call(&sim, "DELETE", &collection, None)), "Conflict");
    let ended = follow(&sim, &accepted);
    assert_eq!(ended["status"], "Succeeded");
    assert!(ended["endTime"].as_str().unwrap().ends_with("+00:00"));
    assert_eq!(call(&sim, "GET", &monitor, None).status, 200);
    assert_eq!(call(&sim, "GET", &collection, None).status, 404);
    assert_eq!(call(&sim, "DELETE", &collection, None).status, 204);
}

#[test]
fn a_large_collection_takes_several_deletions() {
    let sim = sim();
    let collection = collection_of(&sim, "db-03", "AzureBackupRG_westeurope_0");
    let mut left = Vec::new();
    for _ in 0..2 {
        let ended = follow(&sim, &call(&sim, "DELETE", &collection, None));
        assert_eq!(
            (ended["status"].as_str(), ended["error"]["code"].as_str()),
            (Some("Failed"), Some("InternalExecutionError"))
        );
        left.push(points_of(&sim, &collection));
    }
    assert_eq!(left, [10, 5]);
    assert_eq!(follow(&sim, &call(&sim, "DELETE", &collection, None))["status"], "Succeeded");
    assert_eq!(call(&sim, "GET", &collection, None).status, 404);
}

#[test]
fn a_deletion_may_never_end() {
    let sim = sim();
    let collection = collection_of(&sim, "db-03", "AzureBackupRG_westeurope_0");
    sim.edit(|w| w.collection_mut(&collection.parse().unwrap()).unwrap().delete_hangs = true);
    let accepted = call(&sim, "DELETE", &collection, None);
    pass(&sim, 7200);
    assert_eq!(get(&sim, accepted.header("azure-asyncoperation").unwrap())["status"], "InProgress");
    assert_eq!(points_of(&sim, &collection), 10);
    assert_eq!(call(&sim, "DELETE", &collection, None).status, 202);
}

#[test]
fn single_points_are_deleted_unless_somebody_uses_them() {
    let sim = sim();
    let collection = collection_of(&sim, "db-03", "AzureBackupRG_westeurope_0");
    let id = collection.parse().unwrap();
    let names: Vec<String> = sim.world().collection(&id).unwrap().points.iter().map(|p| p.name.clone()).collect();
    let point = format!("{collection}/restorePoints/{}", names[0]);
    let accepted = call(&sim, "DELETE", &point, None);
    assert_eq!(get(&sim, &point)["properties"]["provisioningState"], "Deleting");
    assert_eq!(follow(&sim, &accepted)["status"], "Succeeded");
    assert_eq!(call(&sim, "GET", &point, None).status, 404);
    assert_eq!(call(&sim, "DELETE", &point, None).status, 204);
    sim.edit(|w| w.collection_mut(&id).unwrap().points[0].in_use = true);
    let used = format!("{collection}/restorePoints/{}", names[1]);
    assert_eq!(code(&call(&sim, "DELETE", &used, None)), "DiskRestorePointUsedByCustomer");
    let ended = follow(&sim, &call(&sim, "DELETE", &collection, None));
    assert_eq!(ended["error"]["code"], "DiskRestorePointUsedByCustomer");
    assert!(sim.world().collection(&id).unwrap().points.iter().all(|p| p.state == PointState::Succeeded));
}

#[test]
fn sources_come_in_another_case_and_lists_without_points() {
    let sim = sim();
    let listed = get(&sim, &format!("{PROD}/providers/Microsoft.Compute/restorePointCollections"));
    let rows = listed["value"].as_array().unwrap();
    assert!(rows.iter().all(|r| r["properties"].get("restorePoints").is_none()));
    let db = rows.iter().find(|r| r["name"].as_str().unwrap().starts_with("AzureBackup_db-03")).unwrap();
    assert!(db["properties"]["source"]["id"].as_str().unwrap().contains("/resourceGroups/rg-data/"));
    assert!(
        rows.iter().all(|r| !r["id"].as_str().unwrap().contains("/resourceGroups/AzureBackupRG")),
        "upper case in this list"
    );
    assert!(get(&sim, db["id"].as_str().unwrap())["id"].as_str().unwrap().contains("/resourceGroups/AzureBackupRG_"));
    let prod = rows.iter().find(|r| r["name"].as_str().unwrap().starts_with("AzureBackup_erp-13")).unwrap();
    assert!(prod["properties"]["restorePointCollectionId"].as_str().is_some());
}

#[test]
fn a_collection_may_give_one_point_for_each_deletion() {
    let sim = sim();
    let collection = collection_of(&sim, "db-03", "AzureBackupRG_westeurope_0");
    let id = collection.parse().unwrap();
    sim.edit(|w| {
        let found = w.collection_mut(&id).unwrap();
        (found.deletes_per_call, found.deletes_needed) = (Some(1), 3);
        found.points.truncate(4);
    });
    let oldest = sim.world().collection(&id).unwrap().points.iter().map(|p| p.created).min();
    let mut left = Vec::new();
    for _ in 0..3 {
        let ended = follow(&sim, &call(&sim, "DELETE", &collection, None));
        assert_eq!((&ended["status"], &ended["error"]["code"]), (&"Failed".into(), &"InternalExecutionError".into()));
        left.push(points_of(&sim, &collection));
    }
    assert_eq!(left, [3, 2, 1]);
    assert!(sim.world().collection(&id).unwrap().points.iter().all(|p| Some(p.created) > oldest), "oldest first");
    assert_eq!(follow(&sim, &call(&sim, "DELETE", &collection, None))["status"], "Succeeded");
    assert_eq!(call(&sim, "GET", &collection, None).status, 404);
}

#[test]
fn a_copy_that_is_under_way_is_seen_at_its_own_address_alone() {
    let text = r#"
apiVersion: azmend/estate/v1
name: copies
now: 2026-11-20T09:00:00Z
subscriptions:
  - name: One
    groups:
      - name: rg-a
        vms: [{ name: vm-a }]
      - name: rg-dr
        location: northeurope
        collections:
          - { of: AzureBackup_vm-a_123456789, name: copy-of-vm-a, points: [{ count: 1, newest: 33h, copying: 40 }, { count: 1, newest: 5d }] }
      - name: AzureBackupRG_westeurope_1
        collections:
          - { of: vm-a, name: AzureBackup_vm-a_123456789, points: { count: 3, newest: 34h, tier: none } }
timeline:
  - { after: 10m, do: { copy_points: { id: copy-of-vm-a, percent: 100 } } }
  - { after: 20m, do: { copy_points: { id: vm-a, percent: 7 } } }
"#;
    let sim = Sim::new(World::from_estate(&Estate::parse(text, "copies.yaml").unwrap_or_else(|e| panic!("{e:#?}"))));
    let id = |name: &str| {
        let world = sim.world();
        world.collections.iter().find(|c| c.id.name() == name).map(|c| c.id.as_str().to_owned()).unwrap()
    };
    let (source, copy) = (id("AzureBackup_vm-a_123456789"), id("copy-of-vm-a"));
    assert_eq!(
        get(&sim, &copy)["properties"]["source"]["id"].as_str().map(str::to_lowercase),
        Some(source.to_lowercase())
    );
    let points = |collection: &str| {
        get(&sim, &format!("{collection}?$expand=restorePoints"))["properties"]["restorePoints"]
            .as_array()
            .unwrap()
            .clone()
    };
    let view = |point: &Value| {
        let own = get(&sim, &format!("{}?$expand=instanceView", point["id"].as_str().unwrap()));
        own["properties"]["instanceView"].clone()
    };
    let (originals, copies) = (points(&source), points(&copy));
    let newest = copies.last().unwrap();
    // The shape of azure-sdk-for-net's recording: Succeeded, and how far it is only in its own view.
    assert_eq!(newest["properties"]["provisioningState"], "Succeeded");
    assert_eq!(newest["properties"]["sourceRestorePoint"]["id"], originals.last().unwrap()["id"]);
    assert!(copies.iter().chain(&originals).all(|p| p["properties"].get("instanceView").is_none()));
    let seen = view(newest);
    assert_eq!(seen["diskRestorePoints"][0]["replicationStatus"]["completionPercent"], 40);
    assert_eq!(seen["diskRestorePoints"][0]["replicationStatus"]["status"]["code"], "ReplicationState/replicating");
    assert_eq!(seen["statuses"][0]["displayStatus"], "Replicating");
    assert_eq!(
        seen["diskRestorePoints"][0]["id"],
        newest["properties"]["sourceMetadata"]["storageProfile"]["osDisk"]["diskRestorePoint"]["id"]
    );
    assert_eq!(view(&copies[0])["diskRestorePoints"][0]["replicationStatus"]["completionPercent"], 100);
    assert_eq!(view(originals.last().unwrap())["diskRestorePoints"].as_array().unwrap().len(), 0);
    // The source may be deleted meanwhile, as recorded.
    assert_eq!(call(&sim, "DELETE", originals[2]["id"].as_str().unwrap(), None).status, 202);
    pass(&sim, 660);
    assert_eq!(view(newest)["statuses"][0]["code"], "ReplicationState/succeeded");
    pass(&sim, 660);
    assert_eq!(view(&originals[0])["diskRestorePoints"][0]["replicationStatus"]["completionPercent"], 7);
}
