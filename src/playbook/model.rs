//! The model of a playbook: valid by construction.
//!
//! Duty: what the rest of the program may rely on. A [`Playbook`] can only come from [`super::source`], which has checked
//! names, codes, parameters, conditions and the parameters of every step.
//!
//! Invariants: step ids are unique; every `{ param: name }` names a parameter, and every value that the parameter can
//! take is accepted by the action; every condition is well-typed; `after` names earlier steps; a `when` that looks at what
//! an earlier step changes comes with an `after` for it. Data only: nothing here runs anything.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::after::After;
use super::conditions::Type;
pub use super::conditions::{Condition, ParamValue, Verdict};
use crate::actions::spec::{ActionName, ActionSpec};
use crate::duration::Span;
use crate::facts::view::View;
use crate::spelling::nearest;
use crate::yaml::quote;

/// How bad the problem is that a playbook mends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// For information.
    Info,
    /// Worth knowing.
    Low,
    /// Backups are at risk.
    Medium,
    /// Backups fail.
    High,
    /// Data is at risk.
    Critical,
}

impl Severity {
    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// What happens to the run when a step fails, whether Azure failed or a wait ran out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// No further step runs. After its timeout the run pauses and can be resumed: Azure may still be working on it.
    #[default]
    Stop,
    /// The next step runs; the result is still "partly done".
    Continue,
}

/// A parameter: a `--set` key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// What values it takes.
    pub kind: ParameterKind,
    /// The value when it is not set.
    pub default: ParamValue,
    /// One sentence.
    pub help: String,
}

/// The values that a parameter takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParameterKind {
    /// One of these words.
    OneOf(Vec<String>),
    /// A duration in a range.
    Duration {
        /// Shortest.
        min: Span,
        /// Longest.
        max: Span,
    },
    /// A whole number in a range.
    Int {
        /// Smallest.
        min: i64,
        /// Largest.
        max: i64,
    },
    /// `true` or `false`.
    Bool,
    /// Text of at most 256 characters.
    Text,
}

/// The longest text that a parameter takes.
pub const MAX_TEXT: usize = 256;

impl ParameterKind {
    /// The type that conditions see.
    #[must_use]
    pub const fn as_type(&self) -> Type {
        match self {
            Self::OneOf(_) | Self::Text => Type::Text,
            Self::Duration { .. } | Self::Int { .. } => Type::Int,
            Self::Bool => Type::Bool,
        }
    }

    /// Reads a value as typed after `--set name=`.
    ///
    /// # Errors
    /// A sentence that says what is allowed.
    pub fn read(&self, text: &str) -> Result<ParamValue, String> {
        match self {
            Self::OneOf(words) => {
                if words.iter().any(|word| word == text) {
                    return Ok(ParamValue::Text(text.to_owned()));
                }
                let near = nearest(text, words.iter().map(String::as_str));
                let meant = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
                Err(format!("{} is not one of {}{meant}", quote(text), words.join(", ")))
            }
            Self::Duration { .. } => {
                self.in_range(ParamValue::Duration(text.parse::<Span>().map_err(|error| error.to_string())?))
            }
            Self::Int { .. } => {
                let number = text.parse::<i64>().map_err(|_| format!("{} is not a whole number", quote(text)))?;
                self.in_range(ParamValue::Int(number))
            }
            Self::Bool => match text {
                "true" => Ok(ParamValue::Bool(true)),
                "false" => Ok(ParamValue::Bool(false)),
                _ => Err(format!("{} is not true or false", quote(text))),
            },
            Self::Text => self.in_range(ParamValue::Text(text.to_owned())),
        }
    }

    /// Checks the range.
    ///
    /// # Errors
    /// A sentence that says what is allowed.
    pub fn in_range(&self, value: ParamValue) -> Result<ParamValue, String> {
        match (self, &value) {
            (Self::Duration { min, max }, ParamValue::Duration(span)) if span < min || span > max => {
                Err(format!("{span} is out of range: {min} to {max}"))
            }
            (Self::Int { min, max }, ParamValue::Int(number)) if number < min || number > max => {
                Err(format!("{number} is out of range: {min} to {max}"))
            }
            (Self::Text, ParamValue::Text(text)) if text.chars().count() > MAX_TEXT => {
                Err(format!("the text is longer than {MAX_TEXT} characters"))
            }
            (Self::Text, ParamValue::Text(text)) if text.chars().any(char::is_control) => {
                Err("the text contains a control character".to_owned())
            }
            _ => Ok(value),
        }
    }

    /// The allowed values in words, for help.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::OneOf(words) => words.join(" | "),
            Self::Duration { min, max } => format!("duration, {min} to {max}"),
            Self::Int { min: i64::MIN, max: i64::MAX } => "whole number".to_owned(),
            Self::Int { min, max } => format!("whole number, {min} to {max}"),
            Self::Bool => "true | false".to_owned(),
            Self::Text => "text".to_owned(),
        }
    }
}

/// A value under `with`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Argument {
    /// As written.
    Literal(Value),
    /// `{ param: name }`.
    Param(String),
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub(super) id: String,
    pub(super) action: ActionName,
    pub(super) with: IndexMap<String, Argument>,
    pub(super) when: Option<Condition>,
    pub(super) after: Vec<After>,
    pub(super) on_failure: OnFailure,
    pub(super) timeout: Span,
}

impl Step {
    /// Its id, unique in the playbook.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its action.
    #[must_use]
    pub const fn action(&self) -> ActionName {
        self.action
    }

    /// Its parameters as written.
    #[must_use]
    pub const fn with(&self) -> &IndexMap<String, Argument> {
        &self.with
    }

