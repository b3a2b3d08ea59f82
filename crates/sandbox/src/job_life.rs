//! Backup jobs: how they run. `providers::jobs` reads and cancels them.
//!
//! A job checks the VM when its snapshot starts (agent, `VMSnapshot`, limit of points, locks), takes the snapshot (a restore point and
//! a recovery point with InstantRP Valid), then transfers it to the vault (HardenedRP Valid). The service cleans up expired
//! points some hours after a job that met the limit, if no lock stands above the collection then.
//!
//! Shapes from recordings/azure-cli/backup/test_backup_job and errors/exchanges/backup-job-errors. Numbers of errors marked
//! "invented" were never recorded; the titles are the documented symbolic codes.

use jiff::Timestamp;

use crate::access;
use crate::world::events::Effect;
use crate::world::{
    Agent, Group, HandlerState, Job, JobError, JobStatus, PointState, Policy, RecoveryPoint, Task, TaskStatus, World,
    digits_from, new_point, point_name,
};
use azmend_arm::id::ResourceId;
use azmend_base::clock::{earlier, elapsed, later};

/// The documented error of a job, by symbolic code.
pub(crate) fn error_of(title: &str) -> JobError {
    let (code, text, advice) = match title {
        "UserErrorGuestAgentStatusUnavailable" => (
            400_196,
            "VM agent is unable to communicate with the Azure Backup Service.",
            "Ensure that VM agent is latest and running. Allow access to IP 168.63.129.16. For more information, please refer to https://aka.ms/guestagent-status-unavailable",
        ),
        // invented number
        "ExtensionOperationFailed" => (
            400_212,
            "VMSnapshot extension operation failed",
            "Ensure that Azure Backup extension is in a healthy state: uninstall VMSnapshot and trigger a backup; the service will reinstall it.",
        ),
        // invented number
        "UserErrorRpCollectionLimitReached" => (
            400_389,
            "The Restore Point collection max limit has reached.",
            "Remove the lock on the restore point collection resource group and trigger an on-demand backup to clean up, or delete the restore point collection.",
        ),
        // invented number
        "UserErrorResourceIsInLockedState" => (
            400_390,
            "The operation failed because the restore point resource group is locked.",
            "Remove the lock on the resource group and retry the operation.",
        ),
        "UserErrorBackupOperationInProgress" => (
            400_001,
            "Command execution failed.",
            "Another operation is currently in progress on this item. Please wait until the previous operation is completed, and then retry.",
        ),
        "UserErrorRpCollectionDeleted" => (
            400_288,
            "The backup operation failed because the restore point collection was deleted during the backup.",
            "Retry the backup operation.",
        ),
        // invented number
        "UserErrorRpCollectionMarkedForDeletion" => (
            400_391,
            "The operation failed because the restore point collection is marked for deletion.",
            "Retry after the deletion has completed.",
        ),
        "UserErrorKeyVaultPermissionsNotConfigured" => (
            400_198,
            "Azure Backup Service does not have sufficient permissions to Key Vault for Backup of Encrypted Virtual Machines.",
            "Please grant the required permissions to the Azure Backup Service. Refer https://azure.microsoft.com/en-in/documentation/articles/backup-azure-vms-encryption/ ",
        ),
        // invented number
        "UserErrorCrpReportedUserError" => (
            400_213,
            "Backup failed with an error reported by the compute platform.",
            "Refer to the error details and take the action that they name, then retry the operation.",
        ),
        "UserErrorVmNotFoundV2" => (
            400_136,
            "Virtual machine doesn't exist.",
            "Stop protecting the virtual machine with or without deleting its data.",
        ),
        _ => (400_002, "Backup failed with an internal error.", "Please retry the operation in a few minutes."),
    };
    JobError { code, title: title.to_owned(), text: text.to_owned(), recommendations: vec![advice.to_owned()] }
}

/// A name for a job to come.
pub(crate) fn prepare_name(world: &mut World) -> String {
    world.next_guid()
}

