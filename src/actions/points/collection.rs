//! The deletion of a restore point collection with all its points.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::patience::{self, BUSY};
use super::{
    FACTS, collection_image, copies, first, forget, irreversible, live_guards, same_point, since, with_collection,
};
use crate::actions::change::{DeleteReason, Risk, Undo};
use crate::actions::outcome::Refusal;
use crate::actions::planning::PlanReads;
use crate::actions::rules::{RuleInput, orphan, ownership, points as rule, stale};
use crate::actions::{Attempt, Check, Context, Effect, FactsNeeded, History, Mutation, Request, Verb, Verify};
use crate::arm::id::ResourceId;
use crate::arm::model::{Collection, Point};
use crate::arm::{ArmError, Sent, Tag};
use crate::facts::vm_facts::VmFacts;
use crate::text::plural;

/// Requests on the collection as a whole without progress before it goes point by point.
const TRIES_AS_A_WHOLE: usize = 2;

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
            Err(error) if cx.arm.proves_absence(&error, &planned.id).await => {
                return Check::Holds("the collection is deleted (confirmed)".to_owned());
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
        if now.points.is_none() {
            return Check::Refuse(left_out(&now));
        }
        for point in now.points() {
            if !planned.points().iter().any(|known| same_point(known, point)) {
                let why = format!("{name} holds the point {}, which is not in the plan", point.id.name());
                return Check::Refuse(Refusal::new("s3.new-point", why).hint("run azmend again for a new plan"));
            }
        }
        if deleting(&now) {
            return patience::check_deleting(since(cx, history), name);
        }
        if now.points().is_empty()
            && let Err(check) = Box::pin(self.emptied(cx, history)).await
        {
            return check;
        }
        let facts = with_collection(cx, &now);
        let input = RuleInput { facts: &facts, ..cx.input() };
        if let Err(refusal) = self.guards(&input, &now) {
            return Check::Refuse(refusal);
        }
        let request = match next_request(&now, history, input.now) {
            Ok(request) => request,
            Err(check) => return check,
        };
        // Of the points that would go with this request.
        let going: Vec<Point> = now.points().iter().filter(|point| request.target.covers(&point.id)).cloned().collect();
        match copies::finished(cx, &input, &going).await {
            Ok(()) => Check::Go(request),
            Err(check) => check,
        }
    }

    async fn send(&self, cx: &Context<'_>, request: &Request, tag: &Tag) -> Result<Sent, ArmError> {
        if request.target == self.collection.id {
            cx.arm.delete_collection(&request.target, tag).await
        } else {
            cx.arm.delete_point(&request.target, tag).await
        }
    }

    /// Gone is done; fewer points is progress and means checking again at once.
    async fn verify(&self, cx: &Context<'_>, history: &History) -> Verify {
        let planned = &self.collection;
        let name = planned.id.name();
        let now = match cx.arm.collection(&planned.id).await {
            Ok(now) => now,
            Err(error) if cx.arm.proves_absence(&error, &planned.id).await => {
                return Verify::Done(format!("deleted (confirmed), with {}", plural(planned.points().len(), "point")));
            }
            Err(error) => return Verify::Pending { why: format!("reading the collection: {error}"), wait: BUSY },
        };
        if deleting(&now) {
            return patience::deleting(since(cx, history), name);
        }
        if now.points.is_none() {
            return Verify::Pending { why: left_out(&now).why, wait: BUSY };
        }
        let left = now.points().len();
        match history.attempts.last().and_then(|attempt| attempt.remaining) {
            Some(before) if left < before => {
                Verify::Again { why: format!("{left} of {before} points left"), wait: BUSY }
            }
            _ => patience::unchanged(since(cx, history), &format!("{name} with {}", plural(left, "point"))),
        }
    }

    async fn effect(&self, cx: &Context<'_>, history: &History) -> Effect {
        if history.attempts.is_empty() {
            return Effect::None;
        }
        let planned = &self.collection;
        match cx.arm.collection(&planned.id).await {
            Err(error) if cx.arm.proves_absence(&error, &planned.id).await => Effect::Some,
            Err(_) => Effect::Unknown,
            // Made again under its name: the one of the plan is gone.
            Ok(now) if now.collection_id != planned.collection_id => Effect::Some,
            Ok(Collection { points: None, .. }) => Effect::Unknown,
            Ok(now) => {
                let there = |point: &Point| now.points().iter().any(|known| same_point(point, known));
                match planned.points().iter().all(there) {
                    false => Effect::Some,
                    true if deleting(&now) => Effect::Unknown,
                    true => Effect::None,
                }
            }
        }
    }
}

/// Whether Azure is deleting it, or one of its points.
fn deleting(now: &Collection) -> bool {
    now.provisioning_state.eq_ignore_ascii_case("Deleting") || now.points().iter().any(Point::deleting)
}

/// An answer without the points says nothing about them (S12): no rule could see what would go.
fn left_out(now: &Collection) -> Refusal {
    let why = format!("Azure's answer omits the restore points of {}", now.id.name());
    Refusal::new("s12.unread", why).hint("run azmend again; whether it may read restore points: azmend doctor")
}

