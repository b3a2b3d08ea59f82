//! `azmend apply PLAN`: a saved plan, only if it is unchanged, young enough and for this Azure.

use crate::api::fix::{one_too_many, world_now};
use crate::cli::args::ApplyArgs;
use crate::cli::error::CliError;
use crate::cli::execute::{Session, deadline};
use crate::cli::no_plan::NoPlan;
use crate::cli::{files, store};
use crate::engine::plan::{Plan, World};

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
    let state = store::open(&session.settings).await?;
    let azure = session.azure()?;
    let stop_at = deadline(&azure, args.deadline);
    // Its age counts before signing in, too.
    plan.check(azure.clock().now(), &plan.world)?;
    let world = session.reading(world_now(&azure, &plan)).await?;
    plan.check(azure.clock().now(), &world)?;
    if let Some(refused) = one_too_many(&azure, Some(&state), &plan, &world, args.guard.guard()).await {
        return Ok(session.finish(refused));
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
