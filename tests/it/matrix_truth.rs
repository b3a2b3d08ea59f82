//! What a result says, and what the world says: they must be the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use azmend::actions::backup::StartBackup;
use azmend::actions::change::ChangeKind;
use azmend::actions::guest::SetGuest;
use azmend::actions::job::{AwaitJob, CancelJob};
use azmend::actions::keyvault::{AssignKeyRole, GrantKeyAccess};
use azmend::actions::locks::RemoveLock;
use azmend::actions::points::{DeleteCollection, DeletePoint};
use azmend::actions::protection::{EnableProtection, ResumeProtection};
use azmend::actions::vm::ReapplyVm;
use azmend::arm::ResourceId;
use azmend::engine::{Plan, RunResult, RunState, Status};
use azmend::journal::{Event, PauseReason, Record};
use azmend::sim::{Lock, OpKind, Protection, TaskStatus, World};

/// What matters of a world, in comparison with the world it began as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// Locks with all their content.
    pub locks: BTreeSet<String>,
    /// Points that were there at the start and still are.
    pub old_points: BTreeSet<String>,
    /// How many succeeded points are new.
    pub new_points: usize,
    /// Collections; `new` for one that was not there at the start.
    pub collections: BTreeSet<String>,
    /// State of every VM's `VMSnapshot`, and its vmId.
    pub vms: BTreeSet<String>,
    /// Backup requests that Azure accepted.
    pub backups: usize,
    /// Who may do what on the key vaults.
    pub grants: BTreeSet<String>,
}

impl Shape {
    /// What is different, for people.
    pub fn difference(&self, other: &Self) -> String {
        let sets = |name: &str, a: &BTreeSet<String>, b: &BTreeSet<String>| {
            let only: Vec<_> = a.difference(b).collect();
            let missing: Vec<_> = b.difference(a).collect();
            format!("{name}: +{only:?} -{missing:?} ")
        };
        let mut text = String::new();
        for (name, a, b) in [
            ("locks", &self.locks, &other.locks),
            ("points", &self.old_points, &other.old_points),
            ("collections", &self.collections, &other.collections),
            ("vms", &self.vms, &other.vms),
            ("grants", &self.grants, &other.grants),
        ] {
            if a != b {
                text.push_str(&sets(name, a, b));
            }
        }
        format!("{text}new points {} {}, backups {} {}", self.new_points, other.new_points, self.backups, other.backups)
    }
}

pub fn lock_text(lock: &Lock) -> String {
    format!("{} {:?} {:?} {:?}", lock.id.key(), lock.level, lock.notes, lock.owners)
}

pub fn shape(world: &World, start: &World) -> Shape {
    let points = |w: &World| -> BTreeSet<String> {
        w.collections.iter().flat_map(|c| c.points.iter().map(move |p| format!("{}/{}", c.id.key(), p.name))).collect()
    };
    let (now, then) = (points(world), points(start));
    Shape {
        locks: world.locks.iter().map(lock_text).collect(),
        old_points: now.intersection(&then).cloned().collect(),
        new_points: now.difference(&then).count(),
        collections: world
            .collections
            .iter()
            .map(|c| if start.collection(&c.id).is_some() { c.id.key().to_owned() } else { "new".to_owned() })
            .collect(),
        vms: world
            .vms
            .iter()
            .map(|vm| {
                let handler = vm.vmsnapshot.as_ref().map(|h| h.state);
                format!("{} {} {handler:?} {:?}", vm.id.key(), vm.vm_id, vm.guest)
            })
            .collect(),
        backups: backups(world),
        grants: grants(world),
    }
}

fn grants(world: &World) -> BTreeSet<String> {
    let mut out: BTreeSet<String> = world
        .role_assignments
        .iter()
        .map(|role| format!("{} {} {}", role.id.key(), role.principal, role.role))
        .collect();
    for vault in &world.key_vaults {
        for policy in &vault.policies {
            let mut policy = policy.clone();
            policy.permissions.lists_mut().into_iter().for_each(|list| list.sort_unstable());
            out.insert(format!("{} {policy:?}", vault.id.key()));
        }
    }
    out
}

/// A point as [`Shape`] writes it.
fn short_point(id: &ResourceId) -> String {
    id.key().replace("/restorepoints/", "/")
}

/// Backup requests that Azure accepted and that became a job (or will).
pub fn backups(world: &World) -> usize {
    world
        .operations
        .iter()
        .filter(|o| o.kind == OpKind::Backup)
        .filter(|o| o.ended.is_none() || o.job.as_ref().is_some_and(|job| world.job(job).is_some()))
        .count()
}

