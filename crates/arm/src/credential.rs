//! Signing in: `azure_identity` credentials behind our token port.
//!
//! Duty: choose the way to sign in (`--auth`), get tokens for the ARM endpoint, keep them until five minutes before
//! they expire, and say what was tried when none works, within seconds. Invariants: the environment comes in as a function; the
//! credentials send through our own network (`wire`), so proxies, certificates and the TLS provider are the same as for
//! ARM; with `auto` the first way that is set up decides: when it fails, nobody else is signed in instead (a wrong
//! secret must not turn a job into the person logged in to the CLI), and once it has worked the run stays with it.
//!
//! The managed identity credential of `azure_identity` reads the `IDENTITY_*` variables of the process itself, and the
//! CLI credential starts `az`; there is no option for either.

use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use azure_core::cloud::{CloudConfiguration, CustomConfiguration};
use azure_core::credentials::TokenCredential;
use azure_core::error::ErrorKind;
use azure_core::http::headers::Headers;
use azure_core::http::{
    AsyncRawResponse, Body, ClientMethodOptions, ClientOptions, HttpClient, Transport as CoreTransport,
};
use azure_identity::{
    AzureCliCredential, AzureCliCredentialOptions, ClientAssertion, ClientAssertionCredential,
    ClientAssertionCredentialOptions, ClientSecretCredential, ClientSecretCredentialOptions, ManagedIdentityCredential,
    ManagedIdentityCredentialOptions, UserAssignedId, WorkloadIdentityCredential, WorkloadIdentityCredentialOptions,
};
use jiff::Timestamp;

use crate::certificate::Certificate;
use crate::cloud::Cloud;
use crate::error_body::clean;
use crate::http::{HeaderName, HeaderValue, Method, Request, Response, Transport, TransportError};
use crate::token::{Auth, Secret, SignIn, SignInAttempt, SignInError, TokenSource};
use azmend_base::clock::{Clock, elapsed};

/// How long before its expiry a token is renewed.
const MARGIN: Duration = Duration::from_secs(300);

/// How long the whole sign-in may take over the network. The retries of `azure_identity` would wait 72 to 81 seconds for an
/// endpoint that does not exist, without a word; a run that is under way tries again by its own patience.
const PATIENCE: Duration = Duration::from_secs(8);
/// The same for the Azure CLI, which is a program that starts slowly: this is for one that hangs.
const PATIENCE_WITH_CLI: Duration = Duration::from_secs(30);

/// A connection that was not made or was lost is tried again after these: a sign-in has no effect that could happen twice.
const AGAIN_AFTER: [Duration; 2] = [Duration::from_millis(500), Duration::from_millis(1500)];

/// Our network as `azure_core`'s HTTP client.
#[derive(Debug)]
pub(crate) struct CoreHttp {
    network: Arc<dyn Transport>,
    /// What `azure_core` takes a failure for: `Connection` and `Io` are what its clients send again.
    kind: fn(&TransportError) -> ErrorKind,
}

impl CoreHttp {
    /// For a client whose own retries are meant.
    pub(crate) fn new(network: Arc<dyn Transport>) -> Self {
        let kind = |error: &TransportError| match error {
            TransportError::NotSent { .. } => ErrorKind::Connection,
            _ => ErrorKind::Io,
        };
        Self { network, kind }
    }

    /// For a credential: it would send again for more than a minute.
    fn sent_once(network: Arc<dyn Transport>) -> Self {
        Self { network, kind: |_| ErrorKind::Other }
    }
}

/// The network of a sign-in: what was not answered is sent again a little later, and the last answer is known.
#[derive(Debug)]
struct SignInNetwork {
    network: Arc<dyn Transport>,
    clock: Arc<dyn Clock>,
    /// The status of the last answer; 0 before one.
    last: Arc<AtomicU16>,
}

#[async_trait]
impl Transport for SignInNetwork {
    async fn send(&self, request: &Request) -> Result<Response, TransportError> {
        let mut pauses = AGAIN_AFTER.iter();
        loop {
            match self.network.send(request).await {
                Ok(response) => {
                    self.last.store(response.status, Ordering::Relaxed);
                    return Ok(response);
                }
                Err(error) => match pauses.next() {
                    Some(pause) => self.clock.sleep(*pause).await,
                    None => return Err(error),
                },
            }
        }
    }
}

