//! YAML in, diagnostics out: the only place that knows the YAML crate.
//!
//! Duty: turn bytes that people wrote into typed values or into [`Diagnostic`]s, each with file, line, column and, where
//! a word was probably misspelt, the word that was meant.
//!
//! Invariants: whatever the bytes are, the answer is a value or at least one diagnostic; time and memory are bounded by
//! [`Limits`] (size, depth, aliases); a duplicate key, a second document, a merge key (`<<`) or a NUL is an error.
//!
//! It must never print, resolve includes or read anything but the one file it was asked for.

use std::fmt;
use std::io::Read;
use std::path::Path;

use serde::de::{DeserializeOwned, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
pub use serde_saphyr::Spanned;
use serde_saphyr::budget::BudgetBreach;
use serde_saphyr::{DuplicateKeyPolicy, Error as YamlError, MergeKeyPolicy, Options, UserMessageFormatter};

use crate::spelling::did_you_mean;
use crate::text::io_words;

/// A position in a file; both count from 1, columns in characters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Line.
    pub line: u64,
    /// Column.
    pub column: u64,
}

impl Place {
    /// The first character of a file.
    pub const START: Self = Self { line: 1, column: 1 };

    /// Where a value was written (for an alias: where it is used).
    #[must_use]
    pub fn of<T>(value: &Spanned<T>) -> Self {
        Self::from(value.referenced)
    }
}

impl From<serde_saphyr::Location> for Place {
    fn from(location: serde_saphyr::Location) -> Self {
        // A location that the parser does not know is 0:0; editors want a real one.
        Self { line: location.line().max(1), column: location.column().max(1) }
    }
}

/// One thing that is wrong in a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Diagnostic {
    /// The file as the user named it.
    pub file: String,
    /// Line, from 1.
    pub line: u64,
    /// Column in characters, from 1.
    pub column: u64,
    /// What is wrong: a lower-case fragment.
    pub message: String,
    /// What to do about it.
    pub suggestion: Option<String>,
    /// Nothing is wrong but the size: it is over one of the [`Limits`].
    pub too_large: bool,
}

impl Diagnostic {
    /// A diagnostic at a place.
    pub fn new(file: &str, place: Place, message: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            line: place.line,
            column: place.column,
            message: message.into(),
            suggestion: None,
            too_large: false,
        }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, suggestion: impl Into<String>) -> Self {
        self.suggestion = Some(suggestion.into());
        self
    }

    /// Adds "did you mean" when a candidate is near to `word`.
    #[must_use]
    pub fn meant<'a>(self, word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Self {
        match did_you_mean(word, candidates) {
            Some(hint) => self.hint(hint),
            None => self,
        }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)?;
        if let Some(suggestion) = &self.suggestion {
            write!(f, "\n  hint: {suggestion}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostic {}

/// How much a file may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Size in bytes, checked before anything is parsed.
    pub bytes: usize,
    /// Nested lists and maps.
    pub depth: usize,
    /// Values in all, those that aliases repeat included.
    pub nodes: usize,
    /// Values that aliases repeat.
    pub repeated: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 1024 * 1024, depth: 32, nodes: 100_000, repeated: 20_000 }
    }
}

/// Reads a text file.
///
/// # Errors
/// One diagnostic when the path is not a regular file, cannot be read, is larger than `limits.bytes`, or is not UTF-8
/// text without NUL; the last two with the place of the first bad byte.
pub fn read_file(path: &Path, limits: &Limits) -> Result<String, Vec<Diagnostic>> {
    let file = path.display().to_string();
    let fail = |message: String| vec![Diagnostic::new(&file, Place::START, message)];
    // Asked before opening: opening a pipe would wait for its writer.
    let meta = std::fs::metadata(path).map_err(|error| fail(format!("cannot be read: {}", io_words(&error))))?;
    if meta.is_dir() {
        return Err(fail("is a directory, not a file".into()));
    }
    if !meta.is_file() {
        return Err(fail("is not a regular file".into()));
    }
    if usize::try_from(meta.len()).is_ok_and(|len| len > limits.bytes) {
        return Err(vec![too_large(&file, limits)]);
    }
    let mut bytes = Vec::new();
    let most = u64::try_from(limits.bytes).unwrap_or(u64::MAX).saturating_add(1);
    std::fs::File::open(path)
        .and_then(|opened| opened.take(most).read_to_end(&mut bytes))
        .map_err(|error| fail(format!("cannot be read: {}", io_words(&error))))?;
    text(bytes, &file, limits)
}

