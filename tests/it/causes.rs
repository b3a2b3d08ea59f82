//! The cause that the error itself names: which lock goes, which is only said, and what is asked before a VM is called
//! unprotected.

use azmend::engine::Planned;
use azmend::engine::audit::audit;
use azmend::engine::choose::choose;
use azmend::engine::planner::view_of;
use azmend::facts::bulk::{self, Collector, Selection};
use azmend::facts::collect::{CollectOptions, collect};
use azmend::facts::inventory::vms;
use azmend::playbook::library::Library;
use azmend::sim::FaultEffect;

use crate::support::{Ask, Lab, everything};

const SUB: &str = "5b1c0de0-0000-4000-8000-000000000011";

/// What stands where.
#[derive(Default)]
struct Estate<'a> {
    error: &'a str,
    said: &'a str,
    on_vm_group: &'a str,
    on_vault_group: &'a str,
    points: usize,
}

impl Estate<'_> {
    fn lab(&self) -> Lab {
        let said = if self.said.is_empty() { String::new() } else { format!(", message: \"{}\"", self.said) };
        let locks = |text: &str| if text.is_empty() { "[]".to_owned() } else { format!("[{{ {text} }}]") };
        Lab::of(&format!(
            "apiVersion: azmend/estate/v1
name: causes
now: 2026-11-20T09:00:00Z
subscriptions:
  - name: Works
    id: {SUB}
    groups:
      - name: rg-press
        locks: {vm}
        vms:
          - name: press-07
            protection:
              vault: safe
              policy: nightly
              jobs: [{{ age: 9h, status: failed, error: {error}{said} }}, {{ age: 33h, status: completed }}]
      - name: rg-safe
        locks: {vault}
        vaults: [{{ name: safe, policies: [{{ name: nightly, snapshot_days: 2 }}] }}]
      - name: AzureBackupRG_westeurope_1
        locks: [{{ name: first, level: CanNotDelete }}]
        collections: [{{ of: press-07, points: {{ count: {points}, newest: 33h }} }}]
      - name: AzureBackupRG_westeurope_2
        locks: [{{ name: second, level: CanNotDelete }}]
        collections: [{{ of: press-07, name: AzureBackup_press-07_777777777, points: {{ count: 2, newest: 50d }} }}]
",
            vm = locks(self.on_vm_group),
            vault = locks(self.on_vault_group),
            error = self.error,
            points = self.points.max(3),
        ))
    }
}

fn refused(verb: &str, scope: &str) -> String {
    format!(
        "Code ScopeLocked: The scope '/subscriptions/{SUB}/resourceGroups/x' cannot perform {verb} operation because following scope(s) are locked: '/subscriptions/{SUB}/resourceGroups/{scope}'. Please remove the lock and try again."
    )
}

/// Plans what `fix auto` would choose.
async fn auto(lab: &Lab) -> Planned {
    let facts = collect(&lab.arm, &lab.vm("press-07"), &CollectOptions::default()).await;
    let view = view_of(&facts, &lab.arm, &std::collections::BTreeSet::new());
    let chosen = choose(&Library::shipped(), &facts, &view).playbook.expect("a playbook");
    lab.plan(&chosen, "press-07", &Ask::default()).await
}

fn effects(planned: &Planned) -> Vec<String> {
    let Planned::Plan(plan) = planned else { panic!("no plan: {planned:#?}") };
    plan.changes().map(|(_, change)| change.effect.clone()).collect()
}

fn reasons(planned: &Planned) -> String {
    let Planned::Refused { refusals, .. } = planned else { panic!("not refused: {planned:#?}") };
    refusals.iter().map(|one| format!("{one} {}\n", one.hint.clone().unwrap_or_default())).collect()
}

#[tokio::test]
async fn a_lock_that_the_error_names_and_that_stays_refuses_the_whole_fix() {
    let said = refused("write", "rg-press");
    let estate = Estate {
        error: "UserErrorCrpReportedUserError",
        said: &said,
        on_vm_group: "name: change-stop, level: ReadOnly",
        ..Estate::default()
    };
    for error in ["UserErrorCrpReportedUserError", "BackUpOperationFailed"] {
        let lab = Estate { error, ..estate }.lab();
        let why = reasons(&auto(&lab).await);
        assert!(why.contains("s5.vm-group") && why.contains("change-stop on rg-press"), "{error}: {why}");
        assert!(why.contains("az lock delete --ids"), "{error}: {why}");
        assert!(lab.mutations().is_empty());
    }
    // Named by the user, that lock goes, and no other.
    let lab = estate.lab();
    let lock =
        format!("/subscriptions/{SUB}/resourceGroups/rg-press/providers/Microsoft.Authorization/locks/change-stop");
    let ask = Ask { locks: vec![lock], ..Ask::default() };
    let told = effects(&lab.plan("crp-reported-user-error", "press-07", &ask).await);
    assert!(told[0].contains("change-stop") && !told.iter().any(|one| one.contains("first")), "{told:?}");
}

