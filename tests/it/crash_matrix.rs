//! Crash matrix: the process dies after every record, before or after the request that follows took effect, or while a
//! line is being written. Then the run is resumed, or taken back. `AZMEND_FULL=1` runs every case.

use std::time::Duration;

use azmend::actions::change::Override;
use azmend::arm::ResourceId;
use azmend::engine::{Plan, RunState, resume_check};
use azmend::journal::{Event, Purpose, Record};
use azmend::playbook::library::Library;
use azmend::sim::{Item, Protection, World};

use crate::matrix_support::*;
use crate::support::{Ask, Lab, SUB};

/// Options.
pub fn ask(set: &[(&'static str, &'static str)], relock: bool) -> Ask {
    Ask { set: set.to_vec(), relock, ..Ask::default() }
}

/// A playbook on a VM of the built-in estate, alone in its world.
pub fn scene(playbook: &'static str, vm: &str, ask: Ask) -> Scene {
    let world = built_in();
    let id = Lab::on(world.clone()).vm(vm);
    let name = format!("{playbook} on {} {:?}{}", id.name(), ask.set, if ask.relock { " --relock" } else { "" });
    let mut world = only(&world, &id);
    // Two deletions show what four would.
    for collection in world.collections.iter_mut().filter(|c| c.points.len() == 21) {
        collection.points.drain(..2);
    }
    Scene { name, playbook, vm: id.to_string(), ask, world }
}

/// A run to its end, with everything between.
struct Film {
    plan: Plan,
    records: Vec<Record>,
    frames: Vec<World>,
    end: World,
    code: u8,
}

async fn film(scene: &Scene, undo: bool) -> Film {
    let lab = scene.lab();
    let watch = Watch::over(&lab, None);
    let plan = scene.plan(&lab).await;
    let tape = Tape::new(&lab.sim, Vec::new(), true);
    watch.allow(&plan, &tape);
    let run = run(&lab, &plan, &tape);
    let first = Box::pin(run.start()).await;
    let mut result = Box::pin(carry_on(&lab, &run, first, 5)).await;
    if undo {
        result = Box::pin(run.undo()).await;
    }
    let end = lab.sim.world();
    let records = tape.all();
    let mut wrong = untruths(&plan, &result, &scene.world, &end, &records, false);
    wrong.extend(watch.broken());
    assert!(wrong.is_empty(), "{}: {wrong:#?}\n{}", scene.name, brief(&result));
    assert!(matches!(result.exit_code, 0 | 9) || (undo && result.exit_code == 6), "{}: {}", scene.name, brief(&result));
    let frames = locked(&tape.frames).clone();
    assert_eq!(frames.len(), records.len());
    Film { plan, records, frames, end, code: result.exit_code }
}

/// Cuts a film everywhere, resumes and takes back.
async fn cut_everywhere(scene: Scene, undone: bool) {
    let film = film(&scene, undone).await;
    let mut findings = Findings::default();
    let first = if undone {
        film.records.iter().position(|r| matches!(r.event, Event::UndoStarted { .. })).unwrap()
    } else {
        0
    };
    for index in first..film.records.len() {
        let next = film.frames.get(index + 1).unwrap_or(&film.end);
        for (frame, world) in [("before", &film.frames[index]), ("after", next)] {
            for wait in [0, 40] {
                // What happens later only differs where something is under way.
                if wait > 0
                    && !matches!(
                        film.records[index].event,
                        Event::Intent { .. } | Event::Accepted { .. } | Event::Learned { .. }
                    )
                {
                    continue;
                }
                let world = at(world, Duration::from_secs(wait * 60));
                for undo in [false, true] {
                    // Without AZMEND_FULL a third of the undos, and of the late cuts those that something follows.
                    let thin = (undo && !(index + usize::from(frame == "after")).is_multiple_of(3))
                        || (wait > 0 && (undo || frame == "before"));
                    if thin && !undone && std::env::var_os("AZMEND_FULL").is_none() {
                        continue;
                    }
                    let case = format!(
                        "{} cut after {} ({}), {frame} the next request, {wait} min later, {}",
                        scene.name,
                        index + 1,
                        event_word(&film.records[index].event),
                        if undo { "undo" } else { "resume" }
                    );
                    findings.cases += 1;
                    Box::pin(again(&mut findings, &case, &scene, &film, index, &world, undo, undone)).await;
                }
            }
        }
    }
    findings.end(&scene.name);
}

fn event_word(event: &Event) -> String {
    let text = format!("{event:?}");
    let word = text.split([' ', '{']).next().unwrap_or_default().to_owned();
    match event {
        Event::Intent { change, verb, purpose, .. } => format!("{word} {verb} {change} {purpose:?}"),
        Event::Accepted { change, .. } | Event::Answered { change, .. } | Event::Ended { change, .. } => {
            format!("{word} {change}")
        }
        _ => word,
    }
}

