//! `azmend diagnose`: the troubleshooting guide as a checklist on the live facts of one VM.
//!
//! Duty: pure. Facts in, lines out: each `ok`, `problem`, or `not checked` with the reason; then what is the most likely
//! cause and what to run. Invariants: an unread fact is never `ok` and never a problem (S12); one that is missing stops no
//! other; what decides is the same chooser as `fix auto`. It must never read Azure.

pub mod guest;
pub mod keyvault;
mod line;
mod locks;
mod lockwatch;
mod surroundings;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::arm::model::{Job, Point};
use crate::catalog::Catalog;
use crate::clock::elapsed;
use crate::engine::choose::{BACKUP, Choice, symptoms};
use crate::engine::foresee::Foreseen;
use crate::engine::hints::as_program;
use crate::facts::collect::{WARNED, warned_in_a_row};
use crate::facts::identity;
use crate::facts::objective::{Objective, Standing, aged, no_job_since, often, standing};
use crate::facts::surroundings::Around;
use crate::facts::view::View;
use crate::facts::vm_facts::{ItemFacts, Part, VmFacts};
use crate::text::plural;

/// Name and version of the object.
pub const DIAGNOSIS_SCHEMA: &str = "azmend.diagnosis/v1";

/// The check of what the vault says of its item.
const HEALTH: &str = "health";

use line::Sheet;
pub use line::{Line, State};

/// A likely cause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Cause {
    /// The error.
    pub code: String,
    /// What it is.
    pub title: String,
    /// Where it was seen.
    pub why: String,
    /// Whether a line of the checklist shows it now.
    pub confirmed: bool,
    /// What to run for it.
    pub next: String,
}

/// The whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Diagnosis {
    /// `azmend.diagnosis/v1`.
    pub schema: String,
    /// Whether this is the sandbox.
    pub sandbox: bool,
    /// The VM.
    pub vm: String,
    /// When the facts were read.
    #[schemars(with = "String")]
    pub at: Timestamp,
    /// The newest good recovery point against the policy's schedule; null when no vault protects the VM.
    pub objective: Option<Objective>,
    /// Every check.
    pub lines: Vec<Line>,
    /// Likely causes, the most likely first.
    pub causes: Vec<Cause>,
    /// What to run: the playbook that `fix auto` would choose, or the explanation of the error.
    pub next: Option<String>,
    /// What stops that playbook now, or what a person has to say first; then `next` is the way out.
    pub refusal: Option<Refused>,
    /// Why.
    pub why: String,
    /// 0 nothing was found, 3 a problem was found, 6 something that matters could not be read.
    pub exit_code: u8,
}

/// Why the repair that is for it would be refused now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Refused {
    /// The rule: `s5.owners`.
    pub rule: String,
    /// Why.
    pub why: String,
    /// The way out.
    pub hint: Option<String>,
}

/// What a diagnosis is made for.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// The sandbox.
    pub sandbox: bool,
    /// How commands begin.
    pub program: &'a str,
    /// The error somebody holds: it comes first.
    pub code: Option<&'a str>,
    /// The VM as the user named it, for the commands.
    pub vm: &'a str,
    /// Who makes the locks; `None` when that was not asked for.
    pub watch: Option<&'a crate::facts::lockwatch::LockWatch>,
    /// What is known of the inside of the VM.
    pub guest: &'a crate::facts::guest::Guest,
}

