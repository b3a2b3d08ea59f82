//! Locks, points and backups on the embedded Azure: what one reading proves, and what it does not.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use super::backup::{BackupUntil, StartBackup};
use super::change::{Change, ChangeKind};
use super::locks::{self, RemoveLock, Restore};
use super::planning::{PlanContext, PlanReads};
use super::points::{DeleteCollection, DeletePoint};
use super::rules::{ORPHAN_AGE, RuleInput};
use super::*;
use crate::actions::change::{DeleteReason, Override};
use crate::arm::model::{Collection, Lock};
use crate::arm::{ArmSettings, PollState, StaticToken};
use crate::clock::elapsed;
use crate::facts::collect::{CollectOptions, collect};
use crate::facts::guest::Guest;
use crate::facts::vm_facts::Part;
use crate::sim::{Estate, Fault, FaultEffect, FaultMatch, Sim, World};

const ESTATE: &str = r#"
apiVersion: azmend/estate/v1
name: app
now: 2026-11-20T09:00:00Z
subscriptions:
  - name: Fabrikam
    groups:
      - name: rg-app
        location: westeurope
        vms:
          - name: app-01
            protection:
              vault: vault-01
              policy: daily
              jobs: [{ age: 10h, status: failed, error: UserErrorRpCollectionLimitReached }]
        vaults:
          - name: vault-01
            policies: [{ name: daily, snapshot_days: 2, vault_days: 60, at: "23:00" }]
      - name: AzureBackupRG_westeurope_1
        managed_by: backup
        locks: [{ name: keep, level: CanNotDelete, notes: Set by the landing zone }]
        collections:
          - of: app-01
            points: { count: 19, newest: 34h, every: 1d }
"#;

/// A small estate and a caller that may do everything in it.
struct Bench {
    sim: Sim,
    arm: Arm,
    facts: VmFacts,
    overrides: BTreeSet<Override>,
    unlocked: Option<Timestamp>,
}

fn fault(method: &str, path: &str, effect: FaultEffect) -> Fault {
    let when = FaultMatch {
        method: Some(method.to_owned()),
        path_contains: Some(path.to_owned()),
        nth: None,
        times: Some(1000),
    };
    Fault { id: "fault".to_owned(), when, effect, seen: 0, fired: 0 }
}

/// The same, for the `n`th such request alone.
fn nth(n: u32, fault: Fault) -> Fault {
    Fault { when: FaultMatch { nth: Some(n), times: Some(1), ..fault.when }, ..fault }
}

fn reply(status: u16, code: &str) -> FaultEffect {
    let (code, message) = (code.to_owned(), "The entity was not found.".to_owned());
    FaultEffect::Reply { status, code, message, retry_after: None, raw_body: None }
}

impl Bench {
    async fn new() -> Self {
        Self::on(ESTATE).await
    }

    async fn on(estate: &str) -> Self {
        let estate = Estate::parse(estate, "test.yaml").unwrap();
        let world = World::from_estate(&estate);
        let vm = world.vm_named("app-01").unwrap().id.clone();
        let sim = Sim::new(world);
        let settings = ArmSettings { endpoint: "https://management.azure.com".parse().unwrap(), run_id: "t".into() };
        let token = Arc::new(StaticToken::new("sandbox", "tester"));
        let arm = Arm::new(Arc::new(sim.clone()), token, Arc::new(sim.clock()), settings).unwrap();
        let facts = collect(&arm, &vm, &CollectOptions::default()).await;
        Self { sim, arm, facts, overrides: BTreeSet::new(), unlocked: None }
    }

