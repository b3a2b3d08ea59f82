//! Facts of many VMs in bulk: a few queries or lists for a whole scope, and single reads only where something looks wrong.
//!
//! Duty: [`read`] makes one [`Bulk`] with either of two collectors, Azure Resource Graph or plain lists of ARM, of the same
//! types and in the same order, so that what is found does not depend on the collector. [`Bulk::facts`] gives the
//! [`VmFacts`](super::vm_facts::VmFacts) of one VM: what a bulk reading does not have is *not asked for*, never absent.
//!
//! Both collectors ask what the caller may list (RBAC leaves out rows without a word), and both read locks and restore point
//! collections from ARM, one list of each for a subscription. Vaults are looked for in every visible subscription, for one may protect a VM of another.
//! Instance views and restore points are read for VMs that look suspicious alone ([`single_reads::suspicious`]), a bounded number
//! at a time. [`Scan`] is the same reading as a stream: VMs come page by page, and none has to be kept.
//!
//! Invariants: what cannot be read is a [`Gap`] and a line in `not_read`, and spoils nothing else (S12). Rows are in the
//! order of their ids. Must never: send anything but reads, or be taken for a proof.

mod arm;
mod facts;
mod graph;
mod index;
mod jobs;
mod prefetch;
mod scan;
pub mod single_reads;
mod watch;

use crate::facts::unread::Unread;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::Timestamp;

pub use index::Index;
pub use jobs::Jobs;
pub use scan::Scan;
pub use single_reads::Deep;
pub use watch::{Seen, Stage, Unwatched, Watch};

use super::graph::VmRow;
use super::inventory::Visible;
use super::read::{Reader, action, one_line};
use crate::arm::id::ResourceId;
use crate::arm::model::{Collection, Extension, Group, Job, Lock, Policy, ProtectedItem, Subscription, Vault};
use crate::arm::{Arm, ArmError, Listing};

/// How many single reads are out at once. ARM lets 25 through per second and subscription, which the gateway keeps to.
const CONCURRENCY: usize = 16;

/// How the facts are collected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Collector {
    /// Azure Resource Graph.
    Graph,
    /// Lists of ARM.
    Arm,
}

impl Collector {
    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Graph => "graph",
            Self::Arm => "arm",
        }
    }
}

/// A kind of thing that is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Virtual machines.
    Vms,
    /// Their power states.
    Power,
    /// Their extensions.
    Extensions,
    /// Resource groups.
    Groups,
    /// Restore point collections.
    Collections,
    /// Locks.
    Locks,
    /// Vaults.
    Vaults,
    /// Protected items.
    Items,
    /// Policies.
    Policies,
    /// Jobs.
    Jobs,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Vms => "VMs",
            Self::Power => "power states",
            Self::Extensions => "extensions",
            Self::Groups => "resource groups",
            Self::Collections => "restore point collections",
            Self::Locks => "locks",
            Self::Vaults => "vaults",
            Self::Items => "protected items",
            Self::Policies => "backup policies",
            Self::Jobs => "backup jobs",
        }
    }
}

/// A list that is missing or not complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// What of.
    pub kind: Kind,
    /// Where: a subscription, a vault or a VM; `None` is everywhere.
    pub scope: Option<ResourceId>,
    /// Its name for people.
    pub name: String,
    /// Why.
    pub why: String,
}

/// Which VMs of the scope are looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Of this resource group.
    pub group: Option<String>,
    /// With all of these tags.
    pub tags: Vec<(String, String)>,
    /// With an item in this vault: a name, `group/name` or a resource id.
    pub vault: Option<String>,
    /// Every one is read by itself, suspicious or not.
    pub thorough: bool,
    /// The VMs with these keys are read by themselves too, suspicious or not.
    pub also: HashSet<String>,
}

impl Selection {
    /// Whether some VMs are not looked at.
    #[must_use]
    pub fn narrows(&self) -> bool {
        self.group.is_some() || !self.tags.is_empty() || self.vault.is_some()
    }

