//! Microsoft.ResourceGraph 2021-03-01: queries, evaluated over the world.
//!
//! Duty: read a query in the plain part of Kusto's language that azmend uses (`where`, `extend`, `project`, `order by`,
//! `limit`; see [`parse`]), evaluate it over tables that are made from the same JSON that the ARM routes answer with, and
//! give it page by page under the user's quota. No answer is made for a query that is known: any query of that part works.
//! Every other query is refused as Azure refuses one that it does not understand, also where Azure would know it (`join`,
//! `summarize`), so that nothing is written for the sandbox that Azure would not run.
//!
//! Shapes: the answer and its quota headers are recorded (pypi-azure-mgmt, azure-mgmt-resourcegraph 8.0.0); `BadRequest`
//! with `InvalidQuery`, `ParserFailure` and `InvalidQueryLanguage`, `RateLimiting` and `NoValidSubscriptionsInQueryRequest`
//! are quoted in issues of azure-powershell (13762), aztfexport (485) and azure-cli-extensions (3325). Invented: the code of
//! a column that does not exist, the answer to a management group that does not (only the tenant's root is one here), and
//! that rows are never older than the world (Azure's are, by seconds to minutes).
//!
//! As reported of Azure, a subscription that the caller cannot read is left out without a word as long as another can be read.

mod check;
mod eval;
mod lex;
mod parse;
mod rows;
mod value;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value, json};

use crate::call::{Answer, Call, not_allowed, set_header, stamp_z};
use crate::providers::resources;
use crate::world::{Bucket, World, guid_from, hash_text};
use azmend_arm::http::{Method, Response};
use azmend_base::clock::elapsed;

/// Queries of a user in one window, and its length in seconds ("throttled requests" of the documentation).
const QUOTA: u64 = 15;
const WINDOW: u64 = 5;
/// The most rows of one page.
const MAX_PAGE: u64 = 1000;

/// Why a query is not understood.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Fault {
    /// It cannot be read from here on: line, position in it, what stands there.
    Parser { line: usize, position: usize, token: String },
    /// An operator that is not known.
    Operator(String),
    /// A table that is not known.
    Table(String),
    /// A column that is not known, or values that do not go together.
    Meaning(String),
    /// It is too long or too deep.
    Size(&'static str),
}

type Parsed<T> = Result<T, Fault>;

impl Fault {
    fn detail(&self) -> Value {
        match self {
            Self::Parser { line, position, token } => json!({ "code": "ParserFailure", "message": "ParserFailure",
                "line": line, "characterPositionInLine": position, "token": token }),
            Self::Operator(token) => json!({ "code": "InvalidQueryLanguage", "message": "InvalidQueryLanguage",
                "line": -1, "characterPositionInLine": -1, "token": token }),
            Self::Table(name) => json!({ "code": "DisallowedLogicalTableName",
                "message": format!("Table {name} is invalid, unsupported or disallowed.") }),
            Self::Meaning(why) => json!({ "code": "SemanticError", "message": why }),
            Self::Size(why) => json!({ "code": "QueryTooComplex", "message": why }),
        }
    }
}

/// Azure's 400, with the request's time and id where its message has them.
fn bad_request(world: &World, details: &[Value]) -> Box<Response> {
    let id = guid_from(&format!("{}graph{}", world.estate_digest, world.counters.requests));
    let message = format!(
        "Please provide below info when asking for support: timestamp = {}, correlationId = {id}.",
        stamp_z(world.now)
    );
    Box::new(Response::json(400, &json!({ "error": { "code": "BadRequest", "message": message, "details": details } })))
}

fn invalid_query(world: &World, fault: &Fault) -> Box<Response> {
    let first = json!({ "code": "InvalidQuery", "message": "Query is invalid. Please refer to the documentation for the \
        Azure Resource Graph service and fix the error before retrying." });
    bad_request(world, &[first, fault.detail()])
}

fn invalid(world: &World, code: &str, message: &str) -> Box<Response> {
    bad_request(world, &[json!({ "code": code, "message": message })])
}

/// Answers whose next page may be asked for: a query is evaluated once, and its pages are of one moment. Forgotten with
/// every change of the world.
#[derive(Debug, Default)]
pub(crate) struct Pages(Mutex<VecDeque<(String, Arc<Vec<eval::Row>>)>>);

