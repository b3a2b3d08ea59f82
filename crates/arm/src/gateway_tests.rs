//! Retries, throttling and next links of reads; a change is sent once.

use std::sync::Mutex;
use std::sync::atomic::AtomicU32;

use async_trait::async_trait;
use serde_json::json;

use super::*;
use crate::http::TransportError;
use crate::id::ResourceId;
use crate::testing::{Script, lost, not_sent, with_header};
use crate::token::{Secret, SignInError, StaticToken};
use azmend_base::clock::VirtualClock;

const SUB: &str = "/subscriptions/11111111-1111-1111-1111-111111111111";

#[derive(Debug, Default)]
struct CountingTokens {
    forgotten: AtomicU32,
    broken: Mutex<Option<SignInError>>,
}

#[async_trait]
impl TokenSource for CountingTokens {
    async fn token(&self) -> Result<Secret, SignInError> {
        match &*self.broken.lock().unwrap() {
            Some(error) => Err(error.clone()),
            None => Ok(Secret::new(&format!("token-{}", self.forgotten.load(Ordering::Relaxed)))),
        }
    }

    async fn forget(&self) {
        self.forgotten.fetch_add(1, Ordering::Relaxed);
    }

    fn describe(&self) -> String {
        "test".into()
    }
}

fn clock() -> VirtualClock {
    VirtualClock::new("2026-11-20T09:00:00Z".parse().unwrap())
}

fn gateway(script: &Script, clock: &VirtualClock) -> Gateway {
    let endpoint = "https://management.azure.com".parse().unwrap();
    let tokens = Arc::new(StaticToken::new("secret", "test"));
    Gateway::new(Arc::new(script.clone()), tokens, Arc::new(clock.clone()), endpoint, "run-1").unwrap()
}

fn get(path: &str) -> Request {
    Request::new(Method::GET, format!("https://management.azure.com{path}").parse().unwrap())
}

fn delete() -> Request {
    Request::new(Method::DELETE, format!("https://management.azure.com{SUB}/resourceGroups/g").parse().unwrap())
}

#[tokio::test]
async fn a_refusal_with_status_401_is_not_answered_with_a_new_token() {
    let script = Script::new(|_| {
        let body = json!({ "error": { "code": "UnauthorizedApplicationId", "message": "is owned by system application(s) 'x'." } });
        Ok(Response::json(401, &body))
    });
    let tokens = Arc::new(CountingTokens::default());
    let endpoint = "https://management.azure.com".parse().unwrap();
    let gateway = Gateway::new(
        Arc::new(script.clone()),
        Arc::clone(&tokens) as Arc<dyn TokenSource>,
        Arc::new(clock()),
        endpoint,
        "r",
    )
    .unwrap();
    for request in [get("/a"), delete()] {
        assert_eq!(gateway.send(request, None).await.unwrap_err().class(), ErrorClass::Forbidden);
    }
    assert_eq!((script.seen().len(), tokens.forgotten.load(Ordering::Relaxed)), (2, 0));
}

/// A wait that Azure asks for may be long; a read returns after ten minutes at the latest and says when to come back.
#[tokio::test]
async fn a_throttled_read_returns_within_its_bound_and_says_when_to_come_back() {
    for (asked, most) in [(324, 600), (1200, 0), (599, 600), (60, 600)] {
        let script = Script::new(move |_| {
            let mut response = with_header(Response::empty(429), "retry-after", &asked.to_string());
            response.body = json!({ "error": { "code": "TooManyRequests", "message": "m" } }).to_string().into();
            Ok(response)
        });
        let clock = clock();
        let begin = clock.now();
        let error = gateway(&script, &clock).send(get(&format!("{SUB}/x")), None).await.unwrap_err();
        let spent = elapsed(begin, clock.now());
        assert!(spent <= Limits::default().total && spent.as_secs() <= most, "{asked}: {spent:?}");
        assert_eq!(error.class(), ErrorClass::Throttled);
        assert_eq!(error.retry_after.map(azmend_base::duration::Span::as_secs), Some(asked));
        assert!(!error.is_unreachable());
    }
}

