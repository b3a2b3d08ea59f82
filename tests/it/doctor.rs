//! `azmend doctor` and `azmend role` as they are typed.

use std::path::Path;

use assert_cmd::Command;
use azmend::sim::Estate;
use serde_json::Value;

/// Runs azmend in an empty environment: exit code, stdout, stderr.
fn azmend(dir: &Path, env: &[(&str, &str)], words: &[&str]) -> (i32, String, String) {
    let mut command = Command::cargo_bin("azmend").unwrap();
    command.env_clear().env("HOME", dir).env("PATH", dir).env("COLUMNS", "80").current_dir(dir).args(words);
    command.envs(env.iter().copied());
    let out = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (out.status.code().unwrap(), text(out.stdout), text(out.stderr))
}

fn estate(dir: &Path, tail: &str) -> String {
    let file = dir.join("estate.yaml");
    std::fs::write(&file, format!("{}\n{tail}", Estate::built_in_text())).unwrap();
    "--sandbox=estate.yaml".to_owned()
}

fn narrow(text: &str) {
    // An ARM action and a command are never broken: they are to be copied.
    let long = |line: &&str| line.chars().count() > 80 && !line.contains("Microsoft.") && !line.contains("az role");
    assert_eq!(text.lines().filter(long).collect::<Vec<_>>(), Vec::<&str>::new());
    assert!(text.lines().all(|line| line == line.trim_end()), "trailing spaces");
}

#[test]
fn an_owner_lacks_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (code, out, _) = azmend(dir.path(), &[], &["--sandbox", "doctor", "-s", "Contoso Production"]);
    assert_eq!(code, 0);
    narrow(&out);
    insta::assert_snapshot!(out, @r"
    signed in by   sandbox
    identity       not in the token
    cloud          sandbox, https://management.sandbox.invalid/
    subscriptions  5b1c0de0-0000-4000-8000-000000000001 Contoso Production
                   5b1c0de0-0000-4000-8000-000000000002 Contoso Subsidiary (not
                   checked)

    note  not checked: roles that are assigned at a resource group or at one
          resource only (see --vm), and Azure Policy

    subscription Contoso Production
      -      agent-configuration        not checked: it runs scripts inside the VM:
                                        check it with --playbook agent-configuration
      yes    backup-in-progress
      yes    backup-now
      yes    backup-operation-failed
      yes    crp-reported-user-error
      yes    datasource-not-present
      yes    delete-stale-collections
      yes    extension-operation-failed
      yes    failed-vm
      -      keyvault-permissions       not checked: it grants a permission: check
                                        it with --playbook keyvault-permissions
      yes    rp-collection-limit
      yes    stale-collections-of-deleted-vm
      yes    unlock-backup-groups
      yes    unprotected-vm
      yes    vm-provisioning-failed
      -      vss-services               not checked: it runs scripts inside the VM:
                                        check it with --playbook vss-services
      nothing is missing of what was checked

    every permission that was checked is granted
    ");
    assert!(!dir.path().join(".local/state/azmend/sandbox").exists(), "looking keeps nothing");
}

