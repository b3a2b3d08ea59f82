//! Interference matrix: between any two requests somebody else does something. No rule breaks, and the report is true.
//!
//! What happens between the last read of a thing and the request itself cannot be seen by anybody; it is allowed there,
//! and for what azmend may know for a minute ("just before"). `AZMEND_FULL=1` runs every request with every event.

use azmend::arm::ResourceId;
use azmend::engine::{Planned, Status};
use azmend::sim::{World, WorldEvent};

use crate::crash_matrix::{ask, inside, key_vault, orphan_scene, repair, scene, whole_collection_scene};
use crate::matrix_support::*;

/// Everything that others can do to this scene.
pub fn events(scene: &Scene) -> Vec<WorldEvent> {
    let world = &scene.world;
    let vm = scene.vm.clone();
    let mut out = vec![
        WorldEvent::RecreateVm(vm.clone()),
        WorldEvent::DeleteVm(vm.clone()),
        WorldEvent::StartJob(vm.clone()),
        WorldEvent::StopProtection(vm),
        WorldEvent::RevokePermission("Microsoft.Authorization/locks/write".into()),
        WorldEvent::RevokePermission("Microsoft.Compute/restorePointCollections/*".into()),
        WorldEvent::RevokePermission("Microsoft.RecoveryServices/*".into()),
    ];
    if !world.key_vaults.is_empty() {
        out.push(WorldEvent::RevokePermission("Microsoft.KeyVault/*".into()));
        out.push(WorldEvent::RevokePermission("Microsoft.Authorization/roleAssignments/*".into()));
    }
    for collection in &world.collections {
        out.push(WorldEvent::RecreateCollection(collection.id.to_string()));
        out.push(WorldEvent::AddPoint(collection.id.to_string()));
    }
    for lock in &world.locks {
        let id = lock.id.to_string();
        out.push(WorldEvent::PutLockBack { id: id.clone(), notes: None });
        out.push(WorldEvent::PutLockBack { id: id.clone(), notes: Some("somebody else's now".into()) });
        out.push(WorldEvent::DeleteLock(id));
    }
    out
}

async fn every_event(scene: Scene, stride: usize) {
    let quiet = scene.lab();
    let watch = Watch::over(&quiet, None);
    let plan = scene.plan(&quiet).await;
    let planned = watch.requests();
    let tape = Tape::new(&quiet.sim, Vec::new(), false);
    watch.allow(&plan, &tape);
    let _ = Box::pin(run(&quiet, &plan, &tape).start()).await;
    let count = watch.requests();
    let stride = if std::env::var_os("AZMEND_FULL").is_some() { 1 } else { stride };
    let mut findings = Findings::default();
    for index in (0..planned).step_by(3).chain(planned..count) {
        for (number, event) in events(&scene).into_iter().enumerate() {
            if !(index + number).is_multiple_of(stride) {
                continue;
            }
            findings.cases += 1;
            let undo = (index / stride).is_multiple_of(3);
            let case = format!("{}: {event:?} before request {index}{}", scene.name, if undo { ", undo" } else { "" });
            Box::pin(one(&mut findings, &case, &scene, index, event, undo)).await;
        }
    }
    findings.end(&scene.name);
}

async fn one(findings: &mut Findings, case: &str, scene: &Scene, index: usize, event: WorldEvent, undo: bool) {
    let lab = scene.lab();
    let theirs = event.clone();
    let meddle: Meddle = Box::new(move |world: &mut World, _, number| number == index && world.apply_event(&theirs));
    let watch = Watch::over(&lab, Some(meddle));
    let Planned::Plan(plan) = lab.plan(scene.playbook, &scene.vm, &scene.ask).await else {
        return findings.add(case, watch.broken());
    };
    let tape = Tape::new(&lab.sim, Vec::new(), false);
    watch.allow(&plan, &tape);
    let run = run(&lab, &plan, &tape);
    let started = Box::pin(run.start()).await;
    let mut result = Box::pin(carry_on(&lab, &run, started, 2)).await;
    if undo && result.status != Status::Undone {
        result = Box::pin(run.undo()).await;
    }
    let end = lab.sim.world();
    // Others touched what the run is about: what is there does not tell what azmend did.
    let others =
        matches!(event, WorldEvent::PutLockBack { .. } | WorldEvent::DeleteLock(_) | WorldEvent::RecreateCollection(_));
    // Nor what happened after the items were read for the last time.
    let unseen = watch.last_read("/backupprotecteditems").is_none_or(|read| read < index);
    let others = others || (unseen && matches!(event, WorldEvent::StopProtection(_)));
    let mut wrong = untruths(&plan, &result, &scene.world, &end, &tape.all(), others);
    wrong.extend(watch.broken());
    wrong.extend(about_locks(scene, &event, &watch, &result, &end));
    if !wrong.is_empty() {
        wrong.push(brief(&result));
    }
    findings.add(case, wrong);
}

