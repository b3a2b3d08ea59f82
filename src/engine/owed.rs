//! Which locks may be off because of a run: the one answer to that question.
//!
//! Duty: a fold over the records of a journal, and over nothing else, so that it works for a run whose plan is damaged or
//! whose records do not fit each other. The running engine, the result and its exit code, `runs list`, `prune` and the
//! warnings at every start ask it.
//!
//! Invariants (S6): a lock may be off from the moment the intent of its removal is on disk until the journal says that a
//! stable reading showed it in force, or that it was restored, whatever the outcome of the removal is called. The fold is
//! total: no record makes it fail, and none makes it forget a lock by being malformed.
//! Must never: take a name for a proof, or drop a lock because something about its run is unreadable.

use std::collections::BTreeMap;

use crate::arm::model::Lock;
use crate::journal::{Effect, EndKind, Ending, Event, Purpose, Record};

/// What is known of a lock that a run set out to remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockState {
    /// A request left: it may be off.
    MayBeOff,
    /// A stable reading showed it in force: the requests did nothing.
    InForce,
    /// It was restored.
    Restored,
    /// What it locked is gone: there is nothing to restore it on.
    NotNeeded,
    /// A lock of its name with other content is in force: somebody else's.
    Replaced,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    lock: Lock,
    state: LockState,
    /// Whether Azure may have taken one of the requests; only for endings that do not say what the requests did.
    taken: bool,
}

/// The locks of one run, by change id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Locks {
    entries: BTreeMap<String, Entry>,
}

impl Locks {
    /// What these records say.
    pub fn of<'a>(records: impl IntoIterator<Item = &'a Record>) -> Self {
        let mut locks = Self::default();
        for record in records {
            locks.apply(&record.event);
        }
        locks
    }

    /// Takes one event in.
    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::Intent { change, purpose: Purpose::Do, before, .. } => {
                if let Ok(lock) = serde_json::from_value::<Lock>(before.clone())
                    && lock.id.is_type("Microsoft.Authorization/locks")
                {
                    self.entries.insert(change.clone(), Entry { lock, state: LockState::MayBeOff, taken: false });
                }
            }
            Event::Answered { change, purpose: Purpose::Do, how, .. } => {
                if let Some(entry) = self.entries.get_mut(change) {
                    entry.taken |= !how.is_rejection();
                }
            }
            Event::Ended { change, purpose, ending } => {
                if let Some(entry) = self.entries.get_mut(change) {
                    entry.end(*purpose, ending);
                }
            }
            Event::Corrected { change, ending } => {
                if let Some(entry) = self.entries.get_mut(change) {
                    entry.end(Purpose::Do, ending);
                }
            }
            _ => {}
        }
    }

    /// The locks that may be off, by change id.
    pub fn off(&self) -> impl DoubleEndedIterator<Item = (&str, &Lock)> {
        self.entries
            .iter()
            .filter(|(_, entry)| entry.state == LockState::MayBeOff)
            .map(|(change, entry)| (change.as_str(), &entry.lock))
    }

    /// Every lock whose removal was begun, with what is known of it.
    pub fn all(&self) -> impl Iterator<Item = (&str, &Lock, LockState)> {
        self.entries.iter().map(|(change, entry)| (change.as_str(), &entry.lock, entry.state))
    }

    /// What is known of the lock of this change; `None` when its removal was never begun.
    #[must_use]
    pub fn state(&self, change: &str) -> Option<LockState> {
        self.entries.get(change).map(|entry| entry.state)
    }
}

impl Entry {
    fn end(&mut self, purpose: Purpose, ending: &Ending) {
        self.state = match purpose {
            Purpose::Do => match ending.effect {
                // It was restored since its last request: whatever is said of that request, it is in force.
                _ if self.state != LockState::MayBeOff => self.state,
                Some(Effect::None) => LockState::InForce,
                Some(Effect::Some | Effect::Unknown) => LockState::MayBeOff,
                None if self.took_effect_in_format_1(ending) => LockState::MayBeOff,
                None => LockState::InForce,
            },
            Purpose::Undo | Purpose::Relock => match ending.outcome {
                EndKind::Succeeded | EndKind::AlreadyDone => LockState::Restored,
                EndKind::NotNeeded => LockState::NotNeeded,
                EndKind::Refused => LockState::Replaced,
                EndKind::Skipped | EndKind::Failed | EndKind::Unknown | EndKind::Irreversible => LockState::MayBeOff,
            },
        };
    }

