//! The jobs of one VM in a vault.
//!
//! Reads of jobs are rationed (a recorded 429 names 150 per hour), so a reading makes two lists, a refresh one. Lists are
//! late: a job that azmend started itself is known by its own GET, whatever they say.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use crate::arm::JobFilter;
use crate::arm::id::ResourceId;
use crate::arm::model::{Job, ProtectedItem};
use crate::clock::earlier;
use crate::facts::read::{Read, Reader, action, one_line, part, why};
use crate::facts::vm_facts::{Part, VmFacts};
use crate::text::safe_short;

/// How far back finished jobs are read.
pub const JOB_DAYS: u64 = 14;
/// How far back a refresh lists before the reading that it makes fresh: what began earlier is known by then, whatever the
/// lists are late by. The rules look back 24 hours.
const OVERLAP: Duration = Duration::from_secs(26 * 3600);

/// The finished backup job that ended last: the one whose error counts.
#[must_use]
pub fn newest_finished_backup(jobs: &[Job]) -> Option<&Job> {
    newest(jobs.iter())
}

/// So many backups in a row that end with warnings are no accident.
pub const WARNED: usize = 3;

/// The newest finished backups as far as each of them ended with warnings, the newest first.
#[must_use]
pub fn warned_in_a_row(jobs: &[Job]) -> Vec<&Job> {
    let finished = jobs.iter().filter(|job| !job.running() && job.operation.eq_ignore_ascii_case("Backup"));
    let mut finished: Vec<&Job> = finished.collect();
    finished.sort_by_key(|job| std::cmp::Reverse((job.end.or(job.start), job.start)));
    finished.into_iter().take_while(|job| job.warned()).collect()
}

/// The newest finished backup of the VM in any vault, when it did not succeed.
#[must_use]
pub fn last_failure(facts: &VmFacts) -> Option<&Job> {
    let items = facts.items.known().into_iter().flatten();
    newest(items.filter_map(|item| item.jobs.known()).flatten()).filter(|job| !job.succeeded())
}

/// The newest finished backup that nobody cancelled, where it failed and one or more were cancelled since.
#[must_use]
pub fn failed_before_cancelled(facts: &VmFacts) -> Option<&Job> {
    let cancelled = |job: &Job| job.status.eq_ignore_ascii_case("Cancelled");
    last_failure(facts).filter(|job| cancelled(job))?;
    let items = facts.items.known().into_iter().flatten();
    let jobs = items.filter_map(|item| item.jobs.known()).flatten();
    newest(jobs.filter(|job| !cancelled(job))).filter(|job| !job.succeeded())
}

/// What Azure said of it, in its own words: they name the policy, the extension, the disk that is meant.
#[must_use]
pub fn last_failure_words(facts: &VmFacts) -> Option<String> {
    last_failure(facts)?.texts().map(str::trim).find(|text| !text.is_empty()).map(|text| safe_short(text, 300))
}

fn newest<'a>(jobs: impl Iterator<Item = &'a Job>) -> Option<&'a Job> {
    let finished = jobs.filter(|job| !job.running() && job.operation.eq_ignore_ascii_case("Backup"));
    finished.max_by_key(|job| (job.end.or(job.start), job.start))
}

/// Whose jobs, and where.
#[derive(Clone, Copy)]
pub(super) struct Whose<'a> {
    pub vm: &'a ResourceId,
    pub item: &'a ProtectedItem,
    pub vault: &'a ResourceId,
    /// Jobs that azmend started, in any vault.
    pub own: &'a [ResourceId],
}

impl Whose<'_> {
    fn may_have(&self, job: &Job) -> bool {
        may_be_of(job, self.vm, self.item)
    }
}

