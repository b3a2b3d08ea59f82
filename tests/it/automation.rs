//! The runbook of examples/automation: `fix.py` for real, against the sandbox over HTTP and against a false azmend.
//!
//! `fix.ps1` is its twin and cannot be run here (no PowerShell): the tests hold its table and its texts to those of `fix.py`.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

#[cfg(unix)]
use azmend::clock::earlier;
use azmend::clock::{Clock as _, SystemClock, later};
use azmend::engine::Planned;
use azmend::sim::{Estate, Permission, World};
use serde_json::Value;
#[cfg(unix)]
use serde_json::json;

use crate::support::{Ask, Lab, TestLog};

pub(crate) const AZMEND: &str = env!("CARGO_BIN_EXE_azmend");
const RUNBOOK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/automation/fix.py");
pub(crate) const SUB: &str = "5b1c0de0-0000-4000-8000-000000000009";

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs fix.py with nothing in its environment but this (and `PATH`, without which there is no python3).
fn runbook(words: &[&str], environment: &[(&str, &str)]) -> Output {
    Command::new("python3")
        .arg(RUNBOOK)
        .args(words)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .output()
        .expect("python3 is needed for the tests of examples/automation")
}

// ---- for real -------------------------------------------------------------------------------------------------------

/// `azmend sandbox serve`; ends when dropped.
pub(crate) struct Served {
    child: Child,
    environment: Vec<(String, String)>,
}

impl Served {
    pub(crate) fn start(estate: &Path, state: &Path) -> Self {
        let mut child = Command::new(AZMEND)
            .arg(format!("--sandbox={}", estate.display()))
            .args(["sandbox", "serve", "--port", "0", "--speed", "60", "-o", "json", "--state-dir"])
            .arg(state)
            .env_clear()
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(ready["schema"], "azmend.serve/v1");
        let variables = ready["environment"].as_object().unwrap();
        let environment =
            variables.iter().map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect();
        Self { child, environment }
    }

