//! The sandbox over HTTP in a thread of its own, and raw requests to it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use azmend::clock::{Clock, SystemClock};
use azmend::sim::{Identity, Server, ServerOptions, Sim};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

/// A sandbox that is being served; ends when dropped.
pub struct Serving {
    pub sim: Sim,
    pub identity: Identity,
    pub base: String,
    pub identity_endpoint: String,
    /// The world's time when it began.
    pub began: Timestamp,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Serving {
    pub fn on(sim: Sim, options: ServerOptions) -> Self {
        let (send, receive) = mpsc::channel();
        let (stop, world) = (CancellationToken::new(), sim.clone());
        let until = stop.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let server = Server::bind(world, options, Arc::new(SystemClock)).await.unwrap();
                let told = (server.identity(), server.base(), server.identity_endpoint(), server.clock().now());
                send.send(told).unwrap();
                server.run(until).await;
            });
        });
        let (identity, base, identity_endpoint, began) = receive.recv_timeout(Duration::from_secs(30)).unwrap();
        Self { sim, identity, base, identity_endpoint, began, stop, thread: Some(thread) }
    }

    /// Ends it and waits until it has ended.
    pub fn end(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.base.trim_start_matches("http://")).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    /// Writes these bytes and reads until the server closes the connection.
    pub fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        // The server may close before everything is written; what it answered counts.
        drop(stream.write_all(bytes));
        let mut out = Vec::new();
        drop(stream.read_to_end(&mut out));
        String::from_utf8_lossy(&out).into_owned()
    }

    /// One request with these header lines (`\r\n` after each); status and body.
    pub fn ask(&self, method: &str, path: &str, headers: &str) -> (u16, String, String) {
        let host = self.base.trim_start_matches("http://");
        let text = self
            .raw(format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{headers}\r\n").as_bytes());
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
        (status, head.to_ascii_lowercase(), body.to_owned())
    }

    /// A token for this ARM.
    pub fn token(&self) -> String {
        let path = format!("/msi/token?api-version=2019-08-01&resource={}", self.base);
        let header = format!("X-IDENTITY-HEADER: {}\r\n", self.identity.secret());
        let (status, _, body) = self.ask("GET", &path, &header);
        assert_eq!(status, 200, "{body}");
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        body["access_token"].as_str().unwrap().to_owned()
    }

    /// A request to ARM with a good token.
    pub fn arm(&self, method: &str, path: &str) -> (u16, String, String) {
        let token = self.token();
        self.ask(method, path, &format!("authorization: Bearer {token}\r\n"))
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
