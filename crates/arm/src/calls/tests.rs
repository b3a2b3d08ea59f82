//! Every call sends the published request and reads the published answer.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::arm::{Arm, ArmSettings};
use crate::error::ErrorClass;
use crate::http::Response;
use crate::http::Tag;
use crate::id::ResourceId;
use crate::model::{JobFilter, Lock};
use crate::poll::PollState;
use crate::poll::Sent;
use crate::testing::{Script, example, exchange, with_header};
use crate::token::StaticToken;
use azmend_base::clock::VirtualClock;

const SUB: &str = "11111111-1111-1111-1111-111111111111";

fn arm(script: &Script) -> Arm {
    let clock = VirtualClock::new("2026-11-20T09:00:00Z".parse().unwrap());
    let settings = ArmSettings { endpoint: "https://management.azure.com".parse().unwrap(), run_id: "r".into() };
    Arm::new(Arc::new(script.clone()), Arc::new(StaticToken::new("t", "t")), Arc::new(clock), settings).unwrap()
}

fn id(rest: &str) -> ResourceId {
    ResourceId::parse(&format!("/subscriptions/{SUB}{rest}")).unwrap()
}

fn tag() -> Tag {
    Tag { client_request_id: Uuid::from_u128(42) }
}

/// A resource group named like a type, a space, a letter of another alphabet.
const RG: &str = "/resourceGroups/vaults";
const ITEM: &str = "/resourceGroups/vaults/providers/Microsoft.RecoveryServices/vaults/my vault/backupFabrics/Azure/protectionContainers/IaasVMContainer;iaasvmcontainerv2;rg é;vm/protectedItems/VM;iaasvmcontainerv2;rg é;vm";

