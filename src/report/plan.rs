//! The plan on the screen: why, every step with its changes, what is kept and by which rule.
//!
//! Deletions of single points are one line for each collection; everything else is shown one by one.

use anstyle::Style;
use jiff::Timestamp;

use super::layout::{BAD, BOLD, CARE, DIM, Page};
use super::stakes;
use crate::actions::change::{Change, ChangeKind, Risk, Undo};
use crate::actions::points::DeletePoint;
use crate::actions::spec::ActionSpec;
use crate::engine::plan::{Decision, Plan, PlannedStep};
use crate::engine::planner::Planned;
use crate::text::plural;

/// Digits of a plan's hash that are shown.
pub const SHORT_HASH: usize = 12;

/// `Azure` or `the sandbox`.
#[must_use]
pub const fn place(sandbox: bool) -> &'static str {
    if sandbox { "the sandbox" } else { "Azure" }
}

/// The first digits of the plan's hash.
#[must_use]
pub fn short_hash(plan: &Plan) -> &str {
    plan.hash.get(..SHORT_HASH).unwrap_or(&plan.hash)
}

/// The plan for people.
#[must_use]
pub fn plan(plan: &Plan, width: usize) -> String {
    let mut page = Page::new(width);
    let vm = plan.vm.short_name();
    let title = format!("{} on {vm} in {}", plan.playbook, place(plan.world.sandbox));
    page.spans("", 0, &[(BOLD, &title), (DIM, &format!("  plan {}", short_hash(plan)))]);
    page.item("where  ", Style::new(), &stakes::place_of(&plan.world));
    if !plan.evidence.is_empty() {
        page.item("why    ", DIM, &plan.evidence.join(", "));
    }
    page.gap();
    for (index, step) in plan.steps.iter().enumerate() {
        show_step(&mut page, index + 1, step);
    }
    let overrides: Vec<String> =
        plan.overrides.iter().map(|rule| format!("{}: {}", rule.name(), rule.meaning())).collect();
    // A lock that stays is both a warning, with what to do behind it, and what its step keeps: once is enough.
    let kept =
        |text: &str| plan.steps.iter().flat_map(|step| &step.kept).any(|kept| text.starts_with(&kept.refusal.why));
    let warnings: Vec<&String> = plan.warnings.iter().filter(|text| !kept(text)).collect();
    if !(warnings.is_empty() && plan.not_read.is_empty() && overrides.is_empty()) {
        page.gap();
    }
    for text in &overrides {
        page.item("override  ", BAD, text);
    }
    for text in warnings {
        page.item("warning  ", CARE, text);
    }
    for (path, why) in &plan.not_read {
        page.item("not read  ", CARE, &format!("{path}: {why}"));
    }
    stakes::rows(&mut page, plan);
    page.finish()
}

/// What planning came to, a line for each change: for a list of many plans.
#[must_use]
pub fn lines(planned: &Planned) -> Vec<String> {
    match planned {
        Planned::Plan(plan) => {
            let runs = plan.steps.iter().filter(|step| step.decision == Decision::Run);
            let changes = runs.flat_map(|step| groups(&step.changes)).map(sentence);
            let warnings = plan.warnings.iter().map(|warning| format!("warning: {warning}"));
            changes.chain(warnings).collect()
        }
        Planned::NothingToDo { why, .. } => vec![format!("nothing to do now: {why}")],
        Planned::NotChecked { unread, .. } => match unread.iter().next() {
            Some((path, why)) => vec![format!("not checked: {path}: {why}")],
            None => vec!["not checked".to_owned()],
        },
        Planned::Waiting { why, .. } => vec![format!("not now: {why}")],
        Planned::Refused { refusals, .. } => refusals.iter().map(|refusal| format!("refused: {refusal}")).collect(),
        Planned::Input(errors) => errors.iter().map(|error| format!("needs more: {error}")).collect(),
    }
}

