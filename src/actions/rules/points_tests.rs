//! S8, rule by rule: where it fires, its twin where it does not, and that an override lifts exactly its own rule.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::points::{copy_guard, point_guards, two_newest, vault_copies, vm_guards};
use super::testing::*;
use crate::actions::change::{Override, Refusal};
use crate::arm::id::ResourceId;
use crate::arm::model::{Job, Point};
use crate::facts::vm_facts::{Part, VmFacts};

fn names(refusals: &[Refusal]) -> BTreeSet<&str> {
    refusals.iter().map(|refusal| refusal.rule.as_str()).collect()
}

fn vm_rules(facts: &VmFacts, overrides: &[Override]) -> Vec<String> {
    let refusals = decide(facts, overrides, |input| vm_guards(input).err().unwrap_or_default());
    names(&refusals).into_iter().map(str::to_owned).collect()
}

fn point_rule(facts: &VmFacts, overrides: &[Override], point: &Point) -> Option<String> {
    decide(facts, overrides, |input| {
        point_guards(input, point, &vault_copies(facts), &two_newest(facts)).err().map(|refusal| refusal.rule)
    })
}

/// The point of this place in the collection, newest first.
fn nth(facts: &VmFacts, n: usize) -> Point {
    facts.collections().next().unwrap().points()[n].clone()
}

type Spoil = fn(&mut VmFacts);

/// Everything that speaks against the VM as a whole, with the rule that says so.
const VM_CASES: &[(&str, &str, Spoil)] = &[
    ("a job in a state that azmend does not know", "s8.job-active", |f| {
        item_of(f).jobs = known(vec![job("Backup", "Suspended", 1, None)]);
    }),
    ("a job without a state", "s8.job-active", |f| item_of(f).jobs = known(vec![job("Restore", "", 1, None)])),
    ("a backup that was due an hour ago", "s8.job-due", |f| set_time(f, "08:00")),
    ("a backup that was due two hours ago", "s8.job-due", |f| set_time(f, "07:00")),
    ("a running backup", "s8.job-active", |f| item_of(f).jobs = known(vec![job("Backup", "InProgress", 1, None)])),
    ("a running restore", "s8.job-active", |f| item_of(f).jobs = known(vec![job("Restore", "InProgress", 1, None)])),
    ("a job being cancelled", "s8.job-active", |f| item_of(f).jobs = known(vec![job("Backup", "Cancelling", 1, None)])),
    ("a backup due in 30 minutes", "s8.job-due", |f| set_time(f, "09:30")),
    ("a schedule nobody understands", "s8.job-due", |f| set_time(f, "soon")),
    ("soft-deleted", "s8.soft-deleted", |f| item_of(f).item.soft_deleted = true),
    ("stopped", "s8.stopped-retained", |f| item_of(f).item.protection_state = "ProtectionStopped".into()),
    ("paused", "s8.stopped-retained", |f| item_of(f).item.protection_state = "ProtectionPaused".into()),
    ("suspended", "s8.stopped-retained", |f| item_of(f).item.protection_state = "BackupsSuspended".into()),
    ("immutable", "s8.immutable", |f| set_vault(f, "Unlocked", "Disabled")),
    ("immutable for good", "s8.immutable", |f| set_vault(f, "Locked", "Disabled")),
    ("multi-user authorization", "s8.immutable", |f| set_vault(f, "Disabled", "Enabled")),
    ("a resource guard", "s8.immutable", |f| item_of(f).resource_guard = known(true)),
    ("a resource guard not read", "s8.immutable", |f| item_of(f).resource_guard = unread()),
    ("a mounted recovery point", "s8.recovery-session", |f| {
        recovery_of(f).iter_mut().take(3).for_each(|recovery| recovery.file_recovery_active = Some(true));
    }),
    ("items not read", "s8.unread", |f| f.items = unread()),
    ("vault not read", "s8.unread", |f| item_of(f).vault = unread()),
    ("jobs not read", "s8.unread", |f| item_of(f).jobs = unread()),
    ("policy not read", "s8.unread", |f| item_of(f).policy = unread()),
    ("recovery points not read", "s8.unread", |f| item_of(f).recovery_points = unread()),
    ("collections not read", "s8.unread", |f| f.collections = unread()),
    ("points of a collection not read", "s8.unread", |f| {
        let mut other = collection("AzureBackup_web-01_222222222", &[]);
        other.points = None;
        collections_of(f).push(other);
    }),
];

