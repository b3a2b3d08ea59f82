//! azmend for programs: typed options in, the published results out.
//!
//! Duty: each thing that a user asks for as one function, from options to a result: find, plan, confirm, journal, run, report. The
//! commands use it, and so does the Python package; [`crate`] re-exports it for everyone else.
//!
//! Invariants: what only reads goes through the read-only guard (S1); nothing is changed that a confirmation did not see; a
//! journal is written before anything is sent (S2). Must never: print, ask, read arguments, or read the environment other than
//! by [`Azure::from_env`] and for the secrets of signing in.

pub(crate) mod alert;
pub(crate) mod audit;
pub(crate) mod azure;
pub(crate) mod diagnose;
pub(crate) mod durability;
pub(crate) mod error;
pub(crate) mod explain;
pub(crate) mod files;
pub(crate) mod fix;
pub(crate) mod journal;
pub(crate) mod launch;
pub(crate) mod place;
pub(crate) mod runs;
pub(crate) mod stored;
mod watch;

pub use alert::alerts;
pub use audit::{AuditOptions, audit};
pub use azure::Azure;
pub use diagnose::{DiagnoseOptions, diagnose};
pub use durability::check as check_durable;
pub use error::{Error, Kind};
pub use explain::explain;
pub use fix::{AUTO, Decided, FixOptions, Proposal, apply, fix, plan};
pub use journal::BlobSettings;
pub use place::{AzureSettings, EstateSource, Place, Variables, default_state_dir};
pub use runs::{RunLine, Runs, list as runs, resume, undo};
pub use watch::{Confirm, Note, Watch, yes};
