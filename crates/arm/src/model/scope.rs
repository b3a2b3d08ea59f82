//! Subscriptions, resource groups, locks, permissions, deny assignments.

use serde::{Deserialize, Serialize};

use crate::id::ResourceId;

/// A subscription the caller can see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    /// GUID.
    pub id: String,
    /// Display name.
    pub name: String,
    /// `Enabled`, `Warned`, `Disabled`, ...
    pub state: String,
    /// Tenant GUID; empty when not sent.
    pub tenant: String,
}

/// A resource group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Resource id.
    pub id: ResourceId,
    /// Region.
    pub location: String,
    /// `managedBy`; a backup group was recorded with `subscriptions/{id}/providers/Microsoft.RecoveryServices/`.
    pub managed_by: String,
}

/// A management lock (`Microsoft.Authorization/locks`, 2020-05-01).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// Resource id; its scope is what it locks.
    pub id: ResourceId,
    /// `CanNotDelete` or `ReadOnly`.
    pub level: String,
    /// Free text, at most 512 characters.
    pub notes: String,
    /// `owners[].applicationId`.
    pub owners: Vec<String>,
}

impl Lock {
    /// The locked scope.
    #[must_use]
    pub fn scope(&self) -> ResourceId {
        self.id.scope().unwrap_or_else(|| self.id.clone())
    }
}

/// One entry of the permissions API: what the caller may do at a scope.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permission {
    /// Patterns such as `Microsoft.Compute/*/read`.
    pub actions: Vec<String>,
    /// Patterns taken out of `actions`.
    pub not_actions: Vec<String>,
}

/// A deny assignment that applies at a scope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DenyAssignment {
    /// Resource id text (it may stand above subscriptions).
    pub id: String,
    /// Name shown in the portal.
    pub name: String,
    /// Scope text.
    pub scope: String,
    /// Denied action patterns.
    pub actions: Vec<String>,
    /// Exceptions.
    pub not_actions: Vec<String>,
    /// Made by Azure (managed application, blueprint), not removable by users.
    pub system_protected: bool,
}
