//! Reading JSON of anybody: keys in any capitalisation, types checked, errors that name the place.

use serde_json::{Map, Value};

use super::AlertError;
use crate::arm::id::ResourceId;
use crate::text::safe_short;

/// The longest text that is looked at: ids are shorter than 1024 characters.
const LONGEST: usize = 2048;

/// An object and where it is.
#[derive(Debug, Clone)]
pub(super) struct Place<'a> {
    map: &'a Map<String, Value>,
    path: String,
}

const fn word(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

impl<'a> Place<'a> {
    pub(super) fn of(value: &'a Value, path: &str) -> Result<Self, AlertError> {
        match value {
            Value::Object(map) => Ok(Self { map, path: path.to_owned() }),
            other => Err(AlertError::Wrong(format!("{path} is {}, not an object", word(other)))),
        }
    }

    /// The value of a key; `null` counts as missing. The published spelling wins over others.
    pub(super) fn get(&self, key: &str) -> Option<&'a Value> {
        let same = || self.map.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, value)| value);
        self.map.get(key).or_else(same).filter(|value| !value.is_null())
    }

    pub(super) fn path(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn wrong(&self, key: &str, value: &Value, wanted: &str) -> AlertError {
        AlertError::Wrong(format!("{} is {}, not {wanted}", self.path(key), word(value)))
    }

    pub(super) fn object(&self, key: &str) -> Result<Option<Self>, AlertError> {
        self.get(key).map(|value| Self::of(value, &self.path(key))).transpose()
    }

    pub(super) fn text(&self, key: &str) -> Result<Option<&'a str>, AlertError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(text)) if text.trim().is_empty() => Ok(None),
            Some(Value::String(text)) if text.len() > LONGEST => {
                Err(AlertError::Wrong(format!("{} has more than {LONGEST} characters", self.path(key))))
            }
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.wrong(key, other, "a text")),
        }
    }

    /// The texts of a list; a single text is a list of one.
    pub(super) fn texts(&self, key: &str) -> Result<Vec<&'a str>, AlertError> {
        match self.get(key) {
            None => Ok(Vec::new()),
            Some(Value::String(text)) => Ok(vec![text]),
            Some(Value::Array(all)) => {
                all.iter().map(|one| one.as_str().ok_or_else(|| self.wrong(key, one, "a list of texts"))).collect()
            }
            Some(other) => Err(self.wrong(key, other, "a list")),
        }
    }

    /// A resource id.
    pub(super) fn id(&self, key: &str) -> Result<Option<ResourceId>, AlertError> {
        self.text(key)?.map(|text| id_of(text, &self.path(key))).transpose()
    }
}

/// A resource id at a place.
pub(super) fn id_of(text: &str, path: &str) -> Result<ResourceId, AlertError> {
    ResourceId::parse(text.trim()).map_err(|error| {
        AlertError::Wrong(format!("{path} is no resource id: {}", safe_short(&error.to_string(), 300)))
    })
}
