//! The values of a condition view as JSON, for very many views.
//!
//! Duty: of each view the values of some paths, without a tree of it: a view is written into one buffer that is used
//! again and again, with its values on lines of their own. Invariant: a line of compact JSON holds no line break, and a
//! view has the same keys in the same order every time (see [`crate::facts::view`]), so a value is found by its line.

use std::io::{self, Write};
use std::ops::Range;

use serde::Serialize as _;
use serde_json::ser::Formatter;

use crate::facts::view::View;

/// Puts the values of the parts on lines of their own: `{"vm":{"name":`, `"web-01"`, `,"location":`, ...
#[derive(Default)]
struct Lines {
    depth: usize,
}

impl Lines {
    fn line<W: ?Sized + Write>(&self, to: &mut W) -> io::Result<()> {
        if self.depth == 2 { to.write_all(b"\n") } else { Ok(()) }
    }
}

impl Formatter for Lines {
    fn begin_object<W: ?Sized + Write>(&mut self, to: &mut W) -> io::Result<()> {
        self.depth += 1;
        to.write_all(b"{")
    }

    fn end_object<W: ?Sized + Write>(&mut self, to: &mut W) -> io::Result<()> {
        self.depth -= 1;
        to.write_all(b"}")
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, to: &mut W) -> io::Result<()> {
        to.write_all(b":")?;
        self.line(to)
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, to: &mut W) -> io::Result<()> {
        self.line(to)
    }
}

fn write(view: &View, to: &mut Vec<u8>) {
    // Texts, numbers, lists of texts: nothing in a view can fail to be written, and memory takes it.
    let written = view.serialize(&mut serde_json::Serializer::with_formatter(to, Lines::default()));
    debug_assert!(written.is_ok(), "{written:?}");
}

/// The last quoted words of a text, the last first.
fn keys(text: &str) -> impl Iterator<Item = &str> {
    text.rsplit('"').skip(1).step_by(2)
}

/// The paths of the values, in the order of their lines.
fn order() -> Vec<String> {
    let mut text = Vec::new();
    write(&View::empty(), &mut text);
    let text = String::from_utf8(text).unwrap_or_default();
    let mut part = String::new();
    let mut paths = Vec::new();
    for before in text.split('\n').step_by(2) {
        let mut found = keys(before);
        let Some(key) = found.next() else { continue };
        if let Some(other) = found.next() {
            other.clone_into(&mut part);
        }
        paths.push(format!("{part}.{key}"));
    }
    paths
}

/// A path that is looked at.
struct Place {
    path: String,
    /// The lines of its values: one, or those of a part; empty for a path that no view has.
    lines: Range<usize>,
    /// Its text in the buffer; `None` is not read.
    found: Option<Range<usize>>,
}

/// The values of some paths of a view.
pub(super) struct Values {
    places: Vec<Place>,
    text: Vec<u8>,
    /// Where each line of the text is.
    lines: Vec<Range<usize>>,
}

impl Values {
    /// For these paths; a place is the position of a path among them.
    pub fn of(paths: &[String]) -> Self {
        let order = order();
        let place = |path: &String| {
            let within =
                |known: &String| known == path || known.strip_prefix(path.as_str()).is_some_and(|r| r.starts_with('.'));
            let from = order.iter().position(within).unwrap_or(0);
            let count = order.iter().skip(from).take_while(|known| within(known)).count();
            Place { path: path.clone(), lines: from..from + count, found: None }
        };
        Self { places: paths.iter().map(place).collect(), text: Vec::new(), lines: Vec::new() }
    }

    /// Takes the values of this view.
    pub fn look(&mut self, view: &View) {
        self.text.clear();
        self.lines.clear();
        write(view, &mut self.text);
        let mut from = 0;
        for (at, _) in self.text.iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
            self.lines.push(from..at);
            from = at + 1;
        }
        for place in &mut self.places {
            // A part is everything from its first value to its last.
            let ends =
                (self.lines.get(place.lines.start * 2 + 1), self.lines.get((place.lines.end * 2).wrapping_sub(1)));
            let text = match ends {
                (Some(first), Some(last)) if !place.lines.is_empty() => first.start..last.end,
                _ => 0..0,
            };
            place.found = view.unread(&place.path).is_none().then_some(text);
        }
    }

    /// The value at a place as JSON; `None` when it was not read.
    pub fn get(&self, place: usize) -> Option<&str> {
        let found = self.places.get(place)?.found.clone()?;
        std::str::from_utf8(self.text.get(found)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn full() -> View {
        let mut view = View::empty();
        view.vm.name = "web\n\"01\"\\ {:} 웹".into();
        view.vm.exists = true;
        view.extensions.failed = vec!["a\nb".into(), "{".into(), String::new()];
        view.keyvault.vaults = vec!["kv".into()];
        view.points.count = -3;
        view
    }

    #[test]
    fn each_value_is_what_the_tree_of_the_view_has() {
        for view in [View::empty(), full()] {
            let tree = serde_json::to_value(&view).unwrap();
            let parts = tree.as_object().unwrap();
            let of_part = |(part, values): (&String, &Value)| {
                values.as_object().unwrap().keys().map(|key| format!("{part}.{key}")).collect::<Vec<_>>()
            };
            let paths: Vec<String> = parts.iter().flat_map(of_part).collect();
            let mut values = Values::of(&paths);
            for _ in 0..2 {
                values.look(&view);
                for (place, path) in paths.iter().enumerate() {
                    let found: Value = serde_json::from_str(values.get(place).unwrap()).unwrap();
                    let (part, key) = path.split_once('.').unwrap();
                    assert_eq!(found, tree[part][key], "{path}");
                }
            }
        }
    }

    #[test]
    fn what_was_not_read_has_no_value_and_a_part_is_all_of_its_values() {
        let mut view = full();
        view.mark_unread("points", "403");
        let mut values = Values::of(&["points.count".into(), "vm".into(), "nothing.here".into()]);
        values.look(&view);
        assert_eq!(values.get(0), None);
        let first = values.get(1).unwrap().to_owned();
        assert_eq!(values.get(2), Some(""));
        view.vm.exists = false;
        values.look(&view);
        assert_ne!(values.get(1).unwrap(), first);
        assert!(first.contains("exists") && first.starts_with("\"web"), "{first}");
    }
}