/// Judges the facts.
#[must_use]
pub fn diagnose(
    facts: &VmFacts,
    around: &Around,
    view: &View,
    choice: &Choice,
    now: Timestamp,
    ask: &Ask<'_>,
) -> Diagnosis {
    let mut sheet = Sheet::default();
    vm(&mut sheet, facts, now);
    extensions(&mut sheet, facts, view);
    sheet.lines.extend(keyvault::lines(facts));
    locks::lines(&mut sheet, facts, view);
    if let Some(watch) = ask.watch {
        lockwatch::lines(&mut sheet, watch);
    }
    points(&mut sheet, facts, view);
    vault(&mut sheet, facts);
    jobs(&mut sheet, facts, now);
    surroundings::together(&mut sheet, facts);
    warnings(&mut sheet, facts);
    recovery(&mut sheet, facts, now);
    surroundings::lines(&mut sheet, around);
    guest::lines(&mut sheet, ask.guest);
    let lines = sheet.lines;
    let causes = causes(facts, view, &lines, choice, ask);
    let next = next(choice, view, ask);
    let refusal = choice.foreseen.refusal().map(|refusal| Refused {
        rule: refusal.rule.clone(),
        why: refusal.why.clone(),
        hint: refusal.hint.as_deref().map(|hint| as_program(hint, ask.program)),
    });
    // Without these nothing can be said about the backup.
    let blind = ["backup.last_error", "points.count", "points.limit", "locks", "backup", "agent"]
        .iter()
        .any(|path| view.unread(path).is_some());
    let found = lines.iter().any(|line| line.state == State::Problem) || !causes.is_empty();
    let exit_code = match (blind, found) {
        (true, _) => crate::engine::exit::PARTIAL,
        (false, true) => crate::engine::exit::FOUND,
        (false, false) => crate::engine::exit::OK,
    };
    Diagnosis {
        schema: DIAGNOSIS_SCHEMA.to_owned(),
        sandbox: ask.sandbox,
        vm: facts.id.to_string(),
        at: facts.at,
        objective: facts.active_item().map(|item| Objective::of(item, now)),
        lines,
        causes,
        next,
        refusal,
        why: choice.why.clone(),
        exit_code,
    }
}

fn vm(sheet: &mut Sheet, facts: &VmFacts, now: Timestamp) {
    if facts.vm.is_absent() {
        sheet.put("vm", "exists", State::Problem, "Azure says that there is no such VM", Some("UserErrorVmNotFoundV2"));
        return;
    }
    if let Some(vm) = sheet.known("vm", "provisioning state", &facts.vm) {
        let state = &vm.provisioning_state;
        let code = "UserErrorVmProvisioningStateFailed";
        sheet.judge("vm", "provisioning state", state.eq_ignore_ascii_case("Succeeded"), state.clone(), code);
    }
    let Some(instance) = sheet.known("vm", "power", &facts.instance) else { return };
    let power = if instance.power.is_empty() { "not reported" } else { instance.power.as_str() };
    // A stopped VM is backed up, crash-consistent (FAQ and support matrix; one page of the guide says otherwise).
    sheet.put("vm", "power", State::Ok, power, None);
    if !power.eq_ignore_ascii_case("running") {
        sheet.put("agent", "status", State::NotChecked, format!("the VM is {power}"), None);
        return;
    }
    let code = "UserErrorGuestAgentStatusUnavailable";
    let Some(agent) = &instance.agent else {
        return sheet.put("agent", "status", State::Problem, "no agent has reported", Some(code));
    };
    let shown = format!("{}, version {}", agent.status.display, agent.version);
    sheet.judge("agent", "status", agent.is_ready(), shown, code);
    if let Some(at) = agent.status.time {
        let minutes = elapsed(at, now).as_secs() / 60;
        let said = if minutes == 0 { "just now".to_owned() } else { format!("{minutes} minutes ago") };
        sheet.judge("agent", "last report", minutes < 60, said, code);
    }
}

fn extensions(sheet: &mut Sheet, facts: &VmFacts, view: &View) {
    if let Some(why) = view.unread("vmsnapshot") {
        sheet.put("extensions", "VMSnapshot", State::NotChecked, why, None);
    } else if view.vmsnapshot.present {
        let snapshot = &view.vmsnapshot;
        let shown = format!("{} {} {}", snapshot.state, snapshot.version, snapshot.message);
        sheet.judge(
            "extensions",
            "VMSnapshot",
            snapshot.state != "Failed",
            shown.trim(),
            "ExtensionOperationFailedForManagedDisks",
        );
    } else {
        sheet.put("extensions", "VMSnapshot", State::Ok, "not installed; the next backup installs it", None);
    }
    let others = facts.extensions.known().into_iter().flatten();
    for extension in
        others.filter(|one| !crate::facts::derive::is_vmsnapshot(&format!("{}.{}", one.publisher, one.kind)))
    {
        let good = extension.provisioning_state.eq_ignore_ascii_case("Succeeded");
        let shown = format!("{} {}", extension.provisioning_state, extension.version);
        sheet.judge("extensions", extension.id.name(), good, shown.trim(), "UserErrorVmProvisioningStateFailed");
    }
    if let Some(why) = facts.extensions.unread() {
        sheet.put("extensions", "others", State::NotChecked, why, None);
    }
}

