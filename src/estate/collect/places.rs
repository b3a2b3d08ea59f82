//! Restore point collections and the resource groups that hold them.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{Locks, plain_location};
use crate::arm::id::ResourceId;
use crate::arm::model::{Collection, Group, Policy};
use crate::estate::derive::looks_like_backup;
use crate::estate::facts::{GroupFacts, Part};
use crate::estate::groups::{default_group_name, matches_pattern};
use crate::estate::read::{Read, Reader, action, complete, part, same_id, why};

/// The type of a collection, in lower case.
const COLLECTION_TYPE: &str = "microsoft.compute/restorepointcollections";

/// The collections of a subscription.
pub(super) struct Collections {
    /// Every one of them, without points.
    all: Read<(Timestamp, Vec<Collection>)>,
    /// Those of the VM, with points.
    pub of_vm: Part<Vec<Collection>>,
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

/// Reads collections with their points. One that is gone by now is left out: that is known.
async fn with_points(reader: &Reader<'_>, ids: Vec<ResourceId>) -> Read<Vec<Collection>> {
    let calls = ids.into_iter().map(|id| async move {
        match reader.arm.collection(&id).await {
            Ok(collection) if collection.points.is_some() => Ok(Some(collection)),
            Ok(_) => Err(format!("Azure left out the restore points of {}", id.short_name())),
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

/// The groups that hold collections of the VM, and those of its region whose name Backup could have given.
///
/// The points of *all* collections in a group are read when the proof that it is a backup group may be needed: it holds
/// collections of this VM, or a lock stands at it or in it (unread locks count). Elsewhere `points` stays `None`, which
/// proves nothing.
pub(super) async fn read_groups(
    reader: &Reader<'_>,
    wanted: &Wanted<'_>,
    groups: Read<(Timestamp, Vec<Group>)>,
    collections: &Collections,
    locks: &Locks,
) -> Part<Vec<GroupFacts>> {
    let (at, groups) = match groups {
        Ok(groups) => groups,
        Err(why) => return Part::Unread { why },
    };
    let mine = match &collections.of_vm {
        Part::Known { value, .. } => value,
        // Which groups hold the VM's collections is not known then, so no list of groups is complete.
        Part::Unread { why } => return Part::Unread { why: why.clone() },
        Part::Absent { .. } => &Vec::new(),
    };
    let homes: BTreeSet<ResourceId> = mine.iter().filter_map(|collection| collection.id.group_id()).collect();
    if let Some(missing) = homes.iter().find(|home| !groups.iter().any(|group| group.id == **home)) {
        let why =
            format!("the resource group {} holds a collection of the VM and is not in the list", missing.short_name());
        return Part::Unread { why };
    }
    let mut found = Vec::new();
    for group in groups {
        let holds = homes.contains(&group.id);
        if !holds && !name_fits(&group, wanted) {
            continue;
        }
        let locked = locks.may_hold(&group.id);
        if wanted.glance {
            let glanced = glance_at(&group, at, collections);
            // A lock on a group that does not even look like Backup's needs the proof to be counted rightly.
            if !locked || looks_like_backup(&glanced) {
                found.push(glanced);
                continue;
            }
        }
        found.push(read_group(reader, group, collections, holds || locked || wanted.thorough).await);
    }
    Part::Known { at, value: found }
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

async fn read_group(reader: &Reader<'_>, group: Group, collections: &Collections, with_all_points: bool) -> GroupFacts {
    let at = reader.now();
    let everything = match reader.may_list_everything(&group.id).await {
        Ok(()) => complete(reader.arm.resources_in(&group.id).await, "resources"),
        Err(why) => Err(why),
    };
    let is_collection = |id: &ResourceId| id.resource_type().starts_with(COLLECTION_TYPE);
    let here = match &collections.all {
        Err(why) => Err(why.clone()),
        Ok((listed_at, all)) => {
            let mut here: Vec<Collection> =
                all.iter().filter(|one| one.id.group_id().as_ref() == Some(&group.id)).cloned().collect();
            // ARM's list of resources may know a collection that compute's list did not (or a ghost: then its read is 404).
            let listed = everything.as_deref().unwrap_or_default().iter();
            let unknown = listed.filter(|id| id.is_type(COLLECTION_TYPE) && !here.iter().any(|one| one.id == **id));
            let unknown: Vec<ResourceId> = unknown.cloned().collect();
            read_members(reader, &mut here, unknown, collections, with_all_points).await.map(|()| (*listed_at, here))
        }
    };
    let others = everything.map(|ids| (at, ids.into_iter().filter(|id| !is_collection(id)).collect()));
    GroupFacts { group, others: part(others), collections: part(here) }
}

async fn read_members(
    reader: &Reader<'_>,
    here: &mut Vec<Collection>,
    unknown: Vec<ResourceId>,
    collections: &Collections,
    with_all_points: bool,
) -> Read<()> {
    let mine = collections.of_vm.known().map_or(&[][..], Vec::as_slice);
    if with_all_points {
        let known = |id: &ResourceId| mine.iter().find(|one| one.id == *id);
        let others = here.iter().filter(|one| known(&one.id).is_none()).map(|one| one.id.clone());
        let read = with_points(reader, others.chain(unknown).collect()).await?;
        here.retain(|one| known(&one.id).is_some());
        for one in here.iter_mut() {
            if let Some(full) = known(&one.id) {
                one.clone_from(full);
            }
        }
        here.extend(read);
        here.sort_by(|a, b| a.id.cmp(&b.id));
    } else {
        here.extend(with_points(reader, unknown).await?);
    }
    Ok(())
}
