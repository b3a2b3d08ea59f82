//! Estate text to typed values, with the places of errors, within the limits of an estate.

use std::fmt;
use std::marker::PhantomData;

use azmend_base::yaml::{self, Diagnostic, Limits};
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// The largest estate that is read, in bytes.
///
/// A VM with a month of recovery points and two weeks of jobs takes about 10 KB as `azmend capture` writes it: this is an
/// estate of some 12,000 of them. More does not fit the memory of a small machine beside the world made of it.
pub const MAX_BYTES: usize = 128 * 1024 * 1024;

/// The most values (maps, lists, words) of an estate: as many as [`MAX_BYTES`] hold when they are short ones.
pub const MAX_VALUES: usize = 10_000_000;

/// How much an estate may cost. What aliases repeat is as little as everywhere; a file of this size is nested no deeper.
const LIMITS: Limits = Limits { bytes: MAX_BYTES, depth: 32, nodes: MAX_VALUES, repeated: 20_000 };

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
pub(crate) fn parse<T: DeserializeOwned>(text: &str, file: &str) -> Result<T, Vec<Diagnostic>> {
    yaml::parse(text, file, &LIMITS)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    type Lists = BTreeMap<String, Vec<u32>>;

    #[test]
    fn an_estate_may_have_many_values() {
        let text = format!("list: [{}]\n", vec!["7"; 300_000].join(","));
        // More values than the library takes of itself.
        assert_eq!(parse::<Lists>(&text, "f").unwrap()["list"].len(), 300_000);
        let wrong = parse::<Lists>("list: [x]\n", "f").unwrap_err();
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
