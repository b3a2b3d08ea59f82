//! Progress on stderr: a spinner on a terminal, plain lines otherwise; JSON lines on stdout with `-o jsonl`.
//!
//! A spinner says what is waited for and how long it has taken so far; with nothing to wait for there is none. Lines fit the
//! screen. Times are Azure's (the sandbox's hours pass in milliseconds). How a removed lock is written back by hand, and
//! warnings, are said even with `--quiet`.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anstyle::Style;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use jiff::Timestamp;

use super::printer::Printer;
use super::settings::Output;
use crate::actions::change::Outcome;
use crate::clock::elapsed;
use crate::engine::progress::{Listener, Progress};
use crate::report::jsonl;
use crate::report::layout::{BAD, BOLD, CARE, DIM, GOOD, Page, brief, paint};
use crate::text::{human_duration, plural, safe};

/// Under a step.
const INDENT: &str = "      ";

/// Waiting for the same thing is said again after this long.
const SAY_AGAIN: Duration = Duration::from_secs(15 * 60);

/// Tells a person or a program what the engine does.
#[derive(Debug)]
pub struct Live {
    printer: Printer,
    bar: Option<Spinner>,
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
        Self { printer: printer.clone(), bar: spinner.then(|| Spinner::new(printer)), state: Mutex::default() }
    }

    /// Takes the spinner away.
    pub fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.rest();
        }
    }

    fn message(&self, text: &str) {
        if let Some(bar) = &self.bar {
            bar.on(text);
        }
    }

    /// Nothing is waited for now: a spinner would only show what is over.
    fn rest(&self) {
        if let Some(bar) = &self.bar {
            bar.rest();
        }
    }

    /// A line behind a mark that is `indent` columns wide.
    fn line(&self, mark: &str, indent: usize, parts: &[(Style, &str)]) {
        if self.printer.output() != Output::Jsonl {
            let mut page = Page::new(self.printer.err_width());
            page.spans(mark, indent, parts);
            self.printer.note(page.finish().trim_end());
        }
    }

    fn waiting(&self, what: &str, at: Timestamp, since: Timestamp) {
        let so_far = elapsed(since, at);
        if let Some(bar) = &self.bar {
            bar.since(&format!("waiting: {what}"), so_far);
            return;
        }
        let took = if so_far.as_secs() < 1 { String::new() } else { format!(" ({} so far)", human_duration(so_far)) };
        let text = format!("waiting: {what}{took}");
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let said = state.waiting.as_ref().is_some_and(|(said, when)| said == what && elapsed(*when, at) < SAY_AGAIN);
        if !said {
            state.waiting = Some((what.to_owned(), at));
            drop(state);
            self.line(INDENT, INDENT.len(), &[(DIM, &text)]);
        }
    }

    /// Something was undone, or was not.
    fn back(&self, verb: &str, name: &str, outcome: &str) {
        self.rest();
        self.line(&format!("  {verb:<8}"), 10, &[(Style::new(), &format!("{name}: {outcome}"))]);
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
        self.rest();
        let mut text = brief(&effect).to_owned();
        let detail = outcome.detail();
        if !detail.is_empty() {
            text.push_str(&format!(": {detail}"));
        }
        let took = elapsed(since, at);
        let took = if took.as_secs() > 0 { format!(" ({})", human_duration(took)) } else { String::new() };
        let mark = format!("  {} ", paint(style, &format!("{word:<7}")));
        self.line(&mark, 10, &[(Style::new(), &text), (DIM, &took)]);
    }
}

/// A spinner with what is waited for and the time since it is, cut to the screen.
#[derive(Debug)]
struct Spinner {
    bar: ProgressBar,
    printer: Printer,
    /// Seconds that had passed when the message was set.
    before: Arc<AtomicU64>,
}

impl Spinner {
    fn new(printer: &Printer) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        let before = Arc::new(AtomicU64::new(0));
        let so_far = Arc::clone(&before);
        // The time goes on between two looks at Azure. Before the first second it would only flicker.
        let took = move |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            let passed = state.elapsed() + Duration::from_secs(so_far.load(Ordering::Relaxed));
            if passed.as_secs() > 0 {
                // A line that cannot be made is drawn again in a moment.
                write!(out, " ({})", human_duration(passed)).ok();
            }
        };
        if let Ok(style) = ProgressStyle::with_template("  {spinner} {wide_msg}{took}") {
            bar.set_style(style.with_key("took", took));
        }
        Self { bar, printer: printer.clone(), before }
    }

    /// Something begins.
    fn on(&self, text: &str) {
        self.since(text, Duration::ZERO);
    }

    /// Something is going on for so long.
    fn since(&self, text: &str, so_far: Duration) {
        let text = safe(text);
        // The engine counts in Azure's time, which in the sandbox is not this machine's.
        self.before.store(so_far.as_secs(), Ordering::Relaxed);
        self.bar.reset_elapsed();
        self.bar.set_message(text);
        if self.bar.is_hidden() {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
            self.bar.enable_steady_tick(Duration::from_millis(120));
            self.printer.attach(Some(self.bar.clone()));
        }
    }

    /// Nothing is going on.
    fn rest(&self) {
        self.printer.attach(None);
        self.bar.disable_steady_tick();
        self.bar.set_message("");
        self.bar.finish_and_clear();
        self.bar.set_draw_target(ProgressDrawTarget::hidden());
        self.bar.reset();
    }
}

impl Listener for Live {
    fn progress(&self, at: Timestamp, progress: &Progress) {
        if self.printer.output() == Output::Jsonl {
            self.printer.json(&jsonl::event(at, progress));
        }
        match progress {
            Progress::Step { id, number, of, changes } => {
                let text = format!("[{number}/{of}] {id}");
                self.line("", 0, &[(BOLD, &text), (DIM, &format!("  {}", plural(*changes, "change")))]);
            }
            Progress::StepOff { id, why } => {
                self.line(INDENT, INDENT.len(), &[(DIM, &format!("{id} skipped: {why}"))]);
            }
            Progress::Change { change } => {
                let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                state.changes.insert(change.id.clone(), (change.effect.clone(), at));
                drop(state);
                self.message(brief(&change.effect));
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
                    self.line(INDENT, INDENT.len(), &[(DIM, &format!("not yet: {why}"))]);
                }
            }
            Progress::Settled { change, outcome } => self.settled(at, change, outcome),
            Progress::Relock { lock, outcome } => {
                let name = lock.rsplit('/').next().unwrap_or_default();
                match outcome {
                    None => self.message(&format!("restoring the lock {name}")),
                    Some(outcome) => self.back("relock", name, outcome),
                }
            }
            Progress::Inverse { resource, outcome } => match outcome {
                None => self.message(&format!("undoing the change of {resource}")),
                Some(outcome) => self.back("undo", resource, outcome),
            },
            Progress::Verifying => {
                self.message("reading everything again");
            }
            Progress::Warning { text } => self.printer.warn(text),
        }
    }
}
