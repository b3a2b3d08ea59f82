//! Microsoft.Resources: subscriptions, resource groups, what is in them.
//!
//! Invariants: those of [`super`]: a name reaches a URL only through a [`ResourceId`], a list holds all pages, a change is sent
//! exactly once.

use super::{of_type, subscription_id};
use crate::arm::Arm;
use crate::error::ArmError;
use crate::id::ResourceId;
use crate::listing::Listing;
use crate::model::{Group, Subscription};

/// Api-versions, from the published OpenAPI.
const RESOURCES: &str = "2021-04-01";
const SUBSCRIPTIONS: &str = "2022-12-01";

impl Arm {
    /// The subscriptions the caller can see.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn subscriptions(&self) -> Result<Listing<Subscription>, ArmError> {
        self.gateway.get_list(self.gateway.url("/subscriptions", &[("api-version", SUBSCRIPTIONS)])).await
    }

    /// One subscription.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn subscription(&self, guid: &str) -> Result<Subscription, ArmError> {
        let id = subscription_id(guid)?;
        self.gateway.get_one(self.below(&id, "", &[("api-version", SUBSCRIPTIONS)])).await
    }

    /// The resource groups of a subscription.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn groups(&self, sub: &str) -> Result<Listing<Group>, ArmError> {
        let id = subscription_id(sub)?;
        self.gateway.get_list(self.below(&id, "/resourcegroups", &[("api-version", RESOURCES)])).await
    }

    /// One resource group.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn group(&self, id: &ResourceId) -> Result<Group, ArmError> {
        of_type(id, "resourcegroup")?;
        self.gateway.get_one(self.below(id, "", &[("api-version", RESOURCES)])).await
    }

    /// The ids of everything in a resource group.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn resources_in(&self, group: &ResourceId) -> Result<Listing<ResourceId>, ArmError> {
        of_type(group, "resourcegroup")?;
        self.gateway.get_list(self.below(group, "/resources", &[("api-version", RESOURCES)])).await
    }
}
