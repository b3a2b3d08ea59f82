//! Long-running operations: one poll at a time, with a state that can be journaled and resumed.
//!
//! Duty: choose how to follow an accepted operation (Azure-AsyncOperation, else Location, else the resource's own
//! `provisioningState`, else GET until 404), do one poll, and judge it. The loop, its deadline and the journal are the
//! engine's. Sources: the ARM contract for asynchronous operations (azure-resource-manager-rpc, async-api-reference)
//! and recordings (a failed compute operation is HTTP 200 with status `Failed`; `OperationPreempted` is `Canceled`).
//!
//! Invariants: operation URLs carry a signed query: a process follows them as they are, and they are never shown, logged
//! or journaled (S11). What is journaled is [`Operation::unsigned`]; whether Azure answers to it is not verified, so a
//! resumed run tries it, and what it says against it is no answer about the operation: then the resource itself is
//! read. A URL at another host is not followed. An unknown state is "in progress", never success. Success here
//! is not proof: the engine reads the resource back (S4).

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use super::error::{ArmError, ErrorClass};
use super::gateway::Gateway;
use super::http::{Method, Request, Response};
use super::id::ResourceId;
use azmend_base::duration::Span;

/// How many 404s right after the start are taken for "not there yet".
const MAX_MISSES: u8 = 3;
/// How many polls in a row may fail in passing.
const MAX_FAULTS: u8 = 5;

/// How an operation is followed. The URLs are signed: never shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
enum Follow {
    /// The URL of the Azure-AsyncOperation header: a status document.
    AsyncOperation { url: Url },
    /// The URL of the Location header: 202 until it is done.
    Location { url: Url },
    /// The resource itself: `provisioningState`.
    ProvisioningState { url: Url },
    /// The resource that is being deleted: until it answers 404.
    UntilGone { url: Url },
}

/// The parts of a query that sign it: of operation URLs (recorded: `t`, `c`, `s`, `h`), of SAS URLs, and of anything
/// that calls itself a secret.
const SIGNING: [&str; 8] = ["t", "c", "s", "h", "sig", "code", "token", "secret"];

impl Follow {
    const fn url_mut(&mut self) -> &mut Url {
        match self {
            Self::AsyncOperation { url }
            | Self::Location { url }
            | Self::ProvisioningState { url }
            | Self::UntilGone { url } => url,
        }
    }

    fn url(&self) -> &Url {
        match self {
            Self::AsyncOperation { url }
            | Self::Location { url }
            | Self::ProvisioningState { url }
            | Self::UntilGone { url } => url,
        }
    }
}

/// What Azure said to a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    /// It is done; 204 on a delete: the resource did not exist.
    Done {
        /// The HTTP status.
        status: u16,
    },
    /// It was accepted and goes on.
    Accepted(Operation),
}

/// An accepted operation that has not ended: a value that is journaled and resumed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Verb and path of the request that started it.
    pub request: String,
    /// The resource it works on.
    pub resource: ResourceId,
    follow: Follow,
    wait: Span,
    misses: u8,
    faults: u8,
    /// Its URL lost its signature in a journal.
    #[serde(default)]
    unsigned: bool,
}

impl fmt::Debug for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = match self.follow {
            Follow::AsyncOperation { .. } => "Azure-AsyncOperation",
            Follow::Location { .. } => "Location",
            Follow::ProvisioningState { .. } => "provisioningState",
            Follow::UntilGone { .. } => "GET until 404",
        };
        write!(f, "Operation({}, by {by}, misses {}, faults {})", self.request, self.misses, self.faults)
    }
}

/// State of an operation.
#[derive(Debug, Clone, PartialEq)]
pub enum PollState {
    /// Not ended, or not known to have ended.
    InProgress,
    /// Ended well, says Azure. Read the resource back (S4).
    Succeeded {
        /// The body of the last answer; `null` when there was none.
        body: Value,
    },
    /// Ended with an error.
    Failed(ArmError),
    /// Canceled, preempted by another operation included.
    Canceled(ArmError),
    /// The resource that was being deleted answers 404 as a missing one does. Read it (S4).
    Gone,
}

/// What one poll found.
#[derive(Debug, Clone, PartialEq)]
pub struct Poll {
    /// The state.
    pub state: PollState,
    /// How long to wait before the next poll; zero when the operation has ended.
    pub wait: Duration,
    /// The operation to poll next time, and to journal.
    pub operation: Operation,
}

