//! What counts as a proof of absence, and what does not.

use std::sync::{Arc, Mutex};

use serde_json::json;

use super::*;
use crate::ArmSettings;
use crate::http::{Method, Request, Response};
use crate::testing::{Script, exchange};
use crate::token::StaticToken;
use azmend_base::clock::{Clock, VirtualClock};

const SUB: &str = "/subscriptions/11111111-1111-1111-1111-111111111111";

fn id(rest: &str) -> ResourceId {
    ResourceId::parse(&format!("{SUB}{rest}")).unwrap()
}

fn in_group(rest: &str) -> ResourceId {
    id(&format!("/resourceGroups/Backup-RG/providers/{rest}"))
}

fn collection() -> ResourceId {
    in_group("Microsoft.Compute/restorePointCollections/AzureBackup_web_1")
}

/// The error of `method` on `path` that was answered with `status` and `body`.
fn answer(method: Method, path: &str, status: u16, body: &str) -> ArmError {
    let mut response = Response::empty(status);
    response.body = body.to_owned().into();
    let request = Request::new(method, format!("https://management.azure.com{path}?a=1").parse().unwrap());
    ArmError::from_response(&request, &response, jiff::Timestamp::UNIX_EPOCH)
}

fn coded(code: &str, message: &str) -> String {
    json!({ "error": { "code": code, "message": message } }).to_string()
}

fn says(id: &ResourceId, code: &str) -> bool {
    answer(Method::GET, id.as_str(), 404, &coded(code, "The entity was not found in this Azure location."))
        .says_absent(id)
}

#[test]
fn each_type_has_its_own_codes() {
    let item = in_group(
        "Microsoft.RecoveryServices/vaults/v/backupFabrics/Azure/protectionContainers/c;x/protectedItems/VM;x",
    );
    let lock = collection().resource("Microsoft.Authorization", "locks", "Don't delete").unwrap();
    let vm = in_group("Microsoft.Compute/virtualMachines/web");
    let table: [(ResourceId, &[&str]); 10] = [
        (lock, &["LockNotFound"]),
        (collection(), &["ResourceNotFound", "NotFound"]),
        (
            collection().child("restorePoints", "p").unwrap(),
            &["ResourceNotFound", "NotFound", "ParentResourceNotFound"],
        ),
        (vm.child("extensions", "VMSnapshot").unwrap(), &["ResourceNotFound", "NotFound", "ParentResourceNotFound"]),
        (vm.clone(), &["ResourceNotFound", "NotFound"]),
        (item, &["BMSUserErrorDataSourceObjectNotFound", "BMSUserErrorObjectNotFound", "ResourceNotFound"]),
        (in_group("Microsoft.KeyVault/vaults/k"), &["ResourceNotFound"]),
        (vm.resource("Microsoft.Authorization", "roleAssignments", "r").unwrap(), &["RoleAssignmentNotFound"]),
        (id("/resourceGroups/rg"), &[]),
        (id(""), &[]),
    ];
    let all = [
        "LockNotFound",
        "ResourceNotFound",
        "NotFound",
        "ParentResourceNotFound",
        "BMSUserErrorDataSourceObjectNotFound",
        "BMSUserErrorObjectNotFound",
        "RoleAssignmentNotFound",
        "SubscriptionNotFound",
        "InvalidResourceType",
        "InvalidSubscriptionId",
        "TenantNotFound",
        "NoRegisteredProviderFound",
        "",
    ];
    for (resource, codes) in table {
        for code in all {
            assert_eq!(says(&resource, code), codes.contains(&code), "{code} for {resource}");
            assert_eq!(says(&resource, &code.to_uppercase()), codes.contains(&code), "without case");
        }
        let in_a_group = resource.resource_group().is_some();
        assert_eq!(says(&resource, "ResourceGroupNotFound"), in_a_group, "{resource}");
    }
}

