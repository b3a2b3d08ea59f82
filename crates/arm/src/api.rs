//! The typed calls to Azure Resource Manager: everything azmend reads and everything it can change.
//!
//! Duty: one method per call, with our own models. Reads are retried by the gateway and lists hold all pages; a change
//! is sent exactly once and answers [`Sent`] or a classified error. Invariant: a name reaches a URL only through a
//! [`ResourceId`], whose segments are checked (S11). Nothing here decides whether something should be changed.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use url::Url;
use uuid::Uuid;

use super::calls::{ArmCalls, CallPurpose, CallRow};
use super::error::ArmError;
use super::gateway::Gateway;
use super::http::Transport;
use super::id::ResourceId;
pub use super::listing::Listing;
use super::model::{
    BackupStatus, Collection, DenyAssignment, Extension, Group, InstanceView, Job, Lock, Permission, Point, Policy,
    ProtectedItem, RecoveryPoint, RunCommand, Subscription, Vault, Vm,
};
use super::poll::{Operation, Poll};
use super::recall::Recall;
use super::sdk::protection::Wanted;
use super::sdk::{backup, compute, locks, protection, vaults};
use super::shared::SharedJobs;
use super::token::TokenSource;
use azmend_base::clock::{Clock, earlier, later};

/// Where and as which run azmend calls.
#[derive(Debug, Clone)]
pub struct ArmSettings {
    /// The ARM endpoint; tokens go nowhere else.
    pub endpoint: Url,
    /// The run's id for the User-Agent.
    pub run_id: String,
}

/// The mark of a change: journaled before it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tag {
    /// Sent as `x-ms-client-request-id`.
    pub client_request_id: Uuid,
}

impl Tag {
    /// A new, random mark.
    #[must_use]
    pub fn fresh() -> Self {
        Self { client_request_id: Uuid::new_v4() }
    }
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

/// Api-versions of the calls that no generated client is linked for; from the published OpenAPI.
const RESOURCES: &str = "2021-04-01";
const SUBSCRIPTIONS: &str = "2022-12-01";
const AUTHORIZATION: &str = "2022-04-01";

/// The typed calls. Cheap to clone; clones share the connection, the buckets and the count.
#[derive(Debug, Clone)]
pub struct Arm {
    pub(super) gateway: Gateway,
    jobs: Option<Arc<SharedJobs>>,
    recall: Option<Arc<Recall>>,
}

impl Arm {
    /// A client over `transport`.
    ///
    /// # Errors
    /// When a token must not go to the endpoint.
    pub fn new(
        transport: Arc<dyn Transport>,
        tokens: Arc<dyn TokenSource>,
        clock: Arc<dyn Clock>,
        settings: ArmSettings,
    ) -> Result<Self, ArmError> {
        let gateway = Gateway::new(transport, tokens, clock, settings.endpoint, &settings.run_id)?;
        Ok(Self { gateway, jobs: None, recall: None })
    }

    /// The clock everything waits on.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        self.gateway.clock()
    }

    /// The same client for another run: it counts its own calls, and nothing that was read before serves it. What the caller may
    /// do is asked once in a minute.
    #[must_use]
    pub fn with_run_id(&self, run: &str) -> Self {
        Self { gateway: self.gateway.with_run_id(run), jobs: None, recall: Some(Arc::new(Recall::of_a_run())) }
    }

    /// The same client, whose calls are counted for this purpose.
    #[must_use]
    pub fn for_purpose(&self, purpose: CallPurpose) -> Self {
        Self { gateway: self.gateway.for_purpose(purpose), ..self.clone() }
    }

    /// The same client for finding a VM and planning for it, which are one reading: what the caller may do, deny assignments
    /// and the VM itself are asked once in half a minute, and keep the time at which they were asked. Never for a run.
    #[must_use]
    pub fn for_one_reading(&self) -> Self {
        Self { recall: Some(Arc::new(Recall::between_readings())), ..self.clone() }
    }

    /// The same client for a reading that is shown and decides nothing: what the caller may do may be so old.
    #[must_use]
    pub fn for_showing(&self, rights: Duration) -> Self {
        Self { recall: Some(Arc::new(self.recall().lasting(rights))), ..self.clone() }
    }

    /// What was asked a moment ago; a memory of its own when this client keeps none.
    pub fn recall(&self) -> Arc<Recall> {
        self.recall.clone().unwrap_or_default()
    }

