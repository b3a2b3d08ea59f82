//! The gateway to Azure Resource Manager.
//!
//! Duty: resource ids, tokens, sending with retry and throttling, polling long-running operations, and typed calls.
//! It knows no playbook and makes no decision about what should be changed. Only `arm::sdk` names an `azure_*` crate.

pub mod http;
pub mod id;
pub mod model;
