//! Staying under ARM's limits instead of running into them.
//!
//! Duty: one token bucket per subscription and kind of request at ARM's published rates (reads 250 + 25/s, writes and
//! deletes 200 + 10/s each; "request limits and throttling", 2025), Resource Graph 15 per 5 s, and the list of backup
//! jobs 100 per hour and vault (Azure's own limit is 150, recorded in a 429; other tools share it). Buckets are
//! tightened by the `x-ms-ratelimit-remaining-*` headers, and a 429 that speaks of the bucket pauses it, so that parallel
//! reads do not each run into it (a provider's own 429 speaks of one resource and pauses nothing). It reserves and says how long to wait; the waiting is the gateway's, on its clock.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use super::error::{ArmError, ErrorClass};
use super::error_body::quota_reset;
use super::http::{Method, Request, Response};
use azmend_base::clock::{elapsed, later};
use azmend_base::duration::Span;

/// The kind of a request, as ARM counts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Kind {
    /// GET and reading POSTs.
    Read,
    /// PUT, PATCH, POST.
    Write,
    /// DELETE.
    Delete,
    /// Resource Graph queries.
    Graph,
    /// The list of backup jobs of this vault (lower-case path).
    Jobs(String),
}

impl Kind {
    /// Size of the bucket and tokens per second.
    const fn rate(&self) -> (f64, f64) {
        match self {
            Self::Read => (250.0, 25.0),
            Self::Write | Self::Delete => (200.0, 10.0),
            Self::Graph => (15.0, 3.0),
            Self::Jobs(_) => (100.0, 100.0 / 3600.0),
        }
    }

    const fn header(&self) -> Option<&'static str> {
        match self {
            Self::Read => Some("reads"),
            Self::Write => Some("writes"),
            Self::Delete => Some("deletes"),
            Self::Graph | Self::Jobs(_) => None,
        }
    }
}

#[derive(Debug, Clone)]
struct Bucket {
    tokens: f64,
    at: Timestamp,
    paused_until: Timestamp,
}

impl Bucket {
    fn refill(&mut self, kind: &Kind, now: Timestamp) {
        let (size, rate) = kind.rate();
        self.tokens = (self.tokens + elapsed(self.at, now).as_secs_f64() * rate).min(size);
        self.at = self.at.max(now);
    }
}

/// What Resource Graph says about the user's quota, on every answer (recorded).
fn graph_quota(bucket: &mut Bucket, response: &Response, now: Timestamp) {
    let Some(left) = response.header("x-ms-user-quota-remaining").and_then(|text| text.trim().parse::<u32>().ok())
    else {
        return;
    };
    bucket.tokens = bucket.tokens.min(f64::from(left));
    if left == 0
        && let Some(wait) = quota_reset(&response.headers)
    {
        bucket.paused_until = bucket.paused_until.max(later(now, wait.to_std().min(Duration::from_secs(600))));
    }
}

/// All buckets of a run.
#[derive(Debug, Default)]
pub struct Throttle {
    buckets: Mutex<HashMap<(String, Kind), Bucket>>,
}

/// The buckets a request takes from: the subscription's, and a special one where there is one.
fn keys(request: &Request) -> Vec<(String, Kind)> {
    let path = request.url.path().to_ascii_lowercase();
    let mut segments = path.split('/').skip(1);
    let subscription = match segments.next() {
        Some("subscriptions") => segments.next().unwrap_or_default().to_owned(),
        _ => String::new(),
    };
    if path.starts_with("/providers/microsoft.resourcegraph/") {
        return vec![(String::new(), Kind::Graph)];
    }
    let kind = match request.method {
        Method::GET | Method::HEAD => Kind::Read,
        Method::DELETE => Kind::Delete,
        _ => Kind::Write,
    };
    let mut keys = vec![(subscription.clone(), kind)];
    if request.method == Method::GET
        && let Some(at) = path.find("/backupjobs")
    {
        keys.push((subscription, Kind::Jobs(path[..at].to_owned())));
    }
    keys
}

impl Throttle {
    fn with<R>(&self, key: (String, Kind), now: Timestamp, work: impl FnOnce(&Kind, &mut Bucket) -> R) -> R {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let kind = key.1.clone();
        let full = Bucket { tokens: kind.rate().0, at: now, paused_until: Timestamp::MIN };
        let bucket = buckets.entry(key).or_insert(full);
        bucket.refill(&kind, now);
        work(&kind, bucket)
    }

    /// Reserves a token for the request and says how long to wait before sending it.
    #[must_use]
    pub fn reserve(&self, request: &Request, now: Timestamp) -> Duration {
        let waits = keys(request).into_iter().map(|key| {
            self.with(key, now, |kind, bucket| {
                bucket.tokens -= 1.0;
                let debt = if bucket.tokens < 0.0 { -bucket.tokens / kind.rate().1 } else { 0.0 };
                let pause = elapsed(now, bucket.paused_until);
                Duration::try_from_secs_f64(debt).unwrap_or(Duration::MAX).max(pause)
            })
        });
        waits.max().unwrap_or_default()
    }

