//! The typed calls to Azure Resource Manager.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use url::Url;
use uuid::Uuid;

use super::error::ArmError;
use super::http::Transport;
use super::id::ResourceId;
use super::model::{
    BackupStatus, Collection, DenyAssignment, Extension, Group, InstanceView, Job, Lock, Permission, Point, Policy,
    ProtectedItem, RecoveryPoint, Subscription, Vault, Vm,
};
use super::poll::{Operation, Poll};
use super::token::TokenSource;
use crate::clock::Clock;

/// Where and as which run azmend calls.
#[derive(Debug, Clone)]
pub struct ArmSettings {
    /// The ARM endpoint; tokens go nowhere else.
    pub endpoint: Url,
    /// The run's id for the User-Agent.
    pub run_id: String,
}

/// All pages of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing<T> {
    /// What could be read.
    pub items: Vec<T>,
    /// What could not: one line each. A list with these is not complete.
    pub malformed: Vec<String>,
}

/// The mark of a change: journaled before it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tag {
    /// Sent as `x-ms-client-request-id`.
    pub client_request_id: Uuid,
}

/// What Azure said to a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    /// It is done; 204 on a delete: the resource did not exist.
    Done {
        /// The HTTP status.
        status: u16,
    },
    /// It was accepted and goes on.
    Accepted(Operation),
}

/// Which jobs to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// Started at or after.
    pub since: Option<Timestamp>,
    /// Started at or before.
    pub until: Option<Timestamp>,
    /// e.g. `InProgress`.
    pub status: Option<String>,
}

/// The typed calls.
#[derive(Debug, Clone)]
pub struct Arm {
    clock: Arc<dyn Clock>,
    endpoint: Url,
}

impl Arm {
    /// A client over `transport`.
    ///
    /// # Errors
    /// When the endpoint is not acceptable.
    pub fn new(
        transport: Arc<dyn Transport>,
        tokens: Arc<dyn TokenSource>,
        clock: Arc<dyn Clock>,
        settings: ArmSettings,
    ) -> Result<Self, ArmError> {
        let _ = (transport, tokens);
        Ok(Self { clock, endpoint: settings.endpoint })
    }

    /// The clock everything waits on.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// The same client for another run.
    #[must_use]
    pub fn with_run_id(&self, run: &str) -> Self {
        let _ = run;
        self.clone()
    }

    /// How many requests were sent.
    #[must_use]
    pub fn calls(&self) -> u64 {
        0
    }

    /// The ARM endpoint.
    #[must_use]
    pub fn endpoint(&self) -> &Url {
        &self.endpoint
    }

    /// Polls an operation once.
    ///
    /// # Errors
    /// When polling itself fails for good.
    pub async fn poll(&self, operation: &Operation) -> Result<Poll, ArmError> {
        let _ = operation;
        todo!()
    }

