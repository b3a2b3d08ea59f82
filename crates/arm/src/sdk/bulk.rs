//! Reads of many VMs: the list with tags, a collection with the sizes behind its points (Microsoft.Compute 2024-07-01).

use azure_mgmt_compute::package_2024_07_01 as compute;

use super::bridge::{ask, client, first};
use super::{group, names};
use crate::api::Listing;
use crate::error::ArmError;
use crate::gateway::Gateway;
use crate::id::ResourceId;
use crate::model::{SizedCollection, TaggedVm};

const COLLECTION: &str = "Microsoft.Compute/restorePointCollections";

/// The VMs of a subscription with their tags.
pub async fn tagged_vms(gateway: &Gateway, scope: &ResourceId) -> Result<Listing<TaggedVm>, ArmError> {
    let exchange = ask(gateway, None, |seam| {
        Ok(first(client!(seam, compute)?.virtual_machines_client().list_all(scope.subscription()).into_stream()))
    });
    exchange.await?.pages(gateway).await
}

/// One collection with its points and sizes.
pub async fn sized_collection(gateway: &Gateway, id: &ResourceId) -> Result<SizedCollection, ArmError> {
    let ([name], group) = (names(id, COLLECTION)?, group(id)?);
    let exchange = ask(gateway, None, |seam| {
        let collections = client!(seam, compute)?.restore_point_collections_client();
        Ok(collections.get(id.subscription(), group, name).expand("restorePoints").send())
    });
    exchange.await?.one()
}
