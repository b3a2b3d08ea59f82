//! The list of VMs.

use crate::facts::unread::Unread;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::layout::{BAD, BOLD, CARE, DIM, GOOD, Page, paint};
use super::lists::{Column, laid_out};
use crate::clock::elapsed;
use crate::facts::inventory::{Protected, VMS_SCHEMA, VmInventory, VmRow};
use crate::facts::objective::{ObjectiveState, aged, often};
use crate::text::{ago, plural};

/// The object on stdout.
#[derive(Debug, Serialize)]
pub struct VmsReport<'a> {
    schema: &'static str,
    sandbox: bool,
    exit_code: u8,
    #[serde(flatten)]
    inventory: &'a VmInventory,
}

impl<'a> VmsReport<'a> {
    /// The object.
    #[must_use]
    pub const fn new(sandbox: bool, exit_code: u8, inventory: &'a VmInventory) -> Self {
        Self { schema: VMS_SCHEMA, sandbox, exit_code, inventory }
    }
}

const fn word(protected: Protected) -> &'static str {
    match protected {
        Protected::Yes => "yes",
        Protected::Stopped => "stopped",
        Protected::Deleted => "deleted",
        Protected::No => "no",
        Protected::Unknown => "unknown",
    }
}

/// How long ago, in the largest unit alone.
pub(super) fn age(at: Timestamp, now: Timestamp) -> String {
    let passed = elapsed(at, now).as_secs();
    let unit = [86_400, 3600, 60].into_iter().find(|unit| passed >= *unit).unwrap_or(1);
    ago(Duration::from_secs(passed / unit * unit))
}

fn last_backup(row: &VmRow, now: Timestamp) -> String {
    match (row.last_backup, row.last_backup_status.as_deref()) {
        (None, None) => String::new(),
        (Some(at), None) => age(at, now),
        (None, Some(status)) => status.to_owned(),
        (Some(at), Some(status)) => format!("{}, {status}", age(at, now)),
    }
}

/// `9 days, late (every day)`.
fn objective(row: &VmRow) -> String {
    let Some(one) = &row.objective else { return String::new() };
    let hours = |hours: u64| Duration::from_secs(hours.saturating_mul(3600));
    let every = one.every_hours.map_or_else(|| "schedule not known".to_owned(), |every| often(hours(every)));
    match (one.age_hours, one.state) {
        (None, _) => format!("none yet ({every})"),
        // The hours of it were counted, not the minutes.
        (Some(0), ObjectiveState::Late) => format!("less than 1 hour, late ({every})"),
        (Some(0), _) => format!("less than 1 hour ({every})"),
        (Some(age), ObjectiveState::Late) => format!("{}, late ({every})", aged(hours(age))),
        (Some(age), _) => format!("{} ({every})", aged(hours(age))),
    }
}

const COLUMNS: [Column<'_>; 6] = [
    Column::Id("vm"),
    Column::Text("protected"),
    Column::Text("last backup"),
    Column::Text("newest point"),
    Column::Id("vault"),
    Column::Id("policy"),
];

fn cells(row: &VmRow, now: Timestamp) -> Vec<String> {
    let vault = row.vault.as_deref().and_then(|id| id.rsplit('/').next()).unwrap_or_default();
    vec![
        format!("{}/{}", row.resource_group, row.name),
        word(row.protected).to_owned(),
        last_backup(row, now),
        objective(row),
        vault.to_owned(),
        row.policy.clone().unwrap_or_default(),
    ]
}

/// Health and power state where they are not the usual ones (`Passed`, running).
fn state(row: &VmRow) -> String {
    let power = row.power.as_deref().filter(|power| !power.eq_ignore_ascii_case("running"));
    let health = row.health.as_deref().filter(|health| !health.eq_ignore_ascii_case("Passed"));
    let health = health.map(|health| match row.health_codes.is_empty() {
        true => health.to_owned(),
        false => format!("{health}: {}", row.health_codes.join(", ")),
    });
    [health.as_deref(), power].into_iter().flatten().collect::<Vec<_>>().join("; ")
}

/// What was not read, for every list.
pub(super) fn unread(page: &mut Page, not_read: &[Unread]) {
    if not_read.is_empty() {
        return;
    }
    page.gap();
    page.line(&paint(CARE, "not read"));
    for one in not_read {
        page.item("  - ", DIM, &format!("{}: {}", one.what, one.why));
    }
}

/// The page; `all` is how many VMs there are when only some are shown.
#[must_use]
pub fn page(found: &VmInventory, all: usize, width: usize) -> String {
    let mut page = Page::new(width);
    for subscription in &found.subscriptions {
        let here = |row: &&VmRow| row.subscription.eq_ignore_ascii_case(&subscription.id);
        let rows: Vec<&VmRow> = found.vms.iter().filter(here).collect();
        if rows.is_empty() {
            continue;
        }
        page.gap();
        page.item("", BOLD, &format!("subscription {}", subscription.name));
        let cells: Vec<Vec<String>> = rows.iter().map(|row| cells(row, found.read_at)).collect();
        let (heading, blocks) = laid_out(&COLUMNS, &cells, width);
        heading.iter().for_each(|line| page.line(&paint(BOLD, line)));
        for (row, block) in rows.iter().zip(blocks) {
            block.iter().for_each(|line| page.line(line));
            let state = state(row);
            if !state.is_empty() {
                page.item("    ", CARE, &state);
            }
        }
    }
    page.gap();
    summary(&mut page, found, all);
    unread(&mut page, &found.not_read);
    page.finish()
}

fn summary(page: &mut Page, found: &VmInventory, all: usize) {
    let count = |wanted: Protected| found.vms.iter().filter(|row| row.protected == wanted).count();
    if found.vms.is_empty() {
        let text = if all > 0 { "every VM that was read is protected" } else { "no VM was found" };
        page.item("", if found.not_read.is_empty() { GOOD } else { CARE }, text);
        return;
    }
    let states = [Protected::Yes, Protected::Stopped, Protected::Deleted, Protected::No, Protected::Unknown];
    let parts: Vec<String> = states
        .into_iter()
        .filter(|state| count(*state) > 0)
        .map(|state| match state {
            Protected::Yes => format!("{} protected", count(state)),
            Protected::Stopped => format!("{} with protection stopped", count(state)),
            Protected::Deleted => format!("{} with a soft-deleted item", count(state)),
            Protected::No => format!("{} not protected", count(state)),
            Protected::Unknown => format!("{} not known", count(state)),
        })
        .collect();
    let of = if found.vms.len() == all { String::new() } else { format!(" of {all}") };
    page.item("", BOLD, &format!("{}{of}: {}", plural(found.vms.len(), "VM"), parts.join(", ")));
    if let Some(words) = found.objective.words() {
        let late = found.objective.late + found.objective.never > 0;
        page.item("", if late { CARE } else { GOOD }, &format!("protected VMs {words}"));
    }
    if count(Protected::No) > 0 {
        let place = plural(found.vaults_of, "visible subscription");
        page.item("", DIM, &format!("no: no vault in {place} has an item of the VM"));
    }
    if count(Protected::Unknown) > 0 {
        page.item("", BAD, "unknown: a list that could name the VM was not read, or not completely");
    }
}
