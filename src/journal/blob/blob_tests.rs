//! Blobs: what a lost, late or silent answer comes to, and what a lease is worth. On the twin in memory, in virtual time.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::clock::VirtualClock;
use crate::journal::{
    Answering, Event, FleetFile, FleetRecord, Hold, Integrity, LockKey, MemoryBlobs, RunFile, RunLog as _, State, load,
    load_fleet, prune, resolve_run_id, runs,
};

const RUN: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
const OTHER: &str = "01890a5d-ff00-774b-bcce-b302099a8057";
const PLAN: &str = r#"{"created":"2026-11-20T09:00:00Z","playbook":"stuck-job","vm":"x","world":{"sandbox":true}}"#;

fn at() -> Timestamp {
    "2026-11-20T09:00:00Z".parse().unwrap()
}

fn warned(n: usize) -> Event {
    Event::Warned { text: format!("number {n}") }
}

/// A storage account, and as many machines with empty disks as are asked for.
struct Account {
    clock: VirtualClock,
    blobs: MemoryBlobs,
}

impl Account {
    fn new() -> Self {
        let clock = VirtualClock::new(at());
        Self { blobs: MemoryBlobs::new(Arc::new(clock.clone())), clock }
    }

    fn machine(&self, host: &str) -> State {
        let blobs: Arc<dyn Blobs> = Arc::new(self.blobs.clone());
        State::of(Arc::new(BlobStore::new(blobs, Arc::new(self.clock.clone()), host)))
    }

    async fn wait(&self, seconds: u64) {
        self.clock.sleep(Duration::from_secs(seconds)).await;
    }

    fn journal(&self) -> Vec<u8> {
        self.blobs.content(&format!("runs/{RUN}/journal.jsonl")).unwrap()
    }
}

#[tokio::test]
async fn a_run_is_taken_up_on_another_machine() {
    let account = Account::new();
    let one = account.machine("one");
    let run = RunFile::create(&one, RUN, PLAN).await.unwrap();
    run.append(at(), warned(1)).await.unwrap();
    // While the first machine works, however long, the second one may look and nothing else.
    account.wait(600).await;
    let two = account.machine("two");
    assert_eq!(load(&two, RUN).await.unwrap().records.len(), 1);
    let error = RunFile::open(&two, RUN).await.unwrap_err();
    assert!(error.to_string().contains("(host one, pid ") && error.hint().unwrap().contains("a minute"), "{error}");
    // It dies: nothing is given up, and nobody renews.
    std::mem::forget(run);
    account.blobs.answer_by(|_, verb, _| if verb == "renew" { Answering::LostBefore } else { Answering::Truly });
    account.wait(30).await;
    assert!(RunFile::open(&two, RUN).await.is_err(), "its lease is not over yet");
    account.wait(45).await;
    let (run, loaded) = RunFile::open(&two, RUN).await.unwrap();
    assert_eq!((loaded.integrity, loaded.records.len(), loaded.plan_json.as_str()), (Integrity::Intact, 1, PLAN));
    run.append(at(), warned(2)).await.unwrap();
    assert_eq!(load(&one, RUN).await.unwrap().records.len(), 2);
}

#[tokio::test]
async fn what_is_released_is_free_at_once() {
    let account = Account::new();
    let (one, two) = (account.machine("one"), account.machine("two"));
    drop(RunFile::create(&one, RUN, PLAN).await.unwrap());
    let again = RunFile::open(&one, RUN).await.unwrap();
    drop(again);
    one.close().await;
    assert!(RunFile::open(&two, RUN).await.is_ok());
    let (a, b) = (LockKey::vm("/a"), LockKey::scope("/a"));
    let held = Hold::take(&one, RUN, [a.clone(), b.clone()]).await.unwrap();
    let error = Hold::take(&two, OTHER, [LockKey::vm("/c"), LockKey::vm("/A")]).await.unwrap_err();
    assert!(error.to_string().contains("host one") && error.to_string().contains("this VM"), "{error}");
    assert!(Hold::holder(&two, &a).await.unwrap().unwrap().contains(RUN));
    two.close().await;
    assert_eq!(Hold::holder(&one, &LockKey::vm("/c")).await.unwrap(), None, "all or none");
    drop(held);
    one.close().await;
    assert_eq!(Hold::holder(&two, &b).await.unwrap(), None);
    assert!(Hold::take(&two, OTHER, [a, b]).await.is_ok());
}

