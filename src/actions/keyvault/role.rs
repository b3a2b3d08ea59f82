//! A grant by a role assignment, under a name that the plan fixes.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Builder;

use super::{KeyvaultGrant, PROBE, TRIES, changed, not_yet, same_vault};
use crate::actions::change::{Risk, Undo};
use crate::actions::outcome::{Failure, Refusal};
use crate::actions::rules::keyvault::{ADMINISTRATOR, holds_role, mine, still_used};
use crate::actions::{Check, Context, History, Inverse, Mutation, Request, Verb, Verify};
use crate::arm::id::ResourceId;
use crate::arm::model::{KeyVault, RoleAssignment};
use crate::arm::{Arm, ArmError, Sent, Tag};
use crate::facts::vm_facts::KeyVaultFacts;

/// Assigns a role on a key vault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssignKeyRole {
    /// The assignment, under a name that the plan fixes.
    pub assignment: ResourceId,
    /// `createdAt` of the vault as read for the plan.
    pub created: String,
    /// Object id of the identity.
    pub principal: String,
    /// The id of the role definition.
    pub role: String,
}

/// The role that the identity lacks on one vault; none when it holds it.
pub(super) fn planned(
    facts: &KeyVaultFacts,
    vault: &KeyVault,
    spec: &KeyvaultGrant,
) -> Result<Option<(AssignKeyRole, String)>, Refusal> {
    if holds_role(facts, &spec.principal, &spec.role)? {
        return Ok(None);
    }
    let refused = |why: String| Refusal::new("keyvault.role", why);
    let name = assignment_name(&facts.id, &spec.principal, &spec.role);
    let assignment = facts.id.resource("Microsoft.Authorization", "roleAssignments", &name);
    let assignment = assignment.map_err(|error| refused(format!("the role assignment has no usable name: {error}")))?;
    let role = format!(
        "{}/providers/Microsoft.Authorization/roleDefinitions/{}",
        facts.id.subscription_id(),
        spec.role.to_ascii_lowercase()
    );
    let others = facts.roles.known().into_iter().flatten();
    let others = others.filter(|one| one.principal.eq_ignore_ascii_case(&spec.principal)).count();
    let held = match others {
        0 => String::new(),
        _ => format!("; it holds {others} other assignments there or above, whose roles azmend does not read"),
    };
    let effect = format!(
        "assign the role {} on key vault {} to {}{}{held}",
        role_name(&spec.role),
        facts.id.name(),
        spec.principal,
        if spec.role.eq_ignore_ascii_case(ADMINISTRATOR) {
            ", as the documentation of Azure Backup asks; it is broad: every key, secret and certificate of the vault"
        } else {
            ""
        },
    );
    let what = AssignKeyRole {
        assignment,
        created: vault.created.clone(),
        principal: spec.principal.to_ascii_lowercase(),
        role,
    };
    Ok(Some((what, effect)))
}

fn role_name(role: &str) -> &str {
    if role.eq_ignore_ascii_case(ADMINISTRATOR) { "Key Vault Administrator" } else { role }
}

/// A GUID that is the same for the same vault, identity and role: the same grant planned twice is one assignment.
fn assignment_name(vault: &ResourceId, principal: &str, role: &str) -> String {
    let digest = Sha256::digest(format!("azmend {} {principal} {role}", vault.key()).to_ascii_lowercase().as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    Builder::from_custom_bytes(bytes).into_uuid().to_string()
}

fn vault_of(assignment: &ResourceId) -> ResourceId {
    assignment.scope().unwrap_or_else(|| assignment.clone())
}

/// All role assignments at the vault and above.
async fn assignments(arm: &Arm, vault: &ResourceId) -> Result<Vec<RoleAssignment>, ArmError> {
    let listing = arm.role_assignments(vault).await?;
    match listing.malformed.first() {
        None => Ok(listing.items),
        Some(first) => {
            Err(ArmError::refused(vault.as_str(), &format!("a role assignment could not be understood: {first}")))
        }
    }
}

impl AssignKeyRole {
    /// The assignment of the plan, if it stands: with the identity and role of the plan, or with others.
    fn found<'a>(&self, all: &'a [RoleAssignment]) -> Option<(&'a RoleAssignment, bool)> {
        let one = all.iter().find(|one| ResourceId::parse(&one.id).is_ok_and(|id| id == self.assignment))?;
        let guid = self.role.rsplit('/').next().unwrap_or_default();
        let same = one.principal.eq_ignore_ascii_case(&self.principal)
            && one.role_guid().eq_ignore_ascii_case(guid)
            && !one.conditional;
        Some((one, same))
    }

    fn assigned(&self) -> String {
        let guid = self.role.rsplit('/').next().unwrap_or_default();
        format!("role {} on key vault {}, read back", role_name(guid), vault_of(&self.assignment).name())
    }
}

