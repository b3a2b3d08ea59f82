//! The scheduler by itself: futures that end when they are told to.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use super::*;
use crate::clock::{Clock as _, VirtualClock};

fn member(region: &str, claim: Option<&str>) -> Member {
    let id = |group: &str| ResourceId::group("11111111-1111-1111-1111-111111111111", group).unwrap();
    Member { place: ("s".into(), region.into()), unlocks: claim.map(id).into_iter().collect(), deletes: Vec::new() }
}

fn ended(status: Status) -> MemberOutcome {
    let code = if status == Status::Stuck { exit::STUCK } else { exit::OK };
    MemberOutcome::Ran(Box::new(RunResult::empty(status, code, true)))
}

fn limits(ramp: &str, concurrency: usize, max_failures: usize) -> Limits {
    Limits { ramp: ramp.parse().unwrap(), concurrency, max_failures }
}

/// What was at work when each began: index, wave, the others.
struct Trace {
    at_work: RefCell<BTreeSet<usize>>,
    begun: RefCell<Vec<(usize, usize, BTreeSet<usize>)>>,
}

/// Runs that take `seconds(index)` each and end as `end(index)` says.
async fn ran_waves(
    members: &[Member],
    limits: &Limits,
    seconds: impl Fn(usize) -> u64,
    end: impl Fn(usize) -> Status,
) -> (Vec<MemberOutcome>, Vec<(usize, usize, BTreeSet<usize>)>) {
    let clock = VirtualClock::new(jiff::Timestamp::UNIX_EPOCH);
    let trace = Trace { at_work: RefCell::default(), begun: RefCell::default() };
    let outcomes = run_waves(
        members,
        limits,
        || None,
        |index, wave| {
            let (clock, trace, end, seconds) = (clock.clone(), &trace, &end, seconds(index));
            async move {
                trace.begun.borrow_mut().push((index, wave, trace.at_work.borrow().clone()));
                trace.at_work.borrow_mut().insert(index);
                clock.sleep(Duration::from_secs(seconds)).await;
                trace.at_work.borrow_mut().remove(&index);
                ended(end(index))
            }
        },
    )
    .await;
    (outcomes, trace.begun.into_inner())
}

fn ran(outcomes: &[MemberOutcome]) -> Vec<bool> {
    outcomes.iter().map(|member_outcome| matches!(member_outcome, MemberOutcome::Ran(_))).collect()
}

#[tokio::test]
async fn a_wave_is_over_before_the_next_begins_and_each_vm_runs_once() {
    let members = vec![member("we", None); 20];
    let (outcomes, begun) =
        ran_waves(&members, &limits("1,10%,100%", 3, 1), |i| 1 + (i as u64 * 7) % 5, |_| Status::Succeeded).await;
    assert!(ran(&outcomes).iter().all(|ran| *ran));
    assert_eq!(begun.iter().map(|(index, ..)| *index).collect::<BTreeSet<_>>().len(), 20);
    assert_eq!(begun.len(), 20);
    for (index, wave, others) in &begun {
        assert_eq!(
            *wave,
            match index {
                0 => 0,
                1 => 1,
                _ => 2,
            }
        );
        assert!(others.len() < 3, "three at once at most");
        assert!(
            others.iter().all(|other| (*other < 1) == (*index < 1) && (*other < 2) == (*index < 2)),
            "{index} {others:?}"
        );
    }
    assert!(begun.iter().any(|(_, _, others)| others.len() == 2), "they do run beside each other");
}

#[tokio::test]
async fn the_canarys_failure_stops_the_rest() {
    let members = vec![member("we", None); 5];
    for status in [Status::Failed, Status::Partial, Status::Refused, Status::Stuck] {
        let (outcomes, begun) = ran_waves(&members, &limits("1,100%", 4, 1), |_| 1, |_| status).await;
        assert_eq!(ran(&outcomes), [true, false, false, false, false], "{status:?}");
        assert_eq!(begun.len(), 1);
        let Some(MemberOutcome::NotStarted { why, .. }) = outcomes.last() else { panic!("{outcomes:?}") };
        assert!(why.contains(if status == Status::Stuck { "stuck" } else { "failed" }), "{why}");
    }
    let (outcomes, _) = ran_waves(&members, &limits("1,100%", 4, 1), |_| 1, |_| Status::Paused).await;
    assert!(ran(&outcomes).iter().all(|ran| *ran), "a pause is no failure");
}

#[tokio::test]
async fn so_many_failures_are_borne_and_a_stuck_vm_never() {
    let members = vec![member("we", None); 8];
    let fails = |i: usize| if i < 2 { Status::Failed } else { Status::Succeeded };
    let (outcomes, _) = ran_waves(&members, &limits("1,100%", 1, 3), |_| 1, fails).await;
    assert!(ran(&outcomes).iter().all(|ran| *ran));
    let (outcomes, _) = ran_waves(&members, &limits("1,100%", 1, 2), |_| 1, fails).await;
    assert_eq!(ran(&outcomes).iter().filter(|ran| **ran).count(), 2);
    let stuck = |i: usize| if i == 2 { Status::Stuck } else { Status::Succeeded };
    let (outcomes, _) = ran_waves(&members, &limits("1,100%", 1, 99), |_| 1, stuck).await;
    assert_eq!(ran(&outcomes).iter().filter(|ran| **ran).count(), 3);
}

