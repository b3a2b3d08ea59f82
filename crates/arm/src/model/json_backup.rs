//! Reading of Microsoft.RecoveryServices' resources (api-version 2024-04-01).

use serde_json::Value;

use super::json::{FromWire, Malformed, first_text, flag, id, integer, object, objects, text, texts, time};
use super::{
    BackupStatus, HealthDetail, Job, JobError, JobTask, Policy, ProtectedItem, RecoveryPoint, Schedule, Tier, Vault,
};

impl FromWire for Vault {
    fn from_wire(value: &Value) -> Result<Self, Malformed> {
        Ok(Self {
            id: id(value)?,
            location: text(value, "/location"),
            immutability: text(value, "/properties/securitySettings/immutabilitySettings/state"),
            multi_user_authorization: text(value, "/properties/securitySettings/multiUserAuthorization"),
        })
    }
}

impl FromWire for BackupStatus {
    fn from_wire(value: &Value) -> Result<Self, Malformed> {
        let value = object(value)?;
        Ok(Self {
            protection_status: text(value, "/protectionStatus"),
            vault_id: text(value, "/vaultId"),
            container: text(value, "/containerName"),
            item: text(value, "/protectedItemName"),
            policy: text(value, "/policyName"),
            error_code: text(value, "/errorCode"),
        })
    }
}

impl FromWire for ProtectedItem {
    fn from_wire(value: &Value) -> Result<Self, Malformed> {
        let health = objects(value, "/properties/healthDetails").map(|detail| HealthDetail {
            code: integer(detail, "/code").unwrap_or_default(),
            title: text(detail, "/title"),
            message: text(detail, "/message"),
        });
        Ok(Self {
            id: id(value)?,
            source: first_text(value, &["/properties/sourceResourceId", "/properties/virtualMachineId"]),
            policy_id: text(value, "/properties/policyId"),
            protection_state: text(value, "/properties/protectionState"),
            health: text(value, "/properties/healthStatus"),
            health_details: health.collect(),
            last_backup_status: text(value, "/properties/lastBackupStatus"),
            last_backup_time: time(value, "/properties/lastBackupTime"),
            last_recovery_point: time(value, "/properties/lastRecoveryPoint"),
            soft_deleted: flag(value, "/properties/isScheduledForDeferredDelete").unwrap_or(false),
        })
    }
}

/// `HH:MM` of `2018-01-24T10:00:00Z`: the date is a placeholder, and the time is meant in the policy's own time zone.
fn time_of_day(text: &str) -> Option<String> {
    let (_, clock) = text.split_once('T')?;
    let shown = clock.get(..5)?;
    shown.chars().enumerate().all(|(i, c)| if i == 2 { c == ':' } else { c.is_ascii_digit() }).then(|| shown.to_owned())
}

fn schedule(policy: &Value) -> Schedule {
    let frequency = text(policy, "/scheduleRunFrequency");
    // SimpleSchedulePolicy keeps the lists at the top, SimpleSchedulePolicyV2 under the frequency's name.
    let part = policy.get(format!("{}Schedule", frequency.to_lowercase())).unwrap_or(policy);
    let lists = |name: &str| [policy, part].iter().map(|v| texts(v, name)).find(|l| !l.is_empty()).unwrap_or_default();
    let mut times: Vec<String> = lists("/scheduleRunTimes").iter().filter_map(|t| time_of_day(t)).collect();
    let hourly = frequency.eq_ignore_ascii_case("Hourly");
    if hourly && let Some(start) = time_of_day(&text(policy, "/hourlySchedule/scheduleWindowStartTime")) {
        times = vec![start];
    }
    let hours = |pointer| if hourly { integer(policy, pointer).unwrap_or_default() } else { 0 };
    Schedule {
        times,
        days: lists("/scheduleRunDays"),
        interval_hours: hours("/hourlySchedule/interval"),
        window_hours: hours("/hourlySchedule/scheduleWindowDuration"),
        frequency,
    }
}

