//! `azmend sandbox list | show | init | reset`.

use serde_json::{Value, json};

use super::runs::forget_sandbox_runs;
use crate::cli::args::SandboxCommand;
use crate::cli::azure::Sandbox;
use crate::cli::error::CliError;
use crate::cli::execute::Session;
use crate::cli::files;
use crate::cli::settings::{EstateSource, Output, Place};
use crate::engine::exit;
use crate::report::layout::{BAD, BOLD, DIM, Page, paint};
use crate::report::lists::{Column, laid_out, table};
use crate::sim::{Estate, HandlerState, Job, JobStatus, Protection, Vm, World};
use crate::text::{io_words, plural, utc};

/// Runs the command.
///
/// # Errors
/// When the estate or the kept world cannot be used.
pub async fn run(session: &Session, command: SandboxCommand) -> Result<u8, CliError> {
    let source = source(session);
    match command {
        SandboxCommand::List => {
            list(session, &Sandbox::open(&source, &session.settings.state_dir)?.sim.world());
            Ok(exit::OK)
        }
        SandboxCommand::Show => {
            show(session, &Sandbox::open(&source, &session.settings.state_dir)?.sim.world());
            Ok(exit::OK)
        }
        SandboxCommand::Init { file } => {
            files::write_new(&file, Estate::built_in_text()).map_err(|error| {
                let out = CliError::io(format!("cannot write {}: {}", file.display(), io_words(&error)));
                if error.kind() == std::io::ErrorKind::AlreadyExists { out.hint("choose another name") } else { out }
            })?;
            if !session.printer.for_people() {
                session.printer.json(&json!({ "schema": "azmend.sandbox/v1", "estate": file }));
            }
            session
                .printer
                .sentence(&format!("written; use it with: azmend --sandbox={} sandbox list", file.display()));
            Ok(exit::OK)
        }
        SandboxCommand::Reset => {
            // A kept world that cannot be read any more is a reason to reset, not an obstacle.
            let (dir, digest) = Sandbox::place(&source, &session.settings.state_dir)?;
            let world = Sandbox::forget(&dir)?;
            let runs = forget_sandbox_runs(session, &digest).await?;
            if session.printer.for_people() {
                let state = if world { "the sandbox was reset to its estate" } else { "the sandbox was not used" };
                session.printer.data(&format!("{state}; {} deleted", plural(runs, "run")));
            } else {
                session.printer.json(&json!({ "schema": "azmend.sandbox/v1", "reset": world, "runs_forgotten": runs }));
            }
            Ok(exit::OK)
        }
        // It waits for clients: the caller runs it.
        SandboxCommand::Serve(_) => Ok(exit::BUG),
    }
}

/// The estate that the sandbox commands are about.
pub fn source(session: &Session) -> EstateSource {
    match &session.settings.place {
        Place::Sandbox(source) => source.clone(),
        Place::Azure(_) => EstateSource::BuiltIn,
    }
}

/// What is wrong with a VM, as somebody who looks at the world itself sees it, and what to try.
fn problems(world: &World, vm: &Vm) -> Vec<String> {
    let mut out = Vec::new();
    let mut jobs: Vec<&Job> =
        world.jobs.iter().filter(|job| world.item(&job.item).is_some_and(|i| i.vm == vm.id)).collect();
    jobs.sort_by_key(|job| std::cmp::Reverse(job.started));
    let item = world.item_of(&vm.id);
    let policy = item.and_then(|item| item.policy.as_ref()).and_then(|id| world.policy(id));
    let points = world.succeeded_points(&vm.id);
    if let Some(policy) = policy
        && points > policy.point_limit()
    {
        out.push(format!("{points} restore points (limit {})", policy.point_limit()));
    }
    if vm.vmsnapshot.as_ref().is_some_and(|handler| handler.state == HandlerState::Failed) {
        out.push("VMSnapshot failed".to_owned());
    }
    if !vm.provisioned {
        out.push("provisioning failed".to_owned());
    }
    let locks = world
        .locks
        .iter()
        .filter(|lock| {
            let scope = lock.id.scope().unwrap_or_else(|| lock.id.clone());
            world.collections_of(&vm.id).any(|collection| scope.covers(&collection.id))
        })
        .count();
    match item.map(|item| item.protection) {
        None => out.push("not backed up".to_owned()),
        Some(Protection::Stopped | Protection::Suspended) => out.push("protection stopped".to_owned()),
        Some(Protection::SoftDeleted) => out.push("backup soft-deleted".to_owned()),
        Some(Protection::Protected | Protection::Pending | Protection::Error) => {}
    }
    if jobs.iter().any(|job| matches!(job.status, JobStatus::InProgress | JobStatus::Cancelling)) {
        out.push("a job is running".to_owned());
    } else if let Some(error) =
        jobs.first().filter(|job| job.status == JobStatus::Failed).and_then(|job| job.error.as_ref())
    {
        out.insert(0, error.title.clone());
    }
    // A lock alone is nothing wrong; with something wrong it is what stands in the way.
    if locks > 0 && !out.is_empty() {
        out.push(format!("{} on its points", plural(locks, "lock")));
    }
    out
}

