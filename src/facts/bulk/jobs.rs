//! Jobs as they arrive: of each VM only those that a view or a check looks at.
//!
//! Kept of each VM and vault: every running job, the newest finished backup (its error counts), the newest backup that
//! went well, and the newest few that ended with warnings, with the newest that did not: a row of warnings is a finding. Fourteen days of daily backups are fourteen rows of a VM, and twelve of them say nothing.

use std::collections::HashMap;

use jiff::Timestamp;

use crate::arm::id::ResourceId;
use crate::arm::model::Job;
use crate::facts::collect::WARNED;

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
    /// When protection began: a backup cannot have been due before.
    configured: Option<Job>,
    /// The newest that ended otherwise than with warnings.
    clear: Option<Job>,
    /// The newest that ended with warnings, the newest first.
    warned: Vec<Job>,
}

impl Kept {
    fn ended(&mut self, job: Job) {
        if job.succeeded() && self.good.as_ref().is_none_or(|good| (job.end, &job.id) > (good.end, &good.id)) {
            self.good = Some(job.clone());
        }
        if job.warned() {
            // The same row may come twice.
            if self.warned.iter().all(|known| known.id != job.id) {
                let place = self.warned.partition_point(|known| later_than(known, &job));
                self.warned.insert(place, job.clone());
                self.warned.truncate(WARNED);
            }
        } else if self.clear.as_ref().is_none_or(|clear| later_than(&job, clear)) {
            self.clear = Some(job.clone());
        }
        if self.finished.as_ref().is_none_or(|finished| later_than(&job, finished)) {
            self.finished = Some(job);
        }
    }

    /// When the newest ended that went well. Of a row of warnings every other job counts too, as far back as the row goes: then
    /// it is when the oldest of the row ended, or the one before it.
    fn settled(&self) -> Option<Timestamp> {
        let row = self.warned.iter().take_while(|one| self.clear.as_ref().is_none_or(|clear| later_than(one, clear)));
        match self.warned.get(WARNED - 1).filter(|_| row.count() == WARNED) {
            Some(oldest) => oldest.end,
            None => self.good.as_ref().and_then(|good| good.end),
        }
    }
}

/// Jobs that are kept.
#[derive(Debug)]
pub(super) struct Fold {
    every: bool,
    all: Vec<Job>,
    kept: HashMap<Whose, Kept>,
}

/// The order of [`crate::facts::collect::newest_finished_backup`]; the id decides among equals.
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
            let configured = job.operation.eq_ignore_ascii_case("ConfigureBackup");
            if !backup && !configured && !job.running() {
                continue;
            }
            let Some(vault) = job.id.up_to("vaults") else { continue };
            let whose = Whose { vault, name: job.vm_name.to_lowercase(), container: job.container.to_lowercase() };
            let kept = self.kept.entry(whose).or_default();
            if job.running() {
                kept.running.push(job);
                continue;
            }
            if !configured {
                kept.ended(job);
            } else if kept.configured.as_ref().is_none_or(|known| later_than(&job, known)) {
                kept.configured = Some(job);
            }
        }
    }

    /// Whose newest finished backup is known, and since when all that matters of it is.
    pub fn finished(&self) -> impl Iterator<Item = (&Whose, Option<Timestamp>)> {
        let finished = self.kept.iter().filter(|(_, kept)| kept.finished.is_some());
        finished.map(|(whose, kept)| (whose, kept.settled()))
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
        let of = |kept: Kept| {
            let ended =
                kept.finished.into_iter().chain(kept.good).chain(kept.clear).chain(kept.warned).chain(kept.configured);
            kept.running.into_iter().chain(ended)
        };
        let kept = self.kept.into_values().flat_map(of);
        self.all.into_iter().chain(kept).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::collect::newest_finished_backup;

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
            kept.dedup();
            assert_eq!(kept.iter().map(|job| job.id.name()).collect::<Vec<_>>(), ["b", "d", "e", "f", "g"]);
            assert_eq!(newest_finished_backup(&kept), newest_finished_backup(&jobs));
        }
        let row = |names: [&str; 5]| {
            let mut fold = Fold::new(Jobs::Newest);
            let jobs = names.iter().enumerate().map(|(at, status)| {
                let (start, end) = (format!("{:02}", 10 - 2 * at), format!("{:02}", 11 - 2 * at));
                job(&format!("j{at}"), status, &start, Some(&end))
            });
            fold.extend(jobs.clone().chain(jobs));
            let settled = fold.finished().find_map(|(_, settled)| settled).unwrap().to_string();
            let mut kept: Vec<String> = fold.into_jobs().iter().map(|job| job.id.name().to_owned()).collect();
            kept.sort();
            kept.dedup();
            (kept.join(" "), settled.get(11..13).unwrap().to_owned())
        };
        const W: &str = "CompletedWithWarnings";
        assert_eq!(row([W, W, W, W, "Completed"]), ("j0 j1 j2 j4".into(), "07".into()), "the row is known to here");
        assert_eq!(row([W, W, "Completed", W, W]), ("j0 j1 j2 j3".into(), "11".into()));
        assert_eq!(row(["Failed", W, W, W, W]), ("j0 j1 j2 j3".into(), "09".into()));
        let mut fold = Fold::new(Jobs::Every);
        fold.extend(jobs.clone());
        assert_eq!(fold.into_jobs(), jobs);
    }
}
