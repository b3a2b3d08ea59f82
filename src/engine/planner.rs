//! Makes a plan: reads the facts, asks the playbook, lets each action say its changes. Changes nothing.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::earlier::Earlier;
use super::plan::{Decision, Kept, OnFailure, PLAN_FORMAT, Plan, PlannedStep, World, hex};
use crate::actions::ChangeKind;
use crate::actions::change::{Change, Override, Refusal};
use crate::actions::planning::{PlanContext, PlanReads, SoFar, StepDraft};
use crate::actions::points;
use crate::actions::rules::{self, RuleInput, stale};
use crate::actions::spec::ActionSpec;
use crate::arm::Arm;
use crate::arm::id::ResourceId;
use crate::arm::model::Policy;
use crate::clock::elapsed;
use crate::facts::collect::{self, CollectOptions};
use crate::facts::guest::{Guest, look};
use crate::facts::view::View;
use crate::facts::vm_facts::{Part, VmFacts};
use crate::playbook::model::Severity;
use crate::playbook::{Condition, Playbook, Resolved, ResolvedStep, Verdict};
use crate::text::{plural, shell_quote};
use jiff::Timestamp;
use sha2::{Digest, Sha256};

/// When to come back while a backup runs: a transfer to the vault takes hours.
const OWN_BACKUP: Duration = Duration::from_secs(3600);

/// What a plan is made for.
#[derive(Debug, Clone)]
pub struct PlanRequest<'a> {
    /// The playbook.
    pub playbook: &'a Playbook,
    /// `--set key=value`.
    pub set: BTreeMap<String, String>,
    /// The VM.
    pub vm: ResourceId,
    /// Rules switched off by name.
    pub overrides: BTreeSet<Override>,
    /// Locks the user named.
    pub named_locks: Vec<ResourceId>,
    /// Put removed locks back at the end.
    pub relock: bool,
    /// Scripts may run inside the VM.
    pub allow_guest: bool,
    /// S9.
    pub max_changes: usize,
    /// Where the plan is valid.
    pub world: World,
    /// Why this playbook, when azmend chose it.
    pub why: Option<String>,
    /// What earlier runs of this machine did.
    pub earlier: Earlier,
}

/// What planning came to.
#[derive(Debug, Clone)]
pub enum Planned {
    /// There is something to do.
    Plan(Box<Plan>),
    /// There is nothing to do, and everything that decides on that was read.
    NothingToDo {
        /// The view.
        view: Box<View>,
        /// Why, in a sentence.
        why: String,
        /// What else was not read.
        not_read: BTreeMap<String, String>,
        /// What the user should know.
        warnings: Vec<String>,
    },
    /// Whether the playbook applies cannot be said.
    NotChecked {
        /// What was not read.
        unread: BTreeMap<String, String>,
        /// The view.
        view: Box<View>,
    },
    /// A backup that an earlier run of this machine started is still running: what it comes to decides on what is left to do.
    Waiting {
        /// The job, and since when it runs.
        why: String,
        /// When to come back.
        wait: Duration,
        /// The view.
        view: Box<View>,
    },
    /// A rule stops it; nothing was changed.
    Refused {
        /// The rules.
        refusals: Vec<Refusal>,
        /// The plan that was refused, where there is one to show.
        plan: Option<Box<Plan>>,
    },
    /// The parameters are wrong.
    Input(Vec<String>),
}

/// The view of these facts, with the counts that the rules give.
#[must_use]
pub fn view_of(facts: &VmFacts, arm: &Arm, overrides: &BTreeSet<Override>) -> View {
    let now = arm.clock().now();
    let input = RuleInput { facts, now, overrides, orphan_age: rules::ORPHAN_AGE };
    View::of(facts, &stale::counts(&input), now)
}

/// Reads the VM and makes the plan.
pub async fn make_plan(arm: &Arm, request: &PlanRequest<'_>) -> Planned {
    // Wrong parameters need no reading.
    if let Err(errors) = request.playbook.resolve(&request.set) {
        return Planned::Input(errors);
    }
    let options = CollectOptions { own_jobs: request.earlier.jobs(), ..CollectOptions::default() };
    let facts = collect::collect(arm, &request.vm, &options).await;
    Box::pin(plan_of(arm, request, &facts)).await
}

