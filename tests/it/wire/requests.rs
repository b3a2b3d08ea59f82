//! What azmend sends, and what the sandbox answers, against the contracts.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, LazyLock, Mutex};

use async_trait::async_trait;
use azmend::actions::change::Override;
use azmend::arm::http::{Request, Response, Transport, TransportError};
use azmend::arm::model::{Extension, Group, Job, Policy, Vault};
use azmend::arm::model::{RunCommand, Shell};
use azmend::arm::{Arm, ArmSettings, GraphScope, JobFilter, ResourceId, StaticToken, Tag};
use azmend::clock::Clock;
use azmend::engine::Planned;
use azmend::facts::graph;
use azmend::facts::resolve::{resolve_subscriptions, resolve_vm};
use azmend::journal::RunLog;
use azmend::playbook::library::Library;
use azmend::sim::{Estate, Sim, World};
use serde_json::{Value, json};

use super::contract::{CONTRACTS, Checked, EXEMPT, Sent};
use crate::support::{Ask, Lab, RUN, SUB, TestLog};

/// A request, the status and the body of its response.
type Answered = (Sent, u16, Vec<u8>);

/// Keeps everything that azmend sends and gets.
#[derive(Debug, Clone)]
struct Tap {
    sim: Sim,
    seen: Arc<Mutex<Vec<Answered>>>,
}

pub fn sent(request: &Request) -> Sent {
    Sent {
        method: request.method.to_string(),
        path: request.url.path().to_owned(),
        query: request.url.query().unwrap_or_default().to_owned(),
        body: serde_json::from_slice(&request.body).unwrap_or(Value::Null),
    }
}

#[async_trait]
impl Transport for Tap {
    async fn send(&self, request: &Request) -> Result<Response, TransportError> {
        let response = self.sim.send(request).await?;
        self.seen.lock().unwrap().push((sent(request), response.status, response.body.to_vec()));
        Ok(response)
    }
}

/// Requests that were found to be in the contracts: a matrix sends the same ones a thousand times.
static GOOD: LazyLock<Mutex<HashSet<u64>>> = LazyLock::new(Mutex::default);

/// The embedded Azure for every laboratory: a request that is not in the contracts ends the test where it is sent.
#[derive(Debug, Clone)]
pub struct Strict(pub Sim);

#[async_trait]
impl Transport for Strict {
    async fn send(&self, request: &Request) -> Result<Response, TransportError> {
        let mut hasher = DefaultHasher::new();
        (request.method.as_str(), request.url.as_str(), &request.body[..]).hash(&mut hasher);
        let seen = hasher.finish();
        if !GOOD.lock().unwrap().contains(&seen) {
            if let Err(wrong) = CONTRACTS.request(&sent(request)) {
                panic!("{} is not in the published contracts: {}", request.summary(), wrong.join("; "));
            }
            GOOD.lock().unwrap().insert(seen);
        }
        self.0.send(request).await
    }
}

/// The built-in estate behind a tap.
fn tapped() -> (Lab, Tap) {
    tapped_on(Lab::new())
}

fn tapped_on(mut lab: Lab) -> (Lab, Tap) {
    let tap = Tap { sim: lab.sim.clone(), seen: Arc::default() };
    let clock: Arc<dyn Clock> = Arc::new(lab.sim.clock());
    let settings = ArmSettings { endpoint: "https://management.azure.com".parse().unwrap(), run_id: RUN.to_owned() };
    let tokens = Arc::new(StaticToken::new("sandbox", "sandbox"));
    lab.arm = Arm::new(Arc::new(tap.clone()), tokens, clock, settings).unwrap();
    (lab, tap)
}

