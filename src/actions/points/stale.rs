//! `restore_points.delete_stale`: which collections and points of a VM are superfluous enough to go.

use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::{DELETE_COLLECTION, DELETE_POINT, DeleteCollection, DeletePoint, copies};
use crate::actions::Action;
use crate::actions::change::DeleteReason;
use crate::actions::outcome::Refusal;
use crate::actions::permission::{self, Uses};
use crate::actions::planning::{PlanContext, StepDraft};
use crate::actions::rules::stale as rule;
use crate::text::{plural, utc};

/// Deletes restore points and collections that are proven to be no longer needed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DeleteStale {
    /// Which kinds of stale points; all of them by default.
    #[schemars(length(min = 1))]
    #[serde(deserialize_with = "some_kinds")]
    pub kinds: Vec<StaleKind>,
    /// When to stop.
    pub until: StaleUntil,
}

/// Why a restore point is no longer needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StaleKind {
    /// Its VM is gone, and so is every protected item that named it.
    Orphan,
    /// A newer collection of the VM exists, and the vault has a copy of every point of this one.
    Superseded,
    /// It is older than the policy's snapshot retention plus 48 hours, and the vault has a copy.
    Expired,
}

/// When `restore_points.delete_stale` stops.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StaleUntil {
    /// When the VM is below the limit with room for the next backup.
    #[default]
    Room,
    /// When nothing stale is left.
    All,
}

impl Default for DeleteStale {
    fn default() -> Self {
        Self { kinds: vec![StaleKind::Orphan, StaleKind::Superseded, StaleKind::Expired], until: StaleUntil::default() }
    }
}

fn some_kinds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<StaleKind>, D::Error> {
    let mut kinds = Vec::<StaleKind>::deserialize(deserializer)?;
    kinds.sort_unstable();
    kinds.dedup();
    if kinds.is_empty() { Err(D::Error::custom("the list is empty: nothing would be deleted")) } else { Ok(kinds) }
}

impl Action for DeleteStale {
    const KEYS: &'static [&'static str] = &["kinds", "until"];
    const NEEDS: &'static [Uses] = &[
        Uses::Needs(&permission::COLLECTIONS),
        Uses::Needs(&permission::POINTS),
        Uses::Partly(&permission::LOCKS),
        Uses::Partly(&permission::BACKUP_STATUS),
        Uses::Needs(&permission::VAULTS),
        Uses::Needs(&permission::ITEMS),
        Uses::Partly(&permission::POLICIES),
        Uses::Partly(&permission::RECOVERY_POINTS),
        Uses::Partly(&permission::JOBS),
        Uses::Partly(&permission::RESOURCE_GUARD),
        Uses::Better(&permission::COMPUTE_OPERATIONS),
        Uses::Partly(&DELETE_COLLECTION),
        Uses::Partly(&DELETE_POINT),
    ];
    const WRITES: &'static [&'static str] = super::WRITES;

    /// Collections first, then expired points, oldest first, until there is room (or all of them).
    fn plan(&self, cx: &PlanContext<'_>) -> StepDraft {
        let input = &cx.input;
        let stale = rule::find(input);
        let wanted = |kind: StaleKind| self.kinds.contains(&kind);
        let mut out = StepDraft::default();
        if let Some(why) = input.facts.collections.unread() {
            out.partly_unread = true;
            out.notes.push(format!("the restore point collections were not read: {why}"));
        }
        // Points that must go so that the backup of this run fits and the next scheduled one after it. `None`: all of them.
        let mut excess = match (self.until, cx.room) {
            (StaleUntil::All, _) => None,
            (StaleUntil::Room, Some((count, limit))) => Some((count + 2).saturating_sub(limit)),
            (StaleUntil::Room, None) => {
                out.partly_unread = true;
                out.notes.push("the limit of points is not known, so no expired point is deleted".to_owned());
                Some(0)
            }
        };
        for found in &stale.collections {
            let kind = if found.why == DeleteReason::Orphan { StaleKind::Orphan } else { StaleKind::Superseded };
            if !wanted(kind) {
                continue;
            }
            let points = found.collection.points().len();
            if let Some(refusal) = copies::unread(cx, found.collection.points()) {
                out.kept.push((points, refusal));
                continue;
            }
            let why = match found.why {
                DeleteReason::Orphan => "its VM is gone and no vault has an item of it",
                _ => "a newer collection exists and the vault has a copy of every point",
            };
            let effect = format!(
                "delete the collection {} with {}: {why}",
                found.collection.id.short_name(),
                plural(points, "point")
            );
            out.push(DeleteCollection { collection: found.collection.clone(), why: found.why }, effect);
            let gone = found.collection.points().iter().filter(|point| point.succeeded()).count();
            excess = excess.map(|excess| excess.saturating_sub(gone));
        }
        let mut left = 0;
        let mut unread: Option<(usize, Refusal)> = None;
        if wanted(StaleKind::Expired) {
            for expired in &stale.points {
                if excess == Some(0) {
                    left += 1;
                    continue;
                }
                if let Some(refusal) = copies::unread(cx, std::slice::from_ref(&expired.point)) {
                    unread.get_or_insert((0, refusal)).0 += 1;
                    continue;
                }
                excess = excess.map(|excess| excess.saturating_sub(1));
                let created = expired.point.created.map(utc).unwrap_or_default();
                let effect =
                    format!("delete the expired point {} of {created}; the vault has a copy", expired.point.id.name());
                let (point, collection_id) = (expired.point.clone(), expired.collection_id.clone());
                out.push(DeletePoint { point, collection_id }, effect);
            }
        }
        if let Some(excess) = excess.filter(|excess| *excess > 0) {
            let missing = plural(excess, "point");
            out.notes.push(format!("after this the VM is still {missing} over the limit for the next backup"));
        }
        out.kept.extend(unread);
        out.kept.extend(stale.kept.into_values().map(|kept| (kept.count, kept.example)));
        out.kept.extend(stale.reported.into_iter().map(|refusal| (0, refusal)));
        let mut out = super::without_locked(cx, out);
        // Where a lock keeps what was to go there is no room, and the lock is why.
        let locked = out.kept.iter().any(|(_, refusal)| refusal.rule == "s5.locked");
        if left > 0 && cx.room.is_some() && !locked {
            let have = if left == 1 { "point has" } else { "points have" };
            out.notes.push(format!("{left} more {have} expired; kept, because there is already room"));
        }
        out
    }
}
