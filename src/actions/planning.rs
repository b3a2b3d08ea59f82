//! How a step of a playbook becomes changes: what an action sees when it plans, and what it answers.
//!
//! Duty: [`PlanContext`] in, [`StepDraft`] out; [`SoFar`] carries what earlier steps of the same plan leave behind, so that
//! a later step plans on the facts as they will be. Must never: read anything, or decide whether a plan may be made.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::ChangeKind;
use super::change::Change;
use super::outcome::Refusal;
use super::rules::RuleInput;
use super::rules::enabling::Candidate;
use crate::arm::id::ResourceId;
use crate::arm::model::Policy;
use crate::facts::guest::Guest;
use crate::facts::vm_facts::{Part, VmFacts};

/// What is read only for the actions that ask for it.
#[derive(Debug, Clone)]
pub struct PlanReads {
    /// The policies of the vault whose stopped item is resumed.
    pub policies: Part<Vec<Policy>>,
    /// The vault that is to protect the VM.
    pub candidate: Candidate,
    /// The inside of the VM.
    pub guest: Guest,
    /// Points of which could not be read whether a copy of them is under way.
    pub unread_copies: BTreeSet<ResourceId>,
}

/// What an action sees when it plans.
#[derive(Debug, Clone, Copy)]
pub struct PlanContext<'a> {
    /// The facts as the earlier steps of the plan leave them, and what the rules need besides.
    pub input: RuleInput<'a>,
    /// Locks the user named.
    pub named_locks: &'a [ResourceId],
    /// Succeeded points of the VM after the earlier steps, and its limit, where both were read.
    pub room: Option<(usize, usize)>,
    /// Locks over the VM's collections that an earlier step leaves in force.
    pub locks_that_stay: &'a [Refusal],
    /// What was read for some actions only.
    pub reads: &'a PlanReads,
}

/// What an action makes of a step.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StepDraft {
    /// Its changes in order, each with what it does in a sentence.
    pub changes: Vec<(ChangeKind, String)>,
    /// What it leaves alone: how many, and by which rule.
    pub kept: Vec<(usize, Refusal)>,
    /// The same, where the step cannot do what it is for without it: a plan in which the step is required is refused.
    pub refused: Vec<(usize, Refusal)>,
    /// What an earlier step left alone and that stands in the way of this one: like `refused`, but already in the plan.
    pub blocked: Vec<Refusal>,
    /// Locks over the VM's collections that stay in force.
    pub locks_that_stay: Vec<Refusal>,
    /// What was not read and decides what the step does: its path in the view, and why. A plan in which the step is
    /// required is not made (S12).
    pub unread: Vec<(&'static str, String)>,
    /// Something that decides how much it does was not read; the rest is in the plan, and `notes` say it.
    pub partly_unread: bool,
    /// What the user should know.
    pub notes: Vec<String>,
}

impl StepDraft {
    /// One change.
    #[must_use]
    pub fn change(what: impl Into<ChangeKind>, effect: String) -> Self {
        let mut draft = Self::default();
        draft.push(what, effect);
        draft
    }

    /// No change.
    #[must_use]
    pub fn refuse(refusal: Refusal) -> Self {
        Self { refused: vec![(1, refusal)], ..Self::default() }
    }

    /// Nothing to do.
    #[must_use]
    pub fn nothing(note: &str) -> Self {
        Self { notes: vec![note.to_owned()], ..Self::default() }
    }

    /// What a plan for one change came to; `note` is said when there is nothing to do.
    #[must_use]
    pub fn of<K: Into<ChangeKind>>(planned: Result<Option<(K, String)>, Refusal>, note: &str) -> Self {
        match planned {
            Ok(Some((what, effect))) => Self::change(what, effect),
            Ok(None) => Self::nothing(note),
            Err(refusal) => Self::refuse(refusal),
        }
    }

    /// Adds a change.
    pub fn push(&mut self, what: impl Into<ChangeKind>, effect: String) {
        self.changes.push((what.into(), effect));
    }
}

/// What the steps of a plan so far leave behind.
#[derive(Debug, Clone)]
pub struct SoFar<'a> {
    facts: Cow<'a, VmFacts>,
    deleted: usize,
    locks_that_stay: Vec<Refusal>,
}

impl<'a> SoFar<'a> {
    /// Before the first step.
    #[must_use]
    pub const fn nothing(facts: &'a VmFacts) -> Self {
        Self { facts: Cow::Borrowed(facts), deleted: 0, locks_that_stay: Vec::new() }
    }

    /// The facts as the steps so far leave them.
    #[must_use]
    pub fn facts(&self) -> &VmFacts {
        &self.facts
    }

    /// How many points go.
    #[must_use]
    pub const fn deleted(&self) -> usize {
        self.deleted
    }

    /// Locks over the VM's collections that stay in force.
    #[must_use]
    pub fn locks_that_stay(&self) -> &[Refusal] {
        &self.locks_that_stay
    }

    /// Adds what one step leaves behind.
    pub fn add(&mut self, changes: &[Change], locks_that_stay: Vec<Refusal>, reads: &PlanReads) {
        for change in changes {
            change.what.leave(self.facts.to_mut(), reads);
            self.deleted += change.what.points();
        }
        self.locks_that_stay.extend(locks_that_stay);
    }
}
