//! An audit in the formats that it can be written in. All pure; what comes from Azure is made harmless for each.

pub mod csv;
pub mod html;
pub mod junit;
pub mod markdown;
pub mod sarif;
pub mod table;
#[cfg(test)]
pub(crate) mod testing;

use std::collections::BTreeMap;

use crate::engine::audit::Audit;
use crate::text::safe_json;

/// A format of an audit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people, in so many columns.
    Table(usize),
    /// One object.
    Json,
    /// One finding per line, the whole last.
    Jsonl,
    /// Rows for a spreadsheet.
    Csv,
    /// For a ticket.
    Markdown,
    /// A page.
    Html,
    /// SARIF 2.1.0.
    Sarif,
    /// JUnit's test results.
    Junit,
}

impl Format {
    /// The format of a file by its ending; `None` for an ending that no format has.
    #[must_use]
    pub fn of_ending(ending: &str) -> Option<Self> {
        match ending.to_ascii_lowercase().as_str() {
            "json" => Some(Self::Json),
            "jsonl" => Some(Self::Jsonl),
            "csv" => Some(Self::Csv),
            "md" | "markdown" => Some(Self::Markdown),
            "html" | "htm" => Some(Self::Html),
            "sarif" => Some(Self::Sarif),
            "xml" => Some(Self::Junit),
            _ => None,
        }
    }
}

/// The endings that [`Format::of_ending`] knows, for people.
pub const ENDINGS: &str = ".json, .jsonl, .csv, .md, .html, .sarif, .xml (JUnit)";

/// What plans would change, in words: "locks removed: 2, restore points deleted: 9".
#[must_use]
pub fn changes(planned: &BTreeMap<String, usize>) -> String {
    let each: Vec<String> = planned.iter().map(|(what, count)| format!("{what}: {count}")).collect();
    each.join(", ")
}

/// The audit as a file in a format. Excel takes a file without a byte order mark for the code page of the machine.
#[must_use]
pub fn file(audit: &Audit, format: Format) -> String {
    let text = render(audit, format);
    if format == Format::Csv { format!("\u{feff}{text}") } else { text }
}

/// The audit in a format.
#[must_use]
pub fn render(audit: &Audit, format: Format) -> String {
    match format {
        Format::Table(width) => table::page(audit, width),
        Format::Csv => csv::csv(audit),
        Format::Markdown => markdown::markdown(audit),
        Format::Html => html::html(audit),
        Format::Sarif => sarif::sarif(audit),
        Format::Junit => junit::junit(audit),
        Format::Json => {
            // Line ends stand between the values alone: in strings they are escaped.
            let text = serde_json::to_string_pretty(audit).unwrap_or_default();
            text.lines().map(|line| safe_json(line) + "\n").collect()
        }
        Format::Jsonl => {
            let findings = audit.findings.iter().map(serde_json::to_string);
            let lines = findings.chain([serde_json::to_string(audit)]).map(Result::unwrap_or_default);
            lines.map(|line| safe_json(&line) + "\n").collect()
        }
    }
}
