//! A grant by access policies: one `accessPolicies/add`.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{KeyvaultGrant, PROBE, TRIES, changed, not_yet, same_vault};
use crate::actions::change::{Risk, Undo};
use crate::actions::outcome::Failure;
use crate::actions::rules::keyvault::{still_used, wanted};
use crate::actions::{Check, Context, History, Inverse, Mutation, Request, Verb, Verify};
use crate::arm::Grant;
use crate::arm::id::ResourceId;
use crate::arm::model::{KeyPermissions, KeyVault};
use crate::arm::{Arm, ArmError, Sent, Tag};
use crate::facts::vm_facts::KeyVaultFacts;

/// Adds permissions of one identity to a key vault's access policies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantKeyAccess {
    /// The key vault.
    pub vault: ResourceId,
    /// Its `createdAt` as read for the plan.
    pub created: String,
    /// Its tenant.
    pub tenant: String,
    /// Object id of the identity.
    pub principal: String,
    /// What the identity has, as read for the plan.
    pub before: KeyPermissions,
    /// What is added.
    pub missing: KeyPermissions,
}

/// What the identity lacks in the access policies of one vault; none when it lacks nothing.
pub(super) fn planned(
    facts: &KeyVaultFacts,
    vault: &KeyVault,
    spec: &KeyvaultGrant,
) -> Option<(GrantKeyAccess, String)> {
    let before = vault.permits(&spec.principal).unwrap_or_default();
    let missing = wanted(facts.key, facts.secret, spec.secret_backup).without(&before);
    if missing.is_empty() {
        return None;
    }
    let has = if before.is_empty() { String::new() } else { format!("; it has {} already", before.words()) };
    let effect = format!(
        "add to the access policies of key vault {} for {}: {}{has}",
        facts.id.name(),
        spec.principal,
        missing.words()
    );
    let what = GrantKeyAccess {
        vault: facts.id.clone(),
        created: vault.created.clone(),
        tenant: vault.tenant.clone(),
        principal: spec.principal.to_ascii_lowercase(),
        before,
        missing,
    };
    Some((what, effect))
}

fn policy_target(vault: &ResourceId, kind: &str) -> Result<ResourceId, ArmError> {
    vault.child("accessPolicies", kind).map_err(|error| ArmError::refused(vault.as_str(), &error.to_string()))
}

fn stands(missing: &KeyPermissions) -> String {
    format!("{}, read back", missing.words())
}

impl Mutation for GrantKeyAccess {
    const NOUN: &'static str = "key vault permissions granted";

    fn resource(&self) -> &ResourceId {
        &self.vault
    }

    fn undo(&self) -> Undo {
        Undo::Inverse { effect: "remove exactly these permissions again".to_owned() }
    }

    fn risk(&self) -> Risk {
        Risk::Medium
    }

    /// Re-reads the vault, and asks every guard again.
    async fn check(&self, cx: &Context<'_>, history: &History) -> Check {
        let vault = match same_vault(cx.arm, &self.vault, &self.created, false).await {
            Ok(vault) => vault,
            Err(check) => return check,
        };
        let now = vault.permits(&self.principal).unwrap_or_default();
        if self.missing.without(&now).is_empty() {
            return Check::Holds(stands(&self.missing));
        }
        if !now.same(&self.before) || vault.tenant != self.tenant {
            return Check::Refuse(changed(&self.vault, "permits something else to the identity than in the plan"));
        }
        if let Err(refusal) = still_used(&cx.input(), &self.vault) {
            return Check::Refuse(refusal);
        }
        if history.attempts.len() >= TRIES {
            let message = format!("{TRIES} requests did not add the permissions to key vault {}", self.vault.name());
            return Check::GiveUp(Failure::new("", message));
        }
        match policy_target(&self.vault, "add") {
            Ok(target) => Check::Go(Request { verb: Verb::Put, target, before: json!({ "permissions": now }) }),
            Err(error) => Check::Unreadable(error),
        }
    }

    /// Adds what is missing, with what the identity has.
    async fn send(&self, cx: &Context<'_>, request: &Request, tag: &Tag) -> Result<Sent, ArmError> {
        let permissions = self.before.with(&self.missing);
        let grant = Grant { tenant: &self.tenant, principal: &self.principal, permissions: &permissions };
        cx.arm.write_access_policy(&request.target, grant, tag).await
    }

    /// Reads the vault once.
    async fn verify(&self, cx: &Context<'_>, history: &History) -> Verify {
        let vault = match cx.arm.key_vault(&self.vault).await {
            Ok(vault) => vault,
            Err(error) if cx.arm.proves_absence(&error, &self.vault).await => {
                return Verify::Failed(Failure::new("", format!("key vault {} is gone", self.vault.name())));
            }
            Err(error) => return Verify::Pending { why: format!("reading the key vault: {error}"), wait: PROBE },
        };
        let now = vault.permits(&self.principal).unwrap_or_default();
        if self.missing.without(&now).is_empty() {
            return Verify::Done(stands(&self.missing));
        }
        if !now.same(&self.before) {
            let how = "permits something else to the identity: someone changed it in the meantime";
            return Verify::Refused(changed(&self.vault, how));
        }
        not_yet(cx, history, "the permissions")
    }

    /// Whether what was added may be taken away again. `sent`: a request of the inverse has left already.
    async fn check_inverse(&self, arm: &Arm, _: &Value, sent: bool) -> Inverse {
        let name = self.vault.name();
        let vault = match arm.key_vault(&self.vault).await {
            Ok(vault) => vault,
            Err(error) if arm.proves_absence(&error, &self.vault).await => {
                return Inverse::NotNeeded(format!("key vault {name} is gone"));
            }
            Err(error) => return Inverse::Unreadable(error),
        };
        if vault.created != self.created {
            return Inverse::NotNeeded(format!("key vault {name} was recreated under its name"));
        }
        let now = vault.permits(&self.principal).unwrap_or_default();
        let go = |kind: &str| match policy_target(&self.vault, kind) {
            Ok(target) => Inverse::Go(Request { verb: Verb::Put, target, before: json!({ "permissions": now }) }),
            Err(error) => Inverse::Unreadable(error),
        };
        if now.same(&self.before) {
            return Inverse::Holds(format!("key vault {name} permits what it did before: {}", now.words()));
        }
        if now.same(&self.before.with(&self.missing)) {
            return go("remove");
        }
        let gone = self.missing.without(&now).same(&self.missing);
        match (gone, sent) {
            // The removal took what was there before us, too: it comes back.
            (true, true) if now.without(&self.before).is_empty() => go("add"),
            (true, _) => Inverse::NotNeeded(format!("key vault {name} no longer permits what was added")),
            (false, _) => {
                Inverse::Refuse(changed(&self.vault, "permits something else to the identity: it was changed since"))
            }
        }
    }

    /// Takes away what was added, or restores what the removal took besides.
    async fn send_inverse(&self, arm: &Arm, request: &Request, tag: &Tag) -> Result<Sent, ArmError> {
        let permissions = if request.target.name() == "remove" { &self.missing } else { &self.before };
        let grant = Grant { tenant: &self.tenant, principal: &self.principal, permissions };
        arm.write_access_policy(&request.target, grant, tag).await
    }
}
