//! `azmend fix --all`: many VMs, waves, one summary; what is sent, what stands in the state directory, what is left to do.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use azmend::clock::{Clock as _, SystemClock};
use azmend::sim::{Estate, ServerOptions, Sim, World};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::serving::Serving;

pub(crate) const SHOP: &str = "5b1c0de0-0000-4000-8000-00000000000a";
pub(crate) const BRANCH: &str = "5b1c0de0-0000-4000-8000-00000000000b";

/// Three VMs share a locked backup group, `d-04` has a locked one of its own, `e-05` lives in another subscription and
/// region; `well-06` is well.
pub(crate) const ESTATE: &str = r#"
apiVersion: azmend/estate/v1
name: fleet
now: 2026-11-20T09:00:00Z
settings: { snapshot: 150s, transfer: 1h }
subscriptions:
  - name: Contoso Shop
    id: 5b1c0de0-0000-4000-8000-00000000000a
    groups:
      - name: rg-shop
        vms:
          - { name: a-01, protection: { vault: v, policy: p, jobs: [{ age: 10h, status: failed, error: UserErrorRpCollectionLimitReached }] } }
          - { name: b-02, protection: { vault: v, policy: p, jobs: [{ age: 10h, status: failed, error: UserErrorRpCollectionLimitReached }] } }
          - { name: c-03, protection: { vault: v, policy: p, jobs: [{ age: 10h, status: failed, error: UserErrorRpCollectionLimitReached }] } }
          - { name: d-04, protection: { vault: v, policy: own, jobs: [{ age: 10h, status: failed, error: UserErrorRpCollectionLimitReached }] } }
          - { name: well-06, protection: { vault: v, policy: p, jobs: [{ age: 10h, status: completed }] } }
      - name: rg-backup
        vaults:
          - name: v
            policies:
              - { name: p, snapshot_days: 2, at: "23:00" }
              - { name: own, snapshot_days: 2, at: "23:00", prefix: backup-own- }
      - name: AzureBackupRG_westeurope_1
        locks: [{ name: shared, level: CanNotDelete, notes: "all of us" }]
        collections:
          - { of: a-01, points: [{ count: 20, newest: 34h }] }
          - { of: b-02, points: [{ count: 20, newest: 34h }] }
          - { of: c-03, points: [{ count: 20, newest: 34h }] }
          - { of: well-06, points: [{ count: 2, newest: 10h }] }
      - name: backup-own-1
        locks: [{ name: own, level: CanNotDelete, notes: "mine" }]
        collections:
          - { of: d-04, points: [{ count: 20, newest: 34h }] }
  - name: Contoso Branch
    id: 5b1c0de0-0000-4000-8000-00000000000b
    groups:
      - name: rg-branch
        location: northeurope
        vms:
          - { name: e-05, protection: { vault: w, policy: p, jobs: [{ age: 10h, status: failed, error: UserErrorRpCollectionLimitReached }] } }
        vaults:
          - { name: w, policies: [{ name: p, snapshot_days: 2, at: "23:00" }] }
      - name: AzureBackupRG_northeurope_1
        location: northeurope
        collections:
          - { of: e-05, points: [{ count: 20, newest: 34h }] }
"#;

/// The vault has no copy of this VM's old points: they are kept, and its backup goes on failing.
pub(crate) fn hopeless(vm: &str) -> String {
    let row = |points: &str| format!("- {{ of: {vm}, points: {points} }}");
    let bad = ESTATE.replace(
        &row("[{ count: 20, newest: 34h }]"),
        &row("[{ count: 2, newest: 34h }, { count: 18, newest: 82h, tier: snapshot }]"),
    );
    assert_ne!(bad, ESTATE);
    bad
}

/// The same, and no lock is in the way: with one, its removal is expected to help, and the run pauses to wait for that.
pub(crate) fn hopeless_and_unlocked(vm: &str) -> String {
    hopeless(vm).replace("locks: [{ name: shared, level: CanNotDelete, notes: \"all of us\" }]", "locks: []")
}

/// Without a question a fleet needs its scope by name.
fn name_scope(command: &mut Command, line: &str) {
    if line.contains("--all") && line.contains("--yes") {
        command.env("AZMEND_SUBSCRIPTION", format!("{SHOP};{BRANCH}"));
    }
}

/// A user with an estate and a state directory.
pub(crate) struct User {
    pub(crate) home: TempDir,
}

pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl User {
    pub(crate) fn of(estate: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("estate.yaml"), estate).unwrap();
        Self { home }
    }

    pub(crate) fn new() -> Self {
        Self::of(ESTATE)
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.home.path().join("state")
    }

    pub(crate) fn run(&self, line: &str) -> Done {
        let mut command = Command::new(env!("CARGO_BIN_EXE_azmend"));
        command.env_clear().env("COLUMNS", "80").env("AZMEND_STATE_DIR", self.state());
        command.current_dir(self.home.path()).arg("--sandbox=estate.yaml").args(line.split_whitespace());
        name_scope(&mut command, line);
        let output = command.output().unwrap();
        Done {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The fleet's object; its exit code is the process's, and it fits the published schema.
    pub(crate) fn fleet(&self, line: &str) -> Value {
        let done = self.run(&format!("{line} -o json"));
        let value: Value =
            serde_json::from_str(&done.out).unwrap_or_else(|e| panic!("{line}: {e}: {}{}", done.out, done.err));
        assert_eq!(value["schema"], "azmend.fleet/v1", "{line}: {value}");
        assert_eq!(value["exit_code"], done.code, "{line}: {}", done.err);
        valid(&value);
        value
    }

    pub(crate) fn json(&self, line: &str) -> Value {
        let done = self.run(&format!("{line} -o json"));
        serde_json::from_str(&done.out).unwrap_or_else(|e| panic!("{line}: {e}: {}{}", done.out, done.err))
    }

    /// The embedded Azure as it was left: its file is of the last change, and what that brought about comes with time.
    pub(crate) fn world(&self) -> World {
        let dir = std::fs::read_dir(self.state().join("sandbox")).unwrap().next().unwrap().unwrap().path();
        let mut world = World::load(&dir.join("world.json")).unwrap();
        world.advance(Duration::from_secs(600));
        world
    }

    /// Nothing was changed, and no run was begun.
    /// Nothing was begun. (The sandbox's time goes on all the same.)
    pub(crate) fn untouched(&self) -> bool {
        let empty = |dir: &str| std::fs::read_dir(self.state().join(dir)).map_or(true, |mut dir| dir.next().is_none());
        empty("runs") && empty("fleets")
    }

    pub(crate) fn locks(&self) -> Vec<String> {
        let mut names: Vec<String> = self.world().locks.iter().map(|lock| lock.id.name().to_owned()).collect();
        names.sort();
        names
    }

    /// The record of the only fleet.
    pub(crate) fn record(&self) -> PathBuf {
        let mut found: Vec<PathBuf> =
            std::fs::read_dir(self.state().join("fleets")).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(found.len(), 1, "{found:?}");
        found.remove(0)
    }
}

pub(crate) fn valid(value: &Value) {
    let schema: Value = serde_json::from_str(&azmend::report::schema::fleet_json()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<String> = validator.iter_errors(value).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?}");
    let one: Value = serde_json::from_str(&azmend::report::schema::json()).unwrap();
    for result in value["results"].as_array().unwrap() {
        assert!(jsonschema::is_valid(&one, result), "{result}");
    }
}

pub(crate) fn name(id: &Value) -> String {
    id.as_str().unwrap().rsplit('/').next().unwrap().to_owned()
}

/// The VMs of a list, by name.
pub(crate) fn names(list: &Value) -> Vec<String> {
    let mut names: Vec<String> = list.as_array().unwrap().iter().map(|one| name(&one["vm"])).collect();
    names.sort();
    names
}

pub(crate) fn by_status(fleet: &Value, status: &str) -> Vec<String> {
    let mut names: Vec<String> = fleet["results"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|one| one["status"] == status)
        .map(|one| name(&one["vm"]))
        .collect();
    names.sort();
    names
}

/// The backups of a VM that somebody asked for.
fn backups(world: &World, vm: &str) -> usize {
    let own = |job: &&azmend::sim::Job| job.item.as_str().to_lowercase().ends_with(&format!(";{vm}"));
    world.jobs.iter().filter(|job| job.user_triggered == Some(true)).filter(own).count()
}

pub(crate) const FIX: &str = "fix rp-collection-limit --all";

#[test]
fn every_vm_is_repaired_by_a_run_of_its_own() {
    let user = User::new();
    let fleet = user.fleet(&format!("{FIX} --yes"));
    assert_eq!((&fleet["status"], &fleet["exit_code"]), (&json!("succeeded"), &json!(0)), "{fleet:#}");
    assert_eq!(by_status(&fleet, "succeeded"), ["a-01", "b-02", "c-03", "d-04", "e-05"]);
    assert_eq!(fleet["waves"], json!([1, 4]));
    // A lock that three of them share counts once.
    assert_eq!((&fleet["plan"]["locks"], &fleet["plan"]["backups"]), (&json!(2), &json!(5)));
    let world = user.world();
    for vm in ["a-01", "b-02", "c-03", "d-04", "e-05"] {
        let id = &world.vm_named(vm).unwrap().id;
        assert!(world.succeeded_points(id) <= 18, "{vm}");
        assert_eq!(backups(&world, vm), 1, "{vm}");
    }
    // The runs are ordinary ones, and know their fleet.
    let id = fleet["fleet_id"].as_str().unwrap();
    let runs = user.json("runs list");
    assert_eq!(runs["runs"].as_array().unwrap().len(), 5);
    let mut seen = BTreeSet::new();
    for run in runs["runs"].as_array().unwrap() {
        assert_eq!(run["fleet_id"], id, "{run}");
        let run = run["run_id"].as_str().unwrap();
        assert!(seen.insert(run.get(..13).unwrap().to_owned()), "the short form of an id names one run");
        assert_eq!(user.json(&format!("runs show {run}"))["status"], "succeeded");
    }
    let list = user.run("runs list");
    assert!(list.out.contains("fleet"), "{}", list.out);
    // The fleet from its record is the fleet as it ended.
    let shown = user.json(&format!("runs show {}", id.get(..18).unwrap()));
    valid(&shown);
    assert_eq!((&shown["status"], &shown["counts"]["succeeded"]), (&json!("succeeded"), &json!(5)));
    // One of them is taken back by itself.
    let shared =
        fleet["results"].as_array().unwrap().iter().find(|one| !one["locks_removed"].as_array().unwrap().is_empty());
    let run = shared.unwrap()["run_id"].as_str().unwrap();
    assert!(user.locks().is_empty());
    user.run(&format!("runs undo {run} --yes -o json"));
    assert_eq!(user.locks(), ["shared"]);
    // Nothing is left to do.
    let again = user.fleet(&format!("fix --retry-failed {id} --yes"));
    assert_eq!(
        (&again["status"], &again["exit_code"], &again["counts"]["vms"]),
        (&json!("nothing_to_do"), &json!(0), &json!(0))
    );
}

#[test]
fn locks_come_back_when_that_was_asked_for() {
    let user = User::new();
    let fleet = user.fleet(&format!("{FIX} --yes --relock --ramp 100% --concurrency 16"));
    assert_eq!(fleet["exit_code"], 0, "{fleet:#}");
    assert_eq!(user.locks(), ["own", "shared"]);
    assert_eq!(fleet["counts"]["succeeded"], 5);
}

/// When each run began and ended, by VM, from the journals.
pub(crate) fn intervals(user: &User) -> Vec<(String, String, String)> {
    let runs = user.json("runs list");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    runs["runs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| (name(&run["vm"]), text(&run["started"]), text(&run["last"])))
        .collect()
}

#[test]
fn the_same_lock_scope_is_never_worked_on_by_two() {
    let user = User::new();
    let fleet = user.fleet(&format!("{FIX} --yes --ramp 100% --concurrency 16"));
    assert_eq!(fleet["exit_code"], 0, "{fleet:#}");
    let all = intervals(&user);
    let shared = |vm: &str| ["a-01", "b-02", "c-03"].contains(&vm);
    let mut beside = 0;
    for (index, (vm, from, to)) in all.iter().enumerate() {
        for (other, since, until) in all.iter().skip(index + 1) {
            let overlap = from < until && since < to;
            assert!(!(overlap && shared(vm) && shared(other)), "{vm} {from} {to}, {other} {since} {until}");
            beside += usize::from(overlap);
        }
    }
    assert!(beside > 0, "runs of other groups go on beside each other: {all:?}");
    // One at a time: no two overlap at all.
    let user = User::new();
    assert_eq!(user.fleet(&format!("{FIX} --yes --ramp 100% --concurrency 1"))["exit_code"], 0);
    let mut all = intervals(&user);
    all.sort_by(|a, b| a.1.cmp(&b.1));
    assert!(all.windows(2).all(|pair| pair[0].2 <= pair[1].1), "{all:?}");
}

#[test]
fn a_failing_canary_stops_the_rest_and_retry_takes_up_exactly_what_is_left() {
    let user = User::of(&hopeless_and_unlocked("a-01"));
    let fleet = user.fleet(&format!("{FIX} --yes"));
    assert_eq!((&fleet["status"], &fleet["exit_code"]), (&json!("failed"), &json!(9)), "{fleet:#}");
    assert_eq!(by_status(&fleet, "failed"), ["a-01"]);
    assert_eq!(names(&fleet["not_started"]), ["b-02", "c-03", "d-04", "e-05"]);
    assert!(fleet["not_started"].as_array().unwrap().iter().all(|one| one["reason"] == "failures"));
    let world = user.world();
    for vm in ["b-02", "c-03", "d-04", "e-05"] {
        assert_eq!(world.succeeded_points(&world.vm_named(vm).unwrap().id), 20, "{vm} is as it was");
    }
    let id = fleet["fleet_id"].as_str().unwrap();
    let next = fleet["next"].as_str().unwrap();
    assert!(next.ends_with(&format!("fix --retry-failed {}", id.get(..18).unwrap())), "{next}");
    let page = user.run(&format!("runs show {id}"));
    assert!(page.out.contains("1 failed, 4 not started") && page.out.contains("--retry-failed"), "{}", page.out);

    let again = user.fleet(&format!("fix --retry-failed {id} --yes --max-failures 2 --ramp 100%"));
    assert_eq!(again["retry_of"], id);
    assert_eq!(by_status(&again, "succeeded"), ["b-02", "c-03", "d-04", "e-05"]);
    // It is planned anew, with the same playbook, and fails again: it is all that the next retry finds.
    assert_eq!(by_status(&again, "failed"), ["a-01"], "{again:#}");
    assert_eq!((&again["status"], &again["exit_code"]), (&json!("partial"), &json!(9)));
    let second = again["fleet_id"].as_str().unwrap();
    let third = user.fleet(&format!("fix --retry-failed {second} --dry-run"));
    let looked: BTreeSet<String> = names(&third["results"]).into_iter().chain(names(&third["not_planned"])).collect();
    assert_eq!(looked.into_iter().collect::<Vec<_>>(), ["a-01"]);
}

#[test]
fn failures_are_borne_when_that_was_asked_for() {
    let user = User::of(&hopeless_and_unlocked("b-02"));
    let fleet = user.fleet(&format!("{FIX} --yes --max-failures 3 --concurrency 1"));
    assert_eq!(by_status(&fleet, "failed"), ["b-02"], "{fleet:#}");
    assert_eq!(by_status(&fleet, "succeeded"), ["a-01", "c-03", "d-04", "e-05"]);
    assert_eq!((&fleet["status"], &fleet["exit_code"]), (&json!("partial"), &json!(9)));
}

#[test]
fn more_changes_than_allowed_are_refused_before_anything() {
    let user = User::new();
    let plan = user.fleet(&format!("{FIX} --dry-run"));
    let needed = plan["plan"]["changes"].as_u64().unwrap();
    assert!(needed > 20, "{plan:#}");
    for line in [format!("{FIX} --yes --max-changes {}", needed - 1), format!("{FIX} --dry-run --max-changes 20")] {
        let fleet = user.fleet(&line);
        assert_eq!((&fleet["status"], &fleet["exit_code"]), (&json!("refused"), &json!(5)));
        assert_eq!(fleet["error"]["code"], "s9.max-changes");
        assert!(fleet["error"]["hint"].as_str().unwrap().contains(&format!("--max-changes {needed}")), "{fleet:#}");
        assert!(user.untouched(), "{line}");
    }
    assert_eq!(user.fleet(&format!("{FIX} --yes --max-changes {needed}"))["exit_code"], 0);
    // The limit of one VM stays the planner's: no number of the fleet lifts it.
    let many = ESTATE.replace(
        "- { of: a-01, points: [{ count: 20, newest: 34h }] }",
        "- { of: a-01, points: [{ count: 60, newest: 34h }] }",
    );
    let user = User::of(&many);
    let fleet = user.fleet(&format!("{FIX} --dry-run --max-changes 500"));
    let a = fleet["not_planned"].as_array().unwrap().iter().find(|one| name(&one["vm"]) == "a-01").unwrap();
    assert_eq!(a["code"], "s9.max-changes", "{a}");
    let hint = a["hint"].as_str().unwrap();
    assert!(hint.contains("--vm /subscriptions/") && hint.contains("--max-changes"), "{hint}");
    assert_eq!(fleet["exit_code"], 3);
}

#[test]
fn nobody_was_asked_so_nothing_is_changed() {
    let user = User::new();
    let fleet = user.fleet(FIX);
    assert_eq!((&fleet["exit_code"], &fleet["error"]["code"]), (&json!(5), &json!("not_confirmed")));
    assert!(user.untouched());
    let page = user.run(FIX);
    assert_eq!(page.code, 5);
    assert!(page.err.contains("rp-collection-limit on 5 VMs") && page.err.contains("and 2 more"), "{}", page.err);
    assert!(page.err.contains("2 locks removed") && page.err.contains("5 backups"), "{}", page.err);
    // The fourth and the fifth have a line each, and the lock of the fourth is shown with its notes all the same.
    assert!(page.err.contains("notes \"mine\""), "{}", page.err);
    let plain = page.err.lines().filter(|line| !line.contains("/subscriptions/"));
    for line in plain {
        assert!(line.chars().count() <= 80, "{line:?}");
    }
}

const FAST: ServerOptions = ServerOptions { port: 0, speed: 60, token_life: Duration::from_secs(3600) };

/// The embedded Azure served over HTTP. Its backups are not due soon, whenever this runs.
pub(crate) fn serving() -> Serving {
    let hour = SystemClock.now().to_string().get(11..13).unwrap().parse::<u32>().unwrap();
    let later = ESTATE.replace("at: \"23:00\"", &format!("at: \"{:02}:00\"", (hour + 12) % 24));
    assert!(hour == 11 || later != ESTATE);
    let estate = Estate::parse(&later, "estate.yaml").unwrap();
    Serving::on(Sim::new(World::from_estate(&estate)), FAST)
}

/// azmend against an embedded Azure that is served over HTTP, where every request is counted.
pub(crate) fn client(serving: &Serving, dir: &Path, line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_azmend"));
    command.args(line.split_whitespace()).env_clear().current_dir(dir).env("AZMEND_STATE_DIR", dir.join("state"));
    command.env("AZMEND_ARM_ENDPOINT", &serving.base).env("AZMEND_AUTH", "managed-identity");
    command.env("IDENTITY_ENDPOINT", &serving.identity_endpoint).env("IDENTITY_HEADER", serving.identity.secret());
    name_scope(&mut command, line);
    command
}

pub(crate) fn served(serving: &Serving, dir: &Path, line: &str) -> (i32, Value) {
    let output = client(serving, dir, line).output().unwrap();
    let value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("{line}: {e}: {}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code().unwrap(), value)
}

#[test]
fn a_dry_run_sends_nothing_that_changes() {
    let serving = serving();
    let dir = tempfile::tempdir().unwrap();
    let sent = || serving.sim.log().into_iter().filter(|exchange| exchange.mutating).count();
    for line in [
        format!("{FIX} --dry-run -o json"),
        "fix auto --all --dry-run -o json".to_owned(),
        format!("{FIX} --yes --max-changes 3 -o json"),
    ] {
        let (code, fleet) = served(&serving, dir.path(), &line);
        assert_eq!(code, if line.contains("--yes") { 5 } else { 3 }, "{fleet:#}");
        // The lock over its backup group is a problem of the well one too.
        let mut found = names(&fleet["results"]);
        found.retain(|vm| !(vm == "well-06" && line.contains("auto")));
        assert_eq!(found, ["a-01", "b-02", "c-03", "d-04", "e-05"], "{line}");
        // The server says in its answers what it is.
        assert_eq!(fleet["sandbox"], true);
        assert_eq!(sent(), 0, "{line}");
    }
    assert!(serving.sim.log().len() > 20, "it did look");
    assert!(!dir.path().join("state/fleets").exists());
}

#[cfg(unix)]
#[test]
fn a_signal_pauses_what_runs_and_nothing_else_begins() {
    use std::io::{BufRead as _, BufReader};

    let serving = serving();
    let dir = tempfile::tempdir().unwrap();
    let line = format!("{FIX} --yes --relock -o jsonl");
    let mut command = client(&serving, dir.path(), &line);
    let mut child = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::null()).spawn().unwrap();
    let (mut last, mut sent) = (Value::Null, false);
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        last = serde_json::from_str(&line.unwrap()).unwrap();
        if !sent && last["event"] == "lock_note" {
            sent = true;
            assert!(Command::new("kill").arg("-TERM").arg(child.id().to_string()).status().unwrap().success());
        }
    }
    assert!(sent, "{last}");
    assert_eq!((child.wait().unwrap().code(), &last["status"]), (Some(7), &json!("paused")), "{last:#}");
    valid(&last);
    assert_eq!(by_status(&last, "paused"), ["a-01"]);
    assert_eq!(names(&last["not_started"]), ["b-02", "c-03", "d-04", "e-05"]);
    assert!(last["not_started"].as_array().unwrap().iter().all(|one| one["reason"] == "interrupted"));
    assert!(serving.sim.world().locks.iter().any(|lock| lock.id.name() == "shared"), "it was put back");
}

#[cfg(unix)]
#[test]
fn a_kill_between_two_vms_loses_nothing_and_does_nothing_twice() {
    use std::io::{BufRead as _, BufReader};

    let serving = serving();
    let dir = tempfile::tempdir().unwrap();
    // Locks alone: a backup would take minutes of the real clock.
    let line = "fix unlock-backup-groups --all --yes --ramp 100% --concurrency 1 -o jsonl";
    let mut command = client(&serving, dir.path(), line);
    let mut child = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::null()).spawn().unwrap();
    // The second VM begins: what became of the first stands in its run and in the record.
    let mut seen = BTreeSet::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let event: Value = serde_json::from_str(&line.unwrap()).unwrap();
        seen.insert(name(&event["vm"]));
        if seen.len() == 2 {
            // While it is under way nobody takes it up again, and nobody is told to. It is held still for that.
            assert!(Command::new("kill").arg("-STOP").arg(child.id().to_string()).status().unwrap().success());
            let record = std::fs::read_dir(dir.path().join("state/fleets")).unwrap().next().unwrap().unwrap().path();
            let id = record.file_stem().unwrap().to_str().unwrap().to_owned();
            let (code, busy) =
                served(&serving, dir.path(), &format!("fix --retry-failed {id} --yes --ramp 100% -o json"));
            assert_eq!((code, &busy["error"]["code"]), (5, &json!("busy")), "{busy:#}");
            let (_, shown) = served(&serving, dir.path(), &format!("runs show {id} -o json"));
            valid(&shown);
            assert_eq!(names(&shown["not_started"]), ["c-03", "d-04", "well-06"], "{shown:#}");
            assert!(shown["not_started"].as_array().unwrap().iter().all(|one| one["reason"] == "waiting"), "{shown:#}");
            assert!(shown["warnings"][0].as_str().unwrap().contains("still running (pid "), "{shown:#}");
            assert!(shown["next"].as_str().unwrap().ends_with(&format!("runs show {}", id.get(..18).unwrap())));
            child.kill().unwrap();
            break;
        }
    }
    assert_eq!(child.wait().unwrap().code(), None, "killed");
    let record = std::fs::read_dir(dir.path().join("state/fleets")).unwrap().next().unwrap().unwrap().path();
    let id = record.file_stem().unwrap().to_str().unwrap().to_owned();
    let (_, shown) = served(&serving, dir.path(), &format!("runs show {id} -o json"));
    valid(&shown);
    assert_eq!(by_status(&shown, "succeeded"), ["a-01"], "{shown:#}");
    assert_eq!(names(&shown["not_started"]), ["c-03", "d-04", "well-06"]);
    assert!(shown["next"].as_str().unwrap().contains("--retry-failed"), "{shown:#}");
    // Its run is over first, then the fleet's others are done.
    let (_, runs) = served(&serving, dir.path(), "runs list -o json");
    let open = runs["runs"].as_array().unwrap().iter().find(|run| name(&run["vm"]) == "b-02").unwrap();
    let (code, resumed) =
        served(&serving, dir.path(), &format!("runs resume {} --yes -o json", open["run_id"].as_str().unwrap()));
    assert_eq!(code, 0, "{resumed:#}");
    let (code, again) = served(&serving, dir.path(), &format!("fix --retry-failed {id} --yes -o json"));
    assert_eq!((code, by_status(&again, "succeeded").contains(&"d-04".to_owned())), (0, true), "{again:#}");
    assert!(serving.sim.world().locks.is_empty(), "{:?}", serving.sim.world().locks);
    let log = serving.sim.log();
    let removed: Vec<&String> = log.iter().filter(|one| one.method == "DELETE").map(|one| &one.path).collect();
    assert_eq!(removed.len(), 2, "each lock once: {removed:#?}");
}

