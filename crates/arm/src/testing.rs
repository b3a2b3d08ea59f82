//! Helpers for the tests of this room: a transport that answers from a closure, and recorded exchanges.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use serde_json::Value;

use super::http::{HeaderName, Method, Request, Response, Transport, TransportError};

type Answer = dyn FnMut(&Request) -> Result<Response, TransportError> + Send;

/// Answers from a closure and keeps every request.
#[derive(Clone)]
pub struct Script {
    answer: Arc<Mutex<Box<Answer>>>,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl std::fmt::Debug for Script {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Script")
    }
}

impl Script {
    /// Answers every request with `answer`.
    pub fn new(answer: impl FnMut(&Request) -> Result<Response, TransportError> + Send + 'static) -> Self {
        Self { answer: Arc::new(Mutex::new(Box::new(answer))), seen: Arc::default() }
    }

    /// Answers in this order; anything after the last is a lost reply.
    pub fn list(answers: Vec<Response>) -> Self {
        let mut answers = answers.into_iter();
        Self::new(move |_| answers.next().ok_or_else(|| lost("the script has ended")))
    }

    /// What was sent.
    pub fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }

    /// Verb and decoded path and query of everything sent.
    pub fn log(&self) -> Vec<String> {
        let show = |r: &Request| format!("{} {}?{}", r.method, r.url.path(), r.url.query().unwrap_or_default());
        self.seen().iter().map(show).collect()
    }
}

#[async_trait]
impl Transport for Script {
    async fn send(&self, request: &Request) -> Result<Response, TransportError> {
        self.seen.lock().unwrap().push(request.clone());
        let mut answer = self.answer.lock().unwrap();
        (*answer)(request)
    }
}

/// A lost reply.
pub fn lost(why: &str) -> TransportError {
    TransportError::Lost { host: "management.azure.com".into(), why: why.into() }
}

/// A connection that was not made.
pub fn not_sent() -> TransportError {
    TransportError::NotSent { host: "management.azure.com".into(), why: "connection refused".into() }
}

/// A response with one header.
pub fn with_header(mut response: Response, name: &str, value: &str) -> Response {
    response.headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    response
}

fn read(path: &str) -> Value {
    let full = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures").join(path);
    let text = std::fs::read_to_string(&full).unwrap_or_else(|e| panic!("{}: {e}", full.display()));
    serde_json::from_str(&text).unwrap()
}

/// A recorded exchange of `tests/fixtures/errors`.
pub fn exchange(name: &str) -> (Request, Response) {
    let recorded = read(&format!("errors/{name}.json"));
    let uri = recorded["request"]["uri"].as_str().unwrap();
    let url = if uri.starts_with('/') { format!("https://management.azure.com{uri}") } else { uri.to_owned() };
    let method: Method = recorded["request"]["method"].as_str().unwrap().parse().unwrap();
    let status = u16::try_from(recorded["response"]["status"].as_u64().unwrap()).unwrap();
    let mut response = Response::empty(status);
    response.body = recorded["response"]["body_text"].as_str().unwrap_or_default().to_owned().into();
    for (name, values) in recorded["response"]["headers"].as_object().unwrap() {
        for value in values.as_array().unwrap() {
            response = with_header(response, name, value.as_str().unwrap());
        }
    }
    (Request::new(method, url.parse().unwrap()), response)
}

/// The 200 body of a published example of `tests/fixtures/models`, or of a recorded exchange there.
pub fn example(name: &str) -> Value {
    let file = read(&format!("models/{name}.json"));
    if let Some(body) = file.pointer("/responses/200/body") {
        return body.clone();
    }
    match &file["response"]["body_text"] {
        Value::String(text) => serde_json::from_str(text).unwrap(),
        _ => file["response"]["body_json"].clone(),
    }
}
