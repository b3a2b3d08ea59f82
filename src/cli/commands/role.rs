//! `azmend role`: the smallest custom role, from the table of needs. Nothing is asked of Azure.

use crate::actions::permissions_needed::{EVERY_READ, Purpose, RoleDefinition};
use crate::actions::spec::ActionName;
use crate::cli::args::{PurposeArgs, RoleArgs};
use crate::cli::commands::fix::{find, library};
use crate::cli::error::CliError;
use crate::cli::execute::Session;
use crate::engine::exit;
use crate::playbook::Playbook;
use crate::playbook::library::Library;
use crate::report;
use crate::text::shell_quote;

/// Stands for a subscription that was not named; Azure refuses it.
const NO_SCOPE: &str = "/subscriptions/00000000-0000-0000-0000-000000000000";

/// Prints the role.
///
/// # Errors
/// When a playbook is not found.
pub fn run(session: &Session, args: &RoleArgs) -> Result<u8, CliError> {
    let library = library(session, args.purpose.playbooks.as_deref());
    let chosen = playbooks(&library, &args.purpose)?;
    let purpose = purpose(&chosen, &args.purpose);
    let named = !args.scope.is_empty();
    let scopes = if named { args.scope.iter().map(ToString::to_string).collect() } else { vec![NO_SCOPE.to_owned()] };
    let (name, description) = words(&args.purpose, &purpose);
    let name = args.name.clone().unwrap_or(name);
    let needs = purpose.needs();
    let role = RoleDefinition::of(&name, &description, needs.iter().copied(), scopes);
    if session.printer.for_people() {
        session.printer.data(&report::role::page(&role, &needs, session.printer.width()));
    } else {
        session.printer.json(&role);
        if needs.iter().any(|need| need.action == EVERY_READ) {
            session.printer.sentence("in addition, on each backup resource group, assign the built-in role Reader:");
            session.printer.note(&format!("  {}", reader_command("OBJECT-ID", "GROUP-ID")));
        }
    }
    if !named {
        session.printer.sentence("name your subscription with --scope before you create the role");
    }
    Ok(exit::OK)
}

/// The command that assigns Reader.
#[must_use]
pub fn reader_command(identity: &str, scope: &str) -> String {
    format!(
        "az role assignment create --assignee {} --role Reader --scope {}",
        shell_quote(identity),
        shell_quote(scope)
    )
}

/// The playbooks that were named, else all but those that run scripts inside the VM: whoever may do that may do anything
/// there, so it is granted by name only.
///
/// # Errors
/// When one is not found.
pub fn playbooks<'a>(library: &'a Library, args: &PurposeArgs) -> Result<Vec<&'a Playbook>, CliError> {
    if args.playbook.is_empty() {
        let outside = |playbook: &&Playbook| {
            !playbook
                .steps()
                .iter()
                .any(|step| matches!(step.action(), ActionName::GuestService | ActionName::GuestAgentConf))
        };
        return Ok(library.iter().map(|(playbook, _)| playbook).filter(outside).collect());
    }
    args.playbook.iter().map(|name| find(library, name)).collect()
}

/// What these playbooks do, as far as it is wanted.
#[must_use]
pub fn purpose(playbooks: &[&Playbook], args: &PurposeArgs) -> Purpose {
    if args.read_only {
        return Purpose::read_only();
    }
    let actions = playbooks.iter().flat_map(|playbook| playbook.steps()).map(|step| step.action());
    let purpose = Purpose::to(actions);
    // What grants must be asked for by name.
    let purpose = if args.playbook.is_empty() { purpose.without_grants() } else { purpose };
    if args.without_locks { purpose.without_locks() } else { purpose }
}

/// Name and description of the role.
fn words(args: &PurposeArgs, purpose: &Purpose) -> (String, String) {
    if args.read_only {
        return (
            "azmend reader".to_owned(),
            "Reads what azmend needs for audits and dry runs of Azure VM backup. Changes nothing.".to_owned(),
        );
    }
    let mut name = "azmend repair".to_owned();
    let mut description = "Repairs Azure VM backup with azmend".to_owned();
    if !args.playbook.is_empty() {
        name.push_str(&format!(" ({})", args.playbook.join(", ")));
        description.push_str(&format!(", playbooks {}", args.playbook.join(", ")));
    }
    if args.without_locks {
        name.push_str(" without locks");
        description.push_str("; removes no locks");
    }
    if purpose.actions().contains(&ActionName::KeyvaultGrant) {
        // It may give itself everything in that vault.
        description.push_str(". Grants access to a key vault: assign it on that key vault only.");
        return (name, description);
    }
    description.push_str(". Grants no role assignment, no vault deletion and no recovery point deletion.");
    (name, description)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(playbook: &[&str], read_only: bool, without_locks: bool) -> PurposeArgs {
        let playbook = playbook.iter().map(|&name| name.to_owned()).collect();
        PurposeArgs { playbook, read_only, without_locks, playbooks: None }
    }

    #[test]
    fn the_shipped_playbooks_need_every_change_and_one_needs_its_own() {
        let library = Library::shipped();
        let of = |args: &PurposeArgs| purpose(&playbooks(&library, args).unwrap(), args);
        let everything = of(&args(&[], false, false));
        let left: Vec<&str> = crate::actions::permissions_needed::NEEDS
            .iter()
            .filter(|need| !everything.needs().iter().any(|known| known.action == need.action))
            .map(|need| need.action)
            .collect();
        let grants = [
            "Microsoft.KeyVault/vaults/accessPolicies/write",
            "Microsoft.Authorization/roleAssignments/write",
            "Microsoft.Authorization/roleAssignments/delete",
        ];
        let by_name = [&grants[..], &[crate::actions::permissions_needed::RUN_COMMAND]].concat();
        assert_eq!(left, by_name, "granting, and running scripts inside a VM, is asked for by name");
        let named = of(&args(&["keyvault-permissions"], false, false)).needs();
        assert!(grants.iter().all(|action| named.iter().any(|need| need.action == *action)));
        let guest = of(&args(&["vss-services"], false, false)).needs();
        assert!(guest.iter().any(|need| need.action == crate::actions::permissions_needed::RUN_COMMAND));
        assert_eq!(of(&args(&["backup-now"], false, false)).actions().len(), 1);
        assert!(of(&args(&[], true, false)).actions().is_empty());
        assert_eq!(of(&args(&["unlock-backup-groups"], false, true)).actions().len(), 0);
        assert!(playbooks(&library, &args(&["backup-nw"], false, false)).is_err());
    }
}
