//! The traps of the frozen SDK crates, pinned: when one of these tests fails, the crate has changed and the rules of
//! this room (`.send()` only, own polling, own retry, own transport) may be looked at again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use azure_core_021 as core;
use azure_mgmt_compute::package_2024_07_01 as compute;
use azure_mgmt_recoveryservicesbackup::package_2024_04 as backup;
use bytes::Bytes;
use serde_json::json;

use super::bridge::{Seam, ask, client, credential};
use crate::error::{ArmError, ErrorClass};
use crate::gateway::Gateway;
use crate::http::Response;
use crate::testing::{Script, exchange, not_sent};
use crate::token::StaticToken;
use azmend_base::clock::VirtualClock;

/// Answers every request of a generated client with the same status and body.
#[derive(Debug)]
struct Canned {
    status: u16,
    body: &'static str,
    calls: Arc<AtomicU32>,
}

#[async_trait]
impl core::HttpClient for Canned {
    async fn execute_request(&self, _: &core::Request) -> core::Result<core::Response> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let body = Bytes::from_static(self.body.as_bytes());
        let status = core::StatusCode::try_from(self.status).unwrap();
        let stream = futures::stream::once(async move { Ok(body) });
        Ok(core::Response::new(status, core::headers::Headers::new(), Box::pin(stream)))
    }
}

fn canned(status: u16, body: &'static str) -> (core::TransportOptions, Arc<AtomicU32>) {
    let calls = Arc::new(AtomicU32::new(0));
    (core::TransportOptions::new(Arc::new(Canned { status, body, calls: Arc::clone(&calls) })), calls)
}

fn compute_client(transport: core::TransportOptions) -> compute::Client {
    compute::Client::builder(credential()).retry(core::RetryOptions::none()).transport(transport).build().unwrap()
}

fn gateway(script: &Script) -> Gateway {
    let clock = VirtualClock::new("2026-11-20T09:00:00Z".parse().unwrap());
    let endpoint = "https://management.azure.com".parse().unwrap();
    Gateway::new(Arc::new(script.clone()), Arc::new(StaticToken::new("t", "t")), Arc::new(clock), endpoint, "r")
        .unwrap()
}

#[tokio::test]
async fn awaiting_a_long_running_builder_takes_a_failure_for_success() {
    let failed = r#"{"properties":{"provisioningState":"Failed"},"location":"westeurope"}"#;
    let (transport, _) = canned(200, failed);
    let extension: compute::models::VirtualMachineExtension =
        serde_json::from_value(json!({ "location": "x" })).unwrap();
    let call =
        compute_client(transport).virtual_machine_extensions_client().create_or_update("g", "v", "e", extension, "s");
    let result = call.into_future().await;
    assert!(result.is_ok(), "the crate now sees that the operation failed: {result:?}");
}

