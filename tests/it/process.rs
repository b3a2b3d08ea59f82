//! The program itself in the world: signals, a stdout that is gone, a full disk, and no secret anywhere.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use azmend::cli::args::Args;
#[cfg(unix)]
use azmend::sim::{Estate, ServerOptions, Sim, World};
use serde_json::Value;

#[cfg(unix)]
use crate::serving::Serving;

const AZMEND: &str = env!("CARGO_BIN_EXE_azmend");
/// What every signature of the embedded Azure begins with: see `sim::operations::signature`.
const SIGNED: &str = "MIIHhzCCBm-gAwIBAgITHg";

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// azmend on the embedded Azure, with a state directory and nothing else in its environment.
fn sandbox(dir: &Path, line: &str) -> Command {
    let mut command = Command::new(AZMEND);
    command.arg("--sandbox").args(line.split_whitespace()).env_clear().current_dir(dir);
    command.env("AZMEND_STATE_DIR", dir.join("state")).stdin(Stdio::null());
    command
}

/// Every file under a directory, with its content.
fn files(dir: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let bytes = std::fs::read(&path).unwrap();
                found.push((path, String::from_utf8_lossy(&bytes).into_owned()));
            }
        }
    }
    found
}

fn run_of(output: &Output) -> String {
    let last = String::from_utf8_lossy(&output.stdout);
    let value: Value = serde_json::from_str(&last).unwrap_or_else(|_| panic!("{}", text(output)));
    value["run_id"].as_str().unwrap_or_else(|| panic!("{value}")).to_owned()
}

// ---- no secret in any output ----------------------------------------------------------------------------------------

/// The commands without arguments of their own, as words: a new one has to be in the table below.
fn leaves(command: &clap::Command, path: &str, found: &mut BTreeSet<String>) {
    for sub in command.get_subcommands() {
        let path = format!("{path} {}", sub.get_name()).trim().to_owned();
        if sub.has_subcommands() {
            leaves(sub, &path, found);
        } else {
            found.insert(path);
        }
    }
}

/// Every command, on the embedded Azure. `RUN` stands for the run that the first one made.
const EVERYTHING: &[&str] = &[
    "fix rp-collection-limit --vm web-01 --yes --relock -o json",
    "fix rp-collection-limit --vm nas-04 --dry-run",
    "plan rp-collection-limit --vm nas-04 -o yaml",
    "fix extension-operation-failed --vm app-02 --yes -o jsonl",
    "fix rp-collection-limit --vm sub-lock --yes",
    "fix rp-collection-limit --vm db-03 --plan-out plan.json",
    "apply plan.json --yes",
    "backup --vm ok-07 --yes -o json",
    "vms",
    "vms -o json",
    "jobs",
    "jobs --failed -o json",
    "engines",
    "audit",
    "audit -o json --collector arm",
    "audit --out audit.jsonl",
    "audit --tenant --plans",
    "capture --out captured.yaml --anonymize --force",
    "capture --out captured.yaml --vm web-01 -o json --force",
    "explain UserErrorRpCollectionLimitReached",
    "protect --vm web-01 --vault bkp-vault --policy daily-2d --yes",
    "diagnose --vm web-01 --network",
    "diagnose --vm nas-04 -o json",
    "runs list",
    "runs list -o json",
    "runs show RUN",
    "runs show RUN -o json",
    "runs resume RUN --yes",
    "runs undo RUN --yes",
    "fix auto --all --dry-run",
    "fix rp-collection-limit --all -s 5b1c0de0-0000-4000-8000-000000000001 --yes --max-failures 9 -o jsonl",
    "fix --retry-failed 0 --dry-run -o json",
    "runs list",
    "runs show RUN",
    "runs prune --older-than 1d",
    "doctor",
    "doctor --vm web-01 -o json",
    "role",
    "playbook list",
    "playbook show backup-now",
    "playbook validate plan.json",
    "playbook new own",
    "playbook test own.yaml --vm web-01",
    "playbook schema",
    "sandbox list",
    "sandbox show",
    "sandbox init mine.yaml",
    "completions bash",
    "man --dir manual",
    "sandbox reset",
];
/// Commands that need a place of their own: see the tests that name them.
const ELSEWHERE: &[&str] = &["sandbox serve"];

