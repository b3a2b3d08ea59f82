//! Microsoft.RecoveryServices: vaults, protected items, recovery points, policies, and where a VM is protected.
//!
//! Shapes from recordings/azure-cli/backup (2024-04-01) and spec-examples/backup-AzureIaasVm. Container and item names are data:
//! they do not follow renames of the VM or its group.

use serde_json::{Map, Value, json};

use crate::access;
use crate::call::{Answer, Call, error_response, not_allowed, page, resource_not_found, set_header, stamp_z};
use crate::providers::filter::{filter_terms, parse_filter_time};
use crate::world::{Item, JobStatus, Policy, Protection, RecoveryPoint, Vault, World, digits_from};
use azmend_arm::http::{Method, Response};
use azmend_arm::id::ResourceId;

/// In lists there are no security settings at all (1683 recorded rows); in a GET, immutability that was never set is null.
pub(crate) fn vault_row(vault: &Vault) -> Value {
    let mut row = vault_json(vault);
    if let Some(properties) = row.pointer_mut("/properties").and_then(Value::as_object_mut) {
        properties.remove("securitySettings");
        properties.remove("redundancySettings");
    }
    row
}

fn vault_json(vault: &Vault) -> Value {
    let immutability = if vault.immutability.eq_ignore_ascii_case("Disabled") {
        Value::Null
    } else {
        json!({ "state": vault.immutability })
    };
    let guard = if vault.resource_guard { "Enabled" } else { "Disabled" };
    json!({
        "location": vault.location, "name": vault.id.name(), "etag": "W/\"datetime'2024-05-13T10%3A14%3A39.097221Z'\"", "tags": {},
        "identity": { "type": "None" },
        "properties": {
            "provisioningState": "Succeeded", "privateEndpointStateForBackup": "None", "privateEndpointStateForSiteRecovery": "None",
            "publicNetworkAccess": "Enabled",
            "redundancySettings": { "standardTierStorageRedundancy": "GeoRedundant", "crossRegionRestore": "Disabled" },
            "securitySettings": {
                "immutabilitySettings": immutability,
                "softDeleteSettings": { "softDeleteRetentionPeriodInDays": 14, "softDeleteState": vault.soft_delete,
                    "enhancedSecurityState": "Enabled" },
                "multiUserAuthorization": guard
            },
            "secureScore": "None", "bcdrSecurityLevel": "Fair"
        },
        "id": vault.id, "type": "Microsoft.RecoveryServices/vaults", "sku": { "name": "Standard" }
    })
}

const READ_VAULT: &str = "Microsoft.RecoveryServices/Vaults/read";

pub(crate) fn list(world: &World, call: &Call, scope: &ResourceId) -> Answer {
    only_get(call)?;
    access::guard_list(world, call, READ_VAULT, scope)?;
    let rows = world
        .vaults
        .iter()
        .filter(|v| scope.covers(&v.id) && access::allowed(world, READ_VAULT, &v.id))
        .map(vault_row)
        .collect();
    page(world, call, rows)
}

pub(crate) fn one(world: &World, call: &Call, id: &ResourceId) -> Answer {
    only_get(call)?;
    access::guard(world, call, READ_VAULT, id)?;
    Ok(Response::json(200, &vault_json(known(world, id)?)))
}

fn only_get(call: &Call) -> Result<(), Box<Response>> {
    if call.method == Method::GET { Ok(()) } else { Err(not_allowed(call)) }
}

/// The vault, or 404.
pub(crate) fn known<'a>(world: &'a World, id: &ResourceId) -> Result<&'a Vault, Box<Response>> {
    world.vault(id).ok_or_else(|| resource_not_found(id))
}

/// `backupResourceGuardProxies`: one when a resource guard protects the vault.
pub(crate) fn guard_proxies(world: &World, call: &Call, vault: &ResourceId) -> Answer {
    only_get(call)?;
    access::guard(world, call, "Microsoft.RecoveryServices/vaults/backupResourceGuardProxies/read", vault)?;
    let mut rows = Vec::new();
    if known(world, vault)?.resource_guard {
        rows.push(json!({
            "id": format!("{vault}/backupResourceGuardProxies/VaultProxy"), "name": "VaultProxy",
            "type": "Microsoft.RecoveryServices/vaults/backupResourceGuardProxies",
            "properties": { "resourceGuardResourceId": format!("{}/resourceGroups/rg-security/providers/Microsoft.DataProtection/resourceGuards/contoso-guard",
                vault.subscription_id()), "resourceGuardOperationDetails": [], "lastUpdatedTime": "2024-05-13T10:14:39.0000000Z" }
        }));
    }
    page(world, call, rows)
}

