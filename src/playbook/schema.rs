//! The JSON Schema of playbooks, for editors.
//!
//! Duty: generate it from the code: names and parameters of actions come from [`crate::actions::spec`], keys and words
//! from the reader. `playbooks/schema.json` is this schema, and a test holds that it is up to date.
//!
//! Invariants: what the reader accepts validates here, but for the keys without effect of older playbooks. The schema is
//! wider: conditions, codes, ranges of durations, references to parameters and to other steps are checked by the reader
//! alone.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::after::StepOutcome;
use super::model::{OnFailure, Severity};
use super::source::{API_VERSION, MAX_ITEMS, OLD_API_VERSION, TYPES};
use crate::actions::spec::ActionName;
use crate::duration::Span;

/// The id of a step.
const ID: &str = "^[a-z][a-z0-9_-]{0,31}$";

/// The schema as `playbooks/schema.json` holds it, with a newline at the end.
#[must_use]
pub fn json() -> String {
    // A value that was just built always serialises.
    let text = serde_json::to_string_pretty(&schema()).unwrap_or_default();
    format!("{text}\n")
}

/// The schema.
#[must_use]
pub fn schema() -> Value {
    let mut generator = SchemaSettings::draft2020_12().with(|s| s.inline_subschemas = true).into_generator();
    let actions: Vec<&str> = ActionName::ALL.iter().map(|action| action.as_str()).collect();
    let per_action: Vec<Value> = ActionName::ALL.iter().map(|action| when_action(*action, &mut generator)).collect();
    let duration = of::<Span>(&mut generator, "");
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "azmend playbook",
        "description": "A problem of Azure VM backup and the steps that repair it. See docs/playbooks.md.",
        "type": "object",
        "additionalProperties": false,
        "required": ["apiVersion", "name", "title", "severity", "applies", "steps"],
        "properties": {
            "apiVersion": { "enum": [API_VERSION, OLD_API_VERSION], "description": "The version of the language" },
            "name": { "type": "string", "pattern": "^[a-z0-9-]{1,64}$", "description": "The name, as typed after `azmend fix`" },
            "title": { "type": "string", "minLength": 1, "maxLength": 120, "description": "One line for people" },
            "codes": {
                "type": "array", "uniqueItems": true, "items": { "type": "string" },
                "description": "Error codes that this repairs; conditions see them as playbook.codes"
            },
            "severity": of::<Severity>(&mut generator, "How bad the problem is; info is a task, not a problem"),
            "source": { "type": "string", "format": "uri", "pattern": "^https://", "description": "The document that it follows" },
            "description": { "type": "string", "minLength": 1, "maxLength": 2000, "description": "A paragraph for people" },
            "parameters": {
                "type": "object",
                "description": "Values that people may set with --set name=value",
                "maxProperties": MAX_ITEMS,
                "propertyNames": { "pattern": "^[a-z][a-z0-9_]{0,31}$" },
                "additionalProperties": { "$ref": "#/$defs/parameter" }
            },
            "applies": { "$ref": "#/$defs/condition", "description": "When the playbook applies to a VM" },
            "steps": {
                "type": "array", "minItems": 1, "maxItems": MAX_ITEMS,
                "items": { "$ref": "#/$defs/step" },
                "description": "What is done, in order"
            }
        },
        "$defs": {
            "condition": {
                "description": "A condition in CEL over the condition view, e.g. points.count > points.limit",
                "anyOf": [{ "type": "string", "minLength": 1, "maxLength": super::conditions::MAX_BYTES }, { "type": "boolean" }]
            },
            "duration": duration,
            "param": {
                "type": "object", "additionalProperties": false, "required": ["param"],
                "properties": { "param": { "type": "string", "description": "The name of a parameter" } }
            },
            "parameter": parameter(),
            "step": {
                "type": "object",
                "additionalProperties": false,
                "required": ["id", "action"],
                "properties": {
                    "id": { "type": "string", "pattern": ID, "description": "Unique in the playbook" },
                    "action": { "enum": actions, "description": "What the step does" },
                    "with": { "type": "object", "description": "Parameters of the action: values, or { param: name }" },
                    "when": {
                        "$ref": "#/$defs/condition",
                        "description": "When the step runs; always, if missing. Decided once, before the first step"
                    },
                    "after": after(&mut generator),
                    "on_failure": of::<OnFailure>(&mut generator, "What happens when the step fails; stop, if missing"),
                    "timeout": { "$ref": "#/$defs/duration", "description": "How long the step may take, 1m to 7d; 2h, if missing" }
                },
                "allOf": per_action
            }
        }
    })
}

