//! What people's machines do to a run: the network goes for ten minutes, the clock jumps, the disk is full.
//!
//! Signals, a closed stdout and a full disk are tried on the binary itself: see `process.rs`.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use azmend::arm::{Arm, ArmSettings, Secret, SignInError, StaticToken, TokenSource};
use azmend::clock::{Clock, VirtualClock, elapsed, later};
use azmend::engine::Status;
use azmend::sim::{Fault, FaultEffect, FaultMatch};
use jiff::{SignedDuration, Timestamp};

use crate::support::{Ask, Lab, RUN, TestLog};
use crate::wire::requests::Strict;

const FIX: &str = "rp-collection-limit";

fn relock() -> Ask {
    Ask { relock: true, ..Ask::default() }
}

/// From its nth request on, nothing reaches Azure for this long.
fn unplug(lab: &Lab, nth: usize, long: Duration) {
    let since: Mutex<Option<Timestamp>> = Mutex::new(None);
    lab.sim.on_request(Box::new(move |world, _, number| {
        if number < nth {
            return;
        }
        let since = *since.lock().unwrap().get_or_insert(world.now);
        if elapsed(since, world.now) < long {
            world.faults.push(Fault {
                id: format!("unplugged-{number}"),
                when: FaultMatch { method: None, path_contains: None, nth: None, times: Some(1) },
                effect: FaultEffect::NotSent,
                seen: 0,
                fired: 0,
            });
        }
    }));
}

/// Requests that the plan takes, and the plan with all of its run.
async fn requests() -> (usize, usize) {
    let lab = Lab::new();
    let plan = lab.planned(FIX, "web-01", &relock()).await;
    let planned = lab.sim.log().len();
    let result = lab.run(&plan, &Arc::new(TestLog::default())).start().await;
    assert_eq!(result.exit_code, 0);
    (planned, lab.sim.log().len())
}

#[tokio::test]
async fn ten_minutes_without_network_end_well_at_any_moment() {
    let (planned, whole) = requests().await;
    let (mut paused, mut through) = (0, 0);
    for nth in (planned..whole).step_by(7) {
        let lab = Lab::new();
        let plan = lab.planned(FIX, "web-01", &relock()).await;
        unplug(&lab, nth, Duration::from_secs(600));
        let log = Arc::new(TestLog::default());
        let result = lab.run(&plan, &log).start().await;
        let what = format!("unplugged at {nth}: {result:#?}");
        lab.agrees(&plan, &result);
        assert!(lab.locks().contains(&"no-delete".to_owned()), "{what}");
        if result.exit_code == 7 {
            paused += 1;
            assert_eq!(
                (result.status, result.error.as_ref().unwrap().code.as_str()),
                (Status::Paused, "unreachable"),
                "{what}"
            );
            assert!(result.retry_after.is_some() && result.next.is_some(), "{what}");
            let wait = Duration::from_secs(result.retry_after.unwrap());
            lab.sim.edit(|world| world.advance(wait));
            let result = lab.run(&plan, &log).resume().await;
            assert_eq!(result.exit_code, 0, "resumed after {what}: {result:#?}");
            assert!(lab.locks().contains(&"no-delete".to_owned()), "{what}");
        } else {
            through += 1;
            // Everything was done and proven; only the last look at the VM was not possible.
            let blind = result.exit_code == 6 && result.status == Status::Succeeded && !result.not_read.is_empty();
            assert!(result.exit_code == 0 || blind, "{what}");
        }
        let backups = lab.mutations().iter().filter(|sent| sent.starts_with("POST")).count();
        assert!(backups <= 2, "{what}");
        assert!(lab.sim.world().jobs.len() <= Lab::new().sim.world().jobs.len() + 1, "a second backup: {what}");
    }
    assert!(paused > 0, "{paused} paused, {through} went through");
}

/// A token that is not given out for a while: it has expired, and the identity endpoint does not answer.
#[derive(Debug)]
struct Expired {
    world: VirtualClock,
    /// Seconds since the epoch until which there is none; 0 before it expires.
    until: Arc<AtomicI64>,
}

