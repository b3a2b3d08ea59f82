//! The program started by what happened: alerts, the guard against loops, the random wait; and a sandbox that is served says so.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use azmend::clock::{Clock as _, SystemClock, elapsed};
use jiff::Timestamp;
use serde_json::Value;

const AZMEND: &str = env!("CARGO_BIN_EXE_azmend");
/// web-01 of the built-in estate, and its vault.
const SUB: &str = "5b1c0de0-0000-4000-8000-000000000001";

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// azmend on the embedded Azure, with this on its stdin.
fn azmend(dir: &Path, words: &[&str], stdin: &str) -> Output {
    let mut child = Command::new(AZMEND)
        .arg("--sandbox")
        .args(words)
        .env_clear()
        .env("AZMEND_STATE_DIR", dir.join("state"))
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Who does not read it may have ended already.
    drop(child.stdin.take().unwrap().write_all(stdin.as_bytes()));
    child.wait_with_output().unwrap()
}

fn line(dir: &Path, line: &str) -> Output {
    azmend(dir, &line.split_whitespace().collect::<Vec<_>>(), "")
}

fn result(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(output)))
}

fn vm(name: &str) -> String {
    format!("/subscriptions/{SUB}/resourceGroups/rg-shop/providers/Microsoft.Compute/virtualMachines/{name}")
}

/// A published sample, about this VM of the built-in estate.
fn sample(name: &str, vm_name: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/alerts").join(name);
    let text = std::fs::read_to_string(file).unwrap();
    text.replace("11111111-1111-1111-1111-111111111111", SUB).replace("rg-app", "rg-shop").replace("app-01", vm_name)
}

/// How many runs there are.
fn runs(dir: &Path) -> usize {
    std::fs::read_dir(dir.join("state/runs")).map_or(0, Iterator::count)
}

const STDIN: [&str; 6] = ["fix", "auto", "--from-alert", "-", "-o", "json"];

fn with<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&STDIN[..], more].concat()
}

#[test]
fn an_alert_leads_to_the_plan_of_its_vm_and_stays_in_the_journal() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["backup-failure.json", "backup-health-event.json", "cloud-event-health.json"] {
        let output = azmend(dir.path(), &with(&["--dry-run"]), &sample(name, "web-01"));
        let found = result(&output);
        assert_eq!((output.status.code(), &found["vm"]), (Some(3), &Value::String(vm("web-01"))), "{}", text(&output));
        assert_eq!(found["playbook"], "rp-collection-limit", "{found}");
        let next = found["next"].as_str().unwrap();
        assert!(next.contains(&format!("--vm {}", vm("web-01"))), "{next}");
    }
    let file = dir.path().join("alert.json");
    std::fs::write(&file, sample("webhook-data.json", "web-01")).unwrap();
    let line = ["fix", "auto", "--from-alert", file.to_str().unwrap(), "--yes", "--relock", "-o", "json"];
    let output = azmend(dir.path(), &line, "");
    let done = result(&output);
    assert_eq!((output.status.code(), &done["vm"]), (Some(0), &Value::String(vm("web-01"))), "{}", text(&output));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("alert: Backup Failure of 2026-11-20T07:00:00Z"), "{said}");
    let run = done["run_id"].as_str().unwrap();
    let plan = std::fs::read_to_string(dir.path().join("state/runs").join(run).join("plan.json")).unwrap();
    assert!(plan.contains("alert: Backup Failure"), "{plan}");
}

