//! The gateway to Azure Resource Manager.
//!
//! Duty: resource ids, tokens, sending with retry and throttling, polling long-running operations, and typed calls; blobs for the state that outlives a machine.
//! It knows no playbook and makes no decision about what should be changed. Only `calls`, `credential` and `blob` name an `azure_*` crate.

mod absence;
pub mod arm;
pub mod blob;
mod call_counts;
mod calls;
mod certificate;
pub mod claims;
pub mod cloud;
pub mod credential;
pub mod error;
pub mod error_body;
pub mod gateway;
pub mod http;
pub mod https;
pub mod id;
pub mod listing;
pub mod model;
pub mod permissions;
pub mod poll;
pub mod readonly;
mod recall;
pub mod retry;
mod shared;
#[cfg(test)]
mod testing;
pub mod throttle;
pub mod token;

pub use arm::{Arm, ArmSettings};
pub use call_counts::{ArmCalls, CallPurpose, CallRow};
pub use calls::graph::{GraphPage, GraphQuery, GraphRefusal, GraphRows, GraphScope};
pub use calls::keyvault::Grant;
pub use cloud::{Cloud, CloudError, token_scope};
pub use credential::token_source;
pub use error::{ArmError, ErrorClass, ErrorDetail, ErrorKind, Failure};
pub use http::{Request, Response, Tag, Transport, TransportError};
pub use https::{Wire, WireError};
pub use id::ResourceId;
pub use listing::{BadRows, Listing};
pub use model::{JobFilter, WholeVm};
pub use poll::{Operation, Poll, PollState, Sent};
pub use readonly::{ReadOnly, ReadPost};
pub use recall::Recall;
pub use token::{Auth, Secret, SignIn, SignInAttempt, SignInError, StaticToken, TokenSource};