#[expect(clippy::too_many_arguments, reason = "one case of a matrix")]
async fn again(
    findings: &mut Findings,
    case: &str,
    scene: &Scene,
    film: &Film,
    index: usize,
    world: &World,
    undo: bool,
    undone: bool,
) {
    let kept = film.records[..=index].to_vec();
    let lab = Lab::on(world.clone());
    let watch = Watch::over(&lab, None);
    let tape = Tape::new(&lab.sim, kept.clone(), false);
    watch.allow(&film.plan, &tape);
    let run = run(&lab, &film.plan, &tape);
    let state = match RunState::fold(&film.plan, &kept) {
        Ok(state) => state,
        Err(error) => return findings.add(case, vec![error.to_string()]),
    };
    let over = !state.resumable();
    if over && !undo {
        findings.check(case, resume_check(&film.plan, &state, world.now).is_err(), || "it may be resumed".to_owned());
        let _ = Box::pin(run.resume()).await;
        findings.check(case, watch.mutations().is_empty(), || "resuming a finished run changed something".to_owned());
        return;
    }
    let result = if undo { Box::pin(run.undo()).await } else { Box::pin(run.resume()).await };
    let result = Box::pin(carry_on(&lab, &run, result, 5)).await;
    let end = lab.sim.world();
    let records = tape.all();
    let mut wrong = untruths(&film.plan, &result, &scene.world, &end, &records, false);
    wrong.extend(watch.broken());
    let now = shape(&end, &scene.world);
    let started = shape(&scene.world, &scene.world);
    let expected = shape(&film.end, &scene.world);
    if undo || undone {
        if now.locks != started.locks {
            wrong.push("the locks are not as at the start".to_owned());
        }
        // A script sets the inside of a VM back.
        let back = |verb: &str, target: &ResourceId| {
            verb == "PUT" || is_role(target) || (verb == "POST" && target.is_type("Microsoft.Compute/virtualMachines"))
        };
        if undo && watch.mutations().iter().any(|(verb, target)| !back(verb, target)) {
            wrong.push(format!("undo does more than put locks back: {:?}", watch.mutations()));
        }
        if !matches!(result.exit_code, 0 | 6) {
            wrong.push("taking back did not end well".to_owned());
        }
        // What was protected for the first time stays in the vault, stopped: it is never deleted.
        let made = |item: &Item| item.protection == Protection::Stopped && scene.world.item(&item.id).is_none();
        if now.grants != started.grants {
            wrong.push(format!("the grants are not as at the start: {}", now.difference(&started)));
        }
        let protection = |world: &World| -> Vec<_> {
            let items = world.items.iter().filter(|item| !made(item));
            items.map(|item| (item.id.clone(), item.protection, item.policy.clone())).collect()
        };
        if protection(&end) != protection(&scene.world) {
            wrong.push(format!("the items are not as at the start: {:?}", protection(&end)));
        }
    } else if lost_backup(&kept, world) {
        // Nobody can say whether the request was sent: it must not be sent again.
        let same = now.old_points.is_superset(&expected.old_points) && now.locks == expected.locks;
        if result.exit_code != 8 || !same || now.backups != backups(world) {
            wrong.push(format!("a backup that may have been started: {}", now.difference(&expected)));
        }
    } else if unanswered(&kept, "restart.") {
        // The same for a restart, of which reading cannot tell either.
        if result.exit_code != 8 || watch.mutations().iter().any(|(verb, _)| verb == "POST") {
            wrong.push("a restart that may have happened".to_owned());
        }
    } else {
        if now != expected {
            wrong.push(format!("another end than without the crash:\n  {}", now.difference(&expected)));
        }
        if result.exit_code != film.code {
            wrong.push(format!("exit code {} without the crash", film.code));
        }
    }
    if !wrong.is_empty() {
        wrong.push(brief(&result));
    }
    findings.add(case, wrong);
    // Once it is over, it is over.
    let before = watch.mutations().len();
    let state = RunState::fold(&film.plan, &records);
    findings
        .check(case, state.as_ref().is_ok_and(|s| !s.resumable()), || format!("it has not ended: {}", brief(&result)));
    let _ = Box::pin(run.resume()).await;
    findings.check(case, watch.mutations().len() == before, || "resuming again changed something".to_owned());
}

/// The intent of a backup is written, and no request of it took effect.
fn lost_backup(records: &[Record], world: &World) -> bool {
    let sent = records.iter().filter(|r| is_intent(r, "backup.")).count();
    unanswered(records, "backup.") && backups(world) < sent
}

