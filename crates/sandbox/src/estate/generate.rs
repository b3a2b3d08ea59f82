//! Large estates by a seed, for benches and tests: a YAML file of 100,000 VMs would take longer to read than the audit.
//!
//! Duty: a [`World`] of many VMs over many subscriptions, most of them well, some with the problems that azmend knows:
//! failed backups, locked backup groups, failed extensions, two collections, VMs that nothing protects, collections and
//! items whose VM is gone. Invariants: the same numbers give the same world, ids included; every id is unique; nothing
//! happens by itself in it (no timeline, no faults). Proportions are chosen, not measured in anybody's estate.

use std::time::Duration;

use jiff::Timestamp;

use crate::job_life::error_of;
use crate::world::{
    Agent, Collection, Extension, Group, Handler, HandlerState, Item, Job, JobError, JobStatus, Lock, LockLevel,
    Policy, Power, Protection, RecoveryPoint, Subscription, Vault, Vm, World, digits_from, guid_from, new_point,
};
use azmend_arm::id::{IdError, ResourceId};
use azmend_base::clock::{earlier, later};

/// VMs of one subscription and region that share a vault: below Azure's limit of 1000 protected VMs of a vault.
const PER_VAULT: usize = 900;
/// VMs in one resource group of their own.
const PER_GROUP: usize = 200;
/// Collections in one backup resource group: Azure Backup begins another one after 600.
const PER_BACKUP_GROUP: usize = 600;
const REGIONS: [&str; 3] = ["westeurope", "northeurope", "germanywestcentral"];
const DAY: u64 = 86_400;

/// How large, and which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Generate {
    /// Virtual machines.
    pub vms: usize,
    /// Subscriptions that they are spread over; at least 1.
    pub subscriptions: usize,
    /// Another seed is another estate of the same size.
    pub seed: u64,
    /// Of a thousand protected VMs, how many have a problem.
    pub troubled_per_mille: u64,
    /// The time in the world.
    pub now: Timestamp,
}

impl Default for Generate {
    fn default() -> Self {
        Self {
            vms: 1000,
            subscriptions: 1,
            seed: 1,
            troubled_per_mille: 25,
            now: Timestamp::from_second(1_795_165_200).unwrap_or(Timestamp::UNIX_EPOCH),
        }
    }
}

/// splitmix64.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }

    fn hits(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }
}

/// What a VM has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    None,
    /// The last backup failed with this error.
    Error(&'static str),
    /// A backup failed some days ago, and those since went well.
    Transient,
    /// VMSnapshot failed in the guest, and backups with it.
    Snapshot,
    /// Another extension failed.
    Extension,
    /// Its provisioning failed.
    Provisioning,
    /// A collection in an older group is left.
    Superseded,
    /// The agent is silent.
    Agent,
    /// A job runs for days.
    Stuck,
    /// Protection was stopped, or the item is in the soft-deleted state.
    Stopped(Protection),
}

const TROUBLES: [Trouble; 12] = [
    Trouble::Error("UserErrorRpCollectionLimitReached"),
    Trouble::Error("UserErrorGuestAgentStatusUnavailable"),
    Trouble::Error("BackUpOperationFailed"),
    Trouble::Transient,
    Trouble::Transient,
    Trouble::Snapshot,
    Trouble::Extension,
    Trouble::Provisioning,
    Trouble::Superseded,
    Trouble::Agent,
    Trouble::Stuck,
    Trouble::Stopped(Protection::Stopped),
];

struct Builder {
    world: World,
    dice: Dice,
    troubled: u64,
    number: u64,
}

impl World {
    /// A large estate.
    ///
    /// # Errors
    /// Never with the names made here; an id that is not one is said all the same.
    pub fn generated(wanted: &Generate) -> Result<Self, IdError> {
        let mut world = Self::empty(wanted.now);
        world.name = format!("{} VMs in {} subscriptions", wanted.vms, wanted.subscriptions.max(1));
        world.estate_digest = crate::world::hash_text(&format!("{wanted:?}"));
        world.tenant = guid_from("generated tenant");
        let dice = Dice(wanted.seed);
        let mut builder = Builder { world, dice, troubled: wanted.troubled_per_mille, number: 0 };
        let subscriptions = wanted.subscriptions.max(1);
        for number in 0..subscriptions {
            let (from, to) = (wanted.vms * number / subscriptions, wanted.vms * (number + 1) / subscriptions);
            builder.subscription(wanted.seed, number, to - from)?;
        }
        Ok(builder.world)
    }
}

