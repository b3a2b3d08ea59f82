//! Restore point collections and the resource groups that hold them.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{Locks, plain_location};
use crate::arm::id::ResourceId;
use crate::arm::model::{Collection, Group, Policy};
use crate::facts::derive::looks_like_backup;
use crate::facts::groups::{default_group_name, matches_pattern};
use crate::facts::read::{Read, Reader, action, complete, part, same_id, why};
use crate::facts::vm_facts::{GroupFacts, Part, VmFacts};

/// The type of a collection, in lower case.
const COLLECTION_TYPE: &str = "microsoft.compute/restorepointcollections";

/// The collections of a subscription.
pub(super) struct Collections {
    /// Every one of them, without points.
    pub all: Read<(Timestamp, Vec<Collection>)>,
    /// Those of the VM, with points.
    pub of_vm: Part<Vec<Collection>>,
}

impl Collections {
    /// The groups that hold collections of the VM.
    fn homes(&self) -> BTreeSet<ResourceId> {
        self.of_vm.known().into_iter().flatten().filter_map(|collection| collection.id.group_id()).collect()
    }
}

/// Which groups to read.
pub(super) struct Wanted<'a> {
    /// The VM's region, or those of its collections.
    pub locations: &'a [String],
    /// The policies of the items that name the VM.
    pub policies: &'a [Policy],
    /// Points of every collection, needed or not.
    pub thorough: bool,
    /// Nothing that is only needed to prove that a group is Backup's.
    pub glance: bool,
}

/// Lists the subscription's collections and reads those whose source is this VM, with points.
pub(super) async fn collections_of(reader: &Reader<'_>, vm: &ResourceId) -> Collections {
    let scope = vm.subscription_id();
    // Whether points without a grant are left out of an expanded collection is not documented: both reads are asked for.
    let actions = [action::COLLECTIONS, action::POINTS];
    let all = reader.list(&scope, &actions, "restore point collections", reader.arm.collections(&scope)).await;
    let of_vm = match &all {
        Err(why) => Part::Unread { why: why.clone() },
        Ok((at, all)) => {
            let ids = all.iter().filter(|collection| same_id(&collection.source, vm)).map(|one| one.id.clone());
            // Between the list and the read a collection may have been made anew for something else.
            let mine = with_points(reader, ids.collect()).await;
            part(mine.map(|mut mine| {
                mine.retain(|collection| same_id(&collection.source, vm));
                (*at, mine)
            }))
        }
    };
    Collections { all, of_vm }
}

/// The collections of the VM that are known, with their points as they are now.
pub(super) async fn points_again(reader: &Reader<'_>, facts: &VmFacts) -> Part<Vec<Collection>> {
    let Part::Known { at, value } = &facts.collections else { return collections_of(reader, &facts.id).await.of_vm };
    let read = with_points(reader, value.iter().map(|collection| collection.id.clone()).collect()).await;
    part(read.map(|mut mine| {
        mine.retain(|collection| same_id(&collection.source, &facts.id));
        (*at, mine)
    }))
}

/// Reads collections with their points. One that is gone by now is left out: that is known.
pub(super) async fn with_points(reader: &Reader<'_>, ids: Vec<ResourceId>) -> Read<Vec<Collection>> {
    let calls = ids.into_iter().map(|id| async move {
        match reader.arm.collection(&id).await {
            Ok(collection) if collection.points.is_some() => Ok(Some(collection)),
            Ok(_) => Err(format!("Azure omitted the restore points of {}", id.short_name())),
            Err(error) if reader.arm.proves_absence(&error, &id).await => Ok(None),
            Err(error) => Err(why(&error)),
        }
    });
    let read: Read<Vec<Option<Collection>>> = reader.side_by_side(calls.collect()).await.into_iter().collect();
    Ok(read?.into_iter().flatten().collect())
}

/// The groups of a subscription.
pub(super) async fn list_groups(reader: &Reader<'_>, subscription: &ResourceId) -> Read<(Timestamp, Vec<Group>)> {
    let call = reader.arm.groups(subscription.subscription());
    reader.list(subscription, &[action::GROUPS], "resource groups", call).await
}

/// The groups that hold collections of the VM, with what the rules want to know of them. They need nothing of the vault,
/// so they are read beside it.
///
/// What else is in a group, and the points of *all* collections there, are read when the proof that it is a backup group may
/// be needed (S5): a lock is on it (unread locks count). No list of Azure's has points, so that is one call for each
/// collection of other VMs. Elsewhere `others` is not asked for and `points` stays `None`, which proves nothing.
pub(super) async fn read_homes(
    reader: &Reader<'_>,
    wanted: &Wanted<'_>,
    groups: &Read<(Timestamp, Vec<Group>)>,
    collections: &Collections,
    locks: &Locks,
) -> Vec<GroupFacts> {
    let Ok((at, groups)) = groups else { return Vec::new() };
    let homes = collections.homes();
    let homes = groups.iter().filter(|group| homes.contains(&group.id)).cloned();
    let calls = homes.map(|group| read_group(reader, wanted, group, *at, collections, locks));
    reader.side_by_side(calls.collect()).await
}

