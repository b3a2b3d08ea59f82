//! Which machine a protected item of a vault is of.
//!
//! Duty: to say whether an item names a VM: by its source, or by the names of its container and of itself. Pure.
//! Invariants: an item that names nothing is never taken for one of another machine, and a name in a form azmend does not
//! know names nothing but the machine it ends in.
//! Must never: be the only ground to change an item. Names say which group and machine an item was made for, not which
//! subscription.
//!
//! Sources: recorded ids, container `IaasVMContainer;iaasvmcontainerv2;<group>;<vm>` and item
//! `VM;iaasvmcontainerv2;<group>;<vm>`; classic VMs `iaasvmcontainer;<cloud service>;<vm>` (Azure Backup's REST
//! documentation). Cross-subscription backup may have forms of its own (not verified).

use super::read::same_id;
use crate::arm::id::ResourceId;
use crate::arm::model::ProtectedItem;

/// What an item says about a VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// It is the item of this VM: its source is the VM, or it has no source and its names are those of the VM, in a vault of
    /// the VM's subscription.
    Vm,
    /// Its names fit this VM, and its source is another resource, or the names leave open which of several it is.
    ByName,
    /// It is of another machine.
    Other,
    /// It does not say what it is of.
    Nothing,
}

/// What a container's or an item's name says, in lower case.
#[derive(Debug, PartialEq, Eq)]
enum Claim {
    /// Group and name of a VM.
    Vm(String, String),
    /// The name of a VM of a cloud service.
    Classic(String),
    /// A form that is not known; its last part may be the machine.
    Unknown(String),
}

fn claim(name: &str) -> Claim {
    let name = name.to_lowercase();
    let parts: Vec<&str> = name.split(';').collect();
    let rest = match parts.as_slice() {
        ["iaasvmcontainer" | "vm", rest @ ..] if rest.first().is_some_and(|p| p.starts_with("iaasvmcontainer")) => rest,
        all => all,
    };
    match rest {
        ["iaasvmcontainerv2", group, vm] if !group.is_empty() && !vm.is_empty() => {
            Claim::Vm((*group).to_owned(), (*vm).to_owned())
        }
        ["iaasvmcontainer", _, vm] if !vm.is_empty() => Claim::Classic((*vm).to_owned()),
        other => Claim::Unknown(other.last().copied().unwrap_or_default().to_owned()),
    }
}

/// What the item's container and the item itself are called.
fn claims(item: &ProtectedItem) -> [Claim; 2] {
    let part = |kind: &str| claim(item.id.segment(kind).unwrap_or_default());
    [part("protectionContainers"), part("protectedItems")]
}

/// Whether the item names this VM.
#[must_use]
pub fn naming(item: &ProtectedItem, vm: &ResourceId) -> Naming {
    if !item.source.is_empty() && same_id(&item.source, vm) {
        return Naming::Vm;
    }
    let name = vm.name().to_lowercase();
    let group = vm.resource_group().unwrap_or_default().to_lowercase();
    let claims = claims(item);
    let exact = |claim: &Claim| matches!(claim, Claim::Vm(g, n) if *g == group && *n == name);
    let fits = |claim: &Claim| match claim {
        Claim::Vm(..) => exact(claim),
        Claim::Classic(vm) | Claim::Unknown(vm) => *vm == name,
    };
    let elsewhere = ResourceId::parse(&item.source).is_ok();
    if claims.iter().any(fits) {
        let sure = !elsewhere && claims.iter().any(exact) && item.id.subscription_id() == vm.subscription_id();
        return if sure { Naming::Vm } else { Naming::ByName };
    }
    if elsewhere || claims.iter().any(|claim| !matches!(claim, Claim::Unknown(_))) {
        Naming::Other
    } else {
        Naming::Nothing
    }
}

/// Whether the item is of another VM with the same name: perhaps this one before it was moved.
#[must_use]
pub fn is_namesake(item: &ProtectedItem, vm: &ResourceId) -> bool {
    ResourceId::parse(&item.source).is_ok_and(|other| {
        other != *vm
            && other.is_type("Microsoft.Compute/virtualMachines")
            && other.name().eq_ignore_ascii_case(vm.name())
    })
}