#[tokio::test]
async fn a_read_does_not_wait_longer_than_its_bound_for_its_turn() {
    let script = Script::new(|_| Ok(Response::json(200, &json!({ "value": [] }))));
    let clock = clock();
    let gateway = gateway(&script, &clock);
    let jobs = get(&format!("{SUB}/resourceGroups/g/providers/Microsoft.RecoveryServices/vaults/v/backupJobs"));
    for _ in 0..1000 {
        assert!(gateway.shared.throttle.reserve(&jobs, clock.now()) < Duration::from_secs(86_400));
    }
    let begin = clock.now();
    let error = gateway.send(jobs, None).await.unwrap_err();
    assert_eq!((error.class(), script.seen().len()), (ErrorClass::Throttled, 0));
    assert!(error.retry_after.is_some_and(|wait| wait.as_secs() > 600));
    assert!(elapsed(begin, clock.now()) <= Limits::default().total);
}

#[tokio::test]
async fn every_request_is_signed_and_identified() {
    let script = Script::new(|_| Ok(Response::empty(200)));
    let gateway = gateway(&script, &clock()).with_run_id("run 2\r\nx: y");
    let tag = Uuid::from_u128(7);
    gateway.send(delete(), Some(tag)).await.unwrap();
    let seen = &script.seen()[0].headers;
    assert_eq!(seen["authorization"], "Bearer secret");
    assert!(seen["authorization"].is_sensitive());
    assert_eq!(seen["user-agent"], format!("azmend/{} (run/run2xy)", env!("CARGO_PKG_VERSION")));
    assert_eq!(seen["x-ms-client-request-id"], tag.to_string());
    assert_eq!(seen["accept-language"], "en-US");
    assert_eq!(gateway.calls(), 1);
}

#[tokio::test]
async fn a_token_goes_nowhere_else() {
    let script = Script::new(|_| Ok(Response::empty(200)));
    let gateway = gateway(&script, &clock());
    for url in [
        "https://management.azure.com.evil.example/x",
        "http://management.azure.com/x",
        "https://management.azure.com:8443/x",
        "https://management.azure.com@evil.example/x",
        "https://user@management.azure.com/x",
    ] {
        let error = gateway.send(Request::new(Method::GET, url.parse().unwrap()), None).await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::Refused, "{url}");
    }
    assert!(script.seen().is_empty());
    assert!(gateway.send(get(":443/x"), None).await.is_ok(), "the default port is the same place");
    let bad = Gateway::new(
        Arc::new(script),
        Arc::new(StaticToken::new("t", "t")),
        Arc::new(clock()),
        "http://management.azure.com".parse().unwrap(),
        "r",
    );
    assert!(bad.is_err());
}

#[tokio::test]
async fn reads_are_retried_and_changes_are_sent_once() {
    for answer in [|| Ok(Response::empty(503)), || Err(lost("reset")), || Err(not_sent()), || Ok(Response::empty(429))]
    {
        let (script, clock) = (Script::new(move |_| answer()), clock());
        let gateway = gateway(&script, &clock);
        assert!(gateway.send(delete(), None).await.is_err());
        assert_eq!(script.seen().len(), 1, "a change leaves exactly once");
        assert!(gateway.send(get("/x"), None).await.is_err());
        assert!(script.seen().len() > 3, "a read is tried again");
    }
    let post = "/subscriptions/s/providers/Microsoft.RecoveryServices/locations/westeurope/backupStatus";
    let script = Script::list(vec![Response::empty(503), Response::empty(200)]);
    let request = Request::new(Method::POST, get(post).url);
    gateway(&script, &clock()).send(request, None).await.unwrap();
    assert_eq!(script.seen().len(), 2, "backupStatus only reads");
}

#[tokio::test]
async fn retry_after_is_waited_on_the_clock() {
    let wait = with_header(Response::empty(429), "retry-after", "120");
    let (script, clock) = (Script::list(vec![wait, Response::empty(200)]), clock());
    let begin = clock.now();
    gateway(&script, &clock).send(get("/x"), None).await.unwrap();
    assert_eq!(elapsed(begin, clock.now()), Duration::from_secs(120));
}

#[tokio::test]
async fn a_redirect_is_an_error() {
    let moved = with_header(Response::empty(302), "location", "https://evil.example/");
    let script = Script::list(vec![moved]);
    let error = gateway(&script, &clock()).send(get("/x"), None).await.unwrap_err();
    assert_eq!((error.status(), error.class()), (Some(302), ErrorClass::Other));
    assert_eq!(script.seen().len(), 1);
}

