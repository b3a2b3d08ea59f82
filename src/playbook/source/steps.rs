//! The steps of a playbook and what stands under their `with`.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde_json::Map;

use super::{DEFAULT_TIMEOUT, Declared, MAX_ITEMS, Reader, STEP_KEYS, TIMEOUTS};
use crate::actions::spec::ActionName;
use crate::playbook::conditions::Type;
use crate::playbook::model::{Argument, OnFailure, ParamValue, ParameterKind, Step};
use crate::yaml::{Node, Place, Value, nearest, quote};

impl Reader<'_> {
    pub(super) fn steps(
        &mut self,
        node: &Node,
        parameters: &IndexMap<String, Declared>,
        types: &BTreeMap<String, Type>,
    ) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut ids: BTreeMap<&str, Place> = BTreeMap::new();
        let Some(items) = self.list(node, "steps") else { return steps };
        if items.is_empty() || items.len() > MAX_ITEMS {
            self.error(node.place, format!("steps must have 1 to {MAX_ITEMS} steps"));
        }
        for item in items {
            if let Some(id) = match &item.value {
                Value::Map(entries) => entries.iter().find(|(key, _)| key.name == "id").map(|(_, node)| node),
                _ => None,
            } && let Some(text) = id.as_text()
                && let Some(first) = ids.insert(text, id.place)
            {
                let message = format!("the step id {} stands twice: first in line {}", quote(text), first.line);
                self.error(id.place, message);
            }
            steps.extend(self.step(item, parameters, types));
        }
        steps
    }

    fn step(
        &mut self,
        node: &Node,
        parameters: &IndexMap<String, Declared>,
        types: &BTreeMap<String, Type>,
    ) -> Option<Step> {
        let fields = self.map(node, "the step", &STEP_KEYS)?;
        let id = self.need(&fields, "id", "the step").and_then(|node| {
            let text = self.text_of(node, "the id")?;
            let plain = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-'));
            if !plain || text.len() > 32 || !text.starts_with(|c: char| c.is_ascii_lowercase()) {
                let hint = "1 to 32 lower-case letters, digits, _ and -, a letter first";
                self.hinted(node.place, format!("{} is not an id for a step", quote(text)), hint);
            }
            Some(text.to_owned())
        });
        let action = self.need(&fields, "action", "the step").and_then(|node| {
            let names = ActionName::ALL.map(ActionName::as_str);
            self.word(node, "action", &names).and_then(ActionName::parse)
        });
        let with = match (action, fields.get("with")) {
            (Some(action), Some(node)) => self.with(action, node, parameters),
            _ => IndexMap::new(),
        };
        let when = fields.get("when").map(|node| self.condition(node, "when", types));
        let on_failure = fields.get("on_failure").map_or(Some(OnFailure::Stop), |node| {
            Some(match self.word(node, "on_failure", &["stop", "continue"])? {
                "continue" => OnFailure::Continue,
                _ => OnFailure::Stop,
            })
        });
        let timeout = fields.get("timeout").map_or(Some(DEFAULT_TIMEOUT), |node| {
            let span = self.span(node, "the timeout")?;
            if span < TIMEOUTS.0 || span > TIMEOUTS.1 {
                let message = format!("the timeout {span} is out of range: {} to {}", TIMEOUTS.0, TIMEOUTS.1);
                self.error(node.place, message);
            }
            Some(span)
        });
        let when = match when {
            Some(when) => Some(when?),
            None => None,
        };
        Some(Step { id: id?, action: action?, with, when, on_failure: on_failure?, timeout: timeout? })
    }

    fn with(
        &mut self,
        action: ActionName,
        node: &Node,
        parameters: &IndexMap<String, Declared>,
    ) -> IndexMap<String, Argument> {
        let mut with = IndexMap::new();
        let Some(fields) = self.map(node, &format!("with of {action}"), action.keys()) else { return with };
        for (key, node) in fields.entries.iter().filter(|(key, _)| action.keys().contains(&key.name.as_str())) {
            let argument = match &node.value {
                Value::Map(_) => {
                    let what = format!("{} may be a value or {{ param: name }}; this map", key.name);
                    let Some(reference) = self.map(node, &what, &["param"]) else { continue };
                    let Some(target) = self.need(&reference, "param", &what) else { continue };
                    let Some(name) = self.text_of(target, "param") else { continue };
                    let Some(declared) = parameters.get(name) else {
                        let known: Vec<&str> = parameters.keys().map(String::as_str).collect();
                        let hint = nearest(name, known.iter().copied()).map_or_else(
                            || {
                                if known.is_empty() {
                                    "the playbook has no parameters".to_owned()
                                } else {
                                    format!("known: {}", known.join(", "))
                                }
                            },
                            |near| format!("did you mean {near}?"),
                        );
                        self.hinted(target.place, format!("unknown parameter {}", quote(name)), hint);
                        continue;
                    };
                    self.fits(action, &key.name, name, declared, target.place);
                    Argument::Param(name.to_owned())
                }
                _ => {
                    let value = node.to_json();
                    if let Err(error) = takes(action, &key.name, &value) {
                        let hint = value.as_str().and_then(|text| nearest(text, quoted(&error)));
                        let hint = hint.map(|near| format!("did you mean {near}?"));
                        self.error(node.place, format!("{}: {error}", key.name)).suggestion = hint;
                    }
                    Argument::Literal(value)
                }
            };
            with.insert(key.name.clone(), argument);
        }
        with
    }

    /// Whether the action takes what the parameter can be: every word, the default, the bounds that were given.
    fn fits(&mut self, action: ActionName, key: &str, name: &str, declared: &Declared, place: Place) {
        let Some(parameter) = &declared.parameter else { return };
        let mut values = vec![parameter.default.clone()];
        match &parameter.kind {
            ParameterKind::OneOf(words) => values.extend(words.iter().cloned().map(ParamValue::Text)),
            ParameterKind::Duration { min, max } => {
                values.extend(declared.bounds.0.then_some(ParamValue::Duration(*min)));
                values.extend(declared.bounds.1.then_some(ParamValue::Duration(*max)));
            }
            ParameterKind::Int { min, max } => {
                values.extend(declared.bounds.0.then_some(ParamValue::Int(*min)));
                values.extend(declared.bounds.1.then_some(ParamValue::Int(*max)));
            }
            ParameterKind::Bool => values.extend([ParamValue::Bool(true), ParamValue::Bool(false)]),
            // Any other text than the default: an action that takes only some words refuses it.
            ParameterKind::Text => values.push(ParamValue::Text("any other text".into())),
        }
        for value in values {
            if let Err(error) = takes(action, key, &value.to_json()) {
                let message = format!(
                    "the parameter {name} can be {}, which {key} does not take: {error}",
                    quote(&value.to_string())
                );
                self.error(place, message);
                return;
            }
        }
    }
}

fn takes(action: ActionName, key: &str, value: &serde_json::Value) -> Result<(), String> {
    action.with(&Map::from_iter([(key.to_owned(), value.clone())])).map(drop)
}

/// The words that stand in backticks after "expected" in a message of serde.
fn quoted(message: &str) -> impl Iterator<Item = &str> {
    let expected = message.split_once("expected").map_or("", |(_, rest)| rest);
    expected.split('`').skip(1).step_by(2)
}
