//! Microsoft.Compute: restore point collections and their points.
//!
//! Shapes from recordings/azure-cli/vm/test_restore_point_collection and spec-examples/restorePoint; a copy that is under way
//! from azure-sdk-for-net, RestorePointTests/CreateRpcAndRestorePoints (2021-11-01): the copy is Succeeded from its beginning,
//! its own GET with `$expand=instanceView` says "Replicating" and 0 %, and its source could be deleted meanwhile. Invented,
//! because never recorded: what a collection with many points does when its deletion times out (`deletes_needed`,
//! `deletes_per_call`: a part of the points goes, the operation ends Failed with `InternalExecutionError`, or never), 409
//! `Conflict` for a second DELETE of something that is being deleted, and what the source of an unfinished copy says of it.

use serde_json::{Value, json};

use crate::access;
use crate::call::{Answer, Call, error_response, not_allowed, page, resource_not_found, set_header, stamp_offset};
use crate::job_life;
use crate::operations;
use crate::world::{Collection, OpKind, Point, PointState, World};
use azmend_arm::http::{Method, Response};
use azmend_arm::id::ResourceId;

pub(crate) fn collection_json(collection: &Collection, with_points: bool) -> Value {
    // Azure returns the source in the case the creator wrote it: Azure Backup lower-cases the group.
    let mut properties = json!({
        "source": { "location": collection.location, "id": source_text(&collection.source) },
        "restorePointCollectionId": collection.collection_id,
        "provisioningState": if collection.deleting { "Deleting" } else { "Succeeded" }
    });
    if with_points && let Some(properties) = properties.as_object_mut() {
        let points = collection.points.iter().map(|p| point_json(collection, p)).collect();
        properties.insert("restorePoints".into(), Value::Array(points));
    }
    json!({
        "name": collection.id.name(), "id": collection.id, "type": "Microsoft.Compute/restorePointCollections",
        "location": collection.location, "tags": {}, "properties": properties
    })
}

fn source_text(source: &ResourceId) -> String {
    match source.resource_group() {
        Some(group) => source.as_str().replacen(group, &group.to_lowercase(), 1),
        None => source.as_str().to_owned(),
    }
}

fn upper_group(id: &ResourceId) -> String {
    match id.resource_group() {
        Some(group) => id.as_str().replacen(&format!("/{group}/"), &format!("/{}/", group.to_uppercase()), 1),
        None => id.as_str().to_owned(),
    }
}

fn point_json(collection: &Collection, point: &Point) -> Value {
    let state = match point.state {
        PointState::Succeeded => "Succeeded",
        PointState::Creating => "Creating",
        PointState::Deleting => "Deleting",
        PointState::Failed => "Failed",
    };
    let mut properties = json!({
        "sourceMetadata": {
            "vmId": point.vm_id,
            "location": collection.location,
            "hardwareProfile": { "vmSize": "Standard_D2s_v5" },
            "storageProfile": { "osDisk": { "osType": "Linux", "name": "osdisk", "caching": "ReadWrite",
                "diskRestorePoint": { "id": disk_point(collection, point) } },
                "dataDisks": [] },
            "hyperVGeneration": "V2"
        },
        "provisioningState": state,
        "consistencyMode": "ApplicationConsistent",
        "timeCreated": stamp_offset(point.created)
    });
    if collection.disk_gb != Some(0)
        && let Some(disk) = properties.pointer_mut("/sourceMetadata/storageProfile/osDisk")
    {
        disk["diskSizeGB"] = collection.disk_gb.unwrap_or(30).into();
    }
    if let (Some(from), Some(properties)) = (&point.copied_from, properties.as_object_mut()) {
        properties.insert("sourceRestorePoint".into(), json!({ "id": from }));
    }
    // No recorded point has a `type`.
    json!({ "name": point.name, "id": format!("{}/restorePoints/{}", collection.id, point.name), "properties": properties })
}