fn points(sheet: &mut Sheet, facts: &VmFacts, view: &View) {
    let limit = view.unread("points.limit").or_else(|| view.unread("points.count"));
    if let Some(why) = limit {
        sheet.put("points", "count against the limit", State::NotChecked, why, None);
    } else {
        let (count, limit) = (view.points.count, view.points.limit);
        let code = "UserErrorRpCollectionLimitReached";
        sheet.judge("points", "count against the limit", count < limit, format!("{count} (limit {limit})"), code);
    }
    if view.unread("points.failed").is_none() && view.points.failed > 0 {
        let count = usize::try_from(view.points.failed).unwrap_or(0);
        let newest = |good: bool| {
            let points = facts.collections().flat_map(|one| one.points());
            points.filter(|point| point.succeeded() == good).filter_map(|point| point.created).max()
        };
        // Older than a good one they are history.
        let history = newest(true) > newest(false);
        let age = if history { ", older than the newest good one" } else { "" };
        let said = format!("{}{age}", plural(count, "point"));
        sheet.judge("points", "failed points", history, said, "VMRestorePointInternalError");
    }
    let newest: Option<&Point> = facts
        .collections()
        .flat_map(|one| one.points())
        .filter(|point| point.succeeded())
        .max_by_key(|point| point.created);
    if let Some(point) = newest {
        let kind = if point.consistency.is_empty() { "consistency not reported" } else { point.consistency.as_str() };
        let said = format!("{kind}, {} hours ago", view.points.newest_hours_ago);
        sheet.put("points", "newest", State::Ok, said, None);
    }
}

fn vault_of(item: &ItemFacts) -> String {
    item.item.vault_id().map(|id| id.name().to_owned()).unwrap_or_default()
}

fn state_of(item: &ItemFacts) -> &str {
    if item.item.soft_deleted { "soft-deleted" } else { item.item.protection_state.as_str() }
}

fn vault(sheet: &mut Sheet, facts: &VmFacts) {
    let Some(items) = sheet.known("vault", "protection", &facts.items) else { return };
    let Some(main) = facts.main_item() else {
        // `backupStatus` knows vaults that this identity cannot see.
        if let Some(unseen) = facts.unseen_vault() {
            let said = format!("protected by the vault {}, which this identity cannot see", unseen.name());
            return sheet.put("vault", "protection", State::NotChecked, said, None);
        }
        let said = match identity::moved(facts) {
            Some(moved) => format!("no vault protects the VM; {}; {}", moved.words(), identity::MOVED_WAY),
            None => "no vault protects the VM".to_owned(),
        };
        return sheet.put("vault", "protection", State::Problem, said, Some("UserErrorBcmDatasourceNotPresent"));
    };
    let name = vault_of(main);
    let good = facts.active_item().is_some();
    let state = state_of(main);
    let way = if main.item.soft_deleted {
        "; undelete it in the vault (backup items, soft-deleted), then resume its protection"
    } else {
        ""
    };
    sheet.judge("vault", "protection", good, format!("{state} in {name}{way}"), "UserErrorBcmDatasourceNotPresent");
    if let Some(vm_id) = identity::remade(facts) {
        let said = format!("{}; {}", identity::remade_words(vm_id), identity::REMADE_WAY);
        sheet.put("vault", "same VM", State::Problem, said, Some("UserErrorBcmDatasourceNotPresent"));
    }
    if items.len() > 1 {
        let active = |one: &&ItemFacts| !one.item.soft_deleted && !one.item.stopped();
        let each = items.iter().map(|one| format!("{} in {}", state_of(one), vault_of(one)));
        let said = format!("{} name the VM: {}", plural(items.len(), "item"), each.collect::<Vec<_>>().join(", "));
        // One that is stopped or soft-deleted is history. Two that are backed up are not supposed to be.
        let twice = items.iter().filter(active).count() > 1;
        sheet.put("vault", "items", if twice { State::Problem } else { State::Ok }, said, None);
    }
    match &main.policy {
        Part::Known { value, .. } => {
            let kind = if value.enhanced() { "Enhanced" } else { "Standard" };
            let said = format!("{} ({kind}), snapshots kept {} days", value.id.name(), value.snapshot_days());
            sheet.put("vault", "policy", State::Ok, said, None);
        }
        Part::Absent { .. } => {
            sheet.put(
                "vault",
                "policy",
                State::Problem,
                "the item has no policy",
                Some("UserErrorBcmDatasourceNotPresent"),
            );
        }
        Part::Unread { why } => sheet.put("vault", "policy", State::NotChecked, why.clone(), None),
    }
    let item = &main.item;
    let health = if item.health.is_empty() { "not reported" } else { item.health.as_str() };
    let passed = ["Passed", "not reported", "None"].iter().any(|good| health.eq_ignore_ascii_case(good));
    for detail in &item.health_details {
        let known = Catalog::get().classify(&detail.title, detail.code, &detail.message);
        let code = known.map_or(detail.title.clone(), |entry| entry.code.clone());
        let harmless =
            passed || detail.title.to_lowercase().contains("green") || detail.title.eq_ignore_ascii_case("Success");
        let said = format!("{health}: {} {}", detail.code, detail.message);
        sheet.judge("vault", HEALTH, harmless, said.trim(), code.as_str());
    }
    if item.health_details.is_empty() {
        sheet.put("vault", HEALTH, if passed { State::Ok } else { State::Problem }, health, None);
    }
}

