use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::journal::disk::UNFINISHED;
use crate::journal::lock::LockKey;
use crate::journal::{Ending, FORMAT, Purpose, StateDir, Tail, now};

const RUN: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
const OTHER: &str = "01890a5d-ac96-774b-bcce-b302099a8058";
const PLAN_JSON: &str = r#"{"format":"azmend.plan/v1","playbook":"stuck-job"}"#;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_795_000_000 + second).unwrap()
}

fn intent(change: &str, verb: &str) -> Event {
    Event::Intent {
        change: change.into(),
        attempt: 1,
        purpose: Purpose::Do,
        verb: verb.into(),
        target: "/subscriptions/1/providers/Microsoft.Authorization/locks/잠금".into(),
        before: json!({"level": "CanNotDelete", "notes": "줄\n\"바꿈\" \u{202e}", "n": 18_446_744_073_709_551_615u64, "f": 0.1}),
        client_request_id: "c0ffee".into(),
    }
}

fn events() -> Vec<Event> {
    events_of(FORMAT)
}

/// What the journals of the fixtures say, in the words of any format.
fn events_of(format: u32) -> Vec<Event> {
    let ending = Ending {
        outcome: crate::journal::EndKind::Succeeded,
        detail: "gone (404)".into(),
        code: String::new(),
        hint: None,
        permission: false,
        effect: None,
    };
    vec![
        Event::Started {
            format,
            run: RUN.into(),
            version: "0.1.0".into(),
            plan_hash: "ab".into(),
            pid: 4711,
            origin: None,
        },
        Event::StepStarted { step: "unlock".into() },
        intent("unlock.1", "DELETE"),
        Event::Answered {
            change: "unlock.1".into(),
            purpose: Purpose::Do,
            how: crate::journal::Answer::Ok,
            detail: String::new(),
        },
        Event::Ended { change: "unlock.1".into(), purpose: Purpose::Do, ending },
        intent("backup.1", "POST"),
    ]
}

struct Place {
    _home: tempfile::TempDir,
    dir: StateDir,
    state: State,
}

impl Place {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let dir = StateDir::open(&home.path().join("s"), true).unwrap();
        Self { _home: home, state: State::from(dir.clone()), dir }
    }

    /// A place with a run that says [`events`].
    fn with_run() -> Self {
        let place = Self::new();
        let run = now(RunFile::create(&place.state, RUN, PLAN_JSON)).unwrap();
        for (second, event) in (0..).zip(events()) {
            now(run.append(at(second), event)).unwrap();
        }
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.runs_dir().join(RUN).join(name)
    }

    fn journal(&self) -> Vec<u8> {
        fs::read(self.path(JOURNAL)).unwrap()
    }

    fn set_journal(&self, bytes: &[u8]) {
        fs::write(self.path(JOURNAL), bytes).unwrap();
    }
}

fn parse(journal: &[u8]) -> Loaded {
    chain::read(journal, Some(PLAN_JSON.as_bytes()), RUN).0
}

fn said(records: &[Record]) -> Vec<Event> {
    records.iter().map(|record| record.event.clone()).collect()
}

fn warned(text: &str) -> Event {
    Event::Warned { text: text.into() }
}

#[test]
fn what_is_written_is_read_back_and_goes_on() {
    let place = Place::with_run();
    let (run, loaded) = now(RunFile::open(&place.state, RUN)).unwrap();
    assert_eq!((loaded.tail, &loaded.integrity, loaded.format), (Tail::Clean, &Integrity::Intact, FORMAT));
    assert_eq!(loaded.plan_json, PLAN_JSON);
    assert_eq!(said(&loaded.records), events());
    assert_eq!(loaded.deletions().count(), 1);
    now(run.append(at(9), Event::Resumed { version: "0.1.0".into(), pid: 1 })).unwrap();
    assert_eq!(run.records().last().unwrap().seq, 7);
    drop(run);
    let loaded = now(load(&place.state, RUN)).unwrap();
    assert!(loaded.is_intact());
    assert_eq!(loaded.records.len(), 7);
    assert_eq!(loaded.records.iter().map(|r| r.at).take(2).collect::<Vec<_>>(), [at(0), at(1)]);
}