#[test]
fn no_signature_is_shown_or_kept_by_any_command_at_any_level() {
    let mut known = BTreeSet::new();
    leaves(&Args::command_line(), "", &mut known);
    known.remove("help");
    for name in &known {
        let here = EVERYTHING.iter().any(|line| line.starts_with(name.as_str()));
        assert!(here || ELSEWHERE.contains(&name.as_str()), "`{name}` is not tried for secrets");
    }
    for level in ["info", "trace", "trace,azmend=trace"] {
        let dir = tempfile::tempdir().unwrap();
        let mut run = String::new();
        let mut signed = 0;
        for line in EVERYTHING {
            let line = line.replace("RUN", &run);
            let output = sandbox(dir.path(), &format!("{line} --log-level {level}")).output().unwrap();
            assert_ne!(output.status.code(), Some(1), "{line}: {}", text(&output));
            assert_ne!(output.status.code(), None, "{line}: {}", text(&output));
            assert!(!text(&output).contains(SIGNED), "{line} at {level}: {}", text(&output));
            if run.is_empty() {
                run = run_of(&output);
            }
            for (path, content) in files(dir.path()) {
                // The world is Azure itself; its operations are signed when they are asked for.
                let world = path.components().any(|part| part.as_os_str() == "sandbox");
                assert!(world || !content.contains(SIGNED), "{line}: {}", path.display());
                signed += usize::from(content.contains("azure-asyncoperation") || content.contains("operations/"));
            }
        }
        assert!(signed > 0, "no operation was journaled: this would find nothing");
    }
}

#[cfg(unix)]
const FAST: ServerOptions = ServerOptions { port: 0, speed: 60, token_life: Duration::from_secs(3600) };

/// azmend against the embedded Azure over HTTP, with a token, an identity secret and a client secret that are known.
#[cfg(unix)]
struct Marked {
    serving: Serving,
    dir: tempfile::TempDir,
    token: String,
}

#[cfg(unix)]
impl Marked {
    fn new() -> Self {
        let serving = Serving::on(Sim::new(World::from_estate(&Estate::built_in())), FAST);
        let mut marked = Self { serving, dir: tempfile::tempdir().unwrap(), token: String::new() };
        marked.sign_in();
        marked
    }

