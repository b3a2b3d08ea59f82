//! From an estate's text to a world, second part: protected items, recovery points and jobs.

use std::time::Duration;

use jiff::Timestamp;

use crate::estate::build::Builder;
use crate::estate::{Finished, GroupSpec, JobSpec, Phase, SeriesSpec, Tier};
use crate::job_life;
use crate::job_life::error_of;
use crate::world::events::Effect;
use crate::world::{Item, Job, JobStatus, Protection, RecoveryPoint, Task, TaskStatus, digits_from, guid_from};
use azmend_arm::id::ResourceId;
use azmend_base::clock::{earlier, later};
use azmend_base::duration::Span;
use azmend_base::spelling::did_you_mean;
use azmend_base::yaml::Spanned;

impl Builder {
    pub(crate) fn items(&mut self, group: &ResourceId, spec: &GroupSpec) {
        for vm in &spec.vms {
            let Some(protection) = &vm.protection else { continue };
            let Ok(vm_id) = group.resource("Microsoft.Compute", "virtualMachines", &vm.name.value) else { continue };
            let Some(vault) = self.find_vault(&protection.vault) else { continue };
            self.item(
                &vault,
                &vm_id,
                protection.policy.as_ref(),
                protection.state,
                &protection.points.0,
                &protection.jobs,
            );
        }
        for vault in &spec.vaults {
            let Ok(vault_id) = group.resource("Microsoft.RecoveryServices", "vaults", &vault.name.value) else {
                continue;
            };
            for item in &vault.items {
                let Some(vm_id) = self.gone_vm(group, &item.of) else { continue };
                self.item(&vault_id, &vm_id, item.policy.as_ref(), item.state, &item.points.0, &item.jobs);
                self.exact_item(&vault_id, &vm_id, item);
            }
        }
    }

    pub(crate) fn find_vault(&mut self, name: &Spanned<String>) -> Option<ResourceId> {
        let wanted = &name.value;
        let found = self
            .world
            .vaults
            .iter()
            .find(|v| v.id.name().eq_ignore_ascii_case(wanted) || v.id.short_name().eq_ignore_ascii_case(wanted));
        if let Some(vault) = found {
            return Some(vault.id.clone());
        }
        let hint = did_you_mean(wanted, self.world.vaults.iter().map(|v| v.id.name()));
        self.error(name, format!("there is no vault {wanted:?} in this estate"), hint);
        None
    }

    pub(crate) fn item(
        &mut self,
        vault: &ResourceId,
        vm: &ResourceId,
        policy: Option<&Spanned<String>>,
        state: Option<Protection>,
        points: &[SeriesSpec],
        jobs: &[JobSpec],
    ) {
        let policy = policy.and_then(|name| {
            let found = vault.child("backupPolicies", &name.value).ok().filter(|id| self.world.policy(id).is_some());
            if found.is_none() {
                let hint = did_you_mean(
                    &name.value,
                    self.world.policies.iter().filter(|p| vault.covers(&p.id)).map(|p| p.id.name()),
                );
                self.error(name, format!("there is no policy {:?} in vault {}", name.value, vault.name()), hint);
            }
            found
        });
        // Azure Backup's names: lower-cased group and VM behind the container type
        let short = format!(
            "iaasvmcontainerv2;{};{}",
            vm.resource_group().unwrap_or_default().to_lowercase(),
            vm.name().to_lowercase()
        );
        let id = vault
            .child("backupFabrics", "Azure")
            .and_then(|id| id.child("protectionContainers", &format!("IaasVMContainer;{short}")))
            .and_then(|id| id.child("protectedItems", &format!("VM;{short}")));
        let Ok(id) = id else { return };
        self.world.items.push(Item {
            id: id.clone(),
            vm: vm.clone(),
            policy,
            protection: state.unwrap_or(Protection::Protected),
            last_backup_status: String::new(),
            last_backup_time: None,
            reported: None,
            without_source: false,
            recovery_points: Vec::new(),
        });
        for series in points {
            for at in self.times(series) {
                self.recovery_point(&id, at, Tier::Vault, series.file_recovery);
            }
        }
        let mut jobs: Vec<&JobSpec> = jobs.iter().collect();
        jobs.sort_by_key(|j| std::cmp::Reverse(j.age));
        for (index, job) in jobs.into_iter().enumerate() {
            self.job(&id, job, index);
        }
    }

    pub(crate) fn times(&self, series: &SeriesSpec) -> Vec<Timestamp> {
        let newest = earlier(self.world.now, series.newest.to_std());
        (0..series.count.min(600))
            .rev()
            .map(|i| earlier(newest, Duration::from_secs(series.every.as_secs().saturating_mul(u64::from(i)))))
            .collect()
    }

