//! One test for each deliberate defect that nothing else caught (`tests/defects/`): what must hold just before a request, at
//! its proof, when a run is taken up again, and between two processes.

use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use azmend::actions::change::ChangeKind;
use azmend::actions::locks::RemoveLock;
use azmend::clock::elapsed;
use azmend::engine::{Launch, Plan, RunResult, RunState, Silent, Status};
use azmend::journal::{Answer, Effect, EndKind, Ending, Event, JournalError, Purpose, Record, RunLog as _, State};
use azmend::sim::{Fault, FaultEffect, FaultMatch, World, WorldEvent};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::crash_matrix::{ask, scene};
use crate::matrix_support::{Scene, Tape, brief, carry_on, run};
use crate::support::{Ask, Lab, TestLog};

const FIX: &str = "rp-collection-limit";

/// A plan, then a change of the world that nobody told azmend of, then the run.
async fn changed(scene: &Scene, change: impl FnOnce(&mut World)) -> (RunResult, Lab, Plan) {
    let lab = scene.lab();
    // As a saved plan: what it was made from is not kept, and all is read again.
    let plan = Plan { facts: None, ..scene.plan(&lab).await };
    lab.sim.edit(change);
    let tape = Tape::new(&lab.sim, Vec::new(), false);
    let result = Box::pin(run(&lab, &plan, &tape).start()).await;
    (result, lab, plan)
}

fn refusals(result: &RunResult) -> Vec<&str> {
    result.changes.iter().filter_map(|change| change.error.as_ref()).map(|error| error.code.as_str()).collect()
}

fn sent(lab: &Lab, verb: &str, part: &str) -> usize {
    let part = part.to_lowercase();
    lab.mutations().iter().filter(|line| line.starts_with(verb) && line.to_lowercase().contains(&part)).count()
}

// ---- Just before a deletion

#[tokio::test]
async fn a_point_that_is_not_expired_any_more_stays() {
    let scene = scene(FIX, "web-01", ask(&[], false));
    let (result, lab, _) =
        changed(&scene, |world| world.policies.iter_mut().for_each(|policy| policy.snapshot_days = 300)).await;
    assert!(refusals(&result).contains(&"s8.not-expired"), "{}", brief(&result));
    assert_eq!(sent(&lab, "DELETE", "/restorePoints/"), 0);
}

#[tokio::test]
async fn a_collection_that_is_not_superseded_any_more_stays() {
    let scene = scene("delete-stale-collections", "db-03", ask(&[("unlock", "true")], false));
    let lab = scene.lab();
    let plan = Plan { facts: None, ..scene.plan(&lab).await };
    let whole = plan.changes().find_map(|(_, change)| match &change.what {
        ChangeKind::DeleteCollection(what) => Some(what.collection.id.clone()),
        _ => None,
    });
    let whole = whole.expect("a superseded collection");
    // Its points are of another machine now, as far as Azure says: the newer collection does not supersede them.
    lab.sim.edit(|world| {
        for collection in world.collections.iter_mut().filter(|collection| collection.id != whole) {
            collection.points.iter_mut().for_each(|point| point.vm_id.clear());
        }
    });
    let tape = Tape::new(&lab.sim, Vec::new(), false);
    let result = Box::pin(run(&lab, &plan, &tape).start()).await;
    assert!(refusals(&result).contains(&"s8.not-superseded"), "{}", brief(&result));
    assert_eq!(sent(&lab, "DELETE", "/restorePointCollections/"), 0, "{:?}", lab.mutations());
}

#[tokio::test]
async fn a_point_of_a_collection_that_was_made_again_stays() {
    let scene = scene(FIX, "web-01", ask(&[], false));
    let other = "0badc0de-0000-4000-8000-000000000001";
    let (result, lab, _) = changed(&scene, |world| {
        world.collections.iter_mut().for_each(|collection| collection.collection_id = other.into());
    })
    .await;
    assert!(refusals(&result).contains(&"s3.recreated"), "{}", brief(&result));
    assert_eq!(sent(&lab, "DELETE", "/restorePoints/"), 0);
}

#[tokio::test]
async fn a_point_with_another_time_stays() {
    let scene = scene(FIX, "web-01", ask(&[], false));
    let (result, lab, _) = changed(&scene, |world| {
        for point in world.collections.iter_mut().flat_map(|collection| &mut collection.points) {
            point.created = azmend::clock::earlier(point.created, Duration::from_secs(1));
        }
    })
    .await;
    assert!(refusals(&result).contains(&"s3.changed"), "{}", brief(&result));
    assert_eq!(sent(&lab, "DELETE", "/restorePoints/"), 0);
}

// ---- Locks

/// From now on every request of this kind meets this.
fn always(lab: &Lab, method: &str, path: &str, effect: FaultEffect) {
    lab.sim.edit(|world| {
        let when = FaultMatch {
            method: Some(method.into()),
            path_contains: Some(path.into()),
            nth: Some(1),
            times: Some(10_000),
        };
        world.faults.push(Fault { id: "always".into(), when, effect, seen: 0, fired: 0 });
    });
}