    /// When it runs; always, if there is none. Decided once, when the plan is made.
    #[must_use]
    pub const fn when(&self) -> Option<&Condition> {
        self.when.as_ref()
    }

    /// How earlier steps must have ended for it to run. Decided while the plan runs.
    #[must_use]
    pub fn after(&self) -> &[After] {
        &self.after
    }

    /// What follows its failure.
    #[must_use]
    pub const fn on_failure(&self) -> OnFailure {
        self.on_failure
    }

    /// How long it may take.
    #[must_use]
    pub const fn timeout(&self) -> Span {
        self.timeout
    }

    /// The action with every parameter filled in.
    pub(super) fn spec(&self, values: &BTreeMap<String, ParamValue>) -> Result<ActionSpec, String> {
        let mut with = Map::new();
        for (key, argument) in &self.with {
            let value = match argument {
                Argument::Literal(value) => value.clone(),
                Argument::Param(name) => {
                    values.get(name).map(ParamValue::to_json).ok_or_else(|| format!("no parameter {}", quote(name)))?
                }
            };
            with.insert(key.clone(), value);
        }
        self.action.with(&with)
    }
}

/// A playbook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Playbook {
    pub(super) name: String,
    pub(super) title: String,
    pub(super) codes: Vec<String>,
    pub(super) severity: Severity,
    pub(super) source: String,
    pub(super) description: String,
    pub(super) parameters: IndexMap<String, Parameter>,
    pub(super) applies: Condition,
    pub(super) steps: Vec<Step>,
    pub(super) text: String,
}

/// A step with typed parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedStep {
    /// Its id.
    pub id: String,
    /// What it does.
    pub action: ActionSpec,
    /// When it runs; always, if there is none.
    pub when: Option<Condition>,
    /// How earlier steps must have ended for it to run.
    pub after: Vec<After>,
    /// What follows its failure.
    pub on_failure: OnFailure,
    /// How long it may take.
    pub timeout: Span,
}

/// A playbook with the values of its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The playbook's name.
    pub name: String,
    /// Every parameter with its value.
    pub params: BTreeMap<String, ParamValue>,
    /// The playbook's error codes and their aliases, as conditions see them.
    pub codes: Vec<String>,
    /// When the playbook applies.
    pub applies: Condition,
    /// The steps, in order.
    pub steps: Vec<ResolvedStep>,
}

impl Resolved {
    /// Whether the playbook applies to the VM of this view.
    #[must_use]
    pub fn applies(&self, view: &View) -> Verdict {
        self.applies.evaluate(view, &self.params, &self.codes)
    }

    /// Whether the `when` of a step holds for the VM of this view. What was not read leaves it open only when it could
    /// make a difference.
    #[must_use]
    pub fn runs(&self, step: &ResolvedStep, view: &View) -> Verdict {
        step.when.as_ref().map_or(Verdict::True, |when| when.decide(view, &self.params, &self.codes))
    }
}

impl Playbook {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// One line for people.
    #[must_use]
    pub fn title(&self) -> &str {
        &self.title
    }

    /// The error codes that it mends, as the catalogue spells them.
    #[must_use]
    pub fn codes(&self) -> &[String] {
        &self.codes
    }

    /// How bad the problem is.
    #[must_use]
    pub const fn severity(&self) -> Severity {
        self.severity
    }

    /// The document that it follows, an https URL; empty when none is given.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// A paragraph for people; may be empty.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }

    /// Its parameters, in the order of the file.
    #[must_use]
    pub const fn parameters(&self) -> &IndexMap<String, Parameter> {
        &self.parameters
    }

    /// When it applies.
    #[must_use]
    pub const fn applies(&self) -> &Condition {
        &self.applies
    }

    /// Its steps, in order.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The YAML it was read from.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Fills in the parameters from `--set key=value` and the defaults.
    ///
    /// # Errors
    /// Every wrong key or value, a sentence each.
    pub fn resolve(&self, set: &BTreeMap<String, String>) -> Result<Resolved, Vec<String>> {
        let mut errors = Vec::new();
        for name in set.keys().filter(|name| !self.parameters.contains_key(*name)) {
            let known: Vec<&str> = self.parameters.keys().map(String::as_str).collect();
            let hint = match nearest(name, known.iter().copied()) {
                Some(near) => format!("did you mean {near}?"),
                None if known.is_empty() => "it has no parameters".to_owned(),
                None => format!("its parameters: {}", known.join(", ")),
            };
            errors.push(format!("the playbook {} has no parameter {}; {hint}", self.name, quote(name)));
        }
        let mut params = BTreeMap::new();
        for (name, parameter) in &self.parameters {
            match set.get(name).map_or_else(|| Ok(parameter.default.clone()), |text| parameter.kind.read(text)) {
                Ok(value) => {
                    params.insert(name.clone(), value);
                }
                Err(error) => errors.push(format!("{name}: {error}")),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let mut steps = Vec::new();
        for step in &self.steps {
            match step.spec(&params) {
                Ok(action) => steps.push(ResolvedStep {
                    id: step.id.clone(),
                    action,
                    when: step.when.clone(),
                    after: step.after.clone(),
                    on_failure: step.on_failure,
                    timeout: step.timeout,
                }),
                Err(error) => errors.push(format!("the step {}: {error}", step.id)),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let catalog = crate::catalog::Catalog::get();
        let mut codes: Vec<String> = Vec::new();
        for code in &self.codes {
            codes.push(code.clone());
            codes.extend(catalog.by_code(code).into_iter().flat_map(|entry| entry.aliases.iter().cloned()));
        }
        Ok(Resolved { name: self.name.clone(), params, codes, applies: self.applies.clone(), steps })
    }
}
