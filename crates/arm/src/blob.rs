//! A container of blobs, by the official client `azure_storage_blob`: one request for each call.
//!
//! Duty: the requests that state in a storage account needs (conditional puts, appends under a lease at a position, leases, lists),
//! and what kind of answer came back. Invariants: the token is that of our own sign-in, for storage; requests go through our
//! own network, so proxies, certificates and the TLS provider are the same as for ARM; the client repeats nothing; a token never
//! goes anywhere but to the configured endpoint, over https. It knows nothing of journals.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use azure_core::error::ErrorKind;
use azure_core::http::{ClientOptions, RequestContent, RetryOptions, Transport as CoreTransport};
use azure_core::time::OffsetDateTime;
use azure_storage_blob::models::{
    AppendBlobClientAppendBlockOptions, AppendBlobClientCreateOptions, BlobClientAcquireLeaseOptions,
    BlobClientDeleteOptions, BlobClientGetPropertiesResultHeaders as _, BlobClientSetMetadataOptions,
    BlobContainerClientListBlobsOptions, BlockBlobClientUploadOptions, LeaseState,
};
use azure_storage_blob::{BlobClient, BlobContainerClient, BlobContainerClientOptions};
use bytes::Bytes;
use futures::TryStreamExt as _;
use jiff::Timestamp;
use url::Url;

use crate::cloud::{Cloud, check_endpoint};
use crate::credential::CoreHttp;
use crate::error_body::clean;
use crate::http::Transport;
use crate::token::TokenSource;
use azmend_base::clock::{Clock, later};

/// What a token for storage is asked for; the official client uses the same for every account and cloud.
pub const STORAGE_SCOPE: &str = "https://storage.azure.com/.default";
/// How soon the client asks us for the token again: we keep it ourselves, and know when it is renewed.
const ASK_AGAIN: Duration = Duration::from_secs(600);
/// The key under which it is written on a blob who has its lease.
const LABEL: &str = "azmend_holder";

/// What kind of answer a request got that did not do what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// None, or one that says nothing: it may have been done.
    Unsure,
    /// There is no such blob.
    NotFound,
    /// There is no such container.
    NoContainer,
    /// The blob exists already.
    Exists,
    /// The blob does not end at the position that was named.
    Position,
    /// Another lease is on it.
    LeaseTaken,
    /// The lease that was named is not on it.
    LeaseLost,
    /// No token could be had, or the service did not accept it.
    SignIn,
    /// This identity may not.
    Denied,
    /// Anything else.
    Other,
}

/// Why a request did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct BlobError {
    /// The kind.
    pub answer: Answer,
    /// What was said.
    pub why: String,
}

/// A blob in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedBlob {
    /// Its name, without the container's prefix.
    pub name: String,
    /// When it was changed last.
    pub modified: Option<Timestamp>,
    /// Another one after each change.
    pub tag: Option<String>,
}

/// What can be seen of a blob without reading it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SeenBlob {
    /// Whether a lease is on it.
    pub leased: bool,
    /// What was written on it.
    pub label: Option<String>,
}

/// The blob endpoint of an account: the cloud's own, or the one that the user gave (a private one, an emulator).
///
/// # Errors
/// Why a token must not go there.
pub fn blob_endpoint(cloud: Cloud, account: &str, given: Option<&str>) -> Result<Url, String> {
    // `az cloud show --query suffixes.storageEndpoint` of the three clouds.
    let suffix = match cloud {
        Cloud::Public => "core.windows.net",
        Cloud::UsGov => "core.usgovcloudapi.net",
        Cloud::China => "core.chinacloudapi.cn",
    };
    let own = format!("https://{account}.blob.{suffix}/");
    let text = given.unwrap_or(&own);
    let bad = |why: &str| format!("{:?} cannot be a blob endpoint: {why}", text.chars().take(120).collect::<String>());
    let url: Url = text.parse().map_err(|_| bad("it is not a URL"))?;
    if url.scheme() != "https" {
        return Err(bad("https is needed, on loopback too: a token goes there"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(bad("it must not contain a query: no shared access signature is used"));
    }
    let mut host = url.clone();
    host.set_path("/");
    check_endpoint(&host).map_err(bad)?;
    Ok(url)
}

/// A container, and the prefix below which all names are.
#[derive(Clone)]
pub struct Container {
    client: Arc<BlobContainerClient>,
    tokens: Arc<dyn TokenSource>,
    url: Url,
    prefix: String,
}

impl fmt::Debug for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Container({})", self.place(""))
    }
}