#[async_trait]
impl HttpClient for CoreHttp {
    async fn execute_request(&self, request: &azure_core::http::Request) -> azure_core::Result<AsyncRawResponse> {
        let bad = |what: &'static str| azure_core::Error::with_message(ErrorKind::Other, what);
        let method: Method = request.method().as_ref().parse().map_err(|_| bad("unknown verb"))?;
        let mut ours = Request::new(method, request.url().clone());
        for (name, value) in request.headers().iter() {
            let name: HeaderName = name.as_str().parse().map_err(|_| bad("unusable header name"))?;
            let mut value = HeaderValue::from_str(value.as_str()).map_err(|_| bad("unusable header value"))?;
            value.set_sensitive(true);
            ours.headers.insert(name, value);
        }
        ours.body = match request.body() {
            Body::Bytes(bytes) => bytes.clone(),
            Body::SeekableStream(_) => return Err(bad("streams are not sent")),
        };
        let failed = |error: TransportError| {
            azure_core::Error::with_error((self.kind)(&error), error.clone(), error.to_string())
        };
        let response = self.network.send(&ours).await.map_err(failed)?;
        let mut headers = Headers::new();
        for (name, value) in &response.headers {
            if let Ok(value) = value.to_str() {
                headers.insert(name.as_str().to_owned(), value.to_owned());
            }
        }
        Ok(AsyncRawResponse::from_bytes(response.status.into(), headers, response.body))
    }
}

type Make = dyn Fn() -> azure_core::Result<Arc<dyn TokenCredential>> + Send + Sync;

/// One way to sign in. The credential is made anew for every token: those of `azure_identity` keep a token until it
/// expires, also one that Azure no longer accepts.
struct Way {
    name: String,
    make: Result<Box<Make>, String>,
    /// How long it is waited for.
    patience: Duration,
    /// What is asked, for an error: `the identity endpoint http://...`.
    asks: String,
    /// The status of the last answer; 0 before one.
    last: Arc<AtomicU16>,
}

impl Way {
    fn new(auth: Auth, make: Result<Box<Make>, String>, asks: impl Into<String>, last: &Arc<AtomicU16>) -> Self {
        let patience = if auth == Auth::Cli { PATIENCE_WITH_CLI } else { PATIENCE };
        Self { name: auth.name().to_owned(), make, patience, asks: asks.into(), last: Arc::clone(last) }
    }

    /// That its patience has ended, and what was heard until then.
    fn silence(&self) -> String {
        let heard = match self.last.load(Ordering::Relaxed) {
            0 => String::new(),
            status => format!("; its last answer was HTTP {status}"),
        };
        format!("no token from {} within {} seconds{heard}", self.asks, self.patience.as_secs())
    }
}

impl std::fmt::Debug for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Way({})", self.name)
    }
}

#[derive(Debug, Clone)]
struct Held {
    token: Secret,
    expires: Timestamp,
    way: usize,
}

/// Tokens of the first way that is set up.
#[derive(Debug)]
struct Credential {
    ways: Vec<Way>,
    scope: String,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    /// Only one task signs in at a time.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    held: Option<Held>,
    chosen: Option<usize>,
}

/// Where Azure VMs find their identity.
const IMDS: &str = "169.254.169.254";

/// What happened: of a network that failed its own words, which name the host, and not the credential's around them.
fn told(error: &azure_core::Error) -> String {
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        if let Some(network) = inner.downcast_ref::<TransportError>() {
            return network.to_string();
        }
        cause = inner.source();
    }
    error.to_string()
}

/// The token source for these settings. `env` looks up an environment variable.
///
/// # Errors
/// When a setting that the chosen way needs is missing.
pub fn token_source(
    settings: &SignIn,
    env: &dyn Fn(&str) -> Option<String>,
    network: Arc<dyn Transport>,
    clock: Arc<dyn Clock>,
) -> Result<Arc<dyn TokenSource>, SignInError> {
    let ways = ways(settings, env, network, &clock);
    if let [Way { name, make: Err(why), .. }] = ways.as_slice() {
        return Err(SignInError::one(name, why));
    }
    Ok(Arc::new(Credential::new(ways, settings.scope.clone(), clock)))
}