/// Makes the plan from facts that were just read.
pub async fn plan_of(arm: &Arm, request: &PlanRequest<'_>, facts: &VmFacts) -> Planned {
    let resolved = match request.playbook.resolve(&request.set) {
        Ok(resolved) => resolved,
        Err(errors) => return Planned::Input(errors),
    };
    if let Some(refusal) = locks_again_too_soon(&resolved, request.relock) {
        return Planned::Refused { refusals: vec![refusal], plan: None };
    }
    let view = view_of(facts, arm, &request.overrides);
    let evidence = match resolved.applies(&view) {
        Verdict::True => request.why.iter().cloned().chain(evidence(&resolved, &view)).collect(),
        Verdict::False => return not_applying(arm, request, facts, &resolved, view),
        Verdict::NotChecked { .. } => return Planned::NotChecked { unread: view.unread.clone(), view: Box::new(view) },
        Verdict::Error { why } => return Planned::Input(vec![why]),
    };
    let Drafted { steps, stays, fatal } = match Box::pin(draft(arm, request, &resolved, &view, facts)).await {
        Ok(drafted) => drafted,
        Err(Undecided::Unread(unread)) => return Planned::NotChecked { unread, view: Box::new(view) },
        Err(Undecided::Error(why)) => return Planned::Input(vec![why]),
    };
    let plan = Plan {
        format: PLAN_FORMAT.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        created: arm.clock().now(),
        world: request.world.clone(),
        playbook: resolved.name.clone(),
        playbook_digest: hex(&Sha256::digest(request.playbook.text().as_bytes())),
        codes: resolved.codes.clone(),
        vm: request.vm.clone(),
        vm_id: facts.vm.known().map(|vm| vm.vm_id.clone()).unwrap_or_default(),
        params: resolved.params.clone(),
        overrides: request.overrides.clone(),
        named_locks: request.named_locks.clone(),
        relock: request.relock,
        allow_guest: request.allow_guest,
        max_changes: request.max_changes,
        evidence,
        warnings: warnings_of(facts, &steps, &stays),
        steps,
        not_read: view.unread.clone(),
        before: view.clone(),
        hash: String::new(),
        facts: Some(Box::new(facts.clone())),
    }
    .sealed();
    decided(request, facts, &resolved, view, plan, stays, fatal)
}

/// `--relock` with a clean-up by Azure Backup would lock the points again before it has cleaned up.
#[must_use]
pub fn locks_again_too_soon(resolved: &Resolved, relock: bool) -> Option<Refusal> {
    let by_service = resolved.params.get("cleanup").is_some_and(|value| value.to_string() == "service");
    (relock && by_service).then(|| {
        let why = "--relock with cleanup=service would lock the points again before Azure Backup has cleaned up";
        Refusal::new("s6.relock-service", why).hint("omit --relock, or use --set cleanup=stale")
    })
}

fn not_applying(arm: &Arm, request: &PlanRequest<'_>, facts: &VmFacts, resolved: &Resolved, view: View) -> Planned {
    let why = format!("{} does not apply to {}: {}", resolved.name, request.vm.name(), values(resolved, &view));
    // A collection that looks superfluous and is not proven to be is said, with what is missing.
    let (now, overrides) = (arm.clock().now(), &request.overrides);
    let input = RuleInput { facts, now, overrides, orphan_age: rules::ORPHAN_AGE };
    let warnings = stale::find(&input).reported.iter().map(ToString::to_string).collect();
    Planned::NothingToDo { why, not_read: view.unread.clone(), view: Box::new(view), warnings }
}