#[test]
fn a_journal_can_be_shown_on_a_terminal() {
    let place = Place::with_run();
    let run = now(RunFile::open(&place.state, RUN)).unwrap().0;
    let text = "\u{9b}31m\u{7f}\u{e0041}\x1b";
    now(run.append(at(0), warned(text))).unwrap();
    let written = String::from_utf8(place.journal()).unwrap();
    assert!(written.lines().all(|line| crate::text::safe(line) == line), "{written:?}");
    assert_eq!(now(load(&place.state, RUN)).unwrap().records.last().unwrap().event, warned(text));
}

#[test]
fn a_crash_at_any_byte_loses_only_the_unfinished_line() {
    let place = Place::with_run();
    let whole = place.journal();
    for length in 0..=whole.len() {
        let cut = &whole[..length];
        let lines = cut.iter().filter(|byte| **byte == b'\n').count();
        let rest = length - cut.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        // A line that lacks nothing but its newline is whole.
        let (lines, tail) = match rest {
            0 => (lines, Tail::Clean),
            _ if whole[length] == b'\n' => (lines + 1, Tail::Clean),
            _ => (lines, Tail::Torn { bytes: rest as u64 }),
        };
        let loaded = parse(cut);
        assert_eq!((loaded.integrity, loaded.tail), (Integrity::Intact, tail), "cut at {length}");
        assert_eq!(said(&loaded.records), events()[..lines], "cut at {length}");
        assert!(loaded.salvaged.is_empty());
    }
}