#[test]
fn a_dry_run_names_the_command_that_does_it() {
    let user = User::new();
    let line = format!(
        "{FIX} -s {SHOP} --resource-group rg-shop --vault v --ramp 2,100% --concurrency 2 --max-failures 2 --relock"
    );
    let fleet = user.fleet(&format!("{line} --dry-run"));
    assert_eq!(names(&fleet["results"]), ["a-01", "b-02", "c-03", "d-04"]);
    assert_eq!(fleet["waves"], json!([2, 2]));
    assert!(user.untouched());
    let next = fleet["next"].as_str().unwrap();
    let words = next.strip_prefix("azmend --sandbox=estate.yaml ").unwrap().replace('\'', "");
    let done = user.fleet(&format!("{words} --yes"));
    assert_eq!((&done["exit_code"], &done["waves"]), (&json!(0), &json!([2, 2])), "{next}");
    assert_eq!(user.locks(), ["own", "shared"]);
    let world = user.world();
    assert_eq!(world.succeeded_points(&world.vm_named("e-05").unwrap().id), 20, "it was not in the scope");
}

#[test]
fn auto_gives_each_vm_its_own_playbook() {
    let two = ESTATE.replace(
        "{ name: well-06, protection: { vault: v, policy: p, jobs: [{ age: 10h, status: completed }] } }",
        "{ name: well-06, state: failed, protection: { vault: v, policy: p, jobs: [{ age: 10h, status: failed, error: UserErrorVmProvisioningStateFailed }] } }",
    );
    assert_ne!(two, ESTATE);
    let user = User::of(&two);
    let fleet = user.fleet("fix auto --all --yes --relock");
    assert_eq!(fleet["exit_code"], 0, "{fleet:#}");
    let playbooks: BTreeSet<&str> =
        fleet["results"].as_array().unwrap().iter().map(|one| one["playbook"].as_str().unwrap()).collect();
    assert_eq!(playbooks, BTreeSet::from(["failed-vm", "rp-collection-limit"]));
    assert!(user.world().vm_named("well-06").unwrap().provisioned);
}