/// Seconds between polls when Azure names none: compute polls no faster than 5 s (its GetOperation limit allows 15 per
/// minute and resource), backup operations were recorded with 60 s.
fn default_wait(path: &str) -> Span {
    let backup = path.to_ascii_lowercase().contains("/microsoft.recoveryservices/");
    Span::from_secs(if backup { 15 } else { 5 })
}

fn is_compute(path: &str) -> bool {
    path.to_ascii_lowercase().contains("/microsoft.compute/")
}

impl Operation {
    /// The operation that `response` says was started by `request`; `None` when the request is already done.
    #[must_use]
    pub fn started(gateway: &Gateway, request: &Request, resource: &ResourceId, response: &Response) -> Option<Self> {
        // A header may be relative or at another host; the second kind is not followed, the next best way is taken.
        let link = |name: &str| {
            let url = gateway.endpoint().join(response.header(name)?.trim()).ok()?;
            gateway.is_home(&url).then_some(url)
        };
        let status_url = link("azure-asyncoperation");
        let accepted = response.status == 202
            || (matches!(response.status, 200 | 201) && response.header("azure-asyncoperation").is_some());
        if !accepted {
            return None;
        }
        let own = |path: &str| {
            let mut url = request.url.clone();
            url.set_path(path);
            url
        };
        let path = request.url.path();
        let follow = match (status_url, link("location")) {
            (Some(url), _) => Follow::AsyncOperation { url },
            (None, Some(url)) => Follow::Location { url },
            (None, None) if request.method == Method::DELETE => Follow::UntilGone { url: own(path) },
            (None, None) if request.method == Method::POST => {
                // `POST {resource}/{action}`: the resource is one segment up.
                Follow::ProvisioningState { url: own(path.rsplit_once('/').map_or(path, |(resource, _)| resource)) }
            }
            (None, None) => Follow::ProvisioningState { url: own(path) },
        };
        let mut operation = Self {
            request: request.summary(),
            resource: resource.clone(),
            follow,
            wait: default_wait(path),
            misses: 0,
            faults: 0,
            unsigned: false,
        };
        operation.wait = operation.next_wait(response_wait(gateway, response));
        Some(operation)
    }

    /// The operation behind an accepted POST whose *result* is wanted: its `Location` is followed where there is one, for
    /// that is where such a POST answers with its body (`final-state-via: location` in the contracts); a status document
    /// says only that it ended.
    #[must_use]
    pub fn with_result(
        gateway: &Gateway,
        request: &Request,
        resource: &ResourceId,
        response: &Response,
    ) -> Option<Self> {
        let mut operation = Self::started(gateway, request, resource, response)?;
        let location = response.header("location").and_then(|link| gateway.endpoint().join(link.trim()).ok());
        if let Some(url) = location.filter(|url| gateway.is_home(url)) {
            operation.follow = Follow::Location { url };
        }
        Some(operation)
    }

    /// The operation without what signs its URL: the form for the journal.
    #[must_use]
    pub fn unsigned(&self) -> Self {
        let mut plain = self.clone();
        let url = plain.follow.url_mut();
        let signs = |name: &str| SIGNING.iter().any(|known| known.eq_ignore_ascii_case(name));
        if url.query_pairs().any(|(name, _)| signs(&name)) {
            let kept: Vec<(String, String)> = url
                .query_pairs()
                .filter(|(name, _)| !signs(name))
                .map(|(name, value)| (name.into_owned(), value.into_owned()))
                .collect();
            url.query_pairs_mut().clear().extend_pairs(kept);
            plain.unsigned = true;
        }
        plain
    }

    /// Whether this answer to a poll only says that the signature is missing, nothing about the operation.
    #[must_use]
    pub fn misses_its_signature(&self, error: &ArmError) -> bool {
        self.unsigned && matches!(error.status(), Some(400..=499)) && error.class() != ErrorClass::Throttled
    }

    /// How long to wait before the next poll: as Azure said with its last answer, or as is usual for the resource.
    #[must_use]
    pub const fn wait(&self) -> Duration {
        self.wait.to_std()
    }

    /// Retry-After as sent, but never 0 and never faster than compute allows.
    fn next_wait(&self, asked: Option<Span>) -> Span {
        let path = self.resource.as_str();
        let wait = asked.filter(|span| span.as_secs() > 0).unwrap_or_else(|| default_wait(path));
        if is_compute(path) { wait.max(Span::from_secs(5)) } else { wait }
    }