/// The homes, and the other groups of the VM's region whose name Backup could have given: those of `policies` too.
pub(super) async fn read_groups(
    reader: &Reader<'_>,
    wanted: &Wanted<'_>,
    groups: Read<(Timestamp, Vec<Group>)>,
    collections: &Collections,
    locks: &Locks,
    homes: Vec<GroupFacts>,
) -> Part<Vec<GroupFacts>> {
    let (at, groups) = match groups {
        Ok(groups) => groups,
        Err(why) => return Part::Unread { why },
    };
    // Which groups hold the VM's collections is not known then, so no list of groups is complete.
    if let Some(why) = collections.of_vm.unread() {
        return Part::Unread { why: why.to_owned() };
    }
    if let Some(missing) = collections.homes().iter().find(|home| !groups.iter().any(|group| group.id == **home)) {
        let why =
            format!("the resource group {} holds a collection of the VM and is not in the list", missing.short_name());
        return Part::Unread { why };
    }
    let home = |group: &Group| homes.iter().find(|home| home.group.id == group.id).cloned();
    let calls = groups.into_iter().filter(|group| home(group).is_some() || name_fits(group, wanted)).map(|group| {
        let known = home(&group);
        async move {
            match known {
                Some(known) => known,
                None => read_group(reader, wanted, group, at, collections, locks).await,
            }
        }
    });
    Part::Known { at, value: reader.side_by_side(calls.collect()).await }
}

/// Reads what the rules want to know of one group.
async fn read_group(
    reader: &Reader<'_>,
    wanted: &Wanted<'_>,
    group: Group,
    at: Timestamp,
    collections: &Collections,
    locks: &Locks,
) -> GroupFacts {
    if !wanted.thorough {
        let glanced = glance_at(&group, at, collections);
        let needed = locks.need_proof_of(&group.id);
        // A lock on a group that does not even look like Backup's needs the proof to be counted rightly.
        if !needed || wanted.glance && looks_like_backup(&glanced) {
            return glanced;
        }
    }
    read_content(reader, group, collections).await
}

/// Whether Backup could have named the group so, for a VM of these regions under these policies.
fn name_fits(group: &Group, wanted: &Wanted<'_>) -> bool {
    let here = |location: &str| wanted.locations.iter().any(|wanted| *wanted == plain_location(location));
    let name = group.id.name();
    if let Some(default) = default_group_name(name) {
        return here(&default.geo) || here(&group.location);
    }
    let own = |policy: &Policy| matches_pattern(name, &policy.group_prefix, &policy.group_suffix);
    here(&group.location) && wanted.policies.iter().any(own)
}

/// What is known of a group without a call of its own: the collections in it by name, those of the VM with points.
fn glance_at(group: &Group, at: Timestamp, collections: &Collections) -> GroupFacts {
    let mine = collections.of_vm.known().map_or(&[][..], Vec::as_slice);
    let here = collections.all.as_ref().map_err(Clone::clone).map(|(_, all)| {
        let here = all.iter().filter(|one| one.id.group_id().as_ref() == Some(&group.id));
        here.map(|one| mine.iter().find(|full| full.id == one.id).unwrap_or(one).clone()).collect()
    });
    let collections = part(here.map(|here| (at, here)));
    GroupFacts { group: group.clone(), others: Part::not_asked(), collections }
}

/// Everything in a group, with the points of every collection.
async fn read_content(reader: &Reader<'_>, group: Group, collections: &Collections) -> GroupFacts {
    let at = reader.now();
    let listed_members = async {
        reader.may_list_everything(&group.id).await?;
        complete(reader.arm.resources_in(&group.id).await, "resources")
    };
    let is_collection = |id: &ResourceId| id.resource_type().starts_with(COLLECTION_TYPE);
    let (everything, here) = match &collections.all {
        Err(why) => (listed_members.await, Err(why.clone())),
        Ok((listed_at, all)) => {
            let mine = collections.of_vm.known().map_or(&[][..], Vec::as_slice);
            let known = |id: &ResourceId| mine.iter().find(|one| one.id == *id);
            let here: Vec<&ResourceId> =
                all.iter().map(|one| &one.id).filter(|id| id.group_id().as_ref() == Some(&group.id)).collect();
            let others = here.iter().filter(|id| known(id).is_none()).map(|id| (*id).clone()).collect();
            let (everything, read) = futures::join!(listed_members, with_points(reader, others));
            // ARM's list of resources may know a collection that compute's list did not (or a ghost: then its read is 404).
            let listed = everything.as_deref().unwrap_or_default().iter();
            let unknown = listed.filter(|id| id.is_type(COLLECTION_TYPE) && !here.contains(id)).cloned().collect();
            let unknown = with_points(reader, unknown).await;
            let own = here.iter().filter_map(|id| known(id).cloned());
            let members = read.and_then(|read| {
                let mut members: Vec<Collection> = own.chain(read).chain(unknown?).collect();
                members.sort_by(|a, b| a.id.cmp(&b.id));
                Ok((*listed_at, members))
            });
            (everything, members)
        }
    };
    let others = everything.map(|ids| (at, ids.into_iter().filter(|id| !is_collection(id)).collect()));
    GroupFacts { group, others: part(others), collections: part(here) }
}
