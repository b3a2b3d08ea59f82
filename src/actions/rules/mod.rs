//! The safety rules S5 to S10 and the definition of orphan, as pure functions over facts.
//!
//! The same functions decide what a plan may contain and, on facts read again, whether a change may still be made
//! (S3). They never read anything themselves, never look at a clock (`now` is an argument), and treat *unread* as a
//! reason to refuse. Each refusal carries the rule's stable name.

pub mod backups;
pub mod enabling;
pub mod groups;
pub mod jobs;
pub mod keyvault;
pub mod locks;
pub mod orphan;
pub mod ownership;
pub mod points;
pub mod protection;
pub mod stale;

#[cfg(test)]
mod backups_tests;
#[cfg(test)]
mod locks_tests;
#[cfg(test)]
mod orphan_tests;
#[cfg(test)]
mod points_tests;
#[cfg(test)]
mod protection_tests;
#[cfg(test)]
mod stale_tests;
#[cfg(test)]
pub(crate) mod testing;

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::change::{Override, Refusal};
use crate::facts::vm_facts::VmFacts;

/// What every rule may look at.
#[derive(Debug, Clone, Copy)]
pub struct RuleInput<'a> {
    /// The facts.
    pub facts: &'a VmFacts,
    /// The time of the decision.
    pub now: Timestamp,
    /// The rules the user switched off for this run.
    pub overrides: &'a BTreeSet<Override>,
    /// How old the newest point of an orphan must be.
    pub orphan_age: std::time::Duration,
}

/// 30 days: the default age of an orphan's newest point.
pub const ORPHAN_AGE: std::time::Duration = std::time::Duration::from_secs(30 * 86_400);

impl RuleInput<'_> {
    /// `Ok` when the user switched the rule off, else the refusal with a hint on how to.
    fn unless_overridden(&self, rule: Override, why: impl Into<String>) -> Result<(), Refusal> {
        if self.overrides.contains(&rule) {
            return Ok(());
        }
        Err(Refusal::new(rule.name(), why).hint(format!("to do it anyway, add --override {}", rule.name())))
    }
}
