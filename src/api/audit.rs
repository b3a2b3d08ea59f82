//! `audit`: every VM of a scope. It only reads (S1).

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use super::azure::Azure;
use super::error::{Error, Kind};
use super::fix::library;
use super::watch::{Note, Watch};
use crate::arm::id::check_name;
use crate::arm::model::Subscription;
use crate::arm::{Arm, GraphScope, ReadPost, ResourceId};
use crate::catalog::Catalog;
use crate::engine::audit::{Ask, Audit, Auditor, Check, Level, planned, plans, playbook_of};
use crate::engine::foresee::asks_a_person;
use crate::facts::bulk::{self, Bulk, Collector, Deep, GraphFailed, Index, Scan, Selection, Watch as Watching};
use crate::facts::graph::{VmRow, coverage};
use crate::facts::inventory::Visible;
use crate::playbook::library::{Library, Origin};
use crate::playbook::model::Severity;
use crate::report;
use crate::spelling::near;
use crate::text::shell_quote;

/// What one VM's plan may change: the default of `fix` (S9).
const MAX_CHANGES: usize = 20;

/// What is audited, and what counts.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditOptions {
    /// Subscriptions, ids or names; empty for all that are visible.
    pub subscriptions: Vec<String>,
    /// All of a tenant, by its id; empty for the one that is signed in to.
    pub tenant: Option<String>,
    /// The subscriptions below these management groups.
    pub management_groups: Vec<String>,
    /// Only the VMs of this resource group.
    pub resource_group: Option<String>,
    /// Only VMs with all of these tags: `NAME=VALUE`.
    pub tags: Vec<String>,
    /// Only VMs with an item in this vault.
    pub vault: Option<String>,
    /// A directory with playbooks of the user's own.
    pub playbooks: Option<PathBuf>,
    /// Only these playbooks and checks; empty is all.
    pub rules: Vec<String>,
    /// Only findings with one of these error codes; empty is all.
    pub codes: Vec<String>,
    /// Only findings of this level and above.
    pub min: Level,
    /// From which level on a finding makes the exit code 3; `None` is never.
    pub fail_on: Option<Level>,
    /// Plan every fix too.
    pub plans: bool,
    /// An earlier audit of the same scope.
    pub baseline: Option<Audit>,
    /// How the facts are collected; `None` is Resource Graph, and lists where it does not answer.
    pub collector: Option<Collector>,
    /// Read the restore points and the agent of every VM, not only of suspicious ones.
    pub thorough: bool,
}

impl Default for AuditOptions {
    fn default() -> Self {
        Self {
            subscriptions: Vec::new(),
            tenant: None,
            management_groups: Vec::new(),
            resource_group: None,
            tags: Vec::new(),
            vault: None,
            playbooks: None,
            rules: Vec::new(),
            codes: Vec::new(),
            min: Level::Info,
            fail_on: Some(Level::Medium),
            plans: false,
            baseline: None,
            collector: None,
            thorough: false,
        }
    }
}

/// Options that were checked.
#[derive(Debug)]
pub struct Checked<'o> {
    options: &'o AuditOptions,
    library: &'o Library,
    selection: Selection,
    ask: Ask,
}

/// Checks every VM of a scope: which backups fail or will fail, why, and what repairs each.
///
/// # Errors
/// Wrong input, no sign-in, or interrupted; what cannot be read beyond that is in the audit.
pub async fn audit(azure: &Azure, options: &AuditOptions, watch: &Watch) -> Result<Audit, Error> {
    let library = library(options.playbooks.as_deref(), watch);
    let checked = options.check(&library)?;
    watch.reading(Box::pin(checked.read(azure, watch, &mut |_| {}))).await
}

impl AuditOptions {
    /// Whether the scope is wider than the named subscriptions.
    const fn is_wide(&self) -> bool {
        self.tenant.is_some() || !self.management_groups.is_empty()
    }

