//! What people and programs read: plans, results, lists.
//!
//! Duty: turn the engine's plans and results into text or JSON. Everything is built from the records of the run and from
//! fresh readings; nothing here decides, reads or writes. Text from Azure passes through [`crate::text::safe`]. Functions
//! return text with ANSI styles; the printer strips them where they do not belong.

pub mod audit;
pub mod diagnosis;
pub mod doctor;
pub mod engines;
pub mod explain;
pub mod fleet;
pub mod jobs;
pub mod jsonl;
pub mod layout;
pub mod lists;
pub mod plan;
pub mod planned;
pub mod rehearsal;
pub mod result;
pub mod role;
pub mod schema;
pub mod stakes;
pub mod vms;

pub use plan::plan;
pub use planned::Subject;
pub use result::result;
