//! `azmend engines`: Backup Server and DPM as the vaults know them. It only reads (S1).

use super::vms::{check_subscriptions, code, lines, no_vault, tell_calls, visible};
use crate::cli::args::EnginesArgs;
use crate::cli::error::CliError;
use crate::cli::execute::Desk;
use crate::estate::inventory;
use crate::report;

/// Lists.
///
/// # Errors
/// Wrong input, no sign-in, or interrupted; what cannot be read beyond that is said in the list.
pub async fn run(desk: &Desk, args: &EnginesArgs) -> Result<u8, CliError> {
    check_subscriptions(desk)?;
    let azure = desk.azure()?;
    let arm = azure.reader()?;
    let vault = args.vault.as_deref();
    let found = desk
        .reading(Box::pin(async {
            let visible = visible(desk, &azure, &arm).await?;
            desk.printer.dim("reading the backup engines of vaults");
            inventory::engines(&arm, &visible, vault, args.since.to_std())
                .await
                .map_err(|error| no_vault(vault.unwrap_or_default(), error))
        }))
        .await?;
    let code = code(&found.not_read);
    if desk.printer.for_people() {
        desk.printer.data(&report::engines::page(&found, desk.printer.width()));
    } else {
        lines(desk, &found.engines);
        desk.printer.json(&report::engines::EnginesReport::new(desk.settings.sandbox(), code, &found));
    }
    tell_calls(&arm);
    Ok(code)
}