    /// Endings of format 1 do not say what the requests did: then every request that Azure may have taken counts.
    fn took_effect_in_format_1(&self, ending: &Ending) -> bool {
        self.taken || matches!(ending.outcome, EndKind::Succeeded | EndKind::Unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Answer;
    use serde_json::json;

    const LOCK: &str = "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/rg/providers/Microsoft.Authorization/locks/keep";

    fn intent(purpose: Purpose) -> Event {
        Event::Intent {
            change: "unlock.1".into(),
            attempt: 1,
            purpose,
            verb: if purpose == Purpose::Do { "DELETE" } else { "PUT" }.into(),
            target: LOCK.into(),
            before: match purpose {
                Purpose::Do => json!({ "id": LOCK, "level": "CanNotDelete", "notes": "n", "owners": [] }),
                _ => serde_json::Value::Null,
            },
            client_request_id: String::new(),
        }
    }

    fn answered(how: Answer) -> Event {
        Event::Answered { change: "unlock.1".into(), purpose: Purpose::Do, how, detail: String::new() }
    }

    fn ended(purpose: Purpose, outcome: EndKind, effect: Option<Effect>) -> Event {
        let ending =
            Ending { outcome, detail: String::new(), code: String::new(), hint: None, permission: false, effect };
        Event::Ended { change: "unlock.1".into(), purpose, ending }
    }

    fn off(events: &[Event]) -> usize {
        let mut locks = Locks::default();
        events.iter().for_each(|event| locks.apply(event));
        locks.off().count()
    }

    #[test]
    fn a_lock_may_be_off_from_its_intent_until_a_reading_or_a_restoration_says_otherwise() {
        assert_eq!(off(&[intent(Purpose::Do)]), 1, "a crash right after the intent");
        for outcome in [EndKind::Succeeded, EndKind::Refused, EndKind::Failed, EndKind::Skipped, EndKind::AlreadyDone] {
            for (effect, left) in [(Effect::None, 0), (Effect::Some, 1), (Effect::Unknown, 1)] {
                let events = [intent(Purpose::Do), answered(Answer::Lost), ended(Purpose::Do, outcome, Some(effect))];
                assert_eq!(off(&events), left, "{outcome:?} {effect:?}");
            }
        }
        for (outcome, left) in [
            (EndKind::Succeeded, 0),
            (EndKind::AlreadyDone, 0),
            (EndKind::NotNeeded, 0),
            (EndKind::Refused, 0),
            (EndKind::Failed, 1),
            (EndKind::Unknown, 1),
        ] {
            let removed = [intent(Purpose::Do), ended(Purpose::Do, EndKind::Succeeded, Some(Effect::Some))];
            let back = [intent(Purpose::Undo), ended(Purpose::Undo, outcome, None)];
            assert_eq!(off(&[removed, back].concat()), left, "{outcome:?}");
        }
        let again = [
            intent(Purpose::Do),
            ended(Purpose::Do, EndKind::Succeeded, Some(Effect::Some)),
            intent(Purpose::Relock),
            ended(Purpose::Relock, EndKind::Succeeded, None),
            intent(Purpose::Do),
        ];
        assert_eq!(off(&again), 1, "removed again on resume");
    }

    #[test]
    fn journals_of_format_1_are_read_to_the_safe_side() {
        let case = |how, outcome| off(&[intent(Purpose::Do), answered(how), ended(Purpose::Do, outcome, None)]);
        assert_eq!(case(Answer::Ok, EndKind::Succeeded), 1);
        assert_eq!(case(Answer::Lost, EndKind::Refused), 1, "a request left, then a rule stopped it");
        assert_eq!(case(Answer::Lost, EndKind::Failed), 1);
        assert_eq!(case(Answer::Rejected, EndKind::Failed), 0, "Azure did not take it");
        assert_eq!(case(Answer::Locked, EndKind::Refused), 0);
    }

    /// A run that pauses restores a lock whose removal was not proven yet; settling that removal later does not take it off.
    #[test]
    fn a_restored_lock_stays_restored_until_the_next_request() {
        let restored = [
            intent(Purpose::Do),
            intent(Purpose::Relock),
            ended(Purpose::Relock, EndKind::Succeeded, None),
            ended(Purpose::Do, EndKind::Unknown, Some(Effect::Unknown)),
        ];
        assert_eq!(off(&restored), 0);
    }

    #[test]
    fn a_reading_that_contradicts_a_removal_counts() {
        let removed = [intent(Purpose::Do), ended(Purpose::Do, EndKind::Succeeded, Some(Effect::Some))];
        let ending = Ending {
            outcome: EndKind::Failed,
            detail: String::new(),
            code: String::new(),
            hint: None,
            permission: false,
            effect: Some(Effect::None),
        };
        let corrected = [Event::Corrected { change: "unlock.1".into(), ending }];
        assert_eq!(off(&[removed.as_slice(), corrected.as_slice()].concat()), 0);
    }
}