    /// Puts an `az` on the path that gives out a token of this server.
    fn sign_in(&mut self) {
        use std::os::unix::fs::PermissionsExt as _;

        self.token = self.serving.token();
        let az = self.dir.path().join("az");
        let answer = format!(
            r#"{{"accessToken":"{}","expiresOn":"2099-01-01 00:00:00.000000","expires_on":4070908800,"tenant":"t","tokenType":"Bearer"}}"#,
            self.token
        );
        std::fs::write(&az, format!("#!/bin/sh\necho '{answer}'\n")).unwrap();
        std::fs::set_permissions(&az, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Time passes in Azure. Its server follows real time, so it is started again, at the same address.
    fn later(&mut self, by: Duration) {
        let sim = self.serving.sim.clone();
        self.serving.end();
        sim.edit(|world| world.advance(by));
        let port = self.serving.base.rsplit(':').next().unwrap().parse().unwrap();
        self.serving = Serving::on(sim, ServerOptions { port, ..FAST });
        self.sign_in();
    }

    fn azmend(&self, auth: &str, line: &str) -> Command {
        let mut command = Command::new(AZMEND);
        command.args(line.split_whitespace()).env_clear().stdin(Stdio::null());
        command.env("PATH", format!("{}:/usr/bin:/bin", self.dir.path().display()));
        command.env("AZMEND_STATE_DIR", self.dir.path().join("state"));
        command.env("AZMEND_ARM_ENDPOINT", &self.serving.base).env("AZMEND_AUTH", auth);
        command.env("IDENTITY_ENDPOINT", &self.serving.identity_endpoint);
        command.env("IDENTITY_HEADER", self.serving.identity.secret());
        command.env("AZURE_CLIENT_SECRET", "marked-client-secret").env("AZURE_CLIENT_ID", "");
        command.env("AZURE_TENANT_ID", "11111111-1111-1111-1111-111111111111");
        command
    }
}

#[cfg(unix)]
#[test]
fn no_token_and_no_secret_is_shown_or_kept() {
    let marked = Marked::new();
    let secrets = [marked.token.as_str(), marked.serving.identity.secret(), "marked-client-secret"];
    let short = "fix backup-now --vm rg-shop/ok-07 --yes --deadline 5s -o json";
    let lines = [
        ("cli", short),
        ("cli", "doctor --vm rg-shop/web-01"),
        ("cli", "doctor -o json"),
        ("cli", "fix rp-collection-limit --vm rg-shop/web-01 --dry-run"),
        ("cli", "fix rp-collection-limit --vm rg-shop/nobody --dry-run"),
        ("managed-identity", "fix rp-collection-limit --vm rg-shop/web-01 --dry-run -o json"),
        ("managed-identity", "doctor"),
        ("service-principal", "doctor"),
        ("auto", "runs list -o json"),
    ];
    for level in ["trace", "trace,azmend=trace"] {
        for (auth, line) in lines {
            let output = marked.azmend(auth, line).args(["--log-level", level]).output().unwrap();
            assert_ne!(output.status.code(), Some(1), "{line}: {}", text(&output));
            if line == short {
                assert_eq!(output.status.code(), Some(7), "{}", text(&output));
            }
            for secret in secrets {
                assert!(!text(&output).contains(secret), "{auth} {line} at {level} shows {secret}: {}", text(&output));
                for (path, content) in files(&marked.dir.path().join("state")) {
                    assert!(!content.contains(secret), "{line}: {} holds {secret}", path.display());
                }
            }
        }
    }
    assert!(marked.serving.identity.issued() > 1, "the tokens were used");
    // Azure does not take the token any more: what it says about it does not show it either.
    marked.serving.identity.expire_all();
    let output = marked.azmend("cli", "doctor").args(["--log-level", "trace"]).output().unwrap();
    assert_eq!(output.status.code(), Some(4), "{}", text(&output));
    assert!(!text(&output).contains(&marked.token));
}

/// S1 at the transport of the program itself: each option that `audit` has, alone and beside every other one.
#[cfg(unix)]
#[test]
fn an_audit_sends_nothing_but_reads_whatever_its_options() {
    let marked = Marked::new();
    let tenant = World::from_estate(&Estate::built_in()).tenant;
    let group = format!("--management-group {tenant}");
    let values = [
        ("tenant", "--tenant"),
        ("subscription", "-s 5b1c0de0-0000-4000-8000-000000000001"),
        ("management_group", group.as_str()),
        ("resource_group", "--resource-group rg-shop"),
        ("tag", "--tag env=prod"),
        ("vault", "--vault bkp-vault"),
        ("playbooks", "--playbooks playbooks"),
        ("playbook", "--playbook rp-collection-limit"),
        ("code", "--code UserErrorRpCollectionLimitReached"),
        ("min_severity", "--min-severity high"),
        ("plans", "--plans"),
        ("fail_on", "--fail-on never"),
        ("baseline", "--baseline base.json"),
        ("out", "--out out.html"),
        ("collector", "--collector arm"),
        ("thorough", "--thorough"),
        ("jitter", "--jitter 1s"),
    ];
    let line = Args::command_line();
    let audit = line.find_subcommand("audit").unwrap();
    // Options of every command are no options of the audit: help names those again that mean something here.
    let of_all: Vec<&str> = line.get_arguments().map(|option| option.get_id().as_str()).collect();
    let own = audit.get_arguments().map(|option| option.get_id().as_str()).filter(|id| !of_all.contains(id));
    for option in own.filter(|id| *id != "help") {
        assert!(values.iter().any(|(name, _)| *name == option), "`{option}` is not tried");
    }
    let run = |words: &str| {
        let mut command = marked.azmend("cli", &format!("audit -o json {words}"));
        command.current_dir(marked.dir.path()).output().unwrap()
    };
    std::fs::create_dir(marked.dir.path().join("playbooks")).unwrap();
    assert_eq!(run("--out base.json").status.code(), Some(3));
    // Each alone, each with the other collector, and as many at once as go together.
    let alone = values.iter().map(|(_, words)| (*words).to_owned());
    let listed = values.iter().map(|(_, words)| format!("{words} --collector arm"));
    let but = |left_out: &[&str]| {
        let words = values.iter().filter(|(name, _)| !left_out.contains(name)).map(|(_, words)| *words);
        words.collect::<Vec<_>>().join(" ")
    };
    let many = [
        but(&["tenant", "subscription", "collector", "baseline"]),
        but(&["tenant", "management_group", "vault", "baseline"]),
        but(&["subscription", "management_group", "resource_group", "tag", "baseline", "code"]),
    ];
    let mut looked = 0;
    for words in alone.chain(listed).chain(many) {
        let output = run(&words);
        let code = output.status.code().unwrap();
        assert!(matches!(code, 0 | 2 | 3 | 6), "{words}: {}", text(&output));
        looked += usize::from(code != 2);
    }
    assert!(looked > 25, "{looked} of the combinations were looked with");
    let log = marked.serving.sim.log();
    let mutating: Vec<String> =
        log.iter().filter(|one| one.mutating).map(|one| format!("{} {}", one.method, one.path)).collect();
    assert_eq!(mutating, Vec::<String>::new());
    let posts: BTreeSet<&str> = log.iter().filter(|one| one.method != "GET").map(|one| one.path.as_str()).collect();
    let reads = ["/Microsoft.ResourceGraph/resources", "/backupStatus"];
    assert!(posts.iter().all(|path| reads.iter().any(|read| path.ends_with(read))), "{posts:?}");
}

// ---- signals --------------------------------------------------------------------------------------------------------

#[cfg(unix)]
mod signals {
    use std::io::{BufRead as _, BufReader};

    use super::*;

    /// Starts azmend, waits until `when` says so of a line of its events, sends the signal, and waits for its end.
    fn interrupted(marked: &Marked, line: &str, signal: &str, when: impl Fn(&Value) -> bool) -> (Option<i32>, Value) {
        let mut child = marked.azmend("cli", line).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut last = Value::Null;
        let mut sent = false;
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            last = serde_json::from_str(&line.unwrap()).unwrap();
            if !sent && when(&last) {
                sent = true;
                let killed = Command::new("kill").arg(signal).arg(child.id().to_string()).status().unwrap();
                assert!(killed.success());
            }
        }
        assert!(sent, "the moment never came: {last}");
        (child.wait().unwrap().code(), last)
    }

    fn paused(marked: &Marked, result: &Value) -> String {
        assert_eq!(
            (&result["status"], &result["error"]["code"]),
            (&"paused".into(), &"interrupted".into()),
            "{result}"
        );
        let run = result["run_id"].as_str().unwrap().to_owned();
        assert!(result["next"].as_str().unwrap().starts_with("azmend runs resume"), "{result}");
        let shown = marked.azmend("cli", &format!("runs show {run} -o json")).output().unwrap();
        assert!(text(&shown).contains("\"paused\""), "journaled: {}", text(&shown));
        run
    }

    #[test]
    fn sigterm_while_azure_works_pauses_and_resume_finishes_without_a_second_backup() {
        let mut marked = Marked::new();
        let before = marked.serving.sim.world().jobs.len();
        let line = "fix backup-now --vm rg-shop/ok-07 --yes -o jsonl";
        let (code, result) = interrupted(&marked, line, "-TERM", |event| event["event"] == "waiting");
        assert_eq!(code, Some(7), "{result}");
        let run = paused(&marked, &result);
        // Azure goes on meanwhile.
        marked.later(Duration::from_secs(3600));
        let resumed = marked.azmend("cli", &format!("runs resume {run} --yes -o json")).output().unwrap();
        assert_eq!(resumed.status.code(), Some(0), "{}", text(&resumed));
        assert_eq!(marked.serving.sim.world().jobs.len(), before + 1, "one backup");
    }

    #[test]
    fn ctrl_c_after_a_lock_was_removed_puts_it_back() {
        let marked = Marked::new();
        let stands = || marked.serving.sim.world().locks.iter().any(|lock| lock.id.name() == "no-delete");
        assert!(stands());
        let line = "fix unlock-backup-groups --vm rg-shop/web-01 --yes --relock -o jsonl";
        // The request is on its way when this event is told; it is answered and proven before the run pauses.
        let (code, result) = interrupted(&marked, line, "-INT", |event| event["event"] == "lock_note");
        assert!(stands(), "{result}");
        // It was the only change: with it the run is over; otherwise it is paused, with its lock in place.
        assert!(matches!(code, Some(0 | 7)), "{code:?} {result}");
        assert_eq!(result["locks_removed"][0]["restored"], true, "{result}");
    }
}

// ---- stdout and the disk --------------------------------------------------------------------------------------------

#[cfg(unix)]
fn last_run(dir: &Path) -> Value {
    let output = sandbox(dir, "runs list -o json").output().unwrap();
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    value["runs"][0].clone()
}

#[cfg(target_os = "linux")]
#[test]
fn a_result_that_cannot_be_written_is_said_and_the_run_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let line = "fix rp-collection-limit --vm web-01 --yes --relock -o json";
    let output = sandbox(dir.path(), line).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(6), "{}", text(&output));
    assert!(text(&output).contains("the result could not be written to stdout"), "{}", text(&output));
    assert_eq!(last_run(dir.path())["state"], "succeeded");
}

