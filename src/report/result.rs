//! The result on the screen: what happened to every change, before and after, locks, the next step.

use anstyle::Style;

use super::layout::{BAD, BOLD, CARE, DIM, GOOD, Page, brief, paint};
use super::plan::place;
use crate::clock::elapsed;
use crate::engine::result::{ChangeResult, RunResult, Status};
use crate::facts::view::View;
use crate::text::{human_duration, plural};

/// The result for people.
#[must_use]
pub fn result(result: &RunResult, width: usize) -> String {
    let mut page = Page::new(width);
    headline(&mut page, result);
    if let Some(error) = &result.error {
        let already = result.changes.iter().any(|change| change.error.as_ref() == Some(error));
        if !already {
            page.item("  ", BAD, &format!("{} ({})", error.message, error.code));
        }
    }
    let rows = before_and_after(result);
    if !rows.is_empty() {
        page.gap();
        for (what, text) in rows {
            page.marked(&format!("  {}", paint(DIM, &format!("{what:<14}"))), 16, Style::new(), &text);
        }
    }
    if !result.changes.is_empty() {
        page.gap();
        for group in groups(&result.changes) {
            change(&mut page, group);
        }
    }
    locks(&mut page, result);
    if !(result.warnings.is_empty() && result.not_read.is_empty()) {
        page.gap();
    }
    // A lock that stays is an error or the detail of a change, and a warning with what to do: it is shown once.
    let said = |text: &String| {
        let error = result.error.as_ref().is_some_and(|error| text.starts_with(&error.message));
        error || result.changes.iter().any(|change| change.detail == *text)
    };
    for (index, text) in result.warnings.iter().filter(|text| !said(text)).enumerate() {
        // That there is nothing to do is no warning; its reason stands first.
        let reason = index == 0 && result.status == Status::NothingToDo;
        if reason {
            page.item("  ", Style::new(), text);
        } else {
            page.item("  warning  ", CARE, text);
        }
    }
    for (path, why) in &result.not_read {
        page.item("  not read  ", CARE, &format!("{path}: {why}"));
    }
    footer(&mut page, result);
    page.finish()
}

fn headline(page: &mut Page, result: &RunResult) {
    let (word, style) = status(result);
    let plain = Style::new();
    let mut took = String::new();
    if let (Some(started), Some(ended)) = (result.started, result.ended)
        && result.run_id.is_some()
    {
        took = format!(" after {}", human_duration(elapsed(started, ended)));
    }
    let mut parts = vec![(Style::new().bold().fg_color(style.get_fg_color()), word), (plain, took.as_str())];
    let vm = result.vm.as_deref().map(short).unwrap_or_default();
    let tail = format!(" in {}", place(result.sandbox));
    if let Some(playbook) = &result.playbook {
        parts.extend([(plain, ": "), (BOLD, playbook.as_str())]);
        if !vm.is_empty() {
            parts.extend([(plain, " on "), (BOLD, vm.as_str())]);
        }
        parts.push((plain, tail.as_str()));
    }
    page.spans("", 0, &parts);
}

