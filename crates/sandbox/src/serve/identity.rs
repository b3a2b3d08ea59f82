//! Who signs in to the embedded Azure over HTTP: the managed identity endpoint, and the tokens it gives out.
//!
//! Duty: answer as App Service's and Azure Automation's endpoint does (`IDENTITY_ENDPOINT`, `IDENTITY_HEADER`,
//! api-version 2019-08-01; learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference), and
//! say whether a bearer token is one of those given out, for this audience, and not expired.
//!
//! Invariants: no token without the header's secret; tokens live in the machine's time, not in the world's, for clients
//! compare their expiry with their own clock; tokens have the shape of a JWT and no signature, so that nothing but this
//! process can take them for real. It must never write a token or the secret to a log.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::call::{Call, gateway_error, set_header};
use crate::faults;
use azmend_arm::http::{Method, Response};
use azmend_base::clock::{Clock, later};

/// Where tokens are given out.
pub(crate) const PATH: [&str; 2] = ["msi", "token"];
/// The most tokens that are remembered; the oldest is forgotten first.
const MOST: usize = 4096;

/// The managed identity of the embedded Azure, and the tokens it has given out. Clones share them.
#[derive(Clone)]
pub struct Identity {
    secret: Arc<str>,
    tenant: Arc<str>,
    principal: Arc<str>,
    life: Duration,
    clock: Arc<dyn Clock>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    issued: u64,
    tokens: BTreeMap<u64, Issued>,
}

struct Issued {
    token: String,
    audience: String,
    expires: Timestamp,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({} tokens)", self.issued())
    }
}