/// Reads the VM's jobs: the running ones of any age and operation, all of the last days, and azmend's own.
pub(super) async fn read(reader: &Reader<'_>, whose: Whose<'_>) -> (Part<Vec<Job>>, usize) {
    // Whether Azure lists running jobs of any age without a time is not verified: those of the last days are in both.
    // `Cancelling` is not asked for by itself: only a job that takes its snapshot can be cancelled, and that is recent.
    let running = JobFilter { status: Some("InProgress".into()), ..JobFilter::default() };
    let recent = since(reader.now(), Duration::from_secs(JOB_DAYS * 86_400));
    let lists = async {
        let (recent, running, own) = futures::join!(
            list(reader, whose.vault, &recent),
            list(reader, whose.vault, &running),
            read_own(reader, whose, &[])
        );
        let ((at, mut jobs), (_, more), own) = (recent?, running?, own?);
        add_missing(&mut jobs, more);
        let (mut jobs, others): (Vec<Job>, Vec<Job>) = jobs.into_iter().partition(|job| whose.may_have(job));
        let whole = replace(&mut jobs, own);
        let together = began_together(&jobs, &others);
        with_details(reader, jobs, &whole, &[]).await.map(|jobs| (at, jobs, together))
    };
    match Box::pin(lists).await {
        Ok((at, value, together)) => (Part::Known { at, value }, together),
        Err(why) => (Part::Unread { why }, 0),
    }
}

/// How many backups among `others` began in the minute in which the newest finished one of `jobs` did.
fn began_together(jobs: &[Job], others: &[Job]) -> usize {
    let minute = |job: &Job| job.start.map(|start| start.as_second().div_euclid(60));
    let Some(wanted) = newest_finished_backup(jobs).and_then(minute) else { return 0 };
    others.iter().filter(|job| job.operation.eq_ignore_ascii_case("Backup") && minute(job) == Some(wanted)).count()
}

/// Reads the jobs again that were read before: one list of what is new, and single reads only of what can have changed.
/// What was finished then is final.
pub(super) async fn refresh(reader: &Reader<'_>, whose: Whose<'_>, before: &Part<Vec<Job>>) -> Part<Vec<Job>> {
    match before {
        Part::Known { at, value } => part(Box::pin(read_again(reader, whose, *at, value)).await),
        Part::Absent { .. } | Part::Unread { .. } => Box::pin(read(reader, whose)).await.0,
    }
}

async fn read_again(
    reader: &Reader<'_>,
    whose: Whose<'_>,
    read_at: Timestamp,
    before: &[Job],
) -> Read<(Timestamp, Vec<Job>)> {
    let new = since(read_at.min(reader.now()), OVERLAP);
    let (listed, own) = futures::join!(list(reader, whose.vault, &new), read_own(reader, whose, before));
    let ((at, mut jobs), own) = (listed?, own?);
    jobs.retain(|job| whose.may_have(job));
    // One that ran before and is older than the list is read by itself below.
    add_missing(&mut jobs, before.to_vec());
    let whole = replace(&mut jobs, own);
    Ok((at, with_details(reader, jobs, &whole, before).await?))
}

/// The jobs of `own` that are in this vault, each by its own GET; but not those that are known to have ended. One that is
/// proven absent is left out, one that cannot be read leaves the whole unread.
async fn read_own(reader: &Reader<'_>, whose: Whose<'_>, before: &[Job]) -> Read<Vec<Job>> {
    let mine: BTreeSet<&ResourceId> = whose.own.iter().filter(|id| whose.vault.covers(id)).collect();
    let calls = mine.into_iter().map(|id| async move {
        if let Some(known) = before.iter().find(|job| job.id == *id && job.end.is_some() && !job.running()) {
            return Ok(Some(known.clone()));
        }
        match reader.arm.job(id).await {
            Ok(job) => Ok(Some(job)),
            Err(error) if reader.arm.proves_absence(&error, id).await => Ok(None),
            Err(error) => {
                Err(one_line(&format!("the job {} that azmend started was not read: {}", id.name(), why(&error))))
            }
        }
    });
    let read: Read<Vec<Option<Job>>> = reader.side_by_side(calls.collect()).await.into_iter().collect();
    Ok(read?.into_iter().flatten().filter(|job| whose.may_have(job)).collect())
}

