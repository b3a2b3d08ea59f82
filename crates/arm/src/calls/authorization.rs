//! Microsoft.Authorization 2022-04-01: permissions and deny assignments of the caller.
//!
//! Invariants: those of [`super`]: a name reaches a URL only through a [`ResourceId`], a list holds all pages, a change is sent
//! exactly once.

use crate::arm::Arm;
use crate::error::ArmError;
use crate::id::ResourceId;
use crate::listing::Listing;
use crate::model::{DenyAssignment, Permission};

/// Api-version, from the published OpenAPI.
const AUTHORIZATION: &str = "2022-04-01";

impl Arm {
    /// What the caller may do at a scope.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn permissions(&self, scope: &ResourceId) -> Result<Vec<Permission>, ArmError> {
        let url =
            self.below(scope, "/providers/Microsoft.Authorization/permissions", &[("api-version", AUTHORIZATION)]);
        whole(scope, self.gateway.get_list(url).await?)
    }

    /// The deny assignments at, above and below a scope: without a filter, as the list of locks. `atScope()` would leave
    /// out those of the groups of a subscription, which hide rows of its lists.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn deny_assignments(&self, scope: &ResourceId) -> Result<Vec<DenyAssignment>, ArmError> {
        let query = [("api-version", AUTHORIZATION)];
        let url = self.below(scope, "/providers/Microsoft.Authorization/denyAssignments", &query);
        whole(scope, self.gateway.get_list(url).await?)
    }
}

/// Rights that cannot be read completely are not read at all.
fn whole<T>(scope: &ResourceId, listing: Listing<T>) -> Result<Vec<T>, ArmError> {
    match listing.malformed.first() {
        None => Ok(listing.items),
        Some(first) => Err(ArmError::malformed(scope.as_str(), first)),
    }
}