#[test]
fn a_file_is_a_hint_and_every_vm_is_read_anew() {
    let user = User::new();
    assert_eq!(user.run("audit --out audit.json").code, 3);
    // Meanwhile b-02 was repaired by somebody.
    assert_eq!(user.run("fix rp-collection-limit --vm b-02 --yes --relock -q").code, 0);
    let file = user.home.path().join("audit.json");
    let mut audit: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    // And a VM of the file is gone.
    let mut gone =
        audit["findings"].as_array().unwrap().iter().find(|one| one["rule"] == "rp-collection-limit").unwrap().clone();
    let id = gone["resource"].as_str().unwrap().rsplit_once('/').unwrap().0.to_owned() + "/ghost-99";
    gone["resource"] = id.into();
    audit["findings"].as_array_mut().unwrap().push(gone.clone());
    std::fs::write(&file, audit.to_string()).unwrap();
    let fleet = user.fleet(&format!("{FIX} --from audit.json --yes --relock"));
    assert_eq!(by_status(&fleet, "succeeded"), ["a-01", "c-03", "d-04", "e-05"], "{fleet:#}");
    assert_eq!(names(&fleet["not_planned"]), ["b-02", "ghost-99"]);
    let why = |vm: &str| {
        let list = fleet["not_planned"].as_array().unwrap();
        list.iter().find(|one| name(&one["vm"]) == vm).unwrap()["reason"].as_str().unwrap().to_owned()
    };
    // The backup that repaired it may still be transferred: then it is waited for.
    assert!(["nothing_to_do", "waiting"].contains(&why("b-02").as_str()) && why("ghost-99") == "refused");
    assert_eq!(backups(&user.world(), "b-02"), 1, "no second backup");
    assert_eq!(fleet["exit_code"], 6, "partly: one VM is not there");
    assert_eq!(user.locks(), ["own", "shared"]);
    // With a subscription, only the VMs in it.
    let fleet = user.fleet(&format!("{FIX} --from audit.json -s {BRANCH} --dry-run"));
    assert_eq!(fleet["counts"]["vms"], 1);
    // Another world, another kind of file, ids that are none.
    let wrong = |change: &dyn Fn(&mut Value)| {
        let mut other = audit.clone();
        change(&mut other);
        std::fs::write(user.home.path().join("wrong.json"), other.to_string()).unwrap();
        user.run(&format!("{FIX} --from wrong.json --yes"))
    };
    let done = wrong(&|audit| audit["sandbox"] = false.into());
    assert!(done.code == 5 && done.err.contains("an audit of Azure, this is the sandbox"), "{}", done.err);
    let done = wrong(&|audit| audit["schema"] = "azmend.result/v1".into());
    assert!(done.code == 2 && done.err.contains("is not an audit"), "{}", done.err);
    for id in ["../../x", "/subscriptions/x/../y", "/subscriptions/a\u{1b}]0;x\u{7}", "web-01", ""] {
        let done =
            wrong(&|audit| audit["findings"].as_array_mut().unwrap().last_mut().unwrap()["resource"] = id.into());
        assert!(done.code == 2 && done.err.contains("rp-collection-limit"), "{id}: {}", done.err);
        assert!(!done.err.contains(|c: char| c.is_control() && c != '\n'), "{:?}", done.err);
    }
    assert_eq!(user.run(&format!("{FIX} --from none.json")).code, 2);
}

