//! `keyvault.grant`: gives Azure Backup what it lacks on the key vaults of an encrypted VM, and nothing else.
//!
//! A vault that goes by access policies gets one `accessPolicies/add` (contract `Vaults_UpdateAccessPolicy`); one that
//! goes by roles gets one role assignment under a name that the plan fixes (`RoleAssignments_Create`, recorded in
//! azure-cli's `test_backup_encryption`). The proof is the vault, or the list of assignments, read back. The inverse takes
//! away exactly what was added, and only while it still stands as it was written.
//!
//! The contract calls `add` a merge and says nothing of what `remove` does to an entry; neither was verified. So what is
//! sent is safe either way: `add` carries what the identity has already and what it lacks, which grants the same whether
//! Azure merges or overwrites; and when a removal took more than it was to take, the rest is added again.
//!
//! Must never: touch another identity's entry, send `replace` or a whole vault, grant more than is missing, or read the
//! directory.

use std::time::Duration;

use serde_json::json;
use sha2::{Digest, Sha256};
use uuid::Builder;

use super::change::{Change, ChangeKind, Failure, Refusal};
use super::rules::Ground;
use super::rules::keyvault::{ADMINISTRATOR, asked, holds_role, mine, not_locked, still_used, unread, vaults, wanted};
use super::spec::KeyvaultGrant;
use super::{Check, Context, History, Inverse, Request, Verify};
use crate::arm::id::ResourceId;
use crate::arm::keyvault::Grant;
use crate::arm::model::{KeyPermissions, KeyVault, RoleAssignment};
use crate::arm::{Arm, ArmError, ErrorClass, Sent, Tag};
use crate::clock::elapsed;
use crate::estate::keyvaults::KeyVaultFacts;

/// Between two looks.
const PROBE: Duration = Duration::from_secs(10);
/// What is not seen this long after a request is taken for not done. (Both calls answer when they are done.)
const SETTLE: Duration = Duration::from_secs(60);
/// Requests that Azure took without effect before azmend gives up.
const TRIES: usize = 4;

/// An addition to access policies.
#[derive(Debug, Clone, Copy)]
pub struct Granted<'a> {
    /// The key vault.
    pub vault: &'a ResourceId,
    /// `createdAt` of the vault as read for the plan.
    pub created: &'a str,
    /// Its tenant.
    pub tenant: &'a str,
    /// Object id.
    pub principal: &'a str,
    /// What the identity has, as read for the plan.
    pub before: &'a KeyPermissions,
    /// What is added.
    pub missing: &'a KeyPermissions,
}

/// A role assignment.
#[derive(Debug, Clone, Copy)]
pub struct Assigned<'a> {
    /// The assignment.
    pub assignment: &'a ResourceId,
    /// `createdAt` of the vault as read for the plan.
    pub created: &'a str,
    /// Object id.
    pub principal: &'a str,
    /// The id of the role definition.
    pub role: &'a str,
}

/// Plans the grants; none when nothing is missing.
///
/// # Errors
/// What speaks against it.
pub fn plan(ground: &Ground<'_>, step: &str, spec: &KeyvaultGrant) -> Result<Vec<Change>, Refusal> {
    let vaults = vaults(ground)?;
    asked(spec)?;
    let mut changes = Vec::new();
    for facts in vaults {
        let name = facts.id.name();
        let Some(vault) = facts.vault.known() else {
            return Err(unread(&format!("key vault {name}"), facts.vault.unread().unwrap_or("not read")));
        };
        let what = if vault.rbac { role_of(facts, vault, spec)? } else { policy_of(facts, vault, spec) };
        if let Some((what, effect)) = what {
            not_locked(ground, facts, vault.rbac)?;
            changes.push(Change::new(step, changes.len() + 1, what, effect));
        }
    }
    Ok(changes)
}

fn policy_of(facts: &KeyVaultFacts, vault: &KeyVault, spec: &KeyvaultGrant) -> Option<(ChangeKind, String)> {
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
    let what = ChangeKind::GrantKeyAccess {
        vault: facts.id.clone(),
        created: vault.created.clone(),
        tenant: vault.tenant.clone(),
        principal: spec.principal.to_ascii_lowercase(),
        before,
        missing,
    };
    Some((what, effect))
}