/// `extended` only when `$expand` asked for it: no recorded item has `extendedInfo` otherwise.
pub(crate) fn item_json(world: &World, item: &Item, base: &str, extended: bool) -> Value {
    let vault = item.vault();
    let friendly = item.vm.name();
    let container = item.id.segment("protectionContainers").unwrap_or_default();
    let short_container = container.split_once(';').map_or(container, |(_, rest)| rest);
    let failing = world
        .places
        .jobs
        .jobs_of(&world.jobs, &item.id)
        .into_iter()
        .filter(|j| j.operation == "Backup" && !j.status.is_active())
        .max_by_key(|j| j.started)
        .filter(|j| j.status == JobStatus::Failed)
        .and_then(|j| j.error.as_ref());
    let state = match item.protection {
        Protection::Protected => "Protected",
        Protection::Pending => "IRPending",
        Protection::Error => "ProtectionError",
        Protection::Stopped | Protection::SoftDeleted => "ProtectionStopped",
        Protection::Suspended => "BackupsSuspended",
    };
    let mut properties = Map::new();
    let mut put = |name: &str, value: Value| properties.insert(name.to_owned(), value);
    if !item.without_source {
        put("friendlyName", friendly.into());
        put("virtualMachineId", item.vm.as_str().into());
    }
    put("protectionStatus", if failing.is_some() { "Unhealthy" } else { "Healthy" }.into());
    put("protectionState", state.into());
    let derived = if failing.is_some() { "ActionRequired" } else { "Passed" };
    put("healthStatus", item.reported.as_ref().map_or(derived, |reported| reported.status.as_str()).into());
    if let Some(reported) = &item.reported {
        put("healthDetails", json!(reported.details));
    } else if let Some(error) = failing {
        put(
            "healthDetails",
            json!([{ "code": error.code, "title": error.title, "message": error.text, "recommendations": error.recommendations }]),
        );
    }
    put("lastBackupStatus", item.last_backup_status.as_str().into());
    put("lastBackupTime", item.last_backup_time.map_or_else(|| "2001-01-01T00:00:00Z".to_owned(), stamp_z).into());
    put("protectedItemDataId", digits_from(item.id.key()).to_string().into());
    put("sourceSideScanning", 0.into());
    if extended {
        put("extendedInfo", extended_info(world, item));
    }
    put("protectedItemType", "Microsoft.Compute/virtualMachines".into());
    put("backupManagementType", "AzureIaasVM".into());
    put("workloadType", "VM".into());
    put("containerName", short_container.into());
    if !item.without_source {
        put("sourceResourceId", item.vm.as_str().into());
    }
    if let Some(newest) = item.recovery_points.iter().map(|r| r.time).max() {
        put("lastRecoveryPoint", stamp_z(newest).into());
    }
    put("policyId", item.policy.as_ref().map(ResourceId::as_str).unwrap_or_default().into());
    put("policyName", item.policy.as_ref().map(ResourceId::name).unwrap_or_default().into());
    if item.protection == Protection::SoftDeleted {
        put("isScheduledForDeferredDelete", true.into());
        put("deferredDeleteTimeInUTC", stamp_z(world.now).into());
        put("deferredDeleteTimeRemaining", "13.23:59:42.8656002".into());
        put("isDeferredDeleteScheduleUpcoming", false.into());
    }
    put("vaultId", format!("{base}{}", vault.as_ref().map(ResourceId::as_str).unwrap_or_default()).into());
    put("isArchiveEnabled", false.into());
    // Recorded under this name (the contract says `softDeleteRetentionPeriodInDays`): 0 but for a soft-deleted item.
    let kept = if item.protection == Protection::SoftDeleted { 14 } else { 0 };
    put("softDeleteRetentionPeriod", kept.into());
    json!({
        "id": item.id, "name": item.id.name(),
        "type": "Microsoft.RecoveryServices/vaults/backupFabrics/protectionContainers/protectedItems", "properties": properties
    })
}

