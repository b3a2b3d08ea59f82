//! The sandbox over HTTP: its manners on the wire, and azmend's own network path against it.
//!
//! The managed identity credential reads the variables of its process, and the CLI credential finds `az` on its PATH.
//! So these tests start this test program again, as a child with an environment of its own: see [`child`].

use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use azmend::arm::{Arm, ArmSettings, Auth, Cloud, SignIn, Wire, token_scope, token_source};
use azmend::clock::{Clock, SystemClock, elapsed, later};
use azmend::engine::{PlanRequest, Planned, Run, World as PlanWorld, make_plan};
use azmend::playbook::library::Library;
use azmend::sim::{Estate, Fault, FaultEffect, FaultMatch, ServerOptions, Sim, World};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::serving::Serving;
use crate::support::{Diary, RUN, SUB, TestLog};

const FAST: ServerOptions = ServerOptions { port: 0, speed: 60, token_life: Duration::from_secs(3600) };

fn world() -> World {
    // In the estate's own time: whatever the hour, its policies are not just due.
    World::from_estate(&Estate::built_in())
}

// ---- on the wire ----------------------------------------------------------------------------------------------------

#[test]
fn arm_answers_nobody_without_a_token_of_this_server() {
    let serving = Serving::on(Sim::new(world()), FAST);
    let path = "/subscriptions?api-version=2022-12-01";
    assert_eq!(serving.ask("GET", path, "").0, 401);
    let (status, _, body) = serving.ask("GET", path, "authorization: Bearer made-up\r\n");
    assert_eq!(status, 401);
    assert!(body.contains("InvalidAuthenticationToken"), "{body}");
    assert_eq!(serving.arm("GET", path).0, 200);
    let token = serving.token();
    serving.identity.expire_all();
    let (status, _, body) = serving.ask("GET", path, &format!("authorization: Bearer {token}\r\n"));
    assert_eq!(status, 401);
    assert!(body.contains("ExpiredAuthenticationToken"), "{body}");
}

#[test]
fn only_the_loopback_host_is_served() {
    let serving = Serving::on(Sim::new(world()), FAST);
    let port = serving.base.rsplit(':').next().unwrap().to_owned();
    for (host, good) in [
        (format!("127.0.0.1:{port}"), true),
        (format!("LOCALHOST:{port}"), true),
        ("127.0.0.1".to_owned(), false),
        ("127.0.0.1:1".to_owned(), false),
        (format!("evil.example:{port}"), false),
        (format!("127.0.0.1.evil.example:{port}"), false),
        (format!("user@127.0.0.1:{port}"), false),
        (String::new(), false),
    ] {
        let text =
            serving.raw(format!("GET /nothing HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n").as_bytes());
        let status = if good { "401" } else { "400" };
        assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{host:?}: {text}");
    }
    let two =
        format!("GET / HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nhost: 127.0.0.1:{port}\r\nconnection: close\r\n\r\n");
    assert!(serving.raw(two.as_bytes()).starts_with("HTTP/1.1 400 "));
}

