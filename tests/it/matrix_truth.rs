//! What a result says, and what the world says: they must be the same.

use std::collections::BTreeSet;
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
use azmend::arm::{ResourceId, model};
use azmend::engine::result::ChangeResult;
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
    let mut judge = Judge::of(plan, result, start, end, records, others);
    judge.exit_code();
    judge.changes();
    judge.undone();
    judge.untouched();
    judge.wrong.extend(crate::truth::compare(plan, result, start, end, records, others));
    judge.wrong
}

/// What is compared, and what was found.
struct Judge<'a> {
    plan: &'a Plan,
    result: &'a RunResult,
    records: &'a [Record],
    /// The world when the run began, and when it had ended.
    start: &'a World,
    end: &'a World,
    before: Shape,
    after: Shape,
    /// Others changed the world as well.
    others: bool,
    /// Backups that began since the run did.
    started: usize,
    /// What the plan names is gone.
    planned_gone: bool,
    wrong: Vec<String>,
}

/// How the result says that a change ended.
#[derive(Clone, Copy)]
struct Ended<'a> {
    word: &'a str,
    /// It was made, or had been before.
    holds: bool,
    /// Nobody knows yet.
    open: bool,
    /// Its inverse was made.
    back: bool,
}

impl<'a> Ended<'a> {
    fn of(now: &'a ChangeResult) -> Self {
        let word = now.outcome.as_str();
        let good = |word: &str| matches!(word, "succeeded" | "already_done");
        Self { word, holds: good(word), open: matches!(word, "unknown" | "pending"), back: good(&now.undo) }
    }
}

impl<'a> Judge<'a> {
    fn of(
        plan: &'a Plan,
        result: &'a RunResult,
        start: &'a World,
        end: &'a World,
        records: &'a [Record],
        others: bool,
    ) -> Self {
        let (before, after) = (shape(start, start), shape(end, start));
        // What Azure's own clean-up deletes is not azmend's doing.
        let planned_gone = before.old_points.difference(&after.old_points).any(|gone| {
            plan.changes().any(|(_, change)| match &change.what {
                ChangeKind::DeletePoint(DeletePoint { point, .. }) => {
                    gone.eq_ignore_ascii_case(&short_point(&point.id))
                }
                ChangeKind::DeleteCollection(DeleteCollection { collection, .. }) => {
                    gone.starts_with(collection.id.key())
                }
                _ => false,
            })
        });
        // What was started before this run began is not its doing.
        let started = after.backups.saturating_sub(before.backups);
        Self { plan, result, records, start, end, before, after, others, started, planned_gone, wrong: Vec::new() }
    }

    /// Others may have done it: then it is no untruth.
    fn say(&mut self, wrong: bool, what: impl FnOnce() -> String) {
        if wrong && !self.others {
            self.wrong.push(what());
        }
    }

