//! The rules that protect the user (S1 to S13), from outside. `docs/safety.md` has a section for each.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use azmend::actions::change::Override;
use azmend::clock::{Clock as _, later};
use azmend::engine::{Plan, PlanError, Planned, Status};
use azmend::journal::{Event, Purpose, RunLog as _};
use azmend::sim::{FaultEffect, World, WorldEvent};
use tokio_util::sync::CancellationToken;

use crate::support::{Ask, How, Lab, TestLog};

const FIX: &str = "rp-collection-limit";

/// Which tests stand for which rule. Each name is a test of this crate; most rules have more in `src/actions/rules`.
const RULES: &[(&str, &[&str])] = &[
    ("S1", &["planning_sends_nothing_that_changes_anything"]),
    ("S2", &["nothing_is_sent_that_is_not_in_the_journal", "a_lock_is_put_back_without_a_journal"]),
    ("S3", &["what_is_not_what_was_shown_stops", "a_plan_that_was_edited_anywhere_is_refused"]),
    ("S4", &["lost_replies_are_settled_by_reading", "db_03_loses_the_superseded_collection_after_three_deletions"]),
    ("S5", &["sub_lock_is_refused_with_the_command", "a_lock_that_comes_back_is_not_removed_again"]),
    ("S6", &["relock_and_undo_put_the_lock_back_exactly", "interrupted_or_out_of_time_the_lock_stands_again"]),
    ("S7", &["ven_10_keeps_the_points_of_the_other_maker", "ownership_is_proven"]),
    ("S8", &["nas_04_keeps_what_the_vault_has_no_copy_of", "each_rule_fires_alone"]),
    ("S9", &["every_point_counts_as_a_change"]),
    ("S10", &["three_attempts_in_24_hours_and_nine_with_the_override", "on_demand_backups_are_counted"]),
    ("S11", &["names_that_would_reach_elsewhere_are_refused"]),
    ("S12", &["what_may_not_be_read_never_leads_to_a_wrong_deletion"]),
    ("S13", &["a_plan_of_another_world_is_refused"]),
    ("Orphan", &["each_missing_piece_refuses_and_is_reported", "twin_06_of_rg_legacy_is_never_deleted_and_says_why"]),
];

fn files(dir: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut open = vec![std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(dir)];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                out.push(std::fs::read_to_string(path).unwrap());
            }
        }
    }
    out
}

fn safety_page() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/safety.md")).unwrap()
}

#[test]
fn every_rule_has_a_test_and_a_section() {
    let code: String = files("src").into_iter().chain(files("tests/it")).collect();
    let page = safety_page();
    for (rule, tests) in RULES {
        assert!(page.lines().any(|line| line.starts_with(&format!("## {rule}: "))), "docs/safety.md lacks {rule}");
        assert!(!tests.is_empty());
        for test in *tests {
            assert!(code.contains(&format!("fn {test}(")), "{rule}: no test {test}");
        }
    }
}

/// The names of refusals in the code: string literals that look like one.
fn refusal_names() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for text in files("src") {
        for place in ["Refusal::new(", "not(\"", "unreadable(\"", ".code(\"s"] {
            for (at, _) in text.match_indices(place) {
                // From the quotation mark on.
                let start = place.find('"').unwrap_or(place.len());
                let rest = &text[at + start..];
                let Some(name) = rest.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next()) else {
                    continue;
                };
                if name.contains('.') {
                    names.insert(name.to_owned());
                }
            }
        }
    }
    names.extend(Override::ALL.iter().map(|over| over.name().to_owned()));
    names
}

#[test]
fn no_refusal_is_undocumented() {
    let names = refusal_names();
    assert!(names.len() > 50, "the search for names is broken: {names:?}");
    let page = safety_page();
    let missing: Vec<_> = names.iter().filter(|name| !page.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "docs/safety.md does not mention {missing:?}");
}

#[test]
fn the_page_names_no_refusal_that_does_not_exist() {
    let names = refusal_names();
    let page = safety_page();
    for name in page.split('`').skip(1).step_by(2) {
        let is_name = name.split_once('.').is_some_and(|(room, rest)| {
            let rule = room.strip_prefix('s').is_some_and(|n| n.parse::<u8>().is_ok()) || room == "orphan";
            rule && !rest.is_empty() && !rest.contains([' ', '/', '*'])
        });
        assert!(!is_name || names.contains(name), "{name}");
    }
}

