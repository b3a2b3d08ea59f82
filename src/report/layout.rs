//! Laying out text: wrapping with a hanging indent, styles.

use anstyle::{AnsiColor, Style};

use unicode_width::UnicodeWidthStr as _;

use crate::text::safe;

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
    /// safe; words are never cut, so that ids and commands can be copied.
    pub fn item(&mut self, mark: &str, style: Style, text: &str) {
        self.marked(mark, mark.width(), style, text);
    }

    /// [`Page::item`] for a mark with styles, which is `indent` columns wide on the screen.
    pub fn marked(&mut self, mark: &str, indent: usize, style: Style, text: &str) {
        let room = self.width.saturating_sub(indent).max(20);
        let mut first = true;
        for line in wrap(&safe(text), room) {
            if first {
                self.text.push_str(mark);
            } else {
                self.text.extend(std::iter::repeat_n(' ', indent));
            }
            first = false;
            self.text.push_str(&paint(style, &line));
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

/// Breaks text at spaces.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut length = 0;
    for word in text.split(' ') {
        let word_length = word.width();
        if length > 0 && length + 1 + word_length > width {
            lines.push(std::mem::take(&mut line));
            length = 0;
        }
        if length > 0 {
            line.push(' ');
            length += 1;
        }
        line.push_str(word);
        length += word_length;
    }
    lines.push(line);
    lines
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
