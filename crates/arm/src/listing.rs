//! All pages of a list, and what of them could not be read.
//!
//! Invariants: a row that could not be read is counted, never dropped in silence (S12); what is kept of bad rows is bounded,
//! whatever Azure (or what stands in its place) sends: the first of each kind and their number. A bad row that says
//! which scope it is about makes only that scope unread.

use std::collections::BTreeSet;

use super::id::ResourceId;

/// The most kinds of bad rows of which one is kept.
const MAX_KINDS: usize = 20;
/// The most scopes that bad rows of one list may be about; with more the whole list is unread.
const MAX_SCOPES: usize = 200;

/// All pages of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing<T> {
    /// What could be read.
    pub items: Vec<T>,
    /// What could not. A list with these is not complete.
    pub malformed: BadRows,
}

impl<T> Listing<T> {
    /// Whether every element could be read. (Rows that RBAC filtered out silently are not seen here.)
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.malformed.is_empty()
    }
}

/// The rows of a list that could not be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BadRows {
    /// One line for the first row of each kind.
    lines: Vec<String>,
    kinds: BTreeSet<String>,
    count: usize,
    scopes: BTreeSet<ResourceId>,
    /// Some row does not say what it is about.
    anywhere: bool,
}

impl BadRows {
    /// Adds a row: `kind` is the reason without the row's name, `line` the sentence for people (made only when it is kept),
    /// `scope` what it is about.
    pub fn push(&mut self, kind: &str, scope: Option<ResourceId>, line: impl FnOnce() -> String) {
        self.count += 1;
        if self.kinds.len() < MAX_KINDS && !self.kinds.contains(kind) {
            self.kinds.insert(kind.to_owned());
            self.lines.push(line());
        }
        match scope {
            Some(scope) if self.scopes.len() < MAX_SCOPES || self.scopes.contains(&scope) => {
                self.scopes.insert(scope);
            }
            _ => self.anywhere = true,
        }
    }

    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The first of them.
    #[must_use]
    pub fn first(&self) -> Option<&str> {
        self.lines.first().map(String::as_str)
    }

    /// The first of each kind.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }

    /// The first of each kind, and a line for how many more there are.
    #[must_use]
    pub fn into_lines(mut self) -> Vec<String> {
        let more = self.count.saturating_sub(self.lines.len());
        if more > 0 {
            self.lines.push(format!("and {more} more"));
        }
        self.lines
    }

    /// The scopes that these rows are about: everything else of the list is known. `None` when some row does not say what
    /// it is about, or when there are too many.
    #[must_use]
    pub fn scopes(&self) -> Option<&BTreeSet<ResourceId>> {
        (!self.anywhere).then_some(&self.scopes)
    }
}

/// Lines, each of a kind of its own, about nothing in particular.
impl FromIterator<String> for BadRows {
    fn from_iter<I: IntoIterator<Item = String>>(lines: I) -> Self {
        let mut rows = Self::default();
        for line in lines {
            rows.push(&line, None, || line.clone());
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(n: usize) -> ResourceId {
        ResourceId::group("11111111-1111-1111-1111-111111111111", &format!("rg-{n}")).unwrap()
    }

    #[test]
    fn the_first_of_each_kind_is_kept_and_all_are_counted() {
        let mut rows = BadRows::default();
        for n in 0..1_000_000 {
            rows.push("it has no id", None, || format!("element {n}: it has no id"));
        }
        rows.push("it is not an object", None, || "element x: it is not an object".to_owned());
        assert_eq!((rows.len(), rows.iter().count()), (1_000_001, 2));
        assert_eq!(rows.first(), Some("element 0: it has no id"));
        assert_eq!(rows.scopes(), None);
        assert_eq!(rows.into_lines().last().unwrap(), "and 999999 more");
        let many: BadRows = (0..1000).map(|n| format!("kind {n}")).collect();
        assert_eq!((many.len(), many.into_lines().len()), (1000, MAX_KINDS + 1));
    }

    #[test]
    fn scopes_are_known_as_long_as_every_row_says_its_own() {
        let mut rows = BadRows::default();
        assert!(rows.scopes().unwrap().is_empty());
        for n in 0..MAX_SCOPES {
            rows.push("bad", Some(group(n)), String::new);
            rows.push("bad", Some(group(n)), String::new);
        }
        assert_eq!(rows.scopes().unwrap().len(), MAX_SCOPES);
        let mut one_more = rows.clone();
        one_more.push("bad", None, String::new);
        assert_eq!(one_more.scopes(), None);
        rows.push("bad", Some(group(MAX_SCOPES)), String::new);
        assert_eq!(rows.scopes(), None, "too many to be kept");
    }
}