impl Pages {
    /// How many queries may go on at once.
    const MOST: usize = 4;

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<(String, Arc<Vec<eval::Row>>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, mark: &str) -> Option<Arc<Vec<eval::Row>>> {
        self.lock().iter().find(|(known, _)| known == mark).map(|(_, rows)| Arc::clone(rows))
    }

    fn keep(&self, mark: &str, rows: &Arc<Vec<eval::Row>>) {
        let mut known = self.lock();
        known.retain(|(other, _)| other != mark);
        known.push_back((mark.to_owned(), Arc::clone(rows)));
        if known.len() > Self::MOST {
            known.pop_front();
        }
    }

    fn end(&self, mark: &str) {
        self.lock().retain(|(other, _)| other != mark);
    }

    /// The world has changed.
    pub(crate) fn forget(&self) {
        self.lock().clear();
    }
}

/// Where a query looks and which page of it is wanted.
struct Asked {
    text: String,
    /// Lower-case GUIDs of the subscriptions that the caller sees and asked for.
    subscriptions: Vec<String>,
    top: u64,
    skip: u64,
    /// What a token is bound to.
    mark: String,
}

/// `POST /providers/Microsoft.ResourceGraph/resources`.
pub(crate) fn query(world: &mut World, call: &Call) -> Answer {
    if call.method != Method::POST {
        return Err(not_allowed(call));
    }
    let (left, resets) = take(world);
    let mut response = if let Some(left) = left {
        let mut response = answer(world, call).unwrap_or_else(|early| *early);
        set_header(&mut response, "x-ms-user-quota-remaining", &left.to_string());
        set_header(&mut response, "x-ms-ratelimit-remaining-tenant-resource-requests", &left.to_string());
        response
    } else {
        let mut response = Response::json(
            429,
            &json!({ "error": { "code": "RateLimiting", "message": "Please provide below info when asking for support.",
            "details": [{ "code": "RateLimiting", "message": "Client application has been throttled and should not attempt to \
            repeat the request until an amount of time has elapsed. Please see https://aka.ms/resourcegraph-throttling for help." }] } }),
        );
        set_header(&mut response, "x-ms-user-quota-remaining", "0");
        response
    };
    set_header(&mut response, "x-ms-user-quota-resets-after", &format!("00:00:{resets:02}"));
    Ok(response)
}

/// Takes one query from the user's window; none when nothing is left. And the seconds until it is new.
fn take(world: &mut World) -> (Option<u64>, u64) {
    if !world.settings.throttling {
        return (Some(QUOTA), WINDOW);
    }
    let now = world.now;
    let window = world.buckets.entry(format!("graph|{}", world.caller)).or_insert(Bucket { milli: 0, at: now });
    let passed = elapsed(window.at, now);
    if passed.as_secs() >= WINDOW {
        *window = Bucket { milli: 0, at: now };
    }
    let resets = WINDOW.saturating_sub(elapsed(window.at, now).as_secs()).max(1);
    if window.milli >= QUOTA {
        return (None, resets);
    }
    window.milli += 1;
    (Some(QUOTA - window.milli), resets)
}

fn answer(world: &World, call: &Call) -> Answer {
    let asked = asked(world, call)?;
    let fault = |fault: Fault| invalid_query(world, &fault);
    let query = parse::parse(&asked.text).map_err(fault)?;
    let columns = check::check(&query, rows::COLUMNS).map_err(fault)?;
    let known = if asked.skip > 0 { world.places.pages.find(&asked.mark) } else { None };
    let rows = known.unwrap_or_else(|| {
        let rows = rows::rows(world, call, &query, &asked.subscriptions);
        Arc::new(eval::run(&query, rows, world.now))
    });
    let total = rows.len() as u64;
    let page: Vec<Value> = rows
        .iter()
        .skip(usize::try_from(asked.skip).unwrap_or(usize::MAX))
        .take(usize::try_from(asked.top).unwrap_or(usize::MAX))
        .map(|row| row.iter().map(|(name, value)| (name.clone(), value.clone().into_json())).collect::<Map<_, _>>())
        .map(Value::Object)
        .collect();
    let end = asked.skip.saturating_add(page.len() as u64);
    let more = end < total && !page.is_empty();
    match more {
        true => world.places.pages.keep(&asked.mark, &rows),
        false => world.places.pages.end(&asked.mark),
    }
    // Without an id the rows have no order that a token could go on in ("work with large result sets").
    let ordered = columns.iter().any(|(name, _)| name == "id");
    let mut body = json!({ "totalRecords": total, "count": page.len(), "data": page, "facets": [],
        "resultTruncated": if more && !ordered { "true" } else { "false" } });
    if more && ordered {
        body["$skipToken"] = format!("{end}.{}.{}", asked.top, asked.mark).into();
    }
    Ok(Response::json(200, &body))
}