fn cloud(cloud: Cloud, authority: Option<String>) -> CloudConfiguration {
    match (authority, cloud) {
        (Some(authority_host), _) => {
            let mut custom = CustomConfiguration::default();
            custom.authority_host = authority_host;
            custom.into()
        }
        (None, Cloud::Public) => CloudConfiguration::AzurePublic,
        (None, Cloud::UsGov) => CloudConfiguration::AzureGovernment,
        (None, Cloud::China) => CloudConfiguration::AzureChina,
    }
}

/// Where a directory gives tokens: `https://login.microsoftonline.com`, without a slash at the end.
fn authority(cloud: Cloud, set: Option<&str>) -> String {
    let own = match cloud {
        Cloud::Public => "https://login.microsoftonline.com",
        Cloud::UsGov => "https://login.microsoftonline.us",
        Cloud::China => "https://login.chinacloudapi.cn",
    };
    set.unwrap_or(own).trim_end_matches('/').to_owned()
}

fn ways(
    settings: &SignIn,
    env: &dyn Fn(&str) -> Option<String>,
    network: Arc<dyn Transport>,
    clock: &Arc<dyn Clock>,
) -> Vec<Way> {
    let var = |name: &str| env(name).filter(|value| !value.is_empty());
    let given = |own: &Option<String>, name: &'static str| own.clone().or_else(|| var(name)).ok_or(name);
    let missing = |name: &str| format!("{name} is not set");
    let configuration = Arc::new(cloud(settings.cloud, var("AZURE_AUTHORITY_HOST")));
    let authority = authority(settings.cloud, var("AZURE_AUTHORITY_HOST").as_deref());
    let last = Arc::new(AtomicU16::new(0));
    let (heard, waits) = (Arc::clone(&last), Arc::clone(clock));
    let options = move || {
        let network =
            SignInNetwork { network: Arc::clone(&network), clock: Arc::clone(&waits), last: Arc::clone(&heard) };
        ClientOptions {
            // `azure_core` is built without an HTTP client: without a transport of ours it would panic.
            transport: Some(CoreTransport::new(Arc::new(CoreHttp::sent_once(Arc::new(network))))),
            cloud: Some(Arc::clone(&configuration)),
            ..ClientOptions::default()
        }
    };
    let tenant = given(&settings.tenant, "AZURE_TENANT_ID");
    let client = given(&settings.client_id, "AZURE_CLIENT_ID");

    let service_principal = || {
        let (options, tenant, client) = (options.clone(), tenant.clone(), client.clone());
        let (authority, clock) = (authority.clone(), Arc::clone(clock));
        let make = || -> Result<Box<Make>, String> {
            let secret = match (var("AZURE_CLIENT_SECRET"), var("AZURE_CLIENT_CERTIFICATE_PATH")) {
                (Some(secret), None) => secret,
                (None, Some(file)) => {
                    let (tenant, client) = (tenant.map_err(missing)?, client.map_err(missing)?);
                    return with_certificate(&file, tenant, client, &authority, options, clock);
                }
                (Some(_), Some(_)) => {
                    return Err(
                        "AZURE_CLIENT_SECRET and AZURE_CLIENT_CERTIFICATE_PATH are both set: unset one".to_owned()
                    );
                }
                (None, None) => {
                    return Err("neither AZURE_CLIENT_SECRET nor AZURE_CLIENT_CERTIFICATE_PATH is set".to_owned());
                }
            };
            let (tenant, client) = (tenant.map_err(missing)?, client.map_err(missing)?);
            Ok(Box::new(move || {
                let options = ClientSecretCredentialOptions { client_options: options() };
                let secret = azure_core::credentials::Secret::new(secret.clone());
                Ok(ClientSecretCredential::new(&tenant, client.clone(), secret, Some(options))?)
            }))
        };
        Way::new(Auth::ServicePrincipal, make(), &authority, &last)
    };
    let workload = || {
        let (options, tenant, client) = (options.clone(), tenant.clone(), client.clone());
        let make = || -> Result<Box<Make>, String> {
            let file = var("AZURE_FEDERATED_TOKEN_FILE").ok_or_else(|| missing("AZURE_FEDERATED_TOKEN_FILE"))?;
            let (tenant, client) = (tenant.map_err(missing)?, client.map_err(missing)?);
            if let Err(error) = std::fs::metadata(&file) {
                return Err(format!("AZURE_FEDERATED_TOKEN_FILE: cannot read {file}: {error}"));
            }
            Ok(Box::new(move || {
                let set = WorkloadIdentityCredentialOptions {
                    credential_options: ClientAssertionCredentialOptions { client_options: options() },
                    tenant_id: Some(tenant.clone()),
                    client_id: Some(client.clone()),
                    token_file_path: Some(file.clone().into()),
                };
                Ok(WorkloadIdentityCredential::new(Some(set))?)
            }))
        };
        Way::new(Auth::WorkloadIdentity, make(), &authority, &last)
    };
    let managed = |only_where_announced: bool| {
        let (options, client) = (options.clone(), settings.client_id.clone().or_else(|| var("AZURE_CLIENT_ID")));
        let announced = var("IDENTITY_ENDPOINT").is_some() || var("MSI_ENDPOINT").is_some();
        // The shape of Azure Arc's endpoint, which `azure_identity` 1.0 refuses without saying what to do.
        let arc =
            var("IDENTITY_ENDPOINT").is_some() && var("IDENTITY_HEADER").is_none() && var("IMDS_ENDPOINT").is_some();
        let make: Result<Box<Make>, String> = if arc {
            Err("this is Azure Arc's identity endpoint, which azmend cannot use yet: sign in to the Azure CLI and use \
                 --auth cli, or use a service principal"
                .to_owned())
        } else if announced || !only_where_announced {
            Ok(Box::new(move || {
                let user_assigned_id = client.clone().map(UserAssignedId::ClientId);
                let set = ManagedIdentityCredentialOptions { user_assigned_id, client_options: options() };
                Ok(ManagedIdentityCredential::new(Some(set))?)
            }))
        } else {
            Err("IDENTITY_ENDPOINT is not set (on a virtual machine use --auth managed-identity)".to_owned())
        };
        let asks = match var("IDENTITY_ENDPOINT").or_else(|| var("MSI_ENDPOINT")) {
            Some(endpoint) => format!("the identity endpoint {endpoint}"),
            None => format!("the identity endpoint of Azure VMs, {IMDS} (is this machine one?)"),
        };
        Way::new(Auth::ManagedIdentity, make, asks, &last)
    };
    let cli = || {
        let tenant = settings.tenant.clone();
        let make: Box<Make> = Box::new(move || {
            let set = AzureCliCredentialOptions { tenant_id: tenant.clone(), ..Default::default() };
            Ok(AzureCliCredential::new(Some(set))?)
        });
        Way::new(Auth::Cli, Ok(make), "the Azure CLI (az)", &last)
    };
    match settings.auth {
        Auth::Auto => vec![service_principal(), workload(), managed(true), cli()],
        Auth::Cli => vec![cli()],
        Auth::ManagedIdentity => vec![managed(false)],
        Auth::ServicePrincipal => vec![service_principal()],
        Auth::WorkloadIdentity => vec![workload()],
    }
}