fn jobs(sheet: &mut Sheet, facts: &VmFacts, now: Timestamp) {
    for facts in facts.items.known().into_iter().flatten() {
        let vault = facts.item.vault_id().map(|id| id.name().to_owned()).unwrap_or_default();
        let Some(jobs) = sheet.known("jobs", &format!("in {vault}"), &facts.jobs) else { continue };
        if jobs.is_empty() {
            sheet.put("jobs", &format!("in {vault}"), State::Ok, "none in the last 14 days", None);
        }
        for job in jobs.iter().filter(|job| job.running()) {
            let hours = job.start.map_or(0, |start| elapsed(start, now).as_secs() / 3600);
            let said = format!("{} has been running for {hours} hours ({})", job.operation, job.id.name());
            sheet.judge("jobs", "running", hours < 24, said, "UserErrorBackupOperationInProgress");
        }
        let finished = jobs.iter().filter(|job| !job.running() && job.operation.eq_ignore_ascii_case("Backup"));
        for (index, job) in finished.take(3).enumerate() {
            let check = if index == 0 { "last backup" } else { "earlier backup" };
            let (said, code) = told(job);
            let at =
                job.end.or(job.start).map_or_else(String::new, |at| format!(" {}", at.strftime("%Y-%m-%d %H:%MZ")));
            let state = if code.is_some() && index == 0 { State::Problem } else { State::Ok };
            sheet.put("jobs", check, state, format!("{said}{at}"), code.as_deref());
        }
    }
}

/// What a job says, with the error inside its error.
fn told(job: &Job) -> (String, Option<String>) {
    let failed = ["Failed", "Cancelled"].iter().any(|bad| job.status.eq_ignore_ascii_case(bad));
    if !failed {
        return (job.status.clone(), None);
    }
    let outer = crate::actions::backup::job_code(job);
    let details = job.errors.iter().map(|error| error.text.as_str()).chain([job.dynamic_error.as_str()]);
    let inner = Catalog::get().inner(details, &outer).map(|entry| entry.code.clone());
    match inner {
        Some(inner) => (format!("{}: {outer}, which wraps {inner}", job.status), Some(inner)),
        None if outer.is_empty() => (job.status.clone(), None),
        None => (format!("{}: {outer}", job.status), Some(outer)),
    }
}

/// Backups that end with warnings again and again, with what the newest says.
fn warnings(sheet: &mut Sheet, facts: &VmFacts) {
    for jobs in facts.items.known().into_iter().flatten().filter_map(|item| item.jobs.known()) {
        let row = warned_in_a_row(jobs);
        let Some(newest) = row.first().filter(|_| row.len() >= WARNED) else { continue };
        let code = crate::actions::backup::job_code(newest);
        let says = if code.is_empty() { String::new() } else { format!(": {code}") };
        let said = format!("each of the last {} ended with warnings{says}", plural(row.len(), "backup"));
        let code = Some(code.as_str()).filter(|code| !code.is_empty());
        sheet.put("recovery points", "warnings", State::Problem, said, code);
    }
}

