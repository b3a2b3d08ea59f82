//! The commands, one file each.

pub mod apply;
pub mod completions;
pub mod doctor;
pub mod fix;
pub mod playbook;
pub mod role;
pub mod runs;
pub mod sandbox;
pub mod serve;