/// A new assertion for each sign-in.
#[derive(Debug)]
struct Assertion {
    certificate: Certificate,
    client: String,
    audience: String,
    clock: Arc<dyn Clock>,
}

#[async_trait]
impl ClientAssertion for Assertion {
    async fn secret(&self, _: Option<ClientMethodOptions<'_>>) -> azure_core::Result<String> {
        let signed = self.certificate.assertion(&self.client, &self.audience, self.clock.now());
        signed.map_err(|why| azure_core::Error::with_message(ErrorKind::Credential, why))
    }
}

/// A service principal that signs in with the certificate in a file.
fn with_certificate(
    file: &str,
    tenant: String,
    client: String,
    authority: &str,
    options: impl Fn() -> ClientOptions + Send + Sync + 'static,
    clock: Arc<dyn Clock>,
) -> Result<Box<Make>, String> {
    let certificate =
        Certificate::read(file.as_ref()).map_err(|why| format!("AZURE_CLIENT_CERTIFICATE_PATH: {why}"))?;
    let audience = format!("{authority}/{tenant}/oauth2/v2.0/token");
    Ok(Box::new(move || {
        let options = ClientAssertionCredentialOptions { client_options: options() };
        let assertion = Assertion {
            certificate: certificate.clone(),
            client: client.clone(),
            audience: audience.clone(),
            clock: Arc::clone(&clock),
        };
        Ok(ClientAssertionCredential::new(tenant.clone(), client.clone(), assertion, Some(options))?)
    }))
}