    /// Polls once.
    ///
    /// # Errors
    /// When polling itself fails for good: refused, forbidden, or too many faults in a row. The operation's own fate
    /// is then unknown; it is in the error of neither kind of [`PollState`].
    pub async fn poll(&self, gateway: &Gateway) -> Result<Poll, ArmError> {
        let request = Request::new(Method::GET, self.follow.url().clone());
        let result = gateway.read_once(request.clone()).await;
        let asked = match &result {
            Ok(response) => response_wait(gateway, response),
            Err(error) => error.retry_after,
        };
        let mut next = self.clone();
        next.wait = self.next_wait(asked);
        let state = match result {
            Ok(response) => {
                next.faults = 0;
                self.judge(&request, &response)
            }
            Err(error) => self.judge_error(error, &mut next)?,
        };
        let wait = if state == PollState::InProgress { next.wait.to_std() } else { Duration::ZERO };
        Ok(Poll { state, wait, operation: next })
    }

    /// What a 2xx answer means.
    fn judge(&self, request: &Request, response: &Response) -> PollState {
        let body = serde_json::from_slice(response.body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&response.body));
        let body: Value = body.unwrap_or(Value::Null);
        let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let status = text("/status");
        let provisioning = text("/properties/provisioningState");
        match self.follow {
            Follow::AsyncOperation { .. } if response.status == 202 => PollState::InProgress,
            // 200 or 204 without a body ends an operation (field experience of go-azure-sdk's poller).
            Follow::AsyncOperation { .. } | Follow::Location { .. } if response.body.is_empty() => {
                if response.status == 202 { PollState::InProgress } else { PollState::Succeeded { body } }
            }
            Follow::AsyncOperation { .. } => {
                let state = if status.is_empty() { provisioning } else { status };
                self.by_name(&state, request, response, body)
            }
            // A Location may answer with a status document; otherwise its HTTP status speaks.
            Follow::Location { .. } if !status.is_empty() => self.by_name(&status, request, response, body),
            Follow::Location { .. } if response.status == 202 => PollState::InProgress,
            Follow::Location { .. } => PollState::Succeeded { body },
            Follow::ProvisioningState { .. } if body.is_null() => PollState::InProgress,
            // ARM contract: a resource without provisioningState is ready.
            Follow::ProvisioningState { .. } if provisioning.is_empty() => PollState::Succeeded { body },
            Follow::ProvisioningState { .. } => self.by_name(&provisioning, request, response, body),
            // It answers, so it is still there; `Succeeded` may be the state from before the deletion.
            Follow::UntilGone { .. } if provisioning.eq_ignore_ascii_case("Failed") => {
                PollState::Failed(ArmError::from_operation(&self.request, request, response, &provisioning))
            }
            Follow::UntilGone { .. } => PollState::InProgress,
        }
    }

    fn by_name(&self, state: &str, request: &Request, response: &Response, body: Value) -> PollState {
        let error = || ArmError::from_operation(&self.request, request, response, state);
        match state.to_ascii_lowercase().as_str() {
            "succeeded" => PollState::Succeeded { body },
            "failed" => {
                let error = error();
                if error.has_code("OperationPreempted") { PollState::Canceled(error) } else { PollState::Failed(error) }
            }
            "canceled" | "cancelled" => PollState::Canceled(error()),
            "deleted" => PollState::Gone,
            _ => PollState::InProgress,
        }
    }

    /// What an error answer to a poll means: mostly nothing about the operation.
    fn judge_error(&self, error: ArmError, next: &mut Self) -> Result<PollState, ArmError> {
        let missing = error.status() == Some(404);
        if missing && matches!(self.follow, Follow::UntilGone { .. }) && error.says_absent(&self.resource) {
            return Ok(PollState::Gone);
        }
        if missing && self.misses < MAX_MISSES {
            next.misses += 1;
            return Ok(PollState::InProgress);
        }
        if self.misses_its_signature(&error) {
            return Err(error);
        }
        let passing = match error.class() {
            ErrorClass::Throttled | ErrorClass::Transient | ErrorClass::Lost | ErrorClass::NotSent => true,
            ErrorClass::SignIn => error.status().is_some(),
            _ => false,
        };
        if passing && self.faults < MAX_FAULTS {
            next.faults += 1;
            return Ok(PollState::InProgress);
        }
        // ARM contract: a Location answers at the end with what the request itself would have answered.
        let conclusive = !self.unsigned && matches!(error.status(), Some(400 | 409 | 412));
        if conclusive && matches!(self.follow, Follow::Location { .. }) {
            return Ok(PollState::Failed(error));
        }
        Err(error)
    }
}

fn response_wait(gateway: &Gateway, response: &Response) -> Option<Span> {
    super::error_body::retry_after(&response.headers, gateway.now())
}

#[cfg(test)]
#[path = "poll_tests.rs"]
mod tests;
