//! `azmend audit`: every VM of a scope. It only reads (S1).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::arm::id::check_name;
use crate::arm::model::Subscription;
use crate::arm::{Arm, GraphScope, ReadPost};
use crate::catalog::Catalog;
use crate::cli::args::{AuditArgs, CollectorArg, FailOnArg, LevelArg};
use crate::cli::azure::Azure;
use crate::cli::candidates;
use crate::cli::commands::{fix, vms};
use crate::cli::error::{CliError, Kind};
use crate::cli::execute::Session;
use crate::cli::files;
use crate::cli::jitter;
use crate::cli::scan_progress::ScanProgress;
use crate::cli::settings::Output;
use crate::engine::audit::{AUDIT_SCHEMA, Ask, Audit, Auditor, Check, Level, planned, plans, playbook_of};
use crate::engine::foresee::asks_a_person;
use crate::facts::bulk::{self, Bulk, Collector, Deep, GraphFailed, Index, Scan, Selection};
use crate::facts::graph::{VmRow, coverage};
use crate::facts::inventory::Visible;
use crate::playbook::library::{Library, Origin};
use crate::playbook::model::Severity;
use crate::report;
use crate::report::audit::{ENDINGS, Format, file, render};
use crate::spelling::near;
use crate::text::shell_quote;

/// What one VM's plan may change: the default of `azmend fix` (S9).
const MAX_CHANGES: usize = 20;
/// The largest baseline that is read.
const MAX_BASELINE: u64 = 256 * 1024 * 1024;

/// Looks.
///
/// # Errors
/// Wrong input, no sign-in, or interrupted; what cannot be read beyond that is said in the audit.
pub async fn run(session: &Session, args: &AuditArgs) -> Result<u8, CliError> {
    // Everything that was typed is checked before anything is sent.
    vms::check_subscriptions(session)?;
    let mut selection = selection(args)?;
    let library = fix::library(session, args.playbooks.as_deref());
    let mut ask = ask(session, args, &library)?;
    let outs = outs(args)?;
    let baseline = args.baseline.as_deref().map(read_baseline).transpose()?;
    // What was found before is looked at again, however well its VM looks now.
    selection.also = baseline.iter().flat_map(Audit::standing).map(|one| one.resource.to_lowercase()).collect();
    let wanted = match args.collector {
        CollectorArg::Auto => None,
        CollectorArg::Graph => Some(Collector::Graph),
        CollectorArg::Arm => Some(Collector::Arm),
    };
    if wanted == Some(Collector::Arm) && !args.management_group.is_empty() {
        return Err(CliError::input("--management-group needs Resource Graph")
            .code("usage")
            .hint("omit --collector arm, or name the subscriptions with --subscription"));
    }
    let wide = wide(session, args)?;
    let azure = session.azure()?;
    let arm = azure.reader_with(&[ReadPost::ResourceGraph])?;
    jitter::wait(session, &azure, args.jitter.jitter).await?;
    let found = session.reading(Box::pin(async {
        let named = if wide { &[][..] } else { &session.settings.subscriptions };
        let mut visible = vms::visible_of(&azure, &arm, named).await?;
        ask.sandbox = session.settings.sandbox();
        if !args.management_group.is_empty() {
            visible = below(&arm, visible, &args.management_group).await?;
        } else if let Some(tenant) = session.settings.whole_tenant.as_deref().filter(|id| wide && !id.is_empty()) {
            visible = of_tenant(visible, tenant)?;
        }
        let tenant = session.settings.whole_tenant.as_deref().filter(|_| wide);
        ask.scope = scope(args, &visible, named, tenant);
        if let Some(baseline) = &baseline {
            comparable(baseline, &ask)?;
        }
        session.printer.dim("reading VMs, vaults, restore points and locks");
        let looked: Vec<String> = visible.chosen.iter().map(|one| one.id.to_lowercase()).collect();
        Ok((look(session, &arm, &library, &visible, &selection, wanted, &ask).await?, looked))
    }));
    let (mut found, looked) = found.await?;
    if let Some(dir) = &args.playbooks {
        name_directory(&mut found, &library, dir);
    }
    if args.plans {
        session
            .reading(Box::pin(async {
                plan_all(session, &azure, &arm, &library, &mut found).await;
                Ok(())
            }))
            .await?;
    }
    if let Some(baseline) = &baseline {
        found.compare(baseline, &ask, &looked.into_iter().collect());
    }
    name_fleets(session, args, wide, &library, &mut found);
    // A file that cannot be written costs nothing of what was read.
    let mut lost: Option<CliError> = None;
    for (path, format) in outs {
        if let Err(error) = files::write_private(path, &file(&found, format))
            && let Some(earlier) = lost.replace(error)
        {
            session.printer.warn(&earlier.message);
        }
    }
    let format = match session.printer.output() {
        Output::Json | Output::Yaml => Format::Json,
        Output::Jsonl => Format::Jsonl,
        Output::Csv => Format::Csv,
        Output::Markdown => Format::Markdown,
        Output::Html => Format::Html,
        Output::Sarif => Format::Sarif,
        Output::Junit => Format::Junit,
        Output::Table => Format::Table(session.printer.width()),
    };
    // The page writes a large audit in parts; a part of it or YAML is made from the whole object.
    if session.printer.is_json() && !session.printer.plain_json() {
        session.printer.json(&found);
    } else {
        session.printer.data(&render(&found, format));
    }
    vms::tell_calls(&arm);
    lost.map_or(Ok(found.exit_code), Err)
}

