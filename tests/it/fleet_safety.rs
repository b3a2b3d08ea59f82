//! What a fleet must not do beside what was asked for, and what it must not leave unsaid.

use std::collections::BTreeSet;
use std::process::Command;

use azmend::journal::{FileLock, LockKey, StateDir};
use azmend::sim::{Estate, World};
use serde_json::{Value, json};

use crate::fleet::{BRANCH, ESTATE, FIX, SHOP, User, by_status, hopeless_and_unlocked, intervals, name, names};

const WELL: &str = "- { name: well-06, protection: { vault: v, policy: p, jobs: [{ age: 10h, status: completed }] } }";

/// The estate with something else in the place of `from`.
fn with(from: &str, to: &str) -> String {
    let estate = ESTATE.replace(from, to);
    assert_ne!(estate, ESTATE, "{from}");
    estate
}

/// The plans of a dry run that remove a lock of this name, by their VMs.
fn removing(fleet: &Value, lock: &str) -> Vec<String> {
    let removes = |one: &&Value| {
        let changes = one["changes"].as_array().unwrap();
        changes.iter().any(|change| change["resource_id"].as_str().unwrap().ends_with(&format!("/locks/{lock}")))
    };
    fleet["results"].as_array().unwrap().iter().filter(removes).map(|one| name(&one["vm"])).collect()
}

#[test]
fn a_fleet_that_somebody_works_on_is_not_taken_up() {
    let user = User::of(&hopeless_and_unlocked("a-01"));
    let fleet = user.fleet(&format!("{FIX} --yes"));
    let id = fleet["fleet_id"].as_str().unwrap();
    let state = StateDir::open(&user.state(), false).unwrap();
    let held = FileLock::take(&state, id, [LockKey::fleet(id)]).unwrap();
    let busy = user.json(&format!("fix --retry-failed {id} --dry-run"));
    assert_eq!((&busy["exit_code"], &busy["error"]["code"]), (&json!(5), &json!("busy")), "{busy:#}");
    let shown = user.run(&format!("runs show {id}"));
    assert!(shown.out.contains("is being resumed now") && !shown.out.contains("--retry-failed"), "{}", shown.out);
    drop(held);
    assert!(user.run(&format!("runs show {id}")).out.contains("--retry-failed"));
    assert_eq!(user.fleet(&format!("fix --retry-failed {id} --dry-run"))["exit_code"], 3);
}

#[test]
fn auto_resumes_and_begins_no_protection() {
    let stopped =
        "- { name: well-06, protection: { vault: v, policy: p, state: stopped } }\n          - { name: bare-07 }";
    let user = User::of(&with(WELL, stopped));
    let fleet = user.fleet("fix auto --all --yes --relock");
    assert_eq!(by_status(&fleet, "succeeded"), ["a-01", "b-02", "c-03", "d-04", "e-05"], "{fleet:#}");
    let left = fleet["not_planned"].as_array().unwrap();
    assert_eq!(names(&fleet["not_planned"]), ["bare-07", "well-06"], "{fleet:#}");
    for one in left {
        assert_eq!((&one["reason"], &one["code"]), (&json!("refused"), &json!("protection.not-by-auto")), "{one}");
        let playbook = if name(&one["vm"]) == "bare-07" { "unprotected-vm" } else { "datasource-not-present" };
        let hint = one["hint"].as_str().unwrap();
        assert!(hint.contains(&format!("fix {playbook} --vm /subscriptions/")), "{hint}");
    }
    assert_eq!(fleet["exit_code"], 6, "something was left");
    // Named, it is done; and the question says what it is.
    let named = user.fleet("fix datasource-not-present --all --dry-run");
    assert_eq!(names(&named["results"]), ["well-06"], "{named:#}");
    assert_eq!(named["plan"]["kinds"], json!({ "protections resumed": 1 }));
    let page = user.run("fix datasource-not-present --all --dry-run");
    assert!(page.out.contains("1 change: 1 protection resumed"), "{}", page.out);
}

#[test]
fn every_kind_of_change_is_counted() {
    let user = User::new();
    let fleet = user.fleet(&format!("{FIX} --dry-run"));
    let kinds = fleet["plan"]["kinds"].as_object().unwrap();
    assert_eq!((&kinds["locks removed"], &kinds["backups started"]), (&json!(2), &json!(5)));
    assert_eq!(kinds["restore points deleted"], fleet["plan"]["points"]);
    let page = user.run(FIX);
    let line = page.err.lines().find(|line| line.contains("d-04 (rp-collection-limit)")).unwrap();
    assert!(line.contains("1 lock removed"), "{line}");
}

