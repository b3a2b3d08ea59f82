//! The checks that no playbook makes (see [`super::Check`]).

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use super::input::{AuditInput, VmUnderAudit};
use super::{Check, Finding, Level, repair};
use crate::actions::backup::job_code;
use crate::arm::ResourceId;
use crate::arm::model::{Collection, HealthDetail, Job, Lock, Point, ProtectedItem};
use crate::catalog::Catalog;
use crate::clock::elapsed;
use crate::engine::choose;
use crate::facts::bulk::Kind;
use crate::facts::bulk::single_reads::{in_error, jobs_of, without_vm};
use crate::facts::collect::{WARNED, warned_in_a_row};
use crate::facts::derive::is_vmsnapshot;
use crate::facts::groups::{default_group_name, is_backup_group_name, names_vm};
use crate::facts::identity;
use crate::facts::objective::{Due, Standing, aged, no_job_since, often, standing_by};
use crate::facts::vm_facts::ItemFacts;
use crate::text::{plural, shell_quote};

/// A job that runs for longer is stuck: the default of the playbook for it.
const STUCK: Duration = Duration::from_secs(24 * 3600);
/// An item without a good backup for longer is more than at risk.
const LONG: Duration = Duration::from_secs(48 * 3600);

fn days(age: Duration) -> String {
    plural(usize::try_from(age.as_secs() / 86_400).unwrap_or(usize::MAX), "day")
}

/// The checks of one VM.
pub(super) fn of_vm(scene: &AuditInput<'_>, seen: &VmUnderAudit<'_>, out: &mut Vec<Finding>) {
    near_limit(scene, seen, out);
    agent(scene, seen, out);
    extensions(scene, seen, out);
    other_machine(scene, seen, out);
    for (facts, due) in seen.facts.items.known().into_iter().flatten().zip(&seen.dues) {
        let jobs = facts.jobs.known().map(Vec::as_slice).unwrap_or_default();
        item_in_error(scene, Some(seen), &facts.item, jobs, &seen.row.vm.id, out);
        late(scene, seen, (facts, *due), out);
        warnings(scene, seen, facts, out);
        for job in jobs {
            stuck(scene, true, job, &seen.row.vm.id, out);
        }
    }
}

fn near_limit(scene: &AuditInput<'_>, seen: &VmUnderAudit<'_>, out: &mut Vec<Finding>) {
    let (view, points) = (&seen.view, &seen.view.points);
    let unread = ["points.count", "points.limit"].iter().any(|path| view.unread(path).is_some());
    // Over the limit is the playbook's, where everything that it looks at was read.
    if unread
        || seen.applies.iter().any(|one| one.playbook.name() == "rp-collection-limit")
        || points.count < 1
        || points.count < points.limit - 1
    {
        return;
    }
    let (check, level) =
        if points.count > points.limit { (Check::OverLimit, Level::High) } else { (Check::NearLimit, Level::Low) };
    let mut finding = scene.checked(check, level, &seen.row.vm.id);
    finding.evidence = vec![format!("points.count is {}", points.count), format!("points.limit is {}", points.limit)];
    finding.command = Some(scene.command("diagnose", &seen.row.vm.id));
    out.push(finding);
}

