//! Whether a copy of restore points to another region is under way (`s8.recovery-session`).
//!
//! Azure says so only in the instance view of a point's own GET: a collection never carries it, however it is read. So what
//! a plan would delete is read point by point before the plan is made, and again before the request: with the deletion of
//! a point its own reading is at hand, with that of a collection each point costs one, unless the facts have it fresh.
//! On which side of a copy Azure reports it is not verified (the .NET documentation of `DiskRestorePointData` says: on the
//! target's), so the points that were made as copies of these are read too, where the facts know their collections.

use std::collections::BTreeSet;

use futures::StreamExt;

use crate::actions::change::Override;
use crate::actions::outcome::Refusal;
use crate::actions::planning::{PlanContext, PlanReads};
use crate::actions::rules::{RuleInput, points as rule};
use crate::actions::{ChangeKind, Check, Context, FactsNeeded};
use crate::arm::id::ResourceId;
use crate::arm::model::{Collection, CopyState, Point};
use crate::arm::{Arm, ArmError};
use crate::clock::elapsed;
use crate::facts::vm_facts::{Part, VmFacts};

/// Readings out at once.
const AT_ONCE: usize = 8;

// Before the request.

/// That no copy of these points is under way, each read by itself.
///
/// # Errors
/// What to do instead of sending the request.
pub(super) async fn finished(cx: &Context<'_>, input: &RuleInput<'_>, points: &[Point]) -> Result<(), Check> {
    if input.overrides.contains(&Override::RecoverySession) {
        return Ok(());
    }
    let mut ids = Vec::new();
    for point in points.iter().chain(made_of(input, points)) {
        match fresh(cx, point) {
            Some(read) => rule::copy_guard(input, read).map_err(Check::Refuse)?,
            None => ids.push(point.id.clone()),
        }
    }
    for (id, read) in each(cx.arm, ids).await {
        match read {
            Ok(point) => rule::copy_guard(input, &point).map_err(Check::Refuse)?,
            // It went meanwhile: the next reading of its collection settles what that means.
            Err(error) if cx.arm.proves_absence(&error, &id).await => {}
            Err(error) => return Err(Check::Unreadable(error)),
        }
    }
    Ok(())
}

/// The point's own reading, where the facts have it from just now.
fn fresh<'a>(cx: &Context<'a>, point: &Point) -> Option<&'a Point> {
    let at = cx.facts.collections.read_at()?;
    if elapsed(at, cx.arm.clock().now()) >= FactsNeeded::FRESH {
        return None;
    }
    let mut known = cx.facts.collections().flat_map(Collection::points);
    known.find(|known| super::same_point(known, point) && known.copy_state() != CopyState::Unread)
}

/// The points that were made as copies of these, in collections that the facts know.
fn made_of<'a>(input: &RuleInput<'a>, points: &'a [Point]) -> impl Iterator<Item = &'a Point> {
    let groups = input.facts.groups.known().into_iter().flatten();
    let collections = groups.filter_map(|group| group.collections.known()).flatten();
    collections.flat_map(Collection::points).filter(move |copy| {
        ResourceId::parse(&copy.copied_from).is_ok_and(|source| points.iter().any(|point| point.id == source))
    })
}

/// Reads each of these points by itself.
async fn each(arm: &Arm, ids: Vec<ResourceId>) -> Vec<(ResourceId, Result<Point, ArmError>)> {
    let reads = ids.into_iter().map(async |id: ResourceId| {
        let read = arm.point(&id).await;
        (id, read)
    });
    futures::stream::iter(reads).buffered(AT_ONCE).collect().await
}

// In the plan.

/// The points that would go by these changes and that were not read by themselves yet. A point that goes alone is read by itself
/// just before its request in any case: in the plan it is only where the facts know a copy of its collection.
#[must_use]
pub fn to_read<'a>(
    changes: impl IntoIterator<Item = &'a ChangeKind>,
    facts: &VmFacts,
    reads: &PlanReads,
) -> BTreeSet<ResourceId> {
    let copied = |point: &Point| {
        let parent = point.id.up_to("restorePointCollections");
        facts.collections().any(|one| ResourceId::parse(&one.source).ok() == parent)
    };
    let points = changes.into_iter().flat_map(|what| match what {
        ChangeKind::DeletePoint(change) if copied(&change.point) => std::slice::from_ref(&change.point),
        ChangeKind::DeleteCollection(change) => change.collection.points(),
        _ => &[],
    });
    points
        .filter(|point| point.copy_state() == CopyState::Unread && !reads.unread_copies.contains(&point.id))
        .map(|point| point.id.clone())
        .collect()
}

/// Reads these points by themselves: into the facts, or, where that fails, among what could not be read.
pub async fn read(arm: &Arm, ids: BTreeSet<ResourceId>, facts: &mut VmFacts, reads: &mut PlanReads) {
    for (id, read) in each(arm, ids.into_iter().collect()).await {
        let told = read.ok().filter(|point| point.copy_state() != CopyState::Unread);
        let mut known = false;
        for slot in everywhere(facts).filter(|known| known.id == id) {
            if let Some(point) = told.as_ref().filter(|point| super::same_point(slot, point)) {
                point.clone_into(slot);
                known = true;
            }
        }
        if !known {
            reads.unread_copies.insert(id);
        }
    }
}

/// Every point of the facts: the same collection may be there by the VM and by its group.
fn everywhere(facts: &mut VmFacts) -> impl Iterator<Item = &mut Point> {
    fn value<T>(part: &mut Part<Vec<T>>) -> &mut [T] {
        match part {
            Part::Known { value, .. } => value,
            _ => &mut [],
        }
    }
    let by_group = value(&mut facts.groups).iter_mut().flat_map(|group| value(&mut group.collections));
    let all = value(&mut facts.collections).iter_mut().chain(by_group);
    all.filter_map(|one| one.points.as_mut()).flatten()
}

/// Why these points are kept, when one of them could not be read by itself.
pub(super) fn unread(cx: &PlanContext<'_>, points: &[Point]) -> Option<Refusal> {
    let point = points.iter().find(|point| cx.reads.unread_copies.contains(&point.id))?;
    rule::copy_guard(&cx.input, point).err()
}