#[test]
fn a_fleet_that_was_killed_is_taken_up_from_its_record() {
    // c-03 fails, so the record has one of each kind: done, failed, not started.
    let user = User::of(&hopeless_and_unlocked("c-03"));
    let fleet = user.fleet(&format!("{FIX} --yes --concurrency 1"));
    assert_eq!(by_status(&fleet, "succeeded"), ["a-01", "b-02"], "{fleet:#}");
    assert_eq!(names(&fleet["not_started"]), ["d-04", "e-05"]);
    // Killed between two VMs: the record says no end, d-04 was about to begin and has no run yet, e-05 waits; and what
    // became of c-03 stands in its run's journal alone.
    let path = user.record();
    let text = std::fs::read_to_string(&path).unwrap();
    let c = text.lines().skip(1).find(|line| line.contains("\"failed\"")).unwrap();
    let mut record: String = text.lines().take_while(|line| *line != c).map(|line| format!("{line}\n")).collect();
    let index = |vm: &str| {
        let head: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        head["vms"].as_array().unwrap().iter().position(|one| name(&one["vm"]) == vm).unwrap()
    };
    let run = "01930000-0000-7000-8000-000000000009";
    let begun = json!({ "vm": { "index": index("d-04"), "stage": "begun", "run": run, "status": "", "why": "" } });
    record.push_str(&format!("{begun}\n{{\"vm\":{{\"index\":{}", index("e-05")));
    std::fs::write(&path, &record).unwrap();
    let id = fleet["fleet_id"].as_str().unwrap();
    let shown = user.json(&format!("runs show {id}"));
    valid(&shown);
    assert_eq!(names(&shown["not_started"]), ["d-04", "e-05"]);
    assert_eq!(by_status(&shown, "failed"), ["c-03"]);
    let again = user.fleet(&format!("fix --retry-failed {id} --yes --max-failures 5"));
    assert_eq!(by_status(&again, "succeeded"), ["d-04", "e-05"], "{again:#}");
    assert_eq!(by_status(&again, "failed"), ["c-03"]);
    let world = user.world();
    for vm in ["a-01", "b-02"] {
        assert_eq!(backups(&world, vm), 1, "{vm} was done and is left alone");
    }
    // A record that was edited into something else is not guessed at.
    std::fs::write(&path, record.replace("fleet-record/v1", "fleet-record/v9")).unwrap();
    let done = user.run(&format!("fix --retry-failed {id} --yes"));
    assert!(done.code == 2 && done.err.contains("is not the record of a fleet"), "{}", done.err);
}

