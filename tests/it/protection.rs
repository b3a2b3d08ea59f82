//! `datasource-not-present`: protection is resumed, and stopped again when that is taken back. (The crash matrix cuts it
//! everywhere, the undo included.)

use std::sync::Arc;
use std::time::Duration;

use azmend::arm::ResourceId;
use azmend::engine::{Plan, Planned, RunResult, Status};
use azmend::journal::RunLog as _;
use azmend::sim::{FaultEffect, Item, Protection, World};

use crate::support::{Ask, Lab, TestLog, outcomes};

const PLAYBOOK: &str = "datasource-not-present";

/// A VM whose protection was stopped, with fewer points than the limit; the item keeps its policy, or not.
fn estate(policy: &str) -> String {
    format!(
        "
apiVersion: azmend/estate/v1
name: stopped
now: 2026-11-20T09:00:00Z
subscriptions:
  - name: Contoso Production
    id: 5b1c0de0-0000-4000-8000-000000000001
    groups:
      - name: rg-backup
        vaults:
          - name: bkp-vault
            policies:
              - {{ name: daily-2d, snapshot_days: 2 }}
              - {{ name: daily-5d, snapshot_days: 5 }}
      - name: rg-shop
        vms:
          - name: web-01
            protection: {{ vault: bkp-vault, {policy}state: stopped, jobs: [{{ age: 40d, status: completed, user: false }}] }}
      - name: AzureBackupRG_westeurope_1
        collections:
          - {{ of: web-01, points: [{{ count: 3, newest: 40d }}] }}
"
    )
}

fn lab() -> Lab {
    Lab::of(&estate("policy: daily-2d, "))
}

fn item(lab: &Lab) -> Item {
    let vm = lab.vm("web-01");
    lab.sim.world().item_of(&vm).unwrap().clone()
}

fn policy_name(item: &Item) -> &str {
    item.policy.as_ref().map(ResourceId::name).unwrap_or_default()
}

fn puts(lab: &Lab) -> usize {
    lab.mutations().iter().filter(|sent| sent.starts_with("PUT ")).count()
}

fn with(set: &[(&'static str, &'static str)]) -> Ask {
    Ask { set: set.to_vec(), ..Ask::default() }
}

fn refused(planned: &Planned) -> (&str, &str) {
    let Planned::Refused { refusals, .. } = planned else { panic!("not refused: {planned:#?}") };
    (&refusals[0].rule, refusals[0].hint.as_deref().unwrap_or_default())
}

/// Resumes, and gives back what is needed to take it back.
async fn resumed(lab: &Lab) -> (Plan, Arc<TestLog>) {
    let (result, plan, log) = lab.fix(PLAYBOOK, "web-01", &Ask::default()).await;
    assert_eq!((result.status, result.exit_code), (Status::Succeeded, 0), "{result:#?}");
    assert_eq!(item(lab).protection, Protection::Protected);
    (plan, log)
}

#[tokio::test]
async fn the_old_policy_is_taken_and_the_proof_is_the_item() {
    let lab = lab();
    let (result, plan, _) = lab.fix(PLAYBOOK, "web-01", &Ask::default()).await;
    assert_eq!((result.status, result.exit_code), (Status::Succeeded, 0), "{result:#?}");
    assert_eq!(result.changes[0].detail, "protected with policy daily-2d (Protected), read back");
    assert!(result.changes[0].effect.contains("may then expire"), "the price is said before");
    assert_eq!((result.changes.len(), puts(&lab)), (1, 1), "{:?}", lab.mutations());
    assert_eq!(policy_name(&item(&lab)), "daily-2d");
    assert!(result.after.as_ref().unwrap().backup.protected);
    lab.agrees(&plan, &result);
    let again = lab.plan(PLAYBOOK, "web-01", &Ask::default()).await;
    assert!(matches!(again, Planned::NothingToDo { .. }), "{again:#?}");
}

#[tokio::test]
async fn a_named_policy_wins_and_a_backup_follows_when_asked_for() {
    let lab = lab();
    let ask = with(&[("policy", "daily-5d"), ("backup", "true")]);
    let (result, plan, _) = lab.fix(PLAYBOOK, "web-01", &ask).await;
    assert_eq!((result.status, result.exit_code), (Status::Succeeded, 0), "{result:#?}");
    assert_eq!(outcomes(&result), ["succeeded", "succeeded"]);
    assert_eq!(policy_name(&item(&lab)), "daily-5d");
    assert!(lab.mutations().last().unwrap().ends_with("/backup"));
    lab.agrees(&plan, &result);
}

