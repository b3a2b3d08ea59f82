//! Facts in bulk from Azure Resource Graph: a handful of queries for a whole scope, whatever the number of VMs.
//!
//! Duty: one query per kind of resource (`*.kql`, one file each, with its source in the first line) and the rows as
//! azmend's own types: the models of [`crate::arm::model`] where a resource has one, so that both collectors speak of the same
//! things. A row has the columns of its query under Azure's names, and is read as the `properties` of that resource.
//!
//! Invariants: a query is plain (`where`, `project`, `order by id`; joining is azmend's), so that the sandbox evaluates it
//! for real; an absent, null or extra column never loses a row; a row without a usable id is counted and named (S12).
//! Resource Graph is for finding: its rows are seconds to minutes old, have no locks, no points, no agent and no handlers,
//! and nothing is changed before ARM was read. It leaves out subscriptions that the caller cannot read without a word:
//! ask [`coverage`] which it looked into, and take every other for unread.

mod backup;
mod compute;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::marker::PhantomData;

use serde_json::{Map, Value};

pub use backup::ItemRow;
pub use compute::VmRow;

use crate::arm::error_body::clean;
use crate::arm::model::{FromWire, Group, Malformed, Subscription};
use crate::arm::{Arm, ArmError, BadRows, GraphRows, GraphScope, Listing};

/// Rows per page: as many as Azure gives, for each page costs a query of the quota.
const PAGE: u32 = 1000;

/// A kind of row with its query.
pub trait GraphRow: Sized {
    /// What the rows are, for people: "virtual machines".
    const WHAT: &'static str;
    /// The file of the query: a comment in the first line, then the query.
    const FILE: &'static str;

    /// Reads a row in the form of a resource: `id`, `location` and `managedBy`, and all columns as its `properties`.
    ///
    /// # Errors
    /// [`Malformed`] when it has no usable id.
    fn from_resource(resource: &Value) -> Result<Self, Malformed>;

    /// Reads a row.
    ///
    /// # Errors
    /// [`Malformed`] when it has no usable id.
    fn from_row(row: &Value) -> Result<Self, Malformed> {
        Self::from_resource(&resource(row.clone()))
    }

    /// The query as it is sent: without its comment.
    #[must_use]
    fn query() -> String {
        text_of(Self::FILE)
    }
}

