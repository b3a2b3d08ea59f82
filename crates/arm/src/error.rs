//! What Azure (or the way to it) answered instead of success.
//!
//! Duty: one error type with everything a person, a rule or the journal needs, and one place that decides what an error
//! means ([`ArmError::class`]). Invariants: the request is verb and path only, so no signed query and no token can get
//! into an error (S11); nothing here decides whether to send again. The parsing of bodies is in `error_body`.

use std::fmt;
use std::ops::Deref;

use serde::{Deserialize, Serialize};

use super::id::ResourceId;
use azmend_base::duration::Span;

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
    /// Azure answered that something is not there: the resource, its group, its subscription. Good for a message; a proof
    /// only as far as `Arm::proves_absence` says.
    NotFound,
    /// The caller lacks a permission, or the resource belongs to somebody who alone may do it (a lock of a system
    /// application).
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
    /// A backup of the item is running (`UserErrorBackupOperationInProgress`, as the catalogue of errors has it): no other one
    /// is started until it ends, and asking again at once changes nothing.
    BackupRunning,
    /// Another operation holds the resource, or a state that may pass: to be tried again for a while. One that stays is a
    /// failure in Azure's words.
    Conflict,
    /// Azure is deleting it, or what holds it ("marked for deletion"): only the deletion may be sent again.
    BeingDeleted,
    /// A state that waiting does not change (a disk is attached, a VM is not running): a failure in Azure's words.
    NotAllowed,
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

/// Codes that say the request never reached a resource that could be missing.
const NOT_A_MISSING_RESOURCE: [&str; 6] = [
    "InvalidResourceType",
    "InvalidResourceNamespace",
    "NoRegisteredProviderFound",
    "MissingSubscriptionRegistration",
    "InvalidApiVersionParameter",
    "MissingApiVersionParameter",
];

