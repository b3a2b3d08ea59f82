//! `diagnose --locks`: who makes the locks over restore points, and what is said when that cannot be read.

use std::collections::BTreeSet;

use azmend::engine::choose::choose;
use azmend::engine::diagnose::{Ask, Diagnosis, Line, State, diagnose};
use azmend::engine::planner::view_of;
use azmend::facts::collect::{CollectOptions, collect};
use azmend::facts::guest::Guest;
use azmend::facts::lockwatch::lock_watch;
use azmend::facts::surroundings::around;
use azmend::playbook::library::Library;

use crate::support::Lab;

const SUB: &str = "5b1c0de0-0000-4000-8000-000000000012";

/// A VM whose backup group is locked, and these policies and events.
fn lab(policies: &str, activity: &str) -> Lab {
    Lab::of(&format!(
        "apiVersion: azmend/estate/v1
name: watched
now: 2026-11-20T09:00:00Z
subscriptions:
  - name: Harbour
    id: {SUB}
    groups:
      - name: rg-quay
        vms:
          - name: quay-03
            protection: {{ vault: safe, policy: nightly, jobs: [{{ age: 9h, status: completed }}] }}
        vaults: [{{ name: safe, policies: [{{ name: nightly, snapshot_days: 2 }}] }}]
      - name: AzureBackupRG_westeurope_1
        locks: [{{ name: keep, level: CanNotDelete }}]
        collections: [{{ of: quay-03, points: {{ count: 3, newest: 33h }} }}]
policy_assignments: [{policies}]
activity: [{activity}]
"
    ))
}

async fn told(lab: &Lab) -> Diagnosis {
    let facts =
        collect(&lab.arm, &lab.vm("quay-03"), &CollectOptions { glance: true, ..CollectOptions::default() }).await;
    let around = around(&lab.arm, &facts, false).await;
    let watch = lock_watch(&lab.arm, &facts).await;
    let view = view_of(&facts, &lab.arm, &BTreeSet::new());
    let choice = choose(&Library::shipped(), &facts, &view);
    let ask = Ask {
        sandbox: true,
        program: "azmend",
        code: None,
        vm: "quay-03",
        watch: Some(&watch),
        guest: &Guest::NotAllowed,
    };
    diagnose(&facts, &around, &view, &choice, lab.arm.clock().now(), &ask)
}

fn line<'a>(told: &'a Diagnosis, check: &str) -> &'a Line {
    let mut found = told.lines.iter().filter(|line| line.area == "locks" && line.check.contains(check));
    found.next().unwrap_or_else(|| panic!("no line {check:?}: {:#?}", told.lines))
}

const DEPLOYS: &str =
    "{ name: keep-groups, scope: Harbour, effect: deployIfNotExists, type: Microsoft.Authorization/locks";

#[tokio::test]
async fn who_wrote_a_lock_and_which_policy_puts_it_back_is_said() {
    let events = "{ group: AzureBackupRG_westeurope_1, lock: keep, operation: delete, by: ines@example.org, age: 5h },
      { group: AzureBackupRG_westeurope_1, lock: keep, operation: write, by: 7a000000-0000-4000-8000-000000000001, age: 4h }";
    let lab = lab(&format!("{DEPLOYS} }}"), events);
    let told = told(&lab).await;
    let who = line(&told, "who changed those on AzureBackupRG_westeurope_1");
    assert_eq!(
        who.evidence,
        "keep written 2026-11-20 05:00Z by 7a000000-0000-4000-8000-000000000001; keep deleted 2026-11-20 04:00Z by ines@example.org"
    );
    let policy = line(&told, "recreated by the policy keep-groups");
    let group = format!("/subscriptions/{SUB}/resourceGroups/AzureBackupRG_westeurope_1");
    assert_eq!(policy.state, State::Problem);
    assert!(policy.evidence.contains("deployIfNotExists") && policy.evidence.contains("notScopes"), "{policy:?}");
    assert!(policy.evidence.ends_with(&group), "{policy:?}");
    assert!(lab.mutations().is_empty());
}

#[tokio::test]
async fn an_initiative_and_a_parameter_hide_no_policy() {
    let lab = lab(&format!("{DEPLOYS}, initiative: baseline, by_parameter: true }}"), "");
    let told = told(&lab).await;
    assert_eq!(line(&told, "recreated by the policy keep-groups").state, State::Problem);
    assert!(line(&told, "who changed").evidence.contains("no one in 30 days"));
}

#[tokio::test]
async fn what_puts_nothing_back_is_no_problem() {
    let group = format!("/subscriptions/{SUB}/resourceGroups/AzureBackupRG_westeurope_1");
    for policies in [
        format!("{DEPLOYS}, not_scopes: [{group}] }}"),
        format!("{DEPLOYS}, enforced: false }}"),
        format!("{DEPLOYS}, scope: rg-quay }}").replace("scope: Harbour, ", ""),
    ] {
        let told = told(&lab(&policies, "")).await;
        assert_eq!(line(&told, "recreated by the policy").state, State::Ok, "{policies}");
    }
    for policies in [
        "",
        "{ name: no-locks, scope: Harbour, effect: deny, type: Microsoft.Authorization/locks }",
        "{ name: tags, scope: Harbour, effect: modify, type: Microsoft.Compute/virtualMachines }",
    ] {
        let told = told(&lab(policies, "")).await;
        let none = line(&told, "policies that recreate locks");
        assert_eq!((none.state, none.evidence.as_str()), (State::Ok, "none"), "{policies}");
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_not_none() {
    let lost = told(&lab(&format!("{DEPLOYS}, lost: true }}"), "")).await;
    let unread = line(&lost, "other policy assignments");
    assert!(unread.state == State::NotChecked && unread.evidence.contains("keep-groups"), "{unread:?}");
    assert!(!lost.lines.iter().any(|line| line.check == "policies that recreate locks"), "{:#?}", lost.lines);
    for (action, check) in [
        ("Microsoft.Authorization/policyAssignments/read", "policies that recreate locks"),
        ("Microsoft.Authorization/policyDefinitions/read", "other policy assignments"),
        ("Microsoft.Insights/eventtypes/values/read", "who changed those on"),
    ] {
        let lab = lab(&format!("{DEPLOYS} }}"), "");
        lab.sim.edit(|world| world.revoke_permission(action));
        let told = told(&lab).await;
        assert_eq!(line(&told, check).state, State::NotChecked, "{action}: {:#?}", told.lines);
    }
}
