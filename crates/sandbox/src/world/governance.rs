//! Policy assignments and the activity log, as data.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use azmend_arm::id::ResourceId;

/// A policy assignment, with its policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyAssigned {
    /// Its name.
    pub name: String,
    /// Its scope.
    pub scope: String,
    /// The policy's effect.
    pub effect: String,
    /// The type that the policy's rule names.
    pub kind: String,
    /// Scopes that are left out.
    pub not_scopes: Vec<String>,
    /// `enforcementMode` is `Default`.
    pub enforced: bool,
    /// The initiative that it is part of.
    pub initiative: Option<String>,
    /// The effect stands in a parameter.
    pub by_parameter: bool,
    /// Its definition is not found.
    pub lost: bool,
}

/// An event of the activity log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activity {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub caller: String,
    /// e.g. `Microsoft.Authorization/locks/write`.
    pub operation: String,
    /// Of what.
    pub resource: ResourceId,
}
