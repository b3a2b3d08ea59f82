//! A playbook to start one's own from.

use super::source;
use crate::yaml::{Diagnostic, Place, quote};

/// What `azmend playbook new` writes, with a mark where the name belongs.
const TEXT: &str = include_str!("template.yaml");
const MARK: &str = "@NAME@";

/// The text of a new playbook with this name: valid, with a comment at every key.
///
/// # Errors
/// When no playbook can have this name: what is wrong, and what is allowed.
pub fn template(name: &str) -> Result<String, Diagnostic> {
    let refused = || {
        let message = format!("{} is not a name for a playbook", quote(name));
        Diagnostic::new(name, Place::START, message)
            .hint("1 to 64 lower-case letters, digits and hyphens, not a number or a word of YAML")
    };
    // Checked before it is put into the text: a line break would add keys.
    if name == "auto" || !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
        return Err(refused());
    }
    let text = TEXT.replace(MARK, name);
    match source::read(&text, &format!("{name}.yaml")) {
        Ok(playbook) if playbook.name() == name => Ok(text),
        _ => Err(refused()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_playbook_is_valid_and_says_what_each_key_is_for() {
        let text = template("weekly-room").unwrap();
        assert_eq!(source::read(&text, "f").unwrap().name(), "weekly-room");
        assert!(!text.contains(MARK));
        let lines: Vec<&str> = text.lines().collect();
        for key in ["title:", "codes:", "severity:", "parameters:", "applies:", "steps:"] {
            let at = lines.iter().position(|line| line.starts_with(key)).unwrap();
            assert!(lines[at - 1].starts_with('#'), "{key} has no comment");
        }
    }

    #[test]
    fn a_name_that_no_playbook_can_have_is_refused() {
        for name in ["", "Weekly", "../x", "a b", "x\nname: y", "auto", "a: b", "7", "~", "true", &"x".repeat(65)] {
            let problem = template(name).unwrap_err();
            assert!(problem.suggestion.is_some(), "{name}: {problem}");
        }
    }
}
