//! `restore_points.delete_collection`: the VM's live collections, by explicit wish.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DELETE_COLLECTION, DeleteCollection, copies, live_guards};
use crate::actions::Action;
use crate::actions::change::DeleteReason;
use crate::actions::permission::{self, Uses};
use crate::actions::planning::{PlanContext, StepDraft};
use crate::actions::rules::ownership;
use crate::text::plural;

/// Deletes the VM's whole Backup-owned collection, live points included. Rules refuse it unless they are overridden by
/// name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DeleteWhole {}

impl Action for DeleteWhole {
    const KEYS: &'static [&'static str] = &[];
    const NEEDS: &'static [Uses] = &[
        Uses::Needs(&permission::COLLECTIONS),
        Uses::Needs(&permission::POINTS),
        Uses::Needs(&permission::LOCKS),
        Uses::Needs(&permission::VAULTS),
        Uses::Needs(&permission::ITEMS),
        Uses::Needs(&permission::POLICIES),
        Uses::Needs(&permission::RECOVERY_POINTS),
        Uses::Needs(&permission::JOBS),
        Uses::Needs(&permission::RESOURCE_GUARD),
        Uses::Better(&permission::COMPUTE_OPERATIONS),
        Uses::Needs(&DELETE_COLLECTION),
    ];
    const WRITES: &'static [&'static str] = super::WRITES;

    /// Every Backup-owned collection of the VM, live points included.
    fn plan(&self, cx: &PlanContext<'_>) -> StepDraft {
        let input = &cx.input;
        let mut out = StepDraft::default();
        for collection in input.facts.collections() {
            let verdict = ownership::backup_owned(input, collection)
                .map_err(|refusal| vec![refusal])
                .and_then(|()| live_guards(input, collection.points()))
                .and_then(|()| copies::unread(cx, collection.points()).map_or(Ok(()), |refusal| Err(vec![refusal])));
            match verdict {
                Ok(()) => {
                    let points = plural(collection.points().len(), "point");
                    let effect = format!("delete the whole collection {} with {points}", collection.id.short_name());
                    out.push(DeleteCollection { collection: collection.clone(), why: DeleteReason::Chosen }, effect);
                }
                Err(refusals) => {
                    out.kept.extend(refusals.into_iter().map(|refusal| (collection.points().len(), refusal)))
                }
            }
        }
        if out.changes.is_empty() {
            out.refused = std::mem::take(&mut out.kept);
        }
        super::without_locked(cx, out)
    }
}
