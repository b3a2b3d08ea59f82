//! Capture: what azmend reads of a scope, as an estate for the sandbox.
//!
//! Duty: [`read`] reads a scope like a thorough audit and beyond it (all recovery points, what protects each vault, what else
//! a backup group holds); [`anonymize`](Captured::anonymize) takes the names out; [`text`](Captured::text) writes the estate.
//!
//! Invariants: only reads (S1). What could not be read, and what an estate cannot say, is a line in the file's head and of
//! [`Captured::not_read`] or [`Captured::left_out`]; nothing is made up in its place without such a line (S12). The same
//! reading gives the same text. Must never: know the sandbox; whether the text loads is for its caller to check.

mod anonymize;
mod backup;
mod names;
mod read;
mod single_reads;
mod text;
mod yaml;

use crate::facts::unread::Unread;
use jiff::Timestamp;

pub use read::{Wanted, read};
pub use text::EstateText;

use super::graph::VmRow;
use super::vm_facts::KeyVaultFacts;
use crate::arm::id::ResourceId;
use crate::arm::model::{
    DenyAssignment, Disk, Extension, Group, InstanceView, Job, Lock, Permission, Policy, ProtectedItem, RecoveryPoint,
    SizedCollection, Subscription, Vault,
};

/// A VM of the estate.
#[derive(Debug, Clone)]
pub struct CapturedVm {
    /// The machine with power and tags.
    pub row: VmRow,
    /// Whether it is one of the VMs that were asked for; of another one only the name was read.
    pub whole: bool,
    /// Its instance view, when it was read.
    pub instance: Option<InstanceView>,
    /// Its extensions.
    pub extensions: Vec<Extension>,
    /// Its managed disks, those that were read.
    pub disks: Vec<Disk>,
    /// The key vault that it is encrypted with, and whether a key of it encrypts the secrets.
    pub encryption: Option<(ResourceId, bool)>,
}

/// A vault of the estate.
#[derive(Debug, Clone)]
pub struct CapturedVault {
    /// The vault.
    pub vault: Vault,
    /// Whether a resource guard protects it.
    pub guarded: bool,
}

/// An item of the estate.
#[derive(Debug, Clone)]
pub struct CapturedItem {
    /// The item.
    pub item: ProtectedItem,
    /// Its VM.
    pub vm: ResourceId,
    /// Its recovery points, oldest first.
    pub points: Vec<RecoveryPoint>,
    /// Its jobs, oldest first.
    pub jobs: Vec<Job>,
}

/// What an estate cannot say, or what was not captured on purpose.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeftOut {
    /// What, without any name.
    pub what: String,
    /// Which.
    pub which: String,
}

/// A scope as it was read.
#[derive(Debug, Clone)]
pub struct Captured {
    /// When the reading began, to the second.
    pub now: Timestamp,
    /// The tenant's GUID; empty when not sent.
    pub tenant: String,
    /// The subscriptions.
    pub subscriptions: Vec<Subscription>,
    /// The resource groups.
    pub groups: Vec<Group>,
    /// What backup groups hold beside collections.
    pub others: Vec<ResourceId>,
    /// The VMs.
    pub vms: Vec<CapturedVm>,
    /// The vaults.
    pub vaults: Vec<CapturedVault>,
    /// Their policies.
    pub policies: Vec<Policy>,
    /// Their items.
    pub items: Vec<CapturedItem>,
    /// Restore point collections with their points.
    pub collections: Vec<SizedCollection>,
    /// Locks at every scope.
    pub locks: Vec<Lock>,
    /// Key vaults of encrypted VMs.
    pub key_vaults: Vec<KeyVaultFacts>,
    /// What the caller may do, by scope; empty when it is everything.
    pub permissions: Vec<(ResourceId, Vec<Permission>)>,
    /// Deny assignments.
    pub denies: Vec<DenyAssignment>,
    /// What could not be read.
    pub not_read: Vec<Unread>,
    /// What is not in the estate although it was read.
    pub left_out: Vec<LeftOut>,
    /// Whether the names were taken out.
    pub anonymized: bool,
}

impl Captured {
    fn leave_out(&mut self, what: &str, which: &str) {
        self.left_out.push(LeftOut { what: what.to_owned(), which: which.to_owned() });
    }
}
