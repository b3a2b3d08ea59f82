//! From a bulk reading to findings. Pure.
//!
//! Two sources: the condition of every playbook on every VM (the rule is the playbook's name), and checks that no playbook
//! makes ([`super::Check`]). A condition that touches what was not read is no finding: what was not read is said by itself.

use crate::facts::unread::Unread;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use jiff::Timestamp;

use super::input::{AuditInput, Named, VmUnderAudit};
use super::values::Values;
use super::{AUDIT_SCHEMA, Audit, Count, Finding, Level, Since, Summary, checks, fold, repair};
use crate::actions::rules::{ORPHAN_AGE, RuleInput, stale};
use crate::arm::id::check_name;
use crate::arm::model::Subscription;
use crate::engine::choose::Candidate;
use crate::engine::{exit, planner};
use crate::facts::bulk::{Bulk, Deep, Index, Jobs};
use crate::facts::graph::VmRow;
use crate::facts::identity;
use crate::facts::locked::LockedScopes;
use crate::facts::objective::{Due, Tally};
use crate::facts::view::View;
use crate::facts::vm_facts::ItemFacts;
use crate::playbook::library::Library;
use crate::playbook::model::Severity;
use crate::playbook::{Playbook, Resolved, Verdict};

/// What is wanted of the findings.
#[derive(Debug, Clone)]
pub struct Ask {
    /// Only these playbooks and checks; empty is all.
    pub rules: Vec<String>,
    /// Only findings with one of these codes; empty is all.
    pub codes: Vec<String>,
    /// Only findings of at least this level.
    pub min: Level,
    /// From which level on a finding makes the exit code 3; `None` is never.
    pub fail_on: Option<Level>,
    /// How azmend is called in commands: `azmend --sandbox`.
    pub program: String,
    /// What was asked for, in words.
    pub scope: String,
    /// Whether this is the sandbox.
    pub sandbox: bool,
}

fn names(bulk: &Bulk) -> HashMap<String, Named> {
    let named = |one: &Subscription| {
        // What `-s` takes: it refuses what no id could have, and a name that several have.
        let clear = check_name("subscription", &one.name).is_ok()
            && !one.name.starts_with('-')
            && !one.name.contains(';')
            && !bulk.shared_names.contains(&one.name.to_lowercase());
        let name = if one.name.is_empty() { &one.id } else { &one.name };
        Named { name: name.clone(), word: if clear { name.clone() } else { one.id.clone() } }
    };
    bulk.subscriptions.iter().map(|one| (one.id.to_lowercase(), named(one))).collect()
}

/// The level of a playbook's findings.
#[must_use]
pub const fn level_of(severity: Severity) -> Level {
    match severity {
        Severity::Info => Level::Info,
        Severity::Low => Level::Low,
        Severity::Medium => Level::Medium,
        Severity::High | Severity::Critical => Level::High,
    }
}

/// Makes the audit of a reading that is kept as a whole.
#[must_use]
pub fn audit(library: &Library, bulk: &Bulk, deep: &Deep, ask: &Ask, ended: Timestamp, calls: u64) -> Audit {
    let index = Index::of(bulk);
    let mut auditor = Auditor::new(library, ask);
    auditor.vms(bulk, &index, &bulk.vms, deep);
    auditor.finish(bulk, &index, deep, ended, calls)
}

/// A playbook that is asked about many VMs. Most VMs look the same to its condition, which is evaluated once for each
/// combination of the values that it looks at.
struct Judge<'a> {
    playbook: &'a Playbook,
    resolved: Resolved,
    /// Places in the list of touched paths.
    touched: Vec<usize>,
    known: HashMap<String, bool>,
    /// The combination that is asked about.
    key: String,
}

impl Judge<'_> {
    /// The most combinations that are remembered.
    const MOST: usize = 4096;

    fn applies(&mut self, view: &View, values: &Values) -> bool {
        self.key.clear();
        for place in &self.touched {
            // What was not read decides nothing.
            let Some(value) = values.get(*place) else { return false };
            // JSON: no text ends before its quote.
            self.key.push_str(value);
            self.key.push(',');
        }
        if let Some(known) = self.known.get(&self.key) {
            return *known;
        }
        let applies = self.resolved.applies(view) == Verdict::True;
        if self.known.len() >= Self::MOST {
            self.known.clear();
        }
        self.known.insert(self.key.clone(), applies);
        applies
    }
}