#[test]
fn requests_of_any_shape_are_answered_or_hung_up_on() {
    let serving = Serving::on(Sim::new(world()), FAST);
    let host = serving.base.trim_start_matches("http://").to_owned();
    let head = |first: &str, more: &str| format!("{first}\r\nhost: {host}\r\nconnection: close\r\n{more}\r\n");
    let starts = |bytes: &[u8], status: &str| {
        let text = serving.raw(bytes);
        assert!(text.starts_with(&format!("HTTP/1.1 {status}")), "{status}: {text:.200}");
    };
    starts(b"hello\r\n\r\n", "400");
    starts(b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n", "400");
    starts(head("GET /%00%ff//..;/%zz?x=%&&= HTTP/1.1", "").as_bytes(), "401");
    starts(head("OPTIONS * HTTP/1.1", "").as_bytes(), "400");
    starts(head("CONNECT 127.0.0.1:1 HTTP/1.1", "").as_bytes(), "400");
    starts(head("GET http://evil.example/msi/token HTTP/1.1", "").as_bytes(), "401");
    starts(head(&format!("GET /{} HTTP/1.1", "a".repeat(70_000)), "").as_bytes(), "4");
    starts(head("GET / HTTP/1.1", &"x: y\r\n".repeat(200)).as_bytes(), "4");
    let large = "x".repeat(1024 * 1024 + 1);
    starts(
        format!("{}{large}", head("PUT /a HTTP/1.1", &format!("content-length: {}\r\n", large.len()))).as_bytes(),
        "413",
    );
    // Paths that no resource has, with a good token.
    for path in ["/", "//", "/subscriptions/%2e%2e", "/subscriptions/x/resourceGroups/%00", "/a/b/c?api-version=1"] {
        let (status, _, body) = serving.arm("GET", path);
        assert!((400..500).contains(&status), "{path}: {status} {body}");
    }
    assert_eq!(serving.arm("GET", "/subscriptions?api-version=2022-12-01").0, 200, "it still serves");
}

#[test]
fn links_begin_with_the_address_that_was_asked() {
    let mut small = world();
    small.settings.page_size = 1;
    let serving = Serving::on(Sim::new(small), FAST);
    let path = "//Subscriptions?api-version=2022-12-01";
    let next = |body: &str| {
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        body["nextLink"].as_str().unwrap().to_owned()
    };
    assert!(next(&serving.arm("GET", path).2).starts_with(&format!("{}/", serving.base)));
    let local = serving.base.replace("127.0.0.1", "localhost");
    let host = local.trim_start_matches("http://");
    let token = serving.token();
    let text = serving.raw(
        format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\r\n")
            .as_bytes(),
    );
    assert!(next(text.split_once("\r\n\r\n").unwrap().1).starts_with(&format!("{local}/")), "{text}");
}

#[test]
fn waiting_is_asked_for_in_the_clients_seconds() {
    let world = world();
    let collection = world.collections[0].id.as_str().to_owned();
    let mut open = world;
    open.locks.clear();
    let serving = Serving::on(Sim::new(open), FAST);
    let (status, head, body) = serving.arm("DELETE", &format!("{collection}?api-version=2024-07-01"));
    assert_eq!(status, 202, "{body}");
    let value = |name: &str| {
        let line = head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
        line.unwrap_or_else(|| panic!("no {name} in {head}")).to_owned()
    };
    assert_eq!(value("retry-after"), "1");
    assert!(value("location").starts_with(&serving.base));
    assert!(value("azure-asyncoperation").starts_with(&serving.base));
}

#[test]
fn a_lost_reply_closes_the_connection_and_the_world_is_kept() {
    let mut lossy = world();
    lossy.faults = vec![Fault {
        id: "lost".into(),
        when: FaultMatch { path_contains: Some("tenants".into()), ..FaultMatch::default() },
        effect: FaultEffect::LostAfter,
        seen: 0,
        fired: 0,
    }];
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("world.json");
    let sim = Sim::new(lossy);
    sim.persist(file.clone());
    let mut serving = Serving::on(sim, FAST);
    assert_eq!(serving.arm("GET", "/tenants?api-version=2022-12-01"), (0, String::new(), String::new()));
    assert_eq!(serving.arm("GET", "/tenants?api-version=2022-12-01").0, 200);
    serving.end();
    let saved = World::load(&file).unwrap();
    assert_eq!(saved.faults[0].fired, 1);
    assert!(saved.now >= serving.began, "time went on");
}

// ---- azmend's own network path --------------------------------------------------------------------------------------

/// Starts this test program again for one of the ignored tests below, with nothing in its environment but this.
fn child(test: &str, environment: &[(&str, &str)]) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args([&format!("served::{test}"), "--exact", "--ignored", "--nocapture"])
        .env_clear()
        .envs(environment.iter().copied())
        .output()
        .unwrap()
}

/// What a child printed.
fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn sign_in(auth: Auth, endpoint: &str) -> SignIn {
    let scope = token_scope(&endpoint.parse().unwrap());
    SignIn { auth, tenant: None, client_id: None, cloud: Cloud::Public, scope }
}

/// A clock whose waits are over sooner: only they go by at the server's speed. What a busy machine needs to compute counts
/// as what it is, or facts would be a minute old after a second. The server is ahead by that: a skew as Azure may have it.
#[derive(Debug)]
struct QuickWaits {
    base: Timestamp,
    began: Timestamp,
    skipped: Mutex<Duration>,
}

impl QuickWaits {
    fn new(base: Timestamp) -> Self {
        Self { base, began: SystemClock.now(), skipped: Mutex::default() }
    }
}

#[async_trait]
impl Clock for QuickWaits {
    fn now(&self) -> Timestamp {
        later(self.base, elapsed(self.began, SystemClock.now()) + *self.skipped.lock().unwrap())
    }

    async fn sleep(&self, duration: Duration) {
        let short = duration / FAST.speed;
        SystemClock.sleep(short).await;
        *self.skipped.lock().unwrap() += duration - short;
    }
}

