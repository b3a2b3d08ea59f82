//! What a playbook would do on each VM of an estate (`azmend playbook test`): the plan of each, with the values that its
//! conditions saw.
//!
//! Pure but for the reading of the VM. Must never: change anything, or decide otherwise than [`super::planner`]: the plan is
//! the planner's own, and the conditions are evaluated as it does.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::planner::{PlanRequest, Planned, plan_of, view_of};
use super::result::RunResult;
use crate::arm::Arm;
use crate::facts::collect::{CollectOptions, collect};
use crate::facts::view::View;
use crate::playbook::{Condition, Resolved, Verdict};

/// Name and version of the object.
pub const REHEARSAL_SCHEMA: &str = "azmend.playbook-test/v1";

/// What a playbook would do on an estate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Rehearsal {
    /// [`REHEARSAL_SCHEMA`].
    pub schema: String,
    /// The worst exit code of all VMs.
    pub exit_code: u8,
    /// Name of the playbook.
    pub playbook: String,
    /// Its file.
    pub file: String,
    /// Name of the estate.
    pub estate: String,
    /// Every VM of the estate, and every VM that only its backups name: first those with something to do.
    pub vms: Vec<TestedVm>,
}

/// One VM.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TestedVm {
    /// Its resource group and name.
    pub name: String,
    /// What the conditions came to: `applies` first, then the `when` of each step.
    pub conditions: Vec<Seen>,
    /// What a dry run gives back.
    pub result: RunResult,
}

/// A condition with what it saw.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Seen {
    /// The step, or null for `applies`.
    pub step: Option<String>,
    /// The condition as written.
    pub condition: String,
    /// What it came to.
    pub came_to: CameTo,
    /// Every value that it names; null for one that was not read.
    pub values: BTreeMap<String, Value>,
    /// What was not read, or why it could not be evaluated.
    pub why: Vec<String>,
}

/// What a condition came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CameTo {
    /// True.
    True,
    /// False.
    False,
    /// It names what was not read.
    NotChecked,
    /// It could not be evaluated.
    Error,
}

/// Reads one VM, plans, and keeps what the conditions saw.
pub async fn rehearse(arm: &Arm, request: &PlanRequest<'_>) -> (Vec<Seen>, Planned) {
    let facts = Box::pin(collect(arm, &request.vm, &CollectOptions::default())).await;
    let view = view_of(&facts, arm, &request.overrides);
    let seen = request.playbook.resolve(&request.set).map(|resolved| conditions(&resolved, &view)).unwrap_or_default();
    (seen, Box::pin(plan_of(arm, request, &facts)).await)
}

/// The conditions that were asked: the steps' only when the playbook applies.
fn conditions(resolved: &Resolved, view: &View) -> Vec<Seen> {
    let tree = serde_json::to_value(view).unwrap_or_default();
    let seen = |step: Option<&str>, condition: &Condition, verdict: Verdict| {
        let (came_to, why) = match verdict {
            Verdict::True => (CameTo::True, Vec::new()),
            Verdict::False => (CameTo::False, Vec::new()),
            Verdict::NotChecked { unread } => (CameTo::NotChecked, unread),
            Verdict::Error { why } => (CameTo::Error, vec![why]),
        };
        let value = |path: &String| {
            if let Some(name) = path.strip_prefix("params.") {
                return resolved.params.get(name).map_or(Value::Null, |value| value.to_json());
            }
            if path == "playbook.codes" {
                return resolved.codes.clone().into();
            }
            match view.unread(path) {
                Some(_) => Value::Null,
                None => tree.pointer(&format!("/{}", path.replace('.', "/"))).cloned().unwrap_or_default(),
            }
        };
        Seen {
            step: step.map(str::to_owned),
            condition: condition.source().to_owned(),
            came_to,
            values: condition.touched().iter().map(|path| (path.clone(), value(path))).collect(),
            why,
        }
    };
    let applies = seen(None, &resolved.applies, resolved.applies(view));
    let asked = if applies.came_to == CameTo::True { resolved.steps.as_slice() } else { &[] };
    let whens = asked.iter().filter_map(|step| {
        let when = step.when.as_ref()?;
        Some(seen(Some(&step.id), when, resolved.runs(step, view)))
    });
    std::iter::once(applies.clone()).chain(whens).collect()
}

/// The VMs that a playbook is tried on, each once: those of the estate, then those that only a backup still names.
#[must_use]
pub fn subjects<I: Clone + Ord>(vms: &[I], named: impl IntoIterator<Item = I>) -> Vec<I> {
    let mut known: BTreeSet<I> = vms.iter().cloned().collect();
    let gone: Vec<I> = named.into_iter().filter(|id| known.insert(id.clone())).collect();
    vms.iter().cloned().chain(gone).collect()
}
