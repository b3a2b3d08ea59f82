//! The network: the transport that real runs use.
//!
//! Duty: carry one request over HTTPS and say truthfully how it ended. Invariants: no redirects, no retries; one TLS
//! provider, named (`ring`), with the system's certificates (`SSL_CERT_FILE` and `SSL_CERT_DIR` are honoured) and the
//! system's proxy settings; the same client serves sign-in and ARM. An error while connecting is "not sent"; anything
//! later is "lost", for the request may have taken effect. The address never stands in an error: it may be signed.

use std::error::Error as _;
use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use url::{Host, Url};

use super::error_body::clean;
use super::gateway::MAX_BODY;
use super::http::{Request, Response, Transport, TransportError};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// Why no client could be built: in practice, no certificates of authorities were found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot set up https: {0}")]
pub struct WireError(String);

/// The network. Cheap to clone; clones share the connections.
#[derive(Debug, Clone)]
pub struct Wire {
    client: reqwest::Client,
    /// Without proxies, for the machine itself and link-local addresses (the sandbox, managed identity endpoints).
    direct: reqwest::Client,
}

impl Wire {
    /// Sets up TLS and the clients.
    ///
    /// # Errors
    /// When no certificates can be loaded or the proxy settings are unusable.
    pub fn new() -> Result<Self, WireError> {
        if rustls::crypto::CryptoProvider::get_default().is_none()
            && rustls::crypto::ring::default_provider().install_default().is_err()
        {
            tracing::debug!("a TLS provider was installed in the meantime");
        }
        let builder = || {
            reqwest::Client::builder()
                .redirect(reqwest::redirect::Policy::none())
                .connect_timeout(CONNECT_TIMEOUT)
                .read_timeout(READ_TIMEOUT)
        };
        let build = |builder: reqwest::ClientBuilder| builder.build().map_err(|error| WireError(why(error)));
        Ok(Self { client: build(builder())?, direct: build(builder().no_proxy())? })
    }

    async fn exchange(&self, request: &Request) -> Result<Response, reqwest::Error> {
        let mut outgoing = reqwest::Request::new(request.method.clone(), request.url.clone());
        *outgoing.headers_mut() = request.headers.clone();
        if !request.body.is_empty() {
            *outgoing.body_mut() = Some(request.body.clone().into());
        }
        let client = if is_near(&request.url) { &self.direct } else { &self.client };
        let mut incoming = client.execute(outgoing).await?;
        let (status, headers) = (incoming.status().as_u16(), incoming.headers().clone());
        let mut body = BytesMut::new();
        while let Some(chunk) = incoming.chunk().await? {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_BODY {
                // One byte too many is enough for the gateway to refuse it.
                body.truncate(MAX_BODY + 1);
                break;
            }
        }
        Ok(Response { status, headers, body: Bytes::from(body) })
    }
}

/// Whether the host is this machine or a link-local address, where no proxy may stand in between.
fn is_near(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback() || ip.is_link_local(),
        Some(Host::Ipv6(ip)) => IpAddr::V6(ip).is_loopback() || ip.is_unicast_link_local(),
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        None => false,
    }
}

/// The whole chain of causes in one line, without the address.
fn why(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut texts = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(inner) = cause {
        let text = inner.to_string();
        if !texts.contains(&text) {
            texts.push(text);
        }
        cause = inner.source();
    }
    clean(&texts.join(": "))
}

#[async_trait]
impl Transport for Wire {
    async fn send(&self, request: &Request) -> Result<Response, TransportError> {
        // Boxed: the client's future is large.
        Box::pin(self.exchange(request)).await.map_err(|error| {
            let port = request.url.port().map(|port| format!(":{port}")).unwrap_or_default();
            let host = format!("{}{port}", request.url.host_str().unwrap_or_default());
            if error.is_connect() || error.is_builder() {
                TransportError::NotSent { host, why: why(error) }
            } else {
                TransportError::Lost { host, why: why(error) }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpListener};

    use super::super::http::{HeaderValue, Method};
    use super::*;

    /// Answers one connection on loopback with `answer` and returns what it received.
    fn serve(answer: &'static str) -> (Url, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/path?sig=secret", listener.local_addr().unwrap()).parse().unwrap();
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let (mut received, mut buffer) = (Vec::new(), [0; 4096]);
            while !received.ends_with(b"{}") {
                let read = stream.read(&mut buffer).unwrap();
                assert!(read > 0, "the request broke off");
                received.extend_from_slice(&buffer[..read]);
            }
            stream.write_all(answer.as_bytes()).unwrap();
            stream.shutdown(Shutdown::Both).unwrap();
            String::from_utf8_lossy(&received).into_owned()
        });
        (url, thread)
    }

    async fn ask(url: &Url) -> Result<Response, TransportError> {
        let mut request = Request::new(Method::POST, url.clone());
        request.headers.insert("x-ms-client-request-id", HeaderValue::from_static("id"));
        request.body = Bytes::from_static(b"{}");
        Wire::new().unwrap().send(&request).await
    }

    #[tokio::test]
    async fn carries_any_answer_and_follows_no_redirect() {
        let (url, thread) = serve("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 2\r\n\r\nhi");
        let response = ask(&url).await.unwrap();
        assert_eq!((response.status, &response.body[..]), (302, &b"hi"[..]));
        let sent = thread.join().unwrap();
        assert!(sent.starts_with("POST /path?sig=secret HTTP/1.1\r\n"), "{sent}");
        assert!(sent.contains("x-ms-client-request-id: id") && sent.ends_with("{}"), "{sent}");
    }

    #[tokio::test]
    async fn a_broken_answer_is_lost_and_a_closed_door_is_not_sent() {
        let (url, thread) = serve("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort");
        let error = ask(&url).await.unwrap_err();
        assert!(matches!(error, TransportError::Lost { .. }), "{error}");
        thread.join().unwrap();
        // The listener is gone: the connection is refused.
        let error = ask(&url).await.unwrap_err();
        assert!(matches!(error, TransportError::NotSent { .. }), "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }

    #[test]
    fn what_is_near() {
        for (url, near) in [
            ("http://127.0.0.1:1/", true),
            ("http://[::1]/", true),
            ("http://169.254.169.254/metadata", true),
            ("http://localhost/", true),
            ("https://management.azure.com/", false),
            ("https://10.0.0.1/", false),
        ] {
            assert_eq!(is_near(&url.parse().unwrap()), near, "{url}");
        }
    }
}
