use super::*;
use crate::arm::http::{Transport as _, TransportError};
use crate::sim::{Fault, FaultEffect, FaultMatch, FaultPlan, WorldEvent};

fn with(effect: FaultEffect, method: &str, path: &str) -> Sim {
    let sim = sim();
    let when = FaultMatch { method: Some(method.into()), path_contains: Some(path.into()), nth: None, times: None };
    sim.edit(|w| w.faults.push(Fault { id: "f".into(), when, effect, seen: 0, fired: 0 }));
    sim
}

#[test]
fn replies_are_lost_before_and_after_the_effect() {
    let sim = with(FaultEffect::LostBefore, "DELETE", "/locks/");
    assert!(matches!(reply(&sim, "DELETE", LOCK, None), Reply::Lost { .. }));
    assert_eq!(call(&sim, "GET", LOCK, None).status, 200);
    let sim = with(FaultEffect::LostAfter, "DELETE", "/locks/");
    assert!(matches!(reply(&sim, "DELETE", LOCK, None), Reply::Lost { .. }));
    assert_eq!(call(&sim, "GET", LOCK, None).status, 404);
    assert_eq!(sim.log()[0].status, None);
}

#[tokio::test]
async fn the_transport_tells_them_apart() {
    let sim = with(FaultEffect::NotSent, "GET", "/locks/");
    assert!(matches!(sim.send(&request("GET", LOCK, None)).await, Err(TransportError::NotSent { .. })));
    assert_eq!(sim.send(&request("GET", LOCK, None)).await.unwrap().status, 200);
}

#[test]
fn instead_of_the_response() {
    let sim = with(FaultEffect::Throttle { retry_after: 17, times: 2 }, "GET", "locks");
    for expected in [429, 429, 200] {
        assert_eq!(call(&sim, "GET", LOCK, None).status, expected);
    }
    let sim = with(FaultEffect::Html503, "GET", "locks");
    assert_eq!(call(&sim, "GET", LOCK, None).header("content-type"), Some("text/html"));
    let sim = with(FaultEffect::TokenExpired, "GET", "locks");
    assert_eq!(code(&call(&sim, "GET", LOCK, None)), "ExpiredAuthenticationToken");
    let effect = FaultEffect::Reply {
        status: 503,
        code: "ServerTimeout".into(),
        message: "late".into(),
        retry_after: Some(9),
        raw_body: None,
    };
    let sim = with(effect, "GET", "locks");
    let refused = call(&sim, "GET", LOCK, None);
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("9")));
}

#[test]
fn bodies_are_spoilt() {
    let sim = with(FaultEffect::MalformedBody, "GET", "locks");
    assert_eq!(body(&call(&sim, "GET", LOCK, None)), Value::Null);
    let sim = with(FaultEffect::EmptyPage, "GET", "virtualmachines");
    let first = get(&sim, &format!("{PROD}/providers/Microsoft.Compute/virtualMachines"));
    assert!(first["value"].as_array().unwrap().is_empty());
    assert!(!get(&sim, first["nextLink"].as_str().unwrap())["value"].as_array().unwrap().is_empty());
}

#[test]
fn operations_fail_with_or_without_the_effect_or_never_end() {
    for (after_effect, left) in [(false, 200), (true, 404)] {
        let effect =
            FaultEffect::OperationFails { code: "OperationPreempted".into(), message: String::new(), after_effect };
        let sim = with(effect, "DELETE", "restorepoints");
        let collection = collection_of(&sim, "db-03", "AzureBackupRG_westeurope_0");
        let name = sim.world().collection(&collection.parse().unwrap()).unwrap().points[0].name.clone();
        let point = format!("{collection}/restorePoints/{name}");
        assert_eq!(follow(&sim, &call(&sim, "DELETE", &point, None))["status"], "Canceled");
        assert_eq!(call(&sim, "GET", &point, None).status, left);
    }
    let sim = with(FaultEffect::OperationHangs, "DELETE", "extensions");
    let accepted = call(&sim, "DELETE", &format!("{}/extensions/VMSnapshot", vm("app-02")), None);
    pass(&sim, 9999);
    assert_eq!(get(&sim, accepted.header("azure-asyncoperation").unwrap())["status"], "InProgress");
}

#[test]
fn a_stale_read_shows_the_state_before_the_last_change() {
    let sim = with(FaultEffect::StaleRead, "GET", "locks");
    assert_eq!(call(&sim, "DELETE", LOCK, None).status, 200);
    assert_eq!(call(&sim, "GET", LOCK, None).status, 200);
    assert_eq!(call(&sim, "GET", LOCK, None).status, 404);
}

#[test]
fn somebody_else_acts_in_between() {
    let sim = with(FaultEffect::World(WorldEvent::AddPoint("web-01".into())), "GET", "restorepointcollections");
    let collection = collection_of(&sim, "web-01", "AzureBackupRG_westeurope_1");
    assert_eq!(points_of(&sim, &collection), 22);
    let sim = sim_slow();
    let before = sim.world().now;
    call(&sim, "GET", PROD, None);
    assert!(crate::clock::elapsed(before, sim.world().now).as_secs() >= 30);
    sim.on_request(Box::new(|world, _, number| {
        if number == 2 {
            world.recreate_vm(&vm("web-01").parse().unwrap());
        }
    }));
    let first = get(&sim, &vm("web-01"))["properties"]["vmId"].clone();
    assert_ne!(get(&sim, &vm("web-01"))["properties"]["vmId"], first);
}

fn sim_slow() -> Sim {
    with(FaultEffect::Slow { seconds: 30 }, "GET", "subscriptions")
}

#[test]
fn every_world_event_works_or_says_no() {
    let mut world = sim().world();
    let events = |target: &str| {
        vec![
            WorldEvent::RecreateVm(target.into()),
            WorldEvent::RestartVm(target.into()),
            WorldEvent::RecreateCollection(target.into()),
            WorldEvent::AddPoint(target.into()),
            WorldEvent::StartJob(target.into()),
            WorldEvent::StopProtection(target.into()),
            WorldEvent::DeleteVm(target.into()),
        ]
    };
    assert!(events("ghost").iter().all(|e| !world.apply_event(e)));
    assert!(events("web-01").iter().all(|e| world.apply_event(e)));
    assert!(world.apply_event(&WorldEvent::DeleteLock("no-delete".into())));
    assert!(world.apply_event(&WorldEvent::PutLockBack { id: LOCK.into(), notes: Some("n".into()) }));
}

#[test]
fn random_faults_are_the_same_for_the_same_seed() {
    assert_eq!(FaultPlan::random(7), FaultPlan::random(7));
    assert_ne!(FaultPlan::random(7), FaultPlan::random(8));
    for seed in 0..200 {
        let sim = sim();
        sim.edit(|w| w.faults = FaultPlan::random(seed));
        for _ in 0..3 {
            reply(&sim, "DELETE", LOCK, None);
            reply(&sim, "GET", &format!("{VAULT}/backupJobs"), None);
            reply(&sim, "GET", &format!("{PROD}/providers/Microsoft.Compute/restorePointCollections"), None);
        }
    }
}
