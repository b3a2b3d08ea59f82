//! `azmend capture`: an estate for the sandbox out of what is there. It only reads (S1).

use crate::facts::unread::Unread;
use std::io;

use serde_json::json;

use crate::arm::ReadPost;
use crate::cli::args::CaptureArgs;
use crate::cli::azure::Azure;
use crate::cli::commands::{audit, vms};
use crate::cli::error::{CliError, Kind};
use crate::cli::execute::Session;
use crate::cli::files;
use crate::engine::exit;
use crate::facts::bulk;
use crate::facts::capture::{self, Captured, EstateText, Wanted};
use crate::sim::Estate;
use crate::spelling::near;
use crate::text::plural;
use crate::yaml::Diagnostic;

/// Reads and writes.
///
/// # Errors
/// Wrong input, no sign-in, interrupted, or a file that cannot be written; what cannot be read beyond that is said in the
/// file and in the exit code.
pub async fn run(session: &Session, args: &CaptureArgs) -> Result<u8, CliError> {
    // Everything that was typed is checked before anything is sent.
    vms::check_subscriptions(session)?;
    let selection = audit::selection_of(args.resource_group.as_deref(), &args.tag, args.vault.as_deref())?;
    args.vm.iter().try_for_each(|vm| Azure::check_names(vm, &session.settings.subscriptions))?;
    if args.out.is_dir() {
        return Err(CliError::io(format!("{} is a directory", args.out.display())));
    }
    if !args.force && args.out.symlink_metadata().is_ok() {
        return Err(taken(args));
    }
    let azure = session.azure()?;
    let arm = azure.reader_with(&[ReadPost::ResourceGraph])?;
    let read = session.reading(Box::pin(async {
        let visible = vms::visible(session, &azure, &arm).await?;
        let mut wanted = Wanted { selection, vms: Vec::new(), collector: None };
        for vm in &args.vm {
            wanted.vms.push(azure.find_vm(&arm, vm, &session.settings.subscriptions).await?);
        }
        session.printer.dim("reading VMs, vaults, restore points, recovery points and locks");
        let (captured, bulk) =
            Box::pin(capture::read(&arm, &visible, &wanted)).await.map_err(|failed| CliError::from(failed.0))?;
        if bulk::vault_is_known(&bulk) == Some(false) {
            let text = args.vault.as_deref().unwrap_or_default();
            let names = near(text, bulk.vaults.iter().map(|vault| vault.id.name()));
            let error = CliError::input(format!("no visible vault is called {text:?}")).code("vault_not_found");
            let hint = format!("did you mean {}?", names.join(" or "));
            return Err(if names.is_empty() { error } else { error.hint(hint) });
        }
        if bulk::group_is_known(&bulk) == Some(false) {
            let text = args.resource_group.as_deref().unwrap_or_default();
            let why = format!("no subscription that was read has a resource group {text:?}");
            return Err(CliError::input(why).code("group_not_found"));
        }
        Ok(captured)
    }));
    let mut captured = read.await?;
    if args.anonymize {
        captured.anonymize(&mut || uuid::Uuid::new_v4().as_u128());
    }
    // After the names are gone: what is printed goes into a ticket as easily as the file.
    let not_read = captured.not_read.clone();
    let estate = captured.text();
    check(&estate)?;
    write(args, &estate)?;
    let whole = not_read.is_empty() && estate.left_out.is_empty();
    let code = if whole { exit::OK } else { exit::PARTIAL };
    for line in &not_read {
        session.printer.warn(&format!("not read: {}: {}", line.what, line.why));
    }
    for line in &estate.left_out {
        let which = if line.which.is_empty() { String::new() } else { format!(": {}", line.which) };
        session.printer.warn(&format!("not captured: {}{which}", line.what));
    }
    tell(session, args, &captured, &estate, &not_read, code);
    vms::tell_calls(&arm);
    Ok(code)
}

fn taken(args: &CaptureArgs) -> CliError {
    CliError::io(format!("{} already exists", args.out.display()))
        .hint("choose another name, or replace it with --force")
}

/// What was written must load: what does not is not left behind as a file. It may be too large; anything else is a bug.
fn check(estate: &EstateText) -> Result<(), CliError> {
    Estate::parse(&estate.text, "the captured estate").map(drop).map_err(|errors| unloadable(&errors))
}

fn unloadable(errors: &[Diagnostic]) -> CliError {
    if let Some(error) = errors.iter().find(|error| error.too_large) {
        let why = format!("the sandbox cannot load an estate this large, so nothing was written: {}", error.message);
        return CliError::input(why).code("estate_too_large").hint(
            "capture a part of it: --subscription, --resource-group, --tag, --vault or --vm; nothing in Azure was changed",
        );
    }
    let first = errors.first().map(ToString::to_string).unwrap_or_default();
    CliError::new(Kind::Bug, format!("the captured estate does not load, so nothing was written: {first}"))
        .hint("nothing in Azure was changed; please report this line")
}

fn write(args: &CaptureArgs, estate: &EstateText) -> Result<(), CliError> {
    if args.force {
        return files::write_private(&args.out, &estate.text);
    }
    // Written whole beside its place, then linked to a name that must still be free.
    files::write_private_new(&args.out, &estate.text).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => taken(args),
        _ => CliError::io(format!("cannot write {}: {}", args.out.display(), crate::text::io_words(&error))),
    })
}

fn tell(
    session: &Session,
    args: &CaptureArgs,
    captured: &Captured,
    estate: &EstateText,
    not_read: &[Unread],
    code: u8,
) {
    let vms = captured.vms.iter().filter(|vm| vm.whole).count();
    if !session.printer.for_people() {
        let left_out = estate.left_out.iter().map(|line| json!({ "what": line.what, "which": line.which }));
        session.printer.json(&json!({
            "schema": "azmend.capture/v1", "status": if code == exit::OK { "succeeded" } else { "partial" },
            "exit_code": code, "sandbox": session.settings.sandbox(), "estate": args.out, "anonymized": captured.anonymized,
            "as_of": captured.now, "subscriptions": captured.subscriptions.len(), "vms": vms,
            "vaults": captured.vaults.len(), "items": captured.items.len(), "collections": captured.collections.len(),
            "locks": captured.locks.len(), "not_read": not_read, "left_out": left_out.collect::<Vec<_>>(),
        }));
    } else {
        let line = format!(
            "{}, {}, {} and {} written to {}",
            plural(vms, "VM"),
            plural(captured.vaults.len(), "vault"),
            plural(captured.collections.len(), "restore point collection"),
            plural(captured.locks.len(), "lock"),
            args.out.display()
        );
        session.printer.data(&line);
    }
    if captured.anonymized {
        session.printer.dim("names, GUIDs, tags, notes and messages were replaced; regions, sizes and times were not");
    }
    session.printer.dim(&format!("use it with: azmend --sandbox={} audit", args.out.display()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::MAX_BYTES;

    #[test]
    fn an_estate_that_is_too_large_is_no_bug() {
        let estate = EstateText { text: "#".repeat(MAX_BYTES + 1), left_out: Vec::new() };
        let error = check(&estate).unwrap_err();
        assert_eq!((error.kind, error.exit_code()), (Kind::Input, exit::INPUT));
        assert!(error.message.contains("128 MB"), "{}", error.message);
        assert!(error.hints.iter().any(|hint| hint.contains("--resource-group")));
        let estate = EstateText { text: "apiVersion: 1\n".to_owned(), left_out: Vec::new() };
        assert_eq!(check(&estate).unwrap_err().kind, Kind::Bug);
    }
}
