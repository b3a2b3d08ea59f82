//! A lease that is renewed in the background until it is given up.
//!
//! Invariants: it counts as lost when the service says so, and [`MARGIN`] before its time could be over without the service
//! having said that it goes on; the time counts from before the request that got it. A lease that is lost stays lost. What
//! is dropped is given up, in the background.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::JoinHandle;

use super::{BlobProblem, Blobs, timed};
use crate::clock::{Clock, later};
use crate::journal::store::{Lease, Loss};

/// How long a lease lasts when nobody renews it: the longest that the service gives (learn.microsoft.com, "Lease Blob").
pub(super) const TIME: Duration = Duration::from_secs(60);
/// How often it is renewed.
const EVERY: Duration = Duration::from_secs(15);
/// How soon it is tried again.
const SOON: Duration = Duration::from_secs(3);
/// How long before its end it counts as lost: a request that has just left must be answered by then.
const MARGIN: Duration = Duration::from_secs(10);

/// A lease of one blob.
#[derive(Debug)]
pub(super) struct BlobLease {
    kept: Arc<Kept>,
    renewing: JoinHandle<()>,
    leaving: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

#[derive(Debug)]
struct Kept {
    blobs: Arc<dyn Blobs>,
    clock: Arc<dyn Clock>,
    name: String,
    id: String,
    loss: Loss,
    until: Mutex<Timestamp>,
}

/// Why nothing more is sent.
pub(super) fn lost_to(place: &str, why: &str) -> String {
    format!("the lease of {place} was lost: {why}")
}

impl BlobLease {
    /// Keeps a lease that was got by a request sent at `asked`.
    pub(super) fn keep(
        blobs: &Arc<dyn Blobs>,
        clock: &Arc<dyn Clock>,
        leaving: &Arc<Mutex<Vec<JoinHandle<()>>>>,
        (name, id): (String, String),
        asked: Timestamp,
    ) -> Self {
        let kept = Arc::new(Kept {
            blobs: Arc::clone(blobs),
            clock: Arc::clone(clock),
            name,
            id,
            loss: Loss::default(),
            until: Mutex::new(later(asked, TIME)),
        });
        let renewing = tokio::spawn(Arc::clone(&kept).renew());
        Self { kept, renewing, leaving: Arc::clone(leaving) }
    }
}

impl Kept {
    fn until(&self) -> Timestamp {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn place(&self) -> String {
        self.blobs.place(&self.name)
    }

    fn lost(&self) -> Option<String> {
        if self.loss.why().is_none() && later(self.clock.now(), MARGIN) >= self.until() {
            self.loss.lose(&lost_to(&self.place(), "it could not be renewed in time"));
        }
        self.loss.why()
    }

    async fn renew(self: Arc<Self>) {
        // What was waited since the last success, whatever the clock says: it may jump.
        let mut waited = Duration::ZERO;
        loop {
            let wait = if waited.is_zero() { EVERY } else { SOON };
            self.clock.sleep(wait).await;
            waited += wait;
            let asked = self.clock.now();
            match timed(&*self.clock, self.blobs.renew(&self.name, &self.id)).await {
                // One that was given for lost is not taken up again: others may rely on it.
                Ok(()) if self.loss.why().is_none() => {
                    *self.until.lock().unwrap_or_else(PoisonError::into_inner) = later(asked, TIME);
                    waited = Duration::ZERO;
                    continue;
                }
                Err(fault)
                    if matches!(
                        fault.problem,
                        BlobProblem::LeaseLost | BlobProblem::LeaseTaken | BlobProblem::NotFound
                    ) =>
                {
                    self.loss.lose(&lost_to(&self.place(), &fault.why));
                }
                // The lease may well go on: only its time says.
                Err(fault) => tracing::debug!("a lease was not renewed: {fault}"),
                Ok(()) => {}
            }
            if waited + MARGIN >= TIME {
                self.loss.lose(&lost_to(&self.place(), "it could not be renewed in time"));
            }
            if self.lost().is_some() {
                return;
            }
        }
    }
}

impl Lease for BlobLease {
    fn id_for(&self, name: &str) -> Option<&str> {
        (name == self.kept.name).then_some(self.kept.id.as_str())
    }

    fn lost(&self) -> Option<String> {
        self.kept.lost()
    }

    fn loss(&self) -> Loss {
        self.kept.loss.clone()
    }
}

impl Drop for BlobLease {
    fn drop(&mut self) {
        self.renewing.abort();
        if self.kept.loss.why().is_some() {
            return;
        }
        // Without a runtime it ends by itself within its time.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let kept = Arc::clone(&self.kept);
        let leave = runtime.spawn(async move {
            timed(&*kept.clock, kept.blobs.release(&kept.name, &kept.id)).await.ok();
        });
        self.leaving.lock().unwrap_or_else(PoisonError::into_inner).push(leave);
    }
}
