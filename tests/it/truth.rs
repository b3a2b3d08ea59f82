//! The truth property: what a result and its journal say, compared with the world before and after. And what a simulation
//! has covered, for a report that shows when it has become blind.
//!
//! `others`: somebody else changed locks or points meanwhile; then what is there does not tell what azmend did.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use azmend::engine::owed::{LockState, Locks};
use azmend::engine::{Plan, Planned, RunResult, RunState, Status};
use azmend::journal::{Effect, Event, Record};
use azmend::sim::{Corruption, FaultEffect, Lock, World};

/// What a result is silent about, or claims, that the world shows to be otherwise.
pub fn compare(
    plan: &Plan,
    result: &RunResult,
    start: &World,
    end: &World,
    records: &[Record],
    others: bool,
) -> Vec<String> {
    let mut wrong = Vec::new();
    if !others {
        locks(&mut wrong, plan, result, start, end, records);
    }
    time(&mut wrong, result, end, records);
    ends(&mut wrong, result, records);
    wrong
}

fn same(one: &Lock, other: &azmend::arm::model::Lock) -> bool {
    one.id == other.id
        && one.level.as_str() == other.level
        && one.notes.as_deref().unwrap_or_default() == other.notes
        && one.owners == other.owners
}

/// Every lock that is gone is named, and counted as off; none is that is in force.
fn locks(wrong: &mut Vec<String>, plan: &Plan, result: &RunResult, start: &World, end: &World, records: &[Record]) {
    let owed = Locks::of(records);
    let off: BTreeSet<&str> = owed.off().map(|(_, lock)| lock.id.key()).collect();
    for lock in start.locks.iter().filter(|lock| !end.locks.iter().any(|now| now.id == lock.id)) {
        let name = lock.id.name();
        // With its scope the lock went too: there is nothing to restore it on.
        let scope_gone = lock.id.scope().is_some_and(|scope| {
            scope.is_type("Microsoft.Compute/restorePointCollections") && end.collection(&scope).is_none()
        });
        if matches!(result.exit_code, 4 | 5) {
            wrong.push(format!("exit code {} (nothing changed), and the lock {name} is gone", result.exit_code));
        }
        match result.locks_removed.iter().find(|listed| listed.id.eq_ignore_ascii_case(lock.id.as_str())) {
            None => wrong.push(format!("the lock {name} is gone and the result does not name it")),
            Some(listed) if listed.restored => {
                wrong.push(format!("the lock {name} is gone and the result says that it was restored"));
            }
            Some(_) => {}
        }
        if !scope_gone && !off.contains(lock.id.key()) {
            wrong.push(format!("the lock {name} is gone and the records do not count it as off"));
        }
        let over = !matches!(result.status, Status::Paused | Status::Stuck);
        if over && !scope_gone && (plan.relock || result.status == Status::Undone) {
            wrong.push(format!("{:?}: the lock {name} was to be restored and is gone", result.status));
        }
    }
    for (change, lock) in owed.off() {
        let listed = result.locks_removed.iter().find(|listed| listed.id.eq_ignore_ascii_case(lock.id.as_str()));
        if listed.is_none_or(|listed| listed.restored) {
            wrong.push(format!("the lock {} counts as off and the result does not say so", lock.id.name()));
        }
        let effect = RunState::fold(plan, records)
            .ok()
            .and_then(|state| state.changes.get(change).and_then(|change| change.ending()?.effect));
        if effect == Some(Effect::Some) && end.locks.iter().any(|now| same(now, lock)) {
            wrong.push(format!("the lock {} is in force, and the records say for sure that it is off", lock.id.name()));
        }
    }
    for (_, lock, state) in owed.all() {
        let stands = end.locks.iter().any(|now| same(now, lock));
        if matches!(state, LockState::Restored | LockState::InForce) && !stands {
            wrong.push(format!("the records say {state:?} of the lock {}, and it is not", lock.id.name()));
        }
    }
}

/// Time never runs backwards, in the journal, in the result and in the world.
fn time(wrong: &mut Vec<String>, result: &RunResult, end: &World, records: &[Record]) {
    for pair in records.windows(2) {
        if pair[1].at < pair[0].at || pair[1].seq != pair[0].seq + 1 {
            wrong.push(format!("record {} at {} follows {} at {}", pair[1].seq, pair[1].at, pair[0].seq, pair[0].at));
        }
    }
    match (result.started, result.ended) {
        (Some(started), Some(ended)) if started <= ended => {
            if ended > end.now {
                wrong.push(format!("it ended at {ended}, and the world is at {}", end.now));
            }
            if records.last().is_some_and(|last| last.at > ended) {
                wrong.push(format!("it ended at {ended}, and its last record is later"));
            }
        }
        other => wrong.push(format!("from when to when it ran: {other:?}")),
    }
}

