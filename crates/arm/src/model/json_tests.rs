//! What recorded answers are read as, and what makes one unreadable.

use serde_json::json;

use super::*;
use crate::model::{
    BackupStatus, Collection, CopyState, Extension, InstanceView, Job, Point, Policy, ProtectedItem, RecoveryPoint,
    Vault, Vm,
};
use crate::testing::example;

fn read<T: FromWire>(name: &str) -> T {
    T::from_wire(&example(name)).unwrap_or_else(|why| panic!("{name}: {why}"))
}

fn list<T: FromWire>(name: &str) -> Vec<T> {
    let body = example(name);
    let items = body["value"].as_array().unwrap().iter();
    items.map(|item| T::from_wire(item).unwrap_or_else(|why| panic!("{name}: {why}"))).collect()
}

#[test]
fn times_as_azure_writes_them() {
    for (text, expected) in [
        ("2017-08-03T05:31:07.014604Z", Some("2017-08-03T05:31:07.014604Z")),
        ("2024-08-26T10:03:08.6322667+00:00", Some("2024-08-26T10:03:08.6322667Z")),
        ("2018-08-01T13:54:42.3182228-07:00", Some("2018-08-01T20:54:42.3182228Z")),
        ("2018-08-01T13:54:42.3182228", Some("2018-08-01T13:54:42.3182228Z")),
        ("0001-01-01T00:00:00", None),
        ("0001-01-01T00:00:00Z", None),
        ("2001-01-01T00:00:00Z", None),
        ("", None),
        ("soon", None),
    ] {
        assert_eq!(parse_time(text), expected.map(|t| t.parse().unwrap()), "{text}");
    }
}

#[test]
fn a_recorded_collection_with_points() {
    let collection: Collection = read("collection_expanded_recorded");
    assert_eq!(collection.collection_id, "82a23c1b-dfc6-490e-b908-6dc4ae5f07f1");
    assert!(collection.source_id().unwrap().is_type("Microsoft.Compute/virtualMachines"));
    let [point] = collection.points() else { panic!("one point") };
    assert!(point.succeeded());
    assert_eq!(point.created, parse_time("2024-08-26T10:03:08.6322667Z"));
    assert_eq!(point.vm_id, "7538495b-2f22-4248-8e58-0cfb75a5316e");
    assert_eq!(point.consistency, "CrashConsistent");
    let example: Collection = read("collection_expanded_example");
    assert_eq!(example.points().len(), 1);
}

#[test]
fn one_unreadable_point_makes_the_collection_unreadable() {
    let mut body = example("collection_expanded_recorded");
    body["properties"]["restorePoints"].as_array_mut().unwrap().push(json!({ "name": "no id" }));
    assert!(Collection::from_wire(&body).unwrap_err().to_string().contains("it has no id"));
    let foreign = body["properties"]["restorePoints"][0]["id"].as_str().unwrap().replace("collection_000002", "other");
    body["properties"]["restorePoints"][1]["id"] = foreign.into();
    assert!(Collection::from_wire(&body).unwrap_err().to_string().contains("is not in it"));
    body["properties"]["restorePoints"] = json!(null);
    assert_eq!(Collection::from_wire(&body).unwrap().points, None);
    body["properties"]["restorePoints"] = json!([]);
    assert_eq!(Collection::from_wire(&body).unwrap().points, Some(vec![]));
}

