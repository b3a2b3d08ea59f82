//! Key vaults and disk encryption as they are written in an estate.

use serde::Deserialize;

use crate::estate::GroupSpec;
use crate::estate::build::Builder;
use crate::world::{Encryption, KeyPolicy, KeyVault, KeyWords, RoleAssignment, guid_from};
use azmend_arm::id::{ResourceId, is_guid};
use azmend_base::spelling::did_you_mean;
use azmend_base::yaml::Spanned;

/// A key vault in an estate.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyVaultSpec {
    pub name: Spanned<String>,
    #[serde(default)]
    pub rbac: bool,
    #[serde(default)]
    pub policies: Vec<KeyPolicySpec>,
    #[serde(default)]
    pub roles: Vec<RoleSpec>,
    #[serde(default)]
    pub remove_drops_entry: bool,
    #[serde(default)]
    pub add_overwrites_entry: bool,
    #[serde(default)]
    pub locks: Vec<crate::estate::LockSpec>,
}

/// An entry of its access policies.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyPolicySpec {
    pub principal: Spanned<String>,
    #[serde(default)]
    pub keys: Vec<String>,
    #[serde(default)]
    pub secrets: Vec<String>,
    #[serde(default)]
    pub certificates: Vec<String>,
    #[serde(default)]
    pub storage: Vec<String>,
}

/// A role assignment on it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RoleSpec {
    pub principal: Spanned<String>,
    pub role: Spanned<String>,
}

/// Azure Disk Encryption of a VM in an estate.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EncryptionSpec {
    /// The key vault: `name` or `group/name`.
    pub vault: Spanned<String>,
    /// A key of it encrypts the secrets.
    #[serde(default)]
    pub key: bool,
}

impl Builder {
    /// The key vaults of a group.
    pub(crate) fn key_vaults(&mut self, group: &ResourceId, spec: &GroupSpec) {
        for vault in &spec.key_vaults {
            let id = group.resource("Microsoft.KeyVault", "vaults", &vault.name.value);
            let Some(id) = self.checked(&vault.name, id) else { continue };
            self.locks(&id, &vault.locks);
            for name in vault
                .policies
                .iter()
                .map(|p| &p.principal)
                .chain(vault.roles.iter().flat_map(|r| [&r.principal, &r.role]))
            {
                if !is_guid(&name.value) {
                    self.error(name, format!("{:?} is not a GUID", name.value), None);
                }
            }
            for role in &vault.roles {
                let name = guid_from(&format!("role/{}/{}/{}", id.key(), role.principal.value, role.role.value));
                let Ok(made) = id.resource("Microsoft.Authorization", "roleAssignments", &name) else { continue };
                let (principal, role) = (role.principal.value.clone(), role.role.value.clone());
                self.world.role_assignments.push(RoleAssignment { id: made, principal, role });
            }
            let policies = vault.policies.iter().map(|policy| KeyPolicy {
                principal: policy.principal.value.clone(),
                permissions: KeyWords {
                    keys: policy.keys.clone(),
                    secrets: policy.secrets.clone(),
                    certificates: policy.certificates.clone(),
                    storage: policy.storage.clone(),
                },
            });
            self.world.key_vaults.push(KeyVault {
                id,
                location: spec.location.clone(),
                created: "2024-02-01T08:00:00.0000000Z".into(),
                rbac: vault.rbac,
                policies: policies.collect(),
                remove_drops_entry: vault.remove_drops_entry,
                add_overwrites_entry: vault.add_overwrites_entry,
            });
        }
    }

    /// Which key vaults the VMs of a group use; after all key vaults are there.
    pub(crate) fn encryption(&mut self, group: &ResourceId, spec: &GroupSpec) {
        for vm in &spec.vms {
            let Some(wanted) = &vm.encryption else { continue };
            let name = &wanted.vault.value;
            let fits =
                |v: &&KeyVault| v.id.name().eq_ignore_ascii_case(name) || v.id.short_name().eq_ignore_ascii_case(name);
            let Some(vault) = self.world.key_vaults.iter().find(fits).map(|vault| vault.id.clone()) else {
                let hint = did_you_mean(name, self.world.key_vaults.iter().map(|v| v.id.name()));
                self.error(&wanted.vault, format!("there is no key vault {name:?} in this estate"), hint);
                continue;
            };
            let Ok(id) = group.resource("Microsoft.Compute", "virtualMachines", &vm.name.value) else { continue };
            if let Some(vm) = self.world.vm_mut(&id) {
                vm.encryption = Some(Encryption { vault, key: wanted.key });
            }
        }
    }
}
