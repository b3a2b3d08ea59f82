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

mod policy;
mod role;

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::outcome::Refusal;
use super::permission::{self, Place, Right, Uses};
use super::planning::{PlanContext, StepDraft};
use super::rules::RuleInput;
use super::rules::keyvault::{ADMINISTRATOR, asked, not_locked, unread, vaults};
use super::{Action, ChangeKind, Check, Context, History, Verify};
use crate::arm::Arm;
use crate::arm::id::ResourceId;
use crate::arm::model::KeyVault;
use crate::clock::elapsed;

pub use policy::GrantKeyAccess;
pub use role::AssignKeyRole;

/// Between two looks.
const PROBE: Duration = Duration::from_secs(10);
/// What is not seen this long after a request is taken for not done. (Both calls answer when they are done.)
const SETTLE: Duration = Duration::from_secs(60);
/// Requests that Azure took without effect before azmend gives up.
const TRIES: usize = 4;

/// Writes access policies.
const WRITE_POLICY: Right = Right::change(
    "Microsoft.KeyVault/vaults/accessPolicies/write",
    Place::KeyVault,
    "adds to the access policies of a key vault what Azure Backup lacks, and removes it again",
    "nothing is granted on a key vault that uses access policies",
);
/// Assigns a role.
const WRITE_ROLE: Right = Right::change(
    "Microsoft.Authorization/roleAssignments/write",
    Place::KeyVault,
    "assigns a role on a key vault to Azure Backup",
    "nothing is granted on a key vault that uses roles",
);
/// Takes it away again.
const DELETE_ROLE: Right = Right::change(
    "Microsoft.Authorization/roleAssignments/delete",
    Place::KeyVault,
    "removes that role again",
    "the role assignment cannot be undone by azmend",
)
.optional("only an undo sends it");

/// Gives Azure Backup the permissions that it lacks on the key vaults of an encrypted VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KeyvaultGrant {
    /// Whether it was asked for: only behind a parameter that asks for it by name.
    pub grant: bool,
    /// Object id of Azure Backup's service principal in the tenant: a GUID.
    pub principal: String,
    /// The role for key vaults that use roles: the GUID of a role definition. Key Vault Administrator by
    /// default.
    pub role: String,
    /// Whether access policies get the backup of secrets, too.
    pub secret_backup: bool,
}

impl Default for KeyvaultGrant {
    fn default() -> Self {
        Self { grant: false, principal: String::new(), role: ADMINISTRATOR.to_owned(), secret_backup: false }
    }
}

impl Action for KeyvaultGrant {
    const KEYS: &'static [&'static str] = &["grant", "principal", "role", "secret_backup"];
    const NEEDS: &'static [Uses] = &[
        Uses::Needs(&permission::LOCKS),
        Uses::Needs(&permission::INSTANCE_VIEW),
        Uses::Needs(&permission::EXTENSIONS),
        Uses::Needs(&permission::VAULTS),
        Uses::Needs(&permission::ITEMS),
        Uses::Needs(&permission::JOBS),
        Uses::Needs(&permission::KEY_VAULT),
        Uses::Partly(&permission::ROLE_ASSIGNMENTS),
        Uses::Partly(&WRITE_POLICY),
        Uses::Partly(&WRITE_ROLE),
        Uses::Better(&DELETE_ROLE),
    ];
    const WRITES: &'static [&'static str] = &[];

    fn plan(&self, cx: &PlanContext<'_>) -> StepDraft {
        match planned(&cx.input, self) {
            Ok(changes) if changes.is_empty() && self.secret_backup => {
                StepDraft::nothing("the identity has every permission that the documents name")
            }
            Ok(changes) if changes.is_empty() => StepDraft::nothing(
                "the identity has the permissions that the documents agree on; one page also asks for the backup of secrets: --set secret_backup=true",
            ),
            Ok(changes) => StepDraft { changes, ..StepDraft::default() },
            Err(refusal) => StepDraft::refuse(refusal),
        }
    }
}

/// The grants; none when nothing is missing.
fn planned(input: &RuleInput<'_>, spec: &KeyvaultGrant) -> Result<Vec<(ChangeKind, String)>, Refusal> {
    let vaults = vaults(input)?;
    asked(spec.grant, &spec.principal, &spec.role)?;
    let mut changes = Vec::new();
    for facts in vaults {
        let name = facts.id.name();
        let Some(vault) = facts.vault.known() else {
            return Err(unread(&format!("key vault {name}"), facts.vault.unread().unwrap_or("not read")));
        };
        let planned = if vault.rbac {
            role::planned(facts, vault, spec)?.map(|(what, effect)| (what.into(), effect))
        } else {
            policy::planned(facts, vault, spec).map(|(what, effect)| (what.into(), effect))
        };
        if planned.is_some() {
            not_locked(input, facts, vault.rbac)?;
        }
        changes.extend(planned);
    }
    Ok(changes)
}

fn changed(vault: &ResourceId, how: &str) -> Refusal {
    Refusal::new("s3.changed", format!("key vault {} {how}", vault.name())).hint("run azmend again for a new plan")
}

/// Whether the vault is proven not to be there.
async fn is_gone(arm: &Arm, vault: &ResourceId) -> bool {
    match arm.key_vault(vault).await {
        Ok(_) => false,
        Err(error) => arm.proves_absence(&error, vault).await,
    }
}

/// The vault, when it is still the one of the plan and still decides in the same way.
async fn same_vault(arm: &Arm, id: &ResourceId, created: &str, rbac: bool) -> Result<KeyVault, Check> {
    let vault = match arm.key_vault(id).await {
        Ok(vault) => vault,
        Err(error) if arm.proves_absence(&error, id).await => return Err(Check::Refuse(changed(id, "is gone"))),
        Err(error) => return Err(Check::Unreadable(error)),
    };
    if vault.created != created {
        return Err(Check::Refuse(changed(id, "was recreated under its name")));
    }
    if vault.rbac != rbac {
        let how = if rbac { "uses access policies now" } else { "uses role assignments now" };
        return Err(Check::Refuse(changed(id, how)));
    }
    Ok(vault)
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