// ---- S1

#[tokio::test]
async fn planning_sends_nothing_that_changes_anything() {
    let lab = Lab::new();
    let vms: Vec<_> = lab.sim.world().vms.iter().map(|vm| vm.id.to_string()).collect();
    assert!(vms.len() > 12);
    for vm in vms {
        for playbook in ["rp-collection-limit", "delete-stale-collections", "unlock-backup-groups", "backup-now"] {
            lab.plan(playbook, &vm, &Ask { overrides: Override::ALL.to_vec(), ..Ask::default() }).await;
        }
    }
    assert_eq!(lab.mutations(), Vec::<String>::new());
}

// ---- S2

fn intents(log: &TestLog, purpose: Purpose) -> usize {
    let intents = log.records().into_iter().map(|record| record.event);
    intents.filter(|event| matches!(event, Event::Intent { purpose: p, .. } if *p == purpose)).count()
}

#[tokio::test]
async fn nothing_is_sent_that_is_not_in_the_journal() {
    let lab = Lab::new();
    let (whole, _, log) = lab.fix(FIX, "web-01", &Ask { relock: true, ..Ask::default() }).await;
    assert_eq!(whole.exit_code, 0);
    let length = log.records().len();
    assert!(length > 20);
    for n in 0..length {
        let lab = Lab::new();
        let plan = lab.planned(FIX, "web-01", &Ask { relock: true, ..Ask::default() }).await;
        let log = Arc::new(TestLog::failing_after(n));
        let result = lab.run(&plan, &log).start().await;
        // A request may leave only when its intent was written; the last intent is the append that failed.
        assert_eq!(lab.sent(), intents(&log, Purpose::Do), "cut at {n}: {:?}", lab.mutations());
        assert!(lab.locks().contains(&"no-delete".to_owned()), "cut at {n}: the lock is not back");
        // Nothing to be done any more: only the end could not be written, and that is said.
        let done = plan.changes().count()
            == log
                .records()
                .iter()
                .filter(|record| matches!(&record.event, Event::Ended { purpose: Purpose::Do, .. }))
                .count();
        assert!(done || result.exit_code != 0, "cut at {n}: {result:#?}");
        assert!(result.exit_code != 0 || !result.warnings.is_empty(), "cut at {n}: {result:#?}");
        lab.agrees(&plan, &result);
    }
}

#[tokio::test]
async fn a_lock_is_put_back_without_a_journal() {
    let lab = Lab::new();
    let plan = lab.planned(FIX, "web-01", &Ask { relock: true, ..Ask::default() }).await;
    // Started, StepStarted, Intent of the removal; nothing after it can be written.
    let log = Arc::new(TestLog::failing_after(3));
    let result = lab.run(&plan, &log).start().await;
    assert_eq!(lab.mutations().len(), 2, "{:?}", lab.mutations());
    assert!(lab.mutations()[1].starts_with("PUT "));
    assert!(result.warnings.iter().any(|text| text.contains("locks are still restored")), "{result:#?}");
    assert!(result.locks_removed.iter().all(|lock| lock.restored), "{result:#?}");
}

// ---- S3

#[tokio::test]
async fn what_is_not_what_was_shown_stops() {
    let vm = |world: &mut World| world.vm_named("web-01").unwrap().id.clone();
    let cases: [(&str, &dyn Fn(&mut World) -> bool); 3] = [
        ("s3.vm-recreated", &|world| {
            let id = vm(world);
            world.recreate_vm(&id)
        }),
        ("s3.vm-gone", &|world| {
            let id = vm(world);
            world.delete_vm(&id)
        }),
        ("s3.changed", &|world| {
            world.locks.iter_mut().find(|lock| lock.id.name() == "no-delete").unwrap().notes = Some("mine".into());
            true
        }),
    ];
    for (rule, change) in cases {
        let lab = Lab::new();
        let plan = lab.planned_and_saved(FIX, "web-01", &Ask::default()).await;
        assert!(lab.sim.edit(|world| change(world)), "{rule}");
        let log = Arc::new(TestLog::default());
        let result = lab.run(&plan, &log).start().await;
        assert_eq!((result.status, result.exit_code), (Status::Refused, 5), "{rule}: {result:#?}");
        assert_eq!(result.error.unwrap().code, rule);
        assert_eq!(lab.mutations(), Vec::<String>::new(), "{rule}");
    }
    for playbook_vm in ["web-01", "db-03"] {
        let lab = Lab::new();
        let playbook = if playbook_vm == "db-03" { "delete-stale-collections" } else { FIX };
        let plan = lab.planned_and_saved(playbook, playbook_vm, &Ask::default()).await;
        lab.sim.edit(|world| {
            let of: Vec<_> = world.collections_of(&plan.vm).map(|c| c.id.clone()).collect();
            for id in &of {
                assert!(world.recreate_collection(id));
            }
        });
        let log = Arc::new(TestLog::default());
        let result = lab.run(&plan, &log).start().await;
        assert!(!lab.mutations().iter().any(|sent| sent.contains("restorePoint")), "{:?}", lab.mutations());
        if playbook_vm == "db-03" {
            assert_eq!(result.error.as_ref().unwrap().code, "s3.recreated", "{result:#?}");
        }
        lab.agrees(&plan, &result);
    }
}

