//! The checklist of `azmend diagnose` about what surrounds a VM, and how little it asks.

use azmend::engine::choose::choose;
use azmend::engine::diagnose::{Ask, Diagnosis, Line, State, diagnose};
use azmend::engine::planner::view_of;
use azmend::facts::collect::{CollectOptions, collect};
use azmend::facts::surroundings::around;
use azmend::playbook::library::Library;
use azmend::sim::{Estate, World};

use crate::support::Lab;

/// A machine with four disks behind one vault, whose last backup failed; `more` is put into the machine.
fn estate(more: &str) -> String {
    format!(
        "apiVersion: azmend/estate/v1
name: one
now: 2026-11-20T09:00:00Z
subscriptions:
  - name: One
    id: 5b1c0de0-0000-4000-8000-000000000007
    groups:
      - name: rg
        location: westeurope
        vms:
          - name: one
            {more}
            protection: {{ vault: v, policy: p, points: {{ count: 9, newest: 34h }}, jobs: [{{ age: 10h, status: failed, error: ExtensionSnapshotFailedNoNetwork }}] }}
          - name: two
            protection: {{ vault: v, policy: p, jobs: [{{ age: 10h, status: completed }}] }}
        vaults:
          - name: v
            policies: [{{ name: p, snapshot_days: 2, at: \"23:00\" }}]
      - name: AzureBackupRG_westeurope_1
        locks: [{{ name: keep, level: CanNotDelete }}]
        collections: [{{ of: one, points: [{{ count: 2, newest: 34h }}] }}, {{ of: two, points: [{{ count: 2, newest: 34h }}] }}]
"
    )
}

fn lab(more: &str) -> Lab {
    Lab::on(World::from_estate(&Estate::parse(&estate(more), "estate.yaml").unwrap()))
}

async fn told(lab: &Lab, network: bool) -> (Diagnosis, u64) {
    let vm = lab.vm("one");
    let before = lab.arm.calls();
    let facts = collect(&lab.arm, &vm, &CollectOptions { glance: true, ..CollectOptions::default() }).await;
    let around = around(&lab.arm, &facts, network).await;
    let calls = lab.arm.calls() - before;
    let view = view_of(&facts, &lab.arm, &std::collections::BTreeSet::new());
    let choice = choose(&Library::shipped(), &facts, &view);
    let ask = Ask {
        sandbox: true,
        program: "azmend",
        code: None,
        vm: "one",
        watch: None,
        guest: &azmend::facts::guest::Guest::NotAllowed,
    };
    (diagnose(&facts, &around, &view, &choice, lab.arm.clock().now(), &ask), calls)
}

fn line<'a>(told: &'a Diagnosis, area: &str, check: &str) -> &'a Line {
    let found = told.lines.iter().find(|line| line.area == area && line.check.contains(check));
    found.unwrap_or_else(|| panic!("no line {area}: {check} in {:#?}", told.lines))
}

const THREE: &str = "disks: [{ size_gb: 512 }, { size_gb: 1024, sku: StandardSSD_LRS }, { size_gb: 64 }]";

#[tokio::test]
async fn four_disks_and_one_vault_take_at_most_25_calls() {
    let (told, calls) = told(&lab(THREE), false).await;
    assert!(calls <= 25, "{calls} calls");
    let disks: Vec<_> = told.lines.iter().filter(|line| line.area == "disks").collect();
    assert_eq!(disks.len(), 4, "{disks:#?}");
    assert!(disks.iter().all(|line| line.state == State::Ok), "Standard SSD is supported: {disks:#?}");
    assert_eq!(line(&told, "locks", "backup resource groups").state, State::Problem, "counted at a glance");
    assert!(line(&told, "jobs", "at the same time").evidence.starts_with("1 backup of other VMs"));
    assert_eq!(line(&told, "network", "rules").state, State::NotChecked);
}

/// What a glance counts is what the proof counts, on every machine of the built-in estate.
#[tokio::test]
async fn a_glance_sees_what_the_proof_sees() {
    let lab = Lab::new();
    for vm in lab.sim.world().vms.iter().map(|vm| vm.id.clone()).collect::<Vec<_>>() {
        let none = std::collections::BTreeSet::new();
        let proof = collect(&lab.arm, &vm, &CollectOptions::default()).await;
        let glance = collect(&lab.arm, &vm, &CollectOptions { glance: true, ..CollectOptions::default() }).await;
        let (proof, glance) = (view_of(&proof, &lab.arm, &none), view_of(&glance, &lab.arm, &none));
        assert_eq!(serde_json::to_value(&proof).unwrap(), serde_json::to_value(&glance).unwrap(), "{vm}");
    }
}

/// A glance never serves a change: nothing may be removed on its word.
#[tokio::test]
async fn no_lock_is_removed_on_a_glance() {
    use azmend::engine::Planned;
    let lab = lab("tags: {}");
    let ask = crate::support::Ask::default();
    assert!(
        matches!(lab.plan("unlock-backup-groups", "one", &ask).await, Planned::Plan(_)),
        "with the proof there is a plan"
    );
    let facts = collect(&lab.arm, &lab.vm("one"), &CollectOptions { glance: true, ..CollectOptions::default() }).await;
    let planned =
        azmend::engine::planner::plan_of(&lab.arm, &lab.request("unlock-backup-groups", "one", &ask), &facts).await;
    assert!(!matches!(planned, Planned::Plan(_)), "{planned:?}");
}

#[tokio::test]
async fn disks_are_judged_by_size_and_kind() {
    for (more, state, code) in [
        ("disks: [{ name: big, size_gb: 70000 }]", State::Problem, Some("UserErrorUnsupportedDiskSize")),
        ("disks: [{ name: big, size_gb: 40000 }]", State::NotChecked, None),
        ("disks: [{ name: big, shared: 2 }]", State::Problem, Some("UserErrorSharedDiskBackupNotSupported")),
        ("disks: [{ name: big, size_gb: 32767, sku: UltraSSD_LRS }]", State::Ok, None),
    ] {
        let (told, _) = told(&lab(more), false).await;
        let line = line(&told, "disks", "big");
        assert_eq!((line.state, line.code.as_deref()), (state, code), "{more}: {line:?}");
        assert_eq!(told.causes.iter().any(|cause| Some(cause.code.as_str()) == code), code.is_some(), "{more}");
    }
    let (told, _) = told(&lab("os_disk: { ephemeral: true }"), false).await;
    assert_eq!(line(&told, "disks", "OS disk").state, State::Problem);
}

#[tokio::test]
async fn load_around_the_failure_is_judged() {
    let (told_busy, _) = told(&lab("load: { cpu: 97.4, memory: 95 }"), false).await;
    assert_eq!(line(&told_busy, "load", "processor").state, State::Problem);
    assert!(line(&told_busy, "load", "memory").evidence.starts_with("at most 95 %"));
    let (told_some, _) = told(&lab("load: { cpu: 20, memory: ~ }"), false).await;
    assert_eq!(line(&told_some, "load", "processor").state, State::Ok);
    assert_eq!(line(&told_some, "load", "memory").state, State::NotChecked, "this VM has no such metric");
}

#[tokio::test]
async fn network_rules_are_looked_at_when_asked() {
    let rules = |rules: &str| format!("outbound: [{rules}]");
    let deny = "{ name: deny-internet, to: Internet }";
    let (denied, _) = told(&lab(&rules(deny)), true).await;
    let storage = line(&denied, "network", "Storage");
    assert_eq!((storage.state, storage.code.as_deref()), (State::Problem, Some("ExtensionSnapshotFailedNoNetwork")));
    assert_eq!(line(&denied, "network", "168.63.129.16").state, State::Ok);
    assert!(denied.causes[0].confirmed, "{:#?}", denied.causes);
    let (open, _) =
        told(&lab(&rules(&format!("{{ name: storage, allow: true, to: Storage, ports: \"443\" }}, {deny}"))), true)
            .await;
    assert_eq!(line(&open, "network", "Storage").state, State::Ok);
    let (named, _) = told(&lab(&rules("{ name: no-wire, to: 168.63.129.16, ports: \"80\" }")), true).await;
    assert_eq!(line(&named, "network", "168.63.129.16").state, State::Problem);
    let (off, _) = told(&lab("power: deallocated"), true).await;
    assert_eq!(line(&off, "network", "nic").state, State::NotChecked);
}

/// A permission that is missing for one check leaves the others as they are.
#[tokio::test]
async fn a_forbidden_check_is_not_checked_and_stops_no_other() {
    let (all, _) = told(&lab(THREE), true).await;
    for (action, area) in [
        ("Microsoft.Compute/disks/read", "disks"),
        ("Microsoft.Insights/metrics/read", "load"),
        ("Microsoft.Network/networkInterfaces/effectiveNetworkSecurityGroups/action", "network"),
    ] {
        let lab = lab(THREE);
        lab.sim.edit(|world| world.permissions.iter_mut().for_each(|grant| grant.not_actions.push(action.into())));
        let (without, _) = told(&lab, true).await;
        let here: Vec<&Line> = without.lines.iter().filter(|line| line.area == area).collect();
        assert!(!here.is_empty() && here.iter().all(|line| line.state == State::NotChecked), "{action}: {here:#?}");
        let others = |told: &Diagnosis| told.lines.iter().filter(|line| line.area != area).cloned().collect::<Vec<_>>();
        same(&others(&all), &others(&without), action);
    }
}

/// The same lines, but for how long ago something was: asking for rules takes time.
fn same(all: &[Line], without: &[Line], action: &str) {
    for (one, other) in all.iter().zip(without) {
        let told = |line: &Line| (line.area.clone(), line.check.clone(), line.state, line.code.clone());
        assert_eq!(told(one), told(other), "without {action}");
    }
    assert_eq!(all.len(), without.len(), "without {action}");
}
