//! Verbs, formats and what is typed: `plan`, runs without an id, YAML and queries, completion, empty options.

use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

struct User {
    home: TempDir,
}

impl User {
    fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap() }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_azmend"));
        command.env_clear().env("AZMEND_STATE_DIR", self.home.path().join("state"));
        command.current_dir(self.home.path()).args(words);
        command
    }

    fn run(&self, line: &str) -> (i32, String, String) {
        let words: Vec<&str> = line.split_whitespace().collect();
        read(&self.command(&words).output().unwrap())
    }

    fn json(&self, line: &str) -> Value {
        let (_, out, err) = self.run(&format!("{line} -o json"));
        serde_json::from_str(&out).unwrap_or_else(|e| panic!("{line}: {e}: {out}{err}"))
    }
}

fn read(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

const FIX: &str = "--sandbox fix unlock-backup-groups --vm web-01 --yes";

#[cfg(unix)]
#[test]
fn a_plan_is_saved_and_applied_as_it_is_printed() {
    let user = User::new();
    let azmend = env!("CARGO_BIN_EXE_azmend");
    let line = format!(
        "{azmend} --sandbox plan rp-collection-limit --vm web-01 --out p.json && {azmend} --sandbox apply p.json --yes -o json"
    );
    let mut shell = Command::new("sh");
    shell.env_clear().env("AZMEND_STATE_DIR", user.home.path().join("state")).current_dir(user.home.path());
    let (code, out, err) = read(&shell.args(["-c", &line]).output().unwrap());
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.contains("\"status\": \"succeeded\""), "{out}");
    // A second time the file is there: somebody may have approved it.
    let (code, out, err) = user.run("--sandbox plan rp-collection-limit --vm nas-04 --out p.json");
    assert_eq!(code, 2, "{out}{err}");
    assert!(err.contains("p.json exists already"), "{err}");
    assert_eq!(
        user.json("--sandbox fix rp-collection-limit --vm nas-04 --plan-out p.json")["error"]["code"],
        "file_exists"
    );
}

#[test]
fn a_plan_of_nothing_is_applied_as_nothing() {
    let user = User::new();
    assert_eq!(user.json("--sandbox plan rp-collection-limit --vm ok-07 --out p.json")["exit_code"], 0);
    let done = user.json("--sandbox apply p.json --yes");
    assert_eq!((&done["status"], &done["exit_code"]), (&json!("nothing_to_do"), &json!(0)), "{done}");
    assert_eq!(user.json("apply p.json --yes")["error"]["code"], "s13.world");
}

#[test]
fn plan_is_a_dry_run() {
    let user = User::new();
    let plan = user.json("--sandbox plan rp-collection-limit --vm web-01");
    let dry = user.json("--sandbox fix rp-collection-limit --vm web-01 --dry-run");
    assert_eq!((&plan["status"], &plan["exit_code"]), (&json!("planned"), &json!(3)));
    assert_eq!((&plan["changes"], &plan["next"]), (&dry["changes"], &dry["next"]));
    assert_eq!(user.json("--sandbox plan auto --all")["exit_code"], 3);
    let (code, out, _) = user.run("--sandbox plan rp-collection-limit --vm ok-07");
    assert_eq!(code, 0, "{out}");
    assert!(!user.home.path().join("state").exists(), "a plan leaves nothing");
}

#[test]
fn what_a_plan_says_names_the_place_and_what_cannot_be_undone() {
    let user = User::new();
    let (_, out, _) = user.run("--sandbox plan rp-collection-limit --vm web-01");
    let text = out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains("subscription Contoso Production (5b1c0de0-0000-4000-8000-000000000001)"), "{out}");
    assert!(text.contains("tenant "), "{out}");
    let lost = "irreversible 5 restore points are deleted and cannot be recovered; 16 of the VM remain (limit 18)";
    assert!(text.contains(lost), "{out}");
    assert!(!text.contains("expected to fail"), "{out}");
    // Where Azure Backup is to make the room, its first backup fails.
    let (_, out, _) = user.run("--sandbox plan rp-collection-limit --vm web-01 --set cleanup=service");
    let text = out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains("the backup is expected to fail once: 21 restore points remain (limit 18)"), "{out}");
    assert!(
        text.contains("resume it about 4 h later: azmend --sandbox runs resume") || text.contains("azmend runs resume"),
        "{out}"
    );
    assert!(!text.contains("irreversible"), "{out}");
}

