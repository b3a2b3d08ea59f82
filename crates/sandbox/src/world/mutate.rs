//! What others do to the world while azmend works: the mutations of faults, of the timeline and of interference tests.
//!
//! Each does nothing and returns false when what it needs is not there, so that a fault schedule never panics.

use serde::{Deserialize, Serialize};

use super::{Collection, HandlerState, Item, Lock, Point, PointState, Power, Protection, World};
use crate::job_life;
use azmend_arm::id::ResourceId;

/// A mutation by somebody else, as written in an estate's faults and timeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum WorldEvent {
    /// The VM of this id (or name) is deleted and made again: another `vmId`, no `VMSnapshot`.
    RecreateVm(String),
    /// The VM of this id (or name) is deleted.
    DeleteVm(String),
    /// The VM is restarted: it runs and its agent is ready unless the guest is broken.
    RestartVm(String),
    /// The collection of this id (or name) is deleted and made again: another `restorePointCollectionId`.
    RecreateCollection(String),
    /// A restore point appears in the collection of this id (or name).
    AddPoint(String),
    /// A scheduled backup of this VM starts.
    StartJob(String),
    /// The lock of this id (or name) stands again as it was last removed, or with these notes.
    PutLockBack {
        /// The lock's id.
        id: String,
        /// Other notes than before.
        #[serde(default)]
        notes: Option<String>,
    },
    /// The lock of this id (or name) is removed by somebody.
    DeleteLock(String),
    /// The protection of this VM is stopped; its data is retained.
    StopProtection(String),
    /// The caller loses this action everywhere.
    RevokePermission(String),
    /// Points of a collection (its id or name) are being copied to another region, or are such copies.
    CopyPoints {
        /// The collection's id or name, or a VM's name.
        id: String,
        /// How far the copies are; 100 when they are complete.
        percent: u8,
    },
}

impl World {
    /// Applies an event; false when what it names is not there.
    pub fn apply_event(&mut self, event: &WorldEvent) -> bool {
        match event {
            WorldEvent::RecreateVm(vm) => self.find_vm(vm).is_some_and(|id| self.recreate_vm(&id)),
            WorldEvent::DeleteVm(vm) => self.find_vm(vm).is_some_and(|id| self.delete_vm(&id)),
            WorldEvent::RestartVm(vm) => self.find_vm(vm).is_some_and(|id| self.restart_vm(&id)),
            WorldEvent::RecreateCollection(name) => {
                self.find_collection(name).is_some_and(|id| self.recreate_collection(&id))
            }
            WorldEvent::AddPoint(name) => self.find_collection(name).is_some_and(|id| self.add_point(&id).is_some()),
            WorldEvent::StartJob(vm) => self.find_vm(vm).is_some_and(|id| self.start_job(&id).is_some()),
            WorldEvent::PutLockBack { id, notes } => {
                self.find_lock(id).is_some_and(|id| self.put_lock_back(&id, notes.as_deref()))
            }
            WorldEvent::DeleteLock(id) => self.find_lock(id).is_some_and(|id| self.delete_lock(&id)),
            WorldEvent::StopProtection(vm) => self.find_vm(vm).is_some_and(|id| self.stop_protection(&id)),
            WorldEvent::RevokePermission(action) => {
                self.revoke_permission(action);
                true
            }
            WorldEvent::CopyPoints { id, percent } => {
                self.find_collection(id).is_some_and(|id| self.copy_points(&id, *percent))
            }
        }
    }

