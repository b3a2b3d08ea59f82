//! The embedded Azure over HTTP on the loopback interface, for runbooks and other clients.
//!
//! Duty: take requests off the wire, serve them one at a time with [`Sim`], and put the answers back, links included;
//! the managed identity endpoint beside them ([`Identity`]). The world's time follows the machine's, `speed` times as fast.
//!
//! Invariants: it listens on 127.0.0.1 alone and serves a request only when its `Host` is that address and port (a page
//! in a browser that resolves its own name to 127.0.0.1 gets nothing); ARM answers nobody without a token that was
//! given out here; every link in an answer begins with the address the client used; requests are bounded in size, in
//! headers and in time; a reply that the world loses closes the connection.
//!
//! It must never: listen elsewhere, log a token, or panic on a request of any shape.
//!
//! Plain http: clients that insist on https for tokens (Azure CLI, the Azure SDKs) cannot use it.

pub(crate) mod identity;
pub(crate) mod pace;

use std::fmt;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::call::{Call, Reply, error_response, set_header};
use crate::serve::identity::Identity;
use crate::sim::Sim;
use azmend_arm::http::{Request, Response};
use azmend_base::clock::{Clock, PacedClock, elapsed};

/// What every answer of a served sandbox has: the digest of its estate. Clients know by it that nothing real is touched.
pub const SERVED_HEADER: &str = "x-azmend-sandbox";
/// The largest body of a request; ARM takes 4 MB, azmend sends less than one KB.
const MAX_BODY: usize = 1024 * 1024;
/// The most headers of a request, and the most bytes of its head.
const MAX_HEADERS: usize = 100;
const MAX_HEAD: usize = 64 * 1024;
/// The most connections at a time.
const MAX_CONNECTIONS: usize = 64;
/// How long a client may take to send a request.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a request that is under way may take when the server ends.
const GRACE: Duration = Duration::from_secs(2);

/// How the world is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerOptions {
    /// The port; 0 for any that is free.
    pub port: u16,
    /// How many seconds pass in the world for each second of the machine; at least 1.
    pub speed: u32,
    /// How long a token lives, in the machine's time.
    pub token_life: Duration,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self { port: 0, speed: 1, token_life: Duration::from_secs(3600) }
    }
}

/// A world that is ready to be served.
pub struct Server {
    listener: TcpListener,
    front: Arc<Front>,
}

/// What every connection shares.
struct Front {
    sim: Sim,
    identity: Identity,
    /// The machine's clock.
    wall: Arc<dyn Clock>,
    /// The world's clock as it should be.
    paced: PacedClock,
    /// The digest of the estate.
    digest: String,
    port: u16,
    save_failed: AtomicBool,
    /// How long an answer is held back, in milliseconds of the machine.
    delay: AtomicU64,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({}, {:?})", self.base(), self.front.sim)
    }
}

/// The connection is closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the reply is lost: {0}")]
struct Hangup(String);

impl Server {
    /// Opens the port. From now on the world's time passes, beginning where it is. (Clients that live in the machine's
    /// time want a world of that time: [`crate::Estate::parse_at`].)
    ///
    /// # Errors
    /// When the port cannot be opened.
    pub async fn bind(sim: Sim, options: ServerOptions, wall: Arc<dyn Clock>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await?;
        let port = listener.local_addr()?.port();
        let world = sim.world();
        let identity = Identity::new(&world.tenant, &world.caller, options.token_life, Arc::clone(&wall));
        let paced = PacedClock::new(Arc::clone(&wall), world.now, options.speed);
        let front = Front {
            sim,
            identity,
            wall,
            paced,
            digest: world.estate_digest,
            port,
            save_failed: AtomicBool::new(false),
            delay: AtomicU64::new(0),
        };
        Ok(Self { listener, front: Arc::new(front) })
    }

    /// From now on every answer of ARM comes so much later in the machine's time, those of other requests beside it. (The
    /// latency of a world passes one request after the other, which is simpler to follow and no measure of a client.)
    pub fn delay(&self, latency: Duration) {
        let millis = u64::try_from(latency.as_millis()).unwrap_or(u64::MAX);
        self.front.delay.store(millis, Ordering::Relaxed);
    }

    /// The address of ARM: `AZMEND_ARM_ENDPOINT`.
    #[must_use]
    pub fn base(&self) -> String {
        format!("http://127.0.0.1:{}", self.front.port)
    }

    /// The address of the managed identity endpoint: `IDENTITY_ENDPOINT`.
    #[must_use]
    pub fn identity_endpoint(&self) -> String {
        format!("{}/{}", self.base(), identity::PATH.join("/"))
    }

    /// The managed identity and its tokens.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.front.identity.clone()
    }

    /// The world's clock: for clients in this process that shall live in the world's time.
    #[must_use]
    pub fn clock(&self) -> PacedClock {
        self.front.paced.clone()
    }

    /// Serves until `stop`; requests under way are finished, then the world is saved.
    pub async fn run(self, stop: CancellationToken) {
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        while !stop.is_cancelled() {
            let next = async {
                let place = Arc::clone(&places).acquire_owned().await.ok();
                (place, self.listener.accept().await)
            };
            let (place, accepted) = tokio::select! {
                () = stop.cancelled() => break,
                next = next => next,
            };
            match accepted {
                Ok((stream, peer)) if peer.ip().is_loopback() => {
                    let (front, stop) = (Arc::clone(&self.front), stop.clone());
                    tokio::spawn(async move {
                        front.connection(stream, stop).await;
                        drop(place);
                    });
                }
                Ok(_) => {}
                Err(error) => {
                    // Out of file descriptors, mostly: some connection must end first.
                    tracing::warn!(%error, "cannot accept a connection");
                    self.front.wall.sleep(Duration::from_millis(100)).await;
                }
            }
        }
        tokio::select! {
            _ = places.acquire_many(u32::try_from(MAX_CONNECTIONS).unwrap_or(1)) => {}
            () = self.front.wall.sleep(GRACE) => {}
        }
        self.front.follow_the_clock();
        self.front.sim.edit(|_| ());
        self.front.report_save();
    }
}

