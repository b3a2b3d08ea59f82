//! Whether a copy of restore points to another region is under way (`s8.recovery-session`).
//!
//! Azure says so only in the instance view of a point's own GET: a collection never carries it, however it is read. So who
//! deletes a collection reads each of its points by itself. On which side of a copy Azure reports it is not verified (the
//! .NET documentation of `DiskRestorePointData` says: on the target's), so the points that were made as copies of these are
//! read too, where the facts know their collections.

use futures::StreamExt;

use crate::actions::change::Override;
use crate::actions::rules::{Ground, points as rule};
use crate::actions::{Check, Context};
use crate::arm::id::ResourceId;
use crate::arm::model::{Collection, Point};
use crate::arm::{Arm, ArmError};

/// Readings out at once.
const AT_ONCE: usize = 8;

/// That no copy of these points is under way, each read by itself now.
///
/// # Errors
/// What to do instead of sending the request.
pub(super) async fn finished(cx: &Context<'_>, ground: &Ground<'_>, points: &[Point]) -> Result<(), Check> {
    if ground.overrides.contains(&Override::RecoverySession) {
        return Ok(());
    }
    let ids = points.iter().chain(made_of(ground, points)).map(|point| point.id.clone()).collect();
    for (id, read) in each(cx.arm, ids).await {
        match read {
            Ok(point) => rule::state_guards(ground, &point).map_err(Check::Refuse)?,
            // It went meanwhile: the next reading of its collection settles what that means.
            Err(error) if cx.arm.proves_absence(&error, &id).await => {}
            Err(error) => return Err(Check::Unreadable(error)),
        }
    }
    Ok(())
}

/// The points that were made as copies of these, in collections that the facts know.
fn made_of<'a>(ground: &Ground<'a>, points: &'a [Point]) -> impl Iterator<Item = &'a Point> {
    let facts = ground.facts;
    let groups = facts.groups.known().into_iter().flatten();
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
