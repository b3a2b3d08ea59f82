//! `after`, and what a `when` may not look at: how the steps of a playbook depend on each other.

use std::collections::{BTreeMap, BTreeSet};

use super::Reader;
use crate::playbook::after::{After, StepOutcome};
use crate::playbook::model::{OnFailure, Step};
use crate::spelling::nearest;
use crate::yaml::{Key, Node, Place, Value, quote};

/// Where the id of each step stands, and which step of the list it is; known before the first step is read.
pub(super) type Ids<'n> = BTreeMap<&'n str, (Place, usize)>;

/// A step that was read, and where its parts stand.
pub(super) struct Placed {
    /// Its place in the list.
    pub(super) index: usize,
    /// The step.
    pub(super) step: Step,
    /// Its id.
    pub(super) id: Place,
    /// Its condition.
    pub(super) when: Option<Place>,
    /// The steps that its `after` names.
    pub(super) after: BTreeMap<String, Place>,
}

impl Reader<'_> {
    /// Reads `after`: each earlier step with the ways in which it may have ended.
    pub(super) fn after(&mut self, node: &Node, index: usize, ids: &Ids<'_>) -> Vec<(After, Place)> {
        let mut found = Vec::new();
        let Value::Map(entries) = &node.value else {
            let message = format!("after must be a map, but this is {}", node.kind());
            self.hinted(node.place, message, "write after: { step: [succeeded, skipped] }");
            return found;
        };
        if entries.is_empty() {
            self.hinted(node.place, "after names no step", "name an earlier step, or omit after");
        }
        for (key, node) in entries {
            let known = self.earlier(key, index, ids);
            let outcomes = self.outcomes(&key.name, node);
            if known && !outcomes.is_empty() {
                found.push((After { step: key.name.clone(), outcomes }, key.place));
            }
        }
        found
    }

    /// Whether the key is the id of a step before the one with this index.
    fn earlier(&mut self, key: &Key, index: usize, ids: &Ids<'_>) -> bool {
        let Some((place, at)) = ids.get(key.name.as_str()) else {
            let earlier: Vec<&str> = ids.iter().filter(|(_, (_, at))| *at < index).map(|(id, _)| *id).collect();
            let hint = match nearest(&key.name, earlier.iter().copied()) {
                Some(near) => format!("did you mean {near}?"),
                None if earlier.is_empty() => "this is the first step: omit after".to_owned(),
                None => format!("earlier steps: {}", earlier.join(", ")),
            };
            self.hinted(
                key.place,
                format!("after names {}, which is no step of this playbook", quote(&key.name)),
                hint,
            );
            return false;
        };
        if *at == index {
            self.error(key.place, format!("the step {} cannot come after itself", key.name));
        } else if *at > index {
            let message = format!("after names {}, which comes later (line {})", key.name, place.line);
            self.hinted(key.place, message, format!("a step can only depend on an earlier one: move {} up", key.name));
        }
        *at < index
    }

    fn outcomes(&mut self, step: &str, node: &Node) -> BTreeSet<StepOutcome> {
        let words = StepOutcome::ALL.map(StepOutcome::as_str);
        let mut found = BTreeSet::new();
        match &node.value {
            Value::Text(_) => {
                found.extend(self.word(node, "outcome", &words).and_then(StepOutcome::parse));
            }
            Value::List(items) => {
                if items.is_empty() {
                    let message = format!("the list of outcomes of {step} is empty: this step could never run");
                    self.hinted(node.place, message, format!("one or more of {}", words.join(", ")));
                }
                for item in items {
                    let Some(outcome) = self.word(item, "outcome", &words).and_then(StepOutcome::parse) else {
                        continue;
                    };
                    if !found.insert(outcome) {
                        self.error(item.place, format!("the outcome {outcome} appears twice"));
                    }
                }
            }
            _ => {
                let message = format!("the outcomes of {step} must be a word or a list, but this is {}", node.kind());
                self.hinted(node.place, message, format!("one or more of {}", words.join(", ")));
            }
        }
        found
    }

    /// What can be checked only when all steps are known.
    pub(super) fn dependencies(&mut self, steps: &[Placed]) {
        for (number, placed) in steps.iter().enumerate() {
            let earlier = steps.get(..number).unwrap_or_default();
            self.outcomes_that_can_be(placed, earlier);
            self.looks_back(placed, earlier);
        }
    }

    /// After a step that stops the run when it fails nobody sees that it failed.
    fn outcomes_that_can_be(&mut self, placed: &Placed, earlier: &[Placed]) {
        for after in placed.step.after.iter().filter(|after| after.met(StepOutcome::Failed)) {
            let stops = |other: &&Placed| other.step.id == after.step && other.step.on_failure == OnFailure::Stop;
            if earlier.iter().any(|other| stops(&other))
                && let Some(place) = placed.after.get(&after.step)
            {
                let id = &after.step;
                let message = format!("no step runs after {id} failed: it stops the run then");
                self.hinted(*place, message, format!("give {id} on_failure: continue, or omit failed here"));
            }
        }
    }

    /// `when` is decided before the first step. One that looks at what an earlier step changes reads as if it were asked
    /// after that step, so it must say how it depends on it.
    fn looks_back(&mut self, placed: &Placed, earlier: &[Placed]) {
        let (Some(when), Some(place)) = (&placed.step.when, placed.when) else { return };
        let depends = |other: &Placed| placed.step.after.iter().any(|after| after.step == other.step.id);
        let open: Vec<&Placed> = earlier.iter().filter(|other| !depends(other)).collect();
        let looks = when.touched().iter().filter_map(|path| {
            let changed: Vec<&Placed> = open.iter().filter(|other| other.step.action.changes(path)).copied().collect();
            (!changed.is_empty()).then_some((path, changed))
        });
        let looks: Vec<(&String, Vec<&Placed>)> = looks.collect();
        let Some((first, _)) = looks.first() else { return };
        let at = when
            .source()
            .find(first.as_str())
            .map_or(0, |byte| when.source().get(..byte).map_or(0, |before| before.chars().count()));
        let place = self.inside(place, when.source(), at);
        let mut changers: BTreeMap<usize, &Placed> = BTreeMap::new();
        for (_, changed) in &looks {
            changers.extend(changed.iter().map(|other| (other.index, *other)));
        }
        let values: Vec<&str> = looks.iter().map(|(path, _)| path.as_str()).collect();
        let steps: Vec<String> = changers
            .values()
            .map(|other| format!("{} ({}, line {})", other.step.id, other.step.action, other.id.line))
            .collect();
        let (verb, noun) =
            (if steps.len() == 1 { "changes" } else { "change" }, if steps.len() == 1 { "step" } else { "steps" });
        let message = format!(
            "when: it is decided before the first step, but looks at {}, which the earlier {noun} {} {verb}",
            values.join(", "),
            steps.join(" and ")
        );
        let after: Vec<String> =
            changers.values().map(|other| format!("{}: [succeeded, skipped]", other.step.id)).collect();
        let hint = format!(
            "say how this step depends on it: after: {{ {} }}; a condition for the whole playbook belongs in applies, a choice that people make in a parameter",
            after.join(", ")
        );
        self.hinted(place, message, hint);
    }
}
