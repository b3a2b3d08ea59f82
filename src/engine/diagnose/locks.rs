//! The checks of locks: each lock with its level and where it stands, and whether it stops something now.
//!
//! Duty: pure. Invariants: a lock that the last backup's error names is a problem wherever it stands; one over the restore
//! points is one by what the group holds, never by its name alone; one that stops nothing is said and is no problem.

use super::line::{Sheet, State};
use crate::arm::model::Lock;
use crate::facts::derive::{LockPlace, lock_place};
use crate::facts::locked::LockedScopes;
use crate::facts::view::View;
use crate::facts::vm_facts::VmFacts;
use crate::text::plural;

/// Over the limit of points the locks are why; below it they are only locks.
const LIMIT: &str = "UserErrorRpCollectionLimitReached";
const LOCKED: &str = "ScopeLocked";

/// A check: where locks are looked for, and whether one there stops something by itself.
const CHECKS: [(&str, LockPlace, bool); 5] = [
    ("on the backup resource groups", LockPlace::BackupGroup, true),
    ("on the restore point collections", LockPlace::Collection, true),
    ("on another group that holds its points", LockPlace::Home, true),
    ("on the subscription", LockPlace::Subscription, true),
    // These stop no backup as such; they stop its extension from being uninstalled.
    ("on the VM or its group", LockPlace::Vm, false),
];

pub(super) fn lines(sheet: &mut Sheet, facts: &VmFacts, view: &View) {
    if let Some(why) = view.unread("locks") {
        return sheet.put("locks", "all scopes", State::NotChecked, why, None);
    }
    let error = LockedScopes::of(facts);
    let meant = |lock: &Lock| error.as_ref().is_some_and(|error| error.mean(lock));
    let locks = facts.locks.known().map(Vec::as_slice).unwrap_or_default();
    let known = view.unread("points.count").is_none() && view.unread("points.limit").is_none();
    let full = known && view.points.count >= view.points.limit || view.backup.last_error == LIMIT;
    for (check, place, stops) in CHECKS {
        let here: Vec<&Lock> = locks.iter().filter(|lock| lock_place(facts, lock) == Ok(Some(place))).collect();
        if here.is_empty() {
            if place != LockPlace::Home {
                sheet.put("locks", check, State::Ok, "none", None);
            }
            continue;
        }
        let met = here.iter().any(|lock| meant(lock));
        let code = if full && !met { LIMIT } else { LOCKED };
        let met = if met { "; the last backup hit it" } else { "" };
        let each = here.iter().map(|lock| said(lock)).collect::<Vec<_>>().join(", ");
        let text = format!("{}: {each}{met}", plural(here.len(), "lock"));
        sheet.judge("locks", check, !stops && met.is_empty(), text, code);
    }
    let of_vault = facts.main_item().map(|item| facts.locks_on_vault(item)).unwrap_or_default();
    if !of_vault.is_empty() {
        let each = of_vault.iter().map(|lock| said(lock)).collect::<Vec<_>>().join(", ");
        let text = format!("{each}: Azure accepts no on-demand backup");
        sheet.put("locks", "on the vault", State::Problem, text, Some(LOCKED));
    }
}

fn said(lock: &Lock) -> String {
    format!("{} ({}) on {}", lock.id.name(), lock.level, lock.scope().short_name())
}