    /// The same client for planning many VMs: lists of jobs are shared for five minutes, for Azure rations them by
    /// vault. Never for a run.
    #[must_use]
    pub fn sharing_jobs(&self) -> Self {
        Self { jobs: Some(Arc::default()), ..self.clone() }
    }

    /// How many readings of this run were given up because Azure asks to wait: what is unread then may be read later.
    #[must_use]
    pub fn put_off(&self) -> u64 {
        self.gateway.put_off()
    }

    /// How many requests were handed to the transport, by all runs together.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.gateway.calls()
    }

    /// The calls of this run so far.
    #[must_use]
    pub fn call_counts(&self) -> ArmCalls {
        self.gateway.call_counts()
    }

    /// The calls of this run so far, by purpose, verb and kind of resource.
    #[must_use]
    pub fn call_rows(&self) -> Vec<CallRow> {
        self.gateway.call_rows()
    }

    /// How long requests have waited because of Azure's limits, all added up.
    #[must_use]
    pub fn waited(&self) -> std::time::Duration {
        self.gateway.waited()
    }

    /// The ARM endpoint.
    #[must_use]
    pub fn endpoint(&self) -> &Url {
        self.gateway.endpoint()
    }

    /// A URL below a scope.
    fn below(&self, scope: &ResourceId, rest: &str, query: &[(&str, &str)]) -> Url {
        self.gateway.url(&format!("{scope}{rest}"), query)
    }

    // Scopes.

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

    // Compute.

    /// The VMs of a subscription or resource group.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn vms(&self, scope: &ResourceId) -> Result<Listing<Vm>, ArmError> {
        is_scope(scope)?;
        compute::vms(&self.gateway, scope).await
    }

    /// One VM.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn vm(&self, id: &ResourceId) -> Result<Vm, ArmError> {
        compute::vm(&self.gateway, id).await
    }

    /// The VM's instance view.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn instance_view(&self, vm: &ResourceId) -> Result<InstanceView, ArmError> {
        compute::instance_view(&self.gateway, vm).await
    }

    /// The VM's extension resources.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn extensions(&self, vm: &ResourceId) -> Result<Listing<Extension>, ArmError> {
        compute::extensions(&self.gateway, vm).await
    }

    /// The restore point collections of a subscription or resource group, without points.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn collections(&self, scope: &ResourceId) -> Result<Listing<Collection>, ArmError> {
        is_scope(scope)?;
        compute::collections(&self.gateway, scope).await
    }

    /// One collection with its points.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn collection(&self, id: &ResourceId) -> Result<Collection, ArmError> {
        compute::collection(&self.gateway, id).await
    }

    /// One restore point.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn point(&self, id: &ResourceId) -> Result<Point, ArmError> {
        compute::point(&self.gateway, id).await
    }

    // Locks.

    /// The locks at, above and below a scope.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn locks(&self, scope: &ResourceId) -> Result<Listing<Lock>, ArmError> {
        locks::list(&self.gateway, scope, false).await
    }

    /// The locks at or above a scope.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn locks_at(&self, scope: &ResourceId) -> Result<Listing<Lock>, ArmError> {
        locks::list(&self.gateway, scope, true).await
    }

    /// One lock.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn lock(&self, id: &ResourceId) -> Result<Lock, ArmError> {
        locks::get(&self.gateway, id).await
    }

    // Backup.

    /// The Recovery Services vaults of a subscription.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn vaults(&self, sub: &str) -> Result<Listing<Vault>, ArmError> {
        vaults::list(&self.gateway, &subscription_id(sub)?).await
    }

    /// One vault.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn vault(&self, id: &ResourceId) -> Result<Vault, ArmError> {
        vaults::get(&self.gateway, id).await
    }

    /// Whether the vault has a resource guard proxy.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn resource_guarded(&self, vault: &ResourceId) -> Result<bool, ArmError> {
        backup::resource_guarded(&self.gateway, vault).await
    }

    /// The vault that protects a VM.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn backup_status(&self, vm: &ResourceId, location: &str) -> Result<BackupStatus, ArmError> {
        backup::status(&self.gateway, vm, location).await
    }

    /// The protected Azure VMs of a vault, in any state.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn protected_items(&self, vault: &ResourceId) -> Result<Listing<ProtectedItem>, ArmError> {
        backup::items(&self.gateway, vault).await
    }

    /// One protected item.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn protected_item(&self, id: &ResourceId) -> Result<ProtectedItem, ArmError> {
        backup::item(&self.gateway, id).await
    }

    /// The recovery points of a protected item.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn recovery_points(&self, item: &ResourceId) -> Result<Listing<RecoveryPoint>, ArmError> {
        backup::recovery_points(&self.gateway, item).await
    }

    /// One backup policy.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn policy(&self, id: &ResourceId) -> Result<Policy, ArmError> {
        backup::policy(&self.gateway, id).await
    }

    /// The policies of a vault for Azure VMs.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn policies(&self, vault: &ResourceId) -> Result<Listing<Policy>, ArmError> {
        protection::policies(&self.gateway, vault).await
    }

    /// The jobs of a vault for Azure VMs; every operation, restores included.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn jobs(&self, vault: &ResourceId, filter: &JobFilter) -> Result<Listing<Job>, ArmError> {
        let odata = filter.odata(self.gateway.now()).map_err(|why| ArmError::refused(vault.as_str(), &why))?;
        let read = backup::jobs(&self.gateway, vault, &odata);
        match &self.jobs {
            None => read.await,
            Some(shared) => shared.get(vault, filter, self.gateway.now(), read).await,
        }
    }

    /// One job with its tasks.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn job(&self, id: &ResourceId) -> Result<Job, ArmError> {
        backup::job(&self.gateway, id).await
    }

    // Changes: each is one request, sent exactly once. Its intent is journaled before (S2).

    /// Deletes a lock.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered; it was sent at most once.
    pub async fn delete_lock(&self, id: &ResourceId, tag: &Tag) -> Result<Sent, ArmError> {
        locks::delete(&self.gateway, id, tag.client_request_id).await
    }

    /// Creates a lock with its level and notes.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered; it was sent at most once.
    pub async fn put_lock(&self, lock: &Lock, tag: &Tag) -> Result<Sent, ArmError> {
        locks::put(&self.gateway, lock, tag.client_request_id).await
    }

    /// Deletes a restore point collection with its points.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered; it was sent at most once.
    pub async fn delete_collection(&self, id: &ResourceId, tag: &Tag) -> Result<Sent, ArmError> {
        compute::delete_collection(&self.gateway, id, tag.client_request_id).await
    }

    /// Deletes one restore point.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered; it was sent at most once.
    pub async fn delete_point(&self, id: &ResourceId, tag: &Tag) -> Result<Sent, ArmError> {
        compute::delete_point(&self.gateway, id, tag.client_request_id).await
    }

    /// Deletes a VM extension.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered; it was sent at most once.
    pub async fn delete_extension(&self, id: &ResourceId, tag: &Tag) -> Result<Sent, ArmError> {
        compute::delete_extension(&self.gateway, id, tag.client_request_id).await
    }

    /// Starts an on-demand backup.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered; it was sent at most once.
    pub async fn start_backup(&self, item: &ResourceId, retain_until: Timestamp, tag: &Tag) -> Result<Sent, ArmError> {
        backup::start(&self.gateway, item, retain_until, tag.client_request_id).await
    }

    /// Cancels a job.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered; it was sent at most once.
    pub async fn cancel_job(&self, id: &ResourceId, tag: &Tag) -> Result<Sent, ArmError> {
        backup::cancel(&self.gateway, id, tag.client_request_id).await
    }

    /// Applies the model of a VM again.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered; it was sent at most once.
    pub async fn reapply_vm(&self, id: &ResourceId, tag: &Tag) -> Result<Sent, ArmError> {
        compute::reapply(&self.gateway, id, tag.client_request_id).await
    }

    /// Restarts a VM.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered; it was sent at most once.
    pub async fn restart_vm(&self, id: &ResourceId, tag: &Tag) -> Result<Sent, ArmError> {
        compute::restart(&self.gateway, id, tag.client_request_id).await
    }

    /// Runs a script in a VM. Azure runs one at a time, answers 409 while another runs, and cannot cancel one; what it
    /// printed is in the last answer of the operation ([`super::model::RunOutput`]).
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered; it was sent at most once.
    pub async fn run_command(&self, vm: &ResourceId, command: &RunCommand<'_>, tag: &Tag) -> Result<Sent, ArmError> {
        compute::run_command(&self.gateway, vm, command, tag.client_request_id).await
    }

    /// Protects a stopped item again, with this policy. `source` is the item's own, as it was read.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered; it was sent at most once.
    pub async fn resume_protection(
        &self,
        item: &ResourceId,
        source: &str,
        policy: &ResourceId,
        tag: &Tag,
    ) -> Result<Sent, ArmError> {
        protection::put(&self.gateway, item, source, Wanted::Protected(policy), tag.client_request_id).await
    }

    /// Stops the protection of an item and keeps its data. `forget_policy`: the item loses its policy, as azure-cli
    /// does it.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered; it was sent at most once.
    pub async fn stop_protection(
        &self,
        item: &ResourceId,
        source: &str,
        forget_policy: bool,
        tag: &Tag,
    ) -> Result<Sent, ArmError> {
        let wanted = if forget_policy { Wanted::StoppedWithoutPolicy } else { Wanted::Stopped };
        protection::put(&self.gateway, item, source, wanted, tag.client_request_id).await
    }

    /// Polls an accepted operation once.
    ///
    /// # Errors
    /// When polling itself fails for good; the operation's fate is then unknown.
    pub async fn poll(&self, operation: &Operation) -> Result<Poll, ArmError> {
        Box::pin(operation.poll(&self.gateway)).await
    }

    /// A GET of any path and query at the endpoint, e.g. `/subscriptions/...?api-version=...`.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn raw_get(&self, path_and_query: &str) -> Result<serde_json::Value, ArmError> {
        let url = self.endpoint().join(path_and_query);
        let url = url.map_err(|_| ArmError::refused(path_and_query, "it is not a path of the endpoint"))?;
        self.gateway.get(url).await
    }
}

