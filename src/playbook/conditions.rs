//! Conditions: CEL over the condition view.
//!
//! Duty: compile a condition so that it can only be true, false, or honestly undecided, and evaluate it.
//!
//! Invariants: the text is bounded before the parser sees it (`scan`); names and types are checked before it is kept
//! (`check`); an evaluation error is never false. Two ways with what was not read: [`Condition::evaluate`] is
//! [`Verdict::NotChecked`] as soon as the condition names an unread value (`applies`: every value that it names is shown as
//! evidence); [`Condition::decide`] only when the unread value could make a difference (`when`).
//!
//! It must never see anything but the view, the parameters and the playbook's codes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use cel::{Context, Program};
use serde::{Deserialize, Serialize};

use super::check;
pub use super::check::{FUNCTIONS, Known, Problem, Type, view_paths};
use super::scan;
pub use super::scan::{MAX_BYTES, MAX_LEVELS, MAX_TOKENS};
use super::slips;
use crate::duration::Span;
use crate::facts::view::View;

/// The parser takes some 40 KB of stack for each level without optimisation, and a main thread may have 1 MB (Windows):
/// conditions are compiled on a stack of their own.
const STACK: usize = 16 * 1024 * 1024;

/// The value of a playbook's parameter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type", content = "value")]
pub enum ParamValue {
    /// A boolean.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A duration; conditions see its seconds.
    Duration(Span),
    /// Text, also one of a list.
    Text(String),
}

impl ParamValue {
    /// The type that conditions see.
    pub(super) const fn kind(&self) -> Type {
        match self {
            Self::Bool(_) => Type::Bool,
            Self::Int(_) | Self::Duration(_) => Type::Int,
            Self::Text(_) => Type::Text,
        }
    }

    /// The value as it stands under `with`.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Bool(b) => (*b).into(),
            Self::Int(i) => (*i).into(),
            Self::Duration(span) => span.to_string().into(),
            Self::Text(text) => text.as_str().into(),
        }
    }

    fn to_cel(&self) -> cel::Value {
        match self {
            Self::Bool(b) => (*b).into(),
            Self::Int(i) => (*i).into(),
            Self::Duration(span) => i64::try_from(span.as_secs()).unwrap_or(i64::MAX).into(),
            Self::Text(text) => text.clone().into(),
        }
    }
}

impl fmt::Display for ParamValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(b) => b.fmt(f),
            Self::Int(i) => i.fmt(f),
            Self::Duration(span) => span.fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// What a condition came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "verdict")]
pub enum Verdict {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// It touches values that were not read: `path: why`. Neither true nor false.
    NotChecked {
        /// What was not read.
        unread: Vec<String>,
    },
    /// It could not be evaluated. Neither true nor false.
    Error {
        /// Why.
        why: String,
    },
}

/// A condition that compiled and passed all checks.
#[derive(Clone)]
pub struct Condition {
    source: String,
    touched: Vec<String>,
    program: Arc<Program>,
}

impl Condition {
    /// Compiles the condition of a step of a plan: only the values of the parameters are known then.
    ///
    /// # Errors
    /// Every problem, a sentence each.
    pub fn compile_with(source: &str, params: &BTreeMap<String, ParamValue>) -> Result<Self, Vec<String>> {
        let types = params.iter().map(|(name, value)| (name.clone(), value.kind())).collect();
        Self::compile(source, &types).map_err(|problems| problems.into_iter().map(|p| p.message).collect())
    }

    /// Compiles and checks a condition for a playbook with these parameters.
    ///
    /// # Errors
    /// Every problem that can be found, with its offset.
    pub fn compile(source: &str, params: &BTreeMap<String, Type>) -> Result<Self, Vec<Problem>> {
        scan::scan(source).map_err(|error| vec![Problem { at: error.at, message: error.message, hint: None }])?;
        let (owned, types) = (source.to_owned(), params.clone());
        let compiler = std::thread::Builder::new().stack_size(STACK).spawn(move || Self::parse(&owned, &types));
        let failed = |message: &str| vec![Problem { at: 0, message: message.to_owned(), hint: None }];
        compiler
            .map_err(|error| failed(&format!("cannot be compiled: {error}")))?
            .join()
            .unwrap_or_else(|_| Err(failed("is not a condition: the parser gave up on it")))
    }

    fn parse(source: &str, params: &BTreeMap<String, Type>) -> Result<Self, Vec<Problem>> {
        let program = Program::compile(source).map_err(|errors| {
            let mut problems: Vec<Problem> = errors.errors.iter().map(|error| syntax(source, error)).collect();
            problems.dedup();
            // One slip makes the parser complain several times; the first complaint is at the slip.
            problems.truncate(1);
            if problems.is_empty() {
                problems.push(Problem { at: 0, message: "is not a condition".into(), hint: None });
            }
            problems
        })?;
        let touched = check::check(program.expression(), program.source_info(), params)?;
        Ok(Self { source: source.to_owned(), touched: touched.into_iter().collect(), program: Arc::new(program) })
    }

