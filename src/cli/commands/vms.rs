//! `azmend vms`: which VMs are protected. It only reads (S1).

use crate::arm::Arm;
use crate::arm::id::check_name;
use crate::cli::args::VmsArgs;
use crate::cli::azure::Azure;
use crate::cli::candidates;
use crate::cli::error::{CliError, Kind};
use crate::cli::execute::Session;
use crate::engine::exit;
use crate::facts::inventory::{self, VaultError, Visible};
use crate::facts::unread::Unread;
use crate::report;

/// Lists.
///
/// # Errors
/// Wrong input, no sign-in, or interrupted; what cannot be read beyond that is said in the list.
pub async fn run(session: &Session, args: &VmsArgs) -> Result<u8, CliError> {
    check_subscriptions(session)?;
    if let Some(group) = &args.resource_group {
        let bad = |error: crate::arm::id::IdError| CliError::input(error.to_string()).code("bad_name");
        check_name("resource group", group).map_err(bad)?;
    }
    let azure = session.azure()?;
    let arm = azure.reader()?;
    let found = session
        .reading(Box::pin(async {
            let visible = visible(session, &azure, &arm).await?;
            session.printer.dim("reading VMs and the items of vaults");
            Ok(inventory::vms(&arm, &visible, args.resource_group.as_deref()).await)
        }))
        .await?;
    let Some(mut found) = found else {
        let group = args.resource_group.as_deref().unwrap_or_default();
        return Err(CliError::input(format!("no subscription that was read has a resource group {group:?}"))
            .code("group_not_found"));
    };
    let names = found.vms.iter().map(|vm| format!("{}/{}", vm.resource_group, vm.name));
    candidates::remember_vms(&session.settings.state_dir, session.settings.sandbox(), names);
    let all = found.vms.len();
    if args.unprotected {
        found.retain(inventory::VmRow::unprotected);
    }
    let code = code(&found.not_read);
    match session.printer.for_people() {
        true => session.printer.data(&report::vms::page(&found, all, session.printer.width())),
        false => {
            let report = report::vms::VmsReport::new(session.settings.sandbox(), code, &found);
            lines(session, &found.vms);
            session.printer.json(&report);
        }
    }
    tell_calls(&arm);
    Ok(code)
}

/// With jsonl each row is a line of its own; the whole object comes last.
pub fn lines<T: serde::Serialize>(session: &Session, rows: &[T]) {
    if session.printer.output() == crate::cli::settings::Output::Jsonl {
        for row in rows {
            session.printer.json(row);
        }
    }
}

/// The exit code of a list.
pub const fn code(not_read: &[Unread]) -> u8 {
    if not_read.is_empty() { exit::OK } else { exit::PARTIAL }
}

/// The number of requests, for those who ask for it.
pub fn tell_calls(arm: &Arm) {
    tracing::info!(calls = arm.calls(), "requests sent");
}

/// Refuses subscription names that cannot be.
///
/// # Errors
/// When a text cannot be a name.
pub fn check_subscriptions(session: &Session) -> Result<(), CliError> {
    Azure::check_subscriptions(&session.settings.subscriptions)
}

/// Signs in and finds the subscriptions.
///
/// # Errors
/// No sign-in, Azure does not answer, none is visible, or a named one is not there.
pub async fn visible(session: &Session, azure: &Azure, arm: &Arm) -> Result<Visible, CliError> {
    visible_of(azure, arm, &session.settings.subscriptions).await
}

/// Signs in and finds these subscriptions; all of them when none is named.
///
/// # Errors
/// As [`visible`].
pub async fn visible_of(azure: &Azure, arm: &Arm, named: &[String]) -> Result<Visible, CliError> {
    azure.visible(arm, named).await
}

/// A vault that was named and is not there.
pub fn no_vault(text: &str, error: VaultError) -> CliError {
    match error {
        VaultError::Bad(why) => CliError::input(why).code("bad_name"),
        VaultError::NotFound { near, unread: None } => {
            let error = CliError::input(format!("no visible vault is called {text:?}")).code("vault_not_found");
            if near.is_empty() { error } else { error.hint(format!("did you mean {}?", near.join(" or "))) }
        }
        VaultError::NotFound { unread: Some(unread), .. } => {
            CliError::new(Kind::Unread, format!("no vault that could be read is called {text:?}; not read: {unread}"))
                .code("not_listed")
                .hint("give the resource id of the vault")
        }
    }
}
