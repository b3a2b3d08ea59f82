//! From facts to the condition view.
//!
//! Duty: fill [`View`] from [`VmFacts`]. Pure.
//! Invariant: a value that rests on an unread part has its path in [`View::unread`] with the reason, whatever stands in
//! the value itself (S12).
//! Must never: decide what may be deleted. What is superseded or orphaned is decided by the safety rules and comes in as
//! [`StaleCounts`]; the lock counts here say what stands where, not what may be removed.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::collect::newest_finished_backup;
use super::groups::{is_backup_group_name, is_point_name, names_vm};
use super::schedule::most_backups_in;
use super::view::{BackupView, ExtensionsView, LocksView, PointsView, View, VmSnapshotView};
use super::vm_facts::{GroupFacts, ItemFacts, Part, VmFacts};
use crate::arm::id::ResourceId;
use crate::arm::model::{Collection, Extension, InstanceView, Job, Lock, Point, Policy, Status};
use crate::catalog::Catalog;
use crate::clock::{elapsed, later};

/// The most points a VM may have under a Standard policy (Azure Backup troubleshooting: 18 instant recovery points).
pub const STANDARD_LIMIT: i64 = 18;
/// Points that Azure may keep beyond the retention (instant restore documentation: n + 1, sometimes n + 3).
pub const EXTRA_POINTS: i64 = 3;
/// How long after its retention a snapshot is not called expired yet: clean-up takes up to a day.
pub const EXPIRY_GRACE: Duration = Duration::from_secs(48 * 3600);

/// What the safety rules counted: points in each kind of staleness.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StaleCounts {
    /// Points past [`expires`].
    pub expired: i64,
    /// Points in superseded collections.
    pub superseded: i64,
    /// Points in orphaned collections.
    pub orphaned: i64,
}

/// When a point taken at `created` under this policy is expired: its snapshot retention plus 48 hours later.
#[must_use]
pub fn expires(created: Timestamp, policy: &Policy) -> Timestamp {
    let days = u64::try_from(policy.snapshot_days()).unwrap_or(u64::MAX);
    later(later(created, Duration::from_secs(days.saturating_mul(86_400).min(10 * 365 * 86_400))), EXPIRY_GRACE)
}

/// How many points the VM may have: 18 under a Standard policy; under an Enhanced one the most scheduled backups that
/// fall into its snapshot retention (on-demand ones are not foreseen) plus the three extra that Azure may keep.
///
/// # Errors
/// When the schedule of an Enhanced policy is not understood, with the reason.
pub fn points_limit(policy: &Policy) -> Result<i64, String> {
    if !policy.enhanced() {
        return Ok(STANDARD_LIMIT);
    }
    let kept = most_backups_in(policy, policy.snapshot_days()).map_err(|error| error.to_string())?;
    Ok(kept.saturating_add(EXTRA_POINTS))
}

/// Whether all points are named as Backup names them, and there is one. Weaker than the proof of rule S7: good enough to
/// count, not to delete.
#[must_use]
pub fn has_backup_points(collection: &Collection) -> bool {
    !collection.points().is_empty() && collection.points().iter().all(|point| is_point_name(point.id.name()))
}

/// Whether the group holds nothing but collections that Backup named, with Backup's points (S5, by names): `None` when
/// that was not read. The group's own name is not looked at.
#[must_use]
pub fn holds_only_backup(group: &GroupFacts) -> Option<bool> {
    let ours = |collection: &Collection| {
        let source = collection.source_id();
        has_backup_points(collection) && source.is_some_and(|vm| names_vm(collection.id.name(), vm.name()))
    };
    if group.others.is_not_asked() {
        return None;
    }
    let nothing_else = group.others.known().map(Vec::is_empty);
    let all_ours = group.collections.known().map(|all| all.iter().all(ours));
    match (nothing_else, all_ours) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    }
}

/// Whether a group that was only glanced at looks like a backup group: collections, and every one of them named as
/// Backup names them. What else is in it was not asked.
#[must_use]
pub fn looks_like_backup(group: &GroupFacts) -> bool {
    let named = |one: &Collection| one.source_id().is_some_and(|vm| names_vm(one.id.name(), vm.name()));
    group.others.is_not_asked() && group.collections.known().is_some_and(|all| !all.is_empty() && all.iter().all(named))
}

/// Whether `Publisher.Type` is the backup extension. The publisher differs between Windows, Linux and old versions
/// (`Microsoft.Azure.RecoveryServices`, `Microsoft.RecoveryServices`).
#[must_use]
pub fn is_vmsnapshot(kind: &str) -> bool {
    let kind = kind.to_ascii_lowercase();
    kind.ends_with("recoveryservices.vmsnapshot") || kind.ends_with("recoveryservices.vmsnapshotlinux")
}

