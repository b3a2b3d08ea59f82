//! Microsoft.Authorization/locks 2020-05-01, always addressed by scope.
//!
//! Invariants: those of [`super`]: a name reaches a URL only through a [`ResourceId`], a list holds all pages, a change is sent
//! exactly once.

use azure_mgmt_resources::package_locks_2020_05 as locks;
use serde_json::json;

use super::bridge::{Exchange, ask, client, first};
use crate::arm::Arm;
use crate::error::ArmError;
use crate::http::Tag;
use crate::id::ResourceId;
use crate::listing::Listing;
use crate::model::Lock;
use crate::poll::Sent;

/// Scope (as the builders want it, without the leading slash) and name of a lock.
fn address(id: &ResourceId) -> Result<(String, String), ArmError> {
    let wrong = || ArmError::refused(id.as_str(), "it is not a lock");
    if !id.is_type("Microsoft.Authorization/locks") {
        return Err(wrong());
    }
    let scope = id.scope().ok_or_else(wrong)?;
    Ok((scope.as_str().trim_start_matches('/').to_owned(), id.name().to_owned()))
}

impl Arm {
    /// The locks at, above and below a scope.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn locks(&self, scope: &ResourceId) -> Result<Listing<Lock>, ArmError> {
        self.list_locks(scope, false).await
    }

    /// The locks at or above a scope.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn locks_at(&self, scope: &ResourceId) -> Result<Listing<Lock>, ArmError> {
        self.list_locks(scope, true).await
    }

    async fn list_locks(&self, scope: &ResourceId, at_scope: bool) -> Result<Listing<Lock>, ArmError> {
        let exchange = ask(&self.gateway, None, |seam| {
            let mut call =
                client!(seam, locks)?.management_locks_client().list_by_scope(scope.as_str().trim_start_matches('/'));
            if at_scope {
                call = call.filter("atScope()");
            }
            Ok(first(call.into_stream()))
        });
        exchange.await?.pages(&self.gateway).await
    }

    /// One lock.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered.
    pub async fn lock(&self, id: &ResourceId) -> Result<Lock, ArmError> {
        let (scope, name) = address(id)?;
        let exchange = ask(&self.gateway, None, |seam| {
            Ok(client!(seam, locks)?.management_locks_client().get_by_scope(scope, name).send())
        });
        let exchange = exchange.await?;
        let lock: Lock = exchange.one()?;
        if lock.id != *id {
            let why = format!("it was asked about {}, and the answer is about {}", id.name(), lock.id);
            return Err(ArmError::malformed(&exchange.request.summary(), &why));
        }
        Ok(lock)
    }

    /// Deletes a lock.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered; it was sent at most once.
    pub async fn delete_lock(&self, id: &ResourceId, tag: &Tag) -> Result<Sent, ArmError> {
        let (scope, name) = address(id)?;
        let exchange = ask(&self.gateway, Some(tag.client_request_id), |seam| {
            Ok(client!(seam, locks)?.management_locks_client().delete_by_scope(scope, name).send())
        });
        Ok(exchange.await?.sent(&self.gateway, id))
    }

    /// Creates a lock, or overwrites the one of that name: the engine reads before it sends. Azure answers with the lock that
    /// is in force now; a 2xx that says anything else is not its answer, and what became of the request is not known.
    ///
    /// # Errors
    /// [`ArmError`] as Azure answered; it was sent at most once.
    pub async fn put_lock(&self, lock: &Lock, tag: &Tag) -> Result<Sent, ArmError> {
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
        let exchange = ask(&self.gateway, Some(tag.client_request_id), |seam| {
            Ok(client!(seam, locks)?.management_locks_client().create_or_update_by_scope(scope, name, body).send())
        });
        let exchange = exchange.await?;
        let sent = exchange.sent(&self.gateway, &lock.id);
        if matches!(sent, Sent::Done { .. }) && !shows(&exchange, lock) {
            let why = "the answer to a lock that was written is not that lock";
            return Err(ArmError::malformed(&exchange.request.summary(), why));
        }
        Ok(sent)
    }
}

/// Whether an answer shows a lock of this level. What it says beyond that is read afterwards.
fn shows(exchange: &Exchange, lock: &Lock) -> bool {
    let body: Result<serde_json::Value, _> = serde_json::from_slice(&exchange.response.body);
    let level = body.ok().and_then(|body| Some(body.pointer("/properties/level")?.as_str()?.to_owned()));
    level.is_some_and(|level| level.eq_ignore_ascii_case(&lock.level))
}
