//! The plan: every change that a run may make, in order, and the world it is for.
//!
//! A plan is what is shown, confirmed, saved and applied. Its hash covers everything in it, so what runs is what was
//! shown (S3), in the world it was made for (S13). Making a plan changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::actions::change::{Change, Override, Refusal};
use crate::actions::spec::ActionSpec;
use crate::arm::id::{IdError, ResourceId};
use crate::clock::elapsed;
use crate::duration::Span;
use crate::facts::view::View;
use crate::facts::vm_facts::VmFacts;
use crate::journal::Origin;
use crate::playbook::ParamValue;
pub use crate::playbook::{After, StepOutcome};

/// The format this azmend writes and reads.
pub const PLAN_FORMAT: &str = "azmend.plan/v1";

/// A plan is too old to be applied after this long.
pub const PLAN_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// Which Azure a plan, a journal and a run belong to (S13).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct World {
    /// The embedded Azure and not a real one.
    pub sandbox: bool,
    /// `public`, `usgov`, `china`; `sandbox` there.
    pub cloud: String,
    /// The ARM endpoint.
    pub endpoint: String,
    /// Tenant id; empty when the identity does not say.
    pub tenant: String,
    /// Subscription of the VM.
    pub subscription: String,
    /// Its name when it was read: for people, who know no GUIDs. Empty when it was not.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subscription_name: String,
    /// Who signed in, as far as the credential says.
    pub identity: String,
    /// Digest of the estate the sandbox was loaded with; empty outside.
    pub estate_digest: String,
}

impl From<&Origin> for World {
    fn from(origin: &Origin) -> Self {
        Self {
            sandbox: origin.sandbox,
            cloud: origin.cloud.clone(),
            endpoint: origin.endpoint.clone(),
            tenant: origin.tenant.clone(),
            subscription: origin.subscription.clone(),
            subscription_name: String::new(),
            identity: origin.identity.clone(),
            estate_digest: origin.estate_digest.clone(),
        }
    }
}

impl World {
    /// The first difference that matters, in words; `None` when the worlds are the same.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Option<String> {
        if self.sandbox != other.sandbox {
            let word = |sandbox: bool| if sandbox { "the sandbox" } else { "Azure" };
            return Some(format!("it was made for {}, this is {}", word(self.sandbox), word(other.sandbox)));
        }
        let pairs = [
            ("cloud", &self.cloud, &other.cloud),
            ("ARM endpoint", &self.endpoint, &other.endpoint),
            ("tenant", &self.tenant, &other.tenant),
            ("subscription", &self.subscription, &other.subscription),
            ("identity", &self.identity, &other.identity),
            ("estate", &self.estate_digest, &other.estate_digest),
        ];
        pairs
            .into_iter()
            .find(|(_, a, b)| !a.eq_ignore_ascii_case(b))
            .map(|(what, a, b)| format!("it was made for {what} {a:?}, this is {b:?}"))
    }
}

/// Whether a step runs, decided when the plan was made and never again: later only its `after` and the guards of its
/// changes can hold it back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "decision", rename_all = "snake_case")]
pub enum Decision {
    /// It runs, unless an earlier step ends in a way that its `after` does not name.
    Run,
    /// It does not.
    Off {
        /// Its condition, or an `after` that cannot be met.
        why: String,
    },
}

/// Points or resources that a step leaves alone, and by which rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// How many.
    pub count: usize,
    /// The rule, with its reason for the first of them.
    pub refusal: Refusal,
}

/// What happens when a change of the step does not succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// The run ends.
    Stop,
    /// The next step runs.
    Continue,
}

/// A step with its changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedStep {
    /// The step's id in the playbook.
    pub id: String,
    /// The action with typed parameters.
    pub action: ActionSpec,
    /// The condition as written; empty when there is none.
    pub when: String,
    /// How earlier steps must have ended for it to run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<After>,
    /// Stop or continue.
    pub on_failure: OnFailure,
    /// How long the step may take.
    pub timeout: Span,
    /// Whether it runs.
    pub decision: Decision,
    /// Its changes, in order.
    pub changes: Vec<Change>,
    /// What it leaves alone.
    pub kept: Vec<Kept>,
    /// What the user should know about it.
    pub notes: Vec<String>,
}