#[tokio::test]
async fn a_point_that_is_not_in_the_plan_stops_the_deletion_of_its_collection() {
    let lab = Lab::new();
    let plan = lab.planned("delete-stale-collections", "db-03", &Ask::default()).await;
    let old = plan.changes().next().unwrap().1.resource().clone();
    lab.sim.edit(|world| world.add_point(&old));
    let log = Arc::new(TestLog::default());
    let result = lab.run(&plan, &log).start().await;
    assert_eq!((result.exit_code, result.error.unwrap().code.as_str()), (5, "s3.new-point"));
    assert_eq!(lab.mutations(), Vec::<String>::new());
}

#[tokio::test]
async fn a_plan_that_was_edited_anywhere_is_refused() {
    let lab = Lab::new();
    let plan = lab.planned("unlock-backup-groups", "web-01", &Ask::default()).await;
    let text = serde_json::to_string_pretty(&plan).unwrap();
    let same: Plan = Plan::parse(&text).unwrap();
    assert_eq!(same.hash, plan.hash);
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    let mut bytes = text.clone().into_bytes();
    for at in 0..bytes.len() {
        let old = bytes[at];
        bytes[at] = if old == b'x' { b'y' } else { b'x' };
        if let Ok(edited) = std::str::from_utf8(&bytes) {
            // Spaces between the parts are no content; everything else is.
            if let Ok(plan) = Plan::parse(edited) {
                let read: serde_json::Value = serde_json::from_str(edited).unwrap();
                assert_eq!(read, value, "byte {at} was edited: {}", plan.hash);
            }
        }
        bytes[at] = old;
    }
    let mut added = value.clone();
    added["extra"] = serde_json::json!(1);
    assert_eq!(Plan::parse(&added.to_string()).unwrap_err(), PlanError::Edited);
    let mut other = value;
    other["format"] = serde_json::json!("azmend.plan/v9");
    assert!(matches!(Plan::parse(&other.to_string()), Err(PlanError::Format(_))));
}

#[tokio::test]
async fn a_plan_is_valid_for_a_day() {
    let lab = Lab::new();
    let plan = lab.planned("unlock-backup-groups", "web-01", &Ask::default()).await;
    let at = |seconds: u64| later(plan.created, Duration::from_secs(seconds));
    assert_eq!(plan.check(at(0), &lab.world()), Ok(()));
    assert_eq!(plan.check(at(24 * 3600), &lab.world()), Ok(()));
    assert!(matches!(plan.check(at(24 * 3600 + 1), &lab.world()), Err(PlanError::Expired(_))));
    let early = azmend::clock::earlier(plan.created, Duration::from_secs(301));
    assert!(matches!(plan.check(early, &lab.world()), Err(PlanError::Future(_))));
}

// ---- S4

