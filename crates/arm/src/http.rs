//! The transport port: one request out, one response back.
//!
//! Everything azmend sends passes through a [`Transport`]: the network (`arm::wire`), the embedded Azure
//! (`sim::Sim`), and decorators such as the read-only guard. A transport never retries, never follows a redirect and
//! never interprets a body; that is the gateway's duty (`arm::gateway`).

use serde::{Deserialize, Serialize};
use std::fmt;
use uuid::Uuid;

use async_trait::async_trait;
use bytes::Bytes;
pub use http::{HeaderMap, HeaderName, HeaderValue, Method};
use url::Url;

/// The mark of a change: journaled before it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tag {
    /// Sent as `x-ms-client-request-id`.
    pub client_request_id: Uuid,
}

impl Tag {
    /// A new, random mark.
    #[must_use]
    pub fn fresh() -> Self {
        Self { client_request_id: Uuid::new_v4() }
    }
}

/// A request as it goes on the wire.
#[derive(Clone)]
pub struct Request {
    /// The verb.
    pub method: Method,
    /// The full address with its query.
    pub url: Url,
    /// The headers; `Authorization` is marked sensitive.
    pub headers: HeaderMap,
    /// The body; empty when there is none.
    pub body: Bytes,
}

/// A response as it came from the wire; any status.
#[derive(Debug, Clone)]
pub struct Response {
    /// The HTTP status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

/// Why no response came back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// The request did not reach the server: name not found, connection refused, TLS refused. Nothing happened there.
    #[error("cannot reach {host}: {why}")]
    NotSent {
        /// Host (and port) that was tried.
        host: String,
        /// What the network said.
        why: String,
    },
    /// The connection broke or timed out after the request may have left: it may have taken effect.
    #[error("the reply from {host} was lost: {why}")]
    Lost {
        /// Host (and port) that was asked.
        host: String,
        /// What the network said.
        why: String,
    },
    /// A decorator of azmend refused to send it (rule S1, S11). Nothing was sent.
    #[error("azmend refused to send {request}: {why}")]
    Refused {
        /// Verb and path.
        request: String,
        /// The rule and the reason.
        why: String,
    },
}

/// Something that can carry a request.
#[async_trait]
pub trait Transport: Send + Sync + fmt::Debug {
    /// Sends once and returns the response of any status.
    ///
    /// # Errors
    /// [`TransportError`] when there is no response; its kind says whether the request may have taken effect.
    async fn send(&self, request: &Request) -> Result<Response, TransportError>;
}

impl Request {
    /// A request without headers and body.
    #[must_use]
    pub fn new(method: Method, url: Url) -> Self {
        Self { method, url, headers: HeaderMap::new(), body: Bytes::new() }
    }

    /// Verb and path, for messages: never the query (signed operation URLs carry secrets there).
    #[must_use]
    pub fn summary(&self) -> String {
        format!("{} {}", self.method, self.url.path())
    }
}

/// Headers and query are left out on purpose: they may carry a token or a signature (S11).
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Request({}, {} body bytes)", self.summary(), self.body.len())
    }
}

impl Response {
    /// A response with a JSON body.
    #[must_use]
    pub fn json(status: u16, body: &serde_json::Value) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        Self { status, headers, body: Bytes::from(body.to_string()) }
    }

    /// A response without a body.
    #[must_use]
    pub fn empty(status: u16) -> Self {
        Self { status, headers: HeaderMap::new(), body: Bytes::new() }
    }

    /// The value of a header when it is present and readable text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Whether the status is 2xx.
    #[must_use]
    pub const fn is_success(&self) -> bool {
        self.status >= 200 && self.status < 300
    }
}
