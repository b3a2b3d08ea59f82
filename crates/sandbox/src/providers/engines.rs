//! Backup engines as they are read: `backupEngines`, and the jobs of type DPM and
//! AzureBackupServer.
//!
//! Shapes from the contract's examples `Dpm/BackupEngines_List.json` and the definitions `DpmJob` and `DpmErrorInfo`
//! (bms.json 2024-04-01).

use serde_json::{Map, Value, json};

use crate::access;
use crate::call::{Answer, Call, error_response, not_allowed, page, stamp_z};
use crate::providers::filter::{filter_terms, parse_filter_time, span};
use crate::providers::vaults::known;
use crate::world::{Engine, EngineJob, World};
use azmend_arm::http::Method;
use azmend_arm::id::ResourceId;

const fn management(engine: &Engine) -> &'static str {
    if engine.dpm { "DPM" } else { "AzureBackupServer" }
}

fn engine_json(engine: &Engine) -> Value {
    let mut extended = json!({
        "protectedItemsCount": engine.items, "protectedServersCount": engine.servers, "diskCount": engine.disks,
        "usedDiskSpace": engine.used, "availableDiskSpace": engine.available,
    });
    if let (Some(at), Some(extended)) = (engine.refreshed, extended.as_object_mut()) {
        extended.insert("refreshedAt".into(), stamp_z(at).into());
    }
    json!({
        "id": engine.id, "name": engine.id.name(), "type": "Microsoft.RecoveryServices/vaults/backupEngines",
        "properties": {
            "friendlyName": engine.id.name(), "backupManagementType": management(engine),
            "backupEngineType": if engine.dpm { "DpmBackupEngine" } else { "AzureBackupServerEngine" },
            "registrationStatus": engine.registration, "backupEngineState": "Active", "healthStatus": engine.health,
            "dpmVersion": engine.version, "isDpmUpgradeAvailable": engine.update,
            "azureBackupAgentVersion": engine.agent, "isAzureBackupAgentUpgradeAvailable": engine.agent_update,
            "extendedInfo": extended,
        }
    })
}

/// `backupEngines`.
pub(crate) fn list(world: &World, call: &Call, vault: &ResourceId) -> Answer {
    if call.method != Method::GET {
        return Err(not_allowed(call));
    }
    access::guard(world, call, "Microsoft.RecoveryServices/Vaults/backupEngines/read", vault)?;
    known(world, vault)?;
    let rows = world.engines.iter().filter(|engine| vault.covers(&engine.id)).map(engine_json).collect();
    page(world, call, rows)
}

fn job_json(world: &World, engine: &Engine, job: &EngineJob) -> Value {
    let mut properties = Map::new();
    let mut put = |name: &str, value: Value| properties.insert(name.to_owned(), value);
    put("jobType", "DpmJob".into());
    put("backupManagementType", management(engine).into());
    put("dpmServerName", engine.id.name().into());
    put("workloadType", job.workload.as_str().into());
    put("entityFriendlyName", job.item.as_str().into());
    put("operation", job.operation.as_str().into());
    put("status", job.status.as_str().into());
    put("duration", span(Some(job.started), job.ended, world.now).into());
    put("startTime", stamp_z(job.started).into());
    if let Some(ended) = job.ended {
        put("endTime", stamp_z(ended).into());
    }
    if !job.error.is_empty() {
        put("errorDetails", json!([{ "errorString": job.error, "recommendations": job.recommendations }]));
    }
    let id = engine.id.up_to("vaults").map_or_else(String::new, |vault| format!("{vault}/backupJobs/{}", job.name));
    json!({ "id": id, "name": job.name, "type": "Microsoft.RecoveryServices/vaults/backupJobs", "properties": properties })
}

/// `backupJobs` when its filter asks for another type than Azure VMs; `None` for those.
pub(crate) fn jobs(world: &World, call: &Call, vault: &ResourceId) -> Option<Answer> {
    let terms = filter_terms(call).ok()?;
    let wanted = terms.iter().find(|(name, _)| name == "backupmanagementtype").map(|(_, value)| value.as_str())?;
    if wanted.eq_ignore_ascii_case("AzureIaasVM") {
        return None;
    }
    let mut found: Vec<(&Engine, &EngineJob)> = Vec::new();
    for engine in world.engines.iter().filter(|engine| vault.covers(&engine.id)) {
        if management(engine).eq_ignore_ascii_case(wanted) {
            found.extend(world.engine_jobs.iter().filter(|job| job.engine == engine.id).map(|job| (engine, job)));
        }
    }
    for (name, value) in &terms {
        match name.as_str() {
            "status" => found.retain(|(_, job)| job.status.as_str().eq_ignore_ascii_case(value)),
            "operation" => found.retain(|(_, job)| job.operation.eq_ignore_ascii_case(value)),
            "starttime" | "endtime" => {
                let Some(at) = parse_filter_time(value) else {
                    let why = format!("The time '{value}' in the filter is not valid.");
                    return Some(Err(error_response(400, "BMSUserErrorInvalidInput", &why)));
                };
                let first = name == "starttime";
                found.retain(|(_, job)| if first { job.started >= at } else { job.started <= at });
            }
            _ => {}
        }
    }
    found.sort_by_key(|(_, job)| std::cmp::Reverse(job.started));
    Some(page(world, call, found.into_iter().map(|(engine, job)| job_json(world, engine, job)).collect()))
}
