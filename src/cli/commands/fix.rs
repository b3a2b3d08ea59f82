//! `azmend fix PLAYBOOK --vm VM`: the main job.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::Path;

use jiff::Timestamp;

use super::from_alert;
use crate::actions::change::Refusal;
use crate::actions::spec::ActionName;
use crate::arm::{Arm, CallPurpose, ReadPost, ResourceId};
use crate::cli::args::{FixArgs, Guard};
use crate::cli::azure::Azure;
use crate::cli::error::CliError;
use crate::cli::execute::{Session, deadline};
use crate::cli::no_plan::NoPlan;
use crate::cli::{files, jitter, store};
use crate::engine::alert::Alerts;
use crate::engine::choose::{BACKUP, Choice, choose};
use crate::engine::fleet::MAX_CHANGES_OF_ONE;
use crate::engine::plan::{Plan, World};
use crate::engine::planner::{PlanRequest, Planned, make_plan, plan_of, view_of};
use crate::engine::result::RunResult;
use crate::engine::{Earlier, LoopGuard};
use crate::facts::collect::{CollectOptions, collect};
use crate::facts::view::View;
use crate::playbook::Playbook;
use crate::playbook::library::Library;
use crate::report::Subject;
use crate::text::shell_quote;

/// Plans, and unless told otherwise asks and makes the changes.
///
/// # Errors
/// Nothing was changed then.
pub async fn run(session: &Session, args: FixArgs) -> Result<u8, CliError> {
    let library = library(session, args.playbooks.as_deref());
    let asked = args.playbook.as_deref().unwrap_or(AUTO);
    let named = if asked == AUTO { None } else { Some(find(&library, asked)?) };
    let set = parameters(&args.set)?;
    if let Some(playbook) = named {
        check_parameters(playbook, &set, args.relock)?;
    }
    jitter::check(args.jitter.jitter, args.deadline)?;
    let alerts = args.alert.from_alert.as_deref().map(from_alert::read).transpose()?;
    if let Some(result) = alerts.as_ref().and_then(|one| from_alert::nothing(one, asked, session.settings.sandbox())) {
        return Ok(session.finish(result));
    }
    let vm_text = args.vm.as_deref().unwrap_or_default();
    match &alerts {
        None => Azure::check_names(vm_text, &session.settings.subscriptions)?,
        Some(_) => super::vms::check_subscriptions(session)?,
    }
    if !args.dry_run && args.plan_out.is_none() {
        // Without a place for the journal there will be no run: better said before the question than after it.
        store::open(&session.settings).await?;
    }
    if let Some(file) = &args.plan_out
        && file.symlink_metadata().is_ok()
    {
        return Err(exists(file));
    }
    let azure = session.azure()?;
    if !args.dry_run && args.plan_out.is_none() {
        azure.keep()?;
    }
    let stop_at = deadline(&azure, args.deadline);
    let started = azure.clock().now();
    let arm = azure.reader_within(reads_more(named), args.allow_guest)?.for_one_reading();
    let (finding, arm) = (arm.for_purpose(CallPurpose::Finding), arm.for_purpose(CallPurpose::Planning));
    jitter::wait(session, &azure, args.jitter.jitter).await?;
    let (world, vm, playbook, planned) = session
        .reading(Box::pin(async {
            azure.sign_in().await?;
            let (vm, alert) = which(session, &azure, &finding, alerts.as_ref(), vm_text).await?;
            let world = azure.world(&arm, vm.subscription()).await;
            let earlier = earlier(session, &world, azure.clock().now(), args.guard.guard()).await;
            let request = |playbook, why: Option<String>| PlanRequest {
                playbook,
                set: set.clone(),
                vm: vm.clone(),
                overrides: args.overrides.iter().copied().collect(),
                named_locks: args.locks.clone(),
                relock: args.relock,
                allow_guest: args.allow_guest,
                max_changes: args.max_changes.unwrap_or(MAX_CHANGES_OF_ONE),
                world: world.clone(),
                // What an alert said is evidence too: it stays in the plan and in the journal.
                why: [why, alert.clone()].into_iter().flatten().reduce(|why, alert| format!("{why}; {alert}")),
                earlier: earlier.clone(),
            };
            if let Some(playbook) = named {
                let planned = Box::pin(make_plan(&arm, &request(playbook, None))).await;
                return Ok((world, vm, Some(playbook), planned));
            }
            let own_jobs = earlier.jobs();
            let facts = Box::pin(collect(&arm, &vm, &CollectOptions { own_jobs, ..CollectOptions::default() })).await;
            let view = view_of(&facts, &arm, &BTreeSet::new());
            if view.unread("backup.last_error").is_some() {
                let planned = Planned::NotChecked { unread: view.unread.clone(), view: Box::new(view) };
                return Ok((world, vm, None, planned));
            }
            let choice = choose(&library, &facts, &view);
            let Some(playbook) = choice.playbook.as_deref().and_then(|name| library.find(name).ok()) else {
                let planned = nothing_fits(choice, view, &vm);
                return Ok((world, vm, None, planned));
            };
            session.printer.note(&told(&choice));
            let planned = Box::pin(plan_of(&arm, &request(playbook, Some(choice.why)), &facts)).await;
            Ok((world, vm, Some(playbook), planned))
        }))
        .await?;
    let subject = Subject {
        world: &world,
        playbook: playbook.map_or(AUTO, Playbook::name),
        vm: vm.as_str(),
        started,
        ended: azure.clock().now(),
    };
    let plan = match planned {
        Planned::Plan(plan) => *plan,
        Planned::NothingToDo { view, why, not_read, warnings } => {
            // What could not be read may be something to do: then the next command of a script is not for this.
            if let Some(file) = args.plan_out.as_ref().filter(|_| not_read.is_empty()) {
                save(file, &NoPlan::new(subject.ended, &world, subject.playbook, vm.as_str(), &why))?;
            }
            return Ok(session.finish(subject.nothing(&view, &why, &not_read, &warnings)));
        }
        Planned::NotChecked { unread, view } => return Ok(session.finish(subject.not_checked(&view, &unread))),
        Planned::Waiting { why, wait, view } => return Ok(session.finish(subject.waiting(&view, &why, wait))),
        Planned::Refused { refusals, plan } => {
            if let Some(plan) = plan.as_deref().filter(|_| session.printer.for_people()) {
                session.printer.say(&session.plan_page(plan, session.printer.err_width()));
            }
            return Ok(session.finish(subject.refused(&refusals, plan.as_deref())));
        }
        Planned::Input(errors) => {
            return Err(
                playbook.map_or_else(|| CliError::input(errors.join("\n")), |one| wrong_parameters(one, &errors))
            );
        }
    };
    if args.dry_run {
        let next = command_without_dry_run(session, &args, &vm, &world);
        return Ok(show_planned(session, subject.planned(&plan, next), &plan));
    }
    if let Some(file) = &args.plan_out {
        save(file, &plan)?;
        let next = format!("{} apply {}", session.program(), shell_quote(&file.display().to_string()));
        return Ok(show_planned(session, subject.saved(&plan, next), &plan));
    }
    session.confirm(&plan, args.yes).await?;
    session.start(&azure, plan, stop_at).await
}

