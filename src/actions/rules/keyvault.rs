//! What may be granted on the key vaults of an encrypted VM (`keyvault.grant`), as named rules.
//!
//! Duty: say exactly what is missing, or why nothing is granted. The same guards decide in the plan and, on facts read
//! again, just before the request (S3). Nothing is granted unless that was asked for by name, to an identity that was
//! named: who Azure Backup is in a tenant stands in its directory, which ARM cannot read, and azmend does not guess. None
//! of these rules can be overridden.
//!
//! Sources: backup-azure-vms-encryption (access policies: get, list and backup of keys, only where a key encrypts the
//! secrets; get and list of secrets; role Key Vault Administrator where the vault goes by roles). The custom role on the
//! same page also has the backup of secrets; whether that is needed was not verified, so it is asked for by a parameter.

use super::RuleInput;
use crate::actions::change::Refusal;
use crate::arm::id::{ResourceId, is_guid};
use crate::arm::model::{KeyPermissions, RoleAssignment};
use crate::facts::keyvaults::uses;
use crate::facts::vm_facts::KeyVaultFacts;
use crate::facts::vm_facts::Part;

/// Application id of Azure Backup's management service, the same in every tenant of the public cloud.
pub const BACKUP_APP: &str = "262044b1-e2ce-469f-a196-69ab7ada62d3";
/// Key Vault Administrator (recorded).
pub const ADMINISTRATOR: &str = "00482a5a-887f-4fb3-b363-3b7fe8e74483";

/// What Azure Backup needs of a key vault that holds keys, secrets or both.
#[must_use]
pub fn wanted(key: bool, secret: bool, secret_backup: bool) -> KeyPermissions {
    let words = |list: &[&str]| list.iter().map(|&word| word.to_owned()).collect();
    KeyPermissions {
        keys: if key { words(&["get", "list", "backup"]) } else { Vec::new() },
        secrets: match (secret, secret_backup) {
            (false, _) => Vec::new(),
            (true, false) => words(&["get", "list"]),
            (true, true) => words(&["get", "list", "backup"]),
        },
        ..KeyPermissions::default()
    }
}

/// Whether the grant was asked for, and whom it is for.
///
/// # Errors
/// A refusal `keyvault...` with what is to be typed.
pub fn asked(grant: bool, principal: &str, role: &str) -> Result<(), Refusal> {
    let find = format!(
        "find the object id of Azure Backup's service principal with: az ad sp show --id {BACKUP_APP} --query id -o tsv"
    );
    if !grant {
        let why = "granting access to a key vault must be requested explicitly: nothing was granted";
        return Err(Refusal::new("keyvault.not-asked", why)
            .hint(format!("grant it with --set grant=true --set principal=<object id>; {find}")));
    }
    if !is_guid(principal) {
        let why = if principal.is_empty() {
            "the principal to grant access to was not given, and ARM cannot find it".to_owned()
        } else {
            format!("the principal {:?} is not an object id (a GUID)", principal)
        };
        return Err(
            Refusal::new("keyvault.principal", why).hint(format!("name it with --set principal=<object id>; {find}"))
        );
    }
    if principal.eq_ignore_ascii_case(BACKUP_APP) {
        let why =
            "the principal is the application id of Azure Backup, the same in every tenant, not its object id in yours";
        return Err(Refusal::new("keyvault.principal", why).hint(find));
    }
    if !is_guid(role) {
        let why = format!("the role {:?} is not the id (a GUID) of a role definition", role);
        return Err(Refusal::new("keyvault.role", why)
            .hint("az role definition list --name \"Key Vault Administrator\" --query [].name -o tsv"));
    }
    Ok(())
}

