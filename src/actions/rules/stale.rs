//! What is stale: orphaned collections, superseded collections, expired points; and what is kept, by which rule.
//!
//! Deterministic: the same facts give the same lists in the same order (oldest first).

use std::collections::BTreeMap;
use std::time::Duration;

use super::{RuleInput, orphan, ownership, points};
use crate::actions::change::{DeleteReason, Refusal};
use crate::arm::model::{Collection, Point};
use crate::clock::elapsed;
use crate::facts::vm_facts::VmFacts;

/// What Azure may take longer than the policy's retention to clean up: a point is expired only after this much more.
///
/// Azure's garbage collection runs within 24 hours of expiry (instant restore documentation); twice that is allowed.
pub const GRACE: Duration = Duration::from_secs(48 * 3600);

/// A collection that may be deleted as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaleCollection {
    /// The collection.
    pub collection: Collection,
    /// Orphan or superseded.
    pub why: DeleteReason,
}

/// An expired point that may be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpiredPoint {
    /// The point.
    pub point: Point,
    /// `restorePointCollectionId` of its collection.
    pub collection_id: String,
}

/// What is stale, and what only looks so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stale {
    /// Orphaned and superseded collections.
    pub collections: Vec<StaleCollection>,
    /// Expired points of the other collections, oldest first.
    pub points: Vec<ExpiredPoint>,
    /// Points older than their retention that are kept, counted by the rule that keeps them.
    pub kept: BTreeMap<String, Kept>,
    /// Collections that look orphaned or foreign and are only reported.
    pub reported: Vec<Refusal>,
    /// Every point of the VM that is older than its retention plus the grace, deletable or not.
    pub expired_count: usize,
}

/// Points kept by one rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// How many.
    pub count: usize,
    /// The rule's reason for the first of them.
    pub example: Refusal,
}

/// The snapshot retention of the VM's policy plus [`GRACE`]; `None` when it is not known.
#[must_use]
pub fn expiry(facts: &VmFacts) -> Option<Duration> {
    let days = facts.items.known()?.iter().filter_map(|i| i.policy.known()).map(|p| p.snapshot_days()).max()?;
    let days = u64::try_from(days).ok()?;
    Duration::from_secs(days.checked_mul(86_400)?).checked_add(GRACE)
}

/// Sorts the VM's collections and points into stale and kept.
#[must_use]
pub fn find(input: &RuleInput<'_>) -> Stale {
    let mut stale = Stale::default();
    let facts = input.facts;
    let guards = points::vm_guards(input);
    let vault_copies = points::vault_copies(facts);
    let newest = points::two_newest(facts);
    let expiry = expiry(facts);
    let expired = |point: &Point| match (point.created, expiry) {
        (Some(created), Some(expiry)) => elapsed(created, input.now) > expiry,
        _ => false,
    };
    for collection in facts.collections() {
        if let Err(refusal) = ownership::backup_owned(input, collection) {
            stale.reported.push(refusal);
            continue;
        }
        if facts.vm.known().is_none() {
            match orphan::orphan(input, collection) {
                Ok(()) => {
                    stale
                        .collections
                        .push(StaleCollection { collection: collection.clone(), why: DeleteReason::Orphan });
                }
                Err(refusal) => stale.reported.push(refusal),
            }
            continue;
        }
        if orphan::same_name(input, collection) {
            stale.reported.extend(orphan::orphan(input, collection).err());
            continue;
        }
        let expired_points: Vec<&Point> = collection.points().iter().filter(|point| expired(point)).collect();
        stale.expired_count += expired_points.len();
        if expired_points.is_empty() {
            continue;
        }
        // A rule that speaks against the VM as a whole keeps every point of it.
        let verdicts: Vec<(&Point, Result<(), Refusal>)> = expired_points
            .iter()
            .map(|point| {
                let verdict = match &guards {
                    Ok(()) => points::point_guards(input, point, &vault_copies, &newest),
                    Err(refusals) => {
                        Err(refusals.first().cloned().unwrap_or_else(|| Refusal::new("s8.unread", "not read")))
                    }
                };
                (*point, verdict)
            })
            .collect();
        let all = verdicts.len() == collection.points().len() && verdicts.iter().all(|(_, v)| v.is_ok());
        if all && superseded(input, collection) {
            stale.collections.push(StaleCollection { collection: collection.clone(), why: DeleteReason::Superseded });
            continue;
        }
        for (point, verdict) in verdicts {
            match verdict {
                Ok(()) => stale
                    .points
                    .push(ExpiredPoint { point: point.clone(), collection_id: collection.collection_id.clone() }),
                Err(refusal) => {
                    stale
                        .kept
                        .entry(refusal.rule.clone())
                        .and_modify(|kept| kept.count += 1)
                        .or_insert(Kept { count: 1, example: refusal });
                }
            }
        }
    }
    stale.points.sort_by_key(|expired| expired.point.created);
    stale
}

/// A newer Backup-owned collection of the same VM exists: proven to be of the same VM by the `vmId` of all points.
fn superseded(input: &RuleInput<'_>, collection: &Collection) -> bool {
    let Some(vm) = input.facts.vm.known() else { return false };
    let of_this_vm = |c: &Collection| {
        !vm.vm_id.is_empty() && c.points().iter().all(|point| point.vm_id.eq_ignore_ascii_case(&vm.vm_id))
    };
    if !of_this_vm(collection) {
        return false;
    }
    let newest_of = |c: &Collection| c.points().iter().filter_map(|p| p.created).max();
    let Some(mine) = newest_of(collection) else { return false };
    input
        .facts
        .collections()
        .filter(|other| other.id != collection.id && of_this_vm(other))
        .filter(|other| ownership::backup_owned(input, other).is_ok())
        .any(|other| {
            newest_of(other).is_some_and(|newest| newest > mine) && other.points().iter().any(Point::succeeded)
        })
}

/// The counts for the condition view.
#[must_use]
pub fn counts(input: &RuleInput<'_>) -> crate::facts::derive::StaleCounts {
    let stale = find(input);
    let points = |why: DeleteReason| {
        let found = stale.collections.iter().filter(|found| found.why == why);
        count(found.map(|found| found.collection.points().len()).sum())
    };
    crate::facts::derive::StaleCounts {
        expired: count(stale.expired_count),
        superseded: points(DeleteReason::Superseded),
        orphaned: points(DeleteReason::Orphan),
    }
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