#[test]
fn a_cut_run_goes_on_behind_its_last_whole_line() {
    let place = Place::with_run();
    let whole = place.journal();
    let last_line = whole[..whole.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    // Every byte is covered without a disk above; each round here waits for the disk.
    let near_the_ends = [last_line, last_line + 1, whole.len() - 1, whole.len()];
    for length in (last_line..whole.len()).step_by(29).chain(near_the_ends) {
        place.set_journal(&whole[..length]);
        let (run, loaded) = now(RunFile::open(&place.state, RUN)).unwrap();
        let before = loaded.records.len();
        assert_eq!(fs::metadata(place.path(JOURNAL)).unwrap().len(), length as u64, "opening changes nothing");
        now(run.append(at(10), warned("one"))).unwrap();
        now(run.append(at(11), warned("two"))).unwrap();
        drop(run);
        let again = now(load(&place.state, RUN)).unwrap();
        assert_eq!((again.tail, again.integrity), (Tail::Clean, Integrity::Intact), "cut at {length}");
        assert_eq!(again.records[..before], loaded.records);
        assert_eq!(said(&again.records[before..]), [warned("one"), warned("two")]);
    }
}

#[test]
fn what_stands_after_an_edit_is_only_salvaged() {
    let place = Place::with_run();
    let text = String::from_utf8(place.journal()).unwrap();
    place.set_journal(text.replace("\"unlock\"", "\"Unlock\"").as_bytes());
    let edited = place.journal();
    let (run, loaded) = now(RunFile::open(&place.state, RUN)).unwrap();
    let why = "its checksum does not fit it and the line before".to_owned();
    assert_eq!(loaded.integrity, Integrity::Edited { line: 2, why });
    assert_eq!(said(&loaded.records), events()[..1]);
    assert_eq!(loaded.salvaged.len(), 5);
    assert_eq!(loaded.deletions().count(), 1, "the lock is still found");
    // A relock can still be recorded; what is there stays as it is, and the journal stays flagged.
    now(run.append(at(20), warned("put back"))).unwrap();
    drop(run);
    assert!(place.journal().starts_with(&edited));
    let again = now(load(&place.state, RUN)).unwrap();
    assert!(!again.is_intact());
    let last = again.salvaged.last().unwrap();
    assert_eq!((last.seq, &last.event), (7, &warned("put back")));
}

#[test]
fn an_edited_journal_with_a_torn_end_keeps_every_byte() {
    let place = Place::with_run();
    let mut bytes = place.journal();
    bytes[10] ^= 1;
    bytes.truncate(bytes.len() - 30);
    place.set_journal(&bytes);
    let (run, loaded) = now(RunFile::open(&place.state, RUN)).unwrap();
    assert!(matches!((loaded.tail, loaded.integrity), (Tail::Torn { .. }, Integrity::Edited { line: 1, .. })));
    now(run.append(at(20), warned("put back"))).unwrap();
    assert!(place.journal().starts_with(&bytes));
    assert_eq!(now(load(&place.state, RUN)).unwrap().salvaged.last().unwrap().event, warned("put back"));
}

#[test]
fn the_plan_belongs_to_the_journal() {
    let place = Place::with_run();
    fs::write(place.path(PLAN), PLAN_JSON.replace("stuck", "other")).unwrap();
    let loaded = now(load(&place.state, RUN)).unwrap();
    let why = "plan.json is not the plan of this run".to_owned();
    assert_eq!(loaded.integrity, Integrity::Edited { line: 0, why });
    assert_eq!(said(&loaded.records), events(), "what happened can be relied on");
    fs::remove_file(place.path(PLAN)).unwrap();
    let loaded = now(load(&place.state, RUN)).unwrap();
    assert_eq!(loaded.integrity, Integrity::Edited { line: 0, why: "plan.json is missing".into() });
    assert_eq!(loaded.records.len(), 6);
}

#[test]
fn a_journal_of_another_run_and_a_missing_one_are_damage() {
    let place = Place::with_run();
    now(RunFile::create(&place.state, OTHER, PLAN_JSON)).unwrap();
    fs::copy(place.path(JOURNAL), place.dir.runs_dir().join(OTHER).join(JOURNAL)).unwrap();
    assert!(matches!(now(load(&place.state, OTHER)).unwrap().integrity, Integrity::Edited { line: 1, .. }));
    fs::remove_file(place.path(JOURNAL)).unwrap();
    let (run, loaded) = now(RunFile::open(&place.state, RUN)).unwrap();
    assert_eq!(loaded.integrity, Integrity::Edited { line: 1, why: "journal.jsonl is missing".into() });
    assert!(now(run.append(at(0), warned("x"))).is_err(), "the run opens, and its journal cannot be written");
}

#[test]
fn a_newer_format_is_read_and_not_written() {
    let place = Place::with_run();
    let text = String::from_utf8(place.journal()).unwrap();
    // A newer azmend may sum in another way and say things this one does not know.
    let newer = text.replace("\"format\":2", "\"format\":3").replace("\"event\":\"answered\"", "\"event\":\"heard\"");
    place.set_journal(newer.as_bytes());
    let (run, loaded) = now(RunFile::open(&place.state, RUN)).unwrap();
    assert_eq!((loaded.integrity.clone(), loaded.format), (Integrity::TooNew { format: 3 }, 3));
    assert_eq!((loaded.records.len() + loaded.salvaged.len(), loaded.deletions().count()), (5, 1));
    let error = now(run.append(at(0), warned("x"))).unwrap_err();
    assert!(error.why.contains("newer azmend"), "{error}");
    assert_eq!(place.journal(), newer.as_bytes());
}

#[test]
fn an_unknown_event_with_a_good_sum_is_newer_and_not_edited() {
    let place = Place::with_run();
    let mut bytes = place.journal();
    let (_, next) = chain::read(&bytes, None, RUN);
    let body = r#"{"seq":7,"at":"2026-11-20T09:00:00Z","event":"danced""#;
    let sum = chain::digest(&[next.sum.as_bytes(), body.as_bytes()]);
    bytes.extend_from_slice(format!("{body},\"sum\":\"{sum}\"}}\n").as_bytes());
    let loaded = parse(&bytes);
    assert_eq!(loaded.integrity, Integrity::TooNew { format: FORMAT });
    assert_eq!(loaded.records.len(), 6);
}

#[test]
fn old_formats_stay_readable() {
    // Written by azmend 0.1.0. Never change these files: people have journals like them.
    let (journal, plan) = (include_bytes!("fixtures/v1/journal.jsonl"), include_bytes!("fixtures/v1/plan.json"));
    let (loaded, next) = chain::read(journal, Some(plan), RUN);
    assert_eq!((loaded.integrity, loaded.tail, loaded.format), (Integrity::Intact, Tail::Clean, 1));
    assert_eq!(said(&loaded.records), events_of(1));
    assert_eq!(next.seq, 6);
}

#[test]
fn one_process_at_a_time_works_on_a_run() {
    let place = Place::new();
    let run = now(RunFile::create(&place.state, RUN, PLAN_JSON)).unwrap();
    let error = now(RunFile::open(&place.state, RUN)).unwrap_err();
    let expected = format!("another azmend (pid {}, run {RUN}) is working on the run {RUN}", std::process::id());
    assert_eq!(error.to_string(), expected);
    assert!(now(load(&place.state, RUN)).is_ok(), "looking is always possible");
    let holder = now(RunFile::holder(&place.state, RUN)).unwrap();
    assert_eq!(holder.as_deref(), Some(format!("pid {}, run {RUN}", std::process::id()).as_str()));
    assert_eq!(now(RunFile::create(&place.state, RUN, "{}")).unwrap_err(), JournalError::Exists(RUN.into()));
    drop(run);
    assert_eq!(now(RunFile::holder(&place.state, RUN)).unwrap(), None, "it was killed, or is over");
    assert_eq!(now(RunFile::open(&place.state, RUN)).unwrap().1.plan_json, PLAN_JSON);
    assert!(matches!(now(RunFile::open(&place.state, OTHER)), Err(JournalError::NoRun { .. })));
}

#[test]
fn a_run_that_cannot_be_made_leaves_nothing() {
    let place = Place::new();
    // A leftover of a crash under the same id is cleared away first; a file in its place cannot be.
    fs::create_dir(place.dir.runs_dir().join(format!("{UNFINISHED}{RUN}"))).unwrap();
    drop(now(RunFile::create(&place.state, RUN, PLAN_JSON)).unwrap());
    fs::write(place.dir.runs_dir().join(format!("{UNFINISHED}{OTHER}")), "").unwrap();
    let error = now(RunFile::create(&place.state, OTHER, PLAN_JSON)).unwrap_err();
    assert!(error.to_string().starts_with("cannot clear away /"), "{error}");
    assert!(matches!(now(load(&place.state, OTHER)), Err(JournalError::NoRun { .. })));
    fs::remove_dir_all(place.dir.runs_dir()).unwrap();
    fs::write(place.dir.runs_dir(), "").unwrap();
    assert!(matches!(now(RunFile::create(&place.state, OTHER, PLAN_JSON)), Err(JournalError::WrongKind { .. })));
}

#[cfg(unix)]
#[test]
fn links_in_a_run_are_not_followed() {
    let place = Place::with_run();
    let elsewhere = place.dir.root().join("elsewhere");
    fs::rename(place.path(JOURNAL), &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, place.path(JOURNAL)).unwrap();
    let error = now(load(&place.state, RUN)).unwrap_err();
    assert!(error.to_string().ends_with("journal.jsonl is a symbolic link, not a file"), "{error}");
}

/// A disk with room for some bytes; then it writes what fits and fails.
#[derive(Debug)]
struct FullDisk {
    disk: Arc<dyn Store>,
    room: AtomicUsize,
    calls: AtomicUsize,
}

impl FullDisk {
    fn under(place: &Place, room: usize) -> (Arc<Self>, State) {
        let disk = Arc::clone(place.state.store());
        let full = Arc::new(Self { disk, room: AtomicUsize::new(room), calls: AtomicUsize::new(0) });
        (Arc::clone(&full), State::of(full))
    }
}

fn full() -> JournalError {
    JournalError::io("write", Path::new("journal.jsonl"), &io::ErrorKind::StorageFull.into())
}

#[async_trait]
impl Store for FullDisk {
    fn place(&self) -> String {
        self.disk.place()
    }

    fn shown(&self, name: &str) -> String {
        self.disk.shown(name)
    }

    async fn read(&self, name: &str) -> Result<Option<Vec<u8>>, JournalError> {
        self.disk.read(name).await
    }

    async fn has(&self, folder: &str) -> Result<bool, JournalError> {
        self.disk.has(folder).await
    }

    async fn create(&self, files: &[(&str, &[u8])]) -> Result<(), JournalError> {
        self.disk.create(files).await
    }

    async fn append(&self, name: &str, at: u64, bytes: &[u8], lease: &dyn Lease) -> Result<(), JournalError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let fits = bytes.len().min(self.room.load(Ordering::Relaxed));
        self.disk.append(name, at, &bytes[..fits], lease).await?;
        self.room.fetch_sub(fits, Ordering::Relaxed);
        if fits < bytes.len() { Err(full()) } else { Ok(()) }
    }

    async fn cut(&self, _: &str, _: u64) -> Result<(), JournalError> {
        Err(full())
    }

    async fn names(&self, folder: &str) -> Result<Vec<String>, JournalError> {
        self.disk.names(folder).await
    }

    async fn remove_run(&self, run: &str, lease: Arc<dyn Lease>) -> Result<(), JournalError> {
        self.disk.remove_run(run, lease).await
    }

    async fn remove_fleet(&self, name: &str, key: &LockKey, lease: Arc<dyn Lease>) -> Result<(), JournalError> {
        self.disk.remove_fleet(name, key, lease).await
    }

    async fn sweep(&self, now: Timestamp) {
        self.disk.sweep(now).await;
    }

    async fn hold(&self, thing: Thing<'_>, run: &str) -> Result<Arc<dyn Lease>, JournalError> {
        self.disk.hold(thing, run).await
    }

    async fn holder(&self, thing: Thing<'_>) -> Result<Option<String>, JournalError> {
        self.disk.holder(thing).await
    }
}

