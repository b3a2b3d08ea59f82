//! `azmend fix --retry-failed FLEET`: which VMs of an earlier fleet are taken up again.
//!
//! Exactly those that failed, were partly done, refused at their turn or not started. How a VM stands is read from its run's
//! journal where there is one, for a fleet may have been killed before it wrote that down, and a run may have been resumed
//! since. Must never: take up a VM whose run is not over (it is resumed or taken back by itself).

use super::super::fix::AUTO;
use crate::arm::ResourceId;
use crate::cli::args::FixArgs;
use crate::cli::azure::Azure;
use crate::cli::error::CliError;
use crate::cli::execute::Session;
use crate::cli::store::{self, short};
use crate::clock::{Clock as _, SystemClock};
use crate::engine::resume_check;
use crate::engine::state::RunPhase;
use crate::journal::{
    self, Event, FinalStatus, FleetRecord, FleetStage, FleetVm, Hold, JournalError, LockKey, State, load_fleet,
    resolve_fleet_id,
};
use crate::report::plan::place;

/// A fleet that is taken up again.
#[derive(Debug)]
pub(super) struct Again {
    /// Its record.
    pub record: FleetRecord,
    /// The VMs to plan for.
    pub vms: Vec<ResourceId>,
    /// VMs that are not done and not taken up either, and why.
    pub left: Vec<String>,
    /// Keeps everybody else from taking it up too.
    _held: Hold,
}

/// What is to be done with a VM of an earlier fleet.
enum Left {
    /// Nothing: it succeeded.
    Done,
    /// It is planned anew.
    Again,
    /// It is left alone, with a word.
    Alone(String),
}

/// Reads the record, and how its VMs stand.
///
/// # Errors
/// No such fleet, its record cannot be understood, or the fleet is still running.
pub(super) async fn load(session: &Session, id: &str) -> Result<Again, CliError> {
    let state = store::with_runs(&session.settings).await?;
    let id = match resolve_fleet_id(&state, id).await {
        Ok(id) => id,
        Err(error) => return Err(not_a_fleet(&state, id, error).await),
    };
    // Its VMs that wait would be taken for VMs that were left.
    let held = Hold::take(&state, &id, [LockKey::fleet(&id)]).await?;
    let record = load_fleet(&state, &id).await?;
    if session.settings.elsewhere(record.sandbox) {
        let hint = if record.sandbox { "add --sandbox" } else { "omit --sandbox" };
        let (there, here) = (place(record.sandbox), place(session.settings.sandbox()));
        return Err(CliError::refused(format!("the fleet {} was made in {there}, this is {here}", short(&id)))
            .code("s13.world")
            .hint(hint));
    }
    let (mut vms, mut left) = (Vec::new(), Vec::new());
    for one in &record.vms {
        let vm = ResourceId::parse(&one.vm)
            .map_err(|error| CliError::io(format!("the record of the fleet {id} is damaged: {error}")).code("fleet"))?;
        match stands(session, &state, one, &vm).await {
            Left::Done => {}
            Left::Again => vms.push(vm),
            Left::Alone(why) => left.push(format!("{} is skipped: {why}", vm.short_name())),
        }
    }
    Ok(Again { record, vms, left, _held: held })
}

/// The id of a single run is a common slip.
async fn not_a_fleet(state: &State, text: &str, error: JournalError) -> CliError {
    let error = CliError::from(error);
    let Ok(run) = journal::resolve_run_id(state, text).await else { return error };
    let fleets = journal::fleets(state).await.unwrap_or_default().fleets;
    match fleets.iter().find(|fleet| fleet.vms.iter().any(|one| one.run.as_deref() == Some(&run))) {
        Some(fleet) => error.hint(format!("this is a run of the fleet {}", fleet.id)),
        None => error.hint("this is a run of one VM: fix it again with --vm, or resume it with `azmend runs resume`"),
    }
}