#[test]
fn a_run_that_is_not_over_is_left_to_be_resumed() {
    let user = User::new();
    // The first VM pauses at the deadline; the others never begin.
    let fleet = user.fleet(&format!("{FIX} --yes --relock --deadline 90s"));
    assert_eq!((&fleet["exit_code"], &fleet["status"]), (&json!(7), &json!("paused")), "{fleet:#}");
    assert_eq!(by_status(&fleet, "paused"), ["a-01"]);
    assert!(fleet["not_started"].as_array().unwrap().iter().all(|one| one["reason"] == "deadline"), "{fleet:#}");
    assert_eq!(user.locks(), ["own", "shared"]);
    let id = fleet["fleet_id"].as_str().unwrap();
    let dry = user.fleet(&format!("fix --retry-failed {id} --dry-run"));
    assert_eq!(names(&dry["results"]), ["b-02", "c-03", "d-04", "e-05"]);
    let warning = dry["warnings"][0].as_str().unwrap();
    assert!(warning.contains("a-01 is skipped") && warning.contains("runs resume"), "{warning}");
    let run = fleet["results"][0]["run_id"].as_str().unwrap();
    assert_eq!(user.json(&format!("runs resume {run} --yes"))["status"], "succeeded");
    let dry = user.fleet(&format!("fix --retry-failed {id} --dry-run"));
    assert_eq!((names(&dry["results"]).len(), dry["warnings"].as_array().unwrap().len()), (4, 0));
}

