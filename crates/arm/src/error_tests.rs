//! Azure's error bodies, as they were recorded, and their classes.

use super::super::http::{Method, Request, Response};
use super::super::testing::{exchange, lost, not_sent};
use super::*;

fn now() -> jiff::Timestamp {
    "2026-11-20T09:00:00Z".parse().unwrap()
}

fn answered(status: u16, body: &str) -> ArmError {
    let url = "https://management.azure.com/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/rg/providers/Microsoft.Compute/restorePointCollections/AzureBackup_web_1";
    let mut response = Response::empty(status);
    response.body = bytes::Bytes::copy_from_slice(body.as_bytes());
    ArmError::from_response(&Request::new(Method::DELETE, url.parse().unwrap()), &response, now())
}

fn coded(status: u16, code: &str, message: &str) -> ArmError {
    answered(status, &serde_json::json!({ "error": { "code": code, "message": message } }).to_string())
}

#[test]
fn recorded_exchanges_are_classified() {
    use ErrorClass as C;
    let table: [(&str, C, &str, Option<u64>, bool); 19] = [
        ("rg_delete_409_child_cannotdelete_lock", C::ScopeLocked, "ScopeLocked", None, false),
        ("rg_delete_409_rg_lock_net", C::ScopeLocked, "ScopeLocked", None, false),
        ("429_backupJobs_read_150_per_hour", C::Throttled, "ResourceRequestsThrottled", Some(324), false),
        ("429_on_lro_status_poll", C::Throttled, "SubscriptionRequestsThrottled", Some(6), false),
        (
            "429_subscription_writes_1200_per_hour_on_rg_delete",
            C::Throttled,
            "SubscriptionRequestsThrottled",
            Some(306),
            false,
        ),
        ("429_toomanyrequests_retry_after_5", C::Throttled, "TooManyRequests", Some(5), false),
        ("500_CloudInternalError_protectedItem", C::Transient, "CloudInternalError", None, true),
        ("500_RestApiInternalError_backupOperations", C::Transient, "RestApiInternalError", None, true),
        ("503_ServerTimeout_delete_image", C::Transient, "ServerTimeout", Some(0), true),
        ("503_ServerTimeout_list_locks", C::Transient, "ServerTimeout", None, true),
        ("504_GatewayTimeout_compute", C::Transient, "GatewayTimeout", None, true),
        ("disk_delete_409_OperationNotAllowed_attached", C::NotAllowed, "OperationNotAllowed", None, false),
        ("vm_404_ARM_ResourceNotFound", C::NotFound, "ResourceNotFound", None, false),
        ("delete_vault_400_soft_deleted_items", C::Other, "ServiceResourceNotEmptyWithBackendMessage", None, false),
        ("crp_InternalExecutionError_ps2018", C::Transient, "InternalExecutionError", None, true),
        ("crp_ResourceGroupBeingDeleted", C::BeingDeleted, "ResourceGroupBeingDeleted", None, true),
        ("crp_VMAgentStatusCommunicationError", C::Other, "VMAgentStatusCommunicationError", None, true),
        ("crp_VMExtensionProvisioningTimeout", C::Other, "VMExtensionProvisioningTimeout", None, true),
        ("sql_OperationTimedOut_status_canceled", C::Transient, "OperationTimedOut", None, true),
    ];
    for (name, class, code, wait, effect) in table {
        let (request, response) = exchange(name);
        let error = if response.status == 200 {
            ArmError::from_operation("DELETE /x", &request, &response, "Failed")
        } else {
            ArmError::from_response(&request, &response, now())
        };
        assert_eq!(error.class(), class, "{name}");
        assert_eq!(error.code, code, "{name}");
        assert_eq!(error.retry_after.map(Span::as_secs), wait, "{name}");
        assert_eq!(error.may_have_taken_effect(), effect, "{name}");
        assert_eq!(error.locked_scopes.is_empty(), class != C::ScopeLocked, "{name}");
        assert!(!error.to_string().is_empty());
    }
}