    /// Checks what the user gave, before anything is sent.
    ///
    /// # Errors
    /// Names that cannot be, rules and codes that azmend does not know, options that exclude each other.
    pub fn check<'o>(&'o self, library: &'o Library) -> Result<Checked<'o>, Error> {
        Azure::check_subscriptions(&self.subscriptions)?;
        let chosen = selection_of(self.resource_group.as_deref(), &self.tags, self.vault.as_deref())?;
        // What was found before is looked at again, however well its VM looks now.
        let also = self.baseline.iter().flat_map(Audit::standing).map(|one| one.resource.to_lowercase()).collect();
        let selection = Selection { thorough: self.thorough, also, ..chosen };
        let ask = ask(self, library)?;
        if self.collector == Some(Collector::Arm) && !self.management_groups.is_empty() {
            return Err(Error::input("--management-group needs Resource Graph")
                .code("usage")
                .hint("omit --collector arm, or name the subscriptions with --subscription"));
        }
        Ok(Checked { options: self, library, selection, ask })
    }
}

impl Checked<'_> {
    /// Reads and judges. `seen` gets the id of each VM that was read.
    ///
    /// # Errors
    /// As [`audit`].
    pub async fn read(self, azure: &Azure, watch: &Watch, seen: Seeing<'_>) -> Result<Audit, Error> {
        let Self { options, library, selection, mut ask } = self;
        let arm = azure.reader_with(&[ReadPost::ResourceGraph])?;
        let named = if options.is_wide() { &[][..] } else { &options.subscriptions };
        let mut visible = azure.visible(&arm, named).await?;
        if !options.management_groups.is_empty() {
            visible = below(&arm, visible, &options.management_groups).await?;
        } else if let Some(tenant) = options.tenant.as_deref().filter(|id| !id.is_empty()) {
            visible = of_tenant(visible, tenant)?;
        }
        ask.program = azure.program().to_owned();
        ask.sandbox = azure.is_sandbox();
        ask.scope = scope(options, &visible);
        if let Some(baseline) = &options.baseline {
            comparable(baseline, &ask)?;
        }
        (watch.notes)(Note::Reading("reading VMs, vaults, restore points and locks".to_owned()));
        let looked: HashSet<String> = visible.chosen.iter().map(|one| one.id.to_lowercase()).collect();
        let by = Reading { collector: options.collector, watch: watch.scan.as_ref(), seen };
        let mut found = look(&arm, library, &visible, &selection, &ask, by).await?;
        if let Some(dir) = &options.playbooks {
            name_directory(&mut found, library, dir);
        }
        if options.plans {
            plan_all(azure, &arm, library, &mut found, watch).await;
        }
        if let Some(baseline) = &options.baseline {
            found.compare(baseline, &ask, &looked);
        }
        name_fleets(azure.program(), options, library, &mut found);
        tracing::info!(calls = arm.calls(), "requests sent");
        Ok(found)
    }
}

/// Gets the id of each VM that was read.
pub type Seeing<'s> = &'s mut (dyn FnMut(&ResourceId) + Send);

/// How a scope is read, and who watches.
pub struct Reading<'r> {
    /// How the facts are collected; `None` is Resource Graph, and lists where it does not answer.
    pub collector: Option<Collector>,
    /// Gets how far it is.
    pub watch: &'r dyn Watching,
    /// Gets what was seen.
    pub seen: Seeing<'r>,
}

