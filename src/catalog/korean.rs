//! The Korean texts of the catalogue: titles, causes, what to do, and the messages as the portal prints them.
//!
//! Duty: one entry of `ko.json` for every error that comes from the troubleshooting documents. The sentences are
//! azmend's own; the messages are Azure's, for they are what people paste.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

/// What an entry says in Korean.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Korean {
    /// Which of the troubleshooting documents name the error, as `<subject>-<year>`.
    pub documents: Vec<String>,
    /// What it is, in short.
    pub title: String,
    /// Causes.
    pub causes: Vec<String>,
    /// What to do.
    pub actions: Vec<String>,
    /// Literal messages of the Korean portal.
    pub messages: Vec<String>,
}

/// All of them, by code.
#[must_use]
pub fn texts() -> &'static BTreeMap<String, Korean> {
    static TEXTS: OnceLock<BTreeMap<String, Korean>> = OnceLock::new();
    // Part of the program; a test holds that it parses.
    TEXTS.get_or_init(|| serde_json::from_str(include_str!("ko.json")).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Catalog;

    #[test]
    fn every_text_is_whole_and_korean() {
        let texts: BTreeMap<String, Korean> = serde_json::from_str(include_str!("ko.json")).unwrap();
        assert_eq!(texts.len(), 71);
        let hangul = |text: &str| text.chars().any(|c| ('가'..='힣').contains(&c));
        for (code, text) in &texts {
            assert!(Catalog::get().by_code(code).is_some(), "{code}");
            assert!(!text.documents.is_empty() && !text.causes.is_empty() && !text.actions.is_empty(), "{code}");
            let sentences = text.causes.iter().chain(&text.actions).chain(&text.messages).chain([&text.title]);
            for sentence in sentences {
                assert!(hangul(sentence), "{code}: {sentence}");
            }
            for sentence in text.causes.iter().chain(&text.actions) {
                assert!(sentence.ends_with('.'), "{code}: {sentence}");
            }
        }
    }
}