/// Checks that bytes are text that may be parsed.
///
/// # Errors
/// One diagnostic: too large, a NUL, or not UTF-8.
pub fn text(bytes: Vec<u8>, file: &str, limits: &Limits) -> Result<String, Vec<Diagnostic>> {
    let at = |place, message: String| vec![Diagnostic::new(file, place, message)];
    if bytes.len() > limits.bytes {
        return Err(vec![too_large(file, limits)]);
    }
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        // What `>` of Windows PowerShell writes.
        let problem = Diagnostic::new(file, Place::START, "is UTF-16 text");
        return Err(vec![problem.hint("save it as UTF-8")]);
    }
    match String::from_utf8(bytes) {
        Ok(text) => match text.find('\0') {
            Some(nul) => Err(at(place_of(&text, nul), "contains a NUL: this is a binary file, not text".into())),
            None => Ok(text),
        },
        Err(error) => {
            let good = error.utf8_error().valid_up_to();
            let head = String::from_utf8_lossy(error.as_bytes().get(..good).unwrap_or_default()).into_owned();
            Err(at(place_of(&head, head.len()), "is not UTF-8 text".into()))
        }
    }
}

fn too_large(file: &str, limits: &Limits) -> Diagnostic {
    const MB: usize = 1024 * 1024;
    let most = if limits.bytes >= MB { format!("{} MB", limits.bytes / MB) } else { format!("{} bytes", limits.bytes) };
    let message = format!("is too large: at most {most} are read");
    Diagnostic { too_large: true, ..Diagnostic::new(file, Place::START, message) }
}

/// The place of a byte offset.
#[must_use]
pub fn place_of(text: &str, offset: usize) -> Place {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    Place {
        line: before.matches('\n').count() as u64 + 1,
        column: before.get(line_start..).unwrap_or_default().chars().count() as u64 + 1,
    }
}

/// Parses one YAML document.
///
/// # Errors
/// At least one diagnostic. A typed parse stops at the first error; to see all errors of a file at once, parse it as a
/// [`Node`] and walk that.
pub fn parse<T: DeserializeOwned>(text: &str, file: &str, limits: &Limits) -> Result<T, Vec<Diagnostic>> {
    let at = |place, message: &str| vec![Diagnostic::new(file, place, message)];
    if text.len() > limits.bytes {
        return Err(vec![too_large(file, limits)]);
    }
    if let Some(nul) = text.find('\0') {
        return Err(at(place_of(text, nul), "contains a NUL: this is a binary file, not text"));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Err(at(Place::START, "is empty"));
    }
    serde_saphyr::from_str_with_options(text, options(limits)).map_err(|error| vec![diagnose(&error, file, limits)])
}

fn options(limits: &Limits) -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_reader_input_bytes: Some(limits.bytes),
            // Every list and map has an end as well.
            max_events: limits.nodes.saturating_mul(2).saturating_add(16),
            max_nodes: limits.nodes,
            max_depth: limits.depth,
            flow_nesting_limit: limits.depth,
            // Two, so that the second is reported as what it is.
            max_documents: 2,
            max_total_scalar_bytes: limits.bytes.saturating_mul(2),
            max_aliases: limits.repeated,
            max_anchors: limits.repeated,
            max_recorded_anchor_events: limits.nodes,
            max_recorded_anchor_bytes: limits.bytes.saturating_mul(4),
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: limits.repeated,
            max_replay_stack_depth: 16,
        },
        duplicate_keys: DuplicateKeyPolicy::Error,
        merge_keys: MergeKeyPolicy::Error,
        // `yes` and `off` are words, as YAML 1.2 says.
        strict_booleans: true,
        with_snippet: false,
    }
}

