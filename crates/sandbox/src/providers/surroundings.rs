//! What surrounds a VM: data disks, metrics, the effective rules of its network interface.
//!
//! Shapes: disks as in recordings/azure-cli/vm, metrics as in recordings/azure-cli/monitor and `Metrics_List`, rules as in the
//! example of `NetworkInterfaces_ListEffectiveNetworkSecurityGroups`. Invented, for no recording shows it: the address and
//! the duration of the network operation, and that rules of a VM that does not run are refused with `OperationNotAllowed`.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::access;
use crate::call::{Answer, Call, error_response, gateway_error, not_allowed, resource_not_found, set_header};
use crate::operations;
use crate::world::ids;
use crate::world::{DiskSpec, OpKind, OpStatus, Power, Vm, World};
use azmend_arm::http::{Method, Response};
use azmend_arm::id::ResourceId;
use azmend_base::clock::{earlier, later};

/// The data disks as the VM's profile shows them.
pub(crate) fn data_disks(vm: &Vm) -> Value {
    let one = |(lun, disk): (usize, &DiskSpec)| {
        json!({
            "lun": lun, "name": disk.name, "createOption": "Attach", "caching": "ReadOnly", "diskSizeGB": disk.size_gb,
            "managedDisk": { "storageAccountType": disk.sku, "id": ids::disk_id(vm, &disk.name) }, "toBeDetached": false
        })
    };
    vm.data_disks.iter().enumerate().map(one).collect()
}

/// `disks/{name}`.
pub(crate) fn disk(world: &World, call: &Call, id: &ResourceId) -> Answer {
    if call.method != Method::GET {
        return Err(not_allowed(call));
    }
    access::guard(world, call, "Microsoft.Compute/disks/read", id)?;
    let of = |vm: &&Vm| vm.managed_disks && !vm.os_disk.ephemeral && ids::os_disk(vm).as_ref() == Some(id);
    if let Some(vm) = world.vms.iter().find(of) {
        return Ok(Response::json(200, &disk_json(vm, id, &vm.os_disk, true)));
    }
    let found = world.vms.iter().find_map(|vm| {
        Some((vm, vm.data_disks.iter().find(|disk| ids::disk_id(vm, &disk.name).as_ref() == Some(id))?))
    });
    let (vm, disk) = found.ok_or_else(|| resource_not_found(id))?;
    Ok(Response::json(200, &disk_json(vm, id, disk, false)))
}

/// The managed disks of a VM, as rows of Resource Graph.
pub(crate) fn graph_disks(vm: &Vm) -> Vec<(ResourceId, Value)> {
    let os = ids::os_disk(vm).filter(|_| vm.managed_disks && !vm.os_disk.ephemeral);
    let os = os.map(|id| (id.clone(), disk_json(vm, &id, &vm.os_disk, true)));
    let data = vm.data_disks.iter().filter_map(|disk| {
        let id = ids::disk_id(vm, &disk.name)?;
        let json = disk_json(vm, &id, disk, false);
        Some((id, json))
    });
    os.into_iter().chain(data).collect()
}

fn disk_json(vm: &Vm, id: &ResourceId, disk: &DiskSpec, os: bool) -> Value {
    let mut properties = json!({
        "diskSizeGB": disk.size_gb, "diskState": "Attached", "provisioningState": "Succeeded",
        "networkAccessPolicy": "AllowAll"
    });
    if let Some(properties) = properties.as_object_mut() {
        if os {
            properties.insert("osType".into(), if vm.windows { "Windows" } else { "Linux" }.into());
        }
        if disk.shared > 1 {
            properties.insert("maxShares".into(), disk.shared.into());
        }
    }
    json!({
        "name": id.name(), "id": id, "type": "Microsoft.Compute/disks", "location": vm.location, "managedBy": vm.id,
        "sku": { "name": disk.sku, "tier": disk.sku.split('_').next().unwrap_or_default() }, "properties": properties
    })
}

/// `{resource}/providers/Microsoft.Insights/metrics`.
pub(crate) fn metrics(world: &World, call: &Call, id: &ResourceId) -> Answer {
    if call.method != Method::GET {
        return Err(not_allowed(call));
    }
    access::guard(world, call, "Microsoft.Insights/metrics/read", id)?;
    let vm = world.vm(id).ok_or_else(|| resource_not_found(id))?;
    let bad = |why: &str| error_response(400, "BadRequest", why);
    let span = call
        .param("timespan")
        .and_then(|span| span.split_once('/'))
        .and_then(|(from, until)| Some((from.parse::<Timestamp>().ok()?, until.parse::<Timestamp>().ok()?)));
    let (from, until) = span.ok_or_else(|| bad("Invalid time interval input."))?;
    if call.param("interval").is_some_and(|interval| interval != "PT5M") {
        return Err(bad("The embedded Azure knows only the interval PT5M."));
    }
    let mut out = Vec::new();
    for name in call.param("metricnames").unwrap_or_default().split(',').filter(|name| !name.is_empty()) {
        let value = match name {
            "Percentage CPU" => Some(vm.load.cpu),
            "Available Memory Percentage" => vm.load.memory.map(|used| 100.0 - used),
            _ => None,
        };
        let Some(value) = value else {
            return Err(bad(&format!(
                "Failed to find metric configuration for provider: Microsoft.Compute, metric: {name}"
            )));
        };
        let data: Vec<Value> = moments(from, until, world.now)
            .map(|at| json!({ "timeStamp": at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(), "average": value }))
            .collect();
        out.push(json!({
            "id": format!("{id}/providers/Microsoft.Insights/metrics/{name}"), "type": "Microsoft.Insights/metrics",
            "name": { "value": name, "localizedValue": name }, "unit": "Percent",
            "timeseries": [{ "metadatavalues": [], "data": data }], "errorCode": "Success"
        }));
    }
    let body = json!({
        "cost": 0, "timespan": call.param("timespan"), "interval": "PT5M", "value": out,
        "namespace": "Microsoft.Compute/virtualMachines", "resourceregion": vm.location
    });
    Ok(Response::json(200, &body))
}

