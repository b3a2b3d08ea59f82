//! `azmend audit`: what it finds with either collector, what it sends, and how it is typed.

use std::collections::BTreeSet;
use std::path::Path;

use assert_cmd::Command;
use azmend::arm::ResourceId;
use azmend::engine::audit::{Audit, audit};
use azmend::facts::bulk::{self, Collector, Selection};
use azmend::facts::inventory::Visible;
use azmend::playbook::library::Library;
use azmend::sim::{Estate, Fault, FaultEffect, FaultMatch, Permission};
use serde_json::Value;

use crate::support::{Lab, SUB, check_requests, everything};

const ESTATES: [&str; 5] = [
    include_str!("../../examples/estates/built-in.yaml"),
    include_str!("../../examples/estates/backup-server.yaml"),
    include_str!("../../examples/estates/bad-day.yaml"),
    include_str!("../../examples/estates/encrypted.yaml"),
    include_str!("../../examples/estates/repairs.yaml"),
];

async fn look_with(lab: &Lab, wanted: Option<Collector>, selection: &Selection) -> Audit {
    let all = lab.arm.subscriptions().await.unwrap().items;
    look_into(lab, all, wanted, selection).await
}

/// The same for subscriptions that were listed before: a role can be lost, or give the name of a subscription alone.
async fn look_into(
    lab: &Lab,
    all: Vec<azmend::arm::model::Subscription>,
    wanted: Option<Collector>,
    selection: &Selection,
) -> Audit {
    let visible = Visible { chosen: all.clone(), all, malformed: Vec::new() };
    let (bulk, deep) = bulk::read(&lab.arm, &visible, selection, wanted).await.unwrap();
    audit(&Library::shipped(), &bulk, &deep, &everything(), bulk.at, lab.arm.calls())
}

async fn look(lab: &Lab, wanted: Option<Collector>) -> Audit {
    look_with(lab, wanted, &Selection::default()).await
}

fn rules(audit: &Audit) -> BTreeSet<String> {
    audit.findings.iter().map(|one| format!("{} {}", one.rule, one.name)).collect()
}

#[tokio::test]
async fn both_collectors_find_the_same_and_only_read() {
    for (number, text) in ESTATES.iter().enumerate() {
        for selection in [Selection::default(), Selection { thorough: true, ..Selection::default() }] {
            let mut seen = Vec::new();
            for wanted in [Collector::Graph, Collector::Arm] {
                let lab = Lab::of(text);
                // Faults of an estate strike by chance of order: this is about what is there.
                lab.sim.edit(|world| world.faults.clear());
                let found = look_with(&lab, Some(wanted), &selection).await;
                assert_eq!(found.collector, wanted.as_str());
                assert_eq!(lab.mutations(), Vec::<String>::new());
                check_requests(&lab);
                seen.push(found);
            }
            let [graph, arm] = seen.as_slice() else { panic!("two") };
            for (one, other) in graph.findings.iter().zip(&arm.findings) {
                // Lists of ARM write the group of a collection in capitals (recorded), which is the same group.
                let shown = |one: &azmend::engine::audit::Finding| serde_json::to_string(one).unwrap().to_lowercase();
                assert_eq!(shown(one), shown(other), "estate {number}");
            }
            assert_eq!(rules(graph), rules(arm), "estate {number}");
            assert_eq!(graph.summary, arm.summary, "estate {number}");
            assert_eq!((&graph.not_read, graph.exit_code), (&arm.not_read, arm.exit_code), "estate {number}");
        }
    }
}

