//! VMs and whether a vault protects them.

use crate::facts::unread::Unread;
use std::collections::HashMap;

use jiff::Timestamp;
use serde::Serialize;

use super::{Visible, plain, reader, rows, some, vaults_of};
use crate::arm::Arm;
use crate::arm::id::ResourceId;
use crate::arm::model::{Policy, ProtectedItem, Subscription, Vm};
use crate::facts::objective::{Objective, Tally};
use crate::facts::read::{Reader, action, one_line, why};

/// Name and version of the object.
pub const VMS_SCHEMA: &str = "azmend.vms/v1";

/// Whether Azure Backup protects a VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Protected {
    /// An item of a vault is backed up.
    Yes,
    /// Protection was stopped and its data kept, or backups are suspended.
    Stopped,
    /// The item is soft-deleted.
    Deleted,
    /// No vault that can be seen has an item of it.
    No,
    /// A list that could name it was not read, or not completely.
    Unknown,
}

/// One VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VmRow {
    /// Resource id.
    pub id: String,
    /// Name.
    pub name: String,
    /// Resource group.
    pub resource_group: String,
    /// Subscription id.
    pub subscription: String,
    /// Region.
    pub location: String,
    /// Whether it is protected.
    pub protected: Protected,
    /// Why that is not known.
    pub unknown_because: Option<String>,
    /// The vault's resource id.
    pub vault: Option<String>,
    /// The policy's name.
    pub policy: Option<String>,
    /// `protectionState` as Azure says it.
    pub protection_state: Option<String>,
    /// When the last backup was.
    pub last_backup: Option<Timestamp>,
    /// How it ended, as Azure says it.
    pub last_backup_status: Option<String>,
    /// Of a protected VM: its newest recovery point against its policy's schedule.
    pub objective: Option<Objective>,
    /// `healthStatus` as Azure says it.
    pub health: Option<String>,
    /// Symbolic codes of the health details.
    pub health_codes: Vec<String>,
    /// `running`, `deallocated`, ...; null when not read.
    pub power: Option<String>,
}

impl VmRow {
    /// Whether nothing says that the VM is backed up.
    #[must_use]
    pub fn unprotected(&self) -> bool {
        self.protected != Protected::Yes
    }
}

/// A subscription.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SubscriptionRow {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
}

/// The VMs.
#[derive(Debug, Clone, Serialize)]
pub struct VmInventory {
    /// When it was read.
    pub read_at: Timestamp,
    /// The subscriptions that were looked into.
    pub subscriptions: Vec<SubscriptionRow>,
    /// In how many subscriptions vaults were looked for.
    pub vaults_of: usize,
    /// By subscription, resource group and name.
    pub vms: Vec<VmRow>,
    /// The protected VMs of the list by whether their newest recovery point is as new as their policy schedules.
    pub objective: Tally,
    /// What was not read.
    pub not_read: Vec<Unread>,
}

impl VmInventory {
    /// Keeps some of the VMs.
    pub fn retain(&mut self, keep: impl FnMut(&VmRow) -> bool) {
        self.vms.retain(keep);
        self.objective = tally(&self.vms);
    }
}

fn tally(rows: &[VmRow]) -> Tally {
    let mut out = Tally::default();
    rows.iter().filter_map(|row| row.objective.as_ref()).for_each(|objective| out.add(objective.state));
    out
}

struct Listed {
    vms: Vec<Vm>,
    power: HashMap<String, String>,
    not_read: Vec<Unread>,
    /// The resource group that was asked for is not here.
    no_group: bool,
}

/// Items by the VM they name, and why an item may be missing: everywhere, or by region.
#[derive(Default)]
struct Items {
    by_vm: HashMap<String, ProtectedItem>,
    /// Policies by their keys.
    policies: HashMap<String, Policy>,
    everywhere: Option<String>,
    by_location: HashMap<String, String>,
}

impl Items {
    /// Why an item of a VM in this region may be missing. A vault protects VMs of its own region only
    /// (`UserErrorVmVaultLocationMismatch`).
    fn may_lack(&self, location: &str) -> Option<&String> {
        let here = if location.is_empty() {
            self.by_location.values().next()
        } else {
            self.by_location.get(location).or_else(|| self.by_location.get(""))
        };
        self.everywhere.as_ref().or(here)
    }
}

