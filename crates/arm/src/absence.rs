//! When an answer proves that a resource is not there.
//!
//! Duty: the one strict predicate of S4, [`Arm::proves_absence`]. Everything that says "gone" asks it.
//! Invariants: only the answer to a GET of that very resource counts (a 404 to our own DELETE says nothing about who
//! removed it, a 404 of its instance view nothing about the VM); only a code that Azure sends when a resource of that
//! type is missing; and only while its subscription answers. `SubscriptionNotFound`, a 404 without a code, a page of a
//! proxy, a wrong path (`InvalidResourceType`): none of them proves anything.
//!
//! Where the codes come from. Recorded: `LockNotFound` (azure-powershell, TestResourceLockNonExisting);
//! `ResourceNotFound` of virtual machines, key vaults, Recovery Services vaults and network resources, also for what is
//! below a missing vault (azure-cli, test_backup_restore); `NotFound` "The entity was not found in this Azure location."
//! of a virtual machine (azure-cli, test_vm_simulate_eviction); `ResourceGroupNotFound` of groups and of anything in
//! them. Reported by users: `ParentResourceNotFound` of an extension (terraform-provider-azurerm #18311),
//! `BMSUserErrorDataSourceObjectNotFound` of a protected item (terraform-provider-azurerm #9452),
//! `RoleAssignmentNotFound` (terraform-provider-azurerm #8584). **Not verified**: the codes of a missing restore point and
//! collection are taken to be those of compute; `BMSUserErrorObjectNotFound`, `BMSUserErrorJobNotFound` and
//! `BMSUserErrorPolicyNotFound` follow the naming of Recovery Services. A code that is not in the table only means that
//! azmend does not know: it waits or ends with "unknown", it never says "gone".

use std::time::Duration;

use super::error::{ArmError, ErrorKind, percent_decode};
use super::id::ResourceId;
use crate::arm::Arm;

/// How long a success under a subscription shows that the subscription answers: as long as facts are fresh.
pub const ANSWERS_FOR: Duration = Duration::from_secs(60);

/// The codes, beside `ResourceGroupNotFound`, of a missing resource of this type (lower case).
fn codes_of(kind: &str) -> &'static [&'static str] {
    match kind {
        "subscription" | "resourcegroup" => &[],
        "microsoft.authorization/locks" => &["LockNotFound"],
        "microsoft.authorization/roleassignments" => &["RoleAssignmentNotFound"],
        "microsoft.compute/virtualmachines" | "microsoft.compute/restorepointcollections" => {
            &["ResourceNotFound", "NotFound"]
        }
        "microsoft.compute/virtualmachines/extensions" | "microsoft.compute/restorepointcollections/restorepoints" => {
            &["ResourceNotFound", "NotFound", "ParentResourceNotFound"]
        }
        "microsoft.recoveryservices/vaults/backupfabrics/protectioncontainers/protecteditems" => {
            &["BMSUserErrorDataSourceObjectNotFound", "BMSUserErrorObjectNotFound", "ResourceNotFound"]
        }
        "microsoft.recoveryservices/vaults/backupjobs" => {
            &["BMSUserErrorJobNotFound", "BMSUserErrorObjectNotFound", "ResourceNotFound"]
        }
        "microsoft.recoveryservices/vaults/backuppolicies" => {
            &["BMSUserErrorPolicyNotFound", "BMSUserErrorObjectNotFound", "ResourceNotFound"]
        }
        // ARM's front door answers so for any resource that it keeps itself.
        _ => &["ResourceNotFound"],
    }
}

impl ArmError {
    /// Whether this is the answer to a GET of `id` in which Azure says, with a code of that type of resource, that it is
    /// not there. Half of the proof: see [`Arm::proves_absence`].
    #[must_use]
    pub fn says_absent(&self, id: &ResourceId) -> bool {
        if self.kind != (ErrorKind::Http { status: 404 }) || !self.is_get_of(id) {
            return false;
        }
        if self.code.eq_ignore_ascii_case("ResourceGroupNotFound") {
            return id.resource_group().is_some();
        }
        if !codes_of(&id.resource_type()).iter().any(|code| self.code.eq_ignore_ascii_case(code)) {
            return false;
        }
        // The bare word comes from proxies too; compute's own sentence does not.
        !self.code.eq_ignore_ascii_case("NotFound") || self.message.to_lowercase().contains("entity")
    }

    /// Whether it is about a GET of exactly this resource.
    fn is_get_of(&self, id: &ResourceId) -> bool {
        let Some(path) = self.request.strip_prefix("GET ") else { return false };
        percent_decode(path).trim_end_matches('/').to_lowercase() == id.key()
    }
}

impl Arm {
    /// Whether `error` proves that the resource `id` is not there: the strict predicate of S4.
    ///
    /// True only for a 404 to a GET of this resource with a code that Azure sends for a missing resource of its type,
    /// while its subscription answers ([`Arm::subscription_answers`]). May send one GET of the subscription.
    pub async fn proves_absence(&self, error: &ArmError, id: &ResourceId) -> bool {
        error.says_absent(id) && self.subscription_answers(id).await
    }

    /// Whether the subscription of `id` answers: some request under it succeeded within the last 60 seconds, or a GET of
    /// it does now.
    pub async fn subscription_answers(&self, id: &ResourceId) -> bool {
        let guid = id.subscription();
        self.gateway.answered_within(guid, ANSWERS_FOR) || self.subscription(guid).await.is_ok()
    }
}

#[cfg(test)]
#[path = "absence_tests.rs"]
mod tests;