    fn context(&self) -> Context<'_> {
        Context {
            arm: &self.arm,
            facts: &self.facts,
            overrides: &self.overrides,
            named_locks: &[],
            unlocked: self.unlocked,
        }
    }

    fn fault(&self, fault: Fault) {
        self.sim.edit(|world| world.faults.push(fault));
    }

    fn no_faults(&self) {
        self.sim.edit(|world| world.faults.clear());
    }

    fn now(&self) -> Timestamp {
        self.arm.clock().now()
    }

    async fn sleep(&self, minutes: u64) {
        self.arm.clock().sleep(Duration::from_secs(minutes * 60)).await;
    }

    fn lock(&self) -> Lock {
        self.facts.locks.known().unwrap()[0].clone()
    }

    fn unlock(&self) -> Change {
        Change::new("unlock", 1, RemoveLock { lock: self.lock() }, String::new())
    }

    fn collection(&self) -> Collection {
        self.facts.collections().next().unwrap().clone()
    }

    fn oldest_point(&self) -> Change {
        let collection = self.collection();
        let point = collection.points().iter().min_by_key(|point| point.created).unwrap().clone();
        let collection_id = collection.collection_id;
        Change::new("clean", 1, DeletePoint { point, collection_id }, String::new())
    }

    fn attempt(&self, change: &Change, answered: bool) -> History {
        let attempt = Attempt { at: self.now(), target: change.resource().clone(), remaining: None, answered };
        History { attempts: vec![attempt], ..History::default() }
    }

    async fn check(&self, change: &Change, history: &History) -> Check {
        check(&self.context(), change, history).await
    }

    async fn verify(&self, change: &Change, history: &History) -> Verify {
        verify(&self.context(), change, history).await
    }

    /// Sends the request that the check allows, and follows its operation for at most twenty minutes.
    async fn send(&self, change: &Change, history: &History) -> Result<(), ArmError> {
        let Check::Go(request) = self.check(change, history).await else { panic!("not allowed") };
        let tag = Tag { client_request_id: Uuid::nil() };
        let since = self.now();
        if let Sent::Accepted(mut operation) = send(&self.context(), change, &request, &tag).await? {
            loop {
                let poll = self.arm.poll(&operation).await?;
                operation = poll.operation;
                if !matches!(poll.state, PollState::InProgress) || elapsed(since, self.now()).as_secs() > 1200 {
                    return Ok(());
                }
                self.arm.clock().sleep(poll.wait).await;
            }
        }
        Ok(())
    }

    /// Looks for the proof for as long as it is pending.
    async fn settled(&self, change: &Change, history: &History) -> Verify {
        loop {
            match self.verify(change, history).await {
                Verify::Pending { wait, .. } => self.arm.clock().sleep(wait).await,
                other => return other,
            }
        }
    }
}

fn rule_of(check: &Check) -> &str {
    match check {
        Check::Refuse(refusal) => &refusal.rule,
        other => panic!("{other:?}"),
    }
}

// Locks.

#[tokio::test]
async fn a_release_that_flaps_for_minutes_is_slow_and_accuses_nobody() {
    let slow = ESTATE
        .replace("\nsubscriptions:", "\nsettings: { lock_release_delay: 10m, lock_flapping: true }\nsubscriptions:");
    let bench = Bench::on(&slow).await;
    let change = bench.unlock();
    let history = bench.attempt(&change, true);
    let sent = bench.now();
    bench.send(&change, &History::default()).await.unwrap();
    let proof = bench.settled(&change, &history).await;
    assert!(matches!(proof, Verify::Done(_)), "{proof:?}");
    let took = elapsed(sent, bench.now());
    assert!(took >= Duration::from_secs(600), "one 404 between two 200 proved it after {took:?}");
}

#[tokio::test]
async fn a_deletion_that_azure_takes_and_does_not_do_is_late_then_sent_again_then_given_up() {
    let bench = Bench::new().await;
    bench.fault(fault("DELETE", "/locks/", reply(204, "")));
    let change = bench.unlock();
    let mut history = bench.attempt(&change, true);
    bench.send(&change, &History::default()).await.unwrap();
    let late = bench.settled(&change, &history).await;
    assert!(matches!(late, Verify::Late { .. }), "{late:?}");
    let waited = elapsed(history.attempts[0].at, bench.now());
    assert!(waited >= Duration::from_secs(900) && waited < Duration::from_secs(960), "{waited:?}");
    for tries in 2..=3 {
        bench.sleep(30).await;
        assert!(matches!(bench.verify(&change, &history).await, Verify::Again { .. }));
        assert!(matches!(bench.check(&change, &history).await, Check::Go(_)), "try {tries}");
        history.attempts.extend(bench.attempt(&change, true).attempts);
    }
    let Check::GiveUp(failure) = bench.check(&change, &history).await else { panic!("too many tries") };
    assert!(failure.message.contains("still in force after 3 requests"), "{failure:?}");
}

