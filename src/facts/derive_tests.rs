//! What follows from the facts, and what is not known when a part is unread.

use super::*;
use crate::arm::model::{Agent, Group, Handler, JobError, ProtectedItem, RecoveryPoint, Schedule, Tier, Vault, Vm};
use crate::facts::vm_facts::Rights;

const SUB: &str = "11111111-1111-1111-1111-111111111111";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn now() -> Timestamp {
    at("2026-11-20T09:00:00Z")
}

fn known<T>(value: T) -> Part<T> {
    Part::Known { at: now(), value }
}

fn unread<T>(why: &str) -> Part<T> {
    Part::Unread { why: why.into() }
}

fn group(name: &str) -> ResourceId {
    ResourceId::group(SUB, name).unwrap()
}

fn vm_id() -> ResourceId {
    ResourceId::vm(SUB, "prod", "web-01").unwrap()
}

fn collection(group_name: &str, name: &str, points: &[(&str, &str)]) -> Collection {
    let id = group(group_name).resource("Microsoft.Compute", "restorePointCollections", name).unwrap();
    let point = |(name, state): &(&str, &str)| Point {
        id: id.child("restorePoints", name).unwrap(),
        created: crate::facts::groups::point_time(name),
        provisioning_state: (*state).into(),
        consistency: String::new(),
        vm_id: "vm-1".into(),
        copied_from: String::new(),
        copy_percent: None,
        with_view: false,
    };
    Collection {
        location: "westeurope".into(),
        source: vm_id().to_string().to_uppercase().replace("/SUBSCRIPTIONS", "/subscriptions"),
        collection_id: "c-1".into(),
        provisioning_state: "Succeeded".into(),
        points: Some(points.iter().map(point).collect()),
        id,
    }
}

fn lock(scope: &ResourceId, level: &str) -> Lock {
    let id = scope.resource("Microsoft.Authorization", "locks", &format!("keep-{level}")).unwrap();
    Lock { id, level: level.into(), notes: String::new(), owners: Vec::new() }
}

fn policy() -> Policy {
    let vault = group("vaults").resource("Microsoft.RecoveryServices", "vaults", "v").unwrap();
    Policy {
        id: vault.child("backupPolicies", "p").unwrap(),
        policy_type: "V1".into(),
        snapshot_days: Some(2),
        group_prefix: String::new(),
        group_suffix: String::new(),
        schedule: Schedule { frequency: "Daily".into(), times: vec!["02:00".into()], ..Schedule::default() },
        time_zone: "UTC".into(),
    }
}

fn job(name: &str, status: &str, end: Option<Timestamp>, errors: Vec<JobError>) -> Job {
    Job {
        id: policy().id.up_to("vaults").unwrap().child("backupJobs", name).unwrap(),
        operation: "Backup".into(),
        status: status.into(),
        start: Some(end.unwrap_or_else(now)),
        end,
        vm_name: "web-01".into(),
        container: String::new(),
        user_triggered: None,
        errors,
        dynamic_error: String::new(),
        tasks: Vec::new(),
    }
}

fn item() -> ItemFacts {
    let vault = policy().id.up_to("vaults").unwrap();
    let id = vault.child("backupFabrics", "Azure").unwrap().child("protectionContainers", "c;g;web-01").unwrap();
    ItemFacts {
        began_together: 0,
        item: ProtectedItem {
            id: id.child("protectedItems", "VM;c;g;web-01").unwrap(),
            source: vm_id().to_string(),
            policy_id: policy().id.to_string(),
            protection_state: "Protected".into(),
            health: "Passed".into(),
            health_details: Vec::new(),
            last_backup_status: "Failed".into(),
            last_backup_time: Some(now()),
            last_recovery_point: None,
            soft_deleted: false,
        },
        vault: known(Vault {
            id: vault,
            location: "westeurope".into(),
            immutability: "Unlocked".into(),
            multi_user_authorization: String::new(),
        }),
        resource_guard: known(false),
        policy: known(policy()),
        recovery_points: known(vec![RecoveryPoint {
            id: policy().id.child("recoveryPoints", "1").unwrap(),
            time: Some(at("2026-11-15T02:00:00Z")),
            consistency: String::new(),
            tiers: vec![Tier { kind: "HardenedRP".into(), status: "Valid".into() }],
            file_recovery_active: None,
        }]),
        jobs: known(Vec::new()),
    }
}

