//! What azmend keeps of Azure's resources: small, lenient, serialisable types.
//!
//! Each type is read from the raw JSON of a response ([`FromWire`]) and not through the generated models: an unknown
//! enum value, an extra or missing field or a null list must never lose the rest of a page. Text that azmend only
//! compares or shows stays text, exactly as Azure sent it. The types are also the shape of facts, estates and journals,
//! so their own serialisation is stable and independent of Azure's.

mod backup;
mod bulk;
mod compute;
mod governance;
mod inventory;
mod job_filter;
pub mod json;
mod json_backup;
mod json_compute;
mod keyvault;
mod run_command;
mod scope;
mod surroundings;
mod whole_vm;

pub use backup::*;
pub use bulk::*;
pub use compute::*;
pub use governance::*;
pub use inventory::*;
pub use job_filter::*;
pub use json::{FromWire, Malformed};
pub use keyvault::*;
pub use run_command::*;
pub use scope::*;
pub use surroundings::*;
pub use whole_vm::*;
