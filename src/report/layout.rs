//! Laying out text: wrapping with a hanging indent, styles.
//!
//! Invariants: a line breaks between words only. A command is one word however many spaces it has, and so is what stands in
//! backticks: a line break in it would be copied with it.

use anstyle::{AnsiColor, Style};

use unicode_width::UnicodeWidthStr;

use crate::engine::hints::command_at;
use crate::text::safe;

/// However deep a text is indented, it gets this many columns.
const NARROWEST: usize = 20;

/// Headings.
pub const BOLD: Style = Style::new().bold();
/// What matters less.
pub const DIM: Style = Style::new().dimmed();
/// Good.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// Look here.
pub const CARE: Style = AnsiColor::Yellow.on_default();
/// Bad.
pub const BAD: Style = AnsiColor::Red.on_default();

/// The text in a style.
#[must_use]
pub fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// Lines of text for people.
#[derive(Debug, Default)]
pub struct Page {
    text: String,
    width: usize,
}

impl Page {
    /// An empty page of this width.
    #[must_use]
    pub fn new(width: usize) -> Self {
        Self { text: String::new(), width }
    }

    /// A line as it is.
    pub fn line(&mut self, text: &str) {
        self.text.push_str(text);
        self.text.push('\n');
    }

    /// An empty line, unless the page is empty or ends with one.
    pub fn gap(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with("\n\n") {
            self.text.push('\n');
        }
    }

    /// A paragraph behind a mark: the mark stands in the first line, the others are indented as far. The text is made
    /// safe; words and commands are never cut, so that they can be copied.
    pub fn item(&mut self, mark: &str, style: Style, text: &str) {
        self.marked(mark, mark.width(), style, text);
    }

    /// [`Page::item`] for a mark with styles, which is `indent` columns wide on the screen.
    pub fn marked(&mut self, mark: &str, indent: usize, style: Style, text: &str) {
        self.spans(mark, indent, &[(style, text)]);
    }

    /// [`Page::marked`] for a text of several styles. Each part is followed by what comes after it, without a space.
    pub fn spans(&mut self, mark: &str, indent: usize, parts: &[(Style, &str)]) {
        for (index, line) in wrap(parts, room(self.width, indent)).iter().enumerate() {
            if index == 0 {
                self.text.push_str(mark);
            } else {
                self.text.extend(std::iter::repeat_n(' ', indent));
            }
            self.text.push_str(line);
            self.text.push('\n');
        }
    }

    /// A command: in one line whatever its length, for a line break in the middle would be typed with it.
    pub fn command(&mut self, mark: &str, command: &str) {
        self.text.push_str(mark);
        self.text.push_str(&safe(command));
        self.text.push('\n');
    }

    /// The page.
    #[must_use]
    pub fn finish(self) -> String {
        self.text
    }
}

/// The beginning of a change's effect, for when the plan has shown all of it: up to the first comma or semicolon.
#[must_use]
pub fn brief(effect: &str) -> &str {
    let end = [", ", "; "].iter().filter_map(|mark| effect.find(mark)).min();
    end.and_then(|end| effect.get(..end)).unwrap_or(effect)
}

/// The columns that are left behind a mark; in a narrow place a text takes some all the same.
fn room(width: usize, indent: usize) -> usize {
    width.saturating_sub(indent).max(NARROWEST)
}

/// A text that breaks between words, with the lines after the first indented: for what is not part of a page.
#[must_use]
pub fn hanging(mark: &str, text: &str, width: usize) -> String {
    let indent = mark.width();
    let lines = wrap(&[(Style::new(), text)], room(width, indent));
    format!("{mark}{}", lines.join(&format!("\n{}", " ".repeat(indent))))
}

/// The longest part of a text that is never broken, in columns.
#[must_use]
pub fn longest(text: &str) -> usize {
    units(text).map(UnicodeWidthStr::width).max().unwrap_or(0)
}