impl PlannedStep {
    /// How the step ended. `ran`: it was begun, so it was neither off nor held back by its `after`. `changes`: how each of
    /// its changes ended, in the same four words (already done is `Succeeded`, not known is `Failed`).
    #[must_use]
    pub fn outcome(&self, ran: bool, changes: impl IntoIterator<Item = StepOutcome>) -> StepOutcome {
        if !ran || self.decision != Decision::Run {
            return StepOutcome::Skipped;
        }
        if self.changes.is_empty() {
            return self.without_changes();
        }
        StepOutcome::of_changes(changes)
    }

    /// A rule kept everything, or there was nothing to change.
    fn without_changes(&self) -> StepOutcome {
        // What is only reported counts nothing.
        if self.kept.iter().any(|kept| kept.count > 0) { StepOutcome::Refused } else { StepOutcome::Skipped }
    }

    /// The ways in which a later step can find that this one ended, as far as the plan says. A required step
    /// ([`OnFailure::Stop`]) that fails or is refused while it runs ends the run: no later step finds that.
    #[must_use]
    pub fn possible(&self) -> BTreeSet<StepOutcome> {
        if self.decision != Decision::Run {
            return BTreeSet::from([StepOutcome::Skipped]);
        }
        let mut found = BTreeSet::new();
        if !self.after.is_empty() {
            found.insert(StepOutcome::Skipped);
        }
        if self.changes.is_empty() {
            found.insert(self.without_changes());
        } else {
            found.insert(StepOutcome::Succeeded);
            if self.on_failure == OnFailure::Continue {
                found.extend([StepOutcome::Refused, StepOutcome::Failed]);
            }
        }
        found
    }

    /// Why the step does not run, given how earlier steps ended; `None` when it does. A step that has not ended holds it
    /// back as well: that cannot be, for steps run in their order.
    pub fn held_back(&self, ended: impl Fn(&str) -> Option<StepOutcome>) -> Option<String> {
        self.after.iter().find_map(|after| match ended(&after.step) {
            Some(outcome) if after.met(outcome) => None,
            Some(outcome) => Some(after.unmet(outcome)),
            None => Some(format!("{} has not ended, and this step runs only after {after}", after.step)),
        })
    }

    /// Why the step cannot run whatever happens, given the earlier steps of its plan; `None` when it may.
    #[must_use]
    pub fn never(&self, earlier: &[Self]) -> Option<String> {
        self.after.iter().find_map(|after| {
            let step = earlier.iter().find(|step| step.id == after.step)?;
            let possible = step.possible();
            if possible.iter().any(|outcome| after.met(*outcome)) {
                return None;
            }
            let now = match possible.iter().next() {
                Some(StepOutcome::Skipped) if possible.len() == 1 => match &step.decision {
                    Decision::Off { .. } => "is skipped",
                    Decision::Run => "has nothing to change",
                },
                Some(StepOutcome::Refused) if possible.len() == 1 => "is refused",
                _ => "has something to change",
            };
            Some(format!("{} {now}, and this step runs only after {after}", step.id))
        })
    }

    /// Why this step can never run, when an earlier one that it waits for is refused in the plan already: what its rules
    /// said. Empty when it may run, or when it is left out for another reason.
    #[must_use]
    pub fn refused_with(&self, earlier: &[Self]) -> Vec<Refusal> {
        let refused = BTreeSet::from([StepOutcome::Refused]);
        let waits_for =
            |step: &&Self| self.after.iter().any(|after| after.step == step.id && !after.met(StepOutcome::Refused));
        let found = earlier.iter().filter(waits_for).filter(|step| step.possible() == refused);
        found.flat_map(|step| step.kept.iter().map(|kept| kept.refusal.clone())).collect()
    }
}

/// A plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// [`PLAN_FORMAT`].
    pub format: String,
    /// The azmend that made it.
    pub version: String,
    /// When.
    pub created: Timestamp,
    /// Where it is valid.
    pub world: World,
    /// Name of the playbook.
    pub playbook: String,
    /// SHA-256 of the playbook's text: the same name with other steps is another playbook.
    pub playbook_digest: String,
    /// Symbolic codes the playbook is for.
    pub codes: Vec<String>,
    /// The VM.
    pub vm: ResourceId,
    /// Its `vmId` when the plan was made: a VM recreated under the same name is another one (S3). Empty when absent.
    pub vm_id: String,
    /// The parameters, all of them.
    pub params: BTreeMap<String, ParamValue>,
    /// Rules switched off by name.
    pub overrides: BTreeSet<Override>,
    /// Locks the user named.
    pub named_locks: Vec<ResourceId>,
    /// Put removed locks back at the end.
    pub relock: bool,
    /// Scripts may run inside the VM.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_guest: bool,
    /// The limit the plan was made under (S9).
    pub max_changes: usize,
    /// Why the playbook applies: fact and value.
    pub evidence: Vec<String>,
    /// The steps.
    pub steps: Vec<PlannedStep>,
    /// What the user should know.
    pub warnings: Vec<String>,
    /// What could not be read.
    pub not_read: BTreeMap<String, String>,
    /// The view when the plan was made.
    pub before: View,
    /// SHA-256 over the canonical JSON of everything above.
    pub hash: String,
    /// What it was made from, in memory only: a run that begins at once does not read again what is fresh.
    #[serde(skip)]
    pub facts: Option<Box<VmFacts>>,
}

