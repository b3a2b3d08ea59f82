//! What somebody pasted, taken apart: the readings of the text, the codes in it and where they stand, and the numbers
//! that stand in the place of a number.
//!
//! Duty: understand the forms in which Azure's errors travel (JSON and JSON in JSON, PowerShell records, `az --debug`,
//! Terraform's boxes, tables of the portal, HTML, lines that a terminal broke) without judging what they mean. Must never
//! panic on any text; its cost is linear in the text.

use std::borrow::Cow;

use super::numbers::{Number, ends_in_word, floor, numbers};

/// Of longer texts the head and the tail are read: 64 KiB is a whole `--debug` log of one command.
pub const LONGEST: usize = 64 * 1024;
/// How much of a longer text's head is read; the rest is its tail, for the error that ended a command stands at the end.
const HEAD: usize = 16 * 1024;
/// How often escapes are undone: JSON in JSON in a shell's quotes.
const ESCAPES: usize = 4;

/// Words before a code that say that a code follows. With each, whether nothing but a code stands after it: a status or a title
/// may be anything.
const LABELS: [(&str, bool); 20] = [
    ("code", true),
    ("errorcode", true),
    ("error code", true),
    ("error_code", true),
    ("errortitle", true),
    ("error title", true),
    ("title", false),
    ("status", false),
    ("fullyqualifiederrorid", false),
    ("jobfailurecode", true),
    ("failure code", true),
    ("exception type", true),
    ("오류 코드", true),
    ("오류코드", true),
    ("エラー コード", true),
    ("エラーコード", true),
    ("fehlercode", true),
    ("error", false),
    ("오류", false),
    ("fehler", false),
];
/// Words in a sentence that say that it tells of something that is over.
const PAST: [&str; 24] = [
    "last week",
    "last month",
    "last year",
    "last time",
    "previously",
    "earlier",
    "before the",
    "formerly",
    "used to",
    "in the past",
    "history",
    "(fixed",
    "(solved",
    "(resolved",
    "we fixed",
    "we solved",
    "we resolved",
    "was fixed",
    "was solved",
    "was resolved",
    "is gone",
    "retrying",
    "will retry",
    "지난",
];
/// Words that say that what follows lies deeper.
const INWARDS: [&str; 8] = [
    "innererror",
    "inner error",
    "inner exception",
    "caused by",
    "original error",
    "underlying error",
    "\"details\"",
    "details:",
];

/// A word that may be a code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// As it is written.
    pub text: String,
    /// It stands where a code stands: after a label, in brackets, or alone on its line.
    pub labelled: bool,
    /// It stands where nothing but a code stands.
    pub code: bool,
    /// How deep: braces, and words such as "inner error", before it.
    pub depth: usize,
    /// Which of the errors of a log it belongs to: a new one begins where braces have closed and at a line "ERROR: ...".
    pub error: usize,
    /// The line that it ends on.
    pub line: usize,
    /// Its sentence tells of something that is over.
    pub past: bool,
    /// Put together over the end of a line.
    pub joined: bool,
}

/// A text, taken apart.
#[derive(Debug, Clone, Default)]
pub struct Paste {
    /// The text as written, and with its escapes undone where it has any.
    pub readings: Vec<String>,
    /// The words that may be codes, in their order.
    pub words: Vec<Word>,
    /// The numbers in the place of a number.
    pub numbers: Vec<Number>,
}

impl Paste {
    /// Takes a text apart.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let clean = clean(&shortened(text));
        let open = unescaped(&clean);
        let words = words(&open);
        let numbers = numbers(&open);
        let readings = if open == clean { vec![clean] } else { vec![clean, open] };
        Self { readings, words, numbers }
    }

    /// What stands behind the last words that say that it lies deeper.
    #[must_use]
    pub fn inner(&self) -> Option<&str> {
        let (open, lower) = (self.open(), self.open().to_lowercase());
        let at = INWARDS.iter().filter_map(|word| lower.rfind(word).map(|at| at + word.len())).max()?;
        open.get(at..).filter(|_| lower.len() == open.len())
    }

    /// The text with its escapes undone.
    #[must_use]
    pub fn open(&self) -> &str {
        self.readings.last().map_or("", String::as_str)
    }
}

/// The text, or the head and the tail of a longer one.
fn shortened(text: &str) -> Cow<'_, str> {
    if text.len() <= LONGEST {
        return Cow::Borrowed(text);
    }
    let head = text.get(..floor(text, HEAD)).unwrap_or_default();
    let mut from = text.len() - (LONGEST - HEAD);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    Cow::Owned(format!("{head}\n\n{}", text.get(from..).unwrap_or_default()))
}