#[tokio::test]
async fn lost_replies_are_settled_by_reading() {
    let kinds = [("DELETE", "/locks/"), ("DELETE", "restorePoints"), ("POST", "/backup")];
    for (method, path) in kinds {
        for effect in [FaultEffect::LostBefore, FaultEffect::LostAfter, FaultEffect::NotSent] {
            for nth in [1, 2] {
                let lab = Lab::new();
                let plan = lab.planned(FIX, "web-01", &Ask { relock: true, ..Ask::default() }).await;
                // Counted from here on: planning asks with a POST too.
                lab.fault(method, path, nth, effect.clone());
                let log = Arc::new(TestLog::default());
                let result = lab.run(&plan, &log).start().await;
                let what = format!("{method} {path} {effect:?} {nth}");
                lab.agrees(&plan, &result);
                assert!(lab.locks().contains(&"no-delete".to_owned()), "{what}");
                let backups = lab.mutations().iter().filter(|sent| sent.starts_with("POST")).count();
                let jobs = lab.sim.world().jobs.len() - Lab::new().sim.world().jobs.len();
                assert!(jobs <= 1, "{what}: {jobs} backups were started");
                // A backup whose request never arrived and whose reply is lost stays unknown, and is not sent again.
                let unknown = method == "POST" && effect == FaultEffect::LostBefore && jobs == 0;
                if unknown {
                    assert_eq!(
                        (result.status, result.exit_code, backups),
                        (Status::Stuck, 8, 1),
                        "{what}: {result:#?}"
                    );
                } else {
                    assert_eq!(result.exit_code, 0, "{what}: {result:#?}");
                }
            }
        }
    }
}

/// The request never arrived, its reply was lost, and in the same minute a scheduled backup began.
#[tokio::test]
async fn a_scheduled_job_is_not_taken_for_the_one_whose_reply_was_lost() {
    let lab = Lab::new();
    let plan = lab.planned("backup-now", "ok-07", &Ask::default()).await;
    lab.fault("POST", "/protectedItems/", 1, FaultEffect::World(WorldEvent::StartJob("ok-07".to_owned())));
    lab.fault("POST", "/protectedItems/", 1, FaultEffect::LostBefore);
    let log = Arc::new(TestLog::default());
    let result = lab.run(&plan, &log).start().await;
    assert_eq!((result.status, result.exit_code), (Status::Stuck, 8), "{result:#?}");
    assert_eq!(lab.mutations().len(), 1, "nothing was sent again");
}

#[tokio::test]
async fn a_lock_whose_removal_was_lost_and_seen_late_is_put_back() {
    let lab = Lab::new();
    let plan = lab.planned("unlock-backup-groups", "web-01", &Ask { relock: true, ..Ask::default() }).await;
    lab.fault("DELETE", "/locks/", 1, FaultEffect::LostAfter);
    // Two looks of the proof and of the next check still see it.
    for nth in 2..=4 {
        lab.fault("GET", "/locks/no-delete", nth, FaultEffect::StaleRead);
    }
    let log = Arc::new(TestLog::default());
    let result = lab.run(&plan, &log).start().await;
    assert!(lab.locks().contains(&"no-delete".to_owned()), "{result:#?} {:?}", lab.mutations());
    assert!(result.locks_removed.iter().all(|lock| lock.restored), "{result:#?}");
}

// ---- S5

#[tokio::test]
async fn a_lock_that_comes_back_is_not_removed_again() {
    let lab = Lab::new();
    let plan = lab.planned(FIX, "web-01", &Ask::default()).await;
    lab.fault(
        "DELETE",
        "restorePoints",
        2,
        FaultEffect::World(WorldEvent::PutLockBack { id: "no-delete".into(), notes: None }),
    );
    let log = Arc::new(TestLog::default());
    let result = lab.run(&plan, &log).start().await;
    let removals = lab.mutations().iter().filter(|sent| sent.contains("/locks/")).count();
    assert_eq!(removals, 1, "{:?}", lab.mutations());
    assert_eq!(result.error.as_ref().unwrap().code, "s5.came-back", "{result:#?}");
    assert_eq!(result.exit_code, 6, "{result:#?}");
    assert!(lab.locks().contains(&"no-delete".to_owned()));
    lab.agrees(&plan, &result);
}

// ---- S6