#[tokio::test]
async fn the_built_in_estate_shows_each_kind_of_trouble() {
    let lab = Lab::new();
    let found = look(&lab, None).await;
    let rules = rules(&found);
    for wanted in [
        "rp-collection-limit web-01",
        "extension-operation-failed app-02",
        "datasource-not-present stop-12",
        "unprotected-vm dup-09",
        "delete-stale-collections db-03",
        "group-locked AzureBackupRG_westeurope_1",
        "group-locked AzureBackupRG_northeurope_1",
    ] {
        assert!(rules.contains(wanted), "{wanted} is not among {rules:#?}");
    }
    // The item's error and the lock are those of the chosen repair: evidence of it, no findings beside it.
    for again in ["item-in-error web-01", "unlock-backup-groups web-01"] {
        assert!(!rules.contains(again), "{again} is said twice");
    }
    assert_eq!(found.summary.objective.words().as_deref(), Some("within objective 12 of 12"));
    assert!(!rules.iter().any(|rule| rule.starts_with("backup-now")), "a task is no finding");
    let inherited = found.findings.iter().find(|one| one.name == "AzureBackupRG_northeurope_1").unwrap();
    assert!(inherited.evidence[0].contains("inherited from the subscription"), "{inherited:?}");
    let command = inherited.command.as_ref().unwrap();
    assert!(command.contains(" diagnose --vm"), "a lock from above is its owner's: {command}");
    let orphan = found.findings.iter().find(|one| one.rule == "orphan-candidate").unwrap();
    assert!(orphan.evidence.iter().any(|line| line.contains("at most 30 GB")), "{orphan:?}");
    let web = found.findings.iter().find(|one| one.rule == "rp-collection-limit" && one.name == "web-01").unwrap();
    assert!(web.evidence.contains(&"points.count is 21".to_owned()), "{web:?}");
    assert_eq!((found.exit_code, found.summary.worst.len(), found.not_read.len()), (3, 5, 0));
    // The order is by level, and no key comes twice.
    assert!(found.findings.is_sorted_by(|a, b| a.level >= b.level));
    let keys: BTreeSet<&str> = found.findings.iter().map(|one| one.key.as_str()).collect();
    assert_eq!(keys.len(), found.findings.len());
}

#[tokio::test]
async fn a_subscription_that_cannot_be_read_is_said_and_nothing_is_concluded_from_it() {
    for wanted in [Collector::Graph, Collector::Arm] {
        let lab = Lab::new();
        let all = lab.arm.subscriptions().await.unwrap().items;
        lab.sim.edit(|world| {
            let scope = format!("/subscriptions/{SUB}");
            world.permissions = vec![Permission { scope, actions: vec!["*/read".into()], not_actions: vec![] }];
        });
        let found = look_into(&lab, all, Some(wanted), &Selection::default()).await;
        assert_eq!(found.exit_code, 6, "{wanted:?}");
        assert_eq!(found.not_read.len(), 1, "one line for the whole subscription: {:?}", found.not_read);
        assert!(found.findings.iter().all(|one| one.subscription == SUB), "{wanted:?}");
        let rules = rules(&found);
        assert!(rules.contains("rp-collection-limit web-01"), "the other subscription is not lost");
        // Its vaults may protect any VM, and its VMs may stand behind any collection.
        let hasty = |rule: &String| rule.starts_with("unprotected-vm") || rule.starts_with("orphan-candidate");
        assert!(!rules.iter().any(hasty), "{rules:#?}");
    }
}

#[tokio::test]
async fn locks_that_cannot_be_read_are_not_absent_locks() {
    let lab = Lab::new();
    lab.sim.edit(|world| {
        world.permissions = vec![Permission {
            scope: "/".into(),
            actions: vec!["*/read".into()],
            not_actions: vec!["Microsoft.Authorization/locks/read".into()],
        }];
    });
    let found = look(&lab, None).await;
    assert!(found.exit_code == 6 && found.not_read.iter().any(|one| one.what.contains("the locks of")), "{found:?}");
    assert!(!rules(&found).iter().any(|rule| rule.starts_with("unlock-backup-groups")));
}

#[tokio::test]
async fn what_resource_graph_may_leave_out_without_a_word_is_said() {
    let vaults = "Microsoft.RecoveryServices/Vaults";
    for (lacking, what) in [
        (format!("{vaults}/backupPolicies/read"), "the backup policies of"),
        (format!("{vaults}/backupFabrics/protectionContainers/protectedItems/read"), "the protected items of"),
        (format!("{vaults}/backupProtectedItems/read"), "the protected items of"),
        (format!("{vaults}/read"), "the vaults of"),
    ] {
        let lab = Lab::new();
        lab.sim.edit(|world| {
            let not_actions = vec![lacking.clone()];
            world.permissions = vec![Permission { scope: "/".into(), actions: vec!["*/read".into()], not_actions }];
        });
        let found = look(&lab, Some(Collector::Graph)).await;
        assert!(found.not_read.iter().any(|one| one.what.contains(what)), "{lacking}: {:?}", found.not_read);
        assert_eq!(found.exit_code, 6, "{lacking}");
        let hasty = |rule: &String| rule.starts_with("unprotected-vm") && !lacking.contains("Policies");
        assert!(!rules(&found).iter().any(hasty), "{lacking}: {:#?}", rules(&found));
    }
}

