//! `backup.start`: starts an on-demand backup and follows its job.
//!
//! The operation's success only means that a job was created; success of the change is the snapshot task being
//! Completed, said as what it is: the transfer to the vault goes on by itself and is not verified, unless the job was
//! followed to its end. A POST is never sent twice blindly: when its reply was lost, the job list is asked for a
//! bounded time, then the outcome stays unknown (S10).

use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

use super::change::{Risk, Undo};
use super::outcome::{Failure, Refusal};
use super::parameters::{DAY, span_within};
use super::permission::{self, Place, Right, Uses};
use super::planning::{PlanContext, StepDraft};
use super::rules::{self, RuleInput, backups};
use super::{Action, Check, Context, FactsNeeded, History, Mutation, Request, Verb, Verify};
use crate::arm::id::ResourceId;
use crate::arm::model::Job;
use crate::arm::{ArmError, JobFilter, Sent, Tag};
use crate::catalog::Catalog;
use crate::clock::{earlier, elapsed, later};
use crate::duration::Span;
use crate::facts::locked::LockedScopes;
use crate::facts::vm_facts::{ItemFacts, VmFacts};
use crate::text::shell_quote;

/// Between two looks at a job. A vault answers about 100 job reads an hour (recorded limit 150).
const PROBE: Duration = Duration::from_secs(60);
/// How long a job is looked for whose POST's reply was lost.
const SEARCH: Duration = Duration::from_secs(10 * 60);
/// Clock difference between this machine and Azure that a search tolerates.
const SKEW: Duration = Duration::from_secs(120);
/// The most jobs of one VM that are read to find ours: more do not begin in some minutes.
const MOST_CANDIDATES: usize = 5;
/// "After some hours" the service has cleaned up (documentation); no exact time is documented.
pub const CLEAN_UP: Duration = Duration::from_secs(4 * 3600);

/// The snapshot task's id in a job.
pub const SNAPSHOT: &str = "Take Snapshot";

/// Starts a backup.
const START: Right = Right::change(
    "Microsoft.RecoveryServices/Vaults/backupFabrics/protectionContainers/protectedItems/backup/action",
    Place::Vault,
    "starts an on-demand backup",
    "no backup is started",
);

/// Starts an on-demand backup and follows its job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BackupStart {
    /// How long the recovery point is kept: 1d to 3650d.
    #[serde(deserialize_with = "retention")]
    pub retain: Span,
    /// How far the job is followed.
    pub until: BackupUntil,
}

/// How far `backup.start` follows the job.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BackupUntil {
    /// Until the snapshot is taken; the transfer to the vault then continues in Azure.
    #[default]
    Snapshot,
    /// To the end of the job.
    Job,
}

impl Default for BackupStart {
    fn default() -> Self {
        Self { retain: Span::from_secs(30 * DAY), until: BackupUntil::default() }
    }
}

/// `recoveryPointExpiryTimeInUTC` is a time in the future; Azure keeps points for at most 99 years, azmend for ten.
fn retention<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
    span_within(deserializer, (DAY, 3650 * DAY), "a recovery point is kept for 1d to 3650d")
}

impl Action for BackupStart {
    const KEYS: &'static [&'static str] = &["retain", "until"];
    const NEEDS: &'static [Uses] = &[
        Uses::Needs(&permission::VAULTS),
        Uses::Needs(&permission::ITEMS),
        Uses::Needs(&permission::JOBS),
        Uses::Needs(&permission::ITEM),
        Uses::Better(&permission::ITEM_OPERATIONS),
        Uses::Better(&permission::ITEM_RESULTS),
        Uses::Needs(&START),
    ];
    const WRITES: &'static [&'static str] = super::job::WRITES;

    fn plan(&self, cx: &PlanContext<'_>) -> StepDraft {
        let full = cx.room.is_some_and(|(count, limit)| count >= limit);
        let mut draft = self.alone(cx);
        // A lock that stays keeps Azure Backup from making room: the backup could only fail, so nothing is begun.
        if !cx.locks_that_stay.is_empty() && full {
            draft.blocked = cx.locks_that_stay.to_vec();
        }
        if let Some(why) = cx.input.facts.locks.unread().filter(|_| full) {
            draft.unread.push(("locks", why.to_owned()));
        }
        draft.refused.extend(under_locks(cx).into_iter().map(|refusal| (1, refusal)));
        draft
    }
}