#[tokio::test]
async fn interrupted_or_out_of_time_the_lock_stands_again() {
    let whole = {
        let lab = Lab::new();
        let (result, ..) = lab.fix(FIX, "web-01", &Ask { relock: true, ..Ask::default() }).await;
        assert_eq!(result.exit_code, 0);
        lab.sim.log().len()
    };
    for at in (60..whole).step_by(23) {
        let lab = Lab::new();
        let plan = lab.planned(FIX, "web-01", &Ask { relock: true, ..Ask::default() }).await;
        let cancel = CancellationToken::new();
        let inner = cancel.clone();
        lab.sim.on_request(Box::new(move |_, _, number| {
            if number >= at {
                inner.cancel();
            }
        }));
        let log = Arc::new(TestLog::default());
        let result = lab.run_how(&plan, &log, How { cancel: Some(cancel), deadline: None }).await;
        assert!(lab.locks().contains(&"no-delete".to_owned()), "interrupted at {at}: {result:#?}");
        assert!([0, 7].contains(&result.exit_code), "interrupted at {at}: {result:#?}");
        lab.agrees(&plan, &result);
    }
    for seconds in [40, 100, 200, 260, 320, 400] {
        let lab = Lab::new();
        let plan = lab.planned(FIX, "web-01", &Ask { relock: true, ..Ask::default() }).await;
        let deadline = later(lab.sim.clock().now(), Duration::from_secs(seconds));
        let log = Arc::new(TestLog::default());
        let result = lab.run_how(&plan, &log, How { cancel: None, deadline: Some(deadline) }).await;
        assert!(lab.locks().contains(&"no-delete".to_owned()), "{seconds}: {result:#?}");
        assert!([0, 7].contains(&result.exit_code), "{seconds}: {result:#?}");
        assert!(lab.sim.clock().now() <= deadline, "{seconds}: ended at {} after {deadline}", lab.sim.clock().now());
        lab.agrees(&plan, &result);
        if result.exit_code == 7 {
            assert_eq!(result.error.as_ref().unwrap().code, "deadline");
            let result = lab.run(&plan, &log).resume().await;
            assert_eq!(result.exit_code, 0, "resumed after {seconds}: {result:#?}");
            assert!(lab.locks().contains(&"no-delete".to_owned()));
        }
    }
}

#[tokio::test]
async fn a_lock_is_not_removed_by_who_cannot_write_it() {
    let lab = Lab::new();
    lab.sim.edit(|world| world.revoke_permission("Microsoft.Authorization/locks/write"));
    match lab.plan("unlock-backup-groups", "web-01", &Ask::default()).await {
        Planned::Refused { refusals, .. } => assert_eq!(refusals[0].rule, "s6.cannot-restore"),
        other => panic!("{other:#?}"),
    }
    // Lost after the plan: refused just before the request.
    let lab = Lab::new();
    let plan = lab.planned("unlock-backup-groups", "web-01", &Ask::default()).await;
    lab.sim.edit(|world| {
        world.advance(Duration::from_secs(120));
        world.revoke_permission("Microsoft.Authorization/locks/write");
    });
    let log = Arc::new(TestLog::default());
    let result = lab.run(&plan, &log).start().await;
    assert_eq!((result.exit_code, lab.mutations().len()), (5, 0), "{result:#?}");
}

#[tokio::test]
async fn relock_and_service_clean_up_exclude_each_other() {
    let lab = Lab::new();
    let ask = Ask { set: vec![("cleanup", "service")], relock: true, ..Ask::default() };
    match lab.plan(FIX, "web-01", &ask).await {
        Planned::Refused { refusals, .. } => assert_eq!(refusals[0].rule, "s6.relock-service"),
        other => panic!("{other:#?}"),
    }
}

// ---- S8

#[tokio::test]
async fn a_job_that_starts_between_deletions_is_reported() {
    let lab = Lab::new();
    let plan = lab.planned(FIX, "web-01", &Ask::default()).await;
    let told = Arc::new(Mutex::new(false));
    let inner = Arc::clone(&told);
    lab.sim.on_request(Box::new(move |world, request, _| {
        let mut told = inner.lock().unwrap();
        let vm = world.vm_named("web-01").unwrap().id.clone();
        // The first point is gone, the second is asked for.
        let between = world.succeeded_points(&vm) < 21 && request.method == "DELETE";
        if !*told && between {
            *told = true;
            world.start_job(&vm);
        }
    }));
    let log = Arc::new(TestLog::default());
    let result = lab.run(&plan, &log).start().await;
    assert!(*told.lock().unwrap());
    let said = result.warnings.iter().any(|text| text.contains("ran while points were being deleted"));
    assert!(said, "{result:#?}");
    lab.agrees(&plan, &result);
}