#[tokio::test]
async fn after_a_lost_answer_only_a_stable_reading_sends_again() {
    let bench = Bench::new().await;
    let change = bench.unlock();
    let history = bench.attempt(&change, false);
    let before = bench.now();
    assert!(matches!(bench.verify(&change, &history).await, Verify::Again { .. }));
    assert!(elapsed(before, bench.now()) >= Duration::from_secs(15), "one 200 is not stable");
    // It did arrive.
    bench.send(&change, &History::default()).await.unwrap();
    assert!(matches!(bench.verify(&change, &history).await, Verify::Done(_)));
}

#[tokio::test]
async fn a_404_of_something_else_proves_nothing_about_a_lock() {
    for code in ["SubscriptionNotFound", "", "InvalidResourceType"] {
        let bench = Bench::new().await;
        bench.fault(fault("GET", "/locks/keep", reply(404, code)));
        let change = bench.unlock();
        assert!(matches!(bench.check(&change, &History::default()).await, Check::Unreadable(_)), "{code:?}");
        let history = bench.attempt(&change, true);
        assert!(matches!(bench.verify(&change, &history).await, Verify::Pending { .. }), "{code:?}");
        assert_eq!(effect(&bench.context(), &change, &history).await, Effect::Unknown, "{code:?}");
    }
}

#[tokio::test]
async fn a_lock_that_was_gone_before_is_not_ours_and_after_a_request_of_ours_it_is() {
    let bench = Bench::new().await;
    let change = bench.unlock();
    let history = bench.attempt(&change, false);
    bench.sim.edit(|world| world.locks.clear());
    let Check::Holds(text) = bench.check(&change, &History::default()).await else { panic!() };
    assert!(text.contains("this run did not remove it"), "{text}");
    assert_eq!(bench.check(&change, &history).await, Check::Follow(None), "its absence has to be stable");
}

#[tokio::test]
async fn a_lock_that_was_seen_gone_for_good_is_not_removed_a_second_time() {
    let bench = Bench::new().await;
    let change = bench.unlock();
    let mut history = bench.attempt(&change, true);
    history.absent = Some(bench.now());
    assert_eq!(rule_of(&bench.check(&change, &history).await), "s5.came-back");
    bench.fault(nth(2, fault("GET", "/locks/keep", reply(404, "LockNotFound"))));
    assert!(matches!(bench.check(&change, &history).await, Check::Wait { .. }), "readings that differ accuse nobody");
    bench.no_faults();
    bench.sim.edit(|world| world.locks.clear());
    assert!(matches!(bench.check(&change, &history).await, Check::Holds(_)));
}

#[tokio::test]
async fn what_requests_for_a_lock_did_is_said_only_from_stable_readings() {
    let bench = Bench::new().await;
    let change = bench.unlock();
    assert_eq!(effect(&bench.context(), &change, &History::default()).await, Effect::None, "nothing was sent");
    let (lost, answered) = (bench.attempt(&change, false), bench.attempt(&change, true));
    assert_eq!(effect(&bench.context(), &change, &lost).await, Effect::None);
    assert_eq!(effect(&bench.context(), &change, &answered).await, Effect::Unknown, "it may still go");
    bench.fault(nth(3, fault("GET", "/locks/keep", reply(404, "LockNotFound"))));
    assert_eq!(effect(&bench.context(), &change, &lost).await, Effect::Unknown, "the readings differ");
    bench.no_faults();
    bench.sleep(30).await;
    assert_eq!(effect(&bench.context(), &change, &answered).await, Effect::None);
    bench.sim.edit(|world| world.locks.clear());
    assert_eq!(effect(&bench.context(), &change, &answered).await, Effect::Some);
}