fn answer(status: u16, body: &Value) -> FaultEffect {
    let raw_body = Some(if status == 204 { String::new() } else { body.to_string() });
    FaultEffect::Reply { status, code: String::new(), message: String::new(), retry_after: None, raw_body }
}

/// A replica that has not yet heard of a lock answers 404: that is no proof, and the lock is still removed.
#[tokio::test]
async fn one_reading_that_misses_a_lock_does_not_skip_its_removal() {
    let scene = scene(FIX, "web-01", ask(&[], false));
    let lab = scene.lab();
    let plan = Plan { facts: None, ..scene.plan(&lab).await };
    let lock =
        lab.sim.world().locks.iter().find(|lock| plan_removes(&plan, &lock.id.to_string())).map(|lock| lock.id.clone());
    let lock = lock.expect("a lock that the plan removes");
    lab.sim.edit(|world| {
        let when = FaultMatch {
            method: Some("GET".into()),
            path_contains: Some(lock.to_string()),
            nth: Some(1),
            times: Some(1),
        };
        let effect = FaultEffect::Reply {
            status: 404,
            code: "LockNotFound".into(),
            message: "The lock was not found.".into(),
            retry_after: None,
            raw_body: None,
        };
        world.faults.push(Fault { id: "one".into(), when, effect, seen: 0, fired: 0 });
    });
    let tape = Tape::new(&lab.sim, Vec::new(), false);
    let result = Box::pin(run(&lab, &plan, &tape).start()).await;
    assert_eq!(lab.sim.world().faults.iter().map(|fault| fault.fired).sum::<u32>(), 1, "the fault was met");
    assert!(sent(&lab, "DELETE", "/locks/") > 0, "{}", brief(&result));
    assert!(sent(&lab, "DELETE", "/restorePoints/") > 0, "{}", brief(&result));
}

fn plan_removes(plan: &Plan, lock: &str) -> bool {
    plan.changes().any(|(_, change)| match &change.what {
        ChangeKind::RemoveLock(what) => what.lock.id.to_string().eq_ignore_ascii_case(lock),
        _ => false,
    })
}

#[tokio::test]
async fn a_lock_that_was_written_is_read_back_before_it_counts() {
    let scene = scene("unlock-backup-groups", "web-01", ask(&[], true));
    let lab = scene.lab();
    let plan = scene.plan(&lab).await;
    // Azure takes the request, and nothing comes of it.
    always(&lab, "PUT", "/locks/", answer(200, &json!({})));
    let log = Arc::new(TestLog::default());
    let result = lab.run(&plan, &log).start().await;
    assert!(lab.locks().is_empty(), "{:?}", lab.locks());
    assert_eq!((result.status, result.exit_code), (Status::Stuck, 8), "{}", brief(&result));
    assert!(result.locks_removed.iter().all(|lock| !lock.restored), "{result:#?}");
}

#[tokio::test]
async fn a_204_does_not_say_that_a_lock_is_gone() {
    let scene = scene("unlock-backup-groups", "web-01", ask(&[], false));
    let lab = scene.lab();
    let plan = scene.plan(&lab).await;
    always(&lab, "DELETE", "/locks/", answer(204, &json!({})));
    let tape = Tape::new(&lab.sim, Vec::new(), false);
    let run = run(&lab, &plan, &tape);
    let result = Box::pin(run.start()).await;
    assert_ne!(result.changes[0].outcome, "succeeded", "{}", brief(&result));
    assert_eq!(lab.locks(), ["no-delete"]);
    let result = Box::pin(carry_on(&lab, &run, result, 20)).await;
    assert_eq!(result.changes[0].outcome, "failed", "{}", brief(&result));
    let requests = sent(&lab, "DELETE", "/locks/");
    assert!((2..=6).contains(&requests), "{requests} requests");
}

#[tokio::test]
async fn a_lock_that_is_in_force_again_is_not_removed_again() {
    let scene = scene(FIX, "web-01", ask(&[("cleanup", "service")], false));
    let lab = scene.lab();
    let plan = scene.plan(&lab).await;
    let tape = Tape::new(&lab.sim, Vec::new(), false);
    let run = run(&lab, &plan, &tape);
    let result = Box::pin(run.start()).await;
    assert_eq!(result.status, Status::Paused, "{}", brief(&result));
    let event = WorldEvent::PutLockBack { id: "no-delete".into(), notes: None };
    assert!(lab.sim.edit(|world| world.apply_event(&event)));
    let result = Box::pin(carry_on(&lab, &run, result, 5)).await;
    assert_eq!(sent(&lab, "DELETE", "/locks/"), 1, "{}", brief(&result));
    assert_eq!(lab.locks(), ["no-delete"]);
}

