//! The journal in a storage account, in the matrices: at each append of a run the answer is lost, late or never comes, storage is
//! down, or another machine takes the lease. Then the run is resumed or undone on another machine. Nothing is sent without its
//! intent, nothing after a lost lease; the end is that of a quiet run, or an allowed one. `AZMEND_FULL=1` runs every append.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use azmend::clock::{Clock, later};
use azmend::engine::{Plan, Run, RunResult, Status};
use azmend::journal::{
    Answering, AppendError, BlobStore, Event, Integrity, MemoryBlobs, Record, RunFile, RunLog, State,
};
use jiff::Timestamp;

use crate::crash_matrix::{ask, repair, scene};
use crate::matrix_support::*;
use crate::support::{Lab, RUN};

/// What goes wrong at one append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    At(Answering),
    /// Nothing is answered for so long.
    Down(Duration),
}

const TROUBLES: [Trouble; 7] = [
    Trouble::At(Answering::LostBefore),
    Trouble::At(Answering::LostAfter),
    Trouble::At(Answering::Late(2)),
    Trouble::At(Answering::Silence),
    Trouble::At(Answering::Taken),
    Trouble::Down(Duration::from_secs(8)),
    Trouble::Down(Duration::from_secs(300)),
];

/// A run's journal in blobs; what was written is on a tape, too, which the watch knows.
#[derive(Debug)]
struct Taped {
    file: RunFile,
    tape: Arc<Tape>,
}

#[async_trait]
impl RunLog for Taped {
    async fn append(&self, at: Timestamp, event: Event) -> Result<Record, AppendError> {
        let record = self.file.append(at, event.clone()).await?;
        self.tape.append(at, event).await?;
        Ok(record)
    }

    fn records(&self) -> Vec<Record> {
        self.file.records()
    }

    fn lost(&self) -> Option<String> {
        self.file.lost()
    }
}

/// An account and the Azure of one case.
struct Place<'a> {
    lab: &'a Lab,
    plan: &'a Plan,
    blobs: MemoryBlobs,
}

impl<'a> Place<'a> {
    fn new(lab: &'a Lab, plan: &'a Plan) -> Self {
        Self { lab, plan, blobs: MemoryBlobs::new(Arc::new(lab.sim.clock().clone())) }
    }

    fn machine(&self, host: &str) -> State {
        let clock: Arc<dyn Clock> = Arc::new(self.lab.sim.clock().clone());
        State::of(Arc::new(BlobStore::new(Arc::new(self.blobs.clone()), clock, host)))
    }

    fn run(&self, tape: &Arc<Tape>, file: RunFile) -> Run {
        let log = Arc::new(Taped { file, tape: Arc::clone(tape) });
        Run { log, ..run(self.lab, self.plan, tape) }
    }

    /// From now on this goes wrong at the `nth` append; gives back how many changes had been sent then.
    fn goes_wrong(&self, nth: usize, trouble: Trouble) -> Arc<Mutex<Option<usize>>> {
        let (sim, clock) = (self.lab.sim.clone(), self.lab.sim.clock().clone());
        let sent: Arc<Mutex<Option<usize>>> = Arc::default();
        let (told, mut count, mut until) = (Arc::clone(&sent), 0, None);
        self.blobs.answer_by(move |_, verb, _| {
            let this = verb == "append" && count == nth;
            count += usize::from(verb == "append");
            if this && told.lock().unwrap().is_none() {
                *told.lock().unwrap() = Some(sim.log().iter().filter(|one| one.mutating).count());
                match trouble {
                    Trouble::At(answering) => return answering,
                    Trouble::Down(time) => until = Some(later(clock.now(), time)),
                }
            }
            if until.is_some_and(|until| clock.now() < until) { Answering::LostBefore } else { Answering::Truly }
        });
        sent
    }
}

