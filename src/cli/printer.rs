//! The only writer of stdout and stderr.
//!
//! Duty: stdout carries data alone, stderr everything else. A reader that went away (a broken pipe) is not an error: it
//! has what it wanted. Any other failure to write data is remembered and makes the exit code tell. Colours are stripped
//! where they do not belong.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use indicatif::ProgressBar;
use serde::Serialize;

use super::error::CliError;
use super::settings::Output;
use crate::text::{io_words, safe};

/// Widest text for people: longer lines are hard to read.
const WIDEST: usize = 120;
/// Narrower than this nothing is laid out.
const NARROWEST: usize = 40;
/// Without a terminal.
const PIPED: usize = 80;

const WARNING: Style = AnsiColor::Yellow.on_default().bold();
const ERROR: Style = AnsiColor::Red.on_default().bold();
const DIM: Style = Style::new().dimmed();

/// Writes to stdout and stderr.
#[derive(Debug, Clone)]
pub struct Printer {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    output: Output,
    quiet: bool,
    out_color: ColorChoice,
    err_color: ColorChoice,
    bar: Mutex<Option<ProgressBar>>,
    failed: Mutex<Option<String>>,
}

impl Printer {
    /// A printer; colours are decided here once, for each stream.
    #[must_use]
    pub fn new(output: Output, quiet: bool, color: ColorChoice) -> Self {
        let decide = |auto: ColorChoice| if color == ColorChoice::Auto { auto } else { color };
        let inner = Inner {
            output,
            quiet,
            out_color: decide(AutoStream::choice(&io::stdout())),
            err_color: decide(AutoStream::choice(&io::stderr())),
            bar: Mutex::new(None),
            failed: Mutex::new(None),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The format of stdout.
    #[must_use]
    pub fn output(&self) -> Output {
        self.inner.output
    }

    /// Whether data is for people.
    #[must_use]
    pub fn for_people(&self) -> bool {
        self.inner.output == Output::Table
    }

    /// Whether stdout is JSON: then an error is an object there too.
    #[must_use]
    pub fn is_json(&self) -> bool {
        matches!(self.inner.output, Output::Json | Output::Jsonl)
    }

    /// Whether progress is wanted.
    #[must_use]
    pub fn quiet(&self) -> bool {
        self.inner.quiet
    }

    /// Whether somebody can be asked: both ends of the conversation are a terminal.
    #[must_use]
    pub fn can_ask(&self) -> bool {
        io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    /// Whether stderr is a terminal (spinner).
    #[must_use]
    pub fn live(&self) -> bool {
        io::stderr().is_terminal()
    }

    /// Columns for text on stdout.
    #[must_use]
    pub fn width(&self) -> usize {
        width(terminal_size::terminal_size_of(io::stdout()).map(|(columns, _)| usize::from(columns.0)))
    }

    /// Columns for text on stderr.
    #[must_use]
    pub fn err_width(&self) -> usize {
        width(terminal_size::terminal_size_of(io::stderr()).map(|(columns, _)| usize::from(columns.0)))
    }

    /// Data on stdout, with a line end.
    pub fn data(&self, text: &str) {
        self.with_bar_hidden(|| {
            let mut out = AutoStream::new(io::stdout().lock(), self.inner.out_color);
            let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
            let written = write!(out, "{text}{end}").and_then(|()| out.flush());
            if let Err(error) = written
                && error.kind() != io::ErrorKind::BrokenPipe
            {
                self.failed().get_or_insert(io_words(&error));
            }
        });
    }

    /// A value on stdout: pretty for `json`, on one line otherwise.
    pub fn json(&self, value: &impl Serialize) {
        let text = match self.inner.output {
            Output::Jsonl => serde_json::to_string(value),
            _ => serde_json::to_string_pretty(value),
        };
        match text {
            Ok(text) => self.data(&text),
            Err(error) => {
                self.failed().get_or_insert(error.to_string());
            }
        }
    }

    /// A line on stderr that `--quiet` silences.
    pub fn note(&self, text: &str) {
        if !self.inner.quiet {
            self.say(text);
        }
    }

    /// A dimmed line on stderr that `--quiet` silences.
    pub fn dim(&self, text: &str) {
        self.note(&format!("{DIM}{text}{DIM:#}"));
    }

    /// A line on stderr, always.
    pub fn say(&self, text: &str) {
        self.with_bar_hidden(|| self.err(&format!("{text}\n")));
    }

    /// Text on stderr without a line end: a question.
    pub fn ask(&self, text: &str) {
        self.with_bar_hidden(|| self.err(text));
    }

    /// A warning on stderr, always.
    pub fn warn(&self, text: &str) {
        self.say(&format!("{WARNING}warning{WARNING:#}: {}", safe(text)));
    }

    /// An error with its hints on stderr.
    pub fn error(&self, error: &CliError) {
        self.say(&format!("{ERROR}error{ERROR:#}: {}", lines(&error.message)));
        for hint in &error.hints {
            self.hint(hint);
        }
    }

    /// A hint on stderr.
    pub fn hint(&self, hint: &str) {
        self.say(&format!("{DIM}hint{DIM:#}: {}", lines(hint)));
    }

    /// The bar that must be hidden while something is written.
    pub fn attach(&self, bar: Option<ProgressBar>) {
        *self.inner.bar.lock().unwrap_or_else(PoisonError::into_inner) = bar;
    }

    /// Why data could not be written, if so.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.failed().clone()
    }

    fn failed(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.inner.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn err(&self, text: &str) {
        let mut err = AutoStream::new(io::stderr().lock(), self.inner.err_color);
        // When stderr is gone there is nobody left to tell.
        drop(write!(err, "{text}").and_then(|()| err.flush()));
    }

    fn with_bar_hidden(&self, write: impl FnOnce()) {
        let bar = self.inner.bar.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }
}

/// Each line made safe on its own: messages and hints may have several.
fn lines(text: &str) -> String {
    text.lines().map(safe).collect::<Vec<_>>().join("\n")
}

/// The width to lay text out in.
fn width(terminal: Option<usize>) -> usize {
    let columns = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
    terminal.or(columns).map_or(PIPED, |width| width.clamp(NARROWEST, WIDEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_width_is_bounded() {
        assert_eq!(width(Some(10)), NARROWEST);
        assert_eq!(width(Some(400)), WIDEST);
        assert_eq!(width(Some(100)), 100);
    }

    #[test]
    fn a_message_keeps_its_lines_and_loses_its_escapes() {
        let text = lines("a\u{1b}[2J\n  b");
        assert!(!text.contains('\u{1b}') && text.ends_with("\n  b"), "{text:?}");
    }

    #[test]
    fn what_was_asked_for_wins_over_the_stream() {
        let printer = Printer::new(Output::Json, false, ColorChoice::Always);
        assert_eq!(printer.inner.out_color, ColorChoice::Always);
        assert!(!printer.for_people());
    }
}
