//! Whether a VM of the same name, of which a vault has an item, is this VM before it was moved.
//!
//! Duty: the reads that tell it: one of that VM, and one of each of its collections. Made only for a VM that no item names
//! while one of a VM of the same name is there.

use super::places::{Collections, with_points};
use crate::arm::id::ResourceId;
use crate::arm::model::ProtectedItem;
use crate::facts::read::{Reader, part, same_id, why};
use crate::facts::vm_facts::{Former, Part};

/// More items of one name tell nothing more.
const MOST: usize = 3;

pub(super) async fn read(reader: &Reader<'_>, items: Vec<ProtectedItem>, collections: &Collections) -> Vec<Former> {
    let calls = items.into_iter().take(MOST).filter_map(|item| {
        let vm = ResourceId::parse(&item.source).ok()?;
        Some(one(reader, item, vm, collections))
    });
    reader.side_by_side(calls.collect()).await
}

async fn one(reader: &Reader<'_>, item: ProtectedItem, vm: ResourceId, collections: &Collections) -> Former {
    let at = reader.now();
    let gone = match reader.arm.vm(&vm).await {
        Ok(_) => Part::Known { at, value: false },
        Err(error) if reader.arm.proves_absence(&error, &vm).await => Part::Known { at, value: true },
        Err(error) => Part::Unread { why: why(&error) },
    };
    let collections = match &collections.all {
        Err(why) => Part::Unread { why: why.clone() },
        Ok((at, all)) => {
            let ids = all.iter().filter(|one| same_id(&one.source, &vm)).map(|one| one.id.clone()).collect();
            part(with_points(reader, ids).await.map(|read| (*at, read)))
        }
    };
    Former { item, vm, gone, collections }
}
