//! Which playbook a VM needs: `azmend fix auto`, and the end of `azmend diagnose`.
//!
//! Duty: pure. From the last failed job or the item's health, else from what the VM shows now. Invariants: only a playbook
//! that applies is chosen; tasks (severity info) never are; when an error is known and no playbook is for it, that is said,
//! never "nothing to do"; nor is it where the next backup will fail, or where one is missing. Where what stopped the last
//! backup is gone, or nothing says why none was made, a backup is the way, and a person starts it.
//!
//! The order: playbooks that name the code of the last failed job; then those that name the error its details pass on;
//! then those that name a health detail of the item; then those whose condition holds. Among equals the most specific
//! wins: the condition that looks at more facts, then fewer codes, then the higher severity, then the name.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::foresee::{self, Foreseen, foresee};
use crate::actions::backup::job_code;
use crate::actions::spec::ActionName;
use crate::catalog::Catalog;
use crate::facts::collect::{failed_before_cancelled, last_failure_words};
use crate::facts::identity;
use crate::facts::objective::{Standing, aged, often, standing};
use crate::facts::view::View;
use crate::facts::vm_facts::{ItemFacts, VmFacts};
use crate::playbook::library::Library;
use crate::playbook::model::Severity;
use crate::playbook::{Playbook, Verdict};

/// The task that starts a backup and nothing else.
pub const BACKUP: &str = "backup-now";

/// What speaks for an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Symptom {
    /// The code, as the catalogue spells it where it knows it.
    pub code: String,
    /// Where it was seen, a fragment: `the last backup failed with ...`.
    pub why: String,
}

/// What was chosen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choice {
    /// The playbook's name; `None` when none is for what the VM has.
    pub playbook: Option<String>,
    /// Why, in a sentence.
    pub why: String,
    /// The error that decided, if one did.
    pub code: Option<String>,
    /// Other playbooks that apply too, the nearest first.
    pub others: Vec<String>,
    /// Whether the playbook runs scripts inside the VM: then its command needs `--allow-guest`.
    pub inside: bool,
    /// What the facts in hand say of the chosen playbook.
    pub foreseen: Foreseen,
    /// The codes of the chosen playbook.
    pub codes: Vec<String>,
    /// Nothing was chosen, and as things are now a backup may well succeed: one can be started.
    pub retry: bool,
    /// Nothing was chosen, and whether some playbook applies is not known: not everything was read (S12).
    pub unread: bool,
}

/// Whether a playbook may start a backup.
pub(super) fn backs_up(playbook: &Playbook) -> bool {
    playbook.steps().iter().any(|step| step.action() == ActionName::BackupStart)
}

/// The errors that the VM's backup shows, the most telling first.
#[must_use]
pub fn symptoms(facts: &VmFacts, view: &View) -> Vec<Symptom> {
    let mut found = Vec::new();
    let mut add = |code: &str, why: String| {
        if !code.is_empty() && !found.iter().any(|one: &Symptom| one.code == code) {
            found.push(Symptom { code: code.to_owned(), why });
        }
    };
    let backup = &view.backup;
    // Nothing is backed up while protection is stopped: what failed before that is history.
    let stopped = facts.items.known().is_some_and(|items| !items.is_empty()) && facts.active_item().is_none();
    if stopped {
        let what = if backup.soft_deleted { "the vault item is soft-deleted" } else { "protection was stopped" };
        add("UserErrorBcmDatasourceNotPresent", what.to_owned());
    }
    add(&backup.last_error, format!("the last backup failed with {}", backup.last_error));
    // A job that somebody cancelled says nothing: what failed before it is the matter still.
    if backup.last_error.is_empty()
        && let Some(job) = failed_before_cancelled(facts)
    {
        let code = job_code(job);
        add(&code, format!("the last backup that was not cancelled failed with {code}"));
    }
    let passed_on = format!("the last backup failed with {}, which wraps {}", backup.last_error, backup.inner_error);
    add(&backup.inner_error, passed_on);
    // Never backed up: then no job of a backup says what will stop the first one.
    let agent_silent = view.unread("agent.ready").is_none() && !view.agent.ready;
    // A reading in bulk has no completed jobs of VMs that are well: the item says whether it was ever backed up.
    let said = |one: &ItemFacts| one.item.last_backup_time.is_some() || one.item.last_recovery_point.is_some();
    let never = view.unread("backup.last_status").is_none()
        && backup.last_status.is_empty()
        && !facts.active_item().is_some_and(said);
    if backup.protected && never && agent_silent && view.vm.power.eq_ignore_ascii_case("running") {
        let why = "the VM was never backed up, and its agent is not ready".to_owned();
        add("UserErrorGuestAgentStatusUnavailable", why);
    }
    // Health of an item that backs up well is history.
    if let Some(main) = facts.main_item().filter(|main| !main.item.health.eq_ignore_ascii_case("Passed")) {
        for detail in &main.item.health_details {
            if let Some(entry) = Catalog::get().classify(&detail.title, detail.code, &detail.message) {
                add(&entry.code, format!("the item's health says {}", entry.code));
            }
        }
    }
    found
}

