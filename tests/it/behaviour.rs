//! What azmend does on the built-in estate, VM by VM.

use std::time::Duration;

use azmend::actions::change::Override;
use azmend::engine::{Planned, RunResult, Status};

use crate::support::{Ask, Lab, SUB, TestLog, outcomes};

fn old_05() -> String {
    format!("/subscriptions/{SUB}/resourceGroups/rg-shop/providers/Microsoft.Compute/virtualMachines/old-05")
}

fn rules(planned: &Planned) -> Vec<String> {
    match planned {
        Planned::Refused { refusals, .. } => refusals.iter().map(|refusal| refusal.rule.clone()).collect(),
        other => panic!("not refused: {other:#?}"),
    }
}

fn unlock() -> Ask {
    Ask { set: vec![("unlock", "true")], ..Ask::default() }
}

/// Fixes, and demands full success and a truthful report.
async fn fixed(lab: &Lab, playbook: &str, vm: &str, ask: &Ask) -> RunResult {
    let (result, plan, _) = lab.fix(playbook, vm, ask).await;
    assert_eq!(result.status, Status::Succeeded, "{result:#?}");
    assert_eq!(result.exit_code, 0, "{result:#?}");
    lab.agrees(&plan, &result);
    result
}

#[tokio::test]
async fn web_01_is_unlocked_cleaned_and_backed_up() {
    let lab = Lab::new();
    let (result, plan, _) = lab.fix("rp-collection-limit", "web-01", &Ask::default()).await;
    assert_eq!(result.status, Status::Succeeded, "{result:#?}");
    assert_eq!(result.exit_code, 0);
    assert!(outcomes(&result).iter().all(|outcome| *outcome == "succeeded"), "{result:#?}");
    assert!(plan.changes().count() >= 3);
    lab.agrees(&plan, &result);
    let (before, after) = (result.before.unwrap(), result.after.unwrap());
    assert_eq!(before.points.count, 21);
    assert_eq!(after.points.count, 17);
    assert_eq!(after.locks.backup_groups, 0);
    let effect = &result.changes[0].effect;
    assert!(
        effect.contains("platform@contoso.example") && effect.contains("11 collections of 11 other VMs"),
        "{effect}"
    );
    assert!(result.changes.last().unwrap().detail.contains("transfer to the vault running, not verified"));
}

#[tokio::test]
async fn app_02_gets_a_fresh_vmsnapshot() {
    for playbook in ["vm-provisioning-failed", "extension-operation-failed"] {
        let lab = Lab::new();
        let result = fixed(&lab, playbook, "app-02", &Ask::default()).await;
        assert_eq!(result.changes.len(), 2, "{result:#?}");
        let (before, after) = (result.before.unwrap(), result.after.unwrap());
        assert_eq!(
            (before.vmsnapshot.state.as_str(), after.vmsnapshot.state.as_str()),
            ("Failed", "Ready"),
            "{playbook}"
        );
        assert!(lab.mutations()[0].ends_with("/extensions/VMSnapshot"), "{:?}", lab.mutations());
        assert_eq!(lab.locks(), Lab::new().locks(), "no lock was touched");
    }
}

#[tokio::test]
async fn db_03_loses_the_superseded_collection_after_three_deletions() {
    let lab = Lab::new();
    let result = fixed(&lab, "delete-stale-collections", "db-03", &Ask::default()).await;
    assert_eq!(lab.mutations().len(), 3, "{:?}", lab.mutations());
    assert!(lab.mutations().iter().all(|sent| sent.contains("AzureBackupRG_westeurope_0")));
    assert!(result.changes[0].detail.contains("deleted (confirmed)"));
    assert_eq!(lab.points("db-03"), 3);
    assert!(!result.warnings.iter().any(|text| text.contains("over the limit for the next backup")));
    let again = lab.plan("delete-stale-collections", "db-03", &Ask::default()).await;
    assert!(matches!(again, Planned::NothingToDo { .. }), "{again:#?}");
}

#[tokio::test]
async fn nas_04_keeps_what_the_vault_has_no_copy_of() {
    let lab = Lab::new();
    let plan = lab.planned("rp-collection-limit", "nas-04", &Ask::default()).await;
    let kept: Vec<_> = plan.steps.iter().flat_map(|step| &step.kept).collect();
    assert_eq!(kept.len(), 1, "{kept:#?}");
    assert_eq!((kept[0].count, kept[0].refusal.rule.as_str()), (17, "s8.snapshot-only"));
    let notes: Vec<_> = plan.steps.iter().flat_map(|step| &step.notes).cloned().collect();
    assert!(notes.iter().any(|note| note.contains("still 4 points over")), "{notes:?}");
    let log = std::sync::Arc::new(TestLog::default());
    let result = lab.run(&plan, &log).start().await;
    assert_eq!((result.status, result.exit_code), (Status::Paused, 7), "{result:#?}");
    assert!(
        result.warnings.iter().any(|text| text.starts_with("17 points kept: the vault has no copy")),
        "{result:#?}"
    );
    assert_eq!(lab.points("nas-04"), 20);
    lab.agrees(&plan, &result);
}

