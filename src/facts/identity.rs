//! Whether a VM is the machine that its backups are of: one that was moved, and one that was made again under its name.
//!
//! Duty: pure. A vault knows a VM by its resource group and name; restore points carry the `vmId` of the machine they were
//! taken of, which a move keeps and a new machine does not have. Invariants: "was moved" is said on a `vmId` alone, else it
//! is "may have been"; unread points say nothing. Must never: be a ground to change or delete anything.
//!
//! Sources: that vault and VM are tied by group and name, and that a VM whose old points are to be kept is protected anew
//! from another group: Microsoft's support team in Japan (blog, 2022). That data in the vault outlives the deletion of
//! snapshots which a move asks for: "Move guidance for virtual machines". "Stop protecting virtual machine without deleting
//! backup data" is Azure's own advice under the error 320001.

use super::vm_facts::{Former, VmFacts};
use crate::arm::model::{Collection, ProtectedItem};

/// What a VM was before.
#[derive(Debug, Clone, Copy)]
pub struct Moved<'a> {
    /// The item at its old place.
    pub former: &'a Former,
    /// Restore points of the old place carry this VM's `vmId`.
    pub proven: bool,
}

/// Whether a point of these is of the machine with this `vmId`.
fn holds(collections: &[Collection], vm_id: &str) -> bool {
    let mut points = collections.iter().flat_map(Collection::points);
    !vm_id.is_empty() && points.any(|point| point.vm_id.eq_ignore_ascii_case(vm_id))
}

/// The place that the VM was moved from, or may have been; `None` when nothing says so.
#[must_use]
pub fn moved(facts: &VmFacts) -> Option<Moved<'_>> {
    let vm = facts.vm.known()?;
    let of = |former: &Former| former.collections.known().is_some_and(|all| holds(all, &vm.vm_id));
    let proven = facts.former.iter().find(|former| of(former)).map(|former| Moved { former, proven: true });
    let gone = || facts.former.iter().find(|former| former.gone.known() == Some(&true));
    proven.or_else(|| gone().map(|former| Moved { former, proven: false }))
}

impl Moved<'_> {
    /// `the vault bkp still has the item of rg-old/app-01 (Protected), with 4 restore points: the VM was moved from there`.
    #[must_use]
    pub fn words(&self) -> String {
        let Former { item, vm, collections, .. } = self.former;
        let points: usize = collections.known().into_iter().flatten().map(|one| one.points().len()).sum();
        let points = if points == 0 {
            String::new()
        } else {
            format!(", with {}", crate::text::plural(points, "restore point"))
        };
        let state = if item.soft_deleted { "soft-deleted" } else { item.protection_state.as_str() };
        let was = if self.proven { "the VM was moved from there" } else { "the VM may have been moved from there" };
        format!("the vault {} still has the item of {} ({state}){points}: {was}", vault(item), vm.short_name())
    }
}

fn vault(item: &ProtectedItem) -> String {
    item.vault_id().map(|vault| vault.name().to_owned()).unwrap_or_default()
}

/// The `vmId` that the VM's restore points carry, when every one is of another machine that had its name: the VM was made
/// again.
#[must_use]
pub fn remade(facts: &VmFacts) -> Option<&str> {
    let vm = facts.vm.known().filter(|vm| !vm.vm_id.is_empty())?;
    let points = || facts.collections.known().into_iter().flatten().flat_map(Collection::points);
    let other = |id: &str| !id.is_empty() && !id.eq_ignore_ascii_case(&vm.vm_id);
    let all = points().all(|point| other(&point.vm_id));
    points().next().filter(|_| all).map(|point| point.vm_id.as_str())
}

/// What is known of a VM that was made again.
#[must_use]
pub fn remade_words(vm_id: &str) -> String {
    format!("its restore points are of another VM that had this name (vmId {vm_id}): the VM was made again")
}

/// What to do with a VM that was moved.
pub const MOVED_WAY: &str = "protect the VM at its new place; its old recovery points stay under the old item, whose protection is stopped with the data kept";

/// What to do with a VM that was made again.
pub const REMADE_WAY: &str = "the vault knows a VM by its group and name and cannot tell the two apart; to keep the old points, stop the protection with the data kept, move the new VM to another resource group and protect it there";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actions::rules::testing::{collection, facts, item_of, known, points_of, unread};
    use crate::arm::ResourceId;

    fn with_former(change: impl FnOnce(&mut Former)) -> VmFacts {
        let mut facts = facts();
        let mut item = item_of(&mut facts).item.clone();
        let old = ResourceId::vm(facts.id.subscription(), "rg-old", facts.id.name()).unwrap();
        item.source = old.to_string();
        let mut former = Former {
            item,
            vm: old,
            gone: known(true),
            collections: known(vec![collection("AzureBackup_web-01_9", &[220, 244])]),
        };
        change(&mut former);
        facts.items = known(Vec::new());
        facts.former = vec![former];
        facts
    }

    #[test]
    fn a_move_is_proven_by_the_vm_id_and_else_may_be() {
        let facts = with_former(|_| {});
        let words = moved(&facts).unwrap().words();
        assert!(
            words.contains("rg-old/web-01")
                && words.contains("2 restore points")
                && words.ends_with("was moved from there"),
            "{words}"
        );
        let facts = with_former(|former| former.collections = unread());
        assert!(moved(&facts).unwrap().words().ends_with("may have been moved from there"));
        // A VM of that name that lives on is another machine.
        let facts = with_former(|former| (former.collections, former.gone) = (known(Vec::new()), known(false)));
        assert!(moved(&facts).is_none());
    }

    #[test]
    fn a_vm_that_was_made_again_has_only_points_of_another() {
        let mut again = facts();
        assert_eq!(remade(&again), None);
        points_of(&mut again).iter_mut().for_each(|point| point.vm_id = "99999999-9999-4999-8999-999999999999".into());
        assert!(remade(&again).is_some());
        points_of(&mut again)[0].vm_id.clear();
        assert_eq!(remade(&again), None, "one point does not say");
        again.collections = unread();
        assert_eq!(remade(&again), None);
    }
}
