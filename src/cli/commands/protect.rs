//! `azmend protect --vm VM --vault V --policy P`: the playbook `unprotected-vm` by its everyday name. All of it is `fix`'s.

use super::fix;
use crate::cli::args::{AlertArgs, FixArgs, FleetArgs, GuardArgs, JitterArgs, ProtectArgs};
use crate::cli::error::CliError;
use crate::cli::execute::Session;

/// Plans, and unless told otherwise asks and protects.
///
/// # Errors
/// Nothing was changed then.
pub async fn run(session: &Session, args: ProtectArgs) -> Result<u8, CliError> {
    let fix = FixArgs {
        playbook: Some("unprotected-vm".to_owned()),
        vm: Some(args.vm),
        dry_run: args.dry_run,
        yes: args.yes,
        plan_out: args.plan_out,
        relock: false,
        set: vec![("vault".to_owned(), args.vault), ("policy".to_owned(), args.policy)],
        max_changes: None,
        deadline: args.deadline,
        // The shipped playbook: a file of the user's cannot stand in for it here.
        playbooks: None,
        allow_guest: false,
        overrides: Vec::new(),
        locks: Vec::new(),
        fleet: FleetArgs::default(),
        // Only `fix` starts from alerts, on many machines, again and again.
        alert: AlertArgs::default(),
        jitter: JitterArgs::default(),
        guard: GuardArgs::default(),
    };
    Box::pin(fix::run(session, fix)).await
}