impl View {
    /// The view of these facts at `now`.
    #[must_use]
    pub fn of(facts: &VmFacts, stale: &StaleCounts, now: Timestamp) -> Self {
        let mut view = Self::empty();
        view.vm_and_agent(facts, now);
        view.extensions(facts);
        view.item(facts, now);
        view.jobs(facts, now);
        view.restore_points(facts, stale, now);
        view.lock_counts(facts);
        view.key_vaults(facts);
        view
    }

    fn mark<T>(&mut self, part: &Part<T>, paths: &[&str]) {
        if let Some(why) = part.unread() {
            for path in paths {
                self.mark_unread(path, why);
            }
        }
    }

    fn key_vaults(&mut self, facts: &VmFacts) {
        self.mark(&facts.key_vaults, &["keyvault"]);
        for one in facts.key_vaults.known().into_iter().flatten() {
            self.keyvault.encrypted = true;
            self.keyvault.vaults.push(one.id.name().to_owned());
        }
    }

    fn vm_and_agent(&mut self, facts: &VmFacts, now: Timestamp) {
        facts.id.name().clone_into(&mut self.vm.name);
        self.mark(&facts.vm, &["vm.location", "vm.os", "vm.provisioning_state", "vm.exists"]);
        self.mark(&facts.instance, &["vm.power", "agent"]);
        if let Some(vm) = facts.vm.known() {
            self.vm.exists = true;
            self.vm.location.clone_from(&vm.location);
            self.vm.os.clone_from(&vm.os_type);
            self.vm.provisioning_state.clone_from(&vm.provisioning_state);
        }
        let Some(instance) = facts.instance.known() else { return };
        self.vm.power.clone_from(&instance.power);
        if let Some(agent) = &instance.agent {
            self.agent.ready = agent.is_ready();
            self.agent.status.clone_from(&agent.status.display);
            self.agent.version.clone_from(&agent.version);
            self.agent.reported_minutes_ago = agent.status.time.map_or(0, |time| whole(elapsed(time, now), 60));
        }
    }

    fn extensions(&mut self, facts: &VmFacts) {
        let none = InstanceView::default();
        let instance = facts.instance.known().unwrap_or(&none);
        let resources = facts.extensions.known().map(Vec::as_slice).unwrap_or_default();
        self.vmsnapshot = vmsnapshot(instance, resources);
        self.extensions = failed_extensions(instance, resources);
        // Each of the two sources can show a failure by itself; only that nothing failed needs both.
        let found = self.vmsnapshot.state == "Failed";
        for why in [facts.instance.unread(), facts.extensions.unread()].into_iter().flatten() {
            self.mark_unread("extensions", why);
            if !found {
                self.mark_unread("vmsnapshot", why);
            }
        }
    }

    fn item(&mut self, facts: &VmFacts, now: Timestamp) {
        self.mark(&facts.items, &["backup", "policy", "vault", "points.limit", "points.expired"]);
        let Some(items) = facts.items.known() else { return };
        self.backup.protected = facts.active_item().is_some();
        self.backup.item_count = count(items);
        self.points.limit = STANDARD_LIMIT;
        let Some(main) = facts.main_item() else { return };
        let backup = &mut self.backup;
        backup.state.clone_from(&main.item.protection_state);
        backup.soft_deleted = main.item.soft_deleted;
        backup.health.clone_from(&main.item.health);
        match last_success(main) {
            Some(time) => self.backup.last_backup_days_ago = whole(elapsed(time, now), 86_400),
            None => self.mark(&main.recovery_points, &["backup.last_backup_days_ago"]),
        }
        self.mark(&main.policy, &["policy", "points.limit", "points.expired"]);
        if main.policy.is_absent() {
            let why = "the protected item has no policy, so what it keeps is not known";
            self.mark_unread("points.limit", why);
            self.mark_unread("points.expired", why);
        }
        if let Some(policy) = main.policy.known() {
            self.policy.kind.clone_from(&policy.policy_type);
            self.policy.snapshot_days = policy.snapshot_days();
            self.policy.enhanced = policy.enhanced();
            match points_limit(policy) {
                Ok(limit) => self.points.limit = limit,
                Err(why) => self.mark_unread("points.limit", &why),
            }
        }
        self.mark(&main.vault, &["vault.immutable", "vault.guarded"]);
        self.vault.name = main.item.vault_id().map_or_else(String::new, |id| id.name().to_owned());
        if let Some(vault) = main.vault.known() {
            self.vault.immutable = ["Locked", "Unlocked"].iter().any(|on| vault.immutability.eq_ignore_ascii_case(on));
            self.vault.guarded = vault.multi_user_authorization.eq_ignore_ascii_case("Enabled");
        }
        match main.resource_guard.known() {
            Some(guarded) => self.vault.guarded |= guarded,
            None => self.mark(&main.resource_guard, &["vault.guarded"]),
        }
    }

