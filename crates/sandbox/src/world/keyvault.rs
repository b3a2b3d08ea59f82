//! Key vaults, role assignments, and which of them an encrypted VM uses.

use serde::{Deserialize, Serialize};

use azmend_arm::id::ResourceId;

/// What an entry of the access policies permits; lists are in the order in which the words came.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyWords {
    /// To keys.
    #[serde(default)]
    pub keys: Vec<String>,
    /// To secrets.
    #[serde(default)]
    pub secrets: Vec<String>,
    /// To certificates.
    #[serde(default)]
    pub certificates: Vec<String>,
    /// To storage accounts.
    #[serde(default)]
    pub storage: Vec<String>,
}

impl KeyWords {
    /// The lists, to change them.
    pub fn lists_mut(&mut self) -> [&mut Vec<String>; 4] {
        [&mut self.keys, &mut self.secrets, &mut self.certificates, &mut self.storage]
    }

    /// Whether nothing is permitted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        [&self.keys, &self.secrets, &self.certificates, &self.storage].iter().all(|list| list.is_empty())
    }
}

/// An entry of the access policies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyPolicy {
    /// Object id.
    pub principal: String,
    /// What it permits.
    pub permissions: KeyWords,
}

/// A key vault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyVault {
    /// Its id.
    pub id: ResourceId,
    /// Its region.
    pub location: String,
    /// `systemData.createdAt`.
    pub created: String,
    /// `enableRbacAuthorization`.
    pub rbac: bool,
    /// Access policies.
    pub policies: Vec<KeyPolicy>,
    /// What `accessPolicies/remove` does to an entry is not written in the contract: it loses the words that are sent, or
    /// (here true) it goes as a whole.
    pub remove_drops_entry: bool,
    /// The same doubt about `accessPolicies/add`: the words are merged into the entry, or (here true) stand instead.
    pub add_overwrites_entry: bool,
}

/// A role assignment on a key vault or above it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleAssignment {
    /// Its id.
    pub id: ResourceId,
    /// Object id.
    pub principal: String,
    /// The GUID of the role definition.
    pub role: String,
}

/// Azure Disk Encryption of a VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Encryption {
    /// The key vault that holds the secrets.
    pub vault: ResourceId,
    /// Whether a key of the same vault encrypts the secrets.
    pub key: bool,
}