/// What stays as it is, and what a backup of this VM will be like.
fn warnings_of(facts: &VmFacts, steps: &[PlannedStep], stays: &[Refusal]) -> Vec<String> {
    let told = |refusal: &Refusal| match &refusal.hint {
        Some(hint) => format!("{}; {hint}", refusal.why),
        None => refusal.why.clone(),
    };
    let mut warnings: Vec<String> = stays.iter().map(told).collect();
    if let Some(instance) = facts.instance.known()
        && !instance.power.is_empty()
        && !instance.power.eq_ignore_ascii_case("running")
    {
        warnings.push(format!("the VM is {}: it can be backed up, crash-consistent", instance.power));
    }
    warnings.extend(agent_warning(facts, steps));
    warnings
}

/// What becomes of a plan that was made: `stays` are the things that it would have changed, `fatal` is what stops all of it.
fn decided(
    request: &PlanRequest<'_>,
    facts: &VmFacts,
    resolved: &Resolved,
    view: View,
    plan: Plan,
    stays: Vec<Refusal>,
    mut fatal: Vec<Refusal>,
) -> Planned {
    if plan.weight() > request.max_changes {
        fatal.push(too_many(plan.weight(), request.max_changes));
    }
    let waits =
        requested_backup(&plan, facts, &request.earlier).or_else(|| own_backup(facts, &request.earlier, &fatal));
    if let Some((why, wait)) = waits {
        return Planned::Waiting { why, wait, view: Box::new(view) };
    }
    if !fatal.is_empty() {
        return Planned::Refused { refusals: fatal, plan: Some(Box::new(plan)) };
    }
    if let Some((why, wait)) = clean_up(&plan, &view, &request.earlier) {
        return Planned::Waiting { why, wait, view: Box::new(view) };
    }
    if plan.is_empty() {
        return without_changes(facts, resolved, view, plan, stays);
    }
    // A task is ordered by a person; everything else may be a timer that repairs the same again and again.
    let task = request.playbook.severity() == Severity::Info;
    match request.earlier.one_too_many(&plan.vm, plan.created).filter(|_| !task) {
        Some(refusal) => Planned::Refused { refusals: vec![refusal], plan: Some(Box::new(plan)) },
        None => Planned::Plan(Box::new(plan)),
    }
}

/// A plan without a change is a refusal if something was kept from changing, or if the error is beyond it; else nothing is to do.
fn without_changes(facts: &VmFacts, resolved: &Resolved, view: View, plan: Plan, stays: Vec<Refusal>) -> Planned {
    let mut refusals: Vec<Refusal> =
        plan.steps.iter().flat_map(|step| step.kept.iter().map(|kept| kept.refusal.clone())).collect();
    refusals.extend(stays);
    refusals.dedup();
    if refusals.is_empty()
        && view.unread("backup.last_error").is_none()
        && resolved.codes.contains(&view.backup.last_error)
    {
        refusals.push(beyond_arm(&view, &plan.steps, resolved, facts));
    }
    if !refusals.is_empty() {
        return Planned::Refused { refusals, plan: Some(Box::new(plan)) };
    }
    let why = format!("{} has nothing to change on {}", resolved.name, plan.vm.name());
    // What a step left alone, and why.
    let notes = plan.steps.iter().flat_map(|step| step.notes.iter().cloned());
    let warnings = plan.warnings.iter().cloned().chain(notes).collect();
    Planned::NothingToDo { why, not_read: view.unread.clone(), view: Box::new(view), warnings }
}

/// A backup of a running VM needs its agent. Some policies make backups without one, so this refuses nothing.
fn agent_warning(facts: &VmFacts, steps: &[PlannedStep]) -> Option<String> {
    let instance = facts.instance.known()?;
    let ready = instance.agent.as_ref().is_some_and(crate::arm::model::Agent::is_ready);
    let backs_up =
        steps.iter().flat_map(|step| &step.changes).any(|one| matches!(one.what, ChangeKind::StartBackup(_)));
    (backs_up && instance.power.eq_ignore_ascii_case("running") && !ready).then(|| {
        "the guest agent of the running VM is not Ready: this backup is likely to fail with \
         UserErrorGuestAgentStatusUnavailable until the agent is repaired"
            .to_owned()
    })
}

