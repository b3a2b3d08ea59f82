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

mod around;
mod backup;
mod collections;
mod compute;
mod engines;
mod estate;
mod estate_build;
mod estate_exact;
mod estate_items;
mod faults;
mod generate;
mod governance;
mod graph;
mod guest;
mod http;
mod identity;
mod job_routes;
mod jobs;
mod keyvault;
mod locks;
mod operations;
mod pace;
mod persist;
mod protection;
mod rbac;
mod resources;
mod route;
mod shell;
mod source;
mod throttle;
mod timeline;
mod vaults;
mod wire;
mod world;

#[cfg(test)]
mod tests;

pub use estate::Estate;
pub use faults::{Corruption, Effect as FaultEffect, Fault, FaultPlan, Match as FaultMatch};
pub use generate::Generate;
pub use governance::{Activity, PolicyAssigned};
pub use http::{Server, ServerOptions};
pub use identity::Identity;
pub use pace::Paced;
pub use persist::{Busy, LoadError};
pub use shell::{Exchange, Sim};
pub use source::{EstateError, MAX_BYTES, MAX_VALUES};
pub use timeline::{Effect, Event};
pub use wire::Reply;
pub use world::{
    Agent, Collection, Counters, DenyAssignment, Encryption, Engine, EngineJob, Extension, Group, Handler,
    HandlerState, Item, Job, JobError, JobStatus, KeyPolicy, KeyVault, KeyWords, Lock, LockLevel, OpKind, OpStatus,
    Operation, OtherResource, Permission, Point, PointState, Policy, Power, Protection, RecoveryPoint, RoleAssignment,
    ServiceStart, ServiceState, Settings, Subscription, Task, TaskStatus, Vault, Vm, World, WorldEvent,
};
