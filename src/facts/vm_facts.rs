//! The facts of one VM and of its backup: everything azmend decides on.
//!
//! A part that could not be read is [`Part::Unread`] with the reason, never absent (S12): no rule may take "not read"
//! for "not there". Each part says when it was read, because guards work only on facts at most 60 seconds old.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::arm::id::ResourceId;
use crate::arm::model::{
    BackupStatus, Collection, DenyAssignment, Extension, Group, InstanceView, Job, KeyVault, Lock, Permission, Policy,
    ProtectedItem, RecoveryPoint, RoleAssignment, Vault, Vm,
};
use crate::clock::elapsed;

/// One thing that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum Part<T> {
    /// Read, and there.
    Known {
        /// When it was read.
        at: Timestamp,
        /// What was read.
        value: T,
    },
    /// Read, and not there (404 of a resource whose parent answers, or an empty answer that is complete).
    Absent {
        /// When it was read.
        at: Timestamp,
    },
    /// Not read, or not completely.
    Unread {
        /// The reason, one line, for people: "403: no permission Microsoft.RecoveryServices/vaults/read on ...".
        why: String,
    },
}

/// The reason of a part that was left out on purpose.
const NOT_ASKED: &str = "not requested";

impl<T> Part<T> {
    /// The value, if it is known.
    #[must_use]
    pub const fn known(&self) -> Option<&T> {
        match self {
            Self::Known { value, .. } => Some(value),
            Self::Absent { .. } | Self::Unread { .. } => None,
        }
    }

    /// When it was read.
    #[must_use]
    pub const fn read_at(&self) -> Option<Timestamp> {
        match self {
            Self::Known { at, .. } | Self::Absent { at } => Some(*at),
            Self::Unread { .. } => None,
        }
    }

    /// Why it is unread.
    #[must_use]
    pub fn unread(&self) -> Option<&str> {
        match self {
            Self::Unread { why } => Some(why),
            Self::Known { .. } | Self::Absent { .. } => None,
        }
    }

    /// Whether it was read and is not there.
    #[must_use]
    pub const fn is_absent(&self) -> bool {
        matches!(self, Self::Absent { .. })
    }

    /// A part that was never asked for in this reading.
    #[must_use]
    pub fn not_asked() -> Self {
        Self::Unread { why: NOT_ASKED.to_owned() }
    }

    /// Whether it was left out of this reading on purpose.
    #[must_use]
    pub fn is_not_asked(&self) -> bool {
        self.unread() == Some(NOT_ASKED)
    }
}

/// A protected item that names the VM, with everything of the vault that matters for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemFacts {
    /// The item.
    pub item: ProtectedItem,
    /// Its vault.
    pub vault: Part<Vault>,
    /// Whether the vault has a resource guard proxy (multi-user authorization), by its own list.
    pub resource_guard: Part<bool>,
    /// Its policy; absent when the item has none.
    pub policy: Part<Policy>,
    /// Its recovery points, all pages.
    pub recovery_points: Part<Vec<RecoveryPoint>>,
    /// Jobs of this VM in this vault, newest first: all running ones and those of the last days.
    pub jobs: Part<Vec<Job>>,
    /// How many backups of other machines of this vault began in the same minute as the newest finished one of this VM.
    #[serde(default)]
    pub began_together: usize,
}

/// A resource group that may be a backup resource group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupFacts {
    /// The group.
    pub group: Group,
    /// Ids of everything that is not a restore point collection in it (S5: then it is not a backup group).
    pub others: Part<Vec<ResourceId>>,
    /// Every restore point collection in it, of any VM, with points (needed to prove that all are Backup-owned).
    pub collections: Part<Vec<Collection>>,
}

/// An item of a VM of the same name in another place: perhaps this VM before it was moved, for a vault knows a VM by its
/// group and name. Looked for when no item is of the VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Former {
    /// The item.
    pub item: ProtectedItem,
    /// The VM that it names.
    pub vm: ResourceId,
    /// Whether that VM is gone.
    pub gone: Part<bool>,
    /// The restore point collections of that VM, with points.
    pub collections: Part<Vec<Collection>>,
}

/// What the caller may do at one scope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rights {
    /// The scope that was asked.
    pub scope: ResourceId,
    /// The permissions there.
    pub permissions: Part<Vec<Permission>>,
}

