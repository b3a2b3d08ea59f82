//! `restore_points.delete_stale` and `restore_points.delete_collection`: deletes what is proven superfluous.
//!
//! What may go is decided by `rules::stale` and `rules::points`, in the plan and again before every request. A
//! collection's deletion is known to time out on CRP without a documented error code, so it is driven by progress: gone
//! is done, fewer points is another try, unchanged twice is point by point with the oldest first, and a point that is
//! not in the plan stops it.

use std::time::Duration;

use serde_json::json;

use super::change::{Change, ChangeKind, DeleteReason, Failure, Refusal};
use super::rules::{Ground, orphan, ownership, points as rule, stale};
use super::spec::{DeleteStale, StaleKind, StaleUntil};
use super::{Check, Context, History, Request, Verify};
use crate::arm::ErrorClass;
use crate::arm::model::{Collection, Point};
use crate::clock::elapsed;
use crate::text::plural;

/// While Azure is deleting.
const BUSY: Duration = Duration::from_secs(15);
/// How long `Deleting` may last before it is not waited for any more.
const BUSY_PATIENCE: Duration = Duration::from_secs(30 * 60);
/// Tries on the collection as a whole.
const COLLECTION_TRIES: usize = 8;
/// Tries on one point.
const POINT_TRIES: usize = 5;

/// What the plan says about points.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PointPlan {
    /// What goes.
    pub changes: Vec<Change>,
    /// What stays: how many, and the rule.
    pub kept: Vec<(usize, Refusal)>,
    /// What the user should know.
    pub notes: Vec<String>,
}

/// Plans `delete_stale`: collections first, then expired points, oldest first, until there is room (or all of them).
///
/// `count` and `limit` are the succeeded points of the VM and its limit, where known.
#[must_use]
pub fn plan_stale(ground: &Ground<'_>, step: &str, spec: &DeleteStale, room: Option<(usize, usize)>) -> PointPlan {
    let stale = stale::find(ground);
    let wanted = |kind: StaleKind| spec.kinds.contains(&kind);
    let mut out = PointPlan::default();
    if let Some(why) = ground.facts.collections.unread() {
        out.notes.push(format!("the restore point collections were not read: {why}"));
    }
    // Points that must go so that the backup of this run fits and the next scheduled one after it. `None`: all of them.
    let mut excess = match (spec.until, room) {
        (StaleUntil::All, _) => None,
        (StaleUntil::Room, Some((count, limit))) => Some((count + 2).saturating_sub(limit)),
        (StaleUntil::Room, None) => {
            out.notes.push("the limit of points is not known, so no expired point is deleted".to_owned());
            Some(0)
        }
    };
    for found in &stale.collections {
        let kind = if found.why == DeleteReason::Orphan { StaleKind::Orphan } else { StaleKind::Superseded };
        if !wanted(kind) {
            continue;
        }
        let points = found.collection.points().len();
        let why = match found.why {
            DeleteReason::Orphan => "its VM is gone and no vault knows it",
            _ => "a newer collection exists and the vault has a copy of every point",
        };
        let effect = format!(
            "delete the collection {} with {}: {why}",
            found.collection.id.short_name(),
            plural(points, "point")
        );
        let what = ChangeKind::DeleteCollection { collection: found.collection.clone(), why: found.why };
        out.changes.push(Change::new(step, out.changes.len() + 1, what, effect));
        let gone = found.collection.points().iter().filter(|point| point.succeeded()).count();
        excess = excess.map(|excess| excess.saturating_sub(gone));
    }
    let mut left = 0;
    if wanted(StaleKind::Expired) {
        for expired in &stale.points {
            if excess == Some(0) {
                left += 1;
                continue;
            }
            excess = excess.map(|excess| excess.saturating_sub(1));
            let created = expired.point.created.map(|t| t.to_string()).unwrap_or_default();
            let effect =
                format!("delete the expired point {} of {created}; the vault has a copy", expired.point.id.name());
            let what =
                ChangeKind::DeletePoint { point: expired.point.clone(), collection_id: expired.collection_id.clone() };
            out.changes.push(Change::new(step, out.changes.len() + 1, what, effect));
        }
    }
    if left > 0 {
        out.notes.push(format!("{} more could go and stay: there is room without that", plural(left, "expired point")));
    }
    if let Some(excess) = excess.filter(|excess| *excess > 0) {
        let missing = plural(excess, "point");
        out.notes.push(format!("after this the VM is still {missing} over what leaves room for the next backup"));
    }
    out.kept = stale.kept.into_values().map(|kept| (kept.count, kept.example)).collect();
    out.kept.extend(stale.reported.into_iter().map(|refusal| (0, refusal)));
    out
}

