//! At what pace the embedded Azure lives for a client in the same process.
//!
//! Without a speed a wait takes no time at all, as virtual time does. With one, waits and slow answers take real time, so many
//! times shorter: Ctrl-C, a kill and what follows them can then be tried by hand.
//!
//! Invariant: it never shows a time before one that it has shown, nor before the world's.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use super::shell::Sim;
use crate::arm::http::{Request, Response, Transport, TransportError};
use crate::clock::{Clock, VirtualClock, elapsed, later};

/// A wait of this length or more is kept, in the world's time.
const WORTH_KEEPING: Duration = Duration::from_secs(1);
/// The most of a wait that is lost when the process is killed in it, in real time.
const PIECE: Duration = Duration::from_secs(1);

/// The embedded Azure, with the clock that its client waits on.
#[derive(Debug, Clone)]
pub struct Paced {
    sim: Sim,
    time: VirtualClock,
    pace: Option<Arc<Pace>>,
}

/// Real time, and what it makes of the world's.
#[derive(Debug)]
struct Pace {
    wall: Arc<dyn Clock>,
    speed: u32,
    /// A moment of the real clock, and the world's time then.
    since: Mutex<(Timestamp, Timestamp)>,
}

impl Pace {
    /// The world's time by the real clock, but not before `least`.
    fn now(&self, least: Timestamp) -> Timestamp {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        let wall = self.wall.now();
        let now = later(since.1, elapsed(since.0, wall).saturating_mul(self.speed));
        if now >= least {
            return now;
        }
        *since = (wall, least);
        least
    }
}

impl Paced {
    /// Waits take no time.
    #[must_use]
    pub fn at_once(sim: Sim) -> Self {
        let time = sim.clock();
        Self { sim, time, pace: None }
    }

    /// `speed` seconds (at least one) pass in the world for each second of `wall`.
    #[must_use]
    pub fn at(sim: Sim, speed: u32, wall: Arc<dyn Clock>) -> Self {
        let time = sim.clock();
        let since = Mutex::new((wall.now(), time.now()));
        Self { sim, time, pace: Some(Arc::new(Pace { wall, speed: speed.max(1), since })) }
    }

    /// Lets real time pass until the world's is `until`.
    async fn really_wait(&self, pace: &Pace, until: Timestamp) {
        loop {
            let left = elapsed(pace.now(self.time.now()), until);
            if left.is_zero() {
                return;
            }
            let real = (left / pace.speed).clamp(Duration::from_millis(1), PIECE);
            pace.wall.sleep(real).await;
            self.time.advance_to(pace.now(self.time.now()).min(until));
            if left >= WORTH_KEEPING {
                self.sim.waited();
            }
        }
    }
}

#[async_trait]
impl Clock for Paced {
    fn now(&self) -> Timestamp {
        let now = self.time.now();
        self.pace.as_ref().map_or(now, |pace| pace.now(now))
    }

    async fn sleep(&self, duration: Duration) {
        match &self.pace {
            Some(pace) => self.really_wait(pace, later(self.now(), duration)).await,
            None => {
                self.time.sleep(duration).await;
                if duration >= WORTH_KEEPING {
                    self.sim.waited();
                }
            }
        }
    }
}

#[async_trait]
impl Transport for Paced {
    async fn send(&self, request: &Request) -> Result<Response, TransportError> {
        let Some(pace) = &self.pace else { return self.sim.send(request).await };
        let began = pace.now(self.time.now());
        self.time.advance_to(began);
        let answer = self.sim.send(request).await;
        // What took time in the world takes it here too. Other requests may be served meanwhile.
        let took = elapsed(began, self.time.now());
        pace.wall.sleep(took / pace.speed).await;
        answer
    }
}
