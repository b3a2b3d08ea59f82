//! Microsoft.KeyVault vaults, role assignments, and what an encrypted VM says of the key vaults it uses.
//!
//! Sources: `Vaults_Get` (Microsoft.KeyVault 2023-07-01); `RoleAssignments_ListForScope` (Microsoft.Authorization
//! 2022-04-01, recorded in azure-cli's `test_backup_encryption`); the disk instance view's and the model's
//! `encryptionSettings` (Microsoft.Compute 2024-07-01). The settings of the AzureDiskEncryption extension are its
//! documented public schema. Lenient as everything here: a permission that Azure adds stays text.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::json::{FromWire, Malformed, flag, id, objects, text, texts};
use crate::id::ResourceId;

/// What an access policy permits, each kind a list of words as Azure sent them. Words are compared without case, and
/// `all` holds every one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyPermissions {
    /// Permissions to keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
    /// Permissions to secrets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<String>,
    /// Permissions to certificates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<String>,
    /// Permissions to storage accounts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub storage: Vec<String>,
}

fn holds(list: &[String], word: &str) -> bool {
    list.iter().any(|have| have.eq_ignore_ascii_case(word) || have.eq_ignore_ascii_case("all"))
}

fn lacking(wanted: &[String], have: &[String]) -> Vec<String> {
    wanted.iter().filter(|word| !holds(have, word)).cloned().collect()
}

fn joined(one: &[String], other: &[String]) -> Vec<String> {
    one.iter().cloned().chain(other.iter().filter(|word| !holds(one, word)).cloned()).collect()
}

impl KeyPermissions {
    fn lists(&self) -> [&Vec<String>; 4] {
        [&self.keys, &self.secrets, &self.certificates, &self.storage]
    }

    /// Whether nothing is permitted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lists().iter().all(|list| list.is_empty())
    }

    /// How many words there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lists().iter().map(|list| list.len()).sum()
    }

    /// What of these is not in `have`.
    #[must_use]
    pub fn without(&self, have: &Self) -> Self {
        Self {
            keys: lacking(&self.keys, &have.keys),
            secrets: lacking(&self.secrets, &have.secrets),
            certificates: lacking(&self.certificates, &have.certificates),
            storage: lacking(&self.storage, &have.storage),
        }
    }

    /// These and those of `other`, each once; the words as they stand here.
    #[must_use]
    pub fn with(&self, other: &Self) -> Self {
        Self {
            keys: joined(&self.keys, &other.keys),
            secrets: joined(&self.secrets, &other.secrets),
            certificates: joined(&self.certificates, &other.certificates),
            storage: joined(&self.storage, &other.storage),
        }
    }

    /// Whether both permit the same, word by word, in any order and case.
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        let sorted = |list: &[String]| {
            let mut words: Vec<String> = list.iter().map(|word| word.to_ascii_lowercase()).collect();
            words.sort_unstable();
            words.dedup();
            words
        };
        self.lists().iter().zip(other.lists()).all(|(one, two)| sorted(one) == sorted(two))
    }

    /// For people: `keys get, list; secrets get`.
    #[must_use]
    pub fn words(&self) -> String {
        let kinds = ["keys", "secrets", "certificates", "storage"];
        let parts: Vec<String> = kinds
            .iter()
            .zip(self.lists())
            .filter(|(_, list)| !list.is_empty())
            .map(|(kind, list)| format!("{kind} {}", list.join(", ")))
            .collect();
        if parts.is_empty() { "nothing".to_owned() } else { parts.join("; ") }
    }
}

/// One entry of `accessPolicies`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessPolicy {
    /// Tenant of the identity.
    pub tenant: String,
    /// Object id of a user, group or service principal.
    pub object: String,
    /// `applicationId`: the entry is for that application on behalf of the identity only. Empty for the identity itself.
    pub application: String,
    /// What it permits.
    pub permissions: KeyPermissions,
}

/// A key vault (`Microsoft.KeyVault/vaults`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyVault {
    /// Resource id.
    pub id: ResourceId,
    /// Region.
    pub location: String,
    /// `systemData.createdAt`: tells a vault that was made again under its name. Empty when not sent.
    pub created: String,
    /// `properties.tenantId`.
    pub tenant: String,
    /// `properties.enableRbacAuthorization`: then access policies are ignored.
    pub rbac: bool,
    /// Access policies.
    pub policies: Vec<AccessPolicy>,
    /// `networkAcls.defaultAction`, e.g. `Deny`; empty when there are no rules.
    pub network: String,
    /// `networkAcls.bypass`, e.g. `AzureServices`; empty when not sent.
    pub bypass: String,
    /// Whether deleted keys and secrets can be recovered; `None` when not sent (then Azure's default is yes).
    pub soft_delete: Option<bool>,
}

