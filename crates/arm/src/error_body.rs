//! From a response to an [`ArmError`]: every shape of an error body, every way to say "wait", every request id.
//!
//! Duty: read what Azure (or a proxy in front of it) sent, whatever it is; reading never fails. Shapes seen in recordings
//! and documents: nested `error`, bare `code`/`message`, `Code`/`Message`, `ErrorCode`/`Message{}`, `odata.error`, an
//! array, HTML, empty, with a byte order mark. Invariants: texts are bounded, without control characters, and without
//! the value of a signature (S11).

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::error::{ArmError, ErrorDetail, ErrorKind, Failure};
use super::http::{HeaderMap, Request, Response, TransportError};
use super::token::SignInError;
use azmend_base::clock::elapsed;
use azmend_base::duration::Span;

/// The longest text kept of a message.
const MAX_TEXT: usize = 4096;
/// The most details kept.
const MAX_DETAILS: usize = 20;

impl ArmError {
    /// The error of a response that is not a success; `now` resolves a Retry-After that is a date.
    #[must_use]
    pub fn from_response(request: &Request, response: &Response, now: Timestamp) -> Self {
        let mut failure = parse_body(&response.body);
        failure.request = request.summary();
        failure.kind = ErrorKind::Http { status: response.status };
        if failure.message.is_empty() {
            failure.message = match response.status {
                300..=399 => "a redirect, which azmend does not follow with a token".to_owned(),
                _ => format!("HTTP status {} without an explanation", response.status),
            };
        }
        if failure.code.is_empty()
            && let Some(code) = response.header("x-ms-error-code")
        {
            failure.code = clean(code);
        }
        fill_ids(&mut failure, request, response);
        failure.retry_after = retry_after(&response.headers, now).or_else(|| prose_wait(&failure.message));
        Self::from(failure)
    }

    /// The error inside the answer of an operation that was accepted and failed later (HTTP 200, status `Failed`).
    #[must_use]
    pub fn from_operation(request: &str, poll: &Request, response: &Response, status: &str) -> Self {
        let mut failure = parse_body(&response.body);
        failure.request = request.to_owned();
        failure.kind = ErrorKind::Http { status: response.status };
        if failure.code.is_empty() {
            failure.code = clean(status);
        }
        if failure.message.is_empty() {
            failure.message = format!("the operation ended with status {}", clean(status));
        }
        fill_ids(&mut failure, poll, response);
        // A Retry-After here speaks of the next poll (480 s was recorded on a terminal status), not of a new attempt.
        failure.retry_after = prose_wait(&failure.message);
        Self::from(failure)
    }

    /// The error of a request without a response.
    #[must_use]
    pub fn from_transport(request: &Request, error: &TransportError) -> Self {
        let (kind, message) = match error {
            TransportError::NotSent { .. } => (ErrorKind::NotSent, error.to_string()),
            TransportError::Lost { .. } => (ErrorKind::Lost, error.to_string()),
            TransportError::Refused { why, .. } => (ErrorKind::Refused, why.clone()),
        };
        Self::from(Failure {
            request: request.summary(),
            kind,
            message: clean(&message),
            client_request_id: header(&request.headers, "x-ms-client-request-id"),
            ..Failure::empty()
        })
    }

    /// azmend held a change back because its bucket is empty for `wait`: nothing was sent.
    #[must_use]
    pub fn held_back(request: &Request, wait: Duration) -> Self {
        Self::from(Failure {
            request: request.summary(),
            kind: ErrorKind::Http { status: 429 },
            code: "TooManyRequests".to_owned(),
            message: "held back by azmend to stay under Azure's limits; nothing was sent".to_owned(),
            client_request_id: header(&request.headers, "x-ms-client-request-id"),
            retry_after: Some(Span::from_secs(wait.as_secs().saturating_add(1))),
            ..Failure::empty()
        })
    }

    /// azmend did not send it.
    #[must_use]
    pub fn refused(request: &str, why: &str) -> Self {
        Self::from(Failure {
            request: request.to_owned(),
            kind: ErrorKind::Refused,
            message: clean(why),
            ..Failure::empty()
        })
    }

    /// Azure answered, and the answer could not be read.
    #[must_use]
    pub fn malformed(request: &str, why: &str) -> Self {
        Self::from(Failure {
            request: request.to_owned(),
            kind: ErrorKind::Malformed,
            message: clean(why),
            ..Failure::empty()
        })
    }

    /// No token could be had.
    #[must_use]
    pub fn sign_in(request: &str, error: &SignInError) -> Self {
        Self::from(Failure {
            request: request.to_owned(),
            kind: ErrorKind::SignIn,
            message: clean(&error.to_string()),
            ..Failure::empty()
        })
    }
}