/// Plans, runs, resumes and undoes: the first playbook on every VM of the built-in estate, the others on the first VMs
/// that they apply to.
async fn everything() -> Vec<Answered> {
    let mut all = Vec::new();
    let names: Vec<String> = Library::shipped().iter().map(|(playbook, _)| playbook.name().to_owned()).collect();
    let vms: Vec<String> = Lab::new().sim.world().vms.iter().map(|vm| vm.id.as_str().to_owned()).collect();
    let main = "rp-collection-limit".to_owned();
    let (mut plans, mut ran) = (0_usize, BTreeMap::<&str, usize>::new());
    for playbook in &names {
        for vm in &vms {
            let (lab, tap) = tapped();
            // Every second time with the locks restored at the end.
            let ask = Ask { relock: plans.is_multiple_of(2), ..Ask::default() };
            plans += 1;
            if run_all_ways(&lab, playbook, vm, &ask).await {
                *ran.entry(playbook).or_default() += 1;
            }
            all.append(&mut tap.seen.lock().unwrap());
            if *playbook != main && ran.contains_key(playbook.as_str()) {
                break;
            }
        }
    }
    // The documents' way: the whole collection.
    let (lab, tap) = tapped();
    let overrides = Override::ALL.to_vec();
    let ask = Ask { set: vec![("cleanup", "collection")], overrides, ..Ask::default() };
    assert!(run_all_ways(&lab, &main, "web-01", &ask).await, "cleanup=collection did not run");
    all.append(&mut tap.seen.lock().unwrap());
    // The repairs beside the point limit, each on its machine; and a vault with a Backup Server.
    let estate = |text: &str| Lab::on(World::from_estate(&Estate::parse(text, "estate.yaml").unwrap()));
    let repairs = include_str!("../../../examples/estates/repairs.yaml");
    for (playbook, vm, set) in [
        ("failed-vm", "state-01", ("restart", "true")),
        ("backup-in-progress", "stuck-02", ("mode", "cancel")),
        ("backup-in-progress", "slow-03", ("mode", "wait")),
        ("crp-reported-user-error", "locked-04", ("retain", "7d")),
        ("unprotected-vm", "free-09", ("vault", "bkp-repairs")),
    ] {
        let (lab, seen) = tapped_on(estate(repairs));
        let policy = (playbook == "unprotected-vm").then_some(("policy", "daily"));
        let ask = Ask { set: std::iter::once(set).chain(policy).collect(), ..Ask::default() };
        assert!(run_all_ways(&lab, playbook, vm, &ask).await, "{playbook} did not run");
        all.append(&mut seen.seen.lock().unwrap());
    }
    let encrypted = include_str!("../../../examples/estates/encrypted.yaml");
    for vm in ["enc-01", "enc-02", "enc-03"] {
        let (lab, seen) = tapped_on(estate(encrypted));
        let set = vec![("grant", "true"), ("principal", "7a4d2c10-0000-4000-8000-00000000beef")];
        let ask = Ask { set, ..Ask::default() };
        assert!(run_all_ways(&lab, "keyvault-permissions", vm, &ask).await, "keyvault-permissions did not run");
        all.append(&mut seen.seen.lock().unwrap());
    }
    for (playbook, vm) in [("vss-services", "vss-01"), ("agent-configuration", "conf-03")] {
        let (lab, seen) = tapped_on(Lab::on(crate::guest::world()));
        let ask = Ask { allow_guest: true, ..Ask::default() };
        assert!(run_all_ways(&lab, playbook, vm, &ask).await, "{playbook} did not run");
        all.append(&mut seen.seen.lock().unwrap());
    }
    let (lab, seen) = tapped_on(estate(include_str!("../../../examples/estates/backup-server.yaml")));
    for vault in lab.sim.world().vaults.iter().map(|vault| vault.id.clone()).collect::<Vec<_>>() {
        lab.arm.engines(&vault).await.unwrap();
    }
    all.append(&mut seen.seen.lock().unwrap());
    assert!(ran.get(main.as_str()) > Some(&2) && ran.len() > 3, "{plans} plans, runs: {ran:?}");
    all.extend(every_call().await);
    all
}

/// From the beginning, again from the middle as after a crash, and back; false when there is no plan.
async fn run_all_ways(lab: &Lab, playbook: &str, vm: &str, ask: &Ask) -> bool {
    let Planned::Plan(plan) = lab.plan(playbook, vm, ask).await else { return false };
    let log = Arc::new(TestLog::default());
    let _result = lab.run(&plan, &log).start().await;
    let records = log.records();
    let half = Arc::new(TestLog::with(records[..records.len() / 2].to_vec()));
    let _result = lab.run(&plan, &half).resume().await;
    let _result = lab.run(&plan, &log).undo().await;
    true
}