fn recovery(sheet: &mut Sheet, facts: &VmFacts, now: Timestamp) {
    let Some(main) = facts.main_item() else { return };
    let Some(points) = sheet.known("recovery points", "newest in the vault", &main.recovery_points) else { return };
    let standing = standing(main, now);
    let Some(newest) = points.iter().max_by_key(|point| point.time) else {
        let (state, said) = match standing {
            Standing::Never { .. } => (State::Problem, "none: the VM was never backed up, and a backup was due"),
            _ => (State::Ok, "none yet"),
        };
        return sheet.put("recovery points", "newest in the vault", state, said, None);
    };
    let age = newest.time.map(|time| aged(elapsed(time, now))).unwrap_or_default();
    let kind = if newest.consistency.is_empty() { "consistency not reported" } else { newest.consistency.as_str() };
    let said = format!("{kind}, {age} ago");
    let (state, said) = match standing {
        Standing::Late { every, .. } => {
            let running = main.jobs.known().into_iter().flatten().any(|job| job.running());
            let since = match (no_job_since(main), cancelled_in_a_row(main)) {
                _ if running => "; a job is running now".to_owned(),
                (Some(true), _) => "; since then no backup failed, and none is running".to_owned(),
                (_, 0) => String::new(),
                (_, count) => format!("; {} since then, cancelled by someone", plural(count, "backup")),
            };
            (State::Problem, format!("{said}, and the policy schedules a backup {}{since}", often(every)))
        }
        Standing::Within { every, .. } => {
            (State::Ok, format!("{said}; the policy schedules a backup {}", often(every)))
        }
        _ => (State::Ok, said),
    };
    sheet.put("recovery points", "newest in the vault", state, said, None);
    let crash = points.iter().filter(|point| point.consistency.to_ascii_lowercase().contains("crash")).count();
    if crash > 0 {
        let said = format!("{crash} of {} are only crash-consistent", points.len());
        sheet.put("recovery points", "consistency", State::Ok, said, None);
    }
}

/// How many of the newest finished backups were cancelled, one after the other.
fn cancelled_in_a_row(item: &ItemFacts) -> usize {
    let jobs = item.jobs.known().into_iter().flatten();
    let mut ended: Vec<&Job> =
        jobs.filter(|job| !job.running() && job.operation.eq_ignore_ascii_case("Backup")).collect();
    ended.sort_by_key(|job| std::cmp::Reverse((job.end.or(job.start), job.start)));
    ended.iter().take_while(|job| job.status.eq_ignore_ascii_case("Cancelled")).count()
}

/// What to run: never a command that would be refused, or would change nothing.
fn next(choice: &Choice, view: &View, ask: &Ask<'_>) -> Option<String> {
    let explain = |code: &str| format!("{} explain {code}", ask.program);
    // What an error passes on says more than the error.
    let backup = &view.backup;
    let inner = Some(backup.inner_error.as_str()).filter(|inner| !inner.is_empty());
    let own = choice.code.as_deref().map(|code| inner.filter(|_| code == backup.last_error).unwrap_or(code));
    if choice.retry && ask.code.is_none() {
        return Some(format!("{} fix {BACKUP} --vm {} --dry-run", ask.program, ask.vm));
    }
    let Some(playbook) = &choice.playbook else { return ask.code.or(own).map(explain) };
    match (&choice.foreseen, repair(playbook, choice, ask)) {
        // The chooser chooses it again, and says why.
        (Foreseen::Open, Some((_, options))) => {
            Some(format!("{} fix auto --vm {}{options} --dry-run", ask.program, ask.vm))
        }
        (_, Some((command, _))) => Some(format!("{command} --dry-run")),
        (_, None) => own.or(ask.code).map(explain),
    }
}

/// The whole command of the chosen playbook, and the options in it; none when it would end at once.
fn repair(playbook: &str, choice: &Choice, ask: &Ask<'_>) -> Option<(String, &'static str)> {
    let (words, options) = choice.foreseen.command(playbook, choice.inside)?;
    Some((format!("{} {words} --vm {}{options}", ask.program, ask.vm), options))
}

