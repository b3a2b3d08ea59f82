//! Protection of an item: stopped, resumed, soft-deleted.

use super::*;
use crate::{JobStatus, Protection};

fn put(sim: &Sim, properties: Value) -> Response {
    let url = format!("{}?api-version=2024-04-01", item("rg-shop", "stop-12"));
    call(sim, "PUT", &url, Some(json!({ "properties": properties })))
}

fn body(extra: Value) -> Value {
    let mut body =
        json!({ "protectedItemType": "Microsoft.Compute/virtualMachines", "sourceResourceId": vm("stop-12") });
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    body
}

fn policy(name: &str) -> Value {
    json!({ "policyId": format!("{VAULT}/backupPolicies/{name}") })
}

fn state(sim: &Sim) -> (Protection, Option<String>) {
    let world = sim.world();
    let item = world.items.iter().find(|item| item.vm.name() == "stop-12").unwrap();
    (item.protection, item.policy.as_ref().map(|policy| policy.name().to_owned()))
}

#[test]
fn a_stopped_item_is_resumed_and_stopped_again_with_or_without_its_policy() {
    let sim = sim();
    assert_eq!(state(&sim), (Protection::Stopped, None));
    let accepted = put(&sim, body(policy("daily-2d")));
    assert_eq!(state(&sim), (Protection::Stopped, None), "not before the operation ends");
    let busy = put(&sim, body(policy("daily-2d")));
    assert_eq!(busy.status, 409, "one operation at a time");
    assert_eq!(follow(&sim, &accepted)["properties"]["objectType"], "OperationStatusJobExtendedInfo");
    assert_eq!(state(&sim), (Protection::Protected, Some("daily-2d".into())));
    let jobs: Vec<_> = sim.world().jobs.iter().filter(|job| job.operation == "ConfigureBackup").cloned().collect();
    assert_eq!((jobs.len(), jobs[0].status), (1, JobStatus::Completed));
    follow(&sim, &put(&sim, body(json!({ "protectionState": "ProtectionStopped" }))));
    assert_eq!(state(&sim), (Protection::Stopped, Some("daily-2d".into())));
    follow(&sim, &put(&sim, body(json!({ "protectionState": "ProtectionStopped", "policyId": "" }))));
    assert_eq!(state(&sim), (Protection::Stopped, None));
}

#[test]
fn what_does_not_fit_is_refused() {
    let sim = sim();
    for (properties, why) in [
        (body(json!({})), "no policy"),
        (body(policy("nosuch")), "a policy that is not there"),
        (body(json!({ "protectionState": "Protected" })), "a state that cannot be written"),
        (json!({ "sourceResourceId": vm("stop-12") }), "no kind"),
        (body(json!({ "sourceResourceId": vm("web-01"), "policyId": "" })), "another VM"),
    ] {
        assert_eq!(put(&sim, properties).status, 400, "{why}");
    }
    sim.edit(|world| {
        let item = world.items.iter_mut().find(|item| item.vm.name() == "stop-12").unwrap();
        item.protection = Protection::SoftDeleted;
    });
    assert_eq!(put(&sim, body(policy("daily-2d"))).status, 400);
    let unknown = item("rg-shop", "stop-12").replace("stop-12", "nosuch");
    let refused = call(&sim, "PUT", &unknown, Some(json!({ "properties": body(policy("daily-2d")) })));
    assert_eq!(refused.status, 400, "no new item is made under a name of one's own");
    assert!(!sim.world().jobs.iter().any(|job| job.operation == "ConfigureBackup"));
}
