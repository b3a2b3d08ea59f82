//! The Python package: the built wheel in a Python of its own, and the runbook for the cloud for real.
//!
//! Ignored unless asked for: `.ci/run python` builds the wheel, installs it into an environment, and names its Python in
//! `AZMEND_PYTHON`. The other tests need nothing but cargo.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::automation::{AZMEND, SUB, Served, estate, text};

const RUNBOOK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/automation/sandbox_runbook.py");
const CHECKS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/crates/python/tests");
/// What the cloud sandbox of Azure Automation gives a job, in KB of address space.
const MEMORY: u32 = 400 * 1024;

/// The Python that has the wheel.
fn python() -> String {
    std::env::var("AZMEND_PYTHON").expect("AZMEND_PYTHON names a Python with the wheel: run .ci/run python")
}

fn have(program: &str) -> bool {
    Command::new(program).arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|it| it.success())
}

/// Runs the runbook as a job does: little memory, a home that is no directory, nothing in the environment but what a job has; under
/// strace where that is installed.
fn job(trace: &Path, words: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = if have("strace") {
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-e", "trace=execve,fork,vfork,clone,clone3", "-o"]).arg(trace).arg("sh");
        strace
    } else {
        eprintln!("child processes: NOT CHECKED, there is no strace");
        Command::new("sh")
    };
    command
        .args(["-c", &format!("ulimit -v {MEMORY} && exec \"$0\" \"$@\""), &python(), RUNBOOK])
        .args(words)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", "/nonexistent/home")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("AUTOMATION_ASSET_ACCOUNTID", "5b1c0de0-0000-4000-8000-00000000a0a0")
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// Only threads were made, and nothing was started but the shell and the Python that it became.
fn no_child(trace: &Path) {
    let Ok(trace) = std::fs::read_to_string(trace) else { return };
    let mut started = 0;
    for line in trace.lines() {
        let call = line.split_once(' ').map_or(line, |(_, call)| call.trim_start());
        if call.starts_with("execve(") && call.ends_with("= 0") {
            started += 1;
        }
        let makes = ["fork(", "vfork(", "clone(", "clone3("].iter().any(|name| call.starts_with(name));
        assert!(!makes || call.contains("CLONE_THREAD"), "a child process: {line}");
    }
    assert_eq!(started, 2, "{trace}");
}

/// The object that the runbook printed among its lines.
fn printed(out: &str) -> Value {
    let start = out.find("\n{\n").map_or(0, |at| at + 1);
    serde_json::Deserializer::from_str(&out[start..]).into_iter::<Value>().next().unwrap().unwrap()
}

#[test]
#[ignore = "needs the wheel: .ci/run python"]
fn the_functions_of_the_package_do_what_they_say() {
    let output = Command::new(python())
        .args(["-m", "unittest", "discover", "-v", "-s", CHECKS])
        .env("AZMEND_BINARY", AZMEND)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[test]
#[ignore = "needs the wheel: .ci/run python"]
fn what_the_functions_return_fits_the_published_schemas() {
    let script = "import azmend, json, tempfile
state = tempfile.mkdtemp()
here = {'sandbox': True, 'state': state}
print(json.dumps([
    ['result', azmend.fix('rp-collection-limit', vm='web-01', dry_run=True, **here)],
    ['result', azmend.fix('rp-collection-limit', vm='web-01', yes=True, **here)],
    ['audit', azmend.audit(**here)],
    ['diagnosis', azmend.diagnose(vm='db-03', **here)],
    ['explain', azmend.explain(400196)],
]))";
    let output = Command::new(python()).args(["-c", script]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let found: Vec<(String, Value)> = serde_json::from_slice(&output.stdout).unwrap();
    for (name, value) in found {
        let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("docs/schema/{name}.schema.json"));
        let schema: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        let errors: Vec<String> =
            jsonschema::validator_for(&schema).unwrap().iter_errors(&value).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{name}: {errors:?}");
    }
}

#[cfg(unix)]
#[test]
#[ignore = "needs the wheel: .ci/run python"]
fn the_runbook_repairs_in_the_limits_of_a_cloud_sandbox_and_refuses_a_journal_that_would_be_lost() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("estate.yaml"), estate()).unwrap();
    let served = Served::start(&dir.path().join("estate.yaml"), &dir.path().join("world"));
    let (state, trace) = (dir.path().join("state"), dir.path().join("trace"));
    let state = format!("--state={}", state.display());
    let environment = served.environment();

    // Without a place, and with one that no one vouches for: refused, and nothing was made.
    for words in [&["rg-app/app-01", SUB][..], &["rg-app/app-01", SUB, &state]] {
        let refused = job(&trace, words, &environment);
        let (out, err) = (text(&refused.stdout), text(&refused.stderr));
        assert_eq!(refused.status.code(), Some(1), "{out}{err}");
        assert!(err.contains("nothing was changed") && err.contains("azblob://ACCOUNT/CONTAINER/PREFIX"), "{err}");
        assert!(err.contains("durable_state=True"), "{err}");
        assert_eq!(printed(&out)["error"]["code"], "s2.not-durable", "{out}");
        assert!(!dir.path().join("state").exists());
        no_child(&trace);
    }

    // As a scheduled job.
    let done = job(&trace, &["rg-app/app-01", SUB, &state, "--durable-state"], &environment);
    let (out, err) = (text(&done.stdout), text(&done.stderr));
    assert!(done.status.success(), "{out}{err}");
    let result = printed(&out);
    assert_eq!((&result["status"], &result["exit_code"]), (&"succeeded".into(), &0.into()), "{out}");
    assert!(result["changes"].as_array().is_some_and(|changes| !changes.is_empty()));
    assert!(out.contains("step 1 of "), "progress on the output stream: {out}");
    let secret = environment.iter().find(|(name, _)| *name == "IDENTITY_HEADER").map(|(_, value)| *value).unwrap();
    assert!(!out.contains(secret) && !err.contains(secret));
    assert!(out.len() < 200_000, "{}", out.len());
    no_child(&trace);

    // As a webhook, with data as Automation passes it; its settings come from the environment here.
    let body = format!("{{\"vm\":\"rg-app/app-01\",\"subscription\":\"{SUB}\"}}");
    let place = dir.path().join("state").display().to_string();
    let with_state = [&environment[..], &[("AZMEND_STATE", place.as_str())]].concat();
    let data = format!("{{WebhookName:azmend,RequestBody:{body},RequestHeader:{{Host:x}}}}");
    let refused = job(&trace, &[&data], &with_state);
    assert_eq!(printed(&text(&refused.stdout))["error"]["code"], "s2.not-durable", "no one vouched for the directory");
    let hostile = data.replace("\"vm\"", "\"override\":\"s8.newest\",\"vm\"");
    let refused = job(&trace, &[&hostile], &with_state);
    assert!(text(&refused.stderr).contains("unknown keys: override"), "{}", text(&refused.stderr));

    // What was repaired is not repaired twice.
    let again = job(&trace, &["rg-app/app-01", SUB, &state, "--durable-state"], &environment);
    assert!(again.status.success(), "{}", text(&again.stderr));
    // Its backup may still be running: then the next job looks again.
    let result = printed(&text(&again.stdout));
    assert!(matches!(result["status"].as_str(), Some("nothing_to_do" | "waiting")), "{result}");
    assert_eq!(result["changes"], serde_json::json!([]));
    assert_eq!(served.end(), Some(0));
}