/// Whether the item does not say at all which machine it is of.
#[must_use]
pub fn says_nothing(item: &ProtectedItem) -> bool {
    ResourceId::parse(&item.source).is_err() && claims(item).iter().all(|claim| matches!(claim, Claim::Unknown(_)))
}

/// The machine that the item is called after, in lower case; empty when its names are of a form that is not known.
#[must_use]
pub fn called_after(item: &ProtectedItem) -> String {
    let [container, own] = claims(item);
    let of = |claim| match claim {
        Claim::Vm(_, vm) | Claim::Classic(vm) => Some(vm),
        Claim::Unknown(_) => None,
    };
    of(container).or_else(|| of(own)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUB: &str = "11111111-1111-1111-1111-111111111111";
    const OTHER: &str = "22222222-2222-2222-2222-222222222222";

    fn item(subscription: &str, container: &str, name: &str, source: &str) -> ProtectedItem {
        let id = format!(
            "/subscriptions/{subscription}/resourceGroups/rg-v/providers/Microsoft.RecoveryServices/vaults/v/backupFabrics/Azure/protectionContainers/{container}/protectedItems/{name}"
        );
        ProtectedItem {
            id: ResourceId::parse(&id).unwrap(),
            source: source.into(),
            policy_id: String::new(),
            protection_state: "ProtectionStopped".into(),
            health: String::new(),
            health_details: Vec::new(),
            last_backup_status: String::new(),
            last_backup_time: None,
            last_recovery_point: None,
            soft_deleted: false,
        }
    }

    #[test]
    fn an_item_names_its_vm_by_source_container_or_name() {
        let vm = ResourceId::vm(SUB, "RG-App", "Old-09").unwrap();
        let (own, other) = (vm.to_string(), ResourceId::vm(SUB, "rg-app", "web-01").unwrap().to_string());
        let v2 = |what: &str| format!("{what};iaasvmcontainerv2;rg-app;old-09");
        let (c, i) = (v2("IaasVMContainer"), v2("VM"));
        let (oc, oi) = (c.replace("old-09", "web-01"), i.replace("old-09", "web-01"));
        let moved = c.replace("rg-app", "rg-new");
        let classic = "IaasVMContainer;iaasvmcontainer;service;OLD-09";
        use Naming as N;
        for (container, name, source, expected) in [
            (c.as_str(), i.as_str(), own.as_str(), N::Vm),
            (&oc, &oi, &own.to_uppercase(), N::Vm),
            (&c, &i, "", N::Vm),
            (&c.to_uppercase(), "odd", "", N::Vm),
            ("odd", &i, "", N::Vm),
            ("iaasvmcontainerv2;rg-app;old-09", "odd", "", N::Vm),
            (&c, &i, "not an id", N::Vm),
            (&c, &i, &other, N::ByName),
            (&oc, &i, &other, N::ByName),
            (classic, "VM;iaasvmcontainer;service;old-09", "", N::ByName),
            (classic, "odd", &other, N::ByName),
            ("new;form;old-09", "odd", "", N::ByName),
            (&oc, &oi, &other, N::Other),
            (&oc, &oi, "", N::Other),
            (&moved, "odd", "", N::Other),
            ("odd", "odd", &other, N::Other),
            ("odd", "odd", "", N::Nothing),
            ("new;form;web-01", "odd", "", N::Nothing),
            ("IaasVMContainer;iaasvmcontainerv2;rg-app;", "x;y", "?", N::Nothing),
        ] {
            let item = item(SUB, container, name, source);
            assert_eq!(naming(&item, &vm), expected, "{container} {name} {source}");
            assert!(!says_nothing(&item) || matches!(expected, N::Nothing | N::ByName), "{container} {name} {source}");
        }
        let abroad = item(OTHER, &c, &i, "");
        assert_eq!(naming(&abroad, &vm), N::ByName, "names do not say which subscription");
        assert_eq!(called_after(&abroad), "old-09");
        assert_eq!(called_after(&item(SUB, "odd", "odd", "")), "");
    }
}