/// The instance view of a point. Azure documents it for a copy; that the source of an unfinished one shows it too is an
/// estate's wish.
fn instance_view(collection: &Collection, point: &Point) -> Value {
    if point.copied_from.is_none() && point.copying.is_none() {
        return json!({ "diskRestorePoints": [], "statuses": [] });
    }
    let (code, word) = match point.copying {
        Some(_) => ("ReplicationState/replicating", "Replicating"),
        None => ("ReplicationState/succeeded", "Succeeded"),
    };
    let status = json!({ "code": code, "level": "Info", "displayStatus": word });
    json!({
        "diskRestorePoints": [{
            "id": disk_point(collection, point),
            "replicationStatus": { "status": status, "completionPercent": point.copying.unwrap_or(100) }
        }],
        "statuses": [status]
    })
}

fn disk_point(collection: &Collection, point: &Point) -> String {
    format!("{}/restorePoints/{}/diskRestorePoints/osdisk", collection.id, point.name)
}

const READ: &str = "Microsoft.Compute/restorePointCollections/read";

/// The list of a subscription or a group; never with points.
pub(crate) fn list(world: &World, call: &Call, scope: &ResourceId) -> Answer {
    if call.method != Method::GET {
        return Err(not_allowed(call));
    }
    access::guard_list(world, call, READ, scope)?;
    let rows = world
        .collections
        .iter()
        .filter(|c| scope.covers(&c.id) && access::allowed(world, READ, &c.id))
        .map(|c| {
            let mut row = collection_json(c, false);
            if scope.resource_group().is_none() {
                // recorded: the list of a subscription has the group in upper case, the list of a group has not
                row["id"] = Value::String(upper_group(&c.id));
            }
            row
        })
        .collect();
    let mut response = page(world, call, rows)?;
    set_header(
        &mut response,
        "x-ms-ratelimit-remaining-resource",
        "Microsoft.Compute/HighCostGetRestorePointSubscriptionMaximum;149",
    );
    Ok(response)
}

fn conflict(id: &ResourceId) -> Box<Response> {
    error_response(
        409,
        "Conflict",
        &format!(
            "The request failed due to conflict with a concurrent request on '{}': it is being deleted.",
            id.name()
        ),
    )
}

/// Azure's refusal while somebody holds shared access to a disk restore point (restore-point-troubleshooting).
fn used_by_customer(name: &str) -> (String, String) {
    (
        "DiskRestorePointUsedByCustomer".into(),
        format!(
            "There is an active shared access signature outstanding for disk restore point of '{name}'. Call EndGetAccess before deleting it."
        ),
    )
}

/// `restorePointCollections/{name}`.
pub(crate) fn collection(world: &mut World, call: &Call, id: ResourceId) -> Answer {
    match call.method {
        Method::GET => {
            access::guard(world, call, READ, &id)?;
            let collection = world.collection(&id).ok_or_else(|| resource_not_found(&id))?;
            let mut response = Response::json(200, &collection_json(collection, call.expands("restorePoints")));
            set_header(
                &mut response,
                "x-ms-ratelimit-remaining-resource",
                "Microsoft.Compute/LowCostGetRestorePointSubscriptionMaximum;599",
            );
            Ok(response)
        }
        Method::DELETE => {
            access::guard(world, call, "Microsoft.Compute/restorePointCollections/delete", &id)?;
            let base = world.settings.collection_delete;
            let Some(collection) = world.collection_mut(&id) else { return Ok(Response::empty(204)) };
            if collection.deleting || collection.points.iter().any(|p| p.state == PointState::Deleting) {
                return Err(conflict(&id));
            }
            collection.deleting = true;
            for point in collection.points.iter_mut().filter(|p| p.state == PointState::Succeeded) {
                point.state = PointState::Deleting;
            }
            let seconds = base + 4 * collection.points.len() as u64;
            let location = collection.location.clone();
            let mut response = operations::begin_compute(world, call, OpKind::DeleteCollection, id, &location, seconds);
            set_header(
                &mut response,
                "x-ms-ratelimit-remaining-resource",
                "Microsoft.Compute/DeleteRestorePointSubscriptionMaximum;359",
            );
            Ok(response)
        }
        _ => Err(not_allowed(call)),
    }
}

/// How the deletion of a collection ends.
pub(crate) enum Ended {
    Done,
    Failed(String, String),
    /// It never ends, though a part of the points went.
    Hangs,
}

