//! ARM's token buckets and the hourly limit of Recovery Services on reading jobs.
//!
//! Reads 250 and 25 per second, writes and deletes 200 and 10 per second, for each subscription and verb class
//! (Microsoft's request-limits-and-throttling page); `backupJobs` reads 150 per hour and vault, whose 429 names its delay
//! only in prose (errors/exchanges/throttling/429_backupJobs_read_150_per_hour).

use crate::call::{Call, gateway_error, set_header};
use crate::world::{Bucket, World};
use azmend_arm::http::{Method, Response};
use azmend_arm::id::ResourceId;
use azmend_base::clock::elapsed;

struct Class {
    name: &'static str,
    header: &'static str,
    size: u64,
    per_second: u64,
}

const READS: Class =
    Class { name: "reads", header: "x-ms-ratelimit-remaining-subscription-reads", size: 250, per_second: 25 };
const WRITES: Class =
    Class { name: "writes", header: "x-ms-ratelimit-remaining-subscription-writes", size: 200, per_second: 10 };
const DELETES: Class =
    Class { name: "deletes", header: "x-ms-ratelimit-remaining-subscription-deletes", size: 200, per_second: 10 };

const JOBS_PER_HOUR: u64 = 150;

fn class_of(method: &Method) -> Class {
    match *method {
        Method::GET | Method::HEAD => READS,
        Method::DELETE => DELETES,
        _ => WRITES,
    }
}

/// Takes a token; the remaining count goes into the header of the answer, or 429 comes back.
pub(crate) fn take(world: &mut World, call: &Call) -> Result<Option<(&'static str, u64)>, Box<Response>> {
    let [word, subscription, ..] = call.low.as_slice() else { return Ok(None) };
    if word != "subscriptions" || !world.settings.throttling {
        return Ok(None);
    }
    let class = class_of(&call.method);
    let now = world.now;
    let full = class.size * 1000;
    let bucket =
        world.buckets.entry(format!("{}|{subscription}", class.name)).or_insert(Bucket { milli: full, at: now });
    let filled =
        u64::try_from(elapsed(bucket.at, now).as_millis()).unwrap_or(u64::MAX).saturating_mul(class.per_second);
    bucket.milli = bucket.milli.saturating_add(filled).min(full);
    bucket.at = now;
    if bucket.milli >= 1000 {
        bucket.milli -= 1000;
        return Ok(Some((class.header, bucket.milli / 1000)));
    }
    let mut response = subscription_throttled(call, subscription, 6);
    set_header(&mut response, class.header, "0");
    Err(response)
}

/// 429 in the newer of the two recorded wordings (errors/exchanges/throttling/429_on_deployment_get).
pub(crate) fn subscription_throttled(call: &Call, subscription: &str, seconds: u64) -> Box<Response> {
    let operation: Vec<String> = call
        .low
        .iter()
        .enumerate()
        .filter(|(i, s)| i % 2 == 0 || s.starts_with("microsoft."))
        .map(|(_, s)| s.to_uppercase())
        .collect();
    let mut response = gateway_error(
        429,
        "SubscriptionRequestsThrottled",
        &format!(
            "Number of requests for subscription '{subscription}' and operation '{}/{}/' exceeded the backend storage limit. Please try again \
             after '{seconds}' seconds.",
            call.method,
            operation.join("/")
        ),
    );
    set_header(&mut response, "retry-after", &seconds.to_string());
    response
}

/// Counts a read of a vault's jobs; 429 after 150 in an hour.
pub(crate) fn jobs_read(world: &mut World, vault: &ResourceId) -> Result<(), Box<Response>> {
    if !world.settings.throttling {
        return Ok(());
    }
    let now = world.now;
    let bucket = world.buckets.entry(format!("jobs|{}", vault.key())).or_insert(Bucket { milli: 0, at: now });
    let passed = elapsed(bucket.at, now).as_secs();
    if passed >= 3600 {
        *bucket = Bucket { milli: 0, at: now };
    } else if bucket.milli >= JOBS_PER_HOUR {
        return Err(gateway_error(
            429,
            "ResourceRequestsThrottled",
            &format!(
                "Number of requests for action 'Microsoft.RecoveryServices/vaults/backupJobs/read' exceeded the limit of '{JOBS_PER_HOUR}' for \
                 time interval '01:00:00'. Please try again after '{}' seconds.",
                3600 - passed
            ),
        ));
    }
    bucket.milli += 1;
    Ok(())
}
