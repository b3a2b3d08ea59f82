//! What Azure's errors mean to azmend: a table of single exchanges, and the rule that every recorded error obeys.

use std::collections::BTreeSet;

use azmend::arm::http::Request;
use azmend::arm::{ArmError, ErrorClass, Operation, PollState, ResourceId};
use serde_json::Value;

use super::kinds::Kind;
use super::read::Exchange;
use super::replay::{Replay, endpoint, now};
use super::{decode, files};

/// What a file of `errors/exchanges` must be read as.
enum Expect {
    /// An error response: class, code, seconds to wait, locked scopes (their last segments).
    Error(ErrorClass, &'static str, Option<u64>, &'static [&'static str]),
    /// HTTP 200, and the operation it tells of has ended badly.
    Failed(ErrorClass, &'static str),
    /// The same, by another operation or by a person.
    Canceled(ErrorClass, &'static str),
    /// Not an error of the call: it decodes as this, and holds this text.
    Reads(Kind, &'static str),
    /// Of no kind azmend reads, and why it is here.
    NotRead(&'static str),
}

use ErrorClass as C;
use Expect::{Canceled, Error, Failed, NotRead, Reads};

/// Every file of `errors/exchanges`.
const TABLE: &[(&str, Expect)] = &[
    ("async-failures/crp_InternalExecutionError_ps2018", Failed(C::Transient, "InternalExecutionError")),
    ("async-failures/crp_InvalidParameter", Failed(C::Other, "InvalidParameter")),
    ("async-failures/crp_ResourceGroupBeingDeleted", Failed(C::BeingDeleted, "ResourceGroupBeingDeleted")),
    ("async-failures/crp_VMAgentStatusCommunicationError", Failed(C::Other, "VMAgentStatusCommunicationError")),
    ("async-failures/crp_VMExtensionHandlerNonTransientError", Failed(C::Other, "VMExtensionHandlerNonTransientError")),
    ("async-failures/crp_VMExtensionProvisioningError", Failed(C::Other, "VMExtensionProvisioningError")),
    ("async-failures/crp_VMExtensionProvisioningTimeout", Failed(C::Other, "VMExtensionProvisioningTimeout")),
    ("async-failures/postgres_OperationTimedOut_status_failed", Failed(C::Transient, "OperationTimedOut")),
    ("async-failures/sql_OperationTimedOut_status_canceled", Canceled(C::Transient, "OperationTimedOut")),
    ("azurebackuprg/list_resourcegroups_net", Reads(Kind::GroupList, "AzureBackupRG_westus_1")),
    (
        "azurebackuprg/list_resourcegroups_with_managedBy_recoveryservices",
        Reads(Kind::GroupList, "providers/Microsoft.RecoveryServices/"),
    ),
    ("azurebackuprg/list_resources_2018_restorePointCollections", Reads(Kind::ResourceList, "AzureBackup_")),
    ("azurebackuprg/list_resources_2019_restorePointCollections", Reads(Kind::ResourceList, "AzureBackup_")),
    (
        "backup-job-errors/AzureIaaSVMJob_Backup_CompletedWithWarnings_320001_ResourceNotFound",
        Reads(Kind::Job, "ResourceNotFound"),
    ),
    (
        "backup-job-errors/AzureIaaSVMJob_Backup_CompletedWithWarnings_400309_UserErrorGenericResourceNotFound",
        Reads(Kind::Job, "UserErrorGenericResourceNotFound"),
    ),
    ("backup-job-errors/AzureIaaSVMJob_Backup_Failed_400001", Reads(Kind::JobList, "400001")),
    ("backup-job-errors/AzureIaaSVMJob_Backup_Failed_400002", Reads(Kind::JobList, "400002")),
    ("backup-job-errors/AzureIaaSVMJob_Backup_Failed_400136", Reads(Kind::JobList, "400136")),
    ("backup-job-errors/AzureIaaSVMJob_Backup_Failed_400160", Reads(Kind::JobList, "400160")),
    ("backup-job-errors/AzureIaaSVMJob_Restore_Failed_400001", Reads(Kind::Job, "400001")),
    (
        "backup-job-errors/AzureIaaSVMJob_Restore_Failed_400048_UserErrorBCMRestoreStorageAccountNotFound",
        Reads(Kind::Job, "UserErrorBCMRestoreStorageAccountNotFound"),
    ),
    ("backup-job-errors/AzureStorageJob_Restore_Failed_1073871825", Reads(Kind::Job, "1073871825")),
    (
        "backup-job-errors/AzureWorkloadJob_CrossRegionRestore_Failed_510011_WorkloadRestoreFailed",
        NotRead("a job of another region is asked for with a POST that azmend does not send"),
    ),
    (
        "backup-job-errors/AzureWorkloadJob_Restore_Failed_520512_UserErrorIncompatibleSrcTargetSystemsForRestore",
        Reads(Kind::Job, "UserErrorIncompatibleSrcTargetSystemsForRestore"),
    ),
    (
        "backup-job-errors/AzureWorkloadJob_Restore_Full__Failed_520123_UserErrorRestoreFailedTargetFileAlreadyExists",
        Reads(Kind::Job, "UserErrorRestoreFailedTargetFileAlreadyExists"),
    ),
    (
        "backup-job-errors/AzureWorkloadJob_Restore_Invalid__Failed_520512_UserErrorIncompatibleSrcTargetSystemsForRestore",
        Reads(Kind::Job, "UserErrorIncompatibleSrcTargetSystemsForRestore"),
    ),
    ("conflict/disk_delete_409_OperationNotAllowed_attached", Error(C::NotAllowed, "OperationNotAllowed", None, &[])),
    ("conflict/vm_generalize_409_OperationNotAllowed", Error(C::NotAllowed, "OperationNotAllowed", None, &[])),
    (
        "not-found/delete_vault_400_soft_deleted_items",
        // "... after 14 days ..." is not a time to wait for.
        Error(C::Other, "ServiceResourceNotEmptyWithBackendMessage", None, &[]),
    ),
    ("not-found/vm_404_ARM_ResourceNotFound", Error(C::NotFound, "ResourceNotFound", None, &[])),
    ("protected-item-health/0_Success", NotRead("an excerpt without the element it is named for")),
    (
        "protected-item-health/380016_UserErrorGuestAgentVersionUnsupported",
        Reads(Kind::ItemList, "UserErrorGuestAgentVersionUnsupported"),
    ),
    (
        "protected-item-health/380020_ExtensionVCRedistInstallationFailure",
        Reads(Kind::ItemList, "ExtensionVCRedistInstallationFailure"),
    ),
    ("protected-item-health/400002_BackUpOperationFailed", Reads(Kind::ItemList, "BackUpOperationFailed")),
    ("protected-item-health/400003_RestoreOperationFailed", Reads(Kind::ItemList, "RestoreOperationFailed")),
    (
        "protected-item-health/400048_UserErrorBCMRestoreStorageAccountNotFound",
        Reads(Kind::ItemList, "UserErrorBCMRestoreStorageAccountNotFound"),
    ),
    (
        "protected-item-health/400158_UserErrorJobSuccessfullyCancelled",
        Reads(Kind::ItemList, "UserErrorJobSuccessfullyCancelled"),
    ),
    (
        "protected-item-health/400175_UserErrorVmVaultLocationMismatch",
        Reads(Kind::ItemList, "UserErrorVmVaultLocationMismatch"),
    ),
    (
        "protected-item-health/400196_UserErrorGuestAgentStatusUnavailable",
        Reads(Kind::ItemList, "UserErrorGuestAgentStatusUnavailable"),
    ),
    (
        "protected-item-health/400198_UserErrorKeyVaultPermissionsNotConfigured",
        Reads(Kind::ItemList, "UserErrorKeyVaultPermissionsNotConfigured"),
    ),
    (
        "protected-item-health/400199_VMCreationTimeOutStorageErrorV2",
        Reads(Kind::ItemList, "VMCreationTimeOutStorageErrorV2"),
    ),
    (
        "protected-item-health/400206_ExtensionSnapshotFailedNoNetwork",
        Reads(Kind::ItemList, "ExtensionSnapshotFailedNoNetwork"),
    ),
    ("protected-item-health/400239_IaasVmHealthGreenDefault", Reads(Kind::ItemList, "IaasVmHealthGreenDefault")),
    ("protected-item-health/400240_IaasVmHealthYellowDefault", Reads(Kind::ItemList, "IaasVmHealthYellowDefault")),
    (
        "protected-item-health/400309_UserErrorGenericResourceNotFound",
        Reads(Kind::ItemList, "UserErrorGenericResourceNotFound"),
    ),
    (
        "protected-item-health/400367_UserErrorUnsupportedConfigForUnmanagedToManaged",
        Reads(Kind::ItemList, "UserErrorUnsupportedConfigForUnmanagedToManaged"),
    ),
    (
        "protected-item-health/520512_UserErrorIncompatibleSrcTargetSystemsForRestore",
        NotRead("an excerpt without the element it is named for"),
    ),
    (
        "scope-locked/rg_delete_409_child_cannotdelete_lock",
        Error(C::ScopeLocked, "ScopeLocked", None, &["cli.lock.rsrc000002"]),
    ),
    ("scope-locked/rg_delete_409_disk_lock_java", Error(C::ScopeLocked, "ScopeLocked", Some(0), &["dsk6a53956655"])),
    ("scope-locked/rg_delete_409_rg_lock_net", Error(C::ScopeLocked, "ScopeLocked", None, &["rg5ee51852a6"])),
    (
        "throttling/429_backend_storage_limit_nic_put",
        Error(C::Throttled, "SubscriptionRequestsThrottled", Some(6), &[]),
    ),
    ("throttling/429_backupJobs_read_150_per_hour", Error(C::Throttled, "ResourceRequestsThrottled", Some(324), &[])),
    ("throttling/429_on_deployment_get", Error(C::Throttled, "SubscriptionRequestsThrottled", Some(6), &[])),
    ("throttling/429_on_lro_status_poll", Error(C::Throttled, "SubscriptionRequestsThrottled", Some(6), &[])),
    (
        "throttling/429_subscription_writes_1200_per_hour_on_rg_delete",
        Error(C::Throttled, "SubscriptionRequestsThrottled", Some(306), &[]),
    ),
    ("throttling/429_toomanyrequests_retry_after_5", Error(C::Throttled, "TooManyRequests", Some(5), &[])),
    ("transient-5xx/500_CloudInternalError_protectedItem", Error(C::Transient, "CloudInternalError", None, &[])),
    ("transient-5xx/500_OperationTimedOut_storage", Error(C::Transient, "OperationTimedOut", None, &[])),
    ("transient-5xx/500_RestApiInternalError_backupJobs", Error(C::Transient, "RestApiInternalError", None, &[])),
    ("transient-5xx/500_RestApiInternalError_backupOperations", Error(C::Transient, "RestApiInternalError", None, &[])),
    ("transient-5xx/503_ServerTimeout_compute_operation_poll", Error(C::Transient, "ServerTimeout", None, &[])),
    ("transient-5xx/503_ServerTimeout_delete_image", Error(C::Transient, "ServerTimeout", Some(0), &[])),
    ("transient-5xx/503_ServerTimeout_get_vm", Error(C::Transient, "ServerTimeout", None, &[])),
    ("transient-5xx/503_ServerTimeout_list_locks", Error(C::Transient, "ServerTimeout", None, &[])),
    ("transient-5xx/504_GatewayTimeout_backupJobs", Error(C::Transient, "GatewayTimeout", None, &[])),
    ("transient-5xx/504_GatewayTimeout_backupOperations", Error(C::Transient, "GatewayTimeout", None, &[])),
    ("transient-5xx/504_GatewayTimeout_compute", Error(C::Transient, "GatewayTimeout", None, &[])),
    ("transient-5xx/504_GatewayTimeout_put_protectedItem", Error(C::Transient, "GatewayTimeout", None, &[])),
    ("vm-instanceview/vm_get_failed_extension_status", Reads(Kind::Vm, "ProvisioningState/failed/1")),
];

const PREFIX: &str = "errors/exchanges/";

/// An example made by a generator: its ids are `aaaaaaaaaaa`, which no id of Azure is.
const NONSENSE: &str = "restorePoint/RestorePointCollection_Update_MaximumSet_Gen.json";

/// Whether an exchange is known not to be what its address says.
pub fn is_excused(exchange: &Exchange) -> bool {
    matches!(expectation(&exchange.file), Some(NotRead(_))) || exchange.file.ends_with(NONSENSE)
}

fn expectation(file: &str) -> Option<&'static Expect> {
    let name = file.strip_prefix(PREFIX)?.strip_suffix(".json")?;
    TABLE.iter().find(|(known, _)| *known == name).map(|(_, expect)| expect)
}

#[tokio::test]
async fn each_error_exchange_is_what_the_table_says() {
    let (files, own) = files();
    let mut seen = BTreeSet::new();
    let mut wrong = Vec::new();
    for file in files.iter().filter(|file| file.file.starts_with(PREFIX)) {
        let Some(expect) = expectation(&file.file) else {
            if own {
                wrong.push(format!("{}: the table does not know it", file.file));
            } else {
                super::say!("{}: the table does not know it", file.file);
            }
            continue;
        };
        seen.insert(file.file.clone());
        let Some(exchange) = file.exchanges.first() else {
            wrong.push(format!("{}: it holds nothing", file.file));
            continue;
        };
        if let Err(why) = fits(exchange, expect).await {
            wrong.push(format!("{exchange}: {why}"));
        }
    }
    if own {
        let forgotten = TABLE.iter().map(|(name, _)| format!("{PREFIX}{name}.json")).filter(|f| !seen.contains(f));
        wrong.extend(forgotten.map(|file| format!("{file}: it does not exist")));
    }
    super::say!("{} error exchanges are what the table says", seen.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

async fn fits(exchange: &Exchange, expect: &Expect) -> Result<(), String> {
    match expect {
        Error(class, code, wait, scopes) => {
            let error = ArmError::from_response(&exchange.request(), &exchange.response(), now());
            let waits = error.retry_after.map(|span| span.as_secs());
            if (error.class(), error.code.as_str(), waits) != (*class, *code, *wait) {
                return Err(format!("it was read as {:?} {} wait {waits:?}", error.class(), error.code));
            }
            let ends =
                |scope: &String, end: &str| scope.starts_with("/subscriptions/") && scope.ends_with(&format!("/{end}"));
            if error.locked_scopes.len() != scopes.len()
                || !error.locked_scopes.iter().zip(*scopes).all(|(scope, end)| ends(scope, end))
            {
                return Err(format!("locked scopes: {:?}", error.locked_scopes));
            }
            let text = error.to_string();
            if text.contains("timestamp") != error.message.contains("timestamp") || text.is_empty() {
                return Err(format!("it is shown as {text:?}"));
            }
            recorded(exchange)
        }
        Failed(class, code) | Canceled(class, code) => {
            let error = match (expect, ended(exchange).await?) {
                (Failed(..), PollState::Failed(error)) | (Canceled(..), PollState::Canceled(error)) => error,
                (_, other) => return Err(format!("it was read as {other:?}")),
            };
            if (error.class(), error.code.as_str()) != (*class, *code) {
                return Err(format!("it was read as {:?} {}", error.class(), error.code));
            }
            // The wait of a terminal answer speaks of polling, not of trying again.
            if error.retry_after.is_some() { Err(format!("it waits {:?}", error.retry_after)) } else { Ok(()) }
        }
        Reads(kind, text) => {
            let found = Kind::of(exchange);
            if found != *kind {
                return Err(format!("it was treated as {found:?}"));
            }
            decode::decode(exchange, *kind, &Vec::new()).await?;
            if exchange.json().to_string().contains(text) { Ok(()) } else { Err(format!("there is no {text}")) }
        }
        NotRead(why) => {
            super::say!("{exchange}: not read: {why}");
            Ok(())
        }
    }
}

/// One poll of the operation that the exchange tells the end of, whoever's operation it is.
async fn ended(exchange: &Exchange) -> Result<PollState, String> {
    let subscription = exchange.segments().get(1).cloned().unwrap_or_default();
    let resource = ResourceId::parse(&format!("/subscriptions/{subscription}")).map_err(|error| error.to_string())?;
    let gateway = Replay::of([exchange.response()]).gateway();
    let mut start = azmend::arm::http::Response::empty(202);
    let url = exchange.url.as_str().parse().map_err(|_| "the address is no header".to_owned())?;
    start.headers.insert("azure-asyncoperation", url);
    let request = Request::new(azmend::arm::http::Method::DELETE, endpoint());
    let operation = Operation::started(&gateway, &request, &resource, &start).ok_or("it is not followed")?;
    Ok(operation.poll(&gateway).await.map_err(|error| error.to_string())?.state)
}

/// Azure's code, wherever it stands in the body.
fn code_in(body: &Value) -> String {
    let body = body.get(0).unwrap_or(body);
    let inner = ["error", "odata.error"].iter().find_map(|key| body.get(key)).unwrap_or(body);
    let code = ["code", "Code", "ErrorCode"].iter().find_map(|key| inner.get(key)).unwrap_or(&Value::Null);
    match code {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => String::new(),
    }
}

/// Any recorded error: its code is kept, and its class follows from status and code.
pub fn recorded(exchange: &Exchange) -> Result<(), String> {
    let error = ArmError::from_response(&exchange.request(), &exchange.response(), now());
    let code = code_in(&exchange.json());
    if error.code != code {
        return Err(format!("the code is {code:?}, read {:?}", error.code));
    }
    let class = error.class();
    let understood = match (exchange.status, code.as_str()) {
        (409, "ScopeLocked") => class == C::ScopeLocked && !error.locked_scopes.is_empty(),
        (429, _) => class == C::Throttled,
        (401, _) => class == C::SignIn,
        (403, _) => class == C::Forbidden,
        (404, "InvalidResourceType" | "InvalidResourceNamespace" | "NoRegisteredProviderFound") => class == C::Other,
        (404, code) if code.ends_with("NotFound") => class == C::NotFound,
        (404, "") => matches!(class, C::NotFound | C::Other),
        (404, _) => class == C::NotFound,
        (409, "OperationNotAllowed") => matches!(class, C::Conflict | C::NotAllowed),
        (409, _) => class == C::Conflict,
        (500..=504, _) => class == C::Transient,
        (400, code) => class == if code.starts_with("RetryableError") { C::Transient } else { C::Other },
        _ => class == C::Other,
    };
    if understood { Ok(()) } else { Err(format!("{} {code} was read as {class:?}", exchange.status)) }
}
