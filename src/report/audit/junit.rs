//! `azmend audit -o junit`: test results as pipelines read them (the schema of Apache Ant's and Jenkins' JUnit XML).
//!
//! One suite for each rule; a finding is a test case that failed (high, medium) or passed with a remark. What could not be
//! read is a test case with an error, so that a pipeline does not take "not looked" for "fine". What is gone since the baseline
//! is no test case.
//! Invariant: well-formed XML 1.0 whatever Azure names things; characters that XML cannot hold are replaced.

use crate::engine::audit::{Audit, Finding, Level};

/// The document.
#[must_use]
pub fn junit(audit: &Audit) -> String {
    let mut suites = String::new();
    for rule in &audit.summary.rules {
        let findings: Vec<&Finding> = audit.standing().filter(|finding| finding.rule == rule.rule).collect();
        let failures = findings.iter().filter(|finding| fails(finding)).count();
        suites.push_str(&format!(
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{failures}\" errors=\"0\">\n",
            text(&rule.rule),
            findings.len()
        ));
        findings.iter().for_each(|finding| suites.push_str(&case(finding)));
        suites.push_str("  </testsuite>\n");
    }
    if !audit.not_read.is_empty() {
        let count = audit.not_read.len();
        suites.push_str(&format!(
            "  <testsuite name=\"not read\" tests=\"{count}\" failures=\"0\" errors=\"{count}\">\n"
        ));
        for one in &audit.not_read {
            suites.push_str(&format!(
                "    <testcase classname=\"azmend.not-read\" name=\"{}\"><error message=\"{}\"/></testcase>\n",
                text(&one.what),
                text(&one.why)
            ));
        }
        suites.push_str("  </testsuite>\n");
    }
    let failures = audit.standing().filter(|finding| fails(finding)).count();
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"azmend audit: {}\" tests=\"{}\" failures=\"{failures}\" \
         errors=\"{}\">\n{suites}</testsuites>\n",
        text(&audit.scope),
        audit.standing().count() + audit.not_read.len(),
        audit.not_read.len()
    )
}

fn fails(finding: &Finding) -> bool {
    finding.level >= Level::Medium
}

fn case(finding: &Finding) -> String {
    let mut detail = finding.evidence.join("\n");
    if let Some(command) = &finding.command {
        detail.push_str(&format!("\n{command}"));
    }
    for line in &finding.plan {
        detail.push_str(&format!("\n> {line}"));
    }
    let detail = text(detail.trim());
    let inside = if fails(finding) {
        let level = finding.level.as_str();
        format!("<failure type=\"{level}\" message=\"{}\">{detail}</failure>", text(&finding.title))
    } else {
        format!("<system-out>{detail}</system-out>")
    };
    let (rule, name) = (text(&finding.rule), text(&finding.resource));
    format!("    <testcase classname=\"azmend.{rule}\" name=\"{name}\">{inside}</testcase>\n")
}

/// Text for XML 1.0, in content and in attributes.
fn text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' => out.push_str("&#10;"),
            '\t' => out.push_str("&#9;"),
            '\r' => out.push_str("&#13;"),
            // XML 1.0 has no other control characters, and neither these two; what turns text around is shown, as everywhere.
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push_str(&crate::text::safe(c.encode_utf8(&mut [0; 4]))),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::audit::testing::{HOSTILE, hostile};

    #[test]
    fn the_document_is_well_formed_whatever_things_are_called() {
        let document = junit(&hostile());
        assert_eq!(document.matches("<testcase ").count(), HOSTILE.len() + 1);
        assert_eq!(document.matches("<failure ").count(), HOSTILE.len());
        assert_eq!(document.matches("<error ").count(), 1);
        assert!(!document.chars().any(|c| c.is_control() && c != '\n'), "{document}");
        // Every tag is ours: text has no bracket of its own.
        let mut open = Vec::new();
        for tag in document.split('<').skip(1).map(|rest| rest.split('>').next().unwrap()) {
            if let Some(name) = tag.strip_prefix('/') {
                assert_eq!(open.pop(), Some(name.to_owned()));
            } else if !tag.ends_with('/') && !tag.starts_with('?') {
                open.push(tag.split(' ').next().unwrap().to_owned());
            }
        }
        assert!(open.is_empty(), "{open:?}");
    }
}