    /// The exit code fits the status, and 4 and 5 mean that nothing was changed.
    fn exit_code(&mut self) {
        let (result, code) = (self.result, self.result.exit_code);
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
            self.wrong.push(format!("exit code {code} does not fit {:?}", result.status));
        }
        if let Err(error) = RunState::fold(self.plan, self.records) {
            self.wrong.push(format!("the records do not fold: {error}"));
        }
        let unchanged = matches!(code, 4 | 5);
        let touched = self.before.locks != self.after.locks || self.planned_gone || self.started > 0;
        self.say(unchanged && touched, || format!("exit code {code} says that nothing was changed"));
        let granted = self.before.grants != self.after.grants;
        self.say(unchanged && granted, || format!("exit code {code}, but something was granted"));
    }

    /// Each change is in the world as the result says.
    fn changes(&mut self) {
        let (plan, result) = (self.plan, self.result);
        if result.changes.len() != plan.changes().count() {
            self.wrong.push("the result does not list every change".to_owned());
        }
        for ((_, change), now) in plan.changes().zip(&result.changes) {
            let ended = Ended::of(now);
            let Ended { word, holds, .. } = ended;
            if result.exit_code == 0 && result.status == Status::Succeeded && !holds && word != "skipped" {
                self.wrong.push(format!("exit code 0, but {} is {word}", change.id));
            }
            match &change.what {
                ChangeKind::RemoveLock(RemoveLock { lock }) => self.lock(lock, ended),
                ChangeKind::DeletePoint(DeletePoint { point, .. }) => {
                    let (was, there) = (in_world(self.start, &point.id), in_world(self.end, &point.id));
                    self.deleted("point", point.id.name(), was, there, ended);
                }
                ChangeKind::DeleteCollection(DeleteCollection { collection, .. }) => {
                    let is_in = |world: &World| world.collection(&collection.id).is_some();
                    let (was, there) = (is_in(self.start), is_in(self.end));
                    self.deleted("collection", collection.id.name(), was, there, ended);
                }
                ChangeKind::UninstallExtension(_) | ChangeKind::RestartVm(_) => {}
                ChangeKind::ReapplyVm(ReapplyVm { vm, .. }) => {
                    let fine = self.end.vm(vm).is_none_or(|vm| vm.provisioned);
                    self.say(holds && !fine, || {
                        format!("the model of {} is said to be applied and the VM is failed", vm.name())
                    });
                }
                ChangeKind::ResumeProtection(ResumeProtection { item, .. })
                | ChangeKind::EnableProtection(EnableProtection { item, .. }) => self.protection(item, ended),
                ChangeKind::SetGuest(setting) => self.guest(setting, ended),
                ChangeKind::GrantKeyAccess(_) | ChangeKind::AssignKeyRole(_) => self.grant(&change.what, ended),
                ChangeKind::AwaitJob(AwaitJob { job }) | ChangeKind::CancelJob(CancelJob { job, .. }) => {
                    let runs = self.end.job(job.name()).is_some_and(|job| job.status.is_active());
                    self.say(holds && runs, || format!("the job {} is said to have ended and runs", job.name()));
                }
                ChangeKind::StartBackup(StartBackup { item, .. }) => self.backup(item, ended),
            }
        }
    }

    fn lock(&mut self, lock: &model::Lock, Ended { word, holds, open, .. }: Ended<'_>) {
        let (start, end, name) = (self.start, self.end, lock.id.name());
        let stands = end.locks.iter().find(|l| l.id == lock.id);
        let same = stands.is_some_and(|l| {
            l.level.as_str() == lock.level
                && l.notes.as_deref().unwrap_or_default() == lock.notes
                && l.owners == lock.owners
        });
        let listed = self.result.locks_removed.iter().find(|l| l.id.eq_ignore_ascii_case(lock.id.as_str()));
        let (restored, off) = (listed.is_some_and(|l| l.restored), listed.is_some_and(|l| !l.restored));
        let scope_gone = lock.scope().is_type("Microsoft.Compute/restorePointCollections")
            && end.collection(&lock.scope()).is_none();
        let was = start.locks.iter().any(|l| l.id == lock.id);
        let missing = stands.is_none() && was && !scope_gone;
        self.say(missing && !off, || format!("the lock {name} is missing and the result does not say so"));
        self.say(restored && !same, || format!("the lock {name} is said to be restored and is not"));
        self.say(stands.is_some() && holds && !restored, || format!("the lock {name} is said to be {word} and stands"));
        self.say(off && same && !open, || format!("the lock {name} stands and is said to be removed ({word})"));
        self.say(missing && !holds && !open && listed.is_none(), || {
            format!("the lock {name} is gone and its removal is {word}")
        });
    }

    fn deleted(&mut self, what: &str, name: &str, was: bool, there: bool, ended: Ended<'_>) {
        let Ended { word, holds, open, .. } = ended;
        self.say(there && holds, || format!("the {what} {name} is said to be {word} and is there"));
        self.say(!there && was && !holds && !open, || format!("the {what} {name} is gone and its deletion is {word}"));
    }

    fn protection(&mut self, item: &ResourceId, Ended { word, holds, open, back }: Ended<'_>) {
        let (result, end) = (self.result, self.end);
        let state = end.item(item).map(|now| now.protection);
        let on = state.is_some_and(|state| matches!(state, Protection::Protected | Protection::Pending));
        // Somebody stopped it afterwards: then the report says so.
        let told = result.warnings.iter().any(|text| text.contains("the protection is stopped again"));
        self.say(holds && !on && !back && !told, || format!("the protection is said to be {word} and is not on"));
        self.say(on && !holds && !open, || format!("the protection is on and is said to be {word}"));
        self.say(on && back, || "the protection is said to be stopped again and is on".to_owned());
        self.say(on && result.status == Status::Undone, || "undone, but the protection is on".to_owned());
    }

    fn guest(&mut self, SetGuest { vm, vm_id, setting, .. }: &SetGuest, ended: Ended<'_>) {
        let Ended { word, holds, open, back } = ended;
        // Another VM under the name, or none: what was set is gone with the old one.
        if self.end.vm(vm).is_none_or(|now| now.vm_id != *vm_id) {
            return;
        }
        let (on, was) = (crate::guest::is_set(self.end, vm, setting), crate::guest::is_set(self.start, vm, setting));
        let back = back || self.result.status == Status::Undone;
        self.say(holds && !on && !ended.back, || format!("the guest is said to be set ({word}) and is not"));
        self.say(on && !holds && !open, || format!("the guest is set and is said to be {word}"));
        self.say(on && back && !was, || "the guest is said to be set back and is not".to_owned());
    }

    fn grant(&mut self, what: &ChangeKind, Ended { word, holds, open, back }: Ended<'_>) {
        let on = granted(self.end, what);
        self.say(holds && !on && !back, || format!("the grant is said to be {word} and is not there"));
        self.say(on && !holds && !open, || format!("the grant is there and is said to be {word}"));
        self.say(on && back, || "the grant is said to be removed and is there".to_owned());
    }

    /// A backup is azmend's own doing, whoever else is at work.
    fn backup(&mut self, item: &ResourceId, Ended { word, holds, .. }: Ended<'_>) {
        let made = self.end.jobs.iter().any(|job| {
            job.item == *item
                && job.user_triggered == Some(true)
                && job.started >= self.start.now
                && job.tasks.first().is_some_and(|task| task.status == TaskStatus::Completed)
        });
        if holds && !made {
            self.wrong.push("the backup is said to have succeeded and no job shows it".to_owned());
        }
        if matches!(word, "refused" | "skipped" | "not_run") && self.started > clean_ups(self.records) {
            self.wrong.push(format!("a backup was started and is {word}"));
        }
    }

    /// "Undone" means that the world is as it was.
    fn undone(&mut self) {
        let undone = self.result.status == Status::Undone;
        let (grants, locks) = (self.before.grants != self.after.grants, self.before.locks != self.after.locks);
        self.say(undone && grants, || "undone, but the grants are not as they were".to_owned());
        let gone = self.planned_gone;
        self.say(undone && (locks || gone), || "undone, but the world is not as it was".to_owned());
    }

    /// What the plan does not name is as it was, and S10 holds.
    fn untouched(&mut self) {
        let started = self.started;
        if started > 1 + clean_ups(self.records) {
            self.wrong.push(format!("S10: {started} backups were started"));
        }
        let plan = self.plan;
        let planned: BTreeSet<&str> = plan
            .changes()
            .filter_map(|(_, change)| match &change.what {
                ChangeKind::RemoveLock(RemoveLock { lock }) => Some(lock.id.key()),
                _ => None,
            })
            .collect();
        for lock in self.start.locks.iter().filter(|lock| !planned.contains(lock.id.key())) {
            let kept = self.after.locks.contains(&lock_text(lock));
            self.say(!kept, || format!("the lock {} is not in the plan and is not as it was", lock.id));
        }
    }
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
