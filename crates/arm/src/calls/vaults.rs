//! Microsoft.RecoveryServices/vaults 2024-04-01.
//!
//! Invariants: those of [`super`]: a name reaches a URL only through a [`ResourceId`], a list holds all pages, a change is sent
//! exactly once.

use azure_mgmt_recoveryservices::package_2024_04 as vaults;

use super::bridge::{ask, client, first};
use super::{VAULT, group, names, subscription_id};
use crate::arm::Arm;
use crate::error::ArmError;
use crate::id::ResourceId;
use crate::listing::Listing;
use crate::model::Vault;

impl Arm {
    /// The Recovery Services vaults of a subscription.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn vaults(&self, sub: &str) -> Result<Listing<Vault>, ArmError> {
        let subscription = &subscription_id(sub)?;
        let exchange = ask(&self.gateway, None, |seam| {
            let call = client!(seam, vaults)?.vaults_client().list_by_subscription_id(subscription.subscription());
            Ok(first(call.into_stream()))
        });
        exchange.await?.pages(&self.gateway).await
    }

    /// One vault.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn vault(&self, id: &ResourceId) -> Result<Vault, ArmError> {
        let ([name], group) = (names(id, VAULT)?, group(id)?);
        let exchange = ask(&self.gateway, None, |seam| {
            Ok(client!(seam, vaults)?.vaults_client().get(id.subscription(), group, name).send())
        });
        exchange.await?.one()
    }
}
