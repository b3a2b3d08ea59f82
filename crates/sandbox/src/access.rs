//! Who may do what: the caller's permissions, deny assignments, management locks, and the guard in front of every handler.
//!
//! Order as at ARM's front door: subscription, deny assignment, permission, resource group, locks; the resource itself comes last.
//! Lists are filtered row by row in silence, as Azure does (rule S12 exists because of it).

use serde_json::{Value, json};

use crate::call::{Answer, Call, gateway_error, page};
use crate::world::{Lock, LockLevel, World};
use azmend_arm::http::{Method, Response};
use azmend_arm::id::ResourceId;

/// Whether a pattern of a role (`*`, `Microsoft.Compute/*/read`) matches an action.
pub(crate) fn matches(pattern: &str, action: &str) -> bool {
    let (pattern, action) = (pattern.to_lowercase(), action.to_lowercase());
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| action.strip_prefix(first)) else { return false };
    let Some(last) = pattern.contains('*').then(|| pattern.rsplit('*').next().unwrap_or_default()) else {
        return rest.is_empty();
    };
    let middle: Vec<&str> = parts.collect();
    for part in middle.iter().take(middle.len().saturating_sub(1)) {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

fn scope_covers(scope: &str, id: &ResourceId) -> bool {
    let scope = scope.trim_end_matches('/').to_lowercase();
    id.key() == scope || id.key().strip_prefix(&scope).is_some_and(|rest| rest.starts_with('/'))
}

/// Whether the caller's permissions allow the action at this id.
pub(crate) fn allowed(world: &World, action: &str, id: &ResourceId) -> bool {
    let granted = world.permissions.iter().filter(|p| scope_covers(&p.scope, id)).any(|p| {
        p.actions.iter().any(|pattern| matches(pattern, action))
            && !p.not_actions.iter().any(|pattern| matches(pattern, action))
    });
    granted && denied(world, action, id).is_none()
}

fn denied<'a>(world: &'a World, action: &str, id: &ResourceId) -> Option<&'a crate::world::DenyAssignment> {
    world.denies.iter().find(|d| {
        d.scope.covers(id)
            && d.actions.iter().any(|pattern| matches(pattern, action))
            && !d.not_actions.iter().any(|pattern| matches(pattern, action))
    })
}

/// Whether the subscription is one that the caller can see at all.
pub(crate) fn check_subscription(world: &World, id: &ResourceId) -> Result<(), Box<Response>> {
    let guid = id.subscription();
    if world.subscription(guid).is_some_and(|s| s.listed) {
        return Ok(());
    }
    Err(gateway_error(404, "SubscriptionNotFound", &format!("The subscription '{guid}' could not be found.")))
}

/// Refuses a request the caller may not make, or that a lock blocks.
pub(crate) fn guard(world: &World, call: &Call, action: &str, id: &ResourceId) -> Result<(), Box<Response>> {
    check_subscription(world, id)?;
    let client = &world.caller;
    if let Some(deny) = denied(world, action, id) {
        return Err(gateway_error(
            403,
            "DenyAssignmentAuthorizationFailed",
            &format!(
                "The client '{client}' with object id '{client}' has permission to perform action '{action}' on scope '{id}'; however, the \
                 access is denied because of the deny assignment with name '{}' and Id '{}' at scope '{}'.",
                deny.title,
                deny.name.replace('-', ""),
                deny.scope
            ),
        ));
    }
    if !allowed(world, action, id) {
        return Err(gateway_error(
            403,
            "AuthorizationFailed",
            &format!(
                "The client '{client}' with object id '{client}' does not have authorization to perform action '{action}' over scope '{id}' \
                 or the scope is invalid. If access was recently granted, please refresh your credentials."
            ),
        ));
    }
    check_group(world, id)?;
    enforce(world, call, id)
}

/// 404 `ResourceGroupNotFound` when the id is in a group that is not there.
pub(crate) fn check_group(world: &World, id: &ResourceId) -> Result<(), Box<Response>> {
    match id.group_id() {
        Some(group) if world.group(&group).is_none() => Err(gateway_error(
            404,
            "ResourceGroupNotFound",
            &format!("Resource group '{}' could not be found.", group.name()),
        )),
        _ => Ok(()),
    }
}

