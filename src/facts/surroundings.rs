//! What surrounds a VM: its disks, the load it was under when its backup failed, the rules of its network.
//!
//! Duty: the reads that only a checklist needs, side by side. Invariants as in [`super::read`]: a part that cannot be
//! read says why and spoils no other (S12). Must never: send anything but reads, or say what they mean.

use std::time::Duration;

use jiff::Timestamp;

use super::collect::last_failure;
use super::read::{Reader, single, why};
use super::vm_facts::{Part, VmFacts};
use crate::arm::Arm;
use crate::arm::id::ResourceId;
use crate::arm::model::{AttachedDisk, Disk, Job, Metric, RuleSet};
use crate::clock::{earlier, later};

/// The share of the processors that is busy, in percent.
pub const CPU: &str = "Percentage CPU";
/// The share of the memory that is free, in percent. Not every VM has it.
pub const MEMORY: &str = "Available Memory Percentage";

/// Calls that are out at once.
const CONCURRENCY: usize = 8;
/// How much before and after a failed backup is looked at.
const MARGIN: Duration = Duration::from_secs(15 * 60);
/// Of a backup that ran long only its beginning is looked at: the snapshot is taken there.
const LONGEST: Duration = Duration::from_secs(2 * 3600);

/// One disk: as the VM names it, and itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskFacts {
    /// What the VM's storage profile says.
    pub attached: AttachedDisk,
    /// The disk; absent for a disk that is not managed.
    pub disk: Part<Disk>,
}

/// The load of a while.
#[derive(Debug, Clone, PartialEq)]
pub struct Load {
    /// From here.
    pub from: Timestamp,
    /// To here.
    pub until: Timestamp,
    /// What was measured.
    pub metrics: Vec<Metric>,
}

/// The rules of one network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterfaceRules {
    /// The interface.
    pub interface: ResourceId,
    /// Its effective rules.
    pub rules: Part<Vec<RuleSet>>,
}

/// All of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Around {
    /// Every disk of the VM; empty when the VM itself was not read.
    pub disks: Vec<DiskFacts>,
    /// The load around the newest failed backup; absent when none failed.
    pub load: Part<Load>,
    /// The rules of every network interface; `None` when it was not asked for.
    pub network: Option<Vec<InterfaceRules>>,
}

/// Reads it. `network` asks for the effective rules, which takes Azure some seconds and a permission of its own.
pub async fn around(arm: &Arm, facts: &VmFacts, network: bool) -> Around {
    let reader = Reader::new(arm, CONCURRENCY);
    let (disks, load, network) = futures::join!(disks(&reader, facts), load(&reader, facts), async {
        if network { Some(interfaces(&reader, facts).await) } else { None }
    });
    Around { disks, load, network }
}

async fn disks(reader: &Reader<'_>, facts: &VmFacts) -> Vec<DiskFacts> {
    let attached = facts.vm.known().map(|vm| vm.disks.clone()).unwrap_or_default();
    let calls = attached.into_iter().map(|attached| async {
        let at = reader.now();
        let disk = match &attached.id {
            Some(id) => single(at, reader.arm.disk(id).await),
            None => Part::Absent { at },
        };
        DiskFacts { attached, disk }
    });
    reader.side_by_side(calls.collect()).await
}

/// The newest finished backup, when it failed.
#[must_use]
pub fn failed_backup(facts: &VmFacts) -> Option<&Job> {
    last_failure(facts).filter(|job| job.status.eq_ignore_ascii_case("Failed"))
}

async fn load(reader: &Reader<'_>, facts: &VmFacts) -> Part<Load> {
    let at = reader.now();
    let Some(start) = failed_backup(facts).and_then(|job| job.start) else { return Part::Absent { at } };
    if facts.vm.known().is_none() {
        return Part::Unread { why: "the VM was not read".to_owned() };
    }
    let end = failed_backup(facts).and_then(|job| job.end).unwrap_or(start);
    let from = earlier(start, MARGIN);
    let until = later(end, MARGIN).min(later(start, LONGEST)).min(at).max(later(from, Duration::from_secs(300)));
    // A metric that the VM does not have is an error of the whole call (not verified for this one): then the processor alone.
    let both = reader.arm.metrics(&facts.id, &[CPU, MEMORY], from, until).await;
    let metrics = match both {
        Err(error) if error.status() == Some(400) => reader.arm.metrics(&facts.id, &[CPU], from, until).await,
        both => both,
    };
    match metrics {
        Ok(metrics) => Part::Known { at, value: Load { from, until, metrics } },
        Err(error) => Part::Unread { why: why(&error) },
    }
}

async fn interfaces(reader: &Reader<'_>, facts: &VmFacts) -> Vec<InterfaceRules> {
    let Some(vm) = facts.vm.known() else { return Vec::new() };
    let running = facts.instance.known().is_some_and(|view| view.power.eq_ignore_ascii_case("running"));
    let calls = vm.interfaces.iter().cloned().map(|interface| async move {
        let at = reader.now();
        let rules = if running {
            single(at, reader.arm.effective_rules(&interface).await)
        } else {
            Part::Unread { why: "Azure reports effective rules only while the VM runs".to_owned() }
        };
        InterfaceRules { interface, rules }
    });
    reader.side_by_side(calls.collect()).await
}