fn is_intent(record: &Record, step: &str) -> bool {
    matches!(&record.event, Event::Intent { verb, change, .. } if verb == "POST" && change.starts_with(step))
}

/// The last intent of this step has no answer.
fn unanswered(records: &[Record], step: &str) -> bool {
    let Some(last) = records.iter().rposition(|r| is_intent(r, step)) else { return false };
    !records[last..].iter().any(|r| {
        matches!(&r.event, Event::Answered { purpose: Purpose::Do, .. } | Event::Accepted { purpose: Purpose::Do, .. })
    })
}

macro_rules! cuts {
    ($($name:ident: $playbook:literal, $vm:expr, $set:expr, $relock:literal;)*) => { $(
        #[tokio::test]
        async fn $name() {
            Box::pin(cut_everywhere(scene($playbook, $vm, ask(&$set, $relock)), false)).await;
        }
    )* };
}

cuts! {
    limit: "rp-collection-limit", "web-01", [], false;
    limit_relock: "rp-collection-limit", "web-01", [("follow", "job")], true;
    limit_service: "rp-collection-limit", "web-01", [("cleanup", "service")], false;
    superseded: "rp-collection-limit", "db-03", [], true;
    extension: "extension-operation-failed", "app-02", [], false;
    provisioning: "vm-provisioning-failed", "app-02", [("follow", "job")], false;
    unlock: "unlock-backup-groups", "web-01", [], false;
    unlock_relock: "unlock-backup-groups", "db-03", [], true;
    backup: "backup-now", "ok-07", [], false;
    backup_job: "backup-now", "ok-07", [("follow", "job")], false;
    snapshot_only: "rp-collection-limit", "nas-04", [], true;
    stale_superseded: "delete-stale-collections", "db-03", [], false;
    resume: "datasource-not-present", "stop-12", [("policy", "daily-2d")], false;
    resume_backup: "datasource-not-present", "stop-12", [("policy", "daily-2d"), ("backup", "true")], false;
}

/// The repairs beside the point limit, each on its machine of examples/estates/repairs.yaml.
pub fn repair(playbook: &'static str, vm: &str, ask: Ask) -> Scene {
    let world = estate(include_str!("../../examples/estates/repairs.yaml"));
    let vm = match vm {
        "gone-08" => format!(
            "/subscriptions/{}/resourceGroups/rg-app/providers/Microsoft.Compute/virtualMachines/gone-08",
            "5b1c0de0-0000-4000-8000-000000000003"
        ),
        name => Lab::on(world.clone()).vm(name).to_string(),
    };
    let name = format!(
        "{playbook} on {} {:?}{}",
        vm.rsplit('/').next().unwrap(),
        ask.set,
        if ask.relock { " --relock" } else { "" }
    );
    let id = azmend::arm::ResourceId::parse(&vm).unwrap();
    let mut world = only(&world, &id);
    for collection in world.collections.iter_mut().filter(|c| c.points.len() == 20) {
        collection.points.drain(..2);
    }
    Scene { name, playbook, vm, ask, world }
}

/// Inside a machine of examples/estates/guest.yaml.
pub fn inside(playbook: &'static str, vm: &str, ask: Ask) -> Scene {
    let world = crate::guest::world();
    let id = Lab::on(world.clone()).vm(vm);
    let world = only(&world, &id);
    let ask = Ask { allow_guest: true, ..ask };
    Scene { name: format!("{playbook} on {vm}"), playbook, vm: id.to_string(), ask, world }
}

#[tokio::test]
async fn guest_services() {
    Box::pin(cut_everywhere(inside("vss-services", "vss-01", ask(&[], false)), false)).await;
}

#[tokio::test]
async fn guest_services_undone() {
    Box::pin(cut_everywhere(inside("vss-services", "vss-01", ask(&[("backup", "false")], false)), true)).await;
}

#[tokio::test]
async fn guest_agent_conf() {
    Box::pin(cut_everywhere(inside("agent-configuration", "conf-03", ask(&[], false)), true)).await;
}

macro_rules! repairs {
    ($($name:ident: $playbook:literal, $vm:expr, $set:expr, $relock:literal;)*) => { $(
        #[tokio::test]
        async fn $name() {
            Box::pin(cut_everywhere(repair($playbook, $vm, ask(&$set, $relock)), false)).await;
        }
    )* };
}

repairs! {
    failed_vm: "failed-vm", "state-01", [("restart", "true")], false;
    stuck_job: "backup-in-progress", "stuck-02", [("mode", "cancel")], false;
    slow_job: "backup-in-progress", "slow-03", [], false;
    inner_error: "crp-reported-user-error", "locked-04", [], true;
    internal_error: "backup-operation-failed", "again-06", [], false;
    deleted_vm: "stale-collections-of-deleted-vm", "gone-08", [("unlock", "true")], true;
    unprotected: "unprotected-vm", "free-09", FREE, false;
}

