//! From a plan to a result: show, ask, lock, journal, run, report. The one way for `fix`, `apply`, `resume` and `undo`.

use std::sync::Arc;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::azure::Azure;
use super::confirm::confirm;
use super::error::{CliError, Kind};
use super::interrupt::{self, Interrupts};
use super::printer::Printer;
use super::progress::Live;
use super::settings::{EstateSource, Output, Place, Settings};
use super::store;
use crate::clock::{Clock as _, SystemClock, later};
use crate::duration::Span;
use crate::engine::exit;
use crate::engine::hints::as_program;
use crate::engine::launch::new_run_id;
use crate::engine::plan::Plan;
use crate::engine::result::RunResult;
use crate::engine::{Entry, Launch};
use crate::journal::{FileLock, JournalError, RunFile, State, StateDir};
use crate::report;
use crate::text::shell_quote;

/// What every command works with.
#[derive(Debug)]
pub struct Session {
    /// How azmend was called.
    pub settings: Settings,
    /// Where it writes.
    pub printer: Printer,
}

impl Session {
    /// Gets the Azure ready, and says on stderr when it is the sandbox (S13).
    ///
    /// # Errors
    /// See [`Azure::open`].
    pub fn azure(&self) -> Result<Azure, CliError> {
        let azure = Azure::open(&self.settings, &self.printer)?;
        if azure.sandbox.is_some() {
            self.printer.say("sandbox: the embedded Azure, nothing real is touched");
        }
        Ok(azure)
    }

    /// `azmend`, with the options that the next command needs to be in the same world.
    #[must_use]
    pub fn program(&self) -> String {
        let mut program = self.program_in_its_world();
        if let Some(state) = &self.settings.state_typed {
            program.push_str(&format!(" --state {}", shell_quote(state)));
        }
        program
    }

    fn program_in_its_world(&self) -> String {
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

    /// Makes the commands that a result names those of the world that this command works in.
    pub fn commands_of_this_world(&self, result: &mut RunResult) {
        let program = self.program();
        let here = |text: &mut String| *text = as_program(text, &program);
        result.next.iter_mut().for_each(here);
        result.warnings.iter_mut().for_each(here);
        let errors =
            result.error.iter_mut().chain(result.changes.iter_mut().filter_map(|change| change.error.as_mut()));
        errors.filter_map(|error| error.hint.as_mut()).for_each(here);
    }

    /// Shows a result in the format that was asked for.
    pub fn show(&self, mut result: RunResult) {
        self.commands_of_this_world(&mut result);
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

    /// A plan as a page, with the commands in its hints as they begin here.
    #[must_use]
    pub fn plan_page(&self, plan: &Plan, width: usize) -> String {
        let program = self.program();
        let here = |text: &mut String| *text = as_program(text, &program);
        let mut plan = plan.clone();
        plan.warnings.iter_mut().for_each(here);
        for step in &mut plan.steps {
            step.notes.iter_mut().for_each(here);
            step.kept.iter_mut().filter_map(|kept| kept.refusal.hint.as_mut()).for_each(here);
        }
        report::plan(&plan, width)
    }

    /// Shows a plan on stderr and asks.
    ///
    /// # Errors
    /// When the answer is no, or nobody can be asked.
    pub async fn confirm(&self, plan: &Plan, yes: bool) -> Result<(), CliError> {
        if !(yes && self.printer.quiet()) {
            self.printer.say(&self.plan_page(plan, self.printer.err_width()));
        }
        confirm(&self.printer, yes, &report::plan::question(plan, self.printer.err_width())).await
    }

    /// Runs a confirmed plan from its beginning, and shows its result.
    ///
    /// # Errors
    /// When the journal cannot be begun or another azmend works on the same; nothing was changed then.
    pub async fn start(&self, azure: &Azure, plan: Plan, deadline: Option<Timestamp>) -> Result<u8, CliError> {
        let state = store::open(&self.settings).await?;
        // The id's time is the machine's, so that ids grow even where the sandbox's time starts over.
        let run_id = new_run_id(SystemClock.now());
        let stage = self.stage(azure, &state, &run_id, deadline)?;
        let done = Box::pin(stage.launch.start(plan, run_id)).await;
        self.done(azure, stage, done)
    }

    /// Takes up a run, and shows its result.
    ///
    /// # Errors
    /// When another azmend works on the same; nothing was changed then.
    pub async fn enter(
        &self,
        azure: &Azure,
        state: &State,
        (plan, log): (Plan, RunFile),
        entry: Entry,
        deadline: Option<Timestamp>,
    ) -> Result<u8, CliError> {
        let stage = self.stage(azure, state, log.id(), deadline)?;
        let done = Box::pin(stage.launch.enter(plan, log, entry)).await;
        self.done(azure, stage, done)
    }

    /// What a run needs of a command: signals and progress.
    fn stage<'s>(
        &self,
        azure: &Azure,
        state: &'s State,
        run_id: &str,
        deadline: Option<Timestamp>,
    ) -> Result<Stage<'s>, CliError> {
        let world = hold_world(self, azure, run_id)?;
        let arm = azure.writer(run_id)?;
        let cancel = CancellationToken::new();
        let interrupts = Interrupts::listen(cancel.clone(), self.printer.clone());
        let live = Arc::new(Live::new(&self.printer));
        let launch = Launch { state, arm, listener: live.clone(), cancel, deadline };
        Ok(Stage { launch, live, interrupts, _world: world })
    }

    fn done(&self, azure: &Azure, stage: Stage<'_>, done: Result<RunResult, JournalError>) -> Result<u8, CliError> {
        stage.live.end();
        drop(stage.interrupts);
        let mut result = done?;
        if let Some(error) = azure.sandbox.as_ref().and_then(|sandbox| sandbox.sim.save_error()) {
            result.warnings.push(error);
            result.exit_code = exit::worst(result.exit_code, exit::PARTIAL);
        }
        Ok(self.finish(result))
    }
}

/// A run that a command shows.
struct Stage<'s> {
    launch: Launch<'s>,
    live: Arc<Live>,
    interrupts: Interrupts,
    /// The sandbox's world: one process works on it at a time.
    _world: Option<FileLock>,
}

/// Holds the sandbox's world, which one process works on at a time. It is on this machine's disk, wherever the runs are.
///
/// # Errors
/// When another process holds it.
pub fn hold_world(session: &Session, azure: &Azure, run_id: &str) -> Result<Option<FileLock>, CliError> {
    let Some(sandbox) = &azure.sandbox else { return Ok(None) };
    let dir = StateDir::open(&session.settings.state_dir, true)?;
    Ok(Some(FileLock::take(&dir, run_id, [sandbox.key()])?))
}

/// When a run that begins now must have stopped.
#[must_use]
pub fn deadline(azure: &Azure, after: Option<Span>) -> Option<Timestamp> {
    after.map(|span| later(azure.clock().now(), span.to_std()))
}
