//! Actions: what a playbook's step can do to Azure, one file per action.

pub mod spec;