fn handler(kind: &str, code: &str, level: &str, display: &str) -> Handler {
    let status = Status { code: code.into(), level: level.into(), display: display.into(), ..Status::default() };
    Handler { kind: kind.into(), version: "1.0".into(), status }
}

fn facts() -> VmFacts {
    let backup = collection(
        "AzureBackupRG_westeurope_1",
        "AzureBackup_web-01_123456789",
        &[
            ("AzureBackup_20261118_020000", "Succeeded"),
            ("AzureBackup_20261119_020000", "Succeeded"),
            ("AzureBackup_20261120_020000", "Failed"),
        ],
    );
    let third_party = collection("prod", "veeam-web-01", &[("snap-1", "Succeeded")]);
    let empty = collection("AzureBackupRG_westeurope_1", "AzureBackup_web-01_1", &[]);
    let home = GroupFacts {
        group: Group {
            id: group("AzureBackupRG_westeurope_1"),
            location: "westeurope".into(),
            managed_by: String::new(),
        },
        others: known(Vec::new()),
        collections: known(vec![backup.clone()]),
    };
    VmFacts {
        id: vm_id(),
        at: now(),
        vm: known(Vm {
            id: vm_id(),
            location: "westeurope".into(),
            vm_id: "vm-1".into(),
            provisioning_state: "Succeeded".into(),
            os_type: "Linux".into(),
            managed_disks: true,
            size: String::new(),
            disks: Vec::new(),
            interfaces: Vec::new(),
            encryption: Vec::new(),
        }),
        instance: known(InstanceView {
            power: "running".into(),
            agent: Some(Agent {
                version: "2.9".into(),
                status: Status {
                    code: "ProvisioningState/succeeded".into(),
                    display: "Ready".into(),
                    time: Some(at("2026-11-20T08:50:30Z")),
                    ..Status::default()
                },
            }),
            handlers: vec![handler(
                "Microsoft.Azure.RecoveryServices.VMSnapshotLinux",
                "ProvisioningState/succeeded",
                "Info",
                "Ready",
            )],
            ..InstanceView::default()
        }),
        extensions: known(Vec::new()),
        status: Part::not_asked(),
        items: known(vec![item()]),
        collections: known(vec![backup, third_party, empty]),
        groups: known(vec![home]),
        locks: known(Vec::new()),
        deny: known(Vec::new()),
        rights: Vec::<Rights>::new(),
        key_vaults: known(Vec::new()),
        orphan: None,
        vaults: Vec::new(),
        former: Vec::new(),
        own_jobs: Vec::new(),
    }
}

fn view(facts: &VmFacts) -> View {
    View::of(facts, &StaleCounts::default(), now())
}

fn edit(facts: &mut VmFacts, edit: impl FnOnce(&mut ItemFacts)) {
    if let Part::Known { value, .. } = &mut facts.items {
        edit(&mut value[0]);
    }
}

#[test]
fn a_well_read_vm() {
    let stale = StaleCounts { expired: 3, superseded: 2, orphaned: 1 };
    let view = View::of(&facts(), &stale, now());
    assert_eq!(view.unread, BTreeMap::new());
    assert_eq!(
        (view.vm.name.as_str(), view.vm.os.as_str(), view.vm.power.as_str(), view.vm.exists),
        ("web-01", "Linux", "running", true)
    );
    assert_eq!((view.agent.ready, view.agent.reported_minutes_ago), (true, 9));
    assert_eq!((view.vmsnapshot.present, view.vmsnapshot.state.as_str()), (true, "Ready"));
    let points = &view.points;
    assert_eq!(
        (points.count, points.failed, points.collections, points.limit),
        (2, 1, 1, 18),
        "only Backup's points count"
    );
    assert_eq!((points.expired, points.superseded, points.orphaned, points.newest_hours_ago), (3, 2, 1, 31));
    assert_eq!((view.policy.kind.as_str(), view.policy.snapshot_days, view.policy.enhanced), ("V1", 2, false));
    assert_eq!((view.vault.name.as_str(), view.vault.immutable, view.vault.guarded), ("v", true, false));
    assert_eq!((view.backup.protected, view.backup.item_count, view.backup.last_backup_days_ago), (true, 1, 5));
}

