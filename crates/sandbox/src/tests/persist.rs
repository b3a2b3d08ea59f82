//! A sandbox keeps time: what one process leaves is what the next one finds.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::{Fault, FaultEffect, FaultMatch, JobStatus, WorldEvent};
use azmend_arm::http::Transport as _;
use azmend_base::clock::{Clock, VirtualClock, elapsed};

fn fresh() -> World {
    World::from_estate(&Estate::built_in())
}

/// A process that reads, and knows of no other one.
fn process(file: &Path) -> Sim {
    Sim::open(file.to_path_buf(), fresh(), Box::new(|| false)).unwrap()
}

fn kept(file: &Path) -> World {
    process(file).world()
}

fn backup(sim: &Sim) {
    let accepted = call(sim, "POST", &format!("{}/backup", item("rg-shop", "ok-07")), Some(backup_body()));
    assert_eq!(accepted.status, 202);
}

fn running(world: &World, vm: &str) -> usize {
    let of = |job: &&crate::Job| job.item.as_str().to_lowercase().ends_with(vm) && job.status.is_active();
    world.jobs.iter().filter(of).count()
}

fn fault(effect: FaultEffect) -> Fault {
    let when = FaultMatch { method: Some("GET".into()), path_contains: Some("locks".into()), ..FaultMatch::default() };
    Fault { id: "f".into(), when, effect, seen: 0, fired: 0 }
}

#[tokio::test]
async fn the_next_process_finds_the_time_and_the_running_job() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("world.json");
    let sim = process(&file);
    let clock = Paced::at_once(sim.clone());
    sim.keep().unwrap();
    backup(&sim);
    // The job begins after the request, and its snapshot takes minutes: no request changes anything meanwhile.
    clock.sleep(Duration::from_secs(300)).await;
    let left = sim.world();
    assert_eq!(running(&left, "ok-07"), 1);
    // No end: the process is killed here.
    let found = kept(&file);
    assert_eq!((found.now, &found.jobs, &found.collections), (left.now, &left.jobs, &left.collections));
    assert_eq!((&found.buckets, found.counters.requests), (&left.buckets, left.counters.requests));
    // Hours later the job has ended, for whoever looks.
    let second = process(&file);
    Paced::at_once(second).sleep(Duration::from_secs(4 * 3600)).await;
    let found = kept(&file);
    assert_eq!(running(&found, "ok-07"), 0);
    assert!(elapsed(left.now, found.now) >= Duration::from_secs(4 * 3600));
    assert_eq!(found.jobs.last().map(|job| job.status), Some(JobStatus::Completed));
}

#[tokio::test]
async fn a_killed_process_loses_no_more_than_its_last_requests() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("world.json");
    let sim = process(&file);
    sim.keep().unwrap();
    call(&sim, "DELETE", LOCK, None);
    for _ in 0..40 {
        get(&sim, PROD);
        let left = elapsed(kept(&file).now, sim.clock().now());
        assert!(left < Duration::from_secs(1), "{left:?} are not kept");
    }
    let before = sim.clock().now();
    Paced::at_once(sim.clone()).sleep(Duration::from_secs(60)).await;
    assert_eq!(kept(&file).now, sim.clock().now());
    assert!(elapsed(before, kept(&file).now) >= Duration::from_secs(60));
}

#[tokio::test]
async fn reading_a_world_that_nobody_used_keeps_nothing_unless_it_waits() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("sandbox/contoso/world.json");
    let sim = process(&file);
    let clock = Paced::at_once(sim.clone());
    for _ in 0..30 {
        get(&sim, LOCK);
    }
    clock.sleep(Duration::from_millis(300)).await;
    sim.close();
    assert!(!dir.path().join("sandbox").exists());
    clock.sleep(Duration::from_secs(900)).await;
    sim.close();
    assert!(!file.exists(), "no change, no world");
    assert_eq!(kept(&file).now, sim.clock().now());
    #[cfg(unix)]
    for entry in std::fs::read_dir(file.parent().unwrap()).unwrap() {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(entry.unwrap().metadata().unwrap().permissions().mode() & 0o077, 0);
    }
}

#[test]
fn reading_a_world_that_was_used_keeps_its_time() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("world.json");
    let first = process(&file);
    first.keep().unwrap();
    call(&first, "DELETE", LOCK, None);
    first.close();
    let written = std::fs::metadata(&file).unwrap().modified().unwrap();
    let second = process(&file);
    assert_eq!(second.clock().now(), first.clock().now());
    for _ in 0..3 {
        get(&second, PROD);
    }
    second.close();
    assert_eq!(kept(&file).now, second.clock().now());
    assert_eq!(kept(&file).counters.requests, second.world().counters.requests);
    assert_eq!(std::fs::metadata(&file).unwrap().modified().unwrap(), written, "the world itself did not change");
}

#[test]
fn what_a_fault_does_while_somebody_reads_stays() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("world.json");
    let first = process(&file);
    first.keep().unwrap();
    first.edit(|w| {
        let job = FaultEffect::World(WorldEvent::StartJob("ok-07".into()));
        w.faults = vec![fault(FaultEffect::Throttle { retry_after: 3, times: 2 }), fault(job)];
    });
    first.close();
    let reader = process(&file);
    assert_eq!(call(&reader, "GET", LOCK, None).status, 429);
    reader.close();
    let found = kept(&file);
    assert_eq!(running(&found, "ok-07"), 1);
    assert_eq!(found.faults.iter().map(|f| f.fired).collect::<Vec<_>>(), [1, 1]);
    // The second time is not the first again.
    let reader = process(&file);
    assert_eq!(call(&reader, "GET", LOCK, None).status, 429);
    assert_eq!(call(&reader, "GET", LOCK, None).status, 200);
    reader.close();
    assert_eq!(running(&kept(&file), "ok-07"), 1);
}

