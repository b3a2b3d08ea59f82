//! `azmend apply PLAN`: a saved plan, only if it is unchanged, young enough and for this Azure.

use super::fix;
use crate::cli::args::ApplyArgs;
use crate::cli::error::CliError;
use crate::cli::execute::{Session, deadline};
use crate::cli::no_plan::NoPlan;
use crate::cli::{files, store};
use crate::engine::earlier::is_task;
use crate::engine::plan::{Plan, World};
use crate::report::Subject;

/// The largest plan that is read.
const MAX_PLAN: u64 = 16 * 1024 * 1024;

/// Shows the plan, asks, makes the changes.
///
/// # Errors
/// Nothing was changed then.
pub async fn run(session: &Session, args: ApplyArgs) -> Result<u8, CliError> {
    let text = files::read_text(&args.plan, MAX_PLAN)?;
    if let Some(nothing) = NoPlan::parse(&text) {
        here(session, &nothing.world)?;
        let result = nothing.applied(session.azure()?.clock().now())?;
        return Ok(session.finish(result));
    }
    let plan = Plan::parse_file(&text)?;
    here(session, &plan.world)?;
    store::open(&session.settings).await?;
    let azure = session.azure()?;
    let stop_at = deadline(&azure, args.deadline);
    // Its age counts before signing in, too.
    plan.check(azure.clock().now(), &plan.world)?;
    let arm = azure.reader()?;
    let world = session
        .reading(async {
            azure.sign_in().await?;
            Ok(azure.world(&arm, plan.vm.subscription()).await)
        })
        .await?;
    plan.check(azure.clock().now(), &world)?;
    let now = azure.clock().now();
    let earlier = fix::earlier(session, &world, now, args.guard.guard()).await;
    if let Some(refusal) = earlier.one_too_many(&plan.vm, now).filter(|_| !is_task(&plan.playbook)) {
        let subject =
            Subject { world: &world, playbook: &plan.playbook, vm: plan.vm.as_str(), started: now, ended: now };
        return Ok(session.finish(subject.refused(&[refusal], Some(&plan))));
    }
    session.confirm(&plan, args.yes).await?;
    plan.check(azure.clock().now(), &world)?;
    session.start(&azure, plan, stop_at).await
}

/// Which world it is for is said before anything is sent to the wrong one.
fn here(session: &Session, world: &World) -> Result<(), CliError> {
    if !session.settings.elsewhere(world.sandbox) {
        return Ok(());
    }
    let here = if session.settings.sandbox() { "the sandbox" } else { "Azure" };
    let there = if world.sandbox { "the sandbox" } else { "Azure" };
    let hint = if world.sandbox { "apply it with --sandbox" } else { "apply it without --sandbox" };
    Err(CliError::refused(format!("the plan was made for {there}, this is {here}")).code("s13.world").hint(hint))
}
