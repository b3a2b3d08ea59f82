//! Protecting a stopped item again, and stopping it with its data retained: `PUT` of a protected item.
//!
//! Recorded (recordings/azure-cli/backup/test_backup_protection): 202 with an empty body, `Azure-AsyncOperation` and
//! `Location`; the operation makes a job, ConfigureBackup or DisableBackup, which ends with it; an item without recovery
//! points reads IRPending afterwards; a stop that sends an empty policy leaves the item without one. From the contract's
//! example StopProtection: a stop that names no policy keeps it. Invented, for want of a recording: the codes of the
//! refusals, and that a stopped item with recovery points reads Protected. A new item is made under the names
//! that the vault's list of protectable items gives and no others; that it appears when the operation ends is invented.

use serde_json::{Value, json};

use crate::access;
use crate::call::{Answer, Call, error_response, not_allowed, page, resource_not_found, set_header};
use crate::job_life;
use crate::operations::{begin, signature};
use crate::providers::vaults::known_item;
use crate::world::{Item, Job, JobStatus, OpKind, Protection, World};
use azmend_arm::http::{Method, Response};
use azmend_arm::id::ResourceId;

const WRITE: &str = "Microsoft.RecoveryServices/Vaults/backupFabrics/protectionContainers/protectedItems/write";

/// How long the operation takes: its ConfigureBackup job took 40 seconds, DisableBackup 2 (recorded).
const RESUME: u64 = 40;
const STOP: u64 = 4;

fn invalid(what: &str) -> Box<Response> {
    error_response(400, "BMSUserErrorInvalidInput", &format!("Input provided for the call is invalid: {what}."))
}

/// `PUT` of an item.
pub(crate) fn put(world: &mut World, call: &Call, id: ResourceId) -> Answer {
    access::guard(world, call, WRITE, &id)?;
    if world.item(&id).is_none() {
        return enable(world, call, id);
    }
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
    Ok(accept(world, call, id, kind, operation, kept, seconds))
}

/// The operation with its job, and the answer.
fn accept(
    world: &mut World,
    call: &Call,
    id: ResourceId,
    kind: OpKind,
    operation: &str,
    kept: String,
    seconds: u64,
) -> Response {
    let job = job_life::prepare_name(world);
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
        more_errors: Vec::new(),
        dynamic_error: String::new(),
        skip_transfer: false,
        shown: None,
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
    response
}

/// `PUT` of an item that is not there: a VM is protected for the first time.
fn enable(world: &mut World, call: &Call, id: ResourceId) -> Answer {
    let Some(vault) = id.up_to("vaults").filter(|vault| world.vaults.iter().any(|known| known.id == *vault)) else {
        return Err(resource_not_found(&id));
    };
    let text = |name: &str| call.body.pointer(&format!("/properties/{name}")).and_then(Value::as_str);
    let source = text("sourceResourceId").and_then(|text| ResourceId::parse(text).ok());
    let vm = source.and_then(|source| world.vm(&source)).ok_or_else(|| invalid("properties.sourceResourceId"))?;
    if text("protectionState").is_some() {
        return Err(invalid("properties.protectionState"));
    }
    if names(&vault, &vm.id).is_none_or(|(container, item)| {
        id.segment("protectionContainers").is_none_or(|name| !name.eq_ignore_ascii_case(&container))
            || !id.name().eq_ignore_ascii_case(&item)
    }) {
        return Err(invalid("the name of the container or of the item"));
    }
    if world.items.iter().any(|item| item.vm == vm.id && item.protection != Protection::Stopped) {
        return Err(error_response(
            400,
            "UserErrorVMIsAlreadyProtectedInAnotherVault",
            "The virtual machine is already protected in another vault.",
        ));
    }
    let policy = text("policyId").and_then(|text| ResourceId::parse(text).ok());
    let Some(policy) = policy.filter(|policy| world.policy(policy).is_some() && vault.covers(policy)) else {
        return Err(error_response(400, "BMSUserErrorPolicyNotFound", "The policy was not found in the vault."));
    };
    // policy and machine travel in the location, which Recovery Services' operations do not use
    let kept = format!("{policy} {}", vm.id);
    Ok(accept(world, call, id, OpKind::EnableProtection, "ConfigureBackup", kept, RESUME))
}