fn set_time(facts: &mut VmFacts, time: &str) {
    let mut policy = policy();
    policy.schedule.times = vec![time.into()];
    item_of(facts).policy = known(policy);
}

fn set_vault(facts: &mut VmFacts, immutability: &str, mua: &str) {
    if let Part::Known { value, .. } = &mut item_of(facts).vault {
        value.immutability = immutability.into();
        value.multi_user_authorization = mua.into();
    }
}

#[test]
fn nothing_speaks_against_a_vm_with_nothing_wrong() {
    assert_eq!(vm_rules(&facts(), &[]), Vec::<String>::new());
}

#[test]
fn each_rule_fires_alone() {
    for (what, rule, spoil) in VM_CASES {
        let mut facts = facts();
        spoil(&mut facts);
        assert_eq!(vm_rules(&facts, &[]), [*rule], "{what}");
    }
}

#[test]
fn an_override_lifts_exactly_its_own_rule() {
    for (what, rule, spoil) in VM_CASES {
        let mut facts = facts();
        spoil(&mut facts);
        for over in Override::ALL {
            let left = vm_rules(&facts, &[over]);
            assert_eq!(left.is_empty(), over.name() == *rule, "{what} with {over}: {left:?}");
        }
    }
}

#[test]
fn a_refusal_that_can_be_lifted_says_how() {
    for (what, rule, spoil) in VM_CASES {
        let mut facts = facts();
        spoil(&mut facts);
        let refusals = decide(&facts, &[], |input| vm_guards(input).unwrap_err());
        let hint = refusals[0].hint.clone().unwrap_or_default();
        assert_eq!(hint.contains(&format!("--override {rule}")), Override::parse(rule).is_some(), "{what}: {hint}");
    }
}

#[test]
fn twins_of_the_rules_do_not_fire() {
    let cases: &[(&str, Spoil)] = &[
        ("a finished job", |f| item_of(f).jobs = known(vec![job("Backup", "Failed", 1, None)])),
        ("no jobs", |f| item_of(f).jobs = absent()),
        ("a backup due in 31 minutes", |f| set_time(f, "09:31")),
        ("a backup that was due more than two hours ago", |f| set_time(f, "06:59")),
        ("a backup that was due and has begun since", |f| {
            set_time(f, "08:00");
            item_of(f).jobs = known(vec![job("Backup", "Failed", 1, None)]);
        }),
        ("no policy", |f| item_of(f).policy = absent()),
        ("immutability not sent", |f| set_vault(f, "", "")),
        ("no resource guard", |f| item_of(f).resource_guard = absent()),
        ("no mounted recovery point", |f| recovery_of(f)[3].file_recovery_active = None),
        ("an item in error is still an active one", |f| item_of(f).item.protection_state = "ProtectionError".into()),
    ];
    for (what, spoil) in cases {
        let mut facts = facts();
        spoil(&mut facts);
        assert_eq!(vm_rules(&facts, &[]), Vec::<String>::new(), "{what}");
    }
}

#[test]
fn only_a_backup_that_began_since_ends_the_wait_for_a_scheduled_one() {
    let due = |time: &str, zone: &str, jobs: Vec<Job>| {
        let mut facts = facts();
        let mut policy = policy();
        policy.schedule.times = vec![time.into()];
        policy.time_zone = zone.into();
        item_of(&mut facts).policy = known(policy);
        item_of(&mut facts).jobs = known(jobs);
        vm_rules(&facts, &[]) == ["s8.job-due"]
    };
    let backup = |age, user| job("Backup", "Completed", age, user);
    // It is 09:00.
    assert!(due("07:30", "UTC", vec![backup(2, None)]), "began before");
    assert!(!due("07:30", "UTC", vec![backup(1, Some(false))]));
    assert!(due("07:30", "UTC", vec![backup(1, Some(true))]), "an on-demand backup is not the scheduled one");
    assert!(due("07:30", "UTC", vec![job("Restore", "Completed", 1, None)]), "nor is another operation");
    let mut no_start = backup(1, None);
    no_start.start = None;
    assert!(due("07:30", "UTC", vec![no_start]));
    // 08:00 in Berlin is 06:00 or 07:00 UTC.
    let berlin = "W. Europe Standard Time";
    assert!(due("08:00", berlin, vec![]) && !due("07:59", berlin, vec![]));
    assert!(due("08:00", berlin, vec![backup(3, None)]), "perhaps an hour before it");
    assert!(!due("08:00", berlin, vec![backup(2, None)]));
}

