//! The sandbox keeps time: each command finds the world as the one before left it, also after Ctrl-C and after a kill.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::Value;
use tempfile::TempDir;

const FIX: &str = "--sandbox fix rp-collection-limit --vm web-01 --yes";

struct User {
    home: TempDir,
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
        command.env_clear().env("AZMEND_STATE_DIR", self.state()).current_dir(self.home.path());
        command.args(line.split_whitespace()).stdin(Stdio::null());
        command
    }

    fn run(&self, line: &str) -> Output {
        self.command(line).output().unwrap()
    }

    fn json(&self, line: &str) -> Value {
        let output = self.run(&format!("{line} -o json"));
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{line}: {e}: {output:?}"))
    }

    fn now(&self) -> Timestamp {
        time(&self.json("sandbox show")["now"])
    }

    /// The state of a VM's newest job.
    fn job(&self, vm: &str) -> (String, String) {
        let jobs = self.json("--sandbox jobs");
        let row =
            jobs["jobs"].as_array().unwrap().iter().find(|job| job["vm"].as_str().is_some_and(|v| v.ends_with(vm)));
        let text = |key: &str| row.map(|row| row[key].as_str().unwrap_or_default().to_owned()).unwrap_or_default();
        (text("job"), text("status"))
    }

    #[cfg(unix)]
    fn the_run(&self) -> String {
        let mut runs = std::fs::read_dir(self.state().join("runs")).unwrap();
        runs.next().unwrap().unwrap().file_name().into_string().unwrap()
    }
}

fn time(value: &Value) -> Timestamp {
    value.as_str().unwrap_or_else(|| panic!("{value}")).parse().unwrap()
}

#[cfg(unix)]
fn files(dir: &Path) -> usize {
    std::fs::read_dir(dir).map_or(0, Iterator::count)
}

#[test]
fn the_next_command_finds_the_time_the_point_and_the_running_job() {
    let user = User::new();
    let done = user.json(FIX);
    assert_eq!(done["exit_code"], 0, "{done}");
    let ended = time(&done["ended"]);
    assert!(user.now() >= ended, "{} and {ended}", user.now());
    let shown = user.json("sandbox show");
    let points = shown["collections"].as_array().unwrap().iter();
    let of_web =
        points.filter(|c| c["source"].as_str().unwrap().ends_with("/web-01")).map(|c| c["points"].as_u64().unwrap());
    assert_eq!(of_web.sum::<u64>(), 17, "21, five deleted, one taken");
    let (job, status) = user.job("web-01");
    assert_eq!(status, "InProgress");
    // To look costs time too, and none of it is lost.
    let looked = user.now();
    assert!(looked > ended);
    let followed = user.run(&format!("--sandbox jobs --follow {job}"));
    assert_eq!(followed.status.code(), Some(0), "{followed:?}");
    assert!(user.now().duration_since(looked).as_hours() >= 2, "a command that only reads has waited for hours");
    assert_eq!(user.job("web-01"), (job, "Completed".to_owned()));
    assert_eq!(user.run("sandbox reset").status.code(), Some(0));
    assert!(user.now() < ended);
}

#[test]
fn a_command_that_only_reads_begins_no_world() {
    let user = User::new();
    for line in
        ["--sandbox fix rp-collection-limit --vm web-01 --dry-run", "--sandbox jobs", "--sandbox vms", "sandbox show"]
    {
        user.run(line);
        assert!(!user.state().exists(), "{line}");
    }
}

#[test]
fn a_speed_is_a_whole_number_and_for_the_sandbox() {
    let user = User::new();
    for speed in ["0", "-1", "1.5", "fast", "86401", ""] {
        let output = user.command("--sandbox jobs -o json").arg(format!("--speed={speed}")).output().unwrap();
        let value: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((output.status.code(), &value["error"]["code"]), (Some(2), &"usage".into()), "{speed}");
        let message = value["error"]["message"].as_str().unwrap();
        assert!(message.contains("--speed") && message.contains("1 to 86400"), "{message}");
    }
    let value = user.json("jobs --speed 60");
    assert_eq!((&value["exit_code"], &value["error"]["code"]), (&2.into(), &"usage".into()));
    assert!(value["error"]["message"].as_str().unwrap().contains("--speed"), "{value}");
    assert_eq!(user.run("sandbox list --speed 60").status.code(), Some(0));
    for line in ["--help", "sandbox serve --help"] {
        assert!(String::from_utf8_lossy(&user.run(line).stdout).contains("--speed"), "{line}");
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "processes of their own take real time")]
fn with_a_speed_waits_take_time() {
    let user = User::new();
    let began = Instant::now();
    let done = user.json("--sandbox --speed 200 fix backup-now --vm ok-07 --yes");
    assert_eq!(done["exit_code"], 0, "{done}");
    let took = time(&done["ended"]).duration_since(time(&done["started"]));
    assert!(began.elapsed() >= Duration::try_from(took).unwrap() / 200, "{took:?} in {:?}", began.elapsed());
    assert!(user.now() >= time(&done["ended"]));
}

/// Starts a fix at a speed, and waits until so many changes of it are in its journal.
#[cfg(unix)]
#[expect(clippy::disallowed_methods, reason = "processes of their own take real time")]
#[expect(clippy::zombie_processes, reason = "the caller ends it and waits for it")]
fn started(user: &User, outcomes: usize) -> std::process::Child {
    let mut command = user.command(&format!("{FIX} --speed 60 -o json"));
    let child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let began = Instant::now();
    loop {
        assert!(began.elapsed() < Duration::from_secs(60), "nothing happened");
        let journals = std::fs::read_dir(user.state().join("runs")).into_iter().flatten().flatten();
        let text: String =
            journals.filter_map(|run| std::fs::read_to_string(run.path().join("journal.jsonl")).ok()).collect();
        if text.lines().filter(|line| line.contains("intent")).count() >= outcomes {
            return child;
        }
        std::thread::yield_now();
    }
}

#[cfg(unix)]
#[test]
fn ctrl_c_and_what_follows_can_be_tried() {
    let user = User::new();
    let child = started(&user, 2);
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let paused: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &paused["status"]), (Some(7), &"paused".into()), "{paused}");
    let stopped = user.now();
    assert!(stopped >= time(&paused["ended"]));
    let resumed = user.json(&format!("--sandbox runs resume {} --yes", user.the_run()));
    assert_eq!(resumed["exit_code"], 0, "{resumed}");
    assert!(user.now() > stopped);
    assert_eq!(user.job("web-01").1, "InProgress");
}

#[cfg(unix)]
#[test]
fn a_kill_loses_at_most_what_came_after_the_last_request_or_wait() {
    let user = User::new();
    let mut child = started(&user, 3);
    child.kill().unwrap();
    child.wait().unwrap();
    let killed = user.now();
    // The journal's times are the world's: nothing that was sent lies in the future of the world that is left.
    let journal =
        std::fs::read_to_string(user.state().join("runs").join(user.the_run()).join("journal.jsonl")).unwrap();
    let last = journal
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter_map(|line| line["at"].as_str().and_then(|at| at.parse::<Timestamp>().ok()));
    let last = last.max().unwrap();
    assert!(last.duration_since(killed).as_secs() <= 1, "the world is at {killed}, the journal at {last}");
    let resumed = user.json(&format!("--sandbox runs resume {} --yes", user.the_run()));
    assert_eq!(resumed["exit_code"], 0, "{resumed}");
    assert_eq!(files(&user.state().join("runs")), 1);
}