fn role_of(
    facts: &KeyVaultFacts,
    vault: &KeyVault,
    spec: &KeyvaultGrant,
) -> Result<Option<(ChangeKind, String)>, Refusal> {
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
    let what = ChangeKind::AssignKeyRole {
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

fn changed(vault: &ResourceId, how: &str) -> Refusal {
    Refusal::new("s3.changed", format!("key vault {} {how}", vault.name())).hint("run azmend again for a new plan")
}

/// The vault, when it is still the one of the plan and still decides in the same way.
async fn same_vault(arm: &Arm, id: &ResourceId, created: &str, rbac: bool) -> Result<KeyVault, Check> {
    let vault = match arm.key_vault(id).await {
        Ok(vault) => vault,
        Err(error) if error.class() == ErrorClass::NotFound => return Err(Check::Refuse(changed(id, "is gone"))),
        Err(error) => return Err(Check::Unreadable(error)),
    };
    if vault.created != created {
        return Err(Check::Refuse(changed(id, "was made again under its name")));
    }
    if vault.rbac != rbac {
        let how = if rbac { "goes by access policies now" } else { "goes by role assignments now" };
        return Err(Check::Refuse(changed(id, how)));
    }
    Ok(vault)
}

/// Re-reads the vault, and asks every guard again.
pub async fn check_grant(cx: &Context<'_>, change: &Granted<'_>, history: &History) -> Check {
    let vault = match same_vault(cx.arm, change.vault, change.created, false).await {
        Ok(vault) => vault,
        Err(check) => return check,
    };
    let now = vault.permits(change.principal).unwrap_or_default();
    if change.missing.without(&now).is_empty() {
        return Check::Holds(stands(change.missing));
    }
    if !now.same(change.before) || vault.tenant != change.tenant {
        return Check::Refuse(changed(change.vault, "permits something else to the identity than in the plan"));
    }
    if let Err(refusal) = still_used(&cx.ground(), change.vault) {
        return Check::Refuse(refusal);
    }
    if history.attempts.len() >= TRIES {
        let message = format!("{TRIES} requests did not add the permissions to key vault {}", change.vault.name());
        return Check::GiveUp(Failure::new("", message));
    }
    match policy_target(change.vault, "add") {
        Ok(target) => Check::Go(Request { verb: super::Verb::Put, target, before: json!({ "permissions": now }) }),
        Err(error) => Check::Unreadable(error),
    }
}

fn policy_target(vault: &ResourceId, kind: &str) -> Result<ResourceId, ArmError> {
    vault.child("accessPolicies", kind).map_err(|error| ArmError::refused(vault.as_str(), &error.to_string()))
}

fn stands(missing: &KeyPermissions) -> String {
    format!("{}, read back", missing.words())
}

/// Adds what is missing, with what the identity has.
///
/// # Errors
/// As Azure answered.
pub async fn send_grant(cx: &Context<'_>, change: &Granted<'_>, next: &Request, tag: &Tag) -> Result<Sent, ArmError> {
    let permissions = change.before.with(change.missing);
    let grant = Grant { tenant: change.tenant, principal: change.principal, permissions: &permissions };
    cx.arm.write_access_policy(&next.target, grant, tag).await
}

/// What a look says after an attempt that has not shown yet.
fn not_yet(cx: &Context<'_>, history: &History, what: &str) -> Verify {
    match history.attempts.last() {
        Some(last) if elapsed(last.at, cx.arm.clock().now()) < SETTLE => {
            Verify::Pending { why: format!("{what} to show"), wait: PROBE }
        }
        _ => Verify::Again { why: format!("{what} did not show"), wait: PROBE },
    }
}

/// Reads the vault once.
pub async fn verify_grant(cx: &Context<'_>, change: &Granted<'_>, history: &History) -> Verify {
    let vault = match cx.arm.key_vault(change.vault).await {
        Ok(vault) => vault,
        Err(error) if error.class() == ErrorClass::NotFound => {
            return Verify::Failed(Failure::new("", format!("key vault {} is gone", change.vault.name())));
        }
        Err(error) => return Verify::Pending { why: format!("reading the key vault: {error}"), wait: PROBE },
    };
    let now = vault.permits(change.principal).unwrap_or_default();
    if change.missing.without(&now).is_empty() {
        return Verify::Done(stands(change.missing));
    }
    if !now.same(change.before) {
        let how = "permits something else to the identity: somebody changed it meanwhile";
        return Verify::Refused(changed(change.vault, how));
    }
    not_yet(cx, history, "the permissions")
}

/// Whether what was added may be taken away again. `sent`: a request of the inverse has left already.
pub async fn check_grant_back(arm: &Arm, change: &Granted<'_>, sent: bool) -> Inverse {
    let name = change.vault.name();
    let vault = match arm.key_vault(change.vault).await {
        Ok(vault) => vault,
        Err(error) if error.class() == ErrorClass::NotFound => {
            return Inverse::NotNeeded(format!("key vault {name} is gone"));
        }
        Err(error) => return Inverse::Unreadable(error),
    };
    if vault.created != change.created {
        return Inverse::NotNeeded(format!("key vault {name} was made again under its name"));
    }
    let now = vault.permits(change.principal).unwrap_or_default();
    let go = |kind: &str| match policy_target(change.vault, kind) {
        Ok(target) => Inverse::Go(Request { verb: super::Verb::Put, target, before: json!({ "permissions": now }) }),
        Err(error) => Inverse::Unreadable(error),
    };
    if now.same(change.before) {
        return Inverse::Holds(format!("key vault {name} permits what it did before: {}", now.words()));
    }
    if now.same(&change.before.with(change.missing)) {
        return go("remove");
    }
    let gone = change.missing.without(&now).same(change.missing);
    match (gone, sent) {
        // The removal took what was there before us, too: it comes back.
        (true, true) if now.without(change.before).is_empty() => go("add"),
        (true, _) => Inverse::NotNeeded(format!("key vault {name} does not permit any more what was added")),
        (false, _) => {
            Inverse::Refuse(changed(change.vault, "permits something else to the identity: it was changed since"))
        }
    }
}

/// Takes away what was added, or puts back what the removal took besides.
///
/// # Errors
/// As Azure answered.
pub async fn send_grant_back(arm: &Arm, change: &Granted<'_>, next: &Request, tag: &Tag) -> Result<Sent, ArmError> {
    let permissions = if next.target.name() == "remove" { change.missing } else { change.before };
    let grant = Grant { tenant: change.tenant, principal: change.principal, permissions };
    arm.write_access_policy(&next.target, grant, tag).await
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

/// The assignment of the plan, if it stands: with the identity and role of the plan, or with others.
fn found<'a>(all: &'a [RoleAssignment], change: &Assigned<'_>) -> Option<(&'a RoleAssignment, bool)> {
    let one = all.iter().find(|one| ResourceId::parse(&one.id).is_ok_and(|id| id == *change.assignment))?;
    let guid = change.role.rsplit('/').next().unwrap_or_default();
    let same = one.principal.eq_ignore_ascii_case(change.principal)
        && one.role_guid().eq_ignore_ascii_case(guid)
        && !one.conditional;
    Some((one, same))
}

fn assigned(change: &Assigned<'_>) -> String {
    let guid = change.role.rsplit('/').next().unwrap_or_default();
    format!("role {} on key vault {}, read back", role_name(guid), vault_of(change.assignment).name())
}

/// Re-reads the vault and its role assignments, and asks every guard again.
pub async fn check_assign(cx: &Context<'_>, change: &Assigned<'_>, history: &History) -> Check {
    let vault = vault_of(change.assignment);
    if let Err(check) = same_vault(cx.arm, &vault, change.created, true).await {
        return check;
    }
    let all = match assignments(cx.arm, &vault).await {
        Ok(all) => all,
        Err(error) => return Check::Unreadable(error),
    };
    match found(&all, change) {
        Some((_, true)) => return Check::Holds(assigned(change)),
        Some((_, false)) => {
            return Check::Refuse(changed(&vault, "has a role assignment of this name with another content"));
        }
        None => {}
    }
    let guid = change.role.rsplit('/').next().unwrap_or_default();
    if let Some(other) = mine(&all, change.principal, guid).next() {
        if other.conditional {
            return Check::Refuse(changed(&vault, "gives the identity the role under a condition now"));
        }
        return Check::Holds(format!("the identity holds the role already, by another assignment at {}", other.scope));
    }
    if let Err(refusal) = still_used(&cx.ground(), &vault) {
        return Check::Refuse(refusal);
    }
    if history.attempts.len() >= TRIES {
        let message = format!("{TRIES} requests did not assign the role on key vault {}", vault.name());
        return Check::GiveUp(Failure::new("", message));
    }
    Check::Go(Request { verb: super::Verb::Put, target: change.assignment.clone(), before: json!({ "assignment": null }) })
}

/// Reads the role assignments once.
pub async fn verify_assign(cx: &Context<'_>, change: &Assigned<'_>, history: &History) -> Verify {
    let vault = vault_of(change.assignment);
    let all = match assignments(cx.arm, &vault).await {
        Ok(all) => all,
        Err(error) => return Verify::Pending { why: format!("reading the role assignments: {error}"), wait: PROBE },
    };
    match found(&all, change) {
        Some((_, true)) => Verify::Done(assigned(change)),
        Some((_, false)) => Verify::Refused(changed(&vault, "has a role assignment of this name with another content")),
        None => not_yet(cx, history, "the role assignment"),
    }
}

/// Whether the assignment may be removed again.
pub async fn check_assign_back(arm: &Arm, change: &Assigned<'_>) -> Inverse {
    let vault = vault_of(change.assignment);
    let all = match assignments(arm, &vault).await {
        Ok(all) => all,
        Err(error) if error.class() == ErrorClass::NotFound => {
            return Inverse::NotNeeded(format!("key vault {} is gone", vault.name()));
        }
        Err(error) => return Inverse::Unreadable(error),
    };
    match found(&all, change) {
        None => Inverse::Holds(format!("the role assignment is not on key vault {}", vault.name())),
        Some((_, false)) => Inverse::Refuse(changed(&vault, "has a role assignment of this name with another content")),
        Some((one, true)) => Inverse::Go(Request {
            verb: super::Verb::Delete,
            target: change.assignment.clone(),
            before: json!({ "assignment": one }),
        }),
    }
}