    /// Gives the reserved token back: the request is not sent.
    pub fn give_back(&self, request: &Request, now: Timestamp) {
        for key in keys(request) {
            self.with(key, now, |kind, bucket| bucket.tokens = (bucket.tokens + 1.0).min(kind.rate().0));
        }
    }

    /// Learns from what Azure says about the remaining requests, and from a 429 (`error`).
    pub fn learn(&self, request: &Request, response: &Response, error: Option<&ArmError>, now: Timestamp) {
        let throttled = error.filter(|error| error.class() == ErrorClass::Throttled);
        for key in keys(request) {
            let name = key.1.header();
            let special = name.is_none();
            self.with(key, now, |kind, bucket| {
                if *kind == Kind::Graph {
                    graph_quota(bucket, response, now);
                }
                for scope in ["subscription", "tenant"] {
                    let remaining = name
                        .and_then(|name| response.header(&format!("x-ms-ratelimit-remaining-{scope}-{name}")))
                        .and_then(|value| value.trim().parse::<u32>().ok());
                    if let Some(remaining) = remaining {
                        bucket.tokens = bucket.tokens.min(f64::from(remaining));
                    }
                }
                if let Some(error) = throttled
                    && (special || error.has_code("SubscriptionRequestsThrottled"))
                {
                    let pause = error.retry_after.map_or(Duration::from_secs(1), Span::to_std);
                    // Only as far as the gateway itself would wait: longer is for the caller to decide.
                    bucket.paused_until = bucket.paused_until.max(later(now, pause.min(Duration::from_secs(600))));
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::with_header;
    use super::*;

    const SUB: &str = "/subscriptions/11111111-1111-1111-1111-111111111111";

    fn request(method: Method, path: &str) -> Request {
        Request::new(method, format!("https://management.azure.com{path}").parse().unwrap())
    }

    fn now() -> Timestamp {
        "2026-11-20T09:00:00Z".parse().unwrap()
    }

    fn burst(throttle: &Throttle, request: &Request) -> usize {
        (0..1000).take_while(|_| throttle.reserve(request, now()).is_zero()).count()
    }

    #[test]
    fn bursts_at_the_published_sizes() {
        let throttle = Throttle::default();
        assert_eq!(burst(&throttle, &request(Method::GET, SUB)), 250);
        assert_eq!(burst(&throttle, &request(Method::PUT, SUB)), 200);
        assert_eq!(burst(&throttle, &request(Method::DELETE, &SUB.to_uppercase())), 200);
        assert_eq!(burst(&throttle, &request(Method::DELETE, SUB)), 0, "the same subscription in another case");
        assert_eq!(burst(&throttle, &request(Method::GET, "/subscriptions/2")), 250, "another subscription");
        assert_eq!(burst(&throttle, &request(Method::POST, "/providers/Microsoft.ResourceGraph/resources")), 15);
    }

    #[test]
    fn refills_at_the_published_rate() {
        let throttle = Throttle::default();
        let read = request(Method::GET, SUB);
        burst(&throttle, &read);
        assert_eq!(throttle.reserve(&read, now()), Duration::from_millis(80), "second in the queue at 25/s");
        let later = later(now(), Duration::from_secs(2));
        assert_eq!((0..1000).take_while(|_| throttle.reserve(&read, later).is_zero()).count(), 48);
    }

    #[test]
    fn the_jobs_of_one_vault() {
        let throttle = Throttle::default();
        let jobs = |vault: &str| {
            request(
                Method::GET,
                &format!("{SUB}/resourceGroups/g/providers/Microsoft.RecoveryServices/vaults/{vault}/backupJobs"),
            )
        };
        assert_eq!(burst(&throttle, &jobs("a")), 100);
        assert_eq!(throttle.reserve(&jobs("A"), now()), Duration::from_secs(72));
        assert!(throttle.reserve(&jobs("b"), now()).is_zero());
    }

    #[test]
    fn headers_tighten_and_a_429_pauses() {
        let throttle = Throttle::default();
        let read = request(Method::GET, SUB);
        let few = with_header(Response::empty(200), "x-ms-ratelimit-remaining-subscription-reads", "3");
        throttle.learn(&read, &few, None, now());
        assert_eq!(burst(&throttle, &read), 3);
        let many = with_header(Response::empty(200), "x-ms-ratelimit-remaining-subscription-reads", "11999");
        throttle.learn(&read, &many, None, now());
        assert!(!throttle.reserve(&read, now()).is_zero(), "a header never loosens");
        let delete = request(Method::DELETE, SUB);
        let limit = |code: &str| {
            let body =
                serde_json::json!({ "error": { "code": code, "message": "Please try again after '17' seconds." } });
            let response = Response::json(429, &body);
            throttle.learn(&delete, &response, Some(&ArmError::from_response(&delete, &response, now())), now());
        };
        limit("ResourceRequestsThrottled");
        assert!(throttle.reserve(&delete, now()).is_zero(), "one resource is throttled, not the subscription");
        limit("SubscriptionRequestsThrottled");
        assert_eq!(throttle.reserve(&delete, now()), Duration::from_secs(17));
    }
}