/// The VM that is meant, and what an alert said of it.
async fn which(
    session: &Session,
    azure: &Azure,
    finding: &Arm,
    alerts: Option<&Alerts>,
    text: &str,
) -> Result<(ResourceId, Option<String>), CliError> {
    let reading = |name: &str| session.printer.dim(&format!("reading {} and its backup", name.escape_debug()));
    let Some(alerts) = alerts else {
        reading(text);
        return Ok((azure.find_vm(finding, text, &session.settings.subscriptions).await?, None));
    };
    let meant = from_alert::vm(session, azure, finding, alerts).await?;
    reading(meant.vm.name());
    Ok((meant.vm, Some(meant.why)))
}

/// What earlier runs in this state did in this Azure; nothing when there is no state yet.
pub async fn earlier(session: &Session, world: &World, now: Timestamp, guard: Option<LoopGuard>) -> Earlier {
    match store::existing(&session.settings).await {
        Ok(Some(state)) => Earlier::guarded(&state, world, None, now, guard).await,
        _ => Earlier::default(),
    }
}

/// What stands for "the one that this VM needs".
pub const AUTO: &str = "auto";

/// Wrong parameters are said before anything is asked of Azure.
///
/// # Errors
/// Every parameter that is wrong.
pub fn check_parameters(playbook: &Playbook, set: &BTreeMap<String, String>, relock: bool) -> Result<(), CliError> {
    let resolved = playbook.resolve(set).map_err(|errors| wrong_parameters(playbook, &errors))?;
    if relock && resolved.params.get("cleanup").is_some_and(|value| value.to_string() == "service") {
        return Err(CliError::refused(
            "--relock with cleanup=service would lock the points again before Azure Backup has cleaned up",
        )
        .code("s6.relock-service")
        .hint("omit --relock, or use --set cleanup=stale"));
    }
    Ok(())
}

