//! Jobs as they arrive: of each VM only those that a view or a check looks at.
//!
//! Kept of each VM and vault: every running job, the newest finished backup (its error counts), and the newest backup that
//! went well. Fourteen days of daily backups are fourteen rows of a VM, and twelve of them say nothing.

use std::collections::HashMap;

use jiff::Timestamp;

use crate::arm::id::ResourceId;
use crate::arm::model::Job;

/// Which jobs a reading has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Jobs {
    /// All of the last 14 days.
    Every,
    /// Of each VM the ones that a view is made of.
    Newest,
    /// The same, but of VMs whose backups all went well none: their status is then `""`, not `Completed`.
    Unwell,
}

/// One VM in one vault, as its jobs name it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Whose {
    pub vault: ResourceId,
    /// In lower case.
    pub name: String,
    pub container: String,
}

#[derive(Debug, Default)]
struct Kept {
    running: Vec<Job>,
    finished: Option<Job>,
    good: Option<Job>,
}

/// Jobs that are kept.
#[derive(Debug)]
pub(super) struct Fold {
    every: bool,
    all: Vec<Job>,
    kept: HashMap<Whose, Kept>,
}

/// The order of [`crate::estate::collect::newest_finished_backup`]; the id decides among equals.
fn later_than(one: &Job, other: &Job) -> bool {
    (one.end.or(one.start), one.start, &one.id) > (other.end.or(other.start), other.start, &other.id)
}

impl Fold {
    pub fn new(jobs: Jobs) -> Self {
        Self { every: jobs == Jobs::Every, all: Vec::new(), kept: HashMap::new() }
    }

    pub fn extend(&mut self, jobs: impl IntoIterator<Item = Job>) {
        for job in jobs {
            if self.every {
                self.all.push(job);
                continue;
            }
            let backup = job.operation.eq_ignore_ascii_case("Backup");
            if !backup && !job.running() {
                continue;
            }
            let Some(vault) = job.id.up_to("vaults") else { continue };
            let whose = Whose { vault, name: job.vm_name.to_lowercase(), container: job.container.to_lowercase() };
            let kept = self.kept.entry(whose).or_default();
            if job.running() {
                kept.running.push(job);
                continue;
            }
            if job.succeeded() && kept.good.as_ref().is_none_or(|good| (job.end, &job.id) > (good.end, &good.id)) {
                kept.good = Some(job.clone());
            }
            if kept.finished.as_ref().is_none_or(|finished| later_than(&job, finished)) {
                kept.finished = Some(job);
            }
        }
    }

    /// Whose newest finished backup is known, and when the newest one ended that went well.
    pub fn finished(&self) -> impl Iterator<Item = (&Whose, Option<Timestamp>)> {
        let finished = self.kept.iter().filter(|(_, kept)| kept.finished.is_some());
        finished.map(|(whose, kept)| (whose, kept.good.as_ref().and_then(|good| good.end)))
    }

    /// Forgets the jobs of a vault.
    pub fn forget(&mut self, vault: &ResourceId) {
        self.all.retain(|job| !vault.covers(&job.id));
        self.kept.retain(|whose, _| whose.vault != *vault);
    }

    /// The jobs that count and failed without saying why.
    pub fn silent(&self) -> impl Iterator<Item = &Job> {
        let kept = self.kept.values().filter_map(|kept| kept.finished.as_ref());
        kept.chain(&self.all).filter(|job| job.status.eq_ignore_ascii_case("Failed") && job.errors.is_empty())
    }

    /// What was kept; a job that is kept for two reasons comes twice.
    pub fn into_jobs(self) -> Vec<Job> {
        let kept =
            self.kept.into_values().flat_map(|kept| kept.running.into_iter().chain(kept.finished).chain(kept.good));
        self.all.into_iter().chain(kept).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::estate::collect::newest_finished_backup;

    fn job(name: &str, status: &str, start: &str, end: Option<&str>) -> Job {
        let vault = "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/g/providers/Microsoft.RecoveryServices/vaults/v";
        let time = |hour: &str| format!("2026-11-20T{hour}:00:00Z").parse().unwrap();
        Job {
            id: ResourceId::parse(&format!("{vault}/backupJobs/{name}")).unwrap(),
            operation: "Backup".into(),
            status: status.into(),
            start: Some(time(start)),
            end: end.map(time),
            vm_name: "Web-01".into(),
            container: "iaasvmcontainerv2;g;web-01".into(),
            user_triggered: None,
            errors: Vec::new(),
            dynamic_error: String::new(),
            tasks: Vec::new(),
        }
    }

    #[test]
    fn of_each_vm_what_counts_is_kept() {
        let jobs = vec![
            job("a", "Completed", "01", Some("02")),
            job("b", "Completed", "03", Some("04")),
            job("c", "Failed", "05", Some("06")),
            job("d", "Failed", "07", Some("08")),
            job("e", "InProgress", "09", None),
            Job { operation: "ConfigureBackup".into(), ..job("f", "Completed", "10", Some("11")) },
            Job { operation: "Restore".into(), ..job("g", "InProgress", "10", None) },
        ];
        for turned in [false, true] {
            let mut given = jobs.clone();
            if turned {
                given.reverse();
            }
            let mut fold = Fold::new(Jobs::Newest);
            fold.extend(given);
            assert_eq!(fold.finished().map(|(_, good)| good).collect::<Vec<_>>(), [jobs[1].end]);
            assert_eq!(fold.silent().map(|job| job.id.name()).collect::<Vec<_>>(), ["d"]);
            let mut kept = fold.into_jobs();
            kept.sort_by(|a, b| a.id.cmp(&b.id));
            assert_eq!(kept.iter().map(|job| job.id.name()).collect::<Vec<_>>(), ["b", "d", "e", "g"]);
            assert_eq!(newest_finished_backup(&kept), newest_finished_backup(&jobs));
        }
        let mut fold = Fold::new(Jobs::Every);
        fold.extend(jobs.clone());
        assert_eq!(fold.into_jobs(), jobs);
    }
}
