//! Facts: what azmend knows of a VM and of its backup. It never changes anything.
//!
//! The way through: [`resolve`] finds the VM a user means, [`collect`] reads it, [`derive`] makes of the facts the small
//! view that conditions see. [`groups`], [`schedule`] and [`zones`] are pure helpers.

pub mod alerted;
pub mod bulk;
pub mod capture;
pub mod collect;
pub mod derive;
pub mod graph;
pub mod groups;
pub mod guest;
pub mod identity;
pub mod inventory;
pub mod items;
pub mod keyvaults;
pub mod locked;
pub mod lockwatch;
pub mod objective;
mod read;
pub mod resolve;
pub mod rights;
pub mod schedule;
pub mod surroundings;
pub mod unread;
pub mod view;
pub mod vm_facts;
pub mod zones;

pub use collect::{CollectOptions, Refresh, collect, refresh};
pub use derive::{StaleCounts, holds_only_backup};
pub use resolve::{ResolveError, resolve_subscriptions, resolve_vm};
pub use schedule::{NextBackup, ScheduleError, next_backup, recent_backups};

#[cfg(test)]
mod sim_tests;
