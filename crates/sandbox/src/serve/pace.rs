//! At what pace the embedded Azure lives for a client in the same process.
//!
//! Without a speed a wait takes no time at all, as virtual time does. With one, waits and answers take real time, so many times
//! shorter: Ctrl-C, a kill and what follows them can then be tried by hand. Everything happens at the same times of the world
//! either way.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::sim::Sim;
use azmend_arm::http::{Request, Response, Transport, TransportError};
use azmend_base::clock::{Clock, VirtualClock, elapsed};

/// A wait of this length or more is kept, in the world's time.
const WORTH_KEEPING: Duration = Duration::from_secs(1);

/// The embedded Azure, with the clock that its client waits on.
#[derive(Debug, Clone)]
pub struct Paced {
    sim: Sim,
    time: VirtualClock,
    pace: Option<Pace>,
}

#[derive(Debug, Clone)]
struct Pace {
    wall: Arc<dyn Clock>,
    speed: u32,
}

impl Paced {
    /// Waits take no time.
    #[must_use]
    pub fn at_once(sim: Sim) -> Self {
        let time = sim.clock();
        Self { sim, time, pace: None }
    }

    /// A wait of `speed` seconds (at least one) takes a second of `wall`.
    #[must_use]
    pub fn at(sim: Sim, speed: u32, wall: Arc<dyn Clock>) -> Self {
        let time = sim.clock();
        Self { sim, time, pace: Some(Pace { wall, speed: speed.max(1) }) }
    }

    /// Waits, and keeps the time that passed; of a wait that is killed no more is lost than a real second of it.
    async fn wait(&self, pace: &Pace, duration: Duration) {
        let piece = Duration::from_secs(u64::from(pace.speed));
        let mut left = duration;
        while !left.is_zero() {
            let now = left.min(piece);
            self.time.sleep_at(now, &*pace.wall, pace.speed).await;
            left -= now;
            if duration >= WORTH_KEEPING {
                self.sim.waited();
            }
        }
    }
}

#[async_trait]
impl Clock for Paced {
    fn now(&self) -> Timestamp {
        self.time.now()
    }

    async fn sleep(&self, duration: Duration) {
        match &self.pace {
            Some(pace) => self.wait(pace, duration).await,
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
        let began = self.time.now();
        let answer = self.sim.send(request).await;
        if let Some(pace) = &self.pace {
            // What took time in the world takes it here too. Other requests may be served meanwhile.
            let took = elapsed(began, self.time.now());
            pace.wall.sleep(took / pace.speed).await;
        }
        answer
    }
}
