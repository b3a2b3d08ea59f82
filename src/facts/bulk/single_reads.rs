//! Single reads of ARM, for VMs that look suspicious and for collections whose VM is not listed.
//!
//! A VM is [`suspicious`] when its provisioning or an extension failed, when its last backup did not succeed or its item is
//! not well, when its newest backup is older than its policy schedules or there was never one, when a lock holds one of its
//! collections, or when it has more than one collection; and when somebody asks for it ([`super::Selection::also`],
//! `--thorough`). Of such a VM the instance
//! view and the points of its own collections are read; of its items, when they are not well or there are several
//! collections, the recovery points; with several collections also what its vault protects. Everything else is decided by
//! the bulk reading alone, so a VM that is none of these and yet near its limit is not seen: `--thorough` reads every VM.
//! Of a VM that no item names, `backupStatus` is asked ([`unclaimed`]); of an item without a backup the recovery points.

use crate::facts::unread::Unread;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::OnceCell;

use super::{Bulk, Index, Kind};
use crate::arm::ArmError;
use crate::arm::id::ResourceId;
use crate::arm::model::{
    BackupStatus, Collection, InstanceView, Job, ProtectedItem, RecoveryPoint, SizedCollection, Vault,
};
use crate::clock::elapsed;
use crate::facts::collect::{may_be_of, newest_finished_backup};
use crate::facts::graph::VmRow;
use crate::facts::groups::names_vm;
use crate::facts::items::says_nothing;
use crate::facts::objective::{Objective, ObjectiveState};
use crate::facts::read::{Reader, action, part, single, why};
use crate::facts::vm_facts::Part;

/// A backup of every day that began in time is not older.
const A_DAY_AND_MORE: Duration = Duration::from_secs(26 * 3600);

/// What was read one by one.
#[derive(Debug, Default)]
pub struct Deep {
    pub(super) instances: HashMap<String, Part<InstanceView>>,
    pub(super) collections: HashMap<String, Part<SizedCollection>>,
    pub(super) recovery_points: HashMap<String, Part<Vec<RecoveryPoint>>>,
    pub(super) vaults: HashMap<String, (Part<Vault>, Part<bool>)>,
    /// What `backupStatus` says of VMs that no item names.
    pub(super) statuses: HashMap<String, Part<BackupStatus>>,
    /// How many VMs were read by themselves.
    pub vms: usize,
    /// The VM that was read is gone by now.
    pub(super) gone: bool,
    /// What was not read.
    pub not_read: Vec<Unread>,
}

impl Deep {
    /// A collection with its points, if it was read.
    #[must_use]
    pub fn collection(&self, id: &ResourceId) -> Option<&SizedCollection> {
        self.collections.get(id.key())?.known()
    }

    /// The recovery points of an item, if they were read.
    #[must_use]
    pub fn recovery_points(&self, item: &ResourceId) -> Option<&Vec<RecoveryPoint>> {
        self.recovery_points.get(item.key())?.known()
    }
}

/// Whether the item says that its backup is not well.
#[must_use]
pub fn in_error(item: &ProtectedItem) -> bool {
    let health = !item.health.is_empty() && !["Passed", "Healthy"].iter().any(|w| item.health.eq_ignore_ascii_case(w));
    !item.soft_deleted
        && !item.stopped()
        && (health
            || item.protection_state.eq_ignore_ascii_case("ProtectionError")
            || item.last_backup_status.eq_ignore_ascii_case("Failed"))
}

/// The jobs of a VM in the vault of one of its items.
#[must_use]
pub fn jobs_of(bulk: &Bulk, index: &Index, vm: &ResourceId, item: &ProtectedItem) -> Vec<Job> {
    let Some(vault) = item.vault_id() else { return Vec::new() };
    let mut jobs: Vec<Job> =
        index.jobs(bulk, &vault, vm.name()).filter(|job| may_be_of(job, vm, item)).cloned().collect();
    jobs.sort_by(|a, b| b.start.cmp(&a.start).then_with(|| a.id.cmp(&b.id)));
    jobs
}

/// Whether the VM is worth reads of its own (see the module).
#[must_use]
pub fn suspicious(bulk: &Bulk, index: &Index, row: &VmRow) -> bool {
    let id = &row.vm.id;
    let failed = |state: &str| state.eq_ignore_ascii_case("Failed");
    let of_item = |item: &ProtectedItem| {
        let last = || newest_finished_backup(&jobs_of(bulk, index, id, item)).is_some_and(|job| !job.succeeded());
        in_error(item) || last() || overdue(bulk, index, item)
    };
    bulk.selection.thorough
        || bulk.selection.also.contains(id.key())
        || failed(&row.vm.provisioning_state)
        || index.extensions(bulk, id).any(|one| failed(&one.provisioning_state))
        || index.items(bulk, id).any(of_item)
        || index.collections(bulk, id).count() > 1
        || index.collections(bulk, id).any(|one| !index.locks_over(bulk, &one.id).is_empty())
}

