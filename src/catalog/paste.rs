//! What somebody pasted, taken apart: the readings of the text, the codes in it and where they stand, and the numbers
//! that stand in the place of a number.
//!
//! Duty: understand the forms in which Azure's errors travel (JSON and JSON in JSON, PowerShell records, `az --debug`,
//! Terraform's boxes, tables of the portal, HTML, lines that a terminal broke) without judging what they mean. Must never
//! panic on any text; its cost is linear in the text.

/// Longer texts are cut: 64 KiB is a whole `--debug` log of one command.
pub const LONGEST: usize = 64 * 1024;
/// How often escapes are undone: JSON in JSON in a shell's quotes.
const ESCAPES: usize = 4;

/// Words before a code that say that a code follows.
const LABELS: [&str; 20] = [
    "code",
    "errorcode",
    "error code",
    "error_code",
    "errortitle",
    "error title",
    "title",
    "status",
    "fullyqualifiederrorid",
    "jobfailurecode",
    "failure code",
    "exception type",
    "오류 코드",
    "오류코드",
    "エラー コード",
    "エラーコード",
    "fehlercode",
    "error",
    "오류",
    "fehler",
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
    /// How deep: braces, and words such as "inner error", before it.
    pub depth: usize,
}

/// A number that stands where the number of an error stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Number {
    /// The number.
    pub value: i64,
    /// It is all that there is.
    pub alone: bool,
    /// It follows "ID".
    pub id: bool,
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
        let mut end = text.len().min(LONGEST);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let clean = clean(text.get(..end).unwrap_or_default());
        let open = unescaped(&clean);
        let words = words(&open);
        let numbers = numbers(&open);
        let readings = if open == clean { vec![clean] } else { vec![clean, open] };
        Self { readings, words, numbers }
    }

    /// The text with its escapes undone.
    #[must_use]
    pub fn open(&self) -> &str {
        self.readings.last().map_or("", String::as_str)
    }
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

