//! The steps of a playbook and what stands under their `with`.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde_json::Map;

use super::after::{Ids, Placed};
use super::{DEFAULT_TIMEOUT, Declared, MAX_ITEMS, Reader, STEP_KEYS, TIMEOUTS};
use crate::actions::spec::ActionName;
use crate::playbook::conditions::Type;
use crate::playbook::model::{Argument, OnFailure, ParamValue, ParameterKind, Step};
use crate::spelling::nearest;
use crate::yaml::{Node, Place, Value, quote};

impl Reader<'_> {
    pub(super) fn steps(
        &mut self,
        node: &Node,
        parameters: &IndexMap<String, Declared>,
        types: &BTreeMap<String, Type>,
    ) -> Vec<Step> {
        let Some(items) = self.list(node, "steps") else { return Vec::new() };
        if items.is_empty() || items.len() > MAX_ITEMS {
            self.error(node.place, format!("steps must have 1 to {MAX_ITEMS} steps"));
        }
        let mut ids = Ids::new();
        for (index, item) in items.iter().enumerate() {
            let Value::Map(entries) = &item.value else { continue };
            let Some((_, id)) = entries.iter().find(|(key, _)| key.name == "id") else { continue };
            let Some(text) = id.as_text() else { continue };
            if let Some((first, _)) = ids.get(text) {
                let message = format!("the step id {} appears twice: first in line {}", quote(text), first.line);
                self.error(id.place, message);
            } else {
                ids.insert(text, (id.place, index));
            }
        }
        let mut placed = Vec::new();
        for (index, item) in items.iter().enumerate() {
            placed.extend(self.step(item, index, &ids, parameters, types));
        }
        self.dependencies(&placed);
        placed.into_iter().map(|placed| placed.step).collect()
    }

    fn step(
        &mut self,
        node: &Node,
        index: usize,
        ids: &Ids<'_>,
        parameters: &IndexMap<String, Declared>,
        types: &BTreeMap<String, Type>,
    ) -> Option<Placed> {
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
        let after = fields.get("after").map(|node| self.after(node, index, ids)).unwrap_or_default();
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
        let places = after.iter().map(|(after, place)| (after.step.clone(), *place)).collect();
        Some(Placed {
            index,
            id: fields.get("id").map_or(node.place, |node| node.place),
            when: fields.get("when").map(|node| node.place),
            after: places,
            step: Step {
                id: id?,
                action: action?,
                with,
                when,
                after: after.into_iter().map(|(after, _)| after).collect(),
                on_failure: on_failure?,
                timeout: timeout?,
            },
        })
    }

    fn with(
        &mut self,
        action: ActionName,
        node: &Node,
        parameters: &IndexMap<String, Declared>,
    ) -> IndexMap<String, Argument> {
        let mut with = IndexMap::new();
        let old = if self.old { action.old_keys() } else { &[] };
        let keys = [action.keys(), old].concat();
        let Some(fields) = self.map(node, &format!("with of {action}"), &keys) else { return with };
        for (key, node) in fields.entries.iter().filter(|(key, _)| keys.contains(&key.name.as_str())) {
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
                        self.error(node.place, format!("{}: {}", key.name, in_our_words(&error))).suggestion = hint;
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
                    "the parameter {name} can be {}, which {key} does not take: {}",
                    quote(&value.to_string()),
                    in_our_words(&error)
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

/// Messages of serde, which names its own types: `unknown variant` and `invalid type` say what a value must be.
fn in_our_words(message: &str) -> String {
    if let Some((word, _)) = message.strip_prefix("unknown variant `").and_then(|rest| rest.split_once('`')) {
        let known: Vec<&str> = quoted(message).collect();
        return match known.as_slice() {
            [only] => format!("{} is not allowed; the only value is {only}", quote(word)),
            known => format!("{} is not one of {}", quote(word), known.join(", ")),
        };
    }
    let Some((found, wanted)) = message.strip_prefix("invalid type: ").and_then(|rest| rest.split_once(", expected "))
    else {
        return message.to_owned();
    };
    let noun = |text: &str| {
        let nouns = [
            ("string", "text"),
            ("a string", "text"),
            ("integer", "a whole number"),
            ("floating point", "a number with a fraction"),
            ("boolean", "a boolean"),
            ("a boolean", "a boolean"),
            ("null", "nothing"),
            ("sequence", "a list"),
            ("a sequence", "a list"),
            ("map", "a map"),
        ];
        let known = nouns.into_iter().find(|(serde, _)| text == *serde || text.starts_with(&format!("{serde} ")));
        known.map_or_else(|| text.to_owned(), |(_, ours)| ours.to_owned())
    };
    format!("must be {}, but this is {}", noun(wanted), noun(found))
}