/// Container and item as a vault names a VM.
fn names(_vault: &ResourceId, vm: &ResourceId) -> Option<(String, String)> {
    let name = format!("iaasvmcontainerv2;{};{}", vm.resource_group()?.to_lowercase(), vm.name().to_lowercase());
    Some((format!("IaasVMContainer;{name}"), format!("vm;{name}")))
}

/// `backupProtectableItems`: the VMs of the vault's region that no vault protects, as recorded.
pub(crate) fn protectable(world: &World, call: &Call, vault: &ResourceId) -> Answer {
    if call.method != Method::GET {
        return Err(not_allowed(call));
    }
    access::guard(world, call, "Microsoft.RecoveryServices/Vaults/backupProtectableItems/read", vault)?;
    let known = world.vaults.iter().find(|known| known.id == *vault).ok_or_else(|| resource_not_found(vault))?;
    let free = world.vms.iter().filter(|vm| {
        vm.location == known.location
            && !vm.hidden_from_vaults
            && vm.id.subscription() == vault.subscription()
            && !world.items.iter().any(|item| item.vm == vm.id)
    });
    let row = |vm: &crate::world::Vm| {
        let (container, item) = names(vault, &vm.id)?;
        Some(json!({
            "id": format!("{vault}/backupFabrics/Azure/protectionContainers/{container}/protectableItems/{item}"),
            "name": item.trim_start_matches("vm;"),
            "type": "Microsoft.RecoveryServices/vaults/backupFabrics/protectionContainers/protectableItems",
            "properties": {
                "virtualMachineId": vm.id, "virtualMachineVersion": "Compute", "resourceGroup": vm.id.resource_group(),
                "backupManagementType": "AzureIaasVM", "protectableItemType": "Microsoft.Compute/virtualMachines",
                "friendlyName": vm.id.name(), "protectionState": "NotProtected"
            }
        }))
    };
    page(world, call, free.filter_map(row).collect())
}

/// `refreshContainers`: 202, and after some seconds the vault knows every VM.
pub(crate) fn refresh(world: &mut World, call: &Call, vault: ResourceId) -> Answer {
    if call.method != Method::POST {
        return Err(not_allowed(call));
    }
    access::guard(world, call, "Microsoft.RecoveryServices/Vaults/backupFabrics/refreshContainers/action", &vault)?;
    if !world.vaults.iter().any(|known| known.id == vault) {
        return Err(resource_not_found(&vault));
    }
    let fabric = format!("{vault}/backupFabrics/Azure");
    let name = begin(world, OpKind::RefreshContainers, vault, "", 8);
    let address = |word: &str| {
        format!(
            "{}{fabric}/{word}/{name}?api-version={}&{}",
            call.base,
            call.api_version(),
            signature(&name, world.now)
        )
    };
    let mut response = Response::empty(202);
    set_header(&mut response, "azure-asyncoperation", &address("operationsStatus"));
    set_header(&mut response, "location", &address("operationResults"));
    Ok(response)
}

/// The end of a refresh.
pub(crate) fn discover(world: &mut World) {
    world.vms.iter_mut().for_each(|vm| vm.hidden_from_vaults = false);
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
    if kind == OpKind::EnableProtection {
        let (policy, vm) = policy.split_once(' ').unwrap_or_default();
        if let (true, None, Ok(vm)) = (happens, world.item(&target), ResourceId::parse(vm)) {
            world.items.push(Item {
                id: target,
                vm,
                policy: ResourceId::parse(policy).ok(),
                protection: Protection::Pending,
                last_backup_status: String::new(),
                last_backup_time: None,
                reported: None,
                without_source: false,
                recovery_points: Vec::new(),
            });
        }
        return;
    }
    let Some(item) = world.item_mut(&target).filter(|_| happens) else { return };
    item.policy = ResourceId::parse(&policy).ok();
    item.protection = match kind {
        OpKind::StopProtection => Protection::Stopped,
        _ if item.recovery_points.is_empty() => Protection::Pending,
        _ => Protection::Protected,
    };
}
