//! On-demand backup: the request, and its operation at three addresses.
//!
//! Recorded (recordings/azure-cli/backup/test_backup_job): 202 with Retry-After 60, `Azure-AsyncOperation` and `Location`; the
//! operation's success only means that a job exists. Invented, for want of a recording: the codes of the refusals.

use serde_json::{Map, Value, json};

use crate::access;
use crate::call::{Answer, Call, NO_TIME, error_response, not_allowed, set_header, stamp_z};
use crate::job_life;
use crate::operations::{begin, signature};
use crate::providers::vaults::known_item;
use crate::world::{OpKind, OpStatus, Operation, Protection, World};
use azmend_arm::http::{Method, Response};
use azmend_arm::id::ResourceId;

/// On-demand attempts per item and UTC day (backup-support-matrix-iaas).
const PER_DAY: usize = 9;

/// `{item}/backup`.
pub(crate) fn post(world: &mut World, call: &Call, item_id: ResourceId) -> Answer {
    if call.method != Method::POST {
        return Err(not_allowed(call));
    }
    access::guard(
        world,
        call,
        "Microsoft.RecoveryServices/Vaults/backupFabrics/protectionContainers/protectedItems/backup/action",
        &item_id,
    )?;
    let item = known_item(world, &item_id)?;
    let properties = call.body.get("properties");
    if properties.and_then(|p| p.get("objectType")).and_then(Value::as_str) != Some("IaasVMBackupRequest") {
        return Err(error_response(
            400,
            "BMSUserErrorInvalidInput",
            "Input provided for the call is invalid: properties.objectType.",
        ));
    }
    if matches!(item.protection, Protection::Stopped | Protection::SoftDeleted | Protection::Suspended) {
        return Err(error_response(
            400,
            "BMSUserErrorProtectionStopped",
            "The operation cannot be performed because the protection of this item is stopped.",
        ));
    }
    let today = |at: jiff::Timestamp| at.strftime("%Y-%m-%d").to_string();
    let day = today(world.now);
    let attempts = world
        .jobs
        .iter()
        .filter(|j| {
            j.item == item_id && j.operation == "Backup" && j.user_triggered == Some(true) && today(j.started) == day
        })
        .count();
    if attempts >= PER_DAY {
        return Err(error_response(
            400,
            "UserErrorMaxOnDemandBackupsReached",
            "The number of on-demand backups of this item for the day has reached its limit of 9.",
        ));
    }
    let seconds = world.settings.backup_accept;
    let asked = properties.and_then(|p| p.get("recoveryPointExpiryTimeInUTC")).and_then(Value::as_str);
    let expiry = job_life::expires(asked, world.now);
    let name = begin(world, OpKind::Backup, item_id.clone(), "", seconds);
    let job = job_life::prepare_name(world);
    if let Some(operation) = world.operation_mut(&name) {
        operation.job = Some(job);
        // the expiry travels in the location, which Recovery Services' operations do not use
        operation.location = expiry;
    }
    let address = |word: &str| {
        format!(
            "{}{item_id}/{word}/{name}?api-version={}&{}",
            call.base,
            call.api_version(),
            signature(&name, world.now)
        )
    };
    let mut response = Response::empty(202);
    set_header(&mut response, "azure-asyncoperation", &address("operationsStatus"));
    set_header(&mut response, "location", &address("operationResults"));
    set_header(&mut response, "retry-after", "60");
    Ok(response)
}

/// The end of a backup request: the job begins.
pub(crate) fn accepted(world: &mut World, name: &str, item: &ResourceId) {
    let Some(operation) = world.operation_mut(name) else { return };
    let job = operation.job.clone();
    let expiry = (!operation.location.is_empty()).then(|| operation.location.clone());
    job_life::start(world, item, Some(true), job, expiry);
}

fn find<'a>(world: &'a World, name: &str, scope: &ResourceId) -> Result<&'a Operation, Box<Response>> {
    world
        .operations
        .iter()
        .find(|o| {
            o.name.eq_ignore_ascii_case(name)
                && matches!(
                    o.kind,
                    OpKind::Backup
                        | OpKind::CancelJob
                        | OpKind::ResumeProtection
                        | OpKind::StopProtection
                        | OpKind::EnableProtection
                        | OpKind::RefreshContainers
                )
                && scope.covers(&o.target)
        })
        .ok_or_else(|| {
            error_response(404, "BMSUserErrorOperationNotFound", &format!("The operation '{name}' was not found."))
        })
}

fn status_json(operation: &Operation) -> Value {
    let mut body = Map::new();
    body.insert("id".into(), operation.name.as_str().into());
    body.insert("name".into(), operation.name.as_str().into());
    body.insert("status".into(), operation.status.as_str().into());
    body.insert("startTime".into(), stamp_z(operation.started).into());
    body.insert("endTime".into(), operation.ended.map_or_else(|| NO_TIME.to_owned(), stamp_z).into());
    if let Some((code, message)) = &operation.error {
        body.insert("error".into(), json!({ "code": code, "message": message }));
    } else if operation.status == OpStatus::Succeeded
        && let Some(job) = &operation.job
    {
        body.insert("properties".into(), json!({ "objectType": "OperationStatusJobExtendedInfo", "jobId": job }));
    }
    Value::Object(body)
}

/// `{vault}/backupOperations/{op}`, `{item}/operationsStatus/{op}`, `{job}/operationsStatus/{op}`.
pub(crate) fn status(world: &World, call: &Call, scope: &ResourceId, name: &str) -> Answer {
    if call.method != Method::GET {
        return Err(not_allowed(call));
    }
    let action = if scope.segment("protectedItems").is_some() {
        "Microsoft.RecoveryServices/Vaults/backupFabrics/protectionContainers/protectedItems/operationsStatus/read"
    } else {
        "Microsoft.RecoveryServices/Vaults/backupOperations/read"
    };
    access::guard(world, call, action, scope)?;
    Ok(Response::json(200, &status_json(find(world, name, scope)?)))
}

/// `{item}/operationResults/{op}`, `{job}/operationResults/{op}`: 202 until done, then 204.
pub(crate) fn results(world: &World, call: &Call, scope: &ResourceId, name: &str) -> Answer {
    if call.method != Method::GET {
        return Err(not_allowed(call));
    }
    access::guard(
        world,
        call,
        "Microsoft.RecoveryServices/Vaults/backupFabrics/protectionContainers/protectedItems/operationResults/read",
        scope,
    )?;
    let operation = find(world, name, scope)?;
    match (&operation.error, operation.status) {
        (_, OpStatus::InProgress) => {
            let mut response = Response::empty(202);
            set_header(&mut response, "retry-after", "60");
            Ok(response)
        }
        (Some((code, message)), _) => Err(error_response(400, code, message)),
        (None, _) => Ok(Response::empty(204)),
    }
}
