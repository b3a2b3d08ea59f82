//! Faults: what goes wrong, when, and how often.
//!
//! A fault counts the requests it matches and fires on some of them. The same faults and the same requests give the same world:
//! [`FaultPlan::random`] makes them from a seed with its own generator (splitmix64).

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::throttle;
use super::wire::{Call, error_body, error_response, gateway_error, set_header};
use super::world::{World, WorldEvent};
use crate::arm::http::{HeaderValue, Response};
use bytes::Bytes;

/// One thing that goes wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// A name for people.
    pub id: String,
    /// Which requests.
    #[serde(rename = "match", default)]
    pub when: Match,
    /// What happens.
    pub effect: Effect,
    /// Requests matched so far.
    #[serde(default)]
    pub seen: u32,
    /// Times fired so far.
    #[serde(default)]
    pub fired: u32,
}

/// Which requests a fault is for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Match {
    /// The verb.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// A part of the path, in any case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_contains: Option<String>,
    /// The first request to hit, counted among the matches from 1; default the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nth: Option<u32>,
    /// How many in a row; default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
}

/// What a fault does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Effect {
    /// This response instead; nothing happens to the world.
    Reply {
        /// Status.
        status: u16,
        /// Error code.
        #[serde(default)]
        code: String,
        /// Message.
        #[serde(default)]
        message: String,
        /// Retry-After in seconds.
        #[serde(default)]
        retry_after: Option<u64>,
        /// A body instead of the error object.
        #[serde(default)]
        raw_body: Option<String>,
    },
    /// 429 `SubscriptionRequestsThrottled`.
    Throttle {
        /// Retry-After in seconds.
        retry_after: u64,
        /// How many in a row.
        #[serde(default = "one")]
        times: u32,
    },
    /// The connection breaks before anything happens.
    LostBefore,
    /// The connection breaks after it happened.
    LostAfter,
    /// The request is not sent.
    NotSent,
    /// The request is accepted, and its operation ends Failed.
    OperationFails {
        /// Error code.
        code: String,
        /// Message.
        #[serde(default)]
        message: String,
        /// Whether the effect happens all the same.
        #[serde(default)]
        after_effect: bool,
    },
    /// The request is accepted, and its operation never ends.
    OperationHangs,
    /// It takes this long.
    Slow {
        /// Seconds.
        seconds: u64,
    },
    /// The state before the world's last change is served.
    StaleRead,
    /// A page without rows, with a link to the page again.
    EmptyPage,
    /// The JSON breaks off in the middle.
    MalformedBody,
    /// 503 with HTML, as a proxy answers.
    Html503,
    /// 401 `ExpiredAuthenticationToken`.
    TokenExpired,
    /// Somebody else does something just before the request is served.
    World(WorldEvent),
}

const fn one() -> u32 {
    1
}

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

/// Remembers the world before a change, when a stale read may ask for it.
pub(crate) fn keep_before(world: &mut World) {
    let waiting = world.faults.iter().any(|f| f.effect == Effect::StaleRead && f.fired < f.when.times.unwrap_or(1));
    if !waiting {
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
            response.headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
            response.body = Bytes::from_static(b"<html><head><title>503 Service Unavailable</title></head><body><h1>Service Unavailable</h1></body></html>");
            response
        }
        Effect::TokenExpired => *expired_token(),
        _ => return None,
    };
    Some(response)
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
            let Ok(Value::Object(mut body)) = serde_json::from_slice::<Value>(&response.body) else { return };
            if !body.get("value").is_some_and(Value::is_array) {
                return;
            }
            body.insert("value".into(), Value::Array(Vec::new()));
            let mut query = url::form_urlencoded::Serializer::new(String::new());
            for (name, value) in call.query.iter().filter(|(name, _)| name != "$skiptoken") {
                query.append_pair(name, value);
            }
            query.append_pair("$skipToken", call.param("$skiptoken").unwrap_or("0"));
            body.insert("nextLink".into(), format!("{}{}?{}", call.base, call.path, query.finish()).into());
            response.body = Bytes::from(Value::Object(body).to_string());
        }
        Effect::MalformedBody => {
            let half = response.body.len() / 2;
            response.body.truncate(half);
        }
        _ => {}
    }
}

/// Faults from a seed.
#[derive(Debug, Clone)]
pub struct FaultPlan {
    state: u64,
}

impl FaultPlan {
    /// A handful of faults that fit any estate: the same for the same seed.
    #[must_use]
    pub fn random(seed: u64) -> Vec<Fault> {
        let mut plan = Self { state: seed };
        let count = 1 + plan.below(4);
        (0..count).map(|i| plan.fault(i)).collect()
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
