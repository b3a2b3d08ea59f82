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
        let (deadline, registration) = {
            let mut time = self.lock();
            let deadline = later(time.now, duration);
            let key = (deadline, time.next_id);
            time.next_id += 1;
            time.activity = time.activity.wrapping_add(1);
            time.sleepers.insert(key, ());
            (deadline, Registration { clock: self.clone(), key })
        };
        let mut seen = None;
        let mut quiet_rounds = 0u8;
        loop {
            {
                let mut time = self.lock();
                if time.now >= deadline {
                    break;
                }
                if seen == Some(time.activity) {
                    quiet_rounds += 1;
                } else {
                    quiet_rounds = 0;
                    seen = Some(time.activity);
                }
                let earliest = time.sleepers.first_key_value().map(|(key, ())| *key);
                if quiet_rounds >= 3 && earliest == Some(registration.key) {
                    time.now = deadline;
                    time.activity = time.activity.wrapping_add(1);
                    break;
                }
            }
            tokio::task::yield_now().await;
        }
        drop(registration);
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
