//! `azmend protect --vm VM --vault V --policy P`: the playbook `unprotected-vm` by its everyday name. All of it is `fix`'s.

use super::fix;
use crate::cli::args::ProtectArgs;
use crate::cli::error::CliError;
use crate::cli::execute::Session;

/// Plans, and unless told otherwise asks and protects.
///
/// # Errors
/// Nothing was changed then.
pub async fn run(session: &Session, args: ProtectArgs) -> Result<u8, CliError> {
    let set = vec![("vault".to_owned(), args.vault), ("policy".to_owned(), args.policy)];
    Box::pin(fix::run(session, args.then.of("unprotected-vm", args.vm, set))).await
}
