//! What a run knows of the runs before it on this machine, and of one whose plan is lost.

use std::process::Command;

use serde_json::{Value, json};

/// The program on an estate, with a state directory of its own.
struct User {
    dir: tempfile::TempDir,
    estate: String,
}

const ESTATE: &str = r#"apiVersion: azmend/estate/v1
name: earlier
now: 2020-03-04T09:00:00Z
subscriptions:
  - name: Fabrikam
    groups:
      - name: rg-app
        location: westeurope
        vms:
          - name: app-01
            protection:
              vault: vault-01
              policy: daily
              points: { count: 5, newest: 25d, tier: vault }
              jobs: [{ age: 10h, status: failed, error: UserErrorRpCollectionLimitReached }]
        vaults:
          - name: vault-01
            policies: [{ name: daily, snapshot_days: 2, vault_days: 60, at: "23:00" }]
      - name: AzureBackupRG_westeurope_1
        managed_by: backup
        locks: [{ name: keep, level: CanNotDelete, notes: Set by the landing zone }]
        collections:
          - { of: app-01, points: [{ count: 19, newest: 34h, every: 1d }] }
"#;

impl User {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("estate.yaml"), ESTATE).unwrap();
        Self { dir, estate: "--sandbox=estate.yaml".into() }
    }

    fn json(&self, line: &str) -> Value {
        let mut command = Command::new(env!("CARGO_BIN_EXE_azmend"));
        command.env_clear().env("AZMEND_STATE_DIR", self.dir.path().join("state")).current_dir(self.dir.path());
        let output = command.arg(&self.estate).args(line.split_whitespace()).args(["-o", "json"]).output().unwrap();
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{line}: {error}\n{}", String::from_utf8_lossy(&output.stderr)))
    }

    fn plan_of(&self, run: &str) -> std::path::PathBuf {
        self.dir.path().join("state/runs").join(run).join("plan.json")
    }

    fn locks(&self) -> usize {
        self.json("sandbox show")["locks"].as_array().unwrap().len()
    }

    fn jobs(&self) -> usize {
        self.json("sandbox show")["jobs"].as_array().unwrap().len()
    }
}

fn run_of(result: &Value) -> String {
    result["run_id"].as_str().unwrap_or_else(|| panic!("{result:#}")).to_owned()
}

const FIX: &str = "fix rp-collection-limit --vm app-01 --yes";

#[test]
fn a_backup_whose_job_is_not_listed_yet_is_not_started_a_second_time() {
    let mut unseen = 0;
    // The request leaves about a minute and a half after the beginning; its job is known a minute later.
    for deadline in ["118s", "122s", "126s", "130s", "150s"] {
        let user = User::new();
        let first = user.json(&format!("{FIX} --deadline {deadline}"));
        assert_eq!(first["exit_code"], 7, "{deadline}: {first:#}");
        let before = user.jobs();
        let second = user.json(FIX);
        assert_eq!(second["exit_code"], 7, "{deadline}: {second:#}");
        unseen += usize::from(second["error"]["message"].as_str().unwrap().contains("not listed yet"));
        let resumed = user.json(&format!("runs resume {} --yes", run_of(&first)));
        assert_eq!((&resumed["exit_code"], &resumed["status"]), (&json!(0), &json!("succeeded")), "{resumed:#}");
        assert!(user.jobs() <= before.max(2), "{deadline}: one failed job of yesterday, one backup");
    }
    assert!(unseen > 0, "none of the deadlines falls between a request and its job");
}

#[test]
fn a_saved_plan_waits_for_the_job_of_a_backup_that_another_run_requested() {
    let user = User::new();
    assert_eq!(user.json("fix rp-collection-limit --vm app-01 --plan-out plan.json")["exit_code"], 0);
    let first = user.json(&format!("{FIX} --deadline 122s"));
    assert_eq!(first["exit_code"], 7, "{first:#}");
    let applied = user.json("apply plan.json --yes");
    let backup = applied["changes"].as_array().unwrap().iter().find(|change| change["step"] == "backup").unwrap();
    assert_ne!(backup["outcome"], "succeeded", "{applied:#}");
    let jobs = user.json("sandbox show")["jobs"].clone();
    let running = jobs.as_array().unwrap().iter().filter(|job| job["status"] == "InProgress").count();
    assert_eq!((running, user.jobs()), (1, 2), "one backup, and none that failed on it: {jobs:#}");
}