/// A text of several styles in lines of this width.
#[must_use]
pub fn wrap(parts: &[(Style, &str)], width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = Runs::default();
    // The spaces before the next unit: a line breaks there, whichever part of the text they belong to.
    let mut spaces = 0;
    for (style, text) in parts {
        let text = safe(text);
        for (index, unit) in units(&text).enumerate() {
            spaces += usize::from(index > 0);
            if unit.is_empty() {
                continue;
            }
            if spaces > 0 && line.length > 0 {
                if line.length + spaces + unit.width() > width {
                    lines.push(std::mem::take(&mut line).painted());
                } else {
                    line.push(*style, &" ".repeat(spaces));
                }
            }
            line.push(*style, unit);
            spaces = 0;
        }
    }
    lines.push(line.painted());
    lines
}

/// A line in the making: neighbours of one style are painted together.
#[derive(Default)]
struct Runs {
    runs: Vec<(Style, String)>,
    length: usize,
}

impl Runs {
    fn push(&mut self, style: Style, text: &str) {
        self.length += text.width();
        match self.runs.last_mut() {
            Some((last, run)) if *last == style => run.push_str(text),
            _ if text.is_empty() => {}
            _ => self.runs.push((style, text.to_owned())),
        }
    }

    fn painted(mut self) -> String {
        if let Some((_, last)) = self.runs.last_mut() {
            last.truncate(last.trim_end_matches(' ').len());
        }
        self.runs.iter().map(|(style, run)| paint(*style, run)).collect()
    }
}

/// The parts of a text between which a line may break: words, commands, what stands in backticks.
fn units(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let here = rest?;
        let length = unbroken(here);
        let (unit, after) = here.split_at(length);
        rest = after.strip_prefix(' ');
        Some(unit)
    })
}

/// How many bytes of the text's beginning stay together.
fn unbroken(text: &str) -> usize {
    let to_space = |from: usize| {
        let tail = text.get(from..).unwrap_or_default();
        from + tail.find(' ').unwrap_or(tail.len())
    };
    let word = to_space(0);
    // A backtick that is opened in this word and not closed.
    let opened = text.get(..word).is_some_and(|word| word.matches('`').count() % 2 == 1);
    let closed = text.get(word..).and_then(|tail| tail.find('`')).map(|at| word + at + 1);
    to_space(closed.filter(|_| opened).or_else(|| command_at(text)).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_hang_and_words_are_whole() {
        let mut page = Page::new(30);
        page.item("  - ", Style::new(), "remove the lock /subscriptions/11111111-1111-1111-1111-111111111111/x now");
        assert_eq!(
            page.finish(),
            "  - remove the lock\n    /subscriptions/11111111-1111-1111-1111-111111111111/x\n    now\n"
        );
    }

    #[test]
    fn a_command_is_never_broken() {
        let mut page = Page::new(40);
        page.item("  - ", Style::new(), "restore it with azmend --sandbox runs undo 0199f3a2 now");
        page.item("", Style::new(), "the list (`azmend playbook list --playbooks DIR`) names all");
        assert_eq!(
            page.finish(),
            "  - restore it with\n    azmend --sandbox runs undo 0199f3a2\n    now\nthe list\n\
             (`azmend playbook list --playbooks DIR`)\nnames all\n"
        );
    }

    #[test]
    fn styles_change_within_a_paragraph() {
        let bold = |text: &str| paint(BOLD, text);
        let lines = wrap(&[(BOLD, "partly done"), (Style::new(), ": a on"), (BOLD, " b")], 16);
        assert_eq!(lines, [format!("{}: a", bold("partly done")), format!("on{}", bold(" b"))]);
        let parts = [(BOLD, "succeeded"), (Style::new(), ": "), (BOLD, "a-long-name")];
        assert_eq!(wrap(&parts, 16), [format!("{}:", bold("succeeded")), bold("a-long-name")]);
        assert_eq!(longest("a bcd ef"), 3);
        assert_eq!(hanging("hint: ", "one two three four", 26), "hint: one two three four");
        assert_eq!(hanging("hint: ", "one two three four five", 26), "hint: one two three four\n      five");
    }

    #[test]
    fn wide_letters_take_two_columns() {
        let mut page = Page::new(20);
        page.item("", Style::new(), "복원 지점 컬렉션이 최대 한도에 도달했습니다");
        assert!(page.finish().lines().all(|line| line.width() <= 20));
    }

    #[test]
    fn escapes_do_not_pass() {
        let mut page = Page::new(80);
        page.item("", Style::new(), "notes \u{1b}]0;x\u{7}");
        assert!(!page.finish().contains('\u{1b}'));
    }
}