/// The rules about locks are asked just before the request, too.
#[tokio::test]
async fn a_lock_that_could_not_be_written_back_any_more_stays() {
    let scene = scene("unlock-backup-groups", "web-01", ask(&[], false));
    let lab = scene.lab();
    let plan = scene.plan(&lab).await;
    lab.sim.edit(|world| world.revoke_permission("Microsoft.Authorization/locks/write"));
    let log = Arc::new(TestLog::default());
    let result = lab.run(&Plan { facts: None, ..plan }, &log).start().await;
    assert_eq!((sent(&lab, "DELETE", "/locks/"), lab.locks().as_slice()), (0, &["no-delete".to_owned()][..]));
    assert_eq!(refusals(&result), ["s6.cannot-restore"], "{}", brief(&result));
}

/// While Azure still enforces a removed lock, one of its replicas may even show it: nobody is accused for that.
#[tokio::test]
async fn one_late_reading_of_a_removed_lock_accuses_nobody() {
    let scene = scene(FIX, "web-01", ask(&[], true));
    let lab = scene.lab();
    let plan = scene.plan(&lab).await;
    let lock = scene.world.locks[0].clone();
    let body = json!({
        "id": lock.id.to_string(), "name": "no-delete", "type": "Microsoft.Authorization/locks",
        "properties": { "level": lock.level.as_str(), "notes": lock.notes },
    });
    // One look before the request, three that find it gone; then the one after the first deletion is refused as locked.
    lab.fault("GET", "/locks/no-delete", 5, answer(200, &body));
    let log = Arc::new(TestLog::default());
    let result = lab.run(&plan, &log).start().await;
    assert_eq!((result.status, refusals(&result).len()), (Status::Succeeded, 0), "{}", brief(&result));
    assert!(lab.sim.world().faults.iter().all(|fault| fault.fired == 1), "it was shown");
}

#[tokio::test]
async fn a_backup_waits_until_an_unlocking_is_known_everywhere() {
    let scene = scene(FIX, "web-01", ask(&[("cleanup", "service")], false));
    let lab = scene.lab();
    let plan = scene.plan(&lab).await;
    let tape = Tape::new(&lab.sim, Vec::new(), false);
    let _ = Box::pin(run(&lab, &plan, &tape).start()).await;
    let records = tape.all();
    let lock =
        plan.changes().find(|(_, change)| matches!(change.what, ChangeKind::RemoveLock(_))).unwrap().1.id.clone();
    let unlocked =
        records.iter().find(|record| matches!(&record.event, Event::Ended { change, .. } if *change == lock));
    let backup = records.iter().find(|record| matches!(&record.event, Event::Intent { verb, .. } if verb == "POST"));
    let (unlocked, backup) = (unlocked.unwrap().at, backup.unwrap().at);
    assert!(elapsed(unlocked, backup) >= Duration::from_secs(120), "{unlocked} {backup}");
}

// ---- Taking a run up again

#[tokio::test]
async fn a_run_older_than_a_day_is_not_resumed_and_its_locks_come_back() {
    let scene = scene(FIX, "web-01", ask(&[("cleanup", "service")], false));
    let lab = scene.lab();
    let plan = scene.plan(&lab).await;
    let tape = Tape::new(&lab.sim, Vec::new(), false);
    let run = run(&lab, &plan, &tape);
    let result = Box::pin(run.start()).await;
    assert_eq!(result.status, Status::Paused, "{}", brief(&result));
    lab.sim.clock().advance(Duration::from_secs(24 * 3600 + 60));
    let before = lab.mutations().len();
    let result = Box::pin(run.resume()).await;
    assert_eq!((result.status, result.exit_code), (Status::Partial, 6), "{}", brief(&result));
    assert_eq!(result.error.unwrap().code, "not_resumable");
    assert_eq!(lab.mutations().len(), before, "nothing was sent");
    let result = Box::pin(run.undo()).await;
    assert_eq!(result.exit_code, 0, "{}", brief(&result));
    assert_eq!(lab.locks(), ["no-delete"]);
}

/// The program on the built-in estate, with a state directory of its own.
struct User(tempfile::TempDir);

impl User {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn run(&self, line: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_azmend"));
        command.env_clear().env("AZMEND_STATE_DIR", self.0.path().join("state"));
        command.current_dir(self.0.path()).args(line.split_whitespace()).output().unwrap()
    }

    fn json(&self, line: &str) -> Value {
        let output = self.run(&format!("--sandbox {line} -o json"));
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{line}: {error}\n{}", String::from_utf8_lossy(&output.stderr)))
    }

    /// A run that waits for Azure Backup's clean-up, with a lock off; its id.
    fn paused(&self) -> String {
        let result = self.json("fix rp-collection-limit --vm web-01 --set cleanup=service --yes");
        assert_eq!(result["exit_code"], 7, "{result:#}");
        result["run_id"].as_str().unwrap().to_owned()
    }

