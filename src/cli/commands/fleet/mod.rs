//! `azmend fix PLAYBOOK --all`: the same repair on many VMs. One plan each, one question, waves, one summary.
//!
//! Duty: from what was typed to [`crate::engine::fleet`] and back. Everything about one VM is `fix`'s: the same planner, the
//! same runs, the same journal. Must never: change anything that was not in the plans that were shown, or begin a VM after
//! something said stop.

mod launch;
mod progress;
mod retry;
mod scope;
mod show;

use std::cell::RefCell;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt as _;
use futures::stream;

use self::scope::Wanted;
use super::fix::{self, AUTO};
use super::vms;
use crate::actions::change::ChangeKind;
use crate::actions::locks::RemoveLock;
use crate::actions::spec::ActionName;
use crate::api::fix::earlier;
use crate::arm::{Arm, ReadPost, ResourceId};
use crate::cli::args::FixArgs;
use crate::cli::azure::Azure;
use crate::cli::confirm::confirm;
use crate::cli::error::{CliError, Kind};
use crate::cli::execute::{Session, deadline};
use crate::cli::jitter;
use crate::cli::store;
use crate::engine::choose::choose;
use crate::engine::exit;
use crate::engine::fleet::result::{Counts, FLEET_SCHEMA, FleetResult, NotPlanned, Sums, Unplanned};
use crate::engine::fleet::{DEFAULT_MAX_CHANGES, Limits, MAX_CHANGES_OF_ONE, concerns};
use crate::engine::plan::{Plan, World};
use crate::engine::planner::{PlanRequest, Planned, plan_of, view_of};
use crate::engine::result::{ErrorResult, Status};
use crate::facts::collect::{CollectOptions, collect};
use crate::facts::vm_facts::Part;
use crate::journal::State;
use crate::playbook::Playbook;
use crate::playbook::library::Library;
use crate::playbook::model::{Severity, Step};
use crate::report::fleet as page;
use crate::report::{self, Subject};
use crate::text::{plural, shell_quote};

pub use show::{forget_fleets_without_runs, show};

/// How many VMs are planned at once; only reads.
const PLANNED_AT_ONCE: usize = 8;
/// When no other number is given.
const CONCURRENCY: u8 = 4;

/// What every VM of a fleet is planned with.
struct Order<'a> {
    session: &'a Session,
    library: &'a Library,
    /// The playbook; `None` chooses for each VM.
    named: Option<&'a Playbook>,
    set: BTreeMap<String, String>,
    args: &'a FixArgs,
    /// Where earlier runs are, if there are any.
    state: Option<State>,
    /// The locks of `--lock` that concern a VM, by their keys.
    concerned: RefCell<BTreeSet<String>>,
}

