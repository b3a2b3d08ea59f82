//! `$filter` of Recovery Services, and how it writes durations.

use jiff::Timestamp;
use jiff::civil::DateTime;

use crate::call::{Call, error_response};
use azmend_arm::http::Response;
use azmend_base::clock::elapsed;

/// Time in a filter: `2026-11-20 12:00:00 AM`, or RFC 3339.
pub(crate) fn parse_filter_time(text: &str) -> Option<Timestamp> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(at);
    }
    let civil = DateTime::strptime("%Y-%m-%d %I:%M:%S %p", text)
        .or_else(|_| DateTime::strptime("%Y-%m-%d %H:%M:%S", text))
        .ok()?;
    jiff::tz::Offset::UTC.to_timestamp(civil).ok()
}

/// The terms of a `$filter` such as `status eq 'Failed' and operation eq 'Backup'`: names in lower case.
pub(crate) fn filter_terms(call: &Call) -> Result<Vec<(String, String)>, Box<Response>> {
    let Some(filter) = call.param("$filter") else { return Ok(Vec::new()) };
    let mut terms = Vec::new();
    for term in filter.split(" and ").filter(|t| !t.trim().is_empty()) {
        let Some((name, value)) = term.split_once(" eq ") else {
            return Err(error_response(
                400,
                "BadRequest",
                &format!("The filter term '{term}' is not of the form \"name eq 'value'\"."),
            ));
        };
        terms.push((name.trim().to_lowercase(), value.trim().trim_matches('\'').to_owned()));
    }
    Ok(terms)
}

pub(crate) fn span(from: Option<Timestamp>, to: Option<Timestamp>, now: Timestamp) -> String {
    iso_duration(from.map_or(0.0, |from| elapsed(from, to.unwrap_or(now)).as_secs_f64()))
}

fn iso_duration(seconds: f64) -> String {
    let (hours, rest) = ((seconds / 3600.0).floor(), seconds % 3600.0);
    let (minutes, seconds) = ((rest / 60.0).floor(), rest % 60.0);
    let mut out = String::from("PT");
    if hours > 0.0 {
        out.push_str(&format!("{hours}H"));
    }
    if minutes > 0.0 {
        out.push_str(&format!("{minutes}M"));
    }
    if seconds > 0.0 || out == "PT" {
        let digits = format!("{seconds:.7}");
        out.push_str(digits.trim_end_matches('0').trim_end_matches('.'));
        out.push('S');
    }
    out
}