fn of<T: JsonSchema>(generator: &mut SchemaGenerator, description: &str) -> Value {
    let mut schema = generator.subschema_for::<T>().to_value();
    if let (false, Some(object)) = (description.is_empty(), schema.as_object_mut()) {
        object.insert("description".into(), description.into());
    }
    schema
}

/// `{ step: outcome }` or `{ step: [outcome, ...] }`.
fn after(generator: &mut SchemaGenerator) -> Value {
    let outcome = of::<StepOutcome>(generator, "");
    json!({
        "type": "object", "minProperties": 1,
        "propertyNames": { "pattern": ID },
        "additionalProperties": {
            "anyOf": [outcome, { "type": "array", "minItems": 1, "uniqueItems": true, "items": outcome }]
        },
        "description": "Earlier steps, and how each must have ended for this one to run"
    })
}

/// If the action is this one, `with` takes its parameters, each also as a reference.
fn when_action(action: ActionName, generator: &mut SchemaGenerator) -> Value {
    let mut with = action.schema(generator).to_value();
    if let Some(properties) = with.get_mut("properties").and_then(Value::as_object_mut) {
        let wrapped: Map<String, Value> = std::mem::take(properties)
            .into_iter()
            .map(|(key, mut schema)| {
                // An editor shows the default and the description of the key, not of one of its two forms.
                let mut outer = Map::new();
                for word in ["default", "description"] {
                    outer.extend(schema.as_object_mut().and_then(|o| o.remove(word)).map(|v| (word.to_owned(), v)));
                }
                outer.insert("anyOf".into(), json!([schema, { "$ref": "#/$defs/param" }]));
                (key, Value::Object(outer))
            })
            .collect();
        *properties = wrapped;
    }
    json!({
        "if": { "required": ["action"], "properties": { "action": { "const": action.as_str() } } },
        "then": { "properties": { "with": with } }
    })
}