/// Puts a collection whose deletion did not happen back to what it was.
pub(crate) fn undo_deleting(collection: &mut Collection) {
    collection.deleting = false;
    for point in collection.points.iter_mut().filter(|p| p.state == PointState::Deleting) {
        point.state = PointState::Succeeded;
    }
}

/// The end of a collection's deletion.
pub(crate) fn end_collection_delete(world: &mut World, id: &ResourceId) -> Ended {
    let Some(collection) = world.collection_mut(id) else { return Ended::Done };
    if let Some(used) = collection.points.iter().find(|p| p.in_use).map(|p| p.name.clone()) {
        undo_deleting(collection);
        let (code, message) = used_by_customer(&used);
        return Ended::Failed(code, message);
    }
    let count = collection.points.len();
    let all_but_one = count.saturating_sub(1);
    let part = match collection.deletes_per_call {
        Some(each) if (each as usize) < count => Some(each as usize),
        None if collection.deletes_needed > 1 => {
            let part = count.div_ceil(collection.deletes_needed as usize).min(all_but_one);
            collection.deletes_needed -= 1;
            Some(part)
        }
        _ => None,
    };
    if let Some(part) = part {
        collection.points.sort_by_key(|p| p.created);
        collection.points.drain(..part);
        undo_deleting(collection);
        if collection.delete_hangs {
            return Ended::Hangs;
        }
        return Ended::Failed(
            "InternalExecutionError".into(),
            "An internal execution error occurred. Please retry later.".into(),
        );
    }
    world.collections.retain(|c| c.id != *id);
    job_life::collection_deleted(world, id);
    Ended::Done
}

/// `restorePointCollections/{name}/restorePoints/{point}`.
pub(crate) fn point(world: &mut World, call: &Call) -> Answer {
    let id = call.whole_id()?;
    let collection_id = id.up_to("restorePointCollections").ok_or_else(|| resource_not_found(&id))?;
    match call.method {
        Method::GET => {
            access::guard(world, call, "Microsoft.Compute/restorePointCollections/restorePoints/read", &id)?;
            let collection = world.collection(&collection_id).ok_or_else(|| resource_not_found(&collection_id))?;
            let found = collection
                .points
                .iter()
                .find(|p| p.name.eq_ignore_ascii_case(id.name()))
                .ok_or_else(|| resource_not_found(&id))?;
            let mut body = point_json(collection, found);
            if call.expands("instanceView") {
                body["properties"]["instanceView"] = instance_view(collection, found);
            }
            Ok(Response::json(200, &body))
        }
        Method::DELETE => {
            access::guard(world, call, "Microsoft.Compute/restorePointCollections/restorePoints/delete", &id)?;
            let seconds = world.settings.point_delete;
            let Some(collection) = world.collection_mut(&collection_id) else { return Ok(Response::empty(204)) };
            let location = collection.location.clone();
            let Some(found) = collection.points.iter_mut().find(|p| p.name.eq_ignore_ascii_case(id.name())) else {
                return Ok(Response::empty(204));
            };
            if found.state == PointState::Deleting {
                return Err(conflict(&id));
            }
            if found.in_use {
                let (code, message) = used_by_customer(&found.name);
                return Err(error_response(409, &code, &message));
            }
            found.state = PointState::Deleting;
            let mut response = operations::begin_compute(world, call, OpKind::DeletePoint, id, &location, seconds);
            set_header(
                &mut response,
                "x-ms-ratelimit-remaining-resource",
                "Microsoft.Compute/DeleteRestorePointSubscriptionMaximum;359",
            );
            Ok(response)
        }
        _ => Err(not_allowed(call)),
    }
}

/// The end of a point's deletion, or its undoing when it failed.
pub(crate) fn end_point_delete(world: &mut World, id: &ResourceId, happened: bool) {
    let Some(collection) = id.up_to("restorePointCollections").and_then(|c| world.collection_mut(&c)) else { return };
    if happened {
        collection.points.retain(|p| !(p.name.eq_ignore_ascii_case(id.name()) && p.state == PointState::Deleting));
    } else if let Some(point) = collection.points.iter_mut().find(|p| p.name.eq_ignore_ascii_case(id.name())) {
        point.state = PointState::Succeeded;
    }
}