    /// Whether something is said of VMs that are gone, and of this one: a tag or a vault they have no more.
    #[must_use]
    pub fn tells_of_gone(&self, vm: &ResourceId) -> bool {
        let group = self.group.as_deref();
        self.tags.is_empty()
            && self.vault.is_none()
            && group.is_none_or(|group| vm.resource_group().is_some_and(|own| own.eq_ignore_ascii_case(group)))
    }

    /// Whether the vault of this id is the one that is meant.
    fn is_vault(&self, id: &ResourceId) -> bool {
        let Some(text) = &self.vault else { return false };
        if text.starts_with('/') {
            return ResourceId::parse(text).is_ok_and(|wanted| wanted == *id);
        }
        let (group, name) = text.split_once('/').map_or((None, text.as_str()), |(group, name)| (Some(group), name));
        id.name().eq_ignore_ascii_case(name)
            && group.is_none_or(|group| id.resource_group().is_some_and(|own| own.eq_ignore_ascii_case(group)))
    }
}

/// Everything of a scope.
#[derive(Debug, Clone)]
pub struct Bulk {
    /// When the reading began.
    pub at: Timestamp,
    /// How.
    pub collector: Collector,
    /// What was asked for.
    pub selection: Selection,
    /// The subscriptions that were looked into.
    pub subscriptions: Vec<Subscription>,
    /// Names in lower case that several visible subscriptions have.
    pub shared_names: HashSet<String>,
    /// The VMs that are looked at, with power and tags.
    pub vms: Vec<VmRow>,
    /// Every VM of the subscriptions by its key, looked at or not.
    pub every_vm: HashSet<String>,
    /// Extension resources, without messages.
    pub extensions: Vec<Extension>,
    /// Resource groups.
    pub groups: Vec<Group>,
    /// Restore point collections, without points.
    pub collections: Vec<Collection>,
    /// Vaults of every visible subscription.
    pub vaults: Vec<Vault>,
    /// Their items, in any state.
    pub items: Vec<ProtectedItem>,
    /// Their policies.
    pub policies: Vec<Policy>,
    /// Their jobs of the last 14 days.
    pub jobs: Vec<Job>,
    /// Locks of the subscriptions.
    pub locks: Vec<Lock>,
    /// What is missing.
    pub gaps: Vec<Gap>,
    /// The gaps by what of and where; an empty text is everywhere.
    gap_at: HashMap<(Kind, String), usize>,
    /// The VMs that are looked at by their keys; `None` is every one.
    picked: Option<HashSet<String>>,
    /// The subscriptions that are looked into, in lower case.
    inside: HashSet<String>,
}

impl Bulk {
    fn new(at: Timestamp, collector: Collector, visible: &Visible, selection: &Selection) -> Self {
        Self {
            at,
            collector,
            selection: selection.clone(),
            subscriptions: visible.chosen.clone(),
            shared_names: shared_names(&visible.all),
            vms: Vec::new(),
            every_vm: HashSet::new(),
            extensions: Vec::new(),
            groups: Vec::new(),
            collections: Vec::new(),
            vaults: Vec::new(),
            items: Vec::new(),
            policies: Vec::new(),
            jobs: Vec::new(),
            locks: Vec::new(),
            gaps: Vec::new(),
            gap_at: HashMap::new(),
            picked: selection.narrows().then(HashSet::new),
            inside: visible.chosen.iter().map(|one| one.id.to_lowercase()).collect(),
        }
    }

    /// Whether a subscription is looked into.
    #[must_use]
    pub fn looks_into(&self, subscription: &str) -> bool {
        self.inside.contains(&subscription.to_lowercase())
    }

    /// Whether the VM with this key is looked at.
    #[must_use]
    pub fn looks_at(&self, vm: &str) -> bool {
        self.picked.as_ref().unwrap_or(&self.every_vm).contains(vm)
    }

    /// How many VMs are looked at.
    #[must_use]
    pub fn looked_at(&self) -> usize {
        self.picked.as_ref().unwrap_or(&self.every_vm).len()
    }

