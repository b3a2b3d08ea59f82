//! Playbooks: what applies to which VM and which steps follow. Pure: nothing here reads or changes Azure.
//!
//! YAML ([`source`]) becomes a [`model::Playbook`] that is valid by construction; [`conditions`] decides on the condition
//! view ([`crate::facts::view`]); [`library`] holds the shipped playbooks and those of the user; [`schema`] is what
//! editors complete with. `docs/playbooks.md` is the language as users read it.

pub mod after;
mod check;
pub mod conditions;
pub mod library;
pub mod model;
mod scan;
pub mod schema;
mod slips;
pub mod source;
pub mod template;

pub use after::{After, StepOutcome};
pub use conditions::{Condition, ParamValue, Verdict};
pub use model::{OnFailure, Playbook, Resolved, ResolvedStep};

#[cfg(test)]
mod condition_tests;
#[cfg(test)]
mod docs_tests;
#[cfg(test)]
mod source_tests;
