//! Azure Resource Graph: one query over many subscriptions, page by page.
//!
//! Duty: [`Arm::graph_page`] asks for one page, [`GraphRows`] for all of them one after the other, with the subscriptions
//! in groups. The query is a POST that only reads ([`super::ReadPost::ResourceGraph`]): it is retried like a GET and
//! waits for its own bucket (15 per 5 s, tightened by `x-ms-user-quota-*`).
//!
//! Invariants: a pager never holds more than one page; it ends on a token that came before and at a bound; an empty list
//! of subscriptions is never sent, for Azure would take it for the whole tenant; rows that are missing are said
//! ([`GraphRows::incomplete`]), never passed over (S12).
//!
//! Two things it cannot see: Resource Graph answers with rows that are seconds to minutes old, so nothing is decided on
//! them before ARM was read; and of several subscriptions it leaves out the ones that the caller cannot read without a
//! word (reported for 2022-10-01; not recorded here). Which subscriptions were looked at at all is therefore asked for
//! (`resourcecontainers`), never concluded from rows.
//!
//! Sources: `resourcegraph.json` 2021-03-01 of azure-rest-api-specs; "work with large result sets" and "throttled
//! requests" of the Resource Graph documentation.

use std::collections::{HashSet, VecDeque};

use azure_mgmt_resourcegraph::package_preview_2021_03 as graph;
use graph::models::query_request_options::ResultFormat;
use graph::models::{QueryRequest, QueryRequestOptions};
use serde_json::{Map, Value};

use super::bridge::{Exchange, ask, client};

use crate::error::{ArmError, ErrorClass};
use crate::error_body::clean;
use crate::gateway::Gateway;
use crate::id::is_guid;
use crate::listing::BadRows;

use crate::arm::Arm;

/// The most rows of one page (`$top` of the contract).
pub const MAX_PAGE: u32 = 1000;
/// The most subscriptions of one query: the documentation asks for fewer than 300.
pub const GROUP: usize = 250;
/// The most management groups of one query: the documentation's limit.
const MANAGEMENT_GROUPS: usize = 10;
/// The most pages of one group of subscriptions, as for lists.
const MAX_PAGES: usize = 2000;

/// Where a query looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GraphScope {
    /// These subscriptions (GUIDs); never none.
    Subscriptions(Vec<String>),
    /// The subscriptions below these management groups (names); never none.
    ManagementGroups(Vec<String>),
    /// All subscriptions of the tenant that the caller can see.
    Tenant,
}

/// One page of one query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GraphQuery {
    /// The query, in the language of Resource Graph.
    pub text: String,
    /// Where.
    pub scope: GraphScope,
    /// Rows per page, 1 to [`MAX_PAGE`].
    pub page_size: u32,
    /// The token of the page before; the query and the scope must be the same.
    pub skip_token: Option<String>,
}

/// One page of rows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GraphPage {
    /// The rows.
    pub rows: Vec<Map<String, Value>>,
    /// Elements that are not rows.
    pub malformed: BadRows,
    /// `totalRecords`: how many rows the query has in all.
    pub total: Option<u64>,
    /// `resultTruncated`: Azure holds rows back. Without a token they cannot be had.
    pub truncated: bool,
    /// `$skipToken`: how to ask for the next page.
    pub next: Option<String>,
    /// `x-ms-tenant-subscription-limit-hit`: Azure looked into a part of the scope only.
    pub partial_scope: bool,
}

/// Why Resource Graph does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GraphRefusal {
    /// It does not understand the query: an error of azmend.
    BadQuery,
    /// The caller can read none of the scope.
    NoScope,
    /// The caller may not ask.
    Forbidden,
    /// This cloud has no Resource Graph, or the provider is not registered.
    NotOffered,
}

impl GraphRefusal {
    /// What an error of a query means; `None` for everything that other calls meet as well (throttling, sign-in, network).
    #[must_use]
    pub fn of(error: &ArmError) -> Option<Self> {
        // Their place in `details` was recorded in issues of several clients.
        if error.has_code("NoValidSubscriptionsInQueryRequest") {
            return Some(Self::NoScope);
        }
        match error.class() {
            ErrorClass::Forbidden | ErrorClass::DeniedByAssignment => Some(Self::Forbidden),
            _ if ["MissingSubscriptionRegistration", "NoRegisteredProviderFound"].iter().any(|c| error.has_code(c)) => {
                Some(Self::NotOffered)
            }
            _ if error.status() == Some(404) => Some(Self::NotOffered),
            _ if error.status() == Some(400) => Some(Self::BadQuery),
            _ => None,
        }
    }