#[test]
fn a_job_leads_to_its_vm_by_id_and_by_guid() {
    let dir = tempfile::tempdir().unwrap();
    let jobs = result(&line(dir.path(), "jobs --failed -o json"));
    let job = jobs["jobs"]
        .as_array()
        .unwrap()
        .iter()
        .find(|job| job["vm"] == "rg-shop/web-01")
        .unwrap_or_else(|| panic!("{jobs}"));
    let (id, guid) = (job["id"].as_str().unwrap(), job["job"].as_str().unwrap());
    let body = format!("{{\"id\": \"{id}\", \"properties\": {{}}}}");
    for (given, stdin) in [("-", id), ("-", guid), ("-", body.as_str()), (id, ""), (guid, "")] {
        let output = azmend(dir.path(), &["fix", "auto", "--from-alert", given, "--dry-run", "-o", "json"], stdin);
        let found = result(&output);
        assert_eq!(
            (output.status.code(), &found["vm"]),
            (Some(3), &Value::String(vm("web-01"))),
            "{given}: {}",
            text(&output)
        );
        assert!(text(&output).contains("UserErrorRpCollectionLimitReached"), "{}", text(&output));
    }
    let unknown = azmend(dir.path(), &with(&["--dry-run"]), &id.replace(guid, "1f2e3d4c-0000-4000-8000-000000000001"));
    assert_eq!(unknown.status.code(), Some(2), "{}", text(&unknown));
    assert!(text(&unknown).contains("the backup job 1f2e3d4c-0000-4000-8000-000000000001"), "{}", text(&unknown));
}

#[test]
fn a_backup_item_leads_to_its_vm() {
    let dir = tempfile::tempdir().unwrap();
    let jobs = result(&line(dir.path(), "jobs --failed -o json"));
    let job = jobs["jobs"]
        .as_array()
        .unwrap()
        .iter()
        .find(|job| job["vm"] == "rg-shop/web-01")
        .unwrap_or_else(|| panic!("{jobs}"));
    let (vault, _) = job["id"].as_str().unwrap().split_once("/backupJobs/").unwrap();
    let old =
        format!("/subscriptions/{SUB}/resourceGroups/rg-vault/providers/Microsoft.RecoveryServices/vaults/vault-01");
    let event = sample("event-grid-action-failure.json", "web-01").replace(&old, vault);
    let output = azmend(dir.path(), &with(&["--dry-run"]), &event);
    let found = result(&output);
    assert_eq!((output.status.code(), &found["vm"]), (Some(3), &Value::String(vm("web-01"))), "{}", text(&output));
}

#[test]
fn a_resolved_alert_changes_and_asks_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let output = azmend(dir.path(), &with(&["--yes"]), &sample("backup-resolved.json", "web-01"));
    let found = result(&output);
    assert_eq!((output.status.code(), &found["status"]), (Some(0), &Value::from("nothing_to_do")), "{}", text(&output));
    assert!(found["warnings"][0].as_str().unwrap().contains("resolved"), "{found}");
    assert_eq!(runs(dir.path()), 0, "no run was made");
}

#[test]
fn several_vms_are_all_named_and_none_is_changed() {
    let dir = tempfile::tempdir().unwrap();
    let two = format!("[{},{}]", sample("backup-failure.json", "web-01"), sample("backup-failure.json", "ok-07"));
    let output = azmend(dir.path(), &with(&["--yes"]), &two);
    let found = result(&output);
    assert_eq!(
        (output.status.code(), &found["error"]["code"]),
        (Some(2), &Value::from("several_vms")),
        "{}",
        text(&output)
    );
    for name in ["web-01", "ok-07"] {
        let command = format!("azmend --sandbox fix auto --vm {}", vm(name));
        assert!(found["error"]["hint"].as_str().unwrap().contains(&command), "{found}");
    }
    // What cannot be found does not hide what can.
    let two = two.replace("ok-07", "no-such");
    let output = azmend(dir.path(), &with(&["--yes"]), &two);
    let shown = text(&output);
    assert!(output.status.code() == Some(2) && shown.contains("no-such") && shown.contains(&vm("web-01")), "{shown}");
}

