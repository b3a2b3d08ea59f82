//! What the embedded Azure does, route by route.

mod backup;
mod compute;
mod doors;
mod estates;
mod faults;
mod guest;
mod locks;
mod persist;
mod protection;

use std::sync::OnceLock;
use std::time::Duration;

use serde_json::{Value, json};
use url::Url;

use super::{Estate, Paced, Reply, Sim, World};
use azmend_arm::http::{HeaderValue, Method, Request, Response};
use azmend_base::clock::Clock as _;

pub(super) const PROD: &str = "/subscriptions/5b1c0de0-0000-4000-8000-000000000001";
pub(super) const SUBSIDIARY: &str = "/subscriptions/5b1c0de0-0000-4000-8000-000000000002";
pub(super) const GROUP: &str =
    "/subscriptions/5b1c0de0-0000-4000-8000-000000000001/resourceGroups/AzureBackupRG_westeurope_1";
pub(super) const LOCK: &str = "/subscriptions/5b1c0de0-0000-4000-8000-000000000001/resourceGroups/AzureBackupRG_westeurope_1/providers/Microsoft.Authorization/locks/no-delete";
pub(super) const VAULT: &str = "/subscriptions/5b1c0de0-0000-4000-8000-000000000001/resourceGroups/rg-backup/providers/Microsoft.RecoveryServices/vaults/bkp-vault";

pub(super) fn sim() -> Sim {
    static WORLD: OnceLock<World> = OnceLock::new();
    Sim::new(WORLD.get_or_init(|| World::from_estate(&Estate::built_in())).clone())
}

pub(super) fn request(method: &str, target: &str, body: Option<Value>) -> Request {
    let target =
        if target.starts_with("http") { target.to_owned() } else { format!("https://management.azure.com{target}") };
    let mut url = Url::parse(&target).unwrap();
    if !url.query_pairs().any(|(k, _)| k == "api-version") {
        url.query_pairs_mut().append_pair("api-version", "2024-07-01");
    }
    let mut request = Request::new(method.parse::<Method>().unwrap(), url);
    request.headers.insert("authorization", HeaderValue::from_static("Bearer sandbox"));
    if let Some(body) = body {
        request.body = body.to_string().into();
    }
    request
}

pub(super) fn reply(sim: &Sim, method: &str, target: &str, body: Option<Value>) -> Reply {
    sim.serve(&request(method, target, body))
}

pub(super) fn call(sim: &Sim, method: &str, target: &str, body: Option<Value>) -> Response {
    match reply(sim, method, target, body) {
        Reply::Response(response) => response,
        other => panic!("no response: {other:?}"),
    }
}

pub(super) fn get(sim: &Sim, target: &str) -> Value {
    let response = call(sim, "GET", target, None);
    assert_eq!(response.status, 200, "{target}: {}", String::from_utf8_lossy(&response.body));
    body(&response)
}

pub(super) fn body(response: &Response) -> Value {
    serde_json::from_slice(&response.body).unwrap_or(Value::Null)
}

pub(super) fn code(response: &Response) -> String {
    body(response)["error"]["code"].as_str().unwrap_or_default().to_owned()
}

pub(super) fn pass(sim: &Sim, seconds: u64) {
    sim.clock().advance(Duration::from_secs(seconds));
}

pub(super) fn vm(name: &str) -> String {
    format!("{PROD}/resourceGroups/rg-shop/providers/Microsoft.Compute/virtualMachines/{name}")
}

pub(super) fn item(group: &str, name: &str) -> String {
    format!(
        "{VAULT}/backupFabrics/Azure/protectionContainers/IaasVMContainer%3Biaasvmcontainerv2%3B{group}%3B{name}/protectedItems/VM%3Biaasvmcontainerv2%3B{group}%3B{name}"
    )
}

pub(super) fn collection_of(sim: &Sim, name: &str, group: &str) -> String {
    let world = sim.world();
    let found =
        world.collections.iter().find(|c| c.source.name() == name && c.id.resource_group() == Some(group)).unwrap();
    found.id.as_str().to_owned()
}

pub(super) fn points_of(sim: &Sim, collection: &str) -> usize {
    let found = get(sim, &format!("{collection}?$expand=restorePoints"));
    found["properties"]["restorePoints"].as_array().unwrap().len()
}

pub(super) fn unlock(sim: &Sim) {
    assert_eq!(call(sim, "DELETE", LOCK, None).status, 200);
    pass(sim, 60);
}

pub(super) fn backup_body() -> Value {
    json!({ "properties": { "objectType": "IaasVMBackupRequest", "recoveryPointExpiryTimeInUTC": "2026-12-20T00:00:00Z" } })
}

/// Follows an operation's address until it ends; returns the last body.
pub(super) fn follow(sim: &Sim, accepted: &Response) -> Value {
    assert_eq!(accepted.status, 202);
    assert!(accepted.body.is_empty());
    let address = accepted.header("azure-asyncoperation").unwrap().to_owned();
    for _ in 0..200 {
        let polled = get(sim, &address);
        if polled["status"] != "InProgress" {
            return polled;
        }
        pass(sim, 5);
    }
    panic!("the operation does not end at {}", sim.clock().now());
}
