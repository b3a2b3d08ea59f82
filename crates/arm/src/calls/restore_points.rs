//! Microsoft.Compute 2024-07-01: restore point collections and their points.
//!
//! Invariants: those of [`super`]: a name reaches a URL only through a [`ResourceId`], a list holds all pages, a change is sent
//! exactly once.

use azure_mgmt_compute::package_2024_07_01 as compute;

use super::bridge::{ask, client, first};
use super::{group, is_scope, names};
use crate::arm::Arm;
use crate::error::ArmError;
use crate::http::Tag;
use crate::id::ResourceId;
use crate::listing::Listing;
use crate::model::{Collection, Point, SizedCollection};
use crate::poll::Sent;

const COLLECTION: &str = "Microsoft.Compute/restorePointCollections";
const POINT: &str = "Microsoft.Compute/restorePointCollections/restorePoints";

impl Arm {
    /// Restore point collections of a subscription or resource group, without points (lists never expand them).
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn collections(&self, scope: &ResourceId) -> Result<Listing<Collection>, ArmError> {
        is_scope(scope)?;
        let exchange = ask(&self.gateway, None, |seam| {
            let collections = client!(seam, compute)?.restore_point_collections_client();
            Ok(match scope.resource_group() {
                Some(group) => first(collections.list(scope.subscription(), group).into_stream()),
                None => first(collections.list_all(scope.subscription()).into_stream()),
            })
        });
        exchange.await?.pages(&self.gateway).await
    }

    /// One collection with its points.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn collection(&self, id: &ResourceId) -> Result<Collection, ArmError> {
        let ([name], group) = (names(id, COLLECTION)?, group(id)?);
        let exchange = ask(&self.gateway, None, |seam| {
            let collections = client!(seam, compute)?.restore_point_collections_client();
            Ok(collections.get(id.subscription(), group, name).expand("restorePoints").send())
        });
        exchange.await?.one()
    }

    /// One collection with its points and the size of the disks behind them.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn sized_collection(&self, id: &ResourceId) -> Result<SizedCollection, ArmError> {
        let ([name], group) = (names(id, COLLECTION)?, group(id)?);
        let exchange = ask(&self.gateway, None, |seam| {
            let collections = client!(seam, compute)?.restore_point_collections_client();
            Ok(collections.get(id.subscription(), group, name).expand("restorePoints").send())
        });
        exchange.await?.one()
    }

    /// One restore point with its instance view (the progress of a copy).
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn point(&self, id: &ResourceId) -> Result<Point, ArmError> {
        let ([collection, name], group) = (names(id, POINT)?, group(id)?);
        let exchange = ask(&self.gateway, None, |seam| {
            let points = client!(seam, compute)?.restore_points_client();
            Ok(points.get(id.subscription(), group, collection, name).expand("instanceView").send())
        });
        exchange.await?.one()
    }

    /// Deletes a restore point collection with its points.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered; it was sent at most once.
    pub async fn delete_collection(&self, id: &ResourceId, tag: &Tag) -> Result<Sent, ArmError> {
        let ([name], group) = (names(id, COLLECTION)?, group(id)?);
        let exchange = ask(&self.gateway, Some(tag.client_request_id), |seam| {
            Ok(client!(seam, compute)?.restore_point_collections_client().delete(id.subscription(), group, name).send())
        });
        Ok(exchange.await?.sent(&self.gateway, id))
    }

    /// Deletes one restore point.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered; it was sent at most once.
    pub async fn delete_point(&self, id: &ResourceId, tag: &Tag) -> Result<Sent, ArmError> {
        let ([collection, name], group) = (names(id, POINT)?, group(id)?);
        let exchange = ask(&self.gateway, Some(tag.client_request_id), |seam| {
            Ok(client!(seam, compute)?
                .restore_points_client()
                .delete(id.subscription(), group, collection, name)
                .send())
        });
        Ok(exchange.await?.sent(&self.gateway, id))
    }
}
