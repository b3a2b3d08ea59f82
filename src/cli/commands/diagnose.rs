//! `azmend diagnose`: the checklist of one VM. It only reads (S1), inside the VM too.

use crate::api::diagnose::{DiagnoseOptions, check};
use crate::cli::args::DiagnoseArgs;
use crate::cli::commands::fix::library;
use crate::cli::error::CliError;
use crate::cli::execute::Session;
use crate::cli::settings::Output;
use crate::report;

/// Looks and says.
///
/// # Errors
/// Wrong input, no sign-in, or interrupted. What cannot be read is a line of the checklist.
pub async fn run(session: &Session, args: &DiagnoseArgs) -> Result<u8, CliError> {
    let library = library(session, args.playbooks.as_deref());
    let options = DiagnoseOptions {
        vm: args.vm.clone(),
        subscriptions: session.settings.subscriptions.clone(),
        code: args.code.clone(),
        job: args.job.clone(),
        network: args.network,
        locks: args.locks,
        allow_guest: args.allow_guest,
        playbooks: args.playbooks.clone(),
    };
    let request = check(&options)?;
    let azure = session.azure()?;
    let told = session.reading(Box::pin(request.read(&azure, &library, &session.notes()))).await?;
    if session.printer.output() == Output::Markdown {
        session.printer.data(&report::diagnosis::markdown(&told));
    } else if session.printer.for_people() {
        session.printer.data(&report::diagnosis::page(&told, session.printer.width()));
    } else {
        session.printer.json(&told);
    }
    Ok(told.exit_code)
}