#[test]
fn a_run_without_an_id_is_the_last_one_that_fits() {
    let user = User::new();
    let none = user.json("--sandbox runs undo --yes");
    assert_eq!((&none["exit_code"], &none["error"]["code"]), (&json!(2), &json!("run_not_found")));
    let first = user.json(FIX);
    assert_eq!(first["exit_code"], 0, "{first}");
    // A later run without anything to undo is not meant.
    assert_eq!(user.json("--sandbox fix backup-now --vm ok-07 --yes")["exit_code"], 0);
    let (code, out, err) = user.run("--sandbox runs undo --yes -q");
    assert_eq!(code, 0, "{out}{err}");
    let id = first["run_id"].as_str().unwrap();
    assert!(err.contains(&format!("the last run that can be undone: {id} (unlock-backup-groups on web-01")), "{err}");
    assert!(out.starts_with("undone"), "{out}");
    assert_eq!(user.json("--sandbox runs undo --yes")["error"]["code"], "run_not_found", "it is undone");
    assert_eq!(user.json("--sandbox runs resume --yes")["error"]["code"], "run_not_found");
    let paused = user.json("--sandbox fix rp-collection-limit --vm nas-04 --yes --deadline 5s");
    assert_eq!(paused["status"], "paused", "{paused}");
    let resumed = user.json("--sandbox runs resume --yes");
    assert_eq!(resumed["run_id"], paused["run_id"], "{resumed}");
}

#[test]
fn an_undo_after_deletions_is_partial_and_names_them() {
    let user = User::new();
    assert_eq!(user.json("--sandbox fix rp-collection-limit --vm web-01 --yes")["exit_code"], 0);
    let undone = user.json("--sandbox runs undo --yes");
    assert_eq!((&undone["status"], &undone["exit_code"]), (&json!("partial"), &json!(6)), "{undone}");
    assert!(undone["warnings"][0].as_str().unwrap().starts_with("5 deletions cannot be undone"), "{undone}");
}

#[test]
fn a_killed_run_is_told_from_one_that_is_running() {
    let user = User::new();
    let paused = user.json("--sandbox fix rp-collection-limit --vm web-01 --yes --deadline 4m");
    let id = paused["run_id"].as_str().unwrap();
    // What is left of a run whose process was killed: its journal without the last line.
    let journal = user.home.path().join("state/runs").join(id).join("journal.jsonl");
    let text = std::fs::read_to_string(&journal).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let end = lines.iter().position(|line| line.contains("\"paused\"")).unwrap();
    std::fs::write(&journal, lines[..end].join("\n") + "\n").unwrap();
    let listed = || user.json("--sandbox runs list")["runs"][0].clone();
    assert_eq!((&listed()["state"], &listed()["process"]), (&json!("running"), &json!(false)));
    assert!(user.run("--sandbox runs list").1.contains("interrupted"));
    let shown = user.json(&format!("--sandbox runs show {id}"));
    assert_eq!(shown["error"]["code"], "interrupted", "{shown}");
    assert_eq!(shown["next"], format!("azmend --sandbox runs resume {id}"));
    let held = std::fs::OpenOptions::new().write(true).open(journal.with_file_name("lock")).unwrap();
    held.try_lock().unwrap();
    assert_eq!((&listed()["state"], &listed()["process"]), (&json!("running"), &json!(true)));
    let shown = user.json(&format!("--sandbox runs show {id}"));
    assert!(shown["error"]["message"].as_str().unwrap().starts_with("its process is running"), "{shown}");
    assert_eq!(user.json("--sandbox runs resume --yes")["error"]["code"], "run_not_found", "somebody works on it");
    drop(held);
    assert_eq!(user.json("--sandbox runs resume --yes")["run_id"], json!(id));
}

#[test]
fn ids_in_a_list_tell_its_runs_apart() {
    let user = User::new();
    assert_eq!(user.json(FIX)["exit_code"], 0);
    let runs = user.home.path().join("state/runs");
    let id = std::fs::read_dir(&runs).unwrap().next().unwrap().unwrap().file_name().into_string().unwrap();
    // Another run of the same millisecond: damaged, for its journal is that of the first, and listed.
    let twin = format!("{}{}", &id[..19], "bbbb-000000000000");
    std::fs::create_dir(runs.join(&twin)).unwrap();
    for name in ["plan.json", "journal.jsonl"] {
        std::fs::copy(runs.join(&id).join(name), runs.join(&twin).join(name)).unwrap();
    }
    let (_, out, _) = user.run("--sandbox runs list");
    assert!(out.contains(&id[..23]) && out.contains(&twin[..23]), "{out}");
}

#[test]
fn an_empty_subscription_is_an_error_and_an_empty_variable_is_none() {
    let user = User::new();
    let (code, _, err) = read(&user.command(&["--sandbox", "vms", "-s", ""]).output().unwrap());
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("--subscription names no subscription: it is empty"), "{err}");
    let env =
        |value: &str| read(&user.command(&["--sandbox", "vms"]).env("AZMEND_SUBSCRIPTION", value).output().unwrap());
    assert_eq!(env("").0, 0);
    let (code, _, err) = env(";");
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("AZMEND_SUBSCRIPTION"), "{err}");
}

