//! The queries over the sandbox, and rows as they should not be.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::arm::id::ResourceId;
use crate::arm::model::{Extension, Job, Policy, Vault};
use crate::arm::{ArmSettings, GraphRefusal, JobFilter, ReadOnly, ReadPost, StaticToken};
use crate::sim::{Estate, Permission, Sim, World};

fn sim() -> Sim {
    Sim::new(World::from_estate(&Estate::built_in()))
}

fn arm(sim: &Sim) -> Arm {
    let settings = ArmSettings { endpoint: "https://management.azure.com".parse().unwrap(), run_id: "r".to_owned() };
    let transport = Arc::new(ReadOnly::new(sim.clone(), &[ReadPost::ResourceGraph]));
    let tokens = Arc::new(StaticToken::new("sandbox", "sandbox"));
    Arm::new(transport, tokens, Arc::new(sim.clock()), settings).unwrap()
}

fn guids(sim: &Sim) -> Vec<String> {
    sim.world().subscriptions.iter().filter(|s| s.listed).map(|s| s.id.clone()).collect()
}

/// What both collectors say, sorted: texts, so that a difference can be read.
fn shown<T: std::fmt::Debug>(rows: impl IntoIterator<Item = T>) -> BTreeSet<String> {
    rows.into_iter().map(|row| format!("{row:?}")).collect()
}

async fn graph<T: GraphRow>(sim: &Sim) -> Vec<T> {
    let listing = read_all::<T>(&arm(sim), GraphScope::Tenant).await.unwrap();
    assert!(listing.is_complete() && !listing.items.is_empty(), "{}: {:?}", T::WHAT, listing.malformed);
    listing.items
}

#[tokio::test]
async fn both_collectors_say_the_same_of_compute() {
    let sim = sim();
    let arm = arm(&sim);
    let (mut vms, mut powers, mut extensions, mut groups) = (vec![], vec![], vec![], vec![]);
    for guid in guids(&sim) {
        let scope = ResourceId::subscription_scope(&guid).unwrap();
        let listed = arm.vms(&scope).await.unwrap().items;
        for vm in &listed {
            let found = arm.extensions(&vm.id).await.unwrap().items;
            extensions.extend(found.into_iter().map(|e| Extension { message: String::new(), ..e }));
        }
        vms.extend(listed);
        powers.extend(arm.power_states(&scope).await.unwrap().items.into_iter().map(|row| (row.id, row.power)));
        groups.extend(arm.groups(&guid).await.unwrap().items);
    }
    let rows = graph::<VmRow>(&sim).await;
    assert_eq!(shown(rows.iter().map(|row| &row.vm)), shown(&vms));
    assert_eq!(shown(rows.iter().map(|row| (row.vm.id.clone(), row.power.clone()))), shown(powers));
    assert!(rows.iter().any(|row| row.vm.disks.first().is_some_and(|d| d.id.is_some() && d.size_gb == Some(128))));
    assert_eq!(shown(graph::<Extension>(&sim).await), shown(extensions));
    assert_eq!(shown(graph::<Group>(&sim).await), shown(groups));
}

#[tokio::test]
async fn both_collectors_say_the_same_of_backup() {
    let sim = sim();
    let arm = arm(&sim);
    let (mut vaults, mut items, mut policies, mut jobs) = (vec![], vec![], vec![], vec![]);
    let since = sim.world().now - jiff::SignedDuration::from_hours(14 * 24);
    for guid in guids(&sim) {
        for vault in arm.vaults(&guid).await.unwrap().items {
            items.extend(arm.protected_items(&vault.id).await.unwrap().items);
            policies.extend(arm.policies(&vault.id).await.unwrap().items);
            let filter = JobFilter { since: Some(since), ..JobFilter::default() };
            jobs.extend(arm.jobs(&vault.id, &filter).await.unwrap().items);
            vaults.push(vault);
        }
    }
    assert_eq!(shown(graph::<Vault>(&sim).await), shown(vaults));
    let rows = graph::<ItemRow>(&sim).await;
    assert!(
        rows.iter().any(|row| !row.item.health_details.is_empty())
            && rows.iter().any(|row| row.last_recovery_point.is_some())
    );
    assert_eq!(shown(rows.into_iter().map(|row| row.item)), shown(items));
    assert_eq!(shown(graph::<Policy>(&sim).await), shown(policies));
    let found = graph::<Job>(&sim).await;
    assert!(found.iter().any(|job| !job.errors.is_empty()));
    assert_eq!(shown(found), shown(jobs));
}