/// A vault may be asked to look for VMs before it protects one: nothing of the user's changes by that (S1).
pub fn reads_more(named: Option<&Playbook>) -> &'static [ReadPost] {
    let protects =
        named.is_some_and(|one| one.steps().iter().any(|step| step.action() == ActionName::ProtectionEnable));
    if protects { &[ReadPost::RefreshContainers] } else { &[] }
}

/// Why a playbook was chosen, and which others apply too.
fn told(choice: &Choice) -> String {
    let others = match choice.others.as_slice() {
        [] => String::new(),
        others => format!("; also applies: {}", others.join(", ")),
    };
    format!("auto: {}{others}", choice.why)
}

/// A known error that no playbook is for is refused with the way to its explanation, or with a backup where that may help; a
/// VM without one needs nothing.
pub fn nothing_fits(choice: Choice, view: View, vm: &ResourceId) -> Planned {
    if choice.unread {
        return Planned::NotChecked { unread: view.unread.clone(), view: Box::new(view) };
    }
    let also = match choice.others.as_slice() {
        [] => String::new(),
        others => format!("; also applies: {}", others.join(", ")),
    };
    let why = || format!("{}{also}", choice.why);
    let explain = |code: &str| format!("what to do in the guest or by hand: azmend explain {code}");
    match (&choice.code, choice.retry) {
        (code, true) => {
            let backup = format!("start a backup: azmend fix {BACKUP} --vm {}", shell_quote(vm.as_str()));
            let way = code.as_deref().map(explain).map_or_else(|| backup.clone(), |more| format!("{backup}; {more}"));
            Planned::Refused { refusals: vec![Refusal::new("auto.backup-by-hand", why()).hint(way)], plan: None }
        }
        (Some(code), false) => {
            let refusal = Refusal::new("guide.not-by-arm", why()).hint(explain(code));
            Planned::Refused { refusals: vec![refusal], plan: None }
        }
        (None, false) => Planned::NothingToDo {
            not_read: view.unread.clone(),
            view: Box::new(view),
            why: choice.why,
            warnings: Vec::new(),
        },
    }
}

/// Shows a plan that is not applied now.
fn show_planned(session: &Session, result: RunResult, plan: &Plan) -> u8 {
    if !session.printer.for_people() {
        return session.finish(result);
    }
    session.printer.data(&session.plan_page(plan, session.printer.width()));
    if let Some(next) = &result.next {
        session.printer.sentence(&format!("nothing was changed; to apply it: {next}"));
    }
    result.exit_code
}

/// A plan that somebody may have approved is not replaced.
fn exists(file: &Path) -> CliError {
    CliError::input(format!("{} exists already: no plan is written over it", file.display()))
        .code("file_exists")
        .hint("choose another name, or delete the file")
}

fn save(file: &Path, plan: &impl serde::Serialize) -> Result<(), CliError> {
    let mut text = serde_json::to_string_pretty(plan)
        .map_err(|error| CliError::io(format!("the plan cannot be written: {error}")))?;
    text.push('\n');
    files::write_private_new(file, &text).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => exists(file),
        _ => CliError::io(format!("cannot write {}: {error}", file.display())),
    })
}

/// The command that does what the dry run showed.
fn command_without_dry_run(session: &Session, args: &FixArgs, vm: &ResourceId, world: &World) -> String {
    // In one world a short name is clear enough; elsewhere the id is, whatever the next command's settings are.
    let vm = args.vm.clone().filter(|_| world.sandbox).unwrap_or_else(|| vm.to_string());
    let words = everyday(args, &vm).unwrap_or_else(|| {
        let mut words = vec!["fix".to_owned(), args.playbook.clone().unwrap_or_default(), "--vm".to_owned(), vm];
        words.extend(options(args));
        words
    });
    let words: Vec<String> = words.iter().map(|word| shell_quote(word)).collect();
    format!("{} {}", session.program(), words.join(" "))
}

