//! A transport that answers with what was recorded.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use azmend::arm::gateway::Gateway;
use azmend::arm::http::{Request, Response, Transport, TransportError};
use azmend::arm::{Arm, ArmSettings, StaticToken};
use azmend::clock::VirtualClock;
use url::Url;

/// Answers in order; an address that is in `pages` is answered with its page. Anything more is an empty last page.
#[derive(Clone, Default)]
pub struct Replay {
    answers: Arc<Mutex<VecDeque<Response>>>,
    pages: Arc<Vec<(Url, Response)>>,
}

impl std::fmt::Debug for Replay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Replay")
    }
}

impl Replay {
    pub fn of(answers: impl IntoIterator<Item = Response>) -> Self {
        Self { answers: Arc::new(Mutex::new(answers.into_iter().collect())), pages: Arc::default() }
    }

    pub fn with_pages(mut self, pages: Vec<(Url, Response)>) -> Self {
        self.pages = Arc::new(pages);
        self
    }

    pub fn arm(&self) -> Arm {
        let settings = ArmSettings { endpoint: endpoint(), run_id: "wire".into() };
        let clock = Arc::new(VirtualClock::new(now()));
        Arm::new(Arc::new(self.clone()), Arc::new(StaticToken::new("t", "test")), clock, settings).unwrap()
    }

    pub fn gateway(&self) -> Gateway {
        let clock = Arc::new(VirtualClock::new(now()));
        let tokens = Arc::new(StaticToken::new("t", "test"));
        Gateway::new(Arc::new(self.clone()), tokens, clock, endpoint(), "wire").unwrap()
    }
}

pub fn endpoint() -> Url {
    "https://management.azure.com".parse().unwrap()
}

pub fn now() -> jiff::Timestamp {
    "2026-11-20T09:00:00Z".parse().unwrap()
}

#[async_trait]
impl Transport for Replay {
    async fn send(&self, request: &Request) -> Result<Response, TransportError> {
        if let Some((_, page)) = self.pages.iter().find(|(url, _)| *url == request.url) {
            return Ok(page.clone());
        }
        let next = self.answers.lock().unwrap().pop_front();
        Ok(next.unwrap_or_else(|| Response::json(200, &serde_json::json!({ "value": [] }))))
    }
}
