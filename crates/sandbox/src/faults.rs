//! What faults do to a request.
//!
//! A fault counts the requests it matches and fires on some of them. The same faults and the same requests give the same world:
//! [`FaultPlan::random`] makes them from a seed with its own generator (splitmix64).

use bytes::Bytes;
use serde_json::Value;

use crate::call::{Call, error_body, error_response, gateway_error, set_header};
use crate::throttle;
use crate::world::World;
use crate::world::faults::{Corruption, Effect, Fault, Match};
use azmend_arm::http::{HeaderValue, Response};

impl Match {
    fn fits(&self, call: &Call) -> bool {
        self.method.as_ref().is_none_or(|m| m.eq_ignore_ascii_case(call.method.as_str()))
            && self
                .path_contains
                .as_ref()
                .is_none_or(|part| call.low.join("/").contains(part.to_lowercase().trim_matches('/')))
    }
}

/// The effects that fire on this request; counts it.
pub(crate) fn fire(world: &mut World, call: &Call) -> Vec<Effect> {
    let mut out = Vec::new();
    for fault in world.faults.iter_mut().filter(|f| f.when.fits(call)) {
        fault.seen = fault.seen.saturating_add(1);
        let times =
            fault.when.times.unwrap_or(if let Effect::Throttle { times, .. } = fault.effect { times } else { 1 });
        if fault.seen >= fault.when.nth.unwrap_or(1) && fault.fired < times {
            fault.fired += 1;
            out.push(fault.effect.clone());
        }
    }
    out
}

/// How often faults have changed what the world is, and not only what is answered.
pub(crate) fn acted(world: &World) -> u32 {
    let acts = world.faults.iter().filter(|f| matches!(f.effect, Effect::World(_) | Effect::StaleRead));
    acts.map(|f| f.fired).fold(0, u32::saturating_add)
}

/// Whether a stale read is still to come.
pub(crate) fn stale_reads_left(world: &World) -> bool {
    world.faults.iter().any(|f| f.effect == Effect::StaleRead && f.fired < f.when.times.unwrap_or(1))
}

/// Remembers the world before a change, when a stale read may ask for it.
pub(crate) fn keep_before(world: &mut World) {
    if !stale_reads_left(world) {
        world.before = None;
        return;
    }
    let mut copy = world.clone();
    copy.before = None;
    copy.faults.clear();
    world.before = Some(Box::new(copy));
}

/// A response in place of the real one.
pub(crate) fn instead(effect: &Effect, call: &Call) -> Option<Response> {
    let response = match effect {
        Effect::Reply { status, code, message, retry_after, raw_body } => {
            let mut response = match raw_body {
                Some(raw) => Response { body: Bytes::from(raw.clone()), ..Response::empty(valid(*status)) },
                None => Response::json(valid(*status), &error_body(code, message)),
            };
            if let Some(seconds) = retry_after {
                set_header(&mut response, "retry-after", &seconds.to_string());
            }
            response
        }
        Effect::Throttle { retry_after, .. } => {
            let subscription = call.low.get(1).map_or("", String::as_str);
            *throttle::subscription_throttled(call, subscription, *retry_after)
        }
        Effect::Html503 => {
            let mut response = Response::empty(503);
            html_page(&mut response, "503 Service Unavailable");
            response
        }
        Effect::TokenExpired => *expired_token(),
        _ => return None,
    };
    Some(response)
}

fn html_page(response: &mut Response, title: &str) {
    response.headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
    let heading = title.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ');
    response.body =
        Bytes::from(format!("<html><head><title>{title}</title></head><body><h1>{heading}</h1></body></html>"));
}

const fn valid(status: u16) -> u16 {
    if status >= 200 && status < 600 { status } else { 500 }
}

/// 401 with ARM's words for a token that has expired.
pub(crate) fn expired_token() -> Box<Response> {
    let mut response = gateway_error(
        401,
        "ExpiredAuthenticationToken",
        "The access token expiry UTC time is earlier than current UTC time.",
    );
    set_header(
        &mut response,
        "www-authenticate",
        "Bearer error=\"invalid_token\", error_description=\"The access token has expired.\"",
    );
    response
}

/// 401 without a token.
pub(crate) fn missing_token() -> Box<Response> {
    let mut response =
        error_response(401, "AuthenticationFailed", "Authentication failed. The 'Authorization' header is missing.");
    set_header(
        &mut response,
        "www-authenticate",
        "Bearer authorization_uri=\"https://login.microsoftonline.com/common\"",
    );
    response
}

/// Changes a finished response.
pub(crate) fn spoil(effect: &Effect, call: &Call, response: &mut Response) {
    match effect {
        Effect::EmptyPage => {
            let Some(mut body) = page_of(response) else { return };
            body.insert("value".into(), Value::Array(Vec::new()));
            body.insert("nextLink".into(), same_page(call).into());
            response.body = Bytes::from(Value::Object(body).to_string());
        }
        Effect::MalformedBody => truncate(response),
        Effect::Corrupt(what) => corrupt(what, call, response),
        _ => {}
    }
}

fn corrupt(what: &Corruption, call: &Call, response: &mut Response) {
    match what {
        Corruption::Status(status) => response.status = valid(*status),
        Corruption::NextLink(link) => {
            let Some(mut body) = page_of(response) else { return };
            let link = if link.is_empty() { same_page(call) } else { link.clone() };
            body.insert("nextLink".into(), link.into());
            response.body = Bytes::from(Value::Object(body).to_string());
        }
        Corruption::Truncate => truncate(response),
        Corruption::Html => html_page(response, "Request Rejected"),
        Corruption::Empty => response.body = Bytes::new(),
    }
}