/// Every call, and the request line it must send.
#[tokio::test]
async fn every_call_sends_the_right_request() {
    let script = Script::new(|_| Ok(Response::json(200, &json!({ "value": [] }))));
    let arm = arm(&script);
    let group = id(RG);
    let vm = id(&format!("{RG}/providers/Microsoft.Compute/virtualMachines/web 01"));
    let rpc = id(&format!("{RG}/providers/Microsoft.Compute/restorePointCollections/AzureBackup_web_1"));
    let point = rpc.child("restorePoints", "AzureBackup_20260101_000000").unwrap();
    let extension = vm.child("extensions", "VMSnapshot").unwrap();
    let lock = rpc.resource("Microsoft.Authorization", "locks", "keep, it (é)").unwrap();
    let item = id(ITEM);
    let vault = item.up_to("vaults").unwrap();
    let policy = vault.child("backupPolicies", "daily").unwrap();
    let job = vault.child("backupJobs", "j").unwrap();
    let full = Lock { id: lock.clone(), level: "CanNotDelete".into(), notes: "n \"q\"".into(), owners: vec![] };
    let jobs = JobFilter {
        status: Some("InProgress".into()),
        since: Some("2026-11-19T00:00:00Z".parse().unwrap()),
        until: None,
    };
    let until: Timestamp = "2026-12-20T09:00:00.5Z".parse().unwrap();

    // What comes back does not matter here: `{ "value": [] }` is a list, and malformed as anything else.
    drop(arm.subscriptions().await);
    drop(arm.subscription(SUB).await);
    drop(arm.groups(SUB).await);
    drop(arm.group(&group).await);
    drop(arm.resources_in(&group).await);
    drop(arm.permissions(&vm).await);
    drop(arm.deny_assignments(&group).await);
    drop(arm.vms(&group).await);
    drop(arm.vms(&id("")).await);
    drop(arm.vm(&vm).await);
    drop(arm.instance_view(&vm).await);
    drop(arm.extensions(&vm).await);
    drop(arm.collections(&id("")).await);
    drop(arm.collections(&group).await);
    drop(arm.collection(&rpc).await);
    drop(arm.point(&point).await);
    drop(arm.locks(&id("")).await);
    drop(arm.locks_at(&rpc).await);
    drop(arm.lock(&lock).await);
    drop(arm.vaults(SUB).await);
    drop(arm.vault(&vault).await);
    drop(arm.resource_guarded(&vault).await);
    drop(arm.backup_status(&vm, "westeurope").await);
    drop(arm.protected_items(&vault).await);
    drop(arm.protected_item(&item).await);
    drop(arm.recovery_points(&item).await);
    drop(arm.policy(&policy).await);
    drop(arm.jobs(&vault, &jobs).await);
    drop(arm.job(&job).await);
    let query = crate::GraphQuery {
        text: "resources".into(),
        scope: crate::GraphScope::Tenant,
        page_size: 1000,
        skip_token: None,
    };
    drop(arm.graph_page(&query).await);
    drop(arm.delete_lock(&lock, &tag()).await);
    drop(arm.put_lock(&full, &tag()).await);
    drop(arm.delete_collection(&rpc, &tag()).await);
    drop(arm.delete_point(&point, &tag()).await);
    drop(arm.delete_extension(&extension, &tag()).await);
    drop(arm.start_backup(&item, until, &tag()).await);

    let group = format!("/subscriptions/{SUB}/resourceGroups/vaults");
    let (vm, rpc) = (format!("{group}/providers/Microsoft.Compute/virtualMachines/web%2001"), rpc.to_string());
    let vault = format!("{group}/providers/Microsoft.RecoveryServices/vaults/my%20vault");
    let item = format!(
        "{vault}/backupFabrics/Azure/protectionContainers/IaasVMContainer;iaasvmcontainerv2;rg%20%C3%A9;vm/protectedItems/VM;iaasvmcontainerv2;rg%20%C3%A9;vm"
    );
    let locks = format!("{rpc}/providers/Microsoft.Authorization/locks");
    let (c, b, r) = ("api-version=2024-07-01", "api-version=2024-04-01", "api-version=2021-04-01");
    let expected = [
        "GET /subscriptions?api-version=2022-12-01".to_owned(),
        format!("GET /subscriptions/{SUB}?api-version=2022-12-01"),
        format!("GET /subscriptions/{SUB}/resourcegroups?{r}"),
        format!("GET {group}?{r}"),
        format!("GET {group}/resources?{r}"),
        format!("GET {vm}/providers/Microsoft.Authorization/permissions?api-version=2022-04-01"),
        format!("GET {group}/providers/Microsoft.Authorization/denyAssignments?api-version=2022-04-01"),
        format!("GET {group}/providers/Microsoft.Compute/virtualMachines?{c}"),
        format!("GET /subscriptions/{SUB}/providers/Microsoft.Compute/virtualMachines?{c}"),
        format!("GET {vm}?{c}"),
        format!("GET {vm}/instanceView?{c}"),
        format!("GET {vm}/extensions?{c}&%24expand=instanceView"),
        format!("GET /subscriptions/{SUB}/providers/Microsoft.Compute/restorePointCollections?{c}"),
        format!("GET {group}/providers/Microsoft.Compute/restorePointCollections?{c}"),
        format!("GET {rpc}?{c}&%24expand=restorePoints"),
        format!("GET {rpc}/restorePoints/AzureBackup_20260101_000000?{c}&%24expand=instanceView"),
        format!("GET /subscriptions/{SUB}/providers/Microsoft.Authorization/locks?api-version=2020-05-01"),
        format!("GET {locks}?api-version=2020-05-01&%24filter=atScope%28%29"),
        format!("GET {locks}/keep,%20it%20(%C3%A9)?api-version=2020-05-01"),
        format!("GET /subscriptions/{SUB}/providers/Microsoft.RecoveryServices/vaults?{b}"),
        format!("GET {vault}?{b}"),
        format!("GET {vault}/backupResourceGuardProxies?{b}"),
        format!("POST /Subscriptions/{SUB}/providers/Microsoft.RecoveryServices/locations/westeurope/backupStatus?{b}"),
        format!(
            "GET {vault}/backupProtectedItems?{b}&%24filter=backupManagementType+eq+%27AzureIaasVM%27+and+itemType+eq+%27VM%27"
        ),
        format!("GET {item}?{b}"),
        format!("GET {item}/recoveryPoints?{b}"),
        format!("GET {vault}/backupPolicies/daily?{b}"),
        format!(
            "GET {vault}/backupJobs?{b}&%24filter=backupManagementType+eq+%27AzureIaasVM%27+and+status+eq+%27InProgress%27+and+startTime+eq+%272026-11-19+12%3A00%3A00+AM%27+and+endTime+eq+%272026-11-21+09%3A00%3A00+AM%27"
        ),
        format!("GET {vault}/backupJobs/j?{b}"),
        "POST /providers/Microsoft.ResourceGraph/resources?api-version=2021-03-01".to_owned(),
        format!("DELETE {locks}/keep,%20it%20(%C3%A9)?api-version=2020-05-01"),
        format!("PUT {locks}/keep,%20it%20(%C3%A9)?api-version=2020-05-01"),
        format!("DELETE {rpc}?{c}"),
        format!("DELETE {rpc}/restorePoints/AzureBackup_20260101_000000?{c}"),
        format!("DELETE {vm}/extensions/VMSnapshot?{c}"),
        format!("POST {item}/backup?{b}"),
    ];
    let log = script.log();
    for (got, wanted) in log.iter().zip(&expected) {
        assert_eq!(got, wanted);
    }
    assert_eq!(log.len(), expected.len());
    assert_eq!(arm.calls(), 36);

    let seen = script.seen();
    for request in &seen {
        assert_eq!(request.headers["authorization"], "Bearer t", "the SDK's dummy never leaves");
        assert_eq!(request.headers.get_all("user-agent").iter().count(), 1);
        let change = !super::super::readonly::only_reads(request);
        assert_eq!(request.headers["x-ms-client-request-id"] == tag().client_request_id.to_string(), change);
    }
    let body = |n: usize| serde_json::from_slice::<Value>(&seen[n].body).unwrap();
    let vm = vm.replace("%20", " ");
    assert_eq!(body(22), json!({ "resourceType": "VM", "resourceId": vm }));
    assert_eq!(body(31), json!({ "properties": { "level": "CanNotDelete", "notes": "n \"q\"" } }));
    let retain = json!({ "objectType": "IaasVMBackupRequest", "recoveryPointExpiryTimeInUTC": "2026-12-20T09:00:00Z" });
    assert_eq!(body(35), json!({ "properties": retain }));
}

