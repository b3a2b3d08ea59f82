//! `azmend capture`: what a part of the scope leaves alone, what is said when it cannot be read, and how large an estate may be.

use azmend::engine::audit::Audit;
use azmend::facts::bulk::Selection;
use azmend::facts::capture::{self, Captured, Wanted};
use azmend::sim::{Estate, Fault, FaultEffect, FaultMatch, Generate, World};

use crate::capture::{anonymized, captured, captured_with, findings, holds, lab, look, nameless_is_alike, text};
use crate::support::Lab;

/// Two subscriptions that look alike, and a third with the vault of the first.
const ALIKE: &str = r#"
apiVersion: azmend/estate/v1
name: alike
now: 2026-11-20T09:00:00Z
subscriptions:
  - name: Alpha
    id: 5b1c0de0-0000-4000-8000-0000000000c1
    locks: [{ name: alpha-lock, level: CanNotDelete }]
    groups:
      - { name: rg-alpha, location: westeurope, vms: [{ name: alpha-01 }, { name: alpha-02 }] }
      - name: AzureBackupRG_westeurope_1
        location: westeurope
        locks: [{ name: keep-alpha, level: CanNotDelete }]
        collections:
          - { of: alpha-01, points: { count: 3, newest: 10h } }
          - { of: alpha-02, points: { count: 3, newest: 10h } }
  - name: Beta
    id: 5b1c0de0-0000-4000-8000-0000000000c2
    locks: [{ name: beta-lock, level: CanNotDelete }]
    groups:
      - name: rg-beta
        location: westeurope
        vms: [{ name: beta-01, protection: { vault: vault-beta, policy: daily } }]
        vaults: [{ name: vault-beta, policies: [{ name: daily }] }]
      - name: AzureBackupRG_westeurope_1
        location: westeurope
        locks: [{ name: keep-beta, level: CanNotDelete }]
        collections: [{ of: beta-01, points: { count: 3, newest: 10h } }]
      - { name: AzureBackupRG_westeurope_2, location: westeurope }
  - name: Gamma
    id: 5b1c0de0-0000-4000-8000-0000000000c3
    groups:
      - name: rg-gamma
        location: westeurope
        vaults:
          - name: vault-gamma
            policies: [{ name: daily }]
            items:
              - of: /subscriptions/5b1c0de0-0000-4000-8000-0000000000c1/resourceGroups/rg-alpha/providers/Microsoft.Compute/virtualMachines/alpha-01
                policy: daily
                jobs: [{ age: 10h, status: failed, error: UserErrorRpCollectionLimitReached }]
"#;

fn of(audit: &Audit, vm: &str) -> Vec<String> {
    let vm = format!(" {vm} ");
    findings(audit, str::to_owned).into_iter().filter(|line| line.contains(&vm)).collect()
}

#[tokio::test]
async fn a_part_tells_nothing_of_other_subscriptions() {
    let group = Selection { group: Some("rg-alpha".into()), ..Selection::default() };
    for wanted in [
        Wanted { vms: vec![lab(ALIKE).vm("alpha-01")], ..Wanted::default() },
        Wanted { selection: group.clone(), ..Wanted::default() },
    ] {
        let part = captured_with(ALIKE, &wanted).await;
        let names: Vec<&str> = part.subscriptions.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["Alpha", "Gamma"], "where the VM is, and its vault");
        assert!(
            part.vms.iter().any(|vm| vm.row.vm.id.name() == "alpha-02"),
            "its points stand beside those that were asked for"
        );
        let copy = text(&part);
        for other in ["Beta", "beta", "0000000000c2"] {
            assert!(!copy.contains(other), "{other}\n{copy}");
        }
        for own in ["alpha-lock", "keep-alpha", "vault-gamma"] {
            assert!(copy.contains(own), "{own}\n{copy}");
        }
        let selection = if wanted.vms.is_empty() { group.clone() } else { Selection::default() };
        let (before, after) = (look(ALIKE, &selection).await, look(&copy, &selection).await);
        assert_eq!(of(&before, "alpha-01"), of(&after, "alpha-01"), "{copy}");
        assert!(!of(&after, "alpha-01").is_empty());
        assert_eq!(before.not_read.len(), after.not_read.len());
    }
    // Nothing is asked for by this name: the subscriptions that were looked into are all there is to say.
    let tags = Selection { tags: vec![("no".into(), "such".into())], ..Selection::default() };
    let none = captured_with(ALIKE, &Wanted { selection: tags.clone(), ..Wanted::default() }).await;
    assert_eq!((none.subscriptions.len(), none.vms.len()), (3, 0));
    assert_eq!(look(&text(&none), &tags).await.exit_code, look(ALIKE, &tags).await.exit_code);
    // The whole of it is a copy as ever.
    Box::pin(holds("alike", ALIKE)).await;
}

