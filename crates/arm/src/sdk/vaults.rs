//! Microsoft.RecoveryServices/vaults 2024-04-01.

use azure_mgmt_recoveryservices::package_2024_04 as vaults;

use super::bridge::{ask, client, first};
use super::{group, names};
use crate::api::Listing;
use crate::error::ArmError;
use crate::gateway::Gateway;
use crate::id::ResourceId;
use crate::model::Vault;

/// The type of a vault.
pub const VAULT: &str = "Microsoft.RecoveryServices/vaults";

/// The vaults of a subscription.
pub async fn list(gateway: &Gateway, subscription: &ResourceId) -> Result<Listing<Vault>, ArmError> {
    let exchange = ask(gateway, None, |seam| {
        let call = client!(seam, vaults)?.vaults_client().list_by_subscription_id(subscription.subscription());
        Ok(first(call.into_stream()))
    });
    exchange.await?.pages(gateway).await
}

/// One vault.
pub async fn get(gateway: &Gateway, id: &ResourceId) -> Result<Vault, ArmError> {
    let ([name], group) = (names(id, VAULT)?, group(id)?);
    let exchange = ask(gateway, None, |seam| {
        Ok(client!(seam, vaults)?.vaults_client().get(id.subscription(), group, name).send())
    });
    exchange.await?.one()
}