    /// Jobs of all items count: a VM may have left one vault for another.
    fn jobs(&mut self, facts: &VmFacts, now: Timestamp) {
        let items = facts.items.known().map(Vec::as_slice).unwrap_or_default();
        let mut jobs: Vec<Job> = Vec::new();
        for item in items {
            let paths = [
                "backup.last_status",
                "backup.last_error",
                "backup.last_error_id",
                "backup.inner_error",
                "backup.running",
                "backup.running_hours",
            ];
            self.mark(&item.jobs, &paths);
            jobs.extend(item.jobs.known().into_iter().flatten().cloned());
        }
        self.backup.running = jobs.iter().any(Job::running);
        let began = jobs.iter().filter(|job| job.running()).filter_map(|job| job.start).min();
        self.backup.running_hours = began.map_or(0, |began| whole(elapsed(began, now), 3600));
        if self.backup.running {
            // One running job is enough, whatever another vault did not say.
            self.unread.remove("backup.running");
        }
        if let Some(job) = newest_finished_backup(&jobs) {
            last_job(&mut self.backup, job);
        }
        let done = jobs.iter().filter(|job| job.operation.eq_ignore_ascii_case("Backup") && job.succeeded());
        if let Some(end) = done.filter_map(|job| job.end).max() {
            let days = whole(elapsed(end, now), 86_400);
            let known = facts.main_item().and_then(last_success).is_some();
            self.backup.last_backup_days_ago = if known { self.backup.last_backup_days_ago.min(days) } else { days };
            // A job that succeeded made the newest recovery point, read or not.
            self.unread.remove("backup.last_backup_days_ago");
        }
    }

    fn restore_points(&mut self, facts: &VmFacts, stale: &StaleCounts, now: Timestamp) {
        self.mark(
            &facts.collections,
            &["points.count", "points.failed", "points.collections", "points.newest_hours_ago"],
        );
        self.mark(&facts.collections, &["points.expired", "points.superseded", "points.orphaned"]);
        let ours: Vec<&Collection> = facts.collections().filter(|one| has_backup_points(one)).collect();
        let points = || ours.iter().flat_map(|collection| collection.points());
        let newest = points().filter(|point| point.succeeded()).filter_map(|point| point.created).max();
        self.points = PointsView {
            count: count(points().filter(|point| point.succeeded())),
            limit: self.points.limit,
            failed: count(points().filter(|point| failed(point))),
            collections: count(&ours),
            expired: stale.expired,
            superseded: stale.superseded,
            orphaned: stale.orphaned,
            newest_hours_ago: newest.map_or(0, |newest| whole(elapsed(newest, now), 3600)),
        };
        // What is superseded or orphaned is only counted when everything that speaks against it was read.
        // Without collections there is neither.
        let stale: &[&str] =
            if facts.collections().next().is_some() { &["points.superseded", "points.orphaned"] } else { &[] };
        self.mark(&facts.vm, stale);
        self.mark(&facts.items, stale);
        let (superseded, orphaned) = stale.split_at(stale.len() / 2);
        for item in facts.items.known().into_iter().flatten() {
            self.mark(&item.policy, superseded);
            self.mark(&item.recovery_points, superseded);
            self.mark(&item.jobs, superseded);
            self.mark(&item.vault, superseded);
            self.mark(&item.resource_guard, superseded);
        }
        if facts.vm.is_absent() {
            self.mark(&facts.status, orphaned);
        }
        if let Some(orphan) = &facts.orphan {
            self.mark(&orphan.subscription_answers, &["points.orphaned"]);
            self.mark(&orphan.vms, &["points.orphaned"]);
            self.mark(&orphan.items, &["points.orphaned"]);
        }
    }