/// Puts in jobs that were read by themselves, in place of what lists say of them; their ids.
fn replace(jobs: &mut Vec<Job>, single: Vec<Job>) -> BTreeSet<ResourceId> {
    let whole: BTreeSet<ResourceId> = single.iter().map(|job| job.id.clone()).collect();
    jobs.retain(|job| !whole.contains(&job.id));
    jobs.extend(single);
    whole
}

fn since(until: Timestamp, span: Duration) -> JobFilter {
    JobFilter { since: Some(earlier(until, span)), ..JobFilter::default() }
}

async fn list(reader: &Reader<'_>, vault: &ResourceId, filter: &JobFilter) -> Read<(Timestamp, Vec<Job>)> {
    reader.list(vault, &[action::JOBS], "jobs", reader.arm.jobs(vault, filter)).await
}

fn add_missing(jobs: &mut Vec<Job>, more: Vec<Job>) {
    for job in more {
        if !jobs.iter().any(|known| known.id == job.id) {
            jobs.push(job);
        }
    }
}

/// Fills in what only a job's own GET has (tasks, all error details) for every running job and for the newest finished
/// backup when it did not simply succeed; newest first. Those of `whole` were read so already, and what `before` has of a
/// finished job is final.
async fn with_details(
    reader: &Reader<'_>,
    mut jobs: Vec<Job>,
    whole: &BTreeSet<ResourceId>,
    before: &[Job],
) -> Read<Vec<Job>> {
    let newest = newest_finished_backup(&jobs).filter(|job| !succeeded(job)).map(|job| job.id.clone());
    let lacks = |job: &&Job| (job.running() || newest.as_ref() == Some(&job.id)) && !whole.contains(&job.id);
    let calls = jobs.iter().filter(lacks).map(|job| async move {
        let known = before
            .iter()
            .find(|old| old.id == job.id && old.end.is_some() && old.end == job.end && old.status == job.status);
        if let Some(known) = known {
            return Ok(Some(known.clone()));
        }
        match reader.arm.job(&job.id).await {
            Ok(full) => Ok(Some(full)),
            Err(error) if reader.arm.proves_absence(&error, &job.id).await => Ok(None),
            Err(error) => Err(why(&error)),
        }
    });
    let read: Read<Vec<Option<Job>>> = reader.side_by_side(calls.collect()).await.into_iter().collect();
    for full in read?.into_iter().flatten() {
        if let Some(job) = jobs.iter_mut().find(|job| job.id == full.id) {
            *job = full;
        }
    }
    jobs.sort_by(|a, b| b.start.cmp(&a.start).then_with(|| a.id.cmp(&b.id)));
    Ok(jobs)
}

/// Whether nothing of the job is told by its own GET that matters: no error, no warning.
fn succeeded(job: &Job) -> bool {
    job.status.eq_ignore_ascii_case("Completed") && job.errors.is_empty()
}