async fn stands(session: &Session, state: &State, one: &FleetVm, vm: &ResourceId) -> Left {
    let Some(run) = one.run.as_deref().filter(|_| one.stage != FleetStage::NotStarted) else { return Left::Again };
    let stored = match journal::load(state, run).await {
        Ok(loaded) => store::understand(run, loaded),
        // Killed between the record and the run: nothing was sent.
        Err(JournalError::NoRun { .. }) if one.stage == FleetStage::Begun => return Left::Again,
        // Pruned since: then the record is all there is.
        Err(JournalError::NoRun { .. }) => return by_word(&one.status, run),
        Err(error) => return Left::Alone(error.to_string()),
    };
    let stored = match stored {
        Ok(stored) => stored,
        Err(error) => return Left::Alone(error.message),
    };
    match &stored.state.phase {
        RunPhase::Planned => Left::Again,
        RunPhase::Finished { status, .. } => {
            let taken_back = stored.loaded.records.iter().any(|one| matches!(one.event, Event::UndoStarted { .. }));
            if taken_back && *status != FinalStatus::Stuck {
                after_undo(&one.status)
            } else {
                by_word(status.word(), run)
            }
        }
        RunPhase::Running | RunPhase::Paused { .. } | RunPhase::Undoing => {
            // The sandbox's time stands still between commands; its runs can be resumed for ever.
            let now = if stored.plan.world.sandbox { stored.plan.created } else { SystemClock.now() };
            let over = resume_check(&stored.plan, &stored.state, now).is_err();
            if over && stored.state.locks_off().is_empty() {
                return Left::Again;
            }
            let way = if over { "undo" } else { "resume" };
            Left::Alone(format!(
                "its run has not ended; {} runs {way} {} (for {})",
                session.program(),
                short(run),
                vm.name()
            ))
        }
    }
}

/// A run that somebody took back since; `told` is what had come of it for the fleet. To take back what succeeded is no
/// failure, and what had failed or was stuck may be tried again.
fn after_undo(told: &str) -> Left {
    match told {
        "failed" | "partial" | "refused" | "error" | "stuck" => Left::Again,
        "succeeded" | "nothing_to_do" => Left::Done,
        _ => Left::Alone("its run was undone".to_owned()),
    }
}

/// What a run's last word means.
fn by_word(status: &str, run: &str) -> Left {
    match status {
        "failed" | "partial" | "refused" | "error" => Left::Again,
        "succeeded" | "nothing_to_do" => Left::Done,
        "stuck" => Left::Alone(format!("it is stuck and needs a person: azmend runs show {}", short(run))),
        other => Left::Alone(format!("its run is {other}: azmend runs show {}", short(run))),
    }
}

impl Again {
    /// Takes playbook, parameters and `--relock` from the record. What goes beyond the rules has to be typed again.
    ///
    /// # Errors
    /// When the record's own words cannot be understood.
    pub(super) fn adopt(&self, args: &mut FixArgs) -> Result<(), CliError> {
        let damaged =
            |what: &str| CliError::io(format!("the record of the fleet {} is damaged: {what}", self.record.id));
        args.playbook = (self.record.playbook != AUTO).then(|| self.record.playbook.clone());
        args.relock = self.record.relock;
        args.set = self
            .record
            .set
            .iter()
            .map(|pair| pair.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned())))
            .collect::<Option<_>>()
            .ok_or_else(|| damaged("a parameter has no value"))?;
        args.playbooks = args.playbooks.take().or_else(|| self.record.playbooks.as_ref().map(Into::into));
        Ok(())
    }

    /// The fleet must have been of this place (S13). Its VMs are planned anew, so another identity may do that.
    ///
    /// # Errors
    /// What differs.
    pub(super) fn same_place(&self, azure: &Azure) -> Result<(), CliError> {
        let (cloud, endpoint) = azure.place();
        let digest = azure.estate_digest();
        // Of a served sandbox nothing is known before its first answer; each plan is compared with it then.
        let served = endpoint.scheme() == "http" && digest.is_empty();
        let digest = if served { self.record.estate_digest.as_str() } else { digest.as_str() };
        let pairs = [
            ("cloud", self.record.cloud.as_str(), cloud),
            ("ARM endpoint", self.record.endpoint.as_str(), endpoint.as_str()),
            ("estate", self.record.estate_digest.as_str(), digest),
        ];
        match pairs.into_iter().find(|(_, there, here)| !there.eq_ignore_ascii_case(here)) {
            None => Ok(()),
            Some((what, there, here)) => Err(CliError::refused(format!(
                "the fleet {} was for the {what} {there:?}, this is {here:?}",
                short(&self.record.id)
            ))
            .code("s13.world")),
        }
    }
}