#[test]
fn a_stopped_item_has_no_next_backup() {
    let mut facts = facts();
    set_time(&mut facts, "09:10");
    item_of(&mut facts).item.protection_state = "ProtectionStopped".into();
    assert_eq!(vm_rules(&facts, &[]), ["s8.stopped-retained"]);
}

#[test]
fn every_item_counts_not_only_the_active_one() {
    let mut facts = facts();
    let mut old = item_of(&mut facts).clone();
    old.item.soft_deleted = true;
    if let Part::Known { value, .. } = &mut facts.items {
        value.push(old);
    }
    assert_eq!(vm_rules(&facts, &[]), ["s8.soft-deleted"]);
}

#[test]
fn an_old_point_with_a_copy_may_go() {
    let facts = facts();
    for n in 2..20 {
        assert_eq!(point_rule(&facts, &[], &nth(&facts, n)), None, "{n}");
    }
}

#[test]
fn the_two_newest_stay() {
    let facts = facts();
    for n in 0..2 {
        let point = nth(&facts, n);
        assert_eq!(point_rule(&facts, &[], &point).as_deref(), Some("s8.newest"));
        for over in Override::ALL {
            assert_eq!(point_rule(&facts, &[over], &point).is_none(), over == Override::Newest, "{over}");
        }
    }
}

#[test]
fn the_two_newest_are_counted_across_collections_and_only_succeeded_ones() {
    let mut facts = facts();
    let mut newer = collection("AzureBackup_web-01_222222222", &[2, 5]);
    newer.points.as_mut().unwrap()[0].provisioning_state = "Failed".into();
    collections_of(&mut facts).push(newer);
    // 5 h (new collection) and 10 h (old collection) are the newest now; the failed one of 2 h counts for nothing.
    assert_eq!(point_rule(&facts, &[], &nth(&facts, 0)).as_deref(), Some("s8.newest"));
    assert_eq!(point_rule(&facts, &[], &nth(&facts, 1)), None);
}

#[test]
fn points_of_another_maker_do_not_take_the_place_of_the_two_newest() {
    let mut facts = facts();
    let mut foreign = collection("Veeam_web-01", &[1, 2, 3]);
    for (n, point) in foreign.points.as_mut().unwrap().iter_mut().enumerate() {
        point.id = foreign.id.child("restorePoints", &format!("veeam-{n}")).unwrap();
    }
    collections_of(&mut facts).push(foreign);
    for n in 0..2 {
        assert_eq!(point_rule(&facts, &[], &nth(&facts, n)).as_deref(), Some("s8.newest"), "{n}");
    }
}

#[test]
fn a_point_without_a_time_counts_as_the_newest() {
    let mut facts = facts();
    points_of(&mut facts)[19].created = None;
    assert_eq!(point_rule(&facts, &[], &nth(&facts, 19)).as_deref(), Some("s8.newest"));
}

#[test]
fn a_point_that_the_vault_has_no_copy_of_stays() {
    let cases: &[(&str, Spoil)] = &[
        ("snapshot tier only", |f| recovery_of(f)[9] = recovery(hours_ago(10 + 24 * 9), false)),
        ("deleted in the vault", |f| recovery_of(f)[9].tiers[1].status = "Deleted".into()),
        ("no recovery point", |f| drop(recovery_of(f).remove(9))),
        ("11 minutes apart", |f| shift(f, 660)),
        ("two candidates", |f| recovery_of(f).push(recovery(hours_ago(10 + 24 * 9), true))),
        ("two points for one copy", |f| {
            let twin = collection("AzureBackup_web-01_222222222", &[10 + 24 * 9]);
            collections_of(f).push(twin);
        }),
        ("no item", |f| f.items = known(Vec::new())),
        ("items absent", |f| f.items = absent()),
    ];
    for (what, spoil) in cases {
        let mut facts = facts();
        spoil(&mut facts);
        let point = nth(&facts, 9);
        assert_eq!(point_rule(&facts, &[], &point).as_deref(), Some("s8.snapshot-only"), "{what}");
        for over in Override::ALL {
            assert_eq!(point_rule(&facts, &[over], &point).is_none(), over == Override::SnapshotOnly, "{what} {over}");
        }
    }
    let mut close = facts();
    shift(&mut close, 600);
    assert_eq!(point_rule(&close, &[], &nth(&close, 9)), None, "10 minutes apart are the same backup");
}

