//! What a long reading says of itself while it goes on.

use jiff::Timestamp;

/// What is being read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Stage {
    /// Lists of everything but VMs.
    #[default]
    Lists,
    /// VMs, page by page.
    Vms,
    /// VMs that look suspicious, one by one.
    Suspicious,
}

/// How far it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// What is being read.
    pub stage: Stage,
    /// Subscriptions that are looked into.
    pub subscriptions: usize,
    /// VMs so far.
    pub vms: usize,
    /// VMs still to be listed; `None` when Azure has not counted them.
    pub vms_left: Option<u64>,
    /// VMs that were read by themselves.
    pub read: usize,
    /// VMs that are to be read by themselves, as far as they are known.
    pub to_read: usize,
    /// Requests so far.
    pub calls: u64,
    /// Seconds that requests have waited because of Azure's limits, all added up.
    pub waited: u64,
}

/// Somebody who is told.
pub trait Watch: Send + Sync {
    /// It went on.
    fn seen(&self, at: Timestamp, seen: &Seen);
}

/// Nobody is told.
#[derive(Debug, Clone, Copy)]
pub struct Unwatched;

impl Watch for Unwatched {
    fn seen(&self, _: Timestamp, _: &Seen) {}
}