/// Every request of a run, one after the other, is lost, done without an answer, late, or never answered: the journal is
/// whole, and says each line once.
#[tokio::test]
async fn a_lost_answer_is_told_from_a_lost_append() {
    for fault in
        [Answering::LostBefore, Answering::LostAfter, Answering::Late(1), Answering::Late(3), Answering::Silence]
    {
        // Of the first request of all silence is believed at once: a misspelt account does not answer either.
        for broken in u32::from(fault == Answering::Silence)..14 {
            let account = Account::new();
            let state = account.machine("one");
            account.blobs.answer_by(move |n, _, _| if n == broken { fault } else { Answering::Truly });
            let run = RunFile::create(&state, RUN, PLAN).await.unwrap_or_else(|e| panic!("{fault:?} {broken}: {e}"));
            for n in 0..4 {
                run.append(at(), warned(n)).await.unwrap_or_else(|e| panic!("{fault:?} {broken} {n}: {e}"));
            }
            let loaded = load(&state, RUN).await.unwrap();
            assert_eq!((loaded.integrity.clone(), loaded.records.len()), (Integrity::Intact, 4), "{fault:?} {broken}");
            assert_eq!(loaded.records, run.records());
        }
    }
}

#[tokio::test]
async fn a_run_is_never_made_twice() {
    let account = Account::new();
    let (one, two) = (account.machine("one"), account.machine("two"));
    drop(RunFile::create(&one, RUN, PLAN).await.unwrap());
    one.close().await;
    assert!(matches!(RunFile::create(&two, RUN, "{}").await, Err(JournalError::Exists(_))));
    assert_eq!(load(&two, RUN).await.unwrap().plan_json, PLAN);
}

#[tokio::test]
async fn storage_that_is_down_stops_the_run_and_is_taken_up_when_it_is_back() {
    let account = Account::new();
    let state = account.machine("one");
    let run = RunFile::create(&state, RUN, PLAN).await.unwrap();
    run.append(at(), warned(0)).await.unwrap();
    // For some seconds: the same append is tried again.
    let mut left = 3;
    account.blobs.answer_by(move |_, verb, _| {
        left -= i32::from(verb == "append");
        if left >= 0 && verb == "append" { Answering::LostBefore } else { Answering::Truly }
    });
    run.append(at(), warned(1)).await.unwrap();
    // For long: that is an error that passes, and nothing is written behind it.
    account.blobs.answer_by(|_, _, _| Answering::LostBefore);
    let error = run.append(at(), warned(2)).await.unwrap_err();
    assert!(error.passes, "{error}");
    account.blobs.recover();
    let error = run.append(at(), warned(3)).await.unwrap_err();
    assert!(error.passes && error.why.contains("an earlier line"), "{error}");
    drop(run);
    state.close().await;
    let (run, loaded) = RunFile::open(&account.machine("two"), RUN).await.unwrap();
    assert_eq!((loaded.integrity, loaded.records.len()), (Integrity::Intact, 2));
    run.append(at(), warned(4)).await.unwrap();
}

#[tokio::test]
async fn an_append_that_arrives_after_the_run_was_taken_over_adds_nothing() {
    let account = Account::new();
    let one = account.machine("one");
    let run = RunFile::create(&one, RUN, PLAN).await.unwrap();
    run.append(at(), warned(0)).await.unwrap();
    // The appends of the first machine are on their way for long, and it hears of nothing.
    account.blobs.answer_by(|_, verb, _| match verb {
        "append" => Answering::Late(40),
        _ => Answering::LostBefore,
    });
    assert!(run.append(at(), warned(1)).await.is_err());
    account.wait(90).await;
    account.blobs.recover();
    let (second, loaded) = RunFile::open(&account.machine("two"), RUN).await.unwrap();
    assert_eq!(loaded.records.len(), 1);
    for n in 10..60 {
        second.append(at(), warned(n)).await.unwrap();
    }
    let loaded = load(&one, RUN).await.unwrap();
    assert_eq!((loaded.integrity, loaded.records.len()), (Integrity::Intact, 51));
    assert!(run.lost().is_some());
}

