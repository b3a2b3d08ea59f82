//! Backup jobs and recovery points over time.

use super::*;
use crate::{Agent, HandlerState, JobStatus, Power};

fn start(sim: &Sim, group: &str, name: &str) -> String {
    let accepted = call(sim, "POST", &format!("{}/backup", item(group, name)), Some(backup_body()));
    assert_eq!((accepted.status, accepted.header("retry-after")), (202, Some("60")));
    let address = accepted.header("azure-asyncoperation").unwrap().to_owned();
    assert!(address.contains("/operationsStatus/") && address.contains(';'), "{address}");
    let pending = get(sim, &address);
    assert_eq!(
        (pending["status"].as_str(), pending["endTime"].as_str()),
        (Some("InProgress"), Some("0001-01-01T00:00:00"))
    );
    assert_eq!(call(sim, "GET", accepted.header("location").unwrap(), None).status, 202);
    pass(sim, 60);
    let done = get(sim, &address);
    assert_eq!(done["status"], "Succeeded");
    assert_eq!(done["properties"]["objectType"], "OperationStatusJobExtendedInfo");
    let name = done["name"].as_str().unwrap();
    assert_eq!(get(sim, &format!("{VAULT}/backupOperations/{name}"))["status"], "Succeeded");
    assert_eq!(call(sim, "GET", accepted.header("location").unwrap(), None).status, 204);
    done["properties"]["jobId"].as_str().unwrap().to_owned()
}

fn job(sim: &Sim, name: &str) -> Value {
    get(sim, &format!("{VAULT}/backupJobs/{name}"))["properties"].clone()
}

fn title(sim: &Sim, name: &str) -> String {
    let found = job(sim, name);
    assert_eq!(found["status"], "Failed", "{found}");
    assert!(found["errorDetails"][0]["errorCode"].is_i64());
    found["errorDetails"][0]["errorTitle"].as_str().unwrap().to_owned()
}

#[test]
fn a_backup_runs_in_two_tasks() {
    let sim = sim();
    unlock(&sim);
    let before = points_of(&sim, &collection_of(&sim, "ok-07", "AzureBackupRG_westeurope_1"));
    let name = start(&sim, "rg-shop", "ok-07");
    let running = job(&sim, &name);
    assert_eq!(running["extendedInfo"]["tasksList"][0]["taskId"], "Take Snapshot");
    assert_eq!(running["extendedInfo"]["tasksList"][0]["status"], "InProgress");
    // As recorded: no word of who started it, but when its recovery point goes.
    assert_eq!(running.get("isUserTriggered"), None);
    let expiry = running["extendedInfo"]["propertyBag"]["Recovery Point Expiry Time in UTC"].as_str().unwrap();
    assert!(expiry.ends_with(" AM") || expiry.ends_with(" PM"), "{expiry}");
    pass(&sim, 200);
    let snapped = job(&sim, &name);
    assert_eq!(snapped["extendedInfo"]["tasksList"][0]["status"], "Completed");
    assert_eq!(snapped["status"], "InProgress");
    assert_eq!(points_of(&sim, &collection_of(&sim, "ok-07", "AzureBackupRG_westeurope_1")), before + 1);
    let tiers = |sim: &Sim| {
        let points = get(sim, &format!("{}/recoveryPoints", item("rg-shop", "ok-07")));
        points["value"][0]["properties"]["recoveryPointTierDetails"].as_array().unwrap().len()
    };
    assert_eq!(tiers(&sim), 1);
    pass(&sim, 3 * 3600);
    assert_eq!(job(&sim, &name)["status"], "Completed");
    assert_eq!(tiers(&sim), 2);
}

#[test]
fn the_limit_fails_a_backup_and_the_service_cleans_up_when_no_lock_is_left() {
    let sim = sim();
    let collection = collection_of(&sim, "web-01", "AzureBackupRG_westeurope_1");
    assert_eq!(title(&sim, &start(&sim, "rg-shop", "web-01")), "UserErrorRpCollectionLimitReached");
    pass(&sim, 6 * 3600);
    assert_eq!(points_of(&sim, &collection), 21, "the lock is in the way");
    unlock(&sim);
    assert_eq!(title(&sim, &start(&sim, "rg-shop", "web-01")), "UserErrorRpCollectionLimitReached");
    pass(&sim, 5 * 3600);
    assert!(points_of(&sim, &collection) < 4);
    let name = start(&sim, "rg-shop", "web-01");
    pass(&sim, 300);
    assert_eq!(job(&sim, &name)["extendedInfo"]["tasksList"][0]["status"], "Completed");
}

