//! The world: everything the embedded Azure remembers, as plain data.
//!
//! Duty: hold the state, find things in it by id without regard to case, make ids, and offer the mutations that the rest
//! of the world may do (`mutate`). It knows no HTTP.
//!
//! Invariants: serialisable as a whole (a sandbox survives its process); ids are unique; `timeline` is kept in order.

mod engines;
pub(crate) mod events;
pub(crate) mod faults;
pub(crate) mod governance;
mod guest;
pub(crate) mod ids;
mod keyvault;
mod model;
mod mutate;
mod places;
mod work;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::world::events::{Effect, Event};
use crate::world::faults::Fault;
use azmend_arm::id::ResourceId;
use azmend_base::clock::later;

pub use engines::{Engine, EngineJob};
pub use guest::{Guest, GuestRun, GuestService, ServiceStart, ServiceState};
pub use keyvault::*;
pub use model::*;
pub use mutate::WorldEvent;
pub(crate) use mutate::{new_point, point_name};
pub(crate) use places::Places;
pub use work::*;

/// Everything the embedded Azure remembers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct World {
    /// A name for people.
    pub name: String,
    /// The time in this world.
    pub now: Timestamp,
    /// The tenant's GUID.
    pub tenant: String,
    /// The object id of the caller, as it stands in authorization errors.
    pub caller: String,
    /// The digest of the estate it was made from.
    pub estate_digest: String,
    /// Delays, limits and page size.
    pub settings: Settings,
    /// Subscriptions.
    pub subscriptions: Vec<Subscription>,
    /// Resource groups.
    pub groups: Vec<Group>,
    /// Virtual machines with their agent and extensions.
    pub vms: Vec<Vm>,
    /// Restore point collections with their points.
    pub collections: Vec<Collection>,
    /// Recovery Services vaults.
    pub vaults: Vec<Vault>,
    /// Backup policies.
    pub policies: Vec<Policy>,
    /// Protected items with their vault recovery points.
    pub items: Vec<Item>,
    /// Backup jobs, newest last.
    pub jobs: Vec<Job>,
    /// Backup Servers and DPM servers that are registered in a vault.
    #[serde(default)]
    pub engines: Vec<Engine>,
    /// Their jobs.
    #[serde(default)]
    pub engine_jobs: Vec<EngineJob>,
    /// Key vaults.
    #[serde(default)]
    pub key_vaults: Vec<KeyVault>,
    /// Role assignments of others than the caller.
    #[serde(default)]
    pub role_assignments: Vec<RoleAssignment>,
    /// Object id of Azure Backup's service principal in this tenant.
    #[serde(default)]
    pub backup_principal: String,
    /// Policy assignments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies_assigned: Vec<governance::PolicyAssigned>,
    /// The activity log.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub activity: Vec<governance::Activity>,
    /// Other resources that only have to exist.
    pub others: Vec<OtherResource>,
    /// Management locks.
    pub locks: Vec<Lock>,
    /// Locks that were removed and are still enforced here and there.
    pub lingering: Vec<Lingering>,
    /// Deny assignments.
    pub denies: Vec<DenyAssignment>,
    /// What the caller may do.
    pub permissions: Vec<Permission>,
    /// Effects to come, in order of time.
    pub timeline: Vec<Event>,
    /// Long-running operations.
    pub operations: Vec<Operation>,
    /// What goes wrong.
    pub faults: Vec<Fault>,
    /// Token buckets by subscription and verb class, and read counters by vault.
    pub buckets: BTreeMap<String, Bucket>,
    /// Counters.
    pub counters: Counters,
    /// The world before its last change; kept only while a stale-read fault waits for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Box<Self>>,
    /// Where things stand in the lists: what was found out, no state.
    #[serde(skip)]
    pub(crate) places: Places,
}

