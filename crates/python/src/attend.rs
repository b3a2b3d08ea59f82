//! The interpreter, as a call sees it while it works without holding it: signals, log lines, the question.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use azmend::engine::Plan;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use tokio_util::sync::CancellationToken;

/// How often it is asked for signals.
const PACE: Duration = Duration::from_millis(100);
/// `logging.WARNING`.
const WARNING: u8 = 30;

/// What Python gave a call, and what it raised meanwhile.
#[derive(Debug)]
pub struct Interpreter {
    log: Log,
    /// The lowest level that is wanted.
    pub level: u8,
    confirm: Option<Py<PyAny>>,
    raised: Mutex<Option<PyErr>>,
}

/// Writes lines with `logging`, and notices what stops the call.
#[derive(Debug, Clone)]
pub struct Log(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    write: Py<PyAny>,
    stopped: Mutex<Option<PyErr>>,
    cancel: CancellationToken,
}

impl Log {
    /// Writes it. A signal may arrive just while Python writes: then its handler's exception comes out here, and stops the call as it
    /// does elsewhere. What a handler of `logging` raises is Python's to show: it must not stop a run.
    pub fn line(&self, level: u8, name: &str, text: &str) {
        Python::attach(|py| {
            self.signals(py);
            if let Err(error) = self.0.write.call1(py, (level, name, text)) {
                if error.is_instance_of::<PyException>(py) {
                    error.write_unraisable(py, None);
                } else {
                    self.stop(error);
                }
            }
        });
    }

    /// Runs the handlers of signals that have arrived; outside of the main thread there are none. Whether one stopped the call now.
    fn signals(&self, py: Python<'_>) -> bool {
        py.check_signals().is_err_and(|error| self.stop(error))
    }

    /// The first exception is the call's. Whether this is the first.
    fn stop(&self, error: PyErr) -> bool {
        let mut stopped = self.0.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        let first = stopped.is_none();
        if first {
            *stopped = Some(error);
            self.0.cancel.cancel();
        }
        first
    }
}

impl Interpreter {
    /// For one call; `cancel` is cancelled when a signal stops it.
    pub fn new(write: Py<PyAny>, level: u8, confirm: Option<Py<PyAny>>, cancel: CancellationToken) -> Self {
        let log = Log(Arc::new(Shared { write, stopped: Mutex::default(), cancel }));
        Self { log, level, confirm, raised: Mutex::default() }
    }

    /// Its log.
    pub fn log(&self) -> Log {
        self.log.clone()
    }

    /// What stops its work.
    pub fn cancel(&self) -> CancellationToken {
        self.log.0.cancel.clone()
    }

    /// Whether there is someone to confirm.
    pub const fn can_confirm(&self) -> bool {
        self.confirm.is_some()
    }

    /// Asks `confirm`; an exception is a no, and is raised by the call.
    pub fn confirmed(&self, plan: &Plan) -> bool {
        let (Some(confirm), Ok(text)) = (&self.confirm, serde_json::to_string(plan)) else { return false };
        Python::attach(|py| match confirm.call1(py, (text,)).and_then(|answer| answer.is_truthy(py)) {
            Ok(answer) => answer,
            Err(error) => {
                *self.raised.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                false
            }
        })
    }

    /// Works until the end. A signal cancels the work, which then ends by itself.
    pub async fn attend<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        let mut tick = tokio::time::interval(PACE);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                _ = tick.tick() => {
                    if Python::attach(|py| self.log.signals(py)) {
                        self.log.line(WARNING, "azmend", "stopping: waiting for the current Azure operation");
                    }
                }
            }
        }
    }

    /// What `confirm` raised, and what stopped the call.
    pub fn raised(self) -> (Option<PyErr>, Option<PyErr>) {
        let raised = self.raised.into_inner().unwrap_or_else(PoisonError::into_inner);
        let stopped = self.log.0.stopped.lock().unwrap_or_else(PoisonError::into_inner).take();
        (raised, stopped)
    }
}
