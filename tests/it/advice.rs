//! `explain`, `diagnose` and `fix auto`: what people are told about an error.

use std::process::Command;

use azmend::catalog::{Catalog, Category};
use azmend::engine::Planned;
use azmend::engine::choose::choose;
use azmend::engine::diagnose::{Ask as DiagnoseAsk, Diagnosis, State, diagnose};
use azmend::engine::planner::view_of;
use azmend::facts::collect::{CollectOptions, collect};
use azmend::facts::surroundings::around;
use azmend::playbook::library::Library;
use insta::assert_snapshot;
use serde_json::Value;

use crate::support::{Ask, Lab, TestLog};

const REPAIRS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/estates/repairs.yaml");

/// A VM of a small estate, whose last backup ended like this.
fn estate(job: &str) -> String {
    format!(
        "apiVersion: azmend/estate/v1
name: one
now: 2026-11-20T09:00:00Z
subscriptions:
  - name: One
    id: 5b1c0de0-0000-4000-8000-000000000007
    groups:
      - name: rg
        vms:
          - name: one
            protection: {{ vault: v, policy: p, jobs: [{job}] }}
        vaults:
          - name: v
            policies: [{{ name: p, snapshot_days: 2, at: \"23:00\" }}]
      - name: AzureBackupRG_westeurope_1
        collections: [{{ of: one, points: [{{ count: 2, newest: 34h }}] }}]
"
    )
}

async fn told(lab: &Lab, vm: &str) -> Diagnosis {
    let facts = collect(&lab.arm, &lab.vm(vm), &CollectOptions { glance: true, ..CollectOptions::default() }).await;
    let around = around(&lab.arm, &facts, true).await;
    let view = view_of(&facts, &lab.arm, &std::collections::BTreeSet::new());
    let choice = choose(&Library::shipped(), &facts, &view);
    let ask = DiagnoseAsk {
        sandbox: true,
        program: "azmend",
        code: None,
        vm,
        watch: None,
        guest: &azmend::facts::guest::Guest::NotAllowed,
    };
    diagnose(&facts, &around, &view, &choice, lab.arm.clock().now(), &ask)
}

/// Every error of VM backup: present in the last job it is named first, with something to run; a healthy twin names none.
#[tokio::test]
async fn each_error_of_a_job_is_named_first_and_a_healthy_twin_has_none() {
    let healthy = told(&Lab::of(&estate("{ age: 10h, status: completed }")), "one").await;
    assert_eq!((healthy.causes.len(), healthy.exit_code), (0, 0), "{healthy:#?}");
    let mut tried = 0;
    for entry in Catalog::get().entries() {
        if !matches!(entry.category, Category::IaasVm | Category::Crp | Category::Arm) {
            continue;
        }
        tried += 1;
        let lab = Lab::of(&estate(&format!("{{ age: 10h, status: failed, error: {} }}", entry.code)));
        let told = told(&lab, "one").await;
        let named: Vec<&str> = told.causes.iter().map(|cause| cause.code.as_str()).collect();
        // Azure's own text of a job may pass on another error: then that one is said first, and this one next.
        assert!(named.iter().take(2).any(|code| *code == entry.code), "{}: {named:?}", entry.code);
        assert_eq!(told.exit_code, 3, "{}", entry.code);
        assert!(told.causes.iter().all(|cause| cause.next.starts_with("azmend ")), "{told:#?}");
        assert!(told.next.is_some(), "{}", entry.code);
        // With a number or a text alone it is the same.
        let unread = |line: &azmend::engine::diagnose::Line| line.state == State::NotChecked && line.area != "guest";
        assert!(!told.lines.iter().any(unread), "{told:#?}");
    }
    assert!(tried > 50, "{tried}");
}

/// `fix auto` for every one of these errors: a repair that runs and says what is so afterwards, a refusal that names its rule,
/// or, when no playbook is for the error, that it is known and not repaired by ARM.
#[tokio::test]
async fn each_error_of_a_job_is_repaired_or_refused_truthfully() {
    let library = Library::shipped();
    let (mut repaired, mut refused, mut guided) = (0, 0, 0);
    for entry in Catalog::get().entries() {
        if !matches!(entry.category, Category::IaasVm | Category::Crp | Category::Arm) {
            continue;
        }
        let code = entry.code.as_str();
        let lab = Lab::of(&estate(&format!("{{ age: 10h, status: failed, error: {code} }}")));
        let facts = collect(&lab.arm, &lab.vm("one"), &CollectOptions::default()).await;
        let view = view_of(&facts, &lab.arm, &std::collections::BTreeSet::new());
        let choice = choose(&library, &facts, &view);
        let Some(playbook) = choice.playbook.as_deref() else {
            assert!(choice.code.is_some() && choice.why.contains("no playbook is for"), "{code}: {choice:?}");
            let named = library.iter().find(|(playbook, _)| playbook.codes().iter().any(|known| known == code));
            // A playbook may name the error and look at the VM too: then the VM does not show what it mends.
            let applies = named.is_some_and(|(playbook, _)| {
                let resolved = playbook.resolve(&std::collections::BTreeMap::new()).unwrap();
                resolved.applies(&view) == azmend::playbook::Verdict::True
            });
            assert!(!applies, "{code} has a playbook");
            guided += 1;
            continue;
        };
        match lab.plan(playbook, "one", &Ask { allow_guest: true, ..Ask::default() }).await {
            Planned::Plan(plan) => {
                let log = std::sync::Arc::new(TestLog::default());
                let result = lab.run(&plan, &log).start().await;
                lab.agrees(&plan, &result);
                assert!(matches!(result.exit_code, 0 | 5..=9), "{code}: {result:#?}");
                if result.exit_code == 0 {
                    assert!(result.changes.iter().any(|change| change.outcome == "succeeded"), "{code}: {result:#?}");
                    repaired += 1;
                } else {
                    assert!(result.next.is_some() || !result.warnings.is_empty(), "{code}: {result:#?}");
                    refused += 1;
                }
            }
            Planned::Refused { refusals, .. } => {
                assert!(!refusals.is_empty() && refusals.iter().all(|one| one.rule.contains('.')), "{code}");
                assert!(lab.mutations().is_empty(), "{code}");
                refused += 1;
            }
            other => panic!("{code}: {playbook} was chosen and does not apply: {other:?}"),
        }
    }
    assert!(repaired > 5 && guided > 20, "{repaired} repaired, {refused} refused, {guided} guided");
}

#[tokio::test]
async fn what_a_job_passes_on_comes_first_and_a_missing_permission_stops_no_other_check() {
    let world = azmend::sim::World::from_estate(
        &azmend::sim::Estate::parse(include_str!("../../examples/estates/repairs.yaml"), "repairs.yaml").unwrap(),
    );
    let lab = Lab::on(world.clone());
    let locked = told(&lab, "locked-04").await;
    assert_eq!(locked.causes[0].code, "ScopeLocked", "{:#?}", locked.causes);
    assert!(locked.causes.iter().any(|cause| cause.code == "UserErrorRpCollectionLimitReached" && cause.confirmed));
    let full = told(&lab, "full-05").await;
    assert_eq!(full.causes[0].code, "AllocationFailed");
    for action in [
        "Microsoft.Authorization/locks/read",
        "Microsoft.Compute/virtualMachines/instanceView/read",
        "Microsoft.Compute/restorePointCollections/read",
        "Microsoft.RecoveryServices/Vaults/backupJobs/read",
        "Microsoft.RecoveryServices/Vaults/backupPolicies/read",
    ] {
        let lab = Lab::on(world.clone());
        lab.sim.edit(|world| world.revoke_permission(action));
        let told = told(&lab, "locked-04").await;
        assert!(told.lines.iter().any(|line| line.state == State::NotChecked), "{action}");
        assert!(told.lines.iter().any(|line| line.state == State::Ok), "{action}");
        assert!(!told.causes.is_empty(), "{action}: what is still seen is still said");
        assert!(lab.mutations().is_empty());
    }
}

fn azmend(line: &[&str], language: &str) -> (i32, String, String) {
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_azmend"))
        .args(line)
        .env_clear()
        .env("AZMEND_STATE_DIR", dir.path().join("state"))
        .env("COLUMNS", "80")
        .env("LANG", language)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn an_error_is_explained_in_the_language_of_the_locale() {
    let (code, out, _) = azmend(&["explain", "usererrorbackupoperationinprogress"], "C.UTF-8");
    assert_eq!(code, 0);
    assert_snapshot!(out, @r#"
    UserErrorBackupOperationInProgress
    Cannot start a backup because another one is in progress.
    also  SystemBackupOperationInProgress

    Causes
      - A scheduled or manual backup of the VM is still running
      - Protection was re-created in another vault and the old vault still runs a
        job
      - The previous job runs longer than the interval

    How azmend notices it
      - by code, number or text of the VM's last failed job: azmend jobs
      - by what the VM shows now, also before a backup fails

    What azmend repairs
      azmend fix backup-in-progress --vm VM
          Another backup is in progress

    What you must decide or do
      - Review schedule and performance best practices if it recurs

    Source
      - azure-docs
        articles/backup/backup-azure-troubleshoot-vm-backup-fails-snapshot-timeout.md,
        ms.date 2025-11-12
      - Azure documentation: Troubleshoot Azure Backup failure, issues with the
        agent or extension (2020)
      - Japan CSS ABRS blog jpabrs-scem/blog@61563a24dd (2021-2026)
    "#);
    let (code, out, _) = azmend(&["explain", "다른 백업 작업이 현재 진행 중"], "ko_KR.UTF-8");
    assert_eq!(code, 0);
    assert_snapshot!(out, @r#"
    UserErrorBackupOperationInProgress
    다른 백업이 진행 중이어서 시작할 수 없음
    다른 이름  SystemBackupOperationInProgress
    메시지의 일부로 찾았습니다

    원인
      - 예약 백업이나 수동 백업이 아직 실행 중입니다.
      - 보호를 다른 자격 증명 모음으로 옮겼고 이전 모음의 작업이 남아 있습니다.
      - 이전 작업이 백업 간격보다 오래 걸립니다.

    azmend의 감지 방법
      - VM의 마지막 실패 작업의 코드, 번호, 문구로 감지합니다: azmend jobs
      - 백업이 실패하기 전에도 VM의 현재 상태로 감지합니다.

    azmend가 고치는 것
      azmend fix backup-in-progress --vm VM
          Another backup is in progress

    할 일
      - 실행 중인 작업을 기다립니다. 스냅샷 단계에서 멈춘 작업은 원하면 취소합니다.
      - 자주 생기면 일정을 검토합니다.

    출처
      - azure-docs
        articles/backup/backup-azure-troubleshoot-vm-backup-fails-snapshot-timeout.md,
        ms.date 2025-11-12
      - Azure documentation: Troubleshoot Azure Backup failure, issues with the
        agent or extension (2020)
      - Japan CSS ABRS blog jpabrs-scem/blog@61563a24dd (2021-2026)
    "#);
    let (_, english, _) = azmend(&["explain", "--lang", "en", "다른 백업 작업이 현재 진행 중"], "ko_KR.UTF-8");
    assert!(english.contains("Causes"), "{english}");
}

#[test]
fn an_explanation_fits_its_schema_and_what_is_not_near_says_how_to_search() {
    let schema: Value = serde_json::from_str(include_str!("../../docs/schema/explain.schema.json")).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for text in ["400196", "VMSnapshot 확장 작업이 실패했습니다", "ScopeLocked", "Classic_Networking"] {
        let (code, out, _) = azmend(&["explain", text, "-o", "json"], "C");
        let value: Value = serde_json::from_str(&out).unwrap();
        assert!(code == 0 && validator.is_valid(&value), "{:?}", validator.iter_errors(&value).next());
    }
    let (code, out, error) = azmend(&["explain", "nothing", "like", "this"], "C");
    assert_eq!((code, out.as_str()), (2, ""));
    assert_snapshot!(error, @r#"
    error: no known error is similar to "nothing like this"
    hint: search by a code, by its number (400196), or by a part of the message,
          English or Korean
    hint: everything that is known: azmend explain --list
    "#);
    let (code, list, _) = azmend(&["explain", "--list", "-o", "json"], "ko_KR.UTF-8");
    let list: Value = serde_json::from_str(&list).unwrap();
    assert_eq!((code, list["errors"].as_array().unwrap().len()), (0, Catalog::get().entries().len()));
}

#[test]
fn a_diagnosis_is_a_checklist_with_the_next_command() {
    let schema: Value = serde_json::from_str(include_str!("../../docs/schema/diagnosis.schema.json")).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let sandbox = format!("--sandbox={REPAIRS}");
    let (code, out, _) = azmend(&["--sandbox", "diagnose", "--vm", "app-02"], "C");
    assert_eq!(code, 3);
    assert!(out.lines().all(|line| line.chars().count() <= 80), "{out}");
    assert_snapshot!(out, @r"
    app-02

    vm
      problem      provisioning state: Failed [UserErrorVmProvisioningStateFailed]
      ok           power: running

    agent
      ok           status: Ready, version 2.7.41491.1149
      ok           last report: just now

    extensions
      problem      VMSnapshot: Failed 1.0.93.0 Plugin (name:
                   Microsoft.Azure.RecoveryServices.VMSnapshot) failed to install:
                   the handler returned exit code 1007.
                   [ExtensionOperationFailedForManagedDisks]
      ok           AzureMonitorWindowsAgent: Succeeded 1.30

    locks
      problem      on the backup resource groups: 1 lock: no-delete (CanNotDelete)
                   on AzureBackupRG_westeurope_1 [ScopeLocked]
      ok           on the restore point collections: none
      ok           on the subscription: none
      ok           on the VM or its group: none

    points
      ok           count against the limit: 2 (limit 18)
      ok           newest: ApplicationConsistent, 33 hours ago

    vault
      ok           protection: Protected in bkp-vault
      ok           policy: daily-2d (Standard), snapshots kept 2 days
      problem      health: ActionRequired: 400212 VMSnapshot extension operation
                   failed [ExtensionOperationFailed]

    jobs
      problem      last backup: Failed: ExtensionOperationFailed, which wraps
                   ExtensionOperationFailedForManagedDisks 2026-11-19 23:03Z
                   [ExtensionOperationFailedForManagedDisks]
      ok           earlier backup: Completed 2026-11-19 01:30Z
      ok           at the same time: 8 backups of other VMs started in the same
                   minute as the last one

    recovery points
      ok           newest in the vault: AppConsistent, 34 hours ago; the policy
                   schedules a backup every day

    disks
      ok           OS disk app-02_OsDisk_1_992dacbef74524976d13fb2f6015bc9d: 128 GB
                   Premium_LRS

    load
      ok           processor: at most 12 % in use, 2026-11-19 22:45 to 23:18Z
      ok           memory: at most 40 % in use, 2026-11-19 22:45 to 23:18Z

    network
      not checked  rules to Storage: add --network to read the effective rules,
                   which takes some seconds

    guest
      not checked  inside the VM: add --allow-guest to run a read-only script
                   through Run Command

    most likely first
      1. ExtensionOperationFailedForManagedDisks: VMSnapshot extension operation
         failed.
         the last backup failed with ExtensionOperationFailed, which wraps
         ExtensionOperationFailedForManagedDisks, and the VM shows it now
         azmend --sandbox explain ExtensionOperationFailedForManagedDisks
      2. ExtensionOperationFailed: VMSnapshot extension operation failed (2018
         spelling of the code: ExtentionOperationFailed).
         the last backup failed with ExtensionOperationFailed
         azmend --sandbox fix extension-operation-failed --vm app-02
      3. UserErrorVmProvisioningStateFailed: The VM is in a failed provisioning
         state.
         vm: provisioning state: Failed, and the VM shows it now
         azmend --sandbox explain UserErrorVmProvisioningStateFailed
      4. ScopeLocked: A lock on the scope that the text names refuses the operation.
         locks: on the backup resource groups: 1 lock: no-delete (CanNotDelete) on
         AzureBackupRG_westeurope_1, and the VM shows it now
         azmend --sandbox explain ScopeLocked

    the last backup failed with ExtensionOperationFailed: extension-operation-failed
    repairs it
    next  azmend --sandbox fix auto --vm app-02 --dry-run
    ");
    let (code, out, _) = azmend(&[&sandbox, "diagnose", "--vm", "locked-04", "-o", "json"], "C");
    let value: Value = serde_json::from_str(&out).unwrap();
    assert!(code == 3 && validator.is_valid(&value), "{:?}", validator.iter_errors(&value).next());
    let (_, out, _) = azmend(&[&sandbox, "diagnose", "--vm", "fine-07", "--code", "400196"], "C");
    assert!(out.contains("1. UserErrorGuestAgentStatusUnavailable") && out.contains("you named this error"), "{out}");
    let (code, _, error) = azmend(&[&sandbox, "diagnose", "--vm", "fine-07", "--code", "Nonsense"], "C");
    assert!(code == 2 && error.contains("azmend explain Nonsense"), "{error}");
    let (_, out, _) = azmend(&[&sandbox, "diagnose", "--vm", "locked-04", "-o", "markdown"], "C");
    assert!(
        out.starts_with("# ") && out.contains("| locks | on the backup resource groups | problem | 1 lock: "),
        "{out}"
    );
}

#[test]
fn fix_auto_chooses_and_says_why() {
    let sandbox = format!("--sandbox={REPAIRS}");
    for (vm, code, says) in [
        ("state-01", 3, "auto: the last backup failed with UserErrorVmProvisioningStateFailed: failed-vm repairs it"),
        ("slow-03", 3, "backup-in-progress repairs it"),
        ("locked-04", 3, "crp-reported-user-error repairs it; also applies: rp-collection-limit"),
        ("full-05", 5, "explain AllocationFailed"),
        ("again-06", 3, "backup-operation-failed repairs it"),
    ] {
        let (got, out, error) = azmend(&[&sandbox, "fix", "auto", "--vm", vm, "--dry-run"], "C");
        let text = format!("{out}{error}").replace("\n  ", " ").replace('\n', " ");
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(got == code && text.contains(says), "{vm}: {got}\n{text}");
    }
    let (code, out, _) = azmend(&[&sandbox, "fix", "auto", "--vm", "again-06", "--yes", "-o", "json"], "C");
    let value: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, value["playbook"].as_str()), (0, Some("backup-operation-failed")), "{value}");
}
