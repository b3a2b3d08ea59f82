//! Azurite with TLS, an identity endpoint that gives out tokens for storage, and a network that can be down or slow.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use serde_json::{Value, json};

/// A token as Azurite's `--oauth basic` takes it: it looks at all but the signature.
#[expect(clippy::disallowed_methods, reason = "Azurite has the machine's time")]
pub fn jwt(audience: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let part = |value: &Value| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(value.to_string());
    let claims = json!({
        "aud": audience, "iss": "https://sts.windows.net/11111111-1111-1111-1111-111111111111/",
        "iat": now - 60, "nbf": now - 60, "exp": now + 3600, "oid": "o", "tid": "t",
    });
    format!("{}.{}.{}", part(&json!({ "typ": "JWT", "alg": "none" })), part(&claims), "c2ln")
}

/// A running Azurite; ends with the test.
pub struct Azurite {
    process: Child,
    pub port: u16,
    dir: tempfile::TempDir,
}

impl Drop for Azurite {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

impl Azurite {
    pub fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| dir.path().join(name);
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"])
            .args([
                "-addext",
                "subjectAltName=IP:127.0.0.1",
                "-addext",
                "basicConstraints=critical,CA:FALSE",
                "-keyout",
            ])
            .arg(file("key.pem"))
            .arg("-out")
            .arg(file("cert.pem"))
            .output()
            .expect("openssl makes the certificate");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let program = std::env::var_os("AZMEND_AZURITE").map_or_else(|| PathBuf::from("azurite-blob"), PathBuf::from);
        let mut process = Command::new(program)
            .args(["--blobHost", "127.0.0.1", "--blobPort", "0", "--oauth", "basic", "--inMemoryPersistence"])
            .args(["--disableTelemetry", "--skipApiVersionCheck", "--cert"])
            .arg(file("cert.pem"))
            .arg("--key")
            .arg(file("key.pem"))
            .current_dir(dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Azurite is not installed: `.ci/run azurite` does it, or npm's package azurite");
        let lines = BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut lines = Box::new(lines) as Box<dyn Iterator<Item = String> + Send>;
        let port = lines
            .by_ref()
            .filter(|line| line.contains("successfully listens on") || line.contains("successfully listening at"))
            .find_map(|line| line.rsplit(':').next()?.trim().trim_end_matches('/').parse().ok())
            .expect("Azurite names its port");
        // What it prints is read, or it would wait for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, port, dir }
    }

    pub fn certificate(&self) -> PathBuf {
        self.dir.path().join("cert.pem")
    }

    /// One request, by node: it is there, for Azurite runs in it.
    fn ask(&self, method: &str, path: &str, headers: &Value) -> String {
        ask(&self.certificate(), self.port, method, path, headers)
    }

    pub fn make_container(&self, name: &str) {
        let out = self.ask("PUT", &format!("/{name}?restype=container"), &json!({}));
        assert!(out.starts_with("201"), "{out}");
    }

    /// Takes the lease of a blob away.
    pub fn break_lease(&self, container: &str, name: &str) {
        let headers = json!({ "x-ms-lease-action": "break", "x-ms-lease-break-period": "0" });
        let out = self.ask("PUT", &format!("/{container}/{name}?comp=lease"), &headers);
        assert!(out.starts_with("202"), "{out}");
    }