    pub(crate) fn environment(&self) -> Vec<(&str, &str)> {
        self.environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    /// Asks it to end, as a service manager does; its exit code.
    #[cfg(unix)]
    pub(crate) fn end(mut self) -> Option<i32> {
        let killed = Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status().unwrap();
        assert!(killed.success());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// One machine at its limit, without locks; its policy is not due before six hours have passed.
pub(crate) fn estate() -> String {
    let due = later(SystemClock.now(), Duration::from_secs(6 * 3600)).strftime("%H:%M");
    format!(
        "apiVersion: azmend/estate/v1
name: runbook
now: 2026-11-20T09:00:00Z
settings: {{ snapshot: 30s, transfer: 60s }}
subscriptions:
  - name: Fabrikam
    id: {SUB}
    groups:
      - name: rg-app
        vms:
          - name: app-01
            protection:
              vault: vault-01
              policy: daily
              jobs: [{{ age: 10h, status: failed, error: UserErrorRpCollectionLimitReached }}]
        vaults:
          - name: vault-01
            policies: [{{ name: daily, snapshot_days: 2, at: \"{due}\" }}]
      - name: AzureBackupRG_westeurope_1
        collections:
          - of: app-01
            points: {{ count: 18, newest: 34h }}
"
    )
}

#[cfg(unix)]
#[test]
fn fix_py_resumes_a_paused_run_and_then_finds_nothing_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("estate.yaml");
    std::fs::write(&file, estate()).unwrap();
    let served = Served::start(&file, &dir.path().join("server"));
    let state = dir.path().join("state");
    // A deadline that leaves no time for a change: the run pauses before its first one.
    let paused = Command::new(AZMEND)
        .args(["fix", "rp-collection-limit", "--vm", "rg-app/app-01", "-s", SUB, "--yes", "--deadline", "5s"])
        .args(["-o", "json", "--state-dir"])
        .arg(&state)
        .env_clear()
        .envs(served.environment())
        .output()
        .unwrap();
    assert_eq!(paused.status.code(), Some(7), "{}{}", text(&paused.stdout), text(&paused.stderr));
    let run = serde_json::from_slice::<Value>(&paused.stdout).unwrap()["run_id"].as_str().unwrap().to_owned();

    let (azmend, state) = (format!("--azmend={AZMEND}"), format!("--state-dir={}", state.display()));
    let words = ["rg-app/app-01", SUB, "rp-collection-limit", &azmend, &state];
    let job = runbook(&words, &served.environment());
    let (out, err) = (text(&job.stdout), text(&job.stderr));
    assert!(job.status.success(), "{out}{err}");
    assert!(out.contains(&format!("resuming the run {run}")), "{out}");
    assert!(out.contains("\"status\": \"succeeded\"") && out.contains("exit code 0: verified"), "{out}");
    for (name, value) in served.environment() {
        assert!(!name.ends_with("HEADER") || !format!("{out}{err}").contains(value), "the secret was printed");
    }

    // For as long as the transfer of that backup runs, the next jobs are told to come back.
    let mut job = runbook(&words, &served.environment());
    for _ in 0..50 {
        if !text(&job.stdout).contains("\"status\": \"waiting\"") {
            break;
        }
        job = runbook(&words, &served.environment());
    }
    let (out, err) = (text(&job.stdout), text(&job.stderr));
    assert!(job.status.success(), "{out}{err}");
    assert!(!out.contains("resuming") && out.contains("\"nothing_to_do\""), "{out}");
    assert_eq!(served.end(), Some(0));
}

#[test]
fn fix_py_fails_the_job_when_it_cannot_sign_in() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("estate.yaml");
    std::fs::write(&file, estate()).unwrap();
    let served = Served::start(&file, &dir.path().join("server"));
    let mut environment = served.environment();
    for variable in &mut environment {
        if variable.0 == "IDENTITY_HEADER" {
            variable.1 = "wrong-hush";
        }
    }
    let state = dir.path().join("state");
    let (azmend, state) = (format!("--azmend={AZMEND}"), format!("--state-dir={}", state.display()));
    let job = runbook(&["rg-app/app-01", SUB, &azmend, &state], &environment);
    let (out, err) = (text(&job.stdout), text(&job.stderr));
    assert_eq!(job.status.code(), Some(1), "{out}{err}");
    assert!(err.contains("exit code 4: sign-in or permission; nothing changed"), "{err}");
    assert!(!format!("{out}{err}").contains("hush"), "{out}{err}");
}

// ---- with a false azmend --------------------------------------------------------------------------------------------

#[cfg(unix)]
struct Fake {
    dir: tempfile::TempDir,
}

#[cfg(unix)]
impl Fake {
    /// An azmend that lists these runs, and otherwise writes `out` and `err` and ends with `code`.
    fn new(runs: &Value, out: &str, err: &str, code: i32) -> Self {
        use std::os::unix::fs::PermissionsExt as _;

        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write("runs", &json!({ "schema": "azmend.runs/v1", "runs": runs }).to_string());
        write("out", out);
        write("err", err);
        let here = dir.path().display();
        write(
            "azmend",
            &format!(
                "#!/bin/sh\necho \"$@\" >> '{here}/asked'\nif [ \"$1 $2\" = 'runs list' ]; then exec cat '{here}/runs'; fi\n\
                 cat '{here}/err' >&2\ncat '{here}/out'\nexit {code}\n"
            ),
        );
        let program = dir.path().join("azmend");
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        Self { dir }
    }

    fn job(&self, vm: &str) -> (Option<i32>, String, String) {
        let azmend = format!("--azmend={}", self.dir.path().join("azmend").display());
        let job = runbook(&[vm, SUB, &azmend, "--", "--relock"], &[("IDENTITY_HEADER", "hush-hush")]);
        (job.status.code(), text(&job.stdout), text(&job.stderr))
    }

    /// What it was called with, `runs list` left out.
    fn asked(&self) -> Vec<String> {
        let all = std::fs::read_to_string(self.dir.path().join("asked")).unwrap_or_default();
        all.lines().filter(|line| !line.starts_with("runs list")).map(str::to_owned).collect()
    }
}

#[cfg(unix)]
fn result(code: i32) -> String {
    json!({ "schema": "azmend.result/v1", "exit_code": code, "next": "do that" }).to_string()
}

#[cfg(unix)]
#[test]
fn every_exit_code_is_mapped() {
    for (code, fails, warns) in [
        (0, false, false),
        (1, true, false),
        (2, true, false),
        (3, false, true),
        (4, true, false),
        (5, true, false),
        (6, true, false),
        (7, false, true),
        (8, true, false),
        (9, true, false),
        (101, true, false),
    ] {
        let fake = Fake::new(&json!([]), &result(code), "progress", code);
        let (ended, out, err) = fake.job("rg-app/app-01");
        assert_eq!(ended == Some(1), fails, "{code}: {out}{err}");
        assert_eq!(out.contains("WARNING: exit code"), warns, "{code}: {out}{err}");
        assert_eq!(err.contains("AzmendFailed: exit code"), fails, "{code}: {out}{err}");
        assert!(out.contains("azmend.result/v1") && out.contains("progress"), "{code}: {out}");
        let vm =
            format!("/subscriptions/{SUB}/resourceGroups/rg-app/providers/Microsoft.Compute/virtualMachines/app-01");
        let asked = format!(
            "fix rp-collection-limit --vm {vm} --subscription {SUB} --relock --yes -o json --deadline 2h45m --auth managed-identity"
        );
        assert_eq!(fake.asked(), [asked]);
    }
    let (ended, _, err) = Fake::new(&json!([]), "Killed", "", 0).job("rg-app/app-01");
    assert!(ended == Some(1) && err.contains("wrote no result object"), "{err}");
    let (ended, _, err) = Fake::new(&json!([]), "", "", 0).job("app-01");
    assert!(ended == Some(1) && err.contains("neither group/name nor a resource id"), "{err}");
}

#[cfg(unix)]
#[test]
fn the_last_open_run_of_this_machine_is_resumed_once() {
    let now = SystemClock.now();
    let run = |id: &str, vm: &str, state: &str, age_hours: u64, locks_off: u32, sandbox: bool| {
        json!({
            "run_id": id,
            "started": earlier(now, Duration::from_secs(age_hours * 3600)),
            "vm": format!("/subscriptions/{SUB}/resourcegroups/RG-APP/providers/microsoft.compute/virtualMachines/{vm}"),
            "state": state,
            "locks_off": locks_off,
            "sandbox": sandbox,
        })
    };
    let job = |runs: Value| {
        let fake = Fake::new(&runs, &result(0), "", 0);
        let (ended, out, err) = fake.job("rg-app/app-01");
        (ended, format!("{out}{err}"), fake.asked())
    };
    let (ended, text, asked) = job(json!([
        run("other", "app-02", "paused", 1, 1, false),
        run("rehearsal", "app-01", "paused", 1, 1, true),
        run("done", "app-01", "succeeded", 1, 0, false),
        run("newest", "app-01", "paused", 2, 1, false),
        run("older", "app-01", "running", 3, 0, false),
    ]));
    assert_eq!(ended, Some(0), "{text}");
    assert_eq!(asked, ["runs resume newest --yes -o json --deadline 2h45m --auth managed-identity"]);
    let (_, _, asked) = job(json!([run("killed", "app-01", "running", 23, 0, false)]));
    assert!(asked[0].starts_with("runs resume killed "), "{asked:?}");
    let (ended, text, asked) = job(json!([run("old", "app-01", "paused", 25, 0, false)]));
    assert!(ended == Some(0) && text.contains("WARNING: the run old was never finished"), "{text}");
    assert!(asked[0].starts_with("fix "), "{asked:?}");
    for state in ["paused", "stuck", "damaged"] {
        let (ended, text, asked) = job(json!([run("open", "app-01", state, 25, 1, false)]));
        assert!(ended == Some(1) && text.contains("azmend runs undo open"), "{text}");
        assert_eq!(asked, Vec::<String>::new());
    }
}

#[cfg(unix)]
#[test]
fn output_stays_under_the_limits_and_holds_no_secret() {
    let noise = "ein Satz mit Umlauten: äöü hush-hush\n".repeat(60_000);
    let out = json!({ "schema": "azmend.result/v1", "changes": noise }).to_string();
    let (ended, out, err) = Fake::new(&json!([]), &out, &noise, 8).job("rg-app/app-01");
    assert_eq!(ended, Some(1));
    assert!(out.len() < 200_000 && err.len() < 10_000, "{} {}", out.len(), err.len());
    assert_eq!(out.matches("bytes omitted").count(), 2);
    assert!(!out.contains("hush-hush") && out.contains("(redacted)"));
}

#[cfg(unix)]
#[test]
fn a_job_that_only_looks_is_not_confirmed_and_resumes_nothing() {
    let now = SystemClock.now();
    let open = json!([{
        "run_id": "open",
        "started": earlier(now, Duration::from_secs(3600)),
        "vm": format!("/subscriptions/{SUB}/resourceGroups/rg-app/providers/Microsoft.Compute/virtualMachines/app-01"),
        "state": "paused",
        "locks_off": 1,
        "sandbox": false,
    }]);
    for word in ["--dry-run", "-n", "--plan-out=p.json"] {
        let fake = Fake::new(&open, &result(3), "", 3);
        let azmend = format!("--azmend={}", fake.dir.path().join("azmend").display());
        let job = runbook(&["rg-app/app-01", SUB, &azmend, "--", word], &[]);
        assert!(job.status.success(), "{}", text(&job.stderr));
        let asked = fake.asked();
        let [asked] = asked.as_slice() else { panic!("{asked:?}") };
        assert!(asked.starts_with("fix ") && asked.contains(word) && !asked.contains("--yes"), "{asked}");
    }
    // The real one has nothing against it.
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("estate.yaml");
    std::fs::write(&file, estate()).unwrap();
    let served = Served::start(&file, &dir.path().join("server"));
    let (azmend, state) = (format!("--azmend={AZMEND}"), format!("--state-dir={}", dir.path().join("state").display()));
    let job = runbook(&["rg-app/app-01", SUB, &azmend, &state, "--", "--dry-run"], &served.environment());
    let (out, err) = (text(&job.stdout), text(&job.stderr));
    assert!(
        job.status.success() && out.contains("WARNING: exit code 3") && out.contains("\"sandbox\": true"),
        "{out}{err}"
    );
}

/// What a Logic App hands to a job: the body of the alert, in Base64.
fn alert(name: &str) -> String {
    use base64::Engine as _;
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/alerts").join(name);
    let body = std::fs::read_to_string(file).unwrap().replace("11111111-1111-1111-1111-111111111111", SUB);
    format!("--alert-base64={}", base64::engine::general_purpose::STANDARD.encode(body))
}

#[cfg(unix)]
#[test]
fn fix_py_repairs_the_vm_of_an_alert_and_resumes_it_first() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("estate.yaml");
    std::fs::write(&file, estate()).unwrap();
    let served = Served::start(&file, &dir.path().join("server"));
    let state = dir.path().join("state");
    let (azmend, place) = (format!("--azmend={AZMEND}"), format!("--state-dir={}", state.display()));
    let job = |name: &str, more: &[&str]| {
        let alert = alert(name);
        let words = [&[alert.as_str(), SUB, &azmend, &place], more].concat();
        let job = runbook(&words, &served.environment());
        (job.status.code(), text(&job.stdout) + &text(&job.stderr))
    };
    let (code, said) = job("backup-resolved.json", &[]);
    assert!(code == Some(0) && said.contains("nothing_to_do"), "{said}");
    let (code, said) = job("backup-of-a-database.json", &[]);
    assert!(code == Some(1) && said.contains("exit code 2") && said.contains("SQLDataBase"), "{said}");
    let (code, said) = job("backup-failure.json", &["--", "--dry-run"]);
    assert!(code == Some(0) && said.contains("WARNING: exit code 3") && said.contains("rp-collection-limit"), "{said}");
    // An unfinished run of that VM comes before anything new.
    let paused = Command::new(AZMEND)
        .args([
            "fix",
            "auto",
            "--vm",
            "rg-app/app-01",
            "-s",
            SUB,
            "--yes",
            "--deadline",
            "5s",
            "-o",
            "json",
            "--state-dir",
        ])
        .arg(&state)
        .env_clear()
        .envs(served.environment())
        .output()
        .unwrap();
    assert_eq!(paused.status.code(), Some(7), "{}", text(&paused.stderr));
    let (code, said) = job("backup-failure.json", &[]);
    assert!(code == Some(0) && said.contains("resuming the run") && said.contains("exit code 0: verified"), "{said}");
    let broken = runbook(&["--alert-base64=%%%", SUB, &azmend, &place], &served.environment());
    assert!(text(&broken.stderr).contains("is not Base64"), "{}", text(&broken.stderr));
}

#[cfg(unix)]
#[test]
fn fleet_py_audits_and_repairs_a_scope() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("estate.yaml");
    std::fs::write(&file, estate()).unwrap();
    let served = Served::start(&file, &dir.path().join("server"));
    let state = format!("--state-dir={}", dir.path().join("state").display());
    let fleet = |words: &[&str], azmend: &str| {
        let job = Command::new("python3")
            .arg(RUNBOOK.replace("fix.py", "fleet.py"))
            .args([words, &[azmend, &state]].concat())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .envs(served.environment())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        (job.status.code(), text(&job.stdout) + &text(&job.stderr))
    };
    // The wait of --jitter is the machine's there: a false azmend takes it out and hands on the rest.
    let quick = dir.path().join("azmend");
    let script = format!(
        "#!/bin/sh\nfor word; do shift; case \"$word\" in --jitter|5m) ;; *) set -- \"$@\" \"$word\";; esac; done\nexec '{AZMEND}' \"$@\"\n"
    );
    std::fs::write(&quick, script).unwrap();
    std::fs::set_permissions(&quick, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let quick = format!("--azmend={}", quick.display());
    let (code, said) = fleet(&["audit", SUB], &quick);
    assert!(code == Some(0) && said.contains("WARNING: exit code 3") && said.contains("rp-collection-limit"), "{said}");
    let (code, said) = fleet(&["fix", SUB], &quick);
    assert!(code == Some(0) && said.contains("azmend.fleet/v1") && said.contains("exit code 0"), "{said}");
    let (code, said) = fleet(&["fix", "everything"], &quick);
    assert!(code == Some(1) && said.contains("is not the id of a subscription"), "{said}");

    let fake = Fake::new(&json!([]), &result(8), "", 8);
    let azmend = format!("--azmend={}", fake.dir.path().join("azmend").display());
    let (code, said) = fleet(&["fix", SUB], &azmend);
    assert!(code == Some(1) && said.contains("AzmendFailed: exit code 8"), "{said}");
    fleet(&["audit", SUB], &azmend);
    let asked = fake.asked().join("\n");
    for part in ["fix auto --all --yes --deadline 2h45m", "audit --fail-on high", "--jitter 5m --auth managed-identity"]
    {
        assert!(asked.contains(part), "{part}: {asked}");
    }
}

#[test]
fn the_logic_app_hands_the_alert_to_the_powershell_runbook() {
    let template: Value = serde_json::from_str(include_str!("../../examples/alerts/logic-app.json")).unwrap();
    let definition = &template["resources"][0]["properties"]["definition"];
    let start = &definition["actions"]["fired"]["actions"]["start_the_runbook"]["inputs"];
    assert_eq!(start["authentication"]["type"], "ManagedServiceIdentity");
    let parameters = start["body"]["properties"]["parameters"].as_object().unwrap();
    let runbook = include_str!("../../examples/automation/fix.ps1");
    for name in parameters.keys() {
        assert!(runbook.contains(&format!("] ${name}")), "fix.ps1 has no parameter {name}");
    }
    // Every parameter of the workflow is given, and every one that is used exists.
    let text = definition.to_string();
    let given = template["resources"][0]["properties"]["parameters"].as_object().unwrap();
    for name in given.keys() {
        assert!(
            definition["parameters"][name].is_object() && text.contains(&format!("parameters('{name}')")),
            "{name}"
        );
    }
    let webhook = include_str!("../../examples/alerts/webhook.ps1");
    for name in ["Subscription", "StateDir"] {
        assert!(webhook.contains(name) && runbook.contains(&format!("] ${name}")), "{name}");
    }
    let bicep = include_str!("../../examples/alerts/alerts.bicep");
    assert!(bicep.contains("useCommonAlertSchema: true") && bicep.contains("@secure()\nparam webhookUri string"));
}

#[test]
fn the_powershell_twin_says_the_same() {
    let twin = include_str!("../../examples/automation/fix.ps1").replace('"', "'");
    let python = include_str!("../../examples/automation/fix.py");
    assert!(twin.contains("$PSNativeCommandUseErrorActionPreference = $false"));
    let mut found = 0;
    for line in python.lines().filter_map(|line| line.strip_prefix("    ")) {
        let Some((code, rest)) = line.split_once(": (") else { continue };
        let Some((kind, meaning)) = rest.trim_end_matches("),").split_once(", ") else { continue };
        if code.parse::<u8>().is_ok() {
            let row = format!("{code} = @('{}', '{}')", kind.to_lowercase(), meaning.trim_matches('"'));
            assert!(twin.contains(&row), "{row}");
            found += 1;
        }
    }
    assert_eq!(found, 10);
    for (python_line, twin_line) in [
        ("RESULT_LIMIT = 120_000", "$ResultLimit = 120000"),
        ("STDERR_LIMIT = 60_000", "$StderrLimit = 60000"),
        ("DEADLINE = \"2h45m\"", "$Deadline = '2h45m'"),
        ("RESUME_HOURS = 24", "$ResumeHours = 24"),
        ("[\"--auth\", \"managed-identity\"]", "@('--auth', 'managed-identity')"),
        ("(\"paused\", \"running\", \"undoing\")", "'paused', 'running', 'undoing'"),
        ("(\"-n\", \"--dry-run\")", "'-n', '--dry-run'"),
        ("\"--plan-out\"", "'--plan-out'"),
        ("[\"--from-alert\", \"-\"]", "@('--from-alert', '-')"),
        ("startswith(\"http://\")", "StartsWith('http://')"),
        ("try again in {result['retry_after']} seconds", "try again in $($result['retry_after']) seconds"),
    ] {
        assert!(python.contains(python_line) && twin.contains(twin_line), "{python_line} / {twin_line}");
    }
}

#[test]
fn the_roles_hold_what_azmend_needs() {
    let role = |text: &str| -> Vec<String> {
        let role: Value = serde_json::from_str(text).unwrap();
        let actions = role["Actions"].as_array().unwrap();
        actions.iter().map(|action| action.as_str().unwrap().to_owned()).collect()
    };
    let remediate = role(include_str!("../../examples/role-remediate.json"));
    let audit = role(include_str!("../../examples/role-audit.json"));
    for action in &audit {
        assert!(action.ends_with("/read") || action.ends_with("backupStatus/action"), "{action} is no read");
        assert!(remediate.contains(action), "{action}");
    }
    for action in [
        "*/read",
        "Microsoft.RecoveryServices/Vaults/backupResourceGuardProxies/read",
        "Microsoft.RecoveryServices/locations/backupStatus/action",
        "Microsoft.Authorization/locks/write",
        "Microsoft.Authorization/locks/delete",
    ] {
        assert!(remediate.contains(&action.to_owned()), "{action}");
    }
    assert!(!remediate.iter().any(|action| action == "*" || action.contains("roleAssignments")));
}

/// The built-in estate for a caller with exactly this role; what comes of repairing web-01.
async fn with_role(text: &str, without: &[&str]) -> Result<u8, String> {
    let role: Value = serde_json::from_str(text).unwrap();
    let actions = role["Actions"].as_array().unwrap().iter().map(|action| action.as_str().unwrap().to_owned());
    let mut world = World::from_estate(&Estate::built_in());
    world.permissions = vec![Permission {
        scope: "/".into(),
        actions: actions.filter(|action| !without.contains(&action.as_str())).collect(),
        not_actions: Vec::new(),
    }];
    let lab = Lab::on(world);
    match lab.plan("rp-collection-limit", "web-01", &Ask { relock: true, ..Ask::default() }).await {
        Planned::Plan(plan) => {
            let result = lab.run(&plan, &Arc::new(TestLog::default())).start().await;
            if result.exit_code == 0 { Ok(0) } else { Err(format!("{:?}", result.error)) }
        }
        other => Err(format!("{other:?}")),
    }
}

#[tokio::test]
async fn the_role_is_enough_and_reading_everything_is_needed() {
    let remediate = include_str!("../../examples/role-remediate.json");
    assert_eq!(with_role(remediate, &[]).await, Ok(0));
    let why = with_role(remediate, &["*/read"]).await.unwrap_err();
    assert!(why.contains("s5.unread"), "the content of the backup group is not proven: {why}");
    let why = with_role(include_str!("../../examples/role-audit.json"), &[]).await.unwrap_err();
    assert!(why.contains("permission") || why.contains("s6."), "{why}");
}
