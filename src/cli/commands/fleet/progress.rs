//! What is said while a fleet is on its way: a line when a VM begins and when it ends, and what must never be silent.
//!
//! Several VMs are at work at once, so every line names its VM, and the small steps of each are left to its journal. How a
//! removed lock is written back by hand, and warnings, are said even with `--quiet`.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anstyle::Style;
use jiff::Timestamp;
use serde_json::Value;

use crate::cli::printer::Printer;
use crate::cli::settings::Output;
use crate::cli::store::short;
use crate::engine::fleet::MemberOutcome;
use crate::engine::plan::Plan;
use crate::engine::progress::{Listener, Progress};
use crate::report::fleet::outcome;
use crate::report::jsonl;
use crate::report::layout::{BOLD, DIM, Page, paint};
use crate::text::{plural, safe, safe_short};

/// Columns that a VM's name takes in a line.
const NAME: usize = 60;

/// The stage for all voices.
#[derive(Debug)]
pub(super) struct FleetProgress {
    printer: Printer,
    all: usize,
    begun: AtomicUsize,
    wave: Mutex<Option<usize>>,
}

impl FleetProgress {
    pub(super) fn new(printer: &Printer, all: usize) -> Self {
        Self { printer: printer.clone(), all, begun: AtomicUsize::new(0), wave: Mutex::new(None) }
    }

    fn line(&self, text: &str) {
        if self.printer.output() != Output::Jsonl {
            self.printer.note(text);
        }
    }

    /// A line behind a mark that is `indent` columns wide, wrapped for the screen.
    fn wrapped(&self, mark: &str, indent: usize, parts: &[(Style, &str)]) {
        let mut page = Page::new(self.printer.err_width());
        page.spans(mark, indent, parts);
        self.line(page.finish().trim_end());
    }

    /// A VM begins.
    pub(super) fn begins(self: &Arc<Self>, plan: &Plan, run: &str, wave: usize) -> Voice {
        let number = self.begun.fetch_add(1, Ordering::Relaxed) + 1;
        let mut last = self.wave.lock().unwrap_or_else(PoisonError::into_inner);
        if *last != Some(wave) {
            *last = Some(wave);
            self.line(&paint(BOLD, &format!("wave {}", wave + 1)));
        }
        drop(last);
        let vm = safe_short(&plan.vm.short_name(), NAME);
        let mark = format!("  [{number}/{}] ", self.all);
        let what = format!("{vm}: {} starts", plan.playbook);
        let tail = format!(" ({}, run {})", plural(plan.weight(), "change"), short(run));
        self.wrapped(&mark, mark.len(), &[(Style::new(), &what), (DIM, &tail)]);
        Voice { board: Arc::clone(self), vm, id: plan.vm.to_string(), run: run.to_owned() }
    }

    /// A VM has ended, or could not begin.
    pub(super) fn ended(&self, plan: &Plan, of: &MemberOutcome) {
        let vm = safe_short(&plan.vm.short_name(), NAME);
        match of {
            MemberOutcome::Ran(result) => {
                let (word, style) = outcome(result.status);
                let why = result.error.as_ref().map(|error| format!(": {}", error.message)).unwrap_or_default();
                let mark = format!("  {} ", paint(style, &format!("{word:<9}")));
                self.wrapped(&mark, 12, &[(Style::new(), &format!("{vm}{why}"))]);
            }
            MemberOutcome::NotStarted { why, .. } => self.printer.warn(&format!("{vm} was not started: {why}")),
        }
    }
}

/// What one VM's run says.
#[derive(Debug)]
pub(super) struct Voice {
    board: Arc<FleetProgress>,
    vm: String,
    id: String,
    run: String,
}

impl Listener for Voice {
    fn progress(&self, at: Timestamp, progress: &Progress) {
        let printer = &self.board.printer;
        if printer.output() == Output::Jsonl {
            let mut event = jsonl::event(at, progress);
            if let Some(object) = event.as_object_mut() {
                object.insert("run_id".to_owned(), Value::String(self.run.clone()));
                object.insert("vm".to_owned(), Value::String(self.id.clone()));
            }
            printer.json(&event);
        }
        match progress {
            Progress::LockNote { lock, command } => {
                let name = lock.rsplit('/').next().unwrap_or_default();
                printer.say(&format!("  {}: to restore the lock {} by hand: {}", self.vm, safe(name), safe(command)));
            }
            Progress::Warning { text } => printer.warn(&format!("{}: {text}", self.vm)),
            _ => {}
        }
    }
}