#[test]
fn the_service_keeps_points_without_a_copy() {
    let sim = sim();
    unlock(&sim);
    let collection = collection_of(&sim, "nas-04", "AzureBackupRG_westeurope_1");
    let accepted = call(&sim, "POST", &format!("{}/backup", item("rg-data", "nas-04")), Some(backup_body()));
    assert_eq!(accepted.status, 202);
    pass(&sim, 6 * 3600);
    // one of the 20 is expired and has its copy in the vault
    assert_eq!(points_of(&sim, &collection), 19);
}

#[test]
fn checks_come_in_order() {
    let sim = sim();
    unlock(&sim);
    assert_eq!(title(&sim, &start(&sim, "rg-shop", "app-02")), "ExtensionOperationFailed");
    let app = vm("app-02").parse().unwrap();
    sim.edit(|w| w.vm_mut(&app).unwrap().agent = Agent::NotReady);
    assert_eq!(title(&sim, &start(&sim, "rg-shop", "app-02")), "UserErrorGuestAgentStatusUnavailable");
    sim.edit(|w| {
        let vm = w.vm_mut(&app).unwrap();
        (vm.agent, vm.vmsnapshot) = (Agent::Ready, None);
    });
    let name = start(&sim, "rg-shop", "app-02");
    assert_eq!(job(&sim, &name)["status"], "InProgress", "the service has installed it again");
    assert_eq!(sim.world().vm(&app).unwrap().vmsnapshot.as_ref().unwrap().state, HandlerState::Ready);
    let status = title(&sim, &start(&sim, "rg-shop", "app-02"));
    assert_eq!(status, "UserErrorBackupOperationInProgress");
}

#[test]
fn a_broken_guest_fails_again_and_a_stopped_vm_is_backed_up() {
    let sim = sim();
    unlock(&sim);
    let app = vm("app-02").parse().unwrap();
    sim.edit(|w| {
        let vm = w.vm_mut(&app).unwrap();
        (vm.broken, vm.vmsnapshot) = (true, None);
    });
    assert_eq!(title(&sim, &start(&sim, "rg-shop", "app-02")), "ExtensionOperationFailed");
    sim.edit(|w| w.vm_mut(&app).unwrap().power = Power::Deallocated);
    let name = start(&sim, "rg-shop", "app-02");
    pass(&sim, 300);
    assert_eq!(job(&sim, &name)["extendedInfo"]["tasksList"][0]["status"], "Completed");
}

#[test]
fn deleting_the_collection_of_a_running_snapshot_fails_the_job() {
    let sim = sim();
    unlock(&sim);
    let name = start(&sim, "rg-shop", "ok-07");
    let collection = collection_of(&sim, "ok-07", "AzureBackupRG_westeurope_1");
    assert_eq!(follow(&sim, &call(&sim, "DELETE", &collection, None))["status"], "Succeeded");
    assert_eq!(title(&sim, &name), "UserErrorRpCollectionDeleted");
}

#[test]
fn a_backup_without_a_collection_makes_one_in_the_right_group() {
    let sim = sim();
    unlock(&sim);
    let collection = collection_of(&sim, "erp-13", "contoso-prod2");
    assert_eq!(follow(&sim, &call(&sim, "DELETE", &collection, None))["status"], "Succeeded");
    start(&sim, "contoso-prod1", "erp-13");
    pass(&sim, 300);
    let made = sim.world().collections.iter().find(|c| c.source.name() == "erp-13").unwrap().clone();
    assert!(made.id.resource_group().unwrap().starts_with("contoso-prod"));
    assert!(made.id.name().starts_with("AzureBackup_erp-13_"));
}

#[test]
fn stopped_protection_and_too_many_requests_are_refused() {
    let sim = sim();
    let refused = call(&sim, "POST", &format!("{}/backup", item("rg-shop", "stop-12")), Some(backup_body()));
    assert_eq!(refused.status, 400);
    assert_eq!(call(&sim, "POST", &format!("{}/backup", item("rg-shop", "ok-07")), None).status, 400);
    for _ in 0..9 {
        start(&sim, "rg-shop", "web-01");
    }
    let refused = call(&sim, "POST", &format!("{}/backup", item("rg-shop", "web-01")), Some(backup_body()));
    assert_eq!(refused.status, 400);
    pass(&sim, 24 * 3600);
    start(&sim, "rg-shop", "web-01");
}

