//! Faults as data: what goes wrong, when, and how often. What they do to a request is [`crate::faults`].
//!
//! What comes instead of an answer (`reply`, `throttle`, ...) keeps the request from the world. What spoils an answer (`corrupt`,
//! `empty_page`, ...) comes after the request took effect: for a change that equals a lost reply.

use serde::{Deserialize, Serialize};

use crate::world::WorldEvent;

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
    /// The answer is spoilt after the request took effect.
    Corrupt(Corruption),
    /// 503 with HTML, as a proxy answers.
    Html503,
    /// 401 `ExpiredAuthenticationToken`.
    TokenExpired,
    /// Somebody else does something just before the request is served.
    World(WorldEvent),
}

/// What is wrong with an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Corruption {
    /// Its status is this one; the body is what it was.
    Status(u16),
    /// It has this `nextLink`. An empty one stands for the page itself, which never ends.
    NextLink(String),
    /// It breaks off in the middle.
    Truncate,
    /// A proxy's page, with the status that the answer had.
    Html,
    /// Its body is empty.
    Empty,
}

const fn one() -> u32 {
    1
}
