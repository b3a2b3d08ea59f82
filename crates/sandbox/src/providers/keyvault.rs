//! Microsoft.KeyVault and role assignments: what azmend reads of them, access policies added and removed, a role given
//! and taken.
//!
//! Shapes from the contract's examples `getVault.json` and `updateAccessPoliciesAdd.json` (Microsoft.KeyVault 2023-07-01)
//! and from recordings/azure-cli/backup/test_backup_encryption (role assignments 2022-04-01). The contract calls `add` a
//! merge and says nothing of `remove`; a key vault of an estate can do either in two ways. Which permissions the backup
//! service wants is the documentation's (backup-azure-vms-encryption). Invented, for want of a recording: the texts of
//! the refusals. Only the control plane is here: no key and no secret.

use serde_json::{Value, json};

use crate::access;
use crate::call::{Answer, Call, error_response, not_allowed, page, resource_not_found};
use crate::world::ids;
use crate::world::{KeyPolicy, KeyVault, RoleAssignment, Vm, World};
use azmend_arm::http::{Method, Response};
use azmend_arm::id::{ResourceId, is_guid};

/// Key Vault Administrator (recorded).
pub(crate) const ADMINISTRATOR: &str = "00482a5a-887f-4fb3-b363-3b7fe8e74483";

/// `encryptionSettings` of a disk.
pub(crate) fn settings_of(vm: &Vm) -> Option<Value> {
    let encryption = vm.encryption.as_ref()?;
    let address = format!("https://{}.vault.azure.net", encryption.vault.name());
    let source = json!({ "id": encryption.vault });
    let mut out = json!({ "enabled": true,
        "diskEncryptionKey": { "secretUrl": format!("{address}/secrets/disk/1"), "sourceVault": source } });
    if encryption.key {
        out["keyEncryptionKey"] = json!({ "keyUrl": format!("{address}/keys/kek/1"), "sourceVault": source });
    }
    Some(out)
}

/// The extension resource of Azure Disk Encryption.
pub(crate) fn extension_of(vm: &Vm) -> Option<Value> {
    let encryption = vm.encryption.as_ref()?;
    let kind = if vm.windows { "AzureDiskEncryption" } else { "AzureDiskEncryptionForLinux" };
    let address = format!("https://{}.vault.azure.net/", encryption.vault.name());
    let mut settings = json!({ "EncryptionOperation": "EnableEncryption", "KeyVaultURL": address,
        "KeyVaultResourceId": encryption.vault, "VolumeType": "All" });
    if encryption.key {
        settings["KekVaultResourceId"] = json!(encryption.vault);
        settings["KeyEncryptionKeyURL"] = json!(format!("{address}keys/kek/1"));
    }
    Some(json!({
        "name": kind, "id": vm.id.child("extensions", kind).ok(), "type": "Microsoft.Compute/virtualMachines/extensions",
        "location": vm.location,
        "properties": { "autoUpgradeMinorVersion": true, "provisioningState": "Succeeded",
            "publisher": "Microsoft.Azure.Security", "type": kind, "typeHandlerVersion": "2.2", "settings": settings }
    }))
}

/// Whether the backup service may read what it needs of the VM's key vault.
pub(crate) fn backup_may(world: &World, vm: &Vm) -> bool {
    let Some(encryption) = &vm.encryption else { return true };
    let Some(vault) = world.key_vaults.iter().find(|vault| vault.id == encryption.vault) else { return false };
    if vault.rbac {
        return world.role_assignments.iter().any(|role| {
            role.id.scope().is_some_and(|scope| scope.covers(&vault.id))
                && role.principal.eq_ignore_ascii_case(&world.backup_principal)
                && role.role.eq_ignore_ascii_case(ADMINISTRATOR)
        });
    }
    let own = vault.policies.iter().find(|policy| policy.principal.eq_ignore_ascii_case(&world.backup_principal));
    let Some(own) = own.map(|policy| &policy.permissions) else { return false };
    let has = |list: &[String], words: &[&str]| {
        words
            .iter()
            .all(|word| list.iter().any(|have| have.eq_ignore_ascii_case(word) || have.eq_ignore_ascii_case("all")))
    };
    has(&own.secrets, &["get", "list"]) && (!encryption.key || has(&own.keys, &["get", "list", "backup"]))
}

fn policies_json(world: &World, vault: &KeyVault) -> Vec<Value> {
    let entry = |policy: &KeyPolicy| json!({ "tenantId": world.tenant, "objectId": policy.principal, "permissions": policy.permissions });
    vault.policies.iter().map(entry).collect()
}

