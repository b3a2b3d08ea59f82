//! The lines of `azmend diagnose` about the key vaults of an encrypted VM.
//!
//! Duty: pure. Facts in, lines out. Who Azure Backup is in a tenant stands in its directory and not in ARM, so a line says
//! *problem* only when nobody has what Azure Backup needs, and never *ok*: that some identity has it is *not checked*, with
//! what is to be compared. A VM that is not encrypted has no line. Must never: guess an identity, or take unread for missing.

use super::line::{Line, State};
use crate::actions::rules::keyvault::{ADMINISTRATOR, BACKUP_APP, wanted};
use crate::arm::model::KeyVault;
use crate::facts::vm_facts::KeyVaultFacts;
use crate::facts::vm_facts::VmFacts;
use crate::text::plural;

/// The error that these lead to.
const CODE: &str = "UserErrorKeyvaultPermissionsNotConfigured";

fn line(check: &str, state: State, evidence: String) -> Line {
    let code = (state == State::Problem).then(|| CODE.to_owned());
    Line { area: "key vault".to_owned(), check: check.to_owned(), state, evidence, code }
}

/// The lines.
#[must_use]
pub fn lines(facts: &VmFacts) -> Vec<Line> {
    let mut out = Vec::new();
    if let Some(why) = facts.key_vaults.unread() {
        out.push(line("encryption", State::NotChecked, why.to_owned()));
    }
    for one in facts.key_vaults.known().into_iter().flatten() {
        let check = format!("access to {}", one.id.name());
        let Some(vault) = one.vault.known() else {
            let why = one.vault.unread().unwrap_or("not read");
            out.push(line(&check, State::NotChecked, why.to_owned()));
            continue;
        };
        let (state, evidence) = if vault.rbac { by_roles(one) } else { by_policies(one, vault) };
        out.push(line(&check, state, evidence));
        if vault.network.eq_ignore_ascii_case("Deny") {
            let through = vault.bypass.to_ascii_lowercase().contains("azureservices");
            let said = if through {
                "its firewall lets trusted services of Azure through"
            } else {
                "its firewall lets no trusted services of Azure through: whether Azure Backup gets in was not verified"
            };
            let state = if through { State::Ok } else { State::NotChecked };
            out.push(line(&format!("network of {}", one.id.name()), state, said.to_owned()));
        }
    }
    out
}

fn compare(who: &str) -> String {
    format!(
        "{who}; whether one is Azure Backup, ARM cannot tell: compare with az ad sp show --id {BACKUP_APP} --query id -o tsv"
    )
}

fn by_policies(one: &KeyVaultFacts, vault: &KeyVault) -> (State, String) {
    let needed = wanted(one.key, one.secret, false);
    let enough = vault
        .policies
        .iter()
        .filter(|policy| vault.permits(&policy.object).is_some_and(|have| needed.without(&have).is_empty()));
    match enough.count() {
        0 => (State::Problem, format!("no access policy permits what Azure Backup needs: {}", needed.words())),
        count => {
            (State::NotChecked, compare(&format!("{} with {}", plural(count, "access policy entry"), needed.words())))
        }
    }
}

fn by_roles(one: &KeyVaultFacts) -> (State, String) {
    let Some(roles) = one.roles.known() else {
        return (State::NotChecked, one.roles.unread().unwrap_or("not read").to_owned());
    };
    if roles.is_empty() {
        return (State::Problem, "no one has a role on it, so neither does Azure Backup".to_owned());
    }
    let administrators = roles.iter().filter(|role| role.role_guid().eq_ignore_ascii_case(ADMINISTRATOR)).count();
    let said = format!("{}, {administrators} of them Key Vault Administrator", plural(roles.len(), "role assignment"));
    (State::NotChecked, compare(&said))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actions::rules::testing::{facts, id, known, unread};
    use crate::arm::model::{AccessPolicy, KeyPermissions, RoleAssignment};
    use crate::facts::vm_facts::Part;

    fn vault(rbac: bool, secrets: &[&str]) -> KeyVault {
        let permissions = KeyPermissions {
            secrets: secrets.iter().map(|&word| word.to_owned()).collect(),
            ..KeyPermissions::default()
        };
        KeyVault {
            id: id("/resourceGroups/rg-shop/providers/Microsoft.KeyVault/vaults/kv"),
            location: "westeurope".into(),
            created: String::new(),
            tenant: "t".into(),
            rbac,
            policies: vec![AccessPolicy {
                tenant: "t".into(),
                object: "o".into(),
                application: String::new(),
                permissions,
            }],
            network: String::new(),
            bypass: String::new(),
            soft_delete: None,
        }
    }

    fn told(vault: Part<KeyVault>, roles: Part<Vec<RoleAssignment>>, key: bool) -> Vec<(State, String)> {
        let mut facts = facts();
        let id = id("/resourceGroups/rg-shop/providers/Microsoft.KeyVault/vaults/kv");
        facts.key_vaults = known(vec![KeyVaultFacts { id, key, secret: true, vault, roles }]);
        lines(&facts).into_iter().map(|line| (line.state, line.evidence)).collect()
    }

    #[test]
    fn a_vm_that_is_not_encrypted_has_no_line_and_unread_is_said() {
        let mut facts = facts();
        assert_eq!(lines(&facts), Vec::new());
        facts.key_vaults = unread();
        let told = lines(&facts);
        assert_eq!((told.len(), told[0].state, told[0].code.as_deref()), (1, State::NotChecked, None));
    }

    #[test]
    fn a_problem_only_when_nobody_has_what_is_needed() {
        let none = || Part::Absent { at: crate::actions::rules::testing::now() };
        assert_eq!(told(known(vault(false, &["get"])), none(), false)[0].0, State::Problem);
        let some = &told(known(vault(false, &["Get", "list"])), none(), false)[0];
        assert!(some.0 == State::NotChecked && some.1.contains("az ad sp show"), "{some:?}");
        assert_eq!(told(known(vault(false, &["all"])), none(), true)[0].0, State::Problem, "keys are missing");
        assert_eq!(told(unread(), unread(), true)[0].0, State::NotChecked, "a 403");
        assert_eq!(told(known(vault(true, &["all"])), known(Vec::new()), false)[0].0, State::Problem);
        assert_eq!(told(known(vault(true, &["all"])), unread(), false)[0].0, State::NotChecked);
        let role = RoleAssignment {
            id: "/a".into(),
            scope: "/".into(),
            principal: "p".into(),
            role: format!("/x/{ADMINISTRATOR}"),
            conditional: false,
        };
        let held = &told(known(vault(true, &[])), known(vec![role]), false)[0];
        assert!(held.0 == State::NotChecked && held.1.contains("1 of them"), "{held:?}");
    }

    #[test]
    fn a_firewall_is_said() {
        for (bypass, state) in [("AzureServices", State::Ok), ("None", State::NotChecked)] {
            let behind = KeyVault { network: "Deny".into(), bypass: bypass.into(), ..vault(true, &[]) };
            assert_eq!(told(known(behind), unread(), false)[1].0, state);
        }
    }
}