#[tokio::test]
async fn a_vm_that_goes_while_it_is_looked_at_is_no_finding_and_nothing_unread() {
    for wanted in [Collector::Graph, Collector::Arm] {
        let lab = Lab::new();
        lab.sim.on_request(Box::new(|world, request, _| {
            if request.url.path().ends_with("/virtualMachines/web-01/instanceView") {
                world.vms.retain(|vm| vm.id.name() != "web-01");
            }
        }));
        let found = look(&lab, Some(wanted)).await;
        assert_eq!(found.not_read, Vec::new(), "{wanted:?}");
        assert!(lab.sim.world().vms.iter().all(|vm| vm.id.name() != "web-01"), "it went");
        assert!(!rules(&found).contains("rp-collection-limit web-01"), "{wanted:?}: {:#?}", rules(&found));
    }
}

#[tokio::test]
async fn a_view_that_is_missing_is_not_a_vm_that_is_gone() {
    let lab = Lab::new();
    let reply = FaultEffect::Reply {
        status: 404,
        code: "ResourceNotFound".into(),
        message: "no view".into(),
        retry_after: None,
        raw_body: None,
    };
    let when = FaultMatch {
        method: Some("GET".into()),
        path_contains: Some("web-01/instanceView".into()),
        nth: None,
        times: None,
    };
    lab.sim.edit(|world| {
        world.faults.push(Fault { id: "no-view".into(), when, effect: reply, seen: 0, fired: 0 });
    });
    let found = look(&lab, None).await;
    let told = found.not_read.iter().any(|one| one.what.contains("the instance view of the VM web-01"));
    assert!(told && found.exit_code == 6, "{:?}", found.not_read);
    assert!(rules(&found).iter().any(|rule| rule.ends_with(" web-01")), "{:#?}", rules(&found));
}

#[tokio::test]
async fn what_was_found_before_is_looked_at_again() {
    let lab = Lab::of(ESTATES[2]);
    let rule = |audit: &Audit| {
        let silent = audit.findings.iter().find(|one| one.rule == "agent-not-ready").cloned();
        silent.map(|one| (one.resource.to_lowercase(), one.key))
    };
    let thorough = Selection { thorough: true, ..Selection::default() };
    let before = look_with(&lab, None, &thorough).await;
    let (vm, key) = rule(&before).unwrap();
    // Nothing else is wrong with it, so that nobody would look.
    lab.sim.edit(|world| {
        world.jobs.clear();
        for item in &mut world.items {
            (item.last_backup_status, item.reported) = ("Completed".into(), None);
        }
        world.locks.clear();
    });
    let glance = look(&lab, None).await;
    assert!(glance.findings.iter().all(|one| one.key != key), "{:#?}", rules(&glance));
    let again = Selection { also: [vm].into(), ..Selection::default() };
    let mut found = look_with(&lab, None, &again).await;
    let all = lab.arm.subscriptions().await.unwrap().items.into_iter().map(|one| one.id.to_lowercase()).collect();
    found.compare(&before, &everything(), &all);
    let still = found.findings.iter().find(|one| one.key == key).unwrap();
    assert_eq!(still.change, Some(azmend::engine::audit::Since::Unchanged));
    // A subscription that is not visible any more was not repaired.
    found.compare(&before, &everything(), &[].into());
    assert!(found.exit_code == 6 && found.not_read.iter().any(|one| one.why.contains("not visible now")));
}

