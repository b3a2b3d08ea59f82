//! Backup jobs as they are read and cancelled.
//!
//! Shapes from recordings/azure-cli/backup/test_backup_job and errors/exchanges/backup-job-errors.

use jiff::Timestamp;
use jiff::civil::DateTime;
use serde_json::{Map, Value, json};

use super::engines;
use super::operations::{begin, signature};
use super::rbac;
use super::throttle;
use super::vaults::{filter_terms, known};
use super::wire::{Answer, Call, NO_TIME, error_response, not_allowed, page, set_header, stamp_z};
use super::world::{Job, JobStatus, OpKind, World, guid_from};
use azmend_arm::http::{Method, Response};
use azmend_arm::id::ResourceId;
use azmend_base::clock::elapsed;

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

pub(super) fn span(from: Option<Timestamp>, to: Option<Timestamp>, now: Timestamp) -> String {
    iso_duration(from.map_or(0.0, |from| elapsed(from, to.unwrap_or(now)).as_secs_f64()))
}

/// `entityFriendlyName`: the VM's name.
pub(super) fn friendly_name<'a>(world: &'a World, job: &'a Job) -> &'a str {
    let from_item = || job.item.name().rsplit(';').next().unwrap_or_default();
    world.item(&job.item).map_or_else(from_item, |item| item.vm.name())
}

pub(super) fn job_json(world: &World, job: &Job, detailed: bool) -> Value {
    let container = job.item.segment("protectionContainers").unwrap_or_default();
    let friendly = friendly_name(world, job);
    let mut properties = Map::new();
    let mut put = |name: &str, value: Value| properties.insert(name.to_owned(), value);
    put("jobType", "AzureIaaSVMJob".into());
    if job.status == JobStatus::InProgress {
        put("actionsInfo", json!(["Cancellable"]));
    }
    put("containerName", container.split_once(';').map_or(container, |(_, rest)| rest).into());
    put("duration", span(Some(job.started), job.ended, world.now).into());
    if let Some(error) = &job.error {
        let all = std::iter::once(error).chain(&job.more_errors).map(|error| {
            json!({ "errorCode": error.code, "errorTitle": error.title, "errorString": error.text, "recommendations": error.recommendations })
        });
        put("errorDetails", all.collect());
    }
    put("virtualMachineVersion", "Compute".into());
    if detailed {
        let tasks: Vec<Value> = job
            .tasks
            .iter()
            .map(|t| {
                json!({
                    "taskId": t.name, "startTime": t.started.map_or_else(|| NO_TIME.to_owned(), stamp_z),
                    "endTime": t.ended.map_or_else(|| NO_TIME.to_owned(), stamp_z), "duration": span(t.started, t.ended, world.now),
                    "status": t.status.as_str(), "taskType": "Normal"
                })
            })
            .collect();
        let mut bag = json!({ "VM Name": friendly });
        if let (Some(expiry), Some(bag)) = (&job.expiry, bag.as_object_mut()) {
            bag.insert("Recovery Point Expiry Time in UTC".into(), expiry.as_str().into());
        }
        let mut info =
            json!({ "tasksList": tasks, "propertyBag": bag, "internalPropertyBag": { "IsInstantRpJob": "True" } });
        if !job.dynamic_error.is_empty() {
            info["dynamicErrorMessage"] = job.dynamic_error.as_str().into();
        }
        put("extendedInfo", info);
    }
    put("entityFriendlyName", friendly.into());
    put("backupManagementType", "AzureIaasVM".into());
    put("operation", job.operation.as_str().into());
    put("status", job.status_word().into());
    put("startTime", stamp_z(job.started).into());
    if let Some(ended) = job.ended {
        put("endTime", stamp_z(ended).into());
    }
    put("activityId", guid_from(&format!("activity{}", job.name)).into());
    // `isUserTriggered` is in the contract and in none of the 334 recorded answers about VM backups: it is not sent. An
    // on-demand job has an expiry in its own GET, as recorded.
    json!({ "id": job.id(), "name": job.name, "type": "Microsoft.RecoveryServices/vaults/backupJobs", "properties": properties })
}

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

const READ: &str = "Microsoft.RecoveryServices/Vaults/backupJobs/read";

