//! The audit for people: what was looked at, the five worst, the findings by rule.

use anstyle::Style;

use crate::engine::audit::{Audit, Finding, Level, Since};
use crate::report::audit::changes;
use crate::report::layout::{BAD, BOLD, CARE, DIM, GOOD, Page, paint};
use crate::text::{plural, safe};

/// How many findings of a rule are shown; the other formats have all.
const SHOWN: usize = 25;

const fn style(level: Level) -> Style {
    match level {
        Level::High => BAD,
        Level::Medium => CARE,
        Level::Low | Level::Info => DIM,
    }
}

/// The page.
#[must_use]
pub fn page(audit: &Audit, width: usize) -> String {
    let mut page = Page::new(width);
    summary(&mut page, audit);
    if !audit.summary.worst.is_empty() {
        page.gap();
        page.line(&paint(BOLD, "worst first"));
        for (place, line) in audit.summary.worst.iter().enumerate() {
            page.item(&format!("  {} ", place + 1), Style::new(), line);
        }
    }
    for count in &audit.summary.rules {
        let found: Vec<&Finding> = audit.standing().filter(|one| one.rule == count.rule).collect();
        page.gap();
        let head = format!("{} {}", count.level.as_str(), count.rule);
        page.marked(
            &format!("{}  ", paint(style(count.level), &safe(&head))),
            head.chars().count() + 2,
            BOLD,
            &format!("{} ({})", count.title, found.len()),
        );
        if let Some(command) = &count.command {
            page.command("  fix all: ", command);
        }
        for finding in found.iter().take(SHOWN) {
            one(&mut page, finding);
        }
        if found.len() > SHOWN {
            page.item("    ", DIM, &format!("and {} more: -o json has all", found.len() - SHOWN));
        }
    }
    gone(&mut page, audit);
    if !audit.not_read.is_empty() {
        page.gap();
        page.line(&paint(CARE, "not read"));
        for one in &audit.not_read {
            page.item("  - ", DIM, &format!("{}: {}", one.what, one.why));
        }
    }
    page.finish()
}

fn one(page: &mut Page, finding: &Finding) {
    let new = if finding.change == Some(Since::New) { " (new)" } else { "" };
    page.item("  - ", Style::new(), &format!("{}{new}", finding.name));
    if !finding.evidence.is_empty() {
        page.item("      ", DIM, &finding.evidence.join("; "));
    }
    if let Some(command) = &finding.command {
        page.command("      ", command);
    }
    for line in &finding.plan {
        page.item("        > ", DIM, line);
    }
}

fn summary(page: &mut Page, audit: &Audit) {
    let sum = &audit.summary;
    let about = format!(
        "{} in {}: {} protected, {} at risk",
        plural(sum.vms, "VM"),
        plural(sum.subscriptions, "subscription"),
        sum.protected,
        sum.at_risk
    );
    page.item("", BOLD, &about);
    if let Some(words) = sum.objective.words() {
        let style = if sum.objective.late + sum.objective.never > 0 { CARE } else { Style::new() };
        page.item("", style, &words);
    }
    let level = |level: Level| sum.levels.get(level.as_str()).map(|count| format!("{count} {}", level.as_str()));
    let levels: Vec<String> =
        [Level::High, Level::Medium, Level::Low, Level::Info].into_iter().filter_map(level).collect();
    match levels.is_empty() {
        true if audit.not_read.is_empty() => page.item("", GOOD, "nothing was found"),
        true => page.item("", CARE, "nothing was found in what could be read"),
        false => page.item("", Style::new(), &format!("findings: {}", levels.join(", "))),
    }
    if !sum.planned.is_empty() {
        page.item("", Style::new(), &format!("all plans together: {}", changes(&sum.planned)));
    }
    if !sum.since.is_empty() {
        let count = |word: &str| sum.since.get(word).copied().unwrap_or_default();
        let text = format!(
            "since the baseline: {} new, {} unchanged, {} gone",
            count("new"),
            count("unchanged"),
            count("gone")
        );
        page.item("", Style::new(), &text);
        if !audit.not_read.is_empty() {
            page.item("", DIM, "no finding is reported as gone, because not everything was read");
        }
    }
}

fn gone(page: &mut Page, audit: &Audit) {
    let gone: Vec<&Finding> = audit.findings.iter().filter(|one| one.change == Some(Since::Gone)).collect();
    if gone.is_empty() {
        return;
    }
    page.gap();
    page.line(&paint(GOOD, "gone since the baseline"));
    for finding in gone.iter().take(SHOWN) {
        page.item("  - ", DIM, &format!("{}: {}", finding.name, finding.rule));
    }
    if gone.len() > SHOWN {
        page.item("    ", DIM, &format!("and {} more: -o json has all", gone.len() - SHOWN));
    }
}