fn shift(facts: &mut VmFacts, seconds: i64) {
    let point = &mut recovery_of(facts)[9];
    point.time = point.time.map(|time| time + jiff::SignedDuration::from_secs(seconds));
}

#[test]
fn an_unfinished_copy_stays() {
    let mut facts = facts();
    points_of(&mut facts)[9].copy_percent = Some(99);
    let point = nth(&facts, 9);
    assert_eq!(point_rule(&facts, &[], &point).as_deref(), Some("s8.recovery-session"));
    assert_eq!(point_rule(&facts, &[Override::RecoverySession], &point), None);
    points_of(&mut facts)[9].copy_percent = Some(100);
    assert_eq!(point_rule(&facts, &[], &nth(&facts, 9)), None);
}

#[test]
fn only_a_points_own_reading_says_that_no_copy_is_under_way() {
    let facts = facts();
    let guard = |point: &Point, overrides: &[Override]| {
        decide(&facts, overrides, |input| copy_guard(input, point).err().map(|refusal| refusal.rule))
    };
    let mut point = nth(&facts, 9);
    assert_eq!(guard(&point, &[]).as_deref(), Some("s8.recovery-session"), "read with its collection");
    assert_eq!(guard(&point, &[Override::RecoverySession]), None);
    point.with_view = true;
    assert_eq!(guard(&point, &[]), None);
    point.copy_percent = Some(0);
    assert_eq!(guard(&point, &[]).as_deref(), Some("s8.recovery-session"));
}

#[test]
fn a_failed_point_is_only_reported_whatever_is_overridden() {
    let mut facts = facts();
    for state in ["Failed", "Creating", "Updating", ""] {
        points_of(&mut facts)[9].provisioning_state = state.into();
        let point = nth(&facts, 9);
        assert_eq!(point_rule(&facts, &Override::ALL, &point).as_deref(), Some("s8.state"), "{state}");
    }
    points_of(&mut facts)[9].provisioning_state = "Deleting".into();
    assert_eq!(point_rule(&facts, &[], &nth(&facts, 9)), None, "Azure is deleting it already");
}

#[test]
fn a_point_of_another_vm_of_the_same_name_is_only_reported() {
    let mut facts = facts();
    points_of(&mut facts)[9].vm_id = "99999999-9999-4999-8999-999999999999".into();
    let point = nth(&facts, 9);
    assert_eq!(point_rule(&facts, &Override::ALL, &point).as_deref(), Some("orphan.same-name"));
    points_of(&mut facts)[9].vm_id = VM_ID.to_uppercase();
    assert_eq!(point_rule(&facts, &[], &nth(&facts, 9)), None);
}

/// A part that can be made unread.
const PARTS: &[Spoil] = &[
    |f| f.items = unread(),
    |f| f.collections = unread(),
    |f| f.vm = unread(),
    |f| f.status = unread(),
    |f| f.groups = unread(),
    |f| f.locks = unread(),
    |f| item_if(f, |i| i.vault = unread()),
    |f| item_if(f, |i| i.resource_guard = unread()),
    |f| item_if(f, |i| i.policy = unread()),
    |f| item_if(f, |i| i.recovery_points = unread()),
    |f| item_if(f, |i| i.jobs = unread()),
];

fn item_if(facts: &mut VmFacts, change: impl FnOnce(&mut crate::facts::vm_facts::ItemFacts)) {
    if let Part::Known { value, .. } = &mut facts.items
        && let Some(item) = value.first_mut()
    {
        change(item);
    }
}