/// Why a plan may not be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Not a plan.
    #[error("this is not a plan of azmend: {0}")]
    NotAPlan(String),
    /// Written by another format.
    #[error("the plan has the format {0:?}; this azmend reads {PLAN_FORMAT:?}")]
    Format(String),
    /// Changed after it was made.
    #[error("the plan was changed after it was made: its hash does not match the file")]
    Edited,
    /// Too old.
    #[error("the plan is {0} old; a plan is valid for 24 hours")]
    Expired(Span),
    /// From the future: a clock is wrong.
    #[error("the plan is from the future ({0}); check the clock of this machine")]
    Future(Timestamp),
    /// For another world.
    #[error("the plan is for another place: {0}")]
    World(String),
}

impl Plan {
    /// What stands in for a plan that is lost: it has no steps, so that nothing but locks can be restored with it.
    ///
    /// # Errors
    /// When the origin names no VM.
    pub fn lost(origin: &Origin, created: Timestamp) -> Result<Self, IdError> {
        Ok(Self {
            format: PLAN_FORMAT.to_owned(),
            version: String::new(),
            created,
            world: origin.into(),
            playbook: origin.playbook.clone(),
            playbook_digest: String::new(),
            codes: Vec::new(),
            vm: ResourceId::parse(&origin.vm)?,
            vm_id: String::new(),
            params: BTreeMap::new(),
            overrides: BTreeSet::new(),
            named_locks: Vec::new(),
            relock: false,
            allow_guest: false,
            max_changes: 0,
            evidence: Vec::new(),
            steps: Vec::new(),
            warnings: Vec::new(),
            not_read: BTreeMap::new(),
            before: View::default(),
            hash: String::new(),
            facts: None,
        })
    }

    /// Whether it stands in for one that is lost: each other one has its hash.
    #[must_use]
    pub const fn is_lost(&self) -> bool {
        self.hash.is_empty()
    }

    /// Where it is valid and what it is for, as a journal keeps it.
    #[must_use]
    pub fn origin(&self) -> Origin {
        let world = self.world.clone();
        Origin {
            sandbox: world.sandbox,
            cloud: world.cloud,
            endpoint: world.endpoint,
            tenant: world.tenant,
            subscription: world.subscription,
            identity: world.identity,
            estate_digest: world.estate_digest,
            playbook: self.playbook.clone(),
            vm: self.vm.to_string(),
        }
    }

    /// Every change of the steps that run.
    pub fn changes(&self) -> impl Iterator<Item = (&PlannedStep, &Change)> {
        self.steps
            .iter()
            .filter(|step| step.decision == Decision::Run)
            .flat_map(|step| step.changes.iter().map(move |change| (step, change)))
    }

    /// Whether a required step ([`OnFailure::Stop`]) did not run because a step that it waits for failed or was refused,
    /// directly or through others: such a run is no success. A step that waits for one that succeeded or was skipped was
    /// not needed.
    pub fn missed(&self, ended: impl Fn(&str) -> Option<StepOutcome>) -> bool {
        let mut lost: BTreeSet<&str> = BTreeSet::new();
        let mut missed = false;
        for step in self.steps.iter().filter(|step| step.decision == Decision::Run) {
            let unmet = step.after.iter().any(|after| match ended(&after.step) {
                Some(StepOutcome::Skipped) => !after.met(StepOutcome::Skipped) && lost.contains(after.step.as_str()),
                Some(outcome @ (StepOutcome::Refused | StepOutcome::Failed)) => !after.met(outcome),
                Some(StepOutcome::Succeeded) | None => false,
            });
            if unmet {
                lost.insert(&step.id);
                missed |= step.on_failure == OnFailure::Stop;
            }
        }
        missed
    }