/// A device without storage takes the bytes and cannot sync them: an append that does not say so has not synced.
#[cfg(target_os = "linux")]
#[test]
fn an_append_is_over_when_the_disk_has_it() {
    let mut file = state::open_to_add(Path::new("/dev/null")).unwrap();
    assert!(state::add_line(&mut file, b"a line\n").is_err());
}

#[test]
fn what_another_process_added_is_not_written_behind() {
    let place = Place::with_run();
    let (run, _) = now(RunFile::open(&place.state, RUN)).unwrap();
    let mut bytes = place.journal();
    bytes.extend_from_slice(b"{}\n");
    place.set_journal(&bytes);
    let error = now(run.append(at(9), warned("x"))).unwrap_err();
    assert!(error.why.contains("something else changed it") && !error.passes, "{error}");
    assert_eq!(place.journal(), bytes);
}

#[test]
fn a_full_disk_stops_the_run_and_loses_nothing_that_was_written() {
    let size = Place::with_run().journal().len();
    for room in (0..size).step_by(61) {
        let place = Place::new();
        let (disk, state) = FullDisk::under(&place, room);
        let run = now(RunFile::create(&state, RUN, PLAN_JSON)).unwrap();
        let answers: Vec<bool> = events().into_iter().map(|event| now(run.append(at(0), event)).is_ok()).collect();
        let written = answers.iter().filter(|ok| **ok).count();
        assert!(answers.iter().skip(written).all(|ok| !ok), "after one failure all fail: {answers:?}");
        assert_eq!(disk.calls.load(Ordering::Relaxed), written + 1, "the disk is not asked again");
        let error = now(run.append(at(0), warned("x"))).unwrap_err();
        assert!(error.to_string().contains("no space is left on the disk (free some space where"), "{error}");
        assert_eq!(run.records().len(), written);
        drop(run);

        let (run, loaded) = now(RunFile::open(&place.state, RUN)).unwrap();
        assert!(loaded.is_intact());
        // A line that lacks only its newline is read although its append failed.
        assert!((written..=written + 1).contains(&loaded.records.len()));
        now(run.append(at(1), warned("space again"))).unwrap();
        drop(run);
        let again = now(load(&place.state, RUN)).unwrap();
        assert_eq!((again.integrity, again.tail), (Integrity::Intact, Tail::Clean), "room {room}");
    }
}