    /// Why the list of this kind may not be complete for `id`: its subscription, its vault, the VM itself.
    #[must_use]
    pub fn gap(&self, kind: Kind, id: &ResourceId) -> Option<&str> {
        if self.gaps.is_empty() {
            return None;
        }
        // The id itself and everything above it.
        let key = id.key();
        let above = key.match_indices('/').map(|(at, _)| &key[..at]).chain([key]);
        let first = above.filter_map(|scope| self.gap_at.get(&(kind, scope.to_owned()))).min();
        first.and_then(|at| self.gaps.get(*at)).map(|gap| gap.why.as_str())
    }

    /// Why an item of a VM in this region may be missing from the items. A vault protects VMs of its own region only
    /// (`UserErrorVmVaultLocationMismatch`).
    #[must_use]
    pub fn may_lack_item(&self, location: &str) -> Option<&str> {
        let here = super::collect::plain_location(location);
        let concerns = |gap: &&Gap| match gap.kind {
            Kind::Vaults => true,
            Kind::Items => {
                let vault = self.vaults.iter().find(|vault| gap.scope.as_ref() == Some(&vault.id));
                vault.is_none_or(|vault| here.is_empty() || super::collect::plain_location(&vault.location) == here)
            }
            _ => false,
        };
        self.gaps.iter().find(concerns).map(|gap| gap.why.as_str())
    }

    /// What was not read, for people: one line for each list, one for a subscription of which nothing may be complete.
    #[must_use]
    pub fn not_read(&self) -> Vec<Unread> {
        let mut by_place: BTreeMap<String, Vec<&Gap>> = BTreeMap::new();
        for gap in &self.gaps {
            let key = gap.scope.as_ref().map_or_else(String::new, |scope| scope.key().to_owned());
            by_place.entry(key).or_default().push(gap);
        }
        let mut lines = Vec::new();
        for gaps in by_place.values() {
            let has = |kind| gaps.iter().any(|gap| gap.kind == kind);
            let whole = [Kind::Vms, Kind::Groups, Kind::Collections, Kind::Vaults, Kind::Locks].into_iter().all(has);
            if let (true, Some(first)) = (whole, gaps.first()) {
                lines.push(Unread { what: first.name.clone(), why: first.why.clone() });
                continue;
            }
            for gap in gaps {
                lines.push(Unread { what: format!("the {} of {}", gap.kind.as_str(), gap.name), why: gap.why.clone() });
            }
        }
        lines.dedup();
        lines
    }

    fn add_gap(&mut self, kind: Kind, scope: Option<ResourceId>, name: &str, why: &str) {
        let place = scope.as_ref().map_or_else(String::new, |scope| scope.key().to_owned());
        if let Entry::Vacant(place) = self.gap_at.entry((kind, place)) {
            place.insert(self.gaps.len());
            self.gaps.push(Gap { kind, scope, name: name.to_owned(), why: one_line(&why) });
        }
    }

    /// The VMs with an item in the vault that was asked for.
    fn in_vault(&self) -> HashSet<String> {
        if self.selection.vault.is_none() {
            return HashSet::new();
        }
        let items = self.items.iter().filter(|item| item.vault_id().is_some_and(|id| self.selection.is_vault(&id)));
        items.map(|item| index::key_of(&item.source)).collect()
    }

    /// Takes note of VMs, and keeps those that were asked for and did not come before.
    fn select(&mut self, rows: &mut Vec<VmRow>, in_vault: &HashSet<String>) {
        rows.retain(|row| self.every_vm.insert(row.vm.id.key().to_owned()));
        let Some(picked) = &mut self.picked else { return };
        let selection = &self.selection;
        rows.retain(|row| {
            let id = &row.vm.id;
            let group = selection.group.as_deref();
            let has = |(name, value): &(String, String)| {
                row.tags.iter().any(|(key, own)| key.eq_ignore_ascii_case(name) && own == value)
            };
            group.is_none_or(|group| id.resource_group().is_some_and(|own| own.eq_ignore_ascii_case(group)))
                && selection.tags.iter().all(has)
                && (selection.vault.is_none() || in_vault.contains(id.key()))
        });
        picked.extend(rows.iter().map(|row| row.vm.id.key().to_owned()));
    }

    /// A VM that was listed is gone by now.
    fn forget(&mut self, vm: &ResourceId) {
        self.every_vm.remove(vm.key());
        if let Some(picked) = &mut self.picked {
            picked.remove(vm.key());
        }
    }