#[tokio::test]
async fn after_our_own_request_a_reading_is_no_reason_not_to_restore() {
    let bench = Bench::new().await;
    let lock = bench.lock();
    assert_eq!(
        locks::check_restore(&bench.arm, &lock, true, false).await,
        Restore::Go,
        "a stale reading looks the same"
    );
    assert_eq!(locks::check_restore(&bench.arm, &lock, false, false).await, Restore::Stands);
    assert!(matches!(locks::verify_restore(&bench.arm, &lock).await, Verify::Done(_)));
    let other = Lock { notes: "another".into(), ..lock.clone() };
    assert!(matches!(locks::check_restore(&bench.arm, &other, true, false).await, Restore::Other(_)));
    assert!(matches!(locks::verify_restore(&bench.arm, &other).await, Verify::Pending { .. }));
    bench.sim.edit(|world| world.locks.clear());
    assert_eq!(locks::check_restore(&bench.arm, &lock, true, false).await, Restore::Go);
    assert!(matches!(locks::verify_restore(&bench.arm, &lock).await, Verify::Pending { .. }));
    // Only the group's own absence makes it needless: read when the lock's 404 does not say that the group is there, and when
    // the lock was written and is not there.
    bench.fault(fault("GET", "/resourceGroups/AzureBackupRG_westeurope_1", reply(404, "SubscriptionNotFound")));
    assert_eq!(locks::check_restore(&bench.arm, &lock, true, true).await, Restore::Go);
    bench.no_faults();
    bench.fault(fault("GET", "/resourceGroups/AzureBackupRG_westeurope_1", reply(404, "ResourceGroupNotFound")));
    assert_eq!(locks::check_restore(&bench.arm, &lock, true, true).await, Restore::ScopeGone);
}

#[test]
fn what_belongs_to_an_application_is_not_asked_for_again() {
    let lock = super::rules::testing::lock_on(&super::rules::testing::vm_id(), "keep");
    let change = Change::new("unlock", 1, RemoveLock { lock }, String::new());
    let error = |code: &str| {
        let mut error: Value = serde_json::to_value(ArmError::refused("x", "y")).unwrap();
        error["kind"] = serde_json::json!({ "http": { "status": 401 } });
        error["code"] = code.into();
        serde_json::from_value::<ArmError>(error).unwrap()
    };
    assert!(may_send_again(&change, &error("ExpiredAuthenticationToken")));
    assert!(!may_send_again(&change, &error("UnauthorizedApplicationId")));
}

// Points.

/// Without the lock.
async fn unlocked_bench() -> Bench {
    unlocked_bench_with("").await
}

async fn unlocked_bench_with(groups: &str) -> Bench {
    let locks = "locks: [{ name: keep, level: CanNotDelete, notes: Set by the landing zone }]";
    Bench::on(&format!("{}{groups}", ESTATE.replace(locks, "locks: []"))).await
}

/// A run that is resumed finds an attempt without an answer: it is looked for, and never sent a second time (S10).
#[tokio::test]
async fn a_backup_whose_answer_was_lost_is_not_sent_again() {
    let bench = unlocked_bench().await;
    let item = bench.facts.items.known().unwrap()[0].item.id.clone();
    let retain = "30d".parse().unwrap();
    let change = StartBackup { item, retain, until: BackupUntil::Snapshot };
    let change = Change::new("backup", 1, change, String::new());
    let history = bench.attempt(&change, false);
    assert!(matches!(bench.check(&change, &history).await, Check::Wait { .. }));
    bench.sleep(11).await;
    assert!(matches!(bench.check(&change, &history).await, Check::Unknown(_)));
    assert!(matches!(bench.verify(&change, &history).await, Verify::Unknown(_)));
}

#[tokio::test]
async fn a_404_of_something_else_proves_nothing_about_points() {
    let bench = unlocked_bench().await;
    let point = bench.oldest_point();
    let collection = DeleteCollection { collection: bench.collection(), why: DeleteReason::Chosen };
    let collection = Change::new("clean", 1, collection, String::new());
    for (change, path) in [(&point, "/restorePoints/"), (&collection, "/restorePointCollections/")] {
        bench.fault(fault("GET", path, reply(404, "SubscriptionNotFound")));
        assert!(matches!(bench.check(change, &History::default()).await, Check::Unreadable(_)));
        let history = bench.attempt(change, true);
        assert!(matches!(bench.verify(change, &history).await, Verify::Pending { .. }));
        assert_eq!(effect(&bench.context(), change, &history).await, Effect::Unknown);
        bench.no_faults();
        assert_eq!(effect(&bench.context(), change, &history).await, Effect::None);
        bench.fault(fault("GET", path, reply(404, "ResourceNotFound")));
        assert!(matches!(bench.check(change, &History::default()).await, Check::Holds(_)));
        assert!(matches!(bench.verify(change, &history).await, Verify::Done(_)));
        assert_eq!(effect(&bench.context(), change, &history).await, Effect::Some);
        bench.no_faults();
    }
}

