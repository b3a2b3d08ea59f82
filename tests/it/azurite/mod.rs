//! State in a real Azurite: the program itself, the official client and TLS, against the emulator of Azure Storage.
//!
//! Ignored unless asked for (`.ci/run azurite` installs it and asks): the other tests need nothing but cargo. What a storage account
//! does under a lost, late or silent answer is tried in memory, request by request (`journal::blob`); here it is shown that the
//! real service's answers are the ones that this relies on.

mod emulator;

use std::io::Read as _;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use azmend::arm::blob::{Answer, Container};
use azmend::arm::{StaticToken, Wire};
use azmend::clock::{Clock as _, SystemClock, elapsed};
use azmend::sim::{Estate, ServerOptions, Sim, World};
use serde_json::Value;

use crate::serving::Serving;
use emulator::{Azurite, Identity, Net, jwt};

const AZMEND: &str = env!("CARGO_BIN_EXE_azmend");
/// A lease is over by then.
const LEASE: Duration = Duration::from_secs(62);

/// A storage account, an Azure, and machines that share nothing else.
struct Ground {
    azurite: Azurite,
    net: Net,
    serving: Serving,
    identity: Identity,
    home: tempfile::TempDir,
}

impl Ground {
    fn new(speed: u32) -> Self {
        let azurite = Azurite::start();
        azurite.make_container("state");
        let net = Net::to(azurite.port);
        // The program's waits are real here, so is the time that its estate begins at.
        let estate = Estate::parse_at(Estate::built_in_text(), "built-in.yaml", SystemClock.now()).unwrap();
        let sim = Sim::new(World::from_estate(&estate));
        let options = ServerOptions { port: 0, speed, token_life: Duration::from_secs(3600) };
        let serving = Serving::on(sim, options);
        let identity = Identity::in_front_of(&serving.identity_endpoint);
        Self { azurite, net, serving, identity, home: tempfile::tempdir().unwrap() }
    }

    /// azmend on a machine with an empty disk and no home.
    fn azmend(&self, line: &str) -> Command {
        let mut command = Command::new(AZMEND);
        command.args(line.split_whitespace()).args(["-o", "json"]).env_clear().stdin(Stdio::null());
        command.current_dir(self.home.path()).env("HOME", self.home.path().join("does-not-exist"));
        command.env("AZMEND_ARM_ENDPOINT", &self.serving.base).env("AZMEND_AUTH", "managed-identity");
        command.env("IDENTITY_ENDPOINT", self.identity.endpoint());
        command.env("IDENTITY_HEADER", self.serving.identity.secret());
        command.env("AZMEND_STATE", "azblob://devstoreaccount1/state/team/a");
        command.env("AZMEND_BLOB_ENDPOINT", format!("https://127.0.0.1:{}/devstoreaccount1", self.net.port));
        command.env("SSL_CERT_FILE", self.azurite.certificate());
        command
    }

    fn run(&self, line: &str) -> (i32, Value, String) {
        let output = self.azmend(line).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        let value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{line}: {e}: {}", shown(&output)));
        (output.status.code().unwrap_or(-1), value, told)
    }

