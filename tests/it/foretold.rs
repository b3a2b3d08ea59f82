//! What the facts in hand foretell: a request that a lock refuses, a backup that an agent stops, one that nothing stops any
//! more, and one that is missing. And of many VMs: one finding for one root cause, by both ways to read them.

use std::collections::BTreeSet;

use azmend::engine::audit::{Audit, Finding, audit};
use azmend::engine::choose::{Choice, choose};
use azmend::engine::diagnose::{Ask as DiagnoseAsk, Diagnosis, diagnose};
use azmend::engine::foresee::Foreseen;
use azmend::engine::planner::{Planned, view_of};
use azmend::facts::bulk::{self, Collector, Selection};
use azmend::facts::collect::{CollectOptions, collect};
use azmend::facts::guest::Guest;
use azmend::facts::surroundings::around;
use azmend::playbook::library::Library;

use crate::support::{Ask, Lab, everything};

const FAILED: &str = "jobs: [{ age: 9h, status: failed, error: CODE }, { age: 33h, status: completed }]";
const WELL: &str = "jobs: [{ age: 9h, status: completed }]";

/// One VM, with what is written of it, of its group, of its protection and of the backup group.
fn lab(vm: &str, group: &str, protection: &str, backup: &str) -> Lab {
    Lab::of(&format!(
        "apiVersion: azmend/estate/v1
name: foretold
now: 2026-11-20T09:00:00Z
backup_principal: 5b1c0de0-0000-4000-8000-0000000000aa
subscriptions:
  - name: Mill
    groups:
      - name: rg-mill
        key_vaults: [{{ name: kv-mill, locks: [{{ name: seal, level: ReadOnly }}] }}]
{group}        vms:
          - name: saw-01
{vm}            protection: {{ vault: chest, policy: nightly, {protection} }}
          - name: other-02
        vaults: [{{ name: chest, policies: [{{ name: nightly, snapshot_days: 2 }}] }}]
      - name: AzureBackupRG_westeurope_1
{backup}"
    ))
}

fn vm(lines: &[&str]) -> String {
    lines.iter().map(|line| format!("            {line}\n")).collect()
}

fn group(line: &str) -> String {
    format!("        {line}\n")
}

fn failed(code: &str) -> String {
    FAILED.replace("CODE", code)
}

const POINTS: &str = "        collections: [{ of: saw-01, points: { count: 3, newest: 9h } }]\n";
const FULL: &str = "        collections: [{ of: saw-01, points: { count: 20, newest: 33h } }]\n";

async fn chosen(lab: &Lab) -> Choice {
    let facts = collect(&lab.arm, &lab.vm("saw-01"), &CollectOptions::default()).await;
    let view = view_of(&facts, &lab.arm, &BTreeSet::new());
    choose(&Library::shipped(), &facts, &view)
}

async fn diagnosed(lab: &Lab) -> Diagnosis {
    let facts = collect(&lab.arm, &lab.vm("saw-01"), &CollectOptions::default()).await;
    let view = view_of(&facts, &lab.arm, &BTreeSet::new());
    let choice = choose(&Library::shipped(), &facts, &view);
    let around = around(&lab.arm, &facts, false).await;
    let ask = DiagnoseAsk {
        sandbox: true,
        program: "azmend",
        code: None,
        vm: "saw-01",
        watch: None,
        guest: &Guest::NotAllowed,
    };
    diagnose(&facts, &around, &view, &choice, facts.at, &ask)
}

async fn looked(lab: &Lab, collector: Collector) -> Audit {
    let (bulk, deep) =
        bulk::read(&lab.arm, &lab.visible().await, &Selection::default(), Some(collector)).await.unwrap();
    audit(&Library::shipped(), &bulk, &deep, &everything(), bulk.at, lab.arm.calls())
}

fn of<'a>(found: &'a Audit, name: &str) -> Vec<&'a Finding> {
    found.findings.iter().filter(|one| one.name == name).collect()
}

fn rules<'a>(found: &'a Audit, name: &str) -> Vec<&'a str> {
    of(found, name).into_iter().map(|one| one.rule.as_str()).collect()
}

fn reasons(planned: &Planned) -> String {
    let Planned::Refused { refusals, .. } = planned else { panic!("not refused: {planned:#?}") };
    refusals.iter().map(|one| format!("{one} {}\n", one.hint.clone().unwrap_or_default())).collect()
}