fn show_step(page: &mut Page, number: usize, step: &PlannedStep) {
    if let Decision::Off { why } = &step.decision {
        page.item(&format!(" {number} "), DIM, &format!("{}  skipped: {why}", step.id));
        return;
    }
    let count = match step.changes.len() {
        0 => "nothing to change".to_owned(),
        count => plural(count, "change"),
    };
    page.spans(&format!(" {number} "), 3, &[(BOLD, &step.id), (DIM, &format!("  {count}"))]);
    for after in &step.after {
        page.item("   . ", DIM, &format!("runs only after {after}"));
    }
    for group in groups(&step.changes) {
        let style = if group.first().is_some_and(|change| change.risk == Risk::High) { CARE } else { Style::new() };
        page.item("   - ", style, &sentence(group));
        if let Some(change) = group.first() {
            let style = if matches!(change.undo, Undo::Irreversible { .. }) { BAD } else { DIM };
            page.item("     ", style, &undo(change));
        }
    }
    for kept in &step.kept {
        let refusal = &kept.refusal;
        let points = matches!(step.action, ActionSpec::DeleteStale(_) | ActionSpec::DeleteCollection(_));
        let text =
            if points { format!("{} kept: {refusal}", plural(kept.count, "point")) } else { refusal.to_string() };
        page.item("   = ", Style::new(), &text);
        if let Some(hint) = &refusal.hint {
            page.item("     ", DIM, hint);
        }
    }
    for note in &step.notes {
        page.item("   . ", DIM, note);
    }
    if matches!(step.action, ActionSpec::LocksRemove(_))
        && step.changes.is_empty()
        && step.kept.is_empty()
        && step.notes.is_empty()
    {
        page.item("   . ", DIM, "no lock is in the way");
    }
}

/// Runs of single-point deletions in one collection; everything else alone.
fn groups(changes: &[Change]) -> Vec<&[Change]> {
    changes.chunk_by(|a, b| parent(a).is_some() && parent(a) == parent(b)).collect()
}

fn parent(change: &Change) -> Option<String> {
    match &change.what {
        ChangeKind::DeletePoint(DeletePoint { point, .. }) => {
            point.id.up_to("restorePointCollections").map(|id| id.key().to_owned())
        }
        _ => None,
    }
}

fn sentence(group: &[Change]) -> String {
    let [first, _, ..] = group else { return group.first().map(|change| change.effect.clone()).unwrap_or_default() };
    let times: Vec<Timestamp> = group
        .iter()
        .filter_map(|change| match &change.what {
            ChangeKind::DeletePoint(DeletePoint { point, .. }) => point.created,
            _ => None,
        })
        .collect();
    let collection = first.resource().segment("restorePointCollections").unwrap_or_default();
    let mut text = format!("delete {} of {collection}", plural(group.len(), "expired point"));
    if let (Some(oldest), Some(newest)) = (times.iter().min(), times.iter().max()) {
        text.push_str(&format!(", from {} to {}", day(*oldest), day(*newest)));
    }
    text.push_str("; the vault has a copy of each");
    text
}

/// `2026-11-02`.
#[must_use]
pub fn day(at: Timestamp) -> String {
    at.to_string().chars().take(10).collect()
}

fn undo(change: &Change) -> String {
    match &change.undo {
        Undo::Restore => "Reversible: the lock is restored with the same name, level and notes".to_owned(),
        Undo::Inverse { effect } => format!("Reversible: {effect}"),
        Undo::Irreversible { reason } => format!("Irreversible: {reason}"),
        Undo::NotNeeded { reason } => format!("No undo needed: {reason}"),
    }
}

/// The question before the plan is applied, laid out for the screen: it ends where the answer is typed.
#[must_use]
pub fn question(plan: &Plan, width: usize) -> String {
    let mut page = Page::new(width);
    for rule in &plan.overrides {
        page.item("", BAD, &format!("You switched off {}: {}.", rule.name(), rule.meaning()));
    }
    if plan.relock {
        page.item("", Style::new(), "The removed locks are restored at the end.");
    }
    page.item("In ", Style::new(), &format!("{}.", stakes::place_of(&plan.world)));
    if let Some(text) = stakes::irreversible(plan) {
        page.item("", BAD, &format!("Irreversible: {text}."));
    }
    if let Some(text) = stakes::expected_failure(plan) {
        page.item("", CARE, &format!("Expected: {text}."));
    }
    let changes = plan.weight();
    let these = if changes == 1 { "this change".to_owned() } else { format!("these {changes} changes") };
    page.item("", BOLD, &format!("Apply {these} to {} (plan {})?", plan.vm.name(), short_hash(plan)));
    page.finish().trim_end().to_owned()
}
