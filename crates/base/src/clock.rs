//! Time: the only place that reads the system clock or sleeps.
//!
//! Every wait in azmend goes through a [`Clock`], so that the sandbox can let hours of Azure operations pass in
//! milliseconds and tests need neither sleep nor real time. Nothing else may call `SystemTime::now`, `Timestamp::now`
//! or `tokio::time::sleep` (clippy.toml refuses them).

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

/// A source of time that can also wait.
#[async_trait]
pub trait Clock: Send + Sync + Debug {
    /// The current time.
    fn now(&self) -> Timestamp;
    /// Returns when `duration` has passed on this clock.
    async fn sleep(&self, duration: Duration);
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

/// A clock that begins at a time of its own and runs `speed` times as fast as another one: the sandbox's over HTTP.
#[derive(Debug, Clone)]
pub struct PacedClock {
    inner: Arc<dyn Clock>,
    began: Timestamp,
    base: Timestamp,
    speed: u32,
}

impl PacedClock {
    /// A clock that shows `base` now, and then `speed` seconds for each second of `inner` (at least one).
    #[must_use]
    pub fn new(inner: Arc<dyn Clock>, base: Timestamp, speed: u32) -> Self {
        let began = inner.now();
        Self { inner, began, base, speed: speed.max(1) }
    }

    /// How many seconds it counts in one.
    #[must_use]
    pub const fn speed(&self) -> u32 {
        self.speed
    }
}

#[async_trait]
impl Clock for PacedClock {
    fn now(&self) -> Timestamp {
        later(self.base, elapsed(self.began, self.inner.now()).saturating_mul(self.speed))
    }

    async fn sleep(&self, duration: Duration) {
        self.inner.sleep(duration / self.speed).await;
    }
}

/// A clock that stands still until somebody sleeps on it, then jumps to the earliest wake-up time.
///
/// Several tasks may sleep at once: time moves only when a whole round of the (single-threaded) executor brought no
/// other activity, so a sleeper never overtakes a task that still has work to do. Callers that do work which must hold
/// time still (the sandbox, on each request) call [`VirtualClock::touch`].
#[derive(Debug, Clone)]
pub struct VirtualClock {
    inner: Arc<Mutex<VirtualTime>>,
}

#[derive(Debug)]
struct VirtualTime {
    now: Timestamp,
    activity: u64,
    next_id: u64,
    sleepers: BTreeMap<(Timestamp, u64), ()>,
}

/// Removes a sleeper that was dropped before it woke, so that it cannot hold the clock.
struct Registration {
    clock: VirtualClock,
    key: (Timestamp, u64),
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.clock.lock().sleepers.remove(&self.key);
    }
}

impl VirtualClock {
    /// A clock that shows `now`.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        let time = VirtualTime { now, activity: 0, next_id: 0, sleepers: BTreeMap::new() };
        Self { inner: Arc::new(Mutex::new(time)) }
    }

    /// Says that something happened, so that sleepers wait another round before time moves.
    pub fn touch(&self) {
        let mut time = self.lock();
        time.activity = time.activity.wrapping_add(1);
    }

    /// Moves time forward (never back) to `to`.
    pub fn advance_to(&self, to: Timestamp) {
        let mut time = self.lock();
        time.now = time.now.max(to);
        time.activity = time.activity.wrapping_add(1);
    }

    /// Moves time forward by `by`.
    pub fn advance(&self, by: Duration) {
        let to = later(self.now(), by);
        self.advance_to(to);
    }

    fn lock(&self) -> MutexGuard<'_, VirtualTime> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// [`Clock::sleep`], taking real time too: a second of `wall` for each `speed` seconds. Nothing else that is done takes
    /// time, so everything happens at the same times as without.
    pub async fn sleep_at(&self, duration: Duration, wall: &dyn Clock, speed: u32) {
        self.sleep_until_over(duration, Some((wall, speed.max(1)))).await;
    }

    async fn sleep_until_over(&self, duration: Duration, pace: Option<(&dyn Clock, u32)>) {
        let registration = {
            let mut time = self.lock();
            let key = (later(time.now, duration), time.next_id);
            time.next_id += 1;
            time.activity = time.activity.wrapping_add(1);
            time.sleepers.insert(key, ());
            Registration { clock: self.clone(), key }
        };
        let (mut seen, mut quiet_rounds) = (None, 0u8);
        loop {
            let turn = self.turn(registration.key, &mut seen, &mut quiet_rounds);
            match (turn, pace) {
                (Turn::Over, _) => break,
                (Turn::Others, Some((wall, _))) if quiet_rounds >= QUIET => wall.sleep(A_MOMENT).await,
                (Turn::Others, _) => tokio::task::yield_now().await,
                (Turn::Mine(_), None) => self.advance_to(registration.key.0),
                (Turn::Mine(now), Some((wall, speed))) => {
                    let real = (elapsed(now, registration.key.0) / speed).clamp(Duration::from_millis(1), A_WHILE);
                    wall.sleep(real).await;
                    // Others may have moved time meanwhile; both waits count once.
                    self.advance_to(later(now, real * speed).min(registration.key.0));
                }
            }
        }
    }

    /// Whose turn it is, seen from one sleeper.
    fn turn(&self, key: (Timestamp, u64), seen: &mut Option<u64>, quiet_rounds: &mut u8) -> Turn {
        let time = self.lock();
        if time.now >= key.0 {
            return Turn::Over;
        }
        if *seen == Some(time.activity) {
            *quiet_rounds = quiet_rounds.saturating_add(1);
        } else {
            (*quiet_rounds, *seen) = (0, Some(time.activity));
        }
        let first = time.sleepers.first_key_value().map(|(key, ())| *key) == Some(key);
        if first && *quiet_rounds >= QUIET { Turn::Mine(time.now) } else { Turn::Others }
    }
}

