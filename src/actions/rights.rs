//! What an identity may and may not do with its backups: a pure judgement over what Azure says of its permissions.
//!
//! Duty: join the table of [`needs`](super::needs) with the permissions and deny assignments that were read.
//! Invariants: "may" is said only of an action that is granted at every scope in question and that no deny assignment
//! that was read covers; what was not read is [`Held::Unknown`]. A deny assignment says nothing about whom it concerns
//! (groups), so it is [`Held::Denied`]: it *may* be.
//! Must never: read anything itself, or be taken for a guard. Guards read again (S3).

use serde::Serialize;

use super::permission::{NeedKind, Place};
use super::permissions_needed::{EVERY_READ, Need, Purpose};
use super::spec::ActionName;
use crate::arm::id::ResourceId;
use crate::arm::model::{DenyAssignment, Permission};
use crate::arm::permissions::{allows, allows_every_read, denied, denies_a_read};
use crate::facts::rights::Places;
use crate::facts::vm_facts::{Part, Rights};

/// Whether an action may be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Held {
    /// Granted wherever it is needed.
    Yes,
    /// Not granted at these scopes.
    No {
        /// Where it is missing.
        at: Vec<ResourceId>,
    },
    /// Granted, but a deny assignment covers it.
    Denied {
        /// The name of the deny assignment.
        by: String,
        /// Where.
        at: Vec<ResourceId>,
    },
    /// Not read.
    Unknown {
        /// Why.
        why: String,
    },
}

/// A need with what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The need.
    pub need: &'static Need,
    /// Whether it is held.
    pub held: Held,
}

impl Finding {
    /// Whether something is missing that counts: not a grant that azmend works without.
    #[must_use]
    pub fn counts(&self) -> bool {
        self.held != Held::Yes && !self.need.is_optional()
    }
}

/// What one identity may do in one place of work (a subscription, or a VM with its groups and vaults).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// Every need of the purpose, in the order of the table.
    pub findings: Vec<Finding>,
}

impl Judged {
    /// What is not held.
    pub fn missing(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.held != Held::Yes)
    }

    /// Whether nothing that counts is missing.
    #[must_use]
    pub fn fine(&self) -> bool {
        !self.findings.iter().any(Finding::counts)
    }

    /// Whether at least one of the changes that this playbook action makes may be made.
    #[must_use]
    pub fn some_change(&self, action: ActionName) -> bool {
        self.findings.iter().any(|finding| {
            finding.need.kind == NeedKind::Change && finding.need.blocks.contains(&action) && finding.held == Held::Yes
        })
    }

    /// What stands between the identity and this playbook action; empty when it may do it.
    #[must_use]
    pub fn stops(&self, action: ActionName) -> Vec<&Finding> {
        self.findings.iter().filter(|finding| finding.counts() && finding.need.blocks.contains(&action)).collect()
    }
}

/// Judges what is needed for `purpose` by what was read.
#[must_use]
pub fn judge(purpose: &Purpose, places: &Places) -> Judged {
    let findings = purpose.needs().into_iter().map(|need| Finding { need, held: held(need, places) }).collect();
    Judged { findings }
}

fn held(need: &Need, places: &Places) -> Held {
    let subscription = std::slice::from_ref(&places.subscription);
    let scopes: &[Rights] = match need.place {
        Place::Subscription => subscription,
        Place::Vm => places.vm.as_ref().map_or(subscription, std::slice::from_ref),
        Place::BackupGroups => match narrower(&places.groups, need, places) {
            Ok(scopes) => scopes,
            Err(held) => return held,
        },
        Place::KeyVault => match narrower(&places.key_vaults, need, places) {
            Ok(scopes) => scopes,
            Err(held) => return held,
        },
        Place::Vault => match narrower(&places.vaults, need, places) {
            Ok(scopes) => scopes,
            Err(held) => return held,
        },
    };
    let mut missing = Vec::new();
    for rights in scopes {
        match &rights.permissions {
            Part::Known { value, .. } if grants(need, value) => {}
            Part::Known { .. } | Part::Absent { .. } => missing.push(rights.scope.clone()),
            Part::Unread { why } => return Held::Unknown { why: why.clone() },
        }
    }
    if !missing.is_empty() {
        return Held::No { at: missing };
    }
    for assignment in places.deny.known().into_iter().flatten().filter(|assignment| takes(need, assignment)) {
        let at: Vec<ResourceId> =
            scopes.iter().map(|rights| &rights.scope).filter(|scope| concerns(assignment, scope)).cloned().collect();
        if !at.is_empty() {
            return Held::Denied { by: assignment.name.clone(), at };
        }
    }
    Held::Yes
}

/// The groups or vaults. Without any, and when they could not be listed, the subscription speaks for them: what is
/// granted there is granted below.
fn narrower<'a>(part: &'a Part<Vec<Rights>>, need: &Need, places: &'a Places) -> Result<&'a [Rights], Held> {
    let subscription = std::slice::from_ref(&places.subscription);
    match part {
        Part::Known { value, .. } if !value.is_empty() => Ok(value),
        Part::Known { .. } | Part::Absent { .. } => Ok(subscription),
        Part::Unread { why } => match places.subscription.permissions.known() {
            Some(permissions) if grants(need, permissions) => Ok(subscription),
            _ => Err(Held::Unknown { why: why.clone() }),
        },
    }
}