/// Without what a terminal, a web page or a spreadsheet adds.
fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut letters = text.chars().peekable();
    while let Some(c) = letters.next() {
        match c {
            // A colour: ESC [ ... letter.
            '\u{1b}' => {
                if letters.peek() == Some(&'[') {
                    letters.next();
                    while letters.next().is_some_and(|c| !c.is_ascii_alphabetic()) {}
                }
            }
            '\u{feff}' | '\u{200b}' | '\u{200c}' | '\u{200d}' | '\u{ad}' | '\r' => {}
            '\u{a0}' | '\u{3000}' | '\t' => out.push(' '),
            '：' => out.push(':'),
            '“' | '”' => out.push('"'),
            '’' | '‘' => out.push('\''),
            '│' | '┃' | '║' | '╷' | '╵' | '╭' | '╰' => out.push(' '),
            c => out.push(c),
        }
    }
    // Where a page may break a long word it is one word still.
    let out = ["<wbr>", "<wbr/>", "<wbr />", "&shy;"].iter().fold(out, |out, mark| out.replace(mark, ""));
    let tags = out.replace("<br>", "\n").replace("<br/>", "\n").replace("<br />", "\n").replace("<BR>", "\n");
    tags.trim().to_owned()
}

/// With its escapes undone, as often as there are any.
fn unescaped(text: &str) -> String {
    let mut out = text.to_owned();
    for _ in 0..ESCAPES {
        if !["\\\"", "\\n", "\\r", "\\t", "\\u00", "\\/", "\\\\", "&quot;", "&#", "&amp;", "&lt;", "&gt;"]
            .iter()
            .any(|escape| out.contains(escape))
        {
            break;
        }
        let next = unescaped_once(&out);
        if next == out {
            break;
        }
        out = next;
    }
    out
}

fn unescaped_once(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(c) = letters.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match letters.clone().next() {
            // A carriage return comes with a line feed; before a word it is a backslash of Azure's own ("registered\registering").
            Some('r') if letters.clone().nth(1).is_some_and(char::is_alphanumeric) => {
                out.push('\\');
                continue;
            }
            Some('n' | 'r') => out.push('\n'),
            Some('t') => out.push(' '),
            Some('"' | '\\' | '/' | '\'') => out.extend(letters.clone().next()),
            Some('u') => {
                let hex: String = letters.clone().skip(1).take(4).collect();
                match u32::from_str_radix(&hex, 16).ok().filter(|_| hex.len() == 4).and_then(char::from_u32) {
                    Some(letter) => {
                        out.push(letter);
                        letters.nth(4);
                        continue;
                    }
                    None => {
                        out.push('\\');
                        continue;
                    }
                }
            }
            _ => {
                out.push('\\');
                continue;
            }
        }
        letters.next();
    }
    for (entity, letter) in [
        ("&quot;", "\""),
        ("&#39;", "'"),
        ("&apos;", "'"),
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&nbsp;", " "),
        ("&amp;", "&"),
    ] {
        if out.contains(entity) {
            out = out.replace(entity, letter);
        }
    }
    out
}

