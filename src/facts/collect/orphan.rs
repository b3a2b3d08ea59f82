//! What only an orphan needs: reads over every visible subscription, made when the VM is not there.

use super::backup::visible;
use crate::arm::id::ResourceId;
use crate::arm::model::ProtectedItem;
use crate::facts::read::{Read, Reader, action, part, single};
use crate::facts::vm_facts::{ItemFacts, OrphanFacts, Part};

/// Reads them. `items` come from the thorough search that an absent VM gets.
pub(super) async fn read(reader: &Reader<'_>, vm: &ResourceId, items: &Part<Vec<ItemFacts>>) -> OrphanFacts {
    let at = reader.now();
    let answers = reader.arm.subscription(vm.subscription()).await.map(|_| true);
    let vms = list_vms(reader, vm).await.map(|vms| (at, vms));
    let items = match items {
        Part::Known { at, value } => {
            let items: Vec<ProtectedItem> = value.iter().map(|facts| facts.item.clone()).collect();
            Part::Known { at: *at, value: items }
        }
        Part::Absent { at } => Part::Absent { at: *at },
        Part::Unread { why } => Part::Unread { why: why.clone() },
    };
    OrphanFacts { subscription_answers: single(at, answers), vms: part(vms), items }
}

async fn list_vms(reader: &Reader<'_>, vm: &ResourceId) -> Read<Vec<(ResourceId, String)>> {
    let calls = visible(reader, vm)
        .await?
        .into_iter()
        .map(|scope| async move { reader.list(&scope, &[action::VMS], "VMs", reader.arm.vms(&scope)).await });
    let mut all = Vec::new();
    for listed in reader.side_by_side(calls.collect()).await {
        let (_, listed) = listed?;
        all.extend(listed.into_iter().map(|vm| (vm.id, vm.vm_id)));
    }
    Ok(all)
}