#[tokio::test]
async fn a_deletion_that_never_ends_is_come_back_for_with_its_likely_cause() {
    let bench = unlocked_bench().await;
    let change = bench.oldest_point();
    bench.fault(fault("DELETE", "restorePoints", FaultEffect::OperationHangs));
    let history = bench.attempt(&change, true);
    bench.send(&change, &History::default()).await.unwrap();
    let Verify::Late { hint, .. } = bench.settled(&change, &history).await else { panic!("not late") };
    assert!(hint.unwrap().contains("SAS"));
}

/// The policy or the collections changed after the plan: the guards decide on the facts of now.
#[tokio::test]
async fn what_has_not_expired_any_more_stays() {
    let mut bench = unlocked_bench().await;
    let change = bench.oldest_point();
    assert!(matches!(bench.check(&change, &History::default()).await, Check::Go(_)));
    if let Part::Known { value, .. } = &mut bench.facts.items
        && let Part::Known { value: policy, .. } = &mut value[0].policy
    {
        policy.snapshot_days = Some(30);
    }
    assert_eq!(rule_of(&bench.check(&change, &History::default()).await), "s8.not-expired");
}

#[tokio::test]
async fn what_is_not_superseded_any_more_stays() {
    let older = "      - name: AzureBackupRG_westeurope_0\n        collections: [{ of: app-01, points: { count: 5, newest: 40d } }]\n";
    let mut bench = unlocked_bench_with(older).await;
    let newest = |collection: &Collection| collection.points().iter().filter_map(|point| point.created).max();
    let old = bench.facts.collections().min_by_key(|collection| newest(collection)).unwrap().clone();
    let change = DeleteCollection { collection: old.clone(), why: DeleteReason::Superseded };
    let change = Change::new("clean", 1, change, String::new());
    let check = bench.check(&change, &History::default()).await;
    assert!(matches!(check, Check::Go(_)), "{check:?}");
    // The newer collection went: then the older one is the live one. Its two newest points protect themselves, so they are
    // switched off here: the rule holds by itself.
    bench.overrides = Override::ALL.into_iter().collect();
    if let Part::Known { value, .. } = &mut bench.facts.collections {
        value.retain(|collection| collection.id == old.id);
    }
    assert_eq!(rule_of(&bench.check(&change, &History::default()).await), "s8.not-superseded");
}

// Answers that hide points.

fn body(json: &serde_json::Value) -> FaultEffect {
    let (status, code, message) = (200, String::new(), String::new());
    FaultEffect::Reply { status, code, message, retry_after: None, raw_body: Some(json.to_string()) }
}

/// An answer without points, or with none, hides what would go with the collection from every rule.
#[tokio::test]
async fn a_collection_whose_answer_hides_its_points_does_not_go() {
    let mut bench = unlocked_bench().await;
    bench.overrides = Override::ALL.into_iter().collect();
    let collection = bench.collection();
    let whole = DeleteCollection { collection: collection.clone(), why: DeleteReason::Chosen };
    let whole = Change::new("clean", 1, whole, String::new());
    let history = bench.attempt(&whole, true);
    assert!(matches!(bench.check(&whole, &history).await, Check::Go(_)));
    let mut answer = serde_json::json!({
        "id": collection.id, "name": collection.id.name(), "location": "westeurope",
        "properties": {
            "source": { "id": collection.source }, "restorePointCollectionId": collection.collection_id,
            "provisioningState": "Succeeded",
        }
    });
    let path = format!("/restorePointCollections/{}", collection.id.name());
    // The first request is for the collection, the next one for a point of it.
    let hidden = |answer: &serde_json::Value| {
        let mut fault = nth(1, fault("GET", &path, body(answer)));
        fault.when.times = Some(1);
        fault
    };
    bench.fault(hidden(&answer));
    assert_eq!(rule_of(&bench.check(&whole, &history).await), "s12.unread");
    bench.no_faults();
    bench.fault(hidden(&answer));
    assert!(matches!(bench.verify(&whole, &history).await, Verify::Pending { .. }));
    bench.no_faults();
    // An empty list is believed when its newest point is gone, too; then what speaks about the VM still holds.
    answer["properties"]["restorePoints"] = serde_json::json!([]);
    bench.fault(hidden(&answer));
    assert!(matches!(bench.check(&whole, &history).await, Check::Wait { .. }));
    bench.no_faults();
    bench.fault(hidden(&answer));
    assert_eq!(rule_of(&bench.check(&whole, &History::default()).await), "s3.changed");
    bench.no_faults();
    bench.fault(hidden(&answer));
    bench.fault(fault("GET", "/restorePoints/", reply(404, "ResourceNotFound")));
    assert!(matches!(bench.check(&whole, &history).await, Check::Go(_)));
    bench.no_faults();
    let Part::Known { value: items, .. } = &mut bench.facts.items else { panic!() };
    let Part::Known { value: jobs, .. } = &mut items[0].jobs else { panic!() };
    (jobs[0].status, jobs[0].end) = ("InProgress".into(), None);
    bench.overrides.clear();
    bench.fault(hidden(&answer));
    bench.fault(fault("GET", "/restorePoints/", reply(404, "ResourceNotFound")));
    assert_eq!(rule_of(&bench.check(&whole, &history).await), "s8.job-active");
}

