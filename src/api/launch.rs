//! From a confirmed plan, or from a journal, to a result: the engine's launch with the sandbox's world held and kept.

use jiff::Timestamp;

use super::azure::Azure;
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
use crate::journal::{FileLock, JournalError, RunFile, State, StateDir};

/// Runs a confirmed plan from its beginning.
///
/// # Errors
/// When the journal cannot be begun or another azmend works on the same; nothing was changed then.
pub async fn start(
    azure: &Azure,
    state: &State,
    plan: Plan,
    watch: &Watch,
    deadline: Option<Timestamp>,
) -> Result<RunResult, Error> {
    // The id's time is the machine's, so that ids grow even where the sandbox's time starts over.
    let run_id = new_run_id(SystemClock.now());
    let world = hold_world(azure, &run_id)?;
    let launch = launch(azure, state, &run_id, watch, deadline)?;
    let done = Box::pin(launch.start(plan, run_id)).await;
    drop(world);
    ended(azure, done)
}

/// Takes up a run whose journal this process holds.
///
/// # Errors
/// When another azmend works on the same; nothing was changed then.
pub async fn enter(
    azure: &Azure,
    state: &State,
    (plan, log): (Plan, RunFile),
    entry: Entry,
    watch: &Watch,
    deadline: Option<Timestamp>,
) -> Result<RunResult, Error> {
    let world = hold_world(azure, log.id())?;
    let launch = launch(azure, state, log.id(), watch, deadline)?;
    let done = Box::pin(launch.enter(plan, log, entry)).await;
    drop(world);
    ended(azure, done)
}

fn launch<'s>(
    azure: &Azure,
    state: &'s State,
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
    })
}

fn ended(azure: &Azure, done: Result<RunResult, JournalError>) -> Result<RunResult, Error> {
    let mut result = done?;
    if let Some(error) = azure.sandbox.as_ref().and_then(|sandbox| sandbox.sim.save_error()) {
        result.warnings.push(error);
        result.exit_code = exit::worst(result.exit_code, exit::PARTIAL);
    }
    in_world(&mut result, azure.program());
    Ok(result)
}

/// Holds the sandbox's world, which one process works on at a time. It is on this machine's disk, wherever the runs are.
///
/// # Errors
/// When another process holds it.
pub fn hold_world(azure: &Azure, run_id: &str) -> Result<Option<FileLock>, Error> {
    let Some(sandbox) = &azure.sandbox else { return Ok(None) };
    let dir = StateDir::open(&sandbox.home, true)?;
    Ok(Some(FileLock::take(&dir, run_id, [sandbox.key()])?))
}

/// When a run that begins now must have stopped.
#[must_use]
pub fn deadline(azure: &Azure, after: Option<Span>) -> Option<Timestamp> {
    after.map(|span| later(azure.clock().now(), span.to_std()))
}
