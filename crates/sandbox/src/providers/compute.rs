//! Microsoft.Compute: virtual machines, their instance view, extensions.
//!
//! Shapes from recordings/azure-cli/vm and errors/exchanges/vm-instanceview. What no recording shows and is invented
//! here: the failed `VMSnapshot` handler (its form is that of another failed handler), and that GET of a hidden
//! extension by name answers 404 while DELETE works.

use serde_json::{Value, json};

use crate::access;
use crate::call::{Answer, Call, not_allowed, page, resource_not_found, set_header, stamp_offset};
use crate::operations;
use crate::world::ids;
use crate::world::{Agent, Extension, HandlerState, OpKind, Power, Vm, World};
use azmend_arm::http::{Method, Response};
use azmend_arm::id::ResourceId;

/// The publisher of `VMSnapshot` (the vmsnapshot-windows and -linux pages of the compute documentation).
const PUBLISHER: &str = "Microsoft.Azure.RecoveryServices";

fn vm_json(world: &World, vm: &Vm, with_view: bool) -> Value {
    let disk = if vm.managed_disks {
        json!({ "managedDisk": { "storageAccountType": vm.os_disk.sku, "id": ids::os_disk(vm) } })
    } else {
        json!({ "vhd": { "uri": format!("https://contosovhds.blob.core.windows.net/vhds/{}.vhd", vm.id.name()) } })
    };
    let mut os_disk = json!({
        "osType": if vm.windows { "Windows" } else { "Linux" }, "name": ids::disk_name(vm), "createOption": "FromImage",
        "caching": "ReadWrite", "deleteOption": "Detach", "diskSizeGB": vm.os_disk.size_gb
    });
    if let (Some(to), Value::Object(from)) = (os_disk.as_object_mut(), disk) {
        to.extend(from);
        if vm.os_disk.ephemeral {
            to.insert("diffDiskSettings".into(), json!({ "option": "Local", "placement": "CacheDisk" }));
        }
    }
    let mut properties = json!({
        "hardwareProfile": { "vmSize": vm.size.as_deref().unwrap_or("Standard_D2s_v5") },
        "provisioningState": match (being_applied(world, vm), vm.provisioned) {
            (true, _) => "Updating",
            (_, true) => "Succeeded",
            _ => "Failed",
        },
        "vmId": vm.vm_id,
        "storageProfile": { "osDisk": os_disk, "dataDisks": crate::providers::surroundings::data_disks(vm) },
        "osProfile": { "computerName": vm.id.name(), "adminUsername": "contosoadmin", "secrets": [], "allowExtensionOperations": true,
            "requireGuestProvisionSignal": true },
        "networkProfile": { "networkInterfaces": [{ "id": ids::interface_id(vm) }] },
        "timeCreated": "2024-02-01T08:00:00.0000000+00:00"
    });
    if with_view && let Some(properties) = properties.as_object_mut() {
        properties.insert("instanceView".into(), instance_view(world, vm));
    }
    let mut out = json!({
        "name": vm.id.name(), "id": vm.id, "type": "Microsoft.Compute/virtualMachines", "location": vm.location, "tags": vm.tags,
        "properties": properties
    });
    let resources: Vec<Value> = shown_extensions(vm).iter().map(|e| extension_json(vm, e, false)).collect();
    if !resources.is_empty()
        && let Some(out) = out.as_object_mut()
    {
        out.insert("resources".into(), Value::Array(resources));
    }
    out
}

fn status(code: &str, level: &str, shown: &str) -> Value {
    json!({ "code": code, "level": level, "displayStatus": shown })
}

fn instance_view(world: &World, vm: &Vm) -> Value {
    let time = stamp_offset(world.now);
    let provisioning = if vm.provisioned {
        json!({ "code": "ProvisioningState/succeeded", "level": "Info", "displayStatus": "Provisioning succeeded", "time": time })
    } else {
        json!({ "code": "ProvisioningState/failed/VMExtensionProvisioningError", "level": "Error", "displayStatus": "Provisioning failed",
            "message": "Multiple VM extensions failed to be provisioned on the VM.", "time": time })
    };
    let power = match vm.power {
        Power::Running => status("PowerState/running", "Info", "VM running"),
        Power::Stopped => status("PowerState/stopped", "Info", "VM stopped"),
        Power::Deallocated => status("PowerState/deallocated", "Info", "VM deallocated"),
    };
    let mut view = serde_json::Map::new();
    view.insert("computerName".into(), vm.id.name().into());
    view.insert("osName".into(), if vm.windows { "Windows Server 2022 Datacenter" } else { "ubuntu" }.into());
    view.insert("osVersion".into(), if vm.windows { "10.0.20348.2700" } else { "22.04" }.into());
    if vm.agent != Agent::Missing && vm.power == Power::Running {
        view.insert("vmAgent".into(), agent_json(vm, &time));
    }
    let mut disk = json!({ "name": ids::disk_name(vm), "statuses": [provisioned_now(&time)] });
    if let Some(settings) = crate::providers::keyvault::settings_of(vm) {
        disk["encryptionSettings"] = json!([settings]);
    }
    view.insert("disks".into(), json!([disk]));
    let extensions: Vec<Value> = vm.extensions.iter().map(|e| extension_view(e, &time)).collect();
    if !extensions.is_empty() {
        view.insert("extensions".into(), Value::Array(extensions));
    }
    view.insert("hyperVGeneration".into(), "V2".into());
    view.insert("statuses".into(), json!([provisioning, power]));
    Value::Object(view)
}