#[test]
fn who_reads_never_writes_over_who_changes() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("world.json");
    process(&file).keep().unwrap();
    let busy = Arc::new(AtomicBool::new(true));
    let is_busy = busy.clone();
    let reader = Sim::open(file.clone(), fresh(), Box::new(move || is_busy.load(Ordering::SeqCst))).unwrap();
    let writer = process(&file);
    writer.keep().unwrap();
    call(&writer, "DELETE", LOCK, None);
    // The reader has the world of before, a job starts in it, and its time is ahead.
    pass(&reader, 3600);
    reader.edit(|w| w.faults = vec![fault(FaultEffect::World(WorldEvent::StartJob("ok-07".into())))]);
    call(&reader, "GET", LOCK, None);
    busy.store(false, Ordering::SeqCst);
    call(&reader, "GET", LOCK, None);
    reader.close();
    let found = kept(&file);
    assert!(found.locks.iter().all(|lock| lock.id.name() != "no-delete"), "the lock is back");
    assert_eq!(running(&found, "ok-07"), 0);
    assert!(found.now >= reader.clock().now(), "time ran backwards");
    // And the writer's own time, which is behind, does not take it back.
    call(&writer, "GET", PROD, None);
    writer.close();
    assert!(kept(&file).now >= reader.clock().now(), "time ran backwards");
}

#[test]
fn who_begins_to_change_takes_up_what_others_did_since() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("world.json");
    let slow = process(&file);
    get(&slow, LOCK);
    let other = process(&file);
    other.keep().unwrap();
    call(&other, "DELETE", LOCK, None);
    pass(&other, 600);
    other.close();
    slow.keep().unwrap();
    assert_eq!(call(&slow, "GET", LOCK, None).status, 404);
    assert!(slow.clock().now() >= other.clock().now());
    assert!(slow.keep().is_ok(), "twice is once");
}

#[test]
fn a_time_that_cannot_be_read_is_no_time() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("world.json");
    let sim = process(&file);
    sim.keep().unwrap();
    backup(&sim);
    let saved = sim.world().now;
    for text in ["", "{", "{\"saves\": 1}"] {
        std::fs::write(dir.path().join("world.time"), text).unwrap();
        assert_eq!(kept(&file).now, saved);
    }
    std::fs::write(&file, "{").unwrap();
    assert!(Sim::open(file, fresh(), Box::new(|| false)).is_err());
}

#[tokio::test]
async fn with_a_speed_waits_and_answers_take_real_time() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("world.json");
    let sim = process(&file);
    sim.edit(|w| w.settings.latency_ms = 2_000);
    let wall = VirtualClock::new("2030-01-01T00:00:00Z".parse().unwrap());
    let paced = Paced::at(sim.clone(), 60, Arc::new(wall.clone()));
    let (real, world) = (wall.now(), paced.now());
    paced.sleep(Duration::from_secs(120)).await;
    assert_eq!(elapsed(real, wall.now()), Duration::from_secs(2));
    assert_eq!(elapsed(world, paced.now()), Duration::from_secs(120));
    assert_eq!(kept(&file).now, paced.now(), "the wait is kept");

    let (real, world) = (wall.now(), paced.now());
    assert_eq!(paced.send(&request("GET", PROD, None)).await.unwrap().status, 200);
    assert_eq!(elapsed(world, paced.now()), Duration::from_secs(2));
    assert!((33..=35).contains(&elapsed(real, wall.now()).as_millis()), "{:?}", elapsed(real, wall.now()));

    // What is done in no time of the world takes none of it, whatever it takes here.
    let world = paced.now();
    wall.advance(Duration::from_secs(10));
    assert_eq!(paced.now(), world);
    sim.clock().advance(Duration::from_secs(7200));
    assert_eq!(elapsed(world, paced.now()), Duration::from_secs(7200));
}

/// Real time that stands still after so many waits.
#[derive(Debug)]
struct Stops(std::sync::atomic::AtomicU32);

#[async_trait::async_trait]
impl Clock for Stops {
    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::UNIX_EPOCH
    }

    async fn sleep(&self, _: Duration) {
        if self.0.fetch_sub(1, Ordering::SeqCst) <= 1 {
            std::future::pending::<()>().await;
        }
    }
}

#[tokio::test]
async fn a_wait_that_is_killed_is_kept_as_far_as_it_came() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("world.json");
    let sim = process(&file);
    // Real waits are of 200 ms at most, so this is in the fifth second.
    let paced = Paced::at(sim, 10, Arc::new(Stops(std::sync::atomic::AtomicU32::new(23))));
    let began = paced.now();
    tokio::select! {
        () = paced.sleep(Duration::from_secs(3600)) => panic!("nobody killed it"),
        () = async { for _ in 0..1000 { tokio::task::yield_now().await } } => {}
    }
    assert_eq!(elapsed(began, kept(&file).now), Duration::from_secs(40));
}
