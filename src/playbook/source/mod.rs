//! From YAML to a [`Playbook`], or to every error of the file at once.
//!
//! Duty: read a playbook as written, with places; check names, codes, parameters, conditions and the parameters of
//! every step.
//!
//! Invariants: an error never hides another one (a parameter with an error still counts as declared); errors come in the
//! order of the file; every error has file, line and column.

mod after;
mod steps;

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexMap;

use super::conditions::{Condition, Type};
use super::model::{Argument, ParamValue, Parameter, ParameterKind, Playbook, Severity, Step};
use crate::catalog::Catalog;
use crate::duration::Span;
use crate::spelling::nearest;
use crate::yaml::{self, Diagnostic, Key, Limits, Node, Place, Value, quote};

/// The version of the language.
pub const API_VERSION: &str = "azmend/v2";
/// The version before it: read like [`API_VERSION`], and with the keys of `with` that never had an effect.
pub const OLD_API_VERSION: &str = "azmend/v1";
pub(super) const TOP_KEYS: [&str; 10] =
    ["apiVersion", "name", "title", "codes", "severity", "source", "description", "parameters", "applies", "steps"];
pub(super) const PARAMETER_KEYS: [&str; 6] = ["one_of", "type", "default", "help", "min", "max"];
pub(super) const STEP_KEYS: [&str; 7] = ["id", "action", "with", "when", "after", "on_failure", "timeout"];
pub(super) const TYPES: [&str; 4] = ["duration", "int", "bool", "string"];
const SEVERITIES: [&str; 5] = ["info", "low", "medium", "high", "critical"];
/// Words that CEL does not allow as the name of a field.
const RESERVED: [&str; 22] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "false",
    "for",
    "function",
    "if",
    "import",
    "in",
    "let",
    "loop",
    "namespace",
    "null",
    "package",
    "return",
    "true",
    "var",
    "void",
    "while",
    "codes",
];
/// The most parameters and the most steps.
pub const MAX_ITEMS: usize = 32;
const TITLE: usize = 120;
const HELP: usize = 200;
const DESCRIPTION: usize = 2000;
const DEFAULT_TIMEOUT: Span = Span::from_secs(2 * 3600);
const TIMEOUTS: (Span, Span) = (Span::from_secs(60), Span::from_secs(7 * 86_400));
const LONGEST: Span = Span::from_secs(3650 * 86_400);

/// Reads a playbook.
///
/// # Errors
/// Every error of the file.
pub fn read(text: &str, file: &str) -> Result<Playbook, Vec<Diagnostic>> {
    read_placed(text, file).map(|(playbook, _)| playbook)
}

/// Reads a playbook and says where its name is written.
///
/// # Errors
/// Every error of the file.
pub fn read_placed(text: &str, file: &str) -> Result<(Playbook, Place), Vec<Diagnostic>> {
    let node: Node = yaml::parse(text, file, &Limits::default())?;
    let mut reader = Reader { file, text, old: false, errors: Vec::new() };
    let playbook = reader.playbook(&node);
    reader.errors.sort_by(|a, b| (a.line, a.column, &a.message).cmp(&(b.line, b.column, &b.message)));
    reader.errors.dedup();
    match playbook {
        Some(playbook) if reader.errors.is_empty() => Ok(playbook),
        // A reader that gives up without a reason would be a bug; the user still gets a place.
        None if reader.errors.is_empty() => Err(vec![Diagnostic::new(file, node.place, "is not a playbook")]),
        _ => Err(reader.errors),
    }
}

struct Reader<'a> {
    file: &'a str,
    text: &'a str,
    /// Written for [`OLD_API_VERSION`].
    old: bool,
    errors: Vec<Diagnostic>,
}

/// The entries of a map whose keys were checked.
struct Fields<'n> {
    place: Place,
    entries: &'n [(Key, Node)],
}

impl<'n> Fields<'n> {
    fn get(&self, name: &str) -> Option<&'n Node> {
        self.entries.iter().find(|(key, _)| key.name == name).map(|(_, node)| node)
    }

    fn key(&self, name: &str) -> Place {
        self.entries.iter().find(|(key, _)| key.name == name).map_or(self.place, |(key, _)| key.place)
    }
}