impl ArmError {
    /// Whether Azure could not be reached: the network, the sign-in (no token, or none that is taken), or a fault of Azure
    /// that passes. Azure that asks to wait ([`ErrorClass::Throttled`]) or says no was reached.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        use ErrorClass::{Lost, NotSent, SignIn, Transient};
        matches!(self.class(), NotSent | Lost | Transient | SignIn)
    }

    /// Whether the same request may be answered later, though nothing is changed until then: Azure could not be reached, or
    /// asks to wait.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        self.is_unreachable() || self.class() == ErrorClass::Throttled
    }

    /// What it means. `OperationNotAllowed` is many different things, so status, inner codes and text decide together.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        let status = match self.kind {
            ErrorKind::NotSent => return ErrorClass::NotSent,
            ErrorKind::Lost => return ErrorClass::Lost,
            ErrorKind::Refused => return ErrorClass::Refused,
            ErrorKind::SignIn => return ErrorClass::SignIn,
            ErrorKind::Malformed => return ErrorClass::Other,
            ErrorKind::Http { status } => status,
        };
        if self.has_code("ScopeLocked") {
            return ErrorClass::ScopeLocked;
        }
        if self.has_code("DiskRestorePointUsedByCustomer") || self.message.contains("DiskRestorePointUsedByCustomer") {
            return ErrorClass::InUse;
        }
        // With and without the prefix `BMS`: which one a trigger is answered with is not verified.
        if self.has_code("UserErrorBackupOperationInProgress") || self.has_code("BMSUserErrorBackupOperationInProgress")
        {
            return ErrorClass::BackupRunning;
        }
        if status == 429
            || self.has_code("TooManyRequests")
            || self.has_code("RateLimiting")
            || self.code.ends_with("RequestsThrottled")
            || (self.has_code("OperationNotAllowed") && self.says("too many requests"))
        {
            return ErrorClass::Throttled;
        }
        // 401 with a token that is good: a lock that a system application owns (MicrosoftDocs/azure-docs #22411).
        if self.has_code("UnauthorizedApplicationId") {
            return ErrorClass::Forbidden;
        }
        if status == 401 || self.has_code("ExpiredAuthenticationToken") || self.has_code("InvalidAuthenticationToken") {
            return ErrorClass::SignIn;
        }
        if let Some(class) = self.operation_not_allowed() {
            return class;
        }
        match status {
            403 if self.denied_by_assignment() => ErrorClass::DeniedByAssignment,
            403 => ErrorClass::Forbidden,
            404 if self.is_not_found() => ErrorClass::NotFound,
            408 | 500 | 502..=504 => ErrorClass::Transient,
            409 | 412 => ErrorClass::Conflict,
            200..=299 => self.failed_operation(),
            _ if self.code.starts_with("RetryableError") => ErrorClass::Transient,
            _ => ErrorClass::Other,
        }
    }

    /// The class of an operation that was accepted and failed later; its HTTP status says nothing.
    fn failed_operation(&self) -> ErrorClass {
        const TRANSIENT: [&str; 9] = [
            "InternalExecutionError",
            "InternalServerError",
            "InternalError",
            "InternalOperationError",
            "OperationTimedOut",
            "ServerTimeout",
            "GatewayTimeout",
            "CloudInternalError",
            "RestApiInternalError",
        ];
        const CONFLICT: [&str; 4] = ["OperationPreempted", "Conflict", "Canceled", "AttachDiskWhileBeingDetached"];
        let any = |codes: &[&str]| codes.iter().any(|code| self.code.eq_ignore_ascii_case(code));
        if any(&TRANSIENT) || self.code.starts_with("RetryableError") {
            ErrorClass::Transient
        } else if any(&["ResourceGroupBeingDeleted"]) {
            ErrorClass::BeingDeleted
        } else if any(&CONFLICT) {
            ErrorClass::Conflict
        } else if any(&["ResourceNotFound", "NotFound"]) {
            ErrorClass::NotFound
        } else if any(&["AuthorizationFailed", "LinkedAuthorizationFailed"]) {
            ErrorClass::Forbidden
        } else {
            ErrorClass::Other
        }
    }

    /// `OperationNotAllowed`: quota of points, VM changed meanwhile, a deletion under way, or a state that forbids it
    /// (throttling is decided before). Texts: "Common VM error codes in Azure" and the documentation of restore point
    /// troubleshooting; "is attached to VM" and "since the VM is running" are recorded. A text that is not known is taken
    /// for a conflict, which is tried again for a while.
    fn operation_not_allowed(&self) -> Option<ErrorClass> {
        if self.says("changes were made to the virtual machine while") {
            return Some(ErrorClass::VmChanged);
        }
        if self.has_code("ResourceGroupBeingDeleted") {
            return Some(ErrorClass::BeingDeleted);
        }
        if !self.has_code("OperationNotAllowed") {
            return None;
        }
        let any = |texts: &[&str]| texts.iter().any(|text| self.says(text));
        if self.says("restore point") && any(&["cannot exceed", "exceeds the limit", "maximum allowed", "limit of"]) {
            return Some(ErrorClass::RestorePointQuota);
        }
        if self.says("marked for deletion") {
            return Some(ErrorClass::BeingDeleted);
        }
        let stays = [
            "is attached to",
            "when the vm is not running",
            "since the vm is running",
            "is generalized",
            "in failed state",
            "trusted launch",
            "quota",
            "not supported",
        ];
        Some(if any(&stays) { ErrorClass::NotAllowed } else { ErrorClass::Conflict })
    }

    /// Whether the message, or that of an inner error, has these words (lower case).
    fn says(&self, words: &str) -> bool {
        let has = |text: &str| text.to_lowercase().contains(words);
        has(&self.message) || self.details.iter().any(|detail| has(&detail.message))
    }

    fn denied_by_assignment(&self) -> bool {
        self.has_code("DenyAssignmentAuthorizationFailed") || self.message.to_lowercase().contains("deny assignment")
    }

    /// A 404 counts as "not there" only when ARM itself says so: a proxy's page or a wrong path must never pass for a
    /// deleted resource.
    fn is_not_found(&self) -> bool {
        if self.code.is_empty() {
            return !self.request_id.is_empty() || !self.correlation_id.is_empty();
        }
        !NOT_A_MISSING_RESOURCE.iter().any(|code| self.code.eq_ignore_ascii_case(code))
    }

    /// Whether the code or an inner code is `code` (without case).
    #[must_use]
    pub fn has_code(&self, code: &str) -> bool {
        self.code.eq_ignore_ascii_case(code) || self.details.iter().any(|detail| detail.code.eq_ignore_ascii_case(code))
    }

    /// Whether the answer has a code, as each of Azure's refusals has.
    fn is_azures(&self) -> bool {
        !self.code.is_empty() || self.details.iter().any(|detail| !detail.code.is_empty())
    }

    /// The HTTP status, if Azure answered.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self.kind {
            ErrorKind::Http { status } => Some(status),
            _ => None,
        }
    }

    /// Whether the request may have changed something although it ended in this error. A 5xx may (a 503 was seen on a
    /// request that took effect); a 4xx is a refusal before anything happened, except 408. That is so of Azure's answers,
    /// which have a code: one without may be a proxy's, which may have passed the request on and lost the answer. Only what
    /// such a one says before it passes anything on (who are you, too many) counts as a refusal.
    #[must_use]
    pub fn may_have_taken_effect(&self) -> bool {
        match self.kind {
            ErrorKind::NotSent | ErrorKind::Refused | ErrorKind::SignIn => false,
            ErrorKind::Lost | ErrorKind::Malformed => true,
            ErrorKind::Http { status: 401 | 407 | 429 } => false,
            ErrorKind::Http { status } => status == 408 || !(400..=499).contains(&status) || !self.is_azures(),
        }
    }

    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        if self.has_code("MissingSubscriptionRegistration") {
            let namespace = quoted_after(&self.message, "namespace").unwrap_or_else(|| "<namespace>".to_owned());
            let subscription = self.subscription().map(|s| format!(" --subscription {s}")).unwrap_or_default();
            return Some(format!("register the provider: az provider register --namespace {namespace}{subscription}"));
        }
        Some(match self.class() {
            ErrorClass::SignIn => "sign in again (az login), or check the identity azmend runs as (--auth)".to_owned(),
            ErrorClass::Forbidden if self.has_code("RequestDisallowedByPolicy") => {
                "an Azure Policy assignment denies this; its owner can grant an exemption".to_owned()
            }
            ErrorClass::Forbidden if self.has_code("UnauthorizedApplicationId") => {
                match quoted_after(&self.message, "system application") {
                    Some(owner) => format!("the application {owner} owns it, and no other identity may delete it"),
                    None => "an application owns it, and no other identity may delete it".to_owned(),
                }
            }
            ErrorClass::Forbidden => match quoted_after(&self.message, "perform action") {
                Some(action) => format!("the identity needs the permission {action} at this scope"),
                None => "the identity needs a role that grants this at this scope".to_owned(),
            },
            ErrorClass::DeniedByAssignment => {
                "a deny assignment (managed application, blueprint) forbids it; a role cannot lift it".to_owned()
            }
            ErrorClass::ScopeLocked if !self.locked_scopes.is_empty() => {
                format!("a management lock is on {}", self.locked_scopes.join(", "))
            }
            ErrorClass::ScopeLocked => "a management lock is on the resource or above it".to_owned(),
            ErrorClass::Throttled => match self.retry_after {
                Some(wait) => format!("Azure asks to wait {wait}"),
                None => "too many requests: wait some minutes".to_owned(),
            },
            ErrorClass::BeingDeleted => {
                "Azure is deleting it: wait until that has ended, then run azmend again".to_owned()
            }
            ErrorClass::NotSent => "check the network, the proxy (HTTPS_PROXY) and SSL_CERT_FILE".to_owned(),
            ErrorClass::BackupRunning => "wait until that backup has ended, then run azmend again".to_owned(),
            ErrorClass::InUse => {
                "a shared access on a disk restore point is active; end it (EndGetAccess) or wait until it expires"
                    .to_owned()
            }
            ErrorClass::Lost => "it may have taken effect: read the resource before doing it again".to_owned(),
            _ => return None,
        })
    }

    /// The subscription of the request.
    fn subscription(&self) -> Option<&str> {
        let mut segments = self.request.split('/');
        segments.find(|segment| segment.eq_ignore_ascii_case("subscriptions"))?;
        segments.next()
    }

    /// What was asked, for people: `delete restorePointCollections backup-rg/AzureBackup_web_1`.
    fn subject(&self) -> String {
        let Some((method, path)) = self.request.split_once(' ') else { return self.request.clone() };
        let verb = match method {
            "GET" => "read",
            "DELETE" => "delete",
            "PUT" => "write",
            "POST" => "call",
            other => other,
        };
        let decoded = percent_decode(path);
        let Ok(id) = ResourceId::parse(&decoded) else { return format!("{verb} {decoded}") };
        if !decoded.contains("/providers/") {
            return format!("{verb} {id}");
        }
        let kind = id.as_str().rsplit('/').nth(1).unwrap_or_default();
        format!("{verb} {kind} {}", id.short_name())
    }
}

