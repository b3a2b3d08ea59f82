//! What a fleet came to: one object (`azmend.fleet/v1`) that lists the results of its VMs.
//!
//! Pure. The exit code is the worst of all (design 6c), with one addition: 4 and 5 say that nothing was changed, so a fleet
//! that changed something on one VM and was refused on another says 6. What could not be looked at is never left out (S12).

use crate::facts::unread::Unread;
use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{MemberOutcome, Reason};
use crate::actions::change::ChangeKind;
use crate::actions::locks::RemoveLock;
use crate::actions::points::DeleteCollection;
use crate::engine::audit::kinds;
use crate::engine::exit;
use crate::engine::plan::Plan;
use crate::engine::planner::Planned;
use crate::engine::result::{ErrorResult, RunResult, Status};

/// Name and version of the object.
pub const FLEET_SCHEMA: &str = "azmend.fleet/v1";

/// Why a VM has no plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unplanned {
    /// Read on its own, it needs nothing.
    NothingToDo,
    /// A rule stops it.
    Refused,
    /// What decides could not be read.
    NotChecked,
    /// A backup that azmend started earlier is still running.
    Waiting,
}

/// A VM without a plan: nothing of it was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NotPlanned {
    /// Its resource id.
    pub vm: String,
    /// The playbook, when one was chosen.
    pub playbook: Option<String>,
    /// Why not.
    pub reason: Unplanned,
    /// The rule, or azmend's own word (`vm_not_found`, `not_checked`).
    pub code: Option<String>,
    /// In a sentence.
    pub why: String,
    /// What to do.
    pub hint: Option<String>,
    /// What of it could not be read.
    pub not_read: BTreeMap<String, String>,
}

/// A VM with a plan that was not started: nothing of it was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NotStarted {
    /// Its resource id.
    pub vm: String,
    /// The playbook.
    pub playbook: String,
    /// Why not.
    pub reason: Reason,
    /// In a sentence.
    pub why: String,
}

/// What plans would change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Sums {
    /// Changes; every point in a collection counts (S9).
    pub changes: usize,
    /// Management locks that are removed. A lock that several VMs share is one.
    pub locks: usize,
    /// Restore points that are deleted, those in collections included.
    pub points: usize,
    /// Backups that are started.
    pub backups: usize,
    /// VMs that are restarted.
    pub restarts: usize,
    /// Every kind of change and how many: `{ "locks removed": 2, "protections resumed": 1 }`. What several VMs share counts
    /// once.
    pub kinds: BTreeMap<String, usize>,
}

/// VMs by what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Counts {
    /// VMs that were read one by one.
    pub vms: usize,
    /// Of these with a plan.
    pub planned: usize,
    /// Runs that succeeded.
    pub succeeded: usize,
    /// Runs that did a part.
    pub partial: usize,
    /// Runs that failed; `refused` and `stuck` are counted apart.
    pub failed: usize,
    /// Runs that a rule stopped before they changed anything.
    pub refused: usize,
    /// Runs that can be resumed.
    pub paused: usize,
    /// Runs that need a person.
    pub stuck: usize,
    /// Planned and not started.
    pub not_started: usize,
    /// Read one by one, they need nothing.
    pub nothing_to_do: usize,
    /// A rule stopped the plan.
    pub not_plannable: usize,
    /// What decides could not be read.
    pub not_checked: usize,
    /// VMs with a backup that azmend started earlier and that is still running.
    pub waiting: usize,
}

/// The fleet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FleetResult {
    /// [`FLEET_SCHEMA`].
    pub schema: String,
    /// Its state.
    pub status: Status,
    /// The process's exit code.
    pub exit_code: u8,
    /// The fleet, when one was started.
    pub fleet_id: Option<String>,
    /// The fleet whose failed VMs this one takes up again.
    pub retry_of: Option<String>,
    /// Whether this was the embedded Azure.
    pub sandbox: bool,
    /// Cloud.
    pub cloud: Option<String>,
    /// Tenant id.
    pub tenant: Option<String>,
    /// Who signed in.
    pub identity: Option<String>,
    /// Playbook name, or `auto`.
    pub playbook: String,
    /// Which VMs were meant, in words.
    pub scope: String,
    /// When the command started.
    #[schemars(with = "Option<String>")]
    pub started: Option<Timestamp>,
    /// When it ended.
    #[schemars(with = "Option<String>")]
    pub ended: Option<Timestamp>,
    /// VMs by what became of them.
    pub counts: Counts,
    /// What the plans change, all together.
    pub plan: Sums,
    /// How many VMs each wave has.
    pub waves: Vec<usize>,
    /// The VMs that ran, or of a dry run those with a plan: an `azmend.result/v1` each.
    pub results: Vec<RunResult>,
    /// The VMs without a plan.
    pub not_planned: Vec<NotPlanned>,
    /// The VMs with a plan that were not started.
    pub not_started: Vec<NotStarted>,
    /// Scopes that could not be read.
    pub not_read: Vec<Unread>,
    /// What the user should know.
    pub warnings: Vec<String>,
    /// Seconds after which it makes sense to try again.
    pub retry_after: Option<u64>,
    /// Why the fleet as a whole was not started.
    pub error: Option<ErrorResult>,
    /// The next command.
    pub next: Option<String>,
}