/// What must hold when the event is about a lock.
fn about_locks(
    scene: &Scene,
    event: &WorldEvent,
    watch: &Watch,
    result: &azmend::engine::RunResult,
    end: &World,
) -> Vec<String> {
    let mut wrong = Vec::new();
    let id = match event {
        WorldEvent::PutLockBack { id, .. } | WorldEvent::DeleteLock(id) => ResourceId::parse(id).unwrap(),
        _ => return wrong,
    };
    let stands = end.locks.iter().find(|lock| lock.id == id);
    let listed = result.locks_removed.iter().find(|lock| id.as_str().eq_ignore_ascii_case(&lock.id));
    let path = id.key();
    let touched = |verb: &str| watch.mutations().iter().any(|(v, target)| v == verb && target.key() == path);
    match event {
        WorldEvent::DeleteLock(_) => {
            // It was theirs when no request of ours could have removed it.
            let ours = touched("DELETE");
            if !ours && touched("PUT") {
                wrong.push("a lock that somebody else removed was written back".to_owned());
            }
            if stands.is_some() && !touched("PUT") {
                wrong.push("the test is wrong: the lock was not deleted".to_owned());
            }
        }
        WorldEvent::PutLockBack { notes, .. } => {
            let theirs = scene.world.locks.iter().find(|lock| lock.id == id).map(|lock| lock.notes.clone());
            let other = notes.is_some() && theirs.is_some_and(|theirs| theirs != *notes);
            if other && touched("PUT") && stands.is_some_and(|lock| lock.notes != *notes) {
                // Only when it came after the last look, be it before removing or before writing back.
                let read = watch.last_read(path);
                if !watch.unseen(&id) && watch.meddled().zip(read).is_some_and(|(event, read)| event <= read) {
                    wrong.push("somebody else's lock was overwritten".to_owned());
                }
            }
            let holds = result.changes.iter().any(|change| {
                id.as_str().eq_ignore_ascii_case(&change.resource_id)
                    && matches!(change.outcome.as_str(), "succeeded" | "already_done")
            });
            let said = result
                .warnings
                .iter()
                .any(|text| text.contains("was created again") || text.contains("was not restored"));
            let seen = watch.meddled().zip(watch.last_read("/providers/microsoft.authorization/locks"));
            let seen = seen.is_some_and(|(event, read)| event < read);
            if stands.is_some() && holds && listed.is_none_or(|lock| !lock.restored) && !said && seen {
                wrong.push("the lock stands and the result says that it was removed".to_owned());
            }
        }
        _ => {}
    }
    wrong
}

macro_rules! events {
    ($($name:ident: $scene:expr, $stride:literal;)*) => { $(
        #[tokio::test]
        async fn $name() {
            Box::pin(every_event($scene, $stride)).await;
        }
    )* };
}

/// One deletion is enough here.
fn small(mut scene: Scene) -> Scene {
    for collection in scene.world.collections.iter_mut().filter(|c| c.points.len() == 19) {
        collection.points.drain(..1);
    }
    scene
}

events! {
    limit: small(scene("rp-collection-limit", "web-01", ask(&[], false))), 17;
    limit_relock: small(scene("rp-collection-limit", "web-01", ask(&[], true))), 19;
    superseded: scene("delete-stale-collections", "db-03", ask(&[("unlock", "true")], true)), 23;
    orphan: orphan_scene(), 11;
    whole_collection: whole_collection_scene(), 23;
    extension: scene("extension-operation-failed", "app-02", ask(&[], false)), 17;
    provisioning: scene("vm-provisioning-failed", "app-02", ask(&[], false)), 29;
    unlock: scene("unlock-backup-groups", "web-01", ask(&[], false)), 7;
    unlock_relock: scene("unlock-backup-groups", "web-01", ask(&[], true)), 11;
    backup: scene("backup-now", "ok-07", ask(&[], false)), 11;
    failed_vm: repair("failed-vm", "state-01", ask(&[("restart", "true")], false)), 31;
    stuck_job: repair("backup-in-progress", "stuck-02", ask(&[("mode", "cancel")], false)), 31;
    inner_error: repair("crp-reported-user-error", "locked-04", ask(&[], true)), 43;
    internal_error: repair("backup-operation-failed", "again-06", ask(&[], false)), 43;
    deleted_vm: repair("stale-collections-of-deleted-vm", "gone-08", ask(&[("unlock", "true")], true)), 37;
    unprotected: repair("unprotected-vm", "free-09", ask(&crate::crash_matrix::FREE, false)), 7;
    guest_services: inside("vss-services", "vss-01", ask(&[("backup", "false")], false)), 11;
    guest_agent_conf: inside("agent-configuration", "conf-03", ask(&[], false)), 7;
    resume: scene("datasource-not-present", "stop-12", ask(&[("policy", "daily-2d")], false)), 7;
    access_policy: key_vault("keyvault-permissions", "enc-01", &[]), 7;
    key_vault_role: key_vault("keyvault-permissions", "enc-03", &[]), 7;
}