/// Reads the VMs of the chosen subscriptions, of one resource group if that is named. `None` when no subscription has
/// this group. Vaults are looked for in every visible subscription: one may protect a VM of another.
pub async fn vms(arm: &Arm, visible: &Visible, group: Option<&str>) -> Option<VmInventory> {
    let reader = reader(arm);
    let read_at = reader.now();
    let calls = visible.chosen.iter().map(|subscription| list(&reader, subscription, group)).collect();
    let (listed, (items, mut not_read)) = futures::join!(reader.side_by_side(calls), items(&reader, visible));
    if group.is_some() && !listed.is_empty() && listed.iter().all(|one| one.no_group) {
        return None;
    }
    let mut rows = Vec::new();
    let mut before = visible.not_read();
    for one in listed {
        before.extend(one.not_read);
        rows.extend(one.vms.iter().map(|vm| row(vm, &one.power, &items, read_at)));
    }
    before.append(&mut not_read);
    before.extend(ask_unclaimed(&reader, &mut rows).await);
    let name_of = |row: &VmRow| {
        let found = visible.chosen.iter().find(|one| one.id.eq_ignore_ascii_case(&row.subscription));
        found.map(|one| one.name.to_lowercase()).unwrap_or_default()
    };
    rows.sort_by_cached_key(|row| (name_of(row), row.id.to_lowercase()));
    Some(VmInventory {
        read_at,
        subscriptions: visible
            .chosen
            .iter()
            .map(|one| SubscriptionRow { id: one.id.clone(), name: one.name.clone() })
            .collect(),
        vaults_of: visible.all.len(),
        objective: tally(&rows),
        vms: rows,
        not_read: before,
    })
}

/// `backupStatus` knows vaults that cannot be seen: each VM that no item names is asked about.
async fn ask_unclaimed(reader: &Reader<'_>, rows: &mut [VmRow]) -> Option<Unread> {
    let unclaimed = rows.iter_mut().filter(|row| row.protected == Protected::No);
    let calls = unclaimed.filter_map(|row| {
        let id = ResourceId::parse(&row.id).ok()?;
        Some(async move {
            let status = reader.arm.backup_status(&id, &row.location).await;
            (row, status)
        })
    });
    let mut missing = None;
    for (row, status) in reader.side_by_side(calls.collect()).await {
        match status {
            Ok(status) if status.vault_id.is_empty() => {}
            Ok(status) => {
                row.protected = Protected::Yes;
                row.protection_state = some(&status.protection_status);
                row.policy = some(&status.policy);
                row.vault = Some(status.vault_id);
            }
            Err(error) => {
                let what = "whether a vault that cannot be seen protects VMs (backupStatus)".to_owned();
                let one = Unread { what, why: why(&error) };
                row.protected = Protected::Unknown;
                row.unknown_because = Some(format!("{}: {}", one.what, one.why));
                missing.get_or_insert(one);
            }
        }
    }
    missing
}

async fn list(reader: &Reader<'_>, subscription: &Subscription, group: Option<&str>) -> Listed {
    let mut out = Listed { vms: Vec::new(), power: HashMap::new(), not_read: Vec::new(), no_group: false };
    let what = format!("the VMs of the subscription {}", subscription.name);
    let whole = ResourceId::subscription_scope(&subscription.id);
    let scope = group.map_or_else(|| whole.clone(), |group| ResourceId::group(&subscription.id, group));
    let (whole, scope) = match (whole, scope) {
        (Ok(whole), Ok(scope)) => (whole, scope),
        (Err(error), _) | (_, Err(error)) => {
            out.not_read.push(Unread { what, why: one_line(&error) });
            return out;
        }
    };
    if group.is_some() {
        match reader.arm.group(&scope).await {
            Err(error) if reader.arm.proves_absence(&error, &scope).await => {
                out.no_group = true;
                return out;
            }
            // Not to be allowed to read the group itself says nothing about its VMs.
            Ok(_) | Err(_) => {}
        }
    }
    let (vms, missing) = rows(reader, &scope, &[action::VMS], reader.arm.vms(&scope)).await;
    out.not_read.extend(missing.map(|why| Unread { what, why }));
    out.vms = vms;
    if !out.vms.is_empty() {
        // The list itself has no power states. Without this second one they are null, and nothing else is lost.
        match reader.arm.power_states(&whole).await {
            Ok(states) => {
                let known = states.items.into_iter().filter(|one| !one.power.is_empty());
                out.power = known.map(|one| (one.id.key().to_owned(), one.power)).collect();
            }
            Err(error) => {
                let what = format!("the power states of the subscription {}", subscription.name);
                out.not_read.push(Unread { what, why: why(&error) });
            }
        }
    }
    out
}