/// Every query of Resource Graph, in every kind of scope; and one of several pages.
async fn resource_graph(arm: &Arm) {
    let one = || GraphScope::subscriptions(&[SUB]);
    graph::read_all::<graph::VmRow>(arm, one()).await.unwrap();
    graph::read_all::<graph::ItemRow>(arm, GraphScope::Tenant).await.unwrap();
    graph::read_all::<Extension>(arm, one()).await.unwrap();
    graph::read_all::<Vault>(arm, one()).await.unwrap();
    graph::read_all::<Group>(arm, one()).await.unwrap();
    graph::read_all::<Policy>(arm, one()).await.unwrap();
    graph::read_all::<Job>(arm, one()).await.unwrap();
    assert!(graph::coverage(arm, one()).await.unwrap().left_out.is_empty());
    let mut rows = arm.graph_rows("resources | project id | order by id asc", GraphScope::Tenant, 20);
    let mut pages = 0;
    while rows.next_page().await.unwrap().is_some() {
        pages += 1;
    }
    assert!(pages > 1 && rows.incomplete().is_empty());
    let groups = GraphScope::ManagementGroups(vec!["mg-1".into()]);
    arm.graph_rows("resources", groups, 1).next_page().await.unwrap_err();
}

/// Every typed call of the gateway once, whoever uses it.
async fn every_call() -> Vec<Answered> {
    let (lab, tap) = tapped();
    let (arm, vm) = (&lab.arm, lab.vm("web-01"));
    let sub = ResourceId::subscription_scope(SUB).unwrap();
    let group = vm.group_id().unwrap();
    let _found = resolve_vm(arm, "web-01", &[]).await;
    let _found = resolve_subscriptions(arm, &[]).await;
    arm.subscription(SUB).await.unwrap();
    arm.groups(SUB).await.unwrap();
    arm.group(&group).await.unwrap();
    arm.resources_in(&group).await.unwrap();
    for scope in [&sub, &group, &vm] {
        arm.permissions(scope).await.unwrap();
        arm.deny_assignments(scope).await.unwrap();
        arm.locks(scope).await.unwrap();
        arm.locks_at(scope).await.unwrap();
    }
    let now = lab.sim.world().now;
    arm.activity(&group, now - jiff::SignedDuration::from_hours(1), now).await.unwrap();
    arm.policy_assignments(&sub).await.unwrap();
    arm.policy_definition("/providers/Microsoft.Authorization/policyDefinitions/none").await.unwrap_err();
    arm.policy_set("/providers/Microsoft.Authorization/policySetDefinitions/none").await.unwrap_err();
    for scope in [&sub, &group] {
        arm.vms(scope).await.unwrap();
        arm.collections(scope).await.unwrap();
    }
    resource_graph(arm).await;
    let location = arm.vm(&vm).await.unwrap().location;
    arm.instance_view(&vm).await.unwrap();
    arm.extensions(&vm).await.unwrap();
    let (whole, view) = arm.vm_with_view(&vm).await.unwrap();
    assert!(view.is_some() && !whole.disks.is_empty());
    arm.disk(whole.disks[0].id.as_ref().unwrap()).await.unwrap();
    let now = lab.sim.world().now;
    arm.metrics(&vm, &["Percentage CPU"], now - jiff::SignedDuration::from_hours(1), now).await.unwrap();
    arm.effective_rules(&whole.interfaces[0]).await.unwrap();
    arm.backup_status(&vm, &location).await.unwrap();
    for vault in arm.vaults(SUB).await.unwrap().items {
        arm.vault(&vault.id).await.unwrap();
        arm.resource_guarded(&vault.id).await.unwrap();
        let filter = JobFilter {
            since: Some(lab.sim.world().now - jiff::SignedDuration::from_hours(24)),
            status: Some("Completed".into()),
            ..JobFilter::default()
        };
        arm.jobs(&vault.id, &filter).await.unwrap();
        for job in arm.jobs(&vault.id, &JobFilter::default()).await.unwrap().items.iter().take(3) {
            arm.job(&job.id).await.unwrap();
        }
        for item in arm.protected_items(&vault.id).await.unwrap().items {
            arm.protected_item(&item.id).await.unwrap();
            arm.recovery_points(&item.id).await.unwrap();
            if let Ok(policy) = ResourceId::parse(&item.policy_id) {
                arm.policy(&policy).await.unwrap();
            }
        }
    }
    for collection in arm.collections(&sub).await.unwrap().items {
        let collection = arm.collection(&collection.id).await.unwrap();
        if let Some(point) = collection.points().first() {
            arm.point(&point.id).await.unwrap();
            arm.delete_point(&point.id, &Tag::fresh()).await.ok();
        }
        arm.delete_collection(&collection.id, &Tag::fresh()).await.ok();
    }
    for lock in arm.locks(&sub).await.unwrap().items {
        arm.lock(&lock.id).await.unwrap();
        // A lock that belongs to an application stays.
        let removed = arm.delete_lock(&lock.id, &Tag::fresh()).await;
        assert_eq!(removed.is_ok(), lock.owners.is_empty(), "{}", lock.id);
        arm.put_lock(&lock, &Tag::fresh()).await.unwrap();
    }
    let extension = vm.child("extensions", "VMSnapshot").unwrap();
    arm.delete_extension(&extension, &Tag::fresh()).await.ok();
    let script = RunCommand { shell: Shell::PowerShell, script: "echo one\necho two", parameters: &[("arg1", "x")] };
    arm.run_command(&vm, &script, &Tag::fresh()).await.unwrap();
    let missing = ResourceId::parse(&format!("{vm}-is-not-there")).unwrap();
    crate::support::check_requests(&lab);
    arm.vm(&missing).await.unwrap_err();
    arm.instance_view(&missing).await.unwrap_err();
    tap.seen.lock().unwrap().clone()
}

