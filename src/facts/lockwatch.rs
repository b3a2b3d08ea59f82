//! Who makes the locks over a VM's restore points: the activity log and policy assignments.
//!
//! Duty: the reads that only `diagnose --locks` needs. Invariants: what cannot be read is said and never "none" (S12): a policy
//! whose definition is unread is itself unread; an effect that cannot be told stays as it came. Only policies that may make or
//! change a lock are kept: those that only refuse or report put nothing back. Must never: send anything but reads.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::read::{Reader, action, complete, why};
use super::vm_facts::{Part, VmFacts};
use crate::arm::Arm;
use crate::arm::id::ResourceId;
use crate::arm::model::{ActivityEvent, PolicyAssignment, PolicyDefinition, PolicySet};
use crate::arm::permissions::allows;
use crate::clock::earlier;

/// Calls that are out at once.
const CONCURRENCY: usize = 8;
/// How far the activity log is looked back. Azure keeps 90 days.
const LOOK_BACK: Duration = Duration::from_secs(30 * 86_400);
/// The most policies and initiatives that are read one by one; what is beyond is said to be unread.
const MOST: usize = 200;

/// A policy assignment that may make or change a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockPolicy {
    /// The assignment.
    pub assignment: PolicyAssignment,
    /// The policy's name for people.
    pub policy: String,
    /// The effect as it applies here; an expression when it cannot be told.
    pub effect: String,
}

/// What happened to the locks of one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupLog {
    /// The group.
    pub group: ResourceId,
    /// Locks written and deleted, the newest first.
    pub events: Part<Vec<ActivityEvent>>,
}

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockWatch {
    /// The groups that hold the VM's restore points, and those of its region with a lock.
    pub logs: Vec<GroupLog>,
    /// Policies that may put locks on them.
    pub policies: Part<Vec<LockPolicy>>,
    /// Assignments of which it is not known what they do: name and why.
    pub unread: Vec<(String, String)>,
}

/// Reads it.
pub async fn lock_watch(arm: &Arm, facts: &VmFacts) -> LockWatch {
    let reader = Reader::new(arm, CONCURRENCY);
    let homes: BTreeSet<ResourceId> = facts.collections().filter_map(|one| one.id.group_id()).collect();
    let groups = facts.groups.known().into_iter().flatten().map(|group| &group.group.id);
    let mut wanted: BTreeSet<ResourceId> =
        groups.filter(|id| homes.contains(id) || VmFacts::needs_proof(&facts.locks, id)).cloned().collect();
    wanted.extend(homes);
    let logs = wanted.into_iter().map(|group| log(&reader, group));
    let subscription = facts.id.subscription_id();
    let (logs, (policies, unread)) =
        futures::join!(reader.side_by_side(logs.collect()), policies(&reader, &subscription));
    LockWatch { logs, policies, unread }
}

async fn log(reader: &Reader<'_>, group: ResourceId) -> GroupLog {
    let at = reader.now();
    let events = match complete(reader.arm.activity(&group, earlier(at, LOOK_BACK), at).await, "the activity log") {
        Ok(mut events) => {
            let operation = |one: &ActivityEvent| one.operation.to_ascii_lowercase();
            events.retain(|one| operation(one).starts_with("microsoft.authorization/locks/"));
            // Each request has an event when it begins and another when it ends.
            events.retain(|one| !["started", "accepted"].iter().any(|early| one.status.eq_ignore_ascii_case(early)));
            events.sort_by_key(|one| std::cmp::Reverse(one.at));
            Part::Known { at, value: events }
        }
        Err(why) => Part::Unread { why },
    };
    GroupLog { group, events }
}

/// A policy that an assignment brings along: its id, and what it is given.
type Wanted = (String, Vec<(String, String)>);

async fn policies(reader: &Reader<'_>, subscription: &ResourceId) -> (Part<Vec<LockPolicy>>, Vec<(String, String)>) {
    let at = reader.now();
    // RBAC leaves rows out without a word: a list is whole only for who may read it.
    match reader.permissions(subscription).await {
        Err(why) => return (Part::Unread { why }, Vec::new()),
        Ok((_, granted)) if !allows(&granted, action::ASSIGNMENTS) => {
            let why = format!("this identity lacks {}", action::ASSIGNMENTS);
            return (Part::Unread { why }, Vec::new());
        }
        Ok(_) => {}
    }
    let listed = complete(reader.arm.policy_assignments(subscription).await, "the policy assignments");
    let assignments = match listed {
        Ok(assignments) => assignments,
        Err(why) => return (Part::Unread { why }, Vec::new()),
    };
    let is_set = |id: &str| id.to_ascii_lowercase().contains("/policysetdefinitions/");
    let sets = read(reader, assignments.iter().map(|one| one.definition.clone()).filter(|id| is_set(id)), true).await;
    let members = |one: &PolicyAssignment| -> Result<Vec<Wanted>, String> {
        if !is_set(&one.definition) {
            return Ok(vec![(one.definition.clone(), one.parameters.clone())]);
        }
        match sets.get(&one.definition.to_ascii_lowercase()) {
            Some(Ok(Read::Set(set))) => Ok(set.members.iter().map(|member| given(member, set, one)).collect()),
            Some(Err(why)) => Err(why.clone()),
            _ => Err("its initiative was not read".to_owned()),
        }
    };
    let mut unread: Vec<(String, String)> = Vec::new();
    let mut all: Vec<(&PolicyAssignment, Wanted)> = Vec::new();
    for one in &assignments {
        match members(one) {
            Ok(wanted) => all.extend(wanted.into_iter().map(|wanted| (one, wanted))),
            Err(why) => unread.push((one.title.clone(), why)),
        }
    }
    let definitions = read(reader, all.iter().map(|(_, (id, _))| id.clone()), false).await;
    let mut found = Vec::new();
    for (assignment, (id, parameters)) in all {
        match definitions.get(&id.to_ascii_lowercase()) {
            Some(Ok(Read::One(policy))) => {
                let effect = effect(policy, &parameters);
                if policy.names_locks && makes(&effect) {
                    found.push(LockPolicy { assignment: assignment.clone(), policy: policy.title.clone(), effect });
                }
            }
            Some(Err(why)) => unread.push((assignment.title.clone(), why.clone())),
            _ => unread.push((assignment.title.clone(), "its policy was not read".to_owned())),
        }
    }
    unread.sort();
    unread.dedup_by(|other, first| other.0 == first.0);
    (Part::Known { at, value: found }, unread)
}

