//! Lists over many VMs and vaults, for people: which VMs are protected, which jobs ran, which backup engines there are.
//!
//! Duty: few calls, whatever the number of VMs: lists per subscription and per vault, side by side within a bound.
//! Invariants: what cannot be read is a line in `not_read` and spoils nothing else (S12); a VM is `no` only when every
//! list that could have named it was complete, else it is `unknown`; rows that were read are shown even when their list
//! is partial. Order is stable. Must never: ask once per VM, or send anything but reads.

mod engines;
mod jobs;
mod vms;

use crate::facts::unread::Unread;
use std::collections::BTreeMap;
use std::future::Future;

pub use engines::{ENGINES_SCHEMA, EngineInventory, EngineJobRow, EngineRow, engines};
pub use jobs::{JOBS_SCHEMA, JobInventory, JobProblem, JobRow, JobTaskRow, JobsAsked, jobs};
pub use vms::{Protected, SubscriptionRow, VMS_SCHEMA, VmInventory, VmRow, vms};

use super::read::{Reader, action, one_line, why};
use crate::arm::id::ResourceId;
use crate::arm::model::{Subscription, Vault};
use crate::arm::{Arm, ArmError, ErrorClass, Listing};

/// How many calls are out at once.
const CONCURRENCY: usize = 8;

/// The subscriptions that are visible, and those that were asked for.
#[derive(Debug, Clone)]
pub struct Visible {
    /// All.
    pub all: Vec<Subscription>,
    /// The ones to look into.
    pub chosen: Vec<Subscription>,
    /// Subscriptions in the list that could not be understood.
    pub malformed: Vec<String>,
}

impl Visible {
    fn not_read(&self) -> Vec<Unread> {
        let line = |text: &String| Unread { what: "a subscription".into(), why: one_line(text) };
        self.malformed.iter().map(line).collect()
    }
}

/// The rows that could be read, and why they may not be all.
async fn rows<T>(
    reader: &Reader<'_>,
    scope: &ResourceId,
    actions: &[&str],
    call: impl Future<Output = Result<Listing<T>, ArmError>>,
) -> (Vec<T>, Option<String>) {
    let may = reader.may_list(scope, actions).await.err();
    match call.await {
        // The permission that is missing says more than Azure's long sentence about it.
        Err(error) => {
            (Vec::new(), Some(may.filter(|_| error.class() == ErrorClass::Forbidden).unwrap_or_else(|| why(&error))))
        }
        Ok(listing) => {
            let bad = listing.malformed.first().map(|first| {
                one_line(&format!("{} rows could not be understood, the first: {first}", listing.malformed.len()))
            });
            (listing.items, bad.or(may))
        }
    }
}

/// The vaults of these subscriptions in the order of their ids, and where not all of them may be known.
async fn vaults_of(reader: &Reader<'_>, subscriptions: &[Subscription]) -> (Vec<Vault>, Vec<Unread>) {
    let calls = subscriptions.iter().map(|subscription| async move {
        let what = format!("the vaults of the subscription {}", subscription.name);
        match ResourceId::subscription_scope(&subscription.id) {
            Err(error) => (Vec::new(), Some(Unread { what, why: one_line(&error) })),
            Ok(scope) => {
                let (vaults, why) = rows(reader, &scope, &[action::VAULTS], reader.arm.vaults(&subscription.id)).await;
                (vaults, why.map(|why| Unread { what, why }))
            }
        }
    });
    let mut all = BTreeMap::new();
    let mut not_read = Vec::new();
    for (vaults, missing) in reader.side_by_side(calls.collect()).await {
        all.extend(vaults.into_iter().map(|vault| (vault.id.key().to_owned(), vault)));
        not_read.extend(missing);
    }
    (all.into_values().collect(), not_read)
}

/// The vaults that `text` names: a name, `group/name` or a resource id (which needs no list of vaults).
async fn chosen_vaults(
    reader: &Reader<'_>,
    subscriptions: &[Subscription],
    text: Option<&str>,
) -> Result<(Vec<ResourceId>, Vec<Unread>), VaultError> {
    if let Some(text) = text.filter(|text| text.contains("/providers/") || text.starts_with('/')) {
        let id = ResourceId::parse(text).map_err(|error| VaultError::Bad(error.to_string()))?;
        if !id.is_type("Microsoft.RecoveryServices/vaults") {
            return Err(VaultError::Bad(format!("{} is not the id of a vault", id.short_name())));
        }
        return Ok((vec![id], Vec::new()));
    }
    let (vaults, not_read) = vaults_of(reader, subscriptions).await;
    let ids: Vec<ResourceId> = vaults.into_iter().map(|vault| vault.id).collect();
    let Some(text) = text else { return Ok((ids, not_read)) };
    let (group, name) = text.split_once('/').map_or((None, text), |(group, name)| (Some(group), name));
    let same = |id: &&ResourceId| {
        id.name().eq_ignore_ascii_case(name)
            && group.is_none_or(|group| id.resource_group().is_some_and(|own| own.eq_ignore_ascii_case(group)))
    };
    let found: Vec<ResourceId> = ids.iter().filter(same).cloned().collect();
    if found.is_empty() {
        let near =
            crate::spelling::near(name, ids.iter().map(ResourceId::name)).iter().map(|n| (*n).to_owned()).collect();
        let unread = not_read.first().map(|missing| format!("{}: {}", missing.what, missing.why));
        return Err(VaultError::NotFound { near, unread });
    }
    // The vault is known: vaults that could not be listed do not matter any more.
    Ok((found, Vec::new()))
}

/// Why no vault could be chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VaultError {
    /// The text is no name of a vault.
    Bad(String),
    /// No visible vault has this name.
    NotFound {
        /// Names like it.
        near: Vec<String>,
        /// A list in which it could be and that was not read.
        unread: Option<String>,
    },
}

/// One reading for a list.
fn reader(arm: &Arm) -> Reader<'_> {
    Reader::new(arm, CONCURRENCY)
}

/// `West Europe` as `westeurope`.
fn plain(location: &str) -> String {
    location.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_lowercase()
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}