async fn items(reader: &Reader<'_>, visible: &Visible) -> (Items, Vec<Unread>) {
    let (vaults, mut not_read) = vaults_of(reader, &visible.all).await;
    let mut out = Items::default();
    let first = not_read.iter().chain(&visible.not_read()).next().map(|one| format!("{}: {}", one.what, one.why));
    out.everywhere = first;
    let calls = vaults.iter().map(|vault| async move {
        let items = rows(reader, &vault.id, &[action::ITEMS], reader.arm.protected_items(&vault.id)).await;
        // A vault without items has no schedule to keep.
        let policies = match items.0.is_empty() {
            true => (Vec::new(), None),
            false => rows(reader, &vault.id, &[action::POLICIES], reader.arm.policies(&vault.id)).await,
        };
        (vault, items, policies)
    });
    for (vault, (items, missing), (policies, no_policies)) in reader.side_by_side(calls.collect()).await {
        out.policies.extend(policies.into_iter().map(|policy| (policy.id.key().to_owned(), policy)));
        let lost = no_policies.map(|why| (format!("the backup policies of the vault {}", vault.id.name()), why));
        not_read.extend(lost.map(|(what, why)| Unread { what, why }));
        for item in items {
            let key = ResourceId::parse(&item.source)
                .map_or_else(|_| item.source.trim_matches('/').to_lowercase(), |id| id.key().to_owned());
            let better = out.by_vm.get(&key).is_none_or(|known| state(&item) < state(known));
            if better {
                out.by_vm.insert(key, item);
            }
        }
        if let Some(why) = missing {
            let what = format!("the protected items of the vault {}", vault.id.name());
            out.by_location.entry(plain(&vault.location)).or_insert_with(|| format!("{what}: {why}"));
            not_read.push(Unread { what, why });
        }
    }
    (out, not_read)
}

fn state(item: &ProtectedItem) -> Protected {
    if item.soft_deleted {
        Protected::Deleted
    } else if item.stopped() {
        Protected::Stopped
    } else {
        Protected::Yes
    }
}

fn row(vm: &Vm, power: &HashMap<String, String>, items: &Items, now: Timestamp) -> VmRow {
    let item = items.by_vm.get(vm.id.key());
    let missing = items.may_lack(&plain(&vm.location));
    let (protected, unknown_because) = match (item.map(state), missing) {
        (Some(Protected::Deleted) | None, Some(why)) => (Protected::Unknown, Some(why.clone())),
        (None, None) => (Protected::No, None),
        (Some(state), _) => (state, None),
    };
    let of_item = |get: fn(&ProtectedItem) -> Option<String>| item.and_then(get);
    VmRow {
        id: vm.id.to_string(),
        name: vm.id.name().to_owned(),
        resource_group: vm.id.resource_group().unwrap_or_default().to_owned(),
        subscription: vm.id.subscription().to_owned(),
        location: vm.location.clone(),
        protected,
        unknown_because,
        vault: of_item(|item| item.vault_id().map(|id| id.to_string())),
        policy: of_item(|item| item.policy_id.rsplit('/').next().and_then(some)),
        protection_state: of_item(|item| some(&item.protection_state)),
        last_backup: item.and_then(|item| item.last_backup_time),
        last_backup_status: of_item(|item| some(&item.last_backup_status)),
        objective: item.filter(|_| protected == Protected::Yes).map(|item| {
            let policy = ResourceId::parse(&item.policy_id).ok().and_then(|id| items.policies.get(id.key()));
            Objective::of_item(item, policy, now)
        }),
        health: of_item(|item| some(&item.health)),
        health_codes: item
            .map(|item| item.health_details.iter().filter_map(|detail| some(&detail.title)).collect())
            .unwrap_or_default(),
        power: power.get(vm.id.key()).cloned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_read_concerns_its_region_or_everything() {
        let mut items = Items::default();
        assert_eq!(items.may_lack("westeurope"), None);
        items.by_location.insert("westeurope".into(), "403".into());
        assert!(items.may_lack("westeurope").is_some() && items.may_lack("northeurope").is_none());
        assert!(items.may_lack("").is_some(), "a VM without a region may be in any");
        items.by_location.insert(String::new(), "403".into());
        assert!(items.may_lack("northeurope").is_some(), "a vault without a region may be in any");
    }
}