/// `backupJobs`, newest first; status, operation, backupManagementType, jobId, startTime and endTime of the filter are honoured.
pub(crate) fn list(world: &mut World, call: &Call, vault: &ResourceId) -> Answer {
    if call.method != Method::GET {
        return Err(not_allowed(call));
    }
    rbac::guard(world, call, READ, vault)?;
    known(world, vault)?;
    throttle::jobs_read(world, vault)?;
    if let Some(answer) = engines::jobs(world, call, vault) {
        return answer;
    }
    let mut jobs: Vec<&Job> = world.jobs.iter().filter(|j| vault.covers(&j.item)).collect();
    for (name, value) in filter_terms(call)? {
        let time = || {
            parse_filter_time(&value).ok_or_else(|| {
                error_response(
                    400,
                    "BMSUserErrorInvalidInput",
                    &format!("The time '{value}' in the filter is not valid."),
                )
            })
        };
        match name.as_str() {
            "status" => jobs.retain(|j| j.status_word().eq_ignore_ascii_case(&value)),
            "operation" => jobs.retain(|j| j.operation.eq_ignore_ascii_case(&value)),
            "backupmanagementtype" => jobs.retain(|_| value.eq_ignore_ascii_case("AzureIaasVM")),
            "jobid" => jobs.retain(|j| j.name.eq_ignore_ascii_case(&value)),
            "starttime" => {
                let from = time()?;
                jobs.retain(|j| j.started >= from);
            }
            "endtime" => {
                let to = time()?;
                jobs.retain(|j| j.started <= to);
            }
            _ => {}
        }
    }
    jobs.sort_by_key(|j| std::cmp::Reverse(j.started));
    let rows = jobs.into_iter().map(|j| job_json(world, j, false)).collect();
    page(world, call, rows)
}

fn job_not_found(name: &str) -> Box<Response> {
    error_response(404, "BMSUserErrorJobNotFound", &format!("Job '{name}' was not found."))
}

/// `backupJobs/{job}`.
pub(crate) fn one(world: &mut World, call: &Call, vault: &ResourceId, name: &str) -> Answer {
    if call.method != Method::GET {
        return Err(not_allowed(call));
    }
    rbac::guard(world, call, READ, vault)?;
    known(world, vault)?;
    throttle::jobs_read(world, vault)?;
    let job = world.job(name).filter(|j| j.vault().as_ref() == Some(vault)).ok_or_else(|| job_not_found(name))?;
    let mut response = Response::json(200, &job_json(world, job, true));
    set_header(&mut response, "x-ms-ratelimit-remaining-subscription-resource-requests", "149");
    Ok(response)
}

/// `backupJobs/{job}/cancel`: only while the snapshot is taken.
pub(crate) fn cancel(world: &mut World, call: &Call, vault: &ResourceId, name: &str) -> Answer {
    if call.method != Method::POST {
        return Err(not_allowed(call));
    }
    rbac::guard(world, call, "Microsoft.RecoveryServices/Vaults/backupJobs/cancel/action", vault)?;
    let job = world.job(name).filter(|j| j.vault().as_ref() == Some(vault)).ok_or_else(|| job_not_found(name))?;
    if !job.is_taking_snapshot() || job.status == JobStatus::Cancelling {
        return Err(error_response(
            400,
            "UserErrorCannotCancelJob",
            "The job cannot be cancelled: it is in a phase that cannot be cancelled, or has already ended.",
        ));
    }
    let target = job.id().ok_or_else(|| job_not_found(name))?;
    let job_name = job.name.clone();
    let operation = begin(world, OpKind::CancelJob, target.clone(), "", 10);
    if let Some(operation) = world.operation_mut(&operation) {
        operation.job = Some(job_name.clone());
    }
    if let Some(job) = world.job_mut(&job_name) {
        job.status = JobStatus::Cancelling;
    }
    let mut response = Response::empty(202);
    let signed = signature(&operation, world.now);
    // another api-version than the one asked for: recorded
    let status = format!("{}{target}/operationsStatus/{operation}?api-version=2019-05-13-preview&{signed}", call.base);
    let results =
        format!("{}{target}/operationResults/{operation}?api-version={}&{signed}", call.base, call.api_version());
    set_header(&mut response, "azure-asyncoperation", &status);
    set_header(&mut response, "location", &results);
    set_header(&mut response, "retry-after", "60");
    Ok(response)
}