fn diagnose(error: &YamlError, file: &str, limits: &Limits) -> Diagnostic {
    let mut error = error.without_snippet();
    let place = error.location().map_or(Place::START, Place::from);
    // The place is where an alias is used; what is wrong there is told by the error inside.
    while let YamlError::AliasError { error: inner, .. } = error {
        error = inner.without_snippet();
    }
    let diagnostic = |message: String| Diagnostic::new(file, place, message);
    match error {
        YamlError::SerdeUnknownField { field, expected, .. } => {
            let known = expected.iter().copied();
            let found = diagnostic(format!("unknown key {}", quote(field))).meant(field, known);
            if found.suggestion.is_some() { found } else { found.hint(format!("known keys: {}", expected.join(", "))) }
        }
        YamlError::SerdeUnknownVariant { variant, expected, .. } => {
            let known = expected.iter().copied();
            diagnostic(format!("unknown value {}: one of {}", quote(variant), expected.join(", ")))
                .meant(variant, known)
        }
        YamlError::SerdeMissingField { field, .. } => diagnostic(format!("the key {field:?} is missing")),
        YamlError::SerdeInvalidType { unexpected, expected, .. }
        | YamlError::SerdeInvalidValue { unexpected, expected, .. } => {
            diagnostic(format!("found {} where {} is expected", clean(unexpected), clean(expected)))
        }
        YamlError::DuplicateMappingKey { key, .. } => {
            let key = key.as_deref().map_or_else(|| "a key".to_owned(), |key| format!("the key {}", quote(key)));
            diagnostic(format!("{key} appears twice in one map"))
        }
        YamlError::MergeKeyNotAllowed { .. } => {
            diagnostic("merge keys (<<) are not allowed".into()).hint("write the keys out")
        }
        YamlError::MultipleDocuments { .. } => {
            diagnostic("a second document starts here (---): one file holds one".into())
        }
        YamlError::Budget { breach: BudgetBreach::Nodes { .. } | BudgetBreach::Events { .. }, .. } => {
            let message = format!("has more than {} values, the most that are read", limits.nodes);
            Diagnostic { too_large: true, ..diagnostic(message) }
        }
        YamlError::Budget { .. } | YamlError::AliasReplayLimitExceeded { .. } => {
            diagnostic("is too large, too deep or repeats too much by aliases (*name) to be read".into())
        }
        other => {
            let text = other.render_with_formatter(&UserMessageFormatter);
            let text = text.lines().next().unwrap_or_default();
            // The place stands in front already.
            let text = text.split(" at line ").next().unwrap_or(text);
            match in_our_words(text) {
                Some((message, hint)) => diagnostic(message.to_owned()).hint(hint),
                None => diagnostic(clean(if text.is_empty() { "is not valid YAML" } else { text })),
            }
        }
    }
}

/// A value as a YAML document. Text that could control a terminal is quoted and escaped.
///
/// # Errors
/// When the value cannot be written, in words.
pub fn write(value: &impl serde::Serialize) -> Result<String, String> {
    let text = serde_saphyr::to_string(value).map_err(|error| error.to_string())?;
    // The writer escapes control characters; invisible ones it would let pass.
    Ok(text.lines().map(|line| crate::text::safe_json(line) + "\n").collect())
}

/// The scanner says which token it wanted; people want to know what to type. What is wrong, and what to do.
fn in_our_words(text: &str) -> Option<(&'static str, &'static str)> {
    const WORDS: &[(&str, &str, &str)] = &[
        ("found a tab", "a tab in the indentation", "indent with spaces"),
        (
            "mapping values are not allowed",
            "a colon with a space after it is not allowed here",
            "put the value in quotes, or check the indentation of this line and the one above",
        ),
        ("did not find expected key", "this line does not fit the lines above", "check its indentation"),
        ("did not find expected '-'", "this line does not fit the list above", "check its indentation"),
        ("unclosed quote", "the quote that opens here is never closed", "close it on the same line"),
        ("unclosed bracket '['", "the list [ that opens here is never closed", "close it with ]"),
        ("unclosed bracket '{'", "the map { that opens here is never closed", "close it with }"),
        ("unexpected character", "a value cannot start with this character", "put the value in quotes"),
        (
            "reference to unknown value",
            "*name repeats a value that was marked with &name, and there is none of this name",
            "put a text that starts with * in quotes",
        ),
        ("simple key expected", "a colon is missing after this key", "write it as key: value"),
        (
            "invalid trailing content",
            "text follows the closing quote",
            "put the whole value in single quotes: '\"a\" == \"b\"'",
        ),
        (
            "unknown escape character",
            "an escape that YAML does not know",
            "use single quotes, or write \\\\ for a backslash",
        ),
        ("scanning a block scalar", "text follows | or > on its line", "start the text on the next line, indented"),
    ];
    WORDS.iter().find(|(theirs, ..)| text.contains(theirs)).map(|(_, message, hint)| (*message, *hint))
}

/// A text of a file as it may stand in a message: at most 60 characters, quoted, control characters escaped.
#[must_use]
pub fn quote(text: &str) -> String {
    let short: String = text.chars().take(60).collect();
    if short.len() < text.len() { format!("{short:?}...") } else { format!("{short:?}") }
}

fn clean(text: &str) -> String {
    text.chars().take(300).flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

/// A YAML value with places, for readers that want to report every error of a file at once.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Where it is written.
    pub place: Place,
    /// What is written.
    pub value: Value,
}