impl World {
    /// An empty world at a time.
    #[must_use]
    pub fn empty(now: Timestamp) -> Self {
        Self {
            name: "empty".into(),
            now,
            tenant: guid_from("tenant"),
            caller: guid_from("caller"),
            estate_digest: String::new(),
            settings: Settings::default(),
            subscriptions: Vec::new(),
            groups: Vec::new(),
            vms: Vec::new(),
            collections: Vec::new(),
            vaults: Vec::new(),
            policies: Vec::new(),
            items: Vec::new(),
            jobs: Vec::new(),
            engines: Vec::new(),
            engine_jobs: Vec::new(),
            key_vaults: Vec::new(),
            role_assignments: Vec::new(),
            backup_principal: guid_from("backup management service"),
            policies_assigned: Vec::new(),
            activity: Vec::new(),
            others: Vec::new(),
            locks: Vec::new(),
            lingering: Vec::new(),
            denies: Vec::new(),
            permissions: vec![Permission { scope: "/".into(), actions: vec!["*".into()], not_actions: Vec::new() }],
            timeline: Vec::new(),
            operations: Vec::new(),
            faults: Vec::new(),
            buckets: BTreeMap::new(),
            counters: Counters::default(),
            before: None,
            places: Places::default(),
        }
    }

    /// The state for comparison: everything but time, counters, throttling, operations, the timeline and the history of
    /// jobs. Lists are in the order of their ids, ids in lower case.
    #[must_use]
    pub fn canonical(&self) -> Value {
        let mut world = self.clone();
        world.before = None;
        for item in &mut world.items {
            item.recovery_points.sort_by(|a, b| a.name.cmp(&b.name));
            item.last_backup_status.clear();
            item.last_backup_time = None;
        }
        for collection in &mut world.collections {
            collection.points.sort_by(|a, b| a.name.cmp(&b.name));
        }
        let Ok(Value::Object(mut out)) = serde_json::to_value(&world) else { return Value::Null };
        for transient in [
            "now",
            "settings",
            "timeline",
            "operations",
            "faults",
            "buckets",
            "counters",
            "jobs",
            "lingering",
            "caller",
        ] {
            out.remove(transient);
        }
        for list in out.values_mut().filter_map(Value::as_array_mut) {
            for entry in list.iter_mut() {
                if let Some(id) = entry.get_mut("id")
                    && let Some(text) = id.as_str()
                {
                    *id = Value::String(text.to_lowercase());
                }
            }
            list.sort_by_cached_key(Value::to_string);
        }
        Value::Object(out)
    }

    /// A short text that is equal for equal states ([`World::canonical`]).
    #[must_use]
    pub fn digest(&self) -> String {
        hash_text(&self.canonical().to_string())
    }

    /// The next generated GUID.
    pub fn next_guid(&mut self) -> String {
        self.counters.ids += 1;
        guid_from(&format!("{}#{}", self.estate_digest, self.counters.ids))
    }

    /// Puts an effect on the timeline.
    pub fn schedule(&mut self, at: Timestamp, effect: Effect) {
        self.counters.events += 1;
        let event = Event { at, seq: self.counters.events, effect };
        let place = self.timeline.partition_point(|other| (other.at, other.seq) <= (event.at, event.seq));
        self.timeline.insert(place, event);
    }

    /// Puts an effect on the timeline, `seconds` from now.
    pub fn schedule_in(&mut self, seconds: u64, effect: Effect) {
        self.schedule(later(self.now, std::time::Duration::from_secs(seconds)), effect);
    }

    /// The subscription with this GUID.
    #[must_use]
    pub fn subscription(&self, id: &str) -> Option<&Subscription> {
        self.subscriptions.iter().find(|s| s.id.eq_ignore_ascii_case(id))
    }

    /// The resource group with this id.
    #[must_use]
    pub fn group(&self, id: &ResourceId) -> Option<&Group> {
        self.places.groups.find(&self.groups, id, |one| &one.id)
    }

    /// The virtual machine with this id.
    #[must_use]
    pub fn vm(&self, id: &ResourceId) -> Option<&Vm> {
        self.places.vms.find(&self.vms, id, |one| &one.id)
    }

    /// The virtual machine with this id, to change it.
    pub fn vm_mut(&mut self, id: &ResourceId) -> Option<&mut Vm> {
        self.vms.iter_mut().find(|vm| vm.id == *id)
    }

