//! `azmend audit -o markdown`: for a ticket.
//!
//! Invariant: text from Azure cannot make a heading, a link, a mention, a row or HTML.

use crate::engine::audit::{Audit, Finding, Since};
use crate::report::audit::changes;
use crate::text::safe;

/// Summary, findings, and what was not seen.
#[must_use]
pub fn markdown(audit: &Audit) -> String {
    let summary = &audit.summary;
    let mut out = format!("# azmend audit: {}\n\n", code(&audit.scope));
    if audit.sandbox {
        out.push_str("The embedded Azure, nothing real.\n\n");
    }
    out.push_str(&format!(
        "{} VMs in {} subscriptions, {} protected, {} at risk.\n",
        summary.vms, summary.subscriptions, summary.protected, summary.at_risk
    ));
    if let Some(words) = summary.objective.words() {
        out.push_str(&format!("\nProtected VMs {words}.\n"));
    }
    if !summary.since.is_empty() {
        let since: Vec<String> = ["new", "unchanged", "gone"]
            .iter()
            .map(|word| format!("{} {word}", summary.since.get(*word).copied().unwrap_or_default()))
            .collect();
        out.push_str(&format!("\nSince the baseline: {}.\n", since.join(", ")));
    }
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
    if audit.standing().next().is_some() {
        out.push_str("\n## Findings\n\n| level | finding | resource | evidence | command |\n|---|---|---|---|---|\n");
    }
    audit.standing().for_each(|finding| out.push_str(&row(finding)));
    let mut gone = audit.findings.iter().filter(|one| one.change == Some(Since::Gone)).peekable();
    if gone.peek().is_some() {
        out.push_str("\n## Gone since the baseline\n\n");
    }
    for finding in gone {
        out.push_str(&format!("- {}: {}\n", cell(&finding.rule), code(&finding.name)));
    }
    if !audit.not_read.is_empty() {
        out.push_str("\n## Not seen\n\n");
    }
    for one in &audit.not_read {
        out.push_str(&format!("- {}: {}\n", code(&one.what), code(&one.why)));
    }
    out
}

fn row(finding: &Finding) -> String {
    let command = finding.command.as_deref().map_or_else(|| "-".to_owned(), code);
    let plan: String = finding.plan.iter().map(|line| format!("<br>{}", code(line))).collect();
    let new = if finding.change == Some(Since::New) { " (new)" } else { "" };
    format!(
        "| {} | {}{new} | {} | {} | {command}{plan} |\n",
        finding.level.as_str(),
        cell(&finding.rule),
        code(&finding.name),
        code(&finding.evidence.join("; ")),
    )
}

/// A text of Azure, as code: no link, no mention, no markup, and nothing of it is changed, for it may be a command. A pipe
/// would end the cell even in code.
fn code(text: &str) -> String {
    let text = safe(text).replace(['\n', '\r'], " ").replace('|', "\\|");
    // An empty or blank span would be two plain backticks.
    if text.trim().is_empty() {
        return "-".to_owned();
    }
    // A span ends at as many backticks as it began with, and loses a space at both ends.
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or_default();
    let fence = "`".repeat(longest + 1);
    let space = if longest > 0 || text.starts_with(' ') && text.ends_with(' ') { " " } else { "" };
    format!("{fence}{space}{text}{space}{fence}")
}

/// A text that is nothing but text, in one line.
fn cell(text: &str) -> String {
    let text = safe(text);
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' => out.push(' '),
            '\\' | '|' | '*' | '_' | '[' | ']' | '#' | '!' | '@' | ':' => {
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

    /// What of a line is outside of code spans, as CommonMark reads it.
    fn outside(line: &str) -> String {
        let mut out = String::new();
        let mut rest = line;
        while let Some(at) = rest.find('`') {
            out.push_str(&rest[..at]);
            let fence: String = rest[at..].chars().take_while(|c| *c == '`').collect();
            let mut inside = &rest[at + fence.len()..];
            loop {
                let Some(end) = inside.find('`') else { return out + "`" + inside };
                let length = inside[end..].chars().take_while(|c| *c == '`').count();
                inside = &inside[end + length..];
                if length == fence.len() {
                    break;
                }
            }
            rest = inside;
        }
        out + rest
    }

    #[test]
    fn what_is_gone_is_not_listed_as_found() {
        let mut audit = hostile();
        let found = audit.findings.len();
        audit.findings[0].change = Some(Since::Gone);
        let text = markdown(&audit);
        assert_eq!(text.lines().filter(|line| line.starts_with("| high ")).count(), found, "{text}");
        assert!(text.contains("## Gone since the baseline"), "{text}");
    }

    #[test]
    fn hostile_text_stays_in_its_cell() {
        let text = markdown(&hostile());
        let rows = text.lines().filter(|line| line.starts_with("| high ")).count();
        assert_eq!(rows, HOSTILE.len() + 1, "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
        // Outside of code there is no markup, and every span ends.
        for line in text.lines() {
            let outside = outside(line).replace("<br>", "");
            assert!(!outside.contains(['<', '`', '@']), "{line}");
            assert!(!outside.contains("](") && !outside.contains("://"), "{line}");
        }
        assert_eq!(code("a|b`c"), "`` a\\|b`c ``");
        assert_eq!(
            (code("a``b"), code("`"), code("plain")),
            ("``` a``b ```".into(), "`` ` ``".into(), "`plain`".into())
        );
        assert_eq!(text.lines().filter(|line| line.starts_with('#')).count(), 3, "{text}");
        assert_eq!(cell("a|b`c\n[x](y)"), "a\\|b'c\\x0a\\[x\\](y)".replace("\\x0a", &cell("\n")));
    }
}