/// Starts a backup job; returns its name.
pub(crate) fn start(
    world: &mut World,
    item: &ResourceId,
    user: Option<bool>,
    name: Option<String>,
    expiry: Option<String>,
) -> String {
    let name = name.unwrap_or_else(|| prepare_name(world));
    let task = |name: &str| Task { name: name.to_owned(), status: TaskStatus::NotStarted, started: None, ended: None };
    let other = world.jobs.iter().find(|j| j.item == *item && j.status.is_active() && j.operation == "Backup");
    let (snapshotting, transferring) = (other.is_some_and(Job::is_taking_snapshot), other.is_some());
    world.jobs.push(Job {
        name: name.clone(),
        item: item.clone(),
        operation: "Backup".into(),
        status: JobStatus::InProgress,
        started: world.now,
        ended: None,
        user_triggered: user,
        tasks: vec![task("Take Snapshot"), task("Transfer data to vault")],
        error: None,
        expiry: expiry.or_else(|| (user == Some(true)).then(|| expires(None, world.now))),
        collection: None,
        recovery_point: None,
        more_errors: Vec::new(),
        dynamic_error: String::new(),
        skip_transfer: transferring && !snapshotting,
        shown: None,
    });
    if snapshotting {
        fail(world, &name, "UserErrorBackupOperationInProgress");
    } else {
        world.schedule_in(2, Effect::SnapshotStarts(name.clone()));
    }
    name
}

fn fail(world: &mut World, name: &str, title: &str) {
    let now = world.now;
    let Some(job) = world.job_mut(name) else { return };
    job.status = JobStatus::Failed;
    job.shown = None;
    job.ended = Some(now);
    job.error = Some(error_of(title));
    job.collection = None;
    let mut failed = false;
    for task in &mut job.tasks {
        if task.status != TaskStatus::Completed && !failed {
            task.status = TaskStatus::Failed;
            task.ended = Some(now);
            failed = true;
        }
    }
    let item = job.item.clone();
    finish_item(world, &item, "Failed");
}

/// The same, with what compute said.
fn fail_saying(world: &mut World, name: &str, title: &str, text: String) {
    fail(world, name, title);
    if let Some(error) = world.job_mut(name).and_then(|job| job.error.as_mut()) {
        error.text = text;
    }
}

fn finish_item(world: &mut World, item: &ResourceId, status: &str) {
    let now = world.now;
    if let Some(item) = world.item_mut(item) {
        item.last_backup_status = status.to_owned();
        item.last_backup_time = Some(now);
        // What was reported before does not hold any more.
        item.reported = None;
    }
}

