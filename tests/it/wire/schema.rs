//! A small validator for the part of Swagger 2 that the published contracts use.
//!
//! Strict where azmend or the sandbox is the author: a property that the contract does not have, a word that is not in
//! an enumeration, a null in a request are violations. `pattern` is not checked.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// Who wrote the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Author {
    /// azmend: read-only properties must not be sent.
    Request,
    /// The sandbox: null is the same as absent.
    Response,
}

/// All specification files, by path.
pub struct Files(pub BTreeMap<String, Value>);

impl Files {
    /// What a `$ref` in `file` points to, and the file it stands in.
    pub fn resolve<'a>(&'a self, file: &str, reference: &str) -> Option<(String, &'a Value)> {
        let (path, pointer) = reference.split_once('#')?;
        let target = if path.is_empty() { file.to_owned() } else { join(file, path) };
        let found = self.0.get(&target)?.pointer(pointer)?;
        Some((target, found))
    }

    /// The value itself, or what it refers to.
    pub fn follow<'a>(&'a self, file: &str, value: &'a Value) -> (String, &'a Value) {
        match value.get("$ref").and_then(Value::as_str) {
            Some(reference) => match self.resolve(file, reference) {
                Some((file, found)) => self.follow(&file, found),
                None => panic!("{file}: {reference} leads nowhere"),
            },
            None => (file.to_owned(), value),
        }
    }

    /// Checks a value; violations are added to `wrong`.
    pub fn check(&self, file: &str, schema: &Value, value: &Value, author: Author) -> Vec<String> {
        let mut wrong = Vec::new();
        self.check_at(file, schema, value, author, "", &mut wrong);
        wrong
    }

    fn check_at(&self, file: &str, schema: &Value, value: &Value, author: Author, at: &str, wrong: &mut Vec<String>) {
        let (file, schema) = self.follow(file, schema);
        let (file, schema) = self.subtype(&file, schema, value, at, wrong);
        if value.is_null() {
            if author == Author::Request {
                wrong.push(format!("{at} is null"));
            }
            return;
        }
        let mut all = Vec::new();
        self.flatten(&file, schema, &mut all);
        let kind = all.iter().find_map(|(_, part)| part.get("type").and_then(Value::as_str));
        let object = kind == Some("object") || all.iter().any(|(_, part)| part.get("properties").is_some());
        let fits = match kind {
            _ if object => value.is_object(),
            Some("string") => value.is_string(),
            Some("integer") => value.is_i64() || value.is_u64(),
            Some("number") => value.is_number(),
            Some("boolean") => value.is_boolean(),
            Some("array") => value.is_array(),
            _ => true,
        };
        if !fits {
            let wanted = if object { "object" } else { kind.unwrap_or_default() };
            wrong.push(format!("{at} is {value}, not of type {wanted}"));
            return;
        }
        for (_, part) in &all {
            simple(part, value, at, wrong);
        }
        if let (Value::Array(items), Some((file, of))) =
            (value, all.iter().find_map(|(file, part)| Some((file, part.get("items")?))))
        {
            for (index, item) in items.iter().enumerate() {
                self.check_at(file, of, item, author, &format!("{at}[{index}]"), wrong);
            }
        }
        if let Value::Object(_) = value {
            self.check_object(&all, value, author, at, wrong);
        }
    }

    fn check_object(&self, all: &[(String, &Value)], value: &Value, author: Author, at: &str, wrong: &mut Vec<String>) {
        let mut known: BTreeMap<&str, (&str, &Value)> = BTreeMap::new();
        let mut required = BTreeSet::new();
        let mut rest = None;
        for (file, part) in all {
            for (name, property) in part.get("properties").and_then(Value::as_object).into_iter().flatten() {
                known.insert(name, (file, property));
            }
            let names = part.get("required").and_then(Value::as_array).into_iter().flatten();
            required.extend(names.filter_map(Value::as_str));
            rest = rest.or_else(|| part.get("additionalProperties").map(|schema| (file.as_str(), schema)));
        }
        for name in required {
            let read_only = known.get(name).is_some_and(|(file, property)| self.read_only(file, property));
            let there = value.get(name).is_some_and(|value| !value.is_null());
            if !(there || author == Author::Request && read_only) {
                wrong.push(format!("{at}.{name} is required and missing"));
            }
        }
        for (name, item) in value.as_object().into_iter().flatten() {
            let at = format!("{at}.{name}");
            match (known.get(name.as_str()), rest) {
                (Some((file, property)), _) => {
                    if author == Author::Request && self.read_only(file, property) {
                        wrong.push(format!("{at} is read-only and was sent"));
                    }
                    self.check_at(file, property, item, author, &at, wrong);
                }
                (None, Some((file, schema))) if schema.is_object() => {
                    self.check_at(file, schema, item, author, &at, wrong);
                }
                (None, Some(_)) => {}
                // An object without any property is free.
                (None, None) if known.is_empty() => {}
                (None, None) => wrong.push(format!("{at} is not in the contract")),
            }
        }
    }

    fn read_only(&self, file: &str, property: &Value) -> bool {
        property.get("readOnly") == Some(&Value::Bool(true))
            || self.follow(file, property).1.get("readOnly") == Some(&Value::Bool(true))
    }

    /// A schema with everything it is made of.
    fn flatten<'a>(&'a self, file: &str, schema: &'a Value, all: &mut Vec<(String, &'a Value)>) {
        all.push((file.to_owned(), schema));
        for part in schema.get("allOf").and_then(Value::as_array).into_iter().flatten() {
            let (file, part) = self.follow(file, part);
            self.flatten(&file, part, all);
        }
    }

    /// The kind that a polymorphic value says it is.
    fn subtype<'a>(
        &'a self,
        file: &str,
        schema: &'a Value,
        value: &Value,
        at: &str,
        wrong: &mut Vec<String>,
    ) -> (String, &'a Value) {
        let mut all = Vec::new();
        self.flatten(file, schema, &mut all);
        let same = (file.to_owned(), schema);
        let discriminator = all.iter().find_map(|(_, part)| part.get("discriminator").and_then(Value::as_str));
        let Some(discriminator) = discriminator.filter(|_| value.is_object()) else { return same };
        let Some(said) = value.get(discriminator).and_then(Value::as_str) else {
            wrong.push(format!("{at}.{discriminator} is missing: it says which kind this is"));
            return same;
        };
        let Some(definitions) = self.0.get(file).and_then(|file| file.get("definitions")?.as_object()) else {
            return same;
        };
        let named = |(name, definition): &(&String, &Value)| {
            definition.get("x-ms-discriminator-value").and_then(Value::as_str).unwrap_or(name) == said
        };
        // It must be this schema or come from it.
        match definitions.iter().filter(named).find(|(_, definition)| self.holds(file, definition, schema)) {
            Some((_, definition)) => (file.to_owned(), definition),
            None => {
                wrong.push(format!("{at}.{discriminator} is {said:?}, which is not a kind of this"));
                same
            }
        }
    }

    /// Whether a definition is the schema or made of it.
    fn holds(&self, file: &str, definition: &Value, schema: &Value) -> bool {
        let mut parts = Vec::new();
        self.flatten(file, definition, &mut parts);
        parts.iter().any(|(_, part)| std::ptr::eq(*part, schema))
    }
}