#[tokio::test]
async fn who_lost_the_lease_writes_nothing_more_and_hears_of_it() {
    let account = Account::new();
    let state = account.machine("one");
    for what in ["journal.jsonl", "locks/"] {
        let account_run = if what == "locks/" { OTHER } else { RUN };
        let run = RunFile::create(&state, account_run, PLAN).await.unwrap();
        run.adopt(Hold::take(&state, account_run, [LockKey::vm(what)]).await.unwrap());
        run.append(at(), warned(0)).await.unwrap();
        assert_eq!(run.lost(), None);
        assert_eq!(account.blobs.take_leases(what), 1);
        // Within one renewal.
        let lost = async {
            run.when_lost().await;
            account.clock.now()
        };
        assert!(elapsed(at(), lost.await) < Duration::from_secs(120));
        assert!(run.lost().unwrap().contains("was lost"), "{:?}", run.lost());
        let error = run.append(at(), warned(1)).await.unwrap_err();
        assert!(!error.passes, "{error}");
        assert_eq!(load(&state, account_run).await.unwrap().records.len(), 1);
    }
}

#[tokio::test]
async fn an_append_without_the_lease_is_refused_at_once() {
    let account = Account::new();
    let state = account.machine("one");
    let run = RunFile::create(&state, RUN, PLAN).await.unwrap();
    account.blobs.take_leases("journal");
    assert!(run.append(at(), warned(0)).await.is_err());
    assert!(run.lost().is_some() && account.journal().is_empty());
}

#[tokio::test]
async fn a_lease_that_cannot_be_renewed_counts_as_lost_before_it_is_over() {
    let account = Account::new();
    let state = account.machine("one");
    let run = RunFile::create(&state, RUN, PLAN).await.unwrap();
    let began = account.clock.now();
    account.blobs.answer_by(|_, _, _| Answering::LostBefore);
    run.when_lost().await;
    let after = elapsed(began, account.clock.now());
    assert!(after >= Duration::from_secs(40) && after < Duration::from_secs(60), "{after:?}");
    // That it could be renewed after all changes nothing.
    account.blobs.recover();
    account.wait(100).await;
    assert!(run.lost().is_some());
    // A process that was asleep: its clock alone says so.
    let run = RunFile::create(&state, OTHER, PLAN).await.unwrap();
    account.clock.advance(Duration::from_secs(55));
    assert!(run.lost().is_some(), "before any request");
}

#[tokio::test]
async fn lists_names_and_removals_are_those_of_a_disk() {
    let account = Account::new();
    let state = account.machine("one");
    assert!(state.check().await.is_ok() && state.check().await.is_ok());
    assert!(runs(&state).await.unwrap().runs.is_empty());
    assert!(matches!(load(&state, RUN).await, Err(JournalError::NoRun { .. })));
    assert!(matches!(RunFile::open(&state, RUN).await, Err(JournalError::NoRun { .. })));
    let run = RunFile::create(&state, RUN, PLAN).await.unwrap();
    let end = Event::Finished { status: crate::journal::FinalStatus::Succeeded, exit_code: 0 };
    run.append(at(), end).await.unwrap();
    drop(run);
    // A run that was never made whole is none, and goes after a day.
    account.blobs.put(&format!("runs/{OTHER}/plan.json"), b"{}").await.unwrap();
    let list = runs(&state).await.unwrap();
    assert_eq!(list.runs.iter().map(|run| (run.id.as_str(), run.sandbox)).collect::<Vec<_>>(), [(RUN, Some(true))]);
    assert!(list.skipped.is_empty());
    assert_eq!(resolve_run_id(&state, "0189").await.unwrap(), RUN);
    let day = crate::duration::Span::from_secs(86_400);
    // A sandbox run is as old as its id.
    let (seconds, _) = uuid::Uuid::parse_str(RUN).unwrap().get_timestamp().unwrap().to_unix();
    let began = jiff::Timestamp::from_second(i64::try_from(seconds).unwrap()).unwrap();
    let young = prune(&state, day, began, false, |_| Ok(())).await.unwrap();
    assert!(young.removed.is_empty());
    account.wait(2 * 86_400).await;
    let gone = prune(&state, day, account.clock.now(), false, |_| Ok(())).await.unwrap();
    assert_eq!(gone.removed, [RUN]);
    assert_eq!(account.blobs.names(), ["azmend.json"]);
}