/// Whether the item itself says that a backup is missing: then the agent and the restore points say why. A policy of every day
/// is told by the age alone; whoever is younger is looked at no further, for this is asked of every VM.
fn overdue(bulk: &Bulk, index: &Index, item: &ProtectedItem) -> bool {
    let newest = item.last_recovery_point.or(item.last_backup_time);
    let old = newest.is_some_and(|newest| elapsed(newest, bulk.at) > A_DAY_AND_MORE);
    if item.soft_deleted || item.stopped() || !old {
        return silent(item);
    }
    let policy = index.policy(bulk, &item.policy_id);
    matches!(Objective::of_item(item, policy, bulk.at).state, ObjectiveState::Late)
}

/// Whether no item of a vault that can be seen is of this VM. Then `backupStatus` is asked, which knows every vault: a VM is
/// called unprotected on its word alone.
#[must_use]
pub fn unclaimed(bulk: &Bulk, index: &Index, row: &VmRow) -> bool {
    index.items(bulk, &row.vm.id).next().is_none() && index.may_lack_item(bulk, &row.vm.location).is_none()
}

/// Whether an item that should be backed up names no backup: only its recovery points say how old the newest is.
#[must_use]
pub fn silent(item: &ProtectedItem) -> bool {
    !item.soft_deleted && !item.stopped() && item.last_backup_time.is_none() && item.last_recovery_point.is_none()
}

/// Whether something is read of this VM alone although it looks well.
#[must_use]
pub fn untold(bulk: &Bulk, index: &Index, row: &VmRow) -> bool {
    unclaimed(bulk, index, row) || index.items(bulk, &row.vm.id).any(silent)
}

/// Collections named as Backup names them whose VM is not among all VMs of its subscription and which no item names; none
/// where a list that could speak against it is not complete. With a tag or a vault nothing is said of VMs that are gone.
#[must_use]
pub fn without_vm<'a>(bulk: &'a Bulk, index: &'a Index) -> Vec<(&'a Collection, ResourceId)> {
    let blind = bulk.gaps.iter().any(|gap| matches!(gap.kind, Kind::Vaults | Kind::Items))
        || bulk.items.iter().any(says_nothing);
    if blind {
        return Vec::new();
    }
    let here = |vm: &ResourceId| bulk.looks_into(vm.subscription());
    let candidates = bulk.collections.iter().filter_map(|one| Some((one, one.source_id()?)));
    candidates
        .filter(|(one, vm)| {
            vm.is_type("Microsoft.Compute/virtualMachines")
                && names_vm(one.id.name(), vm.name())
                && here(vm)
                && bulk.selection.tells_of_gone(vm)
                && !bulk.every_vm.contains(vm.key())
                && bulk.gap(Kind::Vms, vm).is_none()
                && index.no_item_knows(bulk, vm)
        })
        .collect()
}

/// The collections of the VMs of the same name with an item that is not well.
fn former_collections(bulk: &Bulk, index: &Index, vm: &ResourceId) -> Vec<ResourceId> {
    let old = index.namesakes(bulk, vm).filter_map(|item| ResourceId::parse(&item.source).ok());
    let of = |old: ResourceId| index.collections(bulk, &old).map(|one| one.id.clone()).collect::<Vec<_>>();
    old.flat_map(of).collect()
}

/// What protects vaults, each asked once in a reading.
#[derive(Default)]
pub(super) struct Vaults(Mutex<BTreeMap<ResourceId, Arc<OnceCell<VaultFacts>>>>);

/// A vault, and whether a resource guard protects it.
type VaultFacts = (Part<Vault>, Part<bool>);

impl Vaults {
    async fn read(&self, reader: &Reader<'_>, id: &ResourceId) -> (Part<Vault>, Part<bool>) {
        let cell = Arc::clone(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(id.clone()).or_default());
        let ask = || async {
            let at = reader.now();
            let (vault, guarded) = futures::join!(reader.arm.vault(id), reader.arm.resource_guarded(id));
            let guarded = match reader.may_list(id, &[action::GUARD]).await {
                Ok(()) => single(at, guarded),
                Err(why) => Part::Unread { why },
            };
            (single(at, vault), guarded)
        };
        cell.get_or_init(ask).await.clone()
    }

