//! The one way to Azure Resource Manager.
//!
//! Duty: sign, identify, throttle, send and classify. Invariants:
//! - A token is attached only when scheme, host and port of the URL are those of the configured endpoint; anything
//!   else, `nextLink` and operation URLs included, is refused before sending (S11). Redirects are errors.
//! - A read is retried (`retry`); a change is sent exactly once and its error comes back classified: what follows is
//!   the engine's decision, after reading the resource again (S3).
//! - A change is not held back for long: the facts it was decided on would be too old when it leaves. A read waits no
//!   longer than [`Limits::total`] in all, its turn in a bucket included; then its error says when to come back.
//! - Every request carries the run's User-Agent and a client request id.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use url::Url;
use uuid::Uuid;

use super::call_counts::{ArmCalls, CallPurpose, CallRow, Counts};
use super::cloud::check_endpoint;
use super::error::{ArmError, ErrorClass};
use super::http::{HeaderName, HeaderValue, Method, Request, Response, Transport};
use super::listing::{BadRows, Listing};
use super::model::FromWire;
use super::readonly::only_reads;
use super::retry::{Decision, Limits, decide};
use super::throttle::Throttle;
use super::token::TokenSource;
use azmend_base::clock::{Clock, elapsed};

/// The largest body azmend reads.
pub const MAX_BODY: usize = 32 * 1024 * 1024;
/// The most pages of one list.
const MAX_PAGES: usize = 2000;
/// The longest time a change waits for its turn: half of the 60 seconds that facts stay fresh.
const MAX_HOLD: Duration = Duration::from_secs(30);

/// The pipeline over a transport.
#[derive(Debug, Clone)]
pub struct Gateway {
    shared: Arc<Shared>,
    /// Those of this run.
    counts: Arc<Counts>,
    purpose: CallPurpose,
    agent: HeaderValue,
}

#[derive(Debug)]
struct Shared {
    transport: Arc<dyn Transport>,
    tokens: Arc<dyn TokenSource>,
    clock: Arc<dyn Clock>,
    endpoint: Url,
    throttle: Throttle,
    limits: Limits,
    calls: AtomicU64,
    /// Milliseconds.
    waited: AtomicU64,
    /// When a request under each subscription (lower case) last succeeded.
    answered: Mutex<HashMap<String, Timestamp>>,
}

/// `azmend/<version> (run/<id>)`; characters that no header may hold are left out of the id.
fn user_agent(run: &str) -> HeaderValue {
    let run: String =
        run.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')).take(80).collect();
    HeaderValue::from_str(&format!("azmend/{} (run/{run})", env!("CARGO_PKG_VERSION")))
        .unwrap_or_else(|_| HeaderValue::from_static("azmend"))
}

impl Gateway {
    /// A gateway to `endpoint`.
    ///
    /// # Errors
    /// When a token must not go to the endpoint.
    pub fn new(
        transport: Arc<dyn Transport>,
        tokens: Arc<dyn TokenSource>,
        clock: Arc<dyn Clock>,
        endpoint: Url,
        run_id: &str,
    ) -> Result<Self, ArmError> {
        check_endpoint(&endpoint).map_err(|why| ArmError::refused(endpoint.as_str(), why))?;
        let shared = Shared {
            transport,
            tokens,
            clock,
            endpoint,
            throttle: Throttle::default(),
            limits: Limits::default(),
            calls: AtomicU64::new(0),
            waited: AtomicU64::new(0),
            answered: Mutex::default(),
        };
        let counts = Arc::default();
        Ok(Self { shared: Arc::new(shared), counts, purpose: CallPurpose::default(), agent: user_agent(run_id) })
    }

    /// The same gateway (same buckets, same [`Self::calls`]) for another run, whose own counts begin at zero.
    #[must_use]
    pub fn with_run_id(&self, run: &str) -> Self {
        let (counts, purpose) = (Arc::default(), CallPurpose::default());
        Self { shared: Arc::clone(&self.shared), counts, purpose, agent: user_agent(run) }
    }

