//! The gateway to Azure Resource Manager.
//!
//! Duty: resource ids, tokens, sending with retry and throttling, polling long-running operations, and typed calls.
//! It knows no playbook and makes no decision about what should be changed. Only `arm::sdk` names an `azure_*` crate.

mod absence;
pub mod api;
mod around;
mod bulk;
mod calls;
pub mod claims;
pub mod cloud;
pub mod error;
pub mod error_body;
pub mod gateway;
mod governance;
pub mod graph;
pub mod http;
pub mod id;
mod inventory;
pub mod keyvault;
pub mod listing;
pub mod model;
pub mod permissions;
pub mod poll;
pub mod readonly;
mod recall;
pub mod retry;
mod sdk;
mod shared;
#[cfg(test)]
mod testing;
pub mod throttle;
pub mod token;
pub mod wire;

pub use api::{Arm, ArmSettings, JobFilter, Sent, Tag};
pub use around::WholeVm;
pub use calls::{ArmCalls, CallPurpose, CallRow};
pub use cloud::{Cloud, CloudError, token_scope};
pub use error::{ArmError, ErrorClass, ErrorDetail, ErrorKind, Failure};
pub use graph::{GraphPage, GraphQuery, GraphRefusal, GraphRows, GraphScope};
pub use http::{Request, Response, Transport, TransportError};
pub use id::ResourceId;
pub use listing::{BadRows, Listing};
pub use poll::{Operation, Poll, PollState};
pub use readonly::{ReadOnly, ReadPost};
pub use recall::Recall;
pub use sdk::credential::token_source;
pub use token::{Auth, Secret, SignIn, SignInAttempt, SignInError, StaticToken, TokenSource};
pub use wire::{Wire, WireError};