#[async_trait]
impl TokenSource for Expired {
    async fn token(&self) -> Result<Secret, SignInError> {
        if self.world.now().as_second() < self.until.load(Ordering::SeqCst) {
            return Err(SignInError::one("managed-identity", "no token from the identity endpoint within 8 seconds"));
        }
        Ok(Secret::new("sandbox"))
    }

    fn describe(&self) -> String {
        "sandbox".to_owned()
    }
}

#[tokio::test]
async fn ten_minutes_without_a_token_end_well_at_any_moment() {
    let (planned, whole) = requests().await;
    let mut paused = 0;
    for nth in (planned..whole).step_by(7) {
        let mut lab = Lab::new();
        let plan = lab.planned(FIX, "web-01", &relock()).await;
        let until = Arc::new(AtomicI64::new(0));
        let tokens = Arc::new(Expired { world: lab.sim.clock(), until: Arc::clone(&until) });
        let settings =
            ArmSettings { endpoint: "https://management.azure.com".parse().unwrap(), run_id: RUN.to_owned() };
        let clock = Arc::new(lab.sim.clock());
        lab.arm = Arm::new(Arc::new(Strict(lab.sim.clone())), tokens, clock, settings).unwrap();
        lab.sim.on_request(Box::new(move |world, _, number| {
            if number == nth {
                until.store(later(world.now, Duration::from_secs(600)).as_second(), Ordering::SeqCst);
            }
        }));
        let log = Arc::new(TestLog::default());
        let result = lab.run(&plan, &log).start().await;
        let what = format!("expired at {nth}: {result:#?}");
        lab.agrees(&plan, &result);
        assert!(matches!(result.exit_code, 0 | 6 | 7 | 8), "{what}");
        let owed = lab.locks().contains(&"no-delete".to_owned());
        assert!(result.exit_code != 8 || !owed, "stuck for no reason: {what}");
        let mut result = result;
        let mut rounds = 0;
        while matches!(result.exit_code, 7 | 8) && rounds < 5 {
            paused += 1;
            rounds += 1;
            let wait = Duration::from_secs(result.retry_after.unwrap_or(600).max(600));
            lab.sim.edit(|world| world.advance(wait));
            result = lab.run(&plan, &log).resume().await;
        }
        assert!(matches!(result.exit_code, 0 | 6), "resumed after {what}: {result:#?}");
        assert!(lab.locks().contains(&"no-delete".to_owned()), "{what}");
        assert!(lab.sim.world().jobs.len() <= Lab::new().sim.world().jobs.len() + 1, "a second backup: {what}");
    }
    assert!(paused > 0);
}

#[tokio::test]
async fn a_disk_that_fills_up_in_the_middle_is_resumed_when_there_is_room() {
    let lab = Lab::new();
    let (_, _, log) = lab.fix(FIX, "web-01", &relock()).await;
    let (length, fresh) = (azmend::journal::RunLog::records(&*log).len(), Lab::new().sim.world().jobs.len());
    let mut resumed = 0;
    for n in (1..length).step_by(3) {
        let lab = Lab::new();
        let plan = lab.planned(FIX, "web-01", &relock()).await;
        let log = Arc::new(TestLog::failing_after(n));
        let result = lab.run(&plan, &log).start().await;
        let what = format!("full after {n} lines: {result:#?}");
        assert!(result.exit_code != 0 || !result.warnings.is_empty(), "{what}");
        *log.fail_after.lock().unwrap() = None;
        let state = azmend::engine::RunState::fold(&plan, &azmend::journal::RunLog::records(&*log)).unwrap();
        if !state.resumable() {
            continue;
        }
        resumed += 1;
        let mut result = lab.run(&plan, &log).resume().await;
        let mut rounds = 0;
        while result.exit_code == 7 && rounds < 5 {
            rounds += 1;
            let wait = Duration::from_secs(result.retry_after.unwrap());
            lab.sim.edit(|world| world.advance(wait));
            result = lab.run(&plan, &log).resume().await;
        }
        assert!(matches!(result.exit_code, 0 | 6), "{what}\nresumed: {result:#?}");
        lab.agrees(&plan, &result);
        assert!(lab.locks().contains(&"no-delete".to_owned()), "{what}");
        assert!(lab.sim.world().jobs.len() <= fresh + 1, "a second backup: {what}");
    }
    assert!(resumed > 5, "{resumed}");
}

