//! Microsoft.Authorization/locks 2020-05-01, always addressed by scope.

use azure_mgmt_resources::package_locks_2020_05 as locks;
use serde_json::json;
use uuid::Uuid;

use super::bridge::{ask, client, first};
use crate::api::{Listing, Sent};
use crate::error::ArmError;
use crate::gateway::Gateway;
use crate::id::ResourceId;
use crate::model::Lock;

/// Scope (as the builders want it, without the leading slash) and name of a lock.
fn address(id: &ResourceId) -> Result<(String, String), ArmError> {
    let wrong = || ArmError::refused(id.as_str(), "it is not a lock");
    if !id.is_type("Microsoft.Authorization/locks") {
        return Err(wrong());
    }
    let scope = id.scope().ok_or_else(wrong)?;
    Ok((scope.as_str().trim_start_matches('/').to_owned(), id.name().to_owned()))
}

/// Locks at, above and below a scope; with `at_scope` only those at or above it.
pub async fn list(gateway: &Gateway, scope: &ResourceId, at_scope: bool) -> Result<Listing<Lock>, ArmError> {
    let exchange = ask(gateway, None, |seam| {
        let mut call =
            client!(seam, locks)?.management_locks_client().list_by_scope(scope.as_str().trim_start_matches('/'));
        if at_scope {
            call = call.filter("atScope()");
        }
        Ok(first(call.into_stream()))
    });
    exchange.await?.pages(gateway).await
}

/// One lock.
pub async fn get(gateway: &Gateway, id: &ResourceId) -> Result<Lock, ArmError> {
    let (scope, name) = address(id)?;
    let exchange =
        ask(gateway, None, |seam| Ok(client!(seam, locks)?.management_locks_client().get_by_scope(scope, name).send()));
    exchange.await?.one()
}

/// Deletes a lock.
pub async fn delete(gateway: &Gateway, id: &ResourceId, tag: Uuid) -> Result<Sent, ArmError> {
    let (scope, name) = address(id)?;
    let exchange = ask(gateway, Some(tag), |seam| {
        Ok(client!(seam, locks)?.management_locks_client().delete_by_scope(scope, name).send())
    });
    Ok(exchange.await?.sent(gateway, id))
}

/// Creates a lock, or overwrites the one of that name: the engine reads before it sends.
pub async fn put(gateway: &Gateway, lock: &Lock, tag: Uuid) -> Result<Sent, ArmError> {
    let (scope, name) = address(&lock.id)?;
    // The generated level takes any text; Azure knows two that lock something.
    if !["CanNotDelete", "ReadOnly"].contains(&lock.level.as_str()) {
        return Err(ArmError::refused(lock.id.as_str(), &format!("{:?} is not the level of a lock", lock.level)));
    }
    let mut properties = json!({ "level": lock.level });
    if !lock.notes.is_empty() {
        properties["notes"] = json!(lock.notes);
    }
    if !lock.owners.is_empty() {
        properties["owners"] = lock.owners.iter().map(|owner| json!({ "applicationId": owner })).collect();
    }
    let body: locks::models::ManagementLockObject = serde_json::from_value(json!({ "properties": properties }))
        .map_err(|error| ArmError::refused(lock.id.as_str(), &format!("the lock cannot be written: {error}")))?;
    let exchange = ask(gateway, Some(tag), |seam| {
        Ok(client!(seam, locks)?.management_locks_client().create_or_update_by_scope(scope, name, body).send())
    });
    Ok(exchange.await?.sent(gateway, &lock.id))
}
