//! Microsoft.Insights: metrics.
//!
//! Invariants: those of [`super`]: a name reaches a URL only through a [`ResourceId`], a list holds all pages, a change is sent
//! exactly once.

use jiff::Timestamp;

use crate::arm::Arm;
use crate::error::ArmError;
use crate::http::{Method, Request};
use crate::id::ResourceId;
use crate::model::Metric;

/// Api-version, from the published OpenAPI.
const METRICS: &str = "2018-01-01";

impl Arm {
    /// Averages of these metrics of a resource in steps of five minutes (contract `Metrics_List`).
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered; a metric that the resource does not have is one (400).
    pub async fn metrics(
        &self,
        id: &ResourceId,
        names: &[&str],
        from: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<Metric>, ArmError> {
        let stamp = |at: Timestamp| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let timespan = format!("{}/{}", stamp(from), stamp(until));
        let names = names.join(",");
        let query = [
            ("timespan", timespan.as_str()),
            ("interval", "PT5M"),
            ("metricnames", names.as_str()),
            ("aggregation", "Average"),
            ("api-version", METRICS),
        ];
        let url = self.gateway.url(&format!("{id}/providers/Microsoft.Insights/metrics"), &query);
        let summary = Request::new(Method::GET, url.clone()).summary();
        let body = self.gateway.get(url).await?;
        Metric::all(&body, "average").map_err(|why| ArmError::malformed(&summary, &why.to_string()))
    }
}
