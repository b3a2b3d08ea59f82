//! What azmend does on the built-in estate, VM by VM.

use azmend::engine::{Planned, Status};

use crate::support::{Ask, Lab, outcomes};

#[tokio::test]
async fn web_01_is_unlocked_cleaned_and_backed_up() {
    let lab = Lab::new();
    let (result, plan, _) = lab.fix("rp-collection-limit", "web-01", &Ask::default()).await;
    assert_eq!(result.status, Status::Succeeded, "{result:#?}");
    assert_eq!(result.exit_code, 0);
    assert!(outcomes(&result).iter().all(|outcome| *outcome == "succeeded"), "{result:#?}");
    assert!(plan.changes().count() >= 3);
    let (before, after) = (result.before.unwrap(), result.after.unwrap());
    assert_eq!(before.points.count, 21);
    assert_eq!(after.points.count, 17);
    assert_eq!(after.locks.backup_groups, 0);
}

#[tokio::test]
async fn ok_07_has_nothing_to_do() {
    let lab = Lab::new();
    let planned = lab.plan("rp-collection-limit", "ok-07", &Ask::default()).await;
    assert!(matches!(planned, Planned::NothingToDo { .. }), "{planned:#?}");
    assert_eq!(lab.mutations(), Vec::<String>::new());
}