/// The vault and the policy of examples/estates/repairs.yaml.
pub const FREE: [(&str, &str); 2] = [("vault", "bkp-repairs"), ("policy", "daily")];
/// An encrypted VM whose key vault does not let Azure Backup in, alone in its world.
pub fn key_vault(playbook: &'static str, vm: &str, set: &[(&'static str, &'static str)]) -> Scene {
    let mut ask = crate::keyvault::granting();
    ask.set.extend(set);
    let world = crate::keyvault::encrypted();
    let id = Lab::on(world.clone()).vm(vm);
    let name = format!("{playbook} on {vm} {:?}", ask.set);
    Scene { name, playbook, vm: id.to_string(), ask, world: only(&world, &id) }
}

/// An assignment that this run made may be deleted again.
pub fn is_role(id: &azmend::arm::ResourceId) -> bool {
    id.is_type("Microsoft.Authorization/roleAssignments")
}

macro_rules! key_vaults {
    ($($name:ident: $playbook:literal, $vm:literal, $set:expr, $undone:literal, $drops:literal;)*) => { $(
        #[tokio::test]
        async fn $name() {
            let mut scene = key_vault($playbook, $vm, &$set);
            for vault in &mut scene.world.key_vaults {
                (vault.remove_drops_entry, vault.add_overwrites_entry) = ($drops, $drops);
            }
            Box::pin(cut_everywhere(scene, $undone)).await;
        }
    )* };
}

key_vaults! {
    access_policy: "keyvault-permissions", "enc-01", [("backup", "true")], false, false;
    access_policy_undone: "keyvault-permissions", "enc-01", [], true, false;
    whole_entry_undone: "keyvault-permissions", "enc-01", [], true, true;
    key_vault_role: "keyvault-permissions", "enc-03", [], false, false;
    key_vault_role_undone: "keyvault-permissions", "enc-03", [], true, false;
}

/// The collection of a VM that is gone, under a lock.
pub fn orphan_scene() -> Scene {
    let id = format!("/subscriptions/{SUB}/resourceGroups/rg-shop/providers/Microsoft.Compute/virtualMachines/old-05");
    scene("delete-stale-collections", &id, ask(&[("unlock", "true")], true))
}

/// The documents' way by hand.
pub fn whole_collection_scene() -> Scene {
    let overrides = vec![Override::Newest, Override::SnapshotOnly];
    scene("rp-collection-limit", "web-01", Ask { overrides, ..ask(&[("cleanup", "collection")], true) })
}

/// A lock that only goes when it is named: one with owners, one on the subscription.
async fn named_lock(vm: &str, lock: &str) {
    let locks = azmend::sim::World::from_estate(&azmend::sim::Estate::built_in()).locks;
    let id = locks.iter().find(|now| now.id.name() == lock).unwrap().id.to_string();
    let scene = scene("rp-collection-limit", vm, Ask { locks: vec![id], ..ask(&[], true) });
    Box::pin(cut_everywhere(scene, false)).await;
}

#[tokio::test]
async fn subscription_lock() {
    Box::pin(named_lock("sub-lock", "subsidiary-freeze")).await;
}

#[tokio::test]
async fn orphan() {
    Box::pin(cut_everywhere(orphan_scene(), false)).await;
}

#[tokio::test]
async fn whole_collection() {
    Box::pin(cut_everywhere(whole_collection_scene(), false)).await;
}

#[tokio::test]
async fn undo_of_a_resumed_protection() {
    Box::pin(cut_everywhere(scene("datasource-not-present", "stop-12", ask(&[("policy", "daily-2d")], false)), true))
        .await;
}

#[tokio::test]
async fn undo_of_a_new_protection() {
    Box::pin(cut_everywhere(repair("unprotected-vm", "free-09", ask(&FREE, false)), true)).await;
}

#[tokio::test]
async fn undo_of_a_finished_run() {
    Box::pin(cut_everywhere(scene("rp-collection-limit", "web-01", ask(&[], false)), true)).await;
    Box::pin(cut_everywhere(scene("unlock-backup-groups", "web-01", ask(&[], false)), true)).await;
}

/// No shipped playbook is forgotten here.
#[test]
fn every_playbook_is_cut() {
    let library = Library::shipped();
    let names: Vec<&str> = library.iter().map(|(playbook, _)| playbook.name()).collect();
    let text = include_str!("crash_matrix.rs");
    for name in names {
        assert!(text.contains(&format!("\"{name}\", \"")), "{name} is not in the crash matrix");
    }
}
