//! The program signing in, each way: against a sign-in server of the tests (https, in Python), the sandbox's identity endpoint, and an
//! `az` of the tests. What is set up incompletely ends with exit code 4 within ten seconds.
#![cfg(unix)]

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use azmend::clock::{Clock as _, SystemClock, elapsed};
use azmend::sim::{Estate, ServerOptions, Sim, World};
use serde_json::Value;

use crate::serving::Serving;

const AZMEND: &str = env!("CARGO_BIN_EXE_azmend");
const SUB: &str = "5b1c0de0-0000-4000-8000-000000000001";

/// Entra ID's token endpoint, as far as azmend asks it: `REFUSE` in the secret is refused. It writes its port, then each body.
const AUTHORITY: &str = r#"
import http.server, json, ssl, sys
token, pem = sys.argv[1:]
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        print(self.path, body, flush=True)
        bad = "REFUSE" in body
        answer = {"error": "invalid_client", "error_description": "AADSTS7000215: Invalid client secret provided."} if bad \
            else {"token_type": "Bearer", "expires_in": 3600, "ext_expires_in": 3600, "access_token": token}
        answer = json.dumps(answer).encode()
        self.send_response(401 if bad else 200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)
    def log_message(self, *_): pass
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(pem)
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
server.serve_forever()
"#;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/sign-in").join(name)
}

struct Authority {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
    address: String,
}

impl Authority {
    fn start(token: &str) -> Self {
        let mut child = Command::new("python3")
            .args(["-c", AUTHORITY, token])
            .arg(fixture("authority.pem"))
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is needed for the tests of signing in");
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut port = String::new();
        lines.read_line(&mut port).unwrap();
        Self { child, lines, address: format!("https://localhost:{}", port.trim()) }
    }