/// A quiet run to its end.
async fn quiet(scene: &Scene) -> (usize, azmend::sim::World, u8) {
    let lab = scene.lab();
    let plan = scene.plan(&lab).await;
    let place = Place::new(&lab, &plan);
    let tape = Tape::new(&lab.sim, Vec::new(), false);
    let text = serde_json::to_string(&plan).unwrap();
    let file = RunFile::create(&place.machine("one"), RUN, &text).await.unwrap();
    let run = place.run(&tape, file);
    let first = Box::pin(run.start()).await;
    let result = Box::pin(carry_on(&lab, &run, first, 5)).await;
    assert!(matches!(result.exit_code, 0 | 9), "{}: {}", scene.name, brief(&result));
    (tape.all().len(), lab.sim.world(), result.exit_code)
}

async fn every_append(scene: Scene, stride: usize) {
    let (appends, end, code) = Box::pin(quiet(&scene)).await;
    let stride = if std::env::var_os("AZMEND_FULL").is_some() { 1 } else { stride };
    let mut findings = Findings::default();
    for nth in 0..appends {
        for (number, trouble) in TROUBLES.into_iter().enumerate() {
            // A lost lease is cheap, and tried at each append.
            let lease = trouble == Trouble::At(Answering::Taken);
            if !lease && !(nth + number).is_multiple_of(stride) {
                continue;
            }
            findings.cases += 1;
            let undo = (nth + number).is_multiple_of(2 * stride);
            let case = format!("{}: {trouble:?} at append {nth}, {}", scene.name, if undo { "undo" } else { "resume" });
            Box::pin(one(&mut findings, &case, &scene, (nth, trouble, undo), (&end, code))).await;
        }
    }
    findings.end(&scene.name);
}

async fn one(
    findings: &mut Findings,
    case: &str,
    scene: &Scene,
    (nth, trouble, undo): (usize, Trouble, bool),
    (expected, code): (&azmend::sim::World, u8),
) {
    let lab = scene.lab();
    let watch = Watch::over(&lab, None);
    let plan = scene.plan(&lab).await;
    let place = Place::new(&lab, &plan);
    let tape = Tape::new(&lab.sim, Vec::new(), false);
    watch.allow(&plan, &tape);
    let text = serde_json::to_string(&plan).unwrap();
    let file = RunFile::create(&place.machine("one"), RUN, &text).await.unwrap();
    let sent = place.goes_wrong(nth, trouble);
    let run = place.run(&tape, file);
    // Whatever it pauses for, the next machine comes back.
    let first = Box::pin(run.start()).await;
    let mut wrong = ended_as_it_may(&first, trouble, run.log.lost().is_some());
    if run.log.lost().is_some() && matches!(trouble, Trouble::At(_)) {
        let before = sent.lock().unwrap().unwrap_or_default();
        let now = lab.sim.log().iter().filter(|one| one.mutating).count();
        if now != before {
            wrong.push(format!("{} changes were sent after the lease was lost", now - before));
        }
    }
    drop(run);
    place.blobs.recover();
    lab.sim.clock().advance(Duration::from_secs(first.retry_after.unwrap_or(0).max(120)));

    // Another machine, with an empty disk.
    let two = place.machine("two");
    let (file, loaded) = match RunFile::open(&two, RUN).await {
        Ok(opened) => opened,
        Err(error) => return findings.add(case, vec![error.to_string()]),
    };
    if loaded.integrity != Integrity::Intact || loaded.plan_json != text {
        wrong.push(format!("the journal is damaged: {:?}", loaded.integrity));
    }
    let kept = loaded.records;
    if kept.is_empty() {
        // Nothing was written: nothing was sent, and there is nothing to take up.
        if !watch.mutations().is_empty() {
            wrong.push(format!("it sent without a line: {:?}", watch.mutations()));
        }
        return findings.add(case, wrong);
    }
    let tape = Tape::new(&lab.sim, kept.clone(), false);
    watch.allow(&plan, &tape);
    let run = place.run(&tape, file);
    let over = azmend::engine::RunState::fold(&plan, &kept).is_ok_and(|state| !state.resumable());
    let result = match (undo, over) {
        (true, _) => Box::pin(run.undo()).await,
        (false, true) => first.clone(),
        (false, false) => Box::pin(run.resume()).await,
    };
    let result = Box::pin(carry_on(&lab, &run, result, 5)).await;
    let end = lab.sim.world();
    wrong.extend(untruths(&plan, &result, &scene.world, &end, &tape.all(), false));
    // A lock is restored without a line when the journal cannot be written (S2).
    let down = matches!(trouble, Trouble::Down(_));
    wrong.extend(
        watch
            .broken()
            .into_iter()
            .filter(|text| !(down && text.contains("/locks/") && text.contains("S2: it has no intent"))),
    );
    let (now, started) = (shape(&end, &scene.world), shape(&scene.world, &scene.world));
    // An intent that was written and whose answer was not: nobody can say whether a backup was started.
    let unsure = result.exit_code == 8;
    // A lock that was restored while storage was down has no line: the next machine takes it for somebody else's, and stops.
    let unwritten = down && result.error.as_ref().is_some_and(|error| error.code == "s5.came-back");
    if undo {
        if now.locks != started.locks {
            wrong.push("the locks are not as at the start".to_owned());
        }
        if !matches!(result.exit_code, 0 | 6) {
            wrong.push("undo did not end well".to_owned());
        }
    } else if now.locks != shape(expected, &scene.world).locks {
        wrong.push("the locks are not as without the trouble".to_owned());
    } else if !unsure && !unwritten && (now != shape(expected, &scene.world) || result.exit_code != code) {
        wrong.push(format!("another end: {}", now.difference(&shape(expected, &scene.world))));
    }
    if !wrong.is_empty() {
        wrong.push(format!("{}\n   after {}", brief(&result), brief(&first)));
    }
    findings.add(case, wrong);
}