/// The words, each with its place. Of a word that a line break cuts, the joined form is there, too.
fn words(text: &str) -> Vec<Word> {
    let mut out = Vec::new();
    let lower = text.to_lowercase();
    // Lower case may have another length in some languages; then the labels are looked for in the text as it is.
    let low = if lower.len() == text.len() { lower.as_str() } else { text };
    let (mut depth, mut inwards, mut last) = (0_usize, 0_usize, 0_usize);
    let mut start = None;
    let mut pieces: Vec<(usize, usize)> = Vec::new();
    for (at, c) in text.char_indices().chain([(text.len(), '\n')]) {
        if of_code(c) {
            start.get_or_insert(at);
            continue;
        }
        if let Some(begin) = start.take() {
            let passed = low.get(last..begin).unwrap_or_default();
            inwards += INWARDS.iter().filter(|word| passed.contains(**word)).count();
            last = begin;
            let word = text.get(begin..at).unwrap_or_default();
            if word.len() >= 6 {
                out.push(Word {
                    text: word.to_owned(),
                    labelled: labelled(text, low, begin, at),
                    depth: depth + inwards,
                });
            }
            // A line ends in this word: what follows may be its rest.
            if let Some((first, _)) = pieces.first().copied() {
                let joined: String = pieces.iter().filter_map(|(a, b)| text.get(*a..*b)).chain([word]).collect();
                if joined.len() >= 12 && joined.len() <= 100 {
                    let labelled = labelled(text, low, first, at);
                    out.push(Word { text: joined, labelled, depth: depth + inwards });
                }
            }
            let (broken, glued) = (ends_line(text, at), !pieces.is_empty());
            if broken && (pieces.len() < 3) && (glued || begin > 0 || at < text.len()) {
                pieces.push((begin, at));
            } else {
                pieces.clear();
            }
        }
        match c {
            '{' | '[' => depth += 1,
            '}' | ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    out
}

/// Whether the line ends at `at` and goes on with a letter.
fn ends_line(text: &str, at: usize) -> bool {
    let rest = text.get(at..).unwrap_or_default();
    let gap = rest.trim_start_matches([' ', '|']);
    let Some(next) = gap.strip_prefix('\n') else { return false };
    next.trim_start_matches([' ', '|', '\n', '>']).starts_with(of_code)
}

fn labelled(text: &str, low: &str, begin: usize, end: usize) -> bool {
    let floor = floor(low, begin.saturating_sub(48));
    let before = low.get(floor..begin).unwrap_or_default();
    let line = before.rsplit('\n').next().unwrap_or_default();
    let after = text.get(end..).unwrap_or_default();
    let ends = after.is_empty() || after.starts_with(['\n', ' ', ',', ';', '.', '"', '\'', ')', ':', '|', '<', '-']);
    let alone = line.trim_matches([' ', '-', '*', '#', '>', '"', '\'', '`', '|', '(', '[']).is_empty()
        && (after.is_empty() || after.starts_with(['\n', ':', '"', '\'', '`', ')']) || after.starts_with(" -"));
    let bracket = line.trim_end().ends_with('(') && after.starts_with(')');
    let label = line.trim_end_matches([' ', '"', '\'', '=', ':', '|', '*', '(', '\\', '-', '<', '>', '/', '`', '#']);
    let far = label.len() < line.len() || label.is_empty();
    ends && (alone || bracket || (far && LABELS.iter().any(|known| ends_in_word(label, known))))
}

fn floor(text: &str, mut at: usize) -> usize {
    while at > 0 && !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn ends_in_word(text: &str, word: &str) -> bool {
    text.strip_suffix(word).is_some_and(|rest| !rest.ends_with(|c: char| c.is_ascii_alphanumeric()) || word == "code")
}

/// Numbers where the number of an error stands: alone, or after "error code", "ID" and the like. Not those of years,
/// versions, GUIDs, lines, dates, ports, sizes, other ids and exit codes.
fn numbers(text: &str) -> Vec<Number> {
    const OTHER_IDS: [&str; 22] = [
        "job",
        "event",
        "process",
        "thread",
        "session",
        "correlation",
        "request",
        "activity",
        "task",
        "client",
        "tenant",
        "subscription",
        "object",
        "user",
        "group",
        "disk",
        "vm",
        "transaction",
        "exit",
        "status",
        "http",
        "return",
    ];
    let whole = text.trim_matches(|c: char| !c.is_ascii_digit());
    let alone = whole.len() == text.trim_matches([' ', '#', '(', ')', '"', '\'', '.']).len();
    if let (true, Ok(value)) = (alone, whole.parse()) {
        return vec![Number { value, alone: true, id: false }];
    }
    let lower = text.to_lowercase();
    let bytes = lower.as_bytes();
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        if !bytes.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
            continue;
        }
        let begin = at;
        while bytes.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        if !(4..=7).contains(&(at - begin)) {
            continue;
        }
        let glued =
            |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'/'));
        let next = bytes.get(at);
        let dotted =
            matches!(next, Some(b'.' | b',' | b':')) && bytes.get(at + 1).is_some_and(u8::is_ascii_alphanumeric);
        if glued(begin.checked_sub(1).and_then(|i| bytes.get(i))) || glued(next) || dotted {
            continue;
        }
        let line = lower.get(floor(&lower, begin.saturating_sub(40))..begin).unwrap_or_default();
        let line = line.rsplit('\n').next().unwrap_or_default();
        let label = line.trim_end_matches([' ', '"', '\'', '=', ':', '|', '*', '(', '#', '`']);
        let id = ends_in_word(label, "id");
        let named = id
            || [
                "error code",
                "errorcode",
                "error_code",
                "error",
                "오류 코드",
                "오류",
                "번호",
                "エラー コード",
                "fehlercode",
                "fehler",
            ]
            .iter()
            .any(|known| ends_in_word(label, known))
            || label.ends_with("code");
        let before = label.trim_end_matches("error id").trim_end_matches("id").trim_end_matches("code");
        let before = before.trim_end_matches([' ', '_', '-']);
        let other = OTHER_IDS.iter().any(|word| before.ends_with(word));
        if named
            && !other
            && let Ok(value) = lower.get(begin..at).unwrap_or_default().parse()
        {
            out.push(Number { value, alone: false, id });
        }
    }
    out
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

    #[test]
    fn only_numbers_in_the_place_of_a_number_count() {
        let found = |text: &str| Paste::of(text).numbers.iter().map(|n| n.value).collect::<Vec<_>>();
        for (text, expected) in [
            ("400196", vec![400_196]),
            ("Error code: 400196.", vec![400_196]),
            ("\"errorCode\": 400196,", vec![400_196]),
            ("오류 코드 400196", vec![400_196]),
            ("failed (ID: 100050)", vec![100_050]),
            ("Job Id: 8d1f0a7c-93bb-4024-9c55-0f3e5f1a77aa", vec![]),
            ("Event ID 4024", vec![]),
            ("Windows Server 2013, 2013-11-04, port 4024, 4024 MB, v1.2013.4", vec![]),
            ("exit code 2013", vec![]),
            ("line 400196", vec![]),
        ] {
            assert_eq!(found(text), expected, "{text}");
        }
    }
}