#[tokio::test]
async fn a_subscription_that_is_left_out_is_noticed() {
    let sim = sim();
    let guids = guids(&sim);
    assert!(guids.len() > 1);
    let whole = coverage(&arm(&sim), GraphScope::subscriptions(&guids)).await.unwrap();
    assert_eq!((whole.subscriptions.len(), whole.left_out.len(), whole.incomplete.len()), (guids.len(), 0, 0));
    sim.edit(|world| {
        let scope = format!("/subscriptions/{}", guids[0]);
        world.permissions = vec![Permission { scope, actions: vec!["*/read".into()], not_actions: vec![] }];
    });
    let part = coverage(&arm(&sim), GraphScope::subscriptions(&guids)).await.unwrap();
    assert_eq!((part.subscriptions.len(), part.left_out), (1, guids[1..].to_vec()));
    let rows = read_all::<VmRow>(&arm(&sim), GraphScope::subscriptions(&guids)).await.unwrap();
    assert!(
        rows.is_complete() && rows.items.iter().all(|row| row.vm.id.subscription() == guids[0]),
        "no word from Azure"
    );
    let error = coverage(&arm(&sim), GraphScope::subscriptions(&guids[1..])).await.unwrap_err();
    assert_eq!(GraphRefusal::of(&error), Some(GraphRefusal::NoScope));
}

/// Absent, null and odd columns cost no row; a row without an id is named.
#[test]
fn rows_are_read_leniently() {
    fn lenient<T: GraphRow>(id: &str) {
        for row in [
            json!({ "id": id }),
            json!({ "id": id, "name": null, "location": null, "tags": null, "storageProfile": null, "source": null, "healthDetails": null,
                "errorDetails": null, "schedulePolicy": null, "sku": null, "managedBy": null, "subscriptionId": null, "powerState": null }),
            json!({ "id": id, "name": 7, "location": [], "tags": [1], "storageProfile": "x", "source": 1, "healthDetails": {}, "errorDetails": "x",
                "schedulePolicy": 3, "sku": {}, "diskSizeGB": "x", "maxShares": 1.5, "startTime": 4, "lastBackupErrorInfo": [1], "new": 1 }),
        ] {
            assert!(T::from_row(&row).is_ok(), "{}: {row}", T::WHAT);
        }
        for row in [json!({}), json!({ "id": 7 }), json!({ "id": "web-01" })] {
            assert!(T::from_row(&row).is_err(), "{}: {row}", T::WHAT);
        }
    }
    let sub = "/subscriptions/11111111-1111-1111-1111-111111111111";
    let vm = format!("{sub}/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/v");
    lenient::<VmRow>(&vm);
    lenient::<Extension>(&format!("{vm}/extensions/e"));
    lenient::<Vault>(&vm);
    lenient::<ItemRow>(&vm);
    lenient::<Policy>(&vm);
    lenient::<Job>(&vm);
    lenient::<Group>(&vm);
    lenient::<Subscription>(sub);
    let other = json!({ "id": vm, "dataSourceId": vm, "currentProtectionState": "Protected" });
    let row = ItemRow::from_row(&other).unwrap();
    assert_eq!((row.item.source, row.item.protection_state.as_str()), (vm, "Protected"));
}

#[test]
fn every_query_says_its_duty_and_is_ordered_by_id() {
    let files = [
        VmRow::FILE,
        Extension::FILE,
        Vault::FILE,
        ItemRow::FILE,
        Policy::FILE,
        Job::FILE,
        Group::FILE,
        Subscription::FILE,
        include_str!("extensions_unwell.kql"),
        include_str!("jobs_unwell.kql"),
        include_str!("jobs_good.kql"),
    ];
    for file in files {
        assert!(file.starts_with("// ") && file.lines().next().unwrap().contains("Source: "), "{file}");
        assert!(file.trim_end().ends_with("| order by id asc") && file.contains("| project id,"), "{file}");
        assert!(!file.contains("join") && !file.contains("summarize"));
    }
    let on_disk = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/facts/graph")).unwrap();
    let kql = on_disk.filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|end| end == "kql"));
    assert_eq!(kql.count(), files.len(), "a query without a row");
    assert!(jobs_good(3, &["web-01", "sql_2"]).unwrap().contains("in~ ('web-01', 'sql_2')"));
    assert!(jobs_good(14, &["web-01"]).unwrap().contains("ago(14d)"));
    for hostile in ["", "a') or ('1", "a\\", "a'b", "ü"] {
        assert_eq!(jobs_good(3, &["web-01", hostile]), None, "{hostile}");
    }
    assert!(!VmRow::query().contains("//") && VmRow::query().starts_with("resources\n"));
}