    /// Whether plain ARM lists can give the same facts instead. A query that is not understood is no reason to hide it.
    #[must_use]
    pub const fn lists_may_do(self) -> bool {
        !matches!(self, Self::BadQuery)
    }
}

impl GraphScope {
    /// Subscriptions without repetitions (GUIDs compare without case), in the order given.
    #[must_use]
    pub fn subscriptions<T: AsRef<str>>(guids: &[T]) -> Self {
        let mut seen = HashSet::new();
        let fresh = guids.iter().map(AsRef::as_ref).filter(|guid| seen.insert(guid.to_ascii_lowercase()));
        Self::Subscriptions(fresh.map(str::to_owned).collect())
    }

    /// Refuses what Azure would take for something else.
    fn check(&self) -> Result<(), String> {
        match self {
            Self::Tenant => Ok(()),
            Self::Subscriptions(guids) if guids.is_empty() => {
                Err("it names no subscription, which would mean the whole tenant to Azure".to_owned())
            }
            Self::ManagementGroups(names) if names.is_empty() => {
                Err("it names no management group, which would mean the whole tenant to Azure".to_owned())
            }
            Self::Subscriptions(guids) => match guids.iter().find(|guid| !is_guid(guid)) {
                Some(wrong) => Err(format!("the subscription id {:?} is not a GUID", clean(wrong))),
                None => Ok(()),
            },
            Self::ManagementGroups(names) => {
                // The contract of management groups: at most 90 letters, digits, `-`, `_`, `(`, `)`, `.`.
                let fits = |name: &String| {
                    (1..=90).contains(&name.len())
                        && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_().".contains(c))
                };
                match names.iter().find(|name| !fits(name)) {
                    Some(wrong) => Err(format!("{:?} is not the name of a management group", clean(wrong))),
                    None => Ok(()),
                }
            }
        }
    }

    /// The scope in parts that one query may have.
    fn parts(self) -> VecDeque<Self> {
        match self {
            Self::Subscriptions(guids) => guids.chunks(GROUP).map(|part| Self::Subscriptions(part.to_vec())).collect(),
            Self::ManagementGroups(names) => {
                names.chunks(MANAGEMENT_GROUPS).map(|part| Self::ManagementGroups(part.to_vec())).collect()
            }
            Self::Tenant => VecDeque::from([Self::Tenant]),
        }
    }
}

/// All rows of a query, one page at a time.
#[derive(Debug, Clone)]
pub struct GraphRows {
    arm: Arm,
    text: String,
    page_size: u32,
    /// What is left to ask; the first part is being asked while there is a token.
    parts: VecDeque<GraphScope>,
    token: Option<String>,
    /// Of the part that is being asked.
    seen: HashSet<String>,
    read: u64,
    total: Option<u64>,
    incomplete: Vec<String>,
}

impl GraphRows {
    /// The next page; `None` after the last.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered; malformed when the pages go round in a circle or do not end.
    pub async fn next_page(&mut self) -> Result<Option<GraphPage>, ArmError> {
        let Some(scope) = self.parts.front().cloned() else { return Ok(None) };
        let asked =
            GraphQuery { text: self.text.clone(), scope, page_size: self.page_size, skip_token: self.token.take() };
        let page = self.arm.graph_page(&asked).await?;
        self.read += (page.rows.len() + page.malformed.len()) as u64;
        self.total = page.total.or(self.total);
        self.malformed(&page.malformed);
        if page.partial_scope {
            self.incomplete.push("resource graph searched only a part of the subscriptions: there are too many".into());
        }
        match &page.next {
            Some(token) if !self.seen.insert(token.clone()) => {
                return Err(ArmError::malformed(SUMMARY, "the pages of the query go round in a circle"));
            }
            Some(_) if self.seen.len() >= MAX_PAGES => {
                return Err(ArmError::malformed(SUMMARY, &format!("the query has more than {MAX_PAGES} pages")));
            }
            Some(token) => self.token = Some(token.clone()),
            None => self.end_of_part(&page),
        }
        Ok(Some(page))
    }

    /// Notes elements that are not rows: once, however many pages have them.
    fn malformed(&mut self, rows: &BadRows) {
        let new: Vec<String> =
            rows.iter().filter(|line| !self.incomplete.iter().any(|l| l == line)).map(str::to_owned).collect();
        self.incomplete.extend(new);
    }

