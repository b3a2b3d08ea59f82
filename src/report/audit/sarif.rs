//! `azmend audit -o sarif`: SARIF 2.1.0 (OASIS, Static Analysis Results Interchange Format).
//!
//! A finding is a result at a logical location, the resource id; its key is the fingerprint by which two audits are compared.
//! What could not be read is a notification of the invocation.

use serde_json::{Value, json};

use crate::engine::audit::{Audit, Finding, Level, Since};
use crate::text::safe_json;

const fn level(level: Level) -> &'static str {
    match level {
        Level::High => "error",
        Level::Medium => "warning",
        Level::Low | Level::Info => "note",
    }
}

/// The log, pretty.
#[must_use]
pub fn sarif(audit: &Audit) -> String {
    let rules: Vec<Value> = audit
        .summary
        .rules
        .iter()
        .map(|rule| {
            json!({
                "id": rule.rule, "shortDescription": { "text": rule.title },
                "defaultConfiguration": { "level": level(rule.level) }
            })
        })
        .collect();
    let notifications: Vec<Value> = audit
        .not_read
        .iter()
        .map(
            |one| json!({ "level": "error", "message": { "text": plain(&format!("{} was not read: {}", one.what, one.why)) } }),
        )
        .collect();
    let log = json!({
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "azmend", "version": audit.version, "rules": rules } },
            "invocations": [{
                "executionSuccessful": audit.not_read.is_empty(),
                "startTimeUtc": audit.started.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
                "endTimeUtc": audit.ended.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
                "toolExecutionNotifications": notifications
            }],
            "results": audit.findings.iter().map(|finding| result(audit, finding)).collect::<Vec<_>>(),
            "properties": { "scope": audit.scope, "collector": audit.collector, "sandbox": audit.sandbox }
        }]
    });
    let text = serde_json::to_string_pretty(&log).unwrap_or_default();
    text.lines().map(|line| safe_json(line) + "\n").collect()
}

fn result(audit: &Audit, finding: &Finding) -> Value {
    let mut text = finding.title.clone();
    if !finding.evidence.is_empty() {
        text = format!("{text}: {}", finding.evidence.join("; "));
    }
    let mut result = json!({
        "ruleId": finding.rule, "level": level(finding.level), "message": { "text": plain(&text) },
        "locations": [{
            // Code scanning refuses a result without a file: the resource id, as one.
            "physicalLocation": { "artifactLocation": { "uri": uri(&finding.resource) }, "region": { "startLine": 1 } },
            "logicalLocations": [{
                "name": finding.name, "fullyQualifiedName": finding.resource, "kind": "resource"
            }]
        }],
        "partialFingerprints": { "azmend/v1": finding.key },
        "properties": { "subscription": finding.subscription, "code": finding.code, "command": finding.command, "plan": finding.plan }
    });
    if let Some(index) = audit.summary.rules.iter().position(|rule| rule.rule == finding.rule) {
        result["ruleIndex"] = json!(index);
    }
    if let Some(change) = finding.change {
        result["baselineState"] = json!(match change {
            Since::New => "new",
            Since::Unchanged => "unchanged",
            Since::Gone => "absent",
        });
    }
    result
}

/// A text without embedded links (SARIF 3.11.6: `[text](target)`, escaped by a backslash).
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '\\' | '[' | ']') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// A resource id as a relative reference (RFC 3986).
fn uri(id: &str) -> String {
    let mut out = String::with_capacity(id.len());
    for byte in id.trim_start_matches('/').bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::audit::testing::{HOSTILE, hostile};

    #[test]
    fn the_published_schema_holds() {
        let schema = include_str!("../../../tests/fixtures/published/sarif-schema-2.1.0.json");
        let mut schema: Value = serde_json::from_str(schema).unwrap();
        // A slip of the published text, corrected in its errata: a bracket that was never opened is no regular expression.
        for place in ["run", "toolComponent"] {
            let language = schema["definitions"][place]["properties"]["language"].as_object_mut().unwrap();
            assert!(language.remove("pattern").is_some() && !sarif(&hostile()).contains("\"language\""));
        }
        let validator = jsonschema::validator_for(&schema).unwrap();
        let mut audit = hostile();
        let check = |audit: &Audit| {
            let log: Value = serde_json::from_str(&sarif(audit)).unwrap();
            let wrong: Vec<String> = validator.iter_errors(&log).map(|error| error.to_string()).collect();
            assert_eq!(wrong, Vec::<String>::new());
        };
        check(&audit);
        audit.findings.iter_mut().for_each(|one| one.change = None);
        audit.not_read.clear();
        check(&audit);
        audit.findings.clear();
        audit.summary.rules.clear();
        check(&audit);
        // A test that cannot fail shows nothing.
        assert!(!validator.is_valid(&json!({ "version": "2.0.0", "runs": [] })));
    }

    #[test]
    fn text_of_azure_is_no_link_and_a_resource_is_a_place() {
        assert_eq!(plain(r"a [click](https://x) \ b"), r"a \[click\](https://x) \\ b");
        assert_eq!(uri("/subscriptions/1/x (y)/ü"), "subscriptions/1/x%20%28y%29/%C3%BC");
    }

    /// What refers to what.
    #[test]
    fn what_the_schema_requires_is_there() {
        let log: Value = serde_json::from_str(&sarif(&hostile())).unwrap();
        assert_eq!(log["version"], "2.1.0");
        let run = &log["runs"][0];
        let driver = &run["tool"]["driver"];
        assert_eq!(driver["name"], "azmend");
        let rules = driver["rules"].as_array().unwrap();
        assert!(rules.iter().all(|rule| rule["id"].is_string() && rule["shortDescription"]["text"].is_string()));
        assert_eq!(run["invocations"][0]["executionSuccessful"], false);
        let results = run["results"].as_array().unwrap();
        assert_eq!(results.len(), HOSTILE.len());
        for result in results {
            assert!(result["message"]["text"].is_string());
            assert!(["none", "note", "warning", "error"].contains(&result["level"].as_str().unwrap()));
            let index = result["ruleIndex"].as_u64().unwrap();
            assert_eq!(rules[usize::try_from(index).unwrap()]["id"], result["ruleId"]);
            assert!(["new", "unchanged", "updated", "absent"].contains(&result["baselineState"].as_str().unwrap()));
        }
    }
}
