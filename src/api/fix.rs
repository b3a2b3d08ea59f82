//! `fix`: one VM, from options to a result. A plan first, then the confirmation, then the changes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::alert::{self, Meant};
use super::azure::Azure;
use super::error::Error;
use super::launch;
use super::watch::{Confirm, Note, Watch, confirmed};
use crate::actions::change::{Override, Refusal};
use crate::actions::spec::ActionName;
use crate::arm::{Arm, CallPurpose, ReadPost, ResourceId};
use crate::duration::Span;
use crate::engine::alert::Alerts;
use crate::engine::choose::{BACKUP, Choice, choose};
use crate::engine::earlier::is_task;
use crate::engine::fleet::MAX_CHANGES_OF_ONE;
use crate::engine::hints::in_world;
use crate::engine::plan::{Plan, PlanError, World};
use crate::engine::planner::{PlanRequest, Planned, locks_again_too_soon, make_plan, plan_of, view_of};
use crate::engine::result::RunResult;
use crate::engine::{Earlier, LoopGuard};
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FixOptions {
    /// The playbook's name, or [`AUTO`].
    pub playbook: String,
    /// The VM: name, group/name or resource id; empty when an alert names it.
    pub vm: String,
    /// The alert that names the VM.
    pub alert: Option<Alerts>,
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
    /// How many repairs of one VM are allowed in which time; `None` for any number.
    pub loop_guard: Option<LoopGuard>,
}

impl Default for FixOptions {
    fn default() -> Self {
        Self {
            playbook: AUTO.to_owned(),
            vm: String::new(),
            alert: None,
            subscriptions: Vec::new(),
            set: BTreeMap::new(),
            dry_run: false,
            relock: false,
            allow_guest: false,
            max_changes: None,
            deadline: None,
            playbooks: None,
            overrides: BTreeSet::new(),
            locks: Vec::new(),
            loop_guard: Some(LoopGuard::default()),
        }
    }
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
        if self.loop_guard != Some(LoopGuard::default()) {
            let guard = self.loop_guard.map_or_else(|| "off".to_owned(), |guard| guard.to_string());
            words.extend(["--loop-guard".to_owned(), guard]);
        }
        if let Some(dir) = &self.playbooks {
            words.extend(["--playbooks".to_owned(), dir.display().to_string()]);
        }
        words
    }

    /// The playbook that was asked for.
    fn asked(&self) -> &str {
        if self.playbook.is_empty() { AUTO } else { &self.playbook }
    }

    /// The result, when the alerts ask for nothing: then nothing is asked of Azure either.
    #[must_use]
    pub fn nothing(&self, sandbox: bool) -> Option<RunResult> {
        alert::nothing(self.alert.as_ref()?, self.asked(), sandbox)
    }

    /// Checks what the user gave, before anything is sent.
    ///
    /// # Errors
    /// A playbook that does not exist, wrong parameters, names that cannot be.
    pub fn check<'l>(&'l self, library: &'l Library) -> Result<Checked<'l>, Error> {
        let named = if self.asked() == AUTO { None } else { Some(find(library, self.asked())?) };
        if let Some(playbook) = named {
            check_parameters(playbook, &self.set, self.relock)?;
        }
        match &self.alert {
            None => Azure::check_names(&self.vm, &self.subscriptions)?,
            Some(_) => Azure::check_subscriptions(&self.subscriptions)?,
        }
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
    if let Some(nothing) = options.nothing(azure.is_sandbox()) {
        return Ok(nothing);
    }
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
    let started = azure.clock().now();
    watch.reading(Box::pin(checked.propose(azure, journal, started, watch))).await
}

/// Applies a plan that was made before: only this very plan, unchanged, at most 24 hours old, in the Azure it was made for, and
/// only with its hash as confirmation. A VM that `guard` does not allow to be repaired once more is refused in the result.
///
/// # Errors
/// Nothing was changed then.
pub async fn apply(
    azure: &Azure,
    journal: &State,
    plan: Plan,
    hash: &str,
    deadline: Option<Span>,
    guard: Option<LoopGuard>,
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
    if let Some(refused) = one_too_many(azure, Some(journal), &plan, &world, guard).await {
        return Ok(refused);
    }
    launch::start(azure, journal, plan, watch, stop_at).await
}