/// The query in a file: without its comment.
fn text_of(file: &str) -> String {
    let lines = file.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// The query for extensions that are not well, and for VMSnapshot: what is left says nothing to a condition or a check.
#[must_use]
pub fn extensions_unwell() -> String {
    text_of(include_str!("extensions_unwell.kql"))
}

/// The query for jobs that did not simply complete.
#[must_use]
pub fn jobs_unwell() -> String {
    text_of(include_str!("jobs_unwell.kql"))
}

/// The query for completed backups of the last days of VMs of these names. `None` when a name is not plain: a name of
/// Azure's is never quoted into a query (S11).
#[must_use]
pub fn jobs_good(days: u64, names: &[&str]) -> Option<String> {
    let plain = |name: &&str| {
        (1..=80).contains(&name.len()) && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    if names.is_empty() || !names.iter().all(plain) {
        return None;
    }
    let list: Vec<String> = names.iter().map(|name| format!("'{name}'")).collect();
    let text = text_of(include_str!("jobs_good.kql"));
    Some(text.replace("DAYS", &days.to_string()).replace("NAMES", &list.join(", ")))
}

/// All rows of one kind, one page at a time.
#[derive(Debug)]
pub struct GraphReader<T> {
    rows: GraphRows,
    malformed: BadRows,
    kind: PhantomData<T>,
}

impl<T: GraphRow> GraphReader<T> {
    /// A reader; it sends nothing before the first page is asked for.
    #[must_use]
    pub fn new(arm: &Arm, scope: GraphScope) -> Self {
        Self::with(arm, scope, &T::query())
    }

    /// A reader of a query of its own with the same columns.
    #[must_use]
    pub fn with(arm: &Arm, scope: GraphScope, query: &str) -> Self {
        Self { rows: arm.graph_rows(query, scope, PAGE), malformed: BadRows::default(), kind: PhantomData }
    }

    /// How many rows are still to come, as far as Azure has counted: of the subscriptions that are being asked.
    #[must_use]
    pub fn left(&self) -> Option<u64> {
        self.rows.left()
    }

    /// The rows of the next page; `None` after the last.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered; what was read before is not all ([`crate::arm::GraphRefusal`] tells a refusal).
    pub async fn next_page(&mut self) -> Result<Option<Vec<T>>, ArmError> {
        let Some(page) = self.rows.next_page().await? else { return Ok(None) };
        let mut out = Vec::with_capacity(page.rows.len());
        for row in page.rows {
            let resource = resource(Value::Object(row));
            match T::from_resource(&resource) {
                Ok(read) => out.push(read),
                Err(why) => self.malformed.push(&why.0, None, || {
                    let name = columns(&resource).get("name").and_then(Value::as_str).unwrap_or("without a name");
                    clean(&format!("{}: row {name}: {why}", T::WHAT))
                }),
            }
        }
        Ok(Some(out))
    }

    /// What of the pages so far is missing or could not be read: one line each. With these the rows are not all.
    #[must_use]
    pub fn incomplete(&self) -> Vec<String> {
        let said = self.rows.incomplete().iter().map(|line| format!("{}: {line}", T::WHAT));
        said.chain(self.malformed.clone().into_lines()).collect()
    }
}

/// All rows of one kind at once; for large scopes there is [`GraphReader`].
///
/// # Errors
/// [`ArmError`] as Azure answered.
pub async fn read_all<T: GraphRow>(arm: &Arm, scope: GraphScope) -> Result<Listing<T>, ArmError> {
    let mut reader = GraphReader::<T>::new(arm, scope);
    let mut items = Vec::new();
    while let Some(page) = Box::pin(reader.next_page()).await? {
        items.extend(page);
    }
    Ok(Listing { items, malformed: reader.incomplete().into_iter().collect() })
}

/// Which subscriptions Resource Graph looks into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coverage {
    /// Those it has for the caller.
    pub subscriptions: Vec<Subscription>,
    /// Those that were asked for and are not among them (GUIDs in lower case): their rows are unread, not absent.
    pub left_out: Vec<String>,
    /// Why even this may not be all.
    pub incomplete: Vec<String>,
}

/// Asks which subscriptions of a scope Resource Graph looks into. For management groups and tenants nothing says what is
/// missing: `left_out` is empty then.
///
/// # Errors
/// [`ArmError`] as Azure answered.
pub async fn coverage(arm: &Arm, scope: GraphScope) -> Result<Coverage, ArmError> {
    let asked: BTreeSet<String> = match &scope {
        GraphScope::Subscriptions(guids) => guids.iter().map(|guid| guid.to_lowercase()).collect(),
        GraphScope::ManagementGroups(_) | GraphScope::Tenant => BTreeSet::new(),
    };
    let found = read_all::<Subscription>(arm, scope).await?;
    let known: BTreeSet<String> = found.items.iter().map(|subscription| subscription.id.to_lowercase()).collect();
    let left_out = asked.difference(&known).cloned().collect();
    Ok(Coverage { subscriptions: found.items, left_out, incomplete: found.malformed.into_lines() })
}

/// The resource that a row's columns are the properties of.
fn resource(row: Value) -> Value {
    let mut out = Map::new();
    for name in ["id", "location", "managedBy"] {
        out.insert(name.to_owned(), row.get(name).cloned().unwrap_or_default());
    }
    out.insert("properties".to_owned(), row);
    Value::Object(out)
}

/// The columns of a row in the form of a resource.
fn columns(resource: &Value) -> &Value {
    resource.get("properties").unwrap_or(&Value::Null)
}

/// A text of a row; anything else is empty.
fn text(row: &Value, name: &str) -> String {
    row.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

impl GraphRow for Group {
    const WHAT: &'static str = "resource groups";
    const FILE: &'static str = include_str!("groups.kql");

    fn from_resource(resource: &Value) -> Result<Self, Malformed> {
        Self::from_wire(columns(resource))
    }
}

impl GraphRow for Subscription {
    const WHAT: &'static str = "subscriptions";
    const FILE: &'static str = include_str!("subscriptions.kql");

    fn from_resource(resource: &Value) -> Result<Self, Malformed> {
        Self::from_wire(columns(resource))
    }
}