/// The checks in front of a snapshot, in the service's order; then the snapshot begins.
pub(crate) fn snapshot_starts(world: &mut World, name: &str) {
    let Some(job) = world.job(name).filter(|j| j.status == JobStatus::InProgress) else { return };
    let item_id = job.item.clone();
    let Some(item) = world.item(&item_id) else { return fail(world, name, "BackUpOperationFailed") };
    let (vm_id, policy_id) = (item.vm.clone(), item.policy.clone());
    let Some(vm) = world.vm_mut(&vm_id) else { return fail(world, name, "UserErrorVmNotFoundV2") };
    // A VM that does not run is backed up crash-consistently, without its agent (backup-azure-vm-backup-faq).
    if vm.power == crate::world::Power::Running {
        if vm.agent != Agent::Ready {
            return fail(world, name, "UserErrorGuestAgentStatusUnavailable");
        }
        if vm.vmsnapshot.is_none() {
            let (state, message) = if vm.broken { (HandlerState::Failed, BROKEN) } else { (HandlerState::Ready, "") };
            let version = if vm.windows { "1.0.95.0" } else { "1.0.9241.0" };
            vm.vmsnapshot =
                Some(crate::world::Handler { version: version.into(), state, code: None, message: message.into() });
        }
        if vm.vmsnapshot.as_ref().is_some_and(|h| h.state == HandlerState::Failed) {
            vm.provisioned = false;
            return fail(world, name, "ExtensionOperationFailed");
        }
    }
    if world.vm(&vm_id).is_some_and(|vm| !crate::providers::keyvault::backup_may(world, vm)) {
        return fail(world, name, "UserErrorKeyVaultPermissionsNotConfigured");
    }
    if world.settings.vm_lock_stops_backup
        && let Some(scope) = access::blocking(world, &vm_id, true).and_then(|lock| lock.id.scope())
    {
        let text = format!(
            "Code ScopeLocked: {}",
            access::refusal(&format!("{vm_id}/extensions/VMSnapshot"), "write", &[scope])
        );
        return fail_saying(world, name, "UserErrorCrpReportedUserError", text);
    }
    let policy = policy_id.and_then(|p| world.policy(&p)).cloned();
    let limit = policy.as_ref().map_or(18, Policy::point_limit);
    if world.succeeded_points(&vm_id) >= limit {
        fail(world, name, "UserErrorRpCollectionLimitReached");
        // Locks are looked at when it cleans up, not now: one may be removed meanwhile, or be on its way out.
        let seconds = world.settings.service_cleanup_after;
        world.timeline.retain(|e| e.effect != Effect::ServiceCleanup(vm_id.clone()));
        world.schedule_in(seconds, Effect::ServiceCleanup(vm_id));
        return;
    }
    let Some(collection) = place_for_snapshot(world, &vm_id, policy.as_ref()) else {
        return fail(world, name, "BackUpOperationFailed");
    };
    if access::blocking(world, &collection, true).is_some() {
        return fail(world, name, "UserErrorResourceIsInLockedState");
    }
    if world.collection(&collection).is_some_and(|c| c.deleting) {
        return fail(world, name, "UserErrorRpCollectionMarkedForDeletion");
    }
    let now = world.now;
    if let Some(job) = world.job_mut(name) {
        job.collection = Some(collection);
        if let Some(task) = job.tasks.first_mut() {
            task.status = TaskStatus::InProgress;
            task.started = Some(now);
        }
    }
    let seconds = world.settings.snapshot;
    world.schedule_in(seconds, Effect::SnapshotEnds(name.to_owned()));
}

/// What a `VMSnapshot` says that cannot be installed (invented text).
pub(crate) const BROKEN: &str = "Plugin (name: Microsoft.Azure.RecoveryServices.VMSnapshot) failed to install: the handler returned exit code 1007.";

/// The backup group of a region under a policy: `AzureBackupRG_<region>_<n>` or `<prefix><n><suffix>`.
fn is_backup_group(name: &str, region: &str, policy: Option<&Policy>) -> bool {
    let (head, tail) = match policy.and_then(|p| p.prefix.as_ref().map(|prefix| (prefix, p))) {
        Some((prefix, policy)) => (prefix.to_lowercase(), policy.suffix.clone().unwrap_or_default().to_lowercase()),
        None => (format!("azurebackuprg_{region}_").to_lowercase(), String::new()),
    };
    let name = name.to_lowercase();
    name.strip_prefix(&head)
        .and_then(|rest| rest.strip_suffix(&tail))
        .is_some_and(|number| !number.is_empty() && number.chars().all(|c| c.is_ascii_digit()))
}

/// The VM's collection in its current backup group, made (with the group) when it is not there.
fn place_for_snapshot(world: &mut World, vm_id: &ResourceId, policy: Option<&Policy>) -> Option<ResourceId> {
    let region = world.vm(vm_id)?.location.clone();
    let fits = |id: &ResourceId| id.resource_group().is_some_and(|group| is_backup_group(group, &region, policy));
    let live = world
        .collections_of(vm_id)
        .filter(|c| c.id.name().to_lowercase().starts_with("azurebackup_") && fits(&c.id))
        .max_by_key(|c| c.points.iter().map(|p| p.created).max())
        .map(|c| c.id.clone());
    if live.is_some() {
        return live;
    }
    let subscription = vm_id.subscription();
    let existing = world
        .groups
        .iter()
        .filter(|g| g.id.subscription().eq_ignore_ascii_case(subscription) && fits(&g.id))
        .map(|g| g.id.clone())
        .next();
    let group = match existing {
        Some(group) => group,
        None => {
            let name = match policy.and_then(|p| p.prefix.as_ref().map(|prefix| (prefix, p))) {
                Some((prefix, policy)) => format!("{prefix}1{}", policy.suffix.as_deref().unwrap_or_default()),
                None => format!("AzureBackupRG_{region}_1"),
            };
            let id = ResourceId::group(subscription, &name).ok()?;
            world.groups.push(Group { id: id.clone(), location: region.clone(), managed_by: None });
            id
        }
    };
    let seed = world.next_guid();
    let name = format!("AzureBackup_{}_{}", vm_id.name(), digits_from(&seed));
    let id = group.resource("Microsoft.Compute", "restorePointCollections", &name).ok()?;
    world.add_collection(id.clone(), vm_id, &region);
    Some(id)
}

