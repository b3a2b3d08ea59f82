//! The deletion of one restore point.

use serde::{Deserialize, Serialize};

use super::{BUSY, FACTS, POINT_TRIES, busy, first, forget, irreversible, live_guards, point_image, same_point};
use super::{still_deleting, with_collection};
use crate::actions::change::{Risk, Undo};
use crate::actions::outcome::{Failure, Refusal};
use crate::actions::planning::PlanReads;
use crate::actions::rules::{Ground, ownership, stale};
use crate::actions::{Check, Context, FactsNeeded, History, Mutation, Request, Verb, Verify};
use crate::arm::id::ResourceId;
use crate::arm::model::Point;
use crate::arm::{ArmError, ErrorClass, Sent, Tag};
use crate::clock::elapsed;
use crate::estate::facts::VmFacts;

/// Deletes one restore point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletePoint {
    /// The point as read for the plan.
    pub point: Point,
    /// `restorePointCollectionId` of the collection that holds it.
    pub collection_id: String,
}

impl Mutation for DeletePoint {
    const NOUN: &'static str = "restore points deleted";

    fn resource(&self) -> &ResourceId {
        &self.point.id
    }

    fn undo(&self) -> Undo {
        irreversible()
    }

    fn risk(&self) -> Risk {
        Risk::High
    }

    fn points(&self) -> usize {
        1
    }

    fn facts_needed(&self) -> FactsNeeded {
        FACTS
    }

    fn leave(&self, facts: &mut VmFacts, _: &PlanReads) {
        forget(facts, |point| point.id == self.point.id);
    }

    /// Re-reads the point, then its collection's identity, then S7 and S8.
    async fn check(&self, cx: &Context<'_>, history: &History) -> Check {
        let planned = &self.point;
        let now = match cx.arm.point(&planned.id).await {
            Ok(point) => point,
            Err(error) if error.class() == ErrorClass::NotFound => {
                return Check::Holds("the point is gone (404)".to_owned());
            }
            Err(error) => return Check::Unreadable(error),
        };
        let name = planned.id.name();
        if !same_point(planned, &now) {
            return Check::Refuse(Refusal::new(
                "s3.changed",
                format!("{name} is another point than the one in the plan"),
            ));
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
        if collection.collection_id != self.collection_id {
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
        Check::Go(Request { verb: Verb::Delete, target: planned.id.clone(), before: point_image(&now) })
    }

    async fn send(&self, cx: &Context<'_>, request: &Request, tag: &Tag) -> Result<Sent, ArmError> {
        cx.arm.delete_point(&request.target, tag).await
    }

    /// Gone is done.
    async fn verify(&self, cx: &Context<'_>, history: &History) -> Verify {
        let planned = &self.point;
        match cx.arm.point(&planned.id).await {
            Err(error) if error.class() == ErrorClass::NotFound => Verify::Done("gone (404)".to_owned()),
            Err(error) => Verify::Pending { why: format!("reading the point: {error}"), wait: BUSY },
            Ok(now) if now.deleting() => still_deleting(cx, history, planned.id.name()),
            Ok(_) => Verify::Again { why: "the point is still there".to_owned(), wait: BUSY },
        }
    }
}