/// Our sign-in as the client wants it.
#[derive(Debug)]
struct OurToken {
    tokens: Arc<dyn TokenSource>,
    clock: Arc<dyn Clock>,
}

#[async_trait]
impl TokenCredential for OurToken {
    async fn get_token(&self, _: &[&str], _: Option<TokenRequestOptions<'_>>) -> azure_core::Result<AccessToken> {
        let token = self.tokens.token().await.map_err(|error| {
            let text = error.to_string();
            azure_core::Error::with_error(ErrorKind::Credential, error, text)
        })?;
        let until = later(self.clock.now(), ASK_AGAIN).as_second();
        let until = OffsetDateTime::from_unix_timestamp(until).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        Ok(AccessToken::new(token.expose().to_owned(), until))
    }
}

/// Sends one request; one that the service refuses for its token is sent once more with a new one.
macro_rules! ask {
    ($self:expr, $request:expr) => {{
        let mut out = $request.await;
        if out.as_ref().is_err_and(|error| status(error) == Some(401)) {
            $self.tokens.forget().await;
            out = $request.await;
        }
        out.map_err(|error| told(&error))
    }};
}

impl Container {
    /// A container of the account at `endpoint`. Nothing is sent yet.
    ///
    /// # Errors
    /// When the client does not take the address.
    pub fn new(
        endpoint: &Url,
        (container, prefix): (&str, &str),
        tokens: Arc<dyn TokenSource>,
        network: Arc<dyn Transport>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, BlobError> {
        let mut url = endpoint.clone();
        match url.path_segments_mut() {
            Ok(mut segments) => drop(segments.pop_if_empty().push(container)),
            Err(()) => {
                return Err(BlobError { answer: Answer::Other, why: "the endpoint is not an address".to_owned() });
            }
        }
        let client_options = ClientOptions {
            transport: Some(CoreTransport::new(Arc::new(CoreHttp::new(network)))),
            retry: RetryOptions::none(),
            ..ClientOptions::default()
        };
        let options = BlobContainerClientOptions { client_options, ..BlobContainerClientOptions::default() };
        let credential = Arc::new(OurToken { tokens: Arc::clone(&tokens), clock });
        let client = BlobContainerClient::new(url.clone(), Some(credential), Some(options)).map_err(|e| told(&e))?;
        let prefix = if prefix.is_empty() { String::new() } else { format!("{}/", prefix.trim_end_matches('/')) };
        Ok(Self { client: Arc::new(client), tokens, url, prefix })
    }

    /// Where a blob is, for people.
    #[must_use]
    pub fn place(&self, name: &str) -> String {
        clean(&format!("{}/{}{name}", self.url, self.prefix))
    }

    fn blob(&self, name: &str) -> BlobClient {
        self.client.blob_client(&format!("{}{name}", self.prefix))
    }

    /// The whole content.
    ///
    /// # Errors
    /// [`BlobError`].
    pub async fn get(&self, name: &str) -> Result<Vec<u8>, BlobError> {
        let blob = self.blob(name);
        let found = ask!(self, Box::pin(blob.download(None)))?;
        // A blob that grows while it is read in parts is read again.
        let unsure = |error: azure_core::Error| match status(&error) {
            Some(412) => BlobError { answer: Answer::Unsure, why: "it was changed while it was read".to_owned() },
            _ => told(&error),
        };
        Ok(found.body.collect().await.map_err(unsure)?.to_vec())
    }

    /// A new block blob; never over one that exists.
    ///
    /// # Errors
    /// [`BlobError`].
    pub async fn put(&self, name: &str, content: &[u8]) -> Result<(), BlobError> {
        let (blob, content) = (self.blob(name).block_blob_client(), Bytes::copy_from_slice(content));
        let options = || BlockBlobClientUploadOptions { if_none_match: Some("*".into()), ..Default::default() };
        let sent = ask!(self, Box::pin(blob.upload(RequestContent::from(content.to_vec()), Some(options()))));
        sent.map(drop).map_err(exists)
    }

    /// A new, empty append blob; never over one that exists.
    ///
    /// # Errors
    /// [`BlobError`].
    pub async fn start(&self, name: &str) -> Result<(), BlobError> {
        let blob = self.blob(name).append_blob_client();
        let options = || AppendBlobClientCreateOptions { if_none_match: Some("*".into()), ..Default::default() };
        ask!(self, Box::pin(blob.create(Some(options())))).map(drop).map_err(exists)
    }

    /// Adds at a position or not at all; under a lease, when there is one.
    ///
    /// # Errors
    /// [`BlobError`].
    pub async fn append(&self, name: &str, at: u64, bytes: &[u8], lease: Option<&str>) -> Result<(), BlobError> {
        let blob = self.blob(name).append_blob_client();
        let position = i64::try_from(at).unwrap_or(i64::MAX);
        let options = || AppendBlobClientAppendBlockOptions {
            append_position: Some(position),
            lease_id: lease.map(str::to_owned),
            ..Default::default()
        };
        let body = || RequestContent::from(bytes.to_vec());
        ask!(self, Box::pin(blob.append_block(body(), bytes.len() as u64, Some(options())))).map(drop)
    }

    /// All blobs whose names begin like this, page by page.
    ///
    /// # Errors
    /// [`BlobError`].
    pub async fn list(&self, prefix: &str) -> Result<Vec<ListedBlob>, BlobError> {
        let options = || BlobContainerClientListBlobsOptions {
            prefix: Some(format!("{}{prefix}", self.prefix)),
            ..Default::default()
        };
        let items = ask!(self, async { self.client.list_blobs(Some(options()))?.try_collect::<Vec<_>>().await })?;
        let listed = items.into_iter().filter_map(|item| {
            let name = item.name?.strip_prefix(&self.prefix)?.to_owned();
            let properties = item.properties.unwrap_or_default();
            let modified = properties.last_modified.and_then(|at| Timestamp::from_second(at.unix_timestamp()).ok());
            Some(ListedBlob { name, modified, tag: properties.etag.map(|tag| tag.to_string()) })
        });
        Ok(listed.collect())
    }

    /// Deletes a blob.
    ///
    /// # Errors
    /// [`BlobError`].
    pub async fn delete(&self, name: &str, lease: Option<&str>) -> Result<(), BlobError> {
        let blob = self.blob(name);
        let options = || BlobClientDeleteOptions { lease_id: lease.map(str::to_owned), ..Default::default() };
        ask!(self, Box::pin(blob.delete(Some(options())))).map(drop)
    }

    /// Gets the lease of a blob under an id of one's own choice.
    ///
    /// # Errors
    /// [`BlobError`].
    pub async fn acquire(&self, name: &str, lease: &str, time: Duration) -> Result<(), BlobError> {
        let blob = self.blob(name);
        let seconds = i32::try_from(time.as_secs()).unwrap_or(60);
        let options =
            || BlobClientAcquireLeaseOptions { proposed_lease_id: Some(lease.to_owned()), ..Default::default() };
        ask!(self, Box::pin(blob.acquire_lease(seconds, Some(options())))).map(drop)
    }

    /// The lease's time begins again.
    ///
    /// # Errors
    /// [`BlobError`].
    pub async fn renew(&self, name: &str, lease: &str) -> Result<(), BlobError> {
        let blob = self.blob(name);
        ask!(self, Box::pin(blob.renew_lease(lease.to_owned(), None))).map(drop)
    }

    /// Gives the lease up.
    ///
    /// # Errors
    /// [`BlobError`].
    pub async fn release(&self, name: &str, lease: &str) -> Result<(), BlobError> {
        let blob = self.blob(name);
        ask!(self, Box::pin(blob.release_lease(lease.to_owned(), None))).map(drop)
    }

    /// Writes on a blob who has its lease.
    ///
    /// # Errors
    /// [`BlobError`].
    pub async fn label(&self, name: &str, lease: &str, text: &str) -> Result<(), BlobError> {
        let blob = self.blob(name);
        // It travels in a header.
        let text: String = text.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).collect();
        let labels = HashMap::from([(LABEL.to_owned(), text)]);
        let options = || BlobClientSetMetadataOptions { lease_id: Some(lease.to_owned()), ..Default::default() };
        ask!(self, Box::pin(blob.set_metadata(&labels, Some(options())))).map(drop)
    }

