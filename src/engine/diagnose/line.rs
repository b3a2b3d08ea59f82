//! One line of the checklist.

use schemars::JsonSchema;
use serde::Serialize;

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// As it should be.
    Ok,
    /// It blocks a backup, or may block one.
    Problem,
    /// It could not be looked at.
    NotChecked,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Line {
    /// `vm`, `agent`, `extensions`, `key vault`, `locks`, `points`, `vault`, `jobs`, `recovery points`, `disks`,
    /// `load`, `network`, `guest`.
    pub area: String,
    /// What was looked at.
    pub check: String,
    /// How it came out.
    pub state: State,
    /// What was found, or why it was not looked at.
    pub evidence: String,
    /// The error of the catalogue that it leads to.
    pub code: Option<String>,
}
