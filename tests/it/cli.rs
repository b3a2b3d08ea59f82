//! The command line as people and programs meet it: output, exit codes, what is on disk afterwards.
//!
//! Every command runs with an empty environment, its own state directory and a fixed width. Run ids, plan hashes and
//! paths are written as `<run>`, `<hash>` and `<state>`, for they differ from run to run.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

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
        let run = (word.len() == 36 && word.get(14..15) == Some("7") && hex(0..8))
            || (word.len() == 13 && hex(0..8) && hex(9..13) && word.starts_with('0'));
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
    assert_snapshot!(User::new().run("sandbox list").show());
}

#[test]
fn a_dry_run_shows_the_plan_and_changes_nothing() {
    let user = User::new();
    assert_snapshot!(user.run("--sandbox fix rp-collection-limit --vm web-01 --dry-run").show());
    assert!(!user.state().exists(), "a dry run writes nothing");
}

#[test]
fn the_main_job_is_done_and_told() {
    let user = User::new();
    assert_snapshot!(user.run("--sandbox fix rp-collection-limit --vm web-01 --yes --relock").show());
    assert_snapshot!(user.run("runs list").show());
    let run = std::fs::read_dir(user.state().join("runs")).unwrap().next().unwrap().unwrap().file_name();
    assert_snapshot!(user.run(&format!("runs show {}", run.to_str().unwrap())).show());
}

#[test]
fn without_a_terminal_nobody_is_asked_and_nothing_happens() {
    let user = User::new();
    let done = user.run("--sandbox fix backup-now --vm ok-07 -q");
    assert_eq!((done.code, done.out.as_str()), (5, ""));
    assert!(done.err.contains("not confirmed"), "{}", done.err);
    assert!(!user.state().join("sandbox/contoso").exists());
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
    assert_snapshot!(user.run("--sandbox fix rp-colection-limit --vm web-01").show());
    assert_snapshot!(user.run("--sandbox fix rp-collection-limit --vm dup-09 -q").show());
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
    assert_eq!(made.code, 3, "{}", made.show());
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
    assert_snapshot!(back.show());
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
    assert_snapshot!(user.run("playbook list").show());
    assert_snapshot!(user.run("playbook show backup-now").show());
    std::fs::write(user.home.path().join("bad.yaml"), "apiVersion: azmend/v1\nnam: x\n").unwrap();
    let done = user.run("playbook validate bad.yaml");
    assert_eq!(done.code, 2);
    assert!(done.out.contains("bad.yaml:2:1: "), "{}", done.show());
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