#[test]
fn what_is_no_alert_about_a_vm_is_wrong_input() {
    let dir = tempfile::tempdir().unwrap();
    let large = " ".repeat(1024 * 1024 + 1);
    let cases = [
        (sample("backup-of-a-database.json", "web-01"), "alert_other", "SQLDataBase;MSSQLSERVER;orders"),
        (sample("event-grid-validation.json", "web-01"), "alert_other", "validation"),
        (sample("non-common.json", "web-01"), "alert", "switch the common alert schema on"),
        (sample("backup-failure.json", "web-01").replace("\"Fired\"", "{}"), "alert", "monitorCondition is an object"),
        (format!("{}1{}", "[".repeat(9000), "]".repeat(9000)), "alert", "nested too deeply"),
        (large, "alert", "larger than 1 MB"),
        (String::new(), "alert", "it is empty"),
    ];
    for (body, code, expected) in &cases {
        let output = azmend(dir.path(), &with(&["--yes"]), body);
        let found = result(&output);
        assert_eq!(
            (output.status.code(), &found["error"]["code"]),
            (Some(2), &Value::from(*code)),
            "{}",
            text(&output)
        );
        assert!(found["error"]["message"].as_str().unwrap().contains(expected), "{found}");
    }
    let missing = line(dir.path(), "fix auto --from-alert no-such.json --yes -o json");
    assert!(
        missing.status.code() == Some(2) && text(&missing).contains("no-such.json cannot be read"),
        "{}",
        text(&missing)
    );
    // An alert does not reach beyond the subscriptions that were given.
    let other = "5b1c0de0-0000-4000-8000-000000000002";
    let output = azmend(dir.path(), &with(&["--yes", "-s", other]), &sample("backup-failure.json", "web-01"));
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert_eq!(runs(dir.path()), 0, "no run was made");
}

// ---- no loops -------------------------------------------------------------------------------------------------------

const UNLOCK: &str = "fix unlock-backup-groups --vm rg-shop/web-01 --relock -o json";

#[test]
fn the_fourth_repair_of_a_vm_in_a_week_needs_a_person() {
    let dir = tempfile::tempdir().unwrap();
    let saved = line(dir.path(), &format!("{UNLOCK} --plan-out p.json"));
    assert_eq!(saved.status.code(), Some(0), "{}", text(&saved));
    let mut runs = Vec::new();
    for _ in 0..3 {
        let output = line(dir.path(), &format!("{UNLOCK} --yes"));
        let done = result(&output);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
        runs.push(done["run_id"].as_str().unwrap().to_owned());
    }
    // A dry run says it too, and so does a plan that was saved before.
    for asked in [format!("{UNLOCK} --yes"), format!("{UNLOCK} --dry-run"), "apply p.json --yes -o json".to_owned()] {
        let output = line(dir.path(), &asked);
        let refused = result(&output);
        assert_eq!(
            (output.status.code(), &refused["error"]["code"]),
            (Some(5), &Value::from("loop.guard")),
            "{}",
            text(&output)
        );
        let why = refused["error"]["message"].as_str().unwrap();
        assert!(why.contains("3 times in the last 7d") && runs.iter().all(|run| why.contains(run)), "{asked}: {why}");
        let hint = refused["error"]["hint"].as_str().unwrap();
        assert!(hint.contains("azmend --sandbox diagnose --vm") && hint.contains("--loop-guard 4/7d"), "{hint}");
    }
    let fleet = result(&line(dir.path(), "fix unlock-backup-groups --all --resource-group rg-shop --dry-run -o json"));
    let web = fleet["not_planned"].as_array().unwrap().iter().find(|one| one["vm"] == vm("web-01"));
    assert_eq!(web.unwrap_or_else(|| panic!("{fleet}"))["code"], "loop.guard");
    // Only what is asked for: another limit, another VM, and tasks that a person orders.
    for asked in [
        format!("{UNLOCK} --dry-run --loop-guard 4/7d"),
        format!("{UNLOCK} --dry-run --loop-guard off"),
        format!("{UNLOCK} --dry-run --loop-guard 1/1s"),
    ] {
        let output = line(dir.path(), &asked);
        assert_eq!(output.status.code(), Some(3), "{asked}: {}", text(&output));
    }
    let backup = line(dir.path(), "backup --vm rg-shop/ok-07 --dry-run -o json");
    assert_eq!(backup.status.code(), Some(3), "{}", text(&backup));
}

