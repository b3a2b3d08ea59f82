//! azmend repairs Azure VM backup through the management plane (ARM).
//!
//! # As a library
//!
//! What the commands do is here as functions, from typed options to the published results, whose `exit_code` is the one that
//! the command line would end with: [`fix`], [`plan`] and [`apply`], [`audit`], [`diagnose`], [`explain`], [`resume`], [`undo`].
//! None of them prints, asks or reads arguments. Changes need a [`Journal`], and a closure that has seen the [`Plan`](engine::Plan);
//! [`yes`] agrees to every plan, [`apply`] takes the hash of one. A [`Watch`] hears what is going on, and stops it cleanly.
//!
//! ```
//! use azmend::{Azure, EstateSource, FixOptions, Journal, Watch};
//!
//! # fn main() -> Result<(), azmend::Error> {
//! # let home = tempfile::tempdir().expect("a directory");
//! # let home = &home.path().join("state");
//! let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
//! runtime.block_on(async {
//!     // Azure::from_env() is a real one.
//!     let azure = Azure::sandbox(EstateSource::BuiltIn, home)?;
//!     let journal = Journal::in_dir(home, true)?;
//!     let options = FixOptions::new("rp-collection-limit", "web-01");
//!
//!     let mut confirm = |plan: &azmend::engine::Plan| plan.changes().count() <= 20;
//!     let result = azmend::fix(&azure, &journal, &options, &mut confirm, &Watch::default()).await?;
//!     assert_eq!(result.exit_code, 0, "{result:?}");
//!     assert!(result.changes.iter().any(|change| change.outcome == "succeeded"));
//!
//!     // The locks that the run removed are restored.
//!     let run = result.run_id.expect("a run");
//!     let undone = azmend::undo(&azure, &journal, &run, &mut azmend::yes, &Watch::default()).await?;
//!     assert!(undone.locks_removed.iter().all(|lock| lock.restored));
//!     Ok(())
//! })
//! # }
//! ```
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
//! `cli -> all below`; `api -> all below`; `report -> {engine types with the changes and the view in them, journal}`;
//! `engine -> {playbook, actions, journal, arm, facts, catalog}`;
//! `playbook -> {actions: names and parameter types, facts: the view, catalog}`; `actions -> {arm, facts, catalog}`;
//! `facts -> {arm, catalog}`; `sim` knows `arm` only through the transport port and the resource ids; `journal`, `arm`
//! and `catalog` know no room. `cli` reaches what a command does through `api`. Only the calls and the credential of `arm` name an `azure_*` crate. Only `cli` and `main.rs`
//! write to stdout or stderr, read argv or ask questions. Only [`clock`] reads the time or sleeps. `tests/it/walls.rs` checks
//! this, and `tests/it/circles.rs` that no two files import each other.
//!
//! [`clock`], [`duration`], [`spelling`], [`text`] and [`yaml`] stand under every room.

pub mod actions;
mod api;
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

pub use api::{
    AUTO, AuditOptions, Azure, AzureSettings, BlobSettings, Confirm, Decided, DiagnoseOptions, Error, EstateSource,
    FixOptions, Kind, Note, Place, Proposal, RunLine, Runs, Variables, Watch, alerts, apply, audit, check_durable,
    default_state_dir, diagnose, explain, fix, plan, resume, runs, undo, yes,
};
pub use journal::State as Journal;