/// A running backup stops this plan, and it is one that azmend started: the normal case of a runbook that runs every hour,
/// and no refusal.
fn own_backup(facts: &VmFacts, earlier: &Earlier, fatal: &[Refusal]) -> Option<(String, Duration)> {
    if !fatal.iter().any(|refusal| refusal.rule.ends_with(".job-active")) {
        return None;
    }
    let items = facts.items.known().into_iter().flatten();
    let mut jobs = items.flat_map(|item| item.jobs.known().into_iter().flatten());
    let job = jobs.find(|job| job.running() && earlier.started(&facts.id, job))?;
    let since = job.start.map(|at| format!(" at {at:.0}")).unwrap_or_default();
    let why = format!("a backup that was started{since} is running (job {}); nothing else was changed", job.id.name());
    Some((why, OWN_BACKUP))
}

/// A run that was stopped has requested a backup a moment ago, and no list shows its job yet: a second one would run into it, and
/// a deletion into its snapshot.
fn requested_backup(plan: &Plan, facts: &VmFacts, earlier: &Earlier) -> Option<(String, Duration)> {
    if !plan.changes().any(|(_, change)| change.what.disturbs_a_backup()) {
        return None;
    }
    let (one, wait) = earlier.unseen_backup(facts, plan.created)?;
    let why = format!(
        "a backup was requested at {:.0}, and its job is not listed yet; nothing was changed; to follow it: azmend runs resume {}",
        one.at, one.run
    );
    Some((why, wait))
}

/// A backup without room for its point, while an earlier run of this machine waits for Azure Backup to make room: it would only
/// fail, and use up one of the day's attempts. A plan that makes room itself is another thing.
fn clean_up(plan: &Plan, view: &View, earlier: &Earlier) -> Option<(String, Duration)> {
    let backup = plan.changes().any(|(_, change)| matches!(change.what, ChangeKind::StartBackup(_)));
    let deletes = |what: &ChangeKind| matches!(what, ChangeKind::DeletePoint(_) | ChangeKind::DeleteCollection(_));
    let makes_room = plan.changes().any(|(_, change)| deletes(&change.what));
    let now = plan.created;
    let known = view.unread("points.count").is_none() && view.unread("points.limit").is_none();
    let room = known && view.points.count < view.points.limit;
    let one =
        earlier.clean_ups.iter().filter(|one| one.vm == plan.vm && one.until > now).max_by_key(|one| one.until)?;
    (backup && !makes_room && !room).then(|| {
        let why = format!(
            "Azure Backup is cleaning up restore points since an earlier run removed a lock, and there is no room yet; \
             nothing was changed; at about {:.0}: azmend runs resume {}",
            one.until, one.run
        );
        (why, elapsed(now, one.until))
    })
}

/// The steps with their changes, and what speaks against them.
struct Drafted {
    steps: Vec<PlannedStep>,
    /// Locks over the VM's collections that stay in force.
    stays: Vec<Refusal>,
    /// Refusals without which the plan makes no sense.
    fatal: Vec<Refusal>,
}

/// Decides the steps and lets the actions say their changes. What would be deleted is read by itself, point by point; then
/// the steps are drafted once more with what that says.
async fn draft(
    arm: &Arm,
    request: &PlanRequest<'_>,
    resolved: &Resolved,
    view: &View,
    facts: &VmFacts,
) -> Result<Drafted, Undecided> {
    let mut reads = PlanReads {
        policies: policies_to_choose(arm, resolved, facts).await,
        candidate: super::protect_target::candidate_of(arm, resolved, facts).await,
        guest: guest_to_change(arm, resolved, facts, request.allow_guest).await,
        unread_copies: BTreeSet::new(),
    };
    let mut facts = Cow::Borrowed(facts);
    let mut asked = BTreeSet::new();
    loop {
        let so_far = SoFar::nothing(&facts);
        let mut draft = Draft {
            reads: &reads,
            overrides: &request.overrides,
            named_locks: &request.named_locks,
            resolved,
            view,
            now: arm.clock().now(),
            so_far,
            fatal: Vec::new(),
            partly_unread: false,
        };
        let steps = draft.steps()?;
        let (stays, fatal) = (draft.so_far.locks_that_stay().to_vec(), draft.fatal);
        let changes = steps.iter().flat_map(|step| &step.changes).map(|change| &change.what);
        let unread = points::copies_to_read(changes, &facts, &reads);
        if unread.is_empty() || request.overrides.contains(&Override::RecoverySession) {
            return Ok(Drafted { steps, stays, fatal });
        }
        // What its own reading did not settle is kept: nothing is asked twice.
        reads.unread_copies.extend(unread.intersection(&asked).cloned());
        let unread: BTreeSet<_> = unread.difference(&asked).cloned().collect();
        asked.extend(unread.iter().cloned());
        points::read_copies(arm, unread, facts.to_mut(), &mut reads).await;
    }
}