/// How the first machine may end.
fn ended_as_it_may(result: &RunResult, trouble: Trouble, lost: bool) -> Vec<String> {
    let mut wrong = Vec::new();
    let word = result.error.as_ref().map_or("", |error| error.code.as_str());
    if lost && (result.exit_code, word) != (7, "lease_lost") && result.status != Status::Stuck {
        wrong.push(format!("it lost its lease, and ended with {} {word}", result.exit_code));
    }
    match trouble {
        Trouble::At(Answering::Taken) if !lost => wrong.push("it did not hear of the loss".to_owned()),
        Trouble::At(Answering::Taken) | Trouble::Down(_) => {}
        Trouble::At(_) if lost || word == "journal" => wrong.push("one answer stopped it".to_owned()),
        Trouble::At(_) => {}
    }
    wrong
}

macro_rules! appends {
    ($($name:ident: $scene:expr, $stride:literal;)*) => { $(
        #[tokio::test]
        async fn $name() {
            Box::pin(every_append($scene, $stride)).await;
        }
    )* };
}

appends! {
    limit: scene("rp-collection-limit", "web-01", ask(&[], false)), 5;
    limit_relock: scene("rp-collection-limit", "web-01", ask(&[], true)), 3;
    unlock: scene("unlock-backup-groups", "web-01", ask(&[], false)), 2;
    unlock_relock: scene("unlock-backup-groups", "db-03", ask(&[], true)), 3;
    superseded: scene("delete-stale-collections", "db-03", ask(&[("unlock", "true")], true)), 5;
    extension: scene("extension-operation-failed", "app-02", ask(&[], false)), 5;
    backup: scene("backup-now", "ok-07", ask(&[], false)), 2;
    protection: scene("datasource-not-present", "stop-12", ask(&[("policy", "daily-2d")], false)), 2;
    deleted_vm: repair("stale-collections-of-deleted-vm", "gone-08", ask(&[("unlock", "true")], true)), 5;
}