#[tokio::test]
async fn what_did_not_change_is_not_read_again() {
    let account = Account::new();
    let state = account.machine("one");
    drop(RunFile::create(&state, OTHER, PLAN).await.unwrap());
    let run = RunFile::create(&state, RUN, PLAN).await.unwrap();
    let read = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&read);
    account.blobs.answer_by(move |_, verb, name| {
        if verb == "get" {
            told.lock().unwrap().push(name.to_owned());
        }
        Answering::Truly
    });
    let records = async || {
        let list = runs(&state).await.unwrap().runs;
        (list.len(), list.iter().filter(|run| run.last.is_some()).count(), std::mem::take(&mut *read.lock().unwrap()))
    };
    let (all, with, first) = records().await;
    assert_eq!((all, with, first.len()), (2, 0, 4));
    assert_eq!(records().await, (2, 0, Vec::new()));
    run.append(at(), warned(0)).await.unwrap();
    assert_eq!(records().await, (2, 1, vec![format!("runs/{RUN}/journal.jsonl")]));
}

#[tokio::test]
async fn what_another_program_wrote_into_a_journal_is_seen() {
    let account = Account::new();
    let state = account.machine("one");
    let run = RunFile::create(&state, RUN, PLAN).await.unwrap();
    run.append(at(), warned(0)).await.unwrap();
    let mut bytes = account.journal();
    bytes.extend_from_slice(b"{}\n");
    account.blobs.edit(&format!("runs/{RUN}/journal.jsonl"), &bytes);
    let error = run.append(at(), warned(1)).await.unwrap_err();
    assert!(!error.passes, "{error}");
    assert_eq!(account.journal(), bytes);
    assert!(matches!(load(&state, RUN).await.unwrap().integrity, Integrity::Edited { line: 2, .. }));
}

fn fleet() -> FleetRecord {
    let text = format!(
        r#"{{"format":"azmend.fleet-record/v1","id":"{RUN}","version":"1","retry_of":null,"started":"2026-11-20T09:00:00Z",
        "ended":null,"sandbox":true,"cloud":"sandbox","endpoint":"https://x/","estate_digest":"d","playbook":"auto",
        "playbooks":null,"set":[],"relock":false,"beyond":[],"scope":"{}","vms":[{{"vm":"/a","playbook":"p",
        "stage":"waiting","run":null,"status":"","why":""}}]}}"#,
        "x".repeat(5 * 1024 * 1024)
    );
    FleetRecord::parse(&text.replace('\n', ""), RUN).unwrap()
}

#[tokio::test]
async fn a_fleet_larger_than_one_append_is_whole_or_none() {
    let account = Account::new();
    let state = account.machine("one");
    // Killed between the parts of its first line: no fleet.
    account.blobs.answer_by(|_, verb, name| match (verb, name.starts_with("fleets/")) {
        ("append", true) => Answering::LostBefore,
        _ => Answering::Truly,
    });
    assert!(FleetFile::create(&state, fleet()).await.is_err());
    account.blobs.recover();
    assert!(matches!(load_fleet(&state, RUN).await, Err(JournalError::NoFleet { .. })));
    let account = Account::new();
    let state = account.machine("one");
    let file = FleetFile::create(&state, fleet()).await.unwrap();
    account
        .blobs
        .answer_by(|n, verb, _| if verb == "append" && n == 0 { Answering::LostAfter } else { Answering::Truly });
    file.change(0, |vm| vm.why = "복원".to_owned()).await.unwrap();
    assert_eq!(load_fleet(&account.machine("two"), RUN).await.unwrap(), file.record());
    assert!(Hold::take(&account.machine("two"), RUN, [LockKey::fleet(RUN)]).await.is_err());
}