/// Refuses a list at a scope; a list at a subscription is allowed to anyone who can see it, for its rows are filtered.
pub(crate) fn guard_list(world: &World, call: &Call, action: &str, scope: &ResourceId) -> Result<(), Box<Response>> {
    if scope.resource_group().is_none() { check_subscription(world, scope) } else { guard(world, call, action, scope) }
}

/// `GET {scope}/providers/Microsoft.Authorization/permissions`.
pub(crate) fn list_permissions(world: &World, call: &Call, scope: &ResourceId) -> Answer {
    check_subscription(world, scope)?;
    check_group(world, scope)?;
    let rows = world
        .permissions
        .iter()
        .filter(|p| scope_covers(&p.scope, scope))
        .map(|p| json!({ "actions": p.actions, "notActions": p.not_actions, "dataActions": [], "notDataActions": [] }))
        .collect();
    page(world, call, rows)
}

/// `GET {scope}/providers/Microsoft.Authorization/denyAssignments`.
pub(crate) fn list_denies(world: &World, call: &Call, scope: &ResourceId) -> Answer {
    guard(world, call, "Microsoft.Authorization/denyAssignments/read", scope)?;
    let rows: Vec<Value> = world
        .denies
        .iter()
        .filter(|d| d.scope.covers(scope) || scope.covers(&d.scope))
        .map(|d| {
            json!({
                "id": format!("{}/providers/Microsoft.Authorization/denyAssignments/{}", d.scope, d.name),
                "name": d.name,
                "type": "Microsoft.Authorization/denyAssignments",
                "properties": {
                    "denyAssignmentName": d.title,
                    "scope": d.scope,
                    "doNotApplyToChildScopes": false,
                    "isSystemProtected": d.system_protected,
                    "permissions": [{ "actions": d.actions, "notActions": d.not_actions, "dataActions": [], "notDataActions": [] }],
                    "principals": [{ "id": "00000000-0000-0000-0000-000000000000", "type": "SystemDefined" }],
                    "excludePrincipals": []
                }
            })
        })
        .collect();
    page(world, call, rows)
}

/// Refuses a request that a lock blocks: 409 `ScopeLocked` in the words recorded in errors/exchanges/scope-locked.
pub(crate) fn enforce(world: &World, call: &Call, id: &ResourceId) -> Result<(), Box<Response>> {
    if !call.is_mutating() || id.resource_type().starts_with("microsoft.authorization/") {
        return Ok(());
    }
    let deleting = call.method == Method::DELETE;
    let mut scopes: Vec<ResourceId> = Vec::new();
    for (lock, scope) in enforced(world) {
        let above = scope.covers(id);
        let below = deleting && id.covers(&scope);
        let blocks = if deleting { above || below } else { above && lock.level == LockLevel::ReadOnly };
        if blocks && !scopes.contains(&scope) {
            scopes.push(scope);
        }
    }
    if scopes.is_empty() {
        return Ok(());
    }
    let verb = if deleting { "delete" } else { "write" };
    Err(gateway_error(409, "ScopeLocked", &refusal(id.as_str(), verb, &scopes)))
}

/// Azure's words for what a lock refuses.
pub(crate) fn refusal(id: &str, verb: &str, scopes: &[ResourceId]) -> String {
    let scopes: Vec<&str> = scopes.iter().map(ResourceId::as_str).collect();
    format!(
        "The scope '{id}' cannot perform {verb} operation because following scope(s) are locked: '{}'. Please remove the lock and try again.",
        scopes.join(",")
    )
}

/// Locks that are enforced now, with their scopes: those that stand and those that linger.
fn enforced(world: &World) -> impl Iterator<Item = (&Lock, ResourceId)> {
    let lingering = world.lingering.iter().filter(|l| l.until > world.now).map(|l| &l.lock);
    world.locks.iter().chain(lingering).filter_map(|lock| lock.id.scope().map(|scope| (lock, scope)))
}

/// The lock that keeps Azure Backup from deleting (or, when `writing`, from making) something below `id`.
pub(crate) fn blocking<'a>(world: &'a World, id: &ResourceId, writing: bool) -> Option<&'a Lock> {
    enforced(world)
        .find(|(lock, scope)| scope.covers(id) && (!writing || lock.level == LockLevel::ReadOnly))
        .map(|(lock, _)| lock)
}