/// Azure deletes nothing under a lock, and changes nothing under a ReadOnly one: that is said before anything is sent.
#[tokio::test]
async fn a_lock_that_refuses_a_change_of_the_vm_is_foretold() {
    let snapshot = "vmsnapshot: { state: failed, message: no }";
    for (playbook, lines, lock, code, refused) in [
        ("extension-operation-failed", snapshot, "CanNotDelete", "ExtensionOperationFailedForManagedDisks", true),
        ("extension-operation-failed", snapshot, "ReadOnly", "ExtensionOperationFailedForManagedDisks", true),
        ("failed-vm", "state: failed", "ReadOnly", "UserErrorVmProvisioningStateFailed", true),
        ("failed-vm", "state: failed", "CanNotDelete", "UserErrorVmProvisioningStateFailed", false),
    ] {
        let on_group =
            lab(&vm(&[lines]), &group(&format!("locks: [{{ name: still, level: {lock} }}]")), &failed(code), POINTS);
        let lines = [lines, &format!("locks: [{{ name: still, level: {lock} }}]")];
        let on_vm = lab(&vm(&lines), "", &failed(code), POINTS);
        for lab in [on_group, on_vm] {
            let planned = lab.plan(playbook, "saw-01", &Ask::default()).await;
            assert_eq!(matches!(planned, Planned::Refused { .. }), refused, "{playbook} under {lock}: {planned:#?}");
            let choice = chosen(&lab).await;
            assert_eq!(choice.foreseen.refusal().is_some(), refused, "{choice:#?}");
            if refused {
                let why = reasons(&planned);
                assert!(why.contains("s5.vm-locked") && why.contains("lock still on"), "{why}");
                assert!(why.contains("az lock delete --ids"), "{why}");
                let found = looked(&lab, Collector::Graph).await;
                let one = of(&found, "saw-01").into_iter().find(|one| one.rule == playbook).unwrap();
                assert!(one.command.as_ref().unwrap().contains(" diagnose "), "{one:?}");
            }
            assert!(lab.mutations().is_empty());
        }
    }
}

/// Nobody but its application deletes an owned lock: no page prints a command for it.
#[tokio::test]
async fn no_command_is_printed_for_a_lock_that_an_application_owns() {
    let owner = "7d1c0de0-0000-4000-8000-000000000009";
    let backup = format!("        locks: [{{ name: theirs, level: CanNotDelete, owners: [{owner}] }}]\n{FULL}");
    let lab = lab("", "", &failed("UserErrorRpCollectionLimitReached"), &backup);
    let Planned::Refused { refusals, plan } = lab.plan("rp-collection-limit", "saw-01", &Ask::default()).await else {
        panic!("not refused")
    };
    let said = format!("{refusals:?} {:?}", plan.map(|plan| (plan.steps, plan.warnings)));
    assert!(said.contains(owner), "{said}");
    assert!(!said.contains("az lock delete") && !said.contains("--lock "), "{said}");
}

#[tokio::test]
async fn a_backup_of_a_running_vm_without_an_agent_is_warned_of() {
    let plan = |lines: &[&str]| {
        let lab = lab(&vm(lines), "", &failed("UserErrorRpCollectionLimitReached"), FULL);
        async move { lab.planned("rp-collection-limit", "saw-01", &Ask::default()).await }
    };
    let warns = |plan: &azmend::engine::Plan| plan.warnings.iter().any(|one| one.contains("agent"));
    assert!(warns(&plan(&["agent: not-ready"]).await));
    assert!(!warns(&plan(&[]).await));
    assert!(!warns(&plan(&["agent: not-ready", "power: deallocated"]).await));
}

/// What stopped the last backup is gone: then a backup is the way, where Azure takes one.
#[tokio::test]
async fn a_backup_is_named_as_the_way_when_what_stopped_the_last_one_is_gone() {
    let agent = "UserErrorGuestAgentStatusUnavailable";
    for (lines, code, retry) in [
        (&["agent: ready"][..], agent, true),
        (&["agent: not-ready"], agent, false),
        (&["agent: missing", "power: deallocated"], agent, true),
        (&["power: deallocated", "agent: missing", "os: linux"], "UserErrorFsFreezeFailed", true),
        (&["os: linux"], "UserErrorFsFreezeFailed", false),
        (&["power: running"], "UserErrorVmNotInDesirableState", true),
        (&["power: running"], "OperationNotAllowed_VmChanged", true),
        (&["power: running"], "UserErrorUnsupportedDiskSize", false),
    ] {
        let lab = lab(&vm(lines), "", &failed(code), POINTS);
        let choice = chosen(&lab).await;
        assert_eq!((choice.playbook.as_deref(), choice.retry), (None, retry), "{code} {lines:?}: {choice:#?}");
        let next = diagnosed(&lab).await.next.unwrap();
        assert_eq!(next.contains("fix backup-now --vm saw-01"), retry, "{code} {lines:?}: {next}");
    }
    // The vault would refuse it.
    let locked = lab("", &group("locks: [{ name: seal, level: ReadOnly }]"), &failed(agent), POINTS);
    assert!(!chosen(&locked).await.retry);
}