/// The key vaults of the VM.
///
/// # Errors
/// A refusal `keyvault...`: it is not encrypted, or that was not read.
pub fn vaults<'a>(input: &RuleInput<'a>) -> Result<&'a [KeyVaultFacts], Refusal> {
    let name = input.facts.id.name();
    let part = &input.facts.key_vaults;
    match (part.known(), part.unread()) {
        (Some(vaults), _) if !vaults.is_empty() => Ok(vaults),
        (None, Some(why)) => Err(unread(&format!("which key vaults {name} uses"), why)),
        _ => Err(Refusal::new("keyvault.not-encrypted", format!("{name} is not encrypted with Azure Disk Encryption"))
            .hint(format!(
                "disks that the platform encrypts ask for no permission of Azure Backup; start a backup: \
                 azmend fix backup-now --vm {}",
                crate::text::shell_quote(input.facts.id.as_str())
            ))),
    }
}

/// The VM, as it was just read, still uses this key vault.
///
/// # Errors
/// A refusal.
pub fn still_used(input: &RuleInput<'_>, vault: &ResourceId) -> Result<(), Refusal> {
    let name = input.facts.id.name();
    match uses(input.facts) {
        Err(why) => Err(unread(&format!("which key vaults {name} uses"), &why)),
        Ok(used) if used.iter().any(|(id, ..)| id == vault) => Ok(()),
        Ok(_) => {
            let why = format!("{name} no longer uses key vault {}", vault.name());
            Err(Refusal::new("s3.changed", why).hint("run azmend again for a new plan"))
        }
    }
}

/// No lock stands in the way of the grant, or of taking it back.
///
/// # Errors
/// A refusal `keyvault...`.
pub fn not_locked(input: &RuleInput<'_>, facts: &KeyVaultFacts, rbac: bool) -> Result<(), Refusal> {
    if let Some(why) = input.facts.locks.unread() {
        return Err(unread("the locks, which could prevent undoing the grant,", why));
    }
    // ReadOnly blocks every write; any lock keeps a role assignment from being deleted (lock-resources documentation).
    let blocks = |level: &str| rbac || level.eq_ignore_ascii_case("ReadOnly");
    match input.facts.locks_over(&facts.id).find(|lock| blocks(&lock.level)) {
        None => Ok(()),
        Some(lock) => {
            let why = format!(
                "the {} lock {} on {} covers key vault {}: the grant could not be made, or not be undone",
                lock.level,
                lock.id.name(),
                lock.scope().short_name(),
                facts.id.name()
            );
            Err(Refusal::new("keyvault.locked", why).hint("its owner can remove it for the time of the grant"))
        }
    }
}

/// Whether the identity holds the role at the vault or above it; the broad administrator counts for every role.
///
/// # Errors
/// A refusal `keyvault...`: the assignments were not read, or one is narrowed by a condition, which azmend cannot judge.
pub fn holds_role(facts: &KeyVaultFacts, principal: &str, role: &str) -> Result<bool, Refusal> {
    let roles = match &facts.roles {
        Part::Known { value, .. } => value,
        part => {
            return Err(unread(
                &format!("the role assignments of key vault {}", facts.id.name()),
                part.unread().unwrap_or("not read"),
            ));
        }
    };
    match mine(roles, principal, role).partition::<Vec<_>, _>(|one| one.conditional) {
        (_, plain) if !plain.is_empty() => Ok(true),
        (conditional, _) if !conditional.is_empty() => {
            let why = format!(
                "the identity holds the role on key vault {} under a condition, which azmend does not judge",
                facts.id.name()
            );
            Err(Refusal::new("keyvault.conditional", why).hint("look at the condition: az role assignment list --all"))
        }
        _ => Ok(false),
    }
}

/// The assignments that give the identity the role, or the administrator's.
pub fn mine<'a>(
    roles: &'a [RoleAssignment],
    principal: &'a str,
    role: &'a str,
) -> impl Iterator<Item = &'a RoleAssignment> {
    roles.iter().filter(move |one| {
        one.principal.eq_ignore_ascii_case(principal)
            && [role, ADMINISTRATOR].iter().any(|wanted| one.role_guid().eq_ignore_ascii_case(wanted))
    })
}

/// A refusal for what was not read.
#[must_use]
pub fn unread(what: &str, why: &str) -> Refusal {
    Refusal::new("keyvault.unread", format!("{what} could not be read: {why}"))
}
