//! From Azure's JSON to the models, leniently.
//!
//! Duty: a missing or null field, an extra field, an unknown enum value or a number where text was expected never
//! costs more than that field. Only a value that is not an object, or a missing or invalid `id`, is [`Malformed`], for
//! without an identity nothing may be done to a resource. Invariant: an element that cannot be read is counted and
//! named, never silently dropped (S12); a restore point that cannot be read makes its whole collection unreadable,
//! because azmend must know all points of a collection before it touches one (S3).

use jiff::Timestamp;
use serde_json::Value;

use super::{DenyAssignment, Group, Lock, Permission, Subscription};
use crate::error_body::clean;
use crate::id::ResourceId;

/// Why a value cannot be used at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub String);

/// A model that can be read from Azure's JSON.
pub trait FromWire: Sized {
    /// Reads it.
    ///
    /// # Errors
    /// [`Malformed`] when it has no usable identity.
    fn from_wire(value: &Value) -> Result<Self, Malformed>;

    /// What a row that could not be read is about, when it still says so: then only that is unread. By default it is not
    /// known.
    fn scope_of(_value: &Value) -> Option<ResourceId> {
        None
    }
}

/// The value at a JSON pointer of plain names and places. [`Value::pointer`] copies each of them, a million times in a large
/// scope.
pub(super) fn at<'a>(value: &'a Value, pointer: &str) -> Option<&'a Value> {
    pointer.split('/').skip(1).try_fold(value, |value, name| match value {
        Value::Array(items) => items.get(name.parse::<usize>().ok()?),
        _ => value.get(name),
    })
}

/// The text at a JSON pointer; numbers and booleans become text, anything else is empty.
pub(super) fn text(value: &Value, pointer: &str) -> String {
    match at(value, pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::Bool(flag)) => flag.to_string(),
        _ => String::new(),
    }
}

/// The first text that is not empty.
pub(super) fn first_text(value: &Value, pointers: &[&str]) -> String {
    pointers.iter().map(|pointer| text(value, pointer)).find(|text| !text.is_empty()).unwrap_or_default()
}