/// What stopped the last backup and is gone: the VM shows it, so a backup is worth a try. `None` where that was not read.
fn gone(code: &str, view: &View) -> Option<String> {
    if view.unread("vm.power").is_some() || view.unread("agent.ready").is_some() {
        return None;
    }
    let power = view.vm.power.to_lowercase();
    // Then a backup is made of the disks alone (crash-consistent), and nothing inside the VM takes part in it.
    let off = ["stopped", "deallocated"].contains(&power.as_str());
    let inside = code.starts_with("Extension") || INSIDE.contains(&code);
    match code {
        _ if off && inside => {
            Some(format!("the VM is {power} now, and until it is started nothing inside it takes part"))
        }
        "UserErrorGuestAgentStatusUnavailable" | "VMAgentStatusCommunicationError" if view.agent.ready => {
            Some("the guest agent is Ready now".to_owned())
        }
        // What was in the way was a moment, or other requests.
        "UserErrorVmNotInDesirableState" | "OperationNotAllowed_VmChanged" | "TooManyRequests"
            if view.vm.provisioning_state.eq_ignore_ascii_case("Succeeded") && (off || power == "running") =>
        {
            Some(format!("the VM is {power} now, and its provisioning state is Succeeded"))
        }
        _ => None,
    }
}

/// Errors from inside the VM, beside those of the extension.
const INSIDE: [&str; 6] = [
    "UserErrorGuestAgentStatusUnavailable",
    "UserErrorGuestAgentVersionUnsupported",
    "VMAgentStatusCommunicationError",
    "GuestAgentSnapshotTaskStatusError",
    "UserErrorFsFreezeFailed",
    "UserErrorUnableToOpenMount",
];

/// A VM without an error and without a playbook: what stops its next backup, or that one is missing.
fn quiet(facts: &VmFacts, view: &View, choice: Choice) -> Choice {
    let running = view.unread("vm.power").is_none() && view.vm.power.eq_ignore_ascii_case("running");
    if view.backup.protected && running && view.unread("agent.ready").is_none() && !view.agent.ready {
        let why = "the last backup did not fail, but the guest agent of the running VM is not Ready now: the next one is \
                   likely to fail, and no playbook is for that";
        let code = Some("UserErrorGuestAgentStatusUnavailable".to_owned());
        return Choice { why: why.to_owned(), code, ..choice };
    }
    let Some(main) = facts.active_item() else { return choice };
    if view.unread("backup.running").is_some() || view.backup.running {
        return choice;
    }
    // Of a VM in two vaults the backups of either count.
    let mut active = facts.items.known().into_iter().flatten();
    if active.any(|item| matches!(standing(item, facts.at), Standing::Within { .. })) {
        return choice;
    }
    let (what, every) = match standing(main, facts.at) {
        Standing::Late { age, every } => (format!("the newest recovery point is {} old", aged(age)), every),
        Standing::Never { every } => ("the VM was never backed up, and a backup was due".to_owned(), every),
        Standing::Within { .. } | Standing::Unknown => return choice,
    };
    let why = format!("{what}; the policy schedules one {}, and no error says why it is missing", often(every));
    Choice { why, retry: true, ..choice }
}