#[test]
fn a_torn_end_that_cannot_be_cut_is_not_written_over() {
    let place = Place::with_run();
    let whole = place.journal();
    place.set_journal(&whole[..whole.len() - 5]);
    let (_, state) = FullDisk::under(&place, 10_000);
    let (run, _) = now(RunFile::open(&state, RUN)).unwrap();
    assert!(now(run.append(at(1), warned("x"))).is_err());
    assert_eq!(place.journal(), &whole[..whole.len() - 5]);
}

fn journal_bytes() -> &'static [u8] {
    include_bytes!("fixtures/v1/journal.jsonl")
}

fn parse_fixture(journal: &[u8]) -> Loaded {
    chain::read(journal, Some(include_bytes!("fixtures/v1/plan.json")), RUN).0
}

proptest! {
    #[test]
    fn one_changed_byte_is_always_seen(index in any::<prop::sample::Index>(), flip in 1u8..=255) {
        let mut bytes = journal_bytes().to_vec();
        let place = index.index(bytes.len());
        let line = bytes[..place].iter().filter(|byte| **byte == b'\n').count();
        bytes[place] ^= flip;
        let loaded = parse_fixture(&bytes);
        prop_assert!(!loaded.is_intact(), "byte {} of line {}", place, line + 1);
        prop_assert_eq!(said(&loaded.records), &events_of(1)[..line], "nothing from the damage on is relied on");
    }

    #[test]
    fn one_changed_byte_of_the_plan_is_always_seen(index in any::<prop::sample::Index>(), flip in 1u8..=255) {
        let mut plan = include_bytes!("fixtures/v1/plan.json").to_vec();
        let place = index.index(plan.len());
        plan[place] ^= flip;
        let edited_plan = matches!(chain::read(journal_bytes(), Some(&plan), RUN).0.integrity, Integrity::Edited { line: 0, .. });
        prop_assert!(edited_plan);
    }

    #[test]
    fn inserted_bytes_are_always_seen(index in any::<prop::sample::Index>(), bytes in prop::collection::vec(any::<u8>(), 1..5)) {
        let mut journal = journal_bytes().to_vec();
        let place = index.index(journal.len());
        journal.splice(place..place, bytes);
        prop_assert!(!parse_fixture(&journal).is_intact());
    }

    #[test]
    fn removed_bytes_are_seen_or_a_crash(from in any::<prop::sample::Index>(), count in 1usize..400) {
        let mut journal = journal_bytes().to_vec();
        let from = from.index(journal.len());
        let to = (from + count).min(journal.len());
        let at_the_end = to == journal.len();
        journal.drain(from..to);
        let loaded = parse_fixture(&journal);
        prop_assert_eq!(loaded.is_intact(), at_the_end);
        let (records, written) = (said(&loaded.records), events_of(1));
        prop_assert!(written.starts_with(&records));
    }

    #[test]
    fn lines_that_are_moved_doubled_or_left_out_are_seen(order in prop::collection::vec(0usize..6, 1..8)) {
        let lines: Vec<&[u8]> = journal_bytes().split_inclusive(|byte| *byte == b'\n').collect();
        let journal: Vec<u8> = order.iter().flat_map(|i| lines[*i].iter().copied()).collect();
        let expected = order.iter().copied().eq(0..order.len());
        prop_assert_eq!(parse_fixture(&journal).is_intact(), expected);
    }

    #[test]
    fn any_bytes_can_be_read(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let (loaded, next) = chain::read(&bytes, None, RUN);
        prop_assert!(loaded.records.is_empty() && next.keep <= bytes.len() as u64);
    }
}