    /// One order for both collectors, and no row twice.
    fn sort(&mut self) {
        fn tidy<T>(rows: &mut Vec<T>, id: impl Fn(&T) -> &ResourceId) {
            rows.sort_by(|a, b| id(a).key().cmp(id(b).key()));
            rows.dedup_by(|a, b| id(a) == id(b));
        }
        tidy(&mut self.vms, |row| &row.vm.id);
        tidy(&mut self.extensions, |row| &row.id);
        tidy(&mut self.groups, |row| &row.id);
        tidy(&mut self.collections, |row| &row.id);
        tidy(&mut self.vaults, |row| &row.id);
        tidy(&mut self.items, |row| &row.id);
        tidy(&mut self.policies, |row| &row.id);
        tidy(&mut self.jobs, |row| &row.id);
        tidy(&mut self.locks, |row| &row.id);
    }
}

fn shared_names(all: &[Subscription]) -> HashSet<String> {
    let mut seen = HashSet::new();
    all.iter().map(|one| one.name.to_lowercase()).filter(|name| !seen.insert(name.clone())).collect()
}

/// Whether the vault that was named is there; `None` when none was named or it may be in what was not read.
#[must_use]
pub fn vault_is_known(bulk: &Bulk) -> Option<bool> {
    bulk.selection.vault.as_ref()?;
    let found = bulk.vaults.iter().any(|vault| bulk.selection.is_vault(&vault.id));
    (found || !bulk.gaps.iter().any(|gap| gap.kind == Kind::Vaults)).then_some(found)
}

/// Whether the resource group that was named is there; `None` when none was named or it may be in what was not read.
#[must_use]
pub fn group_is_known(bulk: &Bulk) -> Option<bool> {
    let wanted = bulk.selection.group.as_ref()?;
    let found = bulk.groups.iter().any(|group| group.id.name().eq_ignore_ascii_case(wanted));
    (found || !bulk.gaps.iter().any(|gap| gap.kind == Kind::Groups)).then_some(found)
}

/// Why Resource Graph gave nothing.
#[derive(Debug)]
pub struct GraphFailed(pub ArmError);

/// Reads the chosen subscriptions. With `wanted` unset Resource Graph is asked, and lists of ARM where it refuses.
///
/// # Errors
/// [`GraphFailed`] when Resource Graph was wanted by name and refuses; every other problem is a gap.
pub async fn read(
    arm: &Arm,
    visible: &Visible,
    selection: &Selection,
    wanted: Option<Collector>,
) -> Result<(Bulk, Deep), GraphFailed> {
    let scan = Scan::open(arm, visible, selection, wanted, Jobs::Every, &Unwatched).await?;
    let (mut vms, mut parts) = (Vec::new(), Deep::default());
    let mut keep = |_: &Bulk, _: &Index, rows: Vec<VmRow>, deep: Deep| {
        vms.extend(rows);
        parts.absorb(deep);
    };
    let (mut bulk, _, rest) = scan.run(&mut keep).await?;
    parts.absorb(rest);
    parts.tidy();
    bulk.vms = vms;
    bulk.sort();
    let mine = |row: &Extension| row.id.up_to("virtualMachines").is_some_and(|vm| bulk.looks_at(vm.key()));
    let kept = bulk.extensions.iter().filter(|row| mine(row)).cloned().collect();
    bulk.extensions = kept;
    Ok((bulk, parts))
}