impl DeleteCollection {
    /// That a collection that reads as empty was emptied by an earlier request of this very change: its newest point is read by
    /// itself, because one wrong answer would hide every point from the rules.
    async fn emptied(&self, cx: &Context<'_>, history: &History) -> Result<(), Check> {
        let Some(newest) = self.collection.points().iter().max_by_key(|point| point.created) else { return Ok(()) };
        let name = self.collection.id.name();
        if history.attempts.is_empty() {
            let why = format!("{name} reads as empty and had {} in the plan", plural(self.points(), "point"));
            return Err(Check::Refuse(Refusal::new("s3.changed", why).hint("run azmend again for a new plan")));
        }
        match cx.arm.point(&newest.id).await {
            Err(error) if cx.arm.proves_absence(&error, &newest.id).await => Ok(()),
            Err(error) => Err(Check::Unreadable(error)),
            Ok(_) => Err(Check::Wait { why: format!("the collection {name} and its points to agree"), wait: BUSY }),
        }
    }

    fn guards(&self, input: &RuleInput<'_>, now: &Collection) -> Result<(), Refusal> {
        // What an earlier request of this change emptied has no point left that would prove whose it is: that was proven before
        // that request, of the points of the plan. What speaks about the VM still holds.
        if now.points().is_empty() {
            return match self.why {
                DeleteReason::Orphan => orphan::orphan(input, &self.collection),
                _ => rule::vm_guards(input).map_err(first),
            };
        }
        ownership::backup_owned(input, now)?;
        match self.why {
            DeleteReason::Orphan => orphan::orphan(input, now),
            DeleteReason::Superseded => {
                live_guards(input, now.points()).map_err(first)?;
                let found = stale::find(input);
                if found.collections.iter().any(|stale| stale.collection.id == now.id) {
                    Ok(())
                } else {
                    Err(Refusal::new("s8.not-superseded", format!("{} is no longer superseded", now.id.name())))
                }
            }
            DeleteReason::Expired | DeleteReason::Chosen => live_guards(input, now.points()).map_err(first),
        }
    }
}

/// By progress: the collection as a whole while it gets smaller, then point by point, oldest first. Only requests without
/// progress count: those since the number of points last went down.
fn next_request(now: &Collection, history: &History, at: Timestamp) -> Result<Request, Check> {
    let left = now.points().len();
    let stalled: Vec<_> = history.attempts.iter().rev().take_while(|attempt| attempt.remaining == Some(left)).collect();
    let oldest_first: Vec<&Attempt> = stalled.iter().rev().copied().collect();
    let what = format!("{} with {}", now.id.name(), plural(left, "point"));
    if let Some(check) = patience::check(&oldest_first, at, &what) {
        return Err(check);
    }
    let on_collection = stalled.iter().filter(|attempt| attempt.target == now.id).count();
    let point_by_point = history.attempts.iter().any(|attempt| attempt.target != now.id);
    let target = if left > 0 && (point_by_point || on_collection >= TRIES_AS_A_WHOLE) {
        // The one that was asked for least often, then the oldest: one that does not go holds up no other.
        let tries = |point: &Point| stalled.iter().filter(|attempt| attempt.target == point.id).count();
        now.points().iter().min_by_key(|point| (tries(point), point.created)).map(|point| &point.id)
    } else {
        None
    };
    let target = target.unwrap_or(&now.id).clone();
    Ok(Request { verb: Verb::Delete, target, before: collection_image(now) })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::actions::rules::testing;
    use crate::clock::later;

    fn attempt(target: &ResourceId, remaining: usize, minute: u64) -> Attempt {
        let at = later(testing::now(), Duration::from_secs(minute * 60));
        Attempt { at, target: target.clone(), remaining: Some(remaining), answered: true }
    }

    fn shrunk(to: usize) -> Collection {
        testing::collection("AzureBackup_web-01_123456789", &(0..to as u64).map(|day| 24 * day).collect::<Vec<_>>())
    }

    /// Progress is never a failed try: a collection of 120 points that loses one with every request comes to its end.
    #[test]
    fn a_large_collection_that_shrinks_comes_to_its_end() {
        let mut history = History::default();
        for (minute, left) in (1..=120).rev().enumerate() {
            let (now, minute) = (shrunk(left), minute as u64);
            let at = later(testing::now(), Duration::from_secs(minute * 60));
            let request = next_request(&now, &history, at).unwrap();
            assert_eq!(request.target, now.id, "{left} left");
            history.attempts.push(attempt(&request.target, left, minute));
        }
        assert_eq!(history.attempts.len(), 120);
    }

    #[test]
    fn without_progress_point_by_point_and_then_later() {
        let now = shrunk(3);
        let mut history = History::default();
        let mut targets = Vec::new();
        let late = loop {
            match next_request(&now, &history, testing::now()) {
                Ok(request) => {
                    history.attempts.push(attempt(&request.target, 3, 0));
                    targets.push(request.target);
                }
                Err(check) => break check,
            }
        };
        assert_eq!(targets[..2], [now.id.clone(), now.id.clone()]);
        let points: std::collections::BTreeSet<_> = targets[2..].iter().collect();
        assert_eq!(points.len(), 3, "each point was asked for: {targets:?}");
        assert_eq!(targets[2], now.points()[2].id, "the oldest first");
        let Check::Late { hint, .. } = late else { panic!("{late:?}") };
        assert!(hint.unwrap().contains("SAS"));
        // One point went: the count starts again, and it goes on point by point.
        let request = next_request(&shrunk(2), &history, testing::now()).unwrap();
        assert_ne!(request.target, now.id);
        assert!(next_request(&shrunk(0), &history, testing::now()).is_ok_and(|request| request.target == now.id));
    }
}