/// After a request of ours only a stable reading of other content makes a lock somebody else's, and what cannot be read is
/// written all the same.
#[tokio::test]
async fn one_strange_reading_after_our_request_leaves_no_lock_off() {
    let bench = Bench::new().await;
    let lock = bench.lock();
    bench.sim.edit(|world| world.locks.clear());
    let other = |notes: &str| {
        serde_json::json!({
            "id": lock.id, "name": "keep", "type": "Microsoft.Authorization/locks",
            "properties": { "level": "CanNotDelete", "notes": notes },
        })
    };
    let empty = serde_json::json!({ "id": lock.id, "name": "keep" });
    let restore = async || locks::check_restore(&bench.arm, &lock, true, false).await;
    bench.fault(nth(1, fault("GET", "/locks/keep", body(&other("from before")))));
    assert_eq!(restore().await, Restore::Go, "a stale reading of older content");
    bench.no_faults();
    for effect in [body(&empty), reply(403, "AuthorizationFailed"), reply(500, "InternalServerError")] {
        bench.fault(fault("GET", "/locks/keep", effect));
        assert_eq!(restore().await, Restore::Go);
        bench.no_faults();
    }
    bench.fault(fault("GET", "/locks/keep", FaultEffect::NotSent));
    assert!(matches!(restore().await, Restore::Unreadable(_)), "the PUT would not arrive either");
    bench.no_faults();
    bench.fault(fault("GET", "/locks/keep", body(&other("somebody else's"))));
    assert!(matches!(restore().await, Restore::Other(_)));
}

// Copies to another region.

fn copying(bench: &Bench, point: &crate::arm::model::Point) -> Fault {
    let body = serde_json::json!({
        "id": point.id, "name": point.id.name(),
        "properties": {
            "provisioningState": "Succeeded", "timeCreated": point.created,
            "sourceMetadata": { "vmId": point.vm_id },
            "instanceView": { "diskRestorePoints": [{ "replicationStatus": {
                "status": { "code": "ReplicationState/replicating" }, "completionPercent": 0 } }], "statuses": [] }
        }
    });
    assert!(bench.sim.world().faults.is_empty());
    let (status, code, message) = (200, String::new(), String::new());
    let effect = FaultEffect::Reply { status, code, message, retry_after: None, raw_body: Some(body.to_string()) };
    fault("GET", &format!("/restorePoints/{}", point.id.name()), effect)
}

#[tokio::test]
async fn a_copy_that_is_under_way_keeps_the_point_and_its_whole_collection() {
    let mut bench = unlocked_bench().await;
    let change = bench.oldest_point();
    let ChangeKind::DeletePoint(DeletePoint { point, .. }) = &change.what else { panic!() };
    bench.overrides = Override::ALL.into_iter().filter(|rule| *rule != Override::RecoverySession).collect();
    let whole = DeleteCollection { collection: bench.collection(), why: DeleteReason::Chosen };
    let whole = Change::new("clean", 2, whole, String::new());
    for change in [&change, &whole] {
        assert!(matches!(bench.check(change, &History::default()).await, Check::Go(_)));
    }
    bench.fault(copying(&bench, point));
    for change in [&change, &whole] {
        assert_eq!(rule_of(&bench.check(change, &History::default()).await), "s8.recovery-session");
    }
    bench.overrides.insert(Override::RecoverySession);
    assert!(matches!(bench.check(&whole, &History::default()).await, Check::Go(_)));
}

