//! The tables of Resource Graph, made from the world.
//!
//! Every row is the JSON of the ARM route for the same resource, so that both ways of collecting agree; types, locations
//! and group names are in lower case, as the published examples have them. What Resource Graph has beside ARM: the power
//! state of a VM under `properties.extended.instanceView` (its samples). Jobs go back 14 days ("query your backups"). As
//! in the lists of vaults there are no security settings; whether Azure's rows have them is not known.
//!
//! Rows that the caller may not read are left out in silence.

use std::time::Duration;

use serde_json::{Value, json};

use super::eval::Row;
use super::parse::Table;
use super::value::{Kind, Val};
use crate::arm::id::ResourceId;
use crate::clock::earlier;
use crate::sim::wire::Call;
use crate::sim::world::World;
use crate::sim::{collections, compute, job_routes, rbac, resources, vaults};

/// The columns of every table ("query language": properties of the tables).
pub(super) const COLUMNS: &[(&str, Kind)] = &[
    ("id", Kind::Text),
    ("name", Kind::Text),
    ("type", Kind::Text),
    ("tenantId", Kind::Text),
    ("kind", Kind::Text),
    ("location", Kind::Text),
    ("resourceGroup", Kind::Text),
    ("subscriptionId", Kind::Text),
    ("managedBy", Kind::Text),
    ("sku", Kind::Dynamic),
    ("plan", Kind::Dynamic),
    ("properties", Kind::Dynamic),
    ("tags", Kind::Dynamic),
    ("identity", Kind::Dynamic),
    ("zones", Kind::Dynamic),
    ("extendedLocation", Kind::Dynamic),
];

/// How far back jobs go.
const JOBS: Duration = Duration::from_secs(14 * 86_400);

/// The rows of a table in these subscriptions (lower-case GUIDs) that the caller may read.
pub(super) fn rows(world: &World, call: &Call, table: Table, subscriptions: &[String]) -> Vec<Row> {
    let inside = |id: &ResourceId| subscriptions.iter().any(|guid| id.subscription().eq_ignore_ascii_case(guid));
    let seen = |id: &ResourceId, kind: &str| inside(id) && rbac::allowed(world, &format!("{kind}/read"), id);
    let mut out = Vec::new();
    let mut push = |id: &ResourceId, kind: &str, json: &dyn Fn() -> Value| {
        if seen(id, kind) {
            out.push(row(world, id, kind, json()));
        }
    };
    match table {
        Table::Resources => {
            for vm in &world.vms {
                push(&vm.id, "microsoft.compute/virtualmachines", &|| compute::graph_vm(world, vm));
                for (id, json) in compute::graph_extensions(vm) {
                    push(&id, "microsoft.compute/virtualmachines/extensions", &|| json.clone());
                }
                for (id, json) in super::super::around::graph_disks(vm) {
                    push(&id, "microsoft.compute/disks", &|| json.clone());
                }
            }
            for found in &world.collections {
                let kind = "microsoft.compute/restorepointcollections";
                push(&found.id, kind, &|| collections::collection_json(found, false));
            }
            for vault in &world.vaults {
                push(&vault.id, "microsoft.recoveryservices/vaults", &|| vaults::vault_row(vault));
            }
            for other in &world.others {
                let json = || json!({ "location": other.location, "properties": {} });
                push(&other.id, &other.id.resource_type(), &json);
            }
        }
        Table::Containers => {
            for subscription in &world.subscriptions {
                // Seen at all: that was decided with the scope.
                if let Ok(id) = ResourceId::subscription_scope(&subscription.id)
                    && inside(&id)
                {
                    let json = json!({ "name": subscription.name, "properties": { "state": "Enabled" } });
                    out.push(row(world, &id, "microsoft.resources/subscriptions", json));
                }
            }
            let kind = "microsoft.resources/subscriptions/resourcegroups";
            for group in world.groups.iter().filter(|group| seen(&group.id, kind)) {
                out.push(row(world, &group.id, kind, resources::group_json(group)));
            }
        }
        Table::RecoveryServices => {
            for item in &world.items {
                let kind = "microsoft.recoveryservices/vaults/backupfabrics/protectioncontainers/protecteditems";
                push(&item.id, kind, &|| vaults::item_json(world, item, &call.base, false));
            }
            for policy in &world.policies {
                let kind = "microsoft.recoveryservices/vaults/backuppolicies";
                push(&policy.id, kind, &|| vaults::policy_json(world, policy));
            }
            let oldest = earlier(world.now, JOBS);
            for job in world.jobs.iter().filter(|job| job.started >= oldest) {
                if let Some(id) = job.id() {
                    let kind = "microsoft.recoveryservices/vaults/backupjobs";
                    push(&id, kind, &|| job_routes::job_json(world, job, false));
                }
            }
        }
    }
    out
}

/// A row of the common columns.
fn row(world: &World, id: &ResourceId, kind: &str, mut json: Value) -> Row {
    let mut take = |name: &str| json.get_mut(name).map(Value::take).unwrap_or_default();
    let text = |value: Value| Val::Text(value.as_str().unwrap_or_default().to_owned());
    COLUMNS
        .iter()
        .map(|(name, of)| {
            let value = match *name {
                "id" => Val::Text(id.as_str().to_owned()),
                "name" => match take("name") {
                    Value::String(name) => Val::Text(name),
                    _ => Val::Text(id.name().to_owned()),
                },
                "type" => Val::Text(kind.to_lowercase()),
                "tenantId" => Val::Text(world.tenant.clone()),
                "location" => Val::Text(take("location").as_str().unwrap_or_default().to_lowercase()),
                "resourceGroup" => Val::Text(id.resource_group().unwrap_or_default().to_lowercase()),
                "subscriptionId" => Val::Text(id.subscription().to_owned()),
                name if *of == Kind::Text => text(take(name)),
                name => Val::Dynamic(take(name)),
            };
            ((*name).to_owned(), value)
        })
        .collect()
}