/// What one part says about a value that is not an object or a list.
fn simple(part: &Value, value: &Value, at: &str, wrong: &mut Vec<String>) {
    if let Some(words) = part.get("enum").and_then(Value::as_array)
        && !words.contains(value)
    {
        wrong.push(format!("{at} is {value}, not one of {}", Value::Array(words.clone())));
    }
    if let Some(text) = value.as_str() {
        let is_time = text.parse::<jiff::Timestamp>().is_ok() || text.parse::<jiff::civil::DateTime>().is_ok();
        match part.get("format").and_then(Value::as_str) {
            Some("date-time") if !is_time => wrong.push(format!("{at} is {value}, not a time")),
            Some("uuid") if text.parse::<uuid::Uuid>().is_err() => wrong.push(format!("{at} is {value}, not a UUID")),
            _ => {}
        }
        let length = text.chars().count() as u64;
        if part.get("maxLength").and_then(Value::as_u64).is_some_and(|most| length > most)
            || part.get("minLength").and_then(Value::as_u64).is_some_and(|least| length < least)
        {
            wrong.push(format!("{at} has {length} characters"));
        }
    }
    if let Some(number) = value.as_i64() {
        let int32 = part.get("format").and_then(Value::as_str) == Some("int32");
        if int32 && i32::try_from(number).is_err()
            || part.get("maximum").and_then(Value::as_i64).is_some_and(|most| number > most)
            || part.get("minimum").and_then(Value::as_i64).is_some_and(|least| number < least)
        {
            wrong.push(format!("{at} is {number}, out of range"));
        }
    }
}

/// A relative path from a file.
fn join(file: &str, path: &str) -> String {
    let mut parts: Vec<&str> = file.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "." | "" => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    parts.join("/")
}