    /// The name in an event that stands for nothing in this world. Ids are taken as they are: what they name may come.
    pub(crate) fn missing_target<'a>(&self, event: &'a WorldEvent) -> Option<&'a str> {
        let (text, found) = match event {
            WorldEvent::RecreateVm(text)
            | WorldEvent::DeleteVm(text)
            | WorldEvent::RestartVm(text)
            | WorldEvent::StartJob(text)
            | WorldEvent::StopProtection(text) => (text, self.find_vm(text)),
            WorldEvent::RecreateCollection(text)
            | WorldEvent::AddPoint(text)
            | WorldEvent::CopyPoints { id: text, .. } => (text, self.find_collection(text)),
            WorldEvent::PutLockBack { id: text, .. } | WorldEvent::DeleteLock(text) => (text, self.find_lock(text)),
            WorldEvent::RevokePermission(_) => return None,
        };
        if found.is_some() { None } else { Some(text) }
    }

    fn find_vm(&self, text: &str) -> Option<ResourceId> {
        if let Ok(id) = ResourceId::parse(text) {
            return Some(id);
        }
        self.vms
            .iter()
            .find(|vm| vm.id.name().eq_ignore_ascii_case(text) || vm.id.short_name().eq_ignore_ascii_case(text))
            .map(|vm| vm.id.clone())
    }

    fn find_lock(&self, text: &str) -> Option<ResourceId> {
        if let Ok(id) = ResourceId::parse(text) {
            return Some(id);
        }
        let known = self.locks.iter().chain(self.lingering.iter().rev().map(|l| &l.lock));
        known
            .map(|l| &l.id)
            .find(|id| id.name().eq_ignore_ascii_case(text) || id.short_name().eq_ignore_ascii_case(text))
            .cloned()
    }

    fn find_collection(&self, text: &str) -> Option<ResourceId> {
        if let Ok(id) = ResourceId::parse(text) {
            return Some(id);
        }
        let named = self.collections.iter().find(|c| c.id.name().eq_ignore_ascii_case(text));
        // A VM's name stands for its newest collection.
        named.map(|c| c.id.clone()).or_else(|| self.find_vm(text).and_then(|vm| self.live_collection(&vm)))
    }

    /// The collection of a VM that holds its newest point.
    #[must_use]
    pub fn live_collection(&self, vm: &ResourceId) -> Option<ResourceId> {
        self.collections_of(vm)
            .filter(|c| !c.deleting)
            .max_by_key(|c| c.points.iter().map(|p| p.created).max())
            .map(|c| c.id.clone())
    }

    /// Deletes a VM and makes it again under its name.
    pub fn recreate_vm(&mut self, id: &ResourceId) -> bool {
        let vm_id = self.next_guid();
        let Some(vm) = self.vm_mut(id) else { return false };
        vm.vm_id = vm_id;
        vm.vmsnapshot = None;
        true
    }

    /// Deletes a VM; its collections and its item stay.
    pub fn delete_vm(&mut self, id: &ResourceId) -> bool {
        let before = self.vms.len();
        self.vms.retain(|vm| vm.id != *id);
        before != self.vms.len()
    }

    /// Restarts a VM.
    pub fn restart_vm(&mut self, id: &ResourceId) -> bool {
        let Some(vm) = self.vm_mut(id) else { return false };
        vm.power = Power::Running;
        if !vm.broken {
            vm.agent = super::Agent::Ready;
        }
        true
    }

    /// Deletes a collection and makes it again under its name, with the same number of other points.
    pub fn recreate_collection(&mut self, id: &ResourceId) -> bool {
        let fresh = self.next_guid();
        let now = self.now;
        let Some(collection) = self.collection_mut(id) else { return false };
        collection.collection_id = fresh;
        collection.deleting = false;
        let vm_id = collection.points.first().map(|p| p.vm_id.clone()).unwrap_or_default();
        collection.points = vec![new_point(now, vm_id)];
        true
    }

    /// Adds a succeeded point made now; returns its name.
    pub fn add_point(&mut self, id: &ResourceId) -> Option<String> {
        let now = self.now;
        let source = self.collection(id)?.source.clone();
        let vm_id = self.vm(&source).map(|vm| vm.vm_id.clone());
        let collection = self.collection_mut(id)?;
        let vm_id = vm_id.or_else(|| collection.points.last().map(|p| p.vm_id.clone())).unwrap_or_default();
        let mut point = new_point(now, vm_id);
        while collection.points.iter().any(|p| p.name == point.name) {
            point.created = azmend_base::clock::later(point.created, std::time::Duration::from_secs(1));
            point.name = point_name(point.created);
        }
        let name = point.name.clone();
        collection.points.push(point);
        Some(name)
    }

    /// Starts a scheduled backup job of a VM; returns the job's name.
    pub fn start_job(&mut self, vm: &ResourceId) -> Option<String> {
        let item = self.item_of(vm)?.id.clone();
        Some(job_life::start(self, &item, Some(false), None, None))
    }

    /// Puts a lock back as it was last seen: removed a while ago, or standing. With other notes when given.
    pub fn put_lock_back(&mut self, id: &ResourceId, notes: Option<&str>) -> bool {
        let known = self.locks.iter().find(|l| l.id == *id).cloned();
        let known = known.or_else(|| self.lingering.iter().rev().find(|l| l.lock.id == *id).map(|l| l.lock.clone()));
        let level = known.as_ref().map_or(super::LockLevel::CanNotDelete, |l| l.level);
        let mut lock = known.unwrap_or(Lock { id: id.clone(), level, notes: None, owners: Vec::new() });
        if let Some(notes) = notes {
            lock.notes = Some(notes.to_owned());
        }
        self.put_lock(lock);
        true
    }

    /// Puts a lock, replacing one of the same id.
    pub fn put_lock(&mut self, lock: Lock) {
        self.locks.retain(|l| l.id != lock.id);
        self.locks.push(lock);
    }

    /// Removes a lock at once, with nothing lingering: somebody else did it a while ago.
    pub fn delete_lock(&mut self, id: &ResourceId) -> bool {
        let before = self.locks.len();
        self.locks.retain(|l| l.id != *id);
        before != self.locks.len()
    }

    /// Stops the protection of a VM and retains its data.
    pub fn stop_protection(&mut self, vm: &ResourceId) -> bool {
        let Some(item) = self.items.iter_mut().find(|i: &&mut Item| i.vm == *vm) else { return false };
        item.protection = Protection::Stopped;
        true
    }

    /// Says how far the copies of a collection's points, or those that it holds, are.
    pub fn copy_points(&mut self, id: &ResourceId, percent: u8) -> bool {
        let Some(collection) = self.collection_mut(id) else { return false };
        for point in &mut collection.points {
            point.copying = (percent < 100).then_some(percent);
        }
        true
    }

    /// Takes an action from the caller everywhere.
    pub fn revoke_permission(&mut self, action: &str) {
        for permission in &mut self.permissions {
            permission.not_actions.push(action.to_owned());
        }
    }

    /// Sets the state of a VM's `VMSnapshot` handler.
    pub fn set_vmsnapshot(&mut self, vm: &ResourceId, state: HandlerState) -> bool {
        let Some(handler) = self.vm_mut(vm).and_then(|vm| vm.vmsnapshot.as_mut()) else { return false };
        handler.state = state;
        true
    }

    /// Adds a collection made by Azure Backup for a VM, empty, in a group that must exist.
    pub(crate) fn add_collection(&mut self, id: ResourceId, vm: &ResourceId, location: &str) {
        let collection_id = self.next_guid();
        self.collections.push(Collection {
            id,
            collection_id,
            location: location.to_owned(),
            source: vm.clone(),
            deleting: false,
            deletes_needed: 1,
            delete_hangs: false,
            deletes_per_call: None,
            disk_gb: None,
            points: Vec::new(),
        });
    }
}

/// The name Azure Backup gives a point made at this time.
pub(crate) fn point_name(at: jiff::Timestamp) -> String {
    at.strftime("AzureBackup_%Y%m%d_%H%M%S").to_string()
}

/// A succeeded point made at this time.
pub(crate) fn new_point(at: jiff::Timestamp, vm_id: String) -> Point {
    Point {
        name: point_name(at),
        created: at,
        state: PointState::Succeeded,
        vm_id,
        in_use: false,
        copied_from: None,
        copying: None,
    }
}