#[test]
fn a_reader_is_told_what_is_missing_at_the_scopes_of_the_vm() {
    let dir = tempfile::tempdir().unwrap();
    let sandbox = estate(dir.path(), "permissions:\n  - { scope: /, actions: [\"*/read\"] }");
    let words = [sandbox.as_str(), "doctor", "--vm", "web-01", "--playbook", "rp-collection-limit"];
    let (code, out, _) = azmend(dir.path(), &[], &words);
    assert_eq!(code, 6);
    narrow(&out);
    insta::assert_snapshot!(out, @r"
    signed in by   sandbox
    identity       not in the token
    cloud          sandbox, https://management.sandbox.invalid/
    subscriptions  5b1c0de0-0000-4000-8000-000000000001 Contoso Production
                   5b1c0de0-0000-4000-8000-000000000002 Contoso Subsidiary (not
                   checked)

    note  not checked: other VMs, and Azure Policy

    VM rg-shop/web-01
      no     rp-collection-limit
      cannot read at the subscription
        - Microsoft.RecoveryServices/locations/backupStatus/action
          without it a vault in a subscription that is not visible is not found:
          nothing counts as an orphan, no protection is resumed
      cannot change at the backup resource groups AzureBackupRG_westeurope_1
        - Microsoft.Authorization/locks/delete
          without it locks are reported with the command that removes them
        - Microsoft.Authorization/locks/write
          without it no lock is removed, because none could be restored (rule
          s6.cannot-restore)
        - Microsoft.Compute/restorePointCollections/delete
          without it such collections are kept; single expired points are still
          deleted
        - Microsoft.Compute/restorePointCollections/restorePoints/delete
          without it single points are kept; orphaned and superseded collections are
          still deleted
      cannot change at the VM web-01
        - Microsoft.Compute/virtualMachines/extensions/delete
          without it VMSnapshot is not uninstalled
      cannot change at the vault bkp-vault
        - Microsoft.RecoveryServices/Vaults/backupFabrics/protectionContainers/protectedItems/backup/action
          without it no backup is started
      optional at the subscription
        - Microsoft.Network/networkInterfaces/effectiveNetworkSecurityGroups/action
          without it network rules are not checked
      optional at the vault bkp-vault
        - Microsoft.RecoveryServices/Vaults/backupFabrics/refreshContainers/action
          without it a VM that its vault has not discovered yet is not protected; it
          is discovered some minutes after its creation

    what is missing, as a role to assign in addition (missing_role):
      azmend --sandbox=estate.yaml doctor -o json
    the smallest role that does everything, and why:
      azmend role
    ");
    let (code, _, _) = azmend(dir.path(), &[], &[&sandbox, "doctor", "--read-only"]);
    assert_eq!(code, 6, "Reader has no backupStatus");
}

#[test]
fn the_json_fits_its_schema_and_its_role_is_what_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let schema: Value = serde_json::from_str(include_str!("../../docs/schema/doctor.schema.json")).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let sandbox = estate(
        dir.path(),
        "permissions:\n  - { scope: /, actions: [\"*\"], not_actions: [\"Microsoft.Authorization/*/Write\", \"Microsoft.Sql/servers/read\"] }",
    );
    let (code, out, _) = azmend(dir.path(), &[], &[&sandbox, "doctor", "-o", "json", "-s", "Contoso Production"]);
    let report: Value = serde_json::from_str(&out).unwrap();
    assert!(validator.is_valid(&report), "{:?}", validator.iter_errors(&report).next());
    assert_eq!((code, report["status"].as_str(), report["exit_code"].as_i64()), (6, Some("missing"), Some(6)));
    assert_eq!(report["missing_role"]["Actions"], serde_json::json!(["Microsoft.Authorization/locks/write"]));
    assert_eq!(report["reader_missing_at"].as_array().unwrap().len(), 2, "an exception hides what groups hold");
    let playbooks = report["scopes"][0]["playbooks"].as_array().unwrap();
    let unlock = playbooks.iter().find(|one| one["name"] == "unlock-backup-groups").unwrap();
    assert_eq!(unlock["may"], "no");
    let (code, out, _) = azmend(dir.path(), &[("AZMEND_AUTH", "cli")], &["doctor", "-o", "json"]);
    let report: Value = serde_json::from_str(&out).unwrap();
    assert!(validator.is_valid(&report));
    assert_eq!((code, report["status"].as_str()), (4, Some("not_signed_in")));
}

#[test]
fn a_deny_assignment_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let tail =
        "deny_assignments:\n  - { name: keep backups, scope: AzureBackupRG_westeurope_1, actions: [\"*/delete\"] }";
    let sandbox = estate(dir.path(), tail);
    let (code, out, err) = azmend(dir.path(), &[], &[&sandbox, "doctor", "--vm", "web-01"]);
    assert_eq!(code, 6, "{err}");
    let words = out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("may be denied by the deny assignment \"keep backups\""), "{out}");
    assert!(out.contains("ask its owner"), "{out}");
}

#[test]
fn without_a_sign_in_every_way_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let arc = [
        ("IDENTITY_ENDPOINT", "http://localhost:40342/metadata/identity/oauth2/token"),
        ("IMDS_ENDPOINT", "http://localhost:40342"),
    ];
    let (code, out, _) = azmend(dir.path(), &arc, &["doctor"]);
    assert_eq!(code, 4);
    narrow(&out);
    insta::assert_snapshot!(out, @r"
    signed in by   none: no sign-in method gave a token
      not          service-principal: neither AZURE_CLIENT_SECRET nor
                   AZURE_CLIENT_CERTIFICATE_PATH is set
      not          workload: AZURE_FEDERATED_TOKEN_FILE is not set
      not          managed-identity: this is Azure Arc's identity endpoint, which
                   azmend cannot use yet: sign in to the Azure CLI and use --auth
                   cli, or use a service principal
      not          cli: AzureCliCredential authentication failed. az not found on
                   PATH To troubleshoot, visit
                   https://aka.ms/azsdk/rust/identity/troubleshoot#azure-cli
    cloud          public, https://management.azure.com/

    note  this looks like a server of Azure Arc (IMDS_ENDPOINT or the endpoint of
          himds is set): azure_identity 1.0, which azmend signs in with, does not
          know Arc's managed identity. Use a service principal (AZURE_TENANT_ID,
          AZURE_CLIENT_ID, AZURE_CLIENT_SECRET), workload identity, or `az login`
          with --auth cli

    sign in (az login), or choose another way with --auth
    ");
}

