//! The shell around the world: one lock, the clock, the log, interference, and the files.
//!
//! Invariants: the clock shows the world's time after every request; the log has every request in the order served; a world
//! that is kept is saved after every change before the response is given out, and what passes beside changes (time, counted
//! requests) at every wait of a second or more and at the end.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;

use crate::call::{Call, Reply};
use crate::faults;
use crate::persist::{Busy, LoadError, Role, Store, When};
use crate::world::World;
use azmend_arm::http::{Request, Response, Transport, TransportError};
use azmend_base::clock::{Clock as _, VirtualClock};

/// A request that was served, and what came back.
#[derive(Debug, Clone, PartialEq)]
pub struct Exchange {
    /// When it arrived, in the world's time.
    pub at: Timestamp,
    /// The verb.
    pub method: String,
    /// The path as it came.
    pub path: String,
    /// The query as it came.
    pub query: String,
    /// The status; none when there was no response.
    pub status: Option<u16>,
    /// Whether the verb can change something.
    pub mutating: bool,
    /// The body as JSON.
    pub body: Value,
    /// `User-Agent`.
    pub user_agent: Option<String>,
    /// `x-ms-client-request-id`.
    pub client_request_id: Option<String>,
}

type Hook = Box<dyn FnMut(&mut World, &Request, usize) + Send>;

struct Inner {
    world: World,
    log: Vec<Exchange>,
    hook: Option<Hook>,
    store: Option<Store>,
}

/// The embedded Azure in process: a [`Transport`] over a [`World`].
#[derive(Clone)]
pub struct Sim {
    inner: Arc<Mutex<Inner>>,
    clock: VirtualClock,
}

impl fmt::Debug for Sim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = self.lock();
        write!(f, "Sim({}, {}, {} requests)", inner.world.name, inner.world.now, inner.log.len())
    }
}

impl Sim {
    /// A simulation of this world, at its time.
    #[must_use]
    pub fn new(world: World) -> Self {
        let clock = VirtualClock::new(world.now);
        let inner = Inner { world, log: Vec::new(), hook: None, store: None };
        Self { inner: Arc::new(Mutex::new(inner)), clock }
    }

    /// A simulation of the world that is kept in this file, or of `fresh` when none is kept there. Until [`Sim::keep`] it is
    /// one that only reads: what passes is kept, unless `busy` says that another process works on that world.
    ///
    /// # Errors
    /// When there is a file and it cannot be read.
    pub fn open(file: PathBuf, fresh: World, busy: Busy) -> Result<Self, LoadError> {
        let (store, world) = Store::open(file, fresh, busy)?;
        let sim = Self::new(world);
        sim.lock().store = Some(store);
        Ok(sim)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The clock of this world: sleeping on it lets the world's time pass.
    #[must_use]
    pub fn clock(&self) -> VirtualClock {
        self.clock.clone()
    }

    /// The world as it is now, with everything that has happened by the clock's time.
    #[must_use]
    pub fn world(&self) -> World {
        let mut inner = self.lock();
        inner.world.advance_to(self.clock.now());
        inner.world.clone()
    }

    /// Changes the world from outside.
    pub fn edit<R>(&self, change: impl FnOnce(&mut World) -> R) -> R {
        let mut inner = self.lock();
        inner.world.advance_to(self.clock.now());
        let out = change(&mut inner.world);
        inner.world.places.pages.forget();
        self.clock.advance_to(inner.world.now);
        inner.save();
        out
    }

    /// Every request so far.
    #[must_use]
    pub fn log(&self) -> Vec<Exchange> {
        self.lock().log.clone()
    }

    /// Calls `hook` before request number n (from 0) is served, with the world at that time.
    pub fn on_request(&self, hook: Hook) {
        self.lock().hook = Some(hook);
    }

    /// From now on the world is saved to this file after each change.
    pub fn persist(&self, file: PathBuf) {
        let mut inner = self.lock();
        inner.store = Some(Store::new(file, Role::Changes, &inner.world));
        inner.save();
    }

    /// From now on this process changes the world that it was opened from, and keeps it. Somebody else may have changed that
    /// since it was read: then it is the world as the other one left it.
    ///
    /// # Errors
    /// When it cannot be read again. Whether it could be saved says [`Sim::save_error`].
    pub fn keep(&self) -> Result<(), LoadError> {
        let mut inner = self.lock();
        let Inner { world, store: Some(store), .. } = &mut *inner else { return Ok(()) };
        store.change(world)?;
        world.advance_to(self.clock.now());
        self.clock.advance_to(world.now);
        store.save(world);
        Ok(())
    }

    /// A wait is over: the time that passed is kept.
    pub fn waited(&self) {
        self.lock().pass(self.clock.now(), When::Waited);
    }

    /// The command ends: the world is kept as it is now.
    pub fn close(&self) {
        let mut inner = self.lock();
        if inner.store.is_some() {
            inner.world.advance_to(self.clock.now());
            inner.pass(self.clock.now(), When::End);
        }
    }

    /// Why the world could not be saved the last time, if so.
    #[must_use]
    pub fn save_error(&self) -> Option<String> {
        self.lock().store.as_ref().and_then(|store| store.error.clone())
    }

    /// Serves one request, as [`Transport::send`] does, without an executor.
    pub fn serve(&self, request: &Request) -> Reply {
        self.clock.touch();
        let mut inner = self.lock();
        inner.world.advance_to(self.clock.now());
        let number = inner.log.len();
        let marks = inner.marks();
        if let Some(mut hook) = inner.hook.take() {
            hook(&mut inner.world, request, number);
            inner.world.places.pages.forget();
            inner.hook = Some(hook);
        }
        let at = inner.world.now;
        let reply = inner.world.serve(request);
        self.clock.advance_to(inner.world.now);
        let call = Call::new(request);
        let text = |name: &str| request.headers.get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
        let exchange = Exchange {
            at,
            method: request.method.to_string(),
            path: request.url.path().to_owned(),
            query: request.url.query().unwrap_or_default().to_owned(),
            status: if let Reply::Response(response) = &reply { Some(response.status) } else { None },
            mutating: call.is_mutating() && !crate::providers::run_command::only_reads(&call),
            body: call.body,
            user_agent: text("user-agent"),
            client_request_id: text("x-ms-client-request-id"),
        };
        let changed = exchange.mutating || inner.marks() != marks;
        inner.log.push(exchange);
        if changed {
            inner.save();
        } else {
            let now = inner.world.now;
            inner.pass(now, When::Read);
        }
        reply
    }
}

impl Inner {
    /// Numbers that move whenever the world changes otherwise than by time.
    fn marks(&self) -> (u64, u32) {
        (self.world.counters.events + self.world.counters.ids, faults::acted(&self.world))
    }

    fn save(&mut self) {
        if let Some(store) = &mut self.store {
            store.save(&mut self.world);
        }
    }

    fn pass(&mut self, now: Timestamp, when: When) {
        if let Some(store) = &mut self.store {
            store.pass(&mut self.world, now, when);
        }
    }
}

#[async_trait]
impl Transport for Sim {
    async fn send(&self, request: &Request) -> Result<Response, TransportError> {
        let host = || request.url.host_str().unwrap_or("sandbox").to_owned();
        match self.serve(request) {
            Reply::Response(response) => Ok(response),
            Reply::Lost { why } => Err(TransportError::Lost { host: host(), why }),
            Reply::NotSent { why } => Err(TransportError::NotSent { host: host(), why }),
        }
    }
}