#[tokio::test]
async fn stop_12_has_lost_its_policy_and_the_vaults_are_named() {
    let lab = Lab::new();
    let planned = lab.plan(PLAYBOOK, "stop-12", &Ask::default()).await;
    let (rule, hint) = refused(&planned);
    assert_eq!(rule, "protection.no-policy");
    assert!(hint.contains("daily-2d"), "{hint}");
    let planned = lab.plan(PLAYBOOK, "stop-12", &with(&[("policy", "nosuch")])).await;
    assert_eq!(refused(&planned).0, "protection.unknown-policy");
    assert_eq!(lab.mutations(), Vec::<String>::new());
    let ask = with(&[("policy", "daily-2d")]);
    let (result, plan, log) = lab.fix(PLAYBOOK, "stop-12", &ask).await;
    assert_eq!(result.exit_code, 0, "{result:#?}");
    // Taken back it has no policy again, as it was.
    let undone = lab.run(&plan, &log).undo().await;
    assert_eq!((undone.status, undone.exit_code), (Status::Undone, 0), "{undone:#?}");
    let vm = lab.vm("stop-12");
    let item = lab.sim.world().item_of(&vm).unwrap().clone();
    assert_eq!((item.protection, item.policy), (Protection::Stopped, None));
    assert_eq!(lab.points("stop-12"), 19);
}

#[tokio::test]
async fn what_is_not_stopped_is_left_alone() {
    for (state, rule) in
        [(Protection::SoftDeleted, "protection.soft-deleted"), (Protection::Suspended, "protection.not-stopped")]
    {
        let lab = lab();
        lab.sim.edit(|world| world.items[0].protection = state);
        let planned = lab.plan(PLAYBOOK, "web-01", &Ask::default()).await;
        assert_eq!(refused(&planned).0, rule);
    }
    let lab = Lab::new();
    let planned = lab.plan(PLAYBOOK, "ok-07", &Ask::default()).await;
    assert!(matches!(planned, Planned::NothingToDo { .. }), "{planned:#?}");
}

/// What somebody does after the plan, and the rule that then stops the run.
#[tokio::test]
async fn the_guards_are_asked_again_just_before() {
    let cases: [(&str, fn(&mut World)); 5] = [
        ("s3.changed", |world| {
            world.items[0].policy = Some(world.policies[1].id.clone());
        }),
        ("s3.changed", |world| {
            world.items[0].policy = Some(world.policies[1].id.clone());
            world.items[0].protection = Protection::Protected;
        }),
        ("protection.soft-deleted", |world| world.items[0].protection = Protection::SoftDeleted),
        ("protection.unknown-policy", |world| {
            world.policies.remove(0);
        }),
        ("protection.job-active", |world| {
            let vm = world.vms[0].id.clone();
            world.start_job(&vm);
        }),
    ];
    for (rule, meanwhile) in cases {
        let lab = lab();
        let plan = lab.planned_and_saved(PLAYBOOK, "web-01", &Ask::default()).await;
        lab.sim.edit(|world| {
            meanwhile(world);
            world.advance(Duration::from_secs(90));
        });
        let result = lab.run(&plan, &Arc::new(TestLog::default())).start().await;
        assert_eq!((result.status, result.exit_code), (Status::Refused, 5), "{rule}: {result:#?}");
        assert_eq!(result.error.unwrap().code, rule);
        assert_eq!(puts(&lab), 0, "{rule}");
    }
    // Somebody was faster, with the same policy.
    let lab = lab();
    let plan = lab.planned_and_saved(PLAYBOOK, "web-01", &Ask::default()).await;
    lab.sim.edit(|world| world.items[0].protection = Protection::Protected);
    let log = Arc::new(TestLog::default());
    let result = lab.run(&plan, &log).start().await;
    assert_eq!((outcomes(&result), result.exit_code), (vec!["already_done"], 0), "{result:#?}");
    // Then it is not azmend's to take back.
    let undone = lab.run(&plan, &log).undo().await;
    assert_eq!((undone.exit_code, puts(&lab)), (0, 0), "{undone:#?}");
    assert_eq!(item(&lab).protection, Protection::Protected);
}

