//! The command line as people and programs meet it: output, exit codes, what is on disk afterwards.
//!
//! Every command runs with an empty environment, its own state directory and a fixed width. Run ids, plan hashes and
//! paths are written as `<run>`, `<hash>` and `<state>`, for they differ from run to run.

use std::path::Path;
use std::process::Output;

use assert_cmd::Command;
use insta::assert_snapshot;
use serde_json::Value;
use tempfile::TempDir;

/// A user with a state directory of their own.
struct User {
    home: TempDir,
}

/// What a command came to.
struct Done {
    code: i32,
    out: String,
    err: String,
}

impl User {
    fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap() }
    }

    fn state(&self) -> std::path::PathBuf {
        self.home.path().join("state")
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_azmend"));
        command.env_clear().env("COLUMNS", "100").env("AZMEND_STATE_DIR", self.state());
        command.current_dir(self.home.path()).args(line.split_whitespace());
        command
    }

    #[must_use = "look at the output or the code"]
    fn run(&self, line: &str) -> Done {
        Done::of(&self.command(line).output().unwrap(), self.home.path())
    }

    /// One JSON object on stdout, and the process's exit code is in it.
    fn json(&self, line: &str) -> Value {
        let output = self.command(&format!("{line} -o json")).output().unwrap();
        let show = || Done::of(&output, self.home.path()).show();
        let value: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", show()));
        assert_eq!(value["schema"], "azmend.result/v1");
        assert_eq!(Some(&value["exit_code"]), output.status.code().map(Value::from).as_ref(), "{}", show());
        let schema: Value = serde_json::from_str(&azmend::report::schema::json()).unwrap();
        assert!(jsonschema::is_valid(&schema, &value), "{value}");
        value
    }
}

