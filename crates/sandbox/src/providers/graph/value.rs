//! Values of a query, and the kinds they are of.

use std::cmp::Ordering;

use jiff::Timestamp;
use serde_json::Value;

use crate::call::stamp_z;

/// The kind of a column or an expression, known before any row is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    Long,
    Real,
    Text,
    Time,
    Span,
    Dynamic,
}

impl Kind {
    pub const fn is_number(self) -> bool {
        matches!(self, Self::Long | Self::Real)
    }

    /// Kusto's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Long => "long",
            Self::Real => "real",
            Self::Text => "string",
            Self::Time => "datetime",
            Self::Span => "timespan",
            Self::Dynamic => "dynamic",
        }
    }
}

/// A value. Texts are never null in this language; everything else can be.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Val {
    Null,
    Bool(bool),
    Long(i64),
    Real(f64),
    Text(String),
    Time(Timestamp),
    /// Seconds.
    Span(i64),
    /// Anything JSON.
    Dynamic(Value),
}

impl Val {
    /// A dynamic value that holds a scalar, as that scalar.
    pub fn plain(self) -> Self {
        match self {
            Self::Dynamic(Value::Null) => Self::Null,
            Self::Dynamic(Value::Bool(flag)) => Self::Bool(flag),
            Self::Dynamic(Value::String(text)) => Self::Text(text),
            Self::Dynamic(Value::Number(number)) => match number.as_i64() {
                Some(whole) => Self::Long(whole),
                None => number.as_f64().map_or(Self::Null, Self::Real),
            },
            other => other,
        }
    }

    pub fn into_json(self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(flag) => flag.into(),
            Self::Long(number) => number.into(),
            Self::Real(number) => number.into(),
            Self::Text(text) => text.into(),
            Self::Time(time) => stamp_z(time).into(),
            Self::Span(seconds) => span_text(seconds).into(),
            Self::Dynamic(value) => value,
        }
    }

    /// `tostring()`.
    pub fn text(&self) -> String {
        match self.clone().plain() {
            Self::Null => String::new(),
            Self::Text(text) => text,
            Self::Dynamic(value) => value.to_string(),
            Self::Bool(flag) => flag.to_string(),
            Self::Long(number) => number.to_string(),
            Self::Real(number) => number.to_string(),
            Self::Time(time) => stamp_z(time),
            Self::Span(seconds) => span_text(seconds),
        }
    }

    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null | Self::Dynamic(Value::Null))
    }

    /// Null, or a text without letters.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Text(text) | Self::Dynamic(Value::String(text)) => text.is_empty(),
            other => other.is_null(),
        }
    }

    /// The order of two values of one kind; none where they have none.
    pub fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => Some(a.cmp(b)),
            (Self::Long(a), Self::Long(b)) | (Self::Span(a), Self::Span(b)) => Some(a.cmp(b)),
            (Self::Long(_) | Self::Real(_), Self::Long(_) | Self::Real(_)) => self.real()?.partial_cmp(&other.real()?),
            (Self::Text(a), Self::Text(b)) => Some(a.cmp(b)),
            (Self::Time(a), Self::Time(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "as the language does when it compares long with real")]
    fn real(&self) -> Option<f64> {
        match self {
            Self::Long(number) => Some(*number as f64),
            Self::Real(number) => Some(*number),
            _ => None,
        }
    }
}

/// `14.00:00:00`.
fn span_text(seconds: i64) -> String {
    let sign = if seconds < 0 { "-" } else { "" };
    let seconds = seconds.unsigned_abs();
    let clock = format!("{:02}:{:02}:{:02}", seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    match seconds / 86_400 {
        0 => format!("{sign}{clock}"),
        days => format!("{sign}{days}.{clock}"),
    }
}