impl Failure {
    fn empty() -> Self {
        Self {
            request: String::new(),
            kind: ErrorKind::Malformed,
            code: String::new(),
            message: String::new(),
            target: String::new(),
            details: Vec::new(),
            request_id: String::new(),
            client_request_id: String::new(),
            correlation_id: String::new(),
            retry_after: None,
            locked_scopes: Vec::new(),
        }
    }
}

fn fill_ids(failure: &mut Failure, request: &Request, response: &Response) {
    failure.request_id = header(&response.headers, "x-ms-request-id");
    failure.correlation_id = header(&response.headers, "x-ms-correlation-request-id");
    failure.client_request_id = header(&request.headers, "x-ms-client-request-id");
    if failure.code.eq_ignore_ascii_case("ScopeLocked") {
        failure.locked_scopes = locked_scopes(&failure.message);
    }
}

fn header(headers: &HeaderMap, name: &str) -> String {
    headers.get(name).and_then(|value| value.to_str().ok()).map(clean).unwrap_or_default()
}

/// A text from Azure made safe to keep and to show: bounded, one line, without the value of a signature.
#[must_use]
pub fn clean(text: &str) -> String {
    let mut out = String::new();
    let mut space = false;
    for c in text.chars() {
        if out.len() >= MAX_TEXT {
            out.push('…');
            break;
        }
        // Control characters, and the invisible ones that reorder text in a terminal.
        if c.is_control()
            || c.is_whitespace()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
        {
            space = !out.is_empty();
        } else {
            if std::mem::take(&mut space) {
                out.push(' ');
            }
            out.push(c);
        }
    }
    redact_signatures(&out)
}

/// Cuts the value of `sig=` and of the parts of a signed operation URL (`&c=`, `&s=`, `&h=`).
fn redact_signatures(text: &str) -> String {
    let mut out = text.to_owned();
    for mark in ["sig=", "&c=", "&s=", "&h=", "Bearer "] {
        let mut from = 0;
        while let Some(found) = out[from..].find(mark) {
            let start = from + found + mark.len();
            let end = out[start..]
                .find(|c: char| {
                    !(c.is_ascii_alphanumeric() || matches!(c, '%' | '-' | '_' | '.' | '~' | '+' | '/' | '='))
                })
                .map_or(out.len(), |length| start + length);
            out.replace_range(start..end, "…");
            from = start;
        }
    }
    out
}

/// Reads whatever was sent. Only `code`, `message`, `target` and `details` are filled.
fn parse_body(body: &[u8]) -> Failure {
    let text = String::from_utf8_lossy(body);
    let text = text.trim_start_matches('\u{feff}').trim();
    let mut failure = Failure::empty();
    if text.is_empty() {
        return failure;
    }
    match serde_json::from_str::<Value>(text) {
        Ok(value) => read_value(&value, &mut failure),
        Err(_) if text.starts_with('<') => {
            let title = html_title(text).map_or_else(String::new, |title| format!(": {}", clean(&title)));
            failure.message = format!("an HTML page instead of JSON, perhaps from a proxy{title}");
        }
        Err(_) => failure.message = clean(text),
    }
    failure
}

fn html_title(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    let start = lower.find("<title>")? + "<title>".len();
    let end = start + lower[start..].find("</title>")?;
    Some(text.get(start..end)?.trim().to_owned())
}

fn read_value(value: &Value, failure: &mut Failure) {
    match value {
        Value::Array(items) => {
            let mut items = items.iter();
            if let Some(first) = items.next() {
                read_value(first, failure);
            }
            for item in items {
                push_detail(item, failure);
            }
        }
        Value::Object(_) => {
            let inner =
                ["error", "Error", "odata.error"].iter().find_map(|key| value.get(key)).filter(|v| !v.is_null());
            match inner {
                Some(Value::String(text)) => failure.message = clean(text),
                Some(inner) => read_error(inner, failure),
                None => read_error(value, failure),
            }
            // OAuth shape, from a sign-in page or an API gateway.
            if failure.message.is_empty() {
                failure.message = text_of(value, &["error_description"]);
            }
        }
        Value::String(text) => failure.message = clean(text),
        _ => {}
    }
}

fn read_error(error: &Value, failure: &mut Failure) {
    if error.is_array() {
        return read_value(error, failure);
    }
    failure.code = text_of(error, &["code", "Code", "ErrorCode", "errorCode"]);
    failure.message = text_of(error, &["message", "Message", "errorMessage"]);
    failure.target = text_of(error, &["target", "Target"]);
    for key in ["details", "Details"] {
        if let Some(Value::Array(items)) = error.get(key) {
            for item in items {
                push_detail(item, failure);
            }
        }
    }
    for key in ["innererror", "innerError", "InnerError"] {
        if let Some(inner) = error.get(key).filter(|inner| inner.is_object()) {
            push_detail(inner, failure);
        }
    }
}

