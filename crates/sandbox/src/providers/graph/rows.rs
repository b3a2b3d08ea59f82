//! The tables of Resource Graph, made from the world.
//!
//! Every row is the JSON of the ARM route for the same resource, so that both ways of collecting agree; types, locations
//! and group names are in lower case, as the published examples have them. What Resource Graph has beside ARM: the power
//! state of a VM under `properties.extended.instanceView` (its samples). Jobs go back 14 days ("query your backups"). As
//! in the lists of vaults there are no security settings; whether Azure's rows have them is not known.
//!
//! Rows that the caller may not read are left out in silence.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::{Value, json};

use super::eval::Row;
use super::parse::{Compare, Expr, Function, Operator, Query, Step, Table};
use super::value::{Kind, Val};
use crate::access;
use crate::call::Call;
use crate::providers::compute;
use crate::providers::jobs;
use crate::providers::resources;
use crate::providers::restore_points;
use crate::providers::vaults;
use crate::world::{Job, World};
use azmend_arm::id::ResourceId;
use azmend_base::clock::earlier;

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

/// What the first `where`s of a query ask of every row: rows that cannot pass are not made. A row that is made is asked
/// again by the evaluator, so a predicate that is not understood here costs time only.
struct Asked<'a>(Vec<&'a Expr>);

impl<'a> Asked<'a> {
    fn of(query: &'a Query) -> Self {
        let mut out = Vec::new();
        for operator in &query.operators {
            match operator {
                Operator::Where(Expr::All(parts)) => out.extend(parts),
                Operator::Where(one) => out.push(one),
                // Behind anything else a column may be another one.
                _ => break,
            }
        }
        Self(out)
    }

    /// Whether a text at this path can pass.
    fn may_be(&self, column: &str, property: &[&str], text: &str) -> bool {
        let same = |expr: &Expr| {
            let inner = match expr {
                Expr::Call(Function::ToString, given) => given.first(),
                other => Some(other),
            };
            let Some(Expr::Path(name, steps)) = inner else { return false };
            let named = |(step, wanted): (&Step, &&str)| matches!(step, Step::Name(name) if name == wanted);
            name == column && steps.len() == property.len() && steps.iter().zip(property).all(named)
        };
        let like = |other: &Expr, fold: bool| match other {
            Expr::Literal(Val::Text(wanted)) if fold => wanted.to_lowercase() == text.to_lowercase(),
            Expr::Literal(Val::Text(wanted)) => wanted == text,
            _ => true,
        };
        self.0.iter().all(|expr| match expr {
            Expr::Compare(Compare::Like, left, right) if same(left) => like(right, true),
            Expr::Compare(Compare::NotLike, left, right) if same(left) => {
                !matches!(&**right, Expr::Literal(Val::Text(wanted)) if wanted.to_lowercase() == text.to_lowercase())
            }
            Expr::In(value, list, fold) if same(value) => list.iter().any(|one| like(one, *fold)),
            _ => true,
        })
    }

    fn kind(&self, kind: &str) -> bool {
        self.may_be("type", &[], kind)
    }

    fn job(&self, world: &World, job: &Job) -> bool {
        let property = |name, text| self.may_be("properties", &[name], text);
        property("status", job.status_word())
            && property("operation", &job.operation)
            && property("entityFriendlyName", jobs::friendly_name(world, job))
    }
}

/// The rows of a table in these subscriptions (lower-case GUIDs) that the caller may read and that the query can want.
pub(super) fn rows(world: &World, call: &Call, query: &Query, subscriptions: &[String]) -> Vec<Row> {
    let asked = Asked::of(query);
    let subscriptions: HashSet<&str> = subscriptions.iter().map(String::as_str).collect();
    // Keys are in lower case: `/subscriptions/{guid}/...`.
    let inside = |id: &ResourceId| id.key().split('/').nth(2).is_some_and(|guid| subscriptions.contains(guid));
    let seen = |id: &ResourceId, kind: &str| inside(id) && access::allowed(world, &format!("{kind}/read"), id);
    let mut out = Vec::new();
    let mut push = |id: &ResourceId, kind: &str, json: &dyn Fn() -> Value| {
        if seen(id, kind) {
            out.push(row(world, id, kind, json()));
        }
    };
    match query.table {
        Table::Resources => {
            let [of_vm, of_extension, of_disk] = ["virtualmachines", "virtualmachines/extensions", "disks"]
                .map(|name| format!("microsoft.compute/{name}"));
            let [vms, extensions, disks] = [&of_vm, &of_extension, &of_disk].map(|kind| asked.kind(kind));
            for vm in world.vms.iter().filter(|vm| (vms || extensions || disks) && inside(&vm.id)) {
                if vms {
                    push(&vm.id, &of_vm, &|| compute::graph_vm(world, vm));
                }
                for (id, json) in compute::graph_extensions(vm).into_iter().filter(|_| extensions) {
                    push(&id, &of_extension, &|| json.clone());
                }
                if disks {
                    for (id, json) in crate::providers::surroundings::graph_disks(vm) {
                        push(&id, &of_disk, &|| json.clone());
                    }
                }
            }
            let kind = "microsoft.compute/restorepointcollections";
            for found in world.collections.iter().filter(|_| asked.kind(kind)) {
                push(&found.id, kind, &|| restore_points::collection_json(found, false));
            }
            let kind = "microsoft.recoveryservices/vaults";
            for vault in world.vaults.iter().filter(|_| asked.kind(kind)) {
                push(&vault.id, kind, &|| vaults::vault_row(vault));
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
            for group in world.groups.iter().filter(|group| asked.kind(kind) && seen(&group.id, kind)) {
                out.push(row(world, &group.id, kind, resources::group_json(group)));
            }
        }
        Table::RecoveryServices => {
            let kind = "microsoft.recoveryservices/vaults/backupfabrics/protectioncontainers/protecteditems";
            for item in world.items.iter().filter(|_| asked.kind(kind)) {
                push(&item.id, kind, &|| vaults::item_json(world, item, &call.base, false));
            }
            let kind = "microsoft.recoveryservices/vaults/backuppolicies";
            for policy in world.policies.iter().filter(|_| asked.kind(kind)) {
                push(&policy.id, kind, &|| vaults::policy_json(world, policy));
            }
            let oldest = earlier(world.now, JOBS);
            let kind = "microsoft.recoveryservices/vaults/backupjobs";
            let jobs = asked.kind(kind);
            let wanted = |job: &&Job| jobs && job.started >= oldest && inside(&job.item) && asked.job(world, job);
            for job in world.jobs.iter().filter(wanted) {
                if let Some(id) = job.id() {
                    push(&id, kind, &|| jobs::job_json(world, job, false));
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