    fn lock_counts(&mut self, facts: &VmFacts) {
        self.mark(&facts.locks, &["locks"]);
        self.mark(&facts.groups, &["locks.backup_groups", "locks.read_only", "locks.total"]);
        self.mark(&facts.collections, &["locks.collections", "locks.inherited", "locks.read_only", "locks.total"]);
        let locks = facts.locks.known().map(Vec::as_slice).unwrap_or_default();
        let mut counted: BTreeMap<&ResourceId, &Lock> = BTreeMap::new();
        let has_points = facts.collections().any(has_backup_points);
        let mut view = LocksView::default();
        for lock in locks {
            match lock_place(facts, lock) {
                Ok(Some(LockPlace::Subscription)) => {
                    view.subscription += 1;
                    view.inherited += i64::from(has_points);
                }
                Ok(Some(LockPlace::Collection)) => view.collections += 1,
                Ok(Some(LockPlace::BackupGroup)) => view.backup_groups += 1,
                // S5: a group that holds anything else is treated as the VM's own.
                Ok(Some(LockPlace::Home | LockPlace::Vm)) => view.vm += 1,
                Ok(None) => continue,
                Err(why) => {
                    self.mark_unread("locks.backup_groups", &why);
                    continue;
                }
            }
            counted.insert(&lock.id, lock);
        }
        view.total = count(&counted);
        view.read_only = count(counted.values().filter(|lock| lock.level.eq_ignore_ascii_case("ReadOnly")));
        self.locks = view;
    }
}

/// Where a lock stands, as it matters for the backup of a VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockPlace {
    /// On the VM's subscription.
    Subscription,
    /// On one of its Backup-owned collections.
    Collection,
    /// On one of its backup groups: azmend may remove it.
    BackupGroup,
    /// On another group that holds its points: one with an older prefix, one that holds something else too, or the VM's own.
    Home,
    /// On the VM or on its own group, which holds none of its points.
    Vm,
}

/// Where the lock stands; `None` when it does not matter for this VM.
///
/// A backup group is the VM's when it holds collections of the VM. Another one matters only when its lock is ReadOnly: that
/// stops new points there, CanNotDelete does not.
///
/// # Errors
/// What the group holds was not read.
pub fn lock_place(facts: &VmFacts, lock: &Lock) -> Result<Option<LockPlace>, String> {
    let scope = lock.scope();
    if scope == facts.id.subscription_id() {
        return Ok(Some(LockPlace::Subscription));
    }
    if facts.collections().any(|one| one.id == scope && has_backup_points(one)) {
        return Ok(Some(LockPlace::Collection));
    }
    let home_of = |one: &Collection| one.id.group_id().as_ref() == Some(&scope);
    if facts.id.covers(&scope) || facts.id.group_id().as_ref() == Some(&scope) {
        let holds = facts.collections().any(|one| home_of(one) && has_backup_points(one));
        return Ok(Some(if holds { LockPlace::Home } else { LockPlace::Vm }));
    }
    let Some(group) = facts.group(&scope) else { return Ok(None) };
    let holds = facts.collections().any(home_of);
    if !holds && !lock.level.eq_ignore_ascii_case("ReadOnly") {
        return Ok(None);
    }
    let policies = facts.items.known().into_iter().flatten().filter_map(|item| item.policy.known());
    let named = is_backup_group_name(scope.name(), None)
        || policies.into_iter().any(|policy| is_backup_group_name(scope.name(), Some(policy)));
    // A glance (docs/diagnose.md) counts by names alone; nothing is changed on its word, for a fix reads the proof.
    let seems = || looks_like_backup(group).then_some(true);
    match holds_only_backup(group).or_else(seems) {
        Some(true) if named => Ok(Some(LockPlace::BackupGroup)),
        Some(_) => Ok(holds.then_some(LockPlace::Home)),
        None => {
            let unread = group.others.unread().or_else(|| group.collections.unread());
            let why = unread.unwrap_or("what the group holds was not read");
            Err(format!("{}: {why}", scope.short_name()))
        }
    }
}

fn whole(time: Duration, unit: u64) -> i64 {
    i64::try_from(time.as_secs() / unit).unwrap_or(i64::MAX)
}

fn count<T>(items: impl IntoIterator<Item = T>) -> i64 {
    i64::try_from(items.into_iter().count()).unwrap_or(i64::MAX)
}

fn failed(point: &Point) -> bool {
    point.provisioning_state.eq_ignore_ascii_case("Failed")
}

/// When the last good backup was: the newest recovery point, or what the item itself says.
fn last_success(facts: &ItemFacts) -> Option<Timestamp> {
    let points = facts.recovery_points.known().into_iter().flatten().filter_map(|point| point.time).max();
    let item = facts.item.last_backup_time.filter(|_| facts.item.last_backup_status.eq_ignore_ascii_case("Completed"));
    points.max(item).max(facts.item.last_recovery_point)
}