/// An item of which nothing else says that it is not backed up: no error, no running job.
fn late(
    scene: &AuditInput<'_>,
    seen: &VmUnderAudit<'_>,
    (facts, due): (&ItemFacts, Option<Due>),
    out: &mut Vec<Finding>,
) {
    let backup = &seen.view.backup;
    if in_error(&facts.item) || !backup.last_error.is_empty() || backup.running {
        return;
    }
    // Of a VM in two vaults the backups of either count.
    let mut each = seen.facts.items.known().into_iter().flatten().zip(&seen.dues);
    let within = |(item, due): (&ItemFacts, &Option<Due>)| {
        matches!(standing_by(*due, item, scene.bulk.at), Standing::Within { .. })
    };
    if each.any(within) {
        return;
    }
    let evidence = match standing_by(due, facts, scene.bulk.at) {
        Standing::Late { age, every } => {
            format!("the newest recovery point is {} old; the policy schedules one {}", aged(age), often(every))
        }
        Standing::Never { every } => {
            format!("the VM was never backed up, and a backup was due; the policy schedules one {}", often(every))
        }
        Standing::Within { .. } | Standing::Unknown => return,
    };
    let mut finding = scene.checked(Check::BackupLate, Level::Medium, &seen.row.vm.id);
    finding.evidence = vec![evidence];
    if no_job_since(facts) == Some(true) {
        finding.evidence.push("since then no backup failed, and none is running".to_owned());
    }
    finding.evidence.push(format!("{} in {}", facts.item.protection_state, vault_name(&facts.item)));
    finding.command = Some(scene.command("diagnose", &seen.row.vm.id));
    out.push(finding);
}

/// A VM that was moved, or made again under its name: what is in the vault is not of the machine that is there.
fn other_machine(scene: &AuditInput<'_>, seen: &VmUnderAudit<'_>, out: &mut Vec<Finding>) {
    let id = &seen.row.vm.id;
    if let Some(moved) = identity::moved(&seen.facts).filter(|moved| moved.proven) {
        let mut finding = scene.checked(Check::VmMoved, Level::High, id);
        finding.evidence = vec![moved.words(), identity::MOVED_WAY.to_owned()];
        let old = &moved.former.item;
        let point = old.last_recovery_point.map(|point| elapsed(point, scene.bulk.at));
        finding.evidence.extend(point.map(|age| format!("its newest recovery point is {} old", aged(age))));
        finding.command = Some(repair::protect_as(scene, seen, old));
        out.push(finding);
    }
    let known = seen.facts.items.known().is_some_and(|items| !items.is_empty());
    if let Some(vm_id) = identity::remade(&seen.facts).filter(|_| known) {
        let mut finding = scene.checked(Check::VmRemade, Level::Medium, id);
        finding.evidence = vec![identity::remade_words(vm_id), identity::REMADE_WAY.to_owned()];
        finding.command = Some(scene.command("diagnose", id));
        out.push(finding);
    }
}

/// Backups that end with warnings again and again: Azure calls the item well, and its points are not what they should be.
fn warnings(scene: &AuditInput<'_>, seen: &VmUnderAudit<'_>, facts: &ItemFacts, out: &mut Vec<Finding>) {
    let stands = !facts.item.soft_deleted && !facts.item.stopped() && !in_error(&facts.item);
    let Some(jobs) = facts.jobs.known().filter(|_| stands) else { return };
    let row = warned_in_a_row(jobs);
    let Some(newest) = row.first().filter(|_| row.len() >= WARNED) else { return };
    let mut finding = scene.checked(Check::BackupWarnings, Level::Medium, &seen.row.vm.id);
    finding.code = Some(job_code(newest)).filter(|code| !code.is_empty());
    // A reading in bulk keeps no more of them.
    finding.evidence = vec![format!("each of the last {WARNED} backups ended with warnings")];
    finding.evidence.extend(finding.code.iter().map(|code| format!("the newest says {code}")));
    finding.evidence.push(format!("{} in {}", facts.item.protection_state, vault_name(&facts.item)));
    finding.command = Some(match &finding.code {
        Some(code) => format!("{} explain {}", scene.program, shell_quote(code)),
        None => scene.command("diagnose", &seen.row.vm.id),
    });
    out.push(finding);
}

fn agent(scene: &AuditInput<'_>, seen: &VmUnderAudit<'_>, out: &mut Vec<Finding>) {
    let Some(instance) = seen.facts.instance.known() else { return };
    let view = &seen.view.agent;
    if view.ready || !instance.power.eq_ignore_ascii_case("running") {
        return;
    }
    let mut finding = scene.checked(Check::AgentNotReady, Level::Medium, &seen.row.vm.id);
    let status = if view.status.is_empty() { "no status" } else { &view.status };
    finding.evidence = vec!["vm.power is running".to_owned(), format!("agent.status is {status}")];
    finding.command = Some(scene.command("diagnose", &seen.row.vm.id));
    out.push(finding);
}