/// An audit in the making: VMs come in any order and any number at a time, and only findings are kept.
pub struct Auditor<'a> {
    library: &'a Library,
    ask: &'a Ask,
    judges: Vec<Judge<'a>>,
    /// Everything that their conditions look at.
    values: Values,
    findings: Vec<Finding>,
    protected: usize,
    objective: Tally,
    /// What each policy asks for now, by its key: many items have one policy.
    dues: HashMap<String, Option<Due>>,
    /// Items at the old places of VMs that were moved, by their keys.
    left_behind: BTreeSet<String>,
    /// Resources with a finding of at least medium, whether or not it is shown.
    risky: BTreeSet<String>,
    /// The subscriptions of the reading, when it has begun.
    names: Option<HashMap<String, Named>>,
}

impl std::fmt::Debug for Auditor<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Auditor({} findings)", self.findings.len())
    }
}

impl<'a> Auditor<'a> {
    /// An audit without findings yet.
    #[must_use]
    pub fn new(library: &'a Library, ask: &'a Ask) -> Self {
        // Tasks (severity info) apply to every healthy VM: they are no findings.
        let playbooks = library.iter().filter(|(playbook, _)| playbook.severity() != Severity::Info);
        let mut paths: Vec<String> = Vec::new();
        let mut judge = |playbook: &'a Playbook| {
            let resolved = playbook.resolve(&BTreeMap::new()).ok()?;
            let mut place = |path: &String| {
                paths.iter().position(|known| known == path).unwrap_or_else(|| {
                    paths.push(path.clone());
                    paths.len() - 1
                })
            };
            let touched = resolved.applies.touched().iter().map(&mut place).collect();
            Some(Judge { playbook, resolved, touched, known: HashMap::new(), key: String::new() })
        };
        let judges: Vec<Judge<'a>> = playbooks.filter_map(|(playbook, _)| judge(playbook)).collect();
        Self {
            library,
            ask,
            judges,
            values: Values::of(&paths),
            findings: Vec::new(),
            protected: 0,
            objective: Tally::default(),
            dues: HashMap::new(),
            left_behind: BTreeSet::new(),
            risky: BTreeSet::new(),
            names: None,
        }
    }

    /// Which jobs a reading must have for these playbooks.
    #[must_use]
    pub fn jobs(&self) -> Jobs {
        // Of a VM whose backups all went well these can only be told by its completed jobs.
        let of_good =
            |path: &String| ["backup", "backup.last_status", "backup.last_backup_days_ago"].contains(&path.as_str());
        let asked = self.judges.iter().any(|judge| judge.resolved.applies.touched().iter().any(of_good));
        if asked { Jobs::Newest } else { Jobs::Unwell }
    }

    /// Looks at VMs with what was read of them alone.
    pub fn vms(&mut self, bulk: &Bulk, index: &Index, rows: &[VmRow], deep: &Deep) {
        let subscriptions = self.names.get_or_insert_with(|| names(bulk));
        let scene = AuditInput { bulk, index, deep, program: &self.ask.program, subscriptions };
        let mut found = Vec::new();
        for row in rows {
            let mut seen = see(&scene, row, &mut self.dues);
            let objective = seen.objective(bulk.at);
            if let Some(objective) = &objective {
                self.objective.add(objective.state);
            }
            self.protected += usize::from(objective.is_some());
            let first = found.len();
            self.values.look(&seen.view);
            let moved = identity::moved(&seen.facts).filter(|moved| moved.proven);
            self.left_behind.extend(moved.map(|moved| moved.former.item.id.key().to_owned()));
            let moved = moved.is_some();
            for judge in &mut self.judges {
                if judge.applies(&seen.view, &self.values) {
                    seen.applies.push(Candidate { playbook: judge.playbook, touched: judge.touched.len() });
                    // Said with where it was moved from.
                    if !(moved && judge.playbook.name() == "unprotected-vm") {
                        found.extend(of_playbook(&scene, &seen, judge.playbook, &judge.resolved));
                    }
                }
            }
            checks::of_vm(&scene, &seen, &mut found);
            // Who asks for one rule gets it, also where another says it too.
            if self.ask.rules.is_empty() {
                fold::repeated(&seen, &mut found, first);
            }
            for finding in found.iter_mut().skip(first) {
                finding.objective.clone_from(&objective);
            }
            // Also one whose resource is not the VM itself but a job of it.
            let at_risk = |one: &Finding| one.level >= Level::Medium && wanted(self.library, self.ask, one);
            if found.iter().skip(first).any(at_risk) {
                self.risky.insert(row.vm.id.key().to_owned());
            }
        }
        self.keep(found);
    }

    fn keep(&mut self, found: Vec<Finding>) {
        let asked = found.into_iter().filter(|finding| wanted(self.library, self.ask, finding));
        for finding in asked {
            if finding.level >= Level::Medium {
                self.risky.insert(finding.resource.to_lowercase());
            }
            if finding.level >= self.ask.min {
                self.findings.push(finding);
            }
        }
    }

    /// The audit, with what belongs to no VM.
    #[must_use]
    pub fn finish(mut self, bulk: &Bulk, index: &Index, deep: &Deep, ended: Timestamp, calls: u64) -> Audit {
        let mut found = Vec::new();
        let subscriptions = self.names.get_or_insert_with(|| names(bulk));
        let scene = AuditInput { bulk, index, deep, program: &self.ask.program, subscriptions };
        let told = checks::of_scope(&scene, &self.left_behind, &mut found);
        self.keep(found);
        let mut findings = self.findings;
        if self.ask.rules.is_empty() {
            fold::locks_of_groups(&told, &mut findings);
        }
        findings.sort_by(|a, b| {
            b.level
                .cmp(&a.level)
                .then_with(|| a.rule.cmp(&b.rule))
                .then_with(|| (&a.key, &a.name, &a.evidence).cmp(&(&b.key, &b.name, &b.evidence)))
        });
        // Of one VM in two vaults, what is said of both.
        findings.dedup_by(|other, first| {
            let same = other.key == first.key;
            if same {
                let more = other.evidence.drain(..).filter(|line| !first.evidence.contains(line));
                first.evidence.extend(more.collect::<Vec<_>>());
            }
            same
        });
        let not_read: Vec<Unread> = bulk
            .not_read()
            .into_iter()
            .chain(deep.not_read.iter().cloned())
            .map(|one| Unread { what: one.what, why: one.why })
            .collect();
        let mut audit = Audit {
            schema: AUDIT_SCHEMA.to_owned(),
            sandbox: self.ask.sandbox,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: bulk.at,
            ended,
            scope: self.ask.scope.clone(),
            collector: bulk.collector.as_str().to_owned(),
            calls,
            baseline: None,
            summary: Summary {
                vms: bulk.looked_at(),
                protected: self.protected,
                subscriptions: bulk.subscriptions.len(),
                objective: self.objective,
                ..Summary::default()
            },
            findings,
            not_read,
            exit_code: exit::OK,
        };
        audit.summary.at_risk = self.risky.iter().filter(|id| bulk.looks_at(id)).count();
        audit.spell_groups();
        audit.count(self.ask.fail_on);
        audit
    }
}

