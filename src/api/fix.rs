//! `fix`: one VM, from options to a result. A plan first, then the confirmation, then the changes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::azure::Azure;
use super::error::Error;
use super::launch;
use super::watch::{Confirm, Note, Watch, confirmed};
use crate::actions::change::{Override, Refusal};
use crate::actions::spec::ActionName;
use crate::arm::{CallPurpose, ReadPost, ResourceId};
use crate::duration::Span;
use crate::engine::Earlier;
use crate::engine::choose::{Choice, choose};
use crate::engine::fleet::MAX_CHANGES_OF_ONE;
use crate::engine::hints::in_world;
use crate::engine::plan::{Plan, PlanError, World};
use crate::engine::planner::{PlanRequest, Planned, make_plan, plan_of, view_of};
use crate::engine::result::RunResult;
use crate::facts::collect::{CollectOptions, collect};
use crate::facts::view::View;
use crate::journal::State;
use crate::playbook::Playbook;
use crate::playbook::library::Library;
use crate::report::Subject;
use crate::text::shell_quote;

/// The playbook "the one that this VM needs".
pub const AUTO: &str = "auto";

/// What is to be repaired, and how far azmend is allowed to go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FixOptions {
    /// The playbook's name, or [`AUTO`].
    pub playbook: String,
    /// The VM: name, group/name or resource id.
    pub vm: String,
    /// Subscriptions to look in, ids or names; empty for all.
    pub subscriptions: Vec<String>,
    /// Parameters of the playbook.
    pub set: BTreeMap<String, String>,
    /// Make the plan and change nothing.
    pub dry_run: bool,
    /// Restore the removed locks at the end of the run, whatever happens.
    pub relock: bool,
    /// Let the playbook run scripts inside the VM.
    pub allow_guest: bool,
    /// The most changes that the plan can have; every restore point counts.
    pub max_changes: Option<usize>,
    /// Stop cleanly after this time.
    pub deadline: Option<Span>,
    /// A directory with playbooks of the user's own.
    pub playbooks: Option<PathBuf>,
    /// Safety rules that are switched off for this run.
    pub overrides: BTreeSet<Override>,
    /// Locks that are removed although they are not on a backup resource group.
    pub locks: Vec<ResourceId>,
}

impl FixOptions {
    /// A playbook for a VM, with every default.
    #[must_use]
    pub fn new(playbook: impl Into<String>, vm: impl Into<String>) -> Self {
        Self { playbook: playbook.into(), vm: vm.into(), ..Self::default() }
    }

    /// The options that a plan depends on, as words of a command.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        for (key, value) in &self.set {
            words.extend(["--set".to_owned(), format!("{key}={value}")]);
        }
        for rule in &self.overrides {
            words.extend(["--override".to_owned(), rule.name().to_owned()]);
        }
        for lock in &self.locks {
            words.extend(["--lock".to_owned(), lock.to_string()]);
        }
        if self.relock {
            words.push("--relock".to_owned());
        }
        if self.allow_guest {
            words.push("--allow-guest".to_owned());
        }
        if let Some(max_changes) = self.max_changes {
            words.extend(["--max-changes".to_owned(), max_changes.to_string()]);
        }
        if let Some(dir) = &self.playbooks {
            words.extend(["--playbooks".to_owned(), dir.display().to_string()]);
        }
        words
    }

    /// Checks what the user gave, before anything is sent.
    ///
    /// # Errors
    /// A playbook that does not exist, wrong parameters, names that cannot be.
    pub fn check<'l>(&'l self, library: &'l Library) -> Result<Checked<'l>, Error> {
        let asked = if self.playbook.is_empty() { AUTO } else { &self.playbook };
        let named = if asked == AUTO { None } else { Some(find(library, asked)?) };
        if let Some(playbook) = named {
            check_parameters(playbook, &self.set, self.relock)?;
        }
        Azure::check_names(&self.vm, &self.subscriptions)?;
        Ok(Checked { options: self, library, named })
    }
}