fn extensions(scene: &AuditInput<'_>, seen: &VmUnderAudit<'_>, out: &mut Vec<Finding>) {
    let failed = |state: &str| state.eq_ignore_ascii_case("Failed");
    // With an instance view the view of conditions knows more; without one there are only the resources.
    let names: Vec<String> = if seen.facts.instance.known().is_some() {
        seen.view
            .extensions
            .failed
            .iter()
            .filter(|name| !name.to_lowercase().starts_with("vmsnapshot"))
            .cloned()
            .collect()
    } else {
        let rows = scene.index.extensions(scene.bulk, &seen.row.vm.id);
        let rows = rows.filter(|one| {
            failed(&one.provisioning_state) && !is_vmsnapshot(&format!("{}.{}", one.publisher, one.kind))
        });
        rows.map(|one| one.id.name().to_owned()).collect()
    };
    if names.is_empty() {
        return;
    }
    let mut finding = scene.checked(Check::ExtensionFailed, Level::Low, &seen.row.vm.id);
    finding.evidence = names.into_iter().map(|name| format!("the extension {name} failed")).collect();
    finding.command = Some(scene.command("diagnose", &seen.row.vm.id));
    out.push(finding);
}

/// The checks that belong to no VM of the reading.
///
/// `left_behind` are items at the old places of VMs that were moved: they are said with the VM.
///
/// Returns the keys of VMs whose locks over restore points are told with the groups, by the key of the finding.
pub(super) fn of_scope(
    scene: &AuditInput<'_>,
    left_behind: &BTreeSet<String>,
    out: &mut Vec<Finding>,
) -> Vec<(String, BTreeSet<ResourceId>)> {
    let told = groups(scene, out);
    vaults(scene, out);
    orphans(scene, out);
    items_without_vm(scene, left_behind, out);
    told
}

fn groups(scene: &AuditInput<'_>, out: &mut Vec<Finding>) -> Vec<(String, BTreeSet<ResourceId>)> {
    let mut told = Vec::new();
    let (bulk, index) = (scene.bulk, scene.index);
    let narrowed = bulk.looked_at() != bulk.every_vm.len();
    let mut prefixes: Vec<_> = bulk.policies.iter().filter(|policy| !policy.group_prefix.is_empty()).collect();
    prefixes.sort_by(|a, b| (&a.group_prefix, &a.group_suffix).cmp(&(&b.group_prefix, &b.group_suffix)));
    prefixes.dedup_by(|a, b| a.group_prefix == b.group_prefix && a.group_suffix == b.group_suffix);
    for group in &bulk.groups {
        let name = group.id.name();
        let fits =
            default_group_name(name).is_some() || prefixes.iter().any(|one| is_backup_group_name(name, Some(one)));
        if bulk.gap(Kind::Collections, &group.id).is_some() {
            continue;
        }
        let mut held: Vec<&Collection> = index.in_group(bulk, &group.id).collect();
        let named = |one: &&Collection| one.source_id().is_some_and(|vm| names_vm(one.id.name(), vm.name()));
        let fits = fits && held.iter().all(named);
        // What decides is what a group holds: points of Backup's lie in groups with an older prefix and in VMs' own groups, too.
        // A lock from above is said of the backup groups.
        if !fits {
            held.retain(named);
            if held.is_empty() || index.locks_at(bulk, &group.id).next().is_none() {
                continue;
            }
        }
        let vms: BTreeSet<ResourceId> = held.iter().filter_map(|one| one.source_id()).collect();
        if narrowed && !vms.iter().any(|vm| bulk.looks_at(vm.key())) {
            continue;
        }
        let mut locks: Vec<&Lock> = index.locks_over(bulk, &group.id);
        locks.extend(held.iter().flat_map(|one| index.locks_at(bulk, &one.id)));
        let read_only = |lock: &&Lock| lock.level.eq_ignore_ascii_case("ReadOnly");
        // An empty group matters only when nothing can be made in it.
        if held.is_empty() {
            locks.retain(|lock| read_only(lock));
        }
        if locks.is_empty() {
            continue;
        }
        let level = if locks.iter().any(read_only) { Level::High } else { Level::Medium };
        let mut finding = scene.checked(Check::GroupLocked, level, &group.id);
        finding.evidence = locks.iter().map(|lock| lock_line(lock, &group.id)).collect();
        finding.evidence.push(format!(
            "{} of {}",
            plural(held.len(), "restore point collection"),
            plural(vms.len(), "VM")
        ));
        // A lock from above, or of an application, is its owner's, and while it is there the removal of another one frees
        // nothing: a repair that needs it gone names it (`--lock`).
        let below = fits && locks.iter().all(|lock| group.id.covers(&lock.scope()) && lock.owners.is_empty());
        if !fits {
            finding.evidence.push("azmend removes no lock from this group unless you name it: --lock".to_owned());
        }
        let words = if below { "fix unlock-backup-groups" } else { "diagnose" };
        let listed = vms.iter().find(|vm| bulk.every_vm.contains(vm.key()));
        finding.command = listed.map(|vm| scene.command(words, vm));
        finding.code = Some("ScopeLocked".to_owned());
        told.push((finding.key.clone(), vms));
        out.push(finding);
    }
    told
}