#[tokio::test]
#[ignore = "the child of other tests"]
async fn child_fixes_web_01() {
    let endpoint = env("AZMEND_ARM_ENDPOINT").unwrap();
    let wire = Arc::new(Wire::new().unwrap());
    let tokens = token_source(&sign_in(Auth::Auto, &endpoint), &env, wire.clone(), Arc::new(SystemClock)).unwrap();
    let clock: Arc<dyn Clock> = Arc::new(QuickWaits::new(env("WORLD_NOW").unwrap().parse().unwrap()));
    let settings = ArmSettings { endpoint: endpoint.parse().unwrap(), run_id: RUN.to_owned() };
    let arm = Arm::new(wire, tokens, clock, settings).unwrap();
    let library = Library::shipped();
    let request = PlanRequest {
        playbook: library.find("rp-collection-limit").unwrap(),
        set: std::collections::BTreeMap::new(),
        vm: env("VM").unwrap().parse().unwrap(),
        overrides: std::collections::BTreeSet::new(),
        named_locks: Vec::new(),
        relock: true,
        allow_guest: false,
        why: None,
        earlier: azmend::engine::Earlier::default(),
        max_changes: 40,
        world: PlanWorld {
            sandbox: true,
            cloud: "sandbox".into(),
            endpoint,
            tenant: String::new(),
            subscription: SUB.into(),
            subscription_name: String::new(),
            identity: "managed-identity".into(),
            estate_digest: "test".into(),
        },
    };
    let plan = match make_plan(&arm, &request).await {
        Planned::Plan(plan) => *plan,
        other => panic!("no plan: {other:#?}"),
    };
    let run = Run {
        arm,
        log: Arc::new(TestLog::default()),
        plan,
        run_id: RUN.to_owned(),
        listener: Arc::new(Diary::default()),
        cancel: CancellationToken::new(),
        deadline: None,
        pid: 1,
        earlier: azmend::engine::Earlier::default(),
    };
    let result = run.start().await;
    assert_eq!(result.exit_code, 0, "{result:#?}");
    println!("fixed");
}

/// Runs [`child_fixes_web_01`] against this server; what it printed.
fn fix(serving: &Serving) -> String {
    let (now, vm) = (serving.began.to_string(), serving.sim.world().vm_named("web-01").unwrap().id.to_string());
    let output = child(
        "child_fixes_web_01",
        &[
            ("AZMEND_ARM_ENDPOINT", serving.base.as_str()),
            ("IDENTITY_ENDPOINT", &serving.identity_endpoint),
            ("IDENTITY_HEADER", serving.identity.secret()),
            ("AZMEND_TEST_TRACE", "1"),
            ("WORLD_NOW", &now),
            ("VM", &vm),
        ],
    );
    let text = said(&output);
    assert!(output.status.success() && text.contains("fixed"), "{text}");
    assert!(!text.contains(serving.identity.secret()), "{text}");
    text
}

#[test]
fn azmend_repairs_web_01_over_the_network_with_a_managed_identity() {
    let serving = Serving::on(Sim::new(world()), FAST);
    fix(&serving);
    assert_eq!(serving.identity.issued(), 1, "one token lasts for the run");
    let world = serving.sim.world();
    assert!(world.locks.iter().any(|lock| lock.id.as_str().contains("AzureBackupRG")), "--relock");
    let log = serving.sim.log();
    assert!(log.iter().any(|exchange| exchange.method == "DELETE" && exchange.path.contains("/locks/")));
    assert!(log.iter().any(|exchange| exchange.method == "POST" && exchange.path.ends_with("/backup")));
    assert!(log.iter().all(|exchange| exchange.user_agent.as_deref().unwrap().starts_with("azmend/")));
}

#[test]
fn a_token_that_azure_stops_accepting_is_renewed_in_the_middle_of_a_run() {
    let mut strict = world();
    let steps = [
        ("GET", "/virtualMachines/web-01"),
        ("DELETE", "/locks/"),
        ("DELETE", "restorePoints"),
        ("POST", "/backup"),
        ("PUT", "/locks/"),
    ];
    strict.faults = steps.map(|(method, path)| expired(method, path)).to_vec();
    let serving = Serving::on(Sim::new(strict), FAST);
    fix(&serving);
    let world = serving.sim.world();
    assert!(world.faults.iter().all(|fault| fault.fired == 1), "{:?}", world.faults);
    assert_eq!(serving.identity.issued(), 1 + steps.len() as u64, "a new token for each that was not accepted");
    let backups = serving.sim.log().iter().filter(|e| e.path.ends_with("/backup") && e.status == Some(202)).count();
    assert_eq!(backups, 1);
}

fn expired(method: &str, path: &str) -> Fault {
    Fault {
        id: format!("{method} {path}"),
        when: FaultMatch { method: Some(method.into()), path_contains: Some(path.into()), ..FaultMatch::default() },
        effect: FaultEffect::TokenExpired,
        seen: 0,
        fired: 0,
    }
}

