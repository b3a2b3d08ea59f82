//! Undo matrix: each mutating request of each playbook meets each fault; then the run is taken back. The world equals the
//! start or an allowed end, or the run says that it is stuck and why.

use std::time::Duration;

use azmend::engine::Status;
use azmend::sim::{Fault, FaultEffect, FaultMatch, World};

use crate::crash_matrix::{ask, inside, is_role, key_vault, orphan_scene, repair, scene, whole_collection_scene};
use crate::matrix_support::*;

/// What can happen to a request.
const FAULTS: [&str; 9] = [
    "refused",
    "operation fails",
    "operation fails after its effect",
    "operation hangs",
    "lost after",
    "lost before",
    "not sent",
    "503",
    "throttled",
];

fn effect(name: &str) -> FaultEffect {
    let reply = |status: u16, code: &str| FaultEffect::Reply {
        status,
        code: code.into(),
        message: "the test says so".into(),
        retry_after: None,
        raw_body: None,
    };
    let fails = |after_effect: bool| FaultEffect::OperationFails {
        code: "InternalExecutionError".into(),
        message: "An internal execution error occurred. Please retry later.".into(),
        after_effect,
    };
    match name {
        "refused" => reply(403, "AuthorizationFailed"),
        "operation fails" => fails(false),
        "operation fails after its effect" => fails(true),
        "operation hangs" => FaultEffect::OperationHangs,
        "lost after" => FaultEffect::LostAfter,
        "lost before" => FaultEffect::LostBefore,
        "not sent" => FaultEffect::NotSent,
        "503" => reply(503, "ServiceUnavailable"),
        _ => FaultEffect::Throttle { retry_after: 17, times: 5 },
    }
}

/// The fault for exactly the next request.
fn now(name: &str) -> Fault {
    let times = if name == "throttled" { Some(5) } else { Some(1) };
    Fault {
        id: "matrix".into(),
        when: FaultMatch { nth: Some(1), times, ..FaultMatch::default() },
        effect: effect(name),
        seen: 0,
        fired: 0,
    }
}

async fn every_fault(scene: Scene) {
    // How many mutating requests a quiet run sends.
    let quiet = scene.lab();
    let watch = Watch::over(&quiet, None);
    let plan = scene.plan(&quiet).await;
    let tape = Tape::new(&quiet.sim, Vec::new(), false);
    watch.allow(&plan, &tape);
    let first = Box::pin(run(&quiet, &plan, &tape).start()).await;
    let _ = Box::pin(carry_on(&quiet, &run(&quiet, &plan, &tape), first, 3)).await;
    let count = watch.mutations().len();
    let mut findings = Findings::default();
    for index in 0..count {
        for fault in FAULTS {
            let operation = fault.starts_with("operation");
            let (verb, target) = watch.mutations()[index].clone();
            let at_once = ["Microsoft.Authorization/locks", "Microsoft.KeyVault/vaults/accessPolicies"];
            if operation && (is_role(&target) || at_once.iter().any(|kind| target.is_type(kind))) {
                continue;
            }
            let case = format!("{}: {fault} at request {} ({verb} {})", scene.name, index + 1, target.short_name());
            findings.cases += 1;
            Box::pin(one(&mut findings, &case, &scene, index, fault)).await;
        }
    }
    findings.end(&scene.name);
}