/// Vaults under a ReadOnly lock that protect VMs of this reading.
fn vaults(scene: &AuditInput<'_>, out: &mut Vec<Finding>) {
    let (bulk, index) = (scene.bulk, scene.index);
    for vault in &bulk.vaults {
        let mut locks = index.locks_over(bulk, &vault.id);
        locks.retain(|lock| lock.level.eq_ignore_ascii_case("ReadOnly"));
        if locks.is_empty() {
            continue;
        }
        let active =
            bulk.items.iter().filter(|item| !item.soft_deleted && !item.stopped() && vault.id.covers(&item.id));
        let vms: BTreeSet<ResourceId> = active
            .filter_map(|item| ResourceId::parse(&item.source).ok())
            .filter(|vm| bulk.every_vm.contains(vm.key()) && bulk.looks_at(vm.key()))
            .collect();
        let Some(first) = vms.first() else { continue };
        let mut finding = scene.checked(Check::VaultLocked, Level::Medium, &vault.id);
        finding.evidence = locks
            .iter()
            .map(|lock| format!("{} lock {} on {}", lock.level, lock.id.name(), lock.scope().short_name()))
            .collect();
        finding.evidence.push(format!("it protects {} of this scope", plural(vms.len(), "VM")));
        finding.code = Some("ScopeLocked".to_owned());
        finding.command = Some(scene.command("diagnose", first));
        out.push(finding);
    }
}

fn lock_line(lock: &Lock, group: &ResourceId) -> String {
    let scope = lock.scope();
    let place = if scope == *group {
        "on the group".to_owned()
    } else if group.covers(&scope) {
        format!("on {}", scope.name())
    } else {
        "inherited from the subscription".to_owned()
    };
    let owners = if lock.owners.is_empty() {
        String::new()
    } else {
        format!(" of the application {}, the only one that can remove it", lock.owners.join(", "))
    };
    let notes = if lock.notes.is_empty() { String::new() } else { format!(": {}", lock.notes) };
    format!("{} lock {} {place}{owners}{notes}", lock.level, lock.id.name())
}

