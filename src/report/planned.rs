//! The result object of everything that ends before a run begins: dry runs, saved plans, nothing to do, refusals.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::actions::change::{Refusal, Undo};
use crate::engine::plan::{Plan, World};
use crate::engine::result::{ChangeResult, ErrorResult, RunResult, Status};
use crate::engine::state::{RunPhase, RunState};
use crate::engine::{exit, finish};
use crate::facts::view::View;

/// What a command was about.
#[derive(Debug, Clone)]
pub struct Subject<'a> {
    /// Where.
    pub world: &'a World,
    /// The playbook's name.
    pub playbook: &'a str,
    /// The VM's resource id.
    pub vm: &'a str,
    /// When the command began.
    pub started: Timestamp,
    /// Now.
    pub ended: Timestamp,
}

impl Subject<'_> {
    fn base(&self, status: Status, exit_code: u8) -> RunResult {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        RunResult {
            cloud: some(&self.world.cloud),
            tenant: some(&self.world.tenant),
            subscription: some(&self.world.subscription),
            identity: some(&self.world.identity),
            playbook: some(self.playbook),
            vm: some(self.vm),
            started: Some(self.started),
            ended: Some(self.ended),
            ..RunResult::empty(status, exit_code, self.world.sandbox)
        }
    }

    /// A plan that was made and not applied.
    #[must_use]
    pub fn planned(&self, plan: &Plan, next: String) -> RunResult {
        let unread = if plan.not_read.is_empty() { exit::OK } else { exit::PARTIAL };
        RunResult {
            changes: changes(plan, "planned"),
            before: Some(plan.before.clone()),
            warnings: plan.warnings.clone(),
            not_read: plan.not_read.clone(),
            next: Some(next),
            ..self.base(Status::Planned, exit::worst(exit::FOUND, unread))
        }
    }

    /// A plan that was made and saved: that is what was asked for, so the next command of a script can apply it. 6 when something
    /// was not read.
    #[must_use]
    pub fn saved(&self, plan: &Plan, next: String) -> RunResult {
        let exit_code = if plan.not_read.is_empty() { exit::OK } else { exit::PARTIAL };
        RunResult { exit_code, ..self.planned(plan, next) }
    }

    /// Nothing to do.
    #[must_use]
    pub fn nothing(
        &self,
        view: &View,
        why: &str,
        not_read: &BTreeMap<String, String>,
        warnings: &[String],
    ) -> RunResult {
        let exit_code = if not_read.is_empty() { exit::OK } else { exit::PARTIAL };
        RunResult {
            before: Some(view.clone()),
            warnings: std::iter::once(why.to_owned()).chain(warnings.iter().cloned()).collect(),
            not_read: not_read.clone(),
            ..self.base(Status::NothingToDo, exit_code)
        }
    }

    /// Whether there is something to do cannot be said.
    #[must_use]
    pub fn not_checked(&self, view: &View, unread: &BTreeMap<String, String>) -> RunResult {
        let first = unread.iter().next().map(|(path, why)| format!(": {path}: {why}")).unwrap_or_default();
        RunResult {
            before: Some(view.clone()),
            not_read: unread.clone(),
            error: Some(ErrorResult {
                code: "not_checked".to_owned(),
                message: format!("{} was not checked, because not everything could be read{first}", self.playbook),
                hint: Some("run it again; where a permission is missing, azmend doctor names it".to_owned()),
            }),
            ..self.base(Status::Failed, exit::PARTIAL)
        }
    }

    /// A backup that azmend started earlier is still running.
    #[must_use]
    pub fn waiting(&self, view: &View, why: &str, wait: Duration) -> RunResult {
        RunResult {
            before: Some(view.clone()),
            not_read: view.unread.clone(),
            retry_after: Some(wait.as_secs()),
            error: Some(ErrorResult {
                code: "backup_running".to_owned(),
                message: why.to_owned(),
                hint: Some("run azmend again when it has ended; azmend jobs shows it".to_owned()),
            }),
            ..self.base(Status::Waiting, exit::COME_BACK)
        }
    }

    /// Rules stopped it.
    #[must_use]
    pub fn refused(&self, refusals: &[Refusal], plan: Option<&Plan>) -> RunResult {
        let error = refusals.first().map(|refusal| ErrorResult {
            code: refusal.rule.clone(),
            message: refusal.why.clone(),
            hint: refusal.hint.clone(),
        });
        let mut warnings: Vec<String> = plan.map(|plan| plan.warnings.clone()).unwrap_or_default();
        for refusal in refusals.iter().skip(1) {
            warnings.push(refusal.to_string());
        }
        RunResult {
            changes: plan.map(|plan| changes(plan, "not_run")).unwrap_or_default(),
            before: plan.map(|plan| plan.before.clone()),
            not_read: plan.map(|plan| plan.not_read.clone()).unwrap_or_default(),
            next: error.as_ref().and_then(|error| error.hint.clone()),
            error,
            warnings,
            ..self.base(Status::Refused, exit::REFUSED)
        }
    }
}

/// What the journal of a run says, without reading anything again.
#[must_use]
pub fn recorded(plan: &Plan, state: &RunState, run_id: &str) -> RunResult {
    let started = state.started.unwrap_or(plan.created);
    let subject = Subject {
        world: &plan.world,
        playbook: &plan.playbook,
        vm: plan.vm.as_str(),
        started,
        ended: state.last.unwrap_or(started),
    };
    let (status, exit_code, error) = match &state.phase {
        RunPhase::Planned => (Status::Planned, exit::FOUND, None),
        RunPhase::Running | RunPhase::Undoing => {
            let text = "its process is running or was killed";
            (Status::Paused, exit::COME_BACK, Some(("running".to_owned(), text.to_owned())))
        }
        RunPhase::Paused { why, detail, .. } => {
            (Status::Paused, exit::COME_BACK, Some((why.word().to_owned(), detail.clone())))
        }
        RunPhase::Finished { status, exit_code } => {
            let status = serde_json::from_value(status.word().into()).unwrap_or(Status::Failed);
            (status, *exit_code, None)
        }
    };
    let locks_removed = finish::removed_locks(state);
    let next = if state.resumable() {
        Some(format!("azmend runs resume {run_id}"))
    } else if locks_removed.iter().any(|lock| !lock.restored) {
        Some(format!("azmend runs undo {run_id}"))
    } else {
        None
    };
    RunResult {
        run_id: Some(run_id.to_owned()),
        changes: finish::changes(plan, state),
        locks_removed,
        before: Some(plan.before.clone()),
        warnings: plan.warnings.iter().chain(&state.warnings).cloned().collect(),
        error: error.map(|(code, message)| ErrorResult { code, message, hint: None }),
        next,
        ..subject.base(status, exit_code)
    }
}

fn changes(plan: &Plan, outcome: &str) -> Vec<ChangeResult> {
    plan.changes()
        .map(|(step, change)| ChangeResult {
            step: step.id.clone(),
            resource_id: change.resource().to_string(),
            effect: change.effect.clone(),
            outcome: outcome.to_owned(),
            detail: String::new(),
            undo: match change.undo {
                Undo::Restore => "restore",
                Undo::Inverse { .. } => "inverse",
                Undo::Irreversible { .. } => "irreversible",
                Undo::NotNeeded { .. } => "not_needed",
            }
            .to_owned(),
            error: None,
        })
        .collect()
}