#[test]
fn operation_not_allowed_is_three_things() {
    let quota = "The number of restore points of virtual machine 'web' cannot exceed 500.";
    let changed =
        "Changes were made to the Virtual Machine while the operation 'Create Restore Point' was in progress.";
    assert_eq!(coded(409, "OperationNotAllowed", quota).class(), ErrorClass::RestorePointQuota);
    assert_eq!(coded(400, "OperationNotAllowed", quota).class(), ErrorClass::RestorePointQuota);
    assert_eq!(coded(409, "OperationNotAllowed", changed).class(), ErrorClass::VmChanged);
    assert_eq!(coded(409, "OperationNotAllowed", "is running").class(), ErrorClass::Conflict);
    let crp = r#"{"code":"OperationNotAllowed","message":"The server rejected the request because too many requests have been received for this subscription.","details":[{"code":"TooManyRequests","target":"HighCostGet30Min","message":"{}"}]}"#;
    assert_eq!(answered(429, crp).class(), ErrorClass::Throttled);
    assert_eq!(answered(409, crp).class(), ErrorClass::Throttled);
}

/// The texts of "Common VM error codes in Azure" and of recordings.
#[test]
fn operation_not_allowed_is_told_by_its_text() {
    use ErrorClass as C;
    for (text, class) in [
        ("Operation 'delete' is not allowed as Restore point collection 'c' is marked for deletion.", C::BeingDeleted),
        (
            "Operation 'PUT' is not allowed on VM extension 'VMSnapshot' since it is marked for deletion. You can only retry the Delete operation (or wait for an ongoing one to complete).",
            C::BeingDeleted,
        ),
        ("Operation 'x' is not allowed on VM 'web' since another operation is in progress.", C::Conflict),
        ("Something that azmend has never seen.", C::Conflict),
        ("Cannot modify extensions in the VM when the VM is not running.", C::NotAllowed),
        ("Operation 'x' is not allowed on VM 'web' since VM has extension 'y' in failed state.", C::NotAllowed),
        ("Operation 'generalize' is not allowed on VM 'web' since the VM is running.", C::NotAllowed),
        ("Disk d is attached to VM /subscriptions/x.", C::NotAllowed),
        ("The server rejected the request because too many requests have been received.", C::Throttled),
    ] {
        for status in [400, 409] {
            let error = coded(status, "OperationNotAllowed", text);
            assert_eq!(error.class(), class, "{status} {text}");
            assert!(!error.is_unreachable(), "{text}");
        }
    }
}

#[test]
fn a_lock_that_an_application_owns_is_no_problem_of_signing_in() {
    let text = "The management lock 'keep' is owned by system application(s) 'ba4bc2bd-843f-4d61-9d33-199178eae34e'. Please see https://aka.ms/arm-lock for detail.";
    let error = coded(401, "UnauthorizedApplicationId", text);
    assert_eq!(error.class(), ErrorClass::Forbidden);
    assert!(!error.is_unreachable() && !error.is_passing() && !error.may_have_taken_effect());
    let hint = error.hint().unwrap();
    assert!(hint.contains("ba4bc2bd-843f-4d61-9d33-199178eae34e") && !hint.contains("az login"), "{hint}");
}

#[test]
fn unreachable_is_only_what_was_not_reached() {
    let request = Request::new(Method::GET, "https://management.azure.com/a".parse().unwrap());
    let of = |error| ArmError::from_transport(&request, &error);
    let no_token = ArmError::sign_in("GET /a", &super::super::token::SignInError::one("cli", "not found"));
    let expired = coded(401, "ExpiredAuthenticationToken", "m");
    for error in [of(lost("reset")), of(not_sent()), answered(503, ""), answered(500, ""), no_token, expired] {
        assert!(error.is_unreachable() && error.is_passing(), "{error}");
    }
    let throttled = answered(429, "");
    assert!(!throttled.is_unreachable() && throttled.is_passing(), "{throttled}");
    for error in [answered(409, ""), answered(403, ""), answered(404, ""), answered(400, ""), answered(412, "")] {
        assert!(!error.is_unreachable() && !error.is_passing(), "{error}");
    }
}

