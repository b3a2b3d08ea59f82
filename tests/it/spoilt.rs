//! Answers that are not Azure's, or not about what was asked, and storms of 429: they settle nothing, and no lock is lost
//! over them.

use std::sync::Arc;

use azmend::engine::{Plan, RunResult, Status};
use azmend::sim::{Corruption, Fault, FaultEffect, FaultMatch};
use serde_json::json;

use crate::support::{Ask, Lab, TestLog, outcomes};

const LOCK: &str = "/locks/no-delete";

fn fault(lab: &Lab, method: &str, path: &str, (nth, times): (u32, u32), effect: FaultEffect) {
    let when = FaultMatch {
        method: Some(method.into()),
        path_contains: Some(path.into()),
        nth: Some(nth),
        times: Some(times),
    };
    lab.sim.edit(|world| {
        let id = format!("test-{}", world.faults.len());
        world.faults.push(Fault { id, when, effect, seen: 0, fired: 0 });
    });
}

fn said(status: u16, body: &str) -> FaultEffect {
    let raw_body = Some(body.to_owned());
    FaultEffect::Reply { status, code: String::new(), message: String::new(), retry_after: None, raw_body }
}

fn in_force(lab: &Lab) -> bool {
    lab.locks().contains(&"no-delete".to_owned())
}

/// The repair of web-01 that restores its lock at the end.
async fn repaired(spoil: impl FnOnce(&Lab)) -> (RunResult, Lab, Plan) {
    let lab = Lab::new();
    let ask = Ask { relock: true, ..Ask::default() };
    let plan = lab.planned("rp-collection-limit", "web-01", &ask).await;
    spoil(&lab);
    let result = lab.run(&plan, &Arc::new(TestLog::default())).start().await;
    (result, lab, plan)
}

#[tokio::test]
async fn a_refusal_without_azures_code_hides_no_removal() {
    for status in [400, 403, 404, 409, 410, 412, 423, 451] {
        let spoil = |lab: &Lab| fault(lab, "DELETE", LOCK, (1, 1), FaultEffect::Corrupt(Corruption::Status(status)));
        let (result, lab, plan) = repaired(spoil).await;
        assert_eq!((result.status, in_force(&lab)), (Status::Succeeded, true), "{status}: {result:#?}");
        assert!(result.locks_removed.iter().any(|lock| lock.restored), "{status}: it was removed: {result:#?}");
        lab.agrees(&plan, &result);
    }
}

#[tokio::test]
async fn a_backup_that_started_is_found_behind_a_refusal_without_azures_code() {
    for status in [403, 404, 410, 412] {
        let spoil = |lab: &Lab| fault(lab, "POST", "/backup", (1, 1), FaultEffect::Corrupt(Corruption::Status(status)));
        let (result, lab, _) = repaired(spoil).await;
        assert_eq!((result.status, result.exit_code), (Status::Succeeded, 0), "{status}: {result:#?}");
        let backups = lab.mutations().iter().filter(|line| line.starts_with("POST ")).count();
        assert_eq!(backups, 1, "{status}: {:?}", lab.mutations());
    }
}

#[tokio::test]
async fn what_is_not_the_lock_restores_none() {
    let other = json!({ "properties": { "level": "ReadOnly" } }).to_string();
    for (status, body) in [(200, "{}"), (201, "<html>"), (204, ""), (200, other.as_str())] {
        // A replica that still shows the lock would confirm it.
        let lock = json!({
            "id": "/subscriptions/11111111-1111-4111-8111-111111111111/resourceGroups/x/providers/Microsoft.Authorization/locks/other",
            "name": "other", "properties": { "level": "CanNotDelete" }
        });
        let (result, lab, _) = repaired(|lab| {
            fault(lab, "PUT", LOCK, (1, 2), said(status, body));
            fault(lab, "GET", LOCK, (6, 1), said(200, &lock.to_string()));
        })
        .await;
        assert_eq!((result.exit_code, in_force(&lab)), (0, true), "{result:#?}");
        let puts = lab.mutations().iter().filter(|line| line.starts_with("PUT ")).count();
        assert_eq!(puts, 3, "{status} {body}: it is written until Azure shows it");
    }
}

#[tokio::test]
async fn a_lock_whose_restoration_is_never_answered_rightly_is_read() {
    let (result, lab, plan) =
        repaired(|lab| fault(lab, "PUT", LOCK, (1, 99), FaultEffect::Corrupt(Corruption::Html))).await;
    assert_eq!(
        (result.exit_code, in_force(&lab)),
        (0, true),
        "it is in force, and several readings say so: {result:#?}"
    );
    lab.agrees(&plan, &result);
    let (result, lab, _) = repaired(|lab| fault(lab, "PUT", LOCK, (1, 99), said(200, "<html>"))).await;
    assert_eq!((result.exit_code, in_force(&lab)), (8, false), "{result:#?}");
    assert!(result.locks_removed.iter().all(|lock| !lock.restored));
}

#[tokio::test]
async fn a_storm_of_429_leaves_no_lock_off() {
    let throttle = || FaultEffect::Throttle { retry_after: 60, times: 10 };
    let (result, lab, _) = repaired(|lab| fault(lab, "PUT", LOCK, (1, 10), throttle())).await;
    assert_eq!((result.exit_code, in_force(&lab)), (0, true), "{result:#?}");
    let lab = Lab::new();
    let plan = lab.planned("unlock-backup-groups", "web-01", &Ask::default()).await;
    let log = Arc::new(TestLog::default());
    let run = lab.run(&plan, &log);
    assert_eq!(run.start().await.exit_code, 0);
    fault(&lab, "GET", LOCK, (1, 10), throttle());
    let undone = run.undo().await;
    assert_eq!((undone.exit_code, in_force(&lab)), (0, true), "{undone:#?}");
}

#[tokio::test]
async fn an_answer_about_another_lock_is_not_read_as_one_about_this() {
    let lab = Lab::new();
    let id = "/subscriptions/11111111-1111-4111-8111-111111111111/resourceGroups/x/providers/Microsoft.Authorization/locks/other";
    let other = json!({ "id": id, "name": "other", "properties": { "level": "CanNotDelete" } }).to_string();
    fault(&lab, "GET", LOCK, (1, 99), said(200, &other));
    let plan = lab.planned("unlock-backup-groups", "web-01", &Ask::default()).await;
    let result = lab.run(&plan, &Arc::new(TestLog::default())).start().await;
    assert!(!outcomes(&result).contains(&"succeeded"), "{result:#?}");
    assert!(in_force(&lab));
    assert!(result.locks_removed.iter().all(|lock| !lock.id.contains("other")), "{result:#?}");
}