/// Reads a scope and makes the audit of it.
///
/// # Errors
/// When a named vault or group is not there, or Azure does not answer at all.
pub async fn look(
    arm: &Arm,
    library: &Library,
    visible: &Visible,
    selection: &Selection,
    ask: &Ask,
    by: Reading<'_>,
) -> Result<Audit, Error> {
    let no_graph = |failed: GraphFailed| {
        Error::from(failed.0).hint("Resource Graph did not answer; --collector arm reads plain lists instead")
    };
    let mut auditor = Auditor::new(library, ask);
    let scan = Scan::open(arm, visible, selection, by.collector, auditor.jobs(), by.watch).await.map_err(no_graph)?;
    if bulk::vault_is_known(scan.bulk()) == Some(false) {
        let text = selection.vault.as_deref().unwrap_or_default();
        let names = near(text, scan.bulk().vaults.iter().map(|vault| vault.id.name()));
        let error = Error::input(format!("no visible vault is called {text:?}")).code("vault_not_found");
        let hint = format!("did you mean {}?", names.join(" or "));
        return Err(if names.is_empty() { error } else { error.hint(hint) });
    }
    if bulk::group_is_known(scan.bulk()) == Some(false) {
        let text = selection.group.as_deref().unwrap_or_default();
        let why = format!("no subscription that was read has a resource group {text:?}");
        return Err(Error::input(why).code("group_not_found"));
    }
    // VMs are looked at as they come, and let go.
    let mut sink = |bulk: &Bulk, index: &Index, rows: Vec<VmRow>, deep: Deep| {
        rows.iter().for_each(|row| (by.seen)(&row.vm.id));
        auditor.vms(bulk, index, &rows, &deep);
    };
    let (bulk, index, deep) = Box::pin(scan.run(&mut sink)).await.map_err(no_graph)?;
    Ok(auditor.finish(&bulk, &index, &deep, arm.clock().now(), arm.calls()))
}

/// The subscriptions of one tenant: with Azure Lighthouse those of others are listed too.
///
/// # Errors
/// When none that is visible belongs to it.
pub fn of_tenant(visible: Visible, tenant: &str) -> Result<Visible, Error> {
    let theirs = |one: &&Subscription| one.tenant.is_empty() || one.tenant.eq_ignore_ascii_case(tenant);
    // A tenant may also be named by a domain: then what the sign-in shows is what there is.
    let is_id = uuid::Uuid::try_parse(tenant).is_ok();
    let chosen: Vec<_> = visible.all.iter().filter(|one| !is_id || theirs(one)).cloned().collect();
    if chosen.is_empty() {
        let why = format!("no visible subscription belongs to the tenant {tenant}");
        return Err(Error::new(Kind::Permission, why).code("no_subscription"));
    }
    Ok(Visible { chosen, ..visible })
}

/// The commands of the user's own playbooks say where these are.
fn name_directory(found: &mut Audit, library: &Library, dir: &Path) {
    let own: Vec<String> = library
        .iter()
        .filter(|(_, origin)| matches!(origin, Origin::File(_)))
        .map(|(playbook, _)| format!(" fix {} ", shell_quote(playbook.name())))
        .collect();
    for command in found.findings.iter_mut().filter_map(|finding| finding.command.as_mut()) {
        if own.iter().any(|words| command.contains(words.as_str())) {
            command.push_str(&format!(" --playbooks {}", shell_quote(&dir.display().to_string())));
        }
    }
}

/// The command that repairs all findings of a playbook, in the scope that was looked at.
fn name_fleets(program: &str, options: &AuditOptions, library: &Library, found: &mut Audit) {
    // A fleet knows no management group, and takes the subscription that the environment names.
    if options.is_wide() {
        return;
    }
    let mut scope = String::new();
    let mut add = |option: &str, value: &str| scope.push_str(&format!(" {option} {}", shell_quote(value)));
    options.subscriptions.iter().for_each(|one| add("-s", one));
    options.resource_group.iter().for_each(|group| add("--resource-group", group));
    options.tags.iter().for_each(|tag| add("--tag", tag));
    options.vault.iter().for_each(|vault| add("--vault", vault));
    if options.thorough {
        scope.push_str(" --thorough");
    }
    // The words of a command that one of its findings has: what is refused, or asks a person, is repaired one by one.
    let words = |rule: &str| {
        let own = format!("fix {} ", shell_quote(playbook_of(rule)));
        let mut commands =
            found.findings.iter().filter(|one| one.rule == rule).filter_map(|one| one.command.as_deref());
        commands.find_map(|command| {
            let words = command.strip_prefix(program)?.trim_start();
            let words = words.split_once(" --vm ")?.0;
            (format!("{words} ").starts_with(&own) && !asks_a_person(words)).then(|| words.to_owned())
        })
    };
    let known: BTreeMap<String, Option<String>> =
        found.summary.rules.iter().map(|count| (count.rule.clone(), words(&count.rule))).collect();
    for count in found.summary.rules.iter_mut().filter(|count| count.count > 1) {
        let Some(Some(words)) = known.get(&count.rule) else { continue };
        let Some((_, origin)) = library.iter().find(|(playbook, _)| playbook.name() == playbook_of(&count.rule)) else {
            continue;
        };
        let own = match (origin, &options.playbooks) {
            (Origin::File(_), Some(dir)) => format!(" --playbooks {}", shell_quote(&dir.display().to_string())),
            _ => String::new(),
        };
        count.command = Some(format!("{program} {words} --all{scope}{own}"));
    }
}