const fn status(result: &RunResult) -> (&'static str, Style) {
    match result.status {
        Status::Planned => ("planned, nothing changed", CARE),
        Status::NothingToDo => ("nothing to do", GOOD),
        Status::Waiting => ("waiting for a backup that is running", CARE),
        Status::Succeeded => ("succeeded", GOOD),
        Status::Partial => ("partly done", CARE),
        Status::Refused => ("refused, nothing changed", CARE),
        Status::Paused => ("paused", CARE),
        Status::Failed => ("failed", BAD),
        Status::Undone => ("undone", GOOD),
        Status::Stuck => ("stuck: a person is needed", BAD),
        Status::Error => ("error, nothing changed", BAD),
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

fn before_and_after(result: &RunResult) -> Vec<(&'static str, String)> {
    let (Some(before), Some(after)) = (&result.before, &result.after) else { return Vec::new() };
    let mut rows = Vec::new();
    let mut row = |what: &'static str, paths: &[&str], show: &dyn Fn(&View) -> String, always: bool| {
        let text = |view: &View| {
            if paths.iter().any(|path| view.unread(path).is_some()) { "not read".to_owned() } else { show(view) }
        };
        let (old, new) = (text(before), text(after));
        if old != new {
            rows.push((what, format!("{old} -> {new}")));
        } else if always {
            rows.push((what, format!("{new}, unchanged")));
        }
    };
    let points = |view: &View| format!("{} (limit {})", view.points.count, view.points.limit);
    row("points", &["points.count", "points.limit"], &points, before.points.limit > 0);
    row("collections", &["points.collections"], &|view| view.points.collections.to_string(), false);
    row("locks", &["locks.total"], &|view| view.locks.total.to_string(), false);
    row("VMSnapshot", &["vmsnapshot.state"], &|view| or_none(&view.vmsnapshot.state), false);
    row("VM", &["vm.provisioning_state"], &|view| or_none(&view.vm.provisioning_state), false);
    let last = |view: &View| match view.backup.last_error.as_str() {
        "" => or_none(&view.backup.last_status),
        code => format!("{} ({code})", view.backup.last_status),
    };
    row("last backup", &["backup.last_status", "backup.last_error"], &last, false);
    row(
        "backup",
        &["backup.running"],
        &|view| if view.backup.running { "running" } else { "not running" }.to_owned(),
        false,
    );
    rows
}

fn or_none(text: &str) -> String {
    if text.is_empty() { "none".to_owned() } else { text.to_owned() }
}

/// Deletions of points of one collection that ended alike are one line.
fn groups(changes: &[ChangeResult]) -> Vec<&[ChangeResult]> {
    fn collection(change: &ChangeResult) -> Option<&str> {
        change.resource_id.rsplit_once("/restorePoints/").map(|(collection, _)| collection)
    }
    changes
        .chunk_by(|a, b| {
            collection(a).is_some()
                && collection(a) == collection(b)
                && (a.outcome.as_str(), &a.error, a.step.as_str()) == (b.outcome.as_str(), &b.error, b.step.as_str())
        })
        .collect()
}

fn change(page: &mut Page, group: &[ChangeResult]) {
    let Some(first) = group.first() else { return };
    let (mark, style) = match first.outcome.as_str() {
        "succeeded" => ("done", GOOD),
        "already_done" => ("already", GOOD),
        "planned" => ("planned", CARE),
        "skipped" => ("skipped", DIM),
        "not_run" => ("not run", DIM),
        "refused" => ("refused", CARE),
        "pending" => ("pending", CARE),
        "unknown" => ("unknown", BAD),
        _ => ("failed", BAD),
    };
    let mut text = if group.len() == 1 {
        brief(&first.effect).to_owned()
    } else {
        let collection = first.resource_id.rsplit_once("/restorePoints/").map_or("", |(id, _)| id);
        let name = collection.rsplit('/').next().unwrap_or_default();
        format!("delete {} of {name}", plural(group.len(), "point"))
    };
    if !first.detail.is_empty() {
        text.push_str(&format!(": {}", first.detail));
    }
    match first.undo.as_str() {
        "restore" | "inverse" | "irreversible" | "not_needed" => {}
        "succeeded" if is_lock(&first.resource_id) => text.push_str("; restored"),
        "succeeded" => text.push_str("; undone"),
        "already_done" => text.push_str("; already restored"),
        back => text.push_str(&format!("; undo: {}", back.replace('_', " "))),
    }
    let label = paint(style, &format!("{mark:<8}"));
    page.marked(&format!("  {label}"), 10, Style::new(), &text);
    if let Some(hint) = first.error.as_ref().and_then(|error| error.hint.as_ref()) {
        page.item("          ", DIM, hint);
    }
}

fn is_lock(id: &str) -> bool {
    id.to_ascii_lowercase().contains("/providers/microsoft.authorization/locks/")
}

fn locks(page: &mut Page, result: &RunResult) {
    if result.locks_removed.is_empty() {
        return;
    }
    page.gap();
    for lock in &result.locks_removed {
        let name = lock.id.rsplit('/').next().unwrap_or_default();
        if lock.restored {
            page.item("  lock  ", Style::new(), &format!("{name} ({}) restored", lock.level));
        } else {
            page.item("  lock  ", CARE, &format!("{name} ({}) is off; restore it by hand with:", lock.level));
            page.command("        ", &lock.recreate_command);
        }
    }
}

fn footer(page: &mut Page, result: &RunResult) {
    if result.run_id.is_none() && result.next.is_none() && result.retry_after.is_none() {
        return;
    }
    page.gap();
    if let Some(seconds) = result.retry_after.filter(|seconds| *seconds > 0) {
        let wait = human_duration(std::time::Duration::from_secs(seconds));
        page.item("  resume in  ", Style::new(), &wait);
    }
    if let Some(next) = &result.next {
        page.item("  next  ", BOLD, next);
    }
    if let Some(run) = &result.run_id {
        page.item("  run   ", DIM, run);
    }
}
