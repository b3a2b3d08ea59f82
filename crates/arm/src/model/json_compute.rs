//! Reading of Microsoft.Compute's resources (api-version 2024-07-01).

use serde_json::Value;

use super::json::{FromWire, Malformed, first_text, id, integer, object, objects, text, time};
use super::surroundings::interfaces;
use super::{Agent, AttachedDisk, Collection, Extension, ExtensionView, Handler, InstanceView, Point, Status, Vm};

impl FromWire for Vm {
    fn from_wire(value: &Value) -> Result<Self, Malformed> {
        let disk = value.pointer("/properties/storageProfile/osDisk");
        let has = |key: &str| disk.and_then(|disk| disk.get(key)).is_some_and(Value::is_object);
        Ok(Self {
            id: id(value)?,
            location: text(value, "/location"),
            vm_id: text(value, "/properties/vmId"),
            provisioning_state: text(value, "/properties/provisioningState"),
            os_type: text(value, "/properties/storageProfile/osDisk/osType"),
            // A page blob (`vhd`) and no managed disk is the only sure sign of an unmanaged VM.
            managed_disks: has("managedDisk") || !has("vhd"),
            size: text(value, "/properties/hardwareProfile/vmSize"),
            disks: AttachedDisk::all(value),
            interfaces: interfaces(value),
            encryption: super::keyvault::of_model(value),
        })
    }
}

fn status(value: &Value) -> Status {
    Status {
        code: text(value, "/code"),
        level: text(value, "/level"),
        display: text(value, "/displayStatus"),
        message: text(value, "/message"),
        time: time(value, "/time"),
    }
}

fn statuses(value: &Value, pointer: &str) -> Vec<Status> {
    objects(value, pointer).map(status).collect()
}

/// `GET {vm}/instanceView`, or the view inside `GET {vm}?$expand=instanceView`.
impl FromWire for InstanceView {
    fn from_wire(value: &Value) -> Result<Self, Malformed> {
        let view = object(value)?.pointer("/properties/instanceView").unwrap_or(value);
        let all = statuses(view, "/statuses");
        let power = all.iter().find_map(|status| {
            let (kind, state) = status.code.split_once('/')?;
            kind.eq_ignore_ascii_case("PowerState").then(|| state.to_owned())
        });
        let agent = view.get("vmAgent").filter(|agent| agent.is_object()).map(|agent| Agent {
            version: text(agent, "/vmAgentVersion"),
            status: statuses(agent, "/statuses").into_iter().next().unwrap_or_default(),
        });
        let handlers = objects(view, "/vmAgent/extensionHandlers").map(|handler| Handler {
            kind: text(handler, "/type"),
            version: text(handler, "/typeHandlerVersion"),
            status: handler.get("status").map(status).unwrap_or_default(),
        });
        let extensions = objects(view, "/extensions").map(|extension| ExtensionView {
            name: text(extension, "/name"),
            kind: text(extension, "/type"),
            version: text(extension, "/typeHandlerVersion"),
            statuses: statuses(extension, "/statuses"),
        });
        Ok(Self {
            power: power.unwrap_or_default(),
            statuses: all,
            agent,
            handlers: handlers.collect(),
            extensions: extensions.collect(),
            encryption: super::keyvault::of_view(view),
        })
    }
}

impl FromWire for Extension {
    fn from_wire(value: &Value) -> Result<Self, Malformed> {
        Ok(Self {
            id: id(value)?,
            publisher: text(value, "/properties/publisher"),
            kind: text(value, "/properties/type"),
            version: text(value, "/properties/typeHandlerVersion"),
            provisioning_state: text(value, "/properties/provisioningState"),
            message: first_text(value, &["/properties/instanceView/statuses/0/message"]),
            encryption: super::keyvault::of_extension(value),
        })
    }
}

impl FromWire for Collection {
    fn from_wire(value: &Value) -> Result<Self, Malformed> {
        let id = id(value)?;
        let points = match value.pointer("/properties/restorePoints") {
            None | Some(Value::Null) => None,
            Some(Value::Array(items)) => {
                let point = |item| {
                    let point = Point::from_wire(item)?;
                    // A point of another collection here would put its deletion outside of every guard.
                    if id.covers(&point.id) { Ok(point) } else { Err(Malformed(format!("{} is not in it", point.id))) }
                };
                let read: Result<Vec<_>, Malformed> = items.iter().map(point).collect();
                Some(read.map_err(|why| Malformed(format!("a restore point of {id} cannot be read: {why}")))?)
            }
            Some(_) => return Err(Malformed(format!("the restore points of {id} are not a list"))),
        };
        Ok(Self {
            location: text(value, "/location"),
            source: text(value, "/properties/source/id"),
            collection_id: text(value, "/properties/restorePointCollectionId"),
            provisioning_state: text(value, "/properties/provisioningState"),
            points,
            id,
        })
    }
}

/// How far a copy is that is not complete, by the instance view of its restore point; `None` when nothing is under way.
/// Published example: `status.code` `ReplicationState/succeeded` and `completionPercent` 100 for each disk. Every other
/// state, a failed one included, and every lower number is a copy that is not complete.
fn unfinished_copy(view: &Value) -> Option<u8> {
    let open = |code: &str| {
        let code = code.to_ascii_lowercase();
        code.strip_prefix("replicationstate/").is_some_and(|state| !state.starts_with("succeeded"))
    };
    let disks = objects(view, "/diskRestorePoints").filter_map(|disk| {
        let percent = integer(disk, "/replicationStatus/completionPercent");
        let unfinished = open(&text(disk, "/replicationStatus/status/code")) || percent.is_some_and(|now| now < 100);
        unfinished.then(|| u8::try_from(percent.unwrap_or_default().clamp(0, 99)).unwrap_or_default())
    });
    let whole = objects(view, "/statuses").filter(|status| open(&text(status, "/code"))).map(|_| 0);
    disks.min().or_else(|| whole.min())
}

impl FromWire for Point {
    fn from_wire(value: &Value) -> Result<Self, Malformed> {
        let id = id(value)?;
        if !id.is_type("Microsoft.Compute/restorePointCollections/restorePoints") {
            return Err(Malformed(format!("{id} is not a restore point")));
        }
        let view = value.pointer("/properties/instanceView").filter(|view| view.is_object());
        Ok(Self {
            id,
            created: time(value, "/properties/timeCreated"),
            provisioning_state: text(value, "/properties/provisioningState"),
            consistency: text(value, "/properties/consistencyMode"),
            vm_id: text(value, "/properties/sourceMetadata/vmId"),
            copied_from: text(value, "/properties/sourceRestorePoint/id"),
            copy_percent: view.and_then(unfinished_copy),
            with_view: view.is_some(),
        })
    }
}