/// The item as it was before the run, and the run says so.
fn as_before(lab: &Lab, undone: &RunResult) {
    assert_eq!((undone.status, undone.exit_code), (Status::Undone, 0), "{undone:#?}");
    let now = item(lab);
    assert_eq!((now.protection, policy_name(&now)), (Protection::Stopped, "daily-2d"));
}

#[tokio::test]
async fn undo_stops_it_again_and_keeps_data_and_policy() {
    let lab = lab();
    let before = item(&lab);
    let (plan, log) = resumed(&lab).await;
    let undone = lab.run(&plan, &log).undo().await;
    as_before(&lab, &undone);
    assert_eq!(undone.changes[0].undo, "succeeded");
    assert_eq!((item(&lab), puts(&lab)), (before, 2));
    // Once is enough.
    let again = lab.run(&plan, &log).undo().await;
    assert_eq!((again.exit_code, puts(&lab)), (0, 2), "{again:#?}");
}

#[tokio::test]
async fn undo_after_a_lost_reply() {
    for effect in [FaultEffect::LostAfter, FaultEffect::LostBefore] {
        // The reply to the resumption is lost: reading settles it, and at most one request takes effect.
        let lab = lab();
        lab.fault("PUT", "/protectedItems/", 1, effect.clone());
        let (plan, log) = resumed(&lab).await;
        let made = lab.sim.world().jobs.iter().filter(|job| job.operation == "ConfigureBackup").count();
        assert_eq!(made, 1, "{effect:?}");
        as_before(&lab, &lab.run(&plan, &log).undo().await);
        // The reply to the inverse is lost.
        let lab = self::lab();
        let (plan, log) = resumed(&lab).await;
        lab.fault("PUT", "/protectedItems/", 1, effect.clone());
        as_before(&lab, &lab.run(&plan, &log).undo().await);
        let made = lab.sim.world().jobs.iter().filter(|job| job.operation == "DisableBackup").count();
        assert_eq!(made, 1, "{effect:?}");
    }
}

#[tokio::test]
async fn undo_leaves_alone_what_somebody_changed_since() {
    let cases: [(&str, fn(&mut World), u8); 4] = [
        ("another policy", |world| world.items[0].policy = Some(world.policies[1].id.clone()), 6),
        ("deleted", |world| world.items[0].protection = Protection::SoftDeleted, 6),
        ("gone", |world| world.items.clear(), 0),
        ("stopped already", |world| world.items[0].protection = Protection::Stopped, 0),
    ];
    for (what, meanwhile, code) in cases {
        let lab = lab();
        let (plan, log) = resumed(&lab).await;
        lab.sim.edit(meanwhile);
        let before = lab.sim.world().items;
        let undone = lab.run(&plan, &log).undo().await;
        assert_eq!((undone.exit_code, puts(&lab)), (code, 1), "{what}: {undone:#?}");
        assert_eq!(lab.sim.world().items, before, "{what}");
        if code == 6 {
            assert!(undone.warnings.iter().any(|text| text.contains("was not undone")), "{what}: {undone:#?}");
        }
    }
}

#[tokio::test]
async fn undo_waits_for_a_running_job_and_can_be_tried_again() {
    let lab = lab();
    let (plan, log) = resumed(&lab).await;
    lab.sim.edit(|world| {
        let vm = world.vms[0].id.clone();
        world.start_job(&vm);
        world.advance(Duration::from_secs(300));
    });
    let undone = lab.run(&plan, &log).undo().await;
    assert_eq!((undone.status, undone.exit_code, puts(&lab)), (Status::Partial, 6, 1), "{undone:#?}");
    assert!(undone.warnings.iter().any(|text| text.contains("the Backup job")), "{undone:#?}");
    lab.sim.edit(|world| world.advance(Duration::from_secs(4 * 3600)));
    as_before(&lab, &lab.run(&plan, &log).undo().await);
}

#[tokio::test]
async fn a_full_disk_stops_the_undo_and_says_so() {
    let lab = lab();
    let (plan, log) = resumed(&lab).await;
    *log.fail_after.lock().unwrap() = Some(log.records().len() + 1);
    let undone = lab.run(&plan, &log).undo().await;
    assert_ne!(undone.exit_code, 0, "{undone:#?}");
    assert_eq!(puts(&lab), 1);
    assert_eq!(item(&lab).protection, Protection::Protected);
}