/// Locks that the steps before leave in force and with which Azure takes no backup: nothing is unlocked or deleted for one.
///
/// A ReadOnly lock at the vault or above it refuses every POST to it. A lock that the last backup's error names, and that
/// is in force still, stops the next one in the same way.
fn under_locks(cx: &PlanContext<'_>) -> Vec<Refusal> {
    let facts = cx.input.facts;
    let vault = facts.main_item().into_iter().flat_map(|item| facts.locks_on_vault(item)).map(|lock| {
        let scope = lock.scope().short_name();
        let why = format!("the ReadOnly lock {} on {scope} covers the vault: Azure accepts no backup", lock.id.name());
        rules::locks::with_command(Refusal::new("s5.vault-read-only", why), lock)
    });
    let mut all: Vec<Refusal> = vault.collect();
    let Some(error) = LockedScopes::of(facts) else { return all };
    for lock in error.among(facts) {
        // The same words as of a step that was to remove it: the plan is refused for it once.
        let refusal = rules::locks::may_remove(&cx.input, lock, cx.named_locks).err().unwrap_or_else(|| {
            let why = "it is in force, and another backup would fail in the same way";
            let vm = shell_quote(facts.id.as_str());
            Refusal::new("s5.in-force", why)
                .hint(format!("this removes the lock and then backs up: azmend fix auto --vm {vm}"))
        });
        all.push(super::locks::the_cause(lock, &error, refusal));
    }
    all
}

impl BackupStart {
    fn alone(&self, cx: &PlanContext<'_>) -> StepDraft {
        match planned(&cx.input, self) {
            Ok((what, effect)) => StepDraft::change(what, effect),
            Err(refusal) => StepDraft::refuse(refusal),
        }
    }
}

/// The backup of the VM's active item.
fn planned(input: &RuleInput<'_>, spec: &BackupStart) -> Result<(StartBackup, String), Refusal> {
    let facts = input.facts;
    if let Some(why) = facts.items.unread() {
        return Err(Refusal::new("s12.unread", format!("the vault items were not read: {why}")));
    }
    let Some(item) = facts.main_item() else {
        return Err(Refusal::new("s10.not-protected", format!("no vault protects {}", facts.id.name())));
    };
    backups::may_start(input, item)?;
    let vault = item.item.vault_id().map(|vault| vault.name().to_owned()).unwrap_or_default();
    let followed = match spec.until {
        BackupUntil::Snapshot => "until the snapshot is taken",
        BackupUntil::Job => "to the end of the job",
    };
    let effect = format!(
        "start an on-demand backup of {} in vault {vault}, kept {}, followed {followed}",
        facts.id.name(),
        spec.retain
    );
    Ok((StartBackup { item: item.item.id.clone(), retain: spec.retain, until: spec.until }, effect))
}

/// The job that a finished operation names.
fn job_of(item: &ResourceId, body: &Value) -> Option<ResourceId> {
    let job = body.pointer("/properties/jobId")?.as_str()?;
    item.up_to("vaults")?.child("backupJobs", job).ok()
}

/// Starts an on-demand backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartBackup {
    /// The protected item.
    pub item: ResourceId,
    /// How long the recovery point is kept.
    pub retain: Span,
    /// Until when the job is followed.
    pub until: BackupUntil,
}

impl Mutation for StartBackup {
    const NOUN: &'static str = "backups started";

    fn resource(&self) -> &ResourceId {
        &self.item
    }

    fn undo(&self) -> Undo {
        Undo::NotNeeded { reason: format!("the extra recovery point expires automatically after {}", self.retain) }
    }

    fn risk(&self) -> Risk {
        Risk::Low
    }

    fn facts_needed(&self) -> FactsNeeded {
        FactsNeeded { items: true, ..FactsNeeded::VM }
    }

    /// Re-reads the item and the jobs; settles an attempt whose reply was lost.
    async fn check(&self, cx: &Context<'_>, history: &History) -> Check {
        let item = &self.item;
        if history.job.is_some() {
            return Check::Follow(None);
        }
        if let Some(last) = history.attempts.last()
            && !last.answered
            && !history.closed
        {
            return match find_job(cx, item, last.at).await {
                Ok(Some(job)) => Check::Follow(Some(job)),
                Ok(None) if elapsed(last.at, cx.arm.clock().now()) < SEARCH => {
                    Check::Wait { why: "a job of the request whose reply was lost".to_owned(), wait: PROBE }
                }
                Ok(None) => Check::Unknown(
                    "the reply to the backup request was lost, and no job of it showed up within 10 minutes".to_owned(),
                ),
                Err(error) => Check::Unreadable(error),
            };
        }
        let now = match cx.arm.protected_item(item).await {
            Ok(now) => now,
            Err(error) if cx.arm.proves_absence(&error, item).await => {
                return Check::Refuse(Refusal::new("s3.changed", format!("the vault item {} is gone", item.name())));
            }
            Err(error) => return Check::Unreadable(error),
        };
        let Some(facts) = cx.facts.items.known().and_then(|items| items.iter().find(|facts| facts.item.id == *item))
        else {
            return Check::Refuse(Refusal::new("s12.unread", "the vault item was not read again"));
        };
        let facts = ItemFacts { item: now, ..facts.clone() };
        if let Err(refusal) = backups::may_start(&cx.input(), &facts) {
            return Check::Refuse(refusal);
        }
        if history.attempts.iter().filter(|attempt| attempt.answered).count() >= 4 {
            return Check::GiveUp(Failure::new("", "Azure refused to start the backup four times"));
        }
        Check::Go(Request {
            verb: Verb::Post,
            target: item.clone(),
            before: json!({ "state": facts.item.protection_state }),
        })
    }

