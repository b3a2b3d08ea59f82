//! `azmend audit`: which VMs will fail, why, and what would repair each. Read-only (S1).
//!
//! Duty: the findings as data; collectors are in `estate`, formats in `report`. Invariants: a scope that could not be read is
//! in `not_read`, never silently missing (S12); findings come in a stable order and have a stable key, so that two audits
//! can be compared. Must never: change anything, or be taken for a proof (a fix reads again by ARM).

mod check;
mod checks;
mod find;
mod fold;
mod input;
mod plans;
mod repair;
mod spelling;
mod values;

use crate::facts::unread::Unread;
use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use check::Check;
pub use find::{Ask, Auditor, audit};
pub use plans::{kinds, planned, plans};

use crate::facts::objective::{Objective, Tally};

/// Name and version of the object.
pub const AUDIT_SCHEMA: &str = "azmend.audit/v1";

/// How much a finding matters, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Good to know.
    Info,
    /// May become a problem.
    Low,
    /// A backup is at risk.
    Medium,
    /// Backups fail or will fail.
    High,
}

impl Level {
    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

/// How a finding compares with the baseline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Since {
    /// Not in the baseline.
    New,
    /// In the baseline too.
    Unchanged,
    /// In the baseline only.
    Gone,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// Stable between audits: the rule and the resource, without case.
    pub key: String,
    /// What was found: the name of a playbook (`rp-collection-limit`), or of a check (`group-locked`).
    pub rule: String,
    /// In a sentence.
    pub title: String,
    /// How much it matters.
    pub level: Level,
    /// The resource it is about: its id.
    pub resource: String,
    /// The VM's name, or that of the resource.
    pub name: String,
    /// Its resource group; empty for a resource outside of one.
    pub group: String,
    /// The subscription's GUID.
    pub subscription: String,
    /// The subscription's name, its GUID where it has none.
    pub subscription_name: String,
    /// Which value of which fact: `points.count 21 > 18`.
    pub evidence: Vec<String>,
    /// The error of the catalogue, if there is one.
    pub code: Option<String>,
    /// The command that fixes it, or explains it.
    pub command: Option<String>,
    /// Of a protected VM: its newest good recovery point against its policy's schedule.
    #[serde(default)]
    pub objective: Option<Objective>,
    /// With `--plans`: what the plan would change, one line each.
    pub plan: Vec<String>,
    /// Compared with the baseline; absent without one.
    pub change: Option<Since>,
    /// Of a lock over a resource group: the ids of the VMs that the repair is for, when nothing else is wrong with their locks.
    #[serde(default)]
    pub vms: Vec<String>,
}

/// The playbook that repairs what [`Check::GroupLocked`] finds.
pub const UNLOCK: &str = "unlock-backup-groups";

/// The playbook that repairs the findings of a rule: the rule's own, if it is one, or the one that removes such locks.
#[must_use]
pub fn playbook_of(rule: &str) -> &str {
    if Check::GroupLocked.is(rule) { UNLOCK } else { rule }
}

impl Finding {
    /// The resources that a repair is for: the VMs that are named, else what the finding is about.
    pub fn repaired(&self) -> impl Iterator<Item = &str> {
        let own = Some(self.resource.as_str()).filter(|_| !Check::GroupLocked.is(&self.rule));
        self.vms.iter().map(String::as_str).chain(own)
    }
}

/// One playbook in the summary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Count {
    /// The rule.
    pub rule: String,
    /// Its title.
    pub title: String,
    /// The level of its findings.
    pub level: Level,
    /// How many.
    pub count: usize,
    /// The command that repairs all of them, each planned again; absent where there is none.
    pub command: Option<String>,
}

/// Counts, and what to do first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Summary {
    /// VMs that were looked at.
    pub vms: usize,
    /// Of these, VMs with a finding of at least medium.
    pub at_risk: usize,
    /// VMs that a vault protects.
    pub protected: usize,
    /// Subscriptions that were read.
    pub subscriptions: usize,
    /// The protected VMs by whether their newest good recovery point is as new as their policy schedules.
    #[serde(default)]
    pub objective: Tally,
    /// Findings by level.
    pub levels: BTreeMap<String, usize>,
    /// Findings by rule, the most severe first.
    pub rules: Vec<Count>,
    /// The five worst resources: name and why.
    pub worst: Vec<String>,
    /// With `--plans`: what all plans together would change, each change once: kind and how many.
    pub planned: BTreeMap<String, usize>,
    /// New, unchanged and gone since the baseline; empty without one.
    pub since: BTreeMap<String, usize>,
}

/// The whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Audit {
    /// `azmend.audit/v1`.
    pub schema: String,
    /// Whether this is the sandbox.
    pub sandbox: bool,
    /// The version of azmend.
    pub version: String,
    /// When it started.
    #[schemars(with = "String")]
    pub started: Timestamp,
    /// When it ended.
    #[schemars(with = "String")]
    pub ended: Timestamp,
    /// What was asked for: "subscription Contoso Production", "tenant".
    pub scope: String,
    /// `graph` or `arm`.
    pub collector: String,
    /// ARM calls made, Resource Graph's included.
    pub calls: u64,
    /// When the baseline was made; absent without one.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub baseline: Option<Timestamp>,
    /// Counts.
    pub summary: Summary,
    /// The findings: by level (worst first), then rule, then resource.
    pub findings: Vec<Finding>,
    /// What could not be looked at.
    pub not_read: Vec<Unread>,
    /// 0 nothing of at least `--fail-on`, 3 something, 6 something could not be read.
    pub exit_code: u8,
}