#[test]
fn a_short_token_is_renewed_before_it_expires() {
    // Shorter than the margin that azmend keeps: every request gets a new one.
    let serving = Serving::on(Sim::new(world()), ServerOptions { token_life: Duration::from_secs(2), ..FAST });
    fix(&serving);
    let requests = serving.sim.log().len() as u64;
    assert!(serving.identity.issued() >= requests, "{} tokens, {requests} requests", serving.identity.issued());
}

#[tokio::test]
#[ignore = "the child of other tests"]
async fn child_signs_in() {
    let auth: Auth = env("HOW").unwrap().parse().unwrap();
    let wire = Arc::new(Wire::new().unwrap());
    let settings = sign_in(auth, &env("AZMEND_ARM_ENDPOINT").unwrap());
    let clock = Arc::new(SystemClock);
    match token_source(&settings, &env, wire, clock) {
        Err(error) => println!("no: {error}"),
        Ok(source) => match source.token().await {
            Ok(token) => println!("signed in as {} with {} letters", source.describe(), token.expose().len()),
            Err(error) => println!("no: {error}"),
        },
    }
}

/// What [`child_signs_in`] says, from its first word on.
fn signing_in(how: &str, base: &str, environment: &[(&str, &str)]) -> String {
    let mut all = vec![("HOW", how), ("AZMEND_ARM_ENDPOINT", base)];
    all.extend(environment);
    let output = child("child_signs_in", &all);
    let text = said(&output);
    let line =
        text.lines().find_map(|line| line.find("no: ").or(line.find("signed in")).map(|at| line[at..].to_owned()));
    line.unwrap_or_else(|| panic!("{text}"))
}

#[test]
fn a_wrong_identity_header_says_what_was_tried() {
    let serving = Serving::on(Sim::new(world()), FAST);
    let wrong = [("IDENTITY_ENDPOINT", serving.identity_endpoint.as_str()), ("IDENTITY_HEADER", "wrong-hush")];
    for how in ["auto", "managed-identity"] {
        let text = signing_in(how, &serving.base, &wrong);
        assert!(text.starts_with("no: ") && text.contains("managed-identity: "), "{text}");
        assert!(text.contains("X-IDENTITY-HEADER") && !text.contains("hush"), "{text}");
    }
    assert_eq!(serving.identity.issued(), 0);
    let right = [("IDENTITY_ENDPOINT", wrong[0].1), ("IDENTITY_HEADER", serving.identity.secret())];
    assert!(signing_in("auto", &serving.base, &right).starts_with("signed in as managed-identity"));
    let named = [right[0], right[1], ("AZURE_CLIENT_ID", "not-assigned")];
    assert!(signing_in("auto", &serving.base, &named).contains("not been assigned"));
    let arc = [
        ("IDENTITY_ENDPOINT", "http://localhost:40342/metadata/identity/oauth2/token"),
        ("IMDS_ENDPOINT", "http://localhost:40342"),
    ];
    for how in ["auto", "managed-identity"] {
        let text = signing_in(how, &serving.base, &arc);
        assert!(text.contains("managed-identity: this is Azure Arc's") && text.contains("--auth cli"), "{text}");
    }
}

#[cfg(unix)]
#[test]
fn the_azure_cli_is_asked_last() {
    use std::os::unix::fs::PermissionsExt as _;

    let serving = Serving::on(Sim::new(world()), FAST);
    let dir = tempfile::tempdir().unwrap();
    let az = |script: &str| {
        let file = dir.path().join("az");
        std::fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    let path = format!("{}:/usr/bin:/bin", dir.path().display());
    let path = ("PATH", path.as_str());
    let managed = [
        path,
        ("IDENTITY_ENDPOINT", serving.identity_endpoint.as_str()),
        ("IDENTITY_HEADER", serving.identity.secret()),
    ];
    az(r#"echo "$@" >> "$(dirname "$0")/asked"
echo '{"accessToken":"from-az","expiresOn":"2099-01-01 00:00:00.000000","expires_on":4070908800,"tenant":"t","tokenType":"Bearer"}'"#);
    assert_eq!(signing_in("auto", &serving.base, &[path]), "signed in as cli with 7 letters");
    let asked = std::fs::read_to_string(dir.path().join("asked")).unwrap();
    assert!(
        asked.contains("account get-access-token") && asked.contains(&format!("{}/.default", serving.base)),
        "{asked}"
    );
    assert!(signing_in("auto", &serving.base, &managed).starts_with("signed in as managed-identity"), "before az");
    az("echo 'ERROR: Please run az login to setup account.' >&2; exit 1");
    let text = signing_in("auto", &serving.base, &[path]);
    for way in ["service-principal: ", "workload: ", "managed-identity: IDENTITY_ENDPOINT is not set", "cli: "] {
        assert!(text.contains(way), "{way}: {text}");
    }
    assert!(text.contains("az login"), "{text}");
}