    fn start(&self, line: &str) -> Child {
        self.azmend(line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Waits until the only run has a line with this in it; its id.
    fn until_journal_has(&self, child: &mut Child, what: &str) -> String {
        let began = SystemClock.now();
        loop {
            for (name, content) in self.azurite.blobs("state") {
                if name.ends_with("/journal.jsonl") && content.contains(what) {
                    return name.split('/').nth_back(1).unwrap().to_owned();
                }
            }
            if let Some(status) = child.try_wait().unwrap() {
                let mut told = String::new();
                child.stdout.take().unwrap().read_to_string(&mut told).unwrap();
                child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
                panic!("no journal has {what}, and it ended ({status}): {told}");
            }
            assert!(elapsed(began, SystemClock.now()) < Duration::from_secs(60), "no journal has {what}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Comes back as often as the run asks for it, on a new machine each time.
    fn finish(&self, run: &str) -> Value {
        for _ in 0..12 {
            let (code, value, told) = self.run(&format!("runs resume {run} --yes"));
            match (code, value["error"]["code"].as_str()) {
                (7, _) | (5, Some("busy")) => std::thread::sleep(Duration::from_secs(8)),
                _ => {
                    assert_eq!(code, 0, "{value:#} {told}");
                    return value;
                }
            }
        }
        panic!("the run {run} does not come to its end");
    }

    fn locks(&self) -> usize {
        self.serving.sim.world().locks.len()
    }
}

fn shown(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

const FIX: &str = "fix unlock-backup-groups --vm rg-shop/web-01 --relock --yes";

#[test]
#[ignore = "needs Azurite: .ci/run azurite"]
fn the_service_answers_as_the_twin_in_memory_does() {
    let azurite = Azurite::start();
    azurite.make_container("state");
    // The certificate is a test's own, and the environment of this process is not changed: so by a child.
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "azurite::conditions_of_the_service", "--nocapture"])
        .env("SSL_CERT_FILE", azurite.certificate())
        .env("AZMEND_TEST_AZURITE", azurite.port.to_string())
        .output()
        .unwrap();
    assert!(output.status.success() && shown(&output).contains("1 passed"), "{}", shown(&output));
}

#[tokio::test]
#[ignore = "run by the test above"]
async fn conditions_of_the_service() {
    let Ok(port) = std::env::var("AZMEND_TEST_AZURITE") else { return };
    let endpoint = format!("https://127.0.0.1:{port}/devstoreaccount1").parse().unwrap();
    let tokens = Arc::new(StaticToken::new(&jwt("https://storage.azure.com"), "test"));
    let network = Arc::new(Wire::new().unwrap());
    let blobs = Container::new(&endpoint, ("state", "p"), tokens, network, Arc::new(SystemClock)).unwrap();
    let answer = |out: Result<(), azmend::arm::blob::BlobError>| out.map_err(|error| error.answer);
    // Made once.
    assert_eq!(answer(blobs.put("a/plan.json", b"{}").await), Ok(()));
    assert_eq!(answer(blobs.put("a/plan.json", b"[]").await), Err(Answer::Exists));
    assert_eq!(answer(blobs.start("a/journal").await), Ok(()));
    assert_eq!(answer(blobs.start("a/journal").await), Err(Answer::Exists));
    assert_eq!(blobs.get("a/plan.json").await.unwrap(), b"{}");
    assert_eq!(blobs.get("a/journal").await.unwrap(), b"", "one that is empty can be read");
    assert_eq!(blobs.get("a/none").await.unwrap_err().answer, Answer::NotFound);
    // At its position.
    assert_eq!(answer(blobs.append("a/journal", 0, b"one\n", None).await), Ok(()));
    assert_eq!(answer(blobs.append("a/journal", 0, b"one\n", None).await), Err(Answer::Position), "the same again");
    assert_eq!(answer(blobs.append("a/none", 0, b"x", None).await), Err(Answer::NotFound));
    // Under its lease, which the same id gets twice and no other once.
    let (ours, other) = ("5a9b1c0d-0000-4000-8000-000000000001", "5a9b1c0d-0000-4000-8000-000000000002");
    let time = Duration::from_secs(60);
    assert_eq!(answer(blobs.acquire("a/none", ours, time).await), Err(Answer::NotFound));
    assert_eq!(answer(blobs.acquire("a/journal", ours, time).await), Ok(()));
    assert_eq!(answer(blobs.acquire("a/journal", ours, time).await), Ok(()));
    assert_eq!(answer(blobs.acquire("a/journal", other, time).await), Err(Answer::LeaseTaken));
    assert_eq!(answer(blobs.label("a/journal", ours, "host one, run 1").await), Ok(()));
    let seen = blobs.look("a/journal").await.unwrap();
    assert_eq!((seen.leased, seen.label.as_deref()), (true, Some("host one, run 1")));
    assert_eq!(answer(blobs.append("a/journal", 4, b"two\n", Some(ours)).await), Ok(()));
    let refused = answer(blobs.append("a/journal", 8, b"x", Some(other)).await);
    assert!(matches!(refused, Err(Answer::LeaseLost | Answer::LeaseTaken)), "{refused:?}");
    assert_eq!(answer(blobs.append("a/journal", 8, b"x", None).await), Err(Answer::LeaseTaken));
    assert_eq!(answer(blobs.renew("a/journal", ours).await), Ok(()));
    assert_eq!(answer(blobs.renew("a/journal", other).await), Err(Answer::LeaseLost));
    assert_eq!(answer(blobs.release("a/journal", ours).await), Ok(()));
    assert_eq!(answer(blobs.append("a/journal", 8, b"x", Some(ours)).await), Err(Answer::LeaseLost), "it is over");
    let names: Vec<String> = blobs.list("a/").await.unwrap().into_iter().map(|blob| blob.name).collect();
    assert_eq!(names, ["a/journal", "a/plan.json"]);
    assert_eq!(answer(blobs.delete("a/journal", None).await), Ok(()));
    assert_eq!(answer(blobs.delete("a/journal", None).await), Err(Answer::NotFound));
}

#[test]
#[ignore = "needs Azurite: .ci/run azurite"]
fn a_killed_run_is_resumed_on_another_machine_and_its_locks_come_back() {
    let estate = Ground::new(20);
    let locks = estate.locks();
    let mut child = estate.start(FIX);
    let run = estate.until_journal_has(&mut child, "\"verb\":\"DELETE\"");
    child.kill().unwrap();
    child.wait().unwrap();
    let began = SystemClock.now();
    // At once: the dead machine's lease is not over, and that is said.
    let (code, value, _) = estate.run(&format!("runs resume {run} --yes"));
    assert_eq!((code, &value["error"]["code"]), (5, &"busy".into()), "{value:#}");
    let (code, listed, told) = estate.run("runs list");
    assert_eq!((code, listed["runs"][0]["run_id"].as_str()), (0, Some(run.as_str())), "{listed:#} {told}");
    std::thread::sleep(LEASE.saturating_sub(elapsed(began, SystemClock.now())));
    let result = estate.finish(&run);
    assert_eq!(result["status"], "succeeded", "{result:#}");
    assert_eq!(estate.locks(), locks, "every lock is in force again");
    assert!(!estate.home.path().join("does-not-exist").exists(), "nothing was written to a disk");
    // No token is in any blob.
    for (name, content) in estate.azurite.blobs("state") {
        assert!(!content.contains("Bearer") && !content.contains("eyJ"), "{name}");
    }
    let (code, pruned, _) = estate.run("runs prune --older-than 0s");
    assert_eq!((code, pruned["removed"][0].as_str()), (0, Some(run.as_str())), "{pruned:#}");
    assert!(estate.azurite.blobs("state").iter().all(|(name, _)| !name.contains("/runs/")));
}

#[test]
#[ignore = "needs Azurite: .ci/run azurite"]
fn of_two_machines_one_repairs_a_vm() {
    let estate = Ground::new(20);
    let both = [estate.start(FIX), estate.start(FIX)];
    let results: Vec<Value> = both
        .into_iter()
        .map(|child| {
            let output = child.wait_with_output().unwrap();
            serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", shown(&output)))
        })
        .collect();
    let busy = results.iter().filter(|result| result["error"]["code"] == "busy").count();
    let first =
        results.iter().find(|result| result["run_id"].is_string() && result["error"]["code"] != "busy").unwrap();
    assert_eq!(busy, 1, "{results:#?}");
    let told = results.iter().find(|result| result["error"]["code"] == "busy").unwrap();
    assert!(told["error"]["message"].as_str().unwrap().contains("host "), "{told:#}");
    if first["exit_code"] != 0 {
        estate.finish(first["run_id"].as_str().unwrap());
    }
    let removals = estate.serving.sim.log().into_iter().filter(|one| one.mutating && one.path.contains("/locks/"));
    let deleted = removals.filter(|one| one.method == "DELETE").count();
    assert_eq!(deleted, first["locks_removed"].as_array().map_or(0, Vec::len), "each lock once");
}

#[test]
#[ignore = "needs Azurite: .ci/run azurite"]
fn a_machine_that_lost_its_lease_sends_nothing_more() {
    let estate = Ground::new(1);
    let mut child = estate.start(FIX);
    let run = estate.until_journal_has(&mut child, "\"verb\":\"DELETE\"");
    estate.azurite.break_lease("state", &format!("team/a/runs/{run}/journal.jsonl"));
    let sent = || estate.serving.sim.log().into_iter().filter(|one| one.mutating).count();
    // The request on its way is answered; from then on nothing changes.
    std::thread::sleep(Duration::from_secs(2));
    let before = sent();
    let output = child.wait_with_output().unwrap();
    let value: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", shown(&output)));
    assert_eq!((&value["exit_code"], &value["error"]["code"]), (&7.into(), &"lease_lost".into()), "{value:#}");
    assert_eq!(sent(), before, "no lock was restored, nothing was sent");
    assert!(value["retry_after"].is_number() && value["next"].as_str().unwrap().contains("runs resume"));
}

#[test]
#[ignore = "needs Azurite: .ci/run azurite"]
fn storage_that_goes_down_in_the_middle_is_waited_for_or_the_lock_is_back() {
    for down in [Duration::from_secs(4), Duration::from_secs(75)] {
        let estate = Ground::new(20);
        let locks = estate.locks();
        let mut child = estate.start(FIX);
        let run = estate.until_journal_has(&mut child, "\"event\":\"intent\"");
        estate.net.down(true);
        std::thread::sleep(down);
        estate.net.down(false);
        let output = child.wait_with_output().unwrap();
        let value: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", shown(&output)));
        let code = value["exit_code"].as_i64().unwrap();
        assert!(matches!(code, 0 | 7), "{value:#}");
        assert!(down < Duration::from_secs(60) || code == 7, "it cannot have gone on: {value:#}");
        if code == 7 && down < Duration::from_secs(60) {
            estate.finish(&run);
        } else if code == 7 {
            // Its lock may be restored without a line: a resume would give Azure a quarter of an hour to release it.
            let (code, undone, told) = estate.run(&format!("runs undo {run} --yes"));
            assert_eq!(code, 0, "{undone:#} {told}");
        }
        assert_eq!(estate.locks(), locks, "{down:?}");
    }
}

#[test]
#[ignore = "needs Azurite: .ci/run azurite"]
fn storage_that_answers_late_loses_and_doubles_nothing() {
    let estate = Ground::new(20);
    let locks = estate.locks();
    let mut child = estate.start(FIX);
    let run = estate.until_journal_has(&mut child, "\"event\":\"intent\"");
    // Longer than azmend waits for one answer: what it asked for is done all the same.
    estate.net.delay(Duration::from_secs(14));
    std::thread::sleep(Duration::from_secs(20));
    estate.net.delay(Duration::ZERO);
    let output = child.wait_with_output().unwrap();
    let value: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", shown(&output)));
    if value["exit_code"] != 0 {
        assert_eq!(value["exit_code"], 7, "{value:#}");
        estate.finish(&run);
    }
    let (_, listed, _) = estate.run("runs list");
    assert_eq!((&listed["runs"][0]["damaged"], &listed["runs"][0]["state"]), (&Value::Null, &"succeeded".into()));
    assert_eq!(estate.locks(), locks);
}

#[test]
#[ignore = "needs Azurite: .ci/run azurite"]
fn what_is_not_set_up_is_said_before_anything_is_done() {
    let estate = Ground::new(20);
    let mut command = estate.azmend(FIX);
    let output = command.env("AZMEND_STATE", "azblob://devstoreaccount1/nothing/team").output().unwrap();
    let text = shown(&output);
    assert!(output.status.code() == Some(2) && text.contains("404 ContainerNotFound"), "{text}");
    assert!(text.contains("az storage container create"), "{text}");
    let began = SystemClock.now();
    let output = estate.azmend(FIX).env("IDENTITY_HEADER", "wrong").output().unwrap();
    assert_eq!(output.status.code(), Some(4), "{}", shown(&output));
    assert!(elapsed(began, SystemClock.now()) < Duration::from_secs(30));
    assert_eq!(estate.serving.sim.log().into_iter().filter(|one| one.mutating).count(), 0);
}
