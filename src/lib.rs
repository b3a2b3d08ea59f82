//! azmend repairs Azure VM backup through the management plane (ARM).
//!
//! # The map
//!
//! One way through the house: `cli` resolves settings, [`facts`] reads facts, [`playbook`] says whether it applies and
//! which steps there are, [`engine`] makes a plan of exact changes, asks, makes them one by one, proves each by reading,
//! and journals everything; [`report`] renders what the run recorded. The sandbox ([`sim`]) replaces only the transport
//! under [`arm`].
//!
//! # Who may know whom
//!
//! `cli -> all below`; `report -> {engine types with the changes and the view in them, journal}`;
//! `engine -> {playbook, actions, journal, arm, facts, catalog}`;
//! `playbook -> {actions: names and parameter types, facts: the view, catalog}`; `actions -> {arm, facts, catalog}`;
//! `facts -> {arm, catalog}`; `sim` knows `arm` only through the transport port and the resource ids; `journal`, `arm`
//! and `catalog` know no room. Only the calls and the credential of `arm` name an `azure_*` crate. Only `cli` and `main.rs`
//! write to stdout or stderr, read argv or ask questions. Only [`clock`] reads the time or sleeps. `tests/it/walls.rs` checks
//! this, and `tests/it/circles.rs` that no two files import each other.
//!
//! [`clock`], [`duration`], [`spelling`], [`text`] and [`yaml`] stand under every room.

pub mod actions;
pub mod catalog;
pub mod cli;
pub mod engine;
pub mod facts;
pub mod journal;
pub mod playbook;
pub mod report;

pub use azmend_arm as arm;
pub use azmend_base::{clock, duration, spelling, text, yaml};
pub use azmend_sandbox as sim;