/// How many rounds of the executor without activity let time move.
const QUIET: u8 = 3;
/// How often a sleeper looks whether its time has come, while another one waits in real time.
const A_MOMENT: Duration = Duration::from_millis(5);
/// The longest real wait between two looks at what else goes on.
const A_WHILE: Duration = Duration::from_millis(200);

/// What a sleeper finds.
enum Turn {
    /// Its time has come.
    Over,
    /// It is the next to wake, and nobody does anything: its time, from this moment on.
    Mine(Timestamp),
    /// Others are first, or at work.
    Others,
}

/// `at + by`, or the end of representable time.
#[must_use]
pub fn later(at: Timestamp, by: Duration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// `at - by`, or the beginning of representable time.
#[must_use]
pub fn earlier(at: Timestamp, by: Duration) -> Timestamp {
    at.checked_sub(by).unwrap_or(Timestamp::MIN)
}

/// The time from `from` to `to`; zero when `to` is not later.
#[must_use]
pub fn elapsed(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or(Duration::ZERO)
}

#[async_trait]
impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        self.lock().now
    }

    async fn sleep(&self, duration: Duration) {
        self.sleep_until_over(duration, None).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> Timestamp {
        "2026-11-20T09:00:00Z".parse().unwrap()
    }

    #[tokio::test]
    async fn time_moves_only_by_sleeping() {
        let clock = VirtualClock::new(start());
        clock.sleep(Duration::from_secs(3600)).await;
        assert_eq!(elapsed(start(), clock.now()), Duration::from_secs(3600));
    }

    #[tokio::test]
    async fn a_paced_clock_counts_its_own_seconds() {
        let inner = VirtualClock::new("2030-01-01T00:00:00Z".parse().unwrap());
        let paced = PacedClock::new(Arc::new(inner.clone()), start(), 60);
        inner.advance(Duration::from_secs(2));
        assert_eq!(elapsed(start(), paced.now()), Duration::from_secs(120));
        let before = inner.now();
        paced.sleep(Duration::from_secs(30)).await;
        assert_eq!(elapsed(before, inner.now()), Duration::from_millis(500));
    }

    #[tokio::test]
    async fn concurrent_sleepers_overlap_and_wake_in_order() {
        let clock = VirtualClock::new(start());
        let woken = Mutex::new(Vec::new());
        let sleeper = |secs: u64| {
            let (clock, woken) = (clock.clone(), &woken);
            async move {
                clock.sleep(Duration::from_secs(secs)).await;
                woken.lock().unwrap().push((secs, elapsed(start(), clock.now()).as_secs()));
            }
        };
        tokio::join!(sleeper(30), sleeper(10), sleeper(20));
        assert_eq!(*woken.lock().unwrap(), [(10, 10), (20, 20), (30, 30)]);
    }

    #[tokio::test]
    async fn sleepers_at_a_pace_overlap_in_both_times() {
        let (clock, wall) = (VirtualClock::new(start()), VirtualClock::new("2030-01-01T00:00:00Z".parse().unwrap()));
        let began = wall.now();
        let woken = Mutex::new(Vec::new());
        let sleeper = |secs: u64| {
            let (clock, wall, woken) = (clock.clone(), wall.clone(), &woken);
            async move {
                clock.sleep_at(Duration::from_secs(secs), &wall, 10).await;
                woken.lock().unwrap().push((secs, elapsed(start(), clock.now()).as_secs()));
            }
        };
        tokio::join!(sleeper(30), sleeper(10), sleeper(20));
        assert_eq!(*woken.lock().unwrap(), [(10, 10), (20, 20), (30, 30)]);
        let real = elapsed(began, wall.now()).as_millis();
        assert!((3000..3100).contains(&real), "{real} ms");
    }

    #[tokio::test]
    async fn a_dropped_sleeper_does_not_hold_time() {
        let clock = VirtualClock::new(start());
        tokio::select! {
            () = clock.sleep(Duration::from_secs(5)) => {}
            () = clock.sleep(Duration::from_secs(1)) => {}
        }
        clock.sleep(Duration::from_secs(60)).await;
        assert_eq!(elapsed(start(), clock.now()), Duration::from_secs(61));
    }
}