#[test]
fn what_sent_nothing_is_no_repair_and_backups_of_a_day_are_counted_over_runs() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..3 {
        // A deadline that leaves no time for a change: each run pauses before its first one.
        let output = line(dir.path(), &format!("{UNLOCK} --yes --deadline 5s"));
        assert_eq!(output.status.code(), Some(7), "{}", text(&output));
    }
    let output = line(dir.path(), &format!("{UNLOCK} --dry-run"));
    assert_eq!(output.status.code(), Some(3), "{}", text(&output));
    // Tasks are not counted by the guard; S10 limits them by Azure's jobs and by those of earlier runs.
    let mut codes = Vec::new();
    for _ in 0..6 {
        let output = line(dir.path(), "backup --vm rg-shop/ok-07 --follow job --yes -o json");
        let done = result(&output);
        codes.push((output.status.code().unwrap(), done["error"]["code"].as_str().unwrap_or_default().to_owned()));
    }
    let started = codes.iter().filter(|(code, _)| *code == 0).count();
    assert!((1..=4).contains(&started), "{codes:?}");
    assert_eq!(codes.last().unwrap(), &(5, "s10.daily-limit".to_owned()), "{codes:?}");
}

#[test]
fn jitter_waits_in_the_worlds_time_before_anything_is_asked() {
    let dir = tempfile::tempdir().unwrap();
    let began = SystemClock.now();
    let mut waits = Vec::new();
    for _ in 0..4 {
        let output = line(dir.path(), "fix auto --vm rg-shop/web-01 --dry-run --jitter 2h -o json");
        let found = result(&output);
        assert_eq!(output.status.code(), Some(3), "{}", text(&output));
        assert!(text(&output).contains("before the first request (--jitter 2h)"), "{}", text(&output));
        let at = |key: &str| found[key].as_str().unwrap().parse::<Timestamp>().unwrap();
        waits.push(elapsed(at("started"), at("ended")));
    }
    assert!(waits.iter().all(|wait| *wait <= Duration::from_secs(2 * 3600 + 600)), "{waits:?}");
    waits.sort();
    waits.dedup();
    assert!(waits.len() > 1, "always the same: {waits:?}");
    assert!(elapsed(began, SystemClock.now()) < Duration::from_secs(120), "it took real time");
    let audit = line(dir.path(), "audit --jitter 10m -o json");
    assert!(text(&audit).contains("(--jitter 10m)"), "{}", text(&audit));
    let wrong = line(dir.path(), "fix auto --vm rg-shop/web-01 --dry-run --jitter 2h --deadline 1h");
    assert!(wrong.status.code() == Some(2) && text(&wrong).contains("not shorter than --deadline"), "{}", text(&wrong));
}

// ---- a served sandbox -----------------------------------------------------------------------------------------------

#[cfg(unix)]
mod served {
    use std::io::{BufRead as _, BufReader};
    use std::process::Child;

    use super::*;

    struct Server {
        child: Child,
        environment: Vec<(String, String)>,
    }

    impl Server {
        fn start(dir: &Path) -> Self {
            let mut child = Command::new(AZMEND)
                .args(["sandbox", "serve", "--speed", "600", "-o", "json"])
                .env_clear()
                .env("AZMEND_STATE_DIR", dir.join("served"))
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let mut line = String::new();
            BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
            let ready: Value = serde_json::from_str(&line).unwrap();
            let pairs = ready["environment"].as_object().unwrap().iter();
            let environment = pairs.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect();
            Self { child, environment }
        }

        fn port(&self) -> String {
            let endpoint = &self.environment.iter().find(|(name, _)| name == "AZMEND_ARM_ENDPOINT").unwrap().1;
            endpoint.rsplit(':').next().unwrap().to_owned()
        }

        fn azmend(&self, dir: &Path, words: &str) -> Output {
            Command::new(AZMEND)
                .args(words.split_whitespace())
                .env_clear()
                .env("AZMEND_STATE_DIR", dir.join("client"))
                .envs(self.environment.iter().map(|(name, value)| (name, value)))
                .stdin(Stdio::null())
                .output()
                .unwrap()
        }
    }

