//! What happened, as Azure reports it: an alert, an event, or a job's id. `fix --from-alert` starts from it.
//!
//! Duty: pure. From bytes of anybody to the virtual machine or the backup job that they are about, or to a sentence why not.
//!
//! Forms:
//! - Azure Monitor's common alert schema (learn.microsoft.com: alerts-common-schema), one alert or an array of them. The keys of
//!   `essentials` are published. Those of `alertContext` are not published for Azure Backup's built-in alerts: what is read
//!   (`sourceId`, `linkedResourceId`, `protectedItemId`, `extendedInfo.jobId`) was seen in a public payload of March 2026, is taken in
//!   any capitalisation, and each may be missing.
//! - Event Grid's own schema and CloudEvents 1.0 (event-schema, cloud-event-schema), one event or an array: of the events of
//!   subscriptions and resource groups, and of Resource Notifications, that name a VM or a backup item.
//! - The `WebhookData` of an Automation webhook around one of these.
//! - A backup job: its resource id, its GUID, or its own JSON.
//!
//! Invariants: bounded in bytes, depth and entries; a resolved alert asks for nothing; what is about something else than the backup
//! of Azure VMs is refused by name; several VMs are never reduced to one; no text goes further than [`ResourceId::parse`].
//! Must never: ask Azure, or decide what is repaired. The alert is why azmend looks; what it does follows from what it reads.

mod parse;
mod shape;

use jiff::Timestamp;

use crate::arm::id::ResourceId;

pub use parse::parse;

/// The most bytes that are read. Event Grid's arrays have at most 1 MB, a common alert 256 KB.
pub const MOST_BYTES: u64 = 1024 * 1024;

/// What an alert is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// A virtual machine, by name.
    Vm(ResourceId),
    /// A backup item of a VM in a vault, by its own id.
    Item(ResourceId),
    /// A backup job of a vault.
    Job(ResourceId),
    /// A backup job whose vault is not named.
    JobGuid(String),
}

impl About {
    /// What it is, for people and as the key that tells two of them apart.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Vm(id) | Self::Item(id) | Self::Job(id) => id.as_str(),
            Self::JobGuid(guid) => guid,
        }
    }
}

/// One alert that asks for something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// What it is about.
    pub about: About,
    /// The job that failed, when the alert names it.
    pub job: Option<ResourceId>,
    /// What it is called: the rule, the event type.
    pub name: String,
    /// When it was raised.
    pub at: Option<Timestamp>,
    /// The error it names, a code of the catalogue; often an alert names none.
    pub code: Option<String>,
}

/// What was given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Alerts {
    /// Those that ask for something; at most one for each thing that they are about.
    pub fired: Vec<Alert>,
    /// How many were resolved.
    pub resolved: usize,
    /// What about each that azmend does nothing for, a sentence for each.
    pub other: Vec<String>,
}

/// Why bytes are no alert. Each is a sentence for people; text from the alert in it is safe to show.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AlertError {
    /// Not text, not JSON, too deep.
    #[error("this is no alert, no event and no id of a job: {0}")]
    NotReadable(String),
    /// JSON of another shape.
    #[error("this is JSON, but no alert, event or job that azmend knows: {0}")]
    NotKnown(String),
    /// A known shape with a value of a wrong type, or one that is missing.
    #[error("{0}")]
    Wrong(String),
}
