//! Estate text to typed values, with the places of errors: the only file of `sim` that knows the YAML library.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
pub use serde_saphyr::Spanned;

/// What is wrong in an estate file, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EstateError {
    /// The file as it was named.
    pub file: String,
    /// Line, from 1; 0 when it is about the whole file.
    pub line: u64,
    /// Column, from 1; 0 when it is about the whole file.
    pub column: u64,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl std::fmt::Display for EstateError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, " ({hint})")?;
        }
        Ok(())
    }
}

impl std::error::Error for EstateError {}

/// One value or a list of them.
#[derive(Debug)]
pub(crate) struct Many<T>(pub Vec<T>);

impl<T> Default for Many<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Many<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany<T>(PhantomData<T>);
        impl<'de, T: DeserializeOwned> Visitor<'de> for OneOrMany<T> {
            type Value = Vec<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("one series or a list of series")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Vec<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(|one| vec![one])
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
                let mut out = Vec::new();
                while let Some(one) = list.next_element()? {
                    out.push(one);
                }
                Ok(out)
            }
        }
        deserializer.deserialize_any(OneOrMany(PhantomData)).map(Self)
    }
}

/// Parses the text.
pub(crate) fn parse<T: DeserializeOwned>(text: &str, file: &str) -> Result<T, Vec<EstateError>> {
    serde_saphyr::from_str(text).map_err(|error| {
        let error = error.without_snippet();
        let (line, column) = error.location().map_or((0, 0), |at| (at.line(), at.column()));
        let full = error.to_string();
        let message = full.lines().next().unwrap_or_default().to_owned();
        let message = match message.find(" at line ").filter(|_| line > 0) {
            Some(cut) => message[..cut].to_owned(),
            None => message,
        };
        let hint = hint_in(&full);
        vec![EstateError { file: file.to_owned(), line, column, message, hint }]
    })
}

/// "did you mean" from a message such as: unknown field `a`, expected one of b, c.
fn hint_in(message: &str) -> Option<String> {
    let (head, tail) = message.lines().next()?.split_once(", expected ")?;
    let wrong = head.contains("unknown").then(|| head.rsplit(' ').next()).flatten()?;
    let trim = |word: &'static str, text: &str| text.strip_prefix(word).unwrap_or(text).to_owned();
    let known = trim("one of ", tail);
    let known = known.split(" at line ").next().unwrap_or_default();
    let clean = |word: &str| word.trim_matches(|c: char| !c.is_alphanumeric()).to_owned();
    let words: Vec<String> = known.split([',', ' ']).map(clean).filter(|w| !w.is_empty() && w != "or").collect();
    nearest(&clean(wrong), words.iter().map(String::as_str))
}

/// The known word most like a wrong one, as a hint.
pub(crate) fn nearest<'a>(wrong: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    let wrong = wrong.to_lowercase();
    known
        .map(|word| (strsim::damerau_levenshtein(&wrong, &word.to_lowercase()), word))
        .filter(|(distance, word)| *distance <= 2.max(word.len() / 3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| format!("did you mean \"{word}\"?"))
}