/// Reads that only an orphan needs: made when the VM is not there (section "Orphan" of docs/safety.md).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrphanFacts {
    /// `GET /subscriptions/{id}` of the VM's subscription answered 200.
    pub subscription_answers: Part<bool>,
    /// Every VM that can be listed in every visible subscription: id and vmId. Unread when any list is partial.
    pub vms: Part<Vec<(ResourceId, String)>>,
    /// Every protected item, in any state, of every visible vault, that names the VM. Unread when any vault is unread.
    pub items: Part<Vec<ProtectedItem>>,
}

/// Everything read about one VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmFacts {
    /// The VM's id, as the user or Azure named it.
    pub id: ResourceId,
    /// When this reading began: the age of the facts is counted from here.
    pub at: Timestamp,
    /// The VM.
    pub vm: Part<Vm>,
    /// Its instance view.
    pub instance: Part<InstanceView>,
    /// Its extension resources.
    pub extensions: Part<Vec<Extension>>,
    /// The answer of backupStatus.
    pub status: Part<BackupStatus>,
    /// The items that name this VM, in any state, of every vault that could be read. Unread when a vault is unread.
    pub items: Part<Vec<ItemFacts>>,
    /// Every collection whose source is this VM (without case), in any group of its subscription, with points.
    pub collections: Part<Vec<Collection>>,
    /// The groups that hold these collections, and the groups whose name fits the pattern or the policy's prefix.
    pub groups: Part<Vec<GroupFacts>>,
    /// Every lock of the VM's subscription, and of the vaults' subscriptions if they differ.
    pub locks: Part<Vec<Lock>>,
    /// Deny assignments at the VM's subscription and groups above.
    pub deny: Part<Vec<DenyAssignment>>,
    /// What the caller may do at the scopes where something may be changed.
    pub rights: Vec<Rights>,
    /// The key vaults that it uses, when it is encrypted with Azure Disk Encryption; empty when it is not.
    #[serde(default = "Part::not_asked")]
    pub key_vaults: Part<Vec<KeyVaultFacts>>,
    /// Only when the VM is absent.
    pub orphan: Option<OrphanFacts>,
    /// Items of VMs of the same name, when no item is of this one.
    #[serde(default)]
    pub former: Vec<Former>,
    /// The vaults whose items were looked through.
    #[serde(default)]
    pub vaults: Vec<ResourceId>,
    /// Backup jobs that earlier runs of this machine started: each is read by its own GET, whatever lists say.
    #[serde(default)]
    pub own_jobs: Vec<ResourceId>,
}

/// A part of the facts that has an age of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FactPart {
    /// The VM.
    Vm,
    /// Its instance view.
    Instance,
    /// Its extension resources.
    Extensions,
    /// Its restore point collections with their points.
    Collections,
    /// The backup resource groups with what they hold.
    Groups,
    /// Locks.
    Locks,
    /// Deny assignments.
    Deny,
    /// The answer of `backupStatus`.
    Status,
    /// The protected items that name the VM.
    Items,
    /// Their vaults, and whether a resource guard protects those.
    Vaults,
    /// Their policies.
    Policies,
    /// Their recovery points.
    RecoveryPoints,
    /// Their jobs.
    Jobs,
    /// What the caller may do.
    Rights,
    /// The search that an orphan needs; none of it while the VM exists.
    Orphan,
}

/// The oldest of several times; `None` when one is missing.
fn oldest(times: impl IntoIterator<Item = Option<Timestamp>>) -> Option<Timestamp> {
    times.into_iter().try_fold(Timestamp::MAX, |oldest, time| Some(oldest.min(time?)))
}

impl VmFacts {
    /// The item that is protecting the VM now: not soft-deleted, its protection not stopped. `None` when there is none
    /// or when items are unread.
    #[must_use]
    pub fn active_item(&self) -> Option<&ItemFacts> {
        self.items.known()?.iter().find(|facts| !facts.item.soft_deleted && !facts.item.stopped())
    }

    /// The active item, else any item.
    #[must_use]
    pub fn main_item(&self) -> Option<&ItemFacts> {
        self.active_item().or_else(|| self.items.known()?.first())
    }

    /// The vault that protects the VM by the word of `backupStatus`, when no vault that can be seen has an item of it.
    #[must_use]
    pub fn unseen_vault(&self) -> Option<ResourceId> {
        let none = self.items.known().is_some_and(Vec::is_empty);
        let status = self.status.known().filter(|_| none)?;
        ResourceId::parse(&status.vault_id).ok()
    }

    /// The VM's collections, empty when unread.
    pub fn collections(&self) -> impl Iterator<Item = &Collection> {
        self.collections.known().into_iter().flatten()
    }

