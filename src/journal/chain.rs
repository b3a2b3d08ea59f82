//! The text of a journal: how a line is written, and what a file that was cut or edited still says. Pure: bytes in,
//! values out.
//!
//! A line is the JSON of a [`Record`] with one more key at its end, `sum`: the first 16 bytes of a SHA-256 over the sum of
//! the line before and this line's text. The text itself is summed, so that any byte that differs is seen, and a newer
//! azmend may add fields. The first line also has `plan_sum`, which ties `plan.json` to it.
//!
//! Invariants: a beginning of the last line without its end is a crash (the append never returned, so nothing was sent on
//! the strength of it); everything else that does not fit is an edit. The sums tell accidents and careless edits, not a
//! forger who computes them again; lines that are cut off as a whole at the end look like a crash.

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::event::{Event, FORMAT, Origin, Record};
use crate::text::safe_json;

const SUM_KEY: &str = ",\"sum\":\"";
const SUM_LEN: usize = 32;

/// How a journal ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// With a whole line.
    Clean,
    /// With a part of a line: the process or the machine stopped while it wrote. It is left out.
    Torn {
        /// How much of it is there.
        bytes: u64,
    },
}

/// Whether a journal is what azmend wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Integrity {
    /// It is.
    Intact,
    /// It was changed afterwards. Nothing may be deleted on the strength of it; locks may be put back.
    Edited {
        /// The first line that does not fit; 0 is `plan.json`.
        line: usize,
        /// How one can tell.
        why: String,
    },
    /// A newer azmend wrote it, and this one does not understand all of it.
    TooNew {
        /// Its format.
        format: u32,
    },
}

/// What a journal says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The plan as it stands in `plan.json`; empty when that is missing.
    pub plan_json: String,
    /// The records that can be relied on: those before the damage, if there is any.
    pub records: Vec<Record>,
    /// What else can still be read, in order: lines from the damage on. Good only for finding locks to put back.
    pub salvaged: Vec<Record>,
    /// How it ends.
    pub tail: Tail,
    /// Whether it is what azmend wrote.
    pub integrity: Integrity,
    /// The format it was written in.
    pub format: u32,
}

/// Where the next line goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Continuation {
    /// The sum of the last line.
    pub sum: String,
    /// The number of the last line.
    pub seq: u64,
    /// How much of the file stays: less than its length when the tail is torn.
    pub keep: u64,
    /// The file does not end with a newline although its last line is whole.
    pub newline: bool,
}

/// The first 16 bytes of a SHA-256 over the parts, with their lengths, in hexadecimal.
pub(super) fn digest(parts: &[&[u8]]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hasher.finalize().iter().take(SUM_LEN / 2).map(|byte| format!("{byte:02x}")).collect()
}

/// What the first line's sum is chained to.
pub(super) fn seed(run: &str) -> String {
    digest(&[b"azmend journal", run.as_bytes()])
}

/// Ties `plan.json` to the first line.
pub(super) fn plan_sum(plan_json: &[u8]) -> String {
    digest(&[b"azmend plan", plan_json])
}

/// The line of `record`, with its newline, and its sum. `plan` is the plan's sum, for the first line.
pub(super) fn write_line(record: &Record, before: &str, plan: Option<&str>) -> Result<(String, String), String> {
    // People look at journals with `cat`: nothing in them may control a terminal (S11).
    let mut text = safe_json(&serde_json::to_string(record).map_err(|e| e.to_string())?);
    if text.pop() != Some('}') {
        return Err("a record is not an object".to_owned());
    }
    if let Some(plan) = plan {
        text.push_str(&format!(",\"plan_sum\":\"{plan}\""));
    }
    let sum = digest(&[before.as_bytes(), text.as_bytes()]);
    text.push_str(SUM_KEY);
    text.push_str(&sum);
    text.push_str("\"}\n");
    Ok((text, sum))
}

/// The parts of a line that the loader looks at before it understands the event.
#[derive(Deserialize)]
struct Envelope {
    #[serde(default)]
    event: String,
    #[serde(default)]
    format: u32,
    #[serde(default)]
    plan_sum: Option<String>,
}