impl Sums {
    /// The sums of these plans.
    #[must_use]
    pub fn of(plans: &[Plan]) -> Self {
        let mut sums = Self { kinds: kinds(plans), ..Self::default() };
        let mut locks = std::collections::BTreeSet::new();
        for plan in plans {
            sums.changes += plan.weight();
            for (_, change) in plan.changes() {
                match &change.what {
                    ChangeKind::RemoveLock(RemoveLock { lock }) => {
                        locks.insert(lock.id.key().to_owned());
                    }
                    ChangeKind::DeleteCollection(DeleteCollection { collection, .. }) => {
                        sums.points += collection.points().len()
                    }
                    ChangeKind::DeletePoint(_) => sums.points += 1,
                    ChangeKind::StartBackup(_) => sums.backups += 1,
                    ChangeKind::RestartVm(_) => sums.restarts += 1,
                    _ => {}
                }
            }
        }
        sums.locks = locks.len();
        sums
    }
}

impl NotPlanned {
    /// The VM, when planning came to no plan. The limit of one VM is not the fleet's, so its way out is said anew.
    #[must_use]
    pub fn of(vm: &str, playbook: Option<&str>, planned: &Planned, by_itself: &str) -> Option<Self> {
        let base = |reason, why: String| Self {
            vm: vm.to_owned(),
            playbook: playbook.map(str::to_owned),
            reason,
            code: None,
            why,
            hint: None,
            not_read: BTreeMap::new(),
        };
        Some(match planned {
            Planned::Plan(_) => return None,
            Planned::NothingToDo { why, not_read, .. } => {
                Self { not_read: not_read.clone(), ..base(Unplanned::NothingToDo, why.clone()) }
            }
            Planned::NotChecked { unread, .. } => {
                let first = unread.iter().next().map(|(path, why)| format!(": {path}: {why}")).unwrap_or_default();
                Self {
                    code: Some("not_checked".to_owned()),
                    not_read: unread.clone(),
                    ..base(Unplanned::NotChecked, format!("not everything that decides could be read{first}"))
                }
            }
            Planned::Waiting { why, .. } => Self {
                code: Some("backup_running".to_owned()),
                hint: Some("run azmend again when it has ended".to_owned()),
                ..base(Unplanned::Waiting, why.clone())
            },
            Planned::Refused { refusals, plan } => {
                let first = refusals.first();
                let why = first.map_or_else(|| "a rule stops it".to_owned(), |refusal| refusal.why.clone());
                let own_limit = first.is_some_and(|refusal| refusal.rule == "s9.max-changes");
                let allowed = plan.as_deref().map(Plan::weight).unwrap_or_default();
                Self {
                    code: first.map(|refusal| refusal.rule.clone()),
                    hint: if own_limit {
                        Some(format!("review it separately: {by_itself} --max-changes {allowed}"))
                    } else {
                        first.and_then(|refusal| refusal.hint.clone())
                    },
                    not_read: plan.as_deref().map(|plan| plan.not_read.clone()).unwrap_or_default(),
                    ..base(Unplanned::Refused, why)
                }
            }
            Planned::Input(errors) => {
                Self { code: Some("input".to_owned()), ..base(Unplanned::NotChecked, errors.join("; ")) }
            }
        })
    }
}

impl FleetResult {
    /// Takes in what became of the VMs with a plan.
    pub fn take(&mut self, plans: &[Plan], outcomes: Vec<MemberOutcome>) {
        for (plan, member_outcome) in plans.iter().zip(outcomes) {
            match member_outcome {
                MemberOutcome::Ran(result) => self.results.push(*result),
                MemberOutcome::NotStarted { reason, why } => self.not_started.push(NotStarted {
                    vm: plan.vm.to_string(),
                    playbook: plan.playbook.clone(),
                    reason,
                    why,
                }),
            }
        }
    }

