//! Management locks: the API. They are enforced by [`crate::access`].
//!
//! A lock blocks its scope and everything below; it also blocks the deletion of what contains it. Deleting a lock answers
//! 200 with an empty body (as recorded), but the lock is enforced for a while longer, and its GET may flip between 404
//! and 200 meanwhile: deletion is eventually consistent. A lock with owners can be deleted by them alone.

use serde_json::{Value, json};

use crate::access;
use crate::call::{Answer, Call, error_response, gateway_error, not_allowed, page};
use crate::world::ids;
use crate::world::{Lingering, Lock, LockLevel, World};
use azmend_arm::http::{Method, Response};
use azmend_arm::id::ResourceId;
use azmend_base::clock::later;

fn json_of(lock: &Lock) -> Value {
    let mut properties = serde_json::Map::new();
    properties.insert("level".into(), lock.level.as_str().into());
    if let Some(notes) = &lock.notes {
        properties.insert("notes".into(), notes.as_str().into());
    }
    if !lock.owners.is_empty() {
        let owners: Vec<Value> = lock.owners.iter().map(|id| json!({ "applicationId": id })).collect();
        properties.insert("owners".into(), Value::Array(owners));
    }
    json!({ "properties": properties, "id": lock.id, "type": "Microsoft.Authorization/locks", "name": lock.id.name() })
}

/// The list at a scope: at, above and below; with `$filter=atScope()` at and above only.
pub(crate) fn list(world: &World, call: &Call, scope: &ResourceId) -> Answer {
    if call.method != Method::GET {
        return Err(not_allowed(call));
    }
    access::guard(world, call, "Microsoft.Authorization/locks/read", scope)?;
    let at_scope = call.param("$filter").is_some_and(|f| f.replace(' ', "").eq_ignore_ascii_case("atscope()"));
    let rows = world
        .locks
        .iter()
        .filter(|lock| lock.id.scope().is_some_and(|at| at.covers(scope) || (!at_scope && scope.covers(&at))))
        .filter(|lock| access::allowed(world, "Microsoft.Authorization/locks/read", &lock.id))
        .map(json_of)
        .collect();
    page(world, call, rows)
}

/// One lock: GET, PUT, DELETE.
pub(crate) fn one(world: &mut World, call: &Call, scope: &ResourceId) -> Answer {
    let id = call.whole_id()?;
    match call.method {
        Method::GET => get(world, call, &id),
        Method::PUT => put(world, call, &id, scope),
        Method::DELETE => delete(world, call, &id),
        _ => Err(not_allowed(call)),
    }
}

fn not_found(id: &ResourceId) -> Box<Response> {
    error_response(404, "LockNotFound", &format!("The lock '{}' could not be found.", id.name()))
}

fn get(world: &mut World, call: &Call, id: &ResourceId) -> Answer {
    access::guard(world, call, "Microsoft.Authorization/locks/read", id)?;
    if let Some(lock) = world.locks.iter().find(|l| l.id == *id) {
        return Ok(Response::json(200, &json_of(lock)));
    }
    let (now, flapping) = (world.now, world.settings.lock_flapping);
    if flapping && let Some(ghost) = world.lingering.iter_mut().find(|l| l.lock.id == *id && l.until > now) {
        ghost.reads += 1;
        if ghost.reads.is_multiple_of(2) {
            return Ok(Response::json(200, &json_of(&ghost.lock)));
        }
    }
    Err(not_found(id))
}

fn put(world: &mut World, call: &Call, id: &ResourceId, scope: &ResourceId) -> Answer {
    access::guard(world, call, "Microsoft.Authorization/locks/write", id)?;
    if scope.key().contains("/providers/") && !ids::exists(world, scope) {
        return Err(crate::call::resource_not_found(scope));
    }
    let bad = |message: &str| error_response(400, "InvalidRequestContent", message);
    let properties = call.body.get("properties").and_then(Value::as_object).ok_or_else(|| {
        bad("The request content was invalid and could not be deserialized: 'properties' is required.")
    })?;
    let level = match properties.get("level").and_then(Value::as_str).unwrap_or_default() {
        level if level.eq_ignore_ascii_case("CanNotDelete") => LockLevel::CanNotDelete,
        level if level.eq_ignore_ascii_case("ReadOnly") => LockLevel::ReadOnly,
        other => {
            return Err(error_response(
                400,
                "LockLevelNotSupported",
                &format!("The lock level '{other}' is not supported. Supported levels are 'CanNotDelete, ReadOnly'."),
            ));
        }
    };
    let notes = properties.get("notes").and_then(Value::as_str).map(str::to_owned);
    if notes.as_ref().is_some_and(|n| n.chars().count() > 512) {
        return Err(bad("The lock notes are longer than 512 characters."));
    }
    let owners = properties.get("owners").and_then(Value::as_array).map(|list| {
        list.iter().filter_map(|o| o.get("applicationId").and_then(Value::as_str).map(str::to_owned)).collect()
    });
    let lock = Lock { id: id.clone(), level, notes, owners: owners.unwrap_or_default() };
    let status = if world.locks.iter().any(|l| l.id == *id) { 200 } else { 201 };
    let body = json_of(&lock);
    world.put_lock(lock);
    Ok(Response::json(status, &body))
}

fn delete(world: &mut World, call: &Call, id: &ResourceId) -> Answer {
    access::guard(world, call, "Microsoft.Authorization/locks/delete", id)?;
    let Some(place) = world.locks.iter().position(|l| l.id == *id) else { return Ok(Response::empty(204)) };
    let owners = &world.locks[place].owners;
    if !owners.is_empty() && !owners.contains(&world.caller) {
        // Nobody but an owner, whatever their role (MicrosoftDocs/azure-docs#22411: status, code and words).
        return Err(gateway_error(
            401,
            "UnauthorizedApplicationId",
            &format!(
                "The management lock '{}' is owned by system application(s) '{}'. Please see https://aka.ms/arm-lock for detail.",
                id.name(),
                owners.join(",")
            ),
        ));
    }
    let lock = world.locks.remove(place);
    let until = later(world.now, std::time::Duration::from_secs(world.settings.lock_release_delay));
    world.lingering.push(Lingering { lock, until, reads: 0 });
    Ok(Response::empty(200))
}