/// The snapshot is taken: a restore point and a recovery point.
pub(crate) fn snapshot_ends(world: &mut World, name: &str) {
    let Some(job) = world.job(name).filter(|j| j.status == JobStatus::InProgress).cloned() else { return };
    let Some(collection) = job.collection else { return fail(world, name, "UserErrorRpCollectionDeleted") };
    let Some(vm_id) = world.item(&job.item).and_then(|i| world.vm(&i.vm)).map(|vm| vm.vm_id.clone()) else {
        return fail(world, name, "UserErrorVmNotFoundV2");
    };
    let now = world.now;
    let running =
        world.item(&job.item).and_then(|i| world.vm(&i.vm)).is_some_and(|vm| vm.power == crate::world::Power::Running);
    let Some(found) = world.collection_mut(&collection) else {
        return fail(world, name, "UserErrorRpCollectionDeleted");
    };
    if found.deleting {
        return fail(world, name, "UserErrorRpCollectionMarkedForDeletion");
    }
    let mut point = new_point(now, vm_id);
    while found.points.iter().any(|p| p.name == point.name) {
        point.created = azmend_base::clock::later(point.created, std::time::Duration::from_secs(1));
        point.name = point_name(point.created);
    }
    found.points.push(point);
    let recovery_point = digits_from(&format!("{name}{now}")).to_string();
    let skip = job.skip_transfer;
    if let Some(item) = world.item_mut(&job.item) {
        item.recovery_points.push(RecoveryPoint {
            name: recovery_point.clone(),
            time: now,
            tiers: vec![("InstantRP".into(), "Valid".into())],
            consistency: if running { "AppConsistent" } else { "CrashConsistent" }.into(),
            ilr_session: false,
        });
        if item.protection == crate::world::Protection::Pending {
            item.protection = crate::world::Protection::Protected;
        }
    }
    let seconds = world.settings.transfer;
    if let Some(job) = world.job_mut(name) {
        job.collection = None;
        job.recovery_point = Some(recovery_point);
        if let Some(task) = job.tasks.first_mut() {
            task.status = TaskStatus::Completed;
            task.ended = Some(now);
        }
        if let Some(task) = job.tasks.get_mut(1) {
            task.status = if skip { TaskStatus::Skipped } else { TaskStatus::InProgress };
            task.started = Some(now);
        }
        if skip {
            job.status = JobStatus::Completed;
            job.shown = None;
            job.ended = Some(now);
        }
    }
    if skip {
        finish_item(world, &job.item, "Completed");
    } else {
        world.schedule_in(seconds, Effect::TransferEnds(name.to_owned()));
    }
}

/// The transfer is done: the recovery point has its copy in the vault.
pub(crate) fn transfer_ends(world: &mut World, name: &str) {
    let now = world.now;
    let Some(job) = world.job_mut(name).filter(|j| j.status == JobStatus::InProgress) else { return };
    job.status = JobStatus::Completed;
    job.shown = None;
    job.ended = Some(now);
    if let Some(task) = job.tasks.get_mut(1) {
        task.status = TaskStatus::Completed;
        task.ended = Some(now);
    }
    let (item, made) = (job.item.clone(), job.recovery_point.clone());
    if let Some(point) =
        world.item_mut(&item).and_then(|i| i.recovery_points.iter_mut().find(|p| Some(&p.name) == made.as_ref()))
    {
        point.tiers.push(("HardenedRP".into(), "Valid".into()));
    }
    finish_item(world, &item, "Completed");
}