fn texts(body: &Value, name: &str) -> Vec<String> {
    let list = body.get(name).and_then(Value::as_array).into_iter().flatten();
    list.filter_map(|text| text.as_str().map(str::to_lowercase)).collect()
}

fn asked(world: &World, call: &Call) -> Result<Asked, Box<Response>> {
    let body = &call.body;
    let Some(text) = body.get("query").and_then(Value::as_str) else {
        return Err(invalid(world, "InvalidQuery", "The query is required."));
    };
    if body.get("facets").and_then(Value::as_array).is_some_and(|facets| !facets.is_empty()) {
        return Err(invalid(world, "InvalidFacets", "The embedded Azure does not evaluate facets."));
    }
    let options = body.get("options").unwrap_or(&Value::Null);
    if options.get("resultFormat").and_then(Value::as_str).is_some_and(|format| format != "objectArray") {
        return Err(invalid(
            world,
            "InvalidResultFormat",
            "The embedded Azure answers in the format objectArray only.",
        ));
    }
    let (wanted, groups) = (texts(body, "subscriptions"), texts(body, "managementGroups"));
    if let Some(wrong) = wanted.iter().find(|guid| uuid::Uuid::parse_str(guid).is_err()) {
        let message = format!("The subscription '{wrong}' is not a GUID.");
        return Err(invalid(world, "SubscriptionsContainInvalidGuids", &message));
    }
    if let Some(unknown) = groups.iter().find(|group| !group.eq_ignore_ascii_case(&world.tenant)) {
        return Err(invalid(
            world,
            "InvalidManagementGroup",
            &format!("The management group '{unknown}' was not found."),
        ));
    }
    let visible = world.subscriptions.iter().filter(|s| s.listed && resources::can_see(world, s));
    let subscriptions: Vec<String> =
        visible.map(|s| s.id.to_lowercase()).filter(|id| wanted.is_empty() || wanted.contains(id)).collect();
    if subscriptions.is_empty() {
        let message = format!(
            "There must be at least one subscription that is eligible to contain resources. Given: '{}'.",
            wanted.join(", ")
        );
        return Err(invalid(world, "NoValidSubscriptionsInQueryRequest", &message));
    }
    let mark = hash_text(&json!([text, wanted, groups]).to_string());
    let (mut top, mut skip) = (MAX_PAGE, 0);
    if let Some(token) = options.get("$skipToken").and_then(Value::as_str) {
        let mut parts = token.split('.');
        let mut number = || parts.next().and_then(|part| part.parse::<u64>().ok());
        match (number(), number(), parts.next()) {
            (Some(offset), Some(size), Some(of)) if of == mark => (skip, top) = (offset, size),
            _ => {
                let why = "The skip token is not of this query and scope.";
                return Err(invalid(world, "InvalidSkipToken", why));
            }
        }
    }
    for (name, value) in [("$top", &mut top), ("$skip", &mut skip)] {
        match options.get(name) {
            None | Some(Value::Null) => {}
            Some(given) => match given.as_u64() {
                Some(number) => *value = number,
                None => return Err(invalid(world, "InvalidOptions", &format!("{name} is not a number of rows."))),
            },
        }
    }
    if !(1..=MAX_PAGE).contains(&top) {
        return Err(invalid(world, "InvalidOptions", &format!("$top must be from 1 to {MAX_PAGE}.")));
    }
    let top = top.min(world.settings.graph_rows.max(1));
    Ok(Asked { text: text.to_owned(), subscriptions, top, skip, mark })
}
