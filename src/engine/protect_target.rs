//! What is to be known of a vault before it protects a VM: the reads of `protection.enable`.
//!
//! Duty: the vault that the user named, its policies, and how it names the VM. Invariant: what cannot be read is unread, and
//! then nothing is protected (S12). Must never: choose.

use crate::actions::rules::enabling::Candidate;
use crate::actions::spec::ActionSpec;
use crate::arm::id::ResourceId;
use crate::arm::model::Protectable;
use crate::arm::{Arm, ArmError, ErrorClass};
use crate::facts::vm_facts::{Part, VmFacts};
use crate::playbook::Resolved;

/// What is to be known of the vault that a step names for a VM without protection.
pub(super) async fn candidate_of(arm: &Arm, resolved: &Resolved, facts: &VmFacts) -> Candidate {
    let spec = resolved.steps.iter().find_map(|step| match &step.action {
        ActionSpec::ProtectionEnable(spec) if !spec.vault.is_empty() => Some(spec),
        _ => None,
    });
    let Some(spec) = spec else { return Candidate::not_asked() };
    let at = arm.clock().now();
    let vaults = match ResourceId::parse(&spec.vault) {
        Ok(id) => arm.vault(&id).await.map(|vault| vec![vault]),
        Err(_) => arm.vaults(facts.id.subscription()).await.map(|listing| {
            listing.items.into_iter().filter(|vault| vault.id.name().eq_ignore_ascii_case(&spec.vault)).collect()
        }),
    };
    let part = |error: ArmError| error.to_string();
    let vaults = match vaults {
        Ok(value) => Part::Known { at, value },
        Err(error) => match ResourceId::parse(&spec.vault) {
            Ok(id) if arm.proves_absence(&error, &id).await => Part::Known { at, value: Vec::new() },
            _ => Part::Unread { why: part(error) },
        },
    };
    let Some([vault]) = vaults.known().map(Vec::as_slice) else {
        return Candidate { vaults, ..Candidate::not_asked() };
    };
    let id = vault.id.clone();
    let (policies, protectable) = futures::join!(arm.policies(&id), discovered(arm, &id, &facts.id));
    let policies = match policies {
        Ok(listing) => Part::Known { at, value: listing.items },
        Err(error) => Part::Unread { why: part(error) },
    };
    let protectable = match protectable {
        Ok(value) => Part::Known { at, value },
        Err(error) => Part::Unread { why: part(error) },
    };
    Candidate { vaults, policies, protectable }
}

/// What the vault could protect; when the VM is not among it, after the vault has looked for VMs again.
async fn discovered(arm: &Arm, vault: &ResourceId, vm: &ResourceId) -> Result<Vec<Protectable>, ArmError> {
    let listed = arm.protectable(vault).await?.items;
    if listed.iter().any(|one| ResourceId::parse(&one.vm).is_ok_and(|named| named == *vm)) {
        return Ok(listed);
    }
    // Without the permission what is listed is all there is to know.
    match arm.refresh_containers(vault).await {
        Ok(()) => Ok(arm.protectable(vault).await?.items),
        Err(error) if matches!(error.class(), ErrorClass::Forbidden) => Ok(listed),
        Err(error) => Err(error),
    }
}
