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
use super::query::Query;
use super::settings::Output;
use super::shape;
use crate::report::layout::hanging;
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
    query: Option<Query>,
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
        Self::with_query(output, None, quiet, color)
    }

    /// The same for a part of each result.
    #[must_use]
    pub fn with_query(output: Output, query: Option<Query>, quiet: bool, color: ColorChoice) -> Self {
        let decide = |auto: ColorChoice| if color == ColorChoice::Auto { auto } else { color };
        let inner = Inner {
            output,
            query,
            quiet,
            out_color: decide(AutoStream::choice(&io::stdout())),
            err_color: decide(AutoStream::choice(&io::stderr())),
            bar: Mutex::new(None),
            failed: Mutex::new(None),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The format of stdout. YAML is JSON here: the same object, which [`Self::json`] writes in its way.
    #[must_use]
    pub fn output(&self) -> Output {
        if self.inner.output == Output::Yaml { Output::Json } else { self.inner.output }
    }

    /// Whether the whole result is wanted as JSON: then a command can write the text itself.
    #[must_use]
    pub fn plain_json(&self) -> bool {
        self.inner.query.is_none() && self.inner.output != Output::Yaml
    }

    /// Whether data is for people.
    #[must_use]
    pub fn for_people(&self) -> bool {
        self.inner.output == Output::Table
    }

    /// Whether stdout is JSON: then an error is an object there too.
    #[must_use]
    pub fn is_json(&self) -> bool {
        matches!(self.inner.output, Output::Json | Output::Yaml | Output::Jsonl)
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
        width(terminal_size::terminal_size_of(io::stdout()).map(|(columns, _)| usize::from(columns.0)), columns())
    }

    /// Columns for text on stderr.
    #[must_use]
    pub fn err_width(&self) -> usize {
        width(terminal_size::terminal_size_of(io::stderr()).map(|(columns, _)| usize::from(columns.0)), columns())
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

    /// A result on stdout, or the part of it that is wanted: pretty for `json`, on one line for `jsonl`.
    pub fn json(&self, value: &impl Serialize) {
        self.object(value, self.inner.query.as_ref());
    }

    /// The object of an error on stdout, always whole: a part of a result says nothing about why there is none.
    pub fn whole(&self, value: &impl Serialize) {
        self.object(value, None);
    }

    fn object(&self, value: &impl Serialize, query: Option<&Query>) {
        match shape::text(value, self.inner.output, query) {
            Ok(Some(text)) => self.data(&text),
            Ok(None) => {}
            Err(error) => {
                self.failed().get_or_insert(error);
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
        let text = self.message_width().map_or_else(|| safe(text), |width| hanging("", text, width));
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

    /// A paragraph on stderr behind a label: wrapped between words where it is read on a screen, a line as it is in a file.
    fn paragraph(&self, style: Style, label: &str, text: &str) {
        let width = self.message_width();
        let mut out = String::new();
        for (index, line) in text.lines().enumerate() {
            let body = if index == 0 { line } else { line.trim_start() };
            let mark = if index == 0 { label.to_owned() } else { " ".repeat(line.len() - body.len()) };
            out.push_str(if index == 0 { "" } else { "\n" });
            out.push_str(&match width {
                Some(width) => hanging(&mark, body, width),
                None => format!("{mark}{}", safe(body)),
            });
        }
        let body = out.strip_prefix(label).unwrap_or(&out);
        self.say(&format!("{style}{}{style:#}{body}", if text.is_empty() { "" } else { label }));
    }

    /// A sentence on stderr that `--quiet` silences.
    pub fn sentence(&self, text: &str) {
        if !self.inner.quiet {
            self.statement(text);
        }
    }

    /// A sentence on stderr, always.
    pub fn statement(&self, text: &str) {
        self.paragraph(Style::new(), "", text);
    }

    /// A warning on stderr, always.
    pub fn warn(&self, text: &str) {
        self.paragraph(WARNING, "warning: ", text);
    }

    /// An error with its hints on stderr.
    pub fn error(&self, error: &CliError) {
        self.paragraph(ERROR, "error: ", &error.message);
        for hint in &error.hints {
            self.hint(hint);
        }
    }

    /// A hint on stderr.
    pub fn hint(&self, hint: &str) {
        self.paragraph(DIM, "hint: ", hint);
    }

    /// The columns for messages; `None` where nobody reads them on a screen.
    fn message_width(&self) -> Option<usize> {
        (self.live() || columns().is_some()).then(|| self.err_width())
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

/// What the variable says: whoever sets it knows why.
fn columns() -> Option<usize> {
    std::env::var("COLUMNS").ok()?.parse().ok().filter(|columns| *columns > 0)
}

/// The width to lay text out in.
fn width(terminal: Option<usize>, variable: Option<usize>) -> usize {
    variable.or(terminal).map_or(PIPED, |width| width.clamp(NARROWEST, WIDEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_width_is_bounded() {
        assert_eq!(width(Some(10), None), NARROWEST);
        assert_eq!(width(Some(400), None), WIDEST);
        assert_eq!(width(Some(100), None), 100);
        assert_eq!(width(Some(100), Some(60)), 60, "the variable wins");
        assert_eq!(width(None, None), PIPED);
    }

    #[test]
    fn yaml_is_the_object_of_json_for_those_who_ask() {
        let printer = Printer::new(Output::Yaml, false, ColorChoice::Never);
        assert_eq!(printer.output(), Output::Json);
        assert!(printer.is_json() && !printer.for_people() && !printer.plain_json());
    }

    #[test]
    fn what_was_asked_for_wins_over_the_stream() {
        let printer = Printer::new(Output::Json, false, ColorChoice::Always);
        assert_eq!(printer.inner.out_color, ColorChoice::Always);
        assert!(!printer.for_people());
    }
}