#[tokio::test]
async fn the_live_collection_goes_only_with_the_overrides_named() {
    let lab = Lab::new();
    let ask = |overrides: Vec<Override>| Ask { set: vec![("cleanup", "collection")], overrides, ..Ask::default() };
    match lab.plan(FIX, "web-01", &ask(vec![])).await {
        Planned::Refused { refusals, .. } => assert!(refusals.iter().any(|r| r.rule == "s8.newest"), "{refusals:#?}"),
        other => panic!("{other:#?}"),
    }
    let plan = lab.planned(FIX, "web-01", &ask(vec![Override::Newest])).await;
    assert!(plan.overrides.contains(&Override::Newest));
    assert_ne!(plan.hash, Plan { overrides: BTreeSet::new(), ..plan.clone() }.sealed().hash, "part of the hash");
}

// ---- S9

#[tokio::test]
async fn every_point_counts_as_a_change() {
    let lab = Lab::new();
    for (allowed, refused) in [(14, true), (15, false)] {
        let ask = Ask { max_changes: Some(allowed), ..Ask::default() };
        match lab.plan("delete-stale-collections", "db-03", &ask).await {
            Planned::Refused { refusals, plan } => {
                assert!(refused, "{allowed}");
                assert_eq!(refusals[0].rule, "s9.max-changes");
                assert!(plan.is_some() && refusals[0].hint.as_ref().unwrap().contains("--max-changes 15"));
            }
            Planned::Plan(_) => assert!(!refused, "{allowed}"),
            other => panic!("{other:#?}"),
        }
    }
    assert_eq!(lab.mutations(), Vec::<String>::new());
}

// ---- S10

#[tokio::test]
async fn on_demand_backups_are_counted() {
    let lab = Lab::new();
    for n in 0..3 {
        let (result, ..) = lab.fix("backup-now", "ok-07", &Ask::default()).await;
        assert_eq!(result.exit_code, 0, "{n}: {result:#?}");
        lab.sim.edit(|world| world.advance(Duration::from_secs(3 * 3600 + 1800)));
    }
    match lab.plan("backup-now", "ok-07", &Ask::default()).await {
        Planned::Refused { refusals, .. } => assert_eq!(refusals[0].rule, "s10.daily-limit"),
        other => panic!("{other:#?}"),
    }
    let ask = Ask { overrides: vec![Override::DailyLimit], ..Ask::default() };
    lab.planned("backup-now", "ok-07", &ask).await;
}

// ---- S11

#[test]
fn names_that_would_reach_elsewhere_are_refused() {
    use azmend::arm::ResourceId;
    let group = ResourceId::parse(&format!("/subscriptions/{}/resourceGroups/rg", crate::support::SUB)).unwrap();
    for name in ["..", "a/b", "a?b", "a#b", "a%2fb", "", "a\nb", "\u{202e}x"] {
        assert!(group.child("providers/Microsoft.Compute/virtualMachines", name).is_err(), "{name:?}");
    }
    for text in ["/subscriptions/../x", "https://evil.example/subscriptions/x", "/subscriptions/a b/resourceGroups/x"] {
        assert!(ResourceId::parse(text).is_err(), "{text}");
    }
}

// ---- S12

const READS: &[&str] = &[
    "Microsoft.Authorization/denyAssignments/read",
    "Microsoft.Authorization/locks/read",
    "Microsoft.Compute/restorePointCollections/read",
    "Microsoft.Compute/restorePointCollections/restorePoints/read",
    "Microsoft.Compute/virtualMachines/extensions/read",
    "Microsoft.Compute/virtualMachines/instanceView/read",
    "Microsoft.Compute/virtualMachines/read",
    "Microsoft.RecoveryServices/Vaults/backupFabrics/protectionContainers/protectedItems/read",
    "Microsoft.RecoveryServices/Vaults/backupFabrics/protectionContainers/protectedItems/recoveryPoints/read",
    "Microsoft.RecoveryServices/Vaults/backupJobs/read",
    "Microsoft.RecoveryServices/Vaults/backupPolicies/read",
    "Microsoft.RecoveryServices/Vaults/backupProtectedItems/read",
    "Microsoft.RecoveryServices/Vaults/read",
    "Microsoft.RecoveryServices/vaults/backupResourceGuardProxies/read",
    "Microsoft.Resources/subscriptions/resourceGroups/read",
];

fn resources(plan: &Plan) -> BTreeSet<String> {
    plan.changes().map(|(_, change)| change.resource().key().to_owned()).collect()
}