#[test]
fn only_the_answer_to_a_get_of_this_very_resource_counts() {
    let missing = coded("ResourceNotFound", "The Resource was not found.");
    let rpc = collection();
    let get = |path: &str| answer(Method::GET, path, 404, &missing).says_absent(&rpc);
    assert!(get(rpc.as_str()) && get(&rpc.as_str().to_uppercase()) && get(rpc.key()));
    assert!(!get(&format!("{rpc}/restorePoints/p")), "something below it");
    assert!(!get(&rpc.as_str().replace("_1", "_2")), "another one");
    for method in [Method::DELETE, Method::PUT, Method::POST, Method::HEAD] {
        assert!(!answer(method, rpc.as_str(), 404, &missing).says_absent(&rpc), "our own request proves nothing");
    }
    for status in [200, 400, 403, 409, 410, 500] {
        assert!(!answer(Method::GET, rpc.as_str(), status, &missing).says_absent(&rpc), "{status}");
    }
    for body in ["", "<html>not here</html>", "{}", r#"{"message":"not found"}"#] {
        assert!(!answer(Method::GET, rpc.as_str(), 404, body).says_absent(&rpc), "{body}");
    }
    let bare = coded("NotFound", "404 page not found");
    assert!(!answer(Method::GET, rpc.as_str(), 404, &bare).says_absent(&rpc), "a proxy's word");
    let lock = rpc.resource("Microsoft.Authorization", "locks", "Don't delete, é").unwrap();
    let path = format!("{rpc}/providers/Microsoft.Authorization/locks/Don%27t%20delete,%20%C3%A9");
    let error = answer(Method::GET, &path, 404, &coded("LockNotFound", "The lock could not be found."));
    assert!(error.says_absent(&lock), "percent-encoded on the wire");
    let (request, response) = exchange("vm_404_ARM_ResourceNotFound");
    let error = ArmError::from_response(&request, &response, jiff::Timestamp::UNIX_EPOCH);
    assert!(error.says_absent(&ResourceId::parse(request.url.path()).unwrap()), "as recorded");
}

/// An `Arm` whose subscription answers `200` while the switch is on, and 404 `SubscriptionNotFound` else; everything
/// else is a missing resource.
fn arm() -> (Arm, Script, VirtualClock, Arc<Mutex<bool>>) {
    let on = Arc::new(Mutex::new(true));
    let answers = Arc::clone(&on);
    let script = Script::new(move |request| {
        let silent = !*answers.lock().unwrap();
        let body = |code: &str| json!({ "error": { "code": code, "message": "m" } });
        Ok(match request.url.path() {
            _ if silent => Response::json(404, &body("SubscriptionNotFound")),
            SUB => Response::json(200, &json!({ "subscriptionId": &SUB[15..], "state": "Enabled" })),
            path if path.ends_with("/resources") => Response::json(200, &json!({ "value": [] })),
            path if path.ends_with("/html") => {
                let mut page = Response::empty(200);
                page.body = "<html>sign in to the proxy</html>".into();
                page
            }
            _ => Response::json(404, &body("ResourceNotFound")),
        })
    });
    let clock = VirtualClock::new("2026-11-20T09:00:00Z".parse().unwrap());
    let settings = ArmSettings { endpoint: "https://management.azure.com".parse().unwrap(), run_id: "run".to_owned() };
    let tokens = Arc::new(StaticToken::new("t", "t"));
    let arm = Arm::new(Arc::new(script.clone()), tokens, Arc::new(clock.clone()), settings).unwrap();
    (arm, script, clock, on)
}

#[tokio::test]
async fn absence_is_proven_only_while_the_subscription_answers() {
    let (arm, script, clock, on) = arm();
    let rpc = collection();
    let error = arm.collection(&rpc).await.unwrap_err();
    assert!(arm.proves_absence(&error, &rpc).await);
    assert_eq!(script.seen().len(), 2, "the subscription was asked");
    assert!(arm.proves_absence(&error, &rpc).await);
    assert_eq!(script.seen().len(), 2, "it answered a moment ago");
    assert!(!arm.proves_absence(&error, &in_group("Microsoft.Compute/virtualMachines/web")).await);
    *on.lock().unwrap() = false;
    assert!(arm.proves_absence(&error, &rpc).await, "it answered within a minute");
    clock.sleep(Duration::from_secs(61)).await;
    assert!(!arm.proves_absence(&error, &rpc).await, "a silent subscription proves nothing");
    let error = arm.collection(&rpc).await.unwrap_err();
    assert_eq!(error.code, "SubscriptionNotFound");
    assert!(!arm.proves_absence(&error, &rpc).await);
    *on.lock().unwrap() = true;
    assert!(!arm.proves_absence(&error, &rpc).await, "the code is not one of a missing collection");
}

#[tokio::test]
async fn any_success_under_the_subscription_is_remembered() {
    let (arm, script, clock, on) = arm();
    let group = id("/resourceGroups/Backup-RG");
    arm.resources_in(&group).await.unwrap();
    *on.lock().unwrap() = false;
    assert!(arm.subscription_answers(&group).await);
    assert_eq!(script.seen().len(), 1);
    clock.sleep(Duration::from_secs(61)).await;
    assert!(!arm.subscription_answers(&group).await);
    *on.lock().unwrap() = true;
    assert!(arm.raw_get(&format!("{SUB}/html")).await.is_err());
    *on.lock().unwrap() = false;
    assert!(!arm.subscription_answers(&group).await, "a proxy's page is not an answer of the subscription");
}