#[test]
fn every_unread_part_marks_its_paths_and_only_those() {
    let why = "403 somewhere";
    type Change = fn(&mut VmFacts, &str);
    let cases: [(&str, Change, &[&str], &[&str]); 11] = [
        ("vm", |f, w| f.vm = unread(w), &["vm.exists", "vm.os"], &["vm.power", "points.count", "agent.ready"]),
        (
            "instance",
            |f, w| f.instance = unread(w),
            &["vm.power", "agent.ready", "vmsnapshot.state", "extensions.failed"],
            &["vm.exists", "points.count"],
        ),
        (
            "extensions",
            |f, w| f.extensions = unread(w),
            &["vmsnapshot.state", "extensions.other_failed"],
            &["agent.ready"],
        ),
        (
            "items",
            |f, w| f.items = unread(w),
            &["backup.last_error", "backup.running", "policy.type", "vault.name", "points.limit", "points.expired"],
            &["points.count", "locks.total"],
        ),
        (
            "collections",
            |f, w| f.collections = unread(w),
            &["points.count", "points.expired", "points.superseded", "locks.collections"],
            &["points.limit", "locks.backup_groups", "locks.subscription"],
        ),
        (
            "groups",
            |f, w| f.groups = unread(w),
            &["locks.backup_groups", "locks.total"],
            &["points.count", "locks.subscription"],
        ),
        (
            "locks",
            |f, w| f.locks = unread(w),
            &["locks.backup_groups", "locks.vm", "locks.subscription"],
            &["points.count"],
        ),
        (
            "policy",
            |f, w| edit(f, |i| i.policy = unread(w)),
            &["policy.type", "points.limit", "points.expired"],
            &["points.count", "backup.state"],
        ),
        (
            "recovery points",
            |f, w| {
                let at = f.at;
                edit(f, |i| {
                    i.recovery_points = unread(w);
                    // Otherwise the item and its jobs say it.
                    i.item.last_backup_status = "Failed".into();
                    i.jobs = Part::Known { at, value: Vec::new() };
                });
            },
            &["backup.last_backup_days_ago"],
            &["backup.last_error"],
        ),
        (
            "jobs",
            |f, w| edit(f, |i| i.jobs = unread(w)),
            &["backup.last_error", "backup.last_error_id", "backup.running"],
            &["backup.state", "points.limit"],
        ),
        (
            "guard",
            |f, w| edit(f, |i| i.resource_guard = unread(w)),
            &["vault.guarded"],
            &["vault.immutable", "vault.name"],
        ),
    ];
    for (name, change, unread_paths, known_paths) in cases {
        let mut facts = facts();
        change(&mut facts, why);
        let view = view(&facts);
        for path in unread_paths {
            assert_eq!(view.unread(path), Some(why), "{name}: {path}");
        }
        for path in known_paths {
            assert_eq!(view.unread(path), None, "{name}: {path}");
        }
    }
}

#[test]
fn the_limit_follows_the_policy() {
    let mut enhanced = policy();
    (enhanced.policy_type, enhanced.snapshot_days) = ("V2".into(), None);
    assert_eq!(points_limit(&enhanced), Ok(10), "7 days, daily, and three");
    enhanced.schedule = Schedule {
        frequency: "Hourly".into(),
        times: vec!["08:00".into()],
        interval_hours: 4,
        window_hours: 24,
        ..Schedule::default()
    };
    enhanced.snapshot_days = Some(17);
    assert_eq!(points_limit(&enhanced), Ok(17 * 6 + 3));
    enhanced.schedule.times.clear();
    let mut with_unknown = facts();
    edit(&mut with_unknown, |item| item.policy = known(enhanced));
    assert!(view(&with_unknown).unread("points.limit").unwrap().contains("names no time of day"));
    let mut without = facts();
    edit(&mut without, |item| item.policy = Part::Absent { at: now() });
    assert!(view(&without).unread("points.limit").is_some() && view(&without).unread("policy").is_none());
    let mut unprotected = facts();
    unprotected.items = known(Vec::new());
    assert_eq!((view(&unprotected).points.limit, view(&unprotected).unread("points.limit")), (18, None));
}