/// `protect` for what it can say: people know it by that name.
fn everyday(args: &FixArgs, vm: &str) -> Option<Vec<String>> {
    let value = |wanted: &str| args.set.iter().find(|(key, _)| key == wanted).map(|(_, value)| value.as_str());
    let (vault, policy) = (value("vault")?, value("policy")?);
    // Two words for each --set: nothing else was asked for.
    let plain = args.playbook.as_deref() == Some("unprotected-vm") && args.set.len() == 2 && options(args).len() == 4;
    let words = ["protect", "--vm", vm, "--vault", vault, "--policy", policy];
    plain.then(|| words.map(str::to_owned).to_vec())
}

/// The options that a plan depends on, as they were typed.
pub fn options(args: &FixArgs) -> Vec<String> {
    let mut words = Vec::new();
    for (key, value) in &args.set {
        words.extend(["--set".to_owned(), format!("{key}={value}")]);
    }
    for rule in &args.overrides {
        words.extend(["--override".to_owned(), rule.name().to_owned()]);
    }
    for lock in &args.locks {
        words.extend(["--lock".to_owned(), lock.to_string()]);
    }
    if args.relock {
        words.push("--relock".to_owned());
    }
    if args.allow_guest {
        words.push("--allow-guest".to_owned());
    }
    if let Some(max_changes) = args.max_changes {
        words.extend(["--max-changes".to_owned(), max_changes.to_string()]);
    }
    if let Some(guard) = args.guard.loop_guard {
        let guard = match guard {
            Guard::Off => "off".to_owned(),
            Guard::Limit(guard) => guard.to_string(),
        };
        words.extend(["--loop-guard".to_owned(), guard]);
    }
    if let Some(dir) = &args.playbooks {
        words.extend(["--playbooks".to_owned(), dir.display().to_string()]);
    }
    words
}

/// The playbooks; what is wrong with the user's own is said and hides no other.
pub fn library(session: &Session, dir: Option<&Path>) -> Library {
    let library = dir.map_or_else(Library::shipped, Library::with_directory);
    for problem in library.problems() {
        session.printer.warn(&problem.to_string());
    }
    library
}

/// The playbook of this name.
///
/// # Errors
/// With the near names.
pub fn find<'a>(library: &'a Library, name: &str) -> Result<&'a Playbook, CliError> {
    library.find(name).map_err(|unknown| {
        let error = CliError::input(unknown.to_string()).code("playbook_not_found");
        if unknown.near.is_empty() {
            let known: Vec<&str> = library.iter().map(|(playbook, _)| playbook.name()).collect();
            error.hint(format!("the playbooks are {}", known.join(", ")))
        } else {
            error.hint(format!("did you mean {}?", unknown.near.join(" or ")))
        }
    })
}

/// `--set`, each once.
///
/// # Errors
/// When one is given twice.
pub fn parameters(set: &[(String, String)]) -> Result<BTreeMap<String, String>, CliError> {
    let mut out = BTreeMap::new();
    for (key, value) in set {
        if out.insert(key.clone(), value.clone()).is_some() {
            return Err(CliError::input(format!("--set {} is given twice", key.escape_debug())));
        }
    }
    Ok(out)
}

fn wrong_parameters(playbook: &Playbook, errors: &[String]) -> CliError {
    CliError::input(errors.join("\n"))
        .code("parameter")
        .hint(format!("the parameters are shown by: azmend playbook show {}", playbook.name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_set_once() {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(parameters(&[pair("a", "1"), pair("b", "2")]).unwrap().len(), 2);
        assert!(parameters(&[pair("a", "1"), pair("a", "2")]).is_err());
    }

    #[test]
    fn near_playbooks_are_suggested_and_else_all_are_named() {
        let library = Library::shipped();
        let error = find(&library, "rp-colection-limit").unwrap_err();
        assert_eq!((error.exit_code(), error.code.as_str()), (2, "playbook_not_found"));
        assert!(error.hints.iter().any(|hint| hint.contains("rp-collection-limit")));
        assert!(find(&library, "zzzzzz").unwrap_err().hints.iter().any(|hint| hint.contains("backup-now")));
    }
}