#[tokio::test]
async fn what_may_not_be_read_never_leads_to_a_wrong_deletion() {
    let old = format!(
        "/subscriptions/{}/resourceGroups/rg-shop/providers/Microsoft.Compute/virtualMachines/old-05",
        crate::support::SUB
    );
    let cases = [
        (FIX, "web-01", Ask::default()),
        ("delete-stale-collections", "db-03", Ask::default()),
        ("delete-stale-collections", old.as_str(), Ask { set: vec![("unlock", "true")], ..Ask::default() }),
    ];
    for (playbook, vm, ask) in cases {
        let full = resources(&Lab::new().planned(playbook, vm, &ask).await);
        for read in READS {
            // Before the plan.
            let lab = Lab::new();
            lab.sim.edit(|world| world.revoke_permission(read));
            let what = format!("{playbook} {vm} without {read}");
            match lab.plan(playbook, vm, &ask).await {
                Planned::Plan(plan) => {
                    assert!(resources(&plan).is_subset(&full), "{what}: {plan:#?}");
                }
                Planned::NothingToDo { not_read, why, .. } => assert!(!not_read.is_empty(), "{what}: {why}"),
                Planned::NotChecked { unread, .. } => assert!(!unread.is_empty(), "{what}"),
                Planned::Refused { .. } | Planned::Waiting { .. } => {}
                Planned::Input(errors) => panic!("{what}: {errors:?}"),
            }
            // After the plan, just before the run.
            let lab = Lab::new();
            let plan = lab.planned(playbook, vm, &Ask { relock: true, ..ask.clone() }).await;
            let locks = lab.locks();
            lab.sim.edit(|world| {
                world.advance(Duration::from_secs(61));
                world.revoke_permission(read);
            });
            let log = Arc::new(TestLog::default());
            let result = lab.run(&plan, &log).start().await;
            lab.agrees(&plan, &result);
            assert!(lab.locks() == locks || result.exit_code == 8, "{what}: {result:#?}");
            assert!(result.exit_code != 0 || result.not_read.is_empty(), "{what}: {result:#?}");
        }
    }
}

// ---- S13

#[tokio::test]
async fn a_plan_of_another_world_is_refused() {
    let lab = Lab::new();
    let plan = lab.planned("unlock-backup-groups", "web-01", &Ask::default()).await;
    let now = plan.created;
    let changes: [fn(&mut azmend::engine::World); 7] = [
        |w| w.sandbox = false,
        |w| w.cloud = "usgov".into(),
        |w| w.endpoint = "https://management.usgovcloudapi.net/".into(),
        |w| w.tenant = "another".into(),
        |w| w.subscription = "another".into(),
        |w| w.identity = "another".into(),
        |w| w.estate_digest = "another".into(),
    ];
    for (n, change) in changes.into_iter().enumerate() {
        let mut world = lab.world();
        change(&mut world);
        assert!(matches!(plan.check(now, &world), Err(PlanError::World(_))), "{n}");
    }
    assert_eq!(plan.check(now, &lab.world()), Ok(()));
}

// ---- the sandbox's page

#[test]
fn the_estate_in_the_documentation_loads() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/sandbox.md")).unwrap();
    let examples: Vec<&str> = page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(examples.len(), 1);
    let lab = Lab::of(examples[0]);
    assert_eq!(lab.points("app-01"), 20);
}

#[test]
fn the_sandboxs_page_names_every_fault_and_event() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/sandbox.md")).unwrap();
    // The variants of the two enums, as serde spells them.
    for (file, head) in [
        ("crates/sandbox/src/world/faults.rs", "pub enum Effect {"),
        ("crates/sandbox/src/world/mutate.rs", "pub enum WorldEvent {"),
    ] {
        let text = std::fs::read_to_string(format!("{}/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        let body = text.split(head).nth(1).unwrap().split("\n}\n").next().unwrap();
        let variants = body.lines().filter_map(|line| {
            let line = line.strip_prefix("    ").filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase()))?;
            line.split(|c: char| !c.is_alphanumeric()).next()
        });
        let mut count = 0;
        for variant in variants {
            count += 1;
            let mut name = String::new();
            for c in variant.chars() {
                if c.is_ascii_uppercase() && !name.is_empty() {
                    name.push('_');
                }
                name.push(c.to_ascii_lowercase());
            }
            assert!(page.contains(&format!("`{name}")), "docs/sandbox.md does not mention {name}");
        }
        assert!(count > 8, "{file}");
    }
}