fn parameter() -> Value {
    let help = json!({ "type": "string", "minLength": 1, "maxLength": 200, "description": "One sentence for people" });
    let typed = |name: &str, default: Value, bounds: Option<Value>| {
        let mut properties = Map::new();
        properties.insert("type".into(), json!({ "const": name }));
        properties.insert("default".into(), default);
        properties.insert("help".into(), help.clone());
        if let Some(bound) = bounds {
            properties.insert("min".into(), bound.clone());
            properties.insert("max".into(), bound);
        }
        json!({
            "type": "object", "additionalProperties": false, "required": ["type", "default", "help"],
            "properties": properties
        })
    };
    let duration = || json!({ "$ref": "#/$defs/duration" });
    let mut forms = vec![json!({
        "type": "object", "additionalProperties": false, "required": ["one_of", "default", "help"],
        "properties": {
            "one_of": {
                "type": "array", "minItems": 1, "maxItems": MAX_ITEMS, "uniqueItems": true,
                "items": { "type": "string", "pattern": "^[A-Za-z0-9_.-]{1,64}$" },
                "description": "The words that it may be"
            },
            "default": { "type": "string" },
            "help": help
        }
    })];
    for name in TYPES {
        forms.push(match name {
            "duration" => typed(name, duration(), Some(duration())),
            "int" => typed(name, json!({ "type": "integer" }), Some(json!({ "type": "integer" }))),
            "bool" => typed(name, json!({ "type": "boolean" }), None),
            _ => typed(name, json!({ "type": "string" }), None),
        });
    }
    json!({ "description": "A parameter: one_of words, or a typed value", "anyOf": forms })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::playbook::library::SHIPPED;
    use crate::playbook::source::{PARAMETER_KEYS, STEP_KEYS, TOP_KEYS};
    use crate::yaml::{self, Limits, Node};

    const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/playbooks/schema.json");

    /// `AZMEND_BLESS=1 cargo test schema` writes the file anew.
    #[test]
    fn the_file_is_up_to_date() {
        if std::env::var_os("AZMEND_BLESS").is_some() {
            std::fs::write(FILE, json()).unwrap();
        }
        let file = std::fs::read_to_string(FILE).unwrap();
        assert!(file == json(), "playbooks/schema.json is old: run AZMEND_BLESS=1 cargo test schema");
    }

    fn keys(value: &Value) -> Vec<&str> {
        let mut keys: Vec<&str> = value["properties"].as_object().unwrap().keys().map(String::as_str).collect();
        keys.sort_unstable();
        keys
    }

    fn sorted<const N: usize>(mut known: [&'static str; N]) -> [&'static str; N] {
        known.sort_unstable();
        known
    }

    #[test]
    fn the_schema_and_the_reader_know_the_same_keys() {
        let schema = schema();
        assert_eq!(keys(&schema), sorted(TOP_KEYS));
        assert_eq!(keys(&schema["$defs"]["step"]), sorted(STEP_KEYS));
        let mut parameter: Vec<&str> =
            schema["$defs"]["parameter"]["anyOf"].as_array().unwrap().iter().flat_map(keys).collect();
        parameter.sort_unstable();
        parameter.dedup();
        assert_eq!(parameter, sorted(PARAMETER_KEYS));
        for (action, rule) in ActionName::ALL.iter().zip(schema["$defs"]["step"]["allOf"].as_array().unwrap()) {
            assert_eq!(rule["if"]["properties"]["action"]["const"], action.as_str());
            let with = &rule["then"]["properties"]["with"];
            assert_eq!(with["additionalProperties"], false, "{action}");
            if !action.keys().is_empty() {
                assert_eq!(keys(with), action.keys(), "{action}");
            }
        }
    }

    fn json_of(text: &str) -> Value {
        yaml::parse::<Node>(text, "f", &Limits::default()).unwrap().to_json()
    }

    #[test]
    fn shipped_playbooks_validate_and_wrong_ones_do_not() {
        let validator = jsonschema::validator_for(&schema()).unwrap();
        for (file, text) in SHIPPED {
            let errors: Vec<String> = validator.iter_errors(&json_of(text)).map(|e| e.to_string()).collect();
            assert_eq!(errors, Vec::<String>::new(), "{file}");
        }
        let good = SHIPPED[0].1;
        for (from, to) in [
            ("severity: high", "severity: loud"),
            ("severity: high", "severty: high"),
            ("azmend/v2", "azmend/v3"),
            ("locks.remove", "locks.delete"),
            ("action: locks.remove", "action: locks.remove\n    with: { scope: backup_groups }"),
            ("until: room", "until: job"),
            ("on_failure: continue", "after: {}"),
            ("on_failure: continue", "after: { unlock: [] }"),
            ("on_failure: continue", "after: { unlock: done }"),
            ("on_failure: continue", "after: { unlock: [skipped, skipped] }"),
            ("on_failure: continue", "after: [unlock]"),
            ("timeout: 12h", "timeout: 12 hours"),
            ("{ param: retain }", "{ parm: retain }"),
            ("on_failure: continue", "on_failure: retry"),
            ("one_of: [snapshot, job]", "type: word"),
        ] {
            assert!(good.contains(from), "{from}");
            assert!(!validator.is_valid(&json_of(&good.replacen(from, to, 1))), "{from} -> {to}");
        }
        for (from, to) in [
            ("azmend/v2", "azmend/v1"),
            ("on_failure: continue", "after: { unlock: skipped, clean: [succeeded, refused, failed] }"),
        ] {
            assert!(validator.is_valid(&json_of(&good.replacen(from, to, 1))), "{from} -> {to}");
        }
    }
}
