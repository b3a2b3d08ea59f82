//! From a confirmed plan, or from a journal, to a result: the engine's launch with the sandbox's world held and kept.

use jiff::Timestamp;

use super::azure::{Azure, Sandbox};
use super::error::Error;
use super::watch::Watch;
use crate::clock::{Clock as _, SystemClock, later};
use crate::duration::Span;
use crate::engine::exit;
use crate::engine::hints::in_world;
use crate::engine::launch::new_run_id;
use crate::engine::plan::Plan;
use crate::engine::result::RunResult;
use crate::engine::{Entry, Launch};
use crate::journal::{JournalError, LocalRun, LockKey, StateDir};

/// Runs a confirmed plan from its beginning.
///
/// # Errors
/// When the journal cannot be begun or another azmend works on the same; nothing was changed then.
pub async fn start(
    azure: &Azure,
    state: &StateDir,
    plan: Plan,
    watch: &Watch,
    deadline: Option<Timestamp>,
) -> Result<RunResult, Error> {
    // The id's time is the machine's, so that ids grow even where the sandbox's time starts over.
    let run_id = new_run_id(SystemClock.now());
    let launch = launch(azure, state, &run_id, watch, deadline)?;
    let done = Box::pin(launch.start(plan, run_id)).await;
    ended(azure, done)
}

/// Takes up a run whose journal this process holds.
///
/// # Errors
/// When another azmend works on the same; nothing was changed then.
pub async fn enter(
    azure: &Azure,
    state: &StateDir,
    (plan, log): (Plan, LocalRun),
    entry: Entry,
    watch: &Watch,
    deadline: Option<Timestamp>,
) -> Result<RunResult, Error> {
    let launch = launch(azure, state, log.id(), watch, deadline)?;
    let done = Box::pin(launch.enter(plan, log, entry)).await;
    ended(azure, done)
}

fn launch<'s>(
    azure: &Azure,
    state: &'s StateDir,
    run_id: &str,
    watch: &Watch,
    deadline: Option<Timestamp>,
) -> Result<Launch<'s>, Error> {
    Ok(Launch {
        state,
        arm: azure.writer(run_id)?,
        listener: watch.listener.clone(),
        cancel: watch.cancel.clone(),
        deadline,
        also: world_key(azure),
    })
}

fn ended(azure: &Azure, done: Result<RunResult, JournalError>) -> Result<RunResult, Error> {
    let mut result = done?;
    if let Some(error) = azure.sandbox.as_ref().and_then(|sandbox| sandbox.sim.save_error()) {
        result.warnings.push(error);
        result.exit_code = exit::worst(result.exit_code, exit::PARTIAL);
    }
    Ok(in_world(result, azure.program()))
}

/// The sandbox's world, which one process works on at a time.
#[must_use]
pub fn world_key(azure: &Azure) -> Option<LockKey> {
    azure.sandbox.as_ref().map(Sandbox::key)
}

/// When a run that begins now must have stopped.
#[must_use]
pub fn deadline(azure: &Azure, after: Option<Span>) -> Option<Timestamp> {
    after.map(|span| later(azure.clock().now(), span.to_std()))
}