/// What the caller may not list, asked once for each subscription.
async fn add_rights(reader: &Reader<'_>, bulk: &mut Bulk, visible: &Visible) {
    const OF_VMS: [(Kind, &[&str]); 5] = [
        (Kind::Vms, &[action::VMS]),
        (Kind::Extensions, &[action::EXTENSIONS]),
        (Kind::Groups, &[action::GROUPS]),
        (Kind::Collections, &[action::COLLECTIONS, action::POINTS]),
        (Kind::Locks, &[action::LOCKS]),
    ];
    // Resource Graph leaves out rows of what the caller may not read, without a word; lists of ARM refuse. Which action its
    // items need is not verified: that of the list, or that of the type of its rows.
    const OF_GRAPH: [(Kind, &[&str]); 4] = [
        (Kind::Vaults, &[action::VAULTS]),
        (Kind::Items, &[action::ITEMS, action::ITEM]),
        (Kind::Jobs, &[action::JOBS]),
        (Kind::Policies, &[action::POLICIES]),
    ];
    const OF_LISTS: [(Kind, &[&str]); 3] =
        [(Kind::Vaults, &[action::VAULTS]), (Kind::Items, &[action::ITEMS]), (Kind::Jobs, &[action::JOBS])];
    let of_vaults: &[(Kind, &[&str])] = if bulk.collector == Collector::Graph { &OF_GRAPH } else { &OF_LISTS };
    let chosen: HashSet<&str> = visible.chosen.iter().map(|one| one.id.as_str()).collect();
    let calls = visible.all.iter().map(|one| {
        let kinds: Vec<_> = match chosen.contains(one.id.as_str()) {
            true => OF_VMS.iter().chain(of_vaults).copied().collect(),
            false => of_vaults.to_vec(),
        };
        async move {
            let mut lacking = Vec::new();
            match ResourceId::subscription_scope(&one.id) {
                Err(error) => lacking.extend(kinds.iter().map(|(kind, _)| (*kind, None, error.to_string()))),
                Ok(scope) => {
                    for (kind, actions) in kinds {
                        if let Err(why) = reader.may_list(&scope, actions).await {
                            lacking.push((kind, Some(scope.clone()), why));
                        }
                    }
                }
            }
            (format!("the subscription {}", one.name), lacking)
        }
    });
    for (name, lacking) in reader.side_by_side(calls.collect()).await {
        for (kind, scope, why) in lacking {
            bulk.add_gap(kind, scope, &name, &why);
        }
    }
}

/// What is listed for each subscription by ARM, whoever collects the rest.
///
/// Resource Graph has no locks. It has restore point collections, but there is about one for each VM, and its pages of 1000
/// rows come out of one quota of the user, while each subscription has a quota of its own for lists of ARM.
struct Own {
    scope: ResourceId,
    name: String,
    locks: Result<Listing<Lock>, ArmError>,
    collections: Result<Listing<Collection>, ArmError>,
}

async fn read_own(reader: &Reader<'_>, visible: &Visible) -> Vec<Own> {
    let calls = visible.chosen.iter().filter_map(|one| {
        let scope = ResourceId::subscription_scope(&one.id).ok()?;
        Some(async move {
            let (locks, collections) =
                futures::join!(Box::pin(reader.arm.locks(&scope)), Box::pin(reader.arm.collections(&scope)));
            Own { name: format!("the subscription {}", one.name), scope, locks, collections }
        })
    });
    reader.side_by_side(calls.collect()).await
}

fn take_own(bulk: &mut Bulk, lists: Vec<Own>) {
    for Own { scope, name, locks, collections } in lists {
        take(bulk, Kind::Locks, scope.clone(), &name, locks, |bulk, rows| bulk.locks.extend(rows));
        take(bulk, Kind::Collections, scope, &name, collections, |bulk, rows| bulk.collections.extend(rows));
    }
    bulk.collections.shrink_to_fit();
}

/// Takes the rows of a list; what is missing becomes a gap.
fn take<T>(
    bulk: &mut Bulk,
    kind: Kind,
    scope: ResourceId,
    name: &str,
    listed: Result<Listing<T>, ArmError>,
    keep: impl FnOnce(&mut Bulk, Vec<T>),
) {
    match listed {
        Err(error) => bulk.add_gap(kind, Some(scope), name, &super::read::why(&error)),
        Ok(listing) => {
            if let Some(first) = listing.malformed.first() {
                let why = format!("{} rows could not be understood, the first: {first}", listing.malformed.len());
                match listing.malformed.scopes() {
                    // Only what these rows are about is unread.
                    Some(scopes) => {
                        for one in scopes {
                            bulk.add_gap(kind, Some(one.clone()), &one.short_name(), &why);
                        }
                    }
                    None => bulk.add_gap(kind, Some(scope), name, &why),
                }
            }
            keep(bulk, listing.items);
        }
    }
}