impl Builder {
    fn subscription(&mut self, seed: u64, number: usize, vms: usize) -> Result<(), IdError> {
        let id = guid_from(&format!("subscription {seed}/{number}"));
        self.world.subscriptions.push(Subscription { id: id.clone(), name: format!("Sub {number:04}"), listed: true });
        if self.dice.hits(5) {
            let scope = ResourceId::subscription_scope(&id)?;
            self.lock(&scope, "keep-all", LockLevel::CanNotDelete)?;
        }
        let blocks = vms.div_ceil(PER_VAULT);
        for block in 0..blocks {
            let region = REGIONS[(number + block) % REGIONS.len()];
            let count = PER_VAULT.min(vms - block * PER_VAULT);
            self.block(&id, block, region, count)?;
        }
        Ok(())
    }

    fn group(&mut self, subscription: &str, name: &str, region: &str) -> Result<ResourceId, IdError> {
        let id = ResourceId::group(subscription, name)?;
        self.world.groups.push(Group { id: id.clone(), location: region.to_owned(), managed_by: None });
        Ok(id)
    }

    fn lock(&mut self, scope: &ResourceId, name: &str, level: LockLevel) -> Result<(), IdError> {
        let id = scope.resource("Microsoft.Authorization", "locks", name)?;
        self.world.locks.push(Lock { id, level, notes: Some("by the platform team".into()), owners: Vec::new() });
        Ok(())
    }

    /// VMs of one region with their vault and backup groups.
    fn block(&mut self, subscription: &str, block: usize, region: &str, vms: usize) -> Result<(), IdError> {
        let home = self.group(subscription, &format!("rg-backup-{block}"), region)?;
        let vault = home.resource("Microsoft.RecoveryServices", "vaults", &format!("vault-{region}-{block}"))?;
        self.world.vaults.push(Vault {
            id: vault.clone(),
            location: region.to_owned(),
            immutability: "Disabled".into(),
            soft_delete: "Enabled".into(),
            resource_guard: false,
        });
        let mut policies = Vec::new();
        for (name, enhanced) in [("daily", false), ("enhanced", true)] {
            let id = vault.child("backupPolicies", name)?;
            self.world.policies.push(Policy {
                id: id.clone(),
                enhanced,
                snapshot_days: if enhanced { 7 } else { 2 },
                vault_days: 30,
                every_hours: 0,
                time_of_day: 22 * 3600,
                prefix: None,
                suffix: None,
                limit: None,
                schedule: None,
            });
            policies.push(id);
        }
        let mut group = home.clone();
        let mut backups = home;
        for place in 0..vms {
            if place % PER_GROUP == 0 {
                group = self.group(subscription, &format!("rg-{block}-{:03}", place / PER_GROUP), region)?;
            }
            if place % PER_BACKUP_GROUP == 0 {
                // The number counts the backup groups of a region in its subscription.
                let name = format!("AzureBackupRG_{region}_{}", block * 2 + place / PER_BACKUP_GROUP + 1);
                backups = self.group(subscription, &name, region)?;
                if self.dice.hits(20) {
                    let level = if self.dice.hits(200) { LockLevel::ReadOnly } else { LockLevel::CanNotDelete };
                    self.lock(&backups.clone(), "do-not-delete", level)?;
                }
            }
            let policy = policies[usize::from(self.dice.hits(300))].clone();
            self.vm(&group, &backups, &vault, &policy, region)?;
        }
        Ok(())
    }