/// Repairs one VM: reads everything about its backup, makes the plan, has it confirmed, makes the changes one by one, each
/// journaled before and verified after. With `dry_run` nothing is changed and no one is asked.
///
/// The result is what the command line prints with `-o json`: its `exit_code` says how it ended.
///
/// # Errors
/// Nothing was changed then.
pub async fn fix(
    azure: &Azure,
    journal: &State,
    options: &FixOptions,
    confirm: Confirm<'_>,
    watch: &Watch,
) -> Result<RunResult, Error> {
    let stop_at = launch::deadline(azure, options.deadline);
    if !options.dry_run {
        azure.keep()?;
    }
    let proposal = plan(azure, Some(journal), options, watch).await?;
    if options.dry_run {
        return proposal.result(options);
    }
    match proposal.decided()? {
        Decided::Ended { result, .. } => Ok(*result),
        Decided::Plan(plan) => {
            confirmed(&plan, confirm)?;
            launch::start(azure, journal, *plan, watch, stop_at).await
        }
    }
}

/// Reads and makes the plan; nothing is changed. What earlier runs did counts if there is a journal.
///
/// # Errors
/// Wrong input, no sign-in, Azure does not answer, or interrupted.
pub async fn plan(
    azure: &Azure,
    journal: Option<&State>,
    options: &FixOptions,
    watch: &Watch,
) -> Result<Proposal, Error> {
    let library = library(options.playbooks.as_deref(), watch);
    let checked = options.check(&library)?;
    watch.reading(Box::pin(checked.propose(azure, journal, watch))).await
}

/// Applies a plan that was made before: only this very plan, unchanged, at most 24 hours old, in the Azure it was made for, and
/// only with its hash as confirmation.
///
/// # Errors
/// Nothing was changed then.
pub async fn apply(
    azure: &Azure,
    journal: &State,
    plan: Plan,
    hash: &str,
    deadline: Option<Span>,
    watch: &Watch,
) -> Result<RunResult, Error> {
    let stop_at = launch::deadline(azure, deadline);
    if !plan.is_unchanged() {
        return Err(PlanError::Edited.into());
    }
    // Its age counts before signing in, too.
    plan.check(azure.clock().now(), &plan.world)?;
    if plan.hash != hash {
        return Err(
            Error::refused("the confirmed hash is that of another plan; nothing was changed").code("not_confirmed")
        );
    }
    let world = watch.reading(world_now(azure, &plan)).await?;
    plan.check(azure.clock().now(), &world)?;
    launch::start(azure, journal, plan, watch, stop_at).await
}

/// Signs in, and reads where a plan for this VM would be valid now.
///
/// # Errors
/// No sign-in.
pub async fn world_now(azure: &Azure, plan: &Plan) -> Result<World, Error> {
    let arm = azure.reader()?;
    azure.sign_in().await?;
    Ok(azure.world(&arm, plan.vm.subscription()).await)
}

/// Options that were checked.
#[derive(Debug)]
pub struct Checked<'l> {
    options: &'l FixOptions,
    library: &'l Library,
    named: Option<&'l Playbook>,
}

/// What came of reading a VM: a plan, or the reason why there is none.
#[derive(Debug)]
pub struct Proposal {
    /// Where.
    pub world: World,
    /// The VM.
    pub vm: ResourceId,
    /// The playbook's name.
    pub playbook: String,
    /// When reading started.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// What the planner says.
    pub planned: Planned,
    program: String,
}

/// A plan to confirm, or the result that it ended with.
#[derive(Debug)]
pub enum Decided {
    /// To be confirmed.
    Plan(Box<Plan>),
    /// There is nothing to confirm.
    Ended {
        /// Why.
        result: Box<RunResult>,
        /// The plan that rules stopped.
        refused: Option<Box<Plan>>,
    },
}

