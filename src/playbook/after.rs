//! `after`: how a step depends on the way earlier steps ended.
//!
//! Duty: the four ways in which a step can end, and what a step asks of earlier ones. Pure: playbooks are read with these
//! types, plans are sealed with them, and the engine decides with them while a run goes on.
//!
//! Invariants: every step that is over ended in exactly one of the four ways; the worst of its changes decides.

use std::collections::BTreeSet;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepOutcome {
    /// It ran: every change succeeded, was already done, or was no longer needed.
    Succeeded,
    /// It did not run: its `when` was false, it had nothing to change, or its own `after` was not satisfied.
    Skipped,
    /// A rule refused a change, or kept everything that the step would have changed. Nothing failed.
    Refused,
    /// A change failed, its outcome is not known, or the step ran into its timeout.
    Failed,
}

impl StepOutcome {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Succeeded, Self::Skipped, Self::Refused, Self::Failed];

    /// The word of the language.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Skipped => "skipped",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }

    /// The outcome with this word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == word)
    }

    /// What a step that ran with these outcomes of its changes ended as: the worst decides. A change that was skipped was
    /// no longer needed; a step that ran is never `Skipped` itself.
    #[must_use]
    pub fn of_changes(changes: impl IntoIterator<Item = Self>) -> Self {
        changes.into_iter().fold(Self::Succeeded, |worst, one| match one {
            Self::Skipped => worst,
            one => worst.max(one),
        })
    }

    /// Behind the name of a step: `reload was skipped`.
    const fn verb(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Skipped => "was skipped",
            Self::Refused => "was refused",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for StepOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One entry of `after`: the step runs only when an earlier one ended in one of these ways.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct After {
    /// The id of the earlier step.
    pub step: String,
    /// The ways, one at least.
    pub outcomes: BTreeSet<StepOutcome>,
}

impl After {
    /// Whether an earlier step that ended so lets this one run.
    #[must_use]
    pub fn met(&self, outcome: StepOutcome) -> bool {
        self.outcomes.contains(&outcome)
    }

    /// Why the step does not run after an earlier one that ended so.
    #[must_use]
    pub fn unmet(&self, outcome: StepOutcome) -> String {
        format!("{} {}, and this step runs only after {self}", self.step, outcome.verb())
    }
}

/// `reload succeeded or was skipped`.
impl fmt::Display for After {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.step)?;
        for (index, outcome) in self.outcomes.iter().enumerate() {
            let before = match index {
                0 => " ",
                _ if index + 1 == self.outcomes.len() => " or ",
                _ => ", ",
            };
            write!(f, "{before}{}", outcome.verb())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::StepOutcome::{Failed, Refused, Skipped, Succeeded};
    use super::*;

    #[test]
    fn the_worst_change_decides() {
        for (changes, expected) in [
            (vec![Succeeded, Succeeded], Succeeded),
            (vec![Succeeded, Skipped], Succeeded),
            (vec![Skipped], Succeeded),
            (vec![Succeeded, Refused, Skipped], Refused),
            (vec![Refused, Failed, Succeeded], Failed),
        ] {
            assert_eq!(StepOutcome::of_changes(changes.clone()), expected, "{changes:?}");
            assert_eq!(StepOutcome::of_changes(changes.iter().rev().copied()), expected, "{changes:?}");
        }
    }

    #[test]
    fn words_read_back_and_are_said_in_a_sentence() {
        for outcome in StepOutcome::ALL {
            assert_eq!(StepOutcome::parse(outcome.as_str()), Some(outcome));
            assert_eq!(serde_json::to_value(outcome).unwrap(), outcome.as_str());
        }
        assert_eq!(StepOutcome::parse("Succeeded"), None);
        let after =
            |outcomes: &[StepOutcome]| After { step: "reload".into(), outcomes: outcomes.iter().copied().collect() };
        assert_eq!(after(&[Skipped, Succeeded]).to_string(), "reload succeeded or was skipped");
        assert_eq!(after(&StepOutcome::ALL).to_string(), "reload succeeded, was skipped, was refused or failed");
        let one = after(&[Succeeded]);
        assert!(one.met(Succeeded) && !one.met(Skipped));
        assert_eq!(one.unmet(Failed), "reload failed, and this step runs only after reload succeeded");
    }
}