#[test]
fn a_part_of_a_result_and_yaml() {
    let user = User::new();
    let ask = |words: &[&str]| read(&user.command(words).output().unwrap());
    let (code, out, err) = ask(&["--sandbox", "vms", "--query", "vms[?protected=='no'].name"]);
    assert_eq!((code, out.as_str()), (0, "[\n  \"dup-09\"\n]\n"), "{err}");
    let (_, out, _) = ask(&["--sandbox", "vms", "--query", "vms[0].name", "-o", "json"]);
    assert_eq!(out, "\"erp-13\"\n", "a string is quoted, as with `az -o json`");
    let (_, out, _) = ask(&["--sandbox", "runs", "list", "-o", "yaml"]);
    assert!(out.contains("schema: azmend.runs/v1"), "{out}");
    let (_, out, _) = ask(&["--sandbox", "audit", "--query", "findings[].rule | sort(@) | [0]", "-o", "yaml"]);
    assert_eq!(out, "datasource-not-present\n");
    let (code, out, err) = ask(&["--sandbox", "vms", "--query", "vms["]);
    assert_eq!(code, 2, "{out}{err}");
    // The error of a command is whole: a script that asks for a part of a result finds none in it.
    let (code, out, _) = ask(&["--sandbox", "fix", "nope", "--vm", "v", "--query", "run_id", "-o", "json"]);
    let value: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &value["error"]["code"]), (2, &json!("playbook_not_found")));
    // What is done is done, and that nobody can read it is not success.
    let (code, _, err) = ask(&["--sandbox", "vms", "--query", "length(exit_code)"]);
    assert_eq!(code, 6, "{err}");
    assert!(err.contains("--query"), "{err}");
}

#[test]
fn a_format_that_a_command_does_not_write_is_answered_with_those_that_it_does() {
    let user = User::new();
    let (code, _, err) = user.run("--sandbox vms -o html");
    assert_eq!(code, 2);
    assert!(err.contains("table, json, yaml, jsonl") && !err.contains("sarif"), "{err}");
    let (code, _, err) = user.run("-o csv --sandbox vms");
    assert_eq!(code, 2);
    assert!(err.contains("it writes table, json, yaml and jsonl"), "{err}");
    let (_, help, _) = user.run("vms --help");
    assert!(help.contains("yaml") && !help.contains("sarif"), "{help}");
    let (_, help, _) = user.run("audit --help");
    assert!(help.contains("sarif"), "{help}");
}

#[test]
fn short_help_is_short_and_help_is_a_command() {
    let user = User::new();
    let (code, short, _) = user.run("fix -h");
    let (_, long, _) = user.run("help fix");
    assert_eq!(code, 0);
    assert_eq!(long, user.run("fix --help").1);
    assert!(short.lines().count() < 60 && short.lines().count() * 2 < long.lines().count(), "{short}");
    assert!(short.contains("azmend help fix") && !short.contains("--arm-endpoint"), "{short}");
    assert!(long.contains("--arm-endpoint") && long.contains("--override"), "{long}");
    let (_, root, _) = user.run("--help");
    assert!(root.contains("Exit codes:"), "{root}");
    assert_eq!(user.run("help runs undo").1, user.run("runs undo --help").1);
}

#[test]
fn the_shell_completes_playbooks_vms_and_runs() {
    let user = User::new();
    let complete = |words: &[&str]| {
        let mut command = user.command(&[]);
        command.env("AZMEND_COMPLETE", "bash").env("_CLAP_COMPLETE_INDEX", (words.len() - 1).to_string());
        command.env("_CLAP_COMPLETE_COMP_TYPE", "9").env("_CLAP_IFS", "\n");
        let (code, out, err) = read(&command.arg("--").args(words).output().unwrap());
        assert_eq!(code, 0, "{out}{err}");
        out.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(complete(&["azmend", "fix", "rp-"]), ["rp-collection-limit"]);
    assert!(complete(&["azmend", "plan", "au"]).contains(&"auto".to_owned()));
    assert!(complete(&["azmend", "--sandbox", "fix", "auto", "--vm", "web"]).is_empty(), "nothing was read yet");
    let run = user.json(FIX);
    assert_eq!(user.run("--sandbox vms").0, 0);
    assert_eq!(complete(&["azmend", "--sandbox", "fix", "auto", "--vm", "web"]), ["web-01"]);
    assert_eq!(
        complete(&["azmend", "--sandbox", "fix", "auto", "--vm", "dup"]).len(),
        0,
        "the name alone is not enough"
    );
    assert_eq!(complete(&["azmend", "--sandbox", "fix", "auto", "--vm", "rg-lab/"]), ["rg-lab/dup-09"]);
    assert!(complete(&["azmend", "fix", "auto", "--vm", "web"]).is_empty(), "Azure's VMs are others");
    let id = run["run_id"].as_str().unwrap();
    assert_eq!(complete(&["azmend", "runs", "undo", &id[..9]]), [id]);
    assert_eq!(complete(&["azmend", "vms", "-o", "y"]), ["yaml"]);
    assert!(complete(&["azmend", "vms", "-o", "s"]).is_empty(), "sarif is for audits");
    let (code, script, _) = user.run("completions bash");
    assert_eq!(code, 0);
    assert!(script.contains("AZMEND_COMPLETE") && script.contains("azmend"), "{script}");
    for shell in ["zsh", "fish", "powershell", "elvish"] {
        assert_eq!(user.run(&format!("completions {shell}")).0, 0, "{shell}");
    }
}
