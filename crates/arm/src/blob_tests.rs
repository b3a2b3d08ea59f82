//! Blobs: what is sent, and what the service's codes come to.

use std::sync::Mutex;

use super::*;
use crate::http::{HeaderValue, Request, Response, TransportError};
use crate::token::StaticToken;
use azmend_base::clock::SystemClock;

/// Answers in order, and keeps what was sent.
#[derive(Debug, Default)]
struct Account {
    answers: Mutex<Vec<(u16, &'static str)>>,
    sent: Mutex<Vec<Request>>,
}

#[async_trait]
impl Transport for Account {
    async fn send(&self, request: &Request) -> Result<Response, TransportError> {
        self.sent.lock().unwrap().push(request.clone());
        let mut answers = self.answers.lock().unwrap();
        if answers.is_empty() {
            return Err(TransportError::Lost { host: "x".into(), why: "broken".into() });
        }
        let (status, code) = answers.remove(0);
        let mut headers = crate::http::HeaderMap::new();
        headers.insert("x-ms-error-code", HeaderValue::from_static(code));
        Ok(Response { status, headers, body: Bytes::new() })
    }
}

fn container(answers: &[(u16, &'static str)]) -> (Arc<Account>, Container) {
    let account = Arc::new(Account { answers: Mutex::new(answers.to_vec()), sent: Mutex::default() });
    let endpoint = blob_endpoint(Cloud::Public, "contoso", None).unwrap();
    let tokens = Arc::new(StaticToken::new("the-token", "test"));
    let container = Container::new(&endpoint, ("state", "team/a"), tokens, account.clone(), Arc::new(SystemClock));
    (account, container.unwrap())
}

#[tokio::test]
async fn an_append_carries_lease_position_and_token() {
    let (account, container) = container(&[(201, "")]);
    container.append("runs/1/journal.jsonl", 42, b"line\n", Some("the-lease")).await.unwrap();
    let sent = account.sent.lock().unwrap();
    let [request] = sent.as_slice() else { panic!("{sent:?}") };
    assert_eq!(request.url.host_str(), Some("contoso.blob.core.windows.net"));
    let path = request.url.path().replace("%2F", "/");
    assert_eq!((path.as_str(), request.url.query()), ("/state/team/a/runs/1/journal.jsonl", Some("comp=appendblock")));
    let header = |name: &str| request.headers.get(name).and_then(|value| value.to_str().ok());
    assert_eq!(header("x-ms-blob-condition-appendpos"), Some("42"));
    assert_eq!(header("x-ms-lease-id"), Some("the-lease"));
    assert_eq!(header("authorization"), Some("Bearer the-token"));
    assert_eq!(&request.body[..], b"line\n");
    assert!(!format!("{request:?}").contains("the-token"), "a token is not shown");
}

#[tokio::test]
async fn the_codes_of_the_service_are_told_apart() {
    for (status, code, answer) in [
        (404, "BlobNotFound", Answer::NotFound),
        (404, "ContainerNotFound", Answer::NoContainer),
        (412, "AppendPositionConditionNotMet", Answer::Position),
        (412, "LeaseIdMismatchWithBlobOperation", Answer::LeaseLost),
        (412, "LeaseNotPresentWithBlobOperation", Answer::LeaseLost),
        (412, "LeaseLost", Answer::LeaseLost),
        (409, "LeaseAlreadyPresent", Answer::LeaseTaken),
        (403, "AuthorizationPermissionMismatch", Answer::Denied),
        (503, "ServerBusy", Answer::Unsure),
        (500, "OperationTimedOut", Answer::Unsure),
        (409, "BlockCountExceedsLimit", Answer::Other),
    ] {
        let (account, container) = container(&[(status, code)]);
        let error = container.append("x", 0, b"y", None).await.unwrap_err();
        assert_eq!((error.answer, error.why.as_str()), (answer, format!("{status} {code}").as_str()));
        assert_eq!(account.sent.lock().unwrap().len(), 1, "nothing is repeated");
    }
    let (_, container) = container(&[]);
    assert_eq!(container.append("x", 0, b"y", None).await.unwrap_err().answer, Answer::Unsure);
}

#[tokio::test]
async fn what_exists_is_never_written_over() {
    for (status, code) in [(409, "BlobAlreadyExists"), (412, "ConditionNotMet")] {
        let (account, container) = container(&[(status, code), (status, code)]);
        assert_eq!(container.put("plan.json", b"{}").await.unwrap_err().answer, Answer::Exists);
        assert_eq!(container.start("journal.jsonl").await.unwrap_err().answer, Answer::Exists);
        for request in account.sent.lock().unwrap().iter() {
            assert_eq!(request.headers.get("if-none-match").unwrap(), "*");
        }
    }
}

#[tokio::test]
async fn a_token_that_is_not_accepted_is_renewed_once() {
    let (account, container) = container(&[(401, "InvalidAuthenticationInfo"), (200, "")]);
    container.renew("x", "lease").await.unwrap();
    assert_eq!(account.sent.lock().unwrap().len(), 2);
    let (account, container) =
        self::container(&[(401, "InvalidAuthenticationInfo"), (401, "InvalidAuthenticationInfo")]);
    assert_eq!(container.renew("x", "lease").await.unwrap_err().answer, Answer::SignIn);
    assert_eq!(account.sent.lock().unwrap().len(), 2);
}

#[test]
fn a_token_goes_to_https_alone() {
    let own = |cloud| blob_endpoint(cloud, "contoso", None).unwrap().to_string();
    assert_eq!(own(Cloud::China), "https://contoso.blob.core.chinacloudapi.cn/");
    assert!(blob_endpoint(Cloud::Public, "a", Some("https://127.0.0.1:10000/devstoreaccount1")).is_ok());
    for bad in
        ["http://127.0.0.1:10000/a", "http://evil.example/", "ftp://x/", "x", "https://u:p@x/", "https://x/?sig=1"]
    {
        assert!(blob_endpoint(Cloud::Public, "a", Some(bad)).is_err(), "{bad}");
    }
}
