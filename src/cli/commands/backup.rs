//! `azmend backup --vm VM`: the playbook `backup-now` by its everyday name. All of it is `fix`'s.

use super::fix;
use crate::cli::args::{BackupArgs, FixArgs, FollowArg};
use crate::cli::error::CliError;
use crate::cli::execute::Session;

/// Plans, and unless told otherwise asks and backs up.
///
/// # Errors
/// Nothing was changed then.
pub async fn run(session: &Session, args: BackupArgs) -> Result<u8, CliError> {
    Box::pin(fix::run(session, as_fix(args))).await
}

fn as_fix(args: BackupArgs) -> FixArgs {
    let mut set = Vec::new();
    if let Some(retain) = args.retain {
        set.push(("retain".to_owned(), retain.to_string()));
    }
    if let Some(follow) = args.follow {
        let until = match follow {
            FollowArg::Snapshot => "snapshot",
            FollowArg::Job => "job",
        };
        set.push(("follow".to_owned(), until.to_owned()));
    }
    args.then.of("backup-now", args.vm, set)
}
