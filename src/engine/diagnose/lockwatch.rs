//! The lines of `diagnose --locks`: who wrote and deleted the locks, and which policy puts them back.
//!
//! Duty: pure. Invariant: what was not read is "not checked" and never "nobody" (S12). A policy that leaves a group out, or is
//! not enforced, puts nothing back there: said, and no problem.

use super::line::{Sheet, State};
use crate::arm::id::ResourceId;
use crate::arm::model::ActivityEvent;
use crate::facts::lockwatch::{GroupLog, LockPolicy, LockWatch};
use crate::facts::vm_facts::Part;
use crate::text::{plural, safe_short};

const AREA: &str = "locks";
const LOCKED: &str = "ScopeLocked";
/// So many events of one group are told.
const MOST: usize = 4;

pub(super) fn lines(sheet: &mut Sheet, watch: &LockWatch) {
    for log in &watch.logs {
        written(sheet, log);
    }
    let groups: Vec<&ResourceId> = watch.logs.iter().map(|log| &log.group).collect();
    match &watch.policies {
        Part::Known { value, .. } if value.is_empty() && watch.unread.is_empty() => {
            sheet.put(AREA, "policies that recreate locks", State::Ok, "none", None);
        }
        Part::Known { value, .. } => value.iter().for_each(|one| policy(sheet, one, &groups)),
        Part::Absent { .. } => {}
        Part::Unread { why } => {
            sheet.put(AREA, "policies that recreate locks", State::NotChecked, why.clone(), None);
        }
    }
    if let Some((first, why)) = watch.unread.first() {
        let more = watch.unread.len() - 1;
        let others = if more == 0 { String::new() } else { format!("; so are {}", plural(more, "other assignment")) };
        let said = format!("what the assignment {} does is not known: {why}{others}", safe_short(first, 120));
        sheet.put(AREA, "other policy assignments", State::NotChecked, said, None);
    }
}

fn written(sheet: &mut Sheet, log: &GroupLog) {
    let check = format!("who changed those on {}", log.group.name());
    let Some(events) = sheet.known(AREA, &check, &log.events) else { return };
    if events.is_empty() {
        return sheet.put(AREA, &check, State::Ok, "no one in 30 days, according to the activity log", None);
    }
    let each: Vec<String> = events.iter().take(MOST).map(event).collect();
    let more = events.len().saturating_sub(MOST);
    let more = if more == 0 { String::new() } else { format!("; {more} more") };
    sheet.put(AREA, &check, State::Ok, format!("{}{more}", each.join("; ")), None);
}

fn event(event: &ActivityEvent) -> String {
    let at = event.at.map_or_else(|| "at an unknown time".to_owned(), |at| at.strftime("%Y-%m-%d %H:%MZ").to_string());
    let verb = match event.operation.rsplit('/').next().unwrap_or_default().to_ascii_lowercase().as_str() {
        "write" => "written",
        "delete" => "deleted",
        _ => "changed",
    };
    let name = event.resource.rsplit('/').next().unwrap_or_default();
    let caller = if event.caller.is_empty() { "a caller that the log does not name" } else { &event.caller };
    let failed = if event.status.eq_ignore_ascii_case("Failed") { " (it failed)" } else { "" };
    format!("{} {verb} {at} by {}{failed}", safe_short(name, 80), safe_short(caller, 120))
}

/// Whether a scope as a policy spells it is this group or stands above it.
fn covers(scope: &str, group: &ResourceId) -> bool {
    // What is no resource id is a management group above, for the assignment was listed with the subscription.
    ResourceId::parse(scope).map_or(true, |scope| scope.covers(group))
}

fn policy(sheet: &mut Sheet, one: &LockPolicy, groups: &[&ResourceId]) {
    let assignment = &one.assignment;
    let check = format!("recreated by the policy {}", safe_short(&one.policy, 120));
    let what = format!(
        "{} of the assignment {} at {}",
        safe_short(&one.effect, 80),
        safe_short(&assignment.title, 120),
        safe_short(&assignment.scope, 300)
    );
    if !assignment.enforced {
        return sheet.put(AREA, &check, State::Ok, format!("{what}; it is not enforced"), None);
    }
    let left_out = |group: &ResourceId| {
        assignment.not_scopes.iter().any(|scope| ResourceId::parse(scope).is_ok_and(|scope| scope.covers(group)))
    };
    let met: Vec<&str> = groups
        .iter()
        .filter(|group| covers(&assignment.scope, group) && !left_out(group))
        .map(|group| group.as_str())
        .collect();
    if met.is_empty() {
        return sheet.put(AREA, &check, State::Ok, format!("{what}; it excludes the backup groups"), None);
    }
    // An exclusion names whole scopes: a pattern such as AzureBackupRG_* is not one.
    let said = format!("{what}; exclude in its notScopes: {}", met.join(", "));
    sheet.put(AREA, &check, State::Problem, said, Some(LOCKED));
}