    fn end_of_part(&mut self, last: &GraphPage) {
        let missing = last.total.map_or(0, |total| total.saturating_sub(self.read));
        if missing > 0 {
            self.incomplete.push(format!("resource graph counts {missing} rows more than it gave"));
        } else if last.truncated {
            self.incomplete.push("resource graph cut the rows off".into());
        }
        self.parts.pop_front();
        self.seen.clear();
        (self.read, self.total) = (0, None);
    }

    /// How many rows are still to come; `None` when Azure has not counted them, or not those of the last subscriptions.
    #[must_use]
    pub fn left(&self) -> Option<u64> {
        match (self.parts.len(), self.total) {
            (0, _) => Some(0),
            (1, Some(total)) => Some(total.saturating_sub(self.read)),
            _ => None,
        }
    }

    /// What of the pages so far is missing or could not be understood: one line each. With these the rows are not all.
    #[must_use]
    pub fn incomplete(&self) -> &[String] {
        &self.incomplete
    }
}

/// Verb and path, as errors name a request.
const SUMMARY: &str = "POST /providers/Microsoft.ResourceGraph/resources";

impl Arm {
    /// One page of a Resource Graph query.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered ([`GraphRefusal::of`] tells what a refusal means); refused when the scope is empty
    /// or holds what is not an id.
    pub async fn graph_page(&self, query: &GraphQuery) -> Result<GraphPage, ArmError> {
        let refused = |why: &str| ArmError::refused("a resource graph query", why);
        query.scope.check().map_err(|why| refused(&why))?;
        if !(1..=MAX_PAGE).contains(&query.page_size) {
            return Err(refused(&format!("a page holds 1 to {MAX_PAGE} rows, not {}", query.page_size)));
        }
        let exchange = ask_page(&self.gateway, query).await?;
        let limit_hit = exchange.response.header("x-ms-tenant-subscription-limit-hit");
        let mut page = read(crate::gateway::json(SUMMARY, &exchange.response)?)?;
        page.partial_scope = limit_hit.is_some_and(|value| value.trim().eq_ignore_ascii_case("true"));
        Ok(page)
    }

    /// All rows of a query, one page at a time; nothing is sent before the first is asked for. A scope without
    /// subscriptions has no rows.
    #[must_use]
    pub fn graph_rows(&self, text: &str, scope: GraphScope, page_size: u32) -> GraphRows {
        GraphRows {
            arm: self.clone(),
            text: text.to_owned(),
            page_size,
            parts: scope.parts(),
            token: None,
            seen: HashSet::new(),
            read: 0,
            total: None,
            incomplete: Vec::new(),
        }
    }
}

/// Reads an answer. An answer without rows in a list is not an empty one (S12).
fn read(mut body: Value) -> Result<GraphPage, ArmError> {
    let Some(Value::Array(data)) = body.get_mut("data").map(Value::take) else {
        return Err(ArmError::malformed(SUMMARY, "the answer has no list of rows"));
    };
    let mut page = GraphPage::default();
    for (index, element) in data.into_iter().enumerate() {
        match element {
            Value::Object(row) => page.rows.push(row),
            _ => page
                .malformed
                .push("not an object", None, || format!("row {index} of a resource graph page is not an object")),
        }
    }
    page.total = body.get("totalRecords").and_then(Value::as_u64);
    page.truncated = match body.get("resultTruncated") {
        Some(Value::String(text)) => text.eq_ignore_ascii_case("true"),
        Some(Value::Bool(flag)) => *flag,
        _ => false,
    };
    page.next = match body.get("$skipToken") {
        None | Some(Value::Null) => None,
        Some(Value::String(token)) if token.trim().is_empty() => None,
        Some(Value::String(token)) => Some(token.clone()),
        Some(_) => return Err(ArmError::malformed(SUMMARY, "the token of the next page is not text")),
    };
    Ok(page)
}

#[cfg(test)]
#[path = "graph_tests.rs"]
mod tests;

/// One page of a query, as it came from the wire.
async fn ask_page(gateway: &Gateway, asked: &GraphQuery) -> Result<Exchange, ArmError> {
    let mut request = QueryRequest::new(asked.text.clone());
    match &asked.scope {
        GraphScope::Subscriptions(guids) => request.subscriptions.clone_from(guids),
        GraphScope::ManagementGroups(names) => request.management_groups.clone_from(names),
        GraphScope::Tenant => {}
    }
    request.options = Some(QueryRequestOptions {
        skip_token: asked.skip_token.clone(),
        top: i32::try_from(asked.page_size).ok(),
        result_format: Some(ResultFormat::ObjectArray),
        ..QueryRequestOptions::new()
    });
    let exchange = ask(gateway, None, |seam| Ok(client!(seam, graph)?.resources(request).send()));
    exchange.await
}