/// Reads a scope and makes the audit of it.
///
/// # Errors
/// When a named vault or group is not there, or Azure does not answer at all.
pub async fn look(
    session: &Session,
    arm: &Arm,
    library: &Library,
    visible: &Visible,
    selection: &Selection,
    wanted: Option<Collector>,
    ask: &Ask,
) -> Result<Audit, CliError> {
    let no_graph = |failed: GraphFailed| {
        CliError::from(failed.0).hint("Resource Graph did not answer; --collector arm reads plain lists instead")
    };
    let scan_progress = ScanProgress::new(&session.printer);
    let mut auditor = Auditor::new(library, ask);
    let scan = Scan::open(arm, visible, selection, wanted, auditor.jobs(), &scan_progress).await.map_err(no_graph)?;
    if bulk::vault_is_known(scan.bulk()) == Some(false) {
        let text = selection.vault.as_deref().unwrap_or_default();
        let names = near(text, scan.bulk().vaults.iter().map(|vault| vault.id.name()));
        let error = CliError::input(format!("no visible vault is called {text:?}")).code("vault_not_found");
        let hint = format!("did you mean {}?", names.join(" or "));
        return Err(if names.is_empty() { error } else { error.hint(hint) });
    }
    if bulk::group_is_known(scan.bulk()) == Some(false) {
        let text = selection.group.as_deref().unwrap_or_default();
        let why = format!("no subscription that was read has a resource group {text:?}");
        return Err(CliError::input(why).code("group_not_found"));
    }
    // VMs are looked at as they come, and let go.
    let mut names = Vec::new();
    let mut sink = |bulk: &Bulk, index: &Index, rows: Vec<VmRow>, deep: Deep| {
        names.extend(
            rows.iter().take(candidates::MOST - names.len().min(candidates::MOST)).map(|row| row.vm.id.short_name()),
        );
        auditor.vms(bulk, index, &rows, &deep);
    };
    let (bulk, index, deep) = Box::pin(scan.run(&mut sink)).await.map_err(no_graph)?;
    scan_progress.end();
    candidates::remember_vms(&session.settings.state_dir, session.settings.sandbox(), names);
    Ok(auditor.finish(&bulk, &index, &deep, arm.clock().now(), arm.calls()))
}

