//! No VM is repaired again and again: `--loop-guard 3/7d`.
//!
//! Duty: pure. From the repairs that earlier runs made, whether one more is refused, and what to say of it. A repair that is needed
//! for the fourth time in a week repairs nothing: something recreates the lock or breaks the agent, and a person has to find it.
//!
//! What counts: a run that sent at least one request to change something for this VM, whatever became of it, whether it was
//! undone, and on whatever machine, as far as the state directory is shared. A resumed run is one run. Tasks that a person orders
//! (playbooks of severity info, such as `backup-now`) neither count nor are refused; S10 limits backups on its own.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;

use crate::actions::change::Refusal;
use crate::arm::id::ResourceId;
use crate::clock::elapsed;
use crate::duration::Span;
use crate::text::{plural, shell_quote};

/// The name of the rule.
const RULE: &str = "loop.guard";
/// `runs prune` keeps the records of 30 days unless it is asked for less: what is older would be counted by chance.
const LONGEST: u64 = 30 * 86_400;
/// Runs that a message names; the rest are counted.
const NAMED: usize = 5;

/// How many repairs of one VM are allowed in which time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoopGuard {
    times: u32,
    within: Span,
}

impl Default for LoopGuard {
    fn default() -> Self {
        Self { times: 3, within: Span::from_secs(7 * 86_400) }
    }
}

impl LoopGuard {
    /// The time that is looked back.
    #[must_use]
    pub const fn within(self) -> Span {
        self.within
    }
}

impl fmt::Display for LoopGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.times, self.within)
    }
}

/// Why a text is no loop guard.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not NUMBER/TIME such as 3/7d: repairs of one VM (1 to 1000) in a time of at most 30d; off switches it off"
)]
pub struct LoopGuardError(String);

impl FromStr for LoopGuard {
    type Err = LoopGuardError;

    fn from_str(text: &str) -> Result<Self, LoopGuardError> {
        let error = || LoopGuardError(text.chars().take(40).collect());
        let (times, within) = text.split_once('/').ok_or_else(error)?;
        let times: u32 = times.parse().map_err(|_| error())?;
        let within: Span = within.parse().map_err(|_| error())?;
        if !(1..=1000).contains(&times) || within.as_secs() == 0 || within.as_secs() > LONGEST {
            return Err(error());
        }
        Ok(Self { times, within })
    }
}

/// A run that changed something for a VM, or tried to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repair {
    /// The VM.
    pub vm: ResourceId,
    /// The run.
    pub run: String,
    /// Its playbook.
    pub playbook: String,
    /// When its first request was sent.
    pub at: Timestamp,
    /// How it ended: `succeeded`, `paused`, `not finished`.
    pub ended: &'static str,
}

/// The refusal of one more repair of this VM; `None` when it is allowed.
#[must_use]
pub fn refusal(guard: Option<LoopGuard>, vm: &ResourceId, repairs: &[Repair], now: Timestamp) -> Option<Refusal> {
    let guard = guard?;
    let recent = |repair: &&Repair| repair.vm == *vm && elapsed(repair.at, now) <= guard.within.to_std();
    let mut recent: Vec<&Repair> = repairs.iter().filter(recent).collect();
    if recent.len() < usize::try_from(guard.times).unwrap_or(usize::MAX) {
        return None;
    }
    recent.sort_by_key(|repair| std::cmp::Reverse(repair.at));
    let mut history: Vec<String> = recent
        .iter()
        .take(NAMED)
        .map(|one| format!("{:.0} {} ({}, run {})", one.at, one.playbook, one.ended, one.run))
        .collect();
    if recent.len() > NAMED {
        history.push(format!("and {} more", recent.len() - NAMED));
    }
    let why = format!(
        "{} was repaired {} in the last {} (the limit of --loop-guard is {}), so another repair would not last: {}; nothing was changed",
        vm.name(),
        plural(recent.len(), "time"),
        guard.within,
        guard.times,
        history.join("; "),
    );
    let vm = shell_quote(vm.as_str());
    let hint = format!(
        "a person has to find what breaks it again: azmend diagnose --vm {vm} --locks; then allow one more repair with --loop-guard {}/{}",
        recent.len().saturating_add(1),
        guard.within,
    );
    Some(Refusal::new(RULE, why).hint(hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vm(name: &str) -> ResourceId {
        ResourceId::vm("11111111-1111-1111-1111-111111111111", "rg", name).unwrap()
    }

    fn repair(name: &str, at: &str) -> Repair {
        Repair {
            vm: vm(name),
            run: format!("run-{at}"),
            playbook: "rp-collection-limit".into(),
            at: at.parse().unwrap(),
            ended: "succeeded",
        }
    }

    #[test]
    fn a_guard_is_a_number_and_a_time() {
        let guard: LoopGuard = "3/7d".parse().unwrap();
        assert_eq!((guard, guard.to_string()), (LoopGuard::default(), "3/7d".to_owned()));
        assert!("1/90s".parse::<LoopGuard>().is_ok());
        for text in ["", "3", "3/", "/7d", "0/7d", "-1/7d", "3/0d", "3/31d", "1001/7d", "3/7", "three/7d", "3/7d/2"] {
            let error = text.parse::<LoopGuard>().unwrap_err().to_string();
            assert!(error.contains("3/7d"), "{text}: {error}");
        }
    }

    #[test]
    fn the_fourth_repair_in_a_week_is_refused_with_its_history() {
        let now: Timestamp = "2026-11-20T09:00:00Z".parse().unwrap();
        let three = [
            repair("web-01", "2026-11-14T09:00:00Z"),
            repair("WEB-01", "2026-11-19T09:00:00Z"),
            repair("web-01", "2026-11-16T09:00:00Z"),
            repair("web-02", "2026-11-18T09:00:00Z"),
        ];
        let ask = |repairs: &[Repair]| refusal(Some(LoopGuard::default()), &vm("web-01"), repairs, now);
        let refused = ask(&three).unwrap();
        assert_eq!(refused.rule, "loop.guard");
        let newest = refused.why.find("2026-11-19T09:00:00Z rp-collection-limit (succeeded, run run-").unwrap();
        assert!(newest < refused.why.find("2026-11-14T09:00:00Z").unwrap(), "{}", refused.why);
        assert!(refused.why.contains("3 times in the last 7d") && !refused.why.contains("web-02"), "{}", refused.why);
        let hint = refused.hint.unwrap();
        assert!(hint.contains("azmend diagnose --vm /subscriptions/") && hint.contains("--loop-guard 4/7d"), "{hint}");
        assert_eq!(ask(&three[1..]), None, "two of this VM");
        assert_eq!(refusal(None, &vm("web-01"), &three, now), None, "switched off");
        let older = [repair("web-01", "2026-11-13T08:59:59Z"), three[1].clone(), three[2].clone()];
        assert_eq!(ask(&older), None, "longer ago than a week");
        let many: Vec<Repair> = (1..=9).map(|day| repair("web-01", &format!("2026-11-1{day}T09:00:00Z"))).collect();
        assert!(ask(&many).unwrap().why.contains("and 2 more"));
    }
}
