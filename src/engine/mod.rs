//! Plan, run, undo, resume; the pure state table; events.
//!
//! Duty: make exactly the changes of a plan, one by one, each guarded, journaled before and proven after; undo
//! what can be undone. It never prints and never asks: it tells a [`progress::Listener`] and returns a
//! [`result::RunResult`].

mod active_run;
pub mod alert;
pub mod audit;
pub mod blob_state;
pub mod choose;
pub mod diagnose;
pub mod doctor;
mod driver;
pub mod earlier;
pub mod exit;
pub mod explain;
pub mod finish;
pub mod fleet;
pub mod foresee;
mod freshness;
pub mod hints;
pub mod launch;
pub mod loop_guard;
pub mod owed;
pub mod plan;
pub mod planner;
pub mod progress;
mod protect_target;
pub mod rehearsal;
pub mod result;
mod run;
pub mod state;
mod step;
mod undo;
mod verdict;

pub use active_run::Run;
pub use earlier::{Earlier, Unlocking};
pub use launch::{Entry, Launch};
pub use loop_guard::LoopGuard;
pub use plan::{Plan, PlanError, World};
pub use planner::{PlanRequest, Planned, make_plan};
pub use progress::{Listener, Progress, Silent};
pub use result::{RunResult, Status};
pub use state::RunState;

use std::time::Duration;

use jiff::Timestamp;

/// Deletions are not resumed after this long: a new plan is needed. Putting locks back never expires.
pub const RESUME_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// Whether a run may be resumed now.
///
/// # Errors
/// Why not, in a sentence: it is over, or it is older than a day and would go on deleting.
pub fn resume_check(plan: &Plan, state: &RunState, now: Timestamp) -> Result<(), String> {
    if !state.resumable() {
        return Err(format!("the run has ended ({})", state.word()));
    }
    let started = state.started.unwrap_or(plan.created);
    if crate::clock::elapsed(started, now) > RESUME_LIFETIME {
        return Err("the run is older than 24 hours: what it would delete needs a new plan".to_owned());
    }
    Ok(())
}