impl KeyVault {
    /// What the access policies permit to this identity itself. Entries for an application on its behalf do not count.
    #[must_use]
    pub fn permits(&self, object: &str) -> Option<KeyPermissions> {
        let mut own = self
            .policies
            .iter()
            .filter(|policy| policy.application.is_empty() && policy.object.eq_ignore_ascii_case(object))
            .map(|policy| policy.permissions.clone());
        let first = own.next()?;
        Some(own.fold(first, |all, next| all.with(&next)))
    }
}

/// A role assignment (`Microsoft.Authorization/roleAssignments`) at a scope or above it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleAssignment {
    /// Resource id text: it may stand above subscriptions.
    pub id: String,
    /// Its scope, as sent.
    pub scope: String,
    /// Object id.
    pub principal: String,
    /// `roleDefinitionId`, as sent.
    pub role: String,
    /// Whether a condition narrows it.
    pub conditional: bool,
}

impl RoleAssignment {
    /// The GUID of the role definition.
    #[must_use]
    pub fn role_guid(&self) -> &str {
        self.role.rsplit('/').next().unwrap_or_default()
    }
}

/// A key vault that an encrypted VM says it uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyUse {
    /// Its resource id as sent; or its address, when no id is sent.
    pub vault: String,
    /// Whether it holds a key that encrypts the secrets (KEK).
    pub key: bool,
    /// Whether it holds the secrets of the disks (BEK).
    pub secret: bool,
}

/// What `encryptionSettings` name: of the model's OS disk, of a disk in the instance view.
fn of_settings(settings: &Value, out: &mut Vec<KeyUse>) {
    if flag(settings, "/enabled") == Some(false) {
        return;
    }
    for (name, address, key) in [("diskEncryptionKey", "secretUrl", false), ("keyEncryptionKey", "keyUrl", true)] {
        let vault = text(settings, &format!("/{name}/sourceVault/id"));
        let vault = if vault.is_empty() { text(settings, &format!("/{name}/{address}")) } else { vault };
        if !vault.is_empty() {
            out.push(KeyUse { vault, key, secret: !key });
        }
    }
}

/// Of the model: `storageProfile.osDisk.encryptionSettings`.
pub(super) fn of_model(vm: &Value) -> Vec<KeyUse> {
    let mut out = Vec::new();
    if let Some(settings) = vm.pointer("/properties/storageProfile/osDisk/encryptionSettings") {
        of_settings(settings, &mut out);
    }
    out
}

/// Of the instance view: `disks[].encryptionSettings[]`, where `Get-AzVM -Status` shows a VM's key vault.
pub(super) fn of_view(view: &Value) -> Vec<KeyUse> {
    let mut out = Vec::new();
    for disk in objects(view, "/disks") {
        for settings in objects(disk, "/encryptionSettings") {
            of_settings(settings, &mut out);
        }
    }
    out
}

/// Of the extension resource, when it is Azure Disk Encryption and was not run to decrypt.
pub(super) fn of_extension(extension: &Value) -> Vec<KeyUse> {
    let kind = text(extension, "/properties/type");
    if !["AzureDiskEncryption", "AzureDiskEncryptionForLinux"].iter().any(|known| kind.eq_ignore_ascii_case(known)) {
        return Vec::new();
    }
    let setting = |name: &str| text(extension, &format!("/properties/settings/{name}"));
    if setting("EncryptionOperation").to_ascii_lowercase().starts_with("disable") {
        return Vec::new();
    }
    let named = |id: String, address: String| if id.is_empty() { address } else { id };
    let mut out =
        vec![KeyUse { vault: named(setting("KeyVaultResourceId"), setting("KeyVaultURL")), key: false, secret: true }];
    let key = named(setting("KekVaultResourceId"), setting("KeyEncryptionKeyURL"));
    if !setting("KeyEncryptionKeyURL").is_empty() {
        out.push(KeyUse { vault: key, key: true, secret: false });
    }
    out
}

fn permissions(value: &Value) -> KeyPermissions {
    KeyPermissions {
        keys: texts(value, "/permissions/keys"),
        secrets: texts(value, "/permissions/secrets"),
        certificates: texts(value, "/permissions/certificates"),
        storage: texts(value, "/permissions/storage"),
    }
}