    pub(crate) fn recovery_point(&mut self, item: &ResourceId, at: Timestamp, tier: Tier, file_recovery: bool) {
        let tiers: &[(&str, &str)] = match tier {
            Tier::Both => &[("InstantRP", "Valid"), ("HardenedRP", "Valid")],
            Tier::Snapshot => &[("InstantRP", "Valid")],
            Tier::Vault => &[("InstantRP", "Deleted"), ("HardenedRP", "Valid")],
            Tier::None => return,
        };
        let name = digits_from(&format!("{}@{at}", item.key())).to_string();
        let Some(item) = self.world.item_mut(item) else { return };
        item.recovery_points.push(RecoveryPoint {
            name,
            time: at,
            tiers: tiers.iter().map(|(kind, status)| ((*kind).to_owned(), (*status).to_owned())).collect(),
            consistency: "AppConsistent".into(),
            ilr_session: file_recovery,
        });
        item.recovery_points.sort_by_key(|r| r.time);
    }

    pub(crate) fn job(&mut self, item: &ResourceId, spec: &JobSpec, index: usize) {
        let now = self.world.now;
        let started = earlier(now, spec.age.to_std());
        let status = match spec.status {
            Finished::Completed => JobStatus::Completed,
            Finished::CompletedWithWarnings => JobStatus::CompletedWithWarnings,
            Finished::Failed => JobStatus::Failed,
            Finished::Cancelled => JobStatus::Cancelled,
            Finished::InProgress => JobStatus::InProgress,
        };
        let name = guid_from(&format!("job/{}/{index}/{started}", item.key()));
        let (first, second, snapshotting) = match (status, spec.phase) {
            (JobStatus::Completed, _) => (TaskStatus::Completed, TaskStatus::Completed, false),
            (JobStatus::CompletedWithWarnings, _) => (TaskStatus::Completed, TaskStatus::Failed, false),
            (JobStatus::InProgress, Phase::Snapshot) => (TaskStatus::InProgress, TaskStatus::NotStarted, true),
            (JobStatus::InProgress, Phase::Transfer) => (TaskStatus::Completed, TaskStatus::InProgress, false),
            (JobStatus::Cancelled, _) => (TaskStatus::Cancelled, TaskStatus::Cancelled, false),
            _ => (TaskStatus::Failed, TaskStatus::NotStarted, false),
        };
        let usual = match status {
            JobStatus::Failed | JobStatus::Cancelled => 180,
            _ => 9000,
        };
        let ended = (status != JobStatus::InProgress)
            .then(|| later(started, spec.took.map_or(Duration::from_secs(usual), Span::to_std)).min(now));
        let tasks = if spec.operation == "Backup" {
            vec![
                Task {
                    name: "Take Snapshot".into(),
                    status: first,
                    started: Some(started),
                    ended: if snapshotting { None } else { ended.or(Some(started)) },
                },
                Task {
                    name: "Transfer data to vault".into(),
                    status: second,
                    started: (second != TaskStatus::NotStarted).then_some(started),
                    ended: if second == TaskStatus::Completed { ended } else { None },
                },
            ]
        } else {
            vec![Task { name: "Restore disks".into(), status: first, started: Some(started), ended }]
        };
        let error =
            (status == JobStatus::Failed).then(|| error_of(spec.error.as_deref().unwrap_or("BackUpOperationFailed")));
        let error = error.map(|mut error| {
            if let Some(message) = &spec.message {
                error.text.clone_from(message);
            }
            error
        });
        if status == JobStatus::InProgress && spec.operation == "Backup" {
            let effect =
                if snapshotting { Effect::SnapshotEnds(name.clone()) } else { Effect::TransferEnds(name.clone()) };
            let left = spec.ends_in.map_or(if snapshotting { 60 } else { 3600 }, Span::as_secs);
            self.world.schedule_in(left, effect);
        }
        self.world.jobs.push(Job {
            name,
            item: item.clone(),
            operation: spec.operation.clone(),
            status,
            started,
            ended,
            user_triggered: spec.user,
            tasks,
            error,
            more_errors: Vec::new(),
            dynamic_error: String::new(),
            expiry: (spec.user == Some(true)).then(|| job_life::expires(None, started)),
            collection: None,
            recovery_point: None,
            skip_transfer: false,
            shown: spec.shown.clone(),
        });
        if let (Some(ended), Some(item)) = (ended, self.world.item_mut(item))
            && spec.operation == "Backup"
        {
            item.last_backup_status = if status == JobStatus::Failed { "Failed" } else { "Completed" }.into();
            item.last_backup_time = Some(ended);
        }
    }
}