/// Plans for all, and unless told otherwise asks and goes through the waves.
///
/// # Errors
/// Nothing was changed then.
pub async fn run(session: &Session, mut args: FixArgs) -> Result<u8, CliError> {
    // Everything that was typed is checked before anything is sent.
    let again = match args.fleet.retry_failed.as_deref() {
        Some(id) => Some(retry::load(session, id).await?),
        None => None,
    };
    if let Some(again) = &again {
        again.adopt(&mut args)?;
    }
    let args = args;
    let library = fix::library(session, args.playbooks.as_deref());
    let asked = args.playbook.as_deref().unwrap_or(AUTO);
    let named = if asked == AUTO { None } else { Some(fix::find(&library, asked)?) };
    let set = fix::parameters(&args.set)?;
    if let Some(playbook) = named {
        fix::check_parameters(playbook, &set, args.relock)?;
        if playbook.severity() == Severity::Info && again.is_none() {
            return Err(CliError::input(format!("{asked} is a task, not a problem: it cannot select VMs"))
                .code("unknown_playbook")
                .hint(format!("do it VM by VM: {} fix {asked} --vm VM", session.program())));
        }
        if of_deleted_vms(playbook) {
            let why = format!("{asked} is for VMs that no longer exist, and no list of VMs can find them");
            return Err(CliError::input(why).code("unknown_playbook").hint(format!(
                "the command for each is in the findings of: {} audit --playbook orphan-candidate",
                session.program()
            )));
        }
    }
    jitter::check(args.jitter.jitter, args.deadline)?;
    vms::check_subscriptions(session)?;
    scope::said(session, &args)?;
    let hints = scope::hints(session, &args.fleet)?;
    if !args.dry_run {
        store::open(&session.settings).await?;
    }
    let azure = session.azure()?;
    if !args.dry_run {
        azure.keep()?;
    }
    if let Some(again) = &again {
        again.same_place(&azure)?;
    }
    let stop_at = deadline(&azure, args.deadline);
    let started = azure.clock().now();
    let more = [&[ReadPost::ResourceGraph], fix::reads_more(named)].concat();
    let arm = azure.reader_within(&more, args.allow_guest)?.sharing_jobs();
    jitter::wait(session, &azure, args.jitter.jitter).await?;
    let state = store::for_planning(&session.settings, &session.printer).await;
    let order = Order { session, library: &library, named, set, args: &args, state, concerned: RefCell::default() };
    let looked = session.reading(Box::pin(async {
        let wanted = scope::wanted(&order, &azure, &arm, hints, again.as_ref()).await?;
        let worlds = worlds(&azure, &arm, &wanted.vms).await;
        if !wanted.vms.is_empty() {
            let one_by_one = if wanted.vms.len() > 1 { " one by one" } else { "" };
            session.printer.dim(&format!("reading {}{one_by_one}", plural(wanted.vms.len(), "VM")));
        }
        let (plans, not_planned) = plan_all(&order, &arm, &wanted.vms, &worlds).await;
        Ok((wanted, worlds, plans, not_planned))
    }));
    let (wanted, worlds, plans, not_planned) = looked.await?;
    let limits = Limits {
        ramp: args.fleet.ramp.clone().unwrap_or_default(),
        concurrency: usize::from(args.fleet.concurrency.unwrap_or(CONCURRENCY)),
        max_failures: args.fleet.max_failures.map_or(1, |most| usize::try_from(most).unwrap_or(usize::MAX)),
    };
    let mut fleet = FleetResult {
        started: Some(started),
        plan: Sums::of(&plans),
        waves: limits.ramp.waves(plans.len()),
        not_planned,
        ..empty(session, asked, &wanted, &worlds)
    };
    fleet.warnings.extend(locks_that_stay(&order, &plans));
    fleet.retry_of = again.as_ref().map(|again| again.record.id.clone());
    let allowed = args.max_changes.unwrap_or(DEFAULT_MAX_CHANGES);
    let refused = (fleet.plan.changes > allowed).then(|| too_many(fleet.plan.changes, allowed));
    if args.dry_run || plans.is_empty() || refused.is_some() {
        return Ok(not_begun(&order, fleet, &plans, &limits, refused, azure.clock().now()));
    }
    // Told as before a single run: what would be done, then one question.
    if !(args.yes && session.printer.quiet()) {
        fleet.conclude(false);
        fleet.counts.planned = plans.len();
        session.printer.say(&page::overview(&fleet, &plans, &limits, session.printer.err_width()));
    }
    if let Err(error) =
        confirm(&session.printer, args.yes, &page::question(&fleet, &plans, session.printer.err_width())).await
    {
        session.printer.error(&error);
        return Ok(not_begun(&order, fleet, &plans, &limits, Some(error), azure.clock().now()));
    }
    launch::run_waves(session, &azure, launch::Confirmed { fleet, plans, limits, args: &args, stop_at }).await
}

/// Whether a playbook's condition asks for a VM that is gone.
fn of_deleted_vms(playbook: &Playbook) -> bool {
    let condition = playbook.applies().source();
    !condition.contains("||") && condition.split("&&").any(|part| part.trim() == "!vm.exists")
}

/// Whether a playbook brings protection to a VM that has none. That lasts, and costs; somebody may have stopped it on purpose.
fn protects(playbook: &Playbook) -> bool {
    let lasting = |step: &Step| matches!(step.action(), ActionName::ProtectionResume | ActionName::ProtectionEnable);
    playbook.steps().iter().any(lasting)
}

