//! The commands, one file each.

pub mod apply;
pub mod audit;
pub mod backup;
pub mod capture;
pub mod completions;
pub mod diagnose;
pub mod doctor;
pub mod engines;
pub mod explain;
pub mod fix;
pub mod fleet;
pub mod from_alert;
pub mod jobs;
pub mod man;
pub mod playbook;
pub mod protect;
pub mod role;
pub mod runs;
pub mod sandbox;
pub mod serve;
pub mod vms;