fn orphans(scene: &AuditInput<'_>, out: &mut Vec<Finding>) {
    for (collection, vm) in without_vm(scene.bulk, scene.index) {
        let Some(read) = scene.deep.collection(&collection.id) else { continue };
        let points = read.collection.points();
        if points.is_empty() {
            continue;
        }
        let mut finding = scene.checked(Check::OrphanCandidate, Level::Low, &collection.id);
        finding.evidence.push(format!("the VM {} is not listed, and no item of a vault names it", vm.name()));
        let newest = points.iter().filter_map(|point: &Point| point.created).max();
        let age = newest.map(|newest| days(elapsed(newest, scene.bulk.at)));
        let age = age.map_or_else(String::new, |age| format!(", the newest {age} old"));
        finding.evidence.push(format!("{}{age}", plural(points.len(), "restore point")));
        // What snapshots take is not readable; the disks' size is the most that each can hold.
        if let Some(gb) = read.disk_gb {
            finding.evidence.push(format!("at most {gb} GB behind each point: the provisioned size of the VM's disks"));
        }
        // Azure would refuse the deletion: the lock comes first, and who may remove it.
        let mut over = scene.bulk.locks.iter().filter(|lock| lock.scope().covers(&collection.id));
        let words = match over.next() {
            None => "fix stale-collections-of-deleted-vm",
            Some(lock) => {
                let place = lock.scope();
                finding.evidence.push(format!(
                    "the {} lock {} on {} comes first; then: fix stale-collections-of-deleted-vm",
                    lock.level,
                    lock.id.name(),
                    place.short_name()
                ));
                let group = collection.id.group_id();
                let own = |lock: &Lock| group.as_ref().is_some_and(|group| group.covers(&lock.scope()));
                let goes = |lock: &Lock| own(lock) && lock.owners.is_empty();
                if goes(lock) && over.all(goes) { "fix unlock-backup-groups" } else { "diagnose" }
            }
        };
        let dry = if words == "diagnose" { "" } else { " --dry-run" };
        finding.command = Some(format!("{}{dry}", scene.command_by_id(words, &vm)));
        out.push(finding);
    }
}

/// Items whose VM is not among the VMs of a subscription that was looked into.
fn items_without_vm(scene: &AuditInput<'_>, left_behind: &BTreeSet<String>, out: &mut Vec<Finding>) {
    let bulk = scene.bulk;
    for item in bulk.items.iter().filter(|item| !item.soft_deleted && !left_behind.contains(item.id.key())) {
        let Ok(vm) = ResourceId::parse(&item.source) else { continue };
        let here = bulk.looks_into(vm.subscription()) && bulk.selection.tells_of_gone(&vm);
        if !here || bulk.every_vm.contains(vm.key()) || bulk.gap(Kind::Vms, &vm).is_some() {
            continue;
        }
        if item.stopped() {
            let mut finding = scene.checked(Check::ProtectionStopped, Level::Info, &vm);
            finding.evidence = vec![format!("{} in {}", item.protection_state, vault_name(item)), gone(&vm)];
            finding.command = Some(scene.command_by_id("diagnose", &vm));
            out.push(finding);
            continue;
        }
        let jobs = jobs_of(bulk, scene.index, &vm, item);
        item_in_error(scene, None, item, &jobs, &vm, out);
        for job in &jobs {
            stuck(scene, false, job, &vm, out);
        }
    }
}

fn gone(vm: &ResourceId) -> String {
    format!("the VM {} is not listed", vm.name())
}

fn vault_name(item: &ProtectedItem) -> String {
    item.vault_id().map_or_else(|| "a vault".to_owned(), |vault| format!("the vault {}", vault.name()))
}

