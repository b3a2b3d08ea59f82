//! The typed calls that only a reading of many VMs makes; all of them read.

use super::api::{Arm, Listing};
use super::error::ArmError;
use super::id::ResourceId;
use super::model::{SizedCollection, TaggedVm};
use super::sdk::bulk;

impl Arm {
    /// The VMs of a subscription with their tags.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn tagged_vms(&self, subscription: &ResourceId) -> Result<Listing<TaggedVm>, ArmError> {
        super::api::is_scope(subscription)?;
        bulk::tagged_vms(&self.gateway, subscription).await
    }

    /// One collection with its points and the size of the disks behind them.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn sized_collection(&self, id: &ResourceId) -> Result<SizedCollection, ArmError> {
        bulk::sized_collection(&self.gateway, id).await
    }
}
