//! A fleet from its record: `azmend runs show FLEET`, and which run belongs to which fleet.

use std::collections::BTreeMap;

use super::{exit, finish, launch};
use crate::cli::error::CliError;
use crate::cli::execute::Session;
use crate::cli::store::{self, short};
use crate::clock::{Clock as _, SystemClock};
use crate::duration::Span;
use crate::engine::fleet::Reason;
use crate::engine::fleet::result::{Counts, FLEET_SCHEMA, FleetResult, NotStarted, Sums};
use crate::engine::result::{ErrorResult, Status};
use crate::engine::state::RunPhase;
use crate::journal::{self, FleetRecord, FleetStage, Hold, LockKey, State, fleets, load_fleet, prune_fleets};
use crate::report::fleet::AT_WORK;
use crate::report::planned::recorded;

/// Shows what the record and the journals of its runs say; nothing is read anew.
///
/// # Errors
/// When the record cannot be understood.
pub async fn show(session: &Session, state: &State, id: &str) -> Result<u8, CliError> {
    let record = load_fleet(state, id).await?;
    // Where it cannot be told nothing is claimed: taking the fleet up again asks for the lock itself.
    let holder = Hold::holder(state, &LockKey::fleet(&record.id)).await.unwrap_or_default();
    let running = holder.is_some() && record.ended.is_none();
    let mut fleet = FleetResult {
        schema: FLEET_SCHEMA.to_owned(),
        status: Status::Planned,
        exit_code: exit::OK,
        fleet_id: Some(record.id.clone()),
        retry_of: record.retry_of.clone(),
        sandbox: record.sandbox,
        cloud: Some(record.cloud.clone()),
        tenant: None,
        identity: None,
        playbook: record.playbook.clone(),
        scope: record.scope.clone(),
        started: Some(record.started),
        ended: record.ended,
        counts: Counts::default(),
        plan: Sums::default(),
        waves: Vec::new(),
        results: Vec::new(),
        not_planned: Vec::new(),
        not_started: Vec::new(),
        not_read: Vec::new(),
        warnings: Vec::new(),
        retry_after: None,
        error: None,
        next: None,
    };
    let mut plans = Vec::new();
    for one in &record.vms {
        let stored = match one.run.as_deref() {
            None => None,
            Some(run) => {
                let loaded = journal::load(state, run).await.map_err(CliError::from);
                Some(loaded.and_then(|loaded| store::understand(run, loaded)))
            }
        };
        match stored {
            Some(Ok(run)) => {
                let mut result = recorded(&run.plan, &run.state, &run.id);
                if running && one.stage == FleetStage::Begun && !matches!(run.state.phase, RunPhase::Finished { .. }) {
                    let message = "in progress now".to_owned();
                    result.error = Some(ErrorResult { code: AT_WORK.to_owned(), message, hint: None });
                    result.next = None;
                }
                fleet.results.push(result);
                plans.push(run.plan);
            }
            Some(Err(error)) if one.stage == FleetStage::Ended => fleet.warnings.push(error.message),
            _ => {
                let why = match one.stage {
                    FleetStage::NotStarted => one.why.clone(),
                    _ if running => "waiting for its turn".to_owned(),
                    _ => "the fleet ended before its turn".to_owned(),
                };
                let reason = if running { Reason::Waiting } else { Reason::Interrupted };
                let reason = serde_json::from_value(one.status.as_str().into()).unwrap_or(reason);
                fleet.not_started.push(NotStarted { vm: one.vm.clone(), playbook: one.playbook.clone(), reason, why });
            }
        }
    }
    fleet.plan = Sums::of(&plans);
    fleet.conclude(true);
    fleet.next = launch::next(session, &mut fleet, &record.id);
    if let Some(holder) = holder {
        fleet.warnings.push(match running {
            true => format!("the fleet is still running ({holder}): these are the results so far"),
            false => format!("the fleet is being resumed now ({holder})"),
        });
        fleet.next = Some(format!("{} runs show {}", session.program(), short(&record.id)));
    }
    // What the fleet came to is data; that it can be shown is success.
    finish(session, &fleet);
    Ok(exit::OK)
}

/// The fleet of every run that belongs to one. What cannot be read is left out, and said.
pub async fn fleet_of_each_run(session: &Session, state: &State) -> BTreeMap<String, String> {
    let found = fleets(state).await.unwrap_or_default();
    for skipped in &found.skipped {
        session.printer.warn(&format!("a fleet cannot be shown: {}", skipped.why));
    }
    let of = |fleet: FleetRecord| {
        let id = fleet.id;
        fleet.vms.into_iter().filter_map(|one| one.run).map(move |run| (run, id.clone())).collect::<Vec<_>>()
    };
    found.fleets.into_iter().flat_map(of).collect()
}

/// The records of fleets go with the last of their runs.
///
/// # Errors
/// When the state directory cannot be used.
pub async fn forget_fleets_without_runs(state: &State, older_than: Span) -> Result<usize, CliError> {
    let kept: Vec<String> = journal::runs(state).await?.runs.into_iter().map(|run| run.id).collect();
    let may_go =
        |record: &FleetRecord| !record.vms.iter().any(|one| one.run.as_ref().is_some_and(|run| kept.contains(run)));
    Ok(prune_fleets(state, older_than, SystemClock.now(), may_go).await?.len())
}
