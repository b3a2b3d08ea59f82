//! S8: restore points are kept unless proven superfluous.
//!
//! [`vm_guards`] holds for every deletion of a VM's points (jobs, schedule, state of the protection, vault); it is
//! looked at once per deletion. [`point_guards`] holds for one point (newest, vault copy, copies, state). What cannot be
//! read refuses. Each rule but the state of the point has a named override.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use super::RuleInput;
use crate::actions::change::{Override, Refusal};
use crate::arm::id::ResourceId;
use crate::arm::model::{CopyState, Job, Point, Policy, RecoveryPoint};
use crate::clock::{elapsed, later};
use crate::facts::groups::is_point_name;
use crate::facts::schedule::{ScheduleError, next_backup, recent_backups};
use crate::facts::vm_facts::{ItemFacts, VmFacts};

/// How far a restore point's `timeCreated` and a vault recovery point's time may lie apart to be the same backup.
///
/// No id joins the two and no recording shows both sides (not verified how far they really differ), so the window is
/// narrow, and two candidates count as none. Azure allows on-demand backups minutes apart; those then count as unmatched.
pub const TWIN_TOLERANCE: Duration = Duration::from_secs(10 * 60);

/// How near a scheduled backup may be.
pub const DUE_WINDOW: Duration = Duration::from_secs(30 * 60);

/// How long after its scheduled time Azure may start a backup ("Azure Backup FAQ": within two hours).
pub const START_DELAY: Duration = Duration::from_secs(2 * 3600);

/// Whether two times are of the same backup.
#[must_use]
pub fn same_moment(a: Timestamp, b: Timestamp) -> bool {
    elapsed(a.min(b), a.max(b)) <= TWIN_TOLERANCE
}

/// The vault recovery points that stand for restore points one to one: point id to recovery point.
#[must_use]
pub fn vault_copies(facts: &VmFacts) -> BTreeMap<ResourceId, RecoveryPoint> {
    let recovery: Vec<&RecoveryPoint> =
        facts.items.known().into_iter().flatten().filter_map(|i| i.recovery_points.known()).flatten().collect();
    let points: Vec<&Point> = facts.collections().flat_map(|c| c.points()).collect();
    let mut out = BTreeMap::new();
    for point in &points {
        let Some(created) = point.created else { continue };
        let mut candidates = recovery.iter().filter(|r| r.time.is_some_and(|time| same_moment(created, time)));
        let (Some(twin), None) = (candidates.next(), candidates.next()) else { continue };
        let Some(time) = twin.time else { continue };
        let rivals = points.iter().filter(|p| p.created.is_some_and(|c| same_moment(c, time))).count();
        if rivals == 1 {
            out.insert(point.id.clone(), (*twin).clone());
        }
    }
    out
}

/// The two newest succeeded points of the VM across all its collections, and the two newest of those that Azure Backup
/// named: points of another maker must not take their place.
#[must_use]
pub fn two_newest(facts: &VmFacts) -> BTreeSet<ResourceId> {
    let mut points: Vec<&Point> = facts.collections().flat_map(|c| c.points()).filter(|p| p.succeeded()).collect();
    // A point without a time could be the newest: it sorts first and so is kept.
    points.sort_by_key(|point| std::cmp::Reverse(point.created.unwrap_or(Timestamp::MAX)));
    let backups = points.iter().filter(|point| is_point_name(point.id.name())).take(2);
    points.iter().take(2).chain(backups).map(|point| point.id.clone()).collect()
}

/// What must hold for the VM as a whole before any of its points is deleted.
///
/// # Errors
/// Every rule that speaks against it.
pub fn vm_guards(input: &RuleInput<'_>) -> Result<(), Vec<Refusal>> {
    let mut refusals = Vec::new();
    let unread = |what: &str, why: &str| Refusal::new("s8.unread", format!("{what} were not read: {why}"));
    // Which points are the two newest, and which have a twin, needs every point of the VM.
    if let Some(why) = input.facts.collections.unread() {
        refusals.push(unread("the restore point collections of the VM", why));
    }
    if let Some(collection) = input.facts.collections().find(|collection| collection.points.is_none()) {
        refusals.push(unread(&format!("the points of {}", collection.id.name()), "the answer did not have them"));
    }
    if let Some(why) = input.facts.items.unread() {
        refusals.push(unread("the vault items of the VM", why));
    }
    for facts in input.facts.items.known().into_iter().flatten() {
        item_guards(input, facts, &mut |result: Result<(), Refusal>| refusals.extend(result.err()));
    }
    if refusals.is_empty() { Ok(()) } else { Err(refusals) }
}

