//! What is superseded, what is expired, what is kept and by which rule.

use super::stale::{self, Stale};
use super::testing::*;
use crate::actions::change::{DeleteReason, Override};
use crate::facts::vm_facts::VmFacts;

fn find(facts: &VmFacts, overrides: &[Override]) -> Stale {
    decide(facts, overrides, stale::find)
}

/// web-01 with an older collection of five points, each with its copy.
fn superseded() -> VmFacts {
    let mut facts = facts();
    let ages: Vec<u64> = (0..5).map(|day| 40 * 24 + 24 * day).collect();
    recovery_of(&mut facts).extend(ages.iter().map(|age| recovery(hours_ago(*age), true)));
    let old = collection("AzureBackup_web-01_000000001", &ages);
    collections_of(&mut facts).push(old);
    facts
}

#[test]
fn expired_points_come_oldest_first_without_the_two_newest() {
    let found = find(&facts(), &[]);
    assert!(found.collections.is_empty());
    // Older than 2 days and 48 hours: from 106 hours on; 10, 34, 58 and 82 hours stay.
    assert_eq!(found.points.len(), 16);
    assert_eq!(found.expired_count, 16);
    assert!(found.points.windows(2).all(|pair| pair[0].point.created < pair[1].point.created));
    assert!(found.kept.is_empty());
}

#[test]
fn the_grace_is_48_hours() {
    let mut facts = facts();
    points_of(&mut facts)[4].created = Some(hours_ago(96));
    assert!(!find(&facts, &[]).points.iter().any(|expired| expired.point.created == Some(hours_ago(96))));
    points_of(&mut facts)[4].created = Some(crate::clock::earlier(hours_ago(96), std::time::Duration::from_secs(1)));
    recovery_of(&mut facts)[4].time = Some(hours_ago(96));
    assert!(
        find(&facts, &[])
            .points
            .iter()
            .any(|expired| { expired.point.created.is_some_and(|at| at < hours_ago(96) && at > hours_ago(97)) })
    );
}

#[test]
fn a_superseded_collection_goes_as_a_whole() {
    let found = find(&superseded(), &[]);
    assert_eq!(found.collections.len(), 1);
    assert_eq!(found.collections[0].why, DeleteReason::Superseded);
    assert_eq!(found.collections[0].collection.id.name(), "AzureBackup_web-01_000000001");
}

#[test]
fn a_collection_is_not_superseded_unless_everything_holds() {
    type Spoil = fn(&mut VmFacts);
    let cases: &[(&str, Spoil)] = &[
        ("a point without a copy", |f| drop(recovery_of(f).pop())),
        ("a point that is not expired", |f| {
            let old = &mut collections_of(f)[1];
            let young = point(&old.id, hours_ago(50));
            old.points.as_mut().unwrap().push(young);
        }),
        ("a failed point", |f| collections_of(f)[1].points.as_mut().unwrap()[0].provisioning_state = "Failed".into()),
        ("no newer collection", |f| drop(collections_of(f).remove(0))),
        ("the newer collection has no succeeded point", |f| {
            for point in points_of(f) {
                point.provisioning_state = "Failed".into();
            }
        }),
        ("a point that does not say which VM it is of", |f| {
            collections_of(f)[1].points.as_mut().unwrap()[0].vm_id.clear();
        }),
        ("the newer one is of another VM of the name", |f| {
            for point in points_of(f) {
                point.vm_id = "99999999-9999-4999-8999-999999999999".into();
            }
        }),
        ("the newer one is another maker's", |f| {
            let newer = &mut collections_of(f)[0];
            let id = newer.id.clone();
            for (n, point) in newer.points.as_mut().unwrap().iter_mut().enumerate() {
                point.id = id.child("restorePoints", &format!("snap-{n}")).unwrap();
            }
        }),
        ("a running job", |f| item_of(f).jobs = known(vec![job("Backup", "InProgress", 1, None)])),
        ("the policy was not read", |f| item_of(f).policy = unread()),
    ];
    for (what, spoil) in cases {
        let mut facts = superseded();
        spoil(&mut facts);
        let found = find(&facts, &[]);
        assert!(found.collections.is_empty(), "{what}: {found:#?}");
    }
}

#[test]
fn kept_points_are_counted_by_rule() {
    let mut facts = facts();
    let old = hours_ago(10 + 24 * 8);
    for recovery in recovery_of(&mut facts) {
        if recovery.time.is_some_and(|time| time < old) {
            recovery.tiers.truncate(1);
        }
    }
    points_of(&mut facts)[19].provisioning_state = "Failed".into();
    let found = find(&facts, &[]);
    assert_eq!(found.kept["s8.snapshot-only"].count, 10);
    assert_eq!(found.kept["s8.state"].count, 1);
    assert_eq!(found.points.len(), 5);
    assert_eq!(found.expired_count, 16);
    let all = find(&facts, &[Override::SnapshotOnly]);
    assert_eq!(all.points.len(), 15);
}

#[test]
fn a_rule_against_the_vm_keeps_every_point() {
    let mut facts = superseded();
    item_of(&mut facts).jobs = known(vec![job("Restore", "InProgress", 1, None)]);
    let found = find(&facts, &[]);
    assert!(found.points.is_empty() && found.collections.is_empty());
    assert_eq!(found.kept["s8.job-active"].count, 21);
}

#[test]
fn a_foreign_collection_is_reported_and_never_touched() {
    let mut facts = facts();
    let mut copy = collection("AzureBackup_web-01_5", &[2000]);
    copy.points.as_mut().unwrap()[0].copied_from = "/subscriptions/x".into();
    collections_of(&mut facts).push(copy);
    let found = find(&facts, &Override::ALL);
    assert!(found.collections.is_empty());
    assert_eq!(found.reported[0].rule, "s7.copy");
}

#[test]
fn nothing_is_expired_without_a_policy() {
    let mut facts = facts();
    item_of(&mut facts).policy = absent();
    let found = find(&facts, &Override::ALL);
    assert!(found.points.is_empty() && found.collections.is_empty());
}

#[test]
fn the_same_facts_give_the_same_lists() {
    let mut turned = superseded();
    let first = find(&turned, &[]);
    points_of(&mut turned).reverse();
    recovery_of(&mut turned).reverse();
    let second = find(&turned, &[]);
    assert_eq!(first.points, second.points);
    assert_eq!(first.collections, second.collections);
}