    async fn send(&self, cx: &Context<'_>, _: &Request, tag: &Tag) -> Result<Sent, ArmError> {
        let until = later(cx.arm.clock().now(), self.retain.to_std());
        cx.arm.start_backup(&self.item, until, tag).await
    }

    /// Reads the job once.
    async fn verify(&self, cx: &Context<'_>, history: &History) -> Verify {
        let job = match (&history.job, history.attempts.last()) {
            (Some(job), _) => job.clone(),
            (None, Some(last)) => match find_job(cx, &self.item, last.at).await {
                Ok(Some(job)) => return Verify::Found(job),
                Ok(None) if elapsed(last.at, cx.arm.clock().now()) < SEARCH => {
                    return Verify::Pending { why: "the backup job to show up".to_owned(), wait: PROBE };
                }
                Ok(None) => {
                    return Verify::Unknown("no job of the backup request showed up within 10 minutes".to_owned());
                }
                Err(error) => return Verify::Pending { why: format!("reading the jobs: {error}"), wait: PROBE },
            },
            (None, None) => return Verify::Unknown("no backup was started".to_owned()),
        };
        let job = match cx.arm.job(&job).await {
            Ok(job) => job,
            Err(error) => return Verify::Pending { why: format!("reading the job: {error}"), wait: PROBE },
        };
        judge(&job, self.until, first_since_unlocking(cx.unlocked, cx.facts, &job, history))
    }

    fn learn(&self, body: &Value) -> Option<ResourceId> {
        job_of(&self.item, body)
    }

    fn repeatable(&self) -> bool {
        false
    }
}

/// The on-demand backup job of this item that began after the request.
///
/// A list does not say which jobs are on-demand; a job's own GET does ([`Job::user_triggered`]). A scheduled job that
/// began in the same minutes is not taken for ours: without proof nobody's job is.
async fn find_job(cx: &Context<'_>, item: &ResourceId, sent: Timestamp) -> Result<Option<ResourceId>, ArmError> {
    let Some(vault) = item.up_to("vaults") else { return Ok(None) };
    let filter = JobFilter { since: Some(earlier(sent, SKEW)), ..JobFilter::default() };
    let jobs = cx.arm.jobs(&vault, &filter).await?;
    let vm = cx.facts.id.name();
    let mine = |job: &&Job| {
        job.operation.eq_ignore_ascii_case("Backup")
            && job.user_triggered != Some(false)
            && job.start.is_some_and(|start| later(start, SKEW) >= sent)
            && job.vm_name.eq_ignore_ascii_case(vm)
            && (job.container.is_empty() || item.key().contains(&job.container.to_lowercase()))
    };
    // Who is not told apart is not taken: a row that cannot be read may be ours, and so may each of many.
    let candidates: Vec<&Job> = jobs.items.iter().filter(mine).collect();
    if !jobs.malformed.is_empty() || candidates.len() > MOST_CANDIDATES {
        return Ok(None);
    }
    let mut found = Vec::new();
    for job in candidates {
        match cx.arm.job(&job.id).await {
            Ok(full) => found.push((full.user_triggered, full.id)),
            Err(error) if cx.arm.proves_absence(&error, &job.id).await => {}
            Err(error) => return Err(error),
        }
    }
    Ok(only_ours(found))
}

/// Of the jobs that may be ours, by what each says about its trigger: ours is the only one that is not known to be
/// scheduled, and only if it says that it is on-demand.
fn only_ours(candidates: Vec<(Option<bool>, ResourceId)>) -> Option<ResourceId> {
    let mut may_be: Vec<_> = candidates.into_iter().filter(|(user, _)| *user != Some(false)).collect();
    match (may_be.pop(), may_be.is_empty()) {
        (Some((Some(true), id)), true) => Some(id),
        _ => None,
    }
}

