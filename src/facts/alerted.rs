//! Which VM an alert means when it names only a backup item or a job.
//!
//! Duty: from the item's own GET, or from the job's and the items of its vault, the VM. Invariants: the VM is what Azure names as
//! the source of an item, never put together from the names of containers; a job that may be of several items is of none.
//! Must never: change anything.

use super::collect::may_be_of;
use super::read::complete;
use crate::arm::id::ResourceId;
use crate::arm::model::{Job, ProtectedItem};
use crate::arm::{Arm, ArmError};

/// Why the VM is not known.
#[derive(Debug, thiserror::Error)]
pub enum AlertedError {
    /// Azure did not answer the question.
    #[error("{what} could not be read: {error}")]
    Arm {
        /// What was asked for.
        what: String,
        /// Its answer.
        error: ArmError,
    },
    /// The item has no VM, or the job no item.
    #[error("{0}")]
    NoVm(String),
}

fn asked(what: String) -> impl FnOnce(ArmError) -> AlertedError {
    move |error| AlertedError::Arm { what, error }
}

/// The VM of a backup item.
///
/// # Errors
/// When it cannot be read, or is not the item of an Azure VM.
pub async fn vm_of_item(arm: &Arm, item: &ResourceId) -> Result<ResourceId, AlertedError> {
    let found = arm.protected_item(item).await.map_err(asked(format!("the backup item {}", item.name())))?;
    source(&found).ok_or_else(|| AlertedError::NoVm(format!("the backup item {} names no VM", item.name())))
}

/// A job.
///
/// # Errors
/// When it cannot be read.
pub async fn job(arm: &Arm, id: &ResourceId) -> Result<Job, AlertedError> {
    arm.job(id).await.map_err(asked(format!("the backup job {}", id.name())))
}

/// The VM of a job.
///
/// # Errors
/// When the items of its vault cannot be read, or none or several of them may be the job's.
pub async fn vm_of_job(arm: &Arm, job: &Job) -> Result<ResourceId, AlertedError> {
    let none = |why: &str| AlertedError::NoVm(format!("the backup job {} {why}", job.id.name()));
    let vault = job.id.up_to("vaults").ok_or_else(|| none("is of no vault"))?;
    let what = || format!("the backup items of vault {}", vault.name());
    let items = arm.protected_items(&vault).await.map_err(asked(what()))?;
    if job.vm_name.is_empty() && job.container.is_empty() {
        return Err(none("names no VM"));
    }
    let items = complete(Ok(items), &what())
        .map_err(|why| AlertedError::NoVm(format!("{} could not be read: {why}", what())))?;
    let mut vms: Vec<ResourceId> =
        items.iter().filter_map(|item| source(item).filter(|vm| may_be_of(job, vm, item))).collect();
    vms.sort_by(|a, b| a.key().cmp(b.key()));
    vms.dedup();
    match vms.as_slice() {
        [vm] => Ok(vm.clone()),
        [] => Err(none("is of no VM that the vault protects")),
        many => Err(none(&format!("may be of {} VMs of that name", many.len()))),
    }
}

fn source(item: &ProtectedItem) -> Option<ResourceId> {
    ResourceId::parse(&item.source).ok().filter(|id| id.is_type("Microsoft.Compute/virtualMachines"))
}
