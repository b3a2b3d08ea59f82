//! The deletion of a restore point collection with all its points.

use serde::{Deserialize, Serialize};

use super::{
    BUSY, COLLECTION_TRIES, FACTS, POINT_TRIES, busy, collection_image, first, forget, irreversible, live_guards,
};
use super::{same_point, still_deleting, with_collection};
use crate::actions::change::{DeleteReason, Risk, Undo};
use crate::actions::outcome::{Failure, Refusal};
use crate::actions::planning::PlanReads;
use crate::actions::rules::{Ground, orphan, ownership, stale};
use crate::actions::{Check, Context, FactsNeeded, History, Mutation, Request, Verb, Verify};
use crate::arm::id::ResourceId;
use crate::arm::model::{Collection, Point};
use crate::arm::{ArmError, ErrorClass, Sent, Tag};
use crate::estate::facts::VmFacts;
use crate::text::plural;

/// Deletes a restore point collection with all its points.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteCollection {
    /// The collection with its points as read for the plan.
    pub collection: Collection,
    /// Why it may go.
    pub why: DeleteReason,
}

impl Mutation for DeleteCollection {
    const NOUN: &'static str = "restore points deleted";

    fn resource(&self) -> &ResourceId {
        &self.collection.id
    }

    fn undo(&self) -> Undo {
        irreversible()
    }

    fn risk(&self) -> Risk {
        Risk::High
    }

    fn weight(&self) -> usize {
        self.points().max(1)
    }

    fn points(&self) -> usize {
        self.collection.points().len()
    }

    fn facts_needed(&self) -> FactsNeeded {
        match self.why {
            DeleteReason::Orphan => FactsNeeded { everything: true, ..FACTS },
            _ => FACTS,
        }
    }

    fn leave(&self, facts: &mut VmFacts, _: &PlanReads) {
        forget(facts, |point| self.collection.id.covers(&point.id));
    }

    /// Re-reads the collection: same identity, no point that is not in the plan, the rules; then the next request.
    async fn check(&self, cx: &Context<'_>, history: &History) -> Check {
        let planned = &self.collection;
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
        if let Err(refusal) = guards_for(&ground, &now, self.why, history) {
            return Check::Refuse(refusal);
        }
        next_request(&now, history)
    }

    async fn send(&self, cx: &Context<'_>, request: &Request, tag: &Tag) -> Result<Sent, ArmError> {
        if request.target == self.collection.id {
            cx.arm.delete_collection(&request.target, tag).await
        } else {
            cx.arm.delete_point(&request.target, tag).await
        }
    }

    /// Gone is done; anything left means checking again.
    async fn verify(&self, cx: &Context<'_>, history: &History) -> Verify {
        let planned = &self.collection;
        match cx.arm.collection(&planned.id).await {
            Err(error) if error.class() == ErrorClass::NotFound => {
                Verify::Done(format!("gone (404), with {}", plural(planned.points().len(), "point")))
            }
            Err(error) => Verify::Pending { why: format!("reading the collection: {error}"), wait: BUSY },
            Ok(now)
                if now.provisioning_state.eq_ignore_ascii_case("Deleting")
                    || now.points().iter().any(Point::deleting) =>
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
        return Check::Go(Request { verb: Verb::Delete, target: now.id.clone(), before: collection_image(now) });
    }
    let mut points: Vec<&Point> = now.points().iter().collect();
    points.sort_by_key(|point| point.created);
    let tries = |point: &Point| history.attempts.iter().filter(|attempt| attempt.target == point.id).count();
    match points.into_iter().find(|point| tries(point) < POINT_TRIES) {
        Some(point) => {
            Check::Go(Request { verb: Verb::Delete, target: point.id.clone(), before: collection_image(now) })
        }
        None => {
            let why = format!("{} of {name} could not be deleted", plural(left, "point"));
            Check::GiveUp(
                Failure::new("", why).with_hint("wait an hour and run azmend again; CRP may still be at work"),
            )
        }
    }
}