/// The policies of the stopped item's vault, when a step resumes its protection.
async fn policies_to_choose(arm: &Arm, resolved: &Resolved, facts: &VmFacts) -> Part<Vec<Policy>> {
    if !resolved.steps.iter().any(|step| matches!(step.action, ActionSpec::ProtectionResume(_))) {
        return Part::not_asked();
    }
    let mut stopped =
        facts.items.known().into_iter().flatten().filter(|facts| rules::protection::is_stopped(&facts.item));
    let Some(vault) = stopped.next().and_then(|facts| facts.item.vault_id()) else { return Part::not_asked() };
    let at = arm.clock().now();
    match arm.policies(&vault).await {
        Ok(listing) => Part::Known { at, value: listing.items },
        Err(error) => Part::Unread { why: error.to_string() },
    }
}

/// The inside of the VM, when a step changes it and that is allowed.
async fn guest_to_change(arm: &Arm, resolved: &Resolved, facts: &VmFacts, allowed: bool) -> Guest {
    let needed =
        |step: &ResolvedStep| matches!(step.action, ActionSpec::GuestService(_) | ActionSpec::GuestAgentConf(_));
    if allowed && resolved.steps.iter().any(needed) {
        return Guest::Looked(Box::pin(look(arm, facts)).await);
    }
    Guest::NotAllowed
}

/// Why it cannot be said whether a step runs: then there is no plan (S12), for a step that is left out in silence may be
/// the one that matters.
enum Undecided {
    /// Its condition needs something that was not read: path and why.
    Unread(BTreeMap<String, String>),
    /// Its condition cannot be evaluated.
    Error(String),
}

impl Undecided {
    /// From the `path: why` of a verdict.
    fn unread(step: &str, unread: &[String]) -> Self {
        let pairs = unread.iter().map(|text| text.split_once(": ").unwrap_or((text, "not read")));
        Self::Unread(
            pairs.map(|(path, why)| (path.to_owned(), format!("{why} (needed for the step {step})"))).collect(),
        )
    }
}

/// What is being drafted.
struct Draft<'a> {
    /// What was read for some actions only.
    reads: &'a PlanReads,
    overrides: &'a BTreeSet<Override>,
    named_locks: &'a [ResourceId],
    resolved: &'a Resolved,
    view: &'a View,
    now: Timestamp,
    /// What the steps so far leave behind.
    so_far: SoFar<'a>,
    /// Refusals without which the plan makes no sense.
    fatal: Vec<Refusal>,
    /// A step goes on without something that it could not read.
    partly_unread: bool,
}

