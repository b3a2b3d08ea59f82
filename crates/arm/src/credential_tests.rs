//! Ways to sign in: which one is taken, and what an incomplete one says.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

use azure_core::credentials::{AccessToken, TokenRequestOptions};
use azure_core::time::OffsetDateTime;
use serde_json::json;

use super::*;
use crate::http::Response;
use crate::testing::{Script, lost};
use azmend_base::clock::VirtualClock;

fn clock() -> VirtualClock {
    VirtualClock::new("2026-11-20T09:00:00Z".parse().unwrap())
}

fn settings(auth: Auth) -> SignIn {
    let scope = "https://management.azure.com/.default".to_owned();
    SignIn { auth, tenant: None, client_id: None, cloud: Cloud::Public, scope }
}

fn source(settings: &SignIn, vars: &[(&str, &str)], script: &Script) -> Result<Arc<dyn TokenSource>, SignInError> {
    let vars: HashMap<String, String> = vars.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    token_source(settings, &|name| vars.get(name).cloned(), Arc::new(script.clone()), Arc::new(clock()))
}

const PRINCIPAL: &[(&str, &str)] =
    &[("AZURE_TENANT_ID", "my-tenant"), ("AZURE_CLIENT_ID", "me"), ("AZURE_CLIENT_SECRET", "hush")];

fn granted() -> Script {
    Script::new(|_| {
        Ok(Response::json(
            200,
            &json!({ "token_type": "Bearer", "expires_in": 3600, "ext_expires_in": 3600, "access_token": "T" }),
        ))
    })
}

#[tokio::test]
async fn a_service_principal_signs_in_through_our_network() {
    let script = granted();
    let source = source(&settings(Auth::ServicePrincipal), PRINCIPAL, &script).unwrap();
    assert_eq!(source.token().await.unwrap().expose(), "T");
    let seen = script.seen();
    assert_eq!(seen[0].url.as_str(), "https://login.microsoftonline.com/my-tenant/oauth2/v2.0/token");
    let body = String::from_utf8_lossy(&seen[0].body).into_owned();
    assert!(
        body.contains("scope=https%3A%2F%2Fmanagement.azure.com%2F.default") && body.contains("client_id=me"),
        "{body}"
    );
    assert_eq!(source.describe(), "service-principal");
    assert!(!format!("{source:?}").contains("hush"));
}

#[tokio::test]
async fn the_cloud_and_the_authority_decide_where_to_sign_in() {
    for (cloud, authority, host) in [
        (Cloud::UsGov, None, "login.microsoftonline.us"),
        (Cloud::China, None, "login.chinacloudapi.cn"),
        (Cloud::Public, Some("https://login.local.example"), "login.local.example"),
    ] {
        let script = granted();
        let mut vars = PRINCIPAL.to_vec();
        vars.extend(authority.map(|authority| ("AZURE_AUTHORITY_HOST", authority)));
        let source = source(&SignIn { cloud, ..settings(Auth::ServicePrincipal) }, &vars, &script).unwrap();
        source.token().await.unwrap();
        assert_eq!(script.seen()[0].url.host_str(), Some(host));
    }
}

#[tokio::test]
async fn a_missing_setting_is_named() {
    let script = granted();
    let error = source(&settings(Auth::ServicePrincipal), &PRINCIPAL[..2], &script).unwrap_err();
    assert_eq!(error.attempts[0].why, "neither AZURE_CLIENT_SECRET nor AZURE_CLIENT_CERTIFICATE_PATH is set");
    let error = source(&settings(Auth::WorkloadIdentity), PRINCIPAL, &script).unwrap_err();
    assert_eq!(error.attempts[0].why, "AZURE_FEDERATED_TOKEN_FILE is not set");
    let named = SignIn { tenant: Some("t".into()), client_id: Some("c".into()), ..settings(Auth::ServicePrincipal) };
    assert!(source(&named, &PRINCIPAL[2..], &script).is_ok(), "options stand in for variables");
    assert!(script.seen().is_empty());
}

#[tokio::test]
async fn workload_identity_reads_the_token_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, "assertion").unwrap();
    let vars =
        [("AZURE_TENANT_ID", "t"), ("AZURE_CLIENT_ID", "c"), ("AZURE_FEDERATED_TOKEN_FILE", file.to_str().unwrap())];
    let script = granted();
    let source = source(&settings(Auth::WorkloadIdentity), &vars, &script).unwrap();
    assert_eq!(source.token().await.unwrap().expose(), "T");
    assert!(String::from_utf8_lossy(&script.seen()[0].body).contains("client_assertion=assertion"));
}

#[tokio::test]
async fn a_refused_sign_in_says_why_without_the_secret() {
    let script = Script::new(|_| {
        let body = json!({ "error": "invalid_client", "error_description": "AADSTS7000215: Invalid client secret provided.", "error_codes": [7000215] });
        Ok(Response::json(401, &body))
    });
    let source = source(&settings(Auth::ServicePrincipal), PRINCIPAL, &script).unwrap();
    let error = source.token().await.unwrap_err().to_string();
    assert!(error.contains("service-principal") && error.contains("AADSTS7000215"), "{error}");
    assert!(!error.contains("hush"));
}

