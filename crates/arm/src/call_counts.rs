//! How many calls a run makes, and what for.
//!
//! Duty: count each request that is handed to the transport, by what it is for ([`CallPurpose`], said by the caller with
//! [`super::Arm::for_purpose`]) and by the kind of resource that its path names. Invariant: every try counts, also one that
//! is answered with 429. It must never hold names of resources: a table of calls can be shown to anybody.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Add;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a call is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallPurpose {
    /// To find the VM that the user means.
    Finding,
    /// To make a plan.
    Planning,
    /// To evaluate the rules just before a change.
    Guard,
    /// The change itself.
    Sending,
    /// To follow what Azure accepted to its end.
    Following,
    /// To prove by reading what a change did.
    Proof,
    /// To say how things are at the end.
    After,
    /// Not said.
    #[default]
    Other,
}

impl CallPurpose {
    /// The word for tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Finding => "finding",
            Self::Planning => "planning",
            Self::Guard => "guard",
            Self::Sending => "sending",
            Self::Following => "following",
            Self::Proof => "proof",
            Self::After => "after",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for CallPurpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The calls of one run so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ArmCalls {
    /// Requests that only read, every try and every page counted.
    pub reads: u64,
    /// Requests that change something.
    pub changes: u64,
    /// How long requests waited because of Azure's limits, all added up, in whole seconds, rounded up.
    pub waited_seconds: u64,
}

impl ArmCalls {
    /// Reads and changes together.
    #[must_use]
    pub const fn total(self) -> u64 {
        self.reads.saturating_add(self.changes)
    }
}

impl Add for ArmCalls {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            reads: self.reads.saturating_add(other.reads),
            changes: self.changes.saturating_add(other.changes),
            waited_seconds: self.waited_seconds.saturating_add(other.waited_seconds),
        }
    }
}

/// One line of the table of calls.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallRow {
    /// What for.
    pub purpose: CallPurpose,
    /// The verb.
    pub verb: String,
    /// The kind of resource, e.g. `restorePointCollections`.
    pub kind: String,
    /// How many.
    pub count: u64,
}

/// The counts of one run; shared by all clones of its gateway.
#[derive(Debug, Default)]
pub(super) struct Counts {
    reads: AtomicU64,
    changes: AtomicU64,
    /// Milliseconds.
    waited: AtomicU64,
    put_off: AtomicU64,
    rows: Mutex<BTreeMap<(CallPurpose, String, String), u64>>,
}

impl Counts {
    pub fn count(&self, purpose: CallPurpose, verb: &str, path: &str, reads: bool) {
        let counter = if reads { &self.reads } else { &self.changes };
        counter.fetch_add(1, Ordering::Relaxed);
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        *rows.entry((purpose, verb.to_owned(), kind_of(path))).or_default() += 1;
    }

    pub fn waited(&self, wait: Duration) {
        let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        self.waited.fetch_add(millis, Ordering::Relaxed);
    }

    /// A reading was given up because Azure asks to wait.
    pub fn put_off(&self) {
        self.put_off.fetch_add(1, Ordering::Relaxed);
    }

    pub fn all_put_off(&self) -> u64 {
        self.put_off.load(Ordering::Relaxed)
    }

    pub fn so_far(&self) -> ArmCalls {
        ArmCalls {
            reads: self.reads.load(Ordering::Relaxed),
            changes: self.changes.load(Ordering::Relaxed),
            waited_seconds: self.waited.load(Ordering::Relaxed).div_ceil(1000),
        }
    }

    pub fn rows(&self) -> Vec<CallRow> {
        let rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let row = |((purpose, verb, kind), count): (&(CallPurpose, String, String), &u64)| CallRow {
            purpose: *purpose,
            verb: verb.clone(),
            kind: kind.clone(),
            count: *count,
        };
        rows.iter().map(row).collect()
    }
}

/// The kind of resource that a path is about, without any name: the last type after the last `providers`, or the last
/// fixed word of a path without one.
fn kind_of(path: &str) -> String {
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let provider = segments.iter().rposition(|segment| segment.eq_ignore_ascii_case("providers"));
    // Namespace, type, name, type, name, ...; without a provider the path begins with a type.
    let typed = provider.map_or(&segments[..], |at| segments.get(at + 2..).unwrap_or_default());
    let last = typed.len().saturating_sub(1) / 2 * 2;
    let kind = typed.get(last).copied().unwrap_or("other");
    if kind.eq_ignore_ascii_case("resourcegroups") { "resourceGroups".to_owned() } else { kind.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_a_type_and_never_a_name() {
        let group = "/subscriptions/s/resourceGroups/g";
        for (path, kind) in [
            ("/subscriptions".to_owned(), "subscriptions"),
            ("/subscriptions/s".to_owned(), "subscriptions"),
            ("/subscriptions/s/resourcegroups".to_owned(), "resourceGroups"),
            (group.to_owned(), "resourceGroups"),
            (format!("{group}/resources"), "resources"),
            (format!("{group}/providers/Microsoft.Compute/virtualMachines/v"), "virtualMachines"),
            (format!("{group}/providers/Microsoft.Compute/virtualMachines/v/instanceView"), "instanceView"),
            (format!("{group}/providers/Microsoft.Compute/restorePointCollections/c/restorePoints/p"), "restorePoints"),
            (format!("{group}/providers/X.Y/vaults/v/providers/Microsoft.Authorization/locks/l"), "locks"),
            ("/subscriptions/s/providers/Microsoft.Compute/locations/w/operations/o".to_owned(), "operations"),
            ("/subscriptions/s/providers/X.Y/locations/w/backupStatus".to_owned(), "backupStatus"),
            (format!("{group}/providers/X.Y/vaults/v/backupJobs/j"), "backupJobs"),
            (String::new(), "other"),
            ("/providers".to_owned(), "other"),
            ("/providers/Microsoft.ResourceGraph/resources".to_owned(), "resources"),
        ] {
            assert_eq!(kind_of(&path), kind, "{path}");
        }
    }

    #[test]
    fn counts_add_up() {
        let counts = Counts::default();
        counts.count(CallPurpose::Guard, "GET", "/subscriptions/s", true);
        counts.count(CallPurpose::Guard, "GET", "/subscriptions/t", true);
        counts.count(CallPurpose::Sending, "DELETE", "/subscriptions/t", false);
        counts.waited(Duration::from_millis(1001));
        let so_far = counts.so_far();
        assert_eq!(so_far, ArmCalls { reads: 2, changes: 1, waited_seconds: 2 });
        assert_eq!((so_far.total(), (so_far + so_far).changes), (3, 2));
        let rows: Vec<(CallPurpose, u64)> = counts.rows().iter().map(|row| (row.purpose, row.count)).collect();
        assert_eq!(rows, [(CallPurpose::Guard, 2), (CallPurpose::Sending, 1)]);
    }
}