impl FromWire for Policy {
    fn from_wire(value: &Value) -> Result<Self, Malformed> {
        let kind = text(value, "/properties/policyType");
        Ok(Self {
            id: id(value)?,
            policy_type: if kind.is_empty() { "V1".to_owned() } else { kind },
            snapshot_days: integer(value, "/properties/instantRpRetentionRangeInDays"),
            group_prefix: text(value, "/properties/instantRPDetails/azureBackupRGNamePrefix"),
            group_suffix: text(value, "/properties/instantRPDetails/azureBackupRGNameSuffix"),
            schedule: value.pointer("/properties/schedulePolicy").map(schedule).unwrap_or_default(),
            time_zone: text(value, "/properties/timeZone"),
        })
    }
}

/// The contract's order of `RecoveryPointTierType` and `RecoveryPointTierStatus`: older api-versions and workloads send the
/// place (recorded), newer ones the word (recorded).
const TIERS: [&str; 4] = ["Invalid", "InstantRP", "HardenedRP", "ArchivedRP"];
const TIER_STATES: [&str; 5] = ["Invalid", "Valid", "Disabled", "Deleted", "Rehydrated"];

/// The word for a value that is sent as a word or as its place. What is neither stays as it was sent: it is unknown, and
/// equal to no word.
fn word(words: &[&str], sent: &str) -> String {
    let place = sent.parse::<usize>().ok().and_then(|place| words.get(place));
    let known = place.or_else(|| words.iter().find(|word| word.eq_ignore_ascii_case(sent)));
    known.map_or_else(|| sent.to_owned(), |word| (*word).to_owned())
}

impl FromWire for RecoveryPoint {
    fn from_wire(value: &Value) -> Result<Self, Malformed> {
        let tiers = objects(value, "/properties/recoveryPointTierDetails").map(|tier| Tier {
            kind: word(&TIERS, &text(tier, "/type")),
            status: word(&TIER_STATES, &text(tier, "/status")),
        });
        Ok(Self {
            id: id(value)?,
            time: time(value, "/properties/recoveryPointTime"),
            consistency: text(value, "/properties/recoveryPointType"),
            tiers: tiers.collect(),
            file_recovery_active: flag(value, "/properties/isInstantIlrSessionActive"),
        })
    }
}

/// `Some(true)` for a job with the expiry that only a request for an on-demand backup gives.
fn on_demand(job: &Value) -> Option<bool> {
    let bag = job.pointer("/properties/extendedInfo/propertyBag")?.as_object()?;
    bag.get("Recovery Point Expiry Time in UTC")?.as_str().filter(|expiry| !expiry.is_empty()).map(|_| true)
}

impl FromWire for Job {
    fn from_wire(value: &Value) -> Result<Self, Malformed> {
        let errors = objects(value, "/properties/errorDetails").map(|error| JobError {
            code: integer(error, "/errorCode").unwrap_or_default(),
            title: text(error, "/errorTitle"),
            text: text(error, "/errorString"),
            recommendations: texts(error, "/recommendations"),
        });
        let tasks = objects(value, "/properties/extendedInfo/tasksList")
            .map(|task| JobTask { id: text(task, "/taskId"), status: text(task, "/status") });
        Ok(Self {
            id: id(value)?,
            operation: text(value, "/properties/operation"),
            status: text(value, "/properties/status"),
            start: time(value, "/properties/startTime"),
            end: time(value, "/properties/endTime"),
            vm_name: text(value, "/properties/entityFriendlyName"),
            container: text(value, "/properties/containerName"),
            // The flag is in the contract and in none of 334 recorded jobs. The job's own GET of every recorded on-demand
            // backup names an expiry from its first moment; no recording shows a scheduled one, so its absence proves
            // nothing.
            user_triggered: flag(value, "/properties/isUserTriggered").or_else(|| on_demand(value)),
            errors: errors.collect(),
            dynamic_error: text(value, "/properties/extendedInfo/dynamicErrorMessage"),
            tasks: tasks.collect(),
        })
    }
}