    impl Drop for Server {
        fn drop(&mut self) {
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }

    #[test]
    fn plans_results_and_journals_of_a_served_sandbox_say_so() {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start(dir.path());
        let run = |words: &str| server.azmend(dir.path(), words);
        let plan = run(&format!(
            "fix unlock-backup-groups --vm rg-shop/web-01 --plan-out {} -o json",
            dir.path().join("p").display()
        ));
        assert_eq!((plan.status.code(), &result(&plan)["sandbox"]), (Some(0), &Value::Bool(true)), "{}", text(&plan));
        assert!(text(&plan).contains("served sandbox, nothing real is touched"), "{}", text(&plan));
        let saved: Value = serde_json::from_str(&std::fs::read_to_string(dir.path().join("p")).unwrap()).unwrap();
        assert_eq!(saved["world"]["sandbox"], true, "{}", saved["world"]);
        assert!(!saved["world"]["estate_digest"].as_str().unwrap().is_empty());
        let applied = run(&format!("apply {} --yes --deadline 5s -o json", dir.path().join("p").display()));
        assert_eq!(
            (applied.status.code(), &result(&applied)["sandbox"]),
            (Some(7), &Value::Bool(true)),
            "{}",
            text(&applied)
        );
        let id = result(&applied)["run_id"].as_str().unwrap().to_owned();
        let listed = result(&run("runs list -o json"));
        assert_eq!(
            (&listed["runs"][0]["run_id"], &listed["runs"][0]["sandbox"]),
            (&Value::from(id.as_str()), &Value::Bool(true))
        );
        let resumed = run(&format!("runs resume {id} --yes -o json"));
        assert_eq!(
            (resumed.status.code(), &result(&resumed)["sandbox"]),
            (Some(0), &Value::Bool(true)),
            "{}",
            text(&resumed)
        );
        for words in ["vms -o json", "audit -o json", "doctor --read-only -o json", "fix auto --all --dry-run -o json"]
        {
            assert_eq!(result(&run(words))["sandbox"], true, "{words}");
        }
        // An error after the first answer knows it too.
        let missing = run("fix auto --vm rg-shop/no-such --dry-run -o json");
        assert_eq!(
            (missing.status.code(), &result(&missing)["sandbox"]),
            (Some(2), &Value::Bool(true)),
            "{}",
            text(&missing)
        );
        // Removed locks of its runs are reported at the next start.
        let open = run("fix unlock-backup-groups --vm rg-shop/web-01 --yes -o json");
        assert!(open.status.code() == Some(0) || open.status.code() == Some(3), "{}", text(&open));
        assert!(text(&run("runs list")).contains("has removed the lock"), "{}", text(&run("runs list")));
    }

    #[test]
    fn a_port_that_is_taken_is_an_error_that_names_who_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start(dir.path());
        let serve = |state: &str| {
            let mut command = Command::new(AZMEND);
            command.args(["sandbox", "serve", "--port", &server.port(), "-o", "json"]).env_clear();
            command.env("AZMEND_STATE_DIR", dir.path().join(state)).stdin(Stdio::null()).output().unwrap()
        };
        // The same world, and another one: the port comes first.
        for state in ["served", "another"] {
            let output = serve(state);
            let found = result(&output);
            assert_eq!(
                (output.status.code(), &found["error"]["code"]),
                (Some(2), &Value::from("port_taken")),
                "{}",
                text(&output)
            );
            let message = found["error"]["message"].as_str().unwrap();
            assert!(message.contains(&format!("the port {} is taken by", server.port())), "{message}");
            if cfg!(target_os = "linux") {
                assert!(message.contains(&format!("azmend (pid {})", server.child.id())), "{message}");
            }
            assert!(found["error"]["hint"].as_str().unwrap().contains("--port 0"), "{found}");
        }
    }
}