impl Draft<'_> {
    /// All steps in their order.
    fn steps(&mut self) -> Result<Vec<PlannedStep>, Undecided> {
        let mut steps: Vec<PlannedStep> = Vec::new();
        let resolved = self.resolved;
        for step in &resolved.steps {
            let planned = self.step(step, &steps)?;
            steps.push(planned);
        }
        Ok(steps)
    }

    /// Decides whether a step runs, once and for all but for its `after`, and lets its action say its changes.
    fn step(&mut self, step: &ResolvedStep, earlier: &[PlannedStep]) -> Result<PlannedStep, Undecided> {
        let mut planned = PlannedStep {
            id: step.id.clone(),
            action: step.action.clone(),
            when: step.when.as_ref().map(|when| when.source().to_owned()).unwrap_or_default(),
            after: step.after.clone(),
            on_failure: match step.on_failure {
                crate::playbook::OnFailure::Stop => OnFailure::Stop,
                crate::playbook::OnFailure::Continue => OnFailure::Continue,
            },
            timeout: step.timeout,
            decision: Decision::Run,
            changes: Vec::new(),
            kept: Vec::new(),
            notes: Vec::new(),
        };
        let verdict = self.resolved.runs(step, self.view);
        // A step that cannot run needs no condition, and nothing that was not read matters to it.
        let off = match verdict {
            Verdict::False => Some(not_met(&planned.when)),
            _ => planned.never(earlier),
        };
        if let Some(why) = off {
            // What a required step waits for is refused already: nothing is begun without it.
            if verdict != Verdict::False && planned.on_failure == OnFailure::Stop {
                self.fatal.extend(planned.refused_with(earlier));
            }
            planned.decision = Decision::Off { why };
            return Ok(planned);
        }
        match verdict {
            Verdict::True | Verdict::False => {}
            Verdict::NotChecked { unread } => return Err(Undecided::unread(&step.id, &unread)),
            Verdict::Error { why } => return Err(Undecided::Error(format!("the step {}: {why}", step.id))),
        }
        self.fill(step, &mut planned)?;
        Ok(planned)
    }

    /// Lets the action say its changes, on the facts as the steps so far leave them.
    fn fill(&mut self, step: &ResolvedStep, planned: &mut PlannedStep) -> Result<(), Undecided> {
        let input = RuleInput {
            facts: self.so_far.facts(),
            now: self.now,
            overrides: self.overrides,
            orphan_age: rules::ORPHAN_AGE,
        };
        let mut draft = step.action.plan(&PlanContext {
            input,
            named_locks: self.named_locks,
            room: self.room(),
            locks_that_stay: self.so_far.locks_that_stay(),
            reads: self.reads,
        });
        let unread: Vec<String> = draft.unread.drain(..).map(|(path, why)| format!("{path}: {why}")).collect();
        if !unread.is_empty() && planned.on_failure == OnFailure::Stop {
            return Err(Undecided::unread(&step.id, &unread));
        }
        self.partly_unread |= draft.partly_unread || !unread.is_empty();
        draft.notes.extend(unread.into_iter().map(|what| format!("not read: {what}")));
        self.adopt(draft, planned);
        Ok(())
    }

    /// Takes what an action said into the plan. A step that is required and cannot be made refuses the plan.
    fn adopt(&mut self, draft: StepDraft, planned: &mut PlannedStep) {
        let required = planned.on_failure == OnFailure::Stop;
        planned.notes = draft.notes;
        if required && !draft.blocked.is_empty() {
            self.fatal.extend(draft.blocked);
            return;
        }
        planned.kept = draft.kept.into_iter().map(|(count, refusal)| Kept { count, refusal }).collect();
        for (count, refusal) in draft.refused {
            // Two steps can be refused for one reason: the plan is refused for it once.
            if required && !self.fatal.contains(&refusal) {
                self.fatal.push(refusal.clone());
            }
            planned.kept.push(Kept { count, refusal });
        }
        let numbered = draft.changes.into_iter().enumerate();
        planned.changes = numbered.map(|(i, (what, effect))| Change::new(&planned.id, i + 1, what, effect)).collect();
        self.so_far.add(&planned.changes, draft.locks_that_stay, self.reads);
    }

    /// Points after the steps so far, and the limit, when both were read.
    fn room(&self) -> Option<(usize, usize)> {
        if self.view.unread("points.count").is_some() || self.view.unread("points.limit").is_some() {
            return None;
        }
        let count = usize::try_from(self.view.points.count).ok()?;
        Some((count.saturating_sub(self.so_far.deleted()), usize::try_from(self.view.points.limit).ok()?))
    }
}

/// What the facts in hand say of a plan before anything more is read for it.
pub(super) enum Outlook {
    /// Nothing speaks against it, or what would is not read.
    Open,
    /// It would be refused for this, whatever else is read.
    Refused(Refusal),
    /// It would change nothing.
    Nothing,
}