#[tokio::test]
async fn service_clean_up_is_waited_for_once_and_its_end_is_told_truly() {
    // web-01 has points that the service may clean up; nas-04's have no copy in the vault, so it may not.
    for (vm, code, status) in [("web-01", 0, Status::Succeeded), ("nas-04", 9, Status::Failed)] {
        let lab = Lab::new();
        let ask = Ask { set: vec![("cleanup", "service")], ..Ask::default() };
        let plan = lab.planned("rp-collection-limit", vm, &ask).await;
        let log = std::sync::Arc::new(TestLog::default());
        let result = lab.run(&plan, &log).start().await;
        assert_eq!((result.status, result.exit_code), (Status::Paused, 7), "{vm}: {result:#?}");
        assert_eq!(result.error.as_ref().unwrap().code, "clean_up_pending");
        assert!(result.retry_after.is_some_and(|seconds| seconds >= 3600));
        assert!(!lab.mutations().iter().any(|sent| sent.contains("restorePoint")), "azmend deletes nothing itself");
        lab.sim.edit(|world| world.advance(Duration::from_secs(4 * 3600 + 600)));
        let result = lab.run(&plan, &log).resume().await;
        assert_eq!((result.status, result.exit_code), (status, code), "{vm}: {result:#?}");
        assert_eq!(lab.points(vm) < 18, code == 0, "{vm}");
        lab.agrees(&plan, &result);
    }
}

#[tokio::test]
async fn old_05_is_an_orphan_under_a_lock() {
    let lab = Lab::new();
    let planned = lab.plan("delete-stale-collections", &old_05(), &Ask::default()).await;
    assert_eq!(rules(&planned), ["s5.locked"], "without its lock going first nothing is tried");
    assert_eq!(lab.mutations(), Vec::<String>::new());
    let result = fixed(&lab, "delete-stale-collections", &old_05(), &unlock()).await;
    assert_eq!(result.changes.len(), 2);
    assert!(result.changes[1].effect.contains("12 points: its VM is gone and no vault has an item of it"));
    assert!(!lab.sim.world().collections.iter().any(|c| c.id.name().contains("old-05")));
}

#[tokio::test]
async fn twin_06_of_rg_legacy_is_never_deleted_and_says_why() {
    let lab = Lab::new();
    let moved =
        format!("/subscriptions/{SUB}/resourceGroups/rg-legacy/providers/Microsoft.Compute/virtualMachines/twin-06");
    for ask in [Ask::default(), Ask { overrides: Override::ALL.to_vec(), ..Ask::default() }] {
        for playbook in ["delete-stale-collections", "rp-collection-limit"] {
            match lab.plan(playbook, &moved, &ask).await {
                Planned::NothingToDo { warnings, .. } => {
                    assert!(warnings.iter().any(|text| text.contains("orphan.moved")), "{playbook}: {warnings:?}");
                }
                Planned::NotChecked { .. } => {}
                other => panic!("{other:#?}"),
            }
        }
    }
    let here = lab.plan("delete-stale-collections", "twin-06", &Ask::default()).await;
    assert!(matches!(here, Planned::NothingToDo { .. }), "{here:#?}");
    assert_eq!(lab.mutations(), Vec::<String>::new());
}