#[tokio::test]
async fn only_locks_on_the_scope_that_the_error_names_are_removed() {
    let said = refused("delete", "AzureBackupRG_westeurope_2");
    let lab = Estate { error: "UserErrorCrpReportedUserError", said: &said, ..Estate::default() }.lab();
    let told = effects(&auto(&lab).await);
    assert!(told.iter().any(|one| one.contains("lock second")), "{told:?}");
    assert!(!told.iter().any(|one| one.contains("lock first")), "{told:?}");
    // The lock that a write met is gone: CanNotDelete refuses no write, and a backup is tried.
    let said = refused("write", "AzureBackupRG_westeurope_2");
    let lab = Estate { error: "UserErrorCrpReportedUserError", said: &said, ..Estate::default() }.lab();
    let told = effects(&auto(&lab).await);
    assert!(told.iter().all(|one| !one.contains("remove the")), "{told:?}");
    assert!(told.iter().any(|one| one.contains("on-demand backup")), "{told:?}");
}

#[tokio::test]
async fn nothing_is_unlocked_for_a_backup_that_the_vault_would_refuse() {
    let estate = Estate {
        error: "UserErrorRpCollectionLimitReached",
        on_vault_group: "name: audit-year, level: ReadOnly",
        points: 20,
        ..Estate::default()
    };
    let why = reasons(&auto(&estate.lab()).await);
    assert!(why.contains("s5.vault-read-only") && why.contains("audit-year on rg-safe"), "{why}");
    let why = reasons(&estate.lab().plan("backup-now", "press-07", &Ask::default()).await);
    assert!(why.contains("s5.vault-read-only"), "{why}");
    // CanNotDelete refuses no backup.
    let lab = Estate { on_vault_group: "name: audit-year, level: CanNotDelete", ..estate }.lab();
    assert!(matches!(auto(&lab).await, Planned::Plan(_)));
}

#[tokio::test]
async fn unread_locks_are_not_taken_for_none_where_a_lock_is_the_matter() {
    let lab = Estate { error: "UserErrorRpCollectionLimitReached", points: 20, ..Estate::default() }.lab();
    let effect = FaultEffect::Reply {
        status: 403,
        code: "AuthorizationFailed".into(),
        message: "no".into(),
        retry_after: None,
        raw_body: None,
    };
    for nth in 1..4 {
        lab.fault("GET", "Microsoft.Authorization/locks", nth, effect.clone());
    }
    let planned = auto(&lab).await;
    let Planned::NotChecked { unread, .. } = &planned else { panic!("{planned:#?}") };
    assert!(unread.keys().any(|path| path.starts_with("locks")), "{unread:?}");
}

const UNSEEN: &str = "apiVersion: azmend/estate/v1
name: unseen
now: 2026-11-20T09:00:00Z
subscriptions:
  - name: Works
    id: 5b1c0de0-0000-4000-8000-000000000011
    groups:
      - name: rg-press
        vms: [{ name: press-07 }, { name: press-08 }]
        vaults: [{ name: safe, policies: [{ name: nightly, snapshot_days: 2 }] }]
  - name: Elsewhere
    listed: false
    groups:
      - name: rg-far
        vaults:
          - name: far-safe
            policies: [{ name: nightly, snapshot_days: 2 }]
            items: [{ of: /subscriptions/5b1c0de0-0000-4000-8000-000000000011/resourceGroups/rg-press/providers/Microsoft.Compute/virtualMachines/press-07, policy: nightly }]
";

#[tokio::test]
async fn a_vm_of_a_vault_that_cannot_be_seen_is_not_called_unprotected() {
    let lab = Lab::of(UNSEEN);
    let found = lab.audited(&Selection::default()).await;
    let unprotected: Vec<_> = found.findings.iter().filter(|one| one.rule == "unprotected-vm").collect();
    assert_eq!(unprotected.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["press-08"]);
    // One vault and one policy can be meant: the command works as it is printed.
    assert!(unprotected[0].command.as_ref().unwrap().contains("--vault safe --policy nightly"), "{unprotected:?}");
    assert!(
        found.not_read.iter().any(|one| one.what.contains("press-07") && one.why.contains("far-safe")),
        "{found:?}"
    );
    let listed = vms(&lab.arm, &lab.visible().await, None).await.unwrap();
    let open: Vec<_> = listed.vms.iter().filter(|row| row.unprotected()).map(|row| row.name.as_str()).collect();
    assert_eq!(open, ["press-08"]);
}