/// Whether a refusal says only that something was not read, or not allowed yet: a fix reads that, so it foretells nothing.
fn only_unread(refusal: &Refusal) -> bool {
    refusal.rule.ends_with("unread") || refusal.rule == "guest.not-allowed"
}

/// Drafts the steps on facts that were read before, and reads nothing. What a plan reads besides (policies, the inside of the
/// VM, other collections of a group) is unread here.
pub(super) fn outlook(resolved: &Resolved, facts: &VmFacts, view: &View, max_changes: usize) -> Outlook {
    let reads = PlanReads {
        policies: Part::not_asked(),
        candidate: rules::enabling::Candidate::not_asked(),
        guest: Guest::NotAllowed,
        unread_copies: BTreeSet::new(),
    };
    let overrides = BTreeSet::new();
    let so_far = SoFar::nothing(facts);
    let mut draft = Draft {
        reads: &reads,
        overrides: &overrides,
        named_locks: &[],
        resolved,
        view,
        now: facts.at,
        so_far,
        fatal: Vec::new(),
        partly_unread: false,
    };
    let Ok(steps) = draft.steps() else { return Outlook::Open };
    let (stays, fatal) = (draft.so_far.locks_that_stay().to_vec(), draft.fatal);
    if !fatal.is_empty() {
        return fatal.into_iter().find(|one| !only_unread(one)).map_or(Outlook::Open, Outlook::Refused);
    }
    let weight: usize = steps.iter().flat_map(|step| &step.changes).map(Change::weight).sum();
    if weight > max_changes {
        return Outlook::Refused(too_many(weight, max_changes));
    }
    if weight > 0 || steps.iter().any(|step| !step.changes.is_empty()) {
        return Outlook::Open;
    }
    let kept = steps.iter().flat_map(|step| step.kept.iter().map(|kept| &kept.refusal)).chain(&stays);
    let kept: Vec<&Refusal> = kept.collect();
    if draft.partly_unread || kept.iter().any(|one| only_unread(one)) {
        return Outlook::Open;
    }
    match kept.first() {
        Some(first) => Outlook::Refused((*first).clone()),
        None if view.unread("backup.last_error").is_none() && resolved.codes.contains(&view.backup.last_error) => {
            Outlook::Refused(beyond_arm(view, &steps, resolved, facts))
        }
        None => Outlook::Nothing,
    }
}

/// S9.
fn too_many(weight: usize, allowed: usize) -> Refusal {
    let changes = plural(weight, "change");
    let why = format!("the plan has {changes} ({allowed} allowed; every point in a collection counts)");
    let hint = format!("look at the plan, then allow it with --max-changes {weight}");
    Refusal::new("s9.max-changes", why).hint(hint)
}

/// The VM has the error, and no change through ARM repairs it as things stand: that is not "nothing to do".
fn beyond_arm(view: &View, steps: &[PlannedStep], resolved: &Resolved, facts: &VmFacts) -> Refusal {
    let backup = &view.backup;
    let code = if backup.inner_error.is_empty() { &backup.last_error } else { &backup.inner_error };
    // What holds the steps back are facts, not the text of conditions; what they would have found besides is a note.
    let mut held: Vec<String> = Vec::new();
    for step in steps {
        match &step.decision {
            Decision::Off { why } => {
                let when = resolved.steps.iter().find(|one| one.id == step.id).and_then(|one| one.when.as_ref());
                let facts = when.map(|when| touched_facts(when, view)).unwrap_or_default();
                held.extend(if facts.is_empty() { vec![why.clone()] } else { facts });
            }
            Decision::Run => held.extend(step.notes.first().cloned()),
        }
    }
    let mut told = BTreeSet::new();
    held.retain(|fact| told.insert(fact.clone()));
    let others: Vec<&str> = facts
        .extensions
        .known()
        .into_iter()
        .flatten()
        .filter(|one| one.provisioning_state.eq_ignore_ascii_case("Failed"))
        .map(|one| one.id.name())
        .filter(|name| !name.to_ascii_lowercase().starts_with("vmsnapshot"))
        .collect();
    let passed_on =
        if backup.inner_error.is_empty() { String::new() } else { format!(" (it wraps {})", backup.inner_error) };
    let because = if held.is_empty() { String::new() } else { format!(": {}", held.join(", ")) };
    let why = format!(
        "the last backup failed with {}{passed_on}, and nothing that {} can do now repairs it{because}",
        backup.last_error, resolved.name
    );
    let why = match collect::last_failure_words(facts) {
        Some(words) => format!("{why}; Azure says: {words}"),
        None => why,
    };
    let explain = format!("what to do in the guest or by hand: azmend explain {code}");
    match others.first() {
        None => Refusal::new("guide.not-by-arm", why).hint(explain),
        // Not Backup's own: whether it may go is for whoever installed it to say.
        Some(first) => Refusal::new("guide.not-by-arm", format!("{why}; failed extensions: {}", others.join(", ")))
            .hint(format!(
                "repair {first}, or remove it if it is not needed: az vm extension delete --ids {}; {explain}",
                shell_quote(&format!("{}/extensions/{first}", facts.id))
            )),
    }
}

