//! `azmend audit -o markdown`: for a ticket.
//!
//! Invariant: text from Azure cannot make a heading, a link, a mention, a row or HTML.

use crate::engine::audit::Audit;
use crate::report::audit::changes;
use crate::text::safe;

/// Summary, findings, and what was not seen.
#[must_use]
pub fn markdown(audit: &Audit) -> String {
    let summary = &audit.summary;
    let mut out = format!("# azmend audit: {}\n\n", cell(&audit.scope));
    if audit.sandbox {
        out.push_str("The embedded Azure, nothing real.\n\n");
    }
    out.push_str(&format!(
        "{} VMs in {} subscriptions, {} protected, {} at risk.\n",
        summary.vms, summary.subscriptions, summary.protected, summary.at_risk
    ));
    if !summary.planned.is_empty() {
        out.push_str(&format!("\nAll plans together: {}.\n", changes(&summary.planned)));
    }
    if !summary.rules.is_empty() {
        out.push_str("\n| level | finding | count | all of them |\n|---|---|---|---|\n");
    }
    for count in &summary.rules {
        let all = count.command.as_deref().map(code).unwrap_or_default();
        let (rule, title) = (cell(&count.rule), cell(&count.title));
        let row = format!("| {} | {rule}: {title} | {} | {all} |\n", count.level.as_str(), count.count);
        out.push_str(&row);
    }
    if !audit.findings.is_empty() {
        out.push_str("\n## Findings\n\n| level | finding | resource | evidence | command |\n|---|---|---|---|---|\n");
    }
    for finding in &audit.findings {
        let command = finding.command.as_deref().map_or_else(|| "-".to_owned(), code);
        let plan: String = finding.plan.iter().map(|line| format!("<br>{}", code(line))).collect();
        out.push_str(&format!(
            "| {} | {} | {} | {} | {command}{plan} |\n",
            finding.level.as_str(),
            cell(&finding.rule),
            code(&finding.name),
            code(&finding.evidence.join("; ")),
        ));
    }
    if !audit.not_read.is_empty() {
        out.push_str("\n## Not seen\n\n");
    }
    for one in &audit.not_read {
        out.push_str(&format!("- {}: {}\n", code(&one.what), code(&one.why)));
    }
    out
}

/// A text of Azure, as code: no link, no mention, no markup. A pipe would end the cell even in code.
fn code(text: &str) -> String {
    let text = safe(text).replace(['\n', '\r'], " ").replace('`', "'").replace('|', "\\|");
    // An empty or blank span would be two plain backticks.
    if text.trim().is_empty() { "-".to_owned() } else { format!("`{text}`") }
}

/// A text that is nothing but text, in one line.
fn cell(text: &str) -> String {
    let text = safe(text);
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' => out.push(' '),
            '\\' | '|' | '*' | '_' | '[' | ']' | '#' | '!' => {
                out.push('\\');
                out.push(c);
            }
            '<' => out.push_str("&lt;"),
            '&' => out.push_str("&amp;"),
            '`' => out.push('\''),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::audit::testing::{HOSTILE, hostile};

    #[test]
    fn hostile_text_stays_in_its_cell() {
        let text = markdown(&hostile());
        let rows = text.lines().filter(|line| line.starts_with("| high ")).count();
        assert_eq!(rows, HOSTILE.len() + 1, "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
        // Outside of code there is no markup; the spans are whole, for every line has an even number of backticks.
        for line in text.lines() {
            assert!(line.matches('`').count() % 2 == 0, "{line}");
            let outside: String = line.split('`').step_by(2).collect();
            let outside = outside.replace("<br>", "");
            assert!(!outside.contains('<') && !outside.contains("](") && !outside.contains("://"), "{line}");
        }
        assert_eq!(code("a|b`c"), "`a\\|b'c`");
        assert_eq!(text.lines().filter(|line| line.starts_with('#')).count(), 3, "{text}");
        assert_eq!(cell("a|b`c\n[x](y)"), "a\\|b'c\\x0a\\[x\\](y)".replace("\\x0a", &cell("\n")));
    }
}