/// The status and the error of the newest finished backup. Only a job that did not succeed has an error.
fn last_job(view: &mut BackupView, job: &Job) {
    view.last_status.clone_from(&job.status);
    if job.succeeded() {
        return;
    }
    let catalog = Catalog::get();
    let known = job.errors.iter().find_map(|error| {
        let entry = catalog.classify(&error.title, error.code, &error.text)?;
        Some((entry.code.clone(), error.code))
    });
    let titled = || {
        let error = job.errors.iter().find(|error| !error.title.is_empty()).or_else(|| job.errors.first())?;
        Some((error.title.clone(), error.code))
    };
    let from_text = || catalog.by_text(&job.dynamic_error).map(|entry| (entry.code.clone(), 0));
    let found = known.or_else(from_text).or_else(titled);
    (view.last_error, view.last_error_id) = found.unwrap_or_default();
    let details = job.errors.iter().map(|error| error.text.as_str()).chain([job.dynamic_error.as_str()]);
    let inner = catalog.inner(details, &view.last_error).map(|entry| entry.code.clone());
    view.inner_error = inner.unwrap_or_default();
}

/// `Ready`, `Failed` or `NotReady`. Recorded codes have a third segment: `ProvisioningState/NotReady/1007`.
fn state(status: &Status) -> &'static str {
    let code = status.code.to_ascii_lowercase();
    if status.is_failed() {
        "Failed"
    } else if code.starts_with("provisioningstate/succeeded") || status.display.eq_ignore_ascii_case("Ready") {
        "Ready"
    } else {
        "NotReady"
    }
}

fn resource_state(extension: &Extension) -> &'static str {
    match extension.provisioning_state.to_ascii_lowercase().as_str() {
        "failed" => "Failed",
        "succeeded" => "Ready",
        _ => "NotReady",
    }
}

fn full_kind(extension: &Extension) -> String {
    format!("{}.{}", extension.publisher, extension.kind)
}

/// The worst of what handler, instance view and resource say: a handler can be Ready while its resource failed.
pub(super) fn vmsnapshot(instance: &InstanceView, resources: &[Extension]) -> VmSnapshotView {
    let rank = |state: &str| ["Ready", "NotReady", "Failed"].iter().position(|known| *known == state);
    let handlers = instance.handlers.iter().filter(|one| is_vmsnapshot(&one.kind));
    let views = instance.extensions.iter().filter(|one| is_vmsnapshot(&one.kind));
    let resources = resources.iter().filter(|one| is_vmsnapshot(&full_kind(one)));
    let seen = |state: &str, version: &str, code: &str, message: &str| VmSnapshotView {
        present: true,
        state: state.to_owned(),
        version: version.to_owned(),
        code: code.to_owned(),
        message: message.to_owned(),
    };
    let mut all: Vec<VmSnapshotView> = handlers
        .map(|one| seen(state(&one.status), &one.version, &one.status.code, &one.status.message))
        .chain(views.flat_map(|one| {
            let each = |status: &Status| seen(state(status), &one.version, &status.code, &status.message);
            one.statuses.iter().map(each).collect::<Vec<_>>()
        }))
        .chain(resources.map(|one| seen(resource_state(one), &one.version, "", &one.message)))
        .collect();
    // The first of the worst: handlers come first and have codes and messages.
    all.reverse();
    all.into_iter().max_by_key(|one| rank(&one.state)).unwrap_or_default()
}

fn failed_extensions(instance: &InstanceView, resources: &[Extension]) -> ExtensionsView {
    // By kind, so that one extension is not counted as handler, view and resource.
    let mut failed: BTreeMap<String, String> = BTreeMap::new();
    for one in resources.iter().filter(|one| resource_state(one) == "Failed") {
        failed.insert(full_kind(one).to_lowercase(), one.id.name().to_owned());
    }
    for one in instance.extensions.iter().filter(|one| one.statuses.iter().any(Status::is_failed)) {
        // A view may come without its type: the name is unique among a VM's extensions.
        let known = failed.values().any(|name| name.eq_ignore_ascii_case(&one.name));
        if !known {
            let key = if one.kind.is_empty() { &one.name } else { &one.kind };
            failed.entry(key.to_lowercase()).or_insert_with(|| one.name.clone());
        }
    }
    for one in instance.handlers.iter().filter(|one| one.status.is_failed()) {
        let name = one.kind.rsplit('.').next().unwrap_or_default();
        failed.entry(one.kind.to_lowercase()).or_insert_with(|| name.to_owned());
    }
    let other_failed = count(failed.keys().filter(|kind| !is_vmsnapshot(kind) && !kind.starts_with("vmsnapshot")));
    let mut failed: Vec<String> = failed.into_values().collect();
    failed.sort();
    ExtensionsView { failed, other_failed }
}

#[cfg(test)]
#[path = "derive_tests.rs"]
mod tests;