/// Plans `delete_collection`: every Backup-owned collection of the VM, live points included. The rules refuse that
/// unless the user overrode them by name.
#[must_use]
pub fn plan_collections(ground: &Ground<'_>, step: &str) -> PointPlan {
    let mut out = PointPlan::default();
    for collection in ground.facts.collections() {
        let verdict = ownership::backup_owned(ground, collection)
            .map_err(|refusal| vec![refusal])
            .and_then(|()| live_guards(ground, collection.points()));
        match verdict {
            Ok(()) => {
                let points = plural(collection.points().len(), "point");
                let effect = format!("delete the whole collection {} with {points}", collection.id.short_name());
                let what = ChangeKind::DeleteCollection { collection: collection.clone(), why: DeleteReason::Chosen };
                out.changes.push(Change::new(step, out.changes.len() + 1, what, effect));
            }
            Err(refusals) => out.kept.extend(refusals.into_iter().map(|refusal| (collection.points().len(), refusal))),
        }
    }
    out
}

/// S8 for a set of points that would all go.
fn live_guards(ground: &Ground<'_>, points: &[Point]) -> Result<(), Vec<Refusal>> {
    rule::vm_guards(ground)?;
    let twins = rule::twins(ground.facts);
    let newest = rule::two_newest(ground.facts);
    let mut refusals: Vec<Refusal> = Vec::new();
    for point in points {
        if let Err(refusal) = rule::point_guards(ground, point, &twins, &newest)
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

/// Re-reads the point, then its collection's identity, then S7 and S8.
pub async fn check_point(cx: &Context<'_>, planned: &Point, collection_id: &str, history: &History) -> Check {
    let now = match cx.arm.point(&planned.id).await {
        Ok(point) => point,
        Err(error) if error.class() == ErrorClass::NotFound => {
            return Check::Holds("the point is gone (404)".to_owned());
        }
        Err(error) => return Check::Unreadable(error),
    };
    let name = planned.id.name();
    if !same_point(planned, &now) {
        return Check::Refuse(Refusal::new("s3.changed", format!("{name} is another point than the one in the plan")));
    }
    if now.deleting() {
        return busy(cx, history, name);
    }
    let Some(parent) = planned.id.up_to("restorePointCollections") else {
        return Check::Refuse(Refusal::new("s3.changed", format!("{name} names no collection")));
    };
    let collection = match cx.arm.collection(&parent).await {
        Ok(collection) => collection,
        Err(error) if error.class() == ErrorClass::NotFound => {
            return Check::Holds("the whole collection is gone (404)".to_owned());
        }
        Err(error) => return Check::Unreadable(error),
    };
    if collection.collection_id != collection_id {
        let why = format!("the collection {} was recreated under the same name", parent.name());
        return Check::Refuse(Refusal::new("s3.recreated", why));
    }
    let facts = with_collection(cx, &collection);
    let ground = Ground { facts: &facts, ..cx.ground() };
    if let Err(refusal) = ownership::backup_owned(&ground, &collection) {
        return Check::Refuse(refusal);
    }
    if let Some(expiry) = stale::expiry(&facts) {
        let old = now.created.is_some_and(|created| elapsed(created, ground.now) > expiry);
        if !old {
            let why = format!("{name} is not expired under the policy as it is now");
            return Check::Refuse(Refusal::new("s8.not-expired", why));
        }
    } else {
        return Check::Refuse(Refusal::new("s8.unread", "the policy was not read, so nothing is expired"));
    }
    if let Err(refusals) = live_guards(&ground, std::slice::from_ref(&now)) {
        return Check::Refuse(first(refusals));
    }
    if history.attempts.len() >= POINT_TRIES {
        return Check::GiveUp(Failure::new("", format!("{name} is still there after {POINT_TRIES} tries")));
    }
    Check::Go(Request { verb: super::Verb::Delete, target: planned.id.clone(), before: point_image(&now) })
}

/// The facts with this collection as it was read just now, so that the rules count today's points.
fn with_collection(cx: &Context<'_>, collection: &Collection) -> crate::estate::facts::VmFacts {
    let mut facts = cx.facts.clone();
    if let crate::estate::facts::Part::Known { value, .. } = &mut facts.collections {
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

fn busy(cx: &Context<'_>, history: &History, name: &str) -> Check {
    let since = history.attempts.last().map_or(Duration::ZERO, |a| elapsed(a.at, cx.arm.clock().now()));
    if since > BUSY_PATIENCE {
        let minutes = BUSY_PATIENCE.as_secs() / 60;
        return Check::Unknown(format!("Azure has been deleting {name} for more than {minutes} minutes"));
    }
    Check::Wait { why: format!("Azure is deleting {name}"), wait: BUSY }
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

/// Re-reads the collection: same identity, no point that is not in the plan, the rules; then the next request.
pub async fn check_collection(cx: &Context<'_>, planned: &Collection, why: DeleteReason, history: &History) -> Check {
    let now = match cx.arm.collection(&planned.id).await {
        Ok(collection) => collection,
        Err(error) if error.class() == ErrorClass::NotFound => {
            return Check::Holds("the collection is gone (404)".to_owned());
        }
        Err(error) => return Check::Unreadable(error),
    };
    let name = planned.id.name();
    if now.collection_id != planned.collection_id {
        return Check::Refuse(Refusal::new("s3.recreated", format!("{name} was recreated under the same name")));
    }
    if !now.source.eq_ignore_ascii_case(&planned.source) {
        return Check::Refuse(Refusal::new("s3.changed", format!("{name} has another source than in the plan")));
    }
    for point in now.points() {
        if !planned.points().iter().any(|known| same_point(known, point)) {
            let why = format!("{name} holds the point {}, which is not in the plan", point.id.name());
            return Check::Refuse(Refusal::new("s3.new-point", why).hint("run azmend again for a new plan"));
        }
    }
    if now.provisioning_state.eq_ignore_ascii_case("Deleting") || now.points().iter().any(Point::deleting) {
        return busy(cx, history, name);
    }
    let facts = with_collection(cx, &now);
    let ground = Ground { facts: &facts, ..cx.ground() };
    if let Err(refusal) = guards_for(&ground, &now, why, history) {
        return Check::Refuse(refusal);
    }
    next_request(&now, history)
}

fn guards_for(ground: &Ground<'_>, now: &Collection, why: DeleteReason, history: &History) -> Result<(), Refusal> {
    // Emptied by an earlier attempt of this very change: its identity is proven, no point is left to guard.
    if now.points().is_empty() && !history.attempts.is_empty() {
        return Ok(());
    }
    ownership::backup_owned(ground, now)?;
    match why {
        DeleteReason::Orphan => orphan::orphan(ground, now),
        DeleteReason::Superseded => {
            live_guards(ground, now.points()).map_err(first)?;
            let found = stale::find(ground);
            if found.collections.iter().any(|stale| stale.collection.id == now.id) {
                Ok(())
            } else {
                Err(Refusal::new("s8.not-superseded", format!("{} is no longer superseded", now.id.name())))
            }
        }
        DeleteReason::Expired | DeleteReason::Chosen => live_guards(ground, now.points()).map_err(first),
    }
}

/// By progress: the collection as a whole while it gets smaller, then point by point, oldest first.
fn next_request(now: &Collection, history: &History) -> Check {
    let name = now.id.name();
    let left = now.points().len();
    let on_points = history.attempts.iter().filter(|attempt| attempt.target != now.id).count();
    let on_collection = history.attempts.len() - on_points;
    let unchanged = history
        .attempts
        .iter()
        .rev()
        .take_while(|attempt| attempt.target == now.id && attempt.remaining == Some(left))
        .count();
    let by_point = left > 0 && (on_points > 0 || unchanged >= 2 || on_collection >= COLLECTION_TRIES);
    if !by_point {
        if on_collection >= COLLECTION_TRIES * 2 {
            let why = format!("{name} is still there after {on_collection} tries, with {}", plural(left, "point"));
            return Check::GiveUp(Failure::new("", why));
        }
        return Check::Go(Request { verb: super::Verb::Delete, target: now.id.clone(), before: collection_image(now) });
    }
    let mut points: Vec<&Point> = now.points().iter().collect();
    points.sort_by_key(|point| point.created);
    let tries = |point: &Point| history.attempts.iter().filter(|attempt| attempt.target == point.id).count();
    match points.into_iter().find(|point| tries(point) < POINT_TRIES) {
        Some(point) => Check::Go(Request { verb: super::Verb::Delete, target: point.id.clone(), before: collection_image(now) }),
        None => {
            let why = format!("{} of {name} could not be deleted", plural(left, "point"));
            Check::GiveUp(
                Failure::new("", why).with_hint("wait an hour and run azmend again; CRP may still be at work"),
            )
        }
    }
}

/// Gone is done; anything left means checking again.
pub async fn verify_collection(cx: &Context<'_>, planned: &Collection, history: &History) -> Verify {
    match cx.arm.collection(&planned.id).await {
        Err(error) if error.class() == ErrorClass::NotFound => {
            Verify::Done(format!("gone (404), with {}", plural(planned.points().len(), "point")))
        }
        Err(error) => Verify::Pending { why: format!("reading the collection: {error}"), wait: BUSY },
        Ok(now)
            if now.provisioning_state.eq_ignore_ascii_case("Deleting") || now.points().iter().any(Point::deleting) =>
        {
            still_deleting(cx, history, planned.id.name())
        }
        Ok(now) => {
            let left = now.points().len();
            let before = history.attempts.last().and_then(|attempt| attempt.remaining);
            let why = match before {
                Some(before) if left < before => format!("{left} of {before} points left"),
                _ => format!("{} left", plural(left, "point")),
            };
            Verify::Again { why, wait: BUSY }
        }
    }
}

/// Gone is done.
pub async fn verify_point(cx: &Context<'_>, planned: &Point, history: &History) -> Verify {
    match cx.arm.point(&planned.id).await {
        Err(error) if error.class() == ErrorClass::NotFound => Verify::Done("gone (404)".to_owned()),
        Err(error) => Verify::Pending { why: format!("reading the point: {error}"), wait: BUSY },
        Ok(now) if now.deleting() => still_deleting(cx, history, planned.id.name()),
        Ok(_) => Verify::Again { why: "the point is still there".to_owned(), wait: BUSY },
    }
}

/// `Deleting` proves nothing yet: it is read again, for a bounded time.
fn still_deleting(cx: &Context<'_>, history: &History, name: &str) -> Verify {
    match busy(cx, history, name) {
        Check::Wait { why, wait } => Verify::Pending { why, wait },
        _ => Verify::Again { why: format!("Azure is still deleting {name}"), wait: BUSY },
    }
}