/// What to say of locks that were named and that no plan removes.
fn locks_that_stay(order: &Order<'_>, plans: &[Plan]) -> Vec<String> {
    let removes = |plan: &Plan, id: &ResourceId| {
        plan.changes()
            .any(|(_, change)| matches!(&change.what, ChangeKind::RemoveLock(RemoveLock { lock }) if lock.id == *id))
    };
    let stay = order.args.locks.iter().filter(|id| !plans.iter().any(|plan| removes(plan, id)));
    let concerned = order.concerned.borrow();
    let say = |id: &ResourceId| match concerned.contains(id.key()) {
        true => format!("no plan removes the lock {id} named with --lock: it does not exist, or a rule keeps it"),
        false => format!("the lock {id} named with --lock concerns none of these VMs and is kept"),
    };
    stay.map(say).collect()
}

/// A fleet of which nothing is known yet.
fn empty(session: &Session, playbook: &str, wanted: &Wanted, worlds: &BTreeMap<String, World>) -> FleetResult {
    let one = |of: fn(&World) -> &String| {
        let mut all: Vec<&String> = worlds.values().map(of).filter(|text| !text.is_empty()).collect();
        all.dedup();
        // A fleet over two tenants has no single one to name; its results have theirs.
        if let [only] = all.as_slice() { Some((*only).clone()) } else { None }
    };
    FleetResult {
        schema: FLEET_SCHEMA.to_owned(),
        status: Status::Planned,
        exit_code: exit::OK,
        fleet_id: None,
        retry_of: None,
        sandbox: session.settings.sandbox(),
        cloud: one(|world| &world.cloud),
        tenant: one(|world| &world.tenant),
        identity: one(|world| &world.identity),
        playbook: playbook.to_owned(),
        scope: wanted.scope.clone(),
        started: None,
        ended: None,
        counts: Counts::default(),
        plan: Sums::default(),
        waves: Vec::new(),
        results: Vec::new(),
        not_planned: Vec::new(),
        not_started: Vec::new(),
        not_read: wanted.not_read.clone(),
        warnings: wanted.warnings.clone(),
        retry_after: None,
        error: None,
        next: None,
    }
}

/// The world of each subscription (S13).
async fn worlds(azure: &Azure, arm: &Arm, vms: &[ResourceId]) -> BTreeMap<String, World> {
    let mut worlds = BTreeMap::new();
    for vm in vms {
        if let Entry::Vacant(missing) = worlds.entry(vm.subscription().to_lowercase()) {
            missing.insert(azure.world(arm, vm.subscription()).await);
        }
    }
    worlds
}

/// A plan for each VM, or why there is none; in the order of the VMs.
async fn plan_all(
    order: &Order<'_>,
    arm: &Arm,
    vms: &[ResourceId],
    worlds: &BTreeMap<String, World>,
) -> (Vec<Plan>, Vec<NotPlanned>) {
    let each = vms.iter().filter_map(|vm| {
        let world = worlds.get(&vm.subscription().to_lowercase())?;
        Some(Box::pin(plan_one(order, arm, vm, world)))
    });
    let planned: Vec<Result<Plan, NotPlanned>> = stream::iter(each).buffered(PLANNED_AT_ONCE).collect().await;
    let (mut plans, mut not_planned) = (Vec::new(), Vec::new());
    for one in planned {
        match one {
            Ok(plan) => plans.push(plan),
            Err(why) => not_planned.push(why),
        }
    }
    (plans, not_planned)
}