/// The errors, the most likely first: the one somebody holds, what the last job and the health say, what the checks show.
fn causes(facts: &VmFacts, view: &View, lines: &[Line], choice: &Choice, ask: &Ask<'_>) -> Vec<Cause> {
    let catalog = Catalog::get();
    let mut found: Vec<(String, String)> = Vec::new();
    let mut add = |code: &str, why: String| {
        if !code.is_empty() && !found.iter().any(|(known, _)| known == code) {
            found.push((code.to_owned(), why));
        }
    };
    if let Some(code) = ask.code {
        add(code, "you named this error".to_owned());
    }
    // What an error passes on says more than the error.
    let mut symptoms = symptoms(facts, view);
    if !view.backup.inner_error.is_empty() && symptoms.len() > 1 {
        symptoms.swap(0, 1);
    }
    for symptom in symptoms {
        add(&symptom.code, symptom.why);
    }
    for line in lines.iter().filter(|line| line.state == State::Problem && line.area != "jobs") {
        if let Some(code) = &line.code {
            add(code, format!("{}: {}: {}", line.area, line.check, line.evidence));
        }
    }
    found
        .into_iter()
        .map(|(code, why)| {
            // The item's health only repeats what its last job said.
            let shows = |line: &&Line| line.area != "jobs" && line.check != HEALTH;
            let confirmed = lines
                .iter()
                .filter(shows)
                .any(|line| line.state == State::Problem && line.code.as_deref() == Some(code.as_str()));
            let fits = match &choice.code {
                Some(decided) => *decided == code,
                None => choice.codes.contains(&code),
            };
            let chosen = choice.playbook.as_deref().filter(|_| fits);
            let next = match chosen.and_then(|playbook| repair(playbook, choice, ask)) {
                Some((command, _)) => command,
                None => format!("{} explain {code}", ask.program),
            };
            let title = catalog.by_code(&code).map_or_else(String::new, |entry| entry.message.clone());
            Cause { code, title, why, confirmed, next }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actions::rules::testing::{facts, item_of, job, known, now, unread};

    fn told(change: impl FnOnce(&mut VmFacts)) -> Diagnosis {
        let mut facts = facts();
        change(&mut facts);
        let view = View::of(&facts, &crate::facts::derive::StaleCounts::default(), now());
        let choice = crate::engine::choose::choose(&crate::playbook::library::Library::shipped(), &facts, &view);
        let around =
            Around { disks: Vec::new(), load: crate::facts::vm_facts::Part::Absent { at: now() }, network: None };
        let ask = Ask {
            sandbox: true,
            program: "azmend",
            code: None,
            vm: "web-01",
            watch: None,
            guest: &crate::facts::guest::Guest::NotAllowed,
        };
        diagnose(&facts, &around, &view, &choice, now(), &ask)
    }

    #[test]
    fn an_unread_part_is_neither_ok_nor_a_problem_and_stops_no_other_check() {
        let all = told(|_| {});
        let without = told(|facts| facts.locks = unread());
        let lock = without.lines.iter().find(|line| line.area == "locks").unwrap();
        assert_eq!(lock.state, State::NotChecked);
        let others = |told: &Diagnosis| told.lines.iter().filter(|line| line.area != "locks").count();
        assert_eq!(others(&all), others(&without));
        assert_eq!(without.exit_code, crate::engine::exit::PARTIAL);
    }

    #[test]
    fn the_error_that_a_job_passes_on_comes_first() {
        let diagnosis = told(|facts| {
            let mut failed = job("Backup", "Failed", 5, None);
            failed.errors = vec![crate::arm::model::JobError {
                code: 0,
                title: "UserErrorCrpReportedUserError".into(),
                text: "Code ScopeLocked: cannot perform delete operation because following scope(s) are locked".into(),
                recommendations: Vec::new(),
            }];
            item_of(facts).jobs = known(vec![failed]);
        });
        assert_eq!(diagnosis.causes[0].code, "ScopeLocked", "{:#?}", diagnosis.causes);
        assert_eq!(diagnosis.causes[1].code, "UserErrorCrpReportedUserError");
    }
}