#[test]
fn a_tenant_that_was_typed_is_the_scope() {
    let user = User::new();
    let tenant = World::from_estate(&Estate::parse(ESTATE, "estate.yaml").unwrap()).tenant;
    let run = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_azmend"));
        command.env_clear().env("AZMEND_STATE_DIR", user.state()).env("AZMEND_SUBSCRIPTION", BRANCH);
        let line = ["--sandbox=estate.yaml", "fix", "rp-collection-limit", "--all", "--dry-run", "-o", "json"];
        let output = command.current_dir(user.home.path()).args(line).args(words).output().unwrap();
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    assert_eq!(names(&run(&[])["results"]), ["e-05"], "what the environment names");
    let whole = run(&["--tenant", &tenant]);
    assert_eq!(names(&whole["results"]).len(), 5, "{whole:#}");
    assert_eq!(whole["scope"], format!("tenant {tenant}"));
    let next = whole["next"].as_str().unwrap();
    assert!(next.contains(&format!("--tenant {tenant}")) && !next.contains("--subscription"), "{next}");
    assert_eq!(names(&run(&["--tenant", &tenant, "-s", SHOP])["results"]), ["a-01", "b-02", "c-03", "d-04"]);
    // With Azure Lighthouse the subscriptions of other tenants are visible, and not meant.
    let other = run(&["--tenant", "33333333-3333-4333-8333-333333333333"]);
    assert_eq!((&other["exit_code"], &other["error"]["code"]), (&json!(4), &json!("no_subscription")), "{other:#}");
}

#[test]
fn what_was_not_read_is_said_in_any_case() {
    let closed = format!(
        "{ESTATE}permissions:\n  - {{ scope: /subscriptions/{SHOP}, actions: [\"*\"] }}\n  - {{ scope: /subscriptions/{BRANCH}, actions: [\"Microsoft.Resources/subscriptions/read\"] }}\n"
    );
    let user = User::of(&closed);
    // Also where the fleet is not begun for another reason.
    for (line, code) in [(FIX.to_owned(), "not_confirmed"), (format!("{FIX} --yes --max-changes 3"), "s9.max-changes")]
    {
        let fleet = user.fleet(&line);
        assert_eq!((&fleet["exit_code"], &fleet["error"]["code"]), (&json!(6), &json!(code)), "{fleet:#}");
        assert!(user.untouched());
    }
    // And where an audit did not read it.
    assert_eq!(user.run("audit --fail-on never --out audit.json").code, 6);
    std::fs::write(user.home.path().join("estate.yaml"), ESTATE).unwrap();
    let fleet = user.fleet(&format!("{FIX} --from audit.json --yes"));
    assert_eq!(by_status(&fleet, "succeeded"), ["a-01", "b-02", "c-03", "d-04"], "{fleet:#}");
    assert_eq!(fleet["exit_code"], 6);
    let unread = fleet["not_read"].as_array().unwrap();
    assert!(
        !unread.is_empty() && unread.iter().all(|one| one["why"].as_str().unwrap().starts_with("in the audit of 20"))
    );
}

#[test]
fn a_named_lock_is_a_change_of_the_vms_it_stands_over() {
    let group = "- name: rg-backup\n";
    let estate = with(group, &format!("{group}        locks: [{{ name: vaults, level: CanNotDelete }}]\n"));
    let user = User::of(&estate);
    let lock = |group: &str, name: &str| {
        format!("/subscriptions/{SHOP}/resourceGroups/{group}/providers/Microsoft.Authorization/locks/{name}")
    };
    // It stands over the vault: over no VM, and over nothing of one.
    let fleet = user.fleet(&format!("{FIX} --dry-run --lock {}", lock("rg-backup", "vaults")));
    assert_eq!(removing(&fleet, "vaults"), Vec::<String>::new(), "{fleet:#}");
    assert_eq!(names(&fleet["results"]).len(), 5);
    assert!(fleet["warnings"][0].as_str().unwrap().contains("concerns none of these VMs"), "{fleet:#}");
    // One that goes anyway, and one that is not there.
    let fleet = user.fleet(&format!("{FIX} --dry-run --lock {}", lock("backup-own-1", "own")));
    assert_eq!((removing(&fleet, "own"), &fleet["warnings"]), (vec!["d-04".to_owned()], &json!([])), "{fleet:#}");
    let fleet = user.fleet(&format!("{FIX} --dry-run --lock {}", lock("rg-shop", "nothing")));
    assert!(fleet["warnings"][0].as_str().unwrap().contains("it does not exist, or a rule keeps it"), "{fleet:#}");
}

#[test]
fn two_vms_of_a_group_without_locks_go_on_beside_each_other() {
    let estate = with("locks: [{ name: shared, level: CanNotDelete, notes: \"all of us\" }]", "locks: []");
    let user = User::of(&estate);
    let fleet = user.fleet(&format!("{FIX} --yes --ramp 100% --concurrency 16"));
    assert_eq!(fleet["exit_code"], 0, "{fleet:#}");
    let all = intervals(&user);
    let of = |vm: &str| all.iter().find(|(name, ..)| name == vm).unwrap();
    let ((_, a, until_a), (_, b, until_b)) = (of("a-01"), of("b-02"));
    assert!(a < until_b && b < until_a, "{all:?}");
}

