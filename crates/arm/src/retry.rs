//! Whether a read is sent again, and when: a pure decision.
//!
//! Only reads are retried here; a change is sent exactly once by the gateway, and the engine decides what follows after
//! reading the resource again (S3). No jitter: one process sends, and its requests already pass a token bucket; a wait
//! that is always the same makes runs repeatable.

use std::time::Duration;

use super::error::{ArmError, ErrorClass, ErrorKind};

/// Bounds of the retries of one read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most requests for one read.
    pub tries: u32,
    /// The most requests when nothing can be reached at all.
    pub tries_unreachable: u32,
    /// The longest time from the first request to the last, waits included.
    pub total: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        // Ten minutes cover the longest Retry-After that was recorded for reads (324 s, backup jobs).
        Self { tries: 8, tries_unreachable: 4, total: Duration::from_secs(600) }
    }
}

/// What to do after a failed read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Send again after this wait.
    Retry(Duration),
    /// Get a new token and send again at once.
    RenewToken,
    /// Give up: the error is the answer.
    Stop,
}

/// Decides after the `tries`-th request failed with `error`, `spent` after the first one.
#[must_use]
pub fn decide(error: &ArmError, tries: u32, spent: Duration, renewed: bool, limits: &Limits) -> Decision {
    let most = match error.class() {
        ErrorClass::Throttled | ErrorClass::Transient | ErrorClass::Lost => limits.tries,
        ErrorClass::NotSent => limits.tries_unreachable,
        ErrorClass::SignIn if error.kind != ErrorKind::SignIn && !renewed => return Decision::RenewToken,
        _ => return Decision::Stop,
    };
    if tries >= most {
        return Decision::Stop;
    }
    let backoff = Duration::from_secs(1 << tries.saturating_sub(1).min(5));
    let wait = error.retry_after.map_or(backoff, |asked| asked.to_std().max(backoff));
    // A wait that cannot be kept is not begun: the error carries `retry_after` for the caller.
    if spent.saturating_add(wait) > limits.total { Decision::Stop } else { Decision::Retry(wait) }
}

#[cfg(test)]
mod tests {
    use super::super::error::Failure;
    use super::super::http::{Method, Request, Response};
    use super::super::testing::{lost, not_sent, with_header};
    use super::*;

    fn request() -> Request {
        Request::new(Method::GET, "https://management.azure.com/a".parse().unwrap())
    }

    fn status(status: u16, wait: Option<&str>) -> ArmError {
        let mut response = Response::empty(status);
        if let Some(wait) = wait {
            response = with_header(response, "retry-after", wait);
        }
        ArmError::from_response(&request(), &response, jiff::Timestamp::UNIX_EPOCH)
    }

    fn after(error: &ArmError, tries: u32) -> Decision {
        decide(error, tries, Duration::ZERO, false, &Limits::default())
    }

    #[test]
    fn what_is_retried() {
        for code in [408, 429, 500, 502, 503, 504] {
            assert_eq!(after(&status(code, None), 1), Decision::Retry(Duration::from_secs(1)), "{code}");
        }
        for code in [301, 400, 403, 404, 409, 412, 501] {
            assert_eq!(after(&status(code, None), 1), Decision::Stop, "{code}");
        }
        let lost = ArmError::from_transport(&request(), &lost("reset"));
        assert_eq!(after(&lost, 3), Decision::Retry(Duration::from_secs(4)));
        assert_eq!(after(&ArmError::refused("GET /a", "s1"), 1), Decision::Stop);
        assert_eq!(after(&ArmError::malformed("GET /a", "no JSON"), 1), Decision::Stop);
    }

    #[test]
    fn waits_grow_and_honour_azure() {
        let error = status(503, None);
        let waits: Vec<_> = (1..=8).map(|tries| after(&error, tries)).collect();
        let seconds = [1, 2, 4, 8, 16, 32, 32];
        let mut expected: Vec<_> = seconds.iter().map(|&s| Decision::Retry(Duration::from_secs(s))).collect();
        expected.push(Decision::Stop);
        assert_eq!(waits, expected);
        assert_eq!(after(&status(429, Some("324")), 1), Decision::Retry(Duration::from_secs(324)));
        assert_eq!(after(&status(429, Some("0")), 2), Decision::Retry(Duration::from_secs(2)));
        assert_eq!(after(&status(429, Some("1200")), 1), Decision::Stop, "longer than the bound");
        let spent = Duration::from_secs(595);
        assert_eq!(decide(&status(429, Some("10")), 2, spent, false, &Limits::default()), Decision::Stop);
    }

    #[test]
    fn bounds() {
        let unreachable = ArmError::from_transport(&request(), &not_sent());
        assert_eq!(after(&unreachable, 3), Decision::Retry(Duration::from_secs(4)));
        assert_eq!(after(&unreachable, 4), Decision::Stop);
    }

    #[test]
    fn a_401_renews_the_token_once() {
        let error = status(401, None);
        assert_eq!(after(&error, 1), Decision::RenewToken);
        assert_eq!(decide(&error, 2, Duration::ZERO, true, &Limits::default()), Decision::Stop);
        let failure: Failure = (*status(401, None)).clone();
        let no_token = ArmError::from(Failure { kind: ErrorKind::SignIn, ..failure });
        assert_eq!(after(&no_token, 1), Decision::Stop, "without a token nothing was sent");
    }
}
