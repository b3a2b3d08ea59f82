//! Reading the parameters of actions: what may be missing, and ranges.

use serde::{Deserialize, Deserializer, de::Error as _};

use crate::duration::Span;

/// A day in seconds.
pub(super) const DAY: u64 = 86_400;

/// A key that may be missing and may not be null.
pub(super) fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// A duration from `min` to `max` seconds; `what` is said about the range.
pub(super) fn span_within<'de, D: Deserializer<'de>>(
    deserializer: D,
    (min, max): (u64, u64),
    what: &str,
) -> Result<Span, D::Error> {
    let span = Span::deserialize(deserializer)?;
    if (min..=max).contains(&span.as_secs()) {
        Ok(span)
    } else {
        Err(D::Error::custom(format!("{span} is out of range: {what}")))
    }
}