async fn one(findings: &mut Findings, case: &str, scene: &Scene, index: usize, fault: &'static str) {
    let lab = scene.lab();
    let mut seen = 0;
    let meddle: Meddle = Box::new(move |world: &mut World, request, _| {
        let path = request.url.path().to_lowercase();
        let reads = path.ends_with("/backupstatus") || is_probe(request);
        if request.method != azmend::arm::http::Method::GET && !reads {
            if seen == index {
                world.faults.push(now(fault));
                // Throttling is for the mutating requests alone, so that it lasts.
                if let Some(last) = world.faults.last_mut() {
                    last.when.path_contains = Some(request.url.path().to_owned());
                    last.when.method = Some(request.method.to_string());
                }
            }
            seen += 1;
        }
        false
    });
    let watch = Watch::over(&lab, Some(meddle));
    let plan = scene.plan(&lab).await;
    let tape = Tape::new(&lab.sim, Vec::new(), false);
    watch.allow(&plan, &tape);
    let run = run(&lab, &plan, &tape);
    let mut result = Box::pin(run.start()).await;
    if watch.mutations().len() <= index {
        result = Box::pin(carry_on(&lab, &run, result, 1)).await;
    }
    let middle = lab.sim.world();
    let mut wrong = untruths(&plan, &result, &scene.world, &middle, &tape.all(), false);
    if matches!(result.exit_code, 0)
        && fault == "refused"
        && !plan.steps.iter().any(|s| s.on_failure == azmend::engine::plan::OnFailure::Continue)
    {
        wrong.push("a refused request and exit code 0".to_owned());
    }
    if matches!(result.status, Status::Failed) && result.exit_code == 1 {
        wrong.push("a bug".to_owned());
    }
    if !wrong.is_empty() {
        wrong.push(brief(&result));
    }
    findings.add(&format!("{case}, run"), wrong);
    // The fault is over; the run is taken back, now or after it went on.
    lab.sim.edit(|world| world.faults.clear());
    if result.status == Status::Paused {
        lab.sim.clock().advance(Duration::from_secs(60));
    }
    let before = watch.mutations().len();
    let undone = Box::pin(run.undo()).await;
    let undone = Box::pin(carry_on(&lab, &run, undone, 5)).await;
    let end = lab.sim.world();
    let mut wrong = untruths(&plan, &undone, &scene.world, &end, &tape.all(), false);
    wrong.extend(watch.broken());
    let (now, started) = (shape(&end, &scene.world), shape(&scene.world, &scene.world));
    // The fault may have hit the restoration itself: then the run says so, with the command that writes the lock.
    let stuck = undone.exit_code == 8 && undone.next.as_ref().is_some_and(|next| next.starts_with("az lock create"));
    if now.locks != started.locks && !stuck {
        wrong.push("the locks are not as at the start".to_owned());
    }
    if now.grants != started.grants && undone.exit_code == 0 {
        wrong.push("the grants are not as at the start".to_owned());
    }
    // A script sets the inside of a VM back.
    let script = plan.allow_guest;
    if watch.mutations()[before..].iter().any(|(verb, id)| verb != "PUT" && !is_role(id) && !(script && verb == "POST"))
    {
        wrong.push(format!("undo does more than put locks back: {:?}", &watch.mutations()[before..]));
    }
    let lost: Vec<_> = started.old_points.difference(&now.old_points).collect();
    let listed = undone.changes.iter().any(|change| change.undo == "irreversible")
        || undone.warnings.iter().any(|text| text.contains("cannot be undone"));
    // What Azure Backup cleaned up by itself is no deletion of this run; the result says so all the same.
    let by_service = undone.warnings.iter().any(|text| text.contains("azmend did not delete"))
        && !plan.changes().any(|(_, change)| change.weight() > 1 || change.resource().key().contains("restorepoints"));
    if !lost.is_empty() && !listed && !by_service {
        wrong.push(format!("{} points are gone and the result does not say so", lost.len()));
    }
    if !lost.is_empty() && !by_service && undone.exit_code == 0 {
        wrong.push("points are gone and the exit code is 0".to_owned());
    }
    if !matches!(undone.exit_code, 0 | 6 | 8) {
        wrong.push("undo ends with another exit code".to_owned());
    }
    if undone.exit_code == 8 && undone.error.is_none() && undone.next.is_none() {
        wrong.push("stuck without a reason".to_owned());
    }
    if !wrong.is_empty() {
        wrong.push(format!("{}\n   after {}", brief(&undone), brief(&result)));
    }
    findings.add(&format!("{case}, undo"), wrong);
}

macro_rules! faults {
    ($($name:ident: $playbook:literal, $vm:expr, $set:expr, $relock:literal;)*) => { $(
        #[tokio::test]
        async fn $name() {
            Box::pin(every_fault(scene($playbook, $vm, ask(&$set, $relock)))).await;
        }
    )* };
}

faults! {
    limit: "rp-collection-limit", "web-01", [], false;
    limit_relock: "rp-collection-limit", "web-01", [("follow", "job")], true;
    superseded: "rp-collection-limit", "db-03", [], false;
    extension: "extension-operation-failed", "app-02", [], false;
    provisioning: "vm-provisioning-failed", "app-02", [], false;
    unlock: "unlock-backup-groups", "db-03", [], false;
    unlock_relock: "unlock-backup-groups", "web-01", [], true;
    backup: "backup-now", "ok-07", [("follow", "job")], false;
    resume: "datasource-not-present", "stop-12", [("policy", "daily-2d")], false;
    resume_backup: "datasource-not-present", "stop-12", [("policy", "daily-2d"), ("backup", "true")], false;
    stale_superseded: "delete-stale-collections", "db-03", [], false;
}

#[tokio::test]
async fn service() {
    Box::pin(every_fault(scene("rp-collection-limit", "web-01", ask(&[("cleanup", "service")], false)))).await;
}

#[tokio::test]
async fn orphan() {
    Box::pin(every_fault(orphan_scene())).await;
}

#[tokio::test]
async fn whole_collection() {
    Box::pin(every_fault(whole_collection_scene())).await;
}

#[tokio::test]
async fn guest_services() {
    Box::pin(every_fault(inside("vss-services", "vss-01", ask(&[("backup", "false")], false)))).await;
}

#[tokio::test]
async fn guest_agent_conf() {
    Box::pin(every_fault(inside("agent-configuration", "conf-03", ask(&[], false)))).await;
}

macro_rules! repairs {
    ($($name:ident: $playbook:literal, $vm:expr, $set:expr, $relock:literal;)*) => { $(
        #[tokio::test]
        async fn $name() {
            Box::pin(every_fault(repair($playbook, $vm, ask(&$set, $relock)))).await;
        }
    )* };
}

repairs! {
    failed_vm: "failed-vm", "state-01", [("restart", "true")], false;
    stuck_job: "backup-in-progress", "stuck-02", [("mode", "cancel")], false;
    inner_error: "crp-reported-user-error", "locked-04", [], true;
    unprotected: "unprotected-vm", "free-09", crate::crash_matrix::FREE, false;
}

#[tokio::test]
async fn key_vaults() {
    Box::pin(every_fault(key_vault("keyvault-permissions", "enc-01", &[("backup", "true")]))).await;
    Box::pin(every_fault(key_vault("keyvault-permissions", "enc-02", &[]))).await;
    Box::pin(every_fault(key_vault("keyvault-permissions", "enc-03", &[]))).await;
}