    /// Counts, and decides status and exit code. `ran` is false for a fleet that was not begun (dry run, refused).
    pub fn conclude(&mut self, ran: bool) {
        let by_status = |status: Status| self.results.iter().filter(|one| one.status == status).count();
        let unplanned = |reason: Unplanned| self.not_planned.iter().filter(|one| one.reason == reason).count();
        let planned = self.results.len() + self.not_started.len();
        self.counts = Counts {
            vms: planned + self.not_planned.len(),
            planned,
            succeeded: by_status(Status::Succeeded),
            partial: by_status(Status::Partial),
            failed: by_status(Status::Failed) + by_status(Status::Error),
            refused: by_status(Status::Refused),
            paused: by_status(Status::Paused),
            stuck: by_status(Status::Stuck),
            not_started: self.not_started.len(),
            nothing_to_do: unplanned(Unplanned::NothingToDo) + by_status(Status::NothingToDo),
            not_plannable: unplanned(Unplanned::Refused),
            not_checked: unplanned(Unplanned::NotChecked),
            waiting: unplanned(Unplanned::Waiting),
        };
        self.retry_after = self.results.iter().filter_map(|one| one.retry_after).max();
        (self.status, self.exit_code) = if ran { self.after() } else { self.before() };
        let unread = !self.not_read.is_empty()
            || self.counts.not_checked > 0
            || self.not_planned.iter().any(|one| !one.not_read.is_empty());
        if unread {
            self.exit_code = exit::worst(self.exit_code, exit::PARTIAL);
        }
        if self.counts.waiting > 0 {
            self.exit_code = exit::worst(self.exit_code, exit::COME_BACK);
        }
    }

    /// A fleet that was not begun.
    fn before(&self) -> (Status, u8) {
        let counts = &self.counts;
        if counts.planned > 0 {
            let codes = self.results.iter().map(|one| one.exit_code);
            return (Status::Planned, codes.fold(exit::FOUND, exit::worst));
        }
        if counts.not_plannable > 0 {
            return (Status::Refused, exit::REFUSED);
        }
        if counts.not_checked > 0 {
            return (Status::Failed, exit::PARTIAL);
        }
        if counts.waiting > 0 {
            return (Status::Waiting, exit::COME_BACK);
        }
        (Status::NothingToDo, exit::OK)
    }

    /// A fleet that was begun.
    fn after(&self) -> (Status, u8) {
        let counts = &self.counts;
        let mut code = self.results.iter().map(|one| one.exit_code).fold(exit::OK, exit::worst);
        for one in &self.not_started {
            code = exit::worst(
                code,
                match one.reason {
                    // Whatever stopped it has the code that tells.
                    Reason::Failures | Reason::Stuck => exit::OK,
                    Reason::Interrupted | Reason::Deadline | Reason::Expired | Reason::Waiting => exit::COME_BACK,
                    Reason::CouldNotBegin => exit::REFUSED,
                },
            );
        }
        if counts.not_plannable > 0 {
            code = exit::worst(code, exit::REFUSED);
        }
        let settled = |outcome: &str| matches!(outcome, "succeeded" | "pending" | "unknown");
        let changed = self.results.iter().any(|one| {
            matches!(one.status, Status::Succeeded | Status::Partial | Status::Stuck)
                || one.changes.iter().any(|change| settled(&change.outcome))
        });
        // These two say that nothing was changed.
        if changed && matches!(code, exit::PERMISSION | exit::REFUSED) {
            code = exit::PARTIAL;
        }
        let unhappy = counts.partial + counts.failed + counts.refused + counts.not_started + counts.not_plannable;
        let status = if counts.stuck > 0 {
            Status::Stuck
        } else if counts.succeeded > 0 && unhappy > 0 || counts.partial > 0 {
            Status::Partial
        } else if counts.failed > 0 {
            Status::Failed
        } else if counts.paused > 0 || self.come_back() {
            Status::Paused
        } else if counts.succeeded > 0 {
            Status::Succeeded
        } else {
            Status::Refused
        };
        (status, code)
    }

    fn come_back(&self) -> bool {
        let later =
            |reason| matches!(reason, Reason::Interrupted | Reason::Deadline | Reason::Expired | Reason::Waiting);
        self.not_started.iter().any(|one| later(one.reason))
    }