/// `GET` of a key vault.
pub(crate) fn one(world: &World, call: &Call, id: &ResourceId) -> Answer {
    if call.method != Method::GET {
        return Err(not_allowed(call));
    }
    access::guard(world, call, "Microsoft.KeyVault/vaults/read", id)?;
    let vault = world.key_vaults.iter().find(|vault| vault.id == *id).ok_or_else(|| resource_not_found(id))?;
    Ok(Response::json(
        200,
        &json!({
            "id": vault.id, "name": vault.id.name(), "type": "Microsoft.KeyVault/vaults", "location": vault.location, "tags": {},
            "systemData": { "createdBy": "contoso", "createdByType": "User", "createdAt": vault.created },
            "properties": {
                "sku": { "family": "A", "name": "standard" }, "tenantId": world.tenant, "accessPolicies": policies_json(world, vault),
                "enabledForDeployment": false, "enabledForDiskEncryption": true, "enabledForTemplateDeployment": false,
                "enableSoftDelete": true, "softDeleteRetentionInDays": 90, "enableRbacAuthorization": vault.rbac,
                "vaultUri": format!("https://{}.vault.azure.net/", vault.id.name()), "provisioningState": "Succeeded",
                "publicNetworkAccess": "Enabled"
            }
        }),
    ))
}

fn bad(message: &str) -> Box<Response> {
    error_response(400, "BadRequest", message)
}

/// The entry of a request: one identity and its words.
fn sent_policies(world: &World, call: &Call) -> Result<Vec<KeyPolicy>, Box<Response>> {
    let list = call.body.pointer("/properties/accessPolicies").and_then(Value::as_array);
    let list = list.filter(|list| list.len() <= 16).ok_or_else(|| bad("Access policies are required, at most 16."))?;
    let read = |entry: &Value| {
        let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default();
        if !text("tenantId").eq_ignore_ascii_case(&world.tenant) {
            return Err(bad("The tenant ID in access policy does not match the tenant ID of the key vault."));
        }
        let principal = text("objectId").to_owned();
        let permissions = entry.get("permissions").cloned().and_then(|words| serde_json::from_value(words).ok());
        match permissions {
            Some(permissions) if is_guid(&principal) => Ok(KeyPolicy { principal, permissions }),
            _ => Err(bad("An invalid value was provided for 'accessPolicies'.")),
        }
    };
    list.iter().map(read).collect()
}

/// `PUT {vault}/accessPolicies/{add|replace|remove}`.
pub(crate) fn write_policies(world: &mut World, call: &Call, vault: &ResourceId, kind: &str) -> Answer {
    if call.method != Method::PUT {
        return Err(not_allowed(call));
    }
    access::guard(world, call, "Microsoft.KeyVault/vaults/accessPolicies/write", &call.whole_id()?)?;
    let sent = sent_policies(world, call)?;
    let Some(place) = world.key_vaults.iter().position(|known| known.id == *vault) else {
        return Err(resource_not_found(vault));
    };
    let own = &mut world.key_vaults[place];
    match kind {
        "replace" => own.policies = sent,
        "add" => sent.into_iter().for_each(|policy| add(own, policy)),
        "remove" => sent.into_iter().for_each(|policy| remove(own, policy)),
        _ => return Err(bad("The operation kind is not supported.")),
    }
    let policies = policies_json(world, &world.key_vaults[place]);
    Ok(Response::json(
        200,
        &json!({ "id": format!("{vault}/accessPolicies/"), "type": "Microsoft.KeyVault/vaults/accessPolicies",
            "properties": { "accessPolicies": policies } }),
    ))
}

fn add(vault: &mut KeyVault, mut policy: KeyPolicy) {
    let overwrites = vault.add_overwrites_entry;
    let Some(own) = vault.policies.iter_mut().find(|own| own.principal.eq_ignore_ascii_case(&policy.principal)) else {
        return vault.policies.push(policy);
    };
    if overwrites {
        return own.permissions = policy.permissions;
    }
    for (have, more) in own.permissions.lists_mut().into_iter().zip(policy.permissions.lists_mut()) {
        more.retain(|word| !have.iter().any(|known| known.eq_ignore_ascii_case(word)));
        have.append(more);
    }
}