#[tokio::test]
async fn a_subscription_is_named_as_it_can_be_typed() {
    for (name, word) in [("Pay-As-You-Go Dev/Test", None), ("R&D", None), ("-x", None), ("Contoso", Some("-s Contoso"))]
    {
        let lab = Lab::new();
        lab.sim.edit(|world| world.subscriptions.iter_mut().find(|one| one.id == SUB).unwrap().name = name.to_owned());
        let found = look(&lab, None).await;
        let commands =
            found.findings.iter().filter(|one| one.subscription == SUB).filter_map(|one| one.command.as_ref());
        let commands: Vec<&String> = commands.filter(|command| command.contains(" -s ")).collect();
        let guid = format!("-s {SUB}");
        assert!(!commands.is_empty());
        assert!(commands.iter().all(|command| command.contains(word.unwrap_or(&guid))), "{name}: {commands:#?}");
    }
    // One that is not looked into has the same name.
    let lab = Lab::new();
    lab.sim.edit(|world| world.subscriptions.iter_mut().for_each(|one| one.name = "Twin".to_owned()));
    let all = lab.arm.subscriptions().await.unwrap().items;
    let chosen = all.iter().filter(|one| one.id == SUB).cloned().collect();
    let visible = Visible { chosen, all, malformed: Vec::new() };
    let (bulk, deep) = bulk::read(&lab.arm, &visible, &Selection::default(), None).await.unwrap();
    let found = audit(&Library::shipped(), &bulk, &deep, &everything(), bulk.at, 0);
    assert!(found.findings.iter().filter_map(|one| one.command.as_ref()).all(|command| !command.contains("Twin")));
}

#[tokio::test]
async fn without_resource_graph_plain_lists_are_read() {
    let lab = Lab::new();
    let all = lab.arm.subscriptions().await.unwrap().items;
    lab.sim.edit(|world| world.permissions.clear());
    let found = look_into(&lab, all, None, &Selection::default()).await;
    assert_eq!((found.collector.as_str(), found.exit_code), ("arm", 6));
    assert_eq!((found.findings.len(), found.not_read.len()), (0, 2), "{:?}", found.not_read);
}

#[tokio::test]
async fn tags_and_groups_narrow_the_same_way() {
    for wanted in [Collector::Graph, Collector::Arm] {
        let lab = Lab::new();
        lab.sim.edit(|world| {
            let vm = world.vms.iter_mut().find(|vm| vm.id.name() == "web-01").unwrap();
            vm.tags = [("Env".to_owned(), "prod".to_owned())].into();
        });
        let tags = vec![("env".to_owned(), "prod".to_owned())];
        let found = look_with(&lab, Some(wanted), &Selection { tags, ..Selection::default() }).await;
        assert_eq!(found.summary.vms, 1);
        let names: BTreeSet<&str> = found.findings.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, BTreeSet::from(["AzureBackupRG_westeurope_1", "web-01"]), "{wanted:?}");
        let group = Some("RG-BRANCH".to_owned());
        let found = look_with(&lab, Some(wanted), &Selection { group, ..Selection::default() }).await;
        assert!(found.summary.vms > 0 && found.findings.iter().all(|one| one.subscription != SUB), "{wanted:?}");
        let vault = Some("branch-vault".to_owned());
        let found = look_with(&lab, Some(wanted), &Selection { vault, ..Selection::default() }).await;
        assert!(found.summary.vms > 0 && found.findings.iter().all(|one| one.subscription != SUB), "{wanted:?}");
    }
}

#[tokio::test]
async fn a_stuck_job_and_a_silent_agent_are_seen() {
    let thorough = Selection { thorough: true, ..Selection::default() };
    let silent = look_with(&Lab::of(ESTATES[2]), None, &thorough).await;
    assert!(rules(&silent).iter().any(|rule| rule.starts_with("agent-not-ready")), "{silent:?}");
    let found = look_with(&Lab::of(ESTATES[4]), None, &thorough).await;
    assert!(rules(&found).iter().any(|rule| rule == "job-stuck stuck-02"), "{found:?}");
    for one in &found.findings {
        assert!(
            ResourceId::parse(&one.resource).is_ok() && !one.title.is_empty() && !one.evidence.is_empty(),
            "{one:?}"
        );
        assert!(one.command.as_ref().is_none_or(|command| command.starts_with("azmend ")), "{one:?}");
    }
}

