//! The deletion of one restore point.

use serde::{Deserialize, Serialize};

use super::patience::{self, BUSY};
use super::{FACTS, first, forget, irreversible, live_guards, point_image, same_point, since};
use crate::actions::change::{Risk, Undo};
use crate::actions::outcome::Refusal;
use crate::actions::planning::PlanReads;
use crate::actions::rules::{RuleInput, ownership, points as rule, stale};
use crate::actions::{Attempt, Check, Context, Effect, FactsNeeded, History, Mutation, Request, Verb, Verify};
use crate::arm::id::ResourceId;
use crate::arm::model::{Collection, Point};
use crate::arm::{ArmError, Sent, Tag};
use crate::clock::elapsed;
use crate::facts::vm_facts::VmFacts;

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
        FactsNeeded { since_start: true, ..FACTS }
    }

    fn leave(&self, facts: &mut VmFacts, _: &PlanReads) {
        self.forget(facts);
    }

    /// Re-reads the point: its identity, and whether a copy of it is under way. Then its collection's identity, S7 and S8 on facts
    /// that were read in this run, at most a minute ago.
    async fn check(&self, cx: &Context<'_>, history: &History) -> Check {
        let planned = &self.point;
        let name = planned.id.name();
        let now = match cx.arm.point(&planned.id).await {
            Ok(point) => point,
            Err(error) if cx.arm.proves_absence(&error, &planned.id).await => {
                return Check::Holds("the point is deleted (confirmed)".to_owned());
            }
            Err(error) => return Check::Unreadable(error),
        };
        if !same_point(planned, &now) {
            let why = format!("{name} is another point than the one in the plan");
            return Check::Refuse(Refusal::new("s3.changed", why));
        }
        if now.deleting() {
            return patience::check_deleting(since(cx, history), name);
        }
        let Some(parent) = planned.id.up_to("restorePointCollections") else {
            return Check::Refuse(Refusal::new("s3.changed", format!("{name} names no collection")));
        };
        if let Some(why) = cx.facts.collections.unread() {
            return Check::Refuse(Refusal::new(
                "s8.unread",
                format!("the restore point collections were not read: {why}"),
            ));
        }
        let Some(collection) = cx.facts.collections().find(|one| one.id == parent) else {
            // The point answered a moment ago: both are read again.
            return Check::Wait { why: format!("the collection {} and its point to agree", parent.name()), wait: BUSY };
        };
        if collection.collection_id != self.collection_id {
            let why = format!("the collection {} was recreated under the same name", parent.name());
            return Check::Refuse(Refusal::new("s3.recreated", why));
        }
        let input = cx.input();
        if let Err(refusal) = guards(&input, collection, &now) {
            return Check::Refuse(refusal);
        }
        if let Err(refusal) = rule::copy_guard(&input, &now) {
            return Check::Refuse(refusal);
        }
        let attempts: Vec<&Attempt> = history.attempts.iter().collect();
        patience::check(&attempts, input.now, &format!("the point {name}")).unwrap_or_else(|| {
            Check::Go(Request { verb: Verb::Delete, target: planned.id.clone(), before: point_image(&now) })
        })
    }

    async fn send(&self, cx: &Context<'_>, request: &Request, tag: &Tag) -> Result<Sent, ArmError> {
        cx.arm.delete_point(&request.target, tag).await
    }

    /// Gone is done.
    async fn verify(&self, cx: &Context<'_>, history: &History) -> Verify {
        let id = &self.point.id;
        match cx.arm.point(id).await {
            Err(error) if cx.arm.proves_absence(&error, id).await => Verify::Done("deleted (confirmed)".to_owned()),
            Err(error) => Verify::Pending { why: format!("reading the point: {error}"), wait: BUSY },
            Ok(now) if now.deleting() => patience::deleting(since(cx, history), id.name()),
            Ok(_) => patience::unchanged(since(cx, history), &format!("the point {}", id.name())),
        }
    }

    async fn effect(&self, cx: &Context<'_>, history: &History) -> Effect {
        if history.attempts.is_empty() {
            return Effect::None;
        }
        match cx.arm.point(&self.point.id).await {
            Ok(now) if same_point(&self.point, &now) && !now.deleting() => Effect::None,
            Err(error) if cx.arm.proves_absence(&error, &self.point.id).await => Effect::Some,
            _ => Effect::Unknown,
        }
    }
}

impl DeletePoint {
    /// Takes the point out of the facts.
    pub(crate) fn forget(&self, facts: &mut VmFacts) {
        forget(facts, |point| point.id == self.point.id);
    }
}

/// S7 and S8, on facts of now: whose the collection is, whether the point has expired under the policy as it is now, and
/// every rule that keeps points.
fn guards(input: &RuleInput<'_>, collection: &Collection, now: &Point) -> Result<(), Refusal> {
    let name = now.id.name();
    ownership::backup_owned(input, collection)?;
    let Some(expiry) = stale::expiry(input.facts) else {
        return Err(Refusal::new("s8.unread", "the policy was not read, so nothing is expired"));
    };
    if now.created.is_none_or(|created| elapsed(created, input.now) <= expiry) {
        let why = format!("{name} is not expired under the policy as it is now");
        return Err(Refusal::new("s8.not-expired", why));
    }
    live_guards(input, std::slice::from_ref(now)).map_err(first)
}