#[tokio::test]
async fn an_audit_says_where_a_lock_stops_backups_and_prints_no_command_that_is_refused() {
    let said = refused("write", "rg-press");
    let lab = Estate {
        error: "UserErrorCrpReportedUserError",
        said: &said,
        on_vm_group: "name: change-stop, level: ReadOnly",
        on_vault_group: "name: audit-year, level: ReadOnly",
        ..Estate::default()
    }
    .lab();
    let found = lab.audited(&Selection::default()).await;
    let of =
        |rule: &str| found.findings.iter().find(|one| one.rule == rule).unwrap_or_else(|| panic!("{rule}: {found:#?}"));
    let crp = of("crp-reported-user-error");
    assert!(crp.evidence.iter().any(|line| line.contains("change-stop on rg-press")), "{crp:?}");
    assert!(crp.command.as_ref().unwrap().contains(" diagnose "), "{crp:?}");
    assert!(of("vault-locked").evidence[0].contains("audit-year"));
}

/// Two errors of a failed VMSnapshot are repaired like the others, when the VM shows that it failed; the agent's configuration is
/// looked at only on Linux, and only when it has not.
#[tokio::test]
async fn an_error_with_several_causes_is_repaired_by_the_one_that_the_vm_shows() {
    let failed = "vmsnapshot: { state: failed }";
    for (error, vm, wanted) in [
        ("GuestAgentSnapshotTaskStatusError", failed, Some("extension-operation-failed")),
        ("ExtensionSnapshotFailedNoNetwork", failed, Some("extension-operation-failed")),
        ("GuestAgentSnapshotTaskStatusError", "os: linux", Some("agent-configuration")),
        ("GuestAgentSnapshotTaskStatusError", "os: windows", None),
        ("GuestAgentSnapshotTaskStatusError", "os: linux, agent: not-ready", None),
        ("ExtensionSnapshotFailedNoNetwork", "os: linux", None),
    ] {
        let lab = Lab::of(&format!(
            "apiVersion: azmend/estate/v1
name: causes
now: 2026-11-20T09:00:00Z
subscriptions:
  - name: Works
    groups:
      - name: rg-press
        vms:
          - {{ name: press-07, {vm}, protection: {{ vault: safe, policy: nightly, jobs: [{{ age: 9h, status: failed, error: {error} }}] }} }}
        vaults: [{{ name: safe, policies: [{{ name: nightly, snapshot_days: 2 }}] }}]
"
        ));
        let facts = collect(&lab.arm, &lab.vm("press-07"), &CollectOptions::default()).await;
        let view = view_of(&facts, &lab.arm, &std::collections::BTreeSet::new());
        let chosen = choose(&Library::shipped(), &facts, &view).playbook;
        assert_eq!(chosen.as_deref(), wanted, "{error}, {vm}");
    }
}

/// Both ways to read many VMs see a VM that was moved and one that was made again, and neither is called plainly unprotected.
#[tokio::test]
async fn moved_and_recreated_vms_are_named_with_what_they_were() {
    let lab = Lab::of(
        "apiVersion: azmend/estate/v1
name: causes
now: 2026-11-20T09:00:00Z
subscriptions:
  - name: Works
    groups:
      - name: rg-press
        vms:
          - { name: press-07 }
          - { name: press-08, protection: { vault: safe, policy: nightly, jobs: [{ age: 9h, status: failed, error: UserErrorBcmDatasourceNotPresent }] } }
          - { name: press-09 }
        vaults:
          - name: safe
            policies: [{ name: nightly, snapshot_days: 2 }]
            items: [{ of: rg-attic/press-07, policy: nightly, health: { status: ActionRequired, details: [{ code: 320001, title: ResourceNotFound, message: gone }] } }]
      - name: AzureBackupRG_westeurope_1
        collections:
          - { of: rg-attic/press-07, deleted: true, points: { count: 4, newest: 9d, vm_id_of: rg-press/press-07 } }
          - { of: press-08, points: { count: 3, newest: 33h, vm_id_of: rg-press/press-09 } }
",
    );
    for collector in [Collector::Graph, Collector::Arm] {
        let (bulk, deep) =
            bulk::read(&lab.arm, &lab.visible().await, &Selection::default(), Some(collector)).await.unwrap();
        let found = audit(&Library::shipped(), &bulk, &deep, &everything(), bulk.at, lab.arm.calls());
        let rules = |name: &str| {
            let mut rules: Vec<&str> =
                found.findings.iter().filter(|one| one.name == name).map(|one| one.rule.as_str()).collect();
            rules.sort_unstable();
            rules
        };
        assert!(rules("press-07").contains(&"vm-moved"), "{collector:?}: {:#?}", found.findings);
        assert!(!rules("press-07").contains(&"unprotected-vm"), "{collector:?}: {:?}", rules("press-07"));
        let moved = found.findings.iter().find(|one| one.rule == "vm-moved").unwrap();
        assert!(moved.evidence.iter().any(|line| line.contains("rg-attic/press-07")), "{collector:?}: {moved:?}");
        assert!(rules("press-08").contains(&"vm-remade"), "{collector:?}: {:#?}", found.findings);
        assert_eq!(rules("press-09"), ["unprotected-vm"], "{collector:?}");
    }
}