/// A backup that a rule would refuse is no way out, and is not said to be one.
#[tokio::test]
async fn a_backup_that_is_refused_is_not_called_worth_a_try() {
    let each = (1..10).map(|age| {
        format!("{{ age: {age}h, status: failed, error: UserErrorGuestAgentStatusUnavailable, user: true }}")
    });
    let jobs = format!("jobs: [{}]", each.collect::<Vec<_>>().join(", "));
    let choice = chosen(&lab("", "", &jobs, POINTS)).await;
    assert!(!choice.retry && !choice.why.contains("can be tried"), "{choice:#?}");
}

/// Failed restore points that are older than a good one are history.
#[tokio::test]
async fn failed_points_matter_only_when_no_good_one_is_newer() {
    let points = |newest: &str| {
        format!(
            "        collections: [{{ of: saw-01, points: [{{ count: 3, newest: 9h }}, {{ count: 2, newest: {newest}, state: failed }}] }}]\n"
        )
    };
    let old = diagnosed(&lab("", "", WELL, &points("5d"))).await;
    assert_eq!((old.exit_code, old.causes.len()), (0, 0), "{:#?}", old.causes);
    let new = diagnosed(&lab("", "", WELL, &points("3h"))).await;
    assert_eq!(new.causes[0].code, "VMRestorePointInternalError");
}

/// Of a VM in two vaults the backups of either count.
#[tokio::test]
async fn a_vm_that_another_vault_backs_up_was_not_never_backed_up() {
    let second = "      - name: rg-second\n        vaults: [{ name: attic, policies: [{ name: nightly, snapshot_days: 2 }], items: [{ of: rg-mill/saw-01, policy: nightly }] }]\n";
    let estate = lab("", "", WELL, &format!("{POINTS}{second}"));
    assert!(!chosen(&estate).await.retry);
    let found = looked(&estate, Collector::Graph).await;
    assert!(!rules(&found, "saw-01").contains(&"backup-late"), "{:#?}", found.findings);
}

/// Of a VM that is off the disks alone are backed up: no extension is uninstalled for that.
#[tokio::test]
async fn a_failed_extension_of_a_vm_that_is_off_needs_only_a_backup() {
    let lines = ["power: deallocated", "agent: missing", "vmsnapshot: { state: failed, message: no }"];
    let lab = lab(&vm(&lines), "", &failed("ExtensionOperationFailedForManagedDisks"), POINTS);
    let plan = lab.planned("extension-operation-failed", "saw-01", &Ask::default()).await;
    let steps: Vec<&str> = plan.changes().map(|(step, _)| step.id.as_str()).collect();
    assert_eq!(steps, ["backup"]);
}

/// Without a failed job: the agent that stops the next backup, and a backup that is missing, are said.
#[tokio::test]
async fn a_quiet_vm_whose_next_backup_fails_or_whose_last_is_missing_is_not_well() {
    let silent = chosen(&lab(&vm(&["agent: not-ready"]), "", WELL, POINTS)).await;
    assert_eq!(silent.code.as_deref(), Some("UserErrorGuestAgentStatusUnavailable"), "{silent:#?}");
    assert!(!silent.retry);
    let off = chosen(&lab(&vm(&["agent: not-ready", "power: stopped"]), "", WELL, POINTS)).await;
    assert_eq!((off.code, off.retry), (None, false));
    let well = chosen(&lab("", "", WELL, POINTS)).await;
    assert_eq!((well.code, well.retry), (None, false));
    let late = lab("", "", "points: { count: 4, newest: 9d, tier: vault }", "");
    let choice = chosen(&late).await;
    assert!(choice.retry && choice.why.contains("9 days old"), "{choice:#?}");
    assert!(diagnosed(&late).await.next.unwrap().contains("fix backup-now"));
}