#[test]
fn points_expire_two_days_after_their_retention() {
    assert_eq!(expires(at("2026-11-10T00:00:00Z"), &policy()), at("2026-11-14T00:00:00Z"));
}

#[test]
fn vmsnapshot_is_found_wherever_it_shows() {
    let state_of = |instance: InstanceView, resources: Vec<Extension>| {
        let mut facts = facts();
        (facts.instance, facts.extensions) = (known(instance), known(resources));
        let view = view(&facts);
        (view.vmsnapshot.state, view.extensions.failed, view.extensions.other_failed)
    };
    let with = |code: &str, level: &str, display: &str| InstanceView {
        handlers: vec![handler("Microsoft.Azure.RecoveryServices.VMSnapshot", code, level, display)],
        ..InstanceView::default()
    };
    let resource = |kind: &str, state: &str| Extension {
        encryption: Vec::new(),
        id: vm_id().child("extensions", kind).unwrap(),
        publisher: "Microsoft.Azure.RecoveryServices".into(),
        kind: kind.into(),
        version: "1".into(),
        provisioning_state: state.into(),
        message: String::new(),
    };
    let none: Vec<String> = Vec::new();
    let failed = vec!["VMSnapshot".to_owned()];
    assert_eq!(state_of(InstanceView::default(), vec![]), (String::new(), none.clone(), 0));
    assert_eq!(
        state_of(with("ProvisioningState/NotReady/1007", "Info", "Not Ready"), vec![]),
        ("NotReady".into(), none.clone(), 0)
    );
    assert_eq!(
        state_of(with("ProvisioningState/failed/1", "Error", "Not Ready"), vec![]),
        ("Failed".into(), failed.clone(), 0)
    );
    let both = state_of(with("ProvisioningState/succeeded", "Info", "Ready"), vec![resource("VMSnapshot", "Failed")]);
    assert_eq!(both, ("Failed".into(), failed, 0), "the worst counts, and once");
    let mut other = resource("CustomScript", "Failed");
    other.publisher = "Microsoft.Azure.Extensions".into();
    assert_eq!(state_of(InstanceView::default(), vec![other]), (String::new(), vec!["CustomScript".into()], 1));
}

#[test]
fn a_failed_vmsnapshot_is_known_although_the_other_source_is_unread() {
    let mut facts = facts();
    facts.extensions = unread("403");
    if let Part::Known { value, .. } = &mut facts.instance {
        value.handlers[0].status.code = "ProvisioningState/failed/1".into();
    }
    let view = view(&facts);
    assert_eq!((view.vmsnapshot.state.as_str(), view.unread("vmsnapshot.state")), ("Failed", None));
    assert!(view.unread("extensions.other_failed").is_some());
}

