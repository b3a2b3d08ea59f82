//! `azmend backup --vm VM`: the playbook `backup-now` by its everyday name. All of it is `fix`'s.

use super::fix;
use crate::cli::args::{AlertArgs, BackupArgs, FixArgs, FleetArgs, FollowArg, GuardArgs, JitterArgs};
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
    FixArgs {
        playbook: Some("backup-now".to_owned()),
        vm: Some(args.vm),
        dry_run: args.dry_run,
        yes: args.yes,
        plan_out: args.plan_out,
        relock: false,
        allow_guest: false,
        set,
        max_changes: None,
        deadline: args.deadline,
        // The shipped playbook: a file of the user's cannot stand in for it here.
        playbooks: None,
        overrides: Vec::new(),
        locks: Vec::new(),
        fleet: FleetArgs::default(),
        // Only `fix` starts from alerts, on many machines, again and again.
        alert: AlertArgs::default(),
        jitter: JitterArgs::default(),
        guard: GuardArgs::default(),
    }
}
