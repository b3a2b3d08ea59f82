//! Progress on stderr: a spinner on a terminal, plain lines otherwise; JSON lines on stdout with `-o jsonl`.
//!
//! Times are Azure's (the sandbox's hours pass in milliseconds). How a removed lock is written back by hand, and
//! warnings, are said even with `--quiet`.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::Timestamp;

use super::printer::Printer;
use super::settings::Output;
use crate::actions::change::Outcome;
use crate::clock::elapsed;
use crate::engine::progress::{Listener, Progress};
use crate::report::jsonl;
use crate::report::layout::{BAD, BOLD, CARE, DIM, GOOD, brief, paint};
use crate::text::{human_duration, plural, safe};

/// Waiting for the same thing is said again after this long.
const SAY_AGAIN: Duration = Duration::from_secs(15 * 60);

/// Tells a person or a program what the engine does.
#[derive(Debug)]
pub struct Live {
    printer: Printer,
    bar: Option<ProgressBar>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Effect and beginning of the changes under way.
    changes: HashMap<String, (String, Timestamp)>,
    /// What is waited for, and when that was said.
    waiting: Option<(String, Timestamp)>,
}

impl Live {
    /// Progress for this printer.
    #[must_use]
    pub fn new(printer: &Printer) -> Self {
        let spinner = printer.live() && !printer.quiet() && printer.output() != Output::Jsonl;
        let bar = spinner.then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template("  {spinner} {wide_msg}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        printer.attach(bar.clone());
        Self { printer: printer.clone(), bar, state: Mutex::default() }
    }

    /// Takes the spinner away.
    pub fn end(&self) {
        self.printer.attach(None);
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn message(&self, text: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(safe(text));
        }
    }

    fn line(&self, text: &str) {
        if self.printer.output() != Output::Jsonl {
            self.printer.note(text);
        }
    }

    fn waiting(&self, what: &str, at: Timestamp, since: Timestamp) {
        let so_far = elapsed(since, at);
        let text = if so_far.as_secs() < 1 {
            format!("waiting: {what}")
        } else {
            format!("waiting: {what} ({})", human_duration(so_far))
        };
        self.message(&text);
        if self.bar.is_some() {
            return;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let said = state.waiting.as_ref().is_some_and(|(said, when)| said == what && elapsed(*when, at) < SAY_AGAIN);
        if !said {
            state.waiting = Some((what.to_owned(), at));
            drop(state);
            self.line(&paint(DIM, &format!("      {}", safe(&text))));
        }
    }

    fn settled(&self, at: Timestamp, id: &str, outcome: &Outcome) {
        let begun = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.waiting = None;
            state.changes.remove(id)
        };
        let (effect, since) = begun.unwrap_or_else(|| (id.to_owned(), at));
        let (word, style) = match outcome {
            Outcome::Succeeded { .. } => ("done", GOOD),
            Outcome::AlreadyDone { .. } => ("already", GOOD),
            Outcome::Skipped { .. } => ("skipped", DIM),
            Outcome::Refused { .. } => ("refused", CARE),
            Outcome::Failed { .. } => ("failed", BAD),
            Outcome::Unknown { .. } => ("unknown", BAD),
        };
        let mut text = format!("  {} {}", paint(style, &format!("{word:<7}")), safe(brief(&effect)));
        let detail = outcome.detail();
        if !detail.is_empty() {
            text.push_str(&format!(": {}", safe(&detail)));
        }
        let took = elapsed(since, at);
        if took.as_secs() > 0 {
            text.push_str(&paint(DIM, &format!(" ({})", human_duration(took))));
        }
        self.line(&text);
    }
}

impl Listener for Live {
    fn progress(&self, at: Timestamp, progress: &Progress) {
        if self.printer.output() == Output::Jsonl {
            self.printer.json(&jsonl::event(at, progress));
        }
        match progress {
            Progress::Step { id, number, of, changes } => {
                let text = format!("[{number}/{of}] {}", safe(id));
                self.line(&format!("{}  {}", paint(BOLD, &text), paint(DIM, &plural(*changes, "change"))));
            }
            Progress::StepOff { id, why } => {
                self.line(&paint(DIM, &format!("      {} skipped: {}", safe(id), safe(why))));
            }
            Progress::Change { change } => {
                let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                state.changes.insert(change.id.clone(), (change.effect.clone(), at));
                drop(state);
                self.message(&change.effect);
            }
            Progress::LockNote { lock, command } => {
                let name = lock.rsplit('/').next().unwrap_or_default();
                self.printer.say(&format!("  to restore the lock {} by hand: {}", safe(name), safe(command)));
            }
            Progress::Waiting { what, wait: _, since } => self.waiting(what, at, *since),
            Progress::Retry { why } => {
                // What is waited for next is the same thing: it is said once.
                let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                let said = state.waiting.as_ref().is_some_and(|(said, _)| said == why);
                state.waiting = Some((why.clone(), at));
                drop(state);
                if !said {
                    self.line(&paint(DIM, &format!("      not yet: {}", safe(why))));
                }
            }
            Progress::Settled { change, outcome } => self.settled(at, change, outcome),
            Progress::Relock { lock, outcome } => {
                let name = safe(lock.rsplit('/').next().unwrap_or_default());
                match outcome {
                    None => self.message(&format!("restoring the lock {name}")),
                    Some(outcome) => self.line(&format!("  relock  {name}: {}", safe(outcome))),
                }
            }
            Progress::Inverse { resource, outcome } => {
                let name = safe(resource);
                match outcome {
                    None => self.message(&format!("undoing the change of {name}")),
                    Some(outcome) => self.line(&format!("  undo    {name}: {}", safe(outcome))),
                }
            }
            Progress::Verifying => {
                self.message("reading everything again");
            }
            Progress::Warning { text } => self.printer.warn(text),
        }
    }
}