/// What a [`Node`] holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `null`, `~` or nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Another number.
    Float(f64),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A map, in the order of the file.
    Map(Vec<(Key, Node)>),
}

/// A key of a map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Where it is written.
    pub place: Place,
    /// The key.
    pub name: String,
}

impl Node {
    /// What kind of value this is, with article, for messages.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "a boolean",
            Value::Int(_) => "a whole number",
            Value::Float(_) => "a number with a fraction",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }

    /// The text, if this is text.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        if let Value::Text(text) = &self.value { Some(text) } else { None }
    }

    /// The value as JSON, without places. Numbers that JSON cannot hold become null.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(b) => (*b).into(),
            Value::Int(i) => (*i).into(),
            Value::Float(f) => (*f).into(),
            Value::Text(text) => text.as_str().into(),
            Value::List(items) => items.iter().map(Self::to_json).collect(),
            Value::Map(entries) => entries.iter().map(|(key, node)| (key.name.clone(), node.to_json())).collect(),
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Self { place: Place::of(&spanned), value: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(i64::try_from(value).map_or_else(|_| Value::Text(value.to_string()), Value::Int))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::Text(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element::<Node>()? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let place = Place::of(&key);
            entries.push((Key { place, name: key.value }, map.next_value::<Node>()?));
        }
        Ok(Value::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_yaml_are_said_in_our_words() {
        for (text, at, word, todo) in [
            ("a: b\n\tc: d\n", "", "a tab", "spaces"),
            ("a: b: c\n", "f:1:5: ", "a colon with a space", "quotes"),
            ("a:\n- b: c\n d: e\n", "f:3:", "does not fit", "indentation"),
            ("a: \"b\n", "f:1:4: ", "never closed", "close it"),
            ("a: [b, c\n", "f:1:4: ", "never closed", "]"),
            ("a: {b: c\n", "f:1:4: ", "never closed", "}"),
            ("a: @b\n", "f:1:4: ", "cannot start", "quotes"),
            ("a: *b\n", "f:1:4: ", "*name", "quotes"),
            ("a: b\nc\n", "f:2:1: ", "a colon is missing", "key: value"),
            ("a: \"b\" == \"c\"\n", "f:1:", "closing quote", "single quotes"),
            ("a: \"b\\q\"\n", "f:1:4: ", "an escape", "single quotes"),
            ("a: | b\n", "f:1:4: ", "on its line", "next line"),
        ] {
            let found = parse::<Node>(text, "f", &Limits::default()).unwrap_err().remove(0).to_string();
            let (head, hint) = found.split_once("hint: ").expect(&found);
            assert!(head.starts_with(at) && head.contains(word) && hint.contains(todo), "{text:?}: {found}");
            assert!(!found.contains("scalar") && !found.contains("mapping"), "{found}");
        }
        let utf16 = text(vec![0xff, 0xfe, b'a', 0], "f", &Limits::default()).unwrap_err().remove(0).to_string();
        assert!(utf16.contains("UTF-16") && utf16.contains("save it as UTF-8"), "{utf16}");
    }

    #[test]
    fn line_ends_of_windows_and_a_byte_order_mark_change_nothing() {
        let plain = "a: b\nc: |\n  one\n  two\nd: [e, f]\n";
        let windows = format!("\u{feff}{}", plain.replace('\n', "\r\n"));
        let read = |text: &str| parse::<Node>(text, "f", &Limits::default()).unwrap();
        assert_eq!(read(&windows), read(plain));
    }

    fn node(text: &str) -> Result<Node, Vec<Diagnostic>> {
        parse(text, "f.yaml", &Limits::default())
    }

    fn first(text: &str) -> String {
        node(text).unwrap_err()[0].to_string()
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Typed {
        name: Spanned<String>,
        #[serde(default)]
        count: u8,
    }

    #[test]
    fn nodes_know_their_places() {
        let node = node("# c\nname: web\nlist:\n  - 1\n  - { a: true, b: yes, c: 1.5 }\n").unwrap();
        let Value::Map(entries) = &node.value else { panic!("{node:?}") };
        assert_eq!(entries[0].0, Key { place: Place { line: 2, column: 1 }, name: "name".into() });
        assert_eq!(entries[0].1.place, Place { line: 2, column: 7 });
        let Value::List(items) = &entries[1].1.value else { panic!("{node:?}") };
        assert_eq!(items[0], Node { place: Place { line: 4, column: 5 }, value: Value::Int(1) });
        assert_eq!(items[1].to_json(), serde_json::json!({"a": true, "b": "yes", "c": 1.5}));
    }

    #[test]
    fn typed_errors_have_place_and_suggestion() {
        let parse = |text| parse::<Typed>(text, "f.yaml", &Limits::default());
        let good = parse("name: x\n").unwrap();
        assert_eq!((Place::of(&good.name), good.count), (Place { line: 1, column: 7 }, 0));
        let text = parse("nmae: x\n").unwrap_err()[0].to_string();
        assert_eq!(text, "f.yaml:1:1: unknown key \"nmae\"\n  hint: did you mean name?");
        let text = parse("name: x\ncount: many\n").unwrap_err()[0].to_string();
        assert!(text.starts_with("f.yaml:2:8: "), "{text}");
        assert!(parse("count: 1\n").unwrap_err()[0].message.contains("\"name\" is missing"));
    }

    #[test]
    fn refuses_what_is_ambiguous() {
        assert!(
            first("a: 1\na: 2\n").starts_with("f.yaml:2:1: the key \"a\" appears twice"),
            "{}",
            first("a: 1\na: 2\n")
        );
        assert!(first("a: 1\n---\nb: 2\n").contains("second document"), "{}", first("a: 1\n---\nb: 2\n"));
        assert!(first("a: &x {b: 1}\nc:\n  <<: *x\n").contains("merge keys"));
        assert!(first("a: 1\nb: \u{0}\n").starts_with("f.yaml:2:4: contains a NUL"));
        assert_eq!(first("  \n# only a comment\n"), "f.yaml:1:1: is empty");
        assert!(first("a: [1, 2\n").starts_with("f.yaml:"));
        assert!(first("a: *nobody\n").starts_with("f.yaml:1:4"), "{}", first("a: *nobody\n"));
    }

    #[test]
    fn bombs_are_errors() {
        let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
        for i in 1..9 {
            let refs = vec![format!("*a{}", i - 1); 10].join(",");
            bomb.push_str(&format!("a{i}: &a{i} [{refs}]\n"));
        }
        assert!(first(&bomb).contains("repeats too much"), "{}", first(&bomb));
        assert!(first(&"[".repeat(5000)).starts_with("f.yaml:1:"));
        assert!(first(&"- ".repeat(5000)).starts_with("f.yaml:1:"));
        assert!(first(&"{a: ".repeat(5000)).starts_with("f.yaml:1:"));
        assert!(first(&"x".repeat(10 * 1024 * 1024)).contains("too large"));
    }

    #[test]
    fn files_are_checked_before_they_are_parsed() {
        let dir = tempfile::tempdir().unwrap();
        let limits = Limits { bytes: 100, ..Limits::default() };
        let read = |path: &Path| read_file(path, &limits).map_err(|errors| errors[0].clone());
        assert!(read(dir.path()).unwrap_err().message.contains("is a directory"));
        assert!(read(&dir.path().join("none")).unwrap_err().message.contains("cannot be read"));
        let path = dir.path().join("f.yaml");
        std::fs::write(&path, vec![b'a'; 101]).unwrap();
        assert!(read(&path).unwrap_err().message.contains("too large"));
        std::fs::write(&path, b"ok\nab\xff").unwrap();
        let error = read(&path).unwrap_err();
        assert_eq!((error.line, error.column, error.message.as_str()), (2, 3, "is not UTF-8 text"));
        std::fs::write(&path, b"\x7fELF\0\0").unwrap();
        assert!(read(&path).unwrap_err().message.contains("NUL"));
        std::fs::write(&path, "name: ä\n").unwrap();
        assert_eq!(read(&path).unwrap(), "name: ä\n");
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config::with_cases(400))]

        #[test]
        fn any_bytes_are_a_value_or_a_diagnostic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            if let Err(errors) = text(bytes, "f", &Limits::default()).and_then(|t| parse::<Node>(&t, "f", &Limits::default())) {
                proptest::prop_assert!(!errors.is_empty());
            }
        }

        #[test]
        fn any_yaml_like_text_is_a_value_or_a_diagnostic(text in "[ \\n:{}\\[\\],&*!|>'\"%@`?a-c0-9#<~.-]{0,200}") {
            if let Err(errors) = parse::<Node>(&text, "f", &Limits::default()) {
                proptest::prop_assert!(errors.iter().all(|e| e.line >= 1 && e.column >= 1));
            }
            let _typed: Result<Typed, _> = parse(&text, "f", &Limits::default());
        }
    }
}