/// How often the records say that the backup ended as expected after unlocking.
pub fn clean_ups(records: &[Record]) -> usize {
    let mut backup = false;
    let mut count = 0;
    for record in records {
        match &record.event {
            Event::Intent { verb, .. } if verb == "POST" => backup = true,
            Event::Paused { why: PauseReason::CleanUpPending, .. } if backup => {
                backup = false;
                count += 1;
            }
            _ => {}
        }
    }
    count
}

/// What is wrong with a result, given the worlds before and after it. `others`: somebody else changed the world meanwhile.
pub fn untruths(
    plan: &Plan,
    result: &RunResult,
    start: &World,
    end: &World,
    records: &[Record],
    others: bool,
) -> Vec<String> {
    let mut wrong = Vec::new();
    let code = result.exit_code;
    let fits = match result.status {
        Status::Succeeded => code == 0 || (code == 6 && !result.not_read.is_empty()),
        Status::Undone | Status::NothingToDo => code == 0,
        Status::Partial => code == 6,
        Status::Refused => code == 5,
        Status::Paused => code == 7 && result.retry_after.is_some(),
        Status::Failed => matches!(code, 4 | 6 | 9),
        Status::Stuck => code == 8,
        Status::Planned | Status::Waiting | Status::Error => false,
    };
    if !fits {
        wrong.push(format!("exit code {code} does not fit {:?}", result.status));
    }
    let outcomes: BTreeMap<&str, &azmend::engine::result::ChangeResult> =
        plan.changes().zip(&result.changes).map(|((_, change), now)| (change.id.as_str(), now)).collect();
    if result.changes.len() != plan.changes().count() {
        wrong.push("the result does not list every change".to_owned());
    }
    let (before, after) = (shape(start, start), shape(end, start));
    // What Azure's own clean-up deletes is not azmend's doing.
    let planned_gone = before.old_points.difference(&after.old_points).any(|gone| {
        plan.changes().any(|(_, change)| match &change.what {
            ChangeKind::DeletePoint(DeletePoint { point, .. }) => gone.eq_ignore_ascii_case(&short_point(&point.id)),
            ChangeKind::DeleteCollection(DeleteCollection { collection, .. }) => gone.starts_with(collection.id.key()),
            _ => false,
        })
    });
    // What was started before this run began is not its doing.
    let started = after.backups.saturating_sub(before.backups);
    if matches!(code, 4 | 5) && !others && (before.locks != after.locks || planned_gone || started > 0) {
        wrong.push(format!("exit code {code} says that nothing was changed"));
    }
    let state = RunState::fold(plan, records);
    if let Err(error) = &state {
        wrong.push(format!("the records do not fold: {error}"));
    }
    for (_, change) in plan.changes() {
        let Some(now) = outcomes.get(change.id.as_str()) else { continue };
        let word = now.outcome.as_str();
        let holds = matches!(word, "succeeded" | "already_done");
        if code == 0 && result.status == Status::Succeeded && !holds && word != "skipped" {
            wrong.push(format!("exit code 0, but {} is {word}", change.id));
        }
        let open = matches!(word, "unknown" | "pending");
        match &change.what {
            ChangeKind::RemoveLock(RemoveLock { lock }) => {
                let stands = end.locks.iter().find(|l| l.id == lock.id);
                let same = stands.is_some_and(|l| {
                    l.level.as_str() == lock.level
                        && l.notes.as_deref().unwrap_or_default() == lock.notes
                        && l.owners == lock.owners
                });
                let listed = result.locks_removed.iter().find(|l| l.id.eq_ignore_ascii_case(lock.id.as_str()));
                let scope_gone = lock.scope().is_type("Microsoft.Compute/restorePointCollections")
                    && end.collection(&lock.scope()).is_none();
                let was = start.locks.iter().any(|l| l.id == lock.id);
                if stands.is_none() && was && !others && !scope_gone && listed.is_none_or(|l| l.restored) {
                    wrong.push(format!("the lock {} is missing and the result does not say so", lock.id.name()));
                }
                if listed.is_some_and(|l| l.restored) && !same && !others {
                    wrong.push(format!("the lock {} is said to be restored and is not", lock.id.name()));
                }
                let back = listed.is_some_and(|l| l.restored);
                if stands.is_some() && holds && !back && !others {
                    wrong.push(format!("the lock {} is said to be {word} and stands", lock.id.name()));
                }
                if listed.is_some_and(|l| !l.restored) && same && !open && !others {
                    wrong.push(format!("the lock {} stands and is said to be removed ({word})", lock.id.name()));
                }
                if stands.is_none() && was && !holds && !open && !others && !scope_gone && listed.is_none() {
                    wrong.push(format!("the lock {} is gone and its removal is {word}", lock.id.name()));
                }
            }
            ChangeKind::DeletePoint(DeletePoint { point, .. }) => {
                let there = in_world(end, &point.id);
                if there && holds && !others {
                    wrong.push(format!("the point {} is said to be {word} and is there", point.id.name()));
                }
                if !there && in_world(start, &point.id) && !holds && !open && !others {
                    wrong.push(format!("the point {} is gone and its deletion is {word}", point.id.name()));
                }
            }
            ChangeKind::DeleteCollection(DeleteCollection { collection, .. }) => {
                let there = end.collection(&collection.id).is_some();
                if there && holds && !others {
                    wrong.push(format!("the collection {} is said to be {word} and is there", collection.id.name()));
                }
                let was = start.collection(&collection.id).is_some();
                if !there && was && !holds && !open && !others {
                    wrong.push(format!("the collection {} is gone and its deletion is {word}", collection.id.name()));
                }
            }
            ChangeKind::UninstallExtension(_) | ChangeKind::RestartVm(_) => {}
            ChangeKind::ReapplyVm(ReapplyVm { vm, .. }) => {
                let fine = end.vm(vm).is_none_or(|vm| vm.provisioned);
                if holds && !fine && !others {
                    wrong.push(format!("the model of {} is said to be applied and the VM is failed", vm.name()));
                }
            }
            ChangeKind::ResumeProtection(ResumeProtection { item, .. })
            | ChangeKind::EnableProtection(EnableProtection { item, .. }) => {
                let on = end
                    .item(item)
                    .is_some_and(|now| matches!(now.protection, Protection::Protected | Protection::Pending));
                let back = now.undo == "succeeded" || now.undo == "already_done";
                // Somebody stopped it afterwards: then the report says so.
                let told = result.warnings.iter().any(|text| text.contains("the protection is stopped again"));
                if holds && !on && !back && !others && !told {
                    wrong.push(format!("the protection is said to be {word} and is not on"));
                }
                if on && !holds && !open && !others {
                    wrong.push(format!("the protection is on and is said to be {word}"));
                }
                if on && back && !others {
                    wrong.push("the protection is said to be stopped again and is on".to_owned());
                }
                if on && result.status == Status::Undone && !others {
                    wrong.push("undone, but the protection is on".to_owned());
                }
            }
            // Another VM under the name, or none: what was set is gone with the old one.
            ChangeKind::SetGuest(SetGuest { vm, vm_id, .. }) if end.vm(vm).is_none_or(|now| now.vm_id != *vm_id) => {}
            ChangeKind::SetGuest(SetGuest { vm, setting, .. }) => {
                let on = crate::guest::is_set(end, vm, setting);
                let back = now.undo == "succeeded" || now.undo == "already_done";
                if holds && !on && !back && !others {
                    wrong.push(format!("the guest is said to be set ({word}) and is not"));
                }
                if on && !holds && !open && !others {
                    wrong.push(format!("the guest is set and is said to be {word}"));
                }
                if on
                    && (back || result.status == Status::Undone)
                    && !others
                    && !crate::guest::is_set(start, vm, setting)
                {
                    wrong.push("the guest is said to be set back and is not".to_owned());
                }
            }
            ChangeKind::GrantKeyAccess(_) | ChangeKind::AssignKeyRole(_) => {
                let on = granted(end, &change.what);
                let back = now.undo == "succeeded" || now.undo == "already_done";
                if holds && !on && !back && !others {
                    wrong.push(format!("the grant is said to be {word} and is not there"));
                }
                if on && !holds && !open && !others {
                    wrong.push(format!("the grant is there and is said to be {word}"));
                }
                if on && (back || result.status == Status::Undone) && !others {
                    wrong.push("the grant is said to be taken back and is there".to_owned());
                }
            }
            ChangeKind::AwaitJob(AwaitJob { job }) | ChangeKind::CancelJob(CancelJob { job, .. }) => {
                let runs = end.job(job.name()).is_some_and(|job| job.status.is_active());
                if holds && runs && !others {
                    wrong.push(format!("the job {} is said to have ended and runs", job.name()));
                }
            }
            ChangeKind::StartBackup(StartBackup { item, .. }) => {
                let made = end.jobs.iter().any(|job| {
                    job.item == *item
                        && job.user_triggered == Some(true)
                        && job.started >= start.now
                        && job.tasks.first().is_some_and(|task| task.status == TaskStatus::Completed)
                });
                if holds && !made {
                    wrong.push("the backup is said to have succeeded and no job shows it".to_owned());
                }
                if matches!(word, "refused" | "skipped" | "not_run") && started > clean_ups(records) {
                    wrong.push(format!("a backup was started and is {word}"));
                }
            }
        }
    }
    if result.status == Status::Undone && !others && before.grants != after.grants {
        wrong.push("undone, but the grants are not as they were".to_owned());
    }
    if matches!(code, 4 | 5) && !others && before.grants != after.grants {
        wrong.push(format!("exit code {code}, but something was granted"));
    }
    if result.status == Status::Undone && !others && (before.locks != after.locks || planned_gone) {
        wrong.push("undone, but the world is not as it was".to_owned());
    }
    if started > 1 + clean_ups(records) {
        wrong.push(format!("S10: {started} backups were started"));
    }
    let planned: BTreeSet<&str> = plan
        .changes()
        .filter_map(|(_, c)| match &c.what {
            ChangeKind::RemoveLock(RemoveLock { lock }) => Some(lock.id.key()),
            _ => None,
        })
        .collect();
    for lock in start.locks.iter().filter(|lock| !planned.contains(lock.id.key())) {
        if !others && !after.locks.contains(&lock_text(lock)) {
            wrong.push(format!("the lock {} is not in the plan and is not as it was", lock.id));
        }
    }
    wrong.extend(crate::truth::compare(plan, result, start, end, records, others));
    wrong
}