fn extended_info(world: &World, item: &Item) -> Value {
    let times = || item.recovery_points.iter().map(|r| r.time);
    let mut info = json!({
        "recoveryPointCount": item.recovery_points.len(),
        "policyInconsistent": item.policy.as_ref().is_some_and(|p| world.policy(p).is_none())
    });
    if let (Some(oldest), Some(info)) = (times().min(), info.as_object_mut()) {
        info.insert("oldestRecoveryPoint".into(), stamp_z(oldest).into());
    }
    info
}

/// `backupProtectedItems`: the items of a vault in any state, soft-deleted ones too.
pub(crate) fn items(world: &World, call: &Call, vault: &ResourceId) -> Answer {
    only_get(call)?;
    access::guard(world, call, "Microsoft.RecoveryServices/Vaults/backupProtectedItems/read", vault)?;
    known(world, vault)?;
    for (name, value) in filter_terms(call)? {
        if name == "backupmanagementtype" && !value.eq_ignore_ascii_case("AzureIaasVM") {
            return page(world, call, Vec::new());
        }
    }
    let rows = world
        .items
        .iter()
        .filter(|i| vault.covers(&i.id))
        .map(|i| item_json(world, i, &call.base, call.expands("extendedinfo")))
        .collect();
    page(world, call, rows)
}

const READ_ITEM: &str = "Microsoft.RecoveryServices/Vaults/backupFabrics/protectionContainers/protectedItems/read";

pub(crate) fn item(world: &World, call: &Call, id: &ResourceId) -> Answer {
    only_get(call)?;
    access::guard(world, call, READ_ITEM, id)?;
    Ok(Response::json(200, &item_json(world, known_item(world, id)?, &call.base, call.expands("extendedinfo"))))
}

/// The item, or 404 in Recovery Services' words.
pub(crate) fn known_item<'a>(world: &'a World, id: &ResourceId) -> Result<&'a Item, Box<Response>> {
    if let Some(vault) = id.up_to("vaults") {
        known(world, &vault)?;
    }
    world.item(id).ok_or_else(|| {
        error_response(404, "BMSUserErrorObjectNotFound", &format!("Object '{}' not found in the vault.", id.name()))
    })
}

/// A tier's word, or its number as older api-versions send it. Words without a number stay words.
fn tier_word(numeric: bool, numbers: &[&str], word: &str) -> Value {
    let number = numbers.iter().position(|known| known.eq_ignore_ascii_case(word)).map(|at| at + 1);
    match number.filter(|_| numeric) {
        Some(number) => number.into(),
        // An estate may ask for a number that means nothing.
        None => word.parse::<i64>().map_or_else(|_| word.into(), Into::into),
    }
}

fn recovery_point_json(world: &World, item: &Item, point: &RecoveryPoint) -> Value {
    let numeric = world.settings.numeric_tiers;
    let tier = |(kind, status): &(String, String)| {
        json!({
            "type": tier_word(numeric, &["InstantRP", "HardenedRP", "ArchivedRP"], kind),
            "status": tier_word(numeric, &["Valid", "Disabled", "Deleted", "Rehydrated"], status)
        })
    };
    let tiers: Vec<Value> = point.tiers.iter().map(tier).collect();
    json!({
        "id": format!("{}/recoveryPoints/{}", item.id, point.name), "name": point.name,
        "type": "Microsoft.RecoveryServices/vaults/backupFabrics/protectionContainers/protectedItems/recoveryPoints",
        "properties": {
            "objectType": "IaasVMRecoveryPoint", "recoveryPointType": point.consistency, "recoveryPointTime": stamp_z(point.time),
            "recoveryPointAdditionalInfo": "", "sourceVMStorageType": "PremiumVMOnPartialPremiumStorage", "isSourceVMEncrypted": false,
            "isInstantIlrSessionActive": point.ilr_session, "recoveryPointTierDetails": tiers, "isManagedVirtualMachine": true,
            "virtualMachineSize": "Standard_D2s_v5", "originalStorageAccountOption": false, "osType": "Windows"
        }
    })
}

