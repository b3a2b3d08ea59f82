//! What Azure (or the way to it) answered instead of success.
//!
//! Duty: one error type with everything a person, a rule or the journal needs, and one place that decides what an error
//! means ([`ArmError::class`]). Invariants: the request is verb and path only, so no signed query and no token can get
//! into an error (S11); nothing here decides whether to send again. The parsing of bodies is in `error_body`.

use std::fmt;
use std::ops::Deref;

use serde::{Deserialize, Serialize};

use crate::duration::Span;

/// How the request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// It never reached Azure.
    NotSent,
    /// The reply was lost: it may have taken effect.
    Lost,
    /// azmend refused to send it.
    Refused,
    /// Azure answered with this status (200 when an accepted operation failed later).
    Http {
        /// The HTTP status code.
        status: u16,
    },
    /// Azure answered, and the answer could not be read.
    Malformed,
    /// No token could be had.
    SignIn,
}

/// One entry of an error's `details`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorDetail {
    /// Code; may be empty.
    pub code: String,
    /// Text; may be empty.
    pub message: String,
}

/// The content of an [`ArmError`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Verb and path of the request; never its query.
    pub request: String,
    /// How it ended.
    pub kind: ErrorKind,
    /// Azure's code; empty when it sent none.
    pub code: String,
    /// Azure's text, or what the network said.
    pub message: String,
    /// Azure's `target`; usually empty.
    pub target: String,
    /// Inner errors.
    pub details: Vec<ErrorDetail>,
    /// `x-ms-request-id`.
    pub request_id: String,
    /// The `x-ms-client-request-id` that was sent.
    pub client_request_id: String,
    /// `x-ms-correlation-request-id`.
    pub correlation_id: String,
    /// How long Azure asks to wait: from a header or from the prose.
    pub retry_after: Option<Span>,
    /// The scopes that a `ScopeLocked` message names.
    pub locked_scopes: Vec<String>,
}

/// An error of a call to Azure; its fields are those of [`Failure`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ArmError(Box<Failure>);

/// What an error means to azmend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorClass {
    /// The resource, its group or its subscription is not there.
    NotFound,
    /// The caller lacks a permission.
    Forbidden,
    /// A deny assignment forbids it.
    DeniedByAssignment,
    /// A management lock forbids it.
    ScopeLocked,
    /// Too many requests: wait.
    Throttled,
    /// A fault of Azure that passes.
    Transient,
    /// A disk restore point is in use by a customer (`DiskRestorePointUsedByCustomer`): refused, not retried.
    InUse,
    /// Another operation holds the resource, or its state forbids this now.
    Conflict,
    /// The VM changed while a restore point was being made.
    VmChanged,
    /// The number of restore points cannot grow further.
    RestorePointQuota,
    /// Not signed in, or the token was not accepted.
    SignIn,
    /// The reply was lost.
    Lost,
    /// It never reached Azure.
    NotSent,
    /// azmend refused to send it.
    Refused,
    /// Anything else.
    Other,
}

impl Deref for ArmError {
    type Target = Failure;

    fn deref(&self) -> &Failure {
        &self.0
    }
}

impl From<Failure> for ArmError {
    fn from(failure: Failure) -> Self {
        Self(Box::new(failure))
    }
}

impl std::error::Error for ArmError {}

impl fmt::Display for ArmError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.request, self.message)
    }
}

impl ArmError {
    /// What it means.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        ErrorClass::Other
    }

    /// The HTTP status, if Azure answered.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self.kind {
            ErrorKind::Http { status } => Some(status),
            _ => None,
        }
    }

    /// Whether the request may have changed something although it ended in this error.
    #[must_use]
    pub fn may_have_taken_effect(&self) -> bool {
        true
    }

    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        None
    }
}