    /// Whether `--retry-failed` would find something.
    #[must_use]
    pub fn retriable(&self) -> bool {
        !self.not_started.is_empty()
            || self.results.iter().any(|one| {
                one.run_id.is_some() && matches!(one.status, Status::Failed | Status::Partial | Status::Refused)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fleet() -> FleetResult {
        FleetResult {
            schema: FLEET_SCHEMA.into(),
            status: Status::Planned,
            exit_code: 0,
            fleet_id: None,
            retry_of: None,
            sandbox: true,
            cloud: None,
            tenant: None,
            identity: None,
            playbook: "auto".into(),
            scope: "all".into(),
            started: None,
            ended: None,
            counts: Counts::default(),
            plan: Sums::default(),
            waves: Vec::new(),
            results: Vec::new(),
            not_planned: Vec::new(),
            not_started: Vec::new(),
            not_read: Vec::new(),
            warnings: Vec::new(),
            retry_after: None,
            error: None,
            next: None,
        }
    }

    fn run(status: Status, code: u8) -> RunResult {
        RunResult { run_id: Some("r".into()), ..RunResult::empty(status, code, true) }
    }

    fn unplanned(reason: Unplanned) -> NotPlanned {
        let planned = Planned::Input(vec!["x".into()]);
        NotPlanned { reason, ..NotPlanned::of("/vm", None, &planned, "azmend fix p --vm v").unwrap() }
    }

    fn waiting(reason: Reason) -> NotStarted {
        NotStarted { vm: "/vm".into(), playbook: "p".into(), reason, why: "x".into() }
    }

    fn ended(runs: &[(Status, u8)], change: impl FnOnce(&mut FleetResult)) -> (Status, u8) {
        let mut fleet = fleet();
        fleet.results = runs.iter().map(|(status, code)| run(*status, *code)).collect();
        change(&mut fleet);
        fleet.conclude(true);
        (fleet.status, fleet.exit_code)
    }

    #[test]
    fn the_worst_of_all_wins_and_nothing_changed_is_only_said_when_it_is_so() {
        let ok = (Status::Succeeded, 0);
        assert_eq!(ended(&[ok, ok], |_| {}), (Status::Succeeded, 0));
        assert_eq!(ended(&[ok, (Status::Refused, 5)], |_| {}), (Status::Partial, 6));
        assert_eq!(ended(&[(Status::Refused, 5)], |_| {}), (Status::Refused, 5));
        assert_eq!(
            ended(&[(Status::Failed, 4)], |f| f.not_started.push(waiting(Reason::Failures))),
            (Status::Failed, 4)
        );
        assert_eq!(ended(&[ok, (Status::Failed, 9)], |_| {}), (Status::Partial, 9));
        assert_eq!(ended(&[ok, (Status::Stuck, 8), (Status::Failed, 9)], |_| {}), (Status::Stuck, 8));
        assert_eq!(ended(&[ok, (Status::Paused, 7)], |_| {}), (Status::Paused, 7));
        assert_eq!(ended(&[ok], |f| f.not_started.push(waiting(Reason::Interrupted))), (Status::Partial, 7));
        assert_eq!(ended(&[], |f| f.not_started.push(waiting(Reason::Deadline))), (Status::Paused, 7));
        assert_eq!(ended(&[], |f| f.not_started.push(waiting(Reason::Expired))), (Status::Paused, 7));
        assert_eq!(ended(&[ok], |f| f.not_started.push(waiting(Reason::Expired))), (Status::Partial, 7));
        assert_eq!(ended(&[ok], |f| f.not_planned.push(unplanned(Unplanned::Refused))), (Status::Partial, 6));
        assert_eq!(ended(&[ok], |f| f.not_planned.push(unplanned(Unplanned::NothingToDo))), (Status::Succeeded, 0));
        let unread = Unread { what: "a subscription".into(), why: "403".into() };
        assert_eq!(ended(&[ok], |f| f.not_read.push(unread)), (Status::Succeeded, 6));
    }

    #[test]
    fn a_fleet_that_was_not_begun_says_what_it_found() {
        let looked = |change: fn(&mut FleetResult)| {
            let mut fleet = fleet();
            change(&mut fleet);
            fleet.conclude(false);
            (fleet.status, fleet.exit_code)
        };
        assert_eq!(looked(|_| {}), (Status::NothingToDo, 0));
        let plan = |f: &mut FleetResult| f.results.push(RunResult::empty(Status::Planned, 3, true));
        assert_eq!(looked(plan), (Status::Planned, 3));
        assert_eq!(
            looked(|f| {
                f.results.push(RunResult::empty(Status::Planned, 3, true));
                f.not_planned.push(unplanned(Unplanned::Refused));
            }),
            (Status::Planned, 3)
        );
        assert_eq!(looked(|f| f.not_planned.push(unplanned(Unplanned::Refused))), (Status::Refused, 5));
        assert_eq!(looked(|f| f.not_planned.push(unplanned(Unplanned::NotChecked))), (Status::Failed, 6));
        assert_eq!(looked(|f| f.not_read.push(Unread { what: "a".into(), why: "b".into() })), (Status::NothingToDo, 6));
    }
}
