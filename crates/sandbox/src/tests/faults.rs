//! Faults: when they fire, and what a client sees of them.

use super::*;
use crate::{Corruption, Fault, FaultEffect, FaultMatch, FaultPlan, WorldEvent};
use azmend_arm::http::{Transport as _, TransportError};

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
    assert!(azmend_base::clock::elapsed(before, sim.world().now).as_secs() >= 30);
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

#[test]
fn what_comes_instead_of_an_answer_keeps_a_change_from_happening() {
    let instead = [
        FaultEffect::Reply {
            status: 204,
            code: String::new(),
            message: String::new(),
            retry_after: None,
            raw_body: None,
        },
        FaultEffect::Reply {
            status: 200,
            code: String::new(),
            message: String::new(),
            retry_after: None,
            raw_body: Some("{}".into()),
        },
        FaultEffect::Throttle { retry_after: 5, times: 1 },
        FaultEffect::Html503,
        FaultEffect::TokenExpired,
        FaultEffect::LostBefore,
        FaultEffect::NotSent,
    ];
    for effect in instead {
        let sim = with(effect.clone(), "DELETE", "/locks/");
        reply(&sim, "DELETE", LOCK, None);
        assert_eq!(call(&sim, "GET", LOCK, None).status, 200, "{effect:?}");
        assert!(sim.world().lingering.is_empty(), "{effect:?}");
    }
    let sim = with(instead_of_put(), "PUT", "/locks/");
    unlock(&sim);
    let content = serde_json::json!({ "properties": { "level": "CanNotDelete" } });
    assert_eq!(call(&sim, "PUT", LOCK, Some(content)).status, 201);
    assert_eq!(call(&sim, "GET", LOCK, None).status, 404);
}

fn instead_of_put() -> FaultEffect {
    FaultEffect::Reply { status: 201, code: String::new(), message: String::new(), retry_after: None, raw_body: None }
}

#[test]
fn a_spoilt_answer_comes_after_the_effect() {
    let spoilt = |what: Corruption, method: &str, target: &str| {
        let sim = with(FaultEffect::Corrupt(what), method, "");
        let answer = call(&sim, method, target, None);
        (sim, answer)
    };
    for what in [Corruption::Truncate, Corruption::Empty, Corruption::Html, Corruption::Status(502)] {
        let (sim, answer) = spoilt(what.clone(), "DELETE", LOCK);
        assert_eq!(call(&sim, "GET", LOCK, None).status, 404, "{what:?}");
        assert_eq!(answer.status, if what == Corruption::Status(502) { 502 } else { 200 });
    }
    let (_, answer) = spoilt(Corruption::Status(404), "GET", LOCK);
    assert_eq!((answer.status, body(&answer)["name"].as_str()), (404, Some("no-delete")));
    let (_, answer) = spoilt(Corruption::Empty, "GET", LOCK);
    assert_eq!((answer.status, answer.body.len()), (200, 0));
    let (_, answer) = spoilt(Corruption::Truncate, "GET", LOCK);
    assert!(!answer.body.is_empty() && body(&answer) == Value::Null);
    let (_, answer) = spoilt(Corruption::Html, "GET", LOCK);
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/html")));
}

#[test]
fn a_page_goes_on_elsewhere_or_nowhere() {
    let list = format!("{PROD}/providers/Microsoft.Authorization/locks");
    let sim = with(FaultEffect::Corrupt(Corruption::NextLink("https://evil.example/x".into())), "GET", "locks");
    let page = get(&sim, &list);
    assert_eq!(page["nextLink"], "https://evil.example/x");
    assert!(!page["value"].as_array().unwrap().is_empty());
    let sim = with(FaultEffect::Corrupt(Corruption::NextLink(String::new())), "GET", "locks");
    let first = get(&sim, &list);
    let again = get(&sim, first["nextLink"].as_str().unwrap());
    assert_eq!(again["value"], first["value"]);
    // What is no page has no link to spoil.
    let sim = with(FaultEffect::Corrupt(Corruption::NextLink("https://evil.example/x".into())), "GET", "locks");
    assert_eq!(get(&sim, LOCK).get("nextLink"), None);
}

#[test]
fn a_seed_means_what_it_meant_and_a_third_has_something_rare() {
    let kinds = |seed| FaultPlan::random(seed).into_iter().map(|f| f.id).collect::<Vec<_>>();
    let rare =
        (0..3000).filter(|seed| kinds(*seed).iter().any(|id| !id["random-".len()..].starts_with(char::is_numeric)));
    assert!((800..1200).contains(&rare.count()));
    // What seed 7 was before there were rare kinds.
    let first = FaultPlan::random(7).into_iter().next().unwrap();
    assert_eq!(first.id, "random-0");
    let all: Vec<Fault> = (0..3000).flat_map(FaultPlan::random).collect();
    let any = |fits: &dyn Fn(&Fault) -> bool| all.iter().any(fits);
    let corrupt = |f: &Fault, method: &str| {
        matches!(f.effect, FaultEffect::Corrupt(_)) && f.when.method.as_deref() == Some(method)
    };
    for method in ["GET", "DELETE", "PUT", "POST"] {
        assert!(any(&|f| corrupt(f, method)), "{method}");
    }
    assert!(any(&|f| matches!(f.effect, FaultEffect::Throttle { retry_after: 400.., .. })));
    assert!(any(&|f| f.effect == FaultEffect::StaleRead && f.when.nth.is_some_and(|nth| nth > 20)));
}

#[test]
fn effects_are_written_as_in_the_handbook() {
    let read = |text: &str| serde_json::from_str::<FaultEffect>(text).unwrap();
    assert_eq!(read(r#"{"corrupt": "truncate"}"#), FaultEffect::Corrupt(Corruption::Truncate));
    assert_eq!(read(r#"{"corrupt": {"status": 404}}"#), FaultEffect::Corrupt(Corruption::Status(404)));
    assert_eq!(read(r#"{"corrupt": {"next_link": ""}}"#), FaultEffect::Corrupt(Corruption::NextLink(String::new())));
}
