//! Facts: what azmend knows of a VM and of its backup. It never changes anything.

pub mod facts;
pub mod groups;
pub mod schedule;
pub mod view;
pub mod zones;