#[test]
fn playbooks_for_vms_that_are_gone_name_the_way() {
    let refused = User::new().json("fix stale-collections-of-deleted-vm --all --yes");
    assert_eq!(refused["exit_code"], 2, "{refused:#}");
    assert!(refused["error"]["message"].as_str().unwrap().contains("no longer exist"), "{refused:#}");
    assert!(refused["error"]["hint"].as_str().unwrap().contains("audit --playbook orphan-candidate"), "{refused:#}");
}

#[test]
fn a_retry_believes_the_journal() {
    let user = User::of(&hopeless_and_unlocked("c-03"));
    let fleet = user.fleet(&format!("{FIX} --yes --concurrency 1"));
    assert_eq!(by_status(&fleet, "failed"), ["c-03"], "{fleet:#}");
    let id = fleet["fleet_id"].as_str().unwrap();
    let path = user.record();
    let text = std::fs::read_to_string(&path).unwrap();
    let taken_up = || {
        let fleet = user.fleet(&format!("fix --retry-failed {id} --dry-run"));
        names(&fleet["results"]).into_iter().chain(names(&fleet["not_planned"])).collect::<BTreeSet<_>>()
    };
    let left = taken_up();
    // An old word for every VM that ran: what became of each stands in its journal.
    for word in ["stuck", "succeeded", "failed"] {
        let said = text.lines().map(|line| {
            let mut line: Value = serde_json::from_str(line).unwrap();
            if line["vm"]["stage"] == "ended" {
                line["vm"]["status"] = word.into();
            }
            format!("{line}\n")
        });
        std::fs::write(&path, said.collect::<String>()).unwrap();
        assert_eq!(taken_up(), left, "{word}");
    }
    assert_eq!(left.iter().map(String::as_str).collect::<Vec<_>>(), ["c-03", "d-04", "e-05"]);
}

#[test]
fn thorough_finds_what_an_audit_with_it_finds() {
    // Too many points, and nothing else that would make one look: no lock, and a last backup that went well.
    let estate = with(
        "- { of: well-06, points: [{ count: 2, newest: 10h }] }",
        "- { of: well-06, points: [{ count: 20, newest: 10h }] }",
    )
    .replace("locks: [{ name: shared, level: CanNotDelete, notes: \"all of us\" }]", "locks: []");
    let user = User::of(&estate);
    let looked = |words: &str| {
        let fleet = user.fleet(&format!("{FIX} {words} --dry-run"));
        let vms: BTreeSet<String> = names(&fleet["results"]).into_iter().chain(names(&fleet["not_planned"])).collect();
        (vms.contains("well-06"), fleet)
    };
    let (quick, _) = looked("");
    let (close, fleet) = looked("--thorough");
    assert_eq!((quick, close), (false, true), "{fleet:#}");
    assert!(fleet["scope"].as_str().unwrap().ends_with("; thorough"), "{fleet:#}");
    assert!(fleet["next"].as_str().unwrap().contains(" --thorough"), "{fleet:#}");
}

#[test]
fn a_plan_that_grew_too_old_is_left_for_the_next_fleet() {
    // Each backup takes eleven hours and is followed to its end, one after the other: the fourth begins on the second day.
    let estate = with("UserErrorRpCollectionLimitReached", "UserErrorBackupOperationInProgress")
        .replace("transfer: 1h", "transfer: 11h")
        .replace("at: \"23:00\"", "at: \"08:45\"")
        .replace("count: 20", "count: 2");
    let user = User::of(&estate);
    let fleet = user.fleet("fix backup-in-progress --all --set follow=job --yes --ramp 100% --concurrency 1");
    assert_eq!(names(&fleet["not_started"]), ["d-04", "e-05"], "{fleet:#}");
    assert!(fleet["not_started"].as_array().unwrap().iter().all(|one| one["reason"] == "expired"), "{fleet:#}");
    assert_eq!((&fleet["counts"]["failed"], &fleet["exit_code"]), (&json!(0), &json!(7)), "{fleet:#}");
    let next = fleet["next"].as_str().unwrap();
    assert!(next.contains("--retry-failed"), "{next}");
    let again = user.fleet(&format!("fix --retry-failed {} --dry-run", fleet["fleet_id"].as_str().unwrap()));
    let looked: BTreeSet<String> = names(&again["results"]).into_iter().chain(names(&again["not_planned"])).collect();
    assert_eq!(looked.into_iter().collect::<Vec<_>>(), ["d-04", "e-05"]);
}