#[tokio::test]
async fn deny_assignments_that_were_not_read_are_said() {
    let said = |captured: &Captured| -> Vec<String> {
        let lines = captured.not_read.iter().filter(|line| line.what.starts_with("the deny assignments of "));
        lines.map(|line| line.why.clone()).collect()
    };
    assert_eq!(said(&captured(ALIKE).await), Vec::<String>::new());
    // Forbidden by an error, or by the caller's own roles.
    let failing = lab(ALIKE);
    failing.sim.edit(|world| {
        world.faults.push(Fault {
            id: "denied".into(),
            when: FaultMatch {
                method: Some("GET".into()),
                path_contains: Some("denyAssignments".into()),
                nth: Some(1),
                times: Some(50),
            },
            effect: FaultEffect::Reply {
                status: 400,
                code: "BadRequest".into(),
                message: "no".into(),
                retry_after: None,
                raw_body: None,
            },
            seen: 0,
            fired: 0,
        });
    });
    let failed = of_lab(&failing).await;
    assert_eq!(said(&failed).len(), 3, "one for each subscription: {:?}", failed.not_read);
    assert!(said(&failed).iter().all(|why| why.contains("400")), "{:?}", failed.not_read);
    let limited = format!(
        "{ALIKE}permissions: [{{ scope: /, actions: [\"*\"], not_actions: [Microsoft.Authorization/denyAssignments/read] }}]\n"
    );
    let lacking = captured(&limited).await;
    assert!(said(&lacking).iter().all(|why| why.contains("denyAssignments/read")), "{:?}", lacking.not_read);
    assert_eq!(said(&lacking).len(), 3);
    assert!(text(&lacking).contains("# NOT READ: the deny assignments of "));
    let nameless = text(&anonymized(&lacking));
    assert!(nameless.contains("# NOT READ: the deny assignments: "), "{nameless}");
}

async fn of_lab(lab: &Lab) -> Captured {
    capture::read(&lab.arm, &lab.visible().await, &Wanted::default()).await.unwrap().0
}

const CHOSEN: &str = r#"
apiVersion: azmend/estate/v1
name: chosen
now: 2026-11-20T09:00:00Z
subscriptions:
  - name: Chosen
    groups:
      - name: rg-app
        location: westeurope
        vms:
          - { name: app-01, protection: { vault: vault-01, policy: own } }
          - { name: app-02, protection: { vault: vault-01, policy: daily } }
        vaults:
          - name: vault-01
            policies: [{ name: daily }, { name: own, type: enhanced, prefix: AzureBackupRG_Contoso_ }]
      - name: AzureBackupRG_Contoso_1
        location: westeurope
        locks: [{ name: keep, level: CanNotDelete }]
        collections: [{ of: app-01, points: { count: 3, newest: 10h } }]
      - name: AzureBackupRG_fabrikam_7
        location: westeurope
        locks: [{ name: keep, level: CanNotDelete }]
        collections: [{ of: app-02, points: { count: 3, newest: 10h } }]
      - name: AzureBackupRG_WestEurope_1
        location: westeurope
        locks: [{ name: keep, level: CanNotDelete }]
        collections: [{ of: app-02, name: AzureBackup_app-02_111222333, points: { count: 1, newest: 20d, tier: vault } }]
"#;

#[tokio::test]
async fn a_chosen_word_in_a_default_name_is_a_name() {
    let first = captured(CHOSEN).await;
    let nameless = text(&anonymized(&first));
    for gone in ["contoso", "fabrikam"] {
        assert!(!nameless.to_lowercase().contains(gone), "{gone}\n{nameless}");
    }
    // Azure's own stays, and so does the form of the others: what azmend decides on it is the same.
    for kept in ["AzureBackupRG_WestEurope_1", "AzureBackupRG_geo01_7", "prefix: backup01x\n", "name: backup01x1\n"] {
        let prefix = kept.trim_end();
        assert!(nameless.contains(prefix), "{kept}\n{nameless}");
    }
    nameless_is_alike("chosen", &first, &text(&first)).await;
}

#[tokio::test]
async fn an_estate_of_many_vms_is_captured_and_loads() {
    let wanted = Generate { vms: 120, subscriptions: 2, ..Generate::default() };
    let world = World::generated(&wanted).unwrap();
    let captured = of_lab(&Lab::on(world.clone())).await;
    let copy = captured.text();
    let loaded = World::from_estate(&Estate::parse(&copy.text, "many.yaml").unwrap());
    assert_eq!(loaded.vms.len(), world.vms.len());
    assert_eq!(loaded.collections.len(), world.collections.len());
    assert_eq!((loaded.items.len(), loaded.jobs.len()), (world.items.len(), world.jobs.len()));
}