#[tokio::test]
async fn the_wrong_kind_of_resource_is_refused_before_sending() {
    let script = Script::list(vec![]);
    let arm = arm(&script);
    let vm = id(&format!("{RG}/providers/Microsoft.Compute/virtualMachines/web"));
    let scale_set_vm = id(&format!("{RG}/providers/Microsoft.Compute/virtualMachineScaleSets/s/virtualMachines/web"));
    let unlocked = id(&format!("{RG}/providers/Microsoft.Authorization/locks/l"));
    let nothing = Lock { id: unlocked, level: "NotSpecified".into(), notes: String::new(), owners: vec![] };
    let refused = [
        arm.delete_collection(&vm, &tag()).await.unwrap_err(),
        arm.delete_point(&vm, &tag()).await.unwrap_err(),
        arm.delete_lock(&id(RG), &tag()).await.unwrap_err(),
        arm.delete_extension(&vm, &tag()).await.unwrap_err(),
        arm.start_backup(&vm, Timestamp::MAX, &tag()).await.unwrap_err(),
        arm.vm(&scale_set_vm).await.unwrap_err(),
        arm.vms(&vm).await.unwrap_err(),
        arm.group(&vm).await.unwrap_err(),
        arm.backup_status(&vm, "west/../europe").await.unwrap_err(),
        arm.subscription("not-a-guid").await.unwrap_err(),
        arm.raw_get("//evil.example/x").await.unwrap_err(),
        arm.jobs(&vm, &JobFilter { status: Some("x' or 1 eq 1".into()), ..JobFilter::default() }).await.unwrap_err(),
        arm.put_lock(&nothing, &tag()).await.unwrap_err(),
    ];
    for error in refused {
        assert_eq!(error.class(), ErrorClass::Refused, "{error}");
    }
    assert!(script.seen().is_empty(), "{:?}", script.log());
}