/// The last record says what the result says.
fn ends(wrong: &mut Vec<String>, result: &RunResult, records: &[Record]) {
    // Nothing happened, so nothing was written.
    if result.error.as_ref().is_some_and(|error| error.code == "not_resumable") {
        return;
    }
    let last = records.iter().rev().find(|record| !matches!(record.event, Event::Warned { .. }));
    match last.map(|record| &record.event) {
        Some(Event::Finished { exit_code, .. }) if *exit_code != result.exit_code => {
            wrong.push(format!("the journal ends with exit code {exit_code}, the result with {}", result.exit_code));
        }
        // What is too old to be resumed is not touched, and its journal neither.
        Some(Event::Paused { .. })
            if !matches!(result.status, Status::Paused | Status::Stuck)
                && result.error.as_ref().is_none_or(|error| error.code != "not_resumable") =>
        {
            wrong.push(format!("the journal ends with a pause, the result with {:?}", result.status));
        }
        _ => {}
    }
    if result.status == Status::Paused && !result.next.as_ref().is_some_and(|next| next.contains("azmend runs resume"))
    {
        wrong.push(format!("paused, and the next command is {:?}", result.next));
    }
}

/// What a simulation came across: a count for each word, by topic.
#[derive(Debug, Clone, Default)]
pub struct Coverage(BTreeMap<&'static str, BTreeMap<String, usize>>);

impl Coverage {
    pub fn add(&mut self, topic: &'static str, word: impl Into<String>) {
        *self.0.entry(topic).or_default().entry(word.into()).or_default() += 1;
    }

    pub fn merge(&mut self, other: Self) {
        for (topic, words) in other.0 {
            let mine = self.0.entry(topic).or_default();
            words.into_iter().for_each(|(word, count)| *mine.entry(word).or_default() += count);
        }
    }

    /// What came of planning.
    pub fn planned(&mut self, playbook: &str, planned: &Planned) {
        let word = format!("{planned:?}");
        self.add("planning", word.split([' ', '(', '{']).next().unwrap_or_default());
        let kept: Vec<&str> = match planned {
            Planned::Plan(plan) => {
                self.add("playbooks with a plan", playbook);
                plan.steps.iter().flat_map(|step| step.kept.iter().map(|kept| kept.refusal.rule.as_str())).collect()
            }
            Planned::Refused { refusals, .. } => refusals.iter().map(|refusal| refusal.rule.as_str()).collect(),
            _ => Vec::new(),
        };
        kept.into_iter().for_each(|rule| self.add("rules in the plan", rule));
    }

    /// What came of a run.
    pub fn ran(&mut self, plan: &Plan, result: &RunResult, records: &[Record]) {
        self.add("statuses", format!("{:?}", result.status).to_lowercase());
        self.add("exit codes", result.exit_code.to_string());
        for ((_, change), now) in plan.changes().zip(&result.changes) {
            let kind = format!("{:?}", change.what);
            self.add("kinds of change", kind.split(['(', ' ']).next().unwrap_or_default());
            self.add("outcomes", now.outcome.as_str());
            self.add("undone", now.undo.as_str());
            if let Some(error) = now.error.as_ref().filter(|error| error.code.contains('.')) {
                self.add("rules while running", error.code.as_str());
            }
        }
        for listed in &result.locks_removed {
            self.add("locks", if listed.restored { "restored" } else { "off" });
        }
        for record in records {
            match &record.event {
                Event::Paused { why, .. } => self.add("pauses", why.word()),
                Event::Answered { how, .. } => self.add("answers", format!("{how:?}")),
                Event::Corrected { .. } => self.add("pauses", "(corrected)"),
                _ => {}
            }
        }
    }

    /// Which faults fired.
    pub fn faults(&mut self, world: &World) {
        for fault in world.faults.iter().filter(|fault| fault.fired > 0) {
            self.add("faults", fault_word(&fault.effect));
        }
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (topic, words) in &self.0 {
            let words: Vec<String> = words.iter().map(|(word, count)| format!("{word} {count}")).collect();
            let _ = writeln!(text, "  {topic}: {}", words.join(", "));
        }
        text
    }

    /// What of this list it never met.
    pub fn missing(&self, wanted: &[(&'static str, &[&str])]) -> Vec<String> {
        let met = |topic: &str, word: &str| self.0.get(topic).is_some_and(|words| words.contains_key(word));
        wanted
            .iter()
            .flat_map(|(topic, words)| words.iter().map(move |word| (*topic, *word)))
            .filter(|(topic, word)| !met(topic, word))
            .map(|(topic, word)| format!("{topic}: {word}"))
            .collect()
    }
}

fn fault_word(effect: &FaultEffect) -> String {
    let text = match effect {
        FaultEffect::Corrupt(Corruption::Status(_)) => return "Corrupt(Status)".to_owned(),
        FaultEffect::Corrupt(Corruption::NextLink(_)) => return "Corrupt(NextLink)".to_owned(),
        FaultEffect::Corrupt(other) => return format!("Corrupt({other:?})"),
        other => format!("{other:?}"),
    };
    text.split([' ', '(', '{']).next().unwrap_or_default().to_owned()
}
