//! Plans: how steps depend on each other, and what a changed byte does to a saved one.

use super::StepOutcome::{Failed, Refused, Skipped, Succeeded};
use super::*;
use crate::actions::change::ChangeKind;
use crate::actions::spec::ActionName;

fn step(id: &str) -> PlannedStep {
    PlannedStep {
        id: id.to_owned(),
        action: ActionName::JobWait.with(&serde_json::Map::new()).unwrap(),
        when: String::new(),
        after: Vec::new(),
        on_failure: OnFailure::Continue,
        timeout: Span::from_secs(60),
        decision: Decision::Run,
        changes: Vec::new(),
        kept: Vec::new(),
        notes: Vec::new(),
    }
}

fn with_change(id: &str) -> PlannedStep {
    let job = ResourceId::parse(&format!(
        "/subscriptions/{}/resourceGroups/rg/providers/Microsoft.RecoveryServices/vaults/v/backupJobs/j",
        "5b1c0de0-0000-4000-8000-000000000001"
    ));
    let mut step = step(id);
    step.changes.push(Change::new(
        id,
        1,
        ChangeKind::from(crate::actions::job::AwaitJob { job: job.unwrap() }),
        "wait".to_owned(),
    ));
    step
}

fn kept(count: usize) -> Kept {
    Kept { count, refusal: Refusal::new("s8.newest", "it is one of the two newest") }
}

fn after(step: &str, outcomes: &[StepOutcome]) -> After {
    After { step: step.to_owned(), outcomes: outcomes.iter().copied().collect() }
}

fn plan(steps: Vec<PlannedStep>) -> Plan {
    let world = World {
        sandbox: true,
        cloud: String::new(),
        endpoint: String::new(),
        tenant: String::new(),
        subscription: String::new(),
        subscription_name: String::new(),
        identity: String::new(),
        estate_digest: String::new(),
    };
    let vm = format!(
        "/subscriptions/{}/resourceGroups/rg/providers/Microsoft.Compute/virtualMachines/a",
        "5b1c0de0-0000-4000-8000-000000000001"
    );
    Plan {
        format: PLAN_FORMAT.to_owned(),
        version: String::new(),
        created: Timestamp::UNIX_EPOCH,
        world,
        playbook: String::new(),
        playbook_digest: String::new(),
        codes: Vec::new(),
        vm: ResourceId::parse(&vm).unwrap(),
        vm_id: String::new(),
        params: BTreeMap::new(),
        overrides: BTreeSet::new(),
        named_locks: Vec::new(),
        relock: false,
        allow_guest: false,
        max_changes: 20,
        evidence: Vec::new(),
        steps,
        warnings: Vec::new(),
        not_read: BTreeMap::new(),
        before: View::empty(),
        hash: String::new(),
        facts: None,
    }
}

#[test]
fn a_required_step_that_waited_for_a_failure_is_missed() {
    let required =
        |id: &str, bounds: Vec<After>| PlannedStep { on_failure: OnFailure::Stop, after: bounds, ..with_change(id) };
    let optional = |id: &str, bounds: Vec<After>| PlannedStep { after: bounds, ..with_change(id) };
    let missed = |bounds: Vec<After>, a: StepOutcome, b: StepOutcome| {
        let steps = vec![optional("a", vec![]), optional("b", vec![after("a", &[Succeeded])]), required("c", bounds)];
        plan(steps).missed(|id| match id {
            "a" => Some(a),
            "b" => Some(b),
            _ => Some(Skipped),
        })
    };
    let both = || vec![after("b", &[Succeeded])];
    assert!(!missed(both(), Succeeded, Succeeded));
    assert!(missed(both(), Succeeded, Failed));
    assert!(missed(both(), Refused, Skipped), "through b");
    assert!(!missed(both(), Skipped, Skipped), "nothing failed before it");
    assert!(missed(vec![after("a", &[Succeeded, Skipped])], Failed, Skipped));
    assert!(!missed(vec![after("a", &[Failed, Refused])], Succeeded, Succeeded), "it was not needed");
}

#[test]
fn what_a_required_step_waits_for_may_be_refused_already() {
    let kept = Kept { count: 1, refusal: Refusal::new("s8.in-use", "it is read") };
    let refused = PlannedStep { kept: vec![kept.clone()], ..step("a") };
    let bound = |outcomes: &[StepOutcome]| PlannedStep { after: vec![after("a", outcomes)], ..step("b") };
    assert_eq!(bound(&[Succeeded, Skipped]).refused_with(std::slice::from_ref(&refused)), [kept.refusal]);
    assert_eq!(bound(&[Refused]).refused_with(&[refused]), []);
    assert_eq!(bound(&[Succeeded]).refused_with(&[step("a")]), []);
}

#[test]
fn a_step_ends_in_one_of_four_ways() {
    let off = PlannedStep { decision: Decision::Off { why: "x".into() }, ..with_change("a") };
    assert_eq!(off.outcome(true, [Failed]), Skipped);
    assert_eq!(with_change("a").outcome(false, []), Skipped);
    assert_eq!(with_change("a").outcome(true, [Succeeded]), Succeeded);
    assert_eq!(with_change("a").outcome(true, [Skipped]), Succeeded, "no longer needed");
    assert_eq!(with_change("a").outcome(true, [Succeeded, Refused]), Refused);
    assert_eq!(with_change("a").outcome(true, [Refused, Failed]), Failed);
    assert_eq!(step("a").outcome(true, []), Skipped);
    let refused = PlannedStep { kept: vec![kept(0), kept(3)], ..step("a") };
    assert_eq!(refused.outcome(true, []), Refused);
    let reported = PlannedStep { kept: vec![kept(0)], ..step("a") };
    assert_eq!(reported.outcome(true, []), Skipped);
}

