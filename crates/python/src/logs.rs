//! What azmend says while it works, as lines of `logging`: the progress of a run by the logger `azmend`, diagnostics by loggers
//! named as the room they come from.

use std::fmt::{self, Write as _};
use std::time::Duration;

use azmend::Note;
use azmend::clock::elapsed;
use azmend::engine::{Listener, Progress};
use azmend::text::{human_duration, safe};
use jiff::Timestamp;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use crate::attend::Log;

const DEBUG: u8 = 10;
const INFO: u8 = 20;
const WARNING: u8 = 30;
const ERROR: u8 = 40;
/// The logger of progress and of what the user should know.
const NAME: &str = "azmend";

impl Log {
    /// What is known before a run.
    pub fn note(&self, note: Note) {
        match note {
            Note::Reading(text) | Note::Chosen(text) => self.line(INFO, NAME, &safe(&text)),
            Note::Warning(text) => self.line(WARNING, NAME, &safe(&text)),
        }
    }
}

impl Listener for Log {
    fn progress(&self, at: Timestamp, progress: &Progress) {
        let (level, text) = line(at, progress);
        self.line(level, NAME, &safe(&text));
    }
}

/// A line about what a run does. How a removed lock is restored by hand must be seen (S6).
fn line(at: Timestamp, progress: &Progress) -> (u8, String) {
    match progress {
        Progress::Step { id, number, of, changes } => {
            (INFO, format!("step {number} of {of}: {id} (changes: {changes})"))
        }
        Progress::StepOff { id, why } => (INFO, format!("step {id} skipped: {why}")),
        Progress::Change { change } => (INFO, change.effect.clone()),
        Progress::LockNote { lock, command } => (WARNING, format!("to restore the lock {lock} by hand: {command}")),
        Progress::Waiting { what, since, .. } => {
            let so_far: Duration = elapsed(*since, at);
            (DEBUG, format!("waiting: {what} ({})", human_duration(so_far)))
        }
        Progress::Retry { why } => (INFO, format!("not yet: {why}")),
        Progress::Settled { change, outcome } => (INFO, format!("{} {change}: {}", outcome.word(), outcome.detail())),
        Progress::Relock { lock, outcome } => {
            (INFO, format!("restoring the lock {lock}: {}", outcome.as_deref().unwrap_or("started")))
        }
        Progress::Inverse { resource, outcome } => {
            (INFO, format!("undoing the change of {resource}: {}", outcome.as_deref().unwrap_or("started")))
        }
        Progress::Verifying => (INFO, "reading everything again".to_owned()),
        Progress::Warning { text } => (WARNING, text.clone()),
    }
}

/// Diagnostics of azmend's own code; what libraries under it say stays in.
#[derive(Debug)]
pub struct Diagnostics {
    /// Where to.
    pub log: Log,
    /// The lowest level that is wanted.
    pub level: u8,
}

impl<S: Subscriber> Layer<S> for Diagnostics {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let level = match *metadata.level() {
            Level::ERROR => ERROR,
            Level::WARN => WARNING,
            Level::INFO => INFO,
            Level::DEBUG | Level::TRACE => DEBUG,
        };
        if level < self.level || !metadata.target().starts_with("azmend") {
            return;
        }
        let mut text = Text::default();
        event.record(&mut text);
        self.log.line(level, &metadata.target().replace("::", "."), &safe(&text.0));
    }
}

/// The message, then the fields.
#[derive(Debug, Default)]
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let space = if self.0.is_empty() { "" } else { " " };
        let written = match field.name() {
            "message" => write!(self.0, "{space}{value:?}"),
            name => write!(self.0, "{space}{name}={value:?}"),
        };
        debug_assert!(written.is_ok(), "writing to a text cannot fail");
    }
}