    /// The subscriptions the caller can see.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn subscriptions(&self) -> Result<Listing<Subscription>, ArmError> {
        let _ = ();
        todo!()
    }

    /// One subscription.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn subscription(&self, guid: &str) -> Result<Subscription, ArmError> {
        let _ = (guid,);
        todo!()
    }

    /// The resource groups of a subscription.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn groups(&self, sub: &str) -> Result<Listing<Group>, ArmError> {
        let _ = (sub,);
        todo!()
    }

    /// One resource group.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn group(&self, id: &ResourceId) -> Result<Group, ArmError> {
        let _ = (id,);
        todo!()
    }

    /// The ids of everything in a resource group.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn resources_in(&self, group: &ResourceId) -> Result<Listing<ResourceId>, ArmError> {
        let _ = (group,);
        todo!()
    }

    /// The VMs of a subscription or resource group.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn vms(&self, scope: &ResourceId) -> Result<Listing<Vm>, ArmError> {
        let _ = (scope,);
        todo!()
    }

    /// One VM.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn vm(&self, id: &ResourceId) -> Result<Vm, ArmError> {
        let _ = (id,);
        todo!()
    }

    /// The VM's instance view.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn instance_view(&self, vm: &ResourceId) -> Result<InstanceView, ArmError> {
        let _ = (vm,);
        todo!()
    }

    /// The VM's extension resources.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn extensions(&self, vm: &ResourceId) -> Result<Listing<Extension>, ArmError> {
        let _ = (vm,);
        todo!()
    }

    /// The restore point collections of a subscription or resource group, without points.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn collections(&self, scope: &ResourceId) -> Result<Listing<Collection>, ArmError> {
        let _ = (scope,);
        todo!()
    }

    /// One collection with its points.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn collection(&self, id: &ResourceId) -> Result<Collection, ArmError> {
        let _ = (id,);
        todo!()
    }

    /// One restore point.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn point(&self, id: &ResourceId) -> Result<Point, ArmError> {
        let _ = (id,);
        todo!()
    }

    /// The locks at, above and below a scope.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn locks(&self, scope: &ResourceId) -> Result<Listing<Lock>, ArmError> {
        let _ = (scope,);
        todo!()
    }

    /// The locks at or above a scope.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn locks_at(&self, scope: &ResourceId) -> Result<Listing<Lock>, ArmError> {
        let _ = (scope,);
        todo!()
    }

    /// One lock.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn lock(&self, id: &ResourceId) -> Result<Lock, ArmError> {
        let _ = (id,);
        todo!()
    }

    /// What the caller may do at a scope.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn permissions(&self, scope: &ResourceId) -> Result<Vec<Permission>, ArmError> {
        let _ = (scope,);
        todo!()
    }

    /// The deny assignments that apply at a scope.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn deny_assignments(&self, scope: &ResourceId) -> Result<Vec<DenyAssignment>, ArmError> {
        let _ = (scope,);
        todo!()
    }

    /// The Recovery Services vaults of a subscription.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn vaults(&self, sub: &str) -> Result<Listing<Vault>, ArmError> {
        let _ = (sub,);
        todo!()
    }

    /// One vault.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn vault(&self, id: &ResourceId) -> Result<Vault, ArmError> {
        let _ = (id,);
        todo!()
    }

    /// Whether the vault has a resource guard proxy.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn resource_guarded(&self, vault: &ResourceId) -> Result<bool, ArmError> {
        let _ = (vault,);
        todo!()
    }

    /// The vault that protects a VM.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn backup_status(&self, vm: &ResourceId, location: &str) -> Result<BackupStatus, ArmError> {
        let _ = (vm, location);
        todo!()
    }

    /// The protected Azure VMs of a vault, in any state.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn protected_items(&self, vault: &ResourceId) -> Result<Listing<ProtectedItem>, ArmError> {
        let _ = (vault,);
        todo!()
    }

    /// One protected item.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn protected_item(&self, id: &ResourceId) -> Result<ProtectedItem, ArmError> {
        let _ = (id,);
        todo!()
    }

    /// The recovery points of a protected item.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn recovery_points(&self, item: &ResourceId) -> Result<Listing<RecoveryPoint>, ArmError> {
        let _ = (item,);
        todo!()
    }

    /// One backup policy.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn policy(&self, id: &ResourceId) -> Result<Policy, ArmError> {
        let _ = (id,);
        todo!()
    }

    /// The jobs of a vault for Azure VMs; every operation, restores included.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn jobs(&self, vault: &ResourceId, filter: &JobFilter) -> Result<Listing<Job>, ArmError> {
        let _ = (vault, filter);
        todo!()
    }

    /// One job with its tasks.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn job(&self, id: &ResourceId) -> Result<Job, ArmError> {
        let _ = (id,);
        todo!()
    }

    /// Deletes a lock.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered; it was sent at most once.
    pub async fn delete_lock(&self, id: &ResourceId, tag: &Tag) -> Result<Sent, ArmError> {
        let _ = (id, tag);
        todo!()
    }

    /// Creates a lock with its level and notes.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered; it was sent at most once.
    pub async fn put_lock(&self, lock: &Lock, tag: &Tag) -> Result<Sent, ArmError> {
        let _ = (lock, tag);
        todo!()
    }

    /// Deletes a restore point collection with its points.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered; it was sent at most once.
    pub async fn delete_collection(&self, id: &ResourceId, tag: &Tag) -> Result<Sent, ArmError> {
        let _ = (id, tag);
        todo!()
    }

    /// Deletes one restore point.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered; it was sent at most once.
    pub async fn delete_point(&self, id: &ResourceId, tag: &Tag) -> Result<Sent, ArmError> {
        let _ = (id, tag);
        todo!()
    }

    /// Deletes a VM extension.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered; it was sent at most once.
    pub async fn delete_extension(&self, id: &ResourceId, tag: &Tag) -> Result<Sent, ArmError> {
        let _ = (id, tag);
        todo!()
    }

    /// Starts an on-demand backup.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered; it was sent at most once.
    pub async fn start_backup(&self, item: &ResourceId, retain_until: Timestamp, tag: &Tag) -> Result<Sent, ArmError> {
        let _ = (item, retain_until, tag);
        todo!()
    }
}