fn push_detail(item: &Value, failure: &mut Failure) {
    let item = item.get("error").unwrap_or(item);
    let detail = ErrorDetail {
        code: text_of(item, &["code", "Code", "ErrorCode"]),
        message: text_of(item, &["message", "Message"]),
    };
    if failure.details.len() < MAX_DETAILS && (!detail.code.is_empty() || !detail.message.is_empty()) {
        failure.details.push(detail);
    }
}

/// The first of `keys` that holds text, a number, or an object with a `value` (localised messages).
fn text_of(value: &Value, keys: &[&str]) -> String {
    for key in keys {
        match value.get(key) {
            Some(Value::String(text)) => return clean(text),
            Some(Value::Number(number)) => return number.to_string(),
            Some(Value::Object(map)) => {
                if let Some(text) = ["value", "Value", "message", "Message"].iter().find_map(|k| map.get(*k)?.as_str())
                {
                    return clean(text);
                }
            }
            _ => {}
        }
    }
    String::new()
}

/// The wait a response asks for in its headers: milliseconds, seconds or an HTTP date.
#[must_use]
pub fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Span> {
    for name in ["retry-after-ms", "x-ms-retry-after-ms"] {
        if let Ok(ms) = header(headers, name).parse::<u64>() {
            return Some(Span::from_secs(ms.div_ceil(1000)));
        }
    }
    let value = header(headers, "retry-after");
    if value.is_empty() {
        return quota_reset(headers);
    }
    if let Ok(seconds) = value.parse::<f64>() {
        return (seconds.is_finite() && seconds >= 0.0)
            .then(|| Span::from(Duration::try_from_secs_f64(seconds.ceil()).unwrap_or(Duration::MAX)));
    }
    let date = Timestamp::try_from(httpdate::parse_http_date(&value).ok()?).ok()?;
    Some(Span::from(elapsed(now, date)))
}

/// When Resource Graph's quota is new: `x-ms-user-quota-resets-after: 00:00:05` (recorded; hours, minutes, seconds). It is
/// on every answer, so it is a wait only where there was an error or nothing is left.
#[must_use]
pub fn quota_reset(headers: &HeaderMap) -> Option<Span> {
    let value = header(headers, "x-ms-user-quota-resets-after");
    let mut parts = value.split(':');
    let (hours, minutes, seconds) = (parts.next()?, parts.next()?, parts.next()?);
    let whole = |text: &str| text.parse::<u64>().ok();
    let seconds = seconds.parse::<f64>().ok().filter(|s| (0.0..=60.0).contains(s))?;
    let seconds = Duration::try_from_secs_f64(seconds.ceil()).ok()?.as_secs();
    let total = whole(hours)?.checked_mul(3600)?.checked_add(whole(minutes)?.checked_mul(60)?)?.checked_add(seconds)?;
    parts.next().is_none().then(|| Span::from_secs(total))
}

/// The wait a message asks for: "try again after '324' seconds", "after 5 minutes".
fn prose_wait(message: &str) -> Option<Span> {
    let lower = message.to_lowercase();
    let words: Vec<&str> = lower.split_whitespace().map(|w| w.trim_matches(|c: char| !c.is_alphanumeric())).collect();
    words.windows(3).find_map(|window| {
        let [before, number, unit] = window else { return None };
        if !matches!(*before, "after" | "in") {
            return None;
        }
        let number: u64 = number.parse().ok()?;
        let factor = match *unit {
            "second" | "seconds" | "secs" | "sec" | "s" => 1,
            "minute" | "minutes" | "mins" | "min" => 60,
            "hour" | "hours" => 3600,
            _ => return None,
        };
        Some(Span::from_secs(number.saturating_mul(factor)))
    })
}

