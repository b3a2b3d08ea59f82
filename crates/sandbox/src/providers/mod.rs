//! The resource providers: one file for each kind of resource, with its paths, its answers and its shapes.
//!
//! Invariants: a provider answers from the world alone, after [`crate::access`] has let the request through.
//! Must never: know a fault, a clock or another request.

pub(crate) mod backup;
pub(crate) mod compute;
pub(crate) mod engines;
pub(crate) mod filter;
pub(crate) mod governance;
pub(crate) mod graph;
pub(crate) mod jobs;
pub(crate) mod keyvault;
pub(crate) mod locks;
pub(crate) mod protection;
pub(crate) mod resources;
pub(crate) mod restore_points;
pub(crate) mod run_command;
pub(crate) mod surroundings;
pub(crate) mod vaults;