#[test]
fn jobs_are_filtered_and_cancelled() {
    let sim = sim();
    unlock(&sim);
    let count = |filter: &str| {
        let mut url = Url::parse(&format!("https://management.azure.com{VAULT}/backupJobs")).unwrap();
        url.query_pairs_mut().append_pair("api-version", "2024-04-01").append_pair("$filter", filter);
        get(&sim, url.as_str())["value"].as_array().unwrap().len()
    };
    let all = sim.world().jobs.iter().filter(|j| j.vault().unwrap().as_str() == VAULT).count();
    assert_eq!(count("backupManagementType eq 'AzureIaasVM'"), all);
    assert_eq!(count("status eq 'InProgress' and operation eq 'Backup'"), 1);
    assert_eq!(
        count("startTime eq '2026-11-19 09:00:00 AM' and endTime eq '2026-11-20 11:00:00 PM' and status eq 'Failed'"),
        5
    );
    let name = start(&sim, "rg-shop", "ok-07");
    let accepted = call(&sim, "POST", &format!("{VAULT}/backupJobs/{name}/cancel"), None);
    assert_eq!(accepted.status, 202);
    assert_eq!(job(&sim, &name)["status"], "Cancelling");
    assert_eq!(call(&sim, "GET", accepted.header("location").unwrap(), None).status, 202);
    pass(&sim, 60);
    assert_eq!(call(&sim, "GET", accepted.header("location").unwrap(), None).status, 204);
    assert_eq!(get(&sim, accepted.header("azure-asyncoperation").unwrap())["status"], "Succeeded");
    assert_eq!(job(&sim, &name)["status"], "Cancelled");
    assert_eq!(call(&sim, "POST", &format!("{VAULT}/backupJobs/{name}/cancel"), None).status, 400);
}

#[test]
fn during_a_transfer_the_next_transfer_is_left_out() {
    let sim = sim();
    unlock(&sim);
    let name = start(&sim, "rg-shop", "busy-08");
    pass(&sim, 300);
    let found = job(&sim, &name);
    assert_eq!(found["status"], "Completed");
    assert_eq!(found["extendedInfo"]["tasksList"][1]["status"], "Skipped");
    pass(&sim, 3 * 3600);
    assert!(sim.world().jobs.iter().all(|j| j.status != JobStatus::InProgress));
}

#[test]
fn a_read_only_lock_on_the_backup_group_fails_the_snapshot() {
    let sim = sim();
    let scope = "ReadOnly".to_owned();
    call(&sim, "PUT", LOCK, Some(json!({ "properties": { "level": scope } })));
    assert_eq!(title(&sim, &start(&sim, "rg-shop", "ok-07")), "UserErrorResourceIsInLockedState");
}

#[test]
fn jobs_that_run_at_the_beginning_come_to_their_end() {
    let sim = sim();
    pass(&sim, 3 * 3600);
    let points = get(&sim, &format!("{}/recoveryPoints", item("rg-shop", "busy-08")));
    assert_eq!(points["value"][0]["properties"]["recoveryPointTierDetails"].as_array().unwrap().len(), 2);
    let text = Estate::built_in_text().replace("phase: transfer, ends_in: 2h", "phase: snapshot, ends_in: 2m");
    let sim = Sim::new(World::from_estate(&Estate::parse(&text, "b").unwrap()));
    let before = sim.world().succeeded_points(&vm("busy-08").parse().unwrap());
    pass(&sim, 130);
    assert_eq!(sim.world().succeeded_points(&vm("busy-08").parse().unwrap()), before + 1);
}