/// Whether this job is the first backup of the VM since a run of this machine removed a lock that may fail because Azure
/// Backup has not cleaned up yet. That is expected once after each unlocking: no other job of the VM that began since then
/// has failed in that way.
fn first_since_unlocking(unlocked: Option<Timestamp>, facts: &VmFacts, job: &Job, history: &History) -> bool {
    let Some(unlocked) = unlocked else { return false };
    // An earlier one of this very change.
    let expected_before = history.not_before.map(|at| earlier(at, CLEAN_UP)).is_some_and(|at| at >= unlocked);
    let since = |other: &Job| other.start.is_some_and(|start| start >= unlocked);
    let jobs = facts.items.known().into_iter().flatten().filter_map(|item| item.jobs.known()).flatten();
    let mut others = jobs.filter(|other| other.id != job.id);
    (job.start.is_none() || since(job))
        && !(history.clean_up_pending > 0 && (history.not_before.is_none() || expected_before))
        && !others.any(|other| since(other) && no_room(other))
}

/// The point limit, and the lock behind it: the service cleans up after this failure.
fn no_room(job: &Job) -> bool {
    let code = job_code(job);
    let known = ["UserErrorRpCollectionLimitReached", "UserErrorResourceIsInLockedState"];
    !job.running() && known.iter().any(|known| code.eq_ignore_ascii_case(known))
}

/// Whether a backup job ended because another one was there first, which no list of jobs showed: then nothing is wrong with the
/// VM.
#[must_use]
pub fn ran_into_another(code: &str) -> bool {
    let known = ["UserErrorBackupOperationInProgress", "BMSUserErrorBackupOperationInProgress"];
    known.iter().any(|known| code.eq_ignore_ascii_case(known))
}

/// What a job says about the change. `expected`: a failure for the point limit is expected now.
fn judge(job: &Job, until: BackupUntil, expected: bool) -> Verify {
    let id = job.id.name();
    if job.running() {
        let snapshot = job.task(SNAPSHOT).is_some_and(|status| status.eq_ignore_ascii_case("Completed"));
        if until == BackupUntil::Snapshot && snapshot {
            return Verify::Done(format!("snapshot taken (job {id}); transfer to the vault running, not verified"));
        }
        let why = if snapshot { "the transfer to the vault" } else { "the snapshot" };
        return Verify::Pending { why: why.to_owned(), wait: PROBE };
    }
    match job.status.to_ascii_lowercase().as_str() {
        "completed" => Verify::Done(format!("backup completed (job {id})")),
        "completedwithwarnings" => {
            Verify::Done(format!("backup completed with warnings (job {id}): {}", job_text(job)))
        }
        "cancelled" | "canceled" => {
            Verify::Failed(Failure::new("JobCancelled", format!("the backup job {id} was cancelled")))
        }
        "failed" => {
            let code = job_code(job);
            if expected && no_room(job) {
                let why = format!(
                    "{code}: expected once after unlocking; Azure Backup now cleans up, which takes some hours"
                );
                return Verify::CleanUpPending { why, wait: CLEAN_UP };
            }
            if ran_into_another(&code) {
                let why = format!("Azure ended the backup job {id}: another backup of the VM was running");
                let hint = "run azmend again when that one has ended; azmend jobs shows it";
                return Verify::Failed(Failure::new(code, why).with_hint(hint));
            }
            let failure = Failure::new(code.clone(), format!("the backup job {id} failed: {}", job_text(job)));
            Verify::Failed(failure.with_hint(hint_for(job)))
        }
        other => Verify::Pending { why: format!("the job to end (it is {other})"), wait: PROBE },
    }
}

/// The symbolic code of a failed job: by title, number, then text (recorded shapes).
#[must_use]
pub fn job_code(job: &Job) -> String {
    job.errors
        .iter()
        .find_map(|error| {
            Catalog::get()
                .classify(&error.title, error.code, &error.text)
                .map(|entry| entry.code.clone())
                .or_else(|| (!error.title.is_empty()).then(|| error.title.clone()))
        })
        .or_else(|| job.errors.first().map(|error| error.code.to_string()))
        .unwrap_or_default()
}

fn job_text(job: &Job) -> String {
    job.errors.first().map_or_else(
        || if job.dynamic_error.is_empty() { "no details".to_owned() } else { job.dynamic_error.clone() },
        |error| error.text.clone(),
    )
}

