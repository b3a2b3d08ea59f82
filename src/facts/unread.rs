//! What could not be read, or not completely (S12).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Something that could not be read, or not completely.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Unread {
    /// What, and where: a subscription, a vault, a kind of resource.
    pub what: String,
    /// Why.
    pub why: String,
}