/// Why a step is skipped: `params.cleanup is not collection` for `params.cleanup == "collection"`, else the condition as it is
/// written.
fn not_met(when: &str) -> String {
    let name = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
    let sides = [(" == ", "is not"), (" != ", "is")].into_iter().find_map(|(operator, words)| {
        when.split_once(operator).map(|(path, value)| (path.trim(), words, value.trim()))
    });
    if let Some((path, words, value)) = sides
        && let Some(value) = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'))
        && name(path)
        && name(value)
    {
        return format!("{path} {words} {value}");
    }
    if name(when) { format!("{when} is false") } else { format!("the condition is false: {when}") }
}

/// The facts that made the playbook apply: each touched path with its value.
pub(super) fn evidence(resolved: &Resolved, view: &View) -> Vec<String> {
    touched_values(&resolved.applies, view)
}

/// The values that a condition looks at.
fn touched_values(condition: &Condition, view: &View) -> Vec<String> {
    let tree = serde_json::to_value(view).unwrap_or_default();
    condition.touched().iter().filter_map(|path| touched_value(path, &tree)).collect()
}

/// The same as a person says it: what of the VM keeps a step from running.
fn touched_facts(condition: &Condition, view: &View) -> Vec<String> {
    let tree = serde_json::to_value(view).unwrap_or_default();
    let ready = |ready: bool| if ready { "Ready" } else { "not Ready" };
    let fact = |path: &String| {
        Some(match path.as_str() {
            "vmsnapshot.state" if view.vmsnapshot.state.is_empty() => "VMSnapshot is not installed".to_owned(),
            "vmsnapshot.state" => format!("VMSnapshot is {}", view.vmsnapshot.state),
            "agent.ready" => format!("the guest agent is {}", ready(view.agent.ready)),
            "vm.power" => format!("the VM is {}", view.vm.power),
            "extensions.other_failed" => {
                let count = usize::try_from(view.extensions.other_failed).unwrap_or(0);
                format!("{} failed", plural(count, "other extension"))
            }
            "points.count" => format!("the VM has {} restore points", view.points.count),
            "points.limit" => format!("their limit is {}", view.points.limit),
            // Both stand before it in the sentence; a parameter is what somebody chose.
            "backup.last_error" | "backup.inner_error" => return None,
            _ if path.starts_with("params.") => return None,
            _ => return touched_value(path, &tree),
        })
    };
    condition.touched().iter().filter_map(fact).collect()
}

/// A value that a condition looks at.
fn touched_value(path: &str, tree: &serde_json::Value) -> Option<String> {
    let value = tree.pointer(&format!("/{}", path.replace('.', "/")))?;
    let said = || value.as_str().map_or_else(|| value.to_string(), |text| format!("{text:?}"));
    (!value.is_object()).then(|| format!("{path} is {}", said()))
}

fn values(resolved: &Resolved, view: &View) -> String {
    let evidence = evidence(resolved, view);
    if evidence.is_empty() { "the condition is false".to_owned() } else { evidence.join(", ") }
}