fn provisioned_now(time: &str) -> Value {
    json!({ "code": "ProvisioningState/succeeded", "level": "Info", "displayStatus": "Provisioning succeeded", "time": time })
}

fn agent_json(vm: &Vm, time: &str) -> Value {
    if vm.agent == Agent::NotReady {
        return json!({
            "vmAgentVersion": "Unknown",
            "statuses": [{ "code": "ProvisioningState/Unavailable", "level": "Warning", "displayStatus": "Not Ready",
                "message": "VM status blob is found but not yet populated.", "time": time }]
        });
    }
    let mut handlers: Vec<Value> = Vec::new();
    if let Some(handler) = &vm.vmsnapshot {
        let mut state = match handler.state {
            HandlerState::Ready => status("ProvisioningState/succeeded", "Info", "Ready"),
            HandlerState::Failed => status("ProvisioningState/failed/1007", "Error", "Not Ready"),
            HandlerState::NotReady => status("ProvisioningState/NotReady", "Info", "Not Ready"),
        };
        if let Some(code) = &handler.code {
            state["code"] = code.as_str().into();
        }
        if !handler.message.is_empty()
            && let Some(state) = state.as_object_mut()
        {
            state.insert("message".into(), handler.message.as_str().into());
        }
        handlers.push(json!({
            "type": format!("{PUBLISHER}.{}", vm.snapshot_type()), "typeHandlerVersion": handler.version, "status": state
        }));
    }
    for extension in &vm.extensions {
        let state = if extension.ok {
            status("ProvisioningState/succeeded", "Info", "Ready")
        } else {
            status("ProvisioningState/failed/1007", "Error", "Not Ready")
        };
        handlers.push(json!({
            "type": format!("{}.{}", extension.publisher, extension.kind), "typeHandlerVersion": extension.version, "status": state
        }));
    }
    json!({
        "vmAgentVersion": if vm.windows { "2.7.41491.1149" } else { "2.12.0.2" },
        "statuses": [{ "code": "ProvisioningState/succeeded", "level": "Info", "displayStatus": "Ready",
            "message": if vm.windows { "GuestAgent is running and processing the extensions." } else { "Guest Agent is running" }, "time": time }],
        "extensionHandlers": handlers
    })
}

fn extension_view(extension: &Extension, time: &str) -> Value {
    let state = if extension.ok {
        json!({ "code": "ProvisioningState/succeeded", "level": "Info", "displayStatus": "Provisioning succeeded", "time": time })
    } else {
        json!({ "code": "ProvisioningState/failed/1", "level": "Error", "displayStatus": "Provisioning failed",
            "message": "The extension handler reported a failure.", "time": time })
    };
    json!({
        "name": extension.name, "type": format!("{}.{}", extension.publisher, extension.kind),
        "typeHandlerVersion": extension.version, "statuses": [state]
    })
}

/// What the list shows: `VMSnapshot` is hidden on VMs with managed disks (backup-azure-manage-vms, vmsnapshot pages).
fn shown_extensions(vm: &Vm) -> Vec<Extension> {
    let mut shown = vm.extensions.clone();
    if !vm.managed_disks
        && let Some(handler) = &vm.vmsnapshot
    {
        shown.push(Extension {
            name: vm.snapshot_type().to_owned(),
            publisher: PUBLISHER.to_owned(),
            kind: vm.snapshot_type().to_owned(),
            version: handler.version.clone(),
            ok: handler.state == HandlerState::Ready,
        });
    }
    shown
}

fn extension_json(vm: &Vm, extension: &Extension, with_view: bool) -> Value {
    let version: Vec<&str> = extension.version.split('.').take(2).collect();
    let mut properties = json!({
        "autoUpgradeMinorVersion": true,
        "provisioningState": if extension.ok { "Succeeded" } else { "Failed" },
        "publisher": extension.publisher, "type": extension.kind, "typeHandlerVersion": version.join("."), "settings": {}
    });
    if with_view && let Some(properties) = properties.as_object_mut() {
        properties.insert("instanceView".into(), extension_view(extension, "2026-01-01T00:00:00+00:00"));
    }
    json!({
        "name": extension.name, "id": vm.id.child("extensions", &extension.name).ok(),
        "type": "Microsoft.Compute/virtualMachines/extensions", "location": vm.location, "properties": properties
    })
}

