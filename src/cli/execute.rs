//! From a plan to a result: show, ask, lock, journal, run, report. The one way for `fix`, `apply`, `resume` and `undo`.

use std::sync::Arc;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::azure::{Azure, Opening};
use super::confirm::confirm;
use super::error::{CliError, Kind};
use super::interrupt::{self, Interrupts};
use super::printer::Printer;
use super::progress::Live;
use super::settings::{Output, Settings};
use super::store;
use crate::api::launch;
pub use crate::api::launch::{deadline, hold_world};
use crate::api::{Note, Watch};
use crate::engine::Entry;
use crate::engine::hints::{as_program, in_world};
use crate::engine::plan::Plan;
use crate::engine::result::RunResult;
use crate::journal::{RunFile, State};
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
        let printer = self.printer.clone();
        let mut azure = Azure::open(&Opening {
            place: &self.settings.place,
            state_dir: &self.settings.state_dir,
            speed: self.settings.speed,
            served: &self.settings.served,
            say: Arc::new(move |text| printer.say(text)),
        })?;
        azure.set_program(self.program());
        if azure.sandbox.is_some() {
            self.printer.say("sandbox: the embedded Azure, nothing real is touched");
        }
        Ok(azure)
    }

    /// `azmend`, with the options that the next command needs to be in the same world.
    #[must_use]
    pub fn program(&self) -> String {
        let mut program = self.settings.place.program();
        if let Some(state) = &self.settings.state_typed {
            program.push_str(&format!(" --state {}", shell_quote(state)));
        }
        program
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
        in_world(result, &self.program());
    }

    /// Shows a result in the format that was asked for.
    pub fn show(&self, mut result: RunResult) {
        self.commands_of_this_world(&mut result);
        match self.printer.output() {
            Output::Table => self.printer.data(&report::result(&result, self.printer.width())),
            _ => self.printer.json(&result),
        }
    }

    /// Says what the library says before a run. Signals are [`Session::reading`]'s.
    #[must_use]
    pub fn notes(&self) -> Watch {
        let printer = self.printer.clone();
        let notes = move |note| match note {
            Note::Reading(text) => printer.dim(&text),
            Note::Chosen(text) => printer.note(&text),
            Note::Warning(text) => printer.warn(&text),
        };
        Watch { notes: Arc::new(notes), ..Watch::default() }
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
        let shown = self.show_run();
        let done = Box::pin(launch::start(azure, &state, plan, &shown.watch, deadline)).await;
        shown.end();
        Ok(self.finish(done?))
    }

    /// Takes up a run, and shows its result.
    ///
    /// # Errors
    /// When another azmend works on the same; nothing was changed then.
    pub async fn enter(
        &self,
        azure: &Azure,
        state: &State,
        run: (Plan, RunFile),
        entry: Entry,
        deadline: Option<Timestamp>,
    ) -> Result<u8, CliError> {
        let shown = self.show_run();
        let done = Box::pin(launch::enter(azure, state, run, entry, &shown.watch, deadline)).await;
        shown.end();
        Ok(self.finish(done?))
    }

    /// What a run needs of a command: signals and progress.
    fn show_run(&self) -> ShownRun {
        let cancel = CancellationToken::new();
        let interrupts = Interrupts::listen(cancel.clone(), self.printer.clone());
        let live = Arc::new(Live::new(&self.printer));
        let watch = Watch { listener: live.clone(), cancel, ..self.notes() };
        ShownRun { watch, live, interrupts }
    }
}

/// A run that a command shows.
struct ShownRun {
    watch: Watch,
    live: Arc<Live>,
    interrupts: Interrupts,
}

impl ShownRun {
    fn end(self) {
        self.live.end();
        drop(self.interrupts);
    }
}