#[tokio::test]
async fn quiet_troubles_are_seen_and_healthy_twins_are_not() {
    let text = r#"
apiVersion: azmend/estate/v1
name: quiet
now: 2026-11-20T09:00:00Z
subscriptions:
  - name: Quiet
    id: 5b1c0de0-0000-4000-8000-000000000001
    groups:
      - name: rg-app
        vms:
          - { name: near-01, protection: { vault: v, policy: p, jobs: [{ age: 10h, status: completed, user: false }] } }
          - { name: calm-02, protection: { vault: v, policy: p, jobs: [{ age: 10h, status: completed, user: false }] } }
          - name: ext-03
            extensions:
              - { name: Monitor, publisher: Microsoft.Azure.Monitor, type: AzureMonitorLinuxAgent, version: 1.30.0.0, state: failed }
            protection: { vault: v, policy: p, jobs: [{ age: 10h, status: completed, user: false }] }
        vaults:
          - name: v
            policies: [{ name: p, snapshot_days: 2 }]
            items: [{ of: rg-app/gone-04, state: stopped, policy: p }]
      - name: AzureBackupRG_westeurope_1
        collections:
          - { of: near-01, points: [{ count: 17, newest: 10h }] }
          - { of: calm-02, points: [{ count: 16, newest: 10h }] }
          - { of: ext-03, points: [{ count: 2, newest: 10h }] }
"#;
    for wanted in [Collector::Graph, Collector::Arm] {
        let thorough = Selection { thorough: true, ..Selection::default() };
        let found = look_with(&Lab::of(text), Some(wanted), &thorough).await;
        let only = |rule: &str| -> Vec<&str> {
            found.findings.iter().filter(|one| one.rule == rule).map(|one| one.name.as_str()).collect()
        };
        assert_eq!(only("near-limit"), ["near-01"], "{wanted:?}");
        assert_eq!(only("extension-failed"), ["ext-03"], "{wanted:?}");
        assert_eq!(only("protection-stopped"), ["gone-04"], "{wanted:?}");
        let near = found.findings.iter().find(|one| one.rule == "near-limit").unwrap();
        assert_eq!(near.evidence, ["points.count is 17", "points.limit is 18"]);
        assert_eq!(near.command.as_deref(), Some("azmend diagnose --vm rg-app/near-01 -s Quiet"));
        assert_eq!((found.not_read.len(), found.summary.at_risk), (0, 0), "{found:?}");
    }
}

/// Runs azmend in an empty environment: exit code, stdout, stderr.
fn azmend(dir: &Path, words: &[&str]) -> (i32, String, String) {
    let mut command = Command::cargo_bin("azmend").unwrap();
    command.env_clear().env("HOME", dir).env("PATH", dir).env("COLUMNS", "80").current_dir(dir).args(words);
    let out = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (out.status.code().unwrap(), text(out.stdout), text(out.stderr))
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn the_options_do_what_they_say_and_keep_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let audit = |more: &[&str]| {
        let (code, out, err) = azmend(dir.path(), &[&["--sandbox", "audit", "-o", "json"], more].concat());
        assert!(!out.is_empty(), "{more:?}: {err}");
        (code, json(&out))
    };
    let all = |report: &Value, what: &str| -> BTreeSet<String> {
        report["findings"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one[what].as_str().unwrap_or_default().to_owned())
            .collect()
    };
    let (code, whole) = audit(&[]);
    assert_eq!((code, whole["schema"].as_str(), whole["sandbox"].as_bool()), (3, Some("azmend.audit/v1"), Some(true)));
    let schema =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/schema/audit.schema.json")).unwrap();
    let validator = jsonschema::validator_for(&json(&schema)).unwrap();
    assert!(validator.is_valid(&whole));
    assert_eq!(audit(&["--fail-on", "never"]).0, 0);
    assert_eq!(audit(&["--playbook", "orphan-candidate"]).0, 0, "low is below medium");
    assert_eq!(audit(&["--playbook", "orphan-candidate", "--fail-on", "low"]).0, 3);
    assert_eq!(all(&audit(&["--min-severity", "high"]).1, "level"), BTreeSet::from(["high".to_owned()]));
    assert_eq!(all(&audit(&["--playbook", "unprotected-vm"]).1, "name"), BTreeSet::from(["dup-09".to_owned()]));
    let coded = audit(&["--code", "extensionoperationfailed"]).1;
    assert_eq!(all(&coded, "name"), BTreeSet::from(["app-02".to_owned()]), "{coded}");
    assert_eq!(audit(&["--collector", "arm"]).1["collector"], "arm");
    let (_, branch) = audit(&["-s", "5b1c0de0-0000-4000-8000-000000000002"]);
    assert_eq!(branch["summary"]["subscriptions"], 1);
    let tenant = azmend::sim::World::from_estate(&Estate::built_in()).tenant;
    let (_, root) = audit(&["--management-group", &tenant]);
    assert_eq!(
        (root["findings"].as_array(), root["not_read"].as_array()),
        (whole["findings"].as_array(), Some(&Vec::new()))
    );
    let (_, lines, _) = azmend(dir.path(), &["--sandbox", "audit", "-o", "jsonl"]);
    assert_eq!(lines.lines().count(), whole["findings"].as_array().unwrap().len() + 1);
    assert!(!dir.path().join(".local/state/azmend/sandbox").exists(), "looking keeps nothing");
    for wrong in [
        &["--playbook", "rp-colection-limit"][..],
        &["--playbook", "backup-now"],
        &["--code", "NoSuchCode"],
        &["--vault", "no-vault"],
        &["--tag", "env"],
        &["--out", "audit.pdf"],
        &["--baseline", "none.json"],
        &["--collector", "arm", "--management-group", "root"],
        &["--management-group", "root", "-s", "x"],
        &["--tenant", "--management-group", "root"],
        &["--tenant", "-s", "x"],
        &["--resource-group", "../x"],
        &["--resource-group", "rg-nowhere"],
    ] {
        let (code, _, err) = azmend(dir.path(), &[&["--sandbox", "audit"], wrong].concat());
        assert_eq!(code, 2, "{wrong:?}: {err}");
    }
}