prop_compose! {
    /// A VM with points and recovery points anywhere, some of them awkward, and some things wrong with it.
    fn any_facts()(
        ages in proptest::collection::vec(proptest::collection::btree_set(1u64..2000, 0..8), 1..4),
        copies in proptest::collection::vec((1u64..2000, any::<bool>()), 0..12),
        states in proptest::collection::vec(0usize..12, 0..10),
        spoilt in proptest::option::of(0..VM_CASES.len()),
    ) -> VmFacts {
        let mut facts = facts();
        *collections_of(&mut facts) = ages.iter().enumerate().map(|(n, ages)| {
            let ages: Vec<u64> = ages.iter().copied().collect();
            collection(&format!("AzureBackup_web-01_{}", 100 + n), &ages)
        }).collect();
        // Most points get their copy, so that the rules have something to permit.
        let mut recovery_points: Vec<_> = ages.iter().flatten().map(|age| recovery(hours_ago(*age), age % 5 > 0)).collect();
        recovery_points.extend(copies.iter().map(|(age, hardened)| recovery(hours_ago(*age), *hardened)));
        *recovery_of(&mut facts) = recovery_points;
        let mut all: Vec<&mut Point> =
            collections_of(&mut facts).iter_mut().flat_map(|c| c.points.iter_mut().flatten()).collect();
        let count = all.len().max(1);
        for (n, state) in states.iter().enumerate() {
            let Some(point) = all.get_mut((n * 7 + state) % count) else { continue };
            match state {
                0 => point.provisioning_state = "Failed".into(),
                1 => point.created = None,
                2 => point.copy_percent = Some(3),
                3 => point.vm_id = String::new(),
                _ => {}
            }
        }
        if let Some(n) = spoilt {
            (VM_CASES[n].2)(&mut facts);
        }
        facts
    }
}

fn permitted(facts: &VmFacts, overrides: &[Override]) -> BTreeSet<ResourceId> {
    decide(facts, overrides, |input| {
        if vm_guards(input).is_err() {
            return BTreeSet::new();
        }
        let (vault_copies, newest) = (vault_copies(facts), two_newest(facts));
        facts
            .collections()
            .flat_map(|c| c.points())
            .filter(|point| point_guards(input, point, &vault_copies, &newest).is_ok())
            .map(|point| point.id.clone())
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_two_newest_are_never_permitted(facts in any_facts(), over in 0usize..9) {
        let over = Override::ALL[over];
        let overrides: &[Override] = if over == Override::Newest { &[] } else { &[over] };
        let mut points: Vec<&Point> = facts.collections().flat_map(|c| c.points()).filter(|p| p.succeeded()).collect();
        points.sort_by_key(|point| std::cmp::Reverse(point.created.unwrap_or(jiff::Timestamp::MAX)));
        let permitted = permitted(&facts, overrides);
        // Points of the same moment cannot be told apart: those count as newest only as far as two go.
        let newest: Vec<_> = points.iter().take(2).collect();
        let third = points.get(2).and_then(|point| point.created);
        for point in newest.into_iter().filter(|point| point.created != third) {
            prop_assert!(!permitted.contains(&point.id), "{}", point.id);
        }
    }

    #[test]
    fn twins_are_one_to_one(facts in any_facts()) {
        let vault_copies = vault_copies(&facts);
        let used: BTreeSet<_> = vault_copies.values().map(|recovery| recovery.time).collect();
        prop_assert_eq!(used.len(), vault_copies.len());
    }

    #[test]
    fn what_is_not_read_never_permits_more(facts in any_facts(), part in 0usize..11, over in 0usize..9) {
        let mut less = facts.clone();
        (PARTS[part])(&mut less);
        for overrides in [&[][..], &[Override::ALL[over]], &Override::ALL] {
            let (before, after) = (permitted(&facts, overrides), permitted(&less, overrides));
            prop_assert!(after.is_subset(&before), "part {part}: {after:?} of {before:?}");
        }
    }

    #[test]
    fn overrides_only_ever_permit_more(facts in any_facts(), over in 0usize..9) {
        let (before, after) = (permitted(&facts, &[]), permitted(&facts, &[Override::ALL[over]]));
        prop_assert!(before.is_subset(&after));
    }

    #[test]
    fn a_permitted_point_has_a_hardened_twin(facts in any_facts()) {
        let vault_copies = vault_copies(&facts);
        for id in permitted(&facts, &[]) {
            prop_assert!(vault_copies.get(&id).is_some_and(crate::arm::model::RecoveryPoint::hardened), "{id}");
        }
    }
}
