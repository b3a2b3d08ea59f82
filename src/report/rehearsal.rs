//! `azmend playbook test` for people: each VM with what the conditions saw and what would be done.

use anstyle::Style;
use serde_json::Value;

use super::layout::{BAD, BOLD, CARE, DIM, GOOD, Page, paint};
use crate::engine::planner::Planned;
use crate::engine::rehearsal::{CameTo, Rehearsal, Seen};
use crate::engine::result::Status;
use crate::text::{plural, safe};

/// The page. `planned` has the plan of each VM, in the order of `rehearsal.vms`.
#[must_use]
pub fn page(rehearsal: &Rehearsal, planned: &[Planned], width: usize) -> String {
    let mut page = Page::new(width);
    let vms = plural(rehearsal.vms.len(), "VM");
    page.line(&format!(
        "{}  {}",
        paint(BOLD, &safe(&rehearsal.playbook)),
        paint(DIM, &format!("on {vms} of the estate {}", safe(&rehearsal.estate)))
    ));
    for (vm, planned) in rehearsal.vms.iter().zip(planned) {
        page.gap();
        let applies = vm.conditions.first().map(|seen| seen.came_to);
        let (word, style) = outcome(vm.result.status, applies, vm.result.changes.len());
        page.line(&format!("{}  {}", paint(BOLD, &safe(&vm.name)), paint(style, &word)));
        vm.conditions.iter().for_each(|seen| condition(&mut page, seen));
        if applies == Some(CameTo::True) {
            super::plan::lines(planned).iter().for_each(|line| page.item("  - ", Style::new(), line));
        }
    }
    page.finish()
}

fn outcome(status: Status, applies: Option<CameTo>, changes: usize) -> (String, Style) {
    match (status, applies) {
        (Status::Planned, _) => (plural(changes, "change"), CARE),
        (_, Some(CameTo::False)) => ("does not apply".to_owned(), DIM),
        (_, Some(CameTo::NotChecked)) => ("not checked".to_owned(), CARE),
        (_, Some(CameTo::Error)) | (Status::Error, _) => ("cannot be evaluated".to_owned(), BAD),
        (Status::Refused, _) => ("refused".to_owned(), BAD),
        (Status::Waiting, _) => ("not now".to_owned(), CARE),
        (Status::NothingToDo, _) => ("nothing to do".to_owned(), GOOD),
        _ => ("not checked".to_owned(), CARE),
    }
}

fn condition(page: &mut Page, seen: &Seen) {
    let (word, style) = match seen.came_to {
        CameTo::True => ("true", Style::new()),
        CameTo::False => ("false", DIM),
        CameTo::NotChecked => ("not checked", CARE),
        CameTo::Error => ("cannot be evaluated", BAD),
    };
    let of = seen.step.as_ref().map_or_else(|| "applies".to_owned(), |step| format!("when of {step}"));
    page.item(&format!("  {of}  "), style, &format!("{word}: {}", seen.condition));
    let values: Vec<String> = seen
        .values
        .iter()
        .filter(|(path, _)| *path != "playbook.codes")
        .map(|(path, value)| format!("{path} is {}", shown(value)))
        .collect();
    if !values.is_empty() {
        page.item("      ", DIM, &values.join(", "));
    }
    seen.why.iter().for_each(|why| page.item("      ", CARE, &format!("not read: {why}")));
}

fn shown(value: &Value) -> String {
    if value.is_null() { "not read".to_owned() } else { value.to_string() }
}