/// Reads one VM by ARM and plans for it: what was found before is only why it is looked at.
async fn plan_one(order: &Order<'_>, arm: &Arm, vm: &ResourceId, world: &World) -> Result<Plan, NotPlanned> {
    let earlier = earlier(order.state.as_ref(), world, arm.clock().now(), order.args.guard.guard()).await;
    let options = CollectOptions { own_jobs: earlier.jobs(), ..CollectOptions::default() };
    let facts = Box::pin(collect(arm, vm, &options)).await;
    if matches!(facts.vm, Part::Absent { .. }) {
        return Err(NotPlanned {
            vm: vm.to_string(),
            playbook: order.named.map(|playbook| playbook.name().to_owned()),
            reason: Unplanned::Refused,
            code: Some("vm_not_found".to_owned()),
            why: "the VM no longer exists".to_owned(),
            hint: None,
            not_read: BTreeMap::new(),
        });
    }
    let by_itself = |playbook: Option<&Playbook>| {
        let playbook = shell_quote(playbook.map_or(AUTO, Playbook::name));
        format!("{} fix {playbook} --vm {}", order.session.program(), shell_quote(vm.as_str()))
    };
    // A lock that was named is a change of the VMs that it stands over, and of no other.
    let named_locks: Vec<ResourceId> = order.args.locks.iter().filter(|lock| concerns(lock, &facts)).cloned().collect();
    order.concerned.borrow_mut().extend(named_locks.iter().map(|lock| lock.key().to_owned()));
    let request = |playbook, why| PlanRequest {
        playbook,
        set: order.set.clone(),
        vm: vm.clone(),
        overrides: order.args.overrides.iter().copied().collect(),
        named_locks: named_locks.clone(),
        relock: order.args.relock,
        allow_guest: order.args.allow_guest,
        max_changes: MAX_CHANGES_OF_ONE,
        world: world.clone(),
        why,
        earlier: earlier.clone(),
    };
    let (playbook, planned) = match order.named {
        Some(playbook) => (Some(playbook), Box::pin(plan_of(arm, &request(playbook, None), &facts)).await),
        None => {
            let view = view_of(&facts, arm, &BTreeSet::new());
            if view.unread("backup.last_error").is_some() {
                (None, Planned::NotChecked { unread: view.unread.clone(), view: Box::new(view) })
            } else {
                let choice = choose(order.library, &facts, &view);
                match choice.playbook.as_deref().and_then(|name| order.library.find(name).ok()) {
                    Some(playbook) if protects(playbook) => {
                        return Err(NotPlanned {
                            vm: vm.to_string(),
                            playbook: Some(playbook.name().to_owned()),
                            reason: Unplanned::Refused,
                            code: Some("protection.not-by-auto".to_owned()),
                            why: format!(
                                "{}, and for many VMs `auto` neither resumes nor starts protection",
                                choice.why
                            ),
                            hint: Some(format!("to do it, name the playbook: {}", by_itself(Some(playbook)))),
                            not_read: BTreeMap::new(),
                        });
                    }
                    Some(playbook) => {
                        let request = request(playbook, Some(choice.why));
                        (Some(playbook), Box::pin(plan_of(arm, &request, &facts)).await)
                    }
                    None => (None, fix::nothing_fits(choice, view, vm)),
                }
            }
        }
    };
    match NotPlanned::of(vm.as_str(), playbook.map(Playbook::name), &planned, &by_itself(playbook)) {
        Some(why) => Err(why),
        None => match planned {
            // Its turn may come in an hour: what it was made from is not kept for every VM.
            Planned::Plan(plan) => Ok(Plan { facts: None, ..*plan }),
            // `of` answers for everything else.
            _ => Err(NotPlanned {
                vm: vm.to_string(),
                playbook: None,
                reason: Unplanned::NotChecked,
                code: None,
                why: "no plan".to_owned(),
                hint: None,
                not_read: BTreeMap::new(),
            }),
        },
    }
}

fn too_many(changes: usize, allowed: usize) -> CliError {
    CliError::refused(format!(
        "the plans have {} together ({allowed} allowed; every point in a collection counts); nothing was changed",
        plural(changes, "change")
    ))
    .code("s9.max-changes")
    .hint(format!("look at the plans, then allow them with --max-changes {changes}, or narrow the scope"))
}

