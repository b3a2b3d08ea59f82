//! The embedded Azure behind a wire on which every call takes its time, and several at once take it together.
//!
//! Shared with the bench of calls: how long a run takes of its own, without what it waits for, in the world's time.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use azmend::arm::{Request, Response, Transport, TransportError};
use azmend::clock::{Clock, VirtualClock};
use azmend::sim::Sim;
use jiff::Timestamp;

/// What a call takes against Azure, roughly.
pub const A_CALL: Duration = Duration::from_millis(50);

/// The wire.
#[derive(Debug)]
pub struct SlowWire(Sim);

impl SlowWire {
    /// Takes over what the world itself would take for a call.
    pub fn new(sim: &Sim) -> Arc<Self> {
        sim.edit(|world| world.settings.latency_ms = 0);
        Arc::new(Self(sim.clone()))
    }
}

#[async_trait]
impl Transport for SlowWire {
    async fn send(&self, request: &Request) -> Result<Response, TransportError> {
        self.0.clock().sleep(A_CALL).await;
        self.0.send(request).await
    }
}

/// The world's clock, which adds up what was waited for on purpose.
#[derive(Debug, Clone)]
pub struct WaitCounter {
    clock: VirtualClock,
    waited: Arc<Mutex<Duration>>,
}

impl WaitCounter {
    /// Of this world.
    pub fn new(sim: &Sim) -> Arc<Self> {
        Arc::new(Self { clock: sim.clock(), waited: Arc::default() })
    }

    /// All waits so far; of those at once each counts.
    pub fn waited(&self) -> Duration {
        *self.waited.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[async_trait]
impl Clock for WaitCounter {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    async fn sleep(&self, duration: Duration) {
        self.clock.sleep(duration).await;
        *self.waited.lock().unwrap_or_else(std::sync::PoisonError::into_inner) += duration;
    }
}
