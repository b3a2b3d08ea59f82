//! `azmend vms`, `jobs`, `backup` and `engines` as they are typed, and what they send.

use std::path::Path;

use assert_cmd::Command;
use azmend::arm::JobFilter;
use azmend::facts::inventory::{JobsAsked, Protected, engines, jobs, vms};
use serde_json::Value;

use crate::support::{Lab, check_requests};

const ESTATE: &str = include_str!("../../examples/estates/backup-server.yaml");
const HERE: &str = "--sandbox=estate.yaml";

/// Runs azmend in an empty environment: exit code, stdout, stderr.
fn azmend(dir: &Path, words: &[&str]) -> (i32, String, String) {
    let mut command = Command::cargo_bin("azmend").unwrap();
    command.env_clear().env("HOME", dir).env("PATH", dir).env("COLUMNS", "80").current_dir(dir).args(words);
    let out = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (out.status.code().unwrap(), text(out.stdout), text(out.stderr))
}

fn estate(tail: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("estate.yaml"), format!("{ESTATE}\n{tail}")).unwrap();
    dir
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn vms_say_what_is_protected() {
    let dir = estate("");
    let (code, out, _) = azmend(dir.path(), &[HERE, "vms"]);
    assert_eq!(code, 0);
    insta::assert_snapshot!(out, @r"
    subscription Fabrikam
    VM               PROTECTED  LAST BACKUP      NEWEST POINT    VAULT        POLICY
    rg-plant/mes-01  yes        7 h ago,         7 hours (every  plant-vault  daily
                                Completed        day)
    rg-plant/mes-02  stopped                                     plant-vault  daily
        deallocated
    rg-plant/new-03  no
    rg-plant/run-04  yes                         none yet        plant-vault  daily
                                                 (every day)

    4 VMs: 2 protected, 1 with protection stopped, 1 not protected
    protected VMs within objective 1 of 2 (1 not known)
    no: no vault in 1 visible subscription has an item of the VM
    ");
    assert!(!dir.path().join(".local/state/azmend/sandbox").exists(), "looking keeps nothing");
    let (code, out, _) =
        azmend(dir.path(), &[HERE, "vms", "--unprotected", "-o", "json", "--resource-group", "RG-PLANT"]);
    let report = json(&out);
    assert_eq!((code, report["schema"].as_str(), report["sandbox"].as_bool()), (0, Some("azmend.vms/v1"), Some(true)));
    let names: Vec<&str> = report["vms"].as_array().unwrap().iter().map(|vm| vm["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["mes-02", "new-03"]);
    assert_eq!(report["vms"][0]["power"], "deallocated");
    let (code, _, err) = azmend(dir.path(), &[HERE, "vms", "--resource-group", "rg-nowhere"]);
    assert!(code == 2 && err.contains("rg-nowhere"), "{err}");
    let (_, out, _) = azmend(dir.path(), &[HERE, "vms", "-o", "jsonl"]);
    assert_eq!(out.lines().count(), 5, "four VMs and the whole");
    assert_eq!(json(out.lines().last().unwrap())["exit_code"], 0);
}

/// A 403 on one vault: its region's VMs without an item are unknown, never "no"; others and their facts stay.
#[test]
fn a_vault_that_cannot_be_read_makes_unknown_and_never_no() {
    let tail = "permissions:\n  - { scope: /, actions: [\"*\"], not_actions: [\"Microsoft.RecoveryServices/Vaults/backupProtectedItems/read\"] }";
    let dir = estate(tail);
    let (code, out, _) = azmend(dir.path(), &[HERE, "vms", "-o", "json"]);
    let report = json(&out);
    assert_eq!((code, report["exit_code"].as_i64()), (6, Some(6)));
    let rows = report["vms"].as_array().unwrap();
    assert!(rows.len() == 4 && rows.iter().all(|vm| vm["protected"] == "unknown"), "{out}");
    assert!(rows[0]["unknown_because"].as_str().unwrap().contains("plant-vault"), "{out}");
    assert_eq!(report["not_read"].as_array().unwrap().len(), 2, "two vaults: {out}");
    let (_, out, _) = azmend(dir.path(), &[HERE, "vms"]);
    assert!(out.contains("unknown") && out.contains("not read") && !out.contains("not protected"), "{out}");
}

#[test]
fn vms_that_are_filtered_out_are_said() {
    let tail = "permissions:\n  - { scope: /, actions: [\"*/read\"], not_actions: [\"Microsoft.Compute/virtualMachines/read\"] }";
    let dir = estate(tail);
    let (code, out, _) = azmend(dir.path(), &[HERE, "vms"]);
    let words = out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(code == 6 && out.contains("no VM was found") && words.contains("may be partial"), "{out}");
}

#[test]
fn jobs_are_listed_with_the_next_command() {
    let dir = estate("");
    let (code, out, _) = azmend(dir.path(), &[HERE, "jobs"]);
    assert_eq!(code, 0);
    insta::assert_snapshot!(out, @r"
    START (UTC)  STATUS      OPERATION  VM               TOOK        JOB
    11-20 08:55  InProgress  Backup     rg-plant/run-04  5 min       4d451deb
    11-19 23:00  Completed   Backup     rg-plant/mes-01  2 h 30 min  ea99ba8a
    11-18 23:00  Failed      Backup     rg-plant/mes-01  3 min       e863cb22
        UserErrorGuestAgentStatusUnavailable: VM agent cannot communicate with Azure
        Backup.
        azmend explain UserErrorGuestAgentStatusUnavailable

    3 jobs since 2026-11-13 09:00 UTC in 2 vaults
    ");
    let count = |words: &[&str]| {
        let (code, out, err) = azmend(dir.path(), &[&[HERE, "jobs", "-o", "json"], words].concat());
        assert_eq!(code, 0, "{err}");
        json(&out)["jobs"].as_array().unwrap().len()
    };
    assert_eq!((count(&["--failed"]), count(&["--running"]), count(&["--since", "1d"])), (1, 1, 2));
    assert_eq!(
        (count(&["--vm", "mes-01"]), count(&["--vm", "rg-x/mes-01"]), count(&["--vault", "spare-vault"])),
        (2, 0, 0)
    );
    let (code, _, err) = azmend(dir.path(), &[HERE, "jobs", "--vault", "plant-valt"]);
    assert!(code == 2 && err.contains("plant-vault"), "{err}");
}

#[test]
fn a_job_is_followed_to_its_end_in_virtual_time() {
    let dir = estate("");
    let (_, out, _) = azmend(dir.path(), &[HERE, "jobs", "--running", "-o", "json"]);
    let id = json(&out)["jobs"][0]["job"].as_str().unwrap().to_owned();
    let (code, out, err) = azmend(dir.path(), &[HERE, "jobs", "--follow", &id[..6], "-o", "json"]);
    let report = json(&out);
    assert_eq!((code, report["watching"].as_str()), (0, Some("ended")), "{err}");
    assert_eq!(report["jobs"][0]["status"], "Completed");
    assert_eq!(report["jobs"][0]["tasks"].as_array().unwrap().len(), 2);
    let line = err.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(line.contains("Transfer data to vault: InProgress"), "{err}");
    let (_, out, _) = azmend(dir.path(), &[HERE, "jobs", "--failed", "-o", "json"]);
    let failed = json(&out)["jobs"][0]["id"].as_str().unwrap().to_owned();
    let (code, out, _) = azmend(dir.path(), &[HERE, "jobs", "--follow", &failed]);
    assert!(code == 9 && out.contains("azmend explain UserErrorGuestAgentStatusUnavailable"), "{out}");
    assert_eq!(azmend(dir.path(), &[HERE, "jobs", "--follow", "ffffffffff"]).0, 2);
    assert_eq!(azmend(dir.path(), &[HERE, "jobs", "--follow", "../x"]).0, 2);
}

#[test]
fn engines_are_listed_with_their_failed_jobs() {
    let dir = estate("");
    let (code, out, _) = azmend(dir.path(), &[HERE, "engines"]);
    assert_eq!(code, 0);
    insta::assert_snapshot!(out, @r"
    DPM01.FABRIKAM.EXAMPLE (System Center DPM server) in the vault plant-vault
      versions   version 10.22.148.0, no update available; agent 2.0.9262.0, no
                 update available
      state      Registered, Active, Healthy
      refreshed  Azure does not say
      protects   3 items of 1 server

    MABS01.FABRIKAM.EXAMPLE (Backup Server) in the vault plant-vault
      versions   version 14.0.30.0, update available; agent 2.0.9250.0, no update
                 available
      state      Registered, Active, Healthy
      refreshed  3 h ago
      protects   42 items of 7 servers
      storage    94 % used of 4 disks
      2 jobs failed
      - 2026-11-20 00:00 Backup of SQL01\Orders (SQLDataBase)
        The Microsoft Azure Recovery Services Agent was unable to connect to the
        Azure Backup service. (ID 100050 Details: the remote name could not be
        resolved)
        the server recommends: Check the network settings of this server
        azmend explain MABS_AgentCannotConnect
      - 2026-11-19 23:00 Backup of FS01\D (FileFolder)
        An unexpected error was met by the storage layer.
        the catalogue has no entry for this text

    2 servers in 2 vaults; failed jobs since 2026-11-13 09:00 UTC. They run on
    premises: azmend reads what they reported to the vault and changes nothing on
    them. Repair them on the server
    ");
    let (code, out, _) = azmend(dir.path(), &[HERE, "engines", "--vault", "spare-vault"]);
    assert!(code == 0 && out.contains("no Backup Server and no DPM server in 1 vault"), "{out}");
    let (_, out, _) = azmend(dir.path(), &[HERE, "engines", "--since", "1h", "-o", "json"]);
    let report = json(&out);
    assert_eq!(
        (report["schema"].as_str(), report["engines"].as_array().unwrap().len()),
        (Some("azmend.engines/v1"), 2)
    );
    assert_eq!(report["engines"][1]["failed_jobs"], serde_json::json!([]), "older than an hour");
    let tail = "permissions:\n  - { scope: /, actions: [\"*\"], not_actions: [\"Microsoft.RecoveryServices/Vaults/backupEngines/read\"] }";
    let dir = estate(tail);
    let (code, out, _) = azmend(dir.path(), &[HERE, "engines"]);
    assert!(code == 6 && out.contains("backupEngines/read"), "{out}");
}

/// The same plan, and the same result object, as `fix backup-now`.
#[test]
fn backup_is_backup_now() {
    let dir = estate("");
    let plan = |words: &[&str]| {
        let (code, out, err) =
            azmend(dir.path(), &[&[HERE], words, &["--vm", "mes-01", "--dry-run", "-o", "json"]].concat());
        assert_eq!(code, 3, "{err}");
        json(&out)
    };
    let short = plan(&["backup", "--retain", "14d", "--follow", "job"]);
    let long = plan(&["fix", "backup-now", "--set", "retain=14d", "--set", "follow=job"]);
    assert_eq!(short["changes"], long["changes"]);
    assert_eq!((&short["playbook"], &short["next"]), (&long["playbook"], &long["next"]));
    assert_eq!(azmend(dir.path(), &[HERE, "backup", "--vm", "mes-01"]).0, 5, "nobody can be asked");
    let (code, out, err) = azmend(dir.path(), &[HERE, "backup", "--vm", "mes-01", "--yes", "-o", "json"]);
    assert_eq!((code, json(&out)["status"].as_str()), (0, Some("succeeded")), "{err}");
    assert_eq!(azmend(dir.path(), &[HERE, "backup", "--vm", "mes-01"]).0, 7, "its transfer is still running");
}

#[test]
fn text_from_azure_does_not_control_the_terminal() {
    let dir = tempfile::tempdir().unwrap();
    let hostile = ESTATE
        .replace("An unexpected error was met by the storage layer.", "\"\\e]0;x\\a\\u202egpj\"")
        .replace("name: Fabrikam\n", "name: \"Fab\\e[2Jrikam\"\n");
    assert_ne!(hostile, ESTATE);
    std::fs::write(dir.path().join("estate.yaml"), hostile).unwrap();
    for command in ["vms", "jobs", "engines"] {
        for format in ["table", "json", "jsonl"] {
            let (code, out, err) = azmend(dir.path(), &[HERE, command, "-o", format, "--color", "never"]);
            assert_eq!(code, 0, "{err}");
            let bad = |c: char| (c.is_control() && c != '\n') || (c == '\u{202e}' && format == "table");
            assert!(!out.contains(bad) && !err.contains(bad), "{command} {format}: {out:?} {err:?}");
        }
    }
}

/// Lists alone, whatever the number of VMs; every request is in the published contracts (the lab's transport checks
/// them), and none changes anything.
#[tokio::test]
async fn the_calls_are_few_and_only_read() {
    for lab in [Lab::of(ESTATE), Lab::new()] {
        let visible = lab.visible().await;
        let (before, vms_there) = (lab.arm.calls(), lab.sim.world().vms.len());
        let found = vms(&lab.arm, &visible, None).await.unwrap();
        assert_eq!(found.vms.len(), vms_there);
        assert!(found.not_read.is_empty() && found.vms.iter().all(|vm| vm.protected != Protected::Unknown));
        // Per subscription: rights, denials, VMs, power, vaults; per vault: rights, items, policies. Pages come on top.
        let size = lab.sim.world().settings.page_size;
        let pages = (vms_there * 3).div_ceil(size) as u64;
        let most = visible.all.len() as u64 * 5 + lab.sim.world().vaults.len() as u64 * 3 + pages;
        assert!(lab.arm.calls() - before <= most, "{} calls, {most} allowed", lab.arm.calls() - before);
        let asked = JobsAsked { since: std::time::Duration::from_secs(7 * 86_400), ..JobsAsked::default() };
        jobs(&lab.arm, &visible, &asked).await.unwrap();
        engines(&lab.arm, &visible, None, asked.since).await.unwrap();
        for vault in lab.sim.world().vaults.clone() {
            lab.arm.engine_jobs(&vault.id, "DPM", &JobFilter::default()).await.unwrap();
            lab.arm.engine_jobs(&vault.id, "x' or 'y", &JobFilter::default()).await.unwrap_err();
        }
        for job in lab.sim.world().jobs.iter().take(2).filter_map(azmend::sim::Job::id).collect::<Vec<_>>() {
            lab.arm.watched_job(&job).await.unwrap();
        }
        assert_eq!(lab.mutations(), Vec::<String>::new());
        check_requests(&lab);
    }
}
