//! Requests taken apart and responses put together, in ARM's manner.
//!
//! Duty: segments and query of a request without regard to case, doubled slashes and percent-encoding; error bodies; pages.
//! It must never look at the world's resources.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::world::World;
use azmend_arm::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};
use azmend_arm::id::ResourceId;

/// What comes back from the embedded Azure.
#[derive(Debug, Clone)]
pub enum Reply {
    /// A response.
    Response(Response),
    /// The reply was lost; the request may have taken effect.
    Lost {
        /// What the network said.
        why: String,
    },
    /// The request never arrived.
    NotSent {
        /// What the network said.
        why: String,
    },
}

/// What a handler returns: a response either way; `Err` only ends it early.
pub(crate) type Answer = Result<Response, Box<Response>>;

/// A request taken apart.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub method: Method,
    /// Path segments, decoded, in the case they came in.
    pub segments: Vec<String>,
    /// The same in lower case.
    pub low: Vec<String>,
    /// Query parameters; names in lower case.
    pub query: Vec<(String, String)>,
    /// The body as JSON; null when empty or not JSON.
    pub body: Value,
    pub headers: HeaderMap,
    /// `https://host[:port]`, for links back.
    pub base: String,
    /// The path as it came.
    pub path: String,
}

fn decode(segment: &str) -> String {
    let bytes = segment.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let hex = bytes
            .get(i + 1..i + 3)
            .and_then(|h| std::str::from_utf8(h).ok())
            .and_then(|h| u8::from_str_radix(h, 16).ok());
        if bytes[i] == b'%'
            && let Some(byte) = hex
        {
            out.push(byte);
            i += 3;
        } else {
            out.push(bytes[i]);
            i += 1;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

impl Call {
    pub(crate) fn new(request: &Request) -> Self {
        let path = request.url.path().to_owned();
        let segments: Vec<String> = path.split('/').filter(|s| !s.is_empty()).map(decode).collect();
        let low = segments.iter().map(|s| s.to_lowercase()).collect();
        let query = request.url.query_pairs().map(|(k, v)| (k.to_lowercase(), v.into_owned())).collect();
        let body = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
        let base = request.url.origin().ascii_serialization();
        Self {
            method: request.method.clone(),
            segments,
            low,
            query,
            body,
            headers: request.headers.clone(),
            base,
            path,
        }
    }

    /// A query parameter (name in lower case).
    pub(crate) fn param(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(k, _)| k == name).map(|(_, v)| v.as_str())
    }

    /// Whether `$expand` asks for this.
    pub(crate) fn expands(&self, what: &str) -> bool {
        self.param("$expand").is_some_and(|v| v.split(',').any(|part| part.trim().eq_ignore_ascii_case(what)))
    }

    /// The id made of the first `count` segments.
    pub(crate) fn id(&self, count: usize) -> Result<ResourceId, Box<Response>> {
        let taken = self.segments.get(..count).unwrap_or(&self.segments);
        ResourceId::parse(&taken.join("/")).map_err(|error| {
            error_response(400, "InvalidResourceName", &format!("The provided resource name or id is invalid: {error}"))
        })
    }

    /// The id of the whole path.
    pub(crate) fn whole_id(&self) -> Result<ResourceId, Box<Response>> {
        self.id(self.segments.len())
    }

    pub(crate) fn api_version(&self) -> &str {
        self.param("api-version").unwrap_or("2024-07-01")
    }

    pub(crate) fn is_mutating(&self) -> bool {
        !matches!(self.method, Method::GET | Method::HEAD | Method::OPTIONS) && !self.is_read_only_post()
    }

    /// POSTs that only ask: they are not blocked by locks.
    pub(crate) fn is_read_only_post(&self) -> bool {
        self.method == Method::POST
            && self.low.last().is_some_and(|last| {
                matches!(
                    last.as_str(),
                    "backupstatus"
                        | "resources"
                        | "backupprevalidateprotection"
                        | "effectivenetworksecuritygroups"
                        | "refreshcontainers"
                )
            })
    }
}

/// ARM's nested error body.
pub(crate) fn error_body(code: &str, message: &str) -> Value {
    json!({ "error": { "code": code, "message": message } })
}

/// An error response.
pub(crate) fn error_response(status: u16, code: &str, message: &str) -> Box<Response> {
    Box::new(Response::json(status, &error_body(code, message)))
}

/// An error response of ARM's front door, which says so in a header (as recorded on ScopeLocked, 404, 429).
pub(crate) fn gateway_error(status: u16, code: &str, message: &str) -> Box<Response> {
    let mut response = error_response(status, code, message);
    set_header(&mut response, "x-ms-failure-cause", "gateway");
    response
}

/// 405 for a verb that a known path does not take.
pub(crate) fn not_allowed(call: &Call) -> Box<Response> {
    gateway_error(
        405,
        "HttpVerbNotSupported",
        &format!("The embedded Azure does not support {} on '{}'.", call.method, call.path),
    )
}

/// 404 for a path that is not known.
pub(crate) fn unknown_path(call: &Call) -> Box<Response> {
    gateway_error(404, "InvalidResourceType", &format!("The resource type could not be found for '{}'.", call.path))
}

/// 404 in the words recorded in errors/exchanges/not-found.
pub(crate) fn resource_not_found(id: &ResourceId) -> Box<Response> {
    let kind = id.as_str().rsplit_once("/providers/").map_or(id.as_str(), |(_, rest)| rest);
    gateway_error(
        404,
        "ResourceNotFound",
        &format!(
            "The Resource '{kind}' under resource group '{}' was not found. For more details please go to https://aka.ms/ARMResourceNotFoundFix",
            id.resource_group().unwrap_or("<null>")
        ),
    )
}

/// Sets a header; a value that cannot be one is left out.
pub(crate) fn set_header(response: &mut Response, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers.insert(HeaderName::from_static(name), value);
    }
}

/// One page of a list, with `nextLink` on the request's own address.
pub(crate) fn page(world: &World, call: &Call, rows: Vec<Value>) -> Answer {
    let size = world.settings.page_size.max(1);
    let start = match call.param("$skiptoken") {
        None => 0,
        Some(token) => token
            .parse::<usize>()
            .map_err(|_| error_response(400, "InvalidSkipToken", "The provided skip token is invalid."))?,
    };
    let mut body = serde_json::Map::new();
    let more = rows.len() > start.saturating_add(size);
    body.insert("value".into(), Value::Array(rows.into_iter().skip(start).take(size).collect()));
    if more {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in call.query.iter().filter(|(name, _)| name != "$skiptoken") {
            query.append_pair(name, value);
        }
        query.append_pair("$skipToken", &start.saturating_add(size).to_string());
        body.insert("nextLink".into(), Value::String(format!("{}{}?{}", call.base, call.path, query.finish())));
    }
    Ok(Response::json(200, &Value::Object(body)))
}

/// Time as Recovery Services writes it: `2024-05-13T10:18:05.7330616Z`.
pub(crate) fn stamp_z(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S%.7fZ").to_string()
}

/// Time as compute writes it: `2024-08-26T10:01:58.3554447+00:00`.
pub(crate) fn stamp_offset(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S%.7f+00:00").to_string()
}

/// What Recovery Services writes for "no time".
pub(crate) const NO_TIME: &str = "0001-01-01T00:00:00";
