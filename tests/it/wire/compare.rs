//! A model against the JSON it was read from, by tables of what stands where.
//!
//! The tables are written from the published contracts, not from the reading code: a field that `FromWire` looks for in
//! the wrong place shows as a difference.

use azmend::arm::model::FromWire;
use jiff::Timestamp;
use jiff::civil::DateTime;
use serde::Serialize;
use serde_json::Value;

/// Where a field of a model stands in Azure's JSON.
pub enum Field {
    /// The same text at one of these places; empty when it is at none.
    Text(&'static str, &'static [&'static str]),
    /// The same id, but for slashes at the ends.
    Id(&'static str, &'static str),
    Int(&'static str, &'static str),
    Flag(&'static str, &'static str),
    /// `isUserTriggered`, else whether the job's own GET names an expiry.
    OnDemand(&'static str),
    /// `false` when it is not sent.
    FlagOrFalse(&'static str, &'static str),
    /// The same moment; null for a placeholder.
    Time(&'static str, &'static str),
    Texts(&'static str, &'static str),
    /// A list of objects, each by its own table.
    List(&'static str, &'static str, &'static [Self]),
    /// An object; null when it is not sent.
    Part(&'static str, &'static str, &'static [Self]),
}

use Field::{Flag, FlagOrFalse, Id, Int, List, OnDemand, Part, Text, Texts, Time};

const STATUS: &[Field] = &[
    Text("code", &["/code"]),
    Text("level", &["/level"]),
    Text("display", &["/displayStatus"]),
    Text("message", &["/message"]),
    Time("time", "/time"),
];
const LOCATION: Field = Text("location", &["/location"]);
const STATE: Field = Text("provisioning_state", &["/properties/provisioningState"]);

pub const VM: &[Field] = &[
    Id("id", "/id"),
    LOCATION,
    Text("vm_id", &["/properties/vmId"]),
    STATE,
    Text("os_type", &["/properties/storageProfile/osDisk/osType"]),
];
pub const INSTANCE_VIEW: &[Field] = &[
    List("statuses", "/statuses", STATUS),
    Part("agent", "/vmAgent", &[Text("version", &["/vmAgentVersion"]), Part("status", "/statuses/0", STATUS)]),
    List(
        "handlers",
        "/vmAgent/extensionHandlers",
        &[Text("kind", &["/type"]), Text("version", &["/typeHandlerVersion"]), Part("status", "/status", STATUS)],
    ),
    List(
        "extensions",
        "/extensions",
        &[
            Text("name", &["/name"]),
            Text("kind", &["/type"]),
            Text("version", &["/typeHandlerVersion"]),
            List("statuses", "/statuses", STATUS),
        ],
    ),
];
pub const EXTENSION: &[Field] = &[
    Id("id", "/id"),
    Text("publisher", &["/properties/publisher"]),
    Text("kind", &["/properties/type"]),
    Text("version", &["/properties/typeHandlerVersion"]),
    STATE,
    Text("message", &["/properties/instanceView/statuses/0/message"]),
];
pub const POINT: &[Field] = &[
    Id("id", "/id"),
    Time("created", "/properties/timeCreated"),
    STATE,
    Text("consistency", &["/properties/consistencyMode"]),
    Text("vm_id", &["/properties/sourceMetadata/vmId"]),
    Text("copied_from", &["/properties/sourceRestorePoint/id"]),
];
pub const COLLECTION: &[Field] = &[
    Id("id", "/id"),
    LOCATION,
    Text("source", &["/properties/source/id"]),
    Text("collection_id", &["/properties/restorePointCollectionId"]),
    STATE,
    List("points", "/properties/restorePoints", POINT),
];
pub const LOCK: &[Field] =
    &[Id("id", "/id"), Text("level", &["/properties/level"]), Text("notes", &["/properties/notes"])];
pub const GROUP: &[Field] = &[Id("id", "/id"), LOCATION, Text("managed_by", &["/managedBy"])];
pub const SUBSCRIPTION: &[Field] = &[
    Text("id", &["/subscriptionId"]),
    Text("name", &["/displayName"]),
    Text("state", &["/state"]),
    Text("tenant", &["/tenantId"]),
];
pub const VAULT: &[Field] = &[
    Id("id", "/id"),
    LOCATION,
    Text("immutability", &["/properties/securitySettings/immutabilitySettings/state"]),
    Text("multi_user_authorization", &["/properties/securitySettings/multiUserAuthorization"]),
];
pub const BACKUP_STATUS: &[Field] = &[
    Text("protection_status", &["/protectionStatus"]),
    Text("vault_id", &["/vaultId"]),
    Text("container", &["/containerName"]),
    Text("item", &["/protectedItemName"]),
    Text("policy", &["/policyName"]),
    Text("error_code", &["/errorCode"]),
];
pub const ITEM: &[Field] = &[
    Id("id", "/id"),
    Text("source", &["/properties/sourceResourceId", "/properties/virtualMachineId"]),
    Text("policy_id", &["/properties/policyId"]),
    Text("protection_state", &["/properties/protectionState"]),
    Text("health", &["/properties/healthStatus"]),
    List(
        "health_details",
        "/properties/healthDetails",
        &[Int("code", "/code"), Text("title", &["/title"]), Text("message", &["/message"])],
    ),
    Text("last_backup_status", &["/properties/lastBackupStatus"]),
    Time("last_backup_time", "/properties/lastBackupTime"),
    FlagOrFalse("soft_deleted", "/properties/isScheduledForDeferredDelete"),
];
pub const RECOVERY_POINT: &[Field] = &[
    Id("id", "/id"),
    Time("time", "/properties/recoveryPointTime"),
    Text("consistency", &["/properties/recoveryPointType"]),
    List("tiers", "/properties/recoveryPointTierDetails", &[Text("kind", &["/type"]), Text("status", &["/status"])]),
    Flag("file_recovery_active", "/properties/isInstantIlrSessionActive"),
];
pub const POLICY: &[Field] = &[
    Id("id", "/id"),
    Int("snapshot_days", "/properties/instantRpRetentionRangeInDays"),
    Text("group_prefix", &["/properties/instantRPDetails/azureBackupRGNamePrefix"]),
    Text("group_suffix", &["/properties/instantRPDetails/azureBackupRGNameSuffix"]),
    Text("time_zone", &["/properties/timeZone"]),
];
pub const JOB: &[Field] = &[
    Id("id", "/id"),
    Text("operation", &["/properties/operation"]),
    Text("status", &["/properties/status"]),
    Time("start", "/properties/startTime"),
    Time("end", "/properties/endTime"),
    Text("vm_name", &["/properties/entityFriendlyName"]),
    Text("container", &["/properties/containerName"]),
    OnDemand("user_triggered"),
    Text("dynamic_error", &["/properties/extendedInfo/dynamicErrorMessage"]),
    List(
        "errors",
        "/properties/errorDetails",
        &[
            Int("code", "/errorCode"),
            Text("title", &["/errorTitle"]),
            Text("text", &["/errorString"]),
            Texts("recommendations", "/recommendations"),
        ],
    ),
    List("tasks", "/properties/extendedInfo/tasksList", &[Text("id", &["/taskId"]), Text("status", &["/status"])]),
];

/// Reads the model and compares it.
pub fn check<T: FromWire + Serialize>(raw: &Value, fields: &[Field]) -> Result<Value, String> {
    let model = T::from_wire(raw).map_err(|why| why.to_string())?;
    let model = serde_json::to_value(model).map_err(|error| error.to_string())?;
    let mut lost = Vec::new();
    compare(&model, raw, fields, "", &mut lost);
    if lost.is_empty() { Ok(model) } else { Err(lost.join("; ")) }
}

fn words(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::Bool(flag)) => flag.to_string(),
        _ => String::new(),
    }
}

fn known(value: Option<&Value>) -> Option<&Value> {
    value.filter(|value| !value.is_null())
}

/// The moment a text means; an offset is honoured, no zone is UTC, and the year 1 is no moment.
fn moment(text: &str) -> Option<Timestamp> {
    let at = match text.parse::<Timestamp>() {
        Ok(at) => at,
        Err(_) => jiff::tz::Offset::UTC.to_timestamp(text.parse::<DateTime>().ok()?).ok()?,
    };
    // Two placeholders were recorded: the year 1, and 2001 for "never backed up".
    (at.as_second() > -62_000_000_000 && text != "2001-01-01T00:00:00Z").then_some(at)
}

pub fn compare(model: &Value, raw: &Value, fields: &[Field], at: &str, lost: &mut Vec<String>) {
    for field in fields {
        let (name, expected, found): (&str, String, String) = match field {
            Text(name, places) => {
                let sent = places.iter().map(|place| words(raw.pointer(place))).find(|text| !text.is_empty());
                (*name, sent.unwrap_or_default(), words(model.get(*name)))
            }
            Id(name, place) => {
                let sent = words(raw.pointer(place));
                (*name, sent.trim_matches('/').to_owned(), words(model.get(*name)).trim_matches('/').to_owned())
            }
            Int(name, place) => {
                let sent = known(raw.pointer(place)).map_or_else(String::new, |value| words(Some(value)));
                let found = words(model.get(*name));
                // A code that is not sent is 0 or null.
                if sent.is_empty() && found == "0" {
                    continue;
                }
                (*name, sent, found)
            }
            Flag(name, place) => (*name, words(known(raw.pointer(place))), words(known(model.get(*name)))),
            OnDemand(name) => {
                let flag = words(known(raw.pointer("/properties/isUserTriggered")));
                let bag = raw.pointer("/properties/extendedInfo/propertyBag");
                let expiry = words(bag.and_then(|bag| bag.get("Recovery Point Expiry Time in UTC")));
                let sent = if flag.is_empty() && !expiry.is_empty() { "true".to_owned() } else { flag };
                (*name, sent, words(known(model.get(*name))))
            }
            FlagOrFalse(name, place) => {
                let sent = words(known(raw.pointer(place)));
                (*name, if sent.is_empty() { "false".to_owned() } else { sent }, words(model.get(*name)))
            }
            Time(name, place) => {
                let sent = words(raw.pointer(place));
                let show = |at: Option<Timestamp>| at.map_or_else(String::new, |at| at.to_string());
                if !sent.is_empty() && moment(&sent).is_none() && !sent.contains("01-01-01T00:00:00") {
                    lost.push(format!("{at}{name}: {sent:?} is not understood as a time"));
                }
                (*name, show(moment(&sent)), show(moment(&words(model.get(*name)))))
            }
            Texts(name, place) => {
                let sent = raw.pointer(place).cloned().filter(Value::is_array).unwrap_or_else(|| Value::Array(vec![]));
                (*name, sent.to_string(), words_of(model.get(*name)))
            }
            List(name, place, of) => {
                let none = Vec::new();
                let sent = raw.pointer(place).and_then(Value::as_array).unwrap_or(&none);
                let found = model.get(*name).and_then(Value::as_array).unwrap_or(&none);
                for (index, (found, sent)) in found.iter().zip(sent).enumerate() {
                    compare(found, sent, of, &format!("{at}{name}[{index}]."), lost);
                }
                (*name, sent.len().to_string(), found.len().to_string())
            }
            Part(name, place, of) => {
                let (sent, found) = (known(raw.pointer(place)), known(model.get(*name)));
                if let (Some(sent), Some(found)) = (sent, found) {
                    compare(found, sent, of, &format!("{at}{name}."), lost);
                } else if let Some(sent) = sent {
                    lost.push(format!("{at}{name}: {sent} was sent and nothing was read"));
                }
                continue;
            }
        };
        if expected != found {
            lost.push(format!("{at}{name}: sent {expected:?}, read {found:?}"));
        }
    }
}

fn words_of(value: Option<&Value>) -> String {
    value.map_or_else(|| "[]".to_owned(), Value::to_string)
}