#[test]
fn auto_tries_in_this_order() {
    let names = |vars: &[(&str, &str)]| -> Vec<(String, bool)> {
        let vars: HashMap<&str, &str> = vars.iter().copied().collect();
        let env = |name: &str| vars.get(name).map(|value| (*value).to_owned());
        let script: Arc<dyn Transport> = Arc::new(Script::new(|_| Err(lost("x"))));
        ways(&settings(Auth::Auto), &env, script, &(Arc::new(clock()) as Arc<dyn Clock>))
            .into_iter()
            .map(|way| (way.name, way.make.is_ok()))
            .collect()
    };
    let shape = |ok: [bool; 4]| -> Vec<(String, bool)> {
        ["service-principal", "workload", "managed-identity", "cli"]
            .iter()
            .map(|name| (*name).to_owned())
            .zip(ok)
            .collect()
    };
    assert_eq!(names(&[]), shape([false, false, false, true]));
    assert_eq!(names(PRINCIPAL), shape([true, false, false, true]));
    assert_eq!(
        names(&[("IDENTITY_ENDPOINT", "http://x"), ("IDENTITY_HEADER", "h")]),
        shape([false, false, true, true])
    );
    assert_eq!(names(&[("AZURE_CLIENT_SECRET", "")]), shape([false, false, false, true]), "empty is not set");
}

/// A credential that gives numbered tokens, or fails.
#[derive(Debug)]
struct Fake {
    issued: Arc<AtomicU32>,
    lifetime: Arc<AtomicI64>,
    clock: VirtualClock,
}

#[async_trait]
impl TokenCredential for Fake {
    async fn get_token(&self, _: &[&str], _: Option<TokenRequestOptions<'_>>) -> azure_core::Result<AccessToken> {
        let lifetime = self.lifetime.load(Ordering::Relaxed);
        if lifetime == 0 {
            return Err(azure_core::Error::with_message(ErrorKind::Credential, "out of order"));
        }
        let number = self.issued.fetch_add(1, Ordering::Relaxed);
        let expires = OffsetDateTime::from_unix_timestamp(self.clock.now().as_second() + lifetime).unwrap();
        Ok(AccessToken::new(format!("token-{number}"), expires))
    }
}

fn fake(name: &str, clock: &VirtualClock, lifetime: i64) -> (Way, Arc<AtomicI64>) {
    let (lifetime, issued, clock) = (Arc::new(AtomicI64::new(lifetime)), Arc::new(AtomicU32::new(0)), clock.clone());
    let own = Arc::clone(&lifetime);
    let make: Box<Make> = Box::new(move || {
        Ok(Arc::new(Fake { issued: Arc::clone(&issued), lifetime: Arc::clone(&own), clock: clock.clone() }))
    });
    (Way { name: name.to_owned(), ..Way::new(Auth::Cli, Ok(make), "a test", &Arc::default()) }, lifetime)
}

#[tokio::test]
async fn tokens_are_kept_renewed_and_forgotten() {
    let clock = clock();
    let (way, lifetime) = fake("one", &clock, 3600);
    let source = Credential::new(vec![way], "s".into(), Arc::new(clock.clone()));
    let token = async || source.token().await.map(|token| token.expose().to_owned());
    assert_eq!((token().await.unwrap(), token().await.unwrap()), ("token-0".into(), "token-0".into()));
    clock.advance(Duration::from_secs(3299));
    assert_eq!(token().await.unwrap(), "token-0");
    clock.advance(Duration::from_secs(2));
    assert_eq!(token().await.unwrap(), "token-1", "renewed five minutes before it expires");
    source.forget().await;
    assert_eq!(token().await.unwrap(), "token-2");
    lifetime.store(0, Ordering::Relaxed);
    clock.advance(Duration::from_secs(3400));
    assert_eq!(token().await.unwrap(), "token-2", "still good when it cannot be renewed");
    clock.advance(Duration::from_secs(300));
    assert_eq!(token().await.unwrap_err(), SignInError::one("one", "out of order"));
}

#[tokio::test]
async fn nobody_else_is_signed_in_instead() {
    let clock = clock();
    let missing = || Way::new(Auth::Cli, Err("X is not set".into()), "a test", &Arc::default());
    let unset = || Way { name: "unset".into(), ..missing() };
    let (broken, repaired) = fake("first", &clock, 0);
    let (other, _) = fake("second", &clock, 3600);
    let source = Credential::new(vec![unset(), broken, other], "s".into(), Arc::new(clock.clone()));
    assert_eq!(source.describe(), "unset, first, second");
    let error = source.token().await.unwrap_err().to_string();
    assert_eq!(error, "cannot sign in to Azure: unset: X is not set; first: out of order");
    repaired.store(3600, Ordering::Relaxed);
    source.token().await.unwrap();
    assert_eq!(source.describe(), "first");
    repaired.store(0, Ordering::Relaxed);
    source.forget().await;
    assert_eq!(source.token().await.unwrap_err(), SignInError::one("first", "out of order"));
}

const CERTIFICATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/sign-in/certificate.pem");

#[tokio::test]
async fn a_service_principal_signs_in_with_a_certificate() {
    let script = granted();
    let vars = [
        ("AZURE_TENANT_ID", "my-tenant"),
        ("AZURE_CLIENT_ID", "me"),
        ("AZURE_CLIENT_CERTIFICATE_PATH", CERTIFICATE),
        ("AZURE_AUTHORITY_HOST", "https://login.example/"),
    ];
    let source = source(&settings(Auth::ServicePrincipal), &vars, &script).unwrap();
    assert_eq!(source.token().await.unwrap().expose(), "T");
    let seen = script.seen();
    assert_eq!(seen[0].url.as_str(), "https://login.example/my-tenant/oauth2/v2.0/token");
    let body = String::from_utf8_lossy(&seen[0].body).into_owned();
    for part in ["client_assertion=ey", "client_assertion_type=", "client_id=me", "grant_type=client_credentials"] {
        assert!(body.contains(part), "{body}");
    }
}

#[tokio::test]
async fn what_is_set_up_incompletely_is_named_without_a_request() {
    let principal = [("AZURE_TENANT_ID", "t"), ("AZURE_CLIENT_ID", "c")];
    let with = |more: &[(&'static str, &'static str)]| [&principal[..], more].concat();
    type Case = (Auth, Vec<(&'static str, &'static str)>, &'static str);
    let cases: [Case; 8] = [
        (Auth::ServicePrincipal, with(&[]), "neither AZURE_CLIENT_SECRET nor AZURE_CLIENT_CERTIFICATE_PATH is set"),
        (Auth::ServicePrincipal, vec![("AZURE_CLIENT_SECRET", "hush"), principal[1]], "AZURE_TENANT_ID is not set"),
        (Auth::ServicePrincipal, vec![("AZURE_CLIENT_SECRET", "hush"), principal[0]], "AZURE_CLIENT_ID is not set"),
        (
            Auth::ServicePrincipal,
            with(&[("AZURE_CLIENT_SECRET", "hush"), ("AZURE_CLIENT_CERTIFICATE_PATH", CERTIFICATE)]),
            "are both set",
        ),
        (
            Auth::ServicePrincipal,
            with(&[("AZURE_CLIENT_CERTIFICATE_PATH", "/no/such.pem")]),
            "cannot read /no/such.pem",
        ),
        (Auth::WorkloadIdentity, with(&[]), "AZURE_FEDERATED_TOKEN_FILE is not set"),
        (Auth::WorkloadIdentity, with(&[("AZURE_FEDERATED_TOKEN_FILE", "/no/token")]), "cannot read /no/token"),
        (Auth::WorkloadIdentity, vec![("AZURE_FEDERATED_TOKEN_FILE", CERTIFICATE)], "AZURE_TENANT_ID is not set"),
    ];
    for (auth, vars, expected) in cases {
        let script = Script::new(|_| Err(lost("nothing may be asked")));
        let error = source(&settings(auth), &vars, &script).unwrap_err().to_string();
        assert!(error.contains(expected) && !error.contains("hush"), "{error}");
        assert!(script.seen().is_empty());
    }
}

/// A network on which no request is ever answered.
#[derive(Debug)]
struct Silence;

#[async_trait]
impl Transport for Silence {
    async fn send(&self, _: &Request) -> Result<Response, TransportError> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_silent_authority_is_given_up_within_ten_seconds_and_a_dead_one_at_once() {
    let clock = clock();
    let begun = clock.now();
    let vars: HashMap<&str, &str> = PRINCIPAL.iter().copied().collect();
    let env = |name: &str| vars.get(name).map(|value| (*value).to_owned());
    let source = token_source(&settings(Auth::ServicePrincipal), &env, Arc::new(Silence), Arc::new(clock.clone()));
    let error = source.unwrap().token().await.unwrap_err().to_string();
    assert!(elapsed(begun, clock.now()) < Duration::from_secs(10), "{error}");
    assert!(error.contains("no token from https://login.microsoftonline.com within 8 seconds"), "{error}");

    let script = Script::new(|request| {
        let host = request.url.host_str().unwrap_or_default().to_owned();
        Err(TransportError::NotSent { host, why: "connection refused".into() })
    });
    let source = super::tests::source(&settings(Auth::ServicePrincipal), PRINCIPAL, &script).unwrap();
    let error = source.token().await.unwrap_err().to_string();
    assert!(error.contains("login.microsoftonline.com") && error.contains("connection refused"), "{error}");
    assert_eq!(script.seen().len(), 3, "a blip is outlasted, and no more: {error}");

    let clock = self::clock();
    let busy: Arc<dyn Transport> = Arc::new(Script::new(|_| Ok(Response::json(503, &json!({})))));
    let source = token_source(&settings(Auth::ServicePrincipal), &env, busy, Arc::new(clock)).unwrap();
    let error = source.token().await.unwrap_err().to_string();
    assert!(error.contains("503"), "{error}");
}