impl FromWire for KeyVault {
    fn from_wire(value: &Value) -> Result<Self, Malformed> {
        let policies = objects(value, "/properties/accessPolicies").map(|policy| AccessPolicy {
            tenant: text(policy, "/tenantId"),
            object: text(policy, "/objectId"),
            application: text(policy, "/applicationId"),
            permissions: permissions(policy),
        });
        Ok(Self {
            id: id(value)?,
            location: text(value, "/location"),
            created: text(value, "/systemData/createdAt"),
            tenant: text(value, "/properties/tenantId"),
            rbac: flag(value, "/properties/enableRbacAuthorization").unwrap_or(false),
            policies: policies.collect(),
            network: text(value, "/properties/networkAcls/defaultAction"),
            bypass: text(value, "/properties/networkAcls/bypass"),
            soft_delete: flag(value, "/properties/enableSoftDelete"),
        })
    }
}

impl FromWire for RoleAssignment {
    fn from_wire(value: &Value) -> Result<Self, Malformed> {
        let (id, principal) = (text(value, "/id"), text(value, "/properties/principalId"));
        if id.is_empty() || principal.is_empty() {
            return Err(Malformed("the role assignment has no id or no principal".into()));
        }
        Ok(Self {
            id,
            scope: text(value, "/properties/scope"),
            principal,
            role: text(value, "/properties/roleDefinitionId"),
            conditional: !text(value, "/properties/condition").is_empty(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn words(keys: &[&str], secrets: &[&str]) -> KeyPermissions {
        let own = |list: &[&str]| list.iter().map(|&word| word.to_owned()).collect();
        KeyPermissions { keys: own(keys), secrets: own(secrets), ..KeyPermissions::default() }
    }

    #[test]
    fn what_is_missing_is_exactly_that() {
        let wanted = words(&["get", "list", "backup"], &["get", "list"]);
        let have = words(&["Get", "wrapKey"], &["all"]);
        assert_eq!(wanted.without(&have), words(&["list", "backup"], &[]));
        assert!(wanted.without(&wanted).is_empty());
        assert_eq!(have.with(&wanted).keys, ["Get", "wrapKey", "list", "backup"]);
        assert_eq!(have.with(&wanted).secrets, ["all"]);
        assert!(words(&["list", "GET"], &[]).same(&words(&["get", "List"], &[])));
        assert!(!words(&["list"], &[]).same(&words(&[], &["list"])));
        assert_eq!(words(&["get"], &["list"]).words(), "keys get; secrets list");
    }

    #[test]
    fn a_vault_is_read_with_nulls_and_unknown_words() {
        let id = "/subscriptions/5b1c0de0-0000-4000-8000-000000000001/resourceGroups/g/providers/Microsoft.KeyVault/vaults/kv";
        let vault = KeyVault::from_wire(&json!({ "id": id, "properties": { "tenantId": "t", "accessPolicies": [
            { "tenantId": "t", "objectId": "A", "permissions": { "keys": null, "secrets": ["get", "newWord"] } },
            { "tenantId": "t", "objectId": "a", "applicationId": "app", "permissions": { "keys": ["all"] } },
        ] } }))
        .unwrap();
        assert!(!vault.rbac);
        assert_eq!(vault.permits("a").unwrap(), words(&[], &["get", "newWord"]));
        assert_eq!(vault.permits("b"), None);
    }

    #[test]
    fn encryption_is_seen_in_three_places() {
        let settings = json!({ "enabled": true, "diskEncryptionKey": { "secretUrl": "https://kv/secrets/s", "sourceVault": { "id": "/kv" } },
            "keyEncryptionKey": { "keyUrl": "https://kk/keys/k", "sourceVault": { "id": "/kk" } } });
        let expected = [
            KeyUse { vault: "/kv".into(), key: false, secret: true },
            KeyUse { vault: "/kk".into(), key: true, secret: false },
        ];
        assert_eq!(
            of_model(&json!({ "properties": { "storageProfile": { "osDisk": { "encryptionSettings": settings } } } })),
            expected
        );
        assert_eq!(
            of_view(&json!({ "disks": [{ "name": "d", "encryptionSettings": [settings] }, { "name": "e" }] })),
            expected
        );
        let extension = |operation: &str| {
            json!({ "properties": { "type": "AzureDiskEncryptionForLinux", "settings": { "EncryptionOperation": operation,
                "KeyVaultResourceId": "/kv", "KeyVaultURL": "https://kv", "KekVaultResourceId": "/kk", "KeyEncryptionKeyURL": "https://kk/keys/k" } } })
        };
        assert_eq!(of_extension(&extension("EnableEncryption")), expected);
        assert!(of_extension(&extension("DisableEncryption")).is_empty());
        assert!(of_extension(&json!({ "properties": { "type": "CustomScript" } })).is_empty());
        assert!(of_model(&json!({ "properties": { "storageProfile": { "osDisk": { "encryptionSettings": { "enabled": false, "diskEncryptionKey": { "secretUrl": "x" } } } } } })).is_empty());
    }
}