    /// Every blob with its content.
    pub fn blobs(&self, container: &str) -> Vec<(String, String)> {
        let list = self.ask("GET", &format!("/{container}?restype=container&comp=list"), &json!({}));
        let names = list.split("<Name>").skip(1).filter_map(|rest| rest.split("</Name>").next());
        names.map(|name| (name.to_owned(), self.ask("GET", &format!("/{container}/{name}"), &json!({})))).collect()
    }
}

fn ask(certificate: &Path, port: u16, method: &str, path: &str, headers: &Value) -> String {
    const ASK: &str = "const [ca, port, method, path, headers] = process.argv.slice(1); \
        const options = { ca: require('fs').readFileSync(ca), host: '127.0.0.1', port, method, path, headers: JSON.parse(headers) }; \
        require('https').request(options, r => { let b = ''; r.on('data', d => b += d); r.on('end', () => console.log(r.statusCode, b)); }).end();";
    let mut all = headers.clone();
    all["Authorization"] = format!("Bearer {}", jwt("https://storage.azure.com")).into();
    all["x-ms-version"] = "2021-12-02".into();
    all["Content-Length"] = "0".into();
    let path = format!("/devstoreaccount1{path}");
    let output = Command::new("node")
        .args(["-e", ASK])
        .arg(certificate)
        .args([&port.to_string(), method, &path, &all.to_string()])
        .output()
        .expect("node runs Azurite");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Tokens for storage; for anything else the sandbox's own endpoint is asked.
pub struct Identity {
    port: u16,
}

impl Identity {
    pub fn in_front_of(endpoint: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let behind = endpoint.trim_start_matches("http://").split('/').next().unwrap().to_owned();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let behind = behind.clone();
                std::thread::spawn(move || serve(stream, &behind));
            }
        });
        Self { port }
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}/msi/token", self.port)
    }
}

fn serve(mut stream: TcpStream, behind: &str) {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut buffer) {
            Ok(read) if read > 0 => request.extend_from_slice(&buffer[..read]),
            _ => return,
        }
    }
    let text = String::from_utf8_lossy(&request).into_owned();
    let answer = if text.contains("storage.azure.com") && !text.to_lowercase().contains("x-identity-header: wrong") {
        let body = json!({
            "access_token": jwt("https://storage.azure.com"), "expires_on": "4102444800",
            "resource": "https://storage.azure.com", "token_type": "Bearer",
        })
        .to_string();
        format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    } else {
        let mut onward = TcpStream::connect(behind).unwrap();
        // It answers only to its own name.
        let kept = text.trim_end().split("\r\n").filter(|line| {
            let line = line.to_lowercase();
            !line.starts_with("host:") && !line.starts_with("connection:")
        });
        let kept: Vec<&str> = kept.collect();
        let once = format!("{}\r\nhost: {behind}\r\nconnection: close\r\n\r\n", kept.join("\r\n"));
        onward.write_all(once.as_bytes()).unwrap();
        let mut answer = Vec::new();
        onward.read_to_end(&mut answer).ok();
        answer
    };
    stream.write_all(&answer).ok();
    stream.shutdown(Shutdown::Both).ok();
}

/// The way to Azurite.
pub struct Net {
    pub port: u16,
    down: Arc<AtomicBool>,
    delay: Arc<AtomicU64>,
}

impl Net {
    pub fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let own = listener.local_addr().unwrap().port();
        let (down, delay) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let state = (Arc::clone(&down), Arc::clone(&delay));
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let (down, delay) = state.clone();
                if down.load(Ordering::Relaxed) {
                    continue;
                }
                let Ok(far) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                let (from, to) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                let none = Arc::new(AtomicU64::new(0));
                let there = Arc::clone(&down);
                std::thread::spawn(move || carry(from, to, &there, &none));
                // Only answers are late: what was asked for is done.
                std::thread::spawn(move || carry(far, near, &down, &delay));
            }
        });
        Self { port: own, down, delay }
    }

    pub fn down(&self, down: bool) {
        self.down.store(down, Ordering::Relaxed);
    }

    pub fn delay(&self, delay: Duration) {
        self.delay.store(u64::try_from(delay.as_millis()).unwrap(), Ordering::Relaxed);
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, down: &AtomicBool, delay: &AtomicU64) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(read) = from.read(&mut buffer) {
        if read == 0 || down.load(Ordering::Relaxed) {
            break;
        }
        std::thread::sleep(Duration::from_millis(delay.load(Ordering::Relaxed)));
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    from.shutdown(Shutdown::Both).ok();
    to.shutdown(Shutdown::Both).ok();
}