#[test]
fn the_role_is_ready_for_the_azure_cli() {
    let dir = tempfile::tempdir().unwrap();
    let scope = "5b1c0de0-0000-4000-8000-000000000001";
    let (code, out, err) =
        azmend(dir.path(), &[], &["role", "--playbook", "unlock-backup-groups", "--scope", scope, "-o", "json"]);
    assert_eq!(code, 0);
    insta::assert_snapshot!(out, @r#"
    {
      "Name": "azmend repair (unlock-backup-groups)",
      "IsCustom": true,
      "Description": "Repairs Azure VM backup with azmend, playbooks unlock-backup-groups. Grants no role assignment, no vault deletion and no recovery point deletion.",
      "Actions": [
        "Microsoft.Resources/subscriptions/read",
        "Microsoft.Authorization/permissions/read",
        "Microsoft.Authorization/denyAssignments/read",
        "Microsoft.Authorization/locks/read",
        "Microsoft.Resources/subscriptions/resourceGroups/read",
        "Microsoft.Compute/virtualMachines/read",
        "Microsoft.Compute/virtualMachines/instanceView/read",
        "Microsoft.Compute/virtualMachines/extensions/read",
        "Microsoft.Compute/restorePointCollections/read",
        "Microsoft.Compute/restorePointCollections/restorePoints/read",
        "Microsoft.RecoveryServices/locations/backupStatus/action",
        "Microsoft.RecoveryServices/Vaults/read",
        "Microsoft.RecoveryServices/Vaults/backupProtectedItems/read",
        "Microsoft.RecoveryServices/Vaults/backupPolicies/read",
        "Microsoft.RecoveryServices/Vaults/backupFabrics/protectionContainers/protectedItems/recoveryPoints/read",
        "Microsoft.RecoveryServices/Vaults/backupJobs/read",
        "Microsoft.RecoveryServices/Vaults/backupResourceGuardProxies/read",
        "Microsoft.RecoveryServices/Vaults/backupEngines/read",
        "Microsoft.Compute/disks/read",
        "Microsoft.Insights/metrics/read",
        "Microsoft.Network/networkInterfaces/effectiveNetworkSecurityGroups/action",
        "Microsoft.RecoveryServices/Vaults/backupProtectableItems/read",
        "Microsoft.RecoveryServices/Vaults/backupFabrics/refreshContainers/action",
        "Microsoft.KeyVault/vaults/read",
        "Microsoft.Authorization/roleAssignments/read",
        "Microsoft.Authorization/locks/delete",
        "Microsoft.Authorization/locks/write"
      ],
      "NotActions": [],
      "DataActions": [],
      "NotDataActions": [],
      "AssignableScopes": [
        "/subscriptions/5b1c0de0-0000-4000-8000-000000000001"
      ]
    }
    "#);
    insta::assert_snapshot!(err, @r"
    in addition, on each backup resource group, assign the built-in role Reader:
      az role assignment create --assignee OBJECT-ID --role Reader --scope GROUP-ID
    ");
    let (_, out, _) = azmend(dir.path(), &[], &["role", "--read-only"]);
    narrow(&out);
    assert!(!out.contains("To change") && out.contains("backupResourceGuardProxies/read"), "{out}");
    let (_, out, _) = azmend(dir.path(), &[], &["role", "--without-locks", "-o", "json"]);
    assert!(!out.contains("locks/delete") && !out.contains("locks/write") && out.contains("locks/read"), "{out}");
    assert_eq!(azmend(dir.path(), &[], &["role", "--playbook", "nothing"]).0, 2);
}

/// `AZMEND_UPDATE=1 cargo test permissions_page` writes the table anew.
#[test]
fn the_permissions_page_is_up_to_date() {
    use azmend::actions::permission::NeedKind;
    use azmend::actions::permissions_needed::NEEDS;
    let mut table = String::from("| action | at | why | without it |\n|---|---|---|---|\n");
    for kind in [NeedKind::Fact, NeedKind::Follow, NeedKind::Change] {
        for need in NEEDS.iter().filter(|need| need.kind == kind) {
            let optional = need.optional.map(|why| format!(" *Optional: {why}.*")).unwrap_or_default();
            table.push_str(&format!(
                "| `{}` | {} | {} | {}.{optional} |\n",
                need.action, need.place, need.why, need.without
            ));
        }
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/permissions.md");
    let page = std::fs::read_to_string(&file).unwrap();
    let (begin, end) = ("<!-- table: made from src/actions/needs.rs -->\n", "<!-- end of table -->");
    let from = page.find(begin).unwrap() + begin.len();
    let to = page.find(end).unwrap();
    if std::env::var_os("AZMEND_UPDATE").is_some() {
        std::fs::write(&file, format!("{}{table}{}", &page[..from], &page[to..])).unwrap();
    } else {
        assert!(page[from..to] == table, "run: AZMEND_UPDATE=1 cargo test permissions_page");
    }
}
