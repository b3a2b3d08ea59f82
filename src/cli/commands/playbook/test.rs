//! `azmend playbook test FILE --estate ESTATE`: what the playbook would do on each VM. Offline, on a fresh embedded Azure: nothing
//! real is read, and nothing of the sandbox is kept.

use std::collections::BTreeSet;

use crate::arm::{CallPurpose, ResourceId};
use crate::cli::args::TestArgs;
use crate::cli::azure::Azure;
use crate::cli::commands::fix::{check_parameters, parameters, reads_more};
use crate::cli::commands::sandbox;
use crate::cli::error::{CliError, Kind};
use crate::cli::execute::Session;
use crate::cli::settings::{EstateSource, Output};
use crate::engine::fleet::MAX_CHANGES_OF_ONE;
use crate::engine::planner::{PlanRequest, Planned};
use crate::engine::rehearsal::{CameTo, REHEARSAL_SCHEMA, Rehearsal, TestedVm, rehearse, subjects};
use crate::engine::result::Status;
use crate::engine::{Earlier, exit};
use crate::playbook::{Playbook, source};
use crate::report::{Subject, rehearsal};
use crate::sim::World;
use crate::spelling::near;
use crate::text::{io_words, plural};
use crate::yaml::{self, Limits};

/// Tests the playbook.
///
/// # Errors
/// When the file is not a playbook, the estate not an estate, or no VM has the name.
pub fn run(session: &Session, args: &TestArgs) -> Result<u8, CliError> {
    let file = args.file.display().to_string();
    let read = yaml::read_file(&args.file, &Limits::default()).and_then(|text| source::read(&text, &file));
    let playbook = read.map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        CliError::input(format!("{file} is not a valid playbook:\n{}", lines.join("\n"))).code("playbook_invalid")
    })?;
    let set = parameters(&args.set)?;
    check_parameters(&playbook, &set, false)?;
    let source = args.estate.clone().map_or_else(|| sandbox::source(session), EstateSource::File);
    let azure = Azure::rehearsal(&source)?;
    let world =
        azure.sandbox.as_ref().map(|sandbox| sandbox.sim.world()).unwrap_or_else(|| World::empty(azure.clock().now()));
    let vms = chosen(&world, &args.vm)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::io(format!("cannot start: {}", io_words(&error))))?;
    let tested = runtime.block_on(session.reading(Box::pin(async {
        let mut tested = Vec::new();
        for vm in &vms {
            tested.push(one(&azure, &playbook, &set, vm, args.allow_guest).await?);
        }
        Ok(tested)
    })))?;
    Ok(show(session, &playbook, file, &world.name, tested))
}

/// The VMs of the estate that are meant.
fn chosen(world: &World, wanted: &[String]) -> Result<Vec<ResourceId>, CliError> {
    let all: Vec<ResourceId> = world.vms.iter().map(|vm| vm.id.clone()).collect();
    let named = world.items.iter().map(|item| &item.vm).chain(world.collections.iter().map(|one| &one.source));
    let named = named.filter(|id| id.is_type("Microsoft.Compute/virtualMachines")).cloned();
    let all = subjects(&all, named);
    if wanted.is_empty() {
        return Ok(all);
    }
    let is = |id: &ResourceId, text: &str| {
        id.name().eq_ignore_ascii_case(text)
            || id.short_name().eq_ignore_ascii_case(text)
            || id.as_str().eq_ignore_ascii_case(text)
    };
    for text in wanted {
        if !all.iter().any(|id| is(id, text)) {
            let names = near(text, all.iter().map(ResourceId::name));
            let error = CliError::input(format!("the estate has no VM {text:?}")).code("vm_not_found");
            return Err(if names.is_empty() {
                error
            } else {
                error.hint(format!("did you mean {}?", names.join(" or ")))
            });
        }
    }
    Ok(all.into_iter().filter(|id| wanted.iter().any(|text| is(id, text))).collect())
}