fn list(session: &Session, world: &World) {
    let vms: Vec<(&Vm, Vec<String>)> = world.vms.iter().map(|vm| (vm, problems(world, vm))).collect();
    match session.printer.output() {
        Output::Table => {
            let row = |(vm, problems): &(&Vm, Vec<String>)| {
                let problems = if problems.is_empty() { "healthy".to_owned() } else { problems.join(", ") };
                vec![vm.id.name().to_owned(), vm.id.resource_group().unwrap_or_default().to_owned(), problems]
            };
            let rows: Vec<Vec<String>> = vms.iter().map(row).collect();
            let columns = [Column::Id("vm"), Column::Id("group"), Column::Text("what is wrong")];
            session.printer.data(&table(&columns, &rows, session.printer.width()));
            session.printer.dim("try: azmend --sandbox fix rp-collection-limit --vm web-01");
        }
        Output::Json => {
            let list: Vec<Value> = vms.iter().map(|(vm, problems)| object(vm, problems)).collect();
            session
                .printer
                .json(&json!({ "schema": "azmend.sandbox/v1", "name": world.name, "now": world.now, "vms": list }));
        }
        _ => vms.iter().for_each(|(vm, problems)| session.printer.json(&object(vm, problems))),
    }
}

fn object(vm: &Vm, problems: &[String]) -> Value {
    json!({ "id": vm.id, "name": vm.id.name(), "group": vm.id.resource_group(), "problems": problems })
}

fn show(session: &Session, world: &World) {
    if !session.printer.for_people() {
        let locks: Vec<Value> = world
            .locks
            .iter()
            .map(|lock| json!({ "id": lock.id, "level": lock.level.as_str(), "notes": lock.notes, "owners": lock.owners }))
            .collect();
        let collections: Vec<Value> = world
            .collections
            .iter()
            .map(|c| json!({ "id": c.id, "source": c.source, "points": c.points.len() }))
            .collect();
        let jobs: Vec<Value> = world
            .jobs
            .iter()
            .map(|job| {
                let vm = world.item(&job.item).map(|item| item.vm.clone());
                let error = job.error.as_ref().map(|error| error.title.clone());
                json!({ "name": job.name, "vm": vm, "operation": job.operation, "status": status(job.status), "started": job.started, "error": error })
            })
            .collect();
        session.printer.json(&json!({
            "schema": "azmend.sandbox/v1",
            "name": world.name,
            "now": world.now,
            "locks": locks,
            "collections": collections,
            "jobs": jobs,
        }));
        return;
    }
    session.printer.data(&page(world, session.printer.width()));
}

/// The world for people.
fn page(world: &World, width: usize) -> String {
    let mut page = Page::new(width);
    let (vms, vaults) = (plural(world.vms.len(), "VM"), plural(world.vaults.len(), "vault"));
    let about = format!("  at {}: {vms}, {vaults}", utc(world.now));
    page.spans("", 0, &[(BOLD, &world.name), (DIM, &about)]);
    page.gap();
    let locks: Vec<Vec<String>> = world
        .locks
        .iter()
        .map(|lock| {
            let scope = lock.id.scope().unwrap_or_else(|| lock.id.clone());
            let on = if scope.is_type("subscription") {
                let named = world.subscriptions.iter().find(|one| one.id.eq_ignore_ascii_case(scope.subscription()));
                format!("subscription {}", named.map_or(scope.subscription(), |one| one.name.as_str()))
            } else {
                scope.short_name()
            };
            vec![lock.id.name().to_owned(), lock.level.as_str().to_owned(), on, lock.notes.clone().unwrap_or_default()]
        })
        .collect();
    let columns = [Column::Id("lock"), Column::Id("level"), Column::Text("on"), Column::Text("notes")];
    page.line(&table(&columns, &locks, width));
    page.gap();
    let collections: Vec<Vec<String>> = world
        .collections
        .iter()
        .map(|c| {
            vec![
                c.id.name().to_owned(),
                c.id.resource_group().unwrap_or_default().to_owned(),
                c.points.len().to_string(),
            ]
        })
        .collect();
    let columns = [Column::Id("collection"), Column::Id("group"), Column::Id("points")];
    page.line(&table(&columns, &collections, width));
    page.gap();
    jobs(&mut page, world, width);
    page.finish()
}

/// The newest jobs, each with its error under it.
fn jobs(page: &mut Page, world: &World, width: usize) {
    let mut jobs: Vec<&Job> = world.jobs.iter().collect();
    jobs.sort_by_key(|job| std::cmp::Reverse(job.started));
    jobs.truncate(20);
    let rows: Vec<Vec<String>> = jobs
        .iter()
        .map(|job| {
            vec![
                world.item(&job.item).map(|item| item.vm.name().to_owned()).unwrap_or_default(),
                job.operation.clone(),
                status(job.status).to_owned(),
                utc(job.started),
            ]
        })
        .collect();
    let columns = [Column::Id("vm"), Column::Text("job"), Column::Id("status"), Column::Id("started")];
    let (heading, blocks) = laid_out(&columns, &rows, width);
    heading.iter().for_each(|line| page.line(&paint(BOLD, line)));
    for (job, block) in jobs.iter().zip(blocks) {
        block.iter().for_each(|line| page.line(line));
        if let Some(error) = &job.error {
            page.item("    ", BAD, &error.title);
        }
    }
}

const fn status(status: JobStatus) -> &'static str {
    match status {
        JobStatus::InProgress => "InProgress",
        JobStatus::Cancelling => "Cancelling",
        JobStatus::Cancelled => "Cancelled",
        JobStatus::Completed => "Completed",
        JobStatus::CompletedWithWarnings => "CompletedWithWarnings",
        JobStatus::Failed => "Failed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_estate_shows_its_problems() {
        let world = World::from_estate(&Estate::built_in());
        let of = |name: &str| problems(&world, world.vm_named(name).unwrap());
        let web = of("web-01");
        assert!(web.iter().any(|p| p.contains("restore points (limit 18)")), "{web:?}");
        assert!(web.iter().any(|p| p.contains("UserErrorRpCollectionLimitReached")), "{web:?}");
        assert!(web.iter().any(|p| p.contains("lock")), "{web:?}");
        assert_eq!(of("ok-07"), Vec::<String>::new());
        assert!(of("busy-08").iter().any(|p| p == "a job is running"));
    }
}