    /// The next request: its path and body.
    fn asked(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// `azmend vms` against this server, with nothing but these variables: exit code, result, and how long it took.
fn azmend(serving: &Serving, auth: &str, variables: &[(&str, &str)]) -> (i32, Value, Duration) {
    let dir = tempfile::tempdir().unwrap();
    let began = SystemClock.now();
    let output = Command::new(AZMEND)
        .args(["vms", "-s", SUB, "-o", "json", "--auth", auth])
        .env_clear()
        .env("PATH", "/nowhere")
        .env("AZMEND_STATE_DIR", dir.path())
        .env("AZMEND_ARM_ENDPOINT", &serving.base)
        .env("SSL_CERT_FILE", fixture("authority-ca.pem"))
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let took = elapsed(began, SystemClock.now());
    let shown = String::from_utf8_lossy(&output.stderr).into_owned();
    let result = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{shown}"));
    (output.status.code().unwrap(), result, took)
}

fn serving() -> Serving {
    Serving::on(Sim::new(World::from_estate(&Estate::built_in())), ServerOptions::default())
}

/// Fails with code 4, says this, and takes less than ten seconds.
#[track_caller]
fn refused(serving: &Serving, auth: &str, variables: &[(&str, &str)], expected: &str) {
    let (code, result, took) = azmend(serving, auth, variables);
    let message = result["error"]["message"].as_str().unwrap_or_default().to_owned();
    assert_eq!(code, 4, "{auth}: {result}");
    assert!(message.contains(expected), "{auth}: {message}");
    assert!(!message.contains("hush"), "{message}");
    assert!(took < Duration::from_secs(10), "{auth}: {took:?}: {message}");
}

#[test]
fn a_service_principal_and_a_workload_sign_in_at_an_authority() {
    let serving = serving();
    let mut authority = Authority::start(&serving.token());
    let (host, certificate) = (authority.address.clone(), fixture("certificate.pem"));
    let federated = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(federated.path(), "federated-assertion").unwrap();
    let base =
        [("AZURE_TENANT_ID", "a-tenant"), ("AZURE_CLIENT_ID", "a-client"), ("AZURE_AUTHORITY_HOST", host.as_str())];
    let with = |name, value| [&base[..], &[(name, value)]].concat();
    let cases = [
        ("service-principal", with("AZURE_CLIENT_SECRET", "hush"), "client_secret=hush"),
        (
            "service-principal",
            with("AZURE_CLIENT_CERTIFICATE_PATH", certificate.to_str().unwrap()),
            "client_assertion=ey",
        ),
        (
            "workload",
            with("AZURE_FEDERATED_TOKEN_FILE", federated.path().to_str().unwrap()),
            "client_assertion=federated-assertion",
        ),
    ];
    for (auth, variables, sent) in &cases {
        for how in [auth, "auto"] {
            let (code, result, _) = azmend(&serving, how, variables);
            assert_eq!(code, 0, "{how}: {result}");
            let asked = authority.asked();
            assert!(asked.starts_with("/a-tenant/oauth2/v2.0/token ") && asked.contains(sent), "{how}: {asked}");
            assert!(asked.contains("client_id=a-client") && asked.contains(".default"), "{asked}");
        }
    }
    refused(&serving, "service-principal", &with("AZURE_CLIENT_SECRET", "hush-REFUSE"), "AADSTS7000215");
    refused(
        &serving,
        "service-principal",
        &base,
        "neither AZURE_CLIENT_SECRET nor AZURE_CLIENT_CERTIFICATE_PATH is set",
    );
    refused(
        &serving,
        "service-principal",
        &with("AZURE_CLIENT_CERTIFICATE_PATH", "/no/such.pem"),
        "cannot read /no/such.pem",
    );
    refused(&serving, "workload", &base, "AZURE_FEDERATED_TOKEN_FILE is not set");
    refused(&serving, "workload", &with("AZURE_FEDERATED_TOKEN_FILE", "/no/such"), "cannot read /no/such");
    let secret_only = [("AZURE_CLIENT_SECRET", "hush"), base[2]];
    refused(&serving, "service-principal", &secret_only, "AZURE_TENANT_ID is not set");
}

#[test]
fn an_authority_that_is_dead_or_silent_is_given_up_soon() {
    let serving = serving();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let dead = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = |listener: &TcpListener| format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let (quiet, gone) = (address(&silent), address(&dead));
    drop(dead);
    let variables = |host| {
        [
            ("AZURE_TENANT_ID", "t"),
            ("AZURE_CLIENT_ID", "c"),
            ("AZURE_CLIENT_SECRET", "hush"),
            ("AZURE_AUTHORITY_HOST", host),
        ]
    };
    refused(&serving, "service-principal", &variables(&gone), &gone.replace("https://", ""));
    refused(&serving, "service-principal", &variables(&quiet), &format!("no token from {quiet} within 8 seconds"));
}

#[test]
fn a_managed_identity_signs_in_and_a_dead_endpoint_is_given_up_soon() {
    let serving = serving();
    let header = ("IDENTITY_HEADER", serving.identity.secret());
    let right = [("IDENTITY_ENDPOINT", serving.identity_endpoint.as_str()), header];
    for auth in ["managed-identity", "auto"] {
        let (code, result, _) = azmend(&serving, auth, &right);
        assert_eq!((code, &result["sandbox"]), (0, &Value::Bool(true)), "{result}");
    }
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let dead = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = |listener: &TcpListener| format!("http://{}/msi/token", listener.local_addr().unwrap());
    let (quiet, gone) = (address(&silent), address(&dead));
    drop(dead);
    let host = gone.trim_start_matches("http://").trim_end_matches("/msi/token").to_owned();
    refused(&serving, "managed-identity", &[("IDENTITY_ENDPOINT", gone.as_str()), ("IDENTITY_HEADER", "hush")], &host);
    let expected = format!("no token from the identity endpoint {quiet} within 8 seconds");
    refused(
        &serving,
        "managed-identity",
        &[("IDENTITY_ENDPOINT", quiet.as_str()), ("IDENTITY_HEADER", "hush")],
        &expected,
    );
    let wrong = [right[0], ("IDENTITY_HEADER", "wrong-hush")];
    refused(&serving, "managed-identity", &wrong, "managed-identity: ");
    let unknown = [right[0], right[1], ("AZURE_CLIENT_ID", "not-assigned")];
    refused(&serving, "managed-identity", &unknown, "not been assigned");
}

#[test]
fn the_azure_cli_signs_in_and_its_absence_is_reported() {
    let serving = serving();
    let dir = tempfile::tempdir().unwrap();
    let az = |script: &str| {
        let file = dir.path().join("az");
        std::fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    let path = format!("{}:/usr/bin:/bin", dir.path().display());
    let path = [("PATH", path.as_str())];
    az(&format!(
        r#"echo '{{"accessToken":"{}","expiresOn":"2099-01-01 00:00:00.000000","expires_on":4070908800,"tenant":"t","tokenType":"Bearer"}}'"#,
        serving.token()
    ));
    for auth in ["cli", "auto"] {
        let (code, result, _) = azmend(&serving, auth, &path);
        assert_eq!(code, 0, "{result}");
    }
    az("echo 'ERROR: Please run az login to setup account.' >&2; exit 1");
    refused(&serving, "cli", &path, "az login");
    refused(&serving, "cli", &[("PATH", "/nowhere")], "cli: ");
}
