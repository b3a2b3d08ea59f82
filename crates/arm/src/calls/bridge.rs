//! The generated 0.21 clients over our gateway.
//!
//! A call builds a client whose transport is a [`Seam`]: it hands the request to the gateway and keeps what came back,
//! because the generated response drops repeated headers and its models reject what they do not know. The credential
//! is a dummy: the real token is put on by the gateway, so the SDK can neither hold nor log it.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use azure_core_021 as core;
use bytes::Bytes;
use core::auth::{AccessToken, TokenCredential};
use core::error::ErrorKind;
use futures::StreamExt;
use futures::future::BoxFuture;
use url::Url;
use uuid::Uuid;

use crate::error::ArmError;
use crate::gateway::{Gateway, json, one};
use crate::http::{Method, Request, Response};
use crate::id::ResourceId;
use crate::listing::Listing;
use crate::model::FromWire;
use crate::poll::Operation;
use crate::poll::Sent;

/// One request and what Azure answered.
#[derive(Debug)]
pub struct Exchange {
    /// As the generated builder made it.
    pub request: Request,
    /// As it came from the wire.
    pub response: Response,
}

/// The transport of one call: it sends one request and refuses any other.
#[derive(Debug, Clone)]
pub struct Seam {
    gateway: Gateway,
    tag: Option<Uuid>,
    kept: Arc<Mutex<Option<Kept>>>,
}

#[derive(Debug)]
enum Kept {
    Sending,
    Ended(Box<(Request, Result<Response, ArmError>)>),
}

impl Seam {
    /// A seam for one call.
    pub fn new(gateway: &Gateway, tag: Option<Uuid>) -> Self {
        Self { gateway: gateway.clone(), tag, kept: Arc::default() }
    }

    /// The endpoint for the client's builder.
    pub fn endpoint(&self) -> Url {
        self.gateway.endpoint().clone()
    }

    /// The transport for the client's builder.
    pub fn transport(&self) -> core::TransportOptions {
        core::TransportOptions::new(Arc::new(self.clone()))
    }

    fn keep(&self, kept: Kept) -> Option<Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).replace(kept)
    }

    fn take(&self) -> Option<Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[async_trait]
impl core::HttpClient for Seam {
    async fn execute_request(&self, request: &core::Request) -> core::Result<core::Response> {
        let other = |error: ArmError| core::Error::new(ErrorKind::Other, error);
        let summary = format!("{} {}", request.method(), request.url().path());
        let body = match request.body() {
            core::Body::Bytes(bytes) => bytes.clone(),
            core::Body::SeekableStream(_) => return Err(other(ArmError::refused(&summary, "its body is a stream"))),
        };
        let method: Method = request
            .method()
            .to_string()
            .parse()
            .map_err(|_| other(ArmError::refused(&summary, "its verb is unknown")))?;
        let mut ours = Request::new(method, request.url().clone());
        ours.body = without_nulls(body);
        if let Some(before) = self.keep(Kept::Sending) {
            self.keep(before);
            return Err(other(ArmError::refused(&summary, "this call has already sent its one request")));
        }
        // Boxed: the gateway's future is large, and every generated call would carry it.
        let result = Box::pin(self.gateway.send(ours.clone(), self.tag)).await;
        let seen = match &result {
            Ok(response) => {
                let status = core::StatusCode::try_from(response.status).unwrap_or(core::StatusCode::Ok);
                let empty = futures::stream::once(async { Ok(Bytes::from_static(b"{}")) });
                Ok(core::Response::new(status, core::headers::Headers::new(), Box::pin(empty)))
            }
            Err(error) => Err(other(error.clone())),
        };
        self.keep(Kept::Ended(Box::new((ours, result))));
        seen
    }
}

/// A generated model writes some values that it does not have as null (the dates of a protected item). The contracts
/// allow no null there, and to a PUT it could mean "take it away": such members are left out.
fn without_nulls(body: Bytes) -> Bytes {
    fn prune(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::Object(members) => {
                members.retain(|_, member| !member.is_null());
                members.values_mut().for_each(prune);
            }
            serde_json::Value::Array(elements) => elements.iter_mut().for_each(prune),
            _ => {}
        }
    }
    match serde_json::from_slice::<serde_json::Value>(&body) {
        Ok(mut value) if !value.is_null() => {
            prune(&mut value);
            serde_json::to_vec(&value).map_or(body, Bytes::from)
        }
        _ => body,
    }
}

/// Stands where the SDK wants a credential.
#[derive(Debug)]
struct NoCredential;

#[async_trait]
impl TokenCredential for NoCredential {
    async fn get_token(&self, _scopes: &[&str]) -> core::Result<AccessToken> {
        Ok(AccessToken::new("none", core::date::parse_rfc3339("2100-01-01T00:00:00Z")?))
    }

    async fn clear_cache(&self) -> core::Result<()> {
        Ok(())
    }
}

/// The dummy credential.
pub fn credential() -> Arc<dyn TokenCredential> {
    Arc::new(NoCredential)
}

/// A generated client (`$module::Client`) over a seam.
macro_rules! client {
    ($seam:expr, $($module:ident)::+) => {
        $($module)::+::Client::builder($crate::calls::bridge::credential())
            .endpoint($seam.endpoint())
            .retry(azure_core_021::RetryOptions::none())
            .transport($seam.transport())
            .build()
    };
}
pub(super) use client;

/// Runs one generated call and returns what went over the wire.
pub async fn ask<R>(
    gateway: &Gateway,
    tag: Option<Uuid>,
    start: impl FnOnce(&Seam) -> core::Result<BoxFuture<'static, core::Result<R>>>,
) -> Result<Exchange, ArmError> {
    let seam = Seam::new(gateway, tag);
    let unsent = |error: core::Error| ArmError::refused("a request of the SDK", &error.to_string());
    let outcome = start(&seam).map_err(unsent)?.await;
    match (seam.take(), outcome) {
        (Some(Kept::Ended(ended)), _) => {
            let (request, result) = *ended;
            Ok(Exchange { request, response: result? })
        }
        (_, Err(error)) => Err(unsent(error)),
        (_, Ok(_)) => Err(ArmError::refused("a request of the SDK", "it sent nothing")),
    }
}

/// The first request of a generated list: its stream is polled once; the next pages are the gateway's.
pub fn first<T: 'static>(
    stream: impl futures::Stream<Item = core::Result<T>> + Send + 'static,
) -> BoxFuture<'static, core::Result<()>> {
    Box::pin(async move {
        let mut stream = Box::pin(stream);
        // What the generated model makes of the page is of no interest; errors of sending are kept by the seam.
        stream.next().await.map_or(Ok(()), |page| page.map(drop))
    })
}

impl Exchange {
    /// One model.
    pub fn one<T: FromWire>(&self) -> Result<T, ArmError> {
        let summary = self.request.summary();
        one(&summary, &json(&summary, &self.response)?)
    }

    /// All pages of a list.
    pub async fn pages<T: FromWire>(&self, gateway: &Gateway) -> Result<Listing<T>, ArmError> {
        Box::pin(gateway.pages(&self.request, &self.response)).await
    }

    /// What Azure said to a change of `resource`.
    pub fn sent(&self, gateway: &Gateway, resource: &ResourceId) -> Sent {
        Operation::started(gateway, &self.request, resource, &self.response)
            .map_or(Sent::Done { status: self.response.status }, Sent::Accepted)
    }
}