#[test]
fn a_refusal_without_a_code_of_azure_may_hide_a_request_that_took_effect() {
    for status in [400, 403, 404, 409, 410, 412, 413, 423, 428, 451] {
        for body in ["", "<html>blocked</html>", r#"{"id":"/subscriptions/x","properties":{}}"#] {
            assert!(answered(status, body).may_have_taken_effect(), "{status} {body}");
        }
        assert!(!coded(status, "SomethingOfAzure", "no").may_have_taken_effect(), "{status}");
    }
    for status in [401, 407, 429] {
        assert!(!answered(status, "").may_have_taken_effect(), "{status}: said before anything is passed on");
    }
}

#[test]
fn other_classes() {
    use ErrorClass as C;
    assert_eq!(coded(409, "DiskRestorePointUsedByCustomer", "m").class(), C::InUse);
    assert_eq!(coded(409, "UserErrorBackupOperationInProgress", "m").class(), C::BackupRunning);
    assert_eq!(coded(400, "BMSUserErrorBackupOperationInProgress", "m").class(), C::BackupRunning);
    assert_eq!(coded(403, "AuthorizationFailed", "m").class(), C::Forbidden);
    assert_eq!(coded(403, "DenyAssignmentAuthorizationFailed", "m").class(), C::DeniedByAssignment);
    assert_eq!(coded(403, "AuthorizationFailed", "has a deny assignment with name 'x'").class(), C::DeniedByAssignment);
    assert_eq!(coded(401, "ExpiredAuthenticationToken", "m").class(), C::SignIn);
    // A lock that an application owns is refused with 401; signing in again would not help.
    let owned =
        coded(401, "UnauthorizedApplicationId", "The management lock 'a' is owned by system application(s) 'b'.");
    assert_eq!((owned.class(), owned.is_unreachable(), owned.may_have_taken_effect()), (C::Forbidden, false, false));
    assert!(owned.hint().is_some_and(|hint| hint.contains("owns")), "{:?}", owned.hint());
    assert_eq!(coded(404, "LockNotFound", "m").class(), C::NotFound);
    assert_eq!(coded(404, "InvalidResourceType", "m").class(), C::Other);
    assert_eq!(answered(404, "<html>not here</html>").class(), C::Other, "a proxy's 404 is not ARM's");
    assert_eq!(answered(404, "").class(), C::Other);
    assert_eq!(answered(302, "").class(), C::Other);
    let request = Request::new(Method::GET, "https://management.azure.com/a".parse().unwrap());
    let of = |error| ArmError::from_transport(&request, &error);
    assert_eq!(of(lost("reset")).class(), C::Lost);
    assert!(of(lost("reset")).may_have_taken_effect());
    assert_eq!(of(not_sent()).class(), C::NotSent);
    assert!(!of(not_sent()).may_have_taken_effect());
}

#[test]
fn people_read_what_happened_to_which_resource() {
    let error = coded(
        403,
        "AuthorizationFailed",
        "The client does not have authorization to perform action 'Microsoft.Compute/restorePointCollections/delete' over scope 'x'.",
    );
    assert_eq!(
        error.to_string(),
        "delete restorePointCollections rg/AzureBackup_web_1: 403 AuthorizationFailed: The client does not have authorization to perform action 'Microsoft.Compute/restorePointCollections/delete' over scope 'x'."
    );
    assert_eq!(
        error.hint().unwrap(),
        "the identity needs the permission Microsoft.Compute/restorePointCollections/delete at this scope"
    );
    let error = coded(
        409,
        "MissingSubscriptionRegistration",
        "The subscription is not registered to use namespace 'Microsoft.RecoveryServices'. See x.",
    );
    assert_eq!(
        error.hint().unwrap(),
        "register the provider: az provider register --namespace Microsoft.RecoveryServices --subscription 11111111-1111-1111-1111-111111111111"
    );
    let hostile = coded(409, "MissingSubscriptionRegistration", "namespace 'x; rm -rf /'");
    assert!(!hostile.hint().unwrap().contains("rm -rf"), "a command from Azure's text is never offered");
}

#[test]
fn journals_and_comes_back() {
    let (request, response) = exchange("rg_delete_409_child_cannotdelete_lock");
    let error = ArmError::from_response(&request, &response, now());
    let text = serde_json::to_string(&error).unwrap();
    assert_eq!(serde_json::from_str::<ArmError>(&text).unwrap(), error);
    assert!(error.locked_scopes[0].ends_with("/virtualNetworks/cli.lock.rsrc000002"));
}
