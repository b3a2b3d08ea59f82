//! `azmend audit --plans`: what each fix would do now, planned as `azmend fix` plans it.
//!
//! Duty: the plans of the findings whose rule is a playbook. Each VM is read once by ARM, for Resource Graph is no ground for
//! a plan. Must never: change anything; a plan made here is shown and thrown away.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use futures::{StreamExt as _, stream};

use super::{Audit, Since, playbook_of};
use crate::actions::change::ChangeKind;
use crate::actions::points::DeleteCollection;
use crate::arm::{Arm, ResourceId};
use crate::engine::plan::{Plan, World};
use crate::engine::planner::{PlanRequest, Planned, plan_of};
use crate::facts::collect::{CollectOptions, collect};
use crate::playbook::library::Library;

/// How many VMs are read at once: each takes some twenty calls, a few of them at a time.
const CONCURRENCY: usize = 4;

/// Plans the standing findings of playbooks: the finding's place in the list, and what planning came to.
///
/// `worlds` are those of the subscriptions, by their GUID; a finding of another subscription gets no plan. `max_changes` is
/// rule S9's limit for one VM.
pub async fn plans(
    arm: &Arm,
    library: &Library,
    audit: &Audit,
    worlds: &BTreeMap<String, World>,
    max_changes: usize,
) -> Vec<(usize, Planned)> {
    let arm = &arm.sharing_jobs();
    let mut by_vm: HashMap<String, (ResourceId, Vec<usize>)> = HashMap::new();
    for (place, finding) in audit.findings.iter().enumerate() {
        let standing = finding.change != Some(Since::Gone) && library.find(playbook_of(&finding.rule)).is_ok();
        // What is done for one VM of a lock is done for all of them.
        let Some(resource) = finding.repaired().next() else { continue };
        if let (true, Ok(vm)) = (standing, ResourceId::parse(resource)) {
            by_vm.entry(vm.key().to_owned()).or_insert_with(|| (vm, Vec::new())).1.push(place);
        }
    }
    let mut vms: Vec<(ResourceId, Vec<usize>)> = by_vm.into_values().collect();
    vms.sort_by_key(|(_, places)| places.iter().min().copied());
    let calls = vms.into_iter().filter_map(|(vm, places)| {
        let world = worlds.get(&vm.subscription().to_lowercase())?;
        Some(Box::pin(async move {
            let facts = collect(arm, &vm, &CollectOptions::default()).await;
            let mut planned = Vec::new();
            for place in places {
                let rule = audit.findings.get(place).map(|one| one.rule.as_str()).unwrap_or_default();
                let Ok(playbook) = library.find(playbook_of(rule)) else { continue };
                let request = PlanRequest {
                    playbook,
                    set: BTreeMap::new(),
                    vm: vm.clone(),
                    overrides: BTreeSet::new(),
                    named_locks: Vec::new(),
                    relock: false,
                    allow_guest: false,
                    max_changes,
                    world: world.clone(),
                    why: None,
                    earlier: crate::engine::Earlier::default(),
                };
                planned.push((place, Box::pin(plan_of(arm, &request, &facts)).await));
            }
            planned
        }))
    });
    stream::iter(calls).buffered(CONCURRENCY).concat().await
}

/// What all these plans together would change: kind and how many. A change that several plans make counts once.
#[must_use]
pub fn planned(plans: &[(usize, Planned)]) -> BTreeMap<String, usize> {
    kinds(plans.iter().filter_map(|(_, planned)| match planned {
        Planned::Plan(plan) => Some(&**plan),
        _ => None,
    }))
}

/// The kinds of change in these plans and how many of each. A change that several plans make counts once.
#[must_use]
pub fn kinds<'a>(plans: impl IntoIterator<Item = &'a Plan>) -> BTreeMap<String, usize> {
    let mut seen: BTreeSet<(&str, String)> = BTreeSet::new();
    for plan in plans {
        for (_, change) in plan.changes() {
            let words = change.what.noun();
            let resource = change.resource().key();
            match &change.what {
                ChangeKind::DeleteCollection(DeleteCollection { collection, .. }) => {
                    seen.extend(collection.points().iter().map(|point| (words, point.id.key().to_owned())));
                }
                // A VM may have several settings to change.
                ChangeKind::SetGuest(_) => {
                    seen.insert((words, format!("{resource} {}", change.effect)));
                }
                _ if words.is_empty() => {}
                _ => {
                    seen.insert((words, resource.to_owned()));
                }
            }
        }
    }
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for (words, _) in seen {
        *counts.entry(words.to_owned()).or_default() += 1;
    }
    counts
}