#[tokio::test]
async fn answers_to_changes() {
    let operation = "https://management.azure.com/subscriptions/11111111-1111-1111-1111-111111111111/providers/Microsoft.Compute/locations/westus/operations/o?p=1&s=secret";
    let accepted =
        with_header(with_header(Response::empty(202), "azure-asyncoperation", operation), "location", operation);
    let script = Script::list(vec![
        accepted,
        Response::json(200, &json!({ "status": "Succeeded" })),
        Response::empty(204),
        Response::empty(200),
        exchange("rg_delete_409_rg_lock_net").1,
        Response::json(201, &json!({ "properties": { "level": "ReadOnly" } })),
    ]);
    let arm = arm(&script);
    let rpc = id(&format!("{RG}/providers/Microsoft.Compute/restorePointCollections/c"));
    let Sent::Accepted(started) = arm.delete_collection(&rpc, &tag()).await.unwrap() else { panic!("accepted") };
    assert_eq!((&started.resource, started.wait().as_secs()), (&rpc, 5));
    assert!(matches!(arm.poll(&started).await.unwrap().state, PollState::Succeeded { .. }));
    assert_eq!(script.seen()[1].url.as_str(), operation);
    assert_eq!(arm.delete_collection(&rpc, &tag()).await.unwrap(), Sent::Done { status: 204 });
    let lock = rpc.resource("Microsoft.Authorization", "locks", "l").unwrap();
    assert_eq!(arm.delete_lock(&lock, &tag()).await.unwrap(), Sent::Done { status: 200 });
    let error = arm.delete_collection(&rpc, &tag()).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::ScopeLocked);
    assert_eq!(error.client_request_id, tag().client_request_id.to_string(), "the error came through the SDK whole");
    let lock = Lock { id: lock, level: "ReadOnly".into(), notes: String::new(), owners: vec![] };
    assert_eq!(arm.put_lock(&lock, &tag()).await.unwrap(), Sent::Done { status: 201 });
}

#[tokio::test]
async fn what_is_not_the_lock_that_was_asked_for_or_written_is_no_answer() {
    let level = |level: &str| Response::json(200, &json!({ "properties": { "level": level } }));
    let rpc = id(&format!("{RG}/providers/Microsoft.Compute/restorePointCollections/c"));
    let there = rpc.resource("Microsoft.Authorization", "locks", "l").unwrap();
    let lock = |name: &str| {
        let id = format!("{rpc}/providers/Microsoft.Authorization/locks/{name}");
        Response::json(200, &json!({ "id": id, "name": name, "properties": { "level": "ReadOnly" } }))
    };
    let script = Script::list(vec![
        Response::empty(204),
        Response::json(200, &json!({})),
        level("CanNotDelete"),
        level("readonly"),
        lock("other"),
        lock("L"),
    ]);
    let arm = arm(&script);
    let written = Lock { id: there.clone(), level: "ReadOnly".into(), notes: String::new(), owners: vec![] };
    for what in ["nothing", "an empty object", "another level"] {
        let error = arm.put_lock(&written, &tag()).await.unwrap_err();
        assert!(error.may_have_taken_effect(), "{what}: {error}");
    }
    assert_eq!(arm.put_lock(&written, &tag()).await.unwrap(), Sent::Done { status: 200 });
    let error = arm.lock(&there).await.unwrap_err();
    assert!(error.to_string().contains("locks/other"), "{error}");
    assert_eq!(arm.lock(&there).await.unwrap().id, there, "names are compared without case");
}

#[tokio::test]
async fn lists_and_documents_come_through_the_sdk_unharmed() {
    let next = format!(
        "https://management.azure.com/subscriptions/{SUB}/providers/Microsoft.Compute/restorePointCollections?$skiptoken=1"
    );
    let rpc = |name: &str| json!({ "id": format!("/subscriptions/{SUB}/resourceGroups/g/providers/Microsoft.Compute/restorePointCollections/{name}"), "properties": { "provisioningState": 7 } });
    let script = Script::list(vec![
        // The generated model would refuse an element without location, and a number as a state.
        Response::json(200, &json!({ "value": [rpc("a"), {}], "nextLink": next })),
        Response::json(200, &json!({ "value": [rpc("b")] })),
        Response::json(200, &example("collection_expanded_recorded")),
        Response::json(200, &json!({ "value": null })),
        Response::json(200, &json!({ "value": [{ "any": "thing" }] })),
        exchange("vm_404_ARM_ResourceNotFound").1,
    ]);
    let arm = arm(&script);
    let listing = arm.collections(&id("")).await.unwrap();
    assert_eq!((listing.items.len(), listing.malformed.len()), (2, 1));
    assert!(!listing.is_complete());
    let collection = arm.collection(&listing.items[0].id).await.unwrap();
    assert_eq!(collection.points().len(), 1);
    let vault = id(&format!("{RG}/providers/Microsoft.RecoveryServices/vaults/v"));
    assert!(!arm.resource_guarded(&vault).await.unwrap());
    assert!(arm.resource_guarded(&vault).await.unwrap());
    let vm = id(&format!("{RG}/providers/Microsoft.Compute/virtualMachines/web"));
    assert_eq!(arm.vm(&vm).await.unwrap_err().class(), ErrorClass::NotFound);
}