    /// Facts of a group by its id.
    #[must_use]
    pub fn group(&self, id: &ResourceId) -> Option<&GroupFacts> {
        self.groups.known()?.iter().find(|facts| facts.group.id == *id)
    }

    /// Whether the proof that this group is Azure Backup's may be needed (S5): a lock is on the very group, or the locks were
    /// not read.
    #[must_use]
    pub fn needs_proof(locks: &Part<Vec<Lock>>, group: &ResourceId) -> bool {
        locks.known().is_none_or(|locks| locks.iter().any(|lock| lock.scope() == *group))
    }

    /// When the first call for this part left; of a part that several calls made, the oldest. `None` when it is not read, or
    /// not all of it.
    #[must_use]
    pub fn read_at(&self, part: FactPart) -> Option<Timestamp> {
        let of_items = |each: &dyn Fn(&ItemFacts) -> Option<Timestamp>| {
            // Without items there is nothing more to read.
            let items = self.items.known().into_iter().flatten();
            oldest(items.map(each).chain((!self.has_items()).then(|| self.items.read_at())))
        };
        match part {
            FactPart::Vm => self.vm.read_at(),
            FactPart::Instance => self.instance.read_at(),
            FactPart::Extensions => self.extensions.read_at(),
            FactPart::Collections => self.collections.read_at(),
            FactPart::Groups => {
                let proven = |group: &GroupFacts| {
                    let needed = Self::needs_proof(&self.locks, &group.group.id);
                    let read = oldest([group.others.read_at(), group.collections.read_at()]);
                    if needed { read } else { Some(Timestamp::MAX) }
                };
                let groups = self.groups.known().into_iter().flatten();
                oldest(groups.map(proven).chain([self.groups.read_at()]))
            }
            FactPart::Locks => self.locks.read_at(),
            FactPart::Deny => self.deny.read_at(),
            FactPart::Status => self.status.read_at(),
            FactPart::Items => self.items.read_at(),
            FactPart::Vaults => of_items(&|facts| oldest([facts.vault.read_at(), facts.resource_guard.read_at()])),
            FactPart::Policies => of_items(&|facts| facts.policy.read_at()),
            FactPart::RecoveryPoints => of_items(&|facts| facts.recovery_points.read_at()),
            FactPart::Jobs => of_items(&|facts| facts.jobs.read_at()),
            FactPart::Rights if self.rights.is_empty() => None,
            FactPart::Rights => oldest(self.rights.iter().map(|rights| rights.permissions.read_at())),
            FactPart::Orphan => self.orphan.as_ref().and_then(|orphan| {
                let items = orphan.items.read_at();
                oldest([orphan.subscription_answers.read_at(), orphan.vms.read_at(), items])
            }),
        }
    }

    fn has_items(&self) -> bool {
        self.items.known().is_some_and(|items| !items.is_empty())
    }

    /// How old this part is; `None` when it is not read, or not all of it.
    #[must_use]
    pub fn age_of(&self, part: FactPart, now: Timestamp) -> Option<Duration> {
        self.read_at(part).map(|at| elapsed(at, now))
    }

    /// ReadOnly locks on the vault of this item, on its group or on its subscription: with one Azure takes no on-demand
    /// backup, nor anything else that is written to the vault.
    pub fn locks_on_vault<'a>(&'a self, item: &ItemFacts) -> Vec<&'a Lock> {
        let Some(vault) = item.item.vault_id() else { return Vec::new() };
        let locks = self.locks.known().into_iter().flatten();
        locks.filter(|lock| lock.level.eq_ignore_ascii_case("ReadOnly") && lock.scope().covers(&vault)).collect()
    }

    /// Locks at or above `scope`.
    pub fn locks_over<'a>(&'a self, scope: &'a ResourceId) -> impl Iterator<Item = &'a Lock> {
        self.locks.known().into_iter().flatten().filter(move |lock| lock.scope().covers(scope))
    }
}

/// A key vault that the VM uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyVaultFacts {
    /// Its id, as the VM names it.
    pub id: ResourceId,
    /// Whether it holds a key that encrypts the secrets (KEK).
    pub key: bool,
    /// Whether it holds the secrets of the disks (BEK).
    pub secret: bool,
    /// The vault.
    pub vault: Part<KeyVault>,
    /// Role assignments at it and above it; absent when the vault goes by access policies.
    pub roles: Part<Vec<RoleAssignment>>,
}