/// The scopes of a `ScopeLocked` message: `... following scope(s) are locked: '<scope>[,<scope>]'. Please ...`.
fn locked_scopes(message: &str) -> Vec<String> {
    let Some((_, rest)) = message.split_once("are locked:") else { return Vec::new() };
    let list = rest.split(". Please").next().unwrap_or(rest);
    list.split([',', '\''])
        .map(|scope| scope.trim().trim_end_matches('.'))
        .filter(|scope| scope.starts_with('/'))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::http::Method;
    use super::*;

    fn now() -> Timestamp {
        "2026-11-20T09:00:00Z".parse().unwrap()
    }

    fn error(status: u16, body: &str) -> ArmError {
        let request = Request::new(Method::DELETE, "https://management.azure.com/a?sig=secret".parse().unwrap());
        let mut response = Response::empty(status);
        response.body = bytes::Bytes::copy_from_slice(body.as_bytes());
        ArmError::from_response(&request, &response, now())
    }

    #[test]
    fn every_shape_of_a_body() {
        let table = [
            (r#"{"error":{"code":"A","message":"m"}}"#, "A", "m"),
            (r#"{"code":"A","message":"m"}"#, "A", "m"),
            (r#"{"Code":"A","Message":"m"}"#, "A", "m"),
            (r#"{"ErrorCode":"A","Message":{"Value":"m","Language":"en-us"}}"#, "A", "m"),
            (r#"{"odata.error":{"code":"A","message":{"lang":"en","value":"m"}}}"#, "A", "m"),
            (r#"[{"code":"A","message":"m"},{"code":"B","message":"n"}]"#, "A", "m"),
            ("\u{feff}{\"error\":{\"code\":\"A\",\"message\":\"m\"}}", "A", "m"),
            (r#"{"error":"m"}"#, "", "m"),
            (r#"{"error":{"code":400196,"message":"m"}}"#, "400196", "m"),
            (r#"{"Message":"m"}"#, "", "m"),
            (r#"{"error":null,"message":"m"}"#, "", "m"),
            (
                "<html><head><title>502 Bad Gateway</title>",
                "",
                "an HTML page instead of JSON, perhaps from a proxy: 502 Bad Gateway",
            ),
            ("upstream connect error", "", "upstream connect error"),
            ("", "", "HTTP status 500 without an explanation"),
            ("null", "", "HTTP status 500 without an explanation"),
        ];
        for (body, code, message) in table {
            let error = error(500, body);
            assert_eq!((error.code.as_str(), error.message.as_str()), (code, message), "{body}");
        }
    }

    #[test]
    fn details_and_inner_errors() {
        let error = error(
            429,
            r#"{"code":"OperationNotAllowed","message":"m","target":"t","details":[{"code":"TooManyRequests","message":"{}"}],"innererror":{"code":"In"}}"#,
        );
        assert_eq!(error.target, "t");
        let codes: Vec<&str> = error.details.iter().map(|d| d.code.as_str()).collect();
        assert_eq!(codes, ["TooManyRequests", "In"]);
    }

    #[test]
    fn every_way_to_say_wait() {
        let with = |name: &'static str, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            retry_after(&headers, now()).map(Span::as_secs)
        };
        assert_eq!(with("retry-after", "17"), Some(17));
        assert_eq!(with("retry-after", "0"), Some(0));
        assert_eq!(with("retry-after-ms", "1500"), Some(2));
        assert_eq!(with("x-ms-retry-after-ms", "10"), Some(1));
        assert_eq!(with("retry-after", "Fri, 20 Nov 2026 09:01:30 GMT"), Some(90));
        assert_eq!(with("retry-after", "Fri, 20 Nov 2026 08:00:00 GMT"), Some(0));
        assert_eq!(with("retry-after", "-5"), None);
        assert_eq!(with("retry-after", "soon"), None);
        for (message, seconds) in [
            ("Please try again after '324' seconds.", Some(324)),
            ("Retry after 5 minutes.", Some(300)),
            ("retry in 2 hours", Some(7200)),
            ("permanently deleted after 14 days", None),
            ("Wait for a few minutes", None),
            ("after seconds 5", None),
        ] {
            assert_eq!(prose_wait(message).map(Span::as_secs), seconds, "{message}");
        }
    }

    #[test]
    fn no_secret_and_no_control_character_survives() {
        let error = error(
            500,
            "{\"message\":\"see https://x/y?a=1&sig=abc%2B&c=MII&s=Q_q&h=hh or Bearer ey.J0-x \\u001b[31mred\\u202e\"}",
        );
        for secret in ["abc", "MII", "Q_q", "hh", "ey.J0", "\u{1b}", "\u{202e}"] {
            assert!(!error.message.contains(secret), "{secret} in {}", error.message);
        }
        assert_eq!(error.request, "DELETE /a");
        assert!(clean(&"x".repeat(100_000)).len() < MAX_TEXT + 10);
    }

    #[test]
    fn names_the_locked_scopes() {
        let message = "The scope '/subscriptions/1/x' cannot perform delete operation because following scope(s) are locked: '/subscriptions/1/resourceGroups/a.b,/subscriptions/1'. Please remove the lock and try again.";
        assert_eq!(locked_scopes(message), ["/subscriptions/1/resourceGroups/a.b", "/subscriptions/1"]);
    }
}