#[test]
fn job_filters() {
    let now: Timestamp = "2026-11-20T15:04:05Z".parse().unwrap();
    let odata = |filter: JobFilter| filter.odata(now).unwrap();
    assert_eq!(odata(JobFilter::default()), "backupManagementType eq 'AzureIaasVM'");
    let until = odata(JobFilter { until: Some(now), ..JobFilter::default() });
    assert_eq!(
        until,
        "backupManagementType eq 'AzureIaasVM' and startTime eq '2026-08-22 03:04:05 PM' and endTime eq '2026-11-20 03:04:05 PM'"
    );
}

#[test]
fn futures_can_be_spawned_and_are_small() {
    fn check<F: Future + Send>(future: F) -> usize {
        size_of_val(&future)
    }
    let script = Script::list(vec![]);
    let arm = arm(&script);
    let scope = id("");
    assert!(check(arm.vms(&scope)) < 4096);
    assert!(check(arm.delete_collection(&scope, &tag())) < 4096);
    assert!(check(arm.subscriptions()) < 8192, "{}", check(arm.subscriptions()));
}

/// The bodies of the contract's examples ConfigureProtection and StopProtection, and of azure-cli's recording: nothing
/// else is in them, no null either.
#[tokio::test]
async fn protection_is_written_as_the_contract_shows_it() {
    let script = Script::new(|_| Ok(Response::json(200, &json!({ "value": [] }))));
    let arm = arm(&script);
    let (item, vm) = (id(ITEM), id(&format!("{RG}/providers/Microsoft.Compute/virtualMachines/web 01")));
    let vault = item.up_to("vaults").unwrap();
    let policy = vault.child("backupPolicies", "daily").unwrap();
    drop(arm.policies(&vault).await);
    arm.resume_protection(&item, vm.as_str(), &policy, &tag()).await.unwrap();
    arm.stop_protection(&item, vm.as_str(), false, &tag()).await.unwrap();
    arm.stop_protection(&item, vm.as_str(), true, &tag()).await.unwrap();
    let log = script.log();
    assert!(
        log[0].starts_with("GET ")
            && log[0].ends_with(
                "/backupPolicies?api-version=2024-04-01&%24filter=backupManagementType+eq+%27AzureIaasVM%27"
            ),
        "{log:?}"
    );
    assert!(log[1..].iter().all(|line| line.starts_with("PUT ") && line.contains("/protectedItems/")), "{log:?}");
    let seen = script.seen();
    let body = |n: usize| serde_json::from_slice::<Value>(&seen[n].body).unwrap()["properties"].clone();
    let kind = "Microsoft.Compute/virtualMachines";
    assert_eq!(body(1), json!({ "protectedItemType": kind, "sourceResourceId": vm, "policyId": policy }));
    let stopped = json!({ "protectedItemType": kind, "sourceResourceId": vm, "protectionState": "ProtectionStopped" });
    assert_eq!(body(2), stopped);
    let mut without = stopped;
    without["policyId"] = json!("");
    assert_eq!(body(3), without);
    // Neither a policy nor a disk is the source of an item.
    for source in [policy.as_str(), "", "../x"] {
        assert!(arm.resume_protection(&item, source, &policy, &tag()).await.is_err(), "{source}");
    }
    assert_eq!(script.seen().len(), 4);
}
