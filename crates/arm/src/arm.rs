//! The client of Azure Resource Manager.
//!
//! Duty: what all typed calls share: the gateway, what was asked a moment ago, how calls are counted. The calls themselves
//! are in [`crate::calls`], one file for each service.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use url::Url;

use super::call_counts::{ArmCalls, CallPurpose, CallRow};
use super::error::ArmError;
use super::gateway::Gateway;
use super::http::Transport;
use super::id::ResourceId;
use super::poll::{Operation, Poll, PollState};
use super::recall::Recall;
use super::shared::SharedJobs;
use super::token::TokenSource;
use azmend_base::clock::{Clock, elapsed};

/// Where and as which run azmend calls.
#[derive(Debug, Clone)]
pub struct ArmSettings {
    /// The ARM endpoint; tokens go nowhere else.
    pub endpoint: Url,
    /// The run's id for the User-Agent.
    pub run_id: String,
}

/// The typed calls. Cheap to clone; clones share the connection, the buckets and the count.
#[derive(Debug, Clone)]
pub struct Arm {
    pub(crate) gateway: Gateway,
    pub(crate) jobs: Option<Arc<SharedJobs>>,
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
    pub(crate) fn below(&self, scope: &ResourceId, rest: &str, query: &[(&str, &str)]) -> Url {
        self.gateway.url(&format!("{scope}{rest}"), query)
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
    pub async fn raw_get(&self, path_and_query: &str) -> Result<Value, ArmError> {
        let url = self.endpoint().join(path_and_query);
        let url = url.map_err(|_| ArmError::refused(path_and_query, "it is not a path of the endpoint"))?;
        self.gateway.get(url).await
    }

    /// Waits for the result of an operation that only reads.
    pub(crate) async fn result(&self, mut operation: Operation, within: Duration) -> Result<Value, ArmError> {
        let begin = self.clock().now();
        loop {
            if elapsed(begin, self.clock().now()) + operation.wait() > within {
                let why = format!("Azure did not answer within {} seconds", within.as_secs());
                return Err(ArmError::malformed(&operation.request, &why));
            }
            self.clock().sleep(operation.wait()).await;
            let poll = self.poll(&operation).await?;
            match poll.state {
                PollState::InProgress => operation = poll.operation,
                PollState::Succeeded { body } => return Ok(body),
                PollState::Failed(error) | PollState::Canceled(error) => return Err(error),
                PollState::Gone => return Err(ArmError::malformed(&operation.request, "the operation is gone")),
            }
        }
    }
}