#[test]
fn a_tenant_is_more_than_the_subscription_that_the_environment_names() {
    let dir = tempfile::tempdir().unwrap();
    let scope = |words: &[&str]| {
        let mut command = Command::cargo_bin("azmend").unwrap();
        command.env_clear().env("HOME", dir.path()).env("AZMEND_SUBSCRIPTION", SUB).current_dir(dir.path());
        let out = command.args([&["--sandbox", "audit", "-o", "json"], words].concat()).output().unwrap();
        let report = json(&String::from_utf8(out.stdout).unwrap());
        (report["summary"]["subscriptions"].as_u64(), report["scope"].as_str().unwrap_or_default().to_owned())
    };
    let tenant = azmend::sim::World::from_estate(&Estate::built_in()).tenant;
    assert_eq!(scope(&[]), (Some(1), "subscription Contoso Production".into()));
    assert_eq!(scope(&["--tenant"]), (Some(2), "all visible subscriptions".into()));
    assert_eq!(scope(&["--tenant", &tenant]), (Some(2), format!("tenant {tenant}")));
    assert_eq!(scope(&["--management-group", &tenant]).0, Some(2));
    assert_eq!(scope(&["--tenant", &tenant, "-s", SUB]).0, Some(1), "what is typed holds");
    let (code, _, err) =
        azmend(dir.path(), &["--sandbox", "audit", "--tenant", "33333333-3333-4333-8333-333333333333"]);
    assert!(code == 4 && err.contains("no visible subscription belongs to the tenant"), "{code}: {err}");
    let (code, _, err) = azmend(dir.path(), &["--sandbox", "vms", "--tenant"]);
    assert!(code == 2 && err.contains("--tenant needs the id"), "{code}: {err}");
}

#[test]
fn plans_say_what_each_fix_would_do_and_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (code, out, err) = azmend(dir.path(), &["--sandbox", "audit", "--plans", "-o", "json"]);
    assert_eq!(code, 3, "{err}");
    let report = json(&out);
    let plan = |rule: &str, name: &str| -> String {
        let all = report["findings"].as_array().unwrap();
        all.iter().find(|one| one["rule"] == rule && one["name"] == name).unwrap()["plan"].to_string()
    };
    let web = plan("rp-collection-limit", "web-01");
    assert!(web.contains("remove the CanNotDelete lock no-delete") && web.contains("delete 5 expired points"), "{web}");
    assert!(plan("rp-collection-limit", "own-11").contains("refused: "));
    assert!(
        plan("unprotected-vm", "dup-09").contains("refused: ")
            || plan("unprotected-vm", "dup-09").contains("needs more: ")
    );
    // The one lock is in the plans of eleven VMs and counts once.
    assert_eq!(report["summary"]["planned"]["locks removed"], 1, "{}", report["summary"]);
    // Each plan is what the command itself would show.
    let command =
        ["--sandbox", "fix", "rp-collection-limit", "--vm", "rg-shop/web-01", "-s", "Contoso Production", "-n"];
    let (_, shown, _) = azmend(dir.path(), &[&command[..], &["-o", "json"]].concat());
    let effects = json(&shown)["changes"].as_array().unwrap().len();
    assert!(effects >= 3, "{shown}");
    assert!(!dir.path().join(".local/state/azmend/sandbox").exists(), "nothing was changed");
}

