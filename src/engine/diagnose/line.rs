//! The lines of the checklist.

use schemars::JsonSchema;
use serde::Serialize;

use crate::facts::vm_facts::Part;

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

/// Collects lines.
#[derive(Debug, Default)]
pub(super) struct Sheet {
    pub lines: Vec<Line>,
}

impl Sheet {
    pub fn put(&mut self, area: &str, check: &str, state: State, evidence: impl Into<String>, code: Option<&str>) {
        self.lines.push(Line {
            area: area.to_owned(),
            check: check.to_owned(),
            state,
            evidence: evidence.into(),
            code: code.map(str::to_owned),
        });
    }

    pub fn judge<'a>(
        &mut self,
        area: &str,
        check: &str,
        good: bool,
        evidence: impl Into<String>,
        code: impl Into<Option<&'a str>>,
    ) {
        let (state, code) = if good { (State::Ok, None) } else { (State::Problem, code.into()) };
        self.put(area, check, state, evidence, code);
    }

    /// A line for a part that is not known, or the value.
    pub fn known<'a, T>(&mut self, area: &str, check: &str, part: &'a Part<T>) -> Option<&'a T> {
        if let Some(why) = part.unread() {
            self.put(area, check, State::NotChecked, why, None);
        }
        part.known()
    }
}