/// The same for one vault item of the VM.
fn item_guards(input: &RuleInput<'_>, facts: &ItemFacts, say: &mut dyn FnMut(Result<(), Refusal>)) {
    let vault = facts.item.vault_id().map(|v| v.name().to_owned()).unwrap_or_default();
    match facts.jobs.known() {
        Some(jobs) => {
            for job in jobs.iter().filter(|job| job.running()) {
                let why = format!("a {} job of the VM is running in vault {vault}", job.operation);
                say(input.unless_overridden(Override::JobActive, why));
            }
        }
        None if facts.jobs.is_absent() => {}
        None => say(Err(Refusal::new("s8.unread", format!("the jobs in vault {vault} were not read")))),
    }
    if facts.item.soft_deleted {
        let why = format!("the item in vault {vault} is soft-deleted; an undelete would need its snapshots");
        say(input.unless_overridden(Override::SoftDeleted, why));
    } else if facts.item.stopped() {
        let why = format!("protection in vault {vault} is stopped with the data retained on purpose");
        say(input.unless_overridden(Override::StoppedRetained, why));
    }
    match (facts.vault.known(), facts.resource_guard.known()) {
        (Some(vault_facts), guard) => {
            let immutable =
                !vault_facts.immutability.is_empty() && !vault_facts.immutability.eq_ignore_ascii_case("Disabled");
            let guarded =
                vault_facts.multi_user_authorization.eq_ignore_ascii_case("Enabled") || guard.copied().unwrap_or(false);
            if immutable {
                say(input.unless_overridden(Override::Immutable, format!("vault {vault} is immutable")));
            }
            if guarded {
                say(input
                    .unless_overridden(Override::Immutable, format!("vault {vault} is protected by a resource guard")));
            }
            if guard.is_none() && !facts.resource_guard.is_absent() && !guarded {
                say(input.unless_overridden(
                    Override::Immutable,
                    format!("whether vault {vault} has a resource guard was not read"),
                ));
            }
        }
        (None, _) => say(Err(Refusal::new("s8.unread", format!("the vault {vault} was not read")))),
    }
    if let Some(why) = facts.policy.unread() {
        let why = format!("the policy of the item in vault {vault} was not read: {why}");
        say(Err(Refusal::new("s8.unread", why)));
    }
    if let (Some(policy), false, false) = (facts.policy.known(), facts.item.soft_deleted, facts.item.stopped()) {
        let jobs = facts.jobs.known().map(Vec::as_slice).unwrap_or_default();
        if let Some(why) = backup_due(policy, jobs, input.now) {
            say(input.unless_overridden(Override::JobDue, why));
        }
    }
    match facts.recovery_points.known() {
        Some(points) if points.iter().any(|p| p.file_recovery_active == Some(true)) => {
            let why = format!("a file-recovery session is open in vault {vault}");
            say(input.unless_overridden(Override::RecoverySession, why));
        }
        Some(_) => {}
        None if facts.recovery_points.is_absent() => {}
        None => say(Err(Refusal::new("s8.unread", format!("the recovery points in vault {vault} were not read")))),
    }
}

/// Why a scheduled backup may be about to start; `None` when none is.
///
/// From 30 minutes before the scheduled time until two hours after it, within which Azure starts the job, unless a backup
/// that began since is listed. A backup that is known to be on-demand is not that job. Where the scheduled time is known
/// only as a window (time zones), "since" counts from its end.
fn backup_due(policy: &Policy, jobs: &[Job], now: Timestamp) -> Option<String> {
    let cannot =
        |error: ScheduleError| Some(format!("when the next scheduled backup is due cannot be determined: {error}"));
    match next_backup(policy, now) {
        Ok(next) if next.earliest <= later(now, DUE_WINDOW) => {
            let minutes = DUE_WINDOW.as_secs() / 60;
            return Some(format!("the next scheduled backup may be less than {minutes} minutes away"));
        }
        Ok(_) => {}
        Err(error) => return cannot(error),
    }
    let recent = match recent_backups(policy, now, START_DELAY) {
        Ok(recent) => recent,
        Err(error) => return cannot(error),
    };
    let began_since = |time: Timestamp| {
        jobs.iter().any(|job| {
            job.operation.eq_ignore_ascii_case("Backup")
                && job.user_triggered != Some(true)
                && job.start.is_some_and(|start| start >= time)
        })
    };
    let late = recent.into_iter().find(|scheduled| !began_since(scheduled.latest))?;
    Some(format!(
        "the backup that is scheduled for {} has not started: Azure starts it within two hours (until {})",
        late.latest,
        later(late.latest, START_DELAY)
    ))
}