    /// What can be seen of a blob.
    ///
    /// # Errors
    /// [`BlobError`].
    pub async fn look(&self, name: &str) -> Result<SeenBlob, BlobError> {
        let blob = self.blob(name);
        let found = ask!(self, Box::pin(blob.get_properties(None)))?;
        let state = found.lease_state().map_err(|e| told(&e))?;
        let leased = matches!(state, Some(LeaseState::Leased | LeaseState::Breaking));
        let labels = found.metadata().map_err(|e| told(&e))?;
        let label = labels.into_iter().find(|(key, _)| key.eq_ignore_ascii_case(LABEL)).map(|(_, text)| text);
        Ok(SeenBlob { leased, label })
    }
}

fn status(error: &azure_core::Error) -> Option<u16> {
    error.http_status().map(u16::from)
}

/// "Never over one that exists" is answered with one of two codes.
fn exists(error: BlobError) -> BlobError {
    if error.why.contains("ConditionNotMet") { BlobError { answer: Answer::Exists, ..error } } else { error }
}

/// What an error says. The codes are those of learn.microsoft.com, "Blob Storage error codes" and "Common REST API error codes".
fn told(error: &azure_core::Error) -> BlobError {
    let (status, code) = match error.kind() {
        ErrorKind::HttpResponse { status, error_code, .. } => (u16::from(*status), error_code.as_deref().unwrap_or("")),
        kind => {
            let answer = match kind {
                ErrorKind::Connection | ErrorKind::Io => Answer::Unsure,
                ErrorKind::Credential => Answer::SignIn,
                _ => Answer::Other,
            };
            return BlobError { answer, why: clean(&error.to_string()) };
        }
    };
    let answer = match (code, status) {
        ("BlobNotFound" | "ResourceNotFound", _) => Answer::NotFound,
        ("ContainerNotFound" | "ContainerBeingDeleted" | "ContainerDisabled", _) => Answer::NoContainer,
        ("BlobAlreadyExists", _) => Answer::Exists,
        ("AppendPositionConditionNotMet", _) => Answer::Position,
        ("LeaseAlreadyPresent" | "LeaseIsBreakingAndCannotBeAcquired" | "LeaseIdMissing", _) => Answer::LeaseTaken,
        (code, 404 | 409 | 412) if code.starts_with("Lease") => Answer::LeaseLost,
        (_, 401) => Answer::SignIn,
        (_, 403) => Answer::Denied,
        (_, 404) => Answer::NotFound,
        (_, 408 | 429 | 500..) => Answer::Unsure,
        _ => Answer::Other,
    };
    BlobError { answer, why: clean(format!("{status} {code}").trim_end()) }
}

#[cfg(test)]
#[path = "blob_tests.rs"]
mod tests;
