//! How an object is written: all of it or a part, as JSON, JSON lines or YAML.
//!
//! Must never: let a text control a terminal.

use serde::Serialize;

use super::query::Query;
use super::settings::Output;
use crate::text::safe_json;
use crate::yaml;

/// An object as stdout gets it; `None` for a line of `jsonl` in which the query finds nothing.
///
/// # Errors
/// When the query fails on it.
pub fn text(value: &impl Serialize, output: Output, query: Option<&Query>) -> Result<Option<String>, String> {
    let Some(query) = query else { return written(value, output).map(Some) };
    let found = query.of(value)?;
    if output == Output::Jsonl && found.is_null() {
        return Ok(None);
    }
    written(&found, output).map(Some)
}

fn written(value: &impl Serialize, output: Output) -> Result<String, String> {
    match output {
        Output::Jsonl => serde_json::to_string(value).map_err(|error| error.to_string()),
        Output::Yaml => yaml::write(value),
        _ => serde_json::to_string_pretty(value).map(|text| lines(&text)).map_err(|error| error.to_string()),
    }
}

/// Invisible characters written as codes, so that no terminal acts on them.
fn lines(text: &str) -> String {
    text.lines().map(safe_json).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(query: &str, output: Output) -> Result<Option<String>, String> {
        let value =
            json!({ "vms": [{ "name": "web-01", "points": 21 }, { "name": "ok-07", "points": 2 }], "why": null });
        text(&value, output, Some(&Query::parse(query).unwrap()))
    }

    #[test]
    fn a_query_is_what_the_azure_cli_takes() {
        assert_eq!(of("vms[?points > `18`].name | [0]", Output::Json).unwrap().unwrap(), "\"web-01\"");
        assert_eq!(of("length(vms)", Output::Json).unwrap().unwrap(), "2");
        assert_eq!(of("vms[].{n: name}", Output::Jsonl).unwrap().unwrap(), r#"[{"n":"web-01"},{"n":"ok-07"}]"#);
        assert_eq!(of("why", Output::Json).unwrap().unwrap(), "null");
        assert_eq!(of("why", Output::Jsonl).unwrap(), None);
        assert_eq!(of("vms[].name", Output::Yaml).unwrap().unwrap(), "- web-01\n- ok-07\n");
        assert!(of("length(`1`)", Output::Json).unwrap_err().contains("--query"));
        assert_eq!(Query::parse("vms[").unwrap_err().exit_code(), 2);
    }

    #[test]
    fn yaml_means_what_the_json_says_and_controls_no_terminal() {
        let value =
            json!({ "a": "no", "b": "\u{1b}[2J\u{202e}", "c": ["1", 1, null, true, "x: y", "- z", ""], "d": {} });
        let text = text(&value, Output::Yaml, None).unwrap().unwrap();
        assert!(!text.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'), "{text:?}");
        let back: Value = yaml::parse(&text, "x", &yaml::Limits::default()).unwrap();
        assert_eq!(back, value, "{text}");
    }
}