impl Proposal {
    /// What results of this proposal are about.
    #[must_use]
    pub fn subject(&self) -> Subject<'_> {
        Subject {
            world: &self.world,
            playbook: &self.playbook,
            vm: self.vm.as_str(),
            started: self.started,
            ended: self.ended,
        }
    }

    /// The plan, or the result that there is instead.
    ///
    /// # Errors
    /// When parameters do not fit the VM.
    pub fn decided(&self) -> Result<Decided, Error> {
        let subject = self.subject();
        let mut stopped = None;
        let result = match &self.planned {
            Planned::Plan(plan) => return Ok(Decided::Plan(plan.clone())),
            Planned::NothingToDo { view, why, not_read, warnings } => subject.nothing(view, why, not_read, warnings),
            Planned::NotChecked { unread, view } => subject.not_checked(view, unread),
            Planned::Waiting { why, wait, view } => subject.waiting(view, why, *wait),
            Planned::Refused { refusals, plan } => {
                stopped.clone_from(plan);
                subject.refused(refusals, plan.as_deref())
            }
            Planned::Input(errors) => return Err(wrong_parameters(&self.playbook, errors)),
        };
        Ok(Decided::Ended { result: Box::new(in_world(result, &self.program)), refused: stopped })
    }
}

impl Proposal {
    /// The result of a dry run.
    ///
    /// # Errors
    /// As [`Self::decided`].
    pub fn result(&self, options: &FixOptions) -> Result<RunResult, Error> {
        Ok(match self.decided()? {
            Decided::Plan(plan) => self.subject().planned(&plan, self.command(options)),
            Decided::Ended { result, .. } => *result,
        })
    }

    /// The command that does what was proposed.
    #[must_use]
    pub fn command(&self, options: &FixOptions) -> String {
        // In the sandbox a short name is clear enough; elsewhere the id is, whatever the next command's settings are.
        let vm = if self.world.sandbox { options.vm.clone() } else { self.vm.to_string() };
        let mut words = vec![options.playbook.clone(), "--vm".to_owned(), vm];
        words.extend(options.words());
        let words: Vec<String> = words.iter().map(|word| shell_quote(word)).collect();
        format!("{} fix {}", self.program, words.join(" "))
    }
}

impl Checked<'_> {
    /// Reads and plans.
    ///
    /// # Errors
    /// As [`plan`].
    pub async fn propose(&self, azure: &Azure, state: Option<&State>, watch: &Watch) -> Result<Proposal, Error> {
        let options = self.options;
        let started = azure.clock().now();
        let arm = azure.reader_within(reads_more(self.named), options.allow_guest)?.for_one_reading();
        let (finding, arm) = (arm.for_purpose(CallPurpose::Finding), arm.for_purpose(CallPurpose::Planning));
        azure.sign_in().await?;
        (watch.notes)(Note::Reading(format!("reading {} and its backup", options.vm.escape_debug())));
        let vm = azure.find_vm(&finding, &options.vm, &options.subscriptions).await?;
        let world = azure.world(&arm, vm.subscription()).await;
        let earlier = match state {
            Some(state) => Earlier::read(state, &world, None, azure.clock().now()).await,
            None => Earlier::default(),
        };
        let request = |playbook, why| PlanRequest {
            playbook,
            set: options.set.clone(),
            vm: vm.clone(),
            overrides: options.overrides.clone(),
            named_locks: options.locks.clone(),
            relock: options.relock,
            allow_guest: options.allow_guest,
            max_changes: options.max_changes.unwrap_or(MAX_CHANGES_OF_ONE),
            world: world.clone(),
            why,
            earlier: earlier.clone(),
        };
        let (playbook, planned) = match self.named {
            Some(playbook) => (playbook.name(), Box::pin(make_plan(&arm, &request(playbook, None))).await),
            None => {
                let own_jobs = earlier.jobs();
                let reading = CollectOptions { own_jobs, ..CollectOptions::default() };
                let facts = Box::pin(collect(&arm, &vm, &reading)).await;
                let view = view_of(&facts, &arm, &BTreeSet::new());
                if view.unread("backup.last_error").is_some() {
                    (AUTO, Planned::NotChecked { unread: view.unread.clone(), view: Box::new(view) })
                } else {
                    let choice = choose(self.library, &facts, &view);
                    match choice.playbook.as_deref().and_then(|name| self.library.find(name).ok()) {
                        None => (AUTO, nothing_fits(choice, view)),
                        Some(playbook) => {
                            (watch.notes)(Note::Chosen(told(&choice)));
                            let request = request(playbook, Some(choice.why));
                            (playbook.name(), Box::pin(plan_of(&arm, &request, &facts)).await)
                        }
                    }
                }
            }
        };
        let (playbook, ended) = (playbook.to_owned(), azure.clock().now());
        Ok(Proposal { playbook, started, ended, planned, program: azure.program().to_owned(), world, vm })
    }
}