fn item_in_error(
    scene: &AuditInput<'_>,
    seen: Option<&VmUnderAudit<'_>>,
    item: &ProtectedItem,
    jobs: &[Job],
    vm: &ResourceId,
    out: &mut Vec<Finding>,
) {
    if !in_error(item) {
        return;
    }
    let last = last_good(scene, item, jobs);
    let age = last.map(|last| elapsed(last, scene.bulk.at));
    let level = if age.is_some_and(|age| age < LONG) { Level::Medium } else { Level::High };
    let mut finding = scene.checked(Check::ItemInError, level, vm);
    finding.code = code(seen, item);
    let mut evidence = vec![format!("{} in {}", item.protection_state, vault_name(item))];
    if !item.health.is_empty() {
        evidence.push(format!("its health is {}", item.health));
    }
    if !item.last_backup_status.is_empty() {
        evidence.push(format!("the last backup: {}", item.last_backup_status));
    }
    evidence.extend(finding.code.iter().map(|code| format!("the error is {code}")));
    evidence.push(match age {
        Some(age) => format!("the last successful backup was {} ago", days(age)),
        None => "no successful backup is known".to_owned(),
    });
    if seen.is_none() {
        evidence.push(gone(vm));
    }
    finding.evidence = evidence;
    let chosen = seen.and_then(|seen| {
        let name = choose::choose_among(seen.applies.clone(), &seen.facts, &seen.view).playbook?;
        let playbook = seen.applies.iter().find(|one| one.playbook.name() == name)?.playbook;
        Some(repair::repair(scene, seen, playbook))
    });
    let command = |words: &str| match seen {
        Some(_) => scene.command(words, vm),
        None => scene.command_by_id(words, vm),
    };
    if let Some(repair) = chosen {
        repair.into(&mut finding);
        return out.push(finding);
    }
    finding.command = Some(match &finding.code {
        Some(code) => format!("{} explain {}", scene.program, shell_quote(code)),
        None => command("diagnose"),
    });
    out.push(finding);
}

/// The error that the item shows: that of its last job, else the first of its health details that the catalogue knows.
fn code(seen: Option<&VmUnderAudit<'_>>, item: &ProtectedItem) -> Option<String> {
    let of_job = seen.map(|seen| seen.view.backup.last_error.clone()).filter(|code| !code.is_empty());
    let of_detail = |detail: &HealthDetail| {
        let entry = Catalog::get().classify(&detail.title, detail.code, &detail.message)?;
        Some(entry.code.clone())
    };
    of_job.or_else(|| item.health_details.iter().find_map(of_detail))
}

/// When the last good backup was: a recovery point, a job that went well, or what the item says.
fn last_good(scene: &AuditInput<'_>, item: &ProtectedItem, jobs: &[Job]) -> Option<Timestamp> {
    let points = scene.deep.recovery_points(&item.id).into_iter().flatten().filter_map(|point| point.time).max();
    let good = jobs.iter().filter(|job| job.operation.eq_ignore_ascii_case("Backup") && job.succeeded());
    let said = item.last_backup_time.filter(|_| item.last_backup_status.eq_ignore_ascii_case("Completed"));
    [points, good.filter_map(|job| job.end).max(), said, item.last_recovery_point].into_iter().flatten().max()
}

fn stuck(scene: &AuditInput<'_>, listed: bool, job: &Job, vm: &ResourceId, out: &mut Vec<Finding>) {
    let Some(age) = job.start.map(|start| elapsed(start, scene.bulk.at)) else { return };
    if !job.running() || age <= STUCK {
        return;
    }
    let mut finding = scene.checked(Check::JobStuck, Level::Medium, &job.id);
    vm.name().clone_into(&mut finding.name);
    finding.group = vm.resource_group().unwrap_or_default().to_owned();
    finding.subscription = vm.subscription().to_lowercase();
    finding.subscription_name = scene.subscription_name(vm);
    let started = days(age);
    finding.evidence = vec![format!("the {} job is {} since {started}", job.operation, job.status)];
    finding.command = Some(match listed {
        true => scene.command("fix backup-in-progress", vm),
        false => scene.command_by_id("fix backup-in-progress", vm),
    });
    out.push(finding);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inherited_lock_says_where_it_stands() {
        let sub = "11111111-1111-1111-1111-111111111111";
        let group = ResourceId::group(sub, "AzureBackupRG_westeurope_1").unwrap();
        let at = |scope: &str| Lock {
            id: ResourceId::parse(&format!("{scope}/providers/Microsoft.Authorization/locks/keep")).unwrap(),
            level: "CanNotDelete".into(),
            notes: "by audit".into(),
            owners: Vec::new(),
        };
        let inherited = lock_line(&at(&format!("/subscriptions/{sub}")), &group);
        assert_eq!(inherited, "CanNotDelete lock keep inherited from the subscription: by audit");
        assert!(lock_line(&at(group.as_str()), &group).contains("on the group"));
    }
}
