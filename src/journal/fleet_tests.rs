//! The record of a fleet: written line by line, read again after a crash at any byte.

use std::time::Duration;

use super::*;
use crate::journal::{Hold, StateDir, now};
use std::fs;

const A: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
const B: &str = "01890a5d-ff00-774b-bcce-b302099a8057";
const RUN: &str = "0199ffff-0000-774b-bcce-b302099a8057";

fn at(day: u64) -> Timestamp {
    Timestamp::UNIX_EPOCH + Duration::from_secs(day * 86_400)
}

fn record(id: &str) -> FleetRecord {
    let vm = |name: &str| FleetVm {
        vm: format!("/subscriptions/s/{name}"),
        playbook: "stuck-job".into(),
        stage: FleetStage::Waiting,
        run: None,
        status: String::new(),
        why: String::new(),
    };
    FleetRecord {
        format: FLEET_FORMAT.into(),
        id: id.into(),
        version: "1".into(),
        retry_of: None,
        started: at(20),
        ended: None,
        sandbox: true,
        cloud: "sandbox".into(),
        endpoint: "https://x/".into(),
        estate_digest: "d".into(),
        playbook: "auto".into(),
        playbooks: None,
        set: vec!["retain=14d".into()],
        relock: true,
        beyond: Vec::new(),
        scope: "all".into(),
        vms: vec![vm("a"), vm("b")],
    }
}

fn state() -> (tempfile::TempDir, State, StateDir) {
    let home = tempfile::tempdir().unwrap();
    let dir = StateDir::open(&home.path().join("s"), true).unwrap();
    (home, State::from(dir.clone()), dir)
}