#[test]
fn items_policies_and_where_a_vm_is_protected() {
    let sim = sim();
    let raw = item("rg-shop", "web-01").replace("%3B", ";");
    let found = get(&sim, &raw);
    assert_eq!(found["name"], "VM;iaasvmcontainerv2;rg-shop;web-01");
    assert_eq!(found["properties"]["healthDetails"][0]["title"], "UserErrorRpCollectionLimitReached");
    let listed = get(&sim, &format!("{VAULT}/backupProtectedItems?$filter=backupManagementType eq 'AzureIaasVM'"));
    let rows = listed["value"].as_array().unwrap();
    assert!(rows.iter().any(|r| r["properties"]["isScheduledForDeferredDelete"] == true));
    let policy = get(&sim, &format!("{VAULT}/backupPolicies/contoso-prod"));
    assert_eq!(policy["properties"]["instantRPDetails"]["azureBackupRGNamePrefix"], "contoso-prod");
    assert!(policy["properties"].get("policyType").is_none());
    assert_eq!(get(&sim, &format!("{VAULT}/backupPolicies/hourly-enhanced"))["properties"]["policyType"], "V2");
    assert_eq!(get(&sim, VAULT)["properties"]["securitySettings"]["immutabilitySettings"], Value::Null);
    let listed = get(&sim, &format!("{PROD}/providers/Microsoft.RecoveryServices/vaults"));
    assert_eq!(listed["value"][0]["properties"].get("securitySettings"), None, "lists say nothing about it");
    assert_eq!(get(&sim, &format!("{VAULT}/backupResourceGuardProxies"))["value"].as_array().unwrap().len(), 0);
    let ask = |id: String| {
        let asked = json!({ "resourceType": "VM", "resourceId": id });
        body(&call(
            &sim,
            "POST",
            &format!("{PROD}/providers/Microsoft.RecoveryServices/locations/westeurope/backupStatus"),
            Some(asked),
        ))
    };
    let protected = ask(vm("WEB-01"));
    assert_eq!(protected["protectedItemName"], "vm;iaasvmcontainerv2;rg-shop;web-01");
    assert_eq!(protected["containerName"], "iaasvmcontainer;iaasvmcontainerv2;rg-shop;web-01");
    let not = ask(vm("old-05"));
    assert_eq!((&not["protectionStatus"], &not["fabricName"]), (&"NotProtected".into(), &"Azure".into()));
    assert!(not["protectedItemName"].as_str().unwrap().ends_with(";old-05") && not.get("vaultId").is_none());
    let items = format!("{VAULT}/backupProtectedItems");
    assert_eq!(get(&sim, &items)["value"][0]["properties"].get("extendedInfo"), None);
    let expanded = get(&sim, &format!("{items}?$expand=extendedinfo"));
    assert!(expanded["value"][0]["properties"]["extendedInfo"]["recoveryPointCount"].is_i64());
}

#[test]
fn tiers_come_as_words_or_as_numbers() {
    let sim = sim();
    let tiers = |sim: &Sim| {
        let points = get(sim, &format!("{}/recoveryPoints", item("rg-shop", "ok-07")));
        points["value"][0]["properties"]["recoveryPointTierDetails"].clone()
    };
    let words = tiers(&sim);
    assert_eq!(words[0], serde_json::json!({ "type": "InstantRP", "status": "Valid" }));
    sim.edit(|w| w.settings.numeric_tiers = true);
    let numbers = tiers(&sim);
    assert_eq!(numbers[0], serde_json::json!({ "type": 1, "status": 1 }));
    assert_eq!(numbers[1], serde_json::json!({ "type": 2, "status": 1 }));
    assert_eq!(words.as_array().unwrap().len(), numbers.as_array().unwrap().len());
    sim.edit(|w| {
        let item = w.items.iter_mut().find(|i| i.id.as_str().ends_with("ok-07")).unwrap();
        item.recovery_points.last_mut().unwrap().tiers = vec![
            ("ArchivedRP".into(), "Rehydrated".into()),
            ("InstantRP".into(), "Deleted".into()),
            ("9".into(), "Disabled".into()),
            ("SomethingNew".into(), "7".into()),
        ];
    });
    assert_eq!(
        tiers(&sim),
        serde_json::json!([
            { "type": 3, "status": 4 }, { "type": 1, "status": 3 }, { "type": 9, "status": 2 },
            { "type": "SomethingNew", "status": 7 }
        ])
    );
}

#[test]
fn an_estate_chooses_whether_a_read_only_lock_on_the_vms_group_stops_its_backup() {
    for stops in [false, true] {
        let sim = sim();
        let group = format!("{PROD}/resourceGroups/rg-shop");
        let freeze = format!("{group}/providers/Microsoft.Authorization/locks/freeze");
        let read_only = serde_json::json!({ "properties": { "level": "ReadOnly" } });
        assert_eq!(call(&sim, "PUT", &freeze, Some(read_only)).status, 201);
        sim.edit(|w| w.settings.vm_lock_stops_backup = stops);
        let name = start(&sim, "rg-shop", "ok-07");
        let found = job(&sim, &name);
        if !stops {
            assert_eq!(found["status"], "InProgress");
            continue;
        }
        assert_eq!(title(&sim, &name), "UserErrorCrpReportedUserError");
        let text = found["errorDetails"][0]["errorString"].as_str().unwrap().to_owned();
        assert!(
            text.starts_with("Code ScopeLocked: The scope '") && text.contains("cannot perform write operation"),
            "{text}"
        );
        assert!(text.contains(&format!("locked: '{group}'")), "{text}");
        // A lock that only keeps from deleting does not matter.
        sim.edit(|w| {
            w.locks.iter_mut().find(|l| l.id.name() == "freeze").unwrap().level = crate::LockLevel::CanNotDelete
        });
        let again = start(&sim, "rg-shop", "ok-07");
        assert_eq!(job(&sim, &again)["status"], "InProgress");
    }
}