#[test]
fn what_the_plan_knows_of_an_after_is_decided_in_the_plan() {
    let (idle, busy) = (step("idle"), with_change("busy"));
    let refused = PlannedStep { kept: vec![kept(1)], ..step("refused") };
    let off = PlannedStep { decision: Decision::Off { why: "x".into() }, ..step("off") };
    let required = PlannedStep { on_failure: OnFailure::Stop, ..with_change("required") };
    let bound = PlannedStep { after: vec![after("busy", &[Failed])], ..with_change("bound") };
    let earlier = [idle, busy, refused, off, required, bound];
    let never = |name: &str, outcomes: &[StepOutcome]| {
        PlannedStep { after: vec![after(name, outcomes)], ..step("last") }.never(&earlier)
    };
    for (name, possible) in [
        ("idle", vec![Skipped]),
        ("busy", vec![Succeeded, Refused, Failed]),
        ("refused", vec![Refused]),
        ("off", vec![Skipped]),
        ("required", vec![Succeeded]),
        ("bound", vec![Succeeded, Skipped, Refused, Failed]),
    ] {
        for outcome in StepOutcome::ALL {
            assert_eq!(never(name, &[outcome]).is_none(), possible.contains(&outcome), "{name}: {outcome}");
        }
    }
    let why = |name: &str, outcome| never(name, &[outcome]).unwrap();
    assert_eq!(why("off", Succeeded), "off is skipped, and this step runs only after off succeeded");
    assert_eq!(why("idle", Failed), "idle has nothing to change, and this step runs only after idle failed");
    assert_eq!(why("busy", Skipped), "busy has something to change, and this step runs only after busy was skipped");
    assert_eq!(why("refused", Skipped), "refused is refused, and this step runs only after refused was skipped");
}

/// Whatever happens while the plan runs, the plan had said that it may.
#[test]
fn a_step_never_ends_in_a_way_that_the_plan_had_ruled_out() {
    for on_failure in [OnFailure::Stop, OnFailure::Continue] {
        for bound in [false, true] {
            for base in [step("a"), with_change("a"), PlannedStep { kept: vec![kept(1)], ..step("a") }] {
                let bounds = if bound { vec![after("x", &[Succeeded])] } else { Vec::new() };
                let planned = PlannedStep { on_failure, after: bounds, ..base };
                let possible = planned.possible();
                for ran in [false, true] {
                    for change in StepOutcome::ALL {
                        let ended = planned.outcome(ran, planned.changes.iter().map(|_| change));
                        // A required step that is refused or fails ends the run; only `after` keeps one from running.
                        let unseen = !planned.changes.is_empty()
                            && on_failure == OnFailure::Stop
                            && matches!(ended, Refused | Failed);
                        let impossible = !ran && !bound;
                        assert!(unseen || impossible || possible.contains(&ended), "{planned:?}: {ended}");
                    }
                }
            }
        }
    }
}

#[test]
fn an_after_holds_back_until_all_of_it_is_met() {
    let both = vec![after("a", &[Succeeded, Skipped]), after("b", &[Failed])];
    let planned = PlannedStep { after: both, ..step("c") };
    let held = |a, b| planned.held_back(|id| if id == "a" { a } else { b });
    assert_eq!(held(Some(Skipped), Some(Failed)), None);
    assert_eq!(
        held(Some(Refused), Some(Failed)).unwrap(),
        "a was refused, and this step runs only after a succeeded or was skipped"
    );
    assert_eq!(held(Some(Succeeded), Some(Succeeded)).unwrap(), "b succeeded, and this step runs only after b failed");
    assert!(held(None, Some(Failed)).unwrap().contains("has not ended"));
    assert_eq!(step("c").held_back(|_| None), None);
}

/// Plans that were saved before steps had an `after`, and when `scope` and `handler` were keys.
#[test]
fn older_steps_are_read_and_written_as_they_were() {
    let old = serde_json::json!({
        "id": "unlock",
        "action": { "action": "locks.remove", "with": { "scope": "backup_groups" } },
        "when": "",
        "on_failure": "stop",
        "timeout": "2h",
        "decision": { "decision": "run" },
        "changes": [],
        "kept": [],
        "notes": []
    });
    let step: PlannedStep = serde_json::from_value(old.clone()).unwrap();
    assert!(step.after.is_empty());
    assert_eq!(serde_json::to_value(&step).unwrap(), old);
    let bound = PlannedStep { after: vec![after("reload", &[Skipped, Succeeded])], ..step };
    let written = serde_json::to_value(&bound).unwrap();
    assert_eq!(written["after"], serde_json::json!([{ "step": "reload", "outcomes": ["succeeded", "skipped"] }]));
    assert_eq!(serde_json::from_value::<PlannedStep>(written).unwrap(), bound);
}