#[tokio::test]
async fn a_cancelled_job_does_not_hide_what_failed_before_it() {
    let jobs = |code: &str| {
        format!(
            "jobs: [{{ age: 4h, status: cancelled }}, {{ age: 9h, status: failed, error: {code} }}, {{ age: 33h, status: completed }}]"
        )
    };
    let full = lab("", "", &jobs("UserErrorRpCollectionLimitReached"), FULL);
    let choice = chosen(&full).await;
    assert_eq!(choice.playbook.as_deref(), Some("rp-collection-limit"), "{choice:#?}");
    assert!(choice.why.contains("not cancelled failed"), "{}", choice.why);
    let freeze = chosen(&lab(&vm(&["os: linux"]), "", &jobs("UserErrorFsFreezeFailed"), POINTS)).await;
    assert_eq!((freeze.playbook, freeze.code.as_deref()), (None, Some("UserErrorFsFreezeFailed")));
    let only =
        chosen(&lab("", "", "jobs: [{ age: 9h, status: cancelled }, { age: 33h, status: completed }]", POINTS)).await;
    assert_eq!((only.playbook, only.code), (None, None));
}

/// The item's health repeats its last job: it is no sign that the VM shows the error now.
#[tokio::test]
async fn the_health_of_an_item_confirms_nothing() {
    let agent = "UserErrorGuestAgentStatusUnavailable";
    for (state, confirmed) in [("ready", false), ("not-ready", true)] {
        let told = diagnosed(&lab(&vm(&[&format!("agent: {state}")]), "", &failed(agent), POINTS)).await;
        assert_eq!((told.causes[0].code.as_str(), told.causes[0].confirmed), (agent, confirmed), "{:#?}", told.causes);
    }
}

/// No grant is asked for where none can help.
#[tokio::test]
async fn no_grant_is_offered_that_cannot_be_made() {
    let code = failed("UserErrorKeyvaultPermissionsNotConfigured");
    for (lines, rule) in
        [(&[][..], "keyvault.not-encrypted"), (&["encryption: { vault: kv-mill, key: true }"], "keyvault.locked")]
    {
        let choice = chosen(&lab(&vm(lines), "", &code, POINTS)).await;
        let Foreseen::Refused(refusal) = &choice.foreseen else { panic!("{choice:#?}") };
        assert_eq!(refusal.rule, rule);
    }
}

/// A lock over a group of restore points is one finding, with all of its VMs at risk; a lock from above leaves no command.
#[tokio::test]
async fn a_lock_is_one_finding_however_many_vms_it_stops() {
    let estate = |above: &str| {
        Lab::of(&format!(
            "apiVersion: azmend/estate/v1
name: foretold
now: 2026-11-20T09:00:00Z
subscriptions:
  - name: Mill
{above}    groups:
      - name: rg-mill
        vms:
          - {{ name: saw-01, protection: {{ vault: chest, policy: nightly, {WELL} }} }}
          - {{ name: saw-02, protection: {{ vault: chest, policy: nightly, {WELL} }} }}
        vaults: [{{ name: chest, policies: [{{ name: nightly, snapshot_days: 2 }}] }}]
      - name: AzureBackupRG_westeurope_1
        locks: [{{ name: hold, level: CanNotDelete }}]
        collections: [{{ of: saw-01, points: {{ count: 3, newest: 9h }} }}, {{ of: saw-02, points: {{ count: 3, newest: 9h }} }}]
"
        ))
    };
    for collector in [Collector::Graph, Collector::Arm] {
        let found = looked(&estate(""), collector).await;
        let all: Vec<&str> = found.findings.iter().map(|one| one.rule.as_str()).collect();
        assert_eq!((all, found.summary.at_risk), (vec!["group-locked"], 2), "{collector:?}: {:#?}", found.findings);
        assert!(found.findings[0].command.as_ref().unwrap().contains("fix unlock-backup-groups"));
        let above = looked(&estate("    locks: [{ name: roof, level: CanNotDelete }]\n"), collector).await;
        let one = above.findings.iter().find(|one| one.rule == "group-locked").unwrap();
        assert!(one.command.as_ref().unwrap().contains(" diagnose "), "{one:#?}");
    }
    // Who asks for one rule gets it.
    let mut ask = everything();
    ask.rules = vec!["unlock-backup-groups".to_owned()];
    let lab = estate("");
    let (bulk, deep) = bulk::read(&lab.arm, &lab.visible().await, &Selection::default(), None).await.unwrap();
    let found = audit(&Library::shipped(), &bulk, &deep, &ask, bulk.at, lab.arm.calls());
    assert_eq!(found.findings.len(), 2, "{:#?}", found.findings);
}

