//! A change: one mutation of one resource, with everything needed to show it, guard it, prove it and undo it.
//!
//! The before-image is part of the change: what is shown and confirmed is exactly what the guards compare with just
//! before the request is sent (S3). What is particular to one kind of change is in the file of that kind.

use serde::{Deserialize, Serialize};

use crate::arm::id::ResourceId;

pub use super::ChangeKind;
pub use super::outcome::{Failure, Outcome, Override, Refusal};

/// Why a collection or point is not needed any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeleteReason {
    /// The VM is gone and no vault knows it.
    Orphan,
    /// A newer collection exists; every point is expired and hardened in the vault.
    Superseded,
    /// Older than the policy's snapshot retention plus 48 hours, and hardened.
    Expired,
    /// The live collection, by explicit wish and named overrides.
    Chosen,
}

/// How a change can be undone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Undo {
    /// By writing the before-image back.
    Restore,
    /// By a request of its own that reverses exactly what this change did, and nothing else.
    Inverse {
        /// What that request does, for the plan: "stop the protection again, keeping its data".
        effect: String,
    },
    /// It cannot.
    Irreversible {
        /// Why, for the plan.
        reason: String,
    },
    /// It need not.
    NotNeeded {
        /// Why.
        reason: String,
    },
}

/// How much a mistake would cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Risk {
    /// Can be undone exactly, or heals by itself.
    Low,
    /// Changes what others rely on until it is undone.
    Medium,
    /// Deletes what does not come back.
    High,
}

/// One mutation of one resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Unique in the plan: `<step>.<n>`.
    pub id: String,
    /// What, with the before-image.
    #[serde(flatten)]
    pub what: ChangeKind,
    /// What it does, in a sentence for the plan.
    pub effect: String,
    /// How it is undone.
    pub undo: Undo,
    /// What a mistake would cost.
    pub risk: Risk,
}

impl Change {
    /// A change of `what`, with the undo and the risk that belong to its kind.
    #[must_use]
    pub fn new(step: &str, number: usize, what: impl Into<ChangeKind>, effect: String) -> Self {
        let what = what.into();
        let (undo, risk) = (what.undo(), what.risk());
        Self { id: format!("{step}.{number}"), what, effect, undo, risk }
    }

    /// The resource that is changed.
    #[must_use]
    pub fn resource(&self) -> &ResourceId {
        self.what.resource()
    }

    /// How many changes this counts for under `--max-changes` (S9): every point in a collection is one.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.what.weight()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actions::spec::{ActionName, ActionSpec};

    /// Changes and actions as azmend 0.1 wrote them into plans: they are read for ever, and written the same way.
    #[test]
    fn old_changes_and_actions_read_and_write_the_same_bytes() {
        let mut kinds = std::collections::BTreeSet::new();
        for line in include_str!("fixtures/v1/changes.jsonl").lines() {
            let change: Change = serde_json::from_str(line).unwrap();
            assert_eq!(serde_json::to_string(&change).unwrap(), line);
            // Undo and risk are the kind's own; the words of a recorded one stay as they were written.
            let again = Change::new("s", 1, change.what.clone(), change.effect.clone());
            let kind = |undo: &Undo| std::mem::discriminant(undo);
            assert_eq!((kind(&again.undo), again.risk), (kind(&change.undo), change.risk), "{line}");
            let json: serde_json::Value = serde_json::from_str(line).unwrap();
            kinds.insert(json["kind"].as_str().unwrap().to_owned());
        }
        assert_eq!(kinds.len(), ChangeKind::COUNT, "every kind: {kinds:?}");
        let mut names = std::collections::BTreeSet::new();
        for line in include_str!("fixtures/v1/actions.jsonl").lines() {
            let spec: ActionSpec = serde_json::from_str(line).unwrap();
            assert_eq!(serde_json::to_string(&spec).unwrap(), line);
            names.insert(spec.name().as_str());
        }
        assert_eq!(names.len(), ActionName::ALL.len(), "every action: {names:?}");
    }
}
