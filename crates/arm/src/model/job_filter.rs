//! Which jobs to list.

use std::time::Duration;

use jiff::Timestamp;

use azmend_base::clock::{earlier, later};

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

impl JobFilter {
    /// The filter as the API wants it. Dates are `yyyy-MM-dd hh:mm:ss tt` (azure-cli sends the same; the published
    /// examples write midnight as hour 00). The API takes both ends or none (all examples and recordings have both), so
    /// an open end is closed: one day ahead, because the service's clock may be; 90 days back.
    pub(crate) fn odata(&self, now: Timestamp) -> Result<String, String> {
        self.odata_of("AzureIaasVM", now)
    }

    /// The filter for the jobs of another `backupManagementType`.
    pub(crate) fn odata_of(&self, management: &str, now: Timestamp) -> Result<String, String> {
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