fn subscription_id(guid: &str) -> Result<ResourceId, ArmError> {
    ResourceId::subscription_scope(guid).map_err(|error| ArmError::refused("a subscription", &error.to_string()))
}

pub(super) fn of_type(id: &ResourceId, kind: &str) -> Result<(), ArmError> {
    if id.is_type(kind) { Ok(()) } else { Err(ArmError::refused(id.as_str(), &format!("it is not a {kind}"))) }
}

pub(super) fn is_scope(scope: &ResourceId) -> Result<(), ArmError> {
    if scope.is_type("subscription") || scope.is_type("resourcegroup") {
        return Ok(());
    }
    Err(ArmError::refused(scope.as_str(), "it is not a subscription or a resource group"))
}

/// Rights that cannot be read completely are not read at all.
fn whole<T>(scope: &ResourceId, listing: Listing<T>) -> Result<Vec<T>, ArmError> {
    match listing.malformed.first() {
        None => Ok(listing.items),
        Some(first) => Err(ArmError::malformed(scope.as_str(), first)),
    }
}

impl JobFilter {
    /// The filter as the API wants it. Dates are `yyyy-MM-dd hh:mm:ss tt` (azure-cli sends the same; the published
    /// examples write midnight as hour 00). The API takes both ends or none (all examples and recordings have both), so
    /// an open end is closed: one day ahead, because the service's clock may be; 90 days back.
    fn odata(&self, now: Timestamp) -> Result<String, String> {
        self.odata_of("AzureIaasVM", now)
    }

    /// The filter for the jobs of another `backupManagementType`.
    pub(super) fn odata_of(&self, management: &str, now: Timestamp) -> Result<String, String> {
        const DAY: Duration = Duration::from_secs(86_400);
        let date = |at: Timestamp| at.strftime("%Y-%m-%d %I:%M:%S %p").to_string();
        let mut filter = format!("backupManagementType eq '{management}'");
        if let Some(status) = &self.status {
            if status.is_empty() || !status.chars().all(|c| c.is_ascii_alphabetic()) {
                return Err(format!("{status:?} is not the status of a job"));
            }
            filter.push_str(&format!(" and status eq '{status}'"));
        }
        if self.since.is_some() || self.until.is_some() {
            let until = self.until.unwrap_or_else(|| later(now, DAY));
            let since = self.since.unwrap_or_else(|| earlier(until, 90 * DAY));
            filter.push_str(&format!(" and startTime eq '{}' and endTime eq '{}'", date(since), date(until)));
        }
        Ok(filter)
    }
}

#[cfg(test)]
#[path = "api_tests.rs"]
mod tests;