#[test]
fn the_progress_of_a_copy() {
    let mut body = example("point_with_instance_view");
    let point = Point::from_wire(&body).unwrap();
    assert_eq!(point.copy_percent, None, "100 % is a finished copy");
    body["properties"]["instanceView"]["diskRestorePoints"][0]["replicationStatus"]["completionPercent"] = json!(40);
    assert_eq!(Point::from_wire(&body).unwrap().copy_percent, Some(40));
    let state = |view: serde_json::Value| {
        let mut body = example("point_with_instance_view");
        body["properties"]["instanceView"] = view;
        Point::from_wire(&body).unwrap().copy_state()
    };
    let disk = |status: serde_json::Value| json!({ "diskRestorePoints": [{ "id": "d", "replicationStatus": status }] });
    let code = |code: &str| json!({ "code": code, "level": "Info" });
    let replicating = code("ReplicationState/replicating");
    let (done, open) = (CopyState::Finished, |percent| CopyState::Unfinished { percent });
    for (view, expected) in [
        (json!(null), CopyState::Unread),
        (json!("x"), CopyState::Unread),
        (json!({}), done),
        (json!({ "diskRestorePoints": [], "statuses": [] }), done),
        (json!({ "diskRestorePoints": [{ "id": "d" }] }), done),
        (disk(json!({ "status": code("ReplicationState/succeeded"), "completionPercent": 100 })), done),
        (disk(json!({ "completionPercent": 0 })), open(0)),
        (disk(json!({ "status": replicating, "completionPercent": 0 })), open(0)),
        (disk(json!({ "status": replicating })), open(0)),
        (disk(json!({ "status": replicating, "completionPercent": 100 })), open(99)),
        (disk(json!({ "status": code("ReplicationState/failed"), "completionPercent": 7 })), open(7)),
        (json!({ "statuses": [replicating] }), open(0)),
    ] {
        assert_eq!(state(view.clone()), expected, "{view}");
    }
    let expanded = Collection::from_wire(&example("collection_expanded_recorded")).unwrap();
    assert_eq!(expanded.points()[0].copy_state(), CopyState::Unread, "a collection never carries it");
}

#[test]
fn an_instance_view_alone_and_inside_a_vm() {
    let view: InstanceView = read("instance_view_example");
    assert!(view.agent.unwrap().is_ready());
    assert_eq!(view.handlers[0].kind, "Microsoft.Azure.Security.IaaSAntimalware");
    let view: InstanceView = read("vm_failed_extension");
    assert_eq!(view.power, "running");
    assert_eq!(view.handlers[0].status.code, "ProvisioningState/NotReady/1007");
    assert_eq!(view.extensions[0].statuses[0].code, "ProvisioningState/failed/1");
    assert!(view.extensions[0].statuses[0].is_failed());
    let vm: Vm = read("vm_failed_extension");
    assert_eq!(vm.vm_id, "de52f745-9b1d-4078-97dd-ac3a3b378b20");
    assert_eq!((vm.os_type.as_str(), vm.managed_disks), ("Windows", true));
    let unmanaged =
        json!({ "id": vm.id.as_str(), "properties": { "storageProfile": { "osDisk": { "vhd": { "uri": "x" } } } } });
    assert!(!Vm::from_wire(&unmanaged).unwrap().managed_disks);
}

#[test]
fn both_vmsnapshot_handlers_are_seen() {
    for kind in ["Microsoft.Azure.RecoveryServices.VMSnapshot", "Microsoft.Azure.RecoveryServices.VMSnapshotLinux"] {
        let view = InstanceView::from_wire(&json!({ "vmAgent": { "statuses": null, "extensionHandlers": [
            { "type": kind, "typeHandlerVersion": "1.0.2", "status": { "code": "ProvisioningState/failed/1007", "level": "Error" } }, 7 ] } }))
        .unwrap();
        assert_eq!((view.handlers.len(), view.handlers[0].kind.as_str()), (1, kind));
        assert!(view.handlers[0].status.is_failed());
        assert!(!view.agent.unwrap().is_ready());
    }
}

#[test]
fn backup_resources() {
    let vault: Vault = read("vault");
    assert_eq!(vault.location, "westus");
    let status: BackupStatus = read("backup_status");
    assert_eq!((status.protection_status.as_str(), status.error_code.as_str()), ("Protected", "Success"));
    assert_eq!(status.item, "vm;iaasvmcontainerv2;testRg;testVm");
    let item: ProtectedItem = read("protected_item");
    assert!(item.vault_id().is_some() && !item.soft_deleted && item.last_backup_time.is_some());
    let items: Vec<ProtectedItem> = list("items_agent_unavailable");
    assert_eq!(items[0].health_details[0].title, "UserErrorGuestAgentStatusUnavailable");
    assert_eq!(items[0].health_details[0].code, 400_196);
    let points: Vec<RecoveryPoint> = list("recovery_points");
    assert_eq!(points.iter().map(RecoveryPoint::hardened).collect::<Vec<_>>(), [true, false, true]);
    assert!(points[2].valid_in("InstantRP"));
    assert_eq!(points[0].file_recovery_active, Some(false));
}