/// One VM.
async fn one(
    azure: &Azure,
    playbook: &Playbook,
    set: &std::collections::BTreeMap<String, String>,
    vm: &ResourceId,
    allow_guest: bool,
) -> Result<(TestedVm, Planned), CliError> {
    let started = azure.clock().now();
    let arm = azure.reader_within(reads_more(Some(playbook)), allow_guest)?.for_one_reading();
    let arm = arm.for_purpose(CallPurpose::Planning);
    let world = azure.world(&arm, vm.subscription()).await;
    let request = PlanRequest {
        playbook,
        set: set.clone(),
        vm: vm.clone(),
        overrides: BTreeSet::new(),
        named_locks: Vec::new(),
        relock: false,
        allow_guest,
        max_changes: MAX_CHANGES_OF_ONE,
        world: world.clone(),
        why: None,
        earlier: Earlier::default(),
    };
    let (conditions, planned) = rehearse(&arm, &request).await;
    let ended = azure.clock().now();
    let subject = Subject { world: &world, playbook: playbook.name(), vm: vm.as_str(), started, ended };
    let result = match &planned {
        Planned::Plan(plan) => crate::engine::RunResult { next: None, ..subject.planned(plan, String::new()) },
        Planned::NothingToDo { view, why, not_read, warnings } => subject.nothing(view, why, not_read, warnings),
        Planned::NotChecked { unread, view } => subject.not_checked(view, unread),
        Planned::Waiting { why, wait, view } => subject.waiting(view, why, *wait),
        Planned::Refused { refusals, plan } => subject.refused(refusals, plan.as_deref()),
        Planned::Input(errors) => CliError::new(Kind::Input, errors.join("; ")).code("condition").result(true),
    };
    let result = crate::engine::RunResult { vm: Some(vm.to_string()), ..result };
    Ok((TestedVm { name: vm.short_name(), conditions, result }, planned))
}

/// Those with something to do first, those that it does not apply to last.
fn rank(vm: &TestedVm) -> u8 {
    let applies = vm.conditions.first().map(|seen| seen.came_to);
    match (vm.result.status, applies) {
        (Status::Planned, _) => 0,
        (Status::Refused, _) => 1,
        (Status::NothingToDo, Some(CameTo::False)) => 4,
        (Status::NothingToDo, _) => 3,
        _ => 2,
    }
}

fn show(
    session: &Session,
    playbook: &Playbook,
    file: String,
    estate: &str,
    mut tested: Vec<(TestedVm, Planned)>,
) -> u8 {
    tested.sort_by_key(|(vm, _)| rank(vm));
    let (vms, planned): (Vec<TestedVm>, Vec<Planned>) = tested.into_iter().unzip();
    let rehearsal = Rehearsal {
        schema: REHEARSAL_SCHEMA.to_owned(),
        exit_code: vms.iter().map(|vm| vm.result.exit_code).fold(exit::OK, exit::worst),
        playbook: playbook.name().to_owned(),
        file,
        estate: estate.to_owned(),
        vms,
    };
    match session.printer.output() {
        Output::Table => session.printer.data(&rehearsal::page(&rehearsal, &planned, session.printer.width())),
        Output::Jsonl => {
            rehearsal.vms.iter().for_each(|vm| session.printer.json(vm));
            session.printer.json(&rehearsal);
        }
        _ => session.printer.json(&rehearsal),
    }
    let count = |wanted: u8| rehearsal.vms.iter().filter(|vm| rank(vm) == wanted).count();
    let (all, change, refused) = (rehearsal.vms.len(), count(0), count(1));
    let refused = if refused > 0 { format!(", {refused} refused") } else { String::new() };
    let open = if count(2) > 0 { format!(", {} not checked", count(2)) } else { String::new() };
    session
        .printer
        .note(&format!("{change} of {} would be changed{refused}{open}; nothing was changed", plural(all, "VM")));
    rehearsal.exit_code
}
