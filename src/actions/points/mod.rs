//! `restore_points.delete_stale` and `restore_points.delete_collection`: deletes what is proven superfluous.
//!
//! What may go is decided by `rules::stale` and `rules::points`, in the plan and again before every request. A
//! collection's deletion is known to time out on CRP without a documented error code, so it is driven by progress: gone
//! is done, fewer points is another request and never a failed one, unchanged twice is point by point with the oldest first,
//! and a point that is not in the plan stops it. What gets nowhere is bounded by [`patience`].

mod collection;
mod copies;
mod patience;
mod point;
mod stale;
mod whole;

use std::time::Duration;

use serde_json::json;

use super::change::{ChangeKind, Undo};
use super::outcome::Refusal;
use super::permission::{Place, Right};
use super::planning::{PlanContext, StepDraft};
use super::rules::{RuleInput, locks as locks_rule, points as rule};
use super::{Context, FactsNeeded, History};
use crate::arm::model::{Collection, Point};
use crate::clock::elapsed;
use crate::facts::vm_facts::{Part, VmFacts};
use crate::text::shell_quote;

pub use collection::DeleteCollection;
pub use copies::{read as read_copies, to_read as copies_to_read};
pub use point::DeletePoint;
pub use stale::{DeleteStale, StaleKind, StaleUntil};
pub use whole::DeleteWhole;

/// Deletes a collection.
const DELETE_COLLECTION: Right = Right::change(
    "Microsoft.Compute/restorePointCollections/delete",
    Place::BackupGroups,
    "deletes orphaned and superseded collections",
    "such collections are kept; single expired points are still deleted",
);
/// Deletes a point.
const DELETE_POINT: Right = Right::change(
    "Microsoft.Compute/restorePointCollections/restorePoints/delete",
    Place::BackupGroups,
    "deletes single expired points, and those of a collection that is not deleted as a whole",
    "single points are kept; orphaned and superseded collections are still deleted",
);
/// What a deletion changes in the condition view. The newest points stay, unless a rule was switched off.
const WRITES: &[&str] = &[
    "points.count",
    "points.failed",
    "points.collections",
    "points.expired",
    "points.superseded",
    "points.orphaned",
    "points.newest_hours_ago",
    "locks",
];

/// A deleted point is gone.
fn irreversible() -> Undo {
    Undo::Irreversible { reason: "a deleted restore point cannot be recovered".to_owned() }
}

/// What the guards of a deletion look at.
const FACTS: FactsNeeded = FactsNeeded { collections: true, items: true, ..FactsNeeded::VM };

/// Takes points out of the facts, and collections of which nothing is left.
fn forget(facts: &mut VmFacts, gone: impl Fn(&Point) -> bool) {
    if let Part::Known { value, .. } = &mut facts.collections {
        for collection in value.iter_mut() {
            if let Some(points) = &mut collection.points {
                points.retain(|point| !gone(point));
            }
        }
        value.retain(|collection| collection.points.as_ref().is_none_or(|points| !points.is_empty()));
    }
}

/// Deletions under a lock that stays would only be refused by Azure: they are left out, and reported.
fn without_locked(cx: &PlanContext<'_>, mut draft: StepDraft) -> StepDraft {
    let locks = cx.input.facts.locks.known().map(Vec::as_slice).unwrap_or_default();
    let over = |what: &ChangeKind| {
        locks.iter().find(|lock| {
            let scope = lock.scope();
            let within = matches!(what, ChangeKind::DeleteCollection(_)) && what.resource().covers(&scope);
            within || scope.covers(what.resource())
        })
    };
    let (locked, free): (Vec<_>, Vec<_>) = draft.changes.into_iter().partition(|(what, _)| over(what).is_some());
    draft.changes = free;
    if let Some((first, _)) = locked.first()
        && let Some(lock) = over(first)
    {
        let place = first.resource().short_name();
        let why = format!("{place} is under the {} lock {}, which is not removed before", lock.level, lock.id.name());
        let refusal = Refusal::new("s5.locked", why);
        let refusal = match locks_rule::may_remove(&cx.input, lock, cx.named_locks) {
            Ok(()) => {
                let vm = shell_quote(cx.input.facts.id.as_str());
                refusal.hint(format!("remove the lock first: azmend fix unlock-backup-groups --vm {vm}"))
            }
            Err(_) => locks_rule::with_command(refusal, lock),
        };
        draft.kept.push((locked.iter().map(|(what, _)| what.weight()).sum(), refusal));
    }
    draft
}

/// S8 for a set of points that would all go.
fn live_guards(input: &RuleInput<'_>, points: &[Point]) -> Result<(), Vec<Refusal>> {
    rule::vm_guards(input)?;
    let vault_copies = rule::vault_copies(input.facts);
    let newest = rule::two_newest(input.facts);
    let mut refusals: Vec<Refusal> = Vec::new();
    for point in points {
        if let Err(refusal) = rule::point_guards(input, point, &vault_copies, &newest)
            && !refusals.iter().any(|seen| seen.rule == refusal.rule)
        {
            refusals.push(refusal);
        }
    }
    if refusals.is_empty() { Ok(()) } else { Err(refusals) }
}

/// Whether two readings show the same point: id and time of creation.
fn same_point(planned: &Point, now: &Point) -> bool {
    planned.id == now.id && planned.created == now.created
}

/// The facts with this collection as it was read just now, so that the rules count today's points.
fn with_collection(cx: &Context<'_>, collection: &Collection) -> VmFacts {
    let mut facts = cx.facts.clone();
    if let Part::Known { value, .. } = &mut facts.collections {
        if let Some(slot) = value.iter_mut().find(|known| known.id == collection.id) {
            *slot = collection.clone();
        } else {
            value.push(collection.clone());
        }
    }
    facts
}

fn first(refusals: Vec<Refusal>) -> Refusal {
    refusals.into_iter().next().unwrap_or_else(|| Refusal::new("s8.unread", "not read"))
}

/// How long ago the last request left.
fn since(cx: &Context<'_>, history: &History) -> Duration {
    history.attempts.last().map_or(Duration::ZERO, |attempt| elapsed(attempt.at, cx.arm.clock().now()))
}

fn point_image(point: &Point) -> serde_json::Value {
    json!({ "id": point.id, "created": point.created, "state": point.provisioning_state })
}

fn collection_image(collection: &Collection) -> serde_json::Value {
    json!({
        "id": collection.id,
        "restorePointCollectionId": collection.collection_id,
        "source": collection.source,
        "remaining": collection.points().len(),
        "points": collection.points().iter().map(point_image).collect::<Vec<_>>(),
    })
}