impl Reader<'_> {
    fn error(&mut self, place: Place, message: impl Into<String>) -> &mut Diagnostic {
        let index = self.errors.len();
        self.errors.push(Diagnostic::new(self.file, place, message));
        &mut self.errors[index]
    }

    fn hinted(&mut self, place: Place, message: impl Into<String>, hint: impl Into<String>) {
        self.error(place, message).suggestion = Some(hint.into());
    }

    fn map<'n>(&mut self, node: &'n Node, what: &str, known: &[&str]) -> Option<Fields<'n>> {
        let Value::Map(entries) = &node.value else {
            self.error(node.place, format!("{what} must be a map, but this is {}", node.kind()));
            return None;
        };
        for (key, _) in entries {
            if !known.contains(&key.name.as_str()) {
                let hint = nearest(&key.name, known.iter().copied()).map_or_else(
                    || {
                        if known.is_empty() {
                            "it takes none".to_owned()
                        } else {
                            format!("known keys: {}", known.join(", "))
                        }
                    },
                    |near| format!("did you mean {near}?"),
                );
                self.hinted(key.place, format!("unknown key {} in {what}", quote(&key.name)), hint);
            }
        }
        Some(Fields { place: node.place, entries })
    }

    fn need<'n>(&mut self, fields: &Fields<'n>, name: &str, what: &str) -> Option<&'n Node> {
        let node = fields.get(name);
        if node.is_none() {
            self.error(fields.place, format!("{what} has no {name}"));
        }
        node
    }

    fn text_of<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n str> {
        if let Value::Text(text) = &node.value {
            return Some(text);
        }
        let hint = match node.value {
            Value::Bool(_) | Value::Int(_) | Value::Float(_) => Some("put it in quotes"),
            _ => None,
        };
        let error = self.error(node.place, format!("{what} must be text, but this is {}", node.kind()));
        error.suggestion = hint.map(str::to_owned);
        None
    }

    /// Text for people: not empty, not long, no control characters (it is printed to terminals).
    fn prose(&mut self, node: &Node, what: &str, most: usize, lines: bool) -> Option<String> {
        let text = self.text_of(node, what)?.trim();
        let bad = text.chars().find(|c| c.is_control() && !(lines && *c == '\n'));
        if text.is_empty() {
            self.error(node.place, format!("{what} is empty"));
        } else if text.chars().count() > most {
            self.error(node.place, format!("{what} is longer than {most} characters"));
        } else if let Some(c) = bad {
            self.error(node.place, format!("{what} contains the control character {c:?}"));
        } else {
            return Some(text.to_owned());
        }
        None
    }

    fn word<'n>(&mut self, node: &'n Node, what: &str, words: &[&str]) -> Option<&'n str> {
        let text = self.text_of(node, what)?;
        if words.contains(&text) {
            return Some(text);
        }
        let hint = nearest(text, words.iter().copied())
            .map_or_else(|| format!("one of {}", words.join(", ")), |near| format!("did you mean {near}?"));
        self.hinted(node.place, format!("unknown {what} {}", quote(text)), hint);
        None
    }

    fn list<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n [Node]> {
        if let Value::List(items) = &node.value {
            return Some(items);
        }
        self.error(node.place, format!("{what} must be a list, but this is {}", node.kind()));
        None
    }

    fn span(&mut self, node: &Node, what: &str) -> Option<Span> {
        let Value::Text(text) = &node.value else {
            let message = format!("{what} must be a duration, but this is {}", node.kind());
            self.hinted(node.place, message, "write it with a unit: 90s, 15m, 2h, 30d");
            return None;
        };
        match text.parse() {
            Ok(span) => Some(span),
            Err(error) => {
                self.error(node.place, format!("{what}: {error}"));
                None
            }
        }
    }

    fn playbook(&mut self, node: &Node) -> Option<(Playbook, Place)> {
        let what = "the playbook";
        let fields = self.map(node, what, &TOP_KEYS)?;
        if let Some(node) = self.need(&fields, "apiVersion", what) {
            match node.as_text() {
                Some(API_VERSION) => {}
                Some(OLD_API_VERSION) => self.old = true,
                _ => {
                    let hint = format!("write apiVersion: {API_VERSION}");
                    self.hinted(node.place, "this apiVersion is not known", hint);
                }
            }
        }
        let name = self.need(&fields, "name", what).and_then(|node| {
            let text = self.text_of(node, "the name")?;
            let good = (1..=64).contains(&text.len())
                && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
            if !good {
                let hint = "1 to 64 lower-case letters, digits and hyphens";
                self.hinted(node.place, format!("{} is not a name for a playbook", quote(text)), hint);
            }
            if text == "auto" {
                let hint = "`fix auto` chooses among the playbooks: give it another name";
                self.hinted(node.place, "auto is not a name for a playbook", hint);
            }
            Some((text.to_owned(), node.place))
        });
        let title = self.need(&fields, "title", what).and_then(|node| self.prose(node, "the title", TITLE, false));
        let codes = fields.get("codes").map(|node| self.codes(node)).unwrap_or_default();
        let severity = self.need(&fields, "severity", what).and_then(|node| {
            Some(match self.word(node, "severity", &SEVERITIES)? {
                "info" => Severity::Info,
                "low" => Severity::Low,
                "medium" => Severity::Medium,
                "high" => Severity::High,
                _ => Severity::Critical,
            })
        });
        let source = fields.get("source").map_or_else(String::new, |node| self.url(node).unwrap_or_default());
        let description = fields.get("description");
        let description =
            description.and_then(|node| self.prose(node, "the description", DESCRIPTION, true)).unwrap_or_default();
        let parameters = fields.get("parameters").map(|node| self.parameters(node)).unwrap_or_default();
        let types: BTreeMap<String, Type> = parameters
            .iter()
            .map(|(name, declared)| {
                let kind = declared.parameter.as_ref().map_or(Type::Any, |parameter| parameter.kind.as_type());
                (name.clone(), kind)
            })
            .collect();
        let applies = self.need(&fields, "applies", what).and_then(|node| self.condition(node, "applies", &types));
        let steps =
            self.need(&fields, "steps", what).map(|node| self.steps(node, &parameters, &types)).unwrap_or_default();
        if self.errors.is_empty() {
            self.unused(&parameters, applies.as_ref(), &steps);
        }
        let (name, place) = name?;
        let playbook = Playbook {
            name,
            title: title?,
            codes,
            severity: severity?,
            source,
            description,
            parameters: parameters
                .into_iter()
                .filter_map(|(name, declared)| declared.parameter.map(|parameter| (name, parameter)))
                .collect(),
            applies: applies?,
            steps,
            text: self.text.to_owned(),
        };
        Some((playbook, place))
    }

    fn unused(&mut self, parameters: &IndexMap<String, Declared>, applies: Option<&Condition>, steps: &[Step]) {
        let conditions = applies.into_iter().chain(steps.iter().filter_map(Step::when));
        let mut used: BTreeSet<String> = conditions
            .flat_map(Condition::touched)
            .filter_map(|path| path.strip_prefix("params.").map(str::to_owned))
            .collect();
        for argument in steps.iter().flat_map(|step| step.with.values()) {
            if let Argument::Param(name) = argument {
                used.insert(name.clone());
            }
        }
        for (name, declared) in parameters.iter().filter(|(name, _)| !used.contains(*name)) {
            let hint =
                format!("use it in a condition as params.{name} or under with as {{ param: {name} }}, or remove it");
            self.hinted(declared.place, format!("the parameter {name} is used nowhere"), hint);
        }
    }

    fn codes(&mut self, node: &Node) -> Vec<String> {
        let catalog = Catalog::get();
        let mut codes = Vec::new();
        for node in self.list(node, "codes").unwrap_or_default() {
            let Some(text) = self.text_of(node, "an error code") else { continue };
            let Some(entry) = catalog.by_code(text) else {
                let hint = catalog.suggest(text).map(|near| format!("did you mean {near}?"));
                self.error(node.place, format!("unknown error code {}", quote(text))).suggestion = hint;
                continue;
            };
            if codes.contains(&entry.code) {
                self.error(node.place, format!("the error code {} appears twice", entry.code));
            } else {
                codes.push(entry.code.clone());
            }
        }
        codes
    }

    fn url(&mut self, node: &Node) -> Option<String> {
        let text = self.prose(node, "the source", 500, false)?;
        if url::Url::parse(&text).is_ok_and(|url| url.scheme() == "https" && url.host().is_some()) {
            return Some(text);
        }
        self.error(node.place, "the source must be an https:// address");
        None
    }

    /// Compiles a condition; places its problems inside the scalar when that stands on one line as it is.
    fn condition(&mut self, node: &Node, what: &str, types: &BTreeMap<String, Type>) -> Option<Condition> {
        let source = match &node.value {
            Value::Bool(value) => value.to_string(),
            Value::Text(text) => text.clone(),
            // YAML reads a plain !word as a tag: the condition is gone.
            Value::Null if self.line(node.place).contains(&format!("{what}: !")) => {
                let message = format!("{what}: a condition that starts with ! must be in quotes");
                self.hinted(node.place, message, "such as \"!backup.running\"");
                return None;
            }
            _ => {
                self.error(node.place, format!("{what} must be a condition, but this is {}", node.kind()));
                return None;
            }
        };
        match Condition::compile(&source, types) {
            Ok(condition) => Some(condition),
            Err(problems) => {
                for problem in problems {
                    let place = self.inside(node.place, &source, problem.at);
                    self.error(place, format!("{what}: {}", problem.message)).suggestion = problem.hint;
                }
                None
            }
        }
    }

    /// The line of a place.
    fn line(&self, place: Place) -> &str {
        let line = usize::try_from(place.line).unwrap_or_default().saturating_sub(1);
        self.text.lines().nth(line).unwrap_or_default()
    }

    /// The place of a character of a scalar: known when the scalar stands in the file as it is, plain, quoted without
    /// escapes, or as a literal block (`|`). Otherwise the place of the whole must do.
    fn inside(&self, place: Place, scalar: &str, at: usize) -> Place {
        let column = usize::try_from(place.column - 1).unwrap_or_default();
        let mut lines = self.text.lines().skip(usize::try_from(place.line - 1).unwrap_or_default());
        let mut next = || lines.next().map(|line| line.chars().skip(column).collect::<String>()).unwrap_or_default();
        let first = next();
        let before: String = scalar.chars().take(at).collect();
        let down = before.matches('\n').count() as u64;
        let right = before.chars().rev().take_while(|c| *c != '\n').count() as u64;
        let mut parts = scalar.lines();
        let head = parts.next().unwrap_or_default();
        if first.starts_with(head) && parts.all(|part| next() == part) {
            return Place { line: place.line + down, column: place.column + right };
        }
        match first.strip_prefix(['"', '\'']) {
            Some(inner) if inner.starts_with(scalar) => Place { column: place.column + 1 + at as u64, ..place },
            _ => place,
        }
    }
}

