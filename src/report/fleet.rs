//! A fleet on the screen: what would be done, the question, and what came of it.

use std::collections::BTreeSet;

use anstyle::Style;

use super::layout::{BAD, BOLD, CARE, DIM, GOOD, Page, paint};
use super::plan::{place, plan as plan_page};
use super::stakes;
use crate::actions::change::ChangeKind;
use crate::actions::locks::RemoveLock;
use crate::clock::elapsed;
use crate::engine::fleet::Limits;
use crate::engine::fleet::result::{FleetResult, NotPlanned, Sums, Unplanned};
use crate::engine::plan::Plan;
use crate::engine::result::{RunResult, Status};
use crate::text::{human_duration, plural};

/// Plans that are shown in full; the rest have a line each.
const IN_FULL: usize = 3;
/// Lines of one kind on the screen; the rest are counted. The JSON has all.
const MOST_LINES: usize = 40;

/// The code of a run that a process works on right now: there is nothing to do about it.
pub const AT_WORK: &str = "at_work";

/// The fleet before it begins.
#[must_use]
pub fn overview(fleet: &FleetResult, plans: &[Plan], limits: &Limits, width: usize) -> String {
    let mut page = Page::new(width);
    let title = format!("{} on {} in {}", fleet.playbook, plural(plans.len(), "VM"), place(fleet.sandbox));
    page.item("", BOLD, &title);
    page.item("  scope    ", DIM, &fleet.scope);
    page.item("  changes  ", Style::new(), &sums(&fleet.plan));
    page.item("  waves    ", Style::new(), &waves(&fleet.waves, limits));
    for plan in plans.iter().take(IN_FULL) {
        page.gap();
        page.line(plan_page(plan, width).trim_end());
    }
    let rest = plans.get(IN_FULL..).unwrap_or_default();
    if !rest.is_empty() {
        page.gap();
        page.line(&paint(BOLD, &format!("and {} more", rest.len())));
        // A removed lock is shown with its notes and what else it protects, once for all VMs that share it.
        let mut shown: BTreeSet<&str> = plans.iter().take(IN_FULL).flat_map(unlocked).map(|(lock, _)| lock).collect();
        for plan in rest {
            let own = sums(&Sums::of(std::slice::from_ref(plan)));
            page.item("  - ", Style::new(), &format!("{} ({}): {own}", plan.vm.short_name(), plan.playbook));
            for (_, effect) in unlocked(plan).filter(|(lock, _)| shown.insert(lock)) {
                page.item("    ", CARE, effect);
            }
        }
    }
    unplanned(&mut page, &fleet.not_planned);
    notes(&mut page, fleet);
    page.finish()
}

/// The locks that a plan removes: key and effect.
fn unlocked(plan: &Plan) -> impl Iterator<Item = (&str, &str)> {
    plan.changes().filter_map(|(_, change)| match &change.what {
        ChangeKind::RemoveLock(RemoveLock { lock }) => Some((lock.id.key(), change.effect.as_str())),
        _ => None,
    })
}

/// Every kind of change by name: what is agreed to is never only a number.
fn sums(sums: &Sums) -> String {
    // What does not come back stands first, the backup that is the aim of most plans last.
    let rank = |words: &str| match words {
        "locks removed" => 0,
        "restore points deleted" => 1,
        "backups started" => 3,
        _ => 2,
    };
    let mut kinds: Vec<(&String, &usize)> = sums.kinds.iter().collect();
    kinds.sort_by_key(|(words, _)| rank(words));
    let parts: Vec<String> = kinds.into_iter().map(|(words, count)| counted(*count, words)).collect();
    let all = plural(sums.changes, "change");
    if parts.is_empty() { all } else { format!("{all}: {}", parts.join(", ")) }
}

/// `1 lock removed`, `2 locks removed`.
fn counted(count: usize, words: &str) -> String {
    if count != 1 {
        return format!("{count} {words}");
    }
    if words == "settings inside VMs changed" {
        return "1 setting inside a VM changed".to_owned();
    }
    let (noun, verb) = words.rsplit_once(' ').unwrap_or((words, ""));
    format!("1 {} {verb}", noun.strip_suffix('s').unwrap_or(noun))
}

fn waves(waves: &[usize], limits: &Limits) -> String {
    let sizes: Vec<String> = waves.iter().map(ToString::to_string).collect();
    format!(
        "{}; {} at once; stops after {}",
        sizes.join(", then "),
        limits.concurrency,
        plural(limits.max_failures, "failure")
    )
}