#[tokio::test]
async fn what_azmend_sends_and_what_the_sandbox_answers_is_in_the_contracts() {
    let all = Box::pin(everything()).await;
    let mut wrong: BTreeMap<String, usize> = BTreeMap::new();
    let (mut by, mut exempt) = (BTreeMap::<String, usize>::new(), BTreeSet::new());
    let mut judged = BTreeSet::new();
    for (sent, status, body) in &all {
        match CONTRACTS.request(sent) {
            Ok(Checked::By(what)) => {
                *by.entry(what.clone()).or_default() += 1;
                if !judged.insert((&sent.path, *status, body)) {
                    continue;
                }
                for why in CONTRACTS.response(sent, *status, body) {
                    *wrong
                        .entry(format!("the sandbox answers {what} with {status}: {}", general(&why)))
                        .or_default() += 1;
                }
            }
            Ok(Checked::Exempt(index)) => {
                exempt.insert(index);
            }
            Err(whys) => {
                for why in whys {
                    *wrong.entry(format!("{} {}: {why}", sent.method, sent.path)).or_default() += 1;
                }
            }
        }
    }
    super::say!("{} requests by {} contracts, {} exemptions used", all.len(), by.len(), exempt.len());
    for (what, count) in &by {
        super::say!("{count} {what}");
    }
    let lines: Vec<String> = wrong.iter().map(|(what, count)| format!("{count} times {what}")).collect();
    assert!(lines.is_empty(), "{} violations:\n{}", lines.len(), lines.join("\n"));
    for (index, (verb, path, ..)) in EXEMPT.iter().enumerate() {
        assert!(exempt.contains(&index), "nothing needs the exemption of {verb} {path}");
    }
}

/// A place without its numbers, so that a hundred elements are one line.
fn general(why: &str) -> String {
    let mut out = String::new();
    let mut inside = false;
    for c in why.chars() {
        match c {
            '[' => {
                inside = true;
                out.push_str("[]");
            }
            ']' => inside = false,
            _ if inside && c.is_ascii_digit() => {}
            _ => {
                inside = false;
                out.push(c);
            }
        }
    }
    out
}