    fn vm(
        &mut self,
        group: &ResourceId,
        backups: &ResourceId,
        vault: &ResourceId,
        policy: &ResourceId,
        region: &str,
    ) -> Result<(), IdError> {
        self.number += 1;
        let id = group.resource("Microsoft.Compute", "virtualMachines", &format!("vm-{:06}", self.number))?;
        let vm_id = guid_from(id.key());
        let protected = !self.dice.hits(80);
        let trouble = match protected && self.dice.hits(self.troubled) {
            true => TROUBLES[usize::try_from(self.dice.below(TROUBLES.len() as u64)).unwrap_or(0)],
            false => Trouble::None,
        };
        // Some are gone: their collection, and at times their item, are left.
        let gone = protected && trouble == Trouble::None && self.dice.hits(2);
        if !gone {
            let machine = self.machine(&id, &vm_id, region, trouble);
            self.world.vms.push(machine);
        }
        if !protected {
            return Ok(());
        }
        let points = match trouble {
            Trouble::Error("UserErrorRpCollectionLimitReached") => 18,
            Trouble::Error(_) => 5,
            _ => 3,
        };
        self.collection(&id, &vm_id, backups, region, points, 0)?;
        if trouble == Trouble::Superseded {
            self.collection(&id, &vm_id, group, region, 4, 60)?;
        }
        if !gone || self.dice.hits(300) {
            self.item(&id, vault, policy, trouble)?;
        }
        Ok(())
    }

    fn machine(&mut self, id: &ResourceId, vm_id: &str, region: &str, trouble: Trouble) -> Vm {
        let windows = self.dice.hits(500);
        let failed = trouble == Trouble::Snapshot;
        let extension = |name: &str, ok: bool| Extension {
            name: name.to_owned(),
            publisher: "Microsoft.Azure.Monitor".into(),
            kind: name.to_owned(),
            version: "1.0.0.0".into(),
            ok,
        };
        let role = ["web", "sql", "app"][usize::try_from(self.dice.below(3)).unwrap_or(0)];
        Vm {
            id: id.clone(),
            vm_id: vm_id.to_owned(),
            location: region.to_owned(),
            size: None,
            windows,
            power: if self.dice.hits(50) { Power::Deallocated } else { Power::Running },
            agent: if trouble == Trouble::Agent { Agent::NotReady } else { Agent::Ready },
            provisioned: trouble != Trouble::Provisioning,
            managed_disks: true,
            vmsnapshot: Some(Handler {
                version: "1.0.120.0".into(),
                state: if failed { HandlerState::Failed } else { HandlerState::Ready },
                code: None,
                message: if failed { "the snapshot failed".into() } else { String::new() },
            }),
            broken: false,
            extensions: vec![
                extension("AzureMonitorAgent", trouble != Trouble::Extension),
                extension("DependencyAgent", true),
            ],
            encryption: None,
            tags: [("role".to_owned(), role.to_owned())].into(),
            hidden_from_vaults: false,
            os_disk: crate::world::DiskSpec::default(),
            data_disks: Vec::new(),
            load: crate::world::Load::default(),
            outbound: Vec::new(),
            guest: crate::world::Guest::default(),
        }
    }

    fn collection(
        &mut self,
        vm: &ResourceId,
        vm_id: &str,
        group: &ResourceId,
        region: &str,
        points: u64,
        age: u64,
    ) -> Result<(), IdError> {
        let digits = digits_from(&format!("{}{}", group.key(), vm.key()));
        let name = format!("AzureBackup_{}_{digits}", vm.name());
        let id = group.resource("Microsoft.Compute", "restorePointCollections", &name)?;
        let at = |days: u64| later(earlier(self.world.now, Duration::from_secs((age + days) * DAY + 36_000)), GAP);
        self.world.collections.push(Collection {
            collection_id: guid_from(id.key()),
            id,
            location: region.to_owned(),
            source: vm.clone(),
            deleting: false,
            deletes_needed: 1,
            delete_hangs: false,
            deletes_per_call: None,
            disk_gb: None,
            points: (0..points).rev().map(|day| new_point(at(day), vm_id.to_owned())).collect(),
        });
        Ok(())
    }