    /// The only or first virtual machine of this name.
    #[must_use]
    pub fn vm_named(&self, name: &str) -> Option<&Vm> {
        self.vms.iter().find(|vm| vm.id.name().eq_ignore_ascii_case(name))
    }

    /// The restore point collection with this id.
    #[must_use]
    pub fn collection(&self, id: &ResourceId) -> Option<&Collection> {
        self.places.collections.find(&self.collections, id, |one| &one.id)
    }

    /// The restore point collection with this id, to change it.
    pub fn collection_mut(&mut self, id: &ResourceId) -> Option<&mut Collection> {
        self.collections.iter_mut().find(|c| c.id == *id)
    }

    /// The collections whose source is this VM.
    pub fn collections_of(&self, vm: &ResourceId) -> impl Iterator<Item = &Collection> {
        self.collections.iter().filter(move |c| c.source == *vm)
    }

    /// The vault with this id.
    #[must_use]
    pub fn vault(&self, id: &ResourceId) -> Option<&Vault> {
        self.places.vaults.find(&self.vaults, id, |one| &one.id)
    }

    /// The policy with this id.
    #[must_use]
    pub fn policy(&self, id: &ResourceId) -> Option<&Policy> {
        self.places.policies.find(&self.policies, id, |one| &one.id)
    }

    /// The protected item with this id.
    #[must_use]
    pub fn item(&self, id: &ResourceId) -> Option<&Item> {
        self.places.items.find(&self.items, id, |one| &one.id)
    }

    /// The protected item with this id, to change it.
    pub fn item_mut(&mut self, id: &ResourceId) -> Option<&mut Item> {
        self.items.iter_mut().find(|i| i.id == *id)
    }

    /// The item that protects this VM; an active one before a soft-deleted one.
    #[must_use]
    pub fn item_of(&self, vm: &ResourceId) -> Option<&Item> {
        self.items.iter().filter(|i| i.vm == *vm).min_by_key(|i| u8::from(i.protection == Protection::SoftDeleted))
    }

    /// The job of this name.
    #[must_use]
    pub fn job(&self, name: &str) -> Option<&Job> {
        self.jobs.iter().find(|j| j.name.eq_ignore_ascii_case(name))
    }

    /// The job of this name, to change it.
    pub fn job_mut(&mut self, name: &str) -> Option<&mut Job> {
        self.jobs.iter_mut().find(|j| j.name.eq_ignore_ascii_case(name))
    }

    /// The operation of this name, to change it.
    pub fn operation_mut(&mut self, name: &str) -> Option<&mut Operation> {
        self.operations.iter_mut().find(|o| o.name.eq_ignore_ascii_case(name))
    }

    /// Succeeded points of a VM across its collections: what the limit counts.
    #[must_use]
    pub fn succeeded_points(&self, vm: &ResourceId) -> usize {
        self.collections_of(vm).flat_map(|c| &c.points).filter(|p| p.state == PointState::Succeeded).count()
    }
}

/// 64 bits of a text (FNV-1a), then mixed (splitmix64's finisher).
fn hash64(text: &str, seed: u64) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64 ^ seed;
    for byte in text.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

/// A short digest of a text: 32 hexadecimal digits; not for security.
#[must_use]
pub(crate) fn hash_text(text: &str) -> String {
    format!("{:016x}{:016x}", hash64(text, 1), hash64(text, 2))
}

/// A GUID that is the same for the same text.
#[must_use]
pub(crate) fn guid_from(text: &str) -> String {
    let raw = (u128::from(hash64(text, 3)) << 64) | u128::from(hash64(text, 4));
    uuid::Builder::from_random_bytes(raw.to_be_bytes()).into_uuid().to_string()
}

/// A number of up to 15 digits that is the same for the same text, as Azure Backup puts behind a VM's name.
#[must_use]
pub(crate) fn digits_from(text: &str) -> u64 {
    100_000_000_000 + hash64(text, 5) % 899_999_999_999_999
}