#[cfg(unix)]
#[test]
fn a_reader_that_went_away_does_not_stop_a_run() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = sandbox(dir.path(), "fix rp-collection-limit --vm web-01 --yes --relock -o jsonl");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(last_run(dir.path())["state"], "succeeded");
}

#[cfg(target_os = "linux")]
#[test]
fn without_room_for_its_files_nothing_is_begun() {
    let dir = tempfile::tempdir().unwrap();
    // A limit on the size of files stands for a full disk; the signal that comes with it is ignored.
    let script = "trap '' XFSZ; ulimit -f 1; exec \"$@\"";
    let inner = sandbox(dir.path(), "fix rp-collection-limit --vm web-01 --yes --relock -o json");
    let mut outer = Command::new("sh");
    outer.args(["-c", script, "sh"]).arg(inner.get_program()).args(inner.get_args()).env_clear();
    outer.env("AZMEND_STATE_DIR", dir.path().join("state")).current_dir(dir.path()).stdin(Stdio::null());
    let output = outer.output().unwrap();
    assert_eq!(output.status.code(), Some(5), "{}", text(&output));
    // The world of the sandbox is written before the journal: whichever finds no room first.
    let told = text(&output);
    assert!(told.contains("cannot write") || told.contains("cannot save the sandbox state"), "{told}");
    let locks = sandbox(dir.path(), "sandbox show").output().unwrap();
    assert!(text(&locks).contains("no-delete"), "{}", text(&locks));
}
