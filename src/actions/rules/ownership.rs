//! S7: a collection is Backup-owned only when that is proven.
//!
//! No document defines a marker of ownership and no property of the resource names an owner. So it takes the names of
//! *all* points and either the collection's own name or a match in time with vault recovery points. The group's name
//! and a protected item alone prove nothing. An empty collection, a cross-region copy, anything else is never touched.

use super::RuleInput;
use crate::actions::change::Refusal;
use crate::arm::model::Collection;
use crate::facts::groups::{is_point_name, names_vm};

/// Proves that Azure Backup owns the collection.
///
/// # Errors
/// A refusal `s7...` that says what is missing in the proof.
pub fn backup_owned(input: &RuleInput<'_>, collection: &Collection) -> Result<(), Refusal> {
    let name = collection.id.name();
    let Some(points) = collection.points.as_deref() else {
        return Err(Refusal::new(
            "s7.unread",
            format!("the points of {name} were not read, so its owner is not proven"),
        ));
    };
    let Some(source) = collection.source_id() else {
        return Err(Refusal::new("s7.source", format!("{name} names no source VM")));
    };
    if !source.is_type("Microsoft.Compute/virtualMachines") {
        return Err(Refusal::new("s7.copy", format!("{name} is a copy of another collection, not a backup of a VM")));
    }
    if points.iter().any(|point| !point.copied_from.is_empty()) {
        return Err(Refusal::new("s7.copy", format!("{name} holds points copied from another region")));
    }
    if points.is_empty() {
        return Err(Refusal::new("s7.empty", format!("{name} is empty, which proves no owner")));
    }
    if let Some(foreign) = points.iter().find(|point| !is_point_name(point.id.name())) {
        let why = format!("{name} holds the point {}, which Azure Backup did not name", foreign.id.name());
        return Err(Refusal::new("s7.foreign-point", why));
    }
    let named = names_vm(name, source.name());
    if named || matched_in_time(input, collection) {
        return Ok(());
    }
    let why = format!("neither the name {name} nor the times of its points prove that Azure Backup made it");
    Err(Refusal::new("s7.unproven", why))
}

/// Every point has exactly one vault recovery point (of any tier) at its time.
fn matched_in_time(input: &RuleInput<'_>, collection: &Collection) -> bool {
    let Some(items) = input.facts.items.known() else { return false };
    let times: Vec<_> = items
        .iter()
        .filter_map(|item| item.recovery_points.known())
        .flatten()
        .filter_map(|recovery| recovery.time)
        .collect();
    collection.points().iter().all(|point| {
        point
            .created
            .is_some_and(|created| times.iter().filter(|time| super::points::same_moment(created, **time)).count() == 1)
    })
}