    /// The text.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The paths that it reads, whether or not evaluation would reach them.
    #[must_use]
    pub fn touched(&self) -> &[String] {
        &self.touched
    }

    /// Evaluates the condition on a view; not checked when it names anything that was not read.
    #[must_use]
    pub fn evaluate(&self, view: &View, params: &BTreeMap<String, ParamValue>, codes: &[String]) -> Verdict {
        match self.unread(view) {
            unread if unread.is_empty() => self.execute(view, params, codes),
            unread => Verdict::NotChecked { unread },
        }
    }

    /// Evaluates the condition on a view; not checked only when what was not read could change the answer:
    /// `false && unread` is false and `true || unread` is true, on either side.
    #[must_use]
    pub fn decide(&self, view: &View, params: &BTreeMap<String, ParamValue>, codes: &[String]) -> Verdict {
        match self.execute(view, params, codes) {
            // A value that was not read is an error to CEL, whose `&&` and `||` pass over an error beside a value that
            // decides alone.
            Verdict::Error { why } => match self.unread(view) {
                unread if unread.is_empty() => Verdict::Error { why },
                unread => Verdict::NotChecked { unread },
            },
            verdict => verdict,
        }
    }

    /// `path: why` of everything that it names and that was not read.
    fn unread(&self, view: &View) -> Vec<String> {
        self.touched.iter().filter_map(|path| view.unread(path).map(|why| format!("{path}: {why}"))).collect()
    }

    /// Evaluates on a view in which the values that were not read do not exist.
    fn execute(&self, view: &View, params: &BTreeMap<String, ParamValue>, codes: &[String]) -> Verdict {
        let error = |why: String| Verdict::Error { why: format!("the condition `{}`: {why}", self.source) };
        let mut context = Context::default();
        match cel::to_value(view) {
            Ok(cel::Value::Map(parts)) => {
                for (part, value) in parts.map.iter() {
                    if let cel::objects::Key::String(part) = part {
                        context.add_variable_from_value(part.as_str(), self.read(part, value, view));
                    }
                }
            }
            Ok(_) => return error("the condition view is not a map".into()),
            Err(problem) => return error(problem.to_string()),
        }
        let params: std::collections::HashMap<String, cel::Value> =
            params.iter().map(|(name, value)| (name.clone(), value.to_cel())).collect();
        context.add_variable_from_value("params", params);
        let codes: Vec<cel::Value> = codes.iter().map(|code| code.clone().into()).collect();
        context.add_variable_from_value(
            "playbook",
            std::collections::HashMap::from([("codes".to_owned(), cel::Value::from(codes))]),
        );
        match self.program.execute(&context) {
            Ok(cel::Value::Bool(true)) => Verdict::True,
            Ok(cel::Value::Bool(false)) => Verdict::False,
            Ok(_) => error("the result is not true or false".into()),
            Err(cel::ExecutionError::Overflow(..)) => error("a number is too large".into()),
            Err(problem) => error(problem.to_string()),
        }
    }

    /// A part of the view without the values that this condition names and that were not read.
    fn read(&self, part: &str, value: &cel::Value, view: &View) -> cel::Value {
        let in_part = |path: &&String| path.split('.').next() == Some(part) && view.unread(path).is_some();
        let unread: Vec<&str> = self.touched.iter().filter(in_part).filter_map(|path| path.split('.').nth(1)).collect();
        match value {
            cel::Value::Map(values) if !unread.is_empty() => {
                let missing = |key: &cel::objects::Key| matches!(key, cel::objects::Key::String(name) if unread.contains(&name.as_str()));
                let left = values.map.iter().filter(|(key, _)| !missing(key));
                let map = Arc::new(left.map(|(key, value)| (key.clone(), value.clone())).collect());
                cel::Value::Map(cel::objects::Map { map })
            }
            value => value.clone(),
        }
    }
}

fn syntax(source: &str, error: &cel::ParseError) -> Problem {
    if let Some(slip) = slips::explain(source) {
        return slip;
    }
    let (line, column) = error.pos;
    let lines_before = usize::try_from(line.max(1) - 1).unwrap_or(0);
    let before: usize = source.split_inclusive('\n').take(lines_before).map(|line| line.chars().count()).sum();
    let column = usize::try_from((column - 1).max(0)).unwrap_or(0);
    let at = (before + column).min(source.chars().count());
    let message = "is not a condition: something is missing or does not belong here".to_owned();
    let hint = Some("see `azmend playbook show rp-collection-limit --yaml` for conditions that work".to_owned());
    Problem { at, message, hint }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Condition").field(&self.source).finish()
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

impl PartialEq for Condition {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Condition {}