fn remove(vault: &mut KeyVault, mut policy: KeyPolicy) {
    let drops = vault.remove_drops_entry;
    let mine = |own: &KeyPolicy| own.principal.eq_ignore_ascii_case(&policy.principal);
    let Some(place) = vault.policies.iter().position(mine) else { return };
    let own = &mut vault.policies[place];
    for (have, less) in own.permissions.lists_mut().into_iter().zip(policy.permissions.lists_mut()) {
        have.retain(|word| !less.iter().any(|gone| gone.eq_ignore_ascii_case(word)));
    }
    if drops || own.permissions.is_empty() {
        vault.policies.remove(place);
    }
}

fn assignment_json(world: &World, role: &RoleAssignment) -> Value {
    let scope = role.id.scope();
    let definition = format!(
        "/subscriptions/{}/providers/Microsoft.Authorization/roleDefinitions/{}",
        role.id.subscription(),
        role.role
    );
    json!({
        "properties": { "roleDefinitionId": definition, "principalId": role.principal, "principalType": "ServicePrincipal",
            "scope": scope, "condition": null, "conditionVersion": null, "createdOn": "2024-06-26T05:12:53.7218396Z",
            "updatedOn": "2024-06-26T05:12:54.0598371Z", "createdBy": world.caller, "updatedBy": world.caller,
            "delegatedManagedIdentityResourceId": null, "description": null },
        "id": role.id, "type": "Microsoft.Authorization/roleAssignments", "name": role.id.name()
    })
}

/// `GET {scope}/providers/Microsoft.Authorization/roleAssignments?$filter=atScope()`.
pub(crate) fn list_roles(world: &World, call: &Call, scope: &ResourceId) -> Answer {
    const READ: &str = "Microsoft.Authorization/roleAssignments/read";
    if call.method != Method::GET {
        return Err(not_allowed(call));
    }
    access::guard(world, call, READ, scope)?;
    let at_scope = call.param("$filter").is_some_and(|f| f.replace(' ', "").eq_ignore_ascii_case("atscope()"));
    let rows = world
        .role_assignments
        .iter()
        .filter(|role| role.id.scope().is_some_and(|at| at.covers(scope) || (!at_scope && scope.covers(&at))))
        .filter(|role| access::allowed(world, READ, &role.id))
        .map(|role| assignment_json(world, role))
        .collect();
    page(world, call, rows)
}

/// One role assignment: PUT and DELETE. A lock over the scope holds it too (lock-resources documentation: "prevents the
/// deletion of Azure RBAC assignments").
pub(crate) fn one_role(world: &mut World, call: &Call, scope: &ResourceId) -> Answer {
    let id = call.whole_id()?;
    let place = world.role_assignments.iter().position(|role| role.id == id);
    match call.method {
        Method::PUT => {
            access::guard(world, call, "Microsoft.Authorization/roleAssignments/write", &id)?;
            access::enforce(world, call, scope)?;
            if scope.key().contains("/providers/") && !ids::exists(world, scope) {
                return Err(resource_not_found(scope));
            }
            let text = |name: &str| call.body.pointer(&format!("/properties/{name}")).and_then(Value::as_str);
            let role = text("roleDefinitionId").and_then(|role| role.rsplit('/').next()).filter(|role| is_guid(role));
            let (Some(role), Some(principal)) = (role, text("principalId").filter(|p| is_guid(p))) else {
                return Err(error_response(400, "InvalidRoleAssignmentRequest", "The role assignment is not valid."));
            };
            let made = RoleAssignment { id: id.clone(), principal: principal.to_owned(), role: role.to_owned() };
            if let Some(place) = place {
                if world.role_assignments[place] != made {
                    return Err(error_response(
                        409,
                        "RoleAssignmentUpdateNotPermitted",
                        "Tenant ID, application ID, principal ID, and scope are not allowed to be updated.",
                    ));
                }
                return Ok(Response::json(200, &assignment_json(world, &made)));
            }
            let same = |other: &RoleAssignment| {
                other.id.scope() == id.scope() && other.principal == made.principal && other.role == made.role
            };
            if world.role_assignments.iter().any(same) {
                return Err(error_response(409, "RoleAssignmentExists", "The role assignment already exists."));
            }
            let body = assignment_json(world, &made);
            world.role_assignments.push(made);
            Ok(Response::json(201, &body))
        }
        Method::DELETE => {
            access::guard(world, call, "Microsoft.Authorization/roleAssignments/delete", &id)?;
            access::enforce(world, call, scope)?;
            let Some(place) = place else { return Ok(Response::empty(204)) };
            let gone = world.role_assignments.remove(place);
            Ok(Response::json(200, &assignment_json(world, &gone)))
        }
        _ => Err(not_allowed(call)),
    }
}