#[tokio::test]
async fn without_the_permission_nothing_is_changed() {
    let lab = lab();
    lab.sim.edit(|world| {
        world.revoke_permission(
            "Microsoft.RecoveryServices/Vaults/backupFabrics/protectionContainers/protectedItems/write",
        );
    });
    let (result, plan, _) = lab.fix(PLAYBOOK, "web-01", &Ask::default()).await;
    assert_eq!(result.exit_code, 4, "{result:#?}");
    assert_eq!(item(&lab).protection, Protection::Stopped);
    lab.agrees(&plan, &result);
}

/// `protection.enable`: a VM that no vault knows.
mod enable {
    use super::*;

    const REPAIRS: &str = include_str!("../../examples/estates/repairs.yaml");
    const SET: [(&str, &str); 2] = [("vault", "bkp-repairs"), ("policy", "daily")];

    fn ask(set: &[(&'static str, &'static str)]) -> Ask {
        Ask { set: set.to_vec(), ..Ask::default() }
    }

    async fn refused(lab: &Lab, set: &[(&'static str, &'static str)]) -> String {
        match lab.plan("unprotected-vm", "free-09", &ask(set)).await {
            Planned::Refused { refusals, .. } => refusals[0].rule.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn it_is_protected_and_stopped_again_by_undo() {
        let lab = Lab::of(REPAIRS);
        // The vault has not discovered it: it looks again while the plan is made, and that changes nothing.
        lab.sim.edit(|world| world.vms.iter_mut().for_each(|vm| vm.hidden_from_vaults = true));
        let plan = lab.planned("unprotected-vm", "free-09", &ask(&SET)).await;
        assert_eq!(puts(&lab), 0);
        let log = Arc::new(TestLog::default());
        let result = lab.run(&plan, &log).start().await;
        assert_eq!((result.status, result.exit_code), (Status::Succeeded, 0), "{result:#?}");
        let vm = lab.vm("free-09");
        let made = lab.sim.world().item_of(&vm).unwrap().clone();
        assert_eq!((made.protection, policy_name(&made)), (Protection::Pending, "daily"));
        assert_eq!(puts(&lab), 1);
        let again = lab.plan("unprotected-vm", "free-09", &ask(&SET)).await;
        assert!(matches!(again, Planned::NothingToDo { .. }), "{again:?}");
        let back = lab.run(&plan, &log).undo().await;
        assert_eq!(back.status, Status::Undone, "{back:#?}");
        let stopped = lab.sim.world().item_of(&vm).unwrap().clone();
        assert_eq!((stopped.protection, policy_name(&stopped)), (Protection::Stopped, "daily"));
    }

    #[tokio::test]
    async fn what_is_not_named_or_does_not_fit_is_refused() {
        let lab = Lab::of(REPAIRS);
        for (set, rule) in [
            (&[][..], "protection.which-vault"),
            (&[("vault", "nosuch"), ("policy", "daily")], "protection.unknown-vault"),
            (&[("vault", "bkp-repairs")], "protection.no-policy"),
            (&[("vault", "bkp-repairs"), ("policy", "weekly")], "protection.unknown-policy"),
        ] {
            assert_eq!(refused(&lab, set).await, rule);
        }
        lab.sim.edit(|world| world.vaults[0].location = "koreacentral".into());
        assert_eq!(refused(&lab, &SET).await, "protection.other-region");
        assert_eq!(puts(&lab), 0);
    }

    /// Somebody protects it between the plan and the run: that is theirs.
    #[tokio::test]
    async fn an_item_that_appeared_meanwhile_stops_the_run() {
        let lab = Lab::of(REPAIRS);
        let plan = lab.planned("unprotected-vm", "free-09", &ask(&SET)).await;
        let vm = lab.vm("free-09");
        lab.sim.edit(|world| {
            let mut other = world.items[0].clone();
            other.id = plan.changes().next().unwrap().1.resource().clone();
            other.vm = vm;
            other.protection = Protection::Stopped;
            world.items.push(other);
        });
        let result = lab.run(&plan, &Arc::new(TestLog::default())).start().await;
        assert_eq!(result.exit_code, 5, "{result:#?}");
        assert_eq!(puts(&lab), 0);
    }
}
