//! How a change ends, and why one is not made: the words that rules, actions and engine share.
//!
//! Duty: values only. A [`Refusal`] carries the rule's stable name, a [`Failure`] Azure's code, an [`Override`] names a
//! rule that the user may switch off. Must never: decide anything.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A rule that stopped something, and why. The rule's name is stable (`s8.newest`), the sentence is for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// e.g. `s5.vm-group`, `s8.snapshot-only`.
    pub rule: String,
    /// One sentence: what was found.
    pub why: String,
    /// What the user can do about it, if anything.
    pub hint: Option<String>,
}

impl Refusal {
    /// A refusal without a hint.
    #[must_use]
    pub fn new(rule: &str, why: impl Into<String>) -> Self {
        Self { rule: rule.to_owned(), why: why.into(), hint: None }
    }

    /// Adds what the user can do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.why, self.rule)
    }
}

/// A rule that the user may switch off by name for one run (`--override`). Nothing else can be overridden.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Override {
    /// Delete one of the two newest succeeded points.
    #[serde(rename = "s8.newest")]
    Newest,
    /// Delete a point that the vault has no copy of.
    #[serde(rename = "s8.snapshot-only")]
    SnapshotOnly,
    /// Delete while a job runs.
    #[serde(rename = "s8.job-active")]
    JobActive,
    /// Delete shortly before a scheduled backup.
    #[serde(rename = "s8.job-due")]
    JobDue,
    /// Delete during a file-recovery session or an unfinished copy.
    #[serde(rename = "s8.recovery-session")]
    RecoverySession,
    /// Delete points of a soft-deleted item.
    #[serde(rename = "s8.soft-deleted")]
    SoftDeleted,
    /// Delete points of an item whose protection is stopped with data retained.
    #[serde(rename = "s8.stopped-retained")]
    StoppedRetained,
    /// Delete under an immutable vault or a resource guard.
    #[serde(rename = "s8.immutable")]
    Immutable,
    /// Start more than three on-demand backups in a day (never more than nine).
    #[serde(rename = "s10.daily-limit")]
    DailyLimit,
}

impl Override {
    /// Every override.
    pub const ALL: [Self; 9] = [
        Self::Newest,
        Self::SnapshotOnly,
        Self::JobActive,
        Self::JobDue,
        Self::RecoverySession,
        Self::SoftDeleted,
        Self::StoppedRetained,
        Self::Immutable,
        Self::DailyLimit,
    ];

    /// The name users type: also the name of the rule.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Newest => "s8.newest",
            Self::SnapshotOnly => "s8.snapshot-only",
            Self::JobActive => "s8.job-active",
            Self::JobDue => "s8.job-due",
            Self::RecoverySession => "s8.recovery-session",
            Self::SoftDeleted => "s8.soft-deleted",
            Self::StoppedRetained => "s8.stopped-retained",
            Self::Immutable => "s8.immutable",
            Self::DailyLimit => "s10.daily-limit",
        }
    }

    /// What the user gives up by it, for the question.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Newest => "the two newest restore points may be deleted",
            Self::SnapshotOnly => "points that the vault has no copy of may be deleted: that data is then lost",
            Self::JobActive => "points may be deleted while a backup or restore job runs",
            Self::JobDue => "points may be deleted shortly before a scheduled backup",
            Self::RecoverySession => "points may be deleted during a file-recovery session or an unfinished copy",
            Self::SoftDeleted => "points of a soft-deleted item may be deleted: an undelete would need them",
            Self::StoppedRetained => "points may be deleted although protection was stopped to keep the data",
            Self::Immutable => "points may be deleted although the vault is immutable or guarded",
            Self::DailyLimit => "more than three on-demand backups in a day",
        }
    }

    /// The override of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|o| o.name() == name)
    }
}

impl fmt::Display for Override {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How a change ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// Done and proven by reading.
    Succeeded {
        /// What was proven: "gone (404)", "snapshot taken; transfer to the vault running, not verified".
        detail: String,
    },
    /// It was so already; nothing was sent.
    AlreadyDone {
        /// What was found.
        detail: String,
    },
    /// Not tried.
    Skipped {
        /// Why.
        why: String,
    },
    /// A rule stopped it; nothing was sent (any more).
    Refused {
        /// The rule and the reason.
        refusal: Refusal,
    },
    /// It failed, and reading shows that it did not happen (or not completely: then the text says so).
    Failed {
        /// What happened.
        error: Failure,
    },
    /// Nobody can say from here whether it happened. Settled only by reading, never by sending again blindly.
    Unknown {
        /// What was lost.
        why: String,
    },
}

/// Why a change failed, in a form that can be shown and branched on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Azure's code or a backup error code; empty when there is none.
    pub code: String,
    /// What happened, one sentence.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    /// Whether this is a sign-in or permission problem (exit 4 when nothing changed).
    pub permission: bool,
}

impl Failure {
    /// A failure with code and message.
    #[must_use]
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), hint: None, permission: false }
    }
}

impl Failure {
    /// Adds what to do.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl Outcome {
    /// One word for tables and JSON.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Succeeded { .. } => "succeeded",
            Self::AlreadyDone { .. } => "already_done",
            Self::Skipped { .. } => "skipped",
            Self::Refused { .. } => "refused",
            Self::Failed { .. } => "failed",
            Self::Unknown { .. } => "unknown",
        }
    }

    /// The sentence that goes with it.
    #[must_use]
    pub fn detail(&self) -> String {
        match self {
            Self::Succeeded { detail } | Self::AlreadyDone { detail } => detail.clone(),
            Self::Skipped { why } | Self::Unknown { why } => why.clone(),
            Self::Refused { refusal } => refusal.to_string(),
            Self::Failed { error } if error.code.is_empty() => error.message.clone(),
            Self::Failed { error } => format!("{}: {}", error.code, error.message),
        }
    }

    /// Whether the state that was wanted holds.
    #[must_use]
    pub const fn holds(&self) -> bool {
        matches!(self, Self::Succeeded { .. } | Self::AlreadyDone { .. })
    }
}