    fn item(
        &mut self,
        vm: &ResourceId,
        vault: &ResourceId,
        policy: &ResourceId,
        trouble: Trouble,
    ) -> Result<(), IdError> {
        let now = self.world.now;
        let group = vm.resource_group().unwrap_or_default().to_lowercase();
        let short = format!("iaasvmcontainerv2;{group};{}", vm.name().to_lowercase());
        let id = vault
            .child("backupFabrics", "Azure")?
            .child("protectionContainers", &format!("IaasVMContainer;{short}"))?
            .child("protectedItems", &format!("VM;{short}"))?;
        let protection = match trouble {
            Trouble::Stopped(state) => state,
            Trouble::Error("BackUpOperationFailed") => Protection::Error,
            _ => Protection::Protected,
        };
        let failing: Option<JobError> = match trouble {
            Trouble::Error(title) => Some(error_of(title)),
            Trouble::Snapshot => Some(error_of("ExtensionOperationFailed")),
            _ => None,
        };
        let days_failing = if failing.is_some() { 1 + self.dice.below(5) } else { 0 };
        // The newest backup is ten hours old.
        let began = |day: u64| earlier(now, Duration::from_secs(day * DAY + 36_000));
        for day in (0..14).rev() {
            let error = match trouble {
                Trouble::Transient if day == 3 => Some(error_of("UserErrorGuestAgentStatusUnavailable")),
                Trouble::Stuck if day == 1 => None,
                _ if day < days_failing => failing.clone(),
                _ => None,
            };
            let stuck = trouble == Trouble::Stuck && day == 1;
            if trouble == Trouble::Stuck && day == 0 || matches!(trouble, Trouble::Stopped(_)) && day < 7 {
                continue;
            }
            let status = match (&error, stuck) {
                (_, true) => JobStatus::InProgress,
                (Some(_), _) => JobStatus::Failed,
                _ => JobStatus::Completed,
            };
            self.world.jobs.push(Job {
                name: guid_from(&format!("{}{day}", id.key())),
                item: id.clone(),
                operation: "Backup".into(),
                status,
                started: began(day),
                ended: (!stuck).then(|| later(began(day), Duration::from_secs(9000))),
                user_triggered: Some(false),
                tasks: Vec::new(),
                error,
                more_errors: Vec::new(),
                dynamic_error: String::new(),
                expiry: None,
                collection: None,
                recovery_point: None,
                skip_transfer: false,
                shown: None,
            });
        }
        let good = days_failing..days_failing + 4;
        let tiers: Vec<(String, String)> =
            ["InstantRP", "HardenedRP"].map(|tier| (tier.to_owned(), "Valid".to_owned())).into();
        let point = |day: u64| RecoveryPoint {
            name: digits_from(&format!("{}{day}", id.key())).to_string(),
            time: later(began(day), Duration::from_secs(60)),
            tiers: tiers.clone(),
            consistency: "AppConsistent".into(),
            ilr_session: false,
        };
        self.world.items.push(Item {
            vm: vm.clone(),
            policy: (protection != Protection::Stopped).then(|| policy.clone()),
            protection,
            last_backup_status: if failing.is_some() { "Failed" } else { "Completed" }.into(),
            last_backup_time: Some(began(0)),
            reported: None,
            without_source: false,
            recovery_points: good.rev().map(point).collect(),
            id,
        });
        Ok(())
    }
}

/// A snapshot is made a little after its job began.
const GAP: Duration = Duration::from_secs(63);

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_same_seed_is_the_same_estate_with_unique_ids() {
        let wanted = Generate { vms: 2000, subscriptions: 7, ..Generate::default() };
        let world = World::generated(&wanted).unwrap();
        assert_eq!(world, World::generated(&wanted).unwrap());
        assert_ne!(world, World::generated(&Generate { seed: 2, ..wanted }).unwrap());
        let ids = world.vms.iter().map(|vm| &vm.id).chain(world.groups.iter().map(|group| &group.id));
        let ids = ids.chain(world.collections.iter().map(|one| &one.id)).chain(world.items.iter().map(|item| &item.id));
        let ids: Vec<&ResourceId> = ids.collect();
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len());
        let jobs: HashSet<&str> = world.jobs.iter().map(|job| job.name.as_str()).collect();
        assert_eq!(jobs.len(), world.jobs.len());
        assert!(world.vms.len() > 1980 && world.jobs.len() > 20_000, "{} {}", world.vms.len(), world.jobs.len());
        assert!(world.items.len() < world.collections.len() && world.items.len() > 1700);
    }
}
