//! From a plan to a result: show, ask, lock, journal, run, report. The one way for `fix`, `apply`, `resume` and `undo`.

use std::sync::Arc;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::azure::{Azure, Sandbox};
use super::confirm::confirm;
use super::error::{CliError, Kind};
use super::interrupt::{self, Interrupts};
use super::printer::Printer;
use super::progress::Live;
use super::settings::{EstateSource, Output, Place, Settings};
use super::store;
use crate::actions::change::ChangeKind;
use crate::clock::{Clock as _, SystemClock, later};
use crate::duration::Span;
use crate::engine::exit;
use crate::engine::plan::Plan;
use crate::engine::result::RunResult;
use crate::engine::run::Run;
use crate::journal::{FileLock, LocalRun, LockKey, StateDir};
use crate::report;
use crate::text::shell_quote;

/// What every command works with.
#[derive(Debug)]
pub struct Desk {
    /// How azmend was called.
    pub settings: Settings,
    /// Where it writes.
    pub printer: Printer,
}

/// What the engine is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the beginning.
    Start,
    /// From where the journal ends.
    Resume,
    /// Back.
    Undo,
}

impl Desk {
    /// Gets the Azure ready, and says on stderr when it is the sandbox (S13).
    ///
    /// # Errors
    /// See [`Azure::open`].
    pub fn azure(&self) -> Result<Azure, CliError> {
        let azure = Azure::open(&self.settings)?;
        if self.settings.sandbox() {
            self.printer.say("sandbox: the embedded Azure, nothing real is touched");
        }
        Ok(azure)
    }

    /// `azmend`, with the options that the next command needs to be in the same world.
    #[must_use]
    pub fn program(&self) -> String {
        match &self.settings.place {
            Place::Azure(_) => "azmend".to_owned(),
            Place::Sandbox(EstateSource::BuiltIn) => "azmend --sandbox".to_owned(),
            Place::Sandbox(EstateSource::File(file)) => {
                format!("azmend --sandbox={}", shell_quote(&file.display().to_string()))
            }
        }
    }

    /// Shows a result in the format that was asked for, and gives back its exit code.
    #[must_use]
    pub fn finish(&self, result: RunResult) -> u8 {
        let code = result.exit_code;
        self.show(result);
        code
    }

    /// Shows a result in the format that was asked for.
    pub fn show(&self, mut result: RunResult) {
        if let Some(next) = &mut result.next
            && let Some(rest) = next.strip_prefix("azmend runs ")
        {
            *next = format!("{} runs {rest}", self.program());
        }
        match self.printer.output() {
            Output::Table => self.printer.data(&report::result(&result, self.printer.width())),
            _ => self.printer.json(&result),
        }
    }

    /// Reads something; Ctrl-C ends it, for nothing was changed.
    ///
    /// # Errors
    /// As the reading says, or interrupted.
    pub async fn reading<T>(&self, what: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
        tokio::select! {
            biased;
            out = what => out,
            () = interrupt::signal() => {
                Err(CliError::new(Kind::ComeBack, "interrupted; nothing was changed").code("interrupted"))
            }
        }
    }

    /// Shows a plan on stderr and asks.
    ///
    /// # Errors
    /// When the answer is no, or nobody can be asked.
    pub async fn confirm(&self, plan: &Plan, yes: bool) -> Result<(), CliError> {
        if !(yes && self.printer.quiet()) {
            self.printer.say(&report::plan(plan, self.printer.err_width()));
        }
        confirm(&self.printer, yes, &report::plan::question(plan)).await
    }

    /// Runs a confirmed plan from its beginning.
    ///
    /// # Errors
    /// When the journal cannot be begun or another azmend works on the same; nothing was changed then.
    pub async fn start(&self, azure: &Azure, plan: Plan, deadline: Option<Timestamp>) -> Result<u8, CliError> {
        let state = store::open(&self.settings)?;
        // The id's time is the machine's, so that ids grow even where the sandbox's time begins anew.
        let run_id = run_id(SystemClock.now());
        let locks = self.locks(&state, azure, &plan, &run_id)?;
        let text = serde_json::to_string_pretty(&plan)
            .map_err(|error| CliError::new(Kind::Bug, format!("the plan cannot be written: {error}")))?;
        let log = LocalRun::create(&state, &run_id, &text)?;
        let code = self.run(azure, plan, run_id, log, Way::Start, deadline).await;
        drop(locks);
        code
    }

    /// Keeps other processes away from the same VM and the same locks, and in the sandbox from the same world.
    ///
    /// # Errors
    /// When another azmend holds one of them.
    pub fn locks(&self, state: &StateDir, azure: &Azure, plan: &Plan, run_id: &str) -> Result<FileLock, CliError> {
        let mut keys = keys(plan);
        keys.extend(world_key(azure));
        Ok(FileLock::take(state, run_id, keys)?)
    }

    /// Lets the engine work and shows its result.
    ///
    /// # Errors
    /// When the typed calls cannot be set up; nothing was changed then.
    pub async fn run(
        &self,
        azure: &Azure,
        plan: Plan,
        run_id: String,
        log: LocalRun,
        way: Way,
        deadline: Option<Timestamp>,
    ) -> Result<u8, CliError> {
        let arm = azure.writer(&run_id)?;
        let cancel = CancellationToken::new();
        let interrupts = Interrupts::listen(cancel.clone(), self.printer.clone());
        let live = Arc::new(Live::new(&self.printer));
        let run = Run {
            arm,
            log: Arc::new(log),
            plan,
            run_id,
            listener: live.clone(),
            cancel,
            deadline,
            pid: std::process::id(),
        };
        let mut result = match way {
            Way::Start => Box::pin(run.start()).await,
            Way::Resume => Box::pin(run.resume()).await,
            Way::Undo => Box::pin(run.undo()).await,
        };
        live.end();
        drop(interrupts);
        if let Some(error) = azure.sandbox.as_ref().and_then(|sandbox| sandbox.sim.save_error()) {
            result.warnings.push(error);
            result.exit_code = exit::worst(result.exit_code, exit::PARTIAL);
        }
        Ok(self.finish(result))
    }
}

/// The VM and every scope whose locks a plan works on.
#[must_use]
pub fn keys(plan: &Plan) -> Vec<LockKey> {
    let mut keys = vec![LockKey::vm(plan.vm.as_str())];
    for (_, change) in plan.changes() {
        if let ChangeKind::RemoveLock { lock } = &change.what {
            keys.push(LockKey::scope(lock.scope().as_str()));
        }
    }
    keys
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

/// An id for a run or a fleet that begins now.
#[must_use]
pub fn run_id(now: Timestamp) -> String {
    let seconds = u64::try_from(now.as_second()).unwrap_or_default();
    let nanos = u32::try_from(now.subsec_nanosecond()).unwrap_or_default();
    uuid::Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, nanos)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_ids_are_lower_case_and_begin_with_their_time() {
        let at = |text: &str| run_id(text.parse().unwrap());
        let (a, b) = (at("2026-11-20T09:00:00Z"), at("2026-11-20T09:00:01Z"));
        assert!(a < b && a == a.to_lowercase() && a.len() == 36);
        assert_eq!(a.get(14..15), Some("7"));
    }
}