fn remaining(mut response: Response, policies: &str) -> Response {
    set_header(&mut response, "x-ms-ratelimit-remaining-resource", policies);
    response
}

const READ_VM: &str = "Microsoft.Compute/virtualMachines/read";

/// The list of VMs of a subscription or a group.
pub(crate) fn list(world: &World, call: &Call, scope: &ResourceId) -> Answer {
    if call.method != Method::GET {
        return Err(not_allowed(call));
    }
    access::guard_list(world, call, READ_VM, scope)?;
    let rows = world
        .vms
        .iter()
        .filter(|vm| scope.covers(&vm.id) && access::allowed(world, READ_VM, &vm.id))
        .map(|vm| vm_json(world, vm, call.param("statusonly").is_some_and(|only| only.eq_ignore_ascii_case("true"))))
        .collect();
    Ok(remaining(page(world, call, rows)?, "Microsoft.Compute/HighCostGetSubscriptionMaximum;899"))
}

/// `virtualMachines/{vm}` and `virtualMachines/{vm}/instanceView`.
pub(crate) fn vm(world: &World, call: &Call, id: &ResourceId, only_view: bool) -> Answer {
    if call.method != Method::GET {
        return Err(not_allowed(call));
    }
    let action = if only_view { "Microsoft.Compute/virtualMachines/instanceView/read" } else { READ_VM };
    access::guard(world, call, action, id)?;
    // Whether `$expand` asks for this permission as the view's own address does is not verified: the unkind reading.
    if call.expands("instanceView") {
        access::guard(world, call, "Microsoft.Compute/virtualMachines/instanceView/read", id)?;
    }
    let vm = world.vm(id).ok_or_else(|| resource_not_found(id))?;
    let body = if only_view { instance_view(world, vm) } else { vm_json(world, vm, call.expands("instanceView")) };
    Ok(remaining(
        Response::json(200, &body),
        "Microsoft.Compute/LowCostGetSubscriptionMaximum;23999,Microsoft.Compute/LowCostGetResource;35",
    ))
}

const READ_EXTENSION: &str = "Microsoft.Compute/virtualMachines/extensions/read";

/// `virtualMachines/{vm}/extensions`. Answers without `nextLink`, as the contract says.
pub(crate) fn extensions(world: &World, call: &Call, vm_id: &ResourceId) -> Answer {
    if call.method != Method::GET {
        return Err(not_allowed(call));
    }
    access::guard(world, call, READ_EXTENSION, vm_id)?;
    let vm = world.vm(vm_id).ok_or_else(|| resource_not_found(vm_id))?;
    let with_view = call.expands("instanceView");
    let mut rows: Vec<Value> = shown_extensions(vm).iter().map(|e| extension_json(vm, e, with_view)).collect();
    rows.extend(crate::providers::keyvault::extension_of(vm));
    Ok(remaining(Response::json(200, &json!({ "value": rows })), "Microsoft.Compute/LowCostGetResource;34"))
}

/// `virtualMachines/{vm}/extensions/{name}`.
pub(crate) fn extension(world: &mut World, call: &Call, vm_id: &ResourceId) -> Answer {
    let id = call.whole_id()?;
    match call.method {
        Method::GET => {
            access::guard(world, call, READ_EXTENSION, &id)?;
            let vm = world.vm(vm_id).ok_or_else(|| resource_not_found(vm_id))?;
            let found = shown_extensions(vm).into_iter().find(|e| e.name.eq_ignore_ascii_case(id.name()));
            let found = found.ok_or_else(|| resource_not_found(&id))?;
            Ok(remaining(
                Response::json(200, &extension_json(vm, &found, call.expands("instanceView"))),
                "Microsoft.Compute/LowCostGetResource;34",
            ))
        }
        Method::DELETE => {
            access::guard(world, call, "Microsoft.Compute/virtualMachines/extensions/delete", &id)?;
            let vm = world.vm(vm_id).ok_or_else(|| resource_not_found(vm_id))?;
            if !has_extension(vm, id.name()) {
                return Ok(Response::empty(204));
            }
            let (location, seconds) = (vm.location.clone(), world.settings.extension_delete);
            let response = operations::begin_compute(world, call, OpKind::DeleteExtension, id, &location, seconds);
            Ok(remaining(
                response,
                "Microsoft.Compute/UpdateVMSubscriptionMaximum;1499,Microsoft.Compute/UpdateVMResource;11",
            ))
        }
        _ => Err(not_allowed(call)),
    }
}