#[test]
fn tiers_come_as_words_or_as_numbers() {
    let point = |kind: serde_json::Value, status: serde_json::Value| {
        let id = "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/g/providers/Microsoft.RecoveryServices/vaults/v/backupFabrics/f/protectionContainers/c/protectedItems/i/recoveryPoints/1";
        let tiers = json!([{ "type": kind, "status": status }]);
        RecoveryPoint::from_wire(&json!({ "id": id, "properties": { "recoveryPointTierDetails": tiers } })).unwrap()
    };
    for (kind, status, tier, hardened) in [
        (json!("HardenedRP"), json!("Valid"), "HardenedRP", true),
        (json!("hardenedrp"), json!("valid"), "HardenedRP", true),
        (json!(2), json!(1), "HardenedRP", true),
        (json!("2"), json!("1"), "HardenedRP", true),
        (json!(1), json!(1), "InstantRP", false),
        (json!(3), json!(1), "ArchivedRP", false),
        (json!(3), json!(4), "ArchivedRP", false),
        (json!(2), json!(2), "HardenedRP", false),
        (json!(2), json!(3), "HardenedRP", false),
        (json!(2), json!(9), "HardenedRP", false),
        (json!(0), json!(1), "Invalid", false),
        (json!(7), json!(1), "7", false),
        (json!(-2), json!(1), "-2", false),
        (json!(2.5), json!(1), "2.5", false),
        (json!(null), json!(1), "", false),
        (json!("VaultStandard"), json!("Valid"), "VaultStandard", false),
    ] {
        let point = point(kind.clone(), status.clone());
        assert_eq!((point.tiers[0].kind.as_str(), point.hardened()), (tier, hardened), "{kind} {status}");
        assert_eq!(point.valid_in("InstantRP"), tier == "InstantRP", "{kind} {status}");
    }
}

#[test]
fn a_job_ended_only_in_a_state_that_is_an_end() {
    let mut job: Job = read("job_details");
    for (status, running) in [
        ("Completed", false),
        ("completedwithwarnings", false),
        ("Failed", false),
        ("Cancelled", false),
        ("Canceled", false),
        ("InProgress", true),
        ("Cancelling", true),
        ("Invalid", true),
        ("Suspended", true),
        ("", true),
    ] {
        job.status = status.into();
        assert_eq!(job.running(), running, "{status}");
    }
}

#[test]
fn policies_of_both_kinds() {
    let daily: Policy = read("policy_v2_daily");
    assert!(daily.enhanced());
    assert_eq!((daily.snapshot_days(), daily.time_zone.as_str()), (30, "Pacific Standard Time"));
    assert_eq!(daily.schedule.times, ["10:00"]);
    let hourly: Policy = read("policy_v2_hourly");
    let schedule = &hourly.schedule;
    assert_eq!((schedule.interval_hours, schedule.window_hours), (4, 16));
    assert_eq!((schedule.frequency.as_str(), &*schedule.times), ("Hourly", &["08:00".to_owned()][..]));
    let standard: Vec<Policy> = list("policy_list_v1");
    assert!(!standard[0].enhanced());
    assert!(!standard[0].schedule.times.is_empty());
    let weekly = json!({ "id": standard[0].id.as_str(), "properties": {
        "instantRpRetentionRangeInDays": "5",
        "instantRPDetails": { "azureBackupRGNamePrefix": "rg-bk-", "azureBackupRGNameSuffix": "-x" },
        "schedulePolicy": { "scheduleRunFrequency": "Weekly", "scheduleRunDays": ["Sunday"], "scheduleRunTimes": ["2018-01-24T23:30:00+00:00", "bad"] } } });
    let weekly = Policy::from_wire(&weekly).unwrap();
    assert_eq!((weekly.policy_type.as_str(), weekly.snapshot_days()), ("V1", 5));
    assert_eq!((weekly.group_prefix.as_str(), weekly.group_suffix.as_str()), ("rg-bk-", "-x"));
    assert_eq!(
        (&*weekly.schedule.days, &*weekly.schedule.times),
        (&["Sunday".to_owned()][..], &["23:30".to_owned()][..])
    );
}

