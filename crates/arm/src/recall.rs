//! What was asked a moment ago and need not be asked again.
//!
//! Duty: one reading asks once per scope what the caller may do, which deny assignments there are, and for the VM itself;
//! finding a VM by its name and planning for it are one reading ([`super::Arm::for_one_reading`]).
//! Invariants: what is kept carries the time of its own call, so no fact is younger than it says; what a client keeps by
//! itself is not served when it is older than [`LIFETIME`]; a client of a run keeps no resource, for guards look again (S3),
//! and what proves that its lists are complete no longer than other facts ([`RIGHTS`]).

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Mutex as Turn;

use super::error::ArmError;
use super::id::ResourceId;
use super::model::WholeVm;
use super::model::{DenyAssignment, Permission};
use azmend_base::clock::{Clock, elapsed};

/// How long an answer serves other readings: half of the 60 seconds that facts stay fresh.
const LIFETIME: Duration = Duration::from_secs(30);

/// How long what the caller may do serves the lists of a run: as long as facts stay fresh ("just before" of the rules).
const RIGHTS: Duration = Duration::from_secs(60);

/// An answer with the time at which its call left.
pub type Kept<T> = (Timestamp, Result<T, ArmError>);

/// The turn of those who ask for one scope, with the last answer.
type Slot<T> = Arc<Turn<Option<Kept<T>>>>;

/// Answers by scope. Who asks for a scope while another does waits for that answer.
#[derive(Debug)]
struct Answers<T>(Mutex<HashMap<ResourceId, Slot<T>>>);

impl<T> Default for Answers<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

fn slot<K: Eq + Hash + Clone, V: Default + Clone>(all: &Mutex<HashMap<K, V>>, key: &K) -> V {
    all.lock().unwrap_or_else(PoisonError::into_inner).entry(key.clone()).or_default().clone()
}

impl<T: Clone> Answers<T> {
    async fn get(
        &self,
        clock: &dyn Clock,
        lifetime: Option<Duration>,
        key: &ResourceId,
        ask: impl Future<Output = Result<T, ArmError>>,
    ) -> Kept<T> {
        let turn = slot(&self.0, key);
        let mut kept = turn.lock().await;
        if let Some((at, answer)) = kept.as_ref()
            && lifetime.is_none_or(|lifetime| elapsed(*at, clock.now()) <= lifetime)
        {
            return (*at, answer.clone());
        }
        let at = clock.now();
        let answer = (at, ask.await);
        *kept = Some(answer.clone());
        answer
    }
}

/// The answers of one reading.
#[derive(Debug, Default)]
pub struct Recall {
    lifetime: Option<Duration>,
    keeps_vms: bool,
    granted: Arc<Answers<Vec<Permission>>>,
    denied: Arc<Answers<Vec<DenyAssignment>>>,
    vms: Answers<WholeVm>,
}

impl Recall {
    /// For several readings that follow each other closely: answers are served for [`LIFETIME`].
    pub(super) fn between_readings() -> Self {
        Self { lifetime: Some(LIFETIME), keeps_vms: true, ..Self::default() }
    }

    /// For the readings of a run: what the caller may do, and nothing else.
    pub(super) fn of_a_run() -> Self {
        Self { lifetime: Some(RIGHTS), ..Self::default() }
    }

    /// The same answers, each for so long.
    pub(super) fn lasting(&self, lifetime: Duration) -> Self {
        let (granted, denied) = (self.granted.clone(), self.denied.clone());
        Self { lifetime: Some(lifetime), keeps_vms: false, granted, denied, vms: Answers::default() }
    }

    /// What the caller may do at `scope`.
    pub async fn granted(
        &self,
        clock: &dyn Clock,
        scope: &ResourceId,
        ask: impl Future<Output = Result<Vec<Permission>, ArmError>>,
    ) -> Kept<Vec<Permission>> {
        self.granted.get(clock, self.lifetime, scope, ask).await
    }

    /// The deny assignments of a subscription.
    pub async fn denied(
        &self,
        clock: &dyn Clock,
        subscription: &ResourceId,
        ask: impl Future<Output = Result<Vec<DenyAssignment>, ArmError>>,
    ) -> Kept<Vec<DenyAssignment>> {
        self.denied.get(clock, self.lifetime, subscription, ask).await
    }

    /// A VM with its instance view.
    pub async fn vm(
        &self,
        clock: &dyn Clock,
        id: &ResourceId,
        ask: impl Future<Output = Result<WholeVm, ArmError>>,
    ) -> Kept<WholeVm> {
        if self.lifetime.is_some() && !self.keeps_vms {
            return (clock.now(), ask.await);
        }
        self.vms.get(clock, self.lifetime, id, ask).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use azmend_base::clock::VirtualClock;

    #[tokio::test]
    async fn an_answer_serves_for_half_a_minute_with_its_own_time() {
        let clock = VirtualClock::new("2026-11-20T09:00:00Z".parse().unwrap());
        let scope = ResourceId::subscription_scope("5b1c0de0-0000-4000-8000-000000000001").unwrap();
        let some = |word: &str| vec![Permission { actions: vec![word.to_owned()], not_actions: Vec::new() }];
        let ask = async |recall: &Recall, word: &str| {
            let (at, answer) = recall.granted(&clock, &scope, async { Ok(some(word)) }).await;
            (at, answer.unwrap()[0].actions[0].clone())
        };
        let (between, one) = (Recall::between_readings(), Recall::default());
        let begin = clock.now();
        assert_eq!(ask(&between, "a").await, (begin, "a".to_owned()));
        assert_eq!(ask(&one, "a").await, (begin, "a".to_owned()));
        clock.sleep(LIFETIME).await;
        assert_eq!(ask(&between, "b").await, (begin, "a".to_owned()));
        clock.sleep(Duration::from_secs(1)).await;
        assert_eq!(ask(&between, "c").await, (clock.now(), "c".to_owned()));
        assert_eq!(ask(&one, "c").await, (begin, "a".to_owned()), "one reading asks once");
    }
}
