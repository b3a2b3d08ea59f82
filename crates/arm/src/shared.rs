//! Lists of jobs that several plans share.
//!
//! Azure gives the jobs of a vault about a hundred times in an hour (a recorded 429 names 150), and a plan for one VM needs two
//! lists: fifty VMs of one vault would use the hour up. Planning many VMs, all of them share a list for some minutes. A run
//! must never do this: its guards look again just before each change (S3).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Mutex as Turn;

use super::error::ArmError;
use super::id::ResourceId;
use super::listing::Listing;
use super::model::Job;
use super::model::JobFilter;
use azmend_base::clock::elapsed;

/// How long a list serves plans. A plan is looked at by a person for longer than that before it is applied.
const LIFETIME: Duration = Duration::from_secs(300);

#[derive(Debug)]
struct Kept {
    filter: JobFilter,
    at: Timestamp,
    jobs: Listing<Job>,
}

impl Kept {
    /// Whether this list has everything that `filter` asks for at `now`. One that begins a little earlier has.
    fn serves(&self, filter: &JobFilter, now: Timestamp) -> bool {
        let since = match (self.filter.since, filter.since) {
            (None, None) => true,
            (Some(kept), Some(wanted)) => kept <= wanted && elapsed(kept, wanted) <= LIFETIME,
            _ => false,
        };
        since
            && self.filter.status == filter.status
            && self.filter.until == filter.until
            && elapsed(self.at, now) <= LIFETIME
    }
}

/// The lists of each vault. Who asks for a vault while another reads it waits for that reading.
#[derive(Debug, Default)]
pub(super) struct SharedJobs {
    vaults: Mutex<HashMap<String, Arc<Turn<Vec<Kept>>>>>,
}

impl SharedJobs {
    /// The list, read by `read` when none that is kept serves. A reading that failed is not kept.
    pub async fn get(
        &self,
        vault: &ResourceId,
        filter: &JobFilter,
        now: Timestamp,
        read: impl Future<Output = Result<Listing<Job>, ArmError>>,
    ) -> Result<Listing<Job>, ArmError> {
        let turn = {
            let mut vaults = self.vaults.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(vaults.entry(vault.key().to_owned()).or_default())
        };
        let mut kept = turn.lock().await;
        if let Some(found) = kept.iter().find(|one| one.serves(filter, now)) {
            return Ok(found.jobs.clone());
        }
        let jobs = read.await?;
        kept.retain(|one| elapsed(one.at, now) <= LIFETIME);
        kept.push(Kept { filter: filter.clone(), at: now, jobs: jobs.clone() });
        Ok(jobs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use azmend_base::clock::later;

    fn listing(count: usize) -> Listing<Job> {
        Listing { items: Vec::new(), malformed: vec!["row".to_owned(); count].into_iter().collect() }
    }

    #[tokio::test]
    async fn a_list_serves_who_asks_for_the_same_a_little_later_and_nobody_else() {
        let shared = SharedJobs::default();
        let vault = |name: &str| {
            let id = format!(
                "/subscriptions/5b1c0de0-0000-4000-8000-000000000001/resourceGroups/g/providers/Microsoft.RecoveryServices/vaults/{name}"
            );
            ResourceId::parse(&id).unwrap()
        };
        let start: Timestamp = "2026-11-20T09:00:00Z".parse().unwrap();
        let since = |at: Timestamp| JobFilter { since: Some(at), ..JobFilter::default() };
        let running = JobFilter { status: Some("InProgress".into()), ..JobFilter::default() };
        let get = async |name: &str, filter: &JobFilter, seconds: u64, count: usize| {
            let now = later(start, Duration::from_secs(seconds));
            let found = shared.get(&vault(name), filter, now, async { Ok(listing(count)) }).await.unwrap();
            found.malformed.len()
        };
        assert_eq!(get("a", &since(start), 0, 1).await, 1);
        assert_eq!(get("A", &since(later(start, Duration::from_secs(60))), 60, 2).await, 1, "the same vault");
        assert_eq!(get("b", &since(start), 60, 3).await, 3, "another vault");
        assert_eq!(get("a", &running, 60, 4).await, 4, "other jobs");
        assert_eq!(get("a", &since(start), 299, 5).await, 1);
        assert_eq!(
            get("a", &since(azmend_base::clock::earlier(start, Duration::from_secs(9))), 299, 6).await,
            6,
            "older jobs"
        );
        assert_eq!(get("a", &since(later(start, Duration::from_secs(400))), 400, 7).await, 7, "too old");
        let failed = shared.get(&vault("c"), &running, start, async { Err(ArmError::refused("c", "no")) }).await;
        assert!(failed.is_err());
        assert_eq!(get("c", &running, 0, 8).await, 8, "a failure is not kept");
    }
}