#[test]
fn jobs() {
    let jobs: Vec<Job> = list("jobs_list");
    assert!(jobs[0].running() && jobs[0].end.is_none() && !jobs[1].running());
    assert_eq!(jobs[1].operation, "ConfigureBackup");
    let job: Job = read("job_details");
    assert_eq!(job.task("take snapshot"), Some("InProgress"));
    assert_eq!(job.user_triggered, None);
    let job: Job = read("job_failed_transfer");
    assert_eq!((job.errors[0].code, job.errors[0].title.as_str()), (400_309, "UserErrorGenericResourceNotFound"));
    assert_eq!(job.task("Transfer data to vault"), Some("Failed"));
    assert_eq!(job.container, "iaasvmcontainerv2;clitest.rg000001;clitest-vm000003");
}

#[test]
fn scopes_and_locks() {
    let locks: Vec<Lock> = list("locks_list");
    assert_eq!(locks[0].level, "ReadOnly");
    assert_eq!(locks[0].scope().resource_group(), Some("resourcegroupname"));
    let lock = json!({ "id": locks[0].id.as_str(), "properties": { "level": "CanNotDelete", "notes": "n", "owners": [{ "applicationId": "a" }] } });
    assert_eq!(Lock::from_wire(&lock).unwrap().owners, ["a"]);
    let groups: Vec<Group> = list("groups_managed_by_backup");
    assert!(groups[0].managed_by.contains("Microsoft.RecoveryServices"));
    let extensions: Vec<Extension> = list("extension_list");
    assert!(!extensions[0].publisher.is_empty() && !extensions[0].message.is_empty());
    let guid = "11111111-1111-1111-1111-111111111111";
    let by_id =
        Subscription::from_wire(&json!({ "id": format!("/subscriptions/{guid}"), "displayName": null })).unwrap();
    assert_eq!((by_id.id.as_str(), by_id.name.as_str()), (guid, ""));
    let deny = json!({ "id": "/x", "properties": { "denyAssignmentName": "n", "isSystemProtected": true, "permissions": [
        { "actions": ["*/delete"], "notActions": ["a", "b"] }, { "actions": ["*/write"], "notActions": ["b"] } ] } });
    let deny = DenyAssignment::from_wire(&deny).unwrap();
    assert_eq!(
        (&*deny.actions, &*deny.not_actions),
        (&["*/delete".to_owned(), "*/write".to_owned()][..], &["b".to_owned()][..])
    );
}

#[test]
fn only_an_unusable_identity_is_malformed() {
    let id = "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/rg/providers/Microsoft.RecoveryServices/vaults/v/backupJobs/j";
    let odd = json!({ "id": id, "properties": { "status": 7, "startTime": {}, "errorDetails": [null, 3, { "errorCode": "x" }],
        "extendedInfo": null, "isUserTriggered": "True", "new": [1] }, "extra": true });
    let job = Job::from_wire(&odd).unwrap();
    assert_eq!((job.status.as_str(), job.start, job.errors.len(), job.user_triggered), ("7", None, 1, Some(true)));
    for bad in [
        json!(null),
        json!([]),
        json!({}),
        json!({ "id": 3 }),
        json!({ "id": "/subscriptions/x" }),
        json!({ "id": format!("{id}/../../../x/y") }),
    ] {
        assert!(Job::from_wire(&bad).is_err(), "{bad}");
    }
    assert!(Lock::from_wire(&json!({ "id": id })).is_err(), "a job is not a lock");
}