fn in_world(world: &World, point: &ResourceId) -> bool {
    let mut holders = world.collections.iter().filter(|c| c.id.covers(point));
    holders.any(|c| c.points.iter().any(|p| p.name.eq_ignore_ascii_case(point.name())))
}

/// Whether something of a grant on a key vault stands in this world.
pub fn granted(world: &World, what: &ChangeKind) -> bool {
    match what {
        ChangeKind::GrantKeyAccess(GrantKeyAccess { vault, principal, missing, .. }) => {
            let vault = world.key_vaults.iter().find(|now| now.id == *vault);
            let own = vault.and_then(|vault| vault.policies.iter().find(|policy| policy.principal == *principal));
            own.is_some_and(|own| missing.secrets.iter().any(|word| own.permissions.secrets.contains(word)))
        }
        ChangeKind::AssignKeyRole(AssignKeyRole { assignment, .. }) => {
            world.role_assignments.iter().any(|role| role.id == *assignment)
        }
        _ => false,
    }
}

/// Collects what is wrong over a whole matrix, so that one run shows everything.
#[derive(Default)]
pub struct Findings {
    found: Vec<String>,
    pub cases: usize,
}

impl Findings {
    pub fn add(&mut self, case: &str, wrong: Vec<String>) {
        self.found.extend(wrong.into_iter().map(|text| format!("{case}: {text}")));
    }

    pub fn check(&mut self, case: &str, good: bool, why: impl FnOnce() -> String) {
        if !good {
            self.found.push(format!("{case}: {}", why()));
        }
    }

    pub fn end(self, what: &str) {
        let mut text = String::new();
        for line in self.found.iter().take(60) {
            let _ = writeln!(text, "{line}");
        }
        if std::env::var_os("AZMEND_MATRIX_SIZE").is_some() {
            eprintln!("{what}: {} cases", self.cases);
        }
        assert!(self.found.is_empty(), "{what}: {} of {} cases are wrong:\n{text}", self.found.len(), self.cases);
        assert!(self.cases > 0, "{what}: no cases");
    }
}

/// A result in one line.
pub fn brief(result: &RunResult) -> String {
    let outcomes: Vec<String> = result
        .changes
        .iter()
        .map(|c| format!("{}={}/{}({})", c.step, c.outcome, c.undo, c.detail.chars().take(90).collect::<String>()))
        .collect();
    format!(
        "{:?} {} [{}] not read: {:?} {}",
        result.status,
        result.exit_code,
        outcomes.join("; "),
        result.not_read,
        result.error.as_ref().map(|e| format!("{}: {}", e.code, e.message)).unwrap_or_default()
    )
}