    fn file(&self, run: &str, name: &str) -> std::path::PathBuf {
        self.0.path().join("state/runs").join(run).join(name)
    }
}

/// Changes the world that a saved run says it is for; the plan's and the journal's sums are made to fit again, as somebody
/// would have them who ran it as another identity in the first place.
#[tokio::main(flavor = "current_thread")]
async fn in_another_world(user: &User, run: &str, key: &str, value: &str) {
    let plan = user.file(run, "plan.json");
    let text = std::fs::read_to_string(&plan).unwrap();
    let mut made = Plan::parse(&text).unwrap();
    match key {
        "tenant" => made.world.tenant = value.to_owned(),
        _ => made.world.identity = value.to_owned(),
    }
    made.hash = made.compute_hash();
    let state = State::in_dir(&user.0.path().join("state"), false).unwrap();
    let loaded = azmend::journal::load(&state, run).await.unwrap();
    std::fs::remove_dir_all(user.file(run, "")).unwrap();
    let log = azmend::engine::launch::create(&state, &made, run).await.unwrap();
    for record in loaded.records {
        let event = match record.event {
            Event::Started { format, run, version, pid, .. } => {
                let origin = Some(Box::new(made.origin()));
                Event::Started { format, run, version, plan_hash: made.hash.clone(), pid, origin }
            }
            event => event,
        };
        log.append(record.at, event).await.unwrap();
    }
}

#[test]
fn a_run_of_another_identity_is_not_resumed_and_its_locks_can_still_be_restored() {
    let user = User::new();
    let run = user.paused();
    in_another_world(&user, &run, "identity", "somebody@contoso.example");
    let resumed = user.json(&format!("runs resume {run} --yes"));
    assert_eq!((&resumed["exit_code"], &resumed["error"]["code"]), (&json!(5), &json!("s13.world")), "{resumed:#}");
    let undone = user.json(&format!("runs undo {run} --yes"));
    assert_eq!(undone["exit_code"], 0, "{undone:#}");
    assert!(undone["locks_removed"].as_array().unwrap().iter().all(|lock| lock["restored"] == true), "{undone:#}");
}

#[test]
fn a_run_of_another_tenant_is_neither_resumed_nor_undone() {
    let user = User::new();
    let run = user.paused();
    in_another_world(&user, &run, "tenant", "0badc0de-0000-4000-8000-000000000002");
    for command in ["resume", "undo"] {
        let result = user.json(&format!("runs {command} {run} --yes"));
        assert_eq!((&result["exit_code"], &result["error"]["code"]), (&json!(5), &json!("s13.world")), "{result:#}");
    }
}