/// The playbooks; what is wrong with the user's own is a warning and hides no other.
pub fn library(dir: Option<&Path>, watch: &Watch) -> Library {
    let library = dir.map_or_else(Library::shipped, Library::with_directory);
    for problem in library.problems() {
        (watch.notes)(Note::Warning(problem.to_string()));
    }
    library
}

/// Wrong parameters are said before anything is asked of Azure.
///
/// # Errors
/// Every parameter that is wrong.
pub fn check_parameters(playbook: &Playbook, set: &BTreeMap<String, String>, relock: bool) -> Result<(), Error> {
    let resolved = playbook.resolve(set).map_err(|errors| wrong_parameters(playbook.name(), &errors))?;
    if relock && resolved.params.get("cleanup").is_some_and(|value| value.to_string() == "service") {
        return Err(Error::refused(
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

/// A known error that no playbook is for is refused with the way to its explanation; a VM without one needs nothing.
pub fn nothing_fits(choice: Choice, view: View) -> Planned {
    if choice.unread {
        return Planned::NotChecked { unread: view.unread.clone(), view: Box::new(view) };
    }
    let also = match choice.others.as_slice() {
        [] => String::new(),
        others => format!("; also applies: {}", others.join(", ")),
    };
    match choice.code {
        Some(code) => {
            let refusal = Refusal::new("guide.not-by-arm", format!("{}{also}", choice.why));
            let refusal = refusal.hint(format!("what to do in the guest or by hand: azmend explain {code}"));
            Planned::Refused { refusals: vec![refusal], plan: None }
        }
        None => Planned::NothingToDo {
            not_read: view.unread.clone(),
            view: Box::new(view),
            why: choice.why,
            warnings: Vec::new(),
        },
    }
}

/// The playbook of this name.
///
/// # Errors
/// With the near names.
pub fn find<'a>(library: &'a Library, name: &str) -> Result<&'a Playbook, Error> {
    library.find(name).map_err(|unknown| {
        let error = Error::input(unknown.to_string()).code("playbook_not_found");
        if unknown.near.is_empty() {
            let known: Vec<&str> = library.iter().map(|(playbook, _)| playbook.name()).collect();
            error.hint(format!("the playbooks are {}", known.join(", ")))
        } else {
            error.hint(format!("did you mean {}?", unknown.near.join(" or ")))
        }
    })
}

fn wrong_parameters(playbook: &str, errors: &[String]) -> Error {
    let error = Error::input(errors.join("\n")).code("parameter");
    if playbook == AUTO {
        error
    } else {
        error.hint(format!("the parameters are shown by: azmend playbook show {playbook}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_playbooks_are_suggested_and_else_all_are_named() {
        let library = Library::shipped();
        let error = find(&library, "rp-colection-limit").unwrap_err();
        assert_eq!((error.exit_code(), error.code.as_str()), (2, "playbook_not_found"));
        assert!(error.hints.iter().any(|hint| hint.contains("rp-collection-limit")));
        assert!(find(&library, "zzzzzz").unwrap_err().hints.iter().any(|hint| hint.contains("backup-now")));
    }
}