/// Every five minutes, not later than now.
fn moments(from: Timestamp, until: Timestamp, now: Timestamp) -> impl Iterator<Item = Timestamp> {
    const STEP: Duration = Duration::from_secs(300);
    let end = until.min(now);
    let first = earlier(from, Duration::from_secs(u64::try_from(from.as_second().rem_euclid(300)).unwrap_or(0)));
    std::iter::successors(Some(first), move |at| Some(later(*at, STEP))).take_while(move |at| *at < end).take(1000)
}

/// `networkInterfaces/{nic}/effectiveNetworkSecurityGroups`: 202, the result is at the location.
pub(crate) fn effective_rules(world: &mut World, call: &Call, id: ResourceId) -> Answer {
    if call.method != Method::POST {
        return Err(not_allowed(call));
    }
    access::guard(world, call, "Microsoft.Network/networkInterfaces/effectiveNetworkSecurityGroups/action", &id)?;
    let vm = world
        .vms
        .iter()
        .find(|vm| ids::interface_id(vm).as_ref() == Some(&id))
        .ok_or_else(|| resource_not_found(&id))?;
    if vm.power != Power::Running {
        return Err(error_response(
            409,
            "OperationNotAllowed",
            "The virtual machine of the network interface is not running.",
        ));
    }
    let location = vm.location.clone();
    let subscription = id.subscription().to_owned();
    let name = operations::begin(world, OpKind::EffectiveRules, id, &location, 10);
    let mut response = Response::empty(202);
    let at = format!(
        "{}/subscriptions/{subscription}/providers/Microsoft.Network/locations/{location}/operationResults/{name}?api-version={}",
        call.base,
        call.api_version()
    );
    set_header(&mut response, "location", &at);
    set_header(&mut response, "retry-after", "10");
    Ok(response)
}

/// `Microsoft.Network/locations/{location}/operationResults/{name}`.
pub(crate) fn result(world: &World, call: &Call, name: &str) -> Answer {
    if call.method != Method::GET {
        return Err(not_allowed(call));
    }
    let found = world.operations.iter().find(|o| o.kind == OpKind::EffectiveRules && o.name.eq_ignore_ascii_case(name));
    let operation = found
        .ok_or_else(|| gateway_error(404, "OperationNotFound", &format!("The operation '{name}' was not found.")))?;
    match (operation.status, &operation.error) {
        (OpStatus::InProgress, _) => Ok(Response::empty(202)),
        (_, Some((code, message))) => Err(error_response(409, code, message)),
        (_, None) => {
            let vm = world.vms.iter().find(|vm| ids::interface_id(vm).as_ref() == Some(&operation.target));
            Ok(Response::json(200, &json!({ "value": vm.map(rules).unwrap_or_default() })))
        }
    }
}

/// The rules of the estate in front of Azure's own outbound ones.
fn rules(vm: &Vm) -> Vec<Value> {
    let rule = |name: &str, priority: i64, access: &str, to: &str, ports: &str| {
        json!({
            "name": name, "protocol": "All", "sourcePortRange": "0-65535", "destinationPortRange": ports,
            "sourceAddressPrefix": "0.0.0.0/0", "destinationAddressPrefix": to, "access": access, "priority": priority,
            "direction": "Outbound"
        })
    };
    let Some(group) = vm.id.group_id() else { return Vec::new() };
    let nsg = group.resource("Microsoft.Network", "networkSecurityGroups", &format!("{}-nsg", vm.id.name())).ok();
    let mut rules: Vec<Value> = (100..)
        .step_by(10)
        .zip(&vm.outbound)
        .map(|(priority, own)| {
            let access = if own.allow { "Allow" } else { "Deny" };
            rule(&format!("securityRules/{}", own.name), priority, access, &own.to, &own.ports)
        })
        .collect();
    rules.push(rule("defaultSecurityRules/AllowVnetOutBound", 65_000, "Allow", "VirtualNetwork", "0-65535"));
    rules.push(rule("defaultSecurityRules/AllowInternetOutBound", 65_001, "Allow", "Internet", "0-65535"));
    rules.push(rule("defaultSecurityRules/DenyAllOutBound", 65_500, "Deny", "0.0.0.0/0", "0-65535"));
    vec![json!({
        "networkSecurityGroup": { "id": nsg }, "association": { "networkInterface": { "id": ids::interface_id(vm) } },
        "effectiveSecurityRules": rules
    })]
}