    /// Notes the ones that could not be read.
    pub(super) fn note(&self, deep: &mut Deep) {
        for (id, cell) in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let Some((vault, guarded)) = cell.get() else { continue };
            deep.note(vault.unread().or(guarded.unread()), || format!("what protects the vault {}", id.name()));
        }
    }
}

/// What is read of one suspicious VM.
pub(super) struct Reads {
    vm: ResourceId,
    collections: Vec<ResourceId>,
    /// Items whose recovery points are read, and whether what protects their vault is.
    items: Vec<(ResourceId, bool)>,
    /// Its region, when `backupStatus` is asked about it.
    unclaimed: Option<String>,
    /// Of such a VM, the collections of the VMs of its name that it may have been before it was moved.
    former: Vec<ResourceId>,
    /// Nothing looks wrong with it: nothing else is read of it.
    light: bool,
    /// Its view and its collections, when they were read already.
    begun: Option<Deep>,
}

impl Reads {
    pub fn of(bulk: &Bulk, index: &Index, row: &VmRow) -> Self {
        let vm = &row.vm.id;
        let collections: Vec<ResourceId> = index.collections(bulk, vm).map(|one| one.id.clone()).collect();
        let several = collections.len() > 1;
        let items = index.items(bulk, vm).filter(|item| in_error(item) || several || silent(item));
        let items = items.map(|item| (item.id.clone(), several)).collect();
        let unclaimed = unclaimed(bulk, index, row).then(|| row.vm.location.clone());
        let former = match unclaimed {
            Some(_) => former_collections(bulk, index, vm),
            None => Vec::new(),
        };
        Self { items, vm: vm.clone(), collections, unclaimed, former, light: false, begun: None }
    }

    /// Of a VM that looks well only what `backupStatus` says.
    pub fn light(self, light: bool) -> Self {
        Self { light, ..self }
    }

    /// The view and the points of a VM that is not listed yet.
    pub fn early(vm: ResourceId, collections: Vec<ResourceId>) -> Self {
        Self { vm, collections, items: Vec::new(), unclaimed: None, former: Vec::new(), light: false, begun: None }
    }

    /// The VM.
    pub const fn vm(&self) -> &ResourceId {
        &self.vm
    }

    /// Goes on from what was read early.
    pub fn after(self, begun: Option<Deep>) -> Self {
        let whole =
            |deep: &Deep| deep.gone || self.collections.iter().all(|one| deep.collections.contains_key(one.key()));
        let begun = begun.filter(whole);
        Self { begun, ..self }
    }

    /// Its calls one after the other, for other VMs are read beside it.
    pub async fn read(self, reader: &Reader<'_>, vaults: &Vaults) -> Deep {
        let mut deep = match self.begun {
            Some(begun) => begun,
            None if self.light => Deep::default(),
            None => Self::begin(&self.vm, &self.collections, reader).await,
        };
        if deep.gone {
            return deep;
        }
        if let Some(location) = &self.unclaimed {
            deep.read_status(reader, &self.vm, location).await;
        }
        for one in &self.former {
            deep.read_collection(reader, one).await;
        }
        for (item, protected) in &self.items {
            deep.read_points(reader, item).await;
            if let Some(vault) = item.up_to("vaults").filter(|_| *protected) {
                let read = vaults.read(reader, &vault).await;
                deep.vaults.insert(vault.key().to_owned(), read);
            }
        }
        deep
    }

    async fn begin(id: &ResourceId, collections: &[ResourceId], reader: &Reader<'_>) -> Deep {
        let mut deep = Deep { vms: 1, ..Deep::default() };
        let at = reader.now();
        let view = reader.arm.instance_view(id).await;
        // Rows of Resource Graph can be minutes old. Whether a VM that is there can lack its view is not verified, so the VM
        // itself is asked: only one that is gone may be left out without a word (S12).
        if view.as_ref().err().and_then(ArmError::status) == Some(404)
            && let Err(error) = reader.arm.vm(id).await
            && reader.arm.proves_absence(&error, id).await
        {
            deep.gone = true;
            return deep;
        }
        let view = single(at, view);
        deep.note(view.unread(), || format!("the instance view of the VM {}", id.name()));
        deep.instances.insert(id.key().to_owned(), view);
        for one in collections {
            deep.read_collection(reader, one).await;
        }
        deep
    }
}