#[test]
fn a_run_whose_plan_is_lost_can_still_restore_its_locks() {
    for spoil in ["removed", "cut", "another run's"] {
        let user = User::new();
        let first = user.json(FIX);
        let run = run_of(&first);
        assert_eq!((first["exit_code"].clone(), user.locks()), (json!(0), 0), "{first:#}");
        let plan = user.plan_of(&run);
        match spoil {
            "removed" => std::fs::remove_file(&plan).unwrap(),
            "cut" => std::fs::write(&plan, &std::fs::read(&plan).unwrap()[..300]).unwrap(),
            _ => {
                let mut text = std::fs::read_to_string(&plan).unwrap();
                text = text.replace("earlier", "other").replace("app-01", "app-02");
                std::fs::write(&plan, text).unwrap();
            }
        }
        let list = user.json("runs list");
        let line = &list["runs"][0];
        assert_eq!((&line["locks_off"], &line["sandbox"]), (&json!(1), &json!(true)), "{spoil}: {list:#}");
        let resumed = user.json(&format!("runs resume {run} --yes"));
        assert_eq!(
            (&resumed["exit_code"], user.locks()),
            (&json!(5), 0),
            "{spoil}: nothing is done on it: {resumed:#}"
        );
        let undone = user.json(&format!("runs undo {run} --yes"));
        assert_eq!(undone["locks_removed"][0]["restored"], true, "{spoil}: {undone:#}");
        assert_eq!((&undone["exit_code"], &undone["error"]["code"]), (&json!(6), &json!("plan_lost")), "{undone:#}");
        assert_eq!(user.locks(), 1, "{spoil}");
        assert_eq!(user.json("runs list")["runs"][0]["locks_off"], 0, "{spoil}");
    }
}

#[test]
fn a_lost_plan_restores_nothing_in_another_world() {
    let mut user = User::new();
    let run = run_of(&user.json(FIX));
    std::fs::remove_file(user.plan_of(&run)).unwrap();
    std::fs::write(user.dir.path().join("other.yaml"), ESTATE.replace("name: earlier", "name: other")).unwrap();
    user.estate = "--sandbox=other.yaml".into();
    let undone = user.json(&format!("runs undo {run} --yes"));
    assert_eq!((&undone["exit_code"], &undone["error"]["code"]), (&json!(5), &json!("s13.world")), "{undone:#}");
}

#[test]
fn an_unlocking_of_a_run_whose_plan_is_lost_is_known_to_the_next_one() {
    let user = User::new();
    let first = user.json(&format!("{FIX} --set cleanup=service"));
    assert_eq!((&first["exit_code"], &first["error"]["code"]), (&json!(7), &json!("clean_up_pending")), "{first:#}");
    std::fs::remove_file(user.plan_of(&run_of(&first))).unwrap();
    let second = user.json(&format!("{FIX} --set cleanup=service"));
    assert_eq!(second["exit_code"], 7, "the clean-up is pending, and not in vain: {second:#}");
}

#[test]
fn the_age_of_a_sandbox_run_is_that_of_this_machine() {
    let user = User::new();
    let run = run_of(&user.json(&format!("{FIX} --relock")));
    let kept = user.json("runs prune --older-than 1d");
    assert_eq!(kept["removed"], json!([]), "it is minutes old, whatever the sandbox's time is: {kept:#}");
    let gone = user.json("runs prune --older-than 0s");
    assert_eq!(gone["removed"], json!([run]), "{gone:#}");
}

#[test]
fn a_stuck_run_that_cannot_be_resumed_is_still_stuck() {
    let user = User::new();
    let estate = format!(
        "{ESTATE}faults: [{{ id: f, match: {{ method: PUT, times: 99 }}, effect: {{ reply: {{ status: 403, code: AuthorizationFailed, message: no }} }} }}]\n"
    );
    std::fs::write(user.dir.path().join("estate.yaml"), estate).unwrap();
    let first = user.json(&format!("{FIX} --relock"));
    assert_eq!(first["exit_code"], 8, "{first:#}");
    let resumed = user.json(&format!("runs resume {} --yes", run_of(&first)));
    assert_eq!((&resumed["exit_code"], &resumed["status"]), (&json!(8), &json!("stuck")), "a lock is off: {resumed:#}");
}

#[test]
fn an_azure_that_cannot_be_asked_is_no_wrong_input() {
    let user = User::new();
    for (path, code) in [("virtualMachines", "503"), ("permissions", "500"), ("/subscriptions", "429")] {
        let estate = format!(
            "{ESTATE}faults: [{{ id: f, match: {{ method: GET, path_contains: {path}, times: 9999 }}, effect: {{ reply: {{ status: {code}, code: X, message: no }} }} }}]\n"
        );
        std::fs::write(user.dir.path().join("estate.yaml"), estate).unwrap();
        let result = user.json(FIX);
        assert_eq!(result["exit_code"], 7, "{path} {code}: {result:#}");
        assert!(result["retry_after"].as_u64().is_some(), "{result:#}");
    }
}