/// Whether this point may go, given that [`vm_guards`] hold. `vault_copies` and `newest` are computed once per reading.
///
/// # Errors
/// The first rule that speaks against it.
pub fn point_guards(
    input: &RuleInput<'_>,
    point: &Point,
    vault_copies: &BTreeMap<ResourceId, RecoveryPoint>,
    newest: &BTreeSet<ResourceId>,
) -> Result<(), Refusal> {
    let name = point.id.name();
    state_guards(input, point)?;
    if let Some(vm) = input.facts.vm.known()
        && other_vm(&point.vm_id, &vm.vm_id)
    {
        let why = format!("{name} is of another VM that had this name; that is only reported");
        return Err(Refusal::new("orphan.same-name", why));
    }
    if newest.contains(&point.id) {
        input.unless_overridden(Override::Newest, format!("{name} is one of the two newest points"))?;
    }
    match vault_copies.get(&point.id) {
        Some(twin) if twin.hardened() => Ok(()),
        Some(_) => input.unless_overridden(Override::SnapshotOnly, format!("the vault has no copy of {name}")),
        None => {
            input.unless_overridden(Override::SnapshotOnly, format!("no vault recovery point matches {name} in time"))
        }
    }
}

/// What holds for every point, an orphan's too: its state is good and no copy of it is under way.
///
/// # Errors
/// The first rule that speaks against it.
pub fn state_guards(input: &RuleInput<'_>, point: &Point) -> Result<(), Refusal> {
    let name = point.id.name();
    if !point.succeeded() && !point.deleting() {
        return Err(Refusal::new(
            "s8.state",
            format!("{name} is in state {}: reported only", point.provisioning_state),
        ));
    }
    match point.copy_state() {
        CopyState::Unfinished { percent } => unfinished_copy(input, point, percent),
        // A collection never carries it: see `copy_guard`.
        CopyState::Finished | CopyState::Unread => Ok(()),
    }
}

fn unfinished_copy(input: &RuleInput<'_>, point: &Point, percent: u8) -> Result<(), Refusal> {
    let name = point.id.name();
    let why = format!("a copy of {name} to another region is not finished ({percent} %)");
    input.unless_overridden(Override::RecoverySession, why)
}

/// Whether a copy of this point to another region stands in the way of its deletion (`s8.recovery-session`), by a reading
/// of the point of its own: `point` must come from `Arm::point`, which asks for the instance view. The points that come
/// with a collection never say it, so who deletes a whole collection asks this of each of its points, and of each point
/// in a collection that was made as a copy of it.
///
/// Which side of a copy Azure reports it on is not verified (the .NET documentation of `DiskRestorePointData` says: the
/// target's), so both are looked at, and an answer without the instance view refuses.
///
/// # Errors
/// `s8.recovery-session` when a copy is not complete, or when this reading does not tell.
pub fn copy_guard(input: &RuleInput<'_>, point: &Point) -> Result<(), Refusal> {
    match point.copy_state() {
        CopyState::Finished => Ok(()),
        CopyState::Unfinished { percent } => unfinished_copy(input, point, percent),
        CopyState::Unread => input.unless_overridden(
            Override::RecoverySession,
            format!("whether a copy of {} to another region is under way was not read", point.id.name()),
        ),
    }
}

/// Whether both say which VM they are of, and it is not the same one.
#[must_use]
pub fn other_vm(point: &str, vm: &str) -> bool {
    !point.is_empty() && !vm.is_empty() && !point.eq_ignore_ascii_case(vm)
}
