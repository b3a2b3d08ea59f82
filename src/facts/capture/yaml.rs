//! YAML that is written: maps in order, lists, and text that means only itself.
//!
//! Invariant: any text comes back as it was: what is not plainly a word stands in double quotes, with every control and
//! invisible character escaped. Must never: write a comment from text that was read without [`comment`].

use crate::text::{safe, safe_json};

/// A value.
#[derive(Debug, Clone)]
pub(super) enum Node {
    /// Text of any kind.
    Text(String),
    /// A number, a truth value or a moment.
    Bare(String),
    /// A list.
    List(Vec<Self>),
    /// A map in its order.
    Map(Map),
    /// A map or a list on one line.
    Line(Box<Self>),
}

/// A map in its order.
#[derive(Debug, Clone, Default)]
pub(super) struct Map(Vec<(String, Node)>);

impl Map {
    /// With this key.
    pub(super) fn with(mut self, key: &str, value: impl Into<Node>) -> Self {
        self.0.push((key.to_owned(), value.into()));
        self
    }

    /// With this key, when there is a value.
    pub(super) fn with_some(self, key: &str, value: Option<impl Into<Node>>) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }

    /// With this key, when the list is not empty.
    pub(super) fn with_list(self, key: &str, list: Vec<Node>) -> Self {
        if list.is_empty() { self } else { self.with(key, Node::List(list)) }
    }

    /// On one line.
    pub(super) fn line(self) -> Node {
        Node::Line(Box::new(Node::Map(self)))
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<&str> for Node {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Node {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<bool> for Node {
    fn from(value: bool) -> Self {
        Self::Bare(value.to_string())
    }
}

impl From<i64> for Node {
    fn from(value: i64) -> Self {
        Self::Bare(value.to_string())
    }
}

impl From<jiff::Timestamp> for Node {
    fn from(value: jiff::Timestamp) -> Self {
        Self::Bare(value.to_string())
    }
}

impl From<Map> for Node {
    fn from(map: Map) -> Self {
        Self::Map(map)
    }
}

/// A list of words on one line.
pub(super) fn words(list: &[String]) -> Node {
    Node::Line(Box::new(Node::List(list.iter().map(|word| Node::Text(word.clone())).collect())))
}

/// One line of a comment.
pub(super) fn comment(text: &str) -> String {
    format!("# {}\n", safe(text).replace(['\n', '\r'], " "))
}

/// The map as a document.
pub(super) fn document(map: &Map) -> String {
    let mut out = String::new();
    write_map(&mut out, map, 0);
    out
}

fn write_map(out: &mut String, map: &Map, indent: usize) {
    for (key, value) in &map.0 {
        out.push_str(&" ".repeat(indent));
        write_entry(out, key, value, indent);
    }
}

fn write_entry(out: &mut String, key: &str, value: &Node, indent: usize) {
    out.push_str(&scalar(key));
    out.push(':');
    match value {
        Node::Map(map) if !map.is_empty() => {
            out.push('\n');
            write_map(out, map, indent + 2);
        }
        Node::List(list) if !list.is_empty() => {
            out.push('\n');
            for item in list {
                write_item(out, item, indent + 2);
            }
        }
        other => {
            out.push(' ');
            write_line(out, other);
            out.push('\n');
        }
    }
}

fn write_item(out: &mut String, item: &Node, indent: usize) {
    out.push_str(&" ".repeat(indent));
    out.push_str("- ");
    match item {
        Node::Map(map) if !map.is_empty() => {
            for (position, (key, value)) in map.0.iter().enumerate() {
                if position > 0 {
                    out.push_str(&" ".repeat(indent + 2));
                }
                write_entry(out, key, value, indent + 2);
            }
        }
        other => {
            write_line(out, other);
            out.push('\n');
        }
    }
}

fn write_line(out: &mut String, node: &Node) {
    match node {
        Node::Text(text) => out.push_str(&scalar(text)),
        Node::Bare(text) => out.push_str(text),
        Node::Line(inner) => write_line(out, inner),
        Node::Map(map) if map.is_empty() => out.push_str("{}"),
        Node::Map(map) => {
            out.push_str("{ ");
            for (position, (key, value)) in map.0.iter().enumerate() {
                if position > 0 {
                    out.push_str(", ");
                }
                out.push_str(&scalar(key));
                out.push_str(": ");
                write_line(out, value);
            }
            out.push_str(" }");
        }
        Node::List(list) => {
            out.push('[');
            for (position, item) in list.iter().enumerate() {
                if position > 0 {
                    out.push_str(", ");
                }
                write_line(out, item);
            }
            out.push(']');
        }
    }
}

/// Words that YAML, old or new, takes for something else than text.
const MEANT: &[&str] = &["true", "false", "yes", "no", "on", "off", "null", "y", "n", "nan", "inf"];

fn scalar(text: &str) -> String {
    let first = text.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '/');
    let rest = text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/'));
    if first && rest && !MEANT.iter().any(|word| text.eq_ignore_ascii_case(word)) {
        return text.to_owned();
    }
    // A string of JSON is one of YAML; the rest of what shows nothing is escaped on top.
    safe_json(&serde_json::Value::String(text.to_owned()).to_string())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_document_reads_like_one_that_people_write() {
        let inner = Map::default().with("name", "a: b").with("list", words(&["x".into(), "no".into()]));
        let map = Map::default()
            .with("first", "plain")
            .with_list("rows", vec![inner.clone().into(), inner.line()])
            .with_some("left", None::<&str>)
            .with("empty", Map::default());
        let expected = "first: plain\nrows:\n  - name: \"a: b\"\n    list: [x, \"no\"]\n  - { name: \"a: b\", list: [x, \"no\"] }\nempty: {}\n";
        assert_eq!(document(&map), expected);
    }

    proptest! {
        #[test]
        fn any_text_comes_back(key in "\\PC{1,40}", value in any::<String>(), more in any::<String>()) {
            let inner = Map::default().with(&key, value.as_str()).with("zz more", more.as_str());
            let map = Map::default().with("block", inner.clone()).with("line", inner.line());
            let read: BTreeMap<String, BTreeMap<String, String>> = serde_saphyr::from_str(&document(&map)).unwrap();
            prop_assume!(key != "zz more");
            for part in ["block", "line"] {
                prop_assert_eq!(&read[part][&key], &value);
                prop_assert_eq!(&read[part]["zz more"], &more);
            }
        }

        #[test]
        fn a_comment_stays_one_line(text in any::<String>()) {
            let line = comment(&text);
            prop_assert!(line.starts_with("# ") && line.trim_end_matches('\n').lines().count() == 1, "{:?}", line);
            prop_assert!(line.chars().filter(|c| c.is_control()).count() == 1);
        }
    }
}