#[tokio::test]
async fn sub_lock_is_refused_with_the_command() {
    for cleanup in ["stale", "service"] {
        let lab = Lab::new();
        let ask = Ask { set: vec![("cleanup", cleanup)], ..Ask::default() };
        let planned = lab.plan("rp-collection-limit", "sub-lock", &ask).await;
        assert_eq!(rules(&planned), ["s5.subscription-lock"]);
        let Planned::Refused { refusals, plan } = planned else { unreachable!() };
        let hint = refusals[0].hint.clone().unwrap();
        assert!(
            hint.contains("az lock delete --ids /subscriptions/5b1c0de0-0000-4000-8000-000000000002/providers"),
            "{hint}"
        );
        assert!(plan.unwrap().warnings.iter().any(|text| text.contains("az lock delete")));
        assert_eq!(lab.mutations(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn sub_lock_is_mended_when_that_very_lock_is_named() {
    let lab = Lab::new();
    let id = lab.sim.world().locks.iter().find(|lock| lock.id.name() == "subsidiary-freeze").unwrap().id.to_string();
    let ask = Ask { locks: vec![id], relock: true, ..Ask::default() };
    let result = fixed(&lab, "rp-collection-limit", "sub-lock", &ask).await;
    assert!(result.locks_removed[0].restored, "{result:#?}");
    assert_eq!(lab.locks(), Lab::new().locks());
}

#[tokio::test]
async fn busy_08_is_left_to_its_running_job() {
    let lab = Lab::new();
    assert_eq!(rules(&lab.plan("backup-now", "busy-08", &Ask::default()).await), ["s10.job-active"]);
    let planned = lab.plan("rp-collection-limit", "busy-08", &Ask::default()).await;
    assert!(matches!(planned, Planned::NothingToDo { .. }), "{planned:#?}");
    assert_eq!(lab.mutations(), Vec::<String>::new());
}

#[tokio::test]
async fn ok_07_has_nothing_to_do() {
    let lab = Lab::new();
    let planned = lab.plan("rp-collection-limit", "ok-07", &Ask::default()).await;
    assert!(matches!(planned, Planned::NothingToDo { .. }), "{planned:#?}");
    assert_eq!(lab.mutations(), Vec::<String>::new());
}

#[tokio::test]
async fn dup_09_of_rg_shop_is_backed_up_and_the_one_of_rg_lab_is_not_protected() {
    let id = |group: &str| {
        format!("/subscriptions/{SUB}/resourceGroups/{group}/providers/Microsoft.Compute/virtualMachines/dup-09")
    };
    let lab = Lab::new();
    let result = fixed(&lab, "backup-now", &id("rg-shop"), &Ask::default()).await;
    assert_eq!(result.after.unwrap().points.count, 3);
    let planned = lab.plan("backup-now", &id("rg-lab"), &Ask::default()).await;
    assert!(matches!(planned, Planned::NothingToDo { .. }), "{planned:#?}");
    assert_eq!(lab.sent(), 1);
}

#[tokio::test]
async fn erp_13_keeps_the_lock_of_the_group_where_people_live() {
    let lab = Lab::new();
    let planned = lab.plan("unlock-backup-groups", "erp-13", &Ask::default()).await;
    assert!(matches!(planned, Planned::NothingToDo { .. }), "{planned:#?}");
    // Over its limit and with a lock on its real backup group: that one goes, the lock of contoso-prod1 does not.
    lab.sim.edit(|world| {
        let mut lock = world.locks.iter().find(|lock| lock.id.name() == "no-delete").unwrap().clone();
        let id =
            format!("/subscriptions/{SUB}/resourceGroups/contoso-prod2/providers/Microsoft.Authorization/locks/keep");
        lock.id = azmend::arm::ResourceId::parse(&id).unwrap();
        world.put_lock(lock);
    });
    fixed(&lab, "unlock-backup-groups", "erp-13", &Ask::default()).await;
    assert!(lab.mutations().iter().all(|sent| sent.contains("contoso-prod2")), "{:?}", lab.mutations());
    assert!(lab.locks().contains(&"production".to_owned()) && !lab.locks().contains(&"keep".to_owned()));
}

#[tokio::test]
async fn ven_10_keeps_the_points_of_the_other_maker() {
    let lab = Lab::new();
    for playbook in ["delete-stale-collections", "rp-collection-limit"] {
        let ask = Ask { overrides: Override::ALL.to_vec(), ..Ask::default() };
        match lab.plan(playbook, "ven-10", &ask).await {
            Planned::NothingToDo { warnings, .. } => {
                assert!(warnings.iter().any(|text| text.contains("s7.foreign-point")), "{warnings:?}");
            }
            other => panic!("{other:#?}"),
        }
    }
    let wild = Ask { set: vec![("cleanup", "collection")], overrides: Override::ALL.to_vec(), ..Ask::default() };
    lab.sim.edit(|world| {
        let vm = world.vm_named("ven-10").unwrap().id.clone();
        let ids: Vec<_> = world.collections_of(&vm).map(|c| c.id.clone()).collect();
        let live = ids.iter().find(|id| id.name().starts_with("AzureBackup")).unwrap().clone();
        for _ in 0..20 {
            world.advance(Duration::from_secs(3600));
            world.add_point(&live);
        }
    });
    let planned = lab.plan("rp-collection-limit", "ven-10", &wild).await;
    if let Planned::Plan(plan) = &planned {
        assert!(!plan.changes().any(|(_, change)| change.resource().key().contains("veeam")), "{plan:#?}");
    }
    assert_eq!(lab.mutations(), Vec::<String>::new());
}

#[tokio::test]
async fn own_11_keeps_a_lock_with_owners_also_when_it_is_named() {
    let lab = Lab::new();
    let governed = lab.sim.world().locks.iter().find(|lock| lock.id.name() == "governed").unwrap().clone();
    for locks in [vec![], vec![governed.id.to_string()]] {
        let ask = Ask { locks, relock: true, ..Ask::default() };
        for playbook in ["rp-collection-limit", "unlock-backup-groups"] {
            assert_eq!(rules(&lab.plan(playbook, "own-11", &ask).await), ["s5.owners"], "{playbook}");
        }
    }
    assert_eq!(lab.mutations(), Vec::<String>::new(), "Azure refuses it to everybody but the owner");
}

#[tokio::test]
async fn stop_12_keeps_everything() {
    let lab = Lab::new();
    for overrides in [vec![], Override::ALL.to_vec()] {
        let ask = Ask { overrides, ..Ask::default() };
        for playbook in ["rp-collection-limit", "delete-stale-collections", "backup-now"] {
            let planned = lab.plan(playbook, "stop-12", &ask).await;
            let kept =
                matches!(planned, Planned::NothingToDo { .. } | Planned::NotChecked { .. } | Planned::Refused { .. });
            assert!(kept, "{playbook}: {planned:#?}");
        }
    }
    assert_eq!(lab.mutations(), Vec::<String>::new());
    assert_eq!(lab.points("stop-12"), 19);
}

#[tokio::test]
async fn protection_stopped_after_the_plan_stops_deletions_and_the_backup() {
    let lab = Lab::new();
    let plan = lab.planned("rp-collection-limit", "web-01", &Ask::default()).await;
    lab.sim.edit(|world| {
        let vm = world.vm_named("web-01").unwrap().id.clone();
        world.stop_protection(&vm);
        // What the plan read counts for a minute.
        world.advance(std::time::Duration::from_secs(61));
    });
    let log = std::sync::Arc::new(TestLog::default());
    let result = lab.run(&plan, &log).start().await;
    assert!(result.changes.iter().any(|change| change.detail.contains("stopped")), "{result:#?}");
    let rule = result.error.as_ref().unwrap().code.clone();
    assert!(["s8.stopped-retained", "s8.unread", "s10.not-protected"].contains(&rule.as_str()), "{rule}");
    assert_eq!(lab.points("web-01"), 21);
    assert!(!lab.mutations().iter().any(|sent| sent.starts_with("POST")));
    lab.agrees(&plan, &result);
}

#[tokio::test]
async fn relock_and_undo_put_the_lock_back_exactly() {
    let before = Lab::new().sim.world().locks;
    let lab = Lab::new();
    let result = fixed(&lab, "rp-collection-limit", "web-01", &Ask { relock: true, ..Ask::default() }).await;
    assert!(result.locks_removed.iter().all(|lock| lock.restored));
    let mut after = lab.sim.world().locks;
    after.sort_by(|a, b| a.id.cmp(&b.id));
    let mut sorted = before.clone();
    sorted.sort_by(|a, b| a.id.cmp(&b.id));
    assert_eq!(after, sorted);

    let lab = Lab::new();
    let (result, plan, log) = lab.fix("unlock-backup-groups", "web-01", &Ask::default()).await;
    assert_eq!(result.exit_code, 0);
    assert!(!lab.locks().contains(&"no-delete".to_owned()));
    let undone = lab.run(&plan, &log).undo().await;
    assert_eq!((undone.status, undone.exit_code), (Status::Undone, 0), "{undone:#?}");
    let mut after = lab.sim.world().locks;
    after.sort_by(|a, b| a.id.cmp(&b.id));
    assert_eq!(after, sorted);
}

#[tokio::test]
async fn undo_says_what_does_not_come_back() {
    let lab = Lab::new();
    let (_, plan, log) = lab.fix("rp-collection-limit", "web-01", &Ask::default()).await;
    let undone = lab.run(&plan, &log).undo().await;
    assert_eq!((undone.status, undone.exit_code), (Status::Partial, 6), "{undone:#?}");
    assert!(undone.warnings.iter().any(|text| text.contains("5 deletions cannot be undone")), "{undone:#?}");
    assert!(lab.locks().contains(&"no-delete".to_owned()));
}