impl Identity {
    /// An identity of a tenant with a secret of its own. `clock` is the machine's.
    pub(crate) fn new(tenant: &str, principal: &str, life: Duration, clock: Arc<dyn Clock>) -> Self {
        Self {
            secret: Uuid::new_v4().simple().to_string().into(),
            tenant: tenant.into(),
            principal: principal.into(),
            life,
            clock,
            state: Arc::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What `IDENTITY_HEADER` must be.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// How many tokens were given out so far.
    #[must_use]
    pub fn issued(&self) -> u64 {
        self.lock().issued
    }

    /// From now on every token given out so far counts as expired.
    pub fn expire_all(&self) {
        let now = self.clock.now();
        for issued in self.lock().tokens.values_mut() {
            issued.expires = issued.expires.min(now);
        }
    }

    /// Serves `/msi/token`.
    pub(crate) fn token(&self, call: &Call) -> Response {
        if call.method != Method::GET {
            return *refusal(405, "only GET is served here");
        }
        let shown = call.headers.get("x-identity-header").and_then(|value| value.to_str().ok());
        if shown != Some(&*self.secret) {
            // The status that App Service answers with is not documented; any but 200 ends the sign-in.
            return *refusal(401, "X-IDENTITY-HEADER is not the IDENTITY_HEADER of this endpoint");
        }
        if call.param("api-version") != Some("2019-08-01") {
            return *refusal(400, "api-version must be 2019-08-01");
        }
        let Some(resource) = call.param("resource").filter(|resource| !resource.is_empty()) else {
            return *refusal(400, "resource is missing");
        };
        let client = call.param("client_id");
        if client.is_some_and(|id| Uuid::parse_str(id).is_err()) {
            return *refusal(400, "no identity with this client_id is assigned");
        }
        let client = client.unwrap_or(&self.principal);
        let (now, expires) = (self.clock.now(), later(self.clock.now(), self.life));
        let token = self.make(&call.base, resource, client, now, expires);
        let body = json!({
            "access_token": token,
            "client_id": client,
            "expires_on": expires.as_second().to_string(),
            "not_before": now.as_second().to_string(),
            "resource": resource,
            "token_type": "Bearer",
        });
        let mut state = self.lock();
        let number = state.issued;
        state.issued += 1;
        state.tokens.insert(number, Issued { token, audience: resource.trim_end_matches('/').to_owned(), expires });
        while state.tokens.len() > MOST {
            state.tokens.pop_first();
        }
        let mut response = Response::json(200, &body);
        set_header(&mut response, "cache-control", "no-store");
        response
    }

    fn make(&self, base: &str, audience: &str, client: &str, now: Timestamp, expires: Timestamp) -> String {
        let part = |value: &Value| base64url(value.to_string().as_bytes());
        let head = json!({ "typ": "JWT", "alg": "none" });
        let claims = json!({
            "aud": audience,
            "iss": format!("{base}/{}/", self.tenant),
            "iat": now.as_second(),
            "nbf": now.as_second(),
            "exp": expires.as_second(),
            "appid": client,
            "idtyp": "app",
            "oid": &*self.principal,
            "sub": &*self.principal,
            "tid": &*self.tenant,
            "uti": Uuid::new_v4().simple().to_string(),
            "ver": "1.0",
        });
        // Some readers want three parts.
        format!("{}.{}.{}", part(&head), part(&claims), base64url(b"sandbox"))
    }

    /// Whether this request for ARM carries a good token; else ARM's answer.
    pub(crate) fn check(&self, call: &Call) -> Result<(), Box<Response>> {
        let shown = call.headers.get("authorization").and_then(|value| value.to_str().ok());
        let Some(token) = shown.and_then(|text| match text.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Some(token.trim()),
            _ => None,
        }) else {
            return Err(faults::missing_token());
        };
        let state = self.lock();
        let Some(issued) = state.tokens.values().find(|issued| issued.token == token) else {
            return Err(gateway_error(401, "InvalidAuthenticationToken", "The access token is invalid."));
        };
        // The audience is this endpoint; `localhost` and `127.0.0.1` are the same one.
        let same = |base: &str| issued.audience.eq_ignore_ascii_case(base);
        let other = call.base.replacen("//127.0.0.1", "//localhost", 1);
        let another = call.base.replacen("//localhost", "//127.0.0.1", 1);
        if !same(&call.base) && !same(&other) && !same(&another) {
            return Err(gateway_error(
                401,
                "InvalidAuthenticationTokenAudience",
                &format!(
                    "The access token has been obtained for wrong audience or resource '{}'. It should exactly match with one of the allowed audiences '{}/','{}'.",
                    issued.audience, call.base, call.base
                ),
            ));
        }
        if issued.expires <= self.clock.now() {
            return Err(faults::expired_token());
        }
        Ok(())
    }
}

fn refusal(status: u16, message: &str) -> Box<Response> {
    Box::new(Response::json(status, &json!({ "statusCode": status, "message": message })))
}

/// Base64 for URLs without padding (RFC 4648, section 5).
fn base64url(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0u32, |bits, byte| (bits << 8) | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..=chunk.len() {
            out.push(char::from(LETTERS[(bits >> (18 - 6 * place)) as usize & 63]));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;
    use azmend_arm::http::{HeaderValue, Request};
    use azmend_base::clock::VirtualClock;

    const BASE: &str = "http://127.0.0.1:4000";

    fn call(path: &str, header: &'static str, value: &str) -> Call {
        let url: Url = format!("{BASE}{path}").parse().unwrap();
        let mut request = Request::new(Method::GET, url);
        request.headers.insert(header, HeaderValue::from_str(value).unwrap());
        Call::new(&request)
    }

    fn identity() -> (Identity, VirtualClock) {
        let clock = VirtualClock::new("2026-11-20T09:00:00Z".parse().unwrap());
        (Identity::new("t", "p", Duration::from_secs(60), Arc::new(clock.clone())), clock)
    }

    fn token_for(identity: &Identity, resource: &str) -> String {
        let path = format!("/MSI/token?api-version=2019-08-01&resource={resource}");
        let response = identity.token(&call(&path, "x-identity-header", identity.secret()));
        assert_eq!(response.status, 200, "{response:?}");
        let body: Value = serde_json::from_slice(&response.body).unwrap();
        assert_eq!(body["expires_on"], "1795165260");
        body["access_token"].as_str().unwrap().to_owned()
    }

    fn code(answer: Result<(), Box<Response>>) -> String {
        let response = answer.unwrap_err();
        assert_eq!(response.status, 401);
        serde_json::from_slice::<Value>(&response.body).unwrap()["error"]["code"].as_str().unwrap().to_owned()
    }

    #[test]
    fn a_token_opens_its_audience_until_it_expires() {
        let (identity, clock) = identity();
        let token = token_for(&identity, BASE);
        assert_eq!(token.split('.').count(), 3);
        let ask = || identity.check(&call("/subscriptions", "authorization", &format!("Bearer {token}")));
        assert!(ask().is_ok());
        clock.advance(Duration::from_secs(60));
        assert_eq!(code(ask()), "ExpiredAuthenticationToken");
    }

    #[test]
    fn other_tokens_open_nothing() {
        let (identity, _) = identity();
        let check = |text: &str| identity.check(&call("/subscriptions", "authorization", text));
        let local = token_for(&identity, "http://localhost:4000/");
        assert!(check(&format!("bearer {local}")).is_ok());
        let graph = token_for(&identity, "https://graph.microsoft.com/");
        assert_eq!(code(check(&format!("Bearer {graph}"))), "InvalidAuthenticationTokenAudience");
        assert_eq!(code(check(&format!("Bearer {local}x"))), "InvalidAuthenticationToken");
        assert_eq!(code(check("Basic abc")), "AuthenticationFailed");
        identity.expire_all();
        assert_eq!(code(check(&format!("Bearer {local}"))), "ExpiredAuthenticationToken");
    }

    #[test]
    fn no_token_without_the_secret_and_a_resource() {
        let (identity, _) = identity();
        let ask = |query: &str, secret: &str| {
            identity.token(&call(&format!("/msi/token?{query}"), "x-identity-header", secret)).status
        };
        let secret = identity.secret().to_owned();
        assert_eq!(ask("api-version=2019-08-01&resource=x", "wrong"), 401);
        assert_eq!(ask("api-version=2019-08-01&resource=x", &secret[1..]), 401);
        assert_eq!(ask("api-version=2019-08-01", &secret), 400);
        assert_eq!(ask("resource=x", &secret), 400);
        assert_eq!(ask("api-version=2019-08-01&resource=x&client_id=me", &secret), 400);
        assert_eq!(identity.issued(), 0);
        assert!(!format!("{identity:?}").contains(&secret));
    }

    #[test]
    fn base64_for_urls() {
        for (bytes, text) in [("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foob", "Zm9vYg")] {
            assert_eq!(base64url(bytes.as_bytes()), text);
        }
        assert_eq!(base64url(&[0xfb, 0xff]), "-_8");
    }
}
