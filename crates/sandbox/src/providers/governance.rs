//! Policy assignments with what they assign, and the activity log: what azmend reads of them to say who makes locks.
//!
//! Shapes: the activity log as in the examples of `ActivityLogs_List`. The contract of policies was not at hand: the fields are
//! those of the Azure documentation of their structure. Nothing is evaluated here; an estate says what there is.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::access;
use crate::call::{Answer, Call, error_response, gateway_error, not_allowed, page};
use crate::world::World;
use crate::world::governance::{Activity, PolicyAssigned};
use azmend_arm::http::{Method, Response};
use azmend_arm::id::ResourceId;
use azmend_base::clock::earlier;

const DEFINITIONS: &str = "/providers/Microsoft.Authorization/policyDefinitions";
const SETS: &str = "/providers/Microsoft.Authorization/policySetDefinitions";

/// `{subscription}/providers/Microsoft.Authorization/policyAssignments`.
pub(crate) fn assignments(world: &World, call: &Call, scope: &ResourceId) -> Answer {
    if call.method != Method::GET {
        return Err(not_allowed(call));
    }
    access::guard(world, call, "Microsoft.Authorization/policyAssignments/read", scope)?;
    let concerns =
        |one: &&PolicyAssigned| ResourceId::parse(&one.scope).map_or(true, |at| at.covers(scope) || scope.covers(&at));
    let rows = world.policies_assigned.iter().filter(concerns).map(|one| {
        let definition = match &one.initiative {
            Some(set) => format!("{SETS}/{set}"),
            None => format!("{DEFINITIONS}/{}", one.name),
        };
        let parameters = if one.by_parameter { json!({ "effect": { "value": one.effect } }) } else { json!({}) };
        json!({
            "id": format!("{}/providers/Microsoft.Authorization/policyAssignments/{}", one.scope, one.name),
            "name": one.name,
            "type": "Microsoft.Authorization/policyAssignments",
            "properties": {
                "displayName": one.name, "scope": one.scope, "notScopes": one.not_scopes,
                "policyDefinitionId": definition, "parameters": parameters,
                "enforcementMode": if one.enforced { "Default" } else { "DoNotEnforce" }
            }
        })
    });
    page(world, call, rows.collect())
}

/// `/providers/Microsoft.Authorization/policyDefinitions/{name}`.
pub(crate) fn definition(world: &World, call: &Call, name: &str) -> Answer {
    may(world, call, "Microsoft.Authorization/policyDefinitions/read")?;
    let found = world.policies_assigned.iter().find(|one| one.name.eq_ignore_ascii_case(name) && !one.lost);
    let one = found.ok_or_else(|| missing("PolicyDefinitionNotFound", "policy definition", name))?;
    let effect = if one.by_parameter { "[parameters('effect')]" } else { &one.effect };
    let parameters = if one.by_parameter { json!({ "effect": { "type": "String" } }) } else { json!({}) };
    let body = json!({
        "id": format!("{DEFINITIONS}/{}", one.name), "name": one.name, "type": "Microsoft.Authorization/policyDefinitions",
        "properties": {
            "displayName": one.name, "policyType": "Custom", "mode": "All", "parameters": parameters,
            "policyRule": {
                "if": { "field": "type", "equals": "Microsoft.Resources/subscriptions/resourceGroups" },
                "then": { "effect": effect, "details": { "type": one.kind } }
            }
        }
    });
    Ok(Response::json(200, &body))
}

/// `/providers/Microsoft.Authorization/policySetDefinitions/{name}`.
pub(crate) fn set(world: &World, call: &Call, name: &str) -> Answer {
    may(world, call, "Microsoft.Authorization/policySetDefinitions/read")?;
    let within = |one: &&PolicyAssigned| one.initiative.as_deref().is_some_and(|set| set.eq_ignore_ascii_case(name));
    let members: Vec<Value> = world
        .policies_assigned
        .iter()
        .filter(within)
        .map(|one| {
            let given = json!({ "effect": { "value": "[parameters('effect')]" } });
            let parameters = if one.by_parameter { given } else { json!({}) };
            json!({ "policyDefinitionId": format!("{DEFINITIONS}/{}", one.name), "parameters": parameters })
        })
        .collect();
    if members.is_empty() {
        return Err(missing("PolicySetDefinitionNotFound", "policy set definition", name));
    }
    let body = json!({
        "id": format!("{SETS}/{name}"), "name": name, "type": "Microsoft.Authorization/policySetDefinitions",
        "properties": { "displayName": name, "policyType": "Custom", "policyDefinitions": members }
    });
    Ok(Response::json(200, &body))
}

/// Whoever may read it in some subscription: what is the tenant's is readable to all who can read there.
fn may(world: &World, call: &Call, action: &str) -> Result<(), Box<Response>> {
    if call.method != Method::GET {
        return Err(not_allowed(call));
    }
    let here = |one: &crate::world::Subscription| {
        ResourceId::subscription_scope(&one.id).is_ok_and(|scope| access::allowed(world, action, &scope))
    };
    if world.subscriptions.iter().any(here) {
        return Ok(());
    }
    let why = format!("The client does not have authorization to perform action '{action}'.");
    Err(gateway_error(403, "AuthorizationFailed", &why))
}

fn missing(code: &str, kind: &str, name: &str) -> Box<Response> {
    error_response(404, code, &format!("The {kind} '{name}' could not be found."))
}

/// `{subscription}/providers/Microsoft.Insights/eventtypes/management/values`.
pub(crate) fn activity(world: &World, call: &Call, scope: &ResourceId) -> Answer {
    if call.method != Method::GET {
        return Err(not_allowed(call));
    }
    access::guard(world, call, "Microsoft.Insights/eventtypes/values/read", scope)?;
    let filter = call.param("$filter").unwrap_or_default();
    let value = |name: &str| filter.split_once(name).and_then(|(_, rest)| rest.split('\'').nth(1));
    let (from, until) = (value("eventTimestamp ge"), value("eventTimestamp le"));
    let times = from.and_then(|at| at.parse::<Timestamp>().ok()).zip(until.and_then(|at| at.parse().ok()));
    let bad = |why: &str| Box::new(Response::json(400, &json!({ "code": "BadRequest", "message": why })));
    let (from, until) = times.ok_or_else(|| bad("The start time and the end time are required."))?;
    if from < earlier(world.now, std::time::Duration::from_secs(90 * 86_400)) {
        return Err(bad("The start time cannot be more than 90 days in the past."));
    }
    let group = value("resourceGroupName eq");
    let wanted = |one: &&Activity| {
        let here =
            group.is_none_or(|group| one.resource.resource_group().is_some_and(|own| own.eq_ignore_ascii_case(group)));
        scope.covers(&one.resource) && here && one.at >= from && one.at <= until
    };
    let rows = world.activity.iter().filter(wanted).map(|one| {
        let word = |text: &str| json!({ "value": text, "localizedValue": text });
        json!({
            "caller": one.caller, "operationName": word(&one.operation), "status": word("Succeeded"),
            "resourceId": one.resource, "eventTimestamp": one.at, "level": "Informational",
            "resourceGroupName": one.resource.resource_group()
        })
    });
    page(world, call, rows.collect())
}