impl Mutation for AssignKeyRole {
    const NOUN: &'static str = "key vault permissions granted";

    fn resource(&self) -> &ResourceId {
        &self.assignment
    }

    fn undo(&self) -> Undo {
        Undo::Inverse { effect: "remove this role assignment again".to_owned() }
    }

    fn risk(&self) -> Risk {
        Risk::Medium
    }

    /// Re-reads the vault and its role assignments, and asks every guard again.
    async fn check(&self, cx: &Context<'_>, history: &History) -> Check {
        let vault = vault_of(&self.assignment);
        if let Err(check) = same_vault(cx.arm, &vault, &self.created, true).await {
            return check;
        }
        let all = match assignments(cx.arm, &vault).await {
            Ok(all) => all,
            Err(error) => return Check::Unreadable(error),
        };
        match self.found(&all) {
            Some((_, true)) => return Check::Holds(self.assigned()),
            Some((_, false)) => {
                return Check::Refuse(changed(&vault, "has a role assignment of this name with another content"));
            }
            None => {}
        }
        let guid = self.role.rsplit('/').next().unwrap_or_default();
        if let Some(other) = mine(&all, &self.principal, guid).next() {
            if other.conditional {
                return Check::Refuse(changed(&vault, "gives the identity the role under a condition now"));
            }
            return Check::Holds(format!(
                "the identity holds the role already, by another assignment at {}",
                other.scope
            ));
        }
        if let Err(refusal) = still_used(&cx.input(), &vault) {
            return Check::Refuse(refusal);
        }
        if history.attempts.len() >= TRIES {
            let message = format!("{TRIES} requests did not assign the role on key vault {}", vault.name());
            return Check::GiveUp(Failure::new("", message));
        }
        Check::Go(Request { verb: Verb::Put, target: self.assignment.clone(), before: json!({ "assignment": null }) })
    }

    async fn send(&self, cx: &Context<'_>, request: &Request, tag: &Tag) -> Result<Sent, ArmError> {
        cx.arm.assign_role(&request.target, &self.role, &self.principal, tag).await
    }

    /// Reads the role assignments once.
    async fn verify(&self, cx: &Context<'_>, history: &History) -> Verify {
        let vault = vault_of(&self.assignment);
        let all = match assignments(cx.arm, &vault).await {
            Ok(all) => all,
            Err(error) => {
                return Verify::Pending { why: format!("reading the role assignments: {error}"), wait: PROBE };
            }
        };
        match self.found(&all) {
            Some((_, true)) => Verify::Done(self.assigned()),
            Some((_, false)) => {
                Verify::Refused(changed(&vault, "has a role assignment of this name with another content"))
            }
            None => not_yet(cx, history, "the role assignment"),
        }
    }

    /// Whether the assignment may be removed again.
    async fn check_inverse(&self, arm: &Arm, _: &Value, _: bool) -> Inverse {
        let vault = vault_of(&self.assignment);
        let all = match assignments(arm, &vault).await {
            Ok(all) => all,
            Err(_) if super::is_gone(arm, &vault).await => {
                return Inverse::NotNeeded(format!("key vault {} is gone", vault.name()));
            }
            Err(error) => return Inverse::Unreadable(error),
        };
        match self.found(&all) {
            None => Inverse::Holds(format!("the role assignment is not on key vault {}", vault.name())),
            Some((_, false)) => {
                Inverse::Refuse(changed(&vault, "has a role assignment of this name with another content"))
            }
            Some((one, true)) => Inverse::Go(Request {
                verb: Verb::Delete,
                target: self.assignment.clone(),
                before: json!({ "assignment": one }),
            }),
        }
    }

    async fn send_inverse(&self, arm: &Arm, request: &Request, tag: &Tag) -> Result<Sent, ArmError> {
        arm.unassign_role(&request.target, tag).await
    }
}