impl Front {
    async fn connection(self: Arc<Self>, stream: TcpStream, stop: CancellationToken) {
        let front = Arc::clone(&self);
        let service = service_fn(move |request| {
            let front = Arc::clone(&front);
            async move { front.answer(request).await }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(PATIENCE)
            .max_headers(MAX_HEADERS)
            .max_buf_size(MAX_HEAD)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended");
        }
    }

    async fn answer(&self, request: hyper::Request<Incoming>) -> Result<hyper::Response<Full<Bytes>>, Hangup> {
        let response = match self.request(request).await {
            Ok(request) => self.serve(&request).await?,
            Err(refused) => *refused,
        };
        let mut response = response;
        set_header(&mut response, SERVED_HEADER, &self.digest);
        let mut out = hyper::Response::new(Full::new(response.body));
        *out.headers_mut() = response.headers;
        *out.status_mut() =
            hyper::StatusCode::from_u16(response.status).unwrap_or(hyper::StatusCode::INTERNAL_SERVER_ERROR);
        Ok(out)
    }

    /// The request in azmend's own type, with the whole body.
    async fn request(&self, request: hyper::Request<Incoming>) -> Result<Request, Box<Response>> {
        let (head, body) = request.into_parts();
        let bad = |message: &str| error_response(400, "BadRequest", message);
        let mut hosts = head.headers.get_all(hyper::header::HOST).iter();
        let host = match (hosts.next().map(|host| host.to_str()), hosts.next()) {
            (Some(Ok(host)), None) => host,
            _ => return Err(bad("The request needs one Host header.")),
        };
        if !self.is_here(host) {
            return Err(bad(&format!("The Host header must be 127.0.0.1:{0} or localhost:{0}.", self.port)));
        }
        let target = head.uri.path_and_query().map(hyper::http::uri::PathAndQuery::as_str).unwrap_or_default();
        if !target.starts_with('/') {
            return Err(bad("The request target must be a path."));
        }
        let url: Url = format!("http://{}{target}", host.to_ascii_lowercase())
            .parse()
            .map_err(|_| bad("The request target is not a URL."))?;
        let limited = Limited::new(body, MAX_BODY);
        let collected = tokio::select! {
            collected = limited.collect() => collected,
            () = self.wall.sleep(PATIENCE) => return Err(error_response(408, "RequestTimeout", "The body did not arrive in time.")),
        };
        let body = match collected {
            Ok(collected) => collected.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => {
                return Err(error_response(413, "RequestEntityTooLarge", "The body is larger than 1 MB."));
            }
            Err(_) => return Err(bad("The body could not be read.")),
        };
        Ok(Request { method: head.method, url, headers: head.headers, body })
    }

    /// Whether a `Host` header names this server.
    fn is_here(&self, host: &str) -> bool {
        let (name, port) = host.split_once(':').unwrap_or((host, "80"));
        (name == "127.0.0.1" || name.eq_ignore_ascii_case("localhost")) && port == self.port.to_string()
    }

    async fn serve(&self, request: &Request) -> Result<Response, Hangup> {
        let call = Call::new(request);
        if call.low == identity::PATH {
            return Ok(self.identity.token(&call));
        }
        if let Err(refused) = self.identity.check(&call) {
            return Ok(*refused);
        }
        let delay = self.delay.load(Ordering::Relaxed);
        if delay > 0 {
            self.wall.sleep(Duration::from_millis(delay)).await;
        }
        self.follow_the_clock();
        let reply = self.sim.serve(request);
        self.report_save();
        // What took time in the world (latency, a slow answer) takes it here too.
        let ahead = elapsed(self.paced.now(), self.sim.clock().now());
        if !ahead.is_zero() {
            self.paced.sleep(ahead).await;
        }
        match reply {
            Reply::Response(mut response) => {
                self.pace(&mut response);
                Ok(response)
            }
            // The connection stands already: "not sent" cannot be shown, and the client must take it for lost.
            Reply::Lost { why } | Reply::NotSent { why } => Err(Hangup(why)),
        }
    }

    /// `Retry-After` in the client's seconds. At least 1: Azure CLI waits half a minute for 0 or none.
    fn pace(&self, response: &mut Response) {
        let asked = response.header("retry-after").and_then(|text| text.parse::<u64>().ok());
        if let Some(seconds) = asked {
            let seconds = seconds.div_ceil(u64::from(self.paced.speed())).max(1);
            set_header(response, "retry-after", &seconds.to_string());
        }
    }

    fn follow_the_clock(&self) {
        self.sim.clock().advance_to(self.paced.now());
    }

    /// Says once that the world cannot be saved; it is served all the same.
    fn report_save(&self) {
        match self.sim.save_error() {
            Some(error) if !self.save_failed.swap(true, Ordering::Relaxed) => tracing::error!("{error}"),
            Some(_) => {}
            None => self.save_failed.store(false, Ordering::Relaxed),
        }
    }
}