/// Shows a fleet that is not begun: a dry run, nothing to do, refused.
fn not_begun(
    order: &Order<'_>,
    mut fleet: FleetResult,
    plans: &[Plan],
    limits: &Limits,
    refused: Option<CliError>,
    now: jiff::Timestamp,
) -> u8 {
    let session = order.session;
    fleet.ended = Some(now);
    let next = command_without_dry_run(order);
    fleet.results = plans
        .iter()
        .map(|plan| {
            let subject = Subject {
                world: &plan.world,
                playbook: &plan.playbook,
                vm: plan.vm.as_str(),
                started: fleet.started.unwrap_or(now),
                ended: now,
            };
            let by_itself = format!(
                "{} fix {} --vm {}",
                session.program(),
                shell_quote(&plan.playbook),
                shell_quote(plan.vm.as_str())
            );
            subject.planned(plan, by_itself)
        })
        .collect();
    fleet.conclude(false);
    if let Some(error) = refused {
        fleet.status = if error.kind == Kind::Refused { Status::Refused } else { Status::Failed };
        // What was not read is not forgotten over it.
        fleet.exit_code = exit::worst(fleet.exit_code, error.exit_code());
        let hint = (!error.hints.is_empty()).then(|| error.hints.join("; "));
        fleet.error = Some(ErrorResult { code: error.code, message: error.message, hint: hint.clone() });
        fleet.next = hint;
    } else if !plans.is_empty() {
        fleet.next = Some(next);
    }
    if !session.printer.for_people() {
        session.printer.json(&fleet);
        return fleet.exit_code;
    }
    // What was just shown above a question is not shown again.
    let asked = fleet.error.as_ref().is_some_and(|error| error.code == "not_confirmed");
    if !plans.is_empty() && !asked {
        session.printer.data(&page::overview(&fleet, plans, limits, session.printer.width()));
    }
    match (&fleet.error, &fleet.next) {
        (Some(error), _) if !asked => {
            let error = CliError::refused(error.message.clone()).maybe_hint(error.hint.clone());
            session.printer.error(&error);
        }
        (None, Some(next)) => session.printer.sentence(&format!("nothing was changed; to apply it: {next}")),
        (None, None) => session.printer.data(&page::result(&fleet, &session.program(), session.printer.width())),
        _ => {}
    }
    fleet.exit_code
}

/// The command that does what the dry run showed.
fn command_without_dry_run(order: &Order<'_>) -> String {
    let (session, args) = (order.session, order.args);
    let mut words = Vec::new();
    match &args.fleet.retry_failed {
        Some(id) => {
            words.extend(["--retry-failed".to_owned(), id.clone()]);
            // Playbook, parameters and --relock come from the record.
            let own = FixArgs { set: Vec::new(), relock: false, ..args.clone() };
            words.extend(fix::options(&own));
        }
        None => {
            words.extend([args.playbook.clone().unwrap_or_else(|| AUTO.to_owned()), "--all".to_owned()]);
            if let Some(id) = scope::tenant(session) {
                words.extend(["--tenant".to_owned(), id.to_owned()]);
            } else {
                for subscription in &session.settings.subscriptions {
                    words.extend(["--subscription".to_owned(), subscription.clone()]);
                }
            }
            let fleet = &args.fleet;
            let option = |name: &str, value: Option<&String>| {
                value.map(|value| [format!("--{name}"), value.clone()]).into_iter().flatten().collect::<Vec<_>>()
            };
            words.extend(option("resource-group", fleet.resource_group.as_ref()));
            for tag in &fleet.tag {
                words.extend(["--tag".to_owned(), tag.clone()]);
            }
            words.extend(option("vault", fleet.vault.as_ref()));
            if fleet.thorough {
                words.push("--thorough".to_owned());
            }
            words.extend(option("from", fleet.from.as_ref().map(|file| file.display().to_string()).as_ref()));
            words.extend(fix::options(args));
        }
    }
    let fleet = &args.fleet;
    if let Some(ramp) = &fleet.ramp {
        words.extend(["--ramp".to_owned(), ramp.to_string()]);
    }
    if let Some(concurrency) = fleet.concurrency {
        words.extend(["--concurrency".to_owned(), concurrency.to_string()]);
    }
    if let Some(max_failures) = fleet.max_failures {
        words.extend(["--max-failures".to_owned(), max_failures.to_string()]);
    }
    let words: Vec<String> = words.iter().map(|word| shell_quote(word)).collect();
    format!("{} fix {}", session.program(), words.join(" "))
}

/// Shows what a fleet came to, in the format that was asked for, and gives back its exit code.
fn finish(session: &Session, fleet: &FleetResult) -> u8 {
    match session.printer.for_people() {
        true => session.printer.data(&report::fleet::result(fleet, &session.program(), session.printer.width())),
        false => session.printer.json(fleet),
    }
    fleet.exit_code
}