/// What each fix would do now.
async fn plan_all(azure: &Azure, arm: &Arm, library: &Library, found: &mut Audit, watch: &Watch) {
    (watch.notes)(Note::Reading("planning every fix".to_owned()));
    let mut worlds = BTreeMap::new();
    let places: BTreeSet<String> = found.standing().map(|one| one.subscription.clone()).collect();
    for place in places {
        let world = azure.world(arm, &place).await;
        worlds.insert(place, world);
    }
    let plans = plans(arm, library, found, &worlds, MAX_CHANGES);
    let plans = plans.await;
    found.summary.planned = planned(&plans);
    for (place, planned) in &plans {
        if let Some(finding) = found.findings.get_mut(*place) {
            finding.plan = report::plan::lines(planned);
        }
    }
    found.spell_groups();
    found.calls = arm.calls();
}

/// Which VMs are meant.
///
/// # Errors
/// What cannot be a name.
pub fn selection_of(group: Option<&str>, tags: &[String], vault: Option<&str>) -> Result<Selection, Error> {
    let bad = |error: crate::arm::id::IdError| Error::input(error.to_string()).code("bad_name");
    if let Some(group) = group {
        check_name("resource group", group).map_err(bad)?;
    }
    if let Some(vault) = vault {
        match vault.starts_with('/') {
            true => {
                let id = crate::arm::ResourceId::parse(vault).map_err(bad)?;
                if !id.is_type("Microsoft.RecoveryServices/vaults") {
                    return Err(Error::input(format!("{} is not the id of a vault", id.short_name())).code("bad_name"));
                }
            }
            false => vault.splitn(2, '/').try_for_each(|name| check_name("vault", name)).map_err(bad)?,
        }
    }
    let tag = |text: &String| match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(Error::input(format!("{text:?} is not a tag: give NAME=VALUE")).code("bad_name")),
    };
    Ok(Selection {
        group: group.map(str::to_owned),
        tags: tags.iter().map(tag).collect::<Result<_, _>>()?,
        vault: vault.map(str::to_owned),
        ..Selection::default()
    })
}

fn ask(options: &AuditOptions, library: &Library) -> Result<Ask, Error> {
    let checks = Check::ALL.iter().map(|check| check.name());
    let tasks = |name: &str| library.find(name).is_ok_and(|playbook| playbook.severity() == Severity::Info);
    let playbooks = library.iter().map(|(playbook, _)| playbook.name()).filter(|name| !tasks(name));
    let known: Vec<&str> = playbooks.chain(checks).collect();
    for name in &options.rules {
        if tasks(name) {
            return Err(Error::input(format!("{name} is a task, not a problem: an audit does not look for it"))
                .code("unknown_playbook"));
        }
        if !known.contains(&name.as_str()) {
            let near = near(name, known.iter().copied());
            let hint = match near.is_empty() {
                true => format!("an audit looks for {}", known.join(", ")),
                false => format!("did you mean {}?", near.join(" or ")),
            };
            return Err(Error::input(format!("there is no playbook or check {name:?}"))
                .code("unknown_playbook")
                .hint(hint));
        }
    }
    let code = |text: &String| match Catalog::get().by_code(text) {
        Some(entry) => Ok(entry.code.clone()),
        None => {
            let error = Error::input(format!("{text:?} is not a code that azmend knows")).code("unknown_code");
            Err(match Catalog::get().suggest(text) {
                Some(near) => error.hint(format!("did you mean {near}?")),
                None => error,
            })
        }
    };
    Ok(Ask {
        rules: options.rules.clone(),
        codes: options.codes.iter().map(code).collect::<Result<_, _>>()?,
        min: options.min,
        fail_on: options.fail_on,
        program: String::new(),
        scope: String::new(),
        sandbox: false,
    })
}