#[test]
fn own_playbooks_are_looked_for_and_their_commands_say_where_they_are() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("mine")).unwrap();
    let own = include_str!("../../playbooks/unlock-backup-groups.yaml")
        .replace("name: unlock-backup-groups", "name: my-unlock");
    std::fs::write(dir.path().join("mine/own.yaml"), own).unwrap();
    let words = ["--sandbox", "audit", "-o", "json", "--playbooks", "mine", "--playbook", "my-unlock"];
    let (code, out, err) = azmend(dir.path(), &words);
    assert_eq!(code, 3, "{err}");
    let report = json(&out);
    let commands = report["findings"].as_array().unwrap().iter().map(|one| one["command"].as_str().unwrap().to_owned());
    let commands: Vec<String> = commands.collect();
    let repairs: Vec<&String> = commands.iter().filter(|one| one.contains(" fix ")).collect();
    assert!(repairs.len() > 5 && repairs.iter().all(|one| one.ends_with(" --playbooks mine")), "{commands:?}");
    // As written, it works.
    let line = repairs[0].strip_prefix("azmend ").unwrap().replace("'Contoso Production'", "Contoso+Production");
    let words: Vec<String> = line.split(' ').map(|word| word.replace('+', " ")).chain(["-n".into()]).collect();
    let (code, _, err) = azmend(dir.path(), &words.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(code, 3, "{words:?}: {err}");
}

#[test]
fn a_baseline_tells_what_is_new_and_what_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let run = |words: &[&str]| azmend(dir.path(), &[&["--sandbox"], words].concat());
    assert_eq!(run(&["audit", "--out", "base.json", "--out", "base.jsonl"]).0, 3);
    let (_, out, err) = run(&["audit", "--baseline", "base.json", "-o", "json"]);
    let since = &json(&out)["summary"]["since"];
    assert!(since["new"] == 0 && since["gone"] == 0 && since["unchanged"].as_u64().unwrap() > 10, "{out} {err}");
    assert_eq!(run(&["fix", "unlock-backup-groups", "--vm", "web-01", "--yes", "-q"]).0, 0);
    let (_, out, _) = run(&["audit", "--baseline", "base.json", "-o", "json"]);
    let report = json(&out);
    let gone: Vec<&Value> =
        report["findings"].as_array().unwrap().iter().filter(|one| one["change"] == "gone").collect();
    assert!(gone.iter().any(|one| one["rule"] == "group-locked" && one["name"] == "AzureBackupRG_westeurope_1"));
    assert_eq!(report["summary"]["since"]["gone"].as_u64().unwrap(), gone.len() as u64);
    let (_, page, _) = run(&["audit", "--baseline", "base.json"]);
    assert!(page.contains("gone since the baseline"), "{page}");
    // Another scope, another schema, no JSON: none is compared.
    let (code, _, err) = run(&["audit", "--baseline", "base.json", "--resource-group", "rg-shop"]);
    assert!(code == 2 && err.contains("another scope"), "{err}");
    for text in ["{", "[]", "{\"schema\":\"azmend.result/v1\"}", "{\"schema\":\"azmend.audit/v1\"}"] {
        std::fs::write(dir.path().join("bad.json"), text).unwrap();
        let (code, _, err) = run(&["audit", "--baseline", "bad.json"]);
        assert!(code == 2 && err.contains("bad.json is not an audit"), "{text}: {err}");
    }
}

#[test]
fn text_from_azure_does_not_control_the_terminal() {
    let dir = tempfile::tempdir().unwrap();
    let hostile = ESTATES[0].replace("Protect backups.", "\\e]0;x\\a\\u202egpj");
    assert_ne!(hostile, ESTATES[0]);
    std::fs::write(dir.path().join("estate.yaml"), hostile).unwrap();
    for format in ["table", "json", "jsonl", "csv", "markdown", "html", "sarif", "junit"] {
        let words = ["--sandbox=estate.yaml", "audit", "-o", format, "--color", "never"];
        let (code, out, err) = azmend(dir.path(), &words);
        assert_eq!(code, 3, "{err}");
        let bad = |c: char| (c.is_control() && c != '\n' && !(c == '\r' && format == "csv")) || c == '\u{202e}';
        assert!(!out.contains(bad) && !err.contains(bad), "{format}: {out:?}");
    }
}
