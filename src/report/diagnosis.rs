//! `azmend diagnose` for people: the checklist, then what is most likely and what to run.

use anstyle::Style;

use super::layout::{BAD, BOLD, CARE, DIM, GOOD, Page, paint};
use crate::engine::diagnose::{Diagnosis, Line, State};
use crate::text::safe;

const PLAIN: Style = Style::new();

const fn mark(state: State) -> (Style, &'static str) {
    match state {
        State::Ok => (GOOD, "ok         "),
        State::Problem => (BAD, "problem    "),
        State::NotChecked => (CARE, "not checked"),
    }
}

/// The page.
#[must_use]
pub fn page(told: &Diagnosis, width: usize) -> String {
    let mut page = Page::new(width);
    page.line(&paint(BOLD, &safe(told.vm.rsplit('/').next().unwrap_or_default())));
    let mut area = "";
    for line in &told.lines {
        if line.area != area {
            page.gap();
            page.line(&paint(BOLD, &line.area));
            area = &line.area;
        }
        let (style, word) = mark(line.state);
        page.marked(&format!("  {}  ", paint(style, word)), 15, PLAIN, &text_of(line));
    }
    page.gap();
    let problem = told.lines.iter().any(|line| line.state == State::Problem);
    if told.causes.is_empty() && problem {
        page.item("", CARE, "there are problems, and no error of the catalogue matches them");
    } else if told.causes.is_empty() {
        page.item("", GOOD, "nothing that would stop a backup was found");
    } else {
        page.line(&paint(BOLD, "most likely first"));
    }
    for (index, cause) in told.causes.iter().enumerate() {
        let seen = if cause.confirmed { ", and the VM shows it now" } else { "" };
        page.item(&format!("  {}. ", index + 1), BOLD, &format!("{}: {}", cause.code, cause.title));
        page.item("     ", PLAIN, &format!("{}{seen}", cause.why));
        page.item("     ", DIM, &cause.next);
    }
    if told.next.is_some() || told.refusal.is_some() {
        page.gap();
        page.item("", PLAIN, &told.why);
    }
    if let Some(refusal) = &told.refusal {
        page.item("not yet  ", CARE, &format!("{} ({})", refusal.why, refusal.rule));
        if let Some(hint) = &refusal.hint {
            page.item("         ", PLAIN, hint);
        }
    }
    if let Some(next) = &told.next {
        page.item("next  ", BOLD, next);
    }
    page.finish()
}

fn text_of(line: &Line) -> String {
    match &line.code {
        Some(code) => format!("{}: {} [{code}]", line.check, line.evidence),
        None => format!("{}: {}", line.check, line.evidence),
    }
}

/// The same as Markdown, for a ticket.
#[must_use]
pub fn markdown(told: &Diagnosis) -> String {
    let cell = |text: &str| {
        let text = safe(text);
        text.replace('\\', "\\\\").replace('|', "\\|").replace('<', "&lt;").replace('`', "'")
    };
    let mut out =
        format!("# {}\n\n| area | check | state | evidence | error |\n|---|---|---|---|---|\n", cell(&told.vm));
    for line in &told.lines {
        let code = line.code.as_deref().unwrap_or("-");
        let word = mark(line.state).1.trim_end();
        let row = format!(
            "| {} | {} | {word} | {} | {} |\n",
            cell(&line.area),
            cell(&line.check),
            cell(&line.evidence),
            cell(code)
        );
        out.push_str(&row);
    }
    if !told.causes.is_empty() {
        out.push_str("\n## Most likely first\n\n");
    }
    for cause in &told.causes {
        out.push_str(&format!(
            "1. **{}**: {}. {}. `{}`\n",
            cell(&cause.code),
            cell(&cause.title),
            cell(&cause.why),
            cell(&cause.next)
        ));
    }
    if let Some(refusal) = &told.refusal {
        let hint = refusal.hint.as_deref().map(|hint| format!("; {}", cell(hint))).unwrap_or_default();
        out.push_str(&format!("\nNot yet: {} ({}){hint}\n", cell(&refusal.why), cell(&refusal.rule)));
    }
    if let Some(next) = &told.next {
        out.push_str(&format!("\n{}: `{}`\n", cell(&told.why), cell(next)));
    }
    out
}