impl fmt::Display for ArmError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.subject())?;
        match self.kind {
            ErrorKind::Http { status } if status < 300 => write!(f, "the operation failed: ")?,
            ErrorKind::Http { status } => write!(f, "{status} ")?,
            ErrorKind::Refused => write!(f, "not sent: ")?,
            ErrorKind::Malformed => write!(f, "the answer cannot be read: ")?,
            ErrorKind::NotSent | ErrorKind::Lost | ErrorKind::SignIn => {}
        }
        if self.code.is_empty() { f.write_str(&self.message) } else { write!(f, "{}: {}", self.code, self.message) }
    }
}

/// The first text in quotes after `word`.
fn quoted_after(message: &str, word: &str) -> Option<String> {
    let (_, rest) = message.split_once(word)?;
    let mut parts = rest.split('\'');
    parts.next()?;
    let found = parts.next()?;
    found
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '/' | '*' | '-' | '_'))
        .then(|| found.to_owned())
}

/// Percent-decoding, to show a path and to compare it with an id; never to build one.
pub(super) fn percent_decode(path: &str) -> String {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let hex = tail.get(..2).and_then(|h| std::str::from_utf8(h).ok()).and_then(|h| u8::from_str_radix(h, 16).ok());
        match (first, hex) {
            (b'%', Some(byte)) if !byte.is_ascii_control() => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
#[path = "error_tests.rs"]
mod tests;