enum LineFault {
    /// The line is not what was written.
    Edited(&'static str),
    /// The line is what was written, and says something unknown.
    NotUnderstood,
}

/// Checks one line (without newline) against the sum of the one before.
fn read_line(line: &[u8], before: &str, seq: u64) -> Result<(Record, String), LineFault> {
    let text = std::str::from_utf8(line).map_err(|_| LineFault::Edited("it is not text"))?;
    let rest = text.strip_suffix("\"}").ok_or(LineFault::Edited("its end is not that of a line"))?;
    let (body, sum) = rest
        .len()
        .checked_sub(SUM_LEN)
        .and_then(|at| rest.split_at_checked(at))
        .ok_or(LineFault::Edited("it has no checksum"))?;
    let body = body.strip_suffix(SUM_KEY).ok_or(LineFault::Edited("it has no checksum"))?;
    if digest(&[before.as_bytes(), body.as_bytes()]) != sum {
        return Err(LineFault::Edited("its checksum does not fit it and the line before"));
    }
    let record: Record = serde_json::from_str(text).map_err(|_| LineFault::NotUnderstood)?;
    if record.seq != seq {
        return Err(LineFault::Edited("its number does not follow that of the line before"));
    }
    Ok((record, sum.to_owned()))
}

/// The sum that a line claims to have.
fn claimed_sum(line: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Claim {
        sum: String,
    }
    serde_json::from_slice::<Claim>(line).ok().map(|claim| claim.sum)
}

/// Whether the bytes begin with a complete JSON object; the beginning of a line never does.
fn begins_with_an_object(bytes: &[u8]) -> bool {
    matches!(
        serde_json::Deserializer::from_slice(bytes).into_iter::<serde_json::Value>().next(),
        Some(Ok(serde_json::Value::Object(_)))
    )
}

/// Reads a journal and says where to go on.
pub(super) fn read(journal: &[u8], plan: Option<&[u8]>, run: &str) -> (Loaded, Continuation) {
    let mut records: Vec<Record> = Vec::new();
    let mut salvaged: Vec<Record> = Vec::new();
    let mut integrity = Integrity::Intact;
    let mut tail = Tail::Clean;
    let mut format = FORMAT;
    let mut next = Continuation { sum: seed(run), seq: 0, keep: journal.len() as u64, newline: false };
    let mut plan_tie = None;

    for (index, piece) in journal.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let number = index + 1;
        let whole = piece.strip_suffix(b"\n");
        let line = whole.unwrap_or(piece);
        if number == 1
            && let Ok(envelope) = serde_json::from_slice::<Envelope>(line)
        {
            if envelope.event == "started" && envelope.format > 0 {
                format = envelope.format;
            }
            plan_tie = envelope.plan_sum;
        }
        next.newline = whole.is_none();
        if integrity == Integrity::Intact {
            match read_line(line, &next.sum, next.seq + 1) {
                Ok((record, sum)) => {
                    // A whole line without its newline is kept: an intent that was perhaps never used is settled by
                    // reading the resource, a lost one cannot be.
                    next.sum = sum;
                    next.seq = record.seq;
                    records.push(record);
                    continue;
                }
                Err(_) if whole.is_none() && !begins_with_an_object(line) => {
                    tail = Tail::Torn { bytes: line.len() as u64 };
                    next.keep -= line.len() as u64;
                    next.newline = false;
                    continue;
                }
                Err(LineFault::NotUnderstood) => integrity = Integrity::TooNew { format },
                Err(LineFault::Edited(why)) => integrity = Integrity::Edited { line: number, why: why.to_owned() },
            }
        }
        // From the damage on: whatever can be read, and a chain that goes on from what is claimed.
        if let Some(sum) = claimed_sum(line) {
            next.sum = sum;
        }
        if let Ok(record) = serde_json::from_slice::<Record>(line) {
            next.seq = next.seq.max(record.seq);
            salvaged.push(record);
        } else if whole.is_none() && !begins_with_an_object(line) {
            tail = Tail::Torn { bytes: line.len() as u64 };
        }
    }
    let plan_fault = match (plan, plan_tie) {
        (None, _) => Some("plan.json is missing"),
        (Some(plan), Some(tie)) if plan_sum(plan) != tie => Some("plan.json is not the plan of this run"),
        _ => None,
    };
    if let (Integrity::Intact, Some(why)) = (&integrity, plan_fault) {
        integrity = Integrity::Edited { line: 0, why: why.to_owned() };
    }
    if format > FORMAT {
        integrity = Integrity::TooNew { format };
    }
    let plan_json = String::from_utf8_lossy(plan.unwrap_or_default()).into_owned();
    (Loaded { plan_json, records, salvaged, tail, integrity, format }, next)
}

impl Loaded {
    /// Whether the journal is exactly what azmend wrote (a torn end is a crash, not damage).
    #[must_use]
    pub fn is_intact(&self) -> bool {
        self.integrity == Integrity::Intact
    }

    /// Where the run works, as its first line says.
    #[must_use]
    pub fn origin(&self) -> Option<&Origin> {
        self.records.iter().chain(&self.salvaged).find_map(|record| match &record.event {
            Event::Started { origin, .. } => origin.as_deref(),
            _ => None,
        })
    }

    /// Every intent to delete that was read, also after the damage: from these the locks that may be off are found.
    pub fn deletions(&self) -> impl Iterator<Item = &Record> {
        self.records
            .iter()
            .chain(&self.salvaged)
            .filter(|record| matches!(&record.event, Event::Intent { verb, .. } if verb == "DELETE"))
    }
}