impl Credential {
    fn new(ways: Vec<Way>, scope: String, clock: Arc<dyn Clock>) -> Self {
        Self { ways, scope, clock, state: Mutex::default(), turn: tokio::sync::Mutex::new(()) }
    }

    fn with<R>(&self, work: impl FnOnce(&mut State) -> R) -> R {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The token that is held, when it lasts longer than `margin`.
    fn fresh(&self, margin: Duration) -> Option<Secret> {
        let now = self.clock.now();
        self.with(|state| {
            state.held.as_ref().filter(|held| elapsed(now, held.expires) > margin).map(|h| h.token.clone())
        })
    }

    /// One way, within its patience.
    async fn try_way(&self, index: usize) -> Result<Held, SignInAttempt> {
        let way = &self.ways[index];
        let failed = |why: String| SignInAttempt { way: way.name.clone(), why: clean(&why) };
        let make = way.make.as_ref().map_err(|why| failed(why.clone()))?;
        let credential = make().map_err(|error| failed(error.to_string()))?;
        let scopes = [self.scope.as_str()];
        way.last.store(0, Ordering::Relaxed);
        let token = tokio::select! {
            biased;
            token = Box::pin(credential.get_token(&scopes, None)) => token,
            () = self.clock.sleep(way.patience) => {
                return Err(failed(way.silence()));
            }
        };
        let token = token.map_err(|error| failed(told(&error)))?;
        let expires = Timestamp::from_second(token.expires_on.unix_timestamp()).unwrap_or(Timestamp::MAX);
        Ok(Held { token: Secret::new(token.token.secret()), expires, way: index })
    }
}

#[async_trait]
impl TokenSource for Credential {
    async fn token(&self) -> Result<Secret, SignInError> {
        if let Some(token) = self.fresh(MARGIN) {
            return Ok(token);
        }
        let _turn = self.turn.lock().await;
        if let Some(token) = self.fresh(MARGIN) {
            return Ok(token);
        }
        let mut attempts = Vec::new();
        let candidates = self.with(|state| state.chosen.map_or(0..self.ways.len(), |way| way..way + 1));
        for index in candidates {
            match self.try_way(index).await {
                Ok(held) => {
                    let token = held.token.clone();
                    self.with(|state| {
                        state.chosen = Some(held.way);
                        state.held = Some(held);
                    });
                    return Ok(token);
                }
                Err(attempt) => {
                    attempts.push(attempt);
                    if self.ways[index].make.is_ok() {
                        break;
                    }
                }
            }
        }
        // A token that cannot be renewed is still good until it expires.
        self.fresh(Duration::ZERO).ok_or(SignInError { attempts })
    }

    async fn forget(&self) {
        self.with(|state| state.held = None);
    }

    fn describe(&self) -> String {
        match self.with(|state| state.chosen) {
            Some(way) => self.ways[way].name.clone(),
            None => self.ways.iter().map(|way| way.name.as_str()).collect::<Vec<_>>().join(", "),
        }
    }

    fn passed_over(&self) -> Vec<SignInAttempt> {
        let before = self.with(|state| state.chosen).unwrap_or(0);
        let why = |way: &Way| way.make.as_ref().err().map(|why| clean(why)).unwrap_or_default();
        self.ways[..before].iter().map(|way| SignInAttempt { way: way.name.clone(), why: why(way) }).collect()
    }
}

#[cfg(test)]
#[path = "credential_tests.rs"]
mod tests;
