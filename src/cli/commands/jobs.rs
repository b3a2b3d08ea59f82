//! `azmend jobs`: the jobs of vaults, and one job followed to its end. It only reads (S1): to stop watching stops no job.

use std::time::Duration;

use super::vms::{check_subscriptions, code, lines, no_vault, tell_calls, visible};
use crate::api::alert::one_of;
use crate::arm::model::WatchedJob;
use crate::arm::{Arm, ResourceId};
use crate::cli::args::JobsArgs;
use crate::cli::azure::Azure;
use crate::cli::error::{CliError, Kind};
use crate::cli::execute::Session;
use crate::cli::interrupt;
use crate::clock::elapsed;
use crate::engine::exit;
use crate::facts::inventory::{self, JobRow, JobsAsked};
use crate::report;
use crate::report::jobs::{JobsReport, Watching};

/// A job is read no faster than this, and half as often after a while: Azure rations the reads of jobs per vault and hour.
const POLL: Duration = Duration::from_secs(30);
const SLOW_POLL: Duration = Duration::from_secs(60);
const SLOW_AFTER: Duration = Duration::from_secs(600);
/// The shortest beginning of a job's id.
const SHORTEST: usize = 4;

/// Lists, or follows.
///
/// # Errors
/// Wrong input, no sign-in, or interrupted; what cannot be read beyond that is said in the list.
pub async fn run(session: &Session, args: &JobsArgs) -> Result<u8, CliError> {
    check_subscriptions(session)?;
    if let Some(vm) = &args.vm {
        Azure::check_names(vm, &session.settings.subscriptions)?;
    }
    let wanted = args.follow.as_deref().map(Wanted::parse).transpose()?;
    let azure = session.azure()?;
    let arm = azure.reader()?;
    if let Some(Wanted::Id(id)) = wanted {
        session.reading(azure.sign_in()).await?;
        return follow(session, &arm, &id).await;
    }
    let found = session
        .reading(Box::pin(async {
            let visible = visible(session, &azure, &arm).await?;
            session.printer.dim("reading the jobs of vaults");
            let asked = JobsAsked {
                vm: args.vm.clone(),
                vault: args.vault.clone(),
                failed: args.failed,
                running: args.running,
                since: args.since.to_std(),
            };
            inventory::jobs(&arm, &visible, &asked)
                .await
                .map_err(|error| no_vault(args.vault.as_deref().unwrap_or_default(), error))
        }))
        .await?;
    if let Some(Wanted::Beginning(text)) = wanted {
        return follow(session, &arm, &one_of(&found, &text)?).await;
    }
    let code = code(&found.not_read);
    if session.printer.for_people() {
        session.printer.data(&report::jobs::page(&found, session.printer.width()));
    } else {
        lines(session, &found.jobs);
        session.printer.json(&JobsReport::list(session.settings.sandbox(), code, &found));
    }
    tell_calls(&arm);
    Ok(code)
}

/// The job that is meant.
#[derive(Debug)]
enum Wanted {
    Id(ResourceId),
    Beginning(String),
}

impl Wanted {
    fn parse(text: &str) -> Result<Self, CliError> {
        let bad = |why: String| {
            Err(CliError::input(why).code("bad_name").hint("`azmend jobs` shows the first characters of each job's id"))
        };
        if text.contains('/') {
            return match ResourceId::parse(text) {
                Ok(id) if id.is_type("Microsoft.RecoveryServices/vaults/backupJobs") => Ok(Self::Id(id)),
                Ok(id) => bad(format!("this is the id of a {}, not of a backup job", id.resource_type())),
                Err(error) => bad(error.to_string()),
            };
        }
        if text.chars().count() < SHORTEST || !text.chars().all(|c| c.is_ascii_hexdigit() || c == '-') {
            return bad(format!("{text:?} is not the start of a job's id: give at least {SHORTEST} of its digits"));
        }
        Ok(Self::Beginning(text.to_ascii_lowercase()))
    }
}

/// Reads the job again and again until it has ended, or somebody stops the watching.
async fn follow(session: &Session, arm: &Arm, id: &ResourceId) -> Result<u8, CliError> {
    let began = arm.clock().now();
    let mut last: Option<JobRow> = None;
    let watch = async {
        let mut told = String::new();
        loop {
            let WatchedJob { job, percent } = arm.watched_job(id).await.map_err(|error| lost(id, error.into()))?;
            let now = arm.clock().now();
            let row = JobRow::of(&job, percent, now);
            let line = report::jobs::progress(&row);
            if line != told {
                session.printer.dim(&format!("{} {line}", report::jobs::clock(now)));
                lines(session, std::slice::from_ref(&row));
                told = line;
            }
            // A status that azmend does not know has ended when Azure says when.
            let ended = !job.running() && (job.end.is_some() || report::jobs::is_final(&job.status));
            last = Some(row);
            if ended {
                return Ok::<(), CliError>(());
            }
            let pause = if elapsed(began, now) < SLOW_AFTER { POLL } else { SLOW_POLL };
            arm.clock().sleep(pause).await;
        }
    };
    let watching = tokio::select! {
        biased;
        out = watch => { out?; Watching::Ended }
        () = interrupt::signal() => Watching::Interrupted,
    };
    tell_calls(arm);
    let Some(row) = last else {
        return Err(CliError::new(Kind::ComeBack, "interrupted; the job continues").code("interrupted"));
    };
    let code = match watching {
        Watching::Interrupted => exit::COME_BACK,
        Watching::Ended if report::jobs::is_good(&row.status) => exit::OK,
        Watching::Ended => exit::STILL_FAILS,
    };
    if watching == Watching::Interrupted {
        session.printer.say("stopped watching: the job continues in Azure");
    }
    if session.printer.for_people() {
        session.printer.data(&report::jobs::one(&row, watching, session.printer.width()));
    } else {
        session.printer.json(&JobsReport::followed(
            session.settings.sandbox(),
            code,
            &row,
            watching,
            arm.clock().now(),
        ));
    }
    Ok(code)
}

/// An error while watching: the job itself goes on.
fn lost(id: &ResourceId, mut error: CliError) -> CliError {
    error.message = format!("the job {} could not be read, so its result is unknown: {}", id.name(), error.message);
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_named_by_its_id_or_the_beginning_of_it() {
        let vault = "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/rg/providers/Microsoft.RecoveryServices/vaults/v";
        assert!(matches!(Wanted::parse(&format!("{vault}/backupJobs/1f2e")), Ok(Wanted::Id(_))));
        assert!(matches!(Wanted::parse("1F2e-"), Ok(Wanted::Beginning(text)) if text == "1f2e-"));
        for text in ["", "1f2", "xyzw", "../..", vault, "1f2e\u{1b}"] {
            assert_eq!(Wanted::parse(text).unwrap_err().exit_code(), 2, "{text}");
        }
    }
}
