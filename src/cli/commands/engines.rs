//! `azmend engines`: Backup Server and DPM as the vaults know them. It only reads (S1).

use super::vms::{check_subscriptions, code, lines, no_vault, tell_calls, visible};
use crate::cli::args::EnginesArgs;
use crate::cli::error::CliError;
use crate::cli::execute::Session;
use crate::facts::inventory;
use crate::report;

/// Lists.
///
/// # Errors
/// Wrong input, no sign-in, or interrupted; what cannot be read beyond that is said in the list.
pub async fn run(session: &Session, args: &EnginesArgs) -> Result<u8, CliError> {
    check_subscriptions(session)?;
    let azure = session.azure()?;
    let arm = azure.reader()?;
    let vault = args.vault.as_deref();
    let found = session
        .reading(Box::pin(async {
            let visible = visible(session, &azure, &arm).await?;
            session.printer.dim("reading the backup engines of vaults");
            inventory::engines(&arm, &visible, vault, args.since.to_std())
                .await
                .map_err(|error| no_vault(vault.unwrap_or_default(), error))
        }))
        .await?;
    let code = code(&found.not_read);
    if session.printer.for_people() {
        session.printer.data(&report::engines::page(&found, session.printer.width()));
    } else {
        lines(session, &found.engines);
        session.printer.json(&report::engines::EnginesReport::new(session.settings.sandbox(), code, &found));
    }
    tell_calls(&arm);
    Ok(code)
}