/// A missing backup is read into: the agent, or that the machine is another one, says why, and is the one finding.
#[tokio::test]
async fn a_missing_backup_is_told_by_its_root() {
    let late = "points: { count: 4, newest: 9d, tier: vault }";
    let none = "jobs: [{ age: 12d, status: completed, operation: ConfigureBackup }]";
    let theirs =
        "        collections: [{ of: saw-01, points: { count: 4, newest: 9d, vm_id_of: rg-mill/other-02 } }]\n";
    for collector in [Collector::Graph, Collector::Arm] {
        for (lines, protection, backup, rule) in [
            ("agent: not-ready", late, "", "agent-not-ready"),
            ("agent: missing", none, "", "agent-not-ready"),
            ("agent: ready", late, "", "backup-late"),
            ("agent: ready", none, "", "backup-late"),
            ("agent: ready", late, theirs, "vm-remade"),
        ] {
            let found = looked(&lab(&vm(&[lines]), "", protection, backup), collector).await;
            assert_eq!(rules(&found, "saw-01"), [rule], "{collector:?}, {lines}: {:#?}", found.findings);
            let evidence = of(&found, "saw-01")[0].evidence.join("; ");
            assert!(evidence.contains("policy schedules one every day"), "{collector:?}: {evidence}");
        }
    }
}

#[tokio::test]
async fn a_vm_whose_job_hangs_is_at_risk() {
    let hangs =
        "jobs: [{ age: 30h, status: in-progress, phase: snapshot, ends_in: 20d }, { age: 40h, status: completed }]";
    let lab = lab("", "", hangs, POINTS);
    let found = looked(&lab, Collector::Graph).await;
    assert!(rules(&found, "saw-01").contains(&"job-stuck"), "{:#?}", found.findings);
    // The other VM is protected by no vault.
    assert_eq!(found.summary.at_risk, 2);
}

/// A job that hangs in its snapshot is waited for by default, and the plan says how to cancel it.
#[tokio::test]
async fn a_job_that_hangs_is_waited_for_with_the_way_to_cancel_it() {
    let notes = |phase: &str| {
        let jobs = format!("jobs: [{{ age: 30h, status: in-progress, phase: {phase}, ends_in: 20d }}]");
        let lab = lab("", "", &jobs, POINTS);
        async move {
            let plan = lab.planned("backup-in-progress", "saw-01", &Ask::default()).await;
            plan.steps.into_iter().flat_map(|step| step.notes).collect::<Vec<_>>().join("; ")
        }
    };
    assert!(notes("snapshot").await.contains("--set mode=cancel"));
    // Azure cancels no transfer.
    assert!(!notes("transfer").await.contains("mode=cancel"));
}

/// Backups with warnings, one after the other, by both ways to read many VMs.
#[tokio::test]
async fn warnings_in_a_row_are_found_by_both_collectors() {
    let warned = |ages: &[u32], then: &str| {
        let each = ages.iter().map(|age| format!("{{ age: {age}h, status: completed-with-warnings }}"));
        format!("jobs: [{}{then}]", each.collect::<Vec<_>>().join(", "))
    };
    for collector in [Collector::Graph, Collector::Arm] {
        for (jobs, found) in [
            (warned(&[9, 33, 57], ""), true),
            (warned(&[9, 33, 57, 81], ", { age: 105h, status: completed }"), true),
            (
                warned(&[9, 33], ", { age: 57h, status: completed }, { age: 81h, status: completed-with-warnings }"),
                false,
            ),
            (warned(&[33, 57, 81], ", { age: 9h, status: completed }"), false),
        ] {
            let seen = looked(&lab("", "", &jobs, POINTS), collector).await;
            assert_eq!(
                rules(&seen, "saw-01").contains(&"backup-warnings"),
                found,
                "{collector:?} {jobs}: {:#?}",
                seen.findings
            );
        }
    }
}

/// Two playbooks for the same errors are one finding without a failed backup, too.
#[tokio::test]
async fn a_failed_state_is_one_finding_before_a_backup_fails() {
    let found = looked(&lab(&vm(&["state: failed"]), "", WELL, POINTS), Collector::Graph).await;
    assert_eq!(rules(&found, "saw-01"), ["failed-vm"], "{:#?}", found.findings);
}

/// What a refusal says of the VM is a sentence, not a step of a playbook.
#[tokio::test]
async fn a_refusal_says_what_the_vm_shows() {
    let lines = ["agent: not-ready", "vmsnapshot: { state: failed, message: no }"];
    let lab = lab(&vm(&lines), "", &failed("ExtensionOperationFailedForManagedDisks"), POINTS);
    let why = reasons(&lab.plan("extension-operation-failed", "saw-01", &Ask::default()).await);
    assert!(why.contains("the guest agent is not Ready"), "{why}");
    assert!(!why.contains("does not apply (") && !why.contains("agent.ready"), "{why}");
}
