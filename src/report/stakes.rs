//! What a person agrees to: where it happens, what cannot be undone, what is expected to fail, when to look again.
//!
//! Everything here is read from plans. It is shown with the plan and again in the question, for whoever answers has seen many
//! plans before this one.

use std::collections::BTreeMap;

use anstyle::Style;

use super::layout::{BAD, CARE, Page};
use crate::actions::ChangeKind;
use crate::actions::backup::CLEAN_UP;
use crate::actions::change::Undo;
use crate::engine::plan::{Plan, World};
use crate::text::{human_duration, plural};

/// Subscriptions of a fleet that are named; the rest are counted.
const MOST: usize = 5;

/// Cloud, tenant, subscription and identity, in words.
#[must_use]
pub fn place_of(world: &World) -> String {
    format!("{}, subscription {}, as {}", cloud(world), subscription(world), known(&world.identity))
}

fn cloud(world: &World) -> String {
    let name = if world.sandbox { "the sandbox".to_owned() } else { format!("cloud {}", known(&world.cloud)) };
    format!("{name}, tenant {}", known(&world.tenant))
}

fn subscription(world: &World) -> String {
    if world.subscription_name.is_empty() {
        return known(&world.subscription).to_owned();
    }
    format!("{} ({})", world.subscription_name, known(&world.subscription))
}

const fn known(text: &str) -> &str {
    if text.is_empty() { "not known" } else { text }
}

/// Where the runs of many plans happen: one text for each cloud, tenant and identity.
#[must_use]
pub fn places_of(plans: &[Plan]) -> Vec<String> {
    let mut places: BTreeMap<(String, &str), Vec<String>> = BTreeMap::new();
    for plan in plans {
        let names = places.entry((cloud(&plan.world), known(&plan.world.identity))).or_default();
        let name = subscription(&plan.world);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let text = |((cloud, identity), names): ((String, &str), Vec<String>)| {
        let rest = names.len().saturating_sub(MOST);
        let mut shown = names.iter().take(MOST).cloned().collect::<Vec<_>>().join(", ");
        if rest > 0 {
            shown.push_str(&format!(" and {rest} more"));
        }
        let word = if names.len() == 1 { "subscription" } else { "subscriptions" };
        format!("{cloud}, {word} {shown}, as {identity}")
    };
    places.into_iter().map(text).collect()
}

/// What cannot be undone, in words; `None` when everything can.
#[must_use]
pub fn irreversible(plan: &Plan) -> Option<String> {
    let (mut points, mut others) = (0, 0);
    for (_, change) in plan.changes().filter(|(_, change)| matches!(change.undo, Undo::Irreversible { .. })) {
        match change.what.points() {
            0 => others += 1,
            deleted => points += deleted,
        }
    }
    let mut parts = Vec::new();
    if points > 0 {
        let verb = if points == 1 { "is" } else { "are" };
        let remain = remaining(plan).map(|(left, limit)| format!("; {left} of the VM remain (limit {limit})"));
        parts.push(format!(
            "{} {verb} deleted and cannot be recovered{}",
            plural(points, "restore point"),
            remain.unwrap_or_default()
        ));
    }
    if others > 0 {
        parts.push(format!("{} cannot be undone", plural(others, "other change")));
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// The same for many plans.
#[must_use]
pub fn irreversible_in_all(plans: &[Plan]) -> Option<String> {
    let (mut points, mut others, mut vms) = (0, 0, 0);
    for plan in plans {
        let before = points + others;
        for (_, change) in plan.changes().filter(|(_, change)| matches!(change.undo, Undo::Irreversible { .. })) {
            match change.what.points() {
                0 => others += 1,
                deleted => points += deleted,
            }
        }
        vms += usize::from(points + others > before);
    }
    let what = match (points, others) {
        (0, 0) => return None,
        (0, others) => format!("{} cannot be undone", plural(others, "change")),
        (points, 0) => format!("{} cannot be recovered", plural(points, "restore point")),
        (points, others) => {
            format!(
                "{} cannot be recovered, {} cannot be undone",
                plural(points, "restore point"),
                plural(others, "other change")
            )
        }
    };
    Some(format!("{what}, on {}", plural(vms, "VM")))
}

/// How many points of the VM remain, and the limit; `None` where that was not read.
fn remaining(plan: &Plan) -> Option<(usize, i64)> {
    let before = &plan.before;
    if before.unread("points.count").is_some() || before.points.limit <= 0 {
        return None;
    }
    let gone = plan.changes().map(|(_, change)| change.what.points()).sum::<usize>();
    let left = usize::try_from(before.points.count).ok()?.checked_sub(gone)?;
    Some((left, before.points.limit))
}

/// Why the backup of this plan is expected to fail once, if it is: Azure Backup cleans up only after a backup that the limit
/// stopped, and it can do that only without the lock.
#[must_use]
pub fn expected_failure(plan: &Plan) -> Option<String> {
    let has = |wanted: fn(&ChangeKind) -> bool| plan.changes().any(|(_, change)| wanted(&change.what));
    let unlocks = has(|what| matches!(what, ChangeKind::RemoveLock(_)));
    let starts = has(|what| matches!(what, ChangeKind::StartBackup(_)));
    let (left, limit) = remaining(plan)?;
    let full = i64::try_from(left).is_ok_and(|left| left >= limit);
    (unlocks && starts && full).then(|| {
        format!(
            "the backup is expected to fail once: {} remain (limit {limit}), and Azure Backup deletes old ones only after a backup \
             that the limit has stopped, now that no lock keeps it from that",
            plural(left, "restore point")
        )
    })
}

/// When to look again, if the run does not see the end of it.
#[must_use]
pub fn afterwards(plan: &Plan) -> Option<String> {
    if expected_failure(plan).is_some() {
        return Some(format!(
            "the run then stops with exit 7; resume it about {} later: azmend runs resume",
            human_duration(CLEAN_UP)
        ));
    }
    let snapshot_only = plan.changes().any(|(_, change)| {
        matches!(&change.what, ChangeKind::StartBackup(start) if start.until == crate::actions::backup::BackupUntil::Snapshot)
    });
    snapshot_only.then(|| {
        format!(
            "the run ends with the snapshot; the transfer to the vault takes longer: azmend jobs --vm {}",
            crate::text::shell_quote(&plan.vm.short_name())
        )
    })
}

/// The rows under a plan.
pub(super) fn rows(page: &mut Page, plan: &Plan) {
    let rows = [
        ("irreversible  ", BAD, irreversible(plan)),
        ("expected      ", CARE, expected_failure(plan)),
        ("afterwards    ", Style::new(), afterwards(plan)),
    ];
    if rows.iter().all(|(_, _, text)| text.is_none()) {
        return;
    }
    page.gap();
    for (label, style, text) in rows {
        if let Some(text) = text {
            page.item(label, style, &text);
        }
    }
}
