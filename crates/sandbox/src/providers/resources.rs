//! Tenants, subscriptions, resource groups, and the list of everything in a group.

use serde_json::{Value, json};

use crate::access;
use crate::call::{Answer, Call, gateway_error, not_allowed, page};
use crate::world::ids;
use crate::world::{Group, Subscription, World};
use azmend_arm::http::{Method, Response};
use azmend_arm::id::ResourceId;

fn subscription_json(world: &World, subscription: &Subscription) -> Value {
    json!({
        "id": format!("/subscriptions/{}", subscription.id),
        "authorizationSource": "RoleBased",
        "managedByTenants": [],
        "subscriptionId": subscription.id,
        "tenantId": world.tenant,
        "displayName": subscription.name,
        "state": "Enabled",
        "subscriptionPolicies": { "locationPlacementId": "Public_2014-09-01", "quotaId": "EnterpriseAgreement_2014-09-01", "spendingLimit": "Off" }
    })
}

pub(crate) fn tenants(world: &World, call: &Call) -> Answer {
    let row = json!({ "id": format!("/tenants/{}", world.tenant), "tenantId": world.tenant, "displayName": world.name, "tenantCategory": "Home" });
    page(world, call, vec![row])
}

pub(crate) fn subscriptions(world: &World, call: &Call) -> Answer {
    let rows = world
        .subscriptions
        .iter()
        .filter(|s| s.listed && can_see(world, s))
        .map(|s| subscription_json(world, s))
        .collect();
    page(world, call, rows)
}

/// A subscription is seen by whoever has any permission at it, above it or below it.
pub(crate) fn can_see(world: &World, subscription: &Subscription) -> bool {
    let scope = format!("/subscriptions/{}", subscription.id).to_lowercase();
    world.permissions.iter().any(|p| {
        let at = p.scope.trim_end_matches('/').to_lowercase();
        at.is_empty() || at == scope || at.starts_with(&format!("{scope}/"))
    })
}

pub(crate) fn subscription(world: &World, call: &Call) -> Answer {
    let id = call.id(2)?;
    access::check_subscription(world, &id)?;
    let found = world.subscription(id.subscription()).filter(|s| can_see(world, s));
    let Some(found) = found else {
        return Err(gateway_error(
            403,
            "AuthorizationFailed",
            &format!(
                "The client '{0}' with object id '{0}' does not have authorization to perform action \
                 'Microsoft.Resources/subscriptions/read' over scope '{id}' or the scope is invalid. If access was recently granted, please \
                 refresh your credentials.",
                world.caller
            ),
        ));
    };
    Ok(Response::json(200, &subscription_json(world, found)))
}

pub(crate) fn group_json(group: &Group) -> Value {
    let mut row = json!({
        "id": group.id,
        "name": group.id.name(),
        "type": "Microsoft.Resources/resourceGroups",
        "location": group.location,
        "properties": { "provisioningState": "Succeeded" }
    });
    if let (Some(by), Some(row)) = (&group.managed_by, row.as_object_mut()) {
        row.insert("managedBy".into(), by.as_str().into());
    }
    row
}

const READ_GROUP: &str = "Microsoft.Resources/subscriptions/resourceGroups/read";

pub(crate) fn groups(world: &World, call: &Call) -> Answer {
    let scope = call.id(2)?;
    access::check_subscription(world, &scope)?;
    let rows = world
        .groups
        .iter()
        .filter(|g| scope.covers(&g.id) && access::allowed(world, READ_GROUP, &g.id))
        .map(group_json)
        .collect();
    page(world, call, rows)
}

pub(crate) fn group(world: &World, call: &Call) -> Answer {
    let id = call.id(4)?;
    match call.method {
        Method::GET => {
            access::guard(world, call, READ_GROUP, &id)?;
            // guard has answered 404 already when the group is not there
            world.group(&id).map(|g| Response::json(200, &group_json(g))).ok_or_else(|| crate::call::unknown_path(call))
        }
        Method::HEAD => {
            access::check_subscription(world, &id)?;
            Ok(Response::empty(if world.group(&id).is_some() { 204 } else { 404 }))
        }
        _ => Err(not_allowed(call)),
    }
}

/// `/resourceGroups/{g}/resources` and `/subscriptions/{s}/resources`.
pub(crate) fn resources(world: &World, call: &Call, scope: &ResourceId) -> Answer {
    if call.method != Method::GET {
        return Err(not_allowed(call));
    }
    access::guard_list(world, call, READ_GROUP, scope)?;
    let wanted = call.param("$filter").and_then(|f| {
        let (left, right) = f.split_once(" eq ")?;
        left.trim().eq_ignore_ascii_case("resourceType").then(|| right.trim().trim_matches('\'').to_lowercase())
    });
    let rows = ids::all_resources(world)
        .into_iter()
        .filter(|(id, ..)| scope.covers(id))
        .filter(|(id, ..)| wanted.as_ref().is_none_or(|kind| id.resource_type() == *kind))
        .filter(|(id, ..)| access::allowed(world, &format!("{}/read", id.resource_type()), id))
        .map(|(id, kind, location)| {
            let kind = if kind.is_empty() { type_of(&id) } else { kind.to_owned() };
            let name = name_of(&id);
            json!({ "id": id, "name": name, "type": kind, "location": location })
        })
        .collect();
    page(world, call, rows)
}

/// The type in the case it stands in the id.
fn type_of(id: &ResourceId) -> String {
    let tail = id.as_str().rsplit_once("/providers/").map_or("", |(_, tail)| tail);
    let mut parts = tail.split('/');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for kind in parts.step_by(2) {
        out.push('/');
        out.push_str(kind);
    }
    out
}

/// A child's name in this list is `parent/child`.
fn name_of(id: &ResourceId) -> String {
    let tail = id.as_str().rsplit_once("/providers/").map_or("", |(_, tail)| tail);
    let names: Vec<&str> = tail.split('/').skip(2).step_by(2).collect();
    names.join("/")
}