/// What was asked for, in words: audits of the same words can be compared.
fn scope(options: &AuditOptions, visible: &Visible) -> String {
    let list = |words: &[String]| {
        let mut words = words.to_vec();
        words.sort();
        words.join(", ")
    };
    let whole = match (options.management_groups.as_slice(), options.tenant.as_deref()) {
        ([], Some(id)) if !id.is_empty() => format!("tenant {}", id.to_lowercase()),
        ([], _) if options.subscriptions.is_empty() => "all visible subscriptions".to_owned(),
        ([], _) => {
            let names: Vec<String> = visible.chosen.iter().map(|one| format!("subscription {}", one.name)).collect();
            list(&names)
        }
        (groups, _) => format!("management group {}", list(groups)),
    };
    let mut parts = vec![whole];
    parts.extend(options.resource_group.as_ref().map(|group| format!("resource group {}", group.to_lowercase())));
    if !options.tags.is_empty() {
        parts.push(format!("tag {}", list(&options.tags)));
    }
    parts.extend(options.vault.as_ref().map(|vault| format!("vault {}", vault.to_lowercase())));
    if !options.rules.is_empty() {
        parts.push(format!("playbook {}", list(&options.rules)));
    }
    if !options.codes.is_empty() {
        parts.push(format!("code {}", list(&options.codes)));
    }
    if options.min != Level::Info {
        parts.push(format!("{} and above", options.min.as_str()));
    }
    if options.thorough {
        parts.push("thorough".to_owned());
    }
    parts.join("; ")
}

/// The subscriptions below management groups, as Resource Graph knows them.
async fn below(arm: &Arm, visible: Visible, groups: &[String]) -> Result<Visible, Error> {
    let found = coverage(arm, GraphScope::ManagementGroups(groups.to_vec())).await.map_err(|error| {
        Error::from(error)
            .hint("Resource Graph says which subscriptions are below a management group; without it name them with --subscription")
    })?;
    let under = |one: &crate::arm::model::Subscription| {
        found.subscriptions.iter().any(|below| below.id.eq_ignore_ascii_case(&one.id))
    };
    let chosen: Vec<_> = visible.all.iter().filter(|one| under(one)).cloned().collect();
    if chosen.is_empty() {
        return Err(Error::new(Kind::Permission, "no visible subscription is below the management group")
            .code("no_subscription"));
    }
    let malformed = visible.malformed.into_iter().chain(found.incomplete).collect();
    Ok(Visible { chosen, all: visible.all, malformed })
}

/// Another scope would make everything new or gone.
fn comparable(baseline: &Audit, ask: &Ask) -> Result<(), Error> {
    let differs = |what: &str, was: &str, is: &str| {
        Error::input(format!("the baseline is of another {what}: {was:?}, and this audit is of {is:?}"))
            .code("baseline")
            .hint("compare audits that were made with the same options")
    };
    if baseline.sandbox != ask.sandbox {
        let word = |sandbox| if sandbox { "the sandbox" } else { "Azure" };
        return Err(differs("world", word(baseline.sandbox), word(ask.sandbox)));
    }
    if baseline.scope != ask.scope {
        return Err(differs("scope", &baseline.scope, &ask.scope));
    }
    Ok(())
}
