//! S10: when an on-demand backup may be started.
//!
//! Not while one runs; at most three attempts in 24 hours (`s10.daily-limit`), never more than nine, which is
//! Azure's own limit per 24 hours UTC (whether that is a calendar day or the last 24 hours is not verified: the last 24
//! hours contain the day so far, so counting those is safe for either). A job whose trigger is not said counts as
//! on-demand, but no recorded list says it of any job: as many of them as the policy schedules in a day are taken for
//! scheduled before the recommendation (azmend's own limit) stops. Azure's limit counts them all.

use jiff::Timestamp;

use super::RuleInput;
use crate::actions::change::{Override, Refusal};
use crate::clock::elapsed;
use crate::facts::schedule::most_backups_in;
use crate::facts::vm_facts::ItemFacts;

/// What is recommended: three on-demand backups a day beside the scheduled one (support matrix).
const RECOMMENDED: usize = 3;
/// Azure's limit of on-demand attempts in 24 hours (support matrix).
const HARD_LIMIT: usize = 9;

/// Decides whether a backup of this item may be started now.
///
/// # Errors
/// A refusal `s10...`.
pub fn may_start(input: &RuleInput<'_>, facts: &ItemFacts) -> Result<(), Refusal> {
    let item = &facts.item;
    let vault = item.vault_id().map(|v| v.name().to_owned()).unwrap_or_default();
    if item.soft_deleted {
        return Err(Refusal::new("s10.not-protected", format!("the item in vault {vault} is soft-deleted")));
    }
    if item.stopped() {
        let why = format!("protection in vault {vault} is stopped; an on-demand backup is not possible");
        return Err(Refusal::new("s10.not-protected", why).hint("resume protection first"));
    }
    let Some(jobs) = facts.jobs.known() else {
        if facts.jobs.is_absent() {
            return Ok(());
        }
        let why = facts.jobs.unread().unwrap_or("not read");
        return Err(Refusal::new("s10.unread", format!("the jobs in vault {vault} were not read: {why}")));
    };
    if let Some(job) = jobs.iter().find(|job| job.running()) {
        let why = format!("a {} job of the VM is running in vault {vault} ({})", job.operation, job.id.name());
        return Err(Refusal::new("s10.job-active", why).hint("wait until it has ended, then run azmend again"));
    }
    let (today, said) = attempts(jobs, input.now);
    if today >= HARD_LIMIT {
        let why = format!("{today} on-demand backups were started in the last 24 hours; Azure allows {HARD_LIMIT}");
        return Err(Refusal::new("s10.hard-limit", why).hint("try again when the oldest of them is 24 hours old"));
    }
    let scheduled = facts.policy.known().and_then(|policy| most_backups_in(policy, 1).ok()).unwrap_or_default();
    let allowed = RECOMMENDED.saturating_add(usize::try_from(scheduled).unwrap_or_default());
    if said >= RECOMMENDED || today >= allowed {
        let which = if said == today { "on-demand backups" } else { "backups, scheduled ones among them," };
        input.unless_overridden(
            Override::DailyLimit,
            format!(
                "{today} {which} were started in the last 24 hours; {RECOMMENDED} are recommended in addition to the {scheduled} \
                 that the policy schedules in a day"
            ),
        )?;
    }
    Ok(())
}

/// The backups of the last 24 hours that may be on-demand, and how many of them are said to be.
fn attempts(jobs: &[crate::arm::model::Job], now: Timestamp) -> (usize, usize) {
    let day = std::time::Duration::from_secs(24 * 3600);
    let counted: Vec<_> = jobs
        .iter()
        .filter(|job| job.operation.eq_ignore_ascii_case("Backup"))
        .filter(|job| job.user_triggered != Some(false))
        .filter(|job| job.start.is_none_or(|start| elapsed(start, now) <= day))
        .collect();
    (counted.len(), counted.iter().filter(|job| job.user_triggered == Some(true)).count())
}