#[test]
fn the_error_is_of_the_newest_finished_backup() {
    let error = |title: &str, code: i64| JobError { title: title.into(), code, ..JobError::default() };
    let errors_of = |jobs: Vec<Job>| {
        let mut facts = facts();
        edit(&mut facts, |item| item.jobs = known(jobs));
        let view = view(&facts);
        (view.backup.last_status, view.backup.last_error, view.backup.last_error_id, view.backup.running)
    };
    let yesterday = Some(at("2026-11-19T03:00:00Z"));
    let today = Some(at("2026-11-20T03:00:00Z"));
    let limit = || vec![error("usererrorRPCollectionLimitReached", 0)];
    assert_eq!(
        errors_of(vec![job("1", "Failed", today, limit()), job("2", "Completed", yesterday, vec![])]),
        ("Failed".into(), "UserErrorRpCollectionLimitReached".into(), 0, false)
    );
    assert_eq!(
        errors_of(vec![
            job("1", "Failed", yesterday, limit()),
            job("2", "Completed", today, vec![]),
            job("3", "InProgress", None, vec![])
        ]),
        ("Completed".into(), String::new(), 0, true)
    );
    let numeric = errors_of(vec![job("1", "Failed", today, vec![error("", 400_196)])]);
    assert_eq!((numeric.1.as_str(), numeric.2), ("UserErrorGuestAgentStatusUnavailable", 400_196));
    let strange = errors_of(vec![job("1", "Failed", today, vec![error("SomethingNew", 7)])]);
    assert_eq!((strange.1.as_str(), strange.2), ("SomethingNew", 7), "an unknown title is kept");
}

#[test]
fn locks_are_counted_once_and_where_they_stand() {
    let backup_group = group("azurebackuprg_WESTEUROPE_1");
    let mut facts = facts();
    let collection = facts.collections().next().unwrap().id.clone();
    let locks = vec![
        lock(&backup_group, "CanNotDelete"),
        lock(&collection, "CanNotDelete"),
        lock(&vm_id().subscription_id(), "ReadOnly"),
        lock(&vm_id(), "CanNotDelete"),
        lock(&group("PROD"), "CanNotDelete"),
        lock(&group("elsewhere"), "CanNotDelete"),
        lock(&group("prod").resource("Microsoft.Compute", "disks", "d").unwrap(), "CanNotDelete"),
    ];
    facts.locks = known(locks);
    let locks = view(&facts).locks;
    assert_eq!((locks.backup_groups, locks.collections, locks.subscription, locks.vm), (1, 1, 1, 2));
    assert_eq!((locks.inherited, locks.read_only, locks.total), (1, 1, 5));
}

#[test]
fn a_group_that_holds_anything_else_is_no_backup_group() {
    let scope = group("AzureBackupRG_westeurope_1");
    let counts = |change: fn(&mut GroupFacts)| {
        let mut facts = facts();
        facts.locks = known(vec![lock(&group("AzureBackupRG_westeurope_1"), "CanNotDelete")]);
        if let Part::Known { value, .. } = &mut facts.groups {
            change(&mut value[0]);
        }
        let view = view(&facts);
        (view.locks.backup_groups, view.locks.vm, view.unread("locks.backup_groups").is_some())
    };
    assert_eq!(counts(|_| {}), (1, 0, false), "{scope}");
    assert_eq!(counts(|group| group.others = known(vec![vm_id()])), (0, 1, false));
    assert_eq!(
        counts(|group| group.collections = known(vec![collection("g", "veeam", &[("x", "Succeeded")])])),
        (0, 1, false)
    );
    assert_eq!(
        counts(|group| group.collections = known(vec![collection("g", "AzureBackup_web-01_1", &[])])),
        (0, 1, false),
        "empty proves nothing"
    );
    assert_eq!(counts(|group| group.others = unread("403")), (0, 0, true));
}

#[test]
fn a_vm_that_is_gone() {
    let mut facts = facts();
    (facts.vm, facts.instance, facts.extensions) =
        (Part::Absent { at: now() }, Part::Absent { at: now() }, Part::Absent { at: now() });
    facts.status = Part::Absent { at: now() };
    let before = facts.clone();
    let view = view(&facts);
    assert!(!view.vm.exists && view.unread.is_empty(), "{:?}", view.unread);
    assert_eq!((view.points.count, view.vmsnapshot.present), (2, false));
    // backupStatus speaks against an orphan, but only where there is something that could be one.
    facts.status = unread("403");
    assert!(self::view(&facts).unread("points.orphaned").is_some());
    facts.collections = known(Vec::new());
    assert!(self::view(&facts).unread("points.orphaned").is_none());
    facts = before;
    facts.items = unread("403");
    assert!(self::view(&facts).unread("points.superseded").is_some(), "unread is not none (S12)");
}