fn grants(need: &Need, permissions: &[Permission]) -> bool {
    if need.action == EVERY_READ { allows_every_read(permissions) } else { allows(permissions, need.action) }
}

fn takes(need: &Need, assignment: &DenyAssignment) -> bool {
    if need.action == EVERY_READ { denies_a_read(assignment) } else { denied(assignment, need.action) }
}

/// At, above or below the scope; one whose scope is not understood (a management group) concerns every scope.
fn concerns(assignment: &DenyAssignment, scope: &ResourceId) -> bool {
    match ResourceId::parse(&assignment.scope) {
        Ok(denied) => denied.covers(scope) || scope.covers(&denied),
        Err(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::actions::permissions_needed::NEEDS;

    const SUB: &str = "/subscriptions/11111111-1111-1111-1111-111111111111";

    fn rights(scope: &str, actions: &[&str]) -> Rights {
        let entry = Permission { actions: actions.iter().map(|&a| a.to_owned()).collect(), not_actions: Vec::new() };
        Rights { scope: ResourceId::parse(&format!("{SUB}{scope}")).unwrap(), permissions: known(vec![entry]) }
    }

    fn known<T>(value: T) -> Part<T> {
        Part::Known { at: Timestamp::UNIX_EPOCH, value }
    }

    fn places(subscription: Rights) -> Places {
        Places {
            subscription,
            vm: None,
            groups: known(Vec::new()),
            vaults: known(Vec::new()),
            key_vaults: known(Vec::new()),
            deny: known(Vec::new()),
        }
    }

    fn all() -> Purpose {
        Purpose::to(ActionName::ALL)
    }

    #[test]
    fn an_owner_may_everything_and_a_reader_only_looks() {
        let owner = judge(&all(), &places(rights("", &["*"])));
        assert!(owner.fine() && owner.missing().next().is_none());
        let reader = judge(&all(), &places(rights("", &["*/read"])));
        let missing: Vec<&str> = reader.missing().map(|finding| finding.need.action).collect();
        // backupStatus is a POST: Reader does not have it.
        assert!(missing.contains(&"Microsoft.RecoveryServices/locations/backupStatus/action"));
        assert!(missing.iter().all(|action| !action.ends_with("/read")), "{missing:?}");
        let sends = |action: &ActionName| *action != ActionName::JobWait;
        assert!(ActionName::ALL.into_iter().filter(sends).all(|action| !reader.stops(action).is_empty()));
    }

    #[test]
    fn what_is_granted_above_is_granted_below_and_the_narrow_place_decides() {
        let mut here = places(rights("", &["*/read", "Microsoft.RecoveryServices/*"]));
        here.groups = known(vec![
            rights("/resourceGroups/AzureBackupRG_a_1", &["*"]),
            rights("/resourceGroups/AzureBackupRG_a_2", &["*/read"]),
        ]);
        let judged = judge(&all(), &here);
        let stops = judged.stops(ActionName::LocksRemove);
        assert_eq!(stops.len(), 2, "{stops:?}");
        for finding in stops {
            let Held::No { at } = &finding.held else { panic!("{finding:?}") };
            assert_eq!(at.iter().map(ResourceId::name).collect::<Vec<_>>(), ["AzureBackupRG_a_2"]);
        }
        assert!(judged.stops(ActionName::BackupStart).is_empty());
        assert_eq!(judged.stops(ActionName::ExtensionUninstall).len(), 1);
    }

    #[test]
    fn unread_is_not_may_and_a_deny_assignment_is_named() {
        let mut here = places(rights("", &["Microsoft.Compute/*"]));
        here.vaults = Part::Unread { why: "403".into() };
        let vault = NEEDS.iter().find(|need| need.action.ends_with("backupJobs/read")).unwrap();
        assert_eq!(held(vault, &here), Held::Unknown { why: "403".into() });
        here.subscription = rights("", &["*"]);
        assert_eq!(held(vault, &here), Held::Yes, "granted above, whatever the vaults are");
        here.deny = known(vec![DenyAssignment {
            id: "/d".into(),
            name: "managed by blueprint".into(),
            scope: format!("{SUB}/resourceGroups/other"),
            actions: vec!["*/delete".into()],
            not_actions: Vec::new(),
            system_protected: true,
        }]);
        let judged = judge(&all(), &here);
        let denied: Vec<&Finding> = judged.missing().collect();
        assert!(
            denied
                .iter()
                .all(|finding| matches!(&finding.held, Held::Denied { by, .. } if by == "managed by blueprint"))
        );
        assert!(!judged.stops(ActionName::LocksRemove).is_empty(), "a group in the subscription is denied");
        assert!(judged.stops(ActionName::BackupStart).is_empty());
        here.groups = known(vec![rights("/resourceGroups/AzureBackupRG_a_1", &["*"])]);
        assert!(judge(&all(), &here).stops(ActionName::LocksRemove).is_empty(), "another group is denied");
    }
}