#[test]
fn a_damaged_journal_is_not_resumed_and_its_locks_come_back() {
    let user = User::new();
    let run = user.paused();
    let path = user.file(&run, "journal.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    // A line behind everything that removes the lock.
    let at = text.rfind("\"event\":\"paused\"").expect("a pause");
    let edited = format!("{}{}", &text[..at], text[at..].replacen("paused", "pausad", 1));
    std::fs::write(&path, edited).unwrap();
    let resumed = user.json(&format!("runs resume {run} --yes"));
    assert_eq!(
        (&resumed["exit_code"], &resumed["error"]["code"]),
        (&json!(5), &json!("journal_damaged")),
        "{resumed:#}"
    );
    let undone = user.json(&format!("runs undo {run} --yes"));
    assert!(undone["locks_removed"].as_array().unwrap().iter().all(|lock| lock["restored"] == true), "{undone:#}");
}

/// Wherever a journal is damaged, the locks that what is left of it names come back. (The line of the removal itself is all that
/// names its lock.)
#[test]
fn a_journal_that_is_damaged_anywhere_gives_its_locks_back() {
    for (damaged, before) in [(0, true), (1, true), (1, false)] {
        let user = User::new();
        let run = user.paused();
        let path = user.file(&run, "journal.jsonl");
        let text = std::fs::read_to_string(&path).unwrap();
        let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
        let intent = lines.iter().position(|line| line.contains("\"event\":\"intent\"")).unwrap();
        let at = if before { damaged } else { intent + damaged };
        assert!(at != intent && (at < intent) == before, "{text}");
        lines[at] = lines[at].replacen("\"at\":\"2", "\"at\":\"3", 1);
        std::fs::write(&path, lines.concat()).unwrap();
        let undone = user.json(&format!("runs undo {run} --yes"));
        let locks = undone["locks_removed"].as_array().unwrap();
        assert!(locks.len() == 1 && locks[0]["restored"] == true, "line {at}: {undone:#}");
        assert_ne!(undone["exit_code"], 0, "what else the run did is not known: {undone:#}");
        let shown = user.json("sandbox show");
        assert!(shown["locks"].to_string().contains("no-delete"), "{shown:#}");
    }
}

/// An hour later the same command again, while Azure Backup still cleans up: no backup that can only fail is started.
#[test]
fn while_a_clean_up_is_waited_for_a_second_fix_starts_nothing() {
    let user = User::new();
    let run = user.paused();
    let jobs = |user: &User| user.json("sandbox show")["jobs"].as_array().map(Vec::len);
    let before = jobs(&user);
    let again = user.json("fix rp-collection-limit --vm web-01 --set cleanup=service --yes");
    assert_eq!((&again["exit_code"], &again["status"]), (&json!(7), &json!("waiting")), "{again:#}");
    assert!(again["retry_after"].as_u64().is_some_and(|seconds| seconds > 3600), "{again:#}");
    assert!(again.to_string().contains(&format!("azmend runs resume {run}")), "{again:#}");
    assert_eq!(jobs(&user), before);
    // What makes room itself needs no clean-up.
    let other = user.json("fix rp-collection-limit --vm web-01 --yes --relock");
    assert_eq!(other["exit_code"], 0, "{other:#}");
}

/// A pause for any other reason restores no lock that the clean-up needs off.
#[tokio::test]
async fn a_deadline_does_not_lock_up_a_clean_up_that_is_waited_for() {
    let lab = Lab::new();
    let ask = Ask { relock: true, ..Ask::default() };
    let plan = lab.planned(FIX, "nas-04", &ask).await;
    let log = Arc::new(TestLog::default());
    let result = lab.run(&plan, &log).start().await;
    assert_eq!(result.error.as_ref().unwrap().code, "clean_up_pending", "{}", brief(&result));
    let off = lab.locks();
    // Its time is over, and there is no room yet.
    lab.sim.clock().advance(Duration::from_secs(4 * 3600 + 60));
    let deadline = Some(lab.arm.clock().now());
    let result = azmend::engine::Run { deadline, ..lab.run(&plan, &log) }.resume().await;
    assert_eq!((result.status, result.exit_code), (Status::Paused, 7), "{}", brief(&result));
    assert_eq!(lab.locks(), off, "{}", brief(&result));
    assert!(result.warnings.iter().any(|text| text.contains("stays removed until")), "{result:#?}");
    assert!(result.locks_removed.iter().all(|lock| !lock.restored), "{result:#?}");
}

/// Azure asks to wait with the lists that decide: the run comes back later, for nothing speaks against the change.
#[tokio::test]
async fn what_azure_asks_to_wait_for_is_come_back_for() {
    let lab = Lab::new();
    let plan = lab.planned("rp-collection-limit", "web-01", &Ask { relock: true, ..Ask::default() }).await;
    let message = "The simulation says so.".to_owned();
    let busy = FaultEffect::Reply {
        status: 429,
        code: "TooManyRequests".into(),
        message,
        retry_after: Some(60),
        raw_body: None,
    };
    always(&lab, "GET", "/backupJobs", busy);
    let log = Arc::new(TestLog::default());
    let result = lab.run(&plan, &log).start().await;
    assert_eq!((result.status, result.exit_code), (Status::Paused, 7), "{}", brief(&result));
    assert_eq!(result.error.as_ref().unwrap().code, "throttled", "{}", brief(&result));
    assert!(lab.locks().contains(&"no-delete".to_owned()), "{}", brief(&result));
    lab.sim.edit(|world| world.faults.clear());
    lab.sim.clock().advance(Duration::from_secs(700));
    let result = lab.run(&plan, &log).resume().await;
    assert_eq!((result.status, result.exit_code), (Status::Succeeded, 0), "{}", brief(&result));
}

/// A backup runs that no list shows, and Azure says so: that is a reason to come back, not a failure, and it is asked once.
#[tokio::test]
async fn a_backup_that_azure_says_is_running_is_come_back_for() {
    for (status, code) in [(409, "BMSUserErrorBackupOperationInProgress"), (400, "UserErrorBackupOperationInProgress")]
    {
        let lab = Lab::new();
        let plan = lab.planned("rp-collection-limit", "web-01", &Ask { relock: true, ..Ask::default() }).await;
        let body = json!({ "error": { "code": code, "message": "A backup operation is in progress." } });
        always(&lab, "POST", "/backup", answer(status, &body));
        let log = Arc::new(TestLog::default());
        let result = lab.run(&plan, &log).start().await;
        assert_eq!((result.status, result.exit_code), (Status::Paused, 7), "{}", brief(&result));
        assert_eq!(sent(&lab, "POST", "/backup"), 1, "{:?}", lab.mutations());
        assert!(lab.locks().contains(&"no-delete".to_owned()), "{}", brief(&result));
        lab.sim.edit(|world| world.faults.clear());
        lab.sim.clock().advance(Duration::from_secs(3_600));
        let result = lab.run(&plan, &log).resume().await;
        assert_eq!((result.status, result.exit_code), (Status::Succeeded, 0), "{}", brief(&result));
    }
}

/// "The backup still fails" is said of a backup that was started.
#[tokio::test]
async fn a_backup_that_was_never_started_does_not_still_fail() {
    let reply = |status: u16, code: &str| FaultEffect::Reply {
        status,
        code: code.into(),
        message: "The simulation says so.".into(),
        retry_after: None,
        raw_body: None,
    };
    for (status, code, exit) in [(403, "AuthorizationFailed", 4), (400, "BadRequest", 6)] {
        let lab = Lab::new();
        let plan = lab.planned("backup-now", "ok-07", &Ask::default()).await;
        always(&lab, "POST", "/backup", reply(status, code));
        let log = Arc::new(TestLog::default());
        let result = lab.run(&plan, &log).start().await;
        assert_eq!((result.status, result.exit_code), (Status::Failed, exit), "{code}: {}", brief(&result));
    }
}

/// Somebody put another lock in the place of the one that was to be restored: that is not success.
#[tokio::test]
async fn a_lock_that_another_one_replaced_is_no_success() {
    let scene = scene("unlock-backup-groups", "web-01", ask(&[], true));
    let lab = scene.lab();
    let plan = scene.plan(&lab).await;
    // One look before the request, three that find it gone; the next one is before it is restored.
    let event = WorldEvent::PutLockBack { id: "no-delete".into(), notes: Some("another".into()) };
    lab.fault("GET", "/locks/no-delete", 5, FaultEffect::World(event));
    let log = Arc::new(TestLog::default());
    let result = lab.run(&plan, &log).start().await;
    assert_eq!((result.status, result.exit_code), (Status::Partial, 6), "{}", brief(&result));
    assert!(!result.locks_removed[0].restored, "{result:#?}");
    assert!(result.warnings.iter().any(|text| text.contains("other content")), "{result:#?}");
}

// ---- Between processes

#[tokio::test]
async fn two_runs_never_work_on_the_same_vm_or_the_same_lock_scope() {
    let lab = Lab::new();
    let dir = tempfile::tempdir().unwrap();
    let state = State::in_dir(&dir.path().join("state"), true).unwrap();
    let launch = Launch {
        state: &state,
        arm: lab.arm.clone(),
        listener: Arc::new(Silent),
        cancel: CancellationToken::new(),
        deadline: None,
    };
    let unlock = lab.planned("unlock-backup-groups", "web-01", &Ask::default()).await;
    let backup = lab.planned("backup-now", "ok-07", &Ask::default()).await;
    let busy = async |plan: &Plan| matches!(launch.lock(plan, "other").await, Err(JournalError::Busy { .. }));
    let held = launch.lock(&unlock, "one").await.unwrap();
    assert!(!busy(&backup).await, "another VM, no common lock");
    // The same VM, and no lock in common.
    let mut same_vm = backup.clone();
    same_vm.vm = unlock.vm.clone();
    assert!(busy(&same_vm).await, "the same VM");
    // Another VM, and a lock of the same scope.
    let mut same_scope = unlock.clone();
    same_scope.vm = backup.vm.clone();
    assert!(busy(&same_scope).await, "the same lock scope");
    drop(held);
    assert!(!busy(&same_vm).await && !busy(&same_scope).await);
}

// ---- The journal's table

fn ending(outcome: EndKind) -> Ending {
    Ending {
        outcome,
        detail: String::new(),
        code: String::new(),
        hint: None,
        permission: false,
        effect: Some(Effect::None),
    }
}

#[tokio::test]
async fn records_that_do_not_fit_each_other_are_refused() {
    let lab = Lab::new();
    let plan = lab.planned("unlock-backup-groups", "web-01", &Ask::default()).await;
    let (change, lock) = plan
        .changes()
        .find_map(|(_, change)| match &change.what {
            ChangeKind::RemoveLock(RemoveLock { lock }) => Some((change.id.clone(), lock.clone())),
            _ => None,
        })
        .unwrap();
    let started = Event::Started {
        format: azmend::journal::FORMAT,
        run: "r".into(),
        version: "v".into(),
        plan_hash: plan.hash.clone(),
        pid: 1,
        origin: None,
    };
    let intent = |purpose| Event::Intent {
        change: change.clone(),
        attempt: 1,
        purpose,
        verb: "DELETE".into(),
        target: lock.id.to_string(),
        before: Value::Null,
        client_request_id: String::new(),
    };
    let accepted = Event::Accepted { change: change.clone(), purpose: Purpose::Do, operation: json!({}) };
    let answered =
        Event::Answered { change: change.clone(), purpose: Purpose::Do, how: Answer::Ok, detail: String::new() };
    let ended = |outcome| Event::Ended { change: change.clone(), purpose: Purpose::Do, ending: ending(outcome) };
    let corrected = |outcome| Event::Corrected { change: change.clone(), ending: ending(outcome) };
    let undo = Event::UndoStarted { pid: 1 };
    let resumed = Event::Resumed { version: "v".into(), pid: 1 };
    let fold = |events: &[&Event]| {
        let records: Vec<Record> = events
            .iter()
            .enumerate()
            .map(|(at, event)| Record { seq: at as u64 + 1, at: plan.created, event: (*event).clone() })
            .collect();
        RunState::fold(&plan, &records).is_ok()
    };
    let go = intent(Purpose::Do);
    let done = ended(EndKind::Succeeded);
    let legal: [&[&Event]; 6] = [
        &[&started, &go, &answered, &done],
        &[&started, &go, &accepted, &answered, &done],
        &[&started, &go, &answered, &go, &answered, &done],
        &[&started, &done, &corrected(EndKind::Failed)],
        &[&started, &go, &answered, &done, &undo],
        &[&started, &resumed, &go],
    ];
    for events in legal {
        assert!(fold(events), "{events:?}");
    }
    let other = Event::Ended { change: "no.such".into(), purpose: Purpose::Do, ending: ending(EndKind::Succeeded) };
    let illegal: [&[&Event]; 14] = [
        &[&go],
        &[&started, &started],
        &[&started, &go, &go],
        &[&started, &accepted],
        &[&started, &answered],
        &[&started, &go, &done],
        &[&started, &go, &accepted, &done],
        &[&started, &go, &accepted, &go],
        &[&started, &go, &accepted, &accepted],
        &[&started, &go, &answered, &done, &done],
        &[&started, &go, &answered, &done, &go],
        &[&started, &ended(EndKind::Failed), &corrected(EndKind::Succeeded)],
        &[&started, &undo, &go],
        &[&started, &other],
    ];
    for events in illegal {
        assert!(!fold(events), "{events:?}");
    }
}

// ---- What reading must settle

/// Azure took the deletion, and its replicas have not heard of it: what they show is no proof that the lock is in force.
#[tokio::test]
async fn a_lock_that_is_read_as_in_force_after_our_deletion_is_written_all_the_same() {
    let scene = scene("unlock-backup-groups", "web-01", ask(&[], false));
    let lab = scene.lab();
    let plan = scene.plan(&lab).await;
    let tape = Tape::new(&lab.sim, Vec::new(), false);
    let run = run(&lab, &plan, &tape);
    let result = Box::pin(run.start()).await;
    assert!(lab.locks().is_empty(), "{}", brief(&result));
    let before = scene.world.locks[0].clone();
    let body = json!({
        "id": before.id.to_string(), "name": "no-delete", "type": "Microsoft.Authorization/locks",
        "properties": { "level": before.level.as_str(), "notes": before.notes },
    });
    lab.fault("GET", "/locks/no-delete", 1, answer(200, &body));
    let result = Box::pin(run.undo()).await;
    assert_eq!(lab.locks(), ["no-delete"], "{}", brief(&result));
    assert_eq!((sent(&lab, "PUT", "/locks/"), result.exit_code), (1, 0), "{}", brief(&result));
}

/// The answer says that the lock is not there; that may be the effect of an earlier try of the same request below us.
#[tokio::test]
async fn a_404_to_the_deletion_of_a_lock_does_not_say_that_nothing_was_done() {
    let scene = scene("unlock-backup-groups", "web-01", ask(&[], true));
    let lab = scene.lab();
    let plan = scene.plan(&lab).await;
    let gone = FaultEffect::Corrupt(azmend::sim::Corruption::Status(404));
    lab.fault("DELETE", "/locks/", 1, gone);
    let tape = Tape::new(&lab.sim, Vec::new(), false);
    let result = Box::pin(run(&lab, &plan, &tape).start()).await;
    let answers: Vec<Answer> = tape
        .all()
        .iter()
        .filter_map(|record| match &record.event {
            Event::Answered { purpose: Purpose::Do, how, .. } => Some(*how),
            _ => None,
        })
        .collect();
    assert_eq!(answers, [Answer::Lost], "{}", brief(&result));
    assert_eq!(lab.locks(), ["no-delete"], "{}", brief(&result));
    assert!(result.locks_removed.iter().all(|lock| lock.restored) && !result.locks_removed.is_empty(), "{result:#?}");
}

/// A throttled GET holds a check for minutes; meanwhile a backup begins.
#[tokio::test]
async fn a_deletion_does_not_leave_on_facts_that_grew_old_inside_its_check() {
    let scene = scene(FIX, "web-01", ask(&[], false));
    let lab = scene.lab();
    let plan = scene.plan(&lab).await;
    let point = plan
        .changes()
        .find_map(|(_, change)| match &change.what {
            ChangeKind::DeletePoint(what) => Some(what.point.id.clone()),
            _ => None,
        })
        .unwrap();
    let path = point.as_str().to_owned();
    lab.fault("GET", &path, 1, FaultEffect::Throttle { retry_after: 500, times: 1 });
    // It begins while the GET waits, after everything else was read.
    lab.fault("GET", &path, 2, FaultEffect::World(WorldEvent::StartJob(scene.vm.clone())));
    let tape = Tape::new(&lab.sim, Vec::new(), false);
    let result = Box::pin(run(&lab, &plan, &tape).start()).await;
    assert_eq!(sent(&lab, "DELETE", point.name()), 0, "{}", brief(&result));
    assert!(refusals(&result).contains(&"s8.job-active"), "{}", brief(&result));
}

/// Somebody creates the lock again after its removal was proven, and before the run ends.
#[tokio::test]
async fn a_last_reading_that_contradicts_a_removal_changes_it() {
    let scene = scene("unlock-backup-groups", "web-01", ask(&[], false));
    let quiet = scene.lab();
    let plan = scene.plan(&quiet).await;
    let tape = Tape::new(&quiet.sim, Vec::new(), false);
    let _ = Box::pin(run(&quiet, &plan, &tape).start()).await;
    let reads =
        quiet.sim.log().iter().filter(|one| one.method == "GET" && one.path.ends_with("/locks/no-delete")).count();
    let lab = scene.lab();
    let plan = scene.plan(&lab).await;
    // The first list of locks after the last look at the lock.
    let meddled = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let seen = Arc::clone(&meddled);
    lab.sim.on_request(Box::new(move |world, request, _| {
        let path = request.url.path();
        let count = seen.load(std::sync::atomic::Ordering::Relaxed);
        if path.ends_with("/locks/no-delete") {
            seen.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        } else if count >= reads && count < 1000 && path.to_lowercase().ends_with("/microsoft.authorization/locks") {
            seen.store(1000, std::sync::atomic::Ordering::Relaxed);
            world.apply_event(&WorldEvent::PutLockBack { id: "no-delete".into(), notes: None });
        }
    }));
    let tape = Tape::new(&lab.sim, Vec::new(), false);
    let result = Box::pin(run(&lab, &plan, &tape).start()).await;
    assert_eq!(lab.locks(), ["no-delete"]);
    assert_eq!(result.changes[0].outcome, "failed", "{}", brief(&result));
    assert_eq!(refusals(&result), ["s5.came-back"]);
    assert_ne!(result.exit_code, 0);
}

/// The restoration of a lock whose answer was lost is sent again, whatever reading says: nothing proves that it left.
#[tokio::test]
async fn a_restoration_without_an_answer_is_sent_again() {
    for (effect, sends) in [(FaultEffect::LostBefore, 2), (FaultEffect::LostAfter, 2), (FaultEffect::NotSent, 2)] {
        let scene = scene("unlock-backup-groups", "web-01", ask(&[], true));
        let lab = scene.lab();
        let plan = scene.plan(&lab).await;
        lab.fault("PUT", "/locks/", 1, effect.clone());
        let tape = Tape::new(&lab.sim, Vec::new(), false);
        let began = lab.sim.world().now;
        let result = Box::pin(run(&lab, &plan, &tape).start()).await;
        assert_eq!(lab.locks(), ["no-delete"], "{effect:?}: {}", brief(&result));
        assert_eq!(result.exit_code, 0, "{effect:?}: {}", brief(&result));
        assert!(sent(&lab, "PUT", "/locks/") <= sends, "{effect:?}");
        assert!(elapsed(began, lab.sim.world().now) < Duration::from_secs(600), "{effect:?}: it waited for nothing");
    }
}

/// Azure never took it, and a late replica still shows the lock from before its deletion.
#[tokio::test]
async fn a_restoration_without_an_answer_is_not_proven_by_a_reading_from_before() {
    let scene = scene("unlock-backup-groups", "web-01", ask(&[], true));
    let lab = scene.lab();
    let plan = scene.plan(&lab).await;
    lab.fault("PUT", "/locks/", 1, FaultEffect::LostBefore);
    let before = scene.world.locks[0].clone();
    let body = json!({
        "id": before.id.to_string(), "name": "no-delete", "type": "Microsoft.Authorization/locks",
        "properties": { "level": before.level.as_str(), "notes": before.notes },
    });
    let shown = answer(200, &body);
    let put = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let seen = Arc::clone(&put);
    lab.sim.on_request(Box::new(move |world, request, _| {
        let lock = request.url.path().ends_with("/locks/no-delete");
        if lock && request.method == azmend::arm::http::Method::PUT {
            seen.store(true, std::sync::atomic::Ordering::Relaxed);
        } else if lock && seen.swap(false, std::sync::atomic::Ordering::Relaxed) {
            let when = FaultMatch { path_contains: Some("no-delete".into()), ..FaultMatch::default() };
            world.faults.push(Fault { id: "late".into(), when, effect: shown.clone(), seen: 0, fired: 0 });
        }
    }));
    let tape = Tape::new(&lab.sim, Vec::new(), false);
    let result = Box::pin(run(&lab, &plan, &tape).start()).await;
    assert_eq!(lab.locks(), ["no-delete"], "{}", brief(&result));
    assert_eq!(result.exit_code, 0, "{}", brief(&result));
}