const fn of_code(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Where the reading of the words stands.
#[derive(Default)]
struct Place {
    braces: usize,
    inwards: usize,
    error: usize,
    line: usize,
    last: usize,
}

impl Place {
    /// Goes on to the word that begins at `begin`.
    fn advance(&mut self, low: &str, begin: usize) {
        let passed = low.get(self.last..begin).unwrap_or_default();
        self.inwards += INWARDS.iter().filter(|word| passed.contains(**word)).count();
        self.last = begin;
    }

    /// Notes a character between words; `rest` is what follows it.
    fn mark(&mut self, c: char, rest: &str) {
        self.line += usize::from(c == '\n');
        match c {
            '{' | '[' => self.braces += 1,
            '}' | ']' => {
                self.braces = self.braces.saturating_sub(1);
                if self.braces == 0 {
                    self.next();
                }
            }
            '\n' if self.braces == 0 => {
                let line = rest.trim_start_matches([' ', '|']);
                if ["error:", "error (", "[error]", "az : error"].iter().any(|start| line.starts_with(start)) {
                    self.next();
                }
            }
            _ => {}
        }
    }

    fn next(&mut self) {
        self.error += 1;
        self.inwards = 0;
    }
}

/// The words, each with its place. Of a word that a line break cuts, the joined form is there, too.
fn words(text: &str) -> Vec<Word> {
    let mut out = Vec::new();
    let lower = text.to_lowercase();
    // Lower case may have another length in some languages; then the labels are looked for in the text as it is.
    let low = if lower.len() == text.len() { lower.as_str() } else { text };
    let mut place = Place::default();
    let mut start = None;
    let mut pieces: Vec<(usize, usize)> = Vec::new();
    for (at, c) in text.char_indices().chain([(text.len(), '\n')]) {
        if of_code(c) {
            start.get_or_insert(at);
            continue;
        }
        if let Some(begin) = start.take() {
            place.advance(low, begin);
            let word = text.get(begin..at).unwrap_or_default();
            let put = |word: String, begin: usize, joined: bool| {
                let (labelled, code) = labelled(text, low, begin, at);
                let depth = place.braces + place.inwards;
                Word {
                    text: word,
                    labelled,
                    code,
                    depth,
                    error: place.error,
                    line: place.line,
                    past: past(low, begin, at),
                    joined,
                }
            };
            if word.len() >= 6 {
                out.push(put(word.to_owned(), begin, false));
            }
            // A line ends in this word: what follows may be its rest.
            if let Some((first, _)) = pieces.first().copied() {
                let joined: String = pieces.iter().filter_map(|(a, b)| text.get(*a..*b)).chain([word]).collect();
                if joined.len() >= 12 && joined.len() <= 100 {
                    out.push(put(joined, first, true));
                }
            }
            let (broken, glued) = (ends_line(text, at), !pieces.is_empty());
            if broken && (pieces.len() < 3) && (glued || begin > 0 || at < text.len()) {
                pieces.push((begin, at));
            } else {
                pieces.clear();
            }
        }
        place.mark(c, low.get(at + c.len_utf8()..).unwrap_or_default());
    }
    out
}

/// Whether the sentence around a word tells of something that is over.
fn past(low: &str, begin: usize, end: usize) -> bool {
    let before = low.get(floor(low, begin.saturating_sub(120))..begin).unwrap_or_default();
    let after = low.get(end..floor(low, (end + 80).min(low.len()))).unwrap_or_default();
    let before = before.rsplit('\n').next().unwrap_or_default();
    let before = before.rsplit(". ").next().unwrap_or_default();
    let after = after.split('\n').next().unwrap_or_default();
    let after = after.split(". ").next().unwrap_or_default();
    PAST.iter().any(|word| before.contains(word) || after.contains(word))
}

/// Whether the line ends at `at` and goes on with a letter.
fn ends_line(text: &str, at: usize) -> bool {
    let rest = text.get(at..).unwrap_or_default();
    let gap = rest.trim_start_matches([' ', '|']);
    let Some(next) = gap.strip_prefix('\n') else { return false };
    next.trim_start_matches([' ', '|', '\n', '>']).starts_with(of_code)
}

/// Whether a word stands where a code stands, and whether nothing but a code stands there.
fn labelled(text: &str, low: &str, begin: usize, end: usize) -> (bool, bool) {
    let floor = floor(low, begin.saturating_sub(48));
    let before = low.get(floor..begin).unwrap_or_default();
    let line = before.rsplit('\n').next().unwrap_or_default();
    let after = text.get(end..).unwrap_or_default();
    let ends = after.is_empty() || after.starts_with(['\n', ' ', ',', ';', '.', '"', '\'', ')', ':', '|', '<', '-']);
    let alone = line.trim_matches([' ', '-', '*', '#', '>', '"', '\'', '`', '|', '(', '[']).is_empty()
        && (after.is_empty() || after.starts_with(['\n', ':', '"', '\'', '`', ')']) || after.starts_with(" -"));
    let open = line.trim_end().strip_suffix('(');
    let bracket = open.is_some() && after.starts_with(')');
    let label = line.trim_end_matches([' ', '"', '\'', '=', ':', '|', '*', '(', '\\', '-', '<', '>', '/', '`', '#']);
    let far = label.len() < line.len() || label.is_empty();
    let mut labels = LABELS.iter().filter(|(known, _)| far && ends_in_word(label, known)).peekable();
    let known = labels.peek().is_some();
    let only = labels.any(|(_, code)| *code);
    // The command line prints "ERROR: (Code) message", and below it "(Code) message".
    let cli = bracket && open.is_some_and(|open| open.trim().is_empty() || open.trim_end().ends_with("error:"));
    (ends && (alone || bracket || known), ends && (cli || only))
}

/// Letters and digits only, in lower case: what spaces, line breaks, quotes and punctuation cannot change.
#[must_use]
pub fn squeezed(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(text: &str) -> Vec<(String, bool, usize)> {
        Paste::of(text).words.into_iter().map(|w| (w.text, w.labelled, w.depth)).collect()
    }

    #[test]
    fn codes_know_their_place() {
        let json = r#"{"error":{"code":"OuterCode","details":[{"code":"InnerCode"}]}}"#;
        assert!(codes(json).contains(&("OuterCode".into(), true, 2)));
        assert!(codes(json).iter().any(|(word, labelled, depth)| word == "InnerCode" && *labelled && *depth >= 4));
        let inside = r#"{"message":"{\r\n  \"error\": {\r\n    \"code\": \"InnerCode\"}}"}"#;
        assert!(codes(inside).iter().any(|(word, labelled, _)| word == "InnerCode" && *labelled));
        assert!(codes("ERROR: (ScopeLocked) The scope").contains(&("ScopeLocked".into(), true, 0)));
        assert!(codes("Error Code | SomeCode1").contains(&("SomeCode1".into(), true, 0)));
        assert!(!codes("see the SomeCode1 page").contains(&("SomeCode1".into(), true, 0)));
    }

    #[test]
    fn a_word_that_a_line_break_cuts_is_joined() {
        let found = codes("│ Code: \"UserErrorGuestAgentSta\n│ tusUnavailable\"");
        assert!(found.iter().any(|(word, labelled, _)| word == "UserErrorGuestAgentStatusUnavailable" && *labelled));
    }
}
