//! The ids of what the world holds: of a VM's parts, and of every resource at once.

use crate::world::{Vm, World, hash_text};
use azmend_arm::id::ResourceId;

/// The id of the VM's OS disk.
pub(crate) fn os_disk(vm: &Vm) -> Option<ResourceId> {
    let name = disk_name(vm);
    vm.id.group_id()?.resource("Microsoft.Compute", "disks", &name).ok()
}

pub(crate) fn disk_name(vm: &Vm) -> String {
    if !vm.os_disk.name.is_empty() {
        return vm.os_disk.name.clone();
    }
    format!("{}_OsDisk_1_{}", vm.id.name(), hash_text(vm.id.key()))
}

/// The managed disk of a VM, by the name in its profile.
pub(crate) fn disk_id(vm: &Vm, name: &str) -> Option<ResourceId> {
    vm.id.group_id()?.resource("Microsoft.Compute", "disks", name).ok()
}

/// The VM's network interface.
pub(crate) fn interface_id(vm: &Vm) -> Option<ResourceId> {
    vm.id.group_id()?.resource("Microsoft.Network", "networkInterfaces", &format!("{}-nic", vm.id.name())).ok()
}

/// Every resource below a scope: id, type as Azure writes it, location.
pub(crate) fn all_resources(world: &World) -> Vec<(ResourceId, &'static str, String)> {
    let mut out: Vec<(ResourceId, &'static str, String)> = Vec::new();
    for vm in &world.vms {
        out.push((vm.id.clone(), "Microsoft.Compute/virtualMachines", vm.location.clone()));
        for extension in &vm.extensions {
            if let Ok(id) = vm.id.child("extensions", &extension.name) {
                out.push((id, "Microsoft.Compute/virtualMachines/extensions", vm.location.clone()));
            }
        }
        if vm.managed_disks
            && let Some(disk) = os_disk(vm)
        {
            out.push((disk, "Microsoft.Compute/disks", vm.location.clone()));
        }
        for disk in vm.data_disks.iter().filter_map(|disk| disk_id(vm, &disk.name)) {
            out.push((disk, "Microsoft.Compute/disks", vm.location.clone()));
        }
    }
    out.extend(
        world
            .collections
            .iter()
            .map(|c| (c.id.clone(), "Microsoft.Compute/restorePointCollections", c.location.clone())),
    );
    out.extend(world.vaults.iter().map(|v| (v.id.clone(), "Microsoft.RecoveryServices/vaults", v.location.clone())));
    out.extend(world.key_vaults.iter().map(|v| (v.id.clone(), "Microsoft.KeyVault/vaults", v.location.clone())));
    out.extend(world.others.iter().map(|o| (o.id.clone(), "", o.location.clone())));
    out
}

/// Whether something stands at this id (a resource that can carry a lock).
pub(crate) fn exists(world: &World, id: &ResourceId) -> bool {
    all_resources(world).iter().any(|(known, ..)| known == id)
        || world.items.iter().any(|i| i.id == *id)
        || world.collections.iter().any(|c| c.id.covers(id))
        || world.policies.iter().any(|p| p.id == *id)
}