#[tokio::test]
async fn a_collection_costs_no_reading_of_points_that_the_facts_have_fresh() {
    let mut bench = unlocked_bench().await;
    bench.overrides = Override::ALL.into_iter().filter(|rule| *rule != Override::RecoverySession).collect();
    let whole = DeleteCollection { collection: bench.collection(), why: DeleteReason::Chosen };
    let whole = Change::new("clean", 1, whole, String::new());
    let mut reads = no_reads();
    let ids = points::copies_to_read([&whole.what], &bench.facts, &reads);
    assert_eq!(ids.len(), 19);
    points::read_copies(&bench.arm, ids, &mut bench.facts, &mut reads).await;
    assert!(reads.unread_copies.is_empty());
    let calls = bench.arm.calls();
    assert!(matches!(bench.check(&whole, &History::default()).await, Check::Go(_)));
    assert_eq!(bench.arm.calls() - calls, 1, "the collection alone");
    bench.sleep(2).await;
    let calls = bench.arm.calls();
    assert!(matches!(bench.check(&whole, &History::default()).await, Check::Go(_)));
    assert_eq!(bench.arm.calls() - calls, 20, "too old: each point again");
}

fn no_reads() -> PlanReads {
    let not_asked = Part::not_asked;
    PlanReads {
        policies: not_asked(),
        candidate: crate::actions::rules::enabling::Candidate::not_asked(),
        guest: Guest::NotAllowed,
        unread_copies: BTreeSet::new(),
    }
}

#[tokio::test]
async fn a_plan_leaves_out_what_is_being_copied_and_what_cannot_be_read() {
    let bench = unlocked_bench().await;
    let spec = ActionName::DeleteStale.with(&Map::new()).unwrap();
    let plan = |facts: &VmFacts, reads: &PlanReads| {
        spec.plan(&PlanContext {
            input: RuleInput { facts, now: bench.now(), overrides: &bench.overrides, orphan_age: ORPHAN_AGE },
            named_locks: &[],
            room: Some((19, 18)),
            locks_that_stay: &[],
            reads,
        })
    };
    let (mut facts, mut reads) = (bench.facts.clone(), no_reads());
    let first = plan(&facts, &reads);
    let changes = || first.changes.iter().map(|(what, _)| what);
    assert!(points::copies_to_read(changes(), &facts, &reads).is_empty(), "each is read just before its request");
    // Where the facts know a copy of the collection, the plan says it too.
    let own = bench.collection();
    if let Part::Known { value, .. } = &mut facts.collections {
        let id = ResourceId::parse(&own.id.as_str().replace(own.id.name(), "copy")).unwrap();
        value.push(Collection { id, source: own.id.to_string(), points: Some(Vec::new()), ..own });
    }
    assert_eq!(points::copies_to_read(changes(), &facts, &reads).len(), 3);
    assert_eq!(first.changes.len(), 3, "{first:?}");
    assert!(first.notes.iter().any(|note| note.ends_with("have expired; kept, because there is already room")));
    let planned = |draft: &super::planning::StepDraft| -> Vec<String> {
        draft.changes.iter().map(|(what, _)| what.resource().name().to_owned()).collect()
    };
    let ChangeKind::DeletePoint(copied) = &first.changes[0].0 else { panic!() };
    let ChangeKind::DeletePoint(unreadable) = &first.changes[1].0 else { panic!() };
    bench.fault(copying(&bench, &copied.point));
    bench.fault(fault(
        "GET",
        &format!("/restorePoints/{}", unreadable.point.id.name()),
        reply(403, "AuthorizationFailed"),
    ));
    let draft = loop {
        let draft = plan(&facts, &reads);
        let ids = points::copies_to_read(draft.changes.iter().map(|(what, _)| what), &facts, &reads);
        if ids.is_empty() {
            break draft;
        }
        points::read_copies(&bench.arm, ids, &mut facts, &mut reads).await;
    };
    assert_eq!(draft.changes.len(), 3);
    assert!(!planned(&draft).contains(&copied.point.id.name().to_owned()));
    assert!(!planned(&draft).contains(&unreadable.point.id.name().to_owned()));
    let kept: Vec<_> = draft.kept.iter().filter(|(_, refusal)| refusal.rule == "s8.recovery-session").collect();
    assert_eq!(kept.len(), 2, "{kept:?}");
}