/// The refusal of a saved plan for a VM that earlier runs have repaired too often by now.
pub async fn one_too_many(
    azure: &Azure,
    state: Option<&State>,
    plan: &Plan,
    world: &World,
    guard: Option<LoopGuard>,
) -> Option<RunResult> {
    let now = azure.clock().now();
    let refusal = earlier(state, world, now, guard).await.one_too_many(&plan.vm, now)?;
    if is_task(&plan.playbook) {
        return None;
    }
    let subject = Subject { world, playbook: &plan.playbook, vm: plan.vm.as_str(), started: now, ended: now };
    let mut result = subject.refused(&[refusal], Some(plan));
    in_world(&mut result, azure.program());
    Some(result)
}

/// What earlier runs in this state did in this Azure; nothing when there is no state yet.
pub async fn earlier(state: Option<&State>, world: &World, now: Timestamp, guard: Option<LoopGuard>) -> Earlier {
    match state {
        Some(state) => Earlier::guarded(state, world, None, now, guard).await,
        None => Earlier::default(),
    }
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
        let mut result = match &self.planned {
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
        in_world(&mut result, &self.program);
        Ok(Decided::Ended { result: Box::new(result), refused: stopped })
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
        let short = self.world.sandbox && !options.vm.is_empty();
        let vm = if short { options.vm.clone() } else { self.vm.to_string() };
        let words = everyday(options, &vm).unwrap_or_else(|| {
            let mut words = vec!["fix".to_owned(), options.asked().to_owned(), "--vm".to_owned(), vm];
            words.extend(options.words());
            words
        });
        let words: Vec<String> = words.iter().map(|word| shell_quote(word)).collect();
        format!("{} {}", self.program, words.join(" "))
    }
}

impl Checked<'_> {
    /// Reads and plans. `started` is when the work began, a wait before it included.
    ///
    /// # Errors
    /// As [`plan`].
    pub async fn propose(
        &self,
        azure: &Azure,
        state: Option<&State>,
        started: Timestamp,
        watch: &Watch,
    ) -> Result<Proposal, Error> {
        let options = self.options;
        let arm = azure.reader_within(reads_more(self.named), options.allow_guest)?.for_one_reading();
        let (finding, arm) = (arm.for_purpose(CallPurpose::Finding), arm.for_purpose(CallPurpose::Planning));
        azure.sign_in().await?;
        let (vm, alert) = self.which(azure, &finding, watch).await?;
        let world = azure.world(&arm, vm.subscription()).await;
        let earlier = earlier(state, &world, azure.clock().now(), options.loop_guard).await;
        let request = |playbook, why: Option<String>| PlanRequest {
            playbook,
            set: options.set.clone(),
            vm: vm.clone(),
            overrides: options.overrides.clone(),
            named_locks: options.locks.clone(),
            relock: options.relock,
            allow_guest: options.allow_guest,
            max_changes: options.max_changes.unwrap_or(MAX_CHANGES_OF_ONE),
            world: world.clone(),
            // What an alert said is evidence too: it stays in the plan and in the journal.
            why: [why, alert.clone()].into_iter().flatten().reduce(|why, alert| format!("{why}; {alert}")),
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
                        None => (AUTO, nothing_fits(choice, view, &vm)),
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

    /// The VM that is meant, and what an alert said of it.
    async fn which(&self, azure: &Azure, finding: &Arm, watch: &Watch) -> Result<(ResourceId, Option<String>), Error> {
        let options = self.options;
        let reading = |name: &str| {
            (watch.notes)(Note::Reading(format!("reading {} and its backup", name.escape_debug())));
        };
        let Some(alerts) = &options.alert else {
            reading(&options.vm);
            return Ok((azure.find_vm(finding, &options.vm, &options.subscriptions).await?, None));
        };
        let Meant { vm, why } = alert::vm(azure, finding, alerts, &options.subscriptions, watch).await?;
        reading(vm.name());
        Ok((vm, Some(why)))
    }
}

/// `protect` for what it can say: people know it by that name.
fn everyday(options: &FixOptions, vm: &str) -> Option<Vec<String>> {
    let value = |wanted: &str| options.set.get(wanted).map(String::as_str);
    let (vault, policy) = (value("vault")?, value("policy")?);
    // Two words for each --set: nothing else was asked for.
    let plain = options.playbook == "unprotected-vm" && options.set.len() == 2 && options.words().len() == 4;
    let words = ["protect", "--vm", vm, "--vault", vault, "--policy", policy];
    plain.then(|| words.map(str::to_owned).to_vec())
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
    locks_again_too_soon(&resolved, relock).map_or(Ok(()), |refusal| Err(refusal.into()))
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
