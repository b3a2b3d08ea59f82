//! The embedded Azure: `(World, Request) -> Response`, under virtual time.
//!
//! Duty: behave like Azure Resource Manager, Compute, Authorization and Recovery Services where azmend depends on
//! them, so that newcomers can try azmend, owners can rehearse on a captured estate, and tests can show what azmend
//! does when Azure misbehaves.
//!
//! Invariants: [`World::serve`] is a pure function of the world and the request (no clock, no chance, no I/O), so a run
//! is replayed exactly from its estate; every id is made from names or from a counter; time only moves forward; no
//! request of any shape makes it panic.
//!
//! It must never: read the machine's clock, open a network connection, look at what azmend intends (it knows `arm`
//! only through the transport port and the resource ids), or answer a path it does not know with anything but 404.
//!
//! Responses have the fields and headers of recorded traffic; where no recording exists (a collection delete that times
//! out, the details of a job that failed for the restore point limit) the module that invents the shape says so.

#[doc = include_str!("../README.md")]
#[cfg(doctest)]
struct Readme;

mod access;
mod call;
mod estate;
mod faults;
mod job_life;
mod operations;
mod persist;
mod providers;
mod route;
mod serve;
mod sim;
mod throttle;
mod timeline;
mod world;

#[cfg(test)]
mod tests;

pub use azmend_base::yaml::Diagnostic;
pub use call::Reply;
pub use estate::Estate;
pub use estate::generate::Generate;
pub use estate::source::{MAX_BYTES, MAX_VALUES};
pub use faults::FaultPlan;
pub use persist::{Busy, LoadError};
pub use serve::identity::Identity;
pub use serve::pace::Paced;
pub use serve::{SERVED_HEADER, Server, ServerOptions};
pub use sim::{Exchange, Sim};
pub use world::events::{Effect, Event};
pub use world::faults::{Corruption, Effect as FaultEffect, Fault, Match as FaultMatch};
pub use world::governance::{Activity, PolicyAssigned};
pub use world::{
    Agent, Collection, Counters, DenyAssignment, Encryption, Engine, EngineJob, Extension, Group, Handler,
    HandlerState, Item, Job, JobError, JobStatus, KeyPolicy, KeyVault, KeyWords, Lock, LockLevel, OpKind, OpStatus,
    Operation, OtherResource, Permission, Point, PointState, Policy, Power, Protection, RecoveryPoint, RoleAssignment,
    ServiceStart, ServiceState, Settings, Subscription, Task, TaskStatus, Vault, Vm, World, WorldEvent,
};