#[tokio::test]
async fn a_401_renews_the_token_once() {
    let tokens = Arc::new(CountingTokens::default());
    let script = Script::new(|request| {
        let good = request.headers["authorization"] == "Bearer token-1";
        Ok(Response::empty(if good { 200 } else { 401 }))
    });
    let endpoint: Url = "https://management.azure.com".parse().unwrap();
    let gateway = Gateway::new(Arc::new(script.clone()), tokens.clone(), Arc::new(clock()), endpoint, "r").unwrap();
    gateway.send(get("/x"), None).await.unwrap();
    assert_eq!(script.seen().len(), 2);
    tokens.forget().await;
    assert_eq!(gateway.send(delete(), None).await.unwrap_err().class(), ErrorClass::SignIn);
    assert_eq!(script.seen().len(), 3, "a change is not sent again, but the next token will be new");
    assert_eq!(tokens.forgotten.load(Ordering::Relaxed), 3);
    *tokens.broken.lock().unwrap() = Some(SignInError::one("azure-cli", "not logged in"));
    let error = gateway.send(get("/x"), None).await.unwrap_err();
    assert!(error.message.contains("azure-cli: not logged in"));
    assert_eq!(script.seen().len(), 3, "without a token nothing is sent");
}

#[tokio::test]
async fn a_change_is_not_held_back_for_long() {
    let body = json!({ "error": { "code": "SubscriptionRequestsThrottled", "message": "Please try again after '306' seconds." } });
    let script = Script::new(move |_| Ok(Response::json(429, &body)));
    let gateway = gateway(&script, &clock());
    assert_eq!(gateway.send(delete(), None).await.unwrap_err().class(), ErrorClass::Throttled);
    let held = gateway.send(delete(), None).await.unwrap_err();
    assert_eq!((held.class(), held.may_have_taken_effect()), (ErrorClass::Throttled, false));
    assert!(held.retry_after.unwrap().as_secs() >= 306);
    assert_eq!(script.seen().len(), 1, "the second was not sent");
}

fn group(name: &str) -> Value {
    json!({ "id": format!("{SUB}/resourceGroups/{name}"), "name": name })
}

async fn list(pages: Vec<Value>) -> Result<Listing<ResourceId>, ArmError> {
    let script = Script::list(pages.iter().map(|page| Response::json(200, page)).collect());
    let gateway = gateway(&script, &clock());
    let url = gateway.url(&format!("{SUB}/resourceGroups"), &[("api-version", "2021-04-01")]);
    gateway.get_list(url).await
}

#[tokio::test]
async fn all_pages_are_read() {
    let next = |n: u8| format!("https://management.azure.com{SUB}/resourceGroups?$skiptoken={n}");
    let listing = list(vec![
        json!({ "value": [group("a"), { "name": "broken" }, null], "nextLink": next(1) }),
        json!({ "value": null, "nextLink": next(2) }),
        json!({ "value": [group("b")], "nextLink": "" }),
    ])
    .await
    .unwrap();
    let names: Vec<&str> = listing.items.iter().map(ResourceId::name).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(listing.malformed.len(), 2, "what cannot be read is said");
    assert!(listing.malformed.first().unwrap().contains("element broken: it has no id"), "{:?}", listing.malformed);
}

#[tokio::test]
async fn a_list_without_its_end_is_not_a_list() {
    let link = |link: &str| json!({ "value": [], "nextLink": link });
    let circle = format!("https://management.azure.com{SUB}/resourceGroups?x=1");
    let error = list(vec![link(&circle), link(&circle)]).await.unwrap_err();
    assert!(error.message.contains("circle"));
    let error = list(vec![link("https://evil.example/x")]).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Refused);
    for page in [json!({}), json!([]), json!({ "value": {} }), json!({ "value": [], "nextLink": 7 })] {
        assert!(list(vec![page.clone()]).await.is_err(), "{page}");
    }
}

#[tokio::test]
async fn bodies_are_bounded_and_must_be_json() {
    let mut large = Response::empty(200);
    large.body = vec![b' '; MAX_BODY + 1].into();
    let mut marked = Response::empty(200);
    marked.body = "\u{feff}{}".into();
    let gateway = gateway(&Script::list(vec![large, marked, Response::empty(200)]), &clock());
    let url = || get("/x").url;
    assert!(gateway.get(url()).await.unwrap_err().message.contains("32 MB"));
    assert_eq!(gateway.get(url()).await.unwrap(), json!({}));
    assert!(gateway.get(url()).await.unwrap_err().message.contains("empty"));
    let refused = gateway.read_once(delete()).await.unwrap_err();
    assert_eq!(refused.class(), ErrorClass::Refused);
    let closed = Script::new(|r| Err(TransportError::Refused { request: r.summary(), why: "rule s1".into() }));
    let error = super::tests::gateway(&closed, &clock()).send(delete(), None).await.unwrap_err();
    assert_eq!((error.class(), closed.seen().len()), (ErrorClass::Refused, 1));
}
