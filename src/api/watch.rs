//! Who watches a function of the library, who confirms, and what stops it.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::error::{Error, Kind};
use crate::engine::plan::Plan;
use crate::engine::progress::{Listener, Silent};
use crate::facts::bulk;

/// Decides whether a plan is applied: it gets the whole plan, and `false` leaves everything as it is. [`yes`] agrees to all.
pub type Confirm<'a> = &'a mut (dyn FnMut(&Plan) -> bool + Send);

/// Agrees to every plan. Each safety rule still applies.
#[must_use]
pub const fn yes(_: &Plan) -> bool {
    true
}

/// Asks for the confirmation.
///
/// # Errors
/// When it is not given.
pub fn confirmed(plan: &Plan, confirm: Confirm<'_>) -> Result<(), Error> {
    if confirm(plan) {
        return Ok(());
    }
    Err(Error::refused("not confirmed; nothing was changed").code("not_confirmed"))
}

/// What is known before a run begins, for people who watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// What is being read now.
    Reading(String),
    /// What was chosen, and why.
    Chosen(String),
    /// Something that the user should know at once.
    Warning(String),
}

/// Gets the notes.
pub type Notes = dyn Fn(Note) + Send + Sync;

/// Who watches, and what stops it. The default is no one and nothing.
#[derive(Clone)]
pub struct Watch {
    /// Gets what a run does.
    pub listener: Arc<dyn Listener>,
    /// Gets how far a reading of many VMs is.
    pub scan: Arc<dyn bulk::Watch>,
    /// Gets what is known before a run.
    pub notes: Arc<Notes>,
    /// Stops cleanly: a reading ends at once; a run waits for the request that left, journals it and pauses.
    pub cancel: CancellationToken,
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            listener: Arc::new(Silent),
            scan: Arc::new(bulk::Unwatched),
            notes: Arc::new(|_| {}),
            cancel: CancellationToken::new(),
        }
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("stopped", &self.cancel.is_cancelled()).finish_non_exhaustive()
    }
}

impl Watch {
    /// Reads something; a stop ends it, for nothing was changed.
    ///
    /// # Errors
    /// As the reading says, or interrupted.
    pub async fn reading<T>(&self, what: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        tokio::select! {
            biased;
            out = what => out,
            () = self.cancel.cancelled() => {
                Err(Error::new(Kind::ComeBack, "interrupted; nothing was changed").code("interrupted"))
            }
        }
    }
}
