//! Progress as JSON lines: one object per event, the result object as the last line.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::engine::progress::Progress;

/// Name and version of the event objects.
pub const EVENT_SCHEMA: &str = "azmend.event/v1";

/// One event.
#[must_use]
pub fn event(at: Timestamp, progress: &Progress) -> Value {
    let mut value = match progress {
        Progress::Step { id, number, of, changes } => {
            json!({ "event": "step", "step": id, "number": number, "of": of, "changes": changes })
        }
        Progress::StepOff { id, why } => json!({ "event": "step_off", "step": id, "why": why }),
        Progress::Change { change } => json!({
            "event": "change",
            "change": change.id,
            "resource_id": change.resource().as_str(),
            "effect": change.effect,
        }),
        Progress::LockNote { lock, command } => {
            json!({ "event": "lock_note", "lock": lock, "recreate_command": command })
        }
        Progress::Waiting { what, wait, since } => {
            json!({ "event": "waiting", "for": what, "wait_seconds": wait.as_secs(), "since": since })
        }
        Progress::Retry { why } => json!({ "event": "retry", "why": why }),
        Progress::Settled { change, outcome } => {
            json!({ "event": "settled", "change": change, "outcome": outcome.word(), "detail": outcome.detail() })
        }
        Progress::Inverse { resource, outcome } => {
            json!({ "event": "inverse", "resource": resource, "outcome": outcome })
        }
        Progress::Relock { lock, outcome } => json!({ "event": "relock", "lock": lock, "outcome": outcome }),
        Progress::Verifying => json!({ "event": "verifying" }),
        Progress::Warning { text } => json!({ "event": "warning", "text": text }),
    };
    if let Some(object) = value.as_object_mut() {
        object.insert("schema".to_owned(), EVENT_SCHEMA.into());
        object.insert("at".to_owned(), at.to_string().into());
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_says_what_and_when() {
        let line = event(Timestamp::UNIX_EPOCH, &Progress::Retry { why: "429".into() });
        assert_eq!(
            line,
            json!({ "schema": "azmend.event/v1", "at": "1970-01-01T00:00:00Z", "event": "retry", "why": "429" })
        );
    }
}