fn hint_for(job: &Job) -> String {
    job.errors
        .first()
        .and_then(|error| error.recommendations.first())
        .map_or_else(|| "look at the job's details in the vault".to_owned(), |text| format!("Azure says: {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actions::rules::testing::{facts, hours_ago, item_of, job, known, vault_id};
    use crate::arm::model::{JobError, JobTask};

    fn full(status: &str, age: u64) -> Job {
        let mut job = job("Backup", status, age, Some(true));
        if status == "Failed" {
            let title = "UserErrorRpCollectionLimitReached".to_owned();
            job.errors = vec![JobError { title, ..JobError::default() }];
        }
        job
    }

    /// Once after each unlocking: not before one, not for a second job, not again for this change, and anew after another.
    #[test]
    fn the_first_failure_after_an_unlocking_is_expected_once() {
        let first = |unlocked: Option<u64>, others: Vec<Job>, history: &History| {
            let mut facts = facts();
            item_of(&mut facts).jobs = known(others);
            first_since_unlocking(unlocked.map(hours_ago), &facts, &full("Failed", 1), history)
        };
        let fresh = History::default();
        assert!(first(Some(2), vec![], &fresh));
        assert!(!first(None, vec![], &fresh), "nothing was unlocked");
        assert!(!first(Some(0), vec![], &fresh), "it began before the unlocking");
        assert!(first(Some(4), vec![full("Failed", 5)], &fresh), "an older failure is of another unlocking");
        assert!(!first(Some(4), vec![full("Failed", 3)], &fresh), "a fleet or an earlier run had it");
        assert!(
            first(Some(4), vec![full("Completed", 3), full("Failed", 1)], &fresh),
            "its own row is not another job"
        );
        let mut elsewhere = full("Failed", 3);
        elsewhere.errors[0].title = "ExtensionOperationFailed".to_owned();
        assert!(first(Some(4), vec![elsewhere], &fresh));
        // Azure Backup was said to clean up from three hours ago on.
        let pending =
            History { clean_up_pending: 1, not_before: Some(later(hours_ago(3), CLEAN_UP)), ..History::default() };
        assert!(!first(Some(4), vec![], &pending), "the same again is a failure");
        assert!(first(Some(2), vec![], &pending), "after another unlocking it is expected again");
        assert!(!first(Some(2), vec![], &History { not_before: None, ..pending }));
    }

    #[test]
    fn what_a_job_says_about_the_change() {
        let say = |job: &Job, expected| judge(job, BackupUntil::Snapshot, expected);
        assert!(matches!(say(&full("Failed", 1), true), Verify::CleanUpPending { .. }));
        assert!(matches!(say(&full("Failed", 1), false), Verify::Failed(_)));
        assert!(matches!(say(&full("Completed", 1), true), Verify::Done(_)));
        assert!(matches!(say(&full("Canceled", 1), true), Verify::Failed(_)));
        let mut second = full("Failed", 1);
        for title in ["UserErrorBackupOperationInProgress", "BMSUserErrorBackupOperationInProgress"] {
            second.errors[0].title = title.into();
            let Verify::Failed(failure) = say(&second, true) else { panic!("another backup runs: {second:?}") };
            assert!(ran_into_another(&failure.code) && failure.hint.is_some(), "{failure:?}");
        }
        // A state that azmend does not know is not an end, whatever its tasks say of the rest.
        for status in ["Suspended", "", "InProgress"] {
            let mut job = full(status, 1);
            assert!(matches!(say(&job, true), Verify::Pending { .. }), "{status:?}");
            job.tasks = vec![JobTask { id: SNAPSHOT.into(), status: "Completed".into() }];
            assert!(matches!(say(&job, true), Verify::Done(_)), "{status:?}");
            assert!(matches!(judge(&job, BackupUntil::Job, true), Verify::Pending { .. }), "{status:?}");
        }
    }

    #[test]
    fn one_of_two_candidates_is_nobodys() {
        let id = |name: &str| vault_id().child("backupJobs", name).unwrap();
        let ours = |of: &[(Option<bool>, &str)]| only_ours(of.iter().map(|(user, name)| (*user, id(name))).collect());
        assert_eq!(ours(&[(Some(true), "a")]), Some(id("a")));
        assert_eq!(ours(&[(Some(true), "a"), (Some(false), "b")]), Some(id("a")));
        assert_eq!(ours(&[(Some(true), "a"), (Some(true), "b")]), None);
        assert_eq!(ours(&[(Some(true), "a"), (None, "b")]), None, "it may be the one");
        assert_eq!(ours(&[(None, "a")]), None, "it does not say that it is on-demand");
        assert_eq!(ours(&[(Some(false), "a")]), None);
        assert_eq!(ours(&[]), None);
    }
}
