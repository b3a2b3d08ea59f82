//! Protecting a stopped item again, and stopping it with its data retained: `PUT` of a protected item.
//!
//! Recorded (recordings/azure-cli/backup/test_backup_protection): 202 with an empty body, `Azure-AsyncOperation` and
//! `Location`; the operation makes a job, ConfigureBackup or DisableBackup, which ends with it; an item without recovery
//! points reads IRPending afterwards; a stop that sends an empty policy leaves the item without one. From the contract's
//! example StopProtection: a stop that names no policy keeps it. Invented, for want of a recording: the codes of the
//! refusals, and that a stopped item with recovery points reads Protected. New items are not made here.

use serde_json::Value;

use super::jobs;
use super::operations::{begin, signature};
use super::rbac;
use super::vaults::known_item;
use super::wire::{Answer, Call, error_response, set_header};
use super::world::{Job, JobStatus, OpKind, Protection, World};
use crate::arm::http::Response;
use crate::arm::id::ResourceId;

const WRITE: &str = "Microsoft.RecoveryServices/Vaults/backupFabrics/protectionContainers/protectedItems/write";

/// How long the operation takes: its ConfigureBackup job took 40 seconds, DisableBackup 2 (recorded).
const RESUME: u64 = 40;
const STOP: u64 = 4;

fn invalid(what: &str) -> Box<Response> {
    error_response(400, "BMSUserErrorInvalidInput", &format!("Input provided for the call is invalid: {what}."))
}

/// `PUT` of an item.
pub(crate) fn put(world: &mut World, call: &Call, id: ResourceId) -> Answer {
    rbac::guard(world, call, WRITE, &id)?;
    let item = known_item(world, &id)?;
    let text = |name: &str| call.body.pointer(&format!("/properties/{name}")).and_then(Value::as_str);
    if text("protectedItemType") != Some("Microsoft.Compute/virtualMachines") {
        return Err(invalid("properties.protectedItemType"));
    }
    let source = text("sourceResourceId").and_then(|text| ResourceId::parse(text).ok());
    if source.as_ref() != Some(&item.vm) {
        return Err(invalid("properties.sourceResourceId"));
    }
    if item.protection == Protection::SoftDeleted {
        return Err(error_response(
            400,
            "UserErrorSoftDeletedItem",
            "The item is in soft deleted state. Undelete it before this operation.",
        ));
    }
    let busy = world.jobs.iter().any(|job| job.item == id && job.status.is_active());
    let policy = text("policyId").map(str::to_owned);
    let (kind, operation, kept, seconds) = match text("protectionState") {
        Some("ProtectionStopped") => {
            let own = item.policy.as_ref().map(ToString::to_string).unwrap_or_default();
            (OpKind::StopProtection, "DisableBackup", policy.unwrap_or(own), STOP)
        }
        None => {
            let known = policy.as_deref().and_then(|text| ResourceId::parse(text).ok()).filter(|policy| {
                world.policy(policy).is_some() && id.up_to("vaults").is_some_and(|v| v.covers(policy))
            });
            let Some(policy) = known else {
                return Err(error_response(
                    400,
                    "BMSUserErrorPolicyNotFound",
                    "The policy was not found in the vault.",
                ));
            };
            (OpKind::ResumeProtection, "ConfigureBackup", policy.to_string(), RESUME)
        }
        Some(_) => return Err(invalid("properties.protectionState")),
    };
    if busy {
        return Err(error_response(
            409,
            "BMSUserErrorObjectLocked",
            "Another operation is in progress on the selected item. Please wait until it is completed, and then retry.",
        ));
    }
    let job = jobs::prepare_name(world);
    world.jobs.push(Job {
        name: job.clone(),
        item: id.clone(),
        operation: operation.into(),
        status: JobStatus::InProgress,
        started: world.now,
        ended: None,
        user_triggered: Some(true),
        tasks: Vec::new(),
        error: None,
        expiry: None,
        collection: None,
        recovery_point: None,
        skip_transfer: false,
    });
    let name = begin(world, kind, id.clone(), "", seconds);
    if let Some(operation) = world.operation_mut(&name) {
        operation.job = Some(job);
        // the policy travels in the location, which Recovery Services' operations do not use
        operation.location = kept;
    }
    let address = |word: &str| {
        format!("{}{id}/{word}/{name}?api-version={}&{}", call.base, call.api_version(), signature(&name, world.now))
    };
    let mut response = Response::empty(202);
    set_header(&mut response, "azure-asyncoperation", &address("operationsStatus"));
    set_header(&mut response, "location", &address("operationResults"));
    Ok(response)
}

/// The end of the operation: the item is as it was asked for when `happens`, and the job is over.
pub(crate) fn end(world: &mut World, name: &str, happens: bool) {
    let now = world.now;
    let Some(operation) = world.operation_mut(name) else { return };
    let (target, kind, policy, job) =
        (operation.target.clone(), operation.kind.clone(), operation.location.clone(), operation.job.clone());
    if let Some(job) = job.and_then(|job| world.job_mut(&job)) {
        job.status = if happens { JobStatus::Completed } else { JobStatus::Failed };
        job.ended = Some(now);
    }
    let Some(item) = world.item_mut(&target).filter(|_| happens) else { return };
    item.policy = ResourceId::parse(&policy).ok();
    item.protection = match kind {
        OpKind::StopProtection => Protection::Stopped,
        _ if item.recovery_points.is_empty() => Protection::Pending,
        _ => Protection::Protected,
    };
}