fn has_extension(vm: &Vm, name: &str) -> bool {
    (vm.vmsnapshot.is_some() && name.eq_ignore_ascii_case(vm.snapshot_type()))
        || vm.extensions.iter().any(|e| e.name.eq_ignore_ascii_case(name))
}

/// The end of an extension's deletion.
pub(crate) fn end_extension_delete(world: &mut World, id: &ResourceId) -> Result<(), (String, String)> {
    let Some(vm) = id.up_to("virtualMachines").and_then(|vm| world.vm_mut(&vm)) else { return Ok(()) };
    if vm.power != Power::Running || vm.agent != Agent::Ready {
        // errors/exchanges/async-failures/crp_VMAgentStatusCommunicationError
        return Err((
            "VMAgentStatusCommunicationError".into(),
            format!(
                "VM '{}' has not reported status for VM agent or extensions. Verify that the OS is up and healthy, the VM has a running VM \
                 agent, and that it can establish outbound connections to Azure storage. Please refer to \
                 https://aka.ms/vmextensionlinuxtroubleshoot for additional VM agent troubleshooting information.",
                vm.id.name()
            ),
        ));
    }
    if id.name().eq_ignore_ascii_case(vm.snapshot_type()) {
        vm.vmsnapshot = None;
    }
    vm.extensions.retain(|e| !e.name.eq_ignore_ascii_case(id.name()));
    vm.provisioned = vm.extensions.iter().all(|e| e.ok);
    Ok(())
}

/// `virtualMachines/{vm}/reapply` and `/restart`: 202 by the contract; how long they take is not recorded.
pub(crate) fn vm_action(world: &mut World, call: &Call, vm_id: ResourceId, kind: OpKind) -> Answer {
    if call.method != Method::POST {
        return Err(not_allowed(call));
    }
    let (action, seconds) = match kind {
        OpKind::Restart => ("Microsoft.Compute/virtualMachines/restart/action", 60),
        _ => ("Microsoft.Compute/virtualMachines/reapply/action", 20),
    };
    access::guard(world, call, action, &vm_id)?;
    let vm = world.vm(&vm_id).ok_or_else(|| resource_not_found(&vm_id))?;
    let location = vm.location.clone();
    let response = operations::begin_compute(world, call, kind, vm_id, &location, seconds);
    Ok(remaining(response, "Microsoft.Compute/UpdateVMSubscriptionMaximum;1499,Microsoft.Compute/UpdateVMResource;11"))
}

/// Whether the model of the VM is being applied.
fn being_applied(world: &World, vm: &Vm) -> bool {
    world.operations.iter().any(|o| {
        o.kind == OpKind::Reapply && o.status == crate::world::OpStatus::InProgress && !o.hangs && o.target == vm.id
    })
}

/// The end of a reapply: the state is what the extensions make of it.
pub(crate) fn end_reapply(world: &mut World, id: &ResourceId) -> Result<(), (String, String)> {
    let Some(vm) = world.vm_mut(id) else { return Ok(()) };
    let failed: Vec<&str> = vm.extensions.iter().filter(|e| !e.ok).map(|e| e.name.as_str()).collect();
    vm.provisioned = failed.is_empty();
    if failed.is_empty() {
        return Ok(());
    }
    // errors/exchanges/async-failures/crp_VMExtensionProvisioningError
    let message = format!("VM has reported a failure when processing extension '{}'.", failed.join("', '"));
    Err(("VMExtensionProvisioningError".to_owned(), message))
}

/// The end of a restart: it runs.
pub(crate) fn end_restart(world: &mut World, id: &ResourceId) {
    if let Some(vm) = world.vm_mut(id) {
        vm.power = Power::Running;
    }
}

/// The VM as Resource Graph shows it: with its power state (documented samples), without agent and handlers.
pub(crate) fn graph_vm(world: &World, vm: &Vm) -> Value {
    let mut row = vm_json(world, vm, false);
    let view = instance_view(world, vm);
    let statuses = view.get("statuses").and_then(Value::as_array).into_iter().flatten();
    let mut states = statuses.filter(|s| s["code"].as_str().is_some_and(|code| code.starts_with("PowerState/")));
    let power = states.next().cloned().unwrap_or_default();
    let extended = json!({ "instanceView": { "computerName": view["computerName"], "osName": view["osName"],
        "osVersion": view["osVersion"], "hyperVGeneration": view["hyperVGeneration"], "powerState": power } });
    if let Some(properties) = row.get_mut("properties").and_then(Value::as_object_mut) {
        properties.insert("extended".into(), extended);
    }
    row
}

/// The extensions that lists show, as rows of Resource Graph.
pub(crate) fn graph_extensions(vm: &Vm) -> Vec<(ResourceId, Value)> {
    let shown = shown_extensions(vm);
    let rows =
        shown.iter().filter_map(|e| Some((vm.id.child("extensions", &e.name).ok()?, extension_json(vm, e, false))));
    rows.collect()
}
