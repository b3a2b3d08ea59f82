//! Estate text to typed values, with the places of errors: the only file of `sim` that knows the YAML library.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_saphyr::Error as YamlError;
pub use serde_saphyr::Spanned;
use serde_saphyr::budget::BudgetBreach;

/// The largest estate that is read, in bytes.
///
/// A VM with a month of recovery points and two weeks of jobs takes about 10 KB as `azmend capture` writes it: this is an
/// estate of some 12,000 of them. More does not fit the memory of a small machine beside the world made of it.
pub const MAX_BYTES: usize = 128 * 1024 * 1024;

/// The most values (maps, lists, words) of an estate: as many as [`MAX_BYTES`] hold when they are short ones.
pub const MAX_VALUES: usize = 10_000_000;

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
    /// Nothing is wrong but its size: it is over [`MAX_BYTES`] or [`MAX_VALUES`].
    pub too_large: bool,
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
    parse_within(text, file, MAX_BYTES, MAX_VALUES)
}

fn parse_within<T: DeserializeOwned>(
    text: &str,
    file: &str,
    bytes: usize,
    values: usize,
) -> Result<T, Vec<EstateError>> {
    let too_large = |line, column, message| {
        vec![EstateError { file: file.to_owned(), line, column, message, hint: None, too_large: true }]
    };
    if text.len() > bytes {
        let message = format!("the estate is larger than {} MB, the most that is read", bytes / (1024 * 1024));
        return Err(too_large(0, 0, message));
    }
    // The library's own limits are for settings of a program. What aliases repeat stays within them.
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_reader_input_bytes: Some(bytes),
            max_total_scalar_bytes: bytes,
            max_nodes: values,
            // Every list and map has an end beside its beginning.
            max_events: values.saturating_mul(2).saturating_add(16),
        },
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let error = error.without_snippet();
        let (line, column) = error.location().map_or((0, 0), |at| (at.line(), at.column()));
        if let YamlError::Budget { breach: BudgetBreach::Nodes { .. } | BudgetBreach::Events { .. }, .. } = error {
            let message = format!("the estate has more than {values} values, the most that are read");
            return too_large(line, column, message);
        }
        let full = error.to_string();
        let message = full.lines().next().unwrap_or_default().to_owned();
        let message = match message.find(" at line ").filter(|_| line > 0) {
            Some(cut) => message[..cut].to_owned(),
            None => message,
        };
        let hint = hint_in(&full);
        vec![EstateError { file: file.to_owned(), line, column, message, hint, too_large: false }]
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    type Lists = BTreeMap<String, Vec<u32>>;

    #[test]
    fn the_size_is_told_apart_from_what_is_wrong() {
        let text = format!("list: [{}]\n", vec!["7"; 300_000].join(","));
        // More values than the library takes of itself.
        assert_eq!(parse::<Lists>(&text, "f").unwrap()["list"].len(), 300_000);
        let few = parse_within::<Lists>(&text, "f", MAX_BYTES, 1000).unwrap_err();
        assert!(few[0].too_large && few[0].message.contains("more than 1000 values"), "{few:?}");
        let small = parse_within::<Lists>(&text, "f", 1024 * 1024 / 2, MAX_VALUES).unwrap_err();
        assert!(small[0].too_large && small[0].message.contains("larger than"), "{small:?}");
        let wrong = parse_within::<Lists>("list: [x]\n", "f", MAX_BYTES, MAX_VALUES).unwrap_err();
        assert!(!wrong[0].too_large && wrong[0].line == 1, "{wrong:?}");
    }

    #[test]
    fn aliases_do_not_multiply() {
        let mut text = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n".to_owned();
        for level in 1..9 {
            let repeated = vec![format!("*a{}", level - 1); 10].join(", ");
            text.push_str(&format!("a{level}: &a{level} [{repeated}]\n"));
        }
        let error = parse::<serde_json::Value>(&text, "f").unwrap_err();
        assert!(!error[0].message.is_empty(), "{error:?}");
    }
}