fn see<'a>(scene: &AuditInput<'a>, row: &'a VmRow, known: &mut HashMap<String, Option<Due>>) -> VmUnderAudit<'a> {
    let facts = scene.bulk.facts(scene.index, scene.deep, row);
    let overrides = BTreeSet::new();
    let input = RuleInput { facts: &facts, now: scene.bulk.at, overrides: &overrides, orphan_age: ORPHAN_AGE };
    let view = View::of(&facts, &stale::counts(&input), scene.bulk.at);
    let due = |facts: &ItemFacts| {
        let policy = facts.policy.known()?;
        if let Some(due) = known.get(policy.id.key()) {
            return *due;
        }
        *known.entry(policy.id.key().to_owned()).or_insert_with(|| Due::of(policy, scene.bulk.at))
    };
    let dues = facts.items.known().into_iter().flatten().map(due).collect();
    VmUnderAudit { row, facts, view, applies: Vec::new(), dues }
}

fn of_playbook(
    scene: &AuditInput<'_>,
    seen: &VmUnderAudit<'_>,
    playbook: &Playbook,
    resolved: &Resolved,
) -> Option<Finding> {
    let id = &seen.row.vm.id;
    let error = &seen.view.backup.last_error;
    let named = resolved.codes.contains(error);
    // A job that hangs has a finding of its own.
    if playbook.name() == "backup-in-progress" && !named {
        return None;
    }
    let mut finding = scene.finding(playbook.name(), playbook.title(), level_of(playbook.severity()), id);
    finding.evidence = planner::evidence(resolved, &seen.view);
    finding.code = named.then(|| error.clone());
    if seen.view.backup.soft_deleted {
        "The vault item of the VM is soft-deleted".clone_into(&mut finding.title);
    }
    if let Some(error) = LockedScopes::of(&seen.facts).filter(|_| named) {
        finding.evidence.extend(error.among(&seen.facts).map(|lock| {
            let on = lock.scope().short_name();
            format!("the last backup hit the {} lock {} on {on}", lock.level, lock.id.name())
        }));
    }
    repair::repair(scene, seen, playbook).into(&mut finding);
    Some(finding)
}

fn wanted(library: &Library, ask: &Ask, finding: &Finding) -> bool {
    let rule = ask.rules.is_empty() || ask.rules.contains(&finding.rule);
    let named = |code: &String| {
        let of_playbook =
            || finding.code.is_none() && library.find(&finding.rule).is_ok_and(|p| p.codes().contains(code));
        finding.code.as_deref().is_some_and(|own| own.eq_ignore_ascii_case(code)) || of_playbook()
    };
    rule && (ask.codes.is_empty() || ask.codes.iter().any(named))
}

