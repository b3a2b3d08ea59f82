//! The one duration type of the program: `90s`, `15m`, `2h`, `30d` (a day is 24 hours), and sums such as `2h45m`.
//!
//! Used by `--deadline`, by playbook parameters and step time-outs, and in the journal. It is always positive and at
//! most ten years, so arithmetic on it cannot overflow.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest accepted span: ten years of 365 days.
const MAX: u64 = 3650 * 86_400;

/// A span of time as users write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(u64);

/// Why a text is not a [`Span`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a duration: write it like 90s, 15m, 2h, 30d or 2h45m (at most 3650d)")]
pub struct SpanError {
    text: String,
}

impl Span {
    /// A span of whole seconds; longer than ten years is cut to ten years.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        if secs > MAX { Self(MAX) } else { Self(secs) }
    }

    /// The length in seconds.
    #[must_use]
    pub const fn as_secs(self) -> u64 {
        self.0
    }

    /// The length as a standard duration.
    #[must_use]
    pub const fn to_std(self) -> Duration {
        Duration::from_secs(self.0)
    }
}

impl From<Duration> for Span {
    fn from(value: Duration) -> Self {
        Self::from_secs(value.as_secs())
    }
}

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        let error = || SpanError { text: text.chars().take(40).collect() };
        let (mut total, mut number, mut last_unit) = (0u64, None::<u64>, u64::MAX);
        for c in text.chars() {
            if let Some(digit) = c.to_digit(10) {
                let n = number.unwrap_or(0).checked_mul(10).and_then(|n| n.checked_add(u64::from(digit)));
                number = Some(n.ok_or_else(error)?);
                continue;
            }
            let unit = match c {
                'd' => 86_400,
                'h' => 3600,
                'm' => 60,
                's' => 1,
                _ => return Err(error()),
            };
            // Units must shrink from left to right: `1h2h` and `5m2h` are typing errors, not sums.
            if unit >= last_unit {
                return Err(error());
            }
            last_unit = unit;
            let part = number.take().and_then(|n| n.checked_mul(unit)).ok_or_else(error)?;
            total = total.checked_add(part).ok_or_else(error)?;
        }
        if number.is_some() || last_unit == u64::MAX || total > MAX {
            return Err(error());
        }
        Ok(Self(total))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        let mut rest = self.0;
        // Days only when whole: `30d` and `36h` read better than `30d` and `1d12h`.
        if rest.is_multiple_of(86_400) {
            return write!(f, "{}d", rest / 86_400);
        }
        for (unit, name) in [(3600, 'h'), (60, 'm'), (1, 's')] {
            if rest / unit > 0 {
                write!(f, "{}{name}", rest / unit)?;
                rest %= unit;
            }
        }
        Ok(())
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

impl JsonSchema for Span {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^(?=.)([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$",
            "description": "A duration such as 90s, 15m, 2h, 30d or 2h45m; a day is 24 hours"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        for (text, secs) in [("90s", 90), ("15m", 900), ("2h", 7200), ("30d", 2_592_000), ("2h45m", 9900), ("0s", 0)] {
            assert_eq!(text.parse::<Span>().unwrap().as_secs(), secs, "{text}");
        }
    }

    #[test]
    fn refuses_what_it_cannot_mean() {
        for text in ["", "5", "h", "-1h", "1.5h", "1h2h", "5m2h", "9999999d", "99999999999999999999s", "2 h", "٣h"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn display_and_parse_agree(secs in 0u64..=MAX) {
            let span = Span::from_secs(secs);
            proptest::prop_assert_eq!(span.to_string().parse::<Span>().unwrap(), span);
        }
    }
}