/// Whether the scope is wider than the subscriptions that the environment names.
fn wide(session: &Session, args: &AuditArgs) -> Result<bool, CliError> {
    let tenant = session.settings.whole_tenant.is_some() && !session.settings.subscriptions_typed;
    let group = !args.management_group.is_empty();
    if group && session.settings.subscriptions_typed {
        return Err(CliError::input("--management-group and --subscription exclude each other").code("usage"));
    }
    if session.settings.whole_tenant.as_deref() == Some("") && (group || session.settings.subscriptions_typed) {
        let why = "--tenant without an id means all of the tenant: omit the other scope, or give the tenant's id";
        return Err(CliError::input(why).code("usage"));
    }
    Ok(tenant || group)
}

/// The subscriptions of one tenant: with Azure Lighthouse those of others are listed too.
///
/// # Errors
/// When none that is visible belongs to it.
pub fn of_tenant(visible: Visible, tenant: &str) -> Result<Visible, CliError> {
    let theirs = |one: &&Subscription| one.tenant.is_empty() || one.tenant.eq_ignore_ascii_case(tenant);
    // A tenant may also be named by a domain: then what the sign-in shows is what there is.
    let is_id = uuid::Uuid::try_parse(tenant).is_ok();
    let chosen: Vec<_> = visible.all.iter().filter(|one| !is_id || theirs(one)).cloned().collect();
    if chosen.is_empty() {
        let why = format!("no visible subscription belongs to the tenant {tenant}");
        return Err(CliError::new(Kind::Permission, why).code("no_subscription"));
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
fn name_fleets(session: &Session, args: &AuditArgs, wide: bool, library: &Library, found: &mut Audit) {
    // A fleet knows no management group, and takes the subscription that the environment names.
    if wide {
        return;
    }
    let mut scope = String::new();
    let mut add = |option: &str, value: &str| scope.push_str(&format!(" {option} {}", shell_quote(value)));
    session.settings.subscriptions.iter().for_each(|one| add("-s", one));
    args.resource_group.iter().for_each(|group| add("--resource-group", group));
    args.tag.iter().for_each(|tag| add("--tag", tag));
    args.vault.iter().for_each(|vault| add("--vault", vault));
    if args.thorough {
        scope.push_str(" --thorough");
    }
    // The words of a command that one of its findings has: what is refused, or asks a person, is repaired one by one.
    let program = session.program();
    let words = |rule: &str| {
        let own = format!("fix {} ", shell_quote(playbook_of(rule)));
        let mut commands =
            found.findings.iter().filter(|one| one.rule == rule).filter_map(|one| one.command.as_deref());
        commands.find_map(|command| {
            let words = command.strip_prefix(&program)?.trim_start();
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
        let own = match (origin, &args.playbooks) {
            (Origin::File(_), Some(dir)) => format!(" --playbooks {}", shell_quote(&dir.display().to_string())),
            _ => String::new(),
        };
        count.command = Some(format!("{program} {words} --all{scope}{own}"));
    }
}

/// What each fix would do now.
async fn plan_all(session: &Session, azure: &Azure, arm: &Arm, library: &Library, found: &mut Audit) {
    session.printer.dim("planning every fix");
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

fn selection(args: &AuditArgs) -> Result<Selection, CliError> {
    let chosen = selection_of(args.resource_group.as_deref(), &args.tag, args.vault.as_deref())?;
    Ok(Selection { thorough: args.thorough, ..chosen })
}

/// Which VMs are meant.
///
/// # Errors
/// What cannot be a name.
pub fn selection_of(group: Option<&str>, tags: &[String], vault: Option<&str>) -> Result<Selection, CliError> {
    let bad = |error: crate::arm::id::IdError| CliError::input(error.to_string()).code("bad_name");
    if let Some(group) = group {
        check_name("resource group", group).map_err(bad)?;
    }
    if let Some(vault) = vault {
        match vault.starts_with('/') {
            true => {
                let id = crate::arm::ResourceId::parse(vault).map_err(bad)?;
                if !id.is_type("Microsoft.RecoveryServices/vaults") {
                    return Err(
                        CliError::input(format!("{} is not the id of a vault", id.short_name())).code("bad_name")
                    );
                }
            }
            false => vault.splitn(2, '/').try_for_each(|name| check_name("vault", name)).map_err(bad)?,
        }
    }
    let tag = |text: &String| match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(CliError::input(format!("{text:?} is not a tag: give NAME=VALUE")).code("bad_name")),
    };
    Ok(Selection {
        group: group.map(str::to_owned),
        tags: tags.iter().map(tag).collect::<Result<_, _>>()?,
        vault: vault.map(str::to_owned),
        ..Selection::default()
    })
}

fn ask(session: &Session, args: &AuditArgs, library: &Library) -> Result<Ask, CliError> {
    let checks = Check::ALL.iter().map(|check| check.name());
    let tasks = |name: &str| library.find(name).is_ok_and(|playbook| playbook.severity() == Severity::Info);
    let playbooks = library.iter().map(|(playbook, _)| playbook.name()).filter(|name| !tasks(name));
    let known: Vec<&str> = playbooks.chain(checks).collect();
    for name in &args.playbook {
        if tasks(name) {
            return Err(CliError::input(format!("{name} is a task, not a problem: an audit does not look for it"))
                .code("unknown_playbook"));
        }
        if !known.contains(&name.as_str()) {
            let near = near(name, known.iter().copied());
            let hint = match near.is_empty() {
                true => format!("an audit looks for {}", known.join(", ")),
                false => format!("did you mean {}?", near.join(" or ")),
            };
            return Err(CliError::input(format!("there is no playbook or check {name:?}"))
                .code("unknown_playbook")
                .hint(hint));
        }
    }
    let code = |text: &String| match Catalog::get().by_code(text) {
        Some(entry) => Ok(entry.code.clone()),
        None => {
            let error = CliError::input(format!("{text:?} is not a code that azmend knows")).code("unknown_code");
            Err(match Catalog::get().suggest(text) {
                Some(near) => error.hint(format!("did you mean {near}?")),
                None => error,
            })
        }
    };
    Ok(Ask {
        rules: args.playbook.clone(),
        codes: args.code.iter().map(code).collect::<Result<_, _>>()?,
        min: match args.min_severity {
            LevelArg::Info => Level::Info,
            LevelArg::Low => Level::Low,
            LevelArg::Medium => Level::Medium,
            LevelArg::High => Level::High,
        },
        fail_on: match args.fail_on {
            FailOnArg::Info => Some(Level::Info),
            FailOnArg::Low => Some(Level::Low),
            FailOnArg::Medium => Some(Level::Medium),
            FailOnArg::High => Some(Level::High),
            FailOnArg::Never => None,
        },
        program: session.program(),
        scope: String::new(),
        sandbox: session.settings.sandbox(),
    })
}

/// What was asked for, in words: audits of the same words can be compared.
fn scope(args: &AuditArgs, visible: &Visible, named: &[String], tenant: Option<&str>) -> String {
    let list = |words: &[String]| {
        let mut words = words.to_vec();
        words.sort();
        words.join(", ")
    };
    let whole = match (args.management_group.as_slice(), tenant) {
        ([], Some(id)) if !id.is_empty() => format!("tenant {}", id.to_lowercase()),
        ([], _) if named.is_empty() => "all visible subscriptions".to_owned(),
        ([], _) => {
            let names: Vec<String> = visible.chosen.iter().map(|one| format!("subscription {}", one.name)).collect();
            list(&names)
        }
        (groups, _) => format!("management group {}", list(groups)),
    };
    let mut parts = vec![whole];
    parts.extend(args.resource_group.as_ref().map(|group| format!("resource group {}", group.to_lowercase())));
    if !args.tag.is_empty() {
        parts.push(format!("tag {}", list(&args.tag)));
    }
    parts.extend(args.vault.as_ref().map(|vault| format!("vault {}", vault.to_lowercase())));
    if !args.playbook.is_empty() {
        parts.push(format!("playbook {}", list(&args.playbook)));
    }
    if !args.code.is_empty() {
        parts.push(format!("code {}", list(&args.code)));
    }
    let min = args.min_severity;
    if min != LevelArg::Info {
        parts.push(format!("{min:?} and above").to_lowercase());
    }
    if args.thorough {
        parts.push("thorough".to_owned());
    }
    parts.join("; ")
}

/// The subscriptions below management groups, as Resource Graph knows them.
async fn below(arm: &Arm, visible: Visible, groups: &[String]) -> Result<Visible, CliError> {
    let found = coverage(arm, GraphScope::ManagementGroups(groups.to_vec())).await.map_err(|error| {
        CliError::from(error)
            .hint("Resource Graph says which subscriptions are below a management group; without it name them with --subscription")
    })?;
    let under = |one: &crate::arm::model::Subscription| {
        found.subscriptions.iter().any(|below| below.id.eq_ignore_ascii_case(&one.id))
    };
    let chosen: Vec<_> = visible.all.iter().filter(|one| under(one)).cloned().collect();
    if chosen.is_empty() {
        return Err(CliError::new(Kind::Permission, "no visible subscription is below the management group")
            .code("no_subscription"));
    }
    let malformed = visible.malformed.into_iter().chain(found.incomplete).collect();
    Ok(Visible { chosen, all: visible.all, malformed })
}

fn outs(args: &AuditArgs) -> Result<Vec<(&Path, Format)>, CliError> {
    let one = |path: &'_ std::path::PathBuf| {
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        Format::of_ending(ending).ok_or_else(|| {
            CliError::input(format!("{}: the file extension does not name a format", path.display()))
                .code("format_not_supported")
                .hint(format!("an audit is written as {ENDINGS}"))
        })
    };
    // Found out before anything is read, which can take long.
    let place = |path: &Path| {
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        match directory {
            _ if path.is_dir() => Err(CliError::io(format!("{} is a directory", path.display()))),
            Some(parent) if !parent.is_dir() => {
                Err(CliError::io(format!("there is no directory {}", parent.display())))
            }
            _ => Ok(()),
        }
    };
    args.out.iter().map(|path| place(path).and(Ok((path.as_path(), one(path)?)))).collect()
}

/// An audit that was written as JSON.
///
/// # Errors
/// When it is none.
pub fn read_baseline(path: &Path) -> Result<Audit, CliError> {
    let text = files::read_text(path, MAX_BASELINE)?;
    let wrong = |why: String| {
        CliError::input(format!("{} is not an audit of azmend: {why}", path.display()))
            .code("baseline")
            .hint("a baseline is what `azmend audit -o json` or `--out FILE.json` wrote")
    };
    let value: serde_json::Value = serde_json::from_str(&text).map_err(|error| wrong(files::json_words(&error)))?;
    match value.get("schema").and_then(serde_json::Value::as_str) {
        Some(AUDIT_SCHEMA) => {}
        Some(other) => return Err(wrong(format!("its schema is {other:?}, not {AUDIT_SCHEMA}"))),
        None => return Err(wrong("it names no schema".to_owned())),
    }
    serde_json::from_value(value).map_err(|error| wrong(files::json_words(&error)))
}

/// Another scope would make everything new or gone.
fn comparable(baseline: &Audit, ask: &Ask) -> Result<(), CliError> {
    let differs = |what: &str, was: &str, is: &str| {
        CliError::input(format!("the baseline is of another {what}: {was:?}, and this audit is of {is:?}"))
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