/// A collection was deleted: a snapshot that is being made in it fails.
pub(crate) fn collection_deleted(world: &mut World, id: &ResourceId) {
    let hit: Vec<String> = world
        .jobs
        .iter()
        .filter(|j| j.collection.as_ref() == Some(id) && j.is_taking_snapshot())
        .map(|j| j.name.clone())
        .collect();
    for name in hit {
        fail(world, &name, "UserErrorRpCollectionDeleted");
    }
}

/// The service deletes a VM's points that are older than its policy keeps them, where no lock stands in the way. A point
/// whose recovery point has no copy in the vault is kept.
pub(crate) fn service_cleanup(world: &mut World, vm: &ResourceId) {
    let Some(item) = world.item_of(vm) else { return };
    let days = item.policy.as_ref().and_then(|p| world.policy(p)).map_or(2, |p| p.snapshot_days);
    let edge = earlier(world.now, std::time::Duration::from_secs(u64::from(days) * 86_400));
    let item_id = item.id.clone();
    let kept: Vec<Timestamp> =
        item.recovery_points.iter().filter(|r| !has_tier(r, "HardenedRP")).map(|r| r.time).collect();
    let near = |a: Timestamp, b: Timestamp| elapsed(a.min(b), a.max(b)).as_secs() < 60;
    let free: Vec<ResourceId> = world
        .collections_of(vm)
        .map(|c| c.id.clone())
        .filter(|id| access::blocking(world, id, false).is_none())
        .collect();
    let mut gone: Vec<Timestamp> = Vec::new();
    for id in free {
        let Some(collection) = world.collection_mut(&id) else { continue };
        if collection.deleting || !collection.id.name().to_lowercase().starts_with("azurebackup_") {
            continue;
        }
        collection.points.retain(|p| {
            let expired = p.created < edge
                && p.state == PointState::Succeeded
                && !p.in_use
                && !kept.iter().any(|k| near(*k, p.created));
            if expired {
                gone.push(p.created);
            }
            !expired
        });
    }
    world.collections.retain(|c| {
        !(c.source == *vm && c.points.is_empty() && c.id.name().to_lowercase().starts_with("azurebackup_"))
    });
    if let Some(item) = world.item_mut(&item_id) {
        for point in item.recovery_points.iter_mut().filter(|r| gone.iter().any(|g| near(*g, r.time))) {
            for tier in point.tiers.iter_mut().filter(|(kind, _)| kind == "InstantRP") {
                tier.1 = "Deleted".into();
            }
        }
    }
}

fn has_tier(point: &RecoveryPoint, tier: &str) -> bool {
    point.tiers.iter().any(|(kind, status)| kind == tier && status == "Valid")
}

/// The cancellation is accepted: the job ends soon, or goes on when a fault stopped it.
pub(crate) fn cancel_accepted(world: &mut World, operation: &str, happens: bool) {
    let Some(name) = world.operation_mut(operation).and_then(|o| o.job.clone()) else { return };
    if happens {
        world.schedule_in(30, Effect::JobCancelled(name));
    } else if let Some(job) = world.job_mut(&name).filter(|j| j.status == JobStatus::Cancelling) {
        job.status = JobStatus::InProgress;
        job.shown = None;
    }
}

/// The job is cancelled.
pub(crate) fn cancelled(world: &mut World, name: &str) {
    let now = world.now;
    let Some(job) = world.job_mut(name).filter(|j| j.status == JobStatus::Cancelling) else { return };
    job.status = JobStatus::Cancelled;
    job.shown = None;
    job.ended = Some(now);
    job.collection = None;
    for task in job.tasks.iter_mut().filter(|t| t.status != TaskStatus::Completed) {
        task.status = TaskStatus::Cancelled;
        task.ended = Some(now);
    }
}

/// When the recovery point goes, as recorded in the job: `6/12/2024 12:00:00 AM`. Without a wish, after 30 days.
pub(crate) fn expires(asked: Option<&str>, now: jiff::Timestamp) -> String {
    let month = std::time::Duration::from_secs(30 * 24 * 3600);
    let at = asked.and_then(|text| text.parse().ok()).unwrap_or_else(|| later(now, month));
    at.strftime("%-m/%-d/%Y %-I:%M:%S %p").to_string()
}