#[test]
fn what_is_written_is_read_again_at_every_moment() {
    let (_home, state, dir) = state();
    let file = now(FleetFile::create(&state, record(A))).unwrap();
    assert_eq!(now(load_fleet(&state, A)).unwrap(), record(A));
    assert!(matches!(now(FleetFile::create(&state, record(A))), Err(JournalError::Busy { .. })));
    now(file.change(0, |vm| (vm.stage, vm.run) = (FleetStage::Begun, Some(RUN.into())))).unwrap();
    let read = now(load_fleet(&state, A)).unwrap();
    assert_eq!(read, file.record());
    assert_eq!(read.vms.first().unwrap().run.as_deref(), Some(RUN));
    now(file.change(0, |vm| (vm.stage, vm.status) = (FleetStage::Ended, "failed".into()))).unwrap();
    now(file.end(vec![(1, "failures".into(), "why".into())], at(21))).unwrap();
    let read = now(load_fleet(&state, A)).unwrap();
    assert_eq!((&read, read.ended), (&file.record(), Some(at(21))));
    assert_eq!(read.vms.first().map(|vm| (vm.stage, vm.run.as_deref())), Some((FleetStage::Ended, Some(RUN))));
    assert_eq!(read.vms.last().map(|vm| (vm.stage, vm.why.as_str())), Some((FleetStage::NotStarted, "why")));
    assert_eq!(fs::read_dir(dir.fleets_dir()).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn a_change_writes_little_however_many_vms_there_are() {
    let (_home, state, dir) = state();
    let one = record(A).vms.remove(0);
    let vms = (0..2_000).map(|n| FleetVm { vm: format!("{}{n}", one.vm), ..one.clone() }).collect();
    let file = now(FleetFile::create(&state, FleetRecord { vms, ..record(A) })).unwrap();
    let path = dir.fleets_dir().join(format!("{A}{ENDING}"));
    let before = fs::metadata(&path).unwrap().len();
    for index in [0, 1_999] {
        now(file.change(index, |vm| (vm.stage, vm.run) = (FleetStage::Begun, Some(RUN.into())))).unwrap();
    }
    let grown = fs::metadata(&path).unwrap().len() - before;
    assert!(before > 100_000 && grown < 500, "{before} {grown}");
    assert_eq!(now(load_fleet(&state, A)).unwrap(), file.record());
}

#[test]
fn a_crash_at_any_byte_leaves_a_record_that_is_understood() {
    let (_home, state, dir) = state();
    let file = now(FleetFile::create(&state, record(A))).unwrap();
    let path = dir.fleets_dir().join(format!("{A}{ENDING}"));
    let head = fs::read(&path).unwrap().len();
    now(file.change(0, |vm| (vm.stage, vm.run) = (FleetStage::Begun, Some(RUN.into())))).unwrap();
    let first = fs::read(&path).unwrap().len();
    now(file.change(0, |vm| (vm.stage, vm.why) = (FleetStage::Ended, "복원".into()))).unwrap();
    let whole = fs::read(&path).unwrap();
    for cut in head..whole.len() {
        fs::write(&path, whole.get(..cut).unwrap()).unwrap();
        let stage = now(load_fleet(&state, A)).unwrap_or_else(|e| panic!("{cut}: {e}")).vms.first().unwrap().stage;
        // Where the newline alone is missing the line is there.
        let expected = match cut + 1 {
            end if end >= whole.len() => FleetStage::Ended,
            end if end >= first => FleetStage::Begun,
            _ => FleetStage::Waiting,
        };
        assert_eq!(stage, expected, "{cut}");
    }
    // What follows half a line is not guessed at, and neither is half a first line.
    let torn = [whole.get(..first - 5).unwrap(), b"\n", whole.get(first..).unwrap()].concat();
    for bytes in [torn, whole.get(..head / 2).unwrap().to_vec(), Vec::new(), vec![0xff, 0xfe, b'\n', 0xff]] {
        fs::write(&path, bytes).unwrap();
        assert!(matches!(now(load_fleet(&state, A)), Err(JournalError::NotAFleet { .. })));
    }
}

#[test]
fn a_change_that_fails_leaves_the_record_as_it_was() {
    let (_home, state, dir) = state();
    let file = now(FleetFile::create(&state, record(A))).unwrap();
    let path = dir.fleets_dir().join(format!("{A}{ENDING}"));
    // Something in its place that nothing can be added to.
    let text = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    for _ in 0..2 {
        let begun = |vm: &mut FleetVm| (vm.stage, vm.run) = (FleetStage::Begun, Some(RUN.into()));
        assert!(now(file.change(0, begun)).is_err());
    }
    assert!(now(file.end(Vec::new(), at(21))).is_err());
    fs::remove_dir(&path).unwrap();
    fs::write(&path, text).unwrap();
    assert_eq!((file.record(), now(load_fleet(&state, A)).unwrap()), (record(A), record(A)));
    drop(file);
    assert!(matches!(now(FleetFile::create(&state, record(A))), Err(JournalError::Exists(_))));
}

#[test]
fn what_is_no_record_is_refused_and_hides_no_other() {
    let (_home, state, dir) = state();
    now(FleetFile::create(&state, record(A))).unwrap();
    let text = format!(
        "{}\n{}\n",
        serde_json::to_string(&record(B)).unwrap(),
        r#"{"vm":{"index":1,"stage":"waiting","run":null,"status":"","why":""}}"#
    );
    let edits = [
        ("fleet-record/v1", "fleet-record/v9"),
        ("\"relock\"", "\"rellock\""),
        ("\"waiting\"", "\"begun\""),
        ("\"waiting\"", "\"great\""),
        ("\"run\":null", "\"run\":\"../../x\""),
        ("subscriptions/s/b", "SUBSCRIPTIONS/s/A"),
        (B, A),
        ("{", ""),
        ("{\"vm\":{\"index\"", "{\"wm\":{\"index\""),
        ("\"index\":1", "\"index\":2"),
        ("\"index\":1", "\"index\":-1"),
        ("\"index\":1", "\"index\":1,\"more\":1"),
    ];
    for (from, to) in edits {
        let wrong = text.replacen(from, to, 1);
        assert_ne!(wrong, text);
        fs::write(dir.fleets_dir().join(format!("{B}{ENDING}")), wrong).unwrap();
        assert!(matches!(now(load_fleet(&state, B)), Err(JournalError::NotAFleet { .. })), "{to}");
        let list = now(fleets(&state)).unwrap();
        assert_eq!((list.fleets.len(), list.skipped.len()), (1, 1), "{to}");
    }
    fs::write(dir.fleets_dir().join(format!("{B}{ENDING}")), &text).unwrap();
    assert_eq!(now(fleets(&state)).unwrap().fleets.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), [B, A]);
}

#[test]
fn the_beginning_of_an_id_is_enough_and_old_records_go() {
    let (_home, state, dir) = state();
    assert!(matches!(now(resolve_fleet_id(&state, "01")), Err(JournalError::NoFleet { .. })));
    now(FleetFile::create(&state, record(A))).unwrap();
    now(FleetFile::create(&state, FleetRecord { ended: Some(at(39)), ..record(B) })).unwrap();
    assert_eq!(now(resolve_fleet_id(&state, "01890A5D-f")).unwrap(), B);
    assert!(matches!(now(resolve_fleet_id(&state, "01890a5d")), Err(JournalError::Ambiguous { .. })));
    assert!(matches!(now(resolve_fleet_id(&state, "../..")), Err(JournalError::NotARunId(_))));
    let month = Span::from_secs(10 * 86_400);
    assert_eq!(now(prune_fleets(&state, month, at(40), |_| false)).unwrap(), Vec::<String>::new());
    // One that is under way stays.
    let held = now(Hold::take(&state, A, [LockKey::fleet(A)])).unwrap();
    assert_eq!(now(prune_fleets(&state, month, at(40), |_| true)).unwrap(), Vec::<String>::new());
    drop(held);
    assert_eq!(now(prune_fleets(&state, month, at(40), |_| true)).unwrap(), [A]);
    assert_eq!(now(fleets(&state)).unwrap().fleets.len(), 1);
    assert_eq!(fs::read_dir(dir.locks_dir()).unwrap().count(), 1, "the lock of the other one");
}