/// What was read under an id.
enum Read {
    One(PolicyDefinition),
    Set(PolicySet),
}

/// Each of these ids once, the owner's own before those of Azure, for there are many of these.
async fn read(
    reader: &Reader<'_>,
    ids: impl Iterator<Item = String>,
    sets: bool,
) -> BTreeMap<String, Result<Read, String>> {
    let mut ids: Vec<String> = ids.collect();
    let built_in = |id: &String| id.to_ascii_lowercase().starts_with("/providers/microsoft.authorization/");
    ids.sort_by_key(|id| (built_in(id), id.to_ascii_lowercase()));
    ids.dedup_by(|a, b| a.eq_ignore_ascii_case(b));
    let late = ids.split_off(ids.len().min(MOST));
    let calls = ids.into_iter().map(|id| async move {
        let answer = if sets {
            reader.arm.policy_set(&id).await.map(Read::Set)
        } else {
            reader.arm.policy_definition(&id).await.map(Read::One)
        };
        (id.to_ascii_lowercase(), answer.map_err(|error| why(&error)))
    });
    let mut found: BTreeMap<_, _> = reader.side_by_side(calls.collect()).await.into_iter().collect();
    let too_many = || format!("more than {MOST} policies are assigned, and this one was not read");
    found.extend(late.into_iter().map(|id| (id.to_ascii_lowercase(), Err(too_many()))));
    found
}

/// What a member of an initiative is given, with the initiative's parameters filled in.
fn given(member: &crate::arm::model::PolicyMember, set: &PolicySet, assignment: &PolicyAssignment) -> Wanted {
    let outer: Vec<&(String, String)> = assignment.parameters.iter().chain(&set.defaults).collect();
    let fill = |(name, value): &(String, String)| {
        let filled = parameter(value).and_then(|wanted| value_of(outer.iter().copied(), wanted));
        (name.clone(), filled.unwrap_or_else(|| value.clone()))
    };
    (member.definition.clone(), member.parameters.iter().map(fill).collect())
}

/// The name in `[parameters('name')]`.
fn parameter(text: &str) -> Option<&str> {
    let inner = text.trim().strip_prefix('[')?.strip_suffix(']')?.trim();
    let name = inner.strip_prefix("parameters(")?.strip_suffix(')')?.trim();
    name.strip_prefix('\'')?.strip_suffix('\'')
}

fn value_of<'a>(pairs: impl Iterator<Item = &'a (String, String)>, wanted: &str) -> Option<String> {
    let mut pairs = pairs;
    pairs.find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.clone())
}

/// The effect, through its parameter where it stands in one.
fn effect(policy: &PolicyDefinition, parameters: &[(String, String)]) -> String {
    let through = parameter(&policy.effect);
    let value = through.and_then(|wanted| value_of(parameters.iter().chain(&policy.defaults), wanted));
    value.unwrap_or_else(|| policy.effect.clone())
}

/// Whether an effect may make or change something: one that cannot be told may.
fn makes(effect: &str) -> bool {
    const HARMLESS: [&str; 8] =
        ["audit", "auditifnotexists", "deny", "denyaction", "disabled", "append", "manual", "addtonetworkgroup"];
    !HARMLESS.contains(&effect.trim().to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_effect_is_told_through_its_parameter_or_may_be_any() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let policy = PolicyDefinition {
            title: "p".into(),
            effect: "[parameters('Effect')]".into(),
            defaults: vec![pair("effect", "AuditIfNotExists")],
            names_locks: true,
        };
        assert_eq!(effect(&policy, &[]), "AuditIfNotExists");
        assert_eq!(effect(&policy, &[pair("EFFECT", "DeployIfNotExists")]), "DeployIfNotExists");
        assert!(!makes("AuditIfNotExists") && makes("deployIfNotExists") && makes("modify") && !makes("Deny"));
        let unknown = PolicyDefinition { effect: "[if(true(), 'a', 'b')]".into(), ..policy };
        assert!(makes(&effect(&unknown, &[])), "what cannot be told may make a lock");
    }
}