/// The whole number at a JSON pointer, also when it is sent as text.
pub(super) fn integer(value: &Value, pointer: &str) -> Option<i64> {
    match at(value, pointer)? {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// The flag at a JSON pointer, also when it is sent as text.
pub(super) fn flag(value: &Value, pointer: &str) -> Option<bool> {
    match at(value, pointer)? {
        Value::Bool(flag) => Some(*flag),
        Value::String(text) if text.eq_ignore_ascii_case("true") => Some(true),
        Value::String(text) if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

/// The objects of the list at a JSON pointer; null, missing or something else is an empty list.
pub(super) fn objects<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    at(value, pointer).and_then(Value::as_array).into_iter().flatten().filter(|item| item.is_object())
}

/// The texts of the list at a JSON pointer.
pub(super) fn texts(value: &Value, pointer: &str) -> Vec<String> {
    let items = at(value, pointer).and_then(Value::as_array).into_iter().flatten();
    items.filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

/// The time at a JSON pointer.
pub(super) fn time(value: &Value, pointer: &str) -> Option<Timestamp> {
    parse_time(at(value, pointer)?.as_str()?)
}

/// A time as Azure writes it: seven digits of fraction, `Z`, an offset or no zone at all (then UTC). The placeholder
/// `0001-01-01T00:00:00`, recorded for operations that have not ended, is no time, nor is `2001-01-01T00:00:00Z`, recorded
/// as the last backup of an item that has none yet.
#[must_use]
pub fn parse_time(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let time: Timestamp = text.parse().or_else(|_| format!("{text}Z").parse()).ok()?;
    // Azure is younger than 2008; anything earlier is a placeholder.
    (time >= Timestamp::constant(1_199_145_600, 0)).then_some(time)
}

/// The `id` of a resource.
pub(super) fn id(value: &Value) -> Result<ResourceId, Malformed> {
    let Some(text) = value.get("id").and_then(Value::as_str) else {
        return Err(Malformed(if value.is_object() { "it has no id".into() } else { "it is not an object".into() }));
    };
    ResourceId::parse(text).map_err(|error| Malformed(clean(&error.to_string())))
}

pub(super) fn object(value: &Value) -> Result<&Value, Malformed> {
    if value.is_object() { Ok(value) } else { Err(Malformed("it is not an object".into())) }
}

impl FromWire for ResourceId {
    fn from_wire(value: &Value) -> Result<Self, Malformed> {
        id(value)
    }
}

impl FromWire for Subscription {
    fn from_wire(value: &Value) -> Result<Self, Malformed> {
        let mut guid = text(object(value)?, "/subscriptionId");
        if guid.is_empty() {
            guid = id(value)?.subscription().to_owned();
        }
        if !crate::id::is_guid(&guid) {
            return Err(Malformed(format!("the subscription id {:?} is not a GUID", clean(&guid))));
        }
        Ok(Self {
            id: guid,
            name: text(value, "/displayName"),
            state: text(value, "/state"),
            tenant: text(value, "/tenantId"),
        })
    }
}

impl FromWire for Group {
    fn from_wire(value: &Value) -> Result<Self, Malformed> {
        Ok(Self { id: id(value)?, location: text(value, "/location"), managed_by: text(value, "/managedBy") })
    }
}

impl FromWire for Lock {
    fn from_wire(value: &Value) -> Result<Self, Malformed> {
        let id = id(value)?;
        if !id.is_type("Microsoft.Authorization/locks") {
            return Err(Malformed(format!("{id} is not a lock")));
        }
        Ok(Self {
            id,
            level: text(value, "/properties/level"),
            notes: text(value, "/properties/notes"),
            owners: objects(value, "/properties/owners").map(|owner| text(owner, "/applicationId")).collect(),
        })
    }

    /// What it locks: the id before the last `/providers/Microsoft.Authorization/locks/`, or the nearest scope above that
    /// can be read. A lock holds everything below its scope, so the wider one is the safe one.
    fn scope_of(value: &Value) -> Option<ResourceId> {
        let id = value.get("id")?.as_str()?;
        let at = id.to_ascii_lowercase().rfind("/providers/microsoft.authorization/locks/")?;
        let mut scope = id.get(..at)?;
        loop {
            if let Ok(found) = ResourceId::parse(scope) {
                return Some(found);
            }
            scope = scope.rsplit_once('/')?.0;
        }
    }
}

impl FromWire for Permission {
    fn from_wire(value: &Value) -> Result<Self, Malformed> {
        let value = object(value)?;
        Ok(Self { actions: texts(value, "/actions"), not_actions: texts(value, "/notActions") })
    }
}

impl FromWire for DenyAssignment {
    fn from_wire(value: &Value) -> Result<Self, Malformed> {
        let id = text(object(value)?, "/id");
        if id.is_empty() {
            return Err(Malformed("it has no id".into()));
        }
        let entries: Vec<&Value> = objects(value, "/properties/permissions").collect();
        let mut exceptions = entries.iter().map(|entry| texts(entry, "/notActions"));
        // Several entries deny (a1 - n1) and (a2 - n2): only what every entry excepts is surely not denied.
        let first = exceptions.next().unwrap_or_default();
        let not_actions =
            exceptions.fold(first, |common, next| common.into_iter().filter(|n| next.contains(n)).collect());
        Ok(Self {
            id,
            name: first_text(value, &["/properties/denyAssignmentName", "/name"]),
            scope: text(value, "/properties/scope"),
            actions: entries.iter().flat_map(|entry| texts(entry, "/actions")).collect(),
            not_actions,
            system_protected: flag(value, "/properties/isSystemProtected").unwrap_or(false),
        })
    }
}

#[cfg(test)]
#[path = "json_tests.rs"]
mod tests;