#[tokio::test]
async fn what_has_begun_goes_on_to_its_end() {
    let members = vec![member("we", None); 6];
    let seconds = |i: usize| if i == 0 { 1 } else { 50 };
    let fails = |i: usize| if i == 0 { Status::Failed } else { Status::Succeeded };
    let (outcomes, _) = ran_waves(&members, &limits("100%", 3, 1), seconds, fails).await;
    assert_eq!(ran(&outcomes), [true, true, true, false, false, false]);
    let ok = |member_outcome: &MemberOutcome| matches!(member_outcome, MemberOutcome::Ran(result) if result.status == Status::Succeeded);
    assert_eq!(outcomes.iter().filter(|member_outcome| ok(member_outcome)).count(), 2);
}

#[tokio::test]
async fn the_same_lock_scope_and_a_full_region_wait() {
    let mut members = vec![member("we", Some("rg-a")), member("we", Some("RG-A")), member("we", Some("rg-b"))];
    members.extend(vec![member("we", None); 6]);
    members.extend(vec![member("ne", None); 4]);
    // A lock on the whole subscription is above all groups.
    let above = ResourceId::subscription_scope("11111111-1111-1111-1111-111111111111").unwrap();
    members.push(Member { place: ("s".into(), "ne".into()), unlocks: vec![above], deletes: Vec::new() });
    for seed in 0..40u64 {
        let (outcomes, begun) =
            ran_waves(&members, &limits("100%", 16, 1), |i| 1 + (i as u64 * 31 + seed * 17) % 9, |_| Status::Succeeded)
                .await;
        assert!(ran(&outcomes).iter().all(|ran| *ran));
        for (index, _, others) in &begun {
            let own = members.get(*index).unwrap();
            let others: Vec<&Member> = others.iter().map(|other| members.get(*other).unwrap()).collect();
            assert!(!others.iter().any(|other| other.conflicts(own)), "{index}");
            assert!(others.iter().filter(|other| other.place == own.place).count() < PER_REGION);
        }
        assert!(begun.iter().any(|(_, _, others)| others.len() > PER_REGION), "another region goes on");
    }
}

#[test]
fn only_a_lock_that_goes_keeps_two_apart() {
    let group = |name: &str| ResourceId::group("11111111-1111-1111-1111-111111111111", name).unwrap();
    let of = |unlocks: &[&str], deletes: &[&str]| Member {
        unlocks: unlocks.iter().map(|name| group(name)).collect(),
        deletes: deletes.iter().map(|name| group(name)).collect(),
        ..member("we", None)
    };
    let apart = |a: &Member, b: &Member| {
        assert_eq!(a.conflicts(b), b.conflicts(a));
        a.conflicts(b)
    };
    assert!(!apart(&of(&[], &["rg-a"]), &of(&[], &["rg-a"])), "two delete in a group that nobody unlocks");
    assert!(apart(&of(&["rg-a"], &[]), &of(&[], &["RG-A"])), "a lock that is put back would stop the other");
    assert!(apart(&of(&["rg-a"], &["rg-a"]), &of(&["rg-a"], &[])));
    assert!(!apart(&of(&["rg-a"], &["rg-a"]), &of(&["rg-b"], &["rg-b"])));
    let collection = |name: &str| group("rg-a").resource("Microsoft.Compute", "restorePointCollections", name).unwrap();
    let one = Member { unlocks: vec![collection("c")], ..of(&[], &[]) };
    let other = Member { unlocks: vec![collection("d")], ..of(&[], &[]) };
    assert!(!apart(&one, &other) && apart(&one, &of(&[], &["rg-a"])) && apart(&one, &of(&["rg-a"], &[])));
}

#[test]
fn a_plan_that_grew_too_old_is_no_failure() {
    let waiting = |reason| MemberOutcome::NotStarted { reason, why: String::new() };
    assert!(!waiting(Reason::Expired).failed() && waiting(Reason::CouldNotBegin).failed());
}

#[test]
fn a_named_lock_concerns_what_it_stands_over() {
    let facts = crate::actions::rules::testing::facts();
    let on = |scope: &ResourceId| scope.resource("Microsoft.Authorization", "locks", "keep").unwrap();
    let other = facts.id.subscription_id();
    assert!(concerns(&on(&facts.id), &facts) && concerns(&on(&other), &facts));
    assert!(concerns(&on(&facts.id.group_id().unwrap()), &facts));
    let collection = facts.collections().find(|one| !one.points().is_empty()).unwrap().clone();
    let point = &collection.points().first().unwrap().id;
    for scope in [&collection.id, point, &collection.id.group_id().unwrap()] {
        assert!(concerns(&on(scope), &facts), "{scope}");
    }
    for group in ["rg-elsewhere", "AzureBackupRG_elsewhere_1"] {
        let group = ResourceId::group(facts.id.subscription(), group).unwrap();
        let vm = group.resource("Microsoft.Compute", "virtualMachines", "other").unwrap();
        assert!(!concerns(&on(&group), &facts) && !concerns(&on(&vm), &facts));
    }
}

#[tokio::test]
async fn when_it_is_asked_to_stop_nothing_begins() {
    let members = vec![member("we", None); 3];
    let count = Cell::new(0);
    let halt = || (count.get() >= 1).then_some(Reason::Interrupted);
    let outcomes = run_waves(&members, &limits("100%", 1, 1), halt, |_, _| {
        count.set(count.get() + 1);
        async { ended(Status::Paused) }
    })
    .await;
    assert_eq!(ran(&outcomes), [true, false, false]);
    assert!(matches!(outcomes.last(), Some(MemberOutcome::NotStarted { reason: Reason::Interrupted, .. })));
}