/// The machine's clock, set by somebody: it shows the world's time and what was added to it.
#[derive(Debug)]
struct SetClock {
    world: VirtualClock,
    added: Arc<AtomicI64>,
}

#[async_trait]
impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        let added = SignedDuration::from_secs(self.added.load(Ordering::SeqCst));
        self.world.now().checked_add(added).unwrap()
    }

    async fn sleep(&self, duration: Duration) {
        self.world.sleep(duration).await;
    }
}

/// The laboratory's client with a clock that jumps by these seconds before its nth request.
fn jumping(lab: &mut Lab, nth: usize, seconds: i64) {
    let added = Arc::new(AtomicI64::new(0));
    let clock = Arc::new(SetClock { world: lab.sim.clock(), added: Arc::clone(&added) });
    let settings = ArmSettings { endpoint: "https://management.azure.com".parse().unwrap(), run_id: RUN.to_owned() };
    let tokens = Arc::new(StaticToken::new("sandbox", "sandbox"));
    lab.arm = Arm::new(Arc::new(Strict(lab.sim.clone())), tokens, clock, settings).unwrap();
    lab.sim.on_request(Box::new(move |_, _, number| {
        if number == nth {
            added.store(seconds, Ordering::SeqCst);
        }
    }));
}

#[tokio::test]
async fn a_clock_that_jumps_breaks_nothing() {
    let (planned, whole) = requests().await;
    let fresh = Lab::new().sim.world().jobs.len();
    for seconds in [-86_400, -600, 600, 3 * 86_400] {
        for nth in (planned..whole).step_by(19) {
            let mut lab = Lab::new();
            let plan = lab.planned(FIX, "web-01", &relock()).await;
            jumping(&mut lab, nth, seconds);
            let log = Arc::new(TestLog::default());
            let mut result = lab.run(&plan, &log).start().await;
            let what = format!("{seconds} s at {nth}: {result:#?}");
            lab.agrees(&plan, &result);
            assert!(lab.locks().contains(&"no-delete".to_owned()), "{what}");
            assert!([0, 5, 6, 7].contains(&result.exit_code), "{what}");
            let mut rounds = 0;
            while result.exit_code == 7 && rounds < 5 {
                rounds += 1;
                let wait = Duration::from_secs(result.retry_after.unwrap());
                lab.sim.edit(|world| world.advance(wait));
                result = lab.run(&plan, &log).resume().await;
            }
            assert_ne!(result.exit_code, 7, "{what}");
            assert!(lab.locks().contains(&"no-delete".to_owned()), "{what}");
            assert!(lab.sim.world().jobs.len() <= fresh + 1, "a second backup: {what}");
        }
    }
}

#[tokio::test]
async fn a_machine_that_sleeps_for_hours_goes_on() {
    let (planned, whole) = requests().await;
    for nth in (planned..whole).step_by(23) {
        let lab = Lab::new();
        let plan = lab.planned(FIX, "web-01", &relock()).await;
        lab.sim.on_request(Box::new(move |world, _, number| {
            if number == nth {
                world.advance(Duration::from_secs(5 * 3600));
            }
        }));
        let log = Arc::new(TestLog::default());
        let result = lab.run(&plan, &log).start().await;
        let what = format!("slept at {nth}: {result:#?}");
        lab.agrees(&plan, &result);
        assert!(lab.locks().contains(&"no-delete".to_owned()), "{what}");
        assert!([0, 5, 6, 7].contains(&result.exit_code), "{what}");
        assert!(lab.sim.clock().now() >= later(plan.created, Duration::from_secs(5 * 3600)), "it slept: {what}");
    }
}