const READ_POINTS: &str =
    "Microsoft.RecoveryServices/Vaults/backupFabrics/protectionContainers/protectedItems/recoveryPoints/read";

/// `recoveryPoints`, newest first; honours `startDate` and `endDate` of the filter.
pub(crate) fn recovery_points(world: &World, call: &Call, item_id: &ResourceId) -> Answer {
    only_get(call)?;
    access::guard(world, call, READ_POINTS, item_id)?;
    let item = known_item(world, item_id)?;
    let (mut from, mut to) = (None, None);
    for (name, value) in filter_terms(call)? {
        let time = parse_filter_time(&value);
        match name.as_str() {
            "startdate" => from = time,
            "enddate" => to = time,
            _ => {}
        }
    }
    let mut points: Vec<&RecoveryPoint> = item
        .recovery_points
        .iter()
        .filter(|p| from.is_none_or(|from| p.time >= from) && to.is_none_or(|to| p.time <= to))
        .collect();
    points.sort_by_key(|p| std::cmp::Reverse(p.time));
    page(world, call, points.into_iter().map(|p| recovery_point_json(world, item, p)).collect())
}

pub(crate) fn recovery_point(world: &World, call: &Call, item_id: &ResourceId, name: &str) -> Answer {
    only_get(call)?;
    access::guard(world, call, READ_POINTS, item_id)?;
    let item = known_item(world, item_id)?;
    let point = item.recovery_points.iter().find(|p| p.name == name);
    let point = point.ok_or_else(|| {
        error_response(404, "BMSUserErrorRecoveryPointNotFound", &format!("Recovery point '{name}' was not found."))
    })?;
    Ok(Response::json(200, &recovery_point_json(world, item, point)))
}

pub(crate) fn policy_json(world: &World, policy: &Policy) -> Value {
    let (hours, minutes) = (policy.time_of_day / 3600 % 24, policy.time_of_day / 60 % 60);
    let time = format!("2024-05-13T{hours:02}:{minutes:02}:00Z");
    let mut names = Map::new();
    if let Some(prefix) = &policy.prefix {
        names.insert("azureBackupRGNamePrefix".into(), prefix.as_str().into());
    }
    if let Some(suffix) = &policy.suffix {
        names.insert("azureBackupRGNameSuffix".into(), suffix.as_str().into());
    }
    let schedule = match (policy.enhanced, policy.every_hours) {
        (false, _) => {
            json!({ "schedulePolicyType": "SimpleSchedulePolicy", "scheduleRunFrequency": "Daily", "scheduleRunTimes": [time],
            "scheduleWeeklyFrequency": 0 })
        }
        (true, 0) => json!({ "schedulePolicyType": "SimpleSchedulePolicyV2", "scheduleRunFrequency": "Daily",
            "dailySchedule": { "scheduleRunTimes": [time] } }),
        (true, every) => json!({ "schedulePolicyType": "SimpleSchedulePolicyV2", "scheduleRunFrequency": "Hourly",
            "hourlySchedule": { "interval": every, "scheduleWindowStartTime": time, "scheduleWindowDuration": 24 } }),
    };
    let (schedule, zone) = match &policy.schedule {
        Some(exact) => (exact_schedule(policy.enhanced, exact), exact.time_zone.as_str()),
        None => (schedule, "UTC"),
    };
    let mut properties = json!({
        "backupManagementType": "AzureIaasVM", "instantRPDetails": names, "schedulePolicy": schedule,
        "retentionPolicy": { "retentionPolicyType": "LongTermRetentionPolicy", "dailySchedule": { "retentionTimes": [time],
            "retentionDuration": { "count": policy.vault_days, "durationType": "Days" } } },
        "instantRpRetentionRangeInDays": policy.snapshot_days, "timeZone": zone,
        "protectedItemsCount": world.items.iter().filter(|i| i.policy.as_ref() == Some(&policy.id)).count()
    });
    // V1 policies come without the field
    if policy.enhanced
        && let Some(properties) = properties.as_object_mut()
    {
        properties.insert("policyType".into(), "V2".into());
    }
    json!({ "id": policy.id, "name": policy.id.name(), "type": "Microsoft.RecoveryServices/vaults/backupPolicies", "properties": properties })
}