/// The question before the fleet begins.
#[must_use]
pub fn question(fleet: &FleetResult, plans: &[Plan], width: usize) -> String {
    let mut page = Page::new(width);
    if let Some(first) = plans.first() {
        for rule in &first.overrides {
            page.item("", BAD, &format!("You switched off {}: {}.", rule.name(), rule.meaning()));
        }
        if first.relock {
            page.item("", Style::new(), "The removed locks are restored at the end of each VM's run.");
        }
    }
    for place in stakes::places_of(plans) {
        page.item("In ", Style::new(), &format!("{place}."));
    }
    if let Some(text) = stakes::irreversible_in_all(plans) {
        page.item("", BAD, &format!("Irreversible: {text}."));
    }
    let failing = plans.iter().filter(|plan| stakes::expected_failure(plan).is_some()).count();
    if failing > 0 {
        let text =
            format!("Expected: the backup of {} fails once, as its plan says; resume it later.", plural(failing, "VM"));
        page.item("", CARE, &text);
    }
    let vms = plural(plans.len(), "VM");
    page.item("", BOLD, &format!("{} on {vms}. Start?", capital(&sums(&fleet.plan))));
    page.finish().trim_end().to_owned()
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// The word of a run that has ended, and how it looks.
#[must_use]
pub const fn outcome(status: Status) -> (&'static str, Style) {
    match status {
        Status::Succeeded => ("done", GOOD),
        Status::NothingToDo => ("nothing", GOOD),
        Status::Planned => ("planned", CARE),
        Status::Partial => ("partly", CARE),
        Status::Refused => ("refused", CARE),
        Status::Paused => ("paused", CARE),
        Status::Waiting => ("waiting", CARE),
        Status::Undone => ("undone", GOOD),
        Status::Failed | Status::Error => ("failed", BAD),
        Status::Stuck => ("stuck", BAD),
    }
}

/// The fleet when it is over; `program` is how azmend is called in commands.
#[must_use]
pub fn result(fleet: &FleetResult, program: &str, width: usize) -> String {
    let mut page = Page::new(width);
    let (word, style) = match fleet.status {
        Status::Planned => ("planned, nothing changed", CARE),
        Status::NothingToDo => ("nothing to do", GOOD),
        Status::Succeeded => ("succeeded", GOOD),
        Status::Partial => ("partly done", CARE),
        Status::Refused => ("refused, nothing changed", CARE),
        Status::Paused => ("paused", CARE),
        Status::Waiting => ("waiting for a backup that is running", CARE),
        Status::Failed | Status::Error => ("failed", BAD),
        Status::Undone => ("undone", GOOD),
        Status::Stuck => ("stuck: a person is needed", BAD),
    };
    let mut took = String::new();
    if let (Some(started), Some(ended), Some(_)) = (fleet.started, fleet.ended, &fleet.fleet_id) {
        took = format!(" after {}", human_duration(elapsed(started, ended)));
    }
    let vms = plural(fleet.counts.vms, "VM");
    let tail = format!(" on {vms} in {}", place(fleet.sandbox));
    let word = (Style::new().bold().fg_color(style.get_fg_color()), word);
    let plain = Style::new();
    page.spans("", 0, &[word, (plain, &took), (plain, ": "), (BOLD, &fleet.playbook), (plain, &tail)]);
    if fleet.counts.vms == 0 {
        page.item("  ", Style::new(), &format!("no VM was found by {} in {}", fleet.playbook, fleet.scope));
    } else {
        page.item("  ", Style::new(), &counts(fleet));
    }
    runs(&mut page, &fleet.results, program);
    let mut rest = fleet.not_started.iter();
    if !fleet.not_started.is_empty() {
        page.gap();
    }
    for one in rest.by_ref().take(MOST_LINES) {
        page.item("  not started  ", CARE, &format!("{}: {}", short(&one.vm), one.why));
    }
    more(&mut page, rest.count());
    unplanned(&mut page, &fleet.not_planned);
    locks(&mut page, &fleet.results, program);
    notes(&mut page, fleet);
    if fleet.next.is_some() || fleet.fleet_id.is_some() || fleet.retry_after.is_some() {
        page.gap();
    }
    if let Some(seconds) = fleet.retry_after.filter(|seconds| *seconds > 0) {
        page.item("  resume in  ", Style::new(), &human_duration(std::time::Duration::from_secs(seconds)));
    }
    if let Some(next) = &fleet.next {
        page.item("  next   ", BOLD, next);
    }
    if let Some(id) = &fleet.fleet_id {
        page.item("  fleet  ", DIM, id);
    }
    page.finish()
}

fn counts(fleet: &FleetResult) -> String {
    let counts = &fleet.counts;
    let all = [
        (counts.succeeded, "done"),
        (counts.partial, "partly done"),
        (counts.failed, "failed"),
        (counts.refused, "refused at its turn"),
        (counts.stuck, "stuck"),
        (counts.paused, "paused"),
        (counts.not_started, "not started"),
        (counts.not_plannable, "refused before the start"),
        (counts.not_checked, "not checked"),
        (counts.nothing_to_do, "with nothing to do"),
    ];
    let parts: Vec<String> = all.iter().filter(|(n, _)| *n > 0).map(|(n, word)| format!("{n} {word}")).collect();
    parts.join(", ")
}

/// The runs, those that need somebody first.
fn runs(page: &mut Page, results: &[RunResult], program: &str) {
    if results.is_empty() {
        return;
    }
    page.gap();
    let rank = |status: Status| match status {
        Status::Stuck => 0,
        Status::Failed | Status::Error => 1,
        Status::Partial => 2,
        Status::Refused => 3,
        Status::Paused => 4,
        _ => 5,
    };
    let mut sorted: Vec<&RunResult> = results.iter().collect();
    sorted.sort_by_key(|one| rank(one.status));
    let mut rest = sorted.into_iter();
    for one in rest.by_ref().take(MOST_LINES) {
        let (word, style) = outcome(one.status);
        let vm = one.vm.as_deref().map(short).unwrap_or_default();
        let mut text = vm;
        if let Some(error) = &one.error {
            text.push_str(&format!(": {} ({})", error.message, error.code));
        }
        page.marked(&format!("  {}", paint(style, &format!("{word:<9}  "))), 13, Style::new(), &text);
        let unhappy = !matches!(one.status, Status::Succeeded | Status::NothingToDo | Status::Undone);
        let at_work = one.error.as_ref().is_some_and(|error| error.code == AT_WORK);
        if unhappy
            && !at_work
            && let Some(run) = &one.run_id
        {
            let word = if one.status == Status::Paused { "resume" } else { "show" };
            page.item("             ", DIM, &format!("{program} runs {word} {run}"));
        }
    }
    more(page, rest.count());
}

fn more(page: &mut Page, rest: usize) {
    if rest > 0 {
        page.item("  ", DIM, &format!("and {rest} more; -o json lists all"));
    }
}

/// The VMs without a plan: those that a rule stopped first, those that need nothing last.
fn unplanned(page: &mut Page, all: &[NotPlanned]) {
    let kinds = [
        (Unplanned::Refused, "refused    ", CARE),
        (Unplanned::NotChecked, "not checked", CARE),
        (Unplanned::Waiting, "waiting    ", CARE),
        (Unplanned::NothingToDo, "nothing    ", DIM),
    ];
    if !all.is_empty() {
        page.gap();
    }
    for (kind, word, style) in kinds {
        let mut rest = all.iter().filter(|one| one.reason == kind);
        for one in rest.by_ref().take(MOST_LINES) {
            let code = one.code.as_ref().map(|code| format!(" ({code})")).unwrap_or_default();
            page.item(&format!("  {word}  "), style, &format!("{}: {}{code}", short(&one.vm), one.why));
            if let Some(hint) = &one.hint {
                page.item("               ", DIM, hint);
            }
        }
        more(page, rest.count());
    }
}

/// The locks that are off now, with the run that puts each back.
fn locks(page: &mut Page, results: &[RunResult], program: &str) {
    let mut first = true;
    for one in results {
        for lock in one.locks_removed.iter().filter(|lock| !lock.restored) {
            if std::mem::take(&mut first) {
                page.gap();
            }
            let name = lock.id.rsplit('/').next().unwrap_or_default();
            let run = one.run_id.as_deref().unwrap_or_default();
            let text = format!("{name} ({}) is off; {program} runs undo {run}", lock.level);
            page.item("  lock     ", CARE, &text);
            if one.status == Status::Stuck {
                page.item("           ", DIM, &format!("by hand: {}", lock.recreate_command));
            }
        }
    }
}

fn notes(page: &mut Page, fleet: &FleetResult) {
    if !(fleet.not_read.is_empty() && fleet.warnings.is_empty()) {
        page.gap();
    }
    for text in &fleet.warnings {
        page.item("  warning   ", CARE, text);
    }
    for one in &fleet.not_read {
        page.item("  not read  ", CARE, &format!("{}: {}", one.what, one.why));
    }
}

/// `group/name` of a resource id, else the text.
fn short(id: &str) -> String {
    let words: Vec<&str> = id.split('/').collect();
    match (words.get(3), words.get(4), words.last()) {
        (Some(kind), Some(group), Some(name)) if kind.eq_ignore_ascii_case("resourceGroups") => {
            format!("{group}/{name}")
        }
        _ => id.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_change_is_named() {
        let kinds = [
            ("VMs protected", 1),
            ("backups started", 4),
            ("key vault permissions granted", 1),
            ("locks removed", 1),
            ("protections resumed", 2),
            ("settings inside VMs changed", 1),
        ];
        let kinds = kinds.into_iter().map(|(words, count)| (words.to_owned(), count)).collect();
        let text = sums(&Sums { changes: 10, kinds, ..Sums::default() });
        assert_eq!(
            text,
            "10 changes: 1 lock removed, 1 VM protected, 1 key vault permission granted, 2 protections resumed, \
             1 setting inside a VM changed, 4 backups started"
        );
        assert_eq!(sums(&Sums { changes: 1, ..Sums::default() }), "1 change");
    }
}