#[tokio::test]
async fn awaiting_an_accepted_change_reports_a_failure() {
    let (transport, calls) = canned(202, "");
    let client =
        backup::Client::builder(credential()).retry(core::RetryOptions::none()).transport(transport).build().unwrap();
    let item: backup::models::ProtectedItemResource = serde_json::from_value(json!({})).unwrap();
    let call = client.protected_items_client().create_or_update("v", "g", "s", "Azure", "c", "i", item);
    assert!(call.into_future().await.is_err(), "the crate now understands 202");
    assert_eq!(calls.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn the_default_retry_repeats_changes() {
    let (transport, calls) = canned(503, "");
    let quick = core::ExponentialRetryOptions::default().max_retries(1u32).initial_delay(std::time::Duration::ZERO);
    let client = compute::Client::builder(credential())
        .retry(core::RetryOptions::exponential(quick))
        .transport(transport)
        .build()
        .unwrap();
    let result = client.restore_point_collections_client().delete("s", "g", "c").send().await;
    assert!(result.is_err());
    assert_eq!(calls.load(Ordering::Relaxed), 2, "a DELETE was sent again without a look at its verb");
}

#[tokio::test]
async fn the_generated_models_lose_a_page_for_one_element() {
    let (transport, _) = canned(200, r#"{"value":[{"id":"/a"}]}"#);
    let call = compute_client(transport).restore_point_collections_client().list_all("s");
    let mut pages = Box::pin(call.into_stream());
    assert!(
        futures::StreamExt::next(&mut pages).await.unwrap().is_err(),
        "an element without location is now accepted"
    );
}

#[test]
fn the_headers_debug_shows_the_token() {
    let mut headers = core::headers::Headers::new();
    headers.insert("authorization", "Bearer shown");
    assert!(format!("{headers:?}").contains("shown"), "fixed upstream; we give the SDK a dummy token all the same");
}

#[tokio::test]
async fn the_sdk_never_holds_the_real_token() {
    let token = credential().get_token(&["scope"]).await.unwrap();
    assert_eq!(token.token.secret(), "none");
}

#[tokio::test]
async fn a_call_sends_one_request_and_refuses_a_second() {
    let script =
        Script::new(|_| Ok(Response::json(200, &json!({ "properties": { "provisioningState": "Updating" } }))));
    let gateway = gateway(&script);
    let seam = Seam::new(&gateway, None);
    let client = client!(seam, compute).unwrap().restore_point_collections_client();
    assert!(client.delete("s", "g", "c").send().await.is_ok());
    let second = client.delete("s", "g", "c").send().await.unwrap_err();
    let inner = std::error::Error::source(&second).and_then(|error| error.downcast_ref::<ArmError>());
    assert_eq!(inner.map(ArmError::class), Some(ErrorClass::Refused));
    assert_eq!(script.seen().len(), 1);
}

#[tokio::test]
async fn our_error_comes_back_through_source() {
    let script = Script::list(vec![exchange("rg_delete_409_rg_lock_net").1]);
    let seam = Seam::new(&gateway(&script), None);
    let client = client!(seam, compute).unwrap().restore_point_collections_client();
    let error = client.delete("s", "g", "c").send().await.unwrap_err();
    let inner = std::error::Error::source(&error).and_then(|error| error.downcast_ref::<ArmError>());
    assert_eq!(inner.map(ArmError::class), Some(ErrorClass::ScopeLocked));
}

#[tokio::test]
async fn no_answer_keeps_its_kind() {
    let script = Script::new(|_| Err(not_sent()));
    let gateway = gateway(&script);
    let error = ask(&gateway, None, |seam| {
        Ok(client!(seam, compute)?.restore_point_collections_client().delete("s", "g", "c").send())
    });
    assert_eq!(error.await.unwrap_err().class(), ErrorClass::NotSent);
}

#[tokio::test]
async fn the_generated_urls_keep_odd_names() {
    let script = Script::new(|_| Ok(Response::empty(204)));
    let gateway = gateway(&script);
    for (name, path) in [("a;b", "a;b"), ("a b", "a%20b"), ("a#b?c", "a%23b%3Fc"), ("ä(1)", "%C3%A4(1)")] {
        let call = ask(&gateway, None, |seam| {
            Ok(client!(seam, compute)?.restore_point_collections_client().delete("s", "g", name).send())
        });
        let sent = call.await.unwrap().request;
        assert!(sent.url.path().ends_with(&format!("/restorePointCollections/{path}")), "{}", sent.url);
        assert_eq!(sent.url.query(), Some("api-version=2024-07-01"));
    }
    // What the builders do not guard against: a slash and dots. `ResourceId` refuses both.
    let call = ask(&gateway, None, |seam| {
        Ok(client!(seam, compute)?.restore_point_collections_client().delete("s", "g", "../../x").send())
    });
    assert!(call.await.unwrap().request.url.path().ends_with("/providers/x"));
}

/// `.await` directly on a builder, or `into_future`, anywhere in this room but here.
#[test]
fn no_builder_is_awaited() {
    let files = [
        ("backup.rs", include_str!("backup.rs")),
        ("bridge.rs", include_str!("bridge.rs")),
        ("compute.rs", include_str!("compute.rs")),
        ("engines.rs", include_str!("engines.rs")),
        ("graph.rs", include_str!("graph.rs")),
        ("jobs.rs", include_str!("jobs.rs")),
        ("locks.rs", include_str!("locks.rs")),
        ("protection.rs", include_str!("protection.rs")),
        ("restore_points.rs", include_str!("restore_points.rs")),
        ("vaults.rs", include_str!("vaults.rs")),
    ];
    for (file, text) in files {
        assert!(!text.contains("into_future"), "{file}");
        let code: String =
            text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
        // Every client call of an area file ends in `.send()` or goes through `first(...into_stream())`.
        let calls = code.matches("client!(").count();
        let ends = code.matches(".send())").count() + code.matches("first(").count();
        if file != "bridge.rs" {
            assert!(calls > 0 && ends >= calls, "{file}: {calls} clients, {ends} ends");
            for (index, _) in code.match_indices(".await") {
                // The statement that is awaited: a builder in it would be awaited with it.
                let begin = code[..index].rfind([';', '{', '}']).map_or(0, |at| at + 1);
                let before = &code[begin..index];
                let fine = !before.contains("client!(") && !before.contains("_client()");
                assert!(fine, "{file}: awaits something else than the exchange: {before}");
            }
        }
    }
    // A file that builds requests and is not in the list above is not looked at.
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/calls")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let builds = std::fs::read_to_string(&path).unwrap().contains("client!(");
        assert!(!builds || name == "traps.rs" || files.iter().any(|(file, _)| *file == name), "add {name} to the list");
    }
}
