//! `azmend audit -o csv`: one row for each finding, for a spreadsheet.
//!
//! RFC 4180: CRLF, quotes doubled. Invariant: no cell is a formula. One that begins with `=`, `+`, `-`, `@`, a tab or a
//! carriage return would be run by Excel; it gets an apostrophe in front (OWASP, CSV injection), which spreadsheets do not
//! show. The same after a semicolon: where it separates lists (Windows in German, French, ...), Excel opens a file by it.
//! A file begins with a byte order mark, without which Excel takes it for the code page of the machine; a pipe does not.

use crate::engine::audit::{Audit, Finding};
use crate::text::safe;

const COLUMNS: [&str; 13] = [
    "level",
    "rule",
    "title",
    "name",
    "resource",
    "subscription",
    "subscription_name",
    "code",
    "evidence",
    "command",
    "plan",
    "change",
    "key",
];

/// The rows, with a header.
#[must_use]
pub fn csv(audit: &Audit) -> String {
    let mut out = row(&COLUMNS.map(str::to_owned));
    for finding in &audit.findings {
        out.push_str(&row(&cells(finding)));
    }
    out
}

fn cells(finding: &Finding) -> [String; COLUMNS.len()] {
    let change = finding.change.map(|change| format!("{change:?}").to_lowercase());
    [
        finding.level.as_str().to_owned(),
        finding.rule.clone(),
        finding.title.clone(),
        finding.name.clone(),
        finding.resource.clone(),
        finding.subscription.clone(),
        finding.subscription_name.clone(),
        finding.code.clone().unwrap_or_default(),
        finding.evidence.join(" / "),
        finding.command.clone().unwrap_or_default(),
        finding.plan.join(" / "),
        change.unwrap_or_default(),
        finding.key.clone(),
    ]
}

fn row(cells: &[String]) -> String {
    let cells: Vec<String> = cells.iter().map(|text| cell(text)).collect();
    format!("{}\r\n", cells.join(","))
}

const FORMULA: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

fn cell(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut begins = true;
    for c in text.chars() {
        if begins && FORMULA.contains(&c) {
            out.push('\'');
        }
        begins = c == ';' || begins && (c == ' ' || c == '"');
        out.push(c);
    }
    let text = safe(&out);
    match text.contains([',', ';', '"', '\n', '\r', '\'']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::audit::testing::{HOSTILE, hostile};

    #[test]
    fn no_cell_is_a_formula_and_no_text_breaks_a_row() {
        let text = csv(&hostile());
        assert_eq!(text.matches("\r\n").count(), 1 + HOSTILE.len(), "{text}");
        assert!(!text.contains('\u{1b}'));
        for line in text.lines().skip(1) {
            let mut quoted = false;
            let mut begin = true;
            for c in line.chars() {
                if begin && !quoted {
                    assert!(!matches!(c, '=' | '+' | '-' | '@'), "{line}");
                }
                begin = c == ',' && !quoted || (c == '"' && begin);
                if c == '"' {
                    quoted = !quoted;
                }
            }
            assert!(!quoted, "{line}");
        }
        assert_eq!(cell("=1+1"), "\"'=1+1\"");
        assert_eq!(cell("x; =HYPERLINK(1);\"@a\""), "\"x; '=HYPERLINK(1);\"\"'@a\"\"\"");
        assert_eq!(cell("a,\"b\""), "\"a,\"\"b\"\"\"");
        assert_eq!(cell("plain"), "plain");
    }
}