#[test]
fn a_retry_is_for_a_fleet_of_the_same_place() {
    let user = User::of(&hopeless("a-01"));
    let id = user.fleet(&format!("{FIX} --yes"))["fleet_id"].as_str().unwrap().to_owned();
    let run = user.json("runs list")["runs"][0]["run_id"].as_str().unwrap().to_owned();
    let done = user.run(&format!("fix --retry-failed {run}"));
    assert!(done.code == 2 && done.err.contains(&format!("a run of the fleet {id}")), "{}", done.err);
    for wrong in ["zz", "ffff", ""] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_azmend"));
        command.env_clear().env("AZMEND_STATE_DIR", user.state()).current_dir(user.home.path());
        let output = command.args(["--sandbox=estate.yaml", "fix", "--retry-failed", wrong]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{wrong}");
    }
    std::fs::write(user.home.path().join("estate.yaml"), ESTATE).unwrap();
    let done = user.run(&format!("fix --retry-failed {id}"));
    assert!(done.code == 5 && done.err.contains("estate"), "{}", done.err);
    // Beginning anew forgets the fleets of that world with their runs.
    assert_eq!(user.run("runs prune --older-than 1s").code, 0);
}

#[test]
fn what_cannot_be_read_is_said_and_stops_nobody_else() {
    let closed = format!(
        "{ESTATE}permissions:\n  - {{ scope: /subscriptions/{SHOP}, actions: [\"*\"] }}\n  - {{ scope: /subscriptions/{BRANCH}, actions: [\"Microsoft.Resources/subscriptions/read\"] }}\n"
    );
    let user = User::of(&closed);
    let fleet = user.fleet(&format!("{FIX} --yes"));
    assert_eq!(by_status(&fleet, "succeeded"), ["a-01", "b-02", "c-03", "d-04"], "{fleet:#}");
    assert_eq!(fleet["exit_code"], 6);
    let unread = fleet["not_read"].as_array().unwrap();
    assert!(unread.iter().any(|one| one["what"].as_str().unwrap().contains("Contoso Branch")), "{unread:?}");
    let page = user.run(&format!("{FIX} --dry-run"));
    assert!(page.out.contains("not read") && page.out.contains("Contoso Branch"), "{}", page.out);
}