impl Done {
    fn of(output: &Output, home: &Path) -> Self {
        let text = |bytes: &[u8]| redact(&String::from_utf8_lossy(bytes), home);
        Self { code: output.status.code().unwrap(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    fn show(&self) -> String {
        format!("exit {}\n--- stdout\n{}--- stderr\n{}", self.code, self.out, self.err)
    }
}

/// Takes out what differs from run to run.
fn redact(text: &str, home: &Path) -> String {
    let text = text.replace(&home.display().to_string(), "<home>");
    let mut out = String::new();
    let mut word = String::new();
    let mut before = String::new();
    let end = |word: &mut String, before: &mut String, out: &mut String| {
        let hex = |range: std::ops::Range<usize>| {
            word.get(range).is_some_and(|part| part.bytes().all(|b| b.is_ascii_hexdigit()))
        };
        let run = [18, 36].contains(&word.len()) && word.get(14..15) == Some("7") && hex(0..8) && hex(9..13);
        if run {
            out.push_str("<run>");
        } else if word.len() == 12 && hex(0..12) && before == "plan" {
            out.push_str("<hash>");
        } else {
            out.push_str(word);
        }
        if !word.is_empty() {
            before.clone_from(word);
        }
        word.clear();
    };
    for c in text.chars() {
        if c.is_alphanumeric() || c == '-' {
            word.push(c);
        } else {
            end(&mut word, &mut before, &mut out);
            out.push(c);
        }
    }
    end(&mut word, &mut before, &mut out);
    out
}

#[test]
fn the_sandbox_is_listed() {
    assert_snapshot!(User::new().run("sandbox list").show(), @r"
    exit 0
    --- stdout
    VM        GROUP          WHAT IS WRONG
    web-01    rg-shop        UserErrorRpCollectionLimitReached, 21 restore points (limit 18), 1 lock on
                             its points
    app-02    rg-shop        ExtensionOperationFailed, VMSnapshot failed, provisioning failed, 1 lock on
                             its points
    ok-07     rg-shop        healthy
    busy-08   rg-shop        a job is running, 1 lock on its points
    dup-09    rg-shop        healthy
    ven-10    rg-shop        healthy
    own-11    rg-shop        UserErrorRpCollectionLimitReached, 1 lock on its points
    stop-12   rg-shop        UserErrorRpCollectionLimitReached, protection stopped, 1 lock on its points
    twin-06   rg-shop        healthy
    db-03     RG-Data        UserErrorRpCollectionLimitReached, 1 lock on its points
    nas-04    RG-Data        UserErrorRpCollectionLimitReached, 20 restore points (limit 18), 1 lock on
                             its points
    dup-09    rg-lab         not backed up
    erp-13    contoso-prod1  healthy
    sub-lock  rg-branch      UserErrorRpCollectionLimitReached, 19 restore points (limit 18), 1 lock on
                             its points
    --- stderr
    try: azmend --sandbox fix rp-collection-limit --vm web-01
    ");
}

#[test]
fn a_dry_run_shows_the_plan_and_changes_nothing() {
    let user = User::new();
    assert_snapshot!(user.run("--sandbox fix rp-collection-limit --vm web-01 --dry-run").show(), @r#"
    exit 3
    --- stdout
    rp-collection-limit on rg-shop/web-01 in the sandbox  plan <hash>
    where  the sandbox, tenant 1e2f0131-d95b-417c-89f6-2f4a4555c609, subscription Contoso Production
           (5b1c0de0-0000-4000-8000-000000000001), as sandbox
    why    backup.last_error is "UserErrorRpCollectionLimitReached", points.count is 21, points.limit is
           18

     1 unlock  1 change
       - remove the CanNotDelete lock no-delete on AzureBackupRG_westeurope_1, notes "Protect backups.
         Contact: platform@contoso.example"; it also protects 11 collections of 11 other VMs: Azure
         Backup will then clean up theirs too
         Reversible: the lock is restored with the same name, level and notes
     2 clean  5 changes
       - delete 5 expired points of AzureBackup_web-01_116364146259203, from 2026-10-29 to 2026-11-02;
         the vault has a copy of each
         Irreversible: a deleted restore point cannot be recovered
       . 13 more points have expired; kept, because there is already room
     3 empty  skipped: params.cleanup is not collection
     4 reload  skipped: vmsnapshot.state is not Failed
     5 backup  1 change
       - start an on-demand backup of web-01 in vault bkp-vault, kept 30d, followed until the snapshot
         is taken
         No undo needed: the extra recovery point expires automatically after 30d

    irreversible  5 restore points are deleted and cannot be recovered; 16 of the VM remain (limit 18)
    afterwards    the run ends with the snapshot; the transfer to the vault takes longer:
                  azmend jobs --vm rg-shop/web-01
    --- stderr
    sandbox: the embedded Azure, nothing real is touched
    reading web-01 and its backup
    nothing was changed; to apply it: azmend --sandbox fix rp-collection-limit --vm web-01
    "#);
    assert!(!user.state().exists(), "a dry run writes nothing");
}

#[test]
fn the_main_job_is_done_and_told() {
    let user = User::new();
    assert_snapshot!(user.run("--sandbox fix rp-collection-limit --vm web-01 --yes --relock").show(), @r#"
    exit 0
    --- stdout
    succeeded after 4 min 17 s: rp-collection-limit on rg-shop/web-01 in the sandbox

      points        21 (limit 18) -> 17 (limit 18)
      backup        not running -> running

      done    remove the CanNotDelete lock no-delete on AzureBackupRG_westeurope_1: removed (confirmed);
              restored
      done    delete 5 points of AzureBackup_web-01_116364146259203: deleted (confirmed)
      done    start an on-demand backup of web-01 in vault bkp-vault: snapshot taken (job
              5efbb086-34cd-49b3-80c2-97017de24403); transfer to the vault running, not verified

      lock  no-delete (CanNotDelete) restored

      run   <run>
    --- stderr
    sandbox: the embedded Azure, nothing real is touched
    reading web-01 and its backup
    rp-collection-limit on rg-shop/web-01 in the sandbox  plan <hash>
    where  the sandbox, tenant 1e2f0131-d95b-417c-89f6-2f4a4555c609, subscription Contoso Production
           (5b1c0de0-0000-4000-8000-000000000001), as sandbox
    why    backup.last_error is "UserErrorRpCollectionLimitReached", points.count is 21, points.limit is
           18

     1 unlock  1 change
       - remove the CanNotDelete lock no-delete on AzureBackupRG_westeurope_1, notes "Protect backups.
         Contact: platform@contoso.example"; it also protects 11 collections of 11 other VMs: Azure
         Backup will then clean up theirs too
         Reversible: the lock is restored with the same name, level and notes
     2 clean  5 changes
       - delete 5 expired points of AzureBackup_web-01_116364146259203, from 2026-10-29 to 2026-11-02;
         the vault has a copy of each
         Irreversible: a deleted restore point cannot be recovered
       . 13 more points have expired; kept, because there is already room
     3 empty  skipped: params.cleanup is not collection
     4 reload  skipped: vmsnapshot.state is not Failed
     5 backup  1 change
       - start an on-demand backup of web-01 in vault bkp-vault, kept 30d, followed until the snapshot
         is taken
         No undo needed: the extra recovery point expires automatically after 30d

    irreversible  5 restore points are deleted and cannot be recovered; 16 of the VM remain (limit 18)
    afterwards    the run ends with the snapshot; the transfer to the vault takes longer:
                  azmend jobs --vm rg-shop/web-01

    [1/5] unlock  1 change
      to restore the lock no-delete by hand: az lock create --name no-delete --lock-type CanNotDelete --resource-group AzureBackupRG_westeurope_1 --notes 'Protect backups. Contact: platform@contoso.example' --subscription 5b1c0de0-0000-4000-8000-000000000001
      done    remove the CanNotDelete lock no-delete on AzureBackupRG_westeurope_1: removed (confirmed)
              (16 s)
    [2/5] clean  5 changes
          waiting: Azure to release the removed lock
          waiting: Azure's operation
      done    delete the expired point AzureBackup_20261029_230000 of 2026-10-29 23:00Z: deleted
              (confirmed) (36 s)
          waiting: Azure's operation
      done    delete the expired point AzureBackup_20261030_230000 of 2026-10-30 23:00Z: deleted
              (confirmed) (5 s)
          waiting: Azure's operation
      done    delete the expired point AzureBackup_20261031_230000 of 2026-10-31 23:00Z: deleted
              (confirmed) (6 s)
          waiting: Azure's operation
      done    delete the expired point AzureBackup_20261101_230000 of 2026-11-01 23:00Z: deleted
              (confirmed) (5 s)
          waiting: Azure's operation
      done    delete the expired point AzureBackup_20261102_230000 of 2026-11-02 23:00Z: deleted
              (confirmed) (5 s)
          empty skipped: params.cleanup is not collection
          reload skipped: vmsnapshot.state is not Failed
    [5/5] backup  1 change
          waiting: Azure's operation
          waiting: the snapshot
      done    start an on-demand backup of web-01 in vault bkp-vault: snapshot taken (job
              5efbb086-34cd-49b3-80c2-97017de24403); transfer to the vault running, not verified (3 min)
      relock  no-delete: succeeded: restored (confirmed)
    "#);
    assert_snapshot!(user.run("runs list").show(), @r#"
    exit 0
    --- stdout
    RUN                 STARTED            PLAYBOOK             VM      STATE
    <run>  2026-11-20 09:00Z  rp-collection-limit  web-01  succeeded, sandbox
    --- stderr
    "#);
    let run = std::fs::read_dir(user.state().join("runs")).unwrap().next().unwrap().unwrap().file_name();
    assert_snapshot!(user.run(&format!("runs show {}", run.to_str().unwrap())).show(), @r"
    exit 0
    --- stdout
    succeeded after 4 min 17 s: rp-collection-limit on rg-shop/web-01 in the sandbox

      done    remove the CanNotDelete lock no-delete on AzureBackupRG_westeurope_1: removed (confirmed);
              restored
      done    delete 5 points of AzureBackup_web-01_116364146259203: deleted (confirmed)
      done    start an on-demand backup of web-01 in vault bkp-vault: snapshot taken (job
              5efbb086-34cd-49b3-80c2-97017de24403); transfer to the vault running, not verified

      lock  no-delete (CanNotDelete) restored

      run   <run>
    --- stderr
    ");
}

#[test]
fn without_a_terminal_nobody_is_asked_and_nothing_happens() {
    let user = User::new();
    let done = user.run("--sandbox fix backup-now --vm ok-07 -q");
    assert_eq!((done.code, done.out.as_str()), (5, ""));
    assert!(done.err.contains("not confirmed"), "{}", done.err);
    let runs = std::fs::read_dir(user.state().join("runs")).unwrap().count();
    assert_eq!(runs, 0, "nothing was begun; the sandbox's time is kept all the same");
    assert_eq!(user.json("--sandbox fix backup-now --vm ok-07")["error"]["code"], "not_confirmed");
}

#[test]
fn wrong_usage_is_one_object_too() {
    let user = User::new();
    for (line, code) in [
        ("fixx", "usage"),
        ("fix rp-collection-limit", "usage"),
        ("--sandbox fix rp-collection-limit --vm v --override s8.newst", "usage"),
        ("--sandbox fix rp-colection-limit --vm web-01", "playbook_not_found"),
        ("--sandbox fix rp-collection-limit --vm web-1", "vm_not_found"),
        ("--sandbox fix rp-collection-limit --vm dup-09", "vm_ambiguous"),
        ("--sandbox fix rp-collection-limit --vm a;b", "bad_name"),
        ("--sandbox fix rp-collection-limit --vm ../web-01", "bad_name"),
        ("--sandbox fix rp-collection-limit --vm web-01 --set cleanup=staale", "parameter"),
        ("--sandbox apply none.json", "input"),
        ("--sandbox=none.yaml fix backup-now --vm v", "input"),
        ("--sandbox runs resume 0199", "run_not_found"),
        ("--sandbox --log-level loud runs list", "input"),
    ] {
        let value = user.json(line);
        assert_eq!((&value["error"]["code"], &value["exit_code"]), (&code.into(), &2.into()), "{line}: {value}");
        assert_eq!(value["status"], "error");
    }
    let done = Done::of(&user.command("fixx").env("AZMEND_OUTPUT", "json").output().unwrap(), user.home.path());
    assert!(done.out.starts_with('{') && done.code == 2, "{}", done.show());
    assert_snapshot!(user.run("--sandbox fix rp-colection-limit --vm web-01").show(), @r#"
    exit 2
    --- stdout
    --- stderr
    error: there is no playbook "rp-colection-limit"
    hint: did you mean rp-collection-limit?
    "#);
    assert_snapshot!(user.run("--sandbox fix rp-collection-limit --vm dup-09 -q").show(), @r#"
    exit 2
    --- stdout
    --- stderr
    sandbox: the embedded Azure, nothing real is touched
    error: "dup-09" names 2 VMs
    hint: give one of these as --vm:
      /subscriptions/5b1c0de0-0000-4000-8000-000000000001/resourceGroups/rg-shop/providers/Microsoft.Compute/virtualMachines/dup-09
      /subscriptions/5b1c0de0-0000-4000-8000-000000000001/resourceGroups/rg-lab/providers/Microsoft.Compute/virtualMachines/dup-09
    "#);
}

#[test]
fn relocking_is_refused_where_it_would_block_the_clean_up() {
    let value = User::new().json("--sandbox fix rp-collection-limit --vm web-01 --relock --set cleanup=service --yes");
    assert_eq!((&value["error"]["code"], &value["exit_code"]), (&"s6.relock-service".into(), &5.into()));
}

#[test]
fn a_saved_plan_is_applied_only_as_it_was_saved_and_where_it_belongs() {
    let user = User::new();
    let made = user.run("--sandbox fix rp-collection-limit --vm web-01 --plan-out p.json");
    assert_eq!(made.code, 0, "{}", made.show());
    let file = user.home.path().join("p.json");
    let plan = std::fs::read_to_string(&file).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    std::fs::write(user.home.path().join("edited.json"), plan.replacen("no-delete", "no-delite", 1)).unwrap();
    assert_eq!(user.json("--sandbox apply edited.json --yes")["error"]["code"], "plan_edited");
    assert_eq!(user.json("apply p.json --yes")["error"]["code"], "s13.world");
    assert!(!user.state().join("runs").exists() || user.run("runs list").out.is_empty());
    let done = user.json("--sandbox apply p.json --yes");
    assert_eq!((&done["status"], &done["sandbox"]), (&"succeeded".into(), &true.into()), "{done}");
    // A second time nothing is as it was any more.
    assert_ne!(user.json("--sandbox apply p.json --yes")["exit_code"], 0);
}

#[test]
fn a_run_that_reached_its_deadline_is_resumed() {
    let user = User::new();
    let paused = user.json("--sandbox fix rp-collection-limit --vm web-01 --yes --relock --deadline 4m");
    assert_eq!((&paused["status"], &paused["exit_code"]), (&"paused".into(), &7.into()));
    assert_eq!(paused["locks_removed"][0]["restored"], true, "the lock is put back before pausing");
    let id = paused["run_id"].as_str().unwrap();
    assert_eq!(paused["next"], format!("azmend --sandbox runs resume {id}"));
    let done = user.json(&format!("--sandbox runs resume {} --yes", &id[..13]));
    assert_eq!(done["status"], "succeeded", "{done}");
    assert_eq!(user.json(&format!("--sandbox runs resume {id} --yes"))["error"]["code"], "not_resumable");
}

#[test]
fn locks_that_are_off_are_told_at_every_start_until_they_are_back() {
    let user = User::new();
    let done = user.json("--sandbox fix unlock-backup-groups --vm web-01 --yes");
    assert_eq!(done["exit_code"], 0, "{done}");
    let id = done["run_id"].as_str().unwrap().to_owned();
    assert!(user.run("--sandbox runs list").err.contains("has removed the lock no-delete"));
    assert!(!user.run("runs list").err.contains("has removed"), "another world's locks are not this one's");
    let back = user.run(&format!("--sandbox runs undo {id} --yes"));
    assert_snapshot!(back.show(), @r"
    exit 0
    --- stdout
    undone after 3 s: unlock-backup-groups on rg-shop/web-01 in the sandbox

      points        21 (limit 18), unchanged

      done    remove the CanNotDelete lock no-delete on AzureBackupRG_westeurope_1: removed (confirmed);
              restored

      lock  no-delete (CanNotDelete) restored

      run   <run>
    --- stderr
    sandbox: the embedded Azure, nothing real is touched
    succeeded after 16 s: unlock-backup-groups on rg-shop/web-01 in the sandbox

      done    remove the CanNotDelete lock no-delete on AzureBackupRG_westeurope_1: removed (confirmed)

      lock  no-delete (CanNotDelete) is off; restore it by hand with:
            az lock create --name no-delete --lock-type CanNotDelete --resource-group AzureBackupRG_westeurope_1 --notes 'Protect backups. Contact: platform@contoso.example' --subscription 5b1c0de0-0000-4000-8000-000000000001

      run   <run>

      relock  no-delete: succeeded: restored (confirmed)
    ");
    assert!(!user.run("--sandbox runs list").err.contains("has removed"));
}

#[test]
fn json_lines_end_with_the_result() {
    let done = User::new().run("--sandbox fix backup-now --vm ok-07 --yes -o jsonl");
    let lines: Vec<Value> = done.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (last, events) = lines.split_last().unwrap();
    assert_eq!((&last["schema"], &last["status"]), (&"azmend.result/v1".into(), &"succeeded".into()));
    assert!(!events.is_empty() && events.iter().all(|event| event["schema"] == "azmend.event/v1"));
}

#[test]
fn a_state_directory_that_cannot_be_used_stops_before_the_question() {
    let user = User::new();
    std::fs::write(user.state(), "a file").unwrap();
    let value = user.json("--sandbox fix backup-now --vm ok-07 --yes");
    assert_eq!((&value["error"]["code"], &value["exit_code"]), (&"state_dir".into(), &2.into()), "{value}");
}

#[test]
fn the_sandbox_begins_anew() {
    let user = User::new();
    assert_eq!(user.run("--sandbox fix unlock-backup-groups --vm web-01 --yes").code, 0);
    assert_eq!(user.run("sandbox reset").code, 0);
    assert!(!user.run("--sandbox runs list").err.contains("has removed"));
    assert_eq!(user.run("--sandbox fix unlock-backup-groups --vm web-01 --yes").code, 0);
}

#[test]
fn an_estate_of_ones_own() {
    let user = User::new();
    assert_eq!(user.run("sandbox init mine.yaml").code, 0);
    assert_eq!(user.run("sandbox init mine.yaml").code, 2, "never over something");
    assert_eq!(user.run("--sandbox=mine.yaml fix rp-collection-limit --vm web-01 -n -q").code, 3);
}

#[test]
fn playbooks_are_shown_and_checked() {
    let user = User::new();
    assert_snapshot!(user.run("playbook list").show(), @r"
    exit 0
    --- stdout
    NAME                             SEVERITY  WHAT IT REPAIRS
    agent-configuration              medium    The Linux agent's configuration stops extensions
    backup-in-progress               low       Another backup is in progress
    backup-now                       info      On-demand backup
    backup-operation-failed          medium    Backup failed with an internal error
    crp-reported-user-error          high      The compute platform reported an error
    datasource-not-present           medium    Protection of the VM was stopped
    delete-stale-collections         low       Stale restore point collections
    extension-operation-failed       high      VMSnapshot extension operation failed
    failed-vm                        high      VM in a failed state without a failed extension
    keyvault-permissions             high      Azure Backup lacks permissions on the key vault
    rp-collection-limit              high      Restore point collection limit reached
    stale-collections-of-deleted-vm  low       Restore point collections of a deleted VM
    unlock-backup-groups             medium    Locks on backup resource groups
    unprotected-vm                   medium    The VM is not protected
    vm-provisioning-failed           high      VM is in a failed provisioning state
    vss-services                     high      Services that a snapshot needs are disabled inside the VM
    --- stderr
    ");
    assert_snapshot!(user.run("playbook show backup-now").show(), @r#"
    exit 0
    --- stdout
    backup-now  info
    On-demand backup

      Starts an on-demand backup and follows its job until the snapshot is taken, or to its end.

    applies  vm.exists && backup.protected
    source   https://learn.microsoft.com/azure/backup/backup-azure-manage-vms

    parameters (--set name=value)
      retain    how long the on-demand recovery point is kept; duration, 1d to 3650d; default 30d
      follow    how far the backup job is followed; to its snapshot, or to its end; snapshot | job;
                default snapshot

    steps
      1 backup: backup.start retain=<retain> until=<follow>
    --- stderr
    "#);
    std::fs::write(user.home.path().join("bad.yaml"), "apiVersion: azmend/v1\nnam: x\n").unwrap();
    let done = user.run("playbook validate bad.yaml");
    assert_eq!(done.code, 2);
    assert!(done.out.contains("bad.yaml:2:1: "), "{}", done.show());
}

/// S2: without a journal nothing is sent, and that is no mistake of who typed the command.
#[cfg(target_os = "linux")]
#[test]
fn a_state_directory_that_cannot_be_written_refuses_and_changes_nothing() {
    let user = User::new();
    // No directory can be made below /proc.
    let value =
        user.command("--sandbox --state-dir /proc/self/none fix backup-now --vm ok-07 --yes -o json").output().unwrap();
    let value: Value = serde_json::from_slice(&value.stdout).unwrap();
    assert_eq!((&value["exit_code"], &value["error"]["code"]), (&5.into(), &"s2.not-written".into()), "{value}");
    let message = value["error"]["message"].as_str().unwrap();
    assert!(message.ends_with("; nothing was changed") && !message.contains("os error"), "{message}");
}

#[test]
fn a_plan_file_counts_by_its_bytes() {
    let user = User::new();
    assert_eq!(user.run("--sandbox fix backup-now --vm ok-07 --plan-out plan.json -q").code, 0);
    let file = user.home.path().join("plan.json");
    let plan = std::fs::read_to_string(&file).unwrap();
    for (name, changed) in [
        ("space", plan.replacen("\": ", "\":  ", 1)),
        ("end", format!("{plan}\n")),
        ("repeated key", plan.replacen("{\n", "{\n  \"format\": \"azmend.plan/v1\",\n", 1)),
    ] {
        assert_ne!(changed, plan, "{name}");
        std::fs::write(&file, changed).unwrap();
        let done = user.run("--sandbox apply plan.json --yes");
        assert!(done.code == 5 && done.err.contains("was changed after it was made"), "{name}: {}", done.show());
    }
    std::fs::write(&file, "{").unwrap();
    let done = user.run("--sandbox apply plan.json --yes");
    assert!(done.code == 2 && done.err.contains("it is not JSON (line 1, column 1)"), "{}", done.show());
    std::fs::write(&file, plan).unwrap();
    assert_eq!(user.run("--sandbox apply plan.json --yes -q").code, 0);
}

#[test]
fn small_words_help() {
    let user = User::new();
    // A letter that only looks Latin.
    let done = user.run("--sandbox fix backup-now --vm w\u{435}b-01 -n");
    assert!(done.err.contains("character 2 is \"\u{435}\" (Cyrillic, U+0435)"), "{}", done.show());
    // `protect` prints `protect`.
    let estate = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/estates/repairs.yaml");
    let done = user.run(&format!("--sandbox={estate} protect --vm free-09 --vault bkp-repairs --policy daily -n"));
    assert!(done.err.contains(" protect --vm free-09 --vault bkp-repairs --policy daily"), "{}", done.show());
    // What `diagnose` prints is known to `explain`, alone too.
    let done = user.run("explain 0x80070422");
    assert_eq!(done.code, 0, "{}", done.show());
    assert!(
        done.out.contains("ExtensionSnapshotFailedCOM") && done.out.contains("ERROR_SERVICE_DISABLED"),
        "{}",
        done.show()
    );
    let done = user.run("explain 0x80070002");
    assert!(done.code == 2 && done.err.contains("net helpmsg 2"), "{}", done.show());
    // A word is no answer, but it leads somewhere.
    let done = user.run("explain backup");
    assert_eq!(done.code, 2);
    assert!(
        done.err.matches("has these words: ").count() == 5 && done.err.contains("known errors have these words"),
        "{}",
        done.show()
    );
    assert!(!user.run("explain qwertzuiop").err.contains("has these words"));
    // Every playbook is named, also the one that is checked by name only.
    let done = user.run("--sandbox doctor --vm web-01");
    for (playbook, why) in [("vss-services", "inside the VM"), ("keyvault-permissions", "grants a permission")] {
        let line = done.out.lines().find(|line| line.contains(playbook)).unwrap_or_default();
        assert!(line.contains("not checked: "), "{}", done.show());
        assert!(done.out.contains(why), "{}", done.show());
    }
    assert!(!user.run("--sandbox doctor --vm web-01 --playbook vss-services").out.contains("not checked: it runs"));
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    use std::process::{Command as Process, Stdio};
    let user = User::new();
    let mut child = Process::new(env!("CARGO_BIN_EXE_azmend"))
        .args(["sandbox", "list"])
        .env_clear()
        .env("AZMEND_STATE_DIR", user.state())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn help_is_data_and_an_empty_variable_is_none() {
    let user = User::new();
    let help = user.run("fix --help");
    assert!(help.code == 0 && help.err.is_empty() && help.out.contains("Examples:"), "{}", help.show());
    let done = user.command("sandbox list").env("AZMEND_OUTPUT", "").env("AZMEND_SANDBOX", "").output().unwrap();
    assert_eq!(done.status.code(), Some(0), "{}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn every_command_that_help_shows_has_a_manual_page() {
    fn pages(command: &clap::Command, name: &str, out: &mut Vec<String>) {
        out.push(format!("{name}.1"));
        for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
            pages(sub, &format!("{name}-{}", sub.get_name()), out);
        }
    }
    let user = User::new();
    let done = user.run("man --dir share/man1");
    assert_eq!((done.code, done.out.as_str()), (0, ""), "{}", done.show());
    let mut expected = Vec::new();
    pages(&azmend::cli::args::Args::command_line(), "azmend", &mut expected);
    let written = std::fs::read_dir(user.home.path().join("share/man1")).unwrap();
    let mut written: Vec<String> = written.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    expected.sort();
    written.sort();
    assert_eq!(written, expected);
    let fix = std::fs::read_to_string(user.home.path().join("share/man1/azmend-fix.1")).unwrap();
    assert!(fix.contains("dry\\-run") && fix.contains(".SH OPTIONS"), "{fix}");
    assert!(!user.state().exists(), "it works without a state directory");
}

#[test]
fn the_version_begins_with_the_packages_version() {
    let done = User::new().run("--version");
    let version = done
        .out
        .strip_prefix(concat!("azmend ", env!("CARGO_PKG_VERSION")))
        .unwrap_or_else(|| panic!("{}", done.show()));
    // An optimised build adds its commit and day; nothing else may stand there.
    let from = version.trim_end().strip_prefix(" (").and_then(|rest| rest.strip_suffix(')'));
    assert!(version == "\n" || from.is_some_and(|from| from.split(' ').count() == 2), "{}", done.show());
}