/// A read that belongs to no VM of the reading.
enum Rest {
    Collection(ResourceId),
    Points(ResourceId),
}

/// Reads what belongs to no VM that was read: collections without their VM, and items in error whose VM is gone (how old
/// their last backup is matters most then).
pub(super) async fn rest(reader: &Reader<'_>, bulk: &Bulk, index: &Index) -> Deep {
    let mut wanted = Vec::new();
    for item in bulk.items.iter().filter(|item| in_error(item)) {
        let Ok(vm) = ResourceId::parse(&item.source) else { continue };
        let here = bulk.looks_into(vm.subscription()) && bulk.selection.tells_of_gone(&vm);
        if here && !bulk.every_vm.contains(vm.key()) {
            wanted.push(Rest::Points(item.id.clone()));
        }
    }
    wanted.extend(without_vm(bulk, index).into_iter().map(|(one, _)| Rest::Collection(one.id.clone())));
    let calls = wanted.into_iter().map(|one| async move {
        let mut deep = Deep::default();
        match one {
            Rest::Collection(id) => deep.read_collection(reader, &id).await,
            Rest::Points(id) => deep.read_points(reader, &id).await,
        }
        deep
    });
    let mut deep = Deep::default();
    for one in reader.side_by_side(calls.collect()).await {
        deep.absorb(one);
    }
    deep
}

impl Deep {
    async fn read_collection(&mut self, reader: &Reader<'_>, id: &ResourceId) {
        let read = collection(reader, id).await;
        self.note(read.unread(), || format!("the restore points of {}", id.name()));
        self.collections.insert(id.key().to_owned(), read);
    }

    async fn read_points(&mut self, reader: &Reader<'_>, id: &ResourceId) {
        let vault = id.up_to("vaults").unwrap_or_else(|| id.clone());
        let call = reader.arm.recovery_points(id);
        let read = part(reader.list(&vault, &[action::RECOVERY_POINTS], "recovery points", call).await);
        self.note(read.unread(), || format!("the recovery points of {}", id.name()));
        self.recovery_points.insert(id.key().to_owned(), read);
    }

    async fn read_status(&mut self, reader: &Reader<'_>, vm: &ResourceId, location: &str) {
        let at = reader.now();
        let read = single(at, reader.arm.backup_status(vm, location).await);
        if let Some(vault) = unseen_vault(&read) {
            let why = format!("{vault} protects it, and this identity does not see that vault");
            self.not_read.push(Unread { what: format!("the backup of the VM {}", vm.name()), why });
        }
        // Said once for all of them.
        self.note(read.unread(), || "whether a vault that cannot be seen protects VMs (backupStatus)".to_owned());
        self.statuses.insert(vm.key().to_owned(), read);
    }

    /// One order, whatever was read first.
    pub(super) fn tidy(&mut self) {
        self.not_read.sort_by(|a, b| (&a.what, &a.why).cmp(&(&b.what, &b.why)));
        self.not_read.dedup();
    }

    /// Takes over what another reading of the same scope has.
    pub(super) fn absorb(&mut self, other: Self) {
        self.instances.extend(other.instances);
        self.collections.extend(other.collections);
        self.recovery_points.extend(other.recovery_points);
        self.vaults.extend(other.vaults);
        self.statuses.extend(other.statuses);
        self.vms += other.vms;
        self.not_read.extend(other.not_read);
    }

    fn note(&mut self, unread: Option<&str>, what: impl FnOnce() -> String) {
        if let Some(why) = unread {
            self.not_read.push(Unread { what: what(), why: why.to_owned() });
        }
    }
}

/// The vault that `backupStatus` names, for people: `the vault vault-01`.
pub(super) fn unseen_vault(status: &Part<BackupStatus>) -> Option<String> {
    let id = status.known().map(|status| status.vault_id.as_str()).filter(|id| !id.is_empty())?;
    Some(format!("the vault {}", id.rsplit('/').next().unwrap_or(id)))
}

/// A collection with its points; one that is gone by now is absent.
async fn collection(reader: &Reader<'_>, id: &ResourceId) -> Part<SizedCollection> {
    let at = reader.now();
    match reader.arm.sized_collection(id).await {
        Ok(value) if value.collection.points.is_some() => Part::Known { at, value },
        Ok(_) => Part::Unread { why: format!("Azure omitted the restore points of {}", id.short_name()) },
        Err(error) if reader.arm.proves_absence(&error, id).await => Part::Absent { at },
        Err(error) => Part::Unread { why: why(&error) },
    }
}