fn exact_schedule(enhanced: bool, exact: &crate::world::ExactSchedule) -> Value {
    let times: Vec<String> = exact.times.iter().map(|time| format!("2024-05-13T{time}:00Z")).collect();
    let (mut lists, frequency) = (json!({ "scheduleRunTimes": times }), exact.frequency.as_str());
    if !exact.days.is_empty() {
        lists["scheduleRunDays"] = json!(exact.days);
    }
    if frequency.eq_ignore_ascii_case("Hourly") {
        lists = json!({ "interval": exact.interval_hours, "scheduleWindowStartTime": times.first(),
            "scheduleWindowDuration": exact.window_hours });
    }
    // V1 keeps its lists at the top, V2 under the frequency's name.
    if enhanced {
        let mut out = json!({ "schedulePolicyType": "SimpleSchedulePolicyV2", "scheduleRunFrequency": frequency });
        out[format!("{}Schedule", frequency.to_lowercase())] = lists;
        return out;
    }
    lists["schedulePolicyType"] = "SimpleSchedulePolicy".into();
    lists["scheduleRunFrequency"] = frequency.into();
    lists["scheduleWeeklyFrequency"] = 0.into();
    lists
}

const READ_POLICIES: &str = "Microsoft.RecoveryServices/Vaults/backupPolicies/read";

pub(crate) fn policies(world: &World, call: &Call, vault: &ResourceId) -> Answer {
    only_get(call)?;
    access::guard(world, call, READ_POLICIES, vault)?;
    known(world, vault)?;
    let rows = world.policies.iter().filter(|p| vault.covers(&p.id)).map(|p| policy_json(world, p)).collect();
    page(world, call, rows)
}

pub(crate) fn policy(world: &World, call: &Call, id: &ResourceId) -> Answer {
    only_get(call)?;
    access::guard(world, call, READ_POLICIES, id)?;
    let policy = world.policy(id);
    let policy = policy.ok_or_else(|| {
        error_response(404, "BMSUserErrorPolicyNotFound", &format!("Policy '{}' was not found.", id.name()))
    })?;
    Ok(Response::json(200, &policy_json(world, policy)))
}

/// `locations/{region}/backupStatus`: which vault protects a VM. Needs its permission at the subscription.
pub(crate) fn backup_status(world: &World, call: &Call, subscription: &ResourceId) -> Answer {
    if call.method != Method::POST {
        return Err(not_allowed(call));
    }
    access::guard(world, call, "Microsoft.RecoveryServices/locations/backupStatus/action", subscription)?;
    let text = call.body.get("resourceId").and_then(Value::as_str).unwrap_or_default();
    let vm = ResourceId::parse(text).map_err(|_| {
        error_response(400, "BMSUserErrorInvalidInput", "Input provided for the call is invalid: resourceId.")
    })?;
    let item = world
        .items
        .iter()
        .find(|i| i.vm == vm && !i.without_source && !matches!(i.protection, Protection::SoftDeleted));
    // As recorded: a VM without protection is told the names it would have, in lower case; no error code either way.
    let mut body = json!({ "protectionStatus": "NotProtected", "fabricName": "Azure", "protectedItemsCount": 0,
        "objectType": "BackupStatusResponse" });
    let group = vm.resource_group().unwrap_or_default();
    let mut container = format!("iaasvmcontainer;iaasvmcontainerv2;{group};{}", vm.name());
    let mut name = format!("vm;iaasvmcontainerv2;{group};{}", vm.name());
    if let Some(item) = item {
        container = item.id.segment("protectionContainers").unwrap_or_default().to_owned();
        name = item.id.name().to_owned();
        body["protectionStatus"] = "Protected".into();
        body["vaultId"] = json!(item.vault());
        body["policyName"] = item.policy.as_ref().map(ResourceId::name).unwrap_or_default().into();
    }
    body["containerName"] = container.to_lowercase().into();
    body["protectedItemName"] = name.to_lowercase().into();
    let mut response = Response::json(200, &body);
    set_header(&mut response, "x-ms-ratelimit-remaining-subscription-resource-requests", "149");
    Ok(response)
}