#[test]
fn names_of_azure_do_not_control_the_terminal() {
    let hostile = ESTATE
        .replace("notes: \"all of us\"", "notes: \"\\e]0;x\\a\\u202egpj\"")
        .replace("c-03", "복원-지점-컬렉션-03-with-a-name-that-is-rather-long-for-a-line-of-80-columns");
    let user = User::of(&hostile);
    let lines = [
        format!("{FIX} --dry-run --color never"),
        format!("{FIX} --dry-run -o json"),
        format!("{FIX} --yes --color never"),
        "runs list --color never".to_owned(),
    ];
    for line in lines {
        let done = user.run(&line);
        let bad = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!done.out.contains(bad) && !done.err.contains(bad), "{line}: {:?}{:?}", done.out, done.err);
        assert!(matches!(done.code, 0 | 3), "{line}: {}{}", done.out, done.err);
    }
    let world = user.world();
    assert!(world.succeeded_points(&world.vm_named("a-01").unwrap().id) <= 18);
}

#[test]
fn events_name_their_vm_and_the_object_comes_last() {
    let user = User::new();
    let done = user.run(&format!("{FIX} --yes -q -o jsonl --ramp 100%"));
    assert_eq!(done.code, 0, "{}", done.err);
    let lines: Vec<Value> = done.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (last, events) = lines.split_last().unwrap();
    valid(last);
    let vms: BTreeSet<String> = events.iter().map(|event| name(&event["vm"])).collect();
    assert_eq!(vms.len(), 5);
    assert!(events.iter().all(|event| event["schema"] == "azmend.event/v1" && event["run_id"].is_string()));
    // The way back by hand is said in any case.
    assert!(done.err.contains("az lock create --name shared"), "{}", done.err);
}

#[test]
fn without_a_question_the_scope_has_to_be_named() {
    let user = User::new();
    // Nothing listens there: what is refused for its scope is refused before anything is asked.
    const AZURE: &str = "--arm-endpoint http://127.0.0.1:9";
    let run = |place: &str, line: &str, env: &[(&str, &str)]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_azmend"));
        command.env_clear().env("AZMEND_STATE_DIR", user.state()).envs(env.iter().copied());
        command.current_dir(user.home.path()).args(place.split(' ')).args(line.split_whitespace());
        let output = command.args(["-o", "json"]).output().unwrap();
        let value: Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code().unwrap(), value["error"]["code"].clone(), value)
    };
    let (code, refused, why) = run(AZURE, &format!("{FIX} --yes"), &[("AZURE_SUBSCRIPTION_ID", SHOP)]);
    assert_eq!((code, &refused), (2, &json!("scope_not_named")), "{why:#}");
    let narrowed = run(AZURE, &format!("{FIX} --yes --resource-group rg-shop"), &[]).1;
    assert_eq!(narrowed, "scope_not_named", "a group can be in several subscriptions");
    assert_ne!(run(AZURE, &format!("{FIX} --yes -s {BRANCH}"), &[]).1, "scope_not_named");
    assert!(user.untouched());
    const SANDBOX: &str = "--sandbox=estate.yaml";
    assert_eq!(run(SANDBOX, &format!("{FIX} --dry-run"), &[]).0, 3, "looking needs none");
    assert_eq!(run(SANDBOX, &format!("{FIX} --yes -s {BRANCH}"), &[]).0, 0);
    assert_ne!(run(SANDBOX, &format!("{FIX} --yes"), &[]).1, "scope_not_named", "nothing in it is real");
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_asked() {
    let user = User::new();
    for line in [
        "fix backup-now --all --yes",
        "fix stale-collections-of-deleted-vm --all --yes",
        "fix rp-colection-limit --all",
        "fix rp-collection-limit --all --set nonsense=1",
        "fix rp-collection-limit --all --resource-group ../x",
        "fix rp-collection-limit --all --resource-group rg-nowhere",
        "fix rp-collection-limit --all --vault no-vault",
        "fix rp-collection-limit --all --tag env",
        "fix rp-collection-limit --all --ramp 10%,1,100%",
        "fix rp-collection-limit --all --vm a-01",
        "fix rp-collection-limit --all -s nobody",
        "fix --retry-failed 0199",
    ] {
        assert_eq!(user.run(line).code, 2, "{line}");
    }
    assert_eq!(user.run("fix rp-collection-limit --all --relock --set cleanup=service").code, 5);
    assert!(user.untouched());
}