/// A playbook that applies.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// The playbook; none of severity info.
    pub playbook: &'a Playbook,
    /// How many values its condition looks at.
    pub touched: usize,
}

/// Chooses among the playbooks of a library.
#[must_use]
pub fn choose(library: &Library, facts: &VmFacts, view: &View) -> Choice {
    let mut candidates = Vec::new();
    let mut unread = false;
    for (playbook, _) in library.iter().filter(|(playbook, _)| playbook.severity() != Severity::Info) {
        let Ok(resolved) = playbook.resolve(&BTreeMap::new()) else { continue };
        match resolved.applies(view) {
            Verdict::True => candidates.push(Candidate { playbook, touched: resolved.applies.touched().len() }),
            Verdict::NotChecked { .. } => unread = true,
            Verdict::False | Verdict::Error { .. } => {}
        }
    }
    let mut choice = choose_among(candidates, facts, view);
    if choice.playbook.is_none() && !unread {
        match choice.code.as_deref().and_then(|code| gone(code, view)) {
            Some(gone) => {
                choice.why = format!("{}; {gone}", choice.why);
                choice.retry = true;
            }
            None if choice.code.is_none() => choice = quiet(facts, view, choice),
            None => {}
        }
    }
    // What would be refused is no way out.
    let open = |task: &Playbook| foresee(task, facts, view) == Foreseen::Open;
    choice.retry = choice.retry && library.find(BACKUP).is_ok_and(open);
    if choice.retry {
        choice.why.push_str(": a backup can be tried");
    }
    let chosen = choice.playbook.as_deref().and_then(|name| library.find(name).ok());
    let foreseen = chosen.map(|playbook| foresee(playbook, facts, view)).unwrap_or_default();
    Choice { unread: unread && choice.playbook.is_none(), foreseen, ..choice }
}

/// Chooses among those that are known to apply.
#[must_use]
pub fn choose_among(mut candidates: Vec<Candidate<'_>>, facts: &VmFacts, view: &View) -> Choice {
    candidates.sort_by_key(|Candidate { playbook, touched }| {
        (Reverse(*touched), playbook.codes().len(), Reverse(playbook.severity()), playbook.name())
    });
    let symptoms = symptoms(facts, view);
    for symptom in &symptoms {
        let named = |playbook: &Playbook| playbook.codes().contains(&symptom.code);
        if let Some(Candidate { playbook, .. }) = candidates.iter().find(|one| named(one.playbook)) {
            let others = candidates.iter().filter(|other| other.playbook.name() != playbook.name());
            let mut others: Vec<&Playbook> = others.map(|other| other.playbook).collect();
            others.sort_by_key(|other| !named(other));
            return Choice {
                playbook: Some(playbook.name().to_owned()),
                why: format!("{}: {} repairs it", symptom.why, playbook.name()),
                code: Some(symptom.code.clone()),
                others: others.into_iter().map(|other| other.name().to_owned()).collect(),
                inside: foresee::inside(playbook),
                codes: playbook.codes().to_vec(),
                ..Choice::default()
            };
        }
    }
    if let Some(symptom) = symptoms.first() {
        let said = match last_failure_words(facts) {
            Some(words) => format!("{}, and no playbook is for that; Azure says: {words}", symptom.why),
            None => format!("{}, and no playbook is for that", symptom.why),
        };
        return Choice {
            playbook: None,
            why: match identity::remade(facts) {
                Some(vm_id) => format!("{said}; {}", identity::remade_words(vm_id)),
                None => said,
            },
            code: Some(symptom.code.clone()),
            others: candidates.iter().map(|one| one.playbook.name().to_owned()).collect(),
            ..Choice::default()
        };
    }
    candidates.sort_by_key(|Candidate { playbook, touched }| {
        (Reverse(playbook.severity()), Reverse(*touched), playbook.name())
    });
    match candidates.split_first() {
        Some((Candidate { playbook, .. }, others)) => Choice {
            playbook: Some(playbook.name().to_owned()),
            why: format!("{}: {}", shows(view), playbook.title()),
            code: None,
            codes: playbook.codes().to_vec(),
            others: others.iter().map(|other| other.playbook.name().to_owned()).collect(),
            inside: foresee::inside(playbook),
            ..Choice::default()
        },
        None => Choice { why: "the last backup did not fail, and no playbook applies".to_owned(), ..Choice::default() },
    }
}