    /// The change with this id.
    #[must_use]
    pub fn change(&self, id: &str) -> Option<&Change> {
        self.steps.iter().flat_map(|step| &step.changes).find(|change| change.id == id)
    }

    /// The sum of the changes' weights (S9).
    #[must_use]
    pub fn weight(&self) -> usize {
        self.changes().map(|(_, change)| change.weight()).sum()
    }

    /// Whether nothing would be changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes().next().is_none()
    }

    /// The hash over everything but the hash itself.
    #[must_use]
    pub fn compute_hash(&self) -> String {
        let mut value = serde_json::to_value(self).unwrap_or(Value::Null);
        if let Some(object) = value.as_object_mut() {
            object.remove("hash");
        }
        let mut text = String::new();
        canonical(&value, &mut text);
        hex(&Sha256::digest(text.as_bytes()))
    }

    /// Sets the hash. Call it last.
    #[must_use]
    pub fn sealed(mut self) -> Self {
        self.hash = self.compute_hash();
        self
    }

    /// Whether the plan is still what its hash says.
    #[must_use]
    pub fn is_unchanged(&self) -> bool {
        self.hash == self.compute_hash()
    }

    /// Reads a saved plan and checks format and hash.
    ///
    /// # Errors
    /// [`PlanError`].
    pub fn parse(text: &str) -> Result<Self, PlanError> {
        let value: Value = serde_json::from_str(text).map_err(|error| {
            PlanError::NotAPlan(format!("it is not JSON (line {}, column {})", error.line(), error.column()))
        })?;
        match value.get("format").and_then(Value::as_str) {
            Some(PLAN_FORMAT) => {}
            Some(other) => return Err(PlanError::Format(other.chars().take(60).collect())),
            None => return Err(PlanError::NotAPlan("it has no \"format\"".into())),
        }
        let plan: Self = serde_json::from_value(value.clone())
            .map_err(|_| PlanError::NotAPlan("a part of it is missing, or of another kind".into()))?;
        // The hash is over what this azmend understands *and* over what stands in the file: an added key is an edit too.
        let mut file = value;
        if let Some(object) = file.as_object_mut() {
            object.remove("hash");
        }
        let mut text = String::new();
        canonical(&file, &mut text);
        if plan.hash != plan.compute_hash() || plan.hash != hex(&Sha256::digest(text.as_bytes())) {
            return Err(PlanError::Edited);
        }
        Ok(plan)
    }

    /// The text of a plan file.
    #[must_use]
    pub fn file_text(&self) -> String {
        // A plan that was just made always serialises.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// Reads a plan file. Every byte counts, white space and repeated keys too: what was approved is the file.
    ///
    /// # Errors
    /// As [`Self::parse`]; [`PlanError::Edited`] when it is not what [`Self::file_text`] wrote.
    pub fn parse_file(text: &str) -> Result<Self, PlanError> {
        let plan = Self::parse(text)?;
        // Another version may write the same plan in another way; its hash covers the content all the same.
        if plan.version == env!("CARGO_PKG_VERSION") && plan.file_text() != text {
            return Err(PlanError::Edited);
        }
        Ok(plan)
    }

    /// Checks age and world just before the plan is applied.
    ///
    /// # Errors
    /// [`PlanError`].
    pub fn check(&self, now: Timestamp, world: &World) -> Result<(), PlanError> {
        // Five minutes of clock difference between the machine that planned and this one are tolerated.
        if elapsed(now, self.created) > Duration::from_secs(300) {
            return Err(PlanError::Future(self.created));
        }
        let age = elapsed(self.created, now);
        if age > PLAN_LIFETIME {
            return Err(PlanError::Expired(age.into()));
        }
        self.world.difference(world).map_or(Ok(()), |why| Err(PlanError::World(why)))
    }
}

/// Canonical JSON: keys sorted, no spaces; numbers as serde_json prints them.
pub fn canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            let sorted: BTreeMap<&String, &Value> = map.iter().collect();
            out.push('{');
            for (i, (key, value)) in sorted.into_iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                out.push_str(&Value::String(key.clone()).to_string());
                out.push(':');
                canonical(value, out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                canonical(item, out);
            }
            out.push(']');
        }
        other => out.push_str(&other.to_string()),
    }
}

/// Lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 15)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