fn truncate(response: &mut Response) {
    let half = response.body.len() / 2;
    response.body.truncate(half);
}

/// The body of an answer that is a page of a list.
fn page_of(response: &Response) -> Option<serde_json::Map<String, Value>> {
    let Ok(Value::Object(body)) = serde_json::from_slice::<Value>(&response.body) else { return None };
    body.get("value").is_some_and(Value::is_array).then_some(body)
}

/// The address of the page that was asked for.
fn same_page(call: &Call) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in call.query.iter().filter(|(name, _)| name != "$skiptoken") {
        query.append_pair(name, value);
    }
    query.append_pair("$skipToken", call.param("$skiptoken").unwrap_or("0"));
    format!("{}{}?{}", call.base, call.path, query.finish())
}

/// Faults from a seed.
#[derive(Debug, Clone)]
pub struct FaultPlan {
    state: u64,
}

impl FaultPlan {
    /// A handful of faults that fit any estate: the same for the same seed. Every third seed has one of the rarer kinds too
    /// ([`Self::rare`]), drawn apart, so that what a seed meant before these kinds came is still in it.
    #[must_use]
    pub fn random(seed: u64) -> Vec<Fault> {
        let mut plan = Self { state: seed };
        let count = 1 + plan.below(4);
        let mut faults: Vec<Fault> = (0..count).map(|i| plan.fault(i)).collect();
        let mut apart = Self { state: seed ^ 0x7261_7265_0000_0000 };
        if apart.below(3) == 0 {
            faults.push(apart.rare());
        }
        faults
    }

    /// A spoilt answer, a read that is throttled for minutes, or old states of a lock while it is put back.
    fn rare(&mut self) -> Fault {
        const LOCKS: &str = "microsoft.authorization/locks";
        let (name, method, path, effect) = match self.below(6) {
            0 | 1 => ("spoilt-read", "GET", None, Effect::Corrupt(self.corruption(true))),
            2 => {
                let method = ["DELETE", "PUT", "POST"][self.below(3) as usize % 3];
                ("spoilt-change", method, None, Effect::Corrupt(self.corruption(false)))
            }
            3 => {
                ("long-wait", "GET", None, Effect::Throttle { retry_after: u64::from(self.number(60, 590)), times: 1 })
            }
            _ => ("stale-lock", "GET", Some(LOCKS.to_owned()), Effect::StaleRead),
        };
        let stale = effect == Effect::StaleRead;
        // Locks are read a few times before they are removed, and more often when they are put back.
        let nth = if stale { self.number(2, 40) } else { self.number(1, if method == "GET" { 60 } else { 8 }) };
        Fault {
            id: format!("random-{name}"),
            when: Match {
                method: Some(method.to_owned()),
                path_contains: path,
                nth: Some(nth),
                times: stale.then(|| self.number(1, 3)),
            },
            effect,
            seen: 0,
            fired: 0,
        }
    }

    fn corruption(&mut self, page: bool) -> Corruption {
        match self.below(if page { 6 } else { 4 }) {
            0 => Corruption::Truncate,
            1 => Corruption::Html,
            2 => Corruption::Empty,
            3 => {
                const STATUS: [u16; 6] = [204, 302, 400, 404, 418, 502];
                Corruption::Status(STATUS[self.below(6) as usize % STATUS.len()])
            }
            4 => Corruption::NextLink(String::new()),
            _ => Corruption::NextLink("https://management.example.net/subscriptions?api-version=2022-12-01".to_owned()),
        }
    }

    /// The next number of splitmix64.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next_u64() % limit.max(1)
    }

    fn number(&mut self, from: u32, to: u32) -> u32 {
        from + u32::try_from(self.below(u64::from(to - from + 1))).unwrap_or(0)
    }

    fn fault(&mut self, index: u64) -> Fault {
        const PATHS: [&str; 8] = [
            "microsoft.authorization/locks",
            "restorepointcollections",
            "restorepoints",
            "virtualmachines",
            "backupjobs",
            "protecteditems",
            "operations",
            "/backup",
        ];
        let (method, effect) = match self.below(13) {
            0 => (None, Effect::Throttle { retry_after: u64::from(self.number(1, 40)), times: self.number(1, 6) }),
            1 => (None, Effect::LostBefore),
            2 => (None, Effect::LostAfter),
            3 => (None, Effect::NotSent),
            4 => (
                Some("DELETE"),
                Effect::OperationFails {
                    code: "InternalExecutionError".into(),
                    message: "An internal execution error occurred. Please retry later.".into(),
                    after_effect: self.below(2) == 0,
                },
            ),
            5 => (Some("DELETE"), Effect::OperationHangs),
            6 => (None, Effect::Slow { seconds: u64::from(self.number(1, 120)) }),
            7 => (Some("GET"), Effect::StaleRead),
            8 => (Some("GET"), Effect::EmptyPage),
            9 => (Some("GET"), Effect::MalformedBody),
            10 => (None, Effect::Html503),
            11 => (None, Effect::TokenExpired),
            _ => (
                None,
                Effect::Reply {
                    status: [500, 502, 503, 504][self.below(4) as usize % 4],
                    code: "ServerTimeout".into(),
                    message: "The request timed out.".into(),
                    retry_after: (self.below(2) == 0).then_some(10),
                    raw_body: None,
                },
            ),
        };
        let path = PATHS[self.below(PATHS.len() as u64) as usize % PATHS.len()];
        Fault {
            id: format!("random-{index}"),
            when: Match {
                method: method.map(str::to_owned),
                path_contains: (self.below(4) > 0).then(|| path.to_owned()),
                nth: Some(self.number(1, 12)),
                times: None,
            },
            effect,
            seen: 0,
            fired: 0,
        }
    }
}