/// The words before what the VM shows without an error.
fn shows(view: &View) -> &'static str {
    if view.backup.last_status.eq_ignore_ascii_case("Cancelled") {
        "the last backup was cancelled, and the VM shows"
    } else {
        "no backup has failed yet, but the VM already shows it"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actions::rules::testing::facts;

    fn chosen(change: impl FnOnce(&mut View)) -> Choice {
        let mut view = View::empty();
        view.vm.exists = true;
        view.backup.protected = true;
        view.points.limit = 18;
        change(&mut view);
        choose(&Library::shipped(), &facts(), &view)
    }

    #[test]
    fn the_last_error_decides_and_the_most_specific_wins() {
        let name = |change: fn(&mut View)| chosen(change).playbook;
        let is = |name: &str| Some(name.to_owned());
        assert_eq!(
            name(|v| v.backup.last_error = "UserErrorRpCollectionLimitReached".into()),
            is("rp-collection-limit")
        );
        assert_eq!(
            name(|v| v.backup.last_error = "UserErrorBackupOperationInProgress".into()),
            is("backup-in-progress")
        );
        // The compute platform's error decides by its own playbook, whatever it passes on.
        assert_eq!(
            name(|v| {
                v.backup.last_error = "UserErrorCrpReportedUserError".into();
                v.backup.inner_error = "ScopeLocked".into();
                v.locks.backup_groups = 1;
            }),
            is("crp-reported-user-error")
        );
        // Two playbooks are for a failed state: which one depends on what failed.
        let failed = |v: &mut View| {
            v.vm.provisioning_state = "Failed".into();
            v.backup.last_error = "UserErrorVmProvisioningStateFailed".into();
        };
        assert_eq!(chosen(failed).playbook, is("failed-vm"));
        let snapshot = chosen(|v| {
            failed(v);
            v.vmsnapshot.state = "Failed".into();
        });
        assert_eq!(snapshot.playbook, is("vm-provisioning-failed"));
        assert!(snapshot.others.contains(&"extension-operation-failed".to_owned()), "{snapshot:?}");
    }

    #[test]
    fn without_an_error_what_the_vm_shows_decides() {
        assert_eq!(chosen(|v| v.locks.backup_groups = 1).playbook.as_deref(), Some("unlock-backup-groups"));
        assert_eq!(
            chosen(|v| {
                v.locks.backup_groups = 1;
                v.points.count = 19;
            })
            .playbook
            .as_deref(),
            Some("rp-collection-limit")
        );
        let well = chosen(|v| v.backup.item_count = 1);
        assert_eq!((well.playbook, well.code), (None, None));
    }

    #[test]
    fn an_error_without_a_playbook_is_not_nothing() {
        let choice = chosen(|v| v.backup.last_error = "UserErrorUnsupportedDiskSize".into());
        assert_eq!((choice.playbook, choice.code.as_deref()), (None, Some("UserErrorUnsupportedDiskSize")));
        assert!(choice.why.contains("no playbook is for that"));
    }
}