/// A parameter that was declared, even if it has an error.
struct Declared {
    place: Place,
    parameter: Option<Parameter>,
    /// Whether min and max were given: then the actions must take them.
    bounds: (bool, bool),
}

impl Reader<'_> {
    fn parameters(&mut self, node: &Node) -> IndexMap<String, Declared> {
        let mut parameters = IndexMap::new();
        let Value::Map(entries) = &node.value else {
            self.error(node.place, format!("parameters must be a map, but this is {}", node.kind()));
            return parameters;
        };
        if entries.len() > MAX_ITEMS {
            self.error(node.place, format!("there are more than {MAX_ITEMS} parameters"));
        }
        for (key, node) in entries {
            let name = &key.name;
            let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
            if !plain || name.len() > 32 || !name.starts_with(|c: char| c.is_ascii_lowercase()) {
                let hint = "1 to 32 lower-case letters, digits and underscores, a letter first";
                self.hinted(key.place, format!("{} is not a name for a parameter", quote(name)), hint);
            } else if RESERVED.contains(&name.as_str()) {
                self.error(key.place, format!("{} is a reserved word", quote(name)));
            }
            let declared = self.parameter(key, node);
            parameters.insert(name.clone(), declared);
        }
        parameters
    }

    fn parameter(&mut self, key: &Key, node: &Node) -> Declared {
        let what = format!("the parameter {}", quote(&key.name));
        let mut declared = Declared { place: key.place, parameter: None, bounds: (false, false) };
        let Some(fields) = self.map(node, &what, &PARAMETER_KEYS) else { return declared };
        declared.bounds = (fields.get("min").is_some(), fields.get("max").is_some());
        let help = self.need(&fields, "help", &what).and_then(|node| self.prose(node, "the help", HELP, false));
        let kind = self.kind(&fields, &what);
        let default = self.need(&fields, "default", &what);
        if let (Some(kind), Some(default)) = (kind, default) {
            let default = self.default(&kind, default);
            if let (Some(default), Some(help)) = (default, help) {
                declared.parameter = Some(Parameter { kind, default, help });
            }
        }
        declared
    }

    fn kind(&mut self, fields: &Fields<'_>, what: &str) -> Option<ParameterKind> {
        let (one_of, kind) = (fields.get("one_of"), fields.get("type"));
        let bounds = |reader: &mut Self, why: &str| {
            for name in ["min", "max"] {
                if fields.get(name).is_some() {
                    reader.error(fields.key(name), format!("{name} has no meaning for {why}"));
                }
            }
        };
        match (one_of, kind) {
            (Some(_), Some(_)) => {
                self.error(fields.key("type"), format!("{what} has both one_of and type: choose one"));
                None
            }
            (None, None) => {
                let hint = format!("write one_of: [...] or type: one of {}", TYPES.join(", "));
                self.hinted(fields.place, format!("{what} has neither one_of nor type"), hint);
                None
            }
            (Some(node), None) => {
                bounds(self, "one_of");
                self.words(node)
            }
            (None, Some(node)) => match self.word(node, "type", &TYPES)? {
                "duration" => {
                    let min = fields.get("min").map_or(Some(Span::from_secs(0)), |node| self.span(node, "min"));
                    let max = fields.get("max").map_or(Some(LONGEST), |node| self.span(node, "max"));
                    let (min, max) = (min?, max?);
                    if min > max {
                        self.error(fields.key("min"), format!("min ({min}) is above max ({max})"));
                        return None;
                    }
                    Some(ParameterKind::Duration { min, max })
                }
                "int" => {
                    let min = fields.get("min").map_or(Some(i64::MIN), |node| self.int(node, "min"));
                    let max = fields.get("max").map_or(Some(i64::MAX), |node| self.int(node, "max"));
                    let (min, max) = (min?, max?);
                    if min > max {
                        self.error(fields.key("min"), format!("min ({min}) is above max ({max})"));
                        return None;
                    }
                    Some(ParameterKind::Int { min, max })
                }
                "bool" => {
                    bounds(self, "a bool");
                    Some(ParameterKind::Bool)
                }
                _ => {
                    bounds(self, "a string");
                    Some(ParameterKind::Text)
                }
            },
        }
    }

    fn int(&mut self, node: &Node, what: &str) -> Option<i64> {
        if let Value::Int(number) = node.value {
            return Some(number);
        }
        self.error(node.place, format!("{what} must be a whole number, but this is {}", node.kind()));
        None
    }

    fn words(&mut self, node: &Node) -> Option<ParameterKind> {
        let mut words: Vec<String> = Vec::new();
        let items = self.list(node, "one_of")?;
        if items.is_empty() || items.len() > MAX_ITEMS {
            self.error(node.place, format!("one_of must have 1 to {MAX_ITEMS} words"));
            return None;
        }
        let before = self.errors.len();
        for item in items {
            let Some(word) = self.text_of(item, "a word of one_of") else { continue };
            let good = (1..=64).contains(&word.len())
                && word.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
            if !good {
                let hint = "1 to 64 letters, digits and _ - .";
                self.hinted(item.place, format!("{} is not a word for one_of", quote(word)), hint);
            } else if words.iter().any(|known| known == word) {
                self.error(item.place, format!("{} appears twice", quote(word)));
            } else {
                words.push(word.to_owned());
            }
        }
        (self.errors.len() == before).then_some(ParameterKind::OneOf(words))
    }

    fn default(&mut self, kind: &ParameterKind, node: &Node) -> Option<ParamValue> {
        let value = match (kind, &node.value) {
            (ParameterKind::OneOf(_), Value::Text(text)) => kind.read(text),
            (ParameterKind::OneOf(_) | ParameterKind::Text, _) => {
                self.text_of(node, "the default").map(|text| kind.read(text))?
            }
            (ParameterKind::Bool, Value::Bool(value)) => Ok(ParamValue::Bool(*value)),
            (ParameterKind::Int { .. }, _) => kind.in_range(ParamValue::Int(self.int(node, "the default")?)),
            (ParameterKind::Duration { .. }, _) => kind.in_range(ParamValue::Duration(self.span(node, "the default")?)),
            (ParameterKind::Bool, _) => Err(format!("must be true or false, but this is {}", node.kind())),
        };
        match value {
            Ok(value) => Some(value),
            Err(error) => {
                self.error(node.place, format!("the default: {error}"));
                None
            }
        }
    }
}