    /// The same gateway, whose calls are counted for this purpose.
    #[must_use]
    pub fn for_purpose(&self, purpose: CallPurpose) -> Self {
        Self { purpose, ..self.clone() }
    }

    /// The calls of this run so far.
    #[must_use]
    pub fn call_counts(&self) -> ArmCalls {
        self.counts.so_far()
    }

    /// The calls of this run so far, by purpose, verb and kind of resource.
    #[must_use]
    pub fn call_rows(&self) -> Vec<CallRow> {
        self.counts.rows()
    }

    /// How many readings of this run were given up because Azure asks to wait.
    #[must_use]
    pub fn put_off(&self) -> u64 {
        self.counts.all_put_off()
    }

    /// The clock everything waits on.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.shared.clock
    }

    /// The configured endpoint.
    #[must_use]
    pub fn endpoint(&self) -> &Url {
        &self.shared.endpoint
    }

    /// How many requests were handed to the transport.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.shared.calls.load(Ordering::Relaxed)
    }

    /// How long requests have waited because of Azure's limits, all added up.
    #[must_use]
    pub fn waited(&self) -> Duration {
        Duration::from_millis(self.shared.waited.load(Ordering::Relaxed))
    }

    async fn wait(&self, wait: Duration) {
        self.shared.clock.sleep(wait).await;
        let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        self.shared.waited.fetch_add(millis, Ordering::Relaxed);
        self.counts.waited(wait);
    }

    pub(super) fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    /// Whether a request under this subscription succeeded within the last `span`.
    #[must_use]
    pub fn answered_within(&self, subscription: &str, span: Duration) -> bool {
        let answered = self.shared.answered.lock().unwrap_or_else(PoisonError::into_inner);
        answered.get(&subscription.to_ascii_lowercase()).is_some_and(|at| elapsed(*at, self.now()) <= span)
    }

    /// Remembers that the subscription of `request` answers. A page of a proxy with status 200 is not ARM's answer.
    fn note_answer(&self, request: &Request, response: &Response) {
        let body = response.body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&response.body).trim_ascii_start();
        if !matches!(body.first(), None | Some(b'{' | b'[')) {
            return;
        }
        let mut segments = request.url.path().split('/').skip(1);
        if segments.next().is_some_and(|word| word.eq_ignore_ascii_case("subscriptions"))
            && let Some(guid) = segments.next().filter(|guid| !guid.is_empty())
        {
            let mut answered = self.shared.answered.lock().unwrap_or_else(PoisonError::into_inner);
            answered.insert(guid.to_ascii_lowercase(), self.now());
        }
    }

    /// A URL at the endpoint. `path` is made of checked names only (a [`super::ResourceId`]).
    #[must_use]
    pub fn url(&self, path: &str, query: &[(&str, &str)]) -> Url {
        let mut url = self.shared.endpoint.clone();
        url.set_path(path);
        url.query_pairs_mut().extend_pairs(query);
        url
    }

    /// Whether a token may go to `url`.
    #[must_use]
    pub fn is_home(&self, url: &Url) -> bool {
        let home = &self.shared.endpoint;
        url.scheme() == home.scheme()
            && url.host() == home.host()
            && url.port_or_known_default() == home.port_or_known_default()
            && url.username().is_empty()
            && url.password().is_none()
    }

    /// Sends a request: a read with retries, a change exactly once.
    ///
    /// # Errors
    /// The classified error; every status but 2xx is one.
    pub async fn send(&self, request: Request, tag: Option<Uuid>) -> Result<Response, ArmError> {
        if only_reads(&request) {
            Box::pin(self.read(request)).await
        } else {
            let request = self.prepare(request, tag)?;
            Box::pin(self.attempt(request, MAX_HOLD)).await
        }
    }

    /// Sends a read once, without retries: for polls, which have their own patience.
    ///
    /// # Errors
    /// The classified error.
    pub async fn read_once(&self, request: Request) -> Result<Response, ArmError> {
        if !only_reads(&request) {
            return Err(ArmError::refused(&request.summary(), "only a read may be sent here"));
        }
        let request = self.prepare(request, None)?;
        Box::pin(self.attempt(request, self.shared.limits.total)).await
    }

    async fn read(&self, request: Request) -> Result<Response, ArmError> {
        let request = self.prepare(request, None)?;
        let begin = self.now();
        let (mut tries, mut renewed) = (0, false);
        loop {
            tries += 1;
            let left = self.shared.limits.total.saturating_sub(elapsed(begin, self.now()));
            let error = match self.attempt(request.clone(), left).await {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            let spent = elapsed(begin, self.now());
            match decide(&error, tries, spent, renewed, &self.shared.limits) {
                Decision::Retry(wait) => {
                    tracing::debug!(request = %error.request, code = %error.code, tries, ?wait, "reading again");
                    match error.class() {
                        ErrorClass::Throttled => self.wait(wait).await,
                        _ => self.shared.clock.sleep(wait).await,
                    }
                }
                Decision::RenewToken => renewed = true,
                Decision::Stop => {
                    if error.class() == ErrorClass::Throttled {
                        self.counts.put_off();
                    }
                    return Err(error);
                }
            }
        }
    }

    /// Checks where it goes and puts on the headers of this run; the token comes last, in `attempt`.
    fn prepare(&self, mut request: Request, tag: Option<Uuid>) -> Result<Request, ArmError> {
        if !self.is_home(&request.url) {
            let host = request.url.host_str().unwrap_or_default();
            let why = format!("rule s11: {host} is not the configured endpoint {}", self.shared.endpoint);
            return Err(ArmError::refused(&request.summary(), &why));
        }
        request.headers.insert(http::header::USER_AGENT, self.agent.clone());
        request.headers.insert(http::header::ACCEPT, HeaderValue::from_static("application/json"));
        request.headers.insert(http::header::ACCEPT_LANGUAGE, HeaderValue::from_static("en-US"));
        let id = tag.unwrap_or_else(Uuid::new_v4).to_string();
        if let Ok(id) = HeaderValue::from_str(&id) {
            request.headers.insert(HeaderName::from_static("x-ms-client-request-id"), id);
        }
        if !request.body.is_empty() {
            request.headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        Ok(request)
    }

    /// One request on the wire. `hold` bounds how long it may wait for its turn.
    async fn attempt(&self, mut request: Request, hold: Duration) -> Result<Response, ArmError> {
        let wait = self.shared.throttle.reserve(&request, self.now());
        if wait > hold {
            self.shared.throttle.give_back(&request, self.now());
            return Err(ArmError::held_back(&request, wait));
        }
        if !wait.is_zero() {
            self.wait(wait).await;
        }
        let token = self.shared.tokens.token().await;
        let token = token.map_err(|error| ArmError::sign_in(&request.summary(), &error))?;
        let bearer = HeaderValue::from_str(&format!("Bearer {}", token.expose()));
        let mut bearer = bearer.map_err(|_| ArmError::refused(&request.summary(), "the token is not usable text"))?;
        bearer.set_sensitive(true);
        request.headers.insert(http::header::AUTHORIZATION, bearer);
        self.shared.calls.fetch_add(1, Ordering::Relaxed);
        self.counts.count(self.purpose, request.method.as_str(), request.url.path(), only_reads(&request));
        let result = self.shared.transport.send(&request).await;
        // Without the query: an operation's URL is signed there (S11).
        let status = result.as_ref().map_or(0, |response| response.status);
        tracing::debug!(request = %request.summary(), status, "ARM call");
        let response = result.map_err(|error| ArmError::from_transport(&request, &error))?;
        if response.body.len() > MAX_BODY {
            return Err(ArmError::malformed(&request.summary(), "the body is larger than 32 MB"));
        }
        let now = self.now();
        let error = (!response.is_success()).then(|| ArmError::from_response(&request, &response, now));
        self.shared.throttle.learn(&request, &response, error.as_ref(), now);
        match error {
            None => {
                self.note_answer(&request, &response);
                Ok(response)
            }
            Some(error) => {
                if error.class() == ErrorClass::SignIn {
                    self.shared.tokens.forget().await;
                }
                Err(error)
            }
        }
    }

    /// Reads one JSON document.
    ///
    /// # Errors
    /// The classified error, or malformed.
    pub async fn get(&self, url: Url) -> Result<Value, ArmError> {
        let request = Request::new(Method::GET, url);
        let summary = request.summary();
        json(&summary, &self.send(request, None).await?)
    }

    /// Reads one model.
    ///
    /// # Errors
    /// The classified error, or malformed.
    pub async fn get_one<T: FromWire>(&self, url: Url) -> Result<T, ArmError> {
        let summary = Request::new(Method::GET, url.clone()).summary();
        one(&summary, &self.get(url).await?)
    }

    /// Reads a list with all its pages.
    ///
    /// # Errors
    /// When a page cannot be read: a list without its end is not a list.
    pub async fn get_list<T: FromWire>(&self, url: Url) -> Result<Listing<T>, ArmError> {
        let request = Request::new(Method::GET, url);
        let first = self.send(request.clone(), None).await?;
        self.pages(&request, &first).await
    }

    /// Follows `nextLink` from the first page of `request`.
    ///
    /// # Errors
    /// When a page cannot be read, is at another host, comes twice, or there are too many.
    pub async fn pages<T: FromWire>(&self, request: &Request, first: &Response) -> Result<Listing<T>, ArmError> {
        let summary = request.summary();
        let mut listing = Listing { items: Vec::new(), malformed: BadRows::default() };
        let mut seen = HashSet::from([request.url.clone()]);
        let mut page = json(&summary, first)?;
        loop {
            let Some(next) = read_page(&summary, &page, &mut listing)? else { return Ok(listing) };
            let next = self.shared.endpoint.join(&next);
            let next = next.map_err(|_| ArmError::malformed(&summary, "the link to the next page is not a URL"))?;
            if !seen.insert(next.clone()) {
                return Err(ArmError::malformed(&summary, "the pages of the list go round in a circle"));
            }
            if seen.len() > MAX_PAGES {
                return Err(ArmError::malformed(&summary, &format!("the list has more than {MAX_PAGES} pages")));
            }
            page = self.get(next).await?;
        }
    }
}

/// Reads one page into `listing` and returns the link to the next.
fn read_page<T: FromWire>(summary: &str, page: &Value, listing: &mut Listing<T>) -> Result<Option<String>, ArmError> {
    match page.get("value") {
        Some(Value::Array(items)) => {
            for (index, item) in items.iter().enumerate() {
                match T::from_wire(item) {
                    Ok(item) => listing.items.push(item),
                    Err(why) => listing.malformed.push(&why.0, T::scope_of(item), || {
                        let name = item.get("name").and_then(Value::as_str).map_or(index.to_string(), str::to_owned);
                        super::error_body::clean(&format!("{summary}: element {name}: {why}"))
                    }),
                }
            }
        }
        Some(Value::Null) => {}
        // An answer without `value` is not an empty list: taking it for one would mean "nothing there" (S12).
        _ => return Err(ArmError::malformed(summary, "the answer is not a list")),
    }
    match page.get("nextLink") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(link)) if link.trim().is_empty() => Ok(None),
        Some(Value::String(link)) => Ok(Some(link.clone())),
        Some(_) => Err(ArmError::malformed(summary, "the link to the next page is not text")),
    }
}

/// The JSON document of a response.
///
/// # Errors
/// Malformed when it is none.
pub fn json(summary: &str, response: &Response) -> Result<Value, ArmError> {
    let body = response.body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&response.body);
    serde_json::from_slice(body).map_err(|error| {
        let what = if body.is_empty() { "it is empty".to_owned() } else { error.to_string() };
        ArmError::malformed(summary, &format!("the body is not JSON: {what}"))
    })
}

/// One model out of a JSON document.
///
/// # Errors
/// Malformed when it has no usable identity.
pub fn one<T: FromWire>(summary: &str, value: &Value) -> Result<T, ArmError> {
    T::from_wire(value).map_err(|why| ArmError::malformed(summary, &why.to_string()))
}

#[cfg(test)]
#[path = "gateway_tests.rs"]
mod tests;