impl Audit {
    /// Compares with an earlier audit of the same scope. What only the baseline has is `gone`, and no finding any more; when
    /// something was not read this time, nothing is called gone, for it may be in there (S12). `looked` are the ids, in
    /// lower case, of the subscriptions that were looked into: one that the baseline knows and that is not among them was
    /// not read.
    pub fn compare(&mut self, baseline: &Self, ask: &Ask, looked: &HashSet<String>) {
        let before: HashMap<&str, &Finding> = baseline.standing().map(|one| (one.key.as_str(), one)).collect();
        let now: HashSet<String> = self.findings.iter().map(|one| one.key.clone()).collect();
        for finding in &mut self.findings {
            let known = before.contains_key(finding.key.as_str());
            finding.change = Some(if known { Since::Unchanged } else { Since::New });
        }
        let lost: BTreeMap<&str, &str> = baseline
            .standing()
            .filter(|one| !looked.contains(&one.subscription.to_lowercase()))
            .map(|one| (one.subscription.as_str(), one.subscription_name.as_str()))
            .collect();
        self.not_read.extend(lost.into_values().map(|name| Unread {
            what: format!("the subscription {name}"),
            why: "the baseline has findings there, and it is not visible now".to_owned(),
        }));
        if self.not_read.is_empty() {
            let gone = baseline.standing().filter(|one| !now.contains(&one.key) && one.level >= ask.min);
            self.findings.extend(gone.map(|one| Finding {
                change: Some(Since::Gone),
                plan: Vec::new(),
                ..one.clone()
            }));
        }
        self.baseline = Some(baseline.ended);
        self.spell_groups();
        let count = |wanted: Since| self.findings.iter().filter(|one| one.change == Some(wanted)).count();
        let since = [("new", Since::New), ("unchanged", Since::Unchanged), ("gone", Since::Gone)];
        self.summary.since = since.into_iter().map(|(word, change)| (word.to_owned(), count(change))).collect();
        self.count(ask.fail_on);
    }

    /// The findings that are there now: all but the gone.
    pub fn standing(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|one| one.change != Some(Since::Gone))
    }

    /// Counts what is there, and decides the exit code.
    fn count(&mut self, fail_on: Option<Level>) {
        let mut levels: BTreeMap<String, usize> = BTreeMap::new();
        let mut rules: BTreeMap<&str, Count> = BTreeMap::new();
        for finding in self.standing() {
            *levels.entry(finding.level.as_str().to_owned()).or_default() += 1;
            let count = rules.entry(&finding.rule).or_insert_with(|| Count {
                rule: finding.rule.clone(),
                title: finding.title.clone(),
                level: finding.level,
                count: 0,
                command: None,
            });
            count.count += 1;
            count.level = count.level.max(finding.level);
        }
        let mut rules: Vec<Count> = rules.into_values().collect();
        rules.sort_by(|a, b| b.level.cmp(&a.level).then(b.count.cmp(&a.count)).then_with(|| a.rule.cmp(&b.rule)));
        let worst = worst(self.standing());
        let found = self.standing().any(|one| fail_on.is_some_and(|level| one.level >= level));
        let code = if found { exit::FOUND } else { exit::OK };
        self.exit_code = if self.not_read.is_empty() { code } else { exit::worst(code, exit::PARTIAL) };
        (self.summary.levels, self.summary.rules, self.summary.worst) = (levels, rules, worst);
    }
}

/// The five resources with the most severe findings, the most of them first.
fn worst<'a>(findings: impl Iterator<Item = &'a Finding>) -> Vec<String> {
    let mut by_resource: BTreeMap<String, Vec<&Finding>> = BTreeMap::new();
    for finding in findings.filter(|one| one.level >= Level::Medium) {
        by_resource.entry(finding.resource.to_lowercase()).or_default().push(finding);
    }
    let mut all: Vec<Vec<&Finding>> = by_resource.into_values().collect();
    let rank = |found: &[&Finding]| {
        let high = found.iter().filter(|one| one.level == Level::High).count();
        std::cmp::Reverse((high, found.len()))
    };
    all.sort_by_key(|found| rank(found));
    let line = |found: Vec<&Finding>| {
        let first = found.iter().max_by(|a, b| a.level.cmp(&b.level).then_with(|| b.rule.cmp(&a.rule)))?;
        let more = found.len() - 1;
        let tail = if more == 0 { String::new() } else { format!(" (and {more} more)") };
        Some(format!("{}: {}{tail}", first.name, first.title))
    };
    all.into_iter().filter_map(line).take(5).collect()
}