/// The checker itself must be able to fail.
#[test]
fn a_wrong_request_is_noticed() {
    let group = format!("/subscriptions/{SUB}/resourceGroups/rg");
    let lock = format!("{group}/providers/Microsoft.Authorization/locks/keep");
    let collection = format!("{group}/providers/Microsoft.Compute/restorePointCollections/c");
    let item = format!(
        "{group}/providers/Microsoft.RecoveryServices/vaults/v/backupFabrics/Azure/protectionContainers/c/protectedItems/i"
    );
    let backup = |properties: Value| json!({ "properties": properties });
    let good = json!({ "objectType": "IaasVMBackupRequest", "recoveryPointExpiryTimeInUTC": "2026-11-20T09:00:00Z" });
    let table: Vec<(&str, &str, &str, Value, &str)> = vec![
        ("DELETE", &collection, "api-version=2024-07-01", Value::Null, ""),
        ("DELETE", &collection, "api-version=2021-11-01", Value::Null, "api-version is \"2021-11-01\""),
        ("DELETE", &collection, "", Value::Null, "api-version is \"\""),
        ("DELETE", &collection, "api-version=2024-07-01", json!({}), "a body was sent"),
        ("PATCH", &collection, "api-version=2024-07-01", json!({}), "no contract"),
        ("GET", &collection, "api-version=2024-07-01&$expand=restorePoints", Value::Null, ""),
        ("GET", &collection, "api-version=2024-07-01&$expand=points", Value::Null, "not one of"),
        ("GET", &collection, "api-version=2024-07-01&$top=3", Value::Null, "$top is not in the contract"),
        ("GET", &lock, "api-version=2020-05-01", Value::Null, ""),
        ("PUT", &lock, "api-version=2020-05-01", json!({ "properties": { "level": "CanNotDelete" } }), ""),
        ("PUT", &lock, "api-version=2020-05-01", json!({ "properties": { "notes": "n" } }), "level is required"),
        ("PUT", &lock, "api-version=2020-05-01", json!({ "properties": { "level": "cannotdelete" } }), "not one of"),
        ("PUT", &lock, "api-version=2020-05-01", json!({ "properties": { "level": null } }), "is null"),
        (
            "PUT",
            &lock,
            "api-version=2020-05-01",
            json!({ "properties": { "level": "ReadOnly", "x": 1 } }),
            "x is not in",
        ),
        (
            "PUT",
            &lock,
            "api-version=2020-05-01",
            json!({ "id": "i", "properties": { "level": "ReadOnly" } }),
            "read-only",
        ),
        ("PUT", &lock, "api-version=2020-05-01", Value::Null, "the body is required"),
    ];
    for (method, path, query, body, expected) in table {
        noticed(method, path, query, body, expected);
    }
    let path = format!("{item}/backup");
    for (properties, expected) in [
        (good, ""),
        (json!({ "recoveryPointExpiryTimeInUTC": "2026-11-20T09:00:00Z" }), "objectType is missing"),
        (json!({ "objectType": "IaasVmBackup" }), "not a kind"),
        (json!({ "objectType": "IaasVMBackupRequest", "recoveryPointExpiryTimeInUTC": "tomorrow" }), "not a time"),
        (json!({ "objectType": "IaasVMBackupRequest", "retain": "30d" }), "retain is not in"),
    ] {
        noticed("POST", &path, "api-version=2024-04-01", backup(properties), expected);
    }
}

fn noticed(method: &str, path: &str, query: &str, body: Value, expected: &str) {
    let shown = format!("{method} {path}?{query} {body}");
    let sent = Sent { method: method.into(), path: path.into(), query: query.into(), body };
    match CONTRACTS.request(&sent) {
        Ok(_) => assert_eq!(expected, "", "{shown} was let through"),
        Err(why) => assert!(!expected.is_empty() && why.join("; ").contains(expected), "{shown}: {why:?}"),
    }
}