/// Whether the job is of this VM, or could be.
///
/// A container as recorded (`[IaasVMContainer;]iaasvmcontainerv2;<group>;<vm>`) tells VMs of one name apart. Without
/// one, or in a form azmend does not know (cross-subscription backup has its own), the name decides; a job without any
/// name is kept: to wait for a job too many is the safe side.
pub(in crate::facts) fn may_be_of(job: &Job, vm: &ResourceId, item: &ProtectedItem) -> bool {
    let container = job.container.to_lowercase();
    let items_own = item.id.segment("protectionContainers").unwrap_or_default().to_lowercase();
    if !container.is_empty() {
        if !items_own.is_empty() && (items_own == container || items_own.ends_with(&format!(";{container}"))) {
            return true;
        }
        let parts: Vec<&str> = container.split(';').collect();
        if let ["iaasvmcontainerv2", group, name] | [_, "iaasvmcontainerv2", group, name] = parts.as_slice() {
            let here = vm.resource_group().unwrap_or_default().to_lowercase();
            return *group == here && *name == vm.name().to_lowercase();
        }
    }
    job.vm_name.is_empty() || job.vm_name.to_lowercase() == vm.name().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUB: &str = "11111111-1111-1111-1111-111111111111";

    fn job(container: &str, vm_name: &str) -> Job {
        let vault = format!("/subscriptions/{SUB}/resourceGroups/rg/providers/Microsoft.RecoveryServices/vaults/v");
        Job {
            id: ResourceId::parse(&format!("{vault}/backupJobs/j1")).unwrap(),
            operation: "Backup".into(),
            status: "Completed".into(),
            start: None,
            end: None,
            vm_name: vm_name.into(),
            container: container.into(),
            user_triggered: None,
            errors: Vec::new(),
            dynamic_error: String::new(),
            tasks: Vec::new(),
        }
    }

    fn item(container: &str) -> ProtectedItem {
        let vault = format!("/subscriptions/{SUB}/resourceGroups/rg/providers/Microsoft.RecoveryServices/vaults/v");
        ProtectedItem {
            id: ResourceId::parse(&format!(
                "{vault}/backupFabrics/Azure/protectionContainers/{container}/protectedItems/i"
            ))
            .unwrap(),
            source: String::new(),
            policy_id: String::new(),
            protection_state: "Protected".into(),
            health: String::new(),
            health_details: Vec::new(),
            last_backup_status: String::new(),
            last_backup_time: None,
            last_recovery_point: None,
            soft_deleted: false,
        }
    }

    #[test]
    fn jobs_are_told_apart_by_container_and_kept_when_unsure() {
        let vm = ResourceId::vm(SUB, "Prod", "Web-01").unwrap();
        let own = item("IaasVMContainer;iaasvmcontainerv2;prod;web-01");
        for (container, name, expected) in [
            ("iaasvmcontainerv2;prod;web-01", "web-01", true),
            ("IaasVMContainer;iaasvmcontainerv2;PROD;WEB-01", "", true),
            ("iaasvmcontainerv2;test;web-01", "web-01", false),
            ("iaasvmcontainerv2;prod;db-01", "db-01", false),
            ("", "WEB-01", true),
            ("", "db-01", false),
            ("", "", true),
            ("somethingnew;web-01", "web-01", true),
            ("somethingnew;db-01", "db-01", false),
        ] {
            assert_eq!(may_be_of(&job(container, name), &vm, &own), expected, "{container} {name}");
        }
        // The item's own container decides even when its names are not the VM's (a moved VM, another form).
        let odd = item("IaasVMContainer;iaasvmcontainerv2;oldgroup;web-01");
        assert!(may_be_of(&job("iaasvmcontainerv2;oldgroup;web-01", "web-01"), &vm, &odd));
    }

    #[test]
    fn the_newest_finished_backup_counts() {
        let at = |hour: i64| Some(Timestamp::from_second(hour * 3600).unwrap());
        let make = |name: &str, operation: &str, status: &str, start, end| {
            let mut job = job("", "");
            job.id = job.id.up_to("vaults").unwrap().child("backupJobs", name).unwrap();
            (job.operation, job.status, job.start, job.end) = (operation.into(), status.into(), start, end);
            job
        };
        let jobs = [
            make("old", "Backup", "Failed", at(1), at(2)),
            make("new", "Backup", "Completed", at(3), at(4)),
            make("restore", "Restore", "Failed", at(5), at(6)),
            make("running", "Backup", "InProgress", at(7), None),
        ];
        assert_eq!(newest_finished_backup(&jobs).unwrap().id.name(), "new");
        assert!(newest_finished_backup(&jobs[2..]).is_none());
    }
}
